//! One request and its response: begun, refused, settled.
//!
//! | stage of a [`Transaction`] | left when |
//! | --- | --- |
//! | `Begun` | the phases have decided: wait, forward, begin a hit, or respond |
//! | `Verifying`, `AskingStore`, `Throttled`, `Collecting` | the awaited result is there: the request is examined again (`Begun`) |
//! | `AwaitingLeader` | the leader of the key has a result, or takes too long: the request is examined again (`Begun`) |
//! | `Connecting` | the connect has a connection (`Awaiting`), or has failed (`Replying`) |
//! | `Awaiting` | the final head has arrived: `Relaying`, or `ReadingCache` if it is stored; a request sent again begins anew |
//! | `Relaying`, `Replying`, `ReadingCache` | both directions are done (settled), or one cannot continue (aborted, abandoned) |

pub(in crate::engine) mod answer;
mod answer_page;
pub(in crate::engine) mod calling;
pub(in crate::engine) mod collecting;
pub(in crate::engine) mod edits;
pub(in crate::engine) mod examine;
pub(in crate::engine) mod guarding;
pub mod log_record;
pub(in crate::engine) mod machine;
pub(in crate::engine) mod noting;
pub(in crate::engine) mod page;
pub(in crate::engine) mod page_progress;
pub(in crate::engine) mod parts;
mod protecting;
pub(in crate::engine) mod purge;
pub(in crate::engine) mod refusal;
pub(in crate::engine) mod reports;
pub(in crate::engine) mod request;
pub(in crate::engine) mod response;
pub(in crate::engine) mod response_fields;
mod routing;
pub(in crate::engine) mod settle;
pub(in crate::engine) mod store_wait;
pub(in crate::engine) mod throttle_wait;
pub(in crate::engine) mod timings;
pub(in crate::engine) mod upload;
pub(in crate::engine) mod verification;

use crate::engine::body::outgoing::Outgoing;
use crate::engine::body::relay::Relay;
use crate::engine::cache::fill::Fill;
use crate::engine::cache::state::Caching;
use crate::engine::connections::UpstreamState;
use crate::engine::context::Context;
use crate::engine::ids::{ConnectId, PeerId, StoreJob, TransactionId};
use crate::engine::settings::{HEADROOM_BYTES, Settings};
use crate::engine::upstream::Attached;
use crate::engine::upstream::routing::Routing;
use crate::guard::headers::{Additions, Author};
use crate::http::head::Message;
use crate::http::reply::accepts_html;
use crate::net::{BLOCK_BYTES, Linear, Pool, Purpose, Space};
use crate::policy::Policy;
use crate::time::Now;
use log_record::LogRecord;
use parts::{Incoming, Rates, Repeat, Since, UpstreamUse};
use request::{Method, RequestInfo};
use response_fields::{GuardedAnswer, ResponseFields};
use slab::Slab;
use std::sync::Arc;

/// The stage of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Stage {
    /// Being examined.
    Begun,
    /// The password is being verified off the loop.
    Verifying,
    /// Waits for the store that counts the request.
    AskingStore(StoreJob),
    /// Waits for more of the body, which is read before the decision about the request.
    Collecting,
    /// Waits because its client has broken a behaviour rule and its requests are delayed.
    Throttled,
    /// The name is being looked up, or connections to the origin are being tried.
    Connecting(ConnectId),
    /// The origin has received the request, or receives it; no final response yet.
    Awaiting,
    /// The response is on its way through.
    Relaying,
    /// weir's own answer is on its way.
    Replying,
    /// Waits for another request with the same key; contains the hash of the key.
    AwaitingLeader(u64),
    /// A response from the cache, or from a fill, is being sent.
    ReadingCache,
}

