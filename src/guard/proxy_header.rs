//! The PROXY protocol, versions 1 and 2: the first bytes of a connection name the client (HAProxy's proxy-protocol.txt).
//!
//! A listener that expects the header from its trusted peers waits until it is complete. Nothing is guessed: bytes that are
//! no header, and a header with any fault, close the connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest header of version 1, with its line end (section 2.1).
pub const V1_BYTES_MAX: usize = 107;

/// Longest header of version 2 (chosen): a block. Section 2.2 allows 65,551 bytes, asks receivers for 536, and headers with the
/// certificates of clients stay below 4 KB.
pub const V2_BYTES_MAX: usize = 4096;

const V1_START: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, length.
const V2_FIXED_BYTES: usize = 16;

/// A CRC32C over the whole header (section 2.2.4).
const TLV_CRC32C: u8 = 0x03;

/// The beginning of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// A header so far; more bytes are needed.
    Incomplete,
    /// A header.
    Done {
        /// The client, in canonical form. `None` if the header names none (LOCAL, UNKNOWN, no TCP): the peer is the client.
        address: Option<SocketAddr>,
        /// Length of the header in bytes; the client's bytes follow.
        length: usize,
    },
    /// No header, or a faulty one; contains what was expected.
    Malformed(&'static str),
}

/// Reads the header at the beginning of these bytes.
pub fn read(bytes: &[u8]) -> ProxyHeader {
    let begins = |start: &[u8]| bytes.iter().zip(start).all(|(byte, expected)| byte == expected);
    let found = match (begins(V1_START), begins(V2_SIGNATURE)) {
        (true, false) => version_1(bytes),
        (false, true) => version_2(bytes),
        // No byte has arrived yet.
        (true, true) => Ok(None),
        (false, false) => Err("expected a PROXY header at the beginning of the connection"),
    };
    match found {
        Ok(Some((address, length))) => ProxyHeader::Done { address, length },
        Ok(None) => ProxyHeader::Incomplete,
        Err(expected) => ProxyHeader::Malformed(expected),
    }
}

/// Address and length, or `None` if bytes are missing.
type Found = Result<Option<(Option<SocketAddr>, usize)>, &'static str>;

fn version_1(bytes: &[u8]) -> Found {
    let line = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = memchr::memchr2(b'\r', b'\n', line) else {
        let is_full = bytes.len() >= V1_BYTES_MAX;
        return if is_full { Err("expected a PROXY line of at most 107 bytes") } else { Ok(None) };
    };
    match line.get(end..end + 2) {
        Some(b"\r\n") => {}
        None if line[end] == b'\r' && bytes.len() < V1_BYTES_MAX => return Ok(None),
        Some(_) | None => return Err("expected a PROXY line that ends in CR LF, of at most 107 bytes"),
    }
    let text = line.get(V1_START.len()..end).and_then(|text| std::str::from_utf8(text).ok());
    let mut words = text.ok_or("expected a PROXY line")?.split(' ');
    let address = match words.next() {
        // The rest of the line is to be ignored.
        Some("UNKNOWN") => None,
        Some("TCP4") => Some(addresses::<Ipv4Addr>(words)?),
        Some("TCP6") => Some(addresses::<Ipv6Addr>(words)?),
        Some(_) | None => return Err("expected TCP4, TCP6 or UNKNOWN in the PROXY line"),
    };
    Ok(Some((address, end + 2)))
}

/// The source address, after a check of the destination and both ports.
fn addresses<'t, A: std::str::FromStr + Into<IpAddr>>(
    mut words: impl Iterator<Item = &'t str>,
) -> Result<SocketAddr, &'static str> {
    const EXPECTED: &str = "expected two addresses and two ports in the PROXY line";
    let address = |word: Option<&str>| word.and_then(|word| word.parse::<A>().ok());
    let (source, destination) = (address(words.next()), address(words.next()));
    let (port, destination_port) = (words.next().and_then(port), words.next().and_then(port));
    match (source, destination, port, destination_port, words.next()) {
        (Some(source), Some(_), Some(port), Some(_), None) => Ok(canonical(source.into(), port)),
        _ => Err(EXPECTED),
    }
}

