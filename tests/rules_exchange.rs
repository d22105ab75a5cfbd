//! Exchanges: rules 31 to 39 of the rule book, raw bytes on both sides.

mod common;

use common::origin::{Mute, refusing_port};
use common::{Answer, FakeDns, Framing, Origin, Raw, Scratch, Weir, bytes, forwarded};
use std::time::{Duration, Instant};

/// Long enough for what must not happen to have happened.
const A_WHILE: Duration = Duration::from_millis(300);

fn put(fields: &str) -> Vec<u8> {
    format!("PUT http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\n{fields}\r\n\r\n").into_bytes()
}

/// Rule 31: an upgrade is passed on with both fields made anew; 101 makes a tunnel in both directions.
#[test]
fn rule_31_upgrade() {
    let weir = Weir::start(&[]);
    let origin = Origin::serve(|conn| {
        let head = conn.head()?;
        assert!(head.lists("connection", "upgrade") && !head.lists("connection", "x-hop"), "{head:?}");
        assert_eq!(head.get("upgrade"), Some("websocket"));
        assert!(!head.has("x-hop"));
        conn.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello",
        )?;
        let bytes = conn.read_until(b"bye")?;
        conn.send(bytes)
    });
    let mut client = weir.connect();
    client.send(origin.fill(
        "GET http://{o}/chat HTTP/1.1\r\nHost: {o}\r\nConnection: X-Hop, Upgrade\r\nX-Hop: 1\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ));
    let head = client.read_head();
    assert_eq!(head.status(), 101);
    assert!(head.lists("connection", "upgrade") && head.get("upgrade") == Some("websocket"), "{head:?}");
    assert_eq!(client.read_exact(5), b"hello");
    client.send(b"\x81\x00GET / HTTP/1.1\r\n\r\nbye");
    assert_eq!(client.read_exact(23), b"\x81\x00GET / HTTP/1.1\r\n\r\nbye");
    client.expect_closed();
    drop(client);
    weir.wait_for_log(|line| line.contains("/chat") && line.contains("101"));
}

/// Rule 31: bytes after the head wait for the 101; after a refusal they are the next request or nothing.
#[test]
fn rule_31_early_bytes_wait() {
    let weir = Weir::start(&[]);
    let origin = Origin::serve(|conn| {
        conn.head()?;
        assert!(conn.is_silent_for(A_WHILE)?, "tunnelled before the 101");
        conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")?;
        conn.read_until(b"early").map(drop)
    });
    let mut client = weir.connect();
    client.send(
        origin
            .fill("GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nearly"),
    );
    assert_eq!(client.read_head().status(), 101);
    origin.wait_for_received(0, b"early");
    client.expect_closed();
}

/// Rule 31: an origin may decline; the exchange is then an ordinary one.
#[test]
fn rule_31_declined() {
    let (weir, origin) = (Weir::start(&[]), Origin::ok());
    let mut client = weir.connect();
    let request = "GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    assert_eq!(client.ask(origin.fill(request)).text(), "ok");
    assert_eq!(client.ask(origin.get("/")).text(), "ok");
}

/// Rule 31: a 101 without Upgrade in the request is a bad gateway.
#[test]
fn rule_31_unasked() {
    let weir = Weir::start(&[]);
    let origin = Origin::answering(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nevil",
    );
    for fields in ["", "Upgrade: x\r\n", "Connection: upgrade\r\n"] {
        let mut client = weir.connect();
        client.send(origin.fill(format!("GET http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\n{fields}\r\n")));
        assert_eq!(client.read_response().status(), 502, "{fields:?}");
    }
    let mut client = weir.connect();
    client.send(
        origin.fill("GET http://{o}/ HTTP/1.0\r\nHost: {o}\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
    );
    assert_eq!(client.read_response().status(), 502);
    for fields in ["Upgrade: y\r\n", "Upgrade: y, z\r\n"] {
        let mut client = weir.connect();
        let head =
            format!("GET http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\nConnection: upgrade\r\n{fields}\r\n");
        client.send(origin.fill(head));
        assert_eq!(client.read_response().status(), 502, "{fields:?}");
    }
}

/// Rule 32: pipelined requests are answered in order, whatever their origins' speed.
#[test]
fn rule_32_pipelining_keeps_order() {
    let weir = Weir::start(&[]);
    let slow = Origin::serve(|conn| {
        while conn.request()?.is_some() {
            std::thread::sleep(Duration::from_millis(100));
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow")?;
        }
        Ok(())
    });
    let fast = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfast");
    let mut client = weir.connect();
    let post = fast.fill("POST http://{o}/ HTTP/1.1\r\nHost: {o}\r\nContent-Length: 5\r\n\r\nhello");
    client.send([slow.get("/1"), fast.get("/2"), post, slow.get("/4"), fast.get("/5")].concat());
    for wanted in ["slow", "fast", "fast", "slow", "fast"] {
        assert_eq!(client.read_response().text(), wanted);
    }
    // Many at once, in one segment and cut anywhere.
    let many: Vec<u8> = (0..50).flat_map(|number| fast.get(&format!("/{number}"))).collect();
    client.send(&many);
    (0..50).for_each(|_| assert_eq!(client.read_response().text(), "fast"));
    client.send_slowly(&many[..many.len() / 5], 13);
    (0..10).for_each(|_| assert_eq!(client.read_response().text(), "fast"));
}

/// Rule 32: what follows a request that was refused for its form is never interpreted.
#[test]
fn rule_32_nothing_after_a_malformed_request() {
    let (weir, origin) = (Weir::start(&[]), Origin::ok());
    let mut client = weir.connect();
    let bad = b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nBad Name: x\r\n\r\n";
    client.send([origin.get("/1"), origin.fill(bad), origin.get("/smuggled")].concat());
    assert_eq!(client.read_response().status(), 200);
    assert_eq!(client.read_response().status(), 400);
    client.expect_closed();
    assert_eq!(origin.heads().len(), 1);
}

/// Rule 33: complete exchanges share one upstream connection, from one client or from several.
#[test]
fn rule_33_reuse() {
    let (weir, origin) = (Weir::start(&[]), Origin::ok());
    let mut client = weir.connect();
    for number in 0..5 {
        assert_eq!(client.ask(origin.get(&format!("/{number}"))).status(), 200);
    }
    assert_eq!(weir.connect().ask(origin.get("/other-client")).status(), 200);
    let chunked =
        "POST http://{o}/ HTTP/1.1\r\nHost: {o}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
    assert_eq!(origin.connections(), 1);
    // A request that cannot be repeated gets a new connection (rule 45), which serves the next one.
    assert_eq!(client.ask(origin.fill(chunked)).status(), 200);
    assert_eq!(weir.connect().ask(origin.get("/last")).status(), 200);
    assert_eq!(client.ask(origin.get("/")).status(), 200);
    assert_eq!(origin.connections(), 2);
}

/// Rule 33: either side's close, and 1.0 without keep-alive, end the reuse.
#[test]
fn rule_33_no_reuse_where_a_side_closes() {
    let weir = Weir::start(&[]);
    for answer in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nConnection: x, CLOSE\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ] {
        let origin = Origin::answering(answer);
        let mut client = weir.connect();
        assert_eq!(client.ask(origin.get("/")).text(), "ok");
        assert_eq!(client.ask(origin.get("/")).text(), "ok");
        assert_eq!(origin.connections(), 2, "{answer:?}");
    }
}

/// Rule 33: bytes behind a response end the connection, and reach no client.
#[test]
fn rule_33_surplus_bytes() {
    let weir = Weir::start(&[]);
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    );
    let mut client = weir.connect();
    for _ in 0..3 {
        assert_eq!(client.ask(origin.get("/")).text(), "ok");
    }
    assert_eq!(weir.connect().ask(origin.get("/")).text(), "ok");
    assert_eq!(origin.connections(), 4);
}

