//! `trust cloudflare`: the networks that Cloudflare publishes, and the fields that it sets.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The fields with the address, in the order in which they are read (guard semantics, section 2).
pub(super) const FIELDS: [&str; 4] = ["cf-connecting-ip", "true-client-ip", "x-forwarded-for", "x-real-ip"];

/// <https://www.cloudflare.com/ips-v4>
const V4: [([u8; 4], u8); 15] = [
    ([173, 245, 48, 0], 20),
    ([103, 21, 244, 0], 22),
    ([103, 22, 200, 0], 22),
    ([103, 31, 4, 0], 22),
    ([141, 101, 64, 0], 18),
    ([108, 162, 192, 0], 18),
    ([190, 93, 240, 0], 20),
    ([188, 114, 96, 0], 20),
    ([197, 234, 240, 0], 22),
    ([198, 41, 128, 0], 17),
    ([162, 158, 0, 0], 15),
    ([104, 16, 0, 0], 13),
    ([104, 24, 0, 0], 14),
    ([172, 64, 0, 0], 13),
    ([131, 0, 72, 0], 22),
];

/// <https://www.cloudflare.com/ips-v6>: the first two groups of each.
const V6: [([u16; 2], u8); 7] = [
    ([0x2400, 0xcb00], 32),
    ([0x2606, 0x4700], 32),
    ([0x2803, 0xf800], 32),
    ([0x2405, 0xb500], 32),
    ([0x2405, 0x8100], 32),
    ([0x2a06, 0x98c0], 29),
    ([0x2c0f, 0xf248], 32),
];

/// All networks.
pub(super) fn networks() -> Vec<IpNet> {
    let v4 = V4.iter().filter_map(|(octets, length)| Ipv4Net::new(Ipv4Addr::from(*octets), *length).ok());
    let v6 = V6.iter().filter_map(|([first, second], length)| {
        Ipv6Net::new(Ipv6Addr::new(*first, *second, 0, 0, 0, 0, 0, 0), *length).ok()
    });
    v4.map(IpNet::V4).chain(v6.map(IpNet::V6)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guard_2_cloudflare_publishes_15_and_7_networks() {
        let networks = networks();
        assert_eq!(networks.iter().filter(|network| matches!(network, IpNet::V4(_))).count(), 15);
        assert_eq!(networks.len(), 22);
        assert!(networks.iter().all(|network| *network == network.trunc()));
        let covers = |address: &str| {
            networks.iter().any(|network| network.contains(&address.parse::<std::net::IpAddr>().unwrap()))
        };
        assert!(covers("104.27.255.255") && covers("172.71.255.255") && covers("2a06:98c7::1"));
        assert!(!covers("104.28.0.0") && !covers("172.72.0.0") && !covers("2a06:98c8::1"));
    }
}
