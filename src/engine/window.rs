//! The window through which a body passes that is not stored: what turned out too large, or found the store full.
//!
//! What all its readers have is given up, and the origin waits for them: but not for long for one of many.

use super::Engine;
use super::entry::Verdict;
use super::fetch::{Fetch, FetchId};
use super::peer::ExchangeId;
use crate::cache::body::{Cursor, SEGMENT_BYTES};
use crate::time::Now;

/// Bytes that a body may hold that is not to be stored and whose readers are behind (chosen: four segments).
pub(super) const WINDOW_BYTES_MAX: usize = 256 * 1024;

/// Readers that are a window behind may hold up the others for so long in all, and for an eighth of the time that the
/// fetch takes (chosen: who has merely not been looked at yet is behind for microseconds).
const HOLD_MS_MAX: u64 = 1000;

/// How far readers are, in bytes of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub slowest: u64,
    pub fastest: u64,
}

impl Span {
    /// Of readers that are at these places.
    pub fn of(places: impl Iterator<Item = u64>) -> Option<Span> {
        places.map(|place| Span { slowest: place, fastest: place }).reduce(Span::with)
    }

    pub fn with(self, other: Span) -> Span {
        Span { slowest: self.slowest.min(other.slowest), fastest: self.fastest.max(other.fastest) }
    }
}

impl Fetch {
    /// For how much longer readers may hold up others.
    fn patience_ms(&self, now_ms: u64) -> u64 {
        (HOLD_MS_MAX + now_ms.saturating_sub(self.began_ms) / 8).saturating_sub(self.held_ms)
    }
}

impl Engine {
    /// How far a reader is in what is being fetched.
    pub(super) fn place_of(&self, reader: &ExchangeId) -> Option<(u64, Cursor)> {
        let exchange = self.exchanges.get(reader.index as usize)?;
        let serving = exchange.serving.as_ref().filter(|_| exchange.serial == reader.serial)?;
        Some(serving.place())
    }

    /// Gives up what all readers have of a body that is not stored. When the window is full and one reader has everything,
    /// the slowest hold it up: they may do so for a while.
    pub(super) fn keep_window(&mut self, now: Now, id: FetchId) {
        let Some(fetch) = id.get(&self.fetches) else { return };
        // When nothing more comes it is as large as it gets, and may be worth keeping.
        if fetch.storable || fetch.has_failed() {
            return;
        }
        let places = || fetch.readers.iter().filter_map(|reader| self.place_of(reader));
        let own = Span::of(places().map(|(payload, _)| payload));
        let untold = fetch.untold();
        let kept_from = places().chain(untold).min_by_key(|(payload, _)| *payload);
        let now_ms = now.monotonic_ms();
        let timeout_ms = self.settings.timeouts.exchange_ms;
        let Engine { fetches, deadlines, .. } = self;
        let Some(fetch) = id.get_mut(fetches) else { return };
        if let Some((_, cursor)) = kept_from {
            fetch.growing.drop_before(cursor);
        }
        if let Some(news) = own.and_then(|readers| fetch.has_read(readers)) {
            let hash = fetch.pending.hash();
            return self.tell_loops(hash, news);
        }
        let Some(readers) = own.into_iter().chain(fetch.readers_elsewhere()).reduce(Span::with) else {
            return;
        };
        let starving = readers.fastest == fetch.growing.len() && readers.slowest < readers.fastest;
        let Some(origin) = fetch.origin else { return };
        match (fetch.held_since_ms, starving && !fetch.wants_bytes()) {
            (None, true) => {
                fetch.held_since_ms = Some(now_ms);
                deadlines.set(origin, now_ms, fetch.patience_ms(now_ms));
            }
            (Some(since_ms), false) => {
                fetch.held_ms += now_ms.saturating_sub(since_ms);
                fetch.held_since_ms = None;
                deadlines.set(origin, now_ms, timeout_ms);
            }
            (None, false) | (Some(_), true) => {}
        }
        if fetch.wants_bytes() {
            self.wake(origin);
        }
    }

    /// The slowest readers have held the others up for too long: they are cut, in whatever loop.
    pub(super) fn cut_slowest(&mut self, now: Now, id: FetchId) {
        let Some(fetch) = id.get_mut(&mut self.fetches) else { return };
        if let Some(since_ms) = fetch.held_since_ms.take() {
            fetch.held_ms += now.monotonic_ms().saturating_sub(since_ms);
        }
        let Some(fetch) = id.get(&self.fetches) else { return };
        let own = Span::of(fetch.readers.iter().filter_map(|reader| Some(self.place_of(reader)?.0)));
        let Some(readers) = own.into_iter().chain(fetch.readers_elsewhere()).reduce(Span::with) else {
            return;
        };
        let end = readers.slowest.saturating_add(SEGMENT_BYTES as u64);
        let (hash, news) = (fetch.pending.hash(), fetch.tell_behind(end));
        news.into_iter().for_each(|news| self.tell_loops(hash, news));
        self.cut_before(now, id, end);
    }

    /// One of its readers has sent something.
    pub(super) fn note_reading(&mut self, now: Now, id: FetchId) {
        if id.get(&self.fetches).is_some_and(|fetch| !fetch.storable) {
            self.keep_window(now, id);
        }
    }

    /// Aborts the readers of a fetch that are not as far.
    pub(super) fn cut_before(&mut self, now: Now, id: FetchId, end: u64) {
        let Some(fetch) = id.get(&self.fetches) else { return };
        for reader in fetch.readers.clone() {
            if self.place_of(&reader).is_some_and(|(payload, _)| payload < end) {
                self.metrics.cache_readers_cut += 1;
                self.abort(now, reader, Verdict::Failed, "cache_window_max");
            }
        }
        self.keep_window(now, id);
    }
}
