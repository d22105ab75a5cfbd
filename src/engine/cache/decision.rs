//! The rules of caching for one response: its meaning for the stored response, and whether it is stored itself.

use crate::cache::body::Body;
use crate::cache::fill::streaming_body::StreamingBody;
use crate::cache::rfc::control::RequestDirectives;
use crate::cache::rfc::freshness::{self, Times};
use crate::cache::rfc::key::{self, Uri};
use crate::cache::rfc::range::{self, Fragment};
use crate::cache::rfc::storable::{self, NotStored, Storable, Storing};
use crate::cache::rfc::validation::{self, CONDITIONAL_FIELDS, HeadVerdict, Validators};
use crate::cache::rfc::{invalidation, vary};
use crate::cache::store::stored::{Head, Stored};
use crate::engine::cache::selecting::AsForwarded;
use crate::engine::cache::settings::CacheSettings;
use crate::engine::cache::state::{CacheState, Caching};
use crate::http::block::{FieldBlock, FieldLines};
use crate::http::forwarding;
use crate::http::framing::{Body as Framing, response_body};
use crate::http::head::{Limits, RequestHead, ResponseHead};
use crate::time::Now;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::sync::Arc;

/// The decision about a response.
pub(in crate::engine) enum ResponseOutcome {
    /// The response is only forwarded.
    Pass,
    /// The response is stored as it is forwarded; the budget has admitted the beginning of its body.
    Store(Box<(Stored, StreamingBody)>),
    /// The bytes that were missing.
    Completes(Box<Completed>),
    /// The missing bytes of a part, but the budget has no room for them.
    NoRoom,
    /// A 304 that confirms the stored response.
    Confirmed(Box<Confirmed>),
    /// A 304 about another response, or other bytes than the missing ones.
    Unconfirmed,
    /// An error; the stored response is the better answer.
    ServeStale(u16),
}

/// The effect of a response on the stored response that the request was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Fate {
    /// The stored response gets the new fields.
    Renewed,
    /// The stored response must not be stored any longer.
    Removed,
    /// The stored response stays unchanged: the request had no-store, so no part of its response is stored (RFC 9111 section
    /// 5.2.1.5), or the end of the response is doubtful.
    Left,
}

/// The stored response with its new fields.
pub(in crate::engine) struct Confirmed {
    pub stored: Stored,
    pub fate: Fate,
    /// Lines for this one answer.
    pub withheld: Vec<u8>,
}

/// A stored part, and the bytes that complete it.
pub(in crate::engine) struct Completed {
    pub stored: Stored,
    /// The body for the missing bytes.
    pub stream: StreamingBody,
    /// Lines for this one answer.
    pub withheld: Vec<u8>,
}

/// One response to one request, and the cache.
pub(in crate::engine) struct ResponseDecision<'a> {
    pub cache: &'a CacheSettings,
    pub storing: Storing<'a>,
    pub uri: Uri<'a>,
    pub times: Times,
    pub now: Now,
    pub asked: &'a RequestHead<'a, 'a>,
    /// The request as the origin has got it, by which the response is selected.
    pub forwarded: AsForwarded<'a, 'a>,
    pub response: &'a ResponseHead<'a, 'a>,
    pub caching: &'a mut Caching,
    pub text: &'a mut Vec<u8>,
    pub scratch: &'a mut Vec<u8>,
    /// weir writes Forwarded and X-Forwarded-For itself.
    pub writes_forwarded: bool,
    /// The address that the response comes from.
    pub address: Option<IpAddr>,
    /// The edition of the rules that have judged the names behind it; 0 for none.
    pub rules_edition: u16,
    /// Received bytes behind its head.
    pub come: usize,
    /// The limits of a head: fields that grow with every confirmation must not grow beyond them.
    pub limits: &'a Limits,
}

