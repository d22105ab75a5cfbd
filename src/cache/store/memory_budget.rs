//! The one account of the cache's memory: everything that the cache holds is charged here for as long as it lives.
//!
//! An entry that was evicted while somebody is still being served from it stays charged until the last reader lets go:
//! what the process holds and what the memory says are the same thing. What lies in no entry of the store, be it that it is
//! still being received or that it was evicted, is *held*: no eviction makes room there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that the allocator keeps beside each allocation (glibc: one word in front, sizes rounded up to two words).
const ALLOCATION_BYTES: usize = 8;

/// From this size on glibc may give an allocation pages of its own, with a header in front (M_MMAP_THRESHOLD).
const MAPPED_BYTES: usize = 128 * 1024;

const PAGE_BYTES: usize = 4096;

/// What an allocation of `bytes` takes from the process.
pub fn allocated(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        1..MAPPED_BYTES => (bytes + ALLOCATION_BYTES).next_multiple_of(16).max(32),
        _ => mapped(bytes + 2 * ALLOCATION_BYTES),
    }
}

/// What pages for `bytes` take.
pub fn mapped(bytes: usize) -> usize {
    bytes.next_multiple_of(PAGE_BYTES)
}

/// The account.
#[derive(Debug, Default)]
pub struct MemoryBudget {
    bytes: AtomicUsize,
    /// Of these, in entries of the store.
    entries: AtomicUsize,
}

impl MemoryBudget {
    /// Bytes charged now.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Of these, what lies in no entry of the store.
    pub fn held(&self) -> usize {
        self.bytes().saturating_sub(self.entries.load(Ordering::Relaxed))
    }

    /// An entry that takes so many bytes is in the store from now on.
    pub fn enter(&self, bytes: usize) {
        self.entries.fetch_add(bytes, Ordering::Relaxed);
    }

    /// It is not any more.
    pub fn leave(&self, bytes: usize) {
        self.entries.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A stretch of the budget, given back when it is dropped.
#[derive(Debug)]
pub struct Charge {
    memory: Arc<MemoryBudget>,
    bytes: usize,
}

impl Charge {
    /// Charges `bytes`, whatever the budget says.
    pub fn new(memory: &Arc<MemoryBudget>, bytes: usize) -> Charge {
        memory.bytes.fetch_add(bytes, Ordering::Relaxed);
        Charge { memory: Arc::clone(memory), bytes }
    }

    /// Bytes charged here.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The account.
    pub(in crate::cache) fn memory(&self) -> &MemoryBudget {
        &self.memory
    }

    /// Another one in the same account, whatever the budget says.
    pub(in crate::cache) fn beside(&self, bytes: usize) -> Charge {
        Charge::new(&self.memory, bytes)
    }

    /// Takes over what another one stands for.
    pub(in crate::cache) fn absorb(&mut self, mut other: Charge) {
        debug_assert!(Arc::ptr_eq(&self.memory, &other.memory));
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// A charge for `bytes` of what this one stands for, which it does not any more. What it does not have is charged anew.
    pub(in crate::cache) fn split(&mut self, bytes: usize) -> Charge {
        if self.bytes < bytes {
            self.set(bytes);
        }
        self.bytes -= bytes;
        Charge { memory: Arc::clone(&self.memory), bytes }
    }

    /// Makes it `bytes` from now on.
    pub fn set(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.memory.bytes.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            self.memory.bytes.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_46_a_charge_lives_as_long_as_what_it_stands_for() {
        let memory = Arc::new(MemoryBudget::default());
        let mut first = Charge::new(&memory, 100);
        let second = Charge::new(&memory, 50);
        assert_eq!(memory.bytes(), 150);
        first.set(20);
        assert_eq!((memory.bytes(), first.bytes()), (70, 20));
        drop(second);
        first.set(200);
        assert_eq!(memory.bytes(), 200);
        drop(first);
        assert_eq!(memory.bytes(), 0);
    }

    #[test]
    fn rule_57_charges_are_divided_and_joined() {
        let memory = Arc::new(MemoryBudget::default());
        let mut one = Charge::new(&memory, 100);
        let two = one.split(30);
        assert_eq!((one.bytes(), two.bytes(), memory.bytes()), (70, 30, 100));
        // More than there is.
        let three = one.split(80);
        assert_eq!((one.bytes(), three.bytes(), memory.bytes()), (0, 80, 110));
        one.absorb(two);
        assert_eq!((one.bytes(), memory.bytes()), (30, 110));
        memory.enter(50);
        assert_eq!((memory.bytes(), memory.held()), (110, 60));
        drop((one, three));
        assert_eq!((memory.bytes(), memory.held()), (0, 0));
        memory.leave(50);
        assert_eq!(memory.held(), 0);
    }

    #[test]
    fn allocations_take_more_than_was_asked_for() {
        for (asked, taken) in
            [(0, 0), (1, 32), (24, 32), (25, 48), (1000, 1008), (1024, 1040), (200_000, 200_704)]
        {
            assert_eq!(allocated(asked), taken, "{asked}");
        }
    }
}
