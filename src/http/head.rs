//! Reads heads of requests and responses, once (RFC 9112 sections 2 to 5). httparse lives only here.
//!
//! [`Scanner`] finds the end of a head as bytes arrive and refuses line ends that httparse would let pass; then the head is
//! read into a [`Message`], without copying. Nearly all heads come whole, and need no scanner: what httparse has accepted is
//! looked at once for each line, for what the scanner would have refused. When httparse says no, a second, slow look finds
//! out which rule was broken, so that people are told more than "bad request".

use std::mem::MaybeUninit;

use httparse::{Error, Header, Status};

pub use super::h1::scan::{
    EMPTY_LINES_MAX, FIELDS_CEILING, Limits, METHOD_BYTES_MAX, Scanner, skip_empty_lines,
};
pub use super::message::{CONNECTION_OPTIONS_MAX, Fields, Message, RequestHead, ResponseHead, Version};

use super::fault::Fault;
use super::fields::{is_tchar, is_token};
use super::h1::scan::{request_version, response_version, trim_line_end};
use super::message::Span;

/// Fields for which there is room on the stack (chosen: 2 KB of a stack whose pages are in use anyway, where 32 KB would be
/// eight more with every head; browsers send up to 30 fields).
const FIELDS_USUAL: usize = 64;

/// Room for what httparse finds; nothing in it is initialised before it is used, so making one costs nothing.
type Room<'b> = [MaybeUninit<Header<'b>>; FIELDS_USUAL];

