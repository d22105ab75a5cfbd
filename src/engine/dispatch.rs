//! The dispatcher: routes each event to the machine that owns the connection, and carries out the effects of the machines.

use super::Action;
use super::Event;
use super::SocketError;
use super::body::tunnel::Tunnels;
use super::cache::refresh::Refresh;
use super::connections::{Client, Past, Role, UpstreamState};
use super::context::Context;
use super::downstream::unread::note_request_line;
use super::downstream::{Downstream, Reading};
use super::effect::{Effect, End, Ending};
use super::settings::DRAIN_IDLE_MS;
use super::transaction::Stage;
use super::transaction::calling::refused;
use super::transaction::examine::STRANGER;
use super::transaction::log_record::{CacheUse, Kind, Verdict};
use super::transaction::machine::{Begun, Services, Transactions};
use super::transaction::refusal::Refusal;
use super::transaction::request::Method;
use super::transaction::verification::Finding;
use super::upstream::connecting::Connected;
use super::upstream::route::Hop;
use super::upstream::{Attached, Found, Request};
use crate::engine::ids::{ConnectId, PeerId, TransactionId};
use crate::net::{Linear, Purpose};
use crate::resolver;
use std::net::{IpAddr, SocketAddr};

/// The machines of one loop. Each owns its state; none knows the others, except for the services that transactions use.
pub(in crate::engine) struct Machines {
    pub downstream: Downstream,
    pub transactions: Transactions,
    pub tunnels: Tunnels,
    pub services: Services,
}

impl Machines {
    /// Handles an event of a connection. Ignored if the connection is closed.
    pub fn handle(&mut self, cx: &mut Context, id: PeerId, event: Event) {
        let Machines { downstream, transactions, tunnels, services, .. } = self;
        let Some(peer) = cx.connections.get(id) else { return };
        match peer.role {
            Role::Client(client) => {
                match event {
                    Event::Received(count) | Event::Spliced(count) => {
                        cx.metrics.client_bytes_in += count as u64;
                    }
                    Event::Sent(count) => cx.metrics.client_bytes_out += count as u64,
                    Event::Connected | Event::EndOfStream | Event::SendFailed(_) | Event::Failed(_) => {}
                }
                match client {
                    Client::Idle | Client::Reading(_) | Client::Lingering { .. } => {
                        downstream.handle(cx, id, event);
                    }
                    Client::Transaction(transaction) => {
                        transactions.handle_client(cx, services, transaction, event);
                    }
                    Client::Tunnel(tunnel) => tunnels.handle_client(cx, tunnel, event),
                }
            }
            Role::Upstream { state, .. } => {
                match event {
                    Event::Received(count) | Event::Spliced(count) => {
                        cx.metrics.origin_bytes_in += count as u64;
                    }
                    Event::Sent(count) => cx.metrics.origin_bytes_out += count as u64,
                    Event::Connected | Event::EndOfStream | Event::SendFailed(_) | Event::Failed(_) => {}
                }
                match state {
                    UpstreamState::Connecting(connect) => {
                        services.upstreams.handle_connecting(cx, id, connect, event);
                    }
                    UpstreamState::Busy(transaction) => {
                        transactions.handle_upstream(cx, services, transaction, event);
                    }
                    UpstreamState::Tunnel(tunnel) => tunnels.handle_upstream(cx, tunnel, event),
                    UpstreamState::Filling(fill) => {
                        if let Some(fills) = services.fills.built() {
                            fills.handle_upstream(cx, fill, event);
                        }
                    }
                    UpstreamState::Idle(_) | UpstreamState::Pinned(_) => {
                        services.upstreams.handle_unasked(cx, id, state);
                    }
                }
            }
        }
    }

