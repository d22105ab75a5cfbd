//! Rule 48 where there are several loops: the origin is asked once, and nobody is stuck behind another loop.

use super::collapsing::{crowd, requests_begun};
use super::common::{Raw, eventually, pattern};
use super::scene::{Gate, Reply, Scene, ok, response, status};

const CLIENTS: usize = 50;

fn scene(
    options: &[&str],
    script: impl Fn(&super::common::Head, usize) -> Reply + Send + Sync + 'static,
) -> Scene {
    Scene::with(&[&["--workers", "2"], options].concat(), script)
}

/// Asks from so many clients, that both loops have some of them; the first of them has asked the origin.
fn both_loops(scene: &Scene, path: &str, fields: impl Fn(usize) -> String) -> Vec<Raw> {
    let clients = crowd(scene, path, CLIENTS, fields);
    requests_begun(scene, CLIENTS as u64);
    clients
}

/// Clients that ask for the same, after one request before: all but the first when the origin was asked for that one.
fn crowd_behind_one(scene: &Scene) -> Vec<Raw> {
    let ask = |number| {
        let mut client = scene.weir.connect();
        client.send(scene.request("GET", "/", ""));
        if number == 0 {
            scene.wait_asked("/", 2);
        }
        client
    };
    let clients = (0..CLIENTS).map(ask).collect();
    requests_begun(scene, CLIENTS as u64 + 1);
    clients
}

#[test]
fn rule_48_one_fetch_for_the_clients_of_all_loops() {
    let body = "0123456789".repeat(100);
    let fields = "Cache-Control: max-age=60";
    let chunked = format!(
        "HTTP/1.1 200 OK\r\n{fields}\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n{body}\r\n0\r\n\r\n"
    );
    for (path, answer) in [("/length", response(200, fields, &body)), ("/chunked", chunked.into_bytes())] {
        let gate = Gate::default();
        let script_gate = gate.clone();
        let scene =
            scene(&[], move |_, _| Reply::Slowly(Vec::new(), vec![answer.clone()], script_gate.clone()));
        let clients = both_loops(&scene, path, |_| String::new());
        gate.open(1);
        let mut collapsed = 0;
        for mut client in clients {
            let answer = client.read_response();
            assert_eq!((answer.status(), answer.text() == body), (200, true), "{path}");
            collapsed += usize::from(status(&answer).ends_with("; collapsed"));
        }
        assert_eq!((scene.asked(path), collapsed), (1, CLIENTS - 1), "{path}");
        let statistics = scene.at_rest();
        assert_eq!(statistics.get("cache_collapsed"), CLIENTS as u64 - 1, "{path}");
    }
}

#[test]
fn rule_48_what_is_confirmed_is_asked_about_once_by_all_loops() {
    let gate = Gate::default();
    let script_gate = gate.clone();
    let scene = scene(&[], move |_, number| match number {
        0 => ok("Cache-Control: max-age=1|Age: 5|ETag: \"a\"", "body"),
        _ => {
            let head = b"HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=600\r\nETag: \"a\"\r\n\r\n";
            Reply::Slowly(Vec::new(), vec![head.to_vec()], script_gate.clone())
        }
    });
    scene.get("/");
    let clients = crowd_behind_one(&scene);
    gate.open(1);
    for mut client in clients {
        assert_eq!(client.read_response().text(), "body");
    }
    assert_eq!(scene.asked("/"), 2);
}