/// Has a head read with room for as many fields as heads usually have; where it has more, once more with room for all that it
/// may have.
#[inline]
fn with_room<'b, T>(
    limits: &Limits,
    mut read: impl FnMut(&mut [MaybeUninit<Header<'b>>]) -> Result<T, Error>,
) -> Result<T, Error> {
    let fields_max = limits.fields_max.min(FIELDS_CEILING);
    let mut room: Room<'b> = [const { MaybeUninit::uninit() }; FIELDS_USUAL];
    match read(&mut room[..fields_max.min(FIELDS_USUAL)]) {
        Err(Error::TooManyHeaders) if fields_max > FIELDS_USUAL => {
            read(&mut vec![MaybeUninit::uninit(); fields_max])
        }
        read => read,
    }
}

/// Fewer bytes than this are read as a head without further ado; among more, the end of a head is looked for first (chosen:
/// most heads are smaller, and reading half of a long one would be in vain).
const READ_AT_ONCE_BYTES: usize = 2048;

/// Whether a head seems to have come whole.
fn seems_whole(bytes: &[u8]) -> bool {
    bytes.len() < READ_AT_ONCE_BYTES || memchr::memmem::find(bytes, b"\r\n\r\n").is_some()
}

impl Message {
    /// Looks for the end of a request head as [`Scanner::scan_request`] does; a head that has come whole is read at once.
    pub fn receive_request(
        &mut self,
        scanner: &mut Scanner,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Option<usize>, Fault> {
        self.clear();
        let begins = scanner.is_fresh() && bytes.first().is_some_and(|&byte| is_tchar(byte));
        if begins && !limits.accept_bare_lf && seems_whole(bytes) {
            let mut room: Room<'_> = [const { MaybeUninit::uninit() }; FIELDS_USUAL];
            let usual = limits.fields_max.min(FIELDS_USUAL);
            if let Ok(Ok(head_bytes)) = self.try_request(bytes, &mut room[..usual]) {
                let fits = |method, target| method <= METHOD_BYTES_MAX && target <= limits.target_bytes_max;
                if head_bytes <= limits.head_bytes_max
                    && self.has_crlf(bytes)
                    && self.request_line_bytes().is_some_and(|(method, target)| fits(method, target))
                {
                    return Ok(Some(head_bytes));
                }
                self.clear();
            }
        }
        scanner.scan_request(bytes, limits)
    }

    /// Looks for the end of a response head as [`Scanner::scan_response`] does; a head that has come whole is read at once.
    pub fn receive_response(
        &mut self,
        scanner: &mut Scanner,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Option<usize>, Fault> {
        self.clear();
        let begins = scanner.is_fresh() && bytes.first() == Some(&b'H');
        if begins && !limits.accept_bare_lf && seems_whole(bytes) {
            let mut room: Room<'_> = [const { MaybeUninit::uninit() }; FIELDS_USUAL];
            let usual = limits.fields_max.min(FIELDS_USUAL);
            if let Ok(Ok(head_bytes)) = self.try_response(bytes, &mut room[..usual]) {
                if head_bytes <= limits.head_bytes_max && self.has_crlf(bytes) {
                    return Ok(Some(head_bytes));
                }
                self.clear();
            }
        }
        scanner.scan_response(bytes, limits)
    }

    /// Reads the head whose end [`Scanner::scan_request`] found, unless that is done; `bytes` may go on after it, and may begin
    /// with the empty lines that the scanner counted. Rules 1 to 4, 13, 17.
    #[inline]
    pub fn read_request<'s, 'b>(
        &'s mut self,
        bytes: &'b [u8],
        limits: &Limits,
    ) -> Result<RequestHead<'s, 'b>, Fault> {
        if self.is_unread() {
            self.parse_request(bytes, limits)?;
        }
        self.request(bytes).ok_or(Fault::HeadMalformed)
    }

    fn parse_request(&mut self, bytes: &[u8], limits: &Limits) -> Result<(), Fault> {
        match with_room(limits, |room| self.try_request(bytes, room)) {
            Ok(read) => read.map(drop),
            Err(Error::TooManyHeaders) => Err(Fault::TooManyFields),
            Err(Error::Version | Error::Token) => self.read_request_by_hand(bytes, limits),
            Err(_) => Err(request_fault(bytes, limits)),
        }
    }

    /// Reads the head whose end [`Scanner::scan_response`] found, unless that is done; `bytes` may go on after it. What can be
    /// put right in a response is refused here too: see [`super::repair`].
    #[inline]
    pub fn read_response<'s, 'b>(
        &'s mut self,
        bytes: &'b [u8],
        limits: &Limits,
    ) -> Result<ResponseHead<'s, 'b>, Fault> {
        if self.is_unread() {
            self.parse_response(bytes, limits)?;
        }
        self.response(bytes).ok_or(Fault::HeadMalformed)
    }

    fn parse_response(&mut self, bytes: &[u8], limits: &Limits) -> Result<(), Fault> {
        match with_room(limits, |room| self.try_response(bytes, room)) {
            Ok(read) => read.map(drop),
            Err(Error::TooManyHeaders) => Err(Fault::TooManyFields),
            Err(Error::Version) => self.read_later_response(bytes, limits),
            Err(_) => Err(response_fault(bytes, limits)),
        }
    }

    /// What httparse makes of a request, with room for so many fields: the length of its head.
    fn try_request<'b>(
        &mut self,
        bytes: &'b [u8],
        room: &mut [MaybeUninit<Header<'b>>],
    ) -> Result<Result<usize, Fault>, Error> {
        let mut request = httparse::Request::new(&mut []);
        let Status::Complete(head_bytes) = request.parse_with_uninit_headers(bytes, room)? else {
            return Ok(Err(Fault::HeadIncomplete));
        };
        let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
        else {
            return Ok(Err(Fault::HeadMalformed));
        };
        Ok(self.set_fields(bytes, head_bytes, pairs(request.headers)).map(|()| {
            let (method, target) = (Span::of(method.as_bytes(), bytes), Span::of(target.as_bytes(), bytes));
            self.set_request(method, target, Version::from_minor(minor));
            head_bytes
        }))
    }

    /// What httparse makes of a response, with room for so many fields: the length of its head.
    fn try_response<'b>(
        &mut self,
        bytes: &'b [u8],
        room: &mut [MaybeUninit<Header<'b>>],
    ) -> Result<Result<usize, Fault>, Error> {
        // httparse would pass over empty lines.
        if bytes.first().is_some_and(|&byte| byte != b'H') {
            return Ok(Err(Fault::StatusLine));
        }
        let mut config = httparse::ParserConfig::default();
        config.allow_obsolete_multiline_headers_in_responses(false);
        let mut response = httparse::Response::new(&mut []);
        let parsed = config.parse_response_with_uninit_headers(&mut response, bytes, room)?;
        let Status::Complete(head_bytes) = parsed else { return Ok(Err(Fault::HeadIncomplete)) };
        let (Some(status), Some(minor)) = (response.code, response.version) else {
            return Ok(Err(Fault::HeadMalformed));
        };
        // httparse gives no reason phrase that has obs-text.
        let second_line = match response.headers.first() {
            Some(first) => Span::of(first.name.as_bytes(), bytes).start as usize,
            None => head_bytes - if bytes[..head_bytes].ends_with(b"\r\n") { 2 } else { 1 },
        };
        let reason = reason(&bytes[..second_line]);
        let read = self.set_fields(bytes, head_bytes, pairs(response.headers));
        if !(100..=999).contains(&status) {
            return Ok(read.and(Err(Fault::StatusCode)));
        }
        Ok(read.map(|()| {
            self.set_response(Version::from_minor(minor), status, reason);
            head_bytes
        }))
    }

    /// What httparse refuses: HTTP/1.2 to 1.9, which RFC 9110 section 2.5 wants taken as 1.1, and targets that are not UTF-8.
    #[cold]
    fn read_request_by_hand(&mut self, bytes: &[u8], limits: &Limits) -> Result<(), Fault> {
        let start = skip_empty_lines(bytes, limits)?;
        let (line, rest) = split_line(&bytes[start..]);
        request_line_fault(line).map_or(Ok(()), Err)?;
        let mut parts = line.split(|&byte| byte == b' ');
        let (Some(method), Some(target)) = (parts.next(), parts.next()) else {
            return Err(Fault::HeadMalformed);
        };
        let version = if line.ends_with(b"0") { Version::Http10 } else { Version::Http11 };
        self.read_fields(bytes, rest, limits)?;
        self.set_request(Span::of(method, bytes), Span::of(target, bytes), version);
        Ok(())
    }

    /// The same for responses: HTTP/1.2 to 1.9.
    #[cold]
    fn read_later_response(&mut self, bytes: &[u8], limits: &Limits) -> Result<(), Fault> {
        let (line, rest) = split_line(bytes);
        status_line_fault(line).map_or(Ok(()), Err)?;
        let digits = line.get(9..12).and_then(super::fields::decimal).ok_or(Fault::StatusCode)?;
        let status = u16::try_from(digits).map_err(|_| Fault::StatusCode)?;
        self.read_fields(bytes, rest, limits)?;
        if status < 100 {
            return Err(Fault::StatusCode);
        }
        self.set_response(Version::Http11, status, reason(line));
        Ok(())
    }

    /// The fields in `rest`, the bytes that follow the first line of `bytes`.
    fn read_fields(&mut self, bytes: &[u8], rest: &[u8], limits: &Limits) -> Result<(), Fault> {
        let mut room = vec![httparse::EMPTY_HEADER; limits.fields_max.min(FIELDS_CEILING)];
        match httparse::parse_headers(rest, &mut room) {
            Ok(Status::Complete((count, fields))) => {
                self.set_fields(bytes, bytes.len() - rest.len() + count, pairs(fields))
            }
            Ok(Status::Partial) => Err(Fault::HeadIncomplete),
            Err(Error::TooManyHeaders) => Err(Fault::TooManyFields),
            Err(_) => Err(fields_fault(rest, limits)),
        }
    }
}

impl<'s, 'b> RequestHead<'s, 'b> {
    /// Reads a head into an emptied message: [`Message::read_request`].
    pub fn parse(
        bytes: &'b [u8],
        message: &'s mut Message,
        limits: &Limits,
    ) -> Result<RequestHead<'s, 'b>, Fault> {
        message.clear();
        message.read_request(bytes, limits)
    }
}

impl<'s, 'b> ResponseHead<'s, 'b> {
    /// Reads a head into an emptied message: [`Message::read_response`].
    pub fn parse(
        bytes: &'b [u8],
        message: &'s mut Message,
        limits: &Limits,
    ) -> Result<ResponseHead<'s, 'b>, Fault> {
        message.clear();
        message.read_response(bytes, limits)
    }
}

fn pairs<'a, 'b>(
    headers: &'a [Header<'b>],
) -> impl ExactSizeIterator<Item = (&'b str, &'b [u8])> + use<'a, 'b> {
    headers.iter().map(|header| (header.name, header.value))
}

/// What stands after `HTTP/1.1 200 ` in a status line, which may still have its end.
fn reason(line: &[u8]) -> Span {
    let end = trim_line_end(line.strip_suffix(b"\n").unwrap_or(line)).len() as u32;
    Span { start: end.min(13), end }
}

/// The first line without its end, and what follows it.
fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'\n', bytes) {
        Some(at) => (trim_line_end(&bytes[..at]), &bytes[at + 1..]),
        None => (bytes, &[]),
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
        let mut storage = Message::new();
        let head = RequestHead::parse(text, &mut storage, &Limits::default())?;
        let target = String::from_utf8_lossy(head.target);
        Ok(format!("{} {target} {:?} {}", head.method, head.version, show(head.fields)))
    }

    fn response(text: &[u8]) -> Result<String, Fault> {
        let mut storage = Message::new();
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
                let mut storage = Message::new();
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
        let mut storage = Message::new();
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
        let mut storage = Message::new();
        let text = b"GET / HTTP/1.1\r\nA: 1\r\nb: 2\r\na: 3\r\n\r\n";
        let head = RequestHead::parse(text, &mut storage, &Limits::default()).unwrap();
        assert_eq!(head.fields.all("a").collect::<Vec<_>>(), [b"1", b"3"]);
        assert_eq!((head.fields.get("B"), head.fields.get("c")), (Some(&b"2"[..]), None));
        assert_eq!((head.fields.count("A"), head.fields.len(), head.fields.is_empty()), (2, 3, false));
    }

    /// Heads, each with one byte left out or changed, and cut anywhere: what is read without the scanner is what the scanner lets
    /// pass, to the byte.
    #[test]
    fn whole_heads_are_read_as_scanned_ones() {
        let small = Limits { head_bytes_max: 60, target_bytes_max: 9, fields_max: 2, ..Limits::default() };
        let lenient = Limits { accept_bare_lf: true, ..Limits::default() };
        let mut read = 0;
        for head in [
            "GET http://a/b HTTP/1.1\r\nHost: a\r\nA:b\r\nB:  \r\nC: d \t\r\n\r\nGET",
            "GET / HTTP/1.0\r\n\r\n",
            "\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /123456789 HTTP/1.1\r\nA: b\r\nA: b\r\nA: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\nB:\r\nC:d\r\n\r\nbody\r\n\r\n",
            "HTTP/1.0 404\r\n\r\n",
            "HTTP/1.1 099 x\r\n\r\n",
        ] {
            let changed = (0..head.len()).flat_map(|at| {
                ["", "\n", "\r", " ", ":", "\0", "2"].map(|new| [&head[..at], new, &head[at + 1..]].concat())
            });
            let cut = (0..=head.len()).map(|end| head[..end].to_owned());
            for text in changed.chain(cut) {
                for limits in [Limits::default(), small, lenient] {
                    let bytes = text.as_bytes();
                    let (mut message, mut again) = (Message::new(), Message::new());
                    let (mut one, mut other) = (Scanner::default(), Scanner::default());
                    let found = message.receive_request(&mut one, bytes, &limits);
                    assert_eq!(found, other.scan_request(bytes, &limits), "{text:?}");
                    if !message.is_unread() {
                        again.read_request(bytes, &limits).unwrap();
                        assert_eq!(format!("{message:?}"), format!("{again:?}"), "{text:?}");
                        read += 1;
                    }
                    (one, other) = (Scanner::default(), Scanner::default());
                    let found = message.receive_response(&mut one, bytes, &limits);
                    assert_eq!(found, other.scan_response(bytes, &limits), "{text:?}");
                    if !message.is_unread() {
                        again.clear();
                        again.read_response(bytes, &limits).unwrap();
                        assert_eq!(format!("{message:?}"), format!("{again:?}"), "{text:?}");
                        read += 1;
                    }
                }
            }
        }
        assert!(read > 100, "{read}");
    }

    #[test]
    fn a_message_is_read_once_and_again_when_it_was_emptied() {
        let (one, other) = (b"GET /a HTTP/1.1\r\nA: b\r\n\r\n", b"GET /b HTTP/1.0\r\nB: c\r\n\r\n");
        let (limits, mut message) = (Limits::default(), Message::new());
        assert!(message.request(one).is_none() && message.response(one).is_none());
        message.read_request(one, &limits).unwrap();
        let head = message.request(one).unwrap();
        assert_eq!((head.target, head.fields.get("a")), (&b"/a"[..], Some(&b"b"[..])));
        assert!(message.response(one).is_none());
        message.clear();
        assert!(message.is_unread() && message.request(one).is_none());
        message.read_request(other, &limits).unwrap();
        let head = message.request(other).unwrap();
        assert_eq!((head.target, head.version, head.fields.get("a")), (&b"/b"[..], Version::Http10, None));
    }
}
