//! Entity tags and conditional requests (RFC 9111 section 4.3, RFC 9110 section 13). Conditions of clients are
//! evaluated on a stored response; conditions of the cache go to the origin.

use crate::http::block::{FieldBlock, FieldLines};
use crate::http::date::{http_date, parse_http_date};
use crate::http::forwarding::{is_end_to_end, write_field};
use crate::http::framing::content_length;
use crate::http::head::Fields;

use crate::cache::rfc::control::{ResponseDirectives, is_withheld};
use crate::cache::rfc::freshness::{Terms, Times, date_s, initial_age_s};
use crate::cache::rfc::storable::{Storing, judge_directives, judge_fields};
use crate::cache::rfc::validators::Tags;
pub use crate::cache::rfc::validators::{EntityTag, Validators, is_set_cookie, sets_cookies};

/// The answer of a fresh stored response to a conditional request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The stored response.
    Whole,
    /// A 304.
    NotModified,
}

/// Evaluates If-None-Match and If-Modified-Since of a GET or HEAD on a stored response. `received_s` replaces a
/// missing Date, and `now_s` is for dates with two-digit years.
pub fn answer<'b>(
    request: impl FieldLines<'b>,
    status: u16,
    stored: FieldBlock<'_>,
    received_s: u64,
    now_s: u64,
) -> Answer {
    // For other statuses conditions are ignored (RFC 9110 section 13.2.1).
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

/// Whether If-None-Match contains the stored tag, or `*`.
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

/// Last-Modified, or the date that RFC 9111 section 4.3.2 uses instead.
fn modified_s(stored: FieldBlock<'_>, received_s: u64) -> i64 {
    let modified = stored.single("last-modified").and_then(|value| parse_http_date(value, received_s));
    modified.unwrap_or_else(|| date_s(stored, received_s))
}

/// Whether the request has a condition that only the origin can evaluate: If-Match or If-Unmodified-Since. The
/// request then bypasses the cache (RFC 9111 section 4.3.2).
pub fn is_for_origin<'b>(request: impl FieldLines<'b>) -> bool {
    request.contains("if-match") || request.contains("if-unmodified-since")
}

/// The conditional fields of a client, which are removed from a request that the cache makes for itself: to validate,
/// or to fetch the whole.
pub const CONDITIONAL_FIELDS: [&str; 6] =
    ["if-none-match", "if-modified-since", "if-range", "range", "if-match", "if-unmodified-since"];

/// Whether a 304 confirms this stored response (RFC 9111 section 4.3.4). If not, the request is repeated without
/// conditions.
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

/// Appends the stored fields, updated by those of a 304, of a response to HEAD or of another part (RFC 9111 section
/// 3.2). Set-Cookie stays as stored: a new cookie is for the requesting client only (rule 52).
pub fn write_updated(
    out: &mut Vec<u8>,
    stored: FieldBlock<'_>,
    new: Fields<'_, '_>,
    times: Times,
    targeted: &[&str],
) {
    let withheld = withheld_after(stored, new, targeted);
    let replaced = |name: &str| new.contains(name) && is_updatable(new, name);
    let dated = new.contains("date");
    for (name, value) in stored.lines() {
        // A new response without Date was made when it was received.
        let undated = !dated && name.eq_ignore_ascii_case("date");
        if !undated && !replaced(name) && !withheld(name) {
            write_field(out, name, value);
        }
    }
    for (name, value) in new.iter().filter(|(name, _)| is_updatable(new, name) && !withheld(name)) {
        write_field(out, name, value);
    }
    if !dated {
        write_field(out, "Date", &http_date(times.received_s));
    }
}

/// Appends the new fields that [`write_updated`] leaves out, because a qualified `private` or `no-cache` names them
/// or because they set cookies: they are for the requesting client only.
pub fn write_withheld(out: &mut Vec<u8>, stored: FieldBlock<'_>, new: Fields<'_, '_>, targeted: &[&str]) {
    let withheld = withheld_after(stored, new, targeted);
    let cookie = |name: &str| is_set_cookie(name) && is_end_to_end(new, name);
    let only_once = |name: &str| cookie(name) || (is_updatable(new, name) && withheld(name));
    for (name, value) in new.iter().filter(|(name, _)| only_once(name)) {
        write_field(out, name, value);
    }
}

