//! A response that another loop receives (rule 48): the subscribing side.
//!
//! The published response becomes a fill of this loop, like one that this loop receives, with three differences: its end
//! arrives as a message, and the receiving loop stores it and decides whether it is too large to be kept. That loop needs the
//! positions of this loop's readers.

use crate::cache::body::SEGMENT_BYTES;
use crate::cache::fill::streaming_body::{Portion, StreamingBody};
use crate::engine::cache::Fills;
use crate::engine::cache::collapse::CollapseOutcome;
use crate::engine::cache::coordination::release_waiters;
use crate::engine::cache::fill::Fill;
use crate::engine::cache::message::FillEvent;
use crate::engine::cache::publication::{Coordination, End, Publication, Span};
use crate::engine::context::Context;
use crate::engine::effect::Effect;
use crate::engine::ids::FillId;
use std::sync::{Arc, Weak};

impl Fill {
    /// Whether another loop receives the fill.
    pub fn is_subscribed(&self) -> bool {
        matches!(self.coordination, Coordination::Subscribed { .. })
    }

    fn is_subscribed_to(&self, from: &Weak<Publication>) -> bool {
        match &self.coordination {
            Coordination::Subscribed { publication, .. } => {
                std::ptr::eq(Arc::as_ptr(publication), from.as_ptr())
            }
            Coordination::Nothing | Coordination::Published(_) => false,
        }
    }

    /// The positions of this loop's readers, for the publishing loop: if the slowest has moved by a segment since the last
    /// report, or the first or the last of them has read all published bytes.
    pub fn report_progress(&mut self, readers: Span) -> Option<FillEvent> {
        let len = self.stream.len();
        let Coordination::Subscribed { publication, known } = &mut self.coordination else { return None };
        let event = readers.slowest >= known.slowest + SEGMENT_BYTES as u64
            || (readers.fastest == len && known.fastest < len)
            || (readers.slowest == len && known.slowest < len);
        if !event {
            return None;
        }
        *known = readers;
        Some(FillEvent::Read(Arc::downgrade(publication), Some(readers)))
    }

    /// This loop does not need the fill any more before its end.
    pub fn unsubscribe(&mut self) -> Option<FillEvent> {
        let Coordination::Subscribed { publication, .. } =
            std::mem::replace(&mut self.coordination, Coordination::Nothing)
        else {
            return None;
        };
        Some(FillEvent::Read(Arc::downgrade(&publication), None))
    }
}

impl Fills {
    /// Subscribes to a response of another loop that transactions wait for: they read it as it arrives.
    pub(super) fn subscribe(
        &mut self,
        cx: &mut Context,
        hash: u64,
        publication: Arc<Publication>,
        portion: &Portion,
    ) {
        let Some(cache) = cx.settings.caching() else { return };
        let store = Arc::clone(&cache.store);
        if !self.collapses.is_elsewhere(hash, publication.pending.key()) {
            return;
        }
        let serial = self.next_serial();
        let id = FillId { index: self.slab.vacant_key() as u32, serial };
        // Copied bytes are charged like all others; without room each loop asks the origin by itself.
        let copied = StreamingBody::replica_bytes_max(publication.length);
        let Some(reserve) = store.admit(cx.now.monotonic_us, copied) else {
            store.count_refused();
            return self.stop_waiting_elsewhere(cx, hash);
        };
        let Some(waiters) = self.collapses.subscribe(hash, publication.pending.key(), id) else { return };
        let readers = Span { slowest: 0, fastest: 0 };
        cx.send_to_loops(hash, FillEvent::Read(Arc::downgrade(&publication), Some(readers)));
        let stream = StreamingBody::replica(reserve);
        let mut fill = Fill::subscribed(serial, cx.now_ms(), publication, stream);
        let follows = fill.stream.append_portion(portion);
        debug_assert!(follows, "what is told first begins at the beginning");
        self.slab.insert(fill);
        release_waiters(cx, waiters, CollapseOutcome::LookAgain, 1);
        // The transactions that wait join before the fill can end.
        cx.send(Effect::ResumeWaiters);
        cx.send(if follows { Effect::AdvanceFill(id) } else { Effect::FailFill(id) });
    }

    fn subscription(&mut self, hash: u64, publication: &Weak<Publication>) -> Option<(FillId, &mut Fill)> {
        let id = self.collapses.fill(hash)?;
        let fill = id.get_mut(&mut self.slab)?;
        fill.is_subscribed_to(publication).then_some((id, fill))
    }

    /// Handles further bytes. A body that is not `kept` there cannot be joined from its beginning any more.
    pub(super) fn receive_portion(
        &mut self,
        cx: &mut Context,
        hash: u64,
        publication: &Weak<Publication>,
        portion: &Portion,
        kept: bool,
    ) {
        let Some((id, fill)) = self.subscription(hash, publication) else { return };
        fill.storable = kept;
        if fill.stream.append_portion(portion) {
            self.advance_fill(cx, id);
        } else {
            self.fail_fill(cx, id);
        }
    }

    /// Handles the end.
    pub(super) fn end_subscription(
        &mut self,
        cx: &mut Context,
        hash: u64,
        publication: &Weak<Publication>,
        end: End,
    ) {
        let Some((id, fill)) = self.subscription(hash, publication) else { return };
        match end {
            End::Whole(body, trailers) => {
                fill.coordination = Coordination::Nothing;
                self.complete_fill(cx, id, body, trailers.to_vec());
            }
            End::Published(trailers) => {
                fill.end_as_published(&trailers);
                self.advance_fill(cx, id);
            }
            End::Broken => self.fail_fill(cx, id),
        }
    }

    /// Readers here that are not as far hold others up.
    pub(super) fn abort_slow_readers(
        &mut self,
        cx: &mut Context,
        hash: u64,
        publication: &Weak<Publication>,
        end: u64,
    ) {
        if let Some((id, _)) = self.subscription(hash, publication) {
            self.cut_before(cx, id, end);
        }
    }
}
