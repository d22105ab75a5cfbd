//! Records requests with the limits that cover them, and combines the answers.

use super::consequences::Consequences;
use super::counter::{Counter, Kind};
use super::subject::Subject;
use crate::guard::breaker::Breaker;
use crate::guard::detection::Categories;
use crate::guard::directives::{Directives, OnFailure, Per, Violation, per_text};
use crate::guard::path::EitherPath;
use crate::guard::state::State;
use crate::guard::store::{Answer, Check, EscalationVerdict, StoreFailure, StoreOrder};
use crate::guard::told::{Asker, Happened, Told};
use crate::guard::verdict::{Cause, Denial, Quota};
use crate::http::target::Host;
use crate::time::Now;
use std::net::IpAddr;

/// Keys of a client that are found at once (chosen: they fit on a terminal).
const OWNED_MAX: usize = 1000;

/// Initial capacity for the checks of a request (chosen).
const CHECKS_AT_FIRST: usize = 2;

/// The result of counting a request.
#[derive(Debug)]
pub enum Counted {
    /// The decision about the request.
    Decided(Decided),
    /// A question for the store, whose answer decides.
    Ask(Question),
}

/// The decision about a request, and the remaining quota of its client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// The refusal, if there is one.
    pub denial: Option<Denial>,
    /// The tightest limit, if clients get their quota.
    pub quota: Option<Quota>,
    /// Milliseconds until every counter lets a request pass again, observing ones aside; [`FOR_EVER`] for never.
    wait_ms: u64,
}

/// A wait without an end.
const FOR_EVER: u64 = u64::MAX;

/// The question to a store for one request, and the answers of this process.
#[derive(Debug)]
pub struct Question {
    /// The checks for the store.
    pub checks: Vec<Check>,
    /// For each check: the index of its counter in the guard, and this process's own answer.
    own: Vec<(usize, Answer)>,
}

/// The state of a counter for a client.
#[derive(Clone, Debug)]
pub struct CounterRow {
    /// The line in the guard file.
    pub line: u32,
    /// The directive.
    pub text: Box<str>,
    /// Host, path and the other parts of the key beside the client; empty if the counter distinguishes only clients.
    pub of: Box<str>,
    /// The answer to a request at this moment, which is not counted. `None` stands for all keys that the counter may have for
    /// the client, of which only those with violations of an escalation are known by name.
    pub answer: Option<Answer>,
}

/// The rules for a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreRules {
    /// How long a request waits for an answer, in microseconds.
    pub deadline_us: u64,
    /// The decision without an answer in time.
    pub on_failure: OnFailure,
    pub(super) line: u32,
}

/// All counters of a guard file, and the rules for its store.
#[derive(Debug)]
pub(super) struct Counting {
    counters: Vec<Counter>,
    /// Whether a counter needs the readings of the path.
    uses_path: bool,
    /// Whether every counter distinguishes only clients and counts all requests, and no store is configured.
    is_usual: bool,
    store: Option<StoreRules>,
    quotas: bool,
}

impl Counting {
    pub(super) fn new(directives: &Directives) -> Counting {
        let counters = Counter::all(directives);
        Counting {
            is_usual: directives.store.is_none() && counters.iter().all(Counter::is_simple),
            uses_path: counters.iter().any(|counter| counter.scope.path.is_some() || counter.per.path),
            counters,
            store: directives.store.as_ref().map(|store| StoreRules {
                deadline_us: store.deadline_ms * 1000,
                on_failure: store.on_failure,
                line: store.place.line,
            }),
            quotas: directives.rate_limit_fields,
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.counters.is_empty()
    }

    #[inline]
    pub(super) fn is_usual(&self) -> bool {
        self.is_usual
    }

    pub(super) fn store(&self) -> Option<StoreRules> {
        self.store
    }

    /// Records a request of a client with counters that distinguish only clients.
    #[inline]
    pub(super) fn record_client<'a>(
        &self,
        client: &IpAddr,
        asked: impl Fn() -> Asker<'a>,
        consequences: &Consequences,
        now: Now,
    ) -> Decided {
        let record = |counter| (counter, Counter::record_client(counter, &consequences.state, client, now));
        self.tally(self.counters.iter().map(record), &asked, consequences, now)
    }

