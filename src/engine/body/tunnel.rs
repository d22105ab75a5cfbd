//! CONNECT tunnels and upgraded connections: two halves and no grammar.
//!
//! Most tunnels are idle most of the time: an idle tunnel has a slab entry and its packed log record.
//!
//! Each direction ends by itself: when its source has ended and all bytes were sent, its sink gets a FIN, and the other
//! direction continues. When one side is reset, the other gets what that side has sent before (RFC 9110 section 9.3.6), and then it is
//! reset as well, unless it takes nothing for five seconds; what it sends until then is read and discarded, so that it goes on reading.

use crate::engine::body::outgoing::Outgoing;
use crate::engine::body::tunnel_half::{Relays, Sink, TunnelHalf};
use crate::engine::connections::{Client, UpstreamState};
use crate::engine::context::Context;
use crate::engine::effect::Effect;
use crate::engine::ids::{PeerId, TunnelId};
use crate::engine::settings::DELIVERY_MS;
use crate::engine::transaction::Transaction;
use crate::engine::transaction::log_record::{Kind, PackedRecord, Text};
use crate::engine::upstream::routing::Routing;
use crate::engine::{Action, Event, SocketError};
use crate::gateway::balance::Lease;
use crate::net::{Pool, Purpose, Space};
use crate::part::guard::built;
use slab::Slab;
use std::collections::BTreeMap;

/// One tunnel.
#[derive(Debug)]
pub(in crate::engine) struct Tunnel {
    pub client: PeerId,
    pub upstream: PeerId,
    /// From client to origin.
    pub up: TunnelHalf,
    /// From origin to client.
    pub down: TunnelHalf,
    /// The texts for the log record.
    pub packed: PackedRecord,
    pub began_us: u64,
    /// Bytes received from the client, the head before the tunnel included.
    pub client_bytes: u64,
    /// Bytes sent to the client, the head included.
    pub sent_bytes: u64,
}

/// Nearly every tunnel is idle nearly all of the time, and this is half of the memory of an idle tunnel (the other half are
/// its two peers): state that only a busy tunnel needs is in the relay of a half.
const _: () = assert!(size_of::<Tunnel>() <= 72);

impl Tunnel {
    /// The client takes nothing more, because it was reset; or because it is closed, if it had sent everything.
    fn lose_client(&mut self, pool: &mut Pool, relays: &mut Relays) {
        let sink = if self.up.is_received() { Sink::Closed } else { Sink::Reset };
        self.down.lose_sink(pool, relays, sink);
    }

    /// The same for the origin.
    fn lose_upstream(&mut self, pool: &mut Pool, relays: &mut Relays) {
        let sink = if self.down.is_received() { Sink::Closed } else { Sink::Reset };
        self.up.lose_sink(pool, relays, sink);
    }

    /// Whether a side was reset.
    fn is_broken(&self) -> bool {
        self.up.sink == Sink::Reset || self.down.sink == Sink::Reset
    }

    /// The reason for the log, and how the tunnel ends.
    fn outcome(&self) -> (Option<&'static str>, Ends) {
        match (self.up.sink, self.down.sink) {
            (_, Sink::Reset) => (Some("client_reset"), Ends::ResetUpstream),
            (Sink::Reset, _) => (Some("origin_reset"), Ends::ResetClient),
            (Sink::Closed, _) => (None, Ends::LingerClient),
            (Sink::Open | Sink::Ended, _) => (None, Ends::Close),
        }
    }
}

/// Whether an error of sending says that the peer has ended the connection.
fn is_end(error: SocketError) -> bool {
    matches!(error, SocketError::Reset | SocketError::Closed)
}

/// How a tunnel ends for its two sides.
#[derive(Clone, Copy, Debug)]
enum Ends {
    Close,
    /// The origin was reset, so the client is reset.
    ResetClient,
    /// The client was reset, so the origin is reset.
    ResetUpstream,
    /// The origin has sent everything and closed. A client that still sends must not be reset, or it loses the end.
    LingerClient,
}

