//! Checked heads of requests and responses (RFC 9112 sections 2 to 5). httparse lives only here.
//!
//! [`Scanner`] finds the end of a head as bytes arrive and refuses line ends that httparse would let pass; then
//! `RequestHead::parse` or `ResponseHead::parse` reads it once, without copying. When httparse says no, a second,
//! slow look finds out which rule was broken, so that people are told more than "bad request".

use std::mem::MaybeUninit;

use httparse::{Error, Header, Status};

pub use super::scan::{EMPTY_LINES_MAX, METHOD_BYTES_MAX, Scanner, skip_empty_lines};

use super::fault::Fault;
use super::fields::{is_token, same_name};
use super::hop::{Class, classify};
use super::scan::{request_version, response_version, trim_line_end};

/// No configuration allows more fields than this (chosen: 32 KB of pointers, a tenth of a default thread stack).
pub const FIELDS_CEILING: usize = 1000;

/// Room for fields that needs no memory of its own (chosen: 2 KB of a stack whose pages are in use anyway, where 32 KB would be
/// eight more with every head; browsers send up to 30 fields).
const FIELDS_USUAL: usize = 64;

/// Most options that the Connection fields of one message may name (chosen: real messages name up to three). Without
/// a bound each field would be compared with thousands of names.
pub const CONNECTION_OPTIONS_MAX: usize = 64;

/// What a head may be like.
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

/// The version of a message. A later minor version is taken as 1.1 (RFC 9110 section 2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

impl Version {
    fn from_minor(minor: u8) -> Version {
        if minor == 0 { Version::Http10 } else { Version::Http11 }
    }

    /// The digits as Via shows them.
    pub fn digits(self) -> &'static str {
        match self {
            Version::Http10 => "1.0",
            Version::Http11 => "1.1",
        }
    }
}

/// Room for the fields of one head; nothing in it is initialised before it is used, so making one costs nothing.
pub struct FieldStorage<'b> {
    array: [MaybeUninit<Header<'b>>; FIELDS_USUAL],
    // For heads with more fields.
    many: Vec<MaybeUninit<Header<'b>>>,
    // For what httparse does not take: old browsers' targets, and versions such as HTTP/1.2, never seen outside of tests.
    spill: Vec<Header<'b>>,
}

impl FieldStorage<'_> {
    /// Empty.
    #[inline]
    pub fn new() -> Self {
        let array = [const { MaybeUninit::uninit() }; FIELDS_USUAL];
        FieldStorage { array, many: Vec::new(), spill: Vec::new() }
    }
}

impl Default for FieldStorage<'_> {
    fn default() -> Self {
        FieldStorage::new()
    }
}

/// The fields of one head, in order. Names are tokens; values are trimmed and hold no control characters but tabs.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'s, 'b> {
    fields: &'s [Header<'b>],
    // Which classes are there, one bit each: most questions are about fields that are not.
    classes: u32,
    // Which names may be there, for all other questions: see `hint`.
    hints: u64,
}

/// One bit of 64 for a name in any case: where it is not set, no field has that name. For a name that is known when weir is
/// built it is a constant.
#[inline]
fn hint(name: &str) -> u64 {
    let first = name.as_bytes().first().map_or(0, |first| usize::from(first | 0x20));
    1 << ((8 * name.len() + first) % 64)
}

