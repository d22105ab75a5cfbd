//! The window through which a body passes that is not stored and has several readers: what turned out too large, or found the
//! store full.
//!
//! What all its readers have is given up, and the origin waits for them: but not for long for one of many. Where the store has
//! no room for a window, readers go on together, a segment at a time.

use super::Fills;
use super::coordination::send_to_loops;
use super::fill::FillId;
use crate::cache::body::{Cursor, SEGMENT_BYTES};
use crate::engine::context::Context;
use crate::engine::effect::Effect;

/// Bytes that a body may hold that is not to be stored and whose readers are behind (chosen: four segments).
pub(in crate::engine) const WINDOW_BYTES_MAX: usize = 256 * 1024;

/// Readers that are a window behind may hold up the others for so long in all, and for an eighth of the time that the
/// fill takes (chosen: who has merely not been looked at yet is behind for microseconds).
const HOLD_MS_MAX: u64 = 1000;

/// And for so long at a time, whatever others have done before (chosen: longer than anybody waits for a turn).
const HOLD_MS_MIN: u64 = 50;

/// What is not counted of each time (chosen: with several loops their turns come to that).
const HOLD_MS_FREE: u64 = 5;

/// For how long readers of a body have held others up.
#[derive(Debug, Default)]
pub(in crate::engine) struct Hold {
    began_ms: u64,
    /// Since when some do, if they do.
    since_ms: Option<u64>,
    /// For how long they did before.
    held_ms: u64,
}

impl Hold {
    /// Nobody does, of a body that began to come then.
    pub fn new(began_ms: u64) -> Hold {
        Hold { began_ms, ..Hold::default() }
    }

    /// Whether somebody does.
    pub fn is_on(&self) -> bool {
        self.since_ms.is_some()
    }

    /// Somebody does from now on. Returns for how long that may be.
    fn begin(&mut self, now_ms: u64) -> u64 {
        self.since_ms = Some(now_ms);
        let patience_ms = HOLD_MS_MAX + now_ms.saturating_sub(self.began_ms) / 8;
        patience_ms.saturating_sub(self.held_ms).max(HOLD_MS_MIN)
    }

    /// Nobody does any more.
    fn end(&mut self, now_ms: u64) {
        self.held_ms += self.lasted_ms(now_ms);
    }

    fn lasted_ms(&mut self, now_ms: u64) -> u64 {
        self.since_ms.take().map_or(0, |since_ms| now_ms.saturating_sub(since_ms + HOLD_MS_FREE))
    }

    /// Those who did are cut. For half of the time that they took others need not pay: who pauses for a moment is not cut for
    /// what one did who never read, and many of those together cannot hold up the rest for more than twice as long.
    fn cut(&mut self, now_ms: u64) {
        self.held_ms += self.lasted_ms(now_ms) / 2;
    }
}

/// How far readers are, in bytes of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Span {
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

    /// Readers in front of this place are as good as the slowest. The fastest is never one of them: where there is room for
    /// one segment only, all are in the same.
    fn too_slow_before(self) -> u64 {
        self.slowest.saturating_add(SEGMENT_BYTES as u64).min(self.fastest)
    }
}

impl Fills {
    /// Gives up what all readers have of a body that is not stored. When the window is full and one reader has everything,
    /// the slowest hold it up: they may do so for a while.
    pub(super) fn keep_window(&mut self, cx: &mut Context, id: FillId) {
        let Some(fill) = id.get_mut(&mut self.slab) else { return };
        // When nothing more comes it is as large as it gets, and may be worth keeping.
        if fill.storable || fill.has_failed() {
            return;
        }
        let places = || fill.readers.iter().map(|(_, reader)| (reader.payload, reader.cursor));
        let own = Span::of(places().map(|(payload, _)| payload));
        let kept_from: Option<(u64, Cursor)> =
            places().chain(fill.needed_elsewhere()).min_by_key(|(payload, _)| *payload);
        if let Some((_, cursor)) = kept_from {
            fill.stream.drop_before(cursor);
        }
        if let Some(cache) = &cx.settings.cache {
            fill.provide(&cache.store, cx.now);
        }
        if let Some(event) = own.and_then(|readers| fill.report_progress(readers)) {
            return send_to_loops(cx, fill.pending.hash(), event);
        }
        let Some(readers) = own.into_iter().chain(fill.subscribed_readers()).reduce(Span::with) else {
            return;
        };
        let starving = readers.fastest == fill.stream.len() && readers.slowest < readers.fastest;
        let Some(origin) = fill.origin else { return };
        let now_ms = cx.now_ms();
        match (fill.hold.is_on(), starving && !fill.wants_bytes()) {
            (false, true) => {
                let patience_ms = fill.hold.begin(now_ms);
                cx.set_timer(origin, patience_ms);
            }
            (true, false) => {
                fill.hold.end(now_ms);
                cx.set_timer(origin, cx.settings.timeouts.exchange_ms);
            }
            (false, false) | (true, true) => {}
        }
        let waits = !fill.wants_bytes();
        let waited = std::mem::replace(&mut fill.waits, waits);
        if waits {
            if fill.can_be_handed_over() {
                cx.send(Effect::HandOver(id));
            }
            return;
        }
        if waited && !fill.hold.is_on() {
            cx.set_timer(origin, cx.settings.timeouts.exchange_ms);
        }
        cx.wake(origin);
    }

