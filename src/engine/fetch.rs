//! A response on its way into the cache, and from there to all who wait for it.
//!
//! When the head of a response that may be stored has come, the exchange that asked for it gives its origin connection to
//! a fetch. The origin's bytes are received straight into the segments of the growing body; the exchange becomes its
//! first reader, and requests for the same key join (rule 48). The body runs ahead of slow readers, so that none of them
//! holds the origin or the others up (rule 47). What turns out too large for the store, or finds it full of what is in use,
//! passes through a window instead: what all readers have is given up, and the origin waits for them.

use super::exchange::Stage;
use super::peer::{ExchangeId, OriginState, Peer, Role};
use super::serving::Source;
use super::{Engine, Event, PeerId};
use crate::cache::body::Growing;
use crate::cache::store::Epoch;
use crate::cache::stored::Stored;
use crate::http::chunked::Decoder;
use crate::http::framing::Body;
use crate::time::Now;
use slab::Slab;
use std::sync::Arc;

/// Bytes that a body may hold that is not to be stored and whose readers are behind (chosen: four segments).
const WINDOW_BYTES_MAX: usize = 256 * 1024;

/// Readers of one fetch (chosen: more than wait for anything but an attack; the next ones fetch by themselves).
pub const READERS_MAX: usize = 4096;

/// With no more than this to come, a fetch goes on although nobody reads (chosen, as others do).
const UNREAD_BYTES_MAX: u64 = 64 * 1024;

/// Index of a fetch in its slab, with a serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FetchId {
    pub index: u32,
    pub serial: u32,
}

impl FetchId {
    pub fn get(self, fetches: &Slab<Fetch>) -> Option<&Fetch> {
        fetches.get(self.index as usize).filter(|fetch| fetch.serial == self.serial)
    }

    pub fn get_mut(self, fetches: &mut Slab<Fetch>) -> Option<&mut Fetch> {
        fetches.get_mut(self.index as usize).filter(|fetch| fetch.serial == self.serial)
    }
}

/// What is still to come.
#[derive(Debug)]
enum Intake {
    Length(u64),
    Chunked(Decoder),
    UntilClose,
    /// All of it has come.
    Ended,
    /// The rest will never come.
    Failed,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Fetch {
    pub serial: u32,
    /// Until everything has come, or cannot come any more.
    origin: Option<PeerId>,
    /// The response without its body: what readers are told, and what will be stored.
    pub pending: Arc<Stored>,
    pub growing: Growing,
    intake: Intake,
    /// Announced length.
    pub length: Option<u64>,
    pub epoch: Epoch,
    readers: Vec<ExchangeId>,
    /// The origin connection can carry another exchange.
    reusable: bool,
    /// It will be stored; otherwise the beginning may be gone.
    pub storable: bool,
    /// It goes on without readers.
    pub unread: bool,
    /// The hash of the key that other loops wait for.
    pub claim: Option<u64>,
}

impl Fetch {
    pub fn has_ended(&self) -> bool {
        matches!(self.intake, Intake::Ended)
    }

    pub fn has_failed(&self) -> bool {
        matches!(self.intake, Intake::Failed)
    }

    /// Whether a request may begin to read it.
    pub fn is_joinable(&self) -> bool {
        self.storable && !self.has_failed() && self.readers.len() < READERS_MAX
    }

    /// Whether there is room for more.
    pub fn wants_bytes(&self) -> bool {
        match self.intake {
            Intake::Length(_) | Intake::Chunked(_) | Intake::UntilClose => {
                self.storable || self.growing.held() < WINDOW_BYTES_MAX
            }
            Intake::Ended | Intake::Failed => false,
        }
    }

    /// How much is left, if that is known.
    fn left(&self) -> Option<u64> {
        match self.intake {
            Intake::Length(left) => Some(left),
            Intake::Ended | Intake::Failed => Some(0),
            Intake::Chunked(_) | Intake::UntilClose => None,
        }
    }

    /// Whether it is worth finishing although nobody reads.
    fn goes_on_unread(&self) -> bool {
        let nearly =
            self.left().is_some_and(|left| left <= UNREAD_BYTES_MAX || left <= self.growing.len() / 3);
        self.storable && (self.unread || nearly)
    }

