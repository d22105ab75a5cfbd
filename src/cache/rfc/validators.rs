//! The validators of a stored response (RFC 9110 section 8.8), and the fields that set cookies.

use crate::http::block::FieldLines;
use crate::http::date::parse_http_date;
use crate::http::fields::trim;

/// An entity tag (RFC 9110 section 8.8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityTag<'a> {
    /// The tag begins with `W/`.
    pub weak: bool,
    /// The text between the quotes.
    pub opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// Reads a tag; `None` if it is invalid.
    pub fn parse(text: &'a [u8]) -> Option<EntityTag<'a>> {
        match take_tag(text) {
            Some((tag, b"")) => Some(tag),
            Some(_) | None => None,
        }
    }

    /// Strong comparison (RFC 9110 section 8.8.3.2).
    pub fn strongly_equals(&self, other: &EntityTag<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// Weak comparison (RFC 9110 section 8.8.3.2).
    pub fn weakly_equals(&self, other: &EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }
}

/// The tag at the beginning of a text, and the text behind it.
fn take_tag(text: &[u8]) -> Option<(EntityTag<'_>, &[u8])> {
    let (weak, rest) = match text.strip_prefix(b"W/") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let rest = rest.strip_prefix(b"\"")?;
    let end = memchr::memchr(b'"', rest)?;
    let opaque = &rest[..end];
    let valid = opaque.iter().all(|&byte| byte > b' ' && byte != 0x7F);
    valid.then_some((EntityTag { weak, opaque }, &rest[end + 1..]))
}

/// The tags of a list. An invalid member is skipped up to the next comma. A backslash is an ordinary byte in a tag,
/// so other lists are split differently.
pub(in crate::cache) struct Tags<'a> {
    pub(in crate::cache) rest: &'a [u8],
}

impl<'a> Iterator for Tags<'a> {
    type Item = EntityTag<'a>;

    fn next(&mut self) -> Option<EntityTag<'a>> {
        while !self.rest.is_empty() {
            let taken = take_tag(trim(self.rest));
            let after = taken.map_or(self.rest, |(_, rest)| rest);
            let end = memchr::memchr(b',', after).unwrap_or(after.len());
            let alone = trim(&after[..end]).is_empty();
            self.rest = after.get(end + 1..).unwrap_or_default();
            match taken {
                Some((tag, _)) if alone => return Some(tag),
                Some(_) | None => {}
            }
        }
        None
    }
}

/// The validators of a stored response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Validators<'b> {
    /// The value of ETag, if it is a single tag.
    pub etag: Option<&'b [u8]>,
    /// The value of Last-Modified, if it is a date.
    pub last_modified: Option<&'b [u8]>,
}

impl<'b> Validators<'b> {
    /// Reads the validators of a response.
    pub fn read(fields: impl FieldLines<'b>) -> Validators<'b> {
        let etag = fields.single("etag").filter(|value| EntityTag::parse(value).is_some());
        let last_modified =
            fields.single("last-modified").filter(|value| parse_http_date(value, 0).is_some());
        Validators { etag, last_modified }
    }

    /// Whether the response has no validator.
    pub fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }

    /// The tag, if it is strong.
    pub fn strong_etag(&self) -> Option<EntityTag<'b>> {
        self.etag.and_then(EntityTag::parse).filter(|tag| !tag.weak)
    }

    /// The conditional fields for a request: name and value (If-None-Match, If-Modified-Since).
    pub fn conditions(&self) -> impl Iterator<Item = (&'static str, &'b [u8])> + use<'b> {
        let etag = self.etag.map(|tag| ("If-None-Match", tag));
        etag.into_iter().chain(self.last_modified.map(|date| ("If-Modified-Since", date)))
    }
}

/// Fields that set cookies. Set-Cookie2 is obsolete (RFC 6265 section 3 has replaced RFC 2965), but some clients
/// still use it.
const SETS_COOKIES: [&str; 2] = ["set-cookie", "set-cookie2"];

/// Whether a field sets cookies.
pub fn is_set_cookie(name: &str) -> bool {
    SETS_COOKIES.iter().any(|field| name.eq_ignore_ascii_case(field))
}

/// Whether one of the fields sets cookies.
pub fn sets_cookies<'b>(fields: impl FieldLines<'b>) -> bool {
    SETS_COOKIES.iter().any(|field| fields.contains(field))
}
