//! Messages of all kinds through a route: the relays are those of the forward proxy.

use super::common::{Conn, Origin, pattern};
use super::{Gateway, named};
use std::process::Command;

fn to(origin: &Origin) -> String {
    format!("*/api/ -> {} strip /api\n", origin.address())
}

#[test]
fn gateway_14_pipelined_requests_are_answered_in_their_order() {
    let origin = Origin::echo();
    let gateway = Gateway::start(&to(&origin));
    let mut client = gateway.weir.connect();
    client.send(
        "GET /api/1 HTTP/1.1\r\nHost: x\r\n\r\nHEAD /api/2 HTTP/1.1\r\nHost: x\r\n\r\n\
         GET /none HTTP/1.1\r\nHost: x\r\n\r\nPUT /api/3 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi",
    );
    assert!(client.read_response().text().starts_with("GET /1 "));
    assert_eq!(client.read_response_to("HEAD").status(), 200);
    assert_eq!(client.read_response().status(), 404);
    let last = client.read_response().text();
    assert!(last.starts_with("PUT /3 ") && last.ends_with("\r\n\r\nhi"), "{last}");
    assert_eq!(origin.connections(), 1, "one connection serves them all");
}

#[test]
fn gateway_14_bodies_in_chunks_go_both_ways() {
    let (sink, generator) = (Origin::sink(), Origin::generator());
    let lines = format!("*/up/ -> {}\n*/ -> {}\n", sink.address(), generator.address());
    let gateway = Gateway::start(&lines);
    let body = pattern(0, 100_000);
    let mut client = gateway.weir.connect();
    client.send("POST /up/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for chunk in body.chunks(7_000) {
        client.send(format!("{:x}\r\n", chunk.len()));
        client.send(chunk);
        client.send("\r\n");
    }
    client.send("0\r\n\r\n");
    assert!(client.read_response().text().starts_with("100000:"));
    for form in ["chunked", "length", "close"] {
        let answer = gateway.get("x", &format!("/{form}/200000"));
        assert_eq!(answer.body.bytes, pattern(0, 200_000), "{form}");
    }
}

#[test]
fn gateway_14_answers_without_content() {
    let origin = Origin::serve(|conn: &mut Conn| {
        while let Some(request) = conn.request()? {
            conn.send(match request.head.method() {
                "HEAD" => "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",
                "GET" => "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
                _ => "HTTP/1.1 204 No Content\r\n\r\n",
            })?;
        }
        Ok(())
    });
    let gateway = Gateway::start(&to(&origin));
    let mut client = gateway.weir.connect();
    client.send("HEAD /api/ HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.read_response_to("HEAD").head.get("content-length"), Some("1234"));
    client.send("GET /api/ HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"a\"\r\n\r\n");
    assert_eq!(client.read_response_to("HEAD").status(), 304);
    client.send("DELETE /api/ HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.read_response_to("HEAD").status(), 204);
}

#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn gateway_14_the_cache_answers_for_routes() {
    let origin =
        Origin::answering("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 6\r\n\r\ncached");
    let lines = format!("a.example/ -> {0}\nb.example/ -> {0}\n", origin.address());
    let gateway = Gateway::with_options(&lines, &["--cache"]);
    for (host, seen) in [("a.example", 1), ("a.example", 1), ("b.example", 2), ("b.example", 2)] {
        assert_eq!(gateway.get(host, "/x").text(), "cached");
        assert_eq!(origin.heads().len(), seen, "{host}");
    }
}

#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn gateway_14_a_connection_that_is_upgraded_becomes_a_tunnel() {
    let origin = Origin::serve_owned(|mut conn: Conn| {
        let request = conn.request()?;
        assert!(request.is_some_and(|request| request.head.get("upgrade") == Some("websocket")));
        conn.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")?;
        let frame = conn.read_exact(4)?;
        conn.send([b"echo:", frame.as_slice()].concat())?;
        conn.read_to_end().map(|_| ())
    });
    let gateway = Gateway::start(&to(&origin));
    let mut client = gateway.weir.connect();
    client.send("GET /api/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(client.read_head().status(), 101);
    client.send("ping");
    assert_eq!(client.read_exact(9), b"echo:ping");
    // It counts as under way, with its upstream, until it ends.
    let in_flight = || gateway.ctl(&["upstreams", "--json"]).out.contains("\"in_flight\":1");
    assert!(in_flight());
    drop(client);
    super::common::eventually("the tunnel has ended", || (!in_flight()).then_some(()));
}

#[test]
fn gateway_14_curl_finds_it_a_server_like_any_other() {
    let (a, b) = (named("a"), named("b"));
    let gateway = Gateway::start(&format!("*/ -> {} {}\n", a.address(), b.address()));
    let curl = Command::new("curl").args(["-sS", "--fail", "--next", "-s"]).arg(gateway.weir.url()).output();
    // Machines of continuous integration have it.
    let Ok(_) = curl else { return assert!(std::env::var_os("CI").is_none(), "curl is missing") };
    let url = gateway.weir.url();
    let ask = |arguments: &[&str]| {
        let out = Command::new("curl").args(["-sS", "--fail"]).args(arguments).output().expect("curl");
        assert!(out.status.success(), "{out:?}");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let answers = ask(&[&url, &url, "-d", "x=1"]);
    assert!(answers == "ab" || answers == "ba", "{answers}");
    let large = "x".repeat(100_000);
    assert!(["a", "b"].contains(&ask(&["-T", "-", "-H", "Expect: 100-continue", &url]).as_str()));
    assert_eq!(ask(&["--compressed", "-d", &large, &url]).len(), 1);
}
