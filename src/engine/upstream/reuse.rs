//! Which idle connection may carry a request (rule 45), and how long one waits for that.
//!
//! A connection to a name is used again only while its address is among those that the name has now. What the resolver has
//! said of a name is noted with the connections to it for as long as that holds; then it is asked again before one of
//! them is used. So there is one look-up for each lifetime of an answer, however many the requests, and none is
//! answered by a host that the name has left.
//!
//! An idle connection may be dead, and nobody here can know: the FIN of its origin is on its way, or was lost. A request that
//! can be sent twice finds that out at no cost. One that cannot be (a POST; an upload that is too long to be kept) would fail, so
//! it has a fresh connection. All origins close what is idle for too long, and that is when it happens. So there is one
//! exception: where an origin has been seen to keep a connection for two seconds, one that was used within the last half second
//! may carry such a request, if a last look at the socket finds nothing. An origin that ends one earlier loses that credit.
//! What was passed by is closed where another one is left, as Squid does: a client that only posts would fill the pool.

use crate::engine::peer::{Address, Origin, OriginState, Peer, Role, TransactionId};
use crate::engine::upstream::dialling::needs_fresh;
use crate::engine::upstream::pool::{GroupId, Idle};
use crate::engine::{Engine, PeerId};
use crate::http::target::{Host, Name};
use crate::resolver::{Addresses, Walk};
use crate::time::Now;
use std::sync::Arc;

impl Engine {
    /// Makes an origin connection available to other transactions, unless it is too old.
    pub(in crate::engine) fn idle_origin(&mut self, now: Now, id: PeerId, opened_ms: u64) {
        let left_ms = self.settings.lifetime_left_ms(opened_ms, now.monotonic_ms());
        if left_ms == 0 {
            self.metrics.origins_aged += 1;
            self.close_origin(id);
            return;
        }
        let Engine { peers, origins, deadlines, settings, .. } = self;
        let Some(Peer { role: Role::Origin(origin), .. }) = peers.get_mut(id.index()) else { return };
        let group = origin.group;
        origin.state = OriginState::Idle(origins.set_idle(group, id, opened_ms, now.monotonic_ms()));
        deadlines.set(id, now.monotonic_ms(), settings.timeouts.origin_idle_ms.min(left_ms));
        self.shed_surplus(group);
        // It may have spoken, or closed, while nobody published.
        self.wake(id);
    }

    /// Closes what waits beyond the limits.
    pub(in crate::engine) fn shed_surplus(&mut self, group: GroupId) {
        while let Some(shed) = self.origins.excess(group) {
            self.metrics.limit_origins_idle += 1;
            self.close_origin(shed);
        }
    }

    /// A connection has waited for too long, or has become too old meanwhile.
    pub(in crate::engine) fn handle_idle_deadline(&mut self, now: Now, id: PeerId) {
        let Some(Peer { role: Role::Origin(Origin { state, .. }), .. }) = self.peers.get(id.index()) else {
            return;
        };
        let opened_ms = match *state {
            OriginState::Idle(idle) => self.origins.opened_ms(idle),
            OriginState::Pinned(client) => self.origins.pinned_opened_ms(client),
            OriginState::Connecting(_)
            | OriginState::Busy(_)
            | OriginState::Tunnel(_)
            | OriginState::Filling(_) => return,
        };
        if self.settings.lifetime_left_ms(opened_ms, now.monotonic_ms()) == 0 {
            self.metrics.origins_aged += 1;
        } else {
            self.metrics.timeouts_origin_idle += 1;
        }
        self.close_origin(id);
    }

    /// An idle connection for a transaction, if one will do.
    pub(in crate::engine) fn take_idle(
        &mut self,
        now: Now,
        id: TransactionId,
        told: Option<&Addresses>,
    ) -> Option<PeerId> {
        let transaction = &self.transactions[id.index as usize];
        if needs_fresh(transaction) {
            return None;
        }
        let repeatable = transaction.can_be_repeated();
        let found = self.find_idle(now, id, told)?;
        if repeatable {
            return Some(found);
        }
        let state = match &self.peers[found.index()].role {
            Role::Origin(origin) => origin.state,
            Role::Client(_) => return None,
        };
        let OriginState::Idle(idle) = state else { return None };
        if self.origins.is_proven(idle, now.monotonic_ms()) {
            return Some(found);
        }
        self.metrics.origins_passed_by += 1;
        self.transactions[id.index as usize].fresh = true;
        if self.origins.has_others(idle) {
            self.close_origin(found);
        }
        None
    }

