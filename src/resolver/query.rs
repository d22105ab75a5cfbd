//! One question: the addresses of one family for one name, with retries.
//!
//! Theory of operation. A question has one query under way at a time. The end of a query decides what follows:
//!
//! - an answer, with or without addresses: the question ends;
//! - an alias that leaves the message: the question continues with the target, from the first server again;
//! - a truncated reply: the same server over TCP; if no server answers completely, the truncated reply is the answer;
//! - a reply whose letters have another case than those of the query: the same server over TCP, where the case does not count.
//!   If it does not repeat the case there either, its queries have no random case for a while;
//! - FORMERR or NOTIMP to a query with EDNS: the same server without EDNS;
//! - SERVFAIL, REFUSED, a malformed reply, a refused port: the next server of the round;
//! - no reply in time: the next server, and all questions use this server last. If forged replies arrived meanwhile,
//!   the same server is queried over TCP instead, which a forger cannot reach.
//!
//! A round asks each server once. Another round begins if a query of the last one got no reply, and once after a
//! SERVFAIL, which may have been temporary (a forwarder whose own query was lost sends it); other answers would be
//! the same again. Each query has its own id and socket.

use std::collections::VecDeque;
use std::hash::Hasher;
use std::net::{IpAddr, SocketAddr};

use siphasher::sip::SipHasher24;

use super::message::{self, Family, Reply, SentQuery, WireName};
use super::settings::Settings;
use super::table::{Choice, Servers, bit};
use super::{Action, Counters, Failure, QueryId, Transport};
use crate::net::Keyed;

/// How long a query waits for a server that was down, while others are live. Chosen.
const PROBE_US: u64 = 500_000;
/// Longest time that the addresses of a truncated reply are kept, in seconds. Chosen: as where one family is missing.
const TRUNCATED_TTL_S_MAX: u32 = 60;
/// Forged replies after which a query moves to TCP (RFC 5452 section 9.3). Chosen: noise stays below it, guessing an
/// id of 16 bits needs thousands.
const MISMATCHES_MAX: u8 = 32;

/// The state that all questions share: servers, actions, counters, ids.
pub(super) struct Upstream {
    pub(super) settings: Settings,
    pub(super) servers: Servers,
    pub(super) actions: VecDeque<Action>,
    pub(super) counters: Counters,
    /// Servers that were found silent since the last check: a set by index.
    pub(super) newly_down: u16,
    random: Random,
    serial: u64,
}

impl Upstream {
    pub(super) fn new(settings: Settings, seed: [u64; 2]) -> Upstream {
        Upstream {
            servers: Servers::new(&settings.servers, None),
            settings,
            actions: VecDeque::new(),
            counters: Counters::default(),
            newly_down: 0,
            random: Random(seed),
            serial: 0,
        }
    }

    /// A number that is never used again.
    pub(super) fn next_serial(&mut self) -> u64 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }

    pub(super) fn keyed(&self) -> Keyed {
        Keyed::new([self.random.word(0, 0), self.random.word(0, 1)])
    }

    /// The first server of a look-up.
    pub(super) fn first_server(&self, look_up_serial: u64) -> usize {
        // The serial itself would not do: look-ups and queries share the numbers, and their steps may be a multiple
        // of the count.
        let count = self.servers.count().max(1) as u64;
        if self.settings.rotate { (self.random.word(look_up_serial, 6) % count) as usize } else { 0 }
    }

    fn case_bits(&self, serial: u64) -> [u64; 4] {
        [2, 3, 4, 5].map(|word| self.random.word(serial, word))
    }
}

/// A keyed pseudo-random function: without the key the next id cannot be predicted from earlier ones.
struct Random([u64; 2]);

impl Random {
    fn word(&self, serial: u64, word: u64) -> u64 {
        let mut hasher = SipHasher24::new_with_keys(self.0[0], self.0[1]);
        hasher.write_u64(serial);
        hasher.write_u64(word);
        hasher.finish()
    }

    fn id(&self, serial: u64) -> u16 {
        (self.word(serial, 1) & 0xffff) as u16
    }
}

/// One question.
pub(super) struct Question {
    pub(super) state: State,
    family: Family,
    /// Slot of the look-up, a part of the ids of queries.
    slot: u16,
    first_server: usize,
    /// The queried name: the candidate, or the target of its CNAME chain.
    owner: WireName,
    links: u8,
    /// Least TTL of the chain so far.
    ttl_s: u32,
    /// The targets of CNAMEs, if the settings want them.
    pub(super) aliases: Vec<WireName>,
    /// The answer of a truncated reply.
    truncated: Option<TruncatedAnswer>,
}

