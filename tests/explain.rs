//! `weir explain` held against the running proxy: the same requests, the same verdicts, the same rules.

mod common;

use common::{Answer, FakeDns, Raw, Scratch, Weir, run};
use std::collections::BTreeMap;

/// The request of a client, and the client's address.
#[derive(Clone, Debug)]
struct Ask {
    /// The arguments of `explain`, without options.
    explained: Vec<String>,
    /// The request that the client sends.
    method: String,
    target: String,
    host: String,
}

/// A request by its URL, as curl would send it, except that nothing is corrected.
fn by_url(method: &str, url: &str) -> Ask {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let authority = rest.split(['/', '?']).next().unwrap_or("");
    let https = scheme == "https";
    let has_port = authority.rsplit(']').next().is_some_and(|after| after.contains(':'));
    let connect = if has_port { authority.to_owned() } else { format!("{authority}:443") };
    let (method, target) = if https { ("CONNECT", connect.clone()) } else { (method, url.to_owned()) };
    let explained =
        if https || method == "GET" { vec![url.to_owned()] } else { vec![method.to_owned(), url.to_owned()] };
    let host = if https { connect } else { authority.to_owned() };
    Ask { explained, method: method.to_owned(), target, host }
}

/// A tunnel to a host and perhaps a port.
fn by_connect(host: &str) -> Ask {
    Ask { explained: vec!["CONNECT".into(), host.into()], ..by_url("GET", &format!("https://{host}")) }
}

/// Names that the name server knows, beside many that it does not.
fn names() -> FakeDns {
    let one = |address: &str| Answer::addresses(&[address]);
    FakeDns::start(&[
        ("good.test", one("192.0.2.10")),
        ("www.good.test", one("192.0.2.11")),
        ("blocked.test", one("192.0.2.10")),
        ("sub.blocked.test", one("192.0.2.10")),
        ("wild.test", one("192.0.2.10")),
        ("x.wild.test", one("192.0.2.10")),
        ("port.test", one("192.0.2.10")),
        ("exact.test", one("127.0.0.1")),
        ("x.loose.test", one("127.0.0.1")),
        ("private.test", one("10.0.0.5")),
        ("loop.test", one("127.0.0.1")),
        ("any.test", one("0.0.0.0")),
        ("metadata.test", one("169.254.169.254")),
        ("mixed.test", Answer::addresses(&["127.0.0.1", "192.0.2.10", "10.0.0.5"])),
        ("net.test", one("198.51.100.7")),
        ("v6.test", one("2001:db8::1")),
        ("ula.test", one("fd00::1")),
        ("mapped.test", one("::ffff:127.0.0.1")),
        ("nat64.test", one("64:ff9b::7f00:1")),
        ("alias.test", Answer::Alias(60, "good.test".into())),
        ("badalias.test", Answer::Alias(60, "loop.test".into())),
        ("empty.test", Answer::Addresses(60, vec![])),
        ("fail.test", Answer::Fail),
    ])
}

const HOSTS: [&str; 66] = [
    "good.test",
    "GOOD.Test.",
    "www.good.test",
    "blocked.test",
    "BLOCKED.TEST.",
    "sub.blocked.test",
    "wild.test",
    "x.wild.test",
    "a.b.wild.test",
    "apex.test",
    "y.apex.test",
    "port.test",
    "exact.test",
    "x.loose.test",
    "private.test",
    "loop.test",
    "any.test",
    "metadata.test",
    "mixed.test",
    "net.test",
    "v6.test",
    "ula.test",
    "mapped.test",
    "nat64.test",
    "alias.test",
    "badalias.test",
    "empty.test",
    "fail.test",
    "missing.test",
    "localhost",
    "x.localhost",
    "x.invalid",
    "x.onion",
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f.1",
    "0177.0.0.1",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::]",
    "0.0.0.0",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[fe80::1]",
    "169.254.169.254",
    "10.1.2.3",
    "192.168.1.1",
    "172.16.0.1",
    "100.64.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "192.0.2.1",
    "198.51.100.7",
    "[2001:db8::5]",
    "[fd00::1]",
    "1.2.3.256",
    "1.2.3.4.5",
    "a..b",
    "a_b.test",
    "u:p@good.test",
    "[::1",
    "[fe80::1%25eth0]",
    "bücher.test",
    "",
];

