//! Hashing with a secret key, because table keys come from the network and must not be made to collide.

use siphasher::sip::SipHasher13;
use std::hash::BuildHasher;

/// SipHash-1-3 under a key that the shell drew at start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keyed([u64; 2]);

impl Keyed {
    pub fn new(seed: [u64; 2]) -> Keyed {
        Keyed(seed)
    }
}

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0[0], self.0[1])
    }
}
