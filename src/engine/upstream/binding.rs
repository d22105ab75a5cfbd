//! Connections that belong to one client: NTLM, Negotiate and Kerberos authenticate a connection, not a request, so
//! whatever goes over it later is answered as the same user's (RFC 4559 section 6, rule 44).
//!
//! # Theory of operation
//!
//! A transaction learns of it from its request, which has credentials of such a scheme, or from the response, which offers one.
//! From then on its origin connection is bound: it is never pooled, and when the transaction has ended it is pinned, that is, it
//! waits for the next request that the same client connection makes of the same authority. A client has one pinned connection
//! at most; what it asks of other authorities goes the usual way meanwhile. Both end together: with the client goes what
//! is pinned for it, and when the origin ends a bound connection the client is closed, at once or behind the answer that it
//! is getting. It would take its connection for authenticated otherwise, and its next request would be somebody else's.
//!
//! Nothing of what is asked over a bound connection has to do with the cache (see [`crate::engine::cache::look_up`]).

use crate::engine::peer::{Address, Client, OriginState, Peer, Role, TransactionId};
use crate::engine::transaction::Stage;
use crate::engine::transaction::Transaction;
use crate::engine::transaction::examine::Method;
use crate::engine::upstream::pool::GroupId;
use crate::engine::{Engine, PeerId};
use crate::time::Now;

/// Whose an origin connection is, by what was said on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) enum Bond {
    /// Anybody's.
    None,
    /// Its origin has offered to authenticate it, and the client may take that up.
    Offered,
    /// A client has authenticated it, or has begun to.
    Authenticated,
}

impl Bond {
    /// Whether it is one client's alone.
    pub fn binds(self) -> bool {
        self != Bond::None
    }

    /// The same after a request that authenticates or not, and a response that offers or not.
    pub fn after(self, authenticates: bool, offers: bool) -> Bond {
        match (authenticates, offers) {
            (true, _) => Bond::Authenticated,
            (false, true) => self.max(Bond::Offered),
            (false, false) => self,
        }
    }
}

/// A connection that waits for its client.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Pinned {
    pub origin: PeerId,
    pub group: GroupId,
    /// It was asked for with a trailing dot: that makes no other group, but may be another host.
    pub rooted: bool,
    pub bond: Bond,
    pub opened_ms: u64,
}

impl Engine {
    /// The client's own connection, if it leads where the transaction has to go.
    pub(in crate::engine) fn take_pinned(&mut self, id: TransactionId) -> Option<PeerId> {
        let transaction = &self.transactions[id.index as usize];
        if transaction.info.method == Method::Connect
            || !self.origins.is_pinned(transaction.client, &transaction.info.authority)
        {
            return None;
        }
        let Pinned { origin, bond, opened_ms, .. } = self.origins.unpin(transaction.client)?;
        let Address { ip, port } = self.peers[origin.index()].address;
        let judged =
            transaction.info.grant.map(|grant| transaction.policy.acl.judge_address(&grant, ip, port));
        let transaction = &mut self.transactions[id.index as usize];
        if judged.is_some_and(|judged| judged.is_ok()) {
            (transaction.bond, transaction.opened_ms) = (bond, opened_ms);
            return Some(origin);
        }
        // The rules have changed. Its client goes with it.
        (transaction.closes, transaction.bond_lost) = (true, true);
        self.close_origin(origin);
        None
    }

    /// Keeps a bound connection for the next request of its client.
    pub(in crate::engine) fn pin_origin(&mut self, now: Now, origin: PeerId, transaction: &Transaction) {
        let Transaction { client, bond, opened_ms, .. } = *transaction;
        self.end_bond(client);
        let Engine { peers, origins, deadlines, settings, .. } = self;
        let Some(Peer { role: Role::Origin(peer), .. }) = peers.get_mut(origin.index()) else { return };
        peer.state = OriginState::Pinned(client);
        let (group, rooted) = (peer.group, transaction.info.authority.is_rooted());
        origins.pin(client, Pinned { origin, group, rooted, bond, opened_ms });
        let left_ms = settings.lifetime_left_ms(opened_ms, now.monotonic_ms());
        deadlines.set(origin, now.monotonic_ms(), settings.timeouts.origin_idle_ms.min(left_ms));
        self.shed_surplus(group);
        // It may have spoken, or closed, while nobody published.
        self.wake(origin);
    }

    /// The client asks nothing more: what is pinned for it ends with it.
    pub(in crate::engine) fn end_bond(&mut self, client: PeerId) {
        if let Some(pinned) = self.origins.unpin(client) {
            self.close_origin(pinned.origin);
        }
    }

    /// The transaction for which a pinned connection waits while the password of its client is verified.
    pub(in crate::engine) fn awaited_by(&self, client: PeerId) -> Option<TransactionId> {
        let Role::Client(Client::Transaction(id)) = self.peers.get(client.index())?.role else { return None };
        let transaction = self.transactions.get(id.index as usize)?;
        let verifying = matches!(transaction.stage, Stage::Begun | Stage::Verifying);
        (verifying && self.origins.is_pinned(client, &transaction.info.authority)).then_some(id)
    }

    /// The connection that was pinned for the client has ended: so does the client, behind the answer to another request if it
    /// is getting one.
    pub(in crate::engine) fn follow_origin(&mut self, client: PeerId, waited_for: Option<TransactionId>) {
        match self.client_mut(client).copied() {
            Some(Client::Idle | Client::Reading(_)) => self.close_client(client),
            Some(Client::Transaction(id)) => {
                if let Some(transaction) = self.transaction_mut(id) {
                    transaction.closes = true;
                    transaction.bond_lost |= waited_for == Some(id);
                }
            }
            Some(Client::Tunnel(_) | Client::Lingering { .. }) | None => {}
        }
    }
}
