//! A response on its way into the cache, and from there to all who wait for it.
//!
//! When the head of a response that may be stored has come, the transaction that asked for it gives its origin connection to
//! a fill. The origin's bytes are received straight into the segments of the streaming body; the transaction becomes its
//! first reader, and requests for the same key join (rule 48). The body runs ahead of slow readers, so that none of them
//! holds the origin or the others up (rule 47). What turns out too large for the store, or finds it full of what is held, is not
//! stored: if several read it, it passes through a window (see [`crate::engine::cache::window`]), and one reader alone goes on as if there
//! were no cache (see [`Transactions::take_over`](crate::engine::transaction::Transactions::take_over)).
//!
//! All memory of a body is asked for before it is needed, and within the budget of the store (rule 57). A response that finds
//! no room for its beginning does not become a fill.

use crate::cache::body::{Body as Whole, Cursor};
use crate::cache::fill::streaming_body::StreamingBody;
use crate::cache::rfc::range::{Fragment, Part};
use crate::cache::store::stored::{Head, Stored};
use crate::cache::store::{Epoch, Store};
use crate::engine::Event;
use crate::engine::body::intake::{Admitted, Intake};
use crate::engine::cache::Fills;
use crate::engine::cache::coordination::send_to_loops;
use crate::engine::cache::publisher::{Coordination, Publication};
use crate::engine::cache::window::{Hold, Span, WINDOW_BYTES_MAX};
use crate::engine::connections::{PeerId, TransactionId, UpstreamState};
use crate::engine::context::Context;
use crate::engine::effect::Effect;
use crate::engine::transaction::ending::Ending;
use crate::http::forwarding::{self, Withheld};
use crate::http::framing::Body;
use crate::http::h1::decode::Decoder;
use crate::net::Linear;
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

