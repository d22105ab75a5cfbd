//! The store: responses by key, in one byte budget; the least recently used ones leave first.
//!
//! # Theory of operation
//!
//! One store serves all loops. It is divided into shards by the hash of the key. A hit takes the shard's lock for
//! reading and writes one number into the entry, so hits never wait for each other. Only storing and evicting take
//! the lock for writing.
//!
//! The order of eviction is exact and lazy. Each shard keeps a heap of (time, slot), where the time is a past use of
//! the entry in that slot, possibly not the last one. So the entry on top was used no later than any other. If it has
//! been used since that time, it goes back into the heap with its true last use; otherwise it is the least recently
//! used entry of the shard. Each shard publishes the time on top of its heap, and eviction begins with the oldest.
//!
//! Everything is charged to one [`MemoryBudget`], also an evicted entry that is still being sent. A variant is an
//! entry of its own. The variants of one key have the same hash, so they lie in the same shard; their number is
//! bounded.

pub mod memory_budget;
pub mod persistence;
pub mod stored;

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

/// Number of invalidation counters. Several keys share a counter, so a fetch may be treated as invalidated although
/// its own key was not: the response is then not stored, which is harmless (chosen: 16 KB).
const EPOCHS: usize = 4096;

/// The smallest budget: an entry must fit into its share (chosen).
const BUDGET_MIN: usize = 1 << 20;

/// One part in this many of the budget is left to stored entries, however many bytes are held that no eviction frees
/// (chosen: clients that do not read their responses must not drive out the entries of all others).
const STORED_SHARE: usize = 4;

/// One part in this many of the budget may stay free inside the allocator (chosen: the allocator keeps about that
/// where sizes are mixed).
const KEPT_SHARE: usize = 8;

/// The sizes of a store, and the seed of its hash.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of all entries, tables and responses under way.
    pub budget: usize,
    /// Bytes of one body; at most half of the budget.
    pub object_max: u64,
    /// Key of the hash: clients choose what is stored, and must not be able to predict hashes.
    pub seed: [u64; 2],
}

impl Limits {
    /// A budget, of which one body may use at most an eighth.
    pub fn with_budget(budget: usize, seed: [u64; 2]) -> Limits {
        let budget = budget.max(BUDGET_MIN);
        Limits { budget, object_max: budget as u64 / 8, seed }
    }
}

/// The result of a look-up.
#[derive(Debug)]
pub enum Found {
    /// A variant that the request selects.
    Entry(Arc<Stored>),
    /// The key is stored, but the request selects none of its variants. This is the youngest of them.
    NoVariant(Arc<Stored>),
    /// The key is not stored.
    Nothing,
}

/// The invalidation counters of a key and of the whole store, at one moment. A response that was requested before an
/// invalidation must not be stored after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epoch(u32, u32);

/// The result of restoring an entry of an earlier run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// The entry is in the store again.
    Kept,
    /// The store has a newer entry, or the key was invalidated since the start.
    Superseded,
    /// The budget is used up.
    NoRoom,
}

/// Counts since the start, and gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Entries now.
    pub entries: u64,
    /// Bytes charged now.
    pub bytes: u64,
    /// Bytes of these that belong to no entry: responses under way, and evicted entries that are still being sent.
    pub bytes_held: u64,
    /// The budget in bytes.
    pub budget: u64,
    /// Entries stored.
    pub inserted: u64,
    /// Entries that were evicted to make room.
    pub evicted: u64,
    /// Entries that were invalidated or purged.
    pub invalidated: u64,
    /// Variants that were evicted because their key had too many.
    pub variants_evicted: u64,
    /// Parts that were dropped: there were too many, they were too large together, or they belong to another
    /// representation.
    pub parts_dropped: u64,
    /// Responses that were not stored because too many bytes were held.
    pub refused: u64,
    /// Seconds since the last use, summed over all evicted entries.
    pub evicted_age_s: u64,
}

/// The store.
#[derive(Debug)]
pub struct Store {
    limits: Limits,
    memory: Arc<MemoryBudget>,
    shards: Box<[PaddedShard]>,
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
    /// The most bytes that small pieces have taken from the allocator since the allocator was last asked to return
    /// free memory.
    allocated_most: AtomicUsize,
    /// The tables of an empty store.
    _charge: Charge,
}

/// A shard and the time on top of its heap, in cache lines of their own.
#[derive(Debug)]
#[repr(align(128))]
struct PaddedShard {
    oldest_us: AtomicU64,
    shard: RwLock<Shard>,
}

