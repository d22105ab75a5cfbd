use super::*;
use crate::http::testing::with_response;

const NOW: u64 = 1_795_305_600;
const TIMES: Times = Times { requested_s: NOW, received_s: NOW };
const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// Lines are divided by `|`.
fn lines(text: &str) -> String {
    text.split('|').filter(|line| !line.is_empty()).map(|line| format!("{line}\r\n")).collect()
}

fn with_new<T>(status: u16, text: &str, test: impl FnOnce(Fields<'_, '_>) -> T) -> T {
    let head = format!("HTTP/1.1 {status} x\r\n{}\r\n", lines(text));
    with_response(head.as_bytes(), |head| test(head.fields))
}

fn answered(status: u16, stored: &str, asked: &str) -> Answer {
    let (stored, asked) = (lines(stored), lines(asked));
    answer(FieldBlock::new(asked.as_bytes()), status, FieldBlock::new(stored.as_bytes()), NOW, NOW)
}

fn updated(stored: &str, new: &str) -> String {
    let stored = lines(stored);
    with_new(304, new, |new| {
        let mut out = Vec::new();
        write_updated(&mut out, FieldBlock::new(stored.as_bytes()), new, TIMES, &[]);
        String::from_utf8(out).unwrap().replace("\r\n", "|")
    })
}

#[test]
fn rule_34_entity_tags() {
    let tag = |text: &'static str| EntityTag::parse(text.as_bytes());
    for (text, weak, opaque) in [
        ("\"\"", false, ""),
        ("\"a\"", false, "a"),
        ("W/\"a\"", true, "a"),
        ("\"a,b\\\"", false, "a,b\\"),
        ("\"\u{e9}!#\"", false, "\u{e9}!#"),
    ] {
        assert_eq!(tag(text), Some(EntityTag { weak, opaque: opaque.as_bytes() }), "{text}");
    }
    for text in
        ["", "a", "\"", "\"a", "a\"", "w/\"a\"", "W\"a\"", "W/ \"a\"", "\"a b\"", "\"a\"b\"", "\"a\" ", "*"]
    {
        assert_eq!(tag(text), None, "{text}");
    }
    for (one, other, strong, weak) in [
        ("\"a\"", "\"a\"", true, true),
        ("W/\"a\"", "\"a\"", false, true),
        ("W/\"a\"", "W/\"a\"", false, true),
        ("\"a\"", "\"A\"", false, false),
    ] {
        let (one, other) = (tag(one).unwrap(), tag(other).unwrap());
        assert_eq!((one.strongly_equals(&other), one.weakly_equals(&other)), (strong, weak));
        assert_eq!((other.strongly_equals(&one), other.weakly_equals(&one)), (strong, weak));
    }
}

#[test]
fn rule_30_if_none_match() {
    for (stored, asked, not_modified) in [
        ("ETag: \"a\"", "If-None-Match: \"a\"", true),
        ("ETag: \"a\"", "If-None-Match: W/\"a\"", true),
        ("ETag: W/\"a\"", "If-None-Match: \"a\"", true),
        ("ETag: \"a\"", "If-None-Match: \"b\", \"a\"", true),
        ("ETag: \"a\"", "If-None-Match: \"b\",W/\"c\" ,, \"a\" ,", true),
        ("ETag: \"a\"", "If-None-Match: \"b\"|If-None-Match: \"a\"", true),
        ("ETag: \"a,b\"", "If-None-Match: \"x\\\", \"a,b\"", true),
        ("ETag: \"a\"", "If-None-Match: junk, \"a\"", true),
        ("ETag: \"a\"", "If-None-Match: *", true),
        ("", "If-None-Match: *", true),
        ("ETag: \"a\"", "If-None-Match: \"b\"", false),
        ("ETag: \"a\"", "If-None-Match: \"A\"", false),
        ("ETag: \"a\"", "If-None-Match: a", false),
        ("ETag: \"a\"", "If-None-Match:", false),
        ("ETag: \"a\"", "If-None-Match: \"a", false),
        ("ETag: \"a\"", "If-None-Match: x\"a\"", false),
        ("ETag: \"a\"", "If-None-Match: \"a\"x", false),
        ("ETag: \"a\"", "If-None-Match: \"b\" \"a\"", false),
        ("ETag: a", "If-None-Match: \"a\"", false),
        ("", "If-None-Match: \"a\"", false),
        ("ETag: \"a\"|ETag: \"b\"", "If-None-Match: \"a\"", false),
        ("ETag: \"a\"", "", false),
    ] {
        let expected = if not_modified { Answer::NotModified } else { Answer::Whole };
        assert_eq!(answered(200, stored, asked), expected, "{stored} / {asked}");
        assert_eq!(answered(404, stored, asked), Answer::Whole, "{stored} / {asked}");
    }
}

