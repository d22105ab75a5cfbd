//! What leaves next through one socket.

use crate::cache::body::Body;
use crate::net::RING_SLICES_MAX;
use std::ops::Deref;
use std::sync::Arc;

/// Most slices that one vectored write takes: head, chunk header, payload, what follows the chunk.
pub const SLICES_MAX: usize = RING_SLICES_MAX + 3;

/// Slices to be sent one behind the other; the last of them may be such as the system can send from where they lie.
#[derive(Debug)]
pub struct Outgoing<'a> {
    pub(in crate::engine) slices: [&'a [u8]; SLICES_MAX],
    /// Those behind so many are empty.
    pub(in crate::engine) count: usize,
    /// From this one on they lie in pages that hold this stored body only (`cache::body::segment::Segment::is_mapped`).
    pub(in crate::engine) mapped_from: usize,
    /// They are all of this body.
    pub whole: Option<&'a Arc<Body>>,
}

impl<'a> Outgoing<'a> {
    /// No bytes, and none that need not be copied.
    pub(in crate::engine) fn nothing() -> Outgoing<'a> {
        Outgoing { slices: [&[]; SLICES_MAX], count: 0, mapped_from: SLICES_MAX, whole: None }
    }

    /// Adds a slice behind the others. Nothing is left out, so that there are as few slices to go through as can be.
    pub(in crate::engine) fn push(&mut self, slice: &'a [u8]) {
        if slice.is_empty() {
            return;
        }
        debug_assert!(self.count < SLICES_MAX, "there is a place for each part of a message");
        if let Some(place) = self.slices.get_mut(self.count) {
            *place = slice;
            self.count += 1;
        }
    }

    /// Those that have to be copied, and behind them those that need not: their bytes are written once, and their pages go
    /// back to the system when they are given up. What refers to the pages then still has the bytes.
    pub fn split(&self) -> (&[&'a [u8]], &[&'a [u8]]) {
        self.split_at(self.mapped_from.min(self.count))
    }
}

impl<'a> Deref for Outgoing<'a> {
    type Target = [&'a [u8]];

    fn deref(&self) -> &Self::Target {
        &self.slices[..self.count]
    }
}
