//! Message framing: rules 14 to 24 of the rule book, raw bytes on both sides.

mod common;

use common::{Framing, Origin, Weir, bytes, expect_refused, forwarded};

fn post(fields: &str, body: &str) -> Vec<u8> {
    format!("POST http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\n{fields}\r\n\r\n{body}").into_bytes()
}

#[track_caller]
fn refuse_posts(weir: &Weir, statuses: &[u16], cases: &[(&str, &str)]) {
    let requests: Vec<_> = cases.iter().map(|(fields, body)| post(fields, body)).collect();
    expect_refused(weir, statuses, &requests.iter().map(Vec::as_slice).collect::<Vec<_>>());
}

/// An origin that sends these bytes for the first request of every connection, and then waits for the end of it.
fn saying(answer: impl AsRef<[u8]>) -> Origin {
    let answer = answer.as_ref().to_vec();
    Origin::serve(move |conn| {
        conn.request()?;
        conn.send(&answer)?;
        conn.read_to_end().map(drop)
    })
}

/// Each answer of an origin gives the client a 502, and ends the connection that it came on.
#[track_caller]
fn expect_bad_gateway(weir: &Weir, answers: &[&[u8]]) {
    for answer in answers {
        let origin = saying(answer);
        let response = weir.connect().ask(origin.get("/"));
        assert_eq!(response.status(), 502, "{}: {response:?}", bytes::show(answer));
        assert!(response.head.has("proxy-status"), "{}: {response:?}", bytes::show(answer));
        origin.wait_for_ends(1);
    }
}

/// Rule 14: Transfer-Encoding with Content-Length is refused in a request.
#[test]
fn rule_14_both_framings_in_a_request() {
    let weir = Weir::start(&[]);
    refuse_posts(
        &weir,
        &[400],
        &[
            ("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n"),
            ("transfer-encoding: CHUNKED\r\nCONTENT-LENGTH: 0", "0\r\n\r\n"),
            ("Content-Length: 5\r\nTransfer-Encoding: identity", "hello"),
            ("Content-Length: 5\r\nTransfer-Encoding:", "hello"),
        ],
    );
}

