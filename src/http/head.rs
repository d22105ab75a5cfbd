//! Reads heads of requests and responses, once (RFC 9112 sections 2 to 5). httparse lives only here.
//!
//! [`Scanner`] finds the end of a head as bytes arrive and refuses line ends that httparse would accept; then the head is
//! read into a [`Message`], without copying. Nearly all heads arrive whole and in the usual form: these need neither scanner
//! nor httparse ([`plain`]). When httparse refuses a head, a second, slow look finds the rule that was broken, so that the
//! answer can be more precise than "bad request".

use std::mem::MaybeUninit;

use httparse::{Error, Header, Status};

pub use super::h1::scan::{
    EMPTY_LINES_MAX, FIELDS_CEILING, Limits, METHOD_BYTES_MAX, Scanner, skip_empty_lines,
};
pub use super::message::{CONNECTION_OPTIONS_MAX, Fields, Message, RequestHead, ResponseHead, Version};

use super::fault::Fault;
use super::fields::{is_tchar, is_token};
use super::h1::plain;
use super::h1::scan::{request_version, response_version, trim_line_end};
use super::message::Span;

/// Space for fields on the stack (chosen: 2 KB of a stack whose pages are in use anyway, where 32 KB would be eight more with
/// every head; browsers send up to 30 fields).
const FIELDS_USUAL: usize = 64;

/// Space for the fields that httparse finds; it is not initialised before use, so creating it costs nothing.
type Room<'b> = [MaybeUninit<Header<'b>>; FIELDS_USUAL];

/// Most fields of a head.
fn fields_max(limits: &Limits) -> usize {
    limits.fields_max.min(FIELDS_CEILING)
}