    /// The timer of a connection has fired.
    pub fn handle_deadline(&mut self, cx: &mut Context, id: PeerId) {
        let Machines { downstream, transactions, tunnels, services, .. } = self;
        let Some(peer) = cx.connections.get(id) else { return };
        match peer.role {
            Role::Client(Client::Idle | Client::Reading(_) | Client::Lingering { .. }) => {
                downstream.handle_deadline(cx, id);
            }
            Role::Client(Client::Transaction(transaction)) => {
                transactions.handle_deadline(cx, services, transaction);
            }
            Role::Client(Client::Tunnel(tunnel)) => tunnels.handle_deadline(cx, tunnel),
            Role::Upstream { state, .. } => match state {
                UpstreamState::Connecting(connect) => {
                    cx.metrics.timeouts_connect += 1;
                    services.upstreams.handle_attempt_failure(cx, id, connect, SocketError::TimedOut);
                }
                UpstreamState::Idle(_) | UpstreamState::Pinned(_) => {
                    services.upstreams.handle_idle_deadline(cx, id, state);
                }
                UpstreamState::Filling(fill) => {
                    if let Some(fills) = services.fills.built() {
                        fills.handle_deadline(cx, fill);
                    }
                }
                UpstreamState::Busy(_) | UpstreamState::Tunnel(_) => {}
            },
        }
    }

    /// Handles the result of a verification: the transactions that wait for it are examined again.
    pub fn handle_finding(&mut self, cx: &mut Context, finding: Finding) {
        for id in self.services.verifications.learn(cx, finding) {
            if let Some(transaction) = self.transactions.get_mut(id) {
                if transaction.stage == Stage::Verifying {
                    transaction.stage = Stage::Begun;
                    cx.send(Effect::Examine(id));
                }
            }
        }
    }

    /// Does the work that the last event left: effects, answers of the resolver, transactions whose wait has ended, requests
    /// that have arrived already, returned memory.
    #[inline]
    pub fn finish(&mut self, cx: &mut Context) {
        let Machines { downstream, transactions, services, .. } = self;
        // The usual case within a body: no such work.
        let any = !cx.effects.is_empty()
            || services.upstreams.resolver.has_actions()
            || !transactions.concluded.is_empty()
            || !downstream.pipelined.is_empty();
        if any {
            self.carry_out_deferred(cx);
        }
        cx.share_returned_memory();
    }

    fn carry_out_deferred(&mut self, cx: &mut Context) {
        loop {
            self.carry_out_effects(cx);
            if let Some(action) = self.services.upstreams.resolver.next_action() {
                match action {
                    resolver::Action::Done { id, outcome } => {
                        self.services.upstreams.end_look_up(cx, id, &outcome);
                    }
                    resolver::Action::Send { .. } | resolver::Action::Cancel(_) => {
                        cx.actions.push_back(Action::Resolver(action));
                    }
                }
                continue;
            }
            if !self.transactions.concluded.is_empty() {
                self.transactions.resume_concluded(cx, &mut self.services);
                continue;
            }
            let Some(client) = self.downstream.pipelined.pop_front() else { break };
            self.downstream.advance(cx, client);
        }
    }

    pub fn carry_out_effects(&mut self, cx: &mut Context) {
        while let Some(effect) = cx.effects.pop_front() {
            self.carry_out(cx, effect);
        }
    }