/// One of them.
#[derive(Debug)]
pub(in crate::engine) struct Fill {
    pub serial: u32,
    /// Until everything has come, or cannot come any more.
    pub origin: Option<PeerId>,
    /// The response without its body: what readers are told, and what will be stored.
    pub pending: Arc<Stored>,
    pub stream: StreamingBody,
    /// All of it, when it is complete and the readers are about to be told.
    whole: Option<Arc<Whole>>,
    /// What is still to come; `None` while another loop receives it and tells how it ends.
    intake: Option<Intake>,
    /// For those who read it while it comes: they are not stored (RFC 9111 section 3.1).
    pub trailers: Vec<u8>,
    /// What the head takes out of them.
    withheld: Withheld,
    /// Announced length.
    pub length: Option<u64>,
    pub epoch: Epoch,
    pub readers: Slab<FillReader>,
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
        self.intake.as_ref().is_some_and(Intake::is_done)
    }

    pub fn has_failed(&self) -> bool {
        self.intake.as_ref().is_some_and(Intake::is_truncated)
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
        self.intake.as_ref().is_some_and(Intake::is_receiving)
    }

    /// Whether there is room for more.
    pub fn wants_bytes(&self) -> bool {
        self.is_receiving() && self.stream.can_receive()
    }

    /// Whether nobody but one reader needs it, and nothing but itself.
    pub fn is_lone(&self) -> bool {
        self.readers.len() <= 1 && !self.has_subscribers() && self.beside.is_none()
    }

    /// Whether its one reader may go on without it: it is not stored, more is to come, and the reader has all that has come.
    pub fn can_be_handed_over(&self) -> bool {
        let has_all = |(_, reader): (usize, &FillReader)| !self.stream.has_more(reader.cursor);
        !self.storable && self.is_receiving() && self.is_lone() && self.readers.iter().all(has_all)
    }

    /// Its reader, if there is one only.
    pub fn lone_reader(&self) -> Option<TransactionId> {
        let mut readers = self.readers.iter();
        let (_, reader) = readers.next()?;
        readers.next().is_none().then_some(reader.transaction)
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
    pub fn into_rest(self) -> Option<(Intake, Withheld, bool)> {
        let rest = self.intake.filter(Intake::is_receiving)?;
        Some((rest, self.withheld, self.reusable))
    }

    /// Whether it is worth finishing although nobody reads.
    fn goes_on_unread(&self) -> bool {
        let left = self.intake.as_ref().and_then(Intake::left);
        let nearly = left.is_some_and(|left| left <= UNREAD_BYTES_MAX || left <= self.stream.len() / 3);
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
            whole: None,
            intake: None,
            trailers: Vec::new(),
            withheld: Withheld::default(),
            length: publication.length,
            epoch: publication.epoch,
            readers: Slab::new(),
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
        self.intake = Some(Intake::Done);
    }

    /// The rest will never come.
    fn truncate(&mut self) {
        self.intake = Some(Intake::Truncated);
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
        let Fill { stream, intake, trailers, withheld, .. } = self;
        let Some(intake) = intake else { return 0 };
        let bytes = &mut stream.space()[..count];
        let admitted = intake.admit(bytes, |lines| forwarding::write_trailers(trailers, lines, withheld));
        let Admitted { payload, consumed } = admitted.unwrap_or_else(|_| {
            *intake = Intake::Truncated;
            Admitted { payload: 0, consumed: count }
        });
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

/// The transaction whose response becomes a fill: what it gives away.
pub(in crate::engine) struct Giver<'a> {
    pub origin: PeerId,
    pub withheld: Withheld,
    pub reusable: bool,
    pub opened_ms: u64,
    /// What came of the body with the head.
    pub response: &'a mut Linear,
    pub head_bytes: usize,
}

/// A transaction that reads a fill.
#[derive(Debug)]
pub(in crate::engine) struct FillReader {
    pub transaction: TransactionId,
    pub client: PeerId,
    /// How far the transaction has read: bytes of the body, and the place in its segments.
    pub payload: u64,
    pub cursor: Cursor,
}

impl Fills {
    /// Takes the upstream connection of a transaction whose response is to be stored, and what has come of the body.
    pub fn begin_fill(&mut self, cx: &mut Context, giver: Giver<'_>, beginning: Beginning) -> FillId {
        let serial = self.next_serial();
        let Giver { origin, withheld, reusable, opened_ms, response, head_bytes } = giver;
        let length = match beginning.body {
            Body::None => Some(0),
            Body::Length(length) => Some(length),
            Body::Chunked | Body::UntilClose => None,
        };
        let mut fill = Fill {
            serial,
            origin: Some(origin),
            pending: beginning.pending,
            stream: beginning.stream,
            whole: None,
            intake: Some(Intake::new(beginning.body, Decoder::of_response)),
            trailers: Vec::new(),
            withheld,
            length,
            epoch: beginning.epoch,
            readers: Slab::new(),
            hold: Hold::new(cx.now_ms()),
            waits: false,
            reusable,
            opened_ms,
            storable: true,
            unread: beginning.unread,
            keeps_part: beginning.keeps_part,
            beside: beginning.beside,
            lock: None,
            coordination: Coordination::Nothing,
        };
        // What came with the head.
        let rest = &response.bytes(&cx.pool)[head_bytes..];
        let taken = fill.take(rest);
        fill.reusable &= taken == rest.len();
        response.release(&mut cx.pool);
        let id = FillId { index: self.slab.insert(fill) as u32, serial };
        cx.connections.set_upstream(origin, UpstreamState::Filling(id));
        cx.set_timer(origin, cx.settings.timeouts.exchange_ms);
        cx.wake(origin);
        id
    }

    /// Something happened on the upstream connection of a fill.
    pub fn handle_upstream(&mut self, cx: &mut Context, id: FillId, event: Event) {
        let Some(fill) = id.get_mut(&mut self.slab) else { return };
        match event {
            Event::Received(count) => {
                // Never more than the space that was lent for it.
                let count = count.min(fill.stream.space().len());
                fill.admit(count);
                // A reader that holds the fill up is not forgiven for that.
                if let Some(origin) = fill.origin.filter(|_| !fill.hold.is_on()) {
                    cx.set_timer(origin, cx.settings.timeouts.exchange_ms);
                }
            }
            Event::EndOfStream => {
                fill.reusable = false;
                if let Some(intake) = &mut fill.intake {
                    intake.handle_end();
                }
            }
            Event::Failed(_) | Event::SendFailed(_) => {
                fill.reusable = false;
                if !fill.has_ended() {
                    fill.truncate();
                }
            }
            Event::Connected | Event::Sent(_) | Event::Spliced(_) => return,
        }
        self.advance_fill(cx, id);
    }

    /// The origin of a fill has been silent for too long, or some of the readers.
    pub fn handle_deadline(&mut self, cx: &mut Context, id: FillId) {
        let Some(fill) = id.get(&self.slab) else { return };
        if fill.hold.is_on() {
            self.cut_slowest(cx, id);
            return;
        }
        // Readers have deadlines of their own.
        if let Some(origin) = fill.origin.filter(|_| fill.waits) {
            cx.set_timer(origin, cx.settings.timeouts.exchange_ms);
            return;
        }
        cx.metrics.timeouts_response += 1;
        self.fail_fill(cx, id);
    }

    /// Ends a fill: its readers get what there is, and no proper end.
    pub fn fail_fill(&mut self, cx: &mut Context, id: FillId) {
        let Some(fill) = id.get_mut(&mut self.slab) else { return };
        if !fill.has_ended() {
            fill.truncate();
        }
        fill.reusable = false;
        self.advance_fill(cx, id);
    }

    /// Does what follows from what has come: tells the readers, keeps the bounds, stores what is complete.
    pub fn advance_fill(&mut self, cx: &mut Context, id: FillId) {
        self.judge_storable(cx, id);
        self.publish_progress(cx, id);
        let Some(fill) = id.get_mut(&mut self.slab) else { return };
        let ends = fill.has_ended() || fill.has_failed();
        if ends {
            if let Some(connection) = fill.origin.take() {
                let reusable = fill.reusable && !cx.is_draining();
                let idle = Effect::IdleUpstream { connection, opened_ms: fill.opened_ms };
                cx.send(if reusable { idle } else { Effect::CloseUpstream(connection) });
            }
            self.collapses.end_fill(fill.pending.hash(), id);
        }
        let Some(fill) = id.get(&self.slab) else { return };
        if fill.has_ended() && fill.storable {
            self.store_filled(cx, id);
            return;
        }
        fill.readers.iter().for_each(|(_, reader)| cx.connections.wake(reader.client));
        let is_read = !fill.readers.is_empty();
        self.keep_window(cx, id);
        if ends {
            self.settle_readers(cx, id);
        } else if !is_read {
            self.drop_unread(cx, id);
        }
    }

    /// Judges whether what has come may become an entry, and gets room for more of it: the loop that receives it does.
    fn judge_storable(&mut self, cx: &mut Context, id: FillId) {
        let Some(cache) = &cx.settings.cache else { return };
        let store = &cache.store;
        let Some(fill) = id.get_mut(&mut self.slab).filter(|fill| fill.storable) else { return };
        let too_large = !fill.is_subscribed() && fill.stream.len() > store.limits().object_max;
        let no_room = !too_large && !fill.provide(store, cx.now);
        if fill.has_failed() || too_large || no_room {
            fill.storable = false;
            cx.metrics.cache_too_large += u64::from(too_large);
            if no_room {
                store.count_refused();
            }
            self.release_lock_unless_kept(cx, id);
        }
    }

    /// Readers that have nothing left to send must learn of the end now: no event of theirs will come.
    fn settle_readers(&mut self, cx: &mut Context, id: FillId) {
        if let Some(fill) = id.get(&self.slab) {
            fill.readers.iter().for_each(|(_, reader)| cx.send(Effect::Settle(reader.transaction)));
        }
        self.drop_unread(cx, id);
    }

    /// The whole body is here: it becomes an entry, and its readers go on reading there.
    fn store_filled(&mut self, cx: &mut Context, id: FillId) {
        let Some(cache) = &cx.settings.cache else { return };
        let store = Arc::clone(&cache.store);
        let Some(fill) = id.get_mut(&mut self.slab) else { return };
        let stream = std::mem::replace(&mut fill.stream, StreamingBody::new(store.memory(), None));
        let Some(body) = stream.finish() else {
            fill.truncate();
            return self.advance_fill(cx, id);
        };
        let (body, head) = (Arc::new(body), fill.pending.head());
        // A part that is not as long as its place tells is none.
        let fits = head.fragment.is_none_or(|fragment| fragment.part.len == body.len());
        let fragment = head.fragment.and_then(|fragment| Fragment::partial(fragment.part, fragment.length));
        let stored = fits.then_some(Head { fragment, ..head });
        let now_us = cx.now.monotonic_us;
        let stored = stored.and_then(|head| store.insert(now_us, fill.epoch, &head, Arc::clone(&body)));
        cx.metrics.cache_stored += u64::from(stored.is_some());
        let (lock, hash) = (fill.lock.take(), fill.pending.hash());
        let trailers = std::mem::take(&mut fill.trailers);
        if let Some(event) = fill.publish_whole(&body, &trailers) {
            send_to_loops(cx, hash, event);
        }
        self.release_filled(cx, lock);
        self.complete_fill(cx, id, body, trailers);
    }

    /// The readers of a fill go on in the complete body.
    pub fn complete_fill(&mut self, cx: &mut Context, id: FillId, body: Arc<Whole>, trailers: Vec<u8>) {
        let Some(fill) = id.get_mut(&mut self.slab) else { return };
        (fill.whole, fill.trailers) = (Some(body), trailers);
        self.collapses.end_fill(fill.pending.hash(), id);
        // Before anything else that could take the fill for one that has ended without more to read.
        cx.send_first(Effect::FillCompleted(id));
    }

    /// The readers of a fill that is complete, what they go on with, and the trailers.
    pub fn take_completed(&mut self, id: FillId) -> Option<(Slab<FillReader>, Arc<Whole>, Vec<u8>)> {
        let body = id.get_mut(&mut self.slab)?.whole.take()?;
        let fill = self.slab.remove(id.index as usize);
        Some((fill.readers, body, fill.trailers))
    }

    /// Makes a transaction a reader. Returns its place among the readers.
    pub fn join(&mut self, id: FillId, transaction: TransactionId, client: PeerId) -> Option<usize> {
        let fill = id.get_mut(&mut self.slab)?;
        let reader = FillReader { transaction, client, payload: 0, cursor: Cursor::default() };
        Some(fill.readers.insert(reader))
    }

    /// A transaction does not read the fill any more. Others may have waited for it.
    pub fn leave(&mut self, cx: &mut Context, id: FillId, place: usize, transaction: TransactionId) {
        if let Some(fill) = id.get_mut(&mut self.slab) {
            let is_there = fill.readers.get(place).is_some_and(|reader| reader.transaction == transaction);
            if is_there {
                fill.readers.remove(place);
            }
        }
        self.drop_unread(cx, id);
        self.keep_window(cx, id);
    }

    /// Forgets a fill that has no readers and that is not worth finishing.
    pub fn drop_unread(&mut self, cx: &mut Context, id: FillId) {
        let Some(fill) = id.get(&self.slab) else { return };
        let over = fill.has_ended() || fill.has_failed();
        if !fill.readers.is_empty() || fill.has_subscribers() || (!over && fill.goes_on_unread()) {
            return;
        }
        let mut fill = self.slab.remove(id.index as usize);
        let hash = fill.pending.hash();
        if let Some(event) = fill.unsubscribe() {
            send_to_loops(cx, hash, event);
        }
        self.collapses.end_fill(hash, id);
        self.release_filled(cx, fill.lock);
        if let Some(origin) = fill.origin {
            cx.send(Effect::CloseUpstream(origin));
        }
        if !fill.has_ended() {
            keep_part(cx, fill);
        }
    }

    /// Ends all fills: weir stops now.
    pub fn cut(&mut self, cx: &mut Context) {
        let ids: Vec<FillId> = self
            .slab
            .iter()
            .map(|(index, fill)| FillId { index: index as u32, serial: fill.serial })
            .collect();
        ids.into_iter().for_each(|id| self.fail_fill(cx, id));
    }

    /// Aborts the readers of a fill that have not read as far.
    pub fn cut_before(&mut self, cx: &mut Context, id: FillId, end: u64) {
        let Some(fill) = id.get_mut(&mut self.slab) else { return };
        fill.readers.retain(|_, reader| {
            let stays = reader.payload >= end;
            if !stays {
                cx.metrics.cache_readers_cut += 1;
                cx.send(Effect::End(Ending::Abort.of(reader.transaction, "cache_window_max")));
            }
            stays
        });
        self.keep_window(cx, id);
    }
}

/// Stores what has come of a body whose end has not, if the rest can be asked for later (RFC 9111 section 3.3).
fn keep_part(cx: &mut Context, fill: Fill) {
    let Some(cache) = &cx.settings.cache else { return };
    let (store, head) = (&cache.store, fill.pending.head());
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
    let head = Head { fragment, ..head };
    let stored = store.insert(fill.pending.received_us, fill.epoch, &head, Arc::new(body));
    cx.metrics.cache_stored += u64::from(stored.is_some());
}
