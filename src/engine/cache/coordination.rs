//! One request per key at a time, over all loops (rule 48): waiting for what another loop has asked for.
//!
//! A collapse of this loop may be led elsewhere: then its leader is none of this loop's transactions, and what the leader learns
//! comes as a message. A response that is to be stored is told as it comes (see [`crate::engine::cache::publisher`]), to who waits from the
//! beginning and to who comes later. What is not, each loop asks for by itself, and its own requests share that. Before
//! there is a head all wait alike, as all would wait for the origin.

use crate::engine::cache::Fills;
use crate::engine::cache::collapse::{CollapseOutcome, Conclusion};
use crate::engine::cache::message::{FillEvent, Message};
use crate::engine::cache::state::Caching;
use crate::engine::context::Context;
use crate::engine::effect::Effect;
use crate::engine::ids::{FillId, TransactionId};

/// How often a request waits for other loops (chosen: once more, if the first has brought nothing; of a page with many
/// variants another one is always being asked for).
pub(in crate::engine) const WAITS_MAX: u8 = 2;

/// Gives the lock of a key back. Loops that wait for it are told.
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

/// Has the dispatcher tell transactions that have waited for a leader what has come of that. The wait counts as so many.
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
    /// Another loop, the one with that number, has got further with a request that this one waits for, or waits for one of
    /// this loop.
    pub fn handle_message(&mut self, cx: &mut Context, from: usize, message: Message) {
        let Message { hash, event } = message;
        match event {
            FillEvent::Alone => self.stop_waiting_elsewhere(cx, hash),
            FillEvent::Over(outcome) => self.end_waiting(cx, hash, outcome, 1),
            FillEvent::Begins(publication, portion) => self.subscribe(cx, hash, publication, &portion),
            FillEvent::Continues(publication, portion, kept) => {
                self.receive_portion(cx, hash, &publication, &portion, kept);
            }
            FillEvent::Ends(publication, end) => self.end_subscription(cx, hash, &publication, end),
            FillEvent::Wanted => self.republish(cx, hash),
            FillEvent::Read(publication, readers) => self.note_subscriber(cx, from, &publication, readers),
            FillEvent::Behind(publication, end) => self.abort_slow_readers(cx, hash, &publication, end),
        }
    }

    /// The transactions that wait for another loop wait no longer: one of them asks.
    pub fn stop_waiting_elsewhere(&mut self, cx: &mut Context, hash: u64) {
        self.end_waiting(cx, hash, CollapseOutcome::LookAgain, WAITS_MAX);
    }

    /// The wait counts as so many.
    fn end_waiting(&mut self, cx: &mut Context, hash: u64, outcome: CollapseOutcome, counts: u8) {
        let waiters = self.collapses.give_up_elsewhere(hash);
        release_waiters(cx, waiters, outcome, counts);
    }

    /// The response of a transaction is to be stored: its fill holds the lock from now on, if others can wait for it.
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
        fill.prepare_publication(to);
        fill.lock = Some(hash);
        if cache.store.fill_locks().is_awaited(hash) {
            if let Some(event) = fill.publish_from_start() {
                cx.send_to_loops(hash, event);
            }
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
