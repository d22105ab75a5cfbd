//! The actions of the cache on a final response: it stores the response, renews the stored one, or removes it.

use crate::cache::fill::streaming_body::StreamingBody;
use crate::cache::rfc::freshness::Times;
use crate::cache::rfc::key::Uri;
use crate::cache::rfc::status::Forward;
use crate::cache::rfc::storable::{NotStored, Storing};
use crate::cache::store::stored::Stored;
use crate::engine::cache::collapse::CollapseOutcome;
use crate::engine::cache::decision::{Completed, Confirmed, Fate, ResponseDecision, ResponseOutcome};
use crate::engine::cache::fill::{Beginning, FillSource};
use crate::engine::cache::hit_response::After;
use crate::engine::cache::reader::CacheReader;
use crate::engine::cache::selecting::AsForwarded;
use crate::engine::cache::state::{CacheState, CacheTask, Caching};
use crate::engine::context::Context;
use crate::engine::effect::{Effect, Ending};
use crate::engine::ids::TransactionId;
use crate::engine::transaction::log_record::{CacheUse, Verdict::Allowed};
use crate::engine::transaction::machine::{Services, Transactions};
use crate::engine::transaction::refusal::Refusal;
use crate::engine::transaction::request::{Method, Phase};
use crate::engine::transaction::{Stage, Transaction};
use crate::engine::upstream::Upstreams;
use crate::http::forwarding::{self, ForwardedPolicy};
use crate::http::framing::Body;
use crate::http::repair::is_repairable;
use crate::http::session_auth;
use crate::http::target::Target;
use crate::net::Purpose;
use crate::time::Now;
use std::sync::Arc;

/// The handling of a response.
pub(in crate::engine) enum ResponseAction {
    /// The response is forwarded as without a cache.
    Pass,
    /// The response is forwarded and stored.
    Store(Arc<Stored>, StreamingBody),
    /// The transaction was answered, or begun again.
    Settled,
}

impl Transactions {
    /// Decides on a response head that may be an interim one, before it is forwarded; a refresh ends here.
    pub fn decide_on_final(
        &mut self,
        cx: &mut Context,
        services: &mut Services,
        id: TransactionId,
        head_bytes: usize,
    ) -> ResponseAction {
        let Some(transaction) = self.slab.get_mut(id.index as usize) else { return ResponseAction::Settled };
        let transaction = &mut **transaction;
        let bytes = &transaction.response.bytes(&cx.pool)[..head_bytes];
        let background = transaction.caching.background;
        let status = match transaction.incoming.message.read_response(bytes, &transaction.settings.head) {
            Ok(head) if head.status < 200 => return ResponseAction::Pass,
            // The head is repaired and decided on again.
            Err(fault) if is_repairable(fault) => return ResponseAction::Pass,
            Ok(head) => Some(head.status),
            Err(_) => None,
        };
        let action = self.decide_on_response(cx, services, id, head_bytes, status);
        if background && matches!(action, ResponseAction::Pass) {
            cx.send(finish_background(id));
            return ResponseAction::Settled;
        }
        action
    }

    /// Decides on a final response before it is forwarded.
    fn decide_on_response(
        &mut self,
        cx: &mut Context,
        services: &mut Services,
        id: TransactionId,
        head_bytes: usize,
        status: Option<u16>,
    ) -> ResponseAction {
        // A faulty head is refused when it is read, and has no result for waiting requests.
        let Some(found) = self.response_outcome(cx, id, head_bytes) else { return ResponseAction::Pass };
        if let Some(transaction) = self.get_mut(id) {
            if let Some(reason) = transaction.caching.not_stored {
                transaction.record.cache_reason = reason.as_str();
            }
        }
        match found {
            ResponseOutcome::Pass => {
                // An error passes, and may be the answer to too many requests.
                if status.is_some_and(|status| status < 500) {
                    self.note_unshareable(cx, services, id);
                }
                self.conclude_collapse(cx, services, id, CollapseOutcome::NotShareable);
                return ResponseAction::Pass;
            }
            ResponseOutcome::Store(storing) => {
                let (stored, stream) = *storing;
                return ResponseAction::Store(Arc::new(stored), stream);
            }
            ResponseOutcome::Completes(completed) => {
                self.begin_completion(cx, services, id, head_bytes, *completed)
            }
            ResponseOutcome::Confirmed(confirmed) => self.renew(cx, services, id, head_bytes, *confirmed),
            ResponseOutcome::Unconfirmed => {
                self.give_up_outdated(cx, id);
                self.ask_again(cx, services, id);
            }
            ResponseOutcome::NoRoom => self.ask_again(cx, services, id),
            ResponseOutcome::ServeStale(status) => {
                if !self.begin_stale_hit(cx, services, id, Some(status)) {
                    return ResponseAction::Pass;
                }
            }
        }
        ResponseAction::Settled
    }

