//! Rules 23 to 25: when the origin cannot answer, or need not be waited for.

use super::common::{self, Head, Response, eventually};
use super::parts::{asked, part};
use super::scene::{Gate, Reply, Scene, is_hit, ok, response, status, unmodified};

#[test]
fn rule_23_an_origin_that_disconnects() {
    let scene = Scene::new(|head, number| match (head.target(), number) {
        (_, 1..) => Reply::Last(Vec::new()),
        ("/may", _) => ok("Cache-Control: max-age=1|Age: 5|ETag: \"a\"", "old"),
        ("/must", _) => ok("Cache-Control: max-age=1, must-revalidate|Age: 5|ETag: \"a\"", "old"),
        ("/proxy", _) => ok("Cache-Control: max-age=1, proxy-revalidate|Age: 5|ETag: \"a\"", "old"),
        ("/no-cache", _) => ok("Cache-Control: max-age=60, no-cache|ETag: \"a\"", "old"),
        _ => ok("Cache-Control: s-maxage=1|Age: 5|ETag: \"a\"", "old"),
    });
    for (path, code) in [("/must", 502), ("/proxy", 502), ("/no-cache", 502), ("/shared", 502)] {
        scene.get(path);
        assert_eq!(scene.get(path).status(), code, "{path}");
    }
    scene.get("/may");
    let stale = scene.get("/may");
    assert_eq!((stale.status(), stale.text().as_str()), (200, "old"));
    assert!(status(&stale).starts_with("fwd=stale") && stale.head.has("age"), "{stale:?}");
    scene.weir.wait_for_log(|line| line.contains("/may") && line.contains("cache=stale"));
}

/// Fresh when received and stale a second later: without a validator the entry serves rule 23 only, and is kept.
#[test]
fn rule_20_entries_without_a_validator_are_kept_once_stale() {
    let scene = Scene::new(|_, number| match number {
        0 => ok("Cache-Control: max-age=2", "old"),
        _ => Reply::Last(Vec::new()),
    });
    scene.get("/");
    let stale = eventually("it is stale", || Some(scene.get("/")).filter(|answer| !is_hit(answer)));
    assert_eq!((stale.status(), stale.text().as_str()), (200, "old"));
    let asked = scene.last("/");
    assert!(!asked.has("if-none-match") && !asked.has("if-modified-since"), "{asked:?}");
    assert_eq!(scene.at_rest().get("cache_entries"), 1);
}

#[test]
fn rule_23_an_origin_that_cannot_be_reached() {
    let scratch = std::sync::Mutex::new(Some(Scene::new(|_, _| {
        ok("Cache-Control: max-age=1|Age: 5|ETag: \"a\"", "old")
    })));
    let scene = scratch.lock().expect("a scene").take().expect("a scene");
    let request = scene.request("GET", "/", "");
    let Scene { weir, origin, .. } = scene;
    let mut client = weir.connect();
    assert_eq!(client.ask(&request).status(), 200);
    drop(origin);
    eventually("stale", || {
        let answer = client.ask(&request);
        assert_eq!((answer.status(), answer.text().as_str()), (200, "old"));
        status(&answer).starts_with("fwd=stale; ttl").then_some(())
    });
}

#[test]
fn rule_24_stale_while_revalidate_refreshes_once_in_the_background() {
    let scene = Scene::new(|_, number| match number {
        0 => ok("Cache-Control: max-age=1, stale-while-revalidate=600|Age: 5|ETag: \"a\"", "old"),
        _ => ok("Cache-Control: max-age=600|ETag: \"b\"", "new"),
    });
    scene.get_with("/", "X-Who: first");
    let stale = scene.get_with("/", "X-Who: second");
    assert_eq!((stale.text().as_str(), is_hit(&stale)), ("old", true));
    scene.wait_asked("/", 2);
    assert_eq!(scene.last("/").get("x-who"), Some("second"));
    assert_eq!(scene.last("/").get("if-none-match"), Some("\"a\""));
    eventually("the new one", || {
        let answer = scene.get("/");
        assert!(is_hit(&answer));
        (answer.text() == "new").then_some(())
    });
    assert_eq!(scene.asked("/"), 2);
    let line = scene.weir.wait_for_log(|line| line.contains("cache=refresh"));
    assert!(line.contains(" exchange allowed - GET "), "{line}");
    let statistics = scene.at_rest();
    assert_eq!(statistics.get("cache_refreshes"), 1);
    // No client got that response.
    let sent = scene.weir.log_lines().iter().filter(|line| line.contains(" 200 GET ")).count();
    assert_eq!(statistics.get("status_2xx"), sent as u64);
    assert_eq!(statistics.get("status_none"), 0);
}

