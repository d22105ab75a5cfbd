//! Clients and origins as they are: what they send although a grammar has it otherwise, and what other proxies take from them.

mod common;

use common::{Answer, FakeDns, Origin, Scratch, Weir, expect_refused};

/// Fields with which clients announce a body of CONNECT that they do not send.
const CONNECT_FRAMINGS: [&str; 9] = [
    "Content-Length: 0",
    "Content-Length: 5",
    "Content-Length: 99999",
    "Content-Length: x",
    "Content-Length: 5\r\nContent-Length: 6",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip",
    "Transfer-Encoding: chunked\r\nContent-Length: 0",
    "Content-Length: 5\r\nExpect: 100-continue",
];

/// A tunnel whose first bytes come with the head, some before it stands and some after: all reach the origin, in order, and its
/// answer the client.
#[track_caller]
fn expect_tunnel(weir: &Weir, fields: &str, version: &str) {
    let origin = Origin::serve(|conn| {
        conn.read_until(b"third")?;
        conn.send("answer")
    });
    let mut client = weir.connect();
    let head = format!("CONNECT {{o}} HTTP/{version}\r\nHost: {{o}}\r\n{fields}\r\n\r\n0\r\n\r\nGET ");
    client.send(origin.fill(head));
    client.send("second");
    assert_eq!(client.read_response_to("CONNECT").status(), 200, "{version} {fields:?}");
    client.send("third");
    assert_eq!(client.read_exact(6), b"answer", "{version} {fields:?}");
    assert_eq!(origin.received(0), b"0\r\n\r\nGET secondthird", "{version} {fields:?}");
}

/// Rule 11: a CONNECT has no body, whatever its fields say: what follows is the tunnel's.
#[test]
fn kind_08_connect_with_a_content_length_gets_its_tunnel() {
    for options in [&[][..], &["--cache"], &["--workers", "2"], &["--no-splice"]] {
        let weir = Weir::start(options);
        for fields in CONNECT_FRAMINGS {
            expect_tunnel(&weir, fields, "1.1");
        }
    }
    let weir = Weir::start(&[]);
    for fields in CONNECT_FRAMINGS {
        expect_tunnel(&weir, fields, "1.0");
    }
    weir.wait_for_logs(CONNECT_FRAMINGS.len(), |line| line.contains(" tunnel allowed 200 CONNECT "));
}

/// Rule 11: and what WinINET sends, whole.
#[test]
fn kind_08_connect_as_wininet_sends_it() {
    let weir = Weir::start(&[]);
    let fields = "User-Agent: Mozilla/4.0 (compatible)\r\nContent-Length: 0\r\nDNT: 1\r\n\
                  Proxy-Connection: Keep-Alive\r\nPragma: no-cache";
    expect_tunnel(&weir, fields, "1.0");
    expect_tunnel(&weir, fields, "1.1");
}

