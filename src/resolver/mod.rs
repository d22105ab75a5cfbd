//! A stub resolver without sockets: it takes names, emits queries and returns addresses.
//!
//! It queries the recursive servers of `resolv.conf` (RFC 1035; EDNS: RFC 6891; TCP after truncation: RFC 7766), and
//! caches answers as long as their TTL allows (negative answers: RFC 2308). Against forged replies (RFC 5452) it uses
//! ids from a keyed function, a new socket with a new port for each query, and only records on the path from the
//! question; on request also random case in the question (draft-vixie-dnsext-dns0x20).
//!
//! # How it is driven
//!
//! `look_up` answers at once or returns the id of a pending look-up. After each call, the caller drains
//! `next_action`:
//!
//! - [`Action::Send`]: open a new socket connected to that server and send the message (over TCP behind two bytes of
//!   its length). A received message goes to [`Resolver::handle_reply`], a failure of the socket to
//!   [`Resolver::handle_failure`], a lack of sockets to [`Resolver::handle_shortage`]. The socket stays open until:
//! - [`Action::Cancel`]: close it. Each `Send` is followed by exactly one `Cancel` of its query, after a reply and
//!   after a failure too.
//! - [`Action::Done`]: the outcome, once per look-up that was `Pending`, unless all its waiters have cancelled.
//!
//! [`Resolver::handle_timeout`] is called at [`Resolver::next_timeout_us`]; an earlier call is harmless.
//!
//! # Files
//!
//! `message` is the wire format. `query` is one question of one type, with its retries. `pending` is one look-up,
//! which joins two questions. `walk` yields the candidates that the search list makes of a name. `table` has the
//! hosts file, the cache and the state of the servers. `settings` is `resolv.conf`. This file joins look-ups of the
//! same name, and assigns ids.

mod message;
mod pending;
mod query;
pub mod settings;
mod table;
#[cfg(test)]
mod tests;
mod walk;

use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use hashbrown::HashTable;
use slab::Slab;

pub use self::message::Message;
pub use self::settings::Settings;
pub use self::table::{HOSTS_NAMES_MAX, Hosts};
pub use self::walk::{Candidate, Walk};

use self::message::Family;
use self::pending::{Asked, PendingLookUp, Progress};
use self::query::Upstream;
use self::table::{Cache, Servers};
use crate::http::target::Name;
use crate::net::Keyed;
use crate::time::Now;

/// Most addresses that are kept of one name. Chosen: more are never dialled.
pub const ADDRESSES_MAX: usize = 16;

/// The addresses of a name in the order in which to dial them: IPv6 first, then in turns, each family in the order of
/// the server (RFC 8305 section 4). At most `ADDRESSES_MAX`, without duplicates; cheap to clone. IPv4-mapped
/// addresses are IPv4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    list: Arc<[IpAddr]>,
    /// The targets of CNAMEs, each once, if the settings want them; usually there are none.
    aliases: Option<Arc<[Name]>>,
}

impl Addresses {
    /// Orders addresses. Only the first `ADDRESSES_MAX` of each family are used.
    pub fn new(addresses: impl IntoIterator<Item = IpAddr>) -> Addresses {
        let (mut v6, mut v4) = (Vec::new(), Vec::new());
        for address in addresses {
            let address = address.to_canonical();
            let family = if address.is_ipv6() { &mut v6 } else { &mut v4 };
            if family.len() < ADDRESSES_MAX && !family.contains(&address) {
                family.push(address);
            }
        }
        let turns = v6.len().max(v4.len());
        let both = (0..turns).flat_map(|turn| [v6.get(turn), v4.get(turn)]);
        Addresses { list: both.flatten().copied().take(ADDRESSES_MAX).collect(), aliases: None }
    }

    /// Adds the names that CNAMEs led through.
    fn with_aliases(self, aliases: impl IntoIterator<Item = Name>) -> Addresses {
        let mut names: Vec<Name> = Vec::new();
        for alias in aliases {
            if !names.contains(&alias) {
                names.push(alias);
            }
        }
        Addresses { aliases: (!names.is_empty()).then(|| names.into()), ..self }
    }

