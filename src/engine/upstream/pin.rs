//! Connections that belong to one client: NTLM, Negotiate and Kerberos authenticate a connection, not a request, so
//! later requests on it are answered as the same user's (RFC 4559 section 6, rule 44).
//!
//! # Theory of operation
//!
//! A transaction finds that out from its request, which has credentials of such a scheme, or from the response, which offers
//! one. From then on its upstream connection is pinned: it is never pooled, and when the transaction has ended it is pinned,
//! that is, it waits for the next request of the same client connection to the same authority. A client has one pinned
//! connection at most; its requests to other authorities use the pool meanwhile. Both connections end together: when the
//! client closes, its pinned connection is closed, and when the origin ends a pinned connection the client is closed, at once
//! or behind the response that it is receiving. Otherwise the client would take its connection for authenticated, and its
//! next request could be another user's.
//!
//! Requests over a pinned connection do not use the cache (see [`crate::engine::cache::look_up`]).

use super::Upstreams;
use super::pinning::{Judged, Pinned, Pinning};
use crate::engine::connections::UpstreamState;
use crate::engine::context::Context;
use crate::engine::ids::PeerId;

impl Upstreams {
    /// Keeps a pinned connection for the next request of its client. `rooted`: the request was for a name with a trailing dot.
    pub fn pin(
        &mut self,
        cx: &mut Context,
        client: PeerId,
        rooted: bool,
        judged: Judged,
        (upstream, pinning, opened_ms): (PeerId, Pinning, u64),
    ) {
        self.end_pin(cx, client);
        let Some((group, _)) = cx.connections.upstream(upstream) else { return };
        cx.connections.set_upstream(upstream, UpstreamState::Pinned(client));
        self.pool.pin(client, Pinned { upstream, group, rooted, pinning, judged, opened_ms });
        let left_ms = cx.settings.lifetime_left_ms(opened_ms, cx.now_ms());
        cx.set_timer(upstream, cx.settings.timeouts.origin_idle_ms.min(left_ms));
        self.shed_excess(cx, group);
        // The origin may have sent bytes, or closed, while the connection was not read.
        cx.wake(upstream);
    }

    /// The client makes no further requests: its pinned connection is closed.
    pub fn end_pin(&mut self, cx: &mut Context, client: PeerId) {
        if let Some(pinned) = self.pool.unpin(client) {
            self.close(cx, pinned.upstream);
        }
    }
}
