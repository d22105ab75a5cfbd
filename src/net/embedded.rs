//! IPv4 addresses inside IPv6 addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most IPv4 addresses that one address embeds: four readings of a local NAT64 prefix, and one of ISATAP.
pub const EMBEDDED_MAX: usize = 5;

/// The IPv4 addresses that an IPv6 address reaches through a translator or relay (rule 40).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Embedded([Option<Ipv4Addr>; EMBEDDED_MAX]);

impl Embedded {
    /// The addresses that an address in canonical form embeds. An IPv4-mapped address is dialled as its IPv4 address,
    /// so it embeds none; other forms are judged themselves and by their embedded addresses.
    pub fn of(address: IpAddr) -> Embedded {
        match address {
            IpAddr::V4(_) => Embedded::default(),
            IpAddr::V6(v6) => embedded_v6(v6),
        }
    }

    /// The embedded addresses.
    pub fn iter(self) -> impl Iterator<Item = IpAddr> {
        self.0.into_iter().map_while(|found| found.map(IpAddr::V4))
    }

    fn push(&mut self, address: Ipv4Addr) {
        if let Some(place) = self.0.iter_mut().find(|place| place.is_none()) {
            *place = Some(address);
        }
    }
}

fn embedded_v6(address: Ipv6Addr) -> Embedded {
    let octets = address.octets();
    let at = |places: [usize; 4]| {
        let [a, b, c, d] = places.map(|place| octets[place]);
        Ipv4Addr::new(a, b, c, d)
    };
    let last = at([12, 13, 14, 15]);
    let segments = address.segments();
    let mut found = Embedded::default();
    match segments {
        // `::` and `::1` are no IPv4-compatible addresses (RFC 4291 2.5.5.1).
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => {}
        // IPv4-compatible; IPv4-translated (RFC 7915, formerly RFC 2765).
        [0, 0, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => found.push(last),
        // 6to4 (RFC 3056).
        [0x2002, ..] => found.push(at([2, 3, 4, 5])),
        // Teredo: the server as it is, the client with inverted bits (RFC 4380 4).
        [0x2001, 0, ..] => {
            found.push(at([4, 5, 6, 7]));
            found.push(Ipv4Addr::from_bits(!last.to_bits()));
        }
        // NAT64, well-known prefix (RFC 6052 2.1).
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => found.push(last),
        // NAT64, local-use prefix (RFC 8215): 48, 56, 64 or 96 bits long, and the address does not show which. The
        // shorter forms skip octet 8, and translators ignore the bits behind the address (RFC 6052 2.2). So all four
        // readings count, except those that no network uses: 0.0.0.0/8 and addresses beyond 223.255.255.255.
        [0x64, 0xff9b, 1, ..] => {
            let readings = [[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12]].map(at);
            readings
                .into_iter()
                .filter(|reading| (1..=223).contains(&reading.octets()[0]))
                .for_each(|reading| found.push(reading));
            found.push(last);
        }
        _ => {}
    }
    // ISATAP, below any prefix, without the universal and group bits (RFC 5214 6.1).
    if segments[4] & !0x0300 == 0 && segments[5] == 0x5efe {
        found.push(last);
    }
    found
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
            // 127.0.0.1 below /48: octets 6, 7, 9, 10. All other readings are judged, too.
            ("64:ff9b:1:7f00:0:100::", &["64:ff9b:1:7f00:0:100::", "127.0.0.1", "0.0.0.0"]),
            // Below /56: octets 7, 9, 10, 11.
            ("64:ff9b:1:7f:0:1::", &["64:ff9b:1:7f:0:1::", "127.0.0.1", "0.0.0.0"]),
            // Below /64: octets 9 to 12.
            ("64:ff9b:1:0:7f:0:100:0", &["64:ff9b:1:0:7f:0:100:0", "127.0.0.1", "1.0.0.0"]),
            // Translators ignore the bits that follow.
            (
                "64:ff9b:1:a9fe:a9:fe00:1:1",
                &["64:ff9b:1:a9fe:a9:fe00:1:1", "169.254.169.254", "169.254.0.0", "0.1.0.1"],
            ),
            ("64:ff9c::7f00:1", &["64:ff9c::7f00:1"]),
            // ISATAP.
            ("2606:4700::5efe:127.0.0.1", &["2606:4700::5efe:127.0.0.1", "127.0.0.1"]),
            ("2606:4700::200:5efe:10.0.0.1", &["2606:4700::200:5efe:10.0.0.1", "10.0.0.1"]),
            ("fe80::5efe:192.0.2.1", &["fe80::5efe:192.0.2.1", "192.0.2.1"]),
            ("2606:4700::400:5efe:10.0.0.1", &["2606:4700::400:5efe:10.0.0.1"]),
            ("2002:a00:1:0:0:5efe:127.0.0.1", &["2002:a00:1:0:0:5efe:127.0.0.1", "10.0.0.1", "127.0.0.1"]),
        ];
        for (text, expected) in cases {
            let canonical = address(text).to_canonical();
            let found: Vec<IpAddr> =
                std::iter::once(canonical).chain(Embedded::of(canonical).iter()).collect();
            let expected: Vec<IpAddr> = expected.iter().map(|text| address(text)).collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}
