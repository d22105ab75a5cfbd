//! One stored response: immutable, shared by all clients that it is sent to.

use crate::cache::body::{Body, Cursor};
use crate::cache::rfc::freshness::Terms;
use crate::cache::rfc::key;
use crate::cache::rfc::range::{self, Fragment, Part};
use crate::cache::store::memory_budget::{Charge, MemoryBudget, allocated};
use crate::http::block::FieldBlock;
use crate::http::head::Version;
use crate::time::Now;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The parts of a stored response other than its body.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The key: see [`crate::cache::rfc::key::write_key`].
    pub key: &'a [u8],
    /// The field names of Vary: see [`crate::cache::rfc::vary::write_names`].
    pub names: &'a [u8],
    /// The values of these fields in the request: see [`crate::cache::rfc::vary::write_selecting`].
    pub selecting: &'a [u8],
    /// The reason phrase of the origin.
    pub reason: &'a [u8],
    /// The stored fields: see [`crate::cache::rfc::storable::write_block`].
    pub block: &'a [u8],
    /// The final status.
    pub status: u16,
    /// The HTTP version of the origin, for Via.
    pub version: Version,
    /// The properties that decide how long the response may be used.
    pub terms: Terms,
    /// Time of receipt of the head, in microseconds since the loops started; so a step of the system's clock makes no
    /// entry younger. Modulo 2^64: the head of an entry from an earlier run was received before the start.
    pub received_us: u64,
    /// The address of the origin: a client that may not connect to this address does not get the response from the
    /// cache either.
    pub address: IpAddr,
    /// The edition of the rules that have judged the names behind this address; 0 for none, as in an entry from an earlier run.
    pub rules_edition: u16,
    /// Whether a field sets cookies. Fields that Cache-Control calls `no-cache` are left out already.
    pub set_cookie: bool,
    /// The bytes of the representation that are stored, if not all. Status and fields are those of the whole
    /// representation.
    pub fragment: Option<Fragment<'a>>,
}

/// A stored response.
#[derive(Debug)]
pub struct Stored {
    /// Key, names, selecting, status line and block, one behind the other, then the fragment. A hit sends status line
    /// and block from here.
    text: Box<[u8]>,
    /// The ends of the first four of them in `text`.
    ends: [u32; 4],
    hash: u64,
    /// The last use, in microseconds since the loops started.
    used_us: AtomicU64,
    /// See [`Head::status`].
    pub status: u16,
    /// See [`Head::version`].
    pub version: Version,
    /// See [`Head::terms`].
    pub terms: Terms,
    /// See [`Head::received_us`].
    pub received_us: u64,
    /// See [`Head::address`].
    pub address: IpAddr,
    /// See [`Head::rules_edition`].
    pub rules_edition: u16,
    /// Whether one of the fields sets cookies.
    pub set_cookie: bool,
    /// Whether a fragment is written behind the block. Few entries have one; a field for it would make all entries
    /// larger.
    is_part: bool,
    /// The payload.
    pub body: Arc<Body>,
    charge: Charge,
}

impl Stored {
    /// Builds a stored response. `hash` is the hash of the key by [`super::Store::hash`].
    pub fn new(memory: &Arc<MemoryBudget>, hash: u64, head: &Head<'_>, body: Arc<Body>) -> Stored {
        let mut fragment = Vec::new();
        head.fragment.into_iter().for_each(|found| found.write(&mut fragment));
        let line_begin = line_begin(head.status);
        let Head { key, names, selecting, reason, block, .. } = *head;
        let text = [key, names, selecting, &line_begin, reason, b"\r\n", block, &fragment].concat();
        let text = text.into_boxed_slice();
        let lengths = [key.len(), names.len(), selecting.len(), LINE_BYTES + reason.len()];
        let mut ends = [0; 4];
        let mut end = 0;
        for (place, len) in ends.iter_mut().zip(lengths) {
            end += len as u32;
            *place = end;
        }
        let charge = Charge::new(memory, Stored::bytes(text.len() - LINE_BYTES));
        Stored {
            text,
            ends,
            hash,
            used_us: AtomicU64::new(head.received_us),
            status: head.status,
            version: head.version,
            terms: head.terms,
            received_us: head.received_us,
            address: head.address,
            rules_edition: head.rules_edition,
            set_cookie: head.set_cookie,
            is_part: head.fragment.is_some(),
            body,
            charge,
        }
    }

    /// Bytes that an entry takes beside its body and its slot, with `text` bytes of key, names, selecting, reason and
    /// fields.
    pub fn bytes(text: usize) -> usize {
        // An Arc adds two counters.
        allocated(size_of::<Stored>() + 2 * size_of::<usize>()) + allocated(LINE_BYTES + text)
    }

    /// Bytes that the entry takes from the process, with its body.
    pub fn footprint(&self) -> usize {
        self.charge.bytes() + self.body.footprint()
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.text[..self.ends[0] as usize]
    }

