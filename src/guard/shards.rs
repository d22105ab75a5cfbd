//! State that all loops of a process share: parts with a mutex each, chosen by the hash of the key.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Parts (chosen: more than the loops that touch one table at the same moment).
const SHARDS: usize = 16;

/// Parts of one table. All loops together count exactly, because a key is always in the same part.
#[derive(Debug)]
pub(super) struct Shards<T> {
    parts: [Mutex<T>; SHARDS],
}

impl<T> Shards<T> {
    /// `make` gets the share of a part in the bound of the whole table.
    pub(super) fn new(bound: usize, make: impl Fn(usize) -> T) -> Shards<T> {
        let share = |part: usize| bound / SHARDS + usize::from(part < bound % SHARDS);
        Shards { parts: std::array::from_fn(|part| Mutex::new(make(share(part)))) }
    }

    /// The part of a key. No code that holds the mutex can panic with a table half changed, so a poisoned mutex is used.
    pub(super) fn of(&self, key: u64) -> MutexGuard<'_, T> {
        // Other bits than the hash tables use: the lowest for the bucket, the seven highest to compare keys.
        let part = (key >> 40) as usize % SHARDS;
        self.parts[part].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All parts, one after the other.
    pub(super) fn each(&self, mut with: impl FnMut(&mut T)) {
        self.parts.iter().for_each(|part| with(&mut part.lock().unwrap_or_else(PoisonError::into_inner)));
    }

    /// A sum over all parts.
    pub(super) fn sum(&self, of: impl Fn(&T) -> u64) -> u64 {
        let part = |part: &Mutex<T>| of(&part.lock().unwrap_or_else(PoisonError::into_inner));
        self.parts.iter().map(part).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_shared_out_without_loss() {
        for bound in [0, 1, 15, 16, 17, 1000] {
            assert_eq!(Shards::new(bound, |share| share).sum(|&share| share as u64), bound as u64);
        }
    }

    #[test]
    fn a_key_is_always_in_the_same_part() {
        let shards = Shards::new(0, |_| 0u64);
        for key in 0..1600u64 {
            *shards.of(key << 40) += 1;
        }
        for key in 0..16u64 {
            assert_eq!(*shards.of(key << 40 | 0xFFFF), 100);
        }
    }
}
