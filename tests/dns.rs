//! Names: the daemon against a name server that says what the test wants.

mod common;

use common::dns::{A, AAAA, parse};
use common::origin::refusing_port;
use common::{Answer, FakeDns, Origin, Raw, Response, Scratch, Weir};
use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, Instant};

fn get(origin: &Origin, name: &str) -> Vec<u8> {
    let authority = format!("{name}:{}", origin.port());
    format!("GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\n\r\n").into_bytes()
}

#[track_caller]
fn ask(weir: &Weir, origin: &Origin, name: &str) -> Response {
    weir.connect().ask(get(origin, name))
}

/// A name is resolved and dialled, and keeps its Host.
#[test]
fn names_resolve() {
    let dns = FakeDns::start(&[
        ("origin.test", Answer::addresses(&["127.0.0.1"])),
        ("alias.test", Answer::Alias(60, "other.test".into())),
        ("other.test", Answer::Alias(60, "origin.test".into())),
    ]);
    let (weir, origin) = (Weir::start(&["--dns", &dns.address()]), Origin::ok());
    for name in ["origin.test", "alias.test"] {
        assert_eq!(ask(&weir, &origin, name).status(), 200, "{name}");
    }
    let hosts: Vec<_> = origin.heads().iter().map(|head| head.get("host").map(str::to_owned)).collect();
    let wanted = ["origin.test", "alias.test"].map(|name| Some(format!("{name}:{}", origin.port())));
    assert_eq!(hosts, wanted);
}

/// An alias whose target is not in the same answer is followed; a ring of aliases is an error.
#[test]
fn alias_rings_end() {
    let dns = FakeDns::start(&[
        ("a.test", Answer::Alias(60, "b.test".into())),
        ("b.test", Answer::Alias(60, "a.test".into())),
    ]);
    let (weir, origin) = (Weir::start(&["--dns", &dns.address()]), Origin::ok());
    assert_eq!(ask(&weir, &origin, "a.test").status(), 502);
    assert!(dns.queries().len() < 40, "{} queries", dns.queries().len());
}

/// Answers are remembered for their TTL, also negative ones; and no longer.
#[test]
fn answers_are_cached() {
    let dns = FakeDns::start(&[
        ("long.test", Answer::addresses(&["127.0.0.1"])),
        ("short.test", Answer::short(1, &["127.0.0.1"])),
    ]);
    let (weir, origin) =
        (Weir::start(&["--dns", &dns.address()]), Origin::closing("HTTP/1.1 204 No\r\n\r\n"));
    for _ in 0..5 {
        assert_eq!(ask(&weir, &origin, "long.test").status(), 204);
        assert_eq!(ask(&weir, &origin, "LONG.test.").status(), 204);
        assert_eq!(ask(&weir, &origin, "short.test").status(), 204);
        assert_eq!(ask(&weir, &origin, "missing.test").status(), 502);
    }
    assert_eq!((dns.count("long.test", A), dns.count("long.test", AAAA)), (1, 1));
    assert_eq!(dns.count("missing.test", A), 1, "a negative answer with an SOA is an answer");
    let before = dns.count("short.test", A);
    std::thread::sleep(Duration::from_millis(2200));
    assert_eq!(ask(&weir, &origin, "short.test").status(), 204);
    assert_eq!(dns.count("short.test", A), before + 1, "the TTL has passed");
    assert_eq!(dns.count("long.test", A), 1);
}

/// Requests for a name that is being asked for wait for the same answer.
#[test]
fn queries_in_flight_are_shared() {
    let dns = FakeDns::start(&[("held.test", Answer::Held(60, parse(&["127.0.0.1"])))]);
    let (weir, origin) = (Weir::start(&["--dns", &dns.address()]), Origin::ok());
    let mut clients: Vec<Raw> = (0..20).map(|_| weir.connect()).collect();
    for client in &mut clients {
        client.send(get(&origin, "held.test"));
    }
    dns.wait_for_queries("held.test", A, 1);
    // The last of them has been read when a later request on the same loop is answered.
    assert_eq!(weir.connect().ask(origin.get("/")).status(), 200);
    dns.release();
    for client in &mut clients {
        assert_eq!(client.read_response().status(), 200);
    }
    assert_eq!(dns.count("held.test", A), 1);
}

