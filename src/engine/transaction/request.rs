//! The facts about a request after its head was read.

use crate::cache::rfc::key::Scheme;
use crate::engine::upstream::route::{Hop, Route};
use crate::guard::verdict::Quota;
use crate::http::framing::Body;
use crate::http::head::Version;
use crate::http::target::{Authority, Host};
use crate::policy::acl::{Acl, Grant};
use std::net::{IpAddr, Ipv4Addr};

/// The methods that the engine distinguishes (RFC 9110 section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Method {
    Get,
    Head,
    Connect,
    Options,
    Trace,
    /// PUT and DELETE.
    OtherIdempotent,
    Other,
}

impl Method {
    pub fn of(name: &str) -> Method {
        match name {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "CONNECT" => Method::Connect,
            "OPTIONS" => Method::Options,
            "TRACE" => Method::Trace,
            "PUT" | "DELETE" => Method::OtherIdempotent,
            _ => Method::Other,
        }
    }

    /// Whether sending it twice means the same as sending it once (RFC 9110 section 9.2.2).
    pub fn is_idempotent(self) -> bool {
        match self {
            Method::Get | Method::Head | Method::Options | Method::Trace | Method::OtherIdempotent => true,
            Method::Connect | Method::Other => false,
        }
    }

    /// The name for `framing::response_body`.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Connect => "CONNECT",
            Method::Options => "OPTIONS",
            Method::Trace => "TRACE",
            Method::OtherIdempotent | Method::Other => "POST",
        }
    }
}

/// The phases of a request before it is forwarded, in order. A request whose phase has to wait (for a password, for another
/// request) continues in that phase: earlier phases are not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Phase {
    /// The client of the request, and whether it may use the proxy at all (rule 46).
    Client,
    /// The length of the request, and whether the connection can continue behind it.
    Framing,
    /// Bans, the authority of the request, and loops through weir.
    Identify,
    /// The user of the request. May wait for the check of a password.
    Authenticate,
    /// The rules.
    Judge,
    /// The limits of the client. May wait for the store that counts.
    Guard,
    /// Detection in the head.
    Inspect,
    /// The guard's own responses for a gateway, and forged requests. May wait for the body.
    Protect,
    /// The behaviour rules. May wait, because the client's requests are delayed.
    Behaviour,
    /// The request callback.
    Callback,
    /// The response of a page. May wait for the body, and for the store.
    Page,
    /// The cache. May wait for another request with the same key.
    Cache,
    /// The head for the origin is written.
    Route,
}

/// The facts that are kept of a request after its head was read.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct RequestInfo {
    pub method: Method,
    pub version: Version,
    /// The requested authority; without meaning before the head was understood.
    pub authority: Authority,
    /// The destination.
    pub route: Route,
    /// The grant of the policy.
    pub grant: Option<Grant>,
    pub body: Body,
    /// The framing of the forwarded body.
    pub body_out: Body,
    /// The response passes through filters, so it is not shared.
    pub filters_response: bool,
    /// The scheme of the client; a trusted proxy may name it to the gateway.
    pub scheme: Scheme,
    /// Fields of a trusted proxy tell upstreams of another URL than the request's.
    pub tells_other_url: bool,
    /// The client wants to keep the connection.
    pub keep_alive: bool,
    /// The client may wait for a 100 before it sends the body.
    pub expects_continue: bool,
    /// weir sends the 100 itself: it reads the body first, or the next hop speaks HTTP/1.0, which has none.
    pub answers_expect: bool,
    /// The client requests another protocol.
    pub upgrade: bool,
    /// A page of the host program answers the request.
    pub is_page: bool,
    /// The request has credentials for its connection, which belongs to the client from then on.
    pub authenticates: bool,
    /// The connection belongs to the client, because of this or an earlier request.
    pub pinned: bool,
    /// The remaining quota of the client, if the response contains it.
    pub quota: Option<Quota>,
    /// The client accepts HTML, for the page of a refusal. Set when there is one.
    pub html: bool,
    /// Length of the head in the client's input.
    pub head_bytes: usize,
    /// The next phase.
    pub phase: Phase,
}

impl RequestInfo {
    /// The facts about a request that could not be understood.
    pub fn unknown(head_bytes: usize) -> RequestInfo {
        RequestInfo {
            method: Method::Other,
            version: Version::Http11,
            authority: Authority { host: Host::Address(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), port: 0 },
            route: Route::Direct,
            grant: None,
            body: Body::None,
            body_out: Body::None,
            filters_response: false,
            scheme: Scheme::Http,
            tells_other_url: false,
            keep_alive: false,
            expects_continue: false,
            answers_expect: false,
            upgrade: false,
            is_page: false,
            authenticates: false,
            pinned: false,
            quota: None,
            html: false,
            head_bytes,
            phase: Phase::Client,
        }
    }

    /// The next hop.
    pub fn next_hop(&self) -> Hop<'_> {
        self.route.next_hop(&self.authority)
    }

    /// The edition of the rules that judge the names on the way to the next hop: the requested one, and its aliases. `None` if
    /// the next hop is an address, or the configuration names it.
    pub fn naming_edition(&self, acl: &Acl) -> Option<u16> {
        let Hop { authority, configured } = self.next_hop();
        match authority.host {
            Host::Name(_) if !configured => Some(acl.edition()),
            Host::Name(_) | Host::Address(_) => None,
        }
    }

    /// The phase behind the guard: the page, or the callback if there is one.
    pub fn phase_behind_guard(&self, has_callback: bool) -> Phase {
        match (self.is_page, has_callback) {
            (true, _) => Phase::Page,
            (false, true) => Phase::Callback,
            (false, false) => Phase::Cache,
        }
    }

    /// Resets the facts in place: the struct is large because of the name.
    pub fn reset(&mut self, head_bytes: usize) {
        (self.method, self.version) = (Method::Other, Version::Http11);
        // Writes only the kind of the host, and not the memory of the name.
        self.authority.port = 0;
        self.authority.host = Host::Address(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        self.route = Route::Direct;
        (self.grant, self.body, self.body_out) = (None, Body::None, Body::None);
        (self.keep_alive, self.expects_continue, self.answers_expect) = (false, false, false);
        (self.upgrade, self.html) = (false, false);
        (self.authenticates, self.pinned, self.filters_response) = (false, false, false);
        (self.is_page, self.scheme, self.tells_other_url) = (false, Scheme::Http, false);
        (self.head_bytes, self.phase, self.quota) = (head_bytes, Phase::Client, None);
    }
}
