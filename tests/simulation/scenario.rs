//! The parameters of one seed: numbers of peers, sizes, faults, hosts.

use super::dice::Dice;
use super::guarding::Plan;
use super::pages::Page;
use super::site::{Keeping, Site};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use weir::cache::rfc::freshness::Freshness;
use weir::cache::store::memory_budget::Charge;
use weir::cache::store::{Limits, Store};
use weir::engine::{CacheSettings, Listener, Settings, Timeouts};
use weir::gateway::rules::Gateway;
use weir::policy::Policy;
use weir::policy::acl::{AclBuilder, ListKind};
use weir::policy::auth::Users;
use weir::policy::edit::Edits;
use weir::resolver;

/// The outcome of connecting to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialling {
    Accepts,
    Refuses,
    /// `connect` itself fails.
    Unreachable,
    /// Nothing comes back.
    Silent,
    /// Accepts and resets at once.
    Resets,
}

/// The answers of the name servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    Right,
    /// There is no such name.
    Missing,
    /// SERVFAIL.
    Failing,
    /// No reply.
    Silent,
    /// Addresses that no proxy should dial.
    Lying,
    /// Some of those among the right ones.
    Mixed,
    /// TC over UDP.
    Truncated,
    /// Nonsense.
    Garbled,
    /// The host is an address: no name server is asked.
    Literal,
}

/// One origin server.
#[derive(Clone, Debug)]
pub struct Host {
    /// As it stands in targets.
    pub authority: String,
    pub naming: Naming,
    pub addresses: Vec<(IpAddr, Dialling)>,
    /// It speaks HTTP/1.0.
    pub http10: bool,
    /// It does what it should, always: a request to it must succeed.
    pub steady: bool,
    /// It ends idle connections, or speaks on them, or on new ones, or says more than it was asked.
    pub sloppy: bool,
    /// It authenticates connections.
    pub authenticates: bool,
}

/// Events that concern all peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobalEvent {
    /// The process was suspended: so many microseconds are gone.
    Jump(u64),
    /// The wall clock was set; by how many seconds.
    SetClock(i64),
    SetPolicy(usize),
    SetResolver,
    Drain,
    /// Descriptors run out, or are there again.
    Exhaustion(bool),
    ShedIdle,
    /// Everything that is stored is to be forgotten.
    PurgeAll,
    /// An operator bans the clients of that number's address, for so many microseconds.
    Ban(u32, u64),
}

/// The state of the cache.
pub struct Cache {
    pub store: Arc<Store>,
    /// Memory of an empty store.
    pub empty_bytes: usize,
    /// A part of the budget that something else has taken: no store is as small as is wanted here.
    pub ballast: Charge,
    /// Clients may purge.
    pub purges: bool,
}

/// A policy as the model sees it.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub blocks: bool,
    pub authenticates: bool,
}

pub struct Scenario {
    pub clients: u32,
    /// Nothing disturbs the run, and there is room for all: correct clients must be served.
    pub strict: bool,
    /// Of a hundred clients, answers and so on.
    pub fault_percent: u64,
    pub arrivals_us: u64,
    /// Engines that share the clients, the store and nothing else.
    pub loops: usize,
    /// Few clients, in several loops, read the same few pages while they arrive: their origins pause and break off, and readers
    /// leave at every moment.
    pub together: bool,
    pub settings: Settings,
    pub resolver: resolver::Settings,
    pub turn_bytes: usize,
    pub turns_max: usize,
    /// Of a hundred bodies and directions of tunnels, so many are large: enough of them to be moved inside the kernel.
    pub bulk_percent: u64,
    /// Of a hundred times, there is a pipe so often.
    pub pipes_percent: u64,
    /// Bytes that weir may have on their way to a peer, and a peer on their way to weir.
    pub room_max: usize,
    pub window: usize,
    pub hosts: Vec<Host>,
    pub global_events: Vec<(u64, GlobalEvent)>,
    pub policies: Vec<(Rules, Arc<Policy>)>,
    pub first_policy: usize,
    pub dns_faults: bool,
    pub expects_drain: bool,
    pub cache: Option<Cache>,
    pub pages: Vec<Page>,
    /// Of a hundred requests, for pages.
    pub pages_percent: u64,
    pub heuristic_max_s: u64,
    /// Bodies go through filters.
    pub filters: bool,
    pub guard: Option<Plan>,
}

/// The name that blocking policies block.
pub const BLOCKED: &str = "blocked.sim";

