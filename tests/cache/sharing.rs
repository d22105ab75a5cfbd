//! Rules 51 to 53: the requests and cookies of one client do not change the responses of another one.

use super::collapsing::{crowd, requests_begun};
use super::common::{Raw, eventually};
use super::scene::{Gate, Reply, Scene, is_hit, ok, response, status, unmodified};

const STORED: &str = "Cache-Control: max-age=60|ETag: \"a\"";

fn cookies(answer: &super::common::Response) -> Vec<String> {
    answer.head.all("set-cookie").into_iter().map(str::to_owned).collect()
}

/// An origin that stores a page, confirms it with these fields, and tells who asks without a condition again.
fn confirming(options: &[&str], first: &'static str, confirms_with: &'static str) -> Scene {
    Scene::with(options, move |head, number| match (number, head.has("if-none-match")) {
        (0, _) => ok(first, "page"),
        (_, true) => unmodified(confirms_with),
        (_, false) => ok(first, "another"),
    })
}

#[test]
fn rule_52_kind_02_a_cookie_that_comes_with_a_304_is_for_the_one_who_asked() {
    for options in [&[][..], &["--workers", "2"], &["--no-cache-status"]] {
        let with = "Set-Cookie: session=alice|Cache-Control: max-age=60|ETag: \"a\"";
        let scene = confirming(options, STORED, with);
        scene.get("/");
        let alice = scene.get_with("/", "Cache-Control: no-cache|Cookie: user=alice");
        assert_eq!((alice.text().as_str(), cookies(&alice)), ("page", vec!["session=alice".to_owned()]));
        // Her own condition is answered with a 304, and her cookie comes with that.
        let alice = scene.get_with("/", "Cache-Control: no-cache|If-None-Match: \"a\"");
        assert_eq!((alice.status(), cookies(&alice)), (304, vec!["session=alice".to_owned()]));
        for request in ["", "Cookie: user=bob", "If-None-Match: \"a\"", "Range: bytes=0-1"] {
            let bob = scene.get_with("/", request);
            assert_eq!((cookies(&bob), scene.asked("/")), (vec![], 3), "{request}");
        }
        assert_eq!(cookies(&scene.ask("HEAD", "/", "")), Vec::<String>::new());
    }
}

#[test]
fn rule_52_kind_02_a_stored_cookie_is_not_replaced_by_that_of_a_304() {
    let first = "Cache-Control: max-age=60|ETag: \"a\"|Set-Cookie: theme=dark";
    let scene = confirming(&[], first, "Set-Cookie: theme=alice|Set-Cookie: session=alice");
    scene.get("/");
    let alice = scene.get_with("/", "Cache-Control: no-cache");
    assert_eq!(cookies(&alice), ["theme=alice", "session=alice"], "hers, and not those that are stored");
    assert_eq!(cookies(&scene.get("/")), ["theme=dark"]);
}

#[test]
fn rule_52_kind_02_a_cookie_that_comes_with_a_head_answer_is_not_stored() {
    let scene = Scene::new(|head, number| {
        match (head.method(), number) {
        ("HEAD", _) => Reply::Bytes(
            b"HTTP/1.1 200 OK\r\nETag: \"a\"\r\nCache-Control: max-age=60\r\nX-New: 1\r\nSet-Cookie: session=alice\r\n\
              Content-Length: 4\r\n\r\n"
                .to_vec(),
        ),
        (_, 0) => ok(STORED, "page"),
        _ => ok(STORED, "another"),
    }
    });
    scene.get("/");
    let alice = scene.ask("HEAD", "/", "Cache-Control: no-cache");
    assert_eq!(cookies(&alice), ["session=alice"]);
    let bob = scene.get("/");
    assert_eq!((bob.text().as_str(), cookies(&bob)), ("page", vec![]));
    assert_eq!(bob.head.get("x-new"), Some("1"), "the other fields are updated");
}

