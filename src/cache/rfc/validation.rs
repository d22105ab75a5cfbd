//! Entity tags and conditional requests: of clients on what is stored, and of the cache on the origin (RFC 9111 section
//! 4.3, RFC 9110 section 13).

use crate::http::block::{FieldBlock, FieldLines};
use crate::http::date::{http_date, parse_http_date};
use crate::http::fields::trim;
use crate::http::forwarding::{is_end_to_end, write_field};
use crate::http::framing::content_length;
use crate::http::head::Fields;

use crate::cache::rfc::control::{ResponseDirectives, is_withheld};
use crate::cache::rfc::freshness::{Terms, Times, date_s, initial_age_s};
use crate::cache::rfc::storable::{Storing, judge_fields};

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
        match take_tag(text) {
            Some((tag, b"")) => Some(tag),
            Some(_) | None => None,
        }
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

/// The tag that a text begins with, and what follows it.
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

/// The tags of a list. What is none is passed over up to the next comma; a backslash is a character like others here, so
/// that this is not the list of other fields.
struct Tags<'a> {
    rest: &'a [u8],
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
    // Elsewhere conditions have no meaning (RFC 9110 section 13.2.1).
    if !matches!(status, 200..=299) {
        return Answer::Whole;
    }
    let not_modified = if request.contains("if-none-match") {
        none_match_fails(request, stored)
    } else {
        let since = request.single("if-modified-since").and_then(|value| parse_http_date(value, now_s));
        since.is_some_and(|since| modified_s(stored, received_s) <= since)
    };
    if not_modified { Answer::NotModified } else { Answer::Whole }
}

/// Whether If-None-Match has a tag of what is stored, or `*`: the client has it.
fn none_match_fails<'b>(request: impl FieldLines<'b>, stored: FieldBlock<'_>) -> bool {
    if request.single("if-none-match") == Some(b"*") {
        return true;
    }
    let Some(stored) = stored.single("etag").and_then(EntityTag::parse) else { return false };
    request
        .values("if-none-match")
        .flat_map(|value| Tags { rest: value })
        .any(|tag| tag.weakly_equals(&stored))
}

/// Last-Modified, or what RFC 9111 section 4.3.2 puts in its place.
fn modified_s(stored: FieldBlock<'_>, received_s: u64) -> i64 {
    let modified = stored.single("last-modified").and_then(|value| parse_http_date(value, received_s));
    modified.unwrap_or_else(|| date_s(stored, received_s))
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
        let etag = fields.single("etag").filter(|value| EntityTag::parse(value).is_some());
        let last_modified =
            fields.single("last-modified").filter(|value| parse_http_date(value, 0).is_some());
        Validators { etag, last_modified }
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
    let (old, new) = (Validators::read(stored), Validators::read(not_modified));
    match (new.etag.and_then(EntityTag::parse), old.etag.and_then(EntityTag::parse)) {
        (Some(new), Some(old)) if new.weak => new.weakly_equals(&old),
        (Some(new), Some(old)) => new.strongly_equals(&old),
        (Some(_), None) => false,
        (None, _) => new.last_modified.is_none() || same_date(new.last_modified, old.last_modified),
    }
}

fn same_date(one: Option<&[u8]>, other: Option<&[u8]>) -> bool {
    let seconds = |value: Option<&[u8]>| value.and_then(|value| parse_http_date(value, 0));
    one == other || (one.is_some() && seconds(one) == seconds(other))
}

/// Appends the stored fields, updated by those of a 304, of a response to HEAD or of another part that came at these times
/// (RFC 9111 section 3.2): the block that replaces them, and that answers at once. Set-Cookie stays as it is stored: a new
/// one is for the one who asked (rule 52).
pub fn write_updated(out: &mut Vec<u8>, stored: FieldBlock<'_>, new: Fields<'_, '_>, times: Times) {
    let withheld = withheld_after(stored, new);
    let replaced = |name: &str| new.contains(name) && updates(new, name);
    let dated = new.contains("date");
    for (name, value) in stored.lines() {
        // A new answer without Date was made when it came.
        let undated = !dated && name.eq_ignore_ascii_case("date");
        if !undated && !replaced(name) && !withheld(name) {
            write_field(out, name, value);
        }
    }
    for (name, value) in new.iter().filter(|(name, _)| updates(new, name) && !withheld(name)) {
        write_field(out, name, value);
    }
    if !dated {
        write_field(out, "Date", &http_date(times.received_s));
    }
}

