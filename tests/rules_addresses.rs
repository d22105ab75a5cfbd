//! Addresses and ports: rules 40 to 43 of the rule book.

mod common;

use common::rights::may_make_namespaces;
use common::{Answer, FakeDns, Origin, Weir, eventually, forwarded, run};
use std::process::Command;

#[track_caller]
fn status_of(weir: &Weir, host: &str, port: u16) -> u16 {
    let answer =
        weir.connect().ask(format!("GET http://{host}:{port}/ HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"));
    answer.status()
}

#[track_caller]
fn connect_status_of(weir: &Weir, host: &str, port: u16) -> u16 {
    weir.connect().ask(format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n")).status()
}

/// Spellings of 127.0.0.1, and addresses that embed it.
const LOOPBACK_SPELLINGS: [&str; 17] = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f.1",
    "0x7F000001",
    "0177.0.0.1",
    "017700000001",
    "0x7f.0.0.0x1",
    "127.0.0.1.",
    "127.255.255.254",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[64:ff9b::127.0.0.1]",
    "[2002:7f00:1::]",
];

/// Rule 40: loopback is refused whatever its spelling, for requests and for tunnels.
#[test]
fn rule_40_every_spelling_is_judged() {
    let weir = Weir::start_bare(&[]);
    let origin = Origin::ok();
    for host in LOOPBACK_SPELLINGS {
        assert_eq!(status_of(&weir, host, origin.port()), 403, "{host}");
        assert_eq!(connect_status_of(&weir, host, origin.port()), 403, "{host}");
    }
    // IPv4-compatible and Teredo (the client's address, inverted) embed one as well.
    for host in ["[::127.0.0.1]", "[2001:0:4136:e378:8000:63bf:80ff:fffe]"] {
        assert_eq!(status_of(&weir, host, origin.port()), 403, "{host}");
    }
    assert_eq!(origin.connections(), 0);
}

/// Rule 40: a block of an address catches its other spellings, and an allowance reaches them too.
#[test]
fn rule_40_rules_meet_canonical_addresses() {
    let origin = Origin::ok();
    let weir = Weir::start(&["--block", "127.0.0.3"]);
    for host in ["127.0.0.3", "0x7f000003", "2130706435", "127.3", "[::ffff:127.0.0.3]"] {
        assert_eq!(status_of(&weir, host, origin.port()), 403, "{host}");
    }
    for host in ["127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::ffff:127.0.0.1]"] {
        assert_eq!(status_of(&weir, host, origin.port()), 200, "{host}");
    }
}

/// Rule 40: what looks like an address and is none is refused, not resolved.
#[test]
fn rule_40_bad_spellings() {
    let dns = FakeDns::start(&[]);
    let weir = Weir::start(&["--dns", &dns.address()]);
    for host in ["256.0.0.1", "1.2.3.4.5", "127.0.0.256", "4294967296", "0x100000000", "08.1", "1..1"] {
        let status = status_of(&weir, host, 8000);
        assert!(matches!(status, 400 | 403), "{host}: {status}");
    }
    assert_eq!(dns.queries(), []);
}

/// Rule 41: addresses that are blocked unless they are allowed explicitly.
#[test]
fn rule_41_built_in_blocks() {
    let weir = Weir::start_bare(&[]);
    for host in [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.169.254",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "[::]",
        "[::1]",
        "[fe80::1]",
        "[febf::1]",
        "[ff02::1]",
    ] {
        assert_eq!(status_of(&weir, host, 8000), 403, "{host}");
        assert_eq!(connect_status_of(&weir, host, 8000), 403, "{host}");
    }
}

/// Rule 41: private networks are refused where that is asked for (shown by `explain`, which dials nothing).
#[test]
fn rule_41_private_networks() {
    for host in [
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "192.0.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "192.0.2.1",
        "198.51.100.1",
        "203.0.113.1",
        "[fc00::1]",
        "[fdff::1]",
        "[2001:db8::1]",
        "[64:ff9b::10.0.0.1]",
    ] {
        let target = format!("http://{host}/");
        assert_eq!(run(&["--deny-private", "explain", "GET", &target]).code, 1, "{host} with --deny-private");
        assert_eq!(run(&["explain", "GET", &target]).code, 0, "{host} without");
    }
    for host in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "[2606:4700::1111]"] {
        let target = format!("http://{host}/");
        assert_eq!(run(&["--deny-private", "explain", "GET", &target]).code, 0, "{host}");
    }
}