/// All tunnels of one loop.
#[derive(Default)]
pub(in crate::engine) struct Tunnels {
    pub slab: Slab<Tunnel>,
    /// The relays of busy tunnels.
    pub relays: Relays,
    /// Leases of tunnels to upstreams of the gateway, where such a tunnel counts as a request under way.
    leases: BTreeMap<TunnelId, Lease>,
}

impl Tunnels {
    /// Takes both connections over from a transaction. Bytes behind the client's head are sent first.
    pub fn open(&mut self, cx: &mut Context, transaction: &mut Transaction, upstream: PeerId) {
        let client = transaction.client;
        transaction.response.release(&mut cx.pool);
        transaction.input.consume(&mut cx.pool, transaction.consumed.min(transaction.input.len()));
        debug_assert!(transaction.up.head.is_empty());
        transaction.up.received = transaction.input.len() as u64;
        transaction.up.head = std::mem::take(&mut transaction.input);
        transaction.record.kind = Kind::Tunnel;
        let tunnel = Tunnel {
            client,
            upstream,
            client_bytes: transaction.info.head_bytes as u64 + transaction.up.received,
            sent_bytes: transaction.down.sent,
            up: TunnelHalf::new(&mut self.relays, Purpose::Upload, &mut transaction.up),
            down: TunnelHalf::new(&mut self.relays, Purpose::Download, &mut transaction.down),
            packed: transaction.record.pack(transaction.settings.noted, &mut cx.scratch),
            began_us: transaction.since.began_us,
        };
        let id = TunnelId(self.slab.insert(tunnel) as u32);
        if let Some(lease) = transaction.routing.take().and_then(Routing::take_lease) {
            self.leases.insert(id, lease);
        }
        cx.connections.set_client(client, Client::Tunnel(id));
        cx.connections.set_upstream(upstream, UpstreamState::Tunnel(id));
        cx.metrics.tunnels_opened += 1;
        cx.timers.clear(upstream);
        cx.set_timer(client, cx.settings.timeouts.tunnel_ms);
        cx.wake(client);
        cx.wake(upstream);
    }

    pub fn handle_client(&mut self, cx: &mut Context, id: TunnelId, event: Event) {
        let Tunnels { slab, relays, .. } = self;
        let Some(tunnel) = slab.get_mut(id.0 as usize) else { return };
        let upstream = tunnel.upstream;
        match event {
            Event::Received(count) => {
                tunnel.client_bytes += count as u64;
                tunnel.up.handle_received(&mut cx.pool, relays, count);
                if tunnel.up.discards() {
                    return;
                }
            }
            Event::Spliced(count) => {
                tunnel.client_bytes += count as u64;
                tunnel.up.handle_spliced(count);
            }
            Event::Sent(count) => {
                tunnel.sent_bytes += count as u64;
                tunnel.down.handle_sent(&mut cx.pool, relays, count);
            }
            Event::EndOfStream => tunnel.up.handle_end(),
            // The connection is whole, so its end may be far away.
            Event::SendFailed(error) if !is_end(error) => {
                self.end(cx, id, Some("client_reset"), Ends::ResetUpstream);
                return;
            }
            Event::SendFailed(_) => tunnel.lose_client(&mut cx.pool, relays),
            Event::Failed(_) => {
                tunnel.lose_client(&mut cx.pool, relays);
                tunnel.up.handle_end();
            }
            Event::Connected => {}
        }
        cx.wake(upstream);
        self.pass_end(cx, id);
    }

