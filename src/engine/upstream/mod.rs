//! Connections to origins: finding, dialling, reuse, pinning to a client.
//!
//! # Theory of operation
//!
//! A transaction requests a connection ([`Upstreams::find`]). It gets one at once if there is one: the connection that is
//! pinned to its client (`pin`), or an idle one of the pool (`reuse`). Otherwise a [`Connect`] begins, which resolves the
//! name (`resolution`), judges each address, and dials them one after the other (`connecting`); the transaction gets its
//! result as an effect. A connection that has carried a response goes back to the pool, is pinned to its client, or is closed.

pub(in crate::engine) mod connect;
pub(in crate::engine) mod connecting;
mod names;
pub(in crate::engine) mod pin;
pub(in crate::engine) mod pinning;
pub(in crate::engine) mod pool;
pub(in crate::engine) mod resolution;
pub(in crate::engine) mod reuse;
pub(in crate::engine) mod route;
pub(in crate::engine) mod routing;

use crate::engine::Action;
use crate::engine::connections::UpstreamState;
use crate::engine::context::Context;
use crate::engine::effect::Effect;
use crate::engine::ids::{ConnectId, PeerId, TransactionId};
use crate::engine::settings::Settings;
use crate::engine::transaction::refusal::Refusal;
use crate::engine::transaction::request::Method;
use crate::guard::told::Asker;
use crate::http::target::{Authority, Host};
use crate::net::Keyed;
use crate::policy::acl::{self, Grant};
use crate::resolver::{LookUpId, Resolver};
pub(in crate::engine) use connect::{Attached, Found, Request};
use connect::{Connect, Need, Timings};
use names::Names;
use pinning::{Pinned, Pinning};
use pool::UpstreamPool;
use route::Hop;
use slab::Slab;

/// All upstream connections of one loop, and the resolver for their names.
pub(in crate::engine) struct Upstreams {
    pub pool: UpstreamPool,
    pub resolver: Resolver,
    connects: Slab<Connect>,
    /// Connects that wait for a look-up. A list, since look-ups in flight are few: a tree of them is 5 KB of code.
    look_ups: Vec<(LookUpId, Vec<ConnectId>)>,
    names: Names,
    next_serial: u32,
}

impl Upstreams {
    pub fn new(settings: &Settings, keyed: Keyed, resolver: Resolver) -> Upstreams {
        Upstreams {
            pool: UpstreamPool::new(
                keyed,
                settings.origins_idle_max,
                settings.origins_idle_per_authority_max,
            ),
            resolver,
            connects: Slab::new(),
            look_ups: Vec::new(),
            names: Names::default(),
            next_serial: 0,
        }
    }

    /// Finds a connection for a transaction whose request was granted.
    pub fn find(&mut self, cx: &mut Context, request: &Request<'_>) -> Found {
        let hop = request.info.next_hop();
        if request.info.method != Method::Connect && self.pool.is_pinned(request.client, hop) {
            return self.take_pinned(cx, request);
        }
        if request.pin_lost {
            return Found::Refused(Refusal::OriginClosed, Timings::default());
        }
        let Some(grant) = request.info.grant else {
            debug_assert!(false, "a transaction asks for a connection when the policy has granted it");
            return Found::Refused(Refusal::OriginClosed, Timings::default());
        };
        let mut fresh = request.fresh;
        let need = Need { hop, grant: &grant, policy: request.policy };
        if let Some(connection) = self.take_idle(cx, &need, &mut fresh, request.repeatable, None) {
            let attached = self.engage(cx, connection, request.transaction, grant);
            return Found::Connection(attached, Timings::default());
        }
        if matches!(hop.authority.host, Host::Name(_))
            && self.has_exhausted_look_ups(cx, request.client_address)
        {
            return Found::Refused(Refusal::TooManyLookUps, Timings::default());
        }
        self.begin_connect(cx, request, grant, fresh)
    }

    /// Takes an idle connection out of the pool, for a transaction.
    fn engage(
        &mut self,
        cx: &mut Context,
        connection: PeerId,
        transaction: TransactionId,
        grant: Grant,
    ) -> Attached {
        let opened_ms = match cx.connections.upstream(connection) {
            Some((_, UpstreamState::Idle(idle))) => self.pool.reuse(idle, cx.now_ms()),
            Some(_) | None => cx.now_ms(),
        };
        cx.connections.set_upstream(connection, UpstreamState::Busy(transaction));
        Attached { connection, opened_ms, reused: true, pinning: Pinning::None, grant }
    }

