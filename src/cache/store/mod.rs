//! The store: responses by key, in one byte budget, least recently used ones leave first.
//!
//! # Theory of operation
//!
//! One store serves all loops. It is cut into shards by the hash of the key. A hit takes a shard's lock for reading and
//! writes one number into the entry, so hits never wait for each other; only storing and evicting take it for writing.
//!
//! The order of leaving is exact and lazy. Each shard keeps a heap of (time, place), where the time is one at which the
//! entry was known to be used: never later than its true last use. What is on top is therefore at least as old as
//! anything else; if its entry has been used since, it goes back with the true time, and otherwise it is the least
//! recently used one of its shard. Each shard publishes its top, and eviction begins with the oldest.
//!
//! Everything is charged to one [`MemoryBudget`], also what is still being served after it left the store. A variant is an
//! entry of its own: those of one key have the same hash and lie in the same shard, a bounded number of them.

pub mod memory_budget;
pub mod persistence;
pub mod stored;

use crate::cache::body::segment;
use crate::cache::body::{Body, SEGMENT_BYTES};
use crate::cache::fill::fill_locks::FillLocks;
use crate::cache::rfc::combining;
use crate::cache::store::memory_budget::{Charge, MemoryBudget};
use crate::cache::store::stored::{Head, Stored};
use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::Hasher as _;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Shards (chosen: many times the number of loops, and one word each for eviction to look at).
const SHARDS: usize = 64;

/// Variants of one key (chosen: an origin that varies by User-Agent must not fill the store with one page).
pub const VARIANTS_MAX: usize = 16;

/// Places for counters of invalidation: keys share them, so that a fetch may be taken for one that was invalidated, which
/// is harmless (chosen: 16 KB).
const EPOCHS: usize = 4096;

/// No budget is smaller than this: an entry must fit into its share (chosen).
const BUDGET_MIN: usize = 1 << 20;

/// The part of the budget that is left to what is stored, however much is held that no eviction frees (chosen: those who never
/// read what they asked for must not drive out all that others ask for).
const STORED_SHARE: usize = 4;

/// The part of the budget that the allocator may keep to itself (chosen: what it keeps otherwise, where sizes are mixed).
const KEPT_SHARE: usize = 8;

/// Sizes and the seed.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of everything together.
    pub budget: usize,
    /// Bytes of one body; at most half of the budget.
    pub object_max: u64,
    /// Key of the hash: strangers choose what is stored.
    pub seed: [u64; 2],
}

impl Limits {
    /// A budget, of which one entry gets at most an eighth.
    pub fn of(budget: usize, seed: [u64; 2]) -> Limits {
        let budget = budget.max(BUDGET_MIN);
        Limits { budget, object_max: budget as u64 / 8, seed }
    }
}

/// What was found for a key.
#[derive(Debug)]
pub enum Found {
    /// This.
    Entry(Arc<Stored>),
    /// The key is there, but no variant of it that the request selects.
    NoVariant,
    /// Nothing.
    Nothing,
}

/// The invalidations of a key and of the whole, as they were when somebody looked: what was asked for before one must
/// not be stored after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epoch(u32, u32);

/// What became of an entry of an earlier run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// It is in the store again.
    Kept,
    /// There is a newer one, or something has invalidated it since the start.
    Superseded,
    /// The budget is used up.
    NoRoom,
}

/// Counts since the start, and what is there now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Entries now.
    pub entries: u64,
    /// Bytes now, of everything.
    pub bytes: u64,
    /// Of these, what is in no entry: under way, or evicted and still being read.
    pub bytes_held: u64,
    /// The budget.
    pub budget: u64,
    /// Entries stored.
    pub inserted: u64,
    /// Entries that left to make room.
    pub evicted: u64,
    /// Entries that left because something invalidated or purged them.
    pub invalidated: u64,
    /// Variants that left because their key had too many.
    pub variants_evicted: u64,
    /// Parts that were given up for others: they are too many, or together too large, or of something else.
    pub parts_dropped: u64,
    /// Responses that were not stored because too much was held.
    pub refused: u64,
    /// Seconds since their last use, of all evicted entries together.
    pub evicted_age_s: u64,
}

