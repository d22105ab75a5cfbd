//! Range, If-Range and Content-Range (RFC 9110 section 14), and responses that are combined from parts (section
//! 15.3.7.3).

use crate::http::block::{FieldBlock, FieldLines};
use crate::http::date::parse_http_date;
use crate::http::fields::{decimal, trim, write_decimal};

use crate::cache::rfc::validators::{EntityTag, Validators};

/// Most ranges of one request that are read (chosen: no client needs more; with more the whole is sent).
pub const RANGES_MAX: usize = 16;

/// The part of a stored response that a request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The whole response.
    Whole,
    /// A 206 with this part.
    Part(Part),
    /// A 416: `Content-Range: bytes */length` and no part.
    Unsatisfiable,
}

/// A range of bytes of a representation; at least one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The first byte, from 0.
    pub start: u64,
    /// Number of bytes.
    pub len: u64,
}

/// Selects the part of a complete stored response, of that status and length, that a GET gets.
pub fn select<'b>(
    request: impl FieldLines<'b>,
    status: u16,
    stored: FieldBlock<'_>,
    length: u64,
) -> Selection {
    // An empty representation has no part, and a server may ignore Range (RFC 9110 section 14.2).
    if status != 200 || length == 0 || !request.contains("range") || !if_range_holds(request, stored) {
        return Selection::Whole;
    }
    match request.single("range").map(|value| ranges(value, length)) {
        Some(Ranges::One(part)) => Selection::Part(part),
        Some(Ranges::None) => Selection::Unsatisfiable,
        Some(Ranges::Several | Ranges::Invalid) | None => Selection::Whole,
    }
}

/// The ranges that a Range field asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ranges {
    One(Part),
    Several,
    /// None of the ranges is within the representation.
    None,
    /// The field is ignored.
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

/// One range: `None` if it is invalid, `Some(None)` if it is outside of the representation.
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

/// Digits only; saturates at 2^64.
fn position(digits: &[u8]) -> Option<u64> {
    let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    valid.then(|| digits.iter().fold(0, add))
}

/// Whether Range applies: If-Range is missing, or equals the strong validator of the stored response.
pub fn if_range_holds<'b>(request: impl FieldLines<'b>, stored: FieldBlock<'_>) -> bool {
    if !request.contains("if-range") {
        return true;
    }
    let Some(condition) = request.single("if-range") else { return false };
    if let Some(tag) = EntityTag::parse(condition) {
        let stored = Validators::read(stored).strong_etag();
        return stored.is_some_and(|stored| tag.strongly_equals(&stored));
    }
    // A date is a strong validator only if the stored Date is later than Last-Modified (RFC 9110 section 8.8.2.2).
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

/// Appends `Content-Range: bytes */100 CRLF`, for a 416.
pub fn write_unsatisfied_range(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Range: bytes */");
    write_decimal(out, length);
    out.extend_from_slice(b"\r\n");
}

/// The Content-Range of a 206.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// The range of bytes.
    pub part: Part,
    /// Length of the whole representation, if it is known.
    pub length: Option<u64>,
}

impl ContentRange {
    /// Reads `bytes 0-9/100` or `bytes 0-9/*`. `None` for anything else, and for contradictions.
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

/// Most parts of one entry (chosen: seeking in a film leaves a dozen; each part takes 16 bytes, and storing another
/// part looks at all of them).
pub const PARTS_MAX: usize = 64;

/// The parts of a representation that an incomplete stored response holds, in order, with gaps between them (RFC 9111
/// section 3.3). The body holds their bytes one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// The first part; a response from an origin has no other.
    pub part: Part,
    /// The other parts, encoded.
    more: &'a [u8],
    /// Length of the whole representation.
    pub length: u64,
}

/// Bytes of an encoded part: two numbers.
const PART_BYTES: usize = 16;

/// Bytes behind the parts: the length of the representation and the number of parts.
const END_BYTES: usize = 16;

