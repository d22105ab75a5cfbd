//! One request and its response: begun, refused, settled.

pub(in crate::engine) mod examine;
pub mod log_record;
pub(in crate::engine) mod page;
pub(in crate::engine) mod purge;
pub(in crate::engine) mod refusal;
pub(in crate::engine) mod response;
pub(in crate::engine) mod settle;
pub(in crate::engine) mod timings;
pub(in crate::engine) mod upload;
pub(in crate::engine) mod verification;

use crate::engine::body::outgoing::Outgoing;
use crate::engine::body::relay::Relay;
use crate::engine::cache::collapse::CollapseOutcome;
use crate::engine::cache::fill::Fill;
use crate::engine::cache::look_up::{CacheLookUp, Caching};
use crate::engine::cache::reader::CacheReader;
use crate::engine::downstream::minimum_rate::RateMeter;
use crate::engine::peer::{Client, Role, TransactionId};
use crate::engine::settings::{DISCARD_BYTES_MAX, HEADROOM_BYTES, Settings};
use crate::engine::transaction::examine::{Answer, Decision, Examiner, Method, RequestInfo};
use crate::engine::transaction::log_record::{LogRecord, Verdict};
use crate::engine::transaction::page::write_refusal;
use crate::engine::transaction::refusal::Refusal;
use crate::engine::upstream::binding::Bond;
use crate::engine::upstream::dialling::Dial;
use crate::engine::upstream::resolution::Resolving;
use crate::engine::{Engine, Event, PeerId};
use crate::http::framing::Body;
use crate::http::head::Scanner;
use crate::net::{BLOCK_BYTES, Linear, Pool, Purpose, Space};
use crate::policy::Policy;
use crate::time::Now;
use slab::Slab;
use std::net::SocketAddr;
use std::sync::Arc;

/// How far it has come.
#[derive(Debug)]
// Exchanges lie in a slab and are reused: a box would be an allocation for every request that dials.
#[allow(clippy::large_enum_variant)]
pub(in crate::engine) enum Stage {
    /// Being examined.
    Begun,
    /// The password is being verified off the loop.
    Verifying,
    /// The name is being looked up.
    Resolving(Resolving),
    /// Connections to the origin are being tried.
    Dialling(Dial),
    /// The origin has the request, or is getting it; no final response yet.
    Awaiting,
    /// The response is on its way through.
    Relaying,
    /// weir's own answer is on its way.
    Replying,
    /// Another request for the same is under way; the hash of the key.
    Waiting(u64),
    /// An answer out of the cache, or out of what is being stored, is on its way.
    CacheReader,
}

/// One request and its response.
#[derive(Debug)]
pub(in crate::engine) struct Transaction {
    pub serial: u32,
    pub client: PeerId,
    pub origin: Option<PeerId>,
    pub stage: Stage,
    pub info: RequestInfo,
    /// The policy it began with.
    pub policy: Arc<Policy>,
    /// The settings it began with: what was accepted is not measured by other limits later. Only time-outs are those of now.
    pub settings: Arc<Settings>,
    /// From client to origin.
    pub up: Relay,
    /// From origin to client.
    pub down: Relay,
    /// How fast the client sends its body.
    pub up_rate: RateMeter,
    /// How fast the client reads, while bytes wait for it.
    pub down_rate: RateMeter,
    /// What the client has sent and is not yet part of a body: the head, and what came with it.
    pub input: Linear,
    /// Bytes at the front of that which are done with, or kept for a retry only: the head, and what has gone up of the
    /// body behind it.
    pub consumed: usize,
    /// What the origin has sent and is not yet part of a body.
    pub response: Linear,
    pub scanner: Scanner,
    /// By when the response head that has begun must be whole, in milliseconds since the loop started.
    pub head_until_ms: u64,
    pub record: Box<LogRecord>,
    pub began_us: u64,
    /// When that began which it waits for: a look-up, a connection, or an answer.
    pub phase_us: u64,
    /// The client connection ends with this transaction.
    pub closes: bool,
    /// The client takes the close for the end of the response, so that a truncation must be a reset.
    pub ends_at_close: bool,
    /// The origin connection can carry another transaction after this one.
    pub origin_reusable: bool,
    /// Whose the origin connection is.
    pub bond: Bond,
    /// The connection that waited for its client has ended before it was sent over that. The client takes it for authenticated:
    /// no other connection may answer it, and no memory.
    pub bond_lost: bool,
    /// When it was opened, in milliseconds since the loop started.
    pub opened_ms: u64,
    /// None of those that wait for their next transaction will do: it has to be a fresh one.
    pub fresh: bool,
    /// Until there is an answer the request's body is kept behind its head: it may have to be sent again.
    pub keeps_body: bool,
    /// It cannot be sent again, and the connection is not fresh.
    pub looks_first: bool,
    /// It was sent twice already.
    pub retried: bool,
    /// Interim responses relayed.
    pub informational: u8,
    /// What the cache has to do with it.
    pub caching: Caching,
    /// The body that is served from the cache.
    pub reader: Option<CacheReader>,
}

