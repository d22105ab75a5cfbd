//! Hosts, authorities and request targets (RFC 9112 section 3.2, RFC 3986 section 3.2).

use std::fmt;
use std::net::IpAddr;

/// Longest name in bytes, without the trailing dot (RFC 1035 section 2.3.4).
pub const NAME_BYTES_MAX: usize = 253;

/// A host name in the one form that is judged, resolved and dialled: ASCII, lower case, no trailing dot.
#[derive(Clone, Copy)]
pub struct Name {
    len: u8,
    bytes: [u8; NAME_BYTES_MAX],
}

/// The host of an authority: a name or a canonical address (an IPv4-mapped address is IPv4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
            match from {
                b'.' if label == 0 => return Err(HostError::EmptyLabel),
                b'.' => label = 0,
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' if label < 63 => label += 1,
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => return Err(HostError::TooLong),
                _ => return Err(HostError::BadCharacter),
            }
            *to = from.to_ascii_lowercase();
        }
        if label == 0 {
            return Err(HostError::EmptyLabel);
        }
        Ok(name)
    }
}
