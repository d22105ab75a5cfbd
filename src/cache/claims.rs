//! Which keys are being asked for, by any loop: one request per key at a time, however many loops there are (rule 48).
//!
//! Who finds nothing usable claims the key, asks, and releases it when there is something to look at, or nothing to wait for.
//! Whoever comes meanwhile learns that it is claimed, and is remembered by one bit: then the release is worth telling. Nothing
//! of this is touched by a hit, nor where there is one loop only.
//!
//! There are never more claims than requests under way. A claim is known by the hash of its key, which nobody can foresee:
//! two keys with the same one would wait for each other once, and then ask.

use hashbrown::HashTable;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Parts of the table, each with a lock of its own (chosen: more than loops that miss at the same moment).
const SHARDS: usize = 16;

#[derive(Debug)]
struct Claim {
    hash: u64,
    /// Another loop waits for it.
    awaited: bool,
}

/// What became of the wish to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// Whoever claims it asks.
    Here,
    /// Somebody has asked, and is to tell what comes.
    Elsewhere,
}

/// All claims.
#[derive(Debug)]
pub struct Claims {
    shards: [Mutex<HashTable<Claim>>; SHARDS],
}

impl Default for Claims {
    fn default() -> Claims {
        Claims { shards: std::array::from_fn(|_| Mutex::new(HashTable::new())) }
    }
}

impl Claims {
    /// Claims a key, or waits for who has.
    pub fn claim(&self, hash: u64) -> Claimed {
        let mut shard = self.shard(hash);
        if let Some(claim) = shard.find_mut(hash, |claim| claim.hash == hash) {
            claim.awaited = true;
            return Claimed::Elsewhere;
        }
        shard.insert_unique(hash, Claim { hash, awaited: false }, |claim| claim.hash);
        Claimed::Here
    }

    /// Whether somebody has claimed it.
    pub fn is_claimed(&self, hash: u64) -> bool {
        self.shard(hash).find(hash, |claim| claim.hash == hash).is_some()
    }

    /// Whether another loop waits for it.
    pub fn is_awaited(&self, hash: u64) -> bool {
        self.shard(hash).find(hash, |claim| claim.hash == hash).is_some_and(|claim| claim.awaited)
    }

    /// Gives a claim back. True if another loop has waited for that.
    pub fn release(&self, hash: u64) -> bool {
        let mut shard = self.shard(hash);
        match shard.find_entry(hash, |claim| claim.hash == hash) {
            Ok(found) => found.remove().0.awaited,
            Err(_) => false,
        }
    }

    /// No code that holds the lock can leave the table half changed.
    fn shard(&self, hash: u64) -> MutexGuard<'_, HashTable<Claim>> {
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
        let claims = Claims::default();
        for hash in [0, 1, 1 << 40, u64::MAX] {
            assert!(!claims.is_claimed(hash) && !claims.release(hash) && !claims.is_awaited(hash), "{hash}");
            assert_eq!(claims.claim(hash), Claimed::Here, "{hash}");
            assert!(claims.is_claimed(hash) && !claims.is_awaited(hash) && !claims.release(hash), "{hash}");
            assert_eq!(claims.claim(hash), Claimed::Here, "{hash}");
            assert_eq!(claims.claim(hash), Claimed::Elsewhere, "{hash}");
            assert!(claims.is_awaited(hash) && claims.release(hash), "{hash}");
        }
        assert!(claims.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }

    #[test]
    fn rule_48_of_many_that_claim_at_once_one_asks() {
        let claims = Claims::default();
        let here: usize = std::thread::scope(|scope| {
            let claim = || (0..1000).filter(|hash| claims.claim(*hash) == Claimed::Here).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(claim)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(here, 1000);
    }
}
