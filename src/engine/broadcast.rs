//! A response that comes to one loop, and to all that wait for it in others (rule 48).
//!
//! The loop that receives it tells the others what has come, and each of them that has somebody who waits makes a fetch of
//! that: it streams to its own clients at their own speeds, like one that it receives itself. Only what has a known
//! length and fits into the store is told, so what lies in a queue or a fetch is bounded by that. The bytes are copied,
//! once for all loops and once by each; that is for bodies that more than one loop wants at the same moment.
//!
//! Whoever only hears cannot have the origin wait for slow readers. So the room for all of the body is charged before the
//! first byte is taken; a loop for which there is none asks by itself.

use super::Engine;
use super::elsewhere::News;
use super::fetch::{Fetch, FetchId};
use super::flight::Landing;
use crate::cache::ledger::Charge;
use crate::cache::store::Epoch;
use crate::cache::stored::Stored;
use crate::time::Now;
use std::sync::{Arc, Weak};

/// The most that is told over again to who comes later (chosen: a copy of it takes a fraction of a millisecond).
const REPEATED_BYTES_MAX: u64 = 1024 * 1024;

/// What is told of a response before its body. Whoever listens holds on to it.
#[derive(Debug)]
pub struct Broadcast {
    pub(super) pending: Arc<Stored>,
    /// Bytes of the body.
    pub(super) length: u64,
    pub(super) epoch: Epoch,
}

/// What other loops have to do with a fetch.
#[derive(Debug)]
pub(super) enum Beyond {
    Nothing,
    /// They are told of it; so many bytes of its body they have been told.
    Told(Arc<Broadcast>, u64),
    /// One of them tells of it. The room for what is still to come is charged.
    Heard(Arc<Broadcast>, Charge),
}

impl Fetch {
    /// Other loops will be told of it, if it is such a response.
    pub fn prepare_telling(&mut self, object_max: u64) {
        let whole = self.beside.is_none() && self.pending.fragment().is_none();
        if let Some(length) = self.length.filter(|length| whole && *length <= object_max) {
            let broadcast = Broadcast { pending: Arc::clone(&self.pending), length, epoch: self.epoch };
            self.beyond = Beyond::Told(Arc::new(broadcast), 0);
        }
    }

    /// Whether other loops can have it from this one.
    pub fn is_told(&self) -> bool {
        matches!(self.beyond, Beyond::Told(..))
    }

    /// Whether it comes from another loop.
    pub fn is_heard(&self) -> bool {
        matches!(self.beyond, Beyond::Heard(..))
    }

    /// Whether another loop holds on to it.
    pub fn is_listened_to(&self) -> bool {
        match &self.beyond {
            Beyond::Told(broadcast, _) => Arc::strong_count(broadcast) > 1,
            Beyond::Nothing | Beyond::Heard(..) => false,
        }
    }

    /// What has come of it, for those who know nothing of it yet.
    pub fn tell_from_start(&mut self) -> Option<News> {
        let Beyond::Told(broadcast, told) = &mut self.beyond else { return None };
        let bytes: Arc<[u8]> = self.growing.bytes_from(0)?.into();
        *told = bytes.len() as u64;
        Some(News::Begins(Arc::clone(broadcast), bytes))
    }

    /// What those do not know yet who listen: more of the body, or that there will be no more.
    pub fn tell_on(&mut self) -> Option<(u64, News)> {
        if !self.is_listened_to() {
            return None;
        }
        let (hash, failed) = (self.pending.hash(), self.has_failed());
        let Beyond::Told(broadcast, told) = &mut self.beyond else { return None };
        let (broadcast, at) = (Arc::downgrade(broadcast), *told);
        match self.growing.bytes_from(at).filter(|_| !failed) {
            None => {
                self.beyond = Beyond::Nothing;
                Some((hash, News::Breaks(broadcast)))
            }
            Some(bytes) if bytes.is_empty() => None,
            Some(bytes) => {
                *told += bytes.len() as u64;
                Some((hash, News::Continues(broadcast, at, bytes.into())))
            }
        }
    }

    fn is_heard_from(&self, broadcast: &Weak<Broadcast>) -> bool {
        match &self.beyond {
            Beyond::Heard(heard, _) => std::ptr::eq(Arc::as_ptr(heard), broadcast.as_ptr()),
            Beyond::Nothing | Beyond::Told(..) => false,
        }
    }
}

impl Engine {
    /// Another loop tells of a response that somebody here waits for: they read it as it comes.
    pub(super) fn begin_hearing(&mut self, now: Now, hash: u64, broadcast: Arc<Broadcast>, bytes: &[u8]) {
        let Some(cache) = &self.settings.cache else { return };
        if self.flights.waiting_elsewhere(hash).next().is_none() {
            return;
        }
        let store = Arc::clone(&cache.store);
        let room = Charge::new(store.ledger(), usize::try_from(broadcast.length).unwrap_or(usize::MAX));
        if !store.make_room(now.monotonic_us) {
            drop(room);
            self.fetch_here(hash);
            return;
        }
        let pending = Arc::clone(&broadcast.pending);
        self.next_serial = self.next_serial.wrapping_add(1);
        let serial = self.next_serial;
        let id = FetchId { index: self.fetches.vacant_key() as u32, serial };
        let Some(waiters) = self.flights.hear(hash, pending.key(), id) else { return };
        let mut fetch = Fetch::heard(room, &store, serial, now.monotonic_ms(), broadcast);
        fetch.take(bytes);
        self.fetches.insert(fetch);
        self.let_go(waiters, Landing::LookAgain);
        // Those who wait join before it can end.
        while self.resume_landed(now) {}
        self.advance_fetch(now, id);
        self.drop_unread(id);
    }

    /// More of it has come.
    pub(super) fn go_on_hearing(
        &mut self,
        now: Now,
        hash: u64,
        broadcast: &Weak<Broadcast>,
        at: u64,
        bytes: &[u8],
    ) {
        let Some(id) = self.flights.fetch(hash) else { return };
        let heard = id.get_mut(&mut self.fetches).filter(|fetch| fetch.is_heard_from(broadcast));
        let Some(fetch) = heard else { return };
        // It was told from its beginning, and what came since in the order in which it came.
        let known = fetch.growing.len().saturating_sub(at).min(bytes.len() as u64);
        fetch.take(&bytes[known as usize..]);
        self.advance_fetch(now, id);
    }

    /// The rest will never come.
    pub(super) fn stop_hearing(&mut self, now: Now, hash: u64, broadcast: &Weak<Broadcast>) {
        let Some(id) = self.flights.fetch(hash) else { return };
        if id.get(&self.fetches).is_some_and(|fetch| fetch.is_heard_from(broadcast)) {
            self.fail_fetch(now, id);
        }
    }

    /// Somebody in another loop waits for what has begun to come.
    pub(super) fn repeat(&mut self, hash: u64) {
        let Some(id) = self.flights.fetch(hash) else { return };
        let Some(fetch) = id.get_mut(&mut self.fetches).filter(|fetch| fetch.is_told()) else { return };
        if !fetch.is_joinable() || fetch.growing.len() > REPEATED_BYTES_MAX {
            self.tell_loops(hash, News::Long);
            return;
        }
        // Who listens already does not listen to the repetition.
        let news = [fetch.tell_on().map(|(_, news)| news), fetch.tell_from_start()];
        news.into_iter().flatten().for_each(|news| self.tell_loops(hash, news));
    }
}