#[test]
fn rule_30_if_modified_since() {
    let modified = format!("Last-Modified: {OLD}");
    let dated = format!("Date: {OLD}");
    for (stored, asked, not_modified) in [
        (modified.as_str(), "Sun, 06 Nov 1994 08:49:37 GMT", true),
        (&modified, "Sunday, 06-Nov-94 08:49:37 GMT", true),
        (&modified, "Sun Nov  6 08:49:37 1994", true),
        (&modified, "Sun, 06 Nov 1994 08:49:38 GMT", true),
        (&modified, "Fri, 31 Dec 9999 23:59:59 GMT", true),
        (&modified, "Sun, 06 Nov 1994 08:49:36 GMT", false),
        (&modified, "Sun, 06 Nov 1994 08:49:37", false),
        (&modified, "0", false),
        (&modified, "", false),
        // In place of Last-Modified: Date, or the time of receipt.
        (&dated, "Sun, 06 Nov 1994 08:49:37 GMT", true),
        (&dated, "Sun, 06 Nov 1994 08:49:36 GMT", false),
        ("", "Sun, 22 Nov 2026 00:00:00 GMT", true),
        ("", "Sat, 21 Nov 2026 23:59:59 GMT", false),
    ] {
        let expected = if not_modified { Answer::NotModified } else { Answer::Whole };
        let found = answered(200, stored, &format!("If-Modified-Since: {asked}"));
        assert_eq!(found, expected, "{stored} / {asked}");
    }
    // If-None-Match is what counts, whatever it is.
    let stored = format!("{modified}|ETag: \"a\"");
    for (tag, expected) in [("\"a\"", Answer::NotModified), ("\"b\"", Answer::Whole), ("", Answer::Whole)] {
        for since in ["Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"] {
            let asked = format!("If-None-Match: {tag}|If-Modified-Since: {since}");
            assert_eq!(answered(200, &stored, &asked), expected, "{asked}");
        }
    }
    let twice = format!("If-Modified-Since: {OLD}|If-Modified-Since: {OLD}");
    assert_eq!(answered(200, &modified, &twice), Answer::Whole);
}

#[test]
fn rule_30_conditions_for_the_origin_only() {
    for (asked, expected) in [
        ("If-Match: \"a\"", true),
        ("if-unmodified-since: x", true),
        ("If-None-Match: *|If-Modified-Since: x|If-Range: y", false),
    ] {
        assert_eq!(is_for_origin(FieldBlock::new(lines(asked).as_bytes())), expected, "{asked}");
    }
}

#[test]
fn rule_30_fields_of_a_304() {
    for (stored, expected) in [
        (
            "Server: x|ETag: \"a\"|Date: d|Vary: v|Cache-Control: c|Expires: e|Content-Location: l|Last-Modified: m",
            "ETag: \"a\"|Date: d|Vary: v|Cache-Control: c|Expires: e|Content-Location: l|",
        ),
        ("Last-Modified: m|Content-Type: t|Set-Cookie: s|Content-Encoding: e", "Last-Modified: m|"),
        ("CDN-Cache-Control: c|X-Cache-Controls: c|date: d", "CDN-Cache-Control: c|date: d|"),
    ] {
        let mut out = Vec::new();
        write_not_modified(&mut out, FieldBlock::new(lines(stored).as_bytes()));
        assert_eq!(String::from_utf8(out).unwrap().replace("\r\n", "|"), expected);
    }
}

#[test]
fn rule_31_what_the_cache_validates_with() {
    let dated = format!("Last-Modified: {OLD}");
    for (stored, expected) in [
        (format!("ETag: W/\"a\"|{dated}"), format!("If-None-Match: W/\"a\"|If-Modified-Since: {OLD}|")),
        ("ETag: \"a\"".to_owned(), "If-None-Match: \"a\"|".to_owned()),
        (dated.clone(), format!("If-Modified-Since: {OLD}|")),
        (format!("ETag: a|{dated}x"), String::new()),
        (format!("ETag: \"a\"|ETag: \"b\"|{dated}|{dated}"), String::new()),
        (String::new(), String::new()),
    ] {
        let text = lines(&stored);
        let validators = Validators::read(FieldBlock::new(text.as_bytes()));
        let written =
            validators.conditions().map(|(name, value)| format!("{name}: {}|", value.escape_ascii()));
        assert_eq!(written.collect::<String>().replace("\\\"", "\""), expected, "{stored}");
        assert_eq!(validators.is_empty(), expected.is_empty());
    }
}

