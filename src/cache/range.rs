//! Range, If-Range and Content-Range (RFC 9110 section 14), and responses put together from parts (section 15.3.7.3).

use crate::http::block::{FieldBlock, FieldLines};
use crate::http::date::parse_http_date;
use crate::http::fields::{decimal, trim, write_decimal};

use super::validation::{EntityTag, Validators};

/// Most ranges of one request that are looked at (chosen: nobody needs more; beyond it the whole is the answer).
pub const RANGES_MAX: usize = 16;

/// What of a stored response a request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of it, as it is stored.
    Whole,
    /// A 206 with this part.
    Part(Part),
    /// A 416: `Content-Range: bytes */length` and no part.
    Unsatisfiable,
}

/// Bytes of a representation; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The first byte, from 0.
    pub start: u64,
    /// How many.
    pub len: u64,
}

/// Which part of a complete stored response with that status and length a GET gets.
pub fn select<'b>(
    request: impl FieldLines<'b>,
    status: u16,
    stored: FieldBlock<'_>,
    length: u64,
) -> Selection {
    // Of nothing there is no part; to leave Range aside is allowed (RFC 9110 section 14.2).
    if status != 200 || length == 0 || !request.contains("range") || !if_range_holds(request, stored) {
        return Selection::Whole;
    }
    match request.single("range").map(|value| ranges(value, length)) {
        Some(Ranges::One(part)) => Selection::Part(part),
        Some(Ranges::None) => Selection::Unsatisfiable,
        Some(Ranges::Several | Ranges::Invalid) | None => Selection::Whole,
    }
}

/// What a Range asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ranges {
    One(Part),
    Several,
    /// None of them is within the representation.
    None,
    /// To be ignored.
    Invalid,
}

/// Reads a Range (RFC 9110 sections 14.1.2 and 14.2) of a representation of that length.
fn ranges(value: &[u8], length: u64) -> Ranges {
    let set = match value.split_at_checked(6) {
        Some((unit, set)) if unit.eq_ignore_ascii_case(b"bytes=") => set,
        Some(_) | None => return Ranges::Invalid,
    };
    let (mut count, mut first) = (0, None);
    for member in set.split(|&byte| byte == b',').map(trim).filter(|member| !member.is_empty()) {
        count += 1;
        if count > RANGES_MAX {
            return Ranges::Invalid;
        }
        match range(member, length) {
            Some(part) => first = first.or(part),
            None => return Ranges::Invalid,
        }
    }
    match (count, first) {
        (0, _) => Ranges::Invalid,
        (_, None) => Ranges::None,
        (1, Some(part)) => Ranges::One(part),
        (_, Some(_)) => Ranges::Several,
    }
}

/// One range: `None` if it is none, `Some(None)` if nothing of it is there.
fn range(member: &[u8], length: u64) -> Option<Option<Part>> {
    let at = memchr::memchr(b'-', member)?;
    let (first, last) = (&member[..at], &member[at + 1..]);
    if first.is_empty() {
        let len = position(last)?.min(length);
        return Some((len > 0).then(|| Part { start: length - len, len }));
    }
    let start = position(first)?;
    let last = if last.is_empty() { u64::MAX } else { position(last)? };
    if last < start {
        return None;
    }
    Some((start < length).then(|| Part { start, len: last.min(length - 1) - start + 1 }))
}

/// Digits only; beyond 2^64 as good as any other large one.
fn position(digits: &[u8]) -> Option<u64> {
    let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    valid.then(|| digits.iter().fold(0, add))
}

/// Whether If-Range lets Range count: it is missing, or it is the strong validator of what is stored.
pub fn if_range_holds<'b>(request: impl FieldLines<'b>, stored: FieldBlock<'_>) -> bool {
    if !request.contains("if-range") {
        return true;
    }
    let Some(condition) = request.single("if-range") else { return false };
    if let Some(tag) = EntityTag::parse(condition) {
        let stored = Validators::read(stored).strong_etag();
        return stored.is_some_and(|stored| tag.strongly_equals(&stored));
    }
    // Only a date that is told, and that was a while ago when the response was made, is a strong validator (RFC 9110
    // section 8.8.2.2).
    let seconds = |value: Option<&[u8]>| value.and_then(|value| parse_http_date(value, 0));
    match (seconds(Some(condition)), seconds(stored.single("last-modified")), seconds(stored.single("date")))
    {
        (Some(asked), Some(modified), Some(date)) => asked == modified && date > modified,
        _ => false,
    }
}

