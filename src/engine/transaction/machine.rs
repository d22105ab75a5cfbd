//! The machine of all transactions of one loop: begins and examines them, and answers in weir's own name.
//!
//! Sending and receiving of a transaction are in `upload` and `response`, the cache's work for it in the engine's folder
//! `cache`, and its end in `settle`.

use super::answer::Answer;
use super::examine::{Decision, Examiner, Unverified};
use super::log_record::{LogRecord, Text, Verdict};
use super::page::{RefusalTexts, write_refusal};
use super::refusal::Refusal;
use super::request::Method;
use super::request::Phase;
use super::response_fields::{GuardedAnswer, ResponseFields};
use super::store_wait::{Awaited, StoreWaits};
use super::throttle_wait::ThrottleWaits;
use super::verification::Verifications;
use super::{Stage, Transaction};
use crate::engine::Event;
use crate::engine::body::filter::FilterSource;
use crate::engine::cache::Fills;
use crate::engine::cache::collapse::{COLLAPSE_WAIT_MS, CollapseOutcome, Conclusion};
use crate::engine::cache::coordination::release_lock;
use crate::engine::cache::look_up::{CacheLookUp, Hit};
use crate::engine::cache::signature::Signature;
use crate::engine::cache::state::{Lead, LeadState};
use crate::engine::context::Context;
use crate::engine::effect::{Effect, Ending};
use crate::engine::ids::{PeerId, StoreJob, TransactionId};
use crate::engine::settings::{DISCARD_BYTES_MAX, Settings};
use crate::engine::upstream::Upstreams;
use crate::engine::upstream::route::Hop;
use crate::guard::store::{Answer as StoreAnswer, StoreFailure};
use crate::guard::values::ValueAnswer;
use crate::http::framing::Body;
use crate::net::{Linear, Purpose};
use crate::part;
use slab::Slab;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

/// Transactions kept for reuse (chosen: more than begin between two that end, and no great memory after a burst).
const SPARE_TRANSACTIONS_MAX: usize = 64;

/// The services of a transaction: lent with each call.
pub(in crate::engine) struct Services {
    pub upstreams: Upstreams,
    pub fills: Fills,
    pub verifications: Verifications,
    pub store_waits: StoreWaits,
    pub throttle_waits: ThrottleWaits,
}

/// All transactions of one loop.
pub(in crate::engine) struct Transactions {
    // Boxes that are used again and again: a transaction is a kilobyte, and neither is moved nor made anew for a request.
    pub slab: Slab<Box<Transaction>>,
    #[allow(clippy::vec_box)]
    spare: Vec<Box<Transaction>>,
    serial: u32,
    /// Transactions whose wait for another one has ended.
    pub concluded: VecDeque<TransactionId>,
    pub signature: Signature,
    /// Buffer for the key of a request, and for the texts of a response to store.
    pub cache_text: Vec<u8>,
    /// Buffer for a request's values of the fields in Vary.
    pub cache_scratch: Vec<u8>,
    /// Buffer for bytes behind the end of a message.
    pub excess: Vec<u8>,
    /// Texts of recent refusals.
    refusal_texts: RefusalTexts,
    /// The source of filters of requests and responses; `None` for no filters.
    pub filter_source: Option<FilterSource>,
}

/// The facts that a transaction begins with.
pub(in crate::engine) struct Begun {
    pub client: PeerId,
    pub address: SocketAddr,
    /// The client connection has carried another transaction.
    pub reused: bool,
    /// The received bytes, and the length of the head in them.
    pub input: Linear,
    pub head_bytes: usize,
    /// When the first byte arrived, in microseconds since the loop started.
    pub began_us: u64,
}

impl Transactions {
    pub fn new(settings: &Settings) -> Transactions {
        Transactions {
            slab: Slab::new(),
            spare: Vec::new(),
            serial: 0,
            concluded: VecDeque::new(),
            signature: Signature::new(settings),
            cache_text: Vec::new(),
            cache_scratch: Vec::new(),
            excess: Vec::new(),
            refusal_texts: RefusalTexts::default(),
            filter_source: None,
        }
    }