#[test]
fn rule_32_which_304_confirms() {
    let later = "Sun, 06 Nov 1994 08:49:38 GMT";
    let both = format!("ETag: \"a\"|Last-Modified: {OLD}");
    for (stored, new, expected) in [
        (both.as_str(), String::new(), true),
        (&both, "ETag: \"a\"".to_owned(), true),
        (&both, "ETag: W/\"a\"".to_owned(), true),
        (&both, "ETag: \"b\"".to_owned(), false),
        (&both, format!("Last-Modified: {OLD}"), true),
        (&both, "Last-Modified: Sunday, 06-Nov-94 08:49:37 GMT".to_owned(), true),
        (&both, format!("Last-Modified: {later}"), false),
        // The tag says more.
        (&both, format!("ETag: \"a\"|Last-Modified: {later}"), true),
        ("ETag: W/\"a\"", "ETag: W/\"a\"".to_owned(), true),
        ("ETag: W/\"a\"", "ETag: \"a\"".to_owned(), false),
        ("ETag: \"a\"", format!("Last-Modified: {OLD}"), false),
        ("", "ETag: \"a\"".to_owned(), false),
        ("", String::new(), true),
    ] {
        let text = lines(stored);
        let found = with_new(304, &new, |new| confirms(FieldBlock::new(text.as_bytes()), new));
        assert_eq!(found, expected, "{stored} / {new}");
    }
}

#[test]
fn rule_32_a_304_updates_the_stored_fields() {
    for (stored, new, expected) in [
        ("A: 1|B: 2|Date: x", "a: 3|Date: y", "B: 2|a: 3|Date: y|"),
        ("A: 1|A: 2|Date: x", "A: 3|A: 4|Date: y", "A: 3|A: 4|Date: y|"),
        ("A: 1|Date: x", "B: 1|Date: y", "A: 1|B: 1|Date: y|"),
        // About what is stored, not about the 304.
        (
            "Content-Type: a|Content-Encoding: b|Content-Range: c|Date: x",
            "Content-Type: d|Content-Encoding: e|Content-Range: f|Content-Length: 9|Date: y",
            "Content-Type: a|Content-Encoding: b|Content-Range: c|Date: y|",
        ),
        // About the connection of the 304.
        ("A: 1|Date: x", "Connection: A|A: 2|Keep-Alive: 5|Age: 7|Date: y", "A: 1|Date: y|"),
        // For the requesting client only (rule 52).
        ("Set-Cookie: a|Date: x", "Set-Cookie: b|Date: y", "Set-Cookie: a|Date: y|"),
        ("Set-Cookie2: a|Date: x", "set-cookie2: b|Date: y", "Set-Cookie2: a|Date: y|"),
        ("A: 1|Date: x", "Set-Cookie: b|Vary: c|Date: y", "A: 1|Vary: c|Date: y|"),
        ("A: 1|Date: x", "A: 2", "A: 2|Date: Sun, 22 Nov 2026 00:00:00 GMT|"),
        // Rule 19: as the new Cache-Control says, or else the old one.
        ("Cache-Control: no-cache=a|Date: x", "A: 1|B: 2|Date: y", "Cache-Control: no-cache=a|B: 2|Date: y|"),
        (
            "Cache-Control: no-cache=a|B: 1|Date: x",
            "A: 1|Cache-Control: private=\"b\"|Date: y",
            "A: 1|Cache-Control: private=\"b\"|Date: y|",
        ),
    ] {
        assert_eq!(updated(stored, new), expected, "{stored} / {new}");
    }
    let stored = lines("Cache-Control: no-cache=a");
    let mut out = Vec::new();
    with_new(304, "A: 1|B: 2|Connection: c|C: 3|Set-Cookie: d|Set-Cookie2: e", |new| {
        write_withheld(&mut out, FieldBlock::new(stored.as_bytes()), new, &[]);
    });
    assert_eq!(out, b"A: 1\r\nSet-Cookie: d\r\nSet-Cookie2: e\r\n");
    // Where a targeted field counts, Cache-Control withholds nothing (rule 44).
    for (stored, new) in [
        ("CDN-Cache-Control: max-age=1|Cache-Control: private=a", "A: 1"),
        ("CDN-Cache-Control: max-age=1|A: 0", "Cache-Control: no-cache=\"a\"|A: 1"),
        ("A: 0", "CDN-Cache-Control: max-age=1|Cache-Control: private=a|A: 1"),
    ] {
        let stored = lines(stored);
        with_new(304, new, |new| {
            let (block, targeted) = (FieldBlock::new(stored.as_bytes()), &["cdn-cache-control"]);
            let (mut updated, mut withheld) = (Vec::new(), Vec::new());
            write_updated(&mut updated, block, new, TIMES, targeted);
            write_withheld(&mut withheld, block, new, targeted);
            assert_eq!(FieldBlock::new(&updated).single("a"), Some(&b"1"[..]), "{stored}");
            assert!(withheld.is_empty(), "{stored}");
        });
    }
}

