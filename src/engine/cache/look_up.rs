//! What the cache says to a request: answered from memory, joined to a request under way, or sent on, and how.
//!
//! The cache is asked when the policy has allowed the request, so a hit is judged like any other: by name, port, user, and
//! by the address that the stored response came from.

use crate::cache::fill::fill_locks::LockResult;
use crate::cache::rfc::control::RequestDirectives;
use crate::cache::rfc::freshness::{self, Freshness, Terms, Use};
use crate::cache::rfc::key::{self, Scheme, Uri};
use crate::cache::rfc::range::{self, Part as Bytes, Selection};
use crate::cache::rfc::status::Forward;
use crate::cache::rfc::storable::NotStored;
use crate::cache::rfc::validation::{self, Answer, Validators};
use crate::cache::rfc::{invalidation, language, vary};
use crate::cache::store::stored::Stored;
use crate::cache::store::{Epoch, Found, Store};
use crate::engine::cache::collapse::{COLLAPSES_MAX, Collapses, InProgress};
use crate::engine::cache::coordination::WAITS_MAX;
use crate::engine::cache::fill::{Fill, FillId};
use crate::engine::cache::selecting::AsForwarded;
use crate::engine::transaction::examine::{Decision, Method, RequestInfo};
use crate::engine::transaction::log_record::CacheUse;
use crate::engine::transaction::refusal::Refusal;
use crate::guard::rules::Guard;
use crate::http::block::FieldLines;
use crate::http::forwarding::ForwardedPolicy;
use crate::http::framing::Body;
use crate::http::head::RequestHead;
use crate::http::target::{Host, Name};
use crate::policy::Policy;
use crate::policy::acl;
use crate::policy::cache_rules::Treatment;
use crate::resolver::{Resolver, Walk};
use crate::time::Now;
use slab::Slab;
use std::sync::Arc;

/// What the engine is told about caching.
#[derive(Clone, Debug)]
pub struct CacheSettings {
    /// The store of all loops.
    pub store: Arc<Store>,
    /// What is guessed and what is not.
    pub freshness: Freshness,
    /// Names of fields that count in place of Cache-Control, the most important first.
    pub targeted: Vec<String>,
    /// Say in Cache-Status what the cache did.
    pub status: bool,
    /// From where PURGE is taken.
    pub purge_from: Vec<ipnet::IpNet>,
}

impl CacheSettings {
    /// The defaults over a store.
    pub fn new(store: Arc<Store>) -> CacheSettings {
        CacheSettings {
            store,
            freshness: Freshness::default(),
            targeted: Vec::new(),
            status: true,
            purge_from: Vec::new(),
        }
    }
}

/// What the cache has to do with a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::engine) enum Part {
    /// Nothing: there is no cache, or it passes the request by.
    #[default]
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

/// The cache's side of one transaction.
#[derive(Debug, Default)]
pub(in crate::engine) struct Caching {
    /// The cache was asked: something of this may be set.
    pub used: bool,
    pub part: Part,
    /// Why it goes to the origin, for Cache-Status.
    pub forward: Option<Forward>,
    /// What is stored, and cannot be used as it is.
    pub stale: Option<Arc<Stored>>,
    /// What is stored is a part: what comes may be put to it.
    pub beside: Option<Arc<Stored>>,
    /// The bytes that the origin is asked for, to be put to that part.
    pub missing: Option<Bytes>,
    /// Use it if the origin answers with an error.
    pub if_error: bool,
    /// Use it if the origin cannot be reached.
    pub if_unreachable: bool,
    /// The invalidations before the origin was asked.
    pub epoch: Option<Epoch>,
    /// The hash of the key for which others wait.
    pub leads: Option<u64>,
    /// The hash of the key for which others are to wait from now on.
    pub takes_lead: Option<u64>,
    /// The hash of the key that it has claimed before the other loops.
    pub lock: Option<u64>,
    /// How often it has waited for another request in vain.
    pub waits: u8,
    /// It waited for another one, in vain: it asks by itself.
    pub alone: bool,
    /// It has waited for another one.
    pub collapsed: bool,
    /// Its wait is over: it is examined again as soon as the event under way has been dealt with.
    pub concluded: bool,
    /// What the one that it waited for ended with.
    pub refused: Option<Refusal>,
    /// Without conditions: the last answer was about something else.
    pub unconditional: bool,
    /// weir's own request, to refresh what was served stale.
    pub background: bool,
    /// It goes over a connection that is one client's alone, or whose origin offers that: nothing of it is for others.
    pub bound: bool,
    /// Seconds for which a rule lets its response be fresh at most.
    pub lifetime_max_s: Option<u32>,
    /// Why the request passes the cache by, for the log.
    pub passed: &'static str,
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

