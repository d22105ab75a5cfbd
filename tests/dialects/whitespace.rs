//! Blanks, zeros and folds where other people's clients and origins have them.

use super::common::{self, Origin, Weir};

/// Forms of the size 5 that other proxies take.
const SIZES: [&str; 12] = [
    "5",
    "00000000000000005",
    "0000000000000000000000000000000000000000000000000000000000000005",
    "5 ",
    "5\t",
    "5      ",
    "5 ;a",
    "5\t ; a = b",
    "5 ;a=\"b c\" ; d ",
    "05 ;a\t",
    "5;a=b",
    "0000000000000005 \t;a",
];

/// Two chunks of five bytes with a size in this form.
fn hello_world(size: &str) -> String {
    format!("{size}\r\nhello\r\n{size}\r\nworld\r\n{}\r\n\r\n", size.replace('5', "0"))
}

/// Rule 18: blanks behind a chunk size, and leading zeros, are taken in requests and never passed on.
#[test]
fn kind_09_padded_chunk_sizes_in_requests() {
    for options in crate::common::built([&[][..], &["--cache"]]) {
        let (weir, origin) = (Weir::start(options), Origin::echo());
        for size in SIZES {
            let mut client = weir.connect();
            for piece in [4096, 1] {
                let head = "POST http://{o}/ HTTP/1.1\r\nHost: {o}\r\nTransfer-Encoding: chunked\r\n\r\n";
                client.send_slowly(origin.fill(format!("{head}{}", hello_world(size))), piece);
                let answer = client.read_response();
                assert!(answer.text().ends_with("\r\n\r\nhelloworld"), "{size:?}: {answer:?}");
            }
        }
        for connection in 0..origin.connections() {
            let received = origin.received(connection);
            let padded = [&b" \r\n"[..], b"\t\r\n", b"0005", b";"];
            assert!(!padded.iter().any(|padding| common::contains(&received, padding)));
        }
    }
}

/// Rule 18: and in responses, stored or not.
#[test]
fn kind_09_padded_chunk_sizes_in_responses() {
    for options in crate::common::built([&[][..], &["--cache"], &["--cache", "--workers", "2"]]) {
        let weir = Weir::start(options);
        for size in SIZES {
            let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n";
            let origin = Origin::answering(format!("{head}{}", hello_world(size)));
            let mut client = weir.connect();
            for _ in 0..3 {
                assert_eq!(client.ask(origin.get("/")).text(), "helloworld", "{size:?}");
            }
            assert_eq!(origin.connections(), 1, "{size:?}");
        }
    }
}

/// Rule 18: what pads chunk sizes is bounded like extensions.
#[test]
fn kind_09_padding_of_chunk_sizes_is_bounded() {
    let weir = Weir::start(&[]);
    for size in [format!("{:0>9000}", 5), format!("5{}", " ".repeat(9000))] {
        let origin = Origin::answering(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}",
            hello_world(&size)
        ));
        let mut client = weir.connect();
        client.send(origin.get("/"));
        let answer = client.try_read_response("GET");
        assert!(answer.as_ref().map_or(true, |answer| answer.status() == 502), "{answer:?}");
        let origin = Origin::ok();
        let head = "POST http://{o}/ HTTP/1.1\r\nHost: {o}\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut client = weir.connect();
        client.send_if_open(origin.fill(format!("{head}{}", hello_world(&size))));
        if let Ok(answer) = client.try_read_response("POST") {
            assert_eq!(answer.status(), 400, "{answer:?}");
        }
    }
}

/// Response heads with whitespace that is not forwarded: the sent head, and the value of X-A.
const FOLDED: [(&str, &str); 7] = [
    ("X-A : b", "b"),
    ("X-A\t: b", "b"),
    ("X-A \t : b", "b"),
    ("X-A: b\r\n c", "b c"),
    ("X-A:\r\n\tb\r\n  c", "b c"),
    ("X-A :\r\n b", "b"),
    ("X-A : b\r\n X-B : c\r\n ", "b X-B : c"),
];

#[track_caller]
fn expect_x_a(head: &common::Head, value: &str) {
    let lines = common::bytes::latin1(&head.raw);
    for line in lines.split("\r\n").skip(1) {
        assert!(!line.starts_with([' ', '\t']), "folded: {lines:?}");
        let name = line.split(':').next().unwrap_or_default();
        assert!(!name.ends_with([' ', '\t']), "a blank before the colon: {lines:?}");
    }
    let words: Vec<_> = head.get("x-a").unwrap_or_default().split_whitespace().collect();
    assert_eq!(words.join(" "), value, "{lines:?}");
    assert!(!head.has("x-b"), "{lines:?}");
}

