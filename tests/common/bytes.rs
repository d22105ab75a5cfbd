//! Bytes: something to send, and how to compare and print it.

/// `length` bytes that differ at every place and do not repeat in any block size, from `offset` of an endless run.
pub fn pattern(offset: u64, length: usize) -> Vec<u8> {
    (offset..offset + length as u64).map(pattern_at).collect()
}

fn pattern_at(index: u64) -> u8 {
    let mixed = index.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 56) as u8 ^ (index >> 12) as u8
}

/// A running FNV-1a hash with the number of bytes it has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash {
    state: u64,
    bytes: u64,
}

impl Hash {
    /// Of nothing.
    pub fn new() -> Hash {
        Hash { state: 0xcbf2_9ce4_8422_2325, bytes: 0 }
    }

    /// Of the first `length` bytes of the pattern.
    pub fn of_pattern(length: u64) -> Hash {
        let mut hash = Hash::new();
        let mut offset = 0;
        while offset < length {
            let take = (length - offset).min(1 << 16);
            hash.update(&pattern(offset, take as usize));
            offset += take;
        }
        hash
    }

    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.state = (self.state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.bytes += bytes.len() as u64;
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{:016x}", self.bytes, self.state)
    }
}

/// Where `needle` stands in `hay`.
pub fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len().max(1)).position(|window| window == needle)
}

/// Whether `needle` stands anywhere in `hay`.
pub fn contains(hay: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || find(hay, needle).is_some()
}

/// `hay` with every `from` replaced by `to`.
pub fn replace(hay: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(hay.len() + to.len());
    let mut rest = hay;
    while let Some(at) = find(rest, from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}

/// Escaped for a message, and cut short.
pub fn show(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(300)];
    format!("\"{}\"{}", cut.escape_ascii(), if cut.len() < bytes.len() { ".." } else { "" })
}

/// One character per byte, so that no byte is lost.
pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}
