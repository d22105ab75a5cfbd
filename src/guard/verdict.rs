//! The guard's refusal of a client or a request.

use super::clouds::Provider;

/// The reason why the guard refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The client is banned.
    Banned,
    /// The client's address belongs to a cloud.
    ClientInCloud(Provider),
    /// The address that was about to be dialled belongs to a cloud.
    DestinationInCloud(Provider),
    /// More requests than a sliding window allows.
    Limit,
    /// More requests than a fixed window allows.
    Over,
    /// Blocked for a time after several violations.
    Blocked,
    /// Blocked for ever after many.
    Permanent,
    /// Too many requests of the client wait already, because a behaviour rule delays them.
    Throttled,
    /// A page of another site may have made the browser send the request.
    Forged,
    /// An attack was found in the request.
    Suspicious,
    /// The request contains an attack, as did enough earlier ones: the client is banned from now on.
    BannedNow,
    /// The store has not answered, and the guard file wants requests refused then.
    StoreFailed,
}

/// A refusal of the guard, small enough to travel with every effect of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Why.
    pub cause: Cause,
    /// The line of the directive in the guard file; 0 without one, as for a ban by an operator.
    pub line: u32,
    /// Seconds until a retry may succeed; 0 if that is unknown, or never.
    pub retry_after_s: u32,
}

impl Cause {
    /// The word for the log and for `Proxy-Status`.
    pub fn word(self) -> &'static str {
        match self {
            Cause::Banned => "banned",
            Cause::ClientInCloud(_) => "cloud_client",
            Cause::DestinationInCloud(_) => "cloud_destination",
            Cause::Limit => "rate_limit",
            Cause::Over => "rate_limit_window",
            Cause::Blocked => "blocked",
            Cause::Permanent => "blocked_forever",
            Cause::Throttled => "throttled",
            Cause::Forged => "csrf",
            Cause::Suspicious => "suspicious",
            Cause::BannedNow => "banned_now",
            Cause::StoreFailed => "guard_store",
        }
    }
}

/// The remaining quota of a client: the fields RateLimit and RateLimit-Policy of a response
/// (draft-ietf-httpapi-ratelimit-headers-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Requests in a window.
    pub limit: u32,
    /// The window in seconds, rounded up.
    pub window_s: u32,
    /// Requests that are left.
    pub left: u32,
    /// Seconds until the quota grows, rounded up.
    pub reset_s: u32,
}

impl Quota {
    /// The fields RateLimit-Policy and RateLimit with their values.
    pub fn fields(&self) -> [(&'static str, String); 2] {
        let Quota { limit, window_s, left, reset_s } = self;
        [
            ("RateLimit-Policy", format!("\"default\";q={limit};w={window_s}")),
            ("RateLimit", format!("\"default\";r={left};t={reset_s}")),
        ]
    }
}
