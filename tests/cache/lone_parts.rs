//! Rule 54: a single stored part answers ranges that lie in it, whatever its validator is; what joins and completes parts
//! needs a strong one (RFC 9111 sections 3.3 and 3.4).

use super::common::{Head, Scratch, pattern};
use super::parts::{asked, last_range, part};
use super::scene::{Reply, Scene, is_hit, ok, response, status, unmodified};
use rustix::process::Signal;

const MODIFIED: &str = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT";

/// Fields that are no strong validator, or none at all.
const WEAK: [&str; 4] = ["", "ETag: W/\"v1\"", MODIFIED, "ETag: odd"];

const LENGTH: usize = 1000;

/// The response of a correct origin, with these fields, divided by `|`.
fn answer(head: &Head, fields: &str) -> Reply {
    let body = pattern(0, LENGTH);
    let lines = |more: &str| -> String {
        let fresh = if fields.contains("Cache-Control") { "" } else { "Cache-Control: max-age=60" };
        let all = format!("{fresh}|{fields}|{more}");
        all.split('|').filter(|line| !line.is_empty()).map(|line| format!("{line}\r\n")).collect()
    };
    // No weak validator lets If-Range hold (RFC 9110 section 13.1.5).
    let (first, bytes) = match asked(head, LENGTH).filter(|_| !head.has("if-range")) {
        Some((start, end)) => {
            let range = format!("Content-Range: bytes {start}-{}/{LENGTH}", end - 1);
            (format!("HTTP/1.1 206 Partial Content\r\n{}", lines(&range)), &body[start..end])
        }
        None => (format!("HTTP/1.1 200 OK\r\n{}", lines("")), &body[..]),
    };
    Reply::Bytes([format!("{first}Content-Length: {}\r\n\r\n", bytes.len()).as_bytes(), bytes].concat())
}

#[test]
fn rule_54_kind_16_a_part_without_a_strong_validator_answers_ranges_in_it() {
    for options in [&[][..], &["--workers=2"], &["--no-splice"]] {
        for fields in WEAK {
            let scene = Scene::with(options, move |head, _| answer(head, fields));
            let first = part(&scene, "/", "900-999");
            assert_eq!((first.status(), is_hit(&first)), (206, false), "{fields}");
            assert!(status(&first).contains("stored"), "{first:?}");
            for (range, told, from, len) in [
                ("900-999", "bytes 900-999/1000", 900, 100),
                ("910-919", "bytes 910-919/1000", 910, 10),
                ("999-999", "bytes 999-999/1000", 999, 1),
                ("950-", "bytes 950-999/1000", 950, 50),
                ("-7", "bytes 993-999/1000", 993, 7),
                ("990-2000", "bytes 990-999/1000", 990, 10),
            ] {
                let answer = part(&scene, "/", range);
                assert_eq!((answer.status(), is_hit(&answer)), (206, true), "{fields} {range}: {answer:?}");
                assert_eq!(answer.head.all("content-range"), [told], "{fields}");
                assert!(answer.body.bytes == pattern(from, len), "{fields} {range}");
            }
            assert_eq!(scene.asked("/"), 1, "{fields}");
        }
    }
}

