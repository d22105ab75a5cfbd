//! A sliding window, exact, in memory (guard semantics, section 5).
//!
//! A hit is within the limit if fewer than `limit` hits were made in the window before it. Every hit is recorded, even a
//! refused one: a client that keeps sending stays refused, and recovers one window after it pauses. Only the newest `limit`
//! times of a key matter, so a key has no more. Times are the lowest 32 bits of milliseconds: between two hits everything
//! older than the window is dropped, so two times of one key differ by less than two windows, and a window has at most 2^31
//! ms.
//!
//! Five times are kept in the entry itself, which has 48 bytes; more are in a separate ring, which is released when the
//! window is empty. The number of keys and the total size of the rings are bounded: beyond the bound the least recently used
//! key is dropped, and counted.
//!
//! With a limit beyond [`LIMIT_EXACT_MAX`], or by request, hits are counted approximately: the hits of the current window,
//! and those of the previous one weighted by the part of it that the sliding window still covers.

use super::recent::Recent;
use super::shards::Shards;
use super::store::Answer;

/// The longest window: 24.8 days (times have 32 bits of milliseconds). A longer one is cut.
pub const WINDOW_MS_MAX: u64 = 1 << 31;

/// The highest limit that is counted exactly (chosen: 256 KB of times for one key). Beyond, two counters decide.
pub const LIMIT_EXACT_MAX: u32 = u16::MAX as u32;

/// Times in the rings of all keys, for each allowed key (chosen: 256 bytes on average).
const TIMES_PER_KEY: usize = 64;

/// Times that fit into an entry (chosen: as many as fit into the memory of a ring's fields).
const FEW: usize = 5;

/// The hits of a key: a ring of times, in the entry or separate, or two counters.
#[derive(Debug)]
enum Hits {
    Few {
        first: u8,
        len: u8,
        times: [u32; FEW],
    },
    Ring {
        first: u16,
        len: u16,
        times: Box<[u32]>,
    },
    /// Hits of the current and of the previous window; the current one began at the time of the track.
    Counters {
        current: u32,
        previous: u32,
    },
}

impl Default for Hits {
    fn default() -> Hits {
        Hits::Few { first: 0, len: 0, times: [0; FEW] }
    }
}

impl Hits {
    /// Heap memory, in times.
    fn room(&self) -> usize {
        match self {
            Hits::Few { .. } | Hits::Counters { .. } => 0,
            Hits::Ring { times, .. } => times.len(),
        }
    }

    #[inline]
    fn ring(&self) -> Ring<'_> {
        match self {
            Hits::Few { first, len, times } => {
                Ring { times, first: usize::from(*first), len: usize::from(*len) }
            }
            Hits::Ring { first, len, times } => {
                Ring { times, first: usize::from(*first), len: usize::from(*len) }
            }
            Hits::Counters { .. } => Ring { times: &[], first: 0, len: 0 },
        }
    }

    /// Writes a time behind the `len` times from `first` on; there must be room. Returns the oldest time.
    #[inline]
    fn push(&mut self, time: u32, first: usize, len: usize) -> u32 {
        let times: &mut [u32] = match self {
            Hits::Few { first: old_first, len: old_len, times } => {
                (*old_first, *old_len) = (first as u8, len as u8 + 1);
                times
            }
            Hits::Ring { first: old_first, len: old_len, times } => {
                (*old_first, *old_len) = (first as u16, len as u16 + 1);
                times
            }
            Hits::Counters { .. } => &mut [],
        };
        let at = first + len;
        let at = if at < times.len() { at } else { at - times.len() };
        debug_assert!(at < times.len(), "room was made before");
        if let Some(place) = times.get_mut(at) {
            *place = time;
        }
        times.get(first).copied().unwrap_or(time)
    }
}

/// `len` times from `first` on, the oldest first, around the end.
#[derive(Clone, Copy)]
struct Ring<'a> {
    times: &'a [u32],
    first: usize,
    len: usize,
}

