//! Rule 48 with several loops: the origin is asked once, and no request is stuck behind another loop.

use super::collapsing::{crowd, requests_begun};
use super::common::{Raw, eventually, pattern};
use super::scene::{Gate, Reply, Scene, is_hit, ok, response, status};

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

/// Requests for one key behind an earlier one: all but the first start when the origin was asked.
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

/// Reads chunks until so many bytes of a body have come.
fn read_chunks(client: &mut Raw, got: &mut Vec<u8>, end: usize) {
    while got.len() < end {
        let line = String::from_utf8(client.read_until(b"\r\n")).expect("the size of a chunk");
        let size = usize::from_str_radix(line.trim_end(), 16).expect("the size of a chunk");
        got.extend(client.read_exact(size));
        assert_eq!(client.read_exact(2), b"\r\n");
    }
}

/// The length and duration of the body are unknown: its bytes and trailers reach the clients of both loops as they
/// arrive.
#[test]
fn rule_48_a_body_of_unknown_length_streams_to_the_clients_of_all_loops() {
    let chunk = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    let head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n";
    for sizes in [&[5, 1, 3][..], &[4096, 70_000, 200_000], &[1_500_000, 100_000, 1]] {
        let total = sizes.iter().sum();
        let body = pattern(0, total);
        let mut pieces = Vec::new();
        let mut from = 0;
        for size in sizes {
            pieces.push(chunk(&body[from..from + size]));
            from += size;
        }
        pieces.push(b"0\r\nX-Sum: right\r\n\r\n".to_vec());
        let gate = Gate::default();
        let script_gate = gate.clone();
        let scene = scene(&[], move |_, _| Reply::Slowly(head.to_vec(), pieces.clone(), script_gate.clone()));
        // Of the long ones fewer: they have to have each piece before the origin loses its patience.
        let count = if total > 1_000_000 { 8 } else { CLIENTS };
        let clients = crowd(&scene, "/", count, |_| String::new());
        requests_begun(&scene, count as u64);
        let mut clients: Vec<(Raw, Vec<u8>)> =
            clients.into_iter().map(|client| (client, Vec::new())).collect();
        let mut end = 0;
        for size in sizes {
            gate.open(1);
            end += size;
            // Each time some more come, in both loops.
            let more = crowd(&scene, "/", 4, |_| String::new());
            clients.extend(more.into_iter().map(|client| (client, Vec::new())));
            for (client, got) in &mut clients {
                if got.is_empty() {
                    assert_eq!(client.read_head().status(), 200);
                }
                read_chunks(client, got, end);
                assert!(*got == body[..end], "{sizes:?}: {} of {end}", got.len());
            }
        }
        gate.open(1);
        for (client, _) in &mut clients {
            assert_eq!(client.read_exact(b"0\r\nX-Sum: right\r\n\r\n".len()), b"0\r\nX-Sum: right\r\n\r\n");
        }
        assert_eq!((scene.asked("/"), scene.at_rest().get("cache_stored")), (1, 1), "{sizes:?}");
    }
}

/// A body that turns out too large to be stored passes through a window: each client that reads gets all of it, in
/// both loops, and no client that keeps up is disconnected.
#[test]
fn rule_48_what_is_too_large_passes_to_the_clients_of_all_loops() {
    let script_gate = Gate::default();
    let gate = script_gate.clone();
    let scene = scene(&["--cache-max-object", "500K"], move |_, _| {
        let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nConnection: close\r\n\r\n";
        script_gate.pass();
        Reply::Last([head.as_bytes(), &pattern(0, 3_000_000)].concat())
    });
    // Few, and no more than is needed, so that each can keep up on a busy machine.
    let clients = crowd(&scene, "/", 4, |_| String::new());
    requests_begun(&scene, 4);
    gate.open(1);
    let whole = &pattern(0, 3_000_000);
    std::thread::scope(|scope| {
        for mut client in clients {
            scope.spawn(move || {
                client.read_head();
                let mut got = Vec::new();
                read_chunks(&mut client, &mut got, whole.len());
                assert!(got == *whole);
                assert_eq!(client.read_exact(5), b"0\r\n\r\n");
            });
        }
    });
    let now = scene.at_rest();
    let counts = [now.get("cache_readers_cut"), now.get("cache_too_large"), now.get("cache_entries")];
    assert_eq!((scene.asked("/"), counts), (1, [0, 1, 0]));
}

