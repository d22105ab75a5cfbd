//! Rules 47 and 48: many clients ask at once, the origin is asked once, and each client reads at its own speed.

use super::common::{self, Raw, eventually, pattern};
use super::scene::{Gate, Reply, Scene, ok, response, status};

/// Sends the same request from so many clients, and waits until the origin has one of them and the others wait.
pub fn crowd(scene: &Scene, path: &str, count: usize, fields: impl Fn(usize) -> String) -> Vec<Raw> {
    (0..count)
        .map(|number| {
            let mut client = scene.weir.connect();
            client.send(scene.request("GET", path, &fields(number)));
            if number == 0 {
                scene.wait_asked(path, 1);
            }
            client
        })
        .collect()
}

pub fn requests_begun(scene: &Scene, count: u64) {
    eventually("all have asked", || (scene.weir.statistics().get("requests") >= count).then_some(()));
}

#[test]
fn rule_48_one_fetch_for_all_who_ask_meanwhile() {
    let gate = Gate::default();
    let (script_gate, body) = (gate.clone(), "0123456789".repeat(1000));
    let answer = response(200, "Cache-Control: max-age=60", &body);
    let scene = Scene::new(move |_, _| Reply::Slowly(Vec::new(), vec![answer.clone()], script_gate.clone()));
    let clients = crowd(&scene, "/", 50, |_| String::new());
    requests_begun(&scene, 50);
    gate.open(1);
    let mut collapsed = 0;
    for mut client in clients {
        let answer = client.read_response();
        assert_eq!((answer.status(), answer.text() == body), (200, true));
        collapsed += usize::from(status(&answer).ends_with("; collapsed"));
    }
    assert_eq!((scene.asked("/"), collapsed), (1, 49));
    let statistics = scene.at_rest();
    assert_eq!((statistics.get("cache_collapsed"), statistics.get("cache_stored")), (49, 1));
    scene.weir.wait_for_log(|line| line.ends_with("cache=collapsed"));
}

#[test]
fn rule_48_readers_stream_while_it_grows_and_late_ones_join() {
    for chunked in [false, true] {
        let gate = Gate::default();
        let script_gate = gate.clone();
        let pieces: Vec<Vec<u8>> = (0..20).map(|number| pattern(number * 10_000, 10_000)).collect();
        let scene = Scene::new(move |_, _| {
            let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n";
            let frame = |piece: &Vec<u8>| [b"2710\r\n".to_vec(), piece.clone(), b"\r\n".to_vec()].concat();
            let (head, pieces) = match chunked {
                false => (format!("{head}Content-Length: 200000\r\n\r\n"), pieces.clone()),
                true => (
                    format!("{head}Transfer-Encoding: chunked\r\n\r\n"),
                    pieces.iter().map(frame).chain([b"0\r\nX-Sum: 1\r\n\r\n".to_vec()]).collect(),
                ),
            };
            Reply::Slowly(head.into_bytes(), pieces, script_gate.clone())
        });
        let mut first = scene.weir.connect();
        first.send(scene.request("GET", "/", ""));
        gate.open(3);
        let head = first.read_head();
        assert_eq!(head.status(), 200);
        // The first reader has the received bytes before the rest is sent.
        if !chunked {
            assert!(first.read_exact(30_000) == pattern(0, 30_000));
        }
        let mut second = scene.weir.connect();
        second.send(scene.request("GET", "/", ""));
        let late = second.read_head();
        assert!(late.has("age"), "{late:?}");
        if !chunked {
            assert!(second.read_exact(30_000) == pattern(0, 30_000));
        }
        gate.open(30);
        if chunked {
            for (client, head) in [(&mut first, &head), (&mut second, &late)] {
                let (hash, framing) = client.hash_body(head);
                assert_eq!((hash, framing), (common::Hash::of_pattern(200_000), common::Framing::Chunked));
            }
        } else {
            assert!(first.read_exact(170_000) == pattern(30_000, 170_000));
            assert!(second.read_exact(170_000) == pattern(30_000, 170_000));
        }
        assert_eq!(scene.asked("/"), 1);
        scene.at_rest();
    }
}

#[test]
fn rule_48_the_slowest_does_not_stop_the_fastest() {
    let scene = Scene::new(|_, _| {
        let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 7000000\r\n\r\n";
        Reply::Bytes([head.as_bytes().to_vec(), pattern(0, 7_000_000)].concat())
    });
    let mut slow = Raw::connect_small(scene.weir.address());
    slow.send(scene.request("GET", "/", ""));
    let head = slow.read_head();
    let fast = scene.get("/");
    assert!(fast.body.bytes == pattern(0, 7_000_000));
    assert_eq!(scene.asked("/"), 1);
    assert_eq!(slow.hash_body(&head).0, common::Hash::of_pattern(7_000_000));
}

