//! Heads of requests and responses: scanned in any pieces, parsed, written anew, and read again.

use std::net::IpAddr;

use weir::http::fault::Fault;
use weir::http::forwarding::{
    ForwardedPolicy, RequestRoute, ResponseRoute, route_target, upgrade_requested, write_request,
    write_response,
};
use weir::http::framing::{Body, request_body, response_body};
use weir::http::head::{Fields, Limits, Message, RequestHead, ResponseHead, Scanner, Version};
use weir::http::repair::repair_response;
use weir::http::target::Target;

use super::pieces::{ends, options, shown, ways};
use super::reference::{self, Field};

/// Limits by the bits of one byte. Letters from `@` on make readable corpora.
fn limits(options: u8) -> Limits {
    let accept_bare_lf = options & 1 != 0;
    let limits = Limits { accept_bare_lf, strict_targets: options & 2 != 0, ..Limits::default() };
    match options & 4 {
        0 => limits,
        _ => Limits { head_bytes_max: 200, target_bytes_max: 40, fields_max: 6, ..limits },
    }
}

type Scan = fn(&mut Scanner, &[u8], &Limits) -> Result<Option<usize>, Fault>;

type Receive = fn(&mut Message, &mut Scanner, &[u8], &Limits) -> Result<Option<usize>, Fault>;

/// A head that is read without being scanned, because it has come whole, is the same head: same end or same fault, and the same
/// start line and fields.
fn check_received(
    bytes: &[u8],
    limits: &Limits,
    (scan, receive): (Scan, Receive),
    seen: impl Fn(&mut Message) -> String,
) {
    for end in ways(bytes).iter().flat_map(|pieces| ends(pieces).take(1)).chain([bytes.len()]) {
        let (bytes, mut message) = (&bytes[..end], Message::new());
        let (mut scanned, mut received) = (Scanner::default(), Scanner::default());
        let found = receive(&mut message, &mut received, bytes, limits);
        assert_eq!(found, scan(&mut scanned, bytes, limits), "{}", shown(bytes));
        if found == Ok(None) {
            assert_eq!(received, scanned, "{}", shown(bytes));
        }
        if !message.is_unread() {
            assert_eq!(seen(&mut message), seen(&mut Message::new()), "{}", shown(bytes));
        }
    }
}

/// The length of the head if there is a whole one; the same for every way in which it can arrive.
fn scan(bytes: &[u8], limits: &Limits, scan: Scan, parses: impl Fn(&[u8]) -> bool) -> Option<usize> {
    let whole = scan(&mut Scanner::default(), bytes, limits);
    for pieces in ways(bytes) {
        let mut scanner = Scanner::default();
        let mut seen = ends(&pieces).map(|end| scan(&mut scanner, &bytes[..end], limits));
        let seen = seen.find(|seen| *seen != Ok(None)).unwrap_or(Ok(None));
        match (whole, seen) {
            // Of several faults, bytes that come one by one may show another one first.
            (Err(_), Err(_)) => {}
            // In a complete head a bare CR is left to the parser.
            (Ok(Some(len)), Err(Fault::BareCarriageReturn)) => assert!(!parses(&bytes[..len])),
            _ => assert_eq!(whole, seen, "{}", shown(bytes)),
        }
    }
    let len = whole.ok().flatten()?;
    assert!(len <= bytes.len() && len <= limits.head_bytes_max);
    // The bytes behind the head change nothing.
    assert_eq!(scan(&mut Scanner::default(), &bytes[..len], limits), Ok(Some(len)));
    Some(len)
}

/// The head as the reference wants it: without empty lines in front, and with CRLF wherever that was to be tolerated.
fn plain(bytes: &[u8], limits: &Limits) -> Vec<u8> {
    let mut out = Vec::new();
    for byte in bytes {
        if *byte == b'\n' && limits.accept_bare_lf && !out.ends_with(b"\r") {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    let mut rest = &out[..];
    while let Some(after) = rest.strip_prefix(b"\r\n") {
        rest = after;
    }
    rest.to_vec()
}

fn collected(fields: Fields<'_, '_>) -> Vec<Field> {
    fields.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())).collect()
}

