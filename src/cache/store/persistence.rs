//! The store as a stream of bytes, written at the end of a run and read at the start of the next.
//!
//! # The format
//!
//! Numbers are little-endian. The header has eight bytes that identify the format, the version, a CRC of the header,
//! the time, and the number of entries. The entries follow, the most recently used first, so that a store that
//! becomes full has loaded the most useful ones. Each entry is a record of fixed size with its own CRC, then key,
//! names, selecting, reason and fields, then the body, then a CRC of everything behind the record. An entry of parts
//! has their positions behind the fields, and its body holds the bytes of all parts. A last record marks the end and
//! repeats the number of entries.
//!
//! Damage costs one entry if the record still tells where the next entry begins, and otherwise all entries that
//! follow. The reader trusts nothing: each length is checked against its bound, and memory is taken as bytes arrive,
//! never because a number announces them. Records of unknown kinds are skipped.
//!
//! # Time
//!
//! Each entry is written with the time since its receipt, by the clock that says more (see [`Stored::clock_s`]). The
//! time between two runs is known from the system's clock only; if that clock was set back, it counts as zero, and no
//! entry is younger than it was when it was written. Hashes are not written, because each run has another key for
//! them.

use crate::cache::body::Body;
use crate::cache::body::read_ahead::{BUFFER_BYTES, ReadAhead};
use crate::cache::fill::streaming_body::StreamingBody;
use crate::cache::rfc::control::SECONDS_MAX;
use crate::cache::rfc::freshness::Terms;
use crate::cache::rfc::range::Fragment;
use crate::cache::rfc::storable;
use crate::cache::rfc::vary;
use crate::cache::store::stored::{Head, Stored};
use crate::cache::store::{Restored, Store};
use crate::http::block::{FieldBlock, FieldLines as _};
use crate::http::fields::is_value_byte;
use crate::http::head::Version;
use crate::time::Now;
use crc32fast::Hasher;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// The first bytes of the file: no text, as in PNG, and damaged by any program that changes line ends.
const MAGIC: [u8; 8] = *b"\x89weir\r\n\x1a";

/// Version of this format.
const VERSION: u32 = 1;

const HEADER_BYTES: usize = 32;
const RECORD_BYTES: usize = 72;

/// Most bytes of an entry beside its body (chosen: the stored part of a head is at most a few times the largest head,
/// 1 MB).
const TEXT_BYTES_MAX: u64 = 4 << 20;

/// Bodies and texts up to these sizes are checked in the read buffer and copied from there (chosen: copying a body of
/// this size costs as much as a read of its own; together they fit into the buffer).
const SMALL_BYTES: u64 = 16 * 1024;
const SMALL_TEXT_BYTES: usize = 64 * 1024;
const _: () = assert!(SMALL_BYTES as usize + SMALL_TEXT_BYTES + 4 <= BUFFER_BYTES);

/// The last uses of loaded entries are spread over this many microseconds, before the first use of this run (chosen:
/// only their order matters).
const USES_US: u64 = 1_000_000;

/// Kinds of records.
const WHOLE: u8 = 1;
const END: u8 = 2;
/// An entry with a fragment at the end of its fields; the body holds the bytes of all parts.
const PARTS: u8 = 3;

/// Bits of the second byte of a record.
const NO_CACHE: u8 = 1;
const FORBIDS_STALE: u8 = 1 << 1;
// 1 << 2 had another meaning once, and is not read.
const EXPLICIT: u8 = 1 << 3;
const IF_ERROR: u8 = 1 << 4;
const SET_COOKIE: u8 = 1 << 5;
const HTTP_1_0: u8 = 1 << 6;
const IPV4: u8 = 1 << 7;

/// The result of loading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Entries that are in the store now.
    pub entries: u64,
    /// Entries that were damaged, or have a content that no entry can have, such as fields about a connection or the framing.
    pub damaged: u64,
    /// Entries that exceed the bounds of this run, or that the store has a newer entry for.
    pub left_out: u64,
    /// Entries that were written.
    pub written: u64,
    /// The reason why loading ended.
    pub ending: Ending,
}

