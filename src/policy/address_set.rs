//! A set of address rules: for each port range, sorted disjoint spans of the address space.
//!
//! Rules with ports are in one group per distinct port range, because a configuration has only a handful of them; a
//! look-up searches the groups whose range contains the port.

use std::net::IpAddr;

use ipnet::IpNet;

use super::location::RuleRef;
use super::port_set::PortRange;
use super::rules::{Pattern, Rule};
use crate::net::{AddressSteps, NETWORKS_MAX};

/// The result of a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressMatch {
    /// The most specific rule that covers address and port: longest prefix, then fewest ports, then first.
    pub rule: RuleRef,
    /// A rule that covers the address names exactly this port.
    pub names_port: bool,
}

/// Collects address rules.
#[derive(Debug, Default)]
pub struct AddressSetBuilder {
    networks: Vec<(Option<PortRange>, IpNet, RuleRef)>,
}

impl AddressSetBuilder {
    /// Adds a rule. False if the set is full (4 billion rules).
    #[must_use]
    pub fn push(&mut self, network: IpNet, ports: Option<PortRange>, rule: RuleRef) -> bool {
        if self.networks.len() >= NETWORKS_MAX {
            return false;
        }
        self.networks.push((ports, network.trunc(), rule));
        true
    }

    /// Builds the set.
    pub fn build(mut self) -> AddressSet {
        // In place, and without a copy of the networks: there may be many.
        self.networks.sort_unstable_by_key(|&(ports, _, rule)| (ports, rule));
        let groups = self.networks.chunk_by(|a, b| a.0 == b.0).map(Group::new).collect();
        let of_ipv4 = self.networks.iter().filter(|(_, network, _)| matches!(network, IpNet::V4(_))).count();
        AddressSet { groups, counts: [of_ipv4, self.networks.len() - of_ipv4] }
    }
}

/// A set of address rules.
#[derive(Debug, Default)]
pub struct AddressSet {
    groups: Vec<Group>,
    /// Number of rules for IPv4, and for IPv6.
    counts: [usize; 2],
}

impl AddressSet {
    /// Number of rules.
    pub fn len(&self) -> usize {
        self.counts.iter().sum()
    }

    /// Number of rules for IPv4, and for IPv6.
    pub fn counts(&self) -> [usize; 2] {
        self.counts
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Heap bytes of the set.
    pub fn heap_bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Group>() + self.groups.iter().map(Group::heap_bytes).sum::<usize>()
    }

    /// The most specific rule for this address and port. An IPv4-mapped address is looked up as IPv4.
    #[inline]
    pub fn find(&self, address: IpAddr, port: u16) -> Option<AddressMatch> {
        // Most sets are empty, and every request makes a look-up.
        if self.groups.is_empty() { None } else { self.find_in_groups(address, port) }
    }

    fn find_in_groups(&self, address: IpAddr, port: u16) -> Option<AddressMatch> {
        let address = address.to_canonical();
        let mut best: Option<(u8, u32, RuleRef)> = None;
        let mut names_port = false;
        for group in &self.groups {
            if !group.ports.is_none_or(|ports| ports.contains(port)) {
                continue;
            }
            let Some(&(rule, prefix)) = group.find(address) else { continue };
            let ports = group.ports.map_or(u32::MAX, PortRange::count);
            names_port |= group.ports.is_some_and(|ports| ports.is_only(port));
            if best.is_none_or(|(most, fewest, _)| prefix > most || (prefix == most && ports < fewest)) {
                best = Some((prefix, ports, rule));
            }
        }
        best.map(|(_, _, rule)| AddressMatch { rule, names_port })
    }

    /// The rule at a location, if it decides about any address.
    pub fn rule_at(&self, place: RuleRef) -> Option<Rule> {
        self.groups.iter().find_map(|group| {
            let network = group.rule_at(place)?;
            Some(Rule { pattern: Pattern::Network(network), ports: group.ports })
        })
    }
}

/// The rules of one port range, or those without ports.
#[derive(Debug)]
struct Group {
    ports: Option<PortRange>,
    steps: AddressSteps,
    /// Rule and prefix length, by the number in `steps`.
    rules: Vec<(RuleRef, u8)>,
}

impl Group {
    fn new(networks: &[(Option<PortRange>, IpNet, RuleRef)]) -> Group {
        let network = |number: u32| networks[number as usize].1;
        let mut numbers: Vec<u32> = (0..networks.len() as u32).collect();
        // The first of equal networks stays first.
        numbers.sort_unstable_by_key(|&number| (network(number), number));
        let sorted = numbers.into_iter().map(|number| (network(number), number));
        Group {
            ports: networks.first().and_then(|&(ports, _, _)| ports),
            steps: AddressSteps::of_sorted(sorted),
            rules: networks.iter().map(|(_, network, rule)| (*rule, network.prefix_len())).collect(),
        }
    }

    fn find(&self, address: IpAddr) -> Option<&(RuleRef, u8)> {
        self.rules.get(self.steps.find(address)? as usize)
    }

    fn rule_at(&self, place: RuleRef) -> Option<IpNet> {
        let number = self.rules.binary_search_by_key(&place, |&(rule, _)| rule).ok()?;
        let (_, prefix) = self.rules.get(number)?;
        // All spans of a network have the network's bits.
        let within = self.steps.first_address_of(number as u32)?;
        Some(IpNet::new(within, *prefix).ok()?.trunc())
    }