struct TruncatedAnswer {
    addresses: Vec<IpAddr>,
    ttl_s: u32,
    aliases: Vec<WireName>,
}

pub(super) enum State {
    Pending(PendingQuery),
    Found {
        addresses: Vec<IpAddr>,
        ttl_s: u32,
    },
    /// No addresses, with the TTL of the zone's SOA, if there was one.
    Missing {
        failure: Failure,
        ttl_s: Option<u32>,
    },
}

/// A query under way.
#[derive(Clone, Copy)]
pub(super) struct PendingQuery {
    query: QueryId,
    attempt: Attempt,
    round: Round,
    mismatches: u8,
    sent_us: u64,
    deadline_us: u64,
}

#[derive(Clone, Copy)]
struct Attempt {
    server: u8,
    address: SocketAddr,
    transport: Transport,
    edns: bool,
    /// The case of its letters is random.
    mixed: bool,
    probe: bool,
}

/// Progress of a question among the servers.
#[derive(Clone, Copy, Default)]
struct Round {
    number: u8,
    /// Servers that were queried: a set by index.
    tried: u16,
    /// A query of this round got no reply.
    lost: bool,
    /// A server of this round answered SERVFAIL.
    failed: bool,
    /// The failure to report in the end: a time-out only if nothing else happened.
    failure: Option<Failure>,
}

impl Question {
    /// Sends the first query.
    pub(super) fn new(
        now_us: u64,
        upstream: &mut Upstream,
        (slot, first_server): (u16, usize),
        family: Family,
        owner: WireName,
    ) -> Question {
        let state = State::Missing { failure: Failure::ServerFailure, ttl_s: None };
        let (links, ttl_s, aliases, truncated) = (0, u32::MAX, Vec::new(), None);
        let mut question =
            Question { state, family, slot, first_server, owner, links, ttl_s, aliases, truncated };
        question.ask_next_server(now_us, upstream, Round::default());
        question
    }

    pub(super) fn is_pending(&self) -> bool {
        matches!(self.state, State::Pending(_))
    }

    /// The deadline in microseconds; `None` if the question has ended.
    pub(super) fn deadline_us(&self) -> Option<u64> {
        match &self.state {
            State::Pending(pending) => Some(pending.deadline_us),
            State::Found { .. } | State::Missing { .. } => None,
        }
    }

    pub(super) fn awaits(&self, query: QueryId) -> bool {
        self.pending(query).is_some()
    }

    fn pending(&self, query: QueryId) -> Option<PendingQuery> {
        match self.state {
            State::Pending(pending) if pending.query == query => Some(pending),
            State::Pending(_) | State::Found { .. } | State::Missing { .. } => None,
        }
    }

    /// Handles a message that arrived on the socket of `query`.
    pub(super) fn handle_reply(
        &mut self,
        now_us: u64,
        upstream: &mut Upstream,
        query: QueryId,
        message: &[u8],
    ) {
        let Some(pending) = self.pending(query) else { return };
        let sent = self.sent_query(upstream, query, pending.attempt);
        let (reply, has_letters) = (message::read_reply(message, &sent), sent.has_letters(message));
        if reply == Reply::Mismatched {
            self.handle_mismatch(now_us, upstream, pending);
            return;
        }
        upstream.servers.record_reply(now_us, pending.attempt.server);
        self.cancel(upstream);
        // A reply without the question may be among those to queries that were not understood.
        if pending.attempt.transport == Transport::Tcp && !has_letters && reply != Reply::NotUnderstood {
            upstream.servers.stop_mixing(now_us, pending.attempt.server);
        }
        let ttl_s = self.ttl_s;
        let with_chain = |negative_ttl_s: u32| negative_ttl_s.min(ttl_s);
        match reply {
            Reply::Mismatched => {}
            Reply::OtherCase => {
                upstream.counters.mismatched += 1;
                self.ask_over_tcp(now_us, upstream, pending);
            }
            Reply::Truncated { addresses, ttl_s, aliases } => {
                upstream.counters.truncated += 1;
                if !addresses.is_empty() {
                    let ttl_s = with_chain(ttl_s).min(TRUNCATED_TTL_S_MAX);
                    self.truncated = Some(TruncatedAnswer { addresses, ttl_s, aliases });
                }
                match pending.attempt.transport {
                    Transport::Udp => self.ask_over_tcp(now_us, upstream, pending),
                    Transport::Tcp => self.fail_server(now_us, upstream, pending, Failure::Malformed),
                }
            }
            Reply::NotUnderstood if pending.attempt.edns => {
                upstream.servers.disable_edns(now_us, pending.attempt.server);
                let attempt = Attempt { edns: false, ..pending.attempt };
                self.ask_again(now_us, upstream, pending.round, attempt);
            }
            Reply::ServerFailure => {
                let round = Round { failed: true, ..pending.round };
                self.fail_server(now_us, upstream, PendingQuery { round, ..pending }, Failure::ServerFailure);
            }
            Reply::NotUnderstood | Reply::Refused => {
                self.fail_server(now_us, upstream, pending, Failure::ServerFailure);
            }
            Reply::Malformed => self.fail_server(now_us, upstream, pending, Failure::Malformed),
            Reply::ChainTooLong => self.end_missing(Failure::Malformed, None),
            Reply::Found { addresses, ttl_s, aliases } => {
                self.state = State::Found { addresses, ttl_s: with_chain(ttl_s) };
                self.note_aliases(upstream, &aliases);
            }
            Reply::Alias { aliases, links, ttl_s } => {
                self.owner = aliases.last().copied().unwrap_or(self.owner);
                self.note_aliases(upstream, &aliases);
                self.links = links;
                self.truncated = None;
                self.ttl_s = with_chain(ttl_s);
                self.ask_next_server(now_us, upstream, Round::default());
            }
            Reply::NoSuchName { ttl_s } => self.end_missing(Failure::NotFound, ttl_s.map(with_chain)),
            Reply::NoSuchRecord { ttl_s } => self.end_missing(Failure::NoAddress, ttl_s.map(with_chain)),
        }
    }

