//! A gateway file compiled: from the host and path of a request to its route, and the reload that keeps what is known.

use super::balance::{Chosen, Member, Members, Set};
use super::directives::{Check, Directives, HostField, RouteLine};
use super::path::{PathFault, behind_prefix, read, split_query};
use super::table::{HostMatch, Table};
use super::upstream::{Change, Numbers, Standing, Upstream};
use crate::http::target::Authority;
use std::net::IpAddr;
use std::sync::Arc;

/// What a client is told to wait when no upstream can be used, in seconds, where no check says when that may change (chosen).
const RETRY_AFTER_S: u64 = 10;

/// A gateway file compiled. Immutable but for what is known of upstreams.
#[derive(Debug)]
pub struct Gateway {
    table: Table,
    routes: Box<[GatewayRoute]>,
    /// Fields whose names hold an underscore go on to upstreams.
    pub allows_underscores: bool,
}

/// A route: where its requests go, and what is changed in them.
#[derive(Debug)]
pub struct GatewayRoute {
    /// The line in the gateway file.
    pub line: u32,
    /// Its host and prefix as one text.
    pub name: Box<str>,
    /// What becomes of Host.
    pub host_field: HostField,
    /// Further upstreams that are tried for a request that may be sent again.
    pub retries: u8,
    strip: Box<[u8]>,
    check: Option<Check>,
    /// What checks say as Host; nothing: the upstream's.
    check_host: Option<Box<Authority>>,
    members: Members,
}

/// Why a request has no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// No route is for its host.
    Host,
    /// None of the routes of its host is for its path.
    Path,
    /// Its path is refused.
    Refused(PathFault),
}

/// The route of a request.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// Its number, which holds as long as the gateway does.
    pub index: usize,
    /// The same.
    pub route: &'a GatewayRoute,
    /// Path and query as they go on, begin here in the target's.
    pub path_at: usize,
}

/// An upstream that is checked.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What is known of it.
    pub upstream: Arc<Upstream>,
    /// How it is checked.
    pub check: Check,
    /// What a check says as Host.
    pub host: Authority,
    /// The name of its route.
    pub route: Box<str>,
}

impl Checked {
    /// Whether a status says that it is well.
    pub fn is_well(&self, status: u16) -> bool {
        self.check.statuses.iter().any(|&(from, to)| (from..=to).contains(&status))
    }

    /// Notes what a check has come to.
    pub fn note(&self, is_well: bool, now_ms: u64) -> Option<Change> {
        self.upstream.note_check(is_well, self.check.rise, self.check.fall, now_ms)
    }
}

/// How it is with one upstream of one route.
#[derive(Clone, Debug)]
pub struct Status<'a> {
    /// The name of the route.
    pub route: &'a str,
    /// Where the upstream is.
    pub authority: Authority,
    /// Its weight.
    pub weight: u32,
    /// Used only where no other can be.
    pub backup: bool,
    /// What it is good for.
    pub standing: Standing,
    /// Its numbers.
    pub numbers: Numbers,
}

impl Gateway {
    /// Compiles a gateway file. What is known of an upstream is taken over from the gateway before where route and upstream are
    /// the same.
    pub fn new(directives: &Directives, before: Option<&Gateway>) -> Gateway {
        let lines = &directives.routes;
        let table = Table::new(lines.iter().map(|line| (&line.host, &*line.prefix)));
        let routes = lines.iter().map(|line| {
            let same = before.and_then(|before| before.routes.iter().find(|route| route.name == line.name));
            GatewayRoute::new(line, same)
        });
        Gateway { table, routes: routes.collect(), allows_underscores: directives.allows_underscores }
    }

    /// The route for a host, and for path and query of a target. The buffer is for paths that have to be decoded.
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
        // The same bytes, unless there are parents.
        if readings.letters.len() != readings.resolved.len() && found != host.route(readings.resolved) {
            return Err(Miss::Refused(PathFault::Climbs));
        }
        let (index, prefix_bytes) = found.ok_or(Miss::Path)?;
        if readings.climbs_above(prefix_bytes) {
            return Err(Miss::Refused(PathFault::Climbs));
        }
        let route = &self.routes[index];
        let path_at = match &*route.strip {
            [] => 0,
            strip => behind_prefix(path, strip).ok_or(Miss::Refused(PathFault::Encoding))?,
        };
        Ok(Found { index, route, path_at })
    }

    /// The route with this number.
    pub fn route(&self, index: usize) -> Option<&GatewayRoute> {
        self.routes.get(index)
    }

    /// How many routes there are.
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

    /// How it is with each upstream of each route.
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

    /// Takes an upstream out for new requests, or puts it back, in all routes. How many routes have it.
    pub fn set_drained(&self, authority: &Authority, drained: bool, now_ms: u64) -> usize {
        let members = self.routes.iter().flat_map(|route| route.members.iter());
        let mut routes = 0;
        for member in members.filter(|member| member.upstream.authority == *authority) {
            member.upstream.set_drained(drained, now_ms);
            routes += 1;
        }
        routes
    }
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

    /// An upstream for a request of that client that was not tried for it. `None`: there is none that can be used.
    pub fn choose(&self, client: IpAddr, tried: Set, now_ms: u64) -> Option<Chosen> {
        self.members.choose(client, tried, now_ms)
    }

    /// The upstream at that address, whatever is known of it: a client has a connection to it that no other will do for.
    pub fn choose_bound(&self, authority: &Authority) -> Option<Chosen> {
        self.members.choose_bound(authority)
    }

    /// How many upstreams it has.
    pub fn upstreams(&self) -> usize {
        self.members.iter().count()
    }

    /// In how many seconds there may be an upstream again, when there is none.
    pub fn retry_after_s(&self) -> u64 {
        self.check.as_ref().map_or(RETRY_AFTER_S, |check| check.every_ms.div_ceil(1000))
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
