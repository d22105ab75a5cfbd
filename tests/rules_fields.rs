//! Fields: rules 25 to 29 of the rule book, raw bytes on both sides.

mod common;

use common::{Origin, Weir, forwarded};

/// Rule 25: what belongs to one hop does not reach the origin, from any line and in any case.
#[test]
fn rule_25_request_fields_removed() {
    let (weir, origin) = (Weir::start(&[]), Origin::ok());
    let (seen, _) = forwarded(
        &weir,
        &origin,
        b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nConnection: X-One, keep-alive\r\nX-One: 1\r\nconnection: x-TWO\r\n\
          Connection: a\"b, x-three\r\nX-Three: 3\r\nX-Two: 2\r\nx-two: 3\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\n\
          Upgrade: h2c\r\nProxy-Authorization: Basic aGk=\r\nX-Stays: 4\r\n\r\n",
    );
    for name in
        ["x-one", "x-two", "x-three", "keep-alive", "proxy-connection", "upgrade", "proxy-authorization"]
    {
        assert!(!seen.has(name), "{name} reached the origin: {seen:?}");
    }
    // TE may be said anew for this hop, never passed on unnamed (RFC 9110 10.1.4).
    assert!(!seen.has("te") || seen.lists("connection", "te"), "{seen:?}");
    assert!(!seen.lists("connection", "x-one") && !seen.lists("connection", "x-two"), "{seen:?}");
    assert_eq!(seen.get("x-stays"), Some("4"));
}

/// Rule 25: and neither does it reach the client.
#[test]
fn rule_25_response_fields_removed() {
    let weir = Weir::start(&[]);
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x-hop\r\nX-Hop: 1\r\nCONNECTION: X-Other\r\n\
         X-Other: 2\r\nKeep-Alive: timeout=9\r\nProxy-Connection: keep-alive\r\nUpgrade: h2c\r\n\
         Proxy-Authenticate: Basic realm=evil\r\nProxy-Authentication-Info: x=y\r\nTrailer: X-Sum\r\nX-Stays: 3\r\n\
         \r\nok",
    );
    let (_, answer) = forwarded(&weir, &origin, b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\n\r\n");
    for name in ["x-hop", "x-other", "proxy-authenticate", "proxy-authentication-info", "upgrade"] {
        assert!(!answer.head.has(name), "{name} reached the client: {answer:?}");
    }
    assert!(!answer.head.lists("keep-alive", "timeout=9"), "{answer:?}");
    assert_eq!((answer.head.get("x-stays"), answer.text().as_str()), (Some("3"), "ok"));
}

/// Rule 25: a Connection that names end-to-end or framing fields takes nothing away.
#[test]
fn rule_25_connection_cannot_remove_what_matters() {
    let weir = Weir::start(&[]);
    let origin = Origin::echo();
    let (seen, answer) = forwarded(
        &weir,
        &origin,
        b"POST http://{o}/ HTTP/1.1\r\nHost: {o}\r\nContent-Length: 5\r\nCache-Control: no-store\r\n\
          Authorization: Basic aGk=\r\nConnection: Host, Via, Content-Length, Transfer-Encoding\r\n\
          Connection: Cache-Control, Authorization\r\n\r\nhello",
    );
    assert_eq!(seen.get("host"), Some(origin.address().to_string().as_str()));
    assert_eq!(seen.get("content-length"), Some("5"));
    assert_eq!(seen.get("cache-control"), Some("no-store"));
    assert_eq!(seen.get("authorization"), Some("Basic aGk="));
    assert!(seen.has("via"), "{seen:?}");
    assert!(answer.text().ends_with("hello"), "{answer:?}");

    let origin = Origin::echo();
    let (seen, answer) = forwarded(
        &weir,
        &origin,
        b"POST http://{o}/ HTTP/1.1\r\nHost: {o}\r\nTransfer-Encoding: chunked\r\nConnection: transfer-encoding\r\n\r\n\
          5\r\nhello\r\n0\r\n\r\n",
    );
    assert!(seen.lists("transfer-encoding", "chunked"), "{seen:?}");
    assert!(answer.text().ends_with("hello"), "{answer:?}");

    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: content-length, cache-control, via, date\r\n\
         Cache-Control: private\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\nok",
    );
    let (_, answer) = forwarded(&weir, &origin, b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\n\r\n");
    assert_eq!(
        (answer.head.get("content-length"), answer.head.get("cache-control")),
        (Some("2"), Some("private"))
    );
    assert!(answer.head.has("via") && answer.head.has("date"), "{answer:?}");
}

