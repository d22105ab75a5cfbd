//! The guard's counters and bans: bounded, shared by all loops of a proxy, kept across reloads.

use super::bans::{Ban, BanError, BanOrigin, Bans};
use super::behaviour::throttles::Throttles;
use super::csrf::Key;
#[cfg(feature = "detection")]
use super::detection::Detector;
use super::directives::{BanAfter, Directives};
use super::durations::{Durations, Stopwatch};
use super::escalation::SharedEscalations;
use super::events::{Event, EventType, Ring};
use super::ipv4_parts::Ipv4Parts;
use super::keyed::Keys;
use super::noted::Noted;
use super::renewed::Renewed;
use super::store::{Answer, StoreNews, StoreOrder};
use super::told::{Asker, Happened, Told};
use super::window::{SharedWindows, WINDOW_MS_MAX};
use crate::time::Now;
use ipnet::IpNet;
use siphasher::sip::SipHasher13;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::Hasher;
use std::net::IpAddr;
#[cfg(feature = "detection")]
use std::sync::Weak;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Keys that are counted at most, without `guard-keys` (chosen: some ten megabytes).
pub const KEYS_MAX: usize = 100_000;

/// Most bans without `bans-max` (chosen: the size of the large public lists).
pub const BANS_MAX: usize = 1_000_000;

/// Events that are kept for readers (chosen: a minute of an attack) ...
pub const EVENTS_MAX: usize = 4096;

/// ... and their bytes, without `--memory` (chosen: most events have less than a kilobyte).
pub const EVENT_BYTES_MAX: usize = 4 << 20;

/// The identity of the counter of suspicions, which belongs to no line (chosen).
const SUSPICION: u64 = 0x7375_7370_6963_696F;

/// Expired bans to remove with each change (chosen: several times the bans that a change can add).
const EXPIRED_AT_ONCE: usize = 64;

/// Refused bans of the store that are remembered, so that each is told once (chosen: those of some wrong entries).
const REFUSED_MAX: usize = 1000;

/// A change to report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// New bans: clients that are banned now are to be cut.
    Bans,
    /// An order for the store.
    Order(StoreOrder),
    /// Bans that have ended because the guard file trusts their networks.
    Trusted(Vec<IpNet>),
    /// Bans of the store that do not count in this process, because of their networks, and why.
    Refused(Vec<(IpNet, BanError)>),
    /// A line for the log, to be written at once.
    Alert(String),
}

/// Called with every change, on the thread that makes it; must not wait.
pub type Sink = Box<dyn Fn(Change) + Send + Sync>;

/// All counters and bans of a proxy.
pub struct State {
    seed: [u64; 2],
    keys_max: usize,
    keys: Keys,
    bans: RwLock<Bans>,
    parts_v4: Arc<Ipv4Parts>,
    /// The number of bans: mostly none, and then no lock is taken.
    bans_len: AtomicUsize,
    /// The networks of bans of the store that were refused.
    refused: Mutex<HashSet<IpNet>>,
    /// The lines of the present guard file that can ban, by their number, and their text.
    banning: Mutex<HashMap<u32, Box<str>>>,
    /// Sliding windows, including those of `ban-after`.
    pub windows: SharedWindows,
    /// Fixed windows with escalation.
    pub escalations: SharedEscalations,
    /// Clients whose counters were cleared.
    pub(super) renewed: Renewed,
    /// Clients that are let through at a pace.
    pub throttles: Throttles,
    /// The key that signs tokens, if no file has one.
    csrf_key: Mutex<Option<Key>>,
    /// Tokens that were given out.
    tokens: AtomicU64,
    /// Requests with findings, by category, and behind them those of [`Noted::Exhausted`] and [`Noted::Unseen`].
    detected: [AtomicU64; Noted::COUNT],
    /// How long detection takes.
    pub durations: Durations,
    /// The last compiled detector: the next guard file shares its automata if the patterns are the same.
    #[cfg(feature = "detection")]
    pub(super) detector: Mutex<Weak<Detector>>,
    events: Mutex<Ring>,
    events_lost: AtomicU64,
    sink: Sink,
}

/// The reason of a ban by `ban-after`.
pub(super) const THRESHOLD_EXCEEDED: &str = "threshold_exceeded";