impl<'a> Fragment<'a> {
    /// A fragment of one part, which may be the whole representation.
    pub fn single(part: Part, length: u64) -> Fragment<'a> {
        Fragment { part, more: &[], length }
    }

    /// A fragment of one part. `None` if the part is the whole representation.
    pub fn partial(part: Part, length: u64) -> Option<Fragment<'a>> {
        (part.len < length).then_some(Fragment::single(part, length))
    }

    /// A fragment of several parts, encoded into `room`. `None` if the parts are the whole representation.
    pub fn from_parts(parts: &[Part], length: u64, room: &'a mut Vec<u8>) -> Option<Fragment<'a>> {
        let (first, rest) = parts.split_first()?;
        room.clear();
        rest.iter().for_each(|part| part.write(room));
        Some(Fragment { more: room, ..Fragment::partial(*first, length)? })
    }

    /// All parts.
    pub fn parts(self) -> impl Iterator<Item = Part> + use<'a> {
        std::iter::once(self.part).chain(self.more.chunks_exact(PART_BYTES).map(Part::read))
    }

    /// Bytes of all parts together.
    pub fn bytes(self) -> u64 {
        self.parts().fold(0, |sum, part| sum.saturating_add(part.len))
    }

    /// Appends the fragment. [`Fragment::read`] reads it from the end of the text.
    pub fn write(self, out: &mut Vec<u8>) {
        self.part.write(out);
        out.extend_from_slice(self.more);
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend_from_slice(&(1 + (self.more.len() / PART_BYTES) as u64).to_le_bytes());
    }

    /// Reads the fragment at the end of `text`, and returns the text before it too.
    pub fn read(text: &'a [u8]) -> Option<(&'a [u8], Fragment<'a>)> {
        let (text, end) = text.split_at_checked(text.len().checked_sub(END_BYTES)?)?;
        let Part { start: length, len: count } = Part::read(end);
        let bytes = usize::try_from(count).ok()?.checked_mul(PART_BYTES)?;
        let (text, parts) = text.split_at_checked(text.len().checked_sub(bytes)?)?;
        let (first, more) = parts.split_at_checked(PART_BYTES)?;
        Some((text, Fragment { part: Part::read(first), more, length }))
    }

    /// Whether the fragment is possible: a cache file may contain anything.
    pub fn is_valid(self) -> bool {
        let ends = |part: Part| part.start.checked_add(part.len).filter(|_| part.len > 0);
        let apart = |(one, next): (Part, Part)| ends(one).is_some_and(|end| end < next.start);
        self.more.len() < PARTS_MAX * PART_BYTES
            && self.parts().zip(self.parts().skip(1)).all(apart)
            && self.parts().last().and_then(ends).is_some_and(|end| end <= self.length)
            && self.part.len < self.length
    }
}

impl Part {
    /// The position behind the last byte.
    pub fn end(self) -> u64 {
        self.start.saturating_add(self.len)
    }

    /// Whether `other` lies within this part.
    pub fn contains(self, other: Part) -> bool {
        self.start <= other.start && other.end() <= self.end()
    }

    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.start.to_le_bytes());
        out.extend_from_slice(&self.len.to_le_bytes());
    }

    /// Reads a part of [`PART_BYTES`] bytes.
    fn read(bytes: &[u8]) -> Part {
        let number = |bytes: &[u8]| bytes.iter().rfold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let (start, len) = bytes.split_at(bytes.len() / 2);
        Part { start: number(start), len: number(len) }
    }
}

/// The range to fetch so that `wanted` is complete together with `parts`: from the first missing byte to the last,
/// including stored bytes between them. `None` if all of `wanted` is missing, or nothing is.
pub fn missing(parts: impl IntoIterator<Item = Part>, wanted: Part) -> Option<Part> {
    let (mut start, mut end) = (wanted.start, wanted.end());
    for part in parts {
        if part.start <= wanted.start && wanted.start < part.end() {
            start = part.end();
        }
        if part.start < wanted.end() && wanted.end() <= part.end() {
            end = part.start;
        }
    }
    let len = end.checked_sub(start).filter(|len| (1..wanted.len).contains(len))?;
    Some(Part { start, len })
}

/// Whether a 206 with these fields belongs to the stored representation: both have the same strong entity tag, and
/// the new fields name no other content coding. The caller compares the lengths.
pub fn may_combine<'a, 'b>(stored: impl FieldLines<'a>, new: impl FieldLines<'b>) -> bool {
    // A response to If-Range leaves out fields that the client has (RFC 9110 section 15.3.7).
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

/// Whether the response is a multipart one, whose parts are not read.
pub fn is_multipart<'b>(fields: impl FieldLines<'b>) -> bool {
    fields
        .values("content-type")
        .any(|value| value.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/")))
}

/// The range that a GET wants of a representation of that length, of which only parts are stored. `None` where only
/// the origin can answer: several ranges, an unsatisfiable range, or an If-Range with another validator.
pub fn wanted<'b>(request: impl FieldLines<'b>, stored: FieldBlock<'_>, length: u64) -> Option<Part> {
    if !request.contains("range") {
        return (!request.contains("if-range")).then_some(Part { start: 0, len: length });
    }
    match select(request, 200, stored, length) {
        Selection::Part(part) => Some(part),
        Selection::Whole | Selection::Unsatisfiable => None,
    }
}