impl Transaction {
    fn new(
        client: PeerId,
        policy: Arc<Policy>,
        settings: Arc<Settings>,
        record: Box<LogRecord>,
    ) -> Transaction {
        Transaction {
            serial: 0,
            client,
            origin: None,
            stage: Stage::Begun,
            info: RequestInfo::unknown(0),
            policy,
            settings,
            up: Relay::new(Purpose::Upload),
            down: Relay::new(Purpose::Download),
            up_rate: RateMeter::default(),
            down_rate: RateMeter::default(),
            input: Linear::default(),
            consumed: 0,
            response: Linear::default(),
            scanner: Scanner::default(),
            head_until_ms: 0,
            record,
            began_us: 0,
            phase_us: 0,
            closes: false,
            ends_at_close: false,
            origin_reusable: false,
            bond: Bond::None,
            bond_lost: false,
            opened_ms: 0,
            fresh: false,
            keeps_body: false,
            looks_first: false,
            retried: false,
            informational: 0,
            caching: Caching::default(),
            reader: None,
        }
    }

    /// Makes a used transaction a new one, of which nothing is known but the length of what was received. Policy and settings are
    /// those of this moment already, the entry is made blank by the caller.
    fn begin(&mut self, serial: u32, client: PeerId, head_bytes: usize, now: Now) {
        let Transaction {
            serial: own_serial,
            client: own_client,
            origin,
            stage,
            info,
            policy: _,
            settings: _,
            up,
            down,
            up_rate,
            down_rate,
            input,
            consumed,
            response,
            scanner,
            head_until_ms,
            record: _,
            began_us,
            phase_us,
            closes,
            ends_at_close,
            origin_reusable,
            bond,
            bond_lost,
            opened_ms,
            fresh,
            keeps_body,
            looks_first,
            retried,
            informational,
            caching,
            reader,
        } = self;
        debug_assert!(input.is_empty() && response.is_empty() && !up.wants_send() && !down.wants_send());
        (*own_serial, *own_client, *origin, *stage) = (serial, client, None, Stage::Begun);
        info.reset(head_bytes);
        (*up_rate, *down_rate) = (RateMeter::default(), RateMeter::default());
        up.reset(Purpose::Upload);
        down.reset(Purpose::Download);
        (*consumed, *scanner, *head_until_ms) = (head_bytes, Scanner::default(), 0);
        (*began_us, *phase_us) = (now.monotonic_us, now.monotonic_us);
        (*closes, *ends_at_close, *origin_reusable, *retried) = (false, false, false, false);
        (*bond, *bond_lost, *opened_ms, *informational) = (Bond::None, false, 0, 0);
        (*fresh, *keeps_body, *looks_first) = (false, false, false);
        caching.reset();
        *reader = None;
    }

    /// Whether there is room for more of the request's body; what was received with the head goes first.
    pub fn wants_upload(&self) -> bool {
        self.up.wants_bytes() && self.input.len() <= self.consumed
    }

