//! A keyed hash of a few words, for tables with a look-up for each request.
//!
//! Clients choose the addresses in the tables, so the hash has a key.

use crate::net::{HashKeys, fold};

/// The keyed hash of addresses and numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys(HashKeys);

impl Keys {
    pub(super) fn new(seed: u64) -> Keys {
        Keys(HashKeys::new(seed))
    }

    /// The hash of one word and of another number.
    #[inline]
    pub(super) fn hash_word(self, word: u64, beside: u64) -> u64 {
        let HashKeys { start, word: factor, finish } = self.0;
        fold(fold(start ^ word, factor) ^ start ^ beside, finish)
    }

    /// The hash of bits and of a small number.
    #[inline]
    pub(super) fn hash(self, bits: u128, beside: u64) -> u64 {
        let HashKeys { start, word: factor, finish } = self.0;
        let low = fold(start ^ bits as u64, factor);
        let high = fold(low ^ (bits >> 64) as u64, factor);
        fold(high ^ start ^ beside, finish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_part_and_the_seed_change_the_hash() {
        let mut hashes = HashSet::new();
        for seed in 0..4 {
            let keys = Keys::new(seed);
            for beside in 0..33 {
                for bits in (0..128).map(|bit| 1u128 << bit).chain([0]) {
                    hashes.insert(keys.hash(bits, beside));
                }
            }
        }
        assert_eq!(hashes.len(), 4 * 33 * 129);
    }

    #[test]
    fn neighbours_are_spread_over_buckets_and_shards() {
        let keys = Keys::new(1);
        let (mut low, mut high) = ([0u32; 64], [0u32; 64]);
        for bits in 0..64_000u128 {
            let hash = keys.hash(bits, 32);
            low[hash as usize & 63] += 1;
            high[(hash >> 58) as usize] += 1;
        }
        for count in low.iter().chain(&high) {
            assert!((800..1200).contains(count), "{count}");
        }
    }
}
