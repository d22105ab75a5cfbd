//! Behaviour rules: patterns of clients over many requests and their responses (guard semantics, section 10).
//!
//! A rule counts events of one client on one endpoint in a sliding window: requests (`usage`, `frequency`), or responses that
//! a pattern matches (`return`). Every event is recorded, and each one beyond the threshold triggers the action. The endpoint
//! is the scope of the line if it has a path or `together`, and otherwise method and path of the request.
//!
//! A request passes the rules before it is forwarded ([`Behaviour::request`]): rules that were broken before may delay it, it
//! is counted, and the rules for its response are collected in a [`Watch`]. The watch gets the status, and the beginning of
//! the body as it passes.

pub mod automaton;
pub mod pattern;
pub mod throttles;

use super::bans::{Ban, BanOrigin};
use super::directives::{BehaviourAction, BehaviourKind, BehaviourLine, Directives, PER_CLIENT, Scope};
use super::events::{Event, EventType};
use super::state::State;
use super::store::Answer;
use super::told::Asker;
use super::verdict::{Cause, Denial};
use crate::time::Now;
use automaton::Progress;
use pattern::{BODY_BYTES_MAX, Pattern};
use std::net::IpAddr;
use std::sync::Arc;
use throttles::Pace;

/// The reason of a ban (guard semantics, section 10).
const REASON: &str = "behavioral_violation";

/// An automaton reports a match one byte late, so it gets a byte behind the last one that patterns see.
const SEEN_BYTES_MAX: usize = BODY_BYTES_MAX + 1;

/// All rules of a guard file.
#[derive(Debug)]
pub struct Behaviour {
    rules: Vec<Rule>,
    passive: bool,
    state: Arc<State>,
}

#[derive(Debug)]
struct Rule {
    line: u32,
    /// Equal for equal lines after every reload.
    identity: u64,
    counts: Counts,
    threshold: u32,
    window_ms: u64,
    scope: Scope,
    together: bool,
    action: BehaviourAction,
    correlate: bool,
    observe: bool,
}

#[derive(Debug)]
enum Counts {
    Usage,
    Frequency,
    Returns(Pattern),
}

/// The properties of a request that the rules use.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The address of the client.
    pub client: IpAddr,
    /// The method.
    pub method: &'a str,
    /// The path that counters of each path distinguish; `None` for CONNECT.
    pub path: Option<&'a [u8]>,
}

/// The cause of a counted event.
#[derive(Clone, Copy)]
struct By<'r, 'a> {
    client: IpAddr,
    /// `METHOD:path`.
    endpoint: &'r str,
    /// The request in the form for events.
    asker: &'r dyn Fn() -> Asker<'a>,
}

/// The result of the rules for a request.
#[derive(Debug, Default)]
pub struct Met {
    /// The delay of the request in microseconds.
    pub wait_us: u64,
    /// The refusal: the client is banned from now on, or too many of its requests wait.
    pub denial: Option<Denial>,
    /// The watch on the response.
    pub watch: Option<Box<Watch>>,
}

/// The watch on one response.
#[derive(Debug)]
pub struct Watch {
    behaviour: Arc<Behaviour>,
    client: IpAddr,
    /// `METHOD:path`, for events.
    endpoint: Box<str>,
    /// Rules by index, with the key of their counter.
    watched: Vec<(u8, u64)>,
    /// Patterns for the body, each with its progress.
    bodies: Vec<(u8, u64, Looked)>,
    /// The beginning of a document for patterns of JSON.
    document: Vec<u8>,
    /// Bytes of the body that went by.
    seen: usize,
}

#[derive(Debug)]
enum Looked {
    Bytes(Progress),
    /// The document is kept.
    Document,
}

impl Behaviour {
    /// The rules that hold.
    pub fn new(directives: &Directives, state: Arc<State>, hash: fn(&str) -> u64) -> Behaviour {
        let rules = directives.behaviour.iter().filter_map(|line| Rule::of(line, hash)).collect();
        Behaviour { rules, passive: directives.passive, state }
    }