    /// Judges `count` bytes fresh from the wire in the growing body's space. Whether there was anything behind the end, and
    /// whether the framing was broken, is kept.
    fn admit(&mut self, count: usize) -> usize {
        let space = self.growing.space();
        let bytes = &mut space[..count];
        let (payload, consumed) = match &mut self.intake {
            Intake::Ended | Intake::Failed => (0, 0),
            Intake::UntilClose => (count, count),
            Intake::Length(left) => {
                let taken = (*left).min(count as u64) as usize;
                *left -= taken as u64;
                if *left == 0 {
                    self.intake = Intake::Ended;
                }
                (taken, taken)
            }
            Intake::Chunked(decoder) => match decoder.decode(bytes) {
                Ok(decoded) => {
                    if decoded.finished {
                        self.intake = Intake::Ended;
                    }
                    (decoded.payload, decoded.consumed)
                }
                Err(_) => {
                    self.intake = Intake::Failed;
                    (0, count)
                }
            },
        };
        self.reusable &= consumed == count && !self.has_failed();
        self.growing.commit(payload);
        consumed
    }
}

/// What a fetch begins with.
pub(super) struct Beginning {
    pub pending: Arc<Stored>,
    pub epoch: Epoch,
    pub body: Body,
    /// Goes on when its readers leave.
    pub unread: bool,
}

impl Engine {
    /// Takes the origin connection of an exchange whose response is to be stored, and what has come of the body.
    pub(super) fn begin_fetch(
        &mut self,
        now: Now,
        id: ExchangeId,
        head_bytes: usize,
        beginning: Beginning,
    ) -> Option<FetchId> {
        let store = Arc::clone(&self.settings.cache.as_ref()?.store);
        let timeout_ms = self.settings.timeouts.exchange_ms;
        let Engine { exchanges, peers, pool, fetches, deadlines, .. } = self;
        let exchange = exchanges.get_mut(id.index as usize)?;
        let origin = exchange.origin.take()?;
        self.next_serial = self.next_serial.wrapping_add(1);
        let serial = self.next_serial;
        let (intake, length) = match beginning.body {
            Body::None | Body::Length(0) => (Intake::Ended, Some(0)),
            Body::Length(length) => (Intake::Length(length), Some(length)),
            Body::Chunked => (Intake::Chunked(Decoder::default()), None),
            Body::UntilClose => (Intake::UntilClose, None),
        };
        let fetch = Fetch {
            serial,
            origin: Some(origin),
            pending: beginning.pending,
            growing: Growing::new(store.ledger(), length),
            intake,
            length,
            epoch: beginning.epoch,
            readers: Vec::new(),
            reusable: exchange.origin_reusable,
            storable: true,
            unread: beginning.unread,
            claim: None,
        };
        let fetch_id = FetchId { index: fetches.insert(fetch) as u32, serial };
        let fetch = &mut fetches[fetch_id.index as usize];
        if let Some(Peer { role: Role::Origin(origin), .. }) = peers.get_mut(origin.index()) {
            origin.state = OriginState::Fetching(fetch_id);
        }
        deadlines.set(origin, now.monotonic_ms(), timeout_ms);
        // What came with the head.
        let rest = &exchange.response.bytes(pool)[head_bytes..];
        let mut taken = 0;
        while taken < rest.len() && fetch.wants_bytes() {
            let space = fetch.growing.space();
            let count = space.len().min(rest.len() - taken);
            space[..count].copy_from_slice(&rest[taken..taken + count]);
            taken += fetch.admit(count);
        }
        fetch.reusable &= taken == rest.len();
        exchange.response.release(pool);
        self.wake(origin);
        Some(fetch_id)
    }

    /// Whether a fetch could use bytes from its origin.
    pub(super) fn fetch_wants_bytes(&self, id: FetchId) -> bool {
        id.get(&self.fetches).is_some_and(Fetch::wants_bytes)
    }

    /// Something happened on the origin connection of a fetch.
    pub(super) fn handle_fetch_origin(&mut self, now: Now, id: FetchId, event: Event) {
        let Some(fetch) = id.get_mut(&mut self.fetches) else { return };
        match event {
            Event::Received(count) => {
                // Never more than the space that was lent for it.
                let count = count.min(fetch.growing.space().len());
                fetch.admit(count);
                if let Some(origin) = fetch.origin {
                    self.deadlines.set(origin, now.monotonic_ms(), self.settings.timeouts.exchange_ms);
                }
            }
            Event::EndOfStream => {
                fetch.reusable = false;
                fetch.intake = match fetch.intake {
                    Intake::UntilClose | Intake::Ended => Intake::Ended,
                    Intake::Length(_) | Intake::Chunked(_) | Intake::Failed => Intake::Failed,
                };
            }
            Event::Failed(_) | Event::SendFailed(_) => {
                fetch.reusable = false;
                if !fetch.has_ended() {
                    fetch.intake = Intake::Failed;
                }
            }
            Event::Connected | Event::Sent(_) | Event::Moved(_) => return,
        }
        self.advance_fetch(now, id);
    }

