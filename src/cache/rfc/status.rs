//! Cache-Status: how the cache handled a request (RFC 9211).

use crate::http::fields::{is_token, write_decimal};

/// Why a request was forwarded to the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// The cache was configured not to handle the request.
    Bypass,
    /// The method is always forwarded.
    Method,
    /// The URI is not stored.
    UriMiss,
    /// The URI is stored, for other values of the selecting fields.
    VaryMiss,
    /// A miss of either kind.
    Miss,
    /// The stored response is fresh, but the request demands a newer one.
    Request,
    /// The stored response is stale.
    Stale,
    /// Only other parts are stored.
    Partial,
}

impl Forward {
    /// The token (RFC 9211 section 2.2).
    pub fn as_str(self) -> &'static str {
        match self {
            Forward::Bypass => "bypass",
            Forward::Method => "method",
            Forward::UriMiss => "uri-miss",
            Forward::VaryMiss => "vary-miss",
            Forward::Miss => "miss",
            Forward::Request => "request",
            Forward::Stale => "stale",
            Forward::Partial => "partial",
        }
    }
}

/// How one request was handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStatus<'a> {
    /// The reason why the request was forwarded; `None` for a hit.
    pub forward: Option<Forward>,
    /// The status of the origin, if the client gets another status.
    pub forward_status: Option<u16>,
    /// The response was stored.
    pub stored: bool,
    /// The request was collapsed with another request for the same key.
    pub collapsed: bool,
    /// Seconds of freshness that are left, negative if stale.
    pub ttl_s: Option<i64>,
    /// More detail. It is left out if it has bytes beyond printable ASCII.
    pub detail: Option<&'a str>,
}

/// Appends `Cache-Status: weir; hit CRLF`; `name` names this cache.
pub fn write_cache_status(out: &mut Vec<u8>, name: &str, status: &CacheStatus<'_>) {
    write_name(out, name);
    write_parameters(out, status);
}

/// Appends the part that all responses share: `Cache-Status: weir`.
pub fn write_name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b"Cache-Status: ");
    let token = is_token(name.as_bytes()) && name.starts_with(|first: char| first.is_ascii_alphabetic());
    if token {
        out.extend_from_slice(name.as_bytes());
    } else {
        write_string(out, name);
    }
}

/// Appends the parameters and the CRLF.
pub fn write_parameters(out: &mut Vec<u8>, status: &CacheStatus<'_>) {
    match status.forward {
        None => out.extend_from_slice(b"; hit"),
        Some(forward) => {
            out.extend_from_slice(b"; fwd=");
            out.extend_from_slice(forward.as_str().as_bytes());
            if let Some(code) = status.forward_status {
                out.extend_from_slice(b"; fwd-status=");
                write_decimal(out, u64::from(code));
            }
        }
    }
    if let Some(ttl_s) = status.ttl_s {
        out.extend_from_slice(if ttl_s < 0 { b"; ttl=-" } else { b"; ttl=" });
        write_decimal(out, ttl_s.unsigned_abs().min(INTEGER_MAX));
    }
    if status.stored && status.forward.is_some() {
        out.extend_from_slice(b"; stored");
    }
    if status.collapsed && status.forward.is_some() {
        out.extend_from_slice(b"; collapsed");
    }
    if let Some(detail) = status.detail {
        out.extend_from_slice(b"; detail=");
        write_string(out, detail);
    }
    out.extend_from_slice(b"\r\n");
}

/// The largest integer of RFC 8941 section 3.3.1.
const INTEGER_MAX: u64 = 999_999_999_999_999;

/// A string of RFC 8941 section 3.3.3.
fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes().filter(|byte| matches!(byte, b' '..=b'~')) {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: &str, status: &CacheStatus<'_>) -> String {
        let mut out = Vec::new();
        write_cache_status(&mut out, name, status);
        let text = String::from_utf8(out).unwrap();
        text.strip_prefix("Cache-Status: ").unwrap().strip_suffix("\r\n").unwrap().to_owned()
    }

    #[test]
    fn rule_45_cache_status() {
        let hit = CacheStatus::default();
        let forwarded = |forward| CacheStatus { forward: Some(forward), ..hit };
        for (status, expected) in [
            (hit, "weir; hit"),
            (CacheStatus { ttl_s: Some(30), ..hit }, "weir; hit; ttl=30"),
            (CacheStatus { ttl_s: Some(-5), ..hit }, "weir; hit; ttl=-5"),
            (CacheStatus { ttl_s: Some(i64::MIN), ..hit }, "weir; hit; ttl=-999999999999999"),
            // These parameters belong to forwarded requests only.
            (CacheStatus { stored: true, collapsed: true, forward_status: Some(200), ..hit }, "weir; hit"),
            (forwarded(Forward::Bypass), "weir; fwd=bypass"),
            (forwarded(Forward::Method), "weir; fwd=method"),
            (forwarded(Forward::UriMiss), "weir; fwd=uri-miss"),
            (forwarded(Forward::VaryMiss), "weir; fwd=vary-miss"),
            (forwarded(Forward::Miss), "weir; fwd=miss"),
            (forwarded(Forward::Request), "weir; fwd=request"),
            (forwarded(Forward::Partial), "weir; fwd=partial"),
            (
                CacheStatus {
                    forward_status: Some(304),
                    stored: true,
                    collapsed: true,
                    ttl_s: Some(0),
                    detail: Some("a \"b\" \\ \u{e9}\r\n"),
                    ..forwarded(Forward::Stale)
                },
                "weir; fwd=stale; fwd-status=304; ttl=0; stored; collapsed; detail=\"a \\\"b\\\" \\\\ \"",
            ),
        ] {
            assert_eq!(written("weir", &status), expected);
        }
        assert_eq!(written("a b", &hit), "\"a b\"; hit");
        assert_eq!(written("1a", &hit), "\"1a\"; hit");
        assert_eq!(written("", &hit), "\"\"; hit");
    }
}
