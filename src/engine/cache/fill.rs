//! A response on its way into the cache, and from there to all requests that wait for it.
//!
//! When the head of a storable response has arrived, the transaction that requested it gives its upstream connection to a fill.
//! The origin's bytes are received directly into the segments of the streaming body; the transaction becomes its first
//! reader, and requests for the same key join (rule 48). The body runs ahead of slow readers, so that none of them delays the
//! origin or the others (rule 47). A body that is too large for the store, or finds the store full of held bytes, is not
//! stored: with several readers it passes through a window (see [`crate::engine::cache::window`]), and a single reader
//! continues as without a cache (see
//! [`Transactions::take_over`](crate::engine::transaction::machine::Transactions::take_over)).
//!
//! All memory of a body is reserved before it is needed, within the budget of the store (rule 57). A response without room
//! for its beginning does not become a fill.
//!
//! | state of a [`Fill`] | left when |
//! | --- | --- |
//! | storable | the body is complete and becomes an entry; or it fails, is too large, or finds no room (not storable) |
//! | not storable | a single reader continues without it, or the body has ended and its readers are settled |

use crate::cache::body::{Body as Whole, Cursor};
use crate::cache::fill::shared_fill::SharedFill;
use crate::cache::fill::streaming_body::StreamingBody;
use crate::cache::store::stored::Stored;
use crate::cache::store::{Epoch, Store};
use crate::engine::body::intake::{Admitted, Intake};
use crate::engine::cache::hold::Hold;
use crate::engine::ids::{FillId, PeerId, TransactionId};
use crate::http::fault::Fault;
use crate::http::forwarding::{self, Withheld};
use crate::http::framing::Body;
use crate::net::Linear;
use crate::time::Now;
use slab::Slab;
use std::sync::Arc;

/// Readers of one fill (chosen: more than wait for anything but an attack; the next ones fill by themselves).
pub const READERS_MAX: usize = 4096;

/// With no more than this number of missing bytes a fill continues without readers (chosen, as other caches do). So much must
/// arrive within each time-out as long as it has none.
pub(super) const UNREAD_BYTES: u64 = 64 * 1024;

/// Most bytes of a body that is not stored and whose readers are behind (chosen: four segments).
const WINDOW_BYTES_MAX: usize = 256 * 1024;

impl FillId {
    pub fn get(self, fills: &Slab<Fill>) -> Option<&Fill> {
        fills.get(self.index as usize).filter(|fill| fill.serial == self.serial)
    }

    pub fn get_mut(self, fills: &mut Slab<Fill>) -> Option<&mut Fill> {
        fills.get_mut(self.index as usize).filter(|fill| fill.serial == self.serial)
    }
}

/// One fill.
#[derive(Debug)]
pub(in crate::engine) struct Fill {
    pub serial: u32,
    /// The hash of the collapse that became this fill.
    pub hash: u64,
    /// The upstream connection, until the body has ended.
    pub upstream: Option<PeerId>,
    /// The response without its body, for readers and for the store.
    pub pending: Arc<Stored>,
    pub stream: StreamingBody,
    /// The complete body, until the readers have got it.
    pub(super) whole: Option<Arc<Whole>>,
    /// The rest of the body to receive; `None` while another loop receives it.
    pub(super) intake: Option<Intake>,
    /// For present readers: trailers are not stored (RFC 9111 section 3.1).
    pub trailers: Vec<u8>,
    /// The trailers that are removed because of the head.
    pub(super) withheld: Withheld,
    /// Announced length.
    pub length: Option<u64>,
    pub epoch: Epoch,
    pub readers: Slab<FillReader>,
    /// How long readers have delayed others.
    pub hold: Hold,
    /// The origin waits for readers, so its silence does not count.
    pub waits: bool,
    /// The upstream connection can carry another transaction.
    pub(super) reusable: bool,
    /// The connection broke: its end is none of the body.
    pub(super) broken: bool,
    /// When the connection was opened.
    pub opened_ms: u64,
    /// The body will be stored; otherwise its beginning may have been dropped.
    pub storable: bool,
    /// A refresh: the fill continues without readers, whatever is missing.
    pub is_refresh: bool,
    /// While it has no readers, the received bytes when its deadline was set: others do not move that.
    pub(super) unread_at: Option<u64>,
    /// An incomplete body may be stored as a part: it answers a GET (RFC 9111 section 3.3).
    pub(super) keeps_part: bool,
    /// The stored part that it completes: readers get both.
    pub beside: Option<Arc<Stored>>,
    /// The hash of the collapse that other loops wait for.
    pub lock: Option<u64>,
    /// The relation to other loops.
    pub coordination: Coordination,
}