    /// The origin of a fetch has been silent for too long.
    pub(super) fn handle_fetch_deadline(&mut self, now: Now, id: FetchId) {
        self.metrics.timeouts_response += 1;
        self.fail_fetch(now, id);
    }

    /// Ends a fetch: who reads gets what there is, and no proper end.
    pub(super) fn fail_fetch(&mut self, now: Now, id: FetchId) {
        let Some(fetch) = id.get_mut(&mut self.fetches) else { return };
        if !fetch.has_ended() {
            fetch.intake = Intake::Failed;
        }
        fetch.reusable = false;
        self.advance_fetch(now, id);
    }

    /// Does what follows from what has come: tells the readers, keeps the bounds, stores what is complete.
    pub(super) fn advance_fetch(&mut self, now: Now, id: FetchId) {
        let Some(settings) = &self.settings.cache else { return };
        let store = Arc::clone(&settings.store);
        let Some(fetch) = id.get_mut(&mut self.fetches) else { return };
        let too_large = fetch.growing.len() > store.limits().object_max;
        if fetch.storable && (too_large || fetch.has_failed() || !store.make_room(now.monotonic_us)) {
            fetch.storable = false;
            self.metrics.cache_too_large += u64::from(too_large);
        }
        let ends = fetch.has_ended() || fetch.has_failed();
        if fetch.claim.is_some() {
            self.judge_claim(id);
        }
        let Some(fetch) = id.get_mut(&mut self.fetches) else { return };
        if ends {
            let (origin, reusable) = (fetch.origin.take(), fetch.reusable);
            if let Some(origin) = origin {
                if reusable && !self.is_draining() {
                    self.idle_origin(now, origin);
                } else {
                    self.close_origin(origin);
                }
            }
            self.leave_flight_of_fetch(now, id);
        }
        let Some(fetch) = id.get(&self.fetches) else { return };
        if fetch.has_ended() && fetch.storable {
            self.store_fetched(now, id);
            return;
        }
        let readers = fetch.readers.len();
        for at in 0..readers {
            let Some(reader) = id.get(&self.fetches).and_then(|fetch| fetch.readers.get(at).copied()) else {
                break;
            };
            self.wake_reader(reader);
        }
        self.keep_window(now, id);
        if ends {
            self.settle_readers(now, id);
        }
    }

    fn wake_reader(&mut self, reader: ExchangeId) {
        if let Some(exchange) = self.exchange_mut(reader) {
            let client = exchange.client;
            self.wake(client);
        }
    }

    /// Readers that have nothing left to send must learn of the end now: no event of theirs will come.
    fn settle_readers(&mut self, now: Now, id: FetchId) {
        let readers = id.get(&self.fetches).map(|fetch| fetch.readers.clone()).unwrap_or_default();
        for reader in readers {
            self.try_settle(now, reader);
        }
        self.drop_unread(id);
    }

    /// The whole body is here: it becomes an entry, and whoever reads it goes on reading there.
    fn store_fetched(&mut self, now: Now, id: FetchId) {
        let Some(settings) = &self.settings.cache else { return };
        let store = Arc::clone(&settings.store);
        let fetch = self.fetches.remove(id.index as usize);
        let Some(body) = fetch.growing.finish() else { return self.release_fetched(fetch.claim) };
        let body = Arc::new(body);
        let stored = store.insert(now.monotonic_us, fetch.epoch, &fetch.pending.head(), Arc::clone(&body));
        self.metrics.cache_stored += u64::from(stored.is_some());
        self.release_fetched(fetch.claim);
        for reader in fetch.readers {
            if let Some(exchange) = self.exchange_mut(reader) {
                if let Some(serving) = &mut exchange.serving {
                    serving.complete(&body);
                }
            }
            self.wake_reader(reader);
            self.try_settle(now, reader);
        }
    }

