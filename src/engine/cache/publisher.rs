//! A response that one loop receives for requests that wait in other loops (rule 48): the receiving side.
//!
//! When another loop waits, the fill gets a [`SharedFill`], to which the receiving loop appends what arrives. Each loop with
//! waiting transactions makes a fill of it (see [`crate::engine::cache::subscriber`]): it streams to its own clients at their
//! own speeds.
//!
//! While the body will be stored, all of it is kept. Otherwise it passes through a window, and the slowest reader of another
//! loop counts like one of this loop.

use crate::cache::body::{Body, Cursor};
use crate::cache::fill::shared_fill::{End, SharedFill, Span};
use crate::cache::fill::streaming_body::StreamingBody;
use crate::engine::cache::Fills;
use crate::engine::cache::fill::{Coordination, Fill};
use crate::engine::cache::message::FillEvent;
use crate::engine::context::Context;
use crate::engine::ids::FillId;
use std::sync::Arc;

impl Fill {
    fn published(&self) -> Option<&Arc<SharedFill>> {
        match &self.coordination {
            // A loop that has not handled the offer yet may still subscribe.
            Coordination::Published(shared) => Some(shared).filter(|shared| Arc::strong_count(shared) > 1),
            Coordination::Nothing | Coordination::Subscribed { .. } => None,
        }
    }

    /// Whether another loop has subscribed.
    pub fn has_subscribers(&self) -> bool {
        self.published().is_some()
    }

    /// The positions of readers in other loops.
    pub fn readers_in_other_loops(&self) -> Option<Span> {
        self.published()?.lock().readers()
    }

    /// Drops the bytes before the cursor of the slowest reader of all loops.
    pub fn drop_before(&mut self, cursor: Cursor) {
        if let Some(shared) = self.published() {
            shared.lock().body.drop_before(cursor);
        }
        self.stream.drop_before(cursor);
    }

    /// Shares what the subscribers do not know: more of the body, or its end. Returns the message that wakes them. The whole
    /// body is shared when it is stored.
    fn publish(&mut self) -> Option<FillEvent> {
        let (kept, ended) = (self.storable, self.has_ended());
        if kept && ended {
            return None;
        }
        let Some(shared) = self.published() else {
            if let Coordination::Published(_) = self.coordination {
                self.coordination = Coordination::Nothing;
            }
            return None;
        };
        let event = FillEvent::Grown(Arc::downgrade(shared));
        let mut state = shared.lock();
        let is_new = state.body.len() < self.stream.len() || state.kept != kept;
        let follows = state.body.follow(&self.stream);
        debug_assert!(follows, "what is dropped was shared before");
        state.kept = kept;
        state.end = match (ended, self.has_failed()) {
            (true, _) => Some(End::Complete(self.trailers.as_slice().into())),
            (false, true) => Some(End::Broken),
            (false, false) => None,
        };
        let is_over = state.end.is_some();
        drop(state);
        if is_over {
            self.coordination = Coordination::Nothing;
        }
        (is_new || is_over).then_some(event)
    }

    /// Shares the whole body, which ends the publication.
    pub fn publish_whole(&mut self, body: &Arc<Body>, trailers: &[u8]) -> Option<FillEvent> {
        let shared = Arc::clone(self.published()?);
        self.coordination = Coordination::Nothing;
        shared.lock().end = Some(End::Whole(Arc::clone(body), trailers.into()));
        Some(FillEvent::Grown(Arc::downgrade(&shared)))
    }

    /// Lets the subscribers cut their readers before `end`, which hold others up.
    pub fn publish_slow_readers(&self, end: u64) -> Option<FillEvent> {
        let shared = self.published()?;
        shared.lock().cut_before = end;
        Some(FillEvent::Grown(Arc::downgrade(shared)))
    }
}

impl Fills {
    /// Shares new bytes of a fill.
    pub(super) fn publish_progress(&mut self, cx: &mut Context, id: FillId) {
        let Some(fill) = id.get_mut(&mut self.slab) else { return };
        if let Some(event) = fill.publish() {
            cx.send_to_loops(fill.hash, event);
        }
    }

    /// A transaction of another loop waits for a response that is arriving: the other loops may subscribe.
    pub(super) fn share(&mut self, cx: &mut Context, hash: u64, id: FillId) {
        self.publish_progress(cx, id);
        let Some(cache) = cx.settings.caching() else { return };
        let shareable = |fill: &&mut Fill| fill.is_kept() && fill.lock.is_some();
        let Some(fill) = id.get_mut(&mut self.slab).filter(shareable) else { return };
        let shared = match &fill.coordination {
            Coordination::Published(shared) => Arc::clone(shared),
            Coordination::Nothing | Coordination::Subscribed { .. } => {
                // Copied bytes are charged like all others; without room each loop asks the origin by itself.
                let copied = StreamingBody::replica_bytes_max(fill.length);
                let Some(reserve) = cache.store.admit(cx.now.monotonic_us, copied) else {
                    cache.store.count_refused();
                    return cx.send_to_loops(hash, FillEvent::Alone);
                };
                let (pending, beside) = (Arc::clone(&fill.pending), fill.beside.clone());
                let shared = Arc::new(SharedFill::new(pending, beside, fill.length, fill.epoch, reserve));
                shared.lock().body.follow(&fill.stream);
                fill.coordination = Coordination::Published(Arc::clone(&shared));
                shared
            }
        };
        shared.lock().offers += self.collapses.loops.saturating_sub(1);
        cx.send_to_loops(hash, FillEvent::Begins(shared));
    }
}
