//! What an address really reaches: the addresses embedded in it, and the ranges that are closed unless opened explicitly.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is closed without any rule saying so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BuiltIn {
    /// `0.0.0.0` and `::` (RFC 1122 3.2.1.3, RFC 4291 2.5.2); connecting to them reaches this machine.
    Unspecified,
    /// The rest of `0.0.0.0/8` (RFC 1122 3.2.1.3).
    ThisNetwork,
    /// `127.0.0.0/8` and `::1` (RFC 1122 3.2.1.3, RFC 4291 2.5.3).
    Loopback,
    /// `169.254.0.0/16` and `fe80::/10` (RFC 3927, RFC 4291 2.5.6); cloud metadata services among them.
    LinkLocal,
    /// Cloud metadata services outside link-local ranges (their vendors' documentation): `fd00:ec2::254`,
    /// `fd20:ce::254`, `100.100.100.200`, `168.63.129.16`.
    Metadata,
    /// `224.0.0.0/4` and `ff00::/8` (RFC 5771, RFC 4291 2.7).
    Multicast,
    /// `255.255.255.255` (RFC 919).
    Broadcast,
    /// The rest of `240.0.0.0/4` (RFC 1112 4).
    Reserved,
    /// RFC 1918 ranges, `fc00::/7` (RFC 4193), `fec0::/10` (RFC 3879). Only with `--deny-private`, as are all below.
    Private,
    /// `100.64.0.0/10`, behind carrier-grade NAT (RFC 6598).
    Shared,
    /// `192.0.0.0/24`, IETF protocol assignments (RFC 6890), and `100::/64`, which discards (RFC 6666).
    Protocol,
    /// `192.0.2.0/24`, `198.51.100.0/24`, `203.0.113.0/24`, `2001:db8::/32`, `3fff::/20` (RFC 5737, 3849, 9637).
    Documentation,
    /// `198.18.0.0/15` and `2001:2::/48` (RFC 2544, RFC 5180).
    Benchmark,
}

impl BuiltIn {
    /// The word for logs and replies.
    pub fn name(self) -> &'static str {
        match self {
            BuiltIn::Unspecified => "unspecified",
            BuiltIn::ThisNetwork => "this-network",
            BuiltIn::Loopback => "loopback",
            BuiltIn::LinkLocal => "link-local",
            BuiltIn::Metadata => "metadata",
            BuiltIn::Multicast => "multicast",
            BuiltIn::Broadcast => "broadcast",
            BuiltIn::Reserved => "reserved",
            BuiltIn::Private => "private",
            BuiltIn::Shared => "shared",
            BuiltIn::Protocol => "protocol-assignment",
            BuiltIn::Documentation => "documentation",
            BuiltIn::Benchmark => "benchmark",
        }
    }
}

/// Is this one address closed? What it embeds is for [`candidates`] to tell.
pub fn built_in(address: IpAddr, deny_private: bool) -> Option<BuiltIn> {
    match address.to_canonical() {
        IpAddr::V4(v4) => built_in_v4(v4, deny_private),
        IpAddr::V6(v6) => built_in_v6(v6, deny_private),
    }
}

fn built_in_v4(address: Ipv4Addr, deny_private: bool) -> Option<BuiltIn> {
    match address.octets() {
        [0, 0, 0, 0] => Some(BuiltIn::Unspecified),
        [0, ..] => Some(BuiltIn::ThisNetwork),
        [127, ..] => Some(BuiltIn::Loopback),
        [169, 254, ..] => Some(BuiltIn::LinkLocal),
        [100, 100, 100, 200] | [168, 63, 129, 16] => Some(BuiltIn::Metadata),
        [224..=239, ..] => Some(BuiltIn::Multicast),
        [255, 255, 255, 255] => Some(BuiltIn::Broadcast),
        [240..=255, ..] => Some(BuiltIn::Reserved),
        _ if !deny_private => None,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some(BuiltIn::Private),
        [100, 64..=127, ..] => Some(BuiltIn::Shared),
        [192, 0, 0, _] => Some(BuiltIn::Protocol),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some(BuiltIn::Documentation),
        [198, 18..=19, ..] => Some(BuiltIn::Benchmark),
        _ => None,
    }
}

fn built_in_v6(address: Ipv6Addr, deny_private: bool) -> Option<BuiltIn> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some(BuiltIn::Unspecified),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some(BuiltIn::Loopback),
        [0xfe80..=0xfebf, ..] => Some(BuiltIn::LinkLocal),
        [0xff00..=0xffff, ..] => Some(BuiltIn::Multicast),
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => {
            Some(BuiltIn::Metadata)
        }
        _ if !deny_private => None,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Some(BuiltIn::Private),
        [0x100, 0, 0, 0, ..] => Some(BuiltIn::Protocol),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some(BuiltIn::Documentation),
        [0x2001, 2, 0, ..] => Some(BuiltIn::Benchmark),
        _ => None,
    }
}