/// Rule 33: likewise when they come later, on the idle connection.
#[test]
fn rule_33_bytes_on_an_idle_connection() {
    let weir = Weir::start(&[]);
    let origin = Origin::serve(|conn| {
        conn.request()?;
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        std::thread::sleep(A_WHILE / 3);
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")?;
        conn.read_to_end().map(drop)
    });
    let mut client = weir.connect();
    assert_eq!(client.ask(origin.get("/")).text(), "ok");
    origin.wait_for_ends(1);
    assert_eq!(client.ask(origin.get("/")).text(), "ok");
    assert_eq!(origin.connections(), 2);
}

/// Rule 34: an idempotent request that dies on a reused connection before its first byte is sent once more.
#[test]
fn rule_34_one_retry() {
    for reset in [false, true] {
        let weir = Weir::start(&[]);
        let origin = Origin::serve_owned(move |mut conn| {
            conn.request()?;
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
            if conn.number > 0 {
                return conn.answer_all("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
            conn.head()?;
            if reset {
                conn.reset();
            }
            Ok(())
        });
        let mut client = weir.connect();
        assert_eq!(client.ask(origin.get("/1")).status(), 200);
        assert_eq!(client.ask(origin.get("/2")).status(), 200, "reset {reset}");
        assert_eq!(origin.connections(), 2);
        assert_eq!(origin.heads().len(), 3);
    }
}

/// Rule 34: a request that is not idempotent is not repeated, nor is one on a fresh connection, nor twice.
#[test]
fn rule_34_no_retry() {
    let weir = Weir::start(&[]);
    let origin = Origin::serve(|conn| {
        if conn.number == 0 {
            conn.request()?;
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
        conn.head().map(drop)
    });
    let mut client = weir.connect();
    assert_eq!(client.ask(origin.get("/")).status(), 200);
    let post = "POST http://{o}/ HTTP/1.1\r\nHost: {o}\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(client.ask(origin.fill(post)).status(), 502);
    assert_eq!(
        (origin.connections(), origin.heads().len()),
        (2, 2),
        "asked once, over a connection of its own"
    );

    let dying = Origin::serve(|conn| conn.head().map(drop));
    assert_eq!(weir.connect().ask(dying.get("/")).status(), 502);
    assert_eq!(dying.connections(), 1);

    // The second attempt is the last one.
    let flaky = Origin::serve(|conn| {
        if conn.number == 0 {
            conn.request()?;
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
        conn.head().map(drop)
    });
    let mut client = weir.connect();
    assert_eq!(client.ask(flaky.get("/")).status(), 200);
    assert_eq!(client.ask(flaky.get("/")).status(), 502);
    assert!(flaky.connections() <= 2, "{} connections", flaky.connections());
}

/// Rule 34: an invalid response is a bad gateway, with the type of error.
#[test]
fn rule_34_malformed_responses() {
    let weir = Weir::start(&["--head-max", "16K"]);
    let long_head = format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 2\r\n\r\nok", "v".repeat(40_000));
    let many_fields = format!("HTTP/1.1 200 OK\r\n{}Content-Length: 2\r\n\r\nok", "X: y\r\n".repeat(2000));
    let answers: [&[u8]; 15] = [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 099 Low\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"http/1.1 200 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"220 mail.test ESMTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        long_head.as_bytes(),
        many_fields.as_bytes(),
    ];
    for answer in answers {
        let origin = Origin::closing(answer);
        let response = weir.connect().ask(origin.get("/"));
        assert_eq!(response.status(), 502, "{}: {response:?}", bytes::show(answer));
        let kind = response.head.get("proxy-status").unwrap_or_default().to_owned();
        assert!(kind.contains("error="), "{}: {kind:?}", bytes::show(answer));
    }
}

#[track_caller]
fn expect_error(weir: &Weir, request: impl AsRef<[u8]>, status: u16, kind: &str) {
    let response = weir.connect().ask(request);
    let said = response.head.get("proxy-status").unwrap_or_default();
    assert_eq!(response.status(), status, "{response:?}");
    assert!(said.contains(&format!("error={kind}")), "{said:?} has no {kind}");
    // The log's own word may be more precise than the type of RFC 9209.
    weir.wait_for_log(|line| line.contains(&format!(" {status} ")) && !line.contains("reason=-"));
}

/// Rule 34: every way to fail has its status and its error type of RFC 9209.
#[test]
fn rule_34_error_types() {
    let dns = FakeDns::start(&[("broken.test", Answer::Fail)]);
    let weir = Weir::start(&["--dns", &dns.address(), "--timeout", "1"]);
    let port = refusing_port();
    let get = |authority: &str| format!("GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    expect_error(&weir, get(&format!("127.0.0.1:{port}")), 502, "connection_refused");
    expect_error(&weir, get("nowhere.test"), 502, "dns_error");
    expect_error(&weir, get("broken.test"), 502, "dns_error");
    let mute = Mute::new();
    expect_error(&weir, get(&mute.address().to_string()), 504, "http_response_timeout");
    expect_error(&weir, Origin::closing("").get("/"), 502, "http_response_incomplete");
    let slow_head = Origin::serve(|conn| {
        conn.head()?;
        conn.send("HTTP/1.1 200 OK\r\nX: ")?;
        conn.read_to_end().map(drop)
    });
    assert_eq!(weir.connect().ask(slow_head.get("/")).status(), 504);
}

/// Rule 34: CONNECT fails in the same ways.
#[test]
fn rule_34_connect_errors() {
    let dns = FakeDns::start(&[]);
    let weir = Weir::start(&["--dns", &dns.address()]);
    let port = refusing_port();
    expect_error(
        &weir,
        format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: h\r\n\r\n"),
        502,
        "connection_refused",
    );
    expect_error(&weir, "CONNECT nowhere.test:443 HTTP/1.1\r\nHost: h\r\n\r\n", 502, "dns_error");
}

/// Rule 35: a response that begins during the upload is relayed at once, and the upload goes on while it is read.
#[test]
fn rule_35_early_response() {
    let weir = Weir::start(&[]);
    let origin = Origin::serve(|conn| {
        let head = conn.head()?;
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nearly\r\n")?;
        let body = conn.read_body(&head, false)?;
        conn.send(format!("{:x}\r\n{}\r\n0\r\n\r\n", body.bytes.len(), String::from_utf8_lossy(&body.bytes)))
    });
    let mut client = weir.connect();
    client.send(origin.fill(put("Content-Length: 10")));
    client.send("hello");
    assert_eq!(client.read_head().status(), 200);
    client.read_until(b"early");
    client.send("world");
    let rest = client.read_until(b"0\r\n\r\n");
    assert!(common::contains(&rest, b"helloworld"), "{}", bytes::show(&rest));
}

/// Rule 35: the upload stops when the origin closes, and its answer still arrives.
#[test]
fn rule_35_upload_stops_when_the_origin_closes() {
    let weir = Weir::start(&[]);
    let origin = Origin::serve(|conn| {
        conn.head()?;
        conn.send("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig")?;
        conn.half_close()?;
        conn.read_exact(1 << 20).map(drop)
    });
    let mut client = weir.connect();
    client.send(origin.fill(put("Content-Length: 1000000000")));
    for _ in 0..100 {
        client.send_if_open(common::pattern(0, 1000));
    }
    let answer = client.read_response();
    assert_eq!((answer.status(), answer.text().as_str()), (413, "big"));
    assert!(answer.head.lists("connection", "close"), "{answer:?}");
}

/// Rule 35: a server that is busy answers new connections before it reads, and closes.
#[test]
fn rule_35_answer_before_the_request() {
    let weir = Weir::start(&[]);
    let origin = Origin::serve(|conn| {
        conn.send("HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbusy")
    });
    for _ in 0..200 {
        let answer = weir.connect().ask(origin.get("/"));
        assert_eq!((answer.status(), answer.text().as_str()), (503, "busy"));
    }
}

/// Rule 36: who may stay, and that the answer says so.
#[test]
fn rule_36_client_persistence() {
    let (weir, origin) = (Weir::start(&[]), Origin::ok());
    for (version, fields, stays) in [
        ("1.1", "", true),
        ("1.1", "Connection: keep-alive\r\n", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: x, Close\r\n", false),
        ("1.1", "Connection: x\r\nConnection: close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: keep-alive\r\n", true),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Proxy-Connection: keep-alive\r\n", true),
        ("1.0", "Connection: close\r\nProxy-Connection: keep-alive\r\n", false),
    ] {
        let case = format!("{version} {fields:?}");
        let mut client = weir.connect();
        client.send(origin.fill(format!("GET http://{{o}}/ HTTP/{version}\r\nHost: {{o}}\r\n{fields}\r\n")));
        let answer = client.read_response();
        assert_eq!(answer.body.framing, Framing::Length, "{case}");
        if stays {
            assert!(!answer.head.lists("connection", "close"), "{case}: {answer:?}");
            assert!(version == "1.1" || answer.head.lists("connection", "keep-alive"), "{case}: {answer:?}");
            assert_eq!(client.ask(origin.get("/")).status(), 200, "{case}");
        } else {
            assert!(!answer.head.lists("connection", "keep-alive"), "{case}: {answer:?}");
            assert!(version == "1.0" || answer.head.lists("connection", "close"), "{case}: {answer:?}");
            client.expect_fin();
        }
    }
}

/// Rule 36: a close does not destroy what was just sent, even if the client is still talking.
#[test]
fn rule_36_lingering_close() {
    let weir = Weir::start(&[]);
    let mut client = weir.connect();
    client.send("GET http://h.test/ HTTP/1.1\r\nHost: h.test\r\nBad Name: x\r\n\r\n");
    for _ in 0..20 {
        client.send_if_open([b'x'; 4096]);
    }
    assert_eq!(client.read_response().status(), 400);
    client.expect_closed();
}

/// Rule 36: nor if it reads only when it has sent everything, as some libraries do.
#[test]
fn rule_36_a_refused_upload_is_sent_whole() {
    let weir = Weir::start(&["--block", "h.test"]);
    for _ in 0..5 {
        let mut client = weir.connect();
        client.send("POST http://h.test/ HTTP/1.1\r\nHost: h.test\r\nContent-Length: 4000000\r\n\r\n");
        for _ in 0..40 {
            client.send([b'x'; 100_000]);
        }
        assert_eq!(client.read_response().status(), 403);
        client.expect_fin();
    }
}

/// Rule 36: but what is drained is bounded: a client that talks on for ever is cut off.
#[test]
fn rule_36_lingering_is_bounded() {
    let weir = Weir::start(&[]);
    let mut client = weir.connect();
    client.send("GET http://h.test/ HTTP/1.1\r\nHost: h.test\r\nBad Name: x\r\n\r\n");
    assert_eq!(client.read_response().status(), 400);
    let started = Instant::now();
    while client.wire().send([b'x'; 65_536]).is_ok() {
        assert!(started.elapsed() < Duration::from_secs(8), "8 seconds of nonsense were taken");
    }
    assert!(started.elapsed() < Duration::from_secs(9), "the connection was left to time out");
}

/// Rule 37: a 1.0 origin is asked in 1.1, and its answer is handled as 1.0.
#[test]
fn rule_37_old_origins() {
    let weir = Weir::start(&[]);
    let origin = Origin::closing("HTTP/1.0 200 OK\r\n\r\nold");
    let (seen, answer) = forwarded(&weir, &origin, b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\n\r\n");
    assert!(seen.start.ends_with(" HTTP/1.1"));
    assert_eq!(answer.head.start, "HTTP/1.1 200 OK");
    assert_eq!((answer.body.framing, answer.text().as_str()), (Framing::Chunked, "old"));
}

/// Rule 37: nothing chunked goes to an origin that is known to speak 1.0.
#[test]
fn rule_37_no_chunks_for_old_origins() {
    let weir = Weir::start(&[]);
    let origin =
        Origin::answering("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nold");
    let mut client = weir.connect();
    assert_eq!(client.ask(origin.get("/")).text(), "old");
    client.send(origin.fill(
        "POST http://{o}/ HTTP/1.1\r\nHost: {o}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ));
    match client.read_response().status() {
        411 => assert_eq!(origin.heads().len(), 1),
        status => {
            assert_eq!((status, origin.heads()[1].get("content-length")), (200, Some("5")));
        }
    }
    assert!(origin.heads().iter().all(|head| !head.has("transfer-encoding")), "{:?}", origin.heads());
}

fn with_users() -> (Scratch, Weir) {
    let scratch = Scratch::new();
    let users = scratch.file("users.txt", "anna:secret\n");
    let weir = Weir::start(&["--auth-file", &users]);
    (scratch, weir)
}

/// Rule 38: after a 407 the connection goes on, with or without a small body.
#[test]
fn rule_38_407_keeps_the_connection() {
    let (_scratch, weir) = with_users();
    let origin = Origin::ok();
    let mut client = weir.connect();
    let good = "Proxy-Authorization: Basic YW5uYTpzZWNyZXQ=\r\n";
    assert_eq!(client.ask(origin.get("/")).status(), 407);
    let post = |fields: &str| {
        let text =
            format!("POST http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\n{fields}Content-Length: 5\r\n\r\nhello");
        origin.fill(text)
    };
    assert_eq!(client.ask(post("")).status(), 407);
    assert_eq!(client.ask(post(good)).status(), 200);
    // A refused CONNECT may end the connection (rule 11), if it says so.
    let answer = client.ask(origin.fill("CONNECT {o} HTTP/1.1\r\nHost: {o}\r\n\r\n"));
    assert_eq!(answer.status(), 407);
    if answer.head.lists("connection", "close") {
        client.expect_closed();
        client = weir.connect();
    }
    let answer = client.ask(origin.fill(format!("CONNECT {{o}} HTTP/1.1\r\nHost: {{o}}\r\n{good}\r\n")));
    assert_eq!(answer.status(), 200);
}

/// Rule 38: a large body is not awaited: the 407 comes at once, and then the end.
#[test]
fn rule_38_407_before_a_large_body() {
    let (_scratch, weir) = with_users();
    let mut client = weir.connect();
    client.send("POST http://h.test/ HTTP/1.1\r\nHost: h.test\r\nContent-Length: 1000000000\r\n\r\n");
    let answer = client.read_response();
    assert_eq!(answer.status(), 407);
    assert!(answer.head.lists("connection", "close"), "{answer:?}");
    let mut client = weir.connect();
    client.send("POST http://h.test/ HTTP/1.1\r\nHost: h.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel");
    assert_eq!(client.read_response().status(), 407);
}

#[track_caller]
fn expect_refusal_form(client: &mut Raw, request: impl AsRef<[u8]>, status: u16) {
    let answer = client.ask(request);
    assert_eq!(answer.status(), status, "{answer:?}");
    assert_eq!(
        answer.head.get("content-length"),
        Some(answer.body.bytes.len().to_string().as_str()),
        "{answer:?}"
    );
    assert!(!answer.body.bytes.is_empty(), "{answer:?}");
    assert!(answer.head.lists("cache-control", "no-store"), "{answer:?}");
    assert!(answer.head.get("proxy-status").is_some_and(|value| value.starts_with("weir")), "{answer:?}");
    if answer.head.lists("connection", "close") {
        client.expect_closed();
    } else {
        let again = client.ask("GET http://blocked.test/ HTTP/1.1\r\nHost: blocked.test\r\n\r\n");
        assert_eq!(again.status(), 403, "the connection was said to stay");
    }
}

/// Rule 39: what every refusal carries, and that its Connection is true.
#[test]
fn rule_39_form_of_refusals() {
    let weir = Weir::start(&["--block", "blocked.test"]);
    for (request, status) in [
        ("GET http://blocked.test/ HTTP/1.1\r\nHost: blocked.test\r\n\r\n", 403),
        ("GET http://blocked.test/ HTTP/1.1\r\nHost: blocked.test\r\nConnection: close\r\n\r\n", 403),
        ("POST http://blocked.test/ HTTP/1.1\r\nHost: blocked.test\r\nContent-Length: 2\r\n\r\nhi", 403),
        ("CONNECT blocked.test:443 HTTP/1.1\r\nHost: blocked.test\r\n\r\n", 403),
        ("GET http://a.test/ HTTP/1.1\r\n\r\n", 400),
        ("GET ftp://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 501),
        ("PUT http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\nExpect: x\r\n\r\n", 417),
    ] {
        expect_refusal_form(&mut weir.connect(), request, status);
    }
    let head = weir.connect().ask("HEAD http://blocked.test/ HTTP/1.1\r\nHost: blocked.test\r\n\r\n");
    assert_eq!((head.status(), head.body.framing), (403, Framing::Empty));
}

/// Rule 39: the body has the form that the client accepts, and echoes nothing unescaped.
#[test]
fn rule_39_body_for_the_client() {
    let weir = Weir::start(&["--block", "blocked.test"]);
    let ask = |accept: &str| {
        weir.connect().ask(format!(
            "GET http://blocked.test/<script>alert(1)</script> HTTP/1.1\r\nHost: blocked.test\r\n{accept}\r\n"
        ))
    };
    let page = ask("Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n");
    assert!(page.head.get("content-type").is_some_and(|kind| kind.starts_with("text/html")), "{page:?}");
    assert!(!page.text().contains("<script>"), "{page:?}");
    for accept in ["", "Accept: */*\r\n", "Accept: text/plain\r\n"] {
        let text = ask(accept);
        assert!(
            text.head.get("content-type").is_some_and(|kind| kind.starts_with("text/plain")),
            "{accept} {text:?}"
        );
    }
}
