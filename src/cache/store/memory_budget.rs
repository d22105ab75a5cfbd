//! The memory budget of the cache: everything that the cache holds is charged here for as long as it lives.
//!
//! An evicted entry that is still being sent stays charged until its last reader releases it, so the budget shows
//! what the process really holds. Bytes that belong to no entry of the store (a response that is still being
//! received, an evicted entry that is still being sent) are *held*: no eviction frees them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that the allocator adds to each allocation (glibc: one word in front, sizes rounded up to two words).
const ALLOCATION_BYTES: usize = 8;

/// From this size on glibc may use a mapping for an allocation, with a header in front (M_MMAP_THRESHOLD).
const MAPPED_BYTES: usize = 128 * 1024;

/// The size of a page, as mappings are charged (most systems; with larger pages a mapping takes up to one page more).
const PAGE_BYTES: usize = 4096;

/// Bytes that an allocation of `bytes` takes from the process.
pub fn allocated(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        1..MAPPED_BYTES => (bytes + ALLOCATION_BYTES).next_multiple_of(16).max(32),
        _ => mapped(bytes + 2 * ALLOCATION_BYTES),
    }
}

/// Bytes that a mapping for `bytes` takes.
pub fn mapped(bytes: usize) -> usize {
    bytes.next_multiple_of(PAGE_BYTES)
}

/// Most mappings that segments of one store may have (chosen: half of vm.max_map_count, the number of mappings that Linux
/// lets a process have; the daemon has one store). Neighbouring mappings count as one for the kernel, until those between them are unmapped. A
/// process that reaches the limit gets no further mapping, and cannot even unmap the middle of one.
const MAPPINGS_MAX: usize = 32 * 1024;

/// The bytes that are charged to the cache, and its mappings.
#[derive(Debug, Default)]
pub struct MemoryBudget {
    bytes: AtomicUsize,
    /// Charged bytes that belong to entries of the store.
    entries: AtomicUsize,
    /// The number of mappings of segments.
    mappings: AtomicUsize,
    /// The bytes of these mappings.
    mapped_bytes: AtomicUsize,
}

impl MemoryBudget {
    /// Bytes charged now.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Charged bytes that belong to no entry of the store.
    pub fn held(&self) -> usize {
        self.bytes().saturating_sub(self.entries.load(Ordering::Relaxed))
    }

    /// An entry of this size enters the store.
    pub fn enter_store(&self, bytes: usize) {
        self.entries.fetch_add(bytes, Ordering::Relaxed);
    }

    /// An entry of this size leaves the store.
    pub fn leave_store(&self, bytes: usize) {
        self.entries.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes of all mappings.
    pub fn mapped_bytes(&self) -> usize {
        self.mapped_bytes.load(Ordering::Relaxed)
    }

    /// Counts a mapping of that size. False, and nothing is counted, if there are too many mappings.
    pub(in crate::cache) fn enter_mapping(&self, bytes: usize) -> bool {
        let may = self.mappings.fetch_add(1, Ordering::Relaxed) < MAPPINGS_MAX;
        if may {
            self.mapped_bytes.fetch_add(bytes, Ordering::Relaxed);
        } else {
            self.mappings.fetch_sub(1, Ordering::Relaxed);
        }
        may
    }

    /// Counts a mapping of that size out.
    pub(in crate::cache) fn leave_mapping(&self, bytes: usize) {
        self.mappings.fetch_sub(1, Ordering::Relaxed);
        self.mapped_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A part of the budget, which goes back to the budget when the charge is dropped.
#[derive(Debug)]
pub struct Charge {
    memory: Arc<MemoryBudget>,
    bytes: usize,
}

impl Charge {
    /// Charges `bytes`, whether or not the budget has them.
    pub fn new(memory: &Arc<MemoryBudget>, bytes: usize) -> Charge {
        memory.bytes.fetch_add(bytes, Ordering::Relaxed);
        Charge { memory: Arc::clone(memory), bytes }
    }

    /// Bytes of this charge.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The budget.
    pub(in crate::cache) fn memory(&self) -> &MemoryBudget {
        &self.memory
    }

    /// Another charge in the same budget, whether or not the budget has the bytes.
    pub(in crate::cache) fn sibling(&self, bytes: usize) -> Charge {
        Charge::new(&self.memory, bytes)
    }

    /// Takes over the bytes of another charge.
    pub(in crate::cache) fn absorb(&mut self, mut other: Charge) {
        debug_assert!(Arc::ptr_eq(&self.memory, &other.memory));
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Splits a charge of `bytes` off. Bytes that this one does not have are charged anew.
    pub(in crate::cache) fn split(&mut self, bytes: usize) -> Charge {
        if self.bytes < bytes {
            self.set(bytes);
        }
        self.bytes -= bytes;
        Charge { memory: Arc::clone(&self.memory), bytes }
    }

    /// Changes the charge to `bytes`.
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
        memory.enter_store(50);
        assert_eq!((memory.bytes(), memory.held()), (110, 60));
        drop((one, three));
        assert_eq!((memory.bytes(), memory.held()), (0, 0));
        memory.leave_store(50);
        assert_eq!(memory.held(), 0);
    }

    #[test]
    fn mappings_are_bounded() {
        let memory = MemoryBudget::default();
        assert!((0..MAPPINGS_MAX).all(|_| memory.enter_mapping(8192)) && !memory.enter_mapping(8192));
        assert_eq!(memory.mapped_bytes(), MAPPINGS_MAX * 8192);
        memory.leave_mapping(8192);
        assert!(memory.enter_mapping(4096) && !memory.enter_mapping(4096));
        assert_eq!(memory.mapped_bytes(), MAPPINGS_MAX * 8192 - 4096);
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
