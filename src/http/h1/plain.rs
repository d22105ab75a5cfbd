//! Reads heads of the usual form: one blank between the parts of the first line, CRLF behind each line, no folded line,
//! HTTP/1.0 or 1.1, an ASCII target. httparse accepts all of these with the same result (a test compares the two). A head
//! with any other form, and an incomplete head, is left to httparse and to the second look at what httparse refuses.
//!
//! Eight bytes are tested as one number: for most names that is faster than one call of a search.

use crate::http::fault::Fault;
use crate::http::fields::is_tchar;
use crate::http::message::{Message, Span, Version};

/// Reads a request into an emptied message; returns the length of its head. `None` if it does not have the usual form.
pub(in crate::http) fn read_request(
    message: &mut Message,
    bytes: &[u8],
    fields_max: usize,
) -> Option<Result<usize, Fault>> {
    let method_end = behind_token(bytes, 0);
    let target_start = method_end + 1;
    let target_end = behind(bytes, target_start, target_stop);
    if method_end == 0 || bytes.get(method_end) != Some(&b' ') || target_start == target_end {
        return None;
    }
    let version = match bytes.get(target_end..)?.first_chunk()? {
        b" HTTP/1.1\r\n" => Version::Http11,
        b" HTTP/1.0\r\n" => Version::Http10,
        _ => return None,
    };
    let read = read_fields(message, bytes, target_end + 11, fields_max)?;
    message.set_request(span(0, method_end), span(target_start, target_end), version);
    Some(read)
}

/// Reads a response likewise.
pub(in crate::http) fn read_response(
    message: &mut Message,
    bytes: &[u8],
    fields_max: usize,
) -> Option<Result<usize, Fault>> {
    let version = match bytes.first_chunk()? {
        b"HTTP/1.1 " => Version::Http11,
        b"HTTP/1.0 " => Version::Http10,
        _ => return None,
    };
    // Behind the digits follows a phrase, or nothing.
    let [hundreds @ b'1'..=b'9', tens @ b'0'..=b'9', ones @ b'0'..=b'9', b' ' | b'\r'] = *bytes.get(9..13)?
    else {
        return None;
    };
    let status =
        [hundreds, tens, ones].into_iter().fold(0, |status, digit| 10 * status + u16::from(digit - b'0'));
    let line_end = behind_value(bytes, 12);
    if !is_line_end(bytes, line_end) {
        return None;
    }
    let read = read_fields(message, bytes, line_end + 2, fields_max)?;
    message.set_response(version, status, span(line_end.min(13), line_end));
    Some(read)
}

/// Reads the lines from `start` on, up to the empty one.
#[inline]
fn read_fields(
    message: &mut Message,
    bytes: &[u8],
    start: usize,
    fields_max: usize,
) -> Option<Result<usize, Fault>> {
    let (mut at, mut count) = (start, 0);
    let mut fields = message.begin_fields();
    while !is_line_end(bytes, at) {
        let name_end = behind_token(bytes, at);
        if name_end == at || bytes.get(name_end) != Some(&b':') || count == fields_max {
            return None;
        }
        let mut value_start = name_end + 1;
        while is_blank(bytes, value_start) {
            value_start += 1;
        }
        let line_end = behind_value(bytes, value_start);
        if !is_line_end(bytes, line_end) {
            return None;
        }
        let mut value_end = line_end;
        while value_end > value_start && is_blank(bytes, value_end - 1) {
            value_end -= 1;
        }
        let name = (&bytes[at..name_end], span(at, name_end));
        fields.add(bytes, name, span(value_start, value_end));
        (at, count) = (line_end + 2, count + 1);
    }
    Some(fields.end(at + 2).map(|()| at + 2))
}

fn span(start: usize, end: usize) -> Span {
    Span { start: start as u32, end: end as u32 }
}

#[inline]
fn is_line_end(bytes: &[u8], at: usize) -> bool {
    bytes.get(at..at + 2) == Some(b"\r\n")
}

#[inline]
fn is_blank(bytes: &[u8], at: usize) -> bool {
    // One comparison for most bytes.
    bytes.get(at).is_some_and(|&byte| byte <= b' ' && matches!(byte, b' ' | b'\t'))
}

/// The first position from `at` on whose byte may not occur in a value.
#[inline]
fn behind_value(bytes: &[u8], at: usize) -> usize {
    let mut at = behind(bytes, at, value_stop);
    while bytes.get(at) == Some(&b'\t') {
        at = behind(bytes, at + 1, value_stop);
    }
    at
}

/// The first position from `at` on that is behind a token.
#[inline]
fn behind_token(bytes: &[u8], at: usize) -> usize {
    let mut at = behind(bytes, at, name_stop);
    while bytes.get(at).is_some_and(|&byte| is_tchar(byte)) {
        at += 1;
    }
    at
}

/// The first position from `at` on at which `stop` has the upper bit set.
#[inline]
fn behind(bytes: &[u8], mut at: usize, stop: impl Fn(u64) -> u64) -> usize {
    while let Some(Ok(eight)) = bytes.get(at..at + 8).map(TryInto::try_into) {
        let stops = stop(u64::from_le_bytes(eight)) & UPPER;
        if stops != 0 {
            return at + first_set(stops);
        }
        at += 8;
    }
    behind_last(bytes, at, stop)
}

/// The same for the last seven bytes or fewer: rare in a head that has come whole.
#[cold]
fn behind_last(bytes: &[u8], at: usize, stop: impl Fn(u64) -> u64) -> usize {
    // The zeros behind the end stop the search.
    let mut eight = [0; 8];
    eight.iter_mut().zip(bytes.iter().skip(at)).for_each(|(place, byte)| *place = *byte);
    at + first_set(stop(u64::from_le_bytes(eight)))
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

/// Stops at control characters, including tabs. The borrow of such a byte may change the bytes behind it, which does not matter.
#[inline]
fn value_stop(eight: u64) -> u64 {
    (eight.wrapping_sub(each(0x20)) | behind_delete(eight)) & !eight
}

/// Stops at blanks, control characters, and bytes beyond ASCII.
#[inline]
fn target_stop(eight: u64) -> u64 {
    eight.wrapping_sub(each(0x21)) | behind_delete(eight) | eight
}

/// Sets the upper bit at DEL, and at the byte that is DEL with the upper bit.
#[inline]
fn behind_delete(eight: u64) -> u64 {
    (eight & !UPPER) + each(1)
}

/// Stops at whatever is neither an ASCII letter nor a hyphen.
#[inline]
fn name_stop(eight: u64) -> u64 {
    let lower = (eight | each(0x20)) & !UPPER;
    // No sum carries into the next byte.
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