/// Most addresses that one address stands for: itself, and both ends of a Teredo tunnel.
pub const CANDIDATES_MAX: usize = 3;

/// The addresses to judge in place of one: itself in canonical form, then those that it embeds.
#[derive(Clone, Copy, Debug)]
pub struct Candidates {
    addresses: [IpAddr; CANDIDATES_MAX],
    len: u8,
    next: u8,
}

impl Iterator for Candidates {
    type Item = IpAddr;

    fn next(&mut self) -> Option<IpAddr> {
        let address = self.addresses[..usize::from(self.len)].get(usize::from(self.next)).copied();
        self.next += u8::from(address.is_some());
        address
    }
}

/// The addresses to judge when somebody wants to reach this one (rule 40). An IPv4-mapped address is nothing but its IPv4
/// address (it is dialled as that); other embeddings are reached through a translator or relay and count as both.
pub fn candidates(address: IpAddr) -> Candidates {
    let address = address.to_canonical();
    let mut all = Candidates { addresses: [address; CANDIDATES_MAX], len: 1, next: 0 };
    for v4 in embedded(address).into_iter().flatten() {
        all.addresses[usize::from(all.len)] = IpAddr::V4(v4);
        all.len += 1;
    }
    all
}

/// The IPv4 addresses that an address in canonical form embeds.
pub fn embedded(address: IpAddr) -> [Option<Ipv4Addr>; CANDIDATES_MAX - 1] {
    match address {
        IpAddr::V4(_) => [None, None],
        IpAddr::V6(v6) => embedded_v6(v6),
    }
}

fn embedded_v6(address: Ipv6Addr) -> [Option<Ipv4Addr>; CANDIDATES_MAX - 1] {
    let octets = address.octets();
    let [.., a, b, c, d] = octets;
    let last = Ipv4Addr::new(a, b, c, d);
    match address.segments() {
        // `::` and `::1` are themselves, not IPv4-compatible (RFC 4291 2.5.5.1).
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => [None, None],
        [0, 0, 0, 0, 0, 0, ..] => [Some(last), None],
        // IPv4-translated (RFC 7915, formerly RFC 2765).
        [0, 0, 0, 0, 0xffff, 0, ..] => [Some(last), None],
        // 6to4 (RFC 3056).
        [0x2002, ..] => [Some(Ipv4Addr::new(octets[2], octets[3], octets[4], octets[5])), None],
        // Teredo: the server as it is, the client with all bits inverted (RFC 4380 4).
        [0x2001, 0, ..] => {
            let server = Ipv4Addr::new(octets[4], octets[5], octets[6], octets[7]);
            [Some(server), Some(Ipv4Addr::from_bits(!last.to_bits()))]
        }
        // NAT64, well-known prefix (RFC 6052 2.1).
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => [Some(last), None],
        // NAT64, local-use prefix (RFC 8215).
        [0x64, 0xff9b, 1, ..] => [Some(local_nat64(&octets)), None],
        _ => [None, None],
    }
}

