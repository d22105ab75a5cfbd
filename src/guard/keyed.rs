//! A keyed hash of a few words, for tables with a look-up for each request.
//!
//! Clients choose the addresses in the tables, so the hash has a key. Each word is mixed in by one multiplication of 64 to
//! 128 bits, whose halves are folded together, as for the names of the policy's rules.

/// The key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    start: u64,
    word: u64,
    finish: u64,
}

impl Keys {
    /// Three independent words from one seed. Factors are odd, so no bit is lost.
    pub(super) fn new(seed: u64) -> Keys {
        // Weyl steps of the golden ratio, mixed.
        let word = |step: u64| {
            let word = seed.wrapping_add(step.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            fold(fold(word ^ 0xD1B5_4A32_D192_ED03, 0xAEF1_7502_108E_F2D9) ^ word, 0x9FB2_1C65_1E98_DF25)
        };
        Keys { start: word(1), word: word(2) | 1, finish: word(3) | 1 }
    }

    /// The hash of one word and of another number.
    #[inline]
    pub(super) fn hash_word(self, word: u64, beside: u64) -> u64 {
        fold(fold(self.start ^ word, self.word) ^ self.start ^ beside, self.finish)
    }

    /// The hash of bits and of a small number.
    #[inline]
    pub(super) fn hash(self, bits: u128, beside: u64) -> u64 {
        let low = fold(self.start ^ bits as u64, self.word);
        let high = fold(low ^ (bits >> 64) as u64, self.word);
        fold(high ^ self.start ^ beside, self.finish)
    }
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
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
