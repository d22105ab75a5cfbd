//! CONNECT tunnels and upgraded connections: two halves and no grammar.
//!
//! Most tunnels say nothing most of the time: one that does owns a slab entry and the note for its log entry.
//!
//! Each direction ends by itself: when its source has finished and everything was passed on, its sink is told (FIN), and
//! the other direction goes on. A reset on one side is a reset on the other.

use crate::engine::body::tunnel_half::TunnelHalf;
use crate::engine::peer::{Client, OriginState, Peer, Role, TransactionId, TunnelId};
use crate::engine::transaction::log_record::{Kind, Note, Text, Verdict};
use crate::engine::transaction::refusal::Refusal;
use crate::engine::{Action, Engine, Event, PeerId};
use crate::net::Purpose;
use crate::time::Now;

/// One tunnel.
#[derive(Debug)]
pub(in crate::engine) struct Tunnel {
    pub client: PeerId,
    pub origin: PeerId,
    /// From client to origin.
    pub up: TunnelHalf,
    /// From origin to client.
    pub down: TunnelHalf,
    /// For the log.
    pub note: Note,
    pub began_us: u64,
    /// Bytes received from the client, the head before the tunnel included.
    pub client_bytes: u64,
    /// Bytes sent to the client, the head included.
    pub sent_bytes: u64,
}