    /// Begins a transaction of which only the length of the head is known.
    pub fn begin(&mut self, cx: &mut Context, begun: Begun) -> TransactionId {
        self.serial = self.serial.wrapping_add(1);
        let serial = self.serial;
        let mut transaction = match self.spare.pop() {
            Some(transaction) => transaction,
            None => {
                let (policy, settings) = (Arc::clone(&cx.policy), Arc::clone(&cx.settings));
                let record = cx.take_record(begun.address);
                Box::new(Transaction::new(begun.client, policy, settings, record))
            }
        };
        debug_assert!(Arc::ptr_eq(&transaction.policy, &cx.policy));
        debug_assert!(Arc::ptr_eq(&transaction.settings, &cx.settings));
        transaction.begin(serial, begun.client, begun.head_bytes, cx.now);
        transaction.record.reset(begun.address);
        transaction.record.client_reused = begun.reused;
        (transaction.input, transaction.since.began_us) = (begun.input, begun.began_us);
        // The head is complete, and stays until the response has come.
        transaction.input.trim(&mut cx.pool);
        cx.metrics.requests += 1;
        cx.set_timer(begun.client, cx.settings.timeouts.exchange_ms);
        TransactionId { index: self.slab.insert(transaction) as u32, serial }
    }

    /// The transaction with this id, if it has not ended.
    pub fn get_mut(&mut self, id: TransactionId) -> Option<&mut Transaction> {
        let transaction = self.slab.get_mut(id.index as usize)?;
        Some(&mut **transaction).filter(|transaction| transaction.serial == id.serial)
    }

    /// Ends a transaction that has given everything back: keeps its memory for the next, and hands out its log record.
    pub fn retire(&mut self, cx: &mut Context, mut transaction: Box<Transaction>) -> Box<LogRecord> {
        // The record is reset when the next transaction begins.
        let blank = cx.take_used_record(transaction.record.client);
        let record = std::mem::replace(&mut transaction.record, blank);
        // A transaction that is kept for reuse must hold nothing of the cache, whose bytes could not be evicted.
        transaction.caching.reset();
        (transaction.routing, transaction.guarded) = (None, GuardedAnswer::default());
        transaction.up.set_filters(None);
        transaction.down.set_filters(None);
        if !Arc::ptr_eq(&transaction.policy, &cx.policy) {
            transaction.policy = Arc::clone(&cx.policy);
        }
        if !Arc::ptr_eq(&transaction.settings, &cx.settings) {
            transaction.settings = Arc::clone(&cx.settings);
        }
        if self.spare.len() < SPARE_TRANSACTIONS_MAX {
            self.spare.push(transaction);
        }
        record
    }

    /// Drops transactions that are kept for reuse: they would begin with an old policy, or old settings.
    pub fn clear_spare(&mut self) {
        self.spare.clear();
        self.refusal_texts.clear();
    }

    /// Releases unused memory.
    pub fn shrink(&mut self) {
        self.spare = Vec::new();
        self.refusal_texts.clear();
        self.slab.shrink_to_fit();
    }

