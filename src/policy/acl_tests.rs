use super::*;
use crate::http::target::Name;

fn host(text: &str) -> Host {
    match text.parse::<IpAddr>() {
        Ok(address) => Host::Address(address.to_canonical()),
        Err(_) => Host::Name(Name::parse(text.as_bytes()).unwrap()),
    }
}

fn subject(host: &Host, port: u16) -> Subject<'_> {
    let client = "192.0.2.77".parse().unwrap();
    Subject { client, user: None, method: "GET", host, port, connect: false }
}

/// Block rules, allow rules, and the allowlist (`-` for none).
fn acl(block: &str, allow: &str, only: &str) -> Acl {
    let mut builder = AclBuilder::new(1);
    builder.add_list(ListKind::Block, "block.txt", block.replace(' ', "\n").as_bytes());
    builder.add_list(ListKind::Allow, "--allow", allow.replace(' ', "\n").as_bytes());
    if only != "-" {
        builder.add_list(ListKind::AllowOnly, "allow.txt", only.replace(' ', "\n").as_bytes());
    }
    builder.own_listeners(vec!["127.0.0.1:8888".parse().unwrap(), "[::]:8889".parse().unwrap()]);
    builder.own_addresses(vec!["198.51.100.9".parse().unwrap(), "2001:db8::9".parse().unwrap()]);
    builder.build().unwrap()
}

/// The verdict on host and port, and on each address if the host is a name and was granted: `allowed`, or the reason.
fn verdict(acl: &Acl, to: &str, port: u16, addresses: &[&str]) -> Vec<String> {
    let host = host(to);
    let grant = match acl.judge(&subject(&host, port)) {
        Judgement::Refused(refusal) => return vec![refusal.describe(acl).to_string()],
        Judgement::Granted(grant) => grant,
    };
    if let Host::Address(address) = host {
        // Asking again with the grant for a literal must not change the verdict.
        assert_eq!(acl.judge_address(&grant, address, port), Ok(()));
        assert!(addresses.is_empty());
        return vec![grant.by.map_or("allowed".to_owned(), |by| acl.locate(by).to_string())];
    }
    let verdict = |address: &&str| match acl.decide_address(&grant, address.parse().unwrap(), port) {
        Ok(by) => by.or(grant.by).map_or("allowed".to_owned(), |by| acl.locate(by).to_string()),
        Err(refusal) => refusal.describe(acl).to_string(),
    };
    if addresses.is_empty() { vec!["granted".to_owned()] } else { addresses.iter().map(verdict).collect() }
}