    /// What the origin is asked about.
    pub fn to_validate(&self) -> Option<&Arc<Stored>> {
        self.stale.as_ref().filter(|_| self.part == Part::Validate)
    }

    /// What the origin is asked to complete, and which bytes of it are missing.
    pub fn to_complete(&self) -> Option<(&Arc<Stored>, Bytes)> {
        self.beside.as_ref().zip(self.missing).filter(|_| self.part == Part::Complete)
    }

    /// As of a transaction that has not begun.
    pub fn reset(&mut self) {
        if self.used {
            *self = Caching::default();
        }
    }

    /// Before the request is looked at, for the first time or once more.
    fn begin(&mut self) {
        if !std::mem::replace(&mut self.used, true) {
            return;
        }
        let keep = Caching {
            used: true,
            alone: self.alone,
            lock: self.lock,
            waits: self.waits,
            collapsed: self.collapsed,
            unconditional: self.unconditional,
            background: self.background,
            leads: self.leads,
            ..Caching::default()
        };
        *self = keep;
    }
}

/// An answer out of memory.
pub(in crate::engine) struct Hit {
    pub stored: Arc<Stored>,
    /// Lines of this one answer.
    pub extra: Vec<u8>,
    /// Its body is still coming.
    pub fill: Option<FillId>,
    pub age_s: u32,
    pub ttl_s: i64,
    pub answer: Answer,
    pub selection: Selection,
    /// To be fetched anew in the background.
    pub refresh: bool,
    pub log: CacheUse,
    /// For Cache-Status, where the origin was asked before.
    pub forward: Option<Forward>,
    pub forward_status: Option<u16>,
}

/// What a request finds in the cache.
pub(in crate::engine) struct CacheLookUp<'a> {
    pub settings: &'a CacheSettings,
    pub collapses: &'a Collapses,
    pub fills: &'a Slab<Fill>,
    pub caching: &'a mut Caching,
    /// Room for the key.
    pub key: &'a mut Vec<u8>,
    /// Room for what the request has in the fields of Vary.
    pub scratch: &'a mut Vec<u8>,
    pub policy: &'a Policy,
    pub guard: Option<&'a Guard>,
    /// What happens to Forwarded and X-Forwarded-For on the way to the origin.
    pub forwarded: ForwardedPolicy,
    pub resolver: &'a Resolver,
    pub now: Now,
}

