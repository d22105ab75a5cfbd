//! Caching: directives, dates, ranges, variants, keys.

use weir::cache::rfc::control::{RequestDirectives, ResponseDirectives, SECONDS_MAX};
use weir::cache::rfc::freshness::{Freshness, Terms, Times, Use, decide};
use weir::cache::rfc::invalidation::{content_location_is_own, for_each_key};
use weir::cache::rfc::key::{Scheme, Uri, write_key};
use weir::cache::rfc::range::{self, ContentRange, Part, Selection};
use weir::cache::rfc::storable::{Storing, judge, write_block};
use weir::cache::rfc::validation::{self, Answer, Validators};
use weir::cache::rfc::vary;
use weir::http::block::{FieldBlock, FieldLines};
use weir::http::date::{http_date, parse_http_date};
use weir::http::head::{Limits, Message, RequestHead, ResponseHead, Scanner};
use weir::http::target::Authority;

use super::pieces::{options, shown};
use super::reference;

/// 2026-11-22 00:00:00 UTC
const NOW_S: u64 = 1_795_305_600;
const TIMES: Times = Times { requested_s: NOW_S - 2, received_s: NOW_S };

/// Any text as an HTTP-date: a valid one has one of three forms, and keeps its meaning when it is written again.
pub fn http_date_text(bytes: &[u8]) {
    // In the year 9999 two digits mean years that cannot be written.
    let _ = parse_http_date(bytes, u64::MAX);
    for now_s in [0, NOW_S, 1 << 33] {
        let Some(unix_s) = parse_http_date(bytes, now_s) else { continue };
        assert!(matches!(bytes.len(), 24 | 29 | 30..=33), "{}", shown(bytes));
        assert!(
            bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b" ,:-".contains(byte)),
            "{}",
            shown(bytes)
        );
        assert!(bytes.len() == 24 || bytes.to_ascii_uppercase().ends_with(b" GMT"), "{}", shown(bytes));
        assert!(bytes.windows(2).all(|two| two != b"  ") || bytes.len() == 24, "{}", shown(bytes));
        if let Ok(unix_s) = u64::try_from(unix_s) {
            let written = http_date(unix_s);
            assert_eq!(parse_http_date(&written, now_s), i64::try_from(unix_s).ok(), "{}", shown(bytes));
            // All but the day of the week, the case, and a leap second.
            let leap = bytes.get(23..25) == Some(b"60");
            let same = bytes.len() != 29 || bytes[3..].eq_ignore_ascii_case(&written[3..]);
            assert!(same || leap, "{}", shown(bytes));
        }
    }
}

fn block(name: &str, value: &[u8]) -> Vec<u8> {
    [name.as_bytes(), b": ", value, b"\r\n"].concat()
}

/// Any text as Cache-Control: values are within bounds, no directive hides the next ones, and a simple reader agrees
/// where there are no quotes.
pub fn cache_control(bytes: &[u8]) {
    if !reference::is_text(bytes) {
        return;
    }
    let lines = block("Cache-Control", bytes);
    let found = ResponseDirectives::read(FieldBlock::new(&lines), &[]);
    let asked = RequestDirectives::read(FieldBlock::new(&lines));
    let seconds = [found.max_age_s, found.s_maxage_s, found.while_revalidate_s, found.if_error_s];
    assert!(seconds.into_iter().flatten().all(|seconds| seconds <= SECONDS_MAX), "{}", shown(bytes));
    let more = block("Cache-Control", &[bytes, b", no-store"].concat());
    let stricter = ResponseDirectives::read(FieldBlock::new(&more), &[]);
    let expected = ResponseDirectives { no_store: true, present: true, ..found };
    assert_eq!(stricter, expected, "{}", shown(bytes));
    if !bytes.contains(&b'"') {
        let has = |name: &str| {
            let members = bytes.split(|&byte| byte == b',').map(reference::trim);
            members
                .map(|member| member.split(|&byte| byte == b'=').next().map(reference::trim))
                .any(|found| found.is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes())))
        };
        assert_eq!(found.no_store, has("no-store"), "{}", shown(bytes));
        assert_eq!(found.private || found.private_fields, has("private"), "{}", shown(bytes));
        assert_eq!(found.max_age_s.is_some(), has("max-age"), "{}", shown(bytes));
        assert_eq!((asked.no_store, asked.no_cache), (has("no-store"), has("no-cache")), "{}", shown(bytes));
    }
    let terms = Terms::new(200, FieldBlock::new(&lines), &found, TIMES, &Freshness::default());
    for after_s in [0, 1, 10, 100_000, 1 << 40] {
        let decision = decide(&terms, &asked, NOW_S + after_s);
        if decision.usage != Use::Validate {
            assert!(!found.no_cache && !asked.no_cache, "{}", shown(bytes));
            assert!(decision.ttl_s > 0 || !found.forbids_stale(), "{}", shown(bytes));
        }
    }
    targeted(bytes);
}

