//! A response that comes to another loop (rule 48): the side that hears of it.
//!
//! What is heard becomes a fill of this loop, like one that it receives itself, but for three things: its end is told and
//! not seen, the loop that receives it stores it, and judges what is too large to be kept. From then on that loop has to
//! know how far the readers here are.

use crate::cache::body::SEGMENT_BYTES;
use crate::cache::fill::streaming_body::{Portion, StreamingBody};
use crate::engine::Engine;
use crate::engine::cache::collapse::CollapseOutcome;
use crate::engine::cache::coordination::FillEvent;
use crate::engine::cache::fill::{Fill, FillId};
use crate::engine::cache::publisher::{Coordination, End, Publication};
use crate::engine::cache::window::Span;
use crate::time::Now;
use std::sync::{Arc, Weak};

impl Fill {
    /// Whether it comes from another loop.
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

    /// Where its readers are, for the loop that tells of it: if the slowest has come on by a segment since that was last told,
    /// or the first or the last of them has all there is.
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

    /// It is over here before it is over there.
    pub fn unsubscribe(&mut self) -> Option<FillEvent> {
        let Coordination::Subscribed { publication, .. } =
            std::mem::replace(&mut self.coordination, Coordination::Nothing)
        else {
            return None;
        };
        Some(FillEvent::Read(Arc::downgrade(&publication), None))
    }
}

impl Engine {
    /// Another loop tells of a response that somebody here waits for: they read it as it comes.
    pub(in crate::engine) fn subscribe(
        &mut self,
        now: Now,
        hash: u64,
        publication: Arc<Publication>,
        portion: &Portion,
    ) {
        let Some(cache) = &self.settings.cache else { return };
        let store = Arc::clone(&cache.store);
        if !self.collapses.is_elsewhere(hash, publication.pending.key()) {
            return;
        }
        self.next_serial = self.next_serial.wrapping_add(1);
        let serial = self.next_serial;
        let id = FillId { index: self.fills.vacant_key() as u32, serial };
        // What is copied here takes room like anything else; where there is none each loop asks by itself.
        let copied = StreamingBody::replica_bytes_max(publication.length);
        let Some(reserve) = store.admit(now.monotonic_us, copied) else {
            store.count_refused();
            return self.stop_waiting_elsewhere(hash);
        };
        let Some(waiters) = self.collapses.subscribe(hash, publication.pending.key(), id) else { return };
        let readers = Span { slowest: 0, fastest: 0 };
        self.send_to_loops(hash, FillEvent::Read(Arc::downgrade(&publication), Some(readers)));
        let stream = StreamingBody::replica(reserve);
        let mut fill = Fill::subscribed(serial, now.monotonic_ms(), publication, stream);
        let follows = fill.stream.append_portion(portion);
        debug_assert!(follows, "what is told first begins at the beginning");
        self.fills.insert(fill);
        self.release_waiters(waiters, CollapseOutcome::LookAgain);
        // Those who wait join before it can end.
        while self.resume_concluded(now) {}
        if follows {
            self.advance_fill(now, id);
        } else {
            self.fail_fill(now, id);
        }
    }

    fn subscription(&mut self, hash: u64, publication: &Weak<Publication>) -> Option<(FillId, &mut Fill)> {
        let id = self.collapses.fill(hash)?;
        let fill = id.get_mut(&mut self.fills)?;
        fill.is_subscribed_to(publication).then_some((id, fill))
    }

    /// More of it has come. What is not `kept` there cannot be joined from its beginning any more.
    pub(in crate::engine) fn receive_portion(
        &mut self,
        now: Now,
        hash: u64,
        publication: &Weak<Publication>,
        portion: &Portion,
        kept: bool,
    ) {
        let Some((id, fill)) = self.subscription(hash, publication) else { return };
        fill.storable = kept;
        if fill.stream.append_portion(portion) {
            self.advance_fill(now, id);
        } else {
            self.fail_fill(now, id);
        }
    }

    /// There will be no more.
    pub(in crate::engine) fn end_subscription(
        &mut self,
        now: Now,
        hash: u64,
        publication: &Weak<Publication>,
        end: End,
    ) {
        let Some((id, fill)) = self.subscription(hash, publication) else { return };
        match end {
            End::Whole(body, trailers) => {
                fill.coordination = Coordination::Nothing;
                self.complete_fill(now, id, &body, &trailers);
            }
            End::Published(trailers) => {
                fill.end_as_published(&trailers);
                self.advance_fill(now, id);
            }
            End::Broken => self.fail_fill(now, id),
        }
    }

    /// Readers here that are not as far hold others up.
    pub(in crate::engine) fn abort_slow_readers(
        &mut self,
        now: Now,
        hash: u64,
        publication: &Weak<Publication>,
        end: u64,
    ) {
        let Some((id, _)) = self.subscription(hash, publication) else { return };
        self.cut_before(now, id, end);
    }
}
