//! Stored bodies: segments that are written once and read by many.
//!
//! While a body is received it is a [`StreamingBody`](crate::cache::fill::streaming_body::StreamingBody) with one
//! writer. When it is complete it becomes a [`Body`], which never changes again. Each reader holds a [`Cursor`]: a
//! segment and an offset in that segment, because segments differ in size.
//!
//! A body that was combined from parts holds no bytes. It refers to extents of the bodies that hold them, so
//! combining costs a table and no copy, however large the parts are.

pub(in crate::cache) mod read_ahead;
pub(in crate::cache) mod segment;

use crate::cache::body::segment::Segment;
use crate::cache::store::memory_budget::{Charge, MemoryBudget, allocated};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

/// Largest segment (measured, `benches/cache.rs`: with segments of this size a churning store stays within a few per cent
/// of what it is charged for; smaller ones cost more slices per vectored write).
pub const SEGMENT_BYTES: usize = 64 * 1024;

/// The position of a reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    pub(in crate::cache) segment: u32,
    pub(in crate::cache) offset: u32,
}

/// The number of bytes that a list of slices refers to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// Bytes in all slices.
    pub bytes: u64,
    /// Index of the first slice from which on all slices lie in mappings of their own (see `Segment::is_mapped`).
    pub mapped_from: usize,
}

/// A body that is made of segments.
pub(in crate::cache) trait Segments {
    /// The bytes of one segment that have been received, and whether the segment is a mapping of its own.
    fn segment_at(&self, index: u32) -> Option<(&[u8], bool)>;

    fn bytes_at(&self, index: u32) -> Option<&[u8]> {
        self.segment_at(index).map(|(bytes, _)| bytes)
    }

    /// Segments that were dropped at the front.
    fn dropped_segments(&self) -> u32;

    /// Moves a cursor out of dropped segments. A reader that has read all received bytes waits at the end of a
    /// segment. If that segment is dropped meanwhile, the reader continues at the beginning of the next one.
    fn skip_dropped(&self, cursor: Cursor) -> Cursor {
        if cursor.segment < self.dropped_segments() {
            Cursor { segment: self.dropped_segments(), offset: 0 }
        } else {
            cursor
        }
    }

    fn fill_slices<'a>(&'a self, cursor: Cursor, left: u64, out: &mut [&'a [u8]]) -> Filled {
        let cursor = self.skip_dropped(cursor);
        let (mut at, mut offset, mut left) = (cursor.segment, cursor.offset as usize, left);
        let mut filled = Filled::default();
        for (index, place) in out.iter_mut().enumerate() {
            let Some((bytes, mapped)) = self.segment_at(at).filter(|_| left > 0) else { break };
            let bytes = bytes.get(offset..).unwrap_or(&[]);
            let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            *place = &bytes[..count];
            left -= count as u64;
            filled.bytes += count as u64;
            if !mapped {
                filled.mapped_from = index + 1;
            }
            (at, offset) = (at + 1, 0);
        }
        filled
    }

    fn advanced(&self, cursor: Cursor, mut count: u64) -> Cursor {
        let mut cursor = self.skip_dropped(cursor);
        while let Some(bytes) = self.bytes_at(cursor.segment) {
            let here = (bytes.len() as u64).saturating_sub(u64::from(cursor.offset));
            // At the end of the last segment the cursor stays there: the segment may grow.
            if count < here || (count == here && self.bytes_at(cursor.segment + 1).is_none()) {
                cursor.offset += count as u32;
                break;
            }
            count -= here;
            cursor = Cursor { segment: cursor.segment + 1, offset: 0 };
        }
        cursor
    }
}

/// The largest number of bodies that one body is joined from (chosen: a file of 1 GB that is fetched a megabyte at a
/// time).
pub const JOINED_MAX: usize = 1024;

/// A complete body.
#[derive(Debug)]
pub struct Body {
    len: u64,
    first: Segment,
    rest: Rest,
    charge: Charge,
}

/// The segments behind the first one.
#[derive(Debug)]
enum Rest {
    Own(Box<[Segment]>),
    /// The first segment is empty.
    Joined(Box<Joined>),
}

/// The bodies that a joined body refers to. Bodies in the list are not joined themselves.
#[derive(Debug)]
struct Joined {
    bodies: Box<[Arc<Body>]>,
    extents: Box<[Extent]>,
}

