//! What the cache has to do with one transaction, from the look-up to the last byte that is read from it.
//!
//! | state | left when |
//! | --- | --- |
//! | `Unused` | the request is looked up |
//! | `LookingUp` | the look-up has found a hit, or the request goes to the origin |
//! | `Bypassing`, `Invalidating`, `Asking` | the response head has come; `Asking` also when the request has to wait |
//! | `Waiting` | the leader of the collapse has brought something, or has failed: the request is looked up again |
//! | `Reading` | the transaction ends, or goes on without the cache (`HandedOver`) |
//!
//! A response that is being stored is a [`Fill`](super::fill::Fill), which belongs to no transaction: the transaction that has
//! asked for it reads it like any other one.

use crate::cache::rfc::freshness::Terms;
use crate::cache::rfc::range::Part as Bytes;
use crate::cache::rfc::status::Forward;
use crate::cache::rfc::storable::NotStored;
use crate::cache::store::Epoch;
use crate::cache::store::stored::Stored;
use crate::engine::cache::collapse::{COLLAPSES_MAX, CollapseOutcome};
use crate::engine::cache::reader::CacheReader;
use crate::part::cache::built;
use std::sync::Arc;

/// Where a transaction stands with the cache.
#[derive(Debug, Default)]
pub(in crate::engine) enum CacheState {
    /// There is no cache, or it has nothing to do with the method.
    #[default]
    Unused,
    /// The cache is asked, and has not answered.
    LookingUp,
    /// The cache passes the request by; why, for the log.
    Bypassing(&'static str),
    /// The method is unsafe: the response may make stored ones worthless. With an epoch if it may be stored itself.
    Invalidating(Option<Epoch>),
    /// The origin is asked.
    Asking(Inquiry),
    /// Another request for the same key is under way; once it has brought something, its outcome. What this request would
    /// ask is kept: a stale response can be the answer if the other request has failed.
    Waiting { inquiry: Inquiry, outcome: Option<CollapseOutcome> },
    /// The answer is read from the cache, or from what is being stored.
    Reading(CacheReader),
    /// The rest of the response goes from the origin to the client as it would without a cache.
    HandedOver,
}

/// What the origin is asked.
#[derive(Debug)]
pub(in crate::engine) struct Inquiry {
    pub question: Question,
    /// Why it is asked, for Cache-Status.
    pub forward: Forward,
    /// The invalidations before it was asked.
    pub epoch: Epoch,
}

/// The question to the origin, with what is stored.
#[derive(Debug)]
pub(in crate::engine) enum Question {
    /// For a response, which may be stored.
    Response(Known),
    /// Whether what is stored is still good.
    Validation(Stale),
    /// For the bytes that are missing of a stored part.
    Missing { beside: Arc<Stored>, missing: Bytes },
    /// HEAD: the response says something about what is stored, and is not stored itself.
    Head(Known),
}

/// What is stored and cannot be used as it is.
#[derive(Debug)]
pub(in crate::engine) enum Known {
    Nothing,
    Stale(Stale),
    /// A part, which what comes may be put to.
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

/// What the cache has to do with the response of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Part {
    /// Nothing: there is no cache, or it passes the request by.
    None,
    /// The response may be stored.
    Store,
    /// The cache asks whether what it has is still good.
    Validate,
    /// The cache asks for what is missing of a stored part.
    Complete,
    /// The response says something about what is stored, but is not stored itself: HEAD.
    Head,
    /// The response may make stored ones worthless.
    Invalidate,
}

/// What other requests wait for, as long as this one leads them.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Lead {
    /// The hash of the key.
    pub hash: u64,
    /// The key is locked before the other loops.
    pub locked: bool,
    /// Requests of this loop may wait: not before the request is forwarded.
    pub begun: bool,
}

/// The cache's side of one transaction.
#[derive(Debug, Default)]
pub(in crate::engine) struct Caching {
    pub state: CacheState,
    pub lead: Option<Lead>,
    /// How often it has waited for another request; from [`COLLAPSES_MAX`] on it asks by itself.
    pub waits: u8,
    /// Without conditions of the cache's: the last answer was about something else.
    pub unconditional: bool,
    /// weir's own request, to refresh what was served stale.
    pub background: bool,
    /// It goes over a connection that is one client's alone, or whose origin offers that: nothing of it is for others.
    pub bound: bool,
    /// Seconds for which a rule lets its response be fresh at most.
    pub lifetime_max_s: Option<u32>,
    /// Why the response was not stored.
    pub not_stored: Option<NotStored>,
    /// When the request went to the origin, seconds since 1970.
    pub requested_s: u64,
}

impl Caching {
    /// What a stored response says, as far as the rules of its host let it.
    pub fn terms(&self, stored: &Stored) -> Terms {
        let lifetime_s = stored.terms.lifetime_s.min(self.lifetime_max_s.unwrap_or(u32::MAX));
        Terms { lifetime_s, ..stored.terms }
    }

    /// As of a transaction that has not begun.
    #[inline]
    pub fn reset(&mut self) {
        // Nothing else has been set before the state is another one.
        if !matches!(self.state, CacheState::Unused) {
            *self = Caching::default();
        }
    }

    /// Before the request is looked up, for the first time or once more. `bound`: over a connection that is one client's alone.
    pub fn begin(&mut self, bound: bool) {
        let Caching { lead, waits, unconditional, background, .. } = *self;
        let state = CacheState::LookingUp;
        *self = Caching { state, lead, waits, unconditional, background, bound, ..Caching::default() };
    }

