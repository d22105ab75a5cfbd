//! The values of the labels: each list is complete, so the number of series is bounded.

/// Classes of statuses, by their first digit.
pub const STATUS_CLASSES: [&str; 10] =
    ["none", "1xx", "2xx", "3xx", "4xx", "5xx", "6xx", "7xx", "8xx", "9xx"];

/// The results of the cache for a request, in the words of the access log.
pub const CACHE_USES: [&str; 8] =
    ["none", "hit", "miss", "stale", "revalidated", "collapsed", "bypass", "refresh"];