#[test]
fn rule_52_kind_02_a_vary_that_comes_with_a_304_or_a_head_answer_holds_from_then_on() {
    for (method, vary, other_is_hit) in [
        ("GET", "Vary: Cookie", false),
        ("GET", "Vary: X-Other", true),
        ("GET", "Vary: *", false),
        ("HEAD", "Vary: Cookie", false),
        ("HEAD", "Vary: *", false),
        ("HEAD", "Vary: Accept, X-Other", true),
    ] {
        let scene =
            Scene::new(move |head, number| match (head.method(), number, head.has("if-none-match")) {
                (_, 0, _) => ok(STORED, "page"),
                ("HEAD", ..) => Reply::Bytes(
                    format!("HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 4\r\n{vary}\r\n\r\n")
                        .into_bytes(),
                ),
                (_, _, true) => unmodified(&format!("ETag: \"a\"|{vary}")),
                (_, _, false) => ok(&format!("{STORED}|{vary}"), "bob's"),
            });
        scene.get("/");
        scene.ask(method, "/", "Cache-Control: no-cache|Cookie: user=alice");
        let bob = scene.get_with("/", "Cookie: user=bob");
        assert_eq!((is_hit(&bob), bob.text() == "page"), (other_is_hit, other_is_hit), "{method} {vary}");
        if vary == "Vary: Cookie" {
            let alice = scene.get_with("/", "Cookie: user=alice");
            assert_eq!((is_hit(&alice), alice.text().as_str()), (true, "page"), "{method}");
        }
    }
}

#[test]
fn rule_52_kind_02_a_304_or_a_head_answer_is_judged_as_a_200() {
    let cases = [
        ("Cache-Control: private, max-age=60", ""),
        ("Cache-Control: no-store", ""),
        ("Cache-Control: max-age=60", "Authorization: Basic YQ=="),
        ("Cache-Control: must-understand, no-store, private", ""),
    ];
    for method in ["GET", "HEAD"] {
        for (fields, asked) in cases {
            let scene =
                Scene::new(move |head, number| match (head.method(), number, head.has("if-none-match")) {
                    (_, 0, _) => ok(STORED, "page"),
                    ("HEAD", ..) => Reply::Bytes(
                        format!("HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 4\r\n{fields}\r\n\r\n")
                            .into_bytes(),
                    ),
                    (_, _, true) => unmodified(&format!("ETag: \"a\"|{fields}")),
                    (_, _, false) => ok(STORED, "another"),
                });
            scene.get("/");
            scene.ask(method, "/", &format!("Cache-Control: no-cache|{asked}"));
            let bob = scene.get("/");
            assert_eq!((is_hit(&bob), bob.text().as_str()), (false, "another"), "{method} {fields} {asked}");
        }
    }
}

#[test]
fn rule_52_kind_02_who_waits_for_a_validation_gets_no_cookie_of_it() {
    for options in [&[][..], &["--workers", "2"]] {
        let gate = Gate::default();
        let script_gate = gate.clone();
        let scene = Scene::with(options, move |head, number| match (number, head.has("if-none-match")) {
            (0, _) => ok("Cache-Control: max-age=0|ETag: \"a\"", "page"),
            (_, true) => {
                let answer = "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nCache-Control: max-age=60\r\n\
                              Set-Cookie: session=leader\r\n\r\n";
                Reply::Slowly(Vec::new(), vec![answer.as_bytes().to_vec()], script_gate.clone())
            }
            (_, false) => ok("Cache-Control: max-age=60", "another"),
        });
        scene.get("/");
        let mut clients: Vec<Raw> = Vec::new();
        for number in 0..6 {
            let mut client = scene.weir.connect();
            client.send(scene.request("GET", "/", &format!("Cookie: user={number}")));
            clients.push(client);
            if number == 0 {
                scene.wait_asked("/", 2);
            }
        }
        requests_begun(&scene, 7);
        gate.open(1);
        let answers: Vec<_> = clients.iter_mut().map(Raw::read_response).collect();
        assert_eq!(cookies(&answers[0]), ["session=leader"]);
        for answer in &answers[1..] {
            assert_eq!((answer.text().as_str(), cookies(answer)), ("page", vec![]));
        }
        assert_eq!(scene.asked("/"), 2);
    }
}

#[test]
fn rule_52_kind_02_a_refresh_in_the_background_leaves_no_cookie_behind() {
    let first = "Cache-Control: max-age=0, stale-while-revalidate=60|ETag: \"a\"";
    let scene = confirming(&[], first, "Cache-Control: max-age=60|ETag: \"a\"|Set-Cookie: session=alice");
    scene.get("/");
    scene.get_with("/", "Cookie: user=alice");
    scene.wait_asked("/", 2);
    eventually("it is fresh", || is_hit(&scene.get("/")).then_some(()));
    assert_eq!(cookies(&scene.get("/")), Vec::<String>::new());
}

