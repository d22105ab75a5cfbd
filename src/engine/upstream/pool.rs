//! The pool of connections to origins.
//!
//! Connections are grouped by the next hop that they were opened for. A group lives as long as it has a connection. The idle
//! connection that was used last is reused first: younger ones are more likely to be alive, and older ones can expire.

use crate::engine::ids::{GroupId, IdleId, PeerId};
use crate::engine::upstream::pinning::Pinned;
use crate::engine::upstream::route::Hop;
use crate::http::target::Authority;
use crate::net::Keyed;
use crate::resolver::Addresses;
use hashbrown::{HashMap, HashTable};
use hashlink::LruCache;
use slab::Slab;
use std::hash::BuildHasher;

/// Origins remembered as speaking HTTP/1.0 (chosen).
const HTTP10_MAX: usize = 256;

/// How long an origin is treated as HTTP/1.0 after a response with that version (rule 37). The next response may come from
/// another server behind the same name, or from the same server that uses 1.0 for errors only.
const HTTP10_MS: u64 = 60_000;

/// An origin keeps connections if one of them has been idle for so long, in milliseconds, and was not closed (chosen: of the
/// servers in common use the most impatient one waits for two seconds, most for five or more).
pub const KEEPS_MS: u64 = 2_000;

/// With such an origin, a connection that was used this recently is not about to be closed, in milliseconds (chosen: a
/// quarter of that time leaves a second and a half for the way to the origin and back).
pub const RECENT_MS: u64 = 500;

/// The connections to one next hop.
#[derive(Debug)]
pub(in crate::engine) struct Group {
    authority: Authority,
    /// Whether the configuration names the next hop.
    configured: bool,
    /// The keyed hash of the next hop, stored so that it is computed only once.
    hash: u64,
    /// Connections of any state.
    connections: u32,
    idle: List<HERE>,
    /// A connection of the group was idle for long enough without being closed: the origin does not close them at once.
    keeps: bool,
    /// When the origin last closed a connection early, in milliseconds since the loop started.
    doubted_ms: u64,
    /// The present addresses of the name, and the end of their validity in microseconds since the loop started.
    addresses: Option<(Addresses, u64)>,
}

impl Group {
    fn hop(&self) -> Hop<'_> {
        Hop { authority: &self.authority, configured: self.configured }
    }

    /// A connection has waited since then and is not closed yet.
    fn note_wait(&mut self, since_ms: u64, now_ms: u64) {
        self.keeps |= since_ms >= self.doubted_ms && now_ms - since_ms >= KEEPS_MS;
    }

    /// The addresses that its name has now, if that is known.
    pub fn addresses(&self, now_us: u64) -> Option<&Addresses> {
        self.addresses.as_ref().filter(|(_, until_us)| now_us < *until_us).map(|(addresses, _)| addresses)
    }
}

/// An idle connection. It is in two lists: of all idle connections, and of its group.
#[derive(Debug)]
pub(in crate::engine) struct Idle {
    pub peer: PeerId,
    /// In milliseconds since the loop started.
    pub opened_ms: u64,
    /// When it became idle, in milliseconds since the loop started.
    since_ms: u64,
    group: GroupId,
    links: [Link; 2],
}

/// Neighbours in one list.
#[derive(Clone, Copy, Debug, Default)]
struct Link {
    older: Option<IdleId>,
    younger: Option<IdleId>,
}

/// Indices of the links: in the list of all idle connections, and in the list of one group.
const ALL: usize = 0;
const HERE: usize = 1;

/// Idle connections in the order in which they became idle. A hash table instead took a tenth of the cost of a transaction
/// (measured).
#[derive(Debug, Default)]
struct List<const LINK: usize> {
    oldest: Option<IdleId>,
    youngest: Option<IdleId>,
    len: usize,
}