/// A request outside of the part is forwarded as it is, and its response replaces the part.
#[test]
fn rule_54_kind_16_nothing_is_put_to_a_part_without_a_strong_validator() {
    for fields in WEAK {
        let scene = Scene::new(move |head, _| answer(head, fields));
        part(&scene, "/", "0-499");
        for (range, asked) in [("500-999", "bytes=500-999"), ("400-599", "bytes=400-599")] {
            let answer = part(&scene, "/", range);
            assert_eq!((answer.status(), is_hit(&answer)), (206, false), "{fields} {range}");
            assert_eq!(last_range(&scene, "/"), (Some(asked.to_owned()), None), "{fields}");
        }
        // The last one that came is there, and only that.
        assert!(is_hit(&part(&scene, "/", "450-550")), "{fields}");
        assert_eq!(scene.at_rest().get("cache_entries"), 1);
        assert!(!is_hit(&part(&scene, "/", "0-9")), "{fields}");
        // Two halves are no whole: the origin is asked for all of it.
        part(&scene, "/", "0-499");
        part(&scene, "/", "500-999");
        let whole = scene.get("/");
        assert_eq!((whole.status(), is_hit(&whole), last_range(&scene, "/")), (200, false, (None, None)));
        assert!(whole.body.bytes == pattern(0, LENGTH), "{fields}");
        // A whole one answers all of them, and is not given up for a part.
        let asked = scene.asked("/");
        for range in ["0-9", "500-999", "-1"] {
            assert!(is_hit(&part(&scene, "/", range)), "{fields} {range}");
        }
        assert!(is_hit(&scene.get("/")) && scene.asked("/") == asked, "{fields}");
    }
    // One of both has a strong tag, and that is not enough.
    for (first, second) in [("ETag: W/\"v1\"", "ETag: \"v1\""), ("ETag: \"v1\"", "ETag: W/\"v1\"")] {
        let scene = Scene::new(move |head, number| answer(head, [first, second][number % 2]));
        part(&scene, "/", "0-499");
        part(&scene, "/", "500-999");
        assert!(!is_hit(&part(&scene, "/", "0-499")), "{first} {second}");
    }
}

#[test]
fn rule_54_kind_16_conditions_and_other_questions_about_a_lone_part() {
    let scene = Scene::new(|head, _| match head.method() {
        "HEAD" => Reply::Bytes(
            format!("HTTP/1.1 200 OK\r\nETag: W/\"v1\"\r\nContent-Length: {LENGTH}\r\n\r\n").into_bytes(),
        ),
        _ => answer(head, "ETag: W/\"v1\""),
    });
    part(&scene, "/", "0-499");
    for (method, fields, status, hit) in [
        ("GET", "Range: bytes=0-9|If-None-Match: W/\"v1\"", 304, true),
        ("GET", "Range: bytes=0-9|If-None-Match: \"v1\"", 304, true),
        ("GET", "Range: bytes=0-9|If-None-Match: \"v2\"", 206, true),
        ("GET", "Range: bytes=0-9|Cache-Control: only-if-cached", 206, true),
        ("GET", "Cache-Control: only-if-cached", 504, false),
        ("GET", "Range: bytes=490-509|Cache-Control: only-if-cached", 504, false),
        ("GET", "Range: bytes=1-9|Cache-Control: no-store", 206, true),
        ("HEAD", "", 200, false),
        ("GET", "Range: bytes=0-1,4-5", 200, false),
    ] {
        let answer = scene.ask(method, "/", fields);
        assert_eq!(answer.status(), status, "{method} {fields}: {answer:?}");
        if status != 504 {
            assert_eq!(is_hit(&answer), hit, "{method} {fields}: {answer:?}");
        }
        if status == 200 && method == "GET" {
            // That was stored, and is none.
            break;
        }
    }
    // If-Range holds for strong validators only: a weak tag is none, and a date is one that is old enough (RFC 9110 section
    // 8.8.2.2). Where it does not hold the origin gives all of it.
    for (fields, condition, hit) in [
        ("ETag: W/\"v1\"", "W/\"v1\"", false),
        ("ETag: W/\"v1\"", "\"v1\"", false),
        (MODIFIED, "Sun, 06 Nov 1994 08:49:37 GMT", true),
        (MODIFIED, "Sun, 06 Nov 1994 08:49:38 GMT", false),
        ("", "Sun, 06 Nov 1994 08:49:37 GMT", false),
    ] {
        let scene = Scene::new(move |head, _| answer(head, fields));
        part(&scene, "/", "0-499");
        let answer = scene.get_with("/", &format!("Range: bytes=0-9|If-Range: {condition}"));
        let expected = if hit { (206, true) } else { (200, false) };
        assert_eq!((answer.status(), is_hit(&answer)), expected, "{fields} {condition}");
    }
}

