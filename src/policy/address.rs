//! The ranges that are closed unless a rule opens them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The built-in reason for which an address is closed.
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
    /// Metadata and credential services of clouds outside link-local ranges (their vendors' documentation): Amazon in `fd00:ec2::/32`,
    /// Google, Oracle, Scaleway, Linode, Alibaba and Azure.
    Metadata,
    /// An address of an interface of this machine.
    OwnAddress,
    /// `224.0.0.0/4` and `ff00::/8` (RFC 5771, RFC 4291 2.7).
    Multicast,
    /// `255.255.255.255` (RFC 919).
    Broadcast,
    /// The rest of `240.0.0.0/4` (RFC 1112 4).
    Reserved,
    /// RFC 1918 ranges, `fc00::/7` (RFC 4193), `fec0::/10` (RFC 3879). This range and the following ones are closed
    /// only with `--deny-private`.
    Private,
    /// `100.64.0.0/10`, behind carrier-grade NAT (RFC 6598).
    Shared,
    /// IETF protocol assignments that are not reachable globally (IANA's registries of special-purpose addresses):
    /// `192.0.0.0/24` (RFC 6890), `192.88.99.0/24` (RFC 7526), `64:ff9b:1::/48` (RFC 8215), `100::/64` (RFC 6666),
    /// `100:0:0:1::/64` (RFC 9780), the closed part of `2001::/23` (RFC 2928), `5f00::/16` (RFC 9602).
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
            BuiltIn::OwnAddress => "own-address",
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

/// Whether this address is closed. The addresses inside it (those of translators and relays) are judged on their own.
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
        // Alibaba, Azure, Oracle.
        [100, 100, 100, 200] | [168, 63, 129, 16] | [192, 0, 0, 192] => Some(BuiltIn::Metadata),
        [224..=239, ..] => Some(BuiltIn::Multicast),
        [255, 255, 255, 255] => Some(BuiltIn::Broadcast),
        [240..=255, ..] => Some(BuiltIn::Reserved),
        _ if !deny_private => None,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some(BuiltIn::Private),
        [100, 64..=127, ..] => Some(BuiltIn::Shared),
        [192, 0, 0, _] | [192, 88, 99, _] => Some(BuiltIn::Protocol),
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
        // Amazon: instance metadata at ::254, credentials of pods at ::23, name servers and time beside them.
        [0xfd00, 0x0ec2, ..]
        // Google, Oracle, Scaleway, Linode, Alibaba.
        | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254]
        | [0xfd00, 0x00c1, 0, 0, 0, 0, 0xa9fe, 0xa9fe]
        | [0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x0042]
        | [0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 0x0001]
        | [0xfd00, 0x0100, 0, 0, 0, 0, 0x0100, 0x0200] => Some(BuiltIn::Metadata),
        _ if !deny_private => None,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Some(BuiltIn::Private),
        [0x100, 0, 0, 0 | 1, ..] | [0x64, 0xff9b, 1, ..] | [0x5f00, ..] => Some(BuiltIn::Protocol),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some(BuiltIn::Documentation),
        [0x2001, 2, 0, ..] => Some(BuiltIn::Benchmark),
        [0x2001, 0..=0x1ff, ..] if !is_global_assignment(address) => Some(BuiltIn::Protocol),
        _ => None,
    }
}

