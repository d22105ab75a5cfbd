//! A pending look-up of one whole name: with a question for IPv6 and one for IPv4, or with none while the host program resolves.
//!
//! Theory of operation. Both questions run side by side; when both have ended, the look-up ends. When one has found
//! addresses and the other has not ended, a grace period begins. At its end the look-up answers with the addresses it
//! has and is *released*: it continues only to fill the cache, so that one lost reply does not hide half of a host's
//! addresses for the lifetime of the other half.

use std::net::IpAddr;

use super::message::{Family, WireName};
use super::query::{Question, State, Upstream};
use super::settings::Settings;
use super::{Addresses, Failure, LookUpId, Outcome, QueryId};
use crate::http::target::Name;

/// How long IPv4 addresses wait for the IPv6 ones (RFC 8305 section 3: the Resolution Delay).
const GRACE_FOR_V6_US: u64 = 50_000;
/// How long IPv6 addresses wait for the IPv4 ones. Chosen: a client of RFC 8305 adds late answers to its list, but
/// here each waiter gets one list, and without IPv4 a host without an IPv6 route is unreachable.
const GRACE_FOR_V4_US: u64 = 1_000_000;
/// Longest look-up, in microseconds. Chosen: no user waits longer for a page.
const LOOK_UP_US_MAX: u64 = 30_000_000;
/// Longest time in seconds that addresses are kept if the other family failed. Chosen.
const PARTIAL_TTL_S_MAX: u32 = 60;

/// A pending look-up.
pub(super) struct PendingLookUp {
    pub(super) id: LookUpId,
    pub(super) name: Name,
    /// Number of callers that wait.
    pub(super) waiters: u32,
    /// The answer at the end of the grace period.
    pub(super) released: Option<Outcome>,
    /// `None` while the host program resolves the name in place of servers.
    questions: Option<Questions>,
    /// Whether the host program was asked, and has not answered: a request may have joined while servers are queried.
    host_is_asked: bool,
    grace_until_us: Option<u64>,
    expires_us: u64,
}

/// The name servers that a look-up asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The servers of `resolv.conf`.
    Servers,
    /// The program around the resolver.
    Host,
}

/// One question for each family.
struct Questions {
    v6: Question,
    v4: Question,
}

/// The state of a look-up after its rules were applied.
pub(super) enum Progress {
    Waiting,
    /// The look-up answers with this outcome, and continues for the cache.
    Released(Outcome),
    /// The look-up has ended; the outcome is kept for so many seconds.
    Finished(Outcome, u32),
}

impl PendingLookUp {
    /// Sends both questions, if servers are queried. `None` only for a name that cannot be encoded, which `Name` rules out.
    pub(super) fn new(
        now_us: u64,
        upstream: &mut Upstream,
        id: LookUpId,
        name: &Name,
        asked: Asked,
    ) -> Option<PendingLookUp> {
        let owner = WireName::from_name(name)?;
        let questions = match asked {
            Asked::Servers => Some(Questions::ask(now_us, upstream, id, owner)),
            Asked::Host => None,
        };
        Some(PendingLookUp {
            id,
            name: *name,
            waiters: 1,
            released: None,
            questions,
            host_is_asked: asked == Asked::Host,
            grace_until_us: None,
            expires_us: now_us.saturating_add(LOOK_UP_US_MAX),
        })
    }

    /// Whether an answer of the host program would end the wait.
    pub(super) fn awaits_host(&self) -> bool {
        self.host_is_asked && self.released.is_none()
    }

    /// One more caller waits, for which that one was asked.
    pub(super) fn join(&mut self, asked: Asked) {
        self.waiters = self.waiters.saturating_add(1);
        self.host_is_asked |= asked == Asked::Host;
    }

    /// Begins again with other settings, if servers are queried. The deadline of the whole look-up stays.
    pub(super) fn restart(&mut self, now_us: u64, upstream: &mut Upstream) {
        if self.questions.is_some() {
            self.query(now_us, upstream);
        }
    }

    /// Sends both questions in place of the host program, unless servers are queried already. The deadline of the whole stays.
    pub(super) fn leave_to_servers(&mut self, now_us: u64, upstream: &mut Upstream) {
        self.host_is_asked = false;
        if self.questions.is_none() {
            self.query(now_us, upstream);
        }
    }

    fn query(&mut self, now_us: u64, upstream: &mut Upstream) {
        self.cancel(upstream);
        if let Some(owner) = WireName::from_name(&self.name) {
            self.questions = Some(Questions::ask(now_us, upstream, self.id, owner));
            self.grace_until_us = None;
        }
    }

    pub(super) fn question(&mut self, family: Family) -> Option<&mut Question> {
        let Questions { v6, v4 } = self.questions.as_mut()?;
        Some(match family {
            Family::V6 => v6,
            Family::V4 => v4,
        })
    }

    /// Whether one of the questions waits for a reply to this query.
    pub(super) fn awaits(&self, query: QueryId) -> bool {
        self.questions.as_ref().is_some_and(|Questions { v6, v4 }| v6.awaits(query) || v4.awaits(query))
    }

    /// The next deadline, in microseconds.
    pub(super) fn deadline_us(&self) -> u64 {
        let grace_us = if self.released.is_none() { self.grace_until_us } else { None };
        let asked = self.questions.as_ref().map(|asked| [asked.v6.deadline_us(), asked.v4.deadline_us()]);
        let others = asked.into_iter().flatten().chain([grace_us]);
        others.flatten().fold(self.expires_us, u64::min)
    }

    /// Ends both questions.
    pub(super) fn cancel(&mut self, upstream: &mut Upstream) {
        self.each(|question| question.cancel(upstream));
    }

