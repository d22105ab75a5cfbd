//! The language of the guard file: one directive on each line.

mod behaviour;
mod cloud_fetch;
mod cloudflare;
mod counting;
mod csrf;
mod detect;
mod draft;
mod headers;
mod parse;
mod store_url;
mod values;

pub use behaviour::{BehaviourAction, BehaviourKind, BehaviourLine};
pub use cloud_fetch::CloudFetch;
pub use csrf::{CsrfLine, CsrfLines};
pub use headers::{CorsLine, HeaderLine, HeaderLines, HeadersOf, HstsLine, field_value};
pub use parse::{Directive, TABLE, parse};
pub(super) use values::{PER_CLIENT, TEXT_BYTES_MAX, duration, network, per_text};

use crate::guard::detection::DetectRules;
use crate::words;
pub use crate::words::Problem;
use ipnet::IpNet;
use std::path::PathBuf;

/// Everything that a guard file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Directives {
    /// The peers whose word about the client counts.
    pub trust: Vec<Trust>,
    /// Clients that are never limited, and the lines that say so. Bans still hold.
    pub exempt: Vec<(IpNet, u32)>,
    /// Sliding windows.
    pub limits: Vec<Limit>,
    /// Fixed windows with escalation.
    pub escalations: Vec<Escalate>,
    /// Bans that the file itself lists.
    pub bans: Vec<BanLine>,
    /// Files of bans, as they are named.
    pub ban_files: Vec<BanFile>,
    /// What is banned after so many violations.
    pub ban_after: Vec<BanAfter>,
    /// What is refused because it lies in a cloud.
    pub clouds: Vec<CloudRule>,
    /// How the networks of the clouds are fetched.
    pub cloud_fetch: CloudFetch,
    /// The store that several processes share; memory without.
    pub store: Option<StoreLine>,
    /// Where events go, beside the ring.
    pub events: Option<EventsLine>,
    /// Keys counted in memory at most, for each kind of counter.
    pub keys_max: Option<usize>,
    /// Bans at most.
    pub bans_max: Option<usize>,
    /// Refusals carry RateLimit and RateLimit-Policy, and so do responses.
    pub rate_limit_fields: bool,
    /// Nothing is refused and no client is banned; everything is evaluated, counted and logged.
    pub passive: bool,
    /// What the answers of a gateway carry besides.
    pub headers: HeaderLines,
    /// What clients may do over many requests.
    pub behaviour: Vec<BehaviourLine>,
    /// Which requests need a token against forged ones.
    pub csrf: CsrfLines,
    /// What is looked for in requests.
    pub detect: DetectRules,
    /// What is told of the file, which holds all the same.
    pub warnings: Vec<Problem>,
}

impl Directives {
    /// Where each of those stands that have a place, kind by kind.
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

/// Where a directive stands.
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
    /// Where it stands.
    pub place: Place,
    /// Peers that are believed.
    pub networks: Vec<IpNet>,
    /// Which entry of X-Forwarded-For counts, from the right, from 1.
    pub depth: u8,
    /// Fields in which the address is looked for, in this order; empty: X-Forwarded-For.
    pub fields: Vec<Box<str>>,
}

/// Which requests a directive is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Beginning of the path in the form of [`path`](super::path): `/api` covers `/api`, `/api/x` and `/apix`. `None`: any, and CONNECT too.
    pub path: Option<Box<str>>,
    /// A host, `.name` for a domain with everything below it, or `*.name` for what is below it alone.
    pub host: Option<Box<str>>,
    /// Methods in capitals; empty: all.
    pub methods: Vec<Box<str>>,
}

/// What a counter is kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Per {
    /// The client's address.
    pub client: bool,
    /// Of an IPv4 address so many bits.
    pub prefix4: u8,
    /// Of an IPv6 address so many bits.
    pub prefix6: u8,
    /// The user; requests without one share a counter with their kind.
    pub user: bool,
    /// The host that is asked for.
    pub host: bool,
    /// The path without its query.
    pub path: bool,
    /// The method.
    pub method: bool,
}