impl<'s, 'b> Fields<'s, 'b> {
    /// Looks at each field once, and bounds what Connection may name.
    fn new(fields: &'s [Header<'b>]) -> Result<Fields<'s, 'b>, Fault> {
        let (mut classes, mut hints, mut options) = (0, 0, 0);
        for field in fields {
            let class = classify(field.name);
            classes |= class.bit();
            hints |= hint(field.name);
            if class == Class::Connection {
                options += 1 + memchr::memchr_iter(b',', field.value).count();
            }
        }
        if options > CONNECTION_OPTIONS_MAX {
            return Err(Fault::ConnectionOptions);
        }
        Ok(Fields { fields, classes, hints })
    }

    /// Whether any field of that class is there.
    #[inline]
    pub(super) fn has(self, class: Class) -> bool {
        self.classes & class.bit() != 0
    }

    /// Name and value of each field line.
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = (&'b str, &'b [u8])> + use<'s, 'b> {
        self.fields.iter().map(|field| (field.name, field.value))
    }

    /// The values of all field lines of that name, in any case.
    #[inline]
    pub fn all<'n>(self, name: &'n str) -> impl Iterator<Item = &'b [u8]> + use<'s, 'b, 'n> {
        let fields = if self.hints & hint(name) == 0 { &[] } else { self.fields };
        fields.iter().filter(move |field| same_name(field.name, name)).map(|field| field.value)
    }

    /// The first value of that name.
    #[inline]
    pub fn get(self, name: &str) -> Option<&'b [u8]> {
        self.all(name).next()
    }

    /// How many field lines have that name.
    pub fn count(self, name: &str) -> usize {
        self.all(name).count()
    }

    /// Number of field lines.
    pub fn len(self) -> usize {
        self.fields.len()
    }

    /// No fields at all.
    pub fn is_empty(self) -> bool {
        self.fields.is_empty()
    }
}

/// A request head (RFC 9112 section 3). The target is not parsed yet: see `target::Target`.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'s, 'b> {
    /// A token, case-sensitive.
    pub method: &'b str,
    /// As sent: no blanks and control characters, at least one byte.
    pub target: &'b [u8],
    /// 1.0 or 1.1.
    pub version: Version,
    /// Field lines.
    pub fields: Fields<'s, 'b>,
}

/// A response head (RFC 9112 section 4).
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'s, 'b> {
    /// 1.0 or 1.1.
    pub version: Version,
    /// 100 to 999.
    pub status: u16,
    /// As sent, often empty; may hold obs-text.
    pub reason: &'b [u8],
    /// Field lines.
    pub fields: Fields<'s, 'b>,
}

impl<'s, 'b> RequestHead<'s, 'b> {
    /// Reads the head whose end [`Scanner::scan_request`] found; `bytes` may go on after it, and may begin with the
    /// empty lines that the scanner counted. Rules 1 to 4, 13, 17.
    pub fn parse(
        bytes: &'b [u8],
        storage: &'s mut FieldStorage<'b>,
        limits: &Limits,
    ) -> Result<RequestHead<'s, 'b>, Fault> {
        let fields_max = limits.fields_max.min(FIELDS_CEILING);
        let usual = fields_max.min(FIELDS_USUAL);
        let mut request = httparse::Request::new(&mut []);
        let mut parsed = request.parse_with_uninit_headers(bytes, &mut storage.array[..usual]);
        if parsed == Err(Error::TooManyHeaders) && usual < fields_max {
            storage.many.resize_with(fields_max, MaybeUninit::uninit);
            parsed = request.parse_with_uninit_headers(bytes, &mut storage.many);
        }
        let head = match parsed {
            Ok(Status::Complete(_)) => {
                let (Some(method), Some(target), Some(minor)) =
                    (request.method, request.path, request.version)
                else {
                    return Err(Fault::HeadMalformed);
                };
                RequestHead {
                    method,
                    target: target.as_bytes(),
                    version: Version::from_minor(minor),
                    fields: Fields::new(request.headers)?,
                }
            }
            Ok(Status::Partial) => return Err(Fault::HeadIncomplete),
            Err(Error::TooManyHeaders) => return Err(Fault::TooManyFields),
            Err(Error::Version | Error::Token) => {
                RequestHead::parse_by_hand(bytes, &mut storage.spill, limits)?
            }
            Err(_) => return Err(request_fault(bytes, limits)),
        };
        Ok(head)
    }

