//! The pool of upstream connections: rule 45 of the rule book.

mod common;

use common::dns::{A, parse};
use common::{Answer, FakeDns, Origin, Weir, eventually};
use std::time::{Duration, Instant};

/// Two origins on the same port of two addresses of this machine, which tell their names, and whose connections stay open.
fn two_origins() -> (Origin, Origin) {
    let answering = |name: &'static str| {
        move |mut conn: common::Conn| {
            let body =
                format!("HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 3\r\n\r\n{name}");
            conn.answer_all(body)
        }
    };
    for _ in 0..100 {
        let one = Origin::serve_at("127.0.0.1:0", answering("one"));
        let second = format!("127.0.0.2:{}", one.port());
        if std::net::TcpListener::bind(&second).is_ok() {
            let two = Origin::serve_at(&second, answering("two"));
            return (one, two);
        }
    }
    panic!("no port is free on two addresses");
}

fn get(name: &str, port: u16) -> String {
    format!("GET http://{name}:{port}/ HTTP/1.1\r\nHost: {name}:{port}\r\n\r\n")
}

/// Rule 45: a connection is used again while its name has its address, and no longer.
#[test]
fn rule_45_a_connection_ends_with_its_address() {
    for options in common::built([&[][..], &["--cache"], &["--workers", "2"], &["--no-splice"]]) {
        let (one, two) = two_origins();
        let port = one.port();
        let dns = FakeDns::start(&[("moving.test", Answer::short(1, &["127.0.0.1"]))]);
        let weir = Weir::start(&[options, &["--dns", &dns.address()]].concat());
        let mut client = weir.connect();
        assert_eq!(client.ask(get("moving.test", port)).text(), "one");
        assert_eq!(client.ask(get("moving.test", port)).text(), "one");
        dns.set("moving.test", Answer::short(3600, &["127.0.0.2"]));
        // Without a pause: the connection is never idle for long.
        eventually("the name's new address is asked", || {
            (client.ask(get("moving.test", port)).text() == "two").then_some(())
        });
        assert_eq!(one.connections(), 1, "{options:?}: it was used as long as the answer held");
        one.wait_for_ends(1);
        for _ in 0..20 {
            assert_eq!(client.ask(get("moving.test", port)).text(), "two");
        }
        assert_eq!((one.connections(), two.connections()), (1, 1), "{options:?}");
    }
}

/// Rule 45: that costs one look-up for each lifetime of an answer, and none for each request.
#[test]
fn kind_12_look_ups_are_not_as_many_as_requests() {
    let (one, _two) = two_origins();
    let port = one.port();
    let names = [
        ("still.test", Answer::short(3600, &["127.0.0.1"])),
        ("short.test", Answer::short(0, &["127.0.0.1"])),
    ];
    let dns = FakeDns::start(&names);
    let weir = Weir::start(&["--dns", &dns.address()]);
    let began = Instant::now();
    for _ in 0..50 {
        for name in ["still.test", "short.test"] {
            assert_eq!(weir.connect().ask(get(name, port)).text(), "one");
        }
    }
    // A TTL of 0 is valid for a second.
    let seconds = began.elapsed().as_secs() as usize;
    assert_eq!(dns.count("still.test", A), 1);
    assert!(dns.count("short.test", A) <= seconds + 2, "{} in {seconds} s", dns.count("short.test", A));
    assert_eq!(one.connections(), 2, "one for each name");
}

/// Rule 45: of several addresses any one will do; of those the old one is kept, whichever comes first now.
#[test]
fn kind_12_one_of_several_addresses() {
    let (one, two) = two_origins();
    let port = one.port();
    let dns = FakeDns::start(&[("many.test", Answer::short(1, &["127.0.0.1"]))]);
    let weir = Weir::start(&["--dns", &dns.address()]);
    let mut client = weir.connect();
    assert_eq!(client.ask(get("many.test", port)).text(), "one");
    dns.set("many.test", Answer::Addresses(1, parse(&["127.0.0.2", "127.0.0.1"])));
    let before = dns.count("many.test", A);
    eventually("two more look-ups", || {
        assert_eq!(client.ask(get("many.test", port)).text(), "one");
        (dns.count("many.test", A) >= before + 2).then_some(())
    });
    assert_eq!((one.connections(), two.connections()), (1, 0));
}

