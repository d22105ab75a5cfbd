//! What the cache makes of a final response: stores it, renews what it has by it, or forgets by it.

use super::caching::Part;
use super::entry::CacheUse;
use super::examine::Method;
use super::exchange::Stage;
use super::fetch::Beginning;
use super::flight::Landing;
use super::peer::{ExchangeId, Peer, Role};
use super::serving::Serving;
use super::{Engine, PeerId};
use crate::cache::control::{RequestDirectives, ResponseDirectives};
use crate::cache::freshness::{self, Terms, Times};
use crate::cache::key::{self, Scheme, Uri};
use crate::cache::storable::{self, NotStored, Storing};
use crate::cache::stored::{Head, Stored};
use crate::cache::validation::{self, Head as HeadSays};
use crate::cache::{body, invalidation, vary};
use crate::http::block::{FieldBlock, FieldLines};
use crate::http::framing::Body;
use crate::http::head::{FieldStorage, RequestHead, ResponseHead};
use crate::http::target::Target;
use crate::time::Now;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// What becomes of a response.
pub(super) enum Judged {
    /// It is passed on as if there were no cache.
    Pass,
    /// It is passed on and stored.
    Store(Arc<Stored>),
    /// The exchange has been answered, or begun anew.
    Settled,
}

/// What is to be done with what is stored.
enum Verdict {
    Pass,
    Store(Box<Arc<Stored>>),
    /// A 304 that confirms what is stored: the fields of that are in the room for texts.
    Confirmed(Terms, bool),
    /// A 304 about something else.
    Unconfirmed,
    /// An error; what is stored is better.
    ServeStale(u16),
}

impl Engine {
    /// The same for a response that may be an interim one; a refresh ends here.
    pub(super) fn judge_final(&mut self, now: Now, id: ExchangeId, head_bytes: usize) -> Judged {
        let Engine { exchanges, pool, settings, .. } = self;
        let Some(exchange) = exchanges.get(id.index as usize) else { return Judged::Settled };
        let mut storage = FieldStorage::new();
        let bytes = &exchange.response.bytes(pool)[..head_bytes];
        let background = exchange.caching.background;
        let interim =
            ResponseHead::parse(bytes, &mut storage, &settings.head).is_ok_and(|head| head.status < 200);
        if interim {
            return Judged::Pass;
        }
        let judged = self.judge_response(now, id, head_bytes);
        if background && matches!(judged, Judged::Pass) {
            self.finish_background(now, id);
            return Judged::Settled;
        }
        judged
    }

    /// Looks at a final response before it is passed on.
    fn judge_response(&mut self, now: Now, id: ExchangeId, head_bytes: usize) -> Judged {
        let Some(exchange) = self.exchange_mut(id) else { return Judged::Pass };
        if exchange.caching.part == Part::None {
            return Judged::Pass;
        }
        match self.look_at_response(now, id, head_bytes) {
            Verdict::Pass => {
                self.land(id, Landing::NotShareable);
                Judged::Pass
            }
            Verdict::Store(stored) => Judged::Store(*stored),
            Verdict::Confirmed(terms, keeps) => {
                self.renew(now, id, head_bytes, terms, keeps);
                Judged::Settled
            }
            Verdict::Unconfirmed => {
                self.ask_again(now, id);
                Judged::Settled
            }
            Verdict::ServeStale(status) => {
                if self.serve_stale(now, id, Some(status)) {
                    Judged::Settled
                } else {
                    Judged::Pass
                }
            }
        }
    }