/// Some read at once, others not at all, of something too large to store, in both loops: memory stays within what an entry
/// may have, and a window for each loop.
#[test]
fn rule_48_a_lagging_reader_is_cut_in_whatever_loop() {
    const OBJECT_MAX: u64 = 500 << 10;
    // A window, a segment that is being filled and the one that is being told, for each loop; the store's own tables.
    const MORE: u64 = (2 * (256 + 128 + 64 + 64)) << 10;
    let (gate, whole) = (Gate::default(), pattern(0, 20_000_000));
    let script_gate = gate.clone();
    let script_whole = whole.clone();
    let scene = scene(&["--cache-max-object", "500K"], move |_, _| {
        let pieces: Vec<&[u8]> =
            [&script_whole[..100_000]].into_iter().chain(script_whole[100_000..].chunks(995_000)).collect();
        in_pieces(&pieces, &script_gate)
    });
    let mut fast = both_loops(&scene, "/", |_| String::new());
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut client = Raw::connect_small(scene.weir.address());
        client.send(scene.request("GET", "/", ""));
        slow.push(client);
    }
    requests_begun(&scene, CLIENTS as u64 + 8);
    gate.open(1);
    for client in fast.iter_mut().chain(&mut slow) {
        assert_eq!(client.read_head().status(), 200);
    }
    let mut from = 0;
    for piece in 0..=20 {
        let size = if piece == 0 { 100_000 } else { 995_000 };
        if piece > 0 {
            gate.open(1);
        }
        let expected = &whole[from..from + size];
        std::thread::scope(|scope| {
            for client in &mut fast {
                scope.spawn(move || assert!(client.read_exact(size) == expected, "{piece}"));
            }
        });
        from += size;
        let held = scene.weir.statistics().get("cache_bytes");
        assert!(held < OBJECT_MAX + MORE, "{piece}: {held}");
    }
    let now = scene.weir.statistics();
    let counts = [now.get("cache_readers_cut"), now.get("cache_too_large"), now.get("cache_entries")];
    assert_eq!((scene.asked("/"), counts), (1, [8, 1, 0]));
    drop((fast, slow));
    scene.at_rest();
}

/// A body of which the origin sends a piece for each opening of the gate.
fn in_pieces(pieces: &[&[u8]], gate: &Gate) -> Reply {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    let head = format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: {length}\r\n\r\n");
    Reply::Slowly(head.into_bytes(), pieces.iter().map(|piece| piece.to_vec()).collect(), gate.clone())
}

/// Early and late clients, in both loops, read the received bytes before there are more.
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

/// A late client reads from the beginning, however much was received before.
#[test]
fn rule_48_who_comes_late_reads_from_the_beginning_in_any_loop() {
    let body = pattern(0, 3_000_000);
    let (gate, whole) = (Gate::default(), body.clone());
    let script_gate = gate.clone();
    let scene = scene(&[], move |_, _| in_pieces(&[&whole[..2_000_000], &whole[2_000_000..]], &script_gate));
    let mut first = scene.weir.connect();
    first.send(scene.request("GET", "/", ""));
    gate.open(1);
    first.read_head();
    assert!(first.read_exact(2_000_000) == body[..2_000_000]);
    let mut clients = both_loops(&scene, "/", |_| String::new());
    for client in &mut clients {
        client.read_head();
        assert!(client.read_exact(2_000_000) == body[..2_000_000]);
    }
    gate.open(1);
    clients.push(first);
    for mut client in clients {
        assert!(client.read_exact(1_000_000) == body[2_000_000..]);
    }
    assert_eq!(scene.asked("/"), 1);
    scene.at_rest();
}

