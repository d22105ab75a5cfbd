//! Client connections: accepting, reading, closing, and the limits on them.
//!
//! # Theory of operation
//!
//! A client connection is `Idle` until the first bytes of a head arrive, then `Reading` until the head is complete. An effect
//! then begins a transaction, which owns the connection until [`Downstream::take_back`] takes it back: `Idle` again, `Reading` if
//! the next request has arrived already, or `Lingering` if the connection is to end but the client may still be sending.
//! CONNECT and upgrades turn a transaction into a tunnel, which owns the connection to its end.

pub(in crate::engine) mod client_limits;
pub(in crate::engine) mod guesses;
pub(in crate::engine) mod minimum_rate;
pub(in crate::engine) mod unread;

use crate::engine::cache::refresh::Background;
use crate::engine::callback::ConnectionVerdict;
use crate::engine::connections::{Client, Parking, Past, Peer, Role};
use crate::engine::context::Context;
use crate::engine::effect::Effect;
use crate::engine::ids::{PeerId, ReadingId};
use crate::engine::listener::ListenerId;
use crate::engine::settings::{LINGER_BYTES_MAX, LINGER_MS, Settings};
use crate::engine::transaction::refusal::Refusal;
use crate::engine::{Action, Event};
use crate::guard::proxy_header::{self, ProxyHeader};
use crate::http::head::{Message, Scanner};
use crate::net::Linear;
use client_limits::{Admission, ClientLimits};
use slab::Slab;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The incomplete head of the next request.
#[derive(Debug, Default)]
pub(in crate::engine) struct Reading {
    pub input: Linear,
    pub scanner: Scanner,
    /// When its first byte arrived, in microseconds since the loop started.
    pub began_us: u64,
}

/// The client connections of one loop, between requests.
pub(in crate::engine) struct Downstream {
    /// Incomplete heads.
    pub readings: Slab<Reading>,
    /// The head that was received last, and from which client: the transaction that begins with it need not read it again.
    head: Message,
    head_of: Option<PeerId>,
    /// Clients of this loop.
    pub clients: usize,
    /// Clients without a socket: requests of weir's own.
    pub background: Background,
    /// The limits on the clients of all loops.
    pub limits: Arc<ClientLimits>,
    /// A client has closed, and there was no room before.
    pub capacity_freed: bool,
    /// Clients whose next request has arrived already.
    pub pipelined: VecDeque<PeerId>,
}

impl Downstream {
    pub fn new(limits: Arc<ClientLimits>) -> Downstream {
        Downstream {
            readings: Slab::new(),
            head: Message::new(),
            head_of: None,
            clients: 0,
            background: Background::default(),
            limits,
            capacity_freed: false,
            pipelined: VecDeque::new(),
        }
    }

    /// Accepts a client. Beyond the limits it gets a refusal.
    pub fn accept(&mut self, cx: &mut Context, listener: ListenerId, address: SocketAddr) -> PeerId {
        let mut client = Peer::new(address, Role::Client(Client::Idle));
        client.listener = listener;
        let id = cx.connections.insert(client);
        self.clients += 1;
        cx.metrics.accepted += 1;
        let admission = self.limits.enter(counted(&cx.settings, address.ip()));
        cx.metrics.limit_refusals += u64::from(!self.limits.has_room());
        let refusal = match admission {
            Admission::Welcome => {
                cx.set_timer(id, cx.settings.timeouts.head_ms);
                self.await_proxy_header(cx, id);
                if let Some(refused) = self.ask_host(cx, id, address) {
                    cx.send(refused);
                }
                return id;
            }
            Admission::TooMany => Refusal::TooManyConnections,
            Admission::TooManyFromThere => Refusal::TooManyPerClient,
        };
        cx.send(Effect::RefuseConnection { client: id, refusal });
        id
    }

    /// The refusal of the host program, if it refuses a connection whose client is known.
    fn ask_host(&self, cx: &Context, id: PeerId, address: SocketAddr) -> Option<Effect> {
        let callback = cx.callbacks.connection.as_deref()?;
        if cx.connections.get(id).is_some_and(|peer| peer.past == Past::Announced) {
            return None;
        }
        match callback(address) {
            ConnectionVerdict::Allow => None,
            ConnectionVerdict::Refuse { status, reason } => {
                Some(Effect::RefuseCaller { client: id, status, reason: reason.into() })
            }
        }
    }

