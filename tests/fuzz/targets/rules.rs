//! Rule files: the parsed rules, their text, and the compiled sets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use weir::http::target::{Host, Name};
use weir::net::Embedded;
use weir::policy::acl::{AclBuilder, Judgement, ListKind, Refusal, Subject};
use weir::policy::port_set::PortSet;
use weir::policy::rules::{ERRORS_MAX, Pattern, Rule, parse_rules};

use super::pieces::shown;

/// Rules whose neighbourhood is looked at: judging by comparing with all of them takes the square of their number.
const LOOKED_AT_MAX: usize = 24;

/// Any bytes as a rule file.
pub fn rule_file(bytes: &[u8]) {
    let mut rules: Vec<(u32, Rule)> = Vec::new();
    let unread = parse_rules(bytes, |line, rule| {
        rules.push((line, *rule));
        Ok(())
    });
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u32 + 1;
    assert!(unread.errors.len() <= ERRORS_MAX);
    for pair in unread.errors.windows(2) {
        assert!(pair[0].line < pair[1].line);
    }
    for error in &unread.errors {
        let text = error.to_string();
        assert!((1..=lines).contains(&error.line) && !text.contains(char::is_control), "{text:?}");
    }
    for (line, rule) in &rules {
        assert!((1..=lines).contains(line));
        let text = rule.to_string();
        assert_eq!(Rule::parse(&text), Ok(*rule), "{text} in {}", shown(bytes));
        // As a line of a file it is the same rule, too.
        let mut found = Vec::new();
        let again = parse_rules(text.as_bytes(), |_, rule| {
            found.push(*rule);
            Ok(())
        });
        assert!(again.errors.is_empty() && found == [*rule], "{text}");
    }
    let mut builder = AclBuilder::new(7);
    builder.connect_ports(PortSet::any()).plain_ports(PortSet::any());
    let built = builder.add_list(ListKind::Block, "list", bytes);
    let _ = built;
    let acl = match builder.build() {
        Ok(acl) => acl,
        Err(errors) => return assert_eq!(errors.len(), unread.errors.len()),
    };
    assert!(unread.errors.is_empty());
    for (_, rule) in rules.iter().take(LOOKED_AT_MAX) {
        let ports = rule.ports.map_or([80, 443, 0, 0], |ports| {
            [ports.first, ports.last, ports.first.wrapping_sub(1), ports.last.wrapping_add(1)]
        });
        for host in hosts_near(&rule.pattern) {
            for port in ports.into_iter().filter(|port| *port != 0) {
                judge(&acl, &rules, &host, port);
            }
        }
    }
}

/// Hosts that the pattern covers, and some just outside of it.
fn hosts_near(pattern: &Pattern) -> Vec<Host> {
    match pattern {
        Pattern::Name(_, name) => {
            let text = name.as_str();
            let parent = text.split_once('.').map_or("", |(_, parent)| parent);
            let near = [text.to_owned(), format!("x.{text}"), format!("x{text}"), parent.to_owned()];
            near.iter().filter_map(|text| Name::parse(text.as_bytes()).ok()).map(Host::Name).collect()
        }
        Pattern::Network(network) => {
            let (first, last) = (network.network(), network.broadcast());
            let beside = match (first, last) {
                (IpAddr::V4(first), IpAddr::V4(last)) => [
                    IpAddr::V4(u32::from(first).wrapping_sub(1).into()),
                    IpAddr::V4(u32::from(last).wrapping_add(1).into()),
                ],
                (IpAddr::V6(first), IpAddr::V6(last)) => [
                    IpAddr::V6(u128::from(first).wrapping_sub(1).into()),
                    IpAddr::V6(u128::from(last).wrapping_add(1).into()),
                ],
                (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => [first, last],
            };
            let near = [first, last].into_iter().chain(beside);
            near.map(|address| Host::Address(address.to_canonical())).collect()
        }
    }
}

/// The compiled sets refuse what one of the rules covers, by a line that says so, and nothing else.
fn judge(acl: &weir::policy::acl::Acl, rules: &[(u32, Rule)], host: &Host, port: u16) {
    let method = "GET";
    let client = IpAddr::from([198, 51, 100, 1]);
    let subject = Subject { client, user: None, method, host, port, connect: false };
    let mut hosts = vec![*host];
    if let Host::Address(address) = host {
        hosts.extend(Embedded::of(*address).iter().map(Host::Address));
        // The unspecified addresses reach loopback.
        match address {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => hosts.push(Host::Address(Ipv4Addr::LOCALHOST.into())),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => hosts.push(Host::Address(Ipv6Addr::LOCALHOST.into())),
            _ => {}
        }
    }
    let covers = |rule: &Rule| hosts.iter().any(|host| rule.matches(host, port));
    match acl.judge(&subject) {
        Judgement::Refused(Refusal::Rule(by)) => {
            let by_line = rules.iter().any(|(line, rule)| *line == by.line && covers(rule));
            assert!(by_line, "{host}:{port} refused by line {}, which does not cover it", by.line);
        }
        Judgement::Granted(_) | Judgement::Refused(_) => {
            let covered = rules.iter().find(|(_, rule)| covers(rule));
            assert!(covered.is_none(), "{host}:{port} is not refused, though {covered:?} covers it");
        }
    }
    if let Host::Address(address) = host {
        let one: IpNet = (*address).into();
        assert!(one.contains(address));
    }
}
