//! Brackets and quotes of a text.

/// The place behind the bracket that closes the one at `open`. Brackets in strings do not count. `None`: it is not closed, another kind
/// of bracket closes, or a string is open at the end.
pub(super) fn behind_group(text: &[u8], open: usize) -> Option<usize> {
    let mut awaited = Vec::new();
    let mut at = open;
    while let Some(byte) = text.get(at) {
        match byte {
            b'(' => awaited.push(b')'),
            b'[' => awaited.push(b']'),
            b'{' => awaited.push(b'}'),
            b')' | b']' | b'}' if awaited.pop() != Some(*byte) => return None,
            b')' | b']' | b'}' if awaited.is_empty() => return Some(at + 1),
            b'"' | b'\'' | b'`' => at = string_end(text, at)?,
            _ => {}
        }
        if awaited.len() > DEPTH_MAX {
            return None;
        }
        at += 1;
    }
    None
}

/// Most brackets in each other (chosen).
const DEPTH_MAX: usize = 64;

/// The quote that ends the string which begins at this quote.
fn string_end(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at += memchr::memchr2(text[start], b'\\', text.get(at..)?)?;
        match text[at] {
            b'\\' => at += 2,
            _ => return Some(at),
        }
    }
}

/// Quotes of strings.
const QUOTES: &[u8] = b"'\"`";

/// Whether a string may be open where the text ends: each quote counts, also behind a backslash and in a word.
///
/// A value that a server puts between quotes breaks out behind an odd number of them. Behind an even number of each kind it does not,
/// whichever kind the server has.
pub(super) fn may_be_in_string(text: &[u8]) -> bool {
    QUOTES.iter().any(|quote| has_odd(text, *quote))
}

/// Whether strings of other kinds than this may be open where the text ends.
pub(super) fn may_be_in_other_string(text: &[u8], kind: u8) -> bool {
    QUOTES.iter().any(|quote| *quote != kind && has_odd(text, *quote))
}

fn has_odd(text: &[u8], quote: u8) -> bool {
    memchr::memchr_iter(quote, text).count() % 2 == 1
}

/// Whether a text has a quote of any kind.
pub(super) fn has_quote(text: &[u8]) -> bool {
    text.iter().any(|byte| QUOTES.contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_ends_with_its_own_bracket() {
        for (text, rest) in [
            ("(a)b", Some("b")),
            ("(a[1]{')'}) ", Some(" ")),
            (r#"("\")")x"#, Some("x")),
            ("(a", None),
            ("(a]", None),
            ("('a)", None),
        ] {
            let behind = behind_group(text.as_bytes(), 0);
            assert_eq!(behind.map(|at| &text[at..]), rest, "{text}");
        }
    }

    #[test]
    fn a_string_is_open_behind_an_odd_number_of_quotes() {
        assert!(!may_be_in_string(b"f('a', \"b\")"));
        assert!(may_be_in_string(b"f(', \"$ne\": 1"));
        assert!(may_be_in_string(b"don't"));
        assert!(may_be_in_other_string(b"f('//a[\"", b'\''));
        assert!(!may_be_in_other_string(b"f('//a", b'\''));
    }
}
