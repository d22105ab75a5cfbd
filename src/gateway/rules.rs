//! A compiled gateway file: finds the route for host and path of a request, and keeps the state of upstreams at a reload.

use super::balance::{Chosen, Member, Members, Set};
use super::directives::{Check, Directives, HostField, RouteLine};
use super::path::{PathFault, Readings, behind_prefix, has_disputed_segments, read};
use super::path::{split_query, without_parameters};
use super::table::{HostMatch, HostRoutes, Table};
use super::upstream::{Change, Numbers, Standing, Upstream};
use crate::http::target::Authority;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Retry-After of a response when no upstream can be used, in seconds, for a route without checks (chosen).
const RETRY_AFTER_S: u64 = 10;

/// A compiled gateway file. Immutable, except for the state of upstreams.
#[derive(Debug)]
pub struct Gateway {
    table: Table,
    routes: Box<[GatewayRoute]>,
    /// Fields whose names contain an underscore are forwarded to upstreams.
    pub allows_underscores: bool,
    /// The upstreams that an operator has taken out, also those that the present file does not have: all gateways that follow
    /// each other share them.
    drained: Arc<Mutex<Vec<Authority>>>,
}

/// A route: the upstreams of its requests, and the changes of the requests.
#[derive(Debug)]
pub struct GatewayRoute {
    /// The line in the gateway file.
    pub line: u32,
    /// Host and prefix of the route as one text.
    pub name: Box<str>,
    /// The value of Host for the upstream.
    pub host_field: HostField,
    /// Further upstreams that are tried for a request that may be sent again.
    pub retries: u8,
    strip: Box<[u8]>,
    check: Option<Check>,
    /// Host of a check; `None` for the upstream's own.
    check_host: Option<Box<Authority>>,
    members: Members,
}

/// The reason why a request has no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// No route has the host of the request.
    Host,
    /// No route of the host has the path of the request.
    Path,
    /// The path is refused.
    Refused(PathFault),
}

/// The route of a request.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The number of the route, valid for this gateway.
    pub index: usize,
    /// The route.
    pub route: &'a GatewayRoute,
    /// Index in the target at which the forwarded path and query begin.
    pub path_at: usize,
}

/// An upstream that is checked.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The state of the upstream.
    pub upstream: Arc<Upstream>,
    /// The check.
    pub check: Check,
    /// Host of the check.
    pub host: Authority,
    /// The name of the upstream's route.
    pub route: Box<str>,
}

impl Checked {
    /// Whether a healthy upstream answers a check with this status.
    pub fn is_well(&self, status: u16) -> bool {
        self.check.statuses.iter().any(|&(from, to)| (from..=to).contains(&status))
    }

    /// Records the result of a check. Returns the change of state.
    pub fn note(&self, is_well: bool, now_ms: u64) -> Option<Change> {
        self.upstream.note_check(is_well, self.check.rise, self.check.fall, now_ms)
    }
}

/// The state of one upstream of one route.
#[derive(Clone, Debug)]
pub struct Status<'a> {
    /// The name of the route.
    pub route: &'a str,
    /// The address of the upstream.
    pub authority: Authority,
    /// The weight of the upstream.
    pub weight: u32,
    /// Used only if no other upstream can be.
    pub backup: bool,
    /// The state of the upstream for new requests.
    pub standing: Standing,
    /// The numbers of the upstream.
    pub numbers: Numbers,
}

impl Gateway {
    /// Compiles a gateway file. The state of an upstream is taken from the gateway before, if route and upstream are equal
    /// there; an upstream that an operator has taken out stays out in all routes.
    pub fn new(directives: &Directives, before: Option<&Gateway>) -> Gateway {
        let lines = &directives.routes;
        let table = Table::new(lines.iter().map(|line| (&line.host, &*line.prefix)));
        let routes = lines.iter().map(|line| {
            let same = before.and_then(|before| before.routes.iter().find(|route| route.name == line.name));
            GatewayRoute::new(line, same)
        });
        let gateway = Gateway {
            table,
            routes: routes.collect(),
            allows_underscores: directives.allows_underscores,
            drained: before.map(|before| Arc::clone(&before.drained)).unwrap_or_default(),
        };
        for authority in &*gateway.drained() {
            gateway.members_at(authority).for_each(|member| _ = member.upstream.set_drained(true, 0));
        }
        gateway
    }

    /// No code that holds the lock can leave the list half changed.
    fn drained(&self) -> MutexGuard<'_, Vec<Authority>> {
        self.drained.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The upstream with this address, in each of its routes.
    fn members_at(&self, authority: &Authority) -> impl Iterator<Item = &Member> {
        let members = self.routes.iter().flat_map(|route| route.members.iter());
        members.filter(move |member| member.upstream.authority == *authority)
    }

