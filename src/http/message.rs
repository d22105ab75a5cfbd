//! The parsed head of a message: start line and fields as ranges over the bytes of the head.
//!
//! A [`Message`] belongs to a buffer that is kept as long as the message is needed: the head is parsed once
//! ([`super::head`]), and each phase that reads it borrows a view, [`RequestHead`] or [`ResponseHead`]. A message is emptied
//! and reused, so its table of fields is not allocated for each head.

use super::class::{Class, classify};
use super::fault::Fault;
use super::fields::{list, same_name, trim, unquoted_list};

/// Most options that the Connection fields of one message may name (chosen: real messages name up to three). Without
/// a bound each field would be compared with thousands of names.
pub const CONNECTION_OPTIONS_MAX: usize = 64;

/// A table of fields with room for more than this is given back when the message is emptied (chosen: 2.5 KB; browsers send
/// up to 30 fields).
const LINES_KEPT: usize = 128;

/// The version of a message. A later minor version is taken as 1.1 (RFC 9110 section 2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

impl Version {
    pub(super) fn from_minor(minor: u8) -> Version {
        if minor == 0 { Version::Http10 } else { Version::Http11 }
    }

    /// The digits in Via.
    pub fn digits(self) -> &'static str {
        match self {
            Version::Http10 => "1.0",
            Version::Http11 => "1.1",
        }
    }
}

/// The options that the Connection fields of a head name.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    pub close: bool,
    pub keep_alive: bool,
    pub upgrade: bool,
    /// Anything that not every peer sends: perhaps the name of a field.
    pub other: bool,
}

impl Options {
    /// Adds the members of one more field; returns an upper bound of their number.
    fn add(&mut self, value: &[u8]) -> usize {
        // The usual spellings.
        match value {
            b"close" => self.close = true,
            b"keep-alive" | b"Keep-Alive" => self.keep_alive = true,
            _ => return self.add_list(value),
        }
        1
    }

    fn add_list(&mut self, value: &[u8]) -> usize {
        if !value.contains(&b',') {
            self.add_option(trim(value));
            return 1;
        }
        unquoted_list(value).for_each(|option| self.add_option(option));
        1 + value.iter().filter(|&&byte| byte == b',').count()
    }

    fn add_option(&mut self, option: &[u8]) {
        let is = |known: &[u8]| same_name(option, known);
        match option.len() {
            5 if is(b"close") => self.close = true,
            10 if is(b"keep-alive") => self.keep_alive = true,
            7 if is(b"upgrade") => self.upgrade = true,
            2 if is(b"te") => {}
            0 => {}
            _ => self.other = true,
        }
    }
}

/// A range of bytes of a head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    /// The range of `part` in `whole`, which contains it.
    #[inline]
    pub fn of(part: &[u8], whole: &[u8]) -> Span {
        let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        debug_assert!(start + part.len() <= whole.len());
        Span { start: start as u32, end: (start + part.len()) as u32 }
    }

    #[inline]
    fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// The bytes of the range.
    #[inline]
    pub fn within(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// One field line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub name: Span,
    /// The value without the blanks around it.
    pub value: Span,
    pub class: Class,
}

impl Line {
    /// Whether the line has weir's own form: one blank behind the colon, CRLF behind the value.
    #[inline]
    pub fn is_canonical(&self, bytes: &[u8]) -> bool {
        let at = |position: u32| bytes.get(position as usize).copied();
        // Behind a name stands a colon, behind a CR an LF: the parser has seen to that.
        self.value.start == self.name.end + 2
            && at(self.name.end + 1) == Some(b' ')
            && at(self.value.end) == Some(b'\r')
    }
}

#[derive(Clone, Copy, Debug, Default)]
enum Start {
    /// No head has been read.
    #[default]
    Unread,
    Request {
        method: Span,
        target: Span,
        version: Version,
    },
    Response {
        version: Version,
        status: u16,
        reason: Span,
    },
}

/// The head of a message, as ranges over its bytes.
#[derive(Debug, Default)]
pub struct Message {
    start: Start,
    /// Length of the head, with the empty lines before it and its last line end.
    head_bytes: u32,
    lines: Vec<Line>,
    // The classes of the fields, one bit each: most questions are about missing fields.
    classes: u32,
    // The possible names, for all other questions: see `hint`.
    hints: u64,
    // The options of Connection and Proxy-Connection.
    connection: Options,
    proxy_connection: Options,
}

/// The fields of a head, while they are recorded.
pub(super) struct FieldsBegun<'s> {
    message: &'s mut Message,
    classes: u32,
    hints: u64,
    /// Upper bound of the number of options of Connection.
    options: usize,
}

