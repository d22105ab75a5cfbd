//! Which responses a shared cache may store (RFC 9111 section 3), and which of their fields.

use crate::http::block::FieldLines;
use crate::http::date::http_date;
use crate::http::forwarding::{has_doubtful_framing, is_end_to_end, is_of_connection, write_field};
use crate::http::framing::{Body, content_length, request_body};
use crate::http::head::{Fields, RequestHead, ResponseHead};

use crate::cache::rfc::control::{RequestDirectives, ResponseDirectives, is_withheld};
use crate::cache::rfc::freshness::{Freshness, Terms, Times, is_heuristic_status};
use crate::cache::rfc::range::{ContentRange, Fragment, is_multipart};
use crate::cache::rfc::validators::{Validators, sets_cookies};
use crate::cache::rfc::vary::VaryFault;

/// The operator's settings for storing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Storing<'a> {
    /// Freshness.
    pub freshness: Freshness,
    /// Names of targeted fields that this cache obeys, the most important first.
    pub targeted: &'a [&'a str],
}

/// The reason why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStored {
    /// The method is neither GET nor a POST whose response names its own URI.
    Method,
    /// A GET with a body, because the body is not part of the key.
    RequestBody,
    /// 1xx, 304, a status that depends on fields outside of the key, or an unknown status with `must-understand`.
    Status,
    /// The request has no-store.
    RequestNoStore,
    /// The response has no-store.
    NoStore,
    /// The response has private.
    Private,
    /// The request had credentials, and the response does not allow storing.
    Authorization,
    /// The connection is authenticated for one client, or the origin asks for such authentication.
    ConnectionAuth,
    /// The response has no lifetime and no validator.
    NoLifetime,
    /// The response is stale already and has no validator.
    Stale,
    /// Vary has `*`.
    VaryAny,
    /// Vary names too many fields, or their values are too long.
    VaryTooLong,
    /// The response sets a cookie, and has no directive that allows storing explicitly.
    SetCookie,
    /// The end of the body is ambiguous (RFC 9112 section 6.1).
    Framing,
    /// The body is longer than any that is stored.
    TooLarge,
    /// Too many bytes of the cache are held by responses under way or still being sent.
    NoRoom,
    /// A part that cannot be reused: a multipart one, one without a position, or one that was not asked for.
    Part,
}

impl NotStored {
    /// Whether the next response for the URI will most likely not be stored, either.
    pub fn is_lasting(self) -> bool {
        match self {
            NotStored::NoStore
            | NotStored::Private
            | NotStored::ConnectionAuth
            | NotStored::NoLifetime
            | NotStored::Stale
            | NotStored::VaryAny
            | NotStored::SetCookie => true,
            NotStored::Method
            | NotStored::RequestBody
            | NotStored::Status
            | NotStored::RequestNoStore
            | NotStored::Authorization
            | NotStored::VaryTooLong
            | NotStored::Framing
            | NotStored::TooLarge
            | NotStored::NoRoom
            | NotStored::Part => false,
        }
    }

    /// The word for the log and Cache-Status.
    pub fn as_str(self) -> &'static str {
        match self {
            NotStored::Method => "method",
            NotStored::RequestBody => "request-body",
            NotStored::Status => "status",
            NotStored::RequestNoStore => "request-no-store",
            NotStored::NoStore => "no-store",
            NotStored::Private => "private",
            NotStored::Authorization => "authorization",
            NotStored::ConnectionAuth => "connection-auth",
            NotStored::NoLifetime => "no-lifetime",
            NotStored::Stale => "stale",
            NotStored::VaryAny => "vary-any",
            NotStored::VaryTooLong => "vary-too-long",
            NotStored::SetCookie => "set-cookie",
            NotStored::Framing => "framing",
            NotStored::TooLarge => "too-large",
            NotStored::NoRoom => "no-room",
            NotStored::Part => "part",
        }
    }
}

impl From<VaryFault> for NotStored {
    fn from(fault: VaryFault) -> NotStored {
        match fault {
            VaryFault::Any => NotStored::VaryAny,
            VaryFault::TooLong => NotStored::VaryTooLong,
        }
    }
}

/// A response that may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storable {
    /// The properties that decide how long the response may be used.
    pub terms: Terms,
    /// The cache directives of the response.
    pub directives: ResponseDirectives,
    /// The part of the representation, if the response is a 206.
    pub part: Option<Fragment<'static>>,
}

