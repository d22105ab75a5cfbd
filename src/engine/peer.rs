//! Who is connected: the slab entries.

use crate::engine::cache::fill::FillId;
use crate::engine::upstream::pool::{GroupId, IdleId};
use crate::http::head::Scanner;
use crate::net::Linear;
use slab::Slab;
use std::net::{IpAddr, SocketAddr};

/// A connection: its index in the slab, and the token under which the shell knows its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(u32);

impl PeerId {
    /// The slab index.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// From a slab index.
    pub fn from_index(index: usize) -> PeerId {
        PeerId(index as u32)
    }
}

/// Index of a transaction in its slab, with the serial number that tells it from earlier ones at the same index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct TransactionId {
    pub index: u32,
    pub serial: u32,
}

/// Index of a tunnel in its slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct TunnelId(pub u32);

/// Index of what is being read from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct ReadingId(pub u32);

/// One slab entry.
#[derive(Debug)]
pub(in crate::engine) struct Peer {
    pub address: Address,
    /// On the run queue.
    pub queued: bool,
    pub parking: Parking,
    /// It has carried a transaction.
    pub used: bool,
    /// There is no socket: the request is weir's own.
    pub background: bool,
    pub role: Role,
}

/// There is one for each client, and one more for each tunnel, most of them idle: what a client needs only from time to time
/// is in its [`Reading`] or its transaction.
const _: () = assert!(size_of::<Peer>() <= 40);

/// The other end, in less space than a `SocketAddr`: without what IPv6 has beside address and port, of which nobody here
/// makes use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Address {
    pub ip: IpAddr,
    pub port: u16,
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address { ip: address.ip(), port: address.port() }
    }
}

impl From<Address> for SocketAddr {
    fn from(Address { ip, port }: Address) -> SocketAddr {
        SocketAddr::new(ip, port)
    }
}

/// Whether a peer waits for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Parking {
    No,
    /// In one of the queues.
    Queued,
    /// There is memory for it, and its turn is to come.
    Woken,
}

impl Peer {
    pub fn new(address: SocketAddr, role: Role) -> Peer {
        let address = address.into();
        Peer { address, queued: false, parking: Parking::No, used: false, background: false, role }
    }
}

/// Which side of the proxy.
#[derive(Debug)]
pub(in crate::engine) enum Role {
    /// Somebody opened it to weir.
    Client(Client),
    /// weir opened it.
    Origin(Origin),
}

/// Where a client connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Client {
    /// Between requests: nothing of the next one was received.
    Idle,
    /// In the middle of a head, or about to receive its first bytes.
    Reading(ReadingId),
    /// One request is under way.
    Transaction(TransactionId),
    /// Bytes are passed in both directions.
    Tunnel(TunnelId),
    /// Everything was sent, our side is shut; what still comes is thrown away, within a bound (RFC 9112 section 9.6).
    Lingering { bytes: u32 },
}

impl Client {
    /// What is being read from it, from now on if it was idle.
    pub fn reading<'r>(&mut self, readings: &'r mut Slab<Reading>) -> &'r mut Reading {
        let id = match *self {
            Client::Reading(id) => id,
            Client::Idle | Client::Transaction(_) | Client::Tunnel(_) | Client::Lingering { .. } => {
                let id = ReadingId(readings.insert(Reading::default()) as u32);
                *self = Client::Reading(id);
                id
            }
        };
        &mut readings[id.0 as usize]
    }
}

/// The head of the next request, as far as it has come.
#[derive(Debug, Default)]
pub(in crate::engine) struct Reading {
    pub input: Linear,
    pub scanner: Scanner,
    /// When its first byte came, microseconds since the loop started.
    pub began_us: u64,
}

/// A connection that weir opened.
#[derive(Debug)]
pub(in crate::engine) struct Origin {
    /// Whom it was opened for: the connections to one authority.
    pub group: GroupId,
    pub state: OriginState,
}

/// Where an origin connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum OriginState {
    /// The handshake is under way, for this transaction.
    Connecting(TransactionId),
    /// Carries this transaction.
    Busy(TransactionId),
    /// One end of a tunnel.
    Tunnel(TunnelId),
    /// Brings a response that is being stored.
    Filling(FillId),
    /// Waits for the next transaction. Whatever it says now, nobody asked for.
    Idle(IdleId),
    /// Waits for the next transaction of this client: nobody else may use it.
    Pinned(PeerId),
}
