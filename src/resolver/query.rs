//! One question: the addresses of one family of one name, asked until somebody says.
//!
//! Theory of operation. A question sends one query at a time. What ends a query decides what comes next:
//!
//! - an answer, with addresses or without: the question is over;
//! - an alias that leaves the message: the question goes on with the target, from the first server again;
//! - a truncated reply: the same server over TCP; if nobody answers in full, what came is the answer;
//! - FORMERR or NOTIMP to a query with EDNS: the same server without it;
//! - SERVFAIL, REFUSED, nonsense, a refused port: the next server of the round;
//! - no reply in time: the next server, and this one is put last for everybody. If forged replies came meanwhile
//!   it is asked over TCP instead, which they cannot reach.
//!
//! A round asks every server once. Another round begins if a query of the last one got lost, and once after a SERVFAIL,
//! which may have been about a moment (a forwarder that lost its own query says so): other answers would be the same again.
//! Every query has an id and a socket of its own.

use std::collections::VecDeque;
use std::hash::Hasher;
use std::net::{IpAddr, SocketAddr};

use siphasher::sip::SipHasher24;

use super::message::{self, Asked, Family, Reply, WireName};
use super::settings::Settings;
use super::table::{Choice, Keyed, Servers, bit};
use super::{Action, Counters, Failure, QueryId, Transport};

/// How long a server that was down is waited for while others are live. Chosen.
const PROBE_US: u64 = 500_000;
/// Most time that the addresses of a reply are kept that was cut off, seconds. Chosen: as where one family is missing.
const CUT_OFF_TTL_S_MAX: u32 = 60;
/// Forged replies after which a query is moved to TCP (RFC 5452 section 9.3). Chosen: noise stays below it,
/// guessing an id of 16 bits needs thousands.
const MISMATCHES_MAX: u8 = 32;

/// What all questions share: whom they ask, and where their queries go.
pub(super) struct Upstream {
    pub(super) settings: Settings,
    pub(super) servers: Servers,
    pub(super) actions: VecDeque<Action>,
    pub(super) counters: Counters,
    /// Servers that were found silent since somebody last looked: a set by index.
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

    /// A number that never comes again.
    pub(super) fn next_serial(&mut self) -> u64 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }

    pub(super) fn keyed(&self) -> Keyed {
        Keyed([self.random.word(0, 0), self.random.word(0, 1)])
    }

    /// Where a look-up starts among the servers.
    pub(super) fn first_server(&self, look_up_serial: u64) -> usize {
        // Not the serial itself: look-ups and queries share the numbers, in steps that may fit the count.
        let count = self.servers.count().max(1) as u64;
        if self.settings.rotate { (self.random.word(look_up_serial, 6) % count) as usize } else { 0 }
    }

    fn cases(&self, serial: u64) -> Option<[u64; 4]> {
        let words = || [2, 3, 4, 5].map(|word| self.random.word(serial, word));
        self.settings.case_randomised.then(words)
    }
}

/// A keyed pseudo-random function: who does not know the key cannot tell the next id from those before.
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
    /// Slot of the look-up, part of the ids of queries.
    slot: u16,
    first_server: usize,
    /// The name that is asked for now: the candidate, or where its chain has led.
    owner: WireName,
    links: u8,
    /// Least TTL of the chain so far.
    ttl_s: u32,
    /// Names that CNAMEs have led to, if they are wanted.
    pub(super) aliases: Vec<WireName>,
    /// What came of a reply that was cut off.
    cut_off: Option<CutOff>,
}

struct CutOff {
    addresses: Vec<IpAddr>,
    ttl_s: u32,
    aliases: Vec<WireName>,
}

pub(super) enum State {
    Asking(Asking),
    Found {
        addresses: Vec<IpAddr>,
        ttl_s: u32,
    },
    /// No addresses. The TTL is that of the zone's SOA, if it was told.
    Missing {
        failure: Failure,
        ttl_s: Option<u32>,
    },
}

