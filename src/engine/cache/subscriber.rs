//! A response that another loop receives (rule 48): the subscribing side.
//!
//! The shared response becomes a fill of this loop, like one that this loop receives, with three differences: its bytes and
//! its end are in the shared state, the receiving loop stores it and decides whether it is too large to be kept, and that loop
//! needs the positions of this loop's readers.

use crate::cache::body::SEGMENT_BYTES;
use crate::cache::fill::shared_fill::{End, SharedFill, Span};
use crate::cache::fill::streaming_body::StreamingBody;
use crate::engine::cache::Fills;
use crate::engine::cache::collapse::CollapseOutcome;
use crate::engine::cache::coordination::release_waiters;
use crate::engine::cache::fill::{Coordination, Fill};
use crate::engine::cache::message::FillEvent;
use crate::engine::context::Context;
use crate::engine::effect::Effect;
use crate::engine::ids::FillId;
use std::sync::Arc;

impl Fill {
    /// Whether another loop receives the fill.
    pub fn is_subscribed(&self) -> bool {
        matches!(self.coordination, Coordination::Subscribed { .. })
    }

    /// Records the positions of this loop's readers for the receiving loop, if the slowest has moved by a segment since the
    /// last time, or the first or the last of them has read all shared bytes. Returns the message that wakes that loop.
    pub fn report_progress(&mut self, readers: Span) -> Option<FillEvent> {
        let len = self.stream.len();
        let Coordination::Subscribed { shared, place } = &self.coordination else { return None };
        let mut state = shared.lock();
        let known = state.subscribers.get_mut(*place)?;
        let event = readers.slowest >= known.slowest + SEGMENT_BYTES as u64
            || (readers.fastest == len && known.fastest < len)
            || (readers.slowest == len && known.slowest < len);
        if !event {
            return None;
        }
        *known = readers;
        Some(FillEvent::Read(Arc::downgrade(shared)))
    }

    /// This loop does not need the fill any more before its end.
    pub fn unsubscribe(&mut self) -> Option<FillEvent> {
        let coordination = std::mem::replace(&mut self.coordination, Coordination::Nothing);
        let Coordination::Subscribed { shared, place } = coordination else { return None };
        shared.lock().subscribers.try_remove(place);
        Some(FillEvent::Read(Arc::downgrade(&shared)))
    }
}

impl Fills {
    /// Subscribes to a response of another loop that transactions wait for: they read it as it arrives.
    pub(super) fn subscribe(&mut self, cx: &mut Context, hash: u64, shared: &Arc<SharedFill>) {
        let Some(cache) = cx.settings.caching() else { return };
        if !self.collapses.is_led_by_other_loop(hash, shared.pending.key()) {
            return;
        }
        let serial = self.next_serial();
        let id = FillId { index: self.slab.vacant_key() as u32, serial };
        // Copied bytes are charged like all others; without room each loop asks the origin by itself.
        let copied = StreamingBody::replica_bytes_max(shared.length);
        let Some(reserve) = cache.store.admit(cx.now.monotonic_us, copied) else {
            cache.store.count_refused();
            return self.stop_waiting_for_other_loop(cx, hash);
        };
        let mut stream = StreamingBody::replica(reserve);
        let Some(place) = shared.subscribe(&mut stream) else {
            return self.stop_waiting_for_other_loop(cx, hash);
        };
        let Some(waiters) = self.collapses.subscribe(hash, shared.pending.key(), id) else { return };
        self.slab.insert(Fill::subscribed(serial, hash, cx.now_ms(), Arc::clone(shared), place, stream));
        release_waiters(cx, waiters, CollapseOutcome::LookAgain, 1);
        // The transactions that wait join before the fill can end.
        cx.send(Effect::ResumeWaiters);
        cx.send(Effect::AdvanceFill(id));
    }

    /// Takes over what the receiving loop has shared: more of the body, that it is not kept and cannot be joined any more, the
    /// end, or that readers here hold others up. False if the fill is complete.
    pub(super) fn follow(&mut self, cx: &mut Context, id: FillId) -> bool {
        let Some(fill) = id.get_mut(&mut self.slab).filter(|fill| !fill.has_failed()) else { return true };
        let Coordination::Subscribed { shared, .. } = &fill.coordination else { return true };
        let state = shared.lock();
        let (end, cut_before) = (state.end.clone(), state.cut_before);
        fill.storable = state.kept;
        let follows = fill.stream.follow(&state.body);
        drop(state);
        debug_assert!(follows, "what is not read by subscribers is kept");
        if end.is_some() {
            fill.coordination = Coordination::Nothing;
        }
        match end {
            Some(End::Whole(body, trailers)) => {
                self.complete_fill(cx, id, body, trailers.to_vec());
                return false;
            }
            Some(End::Complete(trailers)) if follows => fill.end_as_published(&trailers),
            None if follows => {}
            Some(End::Complete(_) | End::Broken) | None => fill.truncate(),
        }
        if cut_before > 0 {
            self.cut_before(cx, id, cut_before);
        }
        true
    }
}
