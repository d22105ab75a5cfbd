//! Chooses the upstream of a route for a request.
//!
//! Upstreams take turns in a fixed order, which contains each upstream as often as its weight, evenly spread. Upstreams that
//! cannot be used are passed over; an upstream that has recovered lately takes a part of its turns. `least` compares the
//! requests under way first, and turns decide among equals. `hash-client` ranks the upstreams for each client by a hash of
//! both (rendezvous hashing): a client keeps its upstream as long as that can be used, and the end of one upstream moves no
//! clients of others.
//!
//! Backups are used if no other upstream can be. If all remaining upstreams are down because requests have failed, but no
//! check calls them unhealthy, the one whose down time ends first is tried: a lone upstream is not given up after three
//! failed requests.

use super::upstream::{Failed, PassiveRules, Standing, Upstream, WHOLE_SHARE};
use crate::http::target::{Authority, Host};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Most upstreams of a route (chosen): a set of them is one word.
pub const UPSTREAMS_MAX: usize = 64;

/// Highest weight (chosen).
pub const WEIGHT_MAX: u32 = 100;

/// How requests are distributed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// Upstreams take turns.
    #[default]
    RoundRobin,
    /// To the one with the fewest requests under way for its weight.
    Least,
    /// A client keeps its upstream.
    HashClient,
}

/// One upstream of a route.
#[derive(Clone, Debug)]
pub struct Member {
    /// The state of the upstream.
    pub upstream: Arc<Upstream>,
    /// 1 to [`WEIGHT_MAX`].
    pub weight: u32,
    /// Used only if no other upstream can be.
    pub backup: bool,
}

/// The upstreams of a route.
#[derive(Debug)]
pub struct Members {
    members: Box<[Member]>,
    balance: Balance,
    slow_start_ms: u64,
    passive: PassiveRules,
    /// Indices of members, in the order in which they take turns.
    order: Box<[u8]>,
    turn: AtomicU32,
}

/// Members by their indices.
pub type Set = u64;

/// The result of a choice.
#[derive(Debug)]
pub struct Chosen {
    /// The index of the upstream, for the set of those that were tried.
    pub index: usize,
    /// Kept while the request is under way.
    pub lease: Lease,
}

/// A request that is under way to an upstream. When it is dropped the request has ended.
#[derive(Debug)]
pub struct Lease {
    upstream: Arc<Upstream>,
    passive: PassiveRules,
}

impl Lease {
    /// The address of the upstream.
    pub fn authority(&self) -> &Authority {
        &self.upstream.authority
    }

    /// The upstream has answered.
    pub fn succeed(&self) {
        self.upstream.note_success();
    }

    /// The upstream has failed. Whether that marks it down.
    pub fn fail(&self, failed: Failed, now_ms: u64) -> bool {
        // A status that is no failure by the rules of the route shows that the upstream works.
        if matches!(failed, Failed::Status(_)) && !self.passive.on.counts(failed) {
            self.succeed();
        }
        self.upstream.note_failure(failed, &self.passive, now_ms)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.upstream.end();
    }
}

/// Members that can be used, and the share that each has.
struct Usable {
    set: Set,
    shares: [u16; UPSTREAMS_MAX],
}

impl Members {
    /// The upstreams of a route: at least one, and at most [`UPSTREAMS_MAX`].
    pub fn new(members: Vec<Member>, balance: Balance, slow_start_ms: u64, passive: PassiveRules) -> Members {
        let order = order(&members.iter().map(|member| member.weight).collect::<Vec<_>>());
        Members { members: members.into(), balance, slow_start_ms, passive, order, turn: AtomicU32::new(0) }
    }

