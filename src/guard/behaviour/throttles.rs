//! Clients whose requests are delayed: a token bucket with one token, stored as the time of the next request (GCRA).

use crate::guard::recent::Recent;
use crate::guard::shards::Shards;

/// The longest delay of a request (chosen: below the time-outs of most clients). A request that would wait longer is refused.
pub const DELAY_MS_MAX: u64 = 30_000;

/// One client on one endpoint. Times are in microseconds on the clock of all loops.
#[derive(Debug, Default)]
struct Bucket {
    /// The throttle holds so long.
    until_us: u64,
    /// Time of the next request.
    next_us: u64,
}

/// The decision about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The request continues at once.
    Free,
    /// The request continues after so many microseconds.
    Wait(u64),
    /// The request would wait for too long, so many microseconds, because of those before it.
    TooLong(u64),
}

/// All throttled clients of a proxy. Bounded: the least recently used client is forgotten.
#[derive(Debug)]
pub struct Throttles {
    shards: Shards<Recent<Bucket>>,
}

impl Throttles {
    /// A table for about `keys_max` clients.
    pub fn new(keys_max: usize) -> Throttles {
        Throttles { shards: Shards::new(keys_max, Recent::new) }
    }

    /// Throttles from now on, for `duration_us`; one request in `interval_us` passes.
    pub fn begin(&self, key: u64, interval_us: u64, duration_us: u64, now_us: u64) {
        let mut shard = self.shards.of(key);
        let (bucket, _) = shard.use_or_add(key);
        bucket.until_us = bucket.until_us.max(now_us.saturating_add(duration_us));
        bucket.next_us = bucket.next_us.max(now_us.saturating_add(interval_us));
    }

    /// The decision about a request at `now_us`.
    pub fn take(&self, key: u64, interval_us: u64, now_us: u64) -> Pace {
        let mut shard = self.shards.of(key);
        if shard.peek(key).is_none_or(|bucket| bucket.until_us <= now_us) {
            shard.remove(key);
            return Pace::Free;
        }
        let (bucket, _) = shard.use_or_add(key);
        let wait_us = bucket.next_us.saturating_sub(now_us);
        if wait_us > DELAY_MS_MAX * 1000 {
            return Pace::TooLong(wait_us);
        }
        bucket.next_us = bucket.next_us.max(now_us).saturating_add(interval_us);
        if wait_us == 0 { Pace::Free } else { Pace::Wait(wait_us) }
    }

    /// Number of keys.
    pub fn len(&self) -> u64 {
        self.shards.sum(|shard| shard.len() as u64)
    }

    /// Whether no client is throttled.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn ours_10_a_throttled_client_goes_at_its_pace() {
        let throttles = Throttles::new(64);
        assert_eq!(throttles.take(1, SECOND, 5), Pace::Free);
        assert!(throttles.is_empty());
        throttles.begin(1, SECOND, 60 * SECOND, 0);
        // Requests at the same moment queue up behind each other; another client's do not wait.
        for place in 1..=30 {
            assert_eq!(throttles.take(1, SECOND, 0), Pace::Wait(place * SECOND), "{place}");
        }
        assert_eq!(throttles.take(1, SECOND, 0), Pace::TooLong(31 * SECOND));
        assert_eq!(throttles.take(1, SECOND, 0), Pace::TooLong(31 * SECOND));
        assert_eq!(throttles.take(2, SECOND, 0), Pace::Free);
        // A client that pauses long enough does not wait.
        assert_eq!(throttles.take(1, SECOND, 31 * SECOND), Pace::Free);
        assert_eq!(throttles.take(1, SECOND, 31 * SECOND), Pace::Wait(SECOND));
        // Another violation lengthens the throttle, and does not shorten the queue.
        throttles.begin(1, SECOND, 60 * SECOND, 32 * SECOND);
        assert_eq!(throttles.take(1, SECOND, 32 * SECOND), Pace::Wait(SECOND));
        assert_eq!(throttles.take(1, SECOND, 91 * SECOND), Pace::Free);
        assert_eq!(throttles.take(1, SECOND, 92 * SECOND), Pace::Free);
        assert_eq!(throttles.len(), 0);
    }
}