impl CacheLookUp<'_> {
    /// Asks the cache. `None`: the request goes to the origin, as `caching` says.
    pub fn look_up(
        &mut self,
        head: &RequestHead<'_, '_>,
        info: &RequestInfo,
        path: &[u8],
    ) -> Option<Decision> {
        self.caching.begin();
        self.caching.bound = info.bound;
        match info.method {
            Method::Get | Method::Head => {}
            Method::Connect => return None,
            Method::Options | Method::Trace | Method::OtherIdempotent | Method::Other => {
                if !invalidation::is_safe(head.method) {
                    self.caching.part = Part::Invalidate;
                    self.caching.forward = Some(Forward::Method);
                    self.caching.passed = "method";
                }
                return None;
            }
        }
        // A body is part of the question, and no part of the key; nor is who has authenticated the connection, nor what filters
        // make of the response.
        if info.body != Body::None
            || info.upgrade
            || info.bound
            || info.filters_response
            || validation::is_for_origin(head.fields)
        {
            self.caching.forward = Some(Forward::Bypass);
            self.caching.passed = match info.body {
                Body::None if info.upgrade => "upgrade",
                Body::None if info.bound => "connection-auth",
                Body::None if info.filters_response => "filter",
                Body::None => "condition",
                Body::Length(_) | Body::Chunked | Body::UntilClose => "request-body",
            };
            // Nothing that is stored is for who has authenticated the connection.
            let refused = info.bound && RequestDirectives::read(head.fields).only_if_cached;
            return refused.then_some(Decision::Refuse(Refusal::OnlyIfCached));
        }
        match self.policy.cache_rules.find(&info.authority.host, info.authority.port) {
            None => {}
            Some(Treatment::AtMost(most_s)) => self.caching.lifetime_max_s = Some(most_s),
            Some(Treatment::Off) => {
                self.caching.forward = Some(Forward::Bypass);
                self.caching.passed = "rule";
                return None;
            }
        }
        let asked = RequestDirectives::read(head.fields);
        self.key.clear();
        key::write_key(self.key, &Uri { scheme: Scheme::Http, authority: &info.authority, path });
        let hash = self.settings.store.hash(self.key);
        let found = self.find(hash, head, info, &asked);
        let hit = match found {
            // It was asked for by somebody else, and waited for: what sets cookies is not shared in that way.
            Found::Entry(stored) if self.caching.collapsed && stored.set_cookie => {
                self.caching.forward = Some(Forward::Miss);
                self.caching.alone = true;
                None
            }
            Found::Entry(stored) if self.may_have(info, &stored) => match stored.fragment() {
                None => self.judge(stored, head, &asked),
                Some(_) => self.judge_part(stored, head, &asked),
            },
            // Its address is judged again when it is dialled.
            Found::Entry(_) => {
                self.caching.forward = Some(Forward::Bypass);
                self.caching.passed = "address";
                self.caching.part = Part::None;
                return None;
            }
            Found::NoVariant => {
                self.caching.forward = Some(Forward::VaryMiss);
                None
            }
            Found::Nothing => {
                self.caching.forward = Some(Forward::UriMiss);
                None
            }
        };
        if let Some(hit) = hit {
            return Some(Decision::Hit(hit));
        }
        // What is invalidated from now on was before the origin is asked, or after.
        self.caching.epoch = Some(self.settings.store.epoch(hash));
        if asked.only_if_cached && !self.caching.background {
            return Some(Decision::Refuse(Refusal::OnlyIfCached));
        }
        self.caching.part = match (info.method, self.has_conditions()) {
            (Method::Head, _) => Part::Head,
            (_, true) => Part::Validate,
            (_, false) if self.caching.missing.is_some() => Part::Complete,
            (_, false) => Part::Store,
        };
        self.collapse(hash, head, info, &asked)
    }

    fn find(
        &mut self,
        hash: u64,
        head: &RequestHead<'_, '_>,
        info: &RequestInfo,
        asked: &RequestDirectives,
    ) -> Found {
        let CacheLookUp { settings, caching, key, scratch, policy, forwarded, now, .. } = self;
        let fields = AsForwarded::new(head, &info.authority.host, policy, *forwarded);
        settings.store.find(now.monotonic_us, hash, key, |stored| {
            // The youngest of those that fit (RFC 9111 section 4.1).
            if vary::selects(stored.names(), stored.selecting(), fields, scratch) {
                return Some((true, false, stored.receipt_order()));
            }
            // Or one in the language that is preferred, as long as that needs no asking.
            let (names, selecting) = (stored.names(), stored.selecting());
            let exact = language::prefers(names, selecting, stored.block(), fields, scratch)?;
            let now_s = stored.clock_s(*now);
            let fresh = freshness::decide(&caching.terms(stored), asked, now_s).usage == Use::Fresh;
            let wanted = !caching.background && !caching.unconditional && stored.fragment().is_none();
            (fresh && wanted).then(|| (false, exact, stored.receipt_order()))
        })
    }

    /// Whether policy and guard let this client connect to where the response came from.
    fn may_have(&self, info: &RequestInfo, stored: &Stored) -> bool {
        let (acl, port) = (&self.policy.acl, info.authority.port);
        let name = match &info.authority.host {
            // An address that the request itself names was judged with it.
            Host::Address(address) if *address == stored.address => return info.grant.is_some(),
            Host::Address(_) => None,
            Host::Name(name) => Some(name),
        };
        info.grant.is_some_and(|grant| acl.judge_address(&grant, stored.address, port).is_ok())
            && self.guard.is_none_or(|guard| guard.destination_denial(stored.address).is_none())
            && name.is_none_or(|name| self.may_mean(name, port))
    }

    /// Whether no rule blocks any of the names that may have been asked for in place of this one.
    fn may_mean(&self, name: &Name, port: u16) -> bool {
        if !self.resolver.has_search_list() {
            return true;
        }
        let mut walk = Walk::default();
        let candidates = std::iter::from_fn(|| self.resolver.next_candidate(name, &mut walk));
        let mut others = candidates.filter(|candidate| !candidate.as_is);
        others.all(|candidate| {
            !matches!(self.policy.acl.judge_name(&candidate.name, port), Err(acl::Refusal::Rule(_)))
        })
    }

    /// Whether what is stored can be validated. Of parts only a strong tag tells that their bytes are the same.
    fn has_conditions(&self) -> bool {
        let stale = self.caching.stale.as_ref();
        !self.caching.unconditional
            && stale.is_some_and(|stored| {
                let validators = Validators::read(stored.block());
                match stored.fragment() {
                    None => !validators.is_empty(),
                    Some(_) => validators.strong_etag().is_some(),
                }
            })
    }

    /// Whether stored parts are the answer: they are to a Range that lies within one of them (RFC 9111 section 3.3). If not, it
    /// is noted what has to be asked for so that they become one.
    fn judge_part(
        &mut self,
        stored: Arc<Stored>,
        head: &RequestHead<'_, '_>,
        asked: &RequestDirectives,
    ) -> Option<Hit> {
        self.caching.forward = Some(Forward::Partial);
        self.caching.beside = Some(Arc::clone(&stored));
        if head.method != "GET" || self.caching.unconditional {
            return None;
        }
        let wanted = range::wanted(head.fields, stored.block(), stored.length())?;
        if stored.contains(wanted) {
            return self.judge(stored, head, asked);
        }
        // Not for what answers a condition of the client, may be for one user only, or is read by nobody.
        let own = ["if-none-match", "if-modified-since", "authorization"];
        let own =
            asked.no_store || self.caching.background || own.iter().any(|name| head.fields.contains(name));
        // Stale or not: that the missing bytes come under its tag tells that it is still good. That takes a strong one (RFC 9111
        // section 3.4): without, the client's own question goes to the origin. So it does where there is no room for both.
        let room = self.settings.store.may_admit();
        if !own && room && Validators::read(stored.block()).strong_etag().is_some() {
            self.caching.missing = stored.missing(wanted);
        }
        None
    }

    /// Whether a stored response is the answer; if not, what it is good for is noted.
    fn judge(
        &mut self,
        stored: Arc<Stored>,
        head: &RequestHead<'_, '_>,
        asked: &RequestDirectives,
    ) -> Option<Hit> {
        let now_s = stored.clock_s(self.now);
        let decision = freshness::decide(&self.caching.terms(&stored), asked, now_s);
        let (refresh, log) = match decision.usage {
            _ if self.caching.background || self.caching.unconditional => (false, None),
            Use::Fresh => (false, Some(CacheUse::Hit)),
            Use::StaleAccepted => (false, Some(CacheUse::Stale)),
            Use::StaleWhileRevalidate => (true, Some(CacheUse::Stale)),
            Use::Validate => (false, None),
        };
        if let Some(log) = log {
            let (age_s, ttl_s) = (decision.age_s, decision.ttl_s);
            return Some(self.hit(stored, head, Times { age_s, ttl_s, now_s }, refresh, log));
        }
        self.caching.forward = Some(if decision.ttl_s > 0 { Forward::Request } else { Forward::Stale });
        (self.caching.if_error, self.caching.if_unreachable) = (decision.if_error, decision.if_unreachable);
        self.caching.stale = Some(stored);
        None
    }

    fn hit(
        &self,
        stored: Arc<Stored>,
        head: &RequestHead<'_, '_>,
        times: Times,
        refresh: bool,
        log: CacheUse,
    ) -> Hit {
        let (answer, selection) = select(head, &stored, times.now_s);
        // It waited, and then the answer was complete at once.
        let collapsed = self.caching.collapsed && log == CacheUse::Hit;
        let log = if collapsed { CacheUse::Collapsed } else { log };
        Hit {
            stored,
            extra: Vec::new(),
            fill: None,
            age_s: times.age_s,
            ttl_s: times.ttl_s,
            answer,
            selection,
            refresh,
            log,
            forward: collapsed.then_some(Forward::Miss),
            forward_status: None,
        }
    }

    /// Joins what is in collapse for the key, or begins a collapse (rule 48).
    fn collapse(
        &mut self,
        hash: u64,
        head: &RequestHead<'_, '_>,
        info: &RequestInfo,
        asked: &RequestDirectives,
    ) -> Option<Decision> {
        let single = info.method != Method::Get
            || self.caching.alone
            || self.caching.waits >= COLLAPSES_MAX
            || self.caching.leads.is_some()
            || asked.no_store
            // A refresh is one for all, whoever brought it about.
            || (head.fields.contains("range") && !self.caching.background);
        if single {
            return None;
        }
        match self.collapses.find(hash, self.key) {
            InProgress::Nothing => {
                // What answers a condition of the client, or goes to one user, is nothing for others to wait for.
                let own = head.fields.contains("authorization")
                    || (self.caching.part == Part::Store
                        && (head.fields.contains("if-none-match")
                            || head.fields.contains("if-modified-since")));
                if own {
                    return None;
                }
                if self.collapses.shared && self.caching.waits < WAITS_MAX {
                    match self.settings.store.fill_locks().lock(hash) {
                        LockResult::Acquired => {
                            self.caching.lock = Some(hash);
                            if let Some(hit) = self.find_fresh(hash, head, info, asked) {
                                return Some(Decision::Hit(hit));
                            }
                        }
                        LockResult::HeldElsewhere if self.caching.background => return None,
                        LockResult::HeldElsewhere => return Some(Decision::Wait(hash)),
                    }
                }
                self.caching.takes_lead = Some(hash);
                None
            }
            InProgress::Asking if head.fields.contains("authorization") => None,
            InProgress::Asking => Some(Decision::Wait(hash)),
            InProgress::Crowded => None,
            InProgress::Filling(fill) => self.join(fill, head, info, asked).map(Decision::Hit),
        }
    }

    /// What another loop has stored between the first look and the lock.
    fn find_fresh(
        &mut self,
        hash: u64,
        head: &RequestHead<'_, '_>,
        info: &RequestInfo,
        asked: &RequestDirectives,
    ) -> Option<Hit> {
        let Found::Entry(stored) = self.find(hash, head, info, asked) else { return None };
        let now_s = stored.clock_s(self.now);
        let decision = freshness::decide(&self.caching.terms(&stored), asked, now_s);
        let own = self.caching.background || self.caching.unconditional;
        // A part is not the answer to this request, as it was not before; and who has waited shares no cookies.
        let odd = stored.fragment().is_some() || (self.caching.collapsed && stored.set_cookie);
        if own || odd || decision.usage != Use::Fresh || !self.may_have(info, &stored) {
            return None;
        }
        (self.caching.part, self.caching.forward, self.caching.stale) = (Part::None, None, None);
        let times = Times { age_s: decision.age_s, ttl_s: decision.ttl_s, now_s };
        Some(self.hit(stored, head, times, false, CacheUse::Hit))
    }

    /// The response that is coming, if it is the answer to this request.
    fn join(
        &mut self,
        id: FillId,
        head: &RequestHead<'_, '_>,
        info: &RequestInfo,
        asked: &RequestDirectives,
    ) -> Option<Hit> {
        let fill = id.get(self.fills)?;
        let stored = Arc::clone(&fill.pending);
        let fields = AsForwarded::new(head, &info.authority.host, self.policy, self.forwarded);
        let selected = vary::selects(stored.names(), stored.selecting(), fields, self.scratch);
        // Sharing with those who asked meanwhile is a hit in advance: what sets cookies is not shared in that way.
        let shareable = selected
            && fill.is_joinable()
            && !stored.set_cookie
            && Some(fill.epoch) == self.caching.epoch
            && self.may_have(info, &stored);
        let now_s = stored.clock_s(self.now);
        let decision = freshness::decide(&self.caching.terms(&stored), asked, now_s);
        if !shareable || decision.usage != Use::Fresh {
            return None;
        }
        let times = Times { age_s: decision.age_s, ttl_s: decision.ttl_s, now_s };
        let mut hit = self.hit(stored, head, times, false, CacheUse::Collapsed);
        hit.selection = Selection::Whole;
        hit.fill = Some(id);
        hit.forward = self.caching.forward;
        self.caching.collapsed = true;
        Some(hit)
    }
}

/// Ages at the moment of an answer, in seconds.
#[derive(Clone, Copy)]
struct Times {
    age_s: u32,
    ttl_s: i64,
    now_s: u64,
}

/// What of a stored response a request gets: its conditions come before its ranges (RFC 9110 section 13.2.2).
pub(in crate::engine) fn select(
    head: &RequestHead<'_, '_>,
    stored: &Stored,
    now_s: u64,
) -> (Answer, Selection) {
    let (block, status) = (stored.block(), stored.status);
    let answer = validation::answer(head.fields, status, block, stored.terms.received_s, now_s);
    let selection = match answer {
        Answer::Whole if head.method == "GET" => range::select(head.fields, status, block, stored.length()),
        Answer::Whole | Answer::NotModified => Selection::Whole,
    };
    (answer, selection)
}
