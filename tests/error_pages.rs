//! The answers to refused clients: pages and texts, those of an administrator among them, and the reason phrase of
//! CONNECT.

mod common;
mod shell;

use common::weir::finish;
use common::{Answer, FakeDns, Origin, Response, Scratch, Weir, eventually, run};
use rustix::process::Signal;
use std::process::Command;

const HTML: &str = "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n";

/// Asks for a URL, with these fields.
#[track_caller]
fn get(weir: &Weir, url: &str, fields: &str) -> Response {
    let host = url.trim_start_matches("http://").split(['/', '?']).next().unwrap_or("").to_owned();
    let host = host.rsplit('@').next().unwrap_or("");
    weir.connect().ask(format!("GET {url} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"))
}

#[track_caller]
fn expect_parts(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}

/// The parts that every refusal has, whatever its page (rule 39).
#[track_caller]
fn expect_rule_39(answer: &Response) {
    let head = &answer.head;
    assert_eq!(head.get("content-length"), Some(answer.body.bytes.len().to_string().as_str()), "{answer:?}");
    assert_eq!(head.get("cache-control"), Some("no-store"), "{answer:?}");
    assert_eq!(head.get("x-content-type-options"), Some("nosniff"), "{answer:?}");
    assert!(head.get("proxy-status").is_some_and(|value| value.starts_with("weir; error=")), "{answer:?}");
    let html = head.get("content-type").is_some_and(|value| value.starts_with("text/html"));
    let policy = head.get("content-security-policy").unwrap_or_default();
    assert_eq!(policy.starts_with("default-src 'none'"), html, "{answer:?}");
    assert!(!policy.contains("script"), "{answer:?}");
}

/// Host, URL, time, client, the rule with its file, line and text, and the contact: for people and for tools.
#[test]
fn kind_26_pages_name_what_was_asked_for_and_by_which_rule() {
    let scratch = Scratch::new();
    let list = scratch
        .file("list.txt", "# ads\n*.Ads.test\n10.0.0.0/8:80\n0.0.0.0 one.test two.test\n||three.test^\n");
    let contact = "help <desk> & \"co\", ext. 4711";
    let options = ["--blocklist", &list, "--block", ".option.test:80", "--contact", contact];
    let weir = Weir::start(&options);
    for (url, host, rule, place) in [
        ("http://x.ads.test/a?b=c", "x.ads.test", "*.ads.test", "list.txt:2"),
        ("http://10.1.2.3/", "10.1.2.3", "10.0.0.0/8:80", "list.txt:3"),
        ("http://two.test/", "two.test", "two.test", "list.txt:4"),
        ("http://w.three.test/", "w.three.test", ".three.test", "list.txt:5"),
        ("http://w.option.test/", "w.option.test", ".option.test:80", "--block:1"),
    ] {
        let text = get(&weir, url, "");
        assert_eq!(text.status(), 403);
        expect_rule_39(&text);
        let date = text.head.get("date").expect("a date").to_owned();
        expect_parts(
            &text.text(),
            &[
                "weir: 403 Forbidden\n",
                "A rule of this proxy blocks the destination.\n",
                &format!("\nReason: {place}\n"),
                &format!("\nRule: {rule}\n"),
                &format!("\nHost: {host}\n"),
                &format!("\nURL: {url}\n"),
                "\nClient: 127.0.0.1\n",
                &format!("\nTime: {date}\n"),
                &format!("\nContact: {contact}\n"),
            ],
        );
        let page = get(&weir, url, HTML);
        expect_rule_39(&page);
        expect_parts(
            &page.text(),
            &[
                "<title>403 Forbidden</title>",
                &format!("<code>{place}</code>"),
                &format!("<th>Rule</th><td>{rule}</td>"),
                &format!("<th>Host</th><td>{host}</td>"),
                &format!("<th>URL</th><td>{url}</td>"),
                "<th>Client</th><td>127.0.0.1</td>",
                "<th>Time</th><td>",
                "<th>Contact</th><td>help &lt;desk&gt; &amp; &quot;co&quot;, ext. 4711</td>",
            ],
        );
    }
    // Those that a name leads to, and who asks.
    let dns = FakeDns::start(&[("inner.test", Answer::addresses(&["10.9.9.9"]))]);
    let scratch = Scratch::new();
    let users = scratch.file("users", "alice:secret\n");
    let weir = Weir::start(&[
        "--dns",
        &dns.address(),
        "--block",
        "10.0.0.0/8",
        "--auth-file",
        &users,
        "--log-format",
        "none",
    ]);
    let answer = get(&weir, "http://inner.test/", "Proxy-Authorization: Basic YWxpY2U6c2VjcmV0\r\n");
    expect_parts(
        &answer.text(),
        &["\nReason: --block:1\n", "\nRule: 10.0.0.0/8\n", "\nHost: inner.test\n", "\nUser: alice\n"],
    );
}

