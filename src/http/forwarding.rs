//! Writes the heads that weir sends: the fields that a proxy drops, rewrites and adds (RFC 9110 section 7.6, rules 24 to 37).
//!
//! A head is written field by field from the parsed one. Fields about one connection are dropped, framing is written from the
//! engine's decision, and Host comes first, from the target that was judged.

use std::fmt::Debug;
use std::io::Write;
use std::net::IpAddr;

use super::class::Class;
use super::fields::{has_open_quote, is_listed, split_last_unquoted, trim, write_decimal};
use super::framing::{Body, content_length};
use super::hop::is_named;
use super::message::{Fields, Line, RequestHead, ResponseHead, Span, Version};
use super::target::Authority;

pub use super::fields::write_field;
pub use super::hop::{
    expects_continue, has_doubtful_framing, is_end_to_end, is_loop, is_of_connection, is_upgrade_offered,
    max_forwards, names_fields, origin_keeps_alive, upgrade_requested, wants_keep_alive,
};
pub use super::host_field::{check_host, route_target};
pub use super::request_filter::{ForwardedPolicy, RequestFilter};
pub use super::trailers::{Withheld, write_trailers};

/// The changes of a head by configuration, after everything that HTTP itself demands (rule 29).
pub trait Edits: Debug {
    /// Whether no field is removed, whatever its name.
    fn removes_nothing(&self) -> bool;
    /// Whether end-to-end fields of this name are dropped.
    fn removes(&self, name: &str) -> bool;
    /// Appends the lines to add, whose syntax the configuration has checked.
    fn write_added(&self, out: &mut Vec<u8>);
}

/// No changes.
impl Edits for () {
    fn removes_nothing(&self) -> bool {
        true
    }

    fn removes(&self, _name: &str) -> bool {
        false
    }

    fn write_added(&self, _out: &mut Vec<u8>) {}
}

/// The way of a request to its origin.
#[derive(Clone, Copy, Debug)]
pub struct RequestRoute<'a> {
    /// Becomes Host; port 80 is not written.
    pub authority: &'a Authority,
    /// Path and query of the target; empty or beginning with `?` as absolute-form allows, or `*`.
    pub path: &'a [u8],
    /// How the body is framed towards the origin; never `UntilClose`.
    pub body: Body,
    /// Requests a change of protocol from the origin, as the client did.
    pub upgrade: bool,
    /// Expect is forwarded: a client that speaks HTTP/1.1 waits for the origin's 100, and the next hop is not known to speak
    /// HTTP/1.0. The origin gets a 1.1 request: an expectation without a meaning in 1.0 must not get one there.
    pub expects: bool,
    /// For TRACE and OPTIONS: the decremented value. For other methods the field passes unread.
    pub max_forwards: Option<u64>,
    /// The pseudonym to add to Via.
    pub via: Option<&'a str>,
    /// The requested host, if weir is a gateway: Forwarded contains it, and the scheme.
    pub asked: Option<&'a Authority>,
    /// Forwarded and X-Forwarded-For.
    pub forwarded: ForwardedPolicy,
    /// The client, for Forwarded and X-Forwarded-For.
    pub client: IpAddr,
    /// The changes by configuration.
    pub edits: &'a dyn Edits,
}

/// The way of a response to its client.
#[derive(Clone, Copy, Debug)]
pub struct ResponseRoute<'a> {
    /// How the body is framed towards the client. `None` keeps the Content-Length with which a response to HEAD or a
    /// 304 announces a missing body.
    pub body: Body,
    /// The version of the request.
    pub client_version: Version,
    /// The connection stays open after this response.
    pub keep_alive: bool,
    /// The response is a requested 101, or a 426: Upgrade passes, with its Connection option.
    pub upgrade: bool,
    /// The pseudonym to add to Via.
    pub via: Option<&'a str>,
    /// The date to add if the origin sent none.
    pub date: Option<&'a str>,
    /// The changes by configuration.
    pub edits: &'a dyn Edits,
}