/// Rule 45: a name without addresses, or with a failed look-up, is not answered by the host that it had.
#[test]
fn kind_12_a_name_without_addresses() {
    for (gone, reason) in [(Answer::NoName, "dns_error"), (Answer::Fail, "dns_error")] {
        let (one, _two) = two_origins();
        let port = one.port();
        let dns = FakeDns::start(&[("gone.test", Answer::short(1, &["127.0.0.1"]))]);
        let weir = Weir::start(&["--dns", &dns.address()]);
        let mut client = weir.connect();
        assert_eq!(client.ask(get("gone.test", port)).text(), "one");
        dns.set("gone.test", gone);
        eventually("the name is gone", || {
            let answer = client.ask(get("gone.test", port));
            if answer.status() == 200 {
                return None;
            }
            assert_eq!(answer.status(), 502, "{answer:?}");
            assert!(
                answer.head.get("proxy-status").is_some_and(|status| status.contains(reason)),
                "{answer:?}"
            );
            Some(())
        });
        // Addresses in targets need no name.
        assert_eq!(client.ask(get("127.0.0.1", port)).text(), "one");
    }
}

/// Rule 45: an exchange that is under way when the name moves comes to its end, and its connection is not used again.
#[test]
fn kind_12_moved_in_the_middle() {
    let gated = Origin::serve_at("127.0.0.1:0", |mut conn| {
        while let Some(request) = conn.request()? {
            if request.head.target() == "/long" {
                conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")?;
                std::thread::sleep(Duration::from_millis(2500));
                conn.send("3\r\nend\r\n0\r\n\r\n")?;
            } else {
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none")?;
            }
        }
        Ok(())
    });
    let port = gated.port();
    let dns = FakeDns::start(&[("moving.test", Answer::short(1, &["127.0.0.1"]))]);
    let weir = Weir::start(&["--dns", &dns.address()]);
    let mut client = weir.connect();
    client.send(get("moving.test", port).replacen("/ HTTP", "/long HTTP", 1));
    client.read_until(b"one\r\n");
    dns.set("moving.test", Answer::short(3600, &["127.0.0.3"]));
    assert!(common::contains(&client.read_until(b"0\r\n\r\n"), b"end"));
    // No process listens there.
    assert_eq!(client.ask(get("moving.test", port)).status(), 502);
    assert_eq!(gated.heads().len(), 1);
}

/// Rule 45: a connection that is older than `--origin-lifetime` is used no more, however busy it is.
#[test]
fn kind_12_connections_grow_old() {
    for options in common::built([&[][..], &["--cache"], &["--workers", "2"]]) {
        let weir =
            Weir::start(&[options, &["--origin-lifetime", "1", "--idle-origin-timeout", "60"]].concat());
        let origin =
            Origin::answering("HTTP/1.1 200 OK\r\nCache-Control: no-cache\r\nContent-Length: 2\r\n\r\nok");
        let mut client = weir.connect();
        eventually("three connections", || {
            assert_eq!(client.ask(origin.get("/")).text(), "ok");
            (origin.connections() >= 3).then_some(())
        });
        // The last one ends although no request follows.
        origin.wait_for_ends(3);
        assert!(weir.statistics().get("origins_aged") >= 2, "{options:?}");
    }
    let weir = Weir::start(&["--origin-lifetime", "0", "--idle-origin-timeout", "60"]);
    let origin = Origin::ok();
    let mut client = weir.connect();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1500) {
        assert_eq!(client.ask(origin.get("/")).text(), "ok");
    }
    assert_eq!(origin.connections(), 1, "0: it does not matter");
}

/// Rule 45: age ends no exchange.
#[test]
fn kind_12_age_ends_no_exchange() {
    for options in common::built([&[][..], &["--cache"], &["--no-splice"]]) {
        let weir = Weir::start(&[options, &["--origin-lifetime", "500ms"]].concat());
        let origin = Origin::serve(|conn| {
            while conn.request()?.is_some() {
                conn.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 60000\r\n\r\n")?;
                for _ in 0..6 {
                    conn.send([b'x'; 10_000])?;
                    std::thread::sleep(Duration::from_millis(250));
                }
            }
            Ok(())
        });
        let mut client = weir.connect();
        let answer = client.ask(origin.get("/"));
        assert_eq!(answer.body.bytes.len(), 60_000, "{options:?}");
        assert!(!answer.head.lists("connection", "close"), "{options:?}: the client may stay");
        origin.wait_for_ends(1);
    }
}

