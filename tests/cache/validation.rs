//! Rules 30 to 36: conditions of clients, the cache's own, ranges, HEAD.

use super::scene::{Reply, Scene, is_hit, ok, response, status, unmodified};

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

#[test]
fn rule_30_conditions_on_fresh_entries() {
    let fields = format!(
        "Cache-Control: max-age=60|ETag: \"a\"|Last-Modified: {MODIFIED}|Vary: X-V|Content-Location: /here\
         |Content-Type: text/plain|X-Other: 1"
    );
    let scene = Scene::answering(&fields, "body");
    scene.get("/");
    for (condition, status) in [
        ("If-None-Match: \"a\"", 304),
        ("If-None-Match: W/\"a\"", 304),
        ("If-None-Match: \"b\", \"a\"", 304),
        ("If-None-Match: *", 304),
        ("If-None-Match: \"b\"", 200),
        (&format!("If-None-Match: \"b\"|If-Modified-Since: {MODIFIED}"), 200),
        (&format!("If-Modified-Since: {MODIFIED}"), 304),
        ("If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT", 304),
        ("If-Modified-Since: Sun Nov  6 08:49:37 1994", 304),
        ("If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT", 200),
        ("If-Modified-Since: nonsense", 200),
    ] {
        let answer = scene.get_with("/", condition);
        assert_eq!((answer.status(), is_hit(&answer)), (status, true), "{condition}: {answer:?}");
        if status == 304 {
            for name in ["etag", "date", "vary", "cache-control", "content-location"] {
                assert!(answer.head.has(name), "{name} in {answer:?}");
            }
            assert!(!answer.head.has("content-length") && !answer.head.has("x-other"), "{answer:?}");
        }
    }
    assert_eq!(scene.asked("/"), 1);
}

/// Where nothing tells when it was modified, it was at its Date at the latest (RFC 9111 section 4.3.2).
#[test]
fn rule_55_kind_16_if_modified_since_without_last_modified() {
    const BEFORE: &str = "If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT";
    const AT: &str = "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT";
    const AFTER: &str = "If-Modified-Since: Sun, 06 Nov 1994 08:49:38 GMT";
    let dated = format!("Date: {MODIFIED}|Cache-Control: max-age=3000000000");
    let odd = "Last-Modified: yesterday";
    for fields in [dated.clone(), format!("{dated}|{odd}"), format!("{dated}|ETag: W/\"a\"")] {
        for method in ["GET", "HEAD"] {
            for range in ["", "Range: bytes=0-1|"] {
                let (status, part) = (200, 206);
                let whole = if range.is_empty() || method == "HEAD" { status } else { part };
                let scene = Scene::answering(&fields, "body");
                scene.get("/");
                for (condition, expected) in [
                    (BEFORE, whole),
                    (AT, 304),
                    (AFTER, 304),
                    ("If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT", 304),
                    ("If-Modified-Since: Sunday, 06-Nov-94 08:49:36 GMT", whole),
                    ("If-Modified-Since: Sun Nov  6 08:49:37 1994", 304),
                    ("If-Modified-Since: Sun Nov  6 08:49:36 1994", whole),
                    ("If-Modified-Since: nonsense", whole),
                    // If-None-Match beats it.
                    (&format!("{AT}|If-None-Match: \"b\""), whole),
                ] {
                    let answer = scene.ask(method, "/", &format!("{range}{condition}"));
                    let seen = (answer.status(), is_hit(&answer));
                    assert_eq!(seen, (expected, true), "{fields} {method} {range} {condition}");
                    assert_eq!(answer.head.get("date"), Some(MODIFIED), "{answer:?}");
                }
                assert_eq!(scene.asked("/"), 1);
            }
        }
    }
    // With a Last-Modified Date does not matter.
    let scene = Scene::answering(&format!("{dated}|Last-Modified: Sun, 06 Nov 1994 08:49:36 GMT"), "body");
    scene.get("/");
    assert_eq!(scene.get_with("/", BEFORE).status(), 304);
    // Without Date, or with one that is none, it is the time of receipt.
    for fields in ["Cache-Control: max-age=60", "Cache-Control: max-age=60|Date: yesterday"] {
        let scene = Scene::answering(fields, "body");
        let first = scene.get("/");
        assert_eq!(scene.get_with("/", AFTER).status(), 200, "{fields}");
        assert_eq!(scene.get_with("/", "If-Modified-Since: Tue, 19 Jan 2038 03:14:08 GMT").status(), 304);
        if let Some(date) = first.head.get("date").filter(|date| date.ends_with("GMT")) {
            let answer = scene.get_with("/", &format!("If-Modified-Since: {date}"));
            assert!([200, 304].contains(&answer.status()) && is_hit(&answer), "{answer:?}");
            let stored = answer.head.get("date").expect("a date").to_owned();
            assert_eq!(
                scene.get_with("/", &format!("If-Modified-Since: {stored}")).status(),
                304,
                "{fields}"
            );
        }
        assert_eq!(scene.asked("/"), 1);
    }
    // A part.
    let scene = Scene::new(move |_, _| {
        Reply::Bytes(response(206, &format!("{dated}|Content-Range: bytes 0-3/10"), "part"))
    });
    scene.get_with("/", "Range: bytes=0-3");
    for (condition, expected) in [(BEFORE, 206), (AT, 304)] {
        let answer = scene.get_with("/", &format!("Range: bytes=1-2|{condition}"));
        assert_eq!((answer.status(), is_hit(&answer)), (expected, true), "{condition}");
    }
    // Validated first, where it is stale: its Date is then that of the confirmation.
    let scene = Scene::new(|_, number| match number {
        0 => ok(&format!("Date: {MODIFIED}|ETag: \"a\""), "body"),
        _ => unmodified("ETag: \"a\"|Cache-Control: max-age=60|Date: Sun, 06 Nov 1994 08:49:38 GMT"),
    });
    scene.get("/");
    for (condition, expected) in [(AT, 200), (AFTER, 304)] {
        assert_eq!(scene.get_with("/", condition).status(), expected, "{condition}");
    }
}

