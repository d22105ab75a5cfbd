//! The decision of the cache about a request: answered from memory, joined to a request under way, or forwarded, and how.
//!
//! The look-up follows the policy's verdict, so a hit is judged like any other request: by name, port, user, and by the
//! address that the stored response came from.

use crate::cache::fill::fill_locks::LockResult;
use crate::cache::rfc::control::{RequestDirectives, ResponseDirectives};
use crate::cache::rfc::freshness::{self, Use};
use crate::cache::rfc::key::{self, Uri};
use crate::cache::rfc::range::{self, Part, Selection};
use crate::cache::rfc::status::Forward;
use crate::cache::rfc::validation::{self, Answer, Validators};
use crate::cache::rfc::{invalidation, language, vary};
use crate::cache::store::Found;
use crate::cache::store::stored::Stored;
use crate::engine::cache::collapse::{COLLAPSES_MAX, Collapses, InProgress};
use crate::engine::cache::coordination::WAITS_MAX;
use crate::engine::cache::fill::Fill;
use crate::engine::cache::selecting::AsForwarded;
use crate::engine::cache::settings::CacheSettings;
use crate::engine::cache::state::{CacheState, CacheTask, Caching, Inquiry, Known};
use crate::engine::cache::state::{Lead, LeadState, Question, Stale};
use crate::engine::ids::FillId;
use crate::engine::transaction::log_record::CacheUse;
use crate::engine::transaction::request::{Method, RequestInfo};
use crate::gateway::fields::GatewayFilter;
use crate::guard::rules::Guard;
use crate::http::block::FieldLines;
use crate::http::forwarding::ForwardedPolicy;
use crate::http::framing::Body;
use crate::http::head::RequestHead;
use crate::http::target::{Host, Name};
use crate::part::guard::Lent;
use crate::policy::Policy;
use crate::policy::cache_rules::Treatment;
use crate::resolver::Resolver;
use crate::time::Now;
use slab::Slab;
use std::sync::Arc;

/// An answer out of memory.
pub(in crate::engine) struct Hit {
    pub stored: Arc<Stored>,
    /// Lines of this one answer.
    pub extra: Vec<u8>,
    /// The fill, if the body is still arriving.
    pub fill: Option<FillId>,
    pub age_s: u32,
    pub ttl_s: i64,
    pub answer: Answer,
    pub selection: Selection,
    /// To be fetched anew in the background.
    pub refresh: bool,
    pub log: CacheUse,
    /// For Cache-Status, if the origin was asked before.
    pub forward: Option<Forward>,
    pub forward_status: Option<u16>,
}

/// The answer of the cache to a request that does not go to the origin.
pub(in crate::engine) enum CacheAnswer {
    Hit(Hit),
    /// Another request for the variant with this hash is under way: wait.
    Wait(u64),
    /// The request accepts only stored responses, and none can be used.
    Refuse,
}

/// The verdict on a stored response for a request.
enum Judged {
    Hit(Hit),
    /// The stored response is not the answer: the reason for asking the origin, and the use of the response there.
    Useless(Forward, Known),
}

/// The look-up of one request.
pub(in crate::engine) struct CacheLookUp<'a> {
    pub settings: &'a CacheSettings,
    pub collapses: &'a Collapses,
    pub fills: &'a Slab<Fill>,
    pub caching: &'a mut Caching,
    /// Room for the key.
    pub key: &'a mut Vec<u8>,
    /// A buffer for the request's values of the fields in Vary.
    pub scratch: &'a mut Vec<u8>,
    pub policy: &'a Policy,
    pub guard: Option<Lent<'a, Guard>>,
    /// The handling of Forwarded and X-Forwarded-For towards the origin.
    pub forwarded: ForwardedPolicy,
    pub resolver: &'a Resolver,
    /// The request is for the gateway, whose file names the sources of responses: the fields that it does not forward.
    pub by_gateway: Option<GatewayFilter>,
    /// The answer out of the cache, if that is the decision.
    pub hit: &'a mut Option<Hit>,
    pub now: Now,
}

