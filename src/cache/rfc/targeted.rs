//! Fields that are targeted at one kind of cache (RFC 9213): dictionaries of RFC 8941, read strictly.
//!
//! A field with any error is ignored as a whole, as RFC 9213 section 2.1 demands: two caches must not read a faulty
//! field in two ways.

use crate::http::block::FieldLines;
use crate::http::fields::is_tchar;

use crate::cache::rfc::control::{ResponseDirectives, SECONDS_MAX};

impl ResponseDirectives {
    /// Reads the directives of a response. The first field of `targeted` (such as `CDN-Cache-Control`) that is
    /// present, valid and not empty replaces Cache-Control.
    pub fn read<'b>(fields: impl FieldLines<'b>, targeted: &[&str]) -> ResponseDirectives {
        let found = targeted.iter().find_map(|name| read(fields, name));
        found.unwrap_or_else(|| ResponseDirectives::of_cache_control(fields))
    }
}

/// The directives of a targeted field. `None` if it is missing, empty or invalid.
fn read<'b>(fields: impl FieldLines<'b>, name: &str) -> Option<ResponseDirectives> {
    let mut found = ResponseDirectives { targeted: true, ..ResponseDirectives::default() };
    for value in fields.values(name) {
        dictionary(value, &mut found)?;
        found.present = true;
    }
    found.present.then_some(found)
}

/// A bare item or a list, as far as directives need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Integer(i64),
    Boolean(bool),
    /// A string or a token.
    Text,
    /// A decimal, a byte sequence or an inner list.
    Other,
}

/// Reads one line (RFC 8941 section 4.2.2). `None` if the line is empty or has an error.
fn dictionary(line: &[u8], found: &mut ResponseDirectives) -> Option<()> {
    let mut reader = Reader { rest: line };
    reader.skip_blanks();
    loop {
        let key = reader.key()?;
        let value = if reader.take(b'=') { reader.item_or_inner_list()? } else { Value::Boolean(true) };
        reader.parameters()?;
        apply(found, key, value);
        reader.skip_optional_whitespace();
        if reader.rest.is_empty() {
            return Some(());
        }
        if !reader.take(b',') {
            return None;
        }
        // A comma at the end is an error, because no key follows.
        reader.skip_optional_whitespace();
    }
}

/// Of two members of one name the last counts (RFC 8941 section 3.2). A value of another type is ignored (RFC 9213
/// section 2.1); a directive that forbids counts with any value but `?0`.
fn apply(found: &mut ResponseDirectives, key: &[u8], value: Value) {
    let seconds = match value {
        Value::Integer(integer) => {
            Some(u32::try_from(integer.max(0)).unwrap_or(SECONDS_MAX).min(SECONDS_MAX))
        }
        Value::Boolean(_) | Value::Text | Value::Other => None,
    };
    let forbids = value != Value::Boolean(false);
    let allows = value == Value::Boolean(true);
    match key {
        b"max-age" => found.max_age_s = seconds,
        b"s-maxage" => found.s_maxage_s = seconds,
        b"stale-while-revalidate" => found.while_revalidate_s = seconds,
        b"stale-if-error" => found.if_error_s = seconds,
        b"no-store" => found.no_store = forbids,
        b"private" => found.private = forbids,
        b"no-cache" => found.no_cache = forbids,
        b"must-revalidate" => found.must_revalidate = forbids,
        b"proxy-revalidate" => found.proxy_revalidate = forbids,
        b"public" => found.public = allows,
        b"must-understand" => found.must_understand = allows,
        _ => {}
    }
}

