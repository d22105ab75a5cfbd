//! Request line and target: rules 1 to 13 of the rule book, raw bytes on both sides.

mod common;

use common::{Answer, FakeDns, Origin, Weir, expect_refused, forwarded};

fn line(request_line: &str) -> Vec<u8> {
    format!("{request_line}\r\nHost: {{o}}\r\n\r\n").into_bytes()
}

#[track_caller]
fn refuse_lines(weir: &Weir, statuses: &[u16], lines: &[&str]) {
    let requests: Vec<_> = lines.iter().map(|text| line(text)).collect();
    expect_refused(weir, statuses, &requests.iter().map(Vec::as_slice).collect::<Vec<_>>());
}

/// Rule 1: methods are tokens, case-sensitive, and unknown ones are forwarded.
#[test]
fn rule_01_methods_are_tokens() {
    let weir = Weir::start(&[]);
    let origin = Origin::ok();
    for method in ["GET", "get", "FROBNICATE", "M-SEARCH", "!#$%&'*+-.^_`|~09az"] {
        let (seen, answer) = forwarded(&weir, &origin, &line(&format!("{method} http://{{o}}/ HTTP/1.1")));
        assert_eq!((seen.start.as_str(), answer.status()), (format!("{method} / HTTP/1.1").as_str(), 200));
    }
    refuse_lines(
        &weir,
        &[400],
        &[
            "G(T http://{o}/ HTTP/1.1",
            "G@T http://{o}/ HTTP/1.1",
            "\"GET\" http://{o}/ HTTP/1.1",
            "GET: http://{o}/ HTTP/1.1",
            "G\x01T http://{o}/ HTTP/1.1",
            "GÄT http://{o}/ HTTP/1.1",
            "{} http://{o}/ HTTP/1.1",
        ],
    );
}