    /// Waits for the PROXY header of a trusted proxy, if the listener accepts one.
    fn await_proxy_header(&self, cx: &mut Context, id: PeerId) {
        let Some(peer) = cx.connections.get_mut(id) else { return };
        let takes = cx.settings.listener(peer.listener).is_some_and(|listener| listener.proxy_protocol);
        let guard = cx.settings.guard.as_ref().filter(|_| takes);
        if guard.is_some_and(|guard| guard.trusts(peer.address.ip)) {
            peer.past = Past::Announced;
        }
    }

    /// A client without a socket, for a request of weir's own: the response with that key is fetched.
    pub fn begin_background(
        &mut self,
        cx: &mut Context,
        listener: ListenerId,
        address: SocketAddr,
        key: &[u8],
    ) -> PeerId {
        let mut client = Peer::new(address, Role::Client(Client::Idle));
        (client.past, client.listener) = (Past::Background, listener);
        let client = cx.connections.insert(client);
        self.background.begin(client, key);
        client
    }

    /// The head that is being read from a client; reading begins if the client was idle.
    pub fn reading(&mut self, cx: &mut Context, id: PeerId) -> Option<&mut Reading> {
        let client = cx.connections.client_mut(id)?;
        let reading = match *client {
            Client::Reading(reading) => reading,
            Client::Idle | Client::Transaction(_) | Client::Tunnel(_) | Client::Lingering { .. } => {
                let reading = ReadingId(self.readings.insert(Reading::default()) as u32);
                *client = Client::Reading(reading);
                reading
            }
        };
        self.readings.get_mut(reading.0 as usize)
    }

    /// Takes the bytes read from a client, for a transaction.
    pub fn take_reading(&mut self, cx: &Context, id: PeerId) -> Option<Reading> {
        match cx.connections.client(id)? {
            Client::Reading(reading) => self.readings.try_remove(reading.0 as usize),
            Client::Idle | Client::Transaction(_) | Client::Tunnel(_) | Client::Lingering { .. } => None,
        }
    }

    /// Takes unused space back: a connection that waits for a head holds no block.
    pub fn return_space(&mut self, cx: &mut Context, id: PeerId, reading: ReadingId) {
        if self.readings.get(reading.0 as usize).is_some_and(|reading| reading.input.is_empty()) {
            self.readings.remove(reading.0 as usize).input.release(&mut cx.pool);
            cx.connections.set_client(id, Client::Idle);
        }
    }

    /// Something happened on a client connection between two transactions.
    pub fn handle(&mut self, cx: &mut Context, id: PeerId, event: Event) {
        let Some(client) = cx.connections.client_mut(id) else { return };
        match client {
            Client::Idle | Client::Reading(_) => match event {
                Event::Received(count) => self.handle_head_bytes(cx, id, count),
                Event::EndOfStream => self.handle_head_end(cx, id, "client_closed"),
                Event::SendFailed(_) | Event::Failed(_) => self.handle_head_end(cx, id, "client_reset"),
                Event::Connected | Event::Sent(_) | Event::Spliced(_) => {}
            },
            Client::Lingering { bytes } => match event {
                Event::Received(count) => {
                    *bytes = bytes.saturating_add(count as u32);
                    if *bytes > LINGER_BYTES_MAX {
                        cx.metrics.limit_linger += 1;
                        self.close(cx, id);
                    }
                }
                Event::EndOfStream | Event::SendFailed(_) | Event::Failed(_) => self.close(cx, id),
                Event::Connected | Event::Sent(_) | Event::Spliced(_) => {}
            },
            Client::Transaction(_) | Client::Tunnel(_) => {}
        }
    }

    fn handle_head_bytes(&mut self, cx: &mut Context, id: PeerId, count: usize) {
        let now_us = cx.now.monotonic_us;
        let Some(reading) = self.reading(cx, id) else { return };
        // Half of an empty line may have arrived before.
        let half = reading.input.len() == 1 && reading.input.bytes(&cx.pool) == b"\r";
        let begins = half || reading.input.is_empty();
        if begins {
            reading.began_us = now_us;
        }
        reading.input.commit(count);
        // Mostly the head is complete, and its transaction has another deadline.
        if self.advance(cx, id) || !begins {
            return;
        }
        let timeouts = &cx.settings.timeouts;
        let (idle_ms, head_ms) = (timeouts.idle_ms, timeouts.head_ms);
        match self.drop_empty_lines(cx, id) {
            true if half => cx.set_timer(id, idle_ms),
            true => {}
            false => cx.set_timer(id, head_ms),
        }
    }