    /// The targets of CNAMEs.
    pub fn aliases(&self) -> &[Name] {
        self.aliases.as_deref().unwrap_or_default()
    }

    /// All addresses.
    pub fn as_slice(&self) -> &[IpAddr] {
        &self.list
    }
}

/// Why a name has no addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The name does not exist (NXDOMAIN).
    NotFound,
    /// The name exists and has no address (NODATA).
    NoAddress,
    /// The servers cannot or will not answer, or could not be reached.
    ServerFailure,
    /// The servers did not answer in time.
    Timeout,
    /// The answers were malformed, or their CNAMEs form a loop.
    Malformed,
    /// This machine has no descriptor or memory left for a query.
    Exhausted,
}

/// The result of a look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// At least one address.
    Addresses(Addresses),
    /// No address, and the reason.
    Failed(Failure),
}

/// The answer of `look_up`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookUp {
    /// Known already.
    Ready(Outcome),
    /// `Action::Done` will have this id. All callers that ask for a name at the same time get the same id, and each
    /// that loses interest calls `cancel`.
    Pending(LookUpId),
    /// Too many look-ups are in flight (`Settings::look_ups_max`).
    Full,
}

/// The transport of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// One datagram each way.
    Udp,
    /// A connection for this query; each message follows two bytes of its length (RFC 1035 section 4.2.2).
    Tcp,
}

/// A task for the shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a message on a new socket, and keep the socket until `Cancel`.
    Send {
        /// Identifies the socket in later calls.
        query: QueryId,
        /// The server.
        server: SocketAddr,
        /// UDP or TCP.
        transport: Transport,
        /// The encoded query.
        message: Message,
    },
    /// Close the socket of this query.
    Cancel(QueryId),
    /// A look-up has ended, for all its waiters.
    Done {
        /// The id that `look_up` returned.
        id: LookUpId,
        /// The result.
        outcome: Outcome,
    },
}

const SLOT_BITS: u32 = 16;

/// Identifies a look-up. Ids are never reused, so a stale id is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookUpId(u64);

impl LookUpId {
    fn new(serial: u64, slot: u16) -> LookUpId {
        LookUpId((serial << SLOT_BITS) | u64::from(slot))
    }

    fn slot(self) -> u16 {
        (self.0 & 0xffff) as u16
    }

    fn serial(self) -> u64 {
        self.0 >> SLOT_BITS
    }
}

/// Identifies a query and its socket. Ids are never reused, so a stale id is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueryId(u64);

impl QueryId {
    /// `settings::LOOK_UPS_MAX` leaves the highest bit of the slot free for the family.
    fn new(serial: u64, slot: u16, family: Family) -> QueryId {
        let family = match family {
            Family::V4 => 0,
            Family::V6 => 0x8000,
        };
        QueryId((serial << SLOT_BITS) | u64::from((slot & 0x7fff) | family))
    }

    fn slot(self) -> u16 {
        (self.0 & 0x7fff) as u16
    }

    fn family(self) -> Family {
        if self.0 & 0x8000 == 0 { Family::V4 } else { Family::V6 }
    }

    fn serial(self) -> u64 {
        self.0 >> SLOT_BITS
    }
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls of `look_up`.
    pub look_ups: u64,
    /// Look-ups answered from the cache.
    pub cache_hits: u64,
    /// Look-ups answered from the hosts file, localhost among them.
    pub hosts_hits: u64,
    /// Look-ups that joined one in flight.
    pub shared: u64,
    /// Queries sent, retries among them.
    pub queries: u64,
    /// Queries sent because an earlier one had failed, was lost or truncated.
    pub retries: u64,
    /// Queries without a reply in time.
    pub timeouts: u64,
    /// Truncated replies.
    pub truncated: u64,
    /// Messages on the socket of a query that were not its reply.
    pub mismatched: u64,
    /// Look-ups over the network that ended without addresses.
    pub failures: u64,
    /// Look-ups refused because too many were in flight.
    pub full: u64,
}

