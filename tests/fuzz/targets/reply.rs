//! The proxy's own answers, with hostile texts in them.

use weir::http::framing::{Body, response_body};
use weir::http::head::{FieldStorage, Limits, ResponseHead, Scanner};
use weir::http::reply::{Reply, reason_phrase, write};

use super::pieces::{options, shown};
use super::reference;

/// Any text as everything that a reply repeats: three texts, separated by `|`. The first byte chooses the rest.
pub fn reply(bytes: &[u8]) {
    let (options, bytes) = options(bytes);
    let text = String::from_utf8_lossy(bytes);
    let mut texts = text.splitn(3, '|');
    let mut next = || texts.next().unwrap_or_default();
    let (explanation, details, advice) = (next(), next(), next());
    let status = [400, 403, 407, 502, 504, 999][usize::from(options >> 4) % 6];
    let reply = Reply {
        status,
        proxy_status: Some(("http_request_error", details)),
        explanation,
        advice: Some(advice),
        html: options & 1 != 0,
        head_only: options & 2 != 0,
        keep_alive: options & 4 != 0,
        http10: options & 8 != 0,
        pseudonym: "weir",
        ..Reply::default()
    };
    let mut out = b"before".to_vec();
    write(&mut out, &reply);
    let out = out.strip_prefix(b"before").expect("appended");
    let head_end = Scanner::default().scan_response(out, &Limits::default());
    if let Err(weir::http::fault::Fault::HeadTooLarge) = head_end {
        return;
    }
    let head_end = head_end.ok().flatten().unwrap_or_else(|| panic!("no head: {}", shown(out)));
    let ((line, fields), body) = reference::head(out).expect("a head");
    assert_eq!(out.len() - head_end, body.len());
    assert_eq!(line, format!("HTTP/1.1 {status} {}", reason_phrase(status)).as_bytes());
    let mut storage = FieldStorage::new();
    let head = ResponseHead::parse(out, &mut storage, &Limits::default()).expect("a head");
    let Ok(Body::Length(length)) = response_body("GET", &head) else { panic!("no length: {}", shown(out)) };
    assert_eq!(body.len() as u64, if reply.head_only { 0 } else { length });
    let [status] = reference::values(&fields, "proxy-status")[..] else { panic!("{}", shown(out)) };
    assert!(status.is_ascii() && !status.iter().any(u8::is_ascii_control), "{}", shown(status));
    let closes = reference::has_member(&fields, "connection", "close");
    assert_eq!(closes, !reply.keep_alive);
    let body = std::str::from_utf8(body).expect("UTF-8");
    assert!(!body.contains(|c: char| c.is_control() && c != '\n'), "{body:?}");
    if reply.html && !reply.head_only {
        // The same tags as without any of the texts, beside one paragraph for each of their lines.
        let tags = |text: &str| text.matches('<').count();
        let mut plain = Vec::new();
        write(&mut plain, &Reply { explanation: "", advice: None, proxy_status: None, ..reply });
        let plain = String::from_utf8(plain).expect("UTF-8");
        let lines = |text: &str| text.lines().filter(|line| !line.is_empty()).count();
        let paragraphs = 2 * (lines(explanation) + lines(advice)) + if details.is_empty() { 0 } else { 4 };
        assert_eq!(tags(body), tags(&plain) + paragraphs, "{body}");
    }
}