impl Ring<'_> {
    /// The index of a time, counted from the oldest one; `position` is at most the number of places.
    fn index(self, position: usize) -> usize {
        let at = self.first + position;
        if at < self.times.len() { at } else { at - self.times.len() }
    }

    /// The time at a position, counted from the oldest one.
    fn at(self, position: usize) -> Option<u32> {
        if position < self.len { self.times.get(self.index(position)).copied() } else { None }
    }

    #[inline]
    fn without_oldest(self) -> Self {
        Ring { first: self.index(1), len: self.len - 1, ..self }
    }

    #[inline]
    fn oldest(self) -> Option<u32> {
        if self.len > 0 { self.times.get(self.first).copied() } else { None }
    }

    /// The hits that are in the window.
    #[inline]
    fn within(mut self, window_ms: u64, now_ms: u64) -> Self {
        while self.oldest().is_some_and(|time| age(now_ms, time) >= window_ms) {
            self = self.without_oldest();
        }
        self
    }

    /// Twice the places, but no more than the limit needs.
    fn grown(self, limit: usize) -> Hits {
        let places = (2 * self.len).clamp(self.len + 1, limit.max(self.len + 1));
        let mut times = Vec::with_capacity(places);
        times.extend((0..self.len).filter_map(|position| self.at(position)));
        times.resize(places, 0);
        Hits::Ring { first: 0, len: self.len as u16, times: times.into_boxed_slice() }
    }
}

/// The state of a key.
#[derive(Debug, Default)]
struct Track {
    /// The newest hit, or the beginning of the current window of two counters, in milliseconds.
    at_ms: u64,
    hits: Hits,
}

impl Track {
    fn is_over(&self, window_ms: u64, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.at_ms) >= window_ms
    }

    /// Records a hit. Also returns by how many times the heap memory has grown.
    #[inline(always)]
    fn record(&mut self, limit: u32, window_ms: u64, now_ms: u64) -> (Answer, isize) {
        // Loops read their clocks independently: a hit never counts as earlier than the one recorded before it.
        let now_ms = now_ms.max(self.at_ms);
        let mut grown = 0;
        if self.is_over(window_ms, now_ms) || matches!(self.hits, Hits::Counters { .. }) {
            grown = self.replace(Hits::default());
        }
        self.at_ms = now_ms;
        let most = limit as usize;
        let mut ring = self.hits.ring().within(window_ms, now_ms);
        let before = ring.len;
        // Makes room for this hit among the newest ones: more than one time is dropped only after the limit was lowered.
        while ring.len >= most {
            ring = ring.without_oldest();
        }
        if ring.len == ring.times.len() {
            let larger = ring.grown(most);
            grown += self.replace(larger);
            ring = self.hits.ring();
        }
        let (first, len) = (ring.first, ring.len);
        let oldest = self.hits.push(now_ms as u32, first, len);
        let left = most - len - 1;
        let retry_after_ms = if left > 0 { 0 } else { window_ms.saturating_sub(age(now_ms, oldest)) };
        (Answer::Window { within: before < most, left: left as u32, retry_after_ms }, grown)
    }

    /// Replaces the hits; returns by how many times the heap memory has grown.
    fn replace(&mut self, hits: Hits) -> isize {
        let grown = hits.room() as isize - self.hits.room() as isize;
        self.hits = hits;
        grown
    }

    /// The answer to a hit that is not recorded.
    fn peek(&self, limit: u32, window_ms: u64, now_ms: u64) -> Answer {
        let now_ms = now_ms.max(self.at_ms);
        if let Hits::Counters { .. } = self.hits {
            let (left, retry_after_ms) = self.left_approximately(limit, window_ms, now_ms);
            return Answer::Window { within: retry_after_ms == 0, left, retry_after_ms };
        }
        let most = limit as usize;
        let len = match self.is_over(window_ms, now_ms) {
            true => 0,
            false => self.hits.ring().within(window_ms, now_ms).len,
        };
        let retry_after_ms = if len < most { 0 } else { self.until_one_leaves(most, window_ms, now_ms) };
        Answer::Window { within: len < most, left: most.saturating_sub(len) as u32, retry_after_ms }
    }

    /// Milliseconds until the limit-th newest hit leaves the window.
    fn until_one_leaves(&self, limit: usize, window_ms: u64, now_ms: u64) -> u64 {
        let ring = self.hits.ring();
        let deciding = ring.len.checked_sub(limit).and_then(|position| ring.at(position));
        deciding.map_or(0, |time| window_ms.saturating_sub(age(now_ms, time)))
    }

    /// Both counters and the beginning of the current window, at `now_ms`.
    fn counters(&self, window_ms: u64, now_ms: u64) -> (u32, u32, u64) {
        let Hits::Counters { current, previous } = self.hits else { return (0, 0, now_ms) };
        let passed = now_ms.saturating_sub(self.at_ms);
        if passed < window_ms {
            (current, previous, self.at_ms)
        } else if passed - window_ms < window_ms {
            (0, current, self.at_ms + window_ms)
        } else {
            (0, 0, now_ms)
        }
    }

    fn record_approximate(&mut self, limit: u32, window_ms: u64, now_ms: u64) -> Answer {
        let now_ms = now_ms.max(self.at_ms);
        let (current, previous, began_ms) = self.counters(window_ms, now_ms);
        let within = approximate_wait(current, previous, limit, window_ms, now_ms - began_ms) == 0;
        // No more is counted than the exact window would keep.
        let current = current.saturating_add(1).min(limit);
        self.hits = Hits::Counters { current, previous };
        self.at_ms = began_ms;
        let (left, retry_after_ms) = self.left_approximately(limit, window_ms, now_ms);
        Answer::Window { within, left, retry_after_ms }
    }

    /// Hits that are left, and how long until one more passes.
    fn left_approximately(&self, limit: u32, window_ms: u64, now_ms: u64) -> (u32, u64) {
        let now_ms = now_ms.max(self.at_ms);
        let (current, previous, began_ms) = self.counters(window_ms, now_ms);
        let passed = now_ms - began_ms;
        // A window has at most 31 bits and a counter 32. Hits of exactly one window ago have left.
        let weighted = u64::from(previous) * (window_ms - 1 - passed) / window_ms;
        let left = u64::from(limit).saturating_sub(u64::from(current) + weighted) as u32;
        (left, approximate_wait(current, previous, limit, window_ms, passed))
    }
}

