//! The table of connections: the machine that an event belongs to, the run queue, and the connections that wait for memory.
//!
//! A connection is a client connection or an upstream connection. Its role has its state and names the part of a machine that
//! owns it: the dispatcher routes events by the role. The machines set the roles of the connections that they own.

use super::listener::ListenerId;
use crate::engine::ids::{ConnectId, FillId, GroupId, IdleId};
use crate::engine::ids::{PeerId, ReadingId, TransactionId, TunnelId};
use crate::net::{Pool, Purpose};
use slab::Slab;
use std::collections::VecDeque;
use std::mem::{replace, take};
use std::net::{IpAddr, SocketAddr};

/// Ids of connections that wait no more, beside twice the number of connections, that a queue may keep (chosen).
const STALE_MAX: usize = 64;

/// One entry of the table.
#[derive(Debug)]
pub(in crate::engine) struct Peer {
    pub address: Address,
    /// Whether the connection is on the run queue.
    queued: bool,
    pub parking: Parking,
    pub past: Past,
    /// The listener of a client connection; without meaning for an upstream connection.
    pub listener: ListenerId,
    /// The generation of the slot in the table.
    generation: u8,
    pub role: Role,
}

/// Each client has one, and each tunnel one more, most of them idle: state that a client needs only from time to time is in
/// its [`Reading`](super::downstream::Reading) or its transaction.
const _: () = assert!(size_of::<Peer>() <= 40);

/// The address of the peer, smaller than a `SocketAddr`: without the other fields of IPv6, which are not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Address {
    pub ip: IpAddr,
    /// As bytes, without alignment, to keep the struct small.
    port: [u8; 2],
}

impl Address {
    pub fn port(self) -> u16 {
        u16::from_ne_bytes(self.port)
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address { ip: address.ip(), port: address.port().to_ne_bytes() }
    }
}

impl From<Address> for SocketAddr {
    fn from(address: Address) -> SocketAddr {
        SocketAddr::new(address.ip, address.port())
    }
}

/// The use of a connection so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Past {
    /// Unused, and a trusted proxy must first send the PROXY header with the client's address.
    Announced,
    /// Unused.
    New,
    /// The connection has carried a transaction.
    Used,
    /// Without a socket: the request is weir's own.
    Background,
}

/// Whether a connection waits for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Parking {
    No,
    /// In one of the queues.
    Queued,
    /// Memory is free, and the connection's turn follows.
    Woken,
}

/// The queues of connections that wait for memory, in the order in which they get it: work that ends comes before work that
/// begins.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) enum Parked {
    Downloads,
    Uploads,
    Heads,
    /// Heads of responses that fill their block. All need the same amount of heap.
    FullResponses,
    /// Heads of requests that fill their block, with bodies that stay behind them.
    FullRequests,
    /// Those that fill the heap that they have, and need different amounts. What they have bounds their number.
    GrowingResponses,
    GrowingRequests,
}

impl Parked {
    const ALL: [Parked; 7] = [
        Parked::Downloads,
        Parked::Uploads,
        Parked::Heads,
        Parked::GrowingResponses,
        Parked::GrowingRequests,
        Parked::FullResponses,
        Parked::FullRequests,
    ];
}

impl Peer {
    pub fn new(address: SocketAddr, role: Role) -> Peer {
        let address = address.into();
        Peer {
            address,
            queued: false,
            parking: Parking::No,
            past: Past::New,
            listener: ListenerId::default(),
            generation: 0,
            role,
        }
    }
}

/// The side of the proxy that a connection is on, and its state.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) enum Role {
    /// Opened by a client.
    Client(Client),
    /// Opened by weir: one of the connections to an authority.
    Upstream { group: GroupId, state: UpstreamState },
}

/// The state of a client connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Client {
    /// Between requests: no byte of the next one was received.
    Idle,
    /// Within a head, or about to receive its first bytes.
    Reading(ReadingId),
    /// A request is under way.
    Transaction(TransactionId),
    /// Bytes are passed in both directions.
    Tunnel(TunnelId),
    /// Everything was sent and weir's side is shut down; received bytes are dropped, within a bound (RFC 9112 section 9.6).
    Lingering { bytes: u32 },
}

/// The state of an upstream connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum UpstreamState {
    /// The TCP handshake is under way.
    Connecting(ConnectId),
    /// Carries this transaction.
    Busy(TransactionId),
    /// One side of a tunnel.
    Tunnel(TunnelId),
    /// Brings a response that is being stored.
    Filling(FillId),
    /// Waits for the next transaction. Bytes that the origin sends now are no response.
    Idle(IdleId),
    /// Waits for the next transaction of this client, and of no other.
    Pinned(PeerId),
}

impl UpstreamState {
    /// Whether the connection waits for a transaction.
    pub fn is_waiting(self) -> bool {
        match self {
            UpstreamState::Idle(_) | UpstreamState::Pinned(_) => true,
            UpstreamState::Connecting(_)
            | UpstreamState::Busy(_)
            | UpstreamState::Tunnel(_)
            | UpstreamState::Filling(_) => false,
        }
    }
}

