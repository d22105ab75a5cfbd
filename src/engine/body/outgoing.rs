//! The bytes to send next through one socket.

use crate::cache::body::Body;
use crate::net::RING_SLICES_MAX;
use std::ops::Deref;
use std::sync::Arc;

/// Most slices of one vectored write: head, chunk header, payload, end of the chunk.
pub const SLICES_MAX: usize = RING_SLICES_MAX + 3;

/// Slices to be sent one behind the other; the last of them may be such as the system can send from where they lie.
#[derive(Debug)]
pub struct Outgoing<'a> {
    pub(in crate::engine) slices: [&'a [u8]; SLICES_MAX],
    /// Slices from this index on are empty.
    pub(in crate::engine) count: usize,
    /// Slices from this index on lie in pages with only this stored body (`cache::body::segment::Segment::is_mapped`).
    pub(in crate::engine) mapped_from: usize,
    /// All slices belong to this body.
    pub whole: Option<&'a Arc<Body>>,
}

impl<'a> Outgoing<'a> {
    /// No bytes, and no mapped slices.
    pub(in crate::engine) fn nothing() -> Outgoing<'a> {
        Outgoing { slices: [&[]; SLICES_MAX], count: 0, mapped_from: SLICES_MAX, whole: None }
    }

    /// Appends a slice. An empty slice is skipped, so that all slices in use are at the front.
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

    /// The slices that must be copied, and behind them those that need not be: their bytes are written once, and their pages
    /// go back to the system when they are released. References to the pages keep the bytes until then.
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
