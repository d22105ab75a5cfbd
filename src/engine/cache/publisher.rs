//! A response that one loop receives for requests that wait in other loops (rule 48): the receiving side.
//!
//! The receiving loop publishes the received bytes, and each loop with waiting transactions makes a fill of them (see
//! [`crate::engine::cache::subscriber`]): it streams to its own clients at their own speeds. The other loops get the same
//! pages; only the bytes of the incomplete last segment are copied. A complete body is handed over as it is.
//!
//! While the body will be stored, all of it is kept, and may be published at once. Otherwise it passes through a window, and
//! the subscribers report the positions of their readers: the slowest of them counts like one of this loop.

use crate::cache::body::{Body, Cursor};
use crate::engine::cache::Fills;
use crate::engine::cache::fill::Fill;
use crate::engine::cache::message::FillEvent;
use crate::engine::cache::publication::{Coordination, End, Publication, Published, Span};
use crate::engine::context::Context;
use crate::engine::ids::FillId;
use std::sync::{Arc, Weak};

impl Fill {
    /// Prepares to publish a fill to other loops.
    pub fn prepare_publication(&mut self, id: FillId) {
        let publication = Publication {
            fill: id,
            pending: Arc::clone(&self.pending),
            beside: self.beside.clone(),
            length: self.length,
            epoch: self.epoch,
        };
        self.coordination = Coordination::Published(Published {
            publication: Arc::new(publication),
            cursor: Cursor::default(),
            bytes: 0,
            known_unstored: false,
            subscribers: Vec::new(),
        });
    }

    fn published(&self) -> Option<&Published> {
        match &self.coordination {
            // A loop that has not handled the message yet may still subscribe.
            Coordination::Published(told) => {
                Some(told).filter(|told| Arc::strong_count(&told.publication) > 1)
            }
            Coordination::Nothing | Coordination::Subscribed { .. } => None,
        }
    }

    /// Whether another loop has subscribed.
    pub fn has_subscribers(&self) -> bool {
        self.published().is_some()
    }

    /// The positions from which bytes must be kept for other loops, each with the number of bytes before it: bytes that are
    /// not published yet, or that their readers have not read. The pages are shared, and are kept in the loop that is charged
    /// for them.
    pub fn needed_elsewhere(&self) -> impl Iterator<Item = (u64, Cursor)> {
        let told = self.published();
        let unpublished = told.map(|told| (told.bytes, told.cursor));
        let unread = told.and_then(Published::readers).map(|readers| readers.slowest);
        unpublished.into_iter().chain(unread.map(|place| (place, self.stream.cursor(place))))
    }

    /// The positions of readers in other loops; the fastest is at the end of the body if it has read all published bytes.
    pub fn subscribed_readers(&self) -> Option<Span> {
        let told = self.published()?;
        let readers = told.readers()?;
        let has_all = told.has_to_wait() && readers.fastest >= told.bytes;
        Some(Span { fastest: if has_all { self.stream.len() } else { readers.fastest }, ..readers })
    }

    /// The received part of the body, for loops without any of it.
    pub fn publish_from_start(&mut self) -> Option<FillEvent> {
        let Coordination::Published(told) = &mut self.coordination else { return None };
        told.cursor = Cursor::default();
        let portion = self.stream.portion_since(&mut told.cursor);
        told.bytes = self.stream.len();
        Some(FillEvent::Begins(Arc::clone(&told.publication), Arc::new(portion)))
    }

    /// The parts that subscribers do not know: more of the body, or its end.
    pub fn publish_progress(&mut self) -> Option<FillEvent> {
        let (kept, whole) = (self.storable, self.storable && self.has_ended());
        self.published().filter(|told| !whole && (kept || !told.known_unstored || !told.has_to_wait()))?;
        let Coordination::Published(told) = &mut self.coordination else { return None };
        let publication = Arc::downgrade(&told.publication);
        if told.bytes < self.stream.len() || told.known_unstored == kept {
            let portion = self.stream.portion_since(&mut told.cursor);
            (told.bytes, told.known_unstored) = (self.stream.len(), !kept);
            return Some(FillEvent::Continues(publication, Arc::new(portion), kept));
        }
        let end = match (self.has_ended(), self.has_failed()) {
            (true, _) => End::Published(self.trailers.as_slice().into()),
            (false, true) => End::Broken,
            (false, false) => return None,
        };
        self.coordination = Coordination::Nothing;
        Some(FillEvent::Ends(publication, end))
    }

    /// Ends the publication with the whole body.
    pub fn publish_whole(&mut self, body: &Arc<Body>, trailers: &[u8]) -> Option<FillEvent> {
        let publication = Arc::downgrade(&self.published()?.publication);
        self.coordination = Coordination::Nothing;
        Some(FillEvent::Ends(publication, End::Whole(Arc::clone(body), trailers.into())))
    }

    /// The message to subscribers whose readers are before `end` and delay others.
    pub fn publish_slow_readers(&self, end: u64) -> Option<FillEvent> {
        let told = self.published()?;
        let behind = told.readers()?.slowest < end;
        behind.then(|| FillEvent::Behind(Arc::downgrade(&told.publication), end))
    }
}

impl Fills {
    /// Publishes new bytes of a fill.
    pub(super) fn publish_progress(&mut self, cx: &mut Context, id: FillId) {
        while let Some(fill) = id.get_mut(&mut self.slab) {
            let Some(event) = fill.publish_progress() else { return };
            cx.send_to_loops(fill.pending.hash(), event);
        }
    }

    /// A transaction of another loop waits for a response that may be arriving.
    pub(super) fn republish(&mut self, cx: &mut Context, hash: u64) {
        let Some(id) = self.collapses.fill(hash) else { return };
        // First bring the subscribers up to date, so that new ones begin with the same knowledge.
        self.publish_progress(cx, id);
        let Some(fill) = id.get_mut(&mut self.slab).filter(|fill| fill.is_kept()) else { return };
        if let Some(event) = fill.publish_from_start() {
            cx.send_to_loops(hash, event);
        }
    }

    /// Records the positions of the readers in another loop; `None` if that loop has unsubscribed.
    pub(super) fn note_subscriber(
        &mut self,
        cx: &mut Context,
        from: usize,
        publication: &Weak<Publication>,
        readers: Option<Span>,
    ) {
        let Some(publication) = publication.upgrade() else { return };
        let id = publication.fill;
        let Some(fill) = id.get_mut(&mut self.slab) else { return };
        match &mut fill.coordination {
            Coordination::Published(told) if Arc::ptr_eq(&told.publication, &publication) => {
                told.subscribers.retain(|(subscriber, _)| *subscriber != from);
                told.subscribers.extend(readers.map(|span| (from, span)));
            }
            Coordination::Nothing | Coordination::Published(_) | Coordination::Subscribed { .. } => return,
        }
        drop(publication);
        self.advance_fill(cx, id);
    }
}
