//! What loops know of each other's fills: plain data, shared by the machines of both sides.

use crate::cache::body::{Body, Cursor, SEGMENT_BYTES};
use crate::cache::store::Epoch;
use crate::cache::store::stored::Stored;
use crate::engine::ids::FillId;
use std::sync::Arc;

/// Bytes that a body may hold that is not to be stored and whose readers are behind (chosen: four segments).
pub(in crate::engine) const WINDOW_BYTES_MAX: usize = 256 * 1024;

/// How far readers are, in bytes of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Span {
    pub slowest: u64,
    pub fastest: u64,
}

impl Span {
    /// Of readers that are at these places.
    pub fn of(places: impl Iterator<Item = u64>) -> Option<Span> {
        places.map(|place| Span { slowest: place, fastest: place }).reduce(Span::with)
    }

    pub fn with(self, other: Span) -> Span {
        Span { slowest: self.slowest.min(other.slowest), fastest: self.fastest.max(other.fastest) }
    }

    /// Readers in front of this place are as good as the slowest. The fastest is never one of them: where there is room for
    /// one segment only, all are in the same.
    pub fn too_slow_before(self) -> u64 {
        self.slowest.saturating_add(SEGMENT_BYTES as u64).min(self.fastest)
    }
}

/// What is told of a response before its body. A loop that subscribes holds on to it.
#[derive(Debug)]
pub struct Publication {
    /// Where it comes to.
    pub(in crate::engine) fill: FillId,
    pub(in crate::engine) pending: Arc<Stored>,
    /// The stored part that it completes.
    pub(in crate::engine) beside: Option<Arc<Stored>>,
    /// Bytes of the body, if that is known.
    pub(in crate::engine) length: Option<u64>,
    pub(in crate::engine) epoch: Epoch,
}

/// How a body ends that was told of.
#[derive(Clone, Debug)]
pub(in crate::engine) enum End {
    /// All of it is here, with its trailers.
    Whole(Arc<Body>, Arc<[u8]>),
    /// All of it was told; these are its trailers.
    Published(Arc<[u8]>),
    /// The rest will never come.
    Broken,
}

/// What other loops know of a fill.
#[derive(Debug)]
pub(in crate::engine) struct Published {
    pub publication: Arc<Publication>,
    /// The place behind what they know.
    pub cursor: Cursor,
    pub bytes: u64,
    /// They know that it is not to be stored.
    pub known_unstored: bool,
    /// Where the readers are of those who hear of it, by the number of the loop.
    pub subscribers: Vec<(usize, Span)>,
}

impl Published {
    pub fn readers(&self) -> Option<Span> {
        self.subscribers.iter().map(|(_, span)| *span).reduce(Span::with)
    }

    /// Whether all that they may know is told until their slowest readers have taken more, if the body is not kept.
    pub fn has_to_wait(&self) -> bool {
        self.readers().is_some_and(|readers| readers.slowest + WINDOW_BYTES_MAX as u64 <= self.bytes)
    }
}

/// What other loops have to do with a fill.
#[derive(Debug)]
pub(in crate::engine) enum Coordination {
    Nothing,
    /// They are told of it.
    Published(Published),
    /// One of them tells of it.
    Subscribed {
        publication: Arc<Publication>,
        /// What that one knows of the readers here.
        known: Span,
    },
}
