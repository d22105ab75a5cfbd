//! Memory that goes back to the system when it is dropped, and that the kernel can send without a copy.

use memmap2::{MmapMut, MmapOptions};
use std::ops::{Deref, DerefMut};

/// An anonymous mapping: pages of no file, shared with no other memory. The owner has to count its mappings: Linux
/// lets a process have `vm.max_map_count` of them.
#[derive(Debug)]
pub struct Mapping(MmapMut);

impl Mapping {
    /// A mapping of zeros, with all its pages; `None` if the system has no memory for it.
    pub fn zeroed(bytes: usize) -> Option<Mapping> {
        MmapOptions::new().len(bytes).populate().map_anon().ok().map(Mapping)
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Mapping {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}
