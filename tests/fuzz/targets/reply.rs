//! The proxy's own answers, with hostile texts in them.

use weir::http::framing::{Body, response_body};
use weir::http::head::{Limits, Message, ResponseHead, Scanner};
use weir::http::reply::{Asked, Reply, reason_phrase, write};
use weir::http::template::{Kind, Template, VALUE_BYTES_MAX};

use super::pieces::{options, shown};
use super::reference;

/// Any text as everything that a reply repeats: texts separated by `|`. The first byte chooses the rest.
pub fn reply(bytes: &[u8]) {
    let (options, bytes) = options(bytes);
    let text = String::from_utf8_lossy(bytes);
    let mut texts = text.splitn(6, '|');
    let mut next = || texts.next().unwrap_or_default();
    let (explanation, details, advice) = (next(), next(), next());
    let (url, user, contact) = (next(), next(), next());
    let status = [400, 403, 407, 502, 504, 999][usize::from(options >> 4) % 6];
    let reply = Reply {
        status,
        proxy_status: Some(("http_request_error", details)),
        explanation,
        advice: Some(advice),
        asked: Asked { url, user, ..Asked::default() },
        contact,
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
    let mut storage = Message::new();
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
        let nothing = Reply { explanation: "", advice: None, proxy_status: None, contact: "", ..reply };
        write(&mut plain, &Reply { asked: Asked::default(), ..nothing });
        let plain = String::from_utf8(plain).expect("UTF-8");
        let lines = |text: &str| text.lines().filter(|line| !line.is_empty()).count();
        let paragraphs = 2 * (lines(explanation) + lines(advice)) + if details.is_empty() { 0 } else { 4 };
        let facts = [url, user, contact].iter().filter(|fact| !fact.is_empty()).count();
        let table = if facts > 0 { 2 + 6 * facts } else { 0 };
        assert_eq!(tags(body), tags(&plain) + paragraphs + table, "{body}");
    }
    template(&reply, url);
}

/// The same texts in a page with placeholders: it has its own tags and no others.
fn template(reply: &Reply<'_>, url: &str) {
    const PAGE: &str =
        "<p title=\"{{url}}\">{{explanation}} {{advice}} {{reason}} {{user}}</p><i>{{contact}}</i>";
    for kind in [Kind::Html, Kind::Text, Kind::Json] {
        let page = Template::parse(PAGE.as_bytes(), kind).expect("a template");
        let mut out = Vec::new();
        write(&mut out, &Reply { template: Some(&page), head_only: false, ..*reply });
        let out = String::from_utf8_lossy(&out);
        let body = out.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        assert!(!body.contains(char::is_control), "{body:?}");
        assert!(body.len() <= PAGE.len() + 6 * VALUE_BYTES_MAX, "{}", body.len());
        match kind {
            Kind::Html => {
                assert_eq!((body.matches('<').count(), body.matches('"').count()), (4, 2), "{body}")
            }
            Kind::Json => {
                let quotes = body.replace("\\\\", "").replace("\\\"", "").matches('"').count();
                assert_eq!(quotes, 2, "{body}");
            }
            Kind::Text => {
                assert!(url.len() > 100 || url.contains(char::is_control) || body.contains(url), "{body}")
            }
        }
    }
}
