//! The idle connections that may carry a request (rule 45), and how long a connection waits for one.
//!
//! A connection to a name is reused only while its address is among the name's present addresses. The resolver's answer for a
//! name is recorded with the connections to it for as long as it is valid; then the name is looked up again before one of
//! them is used. So there is one look-up for each lifetime of an answer, for any number of requests, and no request goes to a
//! host that the name has left.
//!
//! An idle connection may be dead without any sign: the FIN of its origin is under way, or was lost. A request that can be
//! sent twice finds that out at no cost. One that cannot (a POST; an upload that is too long to be kept) would fail, so it
//! gets a fresh connection. All origins close connections that are idle for too long, which is the usual cause. So there is
//! one exception: if an origin was seen to keep a connection for two seconds, one that was used within the last half second
//! may carry such a request, if a last look at the socket finds no end. An origin that closes one earlier loses this
//! exception. A connection that is passed over is closed, as in Squid, if another one is left: a client that only posts would
//! fill the pool.

use super::Upstreams;
use super::connect::Need;
use super::pool::Idle;
use crate::engine::connections::UpstreamState;
use crate::engine::context::Context;
use crate::engine::ids::{GroupId, PeerId};
use crate::engine::upstream::route::Hop;
use crate::http::target::{Host, Name};
use crate::resolver::Addresses;

impl Upstreams {
    /// Makes a connection available to other transactions, unless it is too old.
    pub fn set_idle(&mut self, cx: &mut Context, id: PeerId, opened_ms: u64) {
        let left_ms = cx.settings.lifetime_left_ms(opened_ms, cx.now_ms());
        if left_ms == 0 {
            cx.metrics.origins_aged += 1;
            self.close(cx, id);
            return;
        }
        let Some((group, state)) = cx.connections.upstream(id) else { return };
        debug_assert!(!state.is_waiting(), "a connection becomes idle once");
        let idle = self.pool.set_idle(group, id, opened_ms, cx.now_ms());
        cx.connections.set_upstream(id, UpstreamState::Idle(idle));
        cx.set_timer(id, cx.settings.timeouts.origin_idle_ms.min(left_ms));
        self.shed_excess(cx, group);
        // The origin may have sent bytes, or closed, while the connection was not read.
        cx.wake(id);
    }

    /// Closes idle connections beyond the limits.
    pub(super) fn shed_excess(&mut self, cx: &mut Context, group: GroupId) {
        while let Some(shed) = self.pool.excess(group) {
            cx.metrics.limit_origins_idle += 1;
            self.close(cx, shed);
        }
    }

    /// Handles an event of a connection that waits for a transaction: bytes on it are no response (rule 33).
    pub fn handle_unasked(&mut self, cx: &mut Context, id: PeerId, state: UpstreamState) {
        if let UpstreamState::Idle(idle) = state {
            self.pool.note_end(idle, cx.now_ms());
        }
        cx.metrics.origins_stale += 1;
        self.close(cx, id);
    }

    /// A connection has waited for too long, or has become too old meanwhile.
    pub fn handle_idle_deadline(&mut self, cx: &mut Context, id: PeerId, state: UpstreamState) {
        let opened_ms = match state {
            UpstreamState::Idle(idle) => self.pool.opened_ms(idle),
            UpstreamState::Pinned(client) => self.pool.pinned_opened_ms(client),
            UpstreamState::Connecting(_)
            | UpstreamState::Busy(_)
            | UpstreamState::Tunnel(_)
            | UpstreamState::Filling(_) => return,
        };
        if cx.settings.lifetime_left_ms(opened_ms, cx.now_ms()) == 0 {
            cx.metrics.origins_aged += 1;
        } else {
            cx.metrics.timeouts_origin_idle += 1;
        }
        self.close(cx, id);
    }

    /// An idle connection that meets the need: to an address that was `told`, or that the name is known to have. `fresh` is
    /// set if a connection was passed over, so that no other is taken.
    pub(super) fn take_idle(
        &mut self,
        cx: &mut Context,
        need: &Need<'_>,
        fresh: &mut bool,
        repeatable: bool,
        told: Option<&Addresses>,
    ) -> Option<PeerId> {
        if *fresh {
            return None;
        }
        let found = self.find_idle(cx, need, told)?;
        if repeatable {
            return Some(found);
        }
        let Some((_, UpstreamState::Idle(idle))) = cx.connections.upstream(found) else { return None };
        if self.pool.is_proven(idle, cx.now_ms()) {
            return Some(found);
        }
        cx.metrics.origins_passed_by += 1;
        *fresh = true;
        if self.pool.has_others(idle) {
            self.close(cx, found);
        }
        None
    }

    /// An idle connection to the authority, at an address that policy and guard allow for this request and that the name has
    /// now: one of `told`, or of the recorded addresses. `None` if none is known.
    fn find_idle(&self, cx: &Context, need: &Need<'_>, told: Option<&Addresses>) -> Option<PeerId> {
        let group = self.pool.group(need.hop)?;
        // An address as host was judged when the route was chosen, by the same policy.
        let (addresses, is_judged) = match (&need.hop.authority.host, told) {
            (Host::Address(_), _) => (None, true),
            (Host::Name(_), Some(addresses)) => (Some(addresses), need.hop.configured),
            (Host::Name(name), None) if self.may_mean_another(name) => return None,
            (Host::Name(_), None) => (Some(group.addresses(cx.now.monotonic_us)?), need.hop.configured),
        };
        let may_be_used = |idle: &&Idle| {
            let Some(peer) = cx.connections.get(idle.peer) else { return false };
            let (ip, port) = (peer.address.ip, peer.address.port());
            cx.settings.lifetime_left_ms(idle.opened_ms, cx.now_ms()) > 0
                && addresses.is_none_or(|addresses| addresses.as_slice().contains(&ip))
                && (is_judged || need.policy.acl.judge_address(need.grant, ip, port).is_ok())
                && (need.hop.configured || cx.settings.allows_reuse(ip))
        };
        self.pool.idle_in(group).find(may_be_used).map(|idle| idle.peer)
    }

    /// Whether a name may lead to another host than for other requests to the same authority: a trailing dot makes no other
    /// authority, but prevents the search.
    pub(super) fn may_mean_another(&self, name: &Name) -> bool {
        name.is_rooted() && self.resolver.has_search_list()
    }

    /// Records the addresses of the name of a next hop, and closes the idle connections to others.
    pub(super) fn set_addresses(
        &mut self,
        cx: &mut Context,
        hop: Hop<'_>,
        addresses: &Addresses,
        until_us: u64,
    ) {
        if !self.pool.note_addresses(hop, addresses, until_us) {
            return;
        }
        let has_moved = |idle: &&Idle| {
            let address = cx.connections.get(idle.peer).map(|peer| peer.address.ip);
            address.is_none_or(|ip| !addresses.as_slice().contains(&ip))
        };
        let group = self.pool.group(hop);
        let idle = group.into_iter().flat_map(|group| self.pool.idle_in(group));
        let moved: Vec<PeerId> = idle.filter(has_moved).map(|idle| idle.peer).collect();
        cx.metrics.origins_moved += moved.len() as u64;
        moved.into_iter().for_each(|peer| self.close(cx, peer));
    }
}