    pub fn handle_upstream(&mut self, cx: &mut Context, id: TunnelId, event: Event) {
        let Tunnels { slab, relays, .. } = self;
        let Some(tunnel) = slab.get_mut(id.0 as usize) else { return };
        let client = tunnel.client;
        match event {
            Event::Received(count) => {
                tunnel.down.handle_received(&mut cx.pool, relays, count);
                if tunnel.down.discards() {
                    return;
                }
            }
            Event::Spliced(count) => tunnel.down.handle_spliced(count),
            Event::Sent(count) => tunnel.up.handle_sent(&mut cx.pool, relays, count),
            Event::EndOfStream => tunnel.down.handle_end(),
            Event::SendFailed(error) if !is_end(error) => {
                self.end(cx, id, Some("origin_reset"), Ends::ResetClient);
                return;
            }
            Event::SendFailed(_) => tunnel.lose_upstream(&mut cx.pool, relays),
            Event::Failed(_) => {
                tunnel.lose_upstream(&mut cx.pool, relays);
                tunnel.down.handle_end();
            }
            Event::Connected => {}
        }
        cx.wake(client);
        self.pass_end(cx, id);
    }

    /// Passes the end of a direction on, once everything before it was sent.
    fn pass_end(&mut self, cx: &mut Context, id: TunnelId) {
        let Tunnels { slab, relays, .. } = self;
        let Some(tunnel) = slab.get_mut(id.0 as usize) else { return };
        let (client, upstream) = (tunnel.client, tunnel.upstream);
        cx.set_timer(client, if tunnel.is_broken() { DELIVERY_MS } else { cx.settings.timeouts.tunnel_ms });
        let mut ends = [(&mut tunnel.up, upstream), (&mut tunnel.down, client)];
        if ends.iter().all(|(half, _)| half.has_ended() || half.is_complete(relays)) {
            // Closing also ends the side that has not got a FIN yet.
            let (reason, ends) = tunnel.outcome();
            self.end(cx, id, reason, ends);
            return;
        }
        for (half, sink) in &mut ends {
            if half.is_complete(relays) && !half.has_ended() {
                half.sink = Sink::Ended;
                cx.actions.push_back(Action::ShutdownWrite(*sink));
            }
        }
    }

    /// Nothing has moved for too long.
    pub fn handle_deadline(&mut self, cx: &mut Context, id: TunnelId) {
        if let Some(tunnel) = self.slab.get(id.0 as usize).filter(|tunnel| tunnel.is_broken()) {
            let (reason, ends) = tunnel.outcome();
            self.end(cx, id, reason, ends);
            return;
        }
        cx.metrics.timeouts_tunnel += 1;
        self.cut(cx, id, "idle_timeout");
    }

    /// Closes both ends; if one was reset, the other is reset.
    pub fn cut(&mut self, cx: &mut Context, id: TunnelId, reason: &'static str) {
        let broken = self.slab.get(id.0 as usize).filter(|tunnel| tunnel.is_broken());
        let ends = broken.map_or(Ends::Close, |tunnel| tunnel.outcome().1);
        self.end(cx, id, Some(reason), ends);
    }

    fn end(&mut self, cx: &mut Context, id: TunnelId, reason: Option<&'static str>, ends: Ends) {
        let Some(mut tunnel) = self.slab.try_remove(id.0 as usize) else { return };
        // Without the guard there is no gateway, and the compiler leaves the table out.
        if built().is_some() {
            self.leases.remove(&id);
        }
        let duration = cx.now.monotonic_us.saturating_sub(tunnel.began_us);
        let Some(client) = cx.connections.address(tunnel.client) else { return };
        let mut record = cx.take_record(client);
        record.unpack(&tunnel.packed);
        record.upstream = cx.connections.address(tunnel.upstream);
        record.duration_us = duration;
        record.started_unix_us = cx.now.unix_us.saturating_sub(duration);
        (record.client_bytes, record.sent_bytes) = (tunnel.client_bytes, tunnel.sent_bytes);
        record.aborted = match ends {
            Ends::ResetClient | Ends::ResetUpstream => true,
            Ends::Close | Ends::LingerClient => false,
        };
        if let Some(reason) = reason {
            record.set(Text::Reason, reason.as_bytes());
        }
        tunnel.up.release(&mut cx.pool, &mut self.relays);
        tunnel.down.release(&mut cx.pool, &mut self.relays);
        debug_assert!(
            !self.slab.is_empty() || self.relays.are_free(),
            "tunnels that have ended have left nothing"
        );
        cx.send(match ends {
            Ends::ResetClient => Effect::ResetClientDelivered(tunnel.client),
            Ends::LingerClient => Effect::Linger(tunnel.client),
            Ends::ResetUpstream | Ends::Close => Effect::CloseClient(tunnel.client),
        });
        cx.send(match ends {
            Ends::ResetUpstream => Effect::ResetUpstreamDelivered(tunnel.upstream),
            Ends::ResetClient | Ends::Close | Ends::LingerClient => Effect::CloseUpstream(tunnel.upstream),
        });
        cx.log(record);
    }