/// Decimal digits without leading zeros.
fn port(text: &str) -> Option<u16> {
    let is_decimal =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_decimal { text.parse().ok() } else { None }
}

fn canonical(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address.to_canonical(), port)
}

fn version_2(bytes: &[u8]) -> Found {
    let Some(&[version, family, high, low]) = bytes.get(V2_SIGNATURE.len()..V2_FIXED_BYTES) else {
        return Ok(None);
    };
    let length = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if length > V2_BYTES_MAX {
        return Err("expected a PROXY header of at most 4096 bytes");
    }
    let is_local = match version {
        0x20 => true,
        0x21 => false,
        _ => return Err("expected version 2 and LOCAL or PROXY in the PROXY header"),
    };
    // A connection of the proxy itself has no client, whatever the family says (section 2.2).
    if !is_local && (family > 0x32 || family & 0x0F > 2) {
        return Err("expected a known family and protocol in the PROXY header");
    }
    let Some(header) = bytes.get(..length) else { return Ok(None) };
    // A connection of the proxy itself, such as a health check, or of an unknown family: the rest must be ignored.
    if is_local || family & 0xF0 == 0 {
        return Ok(Some((None, length)));
    }
    Ok(Some((version_2_address(header, family)?, length)))
}

/// The source address, if it is one of TCP, in a complete header.
fn version_2_address(header: &[u8], family: u8) -> Result<Option<SocketAddr>, &'static str> {
    const EXPECTED: &str = "expected a PROXY header that is long enough for its addresses";
    let body = &header[V2_FIXED_BYTES..];
    // Two addresses and two ports, or two paths of 108 bytes.
    let address_bytes = match family >> 4 {
        1 => 12,
        2 => 36,
        _ => 216,
    };
    let (addresses, values) = body.split_at_checked(address_bytes).ok_or(EXPECTED)?;
    check_values(header, values)?;
    Ok(match (family, addresses) {
        (0x11, &[a, b, c, d, _, _, _, _, high, low, ..]) => {
            Some(canonical(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low])))
        }
        (0x21, addresses) => {
            let source: Option<[u8; 16]> = addresses.first_chunk().copied();
            let port = addresses.get(32..34).map(|port| u16::from_be_bytes([port[0], port[1]]));
            source.zip(port).map(|(source, port)| canonical(Ipv6Addr::from(source).into(), port))
        }
        // Unix sockets have no address, and this connection carries no datagrams.
        _ => None,
    })
}

/// Additional values fill the header, and a checksum among them is right.
fn check_values(header: &[u8], mut values: &[u8]) -> Result<(), &'static str> {
    while let [kind, high, low, rest @ ..] = values {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, behind) =
            rest.split_at_checked(length).ok_or("expected values within the PROXY header")?;
        if *kind == TLV_CRC32C {
            let at = header.len() - rest.len();
            let checksum = crc32c(&header[..at], length, behind);
            if value != checksum.to_be_bytes() {
                return Err("expected a PROXY header with a right checksum");
            }
        }
        values = behind;
    }
    if values.is_empty() { Ok(()) } else { Err("expected values within the PROXY header") }
}