/// Rules 44 and 45: a connection that is one client's alone grows old as well, and says so to its client.
#[test]
fn kind_12_authenticated_connections_grow_old() {
    let weir = Weir::start(&["--origin-lifetime", "1", "--idle-origin-timeout", "60"]);
    let origin = Origin::ok();
    let request = origin.fill("GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nAuthorization: NTLM x\r\n\r\n");
    let mut busy = weir.connect();
    // It ends behind an answer, or between two.
    eventually("an end", || {
        busy.send_if_open(&request);
        let answer = busy.try_read_response("GET");
        answer.map_or(true, |answer| answer.head.lists("connection", "close")).then_some(())
    });
    assert_eq!(origin.connections(), 1);
    let mut idle = weir.connect();
    assert_eq!(idle.ask(&request).text(), "ok");
    idle.expect_closed();
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// How an origin ends a connection on which it was asked once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// When the head has come, or all of the request.
    Head,
    Whole,
    /// The same with a reset.
    Reset,
}

/// Answers one request on its first connection and ends that with the next one; the others answer with what came as the
/// body, its length first.
fn impatient(end: End) -> Origin {
    Origin::serve_owned(move |mut conn| {
        if conn.number == 0 {
            conn.request()?;
            conn.send(OK)?;
            if end == End::Head {
                conn.head()?;
                return conn.half_close();
            }
            conn.request()?;
            if end == End::Reset {
                conn.reset();
                return Ok(());
            }
            return conn.half_close();
        }
        while let Some(request) = conn.request()? {
            let body =
                format!("{} {}", request.body.bytes.len(), String::from_utf8_lossy(&request.body.bytes));
            conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))?;
        }
        Ok(())
    })
}

/// Rule 45: what cannot be sent twice never finds out that a connection of the pool is dead.
#[test]
fn kind_11_a_post_never_finds_out() {
    for options in common::built([&[][..], &["--cache"], &["--workers", "2"], &["--no-splice"]]) {
        let weir = Weir::start(options);
        for method in ["POST", "PATCH", "LOCK", "BREW", "post"] {
            for (framing, body, length) in [
                ("Content-Length: 2\r\n", "hi", 2),
                ("Content-Length: 0\r\n", "", 0),
                ("", "", 0),
                ("Transfer-Encoding: chunked\r\n", "2\r\nhi\r\n0\r\n\r\n", 2),
                ("Content-Length: 2\r\nExpect: 100-continue\r\n", "hi", 2),
            ] {
                for end in [End::Head, End::Reset] {
                    let origin = impatient(end);
                    let mut client = weir.connect();
                    assert_eq!(client.ask(origin.get("/")).text(), "ok");
                    let head =
                        format!("{method} http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\n{framing}\r\n{body}");
                    let answer = client.ask(origin.fill(head));
                    let context = format!("{options:?} {method} {framing:?} {end:?}: {answer:?}");
                    assert_eq!(answer.status(), 200, "{context}");
                    assert!(answer.text().starts_with(&format!("{length} ")), "{context}");
                    assert_eq!((origin.connections(), origin.heads().len()), (2, 2), "{context}: asked once");
                }
            }
        }
    }
}

/// Rule 45: an upload that may be sent twice is, with its body, however that arrives.
#[test]
fn kind_11_small_uploads_are_sent_again() {
    for options in common::built([&[][..], &["--cache"], &["--workers", "2"], &["--no-splice"]]) {
        let weir = Weir::start(options);
        for method in ["PUT", "DELETE", "OPTIONS", "GET"] {
            for end in [End::Head, End::Whole, End::Reset] {
                for (framing, body) in [
                    ("Content-Length: 5\r\n", "hello"),
                    ("Transfer-Encoding: chunked\r\n", "3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nX-Sum: 1\r\n\r\n"),
                    ("Content-Length: 5\r\nExpect: 100-continue\r\n", "hello"),
                ] {
                    for pieces in [1, 2, 40] {
                        let origin = impatient(end);
                        let mut client = weir.connect();
                        assert_eq!(client.ask(origin.get("/")).text(), "ok");
                        let head = origin
                            .fill(format!("{method} http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\n{framing}\r\n"));
                        match pieces {
                            1 => client.send([&head, body.as_bytes()].concat()),
                            2 => {
                                client.send(&head);
                                // No event has reported that the request has reached the origin, and then one does.
                                origin.wait_for_head(2);
                                client.send_if_open(body);
                            }
                            _ => client.send_slowly([&head, body.as_bytes()].concat(), head.len() / 3),
                        }
                        let answer = client.read_response();
                        let context =
                            format!("{options:?} {method} {end:?} {framing:?} {pieces}: {answer:?}");
                        assert_eq!((answer.status(), answer.text().as_str()), (200, "5 hello"), "{context}");
                        assert_eq!(origin.connections(), 2, "{context}");
                        assert!(origin.heads().len() <= 3, "{context}");
                        // And the client's connection is in order.
                        assert_eq!(client.ask(origin.get("/")).text(), "0 ", "{context}");
                    }
                }
            }
        }
    }
}