/// The reason why loading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The last record was read.
    Complete,
    /// The store is full; the entries that follow were used less recently.
    Full,
    /// The caller stopped it.
    Stopped,
    /// The file has another format.
    Foreign,
    /// The file has another version.
    Version(u32),
    /// The file ends too early.
    Truncated,
    /// A record is damaged, so the next one cannot be found.
    Damaged,
    /// Reading failed.
    Failed(ErrorKind),
}

impl From<io::Error> for Ending {
    fn from(error: io::Error) -> Ending {
        match error.kind() {
            ErrorKind::UnexpectedEof => Ending::Truncated,
            kind => Ending::Failed(kind),
        }
    }
}

/// Writes all entries. Returns their number.
pub fn save(out: &mut impl Write, store: &Store, now: Now) -> io::Result<u64> {
    let mut entries = store.entries();
    entries.retain(|entry| text_bytes(&entry.head()) <= TEXT_BYTES_MAX);
    let count = entries.len() as u64;
    out.write_all(&header(now.unix_s(), count))?;
    for entry in entries {
        write_entry(out, &entry, now)?;
    }
    out.write_all(&Record { kind: END, body_bytes: count, ..Record::default() }.to_bytes())?;
    Ok(count)
}

/// Bytes of the texts of an entry.
fn text_bytes(head: &Head<'_>) -> u64 {
    texts(head, &fragment(head)).iter().map(|text| text.len() as u64).sum()
}

fn fragment(head: &Head<'_>) -> Vec<u8> {
    let mut fragment = Vec::new();
    head.fragment.into_iter().for_each(|found| found.write(&mut fragment));
    fragment
}

/// The texts of an entry in the order of the file.
fn texts<'a>(head: &Head<'a>, fragment: &'a [u8]) -> [&'a [u8]; 6] {
    [head.key, head.names, head.selecting, head.reason, head.block, fragment]
}

fn header(unix_s: u64, entries: u64) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&unix_s.to_le_bytes());
    bytes[24..].copy_from_slice(&entries.to_le_bytes());
    let sum = header_sum(&bytes);
    bytes[12..16].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn header_sum(bytes: &[u8; HEADER_BYTES]) -> u32 {
    let mut sum = Hasher::new();
    sum.update(&bytes[..12]);
    sum.update(&bytes[16..]);
    sum.finalize()
}

fn write_entry(out: &mut impl Write, entry: &Stored, now: Now) -> io::Result<()> {
    let head = entry.head();
    let fragment = fragment(&head);
    let texts = texts(&head, &fragment);
    let resident_s = entry.clock_s(now).saturating_sub(head.terms.received_s);
    let mut record = Record {
        kind: if head.fragment.is_some() { PARTS } else { WHOLE },
        resident_s: u32::try_from(resident_s).unwrap_or(SECONDS_MAX).min(SECONDS_MAX),
        body_bytes: entry.body.len(),
        // The lengths fit: see `Stored`.
        lengths: [0, 1, 2, 3, 4].map(|index| texts[index].len() as u32),
        ..Record::of(&head)
    };
    record.lengths[4] += fragment.len() as u32;
    out.write_all(&record.to_bytes())?;
    let mut sum = Hasher::new();
    for bytes in texts.into_iter().chain(entry.body.segments()) {
        sum.update(bytes);
        out.write_all(bytes)?;
    }
    out.write_all(&sum.finalize().to_le_bytes())
}

/// The record in front of an entry.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    kind: u8,
    flags: u8,
    status: u16,
    /// Seconds between receipt of the head and writing of the file.
    resident_s: u32,
    /// Bytes of the body; in the last record the number of entries.
    body_bytes: u64,
    /// Bytes of key, names, selecting, reason, and fields with the fragment.
    lengths: [u32; 5],
    /// Initial age, lifetime, stale-while-revalidate, stale-if-error.
    seconds: [u32; 4],
    address: u128,
}

