//! Banned addresses and networks, found by the longest prefix.
//!
//! One hash table, keyed by prefix length and network bits, and for each family the lengths in use, the longest first: a
//! look-up makes one probe for each length, whatever the number of bans. An address is a network of one. IPv4-mapped
//! addresses and networks are IPv4; for most of them one bit shows that no ban covers them.
//!
//! A network has at most one ban in each [`Layer`]: the guard file, the ban files, and run time (control, automatic, store).
//! So a reload replaces the bans of files, and leaves the others; of several bans of one network the one that lasts the
//! longest counts. Within a layer the newer ban counts: an operator may shorten a ban. A ban of this process that comes back
//! from the store with the same end stays a ban of this process.
//!
//! The table is bounded. If it is full, the ban that expires first makes room and is counted; permanent bans do not make
//! room, so a table that is full of them refuses another ban, and counts that. Expiry uses a heap whose items know their
//! places: durations are not bounded, and due bans are found without a scan.

use crate::text::shortened;
use hashbrown::HashTable;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use slab::Slab;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::ipv4_parts::Ipv4Parts;
use super::keyed::Keys;
use super::networks::canonical;
use super::store::StoreNews;

/// Longest reason in bytes; longer ones are shortened (chosen: a line on a screen, twice).
pub const REASON_BYTES_MAX: usize = 256;

/// The place of a permanent ban, which is not in the heap.
const NOWHERE: u32 = u32::MAX;

/// The source of a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BanOrigin {
    /// A line of the guard file.
    GuardFile,
    /// A line of a ban file.
    BanFile,
    /// An operator, through the control socket.
    Control,
    /// This process, after violations.
    Automatic,
    /// Another process, through the store.
    Store,
}

/// Bans that replace each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    GuardFile,
    BanFiles,
    RunTime,
}

impl BanOrigin {
    fn layer(self) -> Layer {
        match self {
            BanOrigin::GuardFile => Layer::GuardFile,
            BanOrigin::BanFile => Layer::BanFiles,
            BanOrigin::Control | BanOrigin::Automatic | BanOrigin::Store => Layer::RunTime,
        }
    }
}

/// A ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// The end in milliseconds since 1970, exclusive. `None` for a permanent ban.
    pub until_unix_ms: Option<u64>,
    /// Why.
    pub reason: Box<str>,
    /// The source of the ban.
    pub origin: BanOrigin,
    /// The line of the present guard file that contains the ban, names its file, or caused it; 0 for none.
    pub line: u32,
}

impl Ban {
    fn is_live(&self, now_unix_ms: u64) -> bool {
        self.until_unix_ms.is_none_or(|until| now_unix_ms < until)
    }

    /// Whether this process has made the ban, so that it is this process that writes it to a store.
    pub fn is_own(&self) -> bool {
        match self.origin {
            BanOrigin::Control | BanOrigin::Automatic => true,
            BanOrigin::GuardFile | BanOrigin::BanFile | BanOrigin::Store => false,
        }
    }
}

/// The reason why a ban is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BanError {
    /// The duration is 0.
    NoDuration,
    /// The network overlaps 127.0.0.0/8 or ::1.
    Loopback,
    /// The network overlaps that of a trusted proxy, which sends the requests of many clients.
    Trusted(IpNet),
    /// The table is full of bans for ever.
    Full,
}

impl BanError {
    /// The network, if it is the reason.
    fn of(self, network: IpNet) -> Option<(IpNet, BanError)> {
        match self {
            BanError::Loopback | BanError::Trusted(_) => Some((network, self)),
            BanError::NoDuration | BanError::Full => None,
        }
    }
}

impl std::fmt::Display for BanError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BanError::NoDuration => out.write_str("the ban ends before it begins"),
            BanError::Loopback => out.write_str("loopback addresses are not banned"),
            BanError::Trusted(network) => write!(out, "it overlaps the trusted network {network}"),
            BanError::Full => out.write_str("the table is full of bans for ever"),
        }
    }
}

impl std::error::Error for BanError {}

/// A ban and its network.
#[derive(Debug)]
struct Entry {
    network: IpNet,
    ban: Ban,
    /// The index of the ban in the heap.
    place: u32,
    /// The last round of [`Bans::replace`] that contained the ban.
    round: u32,
}

/// All bans.
#[derive(Debug)]
pub struct Bans {
    keys: Keys,
    table: HashTable<u32>,
    entries: Slab<Entry>,
    parts_v4: Arc<Ipv4Parts>,
    lengths_v4: Lengths,
    lengths_v6: Lengths,
    /// When, and which entry: the soonest first.
    heap: Vec<(u64, u32)>,
    bans_max: usize,
    trusted: Vec<IpNet>,
    round: u32,
    dropped: u64,
}

