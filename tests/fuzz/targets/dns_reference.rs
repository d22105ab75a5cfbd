//! A plain reader of DNS messages (RFC 1035 section 4), for what may be believed of a reply.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Labels in lower case.
type Name = Vec<Vec<u8>>;

/// More pointers than any name of 255 bytes can have.
const POINTERS_MAX: usize = 256;

struct Record {
    owner: Name,
    kind: u16,
    rdata_at: usize,
    rdata: Vec<u8>,
}

fn number(message: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(*message.get(at)?) << 8 | usize::from(*message.get(at + 1)?))
}

/// The name that begins here, and where it ends.
fn name(message: &[u8], mut at: usize) -> Option<(Name, usize)> {
    let (mut labels, mut end) = (Vec::new(), None);
    for _ in 0..POINTERS_MAX {
        let length = usize::from(*message.get(at)?);
        match length {
            0 => return Some((labels, end.unwrap_or(at + 1))),
            1..64 => {
                labels.push(message.get(at + 1..at + 1 + length)?.to_ascii_lowercase());
                at += 1 + length;
            }
            _ => {
                end = end.or(Some(at + 2));
                at = number(message, at)? & 0x3fff;
            }
        }
    }
    None
}

/// The name that a query or reply asks for, and where the question ends.
fn question(message: &[u8]) -> Option<(Name, usize)> {
    let (name, end) = name(message, 12)?;
    Some((name, end + 4))
}

fn answers(message: &[u8], mut at: usize) -> Vec<Record> {
    let mut records = Vec::new();
    for _ in 0..number(message, 6).unwrap_or(0) {
        let read = || {
            let (owner, end) = name(message, at)?;
            let (kind, length) = (number(message, end)? as u16, number(message, end + 8)?);
            let rdata = message.get(end + 10..end + 10 + length)?.to_vec();
            Some(Record { owner, kind, rdata_at: end + 10, rdata })
        };
        let Some(record) = read() else { break };
        at = record.rdata_at + record.rdata.len();
        records.push(record);
    }
    records
}

/// The addresses that a reply may give for the requested name: those of records of this name, or of a name that
/// CNAMEs lead to from it. All others could be forged (RFC 5452 section 6).
pub fn believable(query: &[u8], reply: &[u8]) -> Vec<IpAddr> {
    let Some((asked, _)) = question(query) else { return Vec::new() };
    let Some((echoed, end)) = question(reply).filter(|(echoed, _)| *echoed == asked) else {
        return Vec::new();
    };
    let records = answers(reply, end);
    let mut owners = vec![echoed];
    while let Some(target) = records.iter().find_map(|record| {
        let target = (record.kind == 5 && owners.contains(&record.owner))
            .then(|| name(reply, record.rdata_at))?
            .map(|(target, _)| target)?;
        (!owners.contains(&target)).then_some(target)
    }) {
        owners.push(target);
    }
    let of_owner = records.iter().filter(|record| owners.contains(&record.owner));
    let address = |record: &Record| match record.kind {
        1 => <[u8; 4]>::try_from(&record.rdata[..]).ok().map(|octets| IpAddr::V4(Ipv4Addr::from(octets))),
        28 => <[u8; 16]>::try_from(&record.rdata[..])
            .ok()
            .map(|octets| IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()),
        _ => None,
    };
    of_owner.filter_map(address).collect()
}
