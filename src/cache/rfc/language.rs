//! Selects a stored variant by language, where none was stored for exactly this Accept-Language (RFC 9110 section
//! 12.5.4, RFC 9111 section 4.1).
//!
//! Clients of one language write Accept-Language in many ways and get the same page. Content-Language tells the
//! language of a variant. A variant answers another request if that request prefers its language to all others: the
//! origin could send nothing better. If only a less preferred language is stored, the request goes to the origin,
//! which may have the preferred one.
//!
//! All other selecting fields must be equal. The request that brought the variant must have accepted its language,
//! too: an origin sends a language that it has to a client that prefers another one, and some origins label all pages
//! with one language.

use crate::cache::rfc::vary::{SORTED_MAX, split_names, weighted, write_selecting};
use crate::http::block::{FieldBlock, FieldLines};
use crate::http::fields::list;

const NAME: &str = "accept-language";

/// A language range, or a tag, with a quality in thousandths.
type Weighted<'a> = (&'a [u8], u16);

/// The language preferences of a request.
#[derive(Debug)]
struct Preferences<'a> {
    ranges: [Weighted<'a>; SORTED_MAX],
    count: usize,
}

impl<'a> Preferences<'a> {
    /// Reads the members. `None` if a member is invalid, or there are too many.
    fn read(members: impl Iterator<Item = Option<Weighted<'a>>>) -> Option<Preferences<'a>> {
        let mut preferences = Preferences { ranges: [(b"", 0); SORTED_MAX], count: 0 };
        for member in members {
            *preferences.ranges.get_mut(preferences.count)? = member?;
            preferences.count += 1;
        }
        Some(preferences)
    }

    /// The preferences in a selecting form (see [`crate::cache::rfc::vary::write_selecting`]).
    fn of_selecting(form: &'a [u8]) -> Option<Preferences<'a>> {
        let members = form.strip_prefix(b"w")?.split(|&byte| byte == b',');
        Preferences::read(members.map(|member| match memchr::memchr(b';', member) {
            None => Some((member, 1000)),
            Some(at) => Some((&member[..at], std::str::from_utf8(&member[at + 1..]).ok()?.parse().ok()?)),
        }))
    }

    fn ranges(&self) -> &[Weighted<'a>] {
        &self.ranges[..self.count]
    }

    /// The quality of a language: the quality of the longest range that matches it (RFC 4647 section 3.3.1), or 0.
    fn quality(&self, tag: &[u8]) -> u16 {
        let matching = self.ranges().iter().filter(|(range, _)| matches(range, tag));
        matching
            .max_by_key(|(range, _)| if *range == b"*" { 0 } else { range.len() })
            .map_or(0, |range| range.1)
    }

    /// The preferred range: the first one of the highest quality, because many clients order their ranges.
    fn best(&self) -> Option<Weighted<'a>> {
        let liked = self.ranges().iter().filter(|(_, quality)| *quality > 0);
        liked.rev().max_by_key(|(_, quality)| *quality).copied()
    }
}

/// Basic filtering (RFC 4647 section 3.3.1).
fn matches(range: &[u8], tag: &[u8]) -> bool {
    let same = tag.get(..range.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(range));
    range == b"*" || (same && matches!(tag.get(range.len()), None | Some(b'-')))
}

/// Whether a variant with these names, this selecting form and these fields is in the language that a request
/// prefers, and equal in all other selecting fields. `Some(true)` if the language is exactly the preferred one,
/// `Some(false)` if it is a more specific one. `scratch` is a buffer for reuse.
pub fn prefers<'b>(
    names: &[u8],
    selecting: &[u8],
    stored: FieldBlock<'_>,
    request: impl FieldLines<'b>,
    scratch: &mut Vec<u8>,
) -> Option<bool> {
    let varies = || split_names(names).zip(selecting.split(|&byte| byte == b'\n'));
    let (_, brought_by) = varies().find(|(name, _)| *name == NAME)?;
    let preferences = Preferences::read(request.values(NAME).flat_map(list).map(weighted))?;
    let (best, quality) = preferences.best()?;
    let brought_by = Preferences::of_selecting(brought_by)?;
    let mut languages = stored.values("content-language").flat_map(list);
    let tag = languages.next().filter(|_| languages.next().is_none())?;
    if !matches(best, tag) || preferences.quality(tag) < quality || brought_by.quality(tag) == 0 {
        return None;
    }
    for (name, form) in varies().filter(|(name, _)| *name != NAME) {
        scratch.clear();
        write_selecting(scratch, name.as_bytes(), request).ok()?;
        if scratch.strip_suffix(b"\n") != Some(form) {
            return None;
        }
    }
    Some(tag.len() == best.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::rfc::vary::write_names;

    /// Whether the response to the first request, in that language, answers the second request. Lines are divided by
    /// `|`.
    fn prefers_it(vary: &str, one: &str, language: &str, other: &str) -> Option<bool> {
        let lines = |text: &str| {
            text.split('|')
                .filter(|line| !line.is_empty())
                .map(|line| format!("{line}\r\n"))
                .collect::<String>()
        };
        let (mut names, mut selecting) = (Vec::new(), Vec::new());
        write_names(&mut names, FieldBlock::new(format!("Vary: {vary}\r\n").as_bytes())).unwrap();
        write_selecting(&mut selecting, &names, FieldBlock::new(lines(one).as_bytes())).unwrap();
        let stored = lines(&format!("A: 1|{language}"));
        let (other, mut scratch) = (lines(other), b"old".to_vec());
        let (stored, other) = (FieldBlock::new(stored.as_bytes()), FieldBlock::new(other.as_bytes()));
        prefers(&names, &selecting, stored, other, &mut scratch)
    }

    #[test]
    fn rule_27_the_language_that_is_liked_best() {
        let german = |other: &str| {
            prefers_it("Accept-Language", "Accept-Language: en, de", "Content-Language: de", other)
        };
        for (other, expected) in [
            ("fr;q=0.5, de;q=1.0", Some(true)),
            ("de", Some(true)),
            ("DE, en;q=0.3", Some(true)),
            ("en;q=0.8, de;q=0.9", Some(true)),
            ("de;q=0.001", Some(true)),
            ("de, en", Some(true)),
            ("*", Some(false)),
            ("*, en;q=0", Some(false)),
            ("de, *;q=0.5", Some(true)),
            // The origin may have a language that is preferred, or comes first.
            ("fr, de;q=0.9", None),
            ("en, de", None),
            ("*, de;q=0.9", None),
            ("de-AT, de;q=0.9", None),
            // A language that is not accepted.
            ("en", None),
            ("de;q=0", None),
            ("de;q=0, *", None),
            ("d", None),
            ("de-AT", None),
            // Invalid lists.
            ("", None),
            ("de;q=2", None),
            ("de, en;level=1", None),
        ] {
            assert_eq!(german(&format!("Accept-Language: {other}")), expected, "{other}");
        }
        assert_eq!(german(""), None);
        assert_eq!(german("Accept-Language: fr;q=0.2|Accept-Language: de"), Some(true));
        let many: Vec<String> = (0..=SORTED_MAX).map(|number| format!("l{number};q=0.5")).collect();
        assert_eq!(german(&format!("Accept-Language: de, {}", many.join(", "))), None);
    }

    #[test]
    fn rule_27_tags_and_ranges() {
        for (language, other, expected) in [
            ("de-AT", "de", Some(false)),
            ("de-AT", "de-at", Some(true)),
            ("de-AT", "de, de-CH;q=0.5", Some(false)),
            ("de-AT", "de, de-AT;q=0.5", None),
            ("de-AT", "de;q=0.5, de-AT", Some(true)),
            ("de-AT-1901", "de-AT", Some(false)),
            ("de-ATX", "de-AT", None),
            ("den", "de", None),
            ("de", "den", None),
        ] {
            let (one, language) = ("Accept-Language: *", format!("Content-Language: {language}"));
            let found = prefers_it("Accept-Language", one, &language, &format!("Accept-Language: {other}"));
            assert_eq!(found, expected, "{language} {other}");
        }
        // No language, or several.
        for language in
            ["", "Content-Language:", "Content-Language: de, en", "Content-Language: de|Content-Language: en"]
        {
            let found = prefers_it(
                "Accept-Language",
                "Accept-Language: de",
                language,
                "Accept-Language: de, x;q=0.1",
            );
            assert_eq!(found, None, "{language}");
        }
    }

    /// The requesting client had not accepted the language: the origin had no better one, or labels everything so.
    #[test]
    fn rule_27_the_language_was_asked_for() {
        for (one, expected) in [
            ("Accept-Language: en, de;q=0.1", Some(true)),
            ("Accept-Language: *", Some(true)),
            ("Accept-Language: en", None),
            ("Accept-Language: de;q=0, *", None),
            ("Accept-Language: de;q=x", None),
            ("X: 1", None),
        ] {
            let found = prefers_it("Accept-Language", one, "Content-Language: de", "Accept-Language: de");
            assert_eq!(found, expected, "{one}");
        }
    }

    #[test]
    fn rule_27_all_other_fields_are_equal() {
        let one = "Accept-Language: en, de|Cookie: a=1|Accept-Encoding: gzip, br|X-One: 1";
        for (vary, other, expected) in [
            ("Accept-Language", "Cookie: b=1", true),
            ("Accept-Language, Cookie", "Cookie: a=1", true),
            ("Accept-Language, Cookie", "Cookie: a=2", false),
            ("Accept-Language, Cookie", "", false),
            ("accept-LANGUAGE, accept-encoding", "Accept-Encoding: br,gzip", true),
            ("accept-LANGUAGE, accept-encoding", "Accept-Encoding: br", false),
            ("X-One, Accept-Language, Cookie", "Cookie: a=1|X-One: 1", true),
            ("X-One, Accept-Language, Cookie", "Cookie: a=1|X-One: 2", false),
            ("X-One, Accept-Language, Cookie", "Cookie: a=2|X-One: 1", false),
            ("X-None, Accept-Language", "", true),
            ("X-None, Accept-Language", "X-None: 1", false),
            ("Cookie", "Cookie: a=2", false),
            ("Cookie", "Cookie: a=1", false),
        ] {
            let other = format!("Accept-Language: de|{other}");
            let found = prefers_it(vary, one, "Content-Language: de", &other);
            assert_eq!(found, expected.then_some(true), "{vary}: {other}");
        }
    }
}