    /// The slowest readers have held the others up for too long: they are cut, in whatever loop.
    pub(super) fn cut_slowest(&mut self, cx: &mut Context, id: FillId) {
        let Some(fill) = id.get_mut(&mut self.slab) else { return };
        fill.hold.cut(cx.now_ms());
        let own = Span::of(fill.readers.iter().map(|(_, reader)| reader.payload));
        let Some(readers) = own.into_iter().chain(fill.subscribed_readers()).reduce(Span::with) else {
            return;
        };
        let end = readers.too_slow_before();
        if let Some(event) = fill.publish_slow_readers(end) {
            send_to_loops(cx, fill.pending.hash(), event);
        }
        self.cut_before(cx, id, end);
    }

    /// A reader has sent something, and is so far now.
    pub fn note_place(
        &mut self,
        cx: &mut Context,
        id: FillId,
        place: usize,
        (payload, cursor): (u64, Cursor),
    ) {
        let Some(fill) = id.get_mut(&mut self.slab) else { return };
        if let Some(reader) = fill.readers.get_mut(place) {
            (reader.payload, reader.cursor) = (payload, cursor);
        }
        if !fill.storable {
            self.keep_window(cx, id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_48_who_has_everything_is_not_cut_with_the_slowest() {
        const SEGMENT: u64 = SEGMENT_BYTES as u64;
        for (places, too_slow) in [
            // The slowest lack the end of the one segment that there is.
            (&[SEGMENT - 2048, SEGMENT - 2048, SEGMENT][..], SEGMENT),
            (&[0, 1, SEGMENT], SEGMENT),
            // They are further behind: who is about as far goes with them.
            (&[SEGMENT, SEGMENT + 1, 4 * SEGMENT], 2 * SEGMENT),
            (&[0, 10 * SEGMENT], SEGMENT),
        ] {
            let span = Span::of(places.iter().copied()).unwrap();
            assert_eq!(span.too_slow_before(), too_slow, "{places:?}");
            assert!(span.slowest < too_slow && span.fastest >= too_slow, "{places:?}");
        }
    }

    #[test]
    fn rule_48_who_holds_others_up_is_cut_and_the_next_one_does_not_pay_for_all_of_that() {
        let mut hold = Hold::new(10_000);
        // A moment now and then, as if nothing were.
        for now_ms in (10_000..11_000).step_by(100) {
            assert!(!hold.is_on());
            assert!(hold.begin(now_ms) >= HOLD_MS_MAX, "{now_ms}");
            hold.end(now_ms + 4);
        }
        let mut now_ms = 11_000;
        let first = hold.begin(now_ms);
        assert!((1_120..1_130).contains(&first), "{first}");
        now_ms += first;
        hold.cut(now_ms);
        let second = hold.begin(now_ms);
        assert!(hold.is_on() && second > first / 2 && second < first, "{second}");
        // Any number of those who never read: twice as long in all, and a moment for each.
        let (mut sum, mut least) = (first, second);
        for _ in 0..10 {
            now_ms += least;
            sum += least;
            hold.cut(now_ms);
            least = hold.begin(now_ms);
        }
        let bound = 2 * (HOLD_MS_MAX + (now_ms - 10_000) / 8) + 10 * (HOLD_MS_MIN + HOLD_MS_FREE);
        assert!(sum < bound && (HOLD_MS_MIN..500).contains(&least), "{sum} of {bound}, {least}");
        // Much later there is patience again.
        hold.end(now_ms);
        assert!(hold.begin(now_ms + 60_000) > 5_000);
    }
}
