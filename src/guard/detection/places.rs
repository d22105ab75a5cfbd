//! Places in a text at which nothing reads what would be an attack elsewhere: links and tags of YAML amid a sentence, commands behind
//! the prompt of a shell.

use super::words::{holds, is_blank, is_spoken, words, words_before};
use std::ops::Range;

/// Fewest words of a sentence before a match (chosen).
const WORDS_BEFORE: usize = 3;

/// Fewest words of a sentence behind a match (chosen).
const WORDS_BEHIND: usize = 2;

/// The link is one that a browser would follow: it has content, and no sentence is around it.
pub(super) fn is_link(text: &[u8], range: Range<usize>) -> bool {
    !is_empty_link(text, range.clone()) && !is_link_in_sentence(text, &range)
}

/// Editors of pages write links to nothing (`javascript:void(0)`).
fn is_empty_link(text: &[u8], range: Range<usize>) -> bool {
    let link = &text[range.start..];
    if link.starts_with(b"javascript:history.") {
        return true;
    }
    let empty = [&b"javascript:void(0)"[..], b"javascript: void(0)", b"javascript:;"];
    empty.iter().any(|empty| {
        let rest = link.strip_prefix(*empty);
        rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'"' | b'\'' | b' ' | b'+' | b';' | b'>')))
    })
}

/// Words are before the link and behind it, and no markup. An address has its scheme at its beginning, so a browser takes the text for the
/// name of a file; and no attribute begins here.
fn is_link_in_sentence(text: &[u8], range: &Range<usize>) -> bool {
    let lead = &text[..range.start];
    let attached = lead.iter().rposition(is_blank).map_or(0, |blank| blank + 1);
    let is_markup = |byte: &u8| b"<>[]{}=\"`".contains(byte);
    !lead[..attached].iter().any(is_markup)
        && is_of_request(&lead[attached..])
        && words_before(lead, is_spoken) >= WORDS_BEFORE
        && words(&text[range.end..]).skip(1).filter(|word| is_spoken(word)).count() >= WORDS_BEHIND
}

/// The text before a link is none, or the address of a request up to the value of a parameter: `/login?next=`.
fn is_of_request(address: &[u8]) -> bool {
    let is_address =
        || ["/", "?", "http://", "https://"].iter().any(|begin| address.starts_with(begin.as_bytes()));
    let query = memchr::memrchr(b'?', address).map(|at| &address[at + 1..]);
    // A slash ends the name of an attribute.
    let is_of_query = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.&=%-".contains(byte);
    address.is_empty() || is_address() && query.is_some_and(|query| query.iter().all(is_of_query))
}

/// The tag of YAML begins a node. Within a line that begins with words it is a part of their scalar: a node begins with a line, or behind a
/// colon and a blank, a dash, a bracket or a comma.
pub(super) fn is_begin_of_node(text: &[u8], range: Range<usize>) -> bool {
    let lead = &text[..range.start];
    let line = &lead[memchr::memrchr2(b'\n', b'\r', lead).map_or(0, |at| at + 1)..];
    let is_sign = |byte: &u8| b"{}[]<>|\\\t".contains(byte);
    let bare = line.trim_ascii_end();
    let bare = bare.strip_suffix(b"\"").or_else(|| bare.strip_suffix(b"'")).unwrap_or(bare);
    let is_scalar = line.first().is_some_and(u8::is_ascii_alphabetic)
        && words(line).filter(|word| is_spoken(word)).count() >= WORDS_BEFORE
        && !line.iter().any(is_sign)
        && !holds(line, b": ")
        && !matches!(bare.trim_ascii_end().last(), Some(b':' | b',' | b'-' | b'?' | b'&'));
    !is_scalar
}

/// The command is behind the prompt of a shell, `$ cat a` or `anna@web:~$ cat a`: to a shell it is an argument there. A command that the
/// text separates from what is before it is none.
pub(super) fn is_behind_prompt(lead: &[u8], command: &[u8]) -> bool {
    let is_of_prompt = |byte: &u8| byte.is_ascii_alphanumeric() || b"@._:~/-".contains(byte);
    let prompt = lead.trim_ascii_start().strip_suffix(b" ").unwrap_or_default();
    let place = prompt.strip_suffix(b"$").or_else(|| prompt.strip_suffix(b"#"));
    place.is_some_and(|place| place.iter().all(is_of_prompt))
        && command.first().is_some_and(u8::is_ascii_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_begins_a_node_or_is_a_part_of_a_scalar() {
        for (text, begins) in [
            ("our linter warns of !!x", false),
            ("our linter warns of \"!!x\"", false),
            ("our linter warns\n!!x", true),
            ("our linter warns of: !!x", true),
            ("our: linter warns of a !!x", true),
            ("[our linter warns, !!x", true),
            ("our linter warns, !!x", true),
            ("- our linter warns of !!x", true),
            ("!!x", true),
        ] {
            let at = memchr::memmem::find(text.as_bytes(), b"!!x").expect("a tag");
            assert_eq!(is_begin_of_node(text.as_bytes(), at..at + 3), begins, "{text}");
        }
    }

    #[test]
    fn a_link_in_a_sentence_is_followed_by_no_browser() {
        for (text, is_one) in [
            ("why do they ask for javascript:a( on our site", false),
            ("why do they ask for /login?next=javascript:a( on our site", false),
            ("why do they ask for /x?/onclick=javascript:a( on our site", true),
            ("why do they ask href=javascript:a( on our site", true),
            ("why do they <a href=javascript:a( on our site", true),
            ("why do they ask [for](javascript:a( on our site", true),
            ("why do they ask for javascript:a(", true),
            ("javascript:a( is what they ask for", true),
        ] {
            let at = memchr::memmem::find(text.as_bytes(), b"javascript:a(").expect("a link");
            assert_eq!(is_link(text.as_bytes(), at..at + 13), is_one, "{text}");
        }
    }
}
