//! JSON: each key, and each string among the leaves. From the first fault on the bytes are shown as text.
//!
//! The walker is lenient: commas and colons are not required, several documents may follow each other (NDJSON), and numbers
//! may have any length, because they are not read. Below [`DEPTH_MAX`] levels the bytes are shown unchanged.

use super::part::{Name, Part, PartKind, Sink};
use super::window::Window;
use crate::guard::events::is_secret;
use memchr::memchr2;

/// Levels in which keys and leaves are distinguished (section 11).
pub const DEPTH_MAX: u32 = 32;

/// Bytes before the place where JSON ends to be JSON that are shown once more with the text behind it (chosen: a signature that
/// begins before the place is found).
const HISTORY_BYTES: usize = 256;

/// Operators of queries (MongoDB manual, "Query and Projection Operators"; stages that read or write other collections).
/// Operators of updates are not in the list: analytics (`$set`) and schemas (`$type`, `$ref`) have such keys without harm.
const OPERATORS: [&str; 36] = [
    "$accumulator",
    "$all",
    "$and",
    "$elemMatch",
    "$eq",
    "$exists",
    "$expr",
    "$function",
    "$geoIntersects",
    "$geoWithin",
    "$graphLookup",
    "$gt",
    "$gte",
    "$in",
    "$jsonSchema",
    "$lookup",
    "$lt",
    "$lte",
    "$match",
    "$merge",
    "$mod",
    "$ne",
    "$near",
    "$nearSphere",
    "$nin",
    "$nor",
    "$not",
    "$or",
    "$out",
    "$rand",
    "$regex",
    "$sampleRate",
    "$slice",
    "$unionWith",
    "$where",
    "$xor",
];

/// Whether a field with this name takes a query.
pub fn takes_query(field: &[u8]) -> bool {
    QUERIES.contains(&field)
}

/// Whether a client's query may have this operator.
pub fn is_for_clients(operator: &[u8]) -> bool {
    let is_word = operator.strip_prefix(b"$").is_some_and(|word| word.iter().all(u8::is_ascii_alphabetic));
    is_word && !REACHING.contains(&operator)
}

/// Whether a key is an operator of a MongoDB query.
pub fn is_operator(key: &[u8]) -> bool {
    key.first() == Some(&b'$') && OPERATORS.iter().any(|operator| operator.as_bytes() == key)
}

/// Keys below which an interface takes a query of its client: a filter of a search, or stages.
const QUERIES: [&[u8]; 12] = [
    b"aggregate",
    b"conditions",
    b"criteria",
    b"filter",
    b"filters",
    b"find",
    b"match",
    b"pipeline",
    b"query",
    b"selector",
    b"stages",
    b"where",
];

/// Operators that join conditions, so that no name of a field is before them.
const JOINTS: [&[u8]; 5] = [b"$and", b"$match", b"$nor", b"$or", b"$text"];

/// Operators that run code, or reach other collections: never a client's business.
const REACHING: [&[u8]; 8] =
    [b"$accumulator", b"$expr", b"$function", b"$graphLookup", b"$lookup", b"$merge", b"$out", b"$where"];

/// Walks JSON.
#[derive(Debug, Default)]
pub(super) struct Json {
    state: State,
    /// Open objects and arrays.
    depth: u32,
    /// Bit *n*: the container at that depth is an object.
    objects: u64,
    /// The next string of an object is a key.
    expects_key: bool,
    /// The string under way is a key.
    in_key: bool,
    /// The string under way, or the text.
    window: Window,
    /// The last key.
    key: Name,
    /// The depth of the query that is open; 0 without one.
    query: u32,
    /// The depth of the outermost open object or list that is the value of a secret; 0 without one.
    secret: u32,
    /// The innermost open object or list is the value of a key `constructor`.
    is_constructor: bool,
    /// The first half of a character beyond U+FFFF; 0 without one.
    high: u16,
    /// The last bytes, as received.
    history: Vec<u8>,
}

