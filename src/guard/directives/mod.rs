//! The language of the guard file: one directive on each line.

mod behaviour;
mod cloud_fetch;
mod cloudflare;
mod counting;
mod csrf;
mod detect;
mod draft;
mod headers;
mod idle;
mod parse;
mod store_url;
mod values;

pub use behaviour::{BehaviourAction, BehaviourKind, BehaviourLine};
pub use cloud_fetch::CloudFetch;
pub use csrf::{CsrfLine, CsrfLines};
pub use headers::{CorsLine, HeaderLine, HeaderLines, HeadersOf, HstsLine, field_value};
pub use idle::without_effect;
pub use parse::{Directive, TABLE, parse, read};
pub use values::TEXT_BYTES_MAX;
pub(super) use values::{PER_CLIENT, duration, network, per_text};

use crate::guard::detection::{Categories, DetectRules};
use crate::time::Now;
use crate::words;
pub use crate::words::Problem;
use ipnet::IpNet;
use std::path::PathBuf;

/// The content of a guard file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Directives {
    /// The trusted peers, whose fields name the client.
    pub trust: Vec<Trust>,
    /// Clients that are never limited, with the line of each. Bans still apply to them.
    pub exempt: Vec<(IpNet, u32)>,
    /// Sliding windows.
    pub limits: Vec<Limit>,
    /// Fixed windows with escalation.
    pub escalations: Vec<Escalate>,
    /// Bans in the file itself.
    pub bans: Vec<BanLine>,
    /// Files of bans, as named.
    pub ban_files: Vec<BanFile>,
    /// Bans after a number of violations.
    pub ban_after: Vec<BanAfter>,
    /// Clients and destinations in clouds that are refused.
    pub clouds: Vec<CloudRule>,
    /// The settings for fetching the networks of the clouds.
    pub cloud_fetch: CloudFetch,
    /// The store that several processes share; `None` for memory.
    pub store: Option<StoreLine>,
    /// The receiver of events, beside the ring.
    pub events: Option<EventsLine>,
    /// Most keys in memory, for each kind of counter.
    pub keys_max: Option<usize>,
    /// Most bans.
    pub bans_max: Option<usize>,
    /// Most bytes of events, by `--memory`; no line sets it.
    pub event_bytes_max: Option<usize>,
    /// Whether refusals and responses have RateLimit and RateLimit-Policy.
    pub rate_limit_fields: bool,
    /// The guard is passive: requests are judged, counted and logged, but nothing is refused and no client is banned.
    pub passive: bool,
    /// The further fields of a gateway's responses.
    pub headers: HeaderLines,
    /// The behaviour rules.
    pub behaviour: Vec<BehaviourLine>,
    /// The requests that need a token against forgery.
    pub csrf: CsrfLines,
    /// The rules of detection.
    pub detect: DetectRules,
    /// The names of the directives that the file has, with the line of the first of each.
    pub first_lines: Vec<(&'static str, u32)>,
    /// Warnings, which do not make the file invalid.
    pub warnings: Vec<Problem>,
}

impl Directives {
    /// The places of all directives that have one, kind by kind.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        let counters =
            self.limits.iter().map(|line| &line.place).chain(self.escalations.iter().map(|line| &line.place));
        let bans =
            self.bans.iter().map(|line| &line.place).chain(self.ban_files.iter().map(|line| &line.place));
        let rules =
            self.ban_after.iter().map(|line| &line.place).chain(self.clouds.iter().map(|line| &line.place));
        let single =
            self.store.iter().map(|line| &line.place).chain(self.events.iter().map(|line| &line.place));
        let behaviour = self.behaviour.iter().map(|line| &line.place);
        let trust = self.trust.iter().map(|line| &line.place);
        trust
            .chain(counters)
            .chain(bans)
            .chain(rules)
            .chain(single)
            .chain(self.headers.places())
            .chain(behaviour)
            .chain(self.csrf.protected.iter().map(|line| &line.place))
    }
}

/// The place of a directive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The line in the guard file, from 1.
    pub line: u32,
    /// The directive with single blanks and canonical values: equal texts mean equal directives on all machines.
    pub text: Box<str>,
}

/// Networks of proxies before weir.
#[derive(Clone, Debug, PartialEq)]
pub struct Trust {
    /// The place of the directive.
    pub place: Place,
    /// The trusted peers.
    pub networks: Vec<IpNet>,
    /// The entry of X-Forwarded-For that counts, from the right, from 1.
    pub depth: u8,
    /// The fields with the address, in the order in which they are read; empty for X-Forwarded-For.
    pub fields: Vec<Box<str>>,
}

/// The requests that a directive covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Beginning of the path in the form of [`path`](super::path): `/api` covers `/api`, `/api/x` and `/apix`. `None`: any, and CONNECT too.
    pub path: Option<Box<str>>,
    /// A host, `.name` for a domain with all names below it, or `*.name` for the names below it alone.
    pub host: Option<Box<str>>,
    /// Methods in capitals; empty: all.
    pub methods: Vec<Box<str>>,
}

