//! The parts of keyed hashes for tables whose keys are chosen by clients: names of rules, addresses of bans.
//!
//! Each word is mixed in by one multiplication of 64 to 128 bits, whose halves are folded together.

/// The keys of a hash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HashKeys {
    /// The value before the first word.
    pub start: u64,
    /// The factor of each word.
    pub word: u64,
    /// The factor of the last step.
    pub finish: u64,
}

impl HashKeys {
    /// Three independent words from one seed. Factors are odd, so no bit is lost.
    pub fn new(seed: u64) -> HashKeys {
        // Weyl steps of the golden ratio, mixed.
        let word = |step: u64| {
            let word = seed.wrapping_add(step.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            fold(fold(word ^ 0xD1B5_4A32_D192_ED03, 0xAEF1_7502_108E_F2D9) ^ word, 0x9FB2_1C65_1E98_DF25)
        };
        HashKeys { start: word(1), word: word(2) | 1, finish: word(3) | 1 }
    }
}

/// The product of two words, its halves folded together.
#[inline]
pub(crate) fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}
