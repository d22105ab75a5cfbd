//! A stub resolver without sockets: names in, queries out, addresses back.
//!
//! It speaks to the recursive servers of `resolv.conf` (RFC 1035; EDNS: RFC 6891; TCP on truncation: RFC 7766),
//! remembers what it learned for as long as that holds (negative answers: RFC 2308), and makes itself hard to lie
//! to (RFC 5452): ids from a keyed function, a fresh socket with a fresh port for each query, only records on the
//! path from the question believed, and on request random case in the question (draft-vixie-dnsext-dns0x20).
//!
//! # How it is driven
//!
//! `look_up` answers at once or names a look-up that is under way. After each call, `next_action` is drained:
//!
//! - [`Action::Send`]: open a fresh socket connected to that server and send the message (over TCP behind the two
//!   bytes of its length). What comes back goes to [`Resolver::handle_reply`], a failure of the socket to
//!   [`Resolver::handle_failure`]. The socket stays open until:
//! - [`Action::Abandon`]: close it. Every `Send` is followed, in the end, by exactly one `Abandon` of its query,
//!   after a reply and after a failure too.
//! - [`Action::Done`]: the outcome, once per look-up that was `Pending` and not cancelled by all who waited.
//!
//! and [`Resolver::handle_timeout`] is called when [`Resolver::next_timeout_us`] has come; earlier is harmless.
//!
//! # Where things are
//!
//! `message` is the wire format; `query` one question of one type, with its retries; `search` one look-up, which
//! joins two questions; `walk` the candidates that the search list makes of a name; `table` the hosts file, the cache and what is known about
//! servers; `settings` is `resolv.conf`. This file joins look-ups for the same name and hands out ids.

mod message;
mod query;
mod search;
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
use self::query::Upstream;
use self::search::{Search, Standing};
use self::table::{Cache, Keyed, Servers};
use crate::http::target::Name;
use crate::time::Now;

/// Addresses that are kept of one name. Chosen: nobody dials more.
pub const ADDRESSES_MAX: usize = 16;

/// The addresses of a name in the order in which to dial them: IPv6 first, then in turns, each family in the
/// order of the server (RFC 8305 section 4). At most `ADDRESSES_MAX`, none twice; cheap to clone. An IPv4-mapped
/// address is IPv4, as everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    list: Arc<[IpAddr]>,
    /// Names that CNAMEs led to on the way, each once, if the settings want them kept; mostly there are none.
    aliases: Option<Arc<[Name]>>,
}

impl Addresses {
    /// Orders addresses. Of those of one family, only the first `ADDRESSES_MAX` are looked at.
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

    /// The same, to which CNAMEs have led by way of these names.
    fn by_way_of(self, aliases: impl IntoIterator<Item = Name>) -> Addresses {
        let mut names: Vec<Name> = Vec::new();
        for alias in aliases {
            if !names.contains(&alias) {
                names.push(alias);
            }
        }
        Addresses { aliases: (!names.is_empty()).then(|| names.into()), ..self }
    }

    /// The names that CNAMEs led to.
    pub fn aliases(&self) -> &[Name] {
        self.aliases.as_deref().unwrap_or_default()
    }

    /// All of them.
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
    /// The servers answered that they cannot or will not say, or could not be reached.
    ServerFailure,
    /// The servers did not answer in time.
    Timeout,
    /// The answers broke the format, or their CNAMEs ran in a circle.
    Malformed,
}

/// What a look-up comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// One address at least.
    Addresses(Addresses),
    /// None.
    Failed(Failure),
}

/// What `look_up` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookUp {
    /// Known already.
    Ready(Outcome),
    /// `Action::Done` will name this id. All who ask for a name at a time get the same one, and each of them who
    /// loses interest says so with `cancel`.
    Pending(LookUpId),
    /// Too many look-ups are in flight (`Settings::look_ups_max`).
    Full,
}