/// Without a strong validator the bytes may have changed, so the client's request is forwarded.
#[test]
fn rule_54_kind_16_a_stale_lone_part_is_asked_for_again() {
    for fields in ["ETag: W/\"v1\"", MODIFIED, ""] {
        let scene = Scene::new(move |head, number| {
            let age = if number == 0 { "Age: 50" } else { "Age: 0" };
            answer(head, &format!("{fields}|{age}"))
        });
        part(&scene, "/", "0-499");
        assert!(is_hit(&part(&scene, "/", "0-9")), "{fields}");
        // Older than the client likes.
        let answer = scene.get_with("/", "Range: bytes=0-9|Cache-Control: max-age=40");
        assert_eq!((answer.status(), is_hit(&answer), scene.asked("/")), (206, false, 2), "{fields}");
        let asked = scene.last("/");
        assert_eq!(asked.get("range"), Some("bytes=0-9"), "{fields}");
        assert!(!asked.has("if-none-match") && !asked.has("if-modified-since"), "{fields}: {asked:?}");
        assert!(is_hit(&scene.get_with("/", "Range: bytes=0-9|Cache-Control: max-age=40")), "{fields}");
    }
    // One that says nothing for how long, or that it is stale already, is not kept.
    for control in [
        "Cache-Control: max-age=0",
        "Cache-Control: max-age=60|Age: 60",
        "Cache-Control: no-cache",
        "Cache-Control: no-store",
    ] {
        let scene = Scene::new(move |head, _| answer(head, &format!("ETag: W/\"v1\"|{control}")));
        part(&scene, "/", "0-499");
        assert!(!is_hit(&part(&scene, "/", "0-9")), "{control}");
    }
    // A part may be sent stale where the origin fails (rule 25).
    let scene = Scene::new(|head, number| match number {
        0 => answer(head, "Age: 70|Cache-Control: max-age=60, stale-if-error=600"),
        _ => Reply::Bytes(response(503, "", "")),
    });
    part(&scene, "/", "0-499");
    let stale = part(&scene, "/", "0-9");
    assert_eq!((stale.status(), stale.body.bytes == pattern(0, 10)), (206, true), "{stale:?}");
}

#[test]
fn rules_27_and_54_kind_16_variants_and_users_have_lone_parts_of_their_own() {
    let scene = Scene::new(|head, _| {
        let tag = head.get("x-one").unwrap_or("none").to_owned();
        answer(head, &format!("Vary: X-One|X-Is: {tag}"))
    });
    for one in ["a", "b"] {
        scene.get_with("/", &format!("Range: bytes=0-499|X-One: {one}"));
    }
    for one in ["a", "b"] {
        let hit = scene.get_with("/", &format!("Range: bytes=5-9|X-One: {one}"));
        assert_eq!((hit.status(), is_hit(&hit), hit.head.get("x-is")), (206, true, Some(one)));
    }
    assert!(!is_hit(&part(&scene, "/", "0-9")));
    let scene = Scene::new(|head, _| answer(head, ""));
    scene.get_with("/", "Range: bytes=0-499|Authorization: Basic YTpi");
    assert!(!is_hit(&part(&scene, "/", "0-9")));
}

