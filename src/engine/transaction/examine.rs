//! A request head, examined once: the meaning of the request, and the decision about it.
//!
//! Everything that can be decided from the head, the settings and the policy is decided in this file, without using a
//! connection. The head for the origin is written in the same pass.

use crate::engine::body::filter::{FilterLists, FilterSource, Filters};
use crate::engine::body::relay::Relay;
use crate::engine::cache::look_up::{CacheAnswer, CacheLookUp};
use crate::engine::callback::RequestCallback;
use crate::engine::downstream::guesses::{Guess, Guesses};
use crate::engine::downstream::unread::note_request_line;
use crate::engine::ids::PeerId;
use crate::engine::pages::OwnPages;
use crate::engine::settings::Settings;
use crate::engine::transaction::answer::Answer;
use crate::engine::transaction::edits::OwnConditions;
use crate::engine::transaction::log_record::{CacheUse, LogRecord, Text};
use crate::engine::transaction::refusal::Refusal;
use crate::engine::transaction::request::{Method, Phase, RequestInfo};
use crate::engine::transaction::response_fields::GuardedAnswer;
use crate::engine::upstream::Upstreams;
use crate::engine::upstream::routing::Routing;
use crate::gateway::directives::HostField;
use crate::gateway::fields::never_in_trailers;
use crate::gateway::rules::Gateway;
use crate::guard::breaker::Breaker;
use crate::guard::rules::{Guard, Question};
use crate::guard::values::ValueRequest;
use crate::http::fault::Fault;
use crate::http::forwarding::{self, Edits, RequestRoute};
use crate::http::framing::{self, Body};
use crate::http::head::{Message, RequestHead, Version};
use crate::http::session_auth;
use crate::http::target::{Authority, Host, Target};
use crate::net::Purpose;
use crate::part::{self, guard::Lent};
use crate::policy::Policy;
use crate::policy::acl::{self, Subject};
use crate::policy::auth::{Check, SlowJob};
use crate::policy::credential_cache::CredentialCache;
use crate::policy::credentials::credentials;
use crate::policy::edit::Direction;
use crate::time::Now;
use std::net::IpAddr;

/// The result of a phase.
pub(super) enum Step {
    /// The next phase.
    Continue(Phase),
    /// No other phase: respond, wait, or forward.
    Decide(Decision),
}

/// The decision about a request. Each phase returns it, so that what is long is in boxes, or elsewhere.
pub(in crate::engine) enum Decision {
    /// Find an origin; the head for it is written (except for CONNECT).
    Forward,
    /// Answer in place of an origin; the content is written.
    Answer(Answer),
    Refuse(Refusal),
    /// Answer out of the cache: [`CacheLookUp::hit`].
    Hit,
    /// Ask again when the request under way for that key has an answer.
    Wait(u64),
    /// Continue when the store has counted the request.
    Ask(Box<Question>),
    /// Ask again when the store has answered this.
    AskValue(Box<ValueRequest>),
    /// Examine again when more of the body has arrived.
    Collect,
    /// Continue after so many microseconds.
    Delay(u64),
    /// Ask again when this password has been verified.
    Verify(Box<Unverified>),
}

/// A password that is to be verified off the loop.
pub(in crate::engine) struct Unverified {
    pub key: u128,
    pub guess: Guess,
    pub job: SlowJob,
}

/// The refusal for a client that may not use the proxy, whatever it has sent.
pub(in crate::engine) const STRANGER: Refusal = Refusal::Denied(acl::Refusal::Client);

/// The context of an examination.
pub(in crate::engine) struct Examiner<'a> {
    /// The cache, if there is one.
    pub cache: Option<CacheLookUp<'a>>,
    pub settings: &'a Settings,
    pub policy: &'a Policy,
    pub upstreams: &'a Upstreams,
    pub remembered: &'a mut CredentialCache,
    /// The guard; `None` if it does not decide, as for weir's own requests.
    pub guard: Option<Lent<'a, Guard>>,
    /// The request callback, if there is one.
    pub callback: Option<&'a RequestCallback>,
    /// A request of weir's own.
    pub is_refresh: bool,
    /// Whether the store may be asked.
    pub breaker: &'a mut Breaker,
    /// The source of filters, if there is one.
    pub filters: Option<&'a FilterSource>,
    pub up: &'a mut Relay,
    pub down: &'a mut Relay,
    pub guesses: &'a Guesses,
    pub now: Now,
    /// When the transaction began, in microseconds since the loop started.
    pub began_us: u64,
    pub client: IpAddr,
    pub peer: PeerId,
    /// The address of the connection's peer, which may be a proxy.
    pub peer_address: Option<IpAddr>,
    /// The gateway, if the request arrived at one of its listeners.
    pub gateway: Option<Lent<'a, Gateway>>,
    pub routing: &'a mut Option<Routing>,
    /// The client's pinned connection has ended meanwhile.
    pub pin_lost: bool,
    /// The guard's part of the response.
    pub guarded: &'a mut GuardedAnswer,
    /// Pages of the program around the proxy.
    pub pages: Option<part::pages::Lent<'a, OwnPages>>,
    /// The received bytes behind the head: of the body, and possibly more.
    pub behind: &'a [u8],
}