/// Appends those new fields that [`write_updated`] leaves out, because a qualified `private` or `no-cache` names them or
/// because they set cookies: they are for the one who asked.
pub fn write_withheld(out: &mut Vec<u8>, stored: FieldBlock<'_>, new: Fields<'_, '_>) {
    let withheld = withheld_after(stored, new);
    let cookie = |name: &str| is_set_cookie(name) && is_end_to_end(new, name);
    let only_once = |name: &str| cookie(name) || (updates(new, name) && withheld(name));
    for (name, value) in new.iter().filter(|(name, _)| only_once(name)) {
        write_field(out, name, value);
    }
}

/// Fields that set cookies. The second one is obsolete (RFC 6265 section 3 has replaced RFC 2965), and some still honour it.
const SETS_COOKIES: [&str; 2] = ["set-cookie", "set-cookie2"];

/// Whether the field sets cookies.
pub fn is_set_cookie(name: &str) -> bool {
    SETS_COOKIES.iter().any(|field| name.eq_ignore_ascii_case(field))
}

/// Whether one of the fields does.
pub fn sets_cookies<'b>(fields: impl FieldLines<'b>) -> bool {
    SETS_COOKIES.iter().any(|field| fields.contains(field))
}

/// Whether a field of a 304 replaces the stored ones: not the length and the form of what is stored, not what is about the
/// connection (RFC 9111 section 3.2), and no cookies. Each answer gets an Age of its own.
fn updates(new: Fields<'_, '_>, name: &str) -> bool {
    const KEPT: [&str; 4] = ["content-encoding", "content-type", "content-range", "age"];
    // Content-Length is framing.
    let kept = KEPT.iter().any(|kept| name.eq_ignore_ascii_case(kept)) || is_set_cookie(name);
    !kept && is_end_to_end(new, name)
}

/// Which names are not stored: as the new Cache-Control says, or the old one where there is no new one.
fn withheld_after<'a>(stored: FieldBlock<'a>, new: Fields<'a, 'a>) -> impl Fn(&str) -> bool + 'a {
    let replaced = new.contains("cache-control");
    let named = |directives: ResponseDirectives| directives.private_fields || directives.no_cache_fields;
    let any = named(match replaced {
        true => ResponseDirectives::read(new, &[]),
        false => ResponseDirectives::read(stored, &[]),
    });
    move |name| any && if replaced { is_withheld(new, name) } else { is_withheld(stored, name) }
}

/// What an update makes of a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Updated {
    /// Its new terms.
    pub terms: Terms,
    /// What it says now.
    pub directives: ResponseDirectives,
    /// It may still be stored. If not, it answers this request and goes.
    pub keep: bool,
}

/// Judges a block that [`write_updated`] wrote. `new` are the fields that it was updated with, for their Age; `authorized`
/// tells whether the request that they answer had credentials.
pub fn judge_updated(
    status: u16,
    block: FieldBlock<'_>,
    new: Fields<'_, '_>,
    authorized: bool,
    times: Times,
    settings: &Storing<'_>,
) -> Updated {
    let directives = ResponseDirectives::read(block, settings.targeted);
    let mut terms = Terms::new(status, block, &directives, times, &settings.freshness);
    terms.initial_age_s = initial_age_s(new, date_s(block, times.received_s), times);
    let keep = judge_fields(status, block, &directives, &terms, authorized).is_ok();
    Updated { terms, directives, keep }
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
    if status != 200 {
        return Head::Nothing;
    }
    let etag = new.single("etag");
    let modified = new.single("last-modified");
    let same = (etag.is_none() || etag == stored.single("etag"))
        && (modified.is_none() || same_date(modified, stored.single("last-modified")))
        && content_length(new).is_ok_and(|length| length.is_none_or(|length| length == stored_length));
    if same { Head::Updates } else { Head::Invalidates }
}

/// Appends those of the stored fields that a 304 to a client has (RFC 9110 section 15.4.5).
pub fn write_not_modified(out: &mut Vec<u8>, stored: FieldBlock<'_>) {
    const NAMES: [&str; 5] = ["etag", "date", "vary", "expires", "content-location"];
    let tagged = stored.contains("etag");
    for (name, value) in stored.lines() {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        // Targeted fields are called so too (RFC 9213 section 2.3).
        let end = name.len().checked_sub("cache-control".len()).and_then(|at| name.get(at..));
        let controls = end.is_some_and(|end| end.eq_ignore_ascii_case("cache-control"));
        if controls || NAMES.iter().any(|known| is(known)) || (!tagged && is("last-modified")) {
            write_field(out, name, value);
        }
    }
}

#[cfg(test)]
#[path = "validation_tests.rs"]
mod tests;