#[test]
fn rule_24_a_head_refreshes_by_get() {
    let scene = Scene::new(|head, number| match (head.method(), number) {
        (_, 0) => ok("Cache-Control: max-age=1, stale-while-revalidate=600|Age: 5|ETag: \"a\"", "old"),
        ("GET", _) => ok("Cache-Control: max-age=600|ETag: \"b\"", "new"),
        _ => Reply::Bytes(response(405, "", "")),
    });
    scene.get("/");
    // Empty lines before a request are skipped.
    let mut client = scene.weir.connect();
    client.send([b"\r\n", &scene.request("HEAD", "/", "X-Who: HEAD\r\n")[..]].concat());
    assert_eq!(client.read_head().status(), 200);
    scene.wait_asked("/", 2);
    assert_eq!((scene.last("/").method(), scene.last("/").get("x-who")), ("GET", Some("HEAD")));
    eventually("the new one", || (scene.get("/").text() == "new").then_some(()));
    assert_eq!(scene.asked("/"), 2);
}

#[test]
fn a_412_to_the_condition_of_the_cache_is_no_answer_to_a_client_without_one() {
    let scene = Scene::new(|head, _| match head.get("if-none-match") {
        None => ok("Cache-Control: max-age=1|Age: 5|ETag: \"a\"", "whole"),
        Some(_) => Reply::Bytes(response(412, "", "failed")),
    });
    for _ in 0..2 {
        let answer = scene.get("/");
        assert_eq!((answer.status(), answer.text().as_str()), (200, "whole"));
    }
    assert_eq!(scene.asked("/"), 3);
}

#[test]
fn rule_24_a_304_renews_in_the_background_and_an_error_changes_nothing() {
    for (name, refreshed) in [("/renewed", true), ("/broken", false)] {
        let scene = Scene::new(|head, number| match (head.target(), number) {
            (_, 0) => ok("Cache-Control: max-age=1, stale-while-revalidate=600|Age: 5|ETag: \"a\"", "old"),
            ("/renewed", _) => unmodified("Cache-Control: max-age=600"),
            _ => Reply::Bytes(response(500, "", "broken")),
        });
        scene.get(name);
        assert_eq!(scene.get(name).text(), "old");
        scene.wait_asked(name, 2);
        scene.at_rest();
        let answer = scene.get(name);
        assert_eq!((answer.text().as_str(), is_hit(&answer)), ("old", true));
        assert_eq!(status(&answer).contains("ttl=-"), !refreshed, "{answer:?}");
    }
}

#[test]
fn rule_24_the_window_is_enforced() {
    let scene = Scene::new(|_, number| match number {
        0 => ok("Cache-Control: max-age=1, stale-while-revalidate=10|Age: 50|ETag: \"a\"", "old"),
        _ => ok("Cache-Control: max-age=600", "new"),
    });
    scene.get("/");
    assert_eq!(scene.get("/").text(), "new");
}