    /// Drops what has been read behind a request if it is only empty lines, as old clients send one behind a body: the connection is
    /// still idle, and its time goes on. False if something is left, as a CR whose LF has not arrived.
    fn drop_empty_lines(&mut self, cx: &mut Context, id: PeerId) -> bool {
        let Some(peer) = cx.connections.get(id) else { return false };
        let Role::Client(Client::Reading(reading)) = peer.role else { return false };
        // In front of the first request they may be the beginning of another protocol.
        let is_first = peer.past != Past::Used;
        let Some(Reading { input, scanner, .. }) = self.readings.get_mut(reading.0 as usize) else {
            return false;
        };
        let bytes = input.bytes(&cx.pool);
        if is_first || !are_empty_lines(bytes) {
            return false;
        }
        let length = bytes.len() & !1;
        input.consume(&mut cx.pool, length);
        *scanner = Scanner::default();
        let is_empty = input.is_empty();
        self.return_space(cx, id, reading);
        is_empty
    }

    /// A client has closed, or is cut. What it has sent of a request is recorded.
    pub fn handle_head_end(&mut self, cx: &mut Context, id: PeerId, reason: &'static str) {
        let head_bytes = match cx.connections.client(id) {
            Some(client) if self.is_idle(cx, client) => 0,
            Some(Client::Reading(reading)) => self.readings[reading.0 as usize].input.len(),
            Some(Client::Idle | Client::Transaction(_) | Client::Tunnel(_) | Client::Lingering { .. })
            | None => 0,
        };
        match head_bytes {
            0 => self.close(cx, id),
            _ => cx.send(Effect::EndHead { client: id, head_bytes, reason }),
        }
    }

    /// Begins the next transaction if its head is complete. False if more of the head must arrive.
    pub fn advance(&mut self, cx: &mut Context, id: PeerId) -> bool {
        let Some(Client::Reading(reading_id)) = cx.connections.client(id) else { return true };
        let Some(Reading { input, scanner, .. }) = self.readings.get_mut(reading_id.0 as usize) else {
            return true;
        };
        let bytes = input.bytes(&cx.pool);
        if bytes.is_empty() {
            return false;
        }
        if cx.connections.get(id).is_some_and(|peer| peer.past == Past::Announced) {
            return self.take_proxy_header(cx, id, reading_id);
        }
        self.head_of = Some(id);
        let effect = match self.head.receive_request(scanner, bytes, &cx.settings.head) {
            Ok(None) => return false,
            Ok(Some(head_bytes)) => Effect::Begin { client: id, head_bytes },
            Err(fault) => {
                Effect::RefuseHead { client: id, head_bytes: bytes.len(), refusal: Refusal::Fault(fault) }
            }
        };
        cx.send(effect);
        true
    }

    /// Sets the client of a connection whose peer is a trusted proxy.
    pub fn set_address(&mut self, cx: &mut Context, id: PeerId, address: SocketAddr) -> Admission {
        let Some(peer) = cx.connections.get_mut(id) else { return Admission::Welcome };
        let before = std::mem::replace(&mut peer.address, address.into());
        self.capacity_freed |= self.limits.leave(counted(&cx.settings, before.ip));
        self.limits.enter(counted(&cx.settings, address.ip()))
    }

    /// Other settings follow, which may trust other peers: their connections are counted as those settings want it.
    pub fn recount(&mut self, cx: &Context, settings: &Settings) {
        let is_counted = |peer: &Peer| match peer.role {
            Role::Client(_) => peer.past != Past::Background,
            Role::Upstream { .. } => false,
        };
        for (_, peer) in cx.connections.iter().filter(|(_, peer)| is_counted(peer)) {
            let ip = peer.address.ip;
            let (before, after) = (counted(&cx.settings, ip), counted(settings, ip));
            if before != after {
                self.capacity_freed |= self.limits.leave(before);
                self.limits.enter(after);
            }
        }
    }

