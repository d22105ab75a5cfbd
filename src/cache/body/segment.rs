//! A piece of a stored body: memory that is written once.
//!
//! Large pieces have pages of their own, which go back to the system when they are dropped. So the system can send them
//! from where they are, without a copy: what it has not sent yet by then keeps its pages, and nobody else gets them. Several
//! bodies may share them; they are charged once, until the last lets go of them. Small pieces are charged by who has them.

use crate::cache::store::memory_budget::{Charge, allocated, mapped};
use memmap2::{MmapMut, MmapOptions};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// From this size on a piece has pages of its own (measured: a hit of 16 KB costs the same either way, one of 32 KB a fifth
/// less without the copy; below, what the last page leaves unused would weigh more).
pub const APART_BYTES_MIN: usize = 32 * 1024;

/// Pieces with pages of their own, at most, in all stores of the process (chosen: half of the mappings that Linux lets a
/// process have, vm.max_map_count). Neighbours share a mapping, but once others between them are gone each that stays is one;
/// and with too many of them the system has none for anybody else, and does not even take pages back from the middle of one.
const APART_MAX: usize = 32 * 1024;

/// Of the process, because that bound is.
static APART: AtomicUsize = AtomicUsize::new(0);

/// Bytes that they take.
static APART_BYTES: AtomicUsize = AtomicUsize::new(0);

/// What all pieces of the process take that have pages of their own.
pub fn apart_bytes() -> usize {
    APART_BYTES.load(Ordering::Relaxed)
}

/// One piece.
#[derive(Debug)]
pub struct Segment(Memory);

/// Pages of their own, counted and charged.
#[derive(Debug)]
struct Pages {
    map: Counted,
    charge: Charge,
}

#[derive(Debug)]
struct Counted(MmapMut);

impl Pages {
    /// Zeros, if the system has the pages and there are not too many such pieces.
    fn new(bytes: usize, charge: &mut Charge) -> Option<Pages> {
        let counted = APART.fetch_add(1, Ordering::Relaxed);
        let map = || MmapOptions::new().len(bytes).populate().map_anon().ok();
        let pages = if counted < APART_MAX { map() } else { None };
        match &pages {
            Some(pages) => APART_BYTES.fetch_add(mapped(pages.len()), Ordering::Relaxed),
            None => APART.fetch_sub(1, Ordering::Relaxed),
        };
        pages.map(|map| Pages { map: Counted(map), charge: charge.split(mapped(bytes)) })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        APART.fetch_sub(1, Ordering::Relaxed);
        APART_BYTES.fetch_sub(mapped(self.0.len()), Ordering::Relaxed);
    }
}

impl Deref for Pages {
    type Target = MmapMut;

    fn deref(&self) -> &MmapMut {
        &self.map.0
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut MmapMut {
        &mut self.map.0
    }
}

#[derive(Debug)]
enum Memory {
    Shared(Box<[u8]>),
    Apart {
        /// Whoever shares them only reads.
        pages: Arc<Pages>,
        /// Bytes that count.
        len: u32,
    },
}

impl Default for Segment {
    fn default() -> Segment {
        Segment(Memory::Shared(Box::default()))
    }
}

impl Segment {
    /// Zeros, apart from everything else if that is wanted and can be had. Pages that it has take what they cost out of
    /// `charge`; anything else is left to its owner (see [`Segment::owed`]).
    pub fn new(bytes: usize, apart: bool, charge: &mut Charge) -> Segment {
        let len = u32::try_from(bytes).ok().filter(|&len| apart && len > 0);
        match len.and_then(|len| Some((len, Pages::new(bytes, charge)?))) {
            Some((len, pages)) => Segment(Memory::Apart { pages: Arc::new(pages), len }),
            None => Segment(Memory::Shared(vec![0; bytes].into_boxed_slice())),
        }
    }

    /// What one of that size takes, if it is apart or not.
    pub fn cost(bytes: usize, apart: bool) -> usize {
        // Where it cannot be had apart it takes no more.
        if apart { mapped(bytes).max(allocated(bytes)) } else { allocated(bytes) }
    }

