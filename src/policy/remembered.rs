//! What slow hashes have already decided: a bounded table of keyed hashes of credentials, with short lives.

use std::hash::{BuildHasherDefault, Hasher};

use hashlink::LruCache;

use super::credentials::Credentials;
use super::sip::sip128;
use crate::time::Now;

/// Most verdicts remembered; the one not asked for longest goes first (chosen: 200 KB).
pub const REMEMBERED_MAX: usize = 4096;

/// How long credentials stay accepted, in microseconds (chosen: a page's worth of requests costs one slow hash).
pub const ACCEPTED_FOR_US: u64 = 60_000_000;

/// How long credentials stay wrong, in microseconds (chosen: a client that repeats itself costs one hash per 5 s).
pub const WRONG_FOR_US: u64 = 5_000_000;

/// Verdicts on credentials. The credentials themselves are not kept, only 128-bit hashes under a key that dies with the
/// process.
#[derive(Debug)]
pub struct Remembered {
    seed: u128,
    verdicts: LruCache<u128, Verdict, BuildHasherDefault<KeyHasher>>,
}

#[derive(Clone, Copy, Debug)]
struct Verdict {
    accepted: bool,
    until_us: u64,
}

impl Remembered {
    /// An empty table. The seed keys the hashes; it must be secret and random.
    pub fn new(seed: u128) -> Remembered {
        Remembered { seed, verdicts: LruCache::with_hasher(REMEMBERED_MAX, BuildHasherDefault::default()) }
    }

    /// The key of these credentials, to be kept while a job decides on them.
    pub fn key(&self, credentials: &Credentials) -> u128 {
        sip128(self.seed, &[credentials.user(), credentials.password()])
    }

    /// Were these credentials accepted or found wrong a short while ago?
    pub fn get(&mut self, now: Now, credentials: &Credentials) -> Option<bool> {
        let key = self.key(credentials);
        let verdict = self.verdicts.get(&key).copied()?;
        if now.monotonic_us >= verdict.until_us {
            self.verdicts.remove(&key);
            return None;
        }
        Some(verdict.accepted)
    }

    /// Remembers a verdict.
    pub fn put(&mut self, now: Now, key: u128, accepted: bool) {
        let life = if accepted { ACCEPTED_FOR_US } else { WRONG_FOR_US };
        let until_us = now.monotonic_us.saturating_add(life);
        self.verdicts.insert(key, Verdict { accepted, until_us });
    }

    /// Forgets everything: the user file was loaded again.
    pub fn clear(&mut self) {
        self.verdicts.clear();
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
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::policy::credentials::credentials;

    fn of(text: &str) -> Credentials {
        credentials(format!("Basic {}", STANDARD.encode(text)).as_bytes()).unwrap()
    }

    fn at(monotonic_us: u64) -> Now {
        Now { monotonic_us, unix_us: 0 }
    }

    #[test]
    fn verdicts_live_as_long_as_they_should() {
        for (accepted, life) in [(true, ACCEPTED_FOR_US), (false, WRONG_FOR_US)] {
            let mut remembered = Remembered::new(5);
            let key = remembered.key(&of("a:b"));
            remembered.put(at(1000), key, accepted);
            assert_eq!(remembered.get(at(1000), &of("a:b")), Some(accepted));
            assert_eq!(remembered.get(at(1000 + life - 1), &of("a:b")), Some(accepted));
            assert_eq!(remembered.get(at(1000 + life), &of("a:b")), None);
            assert!(remembered.is_empty());
        }
    }

    #[test]
    fn keys_tell_credentials_and_seeds_apart() {
        let remembered = Remembered::new(5);
        let texts = ["a:b", "a:b:", "a::b", "ab:", ":ab", "a:c", "b:a", ":"];
        for (index, one) in texts.iter().enumerate() {
            for other in &texts[..index] {
                assert_ne!(remembered.key(&of(one)), remembered.key(&of(other)), "{one} {other}");
            }
            assert_ne!(remembered.key(&of(one)), Remembered::new(6).key(&of(one)));
            assert_eq!(remembered.key(&of(one)), Remembered::new(5).key(&of(one)));
        }
    }

    #[test]
    fn the_table_is_bounded_and_cleared() {
        let mut remembered = Remembered::new(5);
        let first = remembered.key(&of("first:x"));
        remembered.put(at(0), first, true);
        for number in 0..REMEMBERED_MAX {
            assert_eq!(remembered.get(at(1), &of("first:x")), Some(true), "asked for, so not the oldest");
            remembered.put(at(1), number as u128, false);
        }
        assert_eq!(remembered.len(), REMEMBERED_MAX);
        remembered.clear();
        assert_eq!(remembered.get(at(1), &of("first:x")), None);
    }
}
