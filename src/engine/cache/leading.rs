//! The duties of a leader: a transaction leads the collapse of its key until its response head has arrived, or it ends.

use crate::engine::cache::Fills;
use crate::engine::cache::collapse::CollapseOutcome;
use crate::engine::cache::coordination::{release_lock, release_waiters};
use crate::engine::cache::message::FillEvent;
use crate::engine::cache::state::{Caching, Lead, LeadState};
use crate::engine::context::Context;
use crate::engine::ids::{FillId, TransactionId};

impl Fills {
    /// Ends the lead of a transaction, and releases the transactions that have waited for it.
    pub fn conclude(
        &mut self,
        cx: &mut Context,
        leader: TransactionId,
        caching: &mut Caching,
        outcome: CollapseOutcome,
    ) {
        release_lock(cx, caching, outcome);
        if let Some(Lead { hash, state: LeadState::Leads, .. }) = caching.lead.take() {
            let waiters = self.collapses.give_up(hash, leader);
            release_waiters(cx, waiters, outcome, 1);
        }
    }

    /// The response of a leader has not come in time: the transactions that have waited are released, and one of them leads.
    pub fn overtake(&mut self, cx: &mut Context, leader: TransactionId, caching: &mut Caching) {
        release_lock(cx, caching, CollapseOutcome::LookAgain);
        let Some(lead @ Lead { state: LeadState::Leads, .. }) = &mut caching.lead else { return };
        let Some(key) = self.collapses.key_of(lead.hash, leader) else { return };
        lead.state = LeadState::Overtaken(key);
        let waiters = self.collapses.give_up(lead.hash, leader);
        release_waiters(cx, waiters, CollapseOutcome::LookAgain, 1);
    }

    /// A stored response was confirmed. If the transaction was overtaken, those that wait for its successor may use that response.
    pub fn note_confirmed(&mut self, cx: &mut Context, caching: &Caching, outcome: CollapseOutcome) {
        let lead = caching.lead.as_ref();
        if let (Some(Lead { hash, state: LeadState::Overtaken(key), .. }), CollapseOutcome::LookAgain) =
            (lead, outcome)
        {
            let waiters = self.collapses.take_waiters(*hash, key);
            release_waiters(cx, waiters, outcome, 1);
        }
    }

    /// The response for the key that a transaction leads is for its client only, and the next one will be, too.
    pub fn note_unshareable(&mut self, cx: &Context, caching: &Caching) {
        if let Some(lead) = &caching.lead {
            self.collapses.note_response(lead.hash, false, cx.now_ms());
        }
    }

    /// A transaction waits for the leader of that key.
    pub fn wait_for_leader(&mut self, cx: &mut Context, hash: u64, key: &[u8], waiter: TransactionId) {
        // If the leader is in another loop, that loop gets a message when the first transaction begins to wait.
        if self.collapses.wait(hash, key, waiter) {
            cx.send_to_loops(hash, FillEvent::Wanted);
        }
    }

    /// The response of a leader has become a fill: releases the transactions that have waited for it.
    pub fn conclude_by_fill(
        &mut self,
        cx: &mut Context,
        leader: TransactionId,
        caching: &mut Caching,
        fill: FillId,
        outcome: CollapseOutcome,
    ) {
        let Some(Lead { hash, state, .. }) = caching.lead.take() else { return };
        let waiters = match state {
            LeadState::Granted => return,
            LeadState::Leads => self.collapses.turn_into_fill(hash, leader, fill),
            LeadState::Overtaken(_) if !matches!(outcome, CollapseOutcome::LookAgain) => return,
            LeadState::Overtaken(key) => self.collapses.add_late_fill(hash, key, fill),
        };
        self.collapses.note_response(hash, true, cx.now_ms());
        release_waiters(cx, waiters, outcome, 1);
    }
}
