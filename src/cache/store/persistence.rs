//! The store as a stream of bytes: written at the end of one run, read at the start of the next.
//!
//! # The form
//!
//! Numbers are little-endian. A header: eight bytes that name the form, its version, a CRC of the header, the time, and how many
//! entries follow. Then the entries, the most recently used first, so that what does not fit any more is what would leave
//! first. Each is a record of fixed size with its own CRC, then key, names, selecting, reason and fields, then the body, then
//! the CRC of all that follows the record. Of parts their places stand behind the fields, and the body is what there is of all
//! of them. A record of another kind says that this was the end, and counts once more.
//!
//! So damage costs what it hits: one entry, if the record still tells where the next one begins, and otherwise the rest. What
//! reads this believes nothing: a length is held against its bound, and memory is taken as bytes arrive, never because a number
//! announces them. Records of unknown kinds are passed over.
//!
//! # Time
//!
//! Each entry is written with the time since it came, whichever clock says more of it (see [`Stored::clock_s`]). The time between
//! two runs is known from the system's clock only; if that was set back meanwhile, it counts as none: nothing is younger
//! than it was when it was written. Hashes are not written: their key is another one in each run.

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

/// What such a file begins with: like that of PNG no text, and broken by whatever changes line ends.
const MAGIC: [u8; 8] = *b"\x89weir\r\n\x1a";

/// The form that this file describes.
const VERSION: u32 = 1;

const HEADER_BYTES: usize = 32;
const RECORD_BYTES: usize = 72;

/// Bytes of an entry beside its body (chosen: what is stored of a head is a few times the largest one, 1 MB, at most).
const TEXT_BYTES_MAX: u64 = 4 << 20;

/// Bodies and texts up to these are checked in the buffer and copied from there (chosen: to copy a body of this size costs
/// what a read of its own would; together they fit into the buffer).
const SMALL_BYTES: u64 = 16 * 1024;
const SMALL_TEXT_BYTES: usize = 64 * 1024;
const _: () = assert!(SMALL_BYTES as usize + SMALL_TEXT_BYTES + 4 <= BUFFER_BYTES);

/// Microseconds over which the last uses of what is loaded are spread, before anything of this run is used (chosen: their order
/// is what counts).
const USES_US: u64 = 1_000_000;

/// Kinds of records.
const WHOLE: u8 = 1;
const END: u8 = 2;
/// As the first, with a fragment at the end of the fields: the body is what there is of all parts.
const PARTS: u8 = 3;

/// Bits of a record's second byte.
const NO_CACHE: u8 = 1;
const FORBIDS_STALE: u8 = 1 << 1;
const HEURISTIC: u8 = 1 << 2;
const EXPLICIT: u8 = 1 << 3;
const IF_ERROR: u8 = 1 << 4;
const SET_COOKIE: u8 = 1 << 5;
const HTTP_1_0: u8 = 1 << 6;
const IPV4: u8 = 1 << 7;

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Entries that are in the store now.
    pub entries: u64,
    /// Entries that were damaged, or hold what no entry can, such as fields about a connection or the framing.
    pub damaged: u64,
    /// Entries that are too large for the bounds of this run, or for which there is something newer.
    pub left_out: u64,
    /// Entries that were written.
    pub written: u64,
    /// How it ended.
    pub ending: Ending,
}

/// Where reading has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// At the end.
    Complete,
    /// The store is full: what follows was used longer ago.
    Full,
    /// Whoever called wanted no more.
    Stopped,
    /// At the beginning: this is something else.
    Foreign,
    /// At the beginning: this is of another version.
    Version(u32),
    /// The bytes end too early.
    Truncated,
    /// The bytes cannot be told apart any more.
    Damaged,
    /// They could not be read.
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

