//! Cache-Control of requests and responses (RFC 9111 section 5.2), Pragma, and fields targeted at one kind of cache
//! (RFC 9213).

use crate::http::block::FieldLines;

/// Seconds that stand for all that is longer (RFC 9111 section 1.2.2).
pub const SECONDS_MAX: u32 = 1 << 31;

/// What a request asks of caches. Times are seconds, at most [`SECONDS_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// Cache-Control is there, whatever it says.
    pub present: bool,
    /// No response older than this. 0 where it is no number.
    pub max_age_s: Option<u32>,
    /// Fresh for that much longer.
    pub min_fresh_s: Option<u32>,
    /// A response stale for no longer than this will do; without a number any.
    pub max_stale_s: Option<u32>,
    /// A stale response of up to this will do where the origin fails (RFC 5861 section 4).
    pub if_error_s: Option<u32>,
    /// Only what the origin has just confirmed; also from `Pragma: no-cache` where there is no Cache-Control.
    pub no_cache: bool,
    /// Nothing of this exchange is stored.
    pub no_store: bool,
    /// From what is stored, or 504.
    pub only_if_cached: bool,
}

impl RequestDirectives {
    /// Reads them from the fields of a request.
    pub fn read<'b>(fields: impl FieldLines<'b>) -> RequestDirectives {
        let _ = fields;
        RequestDirectives::default()
    }
}

/// What a response allows. Times are seconds, at most [`SECONDS_MAX`]; those that are no numbers are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseDirectives {
    /// Cache-Control, or a field targeted at this cache, is there and valid.
    pub present: bool,
    /// These come from a targeted field: Cache-Control and Expires say nothing (RFC 9213 section 2.2).
    pub targeted: bool,
    /// For how long it is fresh, for all caches.
    pub max_age_s: Option<u32>,
    /// For how long it is fresh, for shared caches.
    pub s_maxage_s: Option<u32>,
    /// For how long after that it may be served while it is fetched anew (RFC 5861 section 3).
    pub while_revalidate_s: Option<u32>,
    /// For how long after that it may be served if the origin fails (RFC 5861 section 4).
    pub if_error_s: Option<u32>,
    /// Not to be stored.
    pub no_store: bool,
    /// Not to be stored by a shared cache.
    pub private: bool,
    /// `private` names fields: those are not to be stored.
    pub private_fields: bool,
    /// Not to be used without asking the origin.
    pub no_cache: bool,
    /// `no-cache` names fields: those are not to be used without asking the origin.
    pub no_cache_fields: bool,
    /// May be stored even though something else forbids it by default.
    pub public: bool,
    /// Not to be used when stale.
    pub must_revalidate: bool,
    /// Not to be used when stale by a shared cache.
    pub proxy_revalidate: bool,
    /// To be stored only by a cache that knows what the status means.
    pub must_understand: bool,
}

impl ResponseDirectives {
    /// Reads them from the fields of a response. The first field of `targeted` (such as `CDN-Cache-Control`) that is there,
    /// valid and not empty counts in place of Cache-Control.
    pub fn read<'b>(fields: impl FieldLines<'b>, targeted: &[&str]) -> ResponseDirectives {
        let _ = (fields, targeted);
        ResponseDirectives::default()
    }

    /// Whether a stale response is forbidden whatever happens (RFC 9111 section 4.2.4).
    pub fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.no_cache || self.s_maxage_s.is_some()
    }
}

/// Whether `private` or `no-cache` of this response names that field: it is then not stored.
pub fn is_withheld<'b>(fields: impl FieldLines<'b>, name: &str) -> bool {
    let _ = (fields, name);
    false
}
