//! Lists, numbers, and what the fields of a message ask for.

use weir::http::fault::Fault;
use weir::http::fields::{decimal, is_token, list, trim, write_decimal};
use weir::http::forwarding::{
    expects_continue, is_loop, max_forwards, origin_keeps_alive, upgrade_requested, wants_keep_alive,
};
use weir::http::framing::{content_length, request_body};
use weir::http::head::{Fields, Limits, Message, RequestHead, Version};
use weir::http::reply::accepts_html;

use super::pieces::{options, shown};
use super::reference;

/// Fields whose lists steer the proxy.
const NAMES: [&str; 10] = [
    "Connection",
    "Content-Length",
    "Transfer-Encoding",
    "Expect",
    "Max-Forwards",
    "Upgrade",
    "Via",
    "Accept",
    "Proxy-Connection",
    "X",
];

/// Any bytes as the value of a field that the first one names.
pub fn field_lists(bytes: &[u8]) {
    let (options, value) = options(bytes);
    let found: Vec<&[u8]> = list(value).collect();
    if reference::is_text(value) {
        assert_eq!(found, reference::members(value), "{}", shown(value));
    }
    assert!(found.iter().all(|member| !member.is_empty() && trim(member) == *member), "{}", shown(value));
    let joined = found.join(&b", "[..]);
    assert_eq!(list(&joined).collect::<Vec<_>>(), found, "joined: {}", shown(value));
    assert_eq!(is_token(value), reference::is_token(value));
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).unwrap_or_default();
    let number = text.parse::<u64>().ok().filter(|number| digits && *number <= i64::MAX as u64);
    assert_eq!(decimal(value), number, "{}", shown(value));
    if let Some(number) = number {
        let mut out = Vec::new();
        write_decimal(&mut out, number);
        assert_eq!(out, number.to_string().as_bytes());
    }
    if reference::is_text(value) {
        in_fields(NAMES[usize::from(options) % NAMES.len()], value);
    }
}

/// All that is asked about fields.
#[derive(Debug, PartialEq)]
struct Answers {
    keep_alive: [bool; 4],
    expects: Result<bool, Fault>,
    upgrade: bool,
    is_loop: bool,
    html: bool,
    length: Result<Option<u64>, Fault>,
    body: Option<weir::http::framing::Body>,
}

fn with_head<T>(lines: &[u8], ask: impl FnOnce(&RequestHead<'_, '_>) -> T) -> Option<T> {
    let head = [b"POST / HTTP/1.1\r\nHost: a\r\n", lines, b"\r\n"].concat();
    let mut storage = Message::new();
    RequestHead::parse(&head, &mut storage, &Limits::default()).ok().map(|head| ask(&head))
}

fn answers(head: &RequestHead<'_, '_>) -> Answers {
    let fields: Fields<'_, '_> = head.fields;
    Answers {
        keep_alive: [
            wants_keep_alive(Version::Http11, fields),
            wants_keep_alive(Version::Http10, fields),
            origin_keeps_alive(Version::Http11, fields),
            origin_keeps_alive(Version::Http10, fields),
        ],
        expects: expects_continue(fields),
        upgrade: upgrade_requested(Version::Http11, fields),
        is_loop: is_loop(fields, "weir"),
        html: accepts_html(fields),
        length: content_length(fields),
        body: request_body(head).ok(),
    }
}

/// A list says the same on one line and on several (RFC 9110 section 5.3).
fn in_fields(name: &str, value: &[u8]) {
    // Upgrade says nothing by itself.
    let companion = if name == "Upgrade" { "Connection: upgrade\r\n" } else { "" };
    let line = |value: &[u8]| [name.as_bytes(), b": ", value, b"\r\n"].concat();
    let one = [companion.as_bytes(), &line(value)].concat();
    let Some(asked) = with_head(&one, answers) else { return };
    let members = reference::members(value);
    match name {
        "Connection" => {
            let has = |option: &str| members.iter().any(|m| m.eq_ignore_ascii_case(option.as_bytes()));
            let later = has("keep-alive") && !has("close");
            assert_eq!(asked.keep_alive, [!has("close"), later, !has("close"), later], "{}", shown(value));
        }
        "Expect" => {
            let known = members.iter().all(|member| member.eq_ignore_ascii_case(b"100-continue"));
            let expected = if known { Ok(!members.is_empty()) } else { Err(Fault::Expectation) };
            assert_eq!(asked.expects, expected, "{}", shown(value));
        }
        "Upgrade" => {
            let h2c = members.iter().any(|member| member.eq_ignore_ascii_case(b"h2c"));
            assert_eq!(asked.upgrade, !members.is_empty() && !h2c, "{}", shown(value));
        }
        "Max-Forwards" => {
            let asked = with_head(&one, |head| max_forwards(head.fields)).expect("was read above");
            let digits = reference::trim(value);
            let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
            assert_eq!(asked.is_ok(), valid, "{}", shown(value));
            return;
        }
        _ => {}
    }
    // Where a quote is left open, a line's end closes it: that list cannot be told in two lines.
    if value.iter().filter(|byte| **byte == b'"').count() > 0 {
        return;
    }
    let parts: Vec<&[u8]> = value.split(|byte| *byte == b',').collect();
    let lines: Vec<u8> = parts.iter().flat_map(|part| line(part)).collect();
    let several = [companion.as_bytes(), &lines].concat();
    if let Some(split) = with_head(&several, answers) {
        assert_eq!(split, asked, "{}", shown(&several));
    }
}
