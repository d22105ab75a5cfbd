//! The proxy from end to end: the specification's own four first, then what carries bytes.

mod common;

use common::{Framing, Hash, Origin, Scratch, Weir, bytes, forwarded};
use std::time::Duration;

const MEGABYTE: u64 = 1 << 20;

/// Specification 1: a request is forwarded, the response comes back, and the log says so.
#[test]
fn specification_forwarding() {
    let (weir, origin) = (Weir::start(&[]), Origin::echo());
    let answer = weir.connect().ask(origin.get("/path?query=1"));
    assert_eq!(answer.status(), 200);
    assert!(answer.text().starts_with("GET /path?query=1 HTTP/1.1\r\n"), "{answer:?}");
    let line = weir.wait_for_log(|line| line.contains("/path?query=1"));
    for part in ["GET", "200", "127.0.0.1", &origin.url("/path?query=1"), &origin.address().to_string()] {
        assert!(line.contains(part), "{line:?} lacks {part}");
    }
}

/// Specification 2: CONNECT makes a blind tunnel, and the log has a line when it ends.
#[test]
fn specification_connect() {
    let weir = Weir::start(&[]);
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
    let answer = client.ask(origin.fill("CONNECT {o} HTTP/1.1\r\nHost: {o}\r\n\r\n"));
    assert_eq!(answer.status(), 200);
    assert!(!answer.head.has("content-length") && !answer.head.has("transfer-encoding"), "{answer:?}");
    for blob in [&b"\x16\x03\x01\x00\xff"[..], b"GET / HTTP/1.1\r\n\r\n", &common::pattern(0, 100_000)] {
        client.send(blob);
        assert_eq!(client.read_exact(blob.len()), blob);
    }
    client.half_close();
    client.expect_fin();
    let line = weir.wait_for_log(|line| line.contains("CONNECT"));
    for part in [&origin.address().to_string(), "200", "127.0.0.1"] {
        assert!(line.contains(part), "{line:?} lacks {part}");
    }
    for direction in ["received=", "sent="] {
        let number =
            line.split(direction).nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
        assert!(number.is_some_and(|bytes| (100_023..101_000).contains(&bytes)), "{direction} in {line:?}");
    }
}