/// The received part of a truncated response, if its length was announced.
#[test]
fn rule_54_kind_16_a_truncated_whole_answers_ranges_in_what_came() {
    let cut = |fields: &str| {
        let lines: String = fields.split('|').map(|line| format!("{line}\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n{lines}\r\n01234").into_bytes()
    };
    for (fields, kept) in [
        ("ETag: W/\"v1\"|Content-Length: 10", true),
        (&*format!("{MODIFIED}|Content-Length: 10"), true),
        ("X: 1|Content-Length: 10", true),
        ("ETag: \"v1\"|Connection: close", false),
    ] {
        let bytes = cut(fields);
        let scene = Scene::new(move |head, number| match number {
            0 => Reply::Last(bytes.clone()),
            _ if head.has("range") => ok("Cache-Control: max-age=60", "whole"),
            _ => ok("Cache-Control: max-age=60", "0123456789"),
        });
        let mut client = scene.weir.connect();
        client.send(scene.request("GET", "/", ""));
        let cut_short = client.try_read_response("GET").is_err();
        assert_eq!(cut_short, kept, "{fields}: the client must notice");
        scene.at_rest();
        let inside = part(&scene, "/", "1-3");
        if kept {
            assert_eq!(
                (inside.status(), inside.text().as_str(), is_hit(&inside)),
                (206, "123", true),
                "{fields}"
            );
            assert_eq!(inside.head.get("content-range"), Some("bytes 1-3/10"));
            let whole = scene.get("/");
            assert_eq!((whole.text().as_str(), is_hit(&whole)), ("0123456789", false), "{fields}");
            assert_eq!(last_range(&scene, "/"), (None, None), "{fields}");
        }
        assert!(is_hit(&scene.get("/")), "{fields}");
    }
}

#[test]
fn rule_54_kind_16_a_lone_part_outlives_a_restart() {
    let scratch = Scratch::new();
    let options = ["--cache-file", &scratch.join("cache")];
    let mut scene = Scene::with(&options, |head, _| answer(head, "ETag: W/\"v1\""));
    part(&scene, "/", "100-299");
    scene.stop(Signal::TERM);
    scene.start(&options);
    let hit = part(&scene, "/", "150-159");
    assert_eq!((hit.status(), is_hit(&hit)), (206, true), "{hit:?}");
    assert!(hit.body.bytes == pattern(150, 10) && scene.asked("/") == 1);
}

/// A 206 that is made from a stored 200 has one Content-Range, its own, whatever the 200 came with.
#[test]
fn rule_56_kind_15_a_stray_content_range_is_no_part_of_a_206() {
    for stray in [
        "Content-Range: bytes 0-9/10",
        "Content-Range: bytes 0-0/1|CONTENT-RANGE: bytes */7",
        "content-range: nonsense",
        "Content-Range:",
    ] {
        let fields = format!("{stray}|ETag: \"a\"|X-Kept: {stray}");
        let scene = Scene::new(move |head, _| match head.has("if-none-match") {
            // A 304 with another one changes nothing.
            true => unmodified(&format!("{fields}|Cache-Control: max-age=60")),
            false => ok(&format!("{fields}|Cache-Control: max-age=0"), "0123456789"),
        });
        let whole = scene.get("/");
        assert_eq!(whole.status(), 200);
        for round in 0..2 {
            for (range, told, text) in [
                ("bytes=1-3", "bytes 1-3/10", "123"),
                ("bytes=-4", "bytes 6-9/10", "6789"),
                ("bytes=9-", "bytes 9-9/10", "9"),
                ("bytes=0-", "bytes 0-9/10", "0123456789"),
            ] {
                let part = scene.get_with("/", &format!("Range: {range}|If-Range: \"a\""));
                assert_eq!((part.status(), part.text().as_str()), (206, text), "{stray} {round}");
                assert_eq!(part.head.all("content-range"), [told], "{stray} {round}: {part:?}");
                assert!(part.head.has("x-kept"), "{part:?}");
            }
            let none = scene.get_with("/", "Range: bytes=10-");
            assert_eq!((none.status(), none.head.all("content-range")), (416, vec!["bytes */10"]), "{stray}");
            // As a whole it has what it came with (rule 21).
            let whole_again = scene.get("/");
            assert_eq!(whole_again.status(), 200);
            assert_eq!(whole_again.head.all("content-range"), whole.head.all("content-range"), "{stray}");
        }
    }
}