    /// What of its cost its owner has to charge.
    pub fn owed(&self) -> usize {
        if self.is_apart() { 0 } else { self.footprint() }
    }

    /// Gives it up, and takes back what it was charged, unless others still have it. What its owner has charged is none of
    /// that.
    pub fn reclaim(self) -> Option<Charge> {
        match self.0 {
            Memory::Shared(_) => None,
            Memory::Apart { pages, .. } => Arc::into_inner(pages).map(|pages| pages.charge),
        }
    }

    /// What it holds.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Memory::Shared(bytes) => bytes,
            Memory::Apart { pages, len } => &pages[..*len as usize],
        }
    }

    /// The same bytes once more: in the same pages, if they have pages of their own.
    pub fn share(&self) -> Segment {
        Segment(match &self.0 {
            Memory::Shared(bytes) => Memory::Shared(bytes.clone()),
            Memory::Apart { pages, len } => Memory::Apart { pages: Arc::clone(pages), len: *len },
        })
    }

    /// What it holds from `from` on, to be written: only once, and before it is shared. Nothing afterwards.
    pub fn space(&mut self, from: usize) -> &mut [u8] {
        match &mut self.0 {
            Memory::Shared(bytes) => &mut bytes[from..],
            Memory::Apart { pages, len } => match Arc::get_mut(pages) {
                Some(pages) => &mut pages[from..*len as usize],
                None => &mut [],
            },
        }
    }

    /// Whether its pages are nobody else's.
    pub fn is_apart(&self) -> bool {
        matches!(self.0, Memory::Apart { .. })
    }

    /// Its first `bytes` bytes, and no more memory than they need.
    pub fn cut(self, bytes: usize, charge: &mut Charge) -> Segment {
        match self.0 {
            Memory::Shared(all) => {
                let mut all = all.into_vec();
                all.truncate(bytes);
                Segment(Memory::Shared(all.into_boxed_slice()))
            }
            Memory::Apart { pages, .. } if mapped(bytes) == mapped(pages.len()) => {
                Segment(Memory::Apart { len: bytes as u32, pages })
            }
            Memory::Apart { pages, .. } => {
                let mut rest = Segment::new(bytes, true, charge);
                rest.space(0).copy_from_slice(&pages[..bytes]);
                rest
            }
        }
    }

    /// Bytes that it takes from the process.
    pub fn footprint(&self) -> usize {
        match &self.0 {
            Memory::Shared(bytes) => allocated(bytes.len()),
            Memory::Apart { pages, .. } => mapped(pages.len()),
        }
    }
}

impl From<Box<[u8]>> for Segment {
    fn from(bytes: Box<[u8]>) -> Segment {
        Segment(Memory::Shared(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::store::memory_budget::MemoryBudget;

    #[test]
    fn pieces_hold_what_was_written_however_they_are_cut() {
        for (bytes, apart, cut) in
            [(0, false, 0), (0, true, 0), (100, false, 60), (70_000, true, 69_999), (70_000, true, 5000)]
        {
            let memory = Arc::new(MemoryBudget::default());
            let mut charge = Charge::new(&memory, Segment::cost(bytes, apart));
            let mut segment = Segment::new(bytes, apart, &mut charge);
            assert_eq!(charge.bytes(), segment.owed());
            assert_eq!((segment.bytes().len(), segment.is_apart()), (bytes, apart && bytes > 0));
            segment.space(0).iter_mut().enumerate().for_each(|(index, byte)| *byte = index as u8);
            let before = segment.footprint();
            let segment = segment.cut(cut, &mut charge);
            assert!(segment.bytes().iter().enumerate().all(|(index, &byte)| byte == index as u8));
            assert_eq!((segment.bytes().len(), segment.is_apart()), (cut, apart && bytes > 0));
            assert!(segment.footprint() <= before && segment.footprint() >= cut);
            charge.set(segment.owed());
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