    /// Whether there is room for more of the response. Interim responses that the client does not read stop the origin.
    pub fn wants_download(&self) -> bool {
        match self.stage {
            Stage::Awaiting => self.down.head.len() < BLOCK_BYTES,
            // After a complete answer the origin may still read; whatever it says is an end.
            Stage::Relaying if self.down.is_received() => !self.up.is_complete(),
            Stage::Relaying => self.response.is_empty() && self.down.wants_bytes(),
            Stage::Begun
            | Stage::Verifying
            | Stage::Resolving(_)
            | Stage::Dialling(_)
            | Stage::Replying
            | Stage::Waiting(_)
            | Stage::CacheReader => false,
        }
    }

    /// Whether the client has read too little of what waits for it.
    pub fn is_read_too_slowly(&mut self, fills: &Slab<Fill>, now: Now) -> bool {
        if !self.wants_send(fills) {
            self.down_rate.forget();
            return false;
        }
        self.down_rate.is_below(self.settings.rate(), now.monotonic_ms(), self.down.sent)
    }

    /// Whether there is anything to send to the client.
    pub fn wants_send(&self, fills: &Slab<Fill>) -> bool {
        self.down.wants_send() || self.reader.as_ref().is_some_and(|reader| reader.wants_send(fills))
    }

    /// What to send to the client next.
    pub fn outgoing<'s>(&'s mut self, pool: &'s mut Pool, fills: &'s Slab<Fill>) -> Outgoing<'s> {
        match &mut self.reader {
            Some(reader) => reader.outgoing(&self.down, pool, fills),
            None => self.down.outgoing(pool),
        }
    }

    /// Whether the whole answer was sent.
    pub fn is_answered(&self, fills: &Slab<Fill>) -> bool {
        self.down.is_complete()
            && self.response.is_empty()
            && self.reader.as_ref().is_none_or(|reader| reader.is_done(fills))
    }

    pub fn download_space<'p>(
        &'p mut self,
        pool: &'p mut Pool,
        discard_buffer: &'p mut [u8],
    ) -> Option<Space<'p>> {
        match self.stage {
            Stage::Relaying if self.down.is_received() => Some(Space::one(discard_buffer)),
            Stage::Awaiting if self.up.sent == 0 => Some(Space::one(discard_buffer)),
            Stage::Relaying => self.down.space(pool),
            Stage::Begun
            | Stage::Verifying
            | Stage::Resolving(_)
            | Stage::Dialling(_)
            | Stage::Awaiting
            | Stage::Replying
            | Stage::Waiting(_)
            | Stage::CacheReader => {
                let begun = !self.response.is_empty()
                    || self.response.begin_at(pool, Purpose::Download, HEADROOM_BYTES);
                if !begun {
                    return None;
                }
                let head_bytes_max = self.settings.head.head_bytes_max;
                let space = self.response.space(pool, Purpose::Download, head_bytes_max + BLOCK_BYTES);
                space.map(Space::one)
            }
        }
    }

    pub fn return_download_space(&mut self, pool: &mut Pool) {
        self.response.release_if_empty(pool);
        self.down.release_unused(pool);
    }

    /// Nothing of the request has gone out: whatever the origin says now is no answer to it (rule 33).
    pub fn is_unasked(&self) -> bool {
        matches!(self.stage, Stage::Awaiting) && self.up.sent == 0
    }

    /// Whether an origin may have seen any of the request.
    fn was_sent(&self) -> bool {
        self.origin.is_some() || self.retried || self.caching.unconditional
    }

    /// Whether the client may be waiting for a 100. After another answer it may send the body all the same, or may not:
    /// nobody can tell what comes next (rule 30).
    pub fn may_wait(&self) -> bool {
        self.info.expects_continue && self.up.received == 0
    }
}

impl Engine {
    /// Begins a transaction whose head is whole.
    pub(in crate::engine) fn begin(&mut self, now: Now, client: PeerId, head_bytes: usize) {
        let id = self.begin_unknown(now, client, head_bytes);
        self.examine(now, id);
    }

