//! Finds the end of a head while it arrives (RFC 9112 section 2).
//!
//! The scanner keeps a cursor, so that a head that arrives byte by byte is scanned once. It also finds faults early: a client
//! that sends TLS, HTTP/2 or a bare LF may never send the empty line that ends a head, and would wait for ever.

use memchr::memchr_iter;

use crate::http::fault::Fault;
use crate::http::fields::is_tchar;
use crate::http::foreign;

/// Empty lines that are skipped before a request line (RFC 9112 section 2.2 asks for one; chosen: 4).
pub const EMPTY_LINES_MAX: usize = 4;

/// Longest method in bytes (chosen; the longest registered one has 18).
pub const METHOD_BYTES_MAX: usize = 64;

/// No configuration allows more fields than this (chosen: 32 KB of pointers, a tenth of a default thread stack).
pub const FIELDS_CEILING: usize = 1000;

/// The limits of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head, with its last CRLF.
    pub head_bytes_max: usize,
    /// Bytes of a request target.
    pub target_bytes_max: usize,
    /// Field lines; at most [`FIELDS_CEILING`].
    pub fields_max: usize,
    /// Take LF without CR as the end of a line in heads (RFC 9112 section 2.2 allows it). Never passed on.
    pub accept_bare_lf: bool,
    /// Refuse characters in targets that are outside of the URI grammar but harmless.
    pub strict_targets: bool,
}

impl Default for Limits {
    /// The limits of rule 13: chosen, and close to those of other proxies.
    fn default() -> Limits {
        Limits {
            head_bytes_max: 32 * 1024,
            target_bytes_max: 16 * 1024,
            fields_max: 200,
            accept_bare_lf: false,
            strict_targets: false,
        }
    }
}

/// Bytes of ` HTTP/1.1`.
const VERSION_BYTES: usize = 9;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Nothing but empty lines so far.
    #[default]
    Start,
    /// Within the request line or status line.
    FirstLine,
    /// Within the field lines.
    Fields,
}

/// The scanned part of a head. Begin each message with a new scanner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scanner {
    stage: Stage,
    /// Position of the incomplete line.
    line: u32,
    /// No line feed is between `line` and this position.
    cursor: u32,
}

