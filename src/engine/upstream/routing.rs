//! The way of a request through the gateway: its route and its upstream.

use crate::gateway::balance::{Chosen, Lease, Set};
use crate::gateway::fields::GatewayFilter;
use crate::gateway::path::PathFault;
use crate::http::target::Authority;
use crate::part::guard::{Built, built};

/// The reason why the gateway has no upstream for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Unrouted {
    /// No route has the host of the request.
    Host,
    /// No route of the host has the path of the request.
    Path,
    /// The path is refused.
    Faulty(PathFault),
    /// A gateway opens no tunnels.
    Connect,
    /// No upstream can be used now. The field has the seconds until that may change.
    NoUpstream { retry_after_s: u16 },
}

/// The way of one request through the gateway.
#[derive(Debug)]
pub(in crate::engine) struct Routing {
    _built: Built,
    /// The number of the route in the gateway of the transaction's settings.
    pub route: usize,
    /// Index in the path of the target at which the forwarded path begins.
    pub path_at: usize,
    /// The fields of the request that are not forwarded.
    pub filter: GatewayFilter,
    /// Upstreams that were chosen so far.
    pub tried: Set,
    /// The upstream of the request.
    pub lease: Option<Lease>,
}

impl Routing {
    /// The routing of a request whose route was found. `None` in a build without a gateway.
    pub fn begin(route: usize, path_at: usize, filter: GatewayFilter) -> Option<Routing> {
        built().map(|_built| Routing { _built, route, path_at, filter, tried: 0, lease: None })
    }

    /// The part of the target that the upstream gets. A path of which nothing is left is the root: no client has asked for `*`.
    pub fn forwarded<'p>(&self, path: &'p [u8]) -> &'p [u8] {
        match path.get(self.path_at..) {
            Some(rest) if self.path_at == 0 || !rest.is_empty() => rest,
            Some(_) | None => b"/",
        }
    }

    /// Takes a chosen upstream for the request. Returns its authority.
    pub fn take(&mut self, chosen: Chosen) -> Authority {
        self.tried |= 1 << chosen.index;
        let authority = *chosen.lease.authority();
        self.lease = Some(chosen.lease);
        authority
    }

    /// Takes the lease of the request, for the tunnel that replaces it.
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