/// The first body never comes to its end, and nobody knows how long it will be: it becomes long, or is short and slow. Its own
/// loop waits for it, the other one asks by itself, once.
#[test]
fn rule_48_nobody_is_stuck_behind_another_loop() {
    let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n";
    let chunk = [b"11170\r\n".to_vec(), pattern(0, 70_000), b"\r\n".to_vec()].concat();
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    for (what, first, rest) in [
        ("growing", [chunked.as_bytes(), &chunk].concat(), b"0\r\n\r\n".to_vec()),
        ("slow", chunked.into_bytes(), b"5\r\nslow!\r\n0\r\n\r\n".to_vec()),
    ] {
        let (gate, head_gate) = (Gate::default(), Gate::default());
        let gates = (gate.clone(), head_gate.clone());
        let scene = scene(&[], move |_, number| match number {
            0 => {
                gates.1.pass();
                Reply::Slowly(first.clone(), vec![rest.clone()], gates.0.clone())
            }
            _ => ok("Cache-Control: max-age=60", "theirs"),
        });
        let clients = both_loops(&scene, "/", |_| String::new());
        head_gate.open(1);
        scene.wait_asked("/", 2);
        eventually("the other loop's clients have theirs", || {
            (scene.weir.statistics().get("exchanges") < CLIENTS as u64).then_some(())
        });
        gate.open(1);
        let texts: Vec<String> =
            clients.into_iter().map(|mut client| client.read_response().text()).collect();
        let theirs = texts.iter().filter(|text| *text == "theirs").count();
        assert!((1..CLIENTS).contains(&theirs), "{what}: {theirs}");
        assert!(texts[0] != "theirs", "{what}");
        assert_eq!(scene.asked("/"), 2, "{what}");
        scene.at_rest();
    }
}

/// A body of which the origin sends a piece for each opening of the gate.
fn in_pieces(pieces: &[&[u8]], gate: &Gate) -> Reply {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    let head = format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: {length}\r\n\r\n");
    Reply::Slowly(head.into_bytes(), pieces.iter().map(|piece| piece.to_vec()).collect(), gate.clone())
}

/// Those who wait from the beginning and those who come later, in both loops, read what there is before there is more.
#[test]
fn rule_48_a_body_streams_to_the_clients_of_all_loops_as_it_comes() {
    let body = pattern(0, 400_000);
    let (gate, whole) = (Gate::default(), body.clone());
    let script_gate = gate.clone();
    let scene = scene(&[], move |_, _| {
        in_pieces(&[&whole[..100_000], &whole[100_000..300_000], &whole[300_000..]], &script_gate)
    });
    let mut clients: Vec<(Raw, usize)> =
        both_loops(&scene, "/", |_| String::new()).into_iter().map(|client| (client, 0)).collect();
    for end in [100_000, 300_000, 400_000] {
        gate.open(1);
        let more = if end < 400_000 { crowd(&scene, "/", CLIENTS, |_| String::new()) } else { Vec::new() };
        clients.extend(more.into_iter().map(|client| (client, 0)));
        for (client, place) in &mut clients {
            if *place == 0 {
                assert_eq!(client.read_head().status(), 200);
            }
            let bytes = client.read_exact(end - *place);
            assert!(bytes == body[*place..end], "{place} to {end}");
            *place = end;
        }
    }
    assert_eq!(scene.asked("/"), 1);
    let statistics = scene.at_rest();
    assert_eq!(statistics.get("cache_collapsed"), 3 * CLIENTS as u64 - 1);
    assert_eq!((statistics.get("cache_stored"), statistics.get("cache_entries")), (1, 1));
}

/// Who comes when a megabyte has come already is not told it over again: the other loop asks once by itself.
#[test]
fn rule_48_a_long_beginning_is_not_told_again() {
    let body = pattern(0, 3_000_000);
    let (gate, whole) = (Gate::default(), body.clone());
    let script_gate = gate.clone();
    let scene = scene(&[], move |_, _| in_pieces(&[&whole[..2_000_000], &whole[2_000_000..]], &script_gate));
    let mut first = scene.weir.connect();
    first.send(scene.request("GET", "/", ""));
    gate.open(1);
    first.read_head();
    assert!(first.read_exact(2_000_000) == body[..2_000_000]);
    gate.open(3);
    for mut client in both_loops(&scene, "/", |_| String::new()) {
        assert!(client.read_response().body.bytes == body);
    }
    assert!(first.read_exact(1_000_000) == body[2_000_000..]);
    assert!((1..=2).contains(&scene.asked("/")), "{}", scene.asked("/"));
    scene.at_rest();
}