    /// Records a request with every counter that covers it. The breaker decides whether the store may be asked, and is called
    /// only for a request that needs the store: at times it admits one as a probe.
    pub(super) fn count<'a>(
        &self,
        subject: &Subject<'_>,
        asked: &impl Fn() -> Asker<'a>,
        consequences: &Consequences,
        now: Now,
        breaker: &mut Breaker,
        scratch: &mut Vec<u8>,
    ) -> Counted {
        let path = subject.path.filter(|_| self.uses_path);
        let path = path.map(|path| EitherPath::new(path, scratch));
        let path = path.as_ref();
        match self.store {
            None => Counted::Decided(self.record(subject, path, asked, consequences, now)),
            Some(rules) => self.count_with_store(rules, (subject, path), asked, consequences, now, breaker),
        }
    }

    /// Counts a request if a store is configured.
    fn count_with_store<'a>(
        &self,
        rules: StoreRules,
        (subject, path): (&Subject<'_>, Option<&EitherPath<'_>>),
        asked: &impl Fn() -> Asker<'a>,
        consequences: &Consequences,
        now: Now,
        breaker: &mut Breaker,
    ) -> Counted {
        let covering = || self.counters.iter().filter(|counter| counter.covers(subject, path));
        // Only for a counted request, because the call may use up the probe of this second.
        if covering().next().is_none() {
            return Counted::Decided(Decided::default());
        }
        if breaker.may_ask(now.monotonic_us) {
            return Counted::Ask(self.question(subject, path, consequences, now));
        }
        // The counters of this process count in parallel, whatever decides.
        let counters = self.counters.iter().enumerate();
        let covering = counters.filter(|(_, counter)| counter.covers(subject, path));
        let own: Vec<(usize, Answer)> = covering
            .map(|(place, counter)| (place, counter.record(&consequences.state, subject, path, now)))
            .collect();
        Counted::Decided(self.without_store(rules, &own, asked, consequences, now))
    }

    /// The decision of this process alone.
    fn record<'a>(
        &self,
        subject: &Subject<'_>,
        path: Option<&EitherPath<'_>>,
        asked: &impl Fn() -> Asker<'a>,
        consequences: &Consequences,
        now: Now,
    ) -> Decided {
        let covering = self.counters.iter().filter(|counter| counter.covers(subject, path));
        let record = |counter| (counter, Counter::record(counter, &consequences.state, subject, path, now));
        self.tally(covering.map(record), asked, consequences, now)
    }

    /// The question to the store, with the answers of this process, whose counters count in parallel.
    fn question(
        &self,
        subject: &Subject<'_>,
        path: Option<&EitherPath<'_>>,
        consequences: &Consequences,
        now: Now,
    ) -> Question {
        // Usually one or two counters cover a request, so memory is allocated once.
        let most = self.counters.len().min(CHECKS_AT_FIRST);
        let (mut checks, mut own) = (Vec::with_capacity(most), Vec::with_capacity(most));
        let counters = self.counters.iter().enumerate();
        for (place, counter) in counters.filter(|(_, counter)| counter.covers(subject, path)) {
            own.push((place, counter.record(&consequences.state, subject, path, now)));
            checks.push(counter.check(subject, path));
        }
        Question { checks, own }
    }

    /// The decision by the store's answers, which must have passed `are_answers`, or without answers.
    pub(super) fn conclude<'a>(
        &self,
        question: &Question,
        answers: Result<&[Answer], StoreFailure>,
        asked: &impl Fn() -> Asker<'a>,
        consequences: &Consequences,
        now: Now,
    ) -> Decided {
        match (answers, self.store) {
            (Ok(answers), _) => {
                let places = question.own.iter().map(|(place, _)| *place);
                self.tally_of(places.zip(answers.iter().copied()), asked, consequences, now)
            }
            (Err(_), Some(rules)) => self.without_store(rules, &question.own, asked, consequences, now),
            (Err(_), None) => self.tally_of(question.own.iter().copied(), asked, consequences, now),
        }
    }

    /// Whether these are answers to the question: their number, and the kind of each.
    pub(super) fn are_answers(&self, question: &Question, answers: &[Answer]) -> bool {
        let is_answer = |(place, answer): (&(usize, Answer), &Answer)| {
            let escalates = matches!(answer, Answer::Escalation(_));
            self.counters.get(place.0).is_some_and(|counter| counter.escalates() == escalates)
        };
        question.own.len() == answers.len() && question.own.iter().zip(answers).all(is_answer)
    }

    /// The decision when the store does not answer about these counters: `own` are the answers of this process. Only where they
    /// decide do they have consequences: a request that passes, or is refused because of the store, has exceeded nothing.
    fn without_store<'a>(
        &self,
        rules: StoreRules,
        own: &[(usize, Answer)],
        asked: &impl Fn() -> Asker<'a>,
        consequences: &Consequences,
        now: Now,
    ) -> Decided {
        let observes =
            |(place, _): &(usize, Answer)| self.counters.get(*place).is_some_and(|own| own.observe);
        match rules.on_failure {
            OnFailure::Local => self.tally_of(own.iter().copied(), asked, consequences, now),
            OnFailure::Open => Decided::default(),
            OnFailure::Closed if consequences.passive || own.iter().all(observes) => Decided::default(),
            OnFailure::Closed => {
                let denial = Denial { cause: Cause::StoreFailed, line: rules.line, retry_after_s: 1 };
                Decided { denial: Some(denial), ..Decided::default() }
            }
        }
    }

    /// The decision by the answers of counters, each with the index of its counter.
    fn tally_of<'a>(
        &self,
        answers: impl Iterator<Item = (usize, Answer)>,
        asked: &impl Fn() -> Asker<'a>,
        consequences: &Consequences,
        now: Now,
    ) -> Decided {
        let known = |(place, answer)| Some((self.counters.get::<usize>(place)?, answer));
        self.tally(answers.filter_map(known), asked, consequences, now)
    }

    /// The decision by the answers of counters: the first refusal decides, and the tightest quota is reported.
    #[inline]
    fn tally<'a, 'c>(
        &self,
        answers: impl Iterator<Item = (&'c Counter, Answer)>,
        asked: &impl Fn() -> Asker<'a>,
        consequences: &Consequences,
        now: Now,
    ) -> Decided {
        let mut tally = Tally::default();
        for (counter, answer) in answers {
            // A limit that refuses nothing tells clients nothing.
            if self.quotas && !counter.observe && !consequences.passive {
                add_quota(&mut tally.decided, counter, answer);
            }
            if !is_usual(answer) {
                add_denial(&mut tally, counter, answer, &asked(), consequences, now);
            }
        }
        if !tally.violated.is_empty() {
            tally.violate(&asked(), consequences, now);
        }
        tally.decided
    }

    /// The counters that record a request: line and directive of each.
    pub(super) fn covering<'g>(
        &'g self,
        subject: &Subject<'_>,
        path: Option<&EitherPath<'_>>,
    ) -> Vec<(u32, &'g str)> {
        let covering = self.counters.iter().filter(|counter| counter.covers(subject, path));
        covering.map(|counter| (counter.line, &*counter.text)).collect()
    }

    /// The counters of a client for all its requests: a row for each counter that distinguishes only clients. For each other
    /// counter there is a row without an answer, behind one row for each of the client's keys that have violated an
    /// escalation in this process.
    pub(super) fn counters_of(&self, client: IpAddr, state: &State, now: Now) -> Vec<CounterRow> {
        let host = Host::Address(client);
        let owned = match self.counters.iter().any(Counter::notes_owners) {
            true => state.escalations.owned(client, OWNED_MAX),
            false => Vec::new(),
        };
        let mut rows = Vec::new();
        for counter in &self.counters {
            let mut add = |of: &str, answer| {
                let (line, text) = (counter.line, counter.text.clone());
                rows.push(CounterRow { line, text, of: of.into(), answer });
            };
            if counter.per.is_client() {
                let key = counter.key(state, &Subject::of_client(client, &host), None);
                let answer = match counter.kind {
                    Kind::Window { limit, window_ms, .. } => {
                        state.windows.peek(key, limit, window_ms, now.common_ms())
                    }
                    Kind::Escalation(constants) => {
                        let state = state.escalations.state(key).unwrap_or_default();
                        Answer::Escalation(state.outcome(false, now.unix_ms(), &constants))
                    }
                };
                add("", Some(answer));
                continue;
            }
            if let Kind::Escalation(constants) = counter.kind {
                for (_, state) in &owned {
                    let owner = state.offences.as_ref().and_then(|offences| offences.owner.as_ref());
                    if let Some(owner) = owner.filter(|owner| owner.identity == counter.identity) {
                        add(
                            &owner.of,
                            Some(Answer::Escalation(state.outcome(false, now.unix_ms(), &constants))),
                        );
                    }
                }
            }
            add(&per_text(counter.per), None);
        }
        rows
    }

    /// Removes the state of a client in the counters that distinguish only clients, and in all escalations that distinguish
    /// clients: including permanent blocks, in all processes and in the store. False if this process had no state.
    pub(super) fn forget(&self, client: IpAddr, state: &State) -> bool {
        let any = self.forget_here(client, state);
        let host = Host::Address(client);
        for counter in self.counters.iter().filter(|counter| counter.per.is_client()) {
            state.order(StoreOrder::Forget(counter.store_key(&Subject::of_client(client, &host), None)));
        }
        let mut keys: Vec<_> = self.counters.iter().filter(|counter| counter.notes_owners()).collect();
        keys.dedup_by_key(|counter| counter.store_keys_of(client));
        keys.into_iter()
            .for_each(|counter| state.order(StoreOrder::ForgetAll(counter.store_keys_of(client))));
        state.order(StoreOrder::Unblock(client));
        any
    }

    /// As [`Counting::forget`], in this process alone.
    pub(super) fn forget_here(&self, client: IpAddr, state: &State) -> bool {
        let (mut any, host) = (false, Host::Address(client));
        for counter in self.counters.iter().filter(|counter| counter.per.is_client()) {
            let key = counter.key(state, &Subject::of_client(client, &host), None);
            any |= match counter.kind {
                Kind::Window { .. } => state.windows.forget(key),
                Kind::Escalation(_) => state.escalations.lift(key),
            };
        }
        if self.counters.iter().any(Counter::notes_owners) {
            // Keys that have not violated their line are not known by name.
            state.renewed.renew(client);
            any = true;
        }
        // Includes keys of earlier guard files.
        loop {
            let owned = state.escalations.owned(client, OWNED_MAX);
            owned.iter().for_each(|(key, _)| any |= state.escalations.lift(*key));
            if owned.len() < OWNED_MAX {
                return any;
            }
        }
    }
}

