//! The cache's state of one transaction, from the look-up to the last byte that is read from the cache.
//!
//! | state | left when |
//! | --- | --- |
//! | `Unused` | the request is looked up |
//! | `LookingUp` | the look-up has found a hit, or the request goes to the origin |
//! | `Bypassing`, `Invalidating` | the response head has arrived |
//! | `AskingOrigin` | the response head has arrived, or the request has to wait |
//! | `AwaitingLeader` | the leader of the collapse has a result: the request is looked up again |
//! | `Reading` | the transaction ends, or continues without the cache (`HandedOver`) |
//!
//! A response that is being stored is a [`Fill`](super::fill::Fill), which belongs to no transaction: the transaction that
//! requested it reads it like any other reader.

use crate::cache::rfc::freshness::Terms;
use crate::cache::rfc::range::Part;
use crate::cache::rfc::status::Forward;
use crate::cache::rfc::storable::NotStored;
use crate::cache::store::Epoch;
use crate::cache::store::stored::Stored;
use crate::engine::cache::collapse::CollapseOutcome;
use crate::engine::cache::reader::CacheReader;
use crate::part::cache::built;
use std::sync::Arc;

/// The state of a transaction in the cache.
#[derive(Debug, Default)]
pub(in crate::engine) enum CacheState {
    /// No cache, or a method that the cache does not handle.
    #[default]
    Unused,
    /// The look-up is under way.
    LookingUp,
    /// The request bypasses the cache; the reason is for the log.
    Bypassing(&'static str),
    /// The method is unsafe: the response may invalidate stored ones. With an epoch if it may be stored itself.
    Invalidating(Option<Epoch>),
    /// The origin is being asked.
    AskingOrigin(Inquiry),
    /// Another request for the same key is under way; `outcome` is its result. The inquiry of this request is kept: a stale
    /// response can be the answer if the other request has failed.
    AwaitingLeader { inquiry: Inquiry, outcome: Option<CollapseOutcome> },
    /// The answer is read from the cache, or from a fill.
    Reading(CacheReader),
    /// The rest of the response goes from the origin to the client as without a cache.
    HandedOver,
}

/// The question to the origin and its circumstances.
#[derive(Debug)]
pub(in crate::engine) struct Inquiry {
    pub question: Question,
    /// The reason for asking, for Cache-Status.
    pub forward: Forward,
    /// The epoch of the key before the origin was asked.
    pub epoch: Epoch,
}

/// The question to the origin, with the stored response.
#[derive(Debug)]
pub(in crate::engine) enum Question {
    /// Requests a response, which may be stored.
    Response(Known),
    /// Asks whether the stored response is still valid.
    Validation(Stale),
    /// Requests the missing bytes of a stored part.
    Missing { beside: Arc<Stored>, missing: Part },
    /// HEAD: the response describes the stored one, and is not stored itself.
    Head(Known),
}

/// A stored response that cannot be used as it is.
#[derive(Debug)]
pub(in crate::engine) enum Known {
    Nothing,
    Stale(Stale),
    /// A part that the response may be combined with.
    Beside(Arc<Stored>),
}

/// A stored response that must not be used without asking the origin.
#[derive(Debug)]
pub(in crate::engine) struct Stale {
    pub stored: Arc<Stored>,
    /// Use it if the origin answers with an error.
    pub if_error: bool,
    /// Use it if the origin cannot be reached.
    pub if_unreachable: bool,
}

/// The work of the cache on the response of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum CacheTask {
    /// No work: no cache, or the request bypasses it.
    None,
    /// The response may be stored.
    Store,
    /// The response confirms or replaces a stale one.
    Validate,
    /// The response has missing bytes of a stored part.
    Complete,
    /// HEAD: the response describes the stored one, but is not stored itself.
    Head,
    /// The response may make stored ones worthless.
    Invalidate,
}

/// The number of waits of a request that must ask the origin itself.
const ALONE: u8 = u8::MAX;

/// The collapse that this transaction leads: other requests for the variant wait for it.
#[derive(Debug)]
pub(in crate::engine) struct Lead {
    /// The hash of the variant.
    pub hash: u64,
    /// The variant is locked before the other loops.
    pub locked: bool,
    pub state: LeadState,
}

/// The state of a lead.
#[derive(Debug)]
pub(in crate::engine) enum LeadState {
    /// The request was not forwarded yet, and no request waits.
    Granted,
    /// Requests of this loop wait.
    Leads,
    /// The response did not come in time, and another request leads. If it comes after all, those that wait for the key join it.
    Overtaken(Box<[u8]>),
}

