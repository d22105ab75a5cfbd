//! The end of a transaction: settled when both directions are done, aborted when one cannot continue, abandoned with its
//! client, or timed out.

use super::log_record::{Text, Verdict};
use super::machine::{Services, Transactions};
use super::parts::UpstreamUse;
use super::refusal::Refusal;
use super::{Stage, Transaction};
use crate::engine::cache::collapse::CollapseOutcome;
use crate::engine::cache::reader::CacheReader;
use crate::engine::context::Context;
use crate::engine::effect::{Effect, End, Ending};
use crate::engine::ids::TransactionId;
use crate::engine::settings::FIRST_FLIGHT_BYTES;
use crate::engine::upstream::pinning::Judged;
use crate::http::fault::Fault;
use crate::http::framing::Body;

impl Transactions {
    /// Ends the transaction if both directions are done, or neither can continue. The rules that join the two directions are
    /// in this function (RFC 9112 sections 9.3 to 9.6).
    pub fn try_settle(&mut self, cx: &mut Context, services: &mut Services, id: TransactionId) {
        let fills = &services.fills.slab;
        let Some(transaction) = self.get_mut(id).filter(|transaction| transaction.is_answering()) else {
            return;
        };
        let served_short = transaction.stage == Stage::ReadingCache
            && transaction.caching.reader().is_some_and(|reader| reader.is_cut_short(fills))
            && transaction.down.head.is_empty();
        let truncated = transaction.down.is_truncated() && !transaction.down.wants_send();
        if let (true, Some(reason)) = (truncated, transaction.down.filter_fault()) {
            cx.send(Ending::Abort.with_verdict(id, Verdict::Refused, reason));
            return;
        }
        if served_short || truncated {
            let fault = match transaction.caching.reader() {
                Some(reader) => reader.fault(fills),
                None => transaction.down.framing_fault(),
            };
            let reason = fault.map_or("http_response_incomplete", Fault::rule);
            self.end(cx, services, Ending::Abort.of(id, reason));
            return;
        }
        if !transaction.is_answered(fills) {
            return;
        }
        if !transaction.up.is_complete() {
            // A complete response to an incomplete request: the origin may continue to read as long as its connection stays.
            let goes_on = transaction.upstream.is_some() && transaction.upstream_use.reusable;
            if goes_on || (transaction.stage == Stage::Replying && !transaction.closes) {
                return;
            }
            transaction.abandon_upload(cx);
        }
        self.settle(cx, services, id);
    }

    /// Settles a transaction whose response is complete, although its request never will be. False if more must be sent.
    pub fn settle_answered(&mut self, cx: &mut Context, services: &mut Services, id: TransactionId) -> bool {
        let fills = &services.fills.slab;
        let Some(transaction) = self.get_mut(id) else { return false };
        let answered = transaction.is_answering() && transaction.is_answered(fills);
        if answered {
            transaction.abandon_upload(cx);
            self.settle(cx, services, id);
        }
        answered
    }

    /// Both directions are done.
    fn settle(&mut self, cx: &mut Context, services: &mut Services, id: TransactionId) {
        self.conclude_collapse(cx, services, id, CollapseOutcome::LookAgain);
        let mut transaction = self.slab.remove(id.index as usize);
        transaction.note_end(cx.now);
        transaction.up.release(&mut cx.pool);
        transaction.down.release(&mut cx.pool);
        transaction.response.release(&mut cx.pool);
        let Transaction { client, upstream, upstream_use, .. } = *transaction;
        let UpstreamUse { opened_ms, pinning, grant, .. } = upstream_use;
        let pins = pinning.pins();
        let aged = cx.settings.lifetime_left_ms(opened_ms, cx.now_ms()) == 0;
        let reusable = transaction.upstream_use.reusable && !cx.is_draining() && !(pins && aged);
        // Pinned connections end together.
        transaction.closes |= pins && !(reusable && upstream.is_some());
        let upstreams = &mut services.upstreams;
        match upstream {
            Some(upstream) if !pins && reusable => upstreams.set_idle(cx, upstream, opened_ms),
            Some(upstream) if pins && !transaction.closes => {
                let rooted = transaction.info.next_hop().authority.is_rooted();
                let judged = Judged { grant, edition: transaction.policy.acl.edition() };
                upstreams.pin(cx, client, rooted, judged, (upstream, pinning, opened_ms));
            }
            Some(upstream) => upstreams.close(cx, upstream),
            None => {}
        }
        transaction.leave_fill(cx, services, id);
        let mut input = std::mem::take(&mut transaction.input);
        input.consume(&mut cx.pool, transaction.consumed.min(input.len()));
        // A client that asked for the close and sent no body should have sent everything; any other client may still send, for
        // example the CRLF that old clients put behind a body (RFC 9112 sections 2.2 and 9.6).
        let info = &transaction.info;
        let ended = !info.keep_alive && info.grant.is_some() && info.body == Body::None;
        let silent = ended && transaction.down.sent <= FIRST_FLIGHT_BYTES;
        cx.send(Effect::TakeBack { client, input, closes: transaction.closes, silent });
        let record = self.retire(cx, transaction);
        cx.log(record);
    }