/// Appends the head for the origin: always HTTP/1.1, with the empty line at its end.
pub fn write_request(out: &mut Vec<u8>, head: &RequestHead<'_, '_>, route: &RequestRoute<'_>) {
    debug_assert!(route.body != Body::UntilClose, "a request cannot end with its connection");
    out.extend_from_slice(head.method.as_bytes());
    out.push(b' ');
    write_path(out, head.method, route.path);
    out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    route.authority.write(out, Some(80));
    out.extend_from_slice(b"\r\n");
    let filter = RequestFilter {
        expects: route.expects,
        upgrade: route.upgrade,
        chunked: route.body == Body::Chunked,
        counts_hops: route.max_forwards.is_some(),
        forwarded: route.forwarded,
    };
    let (fields, named, edited) = (head.fields, names_fields(head.fields), !route.edits.removes_nothing());
    write_lines(out, fields, Span::default(), |line| {
        let removed = || edited && route.edits.removes(fields.name(line));
        filter.keeps(line.class, removed, || named && is_named(fields, fields.name(line)))
    });
    if let Some(max_forwards) = route.max_forwards {
        write_number_field(out, "Max-Forwards: ", max_forwards);
    }
    write_forwarded(out, head.fields, route);
    write_via(out, head.version, route.via);
    write_framing(out, route.body);
    if route.upgrade {
        out.extend_from_slice(b"Connection: upgrade\r\n");
    }
    route.edits.write_added(out);
    out.extend_from_slice(b"\r\n");
}

/// Appends the head for the client: always HTTP/1.1. 1xx responses have neither framing nor persistence.
pub fn write_response(out: &mut Vec<u8>, head: &ResponseHead<'_, '_>, route: &ResponseRoute<'_>) {
    let interim = head.status < 200;
    let (fields, named, edited) = (head.fields, names_fields(head.fields), !route.edits.removes_nothing());
    let status_line = write_status_line(out, head);
    write_lines(out, fields, status_line, |line| {
        let removed = || edited && route.edits.removes(fields.name(line));
        let dropped = || removed() || (named && is_named(fields, fields.name(line)));
        match line.class {
            Class::HopByHop
            | Class::ContentLength
            | Class::TransferEncoding
            | Class::Connection
            | Class::ProxyConnection => false,
            Class::Date => true,
            Class::Protected | Class::Via => !removed(),
            Class::Upgrade => route.upgrade,
            Class::Trailer => route.body == Body::Chunked && !dropped(),
            Class::Host
            | Class::Forwarded
            | Class::XForwardedFor
            | Class::MaxForwards
            | Class::Expect
            | Class::EndToEnd => !dropped(),
        }
    });
    let dated = interim || fields.has(Class::Date);
    if let (false, Some(date)) = (dated, route.date) {
        write_field(out, "Date", date.as_bytes());
    }
    write_via(out, head.version, route.via);
    if !interim {
        write_response_framing(out, head, route.body);
    }
    if route.upgrade {
        out.extend_from_slice(b"Connection: upgrade\r\n");
    }
    if !interim {
        write_persistence(out, route.client_version, route.keep_alive);
    }
    route.edits.write_added(out);
    out.extend_from_slice(b"\r\n");
}

/// Appends the status line. A line in weir's own form is returned instead, to be copied together with the fields behind it.
fn write_status_line(out: &mut Vec<u8>, head: &ResponseHead<'_, '_>) -> Span {
    const LINE: &[u8] = b"HTTP/1.1 200 ";
    let bytes = head.fields.bytes();
    let end = LINE.len() + head.reason.len();
    if bytes.starts_with(&LINE[..9])
        && bytes.get(12) == Some(&b' ')
        && bytes.get(end..end + 2) == Some(b"\r\n")
    {
        return Span { start: 0, end: end as u32 + 2 };
    }
    out.extend_from_slice(&LINE[..9]);
    write_decimal(out, u64::from(head.status));
    out.push(b' ');
    out.extend_from_slice(head.reason);
    out.extend_from_slice(b"\r\n");
    Span::default()
}