/// Writes all that is stored. Returns how many entries these are.
pub fn save(out: &mut impl Write, store: &Store, now: Now) -> io::Result<u64> {
    let entries = store.entries();
    let count = entries.len() as u64;
    out.write_all(&header(now.unix_s(), count))?;
    for entry in entries {
        write_entry(out, &entry, now)?;
    }
    out.write_all(&Record { kind: END, body_bytes: count, ..Record::default() }.to_bytes())?;
    Ok(count)
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
    let mut fragment = Vec::new();
    head.fragment.into_iter().for_each(|found| found.write(&mut fragment));
    let texts = [head.key, head.names, head.selecting, head.reason, head.block, &fragment];
    let resident_s = entry.clock_s(now).saturating_sub(head.terms.received_s);
    let mut record = Record {
        kind: if head.fragment.is_some() { PARTS } else { WHOLE },
        resident_s: u32::try_from(resident_s).unwrap_or(SECONDS_MAX).min(SECONDS_MAX),
        body_bytes: entry.body.len(),
        // Lengths of texts fit: see `Stored`.
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

/// What stands before each entry.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    kind: u8,
    flags: u8,
    status: u16,
    /// Since its head came, when it was written.
    resident_s: u32,
    /// At the end: the number of entries.
    body_bytes: u64,
    /// Of key, names, selecting, reason, and fields with a fragment.
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
            heuristic,
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
            (HEURISTIC, heuristic),
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

    /// `None` if it is damaged.
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

    fn has(&self, bit: u8) -> bool {
        self.flags & bit != 0
    }

    fn text_bytes(&self) -> u64 {
        self.lengths.iter().map(|length| u64::from(*length)).sum()
    }

    /// `None` if no response can have stored this.
    fn head<'a>(&self, text: &'a [u8], now: Now, away_s: u64) -> Option<Head<'a>> {
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
        let resident_s = u64::from(self.resident_s).saturating_add(away_s).min(u64::from(SECONDS_MAX));
        let head = Head {
            key: key?,
            names: names?,
            selecting: selecting?,
            reason: reason?,
            block,
            fragment,
            status: self.status,
            version: if self.has(HTTP_1_0) { Version::Http10 } else { Version::Http11 },
            terms: Terms {
                received_s: now.unix_s().saturating_sub(resident_s),
                initial_age_s,
                lifetime_s,
                while_revalidate_s,
                if_error_s: self.has(IF_ERROR).then_some(if_error_s),
                no_cache: self.has(NO_CACHE),
                forbids_stale: self.has(FORBIDS_STALE),
                heuristic: self.has(HEURISTIC),
                explicit: self.has(EXPLICIT),
            },
            received_us: now.monotonic_us.wrapping_sub(resident_s * 1_000_000),
            address: if self.has(IPV4) { address.to_canonical() } else { address.into() },
            set_cookie: self.has(SET_COOKIE),
        };
        let possible = self.seconds.iter().all(|seconds| *seconds <= SECONDS_MAX)
            && matches!(head.status, 200..=999)
            && storable::is_stored_status(head.status)
            && head.address.is_ipv4() == self.has(IPV4)
            && head.names.len() <= vary::NAMES_BYTES_MAX
            && head.selecting.len() <= vary::SELECTING_BYTES_MAX
            && head.key.iter().all(|byte| *byte > b' ' && *byte != 0x7F)
            && head.reason.iter().all(|byte| is_value_byte(*byte))
            && FieldBlock::new(head.block).is_valid()
            // The framing of an answer is its own: another one in its fields would make two messages of it.
            && FieldBlock::new(head.block).lines().all(|(name, _)| !storable::is_never_stored(name))
            && fragment.is_none_or(|found| {
                // Parts are stored as what they are parts of, which is always a 200.
                found.is_valid() && found.bytes() == self.body_bytes && self.status == 200
            });
        possible.then_some(head)
    }
}

/// The next bytes of something that is long enough.
fn take<const BYTES: usize>(rest: &mut &[u8]) -> [u8; BYTES] {
    let mut taken = [0; BYTES];
    let (first, behind) = rest.split_at(BYTES.min(rest.len()));
    taken[..first.len()].copy_from_slice(first);
    *rest = behind;
    taken
}

