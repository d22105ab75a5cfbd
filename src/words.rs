//! A line of a file of directives as words, and the values that all such files have.
//!
//! Words stand between blanks. `"quoted text"` is one word, with `\"` and `\\` for those two, and is never a word of the
//! language. `#` at the beginning of a word starts a comment; inside a word it is part of the word.

use crate::nearest::{hint, nearest};

/// Most characters of a faulty word that a message shows (chosen).
const FOUND_CHARS_MAX: usize = 80;

/// Longest time (chosen): ten years, far from the overflow of a deadline; a ban may be for ever.
const DURATION_MS_MAX: u64 = 10 * 365 * DAY_MS;

const DAY_MS: u64 = 24 * 3_600_000;

/// Units of time, the longest first.
const UNITS: [(&str, u64); 6] =
    [("w", 7 * DAY_MS), ("d", DAY_MS), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

const EXPECTED_DURATION: &str = "a time with its unit (ms, s, m, h, d, w), such as 10s, 15m or 7d";

/// Largest file of directives, in bytes (chosen).
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// Most problems that are reported; the last one tells that reading stopped (chosen).
pub const PROBLEMS_MAX: usize = 100;

/// A text without the byte order mark that some editors put before it.
pub fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// A line that cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Counted from 1; 0 for the file as a whole.
    pub line: u32,
    /// What was expected, in one line of printable text.
    pub message: String,
}

/// Reads a file of directives line by line, with their numbers from 1: LF or CRLF, with or without a byte order mark. What is
/// wrong with lines is returned, as an error if the rest was not read.
pub(crate) fn read_lines(
    kind: &str,
    content: &[u8],
    mut read: impl FnMut(u32, &[u8]) -> Result<(), String>,
) -> Result<Vec<Problem>, Vec<Problem>> {
    if content.len() > FILE_BYTES_MAX {
        let message = format!("{} bytes: a {kind} file has at most {FILE_BYTES_MAX}", content.len());
        return Err(vec![Problem { line: 0, message }]);
    }
    let content = without_mark(content);
    let mut problems = Vec::new();
    for (line, text) in (1..).zip(content.split(|byte| *byte == b'\n')) {
        let Err(message) = read(line, text.strip_suffix(b"\r").unwrap_or(text)) else { continue };
        problems.push(Problem { line, message });
        if problems.len() >= PROBLEMS_MAX {
            let message = format!("expected fewer than {PROBLEMS_MAX} faulty lines: the rest was not read");
            problems.push(Problem { line, message });
            return Err(problems);
        }
    }
    Ok(problems)
}

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub text: String,
    pub quoted: bool,
}

/// The words of a line, from the first that was not read yet.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    words: Vec<Word>,
    at: usize,
}