/// A range of bytes in one segment of one of the bodies.
#[derive(Clone, Copy, Debug)]
struct Extent {
    body: u32,
    segment: u32,
    start: u32,
    end: u32,
}

impl Joined {
    fn segment_at(&self, index: usize) -> Option<(&[u8], bool)> {
        let extent = self.extents.get(index)?;
        let (bytes, mapped) = self.bodies.get(extent.body as usize)?.segment_at(extent.segment)?;
        Some((bytes.get(extent.start as usize..extent.end as usize)?, mapped))
    }
}

impl Segments for Body {
    fn dropped_segments(&self) -> u32 {
        0
    }

    fn segment_at(&self, index: u32) -> Option<(&[u8], bool)> {
        fn own(segment: &Segment) -> (&[u8], bool) {
            (segment.bytes(), segment.is_mapped())
        }
        match (index, &self.rest) {
            (0, _) => Some(own(&self.first)),
            (_, Rest::Own(rest)) => rest.get(index as usize - 1).map(own),
            (_, Rest::Joined(joined)) => joined.segment_at(index as usize - 1),
        }
    }
}

impl Body {
    /// A body in one segment.
    pub fn from_bytes(memory: &Arc<MemoryBudget>, bytes: Box<[u8]>) -> Body {
        let charge = Charge::new(memory, Body::overhead_bytes(0) + allocated(bytes.len()));
        Body { len: bytes.len() as u64, first: bytes.into(), rest: Rest::Own(Box::default()), charge }
    }

    /// A body that refers to these ranges of these bodies, in this order, and copies nothing. `None` if it would keep
    /// more than `held_max` bytes in memory, or more than [`JOINED_MAX`] bodies.
    pub fn joined(
        memory: &Arc<MemoryBudget>,
        pieces: &[(&Arc<Body>, Range<u64>)],
        held_max: u64,
    ) -> Option<Arc<Body>> {
        if let [(body, range)] = pieces {
            if *range == (0..body.len) {
                return Some(Arc::clone(body));
            }
        }
        let (mut bodies, mut extents): (Vec<Arc<Body>>, Vec<Extent>) = (Vec::new(), Vec::new());
        let (mut known, mut len, mut held) = (BTreeMap::new(), 0, 0_u64);
        for (body, range) in pieces {
            let mut at = 0;
            for (holder, extent) in body.extents() {
                let here = u64::from(extent.end - extent.start);
                let within = |position: u64| position.saturating_sub(at).min(here);
                let (from, to) = (within(range.start), within(range.end));
                at += here;
                if from == to {
                    continue;
                }
                let next = bodies.len() as u32;
                let body = match bodies.last() {
                    Some(last) if Arc::ptr_eq(last, holder) => next - 1,
                    Some(_) | None => *known.entry(Arc::as_ptr(holder)).or_insert(next),
                };
                if body == next {
                    held = held.saturating_add(holder.len);
                    bodies.push(Arc::clone(holder));
                }
                let (start, end) = (extent.start + from as u32, extent.start + to as u32);
                len += to - from;
                extents.push(Extent { body, start, end, ..extent });
            }
        }
        if bodies.len() > JOINED_MAX || held > held_max {
            return None;
        }
        let bytes = Body::overhead_bytes(0)
            + allocated(size_of::<Joined>())
            + allocated(bodies.len() * size_of::<Arc<Body>>())
            + allocated(extents.len() * size_of::<Extent>());
        let joined = Joined { bodies: bodies.into(), extents: extents.into() };
        let rest = Rest::Joined(Box::new(joined));
        Some(Arc::new(Body { len, first: Segment::default(), rest, charge: Charge::new(memory, bytes) }))
    }

    /// All segments, each with the body that holds it.
    fn extents(self: &Arc<Body>) -> impl Iterator<Item = (&Arc<Body>, Extent)> {
        let (own, joined) = match &self.rest {
            Rest::Own(rest) => (1 + rest.len() as u32, None),
            Rest::Joined(joined) => (0, Some(&**joined)),
        };
        let own = (0..own).filter_map(move |segment| {
            let end = self.bytes_at(segment)?.len() as u32;
            Some((self, Extent { body: 0, segment, start: 0, end }))
        });
        let joined = joined.into_iter().flat_map(|joined| {
            let body = |extent: &Extent| joined.bodies.get(extent.body as usize);
            joined.extents.iter().filter_map(move |extent| Some((body(extent)?, *extent)))
        });
        own.chain(joined)
    }