/// The token that the next byte belongs to.
#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Between,
    String,
    /// Behind a backslash.
    Escape,
    /// The digits of `\uNNNN` so far: their number and value.
    Unicode(u8, u16),
    Number,
    /// An incomplete literal: its text, and the number of bytes so far.
    Word(&'static [u8], u8),
    /// Below the deepest level: the level, whether within a string, and whether behind a backslash.
    Deep {
        levels: u64,
        quoted: bool,
        escaped: bool,
    },
    /// No JSON.
    Text,
}

impl Json {
    /// The JSON is the value of this field.
    pub fn begin_in(&mut self, field: &[u8]) {
        self.key.set(field);
    }

    pub fn push(&mut self, piece: &[u8], out: &mut Sink<'_>) {
        let mut at = 0;
        while at < piece.len() {
            at = match self.state {
                State::Between => self.between(piece, at, out),
                State::String => self.string(piece, at, out),
                State::Escape => self.escape(piece, at, out),
                State::Unicode(count, value) => self.unicode(piece, at, (count, value), out),
                State::Number => self.number(piece, at),
                State::Word(word, len) => self.word(piece, at, (word, len), out),
                State::Deep { levels, quoted, escaped } => {
                    self.deep(piece, at, (levels, quoted, escaped), out)
                }
                State::Text => {
                    self.show(PartKind::Text, &piece[at..], out);
                    piece.len()
                }
            };
        }
        if !matches!(self.state, State::Text) {
            self.remember(piece);
        }
    }

    pub fn end(&mut self, out: &mut Sink<'_>) {
        match self.state {
            State::Between | State::Number | State::Word(..) => {}
            State::String | State::Escape | State::Unicode(..) => {
                self.flush_high(out);
                self.end_string(out);
            }
            State::Deep { .. } | State::Text => self.show_end(PartKind::Text, out),
        }
        self.reset();
    }

    /// Resets the walker; keeps its memory.
    pub fn reset(&mut self) {
        self.window.clear();
        self.key.clear();
        self.history.clear();
        (self.state, self.depth, self.objects, self.high) = (State::Between, 0, 0, 0);
        (self.expects_key, self.in_key, self.query, self.secret) = (false, false, 0, 0);
    }

    /// Whether received bytes were not shown yet.
    pub fn is_pending(&self) -> bool {
        match self.state {
            State::Between | State::Number => false,
            State::String | State::Escape | State::Unicode(..) | State::Word(..) => true,
            State::Deep { .. } | State::Text => self.window.is_pending(),
        }
    }

    /// Keeps the last bytes.
    fn remember(&mut self, piece: &[u8]) {
        let tail = &piece[piece.len().saturating_sub(HISTORY_BYTES)..];
        let surplus = (self.history.len() + tail.len()).saturating_sub(HISTORY_BYTES);
        self.history.drain(..surplus.min(self.history.len()));
        self.history.extend_from_slice(tail);
    }

    fn between(&mut self, piece: &[u8], at: usize, out: &mut Sink<'_>) -> usize {
        match piece[at] {
            b'{' | b'[' => return self.open(piece, at, out),
            b'}' | b']' if self.depth > 0 => {
                self.depth -= 1;
                if self.depth < self.query {
                    self.query = 0;
                }
                if self.depth < self.secret {
                    self.secret = 0;
                }
                self.expects_key = false;
                self.key.clear();
            }
            b'"' => {
                self.in_key = self.expects_key && self.in_object();
                self.state = State::String;
            }
            b',' => self.expects_key = true,
            b':' => self.expects_key = false,
            b'-' | b'0'..=b'9' => self.state = State::Number,
            b't' => self.state = State::Word(b"true", 1),
            b'f' => self.state = State::Word(b"false", 1),
            b'n' => self.state = State::Word(b"null", 1),
            // Blanks, the record separator of RFC 7464, and the bytes of a byte order mark.
            b' ' | b'\t' | b'\r' | b'\n' | 0x1e | 0xef | 0xbb | 0xbf => {}
            _ => {
                self.turn_to_text(piece, at, out);
                return at;
            }
        }
        at + 1
    }