/// Appends `Content-Range: bytes 0-9/100 CRLF`.
pub fn write_content_range(out: &mut Vec<u8>, part: Part, length: u64) {
    out.extend_from_slice(b"Content-Range: bytes ");
    write_positions(out, part);
    out.push(b'/');
    write_decimal(out, length);
    out.extend_from_slice(b"\r\n");
}

fn write_positions(out: &mut Vec<u8>, part: Part) {
    write_decimal(out, part.start);
    out.push(b'-');
    write_decimal(out, part.start.saturating_add(part.len.saturating_sub(1)));
}

/// Appends `Content-Range: bytes */100 CRLF`: that of a 416.
pub fn write_unsatisfied_range(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Range: bytes */");
    write_decimal(out, length);
    out.extend_from_slice(b"\r\n");
}

/// The place of a part, as Content-Range of a 206 tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// Which bytes.
    pub part: Part,
    /// Of how many, if that is known.
    pub length: Option<u64>,
}

impl ContentRange {
    /// Reads `bytes 0-9/100` or `bytes 0-9/*`; all else, and what contradicts itself, is `None`.
    pub fn parse(value: &[u8]) -> Option<ContentRange> {
        let (unit, rest) = value.split_at_checked(6)?;
        if !unit.eq_ignore_ascii_case(b"bytes ") {
            return None;
        }
        let slash = memchr::memchr(b'/', rest)?;
        let (positions, length) = (&rest[..slash], &rest[slash + 1..]);
        let dash = memchr::memchr(b'-', positions)?;
        let (first, last) = (decimal(&positions[..dash])?, decimal(&positions[dash + 1..])?);
        let length = match length {
            b"*" => None,
            digits => Some(decimal(digits)?),
        };
        let fits = first <= last && length.is_none_or(|length| last < length);
        fits.then(|| ContentRange { part: Part { start: first, len: last - first + 1 }, length })
    }
}

/// Whether parts with these fields are of the same representation: both have the same strong validator, and do not
/// differ about its length.
pub fn may_combine<'a, 'b>(
    stored: impl FieldLines<'a>,
    stored_length: Option<u64>,
    new: impl FieldLines<'b>,
    new_length: Option<u64>,
) -> bool {
    let lengths = match (stored_length, new_length) {
        (Some(stored), Some(new)) => stored == new,
        (None, _) | (_, None) => true,
    };
    match (Validators::read(stored).strong_etag(), Validators::read(new).strong_etag()) {
        (Some(stored), Some(new)) => lengths && stored.strongly_equals(&new),
        (None, _) | (_, None) => false,
    }
}

/// Most parts of one representation that are kept apart.
pub const PARTS_MAX: usize = 16;

/// Which bytes of a representation are stored: parts in order, that neither overlap nor touch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    // Start and end, the latter exclusive.
    spans: [(u64, u64); PARTS_MAX],
    count: usize,
}

impl Parts {
    /// Adds bytes; false, and nothing is added, if there would be too many parts.
    pub fn add(&mut self, part: Part) -> bool {
        let Some(mut end) = part.start.checked_add(part.len) else { return false };
        if part.len == 0 {
            return true;
        }
        let mut start = part.start;
        let (mut merged, mut count, mut placed) = ([(0, 0); PARTS_MAX + 1], 0, false);
        for &(from, to) in &self.spans[..self.count] {
            if to < start {
                merged[count] = (from, to);
                count += 1;
            } else if from <= end {
                (start, end) = (start.min(from), end.max(to));
            } else {
                if !placed {
                    merged[count] = (start, end);
                    count += 1;
                    placed = true;
                }
                merged[count] = (from, to);
                count += 1;
            }
        }
        if !placed {
            merged[count] = (start, end);
            count += 1;
        }
        if count > PARTS_MAX {
            return false;
        }
        self.spans.copy_from_slice(&merged[..PARTS_MAX]);
        self.count = count;
        true
    }

