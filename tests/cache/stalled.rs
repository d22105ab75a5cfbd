//! Rule 57: the memory of bodies under way counts against `--cache-size`, or against `--buffers`. Clients that do not
//! read evict nothing beyond that, and others are served meanwhile.

use super::common::{Conn, Hash, Head, Origin, Raw, Statistics, Weir, eventually, pattern};
use super::parts::ranged;
use super::scene::Reply;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// More than the system takes off weir's hands for a client that does not read.
const BODY_BYTES: u64 = 6_000_000;

/// Bytes of a body that may be stored in the smallest of caches.
const STORED_BYTES: u64 = 100_000;

const CACHE_KIB: u64 = 1024;
const BUFFERS: u64 = 1024;

/// Growth of the process for sockets, tables and the allocator (chosen).
const SLACK_KIB: u64 = 3 * 1024;

struct Stage {
    weir: Weir,
    origin: Origin,
}

impl Stage {
    /// An origin with a large body under every path, framed as that says: `/length/...`, `/chunked/...`, `/close/...`; and a small
    /// one under `/small/...`.
    fn new(options: &[&str]) -> Stage {
        let (cache, buffers) = (format!("{CACHE_KIB}K"), BUFFERS.to_string());
        let options = [
            &["--cache", "--cache-size", &cache, "--buffers", &buffers, "--max-connections", "2000"],
            options,
        ];
        let body: Arc<Vec<u8>> = pattern(0, BODY_BYTES as usize).into();
        let origin = Origin::serve(move |conn| {
            while let Some(request) = conn.request()? {
                answer(conn, &request.head, &body)?;
            }
            Ok(())
        });
        Stage { weir: Weir::start(&options.concat()), origin }
    }

    fn ask(&self, path: &str) -> Raw {
        let mut client = Raw::connect_small(self.weir.address());
        client.send(self.origin.get(path));
        client
    }

    /// Waits until nothing moves any more, and so many clients have got what the system takes.
    fn settled(&self, stalled: usize) -> Statistics {
        let moved = |now: &Statistics| (now.get("client_bytes_out"), now.get("origin_bytes_in"));
        let (mut before, mut times) = ((0, 0), 0);
        eventually("nothing moves any more", || {
            let now = self.weir.statistics();
            times = if moved(&now) == before { times + 1 } else { 0 };
            before = moved(&now);
            (before.0 > 1_000_000 * stalled as u64 && times > 3).then_some(now)
        })
    }

    /// The response of a client that reads.
    #[track_caller]
    fn expect_service(&self, path: &str, bytes: u64) {
        let mut client = self.weir.connect();
        client.send(self.origin.get(path));
        let head = client.read_head();
        assert_eq!(head.status(), 200, "{path}: {head:?}");
        assert_eq!(client.hash_body(&head).0, Hash::of_pattern(bytes), "{path}");
    }

    /// The process holds no more than the cache and the buffers may.
    #[track_caller]
    fn expect_bounds(&self, what: &str, before_kib: u64, now: &Statistics) {
        let held = now.get("cache_bytes");
        assert!(held <= CACHE_KIB << 10, "{what}: {held}");
        let grown = self.weir.resident_kib().saturating_sub(before_kib);
        assert!(grown <= CACHE_KIB + BUFFERS * 4 + SLACK_KIB, "{what}: {grown} KiB");
    }

    fn at_rest(&self) -> Statistics {
        eventually("nothing under way and nothing lent", || {
            let now = self.weir.statistics();
            let names = ["exchanges", "blocks_lent", "spilled_bytes", "cache_fetches", "cache_collapses"];
            names.iter().all(|name| now.get(name) == 0).then_some(now)
        })
    }
}

fn answer(conn: &mut Conn, request: &Head, body: &[u8]) -> io::Result<()> {
    let framing = request.target()[1..].split('/').next().unwrap_or("");
    let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"a\"\r\n";
    let body = if matches!(framing, "small" | "ranged") { &body[..STORED_BYTES as usize] } else { body };
    match framing {
        "ranged" => match ranged(request, "\"a\"", body) {
            Reply::Bytes(bytes) | Reply::Last(bytes) | Reply::Slowly(bytes, ..) => conn.send(bytes),
        },
        "chunked" => {
            conn.send(format!("{head}Connection: x-secret\r\nTransfer-Encoding: chunked\r\n\r\n"))?;
            for piece in body.chunks(50_000) {
                conn.send(format!("{:x}\r\n", piece.len()))?;
                conn.send(piece)?;
                conn.send("\r\n")?;
            }
            conn.send("0\r\nX-Sum: 1\r\nX-Secret: 2\r\n\r\n")
        }
        "close" => {
            conn.send(format!("{head}Connection: close\r\n\r\n"))?;
            conn.send(body)?;
            Err(io::ErrorKind::ConnectionAborted.into())
        }
        _ => {
            conn.send(format!("{head}Content-Length: {}\r\n\r\n", body.len()))?;
            conn.send(body)
        }
    }
}