    /// Takes the connection that is pinned to the client and leads to the transaction's next hop.
    fn take_pinned(&mut self, cx: &mut Context, request: &Request<'_>) -> Found {
        let Some(Pinned { upstream, pinning, judged, opened_ms, .. }) = self.pool.unpin(request.client)
        else {
            return Found::PinRefused(Refusal::OriginClosed);
        };
        let known = (judged.edition == request.policy.acl.edition()).then_some(judged.grant);
        match self.judge_pinned(cx, request, upstream, known) {
            Ok(grant) => {
                let attached = Attached { connection: upstream, opened_ms, reused: true, pinning, grant };
                Found::Connection(attached, Timings::default())
            }
            Err(refusal) => {
                // The rules have changed. The client is closed with its connection.
                self.close(cx, upstream);
                Found::PinRefused(refusal)
            }
        }
    }

    /// Judges a pinned connection for a request, by the grant of the present rules if it is known. After a reload the names on
    /// the way are judged again; where aliases are judged, or where only another name of the search list can be on the
    /// allowlist, the connection is given up, because it does not tell which names led to it.
    fn judge_pinned(
        &self,
        cx: &Context,
        request: &Request<'_>,
        upstream: PeerId,
        known: Option<Grant>,
    ) -> Result<Grant, Refusal> {
        let Hop { authority, configured } = request.info.next_hop();
        let (acl, port) = (&request.policy.acl, authority.port);
        let address = cx.connections.get(upstream).ok_or(Refusal::OriginClosed)?.address;
        let grant = known.or(request.info.grant).ok_or(Refusal::OriginClosed)?;
        if configured {
            return Ok(grant);
        }
        let name = match &authority.host {
            Host::Name(name) if known.is_none() => Some(name),
            Host::Name(_) | Host::Address(_) => None,
        };
        let mut is_searched = false;
        for candidate in name.into_iter().flat_map(|name| self.resolver.searched_names(name)) {
            is_searched = true;
            acl.judge_name(&candidate, port).map_err(Refusal::Denied)?;
        }
        acl.judge_address(&grant, address.ip, address.port()).map_err(|denied| match denied {
            acl::Refusal::NotOnAllowlist if is_searched => Refusal::OriginClosed,
            denied => Refusal::Denied(denied),
        })?;
        let asked =
            || Asker { authority: Some(&request.info.authority), ..Asker::by(request.client_address) };
        cx.settings.admit_destination(address.ip, asked, cx.now).map_err(Refusal::Guarded)?;
        match name.is_some() && self.resolver.collects_aliases() {
            true => Err(Refusal::OriginClosed),
            false => Ok(grant),
        }
    }

    /// Records the HTTP version of an origin, from a response head.
    pub fn note_version(&mut self, cx: &Context, authority: &Authority, http10: bool) {
        self.pool.set_http10(cx.now_ms(), authority, http10);
    }

    /// Closes an upstream connection in any state. The caller must end its transaction or tunnel.
    pub fn close(&mut self, cx: &mut Context, id: PeerId) {
        if self.remove(cx, id) {
            cx.actions.push_back(Action::Close(id));
        }
    }

    /// Closes an upstream connection with a reset that destroys no bytes.
    pub fn reset_delivered(&mut self, cx: &mut Context, id: PeerId) {
        if self.remove(cx, id) {
            cx.actions.push_back(Action::ResetDelivered(id));
        }
    }

    fn remove(&mut self, cx: &mut Context, id: PeerId) -> bool {
        let Some((group, state)) = cx.connections.upstream(id) else { return false };
        match state {
            UpstreamState::Idle(idle) => self.pool.set_busy(idle),
            UpstreamState::Pinned(client) => {
                if let Some(pinned) = self.pool.unpin(client) {
                    let Hop { authority, configured } = self.pool.hop(group);
                    let authority = Box::new(*authority);
                    cx.send(Effect::PinEnded { client, authority, configured, rooted: pinned.rooted });
                }
            }
            UpstreamState::Connecting(_)
            | UpstreamState::Busy(_)
            | UpstreamState::Tunnel(_)
            | UpstreamState::Filling(_) => {}
        }
        self.pool.leave(group);
        cx.connections.remove(id);
        cx.timers.clear(id);
        true
    }

    /// Closes all idle connections, because descriptors are needed. False if there were none.
    pub fn shed_idle(&mut self, cx: &mut Context) -> bool {
        let any = self.pool.longest_idle().is_some();
        while let Some(oldest) = self.pool.longest_idle() {
            cx.metrics.origins_shed += 1;
            self.close(cx, oldest);
        }
        any
    }

    /// Sets other limits.
    pub fn set_limits(&mut self, cx: &mut Context, idle_max: usize, idle_per_authority_max: usize) {
        self.pool.set_limits(idle_max, idle_per_authority_max);
        while let Some(excess) = self.pool.any_excess() {
            cx.metrics.origins_shed += 1;
            self.close(cx, excess);
        }
    }
}
