//! One end of a tunnel. Each direction begins with eight bytes that name its source; what follows, and how much of it,
//! is a function of that name.

use super::book::Checked;
use super::dice::{content, content_key, mix};
use super::network::{LinkId, Network};

const NAME_BYTES: u64 = 8;

/// Sources with this in their name may send much.
const BULK: u64 = 1 << 62;

/// A bulk name with this probability.
pub fn maybe_bulk(name: u64, percent: u64) -> u64 {
    if mix(name ^ 0xB01C) % 100 < percent { name | BULK } else { name }
}

/// Most bytes that a source sends.
pub const BYTES_MAX: usize = 300_000 + NAME_BYTES as usize;

/// How many bytes the source of that name sends behind its name.
fn length_of(name: u64) -> u64 {
    let chance = mix(name ^ 0x7A11);
    match chance % 8 {
        _ if name & BULK != 0 => chance / 8 % 300_000,
        0 => 0,
        1..=4 => chance / 8 % 500,
        5 | 6 => chance / 8 % 9_000,
        _ => chance / 8 % 50_000,
    }
}

/// Clients of that name finish only after their origin has.
pub fn waits_for_end(name: u64) -> bool {
    mix(name) % 3 == 0
}

#[derive(Debug)]
pub struct TunnelEnd {
    pub name: u64,
    sent: u64,
    pub finished: bool,
    /// The name of the other end, as far as it has come.
    other: Vec<u8>,
    received: u64,
    pub ended: bool,
}

impl TunnelEnd {
    pub fn new(name: u64) -> TunnelEnd {
        TunnelEnd { name, sent: 0, finished: false, other: Vec::new(), received: 0, ended: false }
    }

    pub fn other(&self) -> Option<u64> {
        self.other.as_slice().try_into().ok().map(u64::from_le_bytes)
    }

    fn total(&self) -> u64 {
        NAME_BYTES + length_of(self.name)
    }

    /// Bytes sent.
    pub fn sent(&self) -> usize {
        self.sent as usize
    }

    pub fn is_sent(&self) -> bool {
        self.sent == self.total()
    }

    /// The next bytes to send, at most so many.
    pub fn next(&self, most: usize) -> Vec<u8> {
        if self.sent < NAME_BYTES {
            return self.name.to_le_bytes()[self.sent as usize..].to_vec();
        }
        let count = (self.total() - self.sent).min(most as u64);
        content(stream(self.name), self.sent - NAME_BYTES, count as usize)
    }

    pub fn advance(&mut self, count: usize) {
        self.sent += count as u64;
    }

    /// Everything was sent.
    pub fn finish(&mut self, net: &mut Network, link: LinkId) {
        if !std::mem::replace(&mut self.finished, true) {
            net.finish(link);
        }
    }

    pub fn receive(&mut self, bytes: &[u8]) -> Checked<()> {
        let missing = (NAME_BYTES as usize - self.other.len()).min(bytes.len());
        self.other.extend_from_slice(&bytes[..missing]);
        let bytes = &bytes[missing..];
        let Some(other) = self.other() else { return Ok(()) };
        let expected = content(stream(other), self.received, bytes.len());
        let more = self.received + bytes.len() as u64;
        if expected != bytes || more > length_of(other) {
            return Err(format!("tunnel {:x}: wrong bytes at {} of {other:x}", self.name, self.received));
        }
        self.received = more;
        Ok(())
    }

    /// Everything has come that the other end sends.
    pub fn is_received(&self) -> bool {
        self.other().is_some_and(|other| self.received == length_of(other))
    }
}

fn stream(name: u64) -> u64 {
    content_key([name, 77, 0])
}
