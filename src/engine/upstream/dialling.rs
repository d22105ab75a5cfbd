//! Finding an origin for a transaction: an idle connection, or a new one to an approved address.
//!
//! Addresses of a name are tried in the resolver's order, each a little after the last one if that has not come about
//! (RFC 8305 section 5). The first connection that stands carries the transaction; the others are closed.

use crate::engine::peer::{Origin, OriginState, Peer, Role, TransactionId};
use crate::engine::settings::{
    ADDRESSES_MAX, ATTEMPTS_MAX, LOOK_UPS_CROWDED, LOOK_UPS_LEAST, LOOK_UPS_SHARE,
};
use crate::engine::transaction::examine::Method;
use crate::engine::transaction::refusal::{Refusal, SocketError};
use crate::engine::transaction::{Stage, Transaction};
use crate::engine::upstream::binding::Bond;
use crate::engine::{Action, Engine, Event, PeerId};
use crate::http::head::Scanner;
use crate::http::target::Host;
use crate::time::Now;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The attempts to reach one origin.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Dial {
    /// Approved addresses only.
    addresses: [IpAddr; ADDRESSES_MAX],
    len: usize,
    /// The next one to try.
    next: usize,
    attempts: [Option<PeerId>; ATTEMPTS_MAX],
    last_error: SocketError,
}

impl Dial {
    pub fn new(approved: impl Iterator<Item = IpAddr>) -> Dial {
        let mut dial = Dial {
            addresses: [IpAddr::V4(Ipv4Addr::UNSPECIFIED); ADDRESSES_MAX],
            len: 0,
            next: 0,
            attempts: [None; ATTEMPTS_MAX],
            last_error: SocketError::Other,
        };
        for (place, address) in dial.addresses.iter_mut().zip(approved) {
            *place = address;
            dial.len += 1;
        }
        dial
    }

    /// Whether there is no address to try.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn attempts(&self) -> impl Iterator<Item = PeerId> + use<> {
        self.attempts.into_iter().flatten()
    }

    fn forget(&mut self, attempt: PeerId) {
        for place in &mut self.attempts {
            if *place == Some(attempt) {
                *place = None;
            }
        }
    }
}

/// Whether no idle connection will do: one has failed already, or the connection becomes something else, or is to be
/// authenticated and must be one on which nothing was said yet.
pub(in crate::engine) fn needs_fresh(transaction: &Transaction) -> bool {
    let info = &transaction.info;
    let anew = info.method == Method::Connect || info.upgrade || info.authenticates;
    anew || transaction.retried || transaction.fresh
}

impl Engine {
    /// Finds a connection for a transaction that was granted one.
    pub(in crate::engine) fn find_origin(&mut self, now: Now, id: TransactionId) {
        if let Some(origin) = self.take_pinned(id) {
            self.attach(now, id, origin, true);
            return;
        }
        let transaction = &self.transactions[id.index as usize];
        if transaction.bond_lost {
            self.refuse(now, id, Refusal::OriginClosed);
            return;
        }
        let authority = transaction.info.authority;
        if let Some(origin) = self.take_idle(now, id, None) {
            self.attach(now, id, origin, true);
            return;
        }
        match authority.host {
            Host::Address(address) => self.dial(now, id, Dial::new(std::iter::once(address))),
            Host::Name(_) if self.has_its_share(id) => {
                self.refuse(now, id, Refusal::TooManyLookUps);
            }
            Host::Name(_) => self.resolve(now, id),
        }
    }

    /// Whether the client has as many look-ups in collapse as one may when there are many.
    fn has_its_share(&self, id: TransactionId) -> bool {
        let address = |id: TransactionId| {
            let transaction = self.transactions.get(id.index as usize)?;
            Some(self.settings.accountable(transaction.record.client.ip()))
        };
        let asks = address(id);
        let crowded = self.settings.share_of(LOOK_UPS_CROWDED, LOOK_UPS_LEAST[0]);
        let share = self.settings.share_of(LOOK_UPS_SHARE, LOOK_UPS_LEAST[1]);
        let waiting = self.look_ups.values().flatten();
        self.look_ups.len() > crowded
            && waiting.filter(|other| address(**other) == asks).take(share).count() == share
    }

    pub(in crate::engine) fn dial(&mut self, now: Now, id: TransactionId, dial: Dial) {
        let transaction = &mut self.transactions[id.index as usize];
        (transaction.stage, transaction.phase_us) = (Stage::Dialling(dial), now.monotonic_us);
        self.dial_next(now, id);
    }