    /// Whether the system is to be asked once more, before anything is sent to the peer, if its connection is still alive: what
    /// is sent first cannot be sent twice, and the connection is not fresh.
    pub fn looks_first(&self, id: PeerId) -> bool {
        match self.peers.get(id.index()).map(|peer| &peer.role) {
            Some(Role::Origin(Origin { state: OriginState::Busy(transaction), .. })) => {
                let transaction = &self.transactions[transaction.index as usize];
                transaction.looks_first && transaction.up.sent == 0
            }
            Some(Role::Origin(_) | Role::Client(_)) | None => false,
        }
    }

    /// An idle connection to the authority of a transaction, at an address that the policy allows for this very request and that
    /// the name has now: as was `told`, or as is known still. None if that is not known.
    fn find_idle(&self, now: Now, id: TransactionId, told: Option<&Addresses>) -> Option<PeerId> {
        let transaction = &self.transactions[id.index as usize];
        let (grant, authority) = (transaction.info.grant.as_ref()?, &transaction.info.authority);
        let group = self.origins.group(authority)?;
        let addresses = match (&authority.host, told) {
            (Host::Address(_), _) => None,
            (Host::Name(_), Some(addresses)) => Some(addresses),
            (Host::Name(name), None) if self.may_mean_another(name) => return None,
            (Host::Name(_), None) => Some(group.addresses(now.monotonic_us)?),
        };
        let may_be_used = |idle: &&Idle| {
            let Address { ip, port } = self.peers[idle.peer.index()].address;
            self.settings.lifetime_left_ms(idle.opened_ms, now.monotonic_ms()) > 0
                && addresses.is_none_or(|addresses| addresses.as_slice().contains(&ip))
                && transaction.policy.acl.judge_address(grant, ip, port).is_ok()
        };
        self.origins.idle_in(group).find(may_be_used).map(|idle| idle.peer)
    }

    /// Whether a name is another one than what others mean by the same authority: a trailing dot makes no other authority, but
    /// ends the search.
    fn may_mean_another(&self, name: &Name) -> bool {
        name.is_rooted() && self.resolver.has_search_list()
    }

    /// The resolver has said which addresses the name of a transaction has, by a walk over what the name may mean. Idle
    /// connections to others are of no use any more.
    pub(in crate::engine) fn note_addresses(
        &mut self,
        now: Now,
        id: TransactionId,
        addresses: &Addresses,
        walk: &Walk,
    ) {
        let transaction = &self.transactions[id.index as usize];
        let authority = transaction.info.authority;
        let Host::Name(name) = &authority.host else { return };
        // What was judged on the way by other rules than those of now is for this request only.
        let outdated = !Arc::ptr_eq(&transaction.policy, &self.policy);
        if outdated || self.origins.group(&authority).is_none() || self.may_mean_another(name) {
            return;
        }
        let until_us = self.addresses_hold_until_us(id, name, walk);
        // What holds for this request only may be a part of the answer: the other family's is still to come.
        if until_us <= now.monotonic_us || !self.origins.note_addresses(&authority, addresses, until_us) {
            return;
        }
        let has_moved = |idle: &&Idle| {
            let ip = self.peers[idle.peer.index()].address.ip;
            !addresses.as_slice().contains(&ip)
        };
        let group = self.origins.group(&authority);
        let idle = group.into_iter().flat_map(|group| self.origins.idle_in(group));
        let moved: Vec<PeerId> = idle.filter(has_moved).map(|idle| idle.peer).collect();
        self.metrics.origins_moved += moved.len() as u64;
        moved.into_iter().for_each(|peer| self.close_origin(peer));
    }
}
