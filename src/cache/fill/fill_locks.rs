//! Locks on the keys that any loop is fetching: one request per key at a time, however many loops there are (rule
//! 48).
//!
//! A loop that finds nothing usable for a key locks the key, asks the origin, and releases the lock when there is a
//! response to share or nothing to wait for. Another loop that asks for the same key meanwhile finds it locked; one
//! bit records that, so that the release is announced. A hit touches no lock, and a process with one loop uses none.
//!
//! There are never more locks than requests under way. A lock is identified by the hash of its key, which clients
//! cannot predict. Two keys with the same hash would wait for each other once, and then fetch.

use hashbrown::HashTable;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Parts of the table, each with a mutex of its own (chosen: more than the loops that miss at the same moment).
const SHARDS: usize = 16;

#[derive(Debug)]
struct FillLock {
    hash: u64,
    /// Another loop waits for this lock.
    awaited: bool,
}

/// The result of an attempt to lock a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockResult {
    /// The caller holds the lock and asks the origin.
    Acquired,
    /// Another loop holds the lock and will announce the response that it receives.
    HeldByOtherLoop,
}

/// The locks of all keys.
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
    /// Locks a key, or records that the caller waits for the holder.
    pub fn lock(&self, hash: u64) -> LockResult {
        let mut shard = self.shard(hash);
        if let Some(lock) = shard.find_mut(hash, |lock| lock.hash == hash) {
            lock.awaited = true;
            return LockResult::HeldByOtherLoop;
        }
        shard.insert_unique(hash, FillLock { hash, awaited: false }, |lock| lock.hash);
        LockResult::Acquired
    }

    /// Whether a loop holds the lock of this key.
    pub fn is_locked(&self, hash: u64) -> bool {
        self.shard(hash).find(hash, |lock| lock.hash == hash).is_some()
    }

    /// Whether another loop waits for this lock.
    pub fn is_awaited(&self, hash: u64) -> bool {
        self.shard(hash).find(hash, |lock| lock.hash == hash).is_some_and(|lock| lock.awaited)
    }

    /// Releases a lock. True if another loop waited for the lock.
    pub fn release(&self, hash: u64) -> bool {
        let mut shard = self.shard(hash);
        match shard.find_entry(hash, |lock| lock.hash == hash) {
            Ok(found) => found.remove().0.awaited,
            Err(_) => false,
        }
    }

    /// No code that holds the mutex can leave the table half changed, so a poisoned mutex is used.
    fn shard(&self, hash: u64) -> MutexGuard<'_, HashTable<FillLock>> {
        // These bits are not used by the hash table itself.
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
            assert_eq!(fill_locks.lock(hash), LockResult::Acquired, "{hash}");
            assert!(
                fill_locks.is_locked(hash) && !fill_locks.is_awaited(hash) && !fill_locks.release(hash),
                "{hash}"
            );
            assert_eq!(fill_locks.lock(hash), LockResult::Acquired, "{hash}");
            assert_eq!(fill_locks.lock(hash), LockResult::HeldByOtherLoop, "{hash}");
            assert!(fill_locks.is_awaited(hash) && fill_locks.release(hash), "{hash}");
        }
        assert!(fill_locks.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }

    #[test]
    fn rule_48_of_many_that_claim_at_once_one_asks() {
        let fill_locks = FillLocks::default();
        let here: usize = std::thread::scope(|scope| {
            let lock = || (0..1000).filter(|hash| fill_locks.lock(*hash) == LockResult::Acquired).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(lock)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(here, 1000);
    }
}
