//! Header fields that the configuration removes or adds, after everything that HTTP demands (rule 29).

use super::parse_error::ParseError;

use super::rules::{Pattern, Rule};
use crate::http::forwarding;
use crate::http::target::Host;

/// Most edits (chosen: each costs every request one or two comparisons).
pub const EDITS_MAX: usize = 256;

/// Longest text of one edit in bytes (chosen).
pub const EDIT_BYTES_MAX: usize = 4096;

/// Most characters of an edit that an error shows (chosen).
const FOUND_CHARS_MAX: usize = 80;

const EXPECTED_REMOVE: &str = "a field name, and maybe the host pattern it is for: NAME [PATTERN]";
const EXPECTED_ADD: &str = "a field, and maybe the host pattern it is for: [append] NAME: VALUE [if PATTERN]";
const EXPECTED_NAME: &str = "a field name: letters, digits and !#$%&'*+-.^_`|~";
const EXPECTED_VALUE: &str = "a field value without control characters";
const EXPECTED_OTHER: &str = "a field other than those that frame, route or authenticate messages";
const EXPECTED_PATTERN: &str = "a host pattern without a port: name, *.name, .name, address or network";
const EXPECTED_SHORT: &str = "an edit of at most 4096 bytes";
const EXPECTED_FEWER: &str = "at most 256 edits";

/// Fields that frame, route or authenticate a message, or that weir itself is responsible for (RFC 9110 7.6, RFC 9112
/// 6): an edit would change the framing or the destination. In lower case.
const PROTECTED_FIELDS: [&str; 17] = [
    "connection",
    "content-length",
    "date",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Request fields that identify a person more than the request needs; `--anonymous` removes them.
pub const ANONYMOUS_FIELDS: [&str; 6] =
    ["client-ip", "forwarded", "from", "referer", "x-forwarded-for", "x-real-ip"];

/// The messages that an edit applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From client to origin.
    Request,
    /// From origin to client.
    Response,
}

/// The prefix of an addition that keeps received fields of the same name.
const APPEND: &str = "append";

/// The effect of an edit on a field.
#[derive(Clone, Debug)]
enum Change {
    /// The field is removed.
    Remove,
    /// All lines of the field are replaced by one with this value (rule 49).
    Replace(Box<str>),
    /// A line with this value is added behind the received ones.
    Append(Box<str>),
}

#[derive(Clone, Debug)]
struct Edit {
    name: Box<str>,
    change: Change,
    /// The hosts that the edit applies to; `None` for all.
    pattern: Option<Box<Pattern>>,
}

/// All edits of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    requests: Vec<Edit>,
    responses: Vec<Edit>,
}

impl Edits {
    /// Reads and keeps `NAME [PATTERN]`: removes the field, for all hosts or for those of the pattern.
    pub fn parse_remove(&mut self, direction: Direction, text: &str) -> Result<(), ParseError> {
        self.insert(direction, text, read_remove)
    }

    /// Reads and keeps `[append] NAME: VALUE [if PATTERN]`: adds the field, in place of received ones unless it is
    /// appended. The last ` if ` always begins a pattern.
    pub fn parse_add(&mut self, direction: Direction, text: &str) -> Result<(), ParseError> {
        self.insert(direction, text, read_add)
    }

    /// Removes all of [`ANONYMOUS_FIELDS`] from requests.
    pub fn remove_anonymous_fields(&mut self) {
        let removals = ANONYMOUS_FIELDS.iter().map(|&name| Edit {
            name: name.into(),
            change: Change::Remove,
            pattern: None,
        });
        self.requests.extend(removals);
    }

    /// Removes a field that is for weir only from all requests.
    pub fn remove_internal_field(&mut self, name: &str) {
        self.requests.push(Edit { name: name.into(), change: Change::Remove, pattern: None });
    }

    /// Whether there are no edits.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.responses.is_empty()
    }

    /// The edits for messages of one direction to or from a host.
    pub fn for_host<'a>(&'a self, direction: Direction, host: &'a Host) -> HostEdits<'a> {
        let edits = match direction {
            Direction::Request => &self.requests,
            Direction::Response => &self.responses,
        };
        HostEdits { edits, host }
    }

    fn insert(
        &mut self,
        direction: Direction,
        text: &str,
        read: fn(&str) -> Result<Edit, &'static str>,
    ) -> Result<(), ParseError> {
        let full = self.requests.len() + self.responses.len() >= EDITS_MAX;
        let edit = if full {
            Err(EXPECTED_FEWER)
        } else if text.len() > EDIT_BYTES_MAX {
            Err(EXPECTED_SHORT)
        } else {
            read(text)
        };
        let edit = edit.map_err(|expected| ParseError::new(text, FOUND_CHARS_MAX, expected))?;
        match direction {
            Direction::Request => self.requests.push(edit),
            Direction::Response => self.responses.push(edit),
        }
        Ok(())
    }
}

/// The edits for one host and direction.
#[derive(Clone, Copy, Debug)]
pub struct HostEdits<'a> {
    edits: &'a [Edit],
    host: &'a Host,
}

