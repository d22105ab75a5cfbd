//! Bodies that are being received: one writer, and readers that follow at their own speeds.
//!
//! What comes is received into the segment at the end. Small bodies of a known length are one exact allocation, others begin
//! with a page and double up to [`SEGMENT_BYTES`]. A complete one becomes a [`Body`].
//!
//! Room for each segment is asked for before it is needed ([`StreamingBody::provide`]). Where there is none, the body waits until all
//! readers have what there is; then another segment takes the place of what was given up. So a body that has begun goes on, and
//! never holds more than it was given.
//!
//! Where there are several loops, one of them receives, and the others follow it by [`Portion`]s: segments that are complete
//! are the same pages there, what has come of the last one is copied.

use crate::cache::body::segment::{APART_BYTES_MIN, Segment};
use crate::cache::body::{Body, Cursor, Filled, SEGMENT_BYTES, Segments};
use crate::cache::store::memory_budget::{Charge, MemoryBudget, allocated};
use std::collections::VecDeque;
use std::sync::Arc;

/// First segment of a body whose length is not known (chosen: one page, one read).
const FIRST_BYTES: usize = 4096;

/// Largest segment of a body whose length is known: what stays of a full one and a bit goes into that one segment.
const LAST_BYTES_MAX: usize = SEGMENT_BYTES + SEGMENT_BYTES / 8;

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

/// Leave to have another segment of so many bytes.
#[derive(Debug)]
struct Room {
    bytes: usize,
    charge: Charge,
}

/// A body that is being received.
#[derive(Debug)]
pub struct StreamingBody {
    segments: VecDeque<Segment>,
    /// Segments that were given up at the front, and the bytes in them.
    dropped: u32,
    gone: u64,
    /// Bytes in the last segment.
    tail: usize,
    len: u64,
    expected: Option<u64>,
    /// The first segment holds at least so many bytes.
    first_bytes: usize,
    /// What lies in no pages of its own, and the bookkeeping; never less than `reserved`.
    charge: Charge,
    owed: usize,
    reserved: usize,
    /// Bytes that the segments take.
    held: usize,
    /// For the next segment.
    provided: Option<Room>,
    /// What was given up last: for the next one, if there is no other room.
    spare: Option<Room>,
}

impl Segments for StreamingBody {
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

impl StreamingBody {
    /// An empty body, of which so many bytes are expected if that is known. It takes what room it needs, whatever the budget
    /// says, unless that is provided.
    pub fn new(memory: &Arc<MemoryBudget>, expected: Option<u64>) -> StreamingBody {
        StreamingBody::with(Charge::new(memory, Body::bookkeeping(0)), expected)
    }

    fn with(charge: Charge, expected: Option<u64>) -> StreamingBody {
        StreamingBody {
            segments: VecDeque::new(),
            dropped: 0,
            gone: 0,
            tail: 0,
            len: 0,
            expected,
            first_bytes: 0,
            owed: Body::bookkeeping(0),
            reserved: 0,
            charge,
            held: 0,
            provided: None,
            spare: None,
        }
    }

    /// The same, if there is room for its first segment, which holds at least `first_bytes`: so many have come already.
    pub fn begin(
        memory: &Arc<MemoryBudget>,
        expected: Option<u64>,
        first_bytes: usize,
        admit: impl FnOnce(usize) -> Option<Charge>,
    ) -> Option<StreamingBody> {
        let mut stream = StreamingBody { first_bytes, ..StreamingBody::new(memory, expected) };
        let ready = expected == Some(0) || stream.provide(admit);
        ready.then_some(stream)
    }

    /// One that follows another one, which is received elsewhere: its segments are the same, so cursors are good for both. What
    /// it copies is covered by `reserve`.
    pub fn following(reserve: Charge) -> StreamingBody {
        let reserved = reserve.bytes();
        StreamingBody { reserved, ..StreamingBody::with(reserve, None) }
    }

