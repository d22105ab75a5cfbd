//! The fields of a message as one block of bytes: the part of a head that is kept when its receive buffer is reused.

use super::fields::{is_token, trim};
use super::message::Fields;

/// Field lines in order, in any storage. Names are tokens, values are trimmed.
pub trait FieldLines<'b>: Copy {
    /// Name and value of each line.
    fn lines(self) -> impl Iterator<Item = (&'b str, &'b [u8])>;

    /// The values of all lines of that name, in any case.
    fn values(self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        self.lines().filter(move |(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The first value of that name.
    #[inline]
    fn value(self, name: &str) -> Option<&'b [u8]> {
        self.values(name).next()
    }

    /// The value, if exactly one line has that name.
    #[inline]
    fn single(self, name: &str) -> Option<&'b [u8]> {
        let mut values = self.values(name);
        let first = values.next()?;
        values.next().is_none().then_some(first)
    }

    /// Whether a line has that name.
    #[inline]
    fn contains(self, name: &str) -> bool {
        self.value(name).is_some()
    }
}

impl<'b> FieldLines<'b> for Fields<'_, 'b> {
    #[inline]
    fn lines(self) -> impl Iterator<Item = (&'b str, &'b [u8])> {
        self.iter()
    }

    #[inline]
    fn values(self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        self.all(name)
    }
}

/// Lines `name: value CRLF` without the empty line at the end. Any bytes can be read safely; lines that are no fields are
/// skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldBlock<'b> {
    bytes: &'b [u8],
}

impl<'b> FieldBlock<'b> {
    /// The fields in these bytes.
    pub fn new(bytes: &'b [u8]) -> FieldBlock<'b> {
        FieldBlock { bytes }
    }

    /// The lines in their sent form.
    pub fn as_bytes(self) -> &'b [u8] {
        self.bytes
    }

    /// The lines without their ends.
    #[inline]
    pub(crate) fn raw_lines(self) -> impl Iterator<Item = &'b [u8]> {
        RawLines { rest: self.bytes }
    }

    /// Whether the whole block consists of field lines that may be sent unchanged: for blocks from a file.
    pub fn is_valid(self) -> bool {
        let mut read = 0;
        for (name, value) in self.lines() {
            let fits =
                is_token(name.as_bytes()) && value.iter().all(|&byte| super::fields::is_value_byte(byte));
            if !fits {
                return false;
            }
            read += name.len() + value.len() + 4;
        }
        read == self.bytes.len()
    }
}

impl<'b> FieldLines<'b> for FieldBlock<'b> {
    #[inline]
    fn lines(self) -> impl Iterator<Item = (&'b str, &'b [u8])> {
        self.raw_lines().filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            let name = std::str::from_utf8(&line[..colon]).ok()?;
            Some((name, trim(&line[colon + 1..])))
        })
    }

    /// Does not look for the colon of a line that has another name.
    #[inline]
    fn values(self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        self.raw_lines().filter_map(move |line| value_named(line, name.as_bytes()))
    }
}

/// The value of a line with that name, a token.
#[inline]
fn value_named<'b>(line: &'b [u8], name: &[u8]) -> Option<&'b [u8]> {
    let (found, behind) = line.split_at_checked(name.len())?;
    let value = behind.strip_prefix(b":")?;
    found.eq_ignore_ascii_case(name).then(|| trim(value))
}

struct RawLines<'b> {
    rest: &'b [u8],
}

impl<'b> Iterator for RawLines<'b> {
    type Item = &'b [u8];

    #[inline]
    fn next(&mut self) -> Option<&'b [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len());
        let line = &self.rest[..end];
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_as_they_were_written() {
        let block = FieldBlock::new(b"A: 1\r\nb:2\r\nEmpty: \r\na:  3, 4 \r\n");
        let lines: Vec<_> = block.lines().collect();
        let expected: [(&str, &[u8]); 4] = [("A", b"1"), ("b", b"2"), ("Empty", b""), ("a", b"3, 4")];
        assert_eq!(lines, expected);
        assert_eq!(block.values("a").collect::<Vec<_>>(), [&b"1"[..], b"3, 4"]);
        assert_eq!((block.single("a"), block.single("B")), (None, Some(&b"2"[..])));
        assert!(block.contains("empty") && !block.contains("c"));
    }

    #[test]
    fn any_bytes_can_be_read_and_damage_is_seen() {
        for (bytes, valid) in [
            (&b""[..], true),
            (b"A: 1\r\n", true),
            (b"A: \xe9\r\n", true),
            (b"A: \r\n", true),
            (b"A:1\r\n", false),
            (b"A: 1", false),
            (b"A: 1\n", false),
            (b"A: 1\r\n\r\n", false),
            (b"A B: 1\r\n", false),
            (b": 1\r\n", false),
            (b"A: 1\0\r\n", false),
            (b"A: a\rb\r\n", false),
            (b"\xe9: 1\r\n", false),
            (b"\r\n\n:\n\r", false),
        ] {
            assert_eq!(FieldBlock::new(bytes).is_valid(), valid, "{:?}", bytes.escape_ascii().to_string());
            let block = FieldBlock::new(bytes);
            for (name, value) in block.lines() {
                assert!(block.values(name).any(|found| found == value), "{name}");
            }
        }
    }
}