impl<'a> CacheLookUp<'a> {
    /// Looks a request up. `None`: the request goes to the origin, by the state in `caching`.
    pub fn look_up(
        &mut self,
        head: &RequestHead<'_, '_>,
        info: &RequestInfo,
        path: &[u8],
    ) -> Option<CacheAnswer> {
        match info.method {
            Method::Get | Method::Head => self.caching.begin(info.pinned),
            Method::Connect => return None,
            Method::Options | Method::Trace | Method::OtherIdempotent | Method::Other => {
                if !invalidation::is_safe(head.method) {
                    self.caching.begin(info.pinned);
                    self.caching.state = CacheState::Invalidating(None);
                }
                return None;
            }
        }
        let asked = RequestDirectives::read(head.fields);
        if let Some(reason) =
            passed_by(head, info).or_else(|| self.means_another(info).then_some("trailing-dot"))
        {
            return self.bypass(reason, &asked);
        }
        match self.policy.cache_rules.find(&info.authority.host, info.authority.port) {
            None => {}
            Some(Treatment::AtMost(most_s)) => self.caching.lifetime_max_s = Some(most_s),
            Some(Treatment::Off) => return self.bypass("rule", &asked),
        }
        self.key.clear();
        let by_gateway = self.by_gateway.is_some();
        let uri = Uri { scheme: info.scheme, authority: &info.authority, path, by_gateway };
        key::write_key(self.key, &uri);
        let hash = self.settings.store.hash(self.key);
        let found = self.find(hash, head, info, &asked);
        let mut other_variant = None;
        let judged = match found {
            // This request has waited for another client's: a response with cookies is not shared in this way.
            Found::Entry(stored) if self.caching.has_waited() && stored.set_cookie => {
                self.caching.ask_alone();
                Judged::Useless(Forward::Miss, Known::Nothing)
            }
            Found::Entry(stored) if self.may_have(info, &stored) => match stored.fragment() {
                None => self.judge(stored, head, info, &asked),
                Some(_) => self.judge_part(stored, head, info, &asked),
            },
            // The address is judged again when it is dialled.
            Found::Entry(_) => return self.bypass("address", &asked),
            Found::NoVariant(youngest) => {
                other_variant = Some(youngest);
                Judged::Useless(Forward::VaryMiss, Known::Nothing)
            }
            Found::Nothing => Judged::Useless(Forward::UriMiss, Known::Nothing),
        };
        let (forward, known) = match judged {
            Judged::Hit(hit) => return Some(CacheAnswer::Hit(hit)),
            Judged::Useless(forward, known) => (forward, known),
        };
        // From here on an invalidation counts as one after the request.
        let epoch = self.settings.store.epoch(hash);
        if asked.only_if_cached && !self.caching.background {
            return Some(CacheAnswer::Refuse);
        }
        let collapse = self.collapse_hash(hash, head, info, &known, other_variant.as_deref());
        let question = self.question(known, head, &asked);
        self.caching.state = CacheState::AskingOrigin(Inquiry { question, forward, epoch });
        self.collapse(collapse?, hash, head, info, &asked)
    }

    /// The hash of the collapse for a request: that of its variant, as far as stored responses name the fields that select one, so
    /// that requests for one variant do not wait for another. `None` if no response to it can be a variant.
    fn collapse_hash(
        &mut self,
        hash: u64,
        head: &RequestHead<'_, '_>,
        info: &RequestInfo,
        known: &Known,
        other_variant: Option<&Stored>,
    ) -> Option<u64> {
        let store = &self.settings.store;
        match (known, other_variant) {
            (Known::Stale(Stale { stored, .. }) | Known::Beside(stored), _) => {
                Some(store.variant_hash(hash, stored.selecting()))
            }
            (Known::Nothing, Some(other)) => {
                let fields = self.as_forwarded(head, info);
                self.scratch.clear();
                vary::write_selecting(self.scratch, other.names(), fields).ok()?;
                Some(store.variant_hash(hash, self.scratch))
            }
            (Known::Nothing, None) => Some(hash),
        }
    }

    /// The request as the origin gets it.
    fn as_forwarded<'s, 'b>(&self, head: &RequestHead<'s, 'b>, info: &'b RequestInfo) -> AsForwarded<'s, 'b>
    where
        'a: 'b,
    {
        AsForwarded::new(head, &info.authority.host, self.policy, self.forwarded, self.by_gateway)
    }

    /// The reason why the request passes the cache by, if it does.
    pub fn passed(&self) -> Option<&'static str> {
        self.caching.passed()
    }

    /// No stored response is for the request. The request goes to the origin, unless the client wants a stored response only
    /// (RFC 9111 section 5.2.1.7).
    fn bypass(&mut self, reason: &'static str, asked: &RequestDirectives) -> Option<CacheAnswer> {
        self.caching.state = CacheState::Bypassing(reason);
        (asked.only_if_cached && !self.caching.background).then_some(CacheAnswer::Refuse)
    }