    /// What one that follows a body of that length copies at most.
    pub fn copied_bytes(expected: Option<u64>) -> usize {
        let copied = match expected {
            Some(expected) => allocated(expected.min(LAST_BYTES_MAX as u64) as usize),
            // Those in front of the first that has pages of its own.
            None => allocated(SEGMENT_BYTES) + allocated(APART_BYTES_MIN),
        };
        Body::bookkeeping(0) + copied
    }

    /// Bytes received.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was received.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn has_room(&self) -> bool {
        self.segments.back().is_some_and(|last| self.tail < last.bytes().len())
    }

    /// How large the next segment is, if one is needed before more can be received.
    pub fn next_segment(&self) -> Option<usize> {
        if self.has_room() {
            return None;
        }
        Some(self.provided.as_ref().map_or_else(|| self.wanted(), |room| room.bytes))
    }

    fn wanted(&self) -> usize {
        let so_far = u32::try_from(self.segments.len()).unwrap_or(u32::MAX).saturating_add(self.dropped);
        let first_bytes = if so_far == 0 { self.first_bytes } else { 0 };
        match self.expected {
            Some(expected) => {
                let left = usize::try_from(expected.saturating_sub(self.len)).unwrap_or(usize::MAX);
                let bytes = if left <= LAST_BYTES_MAX { left.max(1) } else { SEGMENT_BYTES };
                bytes.max(first_bytes.min(left))
            }
            None if so_far >= 4 => SEGMENT_BYTES,
            None => (FIRST_BYTES << so_far).max(first_bytes),
        }
    }

    /// Whether a segment of that size has pages of its own: all of a body have that is known to be large, so that its end is
    /// sent along with what lies before it.
    fn is_apart(&self, bytes: usize) -> bool {
        bytes >= APART_BYTES_MIN || self.expected >= Some(APART_BYTES_MIN as u64)
    }

    /// Whether more can be received now.
    pub fn is_ready(&self) -> bool {
        self.has_room() || self.provided.is_some()
    }

    /// Asks for room for the next segment if one is needed; `admit` gets what it takes. Without, one as large as what was given
    /// up takes its place, if all was. False if nothing more can be received until then.
    pub fn provide(&mut self, admit: impl FnOnce(usize) -> Option<Charge>) -> bool {
        if self.is_ready() {
            return true;
        }
        let bytes = self.wanted();
        self.provided = match admit(Segment::cost(bytes, self.is_apart(bytes))) {
            Some(charge) => Some(Room { bytes, charge }),
            None if self.segments.is_empty() && self.dropped > 0 => {
                // What was given up may still be in a message to another loop, for a moment.
                let least = || Room { bytes: FIRST_BYTES, charge: self.charge.beside(FIRST_BYTES) };
                let room = self.spare.take().unwrap_or_else(least);
                Some(Room { bytes: bytes.min(room.bytes), ..room })
            }
            None => None,
        };
        self.provided.is_some()
    }

    /// Room to receive into: at least one byte.
    pub fn space(&mut self) -> &mut [u8] {
        if let Some(bytes) = self.next_segment() {
            if let Some(room) = self.provided.take() {
                self.charge.absorb(room.charge);
            }
            let apart = self.is_apart(bytes);
            let segment = Segment::new(bytes, apart, &mut self.charge);
            self.push(segment);
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

    /// The place `position` bytes from the start, if it was not given up.
    pub fn cursor(&self, position: u64) -> Cursor {
        self.moved(Cursor { segment: self.dropped, offset: 0 }, position.saturating_sub(self.gone))
    }

    /// Whether there is anything behind the cursor.
    pub fn has_more(&self, cursor: Cursor) -> bool {
        let mut slices: [&[u8]; 2] = [&[]; 2];
        self.fill_slices(cursor, 1, &mut slices).bytes > 0
    }

    fn push(&mut self, segment: Segment) {
        self.held += segment.footprint();
        self.owed += size_of::<Segment>() + segment.owed();
        self.segments.push_back(segment);
        self.charge.set(self.owed.max(self.reserved));
    }

    /// What it was charged comes back, if it is nobody else's.
    fn forget(&mut self, segment: Segment) -> Option<Charge> {
        let owed = segment.owed();
        self.held -= segment.footprint();
        self.owed -= size_of::<Segment>() + owed;
        let charge = if owed > 0 { Some(self.charge.split(owed)) } else { segment.reclaim() };
        self.charge.set(self.owed.max(self.reserved));
        charge
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
                self.len -= self.tail as u64;
                let part = self.segments.pop_back();
                part.and_then(|part| self.forget(part));
            }
            self.tail = segment.bytes().len();
            self.len += self.tail as u64;
            self.push(segment.share());
        }
        if !portion.tail.is_empty() {
            if self.end().offset == 0 {
                let segment = Segment::new(portion.room, false, &mut self.charge);
                self.push(segment);
                self.tail = 0;
            }
            let space = self.segments.back_mut().map(|last| last.space(self.tail)).unwrap_or_default();
            let count = portion.tail.len().min(space.len());
            space[..count].copy_from_slice(&portion.tail[..count]);
            self.commit(count);
        }
        true
    }