#[test]
fn rule_25_stale_if_error() {
    let scene = Scene::new(|head, number| match (head.target(), number) {
        ("/outside", 0) => ok("Cache-Control: max-age=1, stale-if-error=10|Age: 50|ETag: \"a\"", "old"),
        (_, 0) => ok("Cache-Control: max-age=1, stale-if-error=600|Age: 5|ETag: \"a\"", "old"),
        ("/404", _) => Reply::Bytes(response(404, "", "gone")),
        (path, _) => Reply::Bytes(response(path[1..].parse().unwrap_or(500), "", "broken")),
    });
    for (path, code, body) in [
        ("/500", 200, "old"),
        ("/502", 200, "old"),
        ("/503", 200, "old"),
        ("/504", 200, "old"),
        ("/501", 501, "broken"),
        ("/404", 404, "gone"),
        ("/outside", 500, "broken"),
    ] {
        scene.get(path);
        let answer = scene.get(path);
        assert_eq!((answer.status(), answer.text().as_str()), (code, body), "{path}: {answer:?}");
        if body == "old" {
            assert!(status(&answer).contains(&format!("fwd-status={}", &path[1..])), "{answer:?}");
        }
        assert_eq!(scene.ask("HEAD", path, "").status(), code, "HEAD {path}");
    }
    let _ = common::DEADLINE;
}

const TEXT: &str = "0123456789";
const OLD: &str = "Cache-Control: max-age=1|Age: 5|ETag: \"v1\"";
const FRESH: &str = "Cache-Control: max-age=600|ETag: \"v1\"";
const OTHER: &str = "Cache-Control: max-age=600|ETag: \"v2\"";

/// The answer of an origin to a Range of ten bytes, whatever the other fields.
fn piece(head: &Head, fields: &str, text: &str) -> Reply {
    let (start, end) = asked(head, text.len()).expect("a range");
    let place = format!("Content-Range: bytes {start}-{}/{}", end - 1, text.len());
    Reply::Bytes(response(206, &format!("{fields}|{place}"), &text[start..end]))
}

/// Two parts that are stale, with these fields; then what the script says.
fn stale_parts(old: &'static str, then: impl Fn(&Head, usize) -> Reply + Send + Sync + 'static) -> Scene {
    let scene = Scene::new(move |head, number| match number {
        0 | 1 => piece(head, old, TEXT),
        _ => then(head, number - 2),
    });
    part(&scene, "/", "0-1");
    part(&scene, "/", "4-7");
    scene
}

/// Whether it is there, and fresh.
fn is_there(scene: &Scene, range: &str) -> bool {
    let fields = format!("Range: bytes={range}|Cache-Control: only-if-cached");
    scene.get_with("/", &fields).status() == 206
}

#[test]
fn rules_31_32_and_35_a_304_renews_all_parts() {
    for (fields, confirms) in [
        ("Cache-Control: max-age=600", true),
        (FRESH, true),
        ("Cache-Control: max-age=600|X-New: 1", true),
        // About something else, or not about bytes: asked for once more.
        (OTHER, false),
        ("Cache-Control: max-age=600|ETag: W/\"v1\"", false),
        ("Cache-Control: max-age=600|Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT", false),
    ] {
        let scene = stale_parts(OLD, move |head, number| match number {
            0 => unmodified(fields),
            _ => piece(head, OTHER, "ABCDEFGHIJ"),
        });
        let answer =
            scene.get_with("/", "Range: bytes=5-6|X-Who: me|If-Modified-Since: never|If-None-Match: \"x\"");
        let expected = if confirms { "56" } else { "FG" };
        assert_eq!((answer.status(), answer.text().as_str()), (206, expected), "{fields}: {answer:?}");
        assert_eq!(answer.head.get("content-range"), Some("bytes 5-6/10"), "{fields}");
        let heads = scene.origin.heads();
        let question = &heads[2];
        let told = ["if-none-match", "range", "x-who", "if-range", "if-modified-since"]
            .map(|name| question.get(name));
        assert_eq!(told, [Some("\"v1\""), Some("bytes=5-6"), Some("me"), None, None], "{fields}");
        if confirms {
            assert!(status(&answer).starts_with("fwd=stale; fwd-status=304; ttl="), "{answer:?}");
            assert!(has_long(&answer), "{answer:?}");
            assert_eq!(answer.head.has("x-new"), fields.contains("X-New"));
            scene.weir.wait_for_log(|line| line.contains("cache=revalidated"));
        } else {
            assert_eq!(heads[3].get("range"), Some("bytes=5-6"), "{fields}");
            assert_eq!(heads[3].get("if-none-match"), Some("\"x\""), "{fields}");
        }
        assert_eq!(scene.asked("/"), if confirms { 3 } else { 4 }, "{fields}");
        for range in ["0-1", "4-7"] {
            assert_eq!(is_there(&scene, range), confirms, "{fields} {range}");
        }
        assert!(is_there(&scene, "5-6"), "{fields}");
        scene.at_rest();
    }
}

