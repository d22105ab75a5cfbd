//! A guard file, compiled: which requests are counted for what, and what follows.
//!
//! One [`Guard`] is immutable and holds for whatever began with it; a reload makes another one over the same [`State`]. A
//! request meets it three times. [`Guard::client`] says whose request it is. [`Guard::admit`] refuses banned clients and those
//! in a cloud. [`Guard::count`] records the request with every limit that is about it, all of them, and says whether it
//! passes; with a store it says so when [`Guard::conclude`] has the store's answers.

use super::breaker::Breaker;
use super::client_address::{ClientAddress, TrustTable};
use super::clouds::{Clouds, Provider, Selector};
use super::directives::{
    BanAfter, CloudRule, CloudSide, Directives, Escalate, Limit, OnFailure, Per, Scope, Violation,
};
use super::path;
use super::state::State;
use super::store::{Answer, Check, EscalationConstants, EscalationVerdict, StoreFailure, StoreOrder};
use super::told::{Happened, Told};
use super::verdict::{Cause, Denial, Quota};
use crate::http::message::Fields;
use crate::http::target::Host;
use crate::net::AddressSteps;
use crate::time::Now;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

/// What is known of a request when it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Whose it is.
    pub client: IpAddr,
    /// The authenticated user; empty without.
    pub user: &'a [u8],
    /// The host that is asked for.
    pub host: &'a Host,
    /// Path and query; `None` for CONNECT.
    pub path: Option<&'a [u8]>,
    /// The method.
    pub method: &'a str,
}

/// What counting a request has come to.
#[derive(Debug)]
pub enum Counted {
    /// It is known whether the request goes on.
    Decided(Decided),
    /// The store is to be asked.
    Ask(Question),
}

/// Whether a request goes on, and what its client is told of what is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// Why the request does not go on.
    pub denial: Option<Denial>,
    /// The tightest limit, if clients are told.
    pub quota: Option<Quota>,
}

/// What a store is asked for one request, and what this process would say.
#[derive(Debug)]
pub struct Question {
    /// For the store.
    pub checks: Vec<Check>,
    /// For each of these: the place of its counter in the guard, and this process's own answer.
    own: Vec<(usize, Answer)>,
}

/// A limit, or a fixed window with escalation.
#[derive(Debug)]
struct Counter {
    line: u32,
    /// Equal for equal directives of all machines and of all reloads.
    identity: u64,
    kind: Kind,
    per: Per,
    scope: Scope,
    observe: bool,
    /// The counter is kept for the client alone and counts all requests: its key in a store is the client's address.
    plain: bool,
    text: Box<str>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Window { limit: u32, window_ms: u64, approximate: bool },
    Escalation(EscalationConstants),
}

impl Kind {
    /// Requests, and the window in milliseconds.
    fn limit(self) -> (u32, u64) {
        match self {
            Kind::Window { limit, window_ms, .. } => (limit, window_ms),
            Kind::Escalation(constants) => (constants.requests_max, constants.window_ms),
        }
    }
}

/// What a counter says of a client.
#[derive(Clone, Debug)]
pub struct CounterRow {
    /// The line in the guard file.
    pub line: u32,
    /// The directive.
    pub text: Box<str>,
    /// As if a request came now, which is not counted.
    pub answer: Answer,
}

/// How the store is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreRules {
    /// How long a request waits for an answer, in microseconds.
    pub deadline_us: u64,
    /// What happens then.
    pub on_failure: OnFailure,
    line: u32,
}

/// A guard file over what was counted.
#[derive(Debug)]
pub struct Guard {
    state: Arc<State>,
    trust: TrustTable,
    exempt: AddressSteps,
    counters: Vec<Counter>,
    /// A counter asks for a path in its comparable form.
    uses_path: bool,
    /// Each with its identity, as that of a counter.
    ban_after: Vec<(u64, BanAfter)>,
    clients: Vec<CloudDenial>,
    destinations: Vec<CloudDenial>,
    store: Option<StoreRules>,
    quotas: bool,
    passive: bool,
}

/// `cloud deny`, compiled.
#[derive(Debug)]
struct CloudDenial {
    line: u32,
    observe: bool,
    selector: Selector,
}

