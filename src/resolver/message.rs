//! The wire format (RFC 1035 section 4, RFC 6891): writes one question, reads the records of its answer.
//!
//! A reply is read in several passes over the answer section: one that checks that each record is well formed, then
//! one per link of the CNAME chain. Only records whose owner is the requested name, or the target that the chain has
//! reached, are used; any other record could be a forgery (RFC 5452 section 6).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{ADDRESSES_MAX, Transport};
use crate::http::target::Name;

/// Most links of a CNAME chain that are followed; a loop is a chain that is longer. Chosen: as other resolvers do.
pub(super) const CHAIN_MAX: u8 = 16;
/// Most records of one section that are read. Chosen: a useful answer has a dozen.
const RECORDS_MAX: u16 = 128;
/// Longest message (RFC 1035 section 4.2.2: the length prefix of TCP has 16 bits).
const REPLY_BYTES_MAX: usize = 65_535;
/// The payload size offered over UDP: fits an unfragmented IPv6 packet (DNS flag day 2020).
const UDP_PAYLOAD_BYTES: u16 = 1232;
const HEADER_BYTES: usize = 12;
/// Longest name on the wire (RFC 1035 section 2.3.4).
const NAME_BYTES_MAX: usize = 255;
const QUESTION_BYTES_MAX: usize = NAME_BYTES_MAX + 4;
const CLASS_IN: u16 = 1;
const TYPE_A: u16 = 1;
const TYPE_CNAME: u16 = 5;
const TYPE_SOA: u16 = 6;
const TYPE_AAAA: u16 = 28;
const TYPE_OPT: u16 = 41;

/// An encoded query, without the length prefix of TCP; at most 282 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message(Vec<u8>);

impl Message {
    /// The bytes to send.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The type of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    fn record_type(self) -> u16 {
        match self {
            Family::V4 => TYPE_A,
            Family::V6 => TYPE_AAAA,
        }
    }

    fn address(self, rdata: &[u8]) -> Option<IpAddr> {
        match self {
            Family::V4 => Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(rdata).ok()?))),
            Family::V6 => Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(rdata).ok()?))),
        }
    }
}

/// A name as labels with their lengths, in lower case, with the empty label of the root at its end. A label may
/// contain any byte: the target of a CNAME need not be a host name.
#[derive(Clone, Copy)]
pub(super) struct WireName {
    len: u8,
    bytes: [u8; NAME_BYTES_MAX],
}

impl WireName {
    fn empty() -> WireName {
        WireName { len: 0, bytes: [0; NAME_BYTES_MAX] }
    }

    /// The name as it is written in messages; `None` if it is too long.
    pub(super) fn from_name(name: &Name) -> Option<WireName> {
        let mut wire = WireName::empty();
        name.as_bytes().split(|&byte| byte == b'.').try_for_each(|label| wire.push(label))?;
        wire.push(b"")?;
        Some(wire)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }

    /// The name as the policy judges it, also if it is no host name: the owner of a zone may choose any target for a CNAME, and
    /// addresses behind it. `None` for the root.
    pub(super) fn to_name(self) -> Option<Name> {
        let mut rest = self.as_bytes();
        let labels = std::iter::from_fn(|| {
            let (&length, behind) = rest.split_first().filter(|(length, _)| **length > 0)?;
            let (label, behind) = behind.split_at_checked(usize::from(length))?;
            rest = behind;
            Some(label)
        });
        Name::of_labels(labels)
    }

    /// Appends a label in lower case; `None` if it does not fit (RFC 1035 section 2.3.4).
    fn push(&mut self, label: &[u8]) -> Option<()> {
        if label.len() > 63 {
            return None;
        }
        let start = usize::from(self.len);
        let end = start.checked_add(label.len())?.checked_add(1)?;
        let (length, rest) = self.bytes.get_mut(start..end)?.split_first_mut()?;
        *length = label.len() as u8;
        rest.copy_from_slice(label);
        rest.make_ascii_lowercase();
        self.len = u8::try_from(end).ok()?;
        Some(())
    }

    /// Whether this name is the apex of the zone or below it.
    fn is_within(&self, zone: &WireName) -> bool {
        let mut rest = self.as_bytes();
        loop {
            if rest == zone.as_bytes() {
                return true;
            }
            match rest.split_first().and_then(|(&length, rest)| rest.get(usize::from(length)..)) {
                Some(parent) if !parent.is_empty() => rest = parent,
                Some(_) | None => return false,
            }
        }
    }
}

