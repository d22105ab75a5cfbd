//! Cache-Control of requests and responses (RFC 9111 section 5.2), Pragma, and targeted fields (RFC 9213).

use crate::http::block::FieldLines;
use crate::http::fields::{is_token, list, trim};

/// The largest delta-seconds; larger values are read as this one (RFC 9111 section 1.2.2).
pub const SECONDS_MAX: u32 = 1 << 31;

/// The cache directives of a request. Times are seconds, at most [`SECONDS_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// The request has Cache-Control, with any content.
    pub present: bool,
    /// The response may be no older than this; 0 if the value is no number.
    pub max_age_s: Option<u32>,
    /// The response must stay fresh for this long.
    pub min_fresh_s: Option<u32>,
    /// The response may be stale for this long; without a value for any time.
    pub max_stale_s: Option<u32>,
    /// The response may be stale for this long if the origin fails (RFC 5861 section 4).
    pub if_error_s: Option<u32>,
    /// The response must be validated first; also `Pragma: no-cache` without Cache-Control.
    pub no_cache: bool,
    /// Nothing of this request and its response may be stored.
    pub no_store: bool,
    /// The response comes from the cache, or is 504.
    pub only_if_cached: bool,
}

impl RequestDirectives {
    /// Reads the directives from the fields of a request.
    pub fn read<'b>(fields: impl FieldLines<'b>) -> RequestDirectives {
        let mut found = RequestDirectives::default();
        for directive in directives(fields, "cache-control") {
            found.present = true;
            found.apply(&directive);
        }
        // RFC 9111 section 5.4: only where Cache-Control does not say otherwise.
        if !fields.contains("cache-control") {
            found.no_cache = directives(fields, "pragma").any(|directive| directive.is("no-cache"));
        }
        found
    }

    fn apply(&mut self, directive: &Directive<'_>) {
        match directive.name {
            // A value that cannot be read counts as the strictest one.
            name if is(name, "max-age") => set_once(&mut self.max_age_s, directive.seconds().unwrap_or(0)),
            name if is(name, "min-fresh") => {
                set_once(&mut self.min_fresh_s, directive.seconds().unwrap_or(SECONDS_MAX));
            }
            name if is(name, "max-stale") => match directive.argument {
                Argument::None => set_once(&mut self.max_stale_s, SECONDS_MAX),
                Argument::Token(_) | Argument::Quoted(_) | Argument::Invalid => {
                    set_once(&mut self.max_stale_s, directive.seconds().unwrap_or(0));
                }
            },
            name if is(name, "stale-if-error") => {
                set_once(&mut self.if_error_s, directive.seconds().unwrap_or(0));
            }
            name if is(name, "no-cache") => self.no_cache = true,
            name if is(name, "no-store") => self.no_store = true,
            name if is(name, "only-if-cached") => self.only_if_cached = true,
            _ => {}
        }
    }
}

/// The cache directives of a response. Times are seconds, at most [`SECONDS_MAX`]; a value that is no number is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseDirectives {
    /// The response has Cache-Control, or a valid field targeted at this cache.
    pub present: bool,
    /// The directives come from a targeted field, which replaces Cache-Control and Expires (RFC 9213 section 2.2).
    pub targeted: bool,
    /// Fresh for this long, in all caches.
    pub max_age_s: Option<u32>,
    /// Fresh for this long, in shared caches.
    pub s_maxage_s: Option<u32>,
    /// May be sent stale for this long while it is fetched again (RFC 5861 section 3).
    pub while_revalidate_s: Option<u32>,
    /// May be sent stale for this long if the origin fails (RFC 5861 section 4).
    pub if_error_s: Option<u32>,
    /// Must not be stored.
    pub no_store: bool,
    /// Must not be stored by a shared cache.
    pub private: bool,
    /// `private` names fields; a shared cache must not store those.
    pub private_fields: bool,
    /// Must not be used without validation.
    pub no_cache: bool,
    /// `no-cache` names fields; those must not be used without validation.
    pub no_cache_fields: bool,
    /// May be stored although another condition forbids it by default.
    pub public: bool,
    /// Must not be used stale.
    pub must_revalidate: bool,
    /// Must not be used stale by a shared cache.
    pub proxy_revalidate: bool,
    /// May be stored only by a cache that knows the status.
    pub must_understand: bool,
}