#[test]
fn literal_addresses_are_judged_at_once() {
    // block, allow, allowlist, address, port, verdict.
    let cases = [
        ("", "", "-", "192.0.2.1", 80, "allowed"),
        ("", "", "-", "127.0.0.1", 80, "built-in:loopback"),
        ("", "", "-", "169.254.169.254", 80, "built-in:link-local"),
        ("", "", "-", "::ffff:127.0.0.1", 80, "built-in:loopback"),
        ("", "", "-", "64:ff9b::7f00:1", 80, "built-in:loopback"),
        ("", "", "-", "2002:a9fe:a9fe::1", 80, "built-in:link-local"),
        ("", "", "-", "64:ff9b::c000:201", 80, "allowed"),
        ("", "", "-", "10.0.0.1", 80, "allowed"),
        ("", "127.0.0.1", "-", "127.0.0.1", 80, "--allow:1"),
        ("", "127.0.0.1", "-", "::ffff:127.0.0.1", 80, "--allow:1"),
        ("", "127.0.0.1", "-", "127.0.0.2", 80, "built-in:loopback"),
        ("", "127.0.0.1:81", "-", "127.0.0.1", 80, "built-in:loopback"),
        ("", "127.0.0.1:81", "-", "127.0.0.1", 81, "--allow:1"),
        ("127.0.0.0/8", "127.0.0.1", "-", "127.0.0.1", 80, "block.txt:1"),
        ("a.b 192.0.2.0/24:80", "", "-", "192.0.2.1", 80, "block.txt:2"),
        ("a.b 192.0.2.0/24:80", "", "-", "192.0.2.1", 81, "allowed"),
        // The unspecified addresses reach loopback: a block of loopback counts for them.
        ("127.0.0.0/8", "0.0.0.0/0", "-", "0.0.0.0", 80, "block.txt:1"),
        ("127.0.0.1:80", "0.0.0.0", "-", "::ffff:0.0.0.0", 80, "block.txt:1"),
        ("127.0.0.1:80", "0.0.0.0", "-", "0.0.0.0", 81, "--allow:1"),
        ("127.0.0.2", "0.0.0.0", "-", "0.0.0.0", 80, "--allow:1"),
        ("::1", "::/0", "-", "::", 80, "block.txt:1"),
        ("127.0.0.0/8", "", "0.0.0.0/0", "0.0.0.0", 80, "block.txt:1"),
        ("127.0.0.1", "", "-", "0.0.0.0", 80, "block.txt:1"),
        // Embedded: a block of the inner form counts; the outer form allowed lifts the built-in block only.
        ("10.0.0.0/8", "", "-", "64:ff9b::a00:1", 80, "block.txt:1"),
        ("10.0.0.0/8", "64:ff9b::a00:1", "-", "64:ff9b::a00:1", 80, "block.txt:1"),
        ("", "64:ff9b::/96", "-", "64:ff9b::7f00:1", 80, "--allow:1"),
        ("", "127.0.0.1", "-", "64:ff9b::7f00:1", 80, "--allow:1"),
        ("", "::/0", "-", "::ffff:127.0.0.1", 80, "built-in:loopback"),
        ("64:ff9b::/96", "", "-", "64:ff9b::808:808", 80, "block.txt:1"),
        // Teredo: one end allowed does not open the other.
        ("", "192.0.2.1", "-", "2001:0:c000:201::80ff:fffe", 80, "built-in:loopback"),
        ("", "", "192.0.2.1", "2001:0:c000:201::f7f7:f7f7", 80, "allowlist"),
        ("", "", "192.0.2.1 8.8.8.8", "2001:0:c000:201::f7f7:f7f7", 80, "allow.txt:1"),
        // Allowlists.
        ("", "", "192.0.2.0/24", "192.0.2.1", 80, "allow.txt:1"),
        ("", "", "192.0.2.0/24", "192.0.3.1", 80, "allowlist"),
        ("", "192.0.3.1", "192.0.2.0/24", "192.0.3.1", 80, "--allow:1"),
        ("", "", "a.b", "192.0.3.1", 80, "allowlist"),
        ("", "", "", "192.0.3.1", 80, "allowlist"),
        ("", "", "127.0.0.1", "127.0.0.1", 80, "allow.txt:1"),
        ("", "", "0.0.0.0/0", "64:ff9b::808:808", 80, "allow.txt:1"),
        ("", "", "a.b", "127.0.0.1", 80, "built-in:loopback"),
        // Own listeners.
        ("", "", "-", "127.0.0.1", 8888, "own-listener"),
        ("", "", "-", "0.0.0.0", 8888, "own-listener"),
        ("", "", "-", "64:ff9b::7f00:1", 8888, "own-listener"),
        ("", "", "-", "127.0.0.2", 8888, "built-in:loopback"),
        ("", "127.0.0.0/8", "-", "127.0.0.1", 8888, "own-listener"),
        ("", "127.0.0.1:8000-9000", "-", "127.0.0.1", 8888, "own-listener"),
        ("", "127.0.0.1:8888", "-", "127.0.0.1", 8888, "--allow:1"),
        ("", "127.0.0.0/8:8888 127.0.0.1", "-", "127.0.0.1", 8888, "--allow:2"),
        ("127.0.0.1", "127.0.0.1:8888", "-", "127.0.0.1", 8888, "block.txt:1"),
        ("", "127.0.0.0/8", "-", "127.0.0.5", 8889, "own-listener"),
        ("", "", "-", "198.51.100.9", 8889, "own-listener"),
        ("", "", "-", "198.51.100.9", 8888, "built-in:own-address"),
        ("", "", "-", "2001:db8::9", 8888, "built-in:own-address"),
        ("", "", "-", "::ffff:198.51.100.9", 80, "built-in:own-address"),
        ("", "", "-", "64:ff9b::198.51.100.9", 80, "built-in:own-address"),
        ("", "", "-", "64:ff9b:1:c633:64:900::", 80, "built-in:own-address"),
        ("", "", "-", "2606:4700::5efe:198.51.100.9", 80, "built-in:own-address"),
        ("", "198.51.100.9", "-", "198.51.100.9", 8888, "--allow:1"),
        ("", "198.51.100.0/24:80", "-", "198.51.100.9", 80, "--allow:1"),
        ("", "198.51.100.0/24:80", "-", "198.51.100.9", 81, "built-in:own-address"),
        ("", "", "-", "2001:db8::9", 8889, "own-listener"),
        ("", "", "-", "198.51.100.10", 8889, "allowed"),
        ("", "", "-", "::", 8889, "own-listener"),
        ("", "", "-", "198.51.100.9", 8887, "built-in:own-address"),
        // Ports.
        ("", "192.0.2.1:25", "-", "192.0.2.1", 25, "plain-ports"),
        ("192.0.2.1", "", "-", "192.0.2.1", 25, "plain-ports"),
    ];
    for (block, allow, only, to, port, expected) in cases {
        let found = verdict(&acl(block, allow, only), to, port, &[]);
        assert_eq!(found, [expected], "block {block:?} allow {allow:?} only {only:?}: {to}:{port}");
    }
}