/// A loop that comes when others know a part of it already reads from the beginning, too.
#[test]
fn rule_48_loops_that_come_one_after_another_read_from_the_beginning() {
    let body = pattern(0, 400_000);
    let (gate, whole) = (Gate::default(), body.clone());
    let script_gate = gate.clone();
    let scene = Scene::with(&["--workers", "3"], move |_, _| {
        in_pieces(&[&whole[..100_000], &whole[100_000..]], &script_gate)
    });
    gate.open(1);
    // So many that each loop has some of them.
    let mut clients: Vec<Raw> = (0..30)
        .map(|number| {
            let mut client = scene.weir.connect();
            client.send(scene.request("GET", "/", ""));
            client.read_head();
            assert!(client.read_exact(100_000) == body[..100_000], "{number}");
            client
        })
        .collect();
    gate.open(1);
    for client in &mut clients {
        assert!(client.read_exact(300_000) == body[100_000..]);
    }
    assert_eq!(scene.asked("/"), 1);
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
    // The received bytes are a part.
    assert_eq!(scene.at_rest().get("cache_stored"), 1);
    let inside = scene.get_with("/", "Range: bytes=199990-199999");
    assert_eq!((inside.status(), is_hit(&inside)), (206, true), "{inside:?}");
}

/// The client whose request was forwarded leaves; the others, in its loop and in the other one, still get the body.
/// When all have left, the fetch ends.
#[test]
fn rule_48_a_body_comes_as_long_as_a_client_of_any_loop_reads_it() {
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
        // Otherwise the received bytes are a part.
        assert_eq!((scene.asked("/"), scene.at_rest().get("cache_stored")), (1, 1));
        assert!(is_hit(&scene.get_with("/", "Range: bytes=0-99999")));
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
fn rule_53_an_origin_that_fails_for_all_is_asked_by_each_at_most_once() {
    let gate = Gate::default();
    let script_gate = gate.clone();
    let scene = scene(&[], move |_, _| {
        Reply::Slowly(Vec::new(), vec![b"nonsense\r\n\r\n".to_vec()], script_gate.clone())
    });
    let clients = both_loops(&scene, "/", |_| String::new());
    let count = clients.len();
    gate.open(count);
    for mut client in clients {
        assert_eq!(client.read_response().status(), 502);
    }
    assert!(scene.asked("/") <= count);
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

/// The missing range of a part, at its end or in front of it, reaches the clients of all loops, too.
#[test]
fn rules_35_and_48_what_completes_a_part_comes_to_the_clients_of_all_loops() {
    let body = pattern(0, 100_000);
    let fields = "Cache-Control: max-age=60\r\nETag: \"a\"\r\n";
    for (held, missing) in
        [(0..99_999, 99_999..100_000), (0..1000, 1000..100_000), (70_000..100_000, 0..70_000)]
    {
        let what = format!("{held:?}");
        let (gate, script_body, first) = (Gate::default(), body.clone(), held.clone());
        let script_gate = gate.clone();
        let scene = scene(&[], move |_, number| {
            let part = if number == 0 { first.clone() } else { missing.clone() };
            let head = format!(
                "HTTP/1.1 206 x\r\n{fields}Content-Range: bytes {}-{}/100000\r\nContent-Length: {}\r\n\r\n",
                part.start,
                part.end - 1,
                part.len()
            );
            let bytes = script_body[part].to_vec();
            match number {
                0 => Reply::Bytes([head.into_bytes(), bytes].concat()),
                _ => Reply::Slowly(head.into_bytes(), vec![bytes], script_gate.clone()),
            }
        });
        scene.get_with("/", &format!("Range: bytes={}-{}", held.start, held.end - 1));
        let mut clients = crowd_behind_one(&scene);
        for client in &mut clients {
            assert_eq!(client.read_head().status(), 200, "{what}");
            if held.start == 0 {
                assert!(client.read_exact(held.end) == body[..held.end], "{what}");
            }
        }
        gate.open(1);
        for client in &mut clients {
            let rest = if held.start == 0 { held.end } else { 0 };
            assert!(client.read_exact(100_000 - rest) == body[rest..], "{what}");
        }
        assert_eq!(scene.asked("/"), 2, "{what}");
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
