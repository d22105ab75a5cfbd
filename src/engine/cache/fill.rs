//! A response on its way into the cache, and from there to all who wait for it.
//!
//! When the head of a response that may be stored has come, the transaction that asked for it gives its origin connection to
//! a fill. The origin's bytes are received straight into the segments of the streaming body; the transaction becomes its
//! first reader, and requests for the same key join (rule 48). The body runs ahead of slow readers, so that none of them
//! holds the origin or the others up (rule 47). What turns out too large for the store, or finds it full of what is held, is not
//! stored: if several read it, it passes through a window (see [`crate::engine::cache::window`]), and one reader alone goes on as if there
//! were no cache (see [`crate::engine::cache::handover`]).
//!
//! All memory of a body is asked for before it is needed, and within the budget of the store (rule 57). A response that finds
//! no room for its beginning does not become a fill.

use crate::cache::body::Body as Whole;
use crate::cache::fill::streaming_body::StreamingBody;
use crate::cache::rfc::range::{Fragment, Part};
use crate::cache::store::stored::{Head, Stored};
use crate::cache::store::{Epoch, Store};
use crate::engine::body::relay;
use crate::engine::cache::publisher::{Coordination, Publication};
use crate::engine::cache::window::{Hold, Span, WINDOW_BYTES_MAX};
use crate::engine::peer::{OriginState, Peer, Role, TransactionId};
use crate::engine::transaction::Stage;
use crate::engine::{Engine, Event, PeerId};
use crate::http::chunked::Decoder;
use crate::http::forwarding::{self, Withheld};
use crate::http::framing::Body;
use crate::time::Now;
use slab::Slab;
use std::sync::Arc;

/// Readers of one fill (chosen: more than wait for anything but an attack; the next ones fill by themselves).
pub const READERS_MAX: usize = 4096;

/// With no more than this to come, a fill goes on although nobody reads (chosen, as others do).
const UNREAD_BYTES_MAX: u64 = 64 * 1024;

/// Index of a fill in its slab, with a serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct FillId {
    pub index: u32,
    pub serial: u32,
}

impl FillId {
    pub fn get(self, fills: &Slab<Fill>) -> Option<&Fill> {
        fills.get(self.index as usize).filter(|fill| fill.serial == self.serial)
    }

    pub fn get_mut(self, fills: &mut Slab<Fill>) -> Option<&mut Fill> {
        fills.get_mut(self.index as usize).filter(|fill| fill.serial == self.serial)
    }
}

/// What is still to come.
#[derive(Debug)]
enum Intake {
    Length(u64),
    Chunked(Decoder),
    UntilClose,
    /// Another loop tells how it ends.
    Subscribed,
    /// All of it has come.
    Ended,
    /// The rest will never come.
    Failed,
}

/// One of them.
#[derive(Debug)]
pub(in crate::engine) struct Fill {
    pub serial: u32,
    /// Until everything has come, or cannot come any more.
    pub origin: Option<PeerId>,
    /// The response without its body: what readers are told, and what will be stored.
    pub pending: Arc<Stored>,
    pub stream: StreamingBody,
    intake: Intake,
    /// For those who read it while it comes: they are not stored (RFC 9111 section 3.1).
    pub trailers: Vec<u8>,
    /// What the head takes out of them.
    withheld: Withheld,
    /// Announced length.
    pub length: Option<u64>,
    pub epoch: Epoch,
    pub readers: Vec<TransactionId>,
    /// For how long readers have held up others.
    pub hold: Hold,
    /// Its origin waits for readers, and is not silent by itself.
    pub waits: bool,
    /// The origin connection can carry another transaction.
    reusable: bool,
    /// When it was opened.
    pub opened_ms: u64,
    /// It will be stored; otherwise the beginning may be gone.
    pub storable: bool,
    /// It goes on without readers.
    pub unread: bool,
    /// What comes before the end may be stored as a part: it answers a GET (RFC 9111 section 3.3).
    keeps_part: bool,
    /// The stored part that it completes: readers get both.
    pub beside: Option<Arc<Stored>>,
    /// The hash of the key that other loops wait for.
    pub lock: Option<u64>,
    /// What other loops have to do with it.
    pub coordination: Coordination,
}

impl Fill {
    pub fn has_ended(&self) -> bool {
        matches!(self.intake, Intake::Ended)
    }

    pub fn has_failed(&self) -> bool {
        matches!(self.intake, Intake::Failed)
    }

    /// Whether all that has come is here, and will be stored as far as is known.
    pub fn is_kept(&self) -> bool {
        self.storable && !self.has_failed()
    }

