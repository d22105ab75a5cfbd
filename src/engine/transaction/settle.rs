//! How a transaction ends: settled when both directions are done, aborted when one cannot go on, abandoned with its client, or
//! out of time.

use crate::engine::peer::TransactionId;
use crate::engine::settings::ATTEMPT_DELAY_MS;
use crate::engine::transaction::Stage;
use crate::engine::transaction::log_record::{Text, Verdict};
use crate::engine::transaction::refusal::Refusal;
use crate::engine::{Engine, PeerId};
use crate::time::Now;

impl Engine {
    /// Ends the transaction if both directions are done, or neither can go on. The rules that join the two directions live
    /// here (RFC 9112 sections 9.3 to 9.6).
    pub(in crate::engine) fn try_settle(&mut self, now: Now, id: TransactionId) {
        let Some(transaction) = self.transaction_mut(id) else { return };
        match transaction.stage {
            Stage::Relaying | Stage::Replying | Stage::CacheReader => {}
            Stage::Begun
            | Stage::Verifying
            | Stage::Resolving(_)
            | Stage::Dialling(_)
            | Stage::Awaiting
            | Stage::Waiting(_) => return,
        }
        if self.is_served_short(id) {
            self.abort(now, id, Verdict::Failed, "http_response_incomplete");
            return;
        }
        let Engine { transactions, fills, .. } = self;
        let transaction = &mut transactions[id.index as usize];
        if transaction.down.is_truncated() && !transaction.down.wants_send() {
            self.abort(now, id, Verdict::Failed, "http_response_incomplete");
            return;
        }
        if !transaction.is_answered(fills) {
            return;
        }
        if !transaction.up.is_complete() {
            // A complete answer to an incomplete request: the origin may go on reading as long as it stays.
            let goes_on = transaction.origin.is_some() && transaction.origin_reusable;
            if goes_on || (matches!(transaction.stage, Stage::Replying) && !transaction.closes) {
                return;
            }
            self.abandon_upload(id);
        }
        self.finish_transaction(now, id);
    }

    /// Settles a transaction whose answer is complete, although its request never will be. False if there is more to send.
    pub(in crate::engine) fn finish_answered(&mut self, now: Now, id: TransactionId) -> bool {
        let fills = &self.fills;
        let found =
            self.transactions.get(id.index as usize).filter(|transaction| transaction.serial == id.serial);
        let Some(transaction) = found else { return false };
        let answered = match transaction.stage {
            Stage::Relaying | Stage::Replying | Stage::CacheReader => transaction.is_answered(fills),
            Stage::Begun
            | Stage::Verifying
            | Stage::Resolving(_)
            | Stage::Dialling(_)
            | Stage::Awaiting
            | Stage::Waiting(_) => false,
        };
        if answered {
            self.abandon_upload(id);
            self.finish_transaction(now, id);
        }
        answered
    }

    fn finish_transaction(&mut self, now: Now, id: TransactionId) {
        let fill = self.leave_cache(id);
        let mut transaction = self.transactions.remove(id.index as usize);
        transaction.note_end(now);
        transaction.up.release(&mut self.pool);
        transaction.down.release(&mut self.pool);
        transaction.response.release(&mut self.pool);
        let aged = || self.settings.lifetime_left_ms(transaction.opened_ms, now.monotonic_ms()) == 0;
        let reusable =
            transaction.origin_reusable && !self.is_draining() && !(transaction.bond.binds() && aged());
        // What is bound ends with its client, and the client with it.
        transaction.closes |= transaction.bond.binds() && !(reusable && transaction.origin.is_some());
        match transaction.origin {
            Some(origin) if !transaction.bond.binds() && reusable => {
                self.idle_origin(now, origin, transaction.opened_ms);
            }
            Some(origin) if transaction.bond.binds() && !transaction.closes => {
                self.pin_origin(now, origin, &transaction)
            }
            Some(origin) => self.close_origin(origin),
            None => {}
        }
        self.leave_serving(now, id, fill);
        self.continue_client(now, &mut transaction);
        let record = self.retire(transaction);
        self.log(record);
    }

    /// Ends the transaction where it stands: whoever waits for more must notice (rule 23). The close lingers, because the
    /// client may still be sending: a reset would take the answers before this one with it (RFC 9112 section 9.6).
    pub(in crate::engine) fn abort(&mut self, now: Now, id: TransactionId, verdict: Verdict, reason: &str) {
        let Some((client, ends_at_close)) = self.drop_transaction(now, id, verdict, reason) else { return };
        if ends_at_close {
            self.reset_client(client);
        } else {
            self.linger(now, client);
        }
    }

