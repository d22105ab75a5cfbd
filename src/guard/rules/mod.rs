//! A compiled guard file: the requests that are counted, and the consequences.
//!
//! A [`Guard`] is immutable, and transactions keep the guard that they began with; a reload compiles another one over the
//! same [`State`]. A request calls it three times. [`Guard::client`] finds the client. [`Guard::admit`] refuses banned
//! clients and clients in a denied cloud. [`Guard::count`] records the request with every limit that covers it, and decides;
//! with a store, [`Guard::conclude`] decides by the store's answers.

mod clouds;
mod consequences;
mod counter;
mod counting;
#[cfg(feature = "detection")]
mod detecting;
mod identity;
mod scope;
mod subject;

pub use counting::{Counted, CounterRow, Decided, Question, StoreRules};
pub use subject::Subject;

use super::behaviour::{Asked, Behaviour, Met};
use super::breaker::Breaker;
use super::client_address::{ClientAddress, TrustTable};
use super::clouds::Clouds;
use super::csrf::{Forged, Key};
#[cfg(feature = "detection")]
use super::detection::{DetectionResult, Detector, Findings};
use super::directives::{CloudSide, CsrfLine, Directives};
use super::events::{Event, EventType};
use super::headers::SecurityHeaders;
use super::headers::report::Report;
use super::state::State;
use super::store::{Answer, StoreFailure};
use super::told::{Asker, Happened, Told};
use super::verdict::{Cause, Denial};
use crate::http::message::Fields;
use crate::http::path::EitherPath;
use crate::net::{AddressSteps, Embedded};
use crate::time::Now;
use clouds::CloudDenials;
use consequences::Consequences;
use counting::Counting;
use identity::hash_text;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// A guard file over the state of the guard.
#[derive(Debug)]
pub struct Guard {
    consequences: Consequences,
    trust: TrustTable,
    exempt: AddressSteps,
    /// The line of each of those networks.
    exempt_lines: Box<[u32]>,
    counting: Counting,
    clients: CloudDenials,
    destinations: CloudDenials,
    headers: SecurityHeaders,
    behaviour: Arc<Behaviour>,
    protected: Vec<CsrfLine>,
    /// The key that signs tokens; `None` protects nothing.
    key: Option<Key>,
    #[cfg(feature = "detection")]
    detector: Option<Arc<Detector>>,
}

impl Guard {
    /// Compiles a guard file over the state of the guard. `clouds` are the present networks.
    pub fn new(directives: &Directives, state: Arc<State>, clouds: &Clouds) -> Guard {
        let behaviour = Arc::new(Behaviour::new(directives, Arc::clone(&state), hash_text));
        Guard {
            behaviour,
            protected: directives.csrf.protected.clone(),
            key: None,
            #[cfg(feature = "detection")]
            detector: detecting::compiled(&directives.detect, &state),
            consequences: Consequences::new(state, directives.passive, &directives.ban_after),
            trust: TrustTable::new(&directives.trust),
            exempt: AddressSteps::new(directives.exempt.iter().map(|(network, _)| *network)),
            exempt_lines: directives.exempt.iter().map(|(_, line)| *line).collect(),
            counting: Counting::new(directives),
            clients: CloudDenials::new(&directives.clouds, CloudSide::Client, clouds),
            destinations: CloudDenials::new(&directives.clouds, CloudSide::Destination, clouds),
            headers: SecurityHeaders::new(&directives.headers),
        }
    }

    /// Sets the key that signs tokens.
    pub fn with_key(self, key: Option<Key>) -> Guard {
        Guard { key, ..self }
    }

    /// The key that signs tokens, if any line demands one.
    pub fn key(&self) -> Option<&Key> {
        self.key.as_ref().filter(|_| !self.protected.is_empty())
    }

    /// The lines that demand a token for a request: the first that covers it. Of a path with several readings all lines hold that
    /// cover one of them; otherwise a line that observes, or has another session, would be an exception from those behind it.
    pub fn protecting(
        &self,
        subject: &Subject<'_>,
        path: Option<&EitherPath<'_>>,
    ) -> impl Iterator<Item = &CsrfLine> {
        let most = if path.is_some_and(EitherPath::is_ambiguous) { usize::MAX } else { 1 };
        self.protected.iter().filter(move |line| line.scope.covers(subject, path)).take(most)
    }