impl PartialEq for WireName {
    fn eq(&self, other: &WireName) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

/// The parts of a query that the reply must repeat.
pub(super) struct SentQuery<'a> {
    pub(super) id: u16,
    pub(super) owner: &'a WireName,
    pub(super) family: Family,
    /// One random bit per byte of the name: the letter is sent in upper case, and a reply over UDP must repeat it. Over
    /// TCP a forger who does not see the query cannot answer.
    pub(super) case_bits: Option<[u64; 4]>,
    pub(super) transport: Transport,
    pub(super) edns: bool,
    /// Links of the chain that led to `owner`.
    pub(super) links: u8,
}

impl SentQuery<'_> {
    /// Encodes the query, with recursion desired.
    pub(super) fn write(&self) -> Message {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + QUESTION_BYTES_MAX + 11);
        bytes.extend_from_slice(&self.id.to_be_bytes());
        bytes.extend_from_slice(&[0x01, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(self.edns)]);
        self.write_question(&mut bytes);
        if self.edns {
            // RFC 6891 section 6.1.2: the root, OPT, the payload size, no extended code, version 0, no options.
            bytes.push(0);
            bytes.extend_from_slice(&TYPE_OPT.to_be_bytes());
            bytes.extend_from_slice(&UDP_PAYLOAD_BYTES.to_be_bytes());
            bytes.extend_from_slice(&[0; 6]);
        }
        Message(bytes)
    }

    fn write_question(&self, bytes: &mut Vec<u8>) {
        for (at, &byte) in self.owner.as_bytes().iter().enumerate() {
            bytes.push(self.with_case(at, byte));
        }
        bytes.extend_from_slice(&self.family.record_type().to_be_bytes());
        bytes.extend_from_slice(&CLASS_IN.to_be_bytes());
    }

    /// A byte of the name in the case in which it was sent. Lengths are below 64, so they are no letters.
    fn with_case(&self, at: usize, byte: u8) -> u8 {
        let word = self.case_bits.and_then(|case_bits| case_bits.get(at / 64).copied()).unwrap_or(0);
        if (word >> (at % 64)) & 1 == 1 { byte.to_ascii_uppercase() } else { byte }
    }

    /// Whether the next question in the message is the sent one. Moves the reader behind the question.
    fn skip_question(&self, reader: &mut Reader) -> bool {
        let name = self.owner.as_bytes();
        let Some(echo) = reader.take(name.len()) else { return false };
        name.eq_ignore_ascii_case(echo)
            && reader.u16() == Some(self.family.record_type())
            && reader.u16() == Some(CLASS_IN)
    }

    /// Whether the question in the reply has the letters that were sent, if their case is random.
    pub(super) fn has_letters(&self, reply: &[u8]) -> bool {
        let name = self.owner.as_bytes().iter().enumerate();
        let echo = reply.get(HEADER_BYTES..).unwrap_or_default();
        self.case_bits.is_none()
            || name.zip(echo).all(|((at, &byte), &echo)| self.with_case(at, byte) == echo)
    }
}

/// The content of a reply.
#[derive(Debug, PartialEq)]
pub(super) enum Reply {
    /// Not a reply to this query: a misdirected or a forged message (RFC 5452 section 9.1).
    Mismatched,
    /// A reply to this query, but for the case of its letters: of a server that does not repeat it, or forged with the right id.
    OtherCase,
    /// Truncated: the query is repeated over TCP (RFC 7766 section 5). `addresses` are those of the complete records,
    /// `ttl_s` is the least TTL of the records that lead to them.
    Truncated { addresses: Vec<IpAddr>, ttl_s: u32, aliases: Vec<WireName> },
    /// The server did not understand the query, perhaps because of EDNS (RFC 6891 section 7).
    NotUnderstood,
    /// SERVFAIL: the server cannot answer now, which may pass.
    ServerFailure,
    /// REFUSED, or a referral instead of an answer.
    Refused,
    /// The header is right, the format is not.
    Malformed,
    /// More CNAMEs than [`CHAIN_MAX`], or a loop of them.
    ChainTooLong,
    /// `aliases` are the targets of CNAMEs, `ttl_s` is the least TTL of the records that lead to the addresses.
    Found { addresses: Vec<IpAddr>, ttl_s: u32, aliases: Vec<WireName> },
    /// The chain leaves the message: the last of these names must be queried.
    Alias { aliases: Vec<WireName>, links: u8, ttl_s: u32 },
    /// NXDOMAIN, and its TTL if the message has one (RFC 2308 section 3).
    NoSuchName { ttl_s: Option<u32> },
    /// NODATA: the name exists, without such a record.
    NoSuchRecord { ttl_s: Option<u32> },
}

impl std::fmt::Debug for WireName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

struct Header {
    id: u16,
    flags: u16,
    questions: u16,
    answers: u16,
    authorities: u16,
}

