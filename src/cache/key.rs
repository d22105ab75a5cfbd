//! What a stored response is found by (RFC 9111 section 2): the URI, in one spelling.

use crate::http::target::Authority;

/// The schemes whose responses are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

impl Scheme {
    /// The port that is not written.
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }

    /// As in a URI.
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
    /// Who is asked; already in one spelling.
    pub authority: Authority,
    /// Path and query exactly as sent; empty, or beginning with `?`, as absolute-form allows.
    pub path: &'a [u8],
}

/// Appends the key: the URI with the default port left out, without fragment. Equal for two requests that the origin
/// cannot tell apart by target.
pub fn write_key(out: &mut Vec<u8>, uri: &Uri<'_>) {
    out.extend_from_slice(uri.scheme.as_str().as_bytes());
    out.extend_from_slice(b"://");
    uri.authority.write(out, Some(uri.scheme.default_port()));
    let path = uri.path.split(|&byte| byte == b'#').next().unwrap_or_default();
    if matches!(path, [] | [b'?', ..]) {
        out.push(b'/');
    }
    out.extend_from_slice(path);
}