    /// Refuses a request that may be forged, unless the guard is passive or the line observes.
    pub fn refuse_forged(
        &self,
        line: &CsrfLine,
        forged: Forged,
        asked: &Asker<'_>,
        now: Now,
    ) -> Result<(), Denial> {
        let logged_only = self.consequences.passive || line.observe;
        self.tell_forged(forged, asked, (Some(line), logged_only), now);
        let denial = Denial { cause: Cause::Forged, line: line.place.line, retry_after_s: 0 };
        if logged_only { Ok(()) } else { Err(denial) }
    }

    /// Records that a request for a page of weir's own may be forged, and is refused.
    pub fn note_forged(&self, forged: Forged, asked: &Asker<'_>, now: Now) {
        self.tell_forged(forged, asked, (None, false), now);
    }

    fn tell_forged(
        &self,
        forged: Forged,
        asked: &Asker<'_>,
        (line, logged_only): (Option<&CsrfLine>, bool),
        now: Now,
    ) {
        let action = if logged_only { "logged_only" } else { "request_blocked" };
        let mut event = Event::of_request(now, EventType::DecoratorViolation, asked, action);
        event.reason = format!("csrf:{}", forged.word());
        if let Some(line) = line {
            event.rule = format!("guard:{}", line.place.line);
        }
        self.state().push(event);
    }

    /// Records the reports of a browser.
    pub fn note_reports(&self, reports: Vec<Report>, asked: &Asker<'_>, now: Now) {
        reports.into_iter().for_each(|report| self.state().push(report.event(asked, now)));
    }

    /// The state that all guard files share.
    pub fn state(&self) -> &Arc<State> {
        &self.consequences.state
    }

    /// The rules for the store, if one is configured.
    pub fn store(&self) -> Option<StoreRules> {
        self.counting.store()
    }

    /// The further fields of a gateway's responses.
    pub fn headers(&self) -> &SecurityHeaders {
        &self.headers
    }

