//! The way of a request through the gateway: its route, and the upstream that it goes to.

use crate::gateway::balance::{Chosen, Lease, Set};
use crate::gateway::path::PathFault;
use crate::http::target::Authority;
use crate::part::guard::{Built, built};

/// Why the gateway has no upstream for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Unrouted {
    /// No route is for its host.
    Host,
    /// No route of its host is for its path.
    Path,
    /// Its path is refused.
    Faulty(PathFault),
    /// A gateway opens no tunnels.
    Connect,
    /// None of the upstreams can be used. When that may change, in seconds.
    NoUpstream { retry_after_s: u16 },
}

/// The way of one request through the gateway.
#[derive(Debug)]
pub(in crate::engine) struct Routing {
    _built: Built,
    /// The number of the route in the gateway of the transaction's settings.
    pub route: usize,
    /// The path that goes on begins here in the path of the target.
    pub path_at: usize,
    /// Upstreams that were chosen so far.
    pub tried: Set,
    /// The upstream that the request goes to.
    pub lease: Option<Lease>,
}

impl Routing {
    /// Of a request whose route is found. There is none in a build without a gateway.
    pub fn begin(route: usize, path_at: usize) -> Option<Routing> {
        built().map(|_built| Routing { _built, route, path_at, tried: 0, lease: None })
    }

    /// The request goes to an upstream that was chosen. Where that is.
    pub fn take(&mut self, chosen: Chosen) -> Authority {
        self.tried |= 1 << chosen.index;
        let authority = *chosen.lease.authority();
        self.lease = Some(chosen.lease);
        authority
    }

    /// The request that is under way to an upstream, for what takes its place.
    pub fn take_lease(self) -> Option<Lease> {
        self.lease
    }
}

impl Unrouted {
    /// The word for the log.
    pub fn word(self) -> &'static str {
        match self {
            Unrouted::Host => "no_route_for_host",
            Unrouted::Path => "no_route_for_path",
            Unrouted::Faulty(fault) => fault.rule(),
            Unrouted::Connect => "gateway_connect",
            Unrouted::NoUpstream { .. } => "no_upstream",
        }
    }
}