/// All of a body, and those of its trailers that go on.
fn read(client: &mut Raw, what: &str) {
    let (head, mut hash) = (client.read_head(), Hash::new());
    let read = client.wire().read_body_into(&head, true, &mut |bytes| hash.update(bytes));
    let (_, trailers) = read.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(hash, Hash::of_pattern(BODY_BYTES), "{what}");
    let trailers: Vec<&str> = trailers.iter().map(|(name, _)| name.as_str()).collect();
    let expected: &[&str] = if what.starts_with("chunked") { &["X-Sum"] } else { &[] };
    assert_eq!(trailers, expected, "{what}");
}

#[test]
fn rule_57_kind_07_readers_that_stall_hold_no_more_than_the_cache_and_the_buffers() {
    for (framing, stalled, options) in [
        ("length", 60, &["--workers=1"][..]),
        ("chunked", 30, &["--workers=2"]),
        ("close", 30, &["--workers=2", "--no-splice"]),
        ("length", 60, &["--workers=1", "--no-splice"]),
    ] {
        let what = format!("{framing} {options:?}");
        let stage = Stage::new(options);
        stage.expect_service("/small/0", STORED_BYTES);
        let before = stage.weir.resident_kib();
        let mut clients: Vec<Raw> =
            (0..stalled).map(|number| stage.ask(&format!("/{framing}/{number}"))).collect();
        let now = stage.settled(stalled);
        assert_eq!(now.get("exchanges"), stalled as u64, "{what}: {now:?}");
        stage.expect_bounds(&what, before, &now);
        assert!(now.get("cache_no_room") > 0, "{what}: {now:?}");
        // Others do not suffer for them.
        for (path, bytes) in [
            ("/small/1", STORED_BYTES),
            ("/length/a", BODY_BYTES),
            ("/chunked/a", BODY_BYTES),
            ("/close/a", BODY_BYTES),
        ] {
            stage.expect_service(path, bytes);
        }
        // A client that continues to read gets everything, from the cache's memory or from blocks.
        clients.iter_mut().step_by(stalled / 5).for_each(|client| read(client, &what));
        drop(clients);
        let now = stage.at_rest();
        assert!(now.get("cache_bytes_held") < 128 << 10, "{what}: {now:?}");
        stage.expect_service("/small/2", STORED_BYTES);
        assert_eq!(stage.weir.statistics().get("cache_readers_cut"), 0, "{what}");
    }
}

/// Several that stall share each body, in one loop and in two: they share what it holds, too.
#[test]
fn rules_48_and_57_kind_07_what_is_shared_by_those_that_stall_is_charged_once_and_bounded() {
    const TOGETHER: usize = 4;
    for (framing, options) in [
        ("length", &["--workers=1"][..]),
        ("length", &["--workers=2"]),
        ("chunked", &["--workers=2", "--no-splice"]),
    ] {
        let what = format!("{framing} {options:?}");
        let stage = Stage::new(options);
        stage.expect_service("/small/0", STORED_BYTES);
        let before = stage.weir.resident_kib();
        let clients: Vec<Raw> = (0..12 * TOGETHER)
            .map(|number| stage.ask(&format!("/{framing}/{}", number / TOGETHER)))
            .collect();
        let now = stage.settled(clients.len());
        stage.expect_bounds(&what, before, &now);
        stage.expect_service("/small/1", STORED_BYTES);
        stage.expect_service("/length/a", BODY_BYTES);
        // Some of them may be cut by now, since they hold up others.
        drop(clients);
        let now = stage.at_rest();
        assert!(now.get("cache_bytes_held") < 128 << 10, "{what}: {now:?}");
    }
}

