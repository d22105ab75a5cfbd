//! Responses that no client waits for any more: the rest of an abandoned one, and refreshes. They are bounded in number and in
//! time, and weir does not wait for them when it stops.

use super::common::{Origin, Weir, eventually, pattern};
use super::scene::{Gate, Reply, Scene, is_hit, ok};
use rustix::process::Signal;
use std::time::Duration;

/// At once for one origin in each loop (`BACKGROUND_OF_ORIGIN_MAX`).
const OF_ORIGIN_MAX: u64 = 8;

fn begun() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4000\r\n\r\nbegun".to_vec()
}

/// Asks, and leaves as soon as the response has begun.
fn abandon(scene: &Scene, path: &str) {
    let mut client = scene.weir.connect();
    client.send(scene.request("GET", path, ""));
    client.read_until(b"begun");
    client.reset();
}

fn expect_bound(weir: &Weir, workers: u64) {
    eventually("few are left", || {
        let now = weir.statistics();
        (now.get("clients") == 0 && now.get("origins") <= OF_ORIGIN_MAX * workers).then_some(())
    });
}

#[test]
fn abandoned_responses_are_bounded_and_delay_no_stop() {
    for (workers, loops) in [("1", 1), ("2", 2)] {
        let gate = Gate::default();
        let script_gate = gate.clone();
        let options = ["--workers", workers, "--drain-timeout", "10m"];
        let mut scene = Scene::with(&options, move |head, _| match head.target() {
            "/other" => ok("", "ok"),
            _ => Reply::Slowly(begun(), vec![vec![b'.'; 3995]], script_gate.clone()),
        });
        (0..40).for_each(|number| abandon(&scene, &format!("/{number}")));
        expect_bound(&scene.weir, loops);
        // Those within the bound can still be joined.
        assert!(scene.weir.statistics().get("origins") > 0);
        assert_eq!(scene.get("/other").status(), 200);
        scene.stop(Signal::TERM);
        gate.open(100);
    }
}

#[test]
fn refreshes_are_bounded_to_their_end_and_delay_no_stop() {
    for (workers, loops) in [("1", 1), ("2", 2)] {
        for head_comes in [true, false] {
            let gate = Gate::default();
            let script_gate = gate.clone();
            let options = ["--workers", workers, "--drain-timeout", "10m"];
            let mut scene = Scene::with(&options, move |_, number| match number {
                0 => ok("Cache-Control: max-age=1, stale-while-revalidate=600|Age: 5", "old"),
                _ => {
                    let head =
                        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n";
                    let bytes = if head_comes { head.into() } else { Vec::new() };
                    Reply::Slowly(bytes, vec![b"0\r\n\r\n".to_vec()], script_gate.clone())
                }
            });
            let paths: Vec<String> = (0..20).map(|number| format!("/{number}")).collect();
            paths.iter().for_each(|path| drop(scene.get(path)));
            for path in paths.iter().chain(&paths) {
                let answer = scene.get(path);
                assert!(is_hit(&answer) && answer.text() == "old", "{answer:?}");
            }
            let refreshes = scene.weir.statistics().get("cache_refreshes");
            assert!((1..=OF_ORIGIN_MAX * loops).contains(&refreshes), "{refreshes}");
            scene.stop(Signal::TERM);
            gate.open(100);
        }
    }
}

/// Bytes that drip do not keep a connection for ever.
#[test]
fn abandoned_response_that_drips_ends() {
    let weir = Weir::start(&["--cache", "--timeout", "1"]);
    let origin = Origin::serve(|conn| {
        conn.request()?;
        conn.send(begun())?;
        loop {
            std::thread::sleep(Duration::from_millis(200));
            conn.send(b".")?;
        }
    });
    let mut client = weir.connect();
    client.send(origin.get("/"));
    client.read_until(b"begun");
    client.reset();
    eventually("it ends", || (weir.statistics().get("origins") == 0).then_some(()));
    assert_eq!(weir.statistics().get("timeouts_response"), 1);
}

/// One that arrives is stored, however long that takes.
#[test]
fn abandoned_response_that_arrives_is_stored() {
    const PIECE: usize = 50_000;
    const BODY_BYTES: usize = 24 * PIECE;
    let scene = Scene::with(&["--timeout", "3", "--cache-size", "64M"], |_, _| Reply::Bytes(Vec::new()));
    let body = pattern(0, BODY_BYTES);
    let expected = body.clone();
    let origin = Origin::serve(move |conn| {
        conn.request()?;
        conn.send(format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
        ))?;
        conn.send(&body[..18 * PIECE])?;
        for piece in body[18 * PIECE..].chunks(PIECE) {
            std::thread::sleep(Duration::from_millis(700));
            conn.send(piece)?;
        }
        conn.request().map(drop)
    });
    let mut client = scene.weir.connect();
    client.send(origin.get("/"));
    client.read_head();
    client.read_exact(18 * PIECE);
    client.reset();
    eventually("it is stored", || (scene.weir.statistics().get("cache_stored") == 1).then_some(()));
    let mut client = scene.weir.connect();
    let answer = client.ask(origin.get("/"));
    assert!(is_hit(&answer) && answer.body.bytes == expected, "{:?}", answer.head);
}