/// A truncated answer is asked for again over TCP.
#[test]
fn truncation_goes_to_tcp() {
    let dns = FakeDns::start(&[("cut.test", Answer::Truncated(60, parse(&["127.0.0.1"])))]);
    let (weir, origin) = (Weir::start(&["--dns", &dns.address()]), Origin::ok());
    assert_eq!(ask(&weir, &origin, "cut.test").status(), 200);
    assert!(dns.queries().iter().any(|query| query.tcp));
}

/// A first server that is dead costs one time-out, not one per request.
#[test]
fn dead_server_costs_one_timeout() {
    let dead = UdpSocket::bind("127.0.0.1:0").expect("a socket that never answers");
    let names: Vec<_> = (0..10).map(|number| format!("n{number}.test")).collect();
    let zone: Vec<_> = names.iter().map(|name| (name.as_str(), Answer::addresses(&["127.0.0.1"]))).collect();
    let dns = FakeDns::start(&zone);
    let servers = format!("{},{}", dead.local_addr().expect("its address"), dns.address());
    let (weir, origin) = (Weir::start(&["--dns", &servers]), Origin::ok());
    let timed = |name: &str| {
        let started = Instant::now();
        assert_eq!(ask(&weir, &origin, name).status(), 200, "{name}");
        started.elapsed()
    };
    let first = timed(&names[0]);
    let rest: Duration = names[1..].iter().map(|name| timed(name)).sum();
    assert!(first < Duration::from_secs(8), "the first look-up took {first:?}");
    assert!(rest < Duration::from_secs(1), "nine look-ups after the first took {rest:?}");
}

/// A server that refuses, by ICMP or by SERVFAIL, is passed over at once.
#[test]
fn refusing_servers_are_passed_over() {
    let dns = FakeDns::start(&[("a.test", Answer::addresses(&["127.0.0.1"]))]);
    let failing = FakeDns::start(&[("a.test", Answer::Fail)]);
    let origin = Origin::ok();
    let gone = {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.local_addr().expect("its address").to_string()
    };
    for first in [gone, failing.address()] {
        let weir = Weir::start(&["--dns", &format!("{first},{}", dns.address())]);
        assert_eq!(ask(&weir, &origin, "a.test").status(), 200, "behind {first}");
    }
}

/// No such name, no address, server failure and silence are a 502 (or 504) with the error type of RFC 9209.
#[test]
fn failures_are_told() {
    let dns = FakeDns::start(&[
        ("empty.test", Answer::Addresses(60, Vec::new())),
        ("fail.test", Answer::Fail),
        ("mute.test", Answer::Silent),
    ]);
    let (weir, origin) = (Weir::start(&["--dns", &dns.address()]), Origin::ok());
    for name in ["missing.test", "empty.test", "fail.test"] {
        let answer = ask(&weir, &origin, name);
        assert_eq!(answer.status(), 502, "{name}: {answer:?}");
        let said = answer.head.get("proxy-status").unwrap_or_default();
        assert!(said.contains("error=dns_error"), "{name}: {said:?}");
        assert_eq!(
            weir.connect().ask(format!("CONNECT {name}:443 HTTP/1.1\r\nHost: h\r\n\r\n")).status(),
            502
        );
    }
    let fast = Weir::start(&["--dns", &dns.address(), "--connect-timeout", "2"]);
    let mut client = fast.connect();
    client.send(get(&origin, "mute.test"));
    // Others go on meanwhile.
    assert_eq!(fast.connect().ask(origin.get("/")).status(), 200);
    let answer = client.read_response();
    let said = answer.head.get("proxy-status").unwrap_or_default();
    assert!(matches!(answer.status(), 502 | 504) && said.contains("dns_"), "{answer:?}");
}

/// Answers with a wrong id or to another question are not believed.
#[test]
fn forged_answers_are_ignored() {
    let dns = FakeDns::start(&[("forged.test", Answer::Forged(60, parse(&["127.0.0.1"])))]);
    let (weir, origin) = (Weir::start(&["--dns", &dns.address()]), Origin::ok());
    assert_eq!(ask(&weir, &origin, "forged.test").status(), 200);
}