    /// All members.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.iter()
    }

    /// How long a recovered upstream gets less than its share, in milliseconds.
    pub fn slow_start_ms(&self) -> u64 {
        self.slow_start_ms
    }

    /// Chooses an upstream that was not tried yet for a request of that client. `None` if no upstream can be used.
    pub fn choose(&self, client: IpAddr, tried: Set, now_ms: u64) -> Option<Chosen> {
        let index = match &*self.members {
            // Most routes have one upstream.
            [only] if tried == 0 && only.upstream.standing(now_ms, 0) == Standing::Up(WHOLE_SHARE) => 0,
            _ => [false, true]
                .iter()
                .find_map(|backup| self.choose_usable(client, &self.usable(*backup, tried, now_ms)))
                .or_else(|| self.least_bad(tried, now_ms))?,
        };
        Some(self.lease(index))
    }

    /// The upstream at that address, whatever its state.
    pub fn choose_pinned(&self, authority: &Authority) -> Option<Chosen> {
        let index = self.members.iter().position(|member| member.upstream.authority == *authority)?;
        Some(self.lease(index))
    }

    fn lease(&self, index: usize) -> Chosen {
        let upstream = Arc::clone(&self.members[index].upstream);
        upstream.begin();
        Chosen { index, lease: Lease { upstream, passive: self.passive } }
    }

    fn usable(&self, backup: bool, tried: Set, now_ms: u64) -> Usable {
        let mut usable = Usable { set: 0, shares: [0; UPSTREAMS_MAX] };
        for (index, member) in self.members.iter().enumerate() {
            if member.backup != backup || tried & (1 << index) != 0 {
                continue;
            }
            match member.upstream.standing(now_ms, self.slow_start_ms) {
                Standing::Up(share) => {
                    usable.set |= 1 << index;
                    usable.shares[index] = share as u16;
                }
                Standing::Down(_) | Standing::Unhealthy | Standing::Drained => {}
            }
        }
        usable
    }

    fn choose_usable(&self, client: IpAddr, usable: &Usable) -> Option<usize> {
        if usable.set == 0 {
            return None;
        }
        match self.balance {
            Balance::RoundRobin => self.next_turn(usable, usable.set),
            Balance::Least => self.next_turn(usable, self.least_busy(usable)),
            Balance::HashClient => self.highest_rank(client, usable),
        }
    }

    /// The member of a set whose turn it is; the set is not empty.
    fn next_turn(&self, usable: &Usable, among: Set) -> Option<usize> {
        for _ in 0..2 * self.order.len() {
            let turn = self.turn.fetch_add(1, Relaxed) as usize;
            let index = usize::from(self.order[turn % self.order.len()]);
            let share = u32::from(usable.shares[index]);
            if among & (1 << index) != 0 && self.members[index].upstream.takes_turn(share) {
                return Some(index);
            }
        }
        // All members of the set have recovered lately, and none has taken its turn: they take turns nevertheless.
        let turn = self.turn.fetch_add(1, Relaxed) as usize;
        let members = self.order.iter().cycle().skip(turn % self.order.len()).take(self.order.len());
        members.map(|&index| usize::from(index)).find(|index| among & (1 << index) != 0)
    }

    /// The members with the fewest requests under way in proportion to weight and share.
    fn least_busy(&self, usable: &Usable) -> Set {
        let (mut set, mut least): (Set, Option<(u64, u64)>) = (0, None);
        for (index, member) in self.members.iter().enumerate() {
            if usable.set & (1 << index) == 0 {
                continue;
            }
            let load = u64::from(member.upstream.in_flight());
            let room = u64::from(member.weight) * u64::from(usable.shares[index]);
            // Fractions are compared crosswise.
            let order = least.map(|(least_load, of)| (load * of).cmp(&(least_load * room)));
            match order {
                None | Some(std::cmp::Ordering::Less) => (set, least) = (1 << index, Some((load, room))),
                Some(std::cmp::Ordering::Equal) => set |= 1 << index,
                Some(std::cmp::Ordering::Greater) => {}
            }
        }
        set
    }

    fn highest_rank(&self, client: IpAddr, usable: &Usable) -> Option<usize> {
        let client = hash_client(client);
        let rank = |index: &usize| {
            let member = &self.members[*index];
            let hash = mix(client ^ hash_authority(&member.upstream.authority));
            // The chance of the highest value is in proportion to weight and share (weighted rendezvous hashing).
            let fraction = ((hash >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
            f64::from(member.weight) * f64::from(usable.shares[*index]) / -fraction.ln()
        };
        let all = (0..self.members.len()).filter(|index| usable.set & (1 << index) != 0);
        all.max_by(|one, other| rank(one).total_cmp(&rank(other)))
    }

    /// A member at which requests have failed, but that no check and no operator has taken out.
    fn least_bad(&self, tried: Set, now_ms: u64) -> Option<usize> {
        let down = self.members.iter().enumerate().filter_map(|(index, member)| {
            match member.upstream.standing(now_ms, self.slow_start_ms) {
                Standing::Down(until_ms) if tried & (1 << index) == 0 => Some((until_ms, index)),
                Standing::Down(_) | Standing::Up(_) | Standing::Unhealthy | Standing::Drained => None,
            }
        });
        down.min().map(|(_, index)| index)
    }
}

/// The order of turns: each index as often as its weight, and as far apart as possible (nginx's smooth order, computed once).
fn order(weights: &[u32]) -> Box<[u8]> {
    let divisor = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
    let weights: Vec<i64> = weights.iter().map(|weight| i64::from(weight / divisor)).collect();
    let sum: i64 = weights.iter().sum();
    let mut credits = vec![0; weights.len()];
    let turn = |_| {
        credits.iter_mut().zip(&weights).for_each(|(credit, weight)| *credit += weight);
        let mut next = 0;
        for index in 1..credits.len() {
            if credits[index] > credits[next] {
                next = index;
            }
        }
        credits[next] -= sum;
        next as u8
    };
    (0..sum).map(turn).collect()
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// The hash of a client: of an IPv4 address, or of the network of an IPv6 address, whose other bits change by the hour (RFC
/// 8981). There is no seed: clients find their upstream again after a restart, and behind another weir.
fn hash_client(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(address) => mix(u64::from(address.to_bits())),
        IpAddr::V6(address) => mix((address.to_bits() >> 64) as u64 ^ 6),
    }
}

fn hash_authority(authority: &Authority) -> u64 {
    let bytes = |bytes: &[u8]| bytes.iter().fold(0, |hash, byte| mix(hash ^ u64::from(*byte)));
    let host = match &authority.host {
        Host::Name(name) => bytes(name.as_bytes()),
        Host::Address(IpAddr::V4(address)) => bytes(&address.octets()),
        Host::Address(IpAddr::V6(address)) => bytes(&address.octets()),
    };
    mix(host ^ u64::from(authority.port))
}

/// Spreads every bit over all (the finish of SplitMix64).
fn mix(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
#[path = "balance_tests.rs"]
mod tests;