#[test]
fn names_are_judged_before_and_after_resolution() {
    const PUBLIC: &str = "192.0.2.1";
    const INSIDE: &str = "127.0.0.1";
    // block, allow, allowlist, name, port, addresses, verdicts.
    type Case = (&'static str, &'static str, &'static str, &'static str, u16, Texts, Texts);
    type Texts = &'static [&'static str];
    let cases: &[Case] = &[
        ("", "", "-", "a.example", 80, &[PUBLIC, INSIDE], &["allowed", "built-in:loopback"]),
        ("a.example", "", "-", "a.example", 80, &[], &["block.txt:1"]),
        ("a.example", "a.example", "-", "a.example", 80, &[], &["block.txt:1"]),
        (".example", "a.example", "-", "a.example", 80, &[], &["block.txt:1"]),
        ("a.example:81", "", "-", "a.example", 80, &[], &["granted"]),
        ("192.0.2.0/24", "", "-", "a.example", 80, &[PUBLIC, "192.0.3.1"], &["block.txt:1", "allowed"]),
        ("192.0.2.0/24", "a.example", "-", "a.example", 80, &[PUBLIC], &["block.txt:1"]),
        // The exact name lifts the built-in block, a wildcard does not (rebinding).
        ("", "a.example", "-", "a.example", 80, &[INSIDE, "::1", "64:ff9b::7f00:1"], &["--allow:1"; 3]),
        ("", "*.example", "-", "a.example", 80, &[PUBLIC, INSIDE], &["--allow:1", "built-in:loopback"]),
        ("", ".example a.example", "-", "a.example", 80, &[INSIDE], &["--allow:2"]),
        ("", "*.example 127.0.0.0/8", "-", "a.example", 80, &[INSIDE], &["--allow:2"]),
        ("", "a.example:81", "-", "a.example", 80, &[INSIDE], &["built-in:loopback"]),
        // Allowlists.
        ("", "", "a.example", "a.example", 80, &[PUBLIC], &["allow.txt:1"]),
        ("", "", "a.example", "b.example", 80, &[], &["allowlist"]),
        ("", "", "a.example:81", "a.example", 80, &[], &["allowlist"]),
        ("", "b.example", "a.example", "b.example", 80, &[PUBLIC], &["--allow:1"]),
        ("", "", "192.0.2.0/24", "b.example", 80, &[PUBLIC, "192.0.3.1"], &["allow.txt:1", "allowlist"]),
        ("", "", "a.example 192.0.2.0/24", "a.example", 80, &["192.0.3.1"], &["allow.txt:1"]),
        ("", "", "192.0.2.0/24", "b.example", 80, &[INSIDE], &["built-in:loopback"]),
        ("b.example", "", "192.0.2.0/24", "b.example", 80, &[], &["block.txt:1"]),
        // Own listeners.
        ("", "a.example", "-", "a.example", 8888, &[INSIDE, "127.0.0.2"], &["own-listener", "--allow:1"]),
        ("", "a.example:8888", "-", "a.example", 8888, &[INSIDE], &["--allow:1"]),
        ("", "a.example a.example:1-9999", "-", "a.example", 8888, &[INSIDE], &["own-listener"]),
        ("", "*.example:8888", "-", "a.example", 8888, &[INSIDE], &["own-listener"]),
        ("", "*.example 127.0.0.1:8888", "-", "a.example", 8888, &[INSIDE], &["--allow:2"]),
        ("", "", "-", "a.example", 8889, &["198.51.100.9"], &["own-listener"]),
        ("127.0.0.1", "a.example:8888", "-", "a.example", 8888, &[INSIDE], &["block.txt:1"]),
        ("", "", "-", "a.example", 25, &[], &["plain-ports"]),
    ];
    for (block, allow, only, to, port, addresses, expected) in cases {
        let found = verdict(&acl(block, allow, only), to, *port, addresses);
        assert_eq!(found, *expected, "block {block:?} allow {allow:?} only {only:?}: {to}:{port}");
    }
}