impl FieldsBegun<'_> {
    /// Records one more field: the bytes of its name, and where name and value are.
    #[inline]
    pub(super) fn add(&mut self, bytes: &[u8], (text, name): (&[u8], Span), value: Span) {
        let class = classify(text);
        self.classes |= class.bit();
        self.hints |= hint(text);
        self.message.lines.push(Line { name, value, class });
        if matches!(class, Class::Connection | Class::ProxyConnection) {
            self.add_options(value.within(bytes), class);
        }
    }

    // Apart: many heads have none, and the loop over the fields has few registers left.
    #[inline(never)]
    fn add_options(&mut self, value: &[u8], class: Class) {
        if class == Class::Connection {
            self.options += self.message.connection.add(value);
        } else {
            self.message.proxy_connection.add(value);
        }
    }

    /// Ends recording: the head ends at `head_bytes`. Bounds the number of options of Connection.
    #[inline]
    pub(super) fn end(self, head_bytes: usize) -> Result<(), Fault> {
        let FieldsBegun { message, classes, hints, options } = self;
        (message.head_bytes, message.classes, message.hints) = (head_bytes as u32, classes, hints);
        if options > CONNECTION_OPTIONS_MAX { Err(Fault::ConnectionOptions) } else { Ok(()) }
    }
}

/// One bit of 64 for a name in any case: if the bit is not set, no field has that name. For a name that is known when weir is
/// built the bit is a constant.
#[inline]
fn hint(name: &[u8]) -> u64 {
    let first = name.first().map_or(0, |first| usize::from(first | 0x20));
    1 << ((8 * name.len() + first) % 64)
}

/// A method as text.
#[inline]
fn method_name(method: &[u8]) -> Option<&str> {
    match method {
        b"GET" => Some("GET"),
        b"HEAD" => Some("HEAD"),
        b"POST" => Some("POST"),
        b"CONNECT" => Some("CONNECT"),
        _ => std::str::from_utf8(method).ok(),
    }
}

impl Message {
    /// An empty message.
    #[inline]
    pub fn new() -> Message {
        Message::default()
    }

    /// Empties the message: called before the buffer changes.
    #[inline]
    pub fn clear(&mut self) {
        self.start = Start::Unread;
        if self.lines.capacity() > LINES_KEPT {
            self.lines = Vec::new();
        }
    }

    /// Whether nothing has been read since the message was emptied.
    #[inline]
    pub fn is_unread(&self) -> bool {
        matches!(self.start, Start::Unread)
    }

    /// Records a request whose fields are recorded already.
    #[inline]
    pub(super) fn set_request(&mut self, method: Span, target: Span, version: Version) {
        self.start = Start::Request { method, target, version };
    }

    /// Records a response whose fields are recorded already.
    #[inline]
    pub(super) fn set_response(&mut self, version: Version, status: u16, reason: Span) {
        self.start = Start::Response { version, status, reason };
    }

    /// Begins to record the fields of a head, one after the other.
    #[inline]
    pub(super) fn begin_fields(&mut self) -> FieldsBegun<'_> {
        self.lines.clear();
        (self.connection, self.proxy_connection) = (Options::default(), Options::default());
        FieldsBegun { message: self, classes: 0, hints: 0, options: 0 }
    }

    /// Records the fields of the head that ends at `head_bytes`, each name and value a part of `bytes`, and bounds the number
    /// of options of Connection.
    pub(super) fn set_fields<'b>(
        &mut self,
        bytes: &'b [u8],
        head_bytes: usize,
        fields: impl Iterator<Item = (&'b str, &'b [u8])>,
    ) -> Result<(), Fault> {
        let mut lines = self.begin_fields();
        for (name, value) in fields {
            let name = (name.as_bytes(), Span::of(name.as_bytes(), bytes));
            lines.add(bytes, name, Span::of(value, bytes));
        }
        lines.end(head_bytes)
    }

    /// Whether each line of the head ends in CRLF, and not in LF alone: decided by two bytes before each name, and four at
    /// the end.
    pub(super) fn has_crlf(&self, bytes: &[u8]) -> bool {
        let before = |line: &Line| bytes.get((line.name.start as usize).wrapping_sub(2));
        self.lines.iter().all(|line| before(line) == Some(&b'\r'))
            && bytes.get(..self.head_bytes as usize).is_some_and(|head| head.ends_with(b"\r\n\r\n"))
    }

    /// The lengths of method and target of a request.
    #[inline]
    pub(super) fn request_line_bytes(&self) -> Option<(usize, usize)> {
        let Start::Request { method, target, .. } = self.start else { return None };
        Some((method.len(), target.len()))
    }

    /// The request that was read from `bytes`; `None` if none was.
    #[inline]
    pub fn request<'s, 'b>(&'s self, bytes: &'b [u8]) -> Option<RequestHead<'s, 'b>> {
        let Start::Request { method, target, version } = self.start else { return None };
        let fields = self.fields(bytes)?;
        Some(RequestHead {
            method: method_name(method.within(bytes))?,
            target: target.within(bytes),
            version,
            fields,
        })
    }

    /// The response that was read from `bytes`; `None` if none was.
    #[inline]
    pub fn response<'s, 'b>(&'s self, bytes: &'b [u8]) -> Option<ResponseHead<'s, 'b>> {
        let Start::Response { version, status, reason } = self.start else { return None };
        let fields = self.fields(bytes)?;
        Some(ResponseHead { version, status, reason: reason.within(bytes), fields })
    }

    #[inline]
    fn fields<'s, 'b>(&'s self, bytes: &'b [u8]) -> Option<Fields<'s, 'b>> {
        Some(Fields { message: self, bytes: bytes.get(..self.head_bytes as usize)? })
    }
}

