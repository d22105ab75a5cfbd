//! Dialling: a new connection to one of the addresses that the policy has approved.
//!
//! The addresses of a name are tried in the resolver's order, each a little after the last one if that has not come about
//! (RFC 8305 section 5). The first connection that stands carries the transaction; the others are closed.
//!
//! A [`Connect`] is `Resolving` until a look-up has ended, `Dialling` until a connection stands or all attempts have failed, and
//! `Done` until the transaction is told. Its one timer is that of the client connection, which has nothing else to wait for.

use super::resolution::{Progress, Resolving};
use super::route::Hop;
use super::{Attached, Bond, Found, Request, Upstreams};
use crate::engine::connections::{Peer, PeerId, Role, TransactionId, UpstreamState};
use crate::engine::context::Context;
use crate::engine::effect::Effect;
use crate::engine::settings::{
    ADDRESSES_MAX, ATTEMPT_DELAY_MS, ATTEMPTS_MAX, LOOK_UPS_CROWDED, LOOK_UPS_LEAST, LOOK_UPS_SHARE,
};
use crate::engine::transaction::refusal::{Refusal, SocketError};
use crate::engine::{Action, Event};
use crate::http::target::{Authority, Host};
use crate::policy::Policy;
use crate::policy::acl::Grant;
use crate::resolver::Failure;
use slab::Slab;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Index of a connect in its slab, with the serial number that tells it from earlier ones at the same index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct ConnectId {
    index: u32,
    serial: u32,
}

impl ConnectId {
    pub fn get(self, connects: &Slab<Connect>) -> Option<&Connect> {
        connects.get(self.index as usize).filter(|connect| connect.serial == self.serial)
    }

    pub fn get_mut(self, connects: &mut Slab<Connect>) -> Option<&mut Connect> {
        connects.get_mut(self.index as usize).filter(|connect| connect.serial == self.serial)
    }
}

/// How long look-ups and handshakes took, in microseconds, and the address that was tried last. For the log.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine) struct Timings {
    pub dns_us: Option<u64>,
    pub connect_us: Option<u64>,
    pub address: Option<SocketAddr>,
}

/// A connection that is being made for one transaction.
#[derive(Debug)]
pub(in crate::engine) struct Connect {
    pub serial: u32,
    pub transaction: TransactionId,
    pub client: PeerId,
    /// What look-ups are counted by: the client's address, or its network.
    pub accountable: IpAddr,
    pub authority: Authority,
    /// The configuration names the authority: nothing is judged.
    pub configured: bool,
    pub grant: Grant,
    pub policy: Arc<Policy>,
    /// No connection of the pool will do.
    pub fresh: bool,
    /// The request can be sent once more should its connection turn out to be dead.
    pub repeatable: bool,
    pub timings: Timings,
    /// When the stage began, in microseconds since the loop started.
    pub since_us: u64,
    pub stage: Stage,
}

/// How far a connect has come.
// Connects lie in a slab: a box would be an allocation for every request that dials.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) enum Stage {
    Resolving(Resolving),
    Dialling(Dial),
    /// The transaction is about to be told.
    Done(Result<Attached, Refusal>),
}

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

    fn attempts(&self) -> impl Iterator<Item = PeerId> + use<> {
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

impl Connect {
    fn new(cx: &Context, request: &Request<'_>, grant: Grant, fresh: bool, serial: u32) -> Connect {
        let Hop { authority, configured } = request.info.next_hop();
        let known = match authority.host {
            Host::Address(address) => Some(address),
            Host::Name(_) => None,
        };
        Connect {
            serial,
            transaction: request.transaction,
            client: request.client,
            accountable: cx.settings.accountable(request.client_address),
            authority: *authority,
            configured,
            grant,
            policy: Arc::clone(request.policy),
            fresh,
            repeatable: request.repeatable,
            timings: Timings::default(),
            since_us: cx.now.monotonic_us,
            stage: Stage::Dialling(Dial::new(known.into_iter())),
        }
    }

    pub fn hop(&self) -> Hop<'_> {
        Hop { authority: &self.authority, configured: self.configured }
    }

    /// Notes how long the stage took that is over, however it ended.
    pub fn end_stage(&mut self, cx: &Context) {
        let taken_us = match self.stage {
            Stage::Resolving(_) => &mut self.timings.dns_us,
            Stage::Dialling(_) => &mut self.timings.connect_us,
            Stage::Done(_) => return,
        };
        let passed_us = cx.now.monotonic_us.saturating_sub(self.since_us);
        *taken_us = Some(taken_us.unwrap_or(0).saturating_add(passed_us));
    }
}