const PORTS: [&str; 10] = [":80", ":443", ":8080", ":25", ":1", ":0", ":65535", ":65536", ":x", ":"];

/// The table: every host by both schemes, some with ports, methods and forms. `here` is the proxy's own port.
fn table(here: u16) -> Vec<Ask> {
    let mut all = Vec::new();
    for host in HOSTS {
        all.push(by_url("GET", &format!("http://{host}/some/path?query")));
        // Clients leave these out of what they send with CONNECT.
        if !host.contains('@') {
            all.push(by_url("GET", &format!("https://{host}/some/path")));
        }
    }
    for host in
        ["good.test", "port.test", "192.0.2.1", "127.0.0.1", "[2001:db8::5]", "10.1.2.3", "missing.test"]
    {
        for port in PORTS {
            all.push(by_url("GET", &format!("http://{host}{port}/")));
            // No port at all is for `explain` to fill in, as clients do.
            if port != ":" {
                all.push(by_connect(&format!("{host}{port}")));
            }
        }
        all.push(by_connect(host));
        for method in ["HEAD", "POST", "PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "PURGE", "MADE-UP"] {
            all.push(by_url(method, &format!("http://{host}/")));
        }
    }
    for own in [
        "127.0.0.1",
        "localhost",
        "[::ffff:127.0.0.1]",
        "127.0.0.2",
        "loop.test",
        "exact.test",
        "mixed.test",
        "[::1]",
    ] {
        all.push(by_url("GET", &format!("http://{own}:{here}/")));
        all.push(by_connect(&format!("{own}:{here}")));
    }
    for url in [
        "ws://good.test/",
        "wss://x",
        "ftp://good.test/",
        "gopher://good.test/",
        "http:///",
        "http://good.test/#x",
    ] {
        if !url.starts_with("wss") {
            all.push(by_url("GET", url));
        }
    }
    all.push(Ask {
        explained: vec!["OPTIONS".into(), "*".into()],
        method: "OPTIONS".into(),
        target: "*".into(),
        host: "weir.invalid".into(),
    });
    all
}

/// The proxy's verdict by its log: the word, and the rule or the reason.
fn judged(weir: &Weir, number: usize, from: Option<&str>, ask: &Ask, field: &str) -> (String, String) {
    let mut client: Raw = from.map_or_else(|| weir.connect(), |from| weir.connect_from(from));
    let Ask { method, target, host, .. } = ask;
    client.send_if_open(format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\n{field}Connection: close\r\n\r\n"
    ));
    // A tunnel is logged when it ends.
    let _ = client.try_read_response(if method == "CONNECT" { "HEAD" } else { method });
    drop(client);
    let line = weir.wait_for_logs(number + 1, |_| true).remove(number);
    let word = |at: usize| line.split(' ').nth(at).unwrap_or("").to_owned();
    let reason = line.split(' ').find_map(|part| part.strip_prefix("reason=")).unwrap_or("").to_owned();
    let verdict = match (word(2).as_str(), reason.as_str()) {
        ("failed", reason) if reason.starts_with("dns_") => "failed".to_owned(),
        // The address was dialled, and no process listens there.
        ("failed", _) => "allowed".to_owned(),
        (other, _) => other.to_owned(),
    };
    (verdict, if verdict_has_rule(&word(2)) { reason } else { String::new() })
}

fn verdict_has_rule(verdict: &str) -> bool {
    matches!(verdict, "refused" | "malformed")
}