impl Bans {
    /// A table for at most `bans_max` bans, at least one. The seed keys the hash.
    pub fn new(bans_max: usize, seed: u64) -> Bans {
        Bans {
            keys: Keys::new(seed),
            table: HashTable::new(),
            entries: Slab::new(),
            parts_v4: Arc::new(Ipv4Parts::new()),
            lengths_v4: Lengths::default(),
            lengths_v6: Lengths::default(),
            heap: Vec::new(),
            bans_max: bans_max.clamp(1, NOWHERE as usize),
            trusted: Vec::new(),
            round: 0,
            dropped: 0,
        }
    }

    /// The parts of IPv4 that may have bans, for look-ups without the table.
    pub(super) fn parts_v4(&self) -> Arc<Ipv4Parts> {
        Arc::clone(&self.parts_v4)
    }

    /// Sets another bound, at least one, after a reload. Beyond a smaller bound the bans that expire first are dropped and
    /// counted, and permanent bans stay.
    pub fn set_bans_max(&mut self, bans_max: usize) {
        self.bans_max = bans_max.clamp(1, NOWHERE as usize);
        while self.len() > self.bans_max {
            let Some(&(_, soonest)) = self.heap.first() else { return };
            self.remove_entry(soonest);
            self.dropped += 1;
        }
    }

    /// Sets the networks of trusted proxies, which are not banned. Removes bans that overlap them, and returns those that the next
    /// load of the files does not concern.
    pub fn set_trusted(&mut self, trusted: &[IpNet], now_unix_ms: u64) -> Vec<IpNet> {
        self.trusted = trusted.iter().map(|network| plain(*network)).collect();
        let protected = |(at, entry): (usize, &Entry)| {
            self.trusted.iter().any(|network| overlap(network, &entry.network)).then_some(at as u32)
        };
        let ended: Vec<u32> = self.entries.iter().filter_map(protected).collect();
        let told = ended
            .iter()
            .filter_map(|&at| self.entries.get(at as usize))
            .filter(|entry| entry.ban.origin.layer() == Layer::RunTime && entry.ban.is_live(now_unix_ms));
        let told = told.map(|entry| entry.network).collect();
        ended.iter().for_each(|&at| self.remove_entry(at));
        told
    }

    /// Gives automatic bans the present lines of the rules that have caused them: `present` knows them by the lines before.
    pub fn renumber(&mut self, present: impl Fn(u32) -> Option<u32>) {
        for (_, Entry { ban, .. }) in &mut self.entries {
            if ban.origin == BanOrigin::Automatic {
                ban.line = present(ban.line).unwrap_or(0);
            }
        }
    }

    /// The ban of an address: of the longest prefix, and for one network the ban that lasts the longest. Expired bans are not
    /// found.
    pub fn find(&self, address: IpAddr, now_unix_ms: u64) -> Option<(IpNet, &Ban)> {
        match address.to_canonical() {
            IpAddr::V4(v4) if !self.parts_v4.may_hold(v4.to_bits()) => None,
            IpAddr::V4(v4) => {
                let bits = v4.to_bits();
                self.lengths_v4.in_use.iter().find_map(|&length| {
                    let bits = bits & !u32::MAX.checked_shr(u32::from(length)).unwrap_or(0);
                    let is_it = |network: &IpNet| {
                        matches!(network, IpNet::V4(network)
                            if network.prefix_len() == length && network.addr().to_bits() == bits)
                    };
                    self.probe(hash_v4(self.keys, bits, length), is_it, now_unix_ms)
                })
            }
            IpAddr::V6(v6) => {
                let bits = v6.to_bits();
                self.lengths_v6.in_use.iter().find_map(|&length| {
                    let bits = bits & !u128::MAX.checked_shr(u32::from(length)).unwrap_or(0);
                    let is_it = |network: &IpNet| {
                        matches!(network, IpNet::V6(network)
                            if network.prefix_len() == length && network.addr().to_bits() == bits)
                    };
                    self.probe(hash_v6(self.keys, bits, length), is_it, now_unix_ms)
                })
            }
        }
    }