impl Scanner {
    /// Looks for the end of a request head. `bytes` is everything from the start of the message so far, and may
    /// continue behind the head. Returns the length of the complete head, including empty lines before it.
    pub fn scan_request(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<usize>, Fault> {
        if self.stage == Stage::Start {
            let start = skip_empty_lines(bytes, limits)?;
            match bytes.get(start) {
                None | Some(b'\r') => return Ok(None),
                Some(&byte) if is_tchar(byte) => self.begin(start),
                Some(b' ' | b'\t') => return Err(Fault::RequestLineBlank),
                Some(&byte) => return Err(foreign::of_first_byte(start, byte).unwrap_or(Fault::Method)),
            }
        }
        let scanned = self.scan(bytes, limits, check_request_line, check_request_line_part);
        match scanned {
            // The bytes may belong to another protocol.
            Err(fault) if self.stage == Stage::FirstLine && fault != Fault::TargetTooLong => {
                let line = bytes.get(self.line as usize..).unwrap_or_default();
                Err(foreign::of_first_line(line).unwrap_or(fault))
            }
            Ok(_) | Err(_) => scanned,
        }
    }

    /// Looks for the end of a response head, like `scan_request`; no empty lines may precede it.
    pub fn scan_response(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<usize>, Fault> {
        if self.stage == Stage::Start {
            let seen = bytes.len().min(5);
            if bytes[..seen] != b"HTTP/"[..seen] {
                return Err(Fault::StatusLine);
            }
            if seen < 5 {
                return Ok(None);
            }
            self.begin(0);
        }
        self.scan(bytes, limits, |line, _| response_version(line), |_, _| Ok(()))
    }

    /// Whether only empty lines were scanned.
    pub(in crate::http) fn is_fresh(&self) -> bool {
        self.stage == Stage::Start
    }

    fn begin(&mut self, start: usize) {
        *self = Scanner { stage: Stage::FirstLine, line: start as u32, cursor: start as u32 };
    }

    #[inline]
    fn scan(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        check_line: impl Fn(&[u8], &Limits) -> Result<(), Fault>,
        check_part: impl Fn(&[u8], &Limits) -> Result<(), Fault>,
    ) -> Result<Option<usize>, Fault> {
        let (mut line, cursor) = (self.line as usize, self.cursor as usize);
        for found in memchr_iter(b'\n', bytes.get(cursor..).unwrap_or_default()) {
            let at = cursor + found;
            let end = if at > line && bytes[at - 1] == b'\r' {
                at - 1
            } else if limits.accept_bare_lf {
                at
            } else {
                return Err(Fault::BareLineFeed);
            };
            if self.stage == Stage::FirstLine {
                check_line(&bytes[line..end], limits)?;
                self.stage = Stage::Fields;
                if bytes.len() <= limits.head_bytes_max && ends_head(bytes, at) {
                    return Ok(Some(bytes.len()));
                }
            } else if end == line {
                return if at < limits.head_bytes_max { Ok(Some(at + 1)) } else { Err(Fault::HeadTooLarge) };
            }
            line = at + 1;
        }
        let part = &bytes[line.min(bytes.len())..];
        if self.stage == Stage::FirstLine {
            check_part(part, limits)?;
        }
        // In a complete head the parser finds such a CR; an incomplete head may never get more bytes.
        let new = bytes.get(cursor..).unwrap_or_default();
        if memchr_iter(b'\r', new).any(|at| new.get(at + 1).is_some_and(|&next| next != b'\n')) {
            return Err(Fault::BareCarriageReturn);
        }
        if bytes.len() >= limits.head_bytes_max {
            return Err(Fault::HeadTooLarge);
        }
        self.line = line as u32;
        // A CR as the last byte may be followed by its LF later: it is scanned again.
        self.cursor = (bytes.len() - usize::from(bytes.ends_with(b"\r"))) as u32;
        Ok(None)
    }
}

/// True if the lines behind the line feed at `first` are the rest of the head and of the bytes: each ends in CRLF, and only
/// the last one is empty. False decides nothing. Most heads arrive whole, and this test needs no branch for each line.
fn ends_head(bytes: &[u8], first: usize) -> bool {
    if !bytes.ends_with(b"\r\n\r\n") {
        return false;
    }
    // From the CRLF of the line before them on, and without the last line.
    let lines = bytes.get(first.saturating_sub(1)..bytes.len() - 2).unwrap_or_default();
    let triples =
        lines.iter().zip(lines.get(1..).unwrap_or_default()).zip(lines.get(2..).unwrap_or_default());
    let odd = triples.fold(false, |odd, ((&two_before, &before), &byte)| {
        odd | ((byte == b'\n') & ((before != b'\r') | (two_before == b'\n')))
    });
    !odd
}

/// The length of the empty lines before a request line; at most [`EMPTY_LINES_MAX`] of them.
pub fn skip_empty_lines(bytes: &[u8], limits: &Limits) -> Result<usize, Fault> {
    let mut at = 0;
    for _ in 0..=EMPTY_LINES_MAX {
        match bytes[at..] {
            [b'\r', b'\n', ..] => at += 2,
            [b'\r', _, ..] => return Err(Fault::BareCarriageReturn),
            [b'\n', ..] if limits.accept_bare_lf => at += 1,
            [b'\n', ..] => return Err(Fault::BareLineFeed),
            _ => return Ok(at),
        }
    }
    Err(Fault::EmptyLines)
}

/// A complete request line, without its end: the version and the limits.
fn check_request_line(line: &[u8], limits: &Limits) -> Result<(), Fault> {
    if !line.ends_with(b" HTTP/1.1") {
        request_version(line)?;
    }
    let before_version = line.len().saturating_sub(VERSION_BYTES);
    check_target_length(&line[..before_version], limits, 0)
}

/// The beginning of a request line that is still arriving.
fn check_request_line_part(part: &[u8], limits: &Limits) -> Result<(), Fault> {
    // The version and a CR may have arrived already.
    check_target_length(part, limits, VERSION_BYTES + 1)
}

fn check_target_length(line: &[u8], limits: &Limits, allowance: usize) -> Result<(), Fault> {
    let target_bytes_max = limits.target_bytes_max + allowance;
    if line.len() <= METHOD_BYTES_MAX.min(target_bytes_max) {
        return Ok(());
    }
    // A loop: the blank is nearly always among the first bytes.
    match line.iter().take(METHOD_BYTES_MAX + 1).position(|&byte| byte == b' ') {
        Some(method) if line.len() - method - 1 > target_bytes_max => Err(Fault::TargetTooLong),
        None if line.len() > METHOD_BYTES_MAX => Err(Fault::MethodTooLong),
        Some(_) | None => Ok(()),
    }
}

/// Checks that a request line ends in a version that is spoken: HTTP/1.x with one digit.
pub(in crate::http) fn request_version(line: &[u8]) -> Result<(), Fault> {
    let Some(at) = memchr::memrchr(b' ', line) else { return Err(Fault::VersionMissing) };
    let text = &line[at + 1..];
    match text {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0'..=b'9'] => Ok(()),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Fault::VersionUnsupported)
        }
        _ if text.get(..4).is_some_and(|name| name.eq_ignore_ascii_case(b"HTTP")) => {
            Err(Fault::VersionMalformed)
        }
        _ if is_foreign_version(&line[..at], text) => Err(Fault::VersionForeign),
        _ => Err(Fault::VersionMissing),
    }
}

/// The version of another protocol that has request lines, such as `RTSP/1.0`.
fn is_foreign_version(before: &[u8], text: &[u8]) -> bool {
    let Some(slash) = memchr::memchr(b'/', text) else { return false };
    let (name, version) = (&text[..slash], &text[slash + 1..]);
    let digits = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    // A method and a target are before it.
    before.contains(&b' ')
        && !name.is_empty()
        && name.iter().all(u8::is_ascii_uppercase)
        && version.first().is_some_and(u8::is_ascii_digit)
        && version.iter().all(digits)
}

/// Checks that a status line begins with a version that is spoken.
pub(in crate::http) fn response_version(line: &[u8]) -> Result<(), Fault> {
    match line {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0'..=b'9', b' ', ..] => Ok(()),
        [b'H', b'T', b'T', b'P', b'/', b'0' | b'2'..=b'9', ..] => Err(Fault::VersionUnsupported),
        _ => Err(Fault::StatusLine),
    }
}

/// Without the CR that belongs to a line's end.
pub(in crate::http) fn trim_line_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result of a scanner for the text, whole, byte by byte, and with bytes behind it.
    fn scan(text: &[u8], limits: &Limits, response: bool) -> Result<Option<usize>, Fault> {
        let step = |scanner: &mut Scanner, bytes: &[u8]| {
            if response { scanner.scan_response(bytes, limits) } else { scanner.scan_request(bytes, limits) }
        };
        let whole = step(&mut Scanner::default(), text);
        let mut scanner = Scanner::default();
        let bytewise =
            (0..=text.len()).map(|len| step(&mut scanner, &text[..len])).find(|seen| *seen != Ok(None));
        assert_eq!(whole, bytewise.unwrap_or(Ok(None)), "byte by byte: {:?}", String::from_utf8_lossy(text));
        if let Ok(Some(_)) = whole {
            for after in ["GET / HTTP/1.1\r\n\r\n", "\0\n\r\n", "\r\n"] {
                let longer = [text, after.as_bytes()].concat();
                assert_eq!(step(&mut Scanner::default(), &longer), whole, "with bytes that follow");
            }
        }
        whole
    }

