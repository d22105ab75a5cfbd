//! Texts as JSON.

use std::fmt::Write as _;

/// A text as a string of JSON (RFC 8259 section 7), quotes included.
pub fn json_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => drop(write!(out, "\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped() {
        assert_eq!(json_text("a\"b\\c\nd\u{1}\u{85}é"), "\"a\\\"b\\\\c\\nd\\u0001\\u0085é\"");
    }
}