/// Retries of a route of the gateway, the most that a file may have.
pub const RETRIES_OF_ROUTES: usize = 10;

const BCRYPT: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

/// The users. The simulated shell knows whose passwords are right by their names, and computes no hash.
pub fn users() -> Users {
    let text = format!("plain:secret\nslow-right:{BCRYPT}\nslow-wrong:{BCRYPT}\n");
    Users::parse(text.as_bytes(), 7).expect("a user file")
}

pub fn policy(rules: Rules) -> Arc<Policy> {
    let mut builder = AclBuilder::new(11);
    if rules.blocks {
        builder.add_list(ListKind::Block, "rules.txt", BLOCKED.as_bytes());
    }
    let acl = builder.build().expect("rules");
    let users = rules.authenticates.then(users);
    Arc::new(Policy {
        acl,
        users: users.map(Arc::new),
        edits: Edits::default(),
        cache_rules: Default::default(),
        pages: Default::default(),
        quiet_refusals: false,
    })
}

impl Scenario {
    /// `together`: see there.
    pub fn new(dice: &mut Dice, together: bool) -> Scenario {
        let clients = match dice.below(20) {
            _ if together => dice.between(2, 12) as u32,
            0 => dice.between(1000, 2000) as u32,
            1 | 2 => dice.between(200, 600) as u32,
            3..=6 => dice.between(1, 5) as u32,
            _ => dice.between(5, 80) as u32,
        };
        let strict = dice.percent(if together { 75 } else { 50 });
        let arrivals_us = dice.pick(&[1_000, 50_000, 1_000_000, 20_000_000]);
        let rules = [(false, false), (true, false), (true, true), (false, true)]
            .map(|(blocks, authenticates)| Rules { blocks, authenticates });
        let mut scenario = Scenario {
            clients,
            strict,
            fault_percent: dice.pick(&[0, 5, 20, 60]),
            arrivals_us,
            loops: 1,
            together,
            settings: settings(dice, clients, strict),
            resolver: resolver_settings(dice),
            turn_bytes: dice.pick(&[1, 100, 4096, 65_536, 262_144]),
            turns_max: dice.pick(&[1, 3, 16, 256]),
            bulk_percent: if clients > 80 { dice.pick(&[0, 2]) } else { dice.pick(&[0, 10, 30, 60]) },
            pipes_percent: dice.pick(&[0, 50, 90, 100]),
            room_max: dice.pick(&[65_536, 65_536, 8_192]),
            window: dice.pick(&[65_536, 65_536, 400_000]),
            hosts: hosts(dice),
            global_events: Vec::new(),
            policies: rules.iter().map(|rules| (*rules, policy(*rules))).collect(),
            first_policy: if together { 1 } else { dice.pick(&[0, 1, 1, 1, 1, 1, 2]) },
            dns_faults: !strict && !together && dice.percent(30),
            expects_drain: false,
            cache: None,
            pages: Vec::new(),
            pages_percent: dice.pick(&[50, 90, 100]),
            heuristic_max_s: dice.pick(&[2, 10]),
            filters: dice.percent(60) && clients <= 80,
            guard: None,
        };
        if together {
            scenario.hosts[0].authenticates = false;
        }
        if together || dice.percent(65) {
            scenario.add_cache(dice);
        }
        scenario.add_global_events(dice);
        scenario.add_guard();
        scenario.add_gateway();
        scenario
    }

    /// In some worlds requests are counted, and clients banned.
    fn add_guard(&mut self) {
        // By dice of its own, so that all else is as it would be.
        let mut dice = Dice::new(self.settings.seed[0] ^ u64::from(self.clients));
        let span_us = self.arrivals_us + 1_000_000;
        self.guard = match self.together {
            true => None,
            false => Plan::draw(&mut dice, self.clients > 100, span_us),
        };
        let Some(plan) = &self.guard else { return };
        self.settings.guard = Some(Arc::clone(&plan.guard));
        if plan.reads_date() {
            self.global_events.retain(|(_, event)| !matches!(event, GlobalEvent::SetClock(_)));
        }
        if plan.bans {
            for _ in 0..dice.between(1, 3 + u64::from(self.clients) / 8) {
                let at_us = dice.between(0, span_us);
                let client = dice.below(self.clients as usize) as u32;
                let lasts_us = dice.pick(&[20_000, 300_000, 5_000_000]);
                self.global_events.push((at_us, GlobalEvent::Ban(client, lasts_us)));
            }
        }
    }