    /// What httparse refuses: HTTP/1.2 to 1.9, which RFC 9110 section 2.5 wants taken as 1.1, and targets that are not UTF-8.
    #[cold]
    fn parse_by_hand(
        bytes: &'b [u8],
        spill: &'s mut Vec<Header<'b>>,
        limits: &Limits,
    ) -> Result<RequestHead<'s, 'b>, Fault> {
        let start = skip_empty_lines(bytes, limits)?;
        let (line, rest) = split_line(&bytes[start..]);
        request_line_fault(line).map_or(Ok(()), Err)?;
        let mut parts = line.split(|&byte| byte == b' ');
        let (Some(method), Some(target)) = (parts.next(), parts.next()) else {
            return Err(Fault::HeadMalformed);
        };
        let method = std::str::from_utf8(method).map_err(|_| Fault::Method)?;
        let version = if line.ends_with(b"0") { Version::Http10 } else { Version::Http11 };
        let fields = parse_fields(rest, spill, limits)?;
        Ok(RequestHead { method, target, version, fields })
    }
}

impl<'s, 'b> ResponseHead<'s, 'b> {
    /// Reads the head whose end [`Scanner::scan_response`] found; `bytes` may go on after it. What can be put right in a response
    /// is refused here too: see [`super::repair`].
    pub fn parse(
        bytes: &'b [u8],
        storage: &'s mut FieldStorage<'b>,
        limits: &Limits,
    ) -> Result<ResponseHead<'s, 'b>, Fault> {
        let fields_max = limits.fields_max.min(FIELDS_CEILING);
        let mut config = httparse::ParserConfig::default();
        config.allow_obsolete_multiline_headers_in_responses(false);
        let mut response = httparse::Response::new(&mut []);
        let usual = fields_max.min(FIELDS_USUAL);
        let array = &mut storage.array[..usual];
        let mut parsed = config.parse_response_with_uninit_headers(&mut response, bytes, array);
        if parsed == Err(Error::TooManyHeaders) && usual < fields_max {
            storage.many.resize_with(fields_max, MaybeUninit::uninit);
            parsed = config.parse_response_with_uninit_headers(&mut response, bytes, &mut storage.many);
        }
        let head = match parsed {
            Ok(Status::Complete(_)) => {
                let (Some(status), Some(minor)) = (response.code, response.version) else {
                    return Err(Fault::HeadMalformed);
                };
                let fields = Fields::new(response.headers)?;
                ResponseHead { version: Version::from_minor(minor), status, reason: reason(bytes), fields }
            }
            Ok(Status::Partial) => return Err(Fault::HeadIncomplete),
            Err(Error::TooManyHeaders) => return Err(Fault::TooManyFields),
            Err(Error::Version) => ResponseHead::parse_later(bytes, &mut storage.spill, limits)?,
            Err(_) => return Err(response_fault(bytes, limits)),
        };
        if !(100..=999).contains(&head.status) {
            return Err(Fault::StatusCode);
        }
        Ok(head)
    }

    #[cold]
    fn parse_later(
        bytes: &'b [u8],
        spill: &'s mut Vec<Header<'b>>,
        limits: &Limits,
    ) -> Result<ResponseHead<'s, 'b>, Fault> {
        let (line, rest) = split_line(bytes);
        status_line_fault(line).map_or(Ok(()), Err)?;
        let digits = line.get(9..12).and_then(super::fields::decimal).ok_or(Fault::StatusCode)?;
        let fields = parse_fields(rest, spill, limits)?;
        let status = u16::try_from(digits).map_err(|_| Fault::StatusCode)?;
        Ok(ResponseHead { version: Version::Http11, status, reason: reason(bytes), fields })
    }
}

/// What stands after `HTTP/1.1 200 ` in the first line. httparse gives no reason phrase that has obs-text.
fn reason(bytes: &[u8]) -> &[u8] {
    let (line, _) = split_line(bytes);
    line.get(13..).unwrap_or_default()
}