    /// Takes the request through the remaining phases, from the first one or from the one in which it has waited, and carries
    /// out their decision.
    pub fn examine(&mut self, cx: &mut Context, services: &mut Services, id: TransactionId) {
        let mut hit = None;
        let Some(decision) = self.decide(cx, services, id, &mut hit) else { return };
        let Services { fills, verifications, store_waits, throttle_waits, .. } = services;
        let transaction = &mut self.slab[id.index as usize];
        match decision {
            Decision::Forward => {
                if let Some(lead @ Lead { state: LeadState::Granted, .. }) = &mut transaction.caching.lead {
                    fills.collapses.lead(lead.hash, &self.cache_text, id);
                    lead.state = LeadState::Leads;
                }
                transaction.note_forwarding();
                self.forward(cx, id);
            }
            Decision::Hit => {
                // A build without the cache has no hits.
                if let Some(hit) = hit.filter(|_| part::cache::built().is_some()) {
                    release_lock(cx, &mut transaction.caching, CollapseOutcome::LookAgain);
                    self.begin_hit(cx, services, id, &hit);
                }
            }
            Decision::Wait(hash) => self.wait_for_leader(cx, services, id, hash),
            Decision::Answer(answer) => self.answer(cx, id, answer),
            Decision::Refuse(refusal) => cx.send(Effect::Refuse(id, refusal)),
            Decision::Ask(question) => {
                // A guard has asked, so it exists.
                if let Some(guard) = transaction.settings.guard.clone() {
                    transaction.stage = Stage::AskingStore(store_waits.begin(cx, id, guard, *question));
                }
            }
            Decision::AskValue(request) => {
                // Not for a request of weir's own, which has no page.
                let guard = part::guard::lend(transaction.settings.guard.as_ref());
                let job = store_waits.begin_value(cx, id, guard, *request);
                transaction.stage = Stage::AskingStore(job);
            }
            Decision::Collect => {
                if !transaction.collect(cx) {
                    cx.send(Effect::Refuse(id, Refusal::NoMemory));
                }
            }
            Decision::Delay(wait_us) => {
                transaction.stage = Stage::Throttled;
                throttle_waits.begin(cx, id, wait_us);
            }
            Decision::Verify(unverified) => {
                let Unverified { key, guess, job } = *unverified;
                transaction.stage = Stage::Verifying;
                let client = transaction.record.client.ip();
                verifications.begin(cx, id, client, (key, guess), job);
            }
        }
    }

    /// The decision of the phases.
    #[inline]
    fn decide(
        &mut self,
        cx: &mut Context,
        services: &mut Services,
        id: TransactionId,
        hit: &mut Option<Hit>,
    ) -> Option<Decision> {
        let Transactions { slab, cache_text, cache_scratch, filter_source, .. } = self;
        let Services { upstreams, fills, verifications, store_waits, .. } = services;
        let transaction = slab.get_mut(id.index as usize)?;
        let transaction = &mut **transaction;
        let settings = &transaction.settings;
        let is_refresh = transaction.caching.background;
        // weir's own requests are no client's.
        let guard = part::guard::lend(settings.guard.as_ref()).filter(|_| !is_refresh);
        let peer = cx.connections.get(transaction.client);
        let listener = peer.and_then(|peer| settings.listener(peer.listener));
        let gateway = part::guard::lend(settings.gateway.as_ref())
            .filter(|_| listener.is_some_and(|listener| listener.gateway));
        let cache = settings.caching().map(|cache| CacheLookUp {
            settings: cache,
            collapses: &fills.collapses,
            fills: &fills.slab,
            caching: &mut transaction.caching,
            key: cache_text,
            scratch: cache_scratch,
            policy: &transaction.policy,
            guard,
            forwarded: settings.forwarded,
            resolver: &upstreams.resolver,
            by_gateway: None,
            hit,
            now: cx.now,
        });
        let Verifications { remembered, limits, .. } = verifications;
        let mut examiner = Examiner {
            cache,
            settings,
            policy: &transaction.policy,
            upstreams,
            remembered,
            guard,
            breaker: &mut store_waits.breaker,
            callback: cx.callbacks.request.as_deref(),
            is_refresh,
            filters: filter_source.as_ref(),
            up: &mut transaction.up,
            down: &mut transaction.down,
            guesses: &limits.guesses,
            now: cx.now,
            began_us: transaction.since.began_us,
            client: transaction.record.client.ip(),
            peer: transaction.client,
            peer_address: peer.map(|peer| peer.address.ip),
            gateway,
            routing: &mut transaction.routing,
            pin_lost: transaction.upstream_use.pin_lost,
            guarded: &mut transaction.guarded,
            pages: part::pages::lend(cx.callbacks.pages.as_ref()).filter(|_| !is_refresh),
            behind: &[],
        };
        let (bytes, behind) = transaction.input.bytes(&cx.pool).split_at(transaction.info.head_bytes);
        examiner.behind = behind;
        let Transaction { info, record, request_head, .. } = transaction;
        Some(examiner.examine((bytes, request_head), info, record, &mut cx.scratch))
    }

