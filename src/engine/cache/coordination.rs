//! One request per key at a time, over all loops (rule 48): waiting for another loop's request.
//!
//! A collapse of this loop may be led by another loop: then the leader is no transaction of this loop, and its results arrive
//! as messages. A response that will be stored is shared as it arrives (see [`crate::engine::cache::publisher`]), with loops
//! that wait from the beginning and with loops that ask later. For a response that will not be stored, each loop asks the
//! origin by itself, and its own requests share that. Before the head arrives, all wait as they would for the origin.

use crate::cache::fill::shared_fill::SharedFill;
use crate::engine::cache::Fills;
use crate::engine::cache::collapse::{CollapseOutcome, Conclusion};
use crate::engine::cache::fill::Coordination;
use crate::engine::cache::message::{FillEvent, Message};
use crate::engine::cache::state::Caching;
use crate::engine::context::Context;
use crate::engine::effect::Effect;
use crate::engine::ids::{FillId, TransactionId};
use std::sync::{Arc, Weak};

/// How often a request waits for other loops (chosen: once more, if the first wait had no result; for a page with
/// many variants some variant is always being fetched).
pub(in crate::engine) const WAITS_MAX: u8 = 2;

/// Releases the lock of a key, and tells the loops that wait for it.
fn release(cx: &mut Context, hash: u64, event: FillEvent) {
    let awaited = cx.settings.caching().is_some_and(|cache| cache.store.fill_locks().release(hash));
    if awaited {
        cx.send_to_loops(hash, event);
    }
}

/// Gives the lock of a transaction back.
pub(in crate::engine) fn release_lock(cx: &mut Context, caching: &mut Caching, outcome: CollapseOutcome) {
    if let Some(hash) = caching.take_lock() {
        release(cx, hash, FillEvent::Over(outcome));
    }
}

/// Sends transactions that waited for a leader its result. The wait counts as `counts` waits.
pub(super) fn release_waiters(
    cx: &mut Context,
    waiters: Vec<TransactionId>,
    outcome: CollapseOutcome,
    counts: u8,
) {
    if !waiters.is_empty() {
        cx.send(Effect::Concluded(Box::new(Conclusion { waiters, outcome, counts })));
    }
}

impl Fills {
    /// Handles a message of another loop: about a request there that this loop waits for, or about a wait for a request of
    /// this loop.
    pub fn handle_message(&mut self, cx: &mut Context, message: Message) {
        let Message { hash, event } = message;
        match event {
            FillEvent::Alone => self.stop_waiting_for_other_loop(cx, hash),
            FillEvent::Over(outcome) => self.end_waiting(cx, hash, outcome, 1),
            FillEvent::Wanted => {
                if let Some(id) = self.collapses.fill(hash) {
                    self.share(cx, hash, id);
                }
            }
            FillEvent::Begins(shared) => {
                self.subscribe(cx, hash, &shared);
                let mut state = shared.lock();
                state.offers = state.offers.saturating_sub(1);
                if !state.kept {
                    cx.send_to_loops(hash, FillEvent::Read(Arc::downgrade(&shared)));
                }
            }
            FillEvent::Grown(shared) => self.wake_fill(cx, hash, &shared, false),
            FillEvent::Read(shared) => self.wake_fill(cx, hash, &shared, true),
        }
    }

    /// The shared state of a fill has changed for the loop that receives it, or else for its subscribers.
    fn wake_fill(&mut self, cx: &mut Context, hash: u64, shared: &Weak<SharedFill>, receives: bool) {
        let Some(id) = self.collapses.fill(hash) else { return };
        let known = id.get(&self.slab).and_then(|fill| match &fill.coordination {
            Coordination::Published(shared) => receives.then_some(shared),
            Coordination::Subscribed { shared, .. } => (!receives).then_some(shared),
            Coordination::Nothing => None,
        });
        if known.is_some_and(|known| std::ptr::eq(Arc::as_ptr(known), shared.as_ptr())) {
            self.advance_fill(cx, id);
        }
    }

    /// Ends the wait of transactions for another loop: one of them asks the origin.
    pub fn stop_waiting_for_other_loop(&mut self, cx: &mut Context, hash: u64) {
        self.end_waiting(cx, hash, CollapseOutcome::LookAgain, WAITS_MAX);
    }

    /// Ends the wait; it counts as `counts` waits.
    fn end_waiting(&mut self, cx: &mut Context, hash: u64, outcome: CollapseOutcome, counts: u8) {
        let waiters = self.collapses.end_wait_for_other_loop(hash);
        release_waiters(cx, waiters, outcome, counts);
    }

    /// The response of a transaction will be stored: its fill holds the lock from now on, if others can wait for it.
    pub fn hand_lock_over(
        &mut self,
        cx: &mut Context,
        caching: &mut Caching,
        to: FillId,
        outcome: CollapseOutcome,
    ) {
        let Some(hash) = caching.take_lock() else { return };
        let Some(fill) = to.get_mut(&mut self.slab) else {
            return release(cx, hash, FillEvent::Over(CollapseOutcome::LookAgain));
        };
        match outcome {
            CollapseOutcome::LookAgain => {}
            CollapseOutcome::NotShareable | CollapseOutcome::Refused(_) => {
                return release(cx, hash, FillEvent::Over(outcome));
            }
        }
        let Some(cache) = cx.settings.caching() else { return };
        fill.lock = Some(hash);
        if cache.store.fill_locks().is_awaited(hash) {
            self.share(cx, hash, to);
        }
    }

    /// A fill has turned out not to be stored.
    pub(super) fn release_lock_unless_kept(&mut self, cx: &mut Context, id: FillId) {
        let Some(fill) = id.get_mut(&mut self.slab).filter(|fill| !fill.is_kept()) else { return };
        if let Some(hash) = fill.lock.take() {
            release(cx, hash, FillEvent::Alone);
        }
    }

    /// A fill is over, stored or left by all.
    pub fn release_filled(&self, cx: &mut Context, lock: Option<u64>) {
        if let Some(hash) = lock {
            release(cx, hash, FillEvent::Over(CollapseOutcome::LookAgain));
        }
    }
}
