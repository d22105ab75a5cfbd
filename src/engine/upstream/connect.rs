//! The request of a transaction to the upstream machine and its result, and a connect under way in between: plain data, which
//! the files of this folder use.

use super::pinning::Pinning;
use super::route::Hop;
use crate::engine::context::Context;
use crate::engine::ids::{ConnectId, PeerId, TransactionId};
use crate::engine::settings::{ADDRESSES_MAX, ATTEMPTS_MAX};
use crate::engine::transaction::refusal::{Refusal, SocketError};
use crate::engine::transaction::request::RequestInfo;
use crate::http::target::{Authority, Host};
use crate::policy::Policy;
use crate::policy::acl::{self, Grant};
use crate::resolver::{Failure, LookUpId, Walk};
use slab::Slab;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// The needs of a transaction that requests a connection.
pub(in crate::engine) struct Request<'a> {
    pub transaction: TransactionId,
    pub client: PeerId,
    pub client_address: IpAddr,
    pub info: &'a RequestInfo,
    /// The policy that the transaction began with.
    pub policy: &'a Arc<Policy>,
    /// No connection of the pool may be used.
    pub fresh: bool,
    /// The request can be sent once more should its connection turn out to be dead.
    pub repeatable: bool,
    /// The connection that was pinned to the client has ended: no other may carry the request.
    pub pin_lost: bool,
}

/// A connection that can carry a transaction.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Attached {
    pub connection: PeerId,
    /// When the connection was opened, in milliseconds since the loop started.
    pub opened_ms: u64,
    pub reused: bool,
    /// The client to which the connection belongs.
    pub pinning: Pinning,
    /// The grant by which its address was judged: that of the request, or of a candidate for its name.
    pub grant: Grant,
}

/// The result of a request for a connection.
pub(in crate::engine) enum Found {
    Connection(Attached, Timings),
    /// An effect will have the result.
    Pending(ConnectId),
    Refused(Refusal, Timings),
    /// The connection that is pinned to the client is closed: the rules no longer allow it, or it is lost.
    PinRefused(Refusal),
}

/// The needs that an idle connection has to meet.
pub(in crate::engine) struct Need<'a> {
    pub hop: Hop<'a>,
    pub grant: &'a Grant,
    pub policy: &'a Policy,
}

impl ConnectId {
    pub fn get(self, connects: &Slab<Connect>) -> Option<&Connect> {
        connects.get(self.index as usize).filter(|connect| connect.serial == self.serial)
    }

    pub fn get_mut(self, connects: &mut Slab<Connect>) -> Option<&mut Connect> {
        connects.get_mut(self.index as usize).filter(|connect| connect.serial == self.serial)
    }
}

/// The times of look-ups and handshakes, in microseconds, and the address that was tried last. For the log.
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
    /// The key by which look-ups are counted: the client's address, or its network.
    pub accountable: IpAddr,
    pub authority: Authority,
    /// The configuration names the authority, so nothing is judged.
    pub configured: bool,
    /// The grant of the request; once its name has addresses, that of the candidate which has them.
    pub grant: Grant,
    pub policy: Arc<Policy>,
    /// No connection of the pool may be used.
    pub fresh: bool,
    /// The request can be sent once more should its connection turn out to be dead.
    pub repeatable: bool,
    pub timings: Timings,
    /// When the stage began, in microseconds since the loop started.
    pub since_us: u64,
    pub stage: Stage,
}

/// The stage of a connect.
// Connects lie in a slab: a box would be an allocation for every request that dials.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) enum Stage {
    Resolving(Resolving),
    Dialling(Dial),
    /// The transaction is about to get the result.
    Done(Result<Attached, Refusal>),
}

/// The attempts to reach one origin.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Dial {
    /// Approved addresses only.
    pub(super) addresses: [IpAddr; ADDRESSES_MAX],
    pub(super) len: usize,
    /// The next one to try.
    pub(super) next: usize,
    pub(super) attempts: [Option<PeerId>; ATTEMPTS_MAX],
    pub(super) last_error: SocketError,
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

    /// Whether no address is left to try.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn attempts(&self) -> impl Iterator<Item = PeerId> + use<> {
        self.attempts.into_iter().flatten()
    }

    pub(super) fn forget(&mut self, attempt: PeerId) {
        for place in &mut self.attempts {
            if *place == Some(attempt) {
                *place = None;
            }
        }
    }
}

impl Connect {
    pub(super) fn new(
        cx: &Context,
        request: &Request<'_>,
        grant: Grant,
        fresh: bool,
        serial: u32,
    ) -> Connect {
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

/// The result of one step of a connect.
pub(in crate::engine) enum Step {
    /// An event will continue the connect.
    Wait,
    Done(Attached),
    Failed(Refusal),
}

/// A look-up that a connect waits for.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Resolving {
    pub look_up: LookUpId,
    pub(super) progress: Progress,
}

/// The progress of a connect with the candidates of its name.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine) struct Progress {
    pub(super) walk: Walk,
    /// The failure of the last candidate.
    pub(super) failure: Option<Failure>,
    /// The refusal of a candidate that was passed over.
    pub(super) refused: Option<acl::Refusal>,
    /// The grant for the present candidate.
    pub(super) grant: Grant,
}