/// The store.
#[derive(Debug)]
pub struct Store {
    limits: Limits,
    memory: Arc<MemoryBudget>,
    shards: Box<[Place]>,
    epochs: Box<[AtomicU32]>,
    epoch_of_all: AtomicU32,
    fill_locks: FillLocks,
    inserted: AtomicU64,
    evicted: AtomicU64,
    invalidated: AtomicU64,
    variants_evicted: AtomicU64,
    parts_dropped: AtomicU64,
    refused: AtomicU64,
    evicted_age_us: AtomicU64,
    /// The most that was taken from the allocator since it was last told to give back what is free.
    allocated_most: AtomicUsize,
    /// What the store takes when it is empty.
    _charge: Charge,
}

/// A shard and the time on top of its heap, in cache lines of their own.
#[derive(Debug)]
#[repr(align(128))]
struct Place {
    oldest_us: AtomicU64,
    shard: RwLock<Shard>,
}

/// When an entry was known to be used, and where it is.
type Queued = Reverse<(u64, u32)>;

#[derive(Debug)]
struct Slot {
    entry: Arc<Stored>,
    /// The one time in the heap that counts for it.
    queued_us: u64,
}

#[derive(Debug)]
struct Shard {
    table: HashTable<u32>,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    heap: BinaryHeap<Queued>,
    charge: Charge,
}

impl Place {
    /// A panic of another loop leaves nothing half done that would matter here.
    fn read(&self) -> RwLockReadGuard<'_, Shard> {
        self.shard.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Shard> {
        self.shard.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, shard: &Shard) {
        let oldest = shard.heap.peek().map_or(u64::MAX, |Reverse((used_us, _))| *used_us);
        self.oldest_us.store(oldest, Ordering::Relaxed);
    }
}

impl Shard {
    fn new(memory: &Arc<MemoryBudget>) -> Shard {
        Shard {
            table: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            heap: BinaryHeap::new(),
            charge: Charge::new(memory, 0),
        }
    }

    fn entry(&self, slot: u32) -> Option<&Arc<Stored>> {
        self.slots.get(slot as usize)?.as_ref().map(|slot| &slot.entry)
    }

    /// Slots of the entries with that key.
    fn variants(&self, hash: u64, key: &[u8]) -> impl Iterator<Item = (u32, &Arc<Stored>)> {
        self.table
            .iter_hash(hash)
            .filter_map(|&slot| Some((slot, self.entry(slot)?)))
            .filter(move |(_, entry)| entry.hash() == hash && entry.key() == key)
    }

    fn add(&mut self, entry: Arc<Stored>) {
        self.charge.memory().enter(entry.footprint());
        let (hash, queued_us) = (entry.hash(), entry.used_us());
        let place = Some(Slot { entry, queued_us });
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = place;
                slot
            }
            None => {
                self.slots.push(place);
                self.slots.len() as u32 - 1
            }
        };
        self.heap.push(Reverse((queued_us, slot)));
        let Shard { table, slots, .. } = self;
        let hash_of = |slot: &u32| slots[*slot as usize].as_ref().map_or(0, |slot| slot.entry.hash());
        table.insert_unique(hash, slot, hash_of);
        self.account();
    }

    fn remove(&mut self, slot: u32) -> Option<Arc<Stored>> {
        let removed = self.slots.get_mut(slot as usize)?.take()?;
        self.charge.memory().leave(removed.entry.footprint());
        let hash = removed.entry.hash();
        if let Ok(found) = self.table.find_entry(hash, |&other| other == slot) {
            found.remove();
        }
        self.free.push(slot);
        // What was removed from the middle leaves its time in the heap; no more of these than of entries.
        if self.heap.len() > 2 * self.table.len() + 64 {
            let slots = &self.slots;
            self.heap.retain(|Reverse((queued_us, slot))| {
                slots[*slot as usize].as_ref().is_some_and(|slot| slot.queued_us == *queued_us)
            });
        }
        self.account();
        Some(removed.entry)
    }

    /// The slot of the least recently used entry.
    fn oldest(&mut self) -> Option<(u64, u32)> {
        loop {
            let mut top = self.heap.peek_mut()?;
            let Reverse((queued_us, slot)) = *top;
            let used_us = match self.slots.get_mut(slot as usize).and_then(Option::as_mut) {
                Some(place) if place.queued_us == queued_us => {
                    place.queued_us = place.entry.used_us();
                    place.queued_us
                }
                // Its entry is gone, or queued at another time.
                Some(_) | None => {
                    std::collections::binary_heap::PeekMut::pop(top);
                    continue;
                }
            };
            if used_us == queued_us {
                return Some((used_us, slot));
            }
            *top = Reverse((used_us, slot));
        }
    }

    /// Charges what the tables take.
    fn account(&mut self) {
        let bytes = self.table.allocation_size()
            + self.slots.capacity() * size_of::<Option<Slot>>()
            + self.free.capacity() * size_of::<u32>()
            + self.heap.capacity() * size_of::<Queued>();
        if bytes != self.charge.bytes() {
            self.charge.set(bytes);
        }
    }
}

