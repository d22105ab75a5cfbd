//! The record of every request from both sides: the model that weir's work is compared with.

use super::client::address;
use super::dice::Dice;
use super::filters::{self, Filtered, Filtering, Plan};
use super::guarding::{Guarding, Reached};
use super::http::{Framing, Head};
use super::messages::{Answer, Ask, Ending, Key, Kind};
use super::pages::Sayings;
use super::scenario::{BLOCKED, Naming, RETRIES_OF_ROUTES, Scenario};
use super::tunnel;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::rc::Rc;

/// Bytes that weir throws away after a refusal (`engine::settings::LINGER_BYTES_MAX`).
const LINGER_BYTES_MAX: usize = 16 << 20;

/// An origin's response to a request.
#[derive(Clone, Debug)]
pub struct Said {
    pub serial: u32,
    pub answer: Answer,
}

/// One request.
#[derive(Debug)]
pub struct Record {
    pub ask: Ask,
    /// What stands between.
    pub plan: Plan,
    pub answers: [Answer; 2],
    /// The client does nothing that would give a proxy a reason to fail.
    pub client_behaves: bool,
    /// When its first byte was sent.
    pub began_us: Option<u64>,
    /// How often an origin has seen its head.
    pub seen: u32,
    pub said: Vec<Said>,
    /// It was sent on a connection on which something unasked was on its way already.
    pub raced: bool,
    /// weir has sent a 100 of its own.
    pub continued: bool,
    /// The client has reset its connection.
    pub was_reset: bool,
}

impl Record {
    /// How the body of that answer would go on to a client of HTTP/1.1.
    fn framing_of(&self, said: &Said) -> Framing {
        filters::framing(&self.plan.response, said.answer.framing)
    }
}

/// Counts, so that it can be seen that something was tested.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub asked: u64,
    pub answered: u64,
    pub cut: u64,
    pub refused: u64,
    pub unanswered: u64,
    pub owed: u64,
    pub tunnels: u64,
    pub retried: u64,
    /// Answers that came together with the connection, before the request.
    pub busy: u64,
    pub interims: u64,
    pub steps: u64,
    pub connections: u64,
    /// Moves inside the kernel, of answers, of requests' bodies, in tunnels; bytes of them all.
    pub moved_down: u64,
    pub moved_up: u64,
    pub moved_tunnels: u64,
    pub moved_bytes: u64,
    /// Sockets closed with bytes for them in a pipe.
    pub pipes_lost: u64,
    /// Times that pages of a stored body went into a pipe.
    pub references: u64,
    /// Messages between loops.
    pub messages: u64,
    /// Responses that came to another loop, and were read by clients of this one.
    pub subscribed: u64,
    /// Responses that clients of several loops read while they arrived; those that such a client left, and those that broke off.
    pub together: [u64; 3],
    /// Readers that were cut because they held others up.
    pub held_up: u64,
    /// Responses that were made for another client's request, and the 304s and 206s among them.
    pub shared: u64,
    pub unmodified: u64,
    pub parts: u64,
    /// Requests for pages, and answers of origins about them.
    pub paged: u64,
    pub given: u64,
    /// Requests over connections that are one client's alone.
    pub pinned: u64,
    /// Requests that another upstream of the gateway got.
    pub failed_over: u64,
    /// Requests that changed a page, and were answered.
    pub changes: u64,
    /// The cache results in the engine's log records.
    pub hits: u64,
    pub stale: u64,
    pub revalidated: u64,
    pub collapsed: u64,
    pub refreshes: u64,
    pub evicted: u64,
    /// Bodies of requests and of responses that went through filters to their end, and requests that filters have refused.
    pub filtered_up: u64,
    pub filtered_down: u64,
    pub filters_refused: u64,
    /// Own pages that were answered, forms that were refused, and requests for pages that failed because the store did.
    pub visited: [u64; 3],
    /// What the guard has come to.
    pub guard: BTreeMap<Reached, u64>,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        self.asked += other.asked;
        self.answered += other.answered;
        self.cut += other.cut;
        self.refused += other.refused;
        self.unanswered += other.unanswered;
        self.owed += other.owed;
        self.tunnels += other.tunnels;
        self.retried += other.retried;
        self.busy += other.busy;
        self.interims += other.interims;
        self.steps += other.steps;
        self.connections += other.connections;
        self.moved_down += other.moved_down;
        self.moved_up += other.moved_up;
        self.moved_tunnels += other.moved_tunnels;
        self.moved_bytes += other.moved_bytes;
        self.pipes_lost += other.pipes_lost;
        self.references += other.references;
        self.messages += other.messages;
        self.subscribed += other.subscribed;
        self.together.iter_mut().zip(other.together).for_each(|(sum, count)| *sum += count);
        self.held_up += other.held_up;
        self.shared += other.shared;
        self.unmodified += other.unmodified;
        self.parts += other.parts;
        self.paged += other.paged;
        self.given += other.given;
        self.pinned += other.pinned;
        self.failed_over += other.failed_over;
        self.changes += other.changes;
        self.hits += other.hits;
        self.stale += other.stale;
        self.revalidated += other.revalidated;
        self.collapsed += other.collapsed;
        self.refreshes += other.refreshes;
        self.evicted += other.evicted;
        self.filtered_up += other.filtered_up;
        self.filtered_down += other.filtered_down;
        self.filters_refused += other.filters_refused;
        self.visited.iter_mut().zip(other.visited).for_each(|(sum, count)| *sum += count);
        for (reached, count) in &other.guard {
            *self.guard.entry(*reached).or_default() += count;
        }
    }
}

