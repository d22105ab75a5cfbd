//! Edits of a forwarded request beside those of configuration: by the cache, and by the gateway.

use crate::cache::rfc::range;
use crate::cache::rfc::validation::{CONDITIONAL_FIELDS, Validators};
use crate::cache::store::stored::Stored;
use crate::http::forwarding::{self, Edits};
use crate::http::target::Authority;

/// Edits of a request that validates a stored response, or asks for its missing bytes: conditions and range are the cache's
/// own (rules 31 and 35). A part is validated with the client's range: if the representation has changed, the client gets its
/// range of the new one (RFC 9110 section 13.2.2: If-None-Match comes first).
#[derive(Debug)]
pub(super) struct OwnConditions<'a> {
    pub edits: &'a dyn Edits,
    pub stored: &'a Stored,
    pub missing: Option<range::Part>,
}

impl Edits for OwnConditions<'_> {
    fn removes_nothing(&self) -> bool {
        false
    }

    fn removes(&self, name: &str) -> bool {
        let is_one_of = |fields: &[&str]| fields.iter().any(|field| field.eq_ignore_ascii_case(name));
        let validates_part = self.missing.is_none() && self.stored.fragment().is_some();
        let kept = validates_part && is_one_of(&["range", "if-range"]);
        self.edits.removes(name) || (is_one_of(&CONDITIONAL_FIELDS) && !kept)
    }

    fn write_added(&self, out: &mut Vec<u8>) {
        self.edits.write_added(out);
        let validators = Validators::read(self.stored.block());
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
    /// Whether a trusted proxy has sent scheme and host, which are then forwarded.
    pub told: [bool; 2],
}

/// Fields, other than those that weir writes, by which proxies describe a client and its scheme, or its requested host and path:
/// some servers read the last ones as those of the request.
const OF_PROXIES: [&str; 22] = [
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
];

/// CGI makes `HTTP_PROXY` of this field, from which libraries of many languages take the proxy of their own requests (CVE-2016-5385).
const PROXY: &str = "proxy";

/// The beginning of the names of such fields.
const FORWARDED: &str = "x-forwarded-";

fn is_of_proxies(name: &str) -> bool {
    // X-Forwarded-For itself is handled by `ForwardedPolicy`, not by an edit.
    if name.eq_ignore_ascii_case("X-Forwarded-For") {
        return false;
    }
    let begins = name.get(..FORWARDED.len()).is_some_and(|start| start.eq_ignore_ascii_case(FORWARDED));
    begins || OF_PROXIES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

pub(super) const PROTO: &str = "X-Forwarded-Proto";
pub(super) const HOST: &str = "X-Forwarded-Host";

impl Edits for GatewayEdits<'_> {
    fn removes_nothing(&self) -> bool {
        false
    }

    fn removes(&self, name: &str) -> bool {
        (!self.is_trusted && is_of_proxies(name))
            || name.eq_ignore_ascii_case(PROXY)
            || (!self.allows_underscores && name.contains('_'))
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
        assert!(trusted.removes("Proxy"), "no proxy means anything by it");
        added.clear();
        trusted.write_added(&mut added);
        assert!(added.is_empty());
    }
}
