//! Edits of a forwarded request beside those of configuration: by the cache, and by the gateway.

use crate::cache::rfc::range;
use crate::cache::rfc::validation::{CONDITIONAL_FIELDS, Validators};
use crate::cache::store::stored::Stored;
use crate::engine::cache::state::Caching;
use crate::http::forwarding::{self, Edits};
use crate::http::target::Authority;

/// Edits of a request that validates a stored response, asks for its missing bytes, or fetches it anew for all clients: conditions and
/// range are the cache's own (rules 24, 31 and 35). A part is validated with the client's range: if the representation has changed, the client gets its
/// range of the new one (RFC 9110 section 13.2.2: If-None-Match comes first).
#[derive(Debug)]
pub(super) struct OwnConditions<'a> {
    edits: &'a dyn Edits,
    /// `None`: the response is fetched without conditions.
    stored: Option<&'a Stored>,
    missing: Option<range::Part>,
}

impl<'a> OwnConditions<'a> {
    /// The edits for what the cache asks the origin for, if it asks for something of its own.
    pub fn of(caching: &'a Caching, edits: &'a dyn Edits) -> Option<OwnConditions<'a>> {
        let (stored, missing) = match (caching.to_validate(), caching.to_complete()) {
            (Some(stored), _) => (Some(&**stored), None),
            (None, Some((stored, missing))) => (Some(&**stored), Some(missing)),
            (None, None) if caching.fetches_for_all() => (None, None),
            (None, None) => return None,
        };
        Some(OwnConditions { edits, stored, missing })
    }
}

impl Edits for OwnConditions<'_> {
    fn removes_nothing(&self) -> bool {
        false
    }

    fn removes(&self, name: &str) -> bool {
        let is_one_of = |fields: &[&str]| fields.iter().any(|field| field.eq_ignore_ascii_case(name));
        let validates_part =
            self.missing.is_none() && self.stored.is_some_and(|stored| stored.fragment().is_some());
        let kept = validates_part && is_one_of(&["range", "if-range"]);
        self.edits.removes(name) || (is_one_of(&CONDITIONAL_FIELDS) && !kept)
    }

    fn write_added(&self, out: &mut Vec<u8>) {
        self.edits.write_added(out);
        let Some(stored) = self.stored else { return };
        let validators = Validators::read(stored.block());
        let Some(missing) = self.missing else {
            for (name, value) in validators.conditions() {
                forwarding::write_field(out, name, value);
            }
            return;
        };
        range::write_range(out, missing);
        // If the representation has changed, the whole new one is sent.
        if let Some(tag) = validators.etag {
            forwarding::write_field(out, "If-Range", tag);
        }
    }
}

/// Edits of a request by the gateway, beside those of configuration: the client's claims about itself are not forwarded, and
/// neither are fields that CGI and WSGI would take for others.
#[derive(Debug)]
pub(super) struct GatewayEdits<'a> {
    pub edits: &'a dyn Edits,
    /// The requested host.
    pub asked: &'a Authority,
    pub allows_underscores: bool,
    /// The peer is a proxy that the guard file trusts: its fields about client and path are forwarded.
    pub is_trusted: bool,
    /// Whether a trusted proxy tells scheme and host, which are then forwarded. Otherwise weir writes them, in place of received ones.
    pub told: [bool; 2],
}

/// Fields, other than those that weir writes, by which proxies describe a client and its scheme, or its requested host and path:
/// some servers read the last ones as those of the request.
const OF_PROXIES: [&str; 36] = [
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "x-proxyuser-ip",
    "x-envoy-external-address",
    "x-forwarded",
    "forwarded-for",
    "true-client-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "fastly-client-ip",
    "front-end-https",
    "x-scheme",
    "x-url-scheme",
    "x-host",
    "x-original-host",
    "x-http-host-override",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x-azure-clientip",
    "x-azure-socketip",
    "client-ip",
    "proxy-client-ip",
    "wl-proxy-client-ip",
    "x-originating-ip",
    "x-remote-ip",
    "x-remote-addr",
    "x-appengine-user-ip",
    "x-appengine-remote-addr",
    "x-vercel-forwarded-for",
    "x-sucuri-clientip",
    "incap-client-ip",
    "fly-client-ip",
    "do-connecting-ip",
];

/// CGI makes `HTTP_PROXY` of this field, from which libraries of many languages take the proxy of their own requests (CVE-2016-5385).
const PROXY: &str = "proxy";

/// The beginning of the names of such fields.
const FORWARDED: &str = "x-forwarded-";

fn is_of_proxies(name: &str) -> bool {
    // X-Forwarded-For itself is handled by `ForwardedPolicy`, not by an edit.
    !name.eq_ignore_ascii_case("X-Forwarded-For") && stands_for_proxies(name)
}

/// Whether CGI and WSGI, which take an underscore for a hyphen, read a name as that of a field by which proxies describe a client.
fn stands_for_proxies(name: &str) -> bool {
    let is = |name: &[u8], known: &str| {
        let same =
            |(byte, known): (&u8, u8)| byte.to_ascii_lowercase() == known || (*byte == b'_' && known == b'-');
        name.len() == known.len() && name.iter().zip(known.bytes()).all(same)
    };
    let name = name.as_bytes();
    let begins = name.get(..FORWARDED.len()).is_some_and(|start| is(start, FORWARDED));
    begins || OF_PROXIES.iter().any(|known| is(name, known))
}

