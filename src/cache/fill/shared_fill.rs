//! A response that one loop receives and other loops read meanwhile (rule 48): the state that they share, under a lock.
//!
//! Each loop lends the bytes of a body to system calls, so each has a [`StreamingBody`] of its own, and no lock is held while
//! bytes are received or sent. The receiving loop appends to the shared body what has arrived; each other loop appends from
//! there to its own body, records the positions of its readers, and reads on at their own speeds. Messages only say that the
//! state has changed. All loops have the same pages; the bytes of small and of incomplete segments are copied.
//!
//! The receiving loop drops what all readers have read, from the shared body too. A loop that has not handled the offer to
//! subscribe counts as a reader at the beginning, unless it holds others up for too long.

use crate::cache::body::{Body, SEGMENT_BYTES};
use crate::cache::fill::streaming_body::StreamingBody;
use crate::cache::store::Epoch;
use crate::cache::store::memory_budget::Charge;
use crate::cache::store::stored::Stored;
use slab::Slab;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The positions of readers, in bytes of the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The position of the slowest reader.
    pub slowest: u64,
    /// The position of the fastest reader.
    pub fastest: u64,
}

impl Span {
    /// The span of readers at these positions.
    pub fn of(places: impl Iterator<Item = u64>) -> Option<Span> {
        places.map(|place| Span { slowest: place, fastest: place }).reduce(Span::with)
    }

    /// The span of the readers of both.
    pub fn with(self, other: Span) -> Span {
        Span { slowest: self.slowest.min(other.slowest), fastest: self.fastest.max(other.fastest) }
    }

    /// Readers before this position count as slowest. The fastest is never one of them: with room for one segment only, all
    /// are in the same segment.
    pub fn too_slow_before(self) -> u64 {
        self.slowest.saturating_add(SEGMENT_BYTES as u64).min(self.fastest)
    }
}

/// The end of a shared body.
#[derive(Clone, Debug)]
pub enum End {
    /// The whole body, with its trailers.
    Whole(Arc<Body>, Arc<[u8]>),
    /// All bytes are in the shared body; these are the trailers.
    Complete(Arc<[u8]>),
    /// The rest will never arrive.
    Broken,
}

/// The state under the lock.
#[derive(Debug)]
pub struct Shared {
    /// The received bytes that some reader may need.
    pub body: StreamingBody,
    /// Whether all of the body is kept, and will be stored as far as is known.
    pub kept: bool,
    /// The end, when it is there.
    pub end: Option<End>,
    /// Readers before this position hold others up, and are cut.
    pub cut_before: u64,
    /// Offers to subscribe that other loops have not handled.
    pub offers: usize,
    /// The positions of readers, for each subscribed loop.
    pub subscribers: Slab<Span>,
}

impl Shared {
    /// The positions of readers in all loops but the receiving one.
    pub fn readers(&self) -> Option<Span> {
        let offered = (self.offers > 0 && self.cut_before == 0).then(Span::default);
        self.subscribers.iter().map(|(_, span)| *span).chain(offered).reduce(Span::with)
    }
}

/// A response that one loop receives for several. The loops that have subscribed keep references, and so do messages on
/// their way to loops that may subscribe.
#[derive(Debug)]
pub struct SharedFill {
    /// The response without its body.
    pub pending: Arc<Stored>,
    /// The stored part that it completes.
    pub beside: Option<Arc<Stored>>,
    /// Bytes of the body, if that is known.
    pub length: Option<u64>,
    /// When its request began.
    pub epoch: Epoch,
    state: Mutex<Shared>,
}

impl SharedFill {
    /// A response without any of its body. `reserve` covers the bytes that are copied (see
    /// [`StreamingBody::replica_bytes_max`]).
    pub fn new(
        pending: Arc<Stored>,
        beside: Option<Arc<Stored>>,
        length: Option<u64>,
        epoch: Epoch,
        reserve: Charge,
    ) -> SharedFill {
        let state = Shared {
            body: StreamingBody::replica(reserve),
            kept: true,
            end: None,
            cut_before: 0,
            offers: 0,
            subscribers: Slab::new(),
        };
        SharedFill { pending, beside, length, epoch, state: Mutex::new(state) }
    }

    /// The state. No code that holds the lock can leave it half changed, so a poisoned lock is used.
    pub fn lock(&self) -> MutexGuard<'_, Shared> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Subscribes with an empty replica, which gets the received bytes. Returns the place among the subscribers; `None` if
    /// the beginning was dropped, or would have held others up.
    pub fn subscribe(&self, replica: &mut StreamingBody) -> Option<usize> {
        let mut state = self.lock();
        let may = state.cut_before == 0 && replica.follow(&state.body);
        may.then(|| state.subscribers.insert(Span::default()))
    }
}