/// Nothing of a request gets out of its place on the page, and what may be a password gets nowhere.
#[test]
fn kind_26_nothing_of_a_request_gets_out_of_its_place() {
    let weir = Weir::start(&["--block", ".evil.test"]);
    for target in [
        "http://a.evil.test/<script>alert(1)</script>",
        "http://a.evil.test/\"onload='x'&<img/src=x>",
        "http://a.evil.test/?q=</td></table><h1>",
        "http://a.evil.test/\u{e9}\u{202e}<b>",
    ] {
        let page = get(&weir, target, HTML);
        assert_eq!(page.status(), 403, "{page:?}");
        let text = page.text();
        let plain = get(&weir, "http://a.evil.test/", HTML).text();
        assert_eq!(text.matches('<').count(), plain.matches('<').count(), "{text}");
        assert!(!text.contains("<script") && !text.contains("onload='"), "{text}");
        expect_rule_39(&page);
    }
    for target in
        ["http://user:pass@a.evil.test/", "http://user:p%40ss@a.evil.test/", "http://user@a.evil.test:x/"]
    {
        for fields in [HTML, ""] {
            let answer = get(&weir, target, fields);
            assert_eq!(answer.status(), 400, "{answer:?}");
            let said = format!("{}{}", common::bytes::latin1(&answer.head.raw), answer.text());
            assert!(!said.contains("user") || said.contains("user name"), "{said}");
            assert!(!said.contains("pass@") && !said.contains("p%40ss") && !said.contains("user:"), "{said}");
        }
    }
    // A long URL is cut: the page fits into a block.
    for (piece, fields) in [("a", HTML), ("<", HTML), ("&quot;", HTML), ("a", "")] {
        let answer = get(&weir, &format!("http://a.evil.test/{}", piece.repeat(2000)), fields);
        assert_eq!(answer.status(), 403);
        assert!(answer.head.raw.len() + answer.body.bytes.len() <= 4096, "{}", answer.body.bytes.len());
        expect_parts(&answer.text(), &["http://a.evil.test/", "..."]);
    }
}