/// Faults that the reference knows nothing of.
fn is_limit(fault: Fault) -> bool {
    matches!(fault, Fault::TooManyFields | Fault::ConnectionOptions)
}

fn minor(version: Version) -> u8 {
    u8::from(version == Version::Http11)
}

/// Any bytes as a request head; the first one chooses limits.
pub fn request_head(bytes: &[u8]) {
    let (options, bytes) = options(bytes);
    let limits = limits(options);
    let parses = |bytes: &[u8]| RequestHead::parse(bytes, &mut Message::new(), &limits).is_ok();
    check_received(bytes, &limits, (Scanner::scan_request, Message::receive_request), |message| {
        message.read_request(bytes, &limits).expect("a head that was accepted");
        format!("{:?} {message:?}", message.request(bytes))
    });
    let Some(len) = scan(bytes, &limits, Scanner::scan_request, parses) else { return };
    let plain = plain(&bytes[..len], &limits);
    let expected = reference::head(&plain).filter(|((line, _), _)| reference::request_line(line).is_some());
    let mut storage = Message::new();
    // Whatever follows the head is none of the parser's business.
    let head = match RequestHead::parse(bytes, &mut storage, &limits) {
        Ok(head) => head,
        Err(fault) => {
            assert_ne!(fault, Fault::HeadIncomplete, "{}", shown(bytes));
            assert_ne!(fault, Fault::HeadMalformed, "a fault without a name: {}", shown(bytes));
            let refused = expected.is_none() || is_limit(fault);
            return assert!(refused, "{fault} in {}", shown(bytes));
        }
    };
    if limits.strict_targets && !head.target.is_ascii() {
        assert!(Target::parse(head.method, head.target, true).is_err(), "{}", shown(bytes));
    }
    let ((line, fields), rest) = expected.unwrap_or_else(|| panic!("accepted {}", shown(bytes)));
    let (method, target, minor_version) = reference::request_line(&line).expect("was looked at");
    assert!(rest.is_empty());
    assert_eq!((head.method.as_bytes(), head.target), (method, target));
    assert_eq!(minor(head.version), minor_version.min(1));
    assert_eq!(collected(head.fields), fields, "{}", shown(bytes));
    let expected = reference::framing(minor_version, &fields).filter(|_| method != b"CONNECT");
    match (request_body(&head), expected) {
        (Ok(Body::None), Some(reference::Framing::None)) | (Err(_), None) => {}
        (Ok(Body::None), None) => assert_eq!(method, b"CONNECT"),
        (Ok(Body::Length(found)), Some(reference::Framing::Length(length))) => assert_eq!(found, length),
        (Ok(Body::Chunked), Some(reference::Framing::Chunked)) => {}
        (found, expected) => panic!("{found:?}, expected {expected:?}: {}", shown(bytes)),
    }
    forward_request(options, &head, &fields, &limits);
}

/// Fields that a proxy drops, writes itself, or passes by rules of their own.
const SPECIAL: [&str; 19] = [
    "connection",
    "content-length",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
];

/// Fields that never cross the proxy.
const HOP_BY_HOP: [&str; 7] = [
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
];

/// Fields that must pass as they came, in order: `named` are the options of Connection in the message that came.
fn end_to_end(fields: &[Field], named: &[Vec<u8>]) -> Vec<Field> {
    let is = |name: &[u8], known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    let passes = |(name, _): &&Field| {
        let protected = is(name, "cache-control") || is(name, "authorization");
        let named = named.iter().any(|option| option.eq_ignore_ascii_case(name));
        !SPECIAL.iter().any(|special| is(name, special)) && (protected || !named)
    };
    fields.iter().filter(passes).cloned().collect()
}

