//! What leaves next through one socket.

use super::relay::SLICES_MAX;
use std::ops::Deref;

/// Slices to be sent one behind the other; the last of them may be such as the system can send from where they lie.
#[derive(Debug)]
pub struct Outgoing<'a> {
    slices: [&'a [u8]; SLICES_MAX],
    apart_from: usize,
}

impl<'a> Outgoing<'a> {
    /// All of them have to be copied.
    pub(super) fn copied(slices: [&'a [u8]; SLICES_MAX]) -> Outgoing<'a> {
        Outgoing { slices, apart_from: SLICES_MAX }
    }

    /// From the slice at `apart_from` on they lie in pages of a stored body that are nobody else's
    /// (`cache::segment::Segment::is_apart`).
    pub(super) fn apart(slices: [&'a [u8]; SLICES_MAX], apart_from: usize) -> Outgoing<'a> {
        Outgoing { slices, apart_from: apart_from.min(SLICES_MAX) }
    }

    /// Those that have to be copied, and behind them those that need not: their bytes are written once, and their pages go
    /// back to the system when they are given up. What refers to the pages then still has the bytes.
    pub fn split(&self) -> (&[&'a [u8]], &[&'a [u8]]) {
        self.slices.split_at(self.apart_from)
    }
}

impl<'a> Deref for Outgoing<'a> {
    type Target = [&'a [u8]; SLICES_MAX];

    fn deref(&self) -> &Self::Target {
        &self.slices
    }
}
