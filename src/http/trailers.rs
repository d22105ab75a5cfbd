//! Which trailers go on (RFC 9110 section 6.5.1).

use super::fields::{is_token, trim};
use super::forwarding::{is_listed, write_field};

/// Fields that a trailer section must not carry: they frame, route, authenticate, steer caches or say how to read the
/// content, and a recipient that merges trailers would believe them (RFC 9110 section 6.5.1, rule 19).
const NOT_IN_TRAILERS: [&str; 33] = [
    "age",
    "authentication-info",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "expires",
    "forwarded",
    "host",
    "keep-alive",
    "location",
    "max-forwards",
    "pragma",
    "range",
    "retry-after",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

/// Appends the trailers that may go on, each with its CRLF, from the lines that `chunked::Decoder::trailers` gives. The
/// CRLF that ends the message is left to the caller.
pub fn write_trailers(out: &mut Vec<u8>, lines: &[u8]) {
    let mut rest = lines;
    while let Some(end) = memchr::memmem::find(rest, b"\r\n") {
        let line = &rest[..end];
        rest = &rest[end + 2..];
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
        let Ok(name) = std::str::from_utf8(name) else { continue };
        if is_token(name.as_bytes()) && !is_refused_in_trailers(name) {
            write_field(out, name, value);
        }
    }
}

fn is_refused_in_trailers(name: &str) -> bool {
    let begins = |prefix: &str| {
        name.as_bytes().get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    is_listed(&NOT_IN_TRAILERS, name) || begins("proxy-") || begins("if-") || begins("access-control-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_19_trailers() {
        let lines = "X-Sum: \t1 \r\nContent-Length: 5\r\nTRANSFER-ENCODING: chunked\r\nHost: a\r\nset-cookie: a\r\n\
                     Proxy-Authorization: x\r\nIf-Match: x\r\nCache-Control: x\r\nVia: x\r\nx-sum:\r\nCookie: x\r\n";
        let mut out = Vec::new();
        write_trailers(&mut out, lines.as_bytes());
        assert_eq!(std::str::from_utf8(&out).unwrap(), "X-Sum: 1\r\nx-sum: \r\n");
        out.clear();
        write_trailers(&mut out, b"");
        assert!(out.is_empty());
    }
}
