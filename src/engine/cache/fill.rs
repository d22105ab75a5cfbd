//! A response on its way into the cache, and from there to all who wait for it.
//!
//! When the head of a response that may be stored has come, the transaction that asked for it gives its origin connection to
//! a fill. The origin's bytes are received straight into the segments of the streaming body; the transaction becomes its
//! first reader, and requests for the same key join (rule 48). The body runs ahead of slow readers, so that none of them
//! holds the origin or the others up (rule 47). What turns out too large for the store, or finds it full of what is held, is not
//! stored: if several read it, it passes through a window (see [`crate::engine::cache::window`]), and one reader alone goes on as if there
//! were no cache (see [`Transactions::take_over`](crate::engine::transaction::machine::Transactions::take_over)).
//!
//! All memory of a body is asked for before it is needed, and within the budget of the store (rule 57). A response that finds
//! no room for its beginning does not become a fill.

use crate::cache::body::{Body as Whole, Cursor};
use crate::cache::fill::streaming_body::StreamingBody;
use crate::cache::store::stored::Stored;
use crate::cache::store::{Epoch, Store};
use crate::engine::body::intake::{Admitted, Intake};
use crate::engine::cache::hold::Hold;
use crate::engine::cache::publication::{Coordination, Publication, Span, WINDOW_BYTES_MAX};
use crate::engine::ids::{FillId, PeerId, TransactionId};
use crate::http::forwarding::{self, Withheld};
use crate::http::framing::Body;
use crate::net::Linear;
use crate::time::Now;
use slab::Slab;
use std::sync::Arc;

/// Readers of one fill (chosen: more than wait for anything but an attack; the next ones fill by themselves).
pub const READERS_MAX: usize = 4096;

/// With no more than this to come, a fill goes on without readers (chosen, as others do).
const UNREAD_BYTES_MAX: u64 = 64 * 1024;

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
    pub(super) whole: Option<Arc<Whole>>,
    /// What is still to come; `None` while another loop receives it and tells how it ends.
    pub(super) intake: Option<Intake>,
    /// For those who read it while it comes: they are not stored (RFC 9111 section 3.1).
    pub trailers: Vec<u8>,
    /// What the head takes out of them.
    pub(super) withheld: Withheld,
    /// Announced length.
    pub length: Option<u64>,
    pub epoch: Epoch,
    pub readers: Slab<FillReader>,
    /// For how long readers have held up others.
    pub hold: Hold,
    /// Its origin waits for readers, and is not silent by itself.
    pub waits: bool,
    /// The origin connection can carry another transaction.
    pub(super) reusable: bool,
    /// When it was opened.
    pub opened_ms: u64,
    /// It will be stored; otherwise the beginning may be gone.
    pub storable: bool,
    /// It goes on without readers.
    pub unread: bool,
    /// What comes before the end may be stored as a part: it answers a GET (RFC 9111 section 3.3).
    pub(super) keeps_part: bool,
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

    /// Whether one reader at most needs it, and no stored part is completed by it.
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

    /// Whether it is worth finishing without readers.
    pub(super) fn goes_on_unread(&self) -> bool {
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
    pub(super) fn truncate(&mut self) {
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
    pub(super) fn admit(&mut self, count: usize) -> usize {
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