    #[inline]
    fn carry_out(&mut self, cx: &mut Context, effect: Effect) {
        let Machines { downstream, transactions, services, .. } = self;
        match effect {
            Effect::Begin { client, head_bytes } => {
                if let Some(id) = self.begin(cx, client, head_bytes) {
                    self.transactions.examine(cx, &mut self.services, id);
                }
            }
            Effect::RefuseHead { client, head_bytes, refusal } => {
                self.refuse_head(cx, client, head_bytes, refusal);
            }
            Effect::EndHead { client, head_bytes, reason } => self.end_head(cx, client, head_bytes, reason),
            Effect::RefuseConnection { client, refusal } => {
                if let Some(id) = self.begin(cx, client, 0) {
                    self.transactions.refuse(cx, &mut self.services, id, refusal);
                }
            }
            Effect::RefuseCaller { client, status, reason } => {
                self.refuse_caller(cx, client, status, &reason);
            }
            Effect::Examine(id) => {
                if transactions.get_mut(id).is_some() {
                    transactions.examine(cx, services, id);
                }
            }
            Effect::Connect(id) => self.connect(cx, id),
            Effect::Connected(connect) => self.connected(cx, connect),
            Effect::Refuse(id, refusal) => transactions.refuse(cx, services, id, refusal),
            Effect::Settle(id) => transactions.try_settle(cx, services, id),
            Effect::End(end) => transactions.end(cx, services, end),
            Effect::OpenTunnel(id, upstream) => self.open_tunnel(cx, id, upstream),
            Effect::Refresh(refresh) => self.refresh(cx, *refresh),
            Effect::Concluded(conclusion) => transactions.note_conclusion(*conclusion),
            Effect::ResumeWaiters => while transactions.resume_concluded(cx, services) {},
            Effect::FillCompleted(fill) => transactions.complete_readers(cx, services, fill),
            Effect::HandOver(fill) => transactions.take_over(cx, services, fill),
            Effect::TakeBack { client, input, closes, silent } => {
                downstream.take_back(cx, client, input, closes, silent);
            }
            Effect::Linger(client) => downstream.linger(cx, client),
            Effect::CloseClient(client) => downstream.close(cx, client),
            Effect::ResetClient(client) => downstream.reset(cx, client),
            Effect::ResetClientDelivered(client) => downstream.reset_delivered(cx, client),
            Effect::PinEnded { client, authority, configured, rooted } => {
                match cx.connections.client(client) {
                    Some(Client::Idle | Client::Reading(_)) => downstream.close(cx, client),
                    Some(Client::Transaction(id)) => {
                        transactions.note_pin_end(id, Hop { authority: &authority, configured }, rooted)
                    }
                    Some(Client::Tunnel(_) | Client::Lingering { .. }) | None => {}
                }
            }
            Effect::IdleUpstream { connection, opened_ms } => {
                services.upstreams.set_idle(cx, connection, opened_ms);
            }
            Effect::CloseUpstream(connection) => services.upstreams.close(cx, connection),
            Effect::ResetUpstreamDelivered(connection) => services.upstreams.reset_delivered(cx, connection),
            Effect::EndPin(client) => services.upstreams.end_pin(cx, client),
            Effect::AdvanceFill(fill) => {
                if let Some(fills) = services.fills.built() {
                    fills.advance_fill(cx, fill);
                }
            }
        }
    }

    /// Begins a transaction with the bytes received from a client.
    fn begin(&mut self, cx: &mut Context, client: PeerId, head_bytes: usize) -> Option<TransactionId> {
        let Machines { downstream, transactions, .. } = self;
        let Reading { input, began_us, .. } = downstream.take_reading(cx, client).unwrap_or_default();
        let peer = cx.connections.get_mut(client)?;
        let reused = std::mem::replace(&mut peer.past, Past::Used) == Past::Used;
        let address = SocketAddr::from(peer.address);
        let began_us = if input.is_empty() { cx.now.monotonic_us } else { began_us };
        let id = transactions.begin(cx, Begun { client, address, reused, input, head_bytes, began_us });
        if let Some(transaction) = transactions.get_mut(id) {
            downstream.swap_head(client, &mut transaction.request_head);
        }
        cx.connections.set_client(client, Client::Transaction(id));
        Some(id)
    }

    /// Refuses a head that is no request. A client that may not use the proxy gets that reason, as for every request (rule 46).
    fn refuse_head(&mut self, cx: &mut Context, client: PeerId, head_bytes: usize, refusal: Refusal) {
        let Some(id) = self.begin(cx, client, head_bytes) else { return };
        let Machines { transactions, services, .. } = self;
        let Some(transaction) = transactions.get_mut(id) else { return };
        let admitted = cx.policy.acl.allows_client(transaction.record.client.ip());
        let received = transaction.input.bytes(&cx.pool);
        note_request_line(received, &mut transaction.info, &mut transaction.record);
        transactions.refuse(cx, services, id, if admitted { refusal } else { STRANGER });
    }

