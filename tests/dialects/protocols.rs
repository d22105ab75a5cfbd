//! Other protocols on the port, other schemes in the target, and a Host that says nothing.

use super::common::{Answer, FakeDns, Origin, Weir, bytes, expect_refused, forwarded};

/// The first bytes of other protocols, the status of the answer, the word in the log, and what the answer must
/// explain.
const FOREIGN: [(&[u8], u16, &str, &[&str]); 14] = [
    (
        b"\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03\x00\x01\x02\r\n\r\n",
        400,
        "tls_on_plain_port",
        &["TLS", "http://HOST:PORT", "https_proxy"],
    ),
    (b"\x04\x01\x01\xbb\x7f\x00\x00\x01user\x00", 400, "socks4_on_http_port", &["SOCKS4", "HTTP proxy"]),
    (b"\x05\x02\x00\x02", 400, "socks5_on_http_port", &["SOCKS5", "HTTP proxy"]),
    (b"\x05\x01\x00", 400, "socks5_on_http_port", &["SOCKS5", "http://HOST:PORT"]),
    (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
        505,
        "http2_preface",
        &["HTTP/2", "HTTP/1.1"],
    ),
    (b"USER anonymous\r\n", 400, "ftp_on_http_port", &["FTP", "HTTP proxy"]),
    (b"AUTH TLS\r\n", 400, "ftp_on_http_port", &["FTP"]),
    (b"FEAT\r\n", 400, "ftp_on_http_port", &["FTP"]),
    (b"SSH-2.0-OpenSSH_9.6p1 Debian-3\r\n", 400, "ssh_on_http_port", &["SSH", "ProxyCommand"]),
    (b"SSH-2.0-libssh\n", 400, "ssh_on_http_port", &["SSH"]),
    (b"EHLO client.test\r\n", 400, "smtp_on_http_port", &["SMTP"]),
    (
        b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\nGET / HTTP/1.1\r\n\r\n",
        400,
        "proxy_protocol",
        &["PROXY protocol"],
    ),
    (
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x01\x13\x88\x00\x50",
        400,
        "proxy_protocol",
        &["PROXY protocol"],
    ),
    (b"OPTIONS rtsp://a.test/ RTSP/1.0\r\nCSeq: 1\r\n\r\n", 400, "version_foreign", &["RTSP"]),
];

/// Rule 48: each gets one answer that names it, the log has its reason, and the connection ends.
#[test]
fn kind_14_other_protocols_on_the_port_are_named() {
    for options in crate::common::built([&[][..], &["--cache"], &["--workers", "2"], &["--accept-bare-lf"]]) {
        for (hello, status, reason, words) in FOREIGN {
            let (weir, origin) = (Weir::start(options), Origin::ok());
            let shown = bytes::show(hello);
            // At once, in two pieces, byte by byte, and where the next request could be.
            for (size, before) in [(hello.len(), false), (2, false), (1, false), (hello.len(), true)] {
                let mut client = weir.connect();
                if before {
                    assert_eq!(client.ask(origin.get("/")).status(), 200);
                }
                for piece in hello.chunks(size) {
                    client.send_if_open(piece);
                }
                let answer = client.read_response();
                assert_eq!(answer.status(), status, "{shown}: {answer:?}");
                assert!(answer.head.lists("connection", "close"), "{shown}: {answer:?}");
                let proxy_status = answer.head.get("proxy-status").unwrap_or_default();
                assert!(proxy_status.contains(reason), "{shown}: {proxy_status}");
                let text = answer.text();
                assert!(words.iter().all(|word| text.contains(word)), "{shown}: {text}");
                assert!(!text.contains("not valid HTTP"), "{shown}: {text}");
                assert!(client.read_to_end().is_empty(), "{shown}");
            }
            let lines = weir.wait_for_logs(4, |line| line.contains(&format!("reason={reason}")));
            assert!(lines.iter().all(|line| line.contains(&format!(" malformed {status} "))), "{lines:?}");
        }
    }
}