/// Responses to the validation of stale parts, other than 304; the response that the client gets, and the parts that
/// are stored and fresh then.
#[test]
fn rules_23_25_and_35_what_becomes_of_stale_parts() {
    let if_error = "Cache-Control: max-age=1, stale-if-error=600|Age: 5|ETag: \"v1\"";
    let must = "Cache-Control: max-age=1, must-revalidate|Age: 5|ETag: \"v1\"";
    for (case, old, code, body, there) in [
        // The origin ignores our condition: these bytes are renewed, and by their tag the others.
        ("206 same", OLD, 206, "56", [true, true]),
        ("206 same and shorter", OLD, 206, "5", [true, true]),
        ("206 other", OLD, 206, "FG", [false, false]),
        ("206 other length", OLD, 206, "56", [false, false]),
        ("206 no-store", OLD, 206, "56", [false, false]),
        ("200 same", OLD, 200, TEXT, [true, true]),
        ("200 other", OLD, 200, "ABCDEFGHIJ", [true, true]),
        ("200 no-store", OLD, 200, "ABCDEFGHIJ", [false, false]),
        ("404", OLD, 404, "", [false, false]),
        ("416", OLD, 416, "", [false, false]),
        ("500", OLD, 500, "", [false, false]),
        ("500", if_error, 206, "56", [false, false]),
        ("gone", OLD, 206, "56", [false, false]),
        ("gone", must, 502, "", [false, false]),
    ] {
        let scene = stale_parts(old, move |head, _| match case {
            "206 same" => piece(head, FRESH, TEXT),
            "206 same and shorter" => {
                Reply::Bytes(response(206, &format!("{FRESH}|Content-Range: bytes 5-5/10"), "5"))
            }
            "206 other" => piece(head, OTHER, "ABCDEFGHIJ"),
            "206 other length" => piece(head, FRESH, "0123456789A"),
            "206 no-store" => piece(head, "Cache-Control: no-store|ETag: \"v1\"", TEXT),
            "200 same" => ok(FRESH, TEXT),
            "200 other" => ok(OTHER, "ABCDEFGHIJ"),
            "200 no-store" => ok("Cache-Control: no-store", "ABCDEFGHIJ"),
            "404" => Reply::Bytes(response(404, "", "")),
            "416" => Reply::Bytes(response(416, "Content-Range: bytes */3", "")),
            "500" => Reply::Bytes(response(500, "", "")),
            _ => Reply::Last(Vec::new()),
        });
        let answer = part(&scene, "/", "5-6");
        assert_eq!(answer.status(), code, "{case}: {answer:?}");
        assert!(code == 502 || answer.text() == body, "{case}: {answer:?}");
        assert_eq!(["0-1", "4-7"].map(|range| is_there(&scene, range)), there, "{case}");
        scene.at_rest();
        // A response that says nothing about the parts leaves them; the others replace or remove them.
        let entries = u64::from(!matches!(case, "206 no-store" | "200 no-store" | "404" | "416"));
        assert_eq!(scene.at_rest().get("cache_entries"), entries, "{case}");
    }
}

/// The missing range of stale parts confirms them by its tag, and renews them.
#[test]
fn rule_35_stale_parts_are_completed_by_what_renews_them() {
    for changed in [false, true] {
        for (range, code, body, missing, other) in [
            ("", 200, TEXT, "bytes=2-9", "ABCDEFGHIJ"),
            ("Range: bytes=1-5", 206, "12345", "bytes=2-3", "ABCDEFGHIJ"),
            ("Range: bytes=1-5|Cache-Control: no-cache", 206, "12345", "bytes=2-3", "ABCDEFGHIJ"),
        ] {
            let scene = stale_parts(OLD, move |head, _| match (changed, head.has("range")) {
                (false, true) => piece(head, FRESH, TEXT),
                (true, _) if head.get("if-range") == Some("\"v1\"") => ok(OTHER, "ABCDEFGHIJ"),
                (_, _) => panic!("{head:?}"),
            });
            let answer = scene.get_with("/", range);
            let expected = if changed { (200, other) } else { (code, body) };
            assert_eq!((answer.status(), answer.text().as_str()), expected, "{range}: {answer:?}");
            assert_eq!(scene.last("/").get("range"), Some(missing), "{range}");
            assert!(!changed || !status(&answer).starts_with("hit"), "{answer:?}");
            let again = scene.get_with("/", range.trim_end_matches("|Cache-Control: no-cache"));
            assert!(is_hit(&again) && has_long(&again), "{range}: {again:?}");
            assert_eq!(scene.asked("/"), 3, "{range}");
            scene.at_rest();
        }
    }
}

