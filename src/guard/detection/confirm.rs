//! Code that looks at what is around a match, where a pattern alone is too eager.

use std::ops::Range;

/// Whether the match at this place of a view is an attack.
pub(super) type Confirm = fn(&[u8], Range<usize>) -> bool;

/// The match ends a string that the value has not begun: of the quotes before it of its kind, there is an even number. In
/// `name = "a" and b = "c"` the quote before `and` ends a string of the value, and nothing is broken out of.
pub(super) fn breaks_out(text: &[u8], range: Range<usize>) -> bool {
    let quote = text[range.clone()].iter().position(|byte| matches!(byte, b'\'' | b'"' | b'`'));
    let Some(at) = quote.map(|quote| range.start + quote) else { return true };
    text[..at].iter().filter(|byte| **byte == text[at]).count() % 2 == 0
}

/// The statement is not one that the value has begun: a text that shows SQL, or says what it does, is no injection.
pub(super) fn is_no_statement(text: &[u8], range: Range<usize>) -> bool {
    let before = &text[..range.start];
    let verbs: [&[u8]; 6] = [b"select ", b"select\n", b"insert into", b"update ", b"delete from", b"create "];
    !verbs.iter().any(|verb| memchr::memmem::find(before, verb).is_some())
}

/// A link to nothing (`javascript:void(0)`), as editors of pages write it.
pub(super) fn is_no_empty_link(text: &[u8], range: Range<usize>) -> bool {
    let link = &text[range.start..];
    let empty = [&b"javascript:void(0)"[..], b"javascript: void(0)", b"javascript:;"];
    !empty.iter().any(|empty| {
        let rest = link.strip_prefix(*empty);
        rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'"' | b'\'' | b' ' | b';' | b'>')))
    })
}

/// Scripts that load others are attacks where the value begins with markup or breaks out of a string, and code in a text.
pub(super) fn runs_in_markup(text: &[u8], range: Range<usize>) -> bool {
    matches!(text.trim_ascii_start().first(), Some(b'<' | b'"' | b'\'' | b'`' | b'$'))
        || range.start < SHORT_LEAD
}

/// Longest beginning of a value that a shell may take for the argument it was meant to be (chosen: an address, a file name).
const SHORT_LEAD: usize = 64;

/// Before the separator stands what a parameter has: nothing, or a word or two. Scripts and sentences are longer.
pub(super) fn leads_shortly(text: &[u8], range: Range<usize>) -> bool {
    let lead = text[..range.start].trim_ascii();
    let words = lead.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count();
    let is_script = lead.starts_with(b"#") || lead.starts_with(b"$ ");
    let is_markdown = text[range.start] == b'`'
        && lead.last().is_some_and(u8::is_ascii_alphabetic)
        && words > 0
        && text[..range.start].ends_with(b" ");
    lead.len() <= SHORT_LEAD && words <= 2 && !is_script && !is_markdown
}

/// The command is the last word of a short value: a word among others that are separated is a column or a choice.
pub(super) fn is_last_word(text: &[u8], range: Range<usize>) -> bool {
    let is_separator = |byte: &u8| matches!(byte, b';' | b'|' | b'&' | b'\n' | b',');
    let parts = text.split(is_separator).filter(|part| !part.trim_ascii().is_empty()).count();
    let lead = text[..range.start].split(|byte| is_separator(byte) || byte.is_ascii_whitespace());
    let words = lead.filter(|word| !word.is_empty()).count();
    parts <= 2 && words <= 1 && leads_shortly(text, range)
}

/// No comparison or condition comes before: a tautology follows a value and no formula.
pub(super) fn is_no_comparison(text: &[u8], range: Range<usize>) -> bool {
    let before = &text[..range.start];
    !before.iter().any(|byte| matches!(byte, b'<' | b'>')) && !before.starts_with(b"if")
}

/// The path is no module that code imports or a page refers to.
pub(super) fn is_no_import(text: &[u8], range: Range<usize>) -> bool {
    let before = &text[..range.start];
    let line = &before[memchr::memrchr(b'\n', before).map_or(0, |at| at + 1)..];
    let ends_quoted = matches!(line.last(), Some(b'\'' | b'"' | b'`' | b'(' | b'='));
    let words: [&[u8]; 10] = [
        b"import ",
        b"require",
        b"from ",
        b"include ",
        b"src=",
        b"href=",
        b"url(",
        b"link ",
        b"](",
        b"@import",
    ];
    !(ends_quoted && words.iter().any(|word| memchr::memmem::find(line, word).is_some()))
}

/// Fewest words of a sentence (chosen).
const SENTENCE_WORDS: usize = 5;

/// The match is no word of a sentence: something of a shell, a path or a quote is right before it, or the value is short.
pub(super) fn is_no_prose(text: &[u8], range: Range<usize>) -> bool {
    let words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count();
    let before = &text[..range.start];
    let is_word = before.last().is_some_and(|byte| matches!(byte, b' ' | b'\n' | b'(' | b'`'))
        || text[range.start].is_ascii_whitespace();
    let is_shell = before.iter().any(|byte| matches!(byte, b';' | b'|' | b'$' | b'<' | b'&'));
    !(words >= SENTENCE_WORDS && is_word && !is_shell)
}

/// The value as a whole is a path, or the address of one.
pub(super) fn is_path_whole(text: &[u8], _: Range<usize>) -> bool {
    !text.iter().any(u8::is_ascii_whitespace)
}

/// The name of a class is none of the lines of a trace, and of no line of code or log.
pub(super) fn is_no_trace(text: &[u8], range: Range<usize>) -> bool {
    let before = &text[..range.start];
    let line = before[memchr::memrchr(b'\n', before).map_or(0, |at| at + 1)..].trim_ascii();
    let begins: [&[u8]; 5] = [b"at", b"import", b"caused by:", b"package", b"exception"];
    !begins.iter().any(|begin| line.starts_with(begin))
}

/// The name of a class is none of a fault that a program tells (`java.lang.NullPointerException`).
pub(super) fn is_no_fault_name(text: &[u8], range: Range<usize>) -> bool {
    let found = text[range].trim_ascii_end();
    !(found.ends_with(b"exception") || found.ends_with(b"error"))
}

/// The match is in one line of a value that is no more than a command: a script has several lines, and a text more words.
pub(super) fn is_one_command(text: &[u8], _: Range<usize>) -> bool {
    let words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count();
    words <= COMMAND_WORDS && !text.trim_ascii().contains(&b'\n')
}

/// Most words of a command (chosen).
const COMMAND_WORDS: usize = 14;