/// Decides whether a response may be stored. Vary is checked by [`crate::cache::rfc::vary`], sizes by the store.
/// `own_uri` tells whether Content-Location names the requested URI (see
/// [`crate::cache::rfc::invalidation::content_location_is_own`]), which matters for POST only.
pub fn judge(
    request: &RequestHead<'_, '_>,
    asked: &RequestDirectives,
    response: &ResponseHead<'_, '_>,
    own_uri: bool,
    times: Times,
    settings: &Storing<'_>,
) -> Result<Storable, NotStored> {
    let (status, fields) = (response.status, response.fields);
    let is_post = match request.method {
        "GET" if has_body(request) => return Err(NotStored::RequestBody),
        "GET" => false,
        // Only a successful response names a representation.
        "POST" if own_uri && matches!(status, 200..=205 | 207..=299) => true,
        _ => return Err(NotStored::Method),
    };
    if !is_stored_status(status) {
        return Err(NotStored::Status);
    }
    if asked.no_store {
        return Err(NotStored::RequestNoStore);
    }
    if has_doubtful_framing(response.version, fields) {
        return Err(NotStored::Framing);
    }
    let directives = ResponseDirectives::read(fields, settings.targeted);
    let authorized = request.fields.contains("authorization");
    judge_directives(status, &directives, authorized)?;
    let terms = Terms::new(status, fields, &directives, times, &settings.freshness);
    // RFC 9110 section 9.3.3: what answers a POST needs an explicit lifetime.
    if is_post && !terms.explicit {
        return Err(NotStored::Method);
    }
    judge_fields(status, fields, &directives, &terms)?;
    let part = match status {
        206 => Some(part(fields).ok_or(NotStored::Part)?),
        _ => None,
    };
    Ok(Storable { terms, directives, part })
}

/// Decides by the cache directives of a response, before any date of it is read: most responses that are not stored say so
/// there. `authorized` tells whether the request had credentials.
pub fn judge_directives(
    status: u16,
    directives: &ResponseDirectives,
    authorized: bool,
) -> Result<(), NotStored> {
    match (directives.must_understand, is_understood(status)) {
        (true, true) => {}
        (true, false) => return Err(NotStored::Status),
        (false, _) if directives.no_store => return Err(NotStored::NoStore),
        (false, _) => {}
    }
    if directives.private {
        return Err(NotStored::Private);
    }
    if authorized && !directives.allows_authorized() {
        return Err(NotStored::Authorization);
    }
    Ok(())
}

/// Decides by the other fields of a response that [`judge_directives`] lets through: of a new response, and of a stored one
/// that a 304 or a response to HEAD has updated (rule 52).
pub fn judge_fields<'b>(
    status: u16,
    fields: impl FieldLines<'b>,
    directives: &ResponseDirectives,
    terms: &Terms,
) -> Result<(), NotStored> {
    // A cookie is not shared by default.
    if !terms.explicit && !directives.public && sets_cookies(fields) {
        return Err(NotStored::SetCookie);
    }
    let validators = match Validators::read(fields) {
        // A stale part is validated only if the answer can tell that its bytes are unchanged.
        validators if status == 206 && validators.strong_etag().is_none() => Validators::default(),
        validators => validators,
    };
    is_of_use(status, terms, directives, &validators)
}

/// Whether a stored response could ever be used.
fn is_of_use(
    status: u16,
    terms: &Terms,
    directives: &ResponseDirectives,
    validators: &Validators<'_>,
) -> Result<(), NotStored> {
    if !terms.explicit && !directives.public && !is_heuristic_status(status) {
        return Err(NotStored::NoLifetime);
    }
    if !validators.is_empty() {
        return Ok(());
    }
    let windows = terms.while_revalidate_s > 0 || terms.if_error_s.is_some_and(|seconds| seconds > 0);
    let usable = terms.lifetime_s > terms.initial_age_s || (windows && !terms.forbids_stale);
    match terms.explicit {
        _ if usable && !terms.no_cache => Ok(()),
        true => Err(NotStored::Stale),
        false => Err(NotStored::NoLifetime),
    }
}

/// The part of a 206, if its position and the length of the whole are known. A part without a validator answers
/// ranges within it (RFC 9111 section 3.3); a strong validator is needed to combine it with other parts (section
/// 3.4).
fn part(fields: Fields<'_, '_>) -> Option<Fragment<'static>> {
    let range = fields.single("content-range").and_then(ContentRange::parse)?;
    let length = content_length(fields).ok()?;
    let fits = length.is_none_or(|length| length == range.part.len) && !is_multipart(fields);
    Some(Fragment::single(range.part, range.length?)).filter(|_| fits)
}