    fn in_object(&self) -> bool {
        self.objects >> self.depth & 1 == 1
    }

    fn open(&mut self, piece: &[u8], at: usize, out: &mut Sink<'_>) -> usize {
        if self.depth == DEPTH_MAX {
            self.state = State::Deep { levels: 1, quoted: false, escaped: false };
            self.show(PartKind::Text, &piece[at..=at], out);
            return at + 1;
        }
        self.depth += 1;
        if self.query == 0 && takes_query(self.key.as_bytes()) {
            self.query = self.depth;
        }
        if self.secret == 0 && is_secret(&String::from_utf8_lossy(self.key.as_bytes())) {
            self.secret = self.depth;
        }
        let bit = 1 << self.depth;
        let is_object = piece[at] == b'{';
        self.is_constructor = is_object && self.key.as_bytes() == b"constructor";
        self.objects = if is_object { self.objects | bit } else { self.objects & !bit };
        self.expects_key = is_object;
        at + 1
    }

    fn string(&mut self, piece: &[u8], at: usize, out: &mut Sink<'_>) -> usize {
        let len = memchr2(b'"', b'\\', &piece[at..]).unwrap_or(piece.len() - at);
        if len > 0 {
            self.flush_high(out);
            self.show(self.kind(), &piece[at..at + len], out);
        }
        match piece.get(at + len) {
            None => return at + len,
            Some(b'"') => {
                self.flush_high(out);
                self.end_string(out);
            }
            Some(_) => self.state = State::Escape,
        }
        at + len + 1
    }

    fn end_string(&mut self, out: &mut Sink<'_>) {
        if self.in_key {
            // A key below a key is the same as a path of both.
            if std::mem::take(&mut self.is_constructor) && self.window.bytes() == b"prototype" {
                out(Part::new(PartKind::Name, b"", b"constructor.prototype"));
            }
            self.key.set(self.window.bytes());
            if self.is_of_query() && !self.window.is_continued() {
                self.window.clear();
            } else if is_operator(self.window.bytes()) && !self.window.is_continued() {
                let key = self.key.as_bytes();
                out(Part::new(PartKind::Operator, key, key));
            }
        }
        self.show_end(self.kind(), out);
        self.state = State::Between;
        self.expects_key = false;
    }

    /// The operator stands where a query of a client has it: below the name of a field of the query, or joining conditions.
    fn is_of_query(&self) -> bool {
        let operator = self.window.bytes();
        let least = self.query + u32::from(!JOINTS.contains(&operator));
        self.query != 0 && self.depth >= least && is_for_clients(operator)
    }

    fn kind(&self) -> PartKind {
        if self.in_key { PartKind::Name } else { PartKind::Value }
    }

    fn escape(&mut self, piece: &[u8], at: usize, out: &mut Sink<'_>) -> usize {
        self.state = State::String;
        let plain: &[u8] = match piece[at] {
            b'u' => {
                self.state = State::Unicode(0, 0);
                return at + 1;
            }
            b'n' => b"\n",
            b'r' => b"\r",
            b't' => b"\t",
            b'b' => b"\x08",
            b'f' => b"\x0c",
            b'"' | b'\\' | b'/' => &piece[at..=at],
            // No escape: shown as received.
            _ => {
                self.flush_high(out);
                self.show(self.kind(), b"\\", out);
                return at;
            }
        };
        self.flush_high(out);
        self.show(self.kind(), plain, out);
        at + 1
    }

    fn unicode(&mut self, piece: &[u8], at: usize, (count, value): (u8, u16), out: &mut Sink<'_>) -> usize {
        let Some(digit) = (piece[at] as char).to_digit(16) else {
            // No escape: shown with the received digits.
            self.flush_high(out);
            let digits = format!("\\u{value:04x}");
            let digits = digits.as_bytes();
            self.show(self.kind(), &digits[..2], out);
            self.show(self.kind(), &digits[digits.len() - usize::from(count)..], out);
            self.state = State::String;
            return at;
        };
        let value = value << 4 | digit as u16;
        self.state = State::Unicode(count + 1, value);
        if count == 3 {
            self.state = State::String;
            self.take_unit(value, out);
        }
        at + 1
    }