/// An option of a directive: its name, and what reads the words behind it.
pub(crate) type Optional<T> = (&'static str, fn(&mut T, &mut Words) -> Result<(), String>);

impl Words {
    /// The words of a line, which has no line end any more.
    pub fn of(line: &[u8]) -> Result<Words, String> {
        let text = std::str::from_utf8(line).map_err(|_| "not UTF-8: expected text".to_owned())?;
        if let Some(control) = text.chars().find(|char| char.is_control() && *char != '\t') {
            return Err(format!("control character {}: expected printable text", control.escape_default()));
        }
        let mut words = Vec::new();
        let mut rest = text.trim_start_matches([' ', '\t']);
        while !rest.is_empty() && !rest.starts_with('#') {
            let (word, behind) = match rest.strip_prefix('"') {
                Some(inside) => quoted(inside)?,
                None => {
                    let end = rest.find([' ', '\t']).unwrap_or(rest.len());
                    (Word { text: rest[..end].to_owned(), quoted: false }, &rest[end..])
                }
            };
            words.push(word);
            rest = behind.trim_start_matches([' ', '\t']);
        }
        Ok(Words { words, at: 0 })
    }

    /// The next word, which stays.
    pub fn peek(&self) -> Option<&Word> {
        self.words.get(self.at)
    }

    /// Takes the next word if it is this one, without quotes.
    pub fn accept(&mut self, keyword: &str) -> bool {
        let is_next = self.peek().is_some_and(|word| !word.quoted && word.text == keyword);
        self.at += usize::from(is_next);
        is_next
    }

    /// Takes this word, without quotes.
    pub fn expect(&mut self, keyword: &str, form: &str) -> Result<(), String> {
        if self.accept(keyword) { Ok(()) } else { Err(self.unexpected(&format!("{keyword}, as in: {form}"))) }
    }

    /// Takes the next word, whatever it is.
    pub fn value(&mut self, expected: &str) -> Result<String, String> {
        let word = self.peek().map(|word| word.text.clone()).ok_or_else(|| self.unexpected(expected))?;
        self.at += 1;
        Ok(word)
    }

    /// Takes a list with commas; blanks may follow the commas. No member is empty.
    pub fn list(&mut self, expected: &str) -> Result<Vec<String>, String> {
        let mut text = self.value(expected)?;
        while text.ends_with(',') && self.peek().is_some() {
            text.push_str(&self.value(expected)?);
        }
        let members: Vec<String> = text.split(',').map(str::to_owned).collect();
        match members.iter().any(String::is_empty) {
            true => Err(format!("expected {expected}, with one comma between two, found {}", shown(&text))),
            false => Ok(members),
        }
    }

    /// Reads options in any order, each at most once, up to the end of the line. Returns the names of those that were given.
    pub fn options<T>(&mut self, into: &mut T, known: &[Optional<T>]) -> Result<Vec<&'static str>, String> {
        let mut given = Vec::new();
        while self.peek().is_some() {
            let Some((name, read)) = known.iter().find(|(name, _)| self.accept(name)) else {
                return Err(self.unknown_option(known.iter().map(|(name, _)| *name)));
            };
            if given.contains(name) {
                return Err(format!("{name} again: expected once in a line"));
            }
            given.push(name);
            read(into, self)?;
        }
        Ok(given)
    }

    fn unknown_option(&self, names: impl Iterator<Item = &'static str> + Clone) -> String {
        let list = names.clone().collect::<Vec<_>>().join(", ");
        let message = self.unexpected(if list.is_empty() { "the end of the line" } else { &list });
        let near = self.peek().and_then(|word| nearest(&word.text, names));
        message + &hint(near)
    }

    /// Nothing may follow.
    pub fn end(&mut self) -> Result<(), String> {
        self.options(&mut (), &[]).map(|_| ())
    }

    /// The message about the next word, which should have been something else.
    pub fn unexpected(&self, expected: &str) -> String {
        match self.peek() {
            Some(word) => format!("expected {expected}, found {}", shown(&word.text)),
            None => format!("expected {expected}, found the end of the line"),
        }
    }
}

/// A text as a message shows it: in quotes, not too long, and without what may be the password of a URL.
pub(crate) fn shown(text: &str) -> String {
    shown_without_secrets(text, text.contains("://"))
}

/// A word that should have been a URL, as a message shows it: like [`shown`], and never with options behind a question mark.
pub(crate) fn shown_url(url: &str) -> String {
    shown_without_secrets(url, true)
}

/// Hides what stands between the first colon and the last @, whatever the slashes of a URL look like, and perhaps the query.
fn shown_without_secrets(text: &str, hides_query: bool) -> String {
    let from = text.find(':').map(|at| if text[at..].starts_with("://") { at + 3 } else { at + 1 });
    let secret = from.zip(text.rfind('@')).filter(|(from, to)| from < to);
    let text = secret.map_or(text.to_owned(), |(from, to)| format!("{}***{}", &text[..from], &text[to..]));
    let text = match text.split_once('?') {
        Some((before, _)) if hides_query => format!("{before}?***"),
        Some(_) | None => text,
    };
    let head: String = text.chars().take(FOUND_CHARS_MAX).collect();
    let rest = if head.len() < text.len() { "…" } else { "" };
    format!("\"{}{rest}\"", head.escape_debug())
}

/// The word behind an opening quote, and what follows the closing one.
fn quoted(inside: &str) -> Result<(Word, &str), String> {
    let mut text = String::new();
    let mut chars = inside.chars();
    loop {
        match chars.next() {
            None => return Err("no closing quote: expected \"text\"".into()),
            Some('"') => break,
            Some('\\') => match chars.next() {
                Some(escaped @ ('"' | '\\')) => text.push(escaped),
                Some(_) | None => return Err("unknown escape: expected \\\" or \\\\ in quotes".into()),
            },
            Some(char) => text.push(char),
        }
    }
    let behind = chars.as_str();
    if !(behind.is_empty() || behind.starts_with([' ', '\t'])) {
        return Err(format!("{} right behind the closing quote: expected a blank", shown(behind)));
    }
    Ok((Word { text, quoted: true }, behind))
}