#[test]
fn rules_31_and_32_the_caches_own_validation() {
    let scene = Scene::new(|_, number| match number {
        0 => ok(
            &format!(
                "Cache-Control: max-age=100|Age: 200|ETag: W/\"a\"|Last-Modified: {MODIFIED}|Vary: X-V|X-One: old|X-Two: old|Content-Type: a/b"
            ),
            "body",
        ),
        _ => unmodified(
            "Cache-Control: max-age=60|ETag: W/\"a\"|X-One: new|X-New: 1|Content-Type: c/d|Content-Encoding: gzip",
        ),
    });
    scene.get_with("/", "X-V: 7");
    let second = scene.get_with("/", "X-V: 7|If-Range: \"x\"");
    let asked = scene.last("/");
    assert_eq!(
        (asked.get("if-none-match"), asked.get("if-modified-since")),
        (Some("W/\"a\""), Some(MODIFIED))
    );
    assert_eq!((asked.get("x-v"), asked.has("if-range")), (Some("7"), false));
    assert_eq!((second.status(), second.text().as_str()), (200, "body"));
    for (name, value) in [("x-one", "new"), ("x-two", "old"), ("x-new", "1"), ("content-type", "a/b")] {
        assert_eq!(second.head.get(name), Some(value), "{name}: {second:?}");
    }
    assert!(!second.head.has("content-encoding"));
    assert!(status(&second).starts_with("fwd=stale; fwd-status=304"), "{}", status(&second));
    let third = scene.get_with("/", "X-V: 7");
    assert_eq!((is_hit(&third), third.head.get("x-one")), (true, Some("new")));
    scene.weir.wait_for_log(|line| line.ends_with("cache=revalidated"));
}

#[test]
fn rule_31_a_304_about_something_else_is_not_believed() {
    let scene = Scene::new(|head, number| match (number, head.has("if-none-match")) {
        (0, _) => ok("Cache-Control: max-age=1|Age: 5|ETag: \"a\"", "old"),
        (_, true) => unmodified("ETag: \"b\""),
        _ => ok("Cache-Control: max-age=60|ETag: \"b\"", "new"),
    });
    scene.get("/");
    let second = scene.get("/");
    assert_eq!((second.status(), second.text().as_str(), scene.asked("/")), (200, "new", 3));
    assert!(is_hit(&scene.get("/")));
}

#[test]
fn rule_33_a_condition_on_a_stale_entry_is_answered_after_validation() {
    let scene = Scene::new(|head, number| match (head.target(), number) {
        (_, 0) => ok("Cache-Control: max-age=1|Age: 5|ETag: \"a\"", "old"),
        ("/same", _) => unmodified("Cache-Control: max-age=60"),
        _ => ok("Cache-Control: max-age=60|ETag: \"b\"", "new"),
    });
    for path in ["/same", "/other"] {
        scene.get(path);
        let answer = scene.get_with(path, "If-None-Match: \"a\"");
        assert_eq!(scene.last(path).get("if-none-match"), Some("\"a\""));
        assert_eq!(answer.status(), if path == "/same" { 304 } else { 200 }, "{answer:?}");
    }
    // The client has another one than the cache: the cache asks about its own.
    let scene = Scene::new(|_, number| match number {
        0 => ok("Cache-Control: max-age=1|Age: 5|ETag: \"a\"", "old"),
        _ => unmodified("Cache-Control: max-age=60"),
    });
    scene.get("/");
    let answer = scene.get_with("/", "If-None-Match: \"z\"");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "old"));
    assert_eq!(scene.last("/").get("if-none-match"), Some("\"a\""));
}