    /// Bans a network. True if the network had no ban in this layer. A reason is shortened to [`REASON_BYTES_MAX`], and
    /// loses its control characters.
    pub fn insert(&mut self, network: IpNet, ban: Ban, now_unix_ms: u64) -> Result<bool, BanError> {
        let network = plain(network);
        if !ban.is_live(now_unix_ms) {
            return Err(BanError::NoDuration);
        }
        check_network(network, self.trusted.iter())?;
        let ban = Ban { reason: plain_reason(ban.reason), ..ban };
        let before = self.position(&network, Some(ban.origin.layer()));
        if ban.origin == BanOrigin::Store && before.is_some_and(|at| self.is_own_until(at, ban.until_unix_ms))
        {
            return Ok(false);
        }
        match before {
            // The new ban needs no room, because it takes the place of the old one.
            Some(at) => self.remove_entry(at),
            None => self.make_room(now_unix_ms)?,
        }
        self.add(network, ban);
        Ok(before.is_none())
    }

    /// Ends all bans of exactly this network. False if there were none.
    pub fn remove(&mut self, network: IpNet) -> bool {
        let network = plain(network);
        let mut found = false;
        while let Some(at) = self.position(&network, None) {
            self.remove_entry(at);
            found = true;
        }
        found
    }

    /// Ends the ban that exactly this network has at run time; those of files stay.
    fn remove_run_time(&mut self, network: IpNet) {
        if let Some(at) = self.position(&plain(network), Some(Layer::RunTime)) {
            self.remove_entry(at);
        }
    }

    /// Replaces all bans of an origin; other origins keep theirs. Returns the bans that are refused because of their networks, and
    /// why.
    pub fn replace(
        &mut self,
        origin: BanOrigin,
        bans: impl IntoIterator<Item = (IpNet, Ban)>,
        now_unix_ms: u64,
    ) -> Vec<(IpNet, BanError)> {
        self.round = self.round.wrapping_add(1);
        let mut refused = Vec::new();
        for (network, ban) in bans {
            debug_assert!(ban.origin == origin);
            refused.extend(self.insert(network, ban, now_unix_ms).err().and_then(|why| why.of(network)));
        }
        let is_old = |(at, entry): (usize, &Entry)| {
            (entry.ban.origin == origin && entry.round != self.round).then_some(at as u32)
        };
        let old: Vec<u32> = self.entries.iter().filter_map(is_old).collect();
        old.into_iter().for_each(|at| self.remove_entry(at));
        refused
    }

    /// Applies news of the store about bans. Returns the bans that are refused because of their networks, and why.
    pub fn apply_news(&mut self, news: &StoreNews, now_unix_ms: u64) -> Vec<(IpNet, BanError)> {
        match news {
            StoreNews::Banned { network, until_unix_ms, reason } => {
                let (until_unix_ms, reason) = (*until_unix_ms, reason.clone());
                let ban = Ban { until_unix_ms, reason, origin: BanOrigin::Store, line: 0 };
                let refused = self.insert(*network, ban, now_unix_ms).err();
                refused.and_then(|why| why.of(*network)).into_iter().collect()
            }
            StoreNews::AllBans(bans) => {
                let bans = bans.iter().cloned().map(|(network, until_unix_ms, reason)| {
                    (network, Ban { until_unix_ms, reason, origin: BanOrigin::Store, line: 0 })
                });
                self.replace(BanOrigin::Store, bans, now_unix_ms)
            }
            StoreNews::Unbanned(network) => {
                self.remove(*network);
                Vec::new()
            }
            StoreNews::Vanished(networks) => {
                networks.iter().for_each(|network| self.remove_run_time(*network));
                Vec::new()
            }
            StoreNews::Unblocked(_)
            | StoreNews::Reached
            | StoreNews::ScriptReloaded
            | StoreNews::Lost(_)
            | StoreNews::Warning(_) => Vec::new(),
        }
    }

    /// Removes at most `at_most` expired bans. Returns their number: if it is `at_most`, there may be more.
    pub fn expire(&mut self, now_unix_ms: u64, at_most: usize) -> usize {
        let mut expired = 0;
        while let Some(&(until, at)) = self.heap.first() {
            if until > now_unix_ms || expired == at_most {
                break;
            }
            self.remove_entry(at);
            expired += 1;
        }
        expired
    }

    /// All bans, in no order, including expired ones that were not removed yet.
    pub fn iter(&self) -> impl Iterator<Item = (IpNet, &Ban)> {
        self.entries.iter().map(|(_, entry)| (entry.network, &entry.ban))
    }

    /// The bans that this process has made, and that have not ended.
    pub fn own(&self, now_unix_ms: u64) -> impl Iterator<Item = (IpNet, &Ban)> {
        self.iter().filter(move |(_, ban)| ban.is_own() && ban.is_live(now_unix_ms))
    }