/// A member that is valid for sure makes no invalid field valid, nor a valid one invalid.
fn targeted(bytes: &[u8]) {
    let read = |value: &[u8]| {
        let lines = block("CDN-Cache-Control", value);
        ResponseDirectives::read(FieldBlock::new(&lines), &["cdn-cache-control"])
    };
    let found = read(bytes);
    let more = read(&[b"a=1, ", bytes].concat());
    if found.targeted {
        assert_eq!(found, more, "{}", shown(bytes));
        assert!(!bytes.iter().any(u8::is_ascii_control) || bytes.contains(&b'\t'), "{}", shown(bytes));
    } else {
        assert!(!more.targeted || reference::trim(bytes) != bytes, "{}", shown(bytes));
    }
}

/// The first bytes are a length and what of it is stored, and once more with a gap; the rest is a Range: all against a plain
/// list of bytes.
pub fn range(bytes: &[u8]) {
    let (length, rest) = options(bytes);
    let (start, rest) = options(rest);
    let (len, value) = options(rest);
    let first = Part { start: u64::from(start), len: u64::from(len) };
    let held = [first, Part { start: first.end() + 2, ..first }];
    let length = u64::from(length);
    if !reference::is_text(value) {
        return;
    }
    let asked = block("Range", value);
    match range::select(FieldBlock::new(&asked), 200, FieldBlock::new(b""), length) {
        Selection::Part(part) => {
            assert!(part.len > 0 && part.start + part.len <= length, "{}", shown(value));
            let has = |at: &u64| held.iter().any(|held| (held.start..held.end()).contains(at));
            let absent: Vec<u64> = (part.start..part.end()).filter(|at| !has(at)).collect();
            assert_eq!(held.iter().any(|held| held.contains(part)), absent.is_empty(), "{}", shown(value));
            let between = absent.first().zip(absent.last()).map(|(first, last)| (*first, last + 1 - first));
            let expected = between.filter(|(_, len)| *len < part.len);
            let missing = range::missing(held, part).map(|part| (part.start, part.len));
            assert_eq!(missing, expected, "{}", shown(value));
            let mut out = Vec::new();
            range::write_content_range(&mut out, part, length);
            let text = out.strip_prefix(b"Content-Range: ").and_then(|text| text.strip_suffix(b"\r\n"));
            let expected = ContentRange { part, length: Some(length) };
            assert_eq!(text.and_then(ContentRange::parse), Some(expected), "{}", shown(value));
        }
        Selection::Unsatisfiable => assert!(length > 0, "{}", shown(value)),
        Selection::Whole => {}
    }
    if let Some(found) = ContentRange::parse(value) {
        assert!(found.part.len > 0, "{}", shown(value));
        assert!(
            found.length.is_none_or(|length| found.part.start + found.part.len <= length),
            "{}",
            shown(value)
        );
    }
}