/// The age of a time in milliseconds.
fn age(now_ms: u64, time: u32) -> u64 {
    u64::from((now_ms as u32).wrapping_sub(time))
}

/// Milliseconds until one more hit is within the limit, by two counters; `passed` milliseconds of the current window are over.
fn approximate_wait(current: u32, previous: u32, limit: u32, window_ms: u64, passed: u64) -> u64 {
    // A hit passes if previous * (window - 1 - passed) / window, rounded down, is at most the spare part of the limit.
    let until = |previous: u32, spare: u32| {
        let covered = ((u64::from(spare) + 1) * window_ms - 1) / u64::from(previous.max(1));
        (window_ms - 1).saturating_sub(covered)
    };
    match limit.checked_sub(current.saturating_add(1)) {
        Some(spare) if previous <= spare => 0,
        Some(spare) => until(previous, spare).saturating_sub(passed),
        None => window_ms - passed + until(current, limit.saturating_sub(1)),
    }
}

/// Sliding windows of one owner: a part of [`SharedWindows`].
#[derive(Debug)]
pub struct Windows {
    tracks: Recent<Track>,
    /// The number of times in rings, and its bound.
    times: usize,
    times_max: usize,
    dropped: u64,
}

impl Windows {
    /// Windows for at most `keys_max` keys, at least one.
    pub fn new(keys_max: usize) -> Windows {
        let times_max = keys_max.saturating_mul(TIMES_PER_KEY);
        Windows { tracks: Recent::new(keys_max), times: 0, times_max, dropped: 0 }
    }

    /// Records a hit, and returns whether it is within the limit. `key` is a keyed hash of everything that distinguishes
    /// keys; `now_ms` is of any clock that does not go back. No hit passes a limit of 0.
    #[inline(always)]
    pub fn record(&mut self, key: u64, limit: u32, window_ms: u64, now_ms: u64) -> Answer {
        if limit == 0 || limit > LIMIT_EXACT_MAX {
            // No hit passes a limit of 0 in either form.
            return self.record_approximate(key, limit, window_ms, now_ms);
        }
        let (answer, grown) = self.track(key).record(limit, window_ms.clamp(1, WINDOW_MS_MAX), now_ms);
        if grown != 0 {
            self.times = self.times.saturating_add_signed(grown);
            self.bound_times(key);
        }
        answer
    }