/// A query that is under way.
#[derive(Clone, Copy)]
pub(super) struct Asking {
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
    probe: bool,
}

/// How far a question has come with the servers.
#[derive(Clone, Copy, Default)]
struct Round {
    number: u8,
    /// Servers that were asked: a set by index.
    tried: u16,
    /// A query of this round got no reply.
    lost: bool,
    /// A server of this round said SERVFAIL.
    failed: bool,
    /// What to report if nobody answers: a time-out only if nothing else happened.
    failure: Option<Failure>,
}

impl Question {
    /// Asks.
    pub(super) fn new(
        now_us: u64,
        upstream: &mut Upstream,
        (slot, first_server): (u16, usize),
        family: Family,
        owner: WireName,
    ) -> Question {
        let state = State::Missing { failure: Failure::ServerFailure, ttl_s: None };
        let (links, ttl_s, aliases, cut_off) = (0, u32::MAX, Vec::new(), None);
        let mut question =
            Question { state, family, slot, first_server, owner, links, ttl_s, aliases, cut_off };
        question.ask_next(now_us, upstream, Round::default());
        question
    }

    pub(super) fn is_asking(&self) -> bool {
        matches!(self.state, State::Asking(_))
    }

    /// Microseconds; None if it is over.
    pub(super) fn deadline_us(&self) -> Option<u64> {
        match &self.state {
            State::Asking(asking) => Some(asking.deadline_us),
            State::Found { .. } | State::Missing { .. } => None,
        }
    }

    fn asking(&self, query: QueryId) -> Option<Asking> {
        match self.state {
            State::Asking(asking) if asking.query == query => Some(asking),
            State::Asking(_) | State::Found { .. } | State::Missing { .. } => None,
        }
    }

    /// A message came on the socket of `query`.
    pub(super) fn handle_reply(
        &mut self,
        now_us: u64,
        upstream: &mut Upstream,
        query: QueryId,
        message: &[u8],
    ) {
        let Some(asking) = self.asking(query) else { return };
        let reply = message::read_reply(message, &self.asked(upstream, query, asking.attempt.edns));
        if reply == Reply::Mismatched {
            self.handle_mismatch(now_us, upstream, asking);
            return;
        }
        upstream.servers.heard(now_us, asking.attempt.server);
        self.abandon(upstream);
        let ttl_s = self.ttl_s;
        let with_chain = |negative_ttl_s: u32| negative_ttl_s.min(ttl_s);
        match reply {
            Reply::Mismatched => {}
            Reply::Truncated { addresses, ttl_s, aliases } => {
                upstream.counters.truncated += 1;
                if !addresses.is_empty() {
                    let ttl_s = with_chain(ttl_s).min(CUT_OFF_TTL_S_MAX);
                    self.cut_off = Some(CutOff { addresses, ttl_s, aliases });
                }
                match asking.attempt.transport {
                    Transport::Udp => self.ask_over_tcp(now_us, upstream, asking),
                    Transport::Tcp => self.fail(now_us, upstream, asking, Failure::Malformed),
                }
            }
            Reply::NotUnderstood if asking.attempt.edns => {
                upstream.servers.leave_out_edns(now_us, asking.attempt.server);
                let attempt = Attempt { edns: false, ..asking.attempt };
                self.ask_again(now_us, upstream, asking.round, attempt);
            }
            Reply::ServerFailure => {
                let round = Round { failed: true, ..asking.round };
                self.fail(now_us, upstream, Asking { round, ..asking }, Failure::ServerFailure);
            }
            Reply::NotUnderstood | Reply::Refused => {
                self.fail(now_us, upstream, asking, Failure::ServerFailure);
            }
            Reply::Malformed => self.fail(now_us, upstream, asking, Failure::Malformed),
            Reply::ChainTooLong => self.miss(Failure::Malformed, None),
            Reply::Found { addresses, ttl_s, aliases } => {
                self.state = State::Found { addresses, ttl_s: with_chain(ttl_s) };
                self.note_aliases(upstream, &aliases);
            }
            Reply::Alias { aliases, links, ttl_s } => {
                self.owner = aliases.last().copied().unwrap_or(self.owner);
                self.note_aliases(upstream, &aliases);
                self.links = links;
                self.cut_off = None;
                self.ttl_s = with_chain(ttl_s);
                self.ask_next(now_us, upstream, Round::default());
            }
            Reply::NoSuchName { ttl_s } => self.miss(Failure::NotFound, ttl_s.map(with_chain)),
            Reply::NoSuchRecord { ttl_s } => self.miss(Failure::NoAddress, ttl_s.map(with_chain)),
        }
    }

