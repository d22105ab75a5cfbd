//! Rules 23 to 25: when the origin cannot answer, or need not be waited for.

use super::common::{self, eventually};
use super::scene::{Reply, Scene, is_hit, ok, response, status, unmodified};

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

/// Fresh when it comes and stale a second later: what has no validator then is of use to rule 23 only, and is kept.
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
    scene.weir.wait_for_log(|line| line.contains("cache=refresh"));
    let statistics = scene.at_rest();
    assert_eq!(statistics.get("cache_refreshes"), 1);
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
    }
    let _ = common::DEADLINE;
}