impl<'a> HostEdits<'a> {
    /// Whether the edits certainly change nothing.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// The names of fields to remove or replace, as configured; compare them without case.
    pub fn removed(self) -> impl Iterator<Item = &'a str> {
        self.matching().filter_map(|edit| match &edit.change {
            Change::Remove | Change::Replace(_) => Some(&*edit.name),
            Change::Append(_) => None,
        })
    }

    /// Names and values of the fields to add, in configured order, after the removal.
    pub fn added(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.matching().filter_map(|edit| match &edit.change {
            Change::Remove => None,
            Change::Replace(value) | Change::Append(value) => Some((&*edit.name, &**value)),
        })
    }

    fn matching(self) -> impl Iterator<Item = &'a Edit> {
        self.edits.iter().filter(move |edit| match &edit.pattern {
            Some(pattern) => pattern.matches(self.host),
            None => true,
        })
    }
}

impl forwarding::Edits for HostEdits<'_> {
    fn removes_nothing(&self) -> bool {
        self.is_empty()
    }

    fn removes(&self, name: &str) -> bool {
        self.removed().any(|removed| removed.eq_ignore_ascii_case(name))
    }

    fn write_added(&self, out: &mut Vec<u8>) {
        for (name, value) in self.added() {
            forwarding::write_field(out, name, value.as_bytes());
        }
    }
}

fn read_remove(text: &str) -> Result<Edit, &'static str> {
    let mut words = text.split_ascii_whitespace();
    let (Some(name), pattern, None) = (words.next(), words.next(), words.next()) else {
        return Err(EXPECTED_REMOVE);
    };
    let pattern = pattern.map(read_pattern).transpose()?;
    Ok(Edit { name: read_name(name)?, change: Change::Remove, pattern })
}

fn read_add(text: &str) -> Result<Edit, &'static str> {
    let (name, rest) = text.split_once(':').ok_or(EXPECTED_ADD)?;
    let (value, pattern) = match rest.rsplit_once(" if ") {
        Some((value, pattern)) => (value, Some(read_pattern(pattern.trim())?)),
        None => (rest, None),
    };
    let value = value.trim_matches([' ', '\t']);
    if value.chars().any(|c| c.is_control() && c != '\t') {
        return Err(EXPECTED_VALUE);
    }
    // A field name contains no blank, so this is not a field named `append`.
    let name = name.trim_start();
    let appended = name.strip_prefix(APPEND).filter(|rest| rest.starts_with([' ', '\t']));
    let change = match appended {
        Some(_) => Change::Append(value.into()),
        None => Change::Replace(value.into()),
    };
    Ok(Edit { name: read_name(appended.unwrap_or(name).trim_start())?, change, pattern })
}

fn read_name(name: &str) -> Result<Box<str>, &'static str> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(EXPECTED_NAME);
    }
    if PROTECTED_FIELDS.iter().any(|other| other.eq_ignore_ascii_case(name)) {
        return Err(EXPECTED_OTHER);
    }
    Ok(name.into())
}