/// One request and its response.
#[derive(Debug)]
pub(in crate::engine) struct Transaction {
    pub serial: u32,
    pub client: PeerId,
    pub upstream: Option<PeerId>,
    pub stage: Stage,
    pub info: RequestInfo,
    /// The policy it began with.
    pub policy: Arc<Policy>,
    /// The settings at the begin: an accepted request is not measured by later limits. Only time-outs are the present ones.
    pub settings: Arc<Settings>,
    /// From client to origin.
    pub up: Relay,
    /// From origin to client.
    pub down: Relay,
    pub rates: Rates,
    /// Received bytes of the client that are not part of a body yet: the head, and those received with it.
    pub input: Linear,
    /// Bytes at the front of `input` that are done with, or kept for a retry only: the head, and the forwarded part
    /// of the body behind it.
    pub consumed: usize,
    /// Received bytes of the origin that are not part of a body yet.
    pub response: Linear,
    /// The heads of responses.
    pub incoming: Incoming,
    /// The head at the front of `input`, once it has been read.
    pub request_head: Message,
    pub record: Box<LogRecord>,
    pub since: Since,
    /// The client connection ends with this transaction.
    pub closes: bool,
    /// The client takes the close for the end of the response, so a truncation must be a reset.
    pub ends_at_close: bool,
    /// The state of the upstream connection.
    pub upstream_use: UpstreamUse,
    /// Whether the request can be sent once more.
    pub repeat: Repeat,
    /// The routing, if the request is for the gateway.
    pub routing: Option<Routing>,
    /// The state in the cache.
    pub caching: Caching,
    /// The guard's part of the response.
    pub guarded: GuardedAnswer,
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
            upstream: None,
            stage: Stage::Begun,
            info: RequestInfo::unknown(0),
            policy,
            settings,
            up: Relay::new(Purpose::Upload),
            down: Relay::new(Purpose::Download),
            input: Linear::default(),
            consumed: 0,
            response: Linear::default(),
            request_head: Message::new(),
            record,
            closes: false,
            ends_at_close: false,
            routing: None,
            since: Since::default(),
            rates: Rates::default(),
            incoming: Incoming::new(),
            upstream_use: UpstreamUse::default(),
            repeat: Repeat::default(),
            caching: Caching::default(),
            guarded: GuardedAnswer::default(),
        }
    }

    /// Makes a used transaction a new one, of which only the length of the head is known. Policy and settings are the present
    /// ones already, the caller resets the record, and routing and guard were emptied when the transaction was retired.
    fn begin(&mut self, serial: u32, client: PeerId, head_bytes: usize, now: Now) {
        let Transaction {
            serial: own_serial,
            client: own_client,
            upstream,
            stage,
            info,
            policy: _,
            settings: _,
            up,
            down,
            input,
            consumed,
            response,
            request_head,
            record: _,
            closes,
            ends_at_close,
            routing: _,
            since,
            rates,
            incoming,
            upstream_use,
            repeat,
            caching,
            guarded: _,
        } = self;
        debug_assert!(input.is_empty() && response.is_empty() && !up.wants_send() && !down.wants_send());
        (*own_serial, *own_client, *upstream, *stage) = (serial, client, None, Stage::Begun);
        info.reset(head_bytes);
        (*rates, *upstream_use, *repeat) = (Rates::default(), UpstreamUse::default(), Repeat::default());
        request_head.clear();
        incoming.clear();
        up.reset(Purpose::Upload);
        down.reset(Purpose::Download);
        *since = Since { began_us: now.monotonic_us, phase_us: now.monotonic_us };
        (*consumed, *closes, *ends_at_close) = (head_bytes, false, false);
        caching.reset();
    }

    /// The further fields of a response that has these fields; `None` if no gateway was asked.
    pub fn additions<'a, 'n>(
        &'a self,
        author: Author,
        fields: impl Iterator<Item = (&'n str, &'n [u8])>,
    ) -> Option<Additions<'a>> {
        Some(self.guarded.response_fields.as_ref()?.additions(&self.settings, author, fields))
    }

    /// Records which format the reader of a refusal accepts: before a response the head of the request is still in memory.
    pub fn note_reader(&mut self, pool: &Pool) {
        let head = self.request_head.request(self.input.bytes(pool));
        self.info.html = head.is_some_and(|head| accepts_html(head.fields));
    }

    /// The line Set-Cookie of weir's own.
    pub fn cookie(&self) -> &[u8] {
        self.guarded.response_fields.as_ref().map_or(b"", ResponseFields::cookie)
    }

    /// Whether more of the request's body can be received; bytes received with the head go first.
    pub fn wants_upload(&self) -> bool {
        matches!(self.stage, Stage::Collecting)
            || (self.up.wants_bytes() && self.input.len() <= self.consumed)
    }

    /// Whether more of the response can be received. Interim responses that the client does not read stop the origin.
    pub fn wants_download(&self) -> bool {
        match self.stage {
            Stage::Awaiting => self.down.head.len() < BLOCK_BYTES,
            // After a complete response the origin may still read; anything that it sends ends the transaction.
            Stage::Relaying if self.down.is_received() => !self.up.is_complete(),
            Stage::Relaying => self.response.is_empty() && self.down.wants_bytes(),
            Stage::Begun
            | Stage::Verifying
            | Stage::AskingStore(_)
            | Stage::Throttled
            | Stage::Collecting
            | Stage::Connecting(_)
            | Stage::Replying
            | Stage::AwaitingLeader(_)
            | Stage::ReadingCache => false,
        }
    }

    /// Whether the response is not received in full: the origin's bytes are read, now or later.
    pub fn awaits_response(&self) -> bool {
        match self.stage {
            Stage::Awaiting => true,
            Stage::Relaying => !self.down.is_received() && !self.down.is_truncated(),
            Stage::Begun
            | Stage::Verifying
            | Stage::AskingStore(_)
            | Stage::Throttled
            | Stage::Collecting
            | Stage::Connecting(_)
            | Stage::Replying
            | Stage::AwaitingLeader(_)
            | Stage::ReadingCache => false,
        }
    }

    /// Whether the client has read too few of the bytes that wait for it.
    pub fn is_read_too_slowly(&mut self, fills: &Slab<Fill>, now: Now) -> bool {
        if !self.wants_send(fills) {
            self.rates.down.forget();
            return false;
        }
        self.rates.down.is_below(self.settings.rate(), now.monotonic_ms(), self.down.sent)
    }

    /// Whether bytes must be sent to the client.
    pub fn wants_send(&self, fills: &Slab<Fill>) -> bool {
        self.down.wants_send() || self.caching.reader().is_some_and(|reader| reader.wants_send(fills))
    }

    /// The bytes to send to the client next.
    pub fn outgoing<'s>(&'s mut self, pool: &'s mut Pool, fills: &'s Slab<Fill>) -> Outgoing<'s> {
        match self.caching.reader_mut() {
            Some(reader) => reader.outgoing(&self.down, pool, fills),
            None => self.down.outgoing(pool),
        }
    }

    /// Whether the whole answer was sent.
    pub fn is_answered(&self, fills: &Slab<Fill>) -> bool {
        self.down.is_complete()
            && self.response.is_empty()
            && self.caching.reader().is_none_or(|reader| reader.is_done(fills))
    }

    pub fn download_space<'p>(
        &'p mut self,
        pool: &'p mut Pool,
        discard_buffer: &'p mut [u8],
    ) -> Option<Space<'p>> {
        match self.stage {
            Stage::Relaying if self.down.is_received() => Some(Space::one(discard_buffer)),
            Stage::Awaiting if self.is_unasked() => Some(Space::one(discard_buffer)),
            Stage::Relaying => self.down.space(pool),
            Stage::Begun
            | Stage::Verifying
            | Stage::AskingStore(_)
            | Stage::Throttled
            | Stage::Collecting
            | Stage::Connecting(_)
            | Stage::Awaiting
            | Stage::Replying
            | Stage::AwaitingLeader(_)
            | Stage::ReadingCache => {
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

    /// Nothing of the request was sent on a connection that carried others before: bytes of the origin are no response to it
    /// (rule 33). On a new one they can be: a server that is busy says so at once (rule 35).
    pub fn is_unasked(&self) -> bool {
        matches!(self.stage, Stage::Awaiting) && self.up.sent == 0 && self.record.origin_reused
    }

    /// Whether an origin may have seen any of the request.
    fn was_sent(&self) -> bool {
        self.upstream.is_some() || self.repeat.done || self.caching.unconditional
    }

    /// Whether the client may wait for a 100. After a final response it may send the body nevertheless, or not: the
    /// next bytes are ambiguous (rule 30).
    pub fn may_wait(&self) -> bool {
        self.info.expects_continue && self.up.received == 0
    }

    /// Whether the origin is next to act, if there is no final response yet: the client has sent all, more of it could be sent to
    /// the origin, or the client waits for the origin's 100.
    pub fn awaits_origin(&self) -> bool {
        self.up.is_received() || self.up.wants_send() || self.may_wait()
    }

    /// Whether the side that is next to act could not be read for lack of memory.
    pub fn is_parked(&self, cx: &Context) -> bool {
        let origin = self.upstream.filter(|_| self.awaits_origin());
        cx.connections.is_parked(origin.unwrap_or(self.client))
    }

    /// Whether an answer is on its way to the client.
    pub fn is_answering(&self) -> bool {
        match self.stage {
            Stage::Relaying | Stage::Replying | Stage::ReadingCache => true,
            Stage::Begun
            | Stage::Verifying
            | Stage::AskingStore(_)
            | Stage::Throttled
            | Stage::Collecting
            | Stage::Connecting(_)
            | Stage::Awaiting
            | Stage::AwaitingLeader(_) => false,
        }
    }

    /// Restarts the time-out for silence. Before there is an origin other deadlines apply, and a response head that has begun
    /// must end within its own time, however slowly it arrives.
    pub fn restart_timeout(&self, cx: &mut Context) {
        let silence_ms = cx.settings.timeouts.exchange_ms;
        let after_ms = match self.stage {
            Stage::Awaiting if !self.response.is_empty() => {
                silence_ms.min(self.incoming.until_ms.saturating_sub(cx.now_ms()))
            }
            Stage::Awaiting | Stage::Relaying | Stage::Replying | Stage::ReadingCache => silence_ms,
            Stage::Begun
            | Stage::Verifying
            | Stage::AskingStore(_)
            | Stage::Throttled
            | Stage::Collecting
            | Stage::Connecting(_)
            | Stage::AwaitingLeader(_) => {
                return;
            }
        };
        cx.set_timer(self.client, after_ms);
    }

    /// Whether no idle connection may be used: one has failed already, or the connection becomes a tunnel, or it will be
    /// authenticated and must be unused.
    pub fn needs_fresh(&self) -> bool {
        let info = &self.info;
        info.method == Method::Connect || info.upgrade || info.authenticates || self.repeat.done
    }

    /// Takes the connection that was found; the request can be sent.
    pub fn attach(&mut self, cx: &mut Context, id: TransactionId, attached: Attached) {
        let Attached { connection, opened_ms, reused, pinning, grant } = attached;
        cx.metrics.origins_reused += u64::from(reused);
        let repeatable = self.can_be_repeated();
        let may_go_again = reused || self.has_more_upstreams();
        self.repeat.keeps_body = may_go_again && repeatable && !self.up.is_received();
        self.repeat.looks_first = reused && !repeatable;
        let of = &mut self.upstream_use;
        (of.pinning, of.opened_ms, of.grant, of.broken) = (pinning, opened_ms, grant, false);
        cx.connections.set_upstream(connection, UpstreamState::Busy(id));
        self.record.upstream = cx.connections.address(connection);
        self.note_allowing_rule(Some(grant), self.record.upstream, &mut cx.scratch);
        self.record.origin_reused = reused;
        self.upstream = Some(connection);
        (self.stage, self.since.phase_us) = (Stage::Awaiting, cx.now.monotonic_us);
        self.record.waits.ttfb_us = None;
        self.caching.requested_s = cx.now.unix_s();
        cx.timers.clear(connection);
        cx.set_timer(self.client, cx.settings.timeouts.exchange_ms);
        cx.wake(connection);
    }
}
