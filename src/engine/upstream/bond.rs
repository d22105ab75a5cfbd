//! Whose an upstream connection is.

use crate::engine::ids::{GroupId, PeerId};

/// The client to which an origin connection belongs, by what was said on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) enum Bond {
    /// No client's: any transaction may use it.
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