impl ResponseDecision<'_> {
    /// Removes the stored responses that the response to an unsafe method invalidates (rule 37); the response itself
    /// may answer later GETs (rule 38).
    pub fn invalidate(&mut self, complete: bool) -> ResponseOutcome {
        let (method, response) = (self.asked.method, self.response);
        let store = &self.cache.store;
        invalidation::for_each_key(
            method,
            response.status,
            &self.uri,
            response.fields,
            self.scratch,
            |key| {
                store.invalidate(key);
            },
        );
        if !complete
            || self.caching.pinned
            || method != "POST"
            || !invalidation::content_location_is_own(&self.uri, response.fields)
        {
            return ResponseOutcome::Pass;
        }
        self.scratch.clear();
        key::write_key(self.scratch, &self.uri);
        self.caching.state = CacheState::Invalidating(Some(store.epoch(store.hash(self.scratch))));
        self.store(true)
    }

    /// Whether the response is not stored because of its framing.
    fn is_doubtful(&self) -> bool {
        forwarding::has_doubtful_framing(self.response.version, self.response.fields)
    }

    /// The effect of the response to a HEAD on the stored response (rule 36).
    pub fn compare(&mut self) -> ResponseOutcome {
        if self.is_error_instead() {
            return ResponseOutcome::ServeStale(self.response.status);
        }
        if self.is_doubtful() {
            return ResponseOutcome::Pass;
        }
        let (store, fields) = (Arc::clone(&self.cache.store), self.response.fields);
        let Some(stored) = self.caching.known().cloned() else { return ResponseOutcome::Pass };
        match validation::compare_head_response(
            stored.status,
            stored.block(),
            stored.length(),
            self.response.status,
            fields,
        ) {
            HeadVerdict::Nothing => {}
            HeadVerdict::Invalidates => store.remove(&stored),
            HeadVerdict::Updates => {
                let (updated, fate) = self.updated(&stored);
                match fate {
                    Fate::Renewed => drop(store.replace(self.now.monotonic_us, &stored, &Arc::new(updated))),
                    Fate::Removed => store.remove(&stored),
                    Fate::Left => {}
                }
            }
        }
        ResponseOutcome::Pass
    }

    /// The effect of a 304 on the stored response (rule 32).
    pub fn confirm(&mut self) -> ResponseOutcome {
        let Some(stored) = self.caching.to_validate().cloned() else { return ResponseOutcome::Pass };
        if !validation::confirms(stored.block(), self.response.fields) {
            return ResponseOutcome::Unconfirmed;
        }
        let mut withheld = Vec::new();
        validation::write_withheld(
            &mut withheld,
            stored.block(),
            self.response.fields,
            self.storing.targeted,
        );
        let (stored, fate) = self.updated(&stored);
        if stored.fragment().is_some() && !self.is_answered_by(&stored) {
            return ResponseOutcome::Unconfirmed;
        }
        ResponseOutcome::Confirmed(Box::new(Confirmed { stored, fate, withheld }))
    }

    /// Whether parts still answer the request, with the fields of a 304: If-Range may contain a date that the 304 has
    /// changed. And only a strong tag shows that bytes are equal.
    fn is_answered_by(&self, parts: &Stored) -> bool {
        let wanted = range::wanted(self.asked.fields, parts.block(), parts.length());
        Validators::read(parts.block()).strong_etag().is_some()
            && wanted.is_some_and(|wanted| parts.contains(wanted))
    }

    /// The stored response with the new fields, and its fate. It is judged like a response with these fields that has arrived
    /// with its body (rule 52).
    fn updated(&mut self, stored: &Stored) -> (Stored, Fate) {
        let fields = self.response.fields;
        self.text.clear();
        validation::write_updated(self.text, stored.block(), fields, self.times, self.storing.targeted);
        let block_end = self.text.len();
        // From now on it is selected by the present fields of the origin.
        let selecting = self.write_selecting(0..block_end);
        let (block, rest) = self.text.split_at(block_end);
        let names_end = selecting.unwrap_or(block_end) - block_end;
        let (names, selecting_text) = rest.split_at(names_end);
        let block = FieldBlock::new(block);
        let authorized = self.asked.fields.contains("authorization");
        let updated =
            validation::judge_updated(stored.status, block, fields, authorized, self.times, &self.storing);
        let head = Head {
            names,
            selecting: selecting_text,
            block: block.as_bytes(),
            terms: updated.terms,
            received_us: self.now.monotonic_us,
            rules_edition: self.rules_edition,
            set_cookie: validation::sets_cookies(block),
            ..stored.head()
        };
        let keeps = updated.keep && selecting.is_ok() && is_within(self.limits, block);
        let fate = match keeps {
            false => Fate::Removed,
            true if self.is_doubtful() || RequestDirectives::read(self.asked.fields).no_store => Fate::Left,
            true => Fate::Renewed,
        };
        let memory = self.cache.store.memory();
        (Stored::new(memory, stored.hash(), &head, Arc::clone(&stored.body)), fate)
    }

    /// Appends to `text` the names of Vary in the fields at `block`, and the request's values that the origin has got.
    /// Returns the end of the names.
    fn write_selecting(&mut self, block: Range<usize>) -> Result<usize, NotStored> {
        self.scratch.clear();
        vary::write_names(self.scratch, FieldBlock::new(&self.text[block]))?;
        self.append_selecting()
    }

    /// Appends the names of Vary in `scratch`, and the request's values that the origin has got. Returns the end of the names.
    fn append_selecting(&mut self) -> Result<usize, NotStored> {
        self.text.extend_from_slice(self.scratch);
        let names_end = self.text.len();
        // A response that an origin has selected by fields of weir's own cannot be selected by a client's fields.
        let own_conditions = self.caching.to_validate().is_some() || self.caching.to_complete().is_some();
        let chosen_by_weir = (self.writes_forwarded
            && vary::names_one_of(self.scratch, &["forwarded", "x-forwarded-for"]))
            || (own_conditions && vary::names_one_of(self.scratch, &CONDITIONAL_FIELDS));
        if chosen_by_weir {
            return Err(NotStored::VaryAny);
        }
        vary::write_selecting(self.text, self.scratch, self.forwarded)?;
        Ok(names_end)
    }

    /// Whether the response is an error in whose place the stored response is served (rule 25).
    fn is_error_instead(&self) -> bool {
        self.caching.stale().is_some_and(|stale| stale.if_error) && freshness::is_error(self.response.status)
    }

    /// Stores the response, or serves the stored one in its place (rule 25).
    pub fn store(&mut self, own_uri: bool) -> ResponseOutcome {
        let response = self.response;
        // It is refused as faulty, and says nothing about the stored one.
        if response_body(self.asked.method, response).is_err() {
            return ResponseOutcome::Pass;
        }
        if self.is_error_instead() {
            return ResponseOutcome::ServeStale(response.status);
        }
        let stale = self.caching.stale().map(|stale| Arc::clone(&stale.stored));
        // A part that was not requested is suspect, and a whole response is not replaced by a part.
        let whole = stale.as_ref().is_some_and(|stored| stored.fragment().is_none());
        if response.status == 206 && (whole || !self.asked.fields.contains("range")) {
            self.caching.not_stored = Some(NotStored::Part);
            return ResponseOutcome::Pass;
        }
        let asked = RequestDirectives::read(self.asked.fields);
        let judged = match self.caching.pinned {
            true => Err(NotStored::ConnectionAuth),
            false => storable::judge(self.asked, &asked, response, own_uri, self.times, &self.storing),
        };
        match judged {
            Ok(storable) => {
                if let Some(stored) = self.pending(&storable) {
                    // The new response replaces the one that the same requests select. If the validated response is selected
                    // by others, it is outdated.
                    let same = |old: &&Arc<Stored>| {
                        old.names() == stored.names() && old.selecting() == stored.selecting()
                    };
                    if let Some(old) = stale.as_ref().filter(|old| !same(old)) {
                        self.cache.store.remove(old);
                    }
                    if let Some(stream) = self.begin_body() {
                        // Other requests for the key may read it while it is received, but it will not be kept.
                        let too_large = self.announced() > Some(self.cache.store.limits().object_max);
                        self.caching.not_stored = too_large.then_some(NotStored::TooLarge);
                        return ResponseOutcome::Store(Box::new((stored, stream)));
                    }
                    self.caching.not_stored = Some(NotStored::NoRoom);
                }
            }
            Err(reason) => self.caching.not_stored = Some(reason),
        }
        // The stored response was validated, and is outdated.
        let beside = self.caching.to_complete().map(|(stored, _)| Arc::clone(stored));
        let answered = response.status < 500 && self.caching.not_stored != Some(NotStored::RequestNoStore);
        // The range of a request that validates parts lies within them.
        let concerns = |stored: &Stored| {
            !storable::is_about_request(response.status)
                || (response.status == 416 && stored.fragment().is_some())
        };
        if let Some(stored) = stale.or(beside).filter(|stored| answered && concerns(stored)) {
            self.cache.store.remove(&stored);
        }
        ResponseOutcome::Pass
    }

    /// The meaning of the response to a request for missing bytes (RFC 9110 section 15.3.7.3).
    pub fn decide_on_missing_bytes(&mut self) -> ResponseOutcome {
        match self.response.status {
            206 if self.caching.pinned => ResponseOutcome::Unconfirmed,
            206 => match self.completed() {
                Some((stored, withheld)) => self.begin_body().map_or(ResponseOutcome::NoRoom, |stream| {
                    ResponseOutcome::Completes(Box::new(Completed { stored, stream, withheld }))
                }),
                None => ResponseOutcome::Unconfirmed,
            },
            // These answer fields that the client did not send.
            304 | 412 | 416 => ResponseOutcome::Unconfirmed,
            // The whole representation, another one, or an error.
            _ => self.store(false),
        }
    }

    /// The missing bytes, if the response has exactly these and belongs to the stored part.
    fn completed(&mut self) -> Option<(Stored, Vec<u8>)> {
        let fields = self.response.fields;
        let (beside, missing) = self.caching.to_complete()?;
        let exact = Fragment::single(missing, beside.length());
        let same = range::may_combine(beside.block(), fields) && self.has_source_of(beside);
        // Other clients get the length before the end has arrived.
        let framed = response_body("GET", self.response).ok() == Some(Framing::Length(missing.len));
        let asked = RequestDirectives::read(self.asked.fields);
        let storable =
            storable::judge(self.asked, &asked, self.response, false, self.times, &self.storing).ok()?;
        if !same || !framed || storable.part != Some(exact) {
            return None;
        }
        let beside = Arc::clone(beside);
        let pending = self.pending(&storable)?;
        // The new fields may change the wanted part: If-Range may contain a date that they have changed.
        let wanted = range::wanted(self.asked.fields, pending.block(), beside.length())?;
        let mut withheld = Vec::new();
        validation::write_withheld(
            &mut withheld,
            beside.block(),
            self.response.fields,
            self.storing.targeted,
        );
        (beside.missing(wanted) == Some(missing)).then_some((pending, withheld))
    }

    fn has_source_of(&self, stored: &Stored) -> bool {
        self.address.is_some_and(|address| stored.has_source(address))
    }

    /// The length of the body that the head announces.
    fn announced(&self) -> Option<u64> {
        match response_body(self.asked.method, self.response).ok()? {
            Framing::None => Some(0),
            Framing::Length(length) => Some(length),
            Framing::Chunked | Framing::UntilClose => None,
        }
    }

    /// An empty streaming body for the response. `None` if the store has no room for its beginning.
    fn begin_body(&self) -> Option<StreamingBody> {
        let store = &self.cache.store;
        let begun = StreamingBody::try_new(store.memory(), self.announced(), self.come, |bytes| {
            store.admit(self.now.monotonic_us, bytes)
        });
        if begun.is_none() {
            store.count_refused();
        }
        begun
    }

    /// The stored part that a response with this place belongs to.
    fn beside(&self, part: Option<Fragment<'_>>) -> Option<Arc<Stored>> {
        let (beside, part) = (self.caching.beside()?, part?);
        let same = beside.length() == part.length
            && self.has_source_of(beside)
            && range::may_combine(beside.block(), self.response.fields);
        same.then(|| Arc::clone(beside))
    }

    /// Appends the names and the values of the selecting fields to the key in `text`. Returns the end of the names; `None` if
    /// the response is not stored because of them.
    fn append_names(&mut self, beside: Option<&Stored>) -> Option<usize> {
        let response = self.response;
        self.scratch.clear();
        let written = match beside {
            // Parts of variants are not combined.
            Some(beside) if !response.fields.contains("vary") => {
                vary::write_names(self.scratch, beside.block())
            }
            Some(_) | None => vary::write_names(self.scratch, response.fields),
        };
        match written.map_err(NotStored::from).and_then(|()| self.append_selecting()) {
            Ok(names_end) => Some(names_end),
            Err(reason) => {
                self.caching.not_stored = Some(reason);
                None
            }
        }
    }

    /// The response to store, without its body.
    fn pending(&mut self, storable: &Storable) -> Option<Stored> {
        let beside = self.beside(storable.part);
        let response = self.response;
        self.text.clear();
        key::write_key(self.text, &self.uri);
        let key_end = self.text.len();
        let names_end = self.append_names(beside.as_deref())?;
        let selecting_end = self.text.len();
        let text = &mut *self.text;
        let mut terms = storable.terms;
        match &beside {
            // The fields of both (RFC 9111 section 3.4).
            Some(beside) => {
                validation::write_updated(
                    text,
                    beside.block(),
                    response.fields,
                    self.times,
                    self.storing.targeted,
                );
                let block = FieldBlock::new(&text[selecting_end..]);
                let authorized = self.asked.fields.contains("authorization");
                let (fields, times, storing) = (response.fields, self.times, &self.storing);
                let updated = validation::judge_updated(200, block, fields, authorized, times, storing);
                if !(updated.keep && is_within(self.limits, block)) {
                    return None;
                }
                terms = updated.terms;
            }
            // A response to If-Range may lack fields that the client knows (RFC 9110 section 15.3.7): other clients
            // must not get it without them.
            None if storable.part.is_some() && self.asked.fields.contains("if-range") => {
                self.caching.not_stored = Some(NotStored::Part);
                return None;
            }
            None => {
                let part = storable.part.is_some();
                storable::write_block(text, response.fields, &storable.directives, self.times, part);
            }
        }
        // A part is stored with the status of the whole response.
        let (status, reason) = match storable.part {
            Some(_) => (200, &b"OK"[..]),
            None => (response.status, response.reason),
        };
        let head = Head {
            key: &text[..key_end],
            names: &text[key_end..names_end],
            selecting: &text[names_end..selecting_end],
            reason,
            block: &text[selecting_end..],
            status,
            version: response.version,
            terms,
            received_us: self.now.monotonic_us,
            address: self.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            rules_edition: self.rules_edition,
            // A cookie in a further part is for the requesting client only (rule 52).
            set_cookie: match &beside {
                Some(beside) => beside.set_cookie,
                None => validation::sets_cookies(response.fields),
            },
            fragment: storable.part,
        };
        let store = &self.cache.store;
        let nothing = Arc::new(Body::from_bytes(store.memory(), Box::default()));
        Some(Stored::new(store.memory(), store.hash(head.key), &head, nothing))
    }
}

/// Whether stored fields are as few and as short as those of a head may be.
fn is_within(limits: &Limits, block: FieldBlock<'_>) -> bool {
    block.as_bytes().len() <= limits.head_bytes_max && block.lines().count() <= limits.fields_max
}
