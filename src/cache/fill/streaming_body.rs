//! A body that is being received: one writer, and readers that follow at their own speeds.
//!
//! Received bytes go into the last segment. A small body of known length is one allocation of that size. Other bodies
//! begin with one page, and each segment is twice as large as the one before, up to [`SEGMENT_BYTES`]. A complete
//! streaming body becomes a [`Body`].
//!
//! Memory for a segment is reserved before the segment is needed ([`StreamingBody::reserve_segment`]). If the budget
//! has none, the body waits until all readers have read everything; then the next segment takes the memory of a
//! dropped one. A body that has begun always continues, and never holds more than it was granted.
//!
//! With several loops, one loop receives a body, and each other loop has a replica that follows it
//! ([`StreamingBody::follow`]): mapped segments are shared; the bytes of the incomplete last segment are copied.
//!
//! States: *can receive* (free space in the last segment, or a reservation), *needs a segment* (`reserve_segment`
//! leads back, or fails until readers have caught up), *finished* (a [`Body`]). [`StreamingBody::drop_before`] makes
//! a body that can no longer be finished.

use crate::cache::body::segment::{MAPPED_BYTES_MIN, Segment};
use crate::cache::body::{Body, Cursor, Filled, SEGMENT_BYTES, Segments};
use crate::cache::store::memory_budget::{Charge, MemoryBudget, allocated};
use std::collections::VecDeque;
use std::sync::Arc;

/// The first segment of a body of unknown length (chosen: one page, one read).
const FIRST_BYTES: usize = 4096;

/// The largest segment of a body of known length: a short rest goes into the segment before it.
const LAST_BYTES_MAX: usize = SEGMENT_BYTES + SEGMENT_BYTES / 8;

/// A granted reservation for one segment of that size.
#[derive(Debug)]
struct Reservation {
    bytes: usize,
    charge: Charge,
}

/// A body that is being received.
#[derive(Debug)]
pub struct StreamingBody {
    segments: VecDeque<Segment>,
    /// Segments that were dropped at the front, and the bytes in them.
    dropped_segments: u32,
    dropped_bytes: u64,
    /// Bytes received into the last segment.
    tail_len: usize,
    len: u64,
    expected: Option<u64>,
    /// The least size of the first segment.
    first_bytes: usize,
    /// Covers heap memory and bookkeeping; never less than `reserved_bytes`.
    charge: Charge,
    heap_bytes: usize,
    reserved_bytes: usize,
    /// Bytes that the segments take.
    held_bytes: usize,
    /// The reservation for the next segment.
    reservation: Option<Reservation>,
    /// The memory of the largest segment that was dropped: for the next segment, if the budget grants none.
    spare: Option<Reservation>,
}

impl Segments for StreamingBody {
    fn dropped_segments(&self) -> u32 {
        self.dropped_segments
    }

    fn segment_at(&self, index: u32) -> Option<(&[u8], bool)> {
        let index = index.checked_sub(self.dropped_segments)? as usize;
        let segment = self.segments.get(index)?;
        let last = index + 1 == self.segments.len();
        let len = if last { self.tail_len } else { segment.bytes().len() };
        Some((&segment.bytes()[..len], segment.is_mapped()))
    }
}

impl StreamingBody {
    /// An empty body; `expected` is its length if known. The body takes memory whatever the budget says, unless
    /// segments are reserved.
    pub fn new(memory: &Arc<MemoryBudget>, expected: Option<u64>) -> StreamingBody {
        StreamingBody::with(Charge::new(memory, Body::overhead_bytes(0)), expected)
    }

    fn with(charge: Charge, expected: Option<u64>) -> StreamingBody {
        StreamingBody {
            segments: VecDeque::new(),
            dropped_segments: 0,
            dropped_bytes: 0,
            tail_len: 0,
            len: 0,
            expected,
            first_bytes: 0,
            heap_bytes: Body::overhead_bytes(0),
            reserved_bytes: 0,
            charge,
            held_bytes: 0,
            reservation: None,
            spare: None,
        }
    }

    /// An empty body with a reservation for its first segment. That segment has space for at least `first_bytes`
    /// bytes, which were received already. `None` if the reservation is not granted.
    pub fn try_new(
        memory: &Arc<MemoryBudget>,
        expected: Option<u64>,
        first_bytes: usize,
        admit: impl FnOnce(usize) -> Option<Charge>,
    ) -> Option<StreamingBody> {
        let mut stream = StreamingBody { first_bytes, ..StreamingBody::new(memory, expected) };
        let ready = expected == Some(0) || stream.reserve_segment(admit);
        ready.then_some(stream)
    }