/// At most so many requests in a sliding window.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// Where it stands.
    pub place: Place,
    /// Requests.
    pub limit: u32,
    /// The window.
    pub window_ms: u64,
    /// What it is counted for.
    pub per: Per,
    /// What is counted.
    pub scope: Scope,
    /// Two counters in place of one time for each request.
    pub approximate: bool,
    /// Counts and logs, refuses nothing.
    pub observe: bool,
}

/// A fixed window with escalation.
#[derive(Clone, Debug, PartialEq)]
pub struct Escalate {
    /// Where it stands.
    pub place: Place,
    /// Its numbers.
    pub constants: super::store::EscalationConstants,
    /// What it is counted for.
    pub per: Per,
    /// What is counted.
    pub scope: Scope,
    /// Counts and logs, refuses nothing.
    pub observe: bool,
}

/// `ban NETWORK [for DURATION] [reason TEXT]`.
#[derive(Clone, Debug, PartialEq)]
pub struct BanLine {
    /// Where it stands.
    pub place: Place,
    /// An address is a network of one.
    pub network: IpNet,
    /// From when the file was loaded; `None`: for ever.
    pub duration_ms: Option<u64>,
    /// Why.
    pub reason: Box<str>,
}

/// `ban-file PATH [timezone +HH:MM]`.
#[derive(Clone, Debug, PartialEq)]
pub struct BanFile {
    /// Where it stands.
    pub place: Place,
    /// As it is written; relative to the guard file.
    pub path: PathBuf,
    /// Seconds that local times of the file are ahead of UTC.
    pub utc_offset_s: i64,
}

/// What is counted towards a ban.
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
    /// Where it stands.
    pub place: Place,
    /// What is counted.
    pub violation: Violation,
    /// So many violations ban.
    pub count: u32,
    /// Within this time.
    pub window_ms: u64,
    /// How long; `None`: for ever.
    pub duration_ms: Option<u64>,
    /// Counts and logs, bans no client.
    pub observe: bool,
}

/// The address that is looked for in the clouds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloudSide {
    /// The client's.
    Client,
    /// The address that is about to be dialled.
    Destination,
}

/// `cloud deny SIDE PROVIDERS [except PROVIDER:REGION,...]`.
#[derive(Clone, Debug, PartialEq)]
pub struct CloudRule {
    /// Where it stands.
    pub place: Place,
    /// The address that is judged.
    pub side: CloudSide,
    /// Each with the regions that are not denied, in lower case.
    pub providers: Vec<(super::clouds::Provider, Vec<Box<str>>)>,
    /// Counts and logs, refuses nothing.
    pub observe: bool,
}

/// What happens when the store does not answer in time.
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
#[derive(Clone, Debug, PartialEq)]
pub struct StoreLine {
    /// Where it stands.
    pub place: Place,
    /// `redis://`, `rediss://`, `redis-cluster://HOST:PORT,HOST:PORT`, `rediss-cluster://`, `redis-sentinel://HOST:PORT,.../NAME`,
    /// `mongodb://`.
    pub url: Box<str>,
    /// A file with the password, so that it need not be in the URL.
    pub password_file: Option<PathBuf>,
    /// What every key begins with.
    pub prefix: Box<str>,
    /// How long a request waits for an answer.
    pub deadline_ms: u64,
    /// What happens then.
    pub on_failure: OnFailure,
}

/// `events PATH` or `events unix:PATH`.
#[derive(Clone, Debug, PartialEq)]
pub struct EventsLine {
    /// Where it stands.
    pub place: Place,
    /// The file or socket.
    pub path: PathBuf,
    /// It is a Unix datagram or stream socket.
    pub socket: bool,
    /// Types that are not told.
    pub muted: Vec<Box<str>>,
}