    /// Whether a request may begin to read it.
    pub fn is_joinable(&self) -> bool {
        self.is_kept() && self.readers.len() < READERS_MAX
    }

    /// Whether more comes from an origin of this loop.
    pub fn is_receiving(&self) -> bool {
        match self.intake {
            Intake::Length(_) | Intake::Chunked(_) | Intake::UntilClose => true,
            Intake::Subscribed | Intake::Ended | Intake::Failed => false,
        }
    }

    /// Whether there is room for more.
    pub fn wants_bytes(&self) -> bool {
        self.is_receiving() && self.stream.can_receive()
    }

    /// Whether nobody but one reader needs it, and nothing but itself.
    pub fn is_lone(&self) -> bool {
        self.readers.len() <= 1 && !self.has_subscribers() && self.beside.is_none()
    }

    /// Asks for room for what comes next, if it may have more. False if there is none.
    pub fn provide(&mut self, store: &Store, now: Now) -> bool {
        let within = self.storable || (!self.is_lone() && self.stream.held_bytes() < WINDOW_BYTES_MAX);
        !self.is_receiving()
            || !within
            || self.stream.reserve_segment(|bytes| store.admit(now.monotonic_us, bytes))
    }

    /// What is still to come, which of its trailers do not go on, and whether the connection can carry another transaction so far:
    /// for who goes on without it.
    pub fn into_rest(self) -> Option<(relay::Intake, Withheld, bool)> {
        let rest = match self.intake {
            Intake::Length(left) => relay::Intake::Length(left),
            Intake::Chunked(decoder) => relay::Intake::Chunked(decoder),
            Intake::UntilClose => relay::Intake::UntilClose,
            Intake::Subscribed | Intake::Ended | Intake::Failed => return None,
        };
        Some((rest, self.withheld, self.reusable))
    }

    /// How much is left, if that is known.
    fn left(&self) -> Option<u64> {
        match self.intake {
            Intake::Length(left) => Some(left),
            Intake::Ended | Intake::Failed => Some(0),
            Intake::Chunked(_) | Intake::UntilClose | Intake::Subscribed => None,
        }
    }

    /// Whether it is worth finishing although nobody reads.
    fn goes_on_unread(&self) -> bool {
        let nearly =
            self.left().is_some_and(|left| left <= UNREAD_BYTES_MAX || left <= self.stream.len() / 3);
        self.storable && !self.is_subscribed() && (self.unread || nearly)
    }

    /// One that another loop receives and tells of.
    pub fn subscribed(
        serial: u32,
        now_ms: u64,
        publication: Arc<Publication>,
        stream: StreamingBody,
    ) -> Fill {
        Fill {
            serial,
            origin: None,
            pending: Arc::clone(&publication.pending),
            stream,
            intake: Intake::Subscribed,
            trailers: Vec::new(),
            withheld: Withheld::default(),
            length: publication.length,
            epoch: publication.epoch,
            readers: Vec::new(),
            hold: Hold::new(now_ms),
            waits: false,
            reusable: false,
            opened_ms: 0,
            storable: true,
            unread: false,
            keeps_part: false,
            beside: publication.beside.clone(),
            lock: None,
            coordination: Coordination::Subscribed { publication, known: Span { slowest: 0, fastest: 0 } },
        }
    }

    /// All of it has come to the loop that tells of it, and was told.
    pub fn end_as_published(&mut self, trailers: &[u8]) {
        self.trailers = trailers.to_vec();
        self.intake = Intake::Ended;
    }

    /// Takes bytes that came elsewhere than into its space; returns how many of them were its own.
    pub fn take(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while taken < bytes.len() && self.wants_bytes() {
            let space = self.stream.space();
            let count = space.len().min(bytes.len() - taken);
            space[..count].copy_from_slice(&bytes[taken..taken + count]);
            taken += self.admit(count);
        }
        taken
    }

