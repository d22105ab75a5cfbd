//! The output of walkers: a name, a value, a stretch of text.

/// Longest name of a field beside a value, in bytes; the rest is cut off (chosen: the length of names in rules and log lines).
pub const FIELD_BYTES_MAX: usize = 128;

/// The meaning of a part of a body to the application that reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// The name of a form's field, or the key of a JSON member.
    Name,
    /// The value of a field, a JSON string, the payload of a part.
    Value,
    /// The value of a header line of a part of multipart/form-data; the field is the name of the part, if it is known by then.
    Header,
    /// A file name that the client gives.
    FileName,
    /// A window of a text without structure, or whose structure could not be parsed.
    Text,
    /// A JSON key that is an operator of MongoDB: a hit by itself (section 11).
    Operator,
}

/// One piece of a body, to be scanned. A value that is longer than a window comes in several parts, which overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// The kind of the part.
    pub kind: PartKind,
    /// The name of the field, at most [`FIELD_BYTES_MAX`] bytes; empty without one.
    pub field: &'a [u8],
    /// The name of the header line, of a [`PartKind::Header`].
    pub header: &'a [u8],
    /// The bytes as the application reads them: unescaped once.
    pub bytes: &'a [u8],
    /// The part is inside of an object or list that is the value of a secret: `{"password": {"text": ...}}`.
    pub is_in_secret: bool,
}

impl<'a> Part<'a> {
    /// A part that is no header line, and not in a secret.
    pub(super) fn new(kind: PartKind, field: &'a [u8], bytes: &'a [u8]) -> Part<'a> {
        Part { kind, field, header: b"", bytes, is_in_secret: false }
    }

    /// The value of a header line of a part of multipart/form-data.
    pub(super) fn of_header(field: &'a [u8], header: &'a [u8], bytes: &'a [u8]) -> Part<'a> {
        Part { kind: PartKind::Header, field, header, bytes, is_in_secret: false }
    }
}

/// Receives the parts of a body, in order.
pub type Sink<'s> = dyn FnMut(Part<'_>) + 's;

/// The name of a field, cut off.
#[derive(Clone, Debug)]
pub(super) struct Name {
    bytes: [u8; FIELD_BYTES_MAX],
    len: usize,
}

impl Default for Name {
    fn default() -> Name {
        Name { bytes: [0; FIELD_BYTES_MAX], len: 0 }
    }
}

impl Name {
    pub fn clear(&mut self) {
        self.len = 0;
    }

    pub fn set(&mut self, name: &[u8]) {
        self.len = name.len().min(FIELD_BYTES_MAX);
        self.bytes[..self.len].copy_from_slice(&name[..self.len]);
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