#[test]
fn rule_48_what_is_not_shareable_is_asked_for_by_each() {
    let cases = [
        ("/private", "Cache-Control: private"),
        ("/no-store", "Cache-Control: no-store"),
        ("/stale", "Cache-Control: max-age=0|ETag: \"a\""),
        ("/vary", "Cache-Control: max-age=60|Vary: X-User"),
    ];
    for (path, fields) in cases {
        let gate = Gate::default();
        let script_gate = gate.clone();
        let scene = Scene::new(move |head, number| {
            let user = head.get("x-user").unwrap_or_default();
            let answer = response(200, fields, user);
            match number {
                0 => Reply::Slowly(Vec::new(), vec![answer], script_gate.clone()),
                _ => Reply::Bytes(answer),
            }
        });
        let clients = crowd(&scene, path, 10, |number| format!("X-User: user-{number}"));
        requests_begun(&scene, 10);
        gate.open(1);
        for (number, mut client) in clients.into_iter().enumerate() {
            assert_eq!(client.read_response().text(), format!("user-{number}"), "{path}");
        }
        assert_eq!(scene.asked(path), 10, "{path}");
    }
}

/// The script answers with the cookie, and lets the origin hang for `Cookie: slow`.
fn varying(options: &[&str], gate: Gate) -> Scene {
    Scene::with(options, move |head, _| {
        let cookie = head.get("cookie").unwrap_or_default();
        let answer = response(200, "Cache-Control: max-age=60|Vary: Cookie", cookie);
        let hangs = matches!(cookie, "slow" | "first") || head.target().ends_with("/all");
        if hangs { Reply::Slowly(Vec::new(), vec![answer], gate.clone()) } else { Reply::Bytes(answer) }
    })
}

#[test]
fn rule_48_requests_for_one_variant_do_not_wait_for_another() {
    for options in [&[][..], &["--workers", "2"]] {
        let gate = Gate::default();
        let scene = varying(options, gate.clone());
        assert_eq!(scene.get_with("/", "Cookie: known\r\n").text(), "known");
        let mut slow = scene.weir.connect();
        slow.send(scene.request("GET", "/", "Cookie: slow\r\n"));
        scene.wait_asked("/", 2);
        for number in 0..8 {
            let cookie = format!("{number}");
            let mut client = scene.weir.connect();
            client.send(scene.request("GET", "/", &format!("Cookie: {cookie}\r\n")));
            assert_eq!(client.read_response().text(), cookie, "{options:?}");
        }
        // Those for the same variant wait, and share the response.
        let mut same = scene.weir.connect();
        same.send(scene.request("GET", "/", "Cookie: slow\r\n"));
        requests_begun(&scene, 11);
        gate.open(1);
        for client in [&mut slow, &mut same] {
            assert_eq!(client.read_response().text(), "slow");
        }
        assert_eq!(scene.asked("/"), 10, "{options:?}");
    }
}

#[test]
fn rule_48_who_has_waited_for_another_variant_waits_for_no_third() {
    for options in [&[][..], &["--workers", "2"]] {
        let gate = Gate::default();
        let scene = varying(options, gate.clone());
        let clients = crowd(&scene, "/all", 10, |number| format!("Cookie: {number}\r\n"));
        requests_begun(&scene, 10);
        assert_eq!(scene.asked("/all"), 1);
        // The response to the first tells that the others are for other variants: all of them are asked for at once.
        gate.open(1);
        scene.wait_asked("/all", 10);
        gate.open(9);
        for (number, mut client) in clients.into_iter().enumerate() {
            assert_eq!(client.read_response().text(), number.to_string(), "{options:?}");
        }
    }
}

#[test]
fn rule_48_a_rule_that_lets_nothing_be_fresh_makes_no_queue() {
    let (gate, scratch) = (Gate::default(), common::Scratch::new());
    let (script_gate, rules) = (gate.clone(), scratch.file("rules", "127.0.0.1 0s\n"));
    let scene = Scene::with(&["--cache-rules", &rules], move |_, _| {
        let answer = response(200, "Cache-Control: max-age=60", "x");
        Reply::Slowly(Vec::new(), vec![answer], script_gate.clone())
    });
    let clients = crowd(&scene, "/", 10, |_| String::new());
    requests_begun(&scene, 10);
    gate.open(1);
    scene.wait_asked("/", 10);
    gate.open(9);
    clients.into_iter().for_each(|mut client| assert_eq!(client.read_response().status(), 200));
}

#[test]
fn rule_48_a_leader_that_leaves_is_followed_by_another() {
    let gate = Gate::default();
    let script_gate = gate.clone();
    let scene = Scene::new(move |_, number| match number {
        0 => Reply::Slowly(Vec::new(), vec![response(200, "", "late")], script_gate.clone()),
        _ => ok("Cache-Control: max-age=60", "body"),
    });
    let mut clients = crowd(&scene, "/", 10, |_| String::new());
    requests_begun(&scene, 10);
    clients.remove(0).reset();
    for mut client in clients {
        assert_eq!(client.read_response().text(), "body");
    }
    assert_eq!(scene.asked("/"), 2);
    gate.open(1);
}