/// Rule 26: Via is appended in both directions, after what others said.
#[test]
fn rule_26_via() {
    let weir = Weir::start(&[]);
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nVia: 1.1 back\r\nContent-Length: 2\r\n\r\nok");
    let (seen, answer) = forwarded(&weir, &origin, b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\n\r\n");
    assert_eq!(seen.get("via"), Some("1.1 weir"));
    assert_eq!(answer.head.all("via").join(", "), "1.1 back, 1.1 weir");
    let (seen, _) = forwarded(
        &weir,
        &origin,
        b"GET http://{o}/ HTTP/1.0\r\nHost: {o}\r\nVia: 1.0 fred, 1.1 p.test (c)\r\n\r\n",
    );
    assert_eq!(seen.all("via").join(", "), "1.0 fred, 1.1 p.test (c), 1.0 weir");
}

/// Rule 26: the pseudonym is a setting, and so is silence.
#[test]
fn rule_26_via_configured() {
    let origin = Origin::ok();
    let named = Weir::start(&["--via", "edge-7"]);
    let (seen, answer) = forwarded(&named, &origin, b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\n\r\n");
    assert_eq!((seen.get("via"), answer.head.get("via")), (Some("1.1 edge-7"), Some("1.1 edge-7")));
    let off = Weir::start(&["--via", "off"]);
    let (seen, answer) = forwarded(&off, &origin, b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\n\r\n");
    assert!(!seen.has("via") && !answer.head.has("via"), "{seen:?} {answer:?}");
}

/// Rule 26: a request that was here before is a loop.
#[test]
fn rule_26_loops() {
    let (weir, origin) = (Weir::start(&[]), Origin::ok());
    for via in ["1.1 weir", "1.0 weir", "HTTP/1.1 weir", "1.1 other, 1.1 weir (comment)"] {
        let request = format!("GET http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\nVia: {via}\r\n\r\n");
        let answer = weir.connect().ask(origin.fill(request));
        assert!(matches!(answer.status(), 508 | 403), "{via}: {answer:?}");
    }
    assert_eq!(origin.connections(), 0);
    for via in ["1.1 weird", "1.1 a (weir)", "1.1 my-weir"] {
        let request = format!("GET http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\nVia: {via}\r\n\r\n");
        assert_eq!(forwarded(&weir, &origin, request.as_bytes()).1.status(), 200, "{via}");
    }
    // Even where its own address is explicitly allowed, it does not talk to itself for long.
    let own = weir.address();
    let answer = weir.connect().ask(format!("GET http://{own}/ HTTP/1.1\r\nHost: {own}\r\n\r\n"));
    assert!(matches!(answer.status(), 508 | 403 | 400), "{answer:?}");
}

/// Rule 26: the client's address is told only where that is asked for.
#[test]
fn rule_26_forwarded() {
    let origin = Origin::ok();
    let request = b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n";
    for (mode, wanted) in
        [("off", "192.0.2.7"), ("append", "192.0.2.7, 127.0.0.1"), ("replace", "127.0.0.1"), ("remove", "")]
    {
        let weir = Weir::start(&["--forwarded", mode]);
        let (seen, _) = forwarded(&weir, &origin, request);
        assert_eq!(seen.all("x-forwarded-for").join(", "), wanted, "{mode}: {seen:?}");
    }
    // A value with an open quote would hide what is appended.
    let weir = Weir::start(&["--forwarded", "append"]);
    for (sent, wanted) in [
        ("for=192.0.2.7;by=\"a\\\"b\"", "for=192.0.2.7;by=\"a\\\"b\", for=127.0.0.1"),
        ("for=\"x", "for=127.0.0.1"),
        ("for=\"x\\\"", "for=127.0.0.1"),
        // What proxies have appended to such a value stays.
        ("for=\"x, for=192.0.2.9;by=\"a,b\", for=_x", "for=192.0.2.9;by=\"a,b\", for=_x, for=127.0.0.1"),
    ] {
        let request = format!("GET http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\nForwarded: {sent}\r\n\r\n");
        let (seen, _) = forwarded(&weir, &origin, request.as_bytes());
        assert_eq!(seen.get("forwarded"), Some(wanted), "{sent}");
    }
    // X-Forwarded-For has no quoted strings.
    let request = b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nX-Forwarded-For: \", 192.0.2.9\r\n\r\n";
    let (seen, _) = forwarded(&weir, &origin, request);
    assert_eq!(seen.get("x-forwarded-for"), Some("\", 192.0.2.9, 127.0.0.1"));
    let (seen, _) = forwarded(&Weir::start(&[]), &origin, b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\n\r\n");
    assert!(!seen.has("x-forwarded-for") && !seen.has("forwarded"), "{seen:?}");
}

/// Rule 27: values keep their bytes, lines their order, and cookies their lines.
#[test]
fn rule_27_values_and_order() {
    let weir = Weir::start(&[]);
    let origin = Origin::answering(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Obs: caf\xe9 \xff\r\nSet-Cookie: a=1; Expires=Thu, 01 Jan 2026\r\n\
          X-List: one\r\nSet-Cookie: b=2\r\nx-list:  two \t\r\nX-Empty:\r\n\r\nok",
    );
    let (seen, answer) = forwarded(
        &weir,
        &origin,
        b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nX-Obs: \xe4\xff\x80\r\nX-List: b\r\nCookie: x=1\r\nX-List: a\r\n\
          X-Pad: \t padded \t \r\nX-Empty:\r\n\r\n",
    );
    assert_eq!(seen.get("x-obs"), Some("\u{e4}\u{ff}\u{80}"));
    assert_eq!(seen.all("x-list").join(", "), "b, a");
    assert!(common::contains(&seen.raw, b"X-Pad: padded\r\n"), "{seen:?}");
    assert_eq!(seen.get("x-empty"), Some(""));
    assert_eq!(answer.head.get("x-obs"), Some("caf\u{e9} \u{ff}"));
    assert_eq!(answer.head.all("set-cookie"), ["a=1; Expires=Thu, 01 Jan 2026", "b=2"]);
    assert_eq!(answer.head.all("x-list").join(", "), "one, two");
    assert_eq!(answer.head.get("x-empty"), Some(""));
}

/// Rule 28: a response without Date gets one, a Date stays.
#[test]
fn rule_28_date() {
    let weir = Weir::start(&[]);
    let (_, answer) = forwarded(&weir, &Origin::ok(), b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\n\r\n");
    let date = answer.head.get("date").unwrap_or_default().to_owned();
    // Fri, 21 Nov 2025 23:09:00 GMT (RFC 9110 5.6.7)
    let marks: Vec<_> =
        [3, 4, 7, 11, 16, 19, 22, 25].iter().map(|&at| date.as_bytes().get(at).copied()).collect();
    assert_eq!(marks, b",    :: ".map(Some), "{date:?}");
    assert!(date.len() == 29 && date.ends_with(" GMT"), "{date:?}");
    let dated = Origin::answering(
        "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: 2\r\n\r\nok",
    );
    let (_, answer) = forwarded(&weir, &dated, b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\n\r\n");
    assert_eq!(answer.head.get("date"), Some("Thu, 01 Jan 2026 00:00:00 GMT"));
    let refusal = weir.connect().ask("GET http://h.test/ HTTP/1.1\r\n\r\n");
    assert!(refusal.head.has("date"), "{refusal:?}");
}

/// Rule 29: fields are removed and added as configured, after the other rules.
#[test]
fn rule_29_configured_fields() {
    let weir = Weir::start(&[
        "--remove-header",
        "Referer",
        "--remove-header",
        "x-secret",
        "--add-header",
        "X-Site: 7",
        "--remove-response-header",
        "Server",
        "--add-response-header",
        "X-Seen: by weir",
    ]);
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nServer: nosy\r\nContent-Length: 2\r\n\r\nok");
    let (seen, answer) = forwarded(
        &weir,
        &origin,
        b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nReferer: http://a.test/\r\nX-Secret: 1\r\nX-Secret: 2\r\n\r\n",
    );
    assert!(!seen.has("referer") && !seen.has("x-secret"), "{seen:?}");
    assert_eq!(seen.get("x-site"), Some("7"));
    assert!(!answer.head.has("server"), "{answer:?}");
    assert_eq!(answer.head.get("x-seen"), Some("by weir"));
}

/// Rule 49: an added field replaces all received ones of its name, in any case and on all lines, in both directions,
/// with and without a cache; an appended one comes behind them.
#[test]
fn rule_49_added_fields_replace_what_came() {
    let options: &[&str] = &[
        "--add-header=X-User: weir",
        "--add-header=append X-Tag: weir",
        "--add-header=X-Two: a",
        "--add-header=X-Two: b",
        "--add-header=X-Far: weir if elsewhere.test",
        "--add-header=X-Forwarded-For: 192.0.2.1",
        "--forwarded=append",
        "--add-response-header=X-Frame: weir",
        "--add-response-header=append X-Log: weir",
    ];
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\nx-frame: 1\r\nX-FRAME: 2\r\nX-Log: origin\r\n\r\nok",
    );
    let fields = "X-User: admin\r\nx-uSER: root\r\nX-Two: c\r\nX-Tag: mine\r\nx-tag: too\r\nX-Far: near\r\n\
                  X-Forwarded-For: 198.51.100.1\r\nForwarded: for=a\r\n";
    for more in common::built([&[][..], &["--cache"]]) {
        let hits = usize::from(more.contains(&"--cache"));
        let weir = Weir::start(&[options, more].concat());
        let already = origin.heads().len();
        for (method, body) in
            [("GET", ""), ("GET", ""), ("HEAD", ""), ("POST", "Content-Length: 0\r\n"), ("OPTIONS", "")]
        {
            let request = format!("{method} http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\n{fields}{body}\r\n");
            let mut client = weir.connect();
            client.send(origin.fill(request));
            let answer = client.read_response_to(method);
            assert_eq!(answer.status(), 200, "{method}");
            assert_eq!(answer.head.all("x-frame"), ["weir"], "{method}: {answer:?}");
            assert_eq!(answer.head.all("x-log"), ["origin", "weir"], "{method}: {answer:?}");
        }
        let heads = origin.heads().split_off(already);
        assert_eq!(heads.len(), 5 - 2 * hits, "a hit for GET, one for HEAD");
        for seen in heads {
            assert_eq!(seen.all("x-user"), ["weir"], "{seen:?}");
            assert_eq!(seen.all("x-two"), ["a", "b"], "{seen:?}");
            assert_eq!(seen.all("x-tag"), ["mine", "too", "weir"], "{seen:?}");
            assert_eq!(seen.all("x-far"), ["near"], "{seen:?}");
            assert_eq!(seen.all("x-forwarded-for"), ["192.0.2.1"], "{seen:?}");
            assert_eq!(seen.all("forwarded"), ["for=a, for=127.0.0.1"], "{seen:?}");
        }
    }
}

/// Rule 49: the name is removed from trailers, too. An appended field leaves trailers as they are.
#[test]
fn rule_49_added_fields_replace_trailers() {
    let weir = Weir::start(&[
        "--add-header=X-User: weir",
        "--add-header=append X-Tag: weir",
        "--add-response-header=X-Frame: weir",
    ]);
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-FRAME: origin\r\nX-Sum: 1\r\n\r\n",
    );
    let (seen, answer) = forwarded(
        &weir,
        &origin,
        b"POST http://{o}/ HTTP/1.1\r\nHost: {o}\r\nTransfer-Encoding: chunked\r\n\r\n\
          2\r\nhi\r\n0\r\nX-USER: admin\r\nX-Tag: mine\r\n\r\n",
    );
    assert_eq!((seen.all("x-user"), seen.all("x-tag")), (vec!["weir"], vec!["weir"]));
    let received = String::from_utf8_lossy(&origin.received(0)).into_owned();
    assert!(!received.contains("admin") && received.ends_with("X-Tag: mine\r\n\r\n"), "{received:?}");
    assert_eq!(answer.head.all("x-frame"), ["weir"]);
    let trailers: Vec<_> = answer.body.trailers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    assert_eq!(trailers, ["x-sum"]);
}
