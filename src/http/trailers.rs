//! The trailers that are forwarded (RFC 9110 section 6.5.1).

use super::fields::{is_listed, is_token, trim, unquoted_list, write_field};
use super::hop::names_fields;
use super::message::Fields;

/// Fields that a trailer section must not carry: they frame, route, authenticate, steer caches or say how to read the
/// content, and a recipient that merges trailers would believe them (RFC 9110 section 6.5.1, rule 19).
const NOT_IN_TRAILERS: [&str; 35] = [
    "age",
    "authentication-info",
    "authorization",
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
    "http2-settings",
    "keep-alive",
    "location",
    "max-forwards",
    "pragma",
    "range",
    "retry-after",
    "set-cookie",
    "set-cookie2",
    "surrogate-control",
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

/// The trailers that are removed because of the head of the message: those that Connection names, which belong to the
/// connection in any place (RFC 9110 section 7.6.1), and those that configuration removes. Nearly always none, and then
/// without memory.
#[derive(Debug, Default)]
pub struct Withheld {
    /// The names, each with a comma behind it.
    names: Vec<u8>,
    /// Further names that are removed.
    also: Option<fn(&str) -> bool>,
}

impl Withheld {
    /// Empties the list.
    pub fn clear(&mut self) {
        *self = Withheld::default();
    }

    /// Reads it from a head; `removed` are the names that configuration removes.
    pub fn set<'e>(&mut self, fields: Fields<'_, '_>, removed: impl Iterator<Item = &'e str>) {
        self.clear();
        removed.for_each(|name| self.push(name.as_bytes()));
        if names_fields(fields) {
            let options = fields.all("connection").flat_map(unquoted_list);
            options.filter(|option| is_token(option)).for_each(|option| self.push(option));
        }
    }

    /// Takes out further names. Until the next [`Withheld::set`].
    pub fn withhold(&mut self, also: fn(&str) -> bool) {
        self.also = Some(also);
    }

    fn push(&mut self, name: &[u8]) {
        self.names.extend_from_slice(name);
        self.names.push(b',');
    }

    fn holds(&self, name: &str) -> bool {
        if self.also.is_some_and(|also| also(name)) {
            return true;
        }
        let mut names = self.names.split(|&byte| byte == b',');
        names.any(|withheld| withheld.eq_ignore_ascii_case(name.as_bytes()))
    }
}

/// Appends the trailers that may be forwarded, each with its CRLF, from the lines of `chunked::Decoder::trailers`.
/// The CRLF that ends the message is left to the caller.
pub fn write_trailers(out: &mut Vec<u8>, lines: &[u8], withheld: &Withheld) {
    let mut rest = lines;
    while let Some(end) = memchr::memmem::find(rest, b"\r\n") {
        let line = &rest[..end];
        rest = &rest[end + 2..];
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
        let Ok(name) = std::str::from_utf8(name) else { continue };
        if is_token(name.as_bytes()) && !is_refused_in_trailers(name) && !withheld.holds(name) {
            write_field(out, name, value);
        }
    }
}

fn is_refused_in_trailers(name: &str) -> bool {
    let begins = |prefix: &str| {
        name.as_bytes().get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    // The names of targeted fields end so (RFC 9213 section 2.3).
    let steers =
        name.as_bytes().last_chunk::<13>().is_some_and(|end| end.eq_ignore_ascii_case(b"cache-control"));
    steers
        || is_listed(&NOT_IN_TRAILERS, name)
        || begins("proxy-")
        || begins("if-")
        || begins("access-control-")
}

#[cfg(test)]
mod tests {
    use super::super::testing::with_response;
    use super::*;

    #[test]
    fn gateway_1_further_names_are_no_trailers() {
        let mut withheld = Withheld::default();
        for (is_withheld, left) in [(false, "X_Y: 1\r\nX-Z: 2\r\n"), (true, "X-Z: 2\r\n")] {
            if is_withheld {
                withheld.withhold(|name| name.contains('_'));
            }
            let mut out = Vec::new();
            write_trailers(&mut out, b"X_Y: 1\r\nX-Z: 2\r\n", &withheld);
            assert_eq!(String::from_utf8_lossy(&out), left);
        }
        withheld.clear();
        assert!(!withheld.holds("X_Y"));
    }

    #[test]
    fn rule_19_trailers() {
        let lines = "X-Sum: \t1 \r\nContent-Length: 5\r\nTRANSFER-ENCODING: chunked\r\nHost: a\r\nset-cookie: a\r\n\
                     Cache-Control: no-store\r\nAcme-CDN-Cache-Control: no-store\r\n\
                     Proxy-Authorization: x\r\nIf-Match: x\r\nCache-Control: x\r\nVia: x\r\nx-sum:\r\nCookie: x\r\n";
        let mut out = Vec::new();
        write_trailers(&mut out, lines.as_bytes(), &Withheld::default());
        assert_eq!(std::str::from_utf8(&out).unwrap(), "X-Sum: 1\r\nx-sum: \r\n");
        out.clear();
        write_trailers(&mut out, b"", &Withheld::default());
        assert!(out.is_empty());
    }

    #[test]
    fn rule_25_what_the_head_takes_out() {
        let lines = b"X-Sum: 1\r\nX-Hop: 2\r\nx-removed: 3\r\nX-HOP: 4\r\nX-Last: 5\r\n";
        for (fields, removed, expected) in [
            ("", "", "12345"),
            ("Connection: close\r\n", "", "12345"),
            ("Connection: x-hop\r\n", "", "135"),
            ("Connection: close, X-Sum\r\nconnection: ,x-hop, X-None\r\n", "", "35"),
            ("Connection: \"X-Sum\", X-\"Hop, X-Last\r\n", "", "1234"),
            ("Connection: X-Su, X-Sums, X\r\n", "", "12345"),
            ("", "X-Removed", "1245"),
            ("Connection: X-Hop\r\n", "X-REMOVED", "15"),
        ] {
            let mut withheld = Withheld::default();
            let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
            with_response(text.as_bytes(), |head| {
                withheld.set(head.fields, Some(removed).filter(|name| !name.is_empty()).into_iter());
            });
            let mut out = Vec::new();
            write_trailers(&mut out, lines, &withheld);
            let values: String = String::from_utf8_lossy(&out).chars().filter(char::is_ascii_digit).collect();
            assert_eq!(values, expected, "{fields:?} {removed:?}");
            withheld.clear();
            out.clear();
            write_trailers(&mut out, lines, &withheld);
            assert_eq!(out.split(|&byte| byte == b'\n').count(), 6);
        }
    }
}
