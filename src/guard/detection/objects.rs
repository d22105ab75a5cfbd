//! Serialised objects of Python (`pickle`) and Ruby (`Marshal`), as bytes. Data without objects is in these formats, too.

use std::ops::Range;

/// Whether bytes have the head of a binary format: the protocol of `pickle` (2 to 5), or the version of `Marshal`.
pub(super) fn has_head(bytes: &[u8]) -> bool {
    matches!(bytes, [0x80, 2..=5, ..] | [4, 8, ..])
}

/// Whether reading bytes would make an object: `pickle` calls what has a name, or `Marshal` names a class.
pub(super) fn makes_object(bytes: &[u8]) -> bool {
    match bytes {
        [4, 8, ..] => names_class_of_ruby(bytes, 0..2),
        _ => calls_name_of_python(bytes),
    }
}

/// The opcodes of `pickle` get something by its name, and then call it or set its state. Where they are cut off, the name suffices.
fn calls_name_of_python(bytes: &[u8]) -> bool {
    let (mut rest, mut has_name) = (bytes, false);
    while let [opcode, operand @ ..] = rest {
        has_name |= matches!(opcode, b'c' | b'i' | 0x82..=0x84 | 0x93);
        if has_name && matches!(opcode, b'R' | b'b' | b'i' | b'o' | 0x81 | 0x92) {
            return true;
        }
        let Some(len) = operand_bytes(*opcode, operand) else { return false };
        let Some(behind) = operand.get(len..) else { return has_name };
        rest = behind;
    }
    has_name
}

/// The length of what follows an opcode of `pickle`: more than there is if it is cut off, `None` behind STOP and other bytes.
fn operand_bytes(opcode: u8, operand: &[u8]) -> Option<usize> {
    let counted = |bytes: usize| {
        let digits = operand.get(..bytes).unwrap_or_default().iter().rev();
        let len = digits.fold(0, |len: u64, byte| len.saturating_mul(256).saturating_add(u64::from(*byte)));
        bytes.saturating_add(usize::try_from(len).unwrap_or(usize::MAX))
    };
    let lines = |count: usize| {
        let end = memchr::memchr_iter(b'\n', operand).nth(count - 1);
        end.map_or(usize::MAX, |end| end + 1)
    };
    Some(match opcode {
        b'(' | b')' | b'0' | b'1' | b'2' | b'N' | b'Q' | b'R' | b']' | b'}' => 0,
        b'a' | b'b' | b'd' | b'e' | b'l' | b'o' | b's' | b't' | b'u' => 0,
        0x81 | 0x85..=0x89 | 0x8f..=0x94 | 0x97 | 0x98 => 0,
        b'K' | b'h' | b'q' | 0x80 | 0x82 => 1,
        b'M' | 0x83 => 2,
        b'J' | b'j' | b'r' | 0x84 => 4,
        b'G' | 0x95 => 8,
        b'C' | b'U' | 0x8a | 0x8c => counted(1),
        b'B' | b'T' | b'X' | 0x8b => counted(4),
        0x8d | 0x8e | 0x96 => counted(8),
        b'F' | b'I' | b'L' | b'P' | b'S' | b'V' | b'g' | b'p' => lines(1),
        b'c' | b'i' => lines(2),
        _ => return None,
    })
}

/// What `Marshal` has written behind the match names a class: data of hashes, lists and texts does not. Views are in lower case.
pub(super) fn names_class_of_ruby(text: &[u8], range: Range<usize>) -> bool {
    let text = &text[range.end..];
    (0..text.len()).any(|at| match text[at..] {
        // Objects, structures, extended objects, and what a class reads itself: their class is a symbol.
        [kind, b':', len, ..] if b"oseuc".contains(&kind.to_ascii_lowercase()) => {
            is_class(&text[at + 3..], len)
        }
        // A class or a module by its name.
        [b'c' | b'm', len, ..] => is_class(&text[at + 2..], len),
        _ => false,
    })
}

/// The bytes begin with the name of a class that is as long as `Marshal` tells by `len`, or is cut off.
fn is_class(bytes: &[u8], len: u8) -> bool {
    // A length that looks like a capital letter is in lower case, too.
    let least = len.saturating_sub(LEN_BEGIN + if len.is_ascii_lowercase() { b'a' - b'A' } else { 0 });
    let is_of_class = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':');
    let name = bytes.iter().take(usize::from(LEN_END)).take_while(|byte| is_of_class(byte)).count();
    (LEN_BEGIN + 1..LEN_END).contains(&len)
        && bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && name >= CLASS_MIN
        && (name >= usize::from(least) || name == bytes.len())
}

/// `Marshal` adds this to small lengths.
const LEN_BEGIN: u8 = 5;

/// It writes greater lengths in several bytes.
const LEN_END: u8 = 0x80;

/// Shortest name of a class (chosen: `ERB`).
const CLASS_MIN: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guard_11_pickles_make_objects_if_they_call_a_name() {
        for (bytes, is_one) in [
            (&b"cposix\nsystem\nq\x00(X\x02\x00\x00\x00idq\x01tq\x02Rq\x03."[..], true),
            (b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x8c\x02id\x85R.", true),
            (b"\x80\x02(U\x02idicommands\ngetoutput\n.", true),
            // Cut off behind the name, and within the text that is its argument.
            (b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93", true),
            (b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x8c\x09i", true),
            // A class that nothing calls, and data.
            (b"\x80\x02cdatetime\ndate\nq\x00.", false),
            (b"\x80\x02}q\x00X\x12\x00\x00\x00rest of it\nis\nfine\nK\x01s.", false),
            (b"\x80\x02X\xff\xff\xff\xffR", false),
            (b"\x80\x05\x8d\xff\xff\xff\xff\xff\xff\xff\xffR", false),
            (b"", false),
        ] {
            assert_eq!(makes_object(bytes), is_one, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn guard_11_objects_of_ruby_name_their_class() {
        for (bytes, is_one) in [
            (&b"o:\x08erb\x07:"[..], true),
            (b"U:\x15Gem::Requirement[", true),
            (b"[\x07c\x0bkernel\x06", true),
            (b"u:\x11gem::version[\x06", true),
            (b"o:@activesupport::dep", true),
            (b"{\x06i\"\x0fsession_id\x06:\x06et\"\x06a", false),
            (b"{\x06:\x0auser_i\x06", false),
            (b"i\"\x1asee also: hello to: you\x06:\x06et", false),
        ] {
            assert_eq!(names_class_of_ruby(bytes, 0..0), is_one, "{bytes:?}");
        }
    }
}
