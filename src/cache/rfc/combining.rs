//! How a new part is combined with the stored parts of the same resource (RFC 9111 section 3.4, RFC 9110 section
//! 15.3.7.3).
//!
//! An entry holds some parts of one representation, with the fields of the part that was received last: those are the
//! most recent. Parts that touch become one part. When nothing is missing any more, the entry is a complete one. If
//! there are too many parts, or they take too much memory, the shortest part is dropped, even if it is the new one:
//! that loses the fewest bytes, and a client that asks for single bytes drives nothing out.

use crate::cache::body::Body;
use crate::cache::rfc::range::{Fragment, PARTS_MAX, Part, may_combine};
use crate::cache::store::memory_budget::MemoryBudget;
use crate::cache::store::stored::{Head, Stored};
use std::cmp::Reverse;
use std::ops::Range;
use std::sync::Arc;

/// The result of combining.
#[derive(Debug)]
pub(in crate::cache) struct Combined {
    pub entry: Arc<Stored>,
    /// Parts that were dropped.
    pub dropped: usize,
}

/// Combines a new part with the entry that is stored for the same requests. `None` if that entry is complete: the
/// complete entry stays. `held_max` bounds the bytes that the result keeps in memory.
pub(in crate::cache) fn combine(
    memory: &Arc<MemoryBudget>,
    old: &Stored,
    new: &Arc<Stored>,
    held_max: u64,
) -> Option<Combined> {
    // A complete response is not replaced by a part.
    old.fragment()?;
    let same = may_combine(old.block(), new.block())
        && old.length() == new.length()
        && old.status == new.status
        && old.has_source(new.address);
    if !same {
        return Some(Combined { entry: Arc::clone(new), dropped: old.parts().count() });
    }
    // Sorted by position; of parts that begin at the same byte the longest comes first.
    let mut sources: Vec<Source<'_>> = Source::all_of(old).chain(Source::all_of(new)).collect();
    sources.sort_by_key(|source| (source.part.start, Reverse(source.part.len)));
    let mut dropped = 0;
    while !sources.is_empty() {
        if let Some((parts, body)) = merge(memory, &sources, held_max) {
            if Arc::ptr_eq(&body, &new.body) {
                break;
            }
            let mut room = Vec::new();
            let fragment = Fragment::from_parts(&parts, new.length(), &mut room);
            let entry = Stored::new(memory, new.hash(), &Head { fragment, ..new.head() }, body);
            return Some(Combined { entry: Arc::new(entry), dropped });
        }
        // Among parts of equal length an old one is dropped.
        let is_new = |source: &Source<'_>| Arc::ptr_eq(source.body, &new.body);
        let shortest = sources.iter().enumerate().min_by_key(|(_, source)| (source.part.len, is_new(source)));
        let Some((index, source)) = shortest else { break };
        if is_new(source) {
            // The new part is dropped, so all old parts can stay.
            (sources, dropped) = (Source::all_of(old).collect(), 1);
        } else {
            sources.remove(index);
            dropped += 1;
        }
    }
    Some(Combined { entry: Arc::clone(new), dropped })
}

/// Whether `old` has parts of the representation of `new`, which may be complete.
pub(in crate::cache) fn completes(old: &Stored, new: &Stored) -> bool {
    old.fragment().is_some() && may_combine(old.block(), new.block()) && old.length() == new.length()
}

/// A part, and its offset in the body that holds it.
#[derive(Clone, Copy, Debug)]
struct Source<'a> {
    part: Part,
    body: &'a Arc<Body>,
    offset: u64,
}

impl Source<'_> {
    fn all_of(stored: &Stored) -> impl Iterator<Item = Source<'_>> {
        stored.parts().scan(0, |offset, part| {
            let source = Source { part, body: &stored.body, offset: *offset };
            *offset += part.len;
            Some(source)
        })
    }
}