    fn look_at_response(&mut self, now: Now, id: ExchangeId, head_bytes: usize) -> Verdict {
        let Engine { exchanges, peers, pool, settings, cache_text, cache_scratch, .. } = self;
        let (Some(exchange), Some(cache)) = (exchanges.get_mut(id.index as usize), &settings.cache) else {
            return Verdict::Pass;
        };
        let Some(Peer { role: Role::Client(client), .. }) = peers.get(exchange.client.index()) else {
            return Verdict::Pass;
        };
        let (mut asked_storage, mut storage) = (FieldStorage::new(), FieldStorage::new());
        let asked_bytes = &client.input.bytes(pool)[..exchange.plan.head_bytes.min(client.input.len())];
        let response_bytes = &exchange.response.bytes(pool)[..head_bytes];
        let (Ok(asked), Ok(response)) = (
            RequestHead::parse(asked_bytes, &mut asked_storage, &settings.head),
            ResponseHead::parse(response_bytes, &mut storage, &settings.head),
        ) else {
            return Verdict::Pass;
        };
        let path = match Target::parse(asked.method, asked.target, settings.head.strict_targets) {
            Ok(Target::Absolute { path, .. } | Target::Origin { path }) => path,
            Ok(Target::Authority(_) | Target::Asterisk) | Err(_) => return Verdict::Pass,
        };
        let uri = Uri { scheme: Scheme::Http, authority: exchange.plan.authority, path };
        let caching = &mut exchange.caching;
        let times = Times { requested_s: caching.requested_s, received_s: now.unix_s() };
        let targeted: Vec<&str> = cache.targeted.iter().map(String::as_str).collect();
        match caching.part {
            Part::None => return Verdict::Pass,
            Part::Invalidate => {
                invalidation::invalidated(
                    asked.method,
                    response.status,
                    &uri,
                    response.fields,
                    cache_scratch,
                    |key| {
                        cache.store.invalidate(key);
                    },
                );
                return Verdict::Pass;
            }
            Part::Head => {
                let Some(stored) = caching.stale.clone() else { return Verdict::Pass };
                match validation::head_says(
                    stored.block(),
                    stored.body.len(),
                    response.status,
                    response.fields,
                ) {
                    HeadSays::Nothing => {}
                    HeadSays::Invalidates => cache.store.remove(&stored),
                    HeadSays::Updates => {
                        let directives = ResponseDirectives::read(response.fields, &targeted);
                        cache_text.clear();
                        validation::write_updated(cache_text, stored.block(), response.fields, &directives);
                        let block = FieldBlock::new(cache_text);
                        let directives = ResponseDirectives::read(block, &targeted);
                        let terms = Terms::new(stored.status, block, &directives, times, &cache.freshness);
                        let head =
                            Head { block: cache_text, terms, received_us: now.monotonic_us, ..stored.head() };
                        cache.store.freshen(&stored, &head);
                    }
                }
                return Verdict::Pass;
            }
            Part::Validate | Part::Store => {}
        }
        let stale = caching.stale.clone();
        if let (Part::Validate, Some(stored), 304) = (caching.part, &stale, response.status) {
            if !validation::confirms(stored.block(), response.fields) {
                return Verdict::Unconfirmed;
            }
            let directives = ResponseDirectives::read(response.fields, &targeted);
            cache_text.clear();
            validation::write_updated(cache_text, stored.block(), response.fields, &directives);
            let block = FieldBlock::new(cache_text);
            let directives = ResponseDirectives::read(block, &targeted);
            let terms = Terms::new(stored.status, block, &directives, times, &cache.freshness);
            return Verdict::Confirmed(terms, !directives.no_store && !directives.private);
        }
        if stale.is_some() && caching.if_error && freshness::is_error(response.status) {
            return Verdict::ServeStale(response.status);
        }
        let (Some(epoch), Method::Get) = (caching.epoch, exchange.plan.method) else { return Verdict::Pass };
        // Parts are not stored yet.
        if response.status == 206 || caching.part == Part::Store && asked.fields.contains("range") {
            return Verdict::Pass;
        }
        let directives = RequestDirectives::read(asked.fields);
        let storing = Storing { freshness: cache.freshness, targeted: &targeted };
        let storable = match storable::judge(&asked, &directives, &response, false, times, &storing) {
            Ok(storable) => storable,
            Err(reason) => {
                // What is stored was asked about and is not what the origin has now.
                let replaced = stale.filter(|_| response.status < 500 && reason != NotStored::RequestNoStore);
                if let Some(stored) = replaced {
                    cache.store.remove(&stored);
                }
                return Verdict::Pass;
            }
        };
        cache_text.clear();
        key::write_key(cache_text, &uri);
        let key_end = cache_text.len();
        if vary::write_names(cache_text, response.fields).is_err() {
            return Verdict::Pass;
        }
        let names_end = cache_text.len();
        let names = cache_text[key_end..].to_vec();
        if vary::write_selecting(cache_text, &names, asked.fields).is_err() {
            return Verdict::Pass;
        }
        let selecting_end = cache_text.len();
        storable::write_block(cache_text, response.fields, &storable.directives, times);
        let address =
            exchange.entry.upstream.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
        let head = Head {
            key: &cache_text[..key_end],
            names: &cache_text[key_end..names_end],
            selecting: &cache_text[names_end..selecting_end],
            reason: response.reason,
            block: &cache_text[selecting_end..],
            status: response.status,
            version: response.version,
            terms: storable.terms,
            received_us: now.monotonic_us,
            address,
            set_cookie: response.fields.contains("set-cookie"),
        };
        let (store, hash) = (&cache.store, cache.store.hash(head.key));
        let nothing = Arc::new(body::Body::whole(store.ledger(), Box::default()));
        let _ = epoch;
        Verdict::Store(Box::new(Arc::new(Stored::new(store.ledger(), hash, &head, nothing))))
    }