/// The resolver.
pub struct Resolver {
    upstream: Upstream,
    hosts: Hosts,
    cache: Cache,
    loopback: Addresses,
    look_ups: Slab<PendingLookUp>,
    /// Slots of `look_ups` by name.
    by_name: HashTable<u16>,
    keyed: Keyed,
    /// No look-up has a deadline before this time; the earliest deadline may be later.
    due_us: u64,
    /// The time of the last call.
    now_us: u64,
}

impl Resolver {
    /// A resolver with an empty cache. The seed keys the ids of queries and the hash tables: it must be random.
    pub fn new(settings: Settings, hosts: Hosts, seed: [u64; 2]) -> Resolver {
        let upstream = Upstream::new(settings.bounded(), seed);
        let keyed = upstream.keyed();
        Resolver {
            cache: Cache::new(upstream.settings.cache_entries_max, keyed),
            loopback: Addresses::new([Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]),
            look_ups: Slab::new(),
            by_name: HashTable::new(),
            due_us: u64::MAX,
            now_us: 0,
            upstream,
            hosts,
            keyed,
        }
    }

    /// Applies new settings: clears the cache, and restarts pending look-ups. Ids stay valid.
    pub fn reconfigure(&mut self, settings: Settings, hosts: Hosts) {
        let settings = settings.bounded();
        self.cache = Cache::new(settings.cache_entries_max, self.keyed);
        self.hosts = hosts;
        let servers = Servers::new(&settings.servers, Some(&self.upstream.servers));
        self.upstream.servers = servers;
        self.upstream.settings = settings;
        self.upstream.newly_down = 0;
        for slot in self.slots() {
            let Some(look_up) = self.look_ups.get_mut(usize::from(slot)) else { continue };
            if look_up.released.is_some() {
                self.remove(slot);
            } else if let Some(addresses) = self.hosts.get(&look_up.name) {
                let outcome = Outcome::Addresses(addresses.clone());
                self.end_look_up(slot, outcome, 0);
            } else {
                look_up.restart(self.now_us, &mut self.upstream);
                self.apply_rules(slot);
            }
        }
    }

    /// Whether the search list may add candidates to a name.
    pub fn has_search_list(&self) -> bool {
        !self.upstream.settings.search.is_empty()
    }

    /// Whether the targets of CNAMEs are collected, because the policy judges them.
    pub fn collects_aliases(&self) -> bool {
        self.upstream.settings.aliases
    }

    /// The next candidate for a name that is being resolved, by the search list of `resolv.conf`.
    pub fn next_candidate(&self, name: &Name, walk: &mut Walk) -> Option<Candidate> {
        let known = is_special(name) || self.hosts.get(name).is_some();
        walk.next(&self.upstream.settings, name, known)
    }

    /// The other names that the search list makes of a name.
    pub fn searched_names(&self, name: &Name) -> impl Iterator<Item = Name> {
        let mut walk = Walk::default();
        let candidates = std::iter::from_fn(move || self.next_candidate(name, &mut walk));
        candidates.filter(|candidate| !candidate.as_is).map(|candidate| candidate.name)
    }

    /// Answers from hosts file or cache, or starts or joins a look-up of exactly this name, without the search list.
    pub fn look_up(&mut self, now: Now, name: &Name) -> LookUp {
        self.now_us = now.monotonic_us;
        self.upstream.counters.look_ups += 1;
        if let Some(outcome) = self.answer_locally(name) {
            return LookUp::Ready(outcome);
        }
        let hash = self.keyed.hash_one(name.as_bytes());
        let slot = self.find(hash, name);
        if let Some(look_up) = slot.and_then(|slot| self.look_ups.get_mut(usize::from(slot))) {
            if let Some(outcome) = &look_up.released {
                self.upstream.counters.cache_hits += 1;
                return LookUp::Ready(outcome.clone());
            }
            look_up.join(Asked::Servers);
            self.upstream.counters.shared += 1;
            return LookUp::Pending(look_up.id);
        }
        self.start(hash, name, Asked::Servers)
    }