    /// Handles deadlines that have passed.
    pub(super) fn handle_timeout(&mut self, now_us: u64, upstream: &mut Upstream) {
        if now_us >= self.expires_us {
            self.each(|question| question.expire(upstream));
        } else {
            self.each(|question| question.handle_timeout(now_us, upstream));
        }
    }

    /// Moves the questions away from silent servers, if other servers are live.
    pub(super) fn leave_down_servers(&mut self, now_us: u64, upstream: &mut Upstream, down: u16) {
        self.each(|question| question.leave_down_servers(now_us, upstream, down));
    }

    fn each(&mut self, mut what: impl FnMut(&mut Question)) {
        if let Some(Questions { v6, v4 }) = &mut self.questions {
            what(v6);
            what(v4);
        }
    }

    /// Applies the rules that join the two questions; called after each change of either, and at deadlines.
    pub(super) fn apply_rules(&mut self, now_us: u64, settings: &Settings) -> Progress {
        let Some(questions) = &self.questions else {
            return match now_us < self.expires_us {
                true => Progress::Waiting,
                false => Progress::Finished(Outcome::Failed(Failure::Timeout), 0),
            };
        };
        if questions.v6.is_pending() || questions.v4.is_pending() {
            return self.grace(now_us);
        }
        let addresses = questions.addresses();
        if !addresses.as_slice().is_empty() {
            let ttl_s = questions.addresses_ttl_s(settings);
            return Progress::Finished(Outcome::Addresses(addresses), ttl_s);
        }
        let (failure, ttl_s) = questions.missing(settings);
        Progress::Finished(Outcome::Failed(failure), ttl_s)
    }

    /// Called when at least one question has not ended.
    fn grace(&mut self, now_us: u64) -> Progress {
        let Some(questions) = &self.questions else { return Progress::Waiting };
        let length_us = match (&questions.v6.state, &questions.v4.state) {
            (State::Found { .. }, _) => GRACE_FOR_V4_US,
            (_, State::Found { .. }) => GRACE_FOR_V6_US,
            (_, _) => return Progress::Waiting,
        };
        let until_us = *self.grace_until_us.get_or_insert(now_us.saturating_add(length_us));
        if now_us < until_us || self.released.is_some() {
            return Progress::Waiting;
        }
        let outcome = Outcome::Addresses(questions.addresses());
        self.released = Some(outcome.clone());
        Progress::Released(outcome)
    }
}

impl Questions {
    /// Sends both.
    fn ask(now_us: u64, upstream: &mut Upstream, id: LookUpId, owner: WireName) -> Questions {
        let from = (id.slot(), upstream.first_server(id.serial()));
        let v6 = Question::new(now_us, upstream, from, Family::V6, owner);
        let v4 = Question::new(now_us, upstream, from, Family::V4, owner);
        Questions { v6, v4 }
    }

    fn addresses(&self) -> Addresses {
        let found = |question: &Question| -> Vec<IpAddr> {
            match &question.state {
                State::Found { addresses, .. } => addresses.clone(),
                State::Pending(_) | State::Missing { .. } => Vec::new(),
            }
        };
        let addresses = Addresses::new(found(&self.v6).into_iter().chain(found(&self.v4)));
        let aliases = self.v6.aliases.iter().chain(&self.v4.aliases);
        addresses.with_aliases(aliases.filter_map(|alias| alias.to_name()))
    }

    /// Addresses are kept as long as all records that led to them.
    fn addresses_ttl_s(&self, settings: &Settings) -> u32 {
        let holds_s = |question: &Question| match question.state {
            State::Found { ttl_s, .. } => ttl_s,
            State::Missing { failure: Failure::NotFound | Failure::NoAddress, ttl_s } => {
                ttl_s.unwrap_or(u32::MAX)
            }
            State::Missing { .. } | State::Pending(_) => PARTIAL_TTL_S_MAX,
        };
        let ttl_s = holds_s(&self.v6).min(holds_s(&self.v4));
        ttl_s.clamp(settings.ttl_s_min, settings.ttl_s_max)
    }

    /// The reason why the name has no addresses, and the seconds for which that is kept.
    fn missing(&self, settings: &Settings) -> (Failure, u32) {
        let part = |question: &Question| match question.state {
            State::Missing { failure, ttl_s } => (failure, ttl_s),
            State::Pending(_) | State::Found { .. } => (Failure::NoAddress, None),
        };
        let ((v6, v6_ttl_s), (v4, v4_ttl_s)) = (part(&self.v6), part(&self.v4));
        // A name that does not exist has no records of any type (RFC 8020); after any other failure the other family
        // may exist.
        let by_weight = [
            Failure::NotFound,
            Failure::Exhausted,
            Failure::Timeout,
            Failure::ServerFailure,
            Failure::Malformed,
            Failure::NoAddress,
        ];
        let failure = by_weight.into_iter().find(|&failure| failure == v6 || failure == v4).unwrap_or(v4);
        let ttl_s = match failure {
            Failure::NotFound | Failure::NoAddress => [v6_ttl_s, v4_ttl_s]
                .into_iter()
                .flatten()
                .min()
                // A negative answer without an SOA must not be cached (RFC 2308 section 5), so it is kept no longer than a failure.
                .unwrap_or(settings.failure_ttl_s)
                .clamp(settings.ttl_s_min, settings.negative_ttl_s_max),
            Failure::Timeout | Failure::ServerFailure | Failure::Malformed => settings.failure_ttl_s,
            Failure::Exhausted => 0,
        };
        (failure, ttl_s)
    }
}