/// Whether a field of a 304 replaces the stored one. Fields about length and form of the stored body, fields about
/// the connection (RFC 9111 section 3.2), cookies and Age, which each answer gets anew, do not.
fn is_updatable(new: Fields<'_, '_>, name: &str) -> bool {
    const KEPT: [&str; 4] = ["content-encoding", "content-type", "content-range", "age"];
    // Content-Length is framing.
    let kept = KEPT.iter().any(|kept| name.eq_ignore_ascii_case(kept)) || is_set_cookie(name);
    !kept && is_end_to_end(new, name)
}

/// The field names that are withheld: by the new Cache-Control, or by the stored one if there is no new one. None if a
/// targeted field counts in its place.
fn withheld_after<'a>(
    stored: FieldBlock<'a>,
    new: Fields<'a, 'a>,
    targeted: &[&str],
) -> impl Fn(&str) -> bool + use<'a> {
    let replaced = new.contains("cache-control");
    let named = |directives: ResponseDirectives| directives.private_fields || directives.no_cache_fields;
    let any = if targeted.iter().any(|name| new.contains(name)) {
        named(ResponseDirectives::read(new, targeted))
    } else if targeted.iter().any(|name| stored.contains(name)) {
        named(ResponseDirectives::read(stored, targeted))
    } else if replaced {
        named(ResponseDirectives::read(new, &[]))
    } else {
        named(ResponseDirectives::read(stored, &[]))
    };
    move |name| any && if replaced { is_withheld(new, name) } else { is_withheld(stored, name) }
}

/// A stored response after an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Updated {
    /// The new terms.
    pub terms: Terms,
    /// The new cache directives.
    pub directives: ResponseDirectives,
    /// The response may still be stored. If not, it answers this request and is removed.
    pub keep: bool,
}

/// Decides about a block that [`write_updated`] has written. `new` are the fields of the update, for their Age;
/// `authorized` tells whether their request had credentials.
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
    let keep = judge_directives(status, &directives, authorized)
        .and_then(|()| judge_fields(status, block, &directives, &terms))
        .is_ok();
    Updated { terms, directives, keep }
}

/// The effect of a response to HEAD on the stored response to GET (RFC 9111 section 4.3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadVerdict {
    /// Both are the same representation: the stored fields are updated.
    Updates,
    /// The HEAD describes another representation: the stored response is removed.
    Invalidates,
    /// The stored response stays as it is.
    Nothing,
}

/// Compares a response to HEAD with the stored response of that length. A stored error or redirect is outdated if GET would be
/// answered by something else (RFC 9110 section 9.3.2).
pub fn compare_head_response(
    stored_status: u16,
    stored: FieldBlock<'_>,
    stored_length: u64,
    status: u16,
    new: Fields<'_, '_>,
) -> HeadVerdict {
    if status != 200 {
        return HeadVerdict::Nothing;
    }
    if stored_status != status {
        return HeadVerdict::Invalidates;
    }
    let etag = new.single("etag");
    let modified = new.single("last-modified");
    let same = (etag.is_none() || etag == stored.single("etag"))
        && (modified.is_none() || same_date(modified, stored.single("last-modified")))
        && content_length(new).is_ok_and(|length| length.is_none_or(|length| length == stored_length));
    if same { HeadVerdict::Updates } else { HeadVerdict::Invalidates }
}

/// Appends the stored fields that belong into a 304 (RFC 9110 section 15.4.5); Last-Modified only in place of an entity tag.
pub fn write_not_modified(out: &mut Vec<u8>, stored: FieldBlock<'_>) {
    let mut write = |line: &[u8]| {
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    };
    let (mut tagged, mut modified) = (false, None);
    for line in stored.raw_lines() {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let name = &line[..colon];
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        // The name of a targeted field ends in the same way (RFC 9213 section 2.3).
        let controls =
            || name.last_chunk::<13>().is_some_and(|end| end.eq_ignore_ascii_case(b"cache-control"));
        if is("etag") {
            tagged = true;
            write(line);
        } else if is("last-modified") {
            modified.get_or_insert(line);
        } else if is("date") || is("vary") || is("expires") || is("content-location") || controls() {
            write(line);
        }
    }
    if let Some(modified) = modified.filter(|_| !tagged) {
        write(modified);
    }
}

#[cfg(test)]
#[path = "validation_tests.rs"]
mod tests;