    /// The field names of Vary.
    pub fn names(&self) -> &[u8] {
        &self.text[self.ends[0] as usize..self.ends[1] as usize]
    }

    /// The values of these fields in the request that brought the response.
    pub fn selecting(&self) -> &[u8] {
        &self.text[self.ends[1] as usize..self.ends[2] as usize]
    }

    /// The reason phrase.
    pub fn reason(&self) -> &[u8] {
        &self.line_and_block()[LINE_BEGIN_BYTES..self.line_bytes() - 2]
    }

    /// The fields.
    pub fn block(&self) -> FieldBlock<'_> {
        FieldBlock::new(&self.line_and_block()[self.line_bytes()..])
    }

    /// The status line and the fields, as they are sent.
    pub fn line_and_block(&self) -> &[u8] {
        let block = self.read_fragment().map(|(block, _)| block.len());
        let end = block.map_or(self.text.len(), |len| self.ends[3] as usize + len);
        &self.text[self.ends[2] as usize..end]
    }

    /// Length of the status line, with its CRLF.
    pub fn line_bytes(&self) -> usize {
        (self.ends[3] - self.ends[2]) as usize
    }

    /// The hash of the key.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The last use.
    pub fn used_us(&self) -> u64 {
        self.used_us.load(Ordering::Relaxed)
    }

    /// Records a use.
    pub fn mark_used(&self, now_us: u64) {
        if self.used_us() < now_us {
            self.used_us.store(now_us, Ordering::Relaxed);
        }
    }

    /// The time up to which the age is counted: the later of the clock of the system, and the time of receipt plus
    /// the time that the clock of the loops has counted since. The clock of the loops leaves out the time of a
    /// stopped process; the clock of the system may be set back.
    pub fn clock_s(&self, now: Now) -> u64 {
        // The clock of another loop may be behind.
        let passed_us = now.monotonic_us.wrapping_sub(self.received_us) as i64;
        now.unix_s().max(self.terms.received_s + passed_us.max(0) as u64 / 1_000_000)
    }

    /// Orders entries by the time at which the origin made them, and then by that of receipt (RFC 9111 section 4).
    pub fn date_order(&self) -> (u64, u64, i64) {
        let made_s = self.terms.received_s.saturating_sub(u64::from(self.terms.initial_age_s));
        (made_s, self.terms.received_s, self.received_us as i64)
    }

    /// Whether bytes from that address may be combined with the stored ones. A client that may connect to one address need not be
    /// allowed to connect to another; but a gateway names the sources of a response, whichever of them sends it.
    pub fn has_source(&self, address: IpAddr) -> bool {
        self.address == address || key::is_by_gateway(self.key())
    }

    /// Whether the origin made this response later, and its head arrived later. A head that arrives last counts as the newest,
    /// whatever its date: the clock of one of several servers may be slow.
    pub fn is_newer_than(&self, other: &Stored) -> bool {
        let after_us = self.received_us.wrapping_sub(other.received_us) as i64;
        after_us > 0 && self.date_order() > other.date_order()
    }

    /// Sets the last use.
    pub fn with_last_use(self, used_us: u64) -> Stored {
        Stored { used_us: AtomicU64::new(used_us), ..self }
    }

    /// The parts of this entry, to build another one from.
    pub fn head(&self) -> Head<'_> {
        Head {
            key: self.key(),
            names: self.names(),
            selecting: self.selecting(),
            reason: self.reason(),
            block: self.block().as_bytes(),
            status: self.status,
            version: self.version,
            terms: self.terms,
            received_us: self.received_us,
            address: self.address,
            rules_edition: self.rules_edition,
            set_cookie: self.set_cookie,
            fragment: self.fragment(),
        }
    }

    /// See [`Head::fragment`].
    pub fn fragment(&self) -> Option<Fragment<'_>> {
        self.read_fragment().map(|(_, fragment)| fragment)
    }

    /// The fields, and the fragment behind them.
    fn read_fragment(&self) -> Option<(&[u8], Fragment<'_>)> {
        if !self.is_part {
            return None;
        }
        Fragment::read(&self.text[self.ends[3] as usize..])
    }

    /// The parts of the representation that the body holds, one behind the other.
    pub fn parts(&self) -> impl Iterator<Item = Part> {
        let fragment = self.fragment();
        let whole = fragment.is_none().then_some(Part { start: 0, len: self.body.len() });
        whole.into_iter().chain(fragment.into_iter().flat_map(Fragment::parts))
    }

    /// Whether the entry holds all bytes of `wanted`.
    pub fn contains(&self, wanted: Part) -> bool {
        self.parts().any(|part| part.contains(wanted))
    }

    /// See [`range::missing`].
    pub fn missing(&self, wanted: Part) -> Option<Part> {
        range::missing(self.parts(), wanted)
    }

    /// The cursor in the body for a byte of the representation that is stored.
    pub fn cursor(&self, position: u64) -> Cursor {
        let mut before = 0;
        for part in self.parts() {
            if position < part.end() {
                before += position.saturating_sub(part.start);
                break;
            }
            before += part.len;
        }
        self.body.cursor(before)
    }

    /// Length of the whole representation.
    pub fn length(&self) -> u64 {
        self.fragment().map_or(self.body.len(), |fragment| fragment.length)
    }
}