/// How a query travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// One datagram each way.
    Udp,
    /// A connection for this query; each message behind two bytes of its length (RFC 1035 section 4.2.2).
    Tcp,
}

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this on a fresh socket, and keep that until `Abandon`.
    Send {
        /// Names the socket in later calls.
        query: QueryId,
        /// Whom to send it to.
        server: SocketAddr,
        /// How.
        transport: Transport,
        /// What.
        message: Message,
    },
    /// Close the socket of this query.
    Abandon(QueryId),
    /// A look-up is over for all who wait for it.
    Done {
        /// As `look_up` said.
        id: LookUpId,
        /// What it came to.
        outcome: Outcome,
    },
}

const SLOT_BITS: u32 = 16;

/// Names a look-up. Never used twice: a stale one is ignored.
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

/// Names a query and its socket. Never used twice: a stale one is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueryId(u64);

impl QueryId {
    /// `settings::LOOK_UPS_MAX` leaves the slot's highest bit free for the family.
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

/// What was done since the start.
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
    /// Queries that got no reply in time.
    pub timeouts: u64,
    /// Replies that did not fit a datagram.
    pub truncated: u64,
    /// Messages that were not the reply to the query on whose socket they came.
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
    searches: Slab<Search>,
    /// Slots of `searches` by name.
    by_name: HashTable<u16>,
    keyed: Keyed,
    /// No look-up wants to be looked at earlier than this; it may well be later.
    due_us: u64,
    /// The time of the last call.
    now_us: u64,
}

impl Resolver {
    /// A resolver that knows nothing yet. The seed keys the ids of queries and the hash tables: it must be random.
    pub fn new(settings: Settings, hosts: Hosts, seed: [u64; 2]) -> Resolver {
        let upstream = Upstream::new(settings.bounded(), seed);
        let keyed = upstream.keyed();
        Resolver {
            cache: Cache::new(upstream.settings.cache_entries_max, keyed.clone()),
            loopback: Addresses::new([Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]),
            searches: Slab::new(),
            by_name: HashTable::new(),
            due_us: u64::MAX,
            now_us: 0,
            upstream,
            hosts,
            keyed,
        }
    }

    /// Takes new settings: forgets the cache, and begins again with what is in flight. Ids stay valid.
    pub fn reconfigure(&mut self, settings: Settings, hosts: Hosts) {
        let settings = settings.bounded();
        self.cache = Cache::new(settings.cache_entries_max, self.keyed.clone());
        self.hosts = hosts;
        let servers = Servers::new(&settings.servers, Some(&self.upstream.servers));
        self.upstream.servers = servers;
        self.upstream.settings = settings;
        self.upstream.newly_down = 0;
        for slot in self.slots() {
            let Some(search) = self.searches.get_mut(usize::from(slot)) else { continue };
            if search.released.is_some() {
                self.remove(slot);
            } else if let Some(addresses) = self.hosts.get(&search.name) {
                let outcome = Outcome::Addresses(addresses.clone());
                self.finish(slot, outcome, 0);
            } else {
                search.restart(self.now_us, &mut self.upstream);
                self.settle(slot);
            }
        }
    }

    /// Whether other names may be meant by a name.
    pub fn searches(&self) -> bool {
        !self.upstream.settings.search.is_empty()
    }

    /// The next name to look up for one who wants a name resolved: what `resolv.conf` has in `search` may be meant by it.
    pub fn next_candidate(&self, name: &Name, walk: &mut Walk) -> Option<Candidate> {
        let known = is_special(name) || self.hosts.get(name).is_some();
        walk.next(&self.upstream.settings, name, known)
    }

    /// Answers from what is known, or starts or joins a look-up of this very name: no domain is appended to it.
    pub fn look_up(&mut self, now: Now, name: &Name) -> LookUp {
        self.now_us = now.monotonic_us;
        self.upstream.counters.look_ups += 1;
        if let Some(outcome) = self.known(name) {
            return LookUp::Ready(outcome);
        }
        let hash = self.keyed.hash_one(name.as_bytes());
        let searches = &self.searches;
        let is_same =
            |&slot: &u16| searches.get(usize::from(slot)).is_some_and(|search| search.name == *name);
        let slot = self.by_name.find(hash, is_same).copied();
        if let Some(search) = slot.and_then(|slot| self.searches.get_mut(usize::from(slot))) {
            if let Some(outcome) = &search.released {
                self.upstream.counters.cache_hits += 1;
                return LookUp::Ready(outcome.clone());
            }
            search.waiters = search.waiters.saturating_add(1);
            self.upstream.counters.shared += 1;
            return LookUp::Pending(search.id);
        }
        self.start(hash, name)
    }