    /// Begins a transaction of which nothing is known but the length of what was received.
    pub(in crate::engine) fn begin_unknown(
        &mut self,
        now: Now,
        client_id: PeerId,
        head_bytes: usize,
    ) -> TransactionId {
        self.refresh_date(now);
        self.next_serial = self.next_serial.wrapping_add(1);
        let serial = self.next_serial;
        let address = SocketAddr::from(self.peers[client_id.index()].address);
        let mut transaction = match self.spare_transactions.pop() {
            Some(transaction) => transaction,
            None => {
                let (policy, settings) = (Arc::clone(&self.policy), Arc::clone(&self.settings));
                Box::new(Transaction::new(client_id, policy, settings, self.take_record(address)))
            }
        };
        debug_assert!(Arc::ptr_eq(&transaction.policy, &self.policy));
        debug_assert!(Arc::ptr_eq(&transaction.settings, &self.settings));
        transaction.begin(serial, client_id, head_bytes, now);
        transaction.record.reset(address);
        let id = TransactionId { index: self.transactions.insert(transaction) as u32, serial };
        let transaction = &mut self.transactions[id.index as usize];
        self.metrics.requests += 1;
        self.deadlines.set(client_id, now.monotonic_ms(), self.settings.timeouts.exchange_ms);
        let peer = &mut self.peers[client_id.index()];
        transaction.record.client_reused = std::mem::replace(&mut peer.used, true);
        let before = std::mem::replace(&mut peer.role, Role::Client(Client::Transaction(id)));
        if let Role::Client(Client::Reading(reading)) = before {
            let reading = self.readings.remove(reading.0 as usize);
            if !reading.input.is_empty() {
                transaction.began_us = reading.began_us;
            }
            transaction.input = reading.input;
        }
        id
    }

    /// The transaction, if it is still that one.
    pub(in crate::engine) fn transaction_mut(&mut self, id: TransactionId) -> Option<&mut Transaction> {
        let transaction = self.transactions.get_mut(id.index as usize)?;
        Some(&mut **transaction).filter(|transaction| transaction.serial == id.serial)
    }

    /// Reads the head in the client's input and does what it asks. Again after a password was verified, or for a retry.
    pub(in crate::engine) fn examine(&mut self, now: Now, id: TransactionId) {
        let Engine {
            transactions,
            pool,
            origins,
            remembered,
            client_limits,
            scratch,
            collapses,
            fills,
            cache_text,
            cache_scratch,
            resolver,
            ..
        } = self;
        let Some(transaction) = transactions.get_mut(id.index as usize) else { return };
        let transaction = &mut **transaction;
        let settings = &transaction.settings;
        let cache = settings.cache.as_ref().map(|cache| CacheLookUp {
            settings: cache,
            collapses,
            fills,
            caching: &mut transaction.caching,
            key: cache_text,
            scratch: cache_scratch,
            policy: &transaction.policy,
            forwarded: settings.forwarded,
            resolver,
            now,
        });
        let mut examiner = Examiner {
            cache,
            settings,
            policy: &transaction.policy,
            origins,
            remembered,
            withheld: &mut transaction.up.withheld,
            guesses: &client_limits.guesses,
            now,
            client: transaction.record.client.ip(),
            peer: transaction.client,
            bond_lost: transaction.bond_lost,
        };
        let head = &transaction.input.bytes(pool)[..transaction.info.head_bytes];
        let decision = examiner.examine(head, &mut transaction.info, &mut transaction.record, scratch);
        match decision {
            Decision::Forward => {
                if let Some(hash) = transaction.caching.takes_lead.take() {
                    collapses.lead(hash, cache_text, id);
                    transaction.caching.leads = Some(hash);
                }
                self.note_forwarding(id);
                self.forward(now, id);
            }
            Decision::Hit(hit) => {
                if transaction.caching.lock.is_some() {
                    self.release_lock(id, CollapseOutcome::LookAgain);
                }
                self.serve(now, id, &hit);
            }
            Decision::Wait(hash) => self.wait_for_leader(now, id, hash),
            Decision::Answer(answer) => self.answer(now, id, answer),
            Decision::Refuse(refusal) => self.refuse(now, id, refusal),
            Decision::Verify { key, guess, job } => self.begin_verification(now, id, (key, guess), job),
        }
    }