    /// Records a head whose rest will not arrive.
    fn end_head(&mut self, cx: &mut Context, client: PeerId, head_bytes: usize, reason: &'static str) {
        let Some(id) = self.begin(cx, client, head_bytes) else { return };
        let Machines { transactions, services, .. } = self;
        let Some(transaction) = transactions.get_mut(id) else { return };
        let received = transaction.input.bytes(&cx.pool);
        note_request_line(received, &mut transaction.info, &mut transaction.record);
        let (ending, verdict) = (Ending::Abandon, Verdict::Malformed);
        transactions.end(cx, services, End { transaction: id, ending, verdict, reason });
    }

    /// Refuses a client whose connection the host program does not want.
    fn refuse_caller(&mut self, cx: &mut Context, client: PeerId, status: u16, reason: &str) {
        let Some(id) = self.begin(cx, client, 0) else { return };
        let Machines { transactions, services, .. } = self;
        let Some(transaction) = transactions.get_mut(id) else { return };
        let refusal = refused(&mut transaction.record, status, reason);
        transactions.refuse(cx, services, id, refusal);
    }

    /// Finds an upstream connection for a transaction.
    fn connect(&mut self, cx: &mut Context, id: TransactionId) {
        let Machines { downstream, transactions, services, .. } = self;
        let Some(transaction) = transactions.get_mut(id) else { return };
        // A tunnel makes the connection of a trusted proxy that of one client.
        let tunnels = transaction.info.upgrade || transaction.info.method == Method::Connect;
        let client = transaction.record.client.ip();
        let is_named =
            || cx.connections.get(transaction.client).is_some_and(|peer| peer.address.ip != client);
        if tunnels && is_named() && downstream.is_full_for(client) {
            return transactions.refuse(cx, services, id, Refusal::TooManyPerClient);
        }
        let request = Request {
            transaction: id,
            client: transaction.client,
            client_address: transaction.record.client.ip(),
            info: &transaction.info,
            policy: &transaction.policy,
            fresh: transaction.needs_fresh(),
            repeatable: transaction.can_be_repeated(),
            pin_lost: transaction.upstream_use.pin_lost,
        };
        match services.upstreams.find(cx, &request) {
            Found::Connection(attached, timings) => {
                transaction.note_connect(&timings);
                self.attach(cx, id, attached);
            }
            Found::Pending(connect) => transaction.stage = Stage::Connecting(connect),
            Found::Refused(refusal, timings) => {
                transaction.note_connect(&timings);
                transactions.refuse(cx, services, id, refusal);
            }
            Found::PinRefused(refusal) => {
                (transaction.closes, transaction.upstream_use.pin_lost) = (true, true);
                transactions.refuse(cx, services, id, refusal);
            }
        }
    }

    /// The connection was made that a transaction waits for, or could not be made.
    fn connected(&mut self, cx: &mut Context, connect: ConnectId) {
        let Machines { transactions, services, .. } = self;
        // A transaction that has ended meanwhile has given the connect up.
        let Some(Connected { transaction: id, timings, result }) = services.upstreams.take_connected(connect)
        else {
            return;
        };
        let Some(transaction) = transactions.get_mut(id) else { return };
        transaction.note_connect(&timings);
        transaction.stage = Stage::Begun;
        match result {
            Ok(attached) => self.attach(cx, id, attached),
            Err(refusal) => transactions.refuse(cx, services, id, refusal),
        }
    }

