//! Stack traces and messages of exceptions, which name the classes that attacks use.
//!
//! A frame names a file and a line behind its method, or types and names of parameters: neither is a call, and no serialised object has
//! it. A class that could not be found is named behind the exception.

use super::words::{is_blank, is_spoken, words};
use std::ops::Range;

/// The name of a class is none of the lines of a trace, of no message of an exception, and of no line of code or log.
pub(super) fn is_no_trace(text: &[u8], range: Range<usize>) -> bool {
    let before = &text[..range.start];
    let line = before[memchr::memrchr(b'\n', before).map_or(0, |at| at + 1)..].trim_ascii();
    let begins: [&[u8]; 5] = [b"at", b"import", b"caused by:", b"package", b"exception"];
    let is_of_line = begins.iter().any(|begin| line.starts_with(begin));
    !(is_of_line
        || is_named_by_exception(text, &range)
        || is_among_words(text, &range)
        || is_frame(text, &range))
}

/// The class is not that of an error message (`java.lang.NullPointerException`).
pub(super) fn is_no_fault_name(text: &[u8], range: Range<usize>) -> bool {
    let found = text[range].trim_ascii_end();
    !(found.ends_with(b"exception") || found.ends_with(b"error"))
}

/// The place where the name ends that a match begins. `None`: the match is more than a name.
fn name_end(text: &[u8], range: &Range<usize>) -> Option<usize> {
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.$<>".contains(byte);
    let matched = text[range.clone()].trim_ascii_end();
    let end = range.start + matched.len();
    let behind = text[end..].iter().take_while(|byte| is_of_name(byte)).count();
    matched.iter().all(is_of_name).then_some(if end < range.end { end } else { end + behind })
}

/// The class is the one that an exception complains about, or an exception itself: a name alone, which is neither called nor quoted.
fn is_named_by_exception(text: &[u8], range: &Range<usize>) -> bool {
    let Some(end) = name_end(text, range) else { return false };
    let lead = text[..range.start].trim_ascii_end();
    let is_named = lead.ends_with(b"exception:") || lead.ends_with(b"error:");
    let name = &text[range.start..end];
    let is_one = text.get(end) == Some(&b':') && (name.ends_with(b"exception") || name.ends_with(b"error"));
    is_named && text.get(end).is_none_or(is_blank) || is_one
}

/// The class is a name among the words of a sentence: an object is made from the name alone, or from a call.
fn is_among_words(text: &[u8], range: &Range<usize>) -> bool {
    let Some(end) = name_end(text, range) else { return false };
    let (lead, tail) = (&text[..range.start], &text[end..]);
    let is_apart = lead.last().is_none_or(is_blank) && tail.first().is_none_or(is_blank);
    let is_plain = |side: &[u8]| !side.iter().any(|byte| b"<>{}[]()\"=!$#@;&".contains(byte));
    let spoken = words(lead).chain(words(tail)).filter(|word| is_spoken(word)).count();
    is_apart && is_plain(lead) && is_plain(tail) && spoken >= SPOKEN_WORDS
}

/// Fewest words beside a class that is named (chosen).
const SPOKEN_WORDS: usize = 3;

/// The match is the class of a frame: `java.net.URLClassLoader.findClass(URLClassLoader.java:387)`.
fn is_frame(text: &[u8], range: &Range<usize>) -> bool {
    let Some(end) = name_end(text, range) else { return false };
    let Some(place) = text[end..].strip_prefix(b"(") else { return false };
    let Some(end) = memchr::memchr(b')', place) else { return false };
    let place = &place[..end];
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.".contains(byte);
    let (file, line) = place.split_at(memchr::memchr(b':', place).unwrap_or(place.len()));
    let is_file = SOURCES.iter().any(|kind| file.ends_with(kind)) && file.iter().all(is_of_name);
    let is_line = line.iter().skip(1).all(u8::is_ascii_digit);
    let is_parameter = |parameter: &[u8]| {
        let mut words = parameter.trim_ascii().split(u8::is_ascii_whitespace);
        let is_name =
            |word: Option<&[u8]>| word.is_some_and(|word| !word.is_empty() && word.iter().all(is_of_name));
        is_name(words.next()) && is_name(words.next()) && words.next().is_none()
    };
    is_file && is_line
        || matches!(place, b"native method" | b"unknown source")
        || place.split(|byte| *byte == b',').all(is_parameter)
}

/// Ends of the names of source files in frames.
const SOURCES: [&[u8]; 5] = [b".java", b".kt", b".scala", b".groovy", b".clj"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_no_call() {
        let is_trace = |text: &str, name: &str| {
            let start = text.find(name).expect("a name");
            !is_no_trace(text.as_bytes(), start..start + name.len())
        };
        for (text, is_one) in [
            ("failed in java.a.b.find(b.java:387)", true),
            ("failed in java.a.b.c$1.run(native method)", true),
            ("no such class exception: java.a.transformer at d", true),
            ("it says java.a.conversionexception: no value", true),
            ("it failed in java.a.start(startinfo info) in line 1", true),
            ("failed in java.a.b.find(\"b.java:387\")", false),
            ("failed in java.a.b.find(b)", false),
            ("it says exception: java.a.b.find(1)", false),
            ("\"exception:\",\"java.a.transformer\"", false),
        ] {
            assert_eq!(is_trace(text, "java.a."), is_one, "{text}");
        }
    }
}
