//! Attacks on the cache: clients and origins that try to change the responses of others, or to get responses that are
//! not for them.

use super::common::eventually;
use super::scene::{Gate, Reply, Scene, is_hit, ok, response};

#[test]
fn rule_26_the_key_takes_the_authority_that_is_dialled() {
    let good = Scene::answering("Cache-Control: max-age=60", "good");
    let evil = Scene::answering("Cache-Control: max-age=60", "evil");
    let (good_at, evil_at) = (good.origin.address(), evil.origin.address());
    let mut client = good.weir.connect();
    // The target names one, Host the other: Host is written anew, and decides nothing.
    let answer = client.ask(format!("GET http://{evil_at}/ HTTP/1.1\r\nHost: {good_at}\r\n\r\n"));
    assert_eq!(answer.text(), "evil");
    let answer = client.ask(format!("GET http://{good_at}/ HTTP/1.1\r\nHost: {evil_at}\r\n\r\n"));
    assert_eq!(answer.text(), "good");
    for fields in
        ["X-Forwarded-Host: x", "X-Original-URL: /admin", "X-Rewrite-URL: /admin", "Forwarded: host=x"]
    {
        let answer =
            client.ask(format!("GET http://{good_at}/ HTTP/1.1\r\nHost: {good_at}\r\n{fields}\r\n\r\n"));
        assert_eq!((answer.text().as_str(), is_hit(&answer)), ("good", true), "{fields}");
    }
}

#[test]
fn a_body_of_a_get_is_no_part_of_the_key_so_it_is_not_stored() {
    let scene = Scene::new(|head, _| match head.has("content-length") {
        true => ok("Cache-Control: max-age=60", "poison"),
        false => ok("Cache-Control: max-age=60", "good"),
    });
    let mut client = scene.weir.connect();
    let request = scene.request("GET", "/", "Content-Length: 5");
    for _ in 0..2 {
        client.send([request.clone(), b"param".to_vec()].concat());
        let answer = client.read_response();
        assert_eq!((answer.text().as_str(), is_hit(&answer)), ("poison", false));
    }
    assert_eq!(scene.get("/").text(), "good");
}

#[test]
fn errors_that_one_clients_fields_bring_about_are_not_stored() {
    let scene = Scene::new(|head, _| match (head.has("range"), head.has("expect"), head.has("x-huge")) {
        (true, _, _) => Reply::Bytes(response(416, "Cache-Control: max-age=60", "")),
        (_, _, true) => Reply::Bytes(response(431, "Cache-Control: max-age=60", "")),
        _ => ok("Cache-Control: max-age=60", "good"),
    });
    for fields in ["Range: bytes=900-", "X-Huge: 1"] {
        scene.get_with("/", fields);
        assert_eq!(scene.get_with("/", "Cache-Control: no-cache").status(), 200);
    }
    assert_eq!(scene.get("/").text(), "good");
}