impl Guard {
    /// Compiles a guard file over what was counted. `clouds` are the networks that are known at present.
    pub fn new(directives: &Directives, state: Arc<State>, clouds: &Clouds) -> Guard {
        let limits = directives.limits.iter().map(Counter::of_limit);
        let escalations = directives.escalations.iter().map(Counter::of_escalation);
        let mut counters: Vec<Counter> = limits.chain(escalations).collect();
        counters.sort_by_key(|counter| counter.line);
        mark_plain(&mut counters);
        let side = |side: CloudSide| {
            let rules = directives.clouds.iter().filter(|rule| rule.side == side);
            rules.map(|rule| CloudDenial::of(rule, clouds)).collect()
        };
        Guard {
            state,
            trust: TrustTable::new(&directives.trust),
            exempt: AddressSteps::new(directives.exempt.iter().copied()),
            uses_path: counters.iter().any(|counter| counter.scope.path.is_some() || counter.per.path),
            counters,
            ban_after: directives
                .ban_after
                .iter()
                .map(|rule| (hash_text(&rule.place.text), rule.clone()))
                .collect(),
            clients: side(CloudSide::Client),
            destinations: side(CloudSide::Destination),
            store: directives.store.as_ref().map(|store| StoreRules {
                deadline_us: store.deadline_ms * 1000,
                on_failure: store.on_failure,
                line: store.place.line,
            }),
            quotas: directives.rate_limit_fields,
            passive: directives.passive,
        }
    }

    /// What is counted, over all guard files that have held.
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// How the store is asked, if there is one.
    pub fn store(&self) -> Option<StoreRules> {
        self.store
    }