/// Rule 41: weir does not talk to its own listeners.
#[test]
fn rule_41_own_listeners() {
    let weir = Weir::start_bare(&[]);
    let own = weir.address();
    let answer = weir.connect().ask(format!("GET http://{own}/ HTTP/1.1\r\nHost: {own}\r\n\r\n"));
    assert!(matches!(answer.status(), 400 | 403), "{answer:?}");
    assert_eq!(connect_status_of(&weir, "127.0.0.1", own.port()), 403);
}

/// Rule 42: blocked addresses are removed from an answer; the others are dialled.
#[test]
fn rule_42_mixed_answers() {
    let dns = FakeDns::start(&[
        ("mixed.test", Answer::addresses(&["127.0.0.2", "127.0.0.1", "169.254.169.254"])),
        ("alias.test", Answer::Alias(60, "mixed.test".into())),
        ("inside.test", Answer::addresses(&["127.0.0.2"])),
        ("metadata.test", Answer::addresses(&["169.254.169.254", "::1", "fe80::1"])),
    ]);
    let weir = Weir::start(&["--dns", &dns.address(), "--block", "127.0.0.2"]);
    let origin = Origin::ok();
    for host in ["mixed.test", "alias.test"] {
        let request = format!("GET http://{host}:{{p}}/ HTTP/1.1\r\nHost: {host}:{{p}}\r\n\r\n");
        assert_eq!(forwarded(&weir, &origin, request.as_bytes()).1.status(), 200, "{host}");
    }
    for host in ["inside.test", "metadata.test"] {
        assert_eq!(status_of(&weir, host, origin.port()), 403, "{host}");
        assert_eq!(connect_status_of(&weir, host, origin.port()), 403, "{host}");
    }
    let line = weir.wait_for_log(|line| line.contains("mixed.test"));
    assert!(line.contains(&origin.address().to_string()), "{line}");
}

/// Rule 42: a name that points at loopback is refused by default: 403, not 502.
#[test]
fn rule_42_names_that_point_inside() {
    let dns = FakeDns::start(&[
        ("rebind.test", Answer::addresses(&["127.0.0.1"])),
        ("mapped.test", Answer::addresses(&["::ffff:127.0.0.1"])),
    ]);
    let weir = Weir::start_bare(&["--dns", &dns.address()]);
    let origin = Origin::ok();
    for host in ["rebind.test", "mapped.test"] {
        assert_eq!(status_of(&weir, host, origin.port()), 403, "{host}");
        assert_eq!(connect_status_of(&weir, host, origin.port()), 403, "{host}");
    }
    assert_eq!(status_of(&weir, "localhost", origin.port()), 403);
    assert_eq!(origin.connections(), 0);
}

/// Rule 42: an idle upstream connection is not used by a request whose own answer does not approve its address.
#[test]
fn rule_42_pool_is_judged_too() {
    let dns = FakeDns::start(&[("moves.test", Answer::short(0, &["127.0.0.1"]))]);
    let weir = Weir::start(&["--dns", &dns.address(), "--block", "127.0.0.2"]);
    let origin = Origin::ok();
    assert_eq!(status_of(&weir, "moves.test", origin.port()), 200);
    // The same connection by address: the host blocked by name must not ride on it.
    let blocked = Weir::start(&["--dns", &dns.address(), "--block", "moves.test"]);
    assert_eq!(status_of(&blocked, "127.0.0.1", origin.port()), 200);
    assert_eq!(status_of(&blocked, "moves.test", origin.port()), 403);
}

