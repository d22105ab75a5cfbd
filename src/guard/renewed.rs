//! Clients whose counters were cleared by an operator, where the keys of the counters cannot be found.
//!
//! The key of a counter is a hash of everything that it distinguishes. The keys of a client with hosts, paths or users beside it are
//! not known, so they are not removed: from the order on the client has other keys, and the old ones end by themselves.

use super::directives::Per;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Orders that are remembered (chosen: operators give few, and a window has ended long before so many have come).
const ORDERS_MAX: usize = 1024;

/// The orders, oldest first.
#[derive(Debug, Default)]
pub(super) struct Renewed {
    /// Mostly there is none, and then no lock is taken.
    any: AtomicBool,
    clients: Mutex<VecDeque<IpAddr>>,
}

impl Renewed {
    /// From now on this client has other keys.
    pub fn renew(&self, client: IpAddr) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() == ORDERS_MAX {
            clients.pop_front();
        }
        clients.push_back(client.to_canonical());
        self.any.store(true, Relaxed);
    }

    /// How often this was ordered for a client, or for another one that a counter does not distinguish from it.
    pub fn times(&self, per: Per, client: IpAddr) -> u64 {
        if !self.any.load(Relaxed) {
            return 0;
        }
        let network = per.network(client);
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.iter().filter(|other| per.network(**other) == network).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::directives::PER_CLIENT;

    #[test]
    fn orders_are_of_a_client_and_bounded() {
        let renewed = Renewed::default();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let times = |text: &str| renewed.times(PER_CLIENT, address(text));
        assert_eq!(times("192.0.2.1"), 0);
        renewed.renew(address("::ffff:192.0.2.1"));
        renewed.renew(address("192.0.2.1"));
        renewed.renew(address("2001:db8::1"));
        assert_eq!([times("192.0.2.1"), times("192.0.2.2"), times("2001:db8::2")], [2, 0, 1]);
        (0..ORDERS_MAX).for_each(|_| renewed.renew(address("192.0.2.9")));
        assert_eq!([times("192.0.2.1"), times("192.0.2.9")], [0, ORDERS_MAX as u64]);
    }
}
