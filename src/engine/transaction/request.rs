//! What is known of a request once its head was read.

use crate::engine::upstream::route::{Hop, Route};
use crate::guard::verdict::Quota;
use crate::http::framing::Body;
use crate::http::head::Version;
use crate::http::target::{Authority, Host};
use crate::policy::acl::Grant;
use std::net::{IpAddr, Ipv4Addr};

/// What the engine needs to know of a method (RFC 9110 section 9).
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

    /// As `framing::response_body` wants to know it.
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

/// The phases of a request before it is forwarded, in their order. A request whose phase has to wait (for a password, for
/// another request) goes on in that phase: what came before is not done twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Phase {
    /// The client of the request, and whether it may use the proxy at all (rule 46).
    Client,
    /// How long the request is, and whether the connection goes on behind it.
    Framing,
    /// Whether the client is banned; what is asked for, and whether the request goes round in circles.
    Identify,
    /// The user of the request. May wait for a password to be verified.
    Authenticate,
    /// Whether the rules allow it.
    Judge,
    /// Whether the client has asked too often. May wait for the store that counts it.
    Guard,
    /// Whether there is an attack in the head.
    Inspect,
    /// What the guard answers itself where a gateway was asked, and whether the request may be forged. May wait for the body.
    Protect,
    /// What the client has been doing. May wait, because its requests go at a pace.
    Behaviour,
    /// What the program around the proxy makes of it.
    Callback,
    /// The answer of a page of that program. May wait for the body, and for the store.
    Page,
    /// What the cache has. May wait for another request for the same.
    Cache,
    /// The head for the origin is written.
    Route,
}

/// What is remembered of a request after its head was read.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct RequestInfo {
    pub method: Method,
    pub version: Version,
    /// The origin; of no meaning before the head was understood.
    pub authority: Authority,
    /// Where it goes.
    pub route: Route,
    /// What the policy allowed.
    pub grant: Option<Grant>,
    pub body: Body,
    /// How the body goes on.
    pub body_out: Body,
    /// The response goes through filters: nothing of it is for others.
    pub filters_response: bool,
    /// The client wants to go on after this transaction.
    pub keep_alive: bool,
    /// The client may wait for a 100 before it sends the body.
    pub expects_continue: bool,
    /// The client asked for another protocol.
    pub upgrade: bool,
    /// A page of the program around the proxy answers it.
    pub is_page: bool,
    /// It has credentials for its connection, which is the client's alone from then on.
    pub authenticates: bool,
    /// That is so, or is so already.
    pub bound: bool,
    /// What the client may still ask for, if it is to be told.
    pub quota: Option<Quota>,
    /// A person will look at the answer, so that a refusal may be HTML. Found out when there is one.
    pub html: bool,
    /// Length of the head in the client's input.
    pub head_bytes: usize,
    /// The phase that comes next.
    pub phase: Phase,
}

impl RequestInfo {
    /// What is assumed of a request that could not be understood.
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
            keep_alive: false,
            expects_continue: false,
            upgrade: false,
            is_page: false,
            authenticates: false,
            bound: false,
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

    /// The phase behind the guard: that of a page, or of the callback if there is one.
    pub fn phase_behind_guard(&self, has_callback: bool) -> Phase {
        match (self.is_page, has_callback) {
            (true, _) => Phase::Page,
            (false, true) => Phase::Callback,
            (false, false) => Phase::Cache,
        }
    }

    /// The same in place: most of a info is room for a name.
    pub fn reset(&mut self, head_bytes: usize) {
        (self.method, self.version) = (Method::Other, Version::Http11);
        // No more than the host's kind is written, and not the room for a name.
        self.authority.port = 0;
        self.authority.host = Host::Address(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        self.route = Route::Direct;
        (self.grant, self.body, self.body_out) = (None, Body::None, Body::None);
        (self.keep_alive, self.expects_continue, self.upgrade, self.html) = (false, false, false, false);
        (self.authenticates, self.bound, self.filters_response) = (false, false, false);
        self.is_page = false;
        (self.head_bytes, self.phase, self.quota) = (head_bytes, Phase::Client, None);
    }
}
