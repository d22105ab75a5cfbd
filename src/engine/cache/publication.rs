//! The knowledge of loops about each other's fills: plain data, shared by the machines of both sides.

use crate::cache::body::{Body, Cursor, SEGMENT_BYTES};
use crate::cache::store::Epoch;
use crate::cache::store::stored::Stored;
use crate::engine::ids::FillId;
use std::sync::Arc;

/// Most bytes of a body that is not stored and whose readers are behind (chosen: four segments).
pub(in crate::engine) const WINDOW_BYTES_MAX: usize = 256 * 1024;

/// The positions of readers, in bytes of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Span {
    pub slowest: u64,
    pub fastest: u64,
}

impl Span {
    /// The span of readers at these positions.
    pub fn of(places: impl Iterator<Item = u64>) -> Option<Span> {
        places.map(|place| Span { slowest: place, fastest: place }).reduce(Span::with)
    }

    pub fn with(self, other: Span) -> Span {
        Span { slowest: self.slowest.min(other.slowest), fastest: self.fastest.max(other.fastest) }
    }

    /// Readers before this position count as slowest. The fastest is never one of them: with room for one segment only, all
    /// are in the same segment.
    pub fn too_slow_before(self) -> u64 {
        self.slowest.saturating_add(SEGMENT_BYTES as u64).min(self.fastest)
    }
}

/// The facts about a response before its body. A subscribed loop keeps a reference.
#[derive(Debug)]
pub struct Publication {
    /// The fill that receives the response.
    pub(in crate::engine) fill: FillId,
    pub(in crate::engine) pending: Arc<Stored>,
    /// The stored part that it completes.
    pub(in crate::engine) beside: Option<Arc<Stored>>,
    /// Bytes of the body, if that is known.
    pub(in crate::engine) length: Option<u64>,
    pub(in crate::engine) epoch: Epoch,
}

/// The end of a published body.
#[derive(Clone, Debug)]
pub(in crate::engine) enum End {
    /// The whole body, with its trailers.
    Whole(Arc<Body>, Arc<[u8]>),
    /// All bytes were published; these are the trailers.
    Published(Arc<[u8]>),
    /// The rest will never arrive.
    Broken,
}

/// The part of a fill that other loops know.
#[derive(Debug)]
pub(in crate::engine) struct Published {
    pub publication: Arc<Publication>,
    /// The position behind the published bytes.
    pub cursor: Cursor,
    pub bytes: u64,
    /// The other loops know that the body is not stored.
    pub known_unstored: bool,
    /// The positions of the subscribers' readers, by the number of the loop.
    pub subscribers: Vec<(usize, Span)>,
}

impl Published {
    pub fn readers(&self) -> Option<Span> {
        self.subscribers.iter().map(|(_, span)| *span).reduce(Span::with)
    }

    /// Whether publishing must wait until the slowest readers have read more, if the body is not kept.
    pub fn has_to_wait(&self) -> bool {
        self.readers().is_some_and(|readers| readers.slowest + WINDOW_BYTES_MAX as u64 <= self.bytes)
    }
}

/// The relation of a fill to other loops.
#[derive(Debug)]
pub(in crate::engine) enum Coordination {
    Nothing,
    /// This loop publishes the fill.
    Published(Published),
    /// Another loop publishes the fill.
    Subscribed {
        publication: Arc<Publication>,
        /// The positions of this loop's readers that the publisher knows.
        known: Span,
    },
}