    /// Bytes that the segments take.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Gives up what lies before the slowest reader's cursor: the body can no longer be stored.
    pub fn drop_before(&mut self, cursor: Cursor) {
        while let Some(first) = self.segments.front() {
            let (len, is_last) = (first.bytes().len(), self.segments.len() == 1);
            let is_full = !is_last || self.tail == len;
            let is_read = self.dropped < cursor.segment
                || (self.dropped == cursor.segment && cursor.offset as usize >= len);
            if !(is_full && is_read) {
                return;
            }
            let Some(first) = self.segments.pop_front() else { return };
            self.dropped += 1;
            self.gone += len as u64;
            let given_up = self.forget(first).map(|charge| Room { bytes: len, charge });
            let kept = self.spare.take();
            self.spare = given_up.into_iter().chain(kept).max_by_key(|room| room.bytes);
        }
    }

    /// The complete body. `None` if its beginning was given up. Cursors into the streaming body are good for the complete
    /// one.
    pub fn finish(mut self) -> Option<Body> {
        if self.dropped > 0 {
            return None;
        }
        if let Some(last) = self.segments.pop_back() {
            self.segments.push_back(last.cut(self.tail, &mut self.charge));
        }
        Some(Body::of(self.segments, self.len, self.charge))
    }
}

#[cfg(test)]
pub(in crate::cache) mod tests {
    use super::*;

