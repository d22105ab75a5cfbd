//! Reads heads that are as nearly all are: one blank between the parts of the first line, CRLF behind each line, no line folded,
//! HTTP/1.0 or 1.1, an ASCII target. That is a part of what httparse takes, and it finds the same there (a test compares the two).
//! Whatever else a head has in it, and a head that has not come whole, is left to httparse and to the second look at what that
//! refuses.
//!
//! Eight bytes are looked at in one number: most names are shorter than what one call of a search costs.

use crate::http::fault::Fault;
use crate::http::fields::is_tchar;
use crate::http::message::{Message, Span, Version};

/// Reads a request into an emptied message; the length of its head. `None` if it is not as most are.
pub(in crate::http) fn read_request(
    message: &mut Message,
    bytes: &[u8],
    fields_max: usize,
) -> Option<Result<usize, Fault>> {
    let head = Head(bytes);
    let [b' ', target @ ..] = behind_token(bytes) else { return None };
    let behind_target = behind(target, target_stop);
    let (version, lines) = match behind_target.split_first_chunk()? {
        (b" HTTP/1.1\r\n", lines) => (Version::Http11, lines),
        (b" HTTP/1.0\r\n", lines) => (Version::Http10, lines),
        _ => return None,
    };
    let method = Span { start: 0, end: head.position(target) - 1 };
    let target = head.span(target, behind_target);
    if method.end == 0 || target.start == target.end {
        return None;
    }
    let read = head.read_fields(message, lines, fields_max)?;
    message.set_request(method, target, version);
    Some(read)
}

/// Reads a response likewise.
pub(in crate::http) fn read_response(
    message: &mut Message,
    bytes: &[u8],
    fields_max: usize,
) -> Option<Result<usize, Fault>> {
    let head = Head(bytes);
    let (version, rest) = match bytes.split_first_chunk()? {
        (b"HTTP/1.1 ", rest) => (Version::Http11, rest),
        (b"HTTP/1.0 ", rest) => (Version::Http10, rest),
        _ => return None,
    };
    let [hundreds @ b'1'..=b'9', tens @ b'0'..=b'9', ones @ b'0'..=b'9', phrase @ ..] = rest else {
        return None;
    };
    let status =
        [hundreds, tens, ones].into_iter().fold(0, |status, digit| 10 * status + u16::from(digit - b'0'));
    let phrase = match phrase {
        [b' ', phrase @ ..] => phrase,
        _ => phrase,
    };
    let line_end = behind_value(phrase);
    let [b'\r', b'\n', lines @ ..] = line_end else { return None };
    // Without a blank there must be no phrase.
    let reason = head.span(phrase, line_end);
    if reason.start < 13 && reason.start != reason.end {
        return None;
    }
    let read = head.read_fields(message, lines, fields_max)?;
    message.set_response(version, status, reason);
    Some(read)
}

/// All bytes; what is still to be read is what they end with.
#[derive(Clone, Copy)]
struct Head<'b>(&'b [u8]);

impl Head<'_> {
    #[inline]
    fn position(self, rest: &[u8]) -> u32 {
        (self.0.len() - rest.len()) as u32
    }

    /// From where `from` begins to where `rest` does.
    #[inline]
    fn span(self, from: &[u8], rest: &[u8]) -> Span {
        Span { start: self.position(from), end: self.position(rest) }
    }

    /// Reads the lines behind the first one, up to the empty one.
    #[inline]
    fn read_fields(
        self,
        message: &mut Message,
        lines: &[u8],
        fields_max: usize,
    ) -> Option<Result<usize, Fault>> {
        let (mut rest, mut count) = (lines, 0);
        let mut fields = message.begin_fields();
        loop {
            if let [b'\r', b'\n', behind @ ..] = rest {
                let head_bytes = self.position(behind) as usize;
                return Some(fields.end(head_bytes).map(|()| head_bytes));
            }
            let colon = behind_token(rest);
            let [b':', value @ ..] = colon else { return None };
            let name = self.span(rest, colon);
            if name.start == name.end || count == fields_max {
                return None;
            }
            let mut value = value;
            while let [b' ' | b'\t', behind @ ..] = value {
                value = behind;
            }
            let line_end = behind_value(value);
            let [b'\r', b'\n', next @ ..] = line_end else { return None };
            let mut value = self.span(value, line_end);
            while value.end > value.start && matches!(self.0.get(value.end as usize - 1), Some(b' ' | b'\t'))
            {
                value.end -= 1;
            }
            fields.add(self.0, name, value);
            (rest, count) = (next, count + 1);
        }
    }
}