/// Rule 45: a request that is too long to be kept gets a new connection; a kept one fits beside its head, however
/// long the head is.
#[test]
fn kind_11_large_uploads_and_long_heads() {
    let weir = Weir::start(&[]);
    for (padding, length, again) in [
        (0, 3_000, true),
        (2_000, 1_500, true),
        (5_000, 1_000, true),
        (0, 5_000, false),
        (3_000, 1_200, false),
    ] {
        let origin = Origin::serve(|conn| {
            if conn.number == 0 {
                conn.request()?;
                conn.send(OK)?;
                return conn.request().map(drop);
            }
            conn.answer_all(OK)
        });
        let mut client = weir.connect();
        assert_eq!(client.ask(origin.get("/")).text(), "ok");
        let pad = "p".repeat(padding);
        let head = format!(
            "PUT http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\nX-Pad: {pad}\r\nContent-Length: {length}\r\n\r\n"
        );
        client.send(origin.fill(head));
        client.send(common::pattern(0, length));
        let answer = client.read_response();
        assert_eq!(answer.text(), "ok", "{padding} {length}: {answer:?}");
        assert_eq!(origin.heads().len(), if again { 3 } else { 2 }, "{padding} {length}");
        let came = origin.received(1);
        assert!(came.ends_with(&common::pattern(0, length)), "{padding} {length}: all of it");
    }
}

/// Rules 34 and 45: not a second time, and not once anything of an answer has come.
#[test]
fn kind_11_uploads_are_sent_twice_at_most() {
    let weir = Weir::start(&[]);
    let put = "PUT http://{o}/ HTTP/1.1\r\nHost: {o}\r\nContent-Length: 5\r\n\r\nhello";
    let flaky = Origin::serve(|conn| {
        if conn.number == 0 {
            conn.request()?;
            conn.send(OK)?;
        }
        conn.request().map(drop)
    });
    let mut client = weir.connect();
    assert_eq!(client.ask(flaky.get("/")).text(), "ok");
    assert_eq!(client.ask(flaky.fill(put)).status(), 502);
    assert_eq!((flaky.connections(), flaky.heads().len()), (2, 3));
    for said in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-"] {
        let origin = Origin::serve(move |conn| {
            conn.request()?;
            conn.send(OK)?;
            conn.head()?;
            conn.send(said)
        });
        let mut client = weir.connect();
        assert_eq!(client.ask(origin.get("/")).text(), "ok");
        client.send(origin.fill(put.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n")));
        assert_eq!(client.read_response().status(), 502, "{said:?}");
        assert_eq!((origin.connections(), origin.heads().len()), (1, 2), "{said:?}");
    }
}

/// Rule 45: a client that only posts does not fill the pool.
#[test]
fn kind_11_posts_do_not_fill_the_pool() {
    let weir = Weir::start(&[]);
    let origin = Origin::ok();
    let mut client = weir.connect();
    let post = origin.fill("POST http://{o}/ HTTP/1.1\r\nHost: {o}\r\nContent-Length: 2\r\n\r\nhi");
    for _ in 0..30 {
        assert_eq!(client.ask(&post).text(), "ok");
    }
    let statistics = weir.statistics();
    assert!(statistics.get("origins_idle") <= 2, "{statistics:?}");
    assert!(statistics.get("origins_passed_by") <= 29, "{statistics:?}");
    // After two seconds the origin is known to keep its connections.
    eventually("a post over a connection of the pool", || {
        let before = origin.connections();
        assert_eq!(client.ask(&post).text(), "ok");
        (origin.connections() == before).then_some(())
    });
}