/// Methods that are called like the commands of other protocols are methods like others.
#[test]
fn kind_14_methods_called_like_commands_are_forwarded() {
    let (weir, origin) = (Weir::start(&[]), Origin::ok());
    for method in ["USER", "LIST", "QUIT", "PROXY", "EHLO", "SSH-2.0-x", "PRI"] {
        let request = format!("{method} http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\n\r\n");
        let (seen, answer) = forwarded(&weir, &origin, request.as_bytes());
        assert_eq!((seen.method(), answer.status()), (method, 200));
    }
}

/// Rule 6: `ws://` is `http://`: with an Upgrade it becomes a tunnel, without one it is a request.
#[test]
fn kind_14_websocket_urls_are_http_urls() {
    for options in crate::common::built([&[][..], &["--cache"], &["--workers", "2"], &["--strict-targets"]]) {
        let weir = Weir::start(options);
        for scheme in ["ws", "WS", "http"] {
            let origin = Origin::serve(|conn| {
                let head = conn.head()?;
                if !head.has("upgrade") {
                    return conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                }
                conn.send(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
                )?;
                conn.read_exact(4)?;
                conn.send("pong")
            });
            let mut client = weir.connect();
            client.send(origin.fill(format!(
                "GET {scheme}://{{o}}/chat?a=b HTTP/1.1\r\nHost: elsewhere.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )));
            let head = client.read_head();
            assert_eq!((head.status(), head.get("upgrade")), (101, Some("websocket")), "{scheme}");
            let seen = origin.head();
            assert_eq!(seen.start, "GET /chat?a=b HTTP/1.1");
            assert_eq!(seen.get("host"), Some(origin.address().to_string().as_str()));
            assert!(
                seen.lists("connection", "upgrade") && seen.get("upgrade") == Some("websocket"),
                "{seen:?}"
            );
            client.send("ping");
            assert_eq!(client.read_exact(4), b"pong");
            let plain = format!("GET {scheme}://{{o}} HTTP/1.1\r\nHost: {{o}}\r\n\r\n");
            assert_eq!(weir.connect().ask(origin.fill(plain)).text(), "ok", "{scheme}");
            assert_eq!(origin.heads()[1].start, "GET / HTTP/1.1");
        }
    }
}

/// Rule 6: a ws URL is refused for the same reasons as an http URL.
#[test]
fn kind_14_websocket_urls_are_judged_like_http_urls() {
    let dns = FakeDns::start(&[("free.test", Answer::addresses(&["127.0.0.1"]))]);
    let weir = Weir::start(&["--block", "blocked.test", "--dns", &dns.address()]);
    let ask = |url: &str, host: &str| {
        weir.connect().ask(format!("GET {url} HTTP/1.1\r\nHost: {host}\r\n\r\n")).status()
    };
    assert_eq!(ask("ws://blocked.test/", "free.test"), 403);
    assert_eq!(ask("WS://Blocked.Test.:80/", "free.test"), 403);
    assert_eq!(ask("ws://free.test:25/", "free.test:25"), 403);
    assert_eq!(ask("ws://no.test/", "no.test"), 502);
    for bad in [
        "ws://",
        "ws:///chat",
        "ws://u:p@{o}/",
        "ws://{o}/#x",
        "ws://a b/",
        "ws://a:0/",
        "ws:{o}/",
        "ws:/{o}/",
    ] {
        expect_refused(&weir, &[400], &[format!("GET {bad} HTTP/1.1\r\nHost: {{o}}\r\n\r\n").as_bytes()]);
    }
}

/// Rule 6: an encrypted scheme without CONNECT is never forwarded in plain text; the answer says what to configure.
#[test]
fn kind_14_encrypted_schemes_say_what_to_configure() {
    let (weir, origin) = (Weir::start(&[]), Origin::ok());
    for (url, reason, words) in [
        ("https://{o}/", "https_without_connect", ["https://", "CONNECT", "https_proxy"]),
        ("HTTPS://{o}", "https_without_connect", ["https://", "CONNECT", "https_proxy"]),
        ("https://{o}/a?b=http://c", "https_without_connect", ["https://", "CONNECT", "https_proxy"]),
        ("wss://{o}/chat", "wss_without_connect", ["wss://", "CONNECT", "https_proxy"]),
        ("ftp://{o}/file", "ftp_url", ["ftp://", "FTP", "no_proxy"]),
        ("FTP://{o}/", "ftp_url", ["ftp://", "FTP", "no_proxy"]),
        ("gopher://{o}/", "scheme_unsupported", ["http://", "ws://", "CONNECT"]),
    ] {
        for method in ["GET", "POST", "HEAD", "OPTIONS"] {
            for version in ["1.0", "1.1"] {
                for accept in ["", "Accept: text/html\r\nUser-Agent: Mozilla/5.0\r\n"] {
                    let mut client = weir.connect();
                    let framing = if method == "POST" { "Content-Length: 2\r\n" } else { "" };
                    let body = if method == "POST" { "ab" } else { "" };
                    client.send(origin.fill(format!(
                        "{method} {url} HTTP/{version}\r\nHost: {{o}}\r\n{accept}{framing}\r\n{body}"
                    )));
                    let answer = client.read_response_to(method);
                    assert_eq!(answer.status(), 501, "{method} {url}: {answer:?}");
                    let proxy_status = answer.head.get("proxy-status").unwrap_or_default();
                    assert!(proxy_status.contains(reason), "{url}: {proxy_status}");
                    let text = answer.text();
                    let told = method == "HEAD" || words.iter().all(|word| text.contains(word));
                    assert!(told && !text.contains("not valid HTTP"), "{url}: {text}");
                }
            }
        }
        weir.wait_for_log(|line| {
            line.contains(" malformed 501 ") && line.contains(&format!("reason={reason}"))
        });
    }
    assert_eq!(origin.connections(), 0, "something was forwarded in plain text");
}

/// Rule 8: an empty Host beside a target that has an authority says nothing, and is written anew.
#[test]
fn kind_14_an_empty_host_beside_an_absolute_target_is_ignored() {
    let (weir, origin) = (Weir::start(&["--block", "blocked.test"]), Origin::ok());
    let authority = origin.address().to_string();
    for empty in ["Host:", "Host: ", "host:\t \t", "HOST:"] {
        for version in ["1.0", "1.1"] {
            for front in ["GET http://{o}/", "OPTIONS http://{o}", "GET ws://{o}/", "POST http://{o}/"] {
                let request = format!("{front} HTTP/{version}\r\n{empty}\r\n\r\n");
                let (seen, answer) = forwarded(&weir, &origin, request.as_bytes());
                assert_eq!(
                    (seen.all("host"), answer.status()),
                    (vec![authority.as_str()], 200),
                    "{request:?}"
                );
            }
        }
        let mut client = weir.connect();
        client.send(origin.fill(format!("CONNECT {{o}} HTTP/1.1\r\n{empty}\r\n\r\n")));
        assert_eq!(client.read_response_to("CONNECT").status(), 200, "{empty:?}");
        let answer = weir.connect().ask(format!("GET http://blocked.test/ HTTP/1.1\r\n{empty}\r\n\r\n"));
        assert_eq!(answer.status(), 403);
        // Where it is all there is, or there are two, it is none.
        expect_refused(
            &weir,
            &[400],
            &[
                format!("GET / HTTP/1.1\r\n{empty}\r\n\r\n").as_bytes(),
                format!("GET http://{{o}}/ HTTP/1.1\r\n{empty}\r\n{empty}\r\n\r\n").as_bytes(),
                format!("GET http://{{o}}/ HTTP/1.1\r\n{empty}\r\nHost: {{o}}\r\n\r\n").as_bytes(),
            ],
        );
    }
}