    /// A replica of a body that another loop receives. Both have equal segments, so cursors are valid in both.
    /// `reserve` covers the bytes that the replica copies.
    pub fn replica(reserve: Charge) -> StreamingBody {
        let reserved_bytes = reserve.bytes();
        StreamingBody { reserved_bytes, ..StreamingBody::with(reserve, None) }
    }

    /// The most bytes that a replica of a body of that length copies.
    pub fn replica_bytes_max(expected: Option<u64>) -> usize {
        let copied = match expected {
            Some(expected) => allocated(expected.min(LAST_BYTES_MAX as u64) as usize),
            // The segments before the first mapped one.
            None => allocated(SEGMENT_BYTES) + allocated(MAPPED_BYTES_MIN),
        };
        Body::overhead_bytes(0) + copied
    }

    /// Bytes received.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing has been received.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn has_room(&self) -> bool {
        self.segments.back().is_some_and(|last| self.tail_len < last.bytes().len())
    }

    /// Size of the next segment, if a segment is needed before more can be received.
    pub fn next_segment(&self) -> Option<usize> {
        if self.has_room() {
            return None;
        }
        Some(self.reservation.as_ref().map_or_else(|| self.planned_segment_bytes(), |room| room.bytes))
    }

    fn planned_segment_bytes(&self) -> usize {
        let so_far =
            u32::try_from(self.segments.len()).unwrap_or(u32::MAX).saturating_add(self.dropped_segments);
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

    /// Whether a segment of that size is a mapping. All segments of a large body of known length are mappings, so
    /// that the last one is sent together with those before it.
    fn is_mapped(&self, bytes: usize) -> bool {
        bytes >= MAPPED_BYTES_MIN || self.expected >= Some(MAPPED_BYTES_MIN as u64)
    }

    /// Whether bytes can be received now.
    pub fn can_receive(&self) -> bool {
        self.has_room() || self.reservation.is_some()
    }

    /// Reserves memory for the next segment if one is needed; `admit` is called with its cost. If `admit` refuses and
    /// all segments were dropped, the next segment takes the memory of a dropped one. False if nothing can be
    /// received until readers have caught up.
    pub fn reserve_segment(&mut self, admit: impl FnOnce(usize) -> Option<Charge>) -> bool {
        if self.can_receive() {
            return true;
        }
        let bytes = self.planned_segment_bytes();
        self.reservation = match admit(Segment::cost(bytes, self.is_mapped(bytes))) {
            Some(charge) => Some(Reservation { bytes, charge }),
            None if self.segments.is_empty() && self.dropped_segments > 0 => {
                // The dropped memory may still be part of a replica in another loop, for a moment.
                let least = || Reservation { bytes: FIRST_BYTES, charge: self.charge.sibling(FIRST_BYTES) };
                let room = self.spare.take().unwrap_or_else(least);
                Some(Reservation { bytes: bytes.min(room.bytes), ..room })
            }
            None => None,
        };
        self.reservation.is_some()
    }

    /// The space to receive into: at least one byte.
    pub fn space(&mut self) -> &mut [u8] {
        if let Some(bytes) = self.next_segment() {
            if let Some(room) = self.reservation.take() {
                self.charge.absorb(room.charge);
            }
            let mapped = self.is_mapped(bytes);
            let segment = Segment::new(bytes, mapped, &mut self.charge);
            self.push_segment(segment);
            self.tail_len = 0;
        }
        match self.segments.back_mut() {
            Some(last) => last.space(self.tail_len),
            None => &mut [],
        }
    }

    /// Reports that the first `count` bytes of the space were filled.
    pub fn commit(&mut self, count: usize) {
        self.tail_len += count;
        self.len += count as u64;
    }

    /// See [`Body::slices`].
    pub fn slices<'a>(&'a self, cursor: Cursor, left: u64, out: &mut [&'a [u8]]) -> Filled {
        self.fill_slices(cursor, left, out)
    }

    /// See [`Body::advance`].
    pub fn advance(&self, cursor: Cursor, count: u64) -> Cursor {
        self.advanced(cursor, count)
    }

    /// The cursor `position` bytes from the start, if these bytes were not dropped.
    pub fn cursor(&self, position: u64) -> Cursor {
        self.advanced(
            Cursor { segment: self.dropped_segments, offset: 0 },
            position.saturating_sub(self.dropped_bytes),
        )
    }

    /// Whether there are received bytes behind the cursor.
    pub fn has_more(&self, cursor: Cursor) -> bool {
        let mut slices: [&[u8]; 2] = [&[]; 2];
        self.fill_slices(cursor, 1, &mut slices).bytes > 0
    }

    fn push_segment(&mut self, segment: Segment) {
        self.held_bytes += segment.footprint();
        self.heap_bytes += size_of::<Segment>() + segment.heap_bytes();
        self.segments.push_back(segment);
        self.charge.set(self.heap_bytes.max(self.reserved_bytes));
    }

    /// Subtracts a dropped segment, and returns its charge if no other body shares it.
    fn uncharge(&mut self, segment: Segment) -> Option<Charge> {
        let heap_bytes = segment.heap_bytes();
        self.held_bytes -= segment.footprint();
        self.heap_bytes -= size_of::<Segment>() + heap_bytes;
        let charge = if heap_bytes > 0 { Some(self.charge.split(heap_bytes)) } else { segment.reclaim() };
        self.charge.set(self.heap_bytes.max(self.reserved_bytes));
        charge
    }

    /// The cursor behind all received bytes: in the last segment, or at the beginning of the next one.
    fn end_cursor(&self) -> Cursor {
        let count = self.dropped_segments + self.segments.len() as u32;
        match self.segments.back() {
            Some(last) if self.tail_len < last.bytes().len() => {
                Cursor { segment: count - 1, offset: self.tail_len as u32 }
            }
            Some(_) | None => Cursor { segment: count, offset: 0 },
        }
    }

    /// Appends what `other` has received and this replica lacks: mappings are shared, other bytes copied. False, and nothing
    /// is appended, if `other` has dropped some of that.
    pub fn follow(&mut self, other: &StreamingBody) -> bool {
        let (begin, end) = (self.end_cursor(), other.end_cursor());
        let Some(known) = begin.segment.checked_sub(other.dropped_segments) else { return false };
        for (index, segment) in (begin.segment..).zip(other.segments.iter().skip(known as usize)) {
            let is_partial = self.end_cursor().offset > 0;
            if index < end.segment {
                if is_partial {
                    // The partial copy is not needed any more.
                    self.len -= self.tail_len as u64;
                    let part = self.segments.pop_back();
                    part.and_then(|part| self.uncharge(part));
                }
                self.push_segment(segment.share());
                self.tail_len = 0;
                self.commit(segment.bytes().len());
                continue;
            }
            if other.tail_len == 0 {
                break;
            }
            if !is_partial {
                let segment = Segment::new(segment.bytes().len(), false, &mut self.charge);
                self.push_segment(segment);
                self.tail_len = 0;
            }
            let new = segment.bytes().get(self.tail_len..other.tail_len).unwrap_or(&[]);
            let space = self.segments.back_mut().map(|last| last.space(self.tail_len)).unwrap_or_default();
            let count = new.len().min(space.len());
            space[..count].copy_from_slice(&new[..count]);
            self.commit(count);
        }
        true
    }

    /// Bytes that the segments take.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Drops the segments before the cursor of the slowest reader. After that the body cannot be stored.
    pub fn drop_before(&mut self, cursor: Cursor) {
        while let Some(first) = self.segments.front() {
            let (len, is_last) = (first.bytes().len(), self.segments.len() == 1);
            let is_full = !is_last || self.tail_len == len;
            let is_read = self.dropped_segments < cursor.segment
                || (self.dropped_segments == cursor.segment && cursor.offset as usize >= len);
            if !(is_full && is_read) {
                return;
            }
            let Some(first) = self.segments.pop_front() else { return };
            self.dropped_segments += 1;
            self.dropped_bytes += len as u64;
            let given_up = self.uncharge(first).map(|charge| Reservation { bytes: len, charge });
            let kept = self.spare.take();
            self.spare = given_up.into_iter().chain(kept).max_by_key(|room| room.bytes);
        }
    }

    /// The complete body. `None` if its beginning was dropped. Cursors stay valid.
    pub fn finish(mut self) -> Option<Body> {
        if self.dropped_segments > 0 {
            return None;
        }
        if let Some(last) = self.segments.pop_back() {
            self.segments.push_back(last.truncate(self.tail_len, &mut self.charge));
        }
        Some(Body::from_segments(self.segments, self.len, self.charge))
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

    fn replica(memory: &Arc<MemoryBudget>, expected: Option<u64>) -> StreamingBody {
        StreamingBody::replica(Charge::new(memory, StreamingBody::replica_bytes_max(expected)))
    }

    /// Grants charges within the budget.
    fn within(memory: &Arc<MemoryBudget>, budget: usize) -> impl Fn(usize) -> Option<Charge> {
        move |bytes| (memory.bytes() + bytes <= budget).then(|| Charge::new(memory, bytes))
    }

    /// Bodies of any length in any budget that sufficed for their first segment: without room they wait for their
    /// reader, they continue when it has read everything, and they never exceed the budget, even if other bodies take
    /// all the memory that they dropped.
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
                let mut stream = StreamingBody::try_new(&memory, expected, first, &admit).expect(&what);
                let (mut at, mut cursor, mut got, mut others) =
                    (0, Cursor::default(), Vec::new(), Vec::new());
                let mut waits = 0;
                while got.len() < bytes.len() {
                    while at < bytes.len() && stream.reserve_segment(&admit) {
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
                    // Other bodies take all the dropped memory.
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
        assert!(StreamingBody::try_new(&memory, Some(400_000), 0, within(&memory, 60_000)).is_none());
        assert!(StreamingBody::try_new(&memory, None, 60_000, within(&memory, 60_000)).is_none());
        assert!(
            StreamingBody::try_new(&memory, Some(0), 100, |_| None).is_some(),
            "there is nothing to come"
        );
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
            most = most.max(stream.held_bytes());
        }
        assert!(out == bytes && most < 2 * SEGMENT_BYTES + 8192, "{most}");
        assert!(stream.finish().is_none());
        assert_eq!(memory.bytes(), 0);
    }

    /// One reader had read everything before there was a second segment; the other one reaches the same position
    /// later.
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

    /// Bodies of known and unknown length, received and followed in pieces of any size; readers of the replica read, and
    /// segments are dropped behind them, or not. A replica that begins when segments were dropped gets nothing.
    #[test]
    fn rule_48_a_body_is_followed_in_other_loops_piece_by_piece() {
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
            let mut replica = replica(&memory, expected);
            let (mut reader, mut got) = (Cursor::default(), Vec::new());
            for (number, piece) in bytes.chunks(piece).enumerate() {
                fill(&mut stream, piece, 3000);
                if number % every > 0 {
                    continue;
                }
                // A segment without bytes is nothing to follow.
                stream.space();
                for _ in 0..2 {
                    assert!(replica.follow(&stream), "{what}");
                    assert_eq!(replica.len(), stream.len(), "{what}");
                }
                // Shared mappings are charged once; copied bytes were reserved.
                let most =
                    stream.len() as usize + StreamingBody::replica_bytes_max(expected) + 2 * SEGMENT_BYTES;
                assert!(memory.bytes() <= most, "{what}");
                while replica.has_more(reader) {
                    let mut slices: [&[u8]; 2] = [&[]; 2];
                    let count = replica.slices(reader, 50_000, &mut slices).bytes;
                    got.extend(slices.concat());
                    reader = replica.advance(reader, count);
                }
                if gives_up {
                    replica.drop_before(reader);
                    stream.drop_before(reader);
                }
            }
            assert!(replica.follow(&stream), "{what}");
            let mut slices: [&[u8]; 9] = [&[]; 9];
            replica.slices(reader, u64::MAX, &mut slices);
            got.extend(slices.concat());
            assert!(got == bytes, "{what}");
            let mut late = StreamingBody::replica(Charge::new(&memory, 0));
            assert_eq!((late.follow(&stream), late.is_empty()), (!gives_up, gives_up), "{what}");
            drop((stream, late));
            drop(replica);
            assert_eq!(memory.bytes(), 0, "{what}");
        }
    }

    #[test]
    fn rule_48_a_place_in_what_is_followed_is_good_for_the_complete_body() {
        let memory = Arc::new(MemoryBudget::default());
        let bytes = pattern(200_000);
        let mut stream = StreamingBody::new(&memory, None);
        let mut replica = replica(&memory, None);
        fill(&mut stream, &bytes[..150_001], 4096);
        assert!(replica.follow(&stream));
        let places: Vec<Cursor> =
            [0, 4096, 150_000, 150_001].iter().map(|&at| replica.advance(Cursor::default(), at)).collect();
        fill(&mut stream, &bytes[150_001..], 4096);
        let body = stream.finish().unwrap();
        for (place, at) in places.into_iter().zip([0, 4096, 150_000, 150_001]) {
            let mut slices: [&[u8]; 12] = [&[]; 12];
            body.slices(place, u64::MAX, &mut slices);
            assert!(slices.concat() == bytes[at..], "{at}");
        }
    }
}