    fn attach(&mut self, cx: &mut Context, id: TransactionId, attached: Attached) {
        let Machines { transactions, .. } = self;
        let Some(transaction) = transactions.get_mut(id) else { return };
        if transaction.info.method == Method::Connect {
            transaction.record.upstream = cx.connections.address(attached.connection);
            let grant = Some(attached.grant);
            transaction.note_allowing_rule(grant, transaction.record.upstream, &mut cx.scratch);
            transaction.establish_tunnel(cx, id, attached.connection);
        } else {
            transaction.attach(cx, id, attached);
        }
    }

    /// Turns a transaction into a tunnel.
    fn open_tunnel(&mut self, cx: &mut Context, id: TransactionId, upstream: PeerId) {
        let Machines { downstream, transactions, tunnels, services } = self;
        let Some(transaction) = transactions.get_mut(id) else { return };
        let (connection, client) = (transaction.client, transaction.record.client);
        if cx.connections.get(connection).is_some_and(|peer| peer.address.ip != client.ip()) {
            // A trusted proxy has named the client of the request, and the whole connection belongs to that client from now on.
            downstream.set_address(cx, connection, client);
        }
        let mut transaction = transactions.slab.remove(id.index as usize);
        // From now on the client sends only bytes of the tunnel.
        services.upstreams.end_pin(cx, transaction.client);
        tunnels.open(cx, &mut transaction, upstream);
        let logs_start = transaction.settings.logs_tunnel_starts;
        if logs_start {
            transaction.note_end(cx.now);
            // Nothing was sent yet: the record of the end has the counts.
            (transaction.record.kind, transaction.record.sent_bytes) = (Kind::TunnelStart, 0);
        }
        let record = transactions.retire(cx, transaction);
        if logs_start {
            cx.actions.push_back(Action::Log(record));
        } else {
            cx.recycle(record);
        }
    }

    /// Fetches a stored response that was served stale.
    fn refresh(&mut self, cx: &mut Context, refresh: Refresh) {
        let Machines { downstream, transactions, services, .. } = self;
        if services.fills.built().is_none() {
            return;
        }
        let Refresh { address, peer, listener, head, stored } = refresh;
        let mut input = Linear::default();
        let has_place = downstream.background.may_begin_beside(&services.fills.unread, stored.key());
        let may = has_place && services.fills.may_refresh(cx, &stored);
        if !may || !input.append(&mut cx.pool, Purpose::Head, &head) {
            return;
        }
        let client = downstream.begin_background(cx, listener, peer, stored.key());
        cx.metrics.cache_refreshes += 1;
        let head_bytes = head.len();
        let began_us = cx.now.monotonic_us;
        let begun = Begun { client, address, reused: false, input, head_bytes, began_us };
        let id = transactions.begin(cx, begun);
        cx.connections.set_client(client, Client::Transaction(id));
        if let Some(transaction) = transactions.get_mut(id) {
            transaction.caching.begin_background();
            transaction.record.cache = CacheUse::Refresh;
        }
        transactions.examine(cx, services, id);
    }

    /// Stops taking connections: those of upstreams that are idle are closed, and idle clients after a moment.
    pub fn drain(&mut self, cx: &mut Context) {
        let Machines { downstream, services, .. } = self;
        let is_idle = |role: Role| match role {
            Role::Client(client) => downstream.is_idle(cx, client),
            Role::Upstream { state, .. } => state.is_waiting(),
        };
        let all = cx.connections.iter().filter(|(_, peer)| is_idle(peer.role));
        let idle: Vec<PeerId> = all.map(|(id, _)| id).collect();
        for id in idle {
            // The end of one connection may have ended another one.
            match cx.connections.get(id).map(|peer| (peer.role, peer.past)) {
                // A request of the client may be under way.
                Some((Role::Client(_), Past::New | Past::Announced | Past::Used)) => {
                    cx.set_timer(id, DRAIN_IDLE_MS);
                }
                Some((Role::Client(_), Past::Background)) => downstream.close(cx, id),
                Some((Role::Upstream { .. }, _)) => services.upstreams.close(cx, id),
                None => {}
            }
        }
        self.abandon_background(cx);
    }

