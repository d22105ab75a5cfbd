//! Which keys are being asked for, by any loop: one request per key at a time, however many loops there are (rule 48).
//!
//! Who finds nothing usable fill_locks the key, asks, and releases it when there is something to look at, or nothing to wait for.
//! Whoever comes meanwhile learns that it is claimed, and is remembered by one bit: then the release is worth telling. Nothing
//! of this is touched by a hit, nor where there is one loop only.
//!
//! There are never more fill_locks than requests under way. A lock is known by the hash of its key, which nobody can foresee:
//! two keys with the same one would wait for each other once, and then ask.

use hashbrown::HashTable;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Parts of the table, each with a lock of its own (chosen: more than loops that miss at the same moment).
const SHARDS: usize = 16;

#[derive(Debug)]
struct FillLock {
    hash: u64,
    /// Another loop waits for it.
    awaited: bool,
}

/// What became of the wish to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockResult {
    /// Whoever fill_locks it asks.
    Here,
    /// Somebody has asked, and is to tell what comes.
    Elsewhere,
}

/// All fill_locks.
#[derive(Debug)]
pub struct FillLocks {
    shards: [Mutex<HashTable<FillLock>>; SHARDS],
}

impl Default for FillLocks {
    fn default() -> FillLocks {
        FillLocks { shards: std::array::from_fn(|_| Mutex::new(HashTable::new())) }
    }
}

impl FillLocks {
    /// FillLocks a key, or waits for who has.
    pub fn lock(&self, hash: u64) -> LockResult {
        let mut shard = self.shard(hash);
        if let Some(lock) = shard.find_mut(hash, |lock| lock.hash == hash) {
            lock.awaited = true;
            return LockResult::Elsewhere;
        }
        shard.insert_unique(hash, FillLock { hash, awaited: false }, |lock| lock.hash);
        LockResult::Here
    }

    /// Whether somebody has claimed it.
    pub fn is_locked(&self, hash: u64) -> bool {
        self.shard(hash).find(hash, |lock| lock.hash == hash).is_some()
    }

    /// Whether another loop waits for it.
    pub fn is_awaited(&self, hash: u64) -> bool {
        self.shard(hash).find(hash, |lock| lock.hash == hash).is_some_and(|lock| lock.awaited)
    }

    /// Gives a lock back. True if another loop has waited for that.
    pub fn release(&self, hash: u64) -> bool {
        let mut shard = self.shard(hash);
        match shard.find_entry(hash, |lock| lock.hash == hash) {
            Ok(found) => found.remove().0.awaited,
            Err(_) => false,
        }
    }

    /// No code that holds the lock can leave the table half changed.
    fn shard(&self, hash: u64) -> MutexGuard<'_, HashTable<FillLock>> {
        // Other bits than the table itself uses.
        let shard = (hash >> 40) as usize % SHARDS;
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_48_one_asks_and_the_others_wait_to_be_told() {
        let fill_locks = FillLocks::default();
        for hash in [0, 1, 1 << 40, u64::MAX] {
            assert!(
                !fill_locks.is_locked(hash) && !fill_locks.release(hash) && !fill_locks.is_awaited(hash),
                "{hash}"
            );
            assert_eq!(fill_locks.lock(hash), LockResult::Here, "{hash}");
            assert!(
                fill_locks.is_locked(hash) && !fill_locks.is_awaited(hash) && !fill_locks.release(hash),
                "{hash}"
            );
            assert_eq!(fill_locks.lock(hash), LockResult::Here, "{hash}");
            assert_eq!(fill_locks.lock(hash), LockResult::Elsewhere, "{hash}");
            assert!(fill_locks.is_awaited(hash) && fill_locks.release(hash), "{hash}");
        }
        assert!(fill_locks.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }

    #[test]
    fn rule_48_of_many_that_claim_at_once_one_asks() {
        let fill_locks = FillLocks::default();
        let here: usize = std::thread::scope(|scope| {
            let lock = || (0..1000).filter(|hash| fill_locks.lock(*hash) == LockResult::Here).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(lock)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(here, 1000);
    }
}