    /// Whether all of it is there.
    pub fn holds(&self, part: Part) -> bool {
        self.missing(part).is_none()
    }

    /// The first bytes of that part that are missing, up to the next ones that are there.
    pub fn missing(&self, wanted: Part) -> Option<Part> {
        let (mut start, mut end) = (wanted.start, wanted.start.saturating_add(wanted.len));
        for &(from, to) in &self.spans[..self.count] {
            if from <= start {
                start = start.max(to);
            } else {
                end = end.min(from);
                break;
            }
        }
        (start < end).then(|| Part { start, len: end - start })
    }

    /// What is there, in order.
    pub fn iter(&self) -> impl Iterator<Item = Part> + '_ {
        self.spans[..self.count].iter().map(|&(start, end)| Part { start, len: end - start })
    }
}

/// What a request wants of a representation of which only parts are stored, whose length is known: `None` for the whole or
/// where Range does not count.
pub fn wanted<'b>(request: impl FieldLines<'b>, stored: FieldBlock<'_>, length: u64) -> Option<Part> {
    if !if_range_holds(request, stored) {
        return None;
    }
    match request.single("range").map(|value| ranges(value, length)) {
        Some(Ranges::One(part)) => Some(part),
        Some(Ranges::Several | Ranges::None | Ranges::Invalid) | None => None,
    }
}

