//! The language of the gateway file: one route or one directive on each line.

mod parse;
mod route;

pub use crate::words::Problem;
pub use parse::{DIRECTIVES, ROUTE_FORM, parse};

use crate::gateway::balance::Balance;
use crate::gateway::table::HostMatch;
use crate::gateway::upstream::PassiveRules;
use crate::http::target::Authority;
use std::net::SocketAddr;

/// Everything that a gateway file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Directives {
    /// In the order of the file.
    pub routes: Vec<RouteLine>,
    /// Listeners of the gateway; none: all listeners are the gateway's.
    pub listen: Vec<SocketAddr>,
    /// Fields whose names hold an underscore go on to upstreams. CGI and WSGI take `Content_Length` for Content-Length.
    pub allows_underscores: bool,
}

/// `HOST[:PORT]PREFIX -> UPSTREAM...`.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteLine {
    /// The line in the gateway file, from 1.
    pub line: u32,
    /// Host and prefix as one text: a route is the same after a reload if this is.
    pub name: Box<str>,
    /// Which hosts.
    pub host: HostMatch,
    /// Which paths, without a slash at the end; empty for all.
    pub prefix: Box<[u8]>,
    /// Where they go.
    pub upstreams: Vec<UpstreamLine>,
    /// How they are shared out.
    pub balance: Balance,
    /// How upstreams are checked, if they are.
    pub check: Option<Check>,
    /// What becomes of Host.
    pub host_field: HostField,
    /// What is taken off the path: a beginning of the prefix, or nothing.
    pub strip: Box<[u8]>,
    /// When failures of requests mark an upstream down.
    pub passive: PassiveRules,
    /// How long an upstream that has come back gets less than its share; 0: its share at once.
    pub slow_start_ms: u64,
    /// Further upstreams that are tried for a request that may be sent again.
    pub retries: u8,
}

/// One upstream in a line.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamLine {
    /// Where it is; port 80 unless it names one.
    pub authority: Authority,
    /// From 1.
    pub weight: u32,
    /// Used only where no other can be.
    pub backup: bool,
}

/// What becomes of Host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostField {
    /// As the client sent it.
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
    /// From one check to the next.
    pub every_ms: u64,
    /// For one check.
    pub timeout_ms: u64,
    /// So many in a row that succeed make an upstream well.
    pub rise: u32,
    /// So many in a row that fail make it unhealthy.
    pub fall: u32,
    /// Ranges of the statuses that are well.
    pub statuses: Vec<(u16, u16)>,
}
