//! SipHash-2-4 with 128 bits over several byte strings.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher24};

/// The keyed hash of a list of byte strings. The lengths are hashed, too, so the boundaries matter.
pub(super) fn sip128(seed: u128, parts: &[&[u8]]) -> u128 {
    let mut hasher = SipHasher24::new_with_keys(seed as u64, (seed >> 64) as u64);
    for part in parts {
        hasher.write(&(part.len() as u64).to_le_bytes());
        hasher.write(part);
    }
    hasher.finish128().as_u128()
}