    /// Ends a transaction whose client has given up or does not read: an allowed request was not completed.
    pub fn abandon_client(&mut self, cx: &mut Context, id: TransactionId, reason: &'static str) {
        let verdict = match self.slab[id.index as usize].record.verdict {
            Verdict::Allowed => {
                cx.metrics.aborted += 1;
                Verdict::Failed
            }
            other @ (Verdict::Refused | Verdict::Malformed | Verdict::Failed) => other,
        };
        cx.send(Ending::Abandon.with_verdict(id, verdict, reason));
    }

    /// Removes and logs a transaction that is not settled.
    pub fn end(&mut self, cx: &mut Context, services: &mut Services, end: End) {
        let End { transaction: id, ending, verdict, reason } = end;
        if self.get_mut(id).is_none() {
            return;
        }
        self.conclude_collapse(cx, services, id, CollapseOutcome::LookAgain);
        self.detach(cx, services, id);
        let mut transaction = self.slab.remove(id.index as usize);
        transaction.note_end(cx.now);
        transaction.report_broken_download(cx.now);
        transaction.input.release(&mut cx.pool);
        transaction.up.release(&mut cx.pool);
        transaction.down.release(&mut cx.pool);
        transaction.record.verdict = verdict;
        transaction.record.aborted = !transaction.caching.background;
        // A refusal has noted its line behind the word.
        if !transaction.record.text(Text::Reason).starts_with(reason.as_bytes()) {
            transaction.record.set(Text::Reason, reason.as_bytes());
        }
        transaction.leave_fill(cx, services, id);
        // If a close would pass for the regular end of the response, a reset is needed. What has arrived is delivered before it (rule 23),
        // unless the client is gone, or does not read.
        cx.send(match ending {
            Ending::Abort if transaction.ends_at_close => Effect::ResetClientDelivered(transaction.client),
            Ending::Abandon if transaction.ends_at_close => Effect::ResetClient(transaction.client),
            Ending::Abort => Effect::Linger(transaction.client),
            Ending::Abandon => Effect::CloseClient(transaction.client),
        });
        let record = self.retire(cx, transaction);
        cx.log(record);
    }

    /// The client's timer has fired.
    pub fn handle_deadline(&mut self, cx: &mut Context, services: &mut Services, id: TransactionId) {
        let Some(transaction) = self.get_mut(id) else { return };
        let refusal = match transaction.stage {
            Stage::Connecting(connect) => return services.upstreams.handle_connect_deadline(cx, connect),
            Stage::Relaying | Stage::Replying | Stage::ReadingCache => {
                let client_sleeps = transaction.wants_send(&services.fills.slab);
                if self.settle_answered(cx, services, id) {
                    cx.metrics.timeouts_body += 1;
                } else if client_sleeps {
                    cx.metrics.timeouts_client += 1;
                    self.abandon_client(cx, id, "client_timeout");
                } else {
                    cx.metrics.timeouts_response += 1;
                    cx.send(Effect::End(Ending::Abort.of(id, "http_response_timeout")));
                }
                return;
            }
            // The store's own deadline is shorter, and uses another timer, as does the delay of a client.
            Stage::AskingStore(_) | Stage::Throttled => return,
            Stage::Begun | Stage::Verifying => {
                cx.metrics.timeouts_verification += 1;
                Refusal::TooManyVerifications
            }
            // What the transaction waits for may be there, without memory to read it into.
            Stage::Awaiting | Stage::Collecting if transaction.is_parked(cx) => {
                cx.metrics.timeouts_block += 1;
                Refusal::NoMemory
            }
            Stage::Awaiting if transaction.awaits_origin() => Refusal::OriginTimeout,
            Stage::Awaiting | Stage::Collecting => Refusal::BodyTimeout,
            // Transactions that began to wait together are due together, and the first has released all of them.
            Stage::AwaitingLeader(_) if transaction.caching.outcome().is_some() => return,
            Stage::AwaitingLeader(hash) => return self.overtake(cx, services, hash),
        };
        cx.send(Effect::Refuse(id, refusal));
    }

    /// Releases everything that was to produce a response: the connect, the connection, the wait for another transaction.
    pub fn detach(&mut self, cx: &mut Context, services: &mut Services, id: TransactionId) {
        let Some(transaction) = self.get_mut(id) else { return };
        match std::mem::replace(&mut transaction.stage, Stage::Begun) {
            Stage::Connecting(connect) => {
                let timings = services.upstreams.cancel(cx, connect);
                transaction.note_connect(&timings);
            }
            Stage::AwaitingLeader(hash) => services.fills.collapses.leave(hash, id),
            Stage::Begun
            | Stage::Verifying
            | Stage::AskingStore(_)
            | Stage::Throttled
            | Stage::Collecting
            | Stage::Awaiting
            | Stage::Relaying
            | Stage::Replying
            | Stage::ReadingCache => {}
        }
        if let Some(upstream) = transaction.upstream.take() {
            services.upstreams.close(cx, upstream);
        }
        transaction.response.release(&mut cx.pool);
    }
}

impl Transaction {
    /// The transaction reads a fill no more.
    fn leave_fill(&self, cx: &mut Context, services: &mut Services, id: TransactionId) {
        if let Some((fill, place)) = self.caching.reader().and_then(CacheReader::fill) {
            services.fills.leave(cx, fill, place, id);
        }
    }
}