/// A request and responses to it, one head behind the other: a stored response can be read and sent, and selects
/// itself.
pub fn cache_exchange(bytes: &[u8]) {
    let limits = Limits::default();
    let Ok(Some(end)) = Scanner::default().scan_request(bytes, &limits) else { return };
    let (first, rest) = bytes.split_at(end);
    let mut storage = Message::new();
    let Ok(request) = RequestHead::parse(first, &mut storage, &limits) else { return };
    let Ok(Some(end)) = Scanner::default().scan_response(rest, &limits) else { return };
    let (second, third) = rest.split_at(end);
    let mut storage = Message::new();
    let Ok(response) = ResponseHead::parse(second, &mut storage, &limits) else { return };
    let asked = RequestDirectives::read(request.fields);
    let authority = Authority::parse(b"a.example", Some(80)).expect("an authority");
    // The text behind the authority of a target is empty, or begins so.
    if !matches!(request.target.first(), None | Some(b'/' | b'?')) {
        return;
    }
    let uri = Uri { scheme: Scheme::Http, authority: &authority, path: request.target, by_gateway: false };
    resolved(&uri, &request, &response);
    let own = content_location_is_own(&uri, response.fields);
    let storing = Storing { targeted: &["CDN-Cache-Control"], ..Storing::default() };
    let Ok(storable) = judge(&request, &asked, &response, own, TIMES, &storing) else { return };
    assert!(!storable.directives.private && response.status >= 200, "{}", shown(bytes));
    let mut stored = Vec::new();
    let part = storable.part.is_some();
    write_block(&mut stored, response.fields, &storable.directives, TIMES, part);
    let stored = FieldBlock::new(&stored);
    assert_block(stored);
    selecting(&request, &response);
    let validators = Validators::read(stored);
    let conditions: Vec<u8> = validators.conditions().flat_map(|(name, value)| block(name, value)).collect();
    if !conditions.is_empty() && matches!(response.status, 200..=299) {
        let answer = validation::answer(FieldBlock::new(&conditions), response.status, stored, NOW_S, NOW_S);
        assert_eq!(answer, Answer::NotModified, "{}", shown(bytes));
    }
    let mut storage = Message::new();
    let Ok(Some(_)) = Scanner::default().scan_response(third, &limits) else { return };
    let Ok(new) = ResponseHead::parse(third, &mut storage, &limits) else { return };
    let _ = validation::confirms(stored, new.fields);
    let mut updated = Vec::new();
    validation::write_updated(&mut updated, stored, new.fields, TIMES, &[]);
    let updated = FieldBlock::new(&updated);
    assert_block(updated);
    assert_eq!(updated.value("content-type"), stored.value("content-type"));
    let mut twice = Vec::new();
    validation::write_updated(&mut twice, updated, new.fields, TIMES, &[]);
    let (mut one, mut two) =
        (updated.lines().collect::<Vec<_>>(), FieldBlock::new(&twice).lines().collect::<Vec<_>>());
    one.sort_unstable();
    two.sort_unstable();
    assert_eq!(one, two, "a second time changes something: {}", shown(bytes));
}

/// The stored block has fields only, and none about a connection.
#[track_caller]
fn assert_block(stored: FieldBlock<'_>) {
    assert!(stored.is_valid(), "{}", shown(stored.as_bytes()));
    for never in
        ["connection", "transfer-encoding", "content-length", "age", "keep-alive", "proxy-authenticate"]
    {
        assert!(!stored.contains(never), "{}", shown(stored.as_bytes()));
    }
    assert!(stored.contains("date"), "{}", shown(stored.as_bytes()));
}

/// A request selects what it was answered with.
fn selecting(request: &RequestHead<'_, '_>, response: &ResponseHead<'_, '_>) {
    let (mut names, mut form, mut scratch) = (Vec::new(), Vec::new(), Vec::new());
    if vary::write_names(&mut names, response.fields).is_err() {
        return;
    }
    assert!(names.len() <= vary::NAMES_BYTES_MAX && !names.iter().any(u8::is_ascii_uppercase));
    if vary::write_selecting(&mut form, &names, request.fields).is_ok() {
        assert!(form.len() <= vary::SELECTING_BYTES_MAX);
        assert!(vary::selects(&names, &form, request.fields, &mut scratch));
    }
}

/// Invalidated URIs have the same origin.
fn resolved(uri: &Uri<'_>, request: &RequestHead<'_, '_>, response: &ResponseHead<'_, '_>) {
    let mut own = Vec::new();
    write_key(&mut own, uri);
    let (mut count, mut scratch) = (0, Vec::new());
    for_each_key(request.method, response.status, uri, response.fields, &mut scratch, |key| {
        assert!(count > 0 || key == own, "{}", shown(key));
        let path = key.strip_prefix(b"http://a.example");
        // That itself is whatever the target was.
        assert!(count == 0 || path.is_some_and(|path| path.starts_with(b"/")), "{}", shown(key));
        let dots = |part: &[u8]| part == b"." || part == b"..";
        let path = path.and_then(|path| path.split(|&byte| byte == b'?').next()).unwrap_or_default();
        let base_dots = uri.path.split(|&byte| matches!(byte, b'/' | b'?')).any(dots);
        assert!(count == 0 || base_dots || !path.split(|&byte| byte == b'/').any(dots), "{}", shown(key));
        count += 1;
    });
}