/// The table and its queues.
#[derive(Debug, Default)]
pub(in crate::engine) struct Connections {
    peers: Slab<Peer>,
    /// The generation of each slot, counted up when a connection takes it.
    generations: Vec<u8>,
    runnable: VecDeque<PeerId>,
    /// The connection that the shell works for at the moment.
    turn: Option<PeerId>,
    parked: [VecDeque<PeerId>; Parked::ALL.len()],
    /// The total length of these queues: mostly 0, and read in every turn.
    parked_len: usize,
    /// Of the queues of those that grow, how many may still try since heap came back.
    tries: [usize; Parked::ALL.len()],
    /// Most connections at once since memory was last given back.
    lately: usize,
    /// Room in the table after that, and the connections then.
    shrunk: (usize, usize),
}

/// Connections for which the table is kept in any case (chosen: 100 KB or so).
const KEPT: usize = 1024;

impl Connections {
    pub fn insert(&mut self, mut peer: Peer) -> PeerId {
        let index = self.peers.vacant_key();
        if index >= self.generations.len() {
            self.generations.resize(index + 1, 0);
        }
        let generation = self.generations[index].wrapping_add(1);
        (self.generations[index], peer.generation) = (generation, generation);
        self.peers.insert(peer);
        self.lately = self.lately.max(self.peers.len());
        PeerId::new(index, generation)
    }

    pub fn get(&self, id: PeerId) -> Option<&Peer> {
        self.peers.get(id.index()).filter(|peer| peer.generation == id.generation())
    }