/// The first line without its end, and what follows it.
fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'\n', bytes) {
        Some(at) => (trim_line_end(&bytes[..at]), &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}

fn parse_fields<'s, 'b>(
    bytes: &'b [u8],
    spill: &'s mut Vec<Header<'b>>,
    limits: &Limits,
) -> Result<Fields<'s, 'b>, Fault> {
    spill.clear();
    spill.resize(limits.fields_max.min(FIELDS_CEILING), httparse::EMPTY_HEADER);
    match httparse::parse_headers(bytes, spill) {
        Ok(Status::Complete((_, fields))) => Fields::new(fields),
        Ok(Status::Partial) => Err(Fault::HeadIncomplete),
        Err(Error::TooManyHeaders) => Err(Fault::TooManyFields),
        Err(_) => Err(fields_fault(bytes, limits)),
    }
}

/// Which rule a request head breaks that httparse refused.
#[cold]
fn request_fault(bytes: &[u8], limits: &Limits) -> Fault {
    let start = match skip_empty_lines(bytes, limits) {
        Ok(start) => start,
        Err(fault) => return fault,
    };
    let (line, rest) = split_line(&bytes[start..]);
    request_line_fault(line).unwrap_or_else(|| fields_fault(rest, limits))
}

/// Which rule a response head breaks that httparse refused.
#[cold]
fn response_fault(bytes: &[u8], limits: &Limits) -> Fault {
    let (line, rest) = split_line(bytes);
    status_line_fault(line).unwrap_or_else(|| fields_fault(rest, limits))
}

fn request_line_fault(line: &[u8]) -> Option<Fault> {
    if let Some(fault) = line_fault(line) {
        return Some(fault);
    }
    if line.contains(&b'\t') || line.first() == Some(&b' ') || memchr::memmem::find(line, b"  ").is_some() {
        return Some(Fault::RequestLineBlank);
    }
    let mut parts = line.split(|&byte| byte == b' ');
    if !parts.next().is_some_and(is_token) {
        return Some(Fault::Method);
    }
    if let Err(fault) = request_version(line) {
        return Some(fault);
    }
    match (parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(_), None) => None,
        (Some(_), Some(_), Some(_)) => Some(Fault::RequestLineBlank),
        (_, None, _) | (None, _, _) => Some(Fault::VersionMissing),
    }
}

fn status_line_fault(line: &[u8]) -> Option<Fault> {
    if let Some(fault) = line_fault(line) {
        return Some(fault);
    }
    if let Err(fault) = response_version(line) {
        return Some(fault);
    }
    match line.get(8..) {
        Some([b' ', status @ ..]) if status.len() >= 3 => {
            let (digits, reason) = status.split_at(3);
            let well_formed = digits.iter().all(u8::is_ascii_digit) && matches!(reason, [] | [b' ', ..]);
            (!well_formed).then_some(Fault::StatusLine)
        }
        _ => Some(Fault::StatusLine),
    }
}

/// Faults that any line of a head may have.
fn line_fault(line: &[u8]) -> Option<Fault> {
    if line.contains(&b'\r') {
        return Some(Fault::BareCarriageReturn);
    }
    line.iter().any(|&byte| !super::fields::is_value_byte(byte)).then_some(Fault::ControlCharacter)
}