    /// Over UDP, keeps waiting, because the true reply may still arrive; many such messages are an attack. A TCP connection
    /// carries one query, so the server itself sent the message.
    fn handle_mismatch(&mut self, now_us: u64, upstream: &mut Upstream, mut pending: PendingQuery) {
        upstream.counters.mismatched += 1;
        pending.mismatches = pending.mismatches.saturating_add(1);
        self.state = State::Pending(pending);
        match pending.attempt.transport {
            Transport::Tcp => {
                self.cancel(upstream);
                self.fail_server(now_us, upstream, pending, Failure::Malformed);
            }
            Transport::Udp if pending.mismatches >= MISMATCHES_MAX => {
                self.cancel(upstream);
                self.ask_over_tcp(now_us, upstream, pending);
            }
            Transport::Udp => {}
        }
    }

    /// Handles the failure of the socket of `query`.
    pub(super) fn handle_failure(&mut self, now_us: u64, upstream: &mut Upstream, query: QueryId) {
        let Some(pending) = self.pending(query) else { return };
        self.cancel(upstream);
        if pending.attempt.transport == Transport::Udp {
            // A refused port counts as silence, known at once.
            self.note_silent(now_us, upstream, pending);
        }
        self.fail_server(now_us, upstream, pending, Failure::ServerFailure);
    }

    /// No socket could be opened for `query`. No other server would help.
    pub(super) fn handle_shortage(&mut self, upstream: &mut Upstream, query: QueryId) {
        if self.awaits(query) {
            self.cancel(upstream);
            if !self.accept_truncated(upstream) {
                self.end_missing(Failure::Exhausted, None);
            }
        }
    }

    /// Continues if the query's deadline has passed.
    pub(super) fn handle_timeout(&mut self, now_us: u64, upstream: &mut Upstream) {
        let State::Pending(mut pending) = self.state else { return };
        if now_us < pending.deadline_us {
            return;
        }
        upstream.counters.timeouts += 1;
        self.cancel(upstream);
        match pending.attempt.transport {
            Transport::Udp if pending.mismatches > 0 => {
                self.ask_over_tcp(now_us, upstream, pending);
                return;
            }
            Transport::Udp => self.note_silent(now_us, upstream, pending),
            Transport::Tcp => {}
        }
        pending.round.lost = true;
        self.fail_server(now_us, upstream, pending, Failure::Timeout);
    }

    /// Another question found these servers silent: leaves them if a live one remains.
    pub(super) fn leave_down_servers(&mut self, now_us: u64, upstream: &mut Upstream, down: u16) {
        let State::Pending(mut pending) = self.state else { return };
        let waits = down & bit(usize::from(pending.attempt.server)) != 0;
        if waits
            && pending.attempt.transport == Transport::Udp
            && upstream.servers.any_live(pending.round.tried)
        {
            self.cancel(upstream);
            pending.round.lost = true;
            self.fail_server(now_us, upstream, pending, Failure::Timeout);
        }
    }

    /// Ends the question; the shell closes the socket.
    pub(super) fn cancel(&mut self, upstream: &mut Upstream) {
        if let State::Pending(pending) = self.state {
            upstream.actions.push_back(Action::Cancel(pending.query));
            self.end_missing(Failure::Timeout, None);
        }
    }