    /// In every fifth world weir is a gateway: each host has a route, to its addresses.
    fn add_gateway(&mut self) {
        // Without a throw of the dice, so that all else is as it would be.
        if (self.clients as usize + self.window + self.hosts.len()) % 5 > 0 {
            return;
        }
        let route = |host: &Host| {
            let mut upstreams: Vec<String> =
                host.addresses.iter().map(|(address, _)| SocketAddr::new(*address, 80).to_string()).collect();
            // A name may have an address twice, a route may not.
            upstreams.sort();
            upstreams.dedup();
            let balance = ["round-robin", "least", "hash-client"][upstreams.len() % 3];
            format!(
                "{}/ -> {} {balance} retries {RETRIES_OF_ROUTES} slow-start off\n",
                host.authority,
                upstreams.join(" ")
            )
        };
        let text: String = self.hosts.iter().map(route).collect();
        let directives = weir::gateway::directives::parse(text.as_bytes()).expect("a gateway file");
        self.settings.gateway = Some(Arc::new(Gateway::new(&directives, None)));
        self.settings.listeners[0].gateway = true;
    }

    /// In half of the worlds that are no gateway weir has pages of its own, and in all of these with a shared store.
    pub fn site(&self) -> Option<Site> {
        // By dice of its own, so that all else is as it would be.
        let mut dice = Dice::new(self.settings.seed[1] ^ u64::from(self.clients));
        let keeping = self.guard.as_ref().map_or(Some(Keeping::Memory), Plan::keeping)?;
        if self.together || self.is_gateway() || keeping == Keeping::Memory && !dice.percent(50) {
            return None;
        }
        let exact = self.strict && self.guard.is_none();
        let visitors = dice.between(1, 6) as u32;
        Some(Site::new(visitors, keeping, exact, self.guard.is_some(), dice))
    }

    /// Requests go to configured servers: there are no tunnels, and no users.
    pub fn is_gateway(&self) -> bool {
        self.settings.gateway.is_some()
    }

    /// Whether an origin with that address is sloppy.
    pub fn is_sloppy(&self, origin: IpAddr) -> bool {
        let has_it = |host: &&Host| host.addresses.iter().any(|(address, _)| *address == origin);
        self.hosts.iter().find(has_it).is_some_and(|host| host.sloppy)
    }

    fn add_cache(&mut self, dice: &mut Dice) {
        self.loops = if self.together { dice.pick(&[2, 3, 3]) } else { dice.pick(&[1, 1, 2, 3, 3]) };
        // In some there are few clients, and all ask for the same.
        let throng = self.loops > 1 && !self.together && dice.percent(35);
        if self.together {
            self.turn_bytes = dice.pick(&[1_000, 4096, 65_536]);
            self.fault_percent = dice.pick(&[0, 20, 40]);
            self.pages_percent = 100;
        }
        if throng {
            self.clients = self.clients.min(24);
            self.turn_bytes = self.turn_bytes.max(4096);
        }
        let cache = cache(dice, self.clients, self.together);
        let mut settings = CacheSettings::new(Arc::clone(&cache.store));
        settings.freshness = Freshness { heuristic_max_s: self.heuristic_max_s as u32, negative_ttl_s: 0 };
        if cache.purges {
            settings.purge_from = "100.70.0.0/16".parse().into_iter().collect();
        }
        self.settings.cache = Some(settings);
        self.settings.loops = self.loops;
        self.cache = Some(cache);
        // Shared pages must be small enough for one round of a test.
        let length_max = if self.clients > 80 { 20_000 } else { 150_000 };
        self.pages = Page::draw_all(dice, &self.hosts, length_max);
        self.arrivals_us = dice.pick(&[1_000, 50_000, 1_000_000, 10_000_000, 60_000_000]);
        if throng {
            self.pages = Page::draw_long(dice, &self.hosts);
            self.arrivals_us = dice.pick(&[1_000, 50_000]);
        }
        if self.together {
            // In some nothing is stored, and only readers have faults: each response passes through a window.
            let flows = dice.percent(40);
            if flows {
                self.clients = self.clients.min(6);
                self.fault_percent = dice.pick(&[20, 40, 60]);
            }
            self.pages = Page::draw_together(dice, &self.hosts, flows);
            self.arrivals_us = dice.pick(&[1_000, 20_000, 300_000]);
        }
    }

