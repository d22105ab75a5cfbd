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