/// The page is right about the cause: which limit it was, and which option sets it.
#[test]
fn kind_26_limits_are_told_with_their_option() {
    let options = [
        "--target-max",
        "1K",
        "--head-max",
        "4K",
        "--fields-max",
        "10",
        "--connect-ports",
        "443,8443",
        "--max-per-client",
        "3",
    ];
    let weir = Weir::start(&options);
    let long = "x".repeat(1500);
    let many: String = (0..20).map(|number| format!("X-{number}: y\r\n")).collect();
    let large: String = (0..5).map(|number| format!("X-{number}: {}\r\n", "y".repeat(1000))).collect();
    for (request, status, parts) in [
        (
            format!("GET http://a.test/{long} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
            414,
            &[
                "longer than the limit. The limit is 1024 bytes (--target-max).",
                "Shorten the URL",
                "Host: a.test\n",
                "URL: http://a.test/xxx",
            ][..],
        ),
        (
            format!("GET http://a.test/y HTTP/1.1\r\nHost: a.test\r\n{large}\r\n"),
            431,
            &["The limit is 4096 bytes (--head-max).", "cookies", "URL: http://a.test/y\n"],
        ),
        (
            format!("GET http://a.test/y HTTP/1.1\r\nHost: a.test\r\n{many}\r\n"),
            431,
            &["The limit is 10 fields (--fields-max).", "URL: http://a.test/y\n"],
        ),
        (
            "CONNECT a.test:25 HTTP/1.1\r\nHost: a.test:25\r\n\r\n".to_owned(),
            403,
            &[
                "does not connect to that port. It may connect to 443,8443 (--connect-ports).",
                "Reason: connect-ports\n",
            ],
        ),
        (
            "GET http://a.test:25/ HTTP/1.1\r\nHost: a.test:25\r\n\r\n".to_owned(),
            403,
            &["does not connect to that port.", "(--ports)", "Reason: plain-ports\n"],
        ),
        (
            "GET http://169.254.169.254/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n".to_owned(),
            403,
            &["never connects to unasked", "(--allow)", "Reason: built-in:"],
        ),
        (
            "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nExpect: 200-ok\r\n\r\n".to_owned(),
            417,
            &["without Expect"],
        ),
    ] {
        let answer = weir.connect().ask(&request);
        assert_eq!(answer.status(), status, "{answer:?}");
        expect_rule_39(&answer);
        expect_parts(&answer.text(), parts);
    }
    // Of one client.
    let held: Vec<_> = (0..3).map(|_| weir.connect()).collect();
    let answer = eventually("the fourth is refused", || {
        weir.connect().try_read_response("GET").ok().filter(|answer| answer.status() == 429)
    });
    expect_parts(&answer.text(), &["The limit is 3 (--max-per-client).", "Client: 127.0.0.1\n"]);
    // It may have been for a tunnel.
    assert_eq!(answer.head.start, "HTTP/1.1 429 Too Many Requests (weir: max_per_client)");
    drop(held);
}

/// An origin that stops in the middle of its head has the time of a head, not that of an answer.
#[test]
fn kind_26_a_head_that_stops_has_its_own_time() {
    let weir = Weir::start(&["--timeout", "1h", "--head-timeout", "1"]);
    let origin = Origin::serve(|conn| {
        conn.head()?;
        conn.send("HTTP/1.1 200 OK\r\nX: ")?;
        conn.read_to_end().map(drop).or(Ok(()))
    });
    let answer = get(&weir, &origin.url("/"), "");
    assert_eq!(answer.status(), 504);
    expect_parts(&answer.text(), &["The limit is 1 s (--head-timeout)."]);
}

/// The failures on the way to an origin, each with its own words, and the time-out that was exceeded.
#[test]
fn kind_26_failures_tell_their_cause() {
    let dns = FakeDns::start(&[("fails.test", Answer::Fail)]);
    let options =
        ["--dns", &dns.address(), "--timeout", "1", "--head-timeout", "1500ms", "--connect-timeout", "1"];
    let weir = Weir::start(&options);
    let silent = Origin::serve(|conn| conn.read_to_end().map(drop).or(Ok(())));
    let slow = Origin::serve(|conn| {
        conn.head()?;
        for byte in b"HTTP/1.1 200 OK\r\nX: ".iter().chain(&[b'y'; 100]) {
            if conn.send([*byte]).is_err() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        Ok(())
    });
    let large = Origin::closing(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(40_000)));
    let wrong = Origin::closing("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n");
    let refusing = format!("http://127.0.0.1:{}/", common::origin::refusing_port());
    for (url, status, parts) in [
        (
            "http://none.test/".to_owned(),
            502,
            &["The host name does not exist.", "dns_error:not_found", "Host: none.test\n"][..],
        ),
        ("http://fails.test/".to_owned(), 502, &["The name servers could not answer.", "Host: fails.test\n"]),
        (refusing, 502, &["The origin refused the connection.", "connection_refused"]),
        (silent.url("/"), 504, &["The origin did not answer in time. The limit is 1 s (--timeout)."]),
        (slow.url("/"), 504, &["The origin did not answer in time. The limit is 1500 ms (--head-timeout)."]),
        (
            large.url("/"),
            502,
            &[
                "more than this proxy takes. The message head is larger than the limit. The limit is 32768 bytes (--head-max).",
            ],
        ),
        (wrong.url("/"), 502, &["not valid HTTP/1.1. Several Content-Length values differ."]),
    ] {
        let answer = get(&weir, &url, "");
        assert_eq!(answer.status(), status, "{url}: {answer:?}");
        expect_rule_39(&answer);
        expect_parts(&answer.text(), parts);
        expect_parts(&answer.text(), &[&format!("URL: {url}\n")]);
    }
}

/// An origin that neither accepts nor refuses the connection.
#[test]
fn kind_26_an_address_that_does_not_answer() {
    for (line, phrase) in [
        ("GET http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1", "Gateway Timeout\r\n"),
        (
            "CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443",
            "Gateway Timeout (weir: connection_timeout)\r\n",
        ),
    ] {
        let mut shell = shell::Shell::new();
        let client = shell.client_with(format!("{line}\r\n\r\n"));
        shell.pass(10_250);
        let answer = shell.send(client);
        let limit = "in time. The limit is 10 s (--connect-timeout).\n";
        expect_parts(&answer, &[&format!("HTTP/1.1 504 {phrase}"), limit]);
    }
}

/// A rule that clients are not to know is on no page, and neither is what it says.
#[test]
fn kind_26_quiet_refusals_keep_the_rule() {
    let scratch = Scratch::new();
    let list = scratch.file("secret-list.txt", "*.secret-rule.test\n");
    let page = scratch.file("page.html", "<p>[{{reason}}][{{rule}}] {{explanation}} {{host}}</p>");
    let own = format!("403={page}");
    for (options, fields) in [(&[][..], ""), (&[], HTML), (&["--error-page", &own], "")] {
        let weir = Weir::start(
            &[&["--blocklist", &list, "--quiet-refusals", "--connect-ports", "443"], options].concat(),
        );
        let answer = get(&weir, "http://a.b.secret-rule.test/", fields);
        let said = format!("{}{}", common::bytes::latin1(&answer.head.raw), answer.text());
        assert!(!said.contains("secret-list") && !said.contains("*."), "{said}");
        expect_parts(&said, &["a.b.secret-rule.test"]);
        let port = weir.connect().ask("CONNECT a.test:25 HTTP/1.1\r\nHost: a.test:25\r\n\r\n");
        assert!(!port.text().contains("443"), "{}", port.text());
        weir.wait_for_log(|line| line.contains("reason=secret-list.txt:1"));
    }
}

/// An administrator's pages: which one a client gets, and with what in it.
#[test]
fn kind_26_pages_of_the_administrator() {
    let scratch = Scratch::new();
    let html = scratch.file(
        "blocked.HTML",
        "<html><title>{{status}} {{title}}</title><p title='{{url}}'>{{host}} {{ rule }} ({{reason}}) for {{client}}{{user}} at \
         {{time}} by {{proxy}}: {{method}} {{explanation}} {{advice}} {{contact}}</p></html>\n",
    );
    let text = scratch.file("blocked.txt", "No {{host}}.\n");
    let json = scratch
        .file("trouble.json", "{\"status\": {{status}}, \"url\": \"{{url}}\", \"reason\": \"{{reason}}\"}\n");
    let any = scratch.file("any.txt", "Any {{status}}\n");
    let pages = [("403", &html), ("403", &text), ("5xx", &json), ("4xx", &any)]
        .map(|(status, file)| format!("{status}={file}"));
    let mut options = vec!["--block", ".blocked.test", "--contact", "<me>"];
    pages.iter().for_each(|page| options.extend(["--error-page", page]));
    let weir = Weir::start(&options);

    let url = "http://a.blocked.test/?'><script>x</script>";
    let answer = get(&weir, url, HTML);
    assert_eq!((answer.status(), answer.head.start.as_str()), (403, "HTTP/1.1 403 Forbidden"));
    expect_rule_39(&answer);
    assert_eq!(answer.head.get("content-type"), Some("text/html; charset=utf-8"));
    expect_parts(
        &answer.text(),
        &[
            "<title>403 Forbidden</title>",
            "<p title='http://a.blocked.test/?&#39;&gt;&lt;script&gt;x&lt;/script&gt;'>",
            "a.blocked.test .blocked.test (--block:1) for 127.0.0.1 at ",
            " GMT by weir: GET A rule of this proxy blocks the destination. If you need it, ask the operator of this proxy. &lt;me&gt;</p>",
        ],
    );
    let answer = get(&weir, url, "");
    assert_eq!((answer.status(), answer.text().as_str()), (403, "No a.blocked.test.\n"));
    assert_eq!(answer.head.get("content-type"), Some("text/plain; charset=utf-8"));
    expect_rule_39(&answer);
    // For the class, in JSON, for all clients.
    for fields in [HTML, "Accept: application/json\r\n", ""] {
        let port = common::origin::refusing_port();
        let url = format!("http://127.0.0.1:{port}/\"\\");
        let answer = get(&weir, &url, fields);
        assert_eq!((answer.status(), answer.head.get("content-type")), (502, Some("application/json")));
        let escaped = url.replace('\\', "\\\\").replace('"', "\\\"");
        let expected =
            format!("{{\"status\": 502, \"url\": \"{escaped}\", \"reason\": \"connection_refused\"}}\n");
        assert_eq!(answer.text(), expected);
        expect_rule_39(&answer);
    }
    // For what was never understood, too.
    let answer = weir.connect().ask("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert_eq!((answer.status(), answer.text().as_str()), (400, "Any 400\n"));
    // HEAD is told the length of what it does not get, and the connection goes on.
    let mut client = weir.connect();
    for _ in 0..2 {
        client.send(format!("HEAD http://a.blocked.test/ HTTP/1.1\r\nHost: a.blocked.test\r\n{HTML}\r\n"));
        let answer = client.read_response_to("HEAD");
        assert_eq!((answer.status(), answer.body.bytes.len()), (403, 0));
        assert!(answer.head.get("content-length").is_some_and(|length| length.len() == 3), "{answer:?}");
        assert!(!answer.head.lists("connection", "close"));
    }
}

/// A page of the greatest size, with long values in it, comes whole; also where memory for it is short.
#[test]
fn kind_26_large_pages_come_whole() {
    let scratch = Scratch::new();
    let filler = "x".repeat(64 * 1024 - 900);
    let page = scratch.file("page.html", format!("{}{filler}</html>", "{{url}}".repeat(100)));
    let own = format!("403={page}");
    let weir = Weir::start(&["--block", ".blocked.test", "--error-page", &own]);
    let mut client = weir.connect();
    for _ in 0..3 {
        let url = format!("http://a.blocked.test/{}", "<".repeat(5000));
        let answer = client.ask(format!("GET {url} HTTP/1.1\r\nHost: a.blocked.test\r\n\r\n"));
        assert_eq!(answer.status(), 403);
        assert!(answer.body.bytes.len() <= 192 * 1024 && answer.text().ends_with("xx</html>"));
        expect_rule_39(&answer);
    }
    drop(client);
    assert_eq!(weir.wait_until_idle().get("spilled_bytes"), 0);
}

/// Errors of a page are reported before a client gets it; HUP reads pages again, also inside the sandbox.
#[test]
fn kind_26_pages_are_checked_and_read_again() {
    let scratch = Scratch::new();
    let good = scratch.file("good.html", "<p>one {{host}}</p>");
    scratch.file("bad.html", "<p>fine</p>\n{{hsot}}\n<p>{{url</p>\n");
    let config = scratch
        .file("weir.conf", "error-page 403=bad.html\nerror-page 403=good.html\nerror-page 502=missing.txt\n");
    for options in [&["--check", "-c", &config][..], &["-c", &config, "--port", "0"]] {
        let run = run(options);
        assert_eq!(run.code, 78, "{}", run.said());
        expect_parts(
            &run.err,
            &[
                "bad.html:2: placeholder \"hsot\": expected one of status, ",
                "bad.html:3: {{ without }}",
                "missing.txt: cannot be read",
            ],
        );
    }
    let twice =
        run(&["--check", "--error-page", &format!("403={good}"), "--error-page", &format!("403={good}")]);
    assert_eq!(twice.code, 64, "{}", twice.said());
    expect_parts(&twice.err, &["error-page 403 again"]);

    let weir = Weir::start(&["--block", ".blocked.test", "--error-page", &format!("4xx={good}")]);
    let page = || get(&weir, "http://a.blocked.test/", "").text();
    assert_eq!(page(), "<p>one a.blocked.test</p>");
    scratch.file("good.html", "<p>two {{host}}</p>");
    assert_eq!(page(), "<p>one a.blocked.test</p>");
    weir.signal(Signal::HUP);
    weir.wait_for_error(|line| line.contains("reloaded: "));
    assert_eq!(page(), "<p>two a.blocked.test</p>");
    // The contact and the statuses change, too.
    let config = scratch.file("weir.conf", "block .blocked.test\ncontact one\n");
    let other = Weir::start(&["-c", &config]);
    expect_parts(&get(&other, "http://a.blocked.test/", "").text(), &["\nContact: one\n"]);
    scratch.file("weir.conf", "block .blocked.test\ncontact two\nerror-page 403=good.html\n");
    other.signal(Signal::HUP);
    other.wait_for_error(|line| line.contains("reloaded: ") && line.contains("contact, error-page"));
    assert_eq!(get(&other, "http://a.blocked.test/", "").text(), "<p>two a.blocked.test</p>");
    // A mistake changes nothing.
    scratch.file("good.html", "<p>three {{hots}}</p>");
    weir.signal(Signal::HUP);
    weir.wait_for_error(|line| line.contains("not reloaded"));
    weir.wait_for_error(|line| line.contains("good.html:1: placeholder \"hots\""));
    assert_eq!(page(), "<p>two a.blocked.test</p>");
}

/// The reason phrase of a refused CONNECT, which is all that many clients show, says who refused and why.
#[test]
fn kind_26_rule_50_a_refused_connect_names_weir() {
    let scratch = Scratch::new();
    let users = scratch.file("users", "alice:secret\n");
    let dns = FakeDns::start(&[]);
    let weir =
        Weir::start(&["--block", "blocked.test", "--dns", &dns.address(), "--connect-ports", "1-65535,!25"]);
    let closed = format!("127.0.0.1:{}", common::origin::refusing_port());
    for (target, line) in [
        ("blocked.test:443", "HTTP/1.1 403 Blocked by weir"),
        ("a.test:25", "HTTP/1.1 403 Blocked by weir"),
        ("169.254.169.254:443", "HTTP/1.1 403 Blocked by weir"),
        ("none.test:443", "HTTP/1.1 502 Bad Gateway (weir: dns_error:not_found)"),
        (&closed, "HTTP/1.1 502 Bad Gateway (weir: connection_refused)"),
        ("a.test:0", "HTTP/1.1 400 Bad Request (weir: port_syntax)"),
    ] {
        for version in ["1.1", "1.0"] {
            let answer =
                weir.connect().ask(format!("CONNECT {target} HTTP/{version}\r\nHost: {target}\r\n\r\n"));
            assert_eq!(answer.head.start, line, "{target}");
            expect_rule_39(&answer);
            expect_parts(&answer.text(), &[&format!("URL: {target}\n")]);
        }
        // Others have the phrase of their status.
        let host = target.trim_end_matches(":443");
        let answer = weir.connect().ask(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert!(!answer.head.start.contains("weir"), "{answer:?}");
    }
    let weir = Weir::start(&["--auth-file", &users, "--via", "gate"]);
    for (fields, line) in [
        ("", "HTTP/1.1 407 Proxy Authentication Required (gate: credentials_missing)"),
        (
            "Proxy-Authorization: Basic YTpi\r\n",
            "HTTP/1.1 407 Proxy Authentication Required (gate: credentials_wrong)",
        ),
        ("Proxy-Authorization: Basic YWxpY2U6c2VjcmV0\r\n", "HTTP/1.1 403 Blocked by gate"),
    ] {
        let answer =
            weir.connect().ask(format!("CONNECT 10.0.0.1:25 HTTP/1.1\r\nHost: 10.0.0.1:25\r\n{fields}\r\n"));
        assert_eq!(answer.head.start, line);
    }
    let weir = Weir::start(&["--allow-client", "192.0.2.0/24", "--via", "off"]);
    let answer = weir.connect().ask("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n");
    assert_eq!(answer.head.start, "HTTP/1.1 403 Blocked by weir");
    expect_parts(&answer.text(), &["(--allow-client)"]);
}

/// Real clients show the reason phrase of a refused CONNECT.
#[test]
fn kind_26_clients_show_who_has_refused() {
    let dns = FakeDns::start(&[]);
    let weir = Weir::start(&["--block", "blocked.test", "--dns", &dns.address()]);
    let python = |code: &str, url: &str| {
        let mut command = Command::new("python3");
        command
            .args(["-c", code, url])
            .env("https_proxy", weir.url())
            .env("no_proxy", "")
            .env("NO_PROXY", "");
        finish(command)
    };
    let urllib = "import urllib.request, sys\n\
        try: urllib.request.urlopen(sys.argv[1], timeout=20)\n\
        except Exception as e: print(e)\n";
    let requests = "import requests, sys\n\
        try: requests.get(sys.argv[1], timeout=20)\n\
        except Exception as e: print(e)\n";
    for (url, expected) in [
        ("https://blocked.test/", "403 Blocked by weir"),
        ("https://none.test/", "502 Bad Gateway (weir: dns_error:not_found)"),
    ] {
        let shown = python(urllib, url);
        assert!(shown.out.contains(expected), "{shown:?}");
        let shown = python(requests, url);
        // It need not be installed.
        assert!(
            shown.out.contains(expected) || shown.err.contains("No module named 'requests'"),
            "{shown:?}"
        );
        let mut command = Command::new("curl");
        command.args(["-sSv", "-q", "--max-time", "20", "--noproxy", "", "-x", &weir.url(), url]);
        let shown = finish(command);
        assert!(shown.code != 0 && shown.err.contains(expected), "{shown:?}");
    }
}