/// Nearly every tunnel is idle nearly all of the time, and this is half of what an idle one costs (the other half are its
/// two peers): what only a busy one needs is in the relay of a half.
const _: () = assert!(size_of::<Tunnel>() <= 72);

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
    pub(in crate::engine) fn establish_tunnel(&mut self, now: Now, id: TransactionId, origin: PeerId) {
        let Engine { transactions, pool, settings, scratch, .. } = self;
        let transaction = &mut transactions[id.index as usize];
        scratch.clear();
        scratch.extend_from_slice(b"HTTP/1.1 200 Connection established\r\n");
        if let Some(via) = &settings.via {
            scratch.extend_from_slice(b"Via: 1.1 ");
            scratch.extend_from_slice(via.as_bytes());
            scratch.extend_from_slice(b"\r\n");
        }
        scratch.extend_from_slice(b"\r\n");
        transaction.origin = Some(origin);
        transaction.stage = crate::engine::transaction::Stage::Awaiting;
        transaction.record.phases.ttfb_us = Some(0);
        if !transaction.down.head.append(pool, Purpose::Reply, scratch) {
            self.refuse(now, id, Refusal::NoMemory);
            return;
        }
        transaction.record.status = 200;
        self.open_tunnel(now, id, origin);
    }

    /// The origin agreed to another protocol; the head for the client is written.
    pub(in crate::engine) fn switch(&mut self, now: Now, id: TransactionId, head_bytes: usize) {
        let Engine { transactions, pool, .. } = self;
        let transaction = &mut transactions[id.index as usize];
        let Some(origin) = transaction.origin else { return };
        let rest = transaction.response.bytes(pool)[head_bytes..].to_vec();
        if !transaction.down.head.append(pool, Purpose::Reply, &rest) {
            // The 101 is on its way: nothing can be said behind it.
            self.abort(now, id, Verdict::Failed, "buffers_max");
            return;
        }
        self.open_tunnel(now, id, origin);
    }

    /// Turns a transaction into a tunnel. What the client sent behind its head goes first.
    fn open_tunnel(&mut self, now: Now, id: TransactionId, origin_id: PeerId) {
        // Nothing but the tunnel's bytes will come from the client.
        self.end_bond(self.transactions[id.index as usize].client);
        let Engine {
            transactions, tunnels, relays, peers, pool, deadlines, settings, metrics, scratch, ..
        } = self;
        let mut transaction = transactions.remove(id.index as usize);
        transaction.response.release(pool);
        let (client_id, tunnel_id) = (transaction.client, TunnelId(tunnels.vacant_key() as u32));
        if let Some(Peer { role: Role::Client(client), .. }) = peers.get_mut(client_id.index()) {
            *client = Client::Tunnel(tunnel_id);
        }
        transaction.input.consume(pool, transaction.consumed.min(transaction.input.len()));
        debug_assert!(transaction.up.head.is_empty());
        transaction.up.received = transaction.input.len() as u64;
        transaction.up.head = std::mem::take(&mut transaction.input);
        transaction.record.kind = Kind::Tunnel;
        tunnels.insert(Tunnel {
            client: client_id,
            origin: origin_id,
            client_bytes: transaction.info.head_bytes as u64 + transaction.up.received,
            sent_bytes: transaction.down.sent,
            up: TunnelHalf::new(relays, Purpose::Upload, &mut transaction.up),
            down: TunnelHalf::new(relays, Purpose::Download, &mut transaction.down),
            note: transaction.record.note(transaction.settings.noted, scratch),
            began_us: transaction.began_us,
        });
        if let Some(Peer { role: Role::Origin(origin), .. }) = peers.get_mut(origin_id.index()) {
            origin.state = OriginState::Tunnel(tunnel_id);
        }
        metrics.tunnels_opened += 1;
        deadlines.clear(origin_id);
        deadlines.set(client_id, now.monotonic_ms(), settings.timeouts.tunnel_ms);
        let logs_start = transaction.settings.logs_tunnel_starts;
        if logs_start {
            transaction.note_end(now);
            // Nothing was sent yet: the entry of the end has all of it.
            (transaction.record.kind, transaction.record.sent_bytes) = (Kind::TunnelStart, 0);
        }
        let record = self.retire(transaction);
        if logs_start {
            self.actions.push_back(Action::Log(record));
        } else {
            self.recycle(record);
        }
        self.wake(client_id);
        self.wake(origin_id);
    }

    pub(in crate::engine) fn handle_tunnel_client(&mut self, now: Now, id: TunnelId, event: Event) {
        let Engine { tunnels, relays, pool, .. } = self;
        let Some(tunnel) = tunnels.get_mut(id.0 as usize) else { return };
        let origin = tunnel.origin;
        match event {
            Event::Received(count) => {
                tunnel.client_bytes += count as u64;
                tunnel.up.handle_received(pool, relays, count);
            }
            Event::Spliced(count) => {
                tunnel.client_bytes += count as u64;
                tunnel.up.handle_spliced(count);
            }
            Event::Sent(count) => {
                tunnel.sent_bytes += count as u64;
                tunnel.down.handle_sent(pool, relays, count);
            }
            Event::EndOfStream => tunnel.up.handle_end(),
            // What it sent before its end still has a way to go.
            Event::SendFailed(_) | Event::Failed(_) if tunnel.up.is_received() => {
                tunnel.down.abandon(pool, relays);
                tunnel.down.ended = true;
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

    pub(in crate::engine) fn handle_tunnel_origin(&mut self, now: Now, id: TunnelId, event: Event) {
        let Engine { tunnels, relays, pool, .. } = self;
        let Some(tunnel) = tunnels.get_mut(id.0 as usize) else { return };
        let client = tunnel.client;
        match event {
            Event::Received(count) => tunnel.down.handle_received(pool, relays, count),
            Event::Spliced(count) => tunnel.down.handle_spliced(count),
            Event::Sent(count) => tunnel.up.handle_sent(pool, relays, count),
            Event::EndOfStream => tunnel.down.handle_end(),
            Event::SendFailed(_) | Event::Failed(_) if tunnel.down.is_received() => {
                tunnel.up.abandon(pool, relays);
                tunnel.up.ended = true;
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
        let Engine { tunnels, relays, actions, deadlines, settings, .. } = self;
        let Some(tunnel) = tunnels.get_mut(id.0 as usize) else { return };
        let (client, origin) = (tunnel.client, tunnel.origin);
        deadlines.set(client, now.monotonic_ms(), settings.timeouts.tunnel_ms);
        let mut ends = [(&mut tunnel.up, origin), (&mut tunnel.down, client)];
        if ends.iter().all(|(half, _)| half.ended || half.is_complete(relays)) {
            // Closing tells whoever was not told yet.
            self.end_tunnel(now, id, None, Ends::Close);
            return;
        }
        for (half, sink) in &mut ends {
            if half.is_complete(relays) && !half.ended {
                half.ended = true;
                actions.push_back(Action::ShutdownWrite(*sink));
            }
        }
    }

    pub(in crate::engine) fn handle_tunnel_deadline(&mut self, now: Now, id: TunnelId) {
        self.metrics.timeouts_tunnel += 1;
        self.cut_tunnel(now, id, "idle_timeout");
    }

    /// Closes both ends.
    pub(in crate::engine) fn cut_tunnel(&mut self, now: Now, id: TunnelId, reason: &str) {
        self.end_tunnel(now, id, Some(reason), Ends::Close);
    }

    fn end_tunnel(&mut self, now: Now, id: TunnelId, reason: Option<&str>, ends: Ends) {
        let Some(mut tunnel) = self.tunnels.try_remove(id.0 as usize) else { return };
        let duration = now.monotonic_us.saturating_sub(tunnel.began_us);
        let Some(client) = self.address(tunnel.client) else { return };
        let mut record = self.take_record(client);
        record.restore(&tunnel.note);
        record.upstream = self.address(tunnel.origin);
        record.duration_us = duration;
        record.started_unix_us = now.unix_us.saturating_sub(duration);
        (record.client_bytes, record.sent_bytes) = (tunnel.client_bytes, tunnel.sent_bytes);
        record.aborted = match ends {
            Ends::ResetClient | Ends::ResetOrigin => true,
            Ends::Close => false,
        };
        if let Some(reason) = reason {
            record.set(Text::Reason, reason.as_bytes());
        }
        tunnel.up.release(&mut self.pool, &mut self.relays);
        tunnel.down.release(&mut self.pool, &mut self.relays);
        debug_assert!(!self.tunnels.is_empty() || self.relays.are_free(), "who has gone has left nothing");
        match ends {
            Ends::ResetClient => self.reset_client(tunnel.client),
            Ends::ResetOrigin | Ends::Close => self.close_client(tunnel.client),
        }
        match ends {
            Ends::ResetOrigin => self.reset_origin(tunnel.origin),
            Ends::ResetClient | Ends::Close => self.close_origin(tunnel.origin),
        }
        self.log(record);
    }
}
