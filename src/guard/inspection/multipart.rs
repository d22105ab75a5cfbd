//! multipart/form-data (RFC 7578): header lines of the parts, names, file names, payload.
//!
//! Everything between the delimiters is shown, even if other readers split headers and payload differently: bytes before the
//! first delimiter and behind the last one are shown as text.

use super::json::Json;
use super::media::{Content, content_of};
use super::part::{Name, Part, PartKind, Sink};
use super::quoted_printable::QuotedPrintable;
use super::runs::Runs;
use super::window::Window;
use memchr::memchr;

/// Walks the parts.
#[derive(Debug)]
pub(super) struct Multipart {
    /// Two hyphens and the boundary.
    delimiter: Box<[u8]>,
    place: Place,
    /// Bytes of the delimiter since the beginning of the line; `None` in the middle of a line.
    matched: Option<usize>,
    /// The line or the text under way.
    window: Window,
    runs: Runs,
    json: Box<Json>,
    /// The kind of the present part's content.
    content: Content,
    /// The decoded payload, beside the payload as it is: not every server decodes it.
    decoded: Option<Box<QuotedPrintable>>,
    name: Name,
    /// The name of the header line before this one.
    header: Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the first delimiter, or behind the last.
    Outside,
    /// In the line of a delimiter.
    Delimiter,
    Headers,
    Payload,
}

impl Multipart {
    pub fn new(boundary: &[u8]) -> Multipart {
        Multipart {
            delimiter: [b"--", boundary].concat().into(),
            place: Place::Outside,
            matched: Some(0),
            window: Window::default(),
            runs: Runs::default(),
            json: Box::default(),
            content: Content::Text,
            decoded: None,
            name: Name::default(),
            header: Name::default(),
        }
    }

    pub fn push(&mut self, piece: &[u8], out: &mut Sink<'_>) {
        let mut rest = piece;
        while !rest.is_empty() {
            let taken = match self.place {
                Place::Outside | Place::Payload => self.content(rest, out),
                Place::Delimiter | Place::Headers => self.line(rest, out),
            };
            rest = &rest[taken..];
        }
    }

    /// Handles payload, or bytes outside of the parts; returns the number of bytes taken.
    fn content(&mut self, rest: &[u8], out: &mut Sink<'_>) -> usize {
        let Some(matched) = self.matched else {
            let line = memchr(b'\n', rest);
            let len = line.map_or(rest.len(), |at| at + 1);
            self.matched = line.map(|_| 0);
            self.payload(&rest[..len], out);
            return len;
        };
        let expected = &self.delimiter[matched..];
        let same = expected.iter().zip(rest).take_while(|(expected, byte)| expected == byte).count();
        if same == expected.len() {
            self.end_content(out);
            (self.place, self.matched) = (Place::Delimiter, None);
        } else if same == rest.len() {
            self.matched = Some(matched + same);
        } else {
            // No delimiter: its supposed beginning is payload.
            self.matched = None;
            let delimiter = std::mem::take(&mut self.delimiter);
            self.payload(&delimiter[..matched + same], out);
            self.delimiter = delimiter;
        }
        same
    }

    fn payload(&mut self, bytes: &[u8], out: &mut Sink<'_>) {
        let Multipart { place, window, runs, json, content, decoded, name, .. } = self;
        let field = name.as_bytes();
        if let (Place::Payload, Some(decoded)) = (*place, decoded) {
            decoded.push(bytes, &mut |bytes| out(Part::new(PartKind::Value, field, bytes)));
        }
        match (*place, *content) {
            (Place::Payload, Content::Binary) => runs.push(bytes, field, out),
            (Place::Payload, Content::Json) => json.push(bytes, out),
            (Place::Payload, Content::Text | Content::Form) => {
                window.push(bytes, &mut |bytes| out(Part::new(PartKind::Value, field, bytes)));
            }
            (Place::Outside | Place::Delimiter | Place::Headers, _) => {
                window.push(bytes, &mut |bytes| out(Part::new(PartKind::Text, b"", bytes)));
            }
        }
    }

    /// The line end before a delimiter belongs to the delimiter (RFC 2046 section 5.1.1).
    fn end_content(&mut self, out: &mut Sink<'_>) {
        let Multipart { place, window, runs, json, name, .. } = self;
        let field = name.as_bytes();
        let kind = if *place == Place::Payload { PartKind::Value } else { PartKind::Text };
        window.trim_line_end();
        window.end(&mut |bytes| out(Part::new(kind, field, bytes)));
        runs.end(field, out);
        json.end(out);
        if let Some(mut decoded) = self.decoded.take() {
            decoded.window.trim_line_end();
            decoded.window.end(&mut |bytes| out(Part::new(PartKind::Value, field, bytes)));
        }
        self.name.clear();
        self.header.clear();
        self.content = Content::Text;
    }

    /// Handles header lines, and the rest of a delimiter's line; returns the number of bytes taken.
    fn line(&mut self, rest: &[u8], out: &mut Sink<'_>) -> usize {
        let line = memchr(b'\n', rest);
        let len = line.map_or(rest.len(), |at| at + 1);
        let Multipart { window, header, name, .. } = self;
        window
            .push(&rest[..len], &mut |bytes| out(Part::of_header(name.as_bytes(), header.as_bytes(), bytes)));
        if line.is_some() {
            self.end_line(out);
        }
        len
    }