/// What a step of a connect has come to.
pub(in crate::engine) enum Step {
    /// An event will come.
    Wait,
    Done(Attached),
    Failed(Refusal),
}

impl Upstreams {
    /// Whether the client has as many look-ups in flight as one may when there are many.
    pub(super) fn has_exhausted_look_ups(&self, cx: &Context, client: IpAddr) -> bool {
        let accountable = cx.settings.accountable(client);
        let crowded = cx.settings.share_of(LOOK_UPS_CROWDED, LOOK_UPS_LEAST[0]);
        let share = cx.settings.share_of(LOOK_UPS_SHARE, LOOK_UPS_LEAST[1]);
        let waiting = || self.look_ups.values().flatten().filter_map(|id| id.get(&self.connects));
        self.look_ups.len() > crowded
            && waiting().filter(|connect| connect.accountable == accountable).take(share).count() == share
    }

    pub(super) fn begin_connect(
        &mut self,
        cx: &mut Context,
        request: &Request<'_>,
        grant: Grant,
        fresh: bool,
    ) -> Found {
        self.next_serial = self.next_serial.wrapping_add(1);
        let serial = self.next_serial;
        let connect = Connect::new(cx, request, grant, fresh, serial);
        let id = ConnectId { index: self.connects.insert(connect) as u32, serial };
        let step = match request.info.next_hop().authority.host {
            Host::Address(_) => self.dial_next(cx, id),
            Host::Name(_) => self.resolve(cx, id, Progress::default()),
        };
        match step {
            Step::Wait => Found::Pending(id),
            Step::Done(attached) => {
                let connect = self.connects.remove(id.index as usize);
                Found::Connection(attached, connect.timings)
            }
            Step::Failed(refusal) => {
                let connect = self.connects.remove(id.index as usize);
                Found::Refused(refusal, connect.timings)
            }
        }
    }

    /// Reports a step of a connect that has waited for an event.
    pub(super) fn conclude(&mut self, cx: &mut Context, id: ConnectId, step: Step) {
        let result = match step {
            Step::Wait => return,
            Step::Done(attached) => Ok(attached),
            Step::Failed(refusal) => Err(refusal),
        };
        if let Some(connect) = id.get_mut(&mut self.connects) {
            connect.stage = Stage::Done(result);
            cx.send(Effect::Connected(id));
        }
    }

    /// How a connect has ended, of which that was reported.
    pub fn take_connected(&mut self, id: ConnectId) -> Option<Connected> {
        let Connect { transaction, timings, stage: Stage::Done(result), .. } = *id.get(&self.connects)?
        else {
            return None;
        };
        self.connects.remove(id.index as usize);
        Some(Connected { transaction, timings, result })
    }

    /// The request can be sent once more, or cannot any more, should its connection turn out to be dead.
    pub fn set_repeatable(&mut self, id: ConnectId, repeatable: bool) {
        if let Some(connect) = id.get_mut(&mut self.connects) {
            connect.repeatable = repeatable;
        }
    }

    /// Begins to try the addresses.
    pub(super) fn dial(&mut self, cx: &mut Context, id: ConnectId, dial: Dial) -> Step {
        let Some(connect) = id.get_mut(&mut self.connects) else { return Step::Wait };
        (connect.stage, connect.since_us) = (Stage::Dialling(dial), cx.now.monotonic_us);
        self.dial_next(cx, id)
    }