#[test]
fn rule_48_a_body_that_breaks_off_breaks_off_for_the_clients_of_all_loops() {
    let gate = Gate::default();
    let script_gate = gate.clone();
    let scene = scene(&[], move |_, _| {
        script_gate.pass();
        let head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 300000\r\n\r\n";
        Reply::Last([head, &pattern(0, 200_000)[..]].concat())
    });
    let clients = both_loops(&scene, "/", |_| String::new());
    gate.open(1);
    for mut client in clients {
        client.read_head();
        assert!(client.read_to_end() == pattern(0, 200_000));
    }
    assert_eq!(scene.asked("/"), 1);
    assert_eq!(scene.at_rest().get("cache_stored"), 0);
}

/// The one whose request went out leaves; the others have it all the same, in its own loop and elsewhere. When all have left,
/// nobody goes on asking.
#[test]
fn rule_48_a_body_comes_as_long_as_anybody_in_any_loop_reads_it() {
    for stays in [true, false] {
        let body = pattern(0, 400_000);
        let (gate, whole) = (Gate::default(), body.clone());
        let script_gate = gate.clone();
        let scene = scene(&[], move |_, _| in_pieces(&[&whole[..100_000], &whole[100_000..]], &script_gate));
        let mut clients = both_loops(&scene, "/", |_| String::new());
        gate.open(1);
        for client in &mut clients {
            client.read_head();
            assert!(client.read_exact(100_000) == body[..100_000]);
        }
        let leave = if stays { 1 } else { CLIENTS };
        clients.drain(..leave).for_each(Raw::reset);
        eventually("those who leave have left", || {
            (scene.weir.statistics().get("exchanges") == (CLIENTS - leave) as u64).then_some(())
        });
        gate.open(1);
        for mut client in clients {
            assert!(client.read_exact(300_000) == body[100_000..]);
        }
        assert_eq!((scene.asked("/"), scene.at_rest().get("cache_stored")), (1, u64::from(stays)));
    }
}

#[test]
fn rule_48_what_is_not_shareable_is_asked_for_by_each_client_of_each_loop() {
    // Of a page with as many variants as there are clients none is for two of them.
    for fields in ["Cache-Control: private", "Cache-Control: max-age=60|Vary: X-User"] {
        let gate = Gate::default();
        let script_gate = gate.clone();
        let scene = scene(&[], move |head, number| {
            let answer = response(200, fields, head.get("x-user").unwrap_or_default());
            match number {
                0 => Reply::Slowly(Vec::new(), vec![answer], script_gate.clone()),
                _ => Reply::Bytes(answer),
            }
        });
        let clients = both_loops(&scene, "/", |number| format!("X-User: user-{number}"));
        gate.open(1);
        for (number, mut client) in clients.into_iter().enumerate() {
            assert_eq!(client.read_response().text(), format!("user-{number}"), "{fields}");
        }
        assert_eq!(scene.asked("/"), CLIENTS, "{fields}");
        scene.at_rest();
    }
}

#[test]
fn rule_48_a_leader_that_leaves_is_followed_by_one_of_any_loop() {
    let gate = Gate::default();
    let script_gate = gate.clone();
    let scene = scene(&[], move |_, number| match number {
        0 => Reply::Slowly(Vec::new(), vec![response(200, "", "late")], script_gate.clone()),
        _ => ok("Cache-Control: max-age=60", "body"),
    });
    let mut clients = both_loops(&scene, "/", |_| String::new());
    clients.remove(0).reset();
    for mut client in clients {
        assert_eq!(client.read_response().text(), "body");
    }
    assert_eq!(scene.asked("/"), 2);
    gate.open(1);
    scene.at_rest();
}

#[test]
fn rule_48_an_origin_that_fails_fails_for_all_who_wait_in_any_loop() {
    let gate = Gate::default();
    let script_gate = gate.clone();
    let scene = scene(&[], move |_, _| {
        Reply::Slowly(Vec::new(), vec![b"nonsense\r\n\r\n".to_vec()], script_gate.clone())
    });
    let clients = both_loops(&scene, "/", |_| String::new());
    gate.open(1);
    for mut client in clients {
        assert_eq!(client.read_response().status(), 502);
    }
    assert_eq!(scene.asked("/"), 1);
}