    /// The question to the origin about the stored response.
    fn question(&self, known: Known, head: &RequestHead<'_, '_>, asked: &RequestDirectives) -> Question {
        if head.method == "HEAD" {
            return Question::Head(known);
        }
        match known {
            Known::Stale(stale) if self.can_validate(&stale.stored) => Question::Validation(stale),
            Known::Beside(beside) => match self.missing(&beside, head, asked) {
                Some(missing) => Question::Missing { beside, missing },
                None => Question::Response(Known::Beside(beside)),
            },
            Known::Nothing | Known::Stale(_) => Question::Response(known),
        }
    }

    fn find(
        &mut self,
        hash: u64,
        head: &RequestHead<'_, '_>,
        info: &RequestInfo,
        asked: &RequestDirectives,
    ) -> Found {
        let fields = self.as_forwarded(head, info);
        let edition = self.wanted_edition(info);
        let CacheLookUp { settings, caching, key, scratch, now, .. } = self;
        settings.store.find(now.monotonic_us, hash, key, |stored| {
            // The youngest of those that fit (RFC 9111 section 4.1).
            if vary::selects(stored.names(), stored.selecting(), fields, scratch) {
                return Some((true, false, stored.date_order()));
            }
            // Or a variant in the preferred language, as long as it is fresh.
            let (names, selecting) = (stored.names(), stored.selecting());
            let exact = language::prefers(names, selecting, stored.block(), fields, scratch)?;
            let now_s = stored.clock_s(*now);
            let fresh = freshness::decide(&caching.terms(stored), asked, now_s).usage == Use::Fresh;
            let wanted = !caching.background && !caching.unconditional && stored.fragment().is_none();
            let wanted = wanted && edition.is_none_or(|edition| stored.rules_edition == edition);
            (fresh && wanted).then(|| (false, exact, stored.date_order()))
        })
    }

    /// Whether the dot behind the name keeps the search list away. Without it the name may be another host, and the key is the same.
    fn means_another(&self, info: &RequestInfo) -> bool {
        let is_searched = self.by_gateway.is_none() && self.resolver.has_search_list();
        is_searched && info.authority.is_rooted()
    }

    /// Whether policy and guard allow this client to connect to the source of the response.
    fn may_have(&self, info: &RequestInfo, stored: &Stored) -> bool {
        // The configuration names the source of the response.
        if self.by_gateway.is_some() {
            return info.grant.is_some();
        }
        let (acl, port) = (&self.policy.acl, info.authority.port);
        let name = match &info.authority.host {
            // An address in the request was judged with the request.
            Host::Address(address) if *address == stored.address => return info.grant.is_some(),
            Host::Address(_) => None,
            Host::Name(name) => Some(name),
        };
        info.grant.is_some_and(|grant| acl.judge_address(&grant, stored.address, port).is_ok())
            && self.guard.is_none_or(|guard| guard.destination_denial(stored.address).is_none())
            && name.is_none_or(|name| self.may_mean(name, port))
    }

    /// The edition of the rules that must have judged the names behind the source of a hit. `None` without `--judge-cnames`: the
    /// look-up judges all other names itself.
    fn wanted_edition(&self, info: &RequestInfo) -> Option<u16> {
        let wanted = self.resolver.collects_aliases() && self.by_gateway.is_none();
        if wanted { info.naming_edition(&self.policy.acl) } else { None }
    }

    /// Whether the present rules have judged the aliases that led to the source of the stored response. They are not stored:
    /// before the next hit after a reload the origin is asked once, on a way whose names are judged.
    fn is_judged(&self, info: &RequestInfo, stored: &Stored) -> bool {
        self.wanted_edition(info).is_none_or(|edition| stored.rules_edition == edition)
    }

    /// Whether no rule blocks any of the candidates of this name.
    fn may_mean(&self, name: &Name, port: u16) -> bool {
        !self.resolver.has_search_list()
            || self.resolver.searched_names(name).all(|name| self.policy.acl.judge_name(&name, port).is_ok())
    }

    /// Whether the stored response can be validated. For parts only a strong tag shows that their bytes are equal.
    fn can_validate(&self, stored: &Stored) -> bool {
        let has_validators = || {
            let validators = Validators::read(stored.block());
            match stored.fragment() {
                None => !validators.is_empty(),
                Some(_) => validators.strong_etag().is_some(),
            }
        };
        !self.caching.unconditional && has_validators()
    }

    /// Judges stored parts: they answer a Range within one of them (RFC 9111 section 3.3).
    fn judge_part(
        &self,
        stored: Arc<Stored>,
        head: &RequestHead<'_, '_>,
        info: &RequestInfo,
        asked: &RequestDirectives,
    ) -> Judged {
        match self.wanted_part(&stored, head) {
            Some(wanted) if stored.contains(wanted) => self.judge(stored, head, info, asked),
            Some(_) | None => Judged::Useless(Forward::Partial, Known::Beside(stored)),
        }
    }