#[test]
fn rule_41_a_desynchronised_origin_cannot_answer_the_next_question() {
    let scene = Scene::new(|head, _| match head.target() {
        "/first" => {
            // Two answers to one question.
            let mut bytes = response(200, "Cache-Control: max-age=60", "first");
            bytes.extend(response(200, "Cache-Control: max-age=60", "POISON"));
            Reply::Bytes(bytes)
        }
        _ => ok("Cache-Control: max-age=60", "second"),
    });
    for _ in 0..3 {
        assert_eq!(scene.get("/first").text(), "first");
        assert_eq!(scene.get("/second").text(), "second");
    }
    // Bytes beyond the announced length are dropped, and the connection is not reused.
    let scene = Scene::new(|head, _| match head.target() {
        "/long" => Reply::Bytes(
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\nfirstPOISON".to_vec(),
        ),
        _ => ok("Cache-Control: max-age=60", "second"),
    });
    assert_eq!((scene.get("/long").text(), scene.get("/next").text()), ("first".into(), "second".into()));
    assert_eq!((scene.get("/long").text(), scene.origin.connections()), ("first".into(), 2));
    // A head that can be read in two ways is no answer at all.
    let scene = Scene::new(|_, _| {
        Reply::Bytes(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd".to_vec())
    });
    for _ in 0..2 {
        assert_eq!(scene.get("/").status(), 502);
    }
}

#[test]
fn rule_35_range_games_store_nothing_partial_as_whole() {
    let scene = Scene::new(|head, _| match head.get("range") {
        Some(_) => Reply::Bytes(response(206, "Cache-Control: max-age=60|Content-Range: bytes 0-0/10", "0")),
        None => ok("Cache-Control: max-age=60", "0123456789"),
    });
    scene.get_with("/", "Range: bytes=0-0");
    assert_eq!(scene.get("/").text(), "0123456789");
    // A 206 without a Range in the request.
    let scene = Scene::new(|_, _| {
        Reply::Bytes(response(
            206,
            "Cache-Control: max-age=60|ETag: \"a\"|Content-Range: bytes 0-2/10",
            "012",
        ))
    });
    scene.get("/");
    assert!(!is_hit(&scene.get("/")));
}

#[test]
fn rule_27_variants_of_one_page_are_bounded() {
    let scene = Scene::new(|head, _| match head.target() {
        "/other" => ok("Cache-Control: max-age=60", "other"),
        _ => ok("Cache-Control: max-age=60|Vary: User-Agent", head.get("user-agent").unwrap_or_default()),
    });
    scene.get("/other");
    for number in 0..200 {
        let agent = format!("agent-{number}");
        assert_eq!(scene.get_with("/", &format!("User-Agent: {agent}")).text(), agent);
    }
    let now = scene.at_rest();
    assert_eq!((now.get("cache_entries"), now.get("cache_variants_evicted")), (17, 184));
    assert!(is_hit(&scene.get("/other")));
    assert!(is_hit(&scene.get_with("/", "User-Agent: agent-199")));
    assert!(!is_hit(&scene.get_with("/", "User-Agent: agent-0")));
    let many: String = (0..100).map(|number| format!("x-{number}, ")).collect();
    let scene = Scene::answering(&format!("Cache-Control: max-age=60|Vary: {many}a"), "x");
    scene.get("/");
    assert!(!is_hit(&scene.get("/")), "Vary names too many fields");
}

/// A request during another user's fetch does not get that user's response, neither by its own fields nor by those of
/// the response.
#[test]
fn rules_22_and_48_requests_of_different_users_are_not_answered_with_each_others_pages() {
    const GUESSED: &str = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT";
    for (own, fields) in [
        ("Cookie", format!("{GUESSED}|Set-Cookie: session=1")),
        ("Cookie", "Cache-Control: max-age=60|Set-Cookie: session=1".to_owned()),
        ("Cookie", "Cache-Control: max-age=60, private".to_owned()),
        ("Authorization", "Cache-Control: max-age=60".to_owned()),
        ("Authorization", format!("{GUESSED}|Set-Cookie: session=1")),
    ] {
        let gate = Gate::default();
        let (script_gate, script_fields) = (gate.clone(), fields.clone());
        let scene = Scene::new(move |head, number| {
            let user = head.get("authorization").or(head.get("cookie")).unwrap_or_default();
            let answer = response(200, &script_fields, user);
            if number == 0 {
                Reply::Slowly(Vec::new(), vec![answer], script_gate.clone())
            } else {
                Reply::Bytes(answer)
            }
        });
        let mut clients = Vec::new();
        for number in 0..8 {
            let mut client = scene.weir.connect();
            client.send(scene.request("GET", "/", &format!("{own}: user-{number}")));
            clients.push(client);
            if number == 0 {
                scene.wait_asked("/", 1);
            }
        }
        eventually("all have asked", || (scene.weir.statistics().get("requests") >= 8).then_some(()));
        gate.open(1);
        for (number, mut client) in clients.into_iter().enumerate() {
            assert_eq!(client.read_response().text(), format!("user-{number}"), "{own} {fields}");
        }
        assert_eq!(scene.asked("/"), 8, "{own} {fields}");
    }
}

#[test]
fn an_answer_that_was_asked_for_before_a_change_is_not_stored_after_it() {
    let gate = Gate::default();
    let script_gate = gate.clone();
    let scene = Scene::new(move |head, number| match (head.method(), number) {
        ("GET", 0) => Reply::Slowly(
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 3\r\n\r\n".to_vec(),
            vec![b"old".to_vec()],
            script_gate.clone(),
        ),
        ("GET", _) => ok("Cache-Control: max-age=60", "new"),
        _ => Reply::Bytes(response(200, "", "")),
    });
    let mut client = scene.weir.connect();
    client.send(scene.request("GET", "/", ""));
    client.read_head();
    assert_eq!(scene.ask("POST", "/", "Content-Length: 0").status(), 200);
    gate.open(1);
    assert_eq!(client.read_exact(3), b"old");
    let answer = scene.get("/");
    assert_eq!((answer.text().as_str(), is_hit(&answer)), ("new", false));
}

#[test]
fn who_may_not_go_there_does_not_get_it_from_memory() {
    let scratch = super::common::Scratch::new();
    let users = scratch.file("users", "anna:secret\n");
    let scene = Scene::with(&["--auth-file", &users], |_, _| ok("Cache-Control: max-age=60", "inside"));
    let credentials = "Proxy-Authorization: Basic YW5uYTpzZWNyZXQ=";
    assert_eq!(scene.get_with("/", credentials).text(), "inside");
    assert!(is_hit(&scene.get_with("/", credentials)));
    assert_eq!(scene.get("/").status(), 407);
}