    /// The same for a client that is gone, or has to go at once.
    pub(in crate::engine) fn abandon(&mut self, now: Now, id: TransactionId, verdict: Verdict, reason: &str) {
        let Some((client, ends_at_close)) = self.drop_transaction(now, id, verdict, reason) else { return };
        if ends_at_close {
            self.reset_client(client);
        } else {
            self.close_client(client);
        }
    }

    /// The same for a client that has given up or does not read: what it was allowed did not come to its end.
    pub(in crate::engine) fn abandon_client(&mut self, now: Now, id: TransactionId, reason: &str) {
        let verdict = match self.transactions[id.index as usize].record.verdict {
            Verdict::Allowed => {
                self.metrics.aborted += 1;
                Verdict::Failed
            }
            other @ (Verdict::Refused | Verdict::Malformed | Verdict::Failed) => other,
        };
        self.abandon(now, id, verdict, reason);
    }

    /// Removes and logs a transaction that is not finished. Returns its client, who must be seen to, and whether a close
    /// would pass for the proper end.
    fn drop_transaction(
        &mut self,
        now: Now,
        id: TransactionId,
        verdict: Verdict,
        reason: &str,
    ) -> Option<(PeerId, bool)> {
        self.transaction_mut(id)?;
        let fill = self.leave_cache(id);
        self.detach_origin(now, id);
        let mut transaction = self.transactions.remove(id.index as usize);
        transaction.note_end(now);
        transaction.input.release(&mut self.pool);
        transaction.up.release(&mut self.pool);
        transaction.down.release(&mut self.pool);
        transaction.response.release(&mut self.pool);
        transaction.record.verdict = verdict;
        transaction.record.aborted = !transaction.caching.background;
        transaction.record.set(Text::Reason, reason.as_bytes());
        let (client, ends_at_close) = (transaction.client, transaction.ends_at_close);
        let record = self.retire(transaction);
        self.log(record);
        self.leave_serving(now, id, fill);
        Some((client, ends_at_close))
    }

    pub(in crate::engine) fn handle_transaction_deadline(&mut self, now: Now, id: TransactionId) {
        let Some(transaction) = self.transaction_mut(id) else { return };
        let refusal = match transaction.stage {
            Stage::Dialling(_) => {
                self.dial_next(now, id);
                return;
            }
            Stage::Relaying | Stage::Replying | Stage::CacheReader => {
                let Engine { transactions, fills, .. } = self;
                let client_sleeps = transactions[id.index as usize].wants_send(fills);
                if self.finish_answered(now, id) {
                    self.metrics.timeouts_body += 1;
                } else if client_sleeps {
                    self.metrics.timeouts_client += 1;
                    self.abandon_client(now, id, "client_timeout");
                } else {
                    self.metrics.timeouts_response += 1;
                    self.abort(now, id, Verdict::Failed, "http_response_timeout");
                }
                return;
            }
            Stage::Begun | Stage::Verifying => {
                self.metrics.timeouts_verification += 1;
                Refusal::TooManyVerifications
            }
            Stage::Resolving(_) => Refusal::Dns(crate::resolver::Failure::Timeout),
            Stage::Awaiting if transaction.up.is_received() || transaction.up.wants_send() => {
                Refusal::OriginTimeout
            }
            Stage::Awaiting => Refusal::BodyTimeout,
            // Those who began to wait together are due together, and the first has let all of them go.
            Stage::Waiting(_) if transaction.caching.concluded => return,
            Stage::Waiting(hash) => return self.overtake(hash),
        };
        self.refuse(now, id, refusal);
    }

    /// Lets go of everything that was to bring a response: look-up, attempts, connection.
    pub(in crate::engine) fn detach_origin(&mut self, now: Now, id: TransactionId) {
        let Some(transaction) = self.transaction_mut(id) else { return };
        transaction.end_phase(now);
        let origin = transaction.origin.take();
        let stage = std::mem::replace(&mut transaction.stage, Stage::Begun);
        match stage {
            Stage::Resolving(resolving) => self.cancel_look_up(resolving.look_up, id),
            Stage::Dialling(dial) => dial.attempts().for_each(|attempt| self.close_origin(attempt)),
            Stage::Waiting(hash) => self.collapses.leave(hash, id),
            Stage::Verifying
            | Stage::Begun
            | Stage::Awaiting
            | Stage::Relaying
            | Stage::Replying
            | Stage::CacheReader => {}
        }
        if let Some(origin) = origin {
            self.close_origin(origin);
        }
        let Engine { transactions, pool, .. } = self;
        transactions[id.index as usize].response.release(pool);
    }

    /// Tells the transaction's client side that it has ATTEMPT_DELAY_MS until the next address is tried.
    pub(in crate::engine) fn set_attempt_deadline(&mut self, now: Now, client: PeerId) {
        self.deadlines.set(client, now.monotonic_ms(), ATTEMPT_DELAY_MS);
    }
}
