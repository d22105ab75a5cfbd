//! Hosts: names and addresses, in the one form that is judged, resolved and dialled (RFC 3986 section 3.2.2).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::fault::Fault;
use super::fields::write_ipv4;

/// Longest name in bytes, without the trailing dot (RFC 1035 section 2.3.4).
pub const NAME_BYTES_MAX: usize = 253;

/// Longest label of a name in bytes (RFC 1035 section 2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// The bytes of names, in lower case; 0 for all others. Underscores are not part of host names, but of names in use.
const NAME_BYTES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        if matches!(byte as u8, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.') {
            table[byte] = (byte as u8).to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

/// The byte in a name of labels in place of any byte that no host name has. Rules cannot have it either, so no rule for exactly
/// another name holds, and rules for all names below a domain do.
const FOREIGN_BYTE: u8 = b'?';

/// A host name in the one form that is judged, resolved and dialled: ASCII, lower case, no trailing dot. Two names that
/// differ only by that dot are equal.
#[derive(Clone, Copy)]
pub struct Name {
    len: u8,
    /// The name had a trailing dot: no search domain is appended to it.
    rooted: bool,
    bytes: [u8; NAME_BYTES_MAX],
}

/// The host of an authority: a name or a canonical address (an IPv4-mapped address is IPv4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::large_enum_variant, reason = "a box would be an allocation per request")]
pub enum Host {
    /// A registered name, to be resolved.
    Name(Name),
    /// An address literal, whatever its spelling was.
    Address(IpAddr),
}

impl Name {
    /// A name to judge only, of labels as name servers have them: with any bytes, also a dot. `None` without labels, or if they are
    /// too long together.
    pub fn of_labels<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Option<Name> {
        let mut name = Name { len: 0, rooted: true, bytes: [0; NAME_BYTES_MAX] };
        let mut places = name.bytes.iter_mut();
        for (number, label) in labels.enumerate() {
            if number > 0 {
                *places.next()? = b'.';
            }
            for &byte in label {
                *places.next()? = match NAME_BYTES[usize::from(byte)] {
                    0 | b'.' => FOREIGN_BYTE,
                    byte => byte,
                };
            }
        }
        name.len = (NAME_BYTES_MAX - places.len()) as u8;
        (name.len > 0).then_some(name)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or("")
    }

    /// The name as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Whether the name had a trailing dot, which prevents the search (rule 10).
    pub fn is_rooted(&self) -> bool {
        self.rooted
    }

    /// This name in a domain: `www` in `corp.example` is `www.corp.example`. `None` if the result is too long.
    pub fn in_domain(&self, domain: &Name) -> Option<Name> {
        let (own, above) = (self.as_bytes(), domain.as_bytes());
        let len = own.len() + 1 + above.len();
        if len > NAME_BYTES_MAX {
            return None;
        }
        let mut name = Name { len: len as u8, rooted: true, bytes: self.bytes };
        name.bytes[own.len()] = b'.';
        name.bytes[own.len() + 1..len].copy_from_slice(above);
        Some(name)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Name {}

impl std::hash::Hash for Name {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

/// The reason why a text is not a host (RFC 1035, RFC 3986).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostError {
    /// The text is empty.
    Empty,
    /// More than 253 bytes, or a label of more than 63.
    TooLong,
    /// Two dots in a row, or a leading one.
    EmptyLabel,
    /// A byte outside letters, digits, hyphen and underscore.
    BadCharacter,
    /// The last label is a number, but the whole is no IPv4 address in any spelling.
    BadAddress,
}

impl Name {
    /// Reads a name: any case, one trailing dot tolerated. A name that spells an address is an error; `Host::parse`
    /// accepts both.
    pub fn parse(text: &[u8]) -> Result<Name, HostError> {
        Name::read(text)
    }

    #[inline(always)]
    fn read(text: &[u8]) -> Result<Name, HostError> {
        let (text, rooted) = match text {
            [text @ .., b'.'] => (text, true),
            _ => (text, false),
        };
        if text.is_empty() {
            return Err(HostError::Empty);
        }
        if text.len() > NAME_BYTES_MAX {
            return Err(HostError::TooLong);
        }
        let mut name = Name { len: text.len() as u8, rooted, bytes: [0; NAME_BYTES_MAX] };
        let mut label = 0;
        for (to, &from) in name.bytes.iter_mut().zip(text) {
            let byte = NAME_BYTES[usize::from(from)];
            label = match byte {
                0 => return Err(HostError::BadCharacter),
                b'.' if label == 0 => return Err(HostError::EmptyLabel),
                b'.' => 0,
                _ if label == LABEL_BYTES_MAX => return Err(HostError::TooLong),
                _ => label + 1,
            };
            *to = byte;
        }
        if label == 0 {
            return Err(HostError::EmptyLabel);
        }
        Ok(name)
    }
}

impl Host {
    /// Reads a name, an IPv4 address in any of the spellings that resolvers have ever accepted (one to four parts,
    /// decimal, octal or hexadecimal), or an IPv6 address in brackets, without a zone. Addresses become canonical, so
    /// the judged address is the dialled one (rules 10 and 40).
    pub fn parse(text: &[u8]) -> Result<Host, HostError> {
        Host::read(text)
    }

    // Inlined: each call in between would copy the room for a name once more.
    #[inline(always)]
    pub(super) fn read(text: &[u8]) -> Result<Host, HostError> {
        if let [b'[', inner @ .., b']'] = text {
            return bracketed(inner);
        }
        // The usual form of addresses.
        if let Some(address) = dotted_decimal(text) {
            return Ok(Host::Address(IpAddr::V4(address)));
        }
        let name = Name::read(text)?;
        if !ends_in_number(name.as_bytes()) {
            return Ok(Host::Name(name));
        }
        let address = ipv4(name.as_bytes()).ok_or(HostError::BadAddress)?;
        Ok(Host::Address(IpAddr::V4(address)))
    }

    /// Appends the host as it stands in a URI.
    pub fn write(&self, out: &mut Vec<u8>) {
        use std::io::Write;
        match self {
            Host::Name(name) => out.extend_from_slice(name.as_bytes()),
            Host::Address(IpAddr::V4(address)) => write_ipv4(out, *address),
            Host::Address(IpAddr::V6(address)) => {
                // Writing to a Vec cannot fail.
                let _ = write!(out, "[{address}]");
            }
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => name.fmt(f),
            Host::Address(IpAddr::V4(address)) => address.fmt(f),
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

fn bracketed(inner: &[u8]) -> Result<Host, HostError> {
    let text = std::str::from_utf8(inner).map_err(|_| HostError::BadCharacter)?;
    let address: Ipv6Addr = text.parse().map_err(|_| HostError::BadAddress)?;
    Ok(Host::Address(match address.to_ipv4_mapped() {
        Some(mapped) => IpAddr::V4(mapped),
        None => IpAddr::V6(address),
    }))
}

/// Whether the last label is decimal digits, or `0x` and hex digits: no top-level domain is, and resolvers read such
/// a name as a number.
fn ends_in_number(name: &[u8]) -> bool {
    let start = memchr::memrchr(b'.', name).map_or(0, |dot| dot + 1);
    match &name[start..] {
        [b'0', b'x', digits @ ..] => digits.iter().all(u8::is_ascii_hexdigit),
        digits => digits.iter().all(u8::is_ascii_digit),
    }
}

/// Four decimal numbers without leading zeros. `None` decides nothing.
fn dotted_decimal(text: &[u8]) -> Option<Ipv4Addr> {
    let (mut octets, mut rest) = ([0_u8; 4], text);
    for (index, octet) in octets.iter_mut().enumerate() {
        if index > 0 {
            rest = rest.strip_prefix(b".")?;
        }
        let digit = |byte: &u8| u16::from(byte - b'0');
        let value = match rest {
            [a @ b'1'..=b'2', b @ b'0'..=b'9', c @ b'0'..=b'9', after @ ..] => {
                rest = after;
                100 * digit(a) + 10 * digit(b) + digit(c)
            }
            [a @ b'1'..=b'9', b @ b'0'..=b'9', after @ ..] => {
                rest = after;
                10 * digit(a) + digit(b)
            }
            [a @ b'0'..=b'9', after @ ..] => {
                rest = after;
                digit(a)
            }
            _ => return None,
        };
        *octet = u8::try_from(value).ok()?;
    }
    rest.is_empty().then(|| Ipv4Addr::from(octets))
}

/// One to four numbers; the last one fills the remaining bytes.
fn ipv4(name: &[u8]) -> Option<Ipv4Addr> {
    let mut address: u32 = 0;
    let mut parts = name.split(|&byte| byte == b'.').peekable();
    let mut index = 0;
    while let Some(part) = parts.next() {
        let value = ipv4_part(part)?;
        if parts.peek().is_none() {
            let room = u32::MAX.checked_shr(8 * index)?;
            return (value <= room).then_some(Ipv4Addr::from(address | value));
        }
        if value > 255 || index == 3 {
            return None;
        }
        address |= value << (24 - 8 * index);
        index += 1;
    }
    None
}

/// Decimal, octal after `0`, hexadecimal after `0x`.
fn ipv4_part(part: &[u8]) -> Option<u32> {
    let (digits, radix) = match part {
        [b'0', b'x', digits @ ..] => (digits, 16),
        [b'0', digits @ ..] if !digits.is_empty() => (digits, 8),
        digits => (digits, 10),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value: u32 = 0;
    for &byte in digits {
        let digit = char::from(byte).to_digit(radix)?;
        value = value.checked_mul(radix)?.checked_add(digit)?;
    }
    Some(value)
}

impl From<HostError> for Fault {
    fn from(error: HostError) -> Fault {
        match error {
            HostError::Empty => Fault::HostEmpty,
            HostError::TooLong | HostError::EmptyLabel | HostError::BadCharacter => Fault::HostSyntax,
            HostError::BadAddress => Fault::HostAddress,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> String {
        Host::parse(text.as_bytes()).map_or_else(|error| format!("{error:?}"), |host| host.to_string())
    }

    #[test]
    fn rule_10_names() {
        let long_label = "a".repeat(63);
        let long_name = format!("{long_label}.{long_label}.{long_label}.{}", "a".repeat(61));
        assert_eq!(long_name.len(), NAME_BYTES_MAX);
        for (text, expected) in [
            ("example.com", "example.com"),
            ("EXAMPLE.Com.", "example.com"),
            ("localhost", "localhost"),
            ("_dmarc.x-y.example", "_dmarc.x-y.example"),
            ("1.2.3.4.example", "1.2.3.4.example"),
            ("0xzz", "0xzz"),
            ("123a", "123a"),
            ("", "Empty"),
            (".", "Empty"),
            ("a..b", "EmptyLabel"),
            (".a", "EmptyLabel"),
            ("a..", "EmptyLabel"),
            ("a b", "BadCharacter"),
            ("a%2eb", "BadCharacter"),
            ("a\0", "BadCharacter"),
            ("b\u{fc}cher.example", "BadCharacter"),
            ("a:b", "BadCharacter"),
            ("::1", "BadCharacter"),
            (&long_label, &long_label),
            (&format!("{long_label}a"), "TooLong"),
            (&long_name, &long_name),
            (&format!("{long_name}."), &long_name),
            (&format!("{long_name}a"), "TooLong"),
        ] {
            assert_eq!(host(text), expected, "{text:?}");
        }
    }

    #[test]
    fn names_of_labels_have_any_bytes() {
        let long_label = [b'a'; 63];
        let rows: [(&[&[u8]], Option<&str>); 8] = [
            (&[b"x", b"ads", b"test"], Some("x.ads.test")),
            (&[b"X-_", b"Test"], Some("x-_.test")),
            (&[b"*", b"a b", b"a/b\0", b"\xc3\xa4", b"test"], Some("?.a?b.a?b?.??.test")),
            (&[b"x.ads", b"test"], Some("x?ads.test")),
            (&[b".", b"?"], Some("?.?")),
            (&[], None),
            (&[b""], None),
            (&[&long_label, &long_label, &long_label, &long_label[..62]], None),
        ];
        for (labels, expected) in rows {
            let name = Name::of_labels(labels.iter().copied());
            assert_eq!(name.as_ref().map(Name::as_str), expected, "{labels:?}");
        }
        let longest = [&long_label, &long_label, &long_label, &long_label[..61]];
        assert_eq!(Name::of_labels(longest.into_iter()).map(|name| name.as_bytes().len()), Some(253));
    }

    #[test]
    fn rule_40_addresses() {
        for (text, expected) in [
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1.", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("127.1", "127.0.0.1"),
            ("127.0.1", "127.0.0.1"),
            ("10.1.65535", "10.1.255.255"),
            ("1.16777215", "1.255.255.255"),
            ("0177.0.0.1", "127.0.0.1"),
            ("0x7f.1", "127.0.0.1"),
            ("0X7F000001", "127.0.0.1"),
            ("00.0", "0.0.0.0"),
            ("4294967295", "255.255.255.255"),
            ("4294967296", "BadAddress"),
            ("1.16777216", "BadAddress"),
            ("10.1.65536", "BadAddress"),
            ("1.2.3.256", "BadAddress"),
            ("256.1.1.1", "BadAddress"),
            ("1.2.3.4.5", "BadAddress"),
            ("08.1.1.1", "BadAddress"),
            ("0x.1", "BadAddress"),
            ("1.0x", "BadAddress"),
            ("foo.1", "BadAddress"),
            ("a.0x1f", "BadAddress"),
            ("[::1]", "[::1]"),
            ("[0:0:0:0:0:0:0:1]", "[::1]"),
            ("[2001:DB8::A]", "[2001:db8::a]"),
            ("[::ffff:127.0.0.1]", "127.0.0.1"),
            ("[::FFFF:7f00:1]", "127.0.0.1"),
            ("[::127.0.0.1]", "[::7f00:1]"),
            ("[fe80::1%eth0]", "BadAddress"),
            ("[fe80::1%25eth0]", "BadAddress"),
            ("[]", "BadAddress"),
            ("[127.0.0.1]", "BadAddress"),
            ("[::1", "BadCharacter"),
            ("::1]", "BadCharacter"),
        ] {
            assert_eq!(host(text), expected, "{text:?}");
        }
    }
}
