//! What was already decided about credentials: a bounded table of keyed hashes of them, with short lives.

use std::hash::{BuildHasherDefault, Hasher};

use hashlink::LruCache;

use crate::time::Now;

/// Most verdicts remembered; the one not asked for longest goes first (chosen: 200 KB).
pub const REMEMBERED_MAX: usize = 4096;

/// How long credentials stay accepted, in microseconds (chosen: a page's worth of requests costs one slow hash).
pub const ACCEPTED_FOR_US: u64 = 60_000_000;

/// How long credentials stay wrong, in microseconds (chosen: a client that repeats itself costs one hash, and one of its
/// guesses, per 30 s).
pub const WRONG_FOR_US: u64 = 30_000_000;

/// Verdicts on credentials. The credentials themselves are not kept, only 128-bit hashes under the key of the [`Users`]
/// that judged them: after a reload nobody asks for the old ones any more, so nothing has to be revoked.
///
/// [`Users`]: super::auth::Users
#[derive(Debug)]
pub struct Remembered {
    verdicts: LruCache<u128, Verdict, BuildHasherDefault<KeyHasher>>,
}

impl Default for Remembered {
    fn default() -> Remembered {
        Remembered { verdicts: LruCache::with_hasher(REMEMBERED_MAX, BuildHasherDefault::default()) }
    }
}

#[derive(Clone, Copy, Debug)]
struct Verdict {
    accepted: bool,
    until_us: u64,
}

impl Remembered {
    /// Was this key accepted or found wrong a short while ago? See `Users::key`.
    pub fn get(&mut self, now: Now, key: u128) -> Option<bool> {
        let verdict = self.verdicts.get(&key).copied()?;
        if now.monotonic_us >= verdict.until_us {
            self.verdicts.remove(&key);
            return None;
        }
        Some(verdict.accepted)
    }

    /// Remembers a verdict, and forgets those whose time is over: nobody guesses the same password twice, so nobody asks
    /// for them again.
    pub fn put(&mut self, now: Now, key: u128, accepted: bool) {
        while self.verdicts.iter().next().is_some_and(|(_, verdict)| now.monotonic_us >= verdict.until_us) {
            self.verdicts.remove_lru();
        }
        let life = if accepted { ACCEPTED_FOR_US } else { WRONG_FOR_US };
        let until_us = now.monotonic_us.saturating_add(life);
        self.verdicts.insert(key, Verdict { accepted, until_us });
    }

    /// How many verdicts there are, old ones included.
    pub fn len(&self) -> usize {
        self.verdicts.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.verdicts.is_empty()
    }
}

/// Keys are keyed hashes already: half of one is as good a hash as any.
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
        Now { monotonic_us, unix_us: 0 }
    }

    #[test]
    fn verdicts_live_as_long_as_they_should() {
        for (accepted, life) in [(true, ACCEPTED_FOR_US), (false, WRONG_FOR_US)] {
            let mut remembered = Remembered::default();
            remembered.put(at(1000), 7, accepted);
            assert_eq!(remembered.get(at(1000), 7), Some(accepted));
            assert_eq!(remembered.get(at(1000 + life - 1), 7), Some(accepted));
            assert_eq!(remembered.get(at(1000), 8), None);
            assert_eq!(remembered.get(at(1000 + life), 7), None);
            assert!(remembered.is_empty());
        }
    }

    #[test]
    fn what_is_over_does_not_stay() {
        let mut remembered = Remembered::default();
        for second in 0..1000 {
            for guess in 0..10 {
                remembered.put(at(second * 1_000_000), u128::from(second * 10 + guess), false);
            }
            assert!(remembered.len() <= 300, "{} after {second} s", remembered.len());
        }
        // One that lives longer keeps those behind it for as long as itself.
        remembered.put(at(2_000_000_000), 1, true);
        (2..100).for_each(|key| remembered.put(at(2_000_000_000), key, false));
        remembered.put(at(2_000_000_000 + ACCEPTED_FOR_US), 100, false);
        assert_eq!(remembered.len(), 1);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut remembered = Remembered::default();
        remembered.put(at(0), u128::MAX, true);
        for number in 0..REMEMBERED_MAX {
            assert_eq!(remembered.get(at(1), u128::MAX), Some(true), "asked for, so not the oldest");
            remembered.put(at(1), number as u128, false);
        }
        assert_eq!(remembered.len(), REMEMBERED_MAX);
    }
}