    #[test]
    fn complete_requests() {
        for text in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.0\r\nA: b\r\nC:\r\n\r\n",
            "\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "x!#$ / HTTP/1.7\r\n\r\n",
        ] {
            assert_eq!(scan(text.as_bytes(), &Limits::default(), false), Ok(Some(text.len())), "{text:?}");
        }
    }

    #[test]
    fn rules_2_to_4_early_faults() {
        for (text, fault) in [
            ("\x16\x03\x01", Fault::Tls),
            ("PRI * HTTP/2.0\r\n", Fault::Http2Preface),
            (" G", Fault::RequestLineBlank),
            ("\tG", Fault::RequestLineBlank),
            ("\0", Fault::Method),
            ("(", Fault::Method),
            ("\r\n\r\n\r\n\r\n\r\n", Fault::EmptyLines),
            ("\n", Fault::BareLineFeed),
            ("\rG", Fault::BareCarriageReturn),
            ("\r\n\nGET", Fault::BareLineFeed),
            ("GET / HTTP/1.1\n", Fault::BareLineFeed),
            ("GET / HTTP/1.1\r\nA: b\n", Fault::BareLineFeed),
            ("GET / HTTP/1.1\r\n\n", Fault::BareLineFeed),
            ("GET / HTTP/1.1\r\r", Fault::BareCarriageReturn),
            ("GET / HTTP/1.1\r\nA: b\rc", Fault::BareCarriageReturn),
            ("GET / HTTP/1.1\r\nA: b\rc\r\nD: e", Fault::BareCarriageReturn),
            ("GET /\r\n", Fault::VersionMissing),
            ("GET\r\n", Fault::VersionMissing),
            ("GET / http/1.1\r\n", Fault::VersionMalformed),
            ("GET / HTTP/1.1 \r\n", Fault::VersionMissing),
            ("GET / HTTP/11\r\n", Fault::VersionMalformed),
            ("GET / HTTP/1.10\r\n", Fault::VersionMalformed),
            ("GET / HTTP/2.0\r\n", Fault::VersionUnsupported),
            ("GET / HTTP/0.9\r\n", Fault::VersionUnsupported),
        ] {
            assert_eq!(scan(text.as_bytes(), &Limits::default(), false), Err(fault), "{text:?}");
        }
    }

    #[test]
    fn rule_34_responses() {
        let limits = Limits::default();
        let text = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
        assert_eq!(scan(text.as_bytes(), &limits, true), Ok(Some(text.len())));
        for (text, fault) in [
            ("HTTQ", Fault::StatusLine),
            ("\r\n", Fault::StatusLine),
            ("ICY 200 OK\r\n", Fault::StatusLine),
            ("http/1.1 200 OK\r\n", Fault::StatusLine),
            ("HTTP/1.1\r\n", Fault::StatusLine),
            ("HTTP/1.10 200 OK\r\n", Fault::StatusLine),
            ("HTTP/2 200\r\n", Fault::VersionUnsupported),
            ("HTTP/0.9 200\r\n", Fault::VersionUnsupported),
            ("HTTP/1.1 200 OK\n", Fault::BareLineFeed),
            ("HTTP/1.1 200 OK\r\nA: b\n", Fault::BareLineFeed),
        ] {
            assert_eq!(scan(text.as_bytes(), &limits, true), Err(fault), "{text:?}");
        }
    }

    #[test]
    fn rule_13_limits() {
        let limits = Limits { head_bytes_max: 100, target_bytes_max: 20, ..Limits::default() };
        let head = |target: usize, value: usize| {
            format!("GET {} HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(target), "y".repeat(value))
        };
        let exact = head(20, 100 - head(20, 0).len());
        assert_eq!(scan(exact.as_bytes(), &limits, false), Ok(Some(100)));
        let over = head(20, 101 - head(20, 0).len());
        assert_eq!(scan(over.as_bytes(), &limits, false), Err(Fault::HeadTooLarge));
        assert_eq!(scan(&over.as_bytes()[..100], &limits, false), Err(Fault::HeadTooLarge));
        let target = Scanner::default().scan_request(head(21, 0).as_bytes(), &limits);
        assert_eq!(target, Err(Fault::TargetTooLong));
        // Known before the line is complete.
        let part = format!("GET {}", "x".repeat(31));
        assert_eq!(scan(part.as_bytes(), &limits, false), Err(Fault::TargetTooLong));
        let method = format!("{} /", "M".repeat(METHOD_BYTES_MAX));
        assert_eq!(scan(method.as_bytes(), &limits, false), Ok(None));
        assert_eq!(scan(format!("M{method}").as_bytes(), &limits, false), Err(Fault::MethodTooLong));
        assert_eq!(scan(&b"M".repeat(METHOD_BYTES_MAX), &limits, false), Ok(None));
        assert_eq!(scan(&b"M".repeat(METHOD_BYTES_MAX + 1), &limits, false), Err(Fault::MethodTooLong));
        let usual = Limits::default();
        let long = |len: usize| [b"GET ", "x".repeat(len).as_bytes(), b" HTTP/1.1\r\n\r\n"].concat();
        let most = long(usual.target_bytes_max);
        assert_eq!(Scanner::default().scan_request(&most, &usual), Ok(Some(most.len())));
        let over = long(usual.target_bytes_max + 1);
        assert_eq!(Scanner::default().scan_request(&over, &usual), Err(Fault::TargetTooLong));
    }

    #[test]
    fn rule_4_bare_line_feeds_as_an_option() {
        let limits = Limits { accept_bare_lf: true, ..Limits::default() };
        for text in ["GET / HTTP/1.1\n\n", "\n\r\nGET / HTTP/1.1\nA: b\r\n\n", "GET / HTTP/1.1\r\n\r\n"] {
            assert_eq!(scan(text.as_bytes(), &limits, false), Ok(Some(text.len())), "{text:?}");
        }
        assert_eq!(scan(b"GET / HTTP/1.1\r\r", &limits, false), Err(Fault::BareCarriageReturn));
    }
}
