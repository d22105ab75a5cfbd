//! A cache of results on credentials: a bounded table of keyed hashes, with short lives.

use std::hash::{BuildHasherDefault, Hasher};

use hashlink::LruCache;

use crate::time::Now;

/// Most results; the least recently used one leaves first (chosen: 200 KB).
pub const CREDENTIALS_MAX: usize = 4096;

/// How long an acceptance is kept, in microseconds (chosen: the requests of one page cost one slow hash).
pub const ACCEPTED_FOR_US: u64 = 60_000_000;

/// How long a rejection is kept, in microseconds (chosen: a client that repeats wrong credentials costs one hash, and
/// uses one of its attempts, per 30 s).
pub const WRONG_FOR_US: u64 = 30_000_000;

/// Results on credentials. The keys are 128-bit hashes under the seed of the [`Users`] that decided; the credentials
/// are not kept. After a reload the keys of users who have changed differ, so nothing has to be revoked.
///
/// [`Users`]: super::auth::Users
#[derive(Debug)]
pub struct CredentialCache {
    results: LruCache<u128, Remembered, BuildHasherDefault<KeyHasher>>,
}

impl Default for CredentialCache {
    fn default() -> CredentialCache {
        CredentialCache { results: LruCache::with_hasher(CREDENTIALS_MAX, BuildHasherDefault::default()) }
    }
}

#[derive(Clone, Copy, Debug)]
struct Remembered {
    accepted: bool,
    until_us: u64,
}

impl CredentialCache {
    /// The result on this key, if there is a recent one. See `Users::key`.
    pub fn get(&mut self, now: Now, key: u128) -> Option<bool> {
        let result = self.results.get(&key).copied()?;
        if now.monotonic_us >= result.until_us {
            self.results.remove(&key);
            return None;
        }
        Some(result.accepted)
    }

    /// Stores a result, and removes expired ones: a password guesser does not repeat itself, so a look-up would
    /// never meet them.
    pub fn put(&mut self, now: Now, key: u128, accepted: bool) {
        while self.results.iter().next().is_some_and(|(_, result)| now.monotonic_us >= result.until_us) {
            self.results.remove_lru();
        }
        let life = if accepted { ACCEPTED_FOR_US } else { WRONG_FOR_US };
        let until_us = now.monotonic_us.saturating_add(life);
        self.results.insert(key, Remembered { accepted, until_us });
    }

    /// Number of results, with expired ones.
    pub fn len(&self) -> usize {
        self.results.len()
    }

    /// Whether the cache has no result.
    pub fn is_empty(&self) -> bool {
        self.results.is_empty()
    }
}

/// The keys are keyed hashes already: half of one is a hash.
#[derive(Debug, Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(monotonic_us: u64) -> Now {
        Now { monotonic_us, ..Now::default() }
    }

    #[test]
    fn verdicts_live_as_long_as_they_should() {
        for (accepted, life) in [(true, ACCEPTED_FOR_US), (false, WRONG_FOR_US)] {
            let mut cache = CredentialCache::default();
            cache.put(at(1000), 7, accepted);
            assert_eq!(cache.get(at(1000), 7), Some(accepted));
            assert_eq!(cache.get(at(1000 + life - 1), 7), Some(accepted));
            assert_eq!(cache.get(at(1000), 8), None);
            assert_eq!(cache.get(at(1000 + life), 7), None);
            assert!(cache.is_empty());
        }
    }

    #[test]
    fn what_is_over_does_not_stay() {
        let mut cache = CredentialCache::default();
        for second in 0..1000 {
            for guess in 0..10 {
                cache.put(at(second * 1_000_000), u128::from(second * 10 + guess), false);
            }
            assert!(cache.len() <= 300, "{} after {second} s", cache.len());
        }
        // An acceptance lives longer, and keeps the expired ones behind it until it expires.
        cache.put(at(2_000_000_000), 1, true);
        (2..100).for_each(|key| cache.put(at(2_000_000_000), key, false));
        cache.put(at(2_000_000_000 + ACCEPTED_FOR_US), 100, false);
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut cache = CredentialCache::default();
        cache.put(at(0), u128::MAX, true);
        for number in 0..CREDENTIALS_MAX {
            assert_eq!(cache.get(at(1), u128::MAX), Some(true), "asked for, so not the oldest");
            cache.put(at(1), number as u128, false);
        }
        assert_eq!(cache.len(), CREDENTIALS_MAX);
    }
}