/// The fields of one head, in order. Names are tokens; values are trimmed and contain no control characters but tabs.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'s, 'b> {
    message: &'s Message,
    bytes: &'b [u8],
}

impl<'s, 'b> Fields<'s, 'b> {
    /// Whether a field has that class.
    #[inline]
    pub(super) fn has(self, class: Class) -> bool {
        self.message.classes & class.bit() != 0
    }

    /// The options of Connection.
    #[inline]
    pub(super) fn connection(self) -> Options {
        self.message.connection
    }

    /// The options of Proxy-Connection.
    #[inline]
    pub(super) fn proxy_connection(self) -> Options {
        self.message.proxy_connection
    }

    /// The lines as ranges.
    #[inline]
    pub(super) fn lines(self) -> &'s [Line] {
        &self.message.lines
    }

    /// The bytes that the ranges are about.
    #[inline]
    pub(super) fn bytes(self) -> &'b [u8] {
        self.bytes
    }

    /// The name of a line.
    #[inline]
    pub(super) fn name(self, line: &Line) -> &'b str {
        // The parser accepts only tokens as names.
        std::str::from_utf8(line.name.within(self.bytes)).unwrap_or_default()
    }

    /// Name and value of each field line.
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = (&'b str, &'b [u8])> + use<'s, 'b> {
        self.lines().iter().map(move |line| (self.name(line), line.value.within(self.bytes)))
    }

    /// Whether any field may have that name; mostly this tells that none has.
    #[inline]
    pub(super) fn may_have(self, name: &str) -> bool {
        self.message.hints & hint(name.as_bytes()) != 0
    }

    /// The values of all field lines of that name, in any case.
    #[inline]
    pub fn all<'n>(self, name: &'n str) -> impl DoubleEndedIterator<Item = &'b [u8]> + use<'s, 'b, 'n> {
        let lines = if self.may_have(name) { self.lines() } else { &[] };
        let named = move |line: &&Line| {
            line.name.len() == name.len() && same_name(line.name.within(self.bytes), name.as_bytes())
        };
        lines.iter().filter(named).map(move |line| line.value.within(self.bytes))
    }

    /// The values of all field lines of that class.
    #[inline]
    pub(super) fn all_of(self, class: Class) -> impl DoubleEndedIterator<Item = &'b [u8]> + use<'s, 'b> {
        let lines = if self.has(class) { self.lines() } else { &[] };
        let of_class = move |line: &&Line| line.class == class;
        lines.iter().filter(of_class).map(move |line| line.value.within(self.bytes))
    }

    /// The values of all field lines of X-Forwarded-For.
    #[inline]
    pub fn x_forwarded_for(self) -> impl DoubleEndedIterator<Item = &'b [u8]> + use<'s, 'b> {
        self.all_of(Class::XForwardedFor)
    }

    /// The values of all field lines of Forwarded (RFC 7239).
    #[inline]
    pub fn forwarded(self) -> impl DoubleEndedIterator<Item = &'b [u8]> + use<'s, 'b> {
        self.all_of(Class::Forwarded)
    }

    /// The first value of that name.
    #[inline]
    pub fn get(self, name: &str) -> Option<&'b [u8]> {
        self.all(name).next()
    }

    /// The number of field lines with that name.
    pub fn count(self, name: &str) -> usize {
        self.all(name).count()
    }

    /// Whether one of the lists in the fields of that name has the token as a member, in any case.
    pub fn list_contains(self, name: &str, token: &str) -> bool {
        self.all(name).flat_map(list).any(|member| member.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Number of field lines.
    pub fn len(self) -> usize {
        self.lines().len()
    }

    /// Whether the head has no fields.
    pub fn is_empty(self) -> bool {
        self.lines().is_empty()
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
    /// As sent, often empty; may contain obs-text.
    pub reason: &'b [u8],
    /// Field lines.
    pub fields: Fields<'s, 'b>,
}
