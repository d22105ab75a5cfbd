//! CONNECT tunnels through the daemon: both directions, their ends and resets, names and addresses, time.

mod common;

use common::{Answer, FakeDns, Hash, Origin, Weir};
use std::time::Duration;

const MEGABYTE: u64 = 1 << 20;

/// Both directions of a tunnel at once, in bulk.
#[test]
fn large_tunnels() {
    let weir = Weir::start(&[]);
    let length = 16 * MEGABYTE;
    let origin = Origin::serve(move |conn| {
        let mut hash = Hash::new();
        let mut left = length;
        while left > 0 {
            let bytes = conn.read_some()?;
            if bytes.is_empty() {
                return Ok(());
            }
            left -= bytes.len() as u64;
            hash.update(&bytes);
            // As much back as came, so that both directions are busy.
            conn.send(bytes)?;
        }
        conn.send(hash.to_string())
    });
    let mut client = weir.connect();
    assert_eq!(client.ask(origin.fill("CONNECT {o} HTTP/1.1\r\nHost: {o}\r\n\r\n")).status(), 200);
    let mut sender = client.second_handle();
    let sending = std::thread::spawn(move || sender.send_pattern(length));
    let mut hash = Hash::new();
    for _ in 0..length / (64 * 1024) {
        hash.update(&client.read_exact(64 * 1024));
    }
    sending.join().expect("the sender");
    assert_eq!(hash, Hash::of_pattern(length));
    assert_eq!(client.read_to_end(), hash.to_string().as_bytes());
}

/// After a FIN in one direction data still flows in the other.
#[test]
fn tunnels_half_close() {
    let weir = Weir::start(&[]);
    let origin = Origin::serve(|conn| {
        let all = conn.read_to_end()?;
        conn.send([b"got ", &all[..]].concat())?;
        conn.send(common::pattern(0, 300_000))
    });
    let mut client = weir.connect();
    assert_eq!(client.ask(origin.fill("CONNECT {o} HTTP/1.1\r\nHost: {o}\r\n\r\n")).status(), 200);
    client.send("everything");
    client.half_close();
    let all = client.read_exact(14 + 300_000);
    assert!(all.starts_with(b"got everything") && all[14..] == common::pattern(0, 300_000));
    client.expect_fin();

    let origin = Origin::serve(|conn| {
        conn.send("first")?;
        conn.half_close()?;
        let all = conn.read_to_end()?;
        assert_eq!(all, b"later");
        Ok(())
    });
    let mut client = weir.connect();
    assert_eq!(client.ask(origin.fill("CONNECT {o} HTTP/1.1\r\nHost: {o}\r\n\r\n")).status(), 200);
    assert_eq!(client.read_to_end(), b"first");
    client.send("later");
    client.half_close();
    origin.wait_for_ends(1);
    weir.wait_for_logs(2, |line| line.contains("CONNECT"));
}

/// What a side has sent before it was reset still goes through a tunnel, whatever the other side sends meanwhile (RFC 9110 section
/// 9.3.6): an answer in the middle of an upload, and the last words of a client that does not read.
#[test]
fn tunnels_deliver_what_was_sent_before_a_reset() {
    for splicing in [&[][..], &["--no-splice"]] {
        let weir = Weir::start(splicing);
        for round in 0..20 {
            let answer = common::pattern(round, 9000);
            let told = answer.clone();
            let origin = Origin::serve_owned(move |mut conn| {
                conn.read_until(b"x")?;
                conn.send(&told)?;
                // With unread bytes a close is a reset.
                conn.reset();
                Ok(())
            });
            let mut client = weir.connect();
            assert_eq!(client.ask(origin.fill("CONNECT {o} HTTP/1.1\r\nHost: {o}\r\n\r\n")).status(), 200);
            let mut sent = Ok(());
            for _ in 0..64 {
                sent = sent.and_then(|()| client.wire().send([b'x'; 16_384]));
            }
            assert_eq!(client.read_exact(answer.len()), answer, "round {round}");
        }
        let words = common::pattern(7, 3000);
        let expected = words.clone();
        let origin = Origin::serve(move |conn| {
            let writes = conn.send(vec![b'y'; 600_000]);
            let heard = conn.read_exact(expected.len())?;
            assert_eq!(heard, expected, "after {writes:?}");
            Ok(())
        });
        for _ in 0..20 {
            let mut client = weir.connect();
            assert_eq!(client.ask(origin.fill("CONNECT {o} HTTP/1.1\r\nHost: {o}\r\n\r\n")).status(), 200);
            client.send(&words);
            client.reset();
        }
        origin.wait_for_ends(20);
    }
}