/// The origin shows what it saw of X-Role, and varies by it.
fn by_role(options: &[&str], vary: &'static str) -> Scene {
    Scene::with(options, move |head, _| {
        let role = head.get("x-role").unwrap_or("none").to_owned();
        ok(&format!("Cache-Control: max-age=60|Vary: {vary}"), &role)
    })
}

#[test]
fn rule_51_kind_03_what_connection_names_selects_nothing() {
    for options in [&[][..], &["--workers", "2"]] {
        for connection in [
            "Connection: X-Role",
            "Connection: x-role, close",
            "Connection: Origin , X-ROLE",
            "Connection: a|Connection: X-Role",
        ] {
            let scene = by_role(options, "X-Role, Origin");
            // The origin does not see the role, and answers as to a stranger.
            let poor = scene.get_with("/", &format!("X-Role: admin|{connection}"));
            assert_eq!(poor.text(), "none", "{connection}");
            let rich = scene.get_with("/", "X-Role: admin");
            assert_eq!(
                rich.text(),
                "admin",
                "{connection}: the poor answer was not stored under the rich request"
            );
            // And the other way about.
            let poor = scene.get_with("/", &format!("X-Role: admin|{connection}"));
            assert_eq!((poor.text().as_str(), is_hit(&poor)), ("none", true), "{connection}");
            let none = scene.get("/");
            assert_eq!((none.text().as_str(), is_hit(&none)), ("none", true), "{connection}");
        }
    }
}

#[test]
fn rule_51_kind_03_fields_that_cannot_be_removed_still_select() {
    // Connection names fields that go on all the same (rule 25).
    let scene = Scene::new(|head, _| {
        let role = head.get("authorization").unwrap_or("none").to_owned();
        ok("Cache-Control: public, max-age=60|Vary: Authorization", &role)
    });
    assert_eq!(
        scene.get_with("/", "Authorization: Basic YQ==|Connection: Authorization").text(),
        "Basic YQ=="
    );
    let same = scene.get_with("/", "Authorization: Basic YQ==");
    assert_eq!((same.text().as_str(), is_hit(&same)), ("Basic YQ==", true));
    assert_eq!(scene.get("/").text(), "none");
}

#[test]
fn rule_51_kind_03_header_edits_count_as_the_origin_sees_them() {
    let scene = by_role(&["--remove-header", "X-Role"], "X-Role");
    assert_eq!(scene.get_with("/", "X-Role: admin").text(), "none");
    let other = scene.get_with("/", "X-Role: guest");
    assert_eq!(
        (other.text().as_str(), is_hit(&other)),
        ("none", true),
        "the origin sees no role of a client"
    );
    let scene = by_role(&["--add-header", "X-Role: weir"], "X-Role");
    assert_eq!(scene.get("/").text(), "weir");
    let again = scene.get("/");
    assert_eq!((again.text().as_str(), is_hit(&again)), ("weir", true));
}

#[test]
fn rule_51_kind_03_a_field_that_is_not_known_to_be_a_list_is_one_value() {
    for (one, other, same) in [
        (",de", "de", false),
        ("de,", "de", false),
        ("de,,at", "de,at", false),
        ("de, at", "at, de", false),
        ("de", "DE", false),
        ("de,at", "de, at", true),
    ] {
        let scene = Scene::new(|head, _| {
            let locale = head.get("x-locale").unwrap_or("none").to_owned();
            ok("Cache-Control: max-age=60|Vary: X-Locale", &locale)
        });
        scene.get_with("/", &format!("X-Locale: {one}"));
        let answer = scene.get_with("/", &format!("X-Locale: {other}"));
        assert_eq!(is_hit(&answer), same, "{one} / {other}");
    }
}

#[test]
fn rule_51_kind_03_waiters_are_told_apart_by_what_the_origin_saw() {
    let gate = Gate::default();
    let script_gate = gate.clone();
    let scene = Scene::new(move |head, number| {
        let role = head.get("x-role").unwrap_or("none").to_owned();
        let answer = response(200, "Cache-Control: max-age=60|Vary: X-Role", &role);
        match number {
            0 => Reply::Slowly(Vec::new(), vec![answer], script_gate.clone()),
            _ => Reply::Bytes(answer),
        }
    });
    let mut clients = crowd(&scene, "/", 6, |number| match number % 2 {
        0 => "X-Role: admin|Connection: X-Role".to_owned(),
        _ => "X-Role: admin".to_owned(),
    });
    requests_begun(&scene, 6);
    gate.open(1);
    for (number, client) in clients.iter_mut().enumerate() {
        let expected = if number % 2 == 0 { "none" } else { "admin" };
        assert_eq!(client.read_response().text(), expected, "{number}");
    }
}