struct Case<'a> {
    options: Vec<&'a str>,
    from: Option<&'a str>,
    /// The user and what is sent for one.
    user: Option<(&'a str, &'a str)>,
    /// How many verdicts there are, so that no table is all of one kind.
    verdicts: usize,
}

#[track_caller]
fn compare(case: &Case<'_>) {
    let dns = names();
    let server = dns.address();
    let mut options = case.options.clone();
    options.extend(["--dns", &server, "--connect-timeout", "30ms"]);
    let weir = Weir::start_bare(&options);
    let here = weir.address().port();
    let port = here.to_string();
    let field = case.user.map(|(_, credentials)| credentials).unwrap_or_default();
    let mut differences = Vec::new();
    let mut verdicts = BTreeMap::new();
    let asks = table(here);
    for (number, ask) in asks.iter().enumerate() {
        let (verdict, rule) = judged(&weir, number, case.from, ask, field);
        let mut arguments = options.clone();
        arguments.extend(["--port", &port, "explain"]);
        arguments.extend(case.from.map(|from| ["--client", from]).into_iter().flatten());
        arguments.extend(case.user.map(|(user, _)| ["--user", user]).into_iter().flatten());
        arguments.extend(ask.explained.iter().map(String::as_str));
        let explained = run(&arguments);
        let said = explained.out.split(':').next().unwrap_or("").to_owned();
        let named = rule.is_empty()
            || explained.out.lines().nth(1).is_some_and(|line| line.contains(&rule))
            || (rule.starts_with("credentials") && explained.out.contains("credentials are asked for"))
            || (rule.starts_with("credentials") && explained.out.contains("is not in the user file"));
        let code = i32::from(verdict != "allowed");
        *verdicts.entry(verdict.clone()).or_insert(0) += 1;
        if said != verdict || !named || explained.code != code {
            let url = ask.explained.join(" ");
            differences.push(format!("{url}: the proxy: {verdict} {rule}; {}", explained.said()));
        }
    }
    assert!(asks.len() > 250, "{}", asks.len());
    verdicts.retain(|_, times| *times >= 5);
    assert_eq!(verdicts.len(), case.verdicts, "{:?}: {verdicts:?}", case.options);
    assert!(
        differences.is_empty(),
        "{:?}: {} of {} differ:\n{}",
        case.options,
        differences.len(),
        asks.len(),
        differences.join("\n")
    );
}

/// Without any rule.
#[test]
fn kind_22_explain_agrees_with_the_built_in_rules() {
    compare(&Case { options: vec![], from: None, user: None, verdicts: 4 });
}

/// With rules that refuse and rules that allow, of every form.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn kind_22_explain_agrees_with_blocklists_and_exceptions() {
    let scratch = Scratch::new();
    let list = scratch.file(
        "list.txt",
        "blocked.test\n*.wild.test\n.apex.test\nport.test:8080\n198.51.100.0/24\n2001:db8::/64\n||adblock.test^\n",
    );
    compare(&Case {
        options: vec![
            "--blocklist",
            &list,
            "--allow",
            "exact.test",
            "--allow",
            ".loose.test,127.0.0.2",
            "--cache",
        ],
        from: None,
        user: None,
        verdicts: 4,
    });
}

/// With an allowlist of names and networks, and more closed than usual.
#[test]
fn kind_22_explain_agrees_with_allowlists() {
    let scratch = Scratch::new();
    let list =
        scratch.file("allowed.txt", ".good.test\nexact.test\n192.0.2.10\n2001:db8::5:443\n10.0.0.0/8:80\n");
    compare(&Case {
        options: vec!["--allowlist", &list, "--deny-private", "--block", "www.good.test"],
        from: None,
        user: None,
        verdicts: 3,
    });
}

/// With lists of ports, private networks closed, strict targets, and PURGE for some.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn kind_22_explain_agrees_with_lists_of_ports() {
    compare(&Case {
        options: vec![
            "--deny-private",
            "--connect-ports",
            "443,8080",
            "--ports",
            "any,!25,!8080",
            "--strict-targets",
            "--cache",
            "--purge-from",
            "192.0.2.0/24",
            "--allow",
            "127.0.0.0/8",
        ],
        from: None,
        user: None,
        verdicts: 4,
    });
}