/// Specification 3: a host on the blocklist is refused with 403, which names the rule's file and line.
#[test]
fn specification_403() {
    let scratch = Scratch::new();
    let list = scratch.file("blocklist.txt", "# ads\n*.ads.test\nblocked.test # and a comment\n");
    let weir = Weir::start(&["--blocklist", &list]);
    for (host, line) in [("blocked.test", 3), ("x.ads.test", 2)] {
        let mut client = weir.connect();
        let answer = client.ask(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(answer.status(), 403);
        let rule = format!("blocklist.txt:{line}");
        let said = answer.head.get("proxy-status").unwrap_or_default().to_owned();
        assert!(said.contains(&rule) && said.contains("http_request_denied"), "{said:?}");
        weir.wait_for_log(|logged| logged.contains(host) && logged.contains("403") && logged.contains(&rule));
        let answer = weir.connect().ask(format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n"));
        assert_eq!(answer.status(), 403);
    }
}

/// Specification 4: without credentials, or with wrong ones, 407; with the right ones, through.
#[test]
fn specification_407() {
    let scratch = Scratch::new();
    let users = scratch.file("users.txt", "anna:secret\n");
    let (weir, origin) = (Weir::start(&["--auth-file", &users]), Origin::ok());
    let mut client = weir.connect();
    let ask = |field: &str| origin.fill(format!("GET http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\n{field}\r\n"));
    for field in ["", "Proxy-Authorization: Basic YW5uYTp3cm9uZw==\r\n"] {
        let answer = client.ask(ask(field));
        assert_eq!(answer.status(), 407, "{field:?}");
        assert_eq!(answer.head.get("proxy-authenticate"), Some(r#"Basic realm="weir", charset="UTF-8""#));
    }
    assert_eq!(client.ask(ask("Proxy-Authorization: Basic YW5uYTpzZWNyZXQ=\r\n")).status(), 200);
    let line = weir.wait_for_log(|line| line.contains(" 200 "));
    assert!(line.contains("user=anna "), "{line:?} does not name the user");
    weir.wait_for_logs(2, |line| line.contains(" 407 "));
}

/// One line for every exchange, in the order of their ends, with the bytes that went each way.
#[test]
fn log_has_a_line_for_every_exchange() {
    let (weir, origin) = (Weir::start(&[]), Origin::ok());
    let mut client = weir.connect();
    for number in 0..20 {
        client.ask(origin.get(&format!("/exchange-{number}")));
    }
    let lines = weir.wait_for_logs(20, |line| line.contains("/exchange-"));
    for (number, line) in lines.iter().enumerate() {
        assert!(line.contains(&format!("/exchange-{number}")), "{line:?} is number {number}");
    }
    let broken = weir.connect();
    drop(broken);
    weir.connect().ask(origin.get("/last"));
    weir.wait_for_log(|line| line.contains("/last"));
    assert_eq!(
        weir.log_lines().len(),
        21,
        "a connection without a request is no exchange: {:?}",
        weir.log_lines()
    );
}

/// Clients cannot forge a line of the log.
#[test]
fn log_is_unforgeable() {
    let origin = Origin::ok();
    for format in ["weir", "combined", "squid", "json"] {
        let weir = Weir::start(&["--log-format", format]);
        weir.connect().ask(origin.fill(
            b"GET http://{o}/q\"u HTTP/1.1\r\nHost: {o}\r\nUser-Agent: a\"b\x80\tc\\\r\nReferer: http://r.test/\"x\r\n\r\n",
        ));
        let line = weir.wait_for_log(|line| line.contains("/q"));
        assert!(line.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{format}: {line:?}");
        match format {
            "json" => {
                assert!(line.starts_with('{') && line.ends_with('}') && line.contains("\\\""), "{line:?}")
            }
            "combined" => assert!(line.contains("\"GET ") && line.contains("HTTP/1.1\" 200 "), "{line:?}"),
            "squid" => assert!(line.contains("/200 ") && line.contains(" GET http://"), "{line:?}"),
            _ => assert!(line.contains("GET"), "{line:?}"),
        }
    }
}

/// The log goes to files where that is asked for, rotates by size, and no line is lost or split.
#[test]
fn log_files_rotate() {
    let scratch = Scratch::new();
    let folder = scratch.join("log");
    std::fs::create_dir(&folder).expect("a folder");
    let options = ["--log-dir", &folder, "--log-max-size", "8K", "--log-keep", "50"];
    let (weir, origin) = (Weir::start(&options), Origin::ok());
    let mut client = weir.connect();
    let padding = "p".repeat(150);
    for number in 0..200 {
        client.ask(origin.get(&format!("/line-{number:03}-{padding}")));
    }
    let all = || {
        let mut text = Vec::new();
        for entry in std::fs::read_dir(&folder).expect("the folder").flatten() {
            text.push(std::fs::read_to_string(entry.path()).unwrap_or_default());
        }
        text
    };
    common::eventually("200 lines on disk", || {
        (all().iter().map(|text| text.lines().count()).sum::<usize>() >= 200).then_some(())
    });
    let files = all();
    assert!(files.len() > 3, "{} files", files.len());
    for number in 0..200 {
        let wanted = format!("/line-{number:03}-{padding}");
        let found = files.iter().flat_map(|text| text.lines()).filter(|line| line.contains(&wanted)).count();
        assert_eq!(found, 1, "line {number}");
    }
    assert!(
        files.iter().all(|text| text.len() <= 9 * 1024 && text.ends_with('\n')),
        "too long, or a split line"
    );
    assert_eq!(weir.log_lines().len(), 0, "the lines are on standard output as well");
}

/// A full disk costs lines of the log, never service, and is said.
#[test]
fn log_on_a_full_disk() {
    let scratch = Scratch::new();
    std::os::unix::fs::symlink("/dev/full", scratch.join("access.log")).expect("a link");
    let folder = scratch.path().to_str().expect("a path").to_owned();
    let (weir, origin) = (Weir::start(&["--log-dir", &folder]), Origin::ok());
    let mut client = weir.connect();
    for _ in 0..100 {
        assert_eq!(client.ask(origin.get("/")).status(), 200);
    }
    weir.wait_for_error(|line| line.contains("log") && (line.contains("lost") || line.contains("No space")));
    assert_eq!(client.ask(origin.get("/")).status(), 200);
}

/// A reader of the log that does not read stops no loop.
#[test]
fn log_that_is_not_read() {
    let scratch = Scratch::new();
    let pipe = scratch.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    // Both ends, so that neither side waits for the other to open it.
    let kept = std::fs::OpenOptions::new().read(true).write(true).open(&pipe).expect("a pipe");
    let mut command = std::process::Command::new("sh");
    let weir = env!("CARGO_BIN_EXE_weir");
    command.args(["-c", "exec \"$0\" --host 127.0.0.1 --port 0 --allow 127.0.0.0/8 >\"$1\"", weir, &pipe]);
    let (weir, origin) = (Weir::spawn(command, 1).expect("a daemon"), Origin::ok());
    let mut client = weir.connect();
    let padding = "p".repeat(8000);
    for _ in 0..400 {
        assert_eq!(client.ask(origin.get(&format!("/{padding}"))).status(), 200);
    }
    drop(kept);
    assert_eq!(client.ask(origin.get("/")).status(), 200);
}

/// A large download in each framing is exact.
#[test]
fn large_downloads() {
    let (weir, origin) = (Weir::start(&[]), Origin::generator());
    let length = 24 * MEGABYTE;
    for (form, framing) in
        [("length", Framing::Length), ("chunked", Framing::Chunked), ("close", Framing::Chunked)]
    {
        let mut client = weir.connect();
        client.send(origin.get(&format!("/{form}/{length}")));
        let head = client.read_head();
        assert_eq!(client.hash_body(&head), (Hash::of_pattern(length), framing), "{form}");
    }
    let line = weir.wait_for_log(|line| line.contains("/length/"));
    assert!(line.contains("2516"), "{line:?} does not count 24 MB and a head");
}

/// A large upload in each framing is exact.
#[test]
fn large_uploads() {
    let (weir, origin) = (Weir::start(&[]), Origin::sink());
    let length = 24 * MEGABYTE;
    let mut client = weir.connect();
    client.send(
        origin.fill(format!("PUT http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\nContent-Length: {length}\r\n\r\n")),
    );
    client.send_pattern(length);
    assert_eq!(client.read_response().text(), Hash::of_pattern(length).to_string());

    client.send(origin.fill("PUT http://{o}/ HTTP/1.1\r\nHost: {o}\r\nTransfer-Encoding: chunked\r\n\r\n"));
    let (mut offset, mut size) = (0, 1);
    while offset < length {
        let take = (length - offset).min(size);
        let piece = common::pattern(offset, take as usize);
        client.send([format!("{take:X}\r\n").as_bytes(), &piece, b"\r\n"].concat());
        offset += take;
        // Every size from one byte to several blocks, so that the ends fall everywhere.
        size = size * 3 % 70_001 + 1;
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.read_response().text(), Hash::of_pattern(length).to_string());
}

/// A client that does not read stops a fast origin: nothing piles up in between.
#[test]
fn back_pressure_downloads() {
    let weir = Weir::start(&[]);
    let origin = Origin::serve(|conn| {
        conn.head()?;
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n")?;
        conn.send_until_stuck().map(drop)
    });
    let mut client = common::Raw::connect_small(weir.address());
    let before = weir.resident_kib();
    client.send(origin.get("/"));
    assert_eq!(client.read_head().status(), 200);
    origin.wait_for_ends(1);
    let (sent, grown) = (origin.sent_bytes(), weir.resident_kib().saturating_sub(before));
    // Two sockets' buffers are the kernel's; the proxy's own part is a few blocks.
    assert!(sent < 64 * MEGABYTE, "{sent} bytes were taken from the origin");
    assert!(grown < 4096, "the proxy grew by {grown} KiB");
}

/// An origin that does not read stops a fast client.
#[test]
fn back_pressure_uploads() {
    let weir = Weir::start(&[]);
    let origin = Origin::serve(|conn| {
        conn.head()?;
        // Nothing is read until the test has seen what piles up.
        std::thread::sleep(Duration::from_secs(5));
        Ok(())
    });
    let mut client = weir.connect();
    let before = weir.resident_kib();
    client.send(origin.fill("PUT http://{o}/ HTTP/1.1\r\nHost: {o}\r\nContent-Length: 100000000000\r\n\r\n"));
    origin.wait_for_head(1);
    let block = common::pattern(0, 64 * 1024);
    let mut sent = 0;
    loop {
        match client.wire().send_some(&block, Duration::from_secs(1)).expect("an open connection") {
            0 => break,
            taken => sent += taken as u64,
        }
        assert!(sent < 64 * MEGABYTE, "{sent} bytes were taken from the client");
    }
    let grown = weir.resident_kib().saturating_sub(before);
    assert!(grown < 4096, "the proxy grew by {grown} KiB");
}

/// Forwarding to IPv6 literals, with Host in brackets.
#[test]
fn forwarding_to_ipv6() {
    let weir = Weir::start(&["--allow", "::1"]);
    let origin = Origin::serve_at("[::1]:0", |mut conn| {
        conn.answer_all("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    let answer = weir.connect().ask(origin.get("/"));
    assert_eq!(answer.text(), "ok");
    assert_eq!(origin.head().get("host"), Some(origin.address().to_string().as_str()));
}

/// Requests in origin-form go where their Host says.
#[test]
fn origin_form_by_host() {
    let (weir, origin) = (Weir::start(&[]), Origin::ok());
    let (seen, _) = forwarded(&weir, &origin, b"GET /path?q HTTP/1.1\r\nHost: {o}\r\n\r\n");
    assert_eq!((seen.target(), seen.get("host")), ("/path?q", Some(origin.address().to_string().as_str())));
    weir.wait_for_log(|line| line.contains(&origin.url("/path?q")));
    let strict = Weir::start(&["--no-origin-form"]);
    let answer = strict.connect().ask(origin.fill("GET /path HTTP/1.1\r\nHost: {o}\r\n\r\n"));
    assert!(matches!(answer.status(), 400 | 403 | 421), "{answer:?}");
    assert_eq!(strict.connect().ask(origin.get("/")).status(), 200);
    assert_eq!(origin.heads().len(), 2);
}

/// A client that takes weir for a web server learns how to use it.
#[test]
fn origin_form_to_weir_itself() {
    for weir in [Weir::start(&[]), Weir::start_bare(&[])] {
        let own = weir.address();
        let answer = weir.connect().ask(format!("GET / HTTP/1.1\r\nHost: {own}\r\n\r\n"));
        assert_eq!(answer.status(), 400, "{answer:?}");
        assert!(answer.text().contains("proxy"), "{answer:?}");
    }
}

/// A listener on IPv6, and two listeners at once.
#[test]
fn listeners() {
    let origin = Origin::ok();
    let weir = Weir::start(&["--host", "::1"]);
    assert!(weir.address().is_ipv6());
    assert_eq!(weir.connect().ask(origin.get("/v6")).status(), 200);
    weir.wait_for_log(|line| line.contains("/v6") && line.contains("::1"));
    let both = Weir::start(&["--host", "127.0.0.1", "--host", "::1"]);
    assert_eq!(both.addresses().len(), 2);
    for &address in both.addresses() {
        assert_eq!(common::Raw::connect(address).ask(origin.get("/")).status(), 200, "{address}");
    }
}

/// Beyond the limit a connection gets a short 503 or waits; when one ends, the next is served.
#[test]
fn max_connections() {
    let (weir, origin) = (Weir::start(&["--max-connections", "2"]), Origin::ok());
    let mut first = weir.connect();
    let mut second = weir.connect();
    assert_eq!(first.ask(origin.get("/1")).status(), 200);
    assert_eq!(second.ask(origin.get("/2")).status(), 200);
    let mut third = weir.connect();
    third.send_if_open(origin.get("/3"));
    let before = weir.cpu_ticks();
    if third.wire().is_silent_for(Duration::from_millis(700)).expect("socket options") {
        let spun = weir.cpu_ticks() - before;
        assert!(spun < 35, "waiting in the backlog cost {spun} ticks of processor time");
        drop(first);
        assert_eq!(third.read_response().status(), 200);
    } else {
        assert_eq!(third.read_response().status(), 503);
        third.expect_closed();
        drop(first);
        common::eventually("a free place", || {
            let mut client = weir.connect();
            client.send_if_open(origin.get("/4"));
            client.try_read_response("GET").ok().filter(|answer| answer.status() == 200)
        });
    }
    assert_eq!(second.ask(origin.get("/5")).status(), 200);
}

/// One client cannot take all places.
#[test]
fn max_per_client() {
    let (weir, origin) = (Weir::start(&["--max-per-client", "2"]), Origin::ok());
    let mut kept: Vec<_> = (0..2).map(|_| weir.connect_from("127.0.0.1")).collect();
    for client in &mut kept {
        assert_eq!(client.ask(origin.get("/")).status(), 200);
    }
    let mut third = weir.connect_from("127.0.0.1");
    third.send_if_open(origin.get("/"));
    match third.try_read_response("GET") {
        Ok(answer) => assert!(matches!(answer.status(), 429 | 503), "{answer:?}"),
        Err(error) => assert_ne!(error.kind(), std::io::ErrorKind::TimedOut),
    }
    assert_eq!(weir.connect_from("127.0.0.9").ask(origin.get("/")).status(), 200);
    kept.clear();
    common::eventually("a free place", || {
        let mut client = weir.connect_from("127.0.0.1");
        client.send_if_open(origin.get("/"));
        client.try_read_response("GET").ok().filter(|answer| answer.status() == 200)
    });
}

/// A head that does not come to its end is answered with 408.
#[test]
fn head_timeout() {
    let weir = Weir::start(&["--head-timeout", "1"]);
    let mut client = weir.connect();
    client.send("GET http://h.test/ HTTP/1.1\r\nHost:");
    let answer = client.read_response();
    assert_eq!(answer.status(), 408);
    client.expect_closed();
    // A trickle does not move the deadline.
    let mut client = weir.connect();
    let slow = std::thread::spawn({
        let mut twin = client.second_handle();
        move || {
            for _ in 0..40 {
                twin.send_if_open("x");
                std::thread::sleep(Duration::from_millis(200));
            }
        }
    });
    assert_eq!(client.read_response().status(), 408);
    drop(client);
    slow.join().expect("the trickle");
}

/// A connection without a request is closed quietly at its time-out.
#[test]
fn idle_timeout() {
    let (weir, origin) = (Weir::start(&["--idle-timeout", "1", "--head-timeout", "1"]), Origin::ok());
    let mut client = weir.connect();
    assert_eq!(client.ask(origin.get("/")).status(), 200);
    client.expect_closed();
    weir.connect().expect_closed();
    // Empty lines, which old clients send behind a body, begin no request: neither is there a 408 for them, whole or half.
    for pieces in [&["\r\n"][..], &["\r", "\n"], &["\r\n\r", "\n"], &["\r"]] {
        let mut client = weir.connect();
        client.send(origin.get("/"));
        assert_eq!(client.read_response().status(), 200);
        pieces.iter().for_each(|piece| client.send(piece));
        client.expect_closed();
    }
    let mut client = weir.connect();
    let lines = client.ask([&b"\r\n"[..], &origin.get("/")].concat());
    assert_eq!(lines.status(), 200);
    let statistics = weir.statistics();
    assert_eq!((statistics.get("malformed"), statistics.get("timeouts_head")), (0, 0));
}

/// A client that closes in the middle of a head leaves a line in the log, as one that falls silent does.
#[test]
fn head_that_breaks_off_is_logged() {
    let weir = Weir::start(&[]);
    for (sent, resets, expected) in [
        ("GET http://a.test/ HTTP/1.1\r\nHost:", false, "malformed - GET http://a.test/ "),
        ("GET http://b.test/ HTTP/1.1\r\nHost:", true, "malformed - GET http://b.test/ "),
        ("GET ht", false, "malformed - - - "),
    ] {
        let mut client = weir.connect();
        client.send(sent);
        common::eventually("the bytes have arrived", || {
            (weir.statistics().get("blocks_lent") == 1).then_some(())
        });
        let reason = if resets { "reason=client_reset" } else { "reason=client_closed" };
        if resets {
            client.reset();
        } else {
            client.half_close();
            client.expect_closed();
        }
        weir.wait_for_log(|line| line.contains(expected) && line.contains(reason));
    }
    drop(weir.connect());
    assert_eq!(weir.statistics().get("malformed"), 3);
}

/// Rules can be kept from clients; the log has them all the same.
#[test]
fn quiet_refusals() {
    let scratch = Scratch::new();
    let list = scratch.file("secret-list.txt", "blocked.test\n");
    let weir = Weir::start(&["--blocklist", &list, "--quiet-refusals"]);
    let answer = weir.connect().ask("GET http://blocked.test/ HTTP/1.1\r\nHost: blocked.test\r\n\r\n");
    assert_eq!(answer.status(), 403);
    assert!(!common::contains(&answer.head.raw, b"secret-list") && !answer.text().contains("secret-list"));
    weir.wait_for_log(|line| line.contains("secret-list.txt:1"));
}

/// Many clients at once, each with its own bytes back.
#[test]
fn many_clients_at_once() {
    let (weir, origin) = (Weir::start(&[]), Origin::echo());
    let mut clients: Vec<_> = (0..100).map(|_| weir.connect()).collect();
    for round in 0..3 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(origin.get(&format!("/{round}/{number}")));
        }
        for (number, client) in clients.iter_mut().enumerate() {
            assert!(client.read_response().text().starts_with(&format!("GET /{round}/{number} HTTP")));
        }
    }
}

/// One fast download does not starve the others.
#[test]
fn fairness() {
    let weir = Weir::start(&[]);
    let (flood, origin) = (Origin::generator(), Origin::ok());
    let mut busy = weir.connect();
    busy.send(flood.get(&format!("/length/{}", 4096 * MEGABYTE)));
    let head = busy.read_head();
    let reading = std::thread::spawn(move || drop(busy.wire().read_body_into(&head, true, &mut |_| {})));
    let mut client = weir.connect();
    for _ in 0..20 {
        assert_eq!(client.ask(origin.get("/")).status(), 200);
    }
    assert!(!reading.is_finished(), "20 small exchanges waited for the end of the download");
    drop(weir);
    reading.join().expect("the flood's reader");
}

/// A response's end is the origin's to give: an interrupted client frees the upstream connection.
#[test]
fn clients_that_leave() {
    let weir = Weir::start(&[]);
    let origin = Origin::serve(|conn| {
        conn.head()?;
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")?;
        conn.read_to_end().map(drop)
    });
    let mut client = weir.connect();
    client.send(origin.get("/left"));
    client.read_head();
    client.reset();
    origin.wait_for_ends(1);
    weir.wait_for_log(|line| line.contains("/left"));
}

/// A client that has half-closed still gets its answer.
#[test]
fn clients_that_half_close() {
    let (weir, origin) = (Weir::start(&[]), Origin::ok());
    let mut client = weir.connect();
    client.send([origin.get("/1"), origin.get("/2")].concat());
    client.half_close();
    assert_eq!((client.read_response().text(), client.read_response().text()), ("ok".into(), "ok".into()));
    client.expect_fin();
    assert_eq!(bytes::latin1(&origin.received(0)).matches("GET /").count(), 2);
}