fn fields_fault(mut bytes: &[u8], limits: &Limits) -> Fault {
    while !bytes.is_empty() {
        let (line, rest) = split_line(bytes);
        let crlf = bytes.get(line.len()) == Some(&b'\r');
        if !crlf && !limits.accept_bare_lf {
            return Fault::BareLineFeed;
        }
        if let Some(fault) = line_fault(line) {
            return fault;
        }
        let colon = memchr::memchr(b':', line);
        match (line, colon) {
            ([], _) => break,
            ([b' ' | b'\t', ..], _) => return Fault::LineFolding,
            (_, None) => return Fault::FieldColon,
            (_, Some(colon)) => match &line[..colon] {
                [.., b' ' | b'\t'] => return Fault::FieldNameBlank,
                name if !is_token(name) => return Fault::FieldName,
                _ => {}
            },
        }
        bytes = rest;
    }
    Fault::HeadMalformed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &[u8]) -> Result<String, Fault> {
        let mut storage = FieldStorage::new();
        let head = RequestHead::parse(text, &mut storage, &Limits::default())?;
        let target = String::from_utf8_lossy(head.target);
        Ok(format!("{} {target} {:?} {}", head.method, head.version, show(head.fields)))
    }

    fn response(text: &[u8]) -> Result<String, Fault> {
        let mut storage = FieldStorage::new();
        let head = ResponseHead::parse(text, &mut storage, &Limits::default())?;
        let reason = head.reason.escape_ascii();
        Ok(format!("{:?} {} {reason} {}", head.version, head.status, show(head.fields)))
    }

    fn show(fields: Fields<'_, '_>) -> String {
        fields.iter().map(|(name, value)| format!("[{name}={}]", value.escape_ascii())).collect()
    }

    #[test]
    fn requests() {
        for (text, expected) in [
            ("GET / HTTP/1.1\r\n\r\n", "GET / Http11 "),
            ("\r\n\r\nget /?a HTTP/1.0\r\nA:b\r\n\r\n", "get /?a Http10 [A=b]"),
            ("GET / HTTP/1.1\r\nA: \t b c\t \r\nA:\r\nB: \r\n\r\nrest", "GET / Http11 [A=b c][A=][B=]"),
            ("X!#$%&'*+-.^_`|~ /\"<>\\^{|} HTTP/1.1\r\n\r\n", "X!#$%&'*+-.^_`|~ /\"<>\\^{|} Http11 "),
            // A later minor version (rule 3).
            ("\r\nGET / HTTP/1.2\r\nA: b\r\n\r\n", "GET / Http11 [A=b]"),
            ("POST http://a/ HTTP/1.9\r\nA: b\r\nC:  d \r\n\r\nrest", "POST http://a/ Http11 [A=b][C=d]"),
        ] {
            assert_eq!(request(text.as_bytes()).as_deref(), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn rule_27_obs_text_passes() {
        assert_eq!(
            request(b"GET / HTTP/1.1\r\nA: \xFF\x80x\tx\r\n\r\n").unwrap(),
            "GET / Http11 [A=\\xff\\x80x\\tx]"
        );
    }

    #[test]
    fn rule_5_any_bytes_in_targets() {
        for (minor, version) in [(0, "Http10"), (1, "Http11"), (2, "Http11")] {
            for target in [&b"/\xc3\xa4"[..], b"/\xff", b"http://a/\x80\x9f?\xe4"] {
                let text = [b"GET ", target, format!(" HTTP/1.{minor}\r\nA: b\r\n\r\n").as_bytes()].concat();
                let mut storage = FieldStorage::new();
                let head = RequestHead::parse(&text, &mut storage, &Limits::default()).unwrap();
                assert_eq!((head.method, head.target), ("GET", target));
                assert_eq!((format!("{:?}", head.version).as_str(), head.fields.len()), (version, 1));
            }
        }
        for (text, fault) in [
            (&b"GET /\xff\x7f HTTP/1.1\r\n\r\n"[..], Fault::ControlCharacter),
            (b"GET /\xff x HTTP/1.1\r\n\r\n", Fault::RequestLineBlank),
            (b"GET /\xff HTTP/1.1\r\nA : b\r\n\r\n", Fault::FieldNameBlank),
            (b"GET /\xff HTTP/1.1\r\nA: b\r\n", Fault::HeadIncomplete),
            (b"G\xffT /\xff HTTP/1.1\r\n\r\n", Fault::Method),
        ] {
            assert_eq!(request(text), Err(fault));
        }
    }

    #[test]
    fn rules_1_to_4_and_17_requests_at_fault() {
        for (text, fault) in [
            ("GET / HTTP/1.1\r\nA: b\r\n", Fault::HeadIncomplete),
            ("", Fault::HeadIncomplete),
            ("G(T / HTTP/1.1\r\n\r\n", Fault::Method),
            ("G\u{e9}T / HTTP/1.1\r\n\r\n", Fault::Method),
            (" GET / HTTP/1.1\r\n\r\n", Fault::RequestLineBlank),
            ("GET  / HTTP/1.1\r\n\r\n", Fault::RequestLineBlank),
            ("GET /  HTTP/1.1\r\n\r\n", Fault::RequestLineBlank),
            ("GET\t/ HTTP/1.1\r\n\r\n", Fault::RequestLineBlank),
            ("GET / HTTP/1.1 \r\n\r\n", Fault::VersionMissing),
            ("GET /a b HTTP/1.1\r\n\r\n", Fault::RequestLineBlank),
            ("GET /\r\n\r\n", Fault::VersionMissing),
            ("GET / http/1.1\r\n\r\n", Fault::VersionMalformed),
            ("GET / HTTP/2.0\r\n\r\n", Fault::VersionUnsupported),
            ("GET /a b HTTP/1.2\r\n\r\n", Fault::RequestLineBlank),
            ("GET  HTTP/1.2\r\n\r\n", Fault::RequestLineBlank),
            ("GET /\x01 HTTP/1.2\r\n\r\n", Fault::ControlCharacter),
            ("GET / HTTP/1.2\r\nA : b\r\n\r\n", Fault::FieldNameBlank),
            ("GET /\0 HTTP/1.1\r\n\r\n", Fault::ControlCharacter),
            ("GET /\rx HTTP/1.1\r\n\r\n", Fault::BareCarriageReturn),
            ("GET / HTTP/1.1\r\nA b\r\n\r\n", Fault::FieldColon),
            ("GET / HTTP/1.1\r\nA : b\r\n\r\n", Fault::FieldNameBlank),
            ("GET / HTTP/1.1\r\nA\t: b\r\n\r\n", Fault::FieldNameBlank),
            ("GET / HTTP/1.1\r\n: b\r\n\r\n", Fault::FieldName),
            ("GET / HTTP/1.1\r\nA(: b\r\n\r\n", Fault::FieldName),
            ("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", Fault::LineFolding),
            ("GET / HTTP/1.1\r\n A: b\r\n\r\n", Fault::LineFolding),
            ("GET / HTTP/1.1\r\nA: b\0\r\n\r\n", Fault::ControlCharacter),
            ("GET / HTTP/1.1\r\nA: b\x7f\r\n\r\n", Fault::ControlCharacter),
            ("GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", Fault::BareCarriageReturn),
            ("GET / HTTP/1.1\r\nA: b\r\r\n\r\n", Fault::BareCarriageReturn),
        ] {
            assert_eq!(request(text.as_bytes()), Err(fault), "{text:?}");
        }
    }

    #[test]
    fn responses() {
        for (text, expected) in [
            (&b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nrest"[..], "Http11 200 OK [A=b]"),
            (b"HTTP/1.0 404 Not  Found \r\n\r\n", "Http10 404 Not  Found  "),
            (b"HTTP/1.1 200\r\n\r\n", "Http11 200  "),
            (b"HTTP/1.1 200 \r\n\r\n", "Http11 200  "),
            (b"HTTP/1.1 999 \xE9t\xE9\r\n\r\n", "Http11 999 \\xe9t\\xe9 "),
            (b"HTTP/1.3 200 Fine\r\nA: b\r\n\r\nrest", "Http11 200 Fine [A=b]"),
        ] {
            assert_eq!(response(text).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn rule_34_responses_at_fault() {
        for (text, fault) in [
            ("HTTP/1.1 099 x\r\n\r\n", Fault::StatusCode),
            ("HTTP/1.2 099 x\r\n\r\n", Fault::StatusCode),
            ("HTTP/1.1 20 x\r\n\r\n", Fault::StatusLine),
            ("HTTP/1.1 2000\r\n\r\n", Fault::StatusLine),
            ("HTTP/1.2 2000\r\n\r\n", Fault::StatusLine),
            ("HTTP/1.1  200 OK\r\n\r\n", Fault::StatusLine),
            ("HTTP/1.1 2x0 OK\r\n\r\n", Fault::StatusLine),
            ("HTTP/1.1 200 O\0K\r\n\r\n", Fault::ControlCharacter),
            ("HTTP/1.1 200 O\rK\r\n\r\n", Fault::BareCarriageReturn),
            ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", Fault::LineFolding),
            ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", Fault::FieldNameBlank),
            ("HTTP/1.1 200 OK\r\n: b\r\n\r\n", Fault::FieldName),
            ("HTTP/1.1 200 OK\r\nA\r\n\r\n", Fault::FieldColon),
        ] {
            assert_eq!(response(text.as_bytes()), Err(fault), "{text:?}");
        }
    }

    #[test]
    fn rule_13_number_of_fields() {
        for minor in [1, 2] {
            for (count, fits) in [(FIELDS_USUAL, true), (FIELDS_USUAL + 1, true), (200, true), (201, false)] {
                let text = format!("GET / HTTP/1.{minor}\r\n{}\r\n", "A: b\r\n".repeat(count));
                let expected = if fits { None } else { Some(Fault::TooManyFields) };
                let found = request(text.as_bytes());
                assert_eq!(found.as_ref().err(), expected.as_ref(), "1.{minor} {count}");
                assert!(!fits || found.is_ok_and(|found| found.ends_with(&"[A=b]".repeat(count))));
                let found =
                    response(format!("HTTP/1.{minor} 200 OK\r\n{}\r\n", "A: b\r\n".repeat(count)).as_bytes());
                assert_eq!(found.as_ref().err(), expected.as_ref(), "1.{minor} {count}");
                assert!(!fits || found.is_ok_and(|found| found.ends_with(&"[A=b]".repeat(count))));
            }
        }
        let limits = Limits { fields_max: usize::MAX, ..Limits::default() };
        let text = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(FIELDS_CEILING + 1));
        let mut storage = FieldStorage::new();
        assert_eq!(
            RequestHead::parse(text.as_bytes(), &mut storage, &limits).err(),
            Some(Fault::TooManyFields)
        );
    }

    #[test]
    fn connection_options_are_bounded() {
        let text = |options: usize| {
            let list = vec!["a"; options / 2].join(",");
            format!("GET / HTTP/1.1\r\nConnection: {list}\r\ncONNECTION: {list}\r\n\r\n")
        };
        assert!(request(text(CONNECTION_OPTIONS_MAX).as_bytes()).is_ok());
        assert_eq!(request(text(CONNECTION_OPTIONS_MAX + 2).as_bytes()), Err(Fault::ConnectionOptions));
    }

    #[test]
    fn look_ups_ignore_case_and_keep_order() {
        let mut storage = FieldStorage::new();
        let text = b"GET / HTTP/1.1\r\nA: 1\r\nb: 2\r\na: 3\r\n\r\n";
        let head = RequestHead::parse(text, &mut storage, &Limits::default()).unwrap();
        assert_eq!(head.fields.all("a").collect::<Vec<_>>(), [b"1", b"3"]);
        assert_eq!((head.fields.get("B"), head.fields.get("c")), (Some(&b"2"[..]), None));
        assert_eq!((head.fields.count("A"), head.fields.len(), head.fields.is_empty()), (2, 3, false));
    }
}
