//! CONNECT tunnels and upgraded connections: two relays and no grammar.
//!
//! Each direction ends by itself: when its source has finished and everything was passed on, its sink is told (FIN), and
//! the other direction goes on. A reset on one side is a reset on the other.

use super::entry::{Entry, Kind, Text, Verdict};
use super::peer::{ClientState, ExchangeId, OriginState, Peer, Role, TunnelId};
use super::refusal::Refusal;
use super::relay::Relay;
use super::{Action, Engine, Event, PeerId};
use crate::buffer::Purpose;
use crate::http::framing::Body;
use crate::time::Now;

/// One tunnel.
#[derive(Debug)]
pub(super) struct Tunnel {
    pub client: PeerId,
    pub origin: PeerId,
    /// From client to origin.
    pub up: Relay,
    /// From origin to client.
    pub down: Relay,
    pub entry: Box<Entry>,
    pub began_us: u64,
    /// Received from the client before there was a tunnel.
    pub head_bytes: u64,
    /// The origin was told that the client has finished.
    pub up_ended: bool,
    /// The client was told that the origin has finished.
    pub down_ended: bool,
}

/// How a tunnel ends for its two sides.
#[derive(Clone, Copy, Debug)]
enum Ends {
    Close,
    /// The origin was reset: so is the client.
    ResetClient,
    /// The client was reset: so is the origin.
    ResetOrigin,
}

impl Engine {
    /// Answers CONNECT: the origin's connection stands.
    pub(super) fn establish_tunnel(&mut self, now: Now, id: ExchangeId, origin: PeerId) {
        let Engine { exchanges, pool, settings, scratch, .. } = self;
        let exchange = &mut exchanges[id.index as usize];
        scratch.clear();
        scratch.extend_from_slice(b"HTTP/1.1 200 Connection established\r\n");
        if let Some(via) = &settings.via {
            scratch.extend_from_slice(b"Via: 1.1 ");
            scratch.extend_from_slice(via.as_bytes());
            scratch.extend_from_slice(b"\r\n");
        }
        scratch.extend_from_slice(b"\r\n");
        exchange.origin = Some(origin);
        exchange.stage = super::exchange::Stage::Awaiting;
        if !exchange.down.head.append(pool, Purpose::Reply, scratch) {
            self.refuse(now, id, Refusal::NoMemory);
            return;
        }
        exchange.entry.status = 200;
        self.open_tunnel(now, id, origin);
    }

    /// The origin agreed to another protocol; the head for the client is written.
    pub(super) fn switch(&mut self, now: Now, id: ExchangeId, head_bytes: usize) {
        let Engine { exchanges, pool, .. } = self;
        let exchange = &mut exchanges[id.index as usize];
        let Some(origin) = exchange.origin else { return };
        let rest = exchange.response.bytes(pool)[head_bytes..].to_vec();
        if !exchange.down.head.append(pool, Purpose::Reply, &rest) {
            // The 101 is on its way: nothing can be said behind it.
            self.abort(now, id, Verdict::Failed, "buffers_max");
            return;
        }
        self.open_tunnel(now, id, origin);
    }

    /// Turns an exchange into a tunnel. What the client sent behind its head goes first.
    fn open_tunnel(&mut self, now: Now, id: ExchangeId, origin_id: PeerId) {
        let Engine { exchanges, tunnels, peers, pool, deadlines, settings, metrics, .. } = self;
        let mut exchange = exchanges.remove(id.index as usize);
        exchange.response.release(pool);
        let mut up = std::mem::replace(&mut exchange.up, Relay::new(Purpose::Upload));
        let mut down = std::mem::replace(&mut exchange.down, Relay::new(Purpose::Download));
        up.frame(Body::UntilClose, false);
        down.frame(Body::UntilClose, false);
        let mut entry = exchange.entry;
        entry.kind = Kind::Tunnel;
        let client_id = exchange.client;
        let head_bytes = exchange.plan.head_bytes as u64;
        let tunnel = Tunnel {
            client: client_id,
            origin: origin_id,
            up,
            down,
            entry,
            began_us: exchange.began_us,
            head_bytes,
            up_ended: false,
            down_ended: false,
        };
        let tunnel_id = TunnelId(tunnels.insert(tunnel) as u32);
        let tunnel = &mut tunnels[tunnel_id.0 as usize];
        if let Some(Peer { role: Role::Client(client), .. }) = peers.get_mut(client_id.index()) {
            client.state = ClientState::Tunnel(tunnel_id);
            client.input.consume(pool, exchange.consumed.min(client.input.len()));
            debug_assert!(tunnel.up.head.is_empty());
            tunnel.up.received = client.input.len() as u64;
            tunnel.up.head = std::mem::take(&mut client.input);
        }
        if let Some(Peer { role: Role::Origin(origin), .. }) = peers.get_mut(origin_id.index()) {
            origin.state = OriginState::Tunnel(tunnel_id);
        }
        metrics.tunnels_opened += 1;
        deadlines.clear(origin_id);
        deadlines.set(client_id, now.monotonic_ms(), settings.timeouts.tunnel_ms);
        self.wake(client_id);
        self.wake(origin_id);
    }

