//! Dialling: a new connection to one of the addresses that the policy has approved.
//!
//! The addresses of a name are tried in the resolver's order, each a little after the last one if that is not
//! established yet (RFC 8305 section 5). The first established connection carries the transaction; the others are
//! closed.
//!
//! A [`Connect`] is `Resolving` until a look-up has ended, `Dialling` until a connection is established or all attempts have
//! failed, and `Done` until the transaction gets the result. Its one timer is that of the client connection, which waits for
//! nothing else.

use super::Upstreams;
use super::connect::{Attached, Connect, Dial, Found, Progress, Request, Stage, Step, Timings};
use super::pinning::Pinning;
use super::route::Hop;
use crate::engine::connections::{Peer, Role, UpstreamState};
use crate::engine::context::Context;
use crate::engine::effect::Effect;
use crate::engine::ids::{ConnectId, PeerId, TransactionId};
use crate::engine::settings::{ATTEMPT_DELAY_MS, LOOK_UPS_CROWDED, LOOK_UPS_LEAST, LOOK_UPS_SHARE};
use crate::engine::transaction::refusal::{Refusal, SocketError};
use crate::engine::{Action, Event};
use crate::http::target::Host;
use crate::policy::acl::Grant;
use crate::resolver::Failure;
use std::net::{IpAddr, SocketAddr};

impl Upstreams {
    /// Whether the client has its share of look-ups in flight, when there are many.
    pub(super) fn has_exhausted_look_ups(&self, cx: &Context, client: IpAddr) -> bool {
        let accountable = cx.settings.accountable(client);
        // The resolver may have a lower limit, by --memory or for want of descriptors.
        let crowded =
            cx.settings.share_of(LOOK_UPS_CROWDED, LOOK_UPS_LEAST[0]).min(self.resolver.look_ups_max() / 2);
        let share = cx.settings.share_of(LOOK_UPS_SHARE, LOOK_UPS_LEAST[1]).min(crowded.div_ceil(2).max(1));
        let ids = || self.look_ups.iter().flat_map(|(_, ids)| ids);
        let waiting = || ids().filter_map(|id| id.get(&self.connects));
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

    /// The result of a connect whose end was reported.
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

    /// Begins the next attempt, if an address is left.
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
        let grant = connect.grant;
        if let Stage::Dialling(dial) = connect.stage {
            let losers = dial.attempts().filter(|attempt| *attempt != connection);
            losers.for_each(|loser| self.close(cx, loser));
        }
        let attached =
            Attached { connection, opened_ms: cx.now_ms(), reused: false, pinning: Pinning::None, grant };
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

    /// Handles the client's timer: the next address is due, or a look-up takes too long.
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

/// The result of a connect.
#[derive(Debug)]
pub(in crate::engine) struct Connected {
    pub transaction: TransactionId,
    pub timings: Timings,
    pub result: Result<Attached, Refusal>,
}