/// Stored bodies whose readers stall, and which are evicted meanwhile: they are held by those readers only, within the budget,
/// and leave a part of it to what is stored.
#[test]
fn rules_46_and_57_kind_07_evicted_bodies_that_are_still_read_are_bounded_and_leave_room() {
    for options in [&["--workers=1"][..], &["--workers=2", "--no-splice"]] {
        let what = format!("{options:?}");
        let large = ["--cache-size=32M", "--cache-max-object=8M"];
        let stage = Stage::new(&[&large, options].concat());
        for number in 0..4 {
            stage.expect_service(&format!("/length/{number}"), BODY_BYTES);
        }
        let before = stage.weir.resident_kib();
        let mut clients: Vec<Raw> =
            (0..20).map(|number| stage.ask(&format!("/length/{}", number % 4))).collect();
        let now = stage.settled(clients.len());
        assert_eq!(now.get("cache_entries"), 4, "{what}: {now:?}");
        // New entries evict them, but cannot use their memory.
        for number in 0..200 {
            stage.expect_service(&format!("/small/{number}"), STORED_BYTES);
        }
        let now = stage.weir.statistics();
        assert!(now.get("cache_bytes") <= 32 << 20 && now.get("cache_evicted") > 4, "{what}: {now:?}");
        assert!(now.get("cache_bytes_held") >= 4 * BODY_BYTES, "{what}: {now:?}");
        let grown = stage.weir.resident_kib().saturating_sub(before);
        assert!(grown <= 8 * 1024 + BUFFERS * 4 + SLACK_KIB, "{what}: {grown} KiB");
        // More of that kind is not stored any more, and passes.
        stage.expect_service("/length/9", BODY_BYTES);
        let mut hit = stage.weir.connect();
        let answer = hit.ask(stage.origin.get("/small/199"));
        assert!(answer.head.get("cache-status").is_some_and(|status| status.contains("hit")), "{answer:?}");
        clients.iter_mut().step_by(7).for_each(|client| read(client, &what));
        drop(clients);
        let now = stage.at_rest();
        assert!(now.get("cache_bytes_held") < 1 << 20, "{what}: {now:?}");
    }
}

/// The missing range of a part needs room like any other body. Without room the origin is asked for the requested
/// range.
#[test]
fn rules_35_and_57_kind_07_parts_are_completed_or_asked_for_anew() {
    let stage = Stage::new(&["--workers=1"]);
    let ask = |fields: &str| {
        stage.weir.connect().ask(
            stage.origin.fill(format!("GET http://{{o}}/ranged/a HTTP/1.1\r\nHost: {{o}}\r\n{fields}\r\n")),
        )
    };
    let part = ask("Range: bytes=0-9999\r\n");
    assert_eq!((part.status(), part.body.bytes == pattern(0, 10_000)), (206, true));
    let clients: Vec<Raw> = (0..40).map(|number| stage.ask(&format!("/length/{number}"))).collect();
    stage.settled(clients.len());
    for _ in 0..2 {
        let whole = ask("");
        assert_eq!((whole.status(), whole.body.bytes == pattern(0, STORED_BYTES as usize)), (200, true));
        let range = ask("Range: bytes=5000-19999\r\n");
        assert_eq!((range.status(), range.body.bytes == pattern(5000, 15_000)), (206, true));
    }
    drop(clients);
    stage.at_rest();
    let whole = ask("");
    assert!(whole.body.bytes == pattern(0, STORED_BYTES as usize));
}

/// While a reader takes its time for what has come, its origin waits, and is no silent one.
#[test]
fn kind_07_an_origin_that_waits_for_a_reader_is_not_timed_out() {
    let large = ["--cache-size=64M", "--cache-max-object=5M"];
    let stage = Stage::new(&[&large[..], &["--timeout=1", "--min-rate=0"]].concat());
    std::thread::scope(|scope| {
        for framing in ["length", "chunked", "close"] {
            let stage = &stage;
            scope.spawn(move || {
                let mut client = Raw::connect_small(stage.weir.address());
                client.send(stage.origin.fill(format!("GET http://{{o}}/{framing}/a HTTP/1.0\r\n\r\n")));
                client.read_head();
                // As long as several time-outs, and something in each of them.
                let (mut got, mut hash) = (0, Hash::new());
                while got < BODY_BYTES {
                    let piece = client.read_exact((BODY_BYTES - got).min(150_000) as usize);
                    hash.update(&piece);
                    got += piece.len() as u64;
                    std::thread::sleep(Duration::from_millis(70));
                }
                assert_eq!(hash, Hash::of_pattern(BODY_BYTES), "{framing}");
            });
        }
    });
    assert_eq!(stage.at_rest().timeouts(), 0);
}
