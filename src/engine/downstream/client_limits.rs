//! The numbers of connected clients, over all loops of the process: the two limits on clients are the same for any
//! number of loops.
//!
//! The bound on guesses at passwords is shared too, so the limits contain the guesses.
//!
//! Each loop has its own engine, and all engines share the limits on clients. They are used when a client connects and when
//! it closes, never for a request. A shared counter cannot keep clients waiting in a full loop while another loop has room:
//! all loops are full, or none is. A loop with waiting clients must be woken when another loop makes room;
//! [`Engine::take_capacity_freed`](crate::engine::Engine::take_capacity_freed) reports that.

use crate::engine::downstream::guesses::Guesses;
use crate::engine::settings::{REFUSALS_MAX, Settings, accountable};
use crate::net::Keyed;
use hashbrown::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Parts of the table of addresses, each with its own lock (chosen: more than the loops that accept a connection at
/// the same moment).
const SHARDS: usize = 16;

/// Clients of all loops.
#[derive(Debug)]
pub struct ClientLimits {
    clients: AtomicUsize,
    clients_max: AtomicUsize,
    per_address_max: AtomicUsize,
    prefix6: u8,
    keyed: Keyed,
    /// Connections by address or, for IPv6, by prefix, including those that are being refused. Counted even without a limit,
    /// because a reload may set one.
    by_address: [Mutex<HashMap<IpAddr, u32, Keyed>>; SHARDS],
    pub(in crate::engine) guesses: Guesses,
}

/// Whether one more client is within the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Admission {
    Welcome,
    TooMany,
    TooManyFromThere,
}

impl ClientLimits {
    /// Limits without clients, from the two limits, the prefix and the seed of the settings.
    pub fn new(settings: &Settings) -> ClientLimits {
        let keyed = Keyed::new(settings.seed);
        ClientLimits {
            clients: AtomicUsize::new(0),
            clients_max: AtomicUsize::new(settings.clients_max),
            per_address_max: AtomicUsize::new(settings.clients_per_address_max),
            prefix6: settings.client_prefix6,
            keyed,
            by_address: std::array::from_fn(|_| Mutex::new(HashMap::with_hasher(keyed))),
            guesses: Guesses::new(settings),
        }
    }

    /// Sets other limits. Clients beyond them stay connected. Loops with waiting clients look again when they get the
    /// settings.
    pub(in crate::engine) fn set_limits(&self, settings: &Settings) {
        self.clients_max.store(settings.clients_max, Ordering::Relaxed);
        self.per_address_max.store(settings.clients_per_address_max, Ordering::Relaxed);
    }

    /// Whether one more can be taken, be it to be refused. Two loops that ask at the same moment may both hear yes.
    pub(in crate::engine) fn has_room(&self) -> bool {
        self.clients.load(Ordering::Relaxed) < self.clients_max.load(Ordering::Relaxed) + REFUSALS_MAX
    }

    /// Whether one more connection of this address would be one too many.
    pub(in crate::engine) fn is_full_for(&self, address: IpAddr) -> bool {
        let per_address_max = self.per_address_max.load(Ordering::Relaxed);
        let address = accountable(address, self.prefix6);
        per_address_max > 0
            && self.shard(address).get(&address).is_some_and(|count| *count as usize >= per_address_max)
    }

    /// Counts a client in, without an address in the sum only; `leave` must count it out in the same way, whatever the answer is.
    pub(in crate::engine) fn enter(&self, address: Option<IpAddr>) -> Admission {
        // The counter's own order decides which client is one too many; no other memory depends on it.
        let all = self.clients.fetch_add(1, Ordering::Relaxed) + 1;
        let here = address.map_or(0, |address| {
            let address = accountable(address, self.prefix6);
            let mut counts = self.shard(address);
            let count = counts.entry(address).or_insert(0);
            *count += 1;
            *count as usize
        });
        let per_address_max = self.per_address_max.load(Ordering::Relaxed);
        if all > self.clients_max.load(Ordering::Relaxed) {
            Admission::TooMany
        } else if per_address_max != 0 && here > per_address_max {
            Admission::TooManyFromThere
        } else {
            Admission::Welcome
        }
    }