/// A client's own conditions on parts that are stale: asked first, judged then.
#[test]
fn rules_33_and_35_conditions_on_stale_parts() {
    let dated = "Cache-Control: max-age=1|Age: 5|ETag: \"v1\"|Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT";
    let range = "Range: bytes=5-6";
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (fields, changed, code, body, count) in [
        ("If-None-Match: \"v1\"".to_owned(), false, 304, "", 1),
        ("If-None-Match: \"v0\"".to_owned(), false, 206, "56", 1),
        ("If-None-Match: \"v1\"".to_owned(), true, 206, "FG", 1),
        ("If-Range: \"v1\"".to_owned(), false, 206, "56", 1),
        // Another one by now: all of it.
        ("If-Range: \"v1\"".to_owned(), true, 200, "ABCDEFGHIJ", 1),
        ("If-Range: \"v0\"".to_owned(), false, 200, TEXT, 1),
        (format!("If-Range: {date}"), false, 206, "56", 1),
        (format!("If-Range: {date}|X-Touch: 1"), false, 200, TEXT, 2),
        ("Cache-Control: no-store".to_owned(), false, 206, "56", 1),
    ] {
        let scene = stale_parts(dated, move |head, number| {
            let (current, text) = if changed { (OTHER, "ABCDEFGHIJ") } else { (FRESH, TEXT) };
            let tag = if changed { "\"v2\"" } else { "\"v1\"" };
            let touched = head.has("x-touch");
            match (head.get("if-none-match"), head.get("if-range")) {
                (Some(known), _) if known == tag && touched => {
                    unmodified(&format!("{FRESH}|Last-Modified: Mon, 07 Nov 1994 08:49:37 GMT"))
                }
                (Some(known), _) if known == tag => unmodified(FRESH),
                (_, Some(known)) if known != tag && (known != date || changed || touched) => {
                    ok(current, text)
                }
                _ if number > 5 => panic!("asked again and again"),
                _ => piece(head, current, text),
            }
        });
        let answer: Response = scene.get_with("/", &format!("{range}|{fields}"));
        assert_eq!((answer.status(), answer.text().as_str()), (code, body), "{fields}: {answer:?}");
        assert_eq!(scene.asked("/"), 2 + count, "{fields}");
        let line = fields.split('|').find_map(|line| line.strip_prefix("If-Range: "));
        assert_eq!(scene.origin.heads()[2].get("if-range"), line, "{fields}");
        assert_eq!(is_there(&scene, "5-6"), !fields.contains("no-store"), "{fields}");
        scene.at_rest();
    }
    // Fresh ones, too, if the client wants that.
    let scene = stale_parts(FRESH, |_, _| unmodified(FRESH));
    let answer = scene.get_with("/", "Range: bytes=5-6|Cache-Control: no-cache");
    assert_eq!((answer.status(), answer.text().as_str(), scene.asked("/")), (206, "56", 3));
    assert_eq!(scene.last("/").get("if-none-match"), Some("\"v1\""));
    // Renewed so that it must not be stored.
    let scene = stale_parts(OLD, |_, _| unmodified("Cache-Control: no-store"));
    assert_eq!(part(&scene, "/", "5-6").text(), "56");
    assert_eq!(scene.at_rest().get("cache_entries"), 0);
}