    /// Waits on: the true reply may still come. Many such messages are an attack.
    fn handle_mismatch(&mut self, now_us: u64, upstream: &mut Upstream, mut asking: Asking) {
        upstream.counters.mismatched += 1;
        asking.mismatches = asking.mismatches.saturating_add(1);
        self.state = State::Asking(asking);
        if asking.mismatches >= MISMATCHES_MAX && asking.attempt.transport == Transport::Udp {
            self.abandon(upstream);
            self.ask_over_tcp(now_us, upstream, asking);
        }
    }

    /// The socket of `query` failed.
    pub(super) fn handle_failure(&mut self, now_us: u64, upstream: &mut Upstream, query: QueryId) {
        let Some(asking) = self.asking(query) else { return };
        self.abandon(upstream);
        if asking.attempt.transport == Transport::Udp {
            // Refused: as good as silent, and known at once.
            self.note_silent(now_us, upstream, asking);
        }
        self.fail(now_us, upstream, asking, Failure::ServerFailure);
    }

    /// Goes on if the query's time is over.
    pub(super) fn handle_timeout(&mut self, now_us: u64, upstream: &mut Upstream) {
        let State::Asking(mut asking) = self.state else { return };
        if now_us < asking.deadline_us {
            return;
        }
        upstream.counters.timeouts += 1;
        self.abandon(upstream);
        match asking.attempt.transport {
            Transport::Udp if asking.mismatches > 0 => {
                self.ask_over_tcp(now_us, upstream, asking);
                return;
            }
            Transport::Udp => self.note_silent(now_us, upstream, asking),
            Transport::Tcp => {}
        }
        asking.round.lost = true;
        self.fail(now_us, upstream, asking, Failure::Timeout);
    }

    /// Another question found these servers silent: does not wait for them where a live one is left.
    pub(super) fn leave(&mut self, now_us: u64, upstream: &mut Upstream, down: u16) {
        let State::Asking(mut asking) = self.state else { return };
        let waits = down & bit(usize::from(asking.attempt.server)) != 0;
        if waits
            && asking.attempt.transport == Transport::Udp
            && upstream.servers.any_live(asking.round.tried)
        {
            self.abandon(upstream);
            asking.round.lost = true;
            self.fail(now_us, upstream, asking, Failure::Timeout);
        }
    }

    /// Stops asking; the shell closes the socket.
    pub(super) fn abandon(&mut self, upstream: &mut Upstream) {
        if let State::Asking(asking) = self.state {
            upstream.actions.push_back(Action::Abandon(asking.query));
            self.miss(Failure::Timeout, None);
        }
    }

    /// There is no more time: what was cut off is all there is.
    pub(super) fn expire(&mut self, upstream: &mut Upstream) {
        if self.is_asking() {
            self.abandon(upstream);
            self.take_cut_off(upstream);
        }
    }

    /// Whether what was cut off is the answer.
    fn take_cut_off(&mut self, upstream: &Upstream) -> bool {
        let Some(CutOff { addresses, ttl_s, aliases }) = self.cut_off.take() else { return false };
        self.state = State::Found { addresses, ttl_s };
        self.note_aliases(upstream, &aliases);
        true
    }