/// Ids and source ports are not to be guessed.
#[test]
fn queries_are_unpredictable() {
    let dns = FakeDns::start(&[]);
    let (weir, origin) = (Weir::start(&["--dns", &dns.address()]), Origin::ok());
    for number in 0..20 {
        ask(&weir, &origin, &format!("n{number}.test"));
    }
    let queries = dns.queries();
    let distinct = |mut list: Vec<u16>| {
        list.sort_unstable();
        list.dedup();
        list.len()
    };
    let ids = distinct(queries.iter().map(|query| query.id).collect());
    let ports = distinct(queries.iter().map(|query| query.port).collect());
    assert!(queries.len() >= 20 && ids * 10 >= queries.len() * 9, "{ids} ids in {} queries", queries.len());
    assert!(ports * 10 >= queries.len() * 4, "{ports} ports in {} queries", queries.len());
    let ascending = queries.windows(2).filter(|pair| pair[1].id == pair[0].id.wrapping_add(1)).count();
    assert!(ascending < 4, "ids count upwards");
}

/// Where one family does not answer, the other is used without a long wait.
#[test]
fn happy_eyeballs_refused() {
    let dns = FakeDns::start(&[("both.test", Answer::addresses(&["::1", "127.0.0.1"]))]);
    let (weir, origin) = (Weir::start(&["--dns", &dns.address(), "--allow", "::1"]), Origin::ok());
    let started = Instant::now();
    // Nothing listens on that port of ::1.
    assert_eq!(ask(&weir, &origin, "both.test").status(), 200);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!((dns.count("both.test", A), dns.count("both.test", AAAA)), (1, 1));
}