    /// Joins or starts a look-up of exactly this name. No further server is queried: the host program gives the addresses, by `tell` or
    /// `ask_servers`, until the deadline of all look-ups. If servers are queried already, the first answer counts.
    pub fn await_host(&mut self, now: Now, name: &Name) -> LookUp {
        self.now_us = now.monotonic_us;
        self.upstream.counters.look_ups += 1;
        let hash = self.keyed.hash_one(name.as_bytes());
        match self.find(hash, name).and_then(|slot| self.look_ups.get_mut(usize::from(slot))) {
            Some(look_up) if look_up.released.is_none() => {
                look_up.join(Asked::Host);
                self.upstream.counters.shared += 1;
                LookUp::Pending(look_up.id)
            }
            Some(PendingLookUp { released: Some(outcome), .. }) => LookUp::Ready(outcome.clone()),
            Some(_) | None => self.start(hash, name, Asked::Host),
        }
    }

    /// The host program gives the outcome for a name. No effect if it was not asked for a look-up that waits.
    pub fn tell(&mut self, now: Now, name: &Name, outcome: Outcome) {
        self.now_us = now.monotonic_us;
        if let Some(slot) = self.awaited(name) {
            self.end_look_up(slot, outcome, 0);
        }
    }

    /// The host program leaves a name to the servers. No effect if it was not asked for a look-up that waits.
    pub fn ask_servers(&mut self, now: Now, name: &Name) {
        self.now_us = now.monotonic_us;
        let Some(slot) = self.awaited(name) else { return };
        if let Some(outcome) = self.answer_locally(name) {
            self.end_look_up(slot, outcome, 0);
            return;
        }
        if let Some(look_up) = self.look_ups.get_mut(usize::from(slot)) {
            look_up.leave_to_servers(self.now_us, &mut self.upstream);
            self.apply_rules(slot);
        }
    }

    /// The slot of the look-up of a name.
    fn find(&self, hash: u64, name: &Name) -> Option<u16> {
        let is_same =
            |&slot: &u16| self.look_ups.get(usize::from(slot)).is_some_and(|look_up| look_up.name == *name);
        self.by_name.find(hash, is_same).copied()
    }

    /// The slot of the look-up of a name for which the host program was asked.
    fn awaited(&self, name: &Name) -> Option<u16> {
        let slot = self.find(self.keyed.hash_one(name.as_bytes()), name)?;
        self.look_ups.get(usize::from(slot)).filter(|look_up| look_up.awaits_host()).map(|_| slot)
    }

    /// The monotonic time in microseconds until which the last answer of `look_up` for this name stays the same; 0 if
    /// the next one may differ.
    pub fn valid_until_us(&self, name: &Name) -> u64 {
        if is_within(name, b"localhost") || self.hosts.get(name).is_some() {
            return u64::MAX;
        }
        self.cache.expires_us(name)
    }

    /// The answer of the hosts file, the special names or the cache.
    fn answer_locally(&mut self, name: &Name) -> Option<Outcome> {
        let counters = &mut self.upstream.counters;
        // RFC 6761 section 6.3: no file or server can change it.
        if is_within(name, b"localhost") {
            counters.hosts_hits += 1;
            return Some(Outcome::Addresses(self.loopback.clone()));
        }
        if let Some(addresses) = self.hosts.get(name) {
            counters.hosts_hits += 1;
            return Some(Outcome::Addresses(addresses.clone()));
        }
        // RFC 6761 section 6.4; RFC 7686 section 2: names of hidden services must not be sent to a server.
        if is_within(name, b"invalid") || is_within(name, b"onion") {
            return Some(Outcome::Failed(Failure::NotFound));
        }
        let outcome = self.cache.get(self.now_us, name)?;
        counters.cache_hits += 1;
        Some(outcome)
    }