impl Examiner<'_> {
    /// Takes one whole head through the remaining phases, into `info`, `record` and `out`: `bytes` of the head, and the
    /// message that it may have been read into.
    pub fn examine(
        &mut self,
        (bytes, message): (&[u8], &mut Message),
        info: &mut RequestInfo,
        record: &mut LogRecord,
        out: &mut Vec<u8>,
    ) -> Decision {
        out.clear();
        let examined = match message.read_request(bytes, &self.settings.head) {
            Ok(head) => self.run_phases(&head, info, record, out),
            Err(fault) => {
                note_request_line(bytes, info, record);
                Err(if self.admits() { Refusal::Fault(fault) } else { STRANGER })
            }
        };
        examined.unwrap_or_else(Decision::Refuse)
    }

    fn run_phases(
        &mut self,
        head: &RequestHead<'_, '_>,
        info: &mut RequestInfo,
        record: &mut LogRecord,
        out: &mut Vec<u8>,
    ) -> Result<Decision, Refusal> {
        let is_first = info.phase == Phase::Client;
        let target = if is_first {
            Target::parse(head.method, head.target, self.settings.head.strict_targets)
        } else {
            // After a wait.
            Ok(Target::parse_again(head.method, head.target, &info.authority))
        };
        if is_first {
            self.admit(head, &target, info, record)?;
            info.phase = Phase::Framing;
        }
        // By reference: a target is large because of its name.
        let target = match &target {
            Ok(target) => target,
            Err(fault) => return Err(Refusal::Fault(*fault)),
        };
        if info.phase == Phase::Framing {
            // Neither this phase nor the next one ever waits.
            self.examine_framing(head, info)?;
            info.phase = Phase::Identify;
            self.identify(head, target, info, record, out)?;
            info.phase = Phase::Authenticate;
        }
        loop {
            let step = match info.phase {
                Phase::Client | Phase::Framing | Phase::Identify | Phase::Authenticate => {
                    self.authenticate(head, info, record)?
                }
                Phase::Judge => self.judge(head, target, info, record, out)?,
                Phase::Guard => self.count(head, target, info, record, out)?,
                Phase::Callback => self.ask_callback(head, target, info, record, out)?,
                Phase::Inspect => self.inspect(head, target, info, record)?,
                Phase::Protect => self.protect(head, target, info, record, out)?,
                Phase::Behaviour => self.behave(head, target, info, record, out)?,
                Phase::Page => self.answer_page(head, target, info, record, out)?,
                Phase::Cache => self.ask_cache(head, target, info, record, out)?,
                Phase::Route => self.route(head, target, info, out)?,
            };
            match step {
                Step::Continue(phase) => info.phase = phase,
                Step::Decide(decision) => return Ok(decision),
            }
        }
    }

    /// Records the request, and refuses a client that may not use the proxy before any text depends on the request or its
    /// user (rule 46).
    fn admit(
        &mut self,
        head: &RequestHead<'_, '_>,
        target: &Result<Target<'_>, Fault>,
        info: &mut RequestInfo,
        record: &mut LogRecord,
    ) -> Result<(), Refusal> {
        info.method = Method::of(head.method);
        info.version = head.version;
        self.note_head(head, record);
        self.note_target(head, target, record);
        self.find_client(head, record);
        self.prepare_fields(head.fields);
        if self.admits() { Ok(()) } else { Err(STRANGER) }
    }

    fn admits(&self) -> bool {
        self.policy.acl.allows_client(self.client)
    }

    fn examine_framing(&self, head: &RequestHead<'_, '_>, info: &mut RequestInfo) -> Result<(), Refusal> {
        info.body = framing::request_body(head).map_err(Refusal::Fault)?;
        info.body_out = info.body;
        info.keep_alive = forwarding::wants_keep_alive(head.version, head.fields);
        info.upgrade = forwarding::upgrade_requested(head.version, head.fields);
        info.expects_continue = head.version == Version::Http11
            && forwarding::expects_continue(head.fields).map_err(Refusal::Fault)?;
        Ok(())
    }

    /// Finds the authority of the request, and detects a loop through weir.
    fn identify(
        &mut self,
        head: &RequestHead<'_, '_>,
        target: &Target<'_>,
        info: &mut RequestInfo,
        record: &mut LogRecord,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        // After framing, so that the connection of a proxy with many clients stays open after the refusal of one.
        self.admit_guarded(head, target, record, out)?;
        self.find_authority(head, target, info, record, out)?;
        if info.is_page {
            self.prepare_page_fields(head.fields);
        }
        if let Some(gateway) = self.gateway {
            self.find_route(gateway, target, &info.authority, out)?;
            self.note_told(head.fields, target, info);
        }
        if let (Some(pseudonym), true) = (&self.settings.via, info.method != Method::Connect) {
            if forwarding::is_loop(head.fields, pseudonym) {
                return Err(Refusal::Loop);
            }
        }
        Ok(())
    }

    /// Records the authority of the request. `OPTIONS *` has none.
    fn find_authority(
        &self,
        head: &RequestHead<'_, '_>,
        target: &Target<'_>,
        info: &mut RequestInfo,
        record: &mut LogRecord,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        match target {
            Target::Absolute { authority, .. } | Target::Authority(authority) => {
                forwarding::check_host(head, target, authority).map_err(Refusal::Fault)?;
                info.authority = *authority;
                info.is_page = matches!(target, Target::Absolute { .. }) && self.is_page(authority, out);
                Ok(())
            }
            Target::Asterisk => {
                forwarding::route_target(head, target).map_err(Refusal::Fault)?;
                // Host says which site is meant, for a gateway and for limits of a host.
                let host = head.fields.get("host").and_then(|host| Authority::parse(host, Some(80)).ok());
                info.authority = host.unwrap_or(info.authority);
                Ok(())
            }
            Target::Origin { path } => {
                let authority = forwarding::route_target(head, target).map_err(Refusal::Fault)?;
                info.is_page = authority.is_some_and(|authority| self.is_page(&authority, out));
                if !self.settings.origin_form && self.gateway.is_none() && !info.is_page {
                    return Err(Refusal::OriginForm);
                }
                let Some(authority) = authority else { return Err(Refusal::AskedForProxy) };
                self.note_url(&authority, path, record, out);
                info.authority = authority;
                let is_own = self.gateway.is_none() && !info.is_page && self.is_own(&authority);
                if is_own { Err(Refusal::AskedForProxy) } else { Ok(()) }
            }
        }
    }

    pub(super) fn is_own(&self, authority: &Authority) -> bool {
        self.settings.listeners.iter().any(|listener| {
            let own = listener.address;
            own.port() == authority.port
                && match &authority.host {
                    Host::Address(address) => {
                        *address == own.ip() || (own.ip().is_unspecified() && address.is_loopback())
                    }
                    Host::Name(name) => name.as_str() == "localhost",
                }
        })
    }

    /// Finds the user; waits if a password has to be verified.
    fn authenticate(
        &mut self,
        head: &RequestHead<'_, '_>,
        info: &RequestInfo,
        record: &mut LogRecord,
    ) -> Result<Step, Refusal> {
        let next = Step::Continue(Phase::Judge);
        // Users belong to the forward proxy.
        let is_for_proxy = self.gateway.is_none() && !info.is_page;
        let Some(users) = self.policy.users.as_ref().filter(|_| is_for_proxy) else {
            return Ok(next);
        };
        // Two sets of credentials count as none: another reader may use the other set.
        let field = "proxy-authorization";
        let given = head.fields.get(field).filter(|_| head.fields.count(field) == 1).and_then(credentials);
        let Some(given) = given else { return Err(Refusal::CredentialsMissing) };
        let key = users.key(&given);
        let right = match self.remembered.get(self.now, key) {
            Some(false) => false,
            // Credentials that this client has not sent before are a guess in any case: the answer would show that
            // they are right.
            Some(true) => {
                let guess = self.guesses.begin(self.now, self.client, key).ok_or(Refusal::TooManyGuesses)?;
                self.guesses.know(self.now, self.client, guess, key);
                true
            }
            None => {
                let guess = self.guesses.begin(self.now, self.client, key);
                let guess = guess.ok_or(Refusal::TooManyGuesses)?;
                let right = match users.check(&given) {
                    Check::Accepted(_) => {
                        self.guesses.know(self.now, self.client, guess, key);
                        true
                    }
                    Check::Wrong => false,
                    Check::Slow(job) => {
                        let unverified = Box::new(Unverified { key, guess, job });
                        return Ok(Step::Decide(Decision::Verify(unverified)));
                    }
                };
                self.remembered.put(self.now, key, right);
                right
            }
        };
        if !right {
            return Err(Refusal::CredentialsWrong);
        }
        record.set(Text::User, given.user());
        Ok(next)
    }

    /// Applies the rules, and sets the filters. There are no rules for requests for weir itself.
    fn judge(
        &mut self,
        head: &RequestHead<'_, '_>,
        target: &Target<'_>,
        info: &mut RequestInfo,
        record: &mut LogRecord,
        out: &mut Vec<u8>,
    ) -> Result<Step, Refusal> {
        if info.is_page || matches!(target, Target::Asterisk) {
            return Ok(Step::Continue(Phase::Guard));
        }
        let authority = &info.authority;
        let subject = Subject {
            client: self.client,
            user: user_of(record),
            method: head.method,
            host: &authority.host,
            port: authority.port,
            connect: info.method == Method::Connect,
        };
        let grant = match self.gateway {
            Some(_) => self.judge_routed(authority)?,
            None => self.upstreams.judge_request(&self.policy.acl, &subject).map_err(Refusal::Denied)?,
        };
        info.grant = Some(grant);
        if let (Some(rule), true) = (grant.by, self.is_noted(Text::Reason)) {
            self.policy.acl.locate(rule).write(out);
            record.set(Text::Reason, out);
            out.clear();
        }
        if let Some(source) = self.filters {
            self.set_filters(source(head), info);
        }
        Ok(Step::Continue(Phase::Guard))
    }

    /// Sets the filters of the relays. A message without a body has no filters.
    fn set_filters(&mut self, lists: FilterLists, info: &mut RequestInfo) {
        if info.method == Method::Connect {
            return;
        }
        let FilterLists { request, response } = lists;
        info.filters_response = !response.is_empty();
        self.down.set_filters(Filters::new(response, Purpose::Download));
        if !matches!(info.body, Body::None | Body::Length(0)) {
            self.up.set_filters(Filters::new(request, Purpose::Upload));
        }
        if self.up.replaces() {
            // The length after replacement is not known.
            info.body_out = Body::Chunked;
        }
    }

    /// Looks the request up in the cache; waits if another request for the key is under way.
    fn ask_cache(
        &mut self,
        head: &RequestHead<'_, '_>,
        target: &Target<'_>,
        info: &mut RequestInfo,
        record: &mut LogRecord,
        out: &mut Vec<u8>,
    ) -> Result<Step, Refusal> {
        let path = match target {
            Target::Absolute { path, .. } | Target::Origin { path } => *path,
            Target::Asterisk => {
                max_forwards(head, info)?;
                return Ok(self.answer(head, info, out));
            }
            Target::Authority(_) => return Ok(Step::Decide(Decision::Forward)),
        };
        if let Some(decision) = self.purge(head, info, path, out) {
            return decision.map(Step::Decide);
        }
        info.authenticates = session_auth::authenticates_connection(head.fields);
        // The upstream of a route is not chosen yet: a pinned one will be chosen (`choose_upstream`).
        let pinned = self.pin_lost
            || match self.gateway {
                Some(_) => self.upstreams.pool.pinned_hop(self.peer).is_some(),
                None => self.upstreams.pool.is_pinned(self.peer, info.next_hop()),
            };
        info.pinned = info.authenticates || pinned;
        let Some(cache) = part::cache::built().and(self.cache.as_mut()) else {
            return Ok(Step::Continue(Phase::Route));
        };
        cache.by_gateway = self.routing.as_ref().map(|routing| routing.filter);
        Ok(match cache.look_up(head, info, path) {
            None => Step::Continue(Phase::Route),
            Some(CacheAnswer::Hit(hit)) => {
                *cache.hit = Some(hit);
                Step::Decide(Decision::Hit)
            }
            Some(CacheAnswer::Wait(hash)) => Step::Decide(Decision::Wait(hash)),
            Some(CacheAnswer::Refuse) => {
                (record.cache, record.cache_reason) = match cache.passed() {
                    Some(reason) => (CacheUse::Bypass, reason),
                    None => (CacheUse::Miss, ""),
                };
                return Err(Refusal::OnlyIfCached);
            }
        })
    }

    /// Writes the head for the origin, unless the request ends here (RFC 9110 section 7.6.2).
    fn route(
        &mut self,
        head: &RequestHead<'_, '_>,
        target: &Target<'_>,
        info: &mut RequestInfo,
        out: &mut Vec<u8>,
    ) -> Result<Step, Refusal> {
        let (Target::Absolute { path, .. } | Target::Origin { path }) = target else {
            return Ok(Step::Decide(Decision::Forward));
        };
        let max_forwards = max_forwards(head, info)?;
        if max_forwards == Some(0) {
            return Ok(self.answer(head, info, out));
        }
        self.choose_upstream(info)?;
        // Another upstream of the route may take chunks.
        while info.body_out == Body::Chunked && self.next_hop_speaks_http10(info) {
            if !self.choose_another(info) {
                return Err(Refusal::LengthRequired);
            }
        }
        if info.expects_continue && self.next_hop_speaks_http10(info) {
            info.answers_expect = std::mem::take(&mut info.expects_continue);
        }
        let host_edits = self.policy.edits.for_host(Direction::Request, &info.authority.host);
        let caching = self.cache.as_ref().map(|cache| &*cache.caching);
        let (gateway_edits, own);
        let routed = self.routed();
        let edits: &dyn Edits = match routed {
            Some((.., routing)) => {
                gateway_edits = self.gateway_edits(routing.filter, head.fields, &info.authority, &host_edits);
                &gateway_edits
            }
            None => &host_edits,
        };
        let edits: &dyn Edits = match caching.and_then(|caching| OwnConditions::of(caching, edits)) {
            Some(conditions) => {
                own = conditions;
                &own
            }
            None => edits,
        };
        let rewrites_host = routed.is_some_and(|(_, route, _)| route.host_field == HostField::Rewrite);
        let authority = if rewrites_host { info.next_hop().authority } else { &info.authority };
        let route = RequestRoute {
            authority,
            path: routed.map_or(*path, |(.., routing)| routing.forwarded(path)),
            asked: routed.map(|_| &info.authority),
            body: info.body_out,
            upgrade: info.upgrade,
            expects: info.expects_continue,
            max_forwards: max_forwards.map(|hops| hops - 1),
            via: self.settings.via.as_deref(),
            forwarded: match routed {
                Some(_) => self.forwarded_by_gateway(),
                None => self.settings.forwarded,
            },
            // The client is the one that a trusted proxy has named, and is in the list already.
            client: self.peer_address.filter(|_| routed.is_some()).unwrap_or(self.client),
            edits,
        };
        if info.body == Body::Chunked {
            let further = routed.map(|(gateway, ..)| never_in_trailers(gateway.allows_underscores));
            self.up.withheld.set(head.fields, host_edits.removed());
            further.into_iter().for_each(|further| self.up.withheld.withhold(further));
        }
        forwarding::write_request(out, head, &route);
        Ok(Step::Decide(Decision::Forward))
    }

    /// Whether the next hop is known to speak HTTP/1.0, which has no chunks.
    fn next_hop_speaks_http10(&self, info: &RequestInfo) -> bool {
        self.upstreams.pool.speaks_http10(self.now.monotonic_ms(), info.next_hop().authority)
    }

    /// Answers in place of an origin: `OPTIONS *`, and OPTIONS and TRACE that may not be forwarded any further.
    fn answer(&self, head: &RequestHead<'_, '_>, info: &RequestInfo, out: &mut Vec<u8>) -> Step {
        out.clear();
        match info.method {
            Method::Trace => {
                forwarding::trace_body(out, head);
                Step::Decide(Decision::Answer(Answer::Trace))
            }
            Method::Get
            | Method::Head
            | Method::Connect
            | Method::Options
            | Method::OtherIdempotent
            | Method::Other => {
                let connect = self.gateway.is_none();
                Step::Decide(Decision::Answer(Answer::Options { connect }))
            }
        }
    }

    #[inline]
    pub(super) fn is_noted(&self, text: Text) -> bool {
        self.settings.noted.contains(text)
    }
}

/// The value of Max-Forwards, for the methods that heed it.
fn max_forwards(head: &RequestHead<'_, '_>, info: &RequestInfo) -> Result<Option<u64>, Refusal> {
    match info.method {
        Method::Options | Method::Trace => forwarding::max_forwards(head.fields).map_err(Refusal::Fault),
        Method::Get | Method::Head | Method::Connect | Method::OtherIdempotent | Method::Other => Ok(None),
    }
}

/// The authenticated user of a request, if there is one.
fn user_of(record: &LogRecord) -> Option<&str> {
    match record.text(Text::User) {
        b"" => None,
        user => std::str::from_utf8(user).ok(),
    }
}