    /// The bytes that a request wants of a representation with stored parts.
    fn wanted_part(&self, stored: &Stored, head: &RequestHead<'_, '_>) -> Option<Part> {
        if head.method != "GET" || self.caching.unconditional {
            return None;
        }
        range::wanted(head.fields, stored.block(), stored.length())
    }

    /// The bytes to request so that a stored part becomes the answer.
    fn missing(
        &self,
        stored: &Stored,
        head: &RequestHead<'_, '_>,
        asked: &RequestDirectives,
    ) -> Option<Part> {
        let wanted = self.wanted_part(stored, head)?;
        // Not for a response to a client's condition, for one user only, or without a reader.
        let own = ["if-none-match", "if-modified-since", "authorization"];
        let own =
            asked.no_store || self.caching.background || own.iter().any(|name| head.fields.contains(name));
        // The part may be stale: missing bytes with the same tag show that it is still valid. That needs a strong tag (RFC
        // 9111 section 3.4): without one the client's own request goes to the origin, and also if the store has no room.
        let room = self.settings.store.may_admit();
        let certain = !own && room && Validators::read(stored.block()).strong_etag().is_some();
        if certain { stored.missing(wanted) } else { None }
    }

    /// Judges a stored response: the answer, or its use at the origin.
    fn judge(
        &self,
        stored: Arc<Stored>,
        head: &RequestHead<'_, '_>,
        info: &RequestInfo,
        asked: &RequestDirectives,
    ) -> Judged {
        let is_judged = self.is_judged(info, &stored);
        let now_s = stored.clock_s(self.now);
        let decision = freshness::decide(&self.caching.terms(&stored), asked, now_s);
        let (refresh, log) = match decision.usage {
            _ if self.caching.background || self.caching.unconditional || !is_judged => (false, None),
            Use::Fresh => (false, Some(CacheUse::Hit)),
            Use::StaleAccepted => (false, Some(CacheUse::Stale)),
            Use::StaleWhileRevalidate => (self.can_be_refreshed(&stored, head, asked), Some(CacheUse::Stale)),
            Use::Validate => (false, None),
        };
        if let Some(log) = log {
            let (age_s, ttl_s) = (decision.age_s, decision.ttl_s);
            return Judged::Hit(self.hit(stored, head, Times { age_s, ttl_s, now_s }, refresh, log));
        }
        let forward = if decision.ttl_s > 0 && is_judged { Forward::Request } else { Forward::Stale };
        // A rule may block the way to an origin that cannot be reached.
        let (if_error, if_unreachable) =
            (decision.if_error && is_judged, decision.if_unreachable && is_judged);
        Judged::Useless(forward, Known::Stale(Stale { stored, if_error, if_unreachable }))
    }