/// Bytes of `HTTP/1.1 200 `.
const LINE_BEGIN_BYTES: usize = 13;

/// Bytes of a status line without its reason.
const LINE_BYTES: usize = LINE_BEGIN_BYTES + 2;

/// The beginning of a status line. A status has three digits; responses with other statuses are refused.
fn line_begin(status: u16) -> [u8; LINE_BEGIN_BYTES] {
    debug_assert!((100..=999).contains(&status));
    let mut line = *b"HTTP/1.1 000 ";
    line[9] += (status / 100 % 10) as u8;
    line[10] += (status / 10 % 10) as u8;
    line[11] += (status % 10) as u8;
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn rule_7_no_clock_that_is_set_makes_anything_younger() {
        let memory = Arc::new(MemoryBudget::default());
        let head = Head {
            key: b"http://a/",
            names: b"",
            selecting: b"",
            reason: b"",
            block: b"",
            status: 200,
            version: Version::Http11,
            terms: Terms { received_s: 1000, ..Terms::default() },
            received_us: 5_000_000,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            rules_edition: 0,
            set_cookie: false,
            fragment: None,
        };
        let stored = Stored::new(&memory, 1, &head, Arc::new(Body::from_bytes(&memory, Box::default())));
        for (monotonic_s, unix_s, expected) in
            [(5, 1000, 1000), (15, 1010, 1010), (15, 400, 1010), (15, 9000, 9000), (4, 999, 1000)]
        {
            let now =
                Now { monotonic_us: monotonic_s * 1_000_000, unix_us: unix_s * 1_000_000, common_us: 0 };
            assert_eq!(stored.clock_s(now), expected);
        }
        // The response was received 20 seconds before the loops started.
        let head = Head { received_us: 0_u64.wrapping_sub(20_000_000), ..head };
        let stored = Stored::new(&memory, 1, &head, Arc::new(Body::from_bytes(&memory, Box::default())));
        for (monotonic_s, unix_s, expected) in
            [(0, 1020, 1020), (0, 400, 1020), (15, 1035, 1035), (15, 400, 1035)]
        {
            let now =
                Now { monotonic_us: monotonic_s * 1_000_000, unix_us: unix_s * 1_000_000, common_us: 0 };
            assert_eq!(stored.clock_s(now), expected);
        }
    }

    #[test]
    fn rule_35_parts_know_their_places() {
        let memory = Arc::new(MemoryBudget::default());
        let far = Part { start: 1 << 40, len: u64::MAX >> 1 };
        for (parts, length) in [
            (&[(0, 3)][..], 3),
            (&[(0, 3)], 4),
            (&[(7, 3)], 10),
            (&[(0, 1), (4, 1), (9, 1)], 10),
            (&[(2, 2), (1 << 40, 1)], u64::MAX),
        ] {
            let parts: Vec<Part> = parts.iter().map(|&(start, len)| Part { start, len }).collect();
            let mut room = Vec::new();
            let fragment = Fragment::from_parts(&parts, length, &mut room);
            let head = Head {
                key: b"http://a/",
                names: b"",
                selecting: b"",
                reason: b"OK",
                block: b"A: 1\r\n",
                status: 200,
                version: Version::Http11,
                terms: Terms::default(),
                received_us: 0,
                address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                rules_edition: 0,
                set_cookie: false,
                fragment,
            };
            let stored =
                Stored::new(&memory, 1, &head, Arc::new(Body::from_bytes(&memory, b"abc"[..].into())));
            assert_eq!((stored.fragment(), stored.head().fragment), (fragment, fragment));
            assert_eq!((stored.block().as_bytes(), stored.reason()), (&b"A: 1\r\n"[..], &b"OK"[..]));
            assert_eq!(stored.length(), length);
            assert!(stored.parts().eq(parts.iter().copied()));
            let mut left = &b"abc"[..];
            for part in parts {
                for at in part.start..part.end() {
                    let mut slices: [&[u8]; 1] = [&[]];
                    stored.body.slices(stored.cursor(at), u64::MAX, &mut slices);
                    assert_eq!(slices[0], left);
                    left = &left[1..];
                }
                assert!(stored.contains(part) && !stored.contains(Part { len: part.len + 1, ..part }));
            }
            assert!(!stored.contains(far));
            assert_eq!(stored.line_and_block().escape_ascii().to_string(), r"HTTP/1.1 200 OK\r\nA: 1\r\n");
            assert_eq!(stored.line_bytes(), 17);
        }
    }
}
