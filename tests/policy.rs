//! Access rules: lists, spellings, `explain`, users.

mod common;

use common::{Answer, FakeDns, Origin, Raw, Scratch, Weir, run};

#[track_caller]
fn status_of(client: &mut Raw, host: &str) -> u16 {
    client.ask(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n")).status()
}

/// With one list: the verdict for each host, by a tunnel, by a request and by `explain`.
#[track_caller]
fn expect_verdicts(list: &str, refused: &[&str], passed: &[&str]) {
    let scratch = Scratch::new();
    let file = scratch.file("list.txt", list);
    let dns = FakeDns::start(&[]);
    let weir = Weir::start(&["--blocklist", &file, "--dns", &dns.address()]);
    for host in refused {
        assert_eq!(status_of(&mut weir.connect(), host), 403, "{host} by {list:?}");
        let explained = run(&["--blocklist", &file, "explain", "GET", &format!("http://{host}/")]);
        assert_eq!(explained.code, 1, "explain {host} by {list:?}: {}", explained.said());
        assert!(explained.out.contains("list.txt:"), "{}", explained.said());
    }
    for host in passed {
        // None of these names exists, which is found out only after the name is approved.
        let status = status_of(&mut weir.connect(), host);
        assert_eq!(status, 502, "{host} by {list:?}");
        let url = format!("http://{host}/");
        let options = ["--allow", "127.0.0.0/8", "--blocklist", &file, "--dns", &dns.address()];
        let explained = run(&[&options[..], &["explain", "GET", &url]].concat());
        let is_address = host.trim_start_matches('[').starts_with(|c: char| c.is_ascii_digit() || c == ':');
        let expected = if is_address { (0, "allowed: ") } else { (1, "failed: ") };
        let found = (explained.code, &explained.out[..expected.1.len()]);
        assert_eq!(found, expected, "explain {host} by {list:?}: {}", explained.said());
    }
}

/// A plain name is exactly that host.
#[test]
fn blocklist_exact_names() {
    expect_verdicts(
        "example.test\n",
        &["example.test", "EXAMPLE.Test", "example.test.", "example.test:8080"],
        &["www.example.test", "xexample.test", "example.test.org", "test"],
    );
}

/// A wildcard is every name below, at any depth, not the apex; a leading dot has the apex, too.
#[test]
fn blocklist_wildcards() {
    expect_verdicts(
        "*.ads.test\n",
        &["x.ads.test", "a.b.c.ads.test"],
        &["ads.test", "xads.test", "ads.test.org"],
    );
    expect_verdicts(".ads.test\n", &["ads.test", "x.ads.test", "a.b.ads.test"], &["xads.test", "test"]);
}

/// Networks, single addresses, ports and ranges of ports.
#[test]
fn blocklist_networks_and_ports() {
    expect_verdicts(
        "10.0.0.0/8\n2001:db8::/32\n192.0.2.7\n",
        &[
            "10.1.2.3",
            "10.255.255.255",
            "[2001:db8::1]",
            "192.0.2.7",
            "0x0a.1",
            "167772161",
            "[::ffff:10.0.0.1]",
        ],
        &[],
    );
    expect_verdicts(
        "a.test:8080\n*.b.test:1000-2000\n127.0.0.9:9000\n[::1]:80\n",
        &["a.test:8080", "x.b.test:1000", "x.b.test:2000", "127.0.0.9:9000", "[::1]"],
        &["a.test", "a.test:8081", "x.b.test:999", "x.b.test:2001", "127.0.0.9:9001"],
    );
}

/// The forms that other lists have, comments, blank lines, CRLF, duplicates.
#[test]
fn blocklist_forms_of_other_lists() {
    expect_verdicts(
        "# head\r\n\r\n  spaced.test  # why\r\n0.0.0.0 hosts.test\r\n127.0.0.1 hosts2.test # local\r\n||adblock.test^\r\n\
         dup.test\r\ndup.test\r\n*.dup.test\r\nUPPER.test\r\ndotted.test.\r\n",
        &[
            "spaced.test",
            "hosts.test",
            "hosts2.test",
            "adblock.test",
            "sub.adblock.test",
            "dup.test",
            "x.dup.test",
            "upper.test",
            "dotted.test",
        ],
        &["head.test", "why", "sub.hosts.test"],
    );
}

/// Lists of ad blockers load as far as they are about hosts. Lines for browsers do not block whole hosts; they are
/// counted once for each file, at the start, at a reload, and by `--check`.
#[test]
fn kind_24_lists_of_ad_blockers() {
    let scratch = Scratch::new();
    let ads = "[Adblock Plus 2.0]\n! Title: a list\n||ads.test^\n||important.test^$important\n||third.test^$third-party\n\
               ||script.test^$script,domain=a.test\n@@||good.test^\nhidden.test##.banner\n##.ad\n/regex[0-9]+/\n|http://start.test\n";
    let hosts = "# hosts\n127.0.0.1 localhost\n0.0.0.0 hosts.test # why\n192.168.1.1 router.test\n";
    let own = "own.test\n||mixed.test^$popup\n||mixed2.test^\n";
    let files = [("ads.txt", ads), ("hosts.txt", hosts), ("own.txt", own)]
        .map(|(name, text)| scratch.file(name, text));
    let options = files.iter().flat_map(|file| ["--blocklist", file]).collect::<Vec<_>>();
    let dns = FakeDns::start(&[]);
    let weir = Weir::start(&[&options[..], &["--dns", &dns.address()]].concat());
    let blocked = ["ads.test", "x.ads.test", "important.test", "hosts.test", "own.test", "mixed2.test"];
    let others =
        ["third.test", "script.test", "good.test", "hidden.test", "start.test", "mixed.test", "router.test"];
    for host in blocked {
        assert_eq!(status_of(&mut weir.connect(), host), 403, "{host}");
    }
    for host in others {
        assert_eq!(status_of(&mut weir.connect(), host), 502, "{host}");
    }
    let summaries = ["ads.txt: 7 lines skipped", "hosts.txt: 1 line skipped", "own.txt: 1 line skipped"];
    let said = |lines: Vec<String>, times: usize| {
        summaries.iter().all(|part| lines.iter().filter(|line| line.contains(part)).count() == times)
    };
    assert!(said(weir.error_lines(), 1), "{:#?}", weir.error_lines());
    assert!(weir.error_lines().iter().any(|line| line.contains("||third.test^$third-party")));
    weir.signal(rustix::process::Signal::HUP);
    common::eventually("a reload", || said(weir.error_lines(), 2).then_some(()));
    let checked = run(&[&options[..], &["--check"]].concat());
    assert_eq!(checked.code, 0, "{}", checked.said());
    assert!(said(checked.err.lines().map(str::to_owned).collect(), 1), "{}", checked.err);
    // An invalid line of weir's own list is an error, and so is one in an option.
    let wrong = scratch.file("wrong.txt", "own.test\n||x.test^$script\nbad rule\n&ad_box=\n");
    let checked = run(&["--blocklist", &wrong, "--check", "--block", "||x.test^$script"]);
    assert!(checked.code == 64 || checked.code == 78, "{}", checked.said());
    for part in ["wrong.txt:3", "wrong.txt:4", "--block: expected"] {
        assert!(checked.err.contains(part), "lacks {part}: {}", checked.err);
    }
    assert!(!checked.err.contains("wrong.txt:2"), "{}", checked.err);
}

/// Names with other letters are converted.
#[test]
#[cfg_attr(not(feature = "idna"), ignore = "needs the feature idna")]
fn blocklist_idna() {
    expect_verdicts(
        "bücher.test\n*.Straße.test\n例え.test\n",
        &["xn--bcher-kva.test", "XN--BCHER-KVA.test", "a.xn--strae-oqa.test", "xn--r8jz45g.test"],
        &["bucher.test"],
    );
}

/// An allowlist lets nothing else through; a block still beats it.
#[test]
fn allowlist() {
    let scratch = Scratch::new();
    let list = scratch.file("allowed.txt", "good.test\n*.more.test\n127.0.0.1\n");
    let dns = FakeDns::start(&[
        ("good.test", Answer::addresses(&["127.0.0.1"])),
        ("x.more.test", Answer::addresses(&["127.0.0.1"])),
        ("bad.more.test", Answer::addresses(&["127.0.0.1"])),
        ("more.test", Answer::addresses(&["203.0.113.9"])),
        ("other.test", Answer::addresses(&["127.0.0.2"])),
    ]);
    let weir = Weir::start(&["--allowlist", &list, "--block", "bad.more.test", "--dns", &dns.address()]);
    let origin = Origin::ok();
    let port = origin.port();
    for (host, status) in [
        ("good.test", 200),
        ("x.more.test", 200),
        ("127.0.0.1", 200),
        ("bad.more.test", 403),
        ("more.test", 403),
    ] {
        assert_eq!(status_of(&mut weir.connect(), &format!("{host}:{port}")), status, "{host}");
    }
    let bare = Weir::start_bare(&["--allowlist", &list, "--dns", &dns.address()]);
    assert_eq!(status_of(&mut bare.connect(), &format!("other.test:{port}")), 403);
}

/// Explicit block, explicit allow, built-in block, default: in that order.
#[test]
fn order_of_rules() {
    let origin = Origin::ok();
    let here = |host: &str| format!("{host}:{}", origin.port());
    let allowed = Weir::start_bare(&["--allow", "127.0.0.0/8"]);
    assert_eq!(status_of(&mut allowed.connect(), &here("127.0.0.1")), 200);
    let both = Weir::start_bare(&["--allow", "127.0.0.0/8", "--block", "127.0.0.1"]);
    assert_eq!(status_of(&mut both.connect(), &here("127.0.0.1")), 403);
    assert_eq!(status_of(&mut both.connect(), &here("127.0.0.2")), 502);
    let narrow = Weir::start_bare(&["--allow", &here("127.0.0.1")]);
    assert_eq!(status_of(&mut narrow.connect(), &here("127.0.0.1")), 200);
    assert_eq!(status_of(&mut narrow.connect(), "127.0.0.1:1234"), 403);
    let builtin = Weir::start_bare(&[]);
    assert_eq!(status_of(&mut builtin.connect(), &here("127.0.0.1")), 403);
}

/// A name that was allowed by name is still judged by its addresses.
#[test]
fn allowed_names_are_judged_by_address() {
    let dns = FakeDns::start(&[("inside.test", Answer::addresses(&["127.0.0.1"]))]);
    let origin = Origin::ok();
    let host = format!("inside.test:{}", origin.port());
    let blocked =
        Weir::start_bare(&["--block", "127.0.0.1", "--allow", "inside.test", "--dns", &dns.address()]);
    assert_eq!(status_of(&mut blocked.connect(), &host), 403);
}

/// Rules that are added by several files and options work together, and the line names the right one.
#[test]
fn several_lists() {
    let scratch = Scratch::new();
    let one = scratch.file("one.txt", "a.test\n");
    let two = scratch.file("two.txt", "# more\nb.test\n");
    let weir = Weir::start(&["--blocklist", &one, "--blacklist", &two, "--block", "c.test"]);
    for (host, rule) in [("a.test", "one.txt:1"), ("b.test", "two.txt:2"), ("c.test", "--block")] {
        assert_eq!(status_of(&mut weir.connect(), host), 403, "{host}");
        weir.wait_for_log(|line| line.contains(host) && line.contains(rule));
    }
}

/// A hundred thousand rules load in no time.
#[test]
fn many_rules() {
    let scratch = Scratch::new();
    let mut text = String::new();
    for number in 0..100_000 {
        text.push_str(&format!("host{number}.list{}.test\n", number % 97));
    }
    let list = scratch.file("big.txt", text);
    let weir = Weir::start(&["--blocklist", &list]);
    assert_eq!(status_of(&mut weir.connect(), "host77777.list80.test"), 403);
    weir.wait_for_log(|line| line.contains("big.txt:77778"));
}

/// Only those clients may ask that are meant to.
#[test]
fn allowed_clients() {
    let origin = Origin::ok();
    let weir = Weir::start(&["--allow-client", "127.0.0.2/32"]);
    assert_eq!(weir.connect_from("127.0.0.2").ask(origin.get("/")).status(), 200);
    let mut stranger = weir.connect_from("127.0.0.1");
    stranger.send_if_open(origin.get("/"));
    match stranger.try_read_response("GET") {
        Ok(answer) => assert_eq!(answer.status(), 403),
        Err(error) => assert_ne!(error.kind(), std::io::ErrorKind::TimedOut),
    }
    assert_eq!(origin.heads().len(), 1);
}

/// `explain` prints the verdict and where it comes from, from the same code.
#[test]
fn explain() {
    let scratch = Scratch::new();
    let list = scratch.file("list.txt", "# one\nblocked.test\n*.ads.test:80\n");
    let dns = FakeDns::start(&[]);
    let explain = |arguments: &[&str]| {
        let server = dns.address();
        let mut all = vec!["--blocklist", &list, "--dns", &server, "explain"];
        all.extend_from_slice(arguments);
        run(&all)
    };
    for (arguments, code, part) in [
        (&["GET", "http://blocked.test/x"][..], 1, "list.txt:2"),
        (&["CONNECT", "blocked.test:443"], 1, "list.txt:2"),
        (&["GET", "http://x.ads.test/"], 1, "list.txt:3"),
        (&["http://blocked.test/x"], 1, "list.txt:2"),
        (&["https://blocked.test/x"], 1, "CONNECT blocked.test:443"),
        (&["CONNECT", "blocked.test"], 1, "CONNECT blocked.test:443"),
        (&["blocked.test"], 1, "GET blocked.test:80"),
        (&["https://93.184.215.14:25/"], 1, "by connect-ports"),
        (&["http://93.184.215.14:25/"], 1, "by plain-ports"),
        (&["https://93.184.215.14/"], 0, "allowed: CONNECT 93.184.215.14:443"),
        (&["GET", "http://x.ads.test:8080/"], 1, "the name does not exist"),
        (&["GET", "http://127.0.0.1/"], 1, "loopback"),
        (&["GET", "http://2130706433/"], 1, "127.0.0.1"),
        (&["GET", "http://0x7f.1/"], 1, ""),
        (&["GET", "http://0177.0.0.1/"], 1, ""),
        (&["GET", "http://[::ffff:127.0.0.1]/"], 1, ""),
        (&["GET", "http://[64:ff9b::7f00:1]/"], 1, ""),
        (&["GET", "http://[2002:7f00:1::]/"], 1, ""),
        (&["GET", "http://169.254.169.254/latest/meta-data"], 1, "link-local"),
        (&["GET", "http://93.184.215.14/"], 0, ""),
        (&["CONNECT", "93.184.215.14:25"], 1, "port"),
        (&["GET", "http://93.184.215.14:25/"], 1, "port"),
        (&["CONNECT", "93.184.215.14:443"], 0, ""),
        (&["--user", "anna", "--client", "192.0.2.1", "GET", "http://blocked.test/"], 1, "list.txt:2"),
    ] {
        let run = explain(arguments);
        assert_eq!(run.code, code, "{arguments:?}: {}", run.said());
        assert!(run.out.contains(part), "{arguments:?} lacks {part:?}: {}", run.said());
    }
    for arguments in [&["GET"][..], &["GET", ""], &[], &["GET", "a.test", "b.test"]] {
        assert_eq!(explain(arguments).code, 64, "{arguments:?}");
    }
    assert_eq!(run(&["--blocklist", &scratch.join("none.txt"), "explain", "GET", "http://a.test/"]).code, 78);
}

fn basic(credentials: &str) -> String {
    use base64::Engine;
    format!(
        "Proxy-Authorization: Basic {}\r\n",
        base64::engine::general_purpose::STANDARD.encode(credentials)
    )
}

/// `anna` by plain password, `bert` by bcrypt, `cora` by SHA-512-crypt, `dora` by SHA-256-crypt, and others.
fn users() -> String {
    let bcrypt = bcrypt::hash("bert's", 4).expect("a hash");
    let parameters = sha_crypt::Sha512Params::new(1000).expect("rounds");
    let sha512 = sha_crypt::sha512_simple("cora's", &parameters).expect("a hash");
    let parameters = sha_crypt::Sha256Params::new(1000).expect("rounds");
    let sha256 = sha_crypt::sha256_simple("dora's", &parameters).expect("a hash");
    format!(
        "# users\nanna:secret\nbert:{bcrypt}\ncora:{sha512}\ndora:{sha256}\n\nemil:with:colons:in it\nzoë:pässwörd\n"
    )
}

/// Every kind of password, right and wrong, on one connection that switches users.
#[test]
fn users_of_every_kind() {
    let scratch = Scratch::new();
    let file = scratch.file("users.txt", users());
    let (weir, origin) = (Weir::start(&["--auth-file", &file]), Origin::ok());
    let mut client = weir.connect();
    let mut ask = |field: &str, path: &str| {
        client
            .ask(origin.fill(format!("GET http://{{o}}{path} HTTP/1.1\r\nHost: {{o}}\r\n{field}\r\n")))
            .status()
    };
    for round in 0..2 {
        for (user, password) in [
            ("anna", "secret"),
            ("bert", "bert's"),
            ("cora", "cora's"),
            ("dora", "dora's"),
            ("emil", "with:colons:in it"),
            ("zoë", "pässwörd"),
        ] {
            let good = basic(&format!("{user}:{password}"));
            assert_eq!(ask(&good, &format!("/{}-{round}", user.replace('ë', "e"))), 200, "{user}");
            for wrong in [
                format!("{user}:"),
                format!("{user}:{password}x"),
                format!("{user}:{}", password.to_uppercase()),
            ] {
                assert_eq!(ask(&basic(&wrong), "/wrong"), 407, "{wrong}");
            }
        }
    }
    for field in [
        basic("nobody:secret"),
        basic("anna"),
        basic(":secret"),
        basic(""),
        "Proxy-Authorization: Basic !!!\r\n".into(),
        "Proxy-Authorization: Basic\r\n".into(),
        "Proxy-Authorization: Bearer YW5uYTpzZWNyZXQ=\r\n".into(),
        "Authorization: Basic YW5uYTpzZWNyZXQ=\r\n".into(),
    ] {
        assert_eq!(ask(&field, "/wrong"), 407, "{field:?}");
    }
    assert_eq!(ask("proxy-authorization: bAsIc   YW5uYTpzZWNyZXQ=\r\n", "/case"), 200);
    for user in ["anna", "bert", "cora", "dora", "emil", "zoë"] {
        let path = format!("/{}-1", user.replace('ë', "e"));
        weir.wait_for_log(|line| line.contains(&path) && line.contains(&format!("user={user} ")));
    }
    assert!(
        origin
            .heads()
            .iter()
            .all(|head| !head.has("proxy-authorization") && !head.target().contains("wrong"))
    );
}

/// Two different credentials in one request are no credentials.
#[test]
fn users_given_twice() {
    let scratch = Scratch::new();
    let file = scratch.file("users.txt", "anna:secret\n");
    let (weir, origin) = (Weir::start(&["--auth-file", &file]), Origin::ok());
    let fields = format!("{}{}", basic("anna:secret"), basic("anna:other"));
    let request = format!("GET http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\n{fields}\r\n");
    let status = weir.connect().ask(origin.fill(request)).status();
    assert!(matches!(status, 400 | 407), "{status}");
}

/// Credentials appear nowhere: not at the origin, not in any log format, not on an error page.
#[test]
fn credentials_stay_here() {
    let scratch = Scratch::new();
    let file = scratch.file("users.txt", "anna:hunter2\n");
    let origin = Origin::echo();
    let good = basic("anna:hunter2");
    for format in ["weir", "combined", "squid", "json"] {
        let weir =
            Weir::start(&["--auth-file", &file, "--log-format", format, "-vv", "--block", "blocked.test"]);
        let ask = |start: &str, host: &str, field: &str| {
            weir.connect().ask(origin.fill(format!("{start} HTTP/1.1\r\nHost: {host}\r\n{field}\r\n")))
        };
        let answers = [
            ask("GET http://{o}/1", "{o}", &good),
            ask("GET http://blocked.test/2", "blocked.test", &good),
            ask("GET http://{o}/3", "{o}", &basic("anna:hunter2x")),
            ask("GET http://{o}:x/4", "{o}", &good),
            ask("TRACE http://{o}/5", "{o}", &format!("{good}Max-Forwards: 0\r\n")),
            ask("GET http://127.0.0.1:1/6", "127.0.0.1:1", &good),
        ];
        weir.wait_for_logs(5, |line| line.contains("anna") || line.contains("40"));
        let said = format!("{answers:?}{:?}{:?}", weir.log_lines(), weir.error_lines());
        for secret in ["hunter2", "YW5uYTpodW50ZXIy"] {
            assert!(!said.contains(secret), "{format}: {secret} shows in {said}");
        }
        assert_eq!(answers.map(|answer| answer.status()), [200, 403, 407, 400, 200, 502], "{format}");
    }
}

/// Slow hashes are no lever: while many wrong passwords are checked, others are served.
#[test]
fn slow_hashes_stall_no_client() {
    let scratch = Scratch::new();
    let slow = bcrypt::hash("slow", 10).expect("a hash");
    let file = scratch.file("users.txt", format!("slow:{slow}\nanna:secret\n"));
    let (weir, origin) = (Weir::start(&["--auth-file", &file]), Origin::ok());
    let ask = |credentials: &str| {
        origin.fill(format!("GET http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\n{}\r\n", basic(credentials)))
    };
    let mut client = weir.connect();
    assert_eq!(client.ask(ask("slow:slow")).status(), 200);
    let mut flood: Vec<_> = (0..40).map(|_| weir.connect()).collect();
    for (number, attacker) in flood.iter_mut().enumerate() {
        attacker.send(ask(&format!("slow:wrong{number}")));
    }
    // Each response within the deadline of the client.
    for _ in 0..20 {
        assert_eq!(client.ask(ask("anna:secret")).status(), 200);
        // Remembered, so that it costs nothing again.
        assert_eq!(client.ask(ask("slow:slow")).status(), 200);
    }
}

/// Without users no client needs credentials, and received ones are not forwarded.
#[test]
fn no_users_no_questions() {
    let (weir, origin) = (Weir::start(&[]), Origin::ok());
    let request = format!("GET http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\n{}\r\n", basic("a:b"));
    assert_eq!(weir.connect().ask(origin.fill(request)).status(), 200);
    assert!(!origin.head().has("proxy-authorization"));
}

/// The log names the rule that has allowed an address of a name, like `explain`, whichever way the response came.
#[test]
fn the_rule_for_the_address_of_a_name_is_logged() {
    let scratch = Scratch::new();
    let file = scratch.file("nets.txt", "# networks\n127.0.0.0/8\n");
    let fields = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok";
    let origin = Origin::answering(fields);
    let url = |path: &str| format!("http://localhost:{}/{path}", origin.port());
    let expect = |options: &[&str], by: &str| {
        let weir = Weir::start_bare(options);
        let mut client = weir.connect();
        for path in ["dialled", "reused", "reused", "name"] {
            let host = if path == "name" { "127.0.0.1" } else { "localhost" };
            let url = url(path).replace("localhost", host);
            let request = format!("GET {url} HTTP/1.1\r\nHost: {host}:{}\r\n\r\n", origin.port());
            assert_eq!(client.ask(request).status(), 200);
        }
        let authority = format!("localhost:{}", origin.port());
        client.send(format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"));
        assert_eq!(client.read_response_to("CONNECT").status(), 200);
        drop(client);
        let ended = |line: &str| line.contains(" exchange ") || line.contains(" tunnel ");
        let lines = weir.wait_for_logs(5, ended);
        assert!(lines.iter().all(|line| line.contains(&format!(" reason={by} "))), "{lines:#?}");
        let explained = run(&[options, &["explain", &url("dialled")]].concat());
        assert!(by == "-" || explained.out.contains(&format!("by {by}")), "{}", explained.said());
    };
    let ports = ["--connect-ports", "1-65535"];
    let by_list = ["--allowlist", file.as_str()];
    expect(&[&by_list[..], &ports].concat(), "nets.txt:2");
    expect(&[&["--allow", "127.0.0.0/8"], &ports[..]].concat(), "--allow:1");
    if cfg!(feature = "cache") {
        expect(&[&["--cache"], &by_list[..], &ports].concat(), "nets.txt:2");
    }
}
