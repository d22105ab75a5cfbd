//! Characters that look like others, or that a server converts to others: NFKC, look-alikes, overlong UTF-8.

use unicode_normalization::UnicodeNormalization as _;

/// Look-alikes that NFKC keeps apart, and blanks of no width (`None`).
const ALIKE: [(char, Option<char>); 38] = [
    ('\u{2215}', Some('/')),
    ('\u{2044}', Some('/')),
    ('\u{29f8}', Some('/')),
    ('\u{2571}', Some('/')),
    ('\u{2216}', Some('\\')),
    ('\u{29f5}', Some('\\')),
    ('\u{29f9}', Some('\\')),
    ('\u{2572}', Some('\\')),
    ('\u{2039}', Some('<')),
    ('\u{2329}', Some('<')),
    ('\u{3008}', Some('<')),
    ('\u{02c2}', Some('<')),
    ('\u{276e}', Some('<')),
    ('\u{27e8}', Some('<')),
    ('\u{203a}', Some('>')),
    ('\u{232a}', Some('>')),
    ('\u{3009}', Some('>')),
    ('\u{02c3}', Some('>')),
    ('\u{276f}', Some('>')),
    ('\u{27e9}', Some('>')),
    ('\u{01c0}', Some('|')),
    ('\u{2223}', Some('|')),
    ('\u{2758}', Some('|')),
    ('\u{204f}', Some(';')),
    ('\u{02bc}', Some('\'')),
    ('\u{02b9}', Some('\'')),
    ('\u{3002}', Some('.')),
    ('\u{2028}', Some('\n')),
    ('\u{2029}', Some('\n')),
    ('\u{0085}', Some('\n')),
    ('\u{200b}', None),
    ('\u{200c}', None),
    ('\u{200d}', None),
    ('\u{200e}', None),
    ('\u{200f}', None),
    ('\u{2060}', None),
    ('\u{feff}', None),
    ('\u{00ad}', None),
];

/// Writes the normal form to `out`, if it differs. Bytes that are not UTF-8 stay, except overlong forms.
pub(super) fn normalize(text: &[u8], out: &mut Vec<u8>) -> bool {
    if text.is_ascii() || std::str::from_utf8(text).is_ok_and(|text| text.chars().all(is_settled)) {
        return false;
    }
    out.clear();
    let mut rest = text;
    for chunk in text.utf8_chunks() {
        let valid = chunk.valid();
        if valid.is_ascii() {
            out.extend_from_slice(valid.as_bytes());
        } else {
            for c in valid.nfkc() {
                put(c, out);
            }
        }
        rest = &rest[valid.len().min(rest.len())..];
        let invalid = chunk.invalid();
        if let [first, ..] = invalid {
            match *first {
                // A blank of Latin-1.
                0xa0 => out.push(b' '),
                _ => out.extend_from_slice(invalid),
            }
        }
        rest = &rest[invalid.len().min(rest.len())..];
    }
    debug_assert!(rest.is_empty());
    shorten(out);
    out != text
}

/// Whether a character is one of the letters of Europe and East Asia that have no other form, and no other looks like.
fn is_settled(c: char) -> bool {
    let is_letter = matches!(c, '\u{c0}'..='\u{131}' | '\u{400}'..='\u{45f}' | '\u{5d0}'..='\u{5ea}' | '\u{621}'..='\u{64a}')
        || matches!(c, '\u{3041}'..='\u{3094}' | '\u{30a1}'..='\u{30fe}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}');
    c.is_ascii() || is_letter || matches!(c, '\u{2013}' | '\u{2014}' | '\u{2018}'..='\u{201e}')
}

fn put(c: char, out: &mut Vec<u8>) {
    let c = match ALIKE.iter().find(|(from, _)| *from == c) {
        Some((_, Some(to))) => *to,
        Some((_, None)) => return,
        None => c,
    };
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Replaces overlong UTF-8 by the ASCII character that it hides. Decoders that accept such forms also take any byte behind
/// `c0` and `c1` for its rest.
fn shorten(text: &mut Vec<u8>) {
    let (mut from, mut to) = (0, 0);
    while from < text.len() {
        let (byte, len) = match text[from..] {
            [lead @ (0xc0 | 0xc1), next, ..] => ((lead & 1) << 6 | next & 0x3f, 2),
            [0xe0, 0x80 | 0x81, _, ..] => ((text[from + 1] & 1) << 6 | text[from + 2] & 0x3f, 3),
            [0xf0, 0x80, 0x80 | 0x81, _, ..] => ((text[from + 2] & 1) << 6 | text[from + 3] & 0x3f, 4),
            [byte, ..] => (byte, 1),
            [] => break,
        };
        text[to] = byte;
        (from, to) = (from + len, to + 1);
    }
    text.truncate(to);
}