    /// The response that a transaction has for itself alone ends the collapses for its key, if the next one will be the same.
    fn note_unshareable(&mut self, cx: &Context, services: &mut Services, id: TransactionId) {
        let Some(transaction) = self.get_mut(id) else { return };
        let caching = &transaction.caching;
        if let Some(fills) =
            services.fills.built().filter(|_| caching.not_stored.is_some_and(NotStored::is_lasting))
        {
            fills.note_unshareable(cx, caching);
        }
    }

    fn response_outcome(
        &mut self,
        cx: &Context,
        id: TransactionId,
        head_bytes: usize,
    ) -> Option<ResponseOutcome> {
        let Transactions { slab, cache_text, cache_scratch, .. } = self;
        let transaction = &mut **slab.get_mut(id.index as usize)?;
        let settings = &transaction.settings;
        let cache = settings.caching()?;
        let input = transaction.input.bytes(&cx.pool);
        let asked_bytes = &input[..transaction.info.head_bytes.min(input.len())];
        let response_bytes = &transaction.response.bytes(&cx.pool)[..head_bytes];
        let asked = transaction.request_head.request(asked_bytes)?;
        let response = transaction.incoming.message.response(response_bytes)?;
        let path = match Target::parse_again(asked.method, asked.target, &transaction.info.authority) {
            Target::Absolute { path, .. } | Target::Origin { path } => path,
            Target::Authority(_) | Target::Asterisk => return None,
        };
        let targeted: Vec<&str> = cache.targeted.iter().map(String::as_str).collect();
        let mut decision = ResponseDecision {
            cache,
            storing: Storing { freshness: cache.freshness, targeted: &targeted },
            uri: Uri {
                scheme: transaction.info.scheme,
                authority: &transaction.info.authority,
                path,
                by_gateway: transaction.routing.is_some(),
            },
            times: Times { requested_s: transaction.caching.requested_s, received_s: cx.now.unix_s() },
            now: cx.now,
            asked: &asked,
            forwarded: AsForwarded::new(
                &asked,
                &transaction.info.authority.host,
                &transaction.policy,
                settings.forwarded,
                transaction.routing.as_ref().map(|routing| routing.filter),
            ),
            response: &response,
            caching: &mut transaction.caching,
            text: cache_text,
            scratch: cache_scratch,
            writes_forwarded: settings.forwarded != ForwardedPolicy::Off || transaction.routing.is_some(),
            address: transaction.record.upstream.map(|address| address.ip()),
            rules_edition: transaction.info.naming_edition(&transaction.policy.acl).unwrap_or(0),
            come: transaction.response.len() - head_bytes,
            limits: &settings.head,
        };
        decision.caching.pinned |= session_auth::offers_connection(response.fields);
        Some(match decision.caching.task() {
            CacheTask::None => ResponseOutcome::Pass,
            CacheTask::Invalidate if transaction.up.is_complete() => decision.invalidate(true),
            CacheTask::Invalidate => decision.invalidate(false),
            CacheTask::Head if decision.caching.pinned => ResponseOutcome::Pass,
            CacheTask::Head => decision.compare(),
            CacheTask::Complete => decision.decide_on_missing_bytes(),
            // The answer to conditions of the cache's own, and no answer for the client.
            CacheTask::Validate if response.status == 304 && decision.caching.pinned => {
                ResponseOutcome::Unconfirmed
            }
            // Also to conditions of the cache's own: those of RFC 9110 section 13.2.1 lead to a 304 only.
            CacheTask::Validate if response.status == 412 => ResponseOutcome::Unconfirmed,
            CacheTask::Validate if response.status == 304 => decision.confirm(),
            CacheTask::Validate | CacheTask::Store => decision.store(false),
        })
    }

