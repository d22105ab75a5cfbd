//! The error of a text that cannot be parsed.

use std::fmt;

/// A text that cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The text, shortened; control characters are escaped.
    pub found: String,
    /// What was expected.
    pub expected: &'static str,
}

impl ParseError {
    pub(super) fn new(text: &str, chars_max: usize, expected: &'static str) -> ParseError {
        let mut found = String::new();
        for c in text.chars().take(chars_max) {
            if c.is_control() { found.extend(c.escape_default()) } else { found.push(c) }
        }
        ParseError { found, expected }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, found \"{}\"", self.expected, self.found)
    }
}