    fn add_global_events(&mut self, dice: &mut Dice) {
        let span = self.arrivals_us + 2_000_000;
        let at = |dice: &mut Dice| dice.between(0, span);
        if self.together {
            return self.add_events_together(dice);
        }
        for _ in 0..dice.pick(&[0, 0, 1, 5]) {
            let to = dice.below(self.policies.len());
            self.global_events.push((at(dice), GlobalEvent::SetPolicy(to)));
        }
        for _ in 0..dice.pick(&[0, 0, 2]) {
            let by = dice.between(0, 7200) as i64 - 3600;
            self.global_events.push((at(dice), GlobalEvent::SetClock(by)));
        }
        for _ in 0..dice.pick(&[0, 0, 3]) {
            self.global_events.push((at(dice), GlobalEvent::ShedIdle));
        }
        if self.cache.is_some() && dice.percent(20) {
            self.global_events.push((at(dice), GlobalEvent::PurgeAll));
        }
        if self.strict {
            return;
        }
        for _ in 0..dice.pick(&[0, 0, 1, 3]) {
            let us = dice.pick(&[200_000, 5_000_000, 61_000_000, 3_600_000_000]);
            self.global_events.push((at(dice), GlobalEvent::Jump(us)));
        }
        for _ in 0..dice.pick(&[0, 0, 1]) {
            self.global_events.push((at(dice), GlobalEvent::SetResolver));
        }
        if dice.percent(20) {
            let begin = at(dice);
            self.global_events.push((begin, GlobalEvent::Exhaustion(true)));
            self.global_events.push((begin + dice.between(0, 1_000_000), GlobalEvent::Exhaustion(false)));
        }
        if dice.percent(40) {
            self.expects_drain = true;
            self.global_events.push((at(dice), GlobalEvent::Drain));
        }
    }

    /// Only what concerns fills, while the first of them are under way.
    fn add_events_together(&mut self, dice: &mut Dice) {
        let span_us = self.arrivals_us + 500_000;
        let at = |dice: &mut Dice| dice.between(0, span_us);
        for _ in 0..dice.pick(&[0, 0, 1, 3]) {
            self.global_events.push((at(dice), GlobalEvent::PurgeAll));
        }
        if dice.percent(10) {
            self.global_events.push((at(dice), GlobalEvent::SetPolicy(0)));
        }
        if !self.strict && dice.percent(20) {
            self.expects_drain = true;
            self.global_events.push((at(dice), GlobalEvent::Drain));
        }
    }

    /// A body's length.
    pub fn length(&self, dice: &mut Dice) -> u64 {
        if dice.percent(self.bulk_percent) { dice.between(10_000, 200_000) } else { dice.length() }
    }

    /// Whether a policy lets a request through, by what the model knows of it.
    pub fn rules(&self, policy: usize) -> Rules {
        self.policies[policy].0
    }
}

fn cache(dice: &mut Dice, clients: u32, together: bool) -> Cache {
    let mut limits = Limits::with_budget(1 << 20, [dice.next(), dice.next()]);
    let small = if together { 131_072 } else { 3_000 };
    limits.object_max = dice.pick(&[small, 30_000, 131_072, 131_072, 131_072]);
    let store = Arc::new(Store::new(limits));
    let empty_bytes = store.memory().bytes();
    // What several loops share is copied: with less than this only one loop reads it.
    let least = if together { 300_000 } else { 0 };
    let room = least + dice.pick(&[10_000, 40_000, 150_000, limits.budget]);
    // Each that is under way has a head.
    let taken = limits.budget.saturating_sub(empty_bytes + room + 1_000 * clients as usize);
    let ballast = Charge::new(store.memory(), taken);
    // It stands for what is stored, not for what is held.
    store.memory().enter_store(taken);
    Cache { ballast, store, empty_bytes, purges: dice.percent(40) }
}

