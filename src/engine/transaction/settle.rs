//! How an exchange ends: settled when both directions are done, aborted when one cannot go on, abandoned with its client, or
//! out of time.

use crate::engine::peer::ExchangeId;
use crate::engine::settings::ATTEMPT_DELAY_MS;
use crate::engine::transaction::exchange::Stage;
use crate::engine::transaction::log_record::{Text, Verdict};
use crate::engine::transaction::refusal::Refusal;
use crate::engine::{Engine, PeerId};
use crate::time::Now;

impl Engine {
    /// Ends the exchange if both directions are done, or neither can go on. The rules that join the two directions live
    /// here (RFC 9112 sections 9.3 to 9.6).
    pub(in crate::engine) fn try_settle(&mut self, now: Now, id: ExchangeId) {
        let Some(exchange) = self.exchange_mut(id) else { return };
        match exchange.stage {
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
        let Engine { exchanges, fetches, .. } = self;
        let exchange = &mut exchanges[id.index as usize];
        if exchange.down.is_truncated() && !exchange.down.wants_send() {
            self.abort(now, id, Verdict::Failed, "http_response_incomplete");
            return;
        }
        if !exchange.is_answered(fetches) {
            return;
        }
        if !exchange.up.is_complete() {
            // A complete answer to an incomplete request: the origin may go on reading as long as it stays.
            let goes_on = exchange.origin.is_some() && exchange.origin_reusable;
            if goes_on || (matches!(exchange.stage, Stage::Replying) && !exchange.closes) {
                return;
            }
            self.abandon_upload(id);
        }
        self.finish_exchange(now, id);
    }

    /// Settles an exchange whose answer is complete, although its request never will be. False if there is more to send.
    pub(in crate::engine) fn finish_answered(&mut self, now: Now, id: ExchangeId) -> bool {
        let fetches = &self.fetches;
        let found = self.exchanges.get(id.index as usize).filter(|exchange| exchange.serial == id.serial);
        let Some(exchange) = found else { return false };
        let answered = match exchange.stage {
            Stage::Relaying | Stage::Replying | Stage::CacheReader => exchange.is_answered(fetches),
            Stage::Begun
            | Stage::Verifying
            | Stage::Resolving(_)
            | Stage::Dialling(_)
            | Stage::Awaiting
            | Stage::Waiting(_) => false,
        };
        if answered {
            self.abandon_upload(id);
            self.finish_exchange(now, id);
        }
        answered
    }

    fn finish_exchange(&mut self, now: Now, id: ExchangeId) {
        let fetch = self.leave_cache(id);
        let mut exchange = self.exchanges.remove(id.index as usize);
        exchange.note_end(now);
        exchange.up.release(&mut self.pool);
        exchange.down.release(&mut self.pool);
        exchange.response.release(&mut self.pool);
        let aged = || self.settings.lifetime_left_ms(exchange.opened_ms, now.monotonic_ms()) == 0;
        let reusable = exchange.origin_reusable && !self.is_draining() && !(exchange.bond.binds() && aged());
        // What is bound ends with its client, and the client with it.
        exchange.closes |= exchange.bond.binds() && !(reusable && exchange.origin.is_some());
        match exchange.origin {
            Some(origin) if !exchange.bond.binds() && reusable => {
                self.idle_origin(now, origin, exchange.opened_ms);
            }
            Some(origin) if exchange.bond.binds() && !exchange.closes => {
                self.pin_origin(now, origin, &exchange)
            }
            Some(origin) => self.close_origin(origin),
            None => {}
        }
        self.leave_serving(now, id, fetch);
        self.continue_client(now, &mut exchange);
        let record = self.retire(exchange);
        self.log(record);
    }

    /// Ends the exchange where it stands: whoever waits for more must notice (rule 23). The close lingers, because the
    /// client may still be sending: a reset would take the answers before this one with it (RFC 9112 section 9.6).
    pub(in crate::engine) fn abort(&mut self, now: Now, id: ExchangeId, verdict: Verdict, reason: &str) {
        let Some((client, ends_at_close)) = self.drop_exchange(now, id, verdict, reason) else { return };
        if ends_at_close {
            self.reset_client(client);
        } else {
            self.linger(now, client);
        }
    }

    /// The same for a client that is gone, or has to go at once.
    pub(in crate::engine) fn abandon(&mut self, now: Now, id: ExchangeId, verdict: Verdict, reason: &str) {
        let Some((client, ends_at_close)) = self.drop_exchange(now, id, verdict, reason) else { return };
        if ends_at_close {
            self.reset_client(client);
        } else {
            self.close_client(client);
        }
    }

    /// The same for a client that has given up or does not read: what it was allowed did not come to its end.
    pub(in crate::engine) fn abandon_client(&mut self, now: Now, id: ExchangeId, reason: &str) {
        let verdict = match self.exchanges[id.index as usize].record.verdict {
            Verdict::Allowed => {
                self.metrics.aborted += 1;
                Verdict::Failed
            }
            other @ (Verdict::Refused | Verdict::Malformed | Verdict::Failed) => other,
        };
        self.abandon(now, id, verdict, reason);
    }

    /// Removes and logs an exchange that is not finished. Returns its client, who must be seen to, and whether a close
    /// would pass for the proper end.
    fn drop_exchange(
        &mut self,
        now: Now,
        id: ExchangeId,
        verdict: Verdict,
        reason: &str,
    ) -> Option<(PeerId, bool)> {
        self.exchange_mut(id)?;
        let fetch = self.leave_cache(id);
        self.detach_origin(now, id);
        let mut exchange = self.exchanges.remove(id.index as usize);
        exchange.note_end(now);
        exchange.input.release(&mut self.pool);
        exchange.up.release(&mut self.pool);
        exchange.down.release(&mut self.pool);
        exchange.response.release(&mut self.pool);
        exchange.record.verdict = verdict;
        exchange.record.aborted = !exchange.caching.background;
        exchange.record.set(Text::Reason, reason.as_bytes());
        let (client, ends_at_close) = (exchange.client, exchange.ends_at_close);
        let record = self.retire(exchange);
        self.log(record);
        self.leave_serving(now, id, fetch);
        Some((client, ends_at_close))
    }

    pub(in crate::engine) fn handle_exchange_deadline(&mut self, now: Now, id: ExchangeId) {
        let Some(exchange) = self.exchange_mut(id) else { return };
        let refusal = match exchange.stage {
            Stage::Dialling(_) => {
                self.dial_next(now, id);
                return;
            }
            Stage::Relaying | Stage::Replying | Stage::CacheReader => {
                let Engine { exchanges, fetches, .. } = self;
                let client_sleeps = exchanges[id.index as usize].wants_send(fetches);
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
            Stage::Awaiting if exchange.up.is_received() || exchange.up.wants_send() => {
                Refusal::OriginTimeout
            }
            Stage::Awaiting => Refusal::BodyTimeout,
            // Those who began to wait together are due together, and the first has let all of them go.
            Stage::Waiting(_) if exchange.caching.concluded => return,
            Stage::Waiting(hash) => return self.overtake(hash),
        };
        self.refuse(now, id, refusal);
    }

    /// Lets go of everything that was to bring a response: look-up, attempts, connection.
    pub(in crate::engine) fn detach_origin(&mut self, now: Now, id: ExchangeId) {
        let Some(exchange) = self.exchange_mut(id) else { return };
        exchange.end_phase(now);
        let origin = exchange.origin.take();
        let stage = std::mem::replace(&mut exchange.stage, Stage::Begun);
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
        let Engine { exchanges, pool, .. } = self;
        exchanges[id.index as usize].response.release(pool);
    }

    /// Tells the exchange's client side that it has ATTEMPT_DELAY_MS until the next address is tried.
    pub(in crate::engine) fn set_attempt_deadline(&mut self, now: Now, client: PeerId) {
        self.deadlines.set(client, now.monotonic_ms(), ATTEMPT_DELAY_MS);
    }
}