/// Final statuses, except those that depend on request fields outside of the key (preconditions, Range, Expect,
/// fields that are too large, proxy credentials): the fields of one client would decide what all others get.
pub(in crate::cache) fn is_stored_status(status: u16) -> bool {
    // 426 is about the connection: its Upgrade (RFC 9110 section 15.5.22) is not stored.
    status >= 200 && !matches!(status, 304 | 407 | 412 | 416 | 417 | 426 | 431)
}

/// Statuses that say something about one client's request, and nothing about the stored response: its conditions, its range, its
/// credentials, the number of its requests.
pub fn is_about_request(status: u16) -> bool {
    !is_stored_status(status) || matches!(status, 401 | 429)
}

/// Whether weir knows the meaning of a status for caches: those of RFC 9110 section 15, RFC 6585 and RFC 7725.
fn is_understood(status: u16) -> bool {
    matches!(status, 200..=206 | 300..=303 | 305 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 428 | 429 | 431 | 451 | 500..=505 | 511)
}

fn has_body(request: &RequestHead<'_, '_>) -> bool {
    match request_body(request) {
        Ok(Body::None | Body::Length(0)) => false,
        Ok(Body::Length(_) | Body::Chunked | Body::UntilClose) | Err(_) => true,
    }
}

/// Appends the stored fields of a response: all but hop-by-hop fields, those that Connection or a qualified `private`
/// or `no-cache` names, Content-Length, and Age. A missing Date is set to the time of receipt (RFC 9110 section
/// 6.6.1). A `part` has no Content-Range, because its position is stored elsewhere.
pub fn write_block(
    out: &mut Vec<u8>,
    fields: Fields<'_, '_>,
    directives: &ResponseDirectives,
    times: Times,
    part: bool,
) {
    for (name, value) in fields.iter().filter(|(name, _)| is_stored(fields, directives, name)) {
        if !(part && name.eq_ignore_ascii_case("content-range")) {
            write_field(out, name, value);
        }
    }
    if !fields.contains("date") {
        write_field(out, "Date", &http_date(times.received_s));
    }
}

/// Whether a field is never stored, whatever the response says: Age, and fields of the connection or the framing.
pub(in crate::cache) fn is_never_stored(name: &str) -> bool {
    is_of_connection(name) || name.eq_ignore_ascii_case("age")
}

