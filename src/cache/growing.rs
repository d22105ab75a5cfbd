//! Bodies that are being received: one writer, and readers that follow at their own speeds.
//!
//! What comes is received into the segment at the end. Small bodies of a known length are one exact allocation, others begin
//! with a page and double up to [`SEGMENT_BYTES`]. A complete one becomes a [`Body`].
//!
//! Where there are several loops, one of them receives, and the others follow it by [`Portion`]s: segments that are complete
//! are the same pages there, what has come of the last one is copied.

use super::body::{Body, Cursor, Filled, SEGMENT_BYTES, Segments};
use super::ledger::{Charge, Ledger};
use super::segment::{APART_BYTES_MIN, Segment};
use std::collections::VecDeque;
use std::sync::Arc;

/// First segment of a body whose length is not known (chosen: one page, one read).
const FIRST_BYTES: usize = 4096;

/// What has come of a body between two places, for who follows it elsewhere.
#[derive(Debug)]
pub struct Portion {
    from: Cursor,
    /// Segments that are complete, beginning with the one that `from` lies in.
    complete: Vec<Segment>,
    /// How large the one behind them is, and what has come of it.
    room: usize,
    tail: Box<[u8]>,
}

/// A body that is being received.
#[derive(Debug)]
pub struct Growing {
    segments: VecDeque<Segment>,
    /// Segments that were given up at the front.
    dropped: u32,
    /// Bytes in the last segment.
    tail: usize,
    len: u64,
    expected: Option<u64>,
    charge: Charge,
    /// It follows one that is received elsewhere: that one pays for the pages that both have.
    follows: bool,
}

impl Segments for Growing {
    fn dropped(&self) -> u32 {
        self.dropped
    }

    fn piece(&self, index: u32) -> Option<(&[u8], bool)> {
        let index = index.checked_sub(self.dropped)? as usize;
        let segment = self.segments.get(index)?;
        let last = index + 1 == self.segments.len();
        let len = if last { self.tail } else { segment.bytes().len() };
        Some((&segment.bytes()[..len], segment.is_apart()))
    }
}

impl Growing {
    /// An empty body, of which so many bytes are expected if that is known.
    pub fn new(ledger: &Arc<Ledger>, expected: Option<u64>) -> Growing {
        let charge = Charge::new(ledger, Body::bookkeeping(0));
        Growing { segments: VecDeque::new(), dropped: 0, tail: 0, len: 0, expected, charge, follows: false }
    }

    /// One that follows another one, which is received elsewhere: its segments are the same, so cursors are good for both.
    pub fn following(ledger: &Arc<Ledger>) -> Growing {
        Growing { follows: true, ..Growing::new(ledger, None) }
    }

    /// Bytes received.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was received.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How large the next segment is, if one is needed before more can be received.
    pub fn next_segment(&self) -> Option<usize> {
        if self.segments.back().is_some_and(|last| self.tail < last.bytes().len()) {
            return None;
        }
        Some(match self.expected {
            Some(expected) => {
                let left = usize::try_from(expected.saturating_sub(self.len)).unwrap_or(SEGMENT_BYTES);
                // What stays of a segment and a bit goes into that one segment.
                if left <= SEGMENT_BYTES + SEGMENT_BYTES / 8 { left.max(1) } else { SEGMENT_BYTES }
            }
            None => {
                let so_far =
                    u32::try_from(self.segments.len()).unwrap_or(u32::MAX).saturating_add(self.dropped);
                if so_far >= 4 { SEGMENT_BYTES } else { FIRST_BYTES << so_far }
            }
        })
    }

    /// Room to receive into: at least one byte.
    pub fn space(&mut self) -> &mut [u8] {
        if let Some(bytes) = self.next_segment() {
            // All of a body that is known to be large: its end is sent along with what lies before it.
            let apart = bytes >= APART_BYTES_MIN || self.expected >= Some(APART_BYTES_MIN as u64);
            self.push(Segment::new(bytes, apart));
            self.tail = 0;
        }
        match self.segments.back_mut() {
            Some(last) => last.space(self.tail),
            None => &mut [],
        }
    }

    /// Reports that the first `count` bytes of the space were filled.
    pub fn commit(&mut self, count: usize) {
        self.tail += count;
        self.len += count as u64;
    }

    /// See [`Body::slices`].
    pub fn slices<'a>(&'a self, cursor: Cursor, left: u64, out: &mut [&'a [u8]]) -> Filled {
        self.fill_slices(cursor, left, out)
    }

    /// See [`Body::advance`].
    pub fn advance(&self, cursor: Cursor, count: u64) -> Cursor {
        self.moved(cursor, count)
    }

    /// Whether there is anything behind the cursor.
    pub fn has_more(&self, cursor: Cursor) -> bool {
        let mut slices: [&[u8]; 2] = [&[]; 2];
        self.fill_slices(cursor, 1, &mut slices).bytes > 0
    }

    fn push(&mut self, segment: Segment) {
        self.charge.set(self.charge.bytes() + self.weight(&segment));
        self.segments.push_back(segment);
    }