    /// A body of these segments, which `charge` has covered until now.
    pub(in crate::cache) fn from_segments(segments: VecDeque<Segment>, len: u64, mut charge: Charge) -> Body {
        let mut segments = segments.into_iter();
        let first = segments.next().unwrap_or_default();
        let rest: Box<[Segment]> = segments.collect();
        let heap_bytes = first.heap_bytes() + rest.iter().map(Segment::heap_bytes).sum::<usize>();
        charge.set(Body::overhead_bytes(rest.len()) + heap_bytes);
        Body { len, first, rest: Rest::Own(rest), charge }
    }

    /// Bytes that the body and the bodies that it is joined from take from the process.
    pub fn footprint(&self) -> usize {
        let mapped = |segment: &Segment| segment.footprint() - segment.heap_bytes();
        let rest = match &self.rest {
            Rest::Own(rest) => rest.iter().map(mapped).sum(),
            Rest::Joined(joined) => joined.bodies.iter().map(|body| body.footprint()).sum::<usize>(),
        };
        self.charge.bytes() + mapped(&self.first) + rest
    }

    /// Bytes of bookkeeping for a body with `rest` segments behind the first.
    pub(in crate::cache) fn overhead_bytes(rest: usize) -> usize {
        allocated(size_of::<Body>() + 2 * size_of::<usize>())
            + if rest > 0 { allocated(rest * size_of::<Segment>()) } else { 0 }
    }

    /// Bytes of payload.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no payload.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The cursor `position` bytes from the start.
    pub fn cursor(&self, position: u64) -> Cursor {
        self.advanced(Cursor::default(), position)
    }

    /// Fills `out` with slices of up to `left` bytes from the cursor on, as many slices as fit.
    pub fn slices<'a>(&'a self, cursor: Cursor, left: u64, out: &mut [&'a [u8]]) -> Filled {
        self.fill_slices(cursor, left, out)
    }

    /// The cursor `count` bytes further on.
    pub fn advance(&self, cursor: Cursor, count: u64) -> Cursor {
        self.advanced(cursor, count)
    }