impl Record {
    fn of(head: &Head<'_>) -> Record {
        let Terms {
            received_s: _,
            initial_age_s,
            lifetime_s,
            while_revalidate_s,
            if_error_s,
            no_cache,
            forbids_stale,
            explicit,
        } = head.terms;
        let (address, is_ipv4) = match head.address {
            IpAddr::V4(address) => (address.to_ipv6_mapped(), true),
            IpAddr::V6(address) => (address, false),
        };
        let is_http_1_0 = match head.version {
            Version::Http10 => true,
            Version::Http11 => false,
        };
        let flags = [
            (NO_CACHE, no_cache),
            (FORBIDS_STALE, forbids_stale),
            (EXPLICIT, explicit),
            (IF_ERROR, if_error_s.is_some()),
            (SET_COOKIE, head.set_cookie),
            (HTTP_1_0, is_http_1_0),
            (IPV4, is_ipv4),
        ];
        Record {
            flags: flags.into_iter().filter(|(_, set)| *set).map(|(bit, _)| bit).sum(),
            status: head.status,
            seconds: [initial_age_s, lifetime_s, while_revalidate_s, if_error_s.unwrap_or(0)],
            address: address.to_bits(),
            ..Record::default()
        }
    }

    fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        let mut rest = &mut bytes[4..];
        let mut put = |number: &[u8]| {
            let (place, behind) = std::mem::take(&mut rest).split_at_mut(number.len());
            place.copy_from_slice(number);
            rest = behind;
        };
        put(&[self.kind, self.flags]);
        put(&self.status.to_le_bytes());
        put(&self.resident_s.to_le_bytes());
        put(&self.body_bytes.to_le_bytes());
        self.lengths.iter().chain(&self.seconds).for_each(|number| put(&number.to_le_bytes()));
        put(&self.address.to_le_bytes());
        let sum = crc32fast::hash(&bytes[4..]);
        bytes[..4].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads a record. `None` if the record is damaged.
    fn read(bytes: &[u8; RECORD_BYTES]) -> Option<Record> {
        let mut rest = &bytes[..];
        let intact = u32::from_le_bytes(take(&mut rest)) == crc32fast::hash(&bytes[4..]);
        let [kind, flags] = take(&mut rest);
        Some(Record {
            kind,
            flags,
            status: u16::from_le_bytes(take(&mut rest)),
            resident_s: u32::from_le_bytes(take(&mut rest)),
            body_bytes: u64::from_le_bytes(take(&mut rest)),
            lengths: std::array::from_fn(|_| u32::from_le_bytes(take(&mut rest))),
            seconds: std::array::from_fn(|_| u32::from_le_bytes(take(&mut rest))),
            address: u128::from_le_bytes(take(&mut rest)),
        })
        .filter(|_| intact)
    }

    fn has_flag(&self, bit: u8) -> bool {
        self.flags & bit != 0
    }

    fn text_bytes(&self) -> u64 {
        self.lengths.iter().map(|length| u64::from(*length)).sum()
    }

    /// The head that `text` contains. `None` if no response can have been stored with this head.
    fn head<'a>(&self, text: &'a [u8], now: Now, downtime_s: u64) -> Option<Head<'a>> {
        let mut rest = text;
        let mut part = |length: u32| {
            let (part, behind) = rest.split_at_checked(length as usize)?;
            rest = behind;
            Some(part)
        };
        let [key, names, selecting, reason, block] = self.lengths.map(&mut part);
        let (block, fragment) = match self.kind {
            PARTS => Fragment::read(block?).map(|(block, fragment)| (block, Some(fragment)))?,
            _ => (block?, None),
        };
        let [initial_age_s, lifetime_s, while_revalidate_s, if_error_s] = self.seconds;
        let address = Ipv6Addr::from_bits(self.address);
        let resident_s = u64::from(self.resident_s).saturating_add(downtime_s).min(u64::from(SECONDS_MAX));
        let head = Head {
            key: key?,
            names: names?,
            selecting: selecting?,
            reason: reason?,
            block,
            fragment,
            status: self.status,
            version: if self.has_flag(HTTP_1_0) { Version::Http10 } else { Version::Http11 },
            terms: Terms {
                received_s: now.unix_s().saturating_sub(resident_s),
                initial_age_s,
                lifetime_s,
                while_revalidate_s,
                if_error_s: self.has_flag(IF_ERROR).then_some(if_error_s),
                no_cache: self.has_flag(NO_CACHE),
                forbids_stale: self.has_flag(FORBIDS_STALE),
                explicit: self.has_flag(EXPLICIT),
            },
            received_us: now.monotonic_us.wrapping_sub(resident_s * 1_000_000),
            address: if self.has_flag(IPV4) { address.to_canonical() } else { address.into() },
            rules_edition: 0,
            set_cookie: self.has_flag(SET_COOKIE),
        };
        let possible = self.seconds.iter().all(|seconds| *seconds <= SECONDS_MAX)
            && matches!(head.status, 200..=999)
            && storable::is_stored_status(head.status)
            && head.address.is_ipv4() == self.has_flag(IPV4)
            && head.names.len() <= vary::NAMES_BYTES_MAX
            && head.selecting.len() <= vary::SELECTING_BYTES_MAX
            && head.key.iter().all(|byte| *byte > b' ' && *byte != 0x7F)
            && head.reason.iter().all(|byte| is_value_byte(*byte))
            && FieldBlock::new(head.block).is_valid()
            // The framing of each answer is written for it; stored framing fields would make two messages of one.
            && FieldBlock::new(head.block).lines().all(|(name, _)| !storable::is_never_stored(name))
            && fragment.is_none_or(|found| {
                // A part is stored with the status of the whole, which is always 200.
                found.is_valid() && found.bytes() == self.body_bytes && self.status == 200
            });
        possible.then_some(head)
    }
}