    /// Whether a peer is a proxy whose word about its clients counts.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trust.trusts(peer)
    }

    /// Whose request it is that has come from a peer with these fields.
    pub fn client(&self, peer: IpAddr, fields: Fields<'_, '_>, now: Now) -> IpAddr {
        let ClientAddress { address, spoofed } = self.trust.find(peer, fields);
        if spoofed {
            self.state.tell(now, Told::of(Happened::Spoofed, peer));
        }
        address
    }

    /// Whether a client is banned, and bans hold.
    pub fn is_banned(&self, client: IpAddr, now: Now) -> bool {
        !self.passive && self.state.banned(client, now).is_some()
    }

    /// Whether a client may ask for anything.
    pub fn admit(&self, client: IpAddr, now: Now) -> Result<(), Denial> {
        if let Some(line) = self.state.banned(client, now) {
            let denial = Denial { cause: Cause::Banned, line, retry_after_s: 0 };
            self.refuse(Happened::Blocked, client, denial, now, (false, None))?;
        }
        if self.clients.is_empty() || self.is_exempt(client) {
            return Ok(());
        }
        self.judge_clouds(&self.clients, client, client, Cause::ClientInCloud, now)
    }

    /// Whether an address may be dialled for a client.
    pub fn admit_destination(&self, client: IpAddr, address: IpAddr, now: Now) -> Result<(), Denial> {
        if self.destinations.is_empty() {
            return Ok(());
        }
        self.judge_clouds(&self.destinations, client, address, Cause::DestinationInCloud, now)
    }

    /// What would refuse an address as a destination: for one that was dialled before, and may be used again. Nothing is told of
    /// the answer, because an address that is not used again is judged once more when it is dialled.
    pub fn destination_denial(&self, address: IpAddr) -> Option<Denial> {
        let mut refusing = self.destinations.iter().filter(|rule| !rule.observe && !self.passive);
        refusing.find_map(|rule| rule.denial(address, Cause::DestinationInCloud))
    }

    fn judge_clouds(
        &self,
        rules: &[CloudDenial],
        client: IpAddr,
        address: IpAddr,
        cause: fn(Provider) -> Cause,
        now: Now,
    ) -> Result<(), Denial> {
        for rule in rules {
            if let Some(denial) = rule.denial(address, cause) {
                self.refuse(Happened::CloudBlocked, client, denial, now, (rule.observe, None))?;
            }
        }
        Ok(())
    }

    /// Refuses, unless nothing is to be refused; either way it is told.
    fn refuse(
        &self,
        happened: Happened,
        client: IpAddr,
        denial: Denial,
        now: Now,
        (observe, limit): (bool, Option<(u32, u64)>),
    ) -> Result<(), Denial> {
        let logged_only = self.passive || observe;
        let told = Told::of(happened, client);
        self.state.tell(now, Told { denial: Some(denial), logged_only, limit, ..told });
        if logged_only { Ok(()) } else { Err(denial) }
    }

    fn is_exempt(&self, client: IpAddr) -> bool {
        self.exempt.find(client).is_some()
    }

    /// Records a request with every counter that is about it. The breaker says whether the store may be asked, and is asked only
    /// for a request that needs it: it lets one through now and then to see whether the store is back.
    pub fn count(
        &self,
        subject: &Subject<'_>,
        now: Now,
        breaker: &mut Breaker,
        scratch: &mut Vec<u8>,
    ) -> Counted {
        let mut decided = Decided::default();
        if self.counters.is_empty() || self.is_exempt(subject.client) {
            return Counted::Decided(decided);
        }
        let path = subject.path.filter(|_| self.uses_path);
        let path = path.map(|path| path::comparison_form(path, scratch).bytes);
        let (mut asks, mut question) = (None, Question { checks: Vec::new(), own: Vec::new() });
        for (place, counter) in self.counters.iter().enumerate() {
            if !counter.scope.covers(subject, path) {
                continue;
            }
            let answer = self.record(counter, subject, path, now);
            let may_ask = || self.store.is_some() && breaker.may_ask(now.monotonic_us);
            if *asks.get_or_insert_with(may_ask) {
                question.own.push((place, answer));
                question.checks.push(counter.check(subject, path));
            } else {
                self.add(&mut decided, counter, answer, subject.client, now);
            }
        }
        match (asks, self.store) {
            (Some(true), _) => Counted::Ask(question),
            (Some(false), Some(rules)) => Counted::Decided(self.without_store(rules, decided)),
            (Some(false), None) | (None, _) => Counted::Decided(self.end(decided)),
        }
    }

    /// What the store's answers mean, of which [`Guard::are_answers`] was asked, or that there are none.
    pub fn conclude(
        &self,
        question: &Question,
        answers: Result<&[Answer], StoreFailure>,
        client: IpAddr,
        now: Now,
    ) -> Decided {
        let counters = question.own.iter().filter_map(|(place, own)| Some((self.counters.get(*place)?, own)));
        let mut tally = Decided::default();
        match answers {
            Ok(answers) => {
                for ((counter, _), answer) in counters.zip(answers) {
                    self.add(&mut tally, counter, *answer, client, now);
                }
                self.end(tally)
            }
            Err(_) => {
                for (counter, own) in counters {
                    self.add(&mut tally, counter, *own, client, now);
                }
                match self.store {
                    Some(rules) => self.without_store(rules, tally),
                    None => self.end(tally),
                }
            }
        }
    }

    /// Whether these are answers to what was asked: so many, and each of its kind.
    pub fn are_answers(&self, question: &Question, answers: &[Answer]) -> bool {
        let is_answer = |(place, answer): (&(usize, Answer), &Answer)| {
            let escalates = matches!(answer, Answer::Escalation(_));
            self.counters.get(place.0).is_some_and(|counter| counter.escalates() == escalates)
        };
        question.own.len() == answers.len() && question.own.iter().zip(answers).all(is_answer)
    }

    /// What is done when the store does not answer.
    fn without_store(&self, rules: StoreRules, tally: Decided) -> Decided {
        match rules.on_failure {
            OnFailure::Local => self.end(tally),
            OnFailure::Open => Decided::default(),
            OnFailure::Closed if self.passive => Decided::default(),
            OnFailure::Closed => {
                let denial = Denial { cause: Cause::StoreFailed, line: rules.line, retry_after_s: 1 };
                Decided { denial: Some(denial), quota: None }
            }
        }
    }

    fn end(&self, tally: Decided) -> Decided {
        Decided { quota: tally.quota.filter(|_| self.quotas), ..tally }
    }

    /// This process's own answer, which is kept up to date whether or not a store answers, too.
    fn record(&self, counter: &Counter, subject: &Subject<'_>, path: Option<&[u8]>, now: Now) -> Answer {
        let key = counter.key(&self.state, subject, path);
        match counter.kind {
            Kind::Window { limit, window_ms, approximate: false } => {
                self.state.windows.record(key, limit, window_ms, now.common_ms())
            }
            Kind::Window { limit, window_ms, approximate: true } => {
                self.state.windows.record_approximate(key, limit, window_ms, now.common_ms())
            }
            Kind::Escalation(constants) => {
                Answer::Escalation(self.state.escalations.step(key, now.unix_ms(), &constants))
            }
        }
    }

    /// Adds what a counter has said: the first that refuses decides, and the tightest quota is told.
    fn add(&self, tally: &mut Decided, counter: &Counter, answer: Answer, client: IpAddr, now: Now) {
        let (cause, retry_after_ms) = match (answer, counter.kind) {
            (Answer::Window { within, left, retry_after_ms }, Kind::Window { limit, window_ms, .. }) => {
                let quota =
                    Quota { limit, window_s: seconds(window_ms), left, reset_s: seconds(retry_after_ms) };
                if tally.quota.is_none_or(|other| quota.left < other.left) {
                    tally.quota = Some(quota);
                }
                if within {
                    return;
                }
                (Cause::Limit, retry_after_ms)
            }
            (Answer::Escalation(EscalationVerdict::Pass), _) => return,
            (Answer::Escalation(EscalationVerdict::Over { retry_after_ms }), _) => {
                (Cause::Over, retry_after_ms)
            }
            (Answer::Escalation(EscalationVerdict::Blocked { retry_after_ms }), _) => {
                (Cause::Blocked, retry_after_ms)
            }
            (Answer::Escalation(EscalationVerdict::Permanent), _) => (Cause::Permanent, 0),
            // The store has answered another question than was asked: it says nothing of this one.
            (Answer::Window { .. }, Kind::Escalation(_)) => return,
        };
        let retry_after_s = if cause == Cause::Permanent { 0 } else { seconds(retry_after_ms).max(1) };
        let denial = Denial { cause, line: counter.line, retry_after_s };
        let limit = counter.kind.limit();
        if self.refuse(Happened::RateLimited, client, denial, now, (counter.observe, Some(limit))).is_err() {
            tally.denial.get_or_insert(denial);
        }
        // A client that is blocked has done what it is blocked for already.
        if !counter.observe && matches!(cause, Cause::Limit | Cause::Over) {
            self.violate(Violation::Limit, client, counter.per, now);
        }
    }

    /// The counters that a request is recorded with: line and directive of each; none for exempt clients.
    pub fn covering<'g>(&'g self, subject: &Subject<'_>, scratch: &mut Vec<u8>) -> Vec<(u32, &'g str)> {
        if self.is_exempt(subject.client) {
            return Vec::new();
        }
        let path = subject.path.map(|path| path::comparison_form(path, scratch).bytes);
        let covering = self.counters.iter().filter(|counter| counter.scope.covers(subject, path));
        covering.map(|counter| (counter.line, &*counter.text)).collect()
    }

    /// What is counted of a client, over all its requests: for each counter that is kept for clients and nothing else.
    pub fn counters_of(&self, client: IpAddr, now: Now) -> Vec<CounterRow> {
        let host = Host::Address(client);
        let rows = self.counters.iter().filter(|counter| counter.per.is_client()).map(|counter| {
            let key = counter.key(&self.state, &of_client(client, &host), None);
            let answer = match counter.kind {
                Kind::Window { limit, window_ms, .. } => {
                    self.state.windows.peek(key, limit, window_ms, now.common_ms())
                }
                Kind::Escalation(constants) => {
                    let state = self.state.escalations.state(key).unwrap_or_default();
                    Answer::Escalation(state.verdict(now.unix_ms(), &constants))
                }
            };
            CounterRow { line: counter.line, text: counter.text.clone(), answer }
        });
        rows.collect()
    }

    /// Forgets what is counted of a client by these counters, blocks for ever included, here and in the store. False if nothing
    /// was counted.
    pub fn forget(&self, client: IpAddr) -> bool {
        let (mut any, host) = (false, Host::Address(client));
        for counter in self.counters.iter().filter(|counter| counter.per.is_client()) {
            let key = counter.key(&self.state, &of_client(client, &host), None);
            any |= match counter.kind {
                Kind::Window { .. } => self.state.windows.forget(key),
                Kind::Escalation(_) => self.state.escalations.lift(key),
            };
            self.state.order(StoreOrder::Forget(counter.store_key(&of_client(client, &host), None)));
        }
        any
    }

    /// Counts a violation towards bans.
    fn violate(&self, violation: Violation, client: IpAddr, per: Per, now: Now) {
        for (identity, rule) in self.ban_after.iter().filter(|(_, rule)| rule.violation == violation) {
            let network = per.network(client);
            let key = self.state.key(*identity, |hasher| {
                hasher.write_prefix(network.addr(), [per.prefix4, per.prefix6]);
            });
            // The last of so many violations is the first that exceeds one less.
            let answer = match rule.count.checked_sub(1) {
                Some(0) | None => Answer::Window { within: false, left: 0, retry_after_ms: 0 },
                Some(limit) => self.state.windows.record(key, limit, rule.window_ms, now.common_ms()),
            };
            if matches!(answer, Answer::Window { within: false, .. }) {
                if self.passive || rule.observe {
                    let told = Told::of(Happened::Banned, client);
                    self.state.tell(now, Told { logged_only: true, ..told });
                } else {
                    self.state.ban_automatically(network, rule, now);
                    self.state.windows.forget(key);
                }
            }
        }
    }
}