    /// Ends what no client waits for.
    fn abandon_background(&mut self, cx: &mut Context) {
        if let Some(fills) = self.services.fills.built() {
            fills.shed_unread(cx);
        }
        let Machines { downstream, transactions, services, .. } = self;
        let refreshes: Vec<PeerId> = downstream.background.connections().collect();
        for client in refreshes {
            if let Some(Client::Transaction(transaction)) = cx.connections.client(client) {
                let (ending, verdict) = (Ending::Abandon, Verdict::Failed);
                transactions.end(cx, services, End { transaction, ending, verdict, reason: "cut" });
            }
        }
    }

    /// Cuts connections and requests of clients that are banned now. weir's own responses are still sent: they may tell the
    /// client of the ban. So are those to requests that have caused the ban themselves.
    pub fn cut_clients(&mut self, cx: &mut Context, is_banned: &dyn Fn(IpAddr) -> bool) {
        let ids: Vec<PeerId> = cx.connections.iter().map(|(id, _)| id).collect();
        for id in ids {
            let Machines { downstream, transactions, tunnels, services } = self;
            let Some(peer) = cx.connections.get(id) else { continue };
            let Role::Client(client) = peer.role else { continue };
            match client {
                Client::Transaction(transaction) => {
                    let banned = transactions.get_mut(transaction).is_some_and(|transaction| {
                        transaction.stage != Stage::Replying
                            && !transaction.guarded.outlives_ban
                            && is_banned(transaction.record.client.ip())
                    });
                    if banned {
                        cx.metrics.guard_cut += 1;
                        let (ending, verdict) = (Ending::Abandon, Verdict::Refused);
                        transactions.end(
                            cx,
                            services,
                            End { transaction, ending, verdict, reason: "banned" },
                        );
                    }
                }
                Client::Tunnel(tunnel) if is_banned(peer.address.ip) => {
                    cx.metrics.guard_cut += 1;
                    tunnels.cut(cx, tunnel, "banned");
                }
                Client::Idle | Client::Reading(_) if is_banned(peer.address.ip) => downstream.close(cx, id),
                Client::Idle | Client::Reading(_) | Client::Tunnel(_) | Client::Lingering { .. } => {}
            }
            self.carry_out_effects(cx);
        }
    }

    /// Ends everything at once: the drain time is over, or weir was told to quit.
    pub fn cut(&mut self, cx: &mut Context) {
        if let Some(fills) = self.services.fills.built() {
            fills.cut(cx);
        }
        self.carry_out_effects(cx);
        let ids: Vec<PeerId> = cx.connections.iter().map(|(id, _)| id).collect();
        for id in ids {
            let Machines { downstream, transactions, tunnels, services } = self;
            let Some(peer) = cx.connections.get(id) else { continue };
            match peer.role {
                Role::Client(Client::Transaction(transaction)) => {
                    cx.metrics.timeouts_drain += 1;
                    let verdict = Verdict::Failed;
                    transactions.end(
                        cx,
                        services,
                        End { transaction, ending: Ending::Abandon, verdict, reason: "cut" },
                    );
                }
                Role::Client(Client::Tunnel(tunnel)) => {
                    cx.metrics.timeouts_drain += 1;
                    tunnels.cut(cx, tunnel, "cut");
                }
                Role::Client(client) => {
                    let has_begun = matches!(client, Client::Reading(_)) && !downstream.is_idle(cx, client);
                    cx.metrics.timeouts_drain += u64::from(has_begun);
                    downstream.handle_head_end(cx, id, "cut");
                }
                Role::Upstream { state, .. } if state.is_waiting() => services.upstreams.close(cx, id),
                // Other upstream connections end with their transactions and tunnels.
                Role::Upstream { .. } => {}
            }
            self.carry_out_effects(cx);
        }
    }
}