    /// Takes the rewritten head and the received part of the body, and requests a connection to the origin.
    fn forward(&mut self, cx: &mut Context, id: TransactionId) {
        let transaction = &mut self.slab[id.index as usize];
        if !transaction.up.head.append(&mut cx.pool, Purpose::Reply, &cx.scratch) {
            cx.send(Effect::Refuse(id, Refusal::NoMemory));
            return;
        }
        if !transaction.answer_expect(cx) {
            cx.send(Effect::Refuse(id, Refusal::NoMemory));
            return;
        }
        let body = transaction.info.body;
        transaction.up.frame(body, transaction.info.body_out == Body::Chunked);
        if body != Body::None {
            // The client may have sent more while it was not read, during the check of a password.
            cx.wake(transaction.client);
        }
        if self.pump_upload(cx, id) {
            cx.send(Effect::Connect(id));
        }
    }

    /// Handles the answer of the store for a request, or its failure: the request continues behind the guard's phase, or is
    /// refused.
    pub fn handle_store_answer(
        &mut self,
        cx: &mut Context,
        services: &mut Services,
        job: StoreJob,
        answers: Result<&[StoreAnswer], StoreFailure>,
    ) {
        let Some(waiting) = services.store_waits.take(job) else { return };
        let (question, guard) = match waiting.awaited {
            Awaited::Checks { question, guard } => (question, guard),
            Awaited::Value { is_shared } => {
                let failure = answers.err().unwrap_or(StoreFailure::Refused);
                if is_shared {
                    services.store_waits.note(cx, waiting.asked_us, Some(failure));
                }
                return self.conclude_value(cx, waiting.transaction, job, ValueAnswer::Failed(failure));
            }
        };
        // A store whose answers do not fit the question has failed.
        let answers = match answers {
            Ok(answers) if !guard.are_answers(&question, answers) => Err(StoreFailure::Refused),
            other => other,
        };
        services.store_waits.note(cx, waiting.asked_us, answers.err());
        let id = waiting.transaction;
        let Some(transaction) =
            self.get_mut(id).filter(|transaction| transaction.stage == Stage::AskingStore(job))
        else {
            return;
        };
        let asked = || transaction.since.asked(&transaction.record, cx.now);
        let decided = guard.conclude(&question, answers, asked, cx.now);
        transaction.stage = Stage::Begun;
        (transaction.info.phase, transaction.info.quota) = (Phase::Inspect, decided.quota);
        cx.set_timer(transaction.client, cx.settings.timeouts.exchange_ms);
        cx.send(match decided.denial {
            Some(denial) => Effect::Refuse(id, Refusal::Guarded(denial)),
            None => Effect::Examine(id),
        });
    }

    /// Continues the next delayed request, if it is due. False if none is.
    pub fn resume_throttled(&mut self, cx: &mut Context, services: &mut Services) -> bool {
        let Some(id) = services.throttle_waits.next_due(cx.now) else { return false };
        let Some(transaction) = self.get_mut(id).filter(|waiting| waiting.stage == Stage::Throttled) else {
            return true;
        };
        let next = transaction.info.phase_behind_guard(cx.callbacks.request.is_some());
        (transaction.stage, transaction.info.phase) = (Stage::Begun, next);
        cx.set_timer(transaction.client, cx.settings.timeouts.exchange_ms);
        cx.send(Effect::Examine(id));
        true
    }

    /// Waits for the leader of the collapse for that key.
    fn wait_for_leader(&mut self, cx: &mut Context, services: &mut Services, id: TransactionId, hash: u64) {
        let transaction = &mut self.slab[id.index as usize];
        transaction.caching.begin_waiting();
        transaction.stage = Stage::AwaitingLeader(hash);
        transaction.record.verdict = Verdict::Allowed;
        cx.set_timer(transaction.client, cx.settings.timeouts.exchange_ms.min(COLLAPSE_WAIT_MS));
        services.fills.wait_for_leader(cx, hash, &self.cache_text, id);
    }