/// Appends the kept lines; neighbours in weir's own form are copied in one piece. The bytes of `first` go before them.
#[inline(always)]
fn write_lines(out: &mut Vec<u8>, fields: Fields<'_, '_>, first: Span, keeps: impl Fn(&Line) -> bool) {
    let (bytes, mut piece) = (fields.bytes(), first);
    for line in fields.lines().iter().filter(|line| keeps(line)) {
        // Behind its value a canonical line has CRLF.
        let whole = Span { start: line.name.start, end: line.value.end + 2 };
        let canonical = line.is_canonical(bytes);
        if canonical && whole.start == piece.end {
            piece.end = whole.end;
            continue;
        }
        out.extend_from_slice(piece.within(bytes));
        piece = if canonical { whole } else { Span::default() };
        if !canonical {
            write_field(out, fields.name(line), line.value.within(bytes));
        }
    }
    out.extend_from_slice(piece.within(bytes));
}

fn write_response_framing(out: &mut Vec<u8>, head: &ResponseHead<'_, '_>, body: Body) {
    match (body, head.status) {
        (Body::None, 204) => {}
        // An ambiguous length has no meaning for a missing body, and neither has a length beside a coding.
        (Body::None, _) => {
            let coded = head.fields.has(Class::TransferEncoding);
            if let (Ok(Some(length)), false) = (content_length(head.fields), coded) {
                write_framing(out, Body::Length(length));
            }
        }
        (Body::Length(_) | Body::Chunked | Body::UntilClose, _) => write_framing(out, body),
    }
}

/// Writes the Connection field that shows the client whether the connection stays open (rule 36).
pub fn write_persistence(out: &mut Vec<u8>, client_version: Version, keep_alive: bool) {
    match (client_version, keep_alive) {
        (Version::Http11, true) => {}
        (Version::Http10, true) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (Version::Http10 | Version::Http11, false) => out.extend_from_slice(b"Connection: close\r\n"),
    }
}

/// Absolute-form may leave the path out (RFC 9112 section 3.2.1 and 3.2.4).
fn write_path(out: &mut Vec<u8>, method: &str, path: &[u8]) {
    match path {
        [] if method == "OPTIONS" => out.push(b'*'),
        [] | [b'?', ..] => out.push(b'/'),
        _ => {}
    }
    out.extend_from_slice(path);
}

fn write_number_field(out: &mut Vec<u8>, name_and_colon: &str, value: u64) {
    out.extend_from_slice(name_and_colon.as_bytes());
    write_decimal(out, value);
    out.extend_from_slice(b"\r\n");
}