/// Times that origins may be asked on account of one request for a page.
const ASKED_MAX: usize = 6;

pub struct Book {
    pub scenario: Scenario,
    pub records: HashMap<Key, Record>,
    /// Since when which policy has held.
    pub policies: Vec<(u64, usize)>,
    /// Whose tunnel an upstream connection is, by its serial number.
    pub tunnels: HashMap<u32, Key>,
    pub draining: bool,
    /// Requests that were sent while something unasked was on its way, and have not met it yet.
    pub races: u64,
    /// The upstream connections on which a busy origin answers before it is asked, and whose answer no client has: whether weir
    /// learns of the answer together with the connection.
    pub busy: HashMap<u32, bool>,
    pub sayings: Sayings,
    /// Clients that held others up who read the same.
    pub held_up: HashSet<SocketAddr>,
    /// Bodies behind their filters, as they were needed: of a request, or of the response on an upstream connection.
    pub filtered: HashMap<(Key, Option<u32>), Rc<Filtered>>,
    pub filtering: Filtering,
    pub guarding: Guarding,
    pub tally: Tally,
}

/// An own answer or another fault of weir's, with what was wrong about it.
pub type Checked<T> = Result<T, String>;

impl Book {
    pub fn new(scenario: Scenario) -> Book {
        let first = scenario.first_policy;
        let guarding = Guarding::new(scenario.guard.clone(), scenario.loops);
        Book {
            guarding,
            scenario,
            records: HashMap::new(),
            policies: vec![(0, first)],
            tunnels: HashMap::new(),
            draining: false,
            races: 0,
            busy: HashMap::new(),
            sayings: Sayings::default(),
            held_up: HashSet::new(),
            filtered: HashMap::new(),
            filtering: Filtering::default(),
            tally: Tally::default(),
        }
    }

    /// All stored entries can be purged.
    pub fn check_store_end(&mut self) -> Checked<()> {
        let Some(cache) = &mut self.scenario.cache else { return Ok(()) };
        self.tally.evicted = cache.store.statistics().evicted;
        cache.store.memory().leave_store(cache.ballast.bytes());
        cache.ballast.set(0);
        cache.store.purge(|_| true);
        let (memory, empty_bytes) = (cache.store.memory(), cache.empty_bytes);
        if (memory.bytes(), memory.held()) != (empty_bytes, empty_bytes) {
            let (bytes, held) = (memory.bytes(), memory.held());
            return Err(format!("{bytes} bytes in an empty cache ({held} held), which takes {empty_bytes}"));
        }
        Ok(())
    }

    pub fn add(&mut self, dice: &mut Dice, ask: Ask, client_behaves: bool) {
        let answers = [Answer::new(dice, &self.scenario, &ask), Answer::new(dice, &self.scenario, &ask)];
        let key = ask.key;
        self.guarding.add(&ask, &self.scenario.hosts[ask.host].authority);
        let plan = match self.scenario.filters {
            true => self.filtering.plan(dice, &ask),
            false => Plan::default(),
        };
        let record = Record {
            ask,
            plan,
            answers,
            client_behaves,
            began_us: None,
            seen: 0,
            said: Vec::new(),
            raced: false,
            continued: false,
            was_reset: false,
        };
        self.records.insert(key, record);
    }