impl State {
    /// A state without counters and bans. The seed must be random, because clients choose the hashed values. At most
    /// `keys_max` counters of each kind.
    pub fn new(seed: [u64; 2], keys_max: usize, sink: Sink) -> State {
        let bans = Bans::new(BANS_MAX, seed[0]);
        State {
            seed,
            parts_v4: bans.parts_v4(),
            keys_max,
            keys: Keys::new(seed[1]),
            bans: RwLock::new(bans),
            bans_len: AtomicUsize::new(0),
            refused: Mutex::default(),
            banning: Mutex::default(),
            windows: SharedWindows::new(keys_max),
            renewed: Renewed::default(),
            escalations: SharedEscalations::new(keys_max),
            throttles: Throttles::new(keys_max),
            csrf_key: Mutex::new(None),
            tokens: AtomicU64::new(0),
            detected: [const { AtomicU64::new(0) }; Noted::COUNT],
            durations: Durations::new(None),
            #[cfg(feature = "detection")]
            detector: Mutex::new(Weak::new()),
            events: Mutex::new(Ring::new(EVENTS_MAX, EVENT_BYTES_MAX)),
            events_lost: AtomicU64::new(0),
            sink,
        }
    }

    /// Measures how long detection takes, from now on.
    pub fn timed_by(self, stopwatch: Stopwatch) -> State {
        State { durations: Durations::new(Some(stopwatch)), ..self }
    }