/// CRC32C (RFC 3720 appendix B.4) of a header whose checksum counts as zeros. Bit by bit: computed at most once for each
/// connection, and few senders add one.
fn crc32c(before: &[u8], zeros: usize, behind: &[u8]) -> u32 {
    let bytes = before.iter().copied().chain(std::iter::repeat_n(0, zeros)).chain(behind.iter().copied());
    !bytes.fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(address: Option<&str>, length: usize) -> ProxyHeader {
        ProxyHeader::Done { address: address.map(|address| address.parse().unwrap()), length }
    }

    /// Whole, byte by byte, and with bytes behind.
    #[track_caller]
    fn expect(bytes: &[u8], address: Option<&str>) {
        let expected = done(address, bytes.len());
        assert_eq!(read(bytes), expected, "{}", bytes.escape_ascii());
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end]), ProxyHeader::Incomplete, "{}", bytes[..end].escape_ascii());
        }
        for behind in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\r\n", b"\0", &[b'x'; 5000]] {
            assert_eq!(read(&[bytes, behind].concat()), expected);
        }
    }

    /// Wrong from some byte on, and never a header.
    #[track_caller]
    fn expect_malformed(bytes: &[u8]) {
        let found = read(bytes);
        assert!(
            matches!(found, ProxyHeader::Malformed(text) if text.contains("expected")),
            "{}: {found:?}",
            bytes.escape_ascii()
        );
        let pieces: Vec<_> = (0..=bytes.len()).map(|end| read(&bytes[..end])).collect();
        let wrong_from = pieces.iter().position(|piece| *piece != ProxyHeader::Incomplete).unwrap();
        assert!(
            pieces[wrong_from..].iter().all(|piece| matches!(piece, ProxyHeader::Malformed(_))),
            "{pieces:?}"
        );
        assert!(matches!(read(&[bytes, b"GET / HTTP/1.1\r\n\r\n"].concat()), ProxyHeader::Malformed(_)));
    }

    #[test]
    fn ours_2_version_1() {
        expect(b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", Some("192.0.2.1:56324"));
        expect(b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", Some("255.255.255.255:65535"));
        expect(b"PROXY TCP4 192.0.2.1 198.51.100.1 0 0\r\n", Some("192.0.2.1:0"));
        expect(b"PROXY TCP6 2001:DB8::1 2001:db8::2 1 2\r\n", Some("[2001:db8::1]:1"));
        expect(b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", Some("192.0.2.1:1"));
        expect(b"PROXY UNKNOWN\r\n", None);
        expect(b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", None);
        // The longest that there is (section 2.1).
        let longest = format!("PROXY UNKNOWN {0} {0} 65535 65535\r\n", ["ffff"; 8].join(":"));
        assert_eq!(longest.len(), V1_BYTES_MAX);
        expect(longest.as_bytes(), None);
    }

    #[test]
    fn ours_2_version_1_faults() {
        for line in [
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 \r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 1\r\n",
            "PROXY TCP4  192.0.2.1 198.51.100.1 56324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324 65536\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 056324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 +1 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 1 \r\n",
            "PROXY TCP4 192.0.2.01 198.51.100.1 1 443\r\n",
            "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.1 1 2\r\n",
            "PROXY TCP6 [2001:db8::1] 2001:db8::2 1 2\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.1 1 2\r\n",
            "PROXY tcp4 192.0.2.1 198.51.100.1 1 2\r\n",
            "PROXY \r\n",
            "PROXY  TCP4\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY\r\n",
            "PROXYTCP4",
            "proxy TCP4",
            "GET / HTTP/1.1\r\n",
            "\n",
            "\r\n\r\n\r\n",
        ] {
            expect_malformed(line.as_bytes());
        }
        expect_malformed(&[b"PROXY UNKNOWN ".as_slice(), &[b'x'; V1_BYTES_MAX]].concat());
        expect_malformed(b"PROXY TCP4 \xff\r\n");
        // One byte too many, with the line end in view.
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(V1_BYTES_MAX - 15));
        assert_eq!(long.len(), V1_BYTES_MAX + 1);
        expect_malformed(long.as_bytes());
    }

    fn v2(version: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u16).to_be_bytes();
        [V2_SIGNATURE, &[version, family], &length, body].concat()
    }

    const V4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 1, 0xDC, 0x04, 0x01, 0xBB];

    fn v6(source: &str) -> Vec<u8> {
        let source: Ipv6Addr = source.parse().unwrap();
        [&source.octets()[..], &Ipv6Addr::LOCALHOST.octets(), &[0, 80, 1, 187]].concat()
    }

    fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
        [&[kind], &(value.len() as u16).to_be_bytes()[..], value].concat()
    }

    #[test]
    fn ours_2_version_2() {
        expect(&v2(0x21, 0x11, V4), Some("192.0.2.1:56324"));
        expect(&v2(0x21, 0x21, &v6("2001:db8::1")), Some("[2001:db8::1]:80"));
        expect(&v2(0x21, 0x21, &v6("::ffff:192.0.2.1")), Some("192.0.2.1:80"));
        let unix = [&b"/run/a"[..], &[0; 210]].concat();
        expect(&v2(0x21, 0x31, &unix), None);
        // Datagrams.
        expect(&v2(0x21, 0x12, V4), None);
        expect(&v2(0x21, 0x22, &v6("2001:db8::1")), None);
        // Not of any client, whatever follows.
        for family in [0x00, 0x11, 0x21, 0x31, 0x13, 0xFF] {
            expect(&v2(0x20, family, b""), None);
            expect(&v2(0x20, family, b"xyz"), None);
        }
        expect(&v2(0x21, 0x00, b""), None);
        expect(&v2(0x21, 0x00, b"any"), None);
        let values = [V4, &tlv(0x01, b"h2"), &tlv(0x04, b""), &tlv(0xEA, &[0; 300])].concat();
        expect(&v2(0x21, 0x11, &values), Some("192.0.2.1:56324"));
        let longest = [V4, &tlv(0x04, &[0; V2_BYTES_MAX - V2_FIXED_BYTES - 12 - 3])].concat();
        expect(&v2(0x21, 0x11, &longest), Some("192.0.2.1:56324"));
    }

    #[test]
    fn ours_2_version_2_checksums() {
        // RFC 3720 B.4: 32 bytes of zeros.
        assert_eq!(crc32c(&[], 32, &[]), 0x8A91_36AA);
        assert_eq!(crc32c(b"123456789", 0, &[]), 0xE306_9283);
        for behind in [&b""[..], &tlv(0x04, b"more")] {
            let body = [V4, &tlv(0x01, b"h2"), &tlv(TLV_CRC32C, &[0; 4]), behind].concat();
            let mut header = v2(0x21, 0x11, &body);
            let at = header.len() - behind.len() - 4;
            let checksum = crc32c(&header, 0, &[]).to_be_bytes();
            expect_malformed(&header);
            header[at..at + 4].copy_from_slice(&checksum);
            expect(&header, Some("192.0.2.1:56324"));
            header[20] ^= 1;
            expect_malformed(&header);
        }
        expect_malformed(&v2(0x21, 0x11, &[V4, &tlv(TLV_CRC32C, &[0; 3])].concat()));
    }

    #[test]
    fn ours_2_version_2_faults() {
        for bytes in [
            v2(0x11, 0x11, V4),
            v2(0x22, 0x11, V4),
            v2(0x01, 0x11, V4),
            v2(0x21, 0x13, V4),
            v2(0x21, 0x41, V4),
            v2(0x21, 0x11, &V4[..11]),
            v2(0x21, 0x21, V4),
            v2(0x21, 0x31, V4),
            v2(0x21, 0x11, &[V4, &[4]].concat()),
            v2(0x21, 0x11, &[V4, &[4, 0]].concat()),
            v2(0x21, 0x11, &[V4, &[4, 0, 1]].concat()),
            v2(0x21, 0x11, &[V4, &[4, 0xFF, 0xFF, 0]].concat()),
            v2(0x21, 0x11, &[0; V2_BYTES_MAX - V2_FIXED_BYTES + 1]),
            [V2_SIGNATURE, &[0x21, 0x11, 0xFF, 0xFF]].concat(),
            b"\r\n\r\n\0\r\nQUIT\r".to_vec(),
        ] {
            expect_malformed(&bytes);
        }
    }
}