    /// Records the result of leaders that transactions have waited for. The transactions are examined again when the leader's
    /// event has been handled.
    pub fn note_conclusion(&mut self, conclusion: Conclusion) {
        let Conclusion { waiters, outcome, counts } = conclusion;
        for waiter in waiters {
            let Some(transaction) = self.get_mut(waiter) else { continue };
            transaction.caching.end_waiting(outcome, counts);
            self.concluded.push_back(waiter);
        }
    }

    /// Examines the next transaction again whose wait has ended. False if there is none.
    pub fn resume_concluded(&mut self, cx: &mut Context, services: &mut Services) -> bool {
        let Some(waiter) = self.concluded.pop_front() else { return false };
        let Some(transaction) = self.get_mut(waiter) else { return true };
        if !matches!(transaction.stage, Stage::AwaitingLeader(_)) {
            return true;
        }
        transaction.stage = Stage::Begun;
        // The rest of the waiting time does not apply to the next step: a look-up, a password.
        cx.set_timer(transaction.client, cx.settings.timeouts.exchange_ms);
        match transaction.caching.outcome() {
            Some(CollapseOutcome::Refused(refusal)) => cx.send(Effect::Refuse(waiter, refusal)),
            Some(CollapseOutcome::LookAgain | CollapseOutcome::NotShareable) | None => {
                self.examine(cx, services, waiter);
            }
        }
        true
    }

    /// The leader of that key has not got a response in time: it continues for itself, and the first transaction that waited
    /// asks the origin (cache rule 53). If the leader is in another loop, each loop asks for itself.
    pub(super) fn overtake(&mut self, cx: &mut Context, services: &mut Services, hash: u64) {
        let Some(leader) = services.fills.collapses.leader(hash) else {
            return services.fills.stop_waiting_for_other_loop(cx, hash);
        };
        cx.metrics.cache_overtaken += 1;
        let fills = services.fills.built();
        if let (Some(transaction), Some(fills)) = (self.get_mut(leader), fills) {
            fills.overtake(cx, leader, &mut transaction.caching);
        }
    }

    /// Releases the transactions that have waited for a leader.
    pub fn conclude_collapse(
        &mut self,
        cx: &mut Context,
        services: &mut Services,
        leader: TransactionId,
        outcome: CollapseOutcome,
    ) {
        let fills = services.fills.built();
        if let (Some(transaction), Some(fills)) = (self.get_mut(leader), fills) {
            fills.conclude(cx, leader, &mut transaction.caching, outcome);
        }
    }

    /// Sends an answer of weir's own; the scratch buffer holds the content that `examine` has written.
    fn answer(&mut self, cx: &mut Context, id: TransactionId, answer: Answer) {
        self.decide_close(cx, id);
        let transaction = &mut self.slab[id.index as usize];
        transaction.record.status = answer.status();
        if !answer.content_type().is_empty() {
            transaction.record.set_content_type(answer.content_type());
        }
        let content = std::mem::take(&mut cx.scratch);
        let form = (&transaction.info, !transaction.closes);
        let (date, out) = cx.date_and_scratch();
        let response_fields = transaction
            .guarded
            .response_fields
            .as_ref()
            .map(|response_fields| (response_fields, &*transaction.settings));
        answer.write(out, &content, date, form, response_fields);
        self.reply(cx, id);
    }

