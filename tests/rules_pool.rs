//! The pool of origin connections: rule 45 of the rule book.

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
    for options in [&[][..], &["--cache"], &["--workers", "2"], &["--no-splice"]] {
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
    // What is said to hold for no time at all holds for a second.
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

/// Rule 45: a name that has no address any more, or of which nobody can say, is not answered by the host that it had.
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
    // Nobody listens there.
    assert_eq!(client.ask(get("moving.test", port)).status(), 502);
    assert_eq!(gated.heads().len(), 1);
}

/// Rule 45: a connection that is older than `--origin-lifetime` is used no more, however busy it is.
#[test]
fn kind_12_connections_grow_old() {
    for options in [&[][..], &["--cache"], &["--workers", "2"]] {
        let weir =
            Weir::start(&[options, &["--origin-lifetime", "1", "--idle-origin-timeout", "60"]].concat());
        let origin =
            Origin::answering("HTTP/1.1 200 OK\r\nCache-Control: no-cache\r\nContent-Length: 2\r\n\r\nok");
        let mut client = weir.connect();
        eventually("three connections", || {
            assert_eq!(client.ask(origin.get("/")).text(), "ok");
            (origin.connections() >= 3).then_some(())
        });
        // The last one ends although nobody asks for anything.
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
    for options in [&[][..], &["--cache"], &["--no-splice"]] {
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
    eventually("an end", || busy.ask(&request).head.lists("connection", "close").then_some(()));
    busy.expect_closed();
    assert_eq!(origin.connections(), 1);
    let mut idle = weir.connect();
    assert_eq!(idle.ask(&request).text(), "ok");
    idle.expect_closed();
}