/// Rule 11: nothing that follows a refused CONNECT is read, neither as the body that was announced nor as a request.
#[test]
fn kind_08_refused_connect_with_a_body_closes() {
    let dns = FakeDns::start(&[("free.test", Answer::addresses(&["127.0.0.1"]))]);
    let scratch = Scratch::new();
    let users = scratch.file("users", "alice:secret\n");
    let open = Weir::start(&["--block", "blocked.test", "--dns", &dns.address()]);
    let closed = Weir::start(&["--auth-file", &users]);
    for fields in CONNECT_FRAMINGS {
        for version in ["1.0", "1.1"] {
            let connect = |target: &str, body: &str| {
                format!("CONNECT {target} HTTP/{version}\r\nHost: {target}\r\n{fields}\r\n\r\n{body}")
            };
            // By a rule, by its port, as a name that does not exist, and for want of credentials.
            let cases = [
                (&open, 403, "blocked.test:443"),
                (&open, 403, "free.test:25"),
                (&open, 502, "no.test:443"),
                (&closed, 407, "{o}"),
            ];
            for (weir, status, target) in cases {
                for body in ["", "hello", "5\r\nhello\r\n0\r\n\r\n"] {
                    expect_refused(weir, &[status], &[connect(target, body).as_bytes()]);
                }
            }
        }
    }
}

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
    for options in [&[][..], &["--cache"]] {
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
    for options in [&[][..], &["--cache"], &["--cache", "--workers", "2"]] {
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

/// Heads of responses with whitespace that is not forwarded: what was sent, and the value of X-A.
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
    for options in [&[][..], &["--cache"], &["--workers", "2"]] {
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
    for options in [&[][..], &["--cache"]] {
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

/// Bytes beyond ASCII in targets, as they are sent and as they are logged.
const RAW_TARGETS: [(&[u8], &str); 6] = [
    (b"/\xc3\xa4/\xe2\x82\xac", "/%C3%A4/%E2%82%AC"),
    (b"/\xe4\xf6\xfc.html", "/%E4%F6%FC.html"),
    (b"/?q=\xc3\xa4&r=%c3%A4", "/?q=%C3%A4&r=%c3%A4"),
    (b"/\x80\x85\x9b31m\xa0\xff", "/%80%85%9B31m%A0%FF"),
    (b"/\xe2\x80\xa8\xe2\x80\xae\xef\xbb\xbf", "/%E2%80%A8%E2%80%AE%EF%BB%BF"),
    (b"/\"<>\\^`{|}\xc0\xaf", "/\"<>\\^`{|}%C0%AF"),
];

/// Rule 5: bytes over 0x7F pass as they came, in every form of target and version.
#[test]
fn kind_10_raw_bytes_in_targets_pass() {
    for options in [&[][..], &["--cache"], &["--workers", "2"]] {
        let (weir, origin) = (Weir::start(options), Origin::ok());
        for (target, _) in RAW_TARGETS {
            for (method, front) in [
                ("GET", "http://{o}"),
                ("GET", "HTTP://{o}"),
                ("GET", ""),
                ("POST", "http://{o}"),
                ("HEAD", "http://{o}"),
            ] {
                for version in ["1.0", "1.1", "1.2"] {
                    let request = [
                        format!("{method} {front}").as_bytes(),
                        target,
                        format!(" HTTP/{version}\r\nHost: {{o}}\r\n\r\n").as_bytes(),
                    ]
                    .concat();
                    let before = origin.heads().len();
                    let mut client = weir.connect();
                    client.send(origin.fill(&request));
                    assert_eq!(client.read_response_to(method).status(), 200, "{method} {front}");
                    let line = [format!("{method} ").as_bytes(), target, b" HTTP/1.1\r\n"].concat();
                    let seen = &origin.heads()[before];
                    assert!(seen.raw.starts_with(&line), "{seen:?}");
                }
            }
        }
    }
}

/// Rule 5: with `--strict-targets` they are refused, and so are they in hosts, where they are no names.
#[test]
fn kind_10_raw_bytes_are_refused_where_they_are_no_target() {
    let strict = Weir::start(&["--strict-targets"]);
    for (target, _) in RAW_TARGETS {
        for front in ["GET http://{o}", "GET ", "OPTIONS http://{o}"] {
            let request = [front.as_bytes(), target, b" HTTP/1.1\r\nHost: {o}\r\n\r\n"].concat();
            expect_refused(&strict, &[400], &[&request]);
        }
    }
    let weir = Weir::start(&[]);
    expect_refused(
        &weir,
        &[400],
        &[
            b"GET http://b\xc3\xbccher.test/ HTTP/1.1\r\nHost: {o}\r\n\r\n",
            b"GET http://b\xfccher.test/ HTTP/1.1\r\nHost: {o}\r\n\r\n",
            b"CONNECT b\xc3\xbccher.test:443 HTTP/1.1\r\nHost: {o}\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: b\xc3\xbccher.test\r\n\r\n",
            b"GET \xc3\xa4 HTTP/1.1\r\nHost: {o}\r\n\r\n",
            b"GET http://{o}/\xc3\xa4 x HTTP/1.1\r\nHost: {o}\r\n\r\n",
            b"GET http://{o}/\xc3\xa4\x01 HTTP/1.1\r\nHost: {o}\r\n\r\n",
            b"GET http://{o}/\xc3\xa4\x7f HTTP/1.1\r\nHost: {o}\r\n\r\n",
            b"GET http://{o}/\xc3\xa4#x HTTP/1.1\r\nHost: {o}\r\n\r\n",
        ],
    );
}

/// Rule 5: logs have one form of them, percent-encoded, whatever the format and whatever became of the request.
#[test]
fn kind_10_logs_have_one_form_of_targets() {
    for format in ["weir", "combined", "squid", "json"] {
        let (weir, origin) =
            (Weir::start(&["--log-format", format, "--block", "blocked.test"]), Origin::ok());
        for (at, (target, logged)) in RAW_TARGETS.into_iter().enumerate() {
            for front in ["http://{o}", "http://blocked.test", ""] {
                let request = [
                    format!("GET {front}").as_bytes(),
                    target,
                    format!("&n={at} HTTP/1.1\r\nHost: {{o}}\r\n\r\n").as_bytes(),
                ]
                .concat();
                weir.connect().ask(origin.fill(&request));
            }
            let escaped = logged.replace('\\', "\\\\").replace('"', "\\\"");
            let lines = weir.wait_for_logs(3, |line| line.contains(&format!("{escaped}&n={at}")));
            assert!(
                lines.iter().all(|line| line.is_ascii() && !line.contains('\u{1b}')),
                "{format}: {lines:?}"
            );
        }
        assert_eq!(weir.log_lines().len(), 3 * RAW_TARGETS.len(), "{format}");
    }
}

/// Cache rule 26: the key is the exact target. Spellings that an origin could tell apart are not each other's answers.
#[test]
fn kind_10_cached_answers_belong_to_the_exact_target() {
    let weir = Weir::start(&["--cache"]);
    let origin = Origin::serve(|conn| {
        while let Some(request) = conn.request()? {
            let body = request.head.start.escape_default().to_string();
            conn.send(format!(
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ))?;
        }
        Ok(())
    });
    let targets: [&[u8]; 4] = [b"/\xc3\xa4", b"/%C3%A4", b"/%c3%a4", b"/\xe4"];
    for round in 1..=2 {
        for target in targets {
            let request = [b"GET http://{o}", target, b" HTTP/1.1\r\nHost: {o}\r\n\r\n"].concat();
            let answer = weir.connect().ask(origin.fill(request));
            let own = common::bytes::latin1(&[b"GET ", target, b" HTTP/1.1"].concat());
            assert_eq!(answer.text(), own.escape_default().to_string(), "round {round}");
        }
        assert_eq!(origin.heads().len(), targets.len(), "round {round}");
    }
}