    fn start(&mut self, hash: u64, name: &Name, asked: Asked) -> LookUp {
        if self.look_ups.len() >= self.upstream.settings.look_ups_max && !self.make_room() {
            self.upstream.counters.full += 1;
            return LookUp::Full;
        }
        let Ok(slot) = u16::try_from(self.look_ups.vacant_key()) else { return LookUp::Full };
        let id = LookUpId::new(self.upstream.next_serial(), slot);
        let Some(look_up) = PendingLookUp::new(self.now_us, &mut self.upstream, id, name, asked) else {
            return LookUp::Ready(Outcome::Failed(Failure::Malformed));
        };
        self.due_us = self.due_us.min(look_up.deadline_us());
        self.look_ups.insert(look_up);
        let (look_ups, keyed) = (&self.look_ups, &self.keyed);
        let rehash = |&slot: &u16| match look_ups.get(usize::from(slot)) {
            Some(look_up) => keyed.hash_one(look_up.name.as_bytes()),
            None => 0,
        };
        self.by_name.insert_unique(hash, slot, rehash);
        LookUp::Pending(id)
    }

    /// Removes a look-up that has no waiters any more.
    fn make_room(&mut self) -> bool {
        let released = self.look_ups.iter().find(|(_, look_up)| look_up.released.is_some());
        let slot = released.map(|(_, look_up)| look_up.id.slot());
        slot.inspect(|&slot| self.remove(slot)).is_some()
    }

    /// Removes one waiter of a look-up; without waiters the look-up ends.
    pub fn cancel(&mut self, id: LookUpId) {
        let Some(look_up) = self.look_ups.get_mut(usize::from(id.slot())) else { return };
        if look_up.id != id || look_up.released.is_some() {
            return;
        }
        look_up.waiters = look_up.waiters.saturating_sub(1);
        if look_up.waiters == 0 {
            self.remove(id.slot());
        }
    }

    /// Handles a message that arrived on the socket of this query (without the length prefix of TCP).
    pub fn handle_reply(&mut self, now: Now, query: QueryId, message: &[u8]) {
        self.now_us = now.monotonic_us;
        let Some(look_up) = self.look_ups.get_mut(usize::from(query.slot())) else { return };
        let Some(question) = look_up.question(query.family()) else { return };
        question.handle_reply(self.now_us, &mut self.upstream, query, message);
        self.apply_rules(query.slot());
    }

    /// Handles a socket that could not be opened, was refused, failed, or was closed before a reply.
    pub fn handle_failure(&mut self, now: Now, query: QueryId) {
        self.now_us = now.monotonic_us;
        let Some(look_up) = self.look_ups.get_mut(usize::from(query.slot())) else { return };
        let Some(question) = look_up.question(query.family()) else { return };
        question.handle_failure(self.now_us, &mut self.upstream, query);
        self.apply_rules(query.slot());
        self.share_down_servers();
    }

    /// No socket could be opened for a query, which is no fault of the server: the question ends, and its outcome is not kept.
    pub fn handle_shortage(&mut self, now: Now, query: QueryId) {
        self.now_us = now.monotonic_us;
        let Some(look_up) = self.look_ups.get_mut(usize::from(query.slot())) else { return };
        let Some(question) = look_up.question(query.family()) else { return };
        question.handle_shortage(&mut self.upstream, query);
        self.apply_rules(query.slot());
    }

    /// Whether a reply to this query is awaited.
    pub fn awaits(&self, query: QueryId) -> bool {
        let look_up = self.look_ups.get(usize::from(query.slot()));
        look_up.is_some_and(|look_up| look_up.awaits(query))
    }

    /// Most pending look-ups.
    pub fn look_ups_max(&self) -> usize {
        self.upstream.settings.look_ups_max
    }

    /// Handles all deadlines that have passed.
    pub fn handle_timeout(&mut self, now: Now) {
        self.now_us = now.monotonic_us;
        if self.now_us < self.due_us {
            return;
        }
        self.due_us = u64::MAX;
        for slot in self.slots() {
            let Some(look_up) = self.look_ups.get_mut(usize::from(slot)) else { continue };
            let deadline_us = look_up.deadline_us();
            if self.now_us < deadline_us {
                self.due_us = self.due_us.min(deadline_us);
                continue;
            }
            look_up.handle_timeout(self.now_us, &mut self.upstream);
            self.apply_rules(slot);
            self.share_down_servers();
        }
    }