    /// Judges `count` bytes fresh from the wire in the streaming body's space. Whether there was anything behind the end, and
    /// whether the framing was broken, is kept.
    fn admit(&mut self, count: usize) -> usize {
        let space = self.stream.space();
        let bytes = &mut space[..count];
        let (payload, consumed) = match &mut self.intake {
            Intake::Subscribed | Intake::Ended | Intake::Failed => (0, 0),
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
                        forwarding::write_trailers(&mut self.trailers, decoder.trailers(), &self.withheld);
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
        self.stream.commit(payload);
        consumed
    }
}

/// What a fill begins with.
pub(in crate::engine) struct Beginning {
    pub pending: Arc<Stored>,
    pub epoch: Epoch,
    pub body: Body,
    /// Holds nothing yet, and has room for what has come.
    pub stream: StreamingBody,
    /// Goes on when its readers leave.
    pub unread: bool,
    /// What comes before the end may be stored as a part.
    pub keeps_part: bool,
    /// The stored part that it completes.
    pub beside: Option<Arc<Stored>>,
}

impl Engine {
    /// Takes the origin connection of a transaction whose response is to be stored, and what has come of the body.
    pub(in crate::engine) fn begin_fill(
        &mut self,
        now: Now,
        id: TransactionId,
        head_bytes: usize,
        beginning: Beginning,
    ) -> Option<FillId> {
        let timeout_ms = self.settings.timeouts.exchange_ms;
        let Engine { transactions, peers, pool, fills, deadlines, .. } = self;
        let transaction = transactions.get_mut(id.index as usize)?;
        let origin = transaction.origin.take()?;
        self.next_serial = self.next_serial.wrapping_add(1);
        let serial = self.next_serial;
        let (intake, length) = match beginning.body {
            Body::None | Body::Length(0) => (Intake::Ended, Some(0)),
            Body::Length(length) => (Intake::Length(length), Some(length)),
            Body::Chunked => (Intake::Chunked(Decoder::of_response()), None),
            Body::UntilClose => (Intake::UntilClose, None),
        };
        let fill = Fill {
            serial,
            origin: Some(origin),
            pending: beginning.pending,
            stream: beginning.stream,
            intake,
            trailers: Vec::new(),
            withheld: std::mem::take(&mut transaction.down.withheld),
            length,
            epoch: beginning.epoch,
            readers: Vec::new(),
            hold: Hold::new(now.monotonic_ms()),
            waits: false,
            reusable: transaction.origin_reusable,
            opened_ms: transaction.opened_ms,
            storable: true,
            unread: beginning.unread,
            keeps_part: beginning.keeps_part,
            beside: beginning.beside,
            lock: None,
            coordination: Coordination::Nothing,
        };
        let fill_id = FillId { index: fills.insert(fill) as u32, serial };
        let fill = &mut fills[fill_id.index as usize];
        if let Some(Peer { role: Role::Origin(origin), .. }) = peers.get_mut(origin.index()) {
            origin.state = OriginState::Filling(fill_id);
        }
        deadlines.set(origin, now.monotonic_ms(), timeout_ms);
        // What came with the head.
        let rest = &transaction.response.bytes(pool)[head_bytes..];
        let taken = fill.take(rest);
        fill.reusable &= taken == rest.len();
        transaction.response.release(pool);
        self.wake(origin);
        Some(fill_id)
    }

    /// Whether a fill could use bytes from its origin.
    pub(in crate::engine) fn fill_wants_bytes(&self, id: FillId) -> bool {
        id.get(&self.fills).is_some_and(Fill::wants_bytes)
    }

    /// Something happened on the origin connection of a fill.
    pub(in crate::engine) fn handle_fill_origin(&mut self, now: Now, id: FillId, event: Event) {
        let Some(fill) = id.get_mut(&mut self.fills) else { return };
        match event {
            Event::Received(count) => {
                // Never more than the space that was lent for it.
                let count = count.min(fill.stream.space().len());
                fill.admit(count);
                // Who holds it up is not forgiven for that.
                if let Some(origin) = fill.origin.filter(|_| !fill.hold.is_on()) {
                    self.deadlines.set(origin, now.monotonic_ms(), self.settings.timeouts.exchange_ms);
                }
            }
            Event::EndOfStream => {
                fill.reusable = false;
                fill.intake = match fill.intake {
                    Intake::UntilClose | Intake::Ended => Intake::Ended,
                    Intake::Length(_) | Intake::Chunked(_) | Intake::Subscribed | Intake::Failed => {
                        Intake::Failed
                    }
                };
            }
            Event::Failed(_) | Event::SendFailed(_) => {
                fill.reusable = false;
                if !fill.has_ended() {
                    fill.intake = Intake::Failed;
                }
            }
            Event::Connected | Event::Sent(_) | Event::Spliced(_) => return,
        }
        self.advance_fill(now, id);
    }

