//! Fields of a request by which proxies describe its client and its URL: which of them a gateway forwards, and whether they tell of
//! another URL than the one that was asked for.
//!
//! A stranger speaks for no client, so none of its fields of this kind reach an upstream. A proxy that the guard file trusts is
//! believed, but it may pass on what its own client has sent: an upstream may take such a field for the URL of the request, and a cache
//! must not store the response for the URL that the request had.

use crate::http::fields::{decimal, has_open_quote, list, parameters};
use crate::http::web_origin::WebOrigin;

/// The scheme that the client has used.
pub const PROTO: &str = "X-Forwarded-Proto";
/// The host that the client has asked for.
pub const HOST: &str = "X-Forwarded-Host";

/// Whether a field tells upstreams what is in the key of the cache: scheme and host. If it tells of others, the request bypasses the cache.
pub fn is_in_key(name: &str) -> bool {
    [PROTO, HOST].iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Which fields of a request a gateway does not forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayFilter {
    /// The peer is a proxy that the guard file trusts: its fields about client and path are forwarded.
    pub is_trusted: bool,
    /// Names with underscores are forwarded, as far as they do not stand for others.
    pub allows_underscores: bool,
}

impl GatewayFilter {
    /// Whether fields of this name are not forwarded. X-Forwarded-For and Forwarded are not judged here: weir writes both.
    pub fn removes(self, name: &str) -> bool {
        (!self.is_trusted && is_of_proxies(name)) || is_never_forwarded(name, self.allows_underscores)
    }
}

/// Fields, other than those that weir writes, by which proxies describe a client and its scheme, or its requested host and path:
/// some servers read the last ones as those of the request.
const OF_PROXIES: [&str; 37] = [
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
    "x-script-name",
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
pub fn never_in_trailers(allows_underscores: bool) -> fn(&str) -> bool {
    match allows_underscores {
        true => |name| is_never_forwarded(name, true) || stands_for_proxies(name),
        false => |name| is_never_forwarded(name, false) || stands_for_proxies(name),
    }
}

/// The requested URL, in the parts that fields of proxies tell of.
#[derive(Clone, Copy, Debug)]
pub struct Requested<'a> {
    /// Scheme, host and port.
    pub origin: WebOrigin,
    /// Whether the scheme is https.
    pub secure: bool,
    /// Path and query, as in the target.
    pub path: &'a [u8],
}

impl Requested<'_> {
    /// Whether any of these fields, which an upstream may read as parts of the URL, tells of another one. Of X-Forwarded-Proto and
    /// X-Forwarded-Host only `told` counts: what upstreams get.
    pub fn is_told_otherwise<'f>(
        self,
        mut fields: impl Iterator<Item = (&'f str, &'f [u8])>,
        mut told: impl Iterator<Item = (&'f str, &'f [u8])>,
    ) -> bool {
        fields.any(|(name, value)| !is_in_key(name) && self.differs(name, value))
            || told.any(|(name, value)| self.differs(name, value))
    }

    fn differs(self, name: &str, value: &[u8]) -> bool {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let is_one_of = |names: &[&str]| names.iter().any(|known| is(known));
        // The shortest is X-Host; most names of other fields need no more than this.
        if !matches!(name.as_bytes(), [b'x' | b'X' | b'f' | b'F', b'-' | b'o' | b'r', ..]) {
            return false;
        }
        match name.len() {
            _ if is_one_of(&["x-forwarded-host", "x-host", "x-original-host", "x-http-host-override"]) => {
                list(value).any(|host| self.is_other_host(host))
            }
            _ if is_one_of(&["x-forwarded-proto", "x-forwarded-scheme", "x-forwarded-protocol"])
                || is_one_of(&["x-scheme", "x-url-scheme"]) =>
            {
                !value.eq_ignore_ascii_case(self.scheme())
            }
            _ if is_one_of(&["x-forwarded-ssl", "front-end-https"]) => {
                value.eq_ignore_ascii_case(b"on") != self.secure
            }
            _ if is("x-forwarded-port") => {
                list(value).any(|port| decimal(port) != Some(u64::from(self.origin.port())))
            }
            _ if is_one_of(&["x-forwarded-prefix", "x-forwarded-pathbase", "x-script-name"]) => {
                !matches!(value, b"" | b"/")
            }
            _ if is_one_of(&["x-original-url", "x-original-uri", "x-rewrite-url"])
                || is_one_of(&["x-forwarded-uri", "x-forwarded-path"]) =>
            {
                value != self.path
            }
            _ if is("forwarded") => self.is_other_element(value),
            _ => false,
        }
    }

    fn scheme(self) -> &'static [u8] {
        if self.secure { b"https" } else { b"http" }
    }

    fn is_other_host(self, host: &[u8]) -> bool {
        WebOrigin::of_host(self.secure, host) != Some(self.origin)
    }

    /// Upstreams read the first or the last element of Forwarded (RFC 7239), so each of them counts.
    fn is_other_element(self, value: &[u8]) -> bool {
        let unquoted = |text: &'_ [u8]| -> Vec<u8> {
            let inner = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\""));
            inner.unwrap_or(text).iter().copied().filter(|byte| *byte != b'\\').collect()
        };
        let differs = |pair: &[u8]| match pair.split_at_checked(5) {
            Some((name, host)) if name.eq_ignore_ascii_case(b"host=") => self.is_other_host(&unquoted(host)),
            _ => pair
                .split_at_checked(6)
                .filter(|(name, _)| name.eq_ignore_ascii_case(b"proto="))
                .is_some_and(|(_, proto)| !unquoted(proto).eq_ignore_ascii_case(self.scheme())),
        };
        has_open_quote(value) || list(value).flat_map(parameters).any(differs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{Limits, Message, RequestHead};
    use crate::http::target::Authority;

    #[test]
    fn gateway_14_which_fields_are_not_forwarded() {
        let stranger = GatewayFilter { is_trusted: false, allows_underscores: false };
        for name in ["X-Forwarded-Proto", "x-forwarded-host", "X-Forwarded-Port", "X-Real-IP", "X_Y", "PROXY"]
        {
            assert!(stranger.removes(name), "{name}");
        }
        assert!(
            OF_PROXIES.iter().all(|name| stranger.removes(name) && stranger.removes(&name.to_uppercase()))
        );
        for name in ["X-Forwarded-For", "Forwarded", "Cookie", "X-Forward", "Proxy-Status"] {
            assert!(!stranger.removes(name), "{name}");
        }
        let trusted = GatewayFilter { is_trusted: true, allows_underscores: true };
        for name in ["X-Forwarded-Proto", "X-Real-IP", "X_Y"] {
            assert!(!trusted.removes(name), "{name}");
        }
        assert!(trusted.removes("Proxy"), "no proxy means anything by it");
        let allowing = GatewayFilter { allows_underscores: true, ..stranger };
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
    }

    #[test]
    fn ours_26_fields_that_tell_of_another_url() {
        let told = |secure: bool, authority: &str, fields: &str| {
            let head = format!("GET /x?y HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
            let mut message = Message::new();
            let head = RequestHead::parse(head.as_bytes(), &mut message, &Limits::default()).unwrap();
            let authority = Authority::parse(authority.as_bytes(), Some(80)).unwrap();
            let origin = WebOrigin::requested(secure, authority);
            let requested = Requested { origin, secure, path: b"/x?y" };
            requested
                .is_told_otherwise(head.fields.iter(), head.fields.iter().filter(|(name, _)| is_in_key(name)))
        };
        for (fields, expected) in [
            ("Cookie: a", false),
            ("X-Forwarded-Host: A.example", false),
            ("X-Forwarded-Host: a.example:443", false),
            ("X-Forwarded-Host: a.example, evil.example", true),
            ("X-Forwarded-Host: a.example, a.example:443", false),
            ("X-Forwarded-Host:", false),
            ("X-Host: evil.example", true),
            ("X-Forwarded-Proto: HTTPS", false),
            ("X-Forwarded-Proto: http", true),
            ("X-Forwarded-Proto: https, http", true),
            ("X-Forwarded-Ssl: on", false),
            ("Front-End-Https: off", true),
            ("X-Forwarded-Port: 443", false),
            ("X-Forwarded-Port: 443, 443", false),
            ("X-Forwarded-Port:", false),
            ("X-Forwarded-Port: 8443", true),
            ("X-Script-Name: /evil", true),
            ("X-Forwarded-Prefix: /", false),
            ("X-Forwarded-Prefix: /evil", true),
            ("X-Original-URI: /x?y", false),
            ("X-Rewrite-URL: /admin", true),
            ("X-Forwarded-For: 192.0.2.1", false),
            ("X-Forwarded-Server: b.example", false),
            ("Forwarded: for=192.0.2.1", false),
            (
                "Forwarded: for=192.0.2.1;Host=a.example;proto=https, for=\"[::1]\";host=\"a.example:443\"",
                false,
            ),
            ("Forwarded: for=192.0.2.1; host=evil.example, for=192.0.2.1;host=a.example", true),
            ("Forwarded: host=\"evil\\.example\"", true),
            ("Forwarded: for=192.0.2.1;host=\"a;proto=https\"", true),
            ("Forwarded: proto=http", true),
            ("Forwarded: for=\"x", true),
        ] {
            assert_eq!(told(true, "a.example", fields), expected, "{fields}");
        }
        assert!(
            !told(false, "a.example:8080", "X-Forwarded-Port: 8080")
                && told(false, "a", "X-Forwarded-Ssl: on")
        );
    }
}