/// Holds for any written head: at most one framing, and no field of the other connection.
fn check_written(fields: &[Field], came: &[Field], body: Body, upgrade: bool) {
    for name in HOP_BY_HOP {
        assert_eq!(reference::values(fields, name), [b""; 0], "{name}");
    }
    let options = reference::all_members(fields, "connection");
    assert!(options.iter().all(|option| [&b"close"[..], b"keep-alive", b"upgrade"].contains(&&option[..])));
    assert_eq!(reference::has_member(fields, "connection", "upgrade"), upgrade);
    assert!(upgrade || reference::values(fields, "upgrade").is_empty());
    let codings = reference::values(fields, "transfer-encoding").len();
    assert_eq!(codings, usize::from(body == Body::Chunked));
    match body {
        Body::Length(length) => {
            assert_eq!(reference::values(fields, "content-length"), [length.to_string().as_bytes()]);
        }
        Body::Chunked | Body::UntilClose => {
            assert!(reference::values(fields, "content-length").is_empty());
        }
        Body::None => {}
    }
    // Only what came passes, in the order in which it came.
    let named = reference::all_members(came, "connection");
    assert_eq!(end_to_end(fields, &named), end_to_end(came, &named));
}

/// Writes the head as for the origin and reads it as the origin does: one request, same framing, same host.
fn forward_request(options: u8, head: &RequestHead<'_, '_>, came: &[Field], limits: &Limits) {
    let Ok(target) = Target::parse(head.method, head.target, limits.strict_targets) else { return };
    let (Ok(authority), Ok(body)) = (route_target(head, &target), request_body(head)) else { return };
    let (Some(authority), Target::Absolute { path, .. } | Target::Origin { path }) = (authority, target)
    else {
        return;
    };
    let policies =
        [ForwardedPolicy::Off, ForwardedPolicy::Append, ForwardedPolicy::Replace, ForwardedPolicy::Remove];
    let upgrade = upgrade_requested(head.version, head.fields);
    let route = RequestRoute {
        asked: None,
        authority: &authority,
        path,
        body,
        upgrade,
        expects: true,
        max_forwards: None,
        via: (options & 32 == 0).then_some("weir"),
        forwarded: policies[usize::from(options >> 3 & 3)],
        client: IpAddr::from([192, 0, 2, 1]),
        edits: &(),
    };
    let mut out = Vec::new();
    write_request(&mut out, head, &route);
    let read = reference::head(&out).unwrap_or_else(|| panic!("unreadable: {}", shown(&out)));
    let ((line, fields), rest) = read;
    assert!(rest.is_empty(), "{}", shown(&out));
    let (method, path, _) = reference::request_line(&line).expect("a request line");
    assert!(method == head.method.as_bytes() && (path.starts_with(b"/") || path == b"*"), "{}", shown(&out));
    check_written(&fields, came, body, upgrade);
    assert!(fields[0].0 == b"Host" && reference::values(&fields, "host").len() == 1, "{}", shown(&out));
    // And as another weir would, which must come to the same.
    let roomy =
        Limits { head_bytes_max: 1 << 20, target_bytes_max: 1 << 19, fields_max: 1000, ..Limits::default() };
    assert_eq!(Scanner::default().scan_request(&out, &roomy), Ok(Some(out.len())), "{}", shown(&out));
    let mut storage = Message::new();
    let again = RequestHead::parse(&out, &mut storage, &roomy).expect("what weir wrote");
    let target = Target::parse(again.method, again.target, false).expect("what weir wrote");
    if !matches!(target, Target::Asterisk) {
        assert_eq!(route_target(&again, &target), Ok(Some(authority)), "{}", shown(&out));
    }
    assert_eq!(request_body(&again), Ok(body), "{}", shown(&out));
}

