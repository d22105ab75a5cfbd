//! A response that comes to another loop (rule 48): the side that hears of it.
//!
//! What is heard becomes a fetch of this loop, like one that it receives itself, but for three things: its end is told and
//! not seen, the loop that receives it stores it, and judges what is too large to be kept. From then on that loop has to
//! know how far the readers here are.

use super::Engine;
use super::broadcast::{Beyond, Broadcast, End};
use super::elsewhere::News;
use super::fetch::{Fetch, FetchId};
use super::flight::Landing;
use super::window::Span;
use crate::cache::body::SEGMENT_BYTES;
use crate::cache::growing::{Growing, Portion};
use crate::time::Now;
use std::sync::{Arc, Weak};

impl Fetch {
    /// Whether it comes from another loop.
    pub fn is_heard(&self) -> bool {
        matches!(self.beyond, Beyond::Heard { .. })
    }

    fn is_heard_from(&self, from: &Weak<Broadcast>) -> bool {
        match &self.beyond {
            Beyond::Heard { broadcast, .. } => std::ptr::eq(Arc::as_ptr(broadcast), from.as_ptr()),
            Beyond::Nothing | Beyond::Told(_) => false,
        }
    }

    /// Where its readers are, for the loop that tells of it: if the slowest has come on by a segment since that was last told,
    /// or the first or the last of them has all there is.
    pub fn has_read(&mut self, readers: Span) -> Option<News> {
        let len = self.growing.len();
        let Beyond::Heard { broadcast, known } = &mut self.beyond else { return None };
        let news = readers.slowest >= known.slowest + SEGMENT_BYTES as u64
            || (readers.fastest == len && known.fastest < len)
            || (readers.slowest == len && known.slowest < len);
        if !news {
            return None;
        }
        *known = readers;
        Some(News::Read(Arc::downgrade(broadcast), Some(readers)))
    }

    /// It is over here before it is over there.
    pub fn stop_listening(&mut self) -> Option<News> {
        let Beyond::Heard { broadcast, .. } = std::mem::replace(&mut self.beyond, Beyond::Nothing) else {
            return None;
        };
        Some(News::Read(Arc::downgrade(&broadcast), None))
    }
}

impl Engine {
    /// Another loop tells of a response that somebody here waits for: they read it as it comes.
    pub(super) fn begin_hearing(
        &mut self,
        now: Now,
        hash: u64,
        broadcast: Arc<Broadcast>,
        portion: &Portion,
    ) {
        let Some(cache) = &self.settings.cache else { return };
        let store = Arc::clone(&cache.store);
        if !self.flights.is_elsewhere(hash, broadcast.pending.key()) {
            return;
        }
        self.next_serial = self.next_serial.wrapping_add(1);
        let serial = self.next_serial;
        let id = FetchId { index: self.fetches.vacant_key() as u32, serial };
        // What is copied here takes room like anything else; where there is none each loop asks by itself.
        let copied = Growing::copied_bytes(broadcast.length);
        let Some(reserve) = store.admit(now.monotonic_us, copied) else {
            store.count_refused();
            return self.fetch_here(hash);
        };
        let Some(waiters) = self.flights.hear(hash, broadcast.pending.key(), id) else { return };
        let readers = Span { slowest: 0, fastest: 0 };
        self.tell_loops(hash, News::Read(Arc::downgrade(&broadcast), Some(readers)));
        let growing = Growing::following(reserve);
        let mut fetch = Fetch::heard(serial, now.monotonic_ms(), broadcast, growing);
        let follows = fetch.growing.follow(portion);
        debug_assert!(follows, "what is told first begins at the beginning");
        self.fetches.insert(fetch);
        self.let_go(waiters, Landing::LookAgain);
        // Those who wait join before it can end.
        while self.resume_landed(now) {}
        if follows {
            self.advance_fetch(now, id);
        } else {
            self.fail_fetch(now, id);
        }
    }

    fn heard(&mut self, hash: u64, broadcast: &Weak<Broadcast>) -> Option<(FetchId, &mut Fetch)> {
        let id = self.flights.fetch(hash)?;
        let fetch = id.get_mut(&mut self.fetches)?;
        fetch.is_heard_from(broadcast).then_some((id, fetch))
    }

    /// More of it has come. What is not `kept` there cannot be joined from its beginning any more.
    pub(super) fn go_on_hearing(
        &mut self,
        now: Now,
        hash: u64,
        broadcast: &Weak<Broadcast>,
        portion: &Portion,
        kept: bool,
    ) {
        let Some((id, fetch)) = self.heard(hash, broadcast) else { return };
        fetch.storable = kept;
        if fetch.growing.follow(portion) {
            self.advance_fetch(now, id);
        } else {
            self.fail_fetch(now, id);
        }
    }

    /// There will be no more.
    pub(super) fn end_hearing(&mut self, now: Now, hash: u64, broadcast: &Weak<Broadcast>, end: End) {
        let Some((id, fetch)) = self.heard(hash, broadcast) else { return };
        match end {
            End::Whole(body, trailers) => {
                fetch.beyond = Beyond::Nothing;
                self.complete_fetch(now, id, &body, &trailers);
            }
            End::Told(trailers) => {
                fetch.end_as_told(&trailers);
                self.advance_fetch(now, id);
            }
            End::Broken => self.fail_fetch(now, id),
        }
    }

    /// Readers here that are not as far hold others up.
    pub(super) fn cut_behind(&mut self, now: Now, hash: u64, broadcast: &Weak<Broadcast>, end: u64) {
        let Some((id, _)) = self.heard(hash, broadcast) else { return };
        self.cut_before(now, id, end);
    }
}