    /// Answers with a refusal, and ends the request's work at the origin. If a response has begun already, the
    /// transaction is aborted instead.
    pub fn refuse(&mut self, cx: &mut Context, services: &mut Services, id: TransactionId, refusal: Refusal) {
        let Some(transaction) = self.get_mut(id) else { return };
        let under_way = transaction.is_answering();
        let may_be_stale = refusal.verdict() == Verdict::Failed && !under_way;
        let stale = may_be_stale
            && transaction
                .caching
                .stale()
                .is_some_and(|stale| stale.if_error || (stale.if_unreachable && refusal.is_disconnection()));
        let sent = transaction.was_sent();
        if self.fail_over(cx, services, id, refusal) {
            return;
        }
        cx.metrics.count_refusal(refusal);
        if stale && self.begin_stale_hit(cx, services, id, None) {
            return;
        }
        let outcome = match refusal {
            // Before anything was sent, the origin cannot be reached, which holds for all. Afterwards this request may have
            // made the origin fail, which is no failure of other requests (cache rule 53).
            Refusal::Dns(_) | Refusal::Connect(_) if !sent => CollapseOutcome::Refused(refusal),
            _ => CollapseOutcome::LookAgain,
        };
        self.conclude_collapse(cx, services, id, outcome);
        let background = self.slab[id.index as usize].caching.background;
        if background && matches!(refusal, Refusal::Denied(_) | Refusal::Guarded(_)) {
            self.give_up_outdated(cx, id);
        }
        let transaction = &mut self.slab[id.index as usize];
        transaction.record.verdict = refusal.verdict();
        if background || under_way {
            let ending = if background { Ending::Abandon } else { Ending::Abort };
            let mut reason = Vec::new();
            refusal.write_reason(&transaction.policy, &mut reason);
            transaction.record.set(Text::Reason, &reason);
            cx.send(ending.with_verdict(id, refusal.verdict(), refusal.wording().reason));
            return;
        }
        let pinned = transaction.upstream.is_some()
            && transaction.upstream_use.pinning.after(transaction.info.authenticates, false).pins();
        transaction.closes |= pinned || !refusal.keeps_connection();
        self.detach(cx, services, id);
        self.decide_close(cx, id);
        let Transactions { slab, refusal_texts, .. } = self;
        let transaction = &mut slab[id.index as usize];
        let listener = cx.connections.get(transaction.client).map(|peer| peer.listener);
        let listener = listener.and_then(|listener| transaction.settings.listener(listener));
        let is_for_gateway = listener.is_some_and(|listener| listener.gateway);
        // For heads that are no request, too.
        if transaction.guarded.response_fields.is_none() && is_for_gateway {
            transaction.guarded.response_fields = Some(ResponseFields::default());
        }
        transaction.note_reader(&cx.pool);
        let (date, out) = cx.date_and_scratch();
        write_refusal(transaction, refusal_texts, date, refusal, out);
        if !Arc::ptr_eq(&transaction.policy, &cx.policy) {
            // The texts would keep an old policy in memory.
            refusal_texts.clear();
        }
        self.reply(cx, id);
    }

    /// Decides whether the connection ends with a response of weir's own: if the next request could not be found behind the
    /// rest of this one. Once decided, a close stays decided.
    pub fn decide_close(&mut self, cx: &mut Context, id: TransactionId) {
        let transaction = &mut self.slab[id.index as usize];
        let info = &transaction.info;
        let left = match info.body {
            Body::None => 0,
            Body::Length(bytes) => bytes.saturating_sub(transaction.up.received),
            Body::Chunked if transaction.up.is_received() && transaction.up.received > 0 => 0,
            Body::Chunked | Body::UntilClose => u64::MAX,
        };
        let ambiguous = left > 0 && transaction.may_wait();
        // Bytes behind a CONNECT are meant for a tunnel, and may still be under way (rule 11).
        let refused_tunnel = info.method == Method::Connect;
        if info.keep_alive && left > DISCARD_BYTES_MAX && !transaction.closes {
            cx.metrics.limit_discard += 1;
        }
        transaction.closes |=
            cx.is_draining() || !info.keep_alive || left > DISCARD_BYTES_MAX || ambiguous || refused_tunnel;
    }

