//! Bytes beyond ASCII in request targets.

use super::common::{self, Origin, Weir, expect_refused};

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
    for options in crate::common::built([&[][..], &["--cache"], &["--workers", "2"]]) {
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

/// Rule 5: logs have targets percent-encoded, in every format and for every outcome.
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

/// Cache rule 26: the key is the exact target, in which bytes beyond ASCII are written as other clients write them.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn kind_10_cached_answers_have_one_form_of_targets() {
    for options in [&["--cache"][..], &["--cache", "--workers", "2"]] {
        let weir = Weir::start(options);
        let origin = Origin::serve(|conn| {
            while let Some(request) = conn.request()? {
                let body = request.head.start.escape_default().to_string();
                let fields = format!("Cache-Control: max-age=60\r\nContent-Length: {}", body.len());
                conn.send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{body}"))?;
            }
            Ok(())
        });
        // Each target, and whose answer it gets. Escapes that a client has written are not touched.
        let targets: [(&[u8], &[u8]); 5] = [
            (b"/\xc3\xa4", b"/\xc3\xa4"),
            (b"/%C3%A4", b"/\xc3\xa4"),
            (b"/%C3\xa4", b"/\xc3\xa4"),
            (b"/%c3%a4", b"/%c3%a4"),
            (b"/\xe4", b"/\xe4"),
        ];
        for round in 1..=2 {
            for (target, whose) in targets {
                let request = [b"GET http://{o}", target, b" HTTP/1.1\r\nHost: {o}\r\n\r\n"].concat();
                let answer = weir.connect().ask(origin.fill(request));
                let expected = common::bytes::latin1(&[b"GET ", whose, b" HTTP/1.1"].concat());
                assert_eq!(answer.text(), expected.escape_default().to_string(), "round {round}");
            }
            assert_eq!(origin.heads().len(), 3, "round {round}");
        }
        // A change through one spelling invalidates the other.
        let put = b"PUT http://{o}/%C3%A4 HTTP/1.1\r\nHost: {o}\r\nContent-Length: 0\r\n\r\n";
        weir.connect().ask(origin.fill(put));
        let get = b"GET http://{o}/\xc3\xa4 HTTP/1.1\r\nHost: {o}\r\n\r\n";
        weir.connect().ask(origin.fill(get));
        assert_eq!(origin.heads().len(), 5);
    }
}