    /// Whether nothing is counted.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The lines of the rules for a request. `covers` returns whether a scope contains it.
    pub fn covering(&self, covers: impl Fn(&Scope) -> bool) -> Vec<u32> {
        self.rules.iter().filter(|rule| covers(&rule.scope)).map(|rule| rule.line).collect()
    }

    /// Records a request that is about to be forwarded. `covers` returns whether a scope contains it.
    pub fn request<'a>(
        self: &Arc<Self>,
        asked: &Asked<'_>,
        covers: impl Fn(&Scope) -> bool,
        asker: &dyn Fn() -> Asker<'a>,
        now: Now,
    ) -> Met {
        let (mut met, mut watched) = (Met::default(), Vec::new());
        let endpoint = endpoint(asked);
        let by = By { client: asked.client, endpoint: &endpoint, asker };
        for (place, rule) in self.rules.iter().enumerate().filter(|(_, rule)| covers(&rule.scope)) {
            let key = rule.key(&self.state, asked, &endpoint);
            if let BehaviourAction::Throttle { requests, per_ms, .. } = rule.action {
                match self.state.throttles.take(key, interval_us(requests, per_ms), now.common_us) {
                    Pace::Free => {}
                    Pace::Wait(wait_us) => met.wait_us = met.wait_us.max(wait_us),
                    Pace::TooLong(wait_us) => {
                        let retry_after_s = u32::try_from(wait_us.div_ceil(1_000_000)).unwrap_or(u32::MAX);
                        self.tell_throttled(rule, &by, now);
                        met.denial = Some(Denial { cause: Cause::Throttled, line: rule.line, retry_after_s });
                    }
                }
            }
            match rule.counts {
                Counts::Usage | Counts::Frequency => {
                    if self.count(rule, key, &by, now) {
                        met.denial = Some(Denial { cause: Cause::Banned, line: rule.line, retry_after_s: 0 });
                    }
                }
                Counts::Returns(_) => watched.push((place as u8, key)),
            }
        }
        if !watched.is_empty() {
            met.watch = Some(Box::new(Watch {
                behaviour: Arc::clone(self),
                client: asked.client,
                endpoint: endpoint.into(),
                watched,
                bodies: Vec::new(),
                document: Vec::new(),
                seen: 0,
            }));
        }
        met
    }

    /// Records that a request would have to wait for too long, and is refused.
    fn tell_throttled(&self, rule: &Rule, by: &By<'_, '_>, now: Now) {
        let mut event =
            Event::of_request(now, EventType::BehavioralViolation, &(by.asker)(), "request_blocked");
        event.reason = "throttled".into();
        event.rule = format!("guard:{}", rule.line);
        event.metadata = vec![("endpoint", by.endpoint.to_owned())];
        self.state.push(event);
    }

    /// Records one event. True if it has banned the client.
    fn count(&self, rule: &Rule, key: u64, by: &By<'_, '_>, now: Now) -> bool {
        let suspicious = rule.correlate && self.state.is_suspicious(PER_CLIENT.network(by.client), now);
        let threshold = if suspicious { (rule.threshold / 2).max(1) } else { rule.threshold };
        let answer = self.state.windows.record(key, threshold, rule.window_ms, now.common_ms());
        match answer {
            Answer::Window { within: false, .. } => self.fire(rule, key, threshold, by, now),
            Answer::Window { within: true, .. } | Answer::Escalation(_) => false,
        }
    }

    fn fire(&self, rule: &Rule, key: u64, threshold: u32, by: &By<'_, '_>, now: Now) -> bool {
        let By { client, endpoint, asker } = *by;
        let logged_only = self.passive || rule.observe;
        let bans = match rule.action {
            BehaviourAction::Ban { duration_ms } if !logged_only => self.ban(rule, duration_ms, client, now),
            BehaviourAction::Ban { .. }
            | BehaviourAction::Log
            | BehaviourAction::Alert
            | BehaviourAction::Throttle { .. } => false,
        };
        let action = match rule.action {
            _ if logged_only => "logged_only",
            BehaviourAction::Log => "log",
            BehaviourAction::Alert => "alert",
            BehaviourAction::Ban { .. } if bans => "ban",
            BehaviourAction::Ban { .. } => "logged_only",
            BehaviourAction::Throttle { .. } => "throttle",
        };
        let mut event = Event::of_request(now, EventType::BehavioralViolation, &asker(), action);
        event.reason = REASON.into();
        event.rule = format!("guard:{}", rule.line);
        event.metadata = vec![
            ("endpoint", endpoint.to_owned()),
            ("rule_type", rule.counts.name().to_owned()),
            ("threshold", threshold.to_string()),
            ("window", rule.window_ms.div_ceil(1000).to_string()),
        ];
        if let (BehaviourAction::Throttle { requests, per_ms, .. }, false) = (rule.action, logged_only) {
            let delay_ms = interval_us(requests, per_ms).div_ceil(1000);
            event.metadata.push(("delay_ms", delay_ms.to_string()));
        }
        self.state.push(event);
        if logged_only {
            return false;
        }
        match rule.action {
            BehaviourAction::Log | BehaviourAction::Ban { .. } => {}
            BehaviourAction::Alert => self
                .state
                .alert(format!("guard:{}: {client} on {endpoint}: more than {threshold}", rule.line)),
            BehaviourAction::Throttle { requests, per_ms, duration_ms } => {
                let interval_us = interval_us(requests, per_ms);
                self.state.throttles.begin(key, interval_us, duration_ms.saturating_mul(1000), now.common_us);
            }
        }
        bans
    }

    /// Bans a client. False if it cannot be banned, such as loopback.
    fn ban(&self, rule: &Rule, duration_ms: Option<u64>, client: IpAddr, now: Now) -> bool {
        let until_unix_ms = duration_ms.map(|duration| now.unix_ms().saturating_add(duration));
        let (reason, origin) = (REASON.into(), BanOrigin::Automatic);
        let ban = Ban { until_unix_ms, reason, origin, line: rule.line };
        self.state.ban_client((client, PER_CLIENT.network(client)), ban, None, now).is_ok()
    }
}