    /// Begins the next attempt, if there is one to begin.
    pub(in crate::engine) fn dial_next(&mut self, now: Now, id: TransactionId) {
        let Engine { transactions, peers, origins, actions, deadlines, metrics, settings, .. } = self;
        let Some(transaction) = transactions.get_mut(id.index as usize) else { return };
        let Stage::Dialling(dial) = &mut transaction.stage else { return };
        let free = dial.attempts.iter_mut().find(|place| place.is_none());
        if let (Some(place), true) = (free, dial.next < dial.len) {
            let address = SocketAddr::new(dial.addresses[dial.next], transaction.info.authority.port);
            dial.next += 1;
            let group = origins.join(&transaction.info.authority);
            let state = OriginState::Connecting(id);
            let peer = Peer::new(address, Role::Origin(Origin { group, state }));
            let attempt = PeerId::from_index(peers.insert(peer));
            *place = Some(attempt);
            deadlines.set(attempt, now.monotonic_ms(), settings.timeouts.connect_ms);
            transaction.record.upstream = Some(address);
            metrics.dialled += 1;
            actions.push_back(Action::Connect { peer: attempt, address });
        }
        let client = transaction.client;
        if dial.next < dial.len {
            self.set_attempt_deadline(now, client);
        } else if dial.attempts().next().is_none() {
            let error = dial.last_error;
            self.refuse(now, id, Refusal::Connect(error));
        } else {
            self.deadlines.clear(client);
        }
    }

    /// Something happened on an origin connection.
    pub(in crate::engine) fn handle_origin(&mut self, now: Now, id: PeerId, event: Event) {
        match event {
            Event::Received(count) | Event::Spliced(count) => self.metrics.origin_bytes_in += count as u64,
            Event::Sent(count) => self.metrics.origin_bytes_out += count as u64,
            Event::Connected | Event::EndOfStream | Event::SendFailed(_) | Event::Failed(_) => {}
        }
        let Some(origin) = self.origin_mut(id) else { return };
        match origin.state {
            OriginState::Connecting(transaction) => match event {
                Event::Connected => self.handle_connected(now, id, transaction),
                Event::Failed(error) | Event::SendFailed(error) => {
                    self.handle_attempt_failure(now, id, transaction, error);
                }
                Event::EndOfStream => self.handle_attempt_failure(now, id, transaction, SocketError::Reset),
                Event::Received(_) | Event::Spliced(_) | Event::Sent(_) => {}
            },
            OriginState::Busy(transaction) => self.handle_transaction_origin(now, transaction, event),
            OriginState::Tunnel(tunnel) => self.handle_tunnel_origin(now, tunnel, event),
            OriginState::Filling(fill) => self.handle_fill_origin(now, fill, event),
            // Nobody asked for anything (rule 33).
            OriginState::Idle(_) | OriginState::Pinned(_) => {
                if let OriginState::Idle(idle) = origin.state {
                    self.origins.note_end(idle, now.monotonic_ms());
                }
                self.metrics.origins_stale += 1;
                self.close_origin(id);
            }
        }
    }

    fn handle_connected(&mut self, now: Now, origin: PeerId, id: TransactionId) {
        let Some(transaction) = self.transaction_mut(id) else {
            self.close_origin(origin);
            return;
        };
        transaction.end_phase(now);
        if let Stage::Dialling(dial) = &transaction.stage {
            let losers = *dial;
            losers.attempts().filter(|attempt| *attempt != origin).for_each(|loser| self.close_origin(loser));
        }
        self.transactions[id.index as usize].record.upstream = self.address(origin);
        if self.transactions[id.index as usize].info.method == Method::Connect {
            self.establish_tunnel(now, id, origin);
        } else {
            self.attach(now, id, origin, false);
        }
    }

    pub(in crate::engine) fn handle_attempt_failure(
        &mut self,
        now: Now,
        origin: PeerId,
        id: TransactionId,
        error: SocketError,
    ) {
        self.metrics.dials_failed += 1;
        self.close_origin(origin);
        let Some(transaction) = self.transaction_mut(id) else { return };
        if let Stage::Dialling(dial) = &mut transaction.stage {
            dial.forget(origin);
            dial.last_error = error;
            self.dial_next(now, id);
        }
    }

