//! The patterns of responses that count (guard semantics, section 10).
//!
//! `status:404` tests the status. `json:PATH==VALUE` tests a JSON document, `regex:...` and any other text the bytes of the
//! body; all three see its first [`BODY_BYTES_MAX`] bytes, decoded. Texts and expressions are automata that read one byte at
//! a time, so no part of the body is stored for them. Only a document that ends within that length can match `json:`.

use super::automaton::{Automaton, MISSING};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;

/// Bytes of a body that patterns test (guard semantics, section 10).
pub const BODY_BYTES_MAX: usize = 262_144;

/// Longest pattern in bytes (chosen).
const PATTERN_BYTES_MAX: usize = 1024;

/// A pattern, compiled.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// `status:NNN`.
    Status(u16),
    /// `json:PATH==VALUE`.
    Json(JsonPattern),
    /// `regex:...`, or a text.
    Bytes(Automaton),
}

/// `json:PATH==VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPattern {
    path: Vec<Box<str>>,
    /// The last part of the path is an array: any element may be the value.
    any_element: bool,
    /// The value without quotes, in lower case.
    value: Box<str>,
}

impl Pattern {
    /// Compiles a pattern; an error contains what was expected.
    pub fn parse(text: &str) -> Result<Pattern, String> {
        if text.is_empty() || text.len() > PATTERN_BYTES_MAX {
            return Err(format!("expected a pattern of 1 to {PATTERN_BYTES_MAX} bytes"));
        }
        if let Some(status) = text.strip_prefix("status:") {
            let is_status = |status: &u16| (100..=999).contains(status);
            let status = status.parse().ok().filter(is_status);
            return status
                .map(Pattern::Status)
                .ok_or_else(|| "expected a status such as status:404".to_owned());
        }
        if let Some(rest) = text.strip_prefix("json:") {
            let pattern = JsonPattern::parse(rest)?;
            return if cfg!(feature = "detection") {
                Ok(Pattern::Json(pattern))
            } else {
                Err(MISSING.into())
            };
        }
        match text.strip_prefix("regex:") {
            Some(expression) => Automaton::of_expression(expression).map(Pattern::Bytes),
            None => Automaton::of_text(text).map(Pattern::Bytes),
        }
    }
}

impl JsonPattern {
    fn parse(text: &str) -> Result<JsonPattern, String> {
        let wrong = || "expected a path and a value such as json:result.status==fail".to_owned();
        let (path, value) = text.split_once("==").ok_or_else(wrong)?;
        let (path, any_element) =
            path.trim().strip_suffix("[]").map_or((path.trim(), false), |path| (path, true));
        let path: Vec<Box<str>> = path.split('.').map(Box::from).collect();
        if path.iter().any(|part| part.is_empty()) {
            return Err(wrong());
        }
        if path.iter().any(|part| part.contains("[]")) {
            return Err("expected [] at the end of the path only, as in json:items[]==fail".to_owned());
        }
        let value = value.trim();
        let quoted = ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
        Ok(JsonPattern { path, any_element, value: quoted.unwrap_or(value).to_lowercase().into() })
    }

    /// Whether a document matches. A text that is no JSON does not. Only the value at the path is read: elsewhere a client whose
    /// text the document repeats could put numbers of any size, any depth, and halves of characters.
    pub fn matches(&self, document: &[u8]) -> bool {
        let text = String::from_utf8_lossy(document);
        self.compare(&readable(&text)).unwrap_or(false)
    }

    /// Whether the value at the path is the one of the pattern; none if there is no such path, or no document.
    fn compare(&self, document: &str) -> Option<bool> {
        let mut value: &RawValue = serde_json::from_str(document).ok()?;
        for part in &self.path {
            // Indexes of arrays are no part of a path.
            let members: HashMap<String, &RawValue> = serde_json::from_str(value.get()).ok()?;
            value = members.get(&**part)?;
        }
        if !self.any_element {
            return Some(self.is_value(value.get()));
        }
        let elements: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
        Some(elements.into_iter().any(|element| self.is_value(element.get())))
    }

    /// Compares the value with one as it is written; objects and arrays are equal to none.
    fn is_value(&self, written: &str) -> bool {
        match written.as_bytes().first() {
            Some(b'n') => matches!(&*self.value, "none" | "null"),
            Some(b'"') => {
                serde_json::from_str::<String>(written).is_ok_and(|text| *self.value == *text.to_lowercase())
            }
            Some(b'{' | b'[') | None => false,
            Some(_) => *self.value == *written.to_lowercase(),
        }
    }
}

