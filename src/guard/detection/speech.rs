//! Texts that name or show what would be an attack as input.
//!
//! Two facts tell talk from input. A server opens the whole of a path or an address, so a path among the words of a sentence is
//! inert. And code must break out of something at the beginning of a value, or reach its end, where it hides the rest of the
//! server's statement: code with words before it and behind it is shown. What runs because it is stored or read, such as a
//! script in a page, is an attack wherever it stands.

use super::brackets::{behind_group, may_be_in_string};
use super::category::Category;
use super::discussion::{EVIDENCE, FEW_EVIDENCE, is_about_code, is_shown_as_code};
use super::markup::harms;
use super::words::{WORDS_MAX, is_blank, is_spoken, is_word, words, words_before};
use std::ops::Range;

/// Which text around a match of a signature is talk about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Talk {
    /// None: the match runs wherever it is read.
    Never,
    /// It is shown as code, or the words around it are about code: otherwise it runs where it is stored or parsed.
    Shown,
    /// Words beside it: the server uses the value as a whole.
    Beside,
    /// The lines of a document around it, which no server takes for one expression.
    Paste,
    /// Words on both sides, or the lines of a document around it.
    Around,
    /// The same, or it is a part of a sentence: words in a row before it and behind it, or a sentence behind a call, are errors of syntax
    /// in any statement.
    Statement,
    /// The same as [`Talk::Around`], or a sentence behind it, which is an error of syntax, so that none of it runs. Some word of it must be about code.
    Program,
}

impl Talk {
    /// The usual one of a category.
    pub(super) const fn of(category: Category) -> Talk {
        match category {
            Category::DirTraversal
            | Category::FileInclusion
            | Category::SensitiveFile
            | Category::PathTraversal
            | Category::Ssrf => Talk::Beside,
            Category::Sqli => Talk::Statement,
            Category::CmdInjection | Category::Ldap => Talk::Around,
            Category::CodeInjection => Talk::Program,
            Category::Xss
            | Category::Template
            | Category::HttpSplit
            | Category::Nosql
            | Category::Xml
            | Category::ProtoPollution => Talk::Shown,
            Category::Deserialization
            | Category::Recon
            | Category::CmsProbing
            | Category::FileUpload
            | Category::Custom => Talk::Never,
        }
    }
}

/// The shape of a value as a whole, read from a view that has its lines.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shape<'a> {
    /// The value as sent.
    raw: &'a [u8],
    /// The decoded value, with its lines and comments.
    lines: &'a [u8],
    /// Plus signs in the decoded value are blanks.
    plus_is_blank: bool,
    /// Several lines with the words of a text.
    is_document: bool,
    /// The view that is scanned has the lines of the value: its end is the end of the value.
    has_lines: bool,
    /// A body of markup: each text between two elements is a value.
    is_markup: bool,
}

/// Fewest lines of a document that are not empty (chosen).
const DOCUMENT_LINES: usize = 3;

/// Fewest words of a document (chosen).
const DOCUMENT_WORDS: usize = 5;

/// Fewest words beside a match that make it talk (chosen).
const SPOKEN_WORDS: usize = 2;

/// Longest text and most words before the beginning of an attack at the beginning of a value (chosen: an address, a name).
const LEAD_BYTES: usize = 64;
const LEAD_WORDS: usize = 2;

/// Longest text behind an attack that reaches the end of a value (chosen: a comment, a bracket, an element of a page).
const TAIL_BYTES: usize = 24;