/// Rule 43: plain requests and CONNECT have port lists of their own.
#[test]
fn rule_43_ports() {
    let weir = Weir::start(&[]);
    for port in [25, 465, 587] {
        assert_eq!(status_of(&weir, "127.0.0.1", port), 403, "plain {port}");
    }
    for port in [25, 22, 80, 465, 587, 1023] {
        assert_eq!(connect_status_of(&weir, "127.0.0.1", port), 403, "CONNECT {port}");
    }
    // Allowed, and then refused by the address itself: nothing listens there.
    assert_eq!(connect_status_of(&weir, "127.77.66.55", 443), 502);
    assert_eq!(status_of(&weir, "127.77.66.55", 80), 502);

    let origin = Origin::ok();
    let list = format!("443,{}", origin.port());
    let narrow = Weir::start(&["--connect-ports", &list]);
    assert_eq!(connect_status_of(&narrow, "127.0.0.1", origin.port()), 200);
    assert_eq!(connect_status_of(&narrow, "127.0.0.1", origin.port() ^ 1), 403);
    let any = Weir::start(&["--connect-ports", "any"]);
    assert_eq!(connect_status_of(&any, "127.77.66.55", 80), 502);
    let plain = Weir::start(&["--ports", "80"]);
    assert_eq!(status_of(&plain, "127.0.0.1", origin.port()), 403);
    assert_eq!(connect_status_of(&plain, "127.0.0.1", origin.port()), 200);
}

/// Starts weir in a network namespace of its own, with loopback only. Needs root, and the program `ip`.
#[track_caller]
fn start_in_namespace(options: &[&str]) -> Weir {
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh", env!("CARGO_BIN_EXE_weir")]);
    command.args(["--host", "127.0.0.1", "--port", "0"]).args(options);
    Weir::spawn(command, 1).unwrap_or_else(|lines| panic!("weir {options:?} did not start: {lines:#?}"))
}

/// Runs a program in the namespace of a daemon.
#[track_caller]
fn within(weir: &Weir, command: &[&str]) -> String {
    let pid = weir.id().to_string();
    let output = Command::new("nsenter").args(["--net", "--target", &pid]).args(command).output();
    let output = output.expect("nsenter runs");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The status that a client in the namespace gets for this URL.
#[track_caller]
fn status_within(weir: &Weir, url: &str) -> String {
    let proxy = weir.url();
    within(weir, &["curl", "-sg", "-o", "/dev/null", "-w", "%{http_code}", "-m", "5", "-x", &proxy, url])
}

/// Rule 41: the addresses of this machine's interfaces are closed on every port, while they are there.
#[test]
fn kind_06_own_addresses_are_closed_and_followed() {
    if !may_make_namespaces() {
        return;
    }
    for more in common::built([&[][..], &["--workers", "2"], &["--cache"]]) {
        let weir = start_in_namespace(more);
        // These addresses are not reachable here.
        for host in ["192.0.2.7", "[2606:4700::7]", "[64:ff9b::c000:207]"] {
            assert_eq!(status_within(&weir, &format!("http://{host}/")), "502", "{host}");
        }
        for address in ["192.0.2.7/32", "2606:4700::7/128"] {
            assert_eq!(within(&weir, &["ip", "address", "add", address, "dev", "lo"]), "", "{address}");
        }
        eventually("the new address is closed", || {
            (status_within(&weir, "http://192.0.2.7/") == "403").then_some(())
        });
        for url in [
            "http://192.0.2.7:8080/",
            "http://[2606:4700::7]/",
            "http://[::ffff:192.0.2.7]/",
            "http://[64:ff9b::c000:207]/",
            "http://[2606:4700:1::5efe:192.0.2.7]/",
        ] {
            assert_eq!(status_within(&weir, url), "403", "{url}");
        }
        weir.wait_for_log(|line| line.contains("reason=built-in:own-address"));
        assert_eq!(within(&weir, &["ip", "address", "delete", "192.0.2.7/32", "dev", "lo"]), "");
        eventually("the address that has gone is open", || {
            (status_within(&weir, "http://192.0.2.7/") == "502").then_some(())
        });
    }
    // A rule opens it.
    let weir = start_in_namespace(&["--allow", "192.0.2.7"]);
    for address in ["192.0.2.7/32", "192.0.2.8/32"] {
        assert_eq!(within(&weir, &["ip", "address", "add", address, "dev", "lo"]), "", "{address}");
    }
    eventually("the other address is closed", || {
        (status_within(&weir, "http://192.0.2.8/") == "403").then_some(())
    });
    assert_eq!(status_within(&weir, "http://192.0.2.7/"), "502");
}
