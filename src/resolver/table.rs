//! The hosts file, the cache of outcomes, and the state of the servers.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hashlink::LruCache;

use super::settings::words;
use super::{ADDRESSES_MAX, Addresses, Outcome};
use crate::http::target::Name;
use crate::net::Keyed;

/// Most names of a hosts file; further ones are ignored. Chosen: block lists in hosts form have 200,000 lines, at
/// some 100 bytes each.
pub const HOSTS_NAMES_MAX: usize = 1 << 18;
/// How long a server without an answer is used last. Chosen.
pub(super) const DOWN_US: u64 = 30_000_000;
/// How long a server that did not understand EDNS, or does not repeat the case of letters, is queried without that. Chosen.
const TRIED_AGAIN_US: u64 = 600_000_000;

/// The hosts file: addresses of names that are never queried.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    /// Shared by the clones in all loops.
    names: Arc<BTreeMap<Box<[u8]>, Addresses>>,
}

impl Hosts {
    /// Reads hosts(5): an address and its names per line, `#` comments. Several lines of one name add up; invalid
    /// lines and names are skipped. The scope of an address is dropped.
    pub fn parse(text: &[u8]) -> Hosts {
        let mut hosts = Hosts::default();
        for line in text.split(|&byte| byte == b'\n') {
            let mut words = words(line);
            let Some(address) = words.next().and_then(parse_address) else { continue };
            let alone = Addresses::new([address]);
            for name in words.filter_map(|word| Name::parse(word).ok()) {
                hosts.add(name.as_bytes(), address, &alone);
            }
        }
        hosts
    }

    fn add(&mut self, name: &[u8], address: IpAddr, alone: &Addresses) {
        let names = Arc::make_mut(&mut self.names);
        if let Some(known) = names.get_mut(name) {
            if known.as_slice().len() < ADDRESSES_MAX {
                *known = Addresses::new(known.as_slice().iter().copied().chain([address]));
            }
        } else if names.len() < HOSTS_NAMES_MAX {
            // The names of a line share one list.
            names.insert(name.into(), alone.clone());
        }
    }

    /// The addresses of a name, if the file has it.
    pub fn get(&self, name: &Name) -> Option<&Addresses> {
        self.names.get(name.as_bytes())
    }
}

fn parse_address(word: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(word).ok()?;
    text.split('%').next()?.parse().ok()
}

/// Outcomes until they expire; the least recently used ones leave first.
pub(super) struct Cache {
    outcomes: LruCache<Box<[u8]>, Remembered, Keyed>,
    entries_max: usize,
}

struct Remembered {
    outcome: Outcome,
    until_us: u64,
}

impl Cache {
    pub(super) fn new(entries_max: usize, keyed: Keyed) -> Cache {
        Cache { outcomes: LruCache::with_hasher(entries_max, keyed), entries_max }
    }

    pub(super) fn get(&mut self, now_us: u64, name: &Name) -> Option<Outcome> {
        let remembered = self.outcomes.get(name.as_bytes())?;
        if now_us < remembered.until_us {
            return Some(remembered.outcome.clone());
        }
        self.outcomes.remove(name.as_bytes());
        None
    }

    /// When the entry expires; 0 without an entry.
    pub(super) fn expires_us(&self, name: &Name) -> u64 {
        self.outcomes.peek(name.as_bytes()).map_or(0, |remembered| remembered.until_us)
    }

    pub(super) fn insert(&mut self, now_us: u64, name: &Name, outcome: Outcome, ttl_s: u32) {
        if self.entries_max == 0 || ttl_s == 0 {
            return;
        }
        let until_us = now_us.saturating_add(u64::from(ttl_s) * 1_000_000);
        self.outcomes.insert(name.as_bytes().into(), Remembered { outcome, until_us });
    }
}

/// The state of a server.
#[derive(Clone, Debug)]
struct Server {
    address: SocketAddr,
    /// The server did not answer: it is used last until this time.
    down_until_us: Option<u64>,
    /// Time of its last reply.
    replied_us: Option<u64>,
    /// Queries have no EDNS until this time.
    no_edns_until_us: u64,
    /// Queries have no random case until this time.
    not_mixed_until_us: u64,
}

/// The servers in order of preference; a set of them is a bit mask by index.
pub(super) struct Servers {
    servers: Vec<Server>,
}

/// The server for the next query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) server: u8,
    pub(super) address: SocketAddr,
    pub(super) edns: bool,
    /// The server repeats the case of letters, as far as is known.
    pub(super) mixed: bool,
    /// The server was down while others are live: the query waits for it only for a short time.
    pub(super) probe: bool,
}

impl Servers {
    /// Keeps the state of servers that stay. `addresses` has at most `settings::SERVERS_MAX`.
    pub(super) fn new(addresses: &[SocketAddr], before: Option<&Servers>) -> Servers {
        let known = |&address: &SocketAddr| {
            let before =
                before.and_then(|before| before.servers.iter().find(|known| known.address == address));
            let fresh = Server {
                address,
                down_until_us: None,
                replied_us: None,
                no_edns_until_us: 0,
                not_mixed_until_us: 0,
            };
            before.cloned().unwrap_or(fresh)
        };
        Servers { servers: addresses.iter().map(known).collect() }
    }

    pub(super) fn count(&self) -> usize {
        self.servers.len()
    }