/// Any bytes as a response head; the first one chooses limits and the method of the request.
pub fn response_head(bytes: &[u8]) {
    let (options, bytes) = options(bytes);
    let limits = limits(options);
    let parses = |bytes: &[u8]| ResponseHead::parse(bytes, &mut Message::new(), &limits).is_ok();
    check_received(bytes, &limits, (Scanner::scan_response, Message::receive_response), |message| {
        message.read_response(bytes, &limits).expect("a head that was accepted");
        format!("{:?} {message:?}", message.response(bytes))
    });
    let Some(len) = scan(bytes, &limits, Scanner::scan_response, parses) else { return };
    let mut repaired = bytes.to_vec();
    let mut plain = plain(&bytes[..len], &limits);
    // A line that ends in LF alone becomes one blank where it is folded, and not two.
    if !limits.accept_bare_lf {
        plain = reference::repaired(&plain);
        repair_response(&mut repaired[..len]);
        assert_eq!(Scanner::default().scan_response(&repaired, &limits), Ok(Some(len)), "{}", shown(bytes));
    }
    let bytes = &repaired[..];
    let expected = reference::head(&plain).filter(|((line, _), _)| reference::status_line(line).is_some());
    let mut storage = Message::new();
    let head = match ResponseHead::parse(bytes, &mut storage, &limits) {
        Ok(head) => head,
        Err(fault) => {
            assert_ne!(fault, Fault::HeadIncomplete, "{}", shown(bytes));
            assert_ne!(fault, Fault::HeadMalformed, "a fault without a name: {}", shown(bytes));
            let refused = expected.is_none() || is_limit(fault);
            return assert!(refused, "{fault} in {}", shown(bytes));
        }
    };
    let ((line, fields), rest) = expected.unwrap_or_else(|| panic!("accepted {}", shown(bytes)));
    let (minor_version, status, reason) = reference::status_line(&line).expect("was looked at");
    assert!(rest.is_empty());
    assert_eq!((head.status, head.reason), (status, reason), "{}", shown(bytes));
    assert_eq!(minor(head.version), minor_version.min(1));
    assert_eq!(collected(head.fields), fields, "{}", shown(bytes));
    let method = ["GET", "HEAD", "CONNECT", "POST"][usize::from(options >> 3 & 3)];
    let Ok(body) = response_body(method, &head) else {
        return assert_eq!(reference::response_framing(minor_version, &fields), None, "{}", shown(bytes));
    };
    let bodiless = status < 200
        || [204, 304].contains(&status)
        || method == "HEAD"
        || (method == "CONNECT" && status < 300);
    let expected = match reference::response_framing(minor_version, &fields) {
        _ if bodiless => Body::None,
        Some(reference::Framing::None) => Body::UntilClose,
        Some(reference::Framing::Length(length)) => Body::Length(length),
        Some(reference::Framing::Chunked) => Body::Chunked,
        None => panic!("{body:?} for {}", shown(bytes)),
    };
    assert_eq!(body, expected, "{}", shown(bytes));
    forward_response(options, &head, &fields, body);
}

fn forward_response(options: u8, head: &ResponseHead<'_, '_>, came: &[Field], body: Body) {
    let upgrade = head.status == 101;
    let route = ResponseRoute {
        body,
        client_version: if options & 64 == 0 { Version::Http10 } else { Version::Http11 },
        keep_alive: options & 32 == 0,
        upgrade,
        via: Some("weir"),
        date: Some("Sun, 06 Nov 1994 08:49:37 GMT"),
        edits: &(),
    };
    let mut out = Vec::new();
    write_response(&mut out, head, &route);
    let read = reference::head(&out).unwrap_or_else(|| panic!("unreadable: {}", shown(&out)));
    let ((line, fields), rest) = read;
    assert!(rest.is_empty(), "{}", shown(&out));
    assert_eq!(reference::status_line(&line), Some((1, head.status, head.reason)), "{}", shown(&out));
    check_written(&fields, came, body, upgrade);
    if head.status < 200 || head.status == 204 {
        let none = ["content-length", "transfer-encoding"].map(|name| reference::values(&fields, name).len());
        assert_eq!(none, [0, 0], "{}", shown(&out));
    }
    let dates = reference::values(came, "date").len();
    let added = usize::from(head.status >= 200 && dates == 0);
    assert_eq!(reference::values(&fields, "date").len(), dates + added, "{}", shown(&out));
}
