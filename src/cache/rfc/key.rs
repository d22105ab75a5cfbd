//! The key of a stored response: the URI in one spelling (RFC 9111 section 2).

use crate::http::target::{Authority, write_encoded};

/// The schemes whose responses are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

impl Scheme {
    /// The port that a URI leaves out.
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }

    /// The scheme as written in a URI.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// A URI in its parts: the authority that is dialled, and path and query as they go to the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    /// The scheme.
    pub scheme: Scheme,
    /// The origin, in one spelling.
    pub authority: &'a Authority,
    /// Path and query exactly as sent; empty, or beginning with `?`, as absolute-form allows.
    pub path: &'a [u8],
    /// The request is for a gateway. A host behind a gateway is another origin than the host that a forward proxy dials.
    pub by_gateway: bool,
}

impl Uri<'_> {
    /// The port. The authority of a request to a gateway was read with the port of http: of a client that speaks TLS to the proxy
    /// before weir that is no port which it has named.
    pub fn port(&self) -> u16 {
        let is_left_out = self.by_gateway
            && self.scheme == Scheme::Https
            && self.authority.port == Scheme::Http.default_port();
        if is_left_out { self.scheme.default_port() } else { self.authority.port }
    }
}

/// The beginning of the keys of a gateway.
const BY_GATEWAY: &[u8] = b"gateway+";

/// Whether a key is for requests to a gateway.
pub fn is_by_gateway(key: &[u8]) -> bool {
    key.starts_with(BY_GATEWAY)
}

/// Appends the key: the URI without fragment and without a default port. Bytes beyond ASCII are percent-encoded, as
/// other clients send them, so that `/\u{e4}` and `/%C3%A4` share one stored response.
pub fn write_key(out: &mut Vec<u8>, uri: &Uri<'_>) {
    if uri.by_gateway {
        out.extend_from_slice(BY_GATEWAY);
    }
    out.extend_from_slice(uri.scheme.as_str().as_bytes());
    out.extend_from_slice(b"://");
    let default_port = uri.scheme.default_port();
    let left_out = if uri.port() == default_port { uri.authority.port } else { default_port };
    uri.authority.write(out, Some(left_out));
    let path = &uri.path[..memchr::memchr(b'#', uri.path).unwrap_or(uri.path.len())];
    if matches!(path, [] | [b'?', ..]) {
        out.push(b'/');
    }
    write_encoded(out, path);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(scheme: Scheme, authority: &str, path: &str) -> String {
        let authority = Authority::parse(authority.as_bytes(), Some(scheme.default_port())).unwrap();
        let mut out = Vec::new();
        write_key(&mut out, &Uri { scheme, authority: &authority, path: path.as_bytes(), by_gateway: false });
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn ours_26_a_gateway_has_keys_of_its_own() {
        let authority = Authority::parse(b"a.example", Some(80)).unwrap();
        let mut out = Vec::new();
        write_key(
            &mut out,
            &Uri { scheme: Scheme::Http, authority: &authority, path: b"/p", by_gateway: true },
        );
        assert_eq!(out, b"gateway+http://a.example/p");
        // Where a trusted proxy speaks TLS, Host has the port of https or none.
        for authority in ["a.example", "a.example:443"] {
            let authority = Authority::parse(authority.as_bytes(), Some(80)).unwrap();
            out.clear();
            write_key(
                &mut out,
                &Uri { scheme: Scheme::Https, authority: &authority, path: b"/p", by_gateway: true },
            );
            assert_eq!(out, b"gateway+https://a.example/p");
        }
    }

    #[test]
    fn rule_26_keys() {
        for (scheme, authority, path, expected) in [
            (Scheme::Http, "a.example", "/", "http://a.example/"),
            (Scheme::Http, "A.Example.:80", "", "http://a.example/"),
            (Scheme::Http, "a.example:443", "/p?q", "http://a.example:443/p?q"),
            (Scheme::Https, "a.example:443", "/p?q", "https://a.example/p?q"),
            (Scheme::Https, "a.example:80", "?q", "https://a.example:80/?q"),
            (Scheme::Http, "[::FFFF:192.0.2.1]:80", "/", "http://192.0.2.1/"),
            (Scheme::Http, "0xC0.0.2.1", "/", "http://192.0.2.1/"),
            (Scheme::Http, "[2001:DB8::0:1]", "/", "http://[2001:db8::1]/"),
            // The target is exact: its case, its escapes, its dots.
            (Scheme::Http, "a.example", "/A/%7e/../b?x=1&y", "http://a.example/A/%7e/../b?x=1&y"),
            (Scheme::Http, "a.example", "/\u{e4}?\u{20ac}", "http://a.example/%C3%A4?%E2%82%AC"),
            (Scheme::Http, "a.example", "//", "http://a.example//"),
            (Scheme::Http, "a.example", "/?", "http://a.example/?"),
            (Scheme::Http, "a.example", "/p#f", "http://a.example/p"),
            (Scheme::Http, "a.example", "#f?q", "http://a.example/"),
        ] {
            assert_eq!(key(scheme, authority, path), expected, "{authority} {path}");
        }
    }
}