#[test]
fn connect_and_plain_requests_have_their_own_ports() {
    let mut builder = AclBuilder::new(1);
    builder.connect_ports(PortSet::parse("443").unwrap()).plain_ports(PortSet::parse("80").unwrap());
    let acl = builder.build().unwrap();
    let host = host("a.example");
    for (port, connect, expected) in
        [(443, true, ""), (80, true, "connect-ports"), (80, false, ""), (443, false, "plain-ports")]
    {
        let judged = acl.judge(&Subject { connect, ..subject(&host, port) });
        let found = match judged {
            Judgement::Granted(_) => String::new(),
            Judgement::Refused(refusal) => refusal.describe(&acl).to_string(),
        };
        assert_eq!(found, expected, "{port} {connect}");
    }
}

#[test]
fn private_ranges_close_on_demand() {
    let mut builder = AclBuilder::new(1);
    builder.deny_private(true).add_list(ListKind::Allow, "--allow", b"10.1.0.0/16\nhost.example");
    let acl = builder.build().unwrap();
    assert_eq!(verdict(&acl, "10.0.0.1", 80, &[]), ["built-in:private"]);
    assert_eq!(verdict(&acl, "10.1.0.1", 80, &[]), ["--allow:1"]);
    assert_eq!(verdict(&acl, "host.example", 80, &["192.168.0.1", "fd00::1"]), ["--allow:2"; 2]);
    assert_eq!(verdict(&acl, "a.example", 80, &["192.168.0.1", "fd00::1"]), ["built-in:private"; 2]);
}

#[test]
fn only_listed_clients_may_ask() {
    let mut builder = AclBuilder::new(1);
    builder.clients(vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()]);
    let acl = builder.build().unwrap();
    let host = host("a.example");
    let cases =
        [("192.0.2.77", true), ("192.0.3.1", false), ("::ffff:192.0.2.1", true), ("2001:db8::1", true)];
    for (client, admitted) in cases {
        let client = client.parse().unwrap();
        let judged = acl.judge(&Subject { client, ..subject(&host, 80) });
        assert_eq!(judged != Judgement::Refused(Refusal::Client), admitted, "{client}");
    }
    assert_eq!(Refusal::Client.describe(&acl).to_string(), "clients");
}

