//! Who is connected: the slab entries.

use super::fetch::FetchId;
use super::origin::{GroupId, IdleId};
use crate::buffer::Linear;
use crate::http::head::Scanner;
use std::net::SocketAddr;

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

/// Index of an exchange in its slab, with the serial number that tells it from earlier ones at the same index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ExchangeId {
    pub index: u32,
    pub serial: u32,
}

/// Index of a tunnel in its slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TunnelId(pub u32);

/// One slab entry.
#[derive(Debug)]
pub(super) struct Peer {
    /// On the run queue.
    pub queued: bool,
    pub parking: Parking,
    pub role: Role,
}

/// Whether a peer waits for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parking {
    No,
    /// In one of the queues.
    Queued,
    /// There is memory for it, and its turn is to come.
    Woken,
}

impl Peer {
    pub fn new(role: Role) -> Peer {
        Peer { queued: false, parking: Parking::No, role }
    }
}

/// Which side of the proxy.
#[derive(Debug)]
pub(super) enum Role {
    Client(Client),
    Origin(Origin),
}

/// A connection that somebody opened to weir.
#[derive(Debug)]
pub(super) struct Client {
    pub address: SocketAddr,
    /// What was received and is not yet part of a body: the head of the request under way, and what came after it.
    pub input: Linear,
    /// Requests begun on this connection.
    pub requests: u32,
    /// When the first byte of the head under way came, microseconds since the loop started.
    pub began_us: u64,
    /// There is no socket: the request is weir's own.
    pub background: bool,
    pub state: ClientState,
}

/// Where a client connection stands.
#[derive(Debug)]
pub(super) enum ClientState {
    /// Between requests, or in the middle of a head. An idle one holds no memory.
    Reading(Scanner),
    /// One request is under way.
    Exchange(ExchangeId),
    /// Bytes are passed in both directions.
    Tunnel(TunnelId),
    /// Everything was sent, our side is shut; what still comes is thrown away, within a bound (RFC 9112 section 9.6).
    Lingering { bytes: u32 },
}

/// A connection that weir opened.
#[derive(Debug)]
pub(super) struct Origin {
    pub address: SocketAddr,
    /// Whom it was opened for: the connections to one authority.
    pub group: GroupId,
    /// Exchanges begun on this connection.
    pub exchanges: u32,
    pub state: OriginState,
}

/// Where an origin connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OriginState {
    /// The handshake is under way, for this exchange.
    Connecting(ExchangeId),
    /// Carries this exchange.
    Busy(ExchangeId),
    /// One end of a tunnel.
    Tunnel(TunnelId),
    /// Brings a response that is being stored.
    Fetching(FetchId),
    /// Waits for the next exchange. Whatever it says now, nobody asked for.
    Idle(IdleId),
}