/// Takes the next bytes off a slice that is long enough.
fn take<const BYTES: usize>(rest: &mut &[u8]) -> [u8; BYTES] {
    let mut taken = [0; BYTES];
    let (first, behind) = rest.split_at(BYTES.min(rest.len()));
    taken[..first.len()].copy_from_slice(first);
    *rest = behind;
    taken
}

/// Loads what [`save`] has written into a store; `now` is when the loops start. `keep_going` is asked before each
/// entry. Entries that do not fit are left out, and no entry of the store leaves for them.
///
/// The input is read in large pieces, so it needs no buffer of its own.
pub fn load(input: &mut impl Read, store: &Store, now: Now, mut keep_going: impl FnMut() -> bool) -> Loaded {
    let mut loaded = Loaded { entries: 0, damaged: 0, left_out: 0, written: 0, ending: Ending::Complete };
    let mut input = ReadAhead::new(input);
    let downtime_s = match read_header(&mut input) {
        Ok((unix_s, written)) => {
            loaded.written = written;
            now.unix_s().saturating_sub(unix_s)
        }
        Err(ending) => return Loaded { ending, ..loaded },
    };
    let mut loader = Loader { input, store, now, downtime_s, text: Vec::new(), loaded };
    let ending = loop {
        if !keep_going() {
            break Ending::Stopped;
        }
        match loader.read_record() {
            Ok(None) => {}
            Ok(Some(ending)) | Err(ending) => break ending,
        }
    };
    // The tables have grown as well.
    store.make_room(now.monotonic_us);
    Loaded { ending, ..loader.loaded }
}

/// Reads the header: the time of writing, and the number of entries.
fn read_header(input: &mut ReadAhead<impl Read>) -> Result<(u64, u64), Ending> {
    let bytes = input.peek(HEADER_BYTES)?;
    if bytes.is_empty() {
        // An empty file.
        return Err(Ending::Complete);
    }
    if !bytes.starts_with(&MAGIC) {
        return Err(Ending::Foreign);
    }
    let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else { return Err(Ending::Truncated) };
    let mut rest = &bytes[8..];
    let (version, sum) = (u32::from_le_bytes(take(&mut rest)), u32::from_le_bytes(take(&mut rest)));
    let numbers = (u64::from_le_bytes(take(&mut rest)), u64::from_le_bytes(take(&mut rest)));
    match version {
        VERSION if sum != header_sum(bytes) => return Err(Ending::Damaged),
        VERSION => {}
        other => return Err(Ending::Version(other)),
    }
    input.consume(HEADER_BYTES);
    Ok(numbers)
}

struct Loader<'a, R> {
    input: ReadAhead<R>,
    store: &'a Store,
    now: Now,
    /// Seconds between the two runs.
    downtime_s: u64,
    text: Vec<u8>,
    loaded: Loaded,
}