    /// Records a hit with two counters: the same memory for every limit, and an error of at most one window's share.
    pub fn record_approximate(&mut self, key: u64, limit: u32, window_ms: u64, now_ms: u64) -> Answer {
        let window_ms = window_ms.clamp(1, WINDOW_MS_MAX);
        if limit == 0 {
            return nothing_passes(window_ms);
        }
        let track = self.track(key);
        let (room, answer) = (track.hits.room(), track.record_approximate(limit, window_ms, now_ms));
        self.times -= room;
        answer
    }

    /// Whether a hit would be within the limit, without recording one. `left` counts the hits that would be.
    pub fn peek(&self, key: u64, limit: u32, window_ms: u64, now_ms: u64) -> Answer {
        let window_ms = window_ms.clamp(1, WINDOW_MS_MAX);
        if limit == 0 {
            return nothing_passes(window_ms);
        }
        let Some(track) = self.tracks.peek(key) else {
            return Answer::Window { within: true, left: limit, retry_after_ms: 0 };
        };
        track.peek(limit, window_ms, now_ms)
    }

    /// Removes a key. False if it is unknown.
    pub fn forget(&mut self, key: u64) -> bool {
        let Some(track) = self.tracks.remove(key) else { return false };
        self.times -= track.hits.room();
        true
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.tracks.len()
    }

    /// Whether nothing is counted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keys dropped because there were too many keys or times.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Heap bytes.
    pub fn heap_bytes(&self) -> usize {
        self.tracks.heap_bytes() + self.times * size_of::<u32>()
    }

    /// The track of a key; a new one may cost the least recently used key.
    #[inline]
    fn track(&mut self, key: u64) -> &mut Track {
        let place = self.tracks.mark_used(key).unwrap_or_else(|| self.add(key));
        self.tracks.at(place)
    }

    // A separate function: mostly the key is known.
    #[inline(never)]
    fn add(&mut self, key: u64) -> u32 {
        let (place, evicted) = self.tracks.add(key);
        if let Some(evicted) = evicted {
            self.times -= evicted.hits.room();
            self.dropped += 1;
        }
        place
    }

    /// Drops the least recently used keys while the rings are too many; never the key that was just used.
    fn bound_times(&mut self, key: u64) {
        while self.times > self.times_max {
            let Some(oldest) = self.tracks.oldest().filter(|oldest| *oldest != key) else { return };
            self.forget(oldest);
            self.dropped += 1;
        }
    }
}

fn nothing_passes(window_ms: u64) -> Answer {
    Answer::Window { within: false, left: 0, retry_after_ms: window_ms }
}

/// Sliding windows that all loops of a process count in.
#[derive(Debug)]
pub struct SharedWindows {
    shards: Shards<Windows>,
}

impl SharedWindows {
    /// Windows for about `keys_max` keys: each part gets a share, at least one key.
    pub fn new(keys_max: usize) -> SharedWindows {
        SharedWindows { shards: Shards::new(keys_max, Windows::new) }
    }

    /// As [`Windows::record`].
    pub fn record(&self, key: u64, limit: u32, window_ms: u64, now_ms: u64) -> Answer {
        self.shards.of(key).record(key, limit, window_ms, now_ms)
    }

    /// As [`Windows::record_approximate`].
    pub fn record_approximate(&self, key: u64, limit: u32, window_ms: u64, now_ms: u64) -> Answer {
        self.shards.of(key).record_approximate(key, limit, window_ms, now_ms)
    }

    /// As [`Windows::peek`].
    pub fn peek(&self, key: u64, limit: u32, window_ms: u64, now_ms: u64) -> Answer {
        self.shards.of(key).peek(key, limit, window_ms, now_ms)
    }

    /// As [`Windows::forget`].
    pub fn forget(&self, key: u64) -> bool {
        self.shards.of(key).forget(key)
    }

    /// Number of keys.
    pub fn len(&self) -> u64 {
        self.shards.sum(|windows| windows.len() as u64)
    }

    /// Whether nothing is counted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As [`Windows::dropped`].
    pub fn dropped(&self) -> u64 {
        self.shards.sum(Windows::dropped)
    }

    /// Heap bytes.
    pub fn heap_bytes(&self) -> u64 {
        self.shards.sum(|windows| windows.heap_bytes() as u64)
    }
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