/// A request of which nothing matters but the client.
fn of_client<'a>(client: IpAddr, host: &'a Host) -> Subject<'a> {
    Subject { client, user: b"", host, path: None, method: "" }
}

/// Whole seconds, rounded up.
fn seconds(ms: u64) -> u32 {
    u32::try_from(ms.div_ceil(1000)).unwrap_or(u32::MAX)
}

/// A hash that is equal on all machines and after every reload.
fn hash_text(text: &str) -> u64 {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

/// Of the limits, and of the escalations, the first that counts all requests of a client has the client's address as its key in
/// a store, as the reference library writes it. Others have their text in the key.
fn mark_plain(counters: &mut [Counter]) {
    for escalates in [false, true] {
        let mut kind = counters.iter_mut().filter(|counter| counter.escalates() == escalates);
        if let Some(first) = kind.find(|counter| counter.per.is_client() && counter.scope == Scope::default())
        {
            first.plain = true;
        }
    }
}

impl Counter {
    fn of_limit(limit: &Limit) -> Counter {
        let Limit { place, limit, window_ms, per, scope, approximate, observe } = limit;
        let kind = Kind::Window { limit: *limit, window_ms: *window_ms, approximate: *approximate };
        Counter::new((place.line, &place.text), kind, *per, scope, *observe)
    }

    fn of_escalation(escalate: &Escalate) -> Counter {
        let Escalate { place, constants, per, scope, observe } = escalate;
        Counter::new((place.line, &place.text), Kind::Escalation(*constants), *per, scope, *observe)
    }

    fn new((line, text): (u32, &str), kind: Kind, per: Per, scope: &Scope, observe: bool) -> Counter {
        let identity = hash_text(text);
        Counter { line, identity, kind, per, scope: scope.clone(), observe, plain: false, text: text.into() }
    }

    fn escalates(&self) -> bool {
        matches!(self.kind, Kind::Escalation(_))
    }

    /// The key of this process's own counter.
    fn key(&self, state: &State, subject: &Subject<'_>, path: Option<&[u8]>) -> u64 {
        let per = self.per;
        state.key(self.identity, |hasher| {
            if per.client {
                hasher.write_prefix(subject.client.to_canonical(), [per.prefix4, per.prefix6]);
            }
            if per.user {
                hasher.write(subject.user);
            }
            if per.host {
                match subject.host {
                    Host::Name(name) => hasher.write(name.as_str().as_bytes()),
                    Host::Address(address) => hasher.write_address(*address),
                }
            }
            if per.path {
                hasher.write(path.unwrap_or_default());
            }
            if per.method {
                hasher.write(subject.method.as_bytes());
            }
        })
    }

    /// The same question for a store.
    fn check(&self, subject: &Subject<'_>, path: Option<&[u8]>) -> Check {
        let key = self.store_key(subject, path);
        match self.kind {
            Kind::Window { limit, window_ms, .. } => Check::Window { key, limit, window_ms },
            Kind::Escalation(constants) => Check::Escalation { key, constants },
        }
    }

    /// `rate_limit:rate:ADDRESS`, with `:HASH` for what else the counter is kept for and counts (guard semantics, section 3).
    fn store_key(&self, subject: &Subject<'_>, path: Option<&[u8]>) -> Box<str> {
        let mut key = String::from(if self.escalates() { "escalation:" } else { "rate_limit:rate:" });
        if self.per.client {
            // Writing into a string cannot fail.
            let _ = write_client(&mut key, self.per.network(subject.client));
        } else {
            key.push('-');
        }
        if self.plain {
            return key.into();
        }
        let mut rest = Sha256::new();
        let mut add = |part: &[u8]| {
            rest.update((part.len() as u64).to_le_bytes());
            rest.update(part);
        };
        add(self.text.as_bytes());
        if self.per.user {
            add(subject.user);
        }
        if self.per.host {
            add(subject.host.to_string().as_bytes());
        }
        if self.per.path {
            add(path.unwrap_or_default());
        }
        if self.per.method {
            add(subject.method.as_bytes());
        }
        key.push(':');
        for byte in rest.finalize() {
            let _ = write!(key, "{byte:02x}");
        }
        key.into()
    }
}

/// A network of one address as the address.
fn write_client(out: &mut String, network: ipnet::IpNet) -> std::fmt::Result {
    match network.prefix_len() == network.max_prefix_len() {
        true => write!(out, "{}", network.addr()),
        false => write!(out, "{network}"),
    }
}

impl CloudDenial {
    fn of(rule: &CloudRule, clouds: &Clouds) -> CloudDenial {
        CloudDenial { line: rule.place.line, observe: rule.observe, selector: Selector::new(rule, clouds) }
    }

    fn denial(&self, address: IpAddr, cause: fn(Provider) -> Cause) -> Option<Denial> {
        let (provider, _) = self.selector.denies(address)?;
        Some(Denial { cause: cause(provider), line: self.line, retry_after_s: 0 })
    }
}

impl Per {
    /// What of an address is counted as one client.
    pub fn network(self, client: IpAddr) -> ipnet::IpNet {
        let client = client.to_canonical();
        let bits = match client {
            IpAddr::V4(_) => self.prefix4.min(32),
            IpAddr::V6(_) => self.prefix6.min(128),
        };
        ipnet::IpNet::new(client, bits).map_or_else(|_| client.into(), |network| network.trunc())
    }

    /// Whether a counter is kept for the client and for nothing else.
    fn is_client(self) -> bool {
        let Per { client, prefix4: _, prefix6: _, user, host, path, method } = self;
        client && !(user || host || path || method)
    }
}

impl Scope {
    /// Whether a request is meant.
    fn covers(&self, subject: &Subject<'_>, path: Option<&[u8]>) -> bool {
        let Scope { path: prefix, host, methods } = self;
        let method_covered = methods.is_empty() || methods.iter().any(|method| **method == *subject.method);
        let path_covered =
            prefix.as_ref().is_none_or(|prefix| path.is_some_and(|path| path.starts_with(prefix.as_bytes())));
        method_covered
            && path_covered
            && host.as_ref().is_none_or(|pattern| covers_host(pattern, subject.host))
    }
}

/// Whether a pattern of a guard file means a host: a name, a name with all below it (`.example.com`), only what is below it
/// (`*.example.com`), or an address.
fn covers_host(pattern: &str, host: &Host) -> bool {
    match host {
        Host::Address(address) => pattern.parse() == Ok(*address),
        Host::Name(name) => {
            let name = name.as_str();
            let is_below =
                |domain| name.strip_suffix(domain).is_some_and(|before: &str| before.ends_with('.'));
            match (pattern.strip_prefix("*."), pattern.strip_prefix('.')) {
                (Some(domain), _) => is_below(domain),
                (None, Some(domain)) => name == domain || is_below(domain),
                (None, None) => name == pattern,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_hosts() {
        for (pattern, host, means) in [
            ("a.test", "a.test", true),
            ("a.test", "b.a.test", false),
            (".a.test", "a.test", true),
            (".a.test", "b.a.test", true),
            (".a.test", "ba.test", false),
            ("*.a.test", "a.test", false),
            ("*.a.test", "c.b.a.test", true),
            ("*.a.test", "ba.test", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.10", false),
            ("2001:db8::1", "[2001:db8::1]", true),
        ] {
            let host = Host::parse(host.as_bytes()).unwrap();
            assert_eq!(covers_host(pattern, &host), means, "{pattern} {host}");
        }
    }
}