/// The globally reachable parts of `2001::/23`, and Teredo, which is judged by its embedded addresses.
fn is_global_assignment(address: Ipv6Addr) -> bool {
    match address.segments() {
        // Anycast for port control, relays and service registration (RFC 7723, RFC 8155, RFC 9665).
        [0x2001, 1, 0, 0, 0, 0, 0, 1..=3] => true,
        // Teredo (RFC 4380), AMT (RFC 7450), AS112 (RFC 7535).
        [0x2001, 0 | 3, ..] | [0x2001, 4, 0x112, ..] => true,
        // ORCHIDv2 (RFC 7343), drones (RFC 9374).
        [0x2001, 0x20..=0x3f, ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
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
            ("100:0:0:1::1", "", "protocol-assignment"),
            ("100:0:0:2::1", "", ""),
            ("2001:db8::1", "", "documentation"),
            ("2001:db9::1", "", ""),
            ("3fff:fff::1", "", "documentation"),
            ("3fff:1000::1", "", ""),
            ("2001:2::1", "", "benchmark"),
            ("2001:2:1::1", "", "protocol-assignment"),
            ("2001:200::1", "", ""),
            ("192.0.0.192", "metadata", "metadata"),
            ("fd00:ec2::23", "metadata", "metadata"),
            ("fd00:ec3::23", "", "private"),
            ("fd00:c1::a9fe:a9fe", "metadata", "metadata"),
            ("fd00:42::42", "metadata", "metadata"),
            ("fd00:a9fe:a9fe::1", "metadata", "metadata"),
            ("fd00:100::100:200", "metadata", "metadata"),
        ];
        for (text, open, closed) in cases {
            let name = |deny_private| built_in(address(text), deny_private).map_or("", BuiltIn::name);
            assert_eq!((name(false), name(true)), (*open, *closed), "{text}");
        }
    }

    /// IANA's registries of special-purpose addresses, IPv4 as of 2025-10 and IPv6 as of 2025-10: for each block an address in
    /// it, the verdict by default, and with `--deny-private`, which closes all that is not reachable globally.
    #[test]
    fn kind_06_the_registries_of_special_purpose_addresses() {
        let rows: &[(&str, &str, &str, &str)] = &[
            ("0.0.0.0/8", "0.1.2.3", "this-network", "this-network"),
            ("0.0.0.0/32", "0.0.0.0", "unspecified", "unspecified"),
            ("10.0.0.0/8", "10.255.0.1", "", "private"),
            ("100.64.0.0/10", "100.64.0.1", "", "shared"),
            ("127.0.0.0/8", "127.0.0.53", "loopback", "loopback"),
            ("169.254.0.0/16", "169.254.1.1", "link-local", "link-local"),
            ("172.16.0.0/12", "172.20.0.1", "", "private"),
            ("192.0.0.0/24", "192.0.0.1", "", "protocol-assignment"),
            ("192.0.0.0/29", "192.0.0.7", "", "protocol-assignment"),
            ("192.0.0.8/32", "192.0.0.8", "", "protocol-assignment"),
            ("192.0.0.9/32", "192.0.0.9", "", "protocol-assignment"),
            ("192.0.0.10/32", "192.0.0.10", "", "protocol-assignment"),
            ("192.0.0.170/32", "192.0.0.170", "", "protocol-assignment"),
            ("192.0.0.171/32", "192.0.0.171", "", "protocol-assignment"),
            ("192.0.2.0/24", "192.0.2.1", "", "documentation"),
            ("192.31.196.0/24", "192.31.196.1", "", ""),
            ("192.52.193.0/24", "192.52.193.1", "", ""),
            ("192.88.99.0/24", "192.88.99.1", "", "protocol-assignment"),
            ("192.168.0.0/16", "192.168.255.255", "", "private"),
            ("192.175.48.0/24", "192.175.48.1", "", ""),
            ("198.18.0.0/15", "198.19.0.1", "", "benchmark"),
            ("198.51.100.0/24", "198.51.100.1", "", "documentation"),
            ("203.0.113.0/24", "203.0.113.1", "", "documentation"),
            ("240.0.0.0/4", "240.0.0.1", "reserved", "reserved"),
            ("255.255.255.255/32", "255.255.255.255", "broadcast", "broadcast"),
            ("::1/128", "::1", "loopback", "loopback"),
            ("::/128", "::", "unspecified", "unspecified"),
            ("::ffff:0:0/96", "::ffff:10.0.0.1", "", "private"),
            ("64:ff9b::/96", "64:ff9b::8.8.8.8", "", ""),
            ("64:ff9b:1::/48", "64:ff9b:1::8.8.8.8", "", "protocol-assignment"),
            ("100::/64", "100::1", "", "protocol-assignment"),
            ("100:0:0:1::/64", "100:0:0:1::1", "", "protocol-assignment"),
            ("2001::/23", "2001:100::1", "", "protocol-assignment"),
            ("2001::/32", "2001:0:808:808::f7f7:f7f7", "", ""),
            ("2001:1::1/128", "2001:1::1", "", ""),
            ("2001:1::2/128", "2001:1::2", "", ""),
            ("2001:1::3/128", "2001:1::3", "", ""),
            ("2001:2::/48", "2001:2::1", "", "benchmark"),
            ("2001:3::/32", "2001:3::1", "", ""),
            ("2001:4:112::/48", "2001:4:112::1", "", ""),
            ("2001:10::/28", "2001:10::1", "", "protocol-assignment"),
            ("2001:20::/28", "2001:20::1", "", ""),
            ("2001:30::/28", "2001:30::1", "", ""),
            ("2001:db8::/32", "2001:db8::1", "", "documentation"),
            ("2002::/16", "2002:808:808::1", "", ""),
            ("2620:4f:8000::/48", "2620:4f:8000::1", "", ""),
            ("3fff::/20", "3fff::1", "", "documentation"),
            ("5f00::/16", "5f00::1", "", "protocol-assignment"),
            ("fc00::/7", "fd12:3456::1", "", "private"),
            ("fe80::/10", "fe80::1", "link-local", "link-local"),
        ];
        for (block, text, open, closed) in rows {
            let network: ipnet::IpNet = block.parse().unwrap();
            assert!(network.contains(&address(text)), "{block} {text}");
            let name = |deny_private| built_in(address(text), deny_private).map_or("", BuiltIn::name);
            assert_eq!((name(false), name(true)), (*open, *closed), "{block} {text}");
        }
    }
}