#[test]
fn rule_41_all_readers_of_a_truncated_body_notice() {
    let gate = Gate::default();
    let script_gate = gate.clone();
    let scene = Scene::new(move |_, number| match number {
        0 => Reply::Slowly(
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
                .to_vec(),
            vec![b"zz\r\n".to_vec()],
            script_gate.clone(),
        ),
        _ => ok("Cache-Control: max-age=60", "whole"),
    });
    let mut clients = crowd(&scene, "/", 1, |_| String::new());
    clients[0].read_head();
    for _ in 0..3 {
        let mut client = scene.weir.connect();
        client.send(scene.request("GET", "/", ""));
        client.read_head();
        clients.push(client);
    }
    gate.open(1);
    for mut client in clients {
        assert_eq!(client.read_exact(8), b"3\r\nabc\r\n");
        assert!(client.read_to_end().is_empty());
    }
    assert_eq!(scene.get("/").text(), "whole");
}

#[test]
fn what_turns_out_too_large_passes_through_a_window() {
    let scene = Scene::with(&["--cache-max-object", "500K"], |_, _| {
        let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nConnection: close\r\n\r\n";
        Reply::Last([head.as_bytes().to_vec(), pattern(0, 20_000_000)].concat())
    });
    let mut slow = Raw::connect_small(scene.weir.address());
    slow.send(scene.request("GET", "/", ""));
    let head = slow.read_head();
    // Its only reader holds the origin up, and the memory is bounded.
    eventually("the window is full", || (scene.weir.statistics().get("cache_too_large") == 1).then_some(()));
    assert!(scene.weir.resident_kib() < 40_000, "{}", scene.weir.resident_kib());
    assert_eq!(slow.hash_body(&head).0, common::Hash::of_pattern(20_000_000));
    scene.at_rest();
}

/// The beginning of a body of that many bytes, and then what the gate lets through.
fn begun(tag: &str, length: usize, first: usize, piece: usize, gate: &Gate) -> Reply {
    let head =
        format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n{tag}Content-Length: {length}\r\n\r\n");
    let rest = pattern(first as u64, length - first);
    let pieces = rest.chunks(piece).map(<[u8]>::to_vec).collect();
    Reply::Slowly([head.as_bytes(), &pattern(0, first)].concat(), pieces, gate.clone())
}

#[test]
fn rule_47_who_leaves_in_the_middle_does_not_stop_who_has_joined() {
    let gate = Gate::default();
    let script_gate = gate.clone();
    let scene = Scene::new(move |_, _| begun("", 1_000_000, 100_000, 900_000, &script_gate));
    let mut first = scene.weir.connect();
    first.send(scene.request("GET", "/", ""));
    first.read_head();
    first.read_exact(50_000);
    let mut second = scene.weir.connect();
    second.send(scene.request("GET", "/", ""));
    let head = second.read_head();
    first.reset();
    scene.weir.wait_for_log(|line| line.contains("client_reset"));
    gate.open(1);
    assert_eq!(second.hash_body(&head).0, common::Hash::of_pattern(1_000_000));
    assert!(super::scene::is_hit(&scene.get("/")));
    assert_eq!(scene.asked("/"), 1);
    scene.at_rest();
}

#[test]
fn rule_47_a_body_without_readers_goes_on_only_if_it_is_nearly_there() {
    // How much has come, what may be kept of it, and what the origin is asked for then.
    for (tag, first, stored, asked, missing) in [
        // It answers ranges in it, and cannot be completed.
        ("", 100_000, 1, 2, None),
        ("ETag: W/\"a\"\r\n", 100_000, 1, 2, None),
        ("ETag: \"a\"\r\n", 100_000, 1, 2, Some("bytes=100000-999999")),
        ("", 950_000, 1, 1, None),
    ] {
        let gate = Gate::default();
        let script_gate = gate.clone();
        let scene = Scene::new(move |head, number| match (number, head.get("range")) {
            (0, _) => begun(tag, 1_000_000, first, 1_000_000, &script_gate),
            (_, Some("bytes=100000-999999")) => {
                let head = "HTTP/1.1 206 x\r\nCache-Control: max-age=60\r\nETag: \"a\"\r\n\
                            Content-Range: bytes 100000-999999/1000000\r\nContent-Length: 900000\r\n\r\n";
                Reply::Bytes([head.as_bytes(), &pattern(100_000, 900_000)].concat())
            }
            _ => begun(tag, 1_000_000, 1_000_000, 1, &Gate::default()),
        });
        let mut client = scene.weir.connect();
        client.send(scene.request("GET", "/", ""));
        client.read_head();
        client.read_exact(first);
        client.reset();
        scene.weir.wait_for_log(|line| line.contains("client_reset"));
        if asked == 1 {
            gate.open(1);
        }
        eventually("kept or given up", || {
            let now = scene.weir.statistics();
            let held = now.get("cache_bytes") > first as u64;
            (now.get("exchanges") == 0 && now.get("cache_entries") == stored && held == (stored == 1))
                .then_some(())
        });
        let answer = scene.get("/");
        assert!(answer.body.bytes == pattern(0, 1_000_000), "{tag} {first}");
        assert_eq!(scene.asked("/"), asked, "{tag} {first}");
        assert_eq!(scene.last("/").get("range"), missing, "{tag} {first}");
        gate.open(1);
        scene.at_rest();
    }
}

