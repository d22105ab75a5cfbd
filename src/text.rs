//! Texts from the network in lines for people and programs: bounded in length, with escapes, and as JSON.
//!
//! A character that is invisible, or that changes how a line looks, would mislead a reader; a control character would end the
//! line. Both are escaped in every log, in events and in answers to `weir ctl`.

/// The beginning of a text: at most `bytes_max` bytes, and whole characters.
pub(crate) fn shortened(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Whether a plain blank is copied or escaped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blank {
    Kept,
    Escaped,
}

/// Appends a text as a string of JSON (RFC 8259 section 7), quotes included, with U+FFFD for a byte that is not UTF-8.
pub(crate) fn write_json_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    if all_plain(text, Blank::Kept) {
        out.extend_from_slice(text);
        out.push(b'"');
        return;
    }
    for chunk in text.utf8_chunks() {
        let mut rest = chunk.valid();
        while !rest.is_empty() {
            let plain = plain_len(rest, Blank::Kept);
            out.extend_from_slice(&rest.as_bytes()[..plain]);
            rest = &rest[plain..];
            let Some(special) = rest.chars().next() else { break };
            match special {
                '"' | '\\' => out.extend_from_slice(&[b'\\', special as u8]),
                _ => special.encode_utf16(&mut [0; 2]).iter().for_each(|unit| write_json_unit(out, *unit)),
            }
            rest = &rest[special.len_utf8()..];
        }
        for _ in chunk.invalid() {
            write_json_unit(out, 0xFFFD);
        }
    }
    out.push(b'"');
}

/// A text as a string of JSON (RFC 8259 section 7), quotes included.
pub fn json_text(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    write_json_string(&mut out, text.as_bytes());
    String::from_utf8(out).unwrap_or_default()
}

fn write_json_unit(out: &mut Vec<u8>, unit: u16) {
    let [high, low] = unit.to_be_bytes();
    out.extend_from_slice(&[b'\\', b'u', hex(high >> 4), hex(high), hex(low >> 4), hex(low)]);
}

pub(crate) fn hex(nibble: u8) -> u8 {
    b"0123456789abcdef"[usize::from(nibble & 15)]
}

/// Whether a byte of ASCII can be copied as it is.
fn is_plain(byte: u8, blank: Blank) -> bool {
    let printable = (b' '..=b'~').contains(&byte) & (byte != b'"') & (byte != b'\\');
    printable & ((byte != b' ') | (blank == Blank::Kept))
}

/// Whether no byte needs escaping, which is the usual case. Looks at many bytes at a time, without branches.
pub(crate) fn all_plain(text: &[u8], blank: Blank) -> bool {
    text.iter().fold(true, |plain, byte| plain & is_plain(*byte, blank))
}

/// Number of bytes at the start that need no escaping.
pub(crate) fn plain_len(text: &str, blank: Blank) -> usize {
    let mut at = 0;
    while at < text.len() {
        let ascii = text.as_bytes()[at..].iter().take_while(|byte| is_plain(**byte, blank)).count();
        at += ascii;
        match text[at..].chars().next() {
            Some(char) if !char.is_ascii() && is_visible(char) => at += char.len_utf8(),
            Some(_) | None => break,
        }
    }
    at
}

/// Whether a character is visible as itself, or the plain blank. Not visible are controls, blanks that look like the plain
/// one, line separators, joiners and other zero-width characters, marks and overrides of direction, variation
/// selectors, tags, fillers, noncharacters and private use (Unicode 16: Cc, Zs, Zl, Zp, Cf, Co,
/// Default_Ignorable_Code_Point).
pub(crate) fn is_visible(char: char) -> bool {
    let hidden = char.is_control()
        || char.is_whitespace()
        || matches!(
            char,
            '\u{AD}' | '\u{34F}'
                | '\u{600}'..='\u{605}'
                | '\u{61C}' | '\u{6DD}' | '\u{70F}'
                | '\u{890}' | '\u{891}' | '\u{8E2}'
                | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
                | '\u{180B}'..='\u{180F}'
                | '\u{200B}'..='\u{200F}'
                | '\u{202A}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}'
                | '\u{2800}' | '\u{3164}'
                | '\u{E000}'..='\u{F8FF}'
                | '\u{FDD0}'..='\u{FDEF}'
                | '\u{FE00}'..='\u{FE0F}'
                | '\u{FEFF}' | '\u{FFA0}'
                | '\u{FFF0}'..='\u{FFFB}'
                | '\u{110BD}' | '\u{110CD}'
                | '\u{13430}'..='\u{1343F}'
                | '\u{1BCA0}'..='\u{1BCA3}'
                | '\u{1D173}'..='\u{1D17A}'
                | '\u{E0000}'..='\u{10FFFF}'
        )
        || (u32::from(char) & 0xFFFE) == 0xFFFE;
    char == ' ' || !hidden
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_stay_whole() {
        for (text, bytes_max, expected) in
            [("", 3, ""), ("abc", 3, "abc"), ("abcd", 3, "abc"), ("abé", 3, "ab"), ("é", 0, "")]
        {
            assert_eq!(shortened(text, bytes_max), expected);
        }
    }

    #[test]
    fn texts_are_escaped() {
        let expected = "\"a\\\"b\\\\c\\u000ad\\u0001\\u0085é \\u202e\"";
        assert_eq!(json_text("a\"b\\c\nd\u{1}\u{85}é \u{202e}"), expected);
    }
}
