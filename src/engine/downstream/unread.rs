//! The known facts about a request whose head could not be read: its request line, if that has arrived.
//!
//! The log and the page of the refusal contain method and target if they are certain. A line that may belong to another
//! protocol is not repeated: a password of another protocol must not get into a log.

use crate::engine::transaction::log_record::{LogRecord, Text};
use crate::engine::transaction::request::{Method, RequestInfo};
use crate::http::fields::is_token;
use crate::http::target::Target;

/// Most bytes of the target of such a request (chosen).
const TARGET_BYTES_MAX: usize = 512;

/// Longest method of such a request (chosen).
const METHOD_BYTES_MAX: usize = 32;

/// The received parts of a request line.
struct Line<'a> {
    method: &'a str,
    target: &'a [u8],
    /// Behind a complete target: the minor version.
    minor_version: Option<u8>,
}

/// Records method, target and version of the received bytes.
pub(in crate::engine) fn note_request_line(received: &[u8], info: &mut RequestInfo, record: &mut LogRecord) {
    let Some(Line { method, target, minor_version }) = read_line(received) else { return };
    // Without its path, which may be incomplete.
    let begin = target.windows(3).position(|three| three == b"://").map_or(0, |at| at + 3);
    let path = target[begin..].iter().position(|byte| matches!(byte, b'/' | b'?')).map(|at| begin + at);
    let parsed = Target::parse(method, &target[..path.unwrap_or(target.len())], false);
    let authority = match parsed {
        Ok(Target::Absolute { authority, .. } | Target::Authority(authority)) => Some(authority),
        Ok(Target::Origin { .. } | Target::Asterisk) | Err(_) => None,
    };
    // A password is before an @, which may not have arrived yet (rule 7).
    let may_be_password = target.contains(&b'@') || target.windows(3).any(|three| three == b"%40");
    if minor_version.is_none() && (path.is_none() || authority.is_none()) {
        return;
    }
    info.method = Method::of(method);
    record.set(Text::Method, method.as_bytes());
    record.minor_version = minor_version;
    if may_be_password {
        record.set(Text::Target, b"(malformed, withheld)");
        return;
    }
    record.set_target(b"", &target[..target.len().min(TARGET_BYTES_MAX)]);
    info.authority = authority.unwrap_or(info.authority);
}

/// The line, if it cannot belong to another protocol: it ends in a version of HTTP, or is incomplete and contains a URL.
fn read_line(received: &[u8]) -> Option<Line<'_>> {
    let begin = received.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let received = &received[begin..];
    let line_end = received.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    let line = &received[..line_end.unwrap_or(received.len())];
    let (method, rest) = line.split_at(line.iter().position(|&byte| byte == b' ')?);
    if method.len() > METHOD_BYTES_MAX || !is_token(method) {
        return None;
    }
    let rest = &rest[1..];
    let target_end = rest.iter().position(|&byte| byte == b' ');
    let (target, version) = rest.split_at(target_end.unwrap_or(rest.len()));
    let plain = !target.is_empty() && target.iter().all(|byte| *byte > b' ' && *byte != 0x7F);
    let minor_version = version.strip_prefix(b" HTTP/1.").map(|minor| u8::from(minor != b"0"));
    let is_url = target_end.is_none() && line_end.is_none() && target.starts_with(b"http://");
    let method = std::str::from_utf8(method).ok()?;
    (plain && (minor_version.is_some() || is_url)).then_some(Line { method, target, minor_version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_26_the_request_line_is_told_as_far_as_it_is_plain() {
        let long = format!("http://a.example/{}", "x".repeat(600));
        for (received, method, target, host) in [
            (
                "GET http://a.example/x HTTP/1.1\r\nBad Field: x\r\n",
                "GET",
                "http://a.example/x",
                "a.example:80",
            ),
            (
                "\r\nHEAD http://a.example:81/x?y HTTP/1.0\r\n",
                "HEAD",
                "http://a.example:81/x?y",
                "a.example:81",
            ),
            ("GET http://a.example?q HTTP/1.1\r\n", "GET", "http://a.example?q", "a.example:80"),
            ("CONNECT a.example:443 HTTP/1.1\r\n", "CONNECT", "a.example:443", "a.example:443"),
            ("GET /x HTTP/1.1\r\n", "GET", "/x", ""),
            (&format!("GET {long}"), "GET", &long[..512], "a.example:80"),
            // With a password, or what may be one.
            ("GET http://u:p@a.example/ HTTP/1.1\r\n", "GET", "(malformed, withheld)", ""),
            ("GET http://u:p%40a.example/ HTTP/1.1\r\n", "GET", "(malformed, withheld)", ""),
            // With what may become one.
            ("GET http://user:secret", "", "", ""),
            ("GET http://user", "", "", ""),
            ("GET http://user:secret/x", "", "", ""),
            ("GET http://user:80/x", "GET", "http://user:80/x", "user:80"),
            ("GET http://user/x@", "GET", "(malformed, withheld)", ""),
            // Of other protocols, or of none.
            ("PASS secret\r\n", "", "", ""),
            ("PASS secret", "", "", ""),
            ("GET /secret", "", "", ""),
            ("GET http://a.example/x\r\n", "", "", ""),
            ("GET  http://a.example/x HTTP/1.1\r\n", "", "", ""),
            ("GET http://a.example/\u{1}x HTTP/1.1\r\n", "", "", ""),
            ("G(T http://a.example/ HTTP/1.1\r\n", "", "", ""),
            ("\u{16}\u{3}\u{1} x HTTP/1.1", "", "", ""),
            ("", "", "", ""),
        ] {
            let mut record = LogRecord::new(([192, 0, 2, 1], 1).into());
            let mut info = RequestInfo::unknown(0);
            note_request_line(received.as_bytes(), &mut info, &mut record);
            let text = |which| String::from_utf8_lossy(record.text(which)).into_owned();
            let found = if info.authority.port == 0 { String::new() } else { info.authority.to_string() };
            assert_eq!(
                (text(Text::Method).as_str(), text(Text::Target).as_str(), found.as_str()),
                (method, target, host),
                "{received:?}"
            );
            let version = match received {
                _ if method.is_empty() => None,
                line if line.contains("HTTP/1.0") => Some(0),
                line if line.contains("HTTP/1.1") => Some(1),
                _ => None,
            };
            assert_eq!(record.minor_version, version, "{received:?}");
        }
    }
}