/// Whether a gateway forwards no field of this name, from strangers and trusted proxies alike.
fn is_never_forwarded(name: &str, allows_underscores: bool) -> bool {
    // No proxy spells a field of its own with an underscore, and a trusted one may pass on that of a stranger.
    let is_disguised = name.contains('_') && (!allows_underscores || stands_for_proxies(name));
    is_disguised || name.eq_ignore_ascii_case(PROXY)
}

/// The trailers that a gateway does not forward: the same fields as in heads, and those about a client from trusted proxies, too,
/// because they write them in heads.
pub(super) fn never_in_trailers(allows_underscores: bool) -> fn(&str) -> bool {
    match allows_underscores {
        true => |name| is_never_forwarded(name, true) || stands_for_proxies(name),
        false => |name| is_never_forwarded(name, false) || stands_for_proxies(name),
    }
}

pub(super) const PROTO: &str = "X-Forwarded-Proto";
pub(super) const HOST: &str = "X-Forwarded-Host";

impl GatewayEdits<'_> {
    /// Whether weir writes a field of this name itself.
    fn writes(&self, name: &str) -> bool {
        let [proto_told, host_told] = self.told;
        (!proto_told && name.eq_ignore_ascii_case(PROTO)) || (!host_told && name.eq_ignore_ascii_case(HOST))
    }
}

impl Edits for GatewayEdits<'_> {
    fn removes_nothing(&self) -> bool {
        false
    }

    fn removes(&self, name: &str) -> bool {
        (!self.is_trusted && is_of_proxies(name))
            || (self.is_trusted && self.writes(name))
            || is_never_forwarded(name, self.allows_underscores)
            || self.edits.removes(name)
    }

    fn write_added(&self, out: &mut Vec<u8>) {
        let [proto_told, host_told] = self.told;
        if !proto_told && !self.edits.removes(PROTO) {
            forwarding::write_field(out, PROTO, b"http");
        }
        if !host_told && !self.edits.removes(HOST) {
            out.extend_from_slice(b"X-Forwarded-Host: ");
            self.asked.write(out, Some(80));
            out.extend_from_slice(b"\r\n");
        }
        self.edits.write_added(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateway_14_what_strangers_say_of_a_client_is_not_passed_on() {
        let asked = Authority::parse(b"app.example", Some(80)).unwrap();
        let stranger = GatewayEdits {
            edits: &(),
            asked: &asked,
            allows_underscores: false,
            is_trusted: false,
            told: [false; 2],
        };
        for name in ["X-Forwarded-Proto", "x-forwarded-host", "X-Forwarded-Port", "X-Real-IP", "X_Y", "PROXY"]
        {
            assert!(stranger.removes(name), "{name}");
        }
        assert!(
            OF_PROXIES.iter().all(|name| stranger.removes(name) && stranger.removes(&name.to_uppercase()))
        );
        // weir writes this field itself, in place of the received one.
        for name in ["X-Forwarded-For", "Forwarded", "Cookie", "X-Forward", "Proxy-Status"] {
            assert!(!stranger.removes(name), "{name}");
        }
        let mut added = Vec::new();
        stranger.write_added(&mut added);
        assert_eq!(added, b"X-Forwarded-Proto: http\r\nX-Forwarded-Host: app.example\r\n");
        let trusted =
            GatewayEdits { is_trusted: true, allows_underscores: true, told: [true; 2], ..stranger };
        for name in ["X-Forwarded-Proto", "X-Real-IP", "X_Y"] {
            assert!(!trusted.removes(name), "{name}");
        }
        let told_otherwise = GatewayEdits { told: [false; 2], ..trusted };
        assert!(told_otherwise.removes("X-Forwarded-Proto") && told_otherwise.removes("x-forwarded-host"));
        assert!(!told_otherwise.removes("X-Forwarded-Port"));
        assert!(trusted.removes("Proxy"), "no proxy means anything by it");
        let allowing = GatewayEdits { allows_underscores: true, ..stranger };
        for name in ["X_Forwarded_For", "X-Forwarded_For", "x_forwarded-for", "X_Real_IP", "CLIENT_IP"] {
            assert!(allowing.removes(name) && trusted.removes(name), "{name}");
        }
        assert!(!allowing.removes("Content_Length"));
        for allows_underscores in [false, true] {
            let withheld = never_in_trailers(allows_underscores);
            assert!(OF_PROXIES.iter().all(|name| withheld(name)));
            for name in ["Proxy", "X-Forwarded-Port", "X_Forwarded_For", "X-Real_IP"] {
                assert!(withheld(name), "{name}");
            }
            assert!(!withheld("X-Sum") && withheld("X_Sum") != allows_underscores);
        }
        added.clear();
        trusted.write_added(&mut added);
        assert!(added.is_empty());
    }
}
