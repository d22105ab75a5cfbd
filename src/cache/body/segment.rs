//! A segment of a stored body: memory that is written once.
//!
//! A large segment is an anonymous mapping of its own, which goes back to the system when the segment is dropped. So
//! the kernel can send its pages without a copy: pages that are still in a socket's queue stay allocated, and are
//! never reused for other data. Several bodies may share a mapping; it is charged once, until the last body drops it.
//! Small segments are on the heap and are charged by their owners.

use crate::cache::store::memory_budget::{Charge, allocated, mapped};
use crate::net::Mapping;
use std::sync::Arc;

/// A segment of at least this size is a mapping (measured: a hit of 16 KB costs the same either way, one of 32 KB a
/// fifth less without the copy; below 32 KB the unused end of the last page would weigh more).
pub const MAPPED_BYTES_MIN: usize = 32 * 1024;

/// A segment.
#[derive(Debug)]
pub struct Segment(Memory);

/// A mapping with its charge.
#[derive(Debug)]
struct Pages {
    map: Mapping,
    charge: Charge,
}

impl Pages {
    /// A mapping filled with zeros, if the system has the pages and the number of mappings allows it.
    fn new(bytes: usize, charge: &mut Charge) -> Option<Pages> {
        if !charge.memory().enter_mapping(mapped(bytes)) {
            return None;
        }
        match Mapping::zeroed(bytes) {
            Some(map) => Some(Pages { map, charge: charge.split(mapped(bytes)) }),
            None => {
                charge.memory().leave_mapping(mapped(bytes));
                None
            }
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.charge.memory().leave_mapping(mapped(self.map.len()));
    }
}

#[derive(Debug)]
enum Memory {
    Heap(Box<[u8]>),
    Mapped {
        /// Shared by readers only.
        pages: Arc<Pages>,
        /// Bytes in use.
        len: u32,
    },
}

impl Default for Segment {
    fn default() -> Segment {
        Segment(Memory::Heap(Box::default()))
    }
}

impl Segment {
    /// A segment of zeros, as a mapping if `mapped` is set and a mapping is possible. The cost of a mapping is taken
    /// out of `charge`; the cost of heap memory is left to the owner (see [`Segment::heap_bytes`]).
    pub fn new(bytes: usize, mapped: bool, charge: &mut Charge) -> Segment {
        let len = u32::try_from(bytes).ok().filter(|&len| mapped && len > 0);
        match len.and_then(|len| Some((len, Pages::new(bytes, charge)?))) {
            Some((len, pages)) => Segment(Memory::Mapped { pages: Arc::new(pages), len }),
            None => Segment(Memory::Heap(vec![0; bytes].into_boxed_slice())),
        }
    }

    /// The cost in bytes of a segment of that size.
    pub fn cost(bytes: usize, in_mapping: bool) -> usize {
        // Without a free mapping the segment is on the heap, which takes no more.
        if in_mapping { mapped(bytes).max(allocated(bytes)) } else { allocated(bytes) }
    }

    /// The part of the cost that the owner has to charge.
    pub fn heap_bytes(&self) -> usize {
        if self.is_mapped() { 0 } else { self.footprint() }
    }

    /// Drops the segment and returns the charge of its mapping, unless other segments share the mapping. `None` for
    /// heap memory, which its owner has charged.
    pub fn reclaim(self) -> Option<Charge> {
        match self.0 {
            Memory::Heap(_) => None,
            Memory::Mapped { pages, .. } => Arc::into_inner(pages).map(|mut pages| {
                let bytes = pages.charge.bytes();
                pages.charge.split(bytes)
            }),
        }
    }

    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Memory::Heap(bytes) => bytes,
            Memory::Mapped { pages, len } => &pages.map[..*len as usize],
        }
    }

    /// A segment with the same bytes: it shares a mapping and copies heap memory.
    pub fn share(&self) -> Segment {
        Segment(match &self.0 {
            Memory::Heap(bytes) => Memory::Heap(bytes.clone()),
            Memory::Mapped { pages, len } => Memory::Mapped { pages: Arc::clone(pages), len: *len },
        })
    }

    /// The writable bytes from `from` on. Each byte is written only once, and before the segment is shared; a shared
    /// segment has no writable bytes.
    pub fn space(&mut self, from: usize) -> &mut [u8] {
        match &mut self.0 {
            Memory::Heap(bytes) => &mut bytes[from..],
            Memory::Mapped { pages, len } => match Arc::get_mut(pages) {
                Some(pages) => &mut pages.map[from..*len as usize],
                None => &mut [],
            },
        }
    }

    /// Whether the segment is a mapping of its own.
    pub fn is_mapped(&self) -> bool {
        matches!(self.0, Memory::Mapped { .. })
    }

    /// The first `bytes` bytes, in no more memory than they need.
    pub fn truncate(self, bytes: usize, charge: &mut Charge) -> Segment {
        match self.0 {
            Memory::Heap(all) => {
                let mut all = all.into_vec();
                all.truncate(bytes);
                Segment(Memory::Heap(all.into_boxed_slice()))
            }
            Memory::Mapped { pages, .. } if mapped(bytes) == mapped(pages.map.len()) => {
                Segment(Memory::Mapped { len: bytes as u32, pages })
            }
            Memory::Mapped { pages, .. } => {
                let mut rest = Segment::new(bytes, true, charge);
                rest.space(0).copy_from_slice(&pages.map[..bytes]);
                rest
            }
        }
    }

    /// Bytes that the segment takes from the process.
    pub fn footprint(&self) -> usize {
        match &self.0 {
            Memory::Heap(bytes) => allocated(bytes.len()),
            Memory::Mapped { pages, .. } => mapped(pages.map.len()),
        }
    }
}

impl From<Box<[u8]>> for Segment {
    fn from(bytes: Box<[u8]>) -> Segment {
        Segment(Memory::Heap(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::store::memory_budget::MemoryBudget;

    #[test]
    fn pieces_hold_what_was_written_however_they_are_cut() {
        for (bytes, mapped, cut) in
            [(0, false, 0), (0, true, 0), (100, false, 60), (70_000, true, 69_999), (70_000, true, 5000)]
        {
            let memory = Arc::new(MemoryBudget::default());
            let mut charge = Charge::new(&memory, Segment::cost(bytes, mapped));
            let mut segment = Segment::new(bytes, mapped, &mut charge);
            assert_eq!(charge.bytes(), segment.heap_bytes());
            assert_eq!((segment.bytes().len(), segment.is_mapped()), (bytes, mapped && bytes > 0));
            segment.space(0).iter_mut().enumerate().for_each(|(index, byte)| *byte = index as u8);
            let before = segment.footprint();
            let segment = segment.truncate(cut, &mut charge);
            assert!(segment.bytes().iter().enumerate().all(|(index, &byte)| byte == index as u8));
            assert_eq!((segment.bytes().len(), segment.is_mapped()), (cut, mapped && bytes > 0));
            assert!(segment.footprint() <= before && segment.footprint() >= cut);
            charge.set(segment.heap_bytes());
            assert_eq!(memory.bytes(), segment.footprint());
            let shared = segment.share();
            let charged = segment.footprint();
            assert!(segment.reclaim().is_none());
            assert_eq!(memory.bytes(), charged, "for the one that is left");
            let back = shared.reclaim();
            assert_eq!(back.map_or(0, |charge| charge.bytes()), charged - charge.bytes());
            drop(charge);
            assert_eq!(memory.bytes(), 0);
        }
    }
}