/// Whether the field of a response is stored.
pub fn is_stored(fields: Fields<'_, '_>, directives: &ResponseDirectives, name: &str) -> bool {
    let named = directives.private_fields || directives.no_cache_fields;
    // Each answer gets an Age of its own.
    !name.eq_ignore_ascii_case("age") && is_end_to_end(fields, name) && !(named && is_withheld(fields, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::{with_request, with_response};

    const TIMES: Times = Times { requested_s: 1_795_305_600, received_s: 1_795_305_600 };
    const MODIFIED: &str = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT";

    /// Lines are divided by `|`.
    fn head(first: &str, lines: &str) -> Vec<u8> {
        let lines = lines.split('|').filter(|line| !line.is_empty()).map(|line| format!("{line}\r\n"));
        format!("{first}\r\n{}\r\n", lines.collect::<String>()).into_bytes()
    }

    fn judged(method: &str, asked: &str, status: u16, lines: &str) -> Result<Storable, NotStored> {
        let settings = Storing { targeted: &["CDN-Cache-Control"], ..Storing::default() };
        with_request(&head(&format!("{method} / HTTP/1.1"), asked), |request| {
            with_response(&head(&format!("HTTP/1.1 {status} x"), lines), |response| {
                let asked = RequestDirectives::read(request.fields);
                judge(request, &asked, response, true, TIMES, &settings)
            })
        })
    }

    fn refusal(method: &str, asked: &str, status: u16, lines: &str) -> Option<NotStored> {
        judged(method, asked, status, lines).err()
    }

    fn block(lines: &str) -> String {
        with_response(&head("HTTP/1.1 200 OK", lines), |response| {
            let directives = ResponseDirectives::read(response.fields, &[]);
            let mut out = Vec::new();
            write_block(&mut out, response.fields, &directives, TIMES, false);
            String::from_utf8(out).unwrap().replace("\r\n", "|")
        })
    }

    #[test]
    fn rule_14_guessed_lifetimes_are_for_some_statuses() {
        for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
            assert_eq!(refusal("GET", "", status, MODIFIED), None, "{status}");
        }
        for status in [201, 202, 302, 303, 307, 400, 403, 418, 500, 502, 503, 504, 599] {
            assert_eq!(refusal("GET", "", status, MODIFIED), Some(NotStored::NoLifetime), "{status}");
            let public = format!("{MODIFIED}|Cache-Control: public");
            assert_eq!(refusal("GET", "", status, &public), None, "{status}");
        }
    }

    #[test]
    fn rule_15_what_can_be_validated_or_not() {
        for (lines, expected) in [
            ("", Some(NotStored::NoLifetime)),
            ("ETag: \"a\"", None),
            ("ETag: W/\"a\"", None),
            ("ETag: a", Some(NotStored::NoLifetime)),
            (MODIFIED, None),
            ("Cache-Control: max-age=0", Some(NotStored::Stale)),
            ("Cache-Control: max-age=0|ETag: \"a\"", None),
            ("Cache-Control: max-age=9|Age: 9", Some(NotStored::Stale)),
            ("Cache-Control: max-age=9|Age: 8", None),
            ("Expires: 0", Some(NotStored::Stale)),
            ("Cache-Control: no-cache, max-age=9", Some(NotStored::Stale)),
            ("Cache-Control: no-cache, max-age=9|ETag: \"a\"", None),
            ("Cache-Control: max-age=0, stale-while-revalidate=9", None),
            ("Cache-Control: max-age=0, stale-if-error=9", None),
            ("Cache-Control: max-age=0, stale-if-error=9, must-revalidate", Some(NotStored::Stale)),
        ] {
            assert_eq!(refusal("GET", "", 200, lines), expected, "{lines}");
        }
    }

    #[test]
    fn rule_16_explicit_freshness_stores_any_final_status() {
        for status in
            [200, 201, 202, 204, 299, 302, 303, 307, 400, 403, 404, 418, 499, 500, 503, 599, 600, 999]
        {
            for lines in [
                "Cache-Control: max-age=9",
                "Cache-Control: s-maxage=9",
                "CDN-Cache-Control: max-age=9",
                "Expires: Tue, 19 Jan 2038 03:14:08 GMT",
            ] {
                assert_eq!(refusal("GET", "", status, lines), None, "{status} {lines}");
            }
        }
        // Statuses that depend on fields outside of the key.
        for status in [304, 407, 412, 416, 417, 431] {
            let found = refusal("GET", "", status, "Cache-Control: max-age=9");
            assert_eq!(found, Some(NotStored::Status), "{status}");
        }
    }

    #[test]
    fn rule_17_must_understand() {
        for (status, lines, expected) in [
            (200, "Cache-Control: no-store, must-understand, max-age=9", None),
            (451, "Cache-Control: must-understand, no-store, max-age=9", None),
            (299, "Cache-Control: no-store, must-understand, max-age=9", Some(NotStored::Status)),
            (299, "Cache-Control: must-understand, max-age=9", Some(NotStored::Status)),
            (599, "Cache-Control: must-understand, max-age=9", Some(NotStored::Status)),
            (200, "Cache-Control: must-understand, private, max-age=9", Some(NotStored::Private)),
            (200, "Cache-Control: no-store, must-understand=1, max-age=9", Some(NotStored::NoStore)),
        ] {
            assert_eq!(refusal("GET", "", status, lines), expected, "{status} {lines}");
        }
        let asked =
            refusal("GET", "Cache-Control: no-store", 200, "Cache-Control: must-understand, max-age=9");
        assert_eq!(asked, Some(NotStored::RequestNoStore));
    }

    #[test]
    fn rule_18_private_and_no_store() {
        for (asked, lines, expected) in [
            ("", "Cache-Control: max-age=9, no-store", Some(NotStored::NoStore)),
            ("", "Cache-Control: max-age=9|Cache-Control: No-Store", Some(NotStored::NoStore)),
            ("", "Cache-Control: max-age=9, private", Some(NotStored::Private)),
            ("", "Cache-Control: s-maxage=9, public, private", Some(NotStored::Private)),
            ("", "Cache-Control: max-age=9, private=\"x y\"", Some(NotStored::Private)),
            ("", "Cache-Control: max-age=9, private=\"x\"", None),
            ("Cache-Control: no-store", "Cache-Control: max-age=9", Some(NotStored::RequestNoStore)),
            ("", "Cache-Control: private|CDN-Cache-Control: max-age=9", None),
            ("", "Cache-Control: max-age=9|CDN-Cache-Control: private", Some(NotStored::Private)),
        ] {
            assert_eq!(refusal("GET", asked, 200, lines), expected, "{asked} / {lines}");
        }
        assert_eq!(
            block("A: 1|Cache-Control: private=\"b, C\", max-age=9|B: 2|c: 3|Date: x"),
            "A: 1|Cache-Control: private=\"b, C\", max-age=9|Date: x|"
        );
    }

    #[test]
    fn rule_19_fields_of_no_cache_are_not_stored() {
        assert_eq!(
            block("Cache-Control: no-cache=Set-Cookie|Set-Cookie: a|Date: x"),
            "Cache-Control: no-cache=Set-Cookie|Date: x|"
        );
    }

    #[test]
    fn rule_21_what_is_stored_of_the_fields() {
        for (lines, stored) in [
            (
                "A: 1|Set-Cookie: b|Content-Range: x|Date: y|Warning: 1",
                "A: 1|Set-Cookie: b|Content-Range: x|Date: y|Warning: 1|",
            ),
            ("Date: y|a: 1|A:  2 |a:", "Date: y|a: 1|A: 2|a: |"),
            ("Date: y|Connection: X, close|x: 1|X: 2|y: 3", "Date: y|y: 3|"),
            (
                "Date: y|Keep-Alive: 1|Proxy-Connection: a|TE: b|Upgrade: c|Trailer: d|Transfer-Encoding: chunked",
                "Date: y|",
            ),
            (
                "Date: y|Content-Length: 5|Proxy-Authenticate: a|Proxy-Authentication-Info: b|Age: 7",
                "Date: y|",
            ),
            ("Date: y|Via: 1.1 a|Cache-Status: a; hit", "Date: y|Via: 1.1 a|Cache-Status: a; hit|"),
            // Without these the message would mean something else.
            (
                "Date: y|Connection: cache-control, date|Cache-Control: no-cache",
                "Date: y|Cache-Control: no-cache|",
            ),
            ("A: 1", "A: 1|Date: Sun, 22 Nov 2026 00:00:00 GMT|"),
        ] {
            assert_eq!(block(lines), stored, "{lines}");
        }
        assert_eq!(refusal("GET", "", 200, "Cache-Control: max-age=9|Set-Cookie: a"), None);
        assert_eq!(refusal("GET", "", 200, &format!("{MODIFIED}|Set-Cookie: a")), Some(NotStored::SetCookie));
        assert_eq!(
            refusal("GET", "", 200, &format!("{MODIFIED}|Set-Cookie2: a")),
            Some(NotStored::SetCookie)
        );
        assert_eq!(refusal("GET", "", 200, &format!("{MODIFIED}|Set-Cookie: a|Cache-Control: public")), None);
    }

    #[test]
    fn rule_22_authorization() {
        for (lines, expected) in [
            ("Cache-Control: max-age=9", Some(NotStored::Authorization)),
            (MODIFIED, Some(NotStored::Authorization)),
            ("Cache-Control: max-age=9, proxy-revalidate", Some(NotStored::Authorization)),
            ("Cache-Control: max-age=9, public", None),
            ("Cache-Control: max-age=9, must-revalidate", None),
            ("Cache-Control: s-maxage=9", None),
            ("CDN-Cache-Control: max-age=9|Cache-Control: public", Some(NotStored::Authorization)),
        ] {
            assert_eq!(refusal("GET", "Authorization: Basic eA==", 200, lines), expected, "{lines}");
            assert_eq!(refusal("GET", "Proxy-Authorization: Basic eA==", 200, lines), None, "{lines}");
        }
    }

    #[test]
    fn rule_26_a_body_is_not_in_the_key() {
        for (method, asked, stored) in [
            ("GET", "", None),
            ("GET", "Content-Length: 0", None),
            ("GET", "Content-Length: 5", Some(NotStored::RequestBody)),
            ("GET", "Transfer-Encoding: chunked", Some(NotStored::RequestBody)),
            ("HEAD", "", Some(NotStored::Method)),
            ("HEAD", "Content-Length: 5", Some(NotStored::Method)),
            ("get", "", Some(NotStored::Method)),
            ("POST", "", Some(NotStored::Method)),
        ] {
            assert_eq!(refusal(method, asked, 200, MODIFIED), stored, "{method} {asked}");
        }
        assert_eq!(NotStored::from(VaryFault::Any).as_str(), "vary-any");
        assert_eq!(NotStored::from(VaryFault::TooLong).as_str(), "vary-too-long");
    }

    #[test]
    fn rule_29_cookies_do_not_matter() {
        assert_eq!(refusal("GET", "Cookie: a=b", 200, MODIFIED), None);
    }

    #[test]
    fn rule_35_parts() {
        let part = |lines: &str| {
            judged("GET", "Range: bytes=0-4", 206, lines).map(|found| found.part.map(|part| part.part.len))
        };
        for (lines, expected) in [
            ("Cache-Control: max-age=9|ETag: \"a\"|Content-Range: bytes 0-4/9", Ok(Some(5))),
            ("ETag: \"a\"|Content-Range: bytes 0-4/9|Content-Length: 5", Ok(Some(5))),
            ("ETag: \"a\"|Content-Range: bytes 0-8/9", Ok(Some(9))),
            // The length of the whole is unknown.
            ("ETag: \"a\"|Content-Range: bytes 0-4/*", Err(NotStored::Part)),
            // Contradictions.
            ("ETag: \"a\"|Content-Range: bytes 0-4/9|Content-Length: 6", Err(NotStored::Part)),
            (
                "ETag: \"a\"|Content-Range: bytes 0-4/9|Content-Type: multipart/byteranges; boundary=a",
                Err(NotStored::Part),
            ),
            ("ETag: \"a\"|Content-Type: multipart/byteranges; boundary=a", Err(NotStored::Part)),
            ("ETag: \"a\"|Content-Range: bytes 0-4/9|Content-Range: bytes 0-4/9", Err(NotStored::Part)),
            // Without a validator it answers ranges within it, as long as it is fresh.
            ("Cache-Control: max-age=9|ETag: W/\"a\"|Content-Range: bytes 0-4/9", Ok(Some(5))),
            ("Cache-Control: max-age=9|Content-Range: bytes 0-4/9", Ok(Some(5))),
            (&format!("{MODIFIED}|Content-Range: bytes 0-4/9"), Ok(Some(5))),
            ("Cache-Control: max-age=0|ETag: \"a\"|Content-Range: bytes 0-4/9", Ok(Some(5))),
            ("Cache-Control: max-age=0|ETag: W/\"a\"|Content-Range: bytes 0-4/9", Err(NotStored::Stale)),
            ("ETag: W/\"a\"|Content-Range: bytes 0-4/9", Err(NotStored::NoLifetime)),
            ("Cache-Control: max-age=9|ETag: \"a\"|Content-Range: bytes 4-0/9", Err(NotStored::Part)),
            ("Cache-Control: max-age=9|ETag: \"a\"", Err(NotStored::Part)),
        ] {
            assert_eq!(part(lines), expected, "{lines}");
        }
    }

    #[test]
    fn rule_38_post() {
        let settings = Storing::default();
        for (own_uri, status, lines, expected) in [
            (true, 200, "Cache-Control: max-age=9", None),
            (true, 201, "Expires: Tue, 19 Jan 2038 03:14:08 GMT", None),
            (true, 200, MODIFIED, Some(NotStored::Method)),
            (true, 200, "Cache-Control: public", Some(NotStored::Method)),
            (true, 404, "Cache-Control: max-age=9", Some(NotStored::Method)),
            (true, 206, "Cache-Control: max-age=9", Some(NotStored::Method)),
            (false, 200, "Cache-Control: max-age=9", Some(NotStored::Method)),
        ] {
            let found = with_request(b"POST / HTTP/1.1\r\n\r\n", |request| {
                with_response(&head(&format!("HTTP/1.1 {status} x"), lines), |response| {
                    judge(request, &RequestDirectives::default(), response, own_uri, TIMES, &settings).err()
                })
            });
            assert_eq!(found, expected, "{own_uri} {status} {lines}");
        }
        for method in ["HEAD", "PUT", "DELETE", "OPTIONS", "get", "FOO"] {
            let found = refusal(method, "", 200, "Cache-Control: max-age=9");
            assert_eq!(found, Some(NotStored::Method), "{method}");
        }
    }

    #[test]
    fn rule_40_interim_responses_are_not_stored() {
        for status in [100, 101, 102, 103, 199] {
            let found = refusal("GET", "", status, "Cache-Control: max-age=9");
            assert_eq!(found, Some(NotStored::Status), "{status}");
        }
    }
}