    fn forget(&mut self, segment: Option<Segment>) {
        let freed = segment.map_or(0, |segment| self.weight(&segment));
        self.charge.set(self.charge.bytes().saturating_sub(freed));
    }

    fn weight(&self, segment: &Segment) -> usize {
        let shared = self.follows && segment.is_apart();
        size_of::<Segment>() + if shared { 0 } else { segment.footprint() }
    }

    /// The place behind all that has come: in the last segment, or in front of the next one.
    fn end(&self) -> Cursor {
        let count = self.dropped + self.segments.len() as u32;
        match self.segments.back() {
            Some(last) if self.tail < last.bytes().len() => {
                Cursor { segment: count - 1, offset: self.tail as u32 }
            }
            Some(_) | None => Cursor { segment: count, offset: 0 },
        }
    }

    /// What has come behind `from`, which moves behind it.
    pub fn portion(&self, from: &mut Cursor) -> Portion {
        let (begin, end) = (self.there(*from), self.end());
        let segments =
            || (begin.segment..).map_while(|index| self.segments.get((index - self.dropped) as usize));
        let complete: Vec<Segment> =
            segments().take((end.segment - begin.segment) as usize).map(Segment::share).collect();
        let last = segments().nth(complete.len()).map_or(&[][..], Segment::bytes);
        let known = if complete.is_empty() { begin.offset } else { 0 };
        let tail = last.get(known as usize..end.offset as usize).unwrap_or(&[]);
        *from = end;
        Portion { from: begin, complete, room: last.len(), tail: tail.into() }
    }

    /// Takes what has come elsewhere. False, and nothing is taken, if it does not begin where this ends.
    pub fn follow(&mut self, portion: &Portion) -> bool {
        if portion.from != self.end() {
            return false;
        }
        for segment in &portion.complete {
            if self.end().offset > 0 {
                // All of the segment that had come in part: nobody needs the copy of that any more.
                let part = self.segments.pop_back();
                self.len -= self.tail as u64;
                self.forget(part);
            }
            self.tail = segment.bytes().len();
            self.len += self.tail as u64;
            self.push(segment.share());
        }
        if !portion.tail.is_empty() {
            if self.end().offset == 0 {
                self.push(Segment::new(portion.room, false));
                self.tail = 0;
            }
            let space = self.segments.back_mut().map(|last| last.space(self.tail)).unwrap_or_default();
            let count = portion.tail.len().min(space.len());
            space[..count].copy_from_slice(&portion.tail[..count]);
            self.commit(count);
        }
        true
    }

    /// Bytes held now.
    pub fn held(&self) -> usize {
        self.charge.bytes()
    }

    /// Gives up what lies before the slowest reader's cursor: the body can no longer be stored.
    pub fn drop_before(&mut self, cursor: Cursor) {
        while self.dropped < cursor.segment && self.segments.len() > 1 {
            let first = self.segments.pop_front();
            self.dropped += 1;
            self.forget(first);
        }
    }

