//! The grammar of a configuration file: one `key value` per line.
//!
//! Blank lines are skipped. `#` starts a comment at the start of a line or after a blank; inside a word it is part of
//! the value. A value in double quotes may hold anything printable, with `\"` and `\\` for those two; after the closing
//! quote only a comment may follow. Lines end in LF or CRLF.

/// Largest configuration file: settings are a few dozen lines, and lists have files of their own (chosen).
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// One line with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Counted from 1.
    pub number: u32,
    /// The first word.
    pub key: String,
    /// The rest without quotes and comment; `None` for a key alone.
    pub value: Option<String>,
}

/// All lines with a setting, and the errors of the others: line number and message.
pub fn lines(content: &[u8]) -> (Vec<Line>, Vec<(u32, String)>) {
    let mut set = Vec::new();
    let mut wrong = Vec::new();
    if content.len() > FILE_BYTES_MAX {
        wrong
            .push((0, format!("{} bytes: a configuration file has at most {FILE_BYTES_MAX}", content.len())));
        return (set, wrong);
    }
    let content = crate::words::without_mark(content);
    for (index, bytes) in content.split(|byte| *byte == b'\n').enumerate() {
        let number = index as u32 + 1;
        match line(bytes) {
            Ok(None) => {}
            Ok(Some((key, value))) => set.push(Line { number, key, value }),
            Err(message) => wrong.push((number, message)),
        }
    }
    (set, wrong)
}

type KeyValue = (String, Option<String>);

fn line(bytes: &[u8]) -> Result<Option<KeyValue>, String> {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8: expected text".to_owned())?;
    check_printable(text)?;
    let text = text.trim();
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let key_end = text.find([' ', '\t']).unwrap_or(text.len());
    let (key, rest) = (&text[..key_end], text[key_end..].trim_start());
    let value = match rest.strip_prefix('"') {
        Some(inside) => Some(quoted(inside)?),
        None => Some(without_comment(rest).to_owned()).filter(|value| !value.is_empty()),
    };
    Ok(Some((key.to_owned(), value)))
}

/// Rejects a value that no line of a file can hold, wherever it was set: --print-config would print a file that does
/// not load.
pub fn check_printable(text: &str) -> Result<(), String> {
    match text.chars().find(|char| char.is_control() && *char != '\t') {
        Some(control) => {
            Err(format!("control character {}: expected printable text", control.escape_default()))
        }
        None => Ok(()),
    }
}

/// Removes a comment, which begins with a `#` at the start or after a blank.
fn without_comment(rest: &str) -> &str {
    let is_start = |at: usize| at == 0 || rest[..at].ends_with([' ', '\t']);
    let end = rest.match_indices('#').map(|(at, _)| at).find(|at| is_start(*at)).unwrap_or(rest.len());
    rest[..end].trim_end()
}

/// The value behind an opening quote.
fn quoted(inside: &str) -> Result<String, String> {
    let mut value = String::new();
    let mut chars = inside.chars();
    loop {
        match chars.next() {
            None => return Err("no closing quote: expected \"value\"".into()),
            Some('"') => break,
            Some('\\') => match chars.next() {
                Some(escaped @ ('"' | '\\')) => value.push(escaped),
                Some(_) | None => return Err("unknown escape: expected \\\" or \\\\ in quotes".into()),
            },
            Some(char) => value.push(char),
        }
    }
    let after = chars.as_str();
    // `"a"#b` is neither a value nor clearly a comment.
    if !without_comment(after).is_empty() || after.starts_with('#') {
        return Err(format!(
            "{:?} after the closing quote: expected the end of the line or a comment",
            after.trim()
        ));
    }
    Ok(value)
}

/// A value as a file must have it: in quotes if it would be read as something else.
pub fn to_file_syntax(value: &str) -> String {
    let plain = !value.is_empty()
        && value.trim() == value
        && !value.starts_with('"')
        && without_comment(value).len() == value.len();
    if plain { value.to_owned() } else { format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_line() {
        type Expected = Option<(&'static str, Option<&'static str>)>;
        let cases: [(&str, Expected); 18] = [
            ("", None),
            ("  \t ", None),
            ("# comment", None),
            ("  #comment", None),
            ("port 80", Some(("port", Some("80")))),
            ("  port\t 80  ", Some(("port", Some("80")))),
            ("port 80\r", Some(("port", Some("80")))),
            ("port 80 # comment", Some(("port", Some("80")))),
            ("port 80\t#comment", Some(("port", Some("80")))),
            ("deny-private", Some(("deny-private", None))),
            ("deny-private # yes", Some(("deny-private", None))),
            ("log-dir a#b", Some(("log-dir", Some("a#b")))),
            ("log-dir a b", Some(("log-dir", Some("a b")))),
            ("log-dir \"a #b\" # c", Some(("log-dir", Some("a #b")))),
            ("log-dir \"a \\\"b\\\" \\\\\"", Some(("log-dir", Some("a \"b\" \\")))),
            ("log-dir \"\"", Some(("log-dir", Some("")))),
            ("log-dir a\"b\"", Some(("log-dir", Some("a\"b\"")))),
            ("log-dir é", Some(("log-dir", Some("é")))),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|(key, value)| (key.to_owned(), value.map(str::to_owned)));
            assert_eq!(line(text.as_bytes()), Ok(expected.clone()), "{text:?}");
            // With lines around it, the number is right.
            let (set, wrong) = lines(format!("\n{text}\nverbose 1").as_bytes());
            assert!(wrong.is_empty());
            assert_eq!(set.len(), 1 + usize::from(expected.is_some()), "{text:?}");
            if let Some((key, value)) = expected {
                assert_eq!(set[0], Line { number: 2, key, value });
            }
        }
    }

    #[test]
    fn every_malformed_line_is_reported_with_its_number() {
        let text = b"a \"b\nport 80\na \"b\" c\na \"\\n\"\na \"b\\\na \xff\na \x1b[2J\na \"b\"#c\n";
        let (set, wrong) = lines(text);
        assert_eq!(set.len(), 1);
        let numbers: Vec<u32> = wrong.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [1, 3, 4, 5, 6, 7, 8]);
        assert!(wrong.iter().all(|(_, message)| message.contains("expected")), "{wrong:?}");
        assert!(!wrong.iter().any(|(_, message)| message.contains('\x1b')));
    }

    #[test]
    fn a_byte_order_mark_is_skipped_and_size_is_bounded() {
        assert_eq!(lines(b"\xef\xbb\xbfport 80").0[0].key, "port");
        let (set, wrong) = lines(&vec![b'#'; FILE_BYTES_MAX + 1]);
        assert!(set.is_empty());
        assert_eq!(wrong[0].0, 0);
        assert_eq!(lines(&vec![b'#'; FILE_BYTES_MAX]), (vec![], vec![]));
    }

    #[test]
    fn what_is_written_reads_back() {
        for value in ["80", "", " a ", "a #b", "#a", "a#b", "\"a\"", "a\"b", "a\\b", "a \\#\"", "é"] {
            let text = format!("key {} # default", to_file_syntax(value));
            assert_eq!(line(text.as_bytes()), Ok(Some(("key".into(), Some(value.into())))), "{text}");
        }
        assert_eq!(to_file_syntax("a#b"), "a#b");
    }
}
