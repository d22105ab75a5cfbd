//! Attacks on the proxy's memory, processor and connections: each meets a bound that has a name, a counter and a log
//! line, and a well-behaved client is served all the while. `scripts/attacks` runs the same attacks for longer, with
//! larger crowds, and prints the table.

#[path = "../common/mod.rs"]
mod common;
#[cfg(all(feature = "cache", feature = "guard"))]
mod parts;
mod scene;

use common::{Answer, FakeDns, Origin, Raw, Scratch, Weir};
use scene::{Attack, Crowd, finally, is_long, memory, patience, repeat, short_or_long, tick};
use std::time::Duration;
use weir::net::SPACES_MAX;

/// Memory of a connection beside its blocks, in KiB, with its share of tables.
const CONNECTION_KIB: u64 = 4;

/// Growth of the process in any case: log buffers, the allocator, and code that was given back after the start and is used again.
const BASE_KIB: u64 = 7168;

fn crowd() -> usize {
    short_or_long(200, 2000)
}

fn blocks_of(connections: usize, blocks_each: u64) -> u64 {
    BASE_KIB + connections as u64 * (CONNECTION_KIB + 4 * blocks_each)
}

#[track_caller]
fn expect_logged(weir: &Weir, count: usize, parts: &[&str]) {
    weir.wait_for_logs(count, |line| parts.iter().all(|part| line.contains(part)));
}