/// Where one address swallows everything, the next is tried after a moment, not after a time-out.
#[test]
fn happy_eyeballs_dead() {
    let dns = FakeDns::start(&[("dead.test", Answer::addresses(&["2001:db8::1", "100::1", "127.0.0.1"]))]);
    let (weir, origin) = (Weir::start(&["--dns", &dns.address()]), Origin::ok());
    let started = Instant::now();
    assert_eq!(ask(&weir, &origin, "dead.test").status(), 200);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

/// IPv6 is used where it works.
#[test]
fn ipv6_is_used() {
    let dns = FakeDns::start(&[("six.test", Answer::addresses(&["::1"]))]);
    let weir = Weir::start(&["--dns", &dns.address(), "--allow", "::1"]);
    let origin = Origin::serve_at("[::1]:0", |mut conn| {
        conn.answer_all("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    assert_eq!(ask(&weir, &origin, "six.test").status(), 200);
}

/// All addresses are tried before it is a failure.
#[test]
fn every_address_is_tried() {
    let dns = FakeDns::start(&[
        ("some.test", Answer::addresses(&["127.0.0.2", "127.0.0.3", "127.0.0.1"])),
        ("none.test", Answer::addresses(&["127.0.0.2", "127.0.0.3"])),
    ]);
    let (weir, origin) = (Weir::start(&["--dns", &dns.address()]), Origin::ok());
    assert_eq!(ask(&weir, &origin, "some.test").status(), 200);
    let answer = ask(&weir, &origin, "none.test");
    assert_eq!(answer.status(), 502);
    assert!(
        answer.head.get("proxy-status").is_some_and(|said| said.contains("connection_refused")),
        "{answer:?}"
    );
    assert_ne!(refusing_port(), origin.port());
}

/// Names of the hosts file need no server, and are judged like any other.
#[test]
fn hosts_file() {
    let dns = FakeDns::start(&[]);
    let (weir, origin) = (Weir::start(&["--dns", &dns.address(), "--allow", "::1"]), Origin::ok());
    assert_eq!(ask(&weir, &origin, "localhost").status(), 200);
    assert_eq!(dns.count("localhost", A), 0);
}

/// With mixed case in queries the answers still fit.
#[test]
fn mixed_case_queries() {
    let dns = FakeDns::start(&[("mixed-case-name.test", Answer::addresses(&["127.0.0.1"]))]);
    let (weir, origin) = (Weir::start(&["--dns", &dns.address(), "--dns-0x20"]), Origin::ok());
    assert_eq!(ask(&weir, &origin, "mixed-case-name.test").status(), 200);
}

/// Starts weir with this resolv.conf in place of the machine's, in a mount namespace of its own. Needs root.
#[track_caller]
fn start_with_resolv_conf(text: &str, options: &[&str]) -> Weir {
    let (_scratch, mut command) = with_resolv_conf(text);
    command.args(["--host", "127.0.0.1", "--port", "0"]).args(options);
    Weir::spawn(command, 1).unwrap_or_else(|lines| panic!("weir {options:?} did not start: {lines:#?}"))
}

/// The command `weir` without options, with this resolv.conf.
fn with_resolv_conf(text: &str) -> (Scratch, Command) {
    let scratch = Scratch::new();
    let file = scratch.file("resolv.conf", text);
    let mut command = Command::new("unshare");
    let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script, &file, env!("CARGO_BIN_EXE_weir")]);
    (scratch, command)
}

fn connect(weir: &Weir, origin: &Origin, name: &str) -> Response {
    let authority = format!("{name}:{}", origin.port());
    let mut client = weir.connect();
    client.send(format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"));
    client.read_response_to("CONNECT")
}

/// Rule 10: a name that a search domain makes another one of is judged as that before it is asked for.
#[test]
fn kind_05_search_domains_do_not_bypass_name_rules() {
    let dns = FakeDns::start(&[
        ("secret.corp.test", Answer::addresses(&["127.0.0.1"])),
        ("open.lab.test", Answer::addresses(&["127.0.0.1"])),
        ("deep.secret.corp.test", Answer::addresses(&["127.0.0.1"])),
    ]);
    let origin = Origin::ok();
    for more in common::built([&[][..], &["--cache"], &["--workers", "2"]]) {
        let ports = origin.port().to_string();
        let server = dns.address();
        let allow = ["--allow", "127.0.0.0/8", "--connect-ports", &ports];
        let block = ["--dns", &server, "--block", ".corp.test"];
        let options = [&allow[..], &block, more].concat();
        let weir = start_with_resolv_conf("search corp.test lab.test\n", &options);
        for name in ["secret", "SECRET"] {
            let answer = ask(&weir, &origin, name);
            assert_eq!(answer.status(), 403, "{name}: {answer:?}");
            assert!(answer.head.get("proxy-status").is_some_and(|status| status.contains("--block:1")));
            assert_eq!(connect(&weir, &origin, name).status(), 403, "{name}");
        }
        // The search goes on where no rule blocks.
        assert_eq!(ask(&weir, &origin, "open").status(), 200);
        assert_eq!(connect(&weir, &origin, "open").status(), 200);
        // A trailing dot ends it. Of a name that was asked for itself and does not exist, a rule for what would have been tried
        // next is not the cause.
        for name in ["open.", "secret.", "deep.secret", "none.example"] {
            assert_eq!(ask(&weir, &origin, name).status(), 502, "{name}");
            assert_eq!(connect(&weir, &origin, name).status(), 502, "{name}");
        }
    }
    assert!(dns.queries().iter().all(|query| !query.name.ends_with("corp.test")), "{:?}", dns.queries());
}

/// Rule 10: with an allowlist, too, and names that are allowed by themselves.
#[test]
fn kind_05_search_domains_and_allowlists() {
    let known =
        ["secret.corp.test", "first.corp.test", "first.lab.test", "a.b", "a.b.corp.test", "c.d.corp.test"];
    let dns = FakeDns::start(&known.map(|name| (name, Answer::addresses(&["127.0.0.1"]))));
    let origin = Origin::ok();
    let ports = origin.port().to_string();
    let scratch = Scratch::new();
    // The names that are asked for: none, if no candidate is on the list.
    for (list, name, expected, asked) in [
        ("secret\n", "secret", 200, Some("secret.corp.test")),
        ("secret\nsecret.corp.test\n", "secret", 200, Some("secret.corp.test")),
        ("secret.corp.test\n", "secret.corp.test", 200, Some("secret.corp.test")),
        // The name in the request is not on it, but the name that the search list makes of it.
        ("secret.corp.test\n", "secret", 200, Some("secret.corp.test")),
        ("secret.corp.test\n", "secret.", 403, None),
        ("none.lab.test\n", "none", 403, Some("none.lab.test")),
        ("other.test\n", "secret", 403, None),
        // The first candidate that exists is meant, whichever the list allows.
        ("first.lab.test\n", "first", 403, Some("first.corp.test")),
        ("a.b.corp.test\n", "a.b", 403, Some("a.b")),
        ("c.d.corp.test\n", "c.d", 200, Some("c.d")),
    ] {
        // A rule that has nothing to do with it changes nothing.
        for unrelated in [&[][..], &["--allow", "127.0.0.9"]] {
            let file = scratch.file("list", list);
            let before = dns.queries().len();
            let options = ["--dns", &dns.address(), "--allowlist", &file, "--connect-ports", &ports];
            let options = [&options[..], unrelated].concat();
            let weir = start_with_resolv_conf("search corp.test lab.test\n", &options);
            assert_eq!(ask(&weir, &origin, name).status(), expected, "{list:?} {name} {unrelated:?}");
            assert_eq!(connect(&weir, &origin, name).status(), expected, "{list:?} {name} {unrelated:?}");
            let queries = dns.queries().split_off(before);
            match asked {
                Some(asked) => {
                    assert!(queries.iter().any(|query| query.name == asked), "{list:?} {queries:?}")
                }
                None => assert!(queries.is_empty() || !unrelated.is_empty(), "{list:?} {name}: {queries:?}"),
            }
        }
    }
}

/// With and without a dot behind it a name may be two hosts: no response of one is stored for the other.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn kind_12_a_trailing_dot_is_another_host_for_the_cache() {
    let dns = FakeDns::start(&[
        ("dual", Answer::addresses(&["127.0.0.1"])),
        ("dual.corp.test", Answer::addresses(&["127.0.0.2"])),
    ]);
    let origin =
        Origin::answering("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 2\r\n\r\nok");
    let options = ["--dns", &dns.address(), "--cache", "--allow", "127.0.0.1"];
    let weir = start_with_resolv_conf("search corp.test\n", &options);
    // The searched name leads where nothing may be dialled.
    assert_eq!([(); 2].map(|()| ask(&weir, &origin, "dual.").status()), [200; 2]);
    assert_eq!(origin.heads().len(), 2);
    assert_eq!(ask(&weir, &origin, "dual").status(), 403);
    weir.wait_for_log(|line| line.contains("cache=bypass:trailing-dot"));
}

/// The log and `weir explain` name the rule of the candidate that was dialled, or refused.
#[test]
fn kind_22_the_rule_of_a_search_domain_is_named() {
    let dns = FakeDns::start(&[
        ("one.corp.test", Answer::addresses(&["127.0.0.1"])),
        ("mixed.corp.test", Answer::addresses(&["127.0.0.3", "127.0.0.1"])),
        ("v6.corp.test", Answer::addresses(&["::1", "127.0.0.1"])),
        ("both.lab.test", Answer::addresses(&["127.0.0.1"])),
    ]);
    let (origin, scratch, server) = (Origin::ok(), Scratch::new(), dns.address());
    let list = scratch.file("list", "one.corp.test\n");
    let ports = origin.port().to_string();
    let dialled = "  127.0.0.1: would be dialled\n";
    let closed = "  127.0.0.1: refused by built-in:loopback\n";
    for (rules, name, expected, rule, addresses) in [
        (&["--allow", "one.corp.test"][..], "one", 200, "--allow:1", dialled),
        (&["--allow", "one"], "one", 200, "--allow:1", dialled),
        (&["--allowlist", &list], "one", 200, "list:1", dialled),
        (&["--allowlist", &list, "--allow", "127.0.0.9"], "one", 200, "list:1", dialled),
        (&["--allowlist", &list, "--allow", "127.0.0.1"], "both", 200, "--allow:1", dialled),
        (
            &["--allow", "127.0.0.1"],
            "mixed",
            200,
            "--allow:1",
            "  127.0.0.1: would be dialled\n  127.0.0.3: refused by built-in:loopback\n",
        ),
        (
            &["--allow", "v6.corp.test:1-65535", "--block", "::1"],
            "v6",
            200,
            "--allow:1",
            "  127.0.0.1: would be dialled\n  ::1: refused by --block:1\n",
        ),
        (&["--allow", "none.test"], "one", 403, "built-in:loopback", closed),
        (&["--allow", ".corp.test"], "one", 403, "built-in:loopback", closed),
        (&["--block", ".corp.test"], "one", 403, "--block:1", ""),
        (&["--allowlist", &list], "both", 403, "allowlist", ""),
    ] {
        let options = [&["--dns", &server, "--connect-ports", &ports][..], rules].concat();
        let weir = start_with_resolv_conf("search corp.test lab.test\n", &options);
        assert_eq!(ask(&weir, &origin, name).status(), expected, "{rules:?} {name}");
        assert_eq!(connect(&weir, &origin, name).status(), expected, "{rules:?} {name}");
        // The connection that waits in the pool is judged by the candidate, too.
        assert_eq!(ask(&weir, &origin, name).status(), expected, "{rules:?} {name}");
        let lines = weir.wait_for_logs(3, |line| line.contains(" reason="));
        let named =
            |line: &String| line.contains(&format!("reason={rule} ")) || line.contains(&format!("/{rule} "));
        assert!(lines.iter().all(named), "{rules:?} {name}: {lines:#?}");
        let (_scratch, mut command) = with_resolv_conf("search corp.test lab.test\n");
        let url = format!("http://{name}:{}/", origin.port());
        command.args(["explain", &url]).args(&options);
        let said = common::weir::finish(command);
        let verdict = if expected == 200 { "allowed" } else { "refused" };
        assert_eq!(said.code, i32::from(expected != 200), "{}", said.said());
        let told = said.out.strip_prefix(&format!("{verdict}: GET {name}:{}\n  by ", origin.port()));
        let (by, rest) =
            told.and_then(|told| told.split_once('\n')).unwrap_or_else(|| panic!("{}", said.said()));
        assert!(by == rule || by.ends_with(&format!("/{rule}")), "{rules:?} {name}: {}", said.said());
        assert_eq!(rest, addresses, "{rules:?} {name}: {}", said.said());
    }
}

/// Rule 45: the result of a search domain is valid no longer than the answers on the way to it.
#[test]
fn kind_12_search_domains_and_names_that_move() {
    let (origin, moved) = (Origin::ok(), "127.0.0.5");
    for name in ["host", "host.test"] {
        let whole = format!("{name}.corp.test");
        let dns = FakeDns::start(&[(&whole, Answer::short(1, &["127.0.0.1"]))]);
        let options = ["--allow", "127.0.0.0/8", "--dns", &dns.address()];
        let weir = start_with_resolv_conf("search corp.test\n", &options);
        let before = origin.connections();
        assert_eq!(ask(&weir, &origin, name).status(), 200);
        let queries = dns.queries().len();
        for _ in 0..5 {
            assert_eq!(ask(&weir, &origin, name).status(), 200);
        }
        assert!(dns.queries().len() <= queries + 4, "{name}: {:?}", dns.queries());
        assert_eq!(origin.connections(), before + 1, "{name}");
        // The failure of the name by itself is cached for longer, and no process listens at the new address.
        dns.set(&whole, Answer::short(3600, &[moved]));
        common::eventually("the new address is dialled", || {
            (ask(&weir, &origin, name).status() == 502).then_some(())
        });
    }
}

/// Rules 10 and 44: a trailing dot names another host where there is a search list, on an authenticated connection, too.
#[test]
fn kind_01_a_trailing_dot_is_another_host() {
    let origin = Origin::ok();
    let dns = FakeDns::start(&[("host.corp.test", Answer::short(60, &["127.0.0.1"]))]);
    let options = ["--allow", "127.0.0.0/8", "--dns", &dns.address()];
    let weir = start_with_resolv_conf("search corp.test\n", &options);
    let request = |name: &str, fields: &str| {
        let authority = format!("{name}:{}", origin.port());
        format!("GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\n{fields}\r\n")
    };
    let mut client = weir.connect();
    assert_eq!(client.ask(request("host", "Authorization: NTLM x\r\n")).status(), 200);
    assert_eq!(client.ask(request("host.", "")).status(), 502, "there is no such host");
    assert_eq!(client.ask(request("host", "")).status(), 200);
    assert_eq!(origin.connections(), 1);
}

/// Rule 44: an authenticated connection stays allowed by the rule that has allowed it, also if that is one for a name that the
/// search list made; and is refused once a rule forbids a name on the way to it.
#[test]
fn kind_01_an_authenticated_connection_is_judged_by_all_its_names() {
    let origin = Origin::ok();
    let dns = FakeDns::start(&[
        ("host.corp.test", Answer::addresses(&["127.0.0.1"])),
        ("www.test", Answer::Alias(60, "edge.tracker.test".into())),
        ("edge.tracker.test", Answer::addresses(&["127.0.0.1"])),
    ]);
    let list = |name: &str| format!("allow {name}\njudge-cnames yes\n");
    // The rule that refuses a name or an address is told. Which aliases led to the connection is not known any more.
    for (name, allowed, forbidden) in [
        ("host", "host.corp.test", Some(("block host.corp.test\n", 403))),
        ("host", "host.corp.test", Some(("block 127.0.0.1\n", 403))),
        ("www.test", "www.test", Some(("block .tracker.test\n", 502))),
        ("host.corp.test", "host.corp.test", None),
    ] {
        let scratch = Scratch::new();
        let config = scratch.file("weir.conf", list(allowed));
        let weir = start_with_resolv_conf("search corp.test\n", &["-c", &config, "--dns", &dns.address()]);
        let authority = format!("{name}:{}", origin.port());
        let request =
            |fields: &str| format!("GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\n{fields}\r\n");
        let (mut client, before) = (weir.connect(), origin.connections());
        for fields in ["Authorization: NTLM x\r\n", "", ""] {
            assert_eq!(client.ask(request(fields)).status(), 200, "{name}");
        }
        assert_eq!(origin.connections(), before + 1, "{name}");
        let Some((rule, status)) = forbidden else { continue };
        scratch.file("weir.conf", list(allowed) + rule);
        weir.signal(rustix::process::Signal::HUP);
        weir.wait_for_error(|line| line.contains("reloaded: "));
        let answer = client.ask(request(""));
        assert_eq!(answer.status(), status, "{name}: {answer:?}");
        assert_eq!(
            status == 403,
            answer.head.get("proxy-status").is_some_and(|said| said.contains("weir.conf:3"))
        );
        client.expect_closed();
        assert_eq!(weir.connect().ask(request("")).status(), 403, "{name}");
        assert_eq!(origin.connections(), before + 1, "{name}");
    }
}

/// Rule 42: the names on the way are judged where that is wanted.
#[test]
fn kind_05_cnames_are_judged_where_a_rule_wants_it() {
    let dns = FakeDns::start(&[
        ("www.test", Answer::Alias(60, "edge.tracker.test".into())),
        ("edge.tracker.test", Answer::Alias(60, "node.test".into())),
        ("node.test", Answer::addresses(&["127.0.0.1"])),
    ]);
    let origin = Origin::ok();
    let ports = origin.port().to_string();
    for (more, expected) in [
        (&[][..], 200),
        (&["--judge-cnames"], 403),
        #[cfg(feature = "cache")]
        (&["--judge-cnames", "--cache"], 403),
    ] {
        for blocked in [".tracker.test", "node.test"] {
            let all = ["--dns", &dns.address(), "--block", blocked, "--connect-ports", &ports];
            let options: Vec<&str> = all.iter().chain(more).copied().collect();
            let weir = Weir::start(&options);
            for _ in 0..2 {
                assert_eq!(ask(&weir, &origin, "www.test").status(), expected, "{more:?} {blocked}");
                assert_eq!(connect(&weir, &origin, "www.test").status(), expected, "{more:?} {blocked}");
            }
        }
    }
}

/// Rule 42: the owner of a zone may choose names that are no host names; rules for the domain above them hold.
#[test]
fn kind_05_cnames_to_names_that_are_no_hosts_are_judged() {
    let targets = ["*.ads.test", "a b.ads.test", "a/b.ads.test", "\u{e4}.ads.test", "\u{1}.x.ads.test"];
    let names: Vec<(String, &str)> = (0..).map(|number| format!("n{number}.test")).zip(targets).collect();
    let dns = FakeDns::start(&[("fine.test", Answer::Alias(60, "a b.good.test".into()))]);
    dns.set("a b.good.test", Answer::addresses(&["127.0.0.1"]));
    for (name, target) in &names {
        dns.set(name, Answer::Alias(60, (*target).into()));
        dns.set(target, Answer::addresses(&["127.0.0.1"]));
    }
    let (origin, dns_address) = (Origin::ok(), dns.address());
    let ports = origin.port().to_string();
    // No rule for exactly another name holds.
    let rules = ["--block", ".ads.test", "--block", "a-b.good.test", "--block", "a_b.good.test"];
    let options = [&["--dns", &dns_address, "--connect-ports", &ports][..], &rules].concat();
    for (more, expected) in [(&[][..], 200), (&["--judge-cnames"], 403)] {
        let weir = Weir::start(&[&options[..], more].concat());
        for (name, target) in &names {
            assert_eq!(ask(&weir, &origin, name).status(), expected, "{target}");
            assert_eq!(connect(&weir, &origin, name).status(), expected, "{target}");
        }
        assert_eq!(ask(&weir, &origin, "fine.test").status(), 200);
        let explained = common::run(
            &[&["explain", "http://n1.test/", "--allow", "127.0.0.1"][..], &options, more].concat(),
        );
        assert_eq!(explained.code == 0, expected == 200, "{}", explained.said());
    }
}