fn read_pattern(text: &str) -> Result<Box<Pattern>, &'static str> {
    match Rule::parse(text) {
        Ok(Rule { pattern, ports: None }) => Ok(Box::new(pattern)),
        Ok(Rule { ports: Some(_), .. }) | Err(_) => Err(EXPECTED_PATTERN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::forwarding::Edits as _;
    use crate::http::target::Name;

    fn host(text: &str) -> Host {
        match text.parse() {
            Ok(address) => Host::Address(address),
            Err(_) => Host::Name(Name::parse(text.as_bytes()).unwrap()),
        }
    }

    #[test]
    fn edits_apply_to_their_direction_and_hosts() {
        let mut edits = Edits::default();
        for text in ["X-All", "X-Exact a.example", "X-Below *.example", "X-Net 192.0.2.0/24"] {
            edits.parse_remove(Direction::Request, text).unwrap();
        }
        edits.parse_add(Direction::Request, "X-Who: weir: the one if you ask if .example").unwrap();
        edits.parse_add(Direction::Request, "X-Empty:").unwrap();
        edits.parse_add(Direction::Response, "X-Back:\t back \t").unwrap();
        edits.parse_remove(Direction::Response, "Server").unwrap();
        type Case =
            (Direction, &'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);
        const WHO: (&str, &str) = ("X-Who", "weir: the one if you ask");
        let cases: [Case; 5] = [
            (
                Direction::Request,
                "a.example",
                &["X-All", "X-Exact", "X-Below", "X-Who", "X-Empty"],
                &[WHO, ("X-Empty", "")],
            ),
            (
                Direction::Request,
                "b.example",
                &["X-All", "X-Below", "X-Who", "X-Empty"],
                &[WHO, ("X-Empty", "")],
            ),
            (Direction::Request, "192.0.2.9", &["X-All", "X-Net", "X-Empty"], &[("X-Empty", "")]),
            (Direction::Request, "other.test", &["X-All", "X-Empty"], &[("X-Empty", "")]),
            (Direction::Response, "other.test", &["X-Back", "Server"], &[("X-Back", "back")]),
        ];
        for (direction, to, removed, added) in cases {
            let to = host(to);
            let found = edits.for_host(direction, &to);
            assert!(!found.is_empty());
            assert_eq!(found.removed().collect::<Vec<_>>(), removed, "{to:?}");
            assert_eq!(found.added().collect::<Vec<_>>(), added, "{to:?}");
        }
        let to = host("other.test");
        assert!(edits.for_host(Direction::Response, &to).removes("SERVER"));
        assert!(!edits.for_host(Direction::Request, &to).removes("Server"));
        assert!(Edits::default().is_empty() && Edits::default().for_host(Direction::Request, &to).is_empty());
    }

    /// Rule 49: an added value replaces the received ones, unless it is appended, and only for the hosts of the edit.
    #[test]
    fn kind_19_additions_replace_unless_they_are_appended() {
        let mut edits = Edits::default();
        for text in
            ["X-A: 1", "append X-B: 2", "append\tX-C:3 if .example", "append: 4", "X-D: 5 if .example"]
        {
            edits.parse_add(Direction::Request, text).unwrap();
        }
        let to = host("a.example");
        let found = edits.for_host(Direction::Request, &to);
        assert_eq!(found.removed().collect::<Vec<_>>(), ["X-A", "append", "X-D"]);
        let added = [("X-A", "1"), ("X-B", "2"), ("X-C", "3"), ("append", "4"), ("X-D", "5")];
        assert_eq!(found.added().collect::<Vec<_>>(), added);
        let other = host("other.test");
        let found = edits.for_host(Direction::Request, &other);
        assert!(!found.removes("x-d") && found.removes("x-a"));
    }

    #[test]
    fn bad_edits_say_what_was_expected() {
        let removals = [
            ("", EXPECTED_REMOVE),
            ("A b c", EXPECTED_REMOVE),
            ("A:", EXPECTED_NAME),
            ("Ä", EXPECTED_NAME),
            ("Host", EXPECTED_OTHER),
            ("content-LENGTH", EXPECTED_OTHER),
            ("Transfer-Encoding a.example", EXPECTED_OTHER),
            ("Connection", EXPECTED_OTHER),
            ("Proxy-Authorization", EXPECTED_OTHER),
            ("A a.example:80", EXPECTED_PATTERN),
            ("A a*b.example", EXPECTED_PATTERN),
        ];
        let additions = [
            ("", EXPECTED_ADD),
            ("A", EXPECTED_ADD),
            (": v", EXPECTED_NAME),
            ("A : v", EXPECTED_NAME),
            ("append A b: v", EXPECTED_NAME),
            ("append : v", EXPECTED_NAME),
            ("Append A: v", EXPECTED_NAME),
            ("append Host: v", EXPECTED_OTHER),
            ("A b: v", EXPECTED_NAME),
            ("A: v\r\nB: w", EXPECTED_VALUE),
            ("A: v\nB: w", EXPECTED_VALUE),
            ("A: \u{0}", EXPECTED_VALUE),
            ("A: v\u{7f}", EXPECTED_VALUE),
            ("host: v", EXPECTED_OTHER),
            ("TE: trailers", EXPECTED_OTHER),
            ("A: v if ", EXPECTED_PATTERN),
            ("A: v if b c", EXPECTED_PATTERN),
        ];
        let mut edits = Edits::default();
        for (text, expected) in removals {
            let error = edits.parse_remove(Direction::Request, text).unwrap_err();
            assert_eq!(error.expected, expected, "{text:?}");
        }
        for (text, expected) in additions {
            let error = edits.parse_add(Direction::Request, text).unwrap_err();
            assert_eq!(error.expected, expected, "{text:?}");
            assert!(!error.found.contains(char::is_control), "{text:?}");
        }
        assert!(edits.is_empty());
    }

    #[test]
    fn edits_are_bounded() {
        let mut edits = Edits::default();
        let long = format!("A: {}", "v".repeat(EDIT_BYTES_MAX));
        let error = edits.parse_add(Direction::Request, &long).unwrap_err();
        assert_eq!((error.expected, error.found.len()), (EXPECTED_SHORT, 80));
        for _ in 0..EDITS_MAX {
            edits.parse_remove(Direction::Response, "A").unwrap();
        }
        assert_eq!(edits.parse_remove(Direction::Request, "A").unwrap_err().expected, EXPECTED_FEWER);
    }

    #[test]
    fn anonymous_fields_are_removed() {
        let mut edits = Edits::default();
        edits.remove_anonymous_fields();
        let to = host("a.example");
        for name in ["Referer", "From", "X-Forwarded-For"] {
            assert!(edits.for_host(Direction::Request, &to).removes(name), "{name}");
        }
        assert!(!edits.for_host(Direction::Request, &to).removes("Cookie"));
        assert!(edits.for_host(Direction::Response, &to).is_empty());
    }
}