    /// Begins the next attempt, if there is one to begin.
    fn dial_next(&mut self, cx: &mut Context, id: ConnectId) -> Step {
        let Upstreams { connects, pool, .. } = self;
        let Some(connect) = id.get_mut(connects) else { return Step::Wait };
        let Stage::Dialling(dial) = &mut connect.stage else { return Step::Wait };
        let free = dial.attempts.iter_mut().find(|place| place.is_none());
        if let (Some(place), true) = (free, dial.next < dial.len) {
            let address = SocketAddr::new(dial.addresses[dial.next], connect.authority.port);
            dial.next += 1;
            let group = pool.join(Hop { authority: &connect.authority, configured: connect.configured });
            let state = UpstreamState::Connecting(id);
            let attempt = cx.connections.insert(Peer::new(address, Role::Upstream { group, state }));
            *place = Some(attempt);
            cx.set_timer(attempt, cx.settings.timeouts.connect_ms);
            connect.timings.address = Some(address);
            cx.metrics.dialled += 1;
            cx.actions.push_back(Action::Connect { peer: attempt, address });
        }
        if dial.next < dial.len {
            cx.set_timer(connect.client, ATTEMPT_DELAY_MS);
        } else if dial.attempts().next().is_none() {
            let refusal = Refusal::Connect(dial.last_error);
            connect.end_stage(cx);
            return Step::Failed(refusal);
        } else {
            cx.timers.clear(connect.client);
        }
        Step::Wait
    }

    /// Something happened on a connection that is being made.
    pub fn handle_connecting(&mut self, cx: &mut Context, connection: PeerId, id: ConnectId, event: Event) {
        match event {
            Event::Connected => self.handle_connected(cx, connection, id),
            Event::Failed(error) | Event::SendFailed(error) => {
                self.handle_attempt_failure(cx, connection, id, error);
            }
            Event::EndOfStream => self.handle_attempt_failure(cx, connection, id, SocketError::Reset),
            Event::Received(_) | Event::Spliced(_) | Event::Sent(_) => {}
        }
    }

    /// A connection stands that was dialled.
    fn handle_connected(&mut self, cx: &mut Context, connection: PeerId, id: ConnectId) {
        let Some(connect) = id.get_mut(&mut self.connects) else { return self.close(cx, connection) };
        connect.end_stage(cx);
        connect.timings.address = cx.connections.address(connection);
        if let Stage::Dialling(dial) = connect.stage {
            let losers = dial.attempts().filter(|attempt| *attempt != connection);
            losers.for_each(|loser| self.close(cx, loser));
        }
        let attached = Attached { connection, opened_ms: cx.now_ms(), reused: false, bond: Bond::None };
        self.conclude(cx, id, Step::Done(attached));
    }

    /// A connection that was dialled has failed.
    pub fn handle_attempt_failure(
        &mut self,
        cx: &mut Context,
        connection: PeerId,
        id: ConnectId,
        error: SocketError,
    ) {
        cx.metrics.dials_failed += 1;
        self.close(cx, connection);
        let Some(connect) = id.get_mut(&mut self.connects) else { return };
        if let Stage::Dialling(dial) = &mut connect.stage {
            dial.forget(connection);
            dial.last_error = error;
            let step = self.dial_next(cx, id);
            self.conclude(cx, id, step);
        }
    }

    /// The client's timer has fired: it is time for the next address, or a look-up takes too long.
    pub fn handle_connect_deadline(&mut self, cx: &mut Context, id: ConnectId) {
        let Some(connect) = id.get_mut(&mut self.connects) else { return };
        let step = match connect.stage {
            Stage::Dialling(_) => self.dial_next(cx, id),
            Stage::Resolving(resolving) => {
                connect.end_stage(cx);
                self.cancel_look_up(resolving.look_up, id);
                Step::Failed(Refusal::Dns(Failure::Timeout))
            }
            Stage::Done(_) => Step::Wait,
        };
        self.conclude(cx, id, step);
    }

    /// Gives a connect up. Returns how long it has taken so far.
    pub fn cancel(&mut self, cx: &mut Context, id: ConnectId) -> Timings {
        let Some(connect) = id.get_mut(&mut self.connects) else { return Timings::default() };
        connect.end_stage(cx);
        let Connect { stage, timings, .. } = self.connects.remove(id.index as usize);
        match stage {
            Stage::Resolving(resolving) => self.cancel_look_up(resolving.look_up, id),
            Stage::Dialling(dial) => dial.attempts().for_each(|attempt| self.close(cx, attempt)),
            Stage::Done(Ok(attached)) => self.close(cx, attached.connection),
            Stage::Done(Err(_)) => {}
        }
        timings
    }
}

/// How a connect has ended.
#[derive(Debug)]
pub(in crate::engine) struct Connected {
    pub transaction: TransactionId,
    pub timings: Timings,
    pub result: Result<Attached, Refusal>,
}
