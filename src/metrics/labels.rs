//! The labels: there are as many of each as there are words here.

/// Classes of statuses, by their first digit.
pub const STATUS_CLASSES: [&str; 10] =
    ["none", "1xx", "2xx", "3xx", "4xx", "5xx", "6xx", "7xx", "8xx", "9xx"];

/// What the cache did for a request, with the words of the access log.
pub const CACHE_USES: [&str; 8] =
    ["none", "hit", "miss", "stale", "revalidated", "collapsed", "bypass", "refresh"];
