//! The patterns of responses that count (guard semantics, section 10).
//!
//! `status:404` tests the status. `json:PATH==VALUE` tests a JSON document, `regex:...` and any other text the bytes of the
//! body; all three see its first [`BODY_BYTES_MAX`] bytes, decoded. Texts and expressions are automata that read one byte at
//! a time, so no part of the body is stored for them. Only a document that ends within that length can match `json:`.

use super::automaton::{Automaton, MISSING};
use serde_json::Value;

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
        let value = value.trim();
        let quoted = ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
        Ok(JsonPattern { path, any_element, value: quoted.unwrap_or(value).to_lowercase().into() })
    }

    /// Whether a document matches. A text that is no JSON does not.
    pub fn matches(&self, document: &[u8]) -> bool {
        serde_json::from_slice(document).is_ok_and(|document: Value| self.matches_value(&document))
    }

    fn matches_value(&self, document: &Value) -> bool {
        // Indexes of arrays are no part of a path.
        let found = self.path.iter().try_fold(document, |value, part| value.as_object()?.get(&**part));
        match (found, self.any_element) {
            (Some(Value::Array(elements)), true) => elements.iter().any(|element| self.is_value(element)),
            (Some(_), true) | (None, _) => false,
            (Some(value), false) => self.is_value(value),
        }
    }

    /// Compares the forms of text; objects and arrays have none.
    fn is_value(&self, value: &Value) -> bool {
        match value {
            Value::Null => matches!(&*self.value, "none" | "null"),
            Value::Bool(value) => *self.value == *value.to_string(),
            Value::Number(number) => *self.value == *number.to_string().to_lowercase(),
            Value::String(text) => *self.value == *text.to_lowercase(),
            Value::Array(_) | Value::Object(_) => false,
        }
    }
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
        for broken in [&b""[..], b"{\"a\":{\"b\":\"fail\"}", b"\xff", b"1e999", deep.as_bytes()] {
            assert!(!compiled.matches(broken));
        }
        for pattern in ["json:", "json:a", "json:==x", "json:a..b==x", "json:.a==x", "json:[]==x"] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
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