/// A local NAT64 prefix is 48, 56, 64 or 96 bits long (RFC 6052 2.2). The shorter ones step over octet 8 and end in zeros,
/// which tells them apart: the zeros that an IPv4 address of a host does not end in.
fn local_nat64(octets: &[u8; 16]) -> Ipv4Addr {
    let at = |places: [usize; 4]| {
        let [a, b, c, d] = places.map(|place| octets[place]);
        Ipv4Addr::new(a, b, c, d)
    };
    let ends_zero_from = |first: usize| octets[8] == 0 && octets[first..].iter().all(|&octet| octet == 0);
    if ends_zero_from(11) {
        at([6, 7, 9, 10])
    } else if ends_zero_from(12) {
        at([7, 9, 10, 11])
    } else if ends_zero_from(13) {
        at([9, 10, 11, 12])
    } else {
        at([12, 13, 14, 15])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_stands_for_what_it_embeds() {
        let cases: &[(&str, &[&str])] = &[
            ("192.0.2.1", &["192.0.2.1"]),
            ("2606:4700::1", &["2606:4700::1"]),
            ("::", &["::"]),
            ("::1", &["::1"]),
            ("::ffff:127.0.0.1", &["127.0.0.1"]),
            ("::127.0.0.1", &["::127.0.0.1", "127.0.0.1"]),
            ("::2", &["::2", "0.0.0.2"]),
            ("::ffff:0:127.0.0.1", &["::ffff:0:127.0.0.1", "127.0.0.1"]),
            ("2002:7f00:1::", &["2002:7f00:1::", "127.0.0.1"]),
            ("2002:a9fe:a9fe::5", &["2002:a9fe:a9fe::5", "169.254.169.254"]),
            ("2001:0:c000:201::80ff:fffe", &["2001:0:c000:201::80ff:fffe", "192.0.2.1", "127.0.0.1"]),
            ("2001:1::1", &["2001:1::1"]),
            ("64:ff9b::127.0.0.1", &["64:ff9b::127.0.0.1", "127.0.0.1"]),
            ("64:ff9b:0:0:1::7f00:1", &["64:ff9b:0:0:1::7f00:1"]),
            ("64:ff9b:1::10.0.0.1", &["64:ff9b:1::10.0.0.1", "10.0.0.1"]),
            ("64:ff9b:1:fffe::10.0.0.1", &["64:ff9b:1:fffe::10.0.0.1", "10.0.0.1"]),
            // 127.0.0.1 below /48: octets 6, 7, 9, 10.
            ("64:ff9b:1:7f00:0:100::", &["64:ff9b:1:7f00:0:100::", "127.0.0.1"]),
            // Below /56: octets 7, 9, 10, 11.
            ("64:ff9b:1:7f:0:1::", &["64:ff9b:1:7f:0:1::", "127.0.0.1"]),
            // Below /64: octets 9 to 12.
            ("64:ff9b:1:0:7f:0:100:0", &["64:ff9b:1:0:7f:0:100:0", "127.0.0.1"]),
            ("64:ff9c::7f00:1", &["64:ff9c::7f00:1"]),
        ];
        for (text, expected) in cases {
            let found: Vec<IpAddr> = candidates(address(text)).collect();
            let expected: Vec<IpAddr> = expected.iter().map(|text| address(text)).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn closed_ranges_end_where_they_end() {
        // Name without and with --deny-private.
        let cases: &[(&str, &str, &str)] = &[
            ("0.0.0.0", "unspecified", "unspecified"),
            ("0.0.0.1", "this-network", "this-network"),
            ("0.255.255.255", "this-network", "this-network"),
            ("1.0.0.0", "", ""),
            ("126.255.255.255", "", ""),
            ("127.0.0.0", "loopback", "loopback"),
            ("127.255.255.255", "loopback", "loopback"),
            ("::ffff:127.0.0.1", "loopback", "loopback"),
            ("128.0.0.0", "", ""),
            ("169.253.255.255", "", ""),
            ("169.254.169.254", "link-local", "link-local"),
            ("169.255.0.0", "", ""),
            ("168.63.129.16", "metadata", "metadata"),
            ("100.100.100.200", "metadata", "metadata"),
            ("223.255.255.255", "", ""),
            ("224.0.0.0", "multicast", "multicast"),
            ("239.255.255.255", "multicast", "multicast"),
            ("240.0.0.0", "reserved", "reserved"),
            ("255.255.255.254", "reserved", "reserved"),
            ("255.255.255.255", "broadcast", "broadcast"),
            ("10.0.0.1", "", "private"),
            ("11.0.0.0", "", ""),
            ("172.15.255.255", "", ""),
            ("172.16.0.0", "", "private"),
            ("172.31.255.255", "", "private"),
            ("172.32.0.0", "", ""),
            ("192.168.0.1", "", "private"),
            ("100.63.255.255", "", ""),
            ("100.64.0.0", "", "shared"),
            ("100.127.255.255", "", "shared"),
            ("100.128.0.0", "", ""),
            ("192.0.0.255", "", "protocol-assignment"),
            ("192.0.1.0", "", ""),
            ("192.0.2.5", "", "documentation"),
            ("198.51.100.5", "", "documentation"),
            ("203.0.113.5", "", "documentation"),
            ("198.17.255.255", "", ""),
            ("198.18.0.0", "", "benchmark"),
            ("198.19.255.255", "", "benchmark"),
            ("198.20.0.0", "", ""),
            ("::", "unspecified", "unspecified"),
            ("::1", "loopback", "loopback"),
            ("::2", "", ""),
            ("fe7f::1", "", ""),
            ("fe80::1", "link-local", "link-local"),
            ("febf::1", "link-local", "link-local"),
            ("fec0::1", "", "private"),
            ("feff::1", "", "private"),
            ("ff02::1", "multicast", "multicast"),
            ("fd00:ec2::254", "metadata", "metadata"),
            ("fd20:ce::254", "metadata", "metadata"),
            ("fbff::1", "", ""),
            ("fc00::1", "", "private"),
            ("fdff::1", "", "private"),
            ("fe00::1", "", ""),
            ("100::1", "", "protocol-assignment"),
            ("100:0:0:1::1", "", ""),
            ("2001:db8::1", "", "documentation"),
            ("2001:db9::1", "", ""),
            ("3fff:fff::1", "", "documentation"),
            ("3fff:1000::1", "", ""),
            ("2001:2::1", "", "benchmark"),
            ("2001:2:1::1", "", ""),
        ];
        for (text, open, closed) in cases {
            let name = |deny_private| built_in(address(text), deny_private).map_or("", BuiltIn::name);
            assert_eq!((name(false), name(true)), (*open, *closed), "{text}");
        }
    }
}
