//! The client side of a connection: taken, read from, closed.

use crate::engine::Parked;
use crate::engine::body::outgoing::Outgoing;
use crate::engine::body::outgoing::SLICES_MAX;
use crate::engine::downstream::client_limits::Admission;
use crate::engine::downstream::unread::note_request_line;
use crate::engine::peer::{Client, OriginState, Parking, Peer, Reading, Role};
use crate::engine::settings::{LINGER_BYTES_MAX, LINGER_MS};
use crate::engine::transaction::Transaction;
use crate::engine::transaction::examine::STRANGER;
use crate::engine::transaction::refusal::Refusal;
use crate::engine::{Action, Engine, Event, PeerId, Splice};
use crate::http::framing::Body;
use crate::net::{BLOCK_BYTES, Purpose, Space};
use crate::time::Now;
use std::net::SocketAddr;

impl Engine {
    /// Whether the next connection can be taken. If not, it waits in the system's backlog.
    pub fn may_accept(&self) -> bool {
        self.drain_deadline_ms.is_none() && self.client_limits.has_room()
    }

    /// A client has connected. Coordination the limits it is told so and closed.
    pub fn accept(&mut self, now: Now, address: SocketAddr) -> PeerId {
        let client = Peer::new(address, Role::Client(Client::Idle));
        let id = PeerId::from_index(self.peers.insert(client));
        self.clients += 1;
        self.peers_lately = self.peers_lately.max(self.peers.len());
        self.metrics.accepted += 1;
        let admission = self.client_limits.enter(address.ip());
        self.metrics.limit_refusals += u64::from(!self.client_limits.has_room());
        match admission {
            Admission::TooMany => {
                self.refuse_connection(now, id, Refusal::TooManyConnections);
            }
            Admission::TooManyFromThere => {
                self.refuse_connection(now, id, Refusal::TooManyPerClient);
            }
            Admission::Welcome => {
                self.deadlines.set(id, now.monotonic_ms(), self.settings.timeouts.head_ms);
            }
        }
        self.finish(now);
        id
    }

    /// Whether the peer could use bytes from its socket now. Computed, never stored.
    pub fn wants_read(&self, id: PeerId) -> bool {
        let Some(peer) = self.peers.get(id.index()) else { return false };
        match &peer.role {
            Role::Client(client) => match *client {
                Client::Idle | Client::Reading(_) | Client::Lingering { .. } => true,
                Client::Transaction(transaction) => {
                    self.transactions[transaction.index as usize].wants_upload()
                }
                Client::Tunnel(tunnel) => self.tunnels[tunnel.0 as usize].up.wants_bytes(&self.relays),
            },
            Role::Origin(origin) => match origin.state {
                OriginState::Connecting(_) => false,
                OriginState::Idle(_) | OriginState::Pinned(_) => true,
                OriginState::Busy(transaction) => {
                    self.transactions[transaction.index as usize].wants_download()
                }
                OriginState::Tunnel(tunnel) => self.tunnels[tunnel.0 as usize].down.wants_bytes(&self.relays),
                OriginState::Filling(fill) => self.fill_wants_bytes(fill),
            },
        }
    }

    /// Whether there is anything to send to the peer.
    pub fn wants_write(&self, id: PeerId) -> bool {
        let Some(peer) = self.peers.get(id.index()) else { return false };
        match &peer.role {
            Role::Client(client) => match *client {
                Client::Idle | Client::Reading(_) | Client::Lingering { .. } => false,
                Client::Transaction(transaction) => {
                    self.transactions[transaction.index as usize].wants_send(&self.fills)
                }
                Client::Tunnel(tunnel) => self.tunnels[tunnel.0 as usize].down.wants_send(&self.relays),
            },
            Role::Origin(origin) => match origin.state {
                OriginState::Connecting(_)
                | OriginState::Idle(_)
                | OriginState::Pinned(_)
                | OriginState::Filling(_) => false,
                OriginState::Busy(transaction) => {
                    self.transactions[transaction.index as usize].up.wants_send()
                }
                OriginState::Tunnel(tunnel) => self.tunnels[tunnel.0 as usize].up.wants_send(&self.relays),
            },
        }
    }

