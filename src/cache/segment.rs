//! A piece of a stored body: memory that is written once.
//!
//! Large pieces have pages of their own, which go back to the system when they are dropped. So the system can send them
//! from where they are, without a copy: what it has not sent yet by then keeps its pages, and nobody else gets them.

use super::ledger::{allocated, mapped};
use memmap2::{MmapMut, MmapOptions};

/// From this size on a piece has pages of its own (measured: a hit of 16 KB costs the same either way, one of 32 KB a fifth
/// less without the copy; below, what the last page leaves unused would weigh more).
pub const APART_BYTES_MIN: usize = 32 * 1024;

/// One piece.
#[derive(Debug)]
pub struct Segment(Memory);

#[derive(Debug)]
enum Memory {
    Shared(Box<[u8]>),
    Apart {
        pages: MmapMut,
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
    /// Zeros, apart from everything else if that is wanted and the system has the pages.
    pub fn new(bytes: usize, apart: bool) -> Segment {
        let pages = || MmapOptions::new().len(bytes).populate().map_anon().ok();
        let len = u32::try_from(bytes).ok().filter(|&len| apart && len > 0);
        match len.and_then(|len| Some((len, pages()?))) {
            Some((len, pages)) => Segment(Memory::Apart { pages, len }),
            None => Segment(Memory::Shared(vec![0; bytes].into_boxed_slice())),
        }
    }

    /// What it holds.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Memory::Shared(bytes) => bytes,
            Memory::Apart { pages, len } => &pages[..*len as usize],
        }
    }

    /// What it holds from `from` on, to be written: only once.
    pub fn space(&mut self, from: usize) -> &mut [u8] {
        match &mut self.0 {
            Memory::Shared(bytes) => &mut bytes[from..],
            Memory::Apart { pages, len } => &mut pages[from..*len as usize],
        }
    }

    /// Whether its pages are nobody else's.
    pub fn is_apart(&self) -> bool {
        matches!(self.0, Memory::Apart { .. })
    }

    /// Its first `bytes` bytes, and no more memory than they need.
    pub fn cut(self, bytes: usize) -> Segment {
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
                let mut rest = Segment::new(bytes, true);
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

    #[test]
    fn pieces_hold_what_was_written_however_they_are_cut() {
        for (bytes, apart, cut) in
            [(0, false, 0), (0, true, 0), (100, false, 60), (70_000, true, 69_999), (70_000, true, 5000)]
        {
            let mut segment = Segment::new(bytes, apart);
            assert_eq!((segment.bytes().len(), segment.is_apart()), (bytes, apart && bytes > 0));
            segment.space(0).iter_mut().enumerate().for_each(|(index, byte)| *byte = index as u8);
            let before = segment.footprint();
            let segment = segment.cut(cut);
            assert!(segment.bytes().iter().enumerate().all(|(index, &byte)| byte == index as u8));
            assert_eq!((segment.bytes().len(), segment.is_apart()), (cut, apart && bytes > 0));
            assert!(segment.footprint() <= before && segment.footprint() >= cut);
        }
    }
}