impl ResponseDirectives {
    /// Reads Cache-Control of a response.
    pub(in crate::cache) fn of_cache_control<'b>(fields: impl FieldLines<'b>) -> ResponseDirectives {
        let mut found = ResponseDirectives::default();
        for directive in directives(fields, "cache-control") {
            found.present = true;
            found.apply(&directive);
        }
        found
    }

    fn apply(&mut self, directive: &Directive<'_>) {
        let seconds = || directive.seconds().unwrap_or(0);
        match directive.name {
            name if is(name, "max-age") => set_once(&mut self.max_age_s, seconds()),
            name if is(name, "s-maxage") => set_once(&mut self.s_maxage_s, seconds()),
            name if is(name, "stale-while-revalidate") => set_once(&mut self.while_revalidate_s, seconds()),
            name if is(name, "stale-if-error") => set_once(&mut self.if_error_s, seconds()),
            name if is(name, "no-store") => self.no_store = true,
            name if is(name, "private") => match directive.field_names() {
                Some(_) => self.private_fields = true,
                None => self.private = true,
            },
            name if is(name, "no-cache") => match directive.field_names() {
                Some(_) => self.no_cache_fields = true,
                None => self.no_cache = true,
            },
            name if is(name, "must-revalidate") => self.must_revalidate = true,
            name if is(name, "proxy-revalidate") => self.proxy_revalidate = true,
            // A directive that allows more must be exact; a directive that allows less need not be.
            name if is(name, "public") => self.public |= directive.argument == Argument::None,
            name if is(name, "must-understand") => {
                self.must_understand |= directive.argument == Argument::None
            }
            _ => {}
        }
    }

    /// Whether a stale response is forbidden whatever happens (RFC 9111 section 4.2.4).
    pub fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.no_cache || self.s_maxage_s.is_some()
    }

    /// Whether the response to a request with credentials may be stored and sent to other clients (RFC 9111 section
    /// 3.5).
    pub fn allows_authorized(&self) -> bool {
        self.public || self.must_revalidate || self.s_maxage_s.is_some()
    }
}

/// Whether `private` or `no-cache` of this response names that field, which is then not stored.
pub fn is_withheld<'b>(fields: impl FieldLines<'b>, name: &str) -> bool {
    directives(fields, "cache-control")
        .filter(|directive| directive.is("private") || directive.is("no-cache"))
        .filter_map(|directive| directive.field_names())
        .any(|names| list(names).any(|listed| listed.eq_ignore_ascii_case(name.as_bytes())))
}

/// Fields that a stored response must have: if one of these is withheld, the whole response is.
const NEEDED: [&str; 10] = [
    "age",
    "cache-control",
    "content-encoding",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expires",
    "last-modified",
    "vary",
];

/// Of several values the first counts (rule 5).
fn set_once(to: &mut Option<u32>, seconds: u32) {
    to.get_or_insert(seconds);
}

fn is(name: &[u8], known: &str) -> bool {
    name.eq_ignore_ascii_case(known.as_bytes())
}

/// One directive of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Directive<'b> {
    name: &'b [u8],
    argument: Argument<'b>,
}