    /// The origin has confirmed what is stored: it gets its new fields, and the client its answer (rules 32 and 33).
    fn renew(&mut self, now: Now, id: ExchangeId, head_bytes: usize, terms: Terms, keeps: bool) {
        let Engine { exchanges, settings, cache_text, .. } = self;
        let (Some(exchange), Some(cache)) = (exchanges.get_mut(id.index as usize), &settings.cache) else {
            return;
        };
        let Some(old) = exchange.caching.stale.take() else { return };
        let head = Head { block: cache_text, terms, received_us: now.monotonic_us, ..old.head() };
        let store = &cache.store;
        let stored = match store.freshen(&old, &head).filter(|_| keeps) {
            Some(stored) => stored,
            None => {
                let body = Arc::clone(&old.body);
                Arc::new(Stored::new(store.ledger(), old.hash(), &head, body))
            }
        };
        if !keeps {
            store.remove(&old);
        }
        self.release_origin(now, id, head_bytes);
        self.land(id, Landing::LookAgain);
        if self.exchanges.get(id.index as usize).is_some_and(|exchange| exchange.caching.background) {
            self.metrics.cache_revalidated += 1;
            self.finish_background(now, id);
            return;
        }
        self.serve_validated(now, id, stored, CacheUse::Revalidated, Some(304));
    }

    /// The 304 was about something else than what is stored: asked for once more, without conditions.
    fn ask_again(&mut self, now: Now, id: ExchangeId) {
        let Engine { exchanges, settings, pool, .. } = self;
        let Some(exchange) = exchanges.get_mut(id.index as usize) else { return };
        if let (Some(cache), Some(stale)) = (&settings.cache, exchange.caching.stale.take()) {
            cache.store.remove(&stale);
        }
        exchange.caching.unconditional = true;
        exchange.up.release(pool);
        exchange.up.sent = 0;
        exchange.scanner = Default::default();
        self.detach_origin(id);
        self.examine(now, id);
    }

    /// Gives the origin connection back after a response without a body.
    fn release_origin(&mut self, now: Now, id: ExchangeId, head_bytes: usize) {
        let draining = self.is_draining();
        let Engine { exchanges, pool, settings, .. } = self;
        let Some(exchange) = exchanges.get_mut(id.index as usize) else { return };
        let mut storage = FieldStorage::new();
        let bytes = exchange.response.bytes(pool);
        let clean = bytes.len() == head_bytes && exchange.up.is_complete() && !draining;
        let reusable = clean
            && ResponseHead::parse(&bytes[..head_bytes], &mut storage, &settings.head)
                .is_ok_and(|head| crate::http::forwarding::origin_keeps_alive(head.version, head.fields));
        exchange.response.release(pool);
        let origin: Option<PeerId> = exchange.origin.take();
        match origin {
            Some(origin) if reusable => self.idle_origin(now, origin),
            Some(origin) => self.close_origin(origin),
            None => {}
        }
    }

    /// The head for the client is written, the response is stored as it comes.
    pub(super) fn begin_storing(
        &mut self,
        now: Now,
        id: ExchangeId,
        head_bytes: usize,
        pending: Arc<Stored>,
        body: Body,
    ) {
        let hash = pending.hash();
        let Some(exchange) = self.exchange_mut(id) else { return };
        let Some(epoch) = exchange.caching.epoch else { return };
        let background = exchange.caching.background;
        let leads = exchange.caching.leads.take();
        exchange.caching.stale = None;
        let beginning = Beginning { pending, epoch, body, unread: background };
        let Some(fetch) = self.begin_fetch(now, id, head_bytes, beginning) else { return };
        if leads.is_some() {
            let waiters = self.flights.turn_into_fetch(hash, id, fetch);
            self.let_go(waiters, Landing::LookAgain);
        }
        if background {
            self.finish_background(now, id);
            self.advance_fetch(now, fetch);
            return;
        }
        let length = fetch.get(&self.fetches).and_then(|fetch| fetch.length);
        let Some(exchange) = self.exchange_mut(id) else { return };
        let chunked = length.is_none() && !exchange.ends_at_close;
        exchange.stage = Stage::Serving;
        exchange.serving = Some(Serving::growing(fetch, length, chunked));
        let client = exchange.client;
        self.join_fetch(fetch, id);
        self.forget_request(id);
        self.touch(now, id);
        self.wake(client);
        self.advance_fetch(now, fetch);
    }
}
