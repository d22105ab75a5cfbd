//! What a response means for the stored one that it is about, or is not about.

use super::common::eventually;
use super::scene::{Gate, Reply, Scene, is_hit, ok, response, unmodified};
use std::thread;

/// Fields that come with every confirmation make no entry larger than a head may be.
#[test]
fn rule_46_confirmations_do_not_grow_an_entry() {
    for method in ["GET", "HEAD"] {
        let scene = Scene::new(|head, number| {
            let more: String = (0..20).map(|at| format!("|X-{number}-{at}: {}", "y".repeat(900))).collect();
            match number {
                _ if head.method() == "GET" && !head.has("if-none-match") => {
                    ok("Cache-Control: max-age=0|ETag: \"a\"", "text")
                }
                _ if head.method() == "HEAD" => {
                    ok(&format!("Cache-Control: max-age=0|ETag: \"a\"{more}"), "")
                }
                _ => unmodified(&format!("Cache-Control: max-age=0|ETag: \"a\"{more}")),
            }
        });
        scene.get("/");
        for _ in 0..20 {
            assert_eq!(scene.ask(method, "/", "").status(), 200);
            let bytes = scene.weir.statistics().get("cache_bytes");
            assert!(bytes < 100_000, "{method}: {bytes} bytes");
        }
    }
}

/// A HEAD that finds a page shows that a stored error or redirect is outdated.
#[test]
fn rule_36_head_outdates_a_stored_error() {
    let scene = Scene::new(|head, number| match (number, head.method()) {
        (0, _) => Reply::Bytes(response(404, "Cache-Control: max-age=1|Age: 5", "none")),
        (_, "HEAD") => Reply::Bytes(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\r\n".to_vec()),
        _ => ok("Cache-Control: max-age=60", "there"),
    });
    assert_eq!(scene.get("/").status(), 404);
    assert_eq!(scene.ask("HEAD", "/", "").status(), 200);
    let answer = scene.get("/");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "there"));
}

/// A refresh in the background is for all clients: the conditions and the range of the client that brought it about stay away.
#[test]
fn rule_24_a_refresh_has_no_conditions_of_a_client() {
    for fields in
        ["Range: bytes=1-2", "If-None-Match: \"x\"", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT"]
    {
        let scene = Scene::new(|_, number| match number {
            0 => ok("Cache-Control: max-age=1, stale-while-revalidate=600|Age: 5", "old"),
            _ => ok("Cache-Control: max-age=600", "new"),
        });
        scene.get("/");
        assert!(is_hit(&scene.get_with("/", fields)), "{fields}");
        scene.wait_asked("/", 2);
        let asked = scene.last("/");
        assert!(
            ["range", "if-none-match", "if-modified-since"].iter().all(|name| !asked.has(name)),
            "{asked:?}"
        );
        eventually("it is refreshed", || (scene.get("/").text() == "new").then_some(()));
        assert_eq!(scene.asked("/"), 2, "{fields}");
    }
    // Requests with credentials renew what may be shared in spite of them.
    let scene = Scene::new(|_, number| match number {
        0 => ok("Cache-Control: public, max-age=1, stale-while-revalidate=600|Age: 5", "old"),
        _ => ok("Cache-Control: public, max-age=600", "new"),
    });
    scene.get("/");
    assert!(is_hit(&scene.get_with("/", "Authorization: Basic YTpi")));
    eventually("it is refreshed", || (scene.get("/").text() == "new").then_some(()));
    assert!(scene.asked("/") == 2 && scene.last("/").has("authorization"));
    // What is not stored, or for one user, or not fetched by a cache behind weir, renews nothing.
    for fields in
        ["Cache-Control: no-store", "Authorization: Basic YTpi", "Cache-Control: only-if-cached, max-stale"]
    {
        let scene = Scene::answering("Cache-Control: max-age=1, stale-while-revalidate=600|Age: 5", "old");
        scene.get("/");
        scene.get_with("/", fields);
        let at_rest = scene.at_rest();
        assert_eq!(at_rest.get("cache_refreshes"), 0, "{fields}");
        assert_eq!(at_rest.get("cache_entries"), 1, "{fields}");
    }
}

/// An answer to one client's condition, range or credentials leaves the entry for the others.
#[test]
fn rules_20_and_23_answers_to_one_client_remove_nothing() {
    for (fields, code) in [
        ("If-None-Match: \"x\"", 304),
        ("If-Match: \"x\"", 412),
        ("Range: bytes=99-", 416),
        ("Authorization: Basic YTpi", 401),
        ("", 429),
    ] {
        let scene = Scene::new(move |_, number| match number {
            0 => ok("Cache-Control: max-age=1", "old"),
            1 if code == 304 => unmodified(""),
            1 => Reply::Bytes(response(code, "", "")),
            _ => Reply::Last(Vec::new()),
        });
        scene.get("/");
        eventually("it is stale", || {
            (scene.get_with("/", "Cache-Control: only-if-cached").status() == 504).then_some(())
        });
        assert_eq!(scene.get_with("/", fields).status(), code, "{fields}");
        let stale = scene.get("/");
        assert_eq!((stale.status(), stale.text().as_str()), (200, "old"), "{fields}");
    }
}

/// A response that weir refuses as faulty says nothing about the stored one.
#[test]
fn rule_25_faulty_responses_remove_nothing() {
    for faulty in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nxx",
    ] {
        let scene = Scene::new(move |_, number| match number {
            0 => ok("Cache-Control: max-age=1, stale-if-error=600|Age: 5", "old"),
            _ => Reply::Last(faulty.into()),
        });
        for _ in 0..3 {
            let answer = scene.get("/");
            assert_eq!((answer.status(), answer.text().as_str()), (200, "old"), "{faulty}");
        }
    }
}

/// Requests for what was for one client only do not wait for each other any more.
#[test]
fn rule_48_private_responses_are_waited_for_once() {
    let gate = Gate::default();
    let held = gate.clone();
    let scene = Scene::new(move |_, number| {
        let bytes = response(200, "Cache-Control: private", "mine");
        match number {
            0 => Reply::Bytes(bytes),
            _ => Reply::Slowly(Vec::new(), vec![bytes], held.clone()),
        }
    });
    assert_eq!(scene.get("/").text(), "mine");
    thread::scope(|scope| {
        let asks: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| scene.weir.connect().ask(scene.request("GET", "/", "")).text()))
            .collect();
        // All of them are there before one has an answer.
        scene.wait_asked("/", 4);
        gate.open(3);
        asks.into_iter().for_each(|one| assert_eq!(one.join().expect("an answer"), "mine"));
    });
}