/// What is behind the bytes that may stand in a value.
#[inline]
fn behind_value(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    loop {
        rest = behind(rest, value_stop);
        let [b'\t', more @ ..] = rest else { return rest };
        rest = more;
    }
}

/// What is behind a token.
#[inline]
fn behind_token(bytes: &[u8]) -> &[u8] {
    let mut rest = behind(bytes, name_stop);
    while let [byte, more @ ..] = rest {
        if !is_tchar(*byte) {
            break;
        }
        rest = more;
    }
    rest
}

/// What is left from the first byte on at which `stop` has the upper bit set.
#[inline]
fn behind(bytes: &[u8], stop: impl Fn(u64) -> u64) -> &[u8] {
    let mut rest = bytes;
    while let Some((eight, more)) = rest.split_first_chunk() {
        let stops = stop(u64::from_le_bytes(*eight)) & UPPER;
        if stops != 0 {
            return &rest[first_set(stops)..];
        }
        rest = more;
    }
    // The zeros behind the end stop it.
    let mut eight = [0; 8];
    for (place, byte) in eight.iter_mut().zip(rest) {
        *place = *byte;
    }
    &rest[first_set(stop(u64::from_le_bytes(eight))).min(rest.len())..]
}

/// The number of the first byte whose upper bit is set; 8 if none is.
#[inline]
fn first_set(stops: u64) -> usize {
    ((stops & UPPER).trailing_zeros() / 8) as usize
}

const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

const UPPER: u64 = each(0x80);

/// Stops at control characters, tabs among them. What a borrow out of such a byte does to those behind it does not matter.
#[inline]
fn value_stop(eight: u64) -> u64 {
    (eight.wrapping_sub(each(0x20)) | behind_delete(eight)) & !eight
}

/// Stops at blanks, control characters, and bytes beyond ASCII.
#[inline]
fn target_stop(eight: u64) -> u64 {
    eight.wrapping_sub(each(0x21)) | behind_delete(eight) | eight
}

/// Has the upper bit set at DEL, and at the byte that is DEL with the upper bit.
#[inline]
fn behind_delete(eight: u64) -> u64 {
    (eight & !UPPER) + each(1)
}

/// Stops at whatever is neither an ASCII letter nor a hyphen.
#[inline]
fn name_stop(eight: u64) -> u64 {
    let lower = (eight | each(0x20)) & !UPPER;
    // Each sum stays within its byte.
    let letter = (lower + each(0x80 - b'a')) & !(lower + each(0x80 - b'z' - 1));
    let no_hyphen = ((eight ^ each(b'-')) & !UPPER) + each(0x7F);
    (no_hyphen & !letter) | eight
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each byte in each place, beside others that stop and that do not.
    fn check(stop: impl Fn(u64) -> u64, stops: impl Fn(u8) -> bool) {
        for (place, byte) in (0..8).flat_map(|place| (0..=255).map(move |byte| (place, byte))) {
            for behind in [0, b'a', b'z', b'-', b'~', 0x1F, 0x20, 0x7F, 0x80, 0xFF] {
                let mut eight = [behind; 8];
                eight[..place].fill(b'x');
                eight[place] = byte;
                let expected = eight.iter().position(|&byte| stops(byte)).unwrap_or(8);
                assert_eq!(first_set(stop(u64::from_le_bytes(eight))), expected, "{eight:?}");
            }
        }
    }

    #[test]
    fn stops_are_found_to_the_byte() {
        check(value_stop, |byte| byte < 0x20 || byte == 0x7F);
        check(target_stop, |byte| !(0x21..0x7F).contains(&byte));
        check(name_stop, |byte| !(byte.is_ascii_alphabetic() || byte == b'-'));
    }
}
