//! Networks in the guard file, in files of bans, and in the files of cloud providers.

use ipnet::{IpNet, Ipv4Net};
use std::net::IpAddr;

/// The reason why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkError {
    /// Neither an address nor a network.
    Malformed,
    /// Bits behind the prefix are set; contains the network without them.
    HostBits(IpNet),
}

/// Reads an address or a network. An address is a network of one; an IPv4-mapped one is IPv4 (section 2: canonical
/// form everywhere).
pub fn parse_network(text: &str) -> Result<IpNet, NetworkError> {
    let malformed = |_| NetworkError::Malformed;
    let network = match text.contains('/') {
        true => text.parse::<IpNet>().map_err(|_| NetworkError::Malformed)?,
        false => IpNet::from(text.parse::<IpAddr>().map_err(malformed)?),
    };
    let network = canonical(network);
    if network.addr() == network.network() {
        Ok(network)
    } else {
        Err(NetworkError::HostBits(network.trunc()))
    }
}

/// A network of IPv4-mapped addresses is one of IPv4 addresses.
pub fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let mapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    match mapped.map(|(v4, length)| Ipv4Net::new(v4, length)) {
        Some(Ok(v4)) => IpNet::V4(v4),
        Some(Err(_)) | None => network,
    }
}

/// The text of a network; a network of one is written as its address.
pub fn network_text(network: IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() {
        network.addr().to_string()
    } else {
        network.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_in_canonical_form() {
        let cases: [(&str, Result<&str, Option<&str>>); 20] = [
            ("192.0.2.1", Ok("192.0.2.1")),
            ("192.0.2.0/24", Ok("192.0.2.0/24")),
            ("192.0.2.1/32", Ok("192.0.2.1")),
            ("0.0.0.0/0", Ok("0.0.0.0/0")),
            ("2001:DB8::/32", Ok("2001:db8::/32")),
            ("2001:db8:0::1", Ok("2001:db8::1")),
            ("::/0", Ok("::/0")),
            ("::ffff:192.0.2.1", Ok("192.0.2.1")),
            ("::ffff:192.0.2.0/120", Ok("192.0.2.0/24")),
            ("::ffff:0:0/96", Ok("0.0.0.0/0")),
            ("10.1.2.3/8", Err(Some("10.0.0.0/8"))),
            ("::ffff:10.1.2.3/104", Err(Some("10.0.0.0/8"))),
            ("2001:db8::1/64", Err(Some("2001:db8::/64"))),
            ("192.0.2.0/33", Err(None)),
            ("192.0.2/24", Err(None)),
            ("192.0.2.01", Err(None)),
            ("[2001:db8::1]", Err(None)),
            ("fe80::1%eth0", Err(None)),
            ("", Err(None)),
            ("example.com", Err(None)),
        ];
        for (text, expected) in cases {
            let found = parse_network(text).map(network_text);
            let expected = expected.map(str::to_owned).map_err(|would_be| match would_be {
                Some(network) => NetworkError::HostBits(network.parse().unwrap()),
                None => NetworkError::Malformed,
            });
            assert_eq!(found, expected, "{text}");
        }
    }
}
