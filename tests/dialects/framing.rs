//! Responses that end in two ways, and origins that speak HTTP/1.0.

use super::common::{Framing, Origin, Weir};
use super::shell::{Shell, status};

/// Heads of responses that end in two ways: chunked although a length is there, or although they are HTTP/1.0.
const DOUBTFUL: [&str; 7] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nContent-Length: 99999\r\nConnection: keep-alive\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length : x\r\nTransfer-Encoding :\r\n chunked\r\n",
    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n",
    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n",
    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 16\r\nConnection: keep-alive\r\n",
];

/// A body whose chunks have 5 and 6 bytes.
const CHUNKS: &str = "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";

/// Rules 14 and 15: such a response is read by its chunks, its length goes, and its connection is not used again. Nothing of it
/// is stored, however fresh it says that it is.
#[test]
fn kind_13_responses_framed_twice_are_decoded_and_forgotten() {
    for options in
        crate::common::built([&[][..], &["--cache"], &["--cache", "--workers", "2"], &["--no-splice"]])
    {
        let weir = Weir::start(options);
        for head in DOUBTFUL {
            let head = format!("{head}Cache-Control: max-age=60\r\nETag: \"a\"\r\n");
            let origin = Origin::answering(format!("{head}\r\n{CHUNKS}"));
            let mut client = weir.connect();
            for (round, (version, framing)) in
                [("1.1", Framing::Chunked), ("1.1", Framing::Chunked), ("1.0", Framing::UntilClose)]
                    .into_iter()
                    .enumerate()
            {
                let answer = client
                    .ask(origin.fill(format!("GET http://{{o}}/ HTTP/{version}\r\nHost: {{o}}\r\n\r\n")));
                assert_eq!((answer.status(), answer.text().as_str()), (200, "hello world"), "{head:?}");
                assert_eq!(answer.body.framing, framing, "{head:?}: {answer:?}");
                assert!(!answer.head.has("content-length"), "{head:?}: {answer:?}");
                assert!(!answer.head.has("age"), "stored: {answer:?}");
                origin.wait_for_ends(round + 1);
            }
            assert_eq!((origin.heads().len(), origin.connections()), (3, 3), "{head:?}");
        }
    }
}

/// Rule 14: the same for responses that have no body: HEAD, 204 and 304.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn kind_13_responses_framed_twice_without_a_body() {
    let weir = Weir::start(&["--cache"]);
    for (method, line) in [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Not Modified")] {
        for (version, fields) in [
            ("1.1", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
            ("1.0", "Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n"),
        ] {
            let origin = Origin::answering(format!("HTTP/{version} {line}\r\n{fields}\r\n"));
            let mut client = weir.connect();
            for round in 1..=2 {
                client.send(origin.fill(format!("{method} http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\n\r\n")));
                let head = client.read_head();
                assert_eq!(head.start, format!("HTTP/1.1 {line}"));
                assert!(!head.has("content-length") && !head.has("transfer-encoding"), "{head:?}");
                origin.wait_for_ends(round);
            }
            assert_eq!(origin.connections(), 2, "{method} {line} {fields:?}");
        }
    }
}

/// Rule 23: a body that ends before its last chunk ends so for the client, too, wherever a length would have had it.
#[test]
fn kind_13_responses_framed_twice_and_cut_short() {
    for options in crate::common::built([&[][..], &["--cache"]]) {
        let weir = Weir::start(options);
        for head in DOUBTFUL {
            let origin = Origin::closing(format!("{head}\r\n5\r\nhello\r\n6\r\n wo"));
            for version in ["1.1", "1.0"] {
                let mut client = weir.connect();
                client.send(origin.fill(format!("GET http://{{o}}/ HTTP/{version}\r\nHost: {{o}}\r\n\r\n")));
                let answer = client.try_read_response("GET");
                assert!(
                    answer.as_ref().map_or(true, |answer| answer.status() == 502),
                    "{head:?}: {answer:?}"
                );
            }
        }
    }
}

/// Rule 14: requests that wait for such a response ask by themselves, and it does not renew a stored one.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn kind_13_responses_framed_twice_are_for_one_client() {
    let weir = Weir::start(&["--cache"]);
    for head in DOUBTFUL {
        let head = format!("{head}Cache-Control: max-age=60\r\nETag: \"a\"\r\n");
        let origin = Origin::serve(move |conn| {
            let Some(_) = conn.request()? else { return Ok(()) };
            if conn.number == 0 {
                // The others wait for this one.
                conn.is_silent_for(std::time::Duration::from_millis(100))?;
            }
            conn.send(format!("{head}X-Number: {}\r\n\r\n{CHUNKS}", conn.number))
        });
        let mut clients: Vec<_> = (0..4).map(|_| weir.connect()).collect();
        clients.iter_mut().for_each(|client| client.send(origin.get("/")));
        let mut numbers: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                let answer = client.read_response();
                assert_eq!(answer.text(), "hello world");
                answer.head.get("x-number").map(str::to_owned)
            })
            .collect();
        numbers.sort();
        numbers.dedup();
        assert_eq!(numbers.len(), 4, "an answer was shared: {numbers:?}");
    }
}

