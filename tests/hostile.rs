//! Hostile peers, and peers that die at the worst moment: the findings of an attack with raw sockets, and those of a
//! review that need sockets.

mod common;

use common::{Answer, FakeDns, Origin, Raw, Scratch, Weir, pattern, run};
use rustix::process::{Pid, Signal, kill_process};
use socket2::SockRef;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Stops the daemon until `thaw`, so that everything that is sent meanwhile arrives at once.
fn freeze(id: u32) {
    send_signal(id, Signal::STOP);
    common::eventually("the daemon stops", || is_stopped(id).then_some(()));
}

fn thaw(id: u32) {
    send_signal(id, Signal::CONT);
}

fn send_signal(id: u32, signal: Signal) {
    let id = Pid::from_raw(id as i32).expect("a process id");
    kill_process(id, signal).expect("the daemon takes signals");
}

/// Whether every thread stands still.
fn is_stopped(id: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{id}/task")).expect("its threads");
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|after_name| after_name.starts_with('T'))
    })
}

/// An answer of exactly so many bytes, head included.
fn answer_of(bytes: usize) -> String {
    let head = |body: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {body:05}\r\n\r\n");
    let body = bytes - head(0).len();
    head(body) + &"x".repeat(body)
}

/// A response that no request asked for.
const FORGED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";

/// An origin that resets in the middle of an upload leaves a rest that is no request.
#[test]
fn rest_of_a_failed_upload_is_never_a_request() {
    let (weir, other) = (Weir::start(&[]), Origin::ok());
    let (now, when) = channel();
    let when = Mutex::new(when);
    let origin = Origin::serve_owned(move |mut conn| {
        conn.head()?;
        conn.read_until(b"hello")?;
        let told = when.lock().expect("a turn").recv_timeout(common::DEADLINE);
        told.expect("the next chunk is on its way");
        conn.reset();
        Ok(())
    });
    let mut client = weir.connect();
    let head = "POST http://{o}/ HTTP/1.1\r\nHost: {o}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    client.send(origin.fill(head));
    origin.wait_for_received(0, b"hello");
    // The next chunk is there first: it is on its way to an origin that has gone.
    freeze(weir.id());
    client.send("5\r\nworld\r\n");
    now.send(()).expect("an origin");
    origin.wait_for_ends(1);
    thaw(weir.id());
    let answer = client.read_response();
    assert_eq!(answer.status(), 502);
    client.send_if_open(other.get("/smuggled"));
    client.expect_closed();
    assert_eq!(other.connections(), 0);
    assert!(answer.head.lists("connection", "close"), "{answer:?}");
}

/// Connects and resets until the listener is gone.
fn crowd(address: SocketAddr, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        let Ok(stream) = TcpStream::connect(address) else { return };
        // A reset, because thousands of orderly ends would use up the ports.
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    }
}

/// Connections that arrive with the order to stop are no reason to die of it.
#[test]
fn stops_while_connections_arrive() {
    for _ in 0..8 {
        let mut weir = Weir::start(&["--drain-timeout", "1"]);
        let address = weir.address();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            (0..4).for_each(|_| drop(scope.spawn(|| crowd(address, &stop))));
            weir.signal(Signal::USR2);
            weir.wait_for_error(|line| line.contains("statistics: "));
            weir.signal(Signal::TERM);
            let ended = weir.wait_exit();
            stop.store(true, Ordering::SeqCst);
            assert!(ended.success(), "{ended}: {:?}", weir.error_lines());
        });
    }
}