const ANNA: &str = "Proxy-Authorization: Basic YW5uYTpzZWNyZXQ=\r\n";

/// With a known user, an unknown user, and without a user.
#[test]
fn kind_22_explain_agrees_about_users() {
    let scratch = Scratch::new();
    let users = scratch.file("users.txt", "anna:secret\n");
    let options = vec!["--auth-file", &users, "--block", "blocked.test"];
    compare(&Case { options: options.clone(), from: None, user: Some(("anna", ANNA)), verdicts: 4 });
    compare(&Case { options, from: None, user: None, verdicts: 2 });
}

/// With clients that may ask and clients that may not, and users beside.
#[test]
fn kind_22_explain_agrees_about_clients() {
    let scratch = Scratch::new();
    let users = scratch.file("users.txt", "berta:secret\n");
    let options = vec!["--auth-file", &users, "--allow-client", "127.0.0.5"];
    // Where a client may not ask, that is all that it learns.
    for (from, verdicts) in [("127.0.0.5", 2), ("127.0.0.6", 1)] {
        compare(&Case { options: options.clone(), from: Some(from), user: Some(("anna", ANNA)), verdicts });
    }
}

/// The gateway: which route, what is refused, and the rules of the guard before it.
#[cfg(feature = "guard")]
#[test]
fn gateway_14_explain_agrees_with_the_gateway() {
    let scratch = Scratch::new();
    let gone = common::origin::refusing_port();
    let routes = scratch.file(
        "gateway.conf",
        format!(
            "app.test/api/ -> 127.0.0.1:{gone} 127.0.0.2:{gone} backup strip /api\napp.test/ -> 127.0.0.1:{gone} \
             host rewrite\n*:81/only/ -> 127.0.0.1:{gone}\n"
        ),
    );
    let rules = scratch.file(
        "guard.conf",
        "ban 203.0.113.0/24\nlimit 6000/1m per client path /api/\ncsrf protect path /forms/\n\
         behaviour usage 600 in 1m path /api/\n",
    );
    let options = ["--gateway", &routes, "--guard", &rules, "--block", "blocked.test"];
    let weir = Weir::start_bare(&options);
    let cases = [
        ("GET", "http://app.test/api/x?q", "/api/x?q", "app.test", "by gateway:1: app.test"),
        ("GET", "app.test/apix", "/apix", "app.test", "by gateway:2: app.test"),
        ("POST", "https://app.test/api", "/api", "app.test", "by gateway:1: "),
        ("GET", "http://any.test:81/only/x", "/only/x", "any.test:81", "by gateway:3: *:81/only"),
        ("GET", "http://any.test:81/other", "/other", "any.test:81", "no_route_for_path"),
        ("GET", "http://other.test/", "/", "other.test", "no_route_for_host"),
        ("GET", "http://app.test/a%00", "/a%00", "app.test", "path_nul"),
        ("GET", "http://app.test/a%0d%0ab", "/a%0d%0ab", "app.test", "path_line_break"),
        ("GET", "http://app.test/api/%2e%2e/x", "/api/%2e%2e/x", "app.test", "path_climbs"),
        ("GET", "http://app.test/api/..%5cx", "/api/..%5cx", "app.test", "path_climbs"),
        ("GET", "http://app.test/%c0%ae/", "/%c0%ae/", "app.test", "path_encoding"),
        ("GET", "http://blocked.test/", "/", "blocked.test", "no_route_for_host"),
        ("CONNECT", "app.test:443", "app.test:443", "app.test:443", "gateway_connect"),
        ("POST", "http://app.test/forms/x", "/forms/x", "app.test", "by csrf:guard:3"),
        ("GET", "http://app.test/forms/x", "/forms/x", "app.test", "by gateway:2: "),
    ];
    for (number, (method, url, target, host, expected)) in cases.into_iter().enumerate() {
        let ask = Ask { explained: vec![], method: method.into(), target: target.into(), host: host.into() };
        let (verdict, rule) = judged(&weir, number, None, &ask, "");
        let explained = run(&[&options[..], &["explain", method, url]].concat());
        let said = explained.out.split(':').next().unwrap_or("").to_owned();
        let code = i32::from(verdict != "allowed");
        assert_eq!((said, explained.code), (verdict, code), "{url}: {}", explained.said());
        assert!(
            explained.out.contains(expected) && explained.out.contains(&rule),
            "{url}: {}",
            explained.said()
        );
    }
    let sent = run(&[&options[..], &["explain", "app.test/api/x"]].concat()).out;
    for part in [
        format!("  upstream 127.0.0.2:{gone}: backup, weight 1\n"),
        "  sent as GET /x, Host: app.test\n  fields whose names hold an underscore are dropped\n".to_owned(),
        "  counted by guard:2: limit 6000/1m per client path /api/\n".to_owned(),
        "  watched by guard:4: behaviour\n".to_owned(),
    ] {
        assert!(sent.contains(&part), "{part} in {sent}");
    }
    let form = run(&[&options[..], &["explain", "app.test/forms/x"]].concat()).out;
    assert!(
        form.contains("  protected by guard:3: csrf protect\n") && !form.contains("watched by"),
        "{form}"
    );
    let banned = run(&[&options[..], &["explain", "--client", "203.0.113.7", "app.test/"]].concat());
    assert!(banned.code == 1 && banned.out.contains("by banned:guard:1"), "{}", banned.said());
}