/// One reads at once, the other one not at all, of something too large to store: memory stays within what an entry may
/// have, and the window.
#[test]
fn rule_48_a_lagging_reader_costs_no_more_than_an_entry_and_is_cut() {
    const OBJECT_MAX: u64 = 500 << 10;
    // A window, a segment that is being filled, and the store's own tables.
    const MORE: u64 = (256 << 10) + (128 << 10) + (64 << 10);
    let gate = Gate::default();
    let script_gate = gate.clone();
    let scene = Scene::with(&["--cache-max-object", "500K"], move |_, _| {
        begun("", 20_000_000, 100_000, 995_000, &script_gate)
    });
    let mut slow = Raw::connect_small(scene.weir.address());
    slow.send(scene.request("GET", "/", ""));
    slow.read_head();
    let mut fast = scene.weir.connect();
    fast.send(scene.request("GET", "/", ""));
    fast.read_head();
    assert!(fast.read_exact(100_000) == pattern(0, 100_000));
    for piece in 0..20 {
        gate.open(1);
        let from = 100_000 + piece * 995_000;
        assert!(fast.read_exact(995_000) == pattern(from, 995_000), "{piece}");
        let now = scene.weir.statistics();
        assert!(now.get("cache_bytes") < OBJECT_MAX + MORE, "{now:?}");
    }
    assert_eq!(scene.asked("/"), 1);
    let now = scene.weir.statistics();
    assert_eq!(
        (now.get("cache_readers_cut"), now.get("cache_too_large"), now.get("cache_entries")),
        (1, 1, 0)
    );
    drop((slow, fast));
    scene.at_rest();
}

/// Two share what is too large. One does not read at all and leaves while the other one waits for it: that one goes on, and is
/// not cut in its place.
#[test]
fn rule_48_who_waited_for_one_that_leaves_goes_on() {
    let gate = Gate::default();
    let script_gate = gate.clone();
    let scene = Scene::with(&["--cache-max-object", "500K"], move |_, _| {
        begun("", 12_000_000, 100_000, 11_900_000, &script_gate)
    });
    let mut stalled = Raw::connect_small(scene.weir.address());
    stalled.send(scene.request("GET", "/", ""));
    stalled.read_head();
    let mut fast = scene.weir.connect();
    fast.send(scene.request("GET", "/", ""));
    let head = fast.read_head();
    std::thread::scope(|scope| {
        let reads = scope.spawn(|| fast.hash_body(&head).0);
        gate.open(1);
        let mut before = 0;
        eventually("nothing moves any more", || {
            let now = scene.weir.statistics().get("client_bytes_out");
            let still = now == before && now > 2_000_000;
            before = now;
            still.then_some(())
        });
        stalled.reset();
        assert_eq!(reads.join().expect("a reader"), common::Hash::of_pattern(12_000_000));
    });
    assert_eq!(scene.asked("/"), 1);
    scene.at_rest();
}

/// A client that keeps up is not disconnected only because its turn comes after another client has everything.
#[test]
fn rule_48_readers_that_keep_up_are_never_cut() {
    let gate = Gate::default();
    let script_gate = gate.clone();
    let scene = Scene::with(&["--cache-max-object", "500K"], move |_, _| {
        begun("", 8_000_000, 100_000, 7_900_000, &script_gate)
    });
    let readers: Vec<(Raw, common::Head)> = (0..4)
        .map(|_| {
            let mut client = scene.weir.connect();
            client.send(scene.request("GET", "/", ""));
            let head = client.read_head();
            (client, head)
        })
        .collect();
    gate.open(1);
    std::thread::scope(|scope| {
        for (mut client, head) in readers {
            scope.spawn(move || {
                assert_eq!(client.hash_body(&head).0, common::Hash::of_pattern(8_000_000));
            });
        }
    });
    assert_eq!((scene.asked("/"), scene.at_rest().get("cache_readers_cut")), (1, 0));
}