/// Merges the sources to parts and a body of all their bytes; bytes that several sources have are taken from the
/// first. `None` if that exceeds a bound.
fn merge(
    memory: &Arc<MemoryBudget>,
    sources: &[Source<'_>],
    held_max: u64,
) -> Option<(Vec<Part>, Arc<Body>)> {
    let mut parts: Vec<Part> = Vec::new();
    let mut pieces: Vec<(&Arc<Body>, Range<u64>)> = Vec::new();
    for &Source { part, body, offset } in sources {
        let start = parts.last().map_or(part.start, |before| before.end().max(part.start));
        if start >= part.end() {
            continue;
        }
        let range = offset + (start - part.start)..offset + part.len;
        match pieces.last_mut() {
            Some((before, end)) if Arc::ptr_eq(before, body) && end.end == range.start => end.end = range.end,
            Some(_) | None => pieces.push((body, range)),
        }
        match parts.last_mut() {
            Some(before) if before.end() == start => before.len = part.end() - before.start,
            Some(_) | None => parts.push(Part { start, len: part.end() - start }),
        }
    }
    if parts.len() > PARTS_MAX {
        return None;
    }
    Some((parts, Body::joined(memory, &pieces, held_max)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::rfc::freshness::Terms;
    use crate::http::block::FieldLines as _;
    use crate::http::head::Version;
    use std::net::{IpAddr, Ipv4Addr};

    const TEXT: &[u8] = b"0123456789";

    fn with_head(fields: &str, length: u64, last: u8, make: impl FnOnce(&Head<'_>) -> Stored) -> Arc<Stored> {
        let block: String = fields.split('|').map(|line| format!("{line}\r\n")).collect();
        let head = Head {
            key: b"http://a/",
            names: b"",
            selecting: b"",
            reason: b"OK",
            block: block.as_bytes(),
            status: 200,
            version: Version::Http11,
            terms: Terms::default(),
            received_us: 0,
            address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)),
            rules_edition: 0,
            set_cookie: false,
            fragment: Some(Fragment::single(Part { start: 0, len: 1 }, length)),
        };
        Arc::new(make(&head))
    }

    fn stored(
        memory: &Arc<MemoryBudget>,
        (start, end): (u64, u64),
        fields: &str,
        length: u64,
        last: u8,
    ) -> Arc<Stored> {
        with_head(fields, length, last, |head| {
            let fragment = Fragment::partial(Part { start, len: end - start }, length);
            let bytes =
                TEXT.iter().copied().cycle().skip(start as usize).take((end - start) as usize).collect();
            Stored::new(memory, 1, &Head { fragment, ..*head }, Arc::new(Body::from_bytes(memory, bytes)))
        })
    }

    fn part(memory: &Arc<MemoryBudget>, range: (u64, u64), length: u64) -> Arc<Stored> {
        stored(memory, range, "ETag: \"a\"", length, 1)
    }

    fn parts_of(stored: &Stored) -> Vec<(u64, u64)> {
        stored.parts().map(|part| (part.start, part.end())).collect()
    }

    #[track_caller]
    fn expect_bytes(stored: &Stored) {
        let bytes = stored.body.segments().collect::<Vec<_>>().concat();
        let expected: Vec<u8> = stored
            .parts()
            .flat_map(|part| part.start..part.end())
            .map(|at| TEXT[at as usize % TEXT.len()])
            .collect();
        assert_eq!(bytes, expected, "{:?}", parts_of(stored));
    }

    /// All sequences of three parts of eight bytes, compared with the bytes that they hold.
    #[test]
    fn rule_35_parts_are_put_together_whatever_comes() {
        const LENGTH: u64 = 8;
        let memory = Arc::new(MemoryBudget::default());
        let mask = |(start, end): (u64, u64)| (1_u32 << end) - (1 << start);
        let all: Vec<(u64, u64)> =
            (0..LENGTH).flat_map(|start| (start + 1..=LENGTH).map(move |end| (start, end))).collect();
        for &one in &all {
            for &two in &all {
                let old = part(&memory, one, LENGTH);
                let new = part(&memory, two, LENGTH);
                let Some(both) = combine(&memory, &old, &new, u64::MAX) else {
                    assert_eq!(one, (0, LENGTH));
                    continue;
                };
                for &three in &all {
                    let new = stored(&memory, three, "ETag: \"a\"|X: new", LENGTH, 1);
                    let held = mask(one) | mask(two) | mask(three);
                    let Some(found) = combine(&memory, &both.entry, &new, u64::MAX) else {
                        assert_eq!(mask(one) | mask(two), mask((0, LENGTH)));
                        continue;
                    };
                    let starts = (0..LENGTH).filter(|at| held & !(held << 1) & (1 << at) != 0);
                    let ends = (1..=LENGTH).filter(|end| (held << 1) & !held & (1 << end) != 0);
                    let expected: Vec<(u64, u64)> = starts.zip(ends).collect();
                    assert_eq!(parts_of(&found.entry), expected, "{one:?} {two:?} {three:?}");
                    expect_bytes(&found.entry);
                    assert_eq!((found.entry.length(), found.dropped), (LENGTH, 0));
                    assert_eq!(found.entry.fragment().is_none(), held == mask((0, LENGTH)));
                    assert_eq!(found.entry.block().value("x"), Some(&b"new"[..]));
                }
            }
        }
    }

    #[test]
    fn rule_35_only_parts_of_the_same_are_combined() {
        let memory = Arc::new(MemoryBudget::default());
        let old = part(&memory, (0, 2), 10);
        let old = combine(&memory, &old, &part(&memory, (3, 4), 10), 8).expect("parts").entry;
        for (fields, length, last, combines) in [
            ("ETag: \"a\"", 10, 1, true),
            ("ETag: \"b\"", 10, 1, false),
            ("ETag: W/\"a\"", 10, 1, false),
            ("X: no tag", 10, 1, false),
            ("ETag: \"a\"|Content-Encoding: gzip", 10, 1, false),
            ("ETag: \"a\"", 11, 1, false),
            ("ETag: \"a\"", 9, 1, false),
            ("ETag: \"a\"", 10, 2, false),
        ] {
            let new = stored(&memory, (4, 8), fields, length, last);
            let found = combine(&memory, &old, &new, 8).expect("the old one is no whole");
            let expected = if combines { &[(0, 2), (3, 8)][..] } else { &[(4, 8)] };
            assert_eq!(parts_of(&found.entry), expected, "{fields} {length}");
            assert_eq!(found.dropped, if combines { 0 } else { 2 }, "{fields} {length}");
        }
        let whole = part(&memory, (0, 10), 10);
        assert!(combine(&memory, &whole, &part(&memory, (0, 4), 10), u64::MAX).is_none());
        assert!(combine(&memory, &whole, &stored(&memory, (0, 4), "ETag: \"b\"", 10, 1), u64::MAX).is_none());
    }

    /// The bound on held bytes, the parts in the order of receipt, the parts that are stored then, and how many were
    /// dropped.
    #[test]
    fn rule_35_where_there_is_no_room_the_shortest_part_leaves() {
        for (held_max, come, expected, dropped) in [
            (100, &[(0, 4), (6, 9), (20, 30)][..], &[(0, 4), (6, 9), (20, 30)][..], 0),
            (16, &[(0, 4), (6, 9), (20, 30)], &[(0, 4), (20, 30)], 1),
            (10, &[(0, 4), (6, 9), (20, 30)], &[(20, 30)], 2),
            // The new part may be the shortest, also if it touches another; then nothing else is dropped.
            (12, &[(0, 4), (6, 7), (20, 27), (40, 43)], &[(0, 4), (6, 7), (20, 27)], 1),
            (6, &[(0, 4), (4, 7)], &[(0, 4)], 1),
            (6, &[(4, 7), (0, 4)], &[(0, 4)], 1),
            (6, &[(0, 4), (7, 10)], &[(0, 4)], 1),
            // Of two equal ones the old one.
            (6, &[(0, 4), (4, 8)], &[(4, 8)], 1),
            // Bytes that two parts have are held twice.
            (9, &[(0, 5), (3, 8), (1, 2)], &[(1, 2), (3, 8)], 1),
            (12, &[(0, 5), (3, 8), (20, 26)], &[(0, 8)], 1),
            (12, &[(0, 5), (3, 8), (20, 29)], &[(20, 29)], 1),
            // A part within another part takes nothing.
            (6, &[(0, 6), (2, 4), (0, 6), (1, 5)], &[(0, 6)], 0),
            (6, &[(2, 4), (1, 5), (0, 6)], &[(0, 6)], 0),
        ] {
            let memory = Arc::new(MemoryBudget::default());
            let (mut stored, mut count) = (part(&memory, come[0], 100), 0);
            for &range in &come[1..] {
                let found = combine(&memory, &stored, &part(&memory, range, 100), held_max).expect("parts");
                (stored, count) = (found.entry, count + found.dropped);
                expect_bytes(&stored);
                assert!(memory.bytes() < 1000, "what is given up is not charged: {}", memory.bytes());
            }
            assert_eq!((parts_of(&stored).as_slice(), count), (expected, dropped), "{held_max} {come:?}");
        }
    }

    /// As many separate parts as allowed: they become one when the gaps are filled.
    #[test]
    fn rule_35_as_many_parts_as_may_be() {
        let memory = Arc::new(MemoryBudget::default());
        let most = PARTS_MAX as u64;
        let length = 10 * most + 100;
        let mut stored = part(&memory, (0, 2), length);
        for index in 1..most {
            let found =
                combine(&memory, &stored, &part(&memory, (10 * index, 10 * index + 2), length), 10_000);
            let found = found.expect("parts");
            assert_eq!(found.dropped, 0);
            stored = found.entry;
            expect_bytes(&stored);
        }
        let expected: Vec<(u64, u64)> = (0..most).map(|index| (10 * index, 10 * index + 2)).collect();
        assert_eq!(parts_of(&stored), expected);
        // One more is too many: the new one is dropped if it is the shortest, otherwise the first of the shorter
        // ones.
        let short = combine(&memory, &stored, &part(&memory, (5, 6), length), 10_000).expect("parts");
        assert_eq!((parts_of(&short.entry), short.dropped), (expected.clone(), 1));
        let long = combine(&memory, &stored, &part(&memory, (15, 18), length), 10_000).expect("parts");
        let there: Vec<(u64, u64)> = [&expected[1..2], &[(15, 18)], &expected[2..]].concat();
        assert_eq!((parts_of(&long.entry), long.dropped), (there, 1));
        // A part that joins two others is not one more.
        let joins = combine(&memory, &stored, &part(&memory, (2, 10), length), 10_000).expect("parts");
        assert_eq!((parts_of(&joins.entry)[0], joins.dropped), ((0, 12), 0));
        let all = combine(&memory, &stored, &part(&memory, (1, length), length), 10_000).expect("parts");
        assert!(all.entry.fragment().is_none() && all.dropped == 0);
        expect_bytes(&all.entry);
    }
}