/// `weir detect` names the pattern, the view and the score, and says by its exit code whether it is an attack.
#[cfg(feature = "detection")]
#[test]
fn detect_tells_what_is_found_and_where() {
    let attack = run(&["detect", "%27%20OR%201%3D1--"]);
    assert_eq!(attack.code, 1, "{}", attack.said());
    assert!(attack.out.starts_with("sqli  sqli_") && attack.out.contains("  score=1.00  "), "{}", attack.out);
    assert!(attack.out.ends_with("\nattack: sqli\n"), "{}", attack.out);
    let prose = run(&["detect", "--context", "body", "It's nice, isn't it? Select one or two of them."]);
    assert_eq!((prose.code, prose.out.as_str()), (0, "nothing found\n"));
    let path = run(&["detect", "--context=path", "/a/..%2f..%2fetc/passwd"]);
    assert_eq!(path.code, 1, "{}", path.said());
    let scratch = Scratch::new();
    let guard = scratch
        .file("guard.conf", "detect observe\ndetect off sqli\ndetect pattern moon-base \"moon ?base\"\n");
    let off = run(&["detect", "--guard", &guard, "' OR 1=1--"]);
    assert_eq!(off.code, 0, "{}", off.said());
    let own = run(&["detect", "--guard", &guard, "to the Moon Base"]);
    assert!(own.code == 1 && own.out.contains("moon-base"), "{}", own.said());
    for wrong in
        [&["detect"][..], &["detect", "a", "b"], &["detect", "--context", "x", "a"], &["--context", "path"]]
    {
        assert_eq!(run(wrong).code, 64, "{wrong:?}");
    }
}

/// A rule that opens loopback does not open the listener for monitoring systems; one that names its port does.
#[test]
#[cfg(feature = "admin")]
fn the_listener_for_monitoring_is_not_for_clients() {
    let explained = |allow: &str| {
        let listener = "127.0.0.1:9100";
        run(&["--metrics", listener, "--allow", allow, "explain", "http://127.0.0.1:9100/metrics"]).said()
    };
    assert!(explained("127.0.0.0/8").contains("own-listener"));
    let named = explained("127.0.0.1:9100");
    assert!(named.contains("allowed") && !named.contains("own-listener"), "{named}");
}