/// One byte of a head per tick, for ever.
#[test]
fn slow_heads() {
    let attack = Attack {
        name: "slow heads, a byte per tick",
        bound: "--head-timeout",
        counter: "timeouts_head",
        options: &["--head-timeout", short_or_long("1", "5")],
        growth_kib_max: blocks_of(crowd(), 1),
    };
    let head = [&b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nX: "[..], &[b'x'; 1000]].concat();
    let Some((weir, statistics)) = attack.run(|weir, stop| {
        let mut slow = Crowd::connect(weir, crowd(), b"");
        while !stop.is_set() {
            slow.send_next(&head);
            std::thread::sleep(tick());
        }
        finally("all of them have been told", || slow.closed() == crowd());
    }) else {
        return;
    };
    assert!(statistics.get("blocks_peak") <= 2 * crowd() as u64 + 8, "{statistics:?}");
    expect_logged(&weir, crowd(), &[" malformed 408 ", " reason=head_timeout"]);
    weir.wait_until_idle();
}

/// Half a head each, and then nothing.
#[test]
fn half_open() {
    let count = short_or_long(400, 8000);
    let attack = Attack {
        name: "half-open requests",
        bound: "--head-timeout, --buffers",
        counter: "timeouts_head",
        options: &["--head-timeout", short_or_long("1", "4")],
        growth_kib_max: blocks_of(count, 2),
    };
    let Some((weir, statistics)) = attack.run(|weir, _| {
        let mut silent = Crowd::connect(weir, count, b"GET http://a.test/ HTTP/1.1\r\nHos");
        finally("all of them are closed", || silent.closed() == count);
    }) else {
        return;
    };
    // One for the head, one for the answer.
    assert!(statistics.get("blocks_peak") <= 2 * count as u64 + 8, "{statistics:?}");
    expect_logged(&weir, count, &[" malformed 408 ", " reason=head_timeout"]);
    weir.wait_until_idle();
}

/// Half-open connections with few blocks: new heads wait for one, and requests under way are served.
#[test]
fn half_open_with_few_blocks() {
    let attack = Attack {
        name: "half-open requests, 64 buffers",
        bound: "--buffers",
        counter: "limit_blocks",
        options: &["--head-timeout", "2", "--buffers", "64"],
        growth_kib_max: blocks_of(crowd(), 0) + 64 * 4,
    };
    let Some((weir, statistics)) = attack.run(|weir, _| {
        let mut silent = Crowd::connect(weir, crowd(), b"GET http://a.test/ HTTP/1.1\r\nHos");
        finally("all of them are closed", || silent.closed() == crowd());
    }) else {
        return;
    };
    assert!(statistics.get("blocks_peak") <= 64, "{statistics:?}");
    expect_logged(&weir, 1, &[" reason=head_timeout"]);
    weir.wait_until_idle();
}

/// Slow heads and clients that never read, where the whole process has one size.
#[test]
fn slow_and_deaf_within_a_size() {
    let attack = Attack {
        name: "slow heads, clients that never read",
        bound: "--memory 32M",
        counter: "timeouts_head",
        options: &["--memory", "32M", "--head-timeout", short_or_long("1", "2"), "--timeout", "5"],
        growth_kib_max: 32 << 10,
    };
    let head = [&b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nX: "[..], &[b'x'; 1000]].concat();
    let flood = Origin::serve(|conn| {
        conn.request()?;
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")?;
        while conn.send_until_stuck()? > 0 {}
        Ok(())
    });
    let Some((weir, statistics)) = attack.run(|weir, stop| {
        let mut slow = Crowd::connect(weir, crowd(), b"");
        let deaf = Crowd::connect(weir, short_or_long(40, 100), &flood.get("/much"));
        while !stop.is_set() {
            slow.send_next(&head);
            std::thread::sleep(tick());
        }
        finally("some have been told", || weir.statistics().get("timeouts_head") > 0);
        drop((slow, deaf));
    }) else {
        return;
    };
    // Without optimisation, code alone is half as large.
    let footprint = weir.footprint();
    let peak = if cfg!(debug_assertions) { weir.resident_kib() } else { footprint.peak_kib };
    assert!(peak <= 32 << 10, "{peak} KiB: {footprint:?}, {statistics:?}");
    weir.wait_until_idle();
}

/// Connections that say nothing at all.
#[test]
fn unused_connections() {
    let attack = Attack {
        name: "connections that never say a word",
        bound: "--head-timeout",
        counter: "timeouts_unused",
        options: &["--head-timeout", "1"],
        growth_kib_max: blocks_of(crowd(), 0),
    };
    let Some((weir, statistics)) = attack.run(|weir, _| {
        let mut silent = Crowd::connect(weir, crowd(), b"");
        finally("all of them are closed", || silent.closed() == crowd());
    }) else {
        return;
    };
    assert_eq!(statistics.get("timeouts_unused"), crowd() as u64);
    assert_eq!(statistics.get("timeouts_idle"), 0, "{statistics:?}");
    weir.wait_until_idle();
}

/// Uploads of a byte per tick, for ever: no connection is silent, and none ends.
#[test]
fn trickling_uploads() {
    let attack = Attack {
        name: "uploads of a byte per tick, for ever",
        bound: "--min-rate over --timeout",
        counter: "limit_rate",
        options: &["--timeout", "3"],
        growth_kib_max: blocks_of(crowd(), 2),
    };
    let sink = Origin::serve(|conn| conn.read_to_end().map(drop));
    let head = sink.fill("POST http://{o}/trickle HTTP/1.1\r\nHost: {o}\r\nContent-Length: 1000000\r\n\r\n");
    let Some((weir, _)) = attack.run(|weir, _| {
        let (mut slow, mut cut) = (Crowd::connect(weir, crowd(), &head), 0);
        let end = std::time::Instant::now() + patience();
        while cut < crowd() {
            assert!(std::time::Instant::now() < end, "{cut} of {} were cut off", crowd());
            cut += slow.send_next(b"x");
            std::thread::sleep(tick());
        }
    }) else {
        return;
    };
    expect_logged(&weir, crowd(), &["/trickle", " malformed 408 ", " reason=min_rate"]);
    assert_eq!(weir.wait_until_idle().get("limit_rate"), crowd() as u64);
}

/// Without a least rate they continue, at the price of a connection; a client that stops is disconnected.
#[test]
fn slow_bodies() {
    let attack = Attack {
        name: "slow uploads, a byte per tick",
        bound: "--timeout (silence only)",
        // Within a size, memory for the inspection of bodies ends first.
        counter: if memory().is_some() { "limit_blocks" } else { "timeouts_body" },
        options: &["--timeout", short_or_long("2", "3"), "--min-rate", "0"],
        growth_kib_max: blocks_of(crowd(), 2),
    };
    let sink = Origin::sink();
    let head = sink.fill("POST http://{o}/ HTTP/1.1\r\nHost: {o}\r\nContent-Length: 1000000\r\n\r\n");
    let Some((weir, statistics)) = attack.run(|weir, stop| {
        let mut slow = Crowd::connect(weir, crowd(), &head);
        // In a small size not all of them get a block.
        let all_served = memory().is_none();
        let exchanges = || weir.statistics().get("exchanges");
        finally("their exchanges", || !all_served || exchanges() >= crowd() as u64);
        while !stop.is_set() {
            let gone = slow.send_next(b"x");
            assert!(gone == 0 || !all_served, "a client was disconnected in the middle of an upload");
            std::thread::sleep(tick());
        }
        finally("one block for each request", || {
            let now = weir.statistics();
            // While bytes are on their way, a request has another one.
            let few = now.get("blocks_lent") <= crowd() as u64 + 8;
            !all_served || few && now.get("exchanges") >= crowd() as u64
        });
        finally("all of them are closed", || slow.closed() == crowd());
    }) else {
        return;
    };
    assert_eq!(statistics.timeouts(), crowd() as u64, "{statistics:?}");
    expect_logged(&weir, crowd(), &[" malformed 408 ", " reason=body_timeout"]);
    weir.wait_until_idle();
}

/// A client that requests much and reads nothing holds a few blocks, for a limited time.
#[test]
fn clients_that_never_read() {
    let count = short_or_long(100, 500);
    // Bytes that do not wait in the kernel wait in a chain of blocks: also those that came before the body was spliced.
    let blocks = SPACES_MAX as u64 + 1;
    let attack = Attack {
        name: "clients that never read 1 GB",
        bound: "BLOCK_BYTES, --timeout",
        counter: "timeouts_client",
        options: &["--timeout", "3"],
        growth_kib_max: blocks_of(count, blocks),
    };
    let flood = Origin::serve(|conn| {
        conn.request()?;
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")?;
        while conn.send_until_stuck()? > 0 {}
        Ok(())
    });
    let Some((weir, statistics)) = attack.run(|weir, stop| {
        let deaf = Crowd::connect(weir, count, &flood.get("/much"));
        repeat(stop, 1, || std::thread::sleep(tick()));
        // Reading would be listening: the daemon is asked whether they are gone.
        finally("all of them are cut off", || weir.statistics().get("exchanges") == 0);
        drop(deaf);
    }) else {
        return;
    };
    assert!(statistics.get("blocks_peak") <= blocks * count as u64 + 8, "{statistics:?}");
    expect_logged(&weir, count, &["/much", " failed 200 ", " reason=client_timeout"]);
    assert_eq!(statistics.get("aborted"), count as u64);
    weir.wait_until_idle();
}

/// Origins that send a byte per tick are carried as slowly as they are; those that stop are given up.
#[test]
fn trickling_origins() {
    let attack = Attack {
        name: "origins that trickle",
        bound: "--timeout (silence only)",
        counter: "timeouts_response",
        options: &["--timeout", "3"],
        growth_kib_max: blocks_of(crowd(), 2),
    };
    let trickles = short_or_long(12, 10);
    let slow = Origin::serve(move |conn| {
        conn.request()?;
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")?;
        for _ in 0..trickles {
            conn.send("x")?;
            std::thread::sleep(tick());
        }
        // Silence, to the end of the connection.
        conn.read_to_end().map(drop)
    });
    let Some((weir, _)) = attack.run(|weir, _| {
        let mut waiting = Crowd::connect(weir, crowd(), &slow.get("/slow"));
        if memory().is_none() {
            slow.wait_for_connections(crowd());
        }
        let now = weir.statistics();
        assert!(now.get("blocks_lent") <= 2 * crowd() as u64, "{now:?}");
        let end = std::time::Instant::now() + 3 * tick() * trickles;
        while waiting.closed() < crowd() {
            assert!(std::time::Instant::now() < end + patience(), "silent origins are not given up");
            std::thread::sleep(tick());
        }
    }) else {
        return;
    };
    expect_logged(&weir, crowd(), &["/slow", " failed ", " reason=http_response_timeout"]);
    weir.wait_until_idle();
}

/// 10,000 fields in one head, by number and by size.
#[test]
fn ten_thousand_fields() {
    for (bound, options, reason) in [
        ("--fields-max", &["--head-max", "1M"][..], " reason=too_many_fields"),
        ("--head-max", &[], " reason=head_too_large"),
    ] {
        let attack = Attack {
            name: "10,000 fields in a head",
            bound,
            counter: "malformed",
            options,
            growth_kib_max: BASE_KIB,
        };
        let Some((weir, statistics)) = attack.run(|weir, stop| {
            let head =
                format!("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n{}\r\n", "a: b\r\n".repeat(10_000));
            repeat(stop, 2, || {
                let mut client = weir.connect();
                client.send_if_open(&head);
                assert_eq!(client.read_response().status(), 431);
                client.expect_closed();
            });
        }) else {
            continue;
        };
        expect_logged(&weir, statistics.get("malformed") as usize, &[" malformed 431 ", reason]);
        weir.wait_until_idle();
    }
}

/// The same from an origin.
#[test]
fn ten_thousand_fields_from_an_origin() {
    let attack = Attack {
        name: "10,000 fields in an answer",
        bound: "--fields-max",
        counter: "failed",
        options: &["--head-max", "1M"],
        growth_kib_max: BASE_KIB,
    };
    let origin = Origin::answering(format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(10_000)));
    let Some((weir, statistics)) = attack.run(|weir, stop| {
        repeat(stop, 2, || assert_eq!(weir.connect().ask(origin.get("/fields")).status(), 502));
    }) else {
        return;
    };
    expect_logged(
        &weir,
        statistics.get("failed") as usize,
        &["/fields", " failed 502 ", " reason=too_many_fields"],
    );
    weir.wait_until_idle();
}

/// A million chunks of one byte go through as they are; they leave in fewer and larger ones.
#[test]
fn one_byte_chunks() {
    let attack = Attack {
        name: "uploads in one-byte chunks",
        bound: "SPACES_MAX, TURN_BYTES",
        counter: "client_bytes_in",
        options: &[],
        growth_kib_max: BASE_KIB,
    };
    let count = short_or_long(50_000, 1_000_000);
    let sink = Origin::sink();
    let Some((weir, statistics)) = attack.run(|weir, stop| {
        let body = [&b"1\r\nx\r\n".repeat(count)[..], b"0\r\n\r\n"].concat();
        let head = sink.fill("POST http://{o}/ HTTP/1.1\r\nHost: {o}\r\nTransfer-Encoding: chunked\r\n\r\n");
        repeat(stop, 2, || {
            let mut client = weir.connect();
            client.send(&head);
            client.send(&body);
            let answer = client.read_response();
            assert!(answer.text().starts_with(&format!("{count}:")), "{answer:?}");
        });
    }) else {
        return;
    };
    // Two uploads, each with a head, and eight blocks while it is busy.
    assert!(statistics.get("blocks_peak") < 32, "{statistics:?}");
    assert!(
        sink.received_bytes() < statistics.get("client_bytes_in") / 2,
        "every chunk was sent on by itself"
    );
    weir.wait_until_idle();
}

/// Chunk extensions have no meaning here, and a bound.
#[test]
fn chunk_extensions() {
    let attack = Attack {
        name: "chunk extensions without end",
        bound: "CHUNK_EXTENSION_BYTES_MAX",
        counter: "malformed",
        options: &[],
        growth_kib_max: BASE_KIB,
    };
    let sink = Origin::sink();
    let Some((weir, _)) = attack.run(|weir, stop| {
        let head =
            sink.fill("POST http://{o}/ext HTTP/1.1\r\nHost: {o}\r\nTransfer-Encoding: chunked\r\n\r\n1;a=");
        repeat(stop, 2, || {
            let mut client = weir.connect();
            client.send(&head);
            client.send_if_open([b'x'; 100_000]);
            assert_eq!(client.read_response().status(), 400);
        });
    }) else {
        return;
    };
    expect_logged(&weir, 1, &["/ext", " malformed 400 ", " reason=chunk_extension_too_long"]);
    weir.wait_until_idle();
}

/// Interim answers without end.
#[test]
fn informational_flood() {
    let attack = Attack {
        name: "1xx answers without end",
        bound: "INFORMATIONAL_MAX",
        counter: "failed",
        options: &[],
        growth_kib_max: BASE_KIB,
    };
    let flood = Origin::serve(|conn| {
        conn.request()?;
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(100);
        loop {
            conn.send(&hints)?;
        }
    });
    let Some((weir, statistics)) = attack.run(|weir, stop| {
        repeat(stop, 2, || {
            let answer = weir.connect().ask(flood.get("/hints"));
            assert_eq!((answer.status(), answer.interim.len()), (502, 32));
        });
    }) else {
        return;
    };
    let wanted = ["/hints", " failed 502 ", " reason=informational_max"];
    expect_logged(&weir, statistics.get("failed") as usize, &wanted);
    weir.wait_until_idle();
}

/// A thousand requests at once on one connection: one after the other, and no more memory than for one.
#[test]
fn a_thousand_pipelined() {
    let attack = Attack {
        name: "1,000 pipelined requests",
        bound: "BLOCK_BYTES, TURNS_MAX",
        counter: "requests",
        options: &[],
        growth_kib_max: BASE_KIB,
    };
    let Some((weir, statistics)) = attack.run(|weir, stop| {
        repeat(stop, 2, || {
            let mut client = weir.connect();
            let origin = Origin::echo();
            let mut sender = client.second_handle();
            std::thread::scope(|scope| {
                scope.spawn(|| (0..1000).for_each(|n| sender.send(origin.get(&format!("/number/{n}")))));
                for n in 0..1000 {
                    let answer = client.read_response();
                    assert!(answer.text().starts_with(&format!("GET /number/{n} ")), "{answer:?}");
                }
            });
        });
    }) else {
        return;
    };
    assert!(statistics.get("blocks_peak") < 16, "{statistics:?}");
    expect_logged(&weir, 1000, &["/number/", " allowed 200 "]);
    weir.wait_until_idle();
}

/// More connections than there may be, at once and from one address.
#[test]
fn connection_floods() {
    for (bound, options, counter, status, reason) in [
        ("--max-connections", ["--max-connections", "50"], "limit_connections", " 503 ", "max_connections"),
        ("--max-per-client", ["--max-per-client", "20"], "limit_per_client", " 429 ", "max_per_client"),
    ] {
        let attack = Attack {
            name: "a flood of connections",
            bound,
            counter,
            options: &options,
            growth_kib_max: blocks_of(crowd(), 1),
        };
        let Some((weir, _)) = attack.run(|weir, stop| {
            let mut flood = Crowd::connect(weir, crowd(), b"");
            while !stop.is_set() {
                flood.send_next(b"x");
                if bound == "--max-per-client" {
                    // A client of another address is accepted.
                    let answer = weir.connect_from("127.0.0.8").ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                    assert_ne!(answer.status(), 429);
                }
                std::thread::sleep(tick() / 4);
            }
        }) else {
            continue;
        };
        expect_logged(&weir, 20, &[" refused ", status, &format!(" reason={reason}")]);
        weir.wait_until_idle();
    }
}

/// Bytes that are not HTTP: noise, a TLS handshake, an SSH greeting, HTTP/2.
#[test]
fn garbage() {
    let attack = Attack {
        name: "garbage, TLS, SSH, HTTP/2",
        bound: "the grammar, LINGER_BYTES_MAX",
        counter: "malformed",
        options: &["--head-timeout", "2"],
        growth_kib_max: BASE_KIB,
    };
    let noise = common::pattern(12345, 50_000);
    let hello = [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &common::pattern(99, 506)].concat();
    let kinds: [&[u8]; 4] =
        [&noise, &hello, b"SSH-2.0-OpenSSH_9.6\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"];
    let Some((weir, statistics)) = attack.run(|weir, stop| {
        repeat(stop, 2, || {
            for bytes in kinds {
                let mut client = weir.connect();
                client.send_if_open(bytes);
                let answer = client.read_response();
                assert!(matches!(answer.status(), 400 | 505), "{answer:?} to {}", common::bytes::show(bytes));
                client.expect_closed();
            }
        });
    }) else {
        return;
    };
    expect_logged(&weir, statistics.get("malformed") as usize, &[" malformed "]);
    weir.wait_until_idle();
}

/// The proxy, asked for itself: by its address, by a name that leads to it, in a tunnel, and as if it were a web server.
#[test]
fn asked_for_itself() {
    let dns = FakeDns::start(&[("self.test", Answer::addresses(&["127.0.0.1"]))]);
    let address = dns.address();
    let attack = Attack {
        name: "the proxy asked for the proxy",
        bound: "own listeners",
        counter: "blocked",
        options: &["--dns", &address, "--connect-ports", "any", "--ports", "any"],
        growth_kib_max: BASE_KIB,
    };
    let Some((weir, _)) = attack.run(|weir, stop| {
        let port = weir.address().port();
        repeat(stop, 2, || {
            for host in [format!("127.0.0.1:{port}"), format!("self.test:{port}")] {
                for request in [
                    format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"),
                    format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
                ] {
                    assert_eq!(weir.connect().ask(&request).status(), 403, "{request:?}");
                }
            }
            let answer = weir.connect().ask(format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"));
            assert_eq!(answer.status(), 400, "{answer:?}");
        });
    }) else {
        return;
    };
    expect_logged(&weir, 4, &[" refused 403 "]);
    expect_logged(&weir, 1, &[" malformed 400 ", " reason=asked_for_proxy"]);
    weir.wait_until_idle();
}

/// Passwords tried as fast as possible: hashing waits in a queue with an end, away from the loop.
#[test]
fn password_guessing() {
    let scratch = Scratch::new();
    // The hash is of "U*U".
    let line = "bea:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n";
    let users = scratch.file("users.txt", line);
    let limits = if is_long() { 60 } else { 30 };
    let weir = Weir::start(&["--auth-file", &users, "--stats-every", "0"]);
    let guess = |number: usize| {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(format!("bea:guess-{number}"));
        format!("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nProxy-Authorization: Basic {text}\r\n\r\n")
    };
    let mut clients: Vec<Raw> = (0..limits).map(|_| weir.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(guess(number));
    }
    let statuses: Vec<_> = clients.iter_mut().map(|client| client.read_response().status()).collect();
    assert!(statuses.iter().all(|status| matches!(status, 407 | 429)), "{statuses:?}");
    let limited = statuses.iter().filter(|&&status| status == 429).count() as u64;
    let statistics = weir.statistics();
    assert_eq!(statistics.get("limit_verifications"), limited);
    assert_eq!(statistics.get("verifications") + limited, limits as u64, "{statistics:?}");
    expect_logged(&weir, 1, &[" refused 407 ", " reason=credentials_wrong"]);
    if limited > 0 {
        expect_logged(&weir, limited as usize, &[" refused 429 ", " reason=verifications_max"]);
    }
    drop(clients);
    std::thread::sleep(Duration::from_millis(10));
    weir.wait_until_idle();
}