    /// Takes the PROXY header from the received bytes, and continues with those behind it. From now on the connection belongs
    /// to the client in the header, for every limit. False if more must arrive.
    fn take_proxy_header(&mut self, cx: &mut Context, id: PeerId, reading: ReadingId) -> bool {
        let Some(Reading { input, .. }) = self.readings.get_mut(reading.0 as usize) else { return true };
        let (address, length) = match proxy_header::read(input.bytes(&cx.pool)) {
            ProxyHeader::Incomplete => return false,
            ProxyHeader::Done { address, length } => (address, length),
            ProxyHeader::Malformed(_) => {
                let head_bytes = input.len();
                cx.send(Effect::RefuseHead { client: id, head_bytes, refusal: Refusal::ProxyHeader });
                return true;
            }
        };
        input.consume(&mut cx.pool, length);
        if let Some(peer) = cx.connections.get_mut(id) {
            peer.past = Past::New;
        }
        let admission = address.map_or(Admission::Welcome, |address| self.set_address(cx, id, address));
        let address = cx.connections.get(id).map(|peer| SocketAddr::from(peer.address));
        let refusal = match admission {
            Admission::Welcome => {
                if let Some(refused) = address.and_then(|address| self.ask_host(cx, id, address)) {
                    cx.send(refused);
                    return true;
                }
                let advanced = self.advance(cx, id);
                self.return_space(cx, id, reading);
                return advanced;
            }
            Admission::TooMany => Refusal::TooManyConnections,
            Admission::TooManyFromThere => Refusal::TooManyPerClient,
        };
        cx.send(Effect::RefuseConnection { client: id, refusal });
        true
    }

    /// Exchanges the head that was received last for an emptied one, if it belongs to this client.
    pub fn swap_head(&mut self, client: PeerId, head: &mut Message) {
        if self.head_of.take() == Some(client) {
            std::mem::swap(&mut self.head, head);
        }
    }

    /// Handles the end of the time for a head, or of the lingering of a client.
    pub fn handle_deadline(&mut self, cx: &mut Context, id: PeerId) {
        let Some(peer) = cx.connections.get(id) else { return };
        let (parking, used) = (peer.parking, peer.past == Past::Used);
        let head_bytes = match cx.connections.client(id) {
            Some(client) if self.is_idle(cx, client) => 0,
            Some(Client::Reading(reading)) => self.readings[reading.0 as usize].input.len(),
            Some(Client::Idle) => 0,
            Some(Client::Lingering { .. }) => {
                cx.metrics.timeouts_linger += 1;
                return self.close_delivered(cx, id);
            }
            Some(Client::Transaction(_) | Client::Tunnel(_)) | None => return,
        };
        let refusal = match (head_bytes, parking) {
            // The request has arrived, but no block was free to read it into.
            (_, Parking::Queued | Parking::Woken) => {
                cx.metrics.timeouts_block += 1;
                Refusal::NoMemory
            }
            (0, Parking::No) => {
                cx.metrics.timeouts_idle += u64::from(used);
                cx.metrics.timeouts_unused += u64::from(!used);
                return self.close(cx, id);
            }
            (_, Parking::No) => Refusal::HeadTimeout,
        };
        cx.send(Effect::RefuseHead { client: id, head_bytes, refusal });
    }

    /// Ends a transaction: the next head is read, or the connection ends. `input` has the bytes behind the request; `silent`
    /// if the client has asked for the close, has sent everything and gets all of a short response before it could send more.
    pub fn take_back(&mut self, cx: &mut Context, id: PeerId, mut input: Linear, closes: bool, silent: bool) {
        if cx.connections.client(id).is_none() {
            input.release(&mut cx.pool);
            return;
        }
        let pending = !input.is_empty();
        if closes || cx.is_draining() {
            input.release(&mut cx.pool);
            if silent && !pending {
                self.close_delivered(cx, id)
            } else {
                self.linger(cx, id)
            }
            return;
        }
        cx.connections.set_client(id, Client::Idle);
        cx.set_timer(id, cx.settings.timeouts.idle_ms);
        if pending {
            let now_us = cx.now.monotonic_us;
            if let Some(reading) = self.reading(cx, id) {
                (reading.input, reading.began_us) = (input, now_us);
            }
            if !self.drop_empty_lines(cx, id) {
                cx.set_timer(id, cx.settings.timeouts.head_ms);
                self.pipelined.push_back(id);
            }
        }
        cx.wake(id);
    }