    /// Where to read the peer's next bytes into. `None` if the peer wants none, or has to wait for a block: then it is
    /// parked, and put on the run queue when there is one.
    pub fn space(&mut self, id: PeerId) -> Option<Space<'_>> {
        if !self.wants_read(id) {
            return None;
        }
        let head_bytes_max = self.settings.head.head_bytes_max;
        let Engine {
            peers,
            readings,
            pool,
            transactions,
            tunnels,
            fills,
            relays,
            parked,
            discard_buffer,
            ..
        } = self;
        let peer = peers.get_mut(id.index())?;
        // Bytes that nobody asked for go to `discard_buffer`.
        let (space, queue) = match &mut peer.role {
            Role::Client(client) => match *client {
                Client::Idle | Client::Reading(_) => {
                    let input = &mut client.reading(readings).input;
                    let queue = if input.is_empty() { Parked::Heads } else { Parked::Heap };
                    let space = input.space(pool, Purpose::Head, head_bytes_max + BLOCK_BYTES);
                    (space.map(Space::one), queue)
                }
                Client::Lingering { .. } => return Some(Space::one(discard_buffer)),
                Client::Transaction(transaction) => {
                    (transactions[transaction.index as usize].upload_space(pool), Parked::Uploads)
                }
                Client::Tunnel(tunnel) => {
                    let half = &mut tunnels[tunnel.0 as usize].up;
                    (half.space(pool, relays, Purpose::Upload), Parked::Uploads)
                }
            },
            Role::Origin(origin) => match origin.state {
                OriginState::Connecting(_) | OriginState::Idle(_) | OriginState::Pinned(_) => {
                    return Some(Space::one(discard_buffer));
                }
                OriginState::Busy(transaction) => {
                    let transaction = &mut transactions[transaction.index as usize];
                    let queue =
                        if transaction.response.is_empty() { Parked::Downloads } else { Parked::Heap };
                    (transaction.download_space(pool, discard_buffer), queue)
                }
                OriginState::Tunnel(tunnel) => {
                    let half = &mut tunnels[tunnel.0 as usize].down;
                    (half.space(pool, relays, Purpose::Download), Parked::Downloads)
                }
                OriginState::Filling(fill) => {
                    return fill.get_mut(fills).map(|fill| Space::one(fill.stream.space()));
                }
            },
        };
        match (&space, peer.parking) {
            (Some(_), _) => peer.parking = Parking::No,
            (None, Parking::Queued) => {}
            (None, Parking::No | Parking::Woken) => {
                peer.parking = Parking::Queued;
                parked[queue as usize].push_back(id);
            }
        }
        space
    }

    /// Whether the peer's next bytes may go to another peer's socket without passing through here: they are many, and nobody
    /// needs to look at them. Instead of lending space; the shell may use that all the same.
    pub fn splice_allowed(&self, id: PeerId) -> Option<Splice> {
        if !self.settings.splices {
            return None;
        }
        let (to, bytes_max) = match &self.peers.get(id.index())?.role {
            Role::Client(client) => match *client {
                Client::Idle | Client::Reading(_) | Client::Lingering { .. } => return None,
                Client::Transaction(transaction) => {
                    let transaction = &self.transactions[transaction.index as usize];
                    if !transaction.wants_upload() || transaction.keeps_body() {
                        return None;
                    }
                    (transaction.origin?, transaction.up.splice_allowed()?)
                }
                Client::Tunnel(tunnel) => {
                    let tunnel = &self.tunnels[tunnel.0 as usize];
                    (tunnel.origin, tunnel.up.splice_allowed(&self.relays)?)
                }
            },
            Role::Origin(origin) => match origin.state {
                OriginState::Connecting(_)
                | OriginState::Idle(_)
                | OriginState::Pinned(_)
                | OriginState::Filling(_) => return None,
                OriginState::Busy(transaction) => {
                    let transaction = &self.transactions[transaction.index as usize];
                    if !transaction.wants_download() {
                        return None;
                    }
                    (transaction.client, transaction.down.splice_allowed()?)
                }
                OriginState::Tunnel(tunnel) => {
                    let tunnel = &self.tunnels[tunnel.0 as usize];
                    (tunnel.client, tunnel.down.splice_allowed(&self.relays)?)
                }
            },
        };
        Some(Splice { to, bytes_max })
    }

    /// Takes unused space back: the socket had nothing after all. Who waits holds no block.
    pub fn return_space(&mut self, id: PeerId) {
        let Engine { peers, readings, pool, transactions, tunnels, relays, .. } = self;
        let Some(peer) = peers.get_mut(id.index()) else { return };
        match &mut peer.role {
            Role::Client(client) => match *client {
                Client::Reading(reading) => {
                    if readings[reading.0 as usize].input.is_empty() {
                        readings.remove(reading.0 as usize).input.release(pool);
                        *client = Client::Idle;
                    }
                }
                Client::Idle | Client::Lingering { .. } => {}
                Client::Transaction(transaction) => {
                    transactions[transaction.index as usize].up.release_unused(pool)
                }
                Client::Tunnel(tunnel) => tunnels[tunnel.0 as usize].up.release_unused(pool, relays),
            },
            Role::Origin(origin) => match origin.state {
                OriginState::Connecting(_)
                | OriginState::Idle(_)
                | OriginState::Pinned(_)
                | OriginState::Filling(_) => {}
                OriginState::Busy(transaction) => {
                    transactions[transaction.index as usize].return_download_space(pool)
                }
                OriginState::Tunnel(tunnel) => tunnels[tunnel.0 as usize].down.release_unused(pool, relays),
            },
        }
        self.finish_memory();
    }

    /// What to send to the peer next: slices for one vectored write, some of them empty. All are, although the peer wants to
    /// write, while its next bytes are those that the shell has moved. What is not reported as sent is offered again, and first.
    pub fn to_send(&mut self, id: PeerId) -> Outgoing<'_> {
        let Engine { peers, pool, transactions, tunnels, relays, fills, settings, .. } = self;
        let Some(peer) = peers.get(id.index()) else { return Outgoing::nothing() };
        match &peer.role {
            Role::Client(client) => match *client {
                Client::Idle | Client::Reading(_) | Client::Lingering { .. } => Outgoing::nothing(),
                Client::Transaction(transaction) => {
                    let mut outgoing = transactions[transaction.index as usize].outgoing(pool, fills);
                    if !settings.splices {
                        (outgoing.mapped_from, outgoing.whole) = (SLICES_MAX, None);
                    }
                    outgoing
                }
                Client::Tunnel(tunnel) => tunnels[tunnel.0 as usize].down.outgoing(pool, relays),
            },
            Role::Origin(origin) => match origin.state {
                OriginState::Connecting(_)
                | OriginState::Idle(_)
                | OriginState::Pinned(_)
                | OriginState::Filling(_) => Outgoing::nothing(),
                OriginState::Busy(transaction) => transactions[transaction.index as usize].up.outgoing(pool),
                OriginState::Tunnel(tunnel) => tunnels[tunnel.0 as usize].up.outgoing(pool, relays),
            },
        }
    }

    pub(in crate::engine) fn handle_client(&mut self, now: Now, id: PeerId, event: Event) {
        match event {
            Event::Received(count) | Event::Spliced(count) => self.metrics.client_bytes_in += count as u64,
            Event::Sent(count) => self.metrics.client_bytes_out += count as u64,
            Event::Connected | Event::EndOfStream | Event::SendFailed(_) | Event::Failed(_) => {}
        }
        let Some(client) = self.client_mut(id) else { return };
        match client {
            Client::Transaction(transaction) => {
                let transaction = *transaction;
                self.handle_transaction_client(now, transaction, event);
            }
            Client::Tunnel(tunnel) => {
                let tunnel = *tunnel;
                self.handle_tunnel_client(now, tunnel, event);
            }
            Client::Idle | Client::Reading(_) => match event {
                Event::Received(count) => self.handle_head_bytes(now, id, count),
                Event::EndOfStream | Event::SendFailed(_) | Event::Failed(_) => self.close_client(id),
                Event::Connected | Event::Sent(_) | Event::Spliced(_) => {}
            },
            Client::Lingering { bytes } => match event {
                Event::Received(count) => {
                    *bytes = bytes.saturating_add(count as u32);
                    if *bytes > LINGER_BYTES_MAX {
                        self.metrics.limit_linger += 1;
                        self.close_client(id);
                    }
                }
                Event::EndOfStream | Event::SendFailed(_) | Event::Failed(_) => self.close_client(id),
                Event::Connected | Event::Sent(_) | Event::Spliced(_) => {}
            },
        }
    }

    fn handle_head_bytes(&mut self, now: Now, id: PeerId, count: usize) {
        let Engine { peers, readings, .. } = self;
        let Some(Peer { role: Role::Client(client), .. }) = peers.get_mut(id.index()) else { return };
        let reading = client.reading(readings);
        let begins = reading.input.is_empty();
        if begins {
            reading.began_us = now.monotonic_us;
        }
        reading.input.commit(count);
        self.advance_client(now, id);
        // Mostly the head is whole, and its transaction has a deadline of its own.
        if begins && matches!(self.client_mut(id), Some(Client::Reading(_))) {
            self.deadlines.set(id, now.monotonic_ms(), self.settings.timeouts.head_ms);
        }
    }

    /// Begins the next transaction if its head is there.
    pub(in crate::engine) fn advance_client(&mut self, now: Now, id: PeerId) {
        let limits = self.settings.head;
        let Engine { peers, readings, pool, .. } = self;
        let Some(Peer { role: Role::Client(Client::Reading(reading)), .. }) = peers.get(id.index()) else {
            return;
        };
        let Reading { input, scanner, .. } = &mut readings[reading.0 as usize];
        let bytes = input.bytes(pool);
        if bytes.is_empty() {
            return;
        }
        match scanner.scan_request(bytes, &limits) {
            Ok(None) => {}
            Ok(Some(head_bytes)) => self.begin(now, id, head_bytes),
            Err(fault) => {
                let head_bytes = bytes.len();
                self.refuse_unread(now, id, head_bytes, Refusal::Fault(fault));
            }
        }
    }

    /// Tells a client that has not asked for anything yet why it is not served.
    fn refuse_connection(&mut self, now: Now, id: PeerId, refusal: Refusal) {
        let transaction = self.begin_unknown(now, id, 0);
        self.refuse(now, transaction, refusal);
    }

    pub(in crate::engine) fn handle_reading_deadline(&mut self, now: Now, id: PeerId) {
        let Some(Peer { role: Role::Client(client), parking, used, .. }) = self.peers.get(id.index()) else {
            return;
        };
        let head_bytes = match client {
            Client::Reading(reading) => self.readings[reading.0 as usize].input.len(),
            Client::Idle | Client::Transaction(_) | Client::Tunnel(_) | Client::Lingering { .. } => 0,
        };
        let refusal = match (head_bytes, parking) {
            // Its request is there, but there was no block to read it into.
            (_, Parking::Queued | Parking::Woken) => {
                self.metrics.timeouts_block += 1;
                Refusal::NoMemory
            }
            (0, Parking::No) => {
                self.metrics.timeouts_idle += u64::from(*used);
                self.metrics.timeouts_unused += u64::from(!*used);
                self.close_client(id);
                return;
            }
            (_, Parking::No) => Refusal::HeadTimeout,
        };
        self.refuse_unread(now, id, head_bytes, refusal);
    }

    /// Refuses what never became a request. One who may not ask is told that, as for every request (rule 46).
    fn refuse_unread(&mut self, now: Now, id: PeerId, head_bytes: usize, refusal: Refusal) {
        let admitted = self.address(id).is_none_or(|address| self.policy.acl.allows_client(address.ip()));
        let transaction = self.begin_unknown(now, id, head_bytes);
        let Engine { transactions, pool, .. } = self;
        let Transaction { input, info, record, .. } = &mut *transactions[transaction.index as usize];
        note_request_line(input.bytes(pool), info, record);
        self.refuse(now, transaction, if admitted { refusal } else { STRANGER });
    }

    /// The transaction is over: read the next head, or close.
    pub(in crate::engine) fn continue_client(&mut self, now: Now, transaction: &mut Transaction) {
        let (idle_ms, head_ms) = (self.settings.timeouts.idle_ms, self.settings.timeouts.head_ms);
        let draining = self.is_draining();
        let Engine { peers, readings, pool, deadlines, pipelined, .. } = self;
        let Transaction { client: id, ref info, ref mut input, consumed, closes, .. } = *transaction;
        let Some(Peer { role: Role::Client(client), .. }) = peers.get_mut(id.index()) else { return };
        input.consume(pool, consumed.min(input.len()));
        let pending = !input.is_empty();
        if closes || draining {
            input.release(pool);
            // Who asked for the close and sent no body has said everything; anybody else may still be talking, be it
            // only the CRLF that old clients put behind a body (RFC 9112 sections 2.2 and 9.6).
            let silent = !info.keep_alive && info.grant.is_some() && info.body == Body::None && !pending;
            if silent {
                self.close_client(id)
            } else {
                self.linger(now, id)
            }
            return;
        }
        *client = Client::Idle;
        if pending {
            let reading = client.reading(readings);
            (reading.input, reading.began_us) = (std::mem::take(input), now.monotonic_us);
            deadlines.set(id, now.monotonic_ms(), head_ms);
            pipelined.push_back(id);
        } else {
            deadlines.set(id, now.monotonic_ms(), idle_ms);
        }
        self.wake(id);
    }

    /// Says that nothing more will come and throws away what the client still sends, within a bound: a close with unread
    /// bytes would be a reset, which can destroy the answer on its way (RFC 9112 section 9.6).
    pub(in crate::engine) fn linger(&mut self, now: Now, id: PeerId) {
        self.end_bond(id);
        let Engine { peers, deadlines, actions, .. } = self;
        let Some(Peer { role: Role::Client(client), background, .. }) = peers.get_mut(id.index()) else {
            return;
        };
        if *background {
            self.close_client(id);
            return;
        }
        debug_assert!(!matches!(client, Client::Reading(_)));
        *client = Client::Lingering { bytes: 0 };
        deadlines.set(id, now.monotonic_ms(), LINGER_MS);
        actions.push_back(Action::ShutdownWrite(id));
        self.wake(id);
    }

    /// Forgets a client whose transaction or tunnel is over.
    pub(in crate::engine) fn close_client(&mut self, id: PeerId) {
        if self.remove_client(id) {
            self.actions.push_back(Action::Close(id));
        }
    }

    /// The same, so that the client cannot take the close for an end.
    pub(in crate::engine) fn reset_client(&mut self, id: PeerId) {
        if self.remove_client(id) {
            self.actions.push_back(Action::Reset(id));
        }
    }

    fn remove_client(&mut self, id: PeerId) -> bool {
        let Engine { peers, readings, pool, deadlines, .. } = self;
        let Some(Peer { role: Role::Client(client), address, background, .. }) = peers.get(id.index()) else {
            return false;
        };
        if let Client::Reading(reading) = client {
            readings.remove(reading.0 as usize).input.release(pool);
        }
        let (address, background) = (*address, *background);
        peers.remove(id.index());
        deadlines.clear(id);
        self.end_bond(id);
        let Engine { client_limits, capacity_freed, .. } = self;
        if background {
            self.refreshes -= 1;
            return false;
        }
        *capacity_freed |= client_limits.leave(address.ip);
        self.clients -= 1;
        debug_assert!(
            self.readings.len() <= self.clients,
            "one for each client, and none for those who are gone"
        );
        true
    }
}
