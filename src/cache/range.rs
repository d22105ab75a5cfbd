//! Range, If-Range and Content-Range (RFC 9110 section 14), and responses put together from parts (section 15.3.7.3).

use crate::http::block::{FieldBlock, FieldLines};

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
    let _ = (request, status, stored, length);
    Selection::Whole
}

/// Whether If-Range lets Range count: it is missing, or it is the strong validator of what is stored.
pub fn if_range_holds<'b>(request: impl FieldLines<'b>, stored: FieldBlock<'_>) -> bool {
    let _ = (request, stored);
    false
}

/// Appends `Content-Range: bytes 0-9/100 CRLF`.
pub fn write_content_range(out: &mut Vec<u8>, part: Part, length: u64) {
    let _ = (out, part, length);
}

/// Appends `Content-Range: bytes */100 CRLF`: that of a 416.
pub fn write_unsatisfied_range(out: &mut Vec<u8>, length: u64) {
    let _ = (out, length);
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
        let _ = value;
        None
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
    let _ = (stored, stored_length, new, new_length);
    false
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
        let _ = part;
        false
    }

    /// Whether all of it is there.
    pub fn holds(&self, part: Part) -> bool {
        let _ = part;
        false
    }

    /// The first bytes of that part that are missing, up to the next ones that are there.
    pub fn missing(&self, wanted: Part) -> Option<Part> {
        let _ = wanted;
        None
    }

    /// What is there, in order.
    pub fn iter(&self) -> impl Iterator<Item = Part> + '_ {
        self.spans[..self.count].iter().map(|&(start, end)| Part { start, len: end - start })
    }
}

/// What a request wants of a representation of which only parts are stored, whose length is known: `None` for the whole or
/// where Range does not count.
pub fn wanted<'b>(request: impl FieldLines<'b>, stored: FieldBlock<'_>, length: u64) -> Option<Part> {
    let _ = (request, stored, length);
    None
}

/// Appends `Range: bytes=0-9 CRLF`, to ask the origin for what is missing.
pub fn write_range(out: &mut Vec<u8>, part: Part) {
    let _ = (out, part);
}