    /// The complete body. `None` if its beginning was given up. Cursors into the growing body are good for the complete
    /// one.
    pub fn finish(mut self) -> Option<Body> {
        if self.dropped > 0 {
            return None;
        }
        if let Some(last) = self.segments.pop_back() {
            self.segments.push_back(last.cut(self.tail));
        }
        Some(Body::of(self.segments, self.len, self.charge))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|index| (index % 251) as u8).collect()
    }

    pub fn fill(growing: &mut Growing, bytes: &[u8], piece: usize) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let space = growing.space();
            let count = space.len().min(piece).min(rest.len());
            space[..count].copy_from_slice(&rest[..count]);
            growing.commit(count);
            rest = &rest[count..];
        }
    }

    #[test]
    fn rule_48_readers_follow_a_growing_body_at_their_own_speeds() {
        let ledger = Arc::new(Ledger::default());
        let bytes = pattern(200_000);
        let mut growing = Growing::new(&ledger, None);
        let (mut fast, mut slow) = ((Cursor::default(), Vec::new()), (Cursor::default(), Vec::new()));
        for piece in bytes.chunks(777) {
            fill(&mut growing, piece, 100);
            for (reader, most) in [(&mut fast, u64::MAX), (&mut slow, 500)] {
                assert!(growing.has_more(reader.0));
                let mut slices: [&[u8]; 3] = [&[]; 3];
                let count = growing.slices(reader.0, most, &mut slices).bytes;
                reader.1.extend(slices.concat());
                reader.0 = growing.advance(reader.0, count);
            }
            assert!(!growing.has_more(fast.0) && growing.has_more(slow.0));
        }
        assert!(fast.1 == bytes && slow.1 == bytes[..slow.1.len()]);
        let body = growing.finish().unwrap();
        let mut rest = Vec::new();
        let mut slices: [&[u8]; 9] = [&[]; 9];
        while body.slices(slow.0, u64::MAX, &mut slices).bytes > 0 {
            slow.0 = body.advance(slow.0, slices.concat().len() as u64);
            rest.extend(slices.concat());
            slices = [&[]; 9];
        }
        assert!([slow.1, rest].concat() == bytes);
    }

    #[test]
    fn what_all_have_read_can_be_given_up() {
        let ledger = Arc::new(Ledger::default());
        let bytes = pattern(400_000);
        let mut growing = Growing::new(&ledger, None);
        let (mut cursor, mut out, mut most) = (Cursor::default(), Vec::new(), 0);
        for piece in bytes.chunks(10_000) {
            fill(&mut growing, piece, 4096);
            let mut slices: [&[u8]; 4] = [&[]; 4];
            let count = growing.slices(cursor, u64::MAX, &mut slices).bytes;
            out.extend(slices.concat());
            cursor = growing.advance(cursor, count);
            growing.drop_before(cursor);
            most = most.max(growing.held());
        }
        assert!(out == bytes && most < 2 * SEGMENT_BYTES + 8192, "{most}");
        assert!(growing.finish().is_none());
        assert_eq!(ledger.bytes(), 0);
    }

    /// One reader had all there was before there was another segment, the other one came to the same place later.
    #[test]
    fn what_is_given_up_is_behind_all_who_are_at_its_end() {
        let ledger = Arc::new(Ledger::default());
        let bytes = pattern(FIRST_BYTES + 100);
        let mut growing = Growing::new(&ledger, None);
        fill(&mut growing, &bytes[..FIRST_BYTES], FIRST_BYTES);
        let waits = growing.advance(Cursor::default(), FIRST_BYTES as u64);
        fill(&mut growing, &bytes[FIRST_BYTES..], 100);
        let comes = growing.advance(Cursor::default(), FIRST_BYTES as u64);
        assert_ne!(waits, comes);
        growing.drop_before(comes);
        for cursor in [waits, comes] {
            let mut slices: [&[u8]; 3] = [&[]; 3];
            assert!(growing.has_more(cursor));
            assert_eq!(growing.slices(cursor, u64::MAX, &mut slices).bytes, 100);
            assert!(slices.concat() == bytes[FIRST_BYTES..]);
            assert!(!growing.has_more(growing.advance(cursor, 100)));
        }
    }

    /// Bodies of a known and of an unknown length, received in pieces of any size, told in portions of any size, from the
    /// beginning or later, while readers there take what there is and let it be given up, or not.
    #[test]
    fn rule_48_a_body_is_followed_elsewhere_by_portions() {
        let bytes = pattern(300_000);
        for (expected, piece, every, gives_up) in [
            (None, 777, 1, false),
            (None, 4096, 7, true),
            (Some(300_000), 5000, 3, true),
            (Some(300_000), 65_536, 1, true),
            (Some(300_000), 70_000, 2, false),
            (None, 300_000, 1, false),
        ] {
            let what = format!("{expected:?} {piece} {every} {gives_up}");
            let ledger = Arc::new(Ledger::default());
            let mut growing = Growing::new(&ledger, expected);
            let mut following = Growing::following(&ledger);
            let (mut told, mut reader, mut got) = (Cursor::default(), Cursor::default(), Vec::new());
            for (number, piece) in bytes.chunks(piece).enumerate() {
                fill(&mut growing, piece, 3000);
                if number % every > 0 {
                    continue;
                }
                let portion = growing.portion(&mut told);
                assert!(following.follow(&portion), "{what}");
                assert_eq!(following.len(), growing.len(), "{what}");
                assert!(!following.follow(&portion), "{what}: what was told before");
                // No more than the beginning of a body, and the segment at its end.
                assert!(following.held() <= 2 * SEGMENT_BYTES, "{what}");
                while following.has_more(reader) {
                    let mut slices: [&[u8]; 2] = [&[]; 2];
                    let count = following.slices(reader, 50_000, &mut slices).bytes;
                    got.extend(slices.concat());
                    reader = following.advance(reader, count);
                }
                if gives_up {
                    following.drop_before(reader);
                    growing.drop_before(told);
                }
            }
            assert!(following.follow(&growing.portion(&mut told)), "{what}");
            let mut slices: [&[u8]; 9] = [&[]; 9];
            following.slices(reader, u64::MAX, &mut slices);
            got.extend(slices.concat());
            assert!(got == bytes, "{what}");
            drop(growing);
            drop(following);
            assert_eq!(ledger.bytes(), 0, "{what}");
        }
    }

    #[test]
    fn rule_48_a_place_in_what_is_followed_is_good_for_the_complete_body() {
        let ledger = Arc::new(Ledger::default());
        let bytes = pattern(200_000);
        let mut growing = Growing::new(&ledger, None);
        let mut following = Growing::following(&ledger);
        let mut told = Cursor::default();
        fill(&mut growing, &bytes[..150_001], 4096);
        assert!(following.follow(&growing.portion(&mut told)));
        let places: Vec<Cursor> =
            [0, 4096, 150_000, 150_001].iter().map(|&at| following.advance(Cursor::default(), at)).collect();
        fill(&mut growing, &bytes[150_001..], 4096);
        let body = growing.finish().unwrap();
        for (place, at) in places.into_iter().zip([0, 4096, 150_000, 150_001]) {
            let mut slices: [&[u8]; 12] = [&[]; 12];
            body.slices(place, u64::MAX, &mut slices);
            assert!(slices.concat() == bytes[at..], "{at}");
        }
    }
}