#[test]
fn rule_32_what_an_update_makes_of_it() {
    let settings = Storing::default();
    let judged = |stored: &str, new: &str, authorized: bool| {
        let stored = lines(stored);
        with_new(304, new, |new| {
            let mut block = Vec::new();
            write_updated(&mut block, FieldBlock::new(stored.as_bytes()), new, TIMES, &[]);
            judge_updated(200, FieldBlock::new(&block), new, authorized, TIMES, &settings)
        })
    };
    let stored = format!("Cache-Control: max-age=10|Date: {OLD}");
    for (new, lifetime_s, initial_age_s) in [
        ("", 10, 0),
        ("Age: 3", 10, 3),
        ("Cache-Control: max-age=20|Age: 3", 20, 3),
        ("Date: Sat, 21 Nov 2026 23:59:55 GMT", 10, 5),
    ] {
        let found = judged(&stored, new, false);
        assert_eq!((found.terms.lifetime_s, found.terms.initial_age_s), (lifetime_s, initial_age_s), "{new}");
        assert!(found.keep, "{new}");
    }
    for (new, authorized, keep) in [
        ("Cache-Control: no-store", false, false),
        ("Cache-Control: private", false, false),
        ("Cache-Control: max-age=5", true, false),
        ("Cache-Control: max-age=5, public", true, true),
        ("Cache-Control: no-cache", false, false),
        ("Cache-Control: no-cache|ETag: \"a\"", false, true),
        ("Cache-Control: must-understand, no-store", false, false),
        ("Cache-Control: must-understand, no-store, max-age=5", false, true),
        ("Cache-Control: must-understand, private", false, false),
    ] {
        assert_eq!(judged(&stored, new, authorized).keep, keep, "{new} {authorized}");
    }
}

#[test]
fn rule_36_head() {
    let stored = lines(&format!("ETag: \"a\"|Last-Modified: {OLD}"));
    for (status, new, expected) in [
        (200, "ETag: \"a\"|Content-Length: 5", HeadVerdict::Updates),
        (200, "ETag: \"a\"", HeadVerdict::Updates),
        (200, "Content-Length: 5", HeadVerdict::Updates),
        (200, "", HeadVerdict::Updates),
        (200, "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT", HeadVerdict::Updates),
        (200, "ETag: \"b\"", HeadVerdict::Invalidates),
        (200, "ETag: W/\"a\"", HeadVerdict::Invalidates),
        (200, "ETag: \"a\"|Content-Length: 6", HeadVerdict::Invalidates),
        (200, "Content-Length: x", HeadVerdict::Invalidates),
        (200, "Last-Modified: Sun, 06 Nov 1994 08:49:38 GMT", HeadVerdict::Invalidates),
        (304, "ETag: \"b\"", HeadVerdict::Nothing),
        (404, "", HeadVerdict::Nothing),
        (500, "ETag: \"b\"", HeadVerdict::Nothing),
    ] {
        let found = with_new(status, new, |new| {
            compare_head_response(200, FieldBlock::new(stored.as_bytes()), 5, status, new)
        });
        assert_eq!(found, expected, "{status} {new}");
    }
    // A page that is there is not answered by a stored error.
    for (stored_status, status, expected) in [
        (404, 200, HeadVerdict::Invalidates),
        (301, 200, HeadVerdict::Invalidates),
        (404, 404, HeadVerdict::Nothing),
    ] {
        let found = with_new(status, "ETag: \"a\"", |new| {
            compare_head_response(stored_status, FieldBlock::new(stored.as_bytes()), 5, status, new)
        });
        assert_eq!(found, expected, "{stored_status} {status}");
    }
}