fn write_framing(out: &mut Vec<u8>, body: Body) {
    match body {
        Body::None | Body::UntilClose => {}
        Body::Length(length) => write_number_field(out, "Content-Length: ", length),
        Body::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
}

fn write_via(out: &mut Vec<u8>, received: Version, pseudonym: Option<&str>) {
    if let Some(pseudonym) = pseudonym {
        out.extend_from_slice(match received {
            Version::Http10 => b"Via: 1.0 ",
            Version::Http11 => b"Via: 1.1 ",
        });
        out.extend_from_slice(pseudonym.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

fn write_forwarded(out: &mut Vec<u8>, fields: Fields<'_, '_>, route: &RequestRoute<'_>) {
    let keep = match route.forwarded {
        ForwardedPolicy::Off | ForwardedPolicy::Remove => return,
        ForwardedPolicy::Append => true,
        ForwardedPolicy::Replace => false,
    };
    // Writing to a Vec cannot fail.
    let client = route.client.to_canonical();
    // The configuration's edits come last (rule 29): a field that they remove or replace is not written before.
    if !route.edits.removes("Forwarded") {
        let values = fields.all("Forwarded").filter(|_| keep);
        begin_list(out, "Forwarded", values.map(elements_to_keep));
        let _ = match client {
            IpAddr::V4(address) => write!(out, "for={address}"),
            IpAddr::V6(address) => write!(out, "for=\"[{address}]\""),
        };
        if let Some(asked) = route.asked {
            out.extend_from_slice(b";host=\"");
            asked.write(out, Some(80));
            out.extend_from_slice(b"\";proto=http");
        }
        out.extend_from_slice(b"\r\n");
    }
    if !route.edits.removes("X-Forwarded-For") {
        begin_list(out, "X-Forwarded-For", fields.all("X-Forwarded-For").filter(|_| keep));
        let _ = write!(out, "{client}\r\n");
    }
}

/// Begins one line with all received values: many readers of X-Forwarded-For look at one line only.
fn begin_list<'v>(out: &mut Vec<u8>, name: &str, values: impl Iterator<Item = &'v [u8]>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    for value in values.filter(|value| !value.is_empty()) {
        out.extend_from_slice(value);
        out.extend_from_slice(b", ");
    }
}

/// The elements of Forwarded behind the last one that leaves a quote open: that would hide what follows. The others are what proxies
/// have appended since.
fn elements_to_keep(value: &[u8]) -> &[u8] {
    let (mut rest, mut kept_at) = (value, value.len());
    if !has_open_quote(value) {
        return value;
    }
    loop {
        let (before, element) = split_last_unquoted(rest, b',');
        if has_open_quote(element) {
            return trim(&value[kept_at..]);
        }
        kept_at = rest.len() - element.len();
        rest = before.unwrap_or_default();
    }
}

/// Appends the body of the answer to TRACE: the request as received, without fields that only the client should know
/// (RFC 9110 section 9.3.8). Its type is `message/http`.
pub fn trace_body(out: &mut Vec<u8>, head: &RequestHead<'_, '_>) {
    const SECRETS: [&str; 5] = ["authorization", "proxy-authorization", "cookie", "cookie2", "purge-token"];
    out.extend_from_slice(head.method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.target);
    out.extend_from_slice(b" HTTP/");
    out.extend_from_slice(head.version.digits().as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in head.fields.iter().filter(|(name, _)| !is_listed(&SECRETS, name)) {
        write_field(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::super::testing::{with_request, with_response};
    use super::*;

    /// Names to remove, lines to add.
    #[derive(Debug)]
    struct Listed(&'static [&'static str], &'static str);

    impl Edits for Listed {
        fn removes_nothing(&self) -> bool {
            false
        }

        fn removes(&self, name: &str) -> bool {
            is_listed(self.0, name)
        }

        fn write_added(&self, out: &mut Vec<u8>) {
            out.extend_from_slice(self.1.as_bytes());
        }
    }

    fn route<'a>() -> RequestRoute<'a> {
        RequestRoute {
            // Every test has one of its own, which is never given back.
            authority: Box::leak(Box::new(Authority::parse(b"origin.example", Some(80)).unwrap())),
            path: b"/p?q",
            body: Body::None,
            upgrade: false,
            expects: true,
            max_forwards: None,
            via: None,
            asked: None,
            forwarded: ForwardedPolicy::Off,
            client: IpAddr::from([192, 0, 2, 1]),
            edits: &(),
        }
    }

    fn response_route<'a>() -> ResponseRoute<'a> {
        ResponseRoute {
            body: Body::Length(5),
            client_version: Version::Http11,
            keep_alive: true,
            upgrade: false,
            via: None,
            date: None,
            edits: &(),
        }
    }

    /// The fields that leave, without the request line and Host.
    fn sent(line: &str, fields: &str, route: &RequestRoute<'_>) -> String {
        let text = with_request(format!("{line}\r\n{fields}\r\n").as_bytes(), |head| {
            let mut out = Vec::new();
            write_request(&mut out, head, route);
            String::from_utf8(out).unwrap()
        });
        let (_, rest) = text.split_once("\r\nHost: origin.example\r\n").unwrap();
        rest.strip_suffix("\r\n").unwrap().to_string()
    }

    fn get(fields: &str) -> String {
        sent("GET / HTTP/1.1", fields, &route())
    }

    /// The whole head that the client gets, without the last CRLF.
    fn answered(head: &str, route: &ResponseRoute<'_>) -> String {
        with_response(format!("{head}\r\n").as_bytes(), |head| {
            let mut out = Vec::new();
            write_response(&mut out, head, route);
            String::from_utf8(out).unwrap().strip_suffix("\r\n").unwrap().to_string()
        })
    }

    #[test]
    fn rule_24_request_lines() {
        for (method, path, authority, expected) in [
            ("GET", "/a//b/../c?d=%2f", "h:80", "GET /a//b/../c?d=%2f HTTP/1.1\r\nHost: h\r\n\r\n"),
            ("GET", "", "h:8080", "GET / HTTP/1.1\r\nHost: h:8080\r\n\r\n"),
            ("GET", "?q", "h:443", "GET /?q HTTP/1.1\r\nHost: h:443\r\n\r\n"),
            ("OPTIONS", "", "[2001:DB8::1]:80", "OPTIONS * HTTP/1.1\r\nHost: [2001:db8::1]\r\n\r\n"),
            ("OPTIONS", "?q", "0x7f.1:81", "OPTIONS /?q HTTP/1.1\r\nHost: 127.0.0.1:81\r\n\r\n"),
            ("OPTIONS", "*", "h:80", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"),
            ("brew", "/", "h:80", "brew / HTTP/1.1\r\nHost: h\r\n\r\n"),
        ] {
            let authority = Authority::parse(authority.as_bytes(), None).unwrap();
            let route = RequestRoute { authority: &authority, path: path.as_bytes(), ..route() };
            let text = format!("{method} http://elsewhere/x HTTP/1.0\r\nhost: elsewhere\r\n\r\n");
            with_request(text.as_bytes(), |head| {
                let mut out = b"before".to_vec();
                write_request(&mut out, head, &route);
                assert_eq!(String::from_utf8(out).unwrap(), format!("before{expected}"));
            });
        }
    }

    #[test]
    fn rule_25_hop_by_hop_fields() {
        for (fields, expected) in [
            ("A: b\r\nConnection: close\r\n", "A: b\r\n"),
            ("Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nPROXY-CONNECTION: close\r\n", ""),
            ("TE: trailers\r\nConnection: TE\r\nA: b\r\n", "A: b\r\n"),
            ("A: b\r\nX-Hop: 1\r\nConnection: a, x-hop\r\nC: d\r\n", "C: d\r\n"),
            ("A: 1\r\nA: 2\r\nConnection: close\r\nConnection: \"x\",A\r\n", ""),
            ("Proxy-Authorization: Basic x\r\nproxy-authenticate: x\r\n", ""),
            ("Proxy-Authentication-Info: x\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n", ""),
            (
                "Connection: host, via, cache-control, authorization, content-length, x-forwarded-for\r\nVia: 1.1 a\r\n\
                 Cache-Control: no-cache\r\nAuthorization: x\r\nX-Forwarded-For: 1.2.3.4\r\n",
                "Via: 1.1 a\r\nCache-Control: no-cache\r\nAuthorization: x\r\nX-Forwarded-For: 1.2.3.4\r\n",
            ),
            ("Trailer: A\r\nB: c\r\n", "B: c\r\n"),
        ] {
            assert_eq!(get(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn rule_20_request_framing() {
        for (body, received, expected) in [
            (Body::None, "", ""),
            (Body::Length(0), "Content-Length: 0\r\n", "Content-Length: 0\r\n"),
            (
                Body::Length(5),
                "content-length: 5\r\nA: b\r\nContent-Length: 5\r\n",
                "A: b\r\nContent-Length: 5\r\n",
            ),
            (
                Body::Chunked,
                "transfer-encoding: ,CHUNKED\r\nTrailer: T\r\n",
                "Trailer: T\r\nTransfer-Encoding: chunked\r\n",
            ),
        ] {
            // Even if Connection names it.
            for connection in ["", "Connection: content-length, transfer-encoding\r\n"] {
                let fields = format!("{connection}{received}");
                assert_eq!(sent("GET / HTTP/1.1", &fields, &RequestRoute { body, ..route() }), expected);
            }
        }
    }

    #[test]
    fn rule_26_via_and_forwarded() {
        let client6: IpAddr = "2001:db8::1".parse().unwrap();
        let mapped: IpAddr = "::ffff:192.0.2.7".parse().unwrap();
        let client = route().client;
        let came = "Forwarded: for=a\r\nX-Forwarded-For: 10.0.0.1\r\nB: c\r\nx-forwarded-for: 10.0.0.2\r\n";
        for (policy, client, fields, expected) in [
            (ForwardedPolicy::Off, client, came, came),
            (ForwardedPolicy::Remove, client, came, "B: c\r\n"),
            (
                ForwardedPolicy::Replace,
                client,
                came,
                "B: c\r\nForwarded: for=192.0.2.1\r\nX-Forwarded-For: 192.0.2.1\r\n",
            ),
            (
                ForwardedPolicy::Append,
                client6,
                came,
                "B: c\r\nForwarded: for=a, for=\"[2001:db8::1]\"\r\n\
                 X-Forwarded-For: 10.0.0.1, 10.0.0.2, 2001:db8::1\r\n",
            ),
            (
                ForwardedPolicy::Append,
                mapped,
                "",
                "Forwarded: for=192.0.2.7\r\nX-Forwarded-For: 192.0.2.7\r\n",
            ),
        ] {
            let route = RequestRoute { forwarded: policy, client, ..route() };
            assert_eq!(sent("GET / HTTP/1.1", fields, &route), expected, "{policy:?}");
        }
        let edits = &Listed(&["x-forwarded-for"], "X-Forwarded-For: fixed\r\n");
        let replaced = RequestRoute { forwarded: ForwardedPolicy::Append, edits, ..route() };
        let expected = "B: c\r\nForwarded: for=a, for=192.0.2.1\r\nX-Forwarded-For: fixed\r\n";
        assert_eq!(sent("GET / HTTP/1.1", came, &replaced), expected);
        let via = RequestRoute { via: Some("weir"), ..route() };
        let fields = "Via: 1.0 fred\r\nVia: 1.1 p\r\n";
        assert_eq!(sent("GET / HTTP/1.1", fields, &via), format!("{fields}Via: 1.1 weir\r\n"));
        assert_eq!(sent("GET / HTTP/1.0", "", &via), "Via: 1.0 weir\r\n");
        assert_eq!(sent("GET / HTTP/1.1", fields, &route()), fields);
    }

    #[test]
    fn rules_12_and_27_to_31_request_fields() {
        let limited = RequestRoute { max_forwards: Some(4), ..route() };
        assert_eq!(sent("TRACE / HTTP/1.1", "Max-Forwards: 5\r\n", &limited), "Max-Forwards: 4\r\n");
        assert_eq!(get("Max-Forwards: 5\r\n"), "Max-Forwards: 5\r\n");
        assert_eq!(get("Expect: 100-continue\r\n"), "Expect: 100-continue\r\n");
        let old = RequestRoute { expects: false, ..route() };
        assert_eq!(sent("PUT / HTTP/1.1", "Expect: 100-continue\r\n", &old), "");
        let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n";
        let upgrade = RequestRoute { upgrade: true, ..route() };
        let expected = "Upgrade: websocket\r\nSec-WebSocket-Key: x\r\nConnection: upgrade\r\n";
        assert_eq!(sent("GET / HTTP/1.1", fields, &upgrade), expected);
        assert_eq!(get(fields), "Sec-WebSocket-Key: x\r\n");
        let edits = RequestRoute {
            edits: &Listed(&["user-agent", "Host", "VIA"], "X-A: 1\r\nX-B: 2\r\n"),
            ..route()
        };
        let fields = "User-Agent: x\r\nAccept: */*\r\nUSER-AGENT: y\r\nVia: 1.1 a\r\n";
        assert_eq!(sent("GET / HTTP/1.1", fields, &edits), "Accept: */*\r\nX-A: 1\r\nX-B: 2\r\n");
    }

    #[test]
    fn rules_21_and_22_response_framing() {
        let status = |line: &str, fields: &str, body: Body| {
            let route = ResponseRoute { body, ..response_route() };
            let text = answered(&format!("HTTP/1.1 {line}\r\n{fields}"), &route);
            text.split_once("\r\n").unwrap().1.to_string()
        };
        let both = "Content-Length: 9\r\nTransfer-Encoding: x\r\n";
        for (line, fields, body, expected) in [
            ("200 OK", "content-length: 5\r\n", Body::Length(5), "Content-Length: 5\r\n"),
            ("200 OK", "", Body::Length(0), "Content-Length: 0\r\n"),
            ("200 OK", "Trailer: A\r\n", Body::Chunked, "Trailer: A\r\nTransfer-Encoding: chunked\r\n"),
            ("200 OK", "Trailer: A\r\n", Body::UntilClose, ""),
            // HEAD and 304 announce what GET would have sent.
            ("200 OK", "Content-Length: 9\r\n", Body::None, "Content-Length: 9\r\n"),
            ("304 x", "Content-Length: 9\r\n", Body::None, "Content-Length: 9\r\n"),
            // But not the fields that a GET would not have (rule 14).
            ("200 OK", both, Body::None, ""),
            ("304 x", both, Body::None, ""),
            ("304 x", "Content-Length: 1, 2\r\n", Body::None, ""),
            ("204 x", both, Body::None, ""),
            ("100 x", both, Body::None, ""),
            ("199 x", both, Body::None, ""),
        ] {
            assert_eq!(status(line, fields, body), expected, "{line} {fields:?}");
        }
    }

    #[test]
    fn rules_25_to_28_response_fields() {
        let head = "HTTP/1.0 200 \u{e9}\r\nSet-Cookie: a=1\r\nConnection: X, set-cookie2\r\nX: 1\r\nKeep-Alive: 5\r\n\
                    Set-Cookie: b=2\r\nProxy-Authenticate: Basic\r\nUpgrade: h2\r\nTE: x\r\nVia: 1.1 a\r\n";
        let all = ResponseRoute {
            via: Some("weir"),
            date: Some("now"),
            edits: &Listed(&["SERVER"], "X-Added: 1\r\n"),
            ..response_route()
        };
        let expected = "HTTP/1.1 200 \u{e9}\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nVia: 1.1 a\r\nDate: now\r\n\
                        Via: 1.0 weir\r\nContent-Length: 5\r\nX-Added: 1\r\n";
        assert_eq!(answered(&format!("{head}Server: x\r\n"), &all), expected);
        let dated = answered("HTTP/1.1 200 OK\r\ndate: then\r\n", &all);
        assert!(dated.contains("date: then\r\n") && !dated.contains("now"), "{dated}");
    }

    #[test]
    fn rule_36_response_persistence() {
        for (client_version, keep_alive, expected) in [
            (Version::Http11, true, ""),
            (Version::Http11, false, "Connection: close\r\n"),
            (Version::Http10, true, "Connection: keep-alive\r\n"),
            (Version::Http10, false, "Connection: close\r\n"),
        ] {
            let route = ResponseRoute { client_version, keep_alive, ..response_route() };
            let text = answered("HTTP/1.1 200 OK\r\nConnection: whatever\r\n", &route);
            assert_eq!(text, format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{expected}"));
        }
    }

    #[test]
    fn rules_30_and_31_interim_responses() {
        let interim =
            ResponseRoute { body: Body::None, date: Some("now"), keep_alive: false, ..response_route() };
        assert_eq!(
            answered("HTTP/1.1 103 Early\r\nLink: x\r\n", &interim),
            "HTTP/1.1 103 Early\r\nLink: x\r\n"
        );
        let upgrade = ResponseRoute { upgrade: true, ..interim };
        let text = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\n";
        assert_eq!(
            answered(&format!("{text}Connection: Upgrade\r\n"), &upgrade),
            format!("{text}Connection: upgrade\r\n")
        );
    }

    #[test]
    fn rule_12_trace() {
        let text = "TRACE http://a/?b HTTP/1.0\r\nA: b\r\nCookie: x\r\nproxy-authorization: x\r\nAUTHORIZATION: x\r\n\r\n";
        with_request(text.as_bytes(), |head| {
            let mut out = Vec::new();
            trace_body(&mut out, head);
            assert_eq!(String::from_utf8(out).unwrap(), "TRACE http://a/?b HTTP/1.0\r\nA: b\r\n\r\n");
        });
    }
}
