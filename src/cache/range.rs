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

/// Where the bytes of an incomplete stored response belong (RFC 9111 section 3.3): one stretch without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Which bytes.
    pub part: Part,
    /// Of how many.
    pub length: u64,
}

impl Fragment {
    /// `None` if that is all of it.
    pub fn of(part: Part, length: u64) -> Option<Fragment> {
        (part.len < length).then_some(Fragment { part, length })
    }
}

impl Part {
    /// Behind its last byte.
    pub fn end(self) -> u64 {
        self.start.saturating_add(self.len)
    }

    /// Whether all of `other` lies in it.
    pub fn holds(self, other: Part) -> bool {
        self.start <= other.start && other.end() <= self.end()
    }

    /// Whether both together have no gap.
    pub fn touches(self, other: Part) -> bool {
        self.start <= other.end() && other.start <= self.end()
    }

    /// What is to be fetched so that, with these bytes, `wanted` is whole: the bytes in front of them or behind them. `None`
    /// if that would be both, or if none of these bytes are wanted, or nothing is missing.
    pub fn missing(self, wanted: Part) -> Option<Part> {
        let useful = wanted.start < self.end() && self.start < wanted.end();
        match (wanted.start < self.start, self.end() < wanted.end()) {
            (true, false) if useful => Some(Part { start: wanted.start, len: self.start - wanted.start }),
            (false, true) if useful => Some(Part { start: self.end(), len: wanted.end() - self.end() }),
            (true | false, true | false) => None,
        }
    }
}

/// Whether a 206 with these fields is a part of the representation that is stored: both have the same strong tag, and
/// nothing in the new one says that it is coded otherwise. Their lengths are compared elsewhere.
pub fn may_combine<'a, 'b>(stored: impl FieldLines<'a>, new: impl FieldLines<'b>) -> bool {
    // What answers If-Range leaves out what the client knows (RFC 9110 section 15.3.7).
    let coding = new.single("content-encoding");
    let same_coding = !new.contains("content-encoding")
        || coding.is_some_and(|coding| {
            stored.single("content-encoding").is_some_and(|stored| stored.eq_ignore_ascii_case(coding))
        });
    match (Validators::read(stored).strong_etag(), Validators::read(new).strong_etag()) {
        (Some(stored), Some(new)) => same_coding && stored.strongly_equals(&new),
        (None, _) | (_, None) => false,
    }
}

/// Several parts in one body: not taken apart here.
pub fn is_multipart<'b>(fields: impl FieldLines<'b>) -> bool {
    fields
        .values("content-type")
        .any(|value| value.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/")))
}

/// What a GET wants of a representation of which only a part is stored, with that length: `None` where only the origin can
/// tell, because of several ranges, one that cannot be satisfied, or an If-Range about something else.
pub fn wanted<'b>(request: impl FieldLines<'b>, stored: FieldBlock<'_>, length: u64) -> Option<Part> {
    if !request.contains("range") {
        return (!request.contains("if-range")).then_some(Part { start: 0, len: length });
    }
    match select(request, 200, stored, length) {
        Selection::Part(part) => Some(part),
        Selection::Whole | Selection::Unsatisfiable => None,
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
        for (stored, new, expected) in [
            ("ETag: \"a\"", "ETag: \"a\"", true),
            ("ETag: \"a\"", "ETag: \"b\"", false),
            ("ETag: W/\"a\"", "ETag: W/\"a\"", false),
            ("ETag: W/\"a\"", "ETag: \"a\"", false),
            ("ETag: \"a\"", "ETag: W/\"a\"", false),
            ("ETag: \"a\"", "", false),
            ("", "", false),
            ("ETag: \"a\"", "ETag: \"a\"|ETag: \"a\"", false),
            ("Last-Modified: x", "Last-Modified: x", false),
            ("ETag: \"a\"|Content-Encoding: gzip", "ETag: \"a\"", true),
            ("ETag: \"a\"|Content-Encoding: gzip", "ETag: \"a\"|Content-Encoding: GZIP", true),
            ("ETag: \"a\"|Content-Encoding: gzip", "ETag: \"a\"|Content-Encoding: br", false),
            ("ETag: \"a\"", "ETag: \"a\"|Content-Encoding: gzip", false),
            ("ETag: \"a\"", "ETag: \"a\"|Content-Encoding: a|Content-Encoding: b", false),
        ] {
            let (one, other) = (lines(stored), lines(new));
            let (one, other) = (FieldBlock::new(one.as_bytes()), FieldBlock::new(other.as_bytes()));
            assert_eq!(may_combine(one, other), expected, "{stored} / {new}");
        }
        for (value, expected) in [
            ("multipart/byteranges; boundary=a", true),
            ("Multipart/Mixed", true),
            ("text/multipart", false),
            ("multi", false),
        ] {
            let fields = lines(&format!("Content-Type: {value}"));
            assert_eq!(is_multipart(FieldBlock::new(fields.as_bytes())), expected, "{value}");
        }
    }

    /// Every part of ten bytes and every wish, against the bytes themselves.
    #[test]
    fn rule_35_what_is_missing_of_a_part() {
        let all = || (0..10).flat_map(|start| (1..=10 - start).map(move |len| Part { start, len }));
        for (held, wish) in all().flat_map(|held| all().map(move |wish| (held, wish))) {
            let bytes = |part: Part| part.start..part.end();
            let absent: Vec<u64> = bytes(wish).filter(|at| !bytes(held).contains(at)).collect();
            assert_eq!(held.holds(wish), absent.is_empty(), "{held:?} {wish:?}");
            let apart = held.end() < wish.start || wish.end() < held.start;
            assert_eq!(held.touches(wish), !apart, "{held:?} {wish:?}");
            let in_a_row = absent.windows(2).all(|two| two[0] + 1 == two[1]);
            let useful = !absent.is_empty() && absent.len() < wish.len as usize && in_a_row;
            let expected = useful.then(|| Part { start: absent[0], len: absent.len() as u64 });
            assert_eq!(held.missing(wish), expected, "{held:?} {wish:?}");
        }
        assert_eq!(Fragment::of(Part { start: 0, len: 10 }, 10), None);
        let part = Part { start: 0, len: 9 };
        assert_eq!(Fragment::of(part, 10), Some(Fragment { part, length: 10 }));
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
            ("Range: lines=1-2", None),
            ("If-Range: \"a\"", None),
            ("", Some((0, 10))),
        ] {
            let asked = lines(asked);
            let found = wanted(FieldBlock::new(asked.as_bytes()), FieldBlock::new(stored.as_bytes()), 10);
            assert_eq!(found.map(|part| (part.start, part.len)), expected, "{asked}");
        }
    }
}