/// A past use of an entry, and its slot.
type Queued = Reverse<(u64, u32)>;

#[derive(Debug)]
struct Slot {
    entry: Arc<Stored>,
    /// The time of the one heap item that is valid for this slot.
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

impl PaddedShard {
    /// A panic in another loop leaves no shard half changed in a way that matters here.
    fn read(&self) -> RwLockReadGuard<'_, Shard> {
        self.shard.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Shard> {
        self.shard.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish_oldest(&self, shard: &Shard) {
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

    /// The slots of all entries with that key.
    fn variants(&self, hash: u64, key: &[u8]) -> impl Iterator<Item = (u32, &Arc<Stored>)> {
        self.table
            .iter_hash(hash)
            .filter_map(|&slot| Some((slot, self.entry(slot)?)))
            .filter(move |(_, entry)| entry.hash() == hash && entry.key() == key)
    }

    fn add(&mut self, entry: Arc<Stored>) {
        self.charge.memory().enter_store(entry.footprint());
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
        self.charge_tables();
    }

    fn remove(&mut self, slot: u32) -> Option<Arc<Stored>> {
        let removed = self.slots.get_mut(slot as usize)?.take()?;
        self.charge.memory().leave_store(removed.entry.footprint());
        let hash = removed.entry.hash();
        if let Ok(found) = self.table.find_entry(hash, |&other| other == slot) {
            found.remove();
        }
        self.free.push(slot);
        // An entry that is removed from the middle leaves its item in the heap. There are never more such items than
        // entries.
        if self.heap.len() > 2 * self.table.len() + 64 {
            let slots = &self.slots;
            self.heap.retain(|Reverse((queued_us, slot))| {
                slots[*slot as usize].as_ref().is_some_and(|slot| slot.queued_us == *queued_us)
            });
        }
        self.charge_tables();
        Some(removed.entry)
    }

    /// The slot of the least recently used entry.
    fn least_recently_used(&mut self) -> Option<(u64, u32)> {
        loop {
            let mut top = self.heap.peek_mut()?;
            let Reverse((queued_us, slot)) = *top;
            let used_us = match self.slots.get_mut(slot as usize).and_then(Option::as_mut) {
                Some(place) if place.queued_us == queued_us => {
                    place.queued_us = place.entry.used_us();
                    place.queued_us
                }
                // The item is outdated: the entry was removed, or has another item.
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

    /// Charges the memory of the tables.
    fn charge_tables(&mut self) {
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
        let place =
            || PaddedShard { oldest_us: AtomicU64::new(u64::MAX), shard: RwLock::new(Shard::new(&memory)) };
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
            _charge: Charge::new(
                &memory,
                SHARDS * size_of::<PaddedShard>() + EPOCHS * size_of::<AtomicU32>(),
            ),
            limits,
            memory,
        }
    }

    /// The sizes.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The budget that all memory of the cache is charged to.
    pub fn memory(&self) -> &Arc<MemoryBudget> {
        &self.memory
    }

    /// The locks on the keys that loops are fetching.
    pub fn fill_locks(&self) -> &FillLocks {
        &self.fill_locks
    }

    /// The hash of a key, which clients cannot predict.
    pub fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.limits.seed[0], self.limits.seed[1]);
        hasher.write(key);
        hasher.finish()
    }

    /// The hash of a variant: of the key with that hash, for requests with these values of the fields in Vary
    /// ([`vary::write_selecting`](crate::cache::rfc::vary::write_selecting)). Without such fields that of the key.
    pub fn variant_hash(&self, hash: u64, selecting: &[u8]) -> u64 {
        if selecting.is_empty() { hash } else { hash ^ self.hash(selecting) }
    }

    fn shard(&self, hash: u64) -> &PaddedShard {
        // The table uses the low bits and the highest seven.
        &self.shards[(hash >> 40) as usize % SHARDS]
    }

    /// Looks up a key. `rank` returns `None` for a variant that the request does not select; the variant of the
    /// highest rank is found.
    pub fn find<R: Ord>(
        &self,
        now_us: u64,
        hash: u64,
        key: &[u8],
        mut rank: impl FnMut(&Stored) -> Option<R>,
    ) -> Found {
        let shard = self.shard(hash).read();
        let (mut best, mut youngest) = (None, None);
        for (_, entry) in shard.variants(hash, key) {
            if youngest.is_none_or(|other: &Arc<Stored>| entry.date_order() > other.date_order()) {
                youngest = Some(entry);
            }
            if let Some(rank) = rank(entry) {
                if best.as_ref().is_none_or(|(highest, _)| rank > *highest) {
                    best = Some((rank, entry));
                }
            }
        }
        match best {
            Some((_, entry)) => {
                entry.mark_used(now_us);
                Found::Entry(Arc::clone(entry))
            }
            None => youngest.map_or(Found::Nothing, |other| Found::NoVariant(Arc::clone(other))),
        }
    }

    /// Stores a response in place of the variant that the same requests select. `None` if its key was invalidated
    /// since `epoch`, a newer response is stored already, or there is no room. A part is combined with the stored parts of the
    /// same representation.
    pub fn insert(&self, now_us: u64, epoch: Epoch, head: &Head<'_>, body: Arc<Body>) -> Option<Arc<Stored>> {
        let hash = self.hash(head.key);
        let mut entry = Arc::new(Stored::new(&self.memory, hash, head, body));
        if !self.make_room(now_us) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let mut left: Vec<Arc<Stored>> = Vec::new();
        {
            let place = self.shard(hash);
            let mut shard = place.write();
            // Checked under the lock: an invalidation counts up first and removes entries then.
            if self.epoch(hash) != epoch {
                return None;
            }
            let same = |other: &Stored| other.names() == head.names && other.selecting() == head.selecting;
            let same: Vec<u32> = shard
                .variants(hash, head.key)
                .filter(|(_, other)| same(other))
                .map(|(slot, _)| slot)
                .collect();
            // A response whose body took long must not replace one that the origin made meanwhile (RFC 9111 section 4).
            let is_outdated =
                |old: &Arc<Stored>| old.is_newer_than(&entry) && !combining::completes(old, &entry);
            if same.iter().filter_map(|slot| shard.entry(*slot)).any(is_outdated) {
                return None;
            }
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
            place.publish_oldest(&shard);
        }
        self.inserted.fetch_add(1, Ordering::Relaxed);
        Some(entry)
    }

    /// Replaces `old` by `new` after the origin has confirmed it; both have the same key. Removes other variants that
    /// the same requests select. False if `old` has left the store: then `new` is used for one answer only.
    pub fn replace(&self, now_us: u64, old: &Arc<Stored>, new: &Arc<Stored>) -> bool {
        let place = self.shard(old.hash());
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
        place.publish_oldest(&shard);
        drop(shard);
        drop(left);
        // The new fields may be longer. If other memory takes all of the budget, the next response finds that.
        self.make_room(now_us);
        true
    }

    /// Removes this entry, if it is still stored.
    pub fn remove(&self, entry: &Arc<Stored>) {
        let place = self.shard(entry.hash());
        let mut shard = place.write();
        let slot = shard.variants(entry.hash(), entry.key()).find(|(_, other)| Arc::ptr_eq(other, entry));
        if let Some(slot) = slot.map(|(slot, _)| slot) {
            let _left = shard.remove(slot);
            self.invalidated.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Removes all variants of a key, and keeps the responses of fetches under way from being stored. Returns the
    /// number of entries removed.
    pub fn invalidate(&self, key: &[u8]) -> usize {
        let hash = self.hash(key);
        self.epochs[hash as usize % EPOCHS].fetch_add(1, Ordering::Relaxed);
        let mut shard = self.shard(hash).write();
        let slots: Vec<u32> = shard.variants(hash, key).map(|(slot, _)| slot).collect();
        let left: Vec<_> = slots.into_iter().filter_map(|slot| shard.remove(slot)).collect();
        drop(shard);
        self.invalidated.fetch_add(left.len() as u64, Ordering::Relaxed);
        left.len()
    }

    /// Removes all entries whose key matches, and keeps all responses of fetches under way from being stored. Returns
    /// the number of entries removed.
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
                // The tables are freed with the last entry.
                let charge = std::mem::replace(&mut *shard, Shard::new(&self.memory));
                drop(charge);
            }
            place.publish_oldest(&shard);
            drop(shard);
            count += left.len();
        }
        self.invalidated.fetch_add(count as u64, Ordering::Relaxed);
        count
    }

    /// The epoch of a key, to be read before the origin is asked.
    pub fn epoch(&self, hash: u64) -> Epoch {
        let of_key = self.epochs[hash as usize % EPOCHS].load(Ordering::Relaxed);
        Epoch(of_key, self.epoch_of_all.load(Ordering::Relaxed))
    }

    /// Charges `bytes` for a response under way, if there is room or room can be made. `None` if too many bytes are
    /// held already: by responses under way, and by evicted entries that are still being sent.
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

    /// Whether a large response may find room.
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

    /// Evicts until the budget is met. False if nothing is left to evict: all memory is in use.
    pub fn make_room(&self, now_us: u64) -> bool {
        while self.memory.bytes() > self.limits.budget {
            if !self.evict_one(now_us) {
                return self.memory.bytes() <= self.limits.budget;
            }
        }
        true
    }

    /// Evicts the least recently used entries until `bytes` bytes less are charged, or none is left. Returns the number of entries
    /// evicted.
    pub fn shed(&self, now_us: u64, bytes: usize) -> u64 {
        let (mut evicted, most) = (0, self.memory.bytes().saturating_sub(bytes));
        while self.memory.bytes() > most && self.evict_one(now_us) {
            evicted += 1;
        }
        evicted
    }

    /// Evicts the least recently used entry of all shards. False if there is none.
    fn evict_one(&self, now_us: u64) -> bool {
        loop {
            let oldest = |place: &&PaddedShard| place.oldest_us.load(Ordering::Relaxed);
            let Some(place) = self.shards.iter().min_by_key(oldest) else { return false };
            let published = oldest(&place);
            if published == u64::MAX {
                return false;
            }
            let mut shard = place.write();
            let found = shard.least_recently_used();
            place.publish_oldest(&shard);
            // The entry was used since: another shard may hold an older one.
            let Some((used_us, slot)) = found.filter(|(used_us, _)| *used_us <= published) else { continue };
            let left = shard.remove(slot);
            let _ = shard.least_recently_used();
            place.publish_oldest(&shard);
            // Freeing a large body takes time, so it happens outside the lock.
            drop(shard);
            drop(left);
            self.evicted.fetch_add(1, Ordering::Relaxed);
            self.evicted_age_us.fetch_add(now_us.saturating_sub(used_us), Ordering::Relaxed);
            return true;
        }
    }

    /// Whether the allocator should be asked to return free memory: more small pieces were freed than the budget
    /// tolerates as unused memory. Large pieces are mappings, which take memory beside that. True once for each such
    /// excess.
    pub fn should_trim(&self) -> bool {
        let now = self.memory.bytes().saturating_sub(self.memory.mapped_bytes());
        let most = self.allocated_most.load(Ordering::Relaxed);
        if now > most {
            self.allocated_most.fetch_max(now, Ordering::Relaxed);
            return false;
        }
        let set = || self.allocated_most.compare_exchange(most, now, Ordering::Relaxed, Ordering::Relaxed);
        most - now > self.limits.budget / KEPT_SHARE && set().is_ok()
    }

    /// All entries, the most recently used first, for the cache file.
    pub fn entries(&self) -> Vec<Arc<Stored>> {
        let mut entries = Vec::new();
        for place in &self.shards {
            entries.extend(place.read().slots.iter().flatten().map(|slot| Arc::clone(&slot.entry)));
        }
        entries.sort_by_cached_key(|entry| Reverse(entry.used_us()));
        entries
    }

    /// Restores an entry of an earlier run, as less recently used than all entries of this run. The entry evicts and
    /// replaces none. An entry whose key was invalidated since the start is not restored.
    pub fn restore(&self, used_us: u64, head: &Head<'_>, body: Arc<Body>) -> Restored {
        let hash = self.hash(head.key);
        let entry = Stored::new(&self.memory, hash, head, body).with_last_use(used_us);
        if self.memory.bytes() > self.limits.budget {
            return Restored::NoRoom;
        }
        let place = self.shard(hash);
        let mut shard = place.write();
        let same = |other: &Stored| other.names() == head.names && other.selecting() == head.selecting;
        let mut variants = shard.variants(hash, head.key);
        let known = variants.by_ref().take(VARIANTS_MAX - 1).any(|(_, other)| same(other));
        if known || variants.next().is_some() || self.epoch(hash) != Epoch::default() {
            return Restored::Superseded;
        }
        drop(variants);
        shard.add(Arc::new(entry));
        place.publish_oldest(&shard);
        Restored::Kept
    }

    /// The statistics of this moment.
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
