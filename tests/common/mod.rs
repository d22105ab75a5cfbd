//! Shared parts of the integration tests: the daemon as a child process, a raw client, scripted origins, a name
//! server. They use nothing of the library but the names of its counters: the tests know HTTP and DNS independently
//! of it.
#![allow(dead_code, unused_imports, reason = "every test file uses a part of its own")]

pub mod bytes;
pub mod dns;
pub mod origin;
pub mod rights;
pub mod scratch;
pub mod statistics;
pub mod weir;
pub mod wire;

pub use bytes::{Hash, contains, pattern};
pub use dns::{Answer, FakeDns};
pub use origin::{Conn, Origin, Request};
pub use scratch::Scratch;
pub use statistics::{Footprint, Statistics};
pub use weir::{Run, Weir, built, run, run_with, splices};
pub use wire::{Body, Framing, Head, Raw, Response, Wire};

use std::time::{Duration, Instant};

/// The longest that anything on loopback may take before a test says that it does not happen.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Asks until the answer is `Some`; fails the test at the deadline. For what has no event to wait on.
#[track_caller]
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends each request (`{o}` stands for the origin's authority) on a connection of its own, with a further request
/// behind it. Each must be answered once, with one of the statuses, and the connection be closed; no origin hears of
/// any of them.
#[track_caller]
pub fn expect_refused(weir: &Weir, statuses: &[u16], requests: &[&[u8]]) {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nforwarded");
    for request in requests {
        let shown = bytes::show(request);
        let mut client = weir.connect();
        client.send(origin.fill(request));
        client.send_if_open(origin.fill(b"GET http://{o}/smuggled HTTP/1.1\r\nHost: {o}\r\n\r\n"));
        let response = match client.try_read_response("GET") {
            Ok(response) => response,
            Err(error) => panic!("no whole answer to {shown}: {error}"),
        };
        let status = response.head.status();
        assert!(statuses.contains(&status), "{shown}: {status}, not one of {statuses:?}");
        assert!(
            response.head.lists("connection", "close"),
            "{shown}: {:?} announces no close",
            response.head
        );
        let rest = client.read_to_end();
        assert!(rest.is_empty(), "{shown}: after the answer came {}", bytes::show(&rest));
    }
    assert_eq!(
        origin.connections(),
        0,
        "an origin was dialled for a request that was refused: {:?}",
        origin.heads()
    );
}

/// Gives each request a connection of its own, and shows `check` what the origin saw and what the client got. The
/// origin answers `200` with the body `ok`, or its head's bytes where `echo` is asked for.
#[track_caller]
pub fn forwarded(weir: &Weir, origin: &Origin, request: &[u8]) -> (Head, Response) {
    let before = origin.heads().len();
    let mut client = weir.connect();
    client.send(origin.fill(request));
    let shown = bytes::show(request);
    let response = match client.try_read_response("GET") {
        Ok(response) => response,
        Err(error) => panic!("no whole answer to {shown}: {error}"),
    };
    let heads = origin.heads();
    assert!(heads.len() > before, "the origin saw nothing of {shown}; the client was told {response:?}");
    (heads[before].clone(), response)
}