/// Calls `read` with space for the usual number of fields, and once more with space for the largest number allowed if the
/// head has more.
#[inline]
fn with_room<'b, T>(
    limits: &Limits,
    mut read: impl FnMut(&mut [MaybeUninit<Header<'b>>]) -> Result<T, Error>,
) -> Result<T, Error> {
    let fields_max = fields_max(limits);
    let mut room: Room<'b> = [const { MaybeUninit::uninit() }; FIELDS_USUAL];
    match read(&mut room[..fields_max.min(FIELDS_USUAL)]) {
        Err(Error::TooManyHeaders) if fields_max > FIELDS_USUAL => {
            read(&mut vec![MaybeUninit::uninit(); fields_max])
        }
        read => read,
    }
}

/// Longer heads are left to httparse, whose search is faster in long values, and are read when their end has arrived (chosen:
/// most heads are shorter, and reading half of a long one would be wasted).
const SHORT_BYTES_MAX: usize = 2048;

/// The known facts about the length of a head before it is read.
enum Extent {
    /// The head is short if it has arrived whole.
    Short,
    Long,
    /// The head is incomplete, or does not have the usual form.
    Unknown,
}

impl Extent {
    fn of(bytes: &[u8]) -> Extent {
        if bytes.len() <= SHORT_BYTES_MAX {
            return Extent::Short;
        }
        match memchr::memmem::find(bytes, b"\r\n\r\n") {
            Some(end) if end < SHORT_BYTES_MAX => Extent::Short,
            Some(_) => Extent::Long,
            None => Extent::Unknown,
        }
    }
}

impl Message {
    /// Looks for the end of a request head as [`Scanner::scan_request`] does; a whole head is read at once.
    pub fn receive_request(
        &mut self,
        scanner: &mut Scanner,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Option<usize>, Fault> {
        self.clear();
        let begins = scanner.is_fresh() && bytes.first().is_some_and(|&byte| is_tchar(byte));
        if begins {
            if let Some(head_bytes) = self.read_whole_request(bytes, limits) {
                let fits = |method, target| method <= METHOD_BYTES_MAX && target <= limits.target_bytes_max;
                if head_bytes <= limits.head_bytes_max
                    && self.request_line_bytes().is_some_and(|(method, target)| fits(method, target))
                {
                    return Ok(Some(head_bytes));
                }
            }
            self.clear();
        }
        scanner.scan_request(bytes, limits)
    }

    /// Looks for the end of a response head as [`Scanner::scan_response`] does; a whole head is read at once.
    pub fn receive_response(
        &mut self,
        scanner: &mut Scanner,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Option<usize>, Fault> {
        self.clear();
        let begins = scanner.is_fresh() && bytes.first() == Some(&b'H');
        if begins {
            if let Some(head_bytes) = self.read_whole_response(bytes, limits) {
                if head_bytes <= limits.head_bytes_max {
                    return Ok(Some(head_bytes));
                }
            }
            self.clear();
        }
        scanner.scan_response(bytes, limits)
    }

    /// Reads a whole request head, if its lines end correctly.
    fn read_whole_request(&mut self, bytes: &[u8], limits: &Limits) -> Option<usize> {
        match Extent::of(bytes) {
            Extent::Short => plain::read_request(self, bytes, fields_max(limits))?.ok(),
            Extent::Long => {
                let read = with_room(limits, |room| self.try_request(bytes, room)).ok()?.ok()?;
                self.has_crlf(bytes).then_some(read)
            }
            Extent::Unknown => None,
        }
    }

    /// Reads a response head likewise.
    fn read_whole_response(&mut self, bytes: &[u8], limits: &Limits) -> Option<usize> {
        match Extent::of(bytes) {
            Extent::Short => plain::read_response(self, bytes, fields_max(limits))?.ok(),
            Extent::Long => {
                let read = with_room(limits, |room| self.try_response(bytes, room)).ok()?.ok()?;
                self.has_crlf(bytes).then_some(read)
            }
            Extent::Unknown => None,
        }
    }

    /// Reads the head whose end [`Scanner::scan_request`] found, unless it is read already; `bytes` may continue behind it,
    /// and may begin with the empty lines that the scanner counted. Rules 1 to 4, 13, 17.
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
        if bytes.len() <= SHORT_BYTES_MAX {
            if let Some(read) = plain::read_request(self, bytes, fields_max(limits)) {
                return read.map(drop);
            }
        }
        match with_room(limits, |room| self.try_request(bytes, room)) {
            Ok(read) => read.map(drop),
            Err(Error::TooManyHeaders) => Err(Fault::TooManyFields),
            Err(Error::Version | Error::Token) => self.read_request_by_hand(bytes, limits),
            Err(_) => Err(request_fault(bytes, limits)),
        }
    }

    /// Reads the head whose end [`Scanner::scan_response`] found, unless it is read already; `bytes` may continue behind it.
    /// Faults that can be repaired in a response are refused, too: see [`super::repair`].
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
        if bytes.len() <= SHORT_BYTES_MAX {
            if let Some(read) = plain::read_response(self, bytes, fields_max(limits)) {
                return read.map(drop);
            }
        }
        match with_room(limits, |room| self.try_response(bytes, room)) {
            Ok(read) => read.map(drop),
            Err(Error::TooManyHeaders) => Err(Fault::TooManyFields),
            Err(Error::Version) => self.read_later_response(bytes, limits),
            Err(_) => Err(response_fault(bytes, limits)),
        }
    }

    /// Reads a request with httparse, with space for so many fields; returns the length of its head.
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

    /// Reads a response with httparse, with space for so many fields; returns the length of its head.
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

    /// Reads requests that httparse refuses: HTTP/1.2 to 1.9, which count as 1.1 (RFC 9110 section 2.5), and targets that are
    /// not UTF-8.
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

    /// Reads responses that httparse refuses: HTTP/1.2 to 1.9.
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
        let mut room = vec![httparse::EMPTY_HEADER; fields_max(limits)];
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

/// The text behind `HTTP/1.1 200 ` in a status line with or without its end.
fn reason(line: &[u8]) -> Span {
    let end = trim_line_end(line.strip_suffix(b"\n").unwrap_or(line)).len() as u32;
    Span { start: end.min(13), end }
}

/// The first line without its end, and the bytes behind it.
fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'\n', bytes) {
        Some(at) => (trim_line_end(&bytes[..at]), &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}

/// The rule that is broken by a request head that httparse refused.
#[cold]
fn request_fault(bytes: &[u8], limits: &Limits) -> Fault {
    let start = match skip_empty_lines(bytes, limits) {
        Ok(start) => start,
        Err(fault) => return fault,
    };
    let (line, rest) = split_line(&bytes[start..]);
    request_line_fault(line).unwrap_or_else(|| fields_fault(rest, limits))
}

/// The rule that is broken by a response head that httparse refused.
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
#[path = "head_tests.rs"]
mod tests;