    fn note_aliases(&mut self, upstream: &Upstream, aliases: &[WireName]) {
        if upstream.settings.aliases {
            self.aliases.extend_from_slice(aliases);
        }
    }

    fn miss(&mut self, failure: Failure, ttl_s: Option<u32>) {
        self.state = State::Missing { failure, ttl_s };
    }

    fn note_silent(&self, now_us: u64, upstream: &mut Upstream, asking: Asking) {
        if upstream.servers.silent(now_us, asking.attempt.server, asking.sent_us) {
            upstream.newly_down |= bit(usize::from(asking.attempt.server));
        }
    }

    /// This server is of no use: the next one.
    fn fail(&mut self, now_us: u64, upstream: &mut Upstream, asking: Asking, failure: Failure) {
        let mut round = asking.round;
        round.failure = match round.failure {
            None | Some(Failure::Timeout) => Some(failure),
            Some(earlier) => Some(earlier),
        };
        self.ask_next(now_us, upstream, round);
    }

    fn ask_next(&mut self, now_us: u64, upstream: &mut Upstream, mut round: Round) {
        let mut choice = upstream.servers.choose(now_us, self.first_server, round.tried);
        let next = round.number.saturating_add(1);
        let again = round.lost || (round.failed && round.number == 0);
        if choice.is_none() && again && next < upstream.settings.attempts {
            round = Round { number: next, failure: round.failure, ..Round::default() };
            choice = upstream.servers.choose(now_us, self.first_server, round.tried);
        }
        let Some(Choice { server, address, edns, probe }) = choice else {
            if self.take_cut_off(upstream) {
                return;
            }
            self.miss(round.failure.unwrap_or(Failure::ServerFailure), None);
            return;
        };
        // A query that was lost may have been dropped for its EDNS.
        let edns = edns && round.number == 0;
        let attempt = Attempt { server, address, transport: Transport::Udp, edns, probe };
        let again = round.tried != 0 || round.number != 0;
        round.tried |= bit(usize::from(server));
        if again {
            self.ask_again(now_us, upstream, round, attempt);
        } else {
            self.ask(now_us, upstream, round, attempt);
        }
    }

    fn ask_over_tcp(&mut self, now_us: u64, upstream: &mut Upstream, asking: Asking) {
        let attempt = Attempt { transport: Transport::Tcp, probe: false, ..asking.attempt };
        self.ask_again(now_us, upstream, asking.round, attempt);
    }

    fn ask_again(&mut self, now_us: u64, upstream: &mut Upstream, round: Round, attempt: Attempt) {
        upstream.counters.retries += 1;
        self.ask(now_us, upstream, round, attempt);
    }

    fn ask(&mut self, now_us: u64, upstream: &mut Upstream, round: Round, attempt: Attempt) {
        let query = QueryId::new(upstream.next_serial(), self.slot, self.family);
        let message = self.asked(upstream, query, attempt.edns).write();
        let Attempt { address, transport, probe, .. } = attempt;
        upstream.counters.queries += 1;
        upstream.actions.push_back(Action::Send { query, server: address, transport, message });
        let timeout_us = u64::from(upstream.settings.timeout_ms) * 1000;
        let deadline_us = now_us.saturating_add(if probe { timeout_us.min(PROBE_US) } else { timeout_us });
        self.state =
            State::Asking(Asking { query, attempt, round, mismatches: 0, sent_us: now_us, deadline_us });
    }

    /// What a query says; its id and letters follow from its serial number.
    fn asked(&self, upstream: &Upstream, query: QueryId, edns: bool) -> Asked<'_> {
        Asked {
            id: upstream.random.id(query.serial()),
            owner: &self.owner,
            family: self.family,
            cases: upstream.cases(query.serial()),
            edns,
            links: self.links,
        }
    }
}