#[test]
fn rules_35_and_48_a_part_is_not_taken_for_the_whole_where_there_are_several_loops() {
    let text = "0123456789";
    let fields = "Cache-Control: max-age=60|ETag: \"a\"";
    let scene = scene(&[], move |head, _| {
        let part = |first: usize, last: usize| {
            let fields = format!("{fields}|Content-Range: bytes {first}-{last}/10");
            Reply::Bytes(response(206, &fields, &text[first..=last]))
        };
        match head.get("range") {
            Some("bytes=0-4") => part(0, 4),
            Some("bytes=5-9") => part(5, 9),
            other => panic!("the origin is asked for {other:?}"),
        }
    });
    scene.get_with("/", "Range: bytes=0-4");
    assert_eq!((scene.get("/").text().as_str(), scene.asked("/")), (text, 2));
    assert_eq!((scene.get("/").text().as_str(), scene.asked("/")), (text, 2));
}

/// What completes a part never comes to its end, or its reader takes nothing: the other loop asks by itself.
#[test]
fn rules_35_and_48_nobody_is_stuck_behind_what_completes_a_part_in_another_loop() {
    let body = pattern(0, 100_000);
    let fields = "Cache-Control: max-age=60\r\nETag: \"a\"\r\n";
    for held in [99_999, 1000] {
        let (gate, body) = (Gate::default(), body.clone());
        let script_gate = gate.clone();
        let scene = scene(&[], move |_, number| {
            let head = |from: usize, end: usize| {
                let range = format!("Content-Range: bytes {from}-{}/100000\r\n", end - 1);
                format!("HTTP/1.1 206 x\r\n{fields}{range}Content-Length: {}\r\n\r\n", end - from)
                    .into_bytes()
            };
            match number {
                0 => Reply::Bytes([&head(0, held)[..], &body[..held]].concat()),
                1 => Reply::Slowly(head(held, 100_000), vec![body[held..].to_vec()], script_gate.clone()),
                _ => ok("Cache-Control: max-age=60", "theirs"),
            }
        });
        scene.get_with("/", &format!("Range: bytes=0-{}", held - 1));
        let clients = crowd_behind_one(&scene);
        scene.wait_asked("/", 3);
        gate.open(1);
        for (number, mut client) in clients.into_iter().enumerate() {
            let answer = client.read_response();
            let theirs = answer.text() == "theirs";
            assert!(
                theirs || answer.body.bytes == pattern(0, 100_000),
                "{held} {number}: {} of {} bytes, {:?}",
                answer.status(),
                answer.body.bytes.len(),
                answer.head
            );
            assert!(number > 0 || !theirs, "{held}");
        }
        scene.at_rest();
    }
}

/// Those who do not read have their bytes kept for them in the loop that only hears of them, too: within the budget.
#[test]
fn rules_46_and_48_what_comes_from_another_loop_stays_within_the_budget() {
    const BODIES: usize = 6;
    let body = pattern(0, 9_000_000);
    let (gate, whole) = (Gate::default(), body.clone());
    let script_gate = gate.clone();
    let script = move |_: &super::common::Head, number| match number {
        0 => in_pieces(&[&whole], &script_gate),
        _ => Reply::Bytes(response(503, "", "")),
    };
    let scene = scene(&["--cache-size", "20M", "--cache-max-object", "10M"], script);
    let mut behind: Vec<Raw> = Vec::new();
    for number in 0..BODIES {
        let mut clients = crowd(&scene, &format!("/{number}"), 8, |_| String::new());
        requests_begun(&scene, 8 * (number + 1) as u64);
        gate.open(1);
        let answer = clients.remove(0).read_response();
        assert!(answer.body.bytes == body, "{number}");
        behind.extend(clients);
        let held = scene.weir.statistics().get("cache_bytes");
        assert!(held < 24 << 20, "{number}: {held}");
    }
}
