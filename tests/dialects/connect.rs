//! CONNECT with fields that announce a body.

use super::common::{Answer, FakeDns, Origin, Scratch, Weir, expect_refused};

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
    for options in crate::common::built([&[][..], &["--cache"], &["--workers", "2"], &["--no-splice"]]) {
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