    /// Gives up what all readers have of a body that is not stored. When the window is full and one reader has everything,
    /// the slowest stand in its way: they are cut.
    fn keep_window(&mut self, now: Now, id: FetchId) {
        let Some(fetch) = id.get(&self.fetches) else { return };
        if fetch.storable {
            return;
        }
        let place = |reader: &ExchangeId| {
            let exchange = self.exchanges.get(reader.index as usize)?;
            let serving = exchange.serving.as_ref().filter(|_| exchange.serial == reader.serial)?;
            Some((serving.payload, serving.cursor))
        };
        let slowest = fetch.readers.iter().filter_map(place).min_by_key(|(payload, _)| *payload);
        let fastest = fetch.readers.iter().filter_map(place).map(|(payload, _)| payload).max();
        let full = fetch.growing.held() >= WINDOW_BYTES_MAX;
        let starving = fastest == Some(fetch.growing.len());
        let behind: Vec<ExchangeId> = match slowest {
            Some((payload, _)) if full && starving && Some(payload) != fastest => {
                let slow = |reader: &&ExchangeId| place(reader).is_some_and(|(sent, _)| sent == payload);
                fetch.readers.iter().filter(slow).copied().collect()
            }
            Some(_) | None => Vec::new(),
        };
        if let (Some((_, cursor)), Some(fetch)) = (slowest, id.get_mut(&mut self.fetches)) {
            fetch.growing.drop_before(cursor);
            if let (Some(origin), true) = (fetch.origin, fetch.wants_bytes()) {
                self.wake(origin);
            }
        }
        for reader in behind {
            self.metrics.cache_readers_cut += 1;
            self.abort(now, reader, super::entry::Verdict::Failed, "cache_window_max");
        }
    }

    /// One of its readers has sent something.
    pub(super) fn note_reading(&mut self, now: Now, id: FetchId) {
        if id.get(&self.fetches).is_some_and(|fetch| !fetch.storable) {
            self.keep_window(now, id);
        }
    }

    /// Makes an exchange a reader.
    pub(super) fn join_fetch(&mut self, id: FetchId, reader: ExchangeId) {
        if let Some(fetch) = id.get_mut(&mut self.fetches) {
            fetch.readers.push(reader);
        }
    }

    /// An exchange does not read it any more.
    pub(super) fn leave_fetch(&mut self, id: FetchId, reader: ExchangeId) {
        if let Some(fetch) = id.get_mut(&mut self.fetches) {
            fetch.readers.retain(|other| *other != reader);
        }
        self.drop_unread(id);
    }

    /// Forgets a fetch that nobody reads and that is not worth finishing.
    pub(super) fn drop_unread(&mut self, id: FetchId) {
        let Some(fetch) = id.get(&self.fetches) else { return };
        let over = fetch.has_ended() || fetch.has_failed();
        if !fetch.readers.is_empty() || (!over && fetch.goes_on_unread()) {
            return;
        }
        let fetch = self.fetches.remove(id.index as usize);
        self.forget_flight_of_fetch(id, fetch.pending.hash());
        self.release_fetched(fetch.claim);
        if let Some(origin) = fetch.origin {
            self.close_origin(origin);
        }
    }

    /// Ends all of them: weir stops now.
    pub(super) fn cut_fetches(&mut self, now: Now) {
        let ids: Vec<FetchId> = self
            .fetches
            .iter()
            .map(|(index, fetch)| FetchId { index: index as u32, serial: fetch.serial })
            .collect();
        ids.into_iter().for_each(|id| self.fail_fetch(now, id));
    }

    /// Whether an exchange is being served and what it is served from can go no further.
    pub(super) fn is_served_short(&self, id: ExchangeId) -> bool {
        let Some(exchange) = self.exchanges.get(id.index as usize) else { return false };
        matches!(exchange.stage, Stage::Serving)
            && exchange.serving.as_ref().is_some_and(|serving| serving.is_cut_short(&self.fetches))
            && exchange.down.head.is_empty()
    }

    /// The fetch that an exchange reads.
    pub(super) fn fetch_of(&self, id: ExchangeId) -> Option<FetchId> {
        let serving = self.exchanges.get(id.index as usize)?.serving.as_ref()?;
        match serving.source {
            Source::Stored(_) => None,
            Source::Growing(fetch) => Some(fetch),
        }
    }
}