/// What the counters of one request have come to.
#[derive(Default)]
struct Tally {
    decided: Decided,
    /// How the counters that the request violates distinguish clients.
    violated: Vec<Per>,
    /// The client was blocked before this request, which is no violation then.
    was_blocked: bool,
}

impl Tally {
    /// Counts the request towards bans: once for each network that counts as one client.
    fn violate(&self, asked: &Asker<'_>, consequences: &Consequences, now: Now) {
        if self.was_blocked {
            return;
        }
        for (place, per) in self.violated.iter().enumerate() {
            let network = |per: &Per| per.network(asked.client);
            if !self.violated[..place].iter().any(|other| network(other) == network(per)) {
                consequences.violate((Violation::Limit, Categories::ALL), asked, *per, now);
            }
        }
    }
}

/// Whether the next request would pass, too.
fn is_usual(answer: Answer) -> bool {
    match answer {
        Answer::Window { within, left, .. } => within && left > 0,
        Answer::Escalation(step) => step.verdict == EscalationVerdict::Pass && step.next_after_ms == 0,
    }
}

fn add_quota(decided: &mut Decided, counter: &Counter, answer: Answer) {
    let (Answer::Window { left, retry_after_ms, .. }, Kind::Window { limit, window_ms, .. }) =
        (answer, counter.kind)
    else {
        return;
    };
    let (window_s, reset_s) = (seconds(window_ms), seconds(retry_after_ms));
    if decided.quota.is_none_or(|other| (left, other.reset_s) < (other.left, reset_s)) {
        decided.quota = Some(Quota { limit, window_s, left, reset_s });
    }
}

