//! The origin of a page: scheme, host and port (RFC 6454). Other files call the server of a request its origin; this one is
//! what browsers send in the field Origin.

use crate::http::target::Authority;

/// The origin of a page or of a site. The port is always known: a missing one is the scheme's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebOrigin {
    secure: bool,
    authority: Authority,
}

impl WebOrigin {
    /// The origin of this authority, `host[:port]`; `None` if the text is none.
    pub fn of_host(secure: bool, text: &[u8]) -> Option<WebOrigin> {
        let authority = Authority::parse(text, Some(default_port(secure))).ok()?;
        Some(WebOrigin { secure, authority })
    }

    /// The origin of a requested authority. It was read with the port of http: of a client that speaks TLS that is no port
    /// which it has named.
    pub fn requested(secure: bool, mut authority: Authority) -> WebOrigin {
        if secure && authority.port == default_port(false) {
            authority.port = default_port(true);
        }
        WebOrigin { secure, authority }
    }

    /// The port, also where it is left out.
    pub fn port(&self) -> u16 {
        self.authority.port
    }

    /// Reads the value of a field Origin. `None` for `null`, the origin of documents that belong to no site, and for
    /// all others that are no site's.
    pub fn parse(text: &[u8]) -> Option<WebOrigin> {
        let (secure, rest) = split_scheme(text)?;
        WebOrigin::of_host(secure, rest)
    }

    /// The origin of the page with this URI, such as the value of a field Referer.
    pub fn of_uri(uri: &[u8]) -> Option<WebOrigin> {
        let (secure, rest) = split_scheme(uri)?;
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        WebOrigin::of_host(secure, &rest[..end])
    }
}

/// The port that URIs of a scheme leave out (RFC 9110 section 4.2).
fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

/// Whether the scheme is https and not http, and what is behind `://`.
fn split_scheme(text: &[u8]) -> Option<(bool, &[u8])> {
    [(false, &b"http://"[..]), (true, b"https://")].into_iter().find_map(|(secure, scheme)| {
        let (start, rest) = text.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some((secure, rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_7_an_origin_is_scheme_host_and_port() {
        let parse = |text: &str| WebOrigin::parse(text.as_bytes());
        for (text, same) in [
            ("https://a.example", "https://a.example:443"),
            ("http://a.example:80", "http://a.example"),
            ("HTTPS://A.example:", "https://a.example"),
            ("https://[2001:DB8::1]", "https://[2001:db8:0::1]:443"),
        ] {
            assert!(parse(text).is_some(), "{text}");
            assert_eq!(parse(text), parse(same), "{text}");
            assert_eq!(WebOrigin::of_uri(format!("{same}/x?y").as_bytes()), parse(text), "{text}");
        }
        for (secure, asked, origin) in [
            (true, "a.example:80", "https://a.example"),
            (true, "a.example:8443", "https://a.example:8443"),
            (false, "a.example:80", "http://a.example"),
            (false, "a.example:443", "http://a.example:443"),
        ] {
            let asked = Authority::parse(asked.as_bytes(), None).unwrap();
            assert_eq!(Some(WebOrigin::requested(secure, asked)), parse(origin), "{origin}");
        }
        for (text, other) in [
            ("https://a.example", "http://a.example"),
            ("https://a.example:80", "https://a.example"),
            ("https://a.example:443", "http://a.example:443"),
            ("https://a.example", "https://b.example"),
        ] {
            assert_ne!(parse(text), parse(other), "{text}");
        }
        for text in [
            "null",
            "",
            "a.example",
            "ftp://a.example",
            "https://",
            "https://a.example/",
            "https://a b",
            "https://u@a",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