impl Store {
    /// An empty store.
    pub fn new(limits: Limits) -> Store {
        let budget = limits.budget.max(BUDGET_MIN);
        let limits = Limits { budget, object_max: limits.object_max.min(budget as u64 / 2), ..limits };
        let memory = Arc::new(MemoryBudget::default());
        let place = || Place { oldest_us: AtomicU64::new(u64::MAX), shard: RwLock::new(Shard::new(&memory)) };
        Store {
            shards: std::iter::repeat_with(place).take(SHARDS).collect(),
            epochs: std::iter::repeat_with(AtomicU32::default).take(EPOCHS).collect(),
            epoch_of_all: AtomicU32::new(0),
            fill_locks: FillLocks::default(),
            inserted: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            invalidated: AtomicU64::new(0),
            variants_evicted: AtomicU64::new(0),
            parts_dropped: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            evicted_age_us: AtomicU64::new(0),
            allocated_most: AtomicUsize::new(0),
            _charge: Charge::new(&memory, SHARDS * size_of::<Place>() + EPOCHS * size_of::<AtomicU32>()),
            limits,
            memory,
        }
    }

    /// The sizes.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What everything is charged to.
    pub fn memory(&self) -> &Arc<MemoryBudget> {
        &self.memory
    }

    /// What is being asked for.
    pub fn fill_locks(&self) -> &FillLocks {
        &self.fill_locks
    }