    pub(super) fn handle_tunnel_client(&mut self, now: Now, id: TunnelId, event: Event) {
        let Engine { tunnels, pool, surplus, .. } = self;
        let Some(tunnel) = tunnels.get_mut(id.0 as usize) else { return };
        let origin = tunnel.origin;
        match event {
            Event::Received(count) => {
                // A tunnel's bytes have no grammar to break and no end to exceed.
                let _ = tunnel.up.handle_received(pool, count, surplus);
            }
            Event::Sent(count) => tunnel.down.handle_sent(pool, count),
            Event::EndOfStream => tunnel.up.handle_end(),
            // What it sent before its end still has a way to go.
            Event::SendFailed(_) | Event::Failed(_) if tunnel.up.is_received() => {
                tunnel.down.abandon(pool);
                tunnel.down_ended = true;
            }
            Event::SendFailed(_) | Event::Failed(_) => {
                self.end_tunnel(now, id, Some("client_reset"), Ends::ResetOrigin);
                return;
            }
            Event::Connected => {}
        }
        self.wake(origin);
        self.pass_end(now, id);
    }

    pub(super) fn handle_tunnel_origin(&mut self, now: Now, id: TunnelId, event: Event) {
        let Engine { tunnels, pool, surplus, .. } = self;
        let Some(tunnel) = tunnels.get_mut(id.0 as usize) else { return };
        let client = tunnel.client;
        match event {
            Event::Received(count) => {
                let _ = tunnel.down.handle_received(pool, count, surplus);
            }
            Event::Sent(count) => tunnel.up.handle_sent(pool, count),
            Event::EndOfStream => tunnel.down.handle_end(),
            Event::SendFailed(_) | Event::Failed(_) if tunnel.down.is_received() => {
                tunnel.up.abandon(pool);
                tunnel.up_ended = true;
            }
            Event::SendFailed(_) | Event::Failed(_) => {
                self.end_tunnel(now, id, Some("origin_reset"), Ends::ResetClient);
                return;
            }
            Event::Connected => {}
        }
        self.wake(client);
        self.pass_end(now, id);
    }

    /// Passes the end of a direction on, once everything before it was sent.
    fn pass_end(&mut self, now: Now, id: TunnelId) {
        let Engine { tunnels, actions, deadlines, settings, .. } = self;
        let Some(tunnel) = tunnels.get_mut(id.0 as usize) else { return };
        let (client, origin) = (tunnel.client, tunnel.origin);
        deadlines.set(client, now.monotonic_ms(), settings.timeouts.tunnel_ms);
        if tunnel.up.is_complete() && !tunnel.up_ended {
            tunnel.up_ended = true;
            actions.push_back(Action::ShutdownWrite(origin));
        }
        if tunnel.down.is_complete() && !tunnel.down_ended {
            tunnel.down_ended = true;
            actions.push_back(Action::ShutdownWrite(client));
        }
        if tunnel.up_ended && tunnel.down_ended {
            self.end_tunnel(now, id, None, Ends::Close);
        }
    }

    pub(super) fn handle_tunnel_deadline(&mut self, now: Now, id: TunnelId) {
        self.metrics.timeouts_tunnel += 1;
        self.cut_tunnel(now, id, "idle_timeout");
    }

    /// Closes both ends.
    pub(super) fn cut_tunnel(&mut self, now: Now, id: TunnelId, reason: &str) {
        self.end_tunnel(now, id, Some(reason), Ends::Close);
    }

    fn end_tunnel(&mut self, now: Now, id: TunnelId, reason: Option<&str>, ends: Ends) {
        let Some(mut tunnel) = self.tunnels.try_remove(id.0 as usize) else { return };
        let duration = now.monotonic_us.saturating_sub(tunnel.began_us);
        tunnel.entry.duration_us = duration;
        tunnel.entry.started_unix_us = now.unix_us.saturating_sub(duration);
        tunnel.entry.client_bytes = tunnel.head_bytes + tunnel.up.received;
        tunnel.entry.sent_bytes = tunnel.down.sent;
        if let Some(reason) = reason {
            tunnel.entry.set(Text::Reason, reason.as_bytes());
        }
        tunnel.up.release(&mut self.pool);
        tunnel.down.release(&mut self.pool);
        match ends {
            Ends::ResetClient => self.reset_client(tunnel.client),
            Ends::ResetOrigin | Ends::Close => self.close_client(tunnel.client),
        }
        match ends {
            Ends::ResetOrigin => self.reset_origin(tunnel.origin),
            Ends::ResetClient | Ends::Close => self.close_origin(tunnel.origin),
        }
        self.log(tunnel.entry);
    }
}