#[test]
fn rules_24_and_35_stale_parts_are_refreshed_once_in_the_background() {
    let old = "Cache-Control: max-age=1, stale-while-revalidate=600|Age: 5|ETag: \"v1\"";
    for (case, renewed) in [("304", true), ("206", true), ("changed", false), ("500", false)] {
        for workers in ["1", "2"] {
            let gate = Gate::default();
            let script_gate = gate.clone();
            let scene = Scene::with(&["--workers", workers], move |head, number| {
                if number >= 2 {
                    script_gate.pass();
                }
                match (number, case) {
                    (0 | 1, _) => piece(head, old, TEXT),
                    (_, "304") => unmodified(FRESH),
                    (_, "206") => piece(head, FRESH, TEXT),
                    (_, "changed") => piece(head, OTHER, "ABCDEFGHIJ"),
                    _ => Reply::Bytes(response(500, "", "")),
                }
            });
            part(&scene, "/", "0-1");
            scene.get_with("/", "Range: bytes=4-7|X-Who: first");
            for (range, body) in [("5-6", "56"), ("0-0", "0"), ("4-7", "4567"), ("1-1", "1")] {
                let answer = scene.get_with("/", &format!("Range: bytes={range}|X-Who: {range}"));
                assert_eq!((answer.text().as_str(), is_hit(&answer)), (body, true), "{case}: {answer:?}");
            }
            scene.wait_asked("/", 3);
            let asked = scene.last("/");
            let told = ["x-who", "if-none-match", "range"].map(|name| asked.get(name));
            assert_eq!(told, [Some("5-6"), Some("\"v1\""), Some("bytes=5-6")], "{case}");
            gate.open(1);
            let statistics = scene.at_rest();
            assert_eq!((statistics.get("cache_refreshes"), scene.asked("/")), (1, 3), "{case} {workers}");
            if case != "500" {
                let answer = part(&scene, "/", "5-6");
                assert_eq!(answer.text(), if case == "changed" { "FG" } else { "56" }, "{case}");
                assert!(is_hit(&answer) && has_long(&answer), "{case}: {answer:?}");
                assert_eq!(is_there(&scene, "0-1"), renewed, "{case}");
            }
            gate.open(9);
        }
    }
}

/// A request for the whole during the refresh waits for it, and does not take a part for the whole.
#[test]
fn rules_35_and_48_the_whole_is_not_what_refreshes_a_part() {
    let old = "Cache-Control: max-age=1, stale-while-revalidate=600|Age: 5|ETag: \"v1\"";
    for workers in ["1", "2"] {
        let gate = Gate::default();
        let script_gate = gate.clone();
        let scene = Scene::with(&["--workers", workers], move |head, number| match number {
            0 => piece(head, old, TEXT),
            1 => {
                let Reply::Bytes(bytes) = piece(head, FRESH, TEXT) else { panic!("bytes") };
                let (head, body) = bytes.split_at(bytes.len() - 2);
                script_gate.pass();
                Reply::Slowly(head.to_vec(), vec![body.to_vec()], script_gate.clone())
            }
            _ if head.has("range") => piece(head, FRESH, TEXT),
            _ => ok(FRESH, TEXT),
        });
        part(&scene, "/", "0-4");
        assert!(is_hit(&part(&scene, "/", "1-2")));
        scene.wait_asked("/", 2);
        let mut clients: Vec<common::Raw> = (0..6).map(|_| scene.weir.connect()).collect();
        for client in &mut clients {
            client.send(scene.request("GET", "/", ""));
        }
        gate.open(1);
        for client in &mut clients {
            let answer = client.read_response_to("GET");
            assert_eq!((answer.status(), answer.text().as_str()), (200, TEXT), "{answer:?}");
        }
        gate.open(1);
        scene.at_rest();
        assert!(is_hit(&scene.get("/")));
    }
}

/// Whether it is fresh for as long as the origin said last, ten minutes, and not for as long as it was before.
fn has_long(answer: &Response) -> bool {
    let ttl = status(answer).split_once("ttl=").and_then(|(_, rest)| rest.split(';').next()?.parse().ok());
    ttl.is_some_and(|seconds: u32| (300..=600).contains(&seconds))
}