    /// The hash of a key, which nobody can foresee.
    pub fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.limits.seed[0], self.limits.seed[1]);
        hasher.write(key);
        hasher.finish()
    }

    fn place(&self, hash: u64) -> &Place {
        // The table uses the low bits and the highest seven.
        &self.shards[(hash >> 40) as usize % SHARDS]
    }

    /// Looks a key up. `rank` tells of each variant whether the request selects it; the one that ranks highest is found.
    pub fn find<R: Ord>(
        &self,
        now_us: u64,
        hash: u64,
        key: &[u8],
        mut rank: impl FnMut(&Stored) -> Option<R>,
    ) -> Found {
        let shard = self.place(hash).read();
        let (mut best, mut any) = (None, false);
        for (_, entry) in shard.variants(hash, key) {
            any = true;
            if let Some(rank) = rank(entry) {
                if best.as_ref().is_none_or(|(highest, _)| rank > *highest) {
                    best = Some((rank, entry));
                }
            }
        }
        match best {
            Some((_, entry)) => {
                entry.touch(now_us);
                Found::Entry(Arc::clone(entry))
            }
            None if any => Found::NoVariant,
            None => Found::Nothing,
        }
    }

    /// Stores a response, in place of the variant that the same requests select, unless its key was invalidated since
    /// `epoch` or there is no room. A part is put to what is stored of the same representation.
    pub fn insert(&self, now_us: u64, epoch: Epoch, head: &Head<'_>, body: Arc<Body>) -> Option<Arc<Stored>> {
        let hash = self.hash(head.key);
        let mut entry = Arc::new(Stored::new(&self.memory, hash, head, body));
        if !self.make_room(now_us) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let mut left: Vec<Arc<Stored>> = Vec::new();
        {
            let place = self.place(hash);
            let mut shard = place.write();
            // Under the lock: whoever invalidates counts first and removes then.
            if self.epoch(hash) != epoch {
                return None;
            }
            let same = |other: &Stored| other.names() == head.names && other.selecting() == head.selecting;
            let same: Vec<u32> = shard
                .variants(hash, head.key)
                .filter(|(_, other)| same(other))
                .map(|(slot, _)| slot)
                .collect();
            if entry.fragment().is_some() {
                for old in same.iter().filter_map(|slot| shard.entry(*slot)) {
                    let combined = combining::combine(&self.memory, old, &entry, self.limits.object_max)?;
                    self.parts_dropped.fetch_add(combined.dropped as u64, Ordering::Relaxed);
                    entry = combined.entry;
                }
            }
            left.extend(same.into_iter().filter_map(|slot| shard.remove(slot)));
            while shard.variants(hash, head.key).count() >= VARIANTS_MAX {
                let oldest = shard.variants(hash, head.key).min_by_key(|(_, other)| other.used_us());
                let Some((slot, _)) = oldest else { break };
                left.extend(shard.remove(slot));
                self.variants_evicted.fetch_add(1, Ordering::Relaxed);
            }
            shard.add(Arc::clone(&entry));
            place.publish(&shard);
        }
        self.inserted.fetch_add(1, Ordering::Relaxed);
        Some(entry)
    }

    /// Puts `new` in the place of `old`, which has the same key: the origin has confirmed it. What the same requests select
    /// leaves, too. False if `old` has left the store; then the answer that is under way is the last use of it.
    pub fn replace(&self, old: &Arc<Stored>, new: &Arc<Stored>) -> bool {
        let place = self.place(old.hash());
        let mut shard = place.write();
        if !shard.variants(old.hash(), old.key()).any(|(_, other)| Arc::ptr_eq(other, old)) {
            return false;
        }
        let same = |other: &Arc<Stored>| {
            Arc::ptr_eq(other, old) || (other.names() == new.names() && other.selecting() == new.selecting())
        };
        let same: Vec<u32> = shard
            .variants(old.hash(), old.key())
            .filter(|(_, other)| same(other))
            .map(|(slot, _)| slot)
            .collect();
        let left: Vec<_> = same.into_iter().filter_map(|slot| shard.remove(slot)).collect();
        shard.add(Arc::clone(new));
        place.publish(&shard);
        drop(shard);
        drop(left);
        true
    }

    /// Removes this very entry.
    pub fn remove(&self, entry: &Arc<Stored>) {
        let place = self.place(entry.hash());
        let mut shard = place.write();
        let slot = shard.variants(entry.hash(), entry.key()).find(|(_, other)| Arc::ptr_eq(other, entry));
        if let Some(slot) = slot.map(|(slot, _)| slot) {
            let _left = shard.remove(slot);
            self.invalidated.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Forgets all variants of a key, and what is being fetched for it. Returns how many were stored.
    pub fn invalidate(&self, key: &[u8]) -> usize {
        let hash = self.hash(key);
        self.epochs[hash as usize % EPOCHS].fetch_add(1, Ordering::Relaxed);
        let mut shard = self.place(hash).write();
        let slots: Vec<u32> = shard.variants(hash, key).map(|(slot, _)| slot).collect();
        let left: Vec<_> = slots.into_iter().filter_map(|slot| shard.remove(slot)).collect();
        drop(shard);
        self.invalidated.fetch_add(left.len() as u64, Ordering::Relaxed);
        left.len()
    }

    /// Forgets everything whose key passes, and everything that is being fetched. Returns how many were stored.
    pub fn purge(&self, mut matches: impl FnMut(&[u8]) -> bool) -> usize {
        self.epoch_of_all.fetch_add(1, Ordering::Relaxed);
        let mut count = 0;
        for place in &self.shards {
            let mut shard = place.write();
            let slots: Vec<u32> = (0..shard.slots.len() as u32)
                .filter(|slot| shard.entry(*slot).is_some_and(|entry| matches(entry.key())))
                .collect();
            let left: Vec<_> = slots.into_iter().filter_map(|slot| shard.remove(slot)).collect();
            if shard.table.is_empty() {
                // The tables go with the last entry.
                let charge = std::mem::replace(&mut *shard, Shard::new(&self.memory));
                drop(charge);
            }
            place.publish(&shard);
            drop(shard);
            count += left.len();
        }
        self.invalidated.fetch_add(count as u64, Ordering::Relaxed);
        count
    }

    /// To be taken before the origin is asked.
    pub fn epoch(&self, hash: u64) -> Epoch {
        let of_key = self.epochs[hash as usize % EPOCHS].load(Ordering::Relaxed);
        Epoch(of_key, self.epoch_of_all.load(Ordering::Relaxed))
    }

    /// Charges `bytes` for what is under way, if there is room for it or can be made. None if too much is held already: under way,
    /// or by those who are still being served from what was evicted.
    pub fn admit(&self, now_us: u64, bytes: usize) -> Option<Charge> {
        // Charged first, so that loops that ask at the same moment do not all get the last room.
        let charge = Charge::new(&self.memory, bytes);
        loop {
            if self.memory.held() > self.held_max() {
                return None;
            }
            if self.memory.bytes() <= self.limits.budget {
                return Some(charge);
            }
            if !self.evict_one(now_us) {
                return None;
            }
        }
    }

    /// Whether there may be room for something large.
    pub fn may_admit(&self) -> bool {
        self.memory.held() + SEGMENT_BYTES <= self.held_max()
    }

    fn held_max(&self) -> usize {
        self.limits.budget - self.limits.budget / STORED_SHARE
    }

    /// Counts a response that was not stored because there was no room for it.
    pub fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Evicts until everything is within the budget again. False if nothing is left to evict: what is there is in use.
    pub fn make_room(&self, now_us: u64) -> bool {
        while self.memory.bytes() > self.limits.budget {
            if !self.evict_one(now_us) {
                return self.memory.bytes() <= self.limits.budget;
            }
        }
        true
    }

    /// Evicts the entry that was not used for the longest time. False if there is none.
    fn evict_one(&self, now_us: u64) -> bool {
        loop {
            let oldest = |place: &&Place| place.oldest_us.load(Ordering::Relaxed);
            let Some(place) = self.shards.iter().min_by_key(oldest) else { return false };
            let published = oldest(&place);
            if published == u64::MAX {
                return false;
            }
            let mut shard = place.write();
            let found = shard.oldest();
            place.publish(&shard);
            // It was used since: another shard may hold an older one.
            let Some((used_us, slot)) = found.filter(|(used_us, _)| *used_us <= published) else { continue };
            let left = shard.remove(slot);
            let _ = shard.oldest();
            place.publish(&shard);
            // Freeing a large body takes its time: not under the lock.
            drop(shard);
            drop(left);
            self.evicted.fetch_add(1, Ordering::Relaxed);
            self.evicted_age_us.fetch_add(now_us.saturating_sub(used_us), Ordering::Relaxed);
            return true;
        }
    }

    /// Whether the allocator keeps so much of what small pieces have left that it should give it back: large ones have pages
    /// of their own, so these would come on top. True once for each time.
    pub fn has_left_memory(&self) -> bool {
        let now = self.memory.bytes().saturating_sub(segment::apart_bytes());
        let most = self.allocated_most.load(Ordering::Relaxed);
        if now > most {
            self.allocated_most.fetch_max(now, Ordering::Relaxed);
            return false;
        }
        let set = || self.allocated_most.compare_exchange(most, now, Ordering::Relaxed, Ordering::Relaxed);
        most - now > self.limits.budget / KEPT_SHARE && set().is_ok()
    }

    /// All entries, the most recently used first: to be saved.
    pub fn entries(&self) -> Vec<Arc<Stored>> {
        let mut entries = Vec::new();
        for place in &self.shards {
            entries.extend(place.read().slots.iter().flatten().map(|slot| Arc::clone(&slot.entry)));
        }
        entries.sort_by_cached_key(|entry| Reverse(entry.used_us()));
        entries
    }

    /// Puts back what an earlier run had, below all that this one has: nothing leaves for it, and what has come since, or
    /// was invalidated, stays as it is.
    pub fn restore(&self, used_us: u64, head: &Head<'_>, body: Arc<Body>) -> Restored {
        let hash = self.hash(head.key);
        let entry = Stored::new(&self.memory, hash, head, body).last_used(used_us);
        if self.memory.bytes() > self.limits.budget {
            return Restored::NoRoom;
        }
        let place = self.place(hash);
        let mut shard = place.write();
        let same = |other: &Stored| other.names() == head.names && other.selecting() == head.selecting;
        let mut variants = shard.variants(hash, head.key);
        let known = variants.by_ref().take(VARIANTS_MAX - 1).any(|(_, other)| same(other));
        if known || variants.next().is_some() || self.epoch(hash) != Epoch::default() {
            return Restored::Superseded;
        }
        drop(variants);
        shard.add(Arc::new(entry));
        place.publish(&shard);
        Restored::Kept
    }

    /// The numbers of this moment.
    pub fn statistics(&self) -> Statistics {
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Statistics {
            entries: self.shards.iter().map(|place| place.read().table.len() as u64).sum(),
            bytes: self.memory.bytes() as u64,
            bytes_held: self.memory.held() as u64,
            budget: self.limits.budget as u64,
            inserted: count(&self.inserted),
            evicted: count(&self.evicted),
            invalidated: count(&self.invalidated),
            variants_evicted: count(&self.variants_evicted),
            parts_dropped: count(&self.parts_dropped),
            refused: count(&self.refused),
            evicted_age_s: count(&self.evicted_age_us) / 1_000_000,
        }
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
