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
//! is getting. It would take its connection for authenticated otherwise, and its next request would be another user's.
//!
//! Nothing of what is asked over a bound connection has to do with the cache (see [`crate::engine::cache::look_up`]).

use super::Upstreams;
use super::bond::{Bond, Pinned};
use crate::engine::connections::UpstreamState;
use crate::engine::context::Context;
use crate::engine::ids::PeerId;

impl Upstreams {
    /// Keeps a bound connection for the next request of its client. `rooted`: the request was for a name with a trailing dot.
    pub fn pin(
        &mut self,
        cx: &mut Context,
        client: PeerId,
        rooted: bool,
        (origin, bond, opened_ms): (PeerId, Bond, u64),
    ) {
        self.end_binding(cx, client);
        let Some((group, _)) = cx.connections.upstream(origin) else { return };
        cx.connections.set_upstream(origin, UpstreamState::Pinned(client));
        self.pool.pin(client, Pinned { origin, group, rooted, bond, opened_ms });
        let left_ms = cx.settings.lifetime_left_ms(opened_ms, cx.now_ms());
        cx.set_timer(origin, cx.settings.timeouts.origin_idle_ms.min(left_ms));
        self.shed_excess(cx, group);
        // The origin may have spoken, or closed, while nothing was read from the connection.
        cx.wake(origin);
    }

    /// The client asks nothing more: what is pinned for it ends with it.
    pub fn end_binding(&mut self, cx: &mut Context, client: PeerId) {
        if let Some(pinned) = self.pool.unpin(client) {
            self.close(cx, pinned.origin);
        }
    }
}