    /// Ends the question for lack of time: a truncated answer is the result.
    pub(super) fn expire(&mut self, upstream: &mut Upstream) {
        if self.is_pending() {
            self.cancel(upstream);
            self.accept_truncated(upstream);
        }
    }

    /// Whether a truncated answer became the result.
    fn accept_truncated(&mut self, upstream: &Upstream) -> bool {
        let Some(TruncatedAnswer { addresses, ttl_s, aliases }) = self.truncated.take() else { return false };
        self.state = State::Found { addresses, ttl_s };
        self.note_aliases(upstream, &aliases);
        true
    }

    fn note_aliases(&mut self, upstream: &Upstream, aliases: &[WireName]) {
        if upstream.settings.aliases {
            self.aliases.extend_from_slice(aliases);
        }
    }

    fn end_missing(&mut self, failure: Failure, ttl_s: Option<u32>) {
        self.state = State::Missing { failure, ttl_s };
    }

    fn note_silent(&self, now_us: u64, upstream: &mut Upstream, pending: PendingQuery) {
        if upstream.servers.record_silence(now_us, pending.attempt.server, pending.sent_us) {
            upstream.newly_down |= bit(usize::from(pending.attempt.server));
        }
    }

    /// This server is of no use: sends the query to the next server.
    fn fail_server(&mut self, now_us: u64, upstream: &mut Upstream, pending: PendingQuery, failure: Failure) {
        let mut round = pending.round;
        round.failure = match round.failure {
            None | Some(Failure::Timeout) => Some(failure),
            Some(earlier) => Some(earlier),
        };
        self.ask_next_server(now_us, upstream, round);
    }

    fn ask_next_server(&mut self, now_us: u64, upstream: &mut Upstream, mut round: Round) {
        let mut choice = upstream.servers.choose(now_us, self.first_server, round.tried);
        let next = round.number.saturating_add(1);
        let again = round.lost || (round.failed && round.number == 0);
        if choice.is_none() && again && next < upstream.settings.attempts {
            round = Round { number: next, failure: round.failure, ..Round::default() };
            choice = upstream.servers.choose(now_us, self.first_server, round.tried);
        }
        let Some(Choice { server, address, edns, mixed, probe }) = choice else {
            if self.accept_truncated(upstream) {
                return;
            }
            self.end_missing(round.failure.unwrap_or(Failure::ServerFailure), None);
            return;
        };
        // The server may have dropped the lost query because of its EDNS.
        let edns = edns && round.number == 0;
        let mixed = mixed && upstream.settings.case_randomised;
        let attempt = Attempt { server, address, transport: Transport::Udp, edns, mixed, probe };
        let again = round.tried != 0 || round.number != 0;
        round.tried |= bit(usize::from(server));
        if again {
            self.ask_again(now_us, upstream, round, attempt);
        } else {
            self.ask(now_us, upstream, round, attempt);
        }
    }

    fn ask_over_tcp(&mut self, now_us: u64, upstream: &mut Upstream, pending: PendingQuery) {
        let attempt = Attempt { transport: Transport::Tcp, probe: false, ..pending.attempt };
        self.ask_again(now_us, upstream, pending.round, attempt);
    }

    fn ask_again(&mut self, now_us: u64, upstream: &mut Upstream, round: Round, attempt: Attempt) {
        upstream.counters.retries += 1;
        self.ask(now_us, upstream, round, attempt);
    }

    fn ask(&mut self, now_us: u64, upstream: &mut Upstream, round: Round, attempt: Attempt) {
        let query = QueryId::new(upstream.next_serial(), self.slot, self.family);
        let message = self.sent_query(upstream, query, attempt).write();
        let Attempt { address, transport, probe, .. } = attempt;
        upstream.counters.queries += 1;
        upstream.actions.push_back(Action::Send { query, server: address, transport, message });
        let timeout_us = u64::from(upstream.settings.timeout_ms) * 1000;
        let deadline_us = now_us.saturating_add(if probe { timeout_us.min(PROBE_US) } else { timeout_us });
        self.state = State::Pending(PendingQuery {
            query,
            attempt,
            round,
            mismatches: 0,
            sent_us: now_us,
            deadline_us,
        });
    }

    /// The content of a query; its id and the case of its letters follow from its serial number.
    fn sent_query(&self, upstream: &Upstream, query: QueryId, attempt: Attempt) -> SentQuery<'_> {
        let Attempt { transport, edns, mixed, .. } = attempt;
        SentQuery {
            id: upstream.random.id(query.serial()),
            owner: &self.owner,
            family: self.family,
            case_bits: mixed.then(|| upstream.case_bits(query.serial())),
            transport,
            edns,
            links: self.links,
        }
    }
}