impl<'a> Shape<'a> {
    /// The shape of a value, sent as `raw` and decoded to `text`. `is_body`: the value is a body without fields.
    pub(super) fn of(raw: &'a [u8], text: &'a [u8], is_body: bool, plus_is_blank: bool) -> Shape<'a> {
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        let is_long = lines.take(DOCUMENT_LINES).count() == DOCUMENT_LINES;
        Shape {
            raw,
            lines: text,
            plus_is_blank,
            is_document: (is_long || has_clock(text))
                && words(text).take(DOCUMENT_WORDS).count() == DOCUMENT_WORDS,
            has_lines: true,
            is_markup: is_body && text.trim_ascii_start().starts_with(b"<"),
        }
    }

    /// The shape as it is seen in a view whose lines were joined, if `has_lines` is false.
    pub(super) fn in_view(self, has_lines: bool) -> Shape<'a> {
        Shape { has_lines, ..self }
    }

    /// Whether the text around a match is talk about it.
    pub(super) fn is_talk(self, talk: Talk, text: &[u8], range: &Range<usize>) -> bool {
        if talk == Talk::Never {
            return false;
        }
        // What a view has lost, words behind the sign of a comment, is a part of the text.
        if !self.has_lines {
            let matched = &text[range.clone()];
            let lines =
                self.lines.iter().map(|byte| if self.plus_is_blank && *byte == b'+' { b' ' } else { *byte });
            let lines: Vec<u8> = lines.collect();
            if let Some(at) = memchr::memmem::find(&lines, matched) {
                let in_lines = Shape { has_lines: true, ..self };
                return in_lines.is_talk(talk, &lines, &(at..at + matched.len()));
            }
        }
        match talk {
            Talk::Never => false,
            Talk::Shown => self.is_shown(talk, text, range),
            Talk::Beside | Talk::Paste | Talk::Around | Talk::Statement | Talk::Program => {
                self.is_usual_talk(talk, text, range) || self.is_shown(talk, text, range)
            }
        }
    }

    /// Whether the match is shown as code, or does no harm in a text about code.
    fn is_shown(self, talk: Talk, text: &[u8], range: &Range<usize>) -> bool {
        // What runs in a browser runs wherever a page shows it; a program runs as a whole.
        let is_harmless = || talk == Talk::Program || !harms(&text[range.start..]);
        is_shown_as_code(self.raw, text, range) || is_about_code(text, range, EVIDENCE) && is_harmless()
    }

    fn is_usual_talk(self, talk: Talk, text: &[u8], range: &Range<usize>) -> bool {
        let (lead, tail) = self.around(text, range);
        let is_document = self.is_document
            && (!self.is_markup || words(lead).chain(words(tail)).nth(DOCUMENT_WORDS).is_some());
        match talk {
            Talk::Never | Talk::Shown => false,
            Talk::Beside => {
                is_document || words_before(lead, is_word) + words_behind(tail, is_word) >= SPOKEN_WORDS
            }
            Talk::Paste => {
                let line = &lead[memchr::memrchr(b'\n', lead).map_or(0, |at| at + 1)..];
                let line = line.iter().chain(&text[range.clone()]);
                let is_opened = || line.clone().any(|byte| matches!(byte, b'{' | b'<' | b'['));
                is_document && words(lead).take(2).count() > 1 && !(self.is_last_line(tail) && is_opened())
            }
            Talk::Around | Talk::Statement | Talk::Program if is_document => {
                let is_quoted = || begins_quoted(&text[range.clone()]) || ends_open(lead);
                !(breaks_first(text, range) || self.is_last_line(tail) && is_quoted())
            }
            Talk::Around | Talk::Statement | Talk::Program => {
                let is_code = !begins_breaking(&text[range.clone()]) && !ends_open(lead);
                let is_end = || {
                    let is_short = tail.trim_ascii().len() <= TAIL_BYTES;
                    is_short && !(talk == Talk::Statement && goes_on_in_words(tail))
                };
                let is_between = || {
                    words_near(&text[..range.start + usize::from(is_blank(&text[range.start]))])
                        >= SPOKEN_WORDS
                        && (words_behind(tail, is_spoken) >= SPOKEN_WORDS
                            || goes_on_in_words(tail)
                            || has_sentence_behind(tail))
                        && !is_end()
                };
                let is_broken = || {
                    talk == Talk::Program
                        && is_code
                        && is_no_comment(tail)
                        && has_sentence_behind(tail)
                        && is_about_code(text, range, FEW_EVIDENCE)
                };
                let is_said = || {
                    talk == Talk::Statement
                        && is_code
                        && (is_subject(text, range) || is_count(lead, tail) || is_behind_sentence(lead))
                };
                let is_shown = || is_code && is_code_span(lead, tail) || is_broken() || is_said();
                !begins_value(lead) && is_between() || is_shown()
            }
        }
    }

    /// Whether the match is in the last line of the value: an attack hides the rest of the server's statement, and what is behind the
    /// match is a part of it.
    fn is_last_line(self, tail: &[u8]) -> bool {
        self.has_lines && !tail.trim_ascii_end().contains(&b'\n')
    }

    /// The text before and behind a match that belongs to the same value.
    fn around<'t>(self, text: &'t [u8], range: &Range<usize>) -> (&'t [u8], &'t [u8]) {
        let (lead, tail) = (&text[..range.start], &text[range.end..]);
        if !self.is_markup {
            return (lead, tail);
        }
        let start = memchr::memrchr2(b'>', b'[', lead).map_or(0, |at| at + 1);
        let end = memchr::memchr2(b'<', b']', tail).unwrap_or(tail.len());
        (&lead[start..], &tail[..end])
    }
}