    /// Until when what `look_up` has just said of a name holds, in monotonic microseconds; 0 if the next one who asks may be
    /// told something else.
    pub fn holds_until_us(&self, name: &Name) -> u64 {
        if is_within(name, b"localhost") || self.hosts.get(name).is_some() {
            return u64::MAX;
        }
        self.cache.until_us(name)
    }

    /// From the hosts file, the special names, the cache.
    fn known(&mut self, name: &Name) -> Option<Outcome> {
        let counters = &mut self.upstream.counters;
        // RFC 6761 section 6.3: whatever file or server says otherwise.
        if is_within(name, b"localhost") {
            counters.hosts_hits += 1;
            return Some(Outcome::Addresses(self.loopback.clone()));
        }
        if let Some(addresses) = self.hosts.get(name) {
            counters.hosts_hits += 1;
            return Some(Outcome::Addresses(addresses.clone()));
        }
        // RFC 6761 section 6.4; RFC 7686 section 2: the names of hidden services are not to be told to anyone.
        if is_within(name, b"invalid") || is_within(name, b"onion") {
            return Some(Outcome::Failed(Failure::NotFound));
        }
        let outcome = self.cache.get(self.now_us, name)?;
        counters.cache_hits += 1;
        Some(outcome)
    }

    fn start(&mut self, hash: u64, name: &Name) -> LookUp {
        if self.searches.len() >= self.upstream.settings.look_ups_max && !self.make_room() {
            self.upstream.counters.full += 1;
            return LookUp::Full;
        }
        let Ok(slot) = u16::try_from(self.searches.vacant_key()) else { return LookUp::Full };
        let id = LookUpId::new(self.upstream.next_serial(), slot);
        let Some(search) = Search::new(self.now_us, &mut self.upstream, id, name) else {
            return LookUp::Ready(Outcome::Failed(Failure::Malformed));
        };
        self.due_us = self.due_us.min(search.deadline_us());
        self.searches.insert(search);
        let (searches, keyed) = (&self.searches, &self.keyed);
        let rehash = |&slot: &u16| match searches.get(usize::from(slot)) {
            Some(search) => keyed.hash_one(search.name.as_bytes()),
            None => 0,
        };
        self.by_name.insert_unique(hash, slot, rehash);
        LookUp::Pending(id)
    }

    /// Gives up a look-up that nobody waits for any more.
    fn make_room(&mut self) -> bool {
        let released = self.searches.iter().find(|(_, search)| search.released.is_some());
        let slot = released.map(|(_, search)| search.id.slot());
        slot.inspect(|&slot| self.remove(slot)).is_some()
    }

    /// One of those who were told this id waits no longer; after the last, the look-up is given up.
    pub fn cancel(&mut self, id: LookUpId) {
        let Some(search) = self.searches.get_mut(usize::from(id.slot())) else { return };
        if search.id != id || search.released.is_some() {
            return;
        }
        search.waiters = search.waiters.saturating_sub(1);
        if search.waiters == 0 {
            self.remove(id.slot());
        }
    }

    /// A message came on the socket of this query (without the length prefix of TCP).
    pub fn handle_reply(&mut self, now: Now, query: QueryId, message: &[u8]) {
        self.now_us = now.monotonic_us;
        let Some(search) = self.searches.get_mut(usize::from(query.slot())) else { return };
        search.question(query.family()).handle_reply(self.now_us, &mut self.upstream, query, message);
        self.settle(query.slot());
    }