    /// The origin of a fill has been silent for too long, or some of its readers.
    pub(in crate::engine) fn handle_fill_deadline(&mut self, now: Now, id: FillId) {
        let Some(fill) = id.get(&self.fills) else { return };
        if fill.hold.is_on() {
            self.cut_slowest(now, id);
            return;
        }
        // Readers have deadlines of their own.
        if let Some(origin) = fill.origin.filter(|_| fill.waits) {
            self.deadlines.set(origin, now.monotonic_ms(), self.settings.timeouts.exchange_ms);
            return;
        }
        self.metrics.timeouts_response += 1;
        self.fail_fill(now, id);
    }

    /// Ends a fill: who reads gets what there is, and no proper end.
    pub(in crate::engine) fn fail_fill(&mut self, now: Now, id: FillId) {
        let Some(fill) = id.get_mut(&mut self.fills) else { return };
        if !fill.has_ended() {
            fill.intake = Intake::Failed;
        }
        fill.reusable = false;
        self.advance_fill(now, id);
    }

    /// Does what follows from what has come: tells the readers, keeps the bounds, stores what is complete.
    pub(in crate::engine) fn advance_fill(&mut self, now: Now, id: FillId) {
        self.judge_storable(now, id);
        self.publish_progress(id);
        let Some(fill) = id.get_mut(&mut self.fills) else { return };
        let ends = fill.has_ended() || fill.has_failed();
        if ends {
            let (origin, reusable, opened_ms) = (fill.origin.take(), fill.reusable, fill.opened_ms);
            if let Some(origin) = origin {
                if reusable && !self.is_draining() {
                    self.idle_origin(now, origin, opened_ms);
                } else {
                    self.close_origin(origin);
                }
            }
            self.end_collapse_of_fill(now, id);
        }
        let Some(fill) = id.get(&self.fills) else { return };
        if fill.has_ended() && fill.storable {
            self.store_filled(now, id);
            return;
        }
        let readers = fill.readers.len();
        for at in 0..readers {
            let Some(reader) = id.get(&self.fills).and_then(|fill| fill.readers.get(at).copied()) else {
                break;
            };
            self.wake_reader(reader);
        }
        self.keep_window(now, id);
        if ends {
            self.settle_readers(now, id);
        } else if readers == 0 {
            self.drop_unread(id);
        }
    }

    /// Judges whether what has come may become an entry, and gets room for more of it: the loop that receives it does.
    fn judge_storable(&mut self, now: Now, id: FillId) {
        let Some(settings) = &self.settings.cache else { return };
        let store = &settings.store;
        let Some(fill) = id.get_mut(&mut self.fills).filter(|fill| fill.storable) else { return };
        let too_large = !fill.is_subscribed() && fill.stream.len() > store.limits().object_max;
        let no_room = !too_large && !fill.provide(store, now);
        if fill.has_failed() || too_large || no_room {
            fill.storable = false;
            self.metrics.cache_too_large += u64::from(too_large);
            if no_room {
                store.count_refused();
            }
            self.release_lock_unless_kept(id);
        }
    }

    fn wake_reader(&mut self, reader: TransactionId) {
        if let Some(transaction) = self.transaction_mut(reader) {
            let client = transaction.client;
            self.wake(client);
        }
    }

    /// Readers that have nothing left to send must learn of the end now: no event of theirs will come.
    fn settle_readers(&mut self, now: Now, id: FillId) {
        let readers = id.get(&self.fills).map(|fill| fill.readers.clone()).unwrap_or_default();
        for reader in readers {
            self.try_settle(now, reader);
        }
        self.drop_unread(id);
    }

    /// The whole body is here: it becomes an entry, and whoever reads it goes on reading there.
    fn store_filled(&mut self, now: Now, id: FillId) {
        let Some(settings) = &self.settings.cache else { return };
        let store = Arc::clone(&settings.store);
        let Some(fill) = id.get_mut(&mut self.fills) else { return };
        let stream = std::mem::replace(&mut fill.stream, StreamingBody::new(store.memory(), None));
        let Some(body) = stream.finish() else {
            fill.intake = Intake::Failed;
            return self.advance_fill(now, id);
        };
        let (body, head) = (Arc::new(body), fill.pending.head());
        // A part that is not as long as its place tells is none.
        let fits = head.fragment.is_none_or(|fragment| fragment.part.len == body.len());
        let fragment = head.fragment.and_then(|fragment| Fragment::partial(fragment.part, fragment.length));
        let stored = fits.then_some(Head { fragment, ..head });
        let stored =
            stored.and_then(|head| store.insert(now.monotonic_us, fill.epoch, &head, Arc::clone(&body)));
        self.metrics.cache_stored += u64::from(stored.is_some());
        let (lock, hash) = (fill.lock.take(), fill.pending.hash());
        let trailers = std::mem::take(&mut fill.trailers);
        if let Some(event) = fill.publish_whole(&body, &trailers) {
            self.send_to_loops(hash, event);
        }
        self.release_filled(lock);
        self.complete_fill(now, id, &body, &trailers);
    }