/// The parsers of RFC 8941 section 4.2. Each returns `None` on a syntax error.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        if there {
            self.rest = &self.rest[1..];
        }
        there
    }

    fn take_while(&mut self, belongs: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|&byte| !belongs(byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn skip_blanks(&mut self) {
        self.take_while(|byte| byte == b' ');
    }

    fn skip_optional_whitespace(&mut self) {
        self.take_while(|byte| matches!(byte, b' ' | b'\t'));
    }

    fn key(&mut self) -> Option<&'a [u8]> {
        matches!(self.peek()?, b'a'..=b'z' | b'*').then_some(())?;
        Some(self.take_while(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'*')))
    }

    fn item_or_inner_list(&mut self) -> Option<Value> {
        if !self.take(b'(') {
            return self.bare_item();
        }
        loop {
            self.skip_blanks();
            if self.take(b')') {
                return Some(Value::Other);
            }
            self.bare_item()?;
            self.parameters()?;
            matches!(self.peek()?, b' ' | b')').then_some(())?;
        }
    }

    fn parameters(&mut self) -> Option<()> {
        while self.take(b';') {
            self.skip_blanks();
            self.key()?;
            if self.take(b'=') {
                self.bare_item()?;
            }
        }
        Some(())
    }

    fn bare_item(&mut self) -> Option<Value> {
        match self.peek()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b'*' | b'a'..=b'z' | b'A'..=b'Z' => {
                self.take_while(|byte| is_tchar(byte) || matches!(byte, b':' | b'/'));
                Some(Value::Text)
            }
            b':' => self.byte_sequence(),
            b'?' => match self.rest {
                [_, b'0', rest @ ..] => {
                    self.rest = rest;
                    Some(Value::Boolean(false))
                }
                [_, b'1', rest @ ..] => {
                    self.rest = rest;
                    Some(Value::Boolean(true))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// At most 15 digits, or 12 with up to 3 more behind a point.
    fn number(&mut self) -> Option<Value> {
        let negative = self.take(b'-');
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        if !self.take(b'.') {
            let fits = (1..=15).contains(&digits.len());
            let number =
                digits.iter().filter(|_| fits).fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
            return fits.then_some(Value::Integer(if negative { -number } else { number }));
        }
        let fraction = self.take_while(|byte| byte.is_ascii_digit());
        let fits = (1..=12).contains(&digits.len()) && (1..=3).contains(&fraction.len());
        fits.then_some(Value::Other)
    }

    fn string(&mut self) -> Option<Value> {
        self.take(b'"');
        loop {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            match byte {
                b'"' => return Some(Value::Text),
                b'\\' => (self.take(b'"') || self.take(b'\\')).then_some(())?,
                b' '..=b'~' => {}
                _ => return None,
            }
        }
    }

    fn byte_sequence(&mut self) -> Option<Value> {
        self.take(b':');
        self.take_while(|byte| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'+' | b'/' | b'='));
        self.take(b':').then_some(Value::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::block::FieldBlock;

    const TARGETED: [&str; 1] = ["CDN-Cache-Control"];

    fn read_value(value: &str) -> ResponseDirectives {
        let text = format!("Cache-Control: max-age=1\r\nCDN-Cache-Control: {value}\r\n");
        ResponseDirectives::read(FieldBlock::new(text.as_bytes()), &TARGETED)
    }

    fn max_age(value: &str) -> Option<u32> {
        let found = read_value(value);
        assert!(found.targeted, "{value}");
        found.max_age_s
    }

    #[test]
    fn rule_44_valid_ones_replace_cache_control() {
        for (value, seconds) in [
            ("max-age=60", Some(60)),
            ("max-age=60;x", Some(60)),
            ("max-age=60; x=1;y=\"a\";z=?1", Some(60)),
            ("max-age=0060", Some(60)),
            ("max-age=-60", Some(0)),
            ("max-age=999999999999999", Some(SECONDS_MAX)),
            ("max-age=1,max-age=2", Some(2)),
            ("max-age=1 \t,\t max-age=2", Some(2)),
            ("foo", None),
            ("max-age=60.5", None),
            ("max-age=\"60\"", None),
            ("max-age=sixty", None),
            ("max-age", None),
            ("max-age=:YQ==:", None),
            ("max-age=(60)", None),
            ("x=(), max-age=60", Some(60)),
            ("x=(a \"b\" 1.5;q=1  ?0);r, max-age=60", Some(60)),
            ("x=\"a\\\"b\\\\, max-age=5\", max-age=60", Some(60)),
            ("x=*a/b:c, *y, max-age=60", Some(60)),
        ] {
            assert_eq!(max_age(value), seconds, "{value}");
        }
        let found =
            read_value("no-store, private=\"a\", no-cache=?0, must-revalidate=1, public, must-understand=1");
        assert!(found.no_store && found.private && !found.private_fields && !found.no_cache);
        assert!(found.must_revalidate && found.public && !found.must_understand && found.present);
    }

    #[test]
    fn rule_44_invalid_ones_are_ignored() {
        for value in [
            "",
            ",",
            "max-age=60,",
            ",max-age=60",
            "max-age=60,,no-store",
            "max-age=60, &&&&",
            "max-age =60",
            "max-age= 60",
            "Max-Age=60",
            "max-age=60 no-store",
            "max-age=60;",
            "max-age=60 ;x",
            "max-age=60;X",
            "max-age=1000000000000000",
            "max-age=1.2345",
            "max-age=1.",
            "max-age=-",
            "max-age=+1",
            "max-age=",
            "x=\"a",
            "x=\"a\\b\"",
            "x=\"\u{e9}\"",
            "x=(a",
            "x=(a\"b\")",
            "x=(a,b)",
            "x=:YQ",
            "x=?2",
            "x=?",
            "1=2",
            "max-age=60\tx",
        ] {
            let found = read_value(value);
            assert_eq!((found.targeted, found.max_age_s), (false, Some(1)), "{value:?}");
        }
    }

    #[test]
    fn rule_44_several_lines_and_names() {
        let fields = FieldBlock::new(
            b"Weir-Cache-Control: max-age=?\r\nCDN-Cache-Control: max-age=5\r\ncdn-cache-control: no-store\r\n",
        );
        let found = ResponseDirectives::read(fields, &["weir-cache-control", "cdn-cache-control"]);
        assert_eq!((found.targeted, found.max_age_s, found.no_store), (true, Some(5), true));
        let found = ResponseDirectives::read(fields, &["other"]);
        assert_eq!(found, ResponseDirectives::default());
    }
}