    /// The best server outside of `tried`, counting from `first`: a live one, or one whose time of being down has
    /// passed (this query probes it, and no other does); otherwise the one that has been down longest.
    pub(super) fn choose(&mut self, now_us: u64, first: usize, tried: u16) -> Option<Choice> {
        let count = self.servers.len();
        let order = (0..count).map(|step| first.wrapping_add(step) % count.max(1));
        let untried = order.filter(|&index| tried & bit(index) == 0);
        let key = |index: usize| match self.servers.get(index).and_then(|server| server.down_until_us) {
            Some(until_us) if now_us < until_us => until_us,
            Some(_) | None => 0,
        };
        // min_by_key takes the first of equal keys.
        let index = untried.clone().min_by_key(|&index| key(index))?;
        let others_live = untried
            .filter(|&other| other != index)
            .any(|other| self.servers.get(other).is_some_and(|server| server.down_until_us.is_none()));
        let server = self.servers.get_mut(index)?;
        let probe = server.down_until_us.is_some_and(|until_us| until_us <= now_us);
        if probe {
            server.down_until_us = Some(now_us.saturating_add(DOWN_US));
        }
        Some(Choice {
            server: index as u8,
            address: server.address,
            edns: server.no_edns_until_us <= now_us,
            mixed: server.not_mixed_until_us <= now_us,
            probe: probe && others_live,
        })
    }

    /// Whether a server outside of `tried` is live.
    pub(super) fn any_live(&self, tried: u16) -> bool {
        let live =
            |(index, server): (usize, &Server)| tried & bit(index) == 0 && server.down_until_us.is_none();
        self.servers.iter().enumerate().any(live)
    }

    /// Records a reply of a server.
    pub(super) fn record_reply(&mut self, now_us: u64, server: u8) {
        if let Some(server) = self.servers.get_mut(usize::from(server)) {
            server.replied_us = Some(now_us);
            server.down_until_us = None;
        }
    }

    /// Records that a query sent at `sent_us` got no reply. A server that has answered another query since is only
    /// slow with this name. True if the server was live until now.
    pub(super) fn record_silence(&mut self, now_us: u64, server: u8, sent_us: u64) -> bool {
        let Some(server) = self.servers.get_mut(usize::from(server)) else { return false };
        if server.replied_us.is_some_and(|replied_us| replied_us > sent_us) {
            return false;
        }
        server.down_until_us.replace(now_us.saturating_add(DOWN_US)).is_none()
    }

    /// Records that a server does not understand EDNS.
    pub(super) fn disable_edns(&mut self, now_us: u64, server: u8) {
        if let Some(server) = self.servers.get_mut(usize::from(server)) {
            server.no_edns_until_us = now_us.saturating_add(TRIED_AGAIN_US);
        }
    }

    /// Records that a server does not repeat the case of letters.
    pub(super) fn stop_mixing(&mut self, now_us: u64, server: u8) {
        if let Some(server) = self.servers.get_mut(usize::from(server)) {
            server.not_mixed_until_us = now_us.saturating_add(TRIED_AGAIN_US);
        }
    }
}

/// The mask of one server.
pub(super) fn bit(index: usize) -> u16 {
    u32::try_from(index).ok().and_then(|index| 1u16.checked_shl(index)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers() -> Servers {
        Servers::new(&[1, 2].map(|last| SocketAddr::from(([192, 0, 2, last], 53))), None)
    }

    fn chosen(servers: &mut Servers, now_us: u64, tried: u16) -> Option<(u8, bool)> {
        servers.choose(now_us, 0, tried).map(|choice| (choice.server, choice.probe))
    }

    #[test]
    fn silence_counts_unless_something_was_heard_since() {
        // Time of the last reply, time of the query, and whether the server is silent then.
        for (replied_us, sent_us, found) in
            [(None, 5, true), (Some(4), 5, true), (Some(5), 5, true), (Some(6), 5, false)]
        {
            let mut servers = servers();
            replied_us.into_iter().for_each(|replied_us| servers.record_reply(replied_us, 0));
            assert_eq!(servers.record_silence(10, 0, sent_us), found, "{replied_us:?}");
            assert_eq!(chosen(&mut servers, 10, 0), Some((u8::from(found), false)), "{replied_us:?}");
        }
    }

    #[test]
    fn one_query_probes_a_silent_server() {
        let mut servers = servers();
        assert!(servers.record_silence(0, 0, 0));
        assert!(!servers.record_silence(0, 0, 0), "known already");
        assert_eq!(chosen(&mut servers, DOWN_US - 1, 0), Some((1, false)));
        assert_eq!(chosen(&mut servers, DOWN_US - 1, 0b10), Some((0, false)));
        assert_eq!(chosen(&mut servers, DOWN_US, 0), Some((0, true)));
        assert_eq!(chosen(&mut servers, DOWN_US, 0), Some((1, false)));
        servers.record_reply(DOWN_US, 0);
        assert_eq!(chosen(&mut servers, DOWN_US, 0), Some((0, false)));
        assert_eq!(chosen(&mut servers, DOWN_US, 0b11), None);
    }

    #[test]
    fn of_silent_servers_the_first_to_fall_is_asked_first() {
        let mut servers = servers();
        servers.record_silence(5, 1, 5);
        servers.record_silence(6, 0, 6);
        assert!(!servers.any_live(0));
        assert_eq!(chosen(&mut servers, 7, 0), Some((1, false)));
        // A probe is only impatient while others are live.
        assert_eq!(chosen(&mut servers, 5 + DOWN_US, 0), Some((1, false)));
    }
}