impl<R: Read> Loader<'_, R> {
    /// Reads a record and its entry. `Some` if loading ends with this record.
    fn read_record(&mut self) -> Result<Option<Ending>, Ending> {
        let bytes = self.input.peek(RECORD_BYTES)?.first_chunk().ok_or(Ending::Truncated)?;
        let record = Record::read(bytes).ok_or(Ending::Damaged)?;
        self.input.consume(RECORD_BYTES);
        let text_bytes = record.text_bytes();
        match record.kind {
            END if record.body_bytes == self.loaded.written => return Ok(Some(Ending::Complete)),
            END => return Err(Ending::Damaged),
            WHOLE | PARTS if text_bytes > TEXT_BYTES_MAX => return Err(Ending::Damaged),
            WHOLE | PARTS if record.body_bytes > self.store.limits().object_max => {}
            WHOLE | PARTS => return self.read_entry(&record, text_bytes as usize),
            _ => {}
        }
        self.loaded.left_out += 1;
        self.input.skip(text_bytes.saturating_add(record.body_bytes).saturating_add(4))?;
        Ok(None)
    }

    fn read_entry(&mut self, record: &Record, text_bytes: usize) -> Result<Option<Ending>, Ending> {
        let (budget, charged) = (self.store.limits().budget as u64, self.store.memory().bytes() as u64);
        let needed =
            u64::try_from(Stored::bytes(text_bytes)).unwrap_or(u64::MAX).saturating_add(record.body_bytes);
        if charged.saturating_add(needed) > budget {
            return Ok(Some(Ending::Full));
        }
        if record.body_bytes <= SMALL_BYTES && text_bytes <= SMALL_TEXT_BYTES {
            self.read_small(record, text_bytes, record.body_bytes as usize)
        } else {
            self.read_large(record, text_bytes)
        }
    }

    /// Reads an entry that fits into the read buffer.
    fn read_small(
        &mut self,
        record: &Record,
        text_bytes: usize,
        body_bytes: usize,
    ) -> Result<Option<Ending>, Ending> {
        let all = text_bytes + body_bytes + 4;
        let bytes = self.input.peek(all)?;
        if bytes.len() < all {
            return Err(Ending::Truncated);
        }
        let (text, rest) = bytes.split_at(text_bytes);
        let (body, mut sum) = rest.split_at(body_bytes);
        let intact = crc32fast::hash(&bytes[..all - 4]) == u32::from_le_bytes(take(&mut sum));
        let head = record.head(text, self.now, self.downtime_s).filter(|_| intact);
        let ending = match head {
            None => {
                self.loaded.damaged += 1;
                None
            }
            Some(head) => {
                self.loaded.restore(self.store, &head, Body::from_bytes(self.store.memory(), body.into()))
            }
        };
        self.input.consume(all);
        Ok(ending)
    }

    /// Reads an entry whose body is received directly into its segments.
    fn read_large(&mut self, record: &Record, text_bytes: usize) -> Result<Option<Ending>, Ending> {
        self.text.resize(text_bytes, 0);
        self.input.read_exact(&mut self.text)?;
        let mut sum = Hasher::new();
        sum.update(&self.text);
        let mut stream = StreamingBody::new(self.store.memory(), Some(record.body_bytes));
        while stream.len() < record.body_bytes {
            let left = record.body_bytes - stream.len();
            let space = stream.space();
            let count = space.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.input.read_exact(&mut space[..count])?;
            sum.update(&space[..count]);
            stream.commit(count);
        }
        let mut expected = [0; 4];
        self.input.read_exact(&mut expected)?;
        let intact = sum.finalize() == u32::from_le_bytes(expected);
        let head = record.head(&self.text, self.now, self.downtime_s).filter(|_| intact);
        let (Some(head), Some(body)) = (head, stream.finish()) else {
            self.loaded.damaged += 1;
            return Ok(None);
        };
        Ok(self.loaded.restore(self.store, &head, body))
    }
}

impl Loaded {
    /// Puts an entry into the store. `Some` if the store has no room.
    fn restore(&mut self, store: &Store, head: &Head<'_>, body: Body) -> Option<Ending> {
        match store.restore(self.used_us(), head, Arc::new(body)) {
            Restored::Kept => self.entries += 1,
            Restored::Superseded => self.left_out += 1,
            Restored::NoRoom => return Some(Ending::Full),
        }
        None
    }

    /// The last use of the next entry: before all uses of this run, and after those of the entries that follow.
    fn used_us(&self) -> u64 {
        let Loaded { entries, damaged, left_out, written, .. } = *self;
        let left = u128::from(written.saturating_sub(entries + damaged + left_out));
        (left * u128::from(USES_US) / u128::from(written.max(1))) as u64
    }
}

#[cfg(test)]
#[path = "persistence_tests.rs"]
mod tests;