    /// Counts a client out. True if there is room that was not there before.
    pub(in crate::engine) fn leave(&self, address: Option<IpAddr>) -> bool {
        if let Some(address) = address.map(|address| accountable(address, self.prefix6)) {
            let mut counts = self.shard(address);
            if let Some(count) = counts.get_mut(&address) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&address);
                }
            }
        }
        // A loop that found no room did so before this step, and gets a message about the free place.
        let full = self.clients_max.load(Ordering::Relaxed) + REFUSALS_MAX;
        self.clients.fetch_sub(1, Ordering::Relaxed) == full
    }

    /// No code that holds the lock can leave the table half changed.
    fn shard(&self, address: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, u32, Keyed>> {
        use std::hash::BuildHasher as _;
        // The upper bits: the table itself uses the others.
        let shard = (self.keyed.hash_one(address) >> 32) as usize % SHARDS;
        self.by_address[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn client_limits(clients_max: usize, clients_per_address_max: usize) -> ClientLimits {
        ClientLimits::new(&Settings { clients_max, clients_per_address_max, ..Settings::default() })
    }

    fn address(last: u8) -> Option<IpAddr> {
        Some(Ipv4Addr::new(192, 0, 2, last).into())
    }

    #[test]
    fn limits_hold_and_room_comes_back() {
        let client_limits = client_limits(3, 2);
        let came = |last| client_limits.enter(address(last));
        assert_eq!([came(1), came(1)], [Admission::Welcome; 2]);
        assert_eq!(came(1), Admission::TooManyFromThere);
        assert_eq!(came(2), Admission::TooMany);
        for _ in 0..3 {
            assert!(!client_limits.leave(address(1)));
        }
        assert_eq!([came(1), came(1)], [Admission::Welcome; 2]);
    }

    #[test]
    fn kind_18_a_network_of_ipv6_is_one_client() {
        let of = |text: &str| -> Option<IpAddr> { Some(text.parse().unwrap()) };
        let client_limits = client_limits(10, 2);
        let came = ["2001:db8::1", "2001:db8::2:0:0:1", "2001:db8::3", "2001:db8:0:1::1", "::ffff:192.0.2.1"]
            .map(|text| client_limits.enter(of(text)));
        let [welcome, crowded] = [Admission::Welcome, Admission::TooManyFromThere];
        assert_eq!(came, [welcome, welcome, crowded, welcome, welcome]);
        assert_eq!(
            [client_limits.enter(address(1)), client_limits.enter(address(1))],
            [welcome, crowded],
            "IPv4 in either form"
        );
        client_limits.leave(of("2001:db8::ffff"));
        client_limits.leave(of("2001:db8::1"));
        assert_eq!(client_limits.enter(of("2001:db8::4")), welcome);
        let single = ClientLimits::new(&Settings {
            clients_per_address_max: 1,
            client_prefix6: 128,
            ..Settings::default()
        });
        assert_eq!(
            ["2001:db8::1", "2001:db8::2", "2001:db8::1"].map(|text| single.enter(of(text))),
            [welcome, welcome, crowded]
        );
    }

    #[test]
    fn connections_of_a_proxy_count_in_the_sum_only() {
        let client_limits = client_limits(3, 1);
        assert_eq!([(); 3].map(|()| client_limits.enter(None)), [Admission::Welcome; 3]);
        assert_eq!([None, address(1)].map(|from| client_limits.enter(from)), [Admission::TooMany; 2]);
        for _ in 0..4 {
            client_limits.leave(None);
        }
        assert!(!client_limits.is_full_for(address(2).unwrap()));
        assert_eq!(client_limits.enter(address(1)), Admission::TooManyFromThere);
        assert!(client_limits.is_full_for(address(1).unwrap()));
    }

    #[test]
    fn room_is_told_of_once() {
        let client_limits = client_limits(1, 0);
        for _ in 0..1 + REFUSALS_MAX {
            assert!(client_limits.has_room());
            client_limits.enter(address(1));
        }
        assert!(!client_limits.has_room());
        client_limits.enter(address(2));
        let told: Vec<bool> = (0..3).map(|_| client_limits.leave(address(1))).collect();
        assert_eq!(told, [false, true, false]);
        assert!(client_limits.has_room());
    }

    #[test]
    fn who_has_left_is_not_remembered() {
        for limit in [0, 5] {
            let client_limits = client_limits(10, limit);
            for last in 0..=255 {
                client_limits.enter(address(last));
            }
            for last in 0..=255 {
                client_limits.leave(address(last));
            }
            assert!(client_limits.by_address.iter().all(|shard| shard.lock().unwrap().is_empty()));
        }
    }

    #[test]
    fn kind_21_new_limits_count_who_is_there_already() {
        let client_limits = client_limits(10, 0);
        let limit = |clients_max, clients_per_address_max| {
            client_limits.set_limits(&Settings {
                clients_max,
                clients_per_address_max,
                ..Settings::default()
            });
        };
        let came = |last| client_limits.enter(address(last));
        assert_eq!([came(1), came(1), came(2)], [Admission::Welcome; 3]);
        limit(10, 2);
        assert_eq!([came(1), came(2)], [Admission::TooManyFromThere, Admission::Welcome]);
        assert!([client_limits.leave(address(1)), client_limits.leave(address(1))].iter().all(|made| !made));
        assert_eq!(came(1), Admission::Welcome);
        limit(4, 0);
        assert_eq!(came(3), Admission::TooMany);
        limit(6, 0);
        assert_eq!(came(3), Admission::Welcome);
    }
}