/// The text begins like a line of a log: a time of day is in its first words.
fn has_clock(text: &[u8]) -> bool {
    let text = &text[..text.len().min(LEAD_BYTES)];
    memchr::memchr_iter(b':', text).any(|colon| {
        let clock =
            colon.checked_sub(2).and_then(|start| text.get(start..start + CLOCK_BYTES)).unwrap_or_default();
        let is_of_clock =
            |(at, byte): (usize, &u8)| if at % 3 == 2 { *byte == b':' } else { byte.is_ascii_digit() };
        !clock.is_empty() && clock.iter().enumerate().all(is_of_clock)
    })
}

/// The length of a time of day, `12:34:56`.
const CLOCK_BYTES: usize = 8;

/// The attack is at the beginning of the value: before it is no more than the argument that the server expects.
pub(super) fn begins_value(lead: &[u8]) -> bool {
    let lead = lead.trim_ascii();
    lead.len() <= LEAD_BYTES && words(lead).take(LEAD_WORDS + 1).count() <= LEAD_WORDS
}

/// The attack is the first word of a document, and breaks out there: `1'; DROP ...`. Scripts and queries begin with a word.
fn breaks_first(text: &[u8], range: &Range<usize>) -> bool {
    let lead = &text[..range.start];
    let first = words(text).next().unwrap_or_default();
    let breaks = |byte: &u8| matches!(byte, b'\'' | b'"' | b';' | b'|' | b'&' | b')' | b'`');
    let is_break = words(lead).take(2).count() <= 1 && first.iter().any(breaks);
    is_break && !first.starts_with(b"```") && !first.starts_with(b"{") && !begins_statement(text)
}

/// The value begins with a statement of SQL: it is a query or a script, and no argument of one.
pub(super) fn begins_statement(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    let letters = text.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    STATEMENTS.contains(&&text[..letters])
}

/// First words of statements.
const STATEMENTS: [&[u8]; 14] = [
    b"select",
    b"insert",
    b"update",
    b"delete",
    b"create",
    b"alter",
    b"drop",
    b"begin",
    b"with",
    b"explain",
    b"truncate",
    b"grant",
    b"use",
    b"start",
];

/// A string that has begun in the text is open where the text ends.
fn ends_open(lead: &[u8]) -> bool {
    let is_open = |quote: u8| {
        let is_letter =
            |place: Option<usize>| place.and_then(|at| lead.get(at)).is_some_and(u8::is_ascii_alphabetic);
        let quotes = memchr::memchr_iter(quote, lead);
        quotes.filter(|at| !(is_letter(at.checked_sub(1)) && is_letter(Some(at + 1)))).count() % 2 == 1
    };
    is_open(b'\'') || is_open(b'"')
}

/// The match begins by ending a string.
fn begins_quoted(matched: &[u8]) -> bool {
    matches!(matched.trim_ascii_start().first(), Some(b'\'' | b'"' | b'`' | b')' | b';'))
}

/// The match begins with a sign that ends a string, a command, a filter or a text.
fn begins_breaking(matched: &[u8]) -> bool {
    let matched = matched.trim_ascii_start();
    begins_quoted(matched)
        || matches!(matched.first(), Some(b'|' | b'&' | b'$' | b'{' | b'<' | b'\\'))
        || matched.starts_with(b"*)")
}

/// The number of words of a language among the [`NEAR_WORDS`] before the word in which a match begins.
fn words_near(lead: &[u8]) -> usize {
    let attached = lead.iter().rposition(is_blank).map_or(0, |blank| blank + 1);
    let near = lead[..attached].rsplit(is_blank).filter(|word| !word.is_empty());
    near.take(NEAR_WORDS).filter(|word| is_spoken(word)).count()
}

/// The number of words of a language directly behind the word in which a match ends, at most [`WORDS_MAX`].
fn words_behind(tail: &[u8], is_counted: fn(&[u8]) -> bool) -> usize {
    let Some(attached) = tail.iter().position(is_blank) else { return 0 };
    let spoken = tail[attached..].split(is_blank).filter(|word| !word.is_empty());
    spoken.take(WORDS_MAX).take_while(|word| is_counted(word)).count()
}

/// The text behind a match has no sign that makes the rest of a program a comment.
fn is_no_comment(tail: &[u8]) -> bool {
    !["//", "#", "/*", "--", "?>"].iter().any(|sign| memchr::memmem::find(tail, sign.as_bytes()).is_some())
}

