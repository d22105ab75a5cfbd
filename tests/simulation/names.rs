//! Name servers: one zone, and several ways of not telling what it says.

use super::dice::Dice;
use super::scenario::{Host, Naming};
use std::net::IpAddr;
use weir::resolver::Transport;

/// Something that comes back on the socket of a query, after so many microseconds. `None`: the socket fails.
pub type Reply = (u64, Option<Vec<u8>>);

const A: u16 = 1;
const AAAA: u16 = 28;

/// The replies to a query. `faults`: messages get lost or forged, too.
pub fn replies(
    dice: &mut Dice,
    hosts: &[Host],
    transport: Transport,
    query: &[u8],
    faults: bool,
) -> Vec<Reply> {
    let question = Question::parse(query);
    let host = hosts.iter().find(|host| host.authority == question.name);
    let naming = host.map_or(Naming::Missing, |host| host.naming);
    let after_us = dice.between(100, 20_000);
    let mut replies = Vec::new();
    if faults {
        match dice.below(10) {
            0 => return replies,
            1 => return vec![(after_us, None)],
            2 => replies.push((after_us / 2, Some(forged(query)))),
            3 => replies.push((after_us / 2, Some(vec![0; dice.below(20)]))),
            4 => {
                return vec![(
                    dice.between(1_000_000, 8_000_000),
                    host.map(|host| question.answer(host, &[])),
                )];
            }
            _ => {}
        }
    }
    let reply = match (naming, host) {
        (Naming::Missing, _) | (_, None) => question.reply(0x8183, &[]),
        (Naming::Failing, _) => question.reply(0x8182, &[]),
        (Naming::Silent, _) => return replies,
        (Naming::Garbled, Some(host)) => {
            let mut reply = question.answer(host, &[]);
            let cut = dice.between(12, reply.len() as u64) as usize;
            reply.truncate(cut);
            reply
        }
        (Naming::Truncated, Some(_)) if transport == Transport::Udp => question.reply(0x8380, &[]),
        (Naming::Lying, Some(_)) => question.reply(0x8180, &question.of_kind(&forged_addresses())),
        (Naming::Mixed, Some(host)) => question.answer(host, &forged_addresses()),
        (Naming::Right | Naming::Truncated | Naming::Literal, Some(host)) => question.answer(host, &[]),
    };
    replies.push((after_us, Some(reply)));
    if dice.percent(5) {
        // Twice, for good measure.
        replies.push((after_us + 10, replies.last().and_then(|(_, reply)| reply.clone())));
    }
    replies
}

/// Whether an address must never be dialled.
pub fn is_forbidden(address: IpAddr) -> bool {
    forged_addresses().contains(&address)
}

fn forged_addresses() -> Vec<IpAddr> {
    ["127.0.0.1", "169.254.169.254", "::1", "fe80::1"].iter().filter_map(|text| text.parse().ok()).collect()
}

/// The same question under another id: a blind forgery.
fn forged(query: &[u8]) -> Vec<u8> {
    let mut reply = query.to_vec();
    reply[0] ^= 0x5a;
    reply[2] |= 0x80;
    reply
}

struct Question<'q> {
    query: &'q [u8],
    name: String,
    kind: u16,
    end: usize,
}

impl<'q> Question<'q> {
    fn parse(query: &'q [u8]) -> Question<'q> {
        let mut name = String::new();
        let mut at = 12;
        while query[at] != 0 {
            let label = &query[at + 1..at + 1 + usize::from(query[at])];
            if !name.is_empty() {
                name.push('.');
            }
            name.push_str(&String::from_utf8_lossy(label).to_ascii_lowercase());
            at += 1 + label.len();
        }
        let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
        Question { query, name, kind, end: at + 5 }
    }

    fn of_kind(&self, addresses: &[IpAddr]) -> Vec<IpAddr> {
        let fits = |address: &&IpAddr| match (address, self.kind) {
            (IpAddr::V4(_), A) | (IpAddr::V6(_), AAAA) => true,
            (IpAddr::V4(_) | IpAddr::V6(_), _) => false,
        };
        addresses.iter().filter(fits).copied().collect()
    }

    fn answer(&self, host: &Host, besides: &[IpAddr]) -> Vec<u8> {
        let mut addresses = besides.to_vec();
        addresses.extend(host.addresses.iter().map(|(address, _)| *address));
        self.reply(0x8180, &self.of_kind(&addresses))
    }

    fn reply(&self, flags: u16, addresses: &[IpAddr]) -> Vec<u8> {
        let mut out = self.query[..2].to_vec();
        for number in [flags, 1, addresses.len() as u16, 0, 0] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&self.query[12..self.end]);
        for address in addresses {
            let octets = match address {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            out.extend_from_slice(&[0xc0, 12]);
            out.extend_from_slice(&self.kind.to_be_bytes());
            out.extend_from_slice(&[0, 1, 0, 0, 0, 3]);
            out.extend_from_slice(&(octets.len() as u16).to_be_bytes());
            out.extend_from_slice(&octets);
        }
        out
    }
}
