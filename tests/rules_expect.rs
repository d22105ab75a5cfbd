//! Expect and interim responses: rule 30 of the rule book, raw bytes on both sides.

mod common;

use common::origin::Mute;
use common::{Origin, Weir};
use std::time::Duration;

/// Long enough for what must not happen to have happened.
const A_WHILE: Duration = Duration::from_millis(300);

fn put(fields: &str) -> Vec<u8> {
    format!("PUT http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\n{fields}\r\n\r\n").into_bytes()
}

/// Rule 30: the expectation goes to the origin, its 100 comes back, then the body flows.
#[test]
fn rule_30_continue_is_relayed() {
    let weir = Weir::start(&[]);
    let origin = Origin::serve(|conn| {
        let head = conn.head()?;
        assert_eq!(head.get("expect").map(str::to_ascii_lowercase).as_deref(), Some("100-continue"));
        assert!(conn.is_silent_for(A_WHILE)?, "the body came before the 100");
        conn.send("HTTP/1.1 100 Continue\r\n\r\n")?;
        let body = conn.read_body(&head, false)?;
        assert_eq!(body.bytes, b"hello");
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    let mut client = weir.connect();
    client.send(origin.fill(put("Content-Length: 5\r\nExpect: 100-continue")));
    assert_eq!(client.read_head().start, "HTTP/1.1 100 Continue");
    client.send("hello");
    assert_eq!(client.read_response().text(), "ok");
}

/// Rule 30: a client that does not wait is not delayed.
#[test]
fn rule_30_impatient_client() {
    let weir = Weir::start(&[]);
    let origin = Origin::serve(|conn| {
        let head = conn.head()?;
        assert_eq!(conn.read_body(&head, false)?.bytes, b"hello");
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    let mut client = weir.connect();
    client.send([&origin.fill(put("Content-Length: 5\r\nExpect: 100-continue"))[..], b"hello"].concat());
    assert_eq!(client.read_response().text(), "ok");
}

/// Rule 30: other expectations cannot be met.
#[test]
fn rule_30_other_expectations() {
    let (weir, origin) = (Weir::start(&[]), Origin::ok());
    for value in ["200-ok", "100-continue, x", "x"] {
        let mut client = weir.connect();
        client.send(origin.fill(put(&format!("Content-Length: 0\r\nExpect: {value}"))));
        assert_eq!(client.read_response().status(), 417, "{value}");
    }
    assert_eq!(origin.connections(), 0);
}

/// Rule 30: a final answer instead of the 100 reaches the client, and the upload is not awaited.
#[test]
fn rule_30_final_answer_first() {
    let weir = Weir::start(&[]);
    let origin = Origin::serve(|conn| {
        conn.head()?;
        conn.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\nnope")?;
        conn.read_to_end().map(drop)
    });
    let mut client = weir.connect();
    client.send(origin.fill(put("Content-Length: 500000\r\nExpect: 100-continue")));
    let answer = client.read_response();
    assert_eq!((answer.status(), answer.text().as_str()), (401, "nope"));
    assert!(answer.interim.is_empty(), "{:?}", answer.interim);
}

/// Rule 30: interim responses go to 1.1 clients, never to 1.0 ones.
#[test]
fn rule_30_interim_responses() {
    let weir = Weir::start(&[]);
    let origin = Origin::answering(
        "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let answer = weir.connect().ask(origin.get("/"));
    let statuses: Vec<_> = answer.interim.iter().map(|head| head.status()).collect();
    assert_eq!((statuses, answer.status()), (vec![102, 103], 200));
    assert_eq!(answer.interim[1].get("link"), Some("</a>"));
    let answer = weir.connect().ask(origin.fill("GET http://{o}/ HTTP/1.0\r\nHost: {o}\r\n\r\n"));
    assert!(answer.interim.is_empty() && answer.text() == "ok", "{answer:?}");
}

/// Rule 30: endless interim responses cannot keep a client waiting.
#[test]
fn rule_30_interim_responses_are_bounded() {
    let weir = Weir::start(&[]);
    let origin = Origin::serve(|conn| {
        conn.head()?;
        loop {
            conn.send("HTTP/1.1 102 Processing\r\n\r\n".repeat(100))?;
        }
    });
    let mut client = weir.connect();
    client.send(origin.get("/"));
    if let Ok(answer) = client.try_read_response("GET") {
        assert_eq!(answer.status(), 502);
    }
    origin.wait_for_ends(1);
}

/// Rules 30 and 34: an origin that is silent while the client waits for a 100 is at fault, not the client.
#[test]
fn rule_30_an_origin_that_sends_neither_100_nor_answer() {
    let weir = Weir::start(&["--timeout", "1"]);
    let mute = Mute::new();
    for body in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let request = format!(
            "PUT http://{0}/ HTTP/1.1\r\nHost: {0}\r\n{body}\r\nExpect: 100-continue\r\n\r\n",
            mute.address()
        );
        let answer = weir.connect().ask(request);
        let said = answer.head.get("proxy-status").unwrap_or_default();
        assert_eq!(answer.status(), 504, "{body}: {answer:?}");
        assert!(said.contains("http_response_timeout"), "{said}");
    }
    // Behind the 100 the client is next to act.
    let origin = Origin::serve(|conn| {
        conn.head()?;
        conn.send("HTTP/1.1 100 Continue\r\n\r\n")?;
        conn.read_to_end().map(drop)
    });
    let mut client = weir.connect();
    client.send(origin.fill(put("Content-Length: 5\r\nExpect: 100-continue")));
    assert_eq!(client.read_head().start, "HTTP/1.1 100 Continue");
    assert_eq!(client.read_response().status(), 408);
}

/// Rules 30 and 37: an origin that is known to speak HTTP/1.0 sends no 100, so weir sends it.
#[test]
fn rule_30_no_expectation_reaches_an_old_origin() {
    let weir = Weir::start(&[]);
    let origin = Origin::serve(|conn| {
        let head = conn.head()?;
        assert_eq!(head.get("expect"), None);
        let body = conn.read_body(&head, false)?.bytes;
        assert_eq!(body.len(), if head.start.starts_with("PUT") { 5 } else { 0 });
        conn.send("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    assert_eq!(weir.connect().ask(origin.get("/")).status(), 200);
    let mut client = weir.connect();
    client.send(origin.fill(put("Content-Length: 5\r\nExpect: 100-continue")));
    assert_eq!(client.read_head().start, "HTTP/1.1 100 Continue");
    client.send("hello");
    assert_eq!(client.read_response().text(), "ok");
}