impl Fill {
    pub fn has_ended(&self) -> bool {
        self.intake.as_ref().is_some_and(Intake::is_done)
    }

    pub fn has_failed(&self) -> bool {
        self.intake.as_ref().is_some_and(Intake::is_truncated)
    }

    /// The fault of the framing because of which it has failed.
    pub fn fault(&self) -> Option<Fault> {
        self.intake.as_ref().and_then(Intake::fault)
    }

    /// Whether all received bytes are kept, and will be stored as far as is known.
    pub fn is_kept(&self) -> bool {
        self.storable && !self.has_failed()
    }

    /// Whether a request may join as a reader.
    pub fn is_joinable(&self) -> bool {
        self.is_kept() && self.readers.len() < READERS_MAX
    }

    /// Whether more is received from an origin of this loop.
    pub fn is_receiving(&self) -> bool {
        self.intake.as_ref().is_some_and(Intake::is_receiving)
    }

    /// Whether the body can receive more.
    pub fn wants_bytes(&self) -> bool {
        self.is_receiving() && self.stream.can_receive()
    }

    /// Whether no transaction of any loop reads it.
    pub(super) fn is_unread(&self) -> bool {
        self.readers.is_empty() && !self.has_subscribers()
    }

    /// Whether it has one reader at most, and completes no stored part.
    pub fn is_lone(&self) -> bool {
        self.readers.len() <= 1 && !self.has_subscribers() && self.beside.is_none()
    }

    /// Whether its only reader may continue without it: the body is not stored, more is to arrive, and the reader has sent
    /// all received bytes.
    pub fn can_be_handed_over(&self) -> bool {
        let has_all = |(_, reader): (usize, &FillReader)| !self.stream.has_more(reader.cursor);
        !self.storable && self.is_receiving() && self.is_lone() && self.readers.iter().all(has_all)
    }

    /// The reader, if there is exactly one.
    pub fn lone_reader(&self) -> Option<TransactionId> {
        let mut readers = self.readers.iter();
        let (_, reader) = readers.next()?;
        readers.next().is_none().then_some(reader.transaction)
    }

    /// Reserves memory for the next bytes, if allowed. False if there is none.
    pub fn provide(&mut self, store: &Store, now: Now) -> bool {
        let within = self.storable || (!self.is_lone() && self.stream.held_bytes() < WINDOW_BYTES_MAX);
        !self.is_receiving()
            || !within
            || self.stream.reserve_segment(|bytes| store.admit(now.monotonic_us, bytes))
    }

    /// The rest of the body, the trailers that are not forwarded, and whether the connection can be reused so far: for the
    /// reader that continues without the fill.
    pub fn into_rest(self) -> Option<(Intake, Withheld, bool)> {
        let rest = self.intake.filter(Intake::is_receiving)?;
        Some((rest, self.withheld, self.reusable))
    }

    /// Whether the fill is worth finishing without readers.
    pub(super) fn goes_on_unread(&self) -> bool {
        let left = self.intake.as_ref().and_then(Intake::left);
        let nearly = left.is_some_and(|left| left <= UNREAD_BYTES || left <= self.stream.len() / 3);
        self.storable && !self.is_subscribed() && (self.is_refresh || nearly)
    }