/// Rule 14: in a response chunked counts, and the length goes.
#[test]
fn rule_14_both_framings_in_a_response() {
    let weir = Weir::start(&[]);
    for (fields, body) in [
        ("Content-Length: 2\r\nTransfer-Encoding: chunked", "2\r\nok\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 99", "2\r\nok\r\n0\r\n\r\n"),
    ] {
        let origin = saying(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{body}"));
        let answer = weir.connect().ask(origin.get("/"));
        assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"), "{fields:?}");
        assert!(!answer.head.has("content-length"), "{answer:?}");
        origin.wait_for_ends(1);
    }
}

/// Rule 15: only the single coding `chunked` passes, in whatever case.
#[test]
fn rule_15_chunked_passes_in_any_case() {
    let (weir, origin) = (Weir::start(&[]), Origin::echo());
    for coding in ["chunked", "Chunked", "CHUNKED", "\tchunked \t"] {
        let request = post(&format!("Transfer-Encoding:{coding}"), "5\r\nhello\r\n0\r\n\r\n");
        let (seen, answer) = forwarded(&weir, &origin, &request);
        assert_eq!(seen.all("transfer-encoding"), ["chunked"], "{coding}");
        assert!(answer.text().ends_with("\r\n\r\nhello"), "{coding}: {answer:?}");
    }
}

/// Rule 15: everything that could hide it from the next reader is refused.
#[test]
fn rule_15_codings_refused_in_requests() {
    let weir = Weir::start(&[]);
    let codings = [
        "gzip",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "chunked,chunked",
        "identity",
        "identity, chunked",
        "\"chunked\"",
        "chunked;q=1",
        "chunked; a=b",
        "xchunked",
        "chunkedx",
        "chu nked",
        "chunked\x0b",
        "\x0cchunked",
        "chunked\r\nTransfer-Encoding: chunked",
        "chunked\r\nTransfer-Encoding: identity",
        "identity\r\nTransfer-Encoding: chunked",
        "chunked\r\nTransfer-Encoding: x",
        "x\r\nTransfer-Encoding: chunked",
    ];
    for coding in codings {
        refuse_posts(&weir, &[400, 501], &[(&format!("Transfer-Encoding: {coding}"), "0\r\n\r\n")]);
    }
    expect_refused(
        &weir,
        &[400],
        &[b"POST http://{o}/ HTTP/1.0\r\nHost: {o}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    );
}

/// Rule 15: in responses the same are a 502.
#[test]
fn rule_15_codings_refused_in_responses() {
    let weir = Weir::start(&[]);
    for coding in
        ["gzip", "gzip, chunked", "chunked, chunked", "chunked, gzip", "\"chunked\"", "chunked;x", "xchunked"]
    {
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n2\r\nok\r\n0\r\n\r\n");
        expect_bad_gateway(&weir, &[answer.as_bytes()]);
    }
    expect_bad_gateway(
        &weir,
        &[
            b"HTTP/1.0 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ],
    );
}

const BAD_LENGTHS: [&str; 14] = [
    "+5",
    "-5",
    "5 5",
    "0x5",
    "5,6",
    "5, 6",
    "5;",
    "5.0",
    "five",
    "",
    "9223372036854775808",
    "18446744073709551621",
    "99999999999999999999999999",
    "5\r\nContent-Length: 6",
];

/// Rule 16: forms of Content-Length that are refused in requests.
#[test]
fn rule_16_content_length_forms() {
    let weir = Weir::start(&[]);
    for value in BAD_LENGTHS {
        refuse_posts(&weir, &[400], &[(&format!("Content-Length: {value}"), "hello")]);
    }
}

/// Rule 16: and in responses.
#[test]
fn rule_16_content_length_forms_in_responses() {
    let weir = Weir::start(&[]);
    for value in BAD_LENGTHS {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {value}\r\n\r\nhello");
        expect_bad_gateway(&weir, &[answer.as_bytes()]);
    }
}

/// Rule 16: identical repeated values are one, or refused; the greatest value is a value.
#[test]
fn rule_16_repeated_and_greatest_values() {
    let weir = Weir::start(&[]);
    for value in ["5\r\nContent-Length: 5", "5, 5"] {
        let origin = Origin::echo();
        let answer = weir.connect().ask(origin.fill(post(&format!("Content-Length: {value}"), "hello")));
        match answer.status() {
            200 => {
                assert_eq!(origin.head().all("content-length"), ["5"]);
                assert!(answer.text().ends_with("hello"));
            }
            status => assert_eq!((status, origin.connections()), (400, 0), "{value}"),
        }
        let origin = saying(format!("HTTP/1.1 200 OK\r\nContent-Length: {value}\r\n\r\nhello"));
        let answer = weir.connect().ask(origin.get("/"));
        match answer.status() {
            200 => {
                assert_eq!((answer.head.all("content-length"), answer.text().as_str()), (vec!["5"], "hello"))
            }
            status => assert_eq!(status, 502, "{value}"),
        }
    }
    let origin = Origin::serve(|conn| conn.head().map(drop));
    let mut client = weir.connect();
    client.send(origin.fill(post("Content-Length: 9223372036854775807", "hello")));
    assert_eq!(origin.wait_for_head(1).get("content-length"), Some("9223372036854775807"));
}

/// Rule 17: no whitespace around names, no folding, no empty names in requests.
#[test]
fn rule_17_whitespace_in_requests() {
    expect_refused(
        &Weir::start(&[]),
        &[400],
        &[
            b"GET http://{o}/ HTTP/1.1\r\nHost : {o}\r\n\r\n",
            b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nX-A\t: b\r\n\r\n",
            b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nX-A: b\r\n folded\r\n\r\n",
            b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nX-A: b\r\n\tfolded\r\n\r\n",
            b"GET http://{o}/ HTTP/1.1\r\n X-A: b\r\nHost: {o}\r\n\r\n",
            b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\n: empty\r\n\r\n",
            b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\n \r\n\r\n",
            b"POST http://{o}/ HTTP/1.1\r\nHost: {o}\r\nContent-Length : 5\r\n\r\nhello",
            b"POST http://{o}/ HTTP/1.1\r\nHost: {o}\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
            b"POST http://{o}/ HTTP/1.1\r\nHost: {o}\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        ],
    );
}

/// Rule 17: in responses a fold becomes blanks, whitespace before a colon goes, and framing fields count then.
#[test]
fn rule_17_whitespace_in_responses() {
    let weir = Weir::start(&[]);
    for (fields, value) in [
        ("X-A: b\r\n  folded", "b folded"),
        ("X-A:\r\n\tfolded\r\n \r\n again", "folded again"),
        ("X-A : b", "b"),
        ("X-A\t : b : c", "b : c"),
    ] {
        for framing in ["Content-Length: 2", "Content-Length : 2", "Content-Length:\r\n 2"] {
            let origin = saying(format!("HTTP/1.1 200 OK\r\n{fields}\r\n{framing}\r\n\r\nok"));
            let answer = weir.connect().ask(origin.get("/"));
            let words: Vec<_> = answer.head.get("x-a").unwrap_or_default().split_whitespace().collect();
            assert_eq!((words.join(" ").as_str(), answer.text().as_str()), (value, "ok"), "{fields:?}");
            assert_eq!(answer.head.all("content-length"), ["2"], "{framing:?}");
        }
    }
    let answer = |line: &str| format!("HTTP/1.1 200 OK\r\n{line}\r\nContent-Length: 2\r\n\r\nok");
    let malformed =
        [": b", "X A: b", "X A : b", "X A", " X-A: b", "\tX-A: b", " : b", "X-A: b\r\nno colon\r\n c"];
    let malformed = malformed.map(answer);
    expect_bad_gateway(&weir, &malformed.each_ref().map(|text| text.as_bytes()));
    expect_bad_gateway(
        &weir,
        &[
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n 0\r\n\r\n0123456789",
            b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\nContent-Length: 3\r\n\r\nok!",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding : gzip,\r\n chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ],
    );
}

const BAD_CHUNKS: [&str; 20] = [
    "0x5\r\nhello\r\n0\r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "-5\r\nhello\r\n0\r\n\r\n",
    "5 5\r\nhello\r\n0\r\n\r\n",
    "\t5\r\nhello\r\n0\r\n\r\n",
    "0 5\r\nhello\r\n0\r\n\r\n",
    " 5\r\nhello\r\n0\r\n\r\n",
    "5_\r\nhello\r\n0\r\n\r\n",
    "\r\nhello\r\n0\r\n\r\n",
    ";a\r\nhello\r\n0\r\n\r\n",
    "g\r\nhello\r\n0\r\n\r\n",
    "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "ffffffffffffffff5\r\nhello\r\n0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "5\rhello\r\n0\r\n\r\n",
    "5;a\nhello\r\n0\r\n\r\n",
    "5;a\x01=b\r\nhello\r\n0\r\n\r\n",
    "5\r\nhelloX\r\n0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "5\r\nhello\r\n0\r\nno colon\r\n\r\n",
];

/// Rule 18: a chunk that breaks the grammar ends the request, and the origin never gets a complete one.
#[test]
fn rule_18_bad_chunks_in_requests() {
    let weir = Weir::start(&[]);
    for body in BAD_CHUNKS {
        let origin = Origin::serve(|conn| {
            let head = conn.head()?;
            let body = conn.read_body(&head, false);
            assert!(body.is_err(), "a broken body was made to look complete: {body:?}");
            Ok(())
        });
        let mut client = weir.connect();
        client.send(origin.fill(post("Transfer-Encoding: chunked", body)));
        client.send_if_open(origin.get("/smuggled"));
        if let Ok(answer) = client.try_read_response("POST") {
            assert_eq!(answer.status(), 400, "{body:?}");
            assert!(client.read_to_end().is_empty(), "{body:?}: more than one answer");
        }
        let begun = origin.connections();
        origin.wait_for_ends(begun);
        assert!(origin.heads().iter().all(|head| !head.start.contains("smuggled")), "{body:?}");
    }
}

/// Rule 18: chunk extensions are checked, dropped, and bounded.
#[test]
fn rule_18_chunk_extensions() {
    let (weir, origin) = (Weir::start(&[]), Origin::echo());
    for body in [
        "5;a=b\r\nhello\r\n0\r\n\r\n",
        "5;a=\"b c;d\\\"\";e\r\nhello\r\n0;last\r\n\r\n",
        "2;x\r\nhe\r\n0003;y=z\r\nllo\r\n000\r\n\r\n",
    ] {
        let (_, answer) = forwarded(&weir, &origin, &post("Transfer-Encoding: chunked", body));
        assert!(answer.text().ends_with("\r\n\r\nhello"), "{body:?}: {answer:?}");
    }
    for connection in 0..origin.connections() {
        let received = origin.received(connection);
        let body = &received[bytes::find(&received, b"\r\n\r\n").unwrap_or(0)..];
        assert!(!body.contains(&b';'), "an extension reached the origin: {}", bytes::show(&received));
    }
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(40_000));
    let mut client = weir.connect();
    client.send_if_open(origin.fill(post("Transfer-Encoding: chunked", &long)));
    if let Ok(answer) = client.try_read_response("POST") {
        assert!(matches!(answer.status(), 400 | 413 | 431), "{answer:?}");
    }
}

/// Rule 18: the pieces in which chunks arrive do not matter.
#[test]
fn rule_18_chunks_byte_by_byte() {
    let (weir, origin) = (Weir::start(&[]), Origin::echo());
    let request = origin
        .fill(post("Transfer-Encoding: chunked", "5;e=1\r\nhello\r\nA\r\n 123456789\r\n0\r\nT: v\r\n\r\n"));
    for size in [1, 2, 3, 7] {
        let mut client = weir.connect();
        client.send_slowly(&request, size);
        assert!(client.read_response().text().ends_with("\r\n\r\nhello 123456789"), "in pieces of {size}");
    }
}

/// Rule 18: a broken chunk in a response is a 502, or an end that shows; never a complete response.
#[test]
fn rule_18_bad_chunks_in_responses() {
    let weir = Weir::start(&[]);
    for body in BAD_CHUNKS {
        let origin = saying(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
        let mut client = weir.connect();
        client.send(origin.get("/"));
        if let Ok(answer) = client.try_read_response("GET") {
            assert_eq!(answer.status(), 502, "{body:?}: {answer:?}");
        }
        origin.wait_for_ends(1);
    }
}

const TRAILERS: &str = "5\r\nhello\r\n0\r\nX-Sum: 1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nHost: evil.test\r\n\
    Authorization: x\r\nProxy-Authorization: x\r\nSet-Cookie: a=b\r\nCache-Control: no-store\r\nConnection: close\r\n\
    X-More: 2\r\n\r\n";

/// Rule 19: request trailers are forwarded without those that frame, route, authenticate or cache.
#[test]
fn rule_19_request_trailers() {
    let weir = Weir::start(&[]);
    let origin = Origin::serve(|conn| {
        let Some(request) = conn.request()? else { return Ok(()) };
        let text = format!("{:?}", request.body.trailers);
        conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()))
    });
    let answer =
        weir.connect().ask(origin.fill(post("Trailer: X-Sum\r\nTransfer-Encoding: chunked", TRAILERS)));
    assert_eq!(answer.text(), r#"[("X-Sum", "1"), ("X-More", "2")]"#);
}

/// Rule 19: and so are those of a response, where the client speaks 1.1.
#[test]
fn rule_19_response_trailers() {
    let weir = Weir::start(&[]);
    let origin =
        Origin::answering(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{TRAILERS}"));
    let answer =
        weir.connect().ask(origin.fill("GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nTE: trailers\r\n\r\n"));
    let names: Vec<_> = answer.body.trailers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((answer.text().as_str(), names), ("hello", vec!["X-Sum", "X-More"]));
    let mut old = weir.connect();
    old.send(origin.fill("GET http://{o}/ HTTP/1.0\r\nHost: {o}\r\n\r\n"));
    let answer = old.read_response();
    assert_eq!(answer.text(), "hello");
    assert!(!answer.head.has("transfer-encoding"), "{answer:?}");
}

/// Rule 19: trailers are bounded.
#[test]
fn rule_19_trailers_are_bounded() {
    let weir = Weir::start(&[]);
    let origin = Origin::serve(|conn| {
        let head = conn.head()?;
        assert!(conn.read_body(&head, false).is_err());
        Ok(())
    });
    let body = format!("0\r\n{}\r\n", "X-Filler: 0123456789012345678901234567890123456789\r\n".repeat(3000));
    let mut client = weir.connect();
    client.send_if_open(origin.fill(post("Transfer-Encoding: chunked", &body)));
    if let Ok(answer) = client.try_read_response("POST") {
        assert!(matches!(answer.status(), 400 | 413 | 431), "{answer:?}");
    }
    let begun = origin.connections();
    origin.wait_for_ends(begun);
}

/// Rule 20: a body is forwarded with its framing whatever the method.
#[test]
fn rule_20_bodies_with_any_method() {
    let weir = Weir::start(&[]);
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "PATCH", "FROBNICATE"] {
        for (fields, body) in [
            ("Content-Length: 5", "hello"),
            ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
            ("Content-Length: 0", ""),
        ] {
            let origin = Origin::echo();
            let mut client = weir.connect();
            let request = format!("{method} http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\n{fields}\r\n\r\n{body}");
            assert_eq!(client.ask(origin.fill(request)).status(), 200, "{method} {fields}");
            let (name, value) = fields.split_once(": ").unwrap_or_default();
            assert_eq!(origin.head().get(name), Some(value), "{method} {fields}");
            assert!(common::contains(&origin.received(0), &body.as_bytes()[..body.len().min(5)]), "{method}");
            // And what follows is the next request, not part of the body.
            assert_eq!(client.ask(origin.get("/next")).status(), 200, "{method} {fields}");
        }
    }
    let origin = Origin::ok();
    let (seen, _) = forwarded(&weir, &origin, b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\n\r\n");
    assert!(!seen.has("content-length") && !seen.has("transfer-encoding"), "framing was guessed: {seen:?}");
}

/// Rule 21: responses that have no body have none, whatever their fields say.
#[test]
fn rule_21_responses_without_body() {
    let weir = Weir::start(&[]);
    for (method, start, fields, length) in [
        ("HEAD", "200 OK", "Content-Length: 5\r\n", Some("5")),
        ("HEAD", "200 OK", "Transfer-Encoding: chunked\r\n", None),
        ("HEAD", "200 OK", "", None),
        ("GET", "304 Not Modified", "Content-Length: 5\r\nETag: \"a\"\r\n", Some("5")),
        ("GET", "304 Not Modified", "", None),
        ("GET", "204 No Content", "Content-Length: 5\r\n", None),
        ("GET", "204 No Content", "Transfer-Encoding: chunked\r\n", None),
        ("GET", "204 No Content", "", None),
    ] {
        let origin = Origin::answering(format!("HTTP/1.1 {start}\r\n{fields}\r\n"));
        let mut client = weir.connect();
        let request = origin.fill(format!("{method} http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\n\r\n"));
        for _ in 0..2 {
            client.send(&request);
            let head = client.read_head();
            assert_eq!(head.start, format!("HTTP/1.1 {start}"), "{method} {fields:?}");
            assert_eq!(head.get("content-length"), length, "{method} {start} {fields:?}: {head:?}");
            assert!(!head.has("transfer-encoding") || method == "HEAD", "{method} {start}: {head:?}");
        }
    }
}

/// Rule 21: a body that is sent nevertheless is excess, and reaches no client.
#[test]
fn rule_21_surplus_body() {
    let weir = Weir::start(&[]);
    for (method, answer) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        ("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"),
        ("GET", "HTTP/1.1 304 Not Modified\r\n\r\nhello"),
    ] {
        let origin = Origin::answering(answer);
        let mut client = weir.connect();
        for _ in 0..2 {
            client.send(origin.fill(format!("{method} http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\n\r\n")));
            let head = client.read_head();
            assert!(head.start.starts_with("HTTP/1.1 "), "{method}: {head:?}");
        }
        client.half_close();
        assert!(client.read_to_end().is_empty(), "{method}: surplus bytes reached the client");
        assert_eq!(origin.connections(), 2, "{method}: a connection with surplus bytes was used again");
    }
}

/// Rule 21: interim responses lose framing fields.
#[test]
fn rule_21_interim_framing_fields() {
    let weir = Weir::start(&[]);
    let origin = Origin::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let answer = weir.connect().ask(origin.get("/"));
    assert_eq!((answer.text().as_str(), answer.interim.len()), ("ok", 1));
    assert_eq!(answer.interim[0].get("link"), Some("</a>"));
    assert!(!answer.interim[0].has("content-length"), "{:?}", answer.interim);
}

/// Rule 22: each framing towards each kind of client.
#[test]
fn rule_22_framing_towards_clients() {
    let weir = Weir::start(&[]);
    for (answer, new, old) in [
        ("Content-Length: 5\r\n\r\nhello", Framing::Length, Framing::Length),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Framing::Chunked, Framing::UntilClose),
        ("\r\nhello", Framing::Chunked, Framing::UntilClose),
    ] {
        let origin = Origin::closing(format!("HTTP/1.1 200 OK\r\n{answer}"));
        let response = weir.connect().ask(origin.get("/"));
        assert_eq!((response.body.framing, response.text().as_str()), (new, "hello"), "{answer:?}");
        for extra in ["", "Connection: keep-alive\r\n"] {
            let request = format!("GET http://{{o}}/ HTTP/1.0\r\nHost: {{o}}\r\n{extra}\r\n");
            let response = weir.connect().ask(origin.fill(request));
            assert!(!response.head.has("transfer-encoding"), "{answer:?}: {response:?}");
            assert_eq!((response.body.framing, response.text().as_str()), (old, "hello"), "{answer:?}");
        }
    }
}

/// Rule 23: a body that ends too early never looks complete.
#[test]
fn rule_23_truncation_shows() {
    let weir = Weir::start(&[]);
    for head in [
        "Content-Length: 10\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        for reset in [false, true] {
            let answer = format!("HTTP/1.1 200 OK\r\n{head}");
            let origin = Origin::serve_owned(move |mut conn| {
                conn.request()?;
                conn.send(&answer)?;
                if reset {
                    conn.reset();
                }
                Ok(())
            });
            let mut client = weir.connect();
            client.send(origin.get("/"));
            match client.try_read_response("GET") {
                Err(_) => {}
                // A reset may overtake the head.
                Ok(answer) => assert_eq!(answer.status(), 502, "{head:?} reset {reset}: {answer:?}"),
            }
        }
    }
}

/// Rule 23: the client gets the valid part of a body with faulty framing, also if the fault came in the same segment.
#[test]
fn rule_23_the_valid_part_before_a_fault_arrives() {
    let chunks = format!("3e8\r\n{}\r\n", "x".repeat(1000)).repeat(20);
    for fault in ["zz\r\n", "0\r\nBad Name: x\r\n\r\n", "3\r\nxxxdef\r\n"] {
        let valid = if fault.starts_with('3') { 20_003 } else { 20_000 };
        let whole = format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=9\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{fault}"
        );
        let origin = Origin::answering(whole);
        for options in [&[][..], &["--cache"]] {
            if !options.is_empty() && !cfg!(feature = "cache") {
                continue;
            }
            let weir = Weir::start(options);
            let mut client = weir.connect();
            client.send(origin.get("/"));
            let received = client.read_to_end();
            let body = received.windows(4).position(|end| end == b"\r\n\r\n").expect("a head");
            let payload = received[body + 4..].iter().filter(|byte| **byte == b'x').count();
            assert_eq!(payload, valid, "{fault:?} {options:?}");
            assert!(!received.ends_with(b"0\r\n\r\n"), "{fault:?} {options:?}");
        }
    }
}

/// Rule 23: where only the close could mark the end, a truncation is a reset.
#[test]
fn rule_23_truncation_shows_to_old_clients() {
    let weir = Weir::start(&[]);
    let origin = Origin::closing("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    let mut client = weir.connect();
    client.send(origin.fill("GET http://{o}/ HTTP/1.0\r\nHost: {o}\r\n\r\n"));
    let outcome = client.try_read_response("GET");
    assert!(outcome.as_ref().map_or(true, |answer| answer.status() == 502), "a clean end: {outcome:?}");
}

/// Rule 23: a request body that ends too early never reaches the origin as a complete one.
#[test]
fn rule_23_truncated_uploads() {
    let weir = Weir::start(&[]);
    for (fields, body) in [("Content-Length: 10", "hello"), ("Transfer-Encoding: chunked", "5\r\nhello\r\n")]
    {
        for reset in [false, true] {
            let origin = Origin::serve(|conn| {
                let head = conn.head()?;
                assert!(conn.read_body(&head, false).is_err(), "a complete body");
                Ok(())
            });
            let mut client = weir.connect();
            client.send(origin.fill(post(fields, body)));
            origin.wait_for_received(0, b"hello");
            if reset {
                client.reset();
            } else {
                client.half_close();
            }
            origin.wait_for_ends(1);
        }
    }
}

/// Rule 24: heads are written anew, never spliced through.
#[test]
fn rule_24_heads_are_written_anew() {
    let weir = Weir::start(&[]);
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nX-A:\t b \t\r\nContent-Length:  2\r\n\r\nok");
    let (seen, answer) =
        forwarded(&weir, &origin, b"GET hTTp://{o}/ HTTP/1.1\r\nhOSt:{o}\r\nX-B:\tc \t \r\nX-C:d\r\n\r\n");
    assert!(seen.raw.starts_with(b"GET / HTTP/1.1\r\n"), "{seen:?}");
    for line in [&b"\r\nX-B: c\r\n"[..], b"\r\nX-C: d\r\n"] {
        assert!(common::contains(&seen.raw, line), "{seen:?} lacks {}", bytes::show(line));
    }
    for line in [&b"\r\nX-A: b\r\n"[..], b"ontent-Length: 2\r\n"] {
        assert!(common::contains(&answer.head.raw, line), "{answer:?} lacks {}", bytes::show(line));
    }
}