/// The cache's side of one transaction.
#[derive(Debug, Default)]
pub(in crate::engine) struct Caching {
    pub state: CacheState,
    pub lead: Option<Lead>,
    /// How often the request has waited for another one; from [`COLLAPSES_MAX`] on it asks the origin itself, unless a response is
    /// arriving. [`ALONE`]: it does in any case.
    pub waits: u8,
    /// Without conditions of the cache's: the last answer was about something else.
    pub unconditional: bool,
    /// weir's own request, to refresh a response that was served stale.
    pub background: bool,
    /// The connection belongs to one client, or its origin offers that: the response is for no other client.
    pub pinned: bool,
    /// Seconds from the receipt for which a rule lets its response be fresh at most.
    pub lifetime_max_s: Option<u32>,
    /// The reason why the response was not stored.
    pub not_stored: Option<NotStored>,
    /// When the request was sent to the origin, in seconds since 1970.
    pub requested_s: u64,
}

impl Caching {
    /// The terms of a stored response, within the limit of its host's rules.
    pub fn terms(&self, stored: &Stored) -> Terms {
        let terms = stored.terms;
        let rule_s =
            self.lifetime_max_s.map_or(u32::MAX, |most_s| most_s.saturating_add(terms.initial_age_s));
        Terms { lifetime_s: terms.lifetime_s.min(rule_s), ..terms }
    }

    /// Resets the state for another transaction.
    #[inline]
    pub fn reset(&mut self) {
        // No other field is set before the state has changed.
        if !matches!(self.state, CacheState::Unused) {
            *self = Caching::default();
        }
    }

    /// Begins the first or a further look-up. `pinned`: over a connection that belongs to one client.
    pub fn begin(&mut self, pinned: bool) {
        let Caching { lead, waits, unconditional, background, .. } = std::mem::take(self);
        let state = CacheState::LookingUp;
        *self = Caching { state, lead, waits, unconditional, background, pinned, ..Caching::default() };
    }

    /// Begins the look-up of a request of weir's own.
    pub fn begin_background(&mut self) {
        (self.state, self.background) = (CacheState::LookingUp, true);
    }

    /// The hash of the collapse that a response belongs to.
    pub fn collapse_hash(&self, pending: &Stored) -> u64 {
        self.lead.as_ref().map_or(pending.hash(), |lead| lead.hash)
    }

    /// Takes the lock that is held before the other loops; gives the hash of its variant.
    pub fn take_lock(&mut self) -> Option<u64> {
        let lead = self.lead.as_mut()?;
        std::mem::take(&mut lead.locked).then_some(lead.hash)
    }

    /// The request waits for the leader of its collapse.
    pub fn begin_waiting(&mut self) {
        self.state = match std::mem::take(&mut self.state) {
            CacheState::AskingOrigin(inquiry) => CacheState::AwaitingLeader { inquiry, outcome: None },
            other => other,
        };
    }

    /// Ends the wait of the request. It counts as `counts` waits.
    pub fn end_waiting(&mut self, with: CollapseOutcome, counts: u8) {
        if let CacheState::AwaitingLeader { outcome, .. } = &mut self.state {
            *outcome = Some(with);
        }
        self.waits = self.waits.saturating_add(counts);
        if let CollapseOutcome::NotShareable = with {
            self.ask_alone();
        }
    }

    /// The result of the request that was waited for, if it has ended.
    pub fn outcome(&self) -> Option<CollapseOutcome> {
        built()?;
        if let CacheState::AwaitingLeader { outcome, .. } = self.state { outcome } else { None }
    }

    /// Whether the request is weir's own, for a whole response that all clients may get.
    pub fn fetches_for_all(&self) -> bool {
        self.background && self.beside().is_none()
    }

    /// The request waits for no other one any more, and joins none.
    pub fn ask_alone(&mut self) {
        self.waits = ALONE;
    }

    pub fn asks_alone(&self) -> bool {
        self.waits == ALONE
    }

    /// Whether the request has waited for another one.
    pub fn has_waited(&self) -> bool {
        self.waits > 0
    }

    /// The work of the cache on the response.
    pub fn task(&self) -> CacheTask {
        if built().is_none() {
            return CacheTask::None;
        }
        match &self.state {
            CacheState::Invalidating(_) => CacheTask::Invalidate,
            CacheState::AskingOrigin(inquiry) => match inquiry.question {
                Question::Response(_) => CacheTask::Store,
                Question::Validation(_) => CacheTask::Validate,
                Question::Missing { .. } => CacheTask::Complete,
                Question::Head(_) => CacheTask::Head,
            },
            CacheState::Unused
            | CacheState::LookingUp
            | CacheState::Bypassing(_)
            | CacheState::AwaitingLeader { .. }
            | CacheState::Reading(_)
            | CacheState::HandedOver => CacheTask::None,
        }
    }

