//! A guard file, compiled: which requests are counted for what, and what follows.
//!
//! One [`Guard`] is immutable and holds for whatever began with it; a reload makes another one over the same [`State`]. A
//! request meets it three times. [`Guard::client`] says whose request it is. [`Guard::admit`] refuses banned clients and those
//! in a cloud. [`Guard::count`] records the request with every limit that is about it, all of them, and says whether it
//! passes; with a store it says so when [`Guard::conclude`] has the store's answers.

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
use super::detection::{Detector, Findings, Verdict};
use super::directives::{CloudSide, CsrfLine, Directives};
use super::events::{Event, EventType};
use super::headers::SecurityHeaders;
use super::headers::report::Report;
use super::state::State;
use super::store::{Answer, StoreFailure};
use super::told::{Asker, Happened, Told};
use super::verdict::{Cause, Denial};
use crate::http::message::Fields;
use crate::http::path;
use crate::net::AddressSteps;
use crate::time::Now;
use clouds::CloudDenials;
use consequences::Consequences;
use counting::Counting;
use identity::hash_text;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// A guard file over what was counted.
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
    /// What signs tokens; nothing is protected without.
    key: Option<Key>,
    #[cfg(feature = "detection")]
    detector: Option<Arc<Detector>>,
}

impl Guard {
    /// Compiles a guard file over what was counted. `clouds` are the networks that are known at present.
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

    /// Has tokens signed with a key.
    pub fn with_key(self, key: Option<Key>) -> Guard {
        Guard { key, ..self }
    }

    /// The line that has a request show where it comes from, and what signs the tokens.
    pub fn protecting(&self, subject: &Subject<'_>, path: Option<&[u8]>) -> Option<(&CsrfLine, &Key)> {
        let line = self.protected.iter().find(|line| line.scope.covers(subject, path))?;
        Some((line, self.key.as_ref()?))
    }

    /// Refuses a request that may be forged, unless nothing is to be refused.
    pub fn refuse_forged(
        &self,
        line: &CsrfLine,
        forged: Forged,
        subject: &Subject<'_>,
        now: Now,
    ) -> Result<(), Denial> {
        let logged_only = self.consequences.passive || line.observe;
        self.tell_forged(forged, subject, (Some(line), logged_only), now);
        let denial = Denial { cause: Cause::Forged, line: line.place.line, retry_after_s: 0 };
        if logged_only { Ok(()) } else { Err(denial) }
    }

    /// Notes that a request for a page of weir's own may be forged, and is refused.
    pub fn note_forged(&self, forged: Forged, subject: &Subject<'_>, now: Now) {
        self.tell_forged(forged, subject, (None, false), now);
    }

    fn tell_forged(
        &self,
        forged: Forged,
        subject: &Subject<'_>,
        (line, logged_only): (Option<&CsrfLine>, bool),
        now: Now,
    ) {
        let action = if logged_only { "logged_only" } else { "request_blocked" };
        let mut event = Event::new(now, EventType::DecoratorViolation, Some(subject.client), action);
        event.reason = format!("csrf:{}", forged.word());
        if let Some(line) = line {
            event.rule = format!("guard:{}", line.place.line);
        }
        subject.method.clone_into(&mut event.method);
        event.endpoint = subject.path.map(String::from_utf8_lossy).unwrap_or_default().into_owned();
        self.state().push(event);
    }

    /// Notes what a browser has reported.
    pub fn note_reports(&self, reports: Vec<Report>, client: IpAddr, now: Now) {
        reports.into_iter().for_each(|report| self.state().push(report.event(client, now)));
    }

    /// What is counted, over all guard files that have held.
    pub fn state(&self) -> &Arc<State> {
        &self.consequences.state
    }

    /// How the store is asked, if there is one.
    pub fn store(&self) -> Option<StoreRules> {
        self.counting.store()
    }

    /// What the answers of a gateway carry besides.
    pub fn headers(&self) -> &SecurityHeaders {
        &self.headers
    }

