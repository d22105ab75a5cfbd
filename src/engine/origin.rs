//! Connections to origins: who may be reused for what.
//!
//! Connections are grouped by the authority they were opened for. A group lives as long as it has a connection. Idle ones
//! are reused most recently used first: the younger ones are the likelier to be alive, and the older ones can expire.

use super::keyed::Keyed;
use super::peer::PeerId;
use crate::http::target::Authority;
use hashbrown::HashMap;
use hashlink::{LinkedHashMap, LruCache};
use slab::Slab;

/// Origins remembered as speaking HTTP/1.0 (chosen).
const HTTP10_MAX: usize = 256;

/// A group's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupId(u32);

#[derive(Debug)]
struct Group {
    authority: Authority,
    /// Connections of any state.
    connections: u32,
    /// Most recently used last.
    idle: Vec<PeerId>,
}

/// All origin connections of one loop.
#[derive(Debug)]
pub(super) struct Origins {
    groups: Slab<Group>,
    index: HashMap<Authority, u32, Keyed>,
    /// All idle connections, the longest idle first.
    idle: LinkedHashMap<PeerId, GroupId, Keyed>,
    /// Origins that have answered as HTTP/1.0: they are never sent chunks (RFC 9112 section 6.1). Such origins mostly
    /// close, so this outlives their connections.
    http10: LruCache<Authority, (), Keyed>,
    idle_max: usize,
    idle_per_group_max: usize,
}

impl Origins {
    pub fn new(seed: Keyed, idle_max: usize, idle_per_group_max: usize) -> Origins {
        Origins {
            groups: Slab::new(),
            index: HashMap::with_hasher(seed),
            idle: LinkedHashMap::with_hasher(seed),
            http10: LruCache::with_hasher(HTTP10_MAX, seed),
            idle_max,
            idle_per_group_max,
        }
    }

    /// The group of an authority, for one more connection.
    pub fn join(&mut self, authority: &Authority) -> GroupId {
        if let Some(&id) = self.index.get(authority) {
            self.groups[id as usize].connections += 1;
            return GroupId(id);
        }
        let group = Group { authority: *authority, connections: 1, idle: Vec::new() };
        let id = self.groups.insert(group) as u32;
        self.index.insert(*authority, id);
        GroupId(id)
    }

    /// One connection fewer. It must not be idle any more.
    pub fn leave(&mut self, id: GroupId) {
        let group = &mut self.groups[id.0 as usize];
        group.connections -= 1;
        if group.connections == 0 {
            let group = self.groups.remove(id.0 as usize);
            self.index.remove(&group.authority);
        }
    }

    /// Idle connections to an authority, most recently used first.
    pub fn idle_for(&self, authority: &Authority) -> impl Iterator<Item = PeerId> + '_ {
        let group = self.index.get(authority).map(|&id| &self.groups[id as usize]);
        group.into_iter().flat_map(|group| group.idle.iter().rev().copied())
    }

    /// Makes a connection idle; returns the connections that must be closed for it.
    pub fn set_idle(&mut self, id: GroupId, peer: PeerId) -> [Option<PeerId>; 2] {
        let group = &mut self.groups[id.0 as usize];
        group.idle.push(peer);
        self.idle.insert(peer, id);
        let oldest_here = (group.idle.len() > self.idle_per_group_max).then(|| group.idle[0]);
        if let Some(oldest) = oldest_here {
            self.set_busy(id, oldest);
        }
        let oldest =
            (self.idle.len() > self.idle_max).then(|| self.idle.front().map(|(peer, id)| (*peer, *id)));
        let oldest = oldest.flatten();
        if let Some((oldest, group)) = oldest {
            self.set_busy(group, oldest);
        }
        [oldest_here, oldest.map(|(peer, _)| peer)]
    }

    /// The connection is not idle any more.
    pub fn set_busy(&mut self, id: GroupId, peer: PeerId) {
        if self.idle.remove(&peer).is_some() {
            self.groups[id.0 as usize].idle.retain(|&idle| idle != peer);
        }
    }

    /// Remembers what the origin speaks.
    pub fn set_http10(&mut self, authority: &Authority, speaks_http10: bool) {
        if speaks_http10 {
            self.http10.insert(*authority, ());
        } else if !self.http10.is_empty() {
            self.http10.remove(authority);
        }
    }

    /// Whether the origin is known to speak HTTP/1.0.
    pub fn speaks_http10(&self, authority: &Authority) -> bool {
        !self.http10.is_empty() && self.http10.peek(authority).is_some()
    }

    /// Idle connections now.
    pub fn idle_count(&self) -> usize {
        self.idle.len()
    }

    /// The connection that has been idle longest.
    pub fn longest_idle(&self) -> Option<PeerId> {
        self.idle.front().map(|(peer, _)| *peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::target::{Host, Name};

    fn authority(name: &str) -> Authority {
        Authority { host: Host::Name(Name::parse(name.as_bytes()).unwrap()), port: 80 }
    }

    fn peer(index: usize) -> PeerId {
        PeerId::from_index(index)
    }

    #[test]
    fn reuses_the_youngest_and_sheds_the_oldest() {
        let mut origins = Origins::new(Keyed::new([1, 2]), 3, 2);
        let (a, b) = (authority("a.example"), authority("b.example"));
        let group = origins.join(&a);
        for _ in 0..3 {
            assert_eq!(origins.join(&a), group);
        }
        assert_eq!(origins.set_idle(group, peer(1)), [None, None]);
        assert_eq!(origins.set_idle(group, peer(2)), [None, None]);
        assert_eq!(origins.set_idle(group, peer(3)), [Some(peer(1)), None]);
        assert!(origins.idle_for(&a).eq([peer(3), peer(2)]));
        let other = origins.join(&b);
        origins.join(&b);
        assert_eq!(origins.set_idle(other, peer(4)), [None, None]);
        assert_eq!(origins.set_idle(other, peer(5)), [None, Some(peer(2))]);
        assert_eq!(origins.idle_count(), 3);
        origins.set_busy(group, peer(3));
        assert_eq!(origins.idle_for(&a).count(), 0);
        assert_eq!(origins.longest_idle(), Some(peer(4)));
    }

    #[test]
    fn forgets_a_group_with_its_last_connection() {
        let mut origins = Origins::new(Keyed::new([1, 2]), 3, 2);
        let a = authority("a.example");
        let group = origins.join(&a);
        origins.set_http10(&a, true);
        origins.leave(group);
        assert!(origins.groups.is_empty() && origins.index.is_empty());
        assert!(origins.speaks_http10(&a), "what it speaks is remembered");
        origins.set_http10(&a, false);
        assert!(!origins.speaks_http10(&a));
    }
}