    pub fn get_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.peers.get_mut(id.index()).filter(|peer| peer.generation == id.generation())
    }

    pub fn remove(&mut self, id: PeerId) -> Option<Peer> {
        self.get(id)?;
        self.peers.try_remove(id.index())
    }

    /// The connection that has a place in the table.
    pub fn at(&self, index: usize) -> Option<PeerId> {
        Some(PeerId::new(index, self.peers.get(index)?.generation))
    }

    pub fn len(&self) -> usize {
        self.peers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// All connections.
    pub fn iter(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.peers.iter().map(|(index, peer)| (PeerId::new(index, peer.generation), peer))
    }

    /// The address of the other end.
    pub fn address(&self, id: PeerId) -> Option<SocketAddr> {
        Some(self.get(id)?.address.into())
    }

    /// The state of a client connection.
    pub fn client(&self, id: PeerId) -> Option<Client> {
        match self.get(id)?.role {
            Role::Client(client) => Some(client),
            Role::Upstream { .. } => None,
        }
    }

    pub fn client_mut(&mut self, id: PeerId) -> Option<&mut Client> {
        match &mut self.get_mut(id)?.role {
            Role::Client(client) => Some(client),
            Role::Upstream { .. } => None,
        }
    }

    pub fn set_client(&mut self, id: PeerId, state: Client) {
        if let Some(client) = self.client_mut(id) {
            *client = state;
        }
    }

    /// An upstream connection: its group and its state.
    pub fn upstream(&self, id: PeerId) -> Option<(GroupId, UpstreamState)> {
        match self.get(id)?.role {
            Role::Upstream { group, state } => Some((group, state)),
            Role::Client(_) => None,
        }
    }

    pub fn set_upstream(&mut self, id: PeerId, to: UpstreamState) {
        if let Some(Role::Upstream { state, .. }) = self.get_mut(id).map(|peer| &mut peer.role) {
            *state = to;
        }
    }

    /// The next connection that may be able to read or write.
    pub fn next_runnable(&mut self, pool: &Pool) -> Option<PeerId> {
        self.unpark_next(pool);
        while let Some(id) = self.runnable.pop_front() {
            // The id of a closed connection must not match the connection in its slot now.
            if let Some(peer) = self.get_mut(id) {
                peer.queued = false;
                return Some(id);
            }
        }
        None
    }

    /// Whether a connection is on the run queue, or waits for memory that may be free now.
    pub fn has_runnable(&self, pool: &Pool) -> bool {
        let unparks = || Parked::ALL.into_iter().any(|queue| self.would_unpark(pool, queue));
        !self.runnable.is_empty() || (self.parked_len > 0 && unparks())
    }

    /// The shell reads and writes for this connection until neither is possible: meanwhile the connection need not be woken.
    pub fn set_turn(&mut self, turn: Option<PeerId>) {
        self.turn = turn;
    }

    /// Puts a connection on the run queue, once.
    pub fn wake(&mut self, id: PeerId) {
        if self.turn == Some(id) {
            return;
        }
        if let Some(peer) = self.get_mut(id) {
            if !peer.queued {
                peer.queued = true;
                self.runnable.push_back(id);
            }
        }
    }

    /// Queues a connection for memory.
    pub fn park(&mut self, id: PeerId, queue: Parked) {
        if self.parked[queue as usize].len() > 2 * self.peers.len() + STALE_MAX {
            self.drop_stale(queue);
        }
        let Some(peer) = self.get_mut(id) else { return };
        if replace(&mut peer.parking, Parking::Queued) != Parking::Queued {
            self.parked[queue as usize].push_back(id);
            self.parked_len += 1;
        }
    }

    /// Drops the ids of connections that are closed or wait no more, and repeated ones, so that a queue without turns stays as long
    /// as the table of connections at most.
    fn drop_stale(&mut self, queue: Parked) {
        let mut ids = take(&mut self.parked[queue as usize]);
        self.parked_len -= ids.len();
        // The first id of a connection takes the mark away, so that repeated ones go.
        ids.retain(|id| {
            let peer = self.get_mut(*id).filter(|peer| peer.parking == Parking::Queued);
            peer.map(|peer| peer.parking = Parking::No).is_some()
        });
        for id in &ids {
            self.get_mut(*id).into_iter().for_each(|peer| peer.parking = Parking::Queued);
        }
        self.parked_len += ids.len();
        let tries = &mut self.tries[queue as usize];
        *tries = ids.len().min(*tries);
        self.parked[queue as usize] = ids;
    }

    /// Heap was returned: all that grow may try once.
    pub fn retry_heap(&mut self) {
        for queue in [Parked::GrowingResponses, Parked::GrowingRequests] {
            self.tries[queue as usize] = self.parked[queue as usize].len();
        }
    }

    /// Whether a connection waits for memory.
    pub fn is_parked(&self, id: PeerId) -> bool {
        self.get(id).is_some_and(|peer| peer.parking != Parking::No)
    }

    /// The connection has the memory that it waited for.
    pub fn unpark(&mut self, id: PeerId) {
        if let Some(peer) = self.get_mut(id) {
            peer.parking = Parking::No;
        }
    }

    /// Wakes the first connection of each queue for which memory may be free. Called with every turn: a woken connection takes
    /// the memory or leaves it to the next one, which is woken in a later turn.
    #[inline]
    pub fn unpark_next(&mut self, pool: &Pool) {
        if self.parked_len > 0 {
            self.unpark_first(pool);
        }
    }

    fn unpark_first(&mut self, pool: &Pool) {
        for queue in Parked::ALL {
            if self.would_unpark(pool, queue) {
                self.wake_parked(queue);
            }
        }
    }

    fn would_unpark(&self, pool: &Pool, queue: Parked) -> bool {
        if self.parked[queue as usize].is_empty() {
            return false;
        }
        match queue {
            Parked::Downloads => pool.would_lend(Purpose::Download),
            Parked::Uploads => pool.would_lend(Purpose::Upload),
            Parked::Heads => pool.would_lend(Purpose::Head),
            Parked::FullResponses => pool.would_spill(Purpose::Download),
            Parked::FullRequests => pool.would_spill(Purpose::Head),
            Parked::GrowingResponses | Parked::GrowingRequests => self.tries[queue as usize] > 0,
        }
    }

    fn wake_parked(&mut self, queue: Parked) {
        while let Some(id) = self.parked[queue as usize].pop_front() {
            self.parked_len -= 1;
            let tries = &mut self.tries[queue as usize];
            *tries = tries.saturating_sub(1);
            // A connection that is closed, or got its memory in another way, must not take the turn of one that still waits.
            if let Some(peer) = self.get_mut(id).filter(|peer| peer.parking == Parking::Queued) {
                peer.parking = Parking::Woken;
                self.wake(id);
                return;
            }
        }
    }

    /// Whether most of the table is empty. A connection at its end may keep it so: then the answer is no until the table has
    /// grown, or half of the remaining connections are closed.
    pub fn is_wide(&self) -> bool {
        let (capacity, left) = self.shrunk;
        let (now, peers) = (self.peers.capacity(), self.peers.len());
        now > 2 * KEPT && now > 4 * peers && (now != capacity || 2 * peers < left)
    }

    /// Whether the table has been wider than necessary since the last call.
    pub fn was_wide(&mut self) -> bool {
        let lately = replace(&mut self.lately, self.peers.len());
        self.is_wide() && self.peers.capacity() > 2 * lately
    }

    /// Releases unused memory.
    pub fn shrink(&mut self) {
        self.peers.shrink_to_fit();
        self.shrunk = (self.peers.capacity(), self.peers.len());
        self.parked.iter_mut().for_each(VecDeque::shrink_to_fit);
        self.runnable.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory stays bounded while no connection gets a turn: neither those that close nor those that queue again leave their ids.
    #[test]
    fn a_queue_without_turns_stays_short() {
        let mut connections = Connections::default();
        let peer = || Peer::new("192.0.2.1:1".parse().unwrap(), Role::Client(Client::Idle));
        let first = connections.insert(peer());
        let last = connections.insert(peer());
        connections.park(first, Parked::Heads);
        for _ in 0..1000 {
            let other = connections.insert(peer());
            connections.park(other, Parked::Heads);
            connections.remove(other);
            connections.unpark(last);
            connections.park(last, Parked::Heads);
            assert!(connections.parked_len <= 2 * 3 + STALE_MAX + 1, "{}", connections.parked_len);
        }
        // No connection loses its turn or its place.
        for expected in [first, last] {
            connections.wake_parked(Parked::Heads);
            assert_eq!(connections.runnable.pop_front(), Some(expected));
        }
    }
}