    /// Gives the transaction its connection; the request can be sent.
    pub(in crate::engine) fn attach(&mut self, now: Now, id: TransactionId, peer: PeerId, reused: bool) {
        let Engine { transactions, peers, origins, deadlines, settings, metrics, .. } = self;
        let transaction = &mut transactions[id.index as usize];
        let Some(Peer { address, role: Role::Origin(origin), .. }) = peers.get_mut(peer.index()) else {
            return;
        };
        match origin.state {
            OriginState::Idle(idle) => transaction.opened_ms = origins.reuse(idle, now.monotonic_ms()),
            OriginState::Connecting(_) => transaction.opened_ms = now.monotonic_ms(),
            OriginState::Pinned(_)
            | OriginState::Busy(_)
            | OriginState::Tunnel(_)
            | OriginState::Filling(_) => {}
        }
        metrics.origins_reused += u64::from(reused);
        let repeatable = transaction.can_be_repeated();
        transaction.keeps_body = reused && repeatable && !transaction.up.is_received();
        transaction.looks_first = reused && !repeatable;
        origin.state = OriginState::Busy(id);
        transaction.record.upstream = Some(SocketAddr::from(*address));
        transaction.record.origin_reused = reused;
        transaction.origin = Some(peer);
        (transaction.stage, transaction.phase_us) = (Stage::Awaiting, now.monotonic_us);
        transaction.record.phases.ttfb_us = None;
        transaction.caching.requested_s = now.unix_s();
        deadlines.clear(peer);
        deadlines.set(transaction.client, now.monotonic_ms(), settings.timeouts.exchange_ms);
        self.wake(peer);
    }

    /// The origin's connection is gone before anything of the response came: it had been idle, and the origin was free to
    /// close it. Sent again once, on a fresh connection, if nothing was sent yet, or if sending twice does no harm
    /// (RFC 9110 section 9.2.2). Never if the connection was authenticated: another one is not (rule 44).
    pub(in crate::engine) fn retry(&mut self, now: Now, id: TransactionId) -> bool {
        let Some(transaction) = self.transaction_mut(id) else { return false };
        let only_here = transaction.bond == Bond::Authenticated;
        if !transaction.record.origin_reused
            || transaction.retried
            || transaction.informational > 0
            || only_here
        {
            return false;
        }
        let untouched = transaction.up.sent == 0;
        let harmless = transaction.info.method.is_idempotent() && transaction.has_body_in_hand();
        if !untouched && !harmless {
            return false;
        }
        transaction.retried = true;
        transaction.bond = Bond::None;
        transaction.scanner = Scanner::default();
        transaction.record.origin_reused = false;
        self.metrics.retries += 1;
        self.detach_origin(now, id);
        if untouched {
            self.find_origin(now, id);
        } else {
            let Engine { transactions, pool, .. } = self;
            let transaction = &mut transactions[id.index as usize];
            transaction.up.release(pool);
            (transaction.up.sent, transaction.up.received) = (0, 0);
            transaction.up_rate.forget();
            // What has come of the body is still there.
            transaction.consumed = transaction.info.head_bytes;
            self.examine(now, id);
        }
        true
    }

    /// Closes an origin connection, whatever it was doing. Its transaction must know.
    pub(in crate::engine) fn close_origin(&mut self, id: PeerId) {
        let waited_for = match self.peers.get(id.index()) {
            Some(Peer { role: Role::Origin(Origin { state: OriginState::Pinned(client), .. }), .. }) => {
                self.awaited_by(*client)
            }
            Some(_) | None => None,
        };
        let Engine { peers, origins, deadlines, actions, .. } = self;
        let Some(Peer { role: Role::Origin(origin), .. }) = peers.get(id.index()) else { return };
        let client = match origin.state {
            OriginState::Idle(idle) => {
                origins.set_busy(idle);
                None
            }
            OriginState::Pinned(client) => origins.unpin(client).map(|_| client),
            OriginState::Connecting(_)
            | OriginState::Busy(_)
            | OriginState::Tunnel(_)
            | OriginState::Filling(_) => None,
        };
        origins.leave(origin.group);
        peers.remove(id.index());
        deadlines.clear(id);
        actions.push_back(Action::Close(id));
        if let Some(client) = client {
            self.follow_origin(client, waited_for);
        }
    }

    /// The same with a reset.
    pub(in crate::engine) fn reset_origin(&mut self, id: PeerId) {
        let before = self.actions.len();
        self.close_origin(id);
        if let Some(action) = self.actions.get_mut(before) {
            *action = Action::Reset(id);
        }
    }
}