/// Rule 14: a 304 and an answer to HEAD of that kind leave what is stored as it is.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn kind_13_doubtful_answers_renew_nothing() {
    for fields in [
        "HTTP/1.1|Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "HTTP/1.0|Transfer-Encoding: chunked\r\n",
    ] {
        let (version, fields) = fields.split_once('|').unwrap_or_default();
        let weir = Weir::start(&["--cache"]);
        let origin = Origin::serve(move |conn| {
            while let Some(request) = conn.request()? {
                let fresh = format!("{fields}Cache-Control: max-age=60\r\nETag: \"a\"\r\nX-New: 1\r\n");
                if request.head.method() == "HEAD" {
                    conn.send(format!("{version} 200 OK\r\n{fresh}\r\n"))?;
                    return Ok(());
                }
                if request.head.has("if-none-match") {
                    conn.send(format!("{version} 304 Not Modified\r\n{fresh}\r\n"))?;
                    return Ok(());
                }
                conn.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=0\r\nETag: \"a\"\r\nContent-Length: 5\r\n\r\nhello")?;
            }
            Ok(())
        });
        assert_eq!(weir.connect().ask(origin.get("/")).text(), "hello");
        for round in 1..=2 {
            let mut client = weir.connect();
            client.send(origin.fill("HEAD http://{o}/ HTTP/1.1\r\nHost: {o}\r\n\r\n"));
            assert_eq!(client.read_head().status(), 200);
            // Still stale, and still asked about.
            assert_eq!(weir.connect().ask(origin.get("/")).text(), "hello");
            assert_eq!(origin.heads().len(), 1 + 2 * round, "{fields:?}");
        }
        assert!(
            origin
                .heads()
                .iter()
                .filter(|head| head.method() == "GET")
                .skip(1)
                .all(|head| head.has("if-none-match"))
        );
    }
}

/// Rule 37: that an origin speaks HTTP/1.0 is forgotten after a minute. Then it is sent chunks again.
#[test]
fn kind_13_http_1_0_is_forgotten_after_a_minute() {
    let answer = |shell: &mut Shell, client, version: &str| {
        shell.receive(client, "GET http://127.0.0.1/ HTTP/1.1\r\nHost: a\r\n\r\n");
        let (origin, _) = shell.establish(shell.connects.len() - 1);
        shell.receive(
            origin,
            format!("HTTP/{version} 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"),
        );
        assert_eq!(status(&shell.send(client)), 200);
    };
    let post = "POST http://127.0.0.1/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    let mut shell = Shell::new();
    let client = shell.client();
    answer(&mut shell, client, "1.0");
    // Its answer keeps it known, and none of this asks the origin.
    for passed_ms in [0, 30_000, 29_750] {
        shell.pass(passed_ms);
        let asking = shell.client_with(post);
        let dialled = shell.connects.len();
        assert_eq!((status(&shell.send(asking)), dialled), (411, 1), "after {passed_ms} ms more");
    }
    shell.pass(250);
    let asking = shell.client_with(post);
    let (origin, sent) = shell.establish(1);
    assert!(sent.contains("Transfer-Encoding: chunked") && sent.ends_with("2\r\nab\r\n0\r\n\r\n"), "{sent}");
    shell.receive(origin, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(status(&shell.send(asking)), 200);
    // That answer was in 1.0 once more: another minute, unless it answers in 1.1 before.
    let asking = shell.client_with(post);
    assert_eq!(status(&shell.send(asking)), 411);
    let client = shell.client();
    answer(&mut shell, client, "1.1");
    shell.client_with(post);
    assert!(shell.establish(shell.connects.len() - 1).1.contains("Transfer-Encoding: chunked"));
}

/// Rule 37: for as long as it is remembered a chunked upload is refused, and the client told what to send instead.
#[test]
fn kind_13_chunks_for_an_origin_that_speaks_http_1_0() {
    for options in crate::common::built([&[][..], &["--cache"]]) {
        let weir = Weir::start(options);
        let post = "POST http://{o}/ HTTP/1.1\r\nHost: {o}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
        for fields in
            ["Content-Length: 2\r\n\r\nok", "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"]
        {
            let origin = Origin::closing(format!("HTTP/1.0 200 OK\r\nCache-Control: max-age=9\r\n{fields}"));
            let mut client = weir.connect();
            assert_eq!(client.ask(origin.fill(post)).text(), "ok");
            let answer = client.ask(origin.fill(post));
            assert_eq!((answer.status(), origin.heads().len()), (411, 1), "{answer:?}");
            assert!(answer.text().contains("Content-Length"), "{answer:?}");
            // One with a length passes.
            let sized = "POST http://{o}/ HTTP/1.1\r\nHost: {o}\r\nContent-Length: 2\r\n\r\nab";
            assert_eq!(weir.connect().ask(origin.fill(sized)).text(), "ok");
        }
    }
}
