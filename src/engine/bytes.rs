//! Bytes across the seam: space to read into, and bytes to send.

use super::Splice;
use super::body::outgoing::{Outgoing, SLICES_MAX};
use super::cache::fill::Fill;
use super::connections::{Client, Parked, Role, UpstreamState};
use super::context::Context;
use super::dispatch::Machines;
use crate::engine::ids::{PeerId, TransactionId};
use crate::net::{BLOCK_BYTES, Linear, Purpose, Space};

impl Machines {
    /// Whether the connection could use bytes from its socket now. Computed, never stored.
    pub fn wants_read(&self, cx: &Context, id: PeerId) -> bool {
        cx.connections.get(id).is_some_and(|peer| self.wants_read_in(peer.role))
    }

    fn wants_read_in(&self, role: Role) -> bool {
        let transaction = |id: TransactionId| &self.transactions.slab[id.index as usize];
        match role {
            Role::Client(client) => match client {
                Client::Idle | Client::Reading(_) | Client::Lingering { .. } => true,
                Client::Transaction(id) => transaction(id).wants_upload(),
                Client::Tunnel(tunnel) => self.tunnels.wants_upload(tunnel),
            },
            Role::Upstream { state, .. } => match state {
                UpstreamState::Connecting(_) => false,
                UpstreamState::Idle(_) | UpstreamState::Pinned(_) => true,
                UpstreamState::Busy(id) => transaction(id).wants_download(),
                UpstreamState::Tunnel(tunnel) => self.tunnels.wants_download(tunnel),
                UpstreamState::Filling(fill) => {
                    fill.get(&self.services.fills.slab).is_some_and(|fill| fill.wants_bytes())
                }
            },
        }
    }

    /// Whether the engine still reads from the connection after it has failed: bytes may have arrived before.
    pub fn reads_on(&self, cx: &Context, id: PeerId) -> bool {
        match cx.connections.get(id).map(|peer| peer.role) {
            Some(Role::Client(Client::Tunnel(tunnel))) => self.tunnels.reads_client_on(tunnel),
            Some(Role::Upstream { state, .. }) => match state {
                UpstreamState::Busy(id) => self.transactions.slab[id.index as usize].awaits_response(),
                UpstreamState::Tunnel(tunnel) => self.tunnels.reads_upstream_on(tunnel),
                UpstreamState::Filling(fill) => {
                    fill.get(&self.services.fills.slab).is_some_and(Fill::is_receiving)
                }
                UpstreamState::Connecting(_) | UpstreamState::Idle(_) | UpstreamState::Pinned(_) => false,
            },
            Some(Role::Client(_)) | None => false,
        }
    }

    /// Whether the connection has bytes to send.
    pub fn wants_write(&self, cx: &Context, id: PeerId) -> bool {
        let Some(peer) = cx.connections.get(id) else { return false };
        let transaction = |id: TransactionId| &self.transactions.slab[id.index as usize];
        match peer.role {
            Role::Client(client) => match client {
                Client::Idle | Client::Reading(_) | Client::Lingering { .. } => false,
                Client::Transaction(id) => transaction(id).wants_send(&self.services.fills.slab),
                Client::Tunnel(tunnel) => self.tunnels.wants_send_down(tunnel),
            },
            Role::Upstream { state, .. } => match state {
                UpstreamState::Connecting(_)
                | UpstreamState::Idle(_)
                | UpstreamState::Pinned(_)
                | UpstreamState::Filling(_) => false,
                UpstreamState::Busy(id) => transaction(id).up.wants_send(),
                UpstreamState::Tunnel(tunnel) => self.tunnels.wants_send_up(tunnel),
            },
        }
    }

    /// Space for the connection's next bytes. `None` if it wants none, or has to wait for a block: then it is parked, and put
    /// on the run queue when a block is free.
    pub fn space<'a>(&'a mut self, cx: &'a mut Context, id: PeerId) -> Option<Space<'a>> {
        let mut role = cx.connections.get(id)?.role;
        if !self.wants_read_in(role) {
            return None;
        }
        let Machines { downstream, transactions, tunnels, services } = self;
        if let Role::Client(Client::Idle) = role {
            downstream.reading(cx, id);
            role = cx.connections.get(id)?.role;
        }
        let Context { pool, connections, discard_buffer, settings, .. } = cx;
        let (space, queue) = match role {
            Role::Client(client) => match client {
                Client::Idle | Client::Lingering { .. } => return Some(Space::one(discard_buffer)),
                Client::Reading(reading) => {
                    let input = &mut downstream.readings[reading.0 as usize].input;
                    let queue = request_queue(input);
                    let bytes_max = settings.head.head_bytes_max + BLOCK_BYTES;
                    let space = input.space(pool, Purpose::Head, bytes_max);
                    (space.map(Space::one), queue)
                }
                Client::Transaction(id) => {
                    let transaction = &mut transactions.slab[id.index as usize];
                    // A body that stays behind its head grows as a head does.
                    let queue = match transaction.keeps_input() {
                        true => request_queue(&transaction.input),
                        false => Parked::Uploads,
                    };
                    (transaction.upload_space(pool), queue)
                }
                Client::Tunnel(tunnel) => (tunnels.upload_space(pool, tunnel), Parked::Uploads),
            },
            Role::Upstream { state, .. } => match state {
                UpstreamState::Connecting(_) | UpstreamState::Idle(_) | UpstreamState::Pinned(_) => {
                    return Some(Space::one(discard_buffer));
                }
                UpstreamState::Busy(id) => {
                    let transaction = &mut transactions.slab[id.index as usize];
                    let queue = match &transaction.response {
                        response if response.is_empty() => Parked::Downloads,
                        response if response.is_spilled() => Parked::GrowingResponses,
                        _ => Parked::FullResponses,
                    };
                    (transaction.download_space(pool, discard_buffer), queue)
                }
                UpstreamState::Tunnel(tunnel) => (tunnels.download_space(pool, tunnel), Parked::Downloads),
                UpstreamState::Filling(fill) => {
                    let fill = fill.get_mut(&mut services.fills.slab);
                    return fill.map(|fill| Space::one(fill.stream.space()));
                }
            },
        };
        match space {
            Some(_) => connections.unpark(id),
            None => connections.park(id, queue),
        }
        space
    }