/// A whole number of milliseconds, more than 0.
pub(crate) fn duration(text: &str) -> Result<u64, String> {
    let found = |expected: &str| format!("expected {expected}, found {}", shown(text));
    let unit_at = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(unit_at);
    let unit_ms = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, ms)| *ms);
    let (Some(unit_ms), false) = (unit_ms, digits.is_empty()) else { return Err(found(EXPECTED_DURATION)) };
    // Digits that do not fit are too many, as is a product that does not.
    match digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit_ms)) {
        Some(0) => Err(found("a time longer than 0")),
        Some(ms) if ms <= DURATION_MS_MAX => Ok(ms),
        Some(_) | None => Err(found("a time of at most 3650d")),
    }
}

/// A time in the longest unit that tells it in whole numbers.
pub(crate) fn duration_text(ms: u64) -> String {
    let unit = UNITS.iter().find(|(_, unit_ms)| ms % unit_ms == 0);
    unit.map_or_else(|| format!("{ms}ms"), |(name, unit_ms)| format!("{}{name}", ms / unit_ms))
}

/// A decimal number, digits only, in a range.
pub(crate) fn number(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let is_decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let value = if is_decimal { text.parse().ok() } else { None };
    value
        .filter(|value| (least..=most).contains(value))
        .ok_or_else(|| format!("expected a number from {least} to {most}, found {}", shown(text)))
}

/// A word as the file must have it: in quotes if it would be read as something else.
pub(crate) fn word_text(text: &str) -> String {
    let is_plain = !text.is_empty() && !text.starts_with(['"', '#']) && !text.contains([' ', '\t']);
    if is_plain {
        text.to_owned()
    } else {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Result<Vec<String>, String> {
        Words::of(line.as_bytes()).map(|words| words.words.into_iter().map(|word| word.text).collect())
    }

    #[test]
    fn every_form_of_a_line() {
        let cases: [(&str, &[&str]); 11] = [
            ("", &[]),
            (" \t ", &[]),
            ("# all of it", &[]),
            ("a b", &["a", "b"]),
            ("\ta  b\t", &["a", "b"]),
            ("a b#c", &["a", "b#c"]),
            ("a #b c", &["a"]),
            ("a \"b # c\" d # e", &["a", "b # c", "d"]),
            ("a \"\"", &["a", ""]),
            ("\"\\\"\\\\\"", &["\"\\"]),
            ("a\"b c\"", &["a\"b", "c\""]),
        ];
        for (line, expected) in cases {
            assert_eq!(texts(line), Ok(expected.iter().map(|text| (*text).to_owned()).collect()), "{line:?}");
        }
        for line in ["\"a", "\"a\\n\"", "\"a\\", "\"a\"b", "\"a\"#", "a\x07", "a\r"] {
            assert!(texts(line).is_err_and(|message| message.contains("expected")), "{line:?}");
        }
        assert!(Words::of(b"\xff").is_err());
    }

    #[test]
    fn passwords_of_urls_are_not_shown() {
        for (text, expected) in [
            ("redis://u:s3cret@h:1", "redis://***@h:1"),
            ("redis:/u:s3c@ret@h", "redis:***@h"),
            ("redis//u:s3cret@h", "redis//u:***@h"),
            ("u:s3cret@h://x", "u:***@h://x"),
            ("redis://h:1?password=s3cret", "redis://h:1?***"),
            ("redis://u:s3?cret@h?p=s3cret", "redis://***@h?***"),
            ("[::1]:80", "[::1]:80"),
            ("@a:b", "@a:b"),
            ("a@b?c", "a@b?c"),
        ] {
            assert_eq!(shown(text), format!("\"{expected}\""));
        }
        assert_eq!(shown_url("redis//h?password=s3cret"), "\"redis//h?***\"");
    }

    #[test]
    fn lists_go_on_behind_a_comma() {
        let list = |line: &str| Words::of(line.as_bytes()).and_then(|mut words| words.list("letters"));
        for line in ["a,b,c", "a, b, c", "a,b, c d", "a,  b,c"] {
            assert_eq!(list(line).map(|members| members.concat()), Ok("abc".into()), "{line}");
        }
        for line in ["a,", "a,,b", ",a", "", "a, ,b"] {
            assert!(list(line).is_err(), "{line}");
        }
    }

    #[test]
    fn words_in_quotes_are_never_of_the_language() {
        let mut words = Words::of(b"\"for\" for").unwrap();
        assert!(!words.accept("for"));
        assert_eq!(words.value("any"), Ok("for".into()));
        assert!(words.accept("for"));
        assert_eq!(words.end(), Ok(()));
    }
}