/// The text of the endpoint in counters and events.
fn endpoint(asked: &Asked<'_>) -> String {
    let path = asked.path.map(String::from_utf8_lossy).unwrap_or_default();
    format!("{}:{path}", asked.method)
}

/// The time between two requests, in microseconds.
fn interval_us(requests: u32, per_ms: u64) -> u64 {
    per_ms.saturating_mul(1000) / u64::from(requests.max(1))
}

impl Counts {
    fn name(&self) -> &'static str {
        match self {
            Counts::Usage => "usage",
            Counts::Frequency => "frequency",
            Counts::Returns(_) => "return_pattern",
        }
    }
}

impl Rule {
    /// Compiles a line. `None` for an invalid pattern, which the reader of the file has refused.
    fn of(line: &BehaviourLine, hash: fn(&str) -> u64) -> Option<Rule> {
        let counts = match &line.kind {
            BehaviourKind::Usage => Counts::Usage,
            BehaviourKind::Frequency => Counts::Frequency,
            BehaviourKind::Return(pattern) => Counts::Returns(Pattern::parse(pattern).ok()?),
        };
        Some(Rule {
            line: line.place.line,
            identity: hash(&line.place.text),
            counts,
            threshold: line.threshold,
            window_ms: line.window_ms,
            scope: line.scope.clone(),
            together: line.together,
            action: line.action,
            correlate: line.correlate,
            observe: line.observe,
        })
    }

    fn key(&self, state: &State, asked: &Asked<'_>, endpoint: &str) -> u64 {
        let network = PER_CLIENT.network(asked.client);
        state.key(self.identity, |hasher| {
            hasher.write_address(network.addr());
            if !self.together {
                hasher.write(endpoint.as_bytes());
            }
        })
    }
}

