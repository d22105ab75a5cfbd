//! Hosts, authorities and request targets (RFC 9112 section 3.2, RFC 3986 section 3.2).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::fault::Fault;
use super::fields::{write_decimal, write_ipv4};

/// Longest name in bytes, without the trailing dot (RFC 1035 section 2.3.4).
pub const NAME_BYTES_MAX: usize = 253;

/// Longest label of a name in bytes (RFC 1035 section 2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// The bytes that a name may hold, in lower case; 0 for all others. Underscores are no part of host names, but of names
/// that are in use.
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

/// A host name in the one form that is judged, resolved and dialled: ASCII, lower case, no trailing dot.
#[derive(Clone, Copy)]
pub struct Name {
    len: u8,
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

/// Host and port, both known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    /// Who.
    pub host: Host,
    /// 1 to 65535.
    pub port: u16,
}

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or("")
    }

    /// The name as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
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

/// Why a text is not a host (RFC 1035, RFC 3986).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostError {
    /// Nothing there.
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
    /// Reads a name: any case, one trailing dot tolerated. A name that spells an address is an error here;
    /// `Host::parse` takes both.
    #[inline]
    pub fn parse(text: &[u8]) -> Result<Name, HostError> {
        let text = text.strip_suffix(b".").unwrap_or(text);
        if text.is_empty() {
            return Err(HostError::Empty);
        }
        if text.len() > NAME_BYTES_MAX {
            return Err(HostError::TooLong);
        }
        let mut name = Name { len: text.len() as u8, bytes: [0; NAME_BYTES_MAX] };
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
    /// Reads a name, an IPv4 address in any of the spellings that resolvers have ever taken (one to four parts,
    /// decimal, octal or hexadecimal), or an IPv6 address in brackets, without a zone. Addresses become canonical here,
    /// so that what is judged is what is dialled (rules 10 and 40).
    #[inline]
    pub fn parse(text: &[u8]) -> Result<Host, HostError> {
        if let [b'[', inner @ .., b']'] = text {
            return bracketed(inner);
        }
        // What addresses mostly look like.
        if let Some(address) = dotted_decimal(text) {
            return Ok(Host::Address(IpAddr::V4(address)));
        }
        let name = Name::parse(text)?;
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

/// The last label is decimal digits, or `0x` and hex digits: no top-level domain is, and resolvers take it as a number.
fn ends_in_number(name: &[u8]) -> bool {
    let start = memchr::memrchr(b'.', name).map_or(0, |dot| dot + 1);
    match &name[start..] {
        [b'0', b'x', digits @ ..] => digits.iter().all(u8::is_ascii_hexdigit),
        digits => digits.iter().all(u8::is_ascii_digit),
    }
}

/// Four decimal numbers without leading zeros. `None` says nothing.
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

/// One to four numbers; the last one fills the bytes that are left.
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

impl Authority {
    /// Reads `host`, `host:` or `host:port`. Where the port is missing or empty it is the default one, or a fault when
    /// there is none.
    #[inline]
    pub fn parse(text: &[u8], default_port: Option<u16>) -> Result<Authority, Fault> {
        // Loops: authorities are short.
        let position = |wanted: u8| text.iter().position(|&byte| byte == wanted);
        let host_end = match text {
            [b'[', ..] => position(b']').map_or(text.len(), |at| at + 1),
            _ => position(b':').unwrap_or(text.len()),
        };
        let (host, port) = text.split_at(host_end);
        // It can be in either part.
        if text.contains(&b'@') {
            return Err(Fault::Userinfo);
        }
        let port = match port {
            [] | [b':'] => default_port.ok_or(Fault::PortMissing)?,
            [b':', digits @ ..] => parse_port(digits).ok_or(Fault::PortSyntax)?,
            _ => return Err(Fault::HostSyntax),
        };
        Ok(Authority { host: Host::parse(host)?, port })
    }

    /// True if the text is the same name in any case, with any valid port or none: as Host it is then valid, and need not
    /// be read. False says nothing.
    pub(super) fn has_name(&self, text: &[u8]) -> bool {
        let Host::Name(name) = &self.host else { return false };
        let Some((host, port)) = text.split_at_checked(name.as_bytes().len()) else { return false };
        let port_valid = match port {
            [] => true,
            [b':', digits @ ..] => parse_port(digits).is_some(),
            _ => false,
        };
        port_valid && host.eq_ignore_ascii_case(name.as_bytes())
    }

    /// Appends it, without the port where that is `default_port`.
    pub fn write(&self, out: &mut Vec<u8>, default_port: Option<u16>) {
        self.host.write(out);
        if default_port != Some(self.port) {
            out.push(b':');
            write_decimal(out, u64::from(self.port));
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

fn parse_port(digits: &[u8]) -> Option<u16> {
    let value = super::fields::decimal(digits)?;
    u16::try_from(value).ok().filter(|&port| port != 0)
}

/// What a request asks for, in the four forms of RFC 9112 section 3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// `http://host/path`: how clients talk to proxies.
    Absolute {
        /// From the URI; the port is 80 where it has none.
        authority: Authority,
        /// Path and query exactly as sent. May be empty, or begin with `?`: `forwarding` adds the slash.
        path: &'a [u8],
    },
    /// `/path`: how clients talk to origins.
    Origin {
        /// Path and query exactly as sent.
        path: &'a [u8],
    },
    /// `host:port`, with CONNECT only.
    Authority(Authority),
    /// `*`, with OPTIONS only.
    Asterisk,
}

impl<'a> Target<'a> {
    /// Reads a target for that method. Rules 5 to 7 and 9 to 11; `strict` refuses characters that no URI has but that
    /// harm nobody.
    pub fn parse(method: &str, target: &'a [u8], strict: bool) -> Result<Target<'a>, Fault> {
        if method == "CONNECT" {
            return connect_target(target);
        }
        check_characters(target, strict)?;
        if let Some(rest) = strip_http(target) {
            let end = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            return Ok(Target::Absolute { authority: Authority::parse(authority, Some(80))?, path });
        }
        match target {
            [b'/', ..] => Ok(Target::Origin { path: target }),
            b"*" if method == "OPTIONS" => Ok(Target::Asterisk),
            _ if has_scheme(target) => Err(Fault::Scheme),
            _ => Err(Fault::TargetForm),
        }
    }
}

fn connect_target<'a>(target: &[u8]) -> Result<Target<'a>, Fault> {
    // Says what is wrong with a whole URI, which would otherwise be a strange port or host.
    if target.iter().any(|byte| matches!(byte, b'/' | b'?' | b'#' | b'\\')) {
        return Err(Fault::TargetForm);
    }
    Ok(Target::Authority(Authority::parse(target, None)?))
}

fn strip_http(target: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = target.split_at_checked(7)?;
    (scheme == b"http://" || scheme.eq_ignore_ascii_case(b"http://")).then_some(rest)
}

/// `scheme://`, whatever the scheme. Without the slashes `name:80` would count as one.
fn has_scheme(target: &[u8]) -> bool {
    let Some(colon) = memchr::memchr(b':', target) else { return false };
    let scheme = &target[..colon];
    target[colon + 1..].starts_with(b"//")
        && scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// What the bytes of a target are: bits, so that a whole target is looked at without a branch.
const CHARACTERS: [u8; 256] = {
    let mut table = [FORBIDDEN; 256];
    let mut byte = 0x21;
    while byte < 0x7F {
        table[byte] = match byte as u8 {
            b'#' => FRAGMENT,
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => OUTSIDE,
            _ => 0,
        };
        byte += 1;
    }
    table
};
/// Blanks, control characters, and what is not ASCII.
const FORBIDDEN: u8 = 1;
const FRAGMENT: u8 = 2;
/// Outside of the URI grammar (RFC 3986), but what clients send.
const OUTSIDE: u8 = 4;

fn check_characters(target: &[u8], strict: bool) -> Result<(), Fault> {
    // Many bytes at a time, without the table.
    let odd = |byte: u8| !(0x21..0x7F).contains(&byte) | (byte == b'#');
    if !strict && !target.is_empty() && !target.iter().fold(false, |any, &byte| any | odd(byte)) {
        return Ok(());
    }
    let seen = target.iter().fold(0, |seen, &byte| seen | CHARACTERS[usize::from(byte)]);
    if seen & FORBIDDEN != 0 || (strict && seen & OUTSIDE != 0) {
        Err(Fault::TargetCharacter)
    } else if seen & FRAGMENT != 0 {
        Err(Fault::Fragment)
    } else if target.is_empty() {
        Err(Fault::TargetForm)
    } else {
        Ok(())
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

    #[test]
    fn rule_9_ports() {
        for (text, default, expected) in [
            ("a:80", None, Ok(80)),
            ("a:1", None, Ok(1)),
            ("a:65535", None, Ok(65535)),
            ("a:00443", None, Ok(443)),
            ("a", Some(80), Ok(80)),
            ("a:", Some(80), Ok(80)),
            ("[::1]", Some(80), Ok(80)),
            ("[::1]:", Some(80), Ok(80)),
            ("[::1]:8080", Some(80), Ok(8080)),
            ("a", None, Err(Fault::PortMissing)),
            ("a:", None, Err(Fault::PortMissing)),
            ("a:0", None, Err(Fault::PortSyntax)),
            ("a:65536", None, Err(Fault::PortSyntax)),
            ("a:4294967739", None, Err(Fault::PortSyntax)),
            ("a:18446744073709551696", None, Err(Fault::PortSyntax)),
            ("a:+80", None, Err(Fault::PortSyntax)),
            ("a:-1", None, Err(Fault::PortSyntax)),
            ("a:0x50", None, Err(Fault::PortSyntax)),
            ("a: 80", None, Err(Fault::PortSyntax)),
            ("a:80 ", None, Err(Fault::PortSyntax)),
            ("a:80:80", None, Err(Fault::PortSyntax)),
            ("[::1]80", None, Err(Fault::HostSyntax)),
            ("[::1]x:80", None, Err(Fault::HostSyntax)),
            (":80", None, Err(Fault::HostEmpty)),
            ("", Some(80), Err(Fault::HostEmpty)),
            ("u@a:80", None, Err(Fault::Userinfo)),
            ("u:p@a:80", None, Err(Fault::Userinfo)),
            ("@a:80", None, Err(Fault::Userinfo)),
        ] {
            let found = Authority::parse(text.as_bytes(), default).map(|authority| authority.port);
            assert_eq!(found, expected, "{text:?}");
        }
    }

    fn target(method: &str, text: &str, strict: bool) -> String {
        match Target::parse(method, text.as_bytes(), strict) {
            Ok(Target::Absolute { authority, path }) => {
                format!("{authority} {}", std::str::from_utf8(path).unwrap())
            }
            Ok(Target::Origin { path }) => format!("origin {}", std::str::from_utf8(path).unwrap()),
            Ok(Target::Authority(authority)) => format!("authority {authority}"),
            Ok(Target::Asterisk) => "asterisk".to_string(),
            Err(fault) => fault.rule().to_string(),
        }
    }

    #[test]
    fn rules_5_to_7_targets() {
        for (method, text, expected) in [
            ("GET", "http://example.com/", "example.com:80 /"),
            ("GET", "HTTP://EXAMPLE.com:8080/A%2f../b//c?d=%00", "example.com:8080 /A%2f../b//c?d=%00"),
            ("GET", "http://example.com", "example.com:80 "),
            ("GET", "http://example.com?q/@x:y", "example.com:80 ?q/@x:y"),
            ("GET", "http://example.com:/x", "example.com:80 /x"),
            ("GET", "http://[2001:db8::1]:81/", "[2001:db8::1]:81 /"),
            ("GET", "http://0x7f.1/", "127.0.0.1:80 /"),
            ("OPTIONS", "http://example.com", "example.com:80 "),
            ("GET", "/", "origin /"),
            ("GET", "//a//b/../c?d", "origin //a//b/../c?d"),
            ("GET", "/http://x/", "origin /http://x/"),
            ("OPTIONS", "*", "asterisk"),
            ("GET", "*", "target_form"),
            ("GET", "**", "target_form"),
            ("GET", "example.com:80", "target_form"),
            ("GET", "example.com/", "target_form"),
            ("GET", "http:/example.com/", "target_form"),
            ("GET", "http:example.com", "target_form"),
            ("GET", "", "target_form"),
            ("GET", "?q", "target_form"),
            ("GET", "https://example.com/", "scheme_unsupported"),
            ("GET", "ftp://example.com/", "scheme_unsupported"),
            ("GET", "x+y-z.1://example.com/", "scheme_unsupported"),
            ("GET", "1http://example.com/", "target_form"),
            ("GET", "http://u:p@example.com/", "target_userinfo"),
            ("GET", "http://u@example.com", "target_userinfo"),
            ("GET", "http:///path", "host_empty"),
            ("GET", "http://:80/", "host_empty"),
            ("GET", "http://a%2eb/", "host_syntax"),
            ("GET", "http://1.2.3.4.5/", "host_address"),
            ("GET", "http://a:0/", "port_syntax"),
            ("GET", "http://a/#f", "target_fragment"),
            ("GET", "http://a#f", "target_fragment"),
            ("GET", "/\u{e9}", "target_character"),
            ("GET", "/a b", "target_character"),
            ("GET", "/a\tb", "target_character"),
            ("GET", "/a\x7f", "target_character"),
            ("GET", "/a\0", "target_character"),
        ] {
            for strict in [false, true] {
                assert_eq!(target(method, text, strict), expected, "{method} {text:?}");
            }
        }
    }

    #[test]
    fn rule_5_strict_targets() {
        for character in "\"<>\\^{|}`".chars() {
            let text = format!("http://a/{character}?{character}");
            assert_eq!(target("GET", &text, false), format!("a:80 /{character}?{character}"));
            assert_eq!(target("GET", &text, true), "target_character", "{character}");
        }
        // Harmless in a path only.
        assert_eq!(target("GET", "http://a\\@b/", false), "target_userinfo");
        assert_eq!(target("GET", "http://a\\b/", false), "host_syntax");
    }

    #[test]
    fn rule_11_connect_targets() {
        for (text, expected) in [
            ("example.com:443", "authority example.com:443"),
            ("[::1]:443", "authority [::1]:443"),
            ("[::ffff:10.0.0.1]:443", "authority 10.0.0.1:443"),
            ("2130706433:443", "authority 127.0.0.1:443"),
            ("example.com", "port_missing"),
            ("example.com:", "port_missing"),
            ("example.com:443/", "target_form"),
            ("http://example.com:443", "target_form"),
            ("example.com:443?x", "target_form"),
            ("example.com:443#x", "target_form"),
            ("u@example.com:443", "target_userinfo"),
            ("u:p@example.com:443", "target_userinfo"),
            ("*", "port_missing"),
            ("/", "target_form"),
            (":443", "host_empty"),
            ("b\u{fc}cher:443", "host_syntax"),
        ] {
            assert_eq!(target("CONNECT", text, false), expected, "{text:?}");
        }
        // Methods are case-sensitive: this one is not CONNECT.
        assert_eq!(target("connect", "example.com:443", false), "target_form");
    }

    #[test]
    fn authorities_are_written_as_they_are_displayed() {
        for text in ["example.com:80", "example.com:8080", "1.2.3.4:80", "[2001:db8::1]:443"] {
            let authority = Authority::parse(text.as_bytes(), None).unwrap();
            let mut out = Vec::new();
            authority.write(&mut out, None);
            assert_eq!(out, text.as_bytes());
            assert_eq!(authority.to_string(), text);
            out.clear();
            authority.write(&mut out, Some(80));
            assert_eq!(out, text.strip_suffix(":80").unwrap_or(text).as_bytes());
        }
    }
}