    /// A fill that another loop receives, with that place among its subscribers.
    pub fn subscribed(
        serial: u32,
        hash: u64,
        now_ms: u64,
        shared: Arc<SharedFill>,
        place: usize,
        stream: StreamingBody,
    ) -> Fill {
        Fill {
            serial,
            hash,
            upstream: None,
            pending: Arc::clone(&shared.pending),
            stream,
            whole: None,
            intake: None,
            trailers: Vec::new(),
            withheld: Withheld::default(),
            length: shared.length,
            epoch: shared.epoch,
            readers: Slab::new(),
            hold: Hold::new(now_ms),
            waits: false,
            reusable: false,
            broken: false,
            opened_ms: 0,
            storable: true,
            is_refresh: false,
            unread_at: None,
            keeps_part: false,
            beside: shared.beside.clone(),
            lock: None,
            coordination: Coordination::Subscribed { shared, place },
        }
    }

    /// The receiving loop has the whole body, and has shared all of it.
    pub fn end_as_published(&mut self, trailers: &[u8]) {
        self.trailers = trailers.to_vec();
        self.intake = Some(Intake::Done);
    }

    /// Ends a body whose rest will never arrive.
    pub(super) fn truncate(&mut self) {
        self.intake = Some(Intake::Truncated(None));
    }

    /// Takes bytes from memory outside of its space; returns the number that belong to the body.
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

    /// Decodes `count` bytes received into the streaming body's space. Records whether bytes followed the end, and whether
    /// the framing was faulty.
    pub(super) fn admit(&mut self, count: usize) -> usize {
        let Fill { stream, intake, trailers, withheld, .. } = self;
        let Some(intake) = intake else { return 0 };
        let bytes = &mut stream.space()[..count];
        let admitted = intake.admit(bytes, |lines| forwarding::write_trailers(trailers, lines, withheld));
        let Admitted { payload, consumed } = admitted.unwrap_or_else(|faulty| {
            *intake = Intake::Truncated(Some(faulty.fault));
            Admitted { payload: faulty.payload, consumed: count }
        });
        self.reusable &= consumed == count && !self.has_failed();
        self.stream.commit(payload);
        consumed
    }
}

/// The relation of a fill to other loops.
#[derive(Debug)]
pub(in crate::engine) enum Coordination {
    Nothing,
    /// This loop receives the fill for others, too.
    Published(Arc<SharedFill>),
    /// Another loop receives the fill; the positions of this loop's readers have that place among the subscribers.
    Subscribed {
        shared: Arc<SharedFill>,
        place: usize,
    },
}

/// The parts that a fill begins with.
pub(in crate::engine) struct Beginning {
    pub pending: Arc<Stored>,
    /// The hash of the collapse that the transaction leads.
    pub hash: u64,
    pub epoch: Epoch,
    pub body: Body,
    /// An empty body, with room for the bytes received so far.
    pub stream: StreamingBody,
    /// Whether it is a refresh, and continues without readers.
    pub is_refresh: bool,
    /// Whether an incomplete body may be stored as a part.
    pub keeps_part: bool,
    /// The stored part that it completes.
    pub beside: Option<Arc<Stored>>,
}

/// The parts of a transaction that its fill takes over.
pub(in crate::engine) struct FillSource<'a> {
    pub upstream: PeerId,
    pub withheld: Withheld,
    pub reusable: bool,
    pub broken: bool,
    pub opened_ms: u64,
    /// The bytes received with the head and behind it.
    pub response: &'a mut Linear,
    pub head_bytes: usize,
}

/// A transaction that reads a fill.
#[derive(Debug)]
pub(in crate::engine) struct FillReader {
    pub transaction: TransactionId,
    pub client: PeerId,
    /// The position of the transaction: bytes of the body, and the cursor in its segments.
    pub payload: u64,
    pub cursor: Cursor,
}
