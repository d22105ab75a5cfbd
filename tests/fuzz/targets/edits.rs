//! Header edits of the configuration: whatever they are, the message stays one message.

use std::net::IpAddr;

use weir::http::forwarding::{ForwardedPolicy, RequestRoute, ResponseRoute, write_request, write_response};
use weir::http::framing::Body;
use weir::http::head::{Limits, Message, RequestHead, ResponseHead, Version};
use weir::http::target::{Authority, Host, Name};
use weir::policy::edit::{Direction, Edits};

use super::pieces::shown;
use super::reference::{self, Field};

const REQUEST: &[u8] =
    b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\nVia: 1.0 fred\r\nA: 1\r\n\
    Referer: x\r\nCache-Control: no-cache\r\nDate: x\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n";
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nServer: x\r\nA: 1\r\nSet-Cookie: a\r\n\
    Set-Cookie: b\r\nDate: x\r\n\r\n";

/// Fields that no edit may change.
const OURS: [&str; 7] =
    ["host", "content-length", "transfer-encoding", "connection", "via", "te", "proxy-authorization"];

/// Any text as edits, one per line; the first byte of a line chooses direction and kind.
pub fn edits(bytes: &[u8]) {
    let mut edits = Edits::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        let [first, text @ ..] = line else { continue };
        let Ok(text) = std::str::from_utf8(text) else { continue };
        let direction = if first & 1 == 0 { Direction::Request } else { Direction::Response };
        let added = first & 2 != 0;
        // `+` stands for what ends lines, which a command line can hold.
        let text = text.replace('+', "\r\n");
        let done =
            if added { edits.parse_add(direction, &text) } else { edits.parse_remove(direction, &text) };
        if let Err(error) = done {
            assert!(!error.to_string().contains(char::is_control), "{error}");
        }
    }
    let name = Name::parse(b"a.example").expect("a name");
    for host in [Host::Name(name), Host::Address(IpAddr::from([192, 0, 2, 7]))] {
        request(&edits, host);
        response(&edits, host);
    }
}

fn parts<'a>(
    edits: &'a Edits,
    direction: Direction,
    host: &'a Host,
) -> (Vec<&'a str>, Vec<(&'a str, &'a str)>) {
    let edits = edits.for_host(direction, host);
    (edits.removed().collect(), edits.added().collect())
}

fn request(edits: &Edits, host: Host) {
    let (removed, added) = parts(edits, Direction::Request, &host);
    let mut storage = Message::new();
    let head = RequestHead::parse(REQUEST, &mut storage, &Limits::default()).expect("a head");
    let route = RequestRoute {
        asked: None,
        authority: &Authority { host, port: 80 },
        path: b"/",
        body: Body::Length(3),
        upgrade: false,
        expects: true,
        max_forwards: None,
        via: Some("weir"),
        forwarded: ForwardedPolicy::Off,
        client: IpAddr::from([192, 0, 2, 1]),
        edits: &edits.for_host(Direction::Request, &host),
    };
    let mut out = Vec::new();
    write_request(&mut out, &head, &route);
    check(&out, REQUEST, &removed, &added);
}

fn response(edits: &Edits, host: Host) {
    let (removed, added) = parts(edits, Direction::Response, &host);
    let mut storage = Message::new();
    let head = ResponseHead::parse(RESPONSE, &mut storage, &Limits::default()).expect("a head");
    let route = ResponseRoute {
        body: Body::Chunked,
        client_version: Version::Http11,
        keep_alive: true,
        upgrade: false,
        via: Some("weir"),
        date: None,
        edits: &edits.for_host(Direction::Response, &host),
    };
    let mut out = Vec::new();
    write_response(&mut out, &head, &route);
    check(&out, RESPONSE, &removed, &added);
}

/// A head after edits: its framing and routing are unchanged, removed fields are gone, added ones are at its end.
fn check(out: &[u8], came: &[u8], removed: &[&str], added: &[(&str, &str)]) {
    let read = reference::head(out).unwrap_or_else(|| panic!("unreadable: {}", shown(out)));
    let ((_, fields), rest) = read;
    assert!(rest.is_empty(), "{}", shown(out));
    let (written, tail) = fields.split_at(fields.len().checked_sub(added.len()).expect("all are added"));
    for ((name, value), (wanted, text)) in tail.iter().zip(added) {
        assert_eq!((&name[..], &value[..]), (wanted.as_bytes(), reference::trim(text.as_bytes())));
    }
    let ((_, original), _) = reference::head(came).expect("a head");
    let listed = |name: &[u8]| removed.iter().any(|other| other.as_bytes().eq_ignore_ascii_case(name));
    for (name, _) in written {
        assert!(!listed(name), "{} is still there: {}", shown(name), shown(out));
    }
    let is_ours = |name: &[u8]| OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours.as_bytes()));
    assert!(!tail.iter().any(|(name, _)| is_ours(name)), "{}", shown(out));
    let others = |fields: &[Field]| -> Vec<Field> {
        let kept = |(name, _): &&Field| !is_ours(name) && !listed(name);
        fields.iter().filter(kept).cloned().collect()
    };
    assert_eq!(others(written), others(&original), "{}", shown(out));
    let framing = |fields: &[Field]| reference::framing(1, fields).expect("one framing");
    assert_eq!(framing(&fields), framing(&original));
}