#[test]
fn rules_34_and_35_ranges_of_complete_entries() {
    let scene = Scene::answering("Cache-Control: max-age=60|ETag: \"a\"", "0123456789");
    scene.get("/");
    for (fields, status, range, body) in [
        ("Range: bytes=2-4", 206, Some("bytes 2-4/10"), "234"),
        ("Range: bytes=7-", 206, Some("bytes 7-9/10"), "789"),
        ("Range: bytes=-2", 206, Some("bytes 8-9/10"), "89"),
        ("Range: bytes=0-1,5-6", 200, None, "0123456789"),
        ("Range: bytes=10-", 416, Some("bytes */10"), ""),
        ("Range: lines=1-2", 200, None, "0123456789"),
        ("Range: bytes=2-4|If-Range: \"a\"", 206, Some("bytes 2-4/10"), "234"),
        ("Range: bytes=2-4|If-Range: W/\"a\"", 200, None, "0123456789"),
        ("Range: bytes=2-4|If-Range: \"b\"", 200, None, "0123456789"),
        ("Range: bytes=2-4|If-None-Match: \"a\"", 304, None, ""),
    ] {
        let answer = scene.get_with("/", fields);
        assert_eq!(
            (answer.status(), answer.head.get("content-range"), answer.text().as_str()),
            (status, range, body),
            "{fields}"
        );
        assert!(is_hit(&answer), "{fields}");
    }
    assert_eq!(scene.asked("/"), 1);
    let long = "x".repeat(300_000);
    let scene = Scene::answering("Cache-Control: max-age=60", &format!("{long}0123456789"));
    scene.get("/");
    assert_eq!(scene.get_with("/", "Range: bytes=299998-300003").text(), "xx0123");
}

#[test]
fn rule_35_a_range_of_something_unknown_goes_to_the_origin() {
    let scene = Scene::new(|head, _| match head.get("range") {
        Some(_) => Reply::Bytes(response(
            206,
            "Cache-Control: max-age=60|ETag: \"a\"|Content-Range: bytes 2-4/10",
            "234",
        )),
        None => ok("Cache-Control: max-age=60|ETag: \"a\"", "0123456789"),
    });
    assert_eq!(scene.get_with("/", "Range: bytes=2-4").status(), 206);
    let whole = scene.get("/");
    assert_eq!((whole.status(), whole.text().as_str()), (200, "0123456789"));
    assert!(is_hit(&scene.get_with("/", "Range: bytes=2-4")));
}

#[test]
fn rule_36_head_is_answered_from_a_get_and_judges_it() {
    let scene = Scene::new(|head, number| match (head.method(), head.target()) {
        ("HEAD", "/same") => Reply::Bytes(
            b"HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 4\r\nCache-Control: max-age=60\r\n\r\n"
                .to_vec(),
        ),
        ("HEAD", _) => Reply::Bytes(
            b"HTTP/1.1 200 OK\r\nETag: \"b\"\r\nContent-Length: 4\r\nCache-Control: max-age=60\r\n\r\n"
                .to_vec(),
        ),
        (_, "/fresh") => ok("Cache-Control: max-age=60", "body"),
        _ if number == 0 => ok("Cache-Control: max-age=100|Age: 150|ETag: \"a\"", "body"),
        _ => ok("Cache-Control: max-age=60|ETag: \"c\"", "more"),
    });
    scene.get("/fresh");
    let head = scene.ask("HEAD", "/fresh", "");
    assert_eq!((head.status(), head.head.get("content-length"), is_hit(&head)), (200, Some("4"), true));
    for (path, hit) in [("/same", true), ("/other", false)] {
        scene.get(path);
        scene.ask("HEAD", path, "");
        let answer = scene.get(path);
        assert_eq!(is_hit(&answer), hit, "{path}: {answer:?}");
    }
}

#[test]
fn rule_39_nothing_that_answers_a_no_store_request_is_stored() {
    let scene = Scene::new(|asked, _| match asked.has("if-none-match") {
        true => unmodified("Cache-Control: max-age=60|ETag: \"a\"|X-Mine: 1"),
        false => ok("Cache-Control: max-age=60|Age: 100|ETag: \"a\"", "body"),
    });
    scene.get("/");
    // The 304 answers this request only (RFC 9111 section 5.2.1.5).
    let first = scene.get_with("/", "Cache-Control: no-store");
    assert_eq!((first.status(), first.head.has("x-mine")), (200, true), "{first:?}");
    let second = scene.get_with("/", "Cache-Control: only-if-cached, max-stale");
    assert_eq!((second.status(), second.head.has("x-mine")), (200, false), "{second:?}");
}
