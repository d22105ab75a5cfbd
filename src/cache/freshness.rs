//! How old a response is, for how long it is fresh, and whether it may be used now (RFC 9111 section 4.2, RFC 5861).

use crate::http::block::FieldLines;

use super::control::{RequestDirectives, ResponseDirectives};

/// What the operator decides about freshness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Longest lifetime that is guessed from Last-Modified, in seconds.
    pub heuristic_max_s: u32,
    /// Lifetime of errors that say nothing about theirs, in seconds; 0 for none.
    pub negative_ttl_s: u32,
}

impl Default for Freshness {
    /// A day at most (RFC 9111 section 4.2.2 asks for care; chosen as Squid and browsers do); errors not at all.
    fn default() -> Freshness {
        Freshness { heuristic_max_s: 24 * 3600, negative_ttl_s: 0 }
    }
}

/// When the request left and when the head of its answer came: seconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// The request was sent.
    pub requested_s: u64,
    /// The head was there.
    pub received_s: u64,
}

/// All that is asked about a stored response when it might be used: computed once, when it is stored or updated. Seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// When it came, since 1970-01-01 UTC.
    pub received_s: u64,
    /// How old it was then (corrected_initial_age, RFC 9111 section 4.2.3).
    pub initial_age_s: u32,
    /// For how long it is fresh, from its making.
    pub lifetime_s: u32,
    /// stale-while-revalidate; 0 where it is missing or forbidden.
    pub while_revalidate_s: u32,
    /// stale-if-error; `None` where it is missing.
    pub if_error_s: Option<u32>,
    /// Never used without asking the origin: `no-cache`.
    pub no_cache: bool,
    /// Never used stale: `must-revalidate`, `proxy-revalidate`, `no-cache`, `s-maxage`.
    pub forbids_stale: bool,
    /// The lifetime was guessed.
    pub heuristic: bool,
    /// The origin said for how long it is fresh.
    pub explicit: bool,
}

/// What may be done with a stored response for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Serve it.
    Fresh,
    /// Serve it, and fetch it anew in the background, once.
    StaleWhileRevalidate,
    /// Serve it: the client said that it takes stale ones.
    StaleAccepted,
    /// Ask the origin first.
    Validate,
}

/// What may be done, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Now.
    pub usage: Use,
    /// The current age: the Age field of an answer that uses it.
    pub age_s: u32,
    /// Seconds that it stays fresh; below zero for how long it has been stale. Of Cache-Status.
    pub ttl_s: i64,
    /// When asking the origin leads to a 500, 502, 503 or 504: serve this instead.
    pub if_error: bool,
    /// When the origin cannot be reached or disconnects before its answer: serve this instead.
    pub if_unreachable: bool,
}

impl Terms {
    /// The terms of a response with that status and these fields.
    pub fn new<'b>(
        status: u16,
        fields: impl FieldLines<'b>,
        directives: &ResponseDirectives,
        times: Times,
        settings: &Freshness,
    ) -> Terms {
        let _ = (status, fields, directives, times, settings);
        Terms::default()
    }

    /// How old the response is.
    pub fn age_s(&self, now_s: u64) -> u32 {
        let _ = now_s;
        0
    }
}

/// Whether a stored response may be used for a request with these directives.
#[inline]
pub fn decide(terms: &Terms, request: &RequestDirectives, now_s: u64) -> Decision {
    let _ = (terms, request, now_s);
    Decision { usage: Use::Validate, age_s: 0, ttl_s: 0, if_error: false, if_unreachable: false }
}

/// A status that lets a stale response be served in its place if [`Decision::if_error`] (RFC 5861 section 4).
pub fn is_error(status: u16) -> bool {
    matches!(status, 500 | 502..=504)
}