/// The text after the equals sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Argument<'b> {
    /// There is no equals sign.
    None,
    Token(&'b [u8]),
    /// The text between the quotes, with its backslashes.
    Quoted(&'b [u8]),
    /// Neither a token nor a quoted string, or with blanks around the equals sign.
    Invalid,
}

impl<'b> Directive<'b> {
    fn parse(member: &'b [u8]) -> Directive<'b> {
        let Some(at) = memchr::memchr(b'=', member) else {
            return Directive { name: member, argument: Argument::None };
        };
        let (name, value) = (trim(&member[..at]), &member[at + 1..]);
        let argument = match value {
            _ if name.len() != at => Argument::Invalid,
            [b'"', inner @ .., b'"'] if is_quoted_text(inner) => Argument::Quoted(inner),
            value if is_token(value) => Argument::Token(value),
            _ => Argument::Invalid,
        };
        Directive { name, argument }
    }

    fn is(&self, known: &str) -> bool {
        is(self.name, known)
    }

    /// delta-seconds (RFC 9111 section 1.2.2), also in quotes (section 5.2). `None` if it is no number.
    fn seconds(&self) -> Option<u32> {
        match self.argument {
            Argument::Token(digits) | Argument::Quoted(digits) => delta_seconds(digits),
            Argument::None | Argument::Invalid => None,
        }
    }

    /// The field names of a qualified `private` or `no-cache` (RFC 9111 sections 5.2.2.4 and 5.2.2.7); some origins
    /// leave out the quotes. `None` for the unqualified form, and for anything unclear, because the unqualified form
    /// is stricter.
    fn field_names(&self) -> Option<&'b [u8]> {
        match self.argument {
            Argument::Token(names) | Argument::Quoted(names) => {
                let valid = |name: &[u8]| is_token(name) && !NEEDED.iter().any(|needed| is(name, needed));
                (list(names).next().is_some() && list(names).all(valid)).then_some(names)
            }
            Argument::None | Argument::Invalid => None,
        }
    }
}

/// A number of seconds, at most [`SECONDS_MAX`]. `None` if there are other bytes than digits.
pub fn delta_seconds(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let saturated = digits
        .iter()
        .fold(0u64, |sum, digit| (sum * 10 + u64::from(digit - b'0')).min(u64::from(SECONDS_MAX)));
    u32::try_from(saturated).ok()
}

/// Whether a text has no unescaped quote.
fn is_quoted_text(inner: &[u8]) -> bool {
    let mut escaped = false;
    for &byte in inner {
        match byte {
            b'"' if !escaped => return false,
            b'\\' if !escaped => escaped = true,
            _ => escaped = false,
        }
    }
    !escaped
}

/// The directives of all fields of that name, in order.
fn directives<'b>(fields: impl FieldLines<'b>, name: &str) -> impl Iterator<Item = Directive<'b>> {
    fields.values(name).flat_map(|value| Members { rest: value, quotes: true }).map(Directive::parse)
}

/// Members of a list, as [`list`] splits it, but an opening quote without a closing one is an ordinary byte: it must
/// not hide the directives that follow it.
struct Members<'b> {
    rest: &'b [u8],
    // False behind the first quote without a closing one.
    quotes: bool,
}

impl<'b> Iterator for Members<'b> {
    type Item = &'b [u8];

    fn next(&mut self) -> Option<&'b [u8]> {
        while !self.rest.is_empty() {
            let end = self.member_end();
            let member = trim(&self.rest[..end]);
            self.rest = self.rest.get(end + 1..).unwrap_or_default();
            if !member.is_empty() {
                return Some(member);
            }
        }
        None
    }
}

impl Members<'_> {
    fn member_end(&mut self) -> usize {
        let mut at = 0;
        while let Some(found) = memchr::memchr2(b',', b'"', &self.rest[at..]).map(|found| at + found) {
            if self.rest[found] == b',' {
                return found;
            }
            at = found + 1;
            if self.quotes {
                match closing_quote(&self.rest[at..]) {
                    Some(closing) => at += closing + 1,
                    None => self.quotes = false,
                }
            }
        }
        self.rest.len()
    }
}

fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::block::FieldBlock;

    fn response(lines: &str) -> ResponseDirectives {
        let text = lines.split('|').map(|line| format!("Cache-Control: {line}\r\n")).collect::<String>();
        ResponseDirectives::read(FieldBlock::new(text.as_bytes()), &[])
    }

    fn request(text: &str) -> RequestDirectives {
        RequestDirectives::read(FieldBlock::new(text.as_bytes()))
    }

    #[test]
    fn rule_01_unknown_directives_are_ignored() {
        let plain = response("max-age=10, public");
        for lines in [
            "max-age=10, foo, public",
            "foo=bar, max-age=10, public, x=\"a, b=c\"",
            "max-age=10;q=1, max-age=10, public",
            "max-age-x=5, xmax-age=6, max-age=10, public",
            "=5, max-age=10, public, ===, \u{e9}=1",
        ] {
            let found = response(lines);
            let expected = if lines.starts_with("max-age=10;") {
                ResponseDirectives { max_age_s: Some(0), ..plain }
            } else {
                plain
            };
            assert_eq!(found, expected, "{lines}");
        }
        let asked = request("Cache-Control: foo, max-age=10, x=\"no-store\"\r\n");
        assert_eq!(
            asked,
            RequestDirectives { present: true, max_age_s: Some(10), ..RequestDirectives::default() }
        );
    }

    #[test]
    fn rule_02_names_in_any_case_and_quoted_strings() {
        for (lines, max_age_s, no_store, private) in [
            ("MaX-AgE=10", Some(10), false, false),
            ("NO-STORE", None, true, false),
            ("Private", None, false, true),
            ("x=\"no-store, private, max-age=5\", max-age=10", Some(10), false, false),
            ("x=\"a\\\", no-store\", max-age=10", Some(10), false, false),
            ("x=\"a\\\\\", no-store", None, true, false),
            ("max-age=\"10\"", Some(10), false, false),
            // A quote that is not closed hides nothing.
            ("x=\"a, no-store", None, true, false),
            ("x=\"a, y=\"b, no-store, private", None, true, true),
            ("x=\"a\", y=\"b, no-store", None, true, false),
            ("max-age=10, private=\"a", Some(10), false, true),
        ] {
            let found = response(lines);
            assert_eq!(
                (found.max_age_s, found.no_store, found.private),
                (max_age_s, no_store, private),
                "{lines}"
            );
        }
    }

    #[test]
    fn rule_03_seconds() {
        for (text, seconds) in [
            ("0", 0),
            ("10", 10),
            ("0000000000000000000000010", 10),
            ("2147483647", SECONDS_MAX - 1),
            ("2147483648", SECONDS_MAX),
            ("2147483649", SECONDS_MAX),
            ("4294967296", SECONDS_MAX),
            ("99999999999999999999999999999999999999", SECONDS_MAX),
            ("\"20\"", 20),
            // No numbers: stale.
            ("", 0),
            ("-1", 0),
            ("+1", 0),
            ("1.5", 0),
            ("1e3", 0),
            ("0x10", 0),
            ("'10'", 0),
            ("10 ", 10),
            (" 10", 0),
            ("10 no-transform", 0),
            ("\"10", 0),
            ("10\"", 0),
            ("\"-1\"", 0),
            ("a", 0),
        ] {
            for name in ["max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"] {
                let found = response(&format!("{name}={text}"));
                let all = [found.max_age_s, found.s_maxage_s, found.while_revalidate_s, found.if_error_s];
                assert_eq!(all.into_iter().flatten().collect::<Vec<_>>(), [seconds], "{name}={text}");
            }
        }
        for lines in ["max-age", "max-age =10"] {
            assert_eq!(response(lines).max_age_s, Some(0), "{lines}");
        }
    }

    #[test]
    fn rule_04_lines_combine() {
        let found = response("max-age=10|s-maxage=20, no-cache|must-revalidate||proxy-revalidate");
        assert_eq!(
            found,
            ResponseDirectives {
                present: true,
                max_age_s: Some(10),
                s_maxage_s: Some(20),
                no_cache: true,
                must_revalidate: true,
                proxy_revalidate: true,
                ..ResponseDirectives::default()
            }
        );
        assert_eq!(response(""), ResponseDirectives::default());
        assert_eq!(response(" , ,"), ResponseDirectives::default());
    }

    #[test]
    fn rule_05_the_first_of_two_counts() {
        for (lines, max_age_s) in [
            ("max-age=10, max-age=20", 10),
            ("max-age=20, max-age=10", 20),
            ("max-age=10|max-age=20", 10),
            ("max-age=a, max-age=20", 0),
        ] {
            assert_eq!(response(lines).max_age_s, Some(max_age_s), "{lines}");
        }
    }

    #[test]
    fn rule_17_must_understand_and_public_are_exact() {
        for (lines, public, must_understand) in [
            ("public, must-understand", true, true),
            ("PUBLIC|Must-Understand", true, true),
            ("public=1, must-understand=\"x\"", false, false),
            ("public;x, must-understand x", false, false),
        ] {
            let found = response(lines);
            assert_eq!((found.public, found.must_understand), (public, must_understand), "{lines}");
        }
    }

    #[test]
    fn rule_18_and_19_with_and_without_fields() {
        for (argument, qualified) in [
            ("", false),
            ("=", false),
            ("=\"\"", false),
            ("=\",\"", false),
            ("=\"Set-Cookie\"", true),
            ("=\"Set-Cookie, X-A\"", true),
            ("=Set-Cookie", true),
            ("=\"Set-Cookie, Cache-Control\"", false),
            ("=vary", false),
            ("=\"a b\"", false),
            ("=\"a", false),
            ("=(a)", false),
            (" =\"a\"", false),
            ("= \"a\"", false),
        ] {
            let found = response(&format!("private{argument}"));
            assert_eq!((found.private, found.private_fields), (!qualified, qualified), "{argument}");
            let found = response(&format!("no-cache{argument}"));
            assert_eq!((found.no_cache, found.no_cache_fields), (!qualified, qualified), "{argument}");
        }
        assert!(response("no-store=1").no_store && response("no-store=\"a\"").no_store);
        let fields =
            FieldBlock::new(b"Cache-Control: private=\"a, B\"\r\nCache-Control: x=y, no-cache=c\r\n");
        for (name, withheld) in [("A", true), ("b", true), ("C", true), ("y", false), ("private", false)] {
            assert_eq!(is_withheld(fields, name), withheld, "{name}");
        }
    }

    #[test]
    fn rule_39_of_requests() {
        let none = RequestDirectives::default();
        let some = RequestDirectives { present: true, ..none };
        for (text, expected) in [
            ("", none),
            ("Cache-Control: max-age=5", RequestDirectives { max_age_s: Some(5), ..some }),
            ("Cache-Control: max-age=x", RequestDirectives { max_age_s: Some(0), ..some }),
            ("Cache-Control: min-fresh=5", RequestDirectives { min_fresh_s: Some(5), ..some }),
            ("Cache-Control: min-fresh=-5", RequestDirectives { min_fresh_s: Some(SECONDS_MAX), ..some }),
            ("Cache-Control: max-stale", RequestDirectives { max_stale_s: Some(SECONDS_MAX), ..some }),
            ("Cache-Control: max-stale=9", RequestDirectives { max_stale_s: Some(9), ..some }),
            ("Cache-Control: max-stale=x", RequestDirectives { max_stale_s: Some(0), ..some }),
            ("Cache-Control: stale-if-error=9", RequestDirectives { if_error_s: Some(9), ..some }),
            ("Cache-Control: no-cache", RequestDirectives { no_cache: true, ..some }),
            ("Cache-Control: No-Store", RequestDirectives { no_store: true, ..some }),
            ("Cache-Control: only-if-cached", RequestDirectives { only_if_cached: true, ..some }),
            ("Pragma: no-cache", RequestDirectives { no_cache: true, ..none }),
            ("Pragma: x, NO-CACHE", RequestDirectives { no_cache: true, ..none }),
            ("Pragma: x", none),
            (
                "Pragma: no-cache\r\nCache-Control: max-age=5",
                RequestDirectives { max_age_s: Some(5), ..some },
            ),
            ("Pragma: no-cache\r\nCache-Control:", none),
        ] {
            assert_eq!(request(&format!("{text}\r\n")), expected, "{text}");
        }
    }

    #[test]
    fn members_take_one_look_at_each_byte() {
        // Quadratic, these would take minutes.
        for text in ["\"", "\",", "\"\\\""] {
            let _ = response(&format!("x={}", text.repeat(100_000)));
        }
    }
}
