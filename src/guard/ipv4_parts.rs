//! The parts of IPv4 that may contain a network of a set: one bit for each /16.
//!
//! For most clients no network of a set is near, and one bit shows that, without a lock. Bits are only set: a bit may stay
//! when its network was removed, which costs a look-up and is never wrong.

use ipnet::Ipv4Net;
use std::sync::atomic::{AtomicU64, Ordering};

/// One bit for each value of the upper 16 bits of an address: 8 KB.
const WORDS: usize = (1 << 16) / 64;

/// Parts that may hold a network.
#[derive(Debug)]
pub(in crate::guard) struct Ipv4Parts {
    words: Box<[AtomicU64]>,
}

impl Ipv4Parts {
    pub(in crate::guard) fn new() -> Ipv4Parts {
        Ipv4Parts { words: (0..WORDS).map(|_| AtomicU64::new(0)).collect() }
    }

    /// A network that is in the set from now on.
    pub(in crate::guard) fn add(&self, network: Ipv4Net) {
        let part = |bits: u32| (bits >> 16) as usize;
        for part in part(network.network().to_bits())..=part(network.broadcast().to_bits()) {
            if let Some(word) = self.words.get(part / 64) {
                word.fetch_or(1 << (part % 64), Ordering::Relaxed);
            }
        }
    }

    /// The set is empty.
    pub(in crate::guard) fn clear(&self) {
        self.words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    pub(in crate::guard) fn heap_bytes(&self) -> usize {
        WORDS * size_of::<AtomicU64>()
    }

    /// Whether an address may lie in a network of the set.
    #[inline]
    pub(in crate::guard) fn may_hold(&self, bits: u32) -> bool {
        let part = (bits >> 16) as usize;
        self.words.get(part / 64).is_some_and(|word| word.load(Ordering::Relaxed) >> (part % 64) & 1 > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn every_address_of_a_network_may_be_held_and_no_other_part() {
        for (network, inside, outside) in [
            ("203.0.113.9/32", vec!["203.0.113.9", "203.0.0.0"], vec!["203.1.0.0", "202.255.255.255"]),
            ("10.0.0.0/8", vec!["10.0.0.0", "10.255.255.255"], vec!["9.255.255.255", "11.0.0.0"]),
            ("0.0.0.0/0", vec!["0.0.0.0", "255.255.255.255"], vec![]),
            ("255.255.255.255/32", vec!["255.255.0.0"], vec!["0.0.0.0"]),
        ] {
            let parts = Ipv4Parts::new();
            let may =
                |parts: &Ipv4Parts, text: &str| parts.may_hold(text.parse::<Ipv4Addr>().unwrap().to_bits());
            assert!(!inside.iter().any(|address| may(&parts, address)), "{network}");
            parts.add(network.parse().unwrap());
            assert!(inside.iter().all(|address| may(&parts, address)), "{network}");
            assert!(!outside.iter().any(|address| may(&parts, address)), "{network}");
            parts.clear();
            assert!(!inside.iter().any(|address| may(&parts, address)), "{network}");
        }
    }
}