    /// The route for a host, and for path and query of a target. The buffer is for decoded paths.
    pub fn find(
        &self,
        authority: &Authority,
        target: &[u8],
        buffer: &mut Vec<u8>,
    ) -> Result<Found<'_>, Miss> {
        let host = self.table.host(authority).ok_or(Miss::Host)?;
        let (path, _) = split_query(target);
        let readings = read(path, buffer).map_err(Miss::Refused)?;
        let found = host.route(readings.letters);
        if !stays(host, found, &readings) {
            return Err(Miss::Refused(PathFault::Climbs));
        }
        if let Some(without) = without_parameters(readings.letters, &mut Vec::new()) {
            let stays = without
                .is_ok_and(|without| found == host.route(without.letters) && stays(host, found, &without));
            if !stays {
                return Err(Miss::Refused(PathFault::Parameters));
            }
        }
        let (index, prefix_bytes) = found.ok_or(Miss::Path)?;
        let disputed = Miss::Refused(PathFault::Encoding);
        if readings.has_parents() && has_disputed_segments(path) {
            return Err(disputed);
        }
        let behind = |prefix: &[u8]| behind_prefix(path, prefix).ok_or(disputed);
        behind(&readings.letters[..prefix_bytes])?;
        let route = &self.routes[index];
        let path_at = if route.strip.is_empty() { 0 } else { behind(&route.strip)? };
        Ok(Found { index, route, path_at })
    }

    /// Whether any route has the host of a request.
    pub fn has_host(&self, authority: &Authority) -> bool {
        self.table.host(authority).is_some()
    }

    /// The route with this number.
    pub fn route(&self, index: usize) -> Option<&GatewayRoute> {
        self.routes.get(index)
    }

    /// The number of routes.
    pub fn routes(&self) -> usize {
        self.routes.len()
    }

    /// All upstreams that are checked.
    pub fn checked(&self) -> Vec<Checked> {
        let checked = self.routes.iter().filter_map(|route| Some((route, route.check.as_ref()?)));
        let each = checked.flat_map(|(route, check)| {
            route.members.iter().map(move |member| Checked {
                upstream: Arc::clone(&member.upstream),
                check: check.clone(),
                host: route.check_host.as_deref().copied().unwrap_or(member.upstream.authority),
                route: route.name.clone(),
            })
        });
        each.collect()
    }

    /// The state of each upstream of each route.
    pub fn statuses(&self, now_ms: u64) -> impl Iterator<Item = Status<'_>> {
        self.routes.iter().flat_map(move |route| {
            route.members.iter().map(move |member| Status {
                route: &route.name,
                authority: member.upstream.authority,
                weight: member.weight,
                backup: member.backup,
                standing: member.upstream.standing(now_ms, route.members.slow_start_ms()),
                numbers: member.upstream.numbers(),
            })
        })
    }

    /// Takes an upstream out for new requests, or puts it back, in all routes. Returns the number of routes with this upstream.
    pub fn set_drained(&self, authority: &Authority, drained: bool, now_ms: u64) -> usize {
        let mut routes = 0;
        for member in self.members_at(authority) {
            member.upstream.set_drained(drained, now_ms);
            routes += 1;
        }
        let mut all = self.drained();
        let before = all.len();
        all.retain(|known| known != authority);
        // A drain may be remembered of an upstream that the present file does not have.
        let was_remembered = all.len() < before;
        if drained && routes > 0 {
            all.push(*authority);
        }
        routes.max(usize::from(was_remembered && !drained))
    }
}

/// Whether a path resolves to the route of its letters, and never leads above the prefix of that route.
fn stays(host: HostRoutes<'_>, found: Option<(usize, usize)>, readings: &Readings<'_>) -> bool {
    let is_same = !readings.has_parents() || found == host.route(readings.resolved);
    is_same && found.is_none_or(|(_, prefix_bytes)| !readings.climbs_above(prefix_bytes))
}

impl GatewayRoute {
    fn new(line: &RouteLine, before: Option<&GatewayRoute>) -> GatewayRoute {
        let members = line.upstreams.iter().map(|upstream| {
            let known = before.and_then(|route| {
                route.members.iter().find(|member| member.upstream.authority == upstream.authority)
            });
            let known = known.map(|member| Arc::clone(&member.upstream));
            if let (Some(known), None) = (&known, &line.check) {
                known.forget_checks();
            }
            let upstream_is = known.unwrap_or_else(|| Arc::new(Upstream::new(upstream.authority)));
            Member { upstream: upstream_is, weight: upstream.weight, backup: upstream.backup }
        });
        GatewayRoute {
            line: line.line,
            name: line.name.clone(),
            host_field: line.host_field,
            retries: line.retries,
            strip: line.strip.clone(),
            check: line.check.clone(),
            check_host: match (&line.host, line.host_field) {
                (HostMatch::Exact(host), HostField::Keep) => Some(host.clone()),
                (HostMatch::Exact(_) | HostMatch::AnyWithPort(_) | HostMatch::Any, _) => None,
            },
            members: Members::new(members.collect(), line.balance, line.slow_start_ms, line.passive),
        }
    }

    /// Chooses an upstream that was not tried yet for a request of that client. `None` if no upstream can be used.
    pub fn choose(&self, client: IpAddr, tried: Set, now_ms: u64) -> Option<Chosen> {
        self.members.choose(client, tried, now_ms)
    }

    /// The upstream at that address, whatever its state: a connection to it is pinned to a client.
    pub fn choose_pinned(&self, authority: &Authority) -> Option<Chosen> {
        self.members.choose_pinned(authority)
    }

    /// The number of upstreams.
    pub fn upstreams(&self) -> usize {
        self.members.iter().count()
    }

    /// The seconds after which an upstream may be usable again, when none is.
    pub fn retry_after_s(&self) -> u64 {
        self.check.as_ref().map_or(RETRY_AFTER_S, |check| check.every_ms.div_ceil(1000))
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
