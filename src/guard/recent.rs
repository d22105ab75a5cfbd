//! A table with a bounded number of keys, in the order of their last use.
//!
//! A key is a keyed hash of 64 bits that the caller computes from everything that distinguishes keys: the text of the key is
//! not stored. Two keys of a million share a hash with a probability of 1 in 30 million, and a client cannot search for a
//! pair. Entries lie in one array and are linked by index: 16 bytes beside the value, and an index of 32 bits in the hash
//! table.

use hashbrown::HashTable;

/// No entry.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Entry<V> {
    key: u64,
    /// The entry that was used after this one; in a free entry the next free one.
    newer: u32,
    older: u32,
    value: V,
}

/// Keys and values, bounded, with the order of their last use.
#[derive(Debug)]
pub(super) struct Recent<V> {
    table: HashTable<u32>,
    entries: Vec<Entry<V>>,
    newest: u32,
    oldest: u32,
    free: u32,
    keys_max: usize,
}

impl<V: Default> Recent<V> {
    /// A table for at most `keys_max` keys, at least one.
    pub(super) fn new(keys_max: usize) -> Recent<V> {
        let keys_max = keys_max.clamp(1, NONE as usize);
        Recent {
            table: HashTable::new(),
            entries: Vec::new(),
            newest: NONE,
            oldest: NONE,
            free: NONE,
            keys_max,
        }
    }

    /// Number of keys.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Bytes of the arrays, without memory that values own.
    pub(super) fn heap_bytes(&self) -> usize {
        self.table.allocation_size() + self.entries.capacity() * size_of::<Entry<V>>()
    }

    /// The value of a key; the order does not change.
    pub(super) fn peek(&self, key: u64) -> Option<&V> {
        let at = self.position(key)?;
        Some(&self.entries[at as usize].value)
    }

    /// The value of a key, which becomes the most recent one; a new key has the default. Also returns the evicted value: that
    /// of the least recently used key.
    pub(super) fn use_or_add(&mut self, key: u64) -> (&mut V, Option<V>) {
        let (at, evicted) = match self.mark_used(key) {
            Some(at) => (at, None),
            None => self.add(key),
        };
        (self.at(at), evicted)
    }

    /// The index of a key, if the table has it; the key becomes the most recent one.
    #[inline]
    pub(super) fn mark_used(&mut self, key: u64) -> Option<u32> {
        let at = self.position(key)?;
        if at != self.newest {
            self.unlink(at);
            self.link(at);
        }
        Some(at)
    }

    /// The value at an index that [`Recent::mark_used`] or [`Recent::add`] has just returned.
    #[inline]
    pub(super) fn at(&mut self, place: u32) -> &mut V {
        &mut self.entries[place as usize].value
    }

    /// The value of a key, for changes; the order does not change.
    pub(super) fn peek_mut(&mut self, key: u64) -> Option<&mut V> {
        let at = self.position(key)?;
        Some(&mut self.entries[at as usize].value)
    }

    /// Adds a new key, as the most recent one: its index, and the evicted value.
    pub(super) fn add(&mut self, key: u64) -> (u32, Option<V>) {
        let mut evicted = None;
        if self.len() >= self.keys_max {
            evicted = self.oldest().and_then(|oldest| self.remove(oldest));
        }
        let at = self.place(Entry { key, newer: NONE, older: NONE, value: V::default() });
        let entries = &self.entries;
        self.table.insert_unique(key, at, |&other| entries[other as usize].key);
        self.link(at);
        (at, evicted)
    }

    /// Takes a key away.
    pub(super) fn remove(&mut self, key: u64) -> Option<V> {
        let entries = &self.entries;
        let found = self.table.find_entry(key, |&at| entries[at as usize].key == key).ok()?;
        let at = found.remove().0;
        self.unlink(at);
        let entry = &mut self.entries[at as usize];
        entry.newer = self.free;
        self.free = at;
        Some(std::mem::take(&mut entry.value))
    }

    /// The key that was not used for the longest time.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.entries.get(self.oldest as usize).map(|entry| entry.key)
    }

    /// All values, in no order.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.table.iter().map(|&at| &self.entries[at as usize].value)
    }

    /// All keys with their values, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &V)> {
        self.table.iter().map(|&at| &self.entries[at as usize]).map(|entry| (entry.key, &entry.value))
    }

    #[inline]
    fn position(&self, key: u64) -> Option<u32> {
        self.table.find(key, |&at| self.entries[at as usize].key == key).copied()
    }

    fn place(&mut self, entry: Entry<V>) -> u32 {
        if let Some(free) = self.entries.get_mut(self.free as usize) {
            let at = self.free;
            self.free = free.newer;
            *free = entry;
            return at;
        }
        if self.entries.len() == self.entries.capacity() {
            // The array grows by a quarter, not to twice its size: it is most of the memory of a key.
            let more = (self.entries.len() / 4).clamp(16, self.keys_max.max(16));
            self.entries.reserve_exact(more);
        }
        self.entries.push(entry);
        (self.entries.len() - 1) as u32
    }

    fn link(&mut self, at: u32) {
        let before = self.newest;
        let entry = &mut self.entries[at as usize];
        (entry.older, entry.newer) = (before, NONE);
        match self.entries.get_mut(before as usize) {
            Some(entry) => entry.newer = at,
            None => self.oldest = at,
        }
        self.newest = at;
    }

    fn unlink(&mut self, at: u32) {
        let Entry { newer, older, .. } = self.entries[at as usize];
        match self.entries.get_mut(newer as usize) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order from the oldest on, as taken away one by one.
    fn order(mut recent: Recent<u32>) -> Vec<u64> {
        let mut order = Vec::new();
        while let Some(oldest) = recent.oldest() {
            order.push(oldest);
            recent.remove(oldest);
        }
        assert_eq!(recent.len(), 0);
        order
    }

    #[test]
    fn the_order_is_that_of_the_last_use() {
        let mut recent = Recent::new(4);
        for key in 1..=4 {
            *recent.use_or_add(key).0 = key as u32;
        }
        assert_eq!(recent.use_or_add(2), (&mut 2, None));
        assert_eq!(recent.use_or_add(4), (&mut 4, None));
        assert_eq!((recent.peek(1), recent.peek(9)), (Some(&1), None));
        assert_eq!(recent.remove(3), Some(3));
        assert_eq!((recent.remove(3), recent.len()), (None, 3));
        *recent.use_or_add(5).0 = 5;
        assert_eq!(recent.use_or_add(6), (&mut 0, Some(1)), "the oldest makes room");
        assert_eq!(recent.values().sum::<u32>(), 11);
        assert_eq!(order(recent), [2, 4, 5, 6]);
    }

    #[test]
    fn places_are_used_again() {
        let mut recent = Recent::<u32>::new(100);
        for key in 0..10_000u64 {
            recent.use_or_add(key.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        }
        assert_eq!(recent.len(), 100);
        assert!(recent.heap_bytes() < 100 * 40, "{}", recent.heap_bytes());
    }
}