impl Header {
    fn read(reader: &mut Reader) -> Option<Header> {
        let header = Header {
            id: reader.u16()?,
            flags: reader.u16()?,
            questions: reader.u16()?,
            answers: reader.u16()?,
            authorities: reader.u16()?,
        };
        reader.u16()?;
        Some(header)
    }

    fn is_reply(&self) -> bool {
        // QR set, opcode QUERY.
        self.flags & 0xf800 == 0x8000
    }

    fn is_truncated(&self) -> bool {
        self.flags & 0x0200 != 0
    }

    /// Neither authoritative nor recursive: an empty answer of such a server means nothing.
    fn is_lame(&self) -> bool {
        self.flags & 0x0480 == 0
    }

    fn code(&self) -> u16 {
        self.flags & 0x000f
    }
}

const NO_ERROR: u16 = 0;
const FORMAT_ERROR: u16 = 1;
const SERVER_FAILURE: u16 = 2;
const NO_SUCH_NAME: u16 = 3;
const NOT_IMPLEMENTED: u16 = 4;

/// Reads a message that arrived on the socket of this query.
pub(super) fn read_reply(message: &[u8], sent: &SentQuery) -> Reply {
    if message.len() > REPLY_BYTES_MAX {
        return Reply::Mismatched;
    }
    let mut reader = Reader { bytes: message, at: 0 };
    let Some(header) = Header::read(&mut reader) else { return Reply::Mismatched };
    if header.id != sent.id || !header.is_reply() {
        return Reply::Mismatched;
    }
    let complains = matches!(header.code(), FORMAT_ERROR | NOT_IMPLEMENTED);
    if header.questions == 0 && complains {
        // A server that cannot parse a message may not repeat its question. This reply can only disable EDNS.
        return Reply::NotUnderstood;
    }
    if header.questions != 1 || !sent.skip_question(&mut reader) {
        return Reply::Mismatched;
    }
    if sent.transport == Transport::Udp && !sent.has_letters(message) {
        return Reply::OtherCase;
    }
    match header.code() {
        NO_ERROR | NO_SUCH_NAME if header.is_truncated() => read_truncated(&header, reader, sent),
        NO_ERROR | NO_SUCH_NAME => read_sections(&header, reader, sent).unwrap_or(Reply::Malformed),
        FORMAT_ERROR | NOT_IMPLEMENTED => Reply::NotUnderstood,
        SERVER_FAILURE => Reply::ServerFailure,
        _ => Reply::Refused,
    }
}

/// The complete records of a truncated message.
fn read_truncated(header: &Header, reader: Reader, sent: &SentQuery) -> Reply {
    let mut behind = Reader { ..reader };
    let mut count = 0;
    while count < header.answers.min(RECORDS_MAX) && behind.record().is_some() {
        count += 1;
    }
    let (mut owner, mut ttl_s, mut aliases) = (*sent.owner, u32::MAX, Vec::new());
    for _ in sent.links..=CHAIN_MAX {
        let Some(link) = read_link(Reader { ..reader }, count, &owner, sent.family) else { break };
        ttl_s = ttl_s.min(link.ttl_s);
        if !link.addresses.is_empty() {
            return Reply::Truncated { addresses: link.addresses, ttl_s, aliases };
        }
        let Some(target) = link.target else { break };
        aliases.push(target);
        owner = target;
    }
    Reply::Truncated { addresses: Vec::new(), ttl_s, aliases }
}

/// The answer, or the reason why there is none; `None` if a section is malformed.
fn read_sections(header: &Header, reader: Reader, sent: &SentQuery) -> Option<Reply> {
    let count = header.answers.min(RECORDS_MAX);
    let mut behind = Reader { ..reader };
    for _ in 0..count {
        behind.record()?;
    }
    let mut owner = *sent.owner;
    let mut links = sent.links;
    let mut ttl_s = u32::MAX;
    let mut aliases = Vec::new();
    loop {
        let link = read_link(Reader { ..reader }, count, &owner, sent.family)?;
        ttl_s = ttl_s.min(link.ttl_s);
        if !link.addresses.is_empty() && header.code() == NO_ERROR {
            return Some(Reply::Found { addresses: link.addresses, ttl_s, aliases });
        }
        let Some(target) = link.target else { break };
        links = links.saturating_add(1);
        if links > CHAIN_MAX {
            return Some(Reply::ChainTooLong);
        }
        aliases.push(target);
        owner = target;
    }
    let negative_ttl_s = if count == header.answers {
        read_negative_ttl(behind, header.authorities.min(RECORDS_MAX), &owner)?
    } else {
        None
    };
    let chain_ttl_s = negative_ttl_s.map(|negative_ttl_s| negative_ttl_s.min(ttl_s));
    Some(if header.code() == NO_SUCH_NAME {
        // RFC 6604: the code is about the end of the chain.
        Reply::NoSuchName { ttl_s: chain_ttl_s }
    } else if negative_ttl_s.is_some() {
        Reply::NoSuchRecord { ttl_s: chain_ttl_s }
    } else if links > sent.links {
        Reply::Alias { aliases, links, ttl_s }
    } else if header.is_lame() {
        Reply::Refused
    } else {
        Reply::NoSuchRecord { ttl_s: None }
    })
}