    /// Takes the rewritten head and what has come of the body, and finds an origin for it.
    fn forward(&mut self, now: Now, id: TransactionId) {
        let Engine { transactions, pool, scratch, .. } = self;
        let transaction = &mut transactions[id.index as usize];
        if !transaction.up.head.append(pool, Purpose::Reply, scratch) {
            self.refuse(now, id, Refusal::NoMemory);
            return;
        }
        let (body, client) = (transaction.info.body, transaction.client);
        transaction.up.frame(body, body == Body::Chunked);
        if body != Body::None {
            // It may have gone on sending while nobody could take it: while a password was verified.
            self.wake(client);
        }
        if self.pump_upload(now, id) {
            self.find_origin(now, id);
        }
    }

    /// Sends an answer of weir's own; `scratch` holds the content that `examine` has written.
    fn answer(&mut self, now: Now, id: TransactionId, answer: Answer) {
        self.decide_close(id);
        self.refresh_date(now);
        let Engine { transactions, scratch, date, .. } = self;
        let transaction = &mut transactions[id.index as usize];
        transaction.record.status = 200;
        transaction.record.set_content_type(answer.content_type());
        let content = std::mem::take(scratch);
        let persistence = (transaction.info.version, !transaction.closes);
        answer.write(scratch, &content, std::str::from_utf8(date).unwrap_or(""), persistence);
        self.reply(now, id);
    }

    /// Answers with a refusal; what the origin was to do with the request, or was doing, is ended. If a response is
    /// already on its way, the transaction is aborted instead.
    pub(in crate::engine) fn refuse(&mut self, now: Now, id: TransactionId, refusal: Refusal) {
        let Some(transaction) = self.transaction_mut(id) else { return };
        let caching = &transaction.caching;
        let stale = caching.stale.is_some()
            && refusal.verdict() == Verdict::Failed
            && (caching.if_error || (caching.if_unreachable && refusal.is_disconnection()))
            && !matches!(transaction.stage, Stage::Relaying | Stage::Replying | Stage::CacheReader);
        let sent = transaction.was_sent();
        self.metrics.count_refusal(refusal);
        if stale && self.serve_stale(now, id, None) {
            return;
        }
        let outcome = match refusal {
            // Before anything was sent it is the origin that cannot be had. Afterwards it may be what this request has said
            // that made the origin fail: that is nobody else's failure (cache rule 53).
            Refusal::Dns(_) | Refusal::Connect(_) if !sent => CollapseOutcome::Refused(refusal),
            _ => CollapseOutcome::LookAgain,
        };
        self.conclude_collapse(id, outcome);
        let transaction = &mut self.transactions[id.index as usize];
        transaction.record.verdict = refusal.verdict();
        if transaction.caching.background {
            self.abandon(now, id, refusal.verdict(), refusal.wording().reason);
            return;
        }
        if matches!(transaction.stage, Stage::Relaying | Stage::Replying | Stage::CacheReader) {
            let reason = refusal.wording().reason;
            self.abort(now, id, refusal.verdict(), reason);
            return;
        }
        let transaction = &mut self.transactions[id.index as usize];
        let bound = transaction.origin.is_some()
            && transaction.bond.after(transaction.info.authenticates, false).binds();
        transaction.closes |= bound || !refusal.keeps_connection();
        self.detach_origin(now, id);
        self.decide_close(id);
        self.refresh_date(now);
        let Engine { transactions, scratch, date, .. } = self;
        let transaction = &mut transactions[id.index as usize];
        write_refusal(transaction, std::str::from_utf8(date).unwrap_or(""), refusal, scratch);
        self.reply(now, id);
    }

    /// Whether the connection ends with an answer of weir's own: if the next request could not be found behind what is
    /// left of this one. Once a transaction closes it stays so.
    pub(in crate::engine) fn decide_close(&mut self, id: TransactionId) {
        let draining = self.is_draining();
        let transaction = &mut self.transactions[id.index as usize];
        let info = &transaction.info;
        let left = match info.body {
            Body::None => 0,
            Body::Length(bytes) => bytes.saturating_sub(transaction.up.received),
            Body::Chunked if transaction.up.is_received() && transaction.up.received > 0 => 0,
            Body::Chunked | Body::UntilClose => u64::MAX,
        };
        let ambiguous = left > 0 && transaction.may_wait();
        // What a client sends behind a CONNECT is meant for a tunnel, and may still be on its way (rule 11).
        let refused_tunnel = info.method == Method::Connect;
        if info.keep_alive && left > DISCARD_BYTES_MAX && !transaction.closes {
            self.metrics.limit_discard += 1;
        }
        transaction.closes |=
            draining || !info.keep_alive || left > DISCARD_BYTES_MAX || ambiguous || refused_tunnel;
    }