/// Rule 33: what lies behind a complete answer is not the answer to the next request, wherever its end falls in memory.
#[test]
fn forged_answer_behind_a_block_is_not_believed() {
    let (begin, end) = ("HTTP/1.1 304 Not Modified\r\nX: ", "\r\n\r\n");
    let only_head = format!("{begin}{}{end}", "x".repeat(4096 - begin.len() - end.len()));
    for first in [answer_of(4096), answer_of(8192), only_head, answer_of(4095), answer_of(100)] {
        let weir = Weir::start(&[]);
        let answer = first + FORGED;
        let id = weir.id();
        let origin = Origin::serve(move |conn| {
            let begin = conn.number == 0;
            if begin {
                conn.request()?;
                freeze(id);
                conn.send(&answer)?;
                thaw(id);
            }
            conn.answer_all("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
        });
        let mut client = weir.connect();
        client.send([origin.get("/1"), origin.get("/2")].concat());
        assert!([200, 304].contains(&client.read_response().status()));
        assert_eq!(client.read_response().text(), "good");
        assert_eq!(weir.connect().ask(origin.get("/3")).text(), "good");
    }
}

/// A connection that waits for a place is taken when there is one, not when something else happens.
#[test]
fn backlog_is_taken_when_there_is_room() {
    let weir = Weir::start(&["--max-connections", "1", "--head-timeout", "1h", "--stats-every", "0"]);
    let _served = weir.connect();
    // As many as are told at once that they are too many.
    let mut told: Vec<_> = (0..64).map(|_| weir.connect()).collect();
    told.iter_mut().for_each(|client| assert_eq!(client.read_head().status(), 503));
    // They stay, until weir has had enough of them. Nothing else happens.
    let mut waiting = weir.connect();
    assert_eq!(waiting.read_head().status(), 503);
}

/// A tunnel ends with its client, even if all that the client sent is still waiting for the origin.
#[test]
fn reset_behind_a_full_tunnel_is_noticed() {
    let weir = Weir::start(&["--connect-ports", "any"]);
    let done = Arc::new(AtomicBool::new(false));
    let until = done.clone();
    let origin = Origin::serve(move |_| {
        while !until.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    });
    let mut client = weir.connect();
    client.send(origin.fill("CONNECT {o} HTTP/1.1\r\nHost: {o}\r\n\r\n"));
    assert_eq!(client.read_head().status(), 200);
    let block = pattern(0, 1 << 16);
    while client.wire().send_some(&block, Duration::from_millis(500)).expect("an open tunnel") > 0 {}
    client.reset();
    weir.wait_for_log(|line| line.contains("CONNECT") && line.contains("client_reset"));
    done.store(true, Ordering::SeqCst);
}

/// `explain` agrees with the daemon where more than rules decides: a name without addresses is not on a list of
/// addresses, and a request without a user has no user.
/// The system reports room in a send buffer of megabytes only when a third of it is free, which a slow reader reaches long after
/// the time-out: a peer that reads all the time is not silent.
#[test]
fn slow_but_steady_reader_is_not_cut() {
    const BODY_BYTES: usize = 6_000_000;
    let body = || "x".repeat(BODY_BYTES);
    let origin =
        Origin::answering(format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY_BYTES}\r\n\r\n{}", body()));
    let weir = Weir::start(&["--timeout", "2s", "--tunnel-timeout", "2s"]);
    std::thread::scope(|scope| {
        for through_tunnel in [false, true] {
            let (weir, origin) = (&weir, &origin);
            scope.spawn(move || {
                let mut client = TcpStream::connect(weir.address()).expect("a connection");
                SockRef::from(&client).set_recv_buffer_size(16 * 1024).expect("a buffer size");
                let (url, host) = (origin.url("/"), origin.address());
                if through_tunnel {
                    client
                        .write_all(format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())
                        .expect("a request");
                    let head = read_head(&mut client);
                    assert!(head.contains(" 200 "), "{head}");
                    client
                        .write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())
                        .expect("a request");
                } else {
                    client
                        .write_all(format!("GET {url} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())
                        .expect("a request");
                }
                let head = read_head(&mut client);
                assert!(head.contains(" 200 OK"), "{head}");
                // Slowly, for longer than the time-out; then the rest.
                let (mut bytes, mut piece) = (0, vec![0; 25_000]);
                while bytes < BODY_BYTES {
                    if bytes < 2_500_000 {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                    let count = client.read(&mut piece).expect("bytes");
                    assert!(count > 0, "cut after {bytes} bytes, tunnel: {through_tunnel}");
                    bytes += count;
                }
            });
        }
    });
}

/// Reads a head, byte by byte.
fn read_head(client: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).expect("a head");
        head.extend(byte);
    }
    String::from_utf8_lossy(&head).into_owned()
}

#[test]
fn explain_refuses_what_the_daemon_refuses() {
    let scratch = Scratch::new();
    let (allow, users) =
        (scratch.file("allow.txt", "192.0.2.0/24\n"), scratch.file("users.txt", "anna:pw\n"));
    let dns = FakeDns::start(&[("none.test", Answer::NoName), ("fails.test", Answer::Fail)]);
    for name in ["none.test", "fails.test"] {
        let url = format!("http://{name}/");
        let explained = run(&["--allowlist", &allow, "--dns", &dns.address(), "explain", "GET", &url]);
        assert_eq!(explained.code, 1, "{}", explained.said());
        assert!(explained.out.starts_with("refused"), "{}", explained.said());
        let weir = Weir::start_bare(&["--allowlist", &allow, "--dns", &dns.address()]);
        let asked = weir.connect().ask(format!("GET {url} HTTP/1.1\r\nHost: {name}\r\n\r\n"));
        assert_eq!(asked.status(), 403);
    }
    let url = "http://192.0.2.1/";
    let nobody = run(&["--auth-file", &users, "explain", "GET", url]);
    assert_eq!(nobody.code, 1, "{}", nobody.said());
    assert!(nobody.out.starts_with("refused"), "{}", nobody.said());
    let anna = run(&["--auth-file", &users, "explain", "--user", "anna", "GET", url]);
    assert_eq!(anna.code, 0, "{}", anna.said());
}

/// A CRLF behind the body of the last request does not cost a slow reader the end of the answer.
#[test]
fn late_line_end_does_not_cut_the_answer() {
    const BYTES: usize = 1_000_000;
    let weir = Weir::start(&[]);
    let origin = Origin::serve(|conn| {
        conn.request()?;
        conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n"))?;
        conn.send(pattern(0, BYTES))
    });
    let mut client = Raw::connect_small(weir.address());
    let head = "POST http://{o}/ HTTP/1.1\r\nHost: {o}\r\nConnection: close\r\nContent-Length: 3\r\n\r\n";
    client.send(origin.fill([head, "abc"].concat()));
    let answer = client.read_head();
    assert_eq!(answer.status(), 200);
    client.send("\r\n");
    // When the exchange is logged, everything is with the system, and much of it not here yet.
    let mut body = Vec::new();
    while weir.log_lines().is_empty() {
        // The rest then has room on its way, so its line is written without another byte being read.
        match BYTES - body.len() {
            ..10_000 => std::thread::sleep(Duration::from_millis(1)),
            _ => body.extend(client.read_exact(1000)),
        }
    }
    body.extend(client.wire().read_to_end().expect("the rest of the answer"));
    assert!(body == pattern(0, BYTES), "{} bytes", body.len());
}

/// Rule 34: an origin that closes behind its answer does not take a pipelined request with it.
#[test]
fn pipelined_post_survives_a_closing_origin() {
    let weir = Weir::start(&[]);
    let id = weir.id();
    let origin = Origin::serve_owned(move |mut conn| {
        conn.request()?;
        freeze(id);
        // One block, so that the end of the connection is not read along with the answer.
        conn.send(answer_of(4096))?;
        // Closing it does not end it while another test starts a program, which holds all descriptors for a moment.
        conn.half_close()?;
        drop(conn);
        thaw(id);
        Ok(())
    });
    let mut client = weir.connect();
    let post = "POST http://{o}/2 HTTP/1.1\r\nHost: {o}\r\nContent-Length: 5\r\n\r\nhello";
    client.send([origin.get("/1"), origin.fill(post)].concat());
    assert_eq!(client.read_response().status(), 200);
    assert_eq!(client.read_response().status(), 200);
    let heads = origin.heads();
    assert_eq!(heads.iter().map(common::Head::method).collect::<Vec<_>>(), ["GET", "POST"]);
}

/// A request without memory, because other clients do not read, is told so and logged. Spliced bytes would need none.
#[test]
fn request_without_memory_is_answered() {
    const HEAD_TIMEOUT: Duration = Duration::from_secs(1);
    let weir = Weir::start(&["--buffers", "64", "--head-timeout", "1", "--no-splice"]);
    let bulk = Origin::serve(|conn| {
        conn.head()?;
        conn.send("HTTP/1.1 200 OK\r\n\r\n")?;
        let block = [b'x'; 1 << 16];
        loop {
            conn.send(block)?;
        }
    });
    let (mut held, mut cut) = (Vec::new(), 0);
    while held.len() < 120 {
        let mut client = Raw::connect_small(weir.address());
        client.send_if_open(bulk.get("/"));
        let from = client.local().to_string();
        // A client that was accepted, but gets no block for the answer, waits longer than this.
        if client.wire().is_silent_for(2 * HEAD_TIMEOUT).expect("socket options") {
            held.push(client);
            continue;
        }
        match client.wire().read_head().map(|head| head.status()) {
            Ok(200) => held.push(client),
            Ok(status) => {
                assert_eq!(status, 503);
                weir.wait_for_log(|line| line.contains(" 503 ") && line.contains(&from));
                return;
            }
            // On a busy machine the time-out may be over before the request was sent. Not every time.
            Err(error) => {
                cut += 1;
                assert!(cut < 4, "cut off without a word: {error}");
            }
        }
    }
    panic!("of 120 downloads that nobody reads, 64 blocks turned away none");
}

/// Heads of several blocks that arrive in two parts, of more clients than memory is for at once: each waits for its turn, holding one
/// block, and none waits for memory that others hold who wait as well.
#[test]
fn large_heads_wait_for_each_other_and_all_are_answered() {
    const CLIENTS: usize = 24;
    let large = "a".repeat(14_000);
    let second = format!("B: {}\r\nContent-Length: 2\r\n\r\nok", &large[..6000]);
    let answer = format!("HTTP/1.1 200 OK\r\nA: {large}\r\n");
    let origin = Origin::serve(move |conn| {
        let large = conn.head()?.get("large") == Some("response");
        conn.send(if large { answer.as_bytes() } else { b"HTTP/1.1 200 OK\r\n" })?;
        std::thread::sleep(Duration::from_millis(if large { 100 } else { 0 }));
        conn.send(if large { second.as_bytes() } else { b"Content-Length: 2\r\n\r\nok" })
    });
    for (request, response) in [(true, false), (false, true), (true, true)] {
        let weir = Weir::start(&["--buffers", "96"]);
        let which = if response { "response" } else { "none" };
        let mut first =
            origin.fill(format!("GET http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\nLarge: {which}\r\n"));
        let mut second = b"\r\n".to_vec();
        if request {
            first.extend_from_slice(format!("Cookie: {large}\r\n").as_bytes());
            second = format!("Cookie: {}\r\n\r\n", &large[..6000]).into_bytes();
        }
        let mut clients: Vec<Raw> = (0..CLIENTS).map(|_| weir.connect()).collect();
        clients.iter_mut().for_each(|client| client.send(&first));
        std::thread::sleep(Duration::from_millis(100));
        clients.iter_mut().for_each(|client| client.send(&second));
        for client in &mut clients {
            let answer = client.read_response();
            assert_eq!(
                (answer.status(), answer.body.bytes.as_slice()),
                (200, &b"ok"[..]),
                "{request} {response}"
            );
        }
        drop(clients);
        let statistics = weir.wait_until_idle();
        assert_eq!(statistics.get("timeouts_block"), 0);
        assert!(statistics.get("limit_blocks") > 0, "all had room at once");
    }
}

/// An origin whose response cannot be read for lack of memory is not to blame.
#[test]
fn a_response_without_memory_is_no_time_out_of_the_origin() {
    let weir = Weir::start(&["--buffers", "64", "--timeout", "2", "--head-timeout", "2"]);
    let head = format!("HTTP/1.1 200 OK\r\nA: {}\r\n", "a".repeat(9000));
    let origin = Origin::serve(move |conn| {
        conn.head()?;
        // The first to arrive holds what it has, and never ends its head.
        conn.send(&head)?;
        conn.head().map(drop)
    });
    let mut clients: Vec<Raw> = (0..12).map(|_| weir.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(origin.get("/")));
    let statuses: Vec<u16> = clients.iter_mut().map(|client| client.read_response().status()).collect();
    let of = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert!(of(503) > 0 && of(504) > 0 && of(503) + of(504) == 12, "{statuses:?}");
    weir.wait_for_logs(of(503), |line| line.contains("reason=buffers_max"));
    weir.wait_for_log(|line| line.contains("reason=http_response_timeout"));
}

/// Rule 36: bytes behind a request that ends its connection destroy nothing of a response whose reader is slow: not of a long one, not
/// when the close has lingered, and not of a short one that is longer than the client's window.
#[test]
fn rule_36_stray_bytes_destroy_no_response() {
    for options in [&[][..], &["--no-splice"]] {
        let weir = Weir::start(options);
        for (bytes, after_ms) in [(400_000, 50), (400_000, 2500), (14_000, 50)] {
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n{}", "x".repeat(bytes));
            let origin = Origin::answering(answer);
            let mut client = Raw::connect_with_window(weir.address(), 4096);
            client.send(origin.fill("GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nConnection: close\r\n\r\n"));
            // Weir has written all of it, and then more than the time of a lingering close is over.
            common::eventually("it was sent", || (weir.statistics().get("exchanges") == 0).then_some(()));
            std::thread::sleep(Duration::from_millis(after_ms));
            client.send_if_open("\r\n");
            std::thread::sleep(Duration::from_millis(200));
            let answer = client.read_response();
            let found = (answer.status(), answer.body.bytes.len());
            assert_eq!(found, (200, bytes), "{options:?} {after_ms}");
            client.expect_fin();
        }
    }
}

/// A drain ends although a client takes its response byte by byte. What is left of it leaves without weir.
#[test]
fn a_slow_reader_does_not_outlast_a_drain() {
    let mut weir = Weir::start(&["--drain-timeout", "1"]);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n{}", "x".repeat(400_000));
    let origin = Origin::answering(answer);
    let mut client = TcpStream::connect(weir.address()).expect("a connection");
    SockRef::from(&client).set_recv_buffer_size(4096).expect("a small buffer");
    let request = origin.fill("GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nConnection: close\r\n\r\n");
    client.write_all(&request).expect("sending");
    common::eventually("it was sent", || (weir.statistics().get("exchanges") == 0).then_some(()));
    let stop = AtomicBool::new(false);
    let received = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut received, mut block) = (0, [0; 1000]);
            while !stop.load(Ordering::Relaxed) {
                received += client.read(&mut block).expect("a part of the response");
                std::thread::sleep(Duration::from_millis(50));
            }
            received
        });
        weir.signal(Signal::TERM);
        weir.wait_exit();
        stop.store(true, Ordering::Relaxed);
        reader.join().expect("the reader")
    });
    let rest = client.read_to_end(&mut Vec::new()).expect("the rest of it");
    assert!(received > 0 && received + rest > 400_000, "{received} and {rest}");
}