    /// Sends the content of the scratch buffer as the final response.
    fn reply(&mut self, cx: &mut Context, id: TransactionId) {
        let transaction = &mut self.slab[id.index as usize];
        let client = transaction.client;
        transaction.stage = Stage::Replying;
        transaction.down.frame(Body::None, false);
        if !transaction.down.head.append(&mut cx.pool, Purpose::Reply, &cx.scratch) {
            transaction.record.status = 0;
            cx.send(Ending::Abort.with_verdict(id, Verdict::Refused, "buffers_max"));
            return;
        }
        // The rest of the body is thrown away if the connection is to be used again.
        let received = transaction.up.received;
        let rest = match transaction.info.body {
            _ if transaction.closes => Body::None,
            Body::Length(bytes) => Body::Length(bytes.saturating_sub(received)),
            Body::Chunked if received > 0 => Body::None,
            other => other,
        };
        transaction.up.release(&mut cx.pool);
        transaction.up.discards = true;
        transaction.up.frame(rest, false);
        cx.set_timer(client, cx.settings.timeouts.exchange_ms);
        if self.pump_upload(cx, id) {
            cx.wake(client);
        }
    }

    /// Releases the part of the request that was kept for a retry: a response has arrived.
    pub fn forget_request(&mut self, cx: &mut Context, id: TransactionId) {
        let transaction = &mut self.slab[id.index as usize];
        transaction.input.consume(&mut cx.pool, transaction.consumed.min(transaction.input.len()));
        transaction.consumed = 0;
        transaction.request_head.clear();
    }

    /// Something happened on the client's side of a transaction.
    pub fn handle_client(
        &mut self,
        cx: &mut Context,
        services: &mut Services,
        id: TransactionId,
        event: Event,
    ) {
        match event {
            Event::Received(count) => self.handle_upload(cx, services, id, count),
            Event::Spliced(count) => {
                let transaction = &mut self.slab[id.index as usize];
                transaction.restart_timeout(cx);
                transaction.up.handle_spliced(count);
                // Bytes move when all earlier ones were sent: weir waited for the client.
                if transaction.is_uploading_slowly(cx) {
                    self.end_slow_upload(cx, services, id);
                    return;
                }
                transaction.hold_rate(cx);
                if let Some(upstream) = transaction.upstream {
                    cx.wake(upstream);
                }
            }
            Event::Sent(count) => {
                let transaction = &mut self.slab[id.index as usize];
                transaction.restart_timeout(cx);
                if transaction.caching.reader().is_some() {
                    self.handle_served(cx, services, id, count);
                    return;
                }
                transaction.down.handle_sent(&mut cx.pool, count);
                if transaction.is_read_too_slowly(&services.fills.slab, cx.now) {
                    cx.metrics.limit_rate += 1;
                    self.abandon_client(cx, id, "min_rate");
                    return;
                }
                if let Some(upstream) = transaction.upstream {
                    cx.wake(upstream);
                }
                self.pump_download(cx, id);
                self.try_settle(cx, services, id);
            }
            Event::EndOfStream => {
                // Wanted only while the request's body is incomplete.
                if !self.settle_answered(cx, services, id) {
                    cx.send(Ending::Abandon.with_verdict(id, Verdict::Malformed, "client_closed"));
                }
            }
            Event::SendFailed(_) | Event::Failed(_) => {
                self.abandon_client(cx, id, "client_reset");
            }
            Event::Connected => {}
        }
    }

    /// The upstream connection that was pinned to the client has ended. A transaction that waits to be sent over it finds no
    /// other, and the client connection ends with any transaction.
    pub fn note_pin_end(&mut self, id: TransactionId, hop: Hop<'_>, rooted: bool) {
        let Some(transaction) = self.get_mut(id) else { return };
        let waits = matches!(
            transaction.stage,
            Stage::Begun | Stage::Verifying | Stage::AskingStore(_) | Stage::Throttled | Stage::Collecting
        );
        let asked = transaction.info.next_hop();
        // The upstream of a route is not chosen yet: the pinned one would have been chosen, if the route has it.
        let is_open = hop.configured && !asked.configured;
        let leads = is_open || (asked == hop && asked.authority.is_rooted() == rooted);
        transaction.closes = true;
        transaction.upstream_use.pin_lost |= waits && leads;
    }
}