/// Rule 17: whitespace before a colon and folded lines in responses, whatever their status, size and pieces.
#[test]
fn kind_09_whitespace_in_response_heads_is_put_right() {
    let long = format!("X-Long: {}\r\n", "l".repeat(6000));
    for options in crate::common::built([&[][..], &["--cache"], &["--workers", "2"]]) {
        let weir = Weir::start(options);
        for (fields, value) in FOLDED {
            for filler in ["", long.as_str()] {
                let fields = format!("{filler}{fields}\r\n");
                for (method, answer, status, body) in [
                    (
                        "GET",
                        format!("HTTP/1.1 200 OK\r\n{fields}Content-Length : 5\r\n\r\nhello"),
                        200,
                        "hello",
                    ),
                    (
                        "GET",
                        format!("HTTP/1.0 200 OK\r\n{fields}Content-Length\t:\r\n\t5\r\n\r\nhello"),
                        200,
                        "hello",
                    ),
                    (
                        "GET",
                        format!(
                            "HTTP/1.1 200 OK\r\n{fields}Transfer-Encoding :\r\n chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n"
                        ),
                        200,
                        "hello",
                    ),
                    ("HEAD", format!("HTTP/1.1 200 OK\r\n{fields}Content-Length : 5\r\n\r\n"), 200, ""),
                    ("GET", format!("HTTP/1.1 304 Not Modified\r\n{fields}ETag : \"a\"\r\n\r\n"), 304, ""),
                    ("POST", format!("HTTP/1.1 204 No Content\r\n{fields}\r\n"), 204, ""),
                ] {
                    let origin = Origin::answering(&answer);
                    let mut client = weir.connect();
                    client.send(origin.fill(format!(
                        "{method} http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\nIf-None-Match: \"b\"\r\n\r\n"
                    )));
                    let seen = client.read_response_to(method);
                    assert_eq!((seen.status(), seen.text().as_str()), (status, body), "{answer:?}");
                    expect_x_a(&seen.head, value);
                }
            }
        }
    }
}

/// Rule 17: in interim responses, too, and in the one that switches protocols.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn kind_09_whitespace_in_interim_responses_is_put_right() {
    let weir = Weir::start(&["--cache"]);
    for (fields, value) in FOLDED {
        let origin = Origin::answering(format!(
            "HTTP/1.1 103 Early Hints\r\n{fields}\r\n\r\nHTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: 2\r\n\r\nok"
        ));
        let answer = weir.connect().ask(origin.get("/"));
        assert_eq!((answer.text().as_str(), answer.interim.len()), ("ok", 1));
        expect_x_a(&answer.interim[0], value);
        expect_x_a(&answer.head, value);
        let origin = Origin::serve(move |conn| {
            conn.head()?;
            conn.send(format!(
                "HTTP/1.1 101 Switching\r\n{fields}\r\nConnection :\r\n upgrade\r\nUpgrade : echo\r\n\r\n"
            ))?;
            conn.read_exact(4)?;
            conn.send("pong")
        });
        let mut client = weir.connect();
        client.send(
            origin.fill(
                "GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
            ),
        );
        let head = client.read_head();
        assert_eq!((head.status(), head.get("upgrade")), (101, Some("echo")));
        expect_x_a(&head, value);
        client.send("ping");
        assert_eq!(client.read_exact(4), b"pong");
    }
}

/// Rule 17: fields that steer the connection and the cache count when they were folded.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn kind_09_folded_fields_count() {
    let weir = Weir::start(&["--cache"]);
    let asked = |fields: &str, asks: usize| {
        let origin = Origin::answering(format!("HTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: 2\r\n\r\nok"));
        for _ in 0..asks {
            let answer = weir.connect().ask(origin.get("/"));
            assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"), "{fields:?}");
            assert!(!answer.head.has("x-hop"), "{answer:?}");
        }
        (origin.heads().len(), origin.connections())
    };
    for fields in [
        "Cache-Control : max-age=60",
        "Cache-Control:\r\n max-age=60",
        "Cache-Control:public,\r\n\tmax-age=60",
    ] {
        assert_eq!(asked(fields, 3).0, 1, "{fields:?}");
    }
    for fields in ["Cache-Control: max-age=60,\r\n no-store", "Cache-Control: max-age=60\r\nVary :\r\n *"] {
        assert_eq!(asked(fields, 2).0, 2, "{fields:?}");
    }
    assert_eq!(asked("Connection :\r\n close", 2), (2, 2));
    assert_eq!(asked("Connection: x-other,\r\n\tX-Hop\r\nX-Hop : 1", 1).0, 1);
}

/// Rule 17: whitespace in the trailers of responses is put right, in those of requests it ends the request.
#[test]
fn kind_09_whitespace_in_trailers() {
    let trailers = "X-Sum : 1\r\nX-More:\r\n 2\r\n\t3\r\nContent-Length : 9\r\nTransfer-Encoding:\r\n x\r\n";
    for options in crate::common::built([&[][..], &["--cache"]]) {
        let weir = Weir::start(options);
        let origin = Origin::answering(format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n{trailers}\r\n"
        ));
        let answer = weir.connect().ask(origin.get("/"));
        assert_eq!(answer.text(), "hello");
        let seen: Vec<_> = answer
            .body
            .trailers
            .iter()
            .map(|(name, value)| (name.as_str(), value.split_whitespace().collect::<Vec<_>>().join(" ")))
            .collect();
        assert_eq!(seen, [("X-Sum", "1".to_owned()), ("X-More", "2 3".to_owned())]);
    }
    let weir = Weir::start(&[]);
    for trailer in ["X-Sum : 1", "X-Sum: 1\r\n 2", " X-Sum: 1"] {
        let origin = Origin::serve(|conn| {
            let head = conn.head()?;
            assert!(conn.read_body(&head, false).is_err(), "a broken body was made to look complete");
            Ok(())
        });
        let mut client = weir.connect();
        client.send(origin.fill(format!(
            "POST http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n{trailer}\r\n\r\n"
        )));
        if let Ok(answer) = client.try_read_response("POST") {
            assert_eq!(answer.status(), 400, "{trailer:?}");
        }
        let begun = origin.connections();
        origin.wait_for_ends(begun);
    }
}