    /// The origin has confirmed the stored response: the response gets new fields, and the client its answer (rules 32 and 33).
    fn renew(
        &mut self,
        cx: &mut Context,
        services: &mut Services,
        id: TransactionId,
        head_bytes: usize,
        confirmed: Confirmed,
    ) {
        let (Some(transaction), Some(cache)) = (self.slab.get_mut(id.index as usize), cx.settings.caching())
        else {
            return;
        };
        let Some(old) = transaction.caching.take_known() else { return };
        let background = transaction.caching.background;
        let stored = Arc::new(confirmed.stored);
        let outcome = outcome(&transaction.caching, &stored, cx.now);
        match confirmed.fate {
            Fate::Renewed => drop(cache.store.replace(cx.now.monotonic_us, &old, &stored)),
            Fate::Removed => cache.store.remove(&old),
            Fate::Left => {}
        }
        transaction.release_upstream(cx, &mut services.upstreams, head_bytes);
        services.fills.note_confirmed(cx, &transaction.caching, outcome);
        self.conclude_collapse(cx, services, id, outcome);
        if background {
            cx.send(finish_background(id));
            return;
        }
        let how = After { log: CacheUse::Revalidated, forward: None, forward_status: Some(304), fill: None };
        self.begin_hit_after(cx, services, id, stored, how, confirmed.withheld);
    }

    /// The missing bytes of a stored part arrive: the client gets both, one behind the other (rule 35).
    fn begin_completion(
        &mut self,
        cx: &mut Context,
        services: &mut Services,
        id: TransactionId,
        head_bytes: usize,
        completed: Completed,
    ) {
        let pending = Arc::new(completed.stored);
        let Some(transaction) = self.slab.get_mut(id.index as usize) else { return };
        let bytes = &transaction.response.bytes(&cx.pool)[..head_bytes];
        let (Some((beside, missing)), Some(epoch), Some(head)) = (
            transaction.caching.to_complete().map(|(stored, missing)| (Arc::clone(stored), missing)),
            transaction.caching.epoch(),
            transaction.incoming.message.response(bytes),
        ) else {
            return;
        };
        transaction.upstream_use.reusable = forwarding::origin_keeps_alive(head.version, head.fields);
        let outcome = outcome(&transaction.caching, &pending, cx.now);
        let beginning = Beginning {
            hash: transaction.caching.collapse_hash(&pending),
            pending: Arc::clone(&pending),
            epoch,
            body: Body::Length(missing.len),
            stream: completed.stream,
            is_refresh: false,
            keeps_part: true,
            beside: Some(beside),
        };
        let fills = &mut services.fills;
        let Some(source) = transaction.take_fill_source(head_bytes) else { return };
        let fill = fills.begin_fill(cx, source, beginning);
        fills.hand_lock_over(cx, &mut transaction.caching, fill, outcome);
        fills.conclude_by_fill(cx, id, &mut transaction.caching, fill, outcome);
        let how = After {
            log: CacheUse::Miss,
            forward: Some(Forward::Partial),
            forward_status: Some(206),
            fill: Some(fill),
        };
        self.begin_hit_after(cx, services, id, pending, how, completed.withheld);
        services.fills.advance_fill(cx, fill);
    }

    /// Removes the stored response of the question: the 304 was about another one, other bytes than the missing ones arrived, or
    /// the rules refuse its source now.
    pub fn give_up_outdated(&mut self, cx: &Context, id: TransactionId) {
        let Some(transaction) = self.slab.get_mut(id.index as usize) else { return };
        if let (Some(cache), Some(outdated)) = (cx.settings.caching(), transaction.caching.take_known()) {
            cache.store.remove(&outdated);
        }
    }

    /// Sends the request again, without the cache's conditions.
    fn ask_again(&mut self, cx: &mut Context, services: &mut Services, id: TransactionId) {
        let Some(transaction) = self.slab.get_mut(id.index as usize) else { return };
        transaction.caching.unconditional = true;
        transaction.up.release(&mut cx.pool);
        transaction.up.sent = 0;
        transaction.incoming.scanner = Default::default();
        transaction.info.phase = Phase::Cache;
        self.detach(cx, services, id);
        cx.send(Effect::Examine(id));
    }

