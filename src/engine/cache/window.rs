//! The window for a body that is not stored and has several readers: a body that is too large, or found the store full.
//!
//! Bytes that all readers have sent are dropped, and the origin waits for the slowest reader, but not for long if others are
//! faster. If the store has no room for a window, readers continue together, a segment at a time.

use super::Fills;
use crate::cache::body::Cursor;
use crate::cache::fill::shared_fill::Span;
use crate::engine::context::Context;
use crate::engine::effect::Effect;
use crate::engine::ids::FillId;

impl Fills {
    /// Drops the bytes that all readers of an unstored body have sent. If the window is full and one reader has sent
    /// everything, the slowest delay it: they may do so for a while.
    pub(super) fn keep_window(&mut self, cx: &mut Context, id: FillId) {
        let Some(fill) = id.get_mut(&mut self.slab) else { return };
        // A body that has ended does not grow, and may be worth keeping.
        if fill.storable || fill.has_failed() {
            return;
        }
        let places = || fill.readers.iter().map(|(_, reader)| (reader.payload, reader.cursor));
        let own = Span::of(places().map(|(payload, _)| payload));
        let in_other_loops = fill.readers_in_other_loops();
        let unread = in_other_loops.map(|readers| (readers.slowest, fill.stream.cursor(readers.slowest)));
        let kept_from: Option<(u64, Cursor)> = places().chain(unread).min_by_key(|(payload, _)| *payload);
        if let Some((_, cursor)) = kept_from {
            fill.drop_before(cursor);
        }
        if let Some(cache) = &cx.settings.cache {
            fill.provide(&cache.store, cx.now);
        }
        if let Some(event) = own.and_then(|readers| fill.report_progress(readers)) {
            return cx.send_to_loops(fill.hash, event);
        }
        let Some(readers) = own.into_iter().chain(in_other_loops).reduce(Span::with) else { return };
        let starving = readers.fastest == fill.stream.len() && readers.slowest < readers.fastest;
        let Some(upstream) = fill.upstream else { return };
        let now_ms = cx.now_ms();
        match (fill.hold.is_on(), starving && !fill.wants_bytes()) {
            (false, true) => {
                let patience_ms = fill.hold.begin(now_ms);
                cx.set_timer(upstream, patience_ms);
            }
            (true, false) => {
                fill.hold.end(now_ms);
                cx.set_timer(upstream, cx.settings.timeouts.exchange_ms);
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
            cx.set_timer(upstream, cx.settings.timeouts.exchange_ms);
        }
        cx.wake(upstream);
    }

    /// The slowest readers have delayed the others for too long: they are cut, in any loop.
    pub(super) fn cut_slowest(&mut self, cx: &mut Context, id: FillId) {
        let Some(fill) = id.get_mut(&mut self.slab) else { return };
        fill.hold.cut(cx.now_ms());
        let own = Span::of(fill.readers.iter().map(|(_, reader)| reader.payload));
        let Some(readers) = own.into_iter().chain(fill.readers_in_other_loops()).reduce(Span::with) else {
            return;
        };
        let end = readers.too_slow_before();
        if let Some(event) = fill.publish_slow_readers(end) {
            cx.send_to_loops(fill.hash, event);
        }
        self.cut_before(cx, id, end);
    }

    /// Records the position of a reader after bytes were sent.
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
    use crate::cache::body::SEGMENT_BYTES;

    #[test]
    fn rule_48_who_has_everything_is_not_cut_with_the_slowest() {
        const SEGMENT: u64 = SEGMENT_BYTES as u64;
        for (places, too_slow) in [
            // The slowest lack the end of the only segment.
            (&[SEGMENT - 2048, SEGMENT - 2048, SEGMENT][..], SEGMENT),
            (&[0, 1, SEGMENT], SEGMENT),
            // The slowest are further behind: readers at nearly their position count with them.
            (&[SEGMENT, SEGMENT + 1, 4 * SEGMENT], 2 * SEGMENT),
            (&[0, 10 * SEGMENT], SEGMENT),
        ] {
            let span = Span::of(places.iter().copied()).unwrap();
            assert_eq!(span.too_slow_before(), too_slow, "{places:?}");
            assert!(span.slowest < too_slow && span.fastest >= too_slow, "{places:?}");
        }
    }
}