    /// Whether a peer is a proxy whose word about its clients counts.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trust.trusts(peer)
    }

    // The functions called `usual` decide most requests by themselves, and need nothing that is told of a request.

    /// Whose request it is that has come from a peer with these fields, where nearly all trusted proxies say it. `None`: see
    /// [`Guard::client`].
    #[inline]
    pub fn usual_client(&self, peer: &IpAddr, fields: Fields<'_, '_>) -> Option<Ipv4Addr> {
        self.trust.find_usual(peer, fields)
    }

    /// Whose request it is that has come from a peer with these fields, in canonical form; `None`: the peer's own. Here and below,
    /// `asked` is what is told of the request, and is called only if something is.
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

    /// Whether a client is banned, and bans hold.
    pub fn is_banned(&self, client: IpAddr, now: Now) -> bool {
        !self.consequences.passive && self.consequences.state.banned(client, now).is_some()
    }

    /// Whether a client has an address of IPv4 in whose part of the net no address is refused. If not: see [`Guard::admit`].
    #[inline]
    pub fn is_usual(&self, client: &IpAddr) -> bool {
        self.consequences.state.has_no_ban_near(client) && self.clients.has_none_near(client)
    }

    /// Whether a client may ask for anything.
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
        self.destinations.judge(address, asked, &self.consequences, now)
    }

    /// What would refuse an address as a destination: for one that was dialled before, and may be used again. Nothing is told of
    /// the answer, because an address that is not used again is judged once more when it is dialled.
    pub fn destination_denial(&self, address: IpAddr) -> Option<Denial> {
        if self.consequences.passive { None } else { self.destinations.denial(address) }
    }

    #[inline]
    fn is_exempt(&self, client: IpAddr) -> bool {
        self.exempt.find(client).is_some()
    }

    /// The line because of which a client is never limited.
    pub fn exempting(&self, client: IpAddr) -> Option<u32> {
        self.exempt.find(client).and_then(|number| self.exempt_lines.get(number as usize)).copied()
    }

    /// Whether requests are counted at all.
    #[inline]
    pub fn counts(&self) -> bool {
        !self.counting.is_empty()
    }

    /// Whether attacks are looked for.
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

    /// Records a request where every counter is kept for clients alone and counts all their requests, without a store. `None`
    /// otherwise: see [`Guard::count`].
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

    /// Records a request with every counter that is about it. The breaker says whether the store may be asked, and is asked only
    /// for a request that needs it: it lets one through now and then to see whether the store is back.
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

    /// Takes a request through the behaviour rules. It has passed everything else that may refuse it.
    pub fn meet(&self, subject: &Subject<'_>, now: Now, scratch: &mut Vec<u8>) -> Met {
        if self.behaviour.is_empty() || self.is_exempt(subject.client) {
            return Met::default();
        }
        let path = subject.path.map(|path| path::comparison_form(path, scratch).bytes);
        let asked = Asked { client: subject.client, method: subject.method, path };
        self.behaviour.request(&asked, |scope| scope.covers(subject, path), now)
    }

    /// What looks for attacks in requests, if the guard file has it.
    #[cfg(feature = "detection")]
    pub fn detector(&self) -> Option<&Detector> {
        self.detector.as_deref()
    }

    /// Whether a request is refused for what was found in it.
    #[cfg(feature = "detection")]
    pub fn refuses(&self, verdict: Verdict) -> bool {
        !self.consequences.passive && self.detector.as_ref().is_some_and(|detector| detector.refuses(verdict))
    }

    /// What follows from what was found in a request.
    #[cfg(feature = "detection")]
    pub fn conclude_findings(
        &self,
        findings: &Findings,
        subject: &Subject<'_>,
        now: Now,
    ) -> Result<(), Denial> {
        let Some(detector) = &self.detector else { return Ok(()) };
        detecting::conclude(detector, (findings, subject), &self.consequences, now)
    }

    /// Looks for attacks in the head of a request: the target and the fields.
    #[cfg(feature = "detection")]
    pub fn inspect_head(
        &self,
        subject: &Subject<'_>,
        fields: Fields<'_, '_>,
        now: Now,
    ) -> Result<(), Denial> {
        let Some(detector) = &self.detector else { return Ok(()) };
        let findings = detector.with_scratch(|scratch| {
            let mut findings = detector.begin(subject.path, scratch)?;
            let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value));
            detector.scan_request(subject.path, fields, scratch, &mut findings);
            Some(findings)
        });
        findings.map_or(Ok(()), |findings| self.conclude_findings(&findings, subject, now))
    }

    /// What the store's answers mean, of which [`Guard::are_answers`] was asked, or that there are none.
    pub fn conclude<'a>(
        &self,
        question: &Question,
        answers: Result<&[Answer], StoreFailure>,
        asked: impl Fn() -> Asker<'a>,
        now: Now,
    ) -> Decided {
        self.counting.conclude(question, answers, &asked, &self.consequences, now)
    }

    /// Whether these are answers to what was asked: so many, and each of its kind.
    pub fn are_answers(&self, question: &Question, answers: &[Answer]) -> bool {
        self.counting.are_answers(question, answers)
    }

    /// The counters that a request is recorded with: line and directive of each; none for exempt clients.
    pub fn covering<'g>(&'g self, subject: &Subject<'_>, scratch: &mut Vec<u8>) -> Vec<(u32, &'g str)> {
        if self.is_exempt(subject.client) {
            return Vec::new();
        }
        self.counting.covering(subject, scratch)
    }

    /// What is counted of a client, over all its requests.
    pub fn counters_of(&self, client: IpAddr, now: Now) -> Vec<CounterRow> {
        self.counting.counters_of(client, self.state(), now)
    }

    /// Forgets what is counted of a client, blocks for ever included, here and in the store. False if nothing was counted here.
    pub fn forget(&self, client: IpAddr) -> bool {
        self.counting.forget(client, self.state())
    }
}