    pub fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|index| (index % 251) as u8).collect()
    }

    pub fn fill(stream: &mut StreamingBody, bytes: &[u8], piece: usize) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let space = stream.space();
            let count = space.len().min(piece).min(rest.len());
            space[..count].copy_from_slice(&rest[..count]);
            stream.commit(count);
            rest = &rest[count..];
        }
    }

    #[test]
    fn rule_48_readers_follow_a_growing_body_at_their_own_speeds() {
        let memory = Arc::new(MemoryBudget::default());
        let bytes = pattern(200_000);
        let mut stream = StreamingBody::new(&memory, None);
        let (mut fast, mut slow) = ((Cursor::default(), Vec::new()), (Cursor::default(), Vec::new()));
        for piece in bytes.chunks(777) {
            fill(&mut stream, piece, 100);
            for (reader, most) in [(&mut fast, u64::MAX), (&mut slow, 500)] {
                assert!(stream.has_more(reader.0));
                let mut slices: [&[u8]; 3] = [&[]; 3];
                let count = stream.slices(reader.0, most, &mut slices).bytes;
                reader.1.extend(slices.concat());
                reader.0 = stream.advance(reader.0, count);
            }
            assert!(!stream.has_more(fast.0) && stream.has_more(slow.0));
        }
        assert!(fast.1 == bytes && slow.1 == bytes[..slow.1.len()]);
        let body = stream.finish().unwrap();
        let mut rest = Vec::new();
        let mut slices: [&[u8]; 9] = [&[]; 9];
        while body.slices(slow.0, u64::MAX, &mut slices).bytes > 0 {
            slow.0 = body.advance(slow.0, slices.concat().len() as u64);
            rest.extend(slices.concat());
            slices = [&[]; 9];
        }
        assert!([slow.1, rest].concat() == bytes);
    }

    fn following(memory: &Arc<MemoryBudget>, expected: Option<u64>) -> StreamingBody {
        StreamingBody::following(Charge::new(memory, StreamingBody::copied_bytes(expected)))
    }

    /// Charges as long as there is room.
    fn within(memory: &Arc<MemoryBudget>, budget: usize) -> impl Fn(usize) -> Option<Charge> {
        move |bytes| (memory.bytes() + bytes <= budget).then(|| Charge::new(memory, bytes))
    }

    /// Bodies of any length in any budget that was enough for their beginning: they wait for their reader where there is no room,
    /// go on when it has everything, and never hold more than the budget, whatever else takes the room that they gave up.
    #[test]
    fn rule_57_a_body_that_has_begun_goes_on_within_what_it_was_given() {
        let bytes = pattern(400_000);
        for expected in [None, Some(400_000)] {
            for (budget, first) in
                [(70_000, 10), (100_000, 30_000), (140_000, 0), (300_000, 5000), (1 << 20, 0)]
            {
                let what = format!("{expected:?} {budget}");
                let memory = Arc::new(MemoryBudget::default());
                let admit = within(&memory, budget);
                let mut stream = StreamingBody::begin(&memory, expected, first, &admit).expect(&what);
                let (mut at, mut cursor, mut got, mut others) =
                    (0, Cursor::default(), Vec::new(), Vec::new());
                let mut waits = 0;
                while got.len() < bytes.len() {
                    while at < bytes.len() && stream.provide(&admit) {
                        let space = stream.space();
                        let count = space.len().min(bytes.len() - at).min(5000);
                        space[..count].copy_from_slice(&bytes[at..at + count]);
                        stream.commit(count);
                        at += count;
                        assert!(memory.bytes() <= budget + 1000, "{what}: {}", memory.bytes());
                    }
                    waits += usize::from(at < bytes.len());
                    assert!(stream.has_more(cursor), "{what}: stuck at {at}");
                    while stream.has_more(cursor) {
                        let mut slices: [&[u8]; 2] = [&[]; 2];
                        let count = stream.slices(cursor, 20_000, &mut slices).bytes;
                        got.extend(slices.concat());
                        cursor = stream.advance(cursor, count);
                        assert_eq!(stream.cursor(got.len() as u64), stream.advance(cursor, 0));
                        stream.drop_before(cursor);
                    }
                    // Somebody else takes all that was given up.
                    let left = budget.saturating_sub(memory.bytes());
                    others.extend(admit(left));
                    assert!(memory.bytes() <= budget + 1000, "{what}");
                }
                assert!(got == bytes, "{what}");
                assert_eq!(waits > 1, budget < 400_000, "{what}: {waits}");
                drop((stream, others));
                assert_eq!(memory.bytes(), 0, "{what}");
            }
        }
        let memory = Arc::new(MemoryBudget::default());
        assert!(StreamingBody::begin(&memory, Some(400_000), 0, within(&memory, 60_000)).is_none());
        assert!(StreamingBody::begin(&memory, None, 60_000, within(&memory, 60_000)).is_none());
        assert!(StreamingBody::begin(&memory, Some(0), 100, |_| None).is_some(), "there is nothing to come");
        assert_eq!(memory.bytes(), 0);
    }

    #[test]
    fn what_all_have_read_can_be_given_up() {
        let memory = Arc::new(MemoryBudget::default());
        let bytes = pattern(400_000);
        let mut stream = StreamingBody::new(&memory, None);
        let (mut cursor, mut out, mut most) = (Cursor::default(), Vec::new(), 0);
        for piece in bytes.chunks(10_000) {
            fill(&mut stream, piece, 4096);
            let mut slices: [&[u8]; 4] = [&[]; 4];
            let count = stream.slices(cursor, u64::MAX, &mut slices).bytes;
            out.extend(slices.concat());
            cursor = stream.advance(cursor, count);
            stream.drop_before(cursor);
            most = most.max(stream.held());
        }
        assert!(out == bytes && most < 2 * SEGMENT_BYTES + 8192, "{most}");
        assert!(stream.finish().is_none());
        assert_eq!(memory.bytes(), 0);
    }

    /// One reader had all there was before there was another segment, the other one came to the same place later.
    #[test]
    fn what_is_given_up_is_behind_all_who_are_at_its_end() {
        let memory = Arc::new(MemoryBudget::default());
        let bytes = pattern(FIRST_BYTES + 100);
        let mut stream = StreamingBody::new(&memory, None);
        fill(&mut stream, &bytes[..FIRST_BYTES], FIRST_BYTES);
        let waits = stream.advance(Cursor::default(), FIRST_BYTES as u64);
        fill(&mut stream, &bytes[FIRST_BYTES..], 100);
        let comes = stream.advance(Cursor::default(), FIRST_BYTES as u64);
        assert_ne!(waits, comes);
        stream.drop_before(comes);
        for cursor in [waits, comes] {
            let mut slices: [&[u8]; 3] = [&[]; 3];
            assert!(stream.has_more(cursor));
            assert_eq!(stream.slices(cursor, u64::MAX, &mut slices).bytes, 100);
            assert!(slices.concat() == bytes[FIRST_BYTES..]);
            assert!(!stream.has_more(stream.advance(cursor, 100)));
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
            let memory = Arc::new(MemoryBudget::default());
            let mut stream = StreamingBody::new(&memory, expected);
            let mut following = following(&memory, expected);
            let (mut told, mut reader, mut got) = (Cursor::default(), Cursor::default(), Vec::new());
            for (number, piece) in bytes.chunks(piece).enumerate() {
                fill(&mut stream, piece, 3000);
                if number % every > 0 {
                    continue;
                }
                let portion = stream.portion(&mut told);
                assert!(following.follow(&portion), "{what}");
                assert_eq!(following.len(), stream.len(), "{what}");
                assert!(!following.follow(&portion), "{what}: what was told before");
                // Pages that both have are charged once; what is copied was reserved.
                let most = stream.len() as usize + StreamingBody::copied_bytes(expected) + 2 * SEGMENT_BYTES;
                assert!(memory.bytes() <= most, "{what}");
                while following.has_more(reader) {
                    let mut slices: [&[u8]; 2] = [&[]; 2];
                    let count = following.slices(reader, 50_000, &mut slices).bytes;
                    got.extend(slices.concat());
                    reader = following.advance(reader, count);
                }
                if gives_up {
                    following.drop_before(reader);
                    stream.drop_before(told);
                }
            }
            assert!(following.follow(&stream.portion(&mut told)), "{what}");
            let mut slices: [&[u8]; 9] = [&[]; 9];
            following.slices(reader, u64::MAX, &mut slices);
            got.extend(slices.concat());
            assert!(got == bytes, "{what}");
            drop(stream);
            drop(following);
            assert_eq!(memory.bytes(), 0, "{what}");
        }
    }

    #[test]
    fn rule_48_a_place_in_what_is_followed_is_good_for_the_complete_body() {
        let memory = Arc::new(MemoryBudget::default());
        let bytes = pattern(200_000);
        let mut stream = StreamingBody::new(&memory, None);
        let mut following = following(&memory, None);
        let mut told = Cursor::default();
        fill(&mut stream, &bytes[..150_001], 4096);
        assert!(following.follow(&stream.portion(&mut told)));
        let places: Vec<Cursor> =
            [0, 4096, 150_000, 150_001].iter().map(|&at| following.advance(Cursor::default(), at)).collect();
        fill(&mut stream, &bytes[150_001..], 4096);
        let body = stream.finish().unwrap();
        for (place, at) in places.into_iter().zip([0, 4096, 150_000, 150_001]) {
            let mut slices: [&[u8]; 12] = [&[]; 12];
            body.slices(place, u64::MAX, &mut slices);
            assert!(slices.concat() == bytes[at..], "{at}");
        }
    }
}