    /// Counts a request by the result of its scan.
    pub fn note_detected(&self, noted: Noted) {
        if let Some(count) = self.detected.get(noted.place()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The numbers of these requests, by the word of the category.
    pub fn detected(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Noted::names().zip(self.detected.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// Counters of each kind at most.
    pub fn keys_max(&self) -> usize {
        self.keys_max
    }

    /// Applies the bounds of bans and events, the bans and the trusted proxies of a guard file. Counters stay, and so do bans of
    /// other sources: those that a line has caused name its place in this file.
    pub fn set(&self, directives: &Directives, bans: Vec<(IpNet, Ban)>, now_unix_ms: u64) {
        let trusted = directives.trust.iter().flat_map(|trust| trust.networks.iter().copied());
        let trusted: Vec<IpNet> = trusted.collect();
        let muted = directives.events.iter().flat_map(|events| &events.muted);
        let muted: Vec<EventType> = muted.filter_map(|name| EventType::of_name(name)).collect();
        {
            let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
            events.set_muted(&muted);
            events.set_bytes_max(directives.event_bytes_max.unwrap_or(EVENT_BYTES_MAX));
        }
        let mut table = self.write_bans();
        table.set_bans_max(directives.bans_max.unwrap_or(BANS_MAX));
        let ended = table.set_trusted(&trusted, now_unix_ms);
        let (lines, files): (Vec<_>, Vec<_>) =
            bans.into_iter().partition(|(_, ban)| ban.origin == BanOrigin::GuardFile);
        table.replace(BanOrigin::GuardFile, lines, now_unix_ms);
        table.replace(BanOrigin::BanFile, files, now_unix_ms);
        self.renumber(&mut table, directives);
        self.note_bans(&mut table, now_unix_ms);
        drop(table);
        let now = Now { unix_us: now_unix_ms.saturating_mul(1000), ..Now::default() };
        for network in &ended {
            let told = Told { client: *network, ..Told::of(Happened::Unbanned, network.addr()) };
            self.tell(now, Told { reason: "trusted", ..told });
        }
        if !ended.is_empty() {
            (self.sink)(Change::Trusted(ended));
        }
    }

    /// Equal texts are the same line at another place; a file has no text twice.
    fn renumber(&self, table: &mut Bans, directives: &Directives) {
        let rules = directives.behaviour.iter().map(|rule| &rule.place);
        let places = directives.ban_after.iter().map(|rule| &rule.place).chain(rules);
        let present: HashMap<u32, Box<str>> = places.map(|place| (place.line, place.text.clone())).collect();
        let lines: HashMap<&str, u32> = present.iter().map(|(line, text)| (&**text, *line)).collect();
        let mut banning = self.banning.lock().unwrap_or_else(PoisonError::into_inner);
        table.renumber(|line| lines.get(&**banning.get(&line)?).copied());
        drop(lines);
        *banning = present;
    }

    /// Whether a client has an IPv4 address near which no network is banned: found without the lock, which all loops would
    /// take for each request.
    #[inline]
    pub fn has_no_ban_near(&self, client: &IpAddr) -> bool {
        matches!(client, IpAddr::V4(v4) if !self.parts_v4.may_hold(v4.to_bits()))
    }

    /// The ban of a client: the line of the guard file that contains it, 0 for another source.
    pub fn banned(&self, client: IpAddr, now: Now) -> Option<u32> {
        if self.has_no_ban_near(&client) || self.bans_len.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let table = self.read_bans();
        table.find(client, now.unix_ms()).map(|(_, ban)| ban.line)
    }

    /// Bans a network, in this process and in the store, and cuts its clients.
    pub fn ban(&self, network: IpNet, ban: Ban, now: Now) -> Result<(), BanError> {
        self.ban_for(network, ban, None, now)
    }

    /// Bans a network because of a request.
    fn ban_for(&self, network: IpNet, ban: Ban, asked: Option<&Asker<'_>>, now: Now) -> Result<(), BanError> {
        let (until_unix_ms, reason, line) = (ban.until_unix_ms, ban.reason.clone(), ban.line);
        {
            let mut table = self.write_bans();
            table.insert(network, ban, now.unix_ms())?;
            self.note_bans(&mut table, now.unix_ms());
        }
        let told = Told {
            client: network,
            reason: &reason,
            line,
            until_unix_ms,
            asked,
            ..Told::of(Happened::Banned, network.addr())
        };
        self.tell(now, told);
        (self.sink)(Change::Bans);
        (self.sink)(Change::Order(StoreOrder::Ban { network, until_unix_ms, reason }));
        Ok(())
    }

    /// Ends a ban, in this process and in the store. False if there was none.
    pub fn unban(&self, network: IpNet, now: Now) -> bool {
        let removed = {
            let mut table = self.write_bans();
            let removed = table.remove(network);
            self.note_bans(&mut table, now.unix_ms());
            removed
        };
        if removed {
            let told = Told { client: network, ..Told::of(Happened::Unbanned, network.addr()) };
            self.tell(now, told);
            (self.sink)(Change::Order(StoreOrder::Unban(network)));
        }
        removed
    }

    /// Sends an order to the store.
    pub fn order(&self, order: StoreOrder) {
        (self.sink)(Change::Order(order));
    }

    /// Bans the network of a client that has exceeded a limit too often; `asked` is the last request. Loopback and trusted
    /// proxies cannot be banned.
    pub fn ban_automatically(
        &self,
        network: IpNet,
        rule: &BanAfter,
        asked: &Asker<'_>,
        now: Now,
    ) -> Result<(), BanError> {
        let (reason, origin) = (THRESHOLD_EXCEEDED.into(), BanOrigin::Automatic);
        let ban = Ban { until_unix_ms: rule.until_unix_ms(now), reason, origin, line: rule.place.line };
        self.ban_client((asked.client, network), ban, Some(asked), now)
    }

    /// Bans the network of a client, or only its address where a trusted proxy is in that network.
    pub fn ban_client(
        &self,
        (client, network): (IpAddr, IpNet),
        ban: Ban,
        asked: Option<&Asker<'_>>,
        now: Now,
    ) -> Result<(), BanError> {
        match self.ban_for(network, ban.clone(), asked, now) {
            Err(BanError::Trusted(_)) => self.ban_for(client.to_canonical().into(), ban, asked, now),
            banned => banned,
        }
    }

    /// Applies news of the store: clients that other processes have banned are cut.
    pub fn learn(&self, news: &StoreNews, now: Now) {
        match news {
            StoreNews::Reached => {
                self.push(Event::new(now, EventType::RedisConnection, None, "connection_established"));
            }
            StoreNews::ScriptReloaded => {
                self.push(Event::new(now, EventType::RateLimitScriptReloaded, None, "script_reloaded"));
            }
            StoreNews::Lost(error) => {
                let mut event = Event::new(now, EventType::RedisError, None, "connection_failed");
                event.reason = error.to_string();
                self.push(event);
            }
            // The loops have the counters.
            StoreNews::Unblocked(_) | StoreNews::Warning(_) => {}
            StoreNews::Vanished(networks) => {
                self.apply_news(news, now);
                for network in networks {
                    let told = Told { client: *network, ..Told::of(Happened::Unbanned, network.addr()) };
                    self.tell(now, Told { reason: "no longer in the store", ..told });
                }
            }
            StoreNews::Banned { .. } | StoreNews::Unbanned(_) | StoreNews::AllBans(_) => {
                self.apply_news(news, now);
                (self.sink)(Change::Bans);
            }
        }
    }

    fn apply_news(&self, news: &StoreNews, now: Now) {
        let refused = {
            let mut table = self.write_bans();
            let refused = table.apply_news(news, now.unix_ms());
            self.note_bans(&mut table, now.unix_ms());
            refused
        };
        let new = self.not_told(refused, matches!(news, StoreNews::AllBans(_)));
        if !new.is_empty() {
            (self.sink)(Change::Refused(new));
        }
    }

    /// Those of the refused bans that are new; `are_all` says that the store has no others.
    fn not_told(&self, mut refused: Vec<(IpNet, BanError)>, are_all: bool) -> Vec<(IpNet, BanError)> {
        let mut told = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if are_all {
            let present: HashSet<IpNet> = refused.iter().map(|(network, _)| *network).collect();
            told.retain(|network| present.contains(network));
        }
        refused.retain(|(network, _)| told.len() < REFUSED_MAX && told.insert(*network));
        refused
    }

    /// Removes some expired bans, so that they leave as fast as new ones are added, and records the number of bans.
    fn note_bans(&self, table: &mut Bans, now_unix_ms: u64) {
        table.expire(now_unix_ms, EXPIRED_AT_ONCE);
        self.bans_len.store(table.len(), Ordering::Relaxed);
    }

    /// Reads the bans.
    pub fn read_bans(&self) -> RwLockReadGuard<'_, Bans> {
        self.bans.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_bans(&self) -> RwLockWriteGuard<'_, Bans> {
        self.bans.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records an event about a decision.
    pub fn tell(&self, now: Now, told: Told<'_>) {
        self.push(told.event(now));
    }

    /// The key that signs tokens: random bytes, the same over reloads.
    pub fn csrf_key(&self, random: impl FnOnce() -> Option<Key>) -> Option<Key> {
        let mut key = self.csrf_key.lock().unwrap_or_else(PoisonError::into_inner);
        if key.is_none() {
            *key = random();
        }
        key.clone()
    }

    /// A value that no other token of this process has, nor one of another run.
    pub fn unique(&self, now: Now) -> u128 {
        let number = self.tokens.fetch_add(1, Ordering::Relaxed);
        u128::from(now.unix_us) << 64 | u128::from(number)
    }

    /// Writes a line to the log.
    pub fn alert(&self, line: String) {
        (self.sink)(Change::Alert(line));
    }

    /// Notes that something suspicious was found in a request of a client.
    pub fn note_suspicion(&self, client: IpNet, now: Now) {
        let key = self.suspicion_key(client);
        self.windows.record(key, 1, WINDOW_MS_MAX, now.common_ms());
    }

    /// Whether something suspicious was found in the requests of a client.
    pub fn is_suspicious(&self, client: IpNet, now: Now) -> bool {
        let answer = self.windows.peek(self.suspicion_key(client), 1, WINDOW_MS_MAX, now.common_ms());
        matches!(answer, Answer::Window { within: false, .. })
    }

    fn suspicion_key(&self, client: IpNet) -> u64 {
        self.key(SUSPICION, |hasher| hasher.write_address(client.addr()))
    }

    /// Adds an event.
    pub fn push(&self, event: Event) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    /// Events from a cursor on, and how many a slow reader has lost; see [`Ring::read`].
    pub fn read_events(&self, cursor: &mut u64, at_most: usize) -> (Vec<Arc<Event>>, u64) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).read(cursor, at_most)
    }

    /// Events recorded so far.
    pub fn events_told(&self) -> u64 {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).told()
    }

    /// Counts events that were dropped before they were written to the file or socket of the guard file.
    pub fn count_events_lost(&self, lost: u64) {
        self.events_lost.fetch_add(lost, Ordering::Relaxed);
    }

    /// The number of these events.
    pub fn events_lost(&self) -> u64 {
        self.events_lost.load(Ordering::Relaxed)
    }

    /// The key of a counter: its identity, and the parts of a request that `write` adds.
    #[inline]
    pub fn key(&self, identity: u64, write: impl FnOnce(&mut KeyHasher<'_>)) -> u64 {
        // Every part is hashed together with the hash of the parts before it, so the last one needs no further hash.
        let mut hasher = KeyHasher { keys: &self.keys, seed: &self.seed, hash: identity };
        write(&mut hasher);
        hasher.hash
    }
}

/// Hashes the parts of a counter's key. Addresses are a few words; texts may be long, and are hashed as such.
pub struct KeyHasher<'a> {
    keys: &'a Keys,
    seed: &'a [u64; 2],
    hash: u64,
}

impl KeyHasher<'_> {
    /// Adds a text, with its length, so that no other text is a prefix of it.
    pub fn write(&mut self, text: &[u8]) {
        let mut hasher = SipHasher13::new_with_keys(self.seed[0], self.seed[1]);
        hasher.write(text);
        self.hash = self.keys.hash(u128::from(hasher.finish()), self.hash);
    }