    fn end_line(&mut self, out: &mut Sink<'_>) {
        self.window.trim_line_end();
        let line = self.window.bytes();
        let is_blank = line.iter().all(|byte| matches!(byte, b' ' | b'\t'));
        match self.place {
            Place::Delimiter => {
                if is_blank {
                    self.window.clear();
                }
                self.end_delimiter(out);
            }
            Place::Headers if line.is_empty() => {
                self.window.clear();
                (self.place, self.matched) = (Place::Payload, Some(0));
            }
            Place::Headers if line.starts_with(&self.delimiter) => {
                // A part without the empty line, and so without payload.
                let behind = line[self.delimiter.len()..].to_vec();
                self.window.clear();
                self.end_content(out);
                self.place = Place::Delimiter;
                self.window.push(&behind, &mut |_| {});
                self.end_delimiter(out);
            }
            Place::Headers => self.header_line(out),
            Place::Outside | Place::Payload => {}
        }
    }

    /// Handles the end of a delimiter's line; the window contains the bytes behind the delimiter.
    fn end_delimiter(&mut self, out: &mut Sink<'_>) {
        let is_last = self.window.bytes() == b"--";
        if is_last {
            self.window.clear();
        }
        (self.place, self.matched) = if is_last { (Place::Outside, Some(0)) } else { (Place::Headers, None) };
        self.show_line(out);
    }

    fn show_line(&mut self, out: &mut Sink<'_>) {
        self.window.end(&mut |bytes| out(Part::new(PartKind::Text, b"", bytes)));
    }

    /// A header line is in the window.
    fn header_line(&mut self, out: &mut Sink<'_>) {
        let Multipart { window, header, name, content, decoded, .. } = self;
        let mut value_at = 0;
        if !window.is_continued() {
            let line = window.bytes();
            let colon = memchr(b':', line).filter(|_| !matches!(line.first(), Some(b' ' | b'\t')));
            if let Some(colon) = colon {
                header.set(line[..colon].trim_ascii());
                value_at = colon + 1;
            }
            let value = line[value_at..].trim_ascii();
            if header.as_bytes().eq_ignore_ascii_case(b"content-disposition") {
                // The name may stand behind the name of a file.
                for_each_parameter(value, |key, given| {
                    if key.eq_ignore_ascii_case(b"name") {
                        name.set(given);
                    }
                });
                for_each_parameter(value, |key, given| {
                    if key.eq_ignore_ascii_case(b"name") {
                        out(Part::new(PartKind::Name, given, given));
                    } else if key.eq_ignore_ascii_case(b"filename") || key.eq_ignore_ascii_case(b"filename*")
                    {
                        out(Part::new(PartKind::FileName, name.as_bytes(), given));
                    }
                });
            }
            if header.as_bytes().eq_ignore_ascii_case(b"content-type") {
                *content = content_of(value);
            }
            let encodes = header.as_bytes().eq_ignore_ascii_case(b"content-transfer-encoding");
            let end = value.iter().position(|byte| matches!(byte, b' ' | b'\t' | b';' | b'('));
            let token = value[..end.unwrap_or(value.len())].trim_ascii();
            let token =
                token.strip_prefix(b"\"").and_then(|token| token.strip_suffix(b"\"")).unwrap_or(token);
            if encodes && token.eq_ignore_ascii_case(b"quoted-printable") {
                *decoded = Some(Box::default());
            }
        }
        window.end(&mut |bytes| {
            let bytes = bytes[value_at..].trim_ascii();
            out(Part::of_header(name.as_bytes(), header.as_bytes(), bytes));
        });
    }

    pub fn end(&mut self, out: &mut Sink<'_>) {
        if let (Some(matched @ 1..), Place::Outside | Place::Payload) = (self.matched, self.place) {
            let delimiter = std::mem::take(&mut self.delimiter);
            self.payload(&delimiter[..matched], out);
            self.delimiter = delimiter;
        }
        if matches!(self.place, Place::Delimiter | Place::Headers) && self.window.is_pending() {
            self.end_line(out);
        }
        self.end_content(out);
    }

    /// The windows that are filled at the same time.
    pub fn windows(&self) -> usize {
        1 + usize::from(self.decoded.is_some())
    }

    pub fn is_pending(&self) -> bool {
        let decoded = self.decoded.as_ref().is_some_and(|decoded| decoded.window.is_pending());
        decoded || self.window.is_pending() || self.runs.is_pending() || self.json.is_pending()
    }
}

/// The parameters of a header value, unquoted (RFC 9110 section 5.6.6). Quoted text may contain semicolons.
fn for_each_parameter(value: &[u8], mut take: impl FnMut(&[u8], &[u8])) {
    let mut rest = value;
    while !rest.is_empty() {
        rest = rest.trim_ascii_start();
        let name_end = rest.iter().position(|byte| matches!(byte, b';' | b'=')).unwrap_or(rest.len());
        let (key, behind) = rest.split_at(name_end);
        rest = behind;
        if let Some(given) = behind.strip_prefix(b"=") {
            let given = given.trim_ascii_start();
            if let Some(quoted) = given.strip_prefix(b"\"") {
                let (text, behind) = unquoted(quoted);
                take(key.trim_ascii_end(), &text);
                rest = behind;
            } else {
                let len = memchr(b';', given).unwrap_or(given.len());
                take(key.trim_ascii_end(), given[..len].trim_ascii_end());
                rest = &given[len..];
            }
        }
        rest = memchr(b';', rest).map_or(&[], |at| &rest[at + 1..]);
    }
}

/// The text of a quoted string, and the bytes behind it. A backslash before anything but a quote or another backslash stays:
/// browsers send Windows paths so.
fn unquoted(quoted: &[u8]) -> (Vec<u8>, &[u8]) {
    let (mut text, mut at) = (Vec::new(), 0);
    while let Some(&byte) = quoted.get(at) {
        at += 1;
        match (byte, quoted.get(at)) {
            (b'"', _) => break,
            (b'\\', Some(&next @ (b'"' | b'\\'))) => {
                text.push(next);
                at += 1;
            }
            _ => text.push(byte),
        }
    }
    (text, &quoted[at..])
}