    /// Sends a FIN and drops bytes that the client still sends, within a bound: a close with unread bytes would be a reset,
    /// which can destroy the response on its way (RFC 9112 section 9.6).
    pub fn linger(&mut self, cx: &mut Context, id: PeerId) {
        cx.send(Effect::EndPin(id));
        if cx.connections.get(id).is_some_and(|peer| peer.past == Past::Background) {
            self.close(cx, id);
            return;
        }
        if cx.connections.client(id).is_none() {
            return;
        }
        cx.connections.set_client(id, Client::Lingering { bytes: 0 });
        cx.set_timer(id, LINGER_MS);
        cx.actions.push_back(Action::ShutdownWrite(id));
        cx.wake(id);
    }

    /// Closes a client connection whose transaction or tunnel has ended.
    pub fn close(&mut self, cx: &mut Context, id: PeerId) {
        if self.remove(cx, id) {
            cx.actions.push_back(Action::Close(id));
        }
    }

    /// Closes a client connection as soon as its bytes have left: the client has a window that may be smaller than a short response.
    fn close_delivered(&mut self, cx: &mut Context, id: PeerId) {
        if self.remove(cx, id) {
            cx.actions.push_back(Action::CloseDelivered(id));
        }
    }

    /// Whether a client has as many connections as one may have; a connection of a trusted proxy counts for none of its clients.
    pub fn is_full_for(&self, address: IpAddr) -> bool {
        self.limits.is_full_for(address)
    }

    /// Closes a client connection with a reset, so that the client cannot take the close for an end.
    pub fn reset(&mut self, cx: &mut Context, id: PeerId) {
        if self.remove(cx, id) {
            cx.actions.push_back(Action::Reset(id));
        }
    }

    /// Closes a client connection with a reset that destroys no bytes.
    pub fn reset_delivered(&mut self, cx: &mut Context, id: PeerId) {
        if self.remove(cx, id) {
            cx.actions.push_back(Action::ResetDelivered(id));
        }
    }

    /// Removes a client connection. False if it has no socket to close.
    fn remove(&mut self, cx: &mut Context, id: PeerId) -> bool {
        match cx.connections.client(id) {
            Some(Client::Reading(reading)) => {
                self.readings.remove(reading.0 as usize).input.release(&mut cx.pool);
            }
            Some(Client::Idle | Client::Transaction(_) | Client::Tunnel(_) | Client::Lingering { .. }) => {}
            None => return false,
        }
        let Some(peer) = cx.connections.remove(id) else { return false };
        cx.timers.clear(id);
        // Before another client can get this index: a connection that is pinned to one must not carry a request of the other.
        cx.send_first(Effect::EndPin(id));
        if peer.past == Past::Background {
            self.background.end(id);
            return false;
        }
        self.capacity_freed |= self.limits.leave(counted(&cx.settings, peer.address.ip));
        self.clients -= 1;
        debug_assert!(
            self.readings.len() <= self.clients,
            "one for each client, and none for those who are gone"
        );
        true
    }

    /// Whether no byte of the next request has arrived from a client between two transactions; empty lines do not count.
    pub fn is_idle(&self, cx: &Context, client: Client) -> bool {
        match client {
            Client::Idle => true,
            Client::Reading(reading) => {
                let reading = self.readings.get(reading.0 as usize);
                reading.is_some_and(|reading| are_empty_lines(reading.input.bytes(&cx.pool)))
            }
            Client::Transaction(_) | Client::Tunnel(_) | Client::Lingering { .. } => false,
        }
    }

    /// Releases unused memory.
    pub fn shrink(&mut self) {
        self.readings.shrink_to_fit();
    }
}

/// The address that a connection counts for. The connections of a trusted proxy are those of many clients: they count in the sum
/// only.
fn counted(settings: &Settings, address: IpAddr) -> Option<IpAddr> {
    let guard = settings.guard.as_ref();
    guard.is_none_or(|guard| !guard.trusts(address)).then_some(address)
}

/// Whether received bytes are empty lines only; the LF of the last one may be missing.
fn are_empty_lines(bytes: &[u8]) -> bool {
    bytes.chunks(2).all(|line| line == b"\r\n" || line == b"\r")
}