    /// Before a request of weir's own is looked up.
    pub fn begin_background(&mut self) {
        (self.state, self.background) = (CacheState::LookingUp, true);
    }

    /// Takes the lock that is held before the other loops; gives the hash of its key.
    pub fn take_lock(&mut self) -> Option<u64> {
        let lead = self.lead.as_mut()?;
        std::mem::take(&mut lead.locked).then_some(lead.hash)
    }

    /// The request waits for the leader of its collapse.
    pub fn begin_waiting(&mut self) {
        self.state = match std::mem::take(&mut self.state) {
            CacheState::Asking(inquiry) => CacheState::Waiting { inquiry, outcome: None },
            other => other,
        };
    }

    /// The wait of the request is over. It counts as so many.
    pub fn end_waiting(&mut self, with: CollapseOutcome, counts: u8) {
        if let CacheState::Waiting { outcome, .. } = &mut self.state {
            *outcome = Some(with);
        }
        self.waits = self.waits.saturating_add(counts);
        if let CollapseOutcome::NotShareable = with {
            self.ask_alone();
        }
    }

    /// What the request that it has waited for has brought, if that has come to an end.
    pub fn outcome(&self) -> Option<CollapseOutcome> {
        built()?;
        if let CacheState::Waiting { outcome, .. } = self.state { outcome } else { None }
    }

    /// The request waits for no other one any more.
    pub fn ask_alone(&mut self) {
        self.waits = COLLAPSES_MAX;
    }

    /// Whether the request has waited for another one.
    pub fn has_waited(&self) -> bool {
        self.waits > 0
    }

    /// What the cache has to do with the response.
    pub fn part(&self) -> Part {
        if built().is_none() {
            return Part::None;
        }
        match &self.state {
            CacheState::Invalidating(_) => Part::Invalidate,
            CacheState::Asking(inquiry) => match inquiry.question {
                Question::Response(_) => Part::Store,
                Question::Validation(_) => Part::Validate,
                Question::Missing { .. } => Part::Complete,
                Question::Head(_) => Part::Head,
            },
            CacheState::Unused
            | CacheState::LookingUp
            | CacheState::Bypassing(_)
            | CacheState::Waiting { .. }
            | CacheState::Reading(_)
            | CacheState::HandedOver => Part::None,
        }
    }

    /// What the origin is asked, or would be if the request did not wait for another one.
    fn inquiry(&self) -> Option<&Inquiry> {
        built()?;
        match &self.state {
            CacheState::Asking(inquiry) | CacheState::Waiting { inquiry, .. } => Some(inquiry),
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

    /// Why the cache passes the request by, for the log.
    pub fn passed(&self) -> Option<&'static str> {
        match self.state {
            CacheState::Bypassing(reason) => Some(reason),
            CacheState::Invalidating(_) => Some("method"),
            CacheState::Unused
            | CacheState::LookingUp
            | CacheState::Asking(_)
            | CacheState::Waiting { .. }
            | CacheState::Reading(_)
            | CacheState::HandedOver => None,
        }
    }

    /// Why the request goes to the origin although there is a cache, for Cache-Status.
    pub fn forward(&self) -> Option<Forward> {
        let inquired = self.inquiry().map(|inquiry| inquiry.forward);
        let method = matches!(self.state, CacheState::Invalidating(_));
        let passed = self.passed().map(|_| if method { Forward::Method } else { Forward::Bypass });
        passed.or(inquired)
    }

    /// The invalidations before the origin was asked for a response that may be stored.
    pub fn epoch(&self) -> Option<Epoch> {
        let own = if let CacheState::Invalidating(epoch) = self.state { epoch } else { None };
        own.or(self.inquiry().map(|inquiry| inquiry.epoch))
    }

    /// What is stored, and must not be used without asking.
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

    /// The stored part that what comes may be put to.
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

    /// What is stored, and does not answer the request.
    pub fn known(&self) -> Option<&Arc<Stored>> {
        self.stale().map(|stale| &stale.stored).or(self.beside())
    }

    /// Takes what is stored; the question is one without it from now on.
    pub fn take_known(&mut self) -> Option<Arc<Stored>> {
        built()?;
        let known = Arc::clone(self.known()?);
        if let CacheState::Asking(inquiry) | CacheState::Waiting { inquiry, .. } = &mut self.state {
            inquiry.question = Question::Response(Known::Nothing);
        }
        Some(known)
    }

    /// What the origin is asked about.
    pub fn to_validate(&self) -> Option<&Arc<Stored>> {
        match self.question()? {
            Question::Validation(stale) => Some(&stale.stored),
            Question::Response(_) | Question::Missing { .. } | Question::Head(_) => None,
        }
    }

    /// What the origin is asked to complete, and which bytes of it are missing.
    pub fn to_complete(&self) -> Option<(&Arc<Stored>, Bytes)> {
        match self.question()? {
            Question::Missing { beside, missing } => Some((beside, *missing)),
            Question::Response(_) | Question::Validation(_) | Question::Head(_) => None,
        }
    }

    /// What the transaction reads.
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

    /// Takes the reader of a transaction that goes on without the cache.
    pub fn hand_over(&mut self) -> Option<CacheReader> {
        built()?;
        let state = std::mem::replace(&mut self.state, CacheState::HandedOver);
        if let CacheState::Reading(reader) = state { Some(reader) } else { None }
    }
}