    /// The question to the origin, also while the request waits for another one.
    fn inquiry(&self) -> Option<&Inquiry> {
        built()?;
        match &self.state {
            CacheState::AskingOrigin(inquiry) | CacheState::AwaitingLeader { inquiry, .. } => Some(inquiry),
            CacheState::Unused
            | CacheState::LookingUp
            | CacheState::Bypassing(_)
            | CacheState::Invalidating(_)
            | CacheState::Reading(_)
            | CacheState::HandedOver => None,
        }
    }

    fn question(&self) -> Option<&Question> {
        self.inquiry().map(|inquiry| &inquiry.question)
    }

    /// The reason why the request bypasses the cache, for the log.
    pub fn passed(&self) -> Option<&'static str> {
        match self.state {
            CacheState::Bypassing(reason) => Some(reason),
            CacheState::Invalidating(_) => Some("method"),
            CacheState::Unused
            | CacheState::LookingUp
            | CacheState::AskingOrigin(_)
            | CacheState::AwaitingLeader { .. }
            | CacheState::Reading(_)
            | CacheState::HandedOver => None,
        }
    }

    /// The reason why the request goes to the origin although the cache is on, for Cache-Status.
    pub fn forward(&self) -> Option<Forward> {
        let inquired = self.inquiry().map(|inquiry| inquiry.forward);
        let method = matches!(self.state, CacheState::Invalidating(_));
        let passed = self.passed().map(|_| if method { Forward::Method } else { Forward::Bypass });
        passed.or(inquired)
    }

    /// The epoch before the origin was asked, for a response that may be stored.
    pub fn epoch(&self) -> Option<Epoch> {
        let own = if let CacheState::Invalidating(epoch) = self.state { epoch } else { None };
        own.or(self.inquiry().map(|inquiry| inquiry.epoch))
    }

    /// The stored response that must be validated before use.
    pub fn stale(&self) -> Option<&Stale> {
        match self.question()? {
            Question::Validation(stale)
            | Question::Response(Known::Stale(stale))
            | Question::Head(Known::Stale(stale)) => Some(stale),
            Question::Missing { .. }
            | Question::Response(Known::Nothing | Known::Beside(_))
            | Question::Head(Known::Nothing | Known::Beside(_)) => None,
        }
    }

    /// The stored part that the response may be combined with.
    pub fn beside(&self) -> Option<&Arc<Stored>> {
        match self.question()? {
            Question::Missing { beside, .. }
            | Question::Response(Known::Beside(beside))
            | Question::Head(Known::Beside(beside)) => Some(beside),
            Question::Validation(stale)
            | Question::Response(Known::Stale(stale))
            | Question::Head(Known::Stale(stale)) => {
                Some(&stale.stored).filter(|stored| stored.fragment().is_some())
            }
            Question::Response(Known::Nothing) | Question::Head(Known::Nothing) => None,
        }
    }

    /// The stored response that does not answer the request.
    pub fn known(&self) -> Option<&Arc<Stored>> {
        self.stale().map(|stale| &stale.stored).or(self.beside())
    }

    /// Takes the stored response out of the question.
    pub fn take_known(&mut self) -> Option<Arc<Stored>> {
        built()?;
        let known = Arc::clone(self.known()?);
        if let CacheState::AskingOrigin(inquiry) | CacheState::AwaitingLeader { inquiry, .. } =
            &mut self.state
        {
            inquiry.question = Question::Response(Known::Nothing);
        }
        Some(known)
    }

    /// The stored response that the origin validates.
    pub fn to_validate(&self) -> Option<&Arc<Stored>> {
        match self.question()? {
            Question::Validation(stale) => Some(&stale.stored),
            Question::Response(_) | Question::Missing { .. } | Question::Head(_) => None,
        }
    }

    /// The stored part that the origin completes, and its missing bytes.
    pub fn to_complete(&self) -> Option<(&Arc<Stored>, Part)> {
        match self.question()? {
            Question::Missing { beside, missing } => Some((beside, *missing)),
            Question::Response(_) | Question::Validation(_) | Question::Head(_) => None,
        }
    }

    /// The reader of the transaction.
    #[inline]
    pub fn reader(&self) -> Option<&CacheReader> {
        built()?;
        if let CacheState::Reading(reader) = &self.state { Some(reader) } else { None }
    }

    #[inline]
    pub fn reader_mut(&mut self) -> Option<&mut CacheReader> {
        built()?;
        if let CacheState::Reading(reader) = &mut self.state { Some(reader) } else { None }
    }

    /// Takes the reader of a transaction that continues without the cache.
    pub fn hand_over(&mut self) -> Option<CacheReader> {
        built()?;
        let state = std::mem::replace(&mut self.state, CacheState::HandedOver);
        if let CacheState::Reading(reader) = state { Some(reader) } else { None }
    }
}
