//! Entity tags and conditional requests: of clients on what is stored, and of the cache on the origin (RFC 9111 section
//! 4.3, RFC 9110 section 13).

use crate::http::block::{FieldBlock, FieldLines};
use crate::http::head::Fields;

use super::control::ResponseDirectives;

/// An entity tag (RFC 9110 section 8.8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityTag<'a> {
    /// It begins with `W/`.
    pub weak: bool,
    /// What stands between the quotes.
    pub opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// Reads one; `None` if it is none.
    pub fn parse(text: &'a [u8]) -> Option<EntityTag<'a>> {
        let _ = text;
        None
    }

    /// Both strong, and the same.
    pub fn strongly_equals(&self, other: &EntityTag<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// The same, weak or not.
    pub fn weakly_equals(&self, other: &EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }
}

/// How a fresh stored response answers a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// With itself.
    Whole,
    /// With a 304: the client has it.
    NotModified,
}

/// Evaluates If-None-Match and If-Modified-Since of a GET or HEAD on a stored response; `received_s` stands in for a
/// missing Date, `now_s` is for dates with two-digit years.
pub fn answer<'b>(
    request: impl FieldLines<'b>,
    status: u16,
    stored: FieldBlock<'_>,
    received_s: u64,
    now_s: u64,
) -> Answer {
    let _ = (request, status, stored, received_s, now_s);
    Answer::Whole
}

/// Whether the request has a condition that only the origin can judge: If-Match and If-Unmodified-Since. It then passes
/// the cache by (RFC 9111 section 4.3.2).
pub fn is_for_origin<'b>(request: impl FieldLines<'b>) -> bool {
    request.contains("if-match") || request.contains("if-unmodified-since")
}

/// The conditional fields of a client: taken out of a request that goes to the origin on the cache's own account, be it to
/// validate or to fetch the whole.
pub const CONDITIONAL_FIELDS: [&str; 6] =
    ["if-none-match", "if-modified-since", "if-range", "range", "if-match", "if-unmodified-since"];

/// What a stored response is validated with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Validators<'b> {
    /// The value of ETag, if it is one tag.
    pub etag: Option<&'b [u8]>,
    /// The value of Last-Modified, if it is a date.
    pub last_modified: Option<&'b [u8]>,
}

impl<'b> Validators<'b> {
    /// Those among the fields of a response, in a block or as received.
    pub fn read(fields: impl FieldLines<'b>) -> Validators<'b> {
        let _ = fields;
        Validators::default()
    }

    /// None at all.
    pub fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }

    /// The tag if it is strong.
    pub fn strong_etag(&self) -> Option<EntityTag<'b>> {
        self.etag.and_then(EntityTag::parse).filter(|tag| !tag.weak)
    }

    /// The fields to add to the request: name and value (If-None-Match, If-Modified-Since).
    pub fn conditions(&self) -> impl Iterator<Item = (&'static str, &'b [u8])> + use<'b> {
        let etag = self.etag.map(|tag| ("If-None-Match", tag));
        etag.into_iter().chain(self.last_modified.map(|date| ("If-Modified-Since", date)))
    }
}

/// Whether a 304 from the origin is about this stored response (RFC 9111 section 4.3.4). If not, the request is made again
/// without conditions.
pub fn confirms(stored: FieldBlock<'_>, not_modified: Fields<'_, '_>) -> bool {
    let _ = (stored, not_modified);
    false
}

/// Appends the stored fields, updated by those of a 304 or of a response to HEAD (RFC 9111 section 3.2): the block that
/// replaces them, and that answers at once. `directives` are those of the new fields.
pub fn write_updated(
    out: &mut Vec<u8>,
    stored: FieldBlock<'_>,
    new: Fields<'_, '_>,
    directives: &ResponseDirectives,
) {
    let _ = (out, stored, new, directives);
}

/// What the answer to a HEAD that went to the origin says about the stored response to GET (RFC 9111 section 4.3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// It is the same: update its fields.
    Updates,
    /// It is another one: no longer use what is stored.
    Invalidates,
    /// Nothing.
    Nothing,
}

/// Compares the answer to a HEAD with the stored response of that length.
pub fn head_says(stored: FieldBlock<'_>, stored_length: u64, status: u16, new: Fields<'_, '_>) -> Head {
    let _ = (stored, stored_length, status, new);
    Head::Nothing
}

/// Appends those of the stored fields that a 304 to a client has (RFC 9110 section 15.4.5).
pub fn write_not_modified(out: &mut Vec<u8>, stored: FieldBlock<'_>) {
    let _ = (out, stored);
}
