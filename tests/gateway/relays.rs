//! What clients and servers do to each other through a route: slowly, in pieces, again, and not at all.

use super::common::{Conn, Origin, Raw, eventually, pattern};
use super::{Gateway, named};
use std::io;

/// A server at this address that answers one request per connection with its name.
fn closing_at(address: &str, name: &'static str) -> Origin {
    Origin::serve_at(address, move |mut conn: Conn| {
        conn.request()?;
        let length = name.len();
        conn.send(format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{name}"))?;
        conn.half_close()
    })
}

/// A server dies, requests go to the other one, and it gets requests again when it is back.
#[track_caller]
fn dies_and_comes_back(options: &str, down: &str) {
    // No other test listens there, so that the port is still free when the server comes back.
    let (first, other) = (closing_at("127.7.7.7:0", "first"), named("other"));
    let address = first.address().to_string();
    let gateway = Gateway::start(&format!("*/ -> {address} {} slow-start off {options}\n", other.address()));
    let asks = |wanted: &str| eventually(wanted, || (gateway.get("x", "/").text() == wanted).then_some(()));
    asks("first");
    drop(first);
    eventually("it is down", || {
        assert_eq!(gateway.get("x", "/").text(), "other");
        gateway.row(&address).contains(down).then_some(())
    });
    let _again = closing_at(&address, "again");
    asks("again");
}

#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn gateway_14_checks_find_a_server_that_dies_and_comes_back() {
    dies_and_comes_back("health GET / every 50ms down-after never", "unhealthy");
}

#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn gateway_14_requests_find_a_server_that_dies_and_comes_back() {
    dies_and_comes_back("down-after 1 in 10s for 1s", "down for");
}

#[test]
fn gateway_14_a_post_is_never_sent_twice() {
    // It answers the first request of a connection, and reads the second one without an answer: as a server that
    // closes an idle connection, or crashes.
    let fickle = Origin::serve(|conn: &mut Conn| {
        conn.request()?;
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nfickle")?;
        conn.request()?;
        Err(io::ErrorKind::ConnectionReset.into())
    });
    let other = named("other");
    let gateway = Gateway::start(&format!(
        "*/ -> {} {} backup retries 5 down-after never\n",
        fickle.address(),
        other.address()
    ));
    let posts = |origin: &Origin| origin.heads().iter().filter(|head| head.method() == "POST").count();
    for body in ["Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"] {
        let before = posts(&fickle);
        assert_eq!(gateway.get("x", "/").status(), 200);
        // It has an answer on a new connection, and none on the old one.
        let answer = gateway.ask(&format!("POST / HTTP/1.1\r\nHost: x\r\n{body}"));
        assert!(matches!(answer.status(), 200 | 502), "{answer:?}");
        assert_eq!((posts(&fickle) - before, posts(&other)), (1, 0), "{answer:?}");
    }
    // A GET that meets the same is answered all the same.
    assert!((0..4).all(|_| gateway.get("x", "/").status() == 200));
}