/// Appends `Range: bytes=0-9 CRLF`, to ask the origin for what is missing.
pub fn write_range(out: &mut Vec<u8>, part: Part) {
    out.extend_from_slice(b"Range: bytes=");
    write_positions(out, part);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    /// Lines are divided by `|`.
    fn lines(text: &str) -> String {
        text.split('|').filter(|line| !line.is_empty()).map(|line| format!("{line}\r\n")).collect()
    }

    fn selected(asked: &str, status: u16, stored: &str, length: u64) -> Selection {
        let (asked, stored) = (lines(asked), lines(stored));
        select(FieldBlock::new(asked.as_bytes()), status, FieldBlock::new(stored.as_bytes()), length)
    }

    fn part(start: u64, len: u64) -> Selection {
        Selection::Part(Part { start, len })
    }

    #[test]
    fn rule_35_ranges_of_ten_bytes() {
        for (range, expected) in [
            ("bytes=0-4", part(0, 5)),
            ("Bytes=0-4", part(0, 5)),
            ("bytes=0-0", part(0, 1)),
            ("bytes=9-9", part(9, 1)),
            ("bytes=0-9", part(0, 10)),
            ("bytes=0-10", part(0, 10)),
            ("bytes=5-99999999999999999999999999", part(5, 5)),
            ("bytes=3-", part(3, 7)),
            ("bytes=-3", part(7, 3)),
            ("bytes=-10", part(0, 10)),
            ("bytes=-99999999999999999999999999", part(0, 10)),
            ("bytes= 0-4 ", part(0, 5)),
            ("bytes=,0-4,,", part(0, 5)),
            ("bytes=10-", Selection::Unsatisfiable),
            ("bytes=10-20", Selection::Unsatisfiable),
            ("bytes=99999999999999999999999999-", Selection::Unsatisfiable),
            ("bytes=-0", Selection::Unsatisfiable),
            ("bytes=10-11, 12-13, -0", Selection::Unsatisfiable),
            ("bytes=0-1, 3-4", Selection::Whole),
            ("bytes=0-1, 20-", Selection::Whole),
            ("bytes=4-3", Selection::Whole),
            ("bytes=0-1, 4-3", Selection::Whole),
            ("bytes=-", Selection::Whole),
            ("bytes=", Selection::Whole),
            ("bytes", Selection::Whole),
            ("", Selection::Whole),
            ("bytes=a-b", Selection::Whole),
            ("bytes=0", Selection::Whole),
            ("bytes=0-4x", Selection::Whole),
            ("bytes=+0-4", Selection::Whole),
            ("bytes=0 -4", Selection::Whole),
            ("bytes=0-4-5", Selection::Whole),
            ("bytes=--4", Selection::Whole),
            ("bytes =0-4", Selection::Whole),
            ("items=0-4", Selection::Whole),
            ("bytes=0-4|Range: bytes=0-4", Selection::Whole),
        ] {
            assert_eq!(selected(&format!("Range: {range}"), 200, "", 10), expected, "{range}");
        }
        let many = |count| format!("Range: bytes={}", vec!["20-30"; count].join(","));
        assert_eq!(selected(&many(RANGES_MAX), 200, "", 10), Selection::Unsatisfiable);
        assert_eq!(selected(&many(RANGES_MAX + 1), 200, "", 10), Selection::Whole);
        for (asked, status, length) in
            [("", 200, 10), ("Range: bytes=0-4", 404, 10), ("Range: bytes=0-4", 200, 0)]
        {
            assert_eq!(selected(asked, status, "", length), Selection::Whole, "{asked} {status} {length}");
        }
        assert_eq!(selected("Range: bytes=-1", 200, "", u64::MAX), part(u64::MAX - 1, 1));
        assert_eq!(selected("Range: bytes=0-", 200, "", u64::MAX), part(0, u64::MAX));
    }

    #[test]
    fn rule_34_if_range_is_strong() {
        let dated = format!("Last-Modified: {OLD}|Date: Sun, 06 Nov 1994 08:49:38 GMT");
        for (condition, stored, holds) in [
            ("\"a\"", "ETag: \"a\"", true),
            ("\"a\"", "ETag: \"b\"", false),
            ("W/\"a\"", "ETag: W/\"a\"", false),
            ("\"a\"", "ETag: W/\"a\"", false),
            ("W/\"a\"", "ETag: \"a\"", false),
            ("\"a\", \"b\"", "ETag: \"a\"", false),
            ("*", "ETag: \"a\"", false),
            ("", "ETag: \"a\"", false),
            ("\"a\"", "", false),
            (OLD, &dated, true),
            ("Sunday, 06-Nov-94 08:49:37 GMT", &dated, true),
            ("Sun, 06 Nov 1994 08:49:38 GMT", &dated, false),
            ("Sun, 06 Nov 1994 08:49:36 GMT", &dated, false),
            // Made in the second in which it was changed: it may have changed again.
            (OLD, &format!("Last-Modified: {OLD}|Date: {OLD}"), false),
            (OLD, &format!("Last-Modified: {OLD}"), false),
            ("x", "Last-Modified: x|Date: x", false),
        ] {
            let found = selected(&format!("Range: bytes=0-4|If-Range: {condition}"), 200, stored, 10);
            assert_eq!(found, if holds { part(0, 5) } else { Selection::Whole }, "{condition} / {stored}");
        }
    }

    #[test]
    fn rule_35_content_range() {
        let mut out = Vec::new();
        write_content_range(&mut out, Part { start: 5, len: 5 }, 10);
        write_unsatisfied_range(&mut out, 10);
        write_range(&mut out, Part { start: 0, len: 1 });
        assert_eq!(out, b"Content-Range: bytes 5-9/10\r\nContent-Range: bytes */10\r\nRange: bytes=0-0\r\n");
        let most = i64::MAX as u64;
        for (value, expected) in [
            ("bytes 5-9/10", Some((5, 5, Some(10)))),
            ("BYTES 0-0/1", Some((0, 1, Some(1)))),
            ("bytes 0-4/*", Some((0, 5, None))),
            ("bytes 0-9223372036854775807/*", Some((0, most + 1, None))),
            ("bytes 5-9/9", None),
            ("bytes 5-4/10", None),
            ("bytes */10", None),
            ("bytes 5-9", None),
            ("bytes 5/10", None),
            ("bytes -9/10", None),
            ("bytes 5-/10", None),
            ("bytes  5-9/10", None),
            ("bytes=5-9/10", None),
            ("bytes 5-9/10, 11-12/20", None),
            ("bytes 5-9/10 ", None),
            ("items 5-9/10", None),
            ("bytes 0-9999999999999999999999/*", None),
            ("", None),
        ] {
            let found = ContentRange::parse(value.as_bytes());
            assert_eq!(
                found.map(|range| (range.part.start, range.part.len, range.length)),
                expected,
                "{value}"
            );
        }
    }

    #[test]
    fn rule_35_which_parts_combine() {
        for (stored, stored_length, new, new_length, expected) in [
            ("ETag: \"a\"", Some(10), "ETag: \"a\"", Some(10), true),
            ("ETag: \"a\"", None, "ETag: \"a\"", Some(10), true),
            ("ETag: \"a\"", Some(10), "ETag: \"a\"", Some(11), false),
            ("ETag: \"a\"", Some(10), "ETag: \"b\"", Some(10), false),
            ("ETag: W/\"a\"", Some(10), "ETag: W/\"a\"", Some(10), false),
            ("ETag: \"a\"", Some(10), "", Some(10), false),
            ("", Some(10), "", Some(10), false),
            ("ETag: \"a\"", Some(10), "ETag: \"a\"|ETag: \"a\"", Some(10), false),
        ] {
            let (one, other) = (lines(stored), lines(new));
            let (one, other) = (FieldBlock::new(one.as_bytes()), FieldBlock::new(other.as_bytes()));
            assert_eq!(may_combine(one, stored_length, other, new_length), expected, "{stored} / {new}");
        }
    }

    #[test]
    fn rule_35_parts_and_what_is_missing() {
        let mut parts = Parts::default();
        let whole = Part { start: 0, len: 100 };
        assert_eq!(parts.missing(whole), Some(whole));
        for (start, len, held) in [
            (50, 10, &[(50, 10)][..]),
            (0, 10, &[(0, 10), (50, 10)]),
            (20, 10, &[(0, 10), (20, 10), (50, 10)]),
            (30, 5, &[(0, 10), (20, 15), (50, 10)]),
            (15, 5, &[(0, 10), (15, 20), (50, 10)]),
            (22, 3, &[(0, 10), (15, 20), (50, 10)]),
            (5, 12, &[(0, 35), (50, 10)]),
            (34, 20, &[(0, 60)]),
            (70, 0, &[(0, 60)]),
            (99, 1, &[(0, 60), (99, 1)]),
        ] {
            assert!(parts.add(Part { start, len }));
            let found: Vec<_> = parts.iter().map(|part| (part.start, part.len)).collect();
            assert_eq!(found, held, "after {start} {len}");
        }
        assert_eq!(parts.missing(whole), Some(Part { start: 60, len: 39 }));
        assert_eq!(parts.missing(Part { start: 10, len: 50 }), None);
        assert_eq!(parts.missing(Part { start: 55, len: 10 }), Some(Part { start: 60, len: 5 }));
        assert!(parts.holds(Part { start: 99, len: 1 }) && !parts.holds(Part { start: 99, len: 2 }));
        assert!(parts.add(Part { start: 10, len: 89 }) && parts.holds(whole));
        assert!(!parts.add(Part { start: u64::MAX, len: 2 }));
    }

    #[test]
    fn rule_35_parts_are_bounded() {
        let mut parts = Parts::default();
        for number in 0..PARTS_MAX as u64 {
            assert!(parts.add(Part { start: number * 10, len: 5 }));
        }
        let before = parts;
        assert!(!parts.add(Part { start: 1000, len: 1 }));
        assert!(!parts.add(Part { start: 6, len: 1 }));
        assert_eq!(parts, before);
        assert!(parts.add(Part { start: 5, len: 5 }));
        assert_eq!(parts.iter().count(), PARTS_MAX - 1);
    }

    #[test]
    fn rule_35_what_is_wanted_of_parts() {
        let stored = lines("ETag: \"a\"");
        for (asked, expected) in [
            ("Range: bytes=2-4", Some((2, 3))),
            ("Range: bytes=-4", Some((6, 4))),
            ("Range: bytes=2-4|If-Range: \"a\"", Some((2, 3))),
            ("Range: bytes=2-4|If-Range: \"b\"", None),
            ("Range: bytes=2-4, 6-7", None),
            ("Range: bytes=20-", None),
            ("", None),
        ] {
            let asked = lines(asked);
            let found = wanted(FieldBlock::new(asked.as_bytes()), FieldBlock::new(stored.as_bytes()), 10);
            assert_eq!(found.map(|part| (part.start, part.len)), expected, "{asked}");
        }
    }
}