fn settings(dice: &mut Dice, clients: u32, strict: bool) -> Settings {
    let mut settings = Settings {
        seed: [dice.next(), dice.next()],
        splices: dice.percent(75),
        blocks_max: 40 * clients as usize + 1000,
        clients_max: clients as usize + 10,
        origins_idle_max: dice.pick(&[0, 1, 10, 512]),
        origins_idle_per_authority_max: dice.pick(&[1, 2, 32]),
        listeners: vec![Listener {
            address: ([192, 0, 2, 250], 3128).into(),
            proxy_protocol: false,
            gateway: false,
        }],
        timeouts: Timeouts {
            exchange_ms: 60_000,
            head_ms: 30_000,
            idle_ms: dice.pick(&[2_000, 60_000]),
            connect_ms: 10_000,
            tunnel_ms: dice.pick(&[60_000, 600_000]),
            origin_idle_ms: dice.pick(&[300, 30_000]),
            drain_ms: dice.pick(&[0, 1_000, 30_000]),
        },
        ..Settings::default()
    };
    settings.logs_tunnel_starts = settings.seed[0] % 2 == 0;
    if strict {
        return settings;
    }
    if dice.percent(60) {
        settings.blocks_max = dice.pick(&[8, 9, 12, 20, 40, 200]);
    }
    if dice.percent(20) {
        settings.clients_max = dice.between(1, u64::from(clients)) as usize;
    }
    if dice.percent(15) {
        settings.clients_per_address_max = dice.between(1, 4) as usize;
    }
    if dice.percent(30) {
        settings.timeouts.exchange_ms = dice.between(1, 3_000);
        settings.timeouts.head_ms = dice.between(1, 3_000);
        settings.timeouts.tunnel_ms = dice.between(1, 3_000);
        settings.timeouts.connect_ms = dice.between(1, 3_000);
        settings.rate_min = dice.pick(&[0, 100, 10_000]);
    }
    settings
}

fn resolver_settings(dice: &mut Dice) -> resolver::Settings {
    resolver::Settings {
        servers: vec![SocketAddr::from(([192, 0, 2, 53], 53)), SocketAddr::from(([192, 0, 2, 54], 53))],
        cache_entries_max: dice.pick(&[0, 4, 4096]),
        rotate: dice.percent(30),
        case_randomised: dice.percent(30),
        ttl_s_min: dice.pick(&[0, 1]),
        ..resolver::Settings::default()
    }
}

/// Other settings for a resolver that is reconfigured.
pub fn other_resolver_settings(dice: &mut Dice) -> resolver::Settings {
    resolver_settings(dice)
}

fn hosts(dice: &mut Dice) -> Vec<Host> {
    let count = dice.between(2, 14) as u8;
    let mut hosts: Vec<Host> = (0..count).map(|number| host(dice, number)).collect();
    // At least one host must be reachable, or nothing would be tested.
    hosts[0].naming = Naming::Right;
    hosts[0].authority = "h0.sim".to_string();
    hosts[0].addresses = vec![(v4(0, 0), Dialling::Accepts)];
    hosts[0].steady = true;
    hosts[0].sloppy = false;
    hosts.push(Host { authority: BLOCKED.to_string(), ..hosts[0].clone() });
    hosts
}

fn host(dice: &mut Dice, number: u8) -> Host {
    use Naming::{Failing, Garbled, Literal, Lying, Missing, Mixed, Right, Silent, Truncated};
    let naming = dice.pick(&[
        Right, Right, Right, Right, Right, Right, Right, Right, Literal, Literal, Literal, Mixed, Truncated,
        Missing, Failing, Silent, Lying, Mixed, Truncated, Garbled,
    ]);
    let first = if dice.percent(30) { v6(number, 0) } else { v4(number, 0) };
    let dialling = |dice: &mut Dice| match dice.below(10) {
        0 => dice.pick(&[Dialling::Refuses, Dialling::Silent, Dialling::Unreachable, Dialling::Resets]),
        _ => Dialling::Accepts,
    };
    let mut addresses = vec![(first, dialling(dice))];
    while naming != Literal && dice.percent(30) {
        addresses.push((v4(number, addresses.len() as u8), dialling(dice)));
    }
    let authority = match (naming, first) {
        (Literal, IpAddr::V4(address)) => address.to_string(),
        (Literal, IpAddr::V6(address)) => format!("[{address}]"),
        _ => format!("h{number}.sim"),
    };
    let reachable = addresses.iter().any(|(_, dialling)| *dialling == Dialling::Accepts)
        && addresses.iter().all(|(_, dialling)| *dialling != Dialling::Resets);
    let sloppy = dice.percent(25);
    let steady = reachable && !sloppy && matches!(naming, Right | Literal | Mixed | Truncated);
    let authenticates = dice.percent(20);
    Host { authority, naming, addresses, http10: dice.percent(12), steady, sloppy, authenticates }
}

fn v4(host: u8, index: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, host * 8 + index % 8))
}

fn v6(host: u8, index: u8) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2a00, 0x1234, 0, 0, 0, 0, u16::from(host), u16::from(index)))
}