    fn heap_bytes(&self) -> usize {
        self.steps.heap_bytes() + self.rules.capacity() * size_of::<(RuleRef, u8)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::rules::{Pattern, Rule};
    use crate::policy::test_numbers::Numbers;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn set(rules: &[Rule]) -> AddressSet {
        let mut builder = AddressSetBuilder::default();
        for (index, rule) in rules.iter().enumerate() {
            let Pattern::Network(network) = rule.pattern else { panic!("{rule}") };
            assert!(builder.push(network, rule.ports, RuleRef { source: 3, line: index as u32 }));
        }
        builder.build()
    }

    #[test]
    fn the_most_specific_rule_wins() {
        let rules = [
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.1.2.3",
            "10.1.2.3:25",
            "10.0.0.0/8:80",
            "10.1.0.0/16",
            "0.0.0.0/1",
            "255.255.255.255",
            "2001:db8::/32",
            "2001:db8::1",
            "[2001:db8::/32]:1-10",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "10.255.255.255",
        ];
        let set = set(&rules.map(|text| Rule::parse(text).unwrap()));
        let cases = [
            ("10.0.0.0", 1, Some((0, false))),
            ("9.255.255.255", 1, Some((6, false))),
            ("10.0.0.0", 80, Some((4, true))),
            ("10.1.0.0", 1, Some((1, false))),
            ("10.1.0.0", 80, Some((1, true))),
            ("10.1.255.255", 1, Some((1, false))),
            ("10.2.0.0", 1, Some((0, false))),
            ("10.1.2.3", 1, Some((2, false))),
            ("10.1.2.4", 1, Some((1, false))),
            ("10.1.2.3", 25, Some((3, true))),
            ("10.255.255.255", 1, Some((12, false))),
            ("11.0.0.0", 1, Some((6, false))),
            ("127.255.255.255", 1, Some((6, false))),
            ("128.0.0.0", 1, None),
            ("255.255.255.254", 1, None),
            ("255.255.255.255", 1, Some((7, false))),
            ("::ffff:10.1.2.3", 25, Some((3, true))),
            ("2001:db8::", 1, Some((10, false))),
            ("2001:db8::", 11, Some((8, false))),
            ("2001:db8::1", 1, Some((9, false))),
            ("2001:db9::", 1, None),
            ("::", 1, None),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1, Some((11, false))),
        ];
        for (address, port, expected) in cases {
            let found = set.find(address.parse().unwrap(), port);
            assert!(found.is_none_or(|found| found.rule.source == 3));
            let found = found.map(|found| (found.rule.line, found.names_port));
            assert_eq!(found, expected, "{address}:{port}");
        }
        assert_eq!(AddressSet::default().find(IpAddr::V4(Ipv4Addr::LOCALHOST), 1), None);
    }

    /// A plain implementation that looks at every rule.
    fn naive(rules: &[Rule], address: IpAddr, port: u16) -> Option<(u32, bool)> {
        let covering = rules.iter().enumerate().filter(|(_, rule)| {
            let Pattern::Network(network) = rule.pattern else { panic!() };
            network.contains(&address) && rule.ports.is_none_or(|ports| ports.contains(port))
        });
        let names_port =
            covering.clone().any(|(_, rule)| rule.ports.is_some_and(|ports| ports.is_only(port)));
        let best = covering.min_by_key(|(index, rule)| {
            let Pattern::Network(network) = rule.pattern else { panic!() };
            (255 - network.prefix_len(), rule.ports.map_or(u32::MAX, PortRange::count), *index)
        });
        best.map(|(index, _)| (index as u32, names_port))
    }

    fn compare(seed: u64, rule_count: usize, v4_mask: u32) {
        let mut numbers = Numbers::new(seed);
        let random_address = |numbers: &mut Numbers| {
            if numbers.below(2) == 0 {
                IpAddr::V4(Ipv4Addr::from_bits(numbers.next() as u32 & v4_mask))
            } else {
                let bits = u128::from(numbers.next()) << 64 | u128::from(numbers.next());
                IpAddr::V6(Ipv6Addr::from_bits(bits & 0xC000_0000_0000_0003_0000_0000_0000_000F | 1 << 120))
            }
        };
        let mut rules = Vec::new();
        for _ in 0..rule_count {
            let address = random_address(&mut numbers);
            let longest = if address.is_ipv4() { 33 } else { 129 };
            let network = IpNet::new(address, numbers.below(longest) as u8).unwrap().trunc();
            let suffix = [None, None, None, PortRange::parse("1"), PortRange::parse("1-3")][numbers.below(5)];
            rules.push(Rule { pattern: Pattern::Network(network), ports: suffix });
        }
        let set = set(&rules);
        for _ in 0..300 {
            let address = random_address(&mut numbers);
            let port = 1 + numbers.below(4) as u16;
            let found = set.find(address, port).map(|found| (found.rule.line, found.names_port));
            assert_eq!(found, naive(&rules, address, port), "seed {seed}: {address} {port}");
        }
    }

    #[test]
    fn a_set_agrees_with_looking_at_every_rule() {
        for seed in 0..30 {
            compare(seed, 3 * seed as usize, 0xC003_000F);
        }
        // Enough for the index.
        compare(100, 3000, 0xFFFF_FFFF);
        compare(101, 3000, 0x0003_FFFF);
    }
}