/// Appends `Range: bytes=0-9 CRLF`, for a request to the origin.
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

    /// Every set of parts of eight bytes and every wish, against the bytes themselves.
    #[test]
    fn rule_35_what_is_missing_of_parts() {
        const LENGTH: u64 = 8;
        for held in 1..1_u32 << LENGTH {
            let has = |at: u64| at < LENGTH && held >> at & 1 == 1;
            let starts = (0..LENGTH).filter(|&at| has(at) && (at == 0 || !has(at - 1)));
            let parts: Vec<Part> = starts
                .map(|start| Part { start, len: (start..).take_while(|&at| has(at)).count() as u64 })
                .collect();
            for wish in (0..LENGTH).flat_map(|start| (1..=LENGTH - start).map(move |len| Part { start, len }))
            {
                let absent: Vec<u64> = (wish.start..wish.end()).filter(|&at| !has(at)).collect();
                let holds = parts.iter().any(|part| part.contains(wish));
                assert_eq!(holds, absent.is_empty(), "{held:b} {wish:?}");
                let expected = absent
                    .first()
                    .zip(absent.last())
                    .map(|(&first, &last)| Part { start: first, len: last + 1 - first });
                let useful = expected.filter(|part| part.len < wish.len);
                assert_eq!(missing(parts.iter().copied(), wish), useful, "{held:b} {wish:?}");
            }
            let (mut room, mut written) = (Vec::new(), b"before".to_vec());
            let fragment = Fragment::from_parts(&parts, LENGTH, &mut room);
            assert_eq!(fragment.is_none(), held == (1 << LENGTH) - 1);
            let Some(fragment) = fragment else { continue };
            assert!(fragment.is_valid() && fragment.parts().eq(parts.iter().copied()), "{held:b}");
            assert_eq!(fragment.bytes(), u64::from(held.count_ones()));
            fragment.write(&mut written);
            assert_eq!(Fragment::read(&written), Some((&b"before"[..], fragment)));
        }
        assert_eq!(Fragment::partial(Part { start: 0, len: 10 }, 10), None);
        let found = Fragment::partial(Part { start: 0, len: 9 }, 10).unwrap();
        assert!(found.parts().eq([Part { start: 0, len: 9 }]) && found.length == 10);
    }

    #[test]
    fn rule_35_fragments_of_a_file_may_be_anything() {
        let most = u64::MAX;
        let many: Vec<(u64, u64)> = (0..=PARTS_MAX as u64).map(|at| (2 * at, 1)).collect();
        for (parts, length, valid) in [
            (&[(0, 1)][..], 2, true),
            (&[(1, 1)], 2, true),
            (&[(0, 1), (2, 3)], 5, true),
            (&many[1..], 1000, true),
            (&many, 1000, false),
            (&[(0, 2)], 2, false),
            (&[(1, 2)], 2, false),
            (&[(0, 0)], 2, false),
            (&[(0, 1), (1, 1)], 5, false),
            (&[(0, 1), (2, 0)], 5, false),
            (&[(2, 1), (0, 1)], 5, false),
            (&[(0, 3), (2, 4)], 9, false),
            (&[(0, 1), (2, most)], most, false),
            (&[(most, 1)], most, false),
            (&[(0, most), (2, 1)], most, false),
        ] {
            let parts: Vec<Part> = parts.iter().map(|&(start, len)| Part { start, len }).collect();
            let mut room = Vec::new();
            parts.iter().for_each(|part| part.write(&mut room));
            Part { start: length, len: parts.len() as u64 }.write(&mut room);
            let (before, fragment) = Fragment::read(&room).unwrap();
            assert_eq!((before, fragment.is_valid()), (&[][..], valid), "{parts:?} {length}");
        }
        let mut room = Vec::new();
        for count in [0, 1, most / 16, most / 16 + 1, most] {
            room.clear();
            Part { start: 9, len: count }.write(&mut room);
            assert_eq!(Fragment::read(&room), None, "{count}");
        }
        assert_eq!(Fragment::read(b"short"), None);
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