    /// Handles one unit of UTF-16.
    fn take_unit(&mut self, unit: u16, out: &mut Sink<'_>) {
        let is_low = (0xdc00..0xe000).contains(&unit);
        if !(self.high != 0 && is_low) {
            self.flush_high(out);
        }
        if (0xd800..0xdc00).contains(&unit) {
            self.high = unit;
            return;
        }
        let code = match std::mem::take(&mut self.high) {
            0 => u32::from(unit),
            high => 0x10000 + (u32::from(high - 0xd800) << 10) + u32::from(unit & 0x3ff),
        };
        self.show_char(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), out);
    }

    /// The first half of a character, without the second.
    fn flush_high(&mut self, out: &mut Sink<'_>) {
        if std::mem::take(&mut self.high) != 0 {
            self.show_char(char::REPLACEMENT_CHARACTER, out);
        }
    }

    fn show_char(&mut self, character: char, out: &mut Sink<'_>) {
        let mut buffer = [0; 4];
        self.show(self.kind(), character.encode_utf8(&mut buffer).as_bytes(), out);
    }

    fn number(&mut self, piece: &[u8], at: usize) -> usize {
        let digits = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let len = piece[at..].iter().position(|byte| !digits(byte)).unwrap_or(piece.len() - at);
        if at + len < piece.len() {
            self.state = State::Between;
        }
        at + len
    }

    fn word(
        &mut self,
        piece: &[u8],
        at: usize,
        (word, len): (&'static [u8], u8),
        out: &mut Sink<'_>,
    ) -> usize {
        if word[usize::from(len)] != piece[at] {
            self.turn_to_text(piece, at, out);
            return at;
        }
        let is_whole = usize::from(len) + 1 == word.len();
        self.state = if is_whole { State::Between } else { State::Word(word, len + 1) };
        at + 1
    }

    fn deep(
        &mut self,
        piece: &[u8],
        at: usize,
        (mut levels, mut quoted, mut escaped): (u64, bool, bool),
        out: &mut Sink<'_>,
    ) -> usize {
        let mut end = at;
        while end < piece.len() && levels > 0 {
            match piece[end] {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b'{' | b'[' if !quoted => levels += 1,
                b'}' | b']' if !quoted => levels -= 1,
                _ => {}
            }
            end += 1;
        }
        self.show(PartKind::Text, &piece[at..end], out);
        self.state = State::Deep { levels, quoted, escaped };
        if levels == 0 {
            self.show_end(PartKind::Text, out);
            self.state = State::Between;
            self.expects_key = false;
        }
        end
    }

    /// From here on the bytes are no JSON. They are shown together with the last bytes before them.
    fn turn_to_text(&mut self, piece: &[u8], at: usize, out: &mut Sink<'_>) {
        self.remember(&piece[..at]);
        self.state = State::Text;
        self.key.clear();
        self.window.clear();
        let history = std::mem::take(&mut self.history);
        self.show(PartKind::Text, &history, out);
    }

    fn show(&mut self, kind: PartKind, bytes: &[u8], out: &mut Sink<'_>) {
        let Json { window, key, secret, .. } = self;
        let (field, is_in_secret) = (if kind == PartKind::Name { &[] } else { key.as_bytes() }, *secret > 0);
        window.push(bytes, &mut |bytes| out(Part { is_in_secret, ..Part::new(kind, field, bytes) }));
    }

    fn show_end(&mut self, kind: PartKind, out: &mut Sink<'_>) {
        let Json { window, key, secret, .. } = self;
        let is_in_secret = *secret > 0;
        window.end(&mut |bytes| out(Part { is_in_secret, ..Part::new(kind, key.as_bytes(), bytes) }));
    }
}