/// Milliseconds until the counter with this answer lets a request pass.
fn wait_ms(answer: Answer) -> u64 {
    match answer {
        Answer::Window { retry_after_ms, .. } => retry_after_ms,
        Answer::Escalation(step) => match step.verdict {
            EscalationVerdict::Pass => step.next_after_ms,
            EscalationVerdict::Over { retry_after_ms } | EscalationVerdict::Blocked { retry_after_ms } => {
                retry_after_ms
            }
            EscalationVerdict::Permanent => FOR_EVER,
        },
    }
}

/// Adds an answer after which a request would not pass. The first refusal decides, or a block for ever, until no counter refuses any
/// more.
#[inline(never)]
fn add_denial(
    tally: &mut Tally,
    counter: &Counter,
    answer: Answer,
    asked: &Asker<'_>,
    consequences: &Consequences,
    now: Now,
) {
    let decided = &mut tally.decided;
    if !counter.observe {
        decided.wait_ms = decided.wait_ms.max(wait_ms(answer));
    }
    if let Some(cause) = cause_of(answer, counter.kind) {
        let denial = Denial { cause, line: counter.line, retry_after_s: retry_after_s(wait_ms(answer)) };
        let told = Told { limit: Some(counter.kind.limit()), ..Told::by(Happened::RateLimited, asked) };
        if consequences.refuse(told, denial, counter.observe, now).is_err() {
            match cause {
                Cause::Permanent => decided.denial = Some(denial),
                _ => _ = decided.denial.get_or_insert(denial),
            }
        }
        if !counter.observe {
            match answer {
                Answer::Escalation(step) if !step.is_violation => tally.was_blocked = true,
                Answer::Escalation(_) | Answer::Window { .. } => tally.violated.push(counter.per),
            }
        }
    }
    if let Some(denial) = &mut decided.denial {
        denial.retry_after_s = retry_after_s(decided.wait_ms);
    }
}

/// The reason why a request with this answer does not pass; `None` if it passes.
fn cause_of(answer: Answer, kind: Kind) -> Option<Cause> {
    match (answer, kind) {
        (Answer::Window { within: false, .. }, Kind::Window { .. }) => Some(Cause::Limit),
        // The store has answered another question: the answer is ignored.
        (Answer::Window { .. }, _) => None,
        (Answer::Escalation(step), _) => match step.verdict {
            EscalationVerdict::Pass => None,
            EscalationVerdict::Over { .. } => Some(Cause::Over),
            EscalationVerdict::Blocked { .. } => Some(Cause::Blocked),
            EscalationVerdict::Permanent => Some(Cause::Permanent),
        },
    }
}

/// The value of Retry-After: at least a second, so that no client asks at once; 0 for never.
fn retry_after_s(wait_ms: u64) -> u32 {
    if wait_ms == FOR_EVER { 0 } else { seconds(wait_ms).max(1) }
}

/// Whole seconds, rounded up.
fn seconds(ms: u64) -> u32 {
    u32::try_from(ms.div_ceil(1000)).unwrap_or(u32::MAX)
}