/// Rule 1: field names are tokens.
#[test]
fn rule_01_field_names_are_tokens() {
    let weir = Weir::start(&[]);
    expect_refused(
        &weir,
        &[400],
        &[
            b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nBad Name: x\r\n\r\n",
            b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nBad(Name: x\r\n\r\n",
            b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nN\xe4me: x\r\n\r\n",
            b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nno colon\r\n\r\n",
            b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\n\"x\": x\r\n\r\n",
        ],
    );
}

/// Rule 2: exactly one SP between the parts.
#[test]
fn rule_02_one_blank_between_parts() {
    let weir = Weir::start(&[]);
    refuse_lines(
        &weir,
        &[400],
        &[
            "GET\thttp://{o}/ HTTP/1.1",
            "GET http://{o}/\tHTTP/1.1",
            "GET  http://{o}/ HTTP/1.1",
            "GET http://{o}/  HTTP/1.1",
            " GET http://{o}/ HTTP/1.1",
            "GET http://{o}/ HTTP/1.1 ",
            "GET http://{o}/ HTTP/1.1 x",
            "GET http://{o}/ a HTTP/1.1",
        ],
    );
    refuse_lines(&weir, &[400, 505], &["GET http://{o}/", "GET http://{o}/ ", "GET"]);
}

/// Rule 2: a few empty lines before the request line are skipped, many are not.
#[test]
fn rule_02_empty_lines_before_the_request() {
    let weir = Weir::start(&[]);
    let origin = Origin::ok();
    let request = b"\r\n\r\nGET http://{o}/ HTTP/1.1\r\nHost: {o}\r\n\r\n";
    assert_eq!(forwarded(&weir, &origin, request).1.status(), 200);
    let many = ["\r\n".repeat(200).as_bytes(), b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\n\r\n"].concat();
    expect_refused(&weir, &[400], &[&many]);
}

/// Rule 3: 1.0 and 1.1 are spoken, a higher minor version is taken as 1.1.
#[test]
fn rule_03_versions_spoken() {
    let weir = Weir::start(&[]);
    let origin = Origin::ok();
    for version in ["1.0", "1.1", "1.2", "1.9"] {
        let (seen, answer) = forwarded(&weir, &origin, &line(&format!("GET http://{{o}}/ HTTP/{version}")));
        assert_eq!(seen.start, "GET / HTTP/1.1", "asked as {version}");
        assert_eq!(answer.head.start, "HTTP/1.1 200 OK", "asked as {version}");
    }
}

/// Rule 3: everything else is refused.
#[test]
fn rule_03_versions_refused() {
    let weir = Weir::start(&[]);
    refuse_lines(
        &weir,
        &[505, 400],
        &[
            "GET http://{o}/ HTTP/2.0",
            "GET http://{o}/ HTTP/0.9",
            "GET http://{o}/ HTTP/3",
            "GET http://{o}/ HTTP/11.1",
            "PRI * HTTP/2.0",
        ],
    );
    expect_refused(&weir, &[505, 400], &[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]);
    refuse_lines(
        &weir,
        &[400, 505],
        &[
            "GET http://{o}/ http/1.1",
            "GET http://{o}/ HTTP/1.1x",
            "GET http://{o}/ HTTP/1.",
            "GET http://{o}/ HTTP/1",
            "GET http://{o}/ HTTP/1.10",
            "GET http://{o}/ HTTP/+1.1",
            "GET http://{o}/ HTCPCP/1.0",
        ],
    );
}

/// Rule 4: lines end in CRLF; bare LF, bare CR, NUL and other control characters are refused.
#[test]
fn rule_04_control_characters_refused() {
    let weir = Weir::start(&[]);
    expect_refused(
        &weir,
        &[400],
        &[
            b"GET http://{o}/ HTTP/1.1\nHost: {o}\n\n",
            b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\nX: y\r\n\r\n",
            b"GET http://{o}/ HTTP/1.1\nHost: {o}\r\n\r\n",
            b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nX: y\n\r\n",
            b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nX: a\rb\r\n\r\n",
            b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nX: a\r\r\n\r\n",
            b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\rX: a\r\n\r\n",
            b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nX: a\0b\r\n\r\n",
            b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nX: a\x01b\r\n\r\n",
            b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nX: a\x7fb\r\n\r\n",
            b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nX\0: b\r\n\r\n",
            b"GET http://{o}/\0 HTTP/1.1\r\nHost: {o}\r\n\r\n",
            b"GET http://{o}/\x0b HTTP/1.1\r\nHost: {o}\r\n\r\n",
        ],
    );
}

/// Rule 4: as an option a bare LF ends a line; forwarded heads have CRLF.
#[test]
fn rule_04_bare_lf_as_an_option() {
    let (weir, origin) = (Weir::start(&["--accept-bare-lf"]), Origin::ok());
    let (seen, answer) = forwarded(&weir, &origin, b"GET http://{o}/ HTTP/1.1\nHost: {o}\nX: y\r\nZ: a\n\n");
    assert_eq!((answer.status(), seen.get("x"), seen.get("z")), (200, Some("y"), Some("a")));
}

/// Rule 4: a tab inside a value is no control character in that sense (RFC 9110 5.5).
#[test]
fn rule_04_tab_in_a_value_passes() {
    let (weir, origin) = (Weir::start(&[]), Origin::ok());
    let (seen, _) = forwarded(&weir, &origin, b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nX: a\tb\r\n\r\n");
    assert_eq!(seen.get("x"), Some("a\tb"));
}

/// Rule 5: path and query are forwarded unchanged; missing parts are added.
#[test]
fn rule_05_targets_keep_their_bytes() {
    let (weir, origin) = (Weir::start(&[]), Origin::ok());
    for (asked, wanted) in [
        ("GET http://{o}/", "/"),
        ("GET HTTP://{o}/a", "/a"),
        ("GET hTTp://{o}/B", "/B"),
        ("GET http://{o}", "/"),
        ("GET http://{o}?q=1", "/?q=1"),
        ("OPTIONS http://{o}", "*"),
        ("OPTIONS http://{o}/", "/"),
        ("GET http://{o}//a//b", "//a//b"),
        ("GET http://{o}/a/../b/./c", "/a/../b/./c"),
        ("GET http://{o}/%7e%2F%zz;x=1?a=b?c/d&e=%00", "/%7e%2F%zz;x=1?a=b?c/d&e=%00"),
        ("GET http://{o}/?http://x@y:z/", "/?http://x@y:z/"),
        ("GET http://{o}/a\"<>\\^{|}`b", "/a\"<>\\^{|}`b"),
    ] {
        let (seen, answer) = forwarded(&weir, &origin, &line(&format!("{asked} HTTP/1.1")));
        assert_eq!((seen.target(), answer.status()), (wanted, 200), "{asked}");
    }
}

/// Rule 5: blanks, control characters and fragments are refused; strictly, so is what RFC 3986 lacks.
#[test]
fn rule_05_targets_refused() {
    let weir = Weir::start(&[]);
    expect_refused(
        &weir,
        &[400],
        &[
            b"GET http://{o}/a#b HTTP/1.1\r\nHost: {o}\r\n\r\n",
            b"GET http://{o}#b HTTP/1.1\r\nHost: {o}\r\n\r\n",
            b"GET http://{o}/a?b#c HTTP/1.1\r\nHost: {o}\r\n\r\n",
            b"GET /a#b HTTP/1.1\r\nHost: {o}\r\n\r\n",
            b"GET http://{o}/\x7f HTTP/1.1\r\nHost: {o}\r\n\r\n",
        ],
    );
    let strict = Weir::start(&["--strict-targets"]);
    for byte in "\"<>\\^{|}`".chars() {
        expect_refused(&strict, &[400], &[&line(&format!("GET http://{{o}}/a{byte}b HTTP/1.1"))]);
    }
    for byte in [0x80, 0x9f, 0xc3, 0xff] {
        expect_refused(
            &strict,
            &[400],
            &[&[b"GET http://{o}/", &[byte][..], b" HTTP/1.1\r\nHost: {o}\r\n\r\n"].concat()],
        );
    }
    assert_eq!(forwarded(&strict, &Origin::ok(), &line("GET http://{o}/a%20b HTTP/1.1")).1.status(), 200);
}

/// Rule 6: other schemes are never forwarded in plain text, and the answer says why.
#[test]
fn rule_06_other_schemes() {
    let weir = Weir::start(&[]);
    refuse_lines(
        &weir,
        &[501, 400],
        &[
            "GET https://{o}/ HTTP/1.1",
            "GET HTTPS://{o}/ HTTP/1.1",
            "GET ftp://{o}/ HTTP/1.1",
            "GET wss://{o}/ HTTP/1.1",
            "GET file:///etc/passwd HTTP/1.1",
            "GET httpx://{o}/ HTTP/1.1",
            "GET http:{o}/ HTTP/1.1",
            "GET http:/{o}/ HTTP/1.1",
        ],
    );
    let answer = weir.connect().ask("GET https://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n");
    assert!(answer.text().contains("CONNECT") || answer.text().contains("https"), "{answer:?}");
}

/// Rule 7: userinfo is refused, and appears neither in the answer nor in the log.
#[test]
fn rule_07_userinfo() {
    let weir = Weir::start(&[]);
    refuse_lines(
        &weir,
        &[400],
        &[
            "GET http://user@{o}/ HTTP/1.1",
            "GET http://@{o}/ HTTP/1.1",
            "GET http://user:hunter2@{o}/path HTTP/1.1",
            "GET http://127.0.0.1:1@{o}/ HTTP/1.1",
        ],
    );
    let answer = weir.connect().ask("GET http://user:hunter2@h.test/path HTTP/1.1\r\nHost: h.test\r\n\r\n");
    assert!(
        !common::contains(&answer.head.raw, b"hunter2") && !answer.text().contains("hunter2"),
        "{answer:?}"
    );
    let lines = weir.wait_for_logs(5, |line| line.contains("400"));
    assert!(!lines.concat().contains("hunter2"), "{lines:?}");
}

/// Rule 8: in a 1.1 request Host is there, once, and valid.
#[test]
fn rule_08_host_is_needed_once_and_valid() {
    let weir = Weir::start(&[]);
    expect_refused(
        &weir,
        &[400],
        &[
            b"GET http://{o}/ HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nHost: {o}\r\n\r\n",
            b"GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nhost: other.test\r\n\r\n",
            b"GET http://{o}/ HTTP/1.1\r\nHost: a b\r\n\r\n",
            b"GET http://{o}/ HTTP/1.1\r\nHost: a/b\r\n\r\n",
            b"GET http://{o}/ HTTP/1.1\r\nHost: user@{o}\r\n\r\n",
            b"GET http://{o}/ HTTP/1.1\r\nHost: {o}, {o}\r\n\r\n",
            b"GET http://{o}/ HTTP/1.1\r\nHost: h.test:99999\r\n\r\n",
            b"GET http://{o}/ HTTP/1.1\r\nHost: h..test\r\n\r\n",
            b"GET http://{o}/ HTTP/1.1\r\nHost: http://{o}/\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: {o}/\r\n\r\n",
            b"GET http://{o}/ HTTP/1.1\r\nHost: [::1\r\n\r\n",
        ],
    );
}

/// Rule 8: the target's authority replaces a Host that differs or is missing from a 1.0 request.
#[test]
fn rule_08_target_replaces_host() {
    let (weir, origin) = (Weir::start(&["--block", "127.0.0.2"]), Origin::ok());
    let authority = origin.address().to_string();
    let (seen, _) = forwarded(&weir, &origin, b"GET http://{o}/ HTTP/1.1\r\nHost: other.test\r\n\r\n");
    assert_eq!(seen.get("host"), Some(authority.as_str()));
    let (seen, _) = forwarded(&weir, &origin, b"GET http://{o}/ HTTP/1.0\r\n\r\n");
    assert_eq!(seen.get("host"), Some(authority.as_str()));
    // The refusal list sees the target, not the field.
    let (_, answer) = forwarded(&weir, &origin, b"GET http://{o}/ HTTP/1.1\r\nHost: 127.0.0.2\r\n\r\n");
    assert_eq!(answer.status(), 200);
    let answer = weir.connect().ask(origin.fill("GET http://127.0.0.2:{p}/ HTTP/1.1\r\nHost: {o}\r\n\r\n"));
    assert_eq!(answer.status(), 403);
}

/// Rule 9: ports are decimal, 1 to 65535; an empty one means the scheme's.
#[test]
fn rule_09_ports() {
    let weir = Weir::start(&[]);
    let bad = ["0", "65536", "4294967739", "+80", "0x50", "-1", "8a", "80:80", "99999999999999999999", "%38"];
    for port in bad {
        expect_refused(
            &weir,
            &[400],
            &[
                &line(&format!("GET http://127.0.0.1:{port}/ HTTP/1.1")),
                format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n").as_bytes(),
                &line(&format!("CONNECT 127.0.0.1:{port} HTTP/1.1")),
            ],
        );
    }
    // Nothing listens on port 80 there: 502 says that the empty port was understood.
    let answer = weir.connect().ask("GET http://127.77.66.55:/ HTTP/1.1\r\nHost: 127.77.66.55:\r\n\r\n");
    assert_eq!(answer.status(), 502);
    let origin = Origin::ok();
    let padded = format!("GET http://127.0.0.1:0{}/ HTTP/1.1\r\nHost: {{o}}\r\n\r\n", origin.port());
    let answer = weir.connect().ask(origin.fill(padded));
    assert!(matches!(answer.status(), 200 | 400), "a leading zero is decimal or refused: {answer:?}");
}

/// Rule 10: an invalid host is refused before a look-up or dialling.
#[test]
fn rule_10_hosts_refused() {
    let dns = FakeDns::start(&[]);
    let weir = Weir::start(&["--dns", &dns.address()]);
    let long_label = "a".repeat(64);
    let long_name = format!("{}.test", ["a"; 125].join("."));
    for host in [
        "[::1%25eth0]",
        "[fe80::1%eth0]",
        "[::1",
        "::1",
        "[1::2::3]",
        "[127.0.0.1]",
        "[::1]x",
        "[]",
        "a..test",
        ".test",
        "a.test..",
        ".",
        "a%2etest",
        "a%00.test",
        "a\\b.test",
        "a_b!.test",
        &format!("{long_label}.test"),
        &long_name,
        "",
    ] {
        expect_refused(
            &weir,
            &[400],
            &[
                format!("GET http://{host}:8000/ HTTP/1.1\r\nHost: h.test\r\n\r\n").as_bytes(),
                format!("CONNECT {host}:8000 HTTP/1.1\r\nHost: h.test\r\n\r\n").as_bytes(),
            ],
        );
    }
    expect_refused(&weir, &[400], &[b"GET http://a\0b.test/ HTTP/1.1\r\nHost: h.test\r\n\r\n"]);
    assert_eq!(dns.queries(), [], "a refused host was resolved");
}

/// Rule 10: the form that is judged is the form that is resolved and dialled; case and one trailing dot do not matter.
#[test]
fn rule_10_one_form_for_judging_and_dialling() {
    let dns = FakeDns::start(&[
        ("origin.test", Answer::addresses(&["127.0.0.1"])),
        ("blocked.test", Answer::addresses(&["127.0.0.1"])),
    ]);
    let weir = Weir::start(&["--dns", &dns.address(), "--block", "blocked.test"]);
    let origin = Origin::ok();
    for host in ["origin.test", "ORIGIN.Test", "origin.test."] {
        let request = format!("GET http://{host}:{{p}}/ HTTP/1.1\r\nHost: {host}:{{p}}\r\n\r\n");
        assert_eq!(forwarded(&weir, &origin, request.as_bytes()).1.status(), 200, "{host}");
    }
    assert!(dns.queries().iter().all(|query| query.name == "origin.test"), "{:?}", dns.queries());
    for host in ["blocked.test", "BLOCKED.test", "blocked.test.", "Blocked.TEST."] {
        let answer = weir.connect().ask(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(answer.status(), 403, "{host}");
        let answer = weir.connect().ask(format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(answer.status(), 403, "{host}");
    }
}

/// Rule 11: CONNECT takes an authority with a port and nothing else.
#[test]
fn rule_11_connect_form() {
    let weir = Weir::start(&[]);
    refuse_lines(
        &weir,
        &[400],
        &[
            "CONNECT http://{o}/ HTTP/1.1",
            "CONNECT http://{o} HTTP/1.1",
            "CONNECT {o}/ HTTP/1.1",
            "CONNECT {o}/path HTTP/1.1",
            "CONNECT {o}?q HTTP/1.1",
            "CONNECT 127.0.0.1 HTTP/1.1",
            "CONNECT 127.0.0.1: HTTP/1.1",
            "CONNECT user@{o} HTTP/1.1",
            "CONNECT user:pw@{o} HTTP/1.1",
            "CONNECT / HTTP/1.1",
            "CONNECT * HTTP/1.1",
            "CONNECT :443 HTTP/1.1",
        ],
    );
}

/// Rule 11: bytes that come with the head are the first of the tunnel.
#[test]
fn rule_11_early_bytes_reach_the_origin_in_order() {
    let weir = Weir::start(&[]);
    let origin = Origin::serve(|conn| {
        conn.read_until(b"third")?;
        conn.send("answer")
    });
    let mut client = weir.connect();
    client.send(origin.fill("CONNECT {o} HTTP/1.1\r\nHost: {o}\r\n\r\nfirst"));
    client.send("second");
    assert_eq!(client.read_response_to("CONNECT").status(), 200);
    client.send("third");
    assert_eq!(client.read_exact(6), b"answer");
    assert_eq!(origin.received(0), b"firstsecondthird");
}

/// Rule 11: after a refused CONNECT nothing that follows is read as a request.
#[test]
fn rule_11_refused_connect_closes() {
    let weir = Weir::start(&["--block", "blocked.test"]);
    expect_refused(&weir, &[403], &[b"CONNECT blocked.test:443 HTTP/1.1\r\nHost: blocked.test\r\n\r\n"]);
}

/// Rule 12: `OPTIONS` and `TRACE` at their last hop are answered here.
#[test]
fn rule_12_last_hop_is_answered_here() {
    let (weir, origin) = (Weir::start(&[]), Origin::ok());
    for request in [
        "OPTIONS * HTTP/1.1\r\nHost: {o}\r\nMax-Forwards: 0\r\n\r\n",
        "OPTIONS http://{o} HTTP/1.1\r\nHost: {o}\r\nMax-Forwards: 0\r\n\r\n",
        "OPTIONS http://{o}/ HTTP/1.1\r\nHost: {o}\r\nMax-Forwards: 0\r\n\r\n",
    ] {
        let answer = weir.connect().ask(origin.fill(request));
        assert!(matches!(answer.status(), 200 | 204), "{request}: {answer:?}");
    }
    let answer = weir.connect().ask(origin.fill(
        "TRACE http://{o}/x HTTP/1.1\r\nHost: {o}\r\nMax-Forwards: 0\r\nX-Kept: yes\r\nCookie: c=hunter2\r\n\
         Authorization: Basic hunter2\r\nProxy-Authorization: Basic hunter2\r\n\r\n",
    ));
    assert_eq!((answer.status(), answer.head.get("content-type")), (200, Some("message/http")));
    assert!(answer.text().starts_with("TRACE ") && answer.text().contains("X-Kept: yes"), "{answer:?}");
    assert!(!answer.text().contains("hunter2"), "{answer:?}");
    assert_eq!(origin.connections(), 0);
}

/// Rule 12: Max-Forwards is decremented for both, and for nothing else.
#[test]
fn rule_12_max_forwards_is_decremented() {
    let (weir, origin) = (Weir::start(&[]), Origin::ok());
    for (method, asked, wanted) in [
        ("OPTIONS", "5", "4"),
        ("TRACE", "1", "0"),
        ("GET", "5", "5"),
        ("POST", "0", "0"),
        ("TRACE", "010", "9"),
    ] {
        let request = format!(
            "{method} http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\nMax-Forwards: {asked}\r\n{}\r\n",
            if method == "POST" { "Content-Length: 0\r\n" } else { "" }
        );
        let (seen, _) = forwarded(&weir, &origin, request.as_bytes());
        assert_eq!(seen.get("max-forwards"), Some(wanted), "{method} {asked}");
    }
    for value in ["x", "-1", "1 2", "", "1, 2"] {
        for target in ["http://{o}/", "*"] {
            let request =
                format!("OPTIONS {target} HTTP/1.1\r\nHost: {{o}}\r\nMax-Forwards: {value}\r\n\r\n");
            let answer = weir.connect().ask(origin.fill(request));
            assert_eq!(answer.status(), 400, "{target} Max-Forwards: {value:?}");
        }
    }
}

/// Rule 13: target, head and number of fields have limits, each with its own status or reason.
#[test]
fn rule_13_limits() {
    let (weir, origin) = (Weir::start(&[]), Origin::ok());
    let request = |path: usize, fields: usize, value: usize| {
        let path = "p".repeat(path);
        let fields: String = (0..fields).map(|i| format!("X-{i}: {}\r\n", "v".repeat(value))).collect();
        format!("GET http://{{o}}/{path} HTTP/1.1\r\nHost: {{o}}\r\n{fields}\r\n")
    };
    for fits in [request(15_000, 10, 10), request(10, 190, 10), request(10, 28, 1000), request(10, 1, 30_000)]
    {
        assert_eq!(forwarded(&weir, &origin, fits.as_bytes()).1.status(), 200);
    }
    expect_refused(&weir, &[414], &[request(16_500, 0, 0).as_bytes(), request(31_000, 0, 0).as_bytes()]);
    let too_much = [request(10, 40, 1000), request(10, 1, 33_000), request(10, 201, 1), request(10, 2000, 1)];
    for big in &too_much {
        expect_refused(&weir, &[431], &[big.as_bytes()]);
    }
    let reason = |request: &str| {
        let mut client = weir.connect();
        client.send(origin.fill(request));
        client.read_response().head.get("proxy-status").map(str::to_owned)
    };
    let (bytes, fields) = (reason(&too_much[0]), reason(&too_much[2]));
    assert!(
        bytes.is_some() && bytes != fields,
        "size and number of fields have a reason each: {bytes:?} {fields:?}"
    );
}

/// Rule 13: a head that never ends is refused at the limit, not at its end.
#[test]
fn rule_13_endless_head() {
    let weir = Weir::start(&[]);
    let mut client = weir.connect();
    client.send("GET http://h.test/ HTTP/1.1\r\nHost: h.test\r\n");
    let block = "X-Filler: 0123456789\r\n".repeat(100);
    for _ in 0..40 {
        client.send_if_open(&block);
    }
    assert_eq!(client.read_response().status(), 431);
    client.expect_closed();
    let mut client = weir.connect();
    client.send("GET http://h.test/");
    for _ in 0..40 {
        client.send_if_open("a".repeat(1000));
    }
    assert_eq!(client.read_response().status(), 414);
}