impl<const LINK: usize> List<LINK> {
    fn push(&mut self, entries: &mut Slab<Idle>, id: IdleId) {
        entries[id.0 as usize].links[LINK] = Link { older: self.youngest, younger: None };
        match self.youngest.replace(id) {
            Some(older) => entries[older.0 as usize].links[LINK].younger = Some(id),
            None => self.oldest = Some(id),
        }
        self.len += 1;
    }

    fn remove(&mut self, entries: &mut Slab<Idle>, id: IdleId) {
        let Link { older, younger } = entries[id.0 as usize].links[LINK];
        match older {
            Some(older) => entries[older.0 as usize].links[LINK].younger = younger,
            None => self.oldest = younger,
        }
        match younger {
            Some(younger) => entries[younger.0 as usize].links[LINK].older = older,
            None => self.youngest = older,
        }
        self.len -= 1;
    }
}

/// All upstream connections of one loop.
#[derive(Debug)]
pub(in crate::engine) struct UpstreamPool {
    groups: Slab<Group>,
    /// The groups by their next hops.
    index: HashTable<GroupId>,
    seed: Keyed,
    entries: Slab<Idle>,
    idle: List<ALL>,
    /// Connections that wait for one client, by that client: at most one for each.
    pinned: HashMap<PeerId, Pinned, Keyed>,
    /// Origins that have answered as HTTP/1.0, with the end of this knowledge in milliseconds: they never get chunks
    /// (RFC 9112 section 6.1). Such origins mostly close, so the table outlives their connections.
    http10: LruCache<Authority, u64, Keyed>,
    idle_max: usize,
    idle_per_group_max: usize,
}

impl UpstreamPool {
    pub fn new(seed: Keyed, idle_max: usize, idle_per_group_max: usize) -> UpstreamPool {
        UpstreamPool {
            groups: Slab::new(),
            index: HashTable::new(),
            seed,
            entries: Slab::new(),
            idle: List::default(),
            pinned: HashMap::with_hasher(seed),
            http10: LruCache::with_hasher(HTTP10_MAX, seed),
            idle_max,
            idle_per_group_max,
        }
    }

    /// The group of a next hop, for one more connection.
    pub fn join(&mut self, hop: Hop<'_>) -> GroupId {
        let hash = self.seed.hash_one(hop);
        if let Some(id) = self.find_group(hop, hash) {
            self.groups[id.0 as usize].connections += 1;
            return id;
        }
        let group = Group {
            authority: *hop.authority,
            configured: hop.configured,
            hash,
            connections: 1,
            idle: List::default(),
            keeps: false,
            doubted_ms: 0,
            addresses: None,
        };
        let UpstreamPool { groups, index, .. } = self;
        let id = GroupId(groups.insert(group) as u32);
        index.insert_unique(hash, id, |id| groups[id.0 as usize].hash);
        id
    }

    fn find_group(&self, hop: Hop<'_>, hash: u64) -> Option<GroupId> {
        self.index.find(hash, |id| self.groups[id.0 as usize].hop() == hop).copied()
    }

    fn group_id(&self, hop: Hop<'_>) -> Option<GroupId> {
        self.find_group(hop, self.seed.hash_one(hop))
    }

    /// Counts a connection out. It must not be idle any more.
    pub fn leave(&mut self, id: GroupId) {
        let group = &mut self.groups[id.0 as usize];
        group.connections -= 1;
        if group.connections == 0 {
            if let Ok(entry) = self.index.find_entry(group.hash, |other| *other == id) {
                entry.remove();
            }
            self.groups.remove(id.0 as usize);
        }
    }

    /// The group of a next hop, if it has a connection.
    pub fn group(&self, hop: Hop<'_>) -> Option<&Group> {
        self.group_id(hop).map(|id| &self.groups[id.0 as usize])
    }