#[test]
fn all_errors_of_all_lists_are_told() {
    let mut builder = AclBuilder::new(1);
    builder.add_list(ListKind::Block, "block.txt", b"fine.example\na b\n10.0.0.0/40");
    builder.add_list(ListKind::Allow, "--allow", b"*");
    let told: Vec<String> = builder.build().unwrap_err().iter().map(ListError::to_string).collect();
    assert_eq!(told.len(), 3);
    assert!(told[0].starts_with("block.txt:2: expected one rule, or a hosts line"), "{}", told[0]);
    assert!(told[0].ends_with("found \"a b\""), "{}", told[0]);
    assert!(told[1].starts_with("block.txt:3: expected a network"), "{}", told[1]);
    assert!(told[2].starts_with("--allow:1: expected a wildcard"), "{}", told[2]);
}

#[test]
fn an_empty_acl_allows_the_public_and_counts_nothing() {
    let acl = AclBuilder::new(1).build().unwrap();
    assert!(acl.is_empty());
    assert_eq!(verdict(&acl, "a.example", 80, &["192.0.2.1"]), ["allowed"]);
    assert!(size_of::<Grant>() <= 16);
}

/// The text of each rule, found by its location, for many rules of each kind.
#[test]
fn kind_26_rules_tell_what_they_say() {
    let mut list = String::new();
    let mut expected = Vec::new();
    for index in 0..20_000 {
        let (line, host) = match index % 7 {
            0 => (format!("n{index}.example"), format!("n{index}.example")),
            1 => (format!("*.n{index}.example"), format!("x.n{index}.example")),
            2 => (format!(".N{index}.example:80"), format!("x.n{index}.example")),
            3 => (format!("10.{}.{}.0/24", index / 256 % 256, index % 256), String::new()),
            4 => (format!("2001:db8:{index:x}::/48"), String::new()),
            5 => (format!("0.0.0.0 a{index}.example b{index}.example"), format!("b{index}.example")),
            _ => ("# nothing".to_owned(), String::new()),
        };
        list.push_str(&format!("{line}\n"));
        let text = match index % 7 {
            2 => format!(".n{index}.example:80"),
            5 => format!("b{index}.example"),
            6 => String::new(),
            _ => line,
        };
        expected.push((text, host));
    }
    let mut builder = AclBuilder::new(5);
    builder.add_list(ListKind::Block, "few.txt", b"first.example\n10.0.0.0/8:8080\n192.0.2.7\n");
    builder.add_list(ListKind::Block, "many.txt", list.as_bytes());
    builder.add_rule(ListKind::Block, "--block", 1, "[2001:db8::1]:443");
    builder.add_rule(ListKind::Block, "--block", 2, ".last.example");
    builder.add_list(ListKind::Allow, "allowed.txt", b"allowed.example\n");
    let acl = builder.build().unwrap();
    let said = |source: u16, line: u32, host: &str| {
        let host = Host::parse(if host.is_empty() { b"none.example" } else { host.as_bytes() }).unwrap();
        let mut text = Vec::new();
        acl.write_rule(RuleRef { source, line }, &host, 80, &mut text);
        String::from_utf8(text).ok().filter(|text| !text.is_empty())
    };
    for (index, (text, host)) in expected.iter().enumerate() {
        let found = said(1, index as u32 + 1, host).unwrap_or_default();
        assert_eq!(found, *text, "line {}", index + 1);
    }
    for (source, line, text) in [
        (0, 1, Some("first.example")),
        (0, 2, Some("10.0.0.0/8:8080")),
        (0, 3, Some("192.0.2.7")),
        (0, 4, None),
        (1, 6, Some("a5.example")),
        (1, 20_001, None),
        (2, 1, Some("[2001:db8::1]:443")),
        (3, 2, Some(".last.example")),
        (4, 1, None),
        (9, 1, None),
    ] {
        assert_eq!(said(source, line, "").as_deref(), text, "{source}:{line}");
    }
}