    /// Whether the connection's next bytes may go to another connection's socket inside the kernel: they are many, and no
    /// machine needs to read them. Takes the place of lending space; the shell may use the space nevertheless.
    pub fn splice_allowed(&self, cx: &Context, id: PeerId) -> Option<Splice> {
        if !cx.settings.splices {
            return None;
        }
        let transaction = |id: TransactionId| &self.transactions.slab[id.index as usize];
        let (to, bytes_max) = match cx.connections.get(id)?.role {
            Role::Client(client) => match client {
                Client::Idle | Client::Reading(_) | Client::Lingering { .. } => return None,
                Client::Transaction(id) => {
                    let transaction = transaction(id);
                    if !transaction.wants_upload() || transaction.keeps_input() {
                        return None;
                    }
                    (transaction.upstream?, transaction.up.splice_allowed()?)
                }
                Client::Tunnel(tunnel) => self.tunnels.splice_up(tunnel)?,
            },
            Role::Upstream { state, .. } => match state {
                UpstreamState::Connecting(_)
                | UpstreamState::Idle(_)
                | UpstreamState::Pinned(_)
                | UpstreamState::Filling(_) => return None,
                UpstreamState::Busy(id) => {
                    let transaction = transaction(id);
                    if !transaction.wants_download() {
                        return None;
                    }
                    (transaction.client, transaction.down.splice_allowed()?)
                }
                UpstreamState::Tunnel(tunnel) => self.tunnels.splice_down(tunnel)?,
            },
        };
        Some(Splice { to, bytes_max })
    }

    /// Takes unused space back: the socket had nothing after all. A connection that waits holds no block.
    pub fn return_space(&mut self, cx: &mut Context, id: PeerId) {
        let Some(peer) = cx.connections.get(id) else { return };
        match peer.role {
            Role::Client(client) => match client {
                Client::Reading(reading) => self.downstream.return_space(cx, id, reading),
                Client::Idle | Client::Lingering { .. } => {}
                Client::Transaction(id) => {
                    self.transactions.slab[id.index as usize].up.release_unused(&mut cx.pool);
                }
                Client::Tunnel(tunnel) => self.tunnels.return_upload_space(&mut cx.pool, tunnel),
            },
            Role::Upstream { state, .. } => match state {
                UpstreamState::Connecting(_)
                | UpstreamState::Idle(_)
                | UpstreamState::Pinned(_)
                | UpstreamState::Filling(_) => {}
                UpstreamState::Busy(id) => {
                    self.transactions.slab[id.index as usize].return_download_space(&mut cx.pool);
                }
                UpstreamState::Tunnel(tunnel) => self.tunnels.return_download_space(&mut cx.pool, tunnel),
            },
        }
        cx.share_returned_memory();
    }

    /// The bytes to send to the connection next: slices for one vectored write, some of them empty. All are empty, although
    /// the connection wants to write, while its next bytes are in the kernel. Bytes that are not reported as sent are offered
    /// again, and first.
    pub fn outgoing<'a>(&'a mut self, cx: &'a mut Context, id: PeerId) -> Outgoing<'a> {
        let Machines { transactions, tunnels, services, .. } = self;
        let Context { pool, connections, settings, .. } = cx;
        let Some(peer) = connections.get(id) else { return Outgoing::nothing() };
        match peer.role {
            Role::Client(client) => match client {
                Client::Idle | Client::Reading(_) | Client::Lingering { .. } => Outgoing::nothing(),
                Client::Transaction(id) => {
                    let transaction = &mut transactions.slab[id.index as usize];
                    let mut outgoing = transaction.outgoing(pool, &services.fills.slab);
                    if !settings.splices {
                        (outgoing.mapped_from, outgoing.whole) = (SLICES_MAX, None);
                    }
                    outgoing
                }
                Client::Tunnel(tunnel) => tunnels.outgoing_down(pool, tunnel),
            },
            Role::Upstream { state, .. } => match state {
                UpstreamState::Connecting(_)
                | UpstreamState::Idle(_)
                | UpstreamState::Pinned(_)
                | UpstreamState::Filling(_) => Outgoing::nothing(),
                UpstreamState::Busy(id) => transactions.slab[id.index as usize].up.outgoing(pool),
                UpstreamState::Tunnel(tunnel) => tunnels.outgoing_up(pool, tunnel),
            },
        }
    }

    /// Whether to check once more, before the first byte is sent, that the connection is alive: the request cannot be sent
    /// twice, and the connection is not fresh.
    pub fn looks_first(&self, cx: &Context, id: PeerId) -> bool {
        match cx.connections.upstream(id) {
            Some((_, UpstreamState::Busy(id))) => {
                let transaction = &self.transactions.slab[id.index as usize];
                transaction.repeat.looks_first && transaction.up.sent == 0
            }
            Some(_) | None => false,
        }
    }
}

/// Where a request waits for memory to read more of it into.
fn request_queue(input: &Linear) -> Parked {
    match input {
        input if input.is_empty() => Parked::Heads,
        input if input.is_spilled() => Parked::GrowingRequests,
        _ => Parked::FullRequests,
    }
}