    /// All bytes, segment by segment.
    pub fn segments(&self) -> impl Iterator<Item = &[u8]> {
        (0..).map_while(|index| self.bytes_at(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::fill::streaming_body::StreamingBody;
    use crate::cache::fill::streaming_body::tests::{fill, pattern};

    fn read(body: &Body, position: u64, left: u64, slices: usize, step: usize) -> Vec<u8> {
        let (mut out, mut cursor, mut left) = (Vec::new(), body.cursor(position), left);
        loop {
            let mut found: Vec<&[u8]> = vec![&[]; slices];
            let total = body.slices(cursor, left, &mut found).bytes;
            let bytes: Vec<u8> = found.concat().into_iter().take(step).collect();
            assert_eq!(found.concat().len() as u64, total);
            if bytes.is_empty() {
                return out;
            }
            cursor = body.advance(cursor, bytes.len() as u64);
            left -= bytes.len() as u64;
            out.extend(bytes);
        }
    }

    #[test]
    fn rule_49_bodies_read_back_from_any_place_in_any_steps() {
        let memory = Arc::new(MemoryBudget::default());
        for len in [0, 1, 1000, 4096, 4097, 65_536, 70_000, 300_000] {
            let bytes = pattern(len);
            for expected in [None, Some(len as u64)] {
                let mut stream = StreamingBody::new(&memory, expected);
                fill(&mut stream, &bytes, 5000);
                assert_eq!(stream.len(), len as u64);
                let body = stream.finish().unwrap();
                for (position, left, slices, step) in
                    [(0, u64::MAX, 4, usize::MAX), (0, 70_000, 2, 1234), (999, 5, 1, 2)]
                {
                    let begin = (position as usize).min(len);
                    let end = begin + (left.min((len - begin) as u64) as usize);
                    let got = read(&body, position, left.min((len - begin) as u64), slices, step);
                    if begin == position as usize {
                        assert!(got == bytes[begin..end], "{len} {expected:?} {position}");
                    }
                }
                assert!(memory.bytes() >= len, "{len}");
                assert!(memory.bytes() <= len + len / 8 + 400, "{len}: {}", memory.bytes());
            }
            assert_eq!(memory.bytes(), 0, "{len}");
        }
    }

    fn body(memory: &Arc<MemoryBudget>, bytes: &[u8]) -> Arc<Body> {
        let mut stream = StreamingBody::new(memory, None);
        fill(&mut stream, bytes, 4096);
        Arc::new(stream.finish().unwrap())
    }

    /// Joins ranges of any size out of bodies and joined bodies, and compares with the bytes they were cut from.
    #[test]
    fn rule_35_joined_bodies_read_as_one_and_copy_nothing() {
        let memory = Arc::new(MemoryBudget::default());
        let bytes = pattern(300_000);
        for parts in [
            &[(0, 1), (1, 2), (2, 300_000)][..],
            &[(100_000, 200_000), (0, 100_000), (200_000, 300_000)],
            &[(0, 70_000), (60_000, 150_000), (140_000, 300_000)],
            &[(299_999, 300_000), (150_000, 299_999), (10, 150_001), (0, 20)],
        ] {
            let (from, to) = parts[0];
            let mut all = (from, body(&memory, &bytes[from..to]));
            for &(from, to) in &parts[1..] {
                let new = body(&memory, &bytes[from..to]);
                let before = memory.bytes();
                let (start, len, come) = (all.0, all.1.len(), (to - from) as u64);
                let pieces = match from < start {
                    true => [(&new, 0..come), (&all.1, (to - start) as u64..len)],
                    false => [(&all.1, 0..len), (&new, len - (from - start) as u64..come)],
                };
                all = (from.min(start), Body::joined(&memory, &pieces, u64::MAX).unwrap());
                assert!(memory.bytes() < before + 1000, "{parts:?}");
            }
            assert_eq!((all.0, all.1.len()), (0, 300_000), "{parts:?}");
            assert!(all.1.segments().collect::<Vec<_>>().concat() == bytes);
            for (position, left, slices, step) in
                [(0, 300_000, 4, usize::MAX), (0, 70_000, 2, 1234), (149_999, 100_000, 1, 5000)]
            {
                let got = read(&all.1, position, left, slices, step);
                assert!(got == bytes[position as usize..][..left as usize], "{parts:?} {position}");
            }
            // With gaps, and in any order.
            let pieces = [200_000..250_000, 3..4, 70_000..70_001, 0..300_000].map(|range| (&all.1, range));
            let odd = Body::joined(&memory, &pieces, u64::MAX).unwrap();
            let expected: Vec<u8> = pieces
                .iter()
                .flat_map(|(_, range)| &bytes[range.start as usize..range.end as usize])
                .copied()
                .collect();
            assert!(odd.segments().collect::<Vec<_>>().concat() == expected);
            assert_eq!(odd.len(), expected.len() as u64);
        }
        assert_eq!(memory.bytes(), 0);
    }

    #[test]
    fn rule_35_what_joining_holds_is_bounded() {
        let memory = Arc::new(MemoryBudget::default());
        let bytes = pattern(1000);
        let (one, two) = (body(&memory, &bytes[..600]), body(&memory, &bytes[400..]));
        let pieces = [(&one, 0..600), (&two, 200..600)];
        assert!(Body::joined(&memory, &pieces, 1199).is_none());
        let both = Body::joined(&memory, &pieces, 1200).unwrap();
        assert_eq!(both.len(), 1000);
        // Held bytes are counted once, however many extents refer to them.
        let pieces = [(&both, 0..1), (&two, 0..1), (&both, 999..1000)];
        assert_eq!(Body::joined(&memory, &pieces, 1200).unwrap().len(), 3);
        assert_eq!(Body::joined(&memory, &[(&both, 600..1000)], 600).unwrap().len(), 400);
        // One whole body is returned as it is.
        assert!(Arc::ptr_eq(&Body::joined(&memory, &[(&both, 0..1000)], 0).unwrap(), &both));
        let mut all = Arc::clone(&one);
        for _ in 1..JOINED_MAX {
            let new = body(&memory, b"x");
            all = Body::joined(&memory, &[(&all, 0..all.len()), (&new, 0..1)], u64::MAX).unwrap();
        }
        assert!(Body::joined(&memory, &[(&all, 0..all.len()), (&two, 0..1)], u64::MAX).is_none());
    }
}