/// What the origin does with a request that has the field `X-Bad`.
#[derive(Clone, Copy, Debug)]
enum Bad {
    Closes,
    LargeHead,
    Malformed,
    HalfHead,
    Hangs,
}

#[test]
fn rule_53_kind_04_what_a_leader_brings_about_is_its_own_failure() {
    for (bad, failure) in [
        (Bad::Closes, 502),
        (Bad::LargeHead, 502),
        (Bad::Malformed, 502),
        (Bad::HalfHead, 502),
        (Bad::Hangs, 504),
    ] {
        for options in [&["--timeout", "2s"][..], &["--timeout", "2s", "--workers", "2"]] {
            let gate = Gate::default();
            let script_gate = gate.clone();
            let never = Gate::default();
            let script_never = never.clone();
            let scene = Scene::with(options, move |head, _| {
                if !head.has("x-bad") {
                    return ok("Cache-Control: max-age=60", "good");
                }
                script_gate.pass();
                match bad {
                    Bad::Closes => Reply::Last(Vec::new()),
                    Bad::LargeHead => {
                        Reply::Last(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000)).into())
                    }
                    Bad::Malformed => Reply::Last(b"HTTP/1.1 2000 OK\r\n\r\n".to_vec()),
                    Bad::HalfHead => Reply::Last(b"HTTP/1.1 200 OK\r\nX: ".to_vec()),
                    Bad::Hangs => Reply::Slowly(Vec::new(), vec![Vec::new()], script_never.clone()),
                }
            });
            let mut clients =
                crowd(&scene, "/", 6, |number| if number == 0 { "X-Bad: 1" } else { "" }.to_owned());
            requests_begun(&scene, 6);
            gate.open(1);
            let answers: Vec<_> = clients.iter_mut().map(Raw::read_response).collect();
            never.open(1);
            assert_eq!(answers[0].status(), failure, "{bad:?} {options:?}");
            for answer in &answers[1..] {
                assert_eq!((answer.status(), answer.text().as_str()), (200, "good"), "{bad:?} {options:?}");
            }
            let asked = scene.asked("/");
            // With one loop the next one asks for all; each loop may ask for itself.
            assert!(asked <= 2 + usize::from(options.len() > 2), "{bad:?} {options:?}: {asked}");
        }
    }
}

#[test]
fn rule_53_kind_04_the_next_one_asks_anew_and_not_for_ever() {
    // Each request makes the origin close: no request waits for more than three others.
    let gate = Gate::default();
    let script_gate = gate.clone();
    let scene = Scene::new(move |_, _| {
        script_gate.pass();
        Reply::Last(Vec::new())
    });
    let mut clients = crowd(&scene, "/", 20, |_| String::new());
    requests_begun(&scene, 20);
    for asked in 1..=3 {
        assert_eq!(scene.asked("/"), asked);
        gate.open(1);
        scene.wait_asked("/", asked + 1);
    }
    gate.open(17);
    for client in &mut clients {
        assert_eq!(client.read_response().status(), 502);
    }
    assert_eq!(scene.asked("/"), 20);
}

#[test]
fn rule_53_kind_04_a_leader_that_waits_too_long_is_overtaken() {
    // The default time-out is a minute: no request waits that long for a response that it will not get.
    let gate = Gate::default();
    let script_gate = gate.clone();
    let scene = Scene::new(move |head, _| match head.has("x-bad") {
        true => Reply::Slowly(
            Vec::new(),
            vec![response(200, "Cache-Control: max-age=60", "late")],
            script_gate.clone(),
        ),
        false => ok("Cache-Control: max-age=60", "good"),
    });
    let mut clients = crowd(&scene, "/", 6, |number| if number == 0 { "X-Bad: 1" } else { "" }.to_owned());
    for client in &mut clients[1..] {
        assert_eq!(client.read_response().text(), "good");
    }
    assert_eq!(scene.asked("/"), 2);
    gate.open(1);
    assert_eq!(clients[0].read_response().text(), "late");
    assert_eq!(scene.weir.statistics().get("cache_overtaken"), 1);
}