    /// How the body of a request reaches the origin.
    pub fn upload_framing(&self, record: &Record) -> Framing {
        filters::framing(&record.plan.request, record.ask.body)
    }

    pub fn record(&self, key: Key) -> &Record {
        &self.records[&key]
    }

    pub fn record_mut(&mut self, key: Key) -> &mut Record {
        self.records.get_mut(&key).expect("a request that was planned")
    }

    /// Whether one of the policies since the request began denies it, and whether one allows it.
    fn judged(&self, record: &Record) -> (bool, bool) {
        let began = record.began_us.unwrap_or(u64::MAX);
        let mut verdicts = (false, false);
        for (at, (_, policy)) in self.policies.iter().enumerate() {
            let until = self.policies.get(at + 1).map_or(u64::MAX, |(next, _)| *next);
            if until < began {
                continue;
            }
            let rules = self.scenario.rules(*policy);
            let blocked = rules.blocks && self.is_blocked(record);
            let asks_user = rules.authenticates && !self.scenario.is_gateway();
            let denied = blocked || (asks_user && !record.ask.login.is_right());
            verdicts = (verdicts.0 || denied, verdicts.1 || !denied);
        }
        verdicts
    }

    fn is_blocked(&self, record: &Record) -> bool {
        record.ask.kind != Kind::Own && self.scenario.hosts[record.ask.host].authority == BLOCKED
    }

    pub fn is_allowed(&self, key: Key) -> bool {
        self.judged(self.record(key)).1
    }

    /// Whether a tunnel must carry everything, in both directions, to its end.
    pub fn must_complete_tunnel(&self, key: Key) -> bool {
        self.failure_reason(self.record(key)).is_none()
    }

    /// Whose tunnel the origin end of that name belongs to.
    pub fn tunnel_key(&self, name: Option<u64>) -> Option<Key> {
        self.tunnels.get(&(name? as u32)).copied()
    }