/// Reads what [`save`] has written into a store that has nothing older; `now` is when the loops start. `go_on` is asked before
/// each entry. Entries that do not fit into the store are left out, and nothing that is there leaves for them.
///
/// It is read in pieces as large as may be: no buffer is of use between this and a file.
pub fn load(input: &mut impl Read, store: &Store, now: Now, mut go_on: impl FnMut() -> bool) -> Loaded {
    let mut loaded = Loaded { entries: 0, damaged: 0, left_out: 0, written: 0, ending: Ending::Complete };
    let mut input = ReadAhead::new(input);
    let away_s = match read_header(&mut input) {
        Ok((unix_s, written)) => {
            loaded.written = written;
            now.unix_s().saturating_sub(unix_s)
        }
        Err(ending) => return Loaded { ending, ..loaded },
    };
    let mut loader = Loader { input, store, now, away_s, text: Vec::new(), loaded };
    let ending = loop {
        if !go_on() {
            break Ending::Stopped;
        }
        match loader.read_record() {
            Ok(None) => {}
            Ok(Some(ending)) | Err(ending) => break ending,
        }
    };
    // The tables have grown, too.
    store.make_room(now.monotonic_us);
    Loaded { ending, ..loader.loaded }
}

/// When it was written, and how many entries.
fn read_header(input: &mut ReadAhead<impl Read>) -> Result<(u64, u64), Ending> {
    let bytes = input.peek(HEADER_BYTES)?;
    if bytes.is_empty() {
        // A file, and nobody has written to it yet.
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
    input.take(HEADER_BYTES);
    Ok(numbers)
}

struct Loader<'a, R> {
    input: ReadAhead<R>,
    store: &'a Store,
    now: Now,
    /// Seconds between the runs.
    away_s: u64,
    text: Vec<u8>,
    loaded: Loaded,
}

impl<R: Read> Loader<'_, R> {
    /// Reads a record and what belongs to it. An ending if that was the last.
    fn read_record(&mut self) -> Result<Option<Ending>, Ending> {
        let bytes = self.input.peek(RECORD_BYTES)?.first_chunk().ok_or(Ending::Truncated)?;
        let record = Record::read(bytes).ok_or(Ending::Damaged)?;
        self.input.take(RECORD_BYTES);
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

    /// One that lies in the buffer.
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
        let head = record.head(text, self.now, self.away_s).filter(|_| intact);
        let ending = match head {
            None => {
                self.loaded.damaged += 1;
                None
            }
            Some(head) => {
                self.loaded.restore(self.store, &head, Body::whole(self.store.memory(), body.into()))
            }
        };
        self.input.take(all);
        Ok(ending)
    }

    /// One whose body is received where it stays.
    fn read_large(&mut self, record: &Record, text_bytes: usize) -> Result<Option<Ending>, Ending> {
        self.text.resize(text_bytes, 0);
        self.input.fill(&mut self.text)?;
        let mut sum = Hasher::new();
        sum.update(&self.text);
        let mut stream = StreamingBody::new(self.store.memory(), Some(record.body_bytes));
        while stream.len() < record.body_bytes {
            let left = record.body_bytes - stream.len();
            let space = stream.space();
            let count = space.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.input.fill(&mut space[..count])?;
            sum.update(&space[..count]);
            stream.commit(count);
        }
        let mut expected = [0; 4];
        self.input.fill(&mut expected)?;
        let intact = sum.finalize() == u32::from_le_bytes(expected);
        let head = record.head(&self.text, self.now, self.away_s).filter(|_| intact);
        let (Some(head), Some(body)) = (head, stream.finish()) else {
            self.loaded.damaged += 1;
            return Ok(None);
        };
        Ok(self.loaded.restore(self.store, &head, body))
    }
}

impl Loaded {
    /// Puts an entry into the store. An ending if there is no room.
    fn restore(&mut self, store: &Store, head: &Head<'_>, body: Body) -> Option<Ending> {
        match store.restore(self.used_us(), head, Arc::new(body)) {
            Restored::Kept => self.entries += 1,
            Restored::Superseded => self.left_out += 1,
            Restored::NoRoom => return Some(Ending::Full),
        }
        None
    }

    /// When the next one was last used: before all that this run uses, and after those that follow.
    fn used_us(&self) -> u64 {
        let Loaded { entries, damaged, left_out, written, .. } = *self;
        let left = u128::from(written.saturating_sub(entries + damaged + left_out));
        (left * u128::from(USES_US) / u128::from(written.max(1))) as u64
    }
}

#[cfg(test)]
#[path = "persistence_tests.rs"]
mod tests;