    /// Whoever reads a fill goes on in the complete body.
    pub(in crate::engine) fn complete_fill(
        &mut self,
        now: Now,
        id: FillId,
        body: &Arc<Whole>,
        trailers: &[u8],
    ) {
        if id.get(&self.fills).is_none() {
            return;
        }
        let fill = self.fills.remove(id.index as usize);
        self.forget_collapse_of_fill(id, fill.pending.hash());
        for reader in fill.readers {
            if let Some(transaction) = self.transaction_mut(reader) {
                if let Some(reader) = &mut transaction.reader {
                    reader.complete(body, trailers);
                }
            }
            self.wake_reader(reader);
            self.try_settle(now, reader);
        }
    }

    /// Makes a transaction a reader.
    pub(in crate::engine) fn join_fill(&mut self, id: FillId, reader: TransactionId) {
        if let Some(fill) = id.get_mut(&mut self.fills) {
            fill.readers.push(reader);
        }
    }

    /// A transaction does not read it any more. Others may have waited for it.
    pub(in crate::engine) fn leave_fill(&mut self, now: Now, id: FillId, reader: TransactionId) {
        if let Some(fill) = id.get_mut(&mut self.fills) {
            fill.readers.retain(|other| *other != reader);
        }
        self.drop_unread(id);
        self.keep_window(now, id);
    }

    /// Forgets a fill that nobody reads and that is not worth finishing.
    pub(in crate::engine) fn drop_unread(&mut self, id: FillId) {
        let Some(fill) = id.get(&self.fills) else { return };
        let over = fill.has_ended() || fill.has_failed();
        if !fill.readers.is_empty() || fill.has_subscribers() || (!over && fill.goes_on_unread()) {
            return;
        }
        let mut fill = self.fills.remove(id.index as usize);
        let hash = fill.pending.hash();
        fill.unsubscribe().into_iter().for_each(|event| self.send_to_loops(hash, event));
        self.forget_collapse_of_fill(id, hash);
        self.release_filled(fill.lock);
        if let Some(origin) = fill.origin {
            self.close_origin(origin);
        }
        if !fill.has_ended() {
            self.keep_part(fill);
        }
    }

    /// Stores what has come of a body whose end has not, if the rest can be asked for later (RFC 9111 section 3.3).
    fn keep_part(&mut self, fill: Fill) {
        let Some(settings) = &self.settings.cache else { return };
        let (store, head) = (&settings.store, fill.pending.head());
        let (start, length) = match (head.fragment, fill.length) {
            (Some(fragment), _) => (fragment.part.start, fragment.length),
            (None, Some(length)) => (0, length),
            (None, None) => return,
        };
        let got = fill.stream.len();
        let fits = fill.length.is_some_and(|announced| got < announced) && got <= store.limits().object_max;
        if !(fill.keeps_part && head.status == 200 && fits && got > 0) {
            return;
        }
        let fragment = Fragment::partial(Part { start, len: got }, length);
        let Some(body) = fill.stream.finish() else { return };
        let stored =
            store.insert(fill.pending.received_us, fill.epoch, &Head { fragment, ..head }, Arc::new(body));
        self.metrics.cache_stored += u64::from(stored.is_some());
    }

    /// Ends all of them: weir stops now.
    pub(in crate::engine) fn cut_fills(&mut self, now: Now) {
        let ids: Vec<FillId> = self
            .fills
            .iter()
            .map(|(index, fill)| FillId { index: index as u32, serial: fill.serial })
            .collect();
        ids.into_iter().for_each(|id| self.fail_fill(now, id));
    }

    /// Whether a transaction is being served and what it is served from can go no further.
    pub(in crate::engine) fn is_served_short(&self, id: TransactionId) -> bool {
        let Some(transaction) = self.transactions.get(id.index as usize) else { return false };
        matches!(transaction.stage, Stage::CacheReader)
            && transaction.reader.as_ref().is_some_and(|reader| reader.is_cut_short(&self.fills))
            && transaction.down.head.is_empty()
    }

    /// The fill that a transaction reads.
    pub(in crate::engine) fn fill_of(&self, id: TransactionId) -> Option<FillId> {
        self.transactions.get(id.index as usize)?.reader.as_ref()?.fill()
    }
}