impl Watch {
    /// Whether the body of the response may be of interest.
    pub fn wants_body(&self) -> bool {
        self.watched.iter().any(|(place, _)| {
            let rule = self.behaviour.rules.get(usize::from(*place));
            matches!(
                rule.map(|rule| &rule.counts),
                Some(Counts::Returns(Pattern::Json(_) | Pattern::Bytes(_)))
            )
        })
    }

    /// Begins a response: counts it for its status, and returns whether the body must be watched.
    pub fn begin<'a>(&mut self, status: u16, asker: impl Fn() -> Asker<'a>, now: Now) -> bool {
        let behaviour = Arc::clone(&self.behaviour);
        let by = By { client: self.client, endpoint: &self.endpoint, asker: &asker };
        for &(place, key) in &self.watched {
            let Some(rule) = behaviour.rules.get(usize::from(place)) else { continue };
            match &rule.counts {
                Counts::Returns(Pattern::Status(own)) if *own == status => {
                    behaviour.count(rule, key, &by, now);
                }
                Counts::Returns(Pattern::Json(_)) => self.bodies.push((place, key, Looked::Document)),
                Counts::Returns(Pattern::Bytes(automaton)) => {
                    self.bodies.push((place, key, Looked::Bytes(automaton.start())));
                }
                Counts::Returns(Pattern::Status(_)) | Counts::Usage | Counts::Frequency => {}
            }
        }
        self.watched.clear();
        !self.bodies.is_empty()
    }

    /// Feeds decoded bytes of the body.
    pub fn feed(&mut self, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(SEEN_BYTES_MAX - self.seen)];
        self.seen += bytes.len();
        let behaviour = &self.behaviour;
        let mut keeps = false;
        for (place, _, looked) in &mut self.bodies {
            match looked {
                Looked::Bytes(progress) => {
                    let pattern = behaviour.rules.get(usize::from(*place)).map(|rule| &rule.counts);
                    if let Some(Counts::Returns(Pattern::Bytes(automaton))) = pattern {
                        *progress = automaton.feed(*progress, bytes);
                    }
                }
                Looked::Document => keeps = true,
            }
        }
        if keeps {
            let room = BODY_BYTES_MAX - self.document.len();
            self.document.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    /// Bytes of memory for what is kept of the body.
    pub fn heap_bytes(&self) -> usize {
        self.document.capacity()
    }

    /// Whether more of the body is of interest.
    pub fn wants_more(&self) -> bool {
        let is_open = |looked: &Looked| !matches!(looked, Looked::Bytes(Progress::Matched));
        self.seen < SEEN_BYTES_MAX && self.bodies.iter().any(|(.., looked)| is_open(looked))
    }

    /// Ends the body, or its watched part; `whole` if that is all of it. Counts the response.
    pub fn end<'a>(&mut self, whole: bool, asker: impl Fn() -> Asker<'a>, now: Now) {
        let behaviour = Arc::clone(&self.behaviour);
        let by = By { client: self.client, endpoint: &self.endpoint, asker: &asker };
        let bodies = std::mem::take(&mut self.bodies);
        // An empty body matches nothing (guard semantics, section 10).
        for (place, key, looked) in bodies.into_iter().filter(|_| self.seen > 0) {
            let Some(rule) = behaviour.rules.get(usize::from(place)) else { continue };
            let matches = match (&rule.counts, looked) {
                (Counts::Returns(Pattern::Bytes(automaton)), Looked::Bytes(progress)) => match whole {
                    true => automaton.end(progress),
                    // The automaton reports a match at the last byte with the next one.
                    false if self.seen < SEEN_BYTES_MAX => {
                        matches!(automaton.feed(progress, b"\0"), Progress::Matched)
                    }
                    false => matches!(progress, Progress::Matched),
                },
                // A document that was cut cannot be parsed.
                (Counts::Returns(Pattern::Json(pattern)), Looked::Document) => {
                    whole && pattern.matches(&self.document)
                }
                _ => false,
            };
            if matches {
                behaviour.count(rule, key, &by, now);
            }
        }
        self.document = Vec::new();
    }
}

#[cfg(test)]
mod tests;