/// The records of one name in the answer section.
struct Link {
    addresses: Vec<IpAddr>,
    target: Option<WireName>,
    ttl_s: u32,
}

fn read_link(mut reader: Reader, count: u16, owner: &WireName, family: Family) -> Option<Link> {
    let mut link = Link { addresses: Vec::new(), target: None, ttl_s: u32::MAX };
    for _ in 0..count {
        let record = reader.record()?;
        if record.class != CLASS_IN || record.owner != *owner {
            continue;
        }
        if record.kind == family.record_type() {
            let address = family.address(record.rdata.rest())?;
            link.ttl_s = link.ttl_s.min(record.ttl_s);
            if link.addresses.len() < ADDRESSES_MAX {
                link.addresses.push(address);
            }
        } else if record.kind == TYPE_CNAME && link.target.is_none() {
            let mut rdata = record.rdata;
            link.target = Some(rdata.name()?);
            link.ttl_s = link.ttl_s.min(record.ttl_s);
            if !rdata.rest().is_empty() {
                return None;
            }
        }
    }
    Some(link)
}

/// The TTL of a negative answer: the lesser of the TTL of the zone's SOA and of its last field (RFC 2308 section 5).
/// `Some(None)` without an SOA of a zone that contains the name; `None` if the section is malformed.
fn read_negative_ttl(mut reader: Reader, count: u16, owner: &WireName) -> Option<Option<u32>> {
    let mut ttl_s = None;
    for _ in 0..count {
        let record = reader.record()?;
        if record.class == CLASS_IN && record.kind == TYPE_SOA && owner.is_within(&record.owner) {
            let mut rdata = record.rdata;
            rdata.name()?;
            rdata.name()?;
            rdata.take(16)?;
            let minimum_s = bounded_ttl(rdata.u32()?);
            ttl_s = ttl_s.or(Some(record.ttl_s.min(minimum_s)));
        }
    }
    Some(ttl_s)
}

/// RFC 2181 section 8: a TTL with its highest bit set is zero.
fn bounded_ttl(ttl_s: u32) -> u32 {
    if ttl_s > i32::MAX as u32 { 0 } else { ttl_s }
}

struct Record<'a> {
    owner: WireName,
    kind: u16,
    class: u16,
    ttl_s: u32,
    /// Begins at the record's data and ends with them; pointers may lead back into the whole message.
    rdata: Reader<'a>,
}

/// A position in a message, and the end of the readable bytes.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or(&[])
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn record(&mut self) -> Option<Record<'a>> {
        let owner = self.name()?;
        let (kind, class, ttl_s) = (self.u16()?, self.u16()?, bounded_ttl(self.u32()?));
        let length = usize::from(self.u16()?);
        let start = self.at;
        self.take(length)?;
        let rdata = Reader { bytes: self.bytes.get(..self.at)?, at: start };
        Some(Record { owner, kind, class, ttl_s, rdata })
    }

    /// Reads a name and follows pointers (RFC 1035 section 4.1.4). Each pointer must aim before the labels that it
    /// ends, so the position only moves back and no loop is possible. The header contains no names.
    fn name(&mut self) -> Option<WireName> {
        let mut name = WireName::empty();
        let mut piece = Reader { bytes: self.bytes, at: self.at };
        let mut piece_start = self.at;
        let mut behind_first_pointer = None;
        loop {
            let &[length] = piece.take(1)? else { return None };
            match length {
                0..=0x3f => {
                    name.push(piece.take(usize::from(length))?)?;
                    if length == 0 {
                        self.at = behind_first_pointer.unwrap_or(piece.at);
                        return Some(name);
                    }
                }
                // Reserved (RFC 6891 section 5 has abandoned 01).
                0x40..=0xbf => return None,
                0xc0..=0xff => {
                    let &[low] = piece.take(1)? else { return None };
                    let target = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                    if target >= piece_start || target < HEADER_BYTES {
                        return None;
                    }
                    behind_first_pointer = behind_first_pointer.or(Some(piece.at));
                    piece.at = target;
                    piece_start = target;
                }
            }
        }
    }
}