/// The parts of a counter's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Per {
    /// The client's address.
    pub client: bool,
    /// Bits of an IPv4 address that count.
    pub prefix4: u8,
    /// Bits of an IPv6 address that count.
    pub prefix6: u8,
    /// The user; requests without one share a counter with their kind.
    pub user: bool,
    /// The requested host.
    pub host: bool,
    /// The path without its query.
    pub path: bool,
    /// The method.
    pub method: bool,
}

/// A limit of requests in a sliding window.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// The place of the directive.
    pub place: Place,
    /// Number of requests.
    pub limit: u32,
    /// The window.
    pub window_ms: u64,
    /// The parts of the key.
    pub per: Per,
    /// The requests that are counted.
    pub scope: Scope,
    /// Whether to use two counters in place of one time for each request.
    pub approximate: bool,
    /// The directive counts and logs, but refuses nothing.
    pub observe: bool,
}

/// A fixed window with escalation.
#[derive(Clone, Debug, PartialEq)]
pub struct Escalate {
    /// The place of the directive.
    pub place: Place,
    /// The numbers of the escalation.
    pub constants: super::store::EscalationConstants,
    /// The parts of the key.
    pub per: Per,
    /// The requests that are counted.
    pub scope: Scope,
    /// The directive counts and logs, but refuses nothing.
    pub observe: bool,
}

/// `ban NETWORK [for DURATION] [reason TEXT]`.
#[derive(Clone, Debug, PartialEq)]
pub struct BanLine {
    /// The place of the directive.
    pub place: Place,
    /// An address is a network of one.
    pub network: IpNet,
    /// Duration from the loading of the file; `None` for a permanent ban.
    pub duration_ms: Option<u64>,
    /// The reason.
    pub reason: Box<str>,
}

/// `ban-file PATH [timezone +HH:MM]`.
#[derive(Clone, Debug, PartialEq)]
pub struct BanFile {
    /// The place of the directive.
    pub place: Place,
    /// The path as written; relative to the guard file.
    pub path: PathBuf,
    /// Seconds that local times of the file are ahead of UTC.
    pub utc_offset_s: i64,
}

/// The kind of violation that counts towards a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A limit or an escalation was exceeded.
    Limit,
    /// Something suspicious was found in a request.
    Detect,
}

/// `ban-after KIND N in DURATION for DURATION`.
#[derive(Clone, Debug, PartialEq)]
pub struct BanAfter {
    /// The place of the directive.
    pub place: Place,
    /// The kind of violation that is counted.
    pub violation: Violation,
    /// Only findings of these categories count.
    pub categories: Categories,
    /// Number of violations that cause the ban.
    pub count: u32,
    /// Within this time.
    pub window_ms: u64,
    /// Duration of the ban; `None` for a permanent one.
    pub duration_ms: Option<u64>,
    /// The directive counts and logs, but bans no client.
    pub observe: bool,
}

impl BanAfter {
    /// The end of a ban that begins now, in milliseconds since 1970; `None` for a permanent one.
    pub fn until_unix_ms(&self, now: Now) -> Option<u64> {
        self.duration_ms.map(|duration| now.unix_ms().saturating_add(duration))
    }
}

/// The address that is searched in the clouds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloudSide {
    /// The client's address.
    Client,
    /// The address that is about to be dialled.
    Destination,
}

/// `cloud deny SIDE PROVIDERS [except PROVIDER:REGION,...]`.
#[derive(Clone, Debug, PartialEq)]
pub struct CloudRule {
    /// The place of the directive.
    pub place: Place,
    /// The address that is judged.
    pub side: CloudSide,
    /// The providers, each with the regions that are not denied, in lower case.
    pub providers: Vec<(super::clouds::Provider, Vec<Box<str>>)>,
    /// The directive counts and logs, but refuses nothing.
    pub observe: bool,
}

/// The decision when the store does not answer in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// The counters of this process decide.
    #[default]
    Local,
    /// The request passes.
    Open,
    /// The request is refused (503).
    Closed,
}

/// `store URL ...`.
#[derive(Clone, PartialEq)]
pub struct StoreLine {
    /// The place of the directive.
    pub place: Place,
    /// `redis://`, `rediss://`, `redis-cluster://HOST:PORT,HOST:PORT`, `rediss-cluster://`, `redis-sentinel://HOST:PORT,.../NAME`,
    /// `mongodb://`.
    pub url: Box<str>,
    /// A file with the password, so that it need not be in the URL.
    pub password_file: Option<PathBuf>,
    /// A file with certificates in PEM that replace the public authorities for the store.
    pub roots: Option<PathBuf>,
    /// The prefix of every key.
    pub prefix: Box<str>,
    /// How long a request waits for an answer, in milliseconds.
    pub deadline_ms: u64,
    /// The decision without an answer in time.
    pub on_failure: OnFailure,
}

/// `events PATH` or `events unix:PATH`.
#[derive(Clone, Debug, PartialEq)]
pub struct EventsLine {
    /// The place of the directive.
    pub place: Place,
    /// The file or socket.
    pub path: PathBuf,
    /// Whether the path is a Unix datagram or stream socket.
    pub socket: bool,
    /// Types of events that are not recorded.
    pub muted: Vec<Box<str>>,
}