    /// The head for the client is written; the body is stored as it arrives.
    pub fn begin_storing(
        &mut self,
        cx: &mut Context,
        services: &mut Services,
        id: TransactionId,
        head_bytes: usize,
        (pending, stream): (Arc<Stored>, StreamingBody),
        body: Body,
    ) {
        let Some(transaction) = self.slab.get_mut(id.index as usize) else { return };
        let outcome = outcome(&transaction.caching, &pending, cx.now);
        let (hash, is_part) = (transaction.caching.collapse_hash(&pending), pending.fragment().is_some());
        let Some(epoch) = transaction.caching.epoch() else { return };
        let background = transaction.caching.background;
        transaction.caching.take_known();
        if !background && !transaction.down.head.append(&mut cx.pool, Purpose::Reply, &cx.scratch) {
            return cx.send(Effect::Refuse(id, Refusal::NoMemory));
        }
        let keeps_part = transaction.info.method == Method::Get;
        let beginning = Beginning {
            pending,
            hash,
            epoch,
            body,
            stream,
            is_refresh: background,
            keeps_part,
            beside: None,
        };
        let fills = &mut services.fills;
        let Some(source) = transaction.take_fill_source(head_bytes) else { return };
        let fill = fills.begin_fill(cx, source, beginning);
        // Not earlier: if storing fails, the waiting requests are released when the transaction ends.
        let caching = &mut transaction.caching;
        if is_part {
            // The waiting requests need more than the missing bytes.
            fills.conclude(cx, id, caching, CollapseOutcome::LookAgain);
        }
        fills.hand_lock_over(cx, caching, fill, outcome);
        fills.conclude_by_fill(cx, id, caching, fill, outcome);
        if background {
            cx.send(finish_background(id));
            return fills.advance_fill(cx, fill);
        }
        let length = fill.get(&fills.slab).and_then(|fill| fill.length);
        let chunked = length.is_none() && !transaction.ends_at_close;
        let client = transaction.client;
        transaction.stage = Stage::ReadingCache;
        let mut reader = CacheReader::streaming(fill, length, chunked);
        reader.place = fills.join(fill, id, client);
        transaction.caching.state = CacheState::Reading(reader);
        self.forget_request(cx, id);
        self.slab[id.index as usize].restart_timeout(cx);
        cx.wake(client);
        services.fills.advance_fill(cx, fill);
    }
}

impl Transaction {
    /// The parts that the transaction gives to a fill: its upstream connection, and the received bytes of the body.
    fn take_fill_source(&mut self, head_bytes: usize) -> Option<FillSource<'_>> {
        Some(FillSource {
            upstream: self.upstream.take()?,
            withheld: std::mem::take(&mut self.down.withheld),
            reusable: self.upstream_use.reusable,
            broken: self.upstream_use.broken,
            opened_ms: self.upstream_use.opened_ms,
            response: &mut self.response,
            head_bytes,
        })
    }

    /// Gives the upstream connection back after a response without a body.
    fn release_upstream(&mut self, cx: &mut Context, upstreams: &mut Upstreams, head_bytes: usize) {
        let bytes = self.response.bytes(&cx.pool);
        let clean = bytes.len() == head_bytes && self.up.is_complete() && !cx.is_draining();
        let reusable = clean
            && (self.incoming.message.response(&bytes[..head_bytes]))
                .is_some_and(|head| forwarding::origin_keeps_alive(head.version, head.fields));
        self.response.release(&mut cx.pool);
        match self.upstream.take() {
            Some(upstream) if reusable => upstreams.set_idle(cx, upstream, self.upstream_use.opened_ms),
            Some(upstream) => upstreams.close(cx, upstream),
            None => {}
        }
    }
}

/// Ends a refresh.
fn finish_background(id: TransactionId) -> Effect {
    Ending::Abandon.with_verdict(id, Allowed, "")
}

/// The outcome for waiting requests: whether the stored response may answer them, by its own terms and those of a rule.
fn outcome(caching: &Caching, stored: &Stored, now: Now) -> CollapseOutcome {
    let terms = caching.terms(stored);
    let fresh = terms.age_s(stored.clock_s(now)) < terms.lifetime_s;
    if fresh && !terms.no_cache { CollapseOutcome::LookAgain } else { CollapseOutcome::NotShareable }
}