    /// An address.
    pub fn write_address(&mut self, address: IpAddr) {
        let bits = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        self.hash = self.keys.hash(bits, self.hash);
    }

    /// Adds an address without its bits behind the prefix length of its family.
    #[inline]
    pub fn write_prefix(&mut self, address: &IpAddr, [prefix4, prefix6]: [u8; 2]) {
        match address {
            IpAddr::V4(v4) => {
                let prefix = prefix4.min(32);
                let others = 32 - prefix;
                let network = u64::from(v4.to_bits()) >> others << others;
                self.hash = self.keys.hash_word(network | u64::from(prefix) << 32, self.hash);
            }
            IpAddr::V6(v6) => {
                let prefix = prefix6.min(128);
                let others = u128::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
                self.hash = self.keys.hash(v6.to_bits() & !others, self.hash ^ u64::from(prefix));
            }
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("State").field("bans", &self.bans_len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_4_a_ban_that_has_gone_from_the_store_ends_with_an_event() {
        let state = State::new([1, 2], 16, Box::new(|_| ()));
        let (network, now) = ("203.0.113.9/32".parse().unwrap(), Now { unix_us: 1, ..Now::default() });
        let (until_unix_ms, reason) = (None, "test".into());
        state.ban(network, Ban { until_unix_ms, reason, origin: BanOrigin::Control, line: 0 }, now).unwrap();
        state.learn(&StoreNews::Vanished(vec![network]), now);
        assert_eq!(state.banned(network.addr(), now), None);
        let (events, _) = state.read_events(&mut 0, 9);
        let line = events.last().unwrap().line();
        assert!(line.contains("ip_unbanned") && line.contains("no longer in the store"), "{line}");
    }

    #[test]
    fn ours_4_automatic_bans_name_the_present_place_of_their_line() {
        let state = State::new([1, 2], 16, Box::new(|_| ()));
        let now = Now { unix_us: 1, ..Now::default() };
        let clients = ["203.0.113.1", "203.0.113.2"].map(|client| client.parse::<IpAddr>().unwrap());
        let set = |text: &str| {
            let directives = crate::guard::directives::parse(text.as_bytes()).unwrap();
            state.set(&directives, Vec::new(), 1);
            directives
        };
        let lines = || clients.map(|client| state.banned(client, now));
        let (rule, other) = ("ban-after limit 2 in 1m for 1h", "behaviour usage 9 in 1m action ban for 1h");
        let file = set(&format!("limit 1/1m per client\n{rule}\n{other}\n"));
        let asked = Asker::by(clients[0]);
        state.ban_automatically(clients[0].into(), &file.ban_after[0], &asked, now).unwrap();
        let (until_unix_ms, reason) = (None, "behavioral_violation".into());
        let ban =
            Ban { until_unix_ms, reason, origin: BanOrigin::Automatic, line: file.behaviour[0].place.line };
        state.ban(clients[1].into(), ban, now).unwrap();
        assert_eq!(lines(), [Some(2), Some(3)]);
        set(&format!("# more\nlimit 1/1m per client\n\n{other}\nban-after  limit 2 in 60s for 60m\n"));
        assert_eq!(lines(), [Some(5), Some(4)]);
        set(&format!("limit 1/1m per client\n{other}\nban-after limit 3 in 1m for 1h\n"));
        assert_eq!(lines(), [Some(0), Some(2)], "the line has gone");
        set(&format!("limit 1/1m per client\n{rule}\n"));
        assert_eq!(lines(), [Some(0), Some(0)]);
    }

    #[test]
    fn guard_12_a_ban_that_ends_because_a_reload_trusts_its_network_is_told() {
        let changes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&changes);
        let state = State::new([1, 2], 16, Box::new(move |change| sink.lock().unwrap().push(change)));
        let (network, now) = ("203.0.113.9/32".parse().unwrap(), Now { unix_us: 1, ..Now::default() });
        let (until_unix_ms, reason) = (None, "test".into());
        state.ban(network, Ban { until_unix_ms, reason, origin: BanOrigin::Control, line: 0 }, now).unwrap();
        for _ in 0..2 {
            let directives = crate::guard::directives::parse(b"trust 203.0.113.0/24").unwrap();
            state.set(&directives, Vec::new(), 5);
        }
        assert_eq!(state.banned(network.addr(), now), None);
        let (events, _) = state.read_events(&mut 0, 9);
        let lines: Vec<String> = events.iter().map(|event| event.line()).collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[1].starts_with("1970-01-01T00:00:00.005Z ip_unbanned 203.0.113.9 unbanned trusted"));
        let changes = changes.lock().unwrap();
        let ends = changes.iter().filter(|change| matches!(change, Change::Trusted(_)));
        assert_eq!(ends.collect::<Vec<_>>(), [&Change::Trusted(vec![network])]);
    }

    #[test]
    fn ours_4_a_ban_of_the_store_that_is_refused_is_told_once() {
        let changes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&changes);
        let state = State::new([1, 2], 16, Box::new(move |change| sink.lock().unwrap().push(change)));
        let trusted: IpNet = "10.5.0.0/24".parse().unwrap();
        state.set(&crate::guard::directives::parse(b"trust 10.5.0.0/24").unwrap(), Vec::new(), 5);
        let now = Now { unix_us: 1, ..Now::default() };
        let told = || {
            let changes = std::mem::take(&mut *changes.lock().unwrap());
            let refused = changes.into_iter().map(|change| match change {
                Change::Refused(refused) => refused,
                Change::Bans | Change::Order(_) | Change::Trusted(_) | Change::Alert(_) => Vec::new(),
            });
            refused.flatten().collect::<Vec<_>>()
        };
        let [around, loopback, other]: [IpNet; 3] =
            ["10.0.0.0/8", "127.0.0.1/32", "192.0.2.1/32"].map(|network| network.parse().unwrap());
        let load = |networks: &[IpNet]| {
            let bans = networks.iter().map(|network| (*network, None, "".into())).collect();
            state.learn(&StoreNews::AllBans(bans), now);
            told()
        };
        let why = (around, BanError::Trusted(trusted));
        assert_eq!(load(&[around, other]), [why]);
        assert_eq!(load(&[around, other, loopback]), [(loopback, BanError::Loopback)]);
        state.learn(&StoreNews::Banned { network: around, until_unix_ms: None, reason: "".into() }, now);
        assert_eq!((told(), load(&[other])), (vec![], vec![]));
        assert_eq!(load(&[around]), [why], "it was away meanwhile");
        let many: Vec<IpNet> =
            (0..1500u32).map(|host| IpAddr::from((0x7F00_0000 | host).to_be_bytes()).into()).collect();
        assert_eq!([load(&many).len(), load(&many).len()], [REFUSED_MAX, 0]);
    }

    #[test]
    fn ours_4_bans_that_have_ended_leave_when_others_come() {
        let state = State::new([1, 2], 16, Box::new(|_| ()));
        let at = |unix_s: u64| Now { unix_us: unix_s * 1_000_000, ..Now::default() };
        let ban = |until_s: u64| Ban {
            until_unix_ms: Some(until_s * 1000),
            reason: "test".into(),
            origin: BanOrigin::Control,
            line: 0,
        };
        for host in 1..=40u8 {
            state.ban(IpAddr::from([203, 0, 113, host]).into(), ban(200), at(100)).unwrap();
        }
        assert_eq!(state.read_bans().len(), 40);
        state.ban(IpAddr::from([203, 0, 113, 77]).into(), ban(400), at(300)).unwrap();
        assert_eq!(state.read_bans().len(), 1);
        assert_eq!(state.banned(IpAddr::from([203, 0, 113, 77]), at(300)), Some(0));
        assert_eq!(state.banned(IpAddr::from([203, 0, 113, 1]), at(300)), None);
        assert!(state.unban(IpAddr::from([203, 0, 113, 77]).into(), at(301)));
        assert!(state.read_bans().is_empty());
    }
}