#[test]
fn gateway_14_a_client_that_waits_for_a_100_gets_it_from_the_server_and_trailers_go_both_ways() {
    let origin = Origin::serve_owned(|mut conn: Conn| {
        let head = conn.head()?;
        assert_eq!(head.get("expect"), Some("100-continue"));
        conn.send("HTTP/1.1 100 Continue\r\n\r\n")?;
        let body = conn.read_body(&head, false)?;
        let names: Vec<&str> = body.trailers.iter().map(|(name, _)| name.as_str()).collect();
        let said = format!("{}:{}", String::from_utf8_lossy(&body.bytes), names.join(",").to_lowercase());
        conn.send("HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        conn.send(format!("{:x}\r\n{said}\r\n0\r\nX-Sum: 5\r\n\r\n", said.len()))
    });
    let gateway = Gateway::start(&format!("*/api/ -> {} strip /api\n", origin.address()));
    let mut client = gateway.weir.connect();
    client.send("POST /api/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(client.read_head().status(), 100);
    client.send(
        "5\r\nhello\r\n0\r\nX-Kept: 1\r\nX_Dropped: 1\r\nContent-Length: 3\r\nX-Real-IP: 192.0.2.9\r\n\
         X-Original-URL: /admin\r\nCF-Connecting-IP: 192.0.2.9\r\nProxy: http://evil.example\r\n\
         X-Forwarded-Port: 1\r\nForwarded: for=192.0.2.9\r\n\r\n",
    );
    let answer = client.read_response();
    assert_eq!((answer.status(), &*answer.text()), (200, "hello:x-kept"));
    assert_eq!(answer.body.trailers, [("X-Sum".to_owned(), "5".to_owned())]);
}

#[test]
fn gateway_14_ranges_and_conditions_are_the_servers() {
    let origin = Origin::serve(|conn: &mut Conn| {
        while let Some(request) = conn.request()? {
            conn.send(match (request.head.get("range"), request.head.get("if-none-match")) {
                (Some("bytes=1-2"), None) => {
                    "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 1-2/5\r\nContent-Length: 2\r\n\r\nbc"
                }
                (Some(_), None) => {
                    "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */5\r\nContent-Length: 0\r\n\r\n"
                }
                (_, Some(_)) => "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
                (None, None) => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde",
            })?;
        }
        Ok(())
    });
    let gateway = Gateway::start(&format!("*/ -> {}\n", origin.address()));
    let mut client = gateway.weir.connect();
    let mut ask = |fields: &str, method: &str| {
        client.send(format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n"));
        client.read_response_to(method)
    };
    assert_eq!(
        (ask("Range: bytes=1-2\r\n", "GET").text(), ask("", "GET").text()),
        ("bc".into(), "abcde".into())
    );
    assert_eq!(ask("Range: bytes=9-\r\n", "GET").head.get("content-range"), Some("bytes */5"));
    assert_eq!(ask("If-None-Match: \"a\"\r\n", "HEAD").status(), 304);
}

#[test]
fn gateway_14_large_uploads_and_slow_clients() {
    let sink = Origin::sink();
    let gateway = Gateway::start(&format!("*/ -> {}\n", sink.address()));
    let large = 3_000_000;
    let mut client = gateway.weir.connect();
    client.send(format!("PUT /large HTTP/1.1\r\nHost: x\r\nContent-Length: {large}\r\n\r\n"));
    client.send_pattern(large);
    let answer = client.read_response().text();
    assert!(answer.starts_with("3000000:"), "{answer}");
    let mut slow = gateway.weir.connect();
    slow.send_slowly("POST /slow HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", 7);
    slow.send_slowly("3;x=y\r\ncde\r\n0\r\n\r\n", 1);
    assert!(slow.read_response().text().starts_with("5:"));
    // A client that goes away in the middle of its upload leaves nothing behind.
    let mut gone: Raw = gateway.weir.connect();
    gone.send("PUT /gone HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
    gone.send(pattern(0, 50_000));
    drop(gone);
    eventually("nothing is under way", || {
        (!gateway.ctl(&["upstreams", "--json"]).out.contains("\"in_flight\":1")).then_some(())
    });
    assert_eq!(gateway.ask("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").status(), 200);
}

#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn gateway_14_what_is_under_way_at_a_drained_upstream_goes_on() {
    let origin = Origin::serve(|conn: &mut Conn| {
        while let Some(request) = conn.request()? {
            let said = format!("{} bytes", request.body.bytes.len());
            conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{said}", said.len()))?;
        }
        Ok(())
    });
    let other = named("other");
    let gateway = Gateway::start(&format!("*/ -> {} {} backup\n", origin.address(), other.address()));
    let mut client = gateway.weir.connect();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab");
    origin.wait_for_head(1);
    assert_eq!(gateway.ctl(&["drain-upstream", &origin.address().to_string()]).code, 0);
    assert_eq!(gateway.get("x", "/").text(), "other");
    client.send("cd");
    assert_eq!(client.read_response().text(), "4 bytes");
}