    /// Why the request may fail; `None` if its origin must answer it completely.
    pub fn failure_reason(&self, record: &Record) -> Option<&'static str> {
        let host = &self.scenario.hosts[record.ask.host];
        let (denied, _) = self.judged(record);
        let answer = &record.answers[0];
        let shared = record.ask.kind == Kind::Shared;
        let excuses = [
            (!self.scenario.strict, "general faults"),
            (self.draining, "draining"),
            (!record.client_behaves, "the client"),
            (!host.steady, "the host"),
            (denied, "the policy"),
            (self.guarding.may_refuse(record.ask.key), "the guard"),
            (self.may_be_pinned(record.ask.key), "a connection of its own"),
            (record.raced, "a race"),
            (self.held_up.contains(&address(record.ask.key.client)), "it held others up"),
            (
                !matches!(record.ask.kind, Kind::Plain | Kind::Connect | Kind::Upgrade | Kind::Shared),
                "the request",
            ),
            (shared && !self.scenario.pages[record.ask.shared.page].clean, "the page"),
            (shared && record.ask.shared.only_if_cached, "only-if-cached"),
            (shared && record.ask.shared.poison, "its own field"),
            (!answer.is_clean() && !shared && record.ask.kind != Kind::Connect, "the answer"),
            (filters::aborts(&record.plan.request), "a filter of the request"),
            (filters::aborts(&record.plan.response), "a filter of the response"),
            (record.ask.kind == Kind::Connect && self.scenario.is_gateway(), "no tunnel through a gateway"),
            (host.http10 && self.upload_framing(record) == Framing::Chunked, "chunks for HTTP/1.0"),
            // The rest of such an upload meets a connection that has ended.
            (!shared && answer.early.is_some() && !answer.keeps(), "an early end"),
        ];
        excuses.into_iter().find(|(is, _)| *is).map(|(_, why)| why)
    }

    /// weir's own answer: may it be that?
    pub fn check_own(&self, key: Key, status: u16, head: &Head) -> Checked<()> {
        let record = self.record(key);
        let ask = &record.ask;
        let (denied, allowed) = self.judged(record);
        let naming = self.scenario.hosts[ask.host].naming;
        let malformed = matches!(ask.kind, Kind::Malformed | Kind::MalformedBody);
        let may = match status {
            200 => matches!(ask.kind, Kind::Own | Kind::Purge),
            405 => ask.kind == Kind::Connect && self.scenario.is_gateway(),
            407 => denied,
            403 if filters::aborts(&record.plan.request) => true,
            403 => denied || naming == Naming::Lying || (naming == Naming::Mixed && !self.scenario.strict),
            400 | 414 | 431 | 501 | 505 => malformed,
            408 => ask.kind == Kind::MalformedBody || !record.client_behaves || !self.scenario.strict,
            411 => self.scenario.hosts[ask.host].http10 && self.upload_framing(record) == Framing::Chunked,
            429 => ask.login.is_slow() || !self.scenario.strict,
            503 => self.failure_reason(record).is_some(),
            502 | 504 => allowed && self.failure_reason(record).is_some(),
            _ => false,
        };
        let explained = status == 200 || head.get("proxy-status").is_some();
        let told = head.get("connection").is_none_or(|value| value == "close" || value == "keep-alive");
        if may && explained && told {
            Ok(())
        } else {
            let excuse = self.failure_reason(record);
            Err(format!("{key}: weir's own {status} (excuse {excuse:?}) for {ask:?}: {head:?}"))
        }
    }

    /// The guard has refused it, as the head says: may it do that?
    pub fn check_guarded(&mut self, key: Key, status: u16, head: &Head, now_us: u64) -> Checked<()> {
        let word = guard_word(head).unwrap_or_default();
        let record = self.record(key);
        let allowed = self.judged(record).1 || word == "banned";
        if !allowed || matches!(record.ask.kind, Kind::Malformed) {
            return Err(format!("{key}: counted in spite of the policy: {head:?}"));
        }
        let retry_after_s = head.get("retry-after").and_then(|seconds| seconds.parse().ok());
        let word = word.to_string();
        let told = format!("{head:?} for {:?}", record.ask);
        let checked = self.guarding.check_refused(key, status, &word, retry_after_s, now_us);
        checked.map_err(|error| format!("{error}: {told}"))
    }

    /// An interim answer.
    pub fn check_interim(&mut self, key: Key, head: &Head) -> Checked<()> {
        let record = self.record(key);
        let is_own = head.line == "HTTP/1.1 100 Continue" && head.get("x-answer").is_none();
        if is_own && record.ask.expects && self.scenario.hosts[record.ask.host].http10 && !record.continued {
            self.record_mut(key).continued = true;
            return Ok(());
        }
        let (whose, _) =
            parse_answer(head).ok_or(format!("{key}: an interim answer of nobody's: {head:?}"))?;
        if whose != key || record.ask.http10 || head.framing()?.is_some() {
            return Err(format!("{key}: a wrong interim answer: {head:?}"));
        }
        self.tally.interims += 1;
        Ok(())
    }

    /// The final head from an origin: how does its body end?
    pub fn check_head(&self, key: Key, status: u16, head: &Head) -> Checked<(Framing, u32)> {
        let record = self.record(key);
        let wrong = |what: &str| format!("{key}: {what} in {head:?} for {:?}", record.ask);
        let (whose, serial) = parse_answer(head).ok_or_else(|| wrong("an answer of nobody's"))?;
        if whose != key {
            return Err(wrong("another client's response"));
        }
        let said = self.said(key, serial).ok_or_else(|| wrong("an answer that no origin gave"))?;
        let hop_by_hop = ["keep-alive", "proxy-connection", "te", "upgrade"];
        if hop_by_hop.iter().any(|name| head.get(name).is_some()) {
            return Err(wrong("a hop-by-hop field"));
        }
        if said.answer.status != status || head.get("date").is_none() || head.get("via").is_none() {
            return Err(wrong("a wrong head"));
        }
        if record.ask.method == "HEAD" || matches!(status, 204 | 304) {
            let length = head.framing()?.filter(|framing| matches!(framing, Framing::Length(_)));
            let announced = Some(said.answer.framing)
                .filter(|framing| matches!(framing, Framing::Length(_)))
                .filter(|_| !filters::replaces(&record.plan.response));
            // The origin's length passes where there is one.
            return if length == announced {
                Ok((Framing::None, serial))
            } else {
                Err(wrong("a wrong length"))
            };
        }
        let framing = head.framing()?.unwrap_or(Framing::UntilClose);
        let expected = match (filters::framing(&record.plan.response, said.answer.framing), record.ask.http10)
        {
            (Framing::Length(length), _) => Framing::Length(length),
            (Framing::Chunked | Framing::UntilClose, false) => Framing::Chunked,
            (Framing::Chunked | Framing::UntilClose, true) => Framing::UntilClose,
            (Framing::None, _) => Framing::None,
        };
        if framing != expected {
            return Err(wrong("another framing"));
        }
        Ok((framing, serial))
    }

    pub fn said(&self, key: Key, serial: u32) -> Option<&Said> {
        self.record(key).said.iter().find(|said| said.serial == serial)
    }

    /// The answer of a busy origin to a request that it did not wait for: it is given once.
    pub fn check_busy(&mut self, key: Key, status: u16, head: &Head) -> Checked<()> {
        let serial: Option<u32> = head.get("x-busy").and_then(|serial| serial.parse().ok());
        let given = serial.and_then(|serial| self.busy.remove(&serial));
        let Some(at_once) = given.filter(|_| status == 503 && head.get("via").is_some()) else {
            return Err(format!("{key}: no answer of a busy origin, or another client's: {head:?}"));
        };
        if !self.is_allowed(key) {
            return Err(format!("{key}: an origin's answer in spite of the policy"));
        }
        self.tally.busy += u64::from(at_once);
        Ok(())
    }

    /// The client has a complete answer.
    pub fn check_whole(&mut self, key: Key, serial: u32, payload: u64, trailers: &[String]) -> Checked<()> {
        let expected = self.filtered_answer(key, serial)?.bytes.len() as u64;
        let record = self.record(key);
        let said = self.said(key, serial).ok_or("an answer that no origin gave")?;
        // A cut may fall behind the last byte that matters.
        let cut_late = matches!(said.answer.ending, Ending::Cut { .. }) && record.ask.method == "HEAD"
            || matches!((said.answer.ending, said.answer.framing), (Ending::Cut { .. }, Framing::None));
        if !(said.answer.is_whole() || cut_late) || payload != expected {
            return Err(format!("{key}: {payload} bytes look complete, of {expected}: {said:?}"));
        }
        let lines = filters::trailers(&record.plan.response, said.answer.trailer_lines(key, serial));
        let dropped = record.ask.http10 || !self.scenario.strict;
        if !(trailers == lines || (dropped && trailers.is_empty())) {
            return Err(format!("{key}: trailers {trailers:?} instead of {lines:?}"));
        }
        self.check_filtered_answer(key, serial)?;
        self.tally.answered += 1;
        if self.failure_reason(self.record(key)).is_none() {
            self.tally.owed += 1;
        }
        Ok(())
    }

    /// The client's connection has ended before the answer, or within it.
    pub fn check_unfinished(&mut self, key: Key, how: &str) -> Checked<()> {
        self.tally.unanswered += 1;
        let record = self.record(key);
        match self.failure_reason(record) {
            Some(_) => Ok(()),
            None if self.is_lost_by_later_reset(key) || self.follows_partial_upload(key) => Ok(()),
            None if self.may_be_lost_by_reset(key) => Ok(()),
            None => Err(format!("{key}: {how}, without a reason: {record:?}")),
        }
    }

    /// The origin answered the previous request early, and then sent unsolicited bytes. The rest of that upload is lost,
    /// and so are the bytes behind it; at that time the head of the response has been sent.
    fn follows_partial_upload(&self, key: Key) -> bool {
        let before = key.number.checked_sub(1).and_then(|number| self.records.get(&Key { number, ..key }));
        let spoiled = |said: &Said| said.answer.early.is_some() && said.answer.ending == Ending::Surplus;
        before.is_some_and(|record| record.said.iter().any(spoiled))
    }

    /// This response ends the connection, or a later request on it may have been refused during its body, with more bytes
    /// behind it than weir discards: then a reset ends the connection, and bytes under way are lost.
    fn may_be_lost_by_reset(&self, key: Key) -> bool {
        let own = self.record(key);
        let ends = own.ask.http10
            && own
                .said
                .iter()
                .any(|said| matches!(own.framing_of(said), Framing::Chunked | Framing::UntilClose));
        let later = (key.number + 1..).map_while(|number| self.records.get(&Key { number, ..key }));
        let behind = later.skip_while(|record| !ends && record.ask.body == Framing::None);
        let sent = |record: &Record| match record.ask.kind {
            Kind::Connect => tunnel::BYTES_MAX,
            _ => record.ask.head.len() + record.ask.coded.len(),
        };
        behind.map(sent).sum::<usize>() > LINGER_BYTES_MAX
    }

    /// A later response on the same connection was truncated where only a reset shows it; bytes under way are lost.
    fn is_lost_by_later_reset(&self, key: Key) -> bool {
        let later = (key.number + 1..).map_while(|number| self.records.get(&Key { number, ..key }));
        let fails = |record: &Record| match record.ask.kind {
            Kind::Shared => !self.scenario.pages[record.ask.shared.page].clean,
            Kind::Plain
            | Kind::Own
            | Kind::Malformed
            | Kind::MalformedBody
            | Kind::Connect
            | Kind::Upgrade
            | Kind::Purge => !record.answers[0].is_whole() || filters::aborts(&record.plan.response),
        };
        let cut = |record: &Record| record.ask.http10 && fails(record);
        later.take_while(|record| record.began_us.is_some()).any(cut)
    }

    /// weir says that it will close: is there a reason?
    pub fn check_close(&self, key: Key, from_origin: Option<u32>) -> Checked<()> {
        let record = self.record(key);
        let Some(serial) = from_origin else { return Ok(()) };
        let answer = self.said(key, serial).map(|said| said.answer);
        let ends = answer.is_some_and(|answer| {
            let framing = filters::framing(&record.plan.response, answer.framing);
            record.ask.http10 && matches!(framing, Framing::UntilClose | Framing::Chunked)
                || answer.closes
                || answer.http10
        });
        let unfinished = record.ask.body != Framing::None;
        if !record.ask.keeps
            || (ends && (record.ask.http10 || unfinished))
            || self.failure_reason(record).is_some()
        {
            return Ok(());
        }
        Err(format!("{key}: closed without a reason: {record:?}"))
    }

    /// An origin sees the head of a request.
    pub fn check_asked(&mut self, key: Key, may_repeat: bool, now_us: u64) -> Checked<usize> {
        let Some(record) = self.records.get(&key) else {
            return Err(format!("{key}: an origin was asked for what nobody asked"));
        };
        let (_, allowed) = self.judged(record);
        if !allowed {
            return Err(format!("{key}: an origin was asked in spite of the policy"));
        }
        if matches!(record.ask.kind, Kind::Malformed | Kind::Own | Kind::Purge) {
            return Err(format!("{key}: an origin was asked: {:?}", record.ask));
        }
        let attempt = record.seen as usize;
        self.guarding.check_passed(key, now_us)?;
        let record = self.record(key);
        // Once more without conditions, and to renew what was served stale.
        let safe = record.ask.kind == Kind::Shared && matches!(record.ask.method, "GET" | "HEAD");
        if safe && attempt < ASKED_MAX {
            self.tally.retried += attempt as u64;
            self.record_mut(key).seen += 1;
            return Ok(attempt);
        }
        // A gateway goes on to the next upstream of the route.
        let most = if self.scenario.is_gateway() { RETRIES_OF_ROUTES } else { 1 };
        if attempt > most || (attempt > 0 && !(may_repeat && record.ask.is_idempotent())) {
            return Err(format!("{key}: asked {} times: {:?}", attempt + 1, record.ask));
        }
        self.tally.retried += attempt as u64;
        self.record_mut(key).seen += 1;
        Ok(attempt)
    }
}

/// Why the guard has refused, if it has.
pub fn guard_word(head: &Head) -> Option<&str> {
    let words = [
        "banned",
        "rate_limit",
        "rate_limit_window",
        "blocked",
        "blocked_forever",
        "guard_store",
        "suspicious",
        "throttled",
    ];
    let detail = head.get("proxy-status")?.split("details=").nth(1)?.trim_matches('"');
    let detail = detail.split(':').next()?;
    words.into_iter().find(|word| *word == detail)
}

/// Whose answer it is, and from which upstream connection.
pub fn parse_answer(head: &Head) -> Option<(Key, u32)> {
    let (key, serial) = head.get("x-answer")?.rsplit_once('-')?;
    Some((Key::parse(key)?, serial.parse().ok()?))
}