    pub fn wants_upload(&self, id: TunnelId) -> bool {
        self.slab[id.0 as usize].up.wants_bytes(&self.relays)
    }

    pub fn wants_download(&self, id: TunnelId) -> bool {
        self.slab[id.0 as usize].down.wants_bytes(&self.relays)
    }

    /// Whether the client's bytes are read, now or later.
    pub fn reads_client_on(&self, id: TunnelId) -> bool {
        !self.slab[id.0 as usize].up.is_received()
    }

    /// Whether the origin's bytes are read, now or later.
    pub fn reads_upstream_on(&self, id: TunnelId) -> bool {
        !self.slab[id.0 as usize].down.is_received()
    }

    pub fn wants_send_up(&self, id: TunnelId) -> bool {
        self.slab[id.0 as usize].up.wants_send(&self.relays)
    }

    pub fn wants_send_down(&self, id: TunnelId) -> bool {
        self.slab[id.0 as usize].down.wants_send(&self.relays)
    }

    pub fn upload_space<'a>(&'a mut self, pool: &'a mut Pool, id: TunnelId) -> Option<Space<'a>> {
        self.slab[id.0 as usize].up.space(pool, &mut self.relays, Purpose::Upload)
    }

    pub fn download_space<'a>(&'a mut self, pool: &'a mut Pool, id: TunnelId) -> Option<Space<'a>> {
        self.slab[id.0 as usize].down.space(pool, &mut self.relays, Purpose::Download)
    }

    pub fn return_upload_space(&mut self, pool: &mut Pool, id: TunnelId) {
        self.slab[id.0 as usize].up.release_unused(pool, &mut self.relays);
    }

    pub fn return_download_space(&mut self, pool: &mut Pool, id: TunnelId) {
        self.slab[id.0 as usize].down.release_unused(pool, &mut self.relays);
    }

    /// The connection that bytes of the client may go to inside the kernel, and their most number.
    pub fn splice_up(&self, id: TunnelId) -> Option<(PeerId, usize)> {
        let tunnel = &self.slab[id.0 as usize];
        Some((tunnel.upstream, tunnel.up.splice_allowed(&self.relays)?))
    }

    /// The connection that bytes of the origin may go to inside the kernel, and their most number.
    pub fn splice_down(&self, id: TunnelId) -> Option<(PeerId, usize)> {
        let tunnel = &self.slab[id.0 as usize];
        Some((tunnel.client, tunnel.down.splice_allowed(&self.relays)?))
    }

    pub fn outgoing_up<'a>(&'a mut self, pool: &'a mut Pool, id: TunnelId) -> Outgoing<'a> {
        self.slab[id.0 as usize].up.outgoing(pool, &mut self.relays)
    }

    pub fn outgoing_down<'a>(&'a mut self, pool: &'a mut Pool, id: TunnelId) -> Outgoing<'a> {
        self.slab[id.0 as usize].down.outgoing(pool, &mut self.relays)
    }

    /// Releases unused memory.
    pub fn shrink(&mut self) {
        self.slab.shrink_to_fit();
        self.relays.shrink();
    }
}