    /// The socket of this query could not be opened, was refused, failed, or was closed before a reply.
    pub fn handle_failure(&mut self, now: Now, query: QueryId) {
        self.now_us = now.monotonic_us;
        let Some(search) = self.searches.get_mut(usize::from(query.slot())) else { return };
        search.question(query.family()).handle_failure(self.now_us, &mut self.upstream, query);
        self.settle(query.slot());
        self.leave_silent_servers();
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.now_us = now.monotonic_us;
        if self.now_us < self.due_us {
            return;
        }
        self.due_us = u64::MAX;
        for slot in self.slots() {
            let Some(search) = self.searches.get_mut(usize::from(slot)) else { continue };
            let deadline_us = search.deadline_us();
            if self.now_us < deadline_us {
                self.due_us = self.due_us.min(deadline_us);
                continue;
            }
            search.handle_timeout(self.now_us, &mut self.upstream);
            self.settle(slot);
            self.leave_silent_servers();
        }
    }

    /// When `handle_timeout` is wanted, monotonic microseconds; None while nothing is in flight. It may be
    /// early: the earliest deadline is worked out anew only when one has come.
    pub fn next_timeout_us(&self) -> Option<u64> {
        if self.searches.is_empty() { None } else { Some(self.due_us) }
    }

    /// What to do next; to be asked until there is nothing more, after each of the other calls.
    pub fn next_action(&mut self) -> Option<Action> {
        self.upstream.actions.pop_front()
    }

    /// What was done since the start.
    pub fn counters(&self) -> &Counters {
        &self.upstream.counters
    }

    /// Look-ups in flight.
    pub fn in_flight(&self) -> usize {
        self.searches.len()
    }

    fn slots(&self) -> Vec<u16> {
        self.searches.iter().map(|(_, search)| search.id.slot()).collect()
    }

    /// Lets a look-up draw its conclusions after something happened to it.
    fn settle(&mut self, slot: u16) {
        let Some(search) = self.searches.get_mut(usize::from(slot)) else { return };
        match search.settle(self.now_us, &self.upstream.settings) {
            Standing::Waiting => self.due_us = self.due_us.min(search.deadline_us()),
            Standing::Released(outcome) => {
                self.due_us = self.due_us.min(search.deadline_us());
                self.upstream.actions.push_back(Action::Done { id: search.id, outcome });
            }
            Standing::Finished(outcome, ttl_s) => self.finish(slot, outcome, ttl_s),
        }
    }

    /// A server was found silent: others that wait for it need not find out by themselves.
    fn leave_silent_servers(&mut self) {
        let down = std::mem::take(&mut self.upstream.newly_down);
        if down == 0 {
            return;
        }
        for slot in self.slots() {
            let Some(search) = self.searches.get_mut(usize::from(slot)) else { continue };
            search.leave(self.now_us, &mut self.upstream, down);
            self.due_us = self.due_us.min(search.deadline_us());
        }
    }

    fn finish(&mut self, slot: u16, outcome: Outcome, ttl_s: u32) {
        let Some(search) = self.searches.get(usize::from(slot)) else { return };
        match outcome {
            Outcome::Addresses(_) => {}
            Outcome::Failed(_) => self.upstream.counters.failures += 1,
        }
        self.cache.insert(self.now_us, &search.name, outcome.clone(), ttl_s);
        let (id, told) = (search.id, search.released.is_some());
        self.remove(slot);
        if !told {
            self.upstream.actions.push_back(Action::Done { id, outcome });
        }
    }

    fn remove(&mut self, slot: u16) {
        let Some(mut search) = self.searches.try_remove(usize::from(slot)) else { return };
        search.abandon(&mut self.upstream);
        let hash = self.keyed.hash_one(search.name.as_bytes());
        if let Ok(entry) = self.by_name.find_entry(hash, |&other| other == slot) {
            entry.remove();
        }
    }
}

/// Names that mean the same everywhere (RFC 6761 sections 6.3 and 6.4, RFC 7686).
fn is_special(name: &Name) -> bool {
    [&b"localhost"[..], b"invalid", b"onion"].iter().any(|domain| is_within(name, domain))
}

/// Whether a name is this top-level domain or below it.
fn is_within(name: &Name, domain: &[u8]) -> bool {
    name.as_bytes().strip_suffix(domain).is_some_and(|above| above.is_empty() || above.ends_with(b"."))
}