    /// Sends what `scratch` holds as the final answer.
    fn reply(&mut self, now: Now, id: TransactionId) {
        let Engine { transactions, pool, scratch, .. } = self;
        let transaction = &mut transactions[id.index as usize];
        let client = transaction.client;
        transaction.stage = Stage::Replying;
        transaction.down.frame(Body::None, false);
        if !transaction.down.head.append(pool, Purpose::Reply, scratch) {
            transaction.record.status = 0;
            self.abort(now, id, Verdict::Refused, "buffers_max");
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
        transaction.up.release(pool);
        transaction.up.discards = true;
        transaction.up.frame(rest, false);
        self.deadlines.set(client, now.monotonic_ms(), self.settings.timeouts.exchange_ms);
        if self.pump_upload(now, id) {
            self.wake(client);
        }
    }

    /// Gives back what was kept of the request for a retry: there is an answer now.
    pub(in crate::engine) fn forget_request(&mut self, id: TransactionId) {
        let Engine { transactions, pool, .. } = self;
        let transaction = &mut transactions[id.index as usize];
        transaction.input.consume(pool, transaction.consumed.min(transaction.input.len()));
        transaction.consumed = 0;
    }

    /// Something moved: the time to be silent begins anew. Before there is an origin other deadlines hold, and a response
    /// head that has begun must end within its own time, however it trickles.
    pub(in crate::engine) fn touch(&mut self, now: Now, id: TransactionId) {
        let transaction = &self.transactions[id.index as usize];
        let silence_ms = self.settings.timeouts.exchange_ms;
        let after_ms = match transaction.stage {
            Stage::Awaiting if !transaction.response.is_empty() => {
                silence_ms.min(transaction.head_until_ms.saturating_sub(now.monotonic_ms()))
            }
            Stage::Awaiting | Stage::Relaying | Stage::Replying | Stage::CacheReader => silence_ms,
            Stage::Begun
            | Stage::Verifying
            | Stage::Resolving(_)
            | Stage::Dialling(_)
            | Stage::Waiting(_) => return,
        };
        self.deadlines.set(transaction.client, now.monotonic_ms(), after_ms);
    }

    /// Something happened on the client's side of a transaction.
    pub(in crate::engine) fn handle_transaction_client(&mut self, now: Now, id: TransactionId, event: Event) {
        match event {
            Event::Received(count) => self.handle_upload(now, id, count),
            Event::Spliced(count) => {
                self.touch(now, id);
                let transaction = &mut self.transactions[id.index as usize];
                transaction.up.handle_spliced(count);
                let origin = transaction.origin;
                // Bytes are moved when all that came before has gone on: the client was waited for.
                if self.is_uploading_slowly(now, id) {
                    self.end_slow_upload(now, id);
                    return;
                }
                self.hold_rate(now, id);
                if let Some(origin) = origin {
                    self.wake(origin);
                }
            }
            Event::Sent(count) => {
                self.touch(now, id);
                let Engine { transactions, pool, fills, .. } = self;
                let transaction = &mut transactions[id.index as usize];
                if transaction.reader.is_some() {
                    self.handle_served(now, id, count);
                    return;
                }
                transaction.down.handle_sent(pool, count);
                if transaction.is_read_too_slowly(fills, now) {
                    self.metrics.limit_rate += 1;
                    self.abandon_client(now, id, "min_rate");
                    return;
                }
                if let Some(origin) = transaction.origin {
                    self.wake(origin);
                }
                if self.pump_download(now, id) {
                    self.try_settle(now, id);
                }
            }
            Event::EndOfStream => {
                // Asked for only while the request's body is incomplete.
                if !self.finish_answered(now, id) {
                    self.abandon(now, id, Verdict::Malformed, "client_closed");
                }
            }
            Event::SendFailed(_) | Event::Failed(_) => {
                self.abandon_client(now, id, "client_reset");
            }
            Event::Connected => {}
        }
    }
}