    /// Whether a refresh, which repeats the request, can bring a response to store: not with no-store, with credentials only if
    /// the stored response allows that (RFC 9111 section 3.5), and with only-if-cached no cache behind weir asks its origin.
    fn can_be_refreshed(
        &self,
        stored: &Stored,
        head: &RequestHead<'_, '_>,
        asked: &RequestDirectives,
    ) -> bool {
        let may_be_shared = || {
            let targeted: Vec<&str> = self.settings.targeted.iter().map(String::as_str).collect();
            ResponseDirectives::read(stored.block(), &targeted).allows_authorized()
        };
        let is_refused = asked.no_store || asked.only_if_cached;
        !is_refused && (!head.fields.contains("authorization") || may_be_shared())
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
        // The request waited, and the response was complete afterwards.
        let collapsed = self.caching.has_waited() && log == CacheUse::Hit;
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

    /// Joins the collapse for the variant, or begins one (rule 48). `key_hash` is that of the key.
    fn collapse(
        &mut self,
        hash: u64,
        key_hash: u64,
        head: &RequestHead<'_, '_>,
        info: &RequestInfo,
        asked: &RequestDirectives,
    ) -> Option<CacheAnswer> {
        let leads = |lead: &Lead| !matches!(lead.state, LeadState::Granted);
        let single = info.method != Method::Get
            || self.caching.asks_alone()
            || self.caching.lead.as_ref().is_some_and(leads)
            || asked.no_store
            // A refresh is one for all clients.
            || (head.fields.contains("range") && !self.caching.background);
        if single {
            return None;
        }
        match self.collapses.find(hash, self.key) {
            InProgress::Filling(fill) => self.join(fill, head, info, asked).map(CacheAnswer::Hit),
            InProgress::Nothing | InProgress::Asking
                if self.caching.waits >= COLLAPSES_MAX || self.is_unshareable(hash) =>
            {
                None
            }
            InProgress::Nothing => {
                // A response to a client's condition, or for one user, is no response to wait for. A refresh with credentials has
                // no such response, as far as is known.
                let own = (head.fields.contains("authorization") && !self.caching.background)
                    || (self.caching.task() == CacheTask::Store
                        && (head.fields.contains("if-none-match")
                            || head.fields.contains("if-modified-since")));
                if own {
                    return None;
                }
                let locked = self.collapses.loops > 1 && self.caching.waits < WAITS_MAX;
                if locked && self.settings.store.fill_locks().lock(hash) == LockResult::HeldByOtherLoop {
                    return (!self.caching.background).then_some(CacheAnswer::Wait(hash));
                }
                self.caching.lead = Some(Lead { hash, locked, state: LeadState::Granted });
                let hit = if locked { self.find_fresh(key_hash, head, info, asked) } else { None };
                hit.map(CacheAnswer::Hit)
            }
            InProgress::Asking if head.fields.contains("authorization") => None,
            InProgress::Asking => Some(CacheAnswer::Wait(hash)),
            InProgress::Crowded => None,
        }
    }

    /// Whether the last response for the variant was for its client only. A refresh is one for all in any case.
    fn is_unshareable(&self, hash: u64) -> bool {
        !self.caching.background && self.collapses.is_unshareable(hash, self.now.monotonic_us / 1000)
    }

    /// A response that another loop has stored between the look-up and the lock.
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
        // A part was not the answer before, and a request that has waited shares no cookies.
        let odd = stored.fragment().is_some() || (self.caching.has_waited() && stored.set_cookie);
        let usable = self.may_have(info, &stored) && self.is_judged(info, &stored);
        if own || odd || decision.usage != Use::Fresh || !usable {
            return None;
        }
        self.caching.state = CacheState::LookingUp;
        let times = Times { age_s: decision.age_s, ttl_s: decision.ttl_s, now_s };
        Some(self.hit(stored, head, times, false, CacheUse::Hit))
    }

    /// The arriving response, if it answers this request.
    fn join(
        &mut self,
        id: FillId,
        head: &RequestHead<'_, '_>,
        info: &RequestInfo,
        asked: &RequestDirectives,
    ) -> Option<Hit> {
        let fill = id.get(self.fills)?;
        let stored = Arc::clone(&fill.pending);
        let fields = self.as_forwarded(head, info);
        let selected = vary::selects(stored.names(), stored.selecting(), fields, self.scratch);
        // Sharing an arriving response is a hit in advance: a response with cookies is not shared in this way.
        let shareable = selected
            && fill.is_joinable()
            && !stored.set_cookie
            && Some(fill.epoch) == self.caching.epoch()
            && self.may_have(info, &stored)
            && self.is_judged(info, &stored);
        let now_s = stored.clock_s(self.now);
        let decision = freshness::decide(&self.caching.terms(&stored), asked, now_s);
        if !shareable || decision.usage != Use::Fresh {
            return None;
        }
        let times = Times { age_s: decision.age_s, ttl_s: decision.ttl_s, now_s };
        let mut hit = self.hit(stored, head, times, false, CacheUse::Collapsed);
        hit.selection = Selection::Whole;
        hit.fill = Some(id);
        hit.forward = self.caching.forward();
        Some(hit)
    }
}

/// The reason why a request bypasses the cache, if it does. The key does not contain a request body, the user of an
/// authenticated connection, or the effect of filters on the response.
fn passed_by(head: &RequestHead<'_, '_>, info: &RequestInfo) -> Option<&'static str> {
    match info.body {
        Body::Length(1..) | Body::Chunked | Body::UntilClose => Some("request-body"),
        _ if info.upgrade => Some("upgrade"),
        _ if info.pinned => Some("connection-auth"),
        _ if info.filters_response => Some("filter"),
        _ if info.tells_other_url => Some("forwarded-url"),
        Body::None | Body::Length(0) => validation::is_for_origin(head.fields).then_some("condition"),
    }
}

/// Age and remaining freshness at the time of an answer, in seconds.
#[derive(Clone, Copy)]
struct Times {
    age_s: u32,
    ttl_s: i64,
    now_s: u64,
}

/// The part of a stored response for a request: conditions come before ranges (RFC 9110 section 13.2.2).
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