    /// Whether a peer is a trusted proxy, whose fields name its clients.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trust.trusts(peer)
    }

    // The functions named `usual` decide most requests by themselves, and need no facts for events.

    /// The client of a request from a peer with these fields, in the usual form of trusted proxies. `None`: see
    /// [`Guard::client`].
    #[inline]
    pub fn usual_client(&self, peer: &IpAddr, fields: Fields<'_, '_>) -> Option<Ipv4Addr> {
        self.trust.find_usual(peer, fields)
    }

    /// The client of a request from a peer with these fields, in canonical form; `None` for the peer itself. In this and
    /// later functions `asked` returns the facts for an event, and is called only if there is an event.
    pub fn client<'a>(
        &self,
        peer: IpAddr,
        fields: Fields<'_, '_>,
        asked: impl Fn() -> Asker<'a>,
        now: Now,
    ) -> Option<IpAddr> {
        let ClientAddress { address, spoofed } = self.trust.find(peer, fields);
        if spoofed {
            self.consequences.state.tell(now, Told::by(Happened::Spoofed, &asked()));
        }
        (address != peer).then_some(address)
    }

    /// Whether a client is banned, unless the guard is passive.
    pub fn is_banned(&self, client: IpAddr, now: Now) -> bool {
        !self.consequences.passive && self.consequences.state.banned(client, now).is_some()
    }

    /// Whether a client has an IPv4 address near which no network is refused. If not: see [`Guard::admit`].
    #[inline]
    pub fn is_usual(&self, client: &IpAddr) -> bool {
        self.consequences.state.has_no_ban_near(client) && self.clients.has_none_near(client)
    }

    /// Whether a client may use the proxy at all.
    pub fn admit<'a>(&self, client: IpAddr, asked: impl Fn() -> Asker<'a>, now: Now) -> Result<(), Denial> {
        if let Some(line) = self.consequences.state.banned(client, now) {
            let denial = Denial { cause: Cause::Banned, line, retry_after_s: 0 };
            self.consequences.refuse(Told::by(Happened::Blocked, &asked()), denial, false, now)?;
        }
        if self.clients.is_empty() || self.is_exempt(client) {
            return Ok(());
        }
        self.clients.judge(client, asked, &self.consequences, now)
    }

    /// Whether any destination is refused.
    #[inline]
    pub fn denies_destinations(&self) -> bool {
        !self.destinations.is_empty()
    }

    /// Whether an address may be dialled for a client.
    pub fn admit_destination<'a>(
        &self,
        address: IpAddr,
        asked: impl Fn() -> Asker<'a>,
        now: Now,
    ) -> Result<(), Denial> {
        if self.destinations.is_empty() {
            return Ok(());
        }
        reached(address)
            .try_for_each(|address| self.destinations.judge(address, &asked, &self.consequences, now))
    }

    /// The refusal of an address as a destination, for one that was dialled before and may be reused. It causes no event,
    /// because an address that is not reused is judged again when it is dialled.
    #[inline]
    pub fn destination_denial(&self, address: IpAddr) -> Option<Denial> {
        if self.destinations.is_empty() { None } else { self.denial_of_reached(address) }
    }

    // A separate function: mostly no destination is refused.
    #[inline(never)]
    fn denial_of_reached(&self, address: IpAddr) -> Option<Denial> {
        if self.consequences.passive {
            return None;
        }
        reached(address).find_map(|address| self.destinations.denial(address))
    }

    #[inline]
    fn is_exempt(&self, client: IpAddr) -> bool {
        self.exempt.find(client).is_some()
    }

    /// The line that exempts a client from limits.
    pub fn exempting(&self, client: IpAddr) -> Option<u32> {
        self.exempt.find(client).and_then(|number| self.exempt_lines.get(number as usize)).copied()
    }

    /// Whether any request is counted.
    #[inline]
    pub fn counts(&self) -> bool {
        !self.counting.is_empty()
    }

    /// Whether detection is on.
    #[inline]
    pub fn inspects(&self) -> bool {
        #[cfg(feature = "detection")]
        return self.detector.is_some();
        #[cfg(not(feature = "detection"))]
        false
    }

    /// Whether there are behaviour rules.
    #[inline]
    pub fn has_behaviour(&self) -> bool {
        !self.behaviour.is_empty()
    }

    /// Records a request if every counter distinguishes only clients and counts all requests, without a store. Otherwise
    /// `None`: see [`Guard::count`].
    #[inline]
    pub fn count_usual<'a>(
        &self,
        client: &IpAddr,
        asked: impl Fn() -> Asker<'a>,
        now: Now,
    ) -> Option<Decided> {
        if !self.counting.is_usual() {
            return None;
        }
        if self.is_exempt(*client) {
            return Some(Decided::default());
        }
        Some(self.counting.record_client(client, asked, &self.consequences, now))
    }

    /// Records a request with every counter that covers it. The breaker decides whether the store may be asked, and is called
    /// only for a request that needs the store: at times it admits one as a probe.
    pub fn count<'a>(
        &self,
        subject: &Subject<'_>,
        asked: impl Fn() -> Asker<'a>,
        now: Now,
        breaker: &mut Breaker,
        scratch: &mut Vec<u8>,
    ) -> Counted {
        if self.counting.is_empty() || self.is_exempt(subject.client) {
            return Counted::Decided(Decided::default());
        }
        self.counting.count(subject, &asked, &self.consequences, now, breaker, scratch)
    }

    /// Applies the behaviour rules to a request that nothing else has refused.
    pub fn meet<'a>(
        &self,
        subject: &Subject<'_>,
        asker: impl Fn() -> Asker<'a>,
        now: Now,
        scratch: &mut Vec<u8>,
    ) -> Met {
        if self.behaviour.is_empty() || self.is_exempt(subject.client) {
            return Met::default();
        }
        let path = subject.path.map(|path| EitherPath::new(path, scratch));
        let counted = path.as_ref().map(EitherPath::counted);
        let asked = Asked { client: subject.client, method: subject.method, path: counted };
        self.behaviour.request(&asked, |scope| scope.covers(subject, path.as_ref()), &asker, now)
    }

    /// The detector, if detection is on.
    #[cfg(feature = "detection")]
    pub fn detector(&self) -> Option<&Detector> {
        self.detector.as_deref()
    }

    /// Counts how long the inspection of a body took, if that was measured.
    #[cfg(feature = "detection")]
    pub fn note_duration(&self, result: DetectionResult, took_ns: Option<u64>) {
        self.state().durations.observe(detecting::noted(result), took_ns);
    }

    /// Whether a request with this result is refused.
    #[cfg(feature = "detection")]
    pub fn refuses(&self, result: DetectionResult) -> bool {
        !self.consequences.passive && self.detector.as_ref().is_some_and(|detector| detector.refuses(result))
    }

    /// The consequences of findings in a request.
    #[cfg(feature = "detection")]
    pub fn conclude_findings(&self, findings: &Findings, asked: &Asker<'_>, now: Now) -> Result<(), Denial> {
        let Some(detector) = &self.detector else { return Ok(()) };
        detecting::conclude(detector, (findings, asked), &self.consequences, now)
    }

    /// Looks for attacks in the head of a request: the target and the fields.
    #[cfg(feature = "detection")]
    pub fn inspect_head<'a>(
        &self,
        path: Option<&[u8]>,
        fields: Fields<'_, '_>,
        asked: impl Fn() -> Asker<'a>,
        now: Now,
    ) -> Result<(), Denial> {
        let Some(detector) = &self.detector else { return Ok(()) };
        let findings = detector.with_scratch(|scratch| {
            let mut findings = detector.begin(path, scratch)?;
            let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value));
            let durations = &self.state().durations;
            let began_ns = durations.read_ns();
            detector.scan_request(path, fields, scratch, &mut findings);
            durations.observe(detecting::noted(findings.result()), durations.since_ns(began_ns));
            Some(findings)
        });
        findings.map_or(Ok(()), |findings| self.conclude_findings(&findings, &asked(), now))
    }

    /// The decision by the store's answers, which must have passed [`Guard::are_answers`], or without answers.
    pub fn conclude<'a>(
        &self,
        question: &Question,
        answers: Result<&[Answer], StoreFailure>,
        asked: impl Fn() -> Asker<'a>,
        now: Now,
    ) -> Decided {
        self.counting.conclude(question, answers, &asked, &self.consequences, now)
    }

    /// Whether these are answers to the question: their number, and the kind of each.
    pub fn are_answers(&self, question: &Question, answers: &[Answer]) -> bool {
        self.counting.are_answers(question, answers)
    }

    /// The counters that record a request: line and directive of each; none for exempt clients.
    pub fn covering<'g>(&'g self, subject: &Subject<'_>, scratch: &mut Vec<u8>) -> Vec<(u32, &'g str)> {
        if self.is_exempt(subject.client) {
            return Vec::new();
        }
        let path = subject.path.map(|path| EitherPath::new(path, scratch));
        self.counting.covering(subject, path.as_ref())
    }

    /// The lines `behaviour` for a request; none for exempt clients.
    pub fn watching(&self, subject: &Subject<'_>, scratch: &mut Vec<u8>) -> Vec<u32> {
        if self.is_exempt(subject.client) {
            return Vec::new();
        }
        let path = subject.path.map(|path| EitherPath::new(path, scratch));
        self.behaviour.covering(|scope| scope.covers(subject, path.as_ref()))
    }

    /// The line that demands a token for a request.
    pub fn protecting_line(&self, subject: &Subject<'_>, scratch: &mut Vec<u8>) -> Option<u32> {
        let path = subject.path.map(|path| EitherPath::new(path, scratch));
        let covers = |line: &&CsrfLine| line.scope.covers(subject, path.as_ref());
        self.protected.iter().find(covers).map(|line| line.place.line)
    }

    /// The counters of a client for all its requests.
    pub fn counters_of(&self, client: IpAddr, now: Now) -> Vec<CounterRow> {
        self.counting.counters_of(client, self.state(), now)
    }

    /// Removes the counters of a client, including permanent blocks, in all processes and in the store. False if this process
    /// had none.
    pub fn forget(&self, client: IpAddr) -> bool {
        self.counting.forget(client, self.state())
    }

    /// Removes the counters of a client in this process alone: another process has removed them in the store.
    pub fn forget_here(&self, client: IpAddr) {
        self.counting.forget_here(client, self.state());
    }
}

/// The addresses that a connection to this one reaches: itself, and those behind a translator or a relay.
fn reached(address: IpAddr) -> impl Iterator<Item = IpAddr> {
    std::iter::once(address).chain(Embedded::of(address).iter())
}
