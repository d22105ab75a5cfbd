//! The settings of the daemon, as values.

use super::command::Command;
use super::problem::Located;
use super::values::{BUFFERS_MIN, ErrorPage, WORKERS_MAX, Workers};
use crate::guard::detection::Context;
use crate::http::forwarding::ForwardedPolicy;
use crate::log::format::Format;
use crate::policy::port_set::PortSet;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The texts of one layer, one list per row of the table.
pub(super) type Layer = Vec<Vec<Located<String>>>;

/// All settings. [`Settings::load`] makes them. `Settings::default()` is blank; the documented defaults are
/// [`Settings::built_in`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// The command.
    pub command: Command,
    /// Addresses to listen on, at least one.
    pub hosts: Vec<Located<IpAddr>>,
    /// The port of each address; 0 for any free one.
    pub port: u16,
    /// The number of loops, and whether each has its own processor.
    pub workers: Workers,
    /// The file that was read.
    pub config: Option<PathBuf>,
    /// The system user, with an optional group, that the daemon changes to once it listens: `NAME[:GROUP]`.
    pub user: Option<Located<String>>,
    /// The file for the process id.
    pub pid_file: Option<Located<PathBuf>>,
    /// The socket for `weir ctl`.
    pub control: Option<Located<PathBuf>>,
    /// The control socket of the weir whose listening sockets this one takes.
    pub take_over: Option<Located<PathBuf>>,
    /// The address for monitoring systems.
    pub metrics: Option<Located<SocketAddr>>,
    /// Restrict the process to the paths and system calls that it needs.
    pub sandbox: bool,
    /// How often `-v` was given.
    pub verbose: u8,
    /// `-q`.
    pub quiet: bool,
    /// Files of block rules.
    pub blocklists: Vec<Located<PathBuf>>,
    /// Files of allow rules.
    pub allowlists: Vec<Located<PathBuf>>,
    /// Block rules of options, not compiled.
    pub block: Vec<Located<String>>,
    /// Allow rules of options, not compiled.
    pub allow: Vec<Located<String>>,
    /// Networks of allowed clients; empty for all clients.
    pub allow_clients: Vec<Located<IpNet>>,
    /// Refuse private networks.
    pub deny_private: bool,
    /// Judge the targets of CNAMEs, too.
    pub judge_cnames: bool,
    /// Ports for CONNECT: a compiled list.
    pub connect_ports: PortSet,
    /// Ports for other requests: a compiled list.
    pub ports: PortSet,
    /// Users and passwords.
    pub auth_file: Option<Located<PathBuf>>,
    /// Do not tell clients which rule refused them.
    pub quiet_refusals: bool,
    /// The contact in refusals.
    pub contact: Option<String>,
    /// Pages that replace weir's own, for some statuses.
    pub error_pages: Vec<Located<ErrorPage>>,
    /// The directory of `access.log`; standard output if `None`.
    pub log_dir: Option<PathBuf>,
    /// The format of the access log.
    pub log_format: Format,
    /// Write a line when a tunnel is set up, besides the one at its end.
    pub log_tunnel_start: bool,
    /// The size at which it rotates; 0 for never.
    pub log_max_size_bytes: u64,
    /// The number of old files to keep.
    pub log_keep: u32,
    /// Time between lines of statistics; zero for none.
    pub stats_every: Duration,
    /// Most bytes of the process, from which all bounds are computed; 0 if each bound has its own option.
    pub memory_bytes: u64,
    /// Most client connections.
    pub max_connections: u32,
    /// Most connections of one client; 0 for any number.
    pub max_per_client: u32,
    /// The length of the IPv6 prefix whose addresses are one client.
    pub client_prefix6: u8,
    /// Blocks of 4 KB.
    pub buffers: u32,
    /// How long either side may be silent during a transaction.
    pub timeout: Duration,
    /// How long dialling an origin may take.
    pub connect_timeout: Duration,
    /// How long a request head may take.
    pub head_timeout: Duration,
    /// How long a client connection may be without a request.
    pub idle_timeout: Duration,
    /// How long a tunnel may be silent.
    pub tunnel_timeout: Duration,
    /// How long transactions may take to finish at a stop; zero ends them at once.
    pub drain_timeout: Duration,
    /// Least bytes per second of a client in a body, averaged over `timeout`; 0 for no limit.
    pub min_rate: u32,
    /// Largest head.
    pub head_max_bytes: u32,
    /// Longest request target.
    pub target_max_bytes: u32,
    /// Most fields of a head.
    pub fields_max: u32,
    /// Copy bulk data instead of splicing it inside the kernel.
    pub no_splice: bool,
    /// Refuse requests that name their origin in Host only.
    pub no_origin_form: bool,
    /// Refuse targets with characters outside of the URI grammar.
    pub strict_targets: bool,
    /// Accept a bare LF as the end of a line.
    pub accept_bare_lf: bool,
    /// The name of this proxy in Via; `None` for no Via.
    pub via: Option<String>,
    /// How Forwarded and X-Forwarded-For are handled.
    pub forwarded: ForwardedPolicy,
    /// Remove fields that identify the user from requests.
    pub anonymous: bool,
    /// Fields removed from requests.
    pub remove_headers: Vec<Located<String>>,
    /// Fields added to requests.
    pub add_headers: Vec<Located<String>>,
    /// Fields removed from responses.
    pub remove_response_headers: Vec<Located<String>>,
    /// Fields added to responses.
    pub add_response_headers: Vec<Located<String>>,
    /// DNS servers; empty for the system's.
    pub dns: Vec<Located<SocketAddr>>,
    /// Mix upper and lower case in queries.
    pub dns_0x20: bool,
    /// Store responses and answer from them.
    pub cache: bool,
    /// Largest size of the cache in bytes.
    pub cache_size_bytes: u64,
    /// Largest body that is stored; 0 for an eighth of the cache.
    pub cache_max_object_bytes: u64,
    /// Longest heuristic lifetime.
    pub cache_heuristic_max: Duration,
    /// Lifetime of errors without an explicit one.
    pub cache_negative_ttl: Duration,
    /// Targeted fields that replace Cache-Control.
    pub cache_targeted: Vec<Located<String>>,
    /// The guard file.
    pub guard: Option<Located<PathBuf>>,
    /// The gateway file.
    pub gateway: Option<Located<PathBuf>>,
    /// The directory with the networks of the clouds.
    pub cloud_ranges: Option<Located<PathBuf>>,
    /// Connections of trusted proxies begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// The file with exceptions of the cache for some hosts.
    pub cache_rules: Option<Located<PathBuf>>,
    /// The file that keeps the cache between two runs.
    pub cache_file: Option<Located<PathBuf>>,
    /// Do not send Cache-Status to clients.
    pub no_cache_status: bool,
    /// Networks that may send PURGE.
    pub purge_from: Vec<Located<IpNet>>,
    /// The file with the token that PURGE needs.
    pub purge_token_file: Option<Located<PathBuf>>,
    /// Most idle origin connections in all.
    pub idle_origins: u32,
    /// Most idle connections to one origin.
    pub idle_per_origin: u32,
    /// How long an origin connection is kept for reuse.
    pub idle_origin_timeout: Duration,
    /// The age after which an origin connection is not reused; zero for no limit.
    pub origin_lifetime: Duration,
    pub(super) explain_client: Option<IpAddr>,
    pub(super) detect_context: Option<Context>,
    /// The texts of the highest layer.
    pub(super) texts: Layer,
}

impl Settings {
    /// The number of loops that the buffers suffice for.
    pub(super) fn workers_max(&self) -> u32 {
        (self.buffers / BUFFERS_MIN as u32).clamp(1, WORKERS_MAX as u32)
    }

    /// The number of loops on a machine with that many processors.
    pub fn workers_on(&self, processors: usize) -> usize {
        let count = self.workers.count.unwrap_or(u32::try_from(processors).unwrap_or(u32::MAX));
        count.clamp(1, self.workers_max()) as usize
    }
}

/// The options that a reload has changed, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Options that are in effect now.
    pub made: Vec<&'static str>,
    /// Options that need a restart.
    pub need_restart: Vec<&'static str>,
}