    /// Number of bans.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is banned.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bans that were dropped before their end, or refused, because the table was full.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Heap bytes, without the allocator's own.
    pub fn heap_bytes(&self) -> usize {
        self.table.allocation_size()
            + self.entries.capacity() * size_of::<Option<Entry>>()
            + self.heap.capacity() * size_of::<(u64, u32)>()
            + self.parts_v4.heap_bytes()
            + self.entries.iter().map(|(_, entry)| entry.ban.reason.len()).sum::<usize>()
    }

    /// The longest ban of one network.
    fn probe(&self, hash: u64, is_it: impl Fn(&IpNet) -> bool, now_unix_ms: u64) -> Option<(IpNet, &Ban)> {
        let mut best: Option<&Entry> = None;
        for &at in self.table.iter_hash(hash) {
            let Some(entry) = self.entries.get(at as usize) else { continue };
            if is_it(&entry.network)
                && entry.ban.is_live(now_unix_ms)
                && best.is_none_or(|best| until(&best.ban) < until(&entry.ban))
            {
                best = Some(entry);
            }
        }
        best.map(|entry| (entry.network, &entry.ban))
    }

    /// The soonest to expire makes room for another ban. If that is not enough, because the bound was lowered and bans for ever
    /// fill it, none is dropped.
    fn make_room(&mut self, now_unix_ms: u64) -> Result<(), BanError> {
        if (self.len() + 1).saturating_sub(self.bans_max) > self.heap.len() {
            self.dropped += 1;
            return Err(BanError::Full);
        }
        while self.len() >= self.bans_max {
            let Some(&(until, soonest)) = self.heap.first() else { break };
            self.dropped += u64::from(until > now_unix_ms);
            self.remove_entry(soonest);
        }
        Ok(())
    }

    fn add(&mut self, network: IpNet, ban: Ban) {
        let hash = self.hash(&network);
        let until = ban.until_unix_ms;
        let entry = Entry { network, ban, place: NOWHERE, round: self.round };
        let at = self.entries.insert(entry) as u32;
        let (keys, entries) = (self.keys, &self.entries);
        let rehash = |&other: &u32| entries.get(other as usize).map_or(0, |e| hash_network(keys, &e.network));
        self.table.insert_unique(hash, at, rehash);
        self.lengths(&network).add(network.prefix_len());
        if let IpNet::V4(v4) = network {
            self.parts_v4.add(v4);
        }
        if let Some(until) = until {
            self.heap.push((until, at));
            self.place(self.heap.len() - 1);
            self.rise(self.heap.len() - 1);
        }
    }

    fn remove_entry(&mut self, at: u32) {
        let Some(entry) = self.entries.try_remove(at as usize) else { return };
        if let Ok(found) = self.table.find_entry(self.hash(&entry.network), |&other| other == at) {
            found.remove();
        }
        self.lengths(&entry.network).remove(entry.network.prefix_len());
        if self.table.is_empty() {
            self.parts_v4.clear();
        }
        if entry.place != NOWHERE {
            let place = entry.place as usize;
            self.heap.swap_remove(place);
            if place < self.heap.len() {
                self.place(place);
                self.rise(place);
                self.sink(place);
            }
        }
    }

    /// Whether a ban is one of this process with that end.
    fn is_own_until(&self, at: u32, until_unix_ms: Option<u64>) -> bool {
        let entry = self.entries.get(at as usize);
        entry.is_some_and(|entry| entry.ban.is_own() && entry.ban.until_unix_ms == until_unix_ms)
    }

    /// The index of a network's ban in one layer, or in any.
    fn position(&self, network: &IpNet, layer: Option<Layer>) -> Option<u32> {
        let is_it = |&at: &u32| {
            self.entries.get(at as usize).is_some_and(|entry| {
                entry.network == *network && layer.is_none_or(|layer| layer == entry.ban.origin.layer())
            })
        };
        self.table.find(self.hash(network), is_it).copied()
    }

    fn lengths(&mut self, network: &IpNet) -> &mut Lengths {
        match network {
            IpNet::V4(_) => &mut self.lengths_v4,
            IpNet::V6(_) => &mut self.lengths_v6,
        }
    }

    fn hash(&self, network: &IpNet) -> u64 {
        hash_network(self.keys, network)
    }

    // The heap: an entry at `place` is due no earlier than the one at `(place - 1) / 2`, and knows its place.

    fn place(&mut self, place: usize) {
        let Some(&(_, at)) = self.heap.get(place) else { return };
        if let Some(entry) = self.entries.get_mut(at as usize) {
            entry.place = place as u32;
        }
    }

