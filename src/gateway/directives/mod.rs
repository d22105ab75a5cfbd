//! The language of the gateway file: one route or one directive on each line.

mod parse;
mod route;

pub use crate::words::Problem;
pub use parse::{DIRECTIVES, ROUTE_FORM, parse};
pub use route::authority;

use crate::gateway::balance::Balance;
use crate::gateway::table::HostMatch;
use crate::gateway::upstream::PassiveRules;
use crate::http::target::Authority;
use std::net::SocketAddr;

/// The content of a gateway file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Directives {
    /// The routes, in the order of the file.
    pub routes: Vec<RouteLine>,
    /// Listeners of the gateway; none: all listeners are the gateway's.
    pub listen: Vec<SocketAddr>,
    /// Fields whose names contain an underscore are forwarded to upstreams. CGI and WSGI read `Content_Length` as Content-Length.
    pub allows_underscores: bool,
}

/// `HOST[:PORT]PREFIX -> UPSTREAM...`.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteLine {
    /// The line in the gateway file, from 1.
    pub line: u32,
    /// Host and prefix as one text: a route is the same after a reload if this is.
    pub name: Box<str>,
    /// The hosts of the route.
    pub host: HostMatch,
    /// The prefix of the paths, without a slash at the end; empty for all paths.
    pub prefix: Box<[u8]>,
    /// The upstreams of the route.
    pub upstreams: Vec<UpstreamLine>,
    /// How requests are distributed over the upstreams.
    pub balance: Balance,
    /// How upstreams are checked; `None` without checks.
    pub check: Option<Check>,
    /// The value of Host for the upstream.
    pub host_field: HostField,
    /// The text to remove from the path: a beginning of the prefix, or nothing.
    pub strip: Box<[u8]>,
    /// The rules by which failed requests mark an upstream down.
    pub passive: PassiveRules,
    /// How long a recovered upstream gets less than its share; 0 for its whole share at once.
    pub slow_start_ms: u64,
    /// Further upstreams that are tried for a request that may be sent again.
    pub retries: u8,
}

/// One upstream in a line.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamLine {
    /// The address; port 80 if the line names none.
    pub authority: Authority,
    /// The weight, from 1.
    pub weight: u32,
    /// Used only where no other can be.
    pub backup: bool,
}

/// The value of Host for the upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostField {
    /// The value that the client sent.
    #[default]
    Keep,
    /// The upstream's.
    Rewrite,
}

/// `health METHOD PATH every DURATION`.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// A token.
    pub method: Box<str>,
    /// Path and query.
    pub path: Box<str>,
    /// Time from one check to the next.
    pub every_ms: u64,
    /// Time-out of one check.
    pub timeout_ms: u64,
    /// Checks that must succeed in a row before an upstream counts as healthy.
    pub rise: u32,
    /// Checks that must fail in a row before an upstream counts as unhealthy.
    pub fall: u32,
    /// Ranges of the statuses that are well.
    pub statuses: Vec<(u16, u16)>,
}