/// A document as the reader of JSON takes it. Programs write two things that it refuses: an escaped half of a character (RFC 8259
/// section 8.2), which becomes U+FFFD, and NaN and Infinity, as Python does.
fn readable(document: &str) -> Cow<'_, str> {
    let bytes = document.as_bytes();
    let mut out = String::new();
    let (mut done, mut at, mut quoted) = (0, 0, false);
    while at < bytes.len() {
        let (length, instead) = match bytes[at] {
            b'"' => {
                quoted = !quoted;
                (1, None)
            }
            b'\\' if quoted => match (half_at(document, at), half_at(document, at + 6)) {
                (Some(..0xDC00), Some(0xDC00..)) => (12, None),
                (Some(_), _) => (6, Some("\\ufffd")),
                (None, _) => (2, None),
            },
            b'N' if !quoted && bytes[at..].starts_with(b"NaN") => (3, Some("\"NaN\"")),
            b'I' if !quoted && bytes[at..].starts_with(b"Infinity") => (8, Some("1e999")),
            _ => (1, None),
        };
        if let Some(instead) = instead {
            out.push_str(&document[done..at]);
            out.push_str(instead);
            done = at + length;
        }
        at += length;
    }
    if done == 0 {
        return Cow::Borrowed(document);
    }
    out.push_str(&document[done..]);
    Cow::Owned(out)
}

/// The half of a character that is escaped at this place: `\uD800` to `\uDFFF`.
fn half_at(document: &str, at: usize) -> Option<u16> {
    let digits = document.get(at..at + 6)?.strip_prefix("\\u")?;
    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let unit = u16::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
    (0xD800..0xE000).contains(&unit).then_some(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guard_10_json_patterns() {
        let document = br#"{"a":{"b":"Fail","n":3,"t":true,"z":null,"l":["x",{"y":1},7]},"a.b":1,"e":""}"#;
        for (pattern, matches) in [
            ("json:a.b==fail", true),
            ("json:a.b==FAIL", true),
            ("json:a.b=='fail'", true),
            ("json:a.b==\"Fail\"", true),
            ("json: a.b == fail ", true),
            ("json:a.b==fai", false),
            ("json:a.n==3", true),
            ("json:a.n==3.0", false),
            ("json:a.t==True", true),
            ("json:a.t==false", false),
            ("json:a.z==None", true),
            ("json:a.z==null", true),
            ("json:a.l[]==X", true),
            ("json:a.l[]==7", true),
            ("json:a.l[]==1", false),
            ("json:a.l==x", false),
            ("json:a.l.0==x", false),
            ("json:a.b[]==fail", false),
            ("json:a.c==fail", false),
            ("json:a==fail", false),
            ("json:e==", true),
        ] {
            let compiled = JsonPattern::parse(&pattern["json:".len()..]).expect(pattern);
            assert_eq!(compiled.matches(document), matches, "{pattern}");
        }
        assert_eq!(Pattern::parse("json:a.b==fail").is_ok(), cfg!(feature = "detection"));
        let compiled = JsonPattern::parse("a.b==fail").expect("a pattern");
        let deep = "[".repeat(100_000);
        for broken in [
            &b""[..],
            b"{\"a\":{\"b\":\"fail\"}",
            b"\xff",
            b"1e999",
            b"\"\\",
            b"{\"\\\xc3\xa9\":1}",
            deep.as_bytes(),
        ] {
            assert!(!compiled.matches(broken), "{}", broken.escape_ascii());
        }
        for pattern in
            ["json:", "json:a", "json:==x", "json:a..b==x", "json:.a==x", "json:[]==x", "json:a[].b==x"]
        {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
    }

    /// A client chooses a text that the server repeats.
    #[test]
    fn guard_10_json_patterns_do_not_depend_on_the_rest_of_the_document() {
        let deep = ["[".repeat(3000), "]".repeat(3000)].concat();
        let digits = "9".repeat(400);
        for repeated in [
            &b"\"\\ud800\""[..],
            b"\"\\udc00\\ud83d\"",
            b"\"\\\\ud800\\\\\"",
            b"\"\\ud83d\\ude00\\\\\\ud83d\"",
            b"\"\xff\xc3\"",
            b"1e999",
            b"[NaN,Infinity,-Infinity]",
            b"\"NaN \\\"Infinity\"",
            digits.as_bytes(),
            deep.as_bytes(),
            b"{\"\\udfff\":{\"b\":\"other\"}}",
        ] {
            for (pattern, matches) in
                [("a.b==fail", true), ("a.n==1e400", true), ("a.l[]==x", true), ("a.b==fall", false)]
            {
                let compiled = JsonPattern::parse(pattern).expect(pattern);
                let document = [
                    b"{\"a\":{\"u\":",
                    repeated,
                    b",\"b\":\"FAIL\",\"n\":1E400,\"l\":[",
                    repeated,
                    b",\"\\u0058\"]}, \"v\":",
                    repeated,
                    b"}",
                ]
                .concat();
                assert_eq!(compiled.matches(&document), matches, "{pattern}: {}", repeated.escape_ascii());
                assert!(!compiled.matches(&document[..document.len() - 1]), "{pattern}: incomplete");
            }
        }
    }

    #[test]
    fn guard_10_status_patterns() {
        for (pattern, status) in
            [("status:404", Some(404)), ("status:100", Some(100)), ("status:999", Some(999))]
        {
            assert!(matches!(Pattern::parse(pattern), Ok(Pattern::Status(found)) if Some(found) == status));
        }
        for pattern in ["status:", "status:99", "status:1000", "status:4xx", "status: 404", ""] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
    }
}