    fn rise(&mut self, mut place: usize) {
        while place > 0 {
            let above = (place - 1) / 2;
            if self.heap[above].0 <= self.heap[place].0 {
                return;
            }
            self.swap(above, place);
            place = above;
        }
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let due = |at: usize| self.heap.get(at).map(|&(until, _)| (until, at));
            let below = [due(2 * place + 1), due(2 * place + 2)];
            let Some((until, sooner)) = below.into_iter().flatten().min() else { return };
            if self.heap[place].0 <= until {
                return;
            }
            self.swap(place, sooner);
            place = sooner;
        }
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.heap.swap(one, other);
        self.place(one);
        self.place(other);
    }
}

/// Prefix lengths that bans have.
#[derive(Debug)]
struct Lengths {
    counts: Box<[u32; 129]>,
    /// The longest first.
    in_use: Vec<u8>,
}

impl Default for Lengths {
    fn default() -> Lengths {
        Lengths { counts: Box::new([0; 129]), in_use: Vec::new() }
    }
}

impl Lengths {
    fn add(&mut self, length: u8) {
        let Some(count) = self.counts.get_mut(usize::from(length)) else { return };
        *count += 1;
        if *count == 1 {
            let at = self.in_use.partition_point(|&other| other > length);
            self.in_use.insert(at, length);
        }
    }

    fn remove(&mut self, length: u8) {
        let Some(count) = self.counts.get_mut(usize::from(length)) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.in_use.retain(|&other| other != length);
        }
    }
}

/// The form of a network in the table: without host bits, and an IPv4-mapped one as IPv4.
fn plain(network: IpNet) -> IpNet {
    canonical(network).trunc()
}

/// Whether a network is for private use, so that its ban causes a warning (RFC 1918, RFC 4193, link-local).
pub fn is_private(network: IpNet) -> bool {
    match plain(network) {
        IpNet::V4(v4) => {
            let bits = v4.addr().to_bits();
            let lies_in = |first: [u8; 4], length: u8| {
                v4.prefix_len() >= length
                    && bits >> (32 - length) == u32::from_be_bytes(first) >> (32 - length)
            };
            lies_in([10, 0, 0, 0], 8)
                || lies_in([172, 16, 0, 0], 12)
                || lies_in([192, 168, 0, 0], 16)
                || lies_in([169, 254, 0, 0], 16)
        }
        IpNet::V6(v6) => {
            let first = v6.addr().segments()[0];
            v6.prefix_len() >= 7 && first & 0xFE00 == 0xFC00
                || v6.prefix_len() >= 10 && first & 0xFFC0 == 0xFE80
        }
    }
}

/// Whether a network may be banned: it holds neither loopback addresses nor a trusted proxy (section 4).
pub fn check_network<'n>(
    network: IpNet,
    mut trusted: impl Iterator<Item = &'n IpNet>,
) -> Result<(), BanError> {
    let network = plain(network);
    if loopback().iter().any(|loopback| overlap(loopback, &network)) {
        return Err(BanError::Loopback);
    }
    match trusted.find(|trusted| overlap(trusted, &network)) {
        Some(trusted) => Err(BanError::Trusted(*trusted)),
        None => Ok(()),
    }
}

fn loopback() -> [IpNet; 2] {
    [
        IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
        IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
    ]
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

fn hash_network(keys: Keys, network: &IpNet) -> u64 {
    match network {
        IpNet::V4(v4) => hash_v4(keys, v4.addr().to_bits(), v4.prefix_len()),
        IpNet::V6(v6) => hash_v6(keys, v6.addr().to_bits(), v6.prefix_len()),
    }
}

#[inline]
fn hash_v4(keys: Keys, bits: u32, length: u8) -> u64 {
    keys.hash_word(u64::from(bits) | u64::from(length) << 32, 0)
}

#[inline]
fn hash_v6(keys: Keys, bits: u128, length: u8) -> u64 {
    keys.hash(bits, 64 + u64::from(length))
}

fn until(ban: &Ban) -> u64 {
    ban.until_unix_ms.unwrap_or(u64::MAX)
}

/// A reason without control characters, which would change the lines of a list on a terminal, and not longer than
/// [`REASON_BYTES_MAX`]. A store and its channel may hold anything.
fn plain_reason(reason: Box<str>) -> Box<str> {
    let reason = if reason.contains(char::is_control) {
        reason.chars().filter(|char| !char.is_control()).collect()
    } else {
        reason
    };
    if reason.len() <= REASON_BYTES_MAX { reason } else { shortened(&reason, REASON_BYTES_MAX).into() }
}

#[cfg(test)]
#[path = "bans_tests.rs"]
mod tests;