/// The rest of the text is words of a sentence, two of them in a row behind the match or a conjunction: no condition of SQL has two names
/// in a row, and nothing there begins a comment.
fn goes_on_in_words(tail: &[u8]) -> bool {
    let is_of_words = |byte: &u8| {
        byte.is_ascii_alphabetic() || !byte.is_ascii() || is_blank(byte) || b".,?!".contains(byte)
    };
    let attached = tail.iter().position(is_blank).unwrap_or(tail.len());
    let is_joint = |word: &&[u8]| matches!(*word, b"and" | b"or");
    let spoken = words(&tail[attached..]).skip_while(is_joint).take(SPOKEN_WORDS);
    let is_plain = tail[..attached].iter().all(|byte| is_of_words(byte) || byte.is_ascii_digit());
    is_plain
        && tail[attached..].iter().all(is_of_words)
        && spoken.filter(|word| is_spoken(word)).count() == SPOKEN_WORDS
}

/// The match begins a call that is the subject of a sentence: the text begins with it, words are behind it, and nothing there ends the
/// statement.
fn is_subject(text: &[u8], range: &Range<usize>) -> bool {
    let open = memchr::memchr(b'(', &text[range.clone()]);
    let end = open.and_then(|open| behind_group(text, range.start + open));
    text[..range.start].trim_ascii().is_empty()
        && end.is_some_and(|end| {
            let tail = &text[end..];
            words_behind(tail, is_spoken) > 0
                && has_sentence_behind(tail)
                && is_no_comment(tail)
                && !tail.contains(&b';')
        })
}

/// A sentence has ended before the match: three words in a row, and a mark behind a word. Neither is a part of a statement, unless it is a
/// comment or the statement before.
fn is_behind_sentence(lead: &[u8]) -> bool {
    let mut row = 0;
    let has_row = words(lead).any(|word| {
        row = if is_spoken(word) { row + 1 } else { 0 };
        row == SENTENCE_WORDS
    });
    let is_end = |word: &[u8]| {
        is_word(word) && word.len() > 2 && matches!(word.last(), Some(b'.' | b'?' | b'!' | b':'))
    };
    has_row
        && !may_be_in_string(lead)
        && words(lead).any(is_end)
        && is_no_comment(lead)
        && !lead.contains(&b';')
}

/// The match begins behind a number of things that are named: `either 5 or 5=5 people`. That is two operands in a row.
fn is_count(lead: &[u8], tail: &[u8]) -> bool {
    let mut before = words(lead);
    let is_number = |word: &[u8]| word.iter().all(u8::is_ascii_digit);
    before.next().is_some_and(is_spoken)
        && before.next().is_some_and(is_number)
        && before.next().is_none()
        && words_behind(tail, is_spoken) >= SPOKEN_WORDS
        && is_no_comment(tail)
        && !may_be_in_string(lead)
}

/// A few words behind the match there are some in a row that are words of a language.
fn has_sentence_behind(tail: &[u8]) -> bool {
    let Some(attached) = tail.iter().position(is_blank) else { return false };
    let mut row = 0;
    words(&tail[attached..]).take(SENTENCE_DISTANCE).any(|word| {
        row = if is_spoken(word) { row + 1 } else { 0 };
        row == SENTENCE_WORDS
    })
}

/// Fewest words in a row of a sentence, and the words behind a match among which they must be (chosen: words of SQL may be before them).
const SENTENCE_WORDS: usize = 3;
const SENTENCE_DISTANCE: usize = 12;

/// The words before a match that are looked at (chosen: one of them may be a number or a sign).
const NEAR_WORDS: usize = 3;

/// The match is in a span of code, as texts mark it: between two backticks, with blanks outside of them and words beside them.
fn is_code_span(lead: &[u8], tail: &[u8]) -> bool {
    let Some(close) = memchr::memchr(b'`', tail) else { return false };
    let Some(open) = memchr::memrchr(b'`', lead) else { return false };
    let (before, behind) = (&lead[..open], &tail[close + 1..]);
    let is_open = before.iter().filter(|byte| **byte == b'`').count() % 2 == 0;
    let is_apart = before.last().is_none_or(|byte| is_blank(byte) || *byte == b'(')
        && behind
            .first()
            .is_none_or(|byte| is_blank(byte) || matches!(byte, b'.' | b',' | b'?' | b':' | b')'));
    let has_words = || words(before).chain(words(behind)).any(is_word);
    is_open && is_apart && has_words()
}