    /// The next hop of a group.
    pub fn hop(&self, id: GroupId) -> Hop<'_> {
        self.groups[id.0 as usize].hop()
    }

    /// The idle ones of a group, most recently used first.
    pub fn idle_in<'s>(&'s self, group: &Group) -> impl Iterator<Item = &'s Idle> + use<'s> {
        let record = |id: IdleId| &self.entries[id.0 as usize];
        std::iter::successors(group.idle.youngest.map(record), move |idle| idle.links[HERE].older.map(record))
    }

    /// Records the addresses of the name of a next hop. False if there is no connection to it.
    pub fn note_addresses(&mut self, hop: Hop<'_>, addresses: &Addresses, until_us: u64) -> bool {
        let Some(id) = self.group_id(hop) else { return false };
        self.groups[id.0 as usize].addresses = Some((addresses.clone(), until_us));
        true
    }

    /// Names may have other addresses from now on.
    pub fn forget_addresses(&mut self) {
        self.groups.iter_mut().for_each(|(_, group)| group.addresses = None);
    }

    /// When an idle connection was opened.
    pub fn opened_ms(&self, id: IdleId) -> u64 {
        self.entries[id.0 as usize].opened_ms
    }

    /// When the connection that waits for a client was opened.
    pub fn pinned_opened_ms(&self, client: PeerId) -> u64 {
        self.pinned.get(&client).map_or(0, |pinned| pinned.opened_ms)
    }

    /// Makes a connection idle. Another one may then have to be closed: [`UpstreamPool::excess`].
    pub fn set_idle(&mut self, group: GroupId, peer: PeerId, opened_ms: u64, now_ms: u64) -> IdleId {
        let record = Idle { peer, opened_ms, since_ms: now_ms, group, links: [Link::default(); 2] };
        let id = IdleId(self.entries.insert(record) as u32);
        self.idle.push(&mut self.entries, id);
        self.groups[group.0 as usize].idle.push(&mut self.entries, id);
        id
    }

    /// A connection that must be closed because too many are idle in that group, or in all.
    pub fn excess(&self, group: GroupId) -> Option<PeerId> {
        let here = self.groups.get(group.0 as usize).map(|group| &group.idle);
        match here.filter(|here| here.len > self.idle_per_group_max) {
            Some(here) => here.oldest.map(|id| self.entries[id.0 as usize].peer),
            // Pinned connections count, but stay as long as their clients.
            None if self.idle.len + self.pinned.len() > self.idle_max => self.longest_idle(),
            None => None,
        }
    }

    /// Sets other limits: then some connections may have to be closed ([`UpstreamPool::any_excess`]).
    pub fn set_limits(&mut self, idle_max: usize, idle_per_group_max: usize) {
        (self.idle_max, self.idle_per_group_max) = (idle_max, idle_per_group_max);
    }

    /// A connection that must be closed because too many are idle in any group.
    pub fn any_excess(&self) -> Option<PeerId> {
        let all = (self.idle.len + self.pinned.len() > self.idle_max).then(|| self.longest_idle()).flatten();
        let crowded = || self.groups.iter().find(|(_, group)| group.idle.len > self.idle_per_group_max);
        all.or_else(|| crowded().and_then(|(id, _)| self.excess(GroupId(id as u32))))
    }

    /// The connection is not idle any more.
    pub fn set_busy(&mut self, id: IdleId) {
        self.idle.remove(&mut self.entries, id);
        let group = self.entries[id.0 as usize].group;
        self.groups[group.0 as usize].idle.remove(&mut self.entries, id);
        self.entries.remove(id.0 as usize);
    }

    /// Takes an idle connection for another transaction. Returns when it was opened.
    pub fn reuse(&mut self, id: IdleId, now_ms: u64) -> u64 {
        let Idle { opened_ms, since_ms, group, .. } = self.entries[id.0 as usize];
        self.groups[group.0 as usize].note_wait(since_ms, now_ms);
        self.set_busy(id);
        opened_ms
    }

    /// Records that the origin has closed an idle connection, or has sent bytes without a request.
    pub fn note_end(&mut self, id: IdleId, now_ms: u64) {
        let Idle { since_ms, group, .. } = self.entries[id.0 as usize];
        if now_ms - since_ms < KEEPS_MS {
            let group = &mut self.groups[group.0 as usize];
            (group.keeps, group.doubted_ms) = (false, now_ms);
        }
    }

    /// Whether an idle connection may carry a request that cannot be sent twice: its origin has kept a connection for long
    /// enough, and this one was used a moment ago.
    pub fn is_proven(&mut self, id: IdleId, now_ms: u64) -> bool {
        let Idle { since_ms, group, .. } = self.entries[id.0 as usize];
        let group = &mut self.groups[group.0 as usize];
        let oldest = group.idle.oldest.map_or(now_ms, |oldest| self.entries[oldest.0 as usize].since_ms);
        group.note_wait(oldest, now_ms);
        group.keeps && now_ms - since_ms <= RECENT_MS
    }

    /// Whether the connection is not the only idle one of its group.
    pub fn has_others(&self, id: IdleId) -> bool {
        let group = self.entries[id.0 as usize].group;
        self.groups[group.0 as usize].idle.len > 1
    }

    /// Pins a connection to a client without one.
    pub fn pin(&mut self, client: PeerId, pinned: Pinned) {
        let before = self.pinned.insert(client, pinned);
        debug_assert!(before.is_none());
    }

    /// Takes the connection that is pinned to the client.
    pub fn unpin(&mut self, client: PeerId) -> Option<Pinned> {
        // Mostly no connection is pinned, and no look-up is needed.
        if self.pinned.is_empty() { None } else { self.pinned.remove(&client) }
    }

    /// Whether a connection to that next hop waits for the client.
    pub fn is_pinned(&self, client: PeerId, hop: Hop<'_>) -> bool {
        let leads =
            |pinned: &Pinned| self.hop(pinned.group) == hop && pinned.rooted == hop.authority.is_rooted();
        !self.pinned.is_empty() && self.pinned.get(&client).is_some_and(leads)
    }

    /// The next hop of the connection that is pinned to the client.
    pub fn pinned_hop(&self, client: PeerId) -> Option<Hop<'_>> {
        if self.pinned.is_empty() { None } else { Some(self.hop(self.pinned.get(&client)?.group)) }
    }

    /// Connections that wait for one client.
    pub fn pinned_count(&self) -> usize {
        self.pinned.len()
    }

    /// Records for a while whether the origin uses HTTP/1.0.
    pub fn set_http10(&mut self, now_ms: u64, authority: &Authority, speaks_http10: bool) {
        if speaks_http10 {
            self.http10.insert(*authority, now_ms + HTTP10_MS);
        } else if !self.http10.is_empty() {
            self.http10.remove(authority);
        }
    }

    /// Whether the origin is known to speak HTTP/1.0.
    pub fn speaks_http10(&self, now_ms: u64, authority: &Authority) -> bool {
        !self.http10.is_empty() && self.http10.peek(authority).is_some_and(|&until_ms| now_ms < until_ms)
    }

    /// Idle connections now.
    pub fn idle_count(&self) -> usize {
        self.idle.len
    }

    /// The connection that has been idle longest.
    pub fn longest_idle(&self) -> Option<PeerId> {
        self.idle.oldest.map(|id| self.entries[id.0 as usize].peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::target::{Host, Name};

    fn authority(name: &str) -> Authority {
        Authority { host: Host::Name(Name::parse(name.as_bytes()).unwrap()), port: 80 }
    }

    fn direct(authority: &Authority) -> Hop<'_> {
        Hop { authority, configured: false }
    }

    fn peer(index: usize) -> PeerId {
        PeerId::from_token(index)
    }

    fn idle_for<'a>(pool: &'a UpstreamPool, authority: &Authority) -> impl Iterator<Item = PeerId> + use<'a> {
        let group = pool.group(direct(authority));
        group.into_iter().flat_map(|group| pool.idle_in(group)).map(|idle| idle.peer)
    }

    #[test]
    fn reuses_the_youngest_and_sheds_the_oldest() {
        let mut pool = UpstreamPool::new(Keyed::new([1, 2]), 3, 2);
        let (a, b) = (authority("a.example"), authority("b.example"));
        let group = pool.join(direct(&a));
        for _ in 0..3 {
            assert_eq!(pool.join(direct(&a)), group);
        }
        let first = pool.set_idle(group, peer(1), 0, 0);
        let second = pool.set_idle(group, peer(2), 0, 0);
        assert_eq!(pool.excess(group), None);
        let third = pool.set_idle(group, peer(3), 0, 0);
        assert_eq!(pool.excess(group), Some(peer(1)));
        pool.set_busy(first);
        assert_eq!(pool.excess(group), None);
        assert!(idle_for(&pool, &a).eq([peer(3), peer(2)]));
        let other = pool.join(direct(&b));
        pool.join(direct(&b));
        pool.set_idle(other, peer(4), 0, 0);
        assert_eq!(pool.excess(other), None);
        pool.set_idle(other, peer(5), 0, 0);
        assert_eq!(pool.excess(other), Some(peer(2)));
        pool.set_busy(second);
        assert_eq!((pool.excess(other), pool.idle_count()), (None, 3));
        pool.set_busy(third);
        assert_eq!(idle_for(&pool, &a).count(), 0);
        assert_eq!(pool.longest_idle(), Some(peer(4)));
    }

    #[test]
    fn leaves_a_list_from_any_place() {
        let authority = authority("a.example");
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut pool = UpstreamPool::new(Keyed::new([1, 2]), 9, 9);
            let group = pool.join(direct(&authority));
            let ids = [7, 8, 9].map(|index| pool.set_idle(group, peer(index), 0, 0));
            let mut left = vec![9, 8, 7];
            for index in order {
                pool.set_busy(ids[index]);
                left.retain(|&other| other != index + 7);
                assert!(idle_for(&pool, &authority).eq(left.iter().map(|&index| peer(index))), "{order:?}");
                assert_eq!(pool.longest_idle(), left.last().map(|&index| peer(index)), "{order:?}");
            }
            assert!(pool.entries.is_empty());
        }
    }

    #[test]
    fn forgets_a_group_with_its_last_connection() {
        let mut pool = UpstreamPool::new(Keyed::new([1, 2]), 3, 2);
        let a = authority("a.example");
        let group = pool.join(direct(&a));
        pool.set_http10(7, &a, true);
        pool.leave(group);
        assert!(pool.groups.is_empty() && pool.index.is_empty());
        assert!(pool.speaks_http10(7, &a), "what it speaks is remembered");
        pool.set_http10(7, &a, false);
        assert!(!pool.speaks_http10(7, &a));
    }

    #[test]
    fn rule_37_http_1_0_is_forgotten_after_a_minute() {
        let mut pool = UpstreamPool::new(Keyed::new([1, 2]), 3, 2);
        let (a, b) = (authority("a.example"), authority("b.example"));
        pool.set_http10(1000, &a, true);
        assert!(pool.speaks_http10(1000, &a) && pool.speaks_http10(60_999, &a));
        assert!(!pool.speaks_http10(61_000, &a) && !pool.speaks_http10(1000, &b));
        // Each such response restarts the time.
        pool.set_http10(50_000, &a, true);
        assert!(pool.speaks_http10(109_999, &a) && !pool.speaks_http10(110_000, &a));
        pool.set_http10(109_000, &a, false);
        assert!(!pool.speaks_http10(109_001, &a));
    }

    #[test]
    fn a_connection_that_was_judged_is_none_for_a_configured_hop() {
        let mut pool = UpstreamPool::new(Keyed::new([1, 2]), 9, 9);
        let authority = authority("a.example");
        let configured = Hop { configured: true, ..direct(&authority) };
        let group = pool.join(direct(&authority));
        pool.set_idle(group, peer(1), 0, 0);
        assert!(pool.group(configured).is_none());
        assert_ne!(pool.join(configured), group);
        assert_eq!(pool.group(configured).map(|group| pool.idle_in(group).count()), Some(0));
        assert_eq!(idle_for(&pool, &authority).count(), 1);
    }
}