#[test]
fn rule_53_kind_04_an_origin_that_cannot_be_reached_is_so_for_all() {
    // Nothing was sent: the failure is the origin's, and the waiting requests do not repeat it.
    let scene = Scene::new(|_, _| ok("Cache-Control: max-age=60", "good"));
    let dead =
        { std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address") };
    let mut clients: Vec<Raw> = (0..5).map(|_| scene.weir.connect()).collect();
    for client in &mut clients {
        client.send(format!("GET http://{dead}/ HTTP/1.1\r\nHost: {dead}\r\n\r\n"));
    }
    for client in &mut clients {
        assert_eq!(client.read_response().status(), 502);
    }
    let answer = scene.get("/");
    assert_eq!((answer.text().as_str(), status(&answer).contains("fwd=uri-miss")), ("good", true));
}

#[test]
fn rule_52_kind_02_a_cookie_that_comes_with_what_completes_a_part_is_for_the_one_who_asked() {
    let fields = "Cache-Control: max-age=60|ETag: \"a\"";
    let scene = Scene::new(move |head, _| match head.get("range") {
        Some("bytes=0-4") => {
            let fields = format!("{fields}|Content-Range: bytes 0-4/10");
            Reply::Bytes(response(206, &fields, "01234"))
        }
        Some(_) => {
            let fields = format!("{fields}|Content-Range: bytes 5-9/10|Set-Cookie: session=alice|X-New: 1");
            Reply::Bytes(response(206, &fields, "56789"))
        }
        None => ok(fields, "0123456789"),
    });
    scene.get_with("/", "Range: bytes=0-4");
    let alice = scene.get("/");
    assert_eq!((alice.text().as_str(), cookies(&alice)), ("0123456789", vec!["session=alice".to_owned()]));
    let bob = scene.get("/");
    assert_eq!((bob.text().as_str(), is_hit(&bob), cookies(&bob)), ("0123456789", true, vec![]));
    assert_eq!(scene.asked("/"), 2);
}

#[test]
fn rule_51_kind_03_what_weir_asks_under_its_own_condition_is_no_variant() {
    // The origin answers weir's own If-None-Match with another page, and says that it varies by it: no client has asked so.
    let scene = Scene::new(|head, number| match number {
        0 => ok(STORED, "page"),
        _ if head.has("if-none-match") => ok("Cache-Control: max-age=60|Vary: If-None-Match", "conditional"),
        _ => ok(STORED, "another"),
    });
    scene.get("/");
    assert_eq!(scene.get_with("/", "Cache-Control: no-cache").text(), "conditional");
    let next = scene.get("/");
    assert_eq!((next.text().as_str(), is_hit(&next)), ("another", false));
}

#[test]
fn rule_52_kind_02_a_page_that_varies_from_now_on_leaves_no_old_one_behind() {
    let scene = Scene::new(|head, number| match (number, head.get("cookie")) {
        (0, _) => ok(STORED, "old"),
        (_, cookie) => ok("Cache-Control: max-age=60|Vary: Cookie|ETag: \"b\"", cookie.unwrap_or("nobody")),
    });
    scene.get("/");
    assert_eq!(scene.get_with("/", "Cache-Control: no-cache|Cookie: user=alice").text(), "user=alice");
    assert_eq!(scene.get_with("/", "Cookie: user=bob").text(), "user=bob");
    assert_eq!(scene.get("/").text(), "nobody");
    let alice = scene.get_with("/", "Cookie: user=alice");
    assert_eq!((alice.text().as_str(), is_hit(&alice)), ("user=alice", true));
}

#[test]
fn rule_51_kind_03_what_anonymous_removes_selects_nothing() {
    let scene = Scene::with(&["--anonymous"], |head, _| {
        let from = head.get("referer").unwrap_or("none").to_owned();
        ok("Cache-Control: max-age=60|Vary: Referer", &from)
    });
    assert_eq!(scene.get_with("/", "Referer: http://a/").text(), "none");
    let other = scene.get_with("/", "Referer: http://b/");
    assert_eq!((other.text().as_str(), is_hit(&other)), ("none", true));
}
