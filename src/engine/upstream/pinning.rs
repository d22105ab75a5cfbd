//! The client that an upstream connection belongs to.

use crate::engine::ids::{GroupId, PeerId};
use crate::policy::acl::Grant;

/// Whether an upstream connection belongs to one client, by the messages on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) enum Pinning {
    /// Belongs to no client: any transaction may use it.
    None,
    /// The origin has offered authentication of the connection, and the client may accept.
    Offered,
    /// A client has authenticated the connection, or has begun to.
    Authenticated,
}

impl Pinning {
    /// Whether the connection belongs to one client alone.
    pub fn pins(self) -> bool {
        self != Pinning::None
    }

    /// The pinning after a request with or without authentication, and a response with or without an offer.
    pub fn after(self, authenticates: bool, offers: bool) -> Pinning {
        match (authenticates, offers) {
            (true, _) => Pinning::Authenticated,
            (false, true) => self.max(Pinning::Offered),
            (false, false) => self,
        }
    }
}

/// By what the address of a connection was judged.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Judged {
    pub grant: Grant,
    /// The edition of the rules.
    pub edition: u16,
}

/// A connection that waits for its client.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Pinned {
    pub upstream: PeerId,
    pub group: GroupId,
    /// The name had a trailing dot in the request: that makes no other group, but may be another host.
    pub rooted: bool,
    pub pinning: Pinning,
    pub judged: Judged,
    pub opened_ms: u64,
}