/// Nor does a reset behind a proper end destroy what came before it, while the client still sends.
#[test]
fn tunnels_deliver_what_was_sent_before_an_end_and_a_reset() {
    let weir = Weir::start(&[]);
    for round in 0..10 {
        let answer = common::pattern(round, 300_000);
        let told = answer.clone();
        let origin = Origin::serve_owned(move |mut conn| {
            conn.read_until(b"x")?;
            conn.send(&told)?;
            conn.half_close()?;
            std::thread::sleep(Duration::from_millis(50));
            conn.reset();
            Ok(())
        });
        let mut client = weir.connect();
        assert_eq!(client.ask(origin.fill("CONNECT {o} HTTP/1.1\r\nHost: {o}\r\n\r\n")).status(), 200);
        for _ in 0..20 {
            client.send_if_open([b'x'; 16_384]);
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(client.read_exact(answer.len()), answer, "round {round}");
        client.expect_fin();
    }
}

/// Resets go through tunnels as resets.
#[test]
fn tunnels_propagate_resets() {
    let weir = Weir::start(&[]);
    let origin = Origin::serve_owned(|mut conn| {
        conn.read_until(b"now")?;
        conn.reset();
        Ok(())
    });
    let mut client = weir.connect();
    assert_eq!(client.ask(origin.fill("CONNECT {o} HTTP/1.1\r\nHost: {o}\r\n\r\n")).status(), 200);
    client.send("now");
    client.expect_reset();

    let origin = Origin::serve(|conn| {
        conn.read_until(b"hello")?;
        let end = conn.read_to_end();
        assert!(end.is_err(), "instead of a reset: {end:?}");
        Ok(())
    });
    let mut client = weir.connect();
    assert_eq!(client.ask(origin.fill("CONNECT {o} HTTP/1.1\r\nHost: {o}\r\n\r\n")).status(), 200);
    client.send("hello");
    origin.wait_for_received(0, b"hello");
    client.reset();
    origin.wait_for_ends(1);
    weir.wait_for_logs(2, |line| line.contains("CONNECT"));
}

/// CONNECT takes names and IPv6 literals.
#[test]
fn tunnels_to_names_and_ipv6() {
    let dns = FakeDns::start(&[("tunnel.test", Answer::addresses(&["127.0.0.1"]))]);
    let weir = Weir::start(&["--dns", &dns.address(), "--allow", "::1"]);
    let hello = |mut conn: common::Conn| conn.send("hello");
    let v4 = Origin::serve_owned(hello);
    let v6 = Origin::serve_at("[::1]:0", hello);
    for target in [format!("tunnel.test:{}", v4.port()), v6.address().to_string()] {
        let mut client = weir.connect();
        let answer = client.ask(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
        assert_eq!(answer.status(), 200, "{target}");
        assert_eq!(client.read_exact(5), b"hello");
    }
    let mut client = weir.connect();
    assert_eq!(
        client.ask("CONNECT localhost:1 HTTP/1.1\r\nHost: localhost:1\r\n\r\n").status(),
        403,
        "port 1"
    );
}

/// A tunnel where nothing moves ends at its time-out; one where something moves does not.
#[test]
fn tunnels_time_out() {
    let weir = Weir::start(&["--tunnel-timeout", "1"]);
    let origin = Origin::serve(|conn| {
        loop {
            let bytes = conn.read_some()?;
            if bytes.is_empty() {
                return Ok(());
            }
            conn.send(bytes)?;
        }
    });
    let mut client = weir.connect();
    assert_eq!(client.ask(origin.fill("CONNECT {o} HTTP/1.1\r\nHost: {o}\r\n\r\n")).status(), 200);
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(300));
        client.send("x");
        assert_eq!(client.read_exact(1), b"x");
    }
    client.expect_closed();
    origin.wait_for_ends(1);
}