    /// When `handle_timeout` is due, in monotonic microseconds; `None` without pending look-ups. The time may be too
    /// early: the earliest deadline is computed anew only after one has passed.
    pub fn next_timeout_us(&self) -> Option<u64> {
        if self.look_ups.is_empty() { None } else { Some(self.due_us) }
    }

    /// The next action. The caller drains it after each other call.
    pub fn next_action(&mut self) -> Option<Action> {
        self.upstream.actions.pop_front()
    }

    /// Whether an action waits in the queue.
    pub fn has_actions(&self) -> bool {
        !self.upstream.actions.is_empty()
    }

    /// Counts since the start.
    pub fn counters(&self) -> &Counters {
        &self.upstream.counters
    }

    /// Number of pending look-ups.
    pub fn in_flight(&self) -> usize {
        self.look_ups.len()
    }

    fn slots(&self) -> Vec<u16> {
        self.look_ups.iter().map(|(_, look_up)| look_up.id.slot()).collect()
    }

    /// Applies the rules of a look-up after one of its questions has changed.
    fn apply_rules(&mut self, slot: u16) {
        let Some(look_up) = self.look_ups.get_mut(usize::from(slot)) else { return };
        match look_up.apply_rules(self.now_us, &self.upstream.settings) {
            Progress::Waiting => self.due_us = self.due_us.min(look_up.deadline_us()),
            Progress::Released(outcome) => {
                self.due_us = self.due_us.min(look_up.deadline_us());
                self.upstream.actions.push_back(Action::Done { id: look_up.id, outcome });
            }
            Progress::Finished(outcome, ttl_s) => self.end_look_up(slot, outcome, ttl_s),
        }
    }

    /// A server was found silent: other look-ups that wait for it use another one at once.
    fn share_down_servers(&mut self) {
        let down = std::mem::take(&mut self.upstream.newly_down);
        if down == 0 {
            return;
        }
        for slot in self.slots() {
            let Some(look_up) = self.look_ups.get_mut(usize::from(slot)) else { continue };
            look_up.leave_down_servers(self.now_us, &mut self.upstream, down);
            self.due_us = self.due_us.min(look_up.deadline_us());
        }
    }

    fn end_look_up(&mut self, slot: u16, outcome: Outcome, ttl_s: u32) {
        let Some(look_up) = self.look_ups.get(usize::from(slot)) else { return };
        match outcome {
            Outcome::Addresses(_) => {}
            Outcome::Failed(_) => self.upstream.counters.failures += 1,
        }
        self.cache.insert(self.now_us, &look_up.name, outcome.clone(), ttl_s);
        let (id, told) = (look_up.id, look_up.released.is_some());
        self.remove(slot);
        if !told {
            self.upstream.actions.push_back(Action::Done { id, outcome });
        }
    }

    fn remove(&mut self, slot: u16) {
        let Some(mut look_up) = self.look_ups.try_remove(usize::from(slot)) else { return };
        look_up.cancel(&mut self.upstream);
        let hash = self.keyed.hash_one(look_up.name.as_bytes());
        if let Ok(entry) = self.by_name.find_entry(hash, |&other| other == slot) {
            entry.remove();
        }
    }
}

/// Names with a fixed meaning (RFC 6761 sections 6.3 and 6.4, RFC 7686).
fn is_special(name: &Name) -> bool {
    [&b"localhost"[..], b"invalid", b"onion"].iter().any(|domain| is_within(name, domain))
}

/// Whether a name is this top-level domain or below it.
fn is_within(name: &Name, domain: &[u8]) -> bool {
    name.as_bytes().strip_suffix(domain).is_some_and(|above| above.is_empty() || above.ends_with(b"."))
}
