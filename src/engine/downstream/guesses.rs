//! Guesses at passwords, over all loops of the process (rule 47).
//!
//! A password that was not right before is a guess. Each client (for IPv6 a network) has an allowance of guesses that is
//! restored with time; a guess that is right is given back at once. A client without guesses is refused without a check of
//! its password, for plain passwords, too: comparing a plain one takes no time, so nothing else bounds the number of
//! attempts.
//!
//! Users who share an address share the allowance. So that one who guesses does not lock out the others, credentials that
//! were right lately from that address are no guess: they are checked as always.

use crate::engine::settings::{Settings, accountable};
use crate::net::Keyed;
use crate::time::Now;
use hashlink::LruCache;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Guesses that a client may make at once (chosen: many users behind one address mistype theirs, or a page causes as many
/// requests with an old password as there are connections).
pub const GUESSES_MAX: u32 = 64;

/// Time in which one guess is restored, in microseconds (chosen: 86,400 a day, where a plain password could be tried 10,000
/// times a second).
pub const GUESS_EVERY_US: u64 = 1_000_000;

/// Clients whose guesses are counted (chosen: about a megabyte). The client whose last guess is the oldest is forgotten first.
const GUESSERS_MAX: usize = 16_384;

/// Credentials that are remembered as right (chosen: twice the number that the loops remember).
const KNOWN_MAX: usize = 8192;

/// How long they are remembered, in microseconds (chosen: a lunch break).
const KNOWN_FOR_US: u64 = 3_600_000_000;

/// The client for which a guess was counted; `None` for credentials that were no guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Guess(Option<IpAddr>);

/// The guesses of all clients.
#[derive(Debug)]
pub(in crate::engine) struct Guesses {
    prefix6: u8,
    /// The time at which each client has its whole allowance again, in microseconds since the loops started.
    whole_at_us: Mutex<LruCache<IpAddr, u64, Keyed>>,
    /// Keys of credentials (see `Users::key`) that were right from a client, and the time until which that counts. They do
    /// not count for another client: the fact that they are checked would show that they are right.
    known: Mutex<LruCache<(IpAddr, u128), u64, Keyed>>,
}

impl Guesses {
    /// No guesses.
    pub fn new(settings: &Settings) -> Guesses {
        let keyed = Keyed::new(settings.seed);
        Guesses {
            prefix6: settings.client_prefix6,
            whole_at_us: Mutex::new(LruCache::with_hasher(GUESSERS_MAX, keyed)),
            known: Mutex::new(LruCache::with_hasher(KNOWN_MAX, keyed)),
        }
    }

    /// Counts credentials against a client, before they are checked. `None` if the client has no guesses left.
    pub fn begin(&self, now: Now, client: IpAddr, key: u128) -> Option<Guess> {
        let client = accountable(client, self.prefix6);
        let until_us = lock(&self.known).get(&(client, key)).copied();
        if until_us.is_some_and(|until_us| now.common_us < until_us) {
            return Some(Guess(None));
        }
        let mut all = lock(&self.whole_at_us);
        let whole_at_us = all.get(&client).map_or(now.common_us, |&at_us| at_us.max(now.common_us));
        let after_us = whole_at_us.saturating_add(GUESS_EVERY_US);
        if after_us - now.common_us > u64::from(GUESSES_MAX) * GUESS_EVERY_US {
            return None;
        }
        all.insert(client, after_us);
        Some(Guess(Some(client)))
    }

    /// The credentials were right.
    pub fn know(&self, now: Now, client: IpAddr, guess: Guess, key: u128) {
        self.give_back(guess);
        let client = accountable(client, self.prefix6);
        lock(&self.known).insert((client, key), now.common_us.saturating_add(KNOWN_FOR_US));
    }

    /// The credentials were right, or were not verified at all.
    pub fn give_back(&self, guess: Guess) {
        let Guess(Some(client)) = guess else { return };
        if let Some(whole_at_us) = lock(&self.whole_at_us).peek_mut(&client) {
            *whole_at_us = whole_at_us.saturating_sub(GUESS_EVERY_US);
        }
    }

    /// The number of recent guesses of each of these clients.
    pub fn made(&self, now: Now, clients: impl Iterator<Item = IpAddr>) -> impl Iterator<Item = u32> {
        let all = lock(&self.whole_at_us);
        clients.map(move |client| {
            let client = accountable(client, self.prefix6);
            let left_us = all.peek(&client).map_or(0, |at_us| at_us.saturating_sub(now.common_us));
            left_us.div_ceil(GUESS_EVERY_US) as u32
        })
    }
}

/// No code that holds a lock can leave a table half changed.
fn lock<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(common_us: u64) -> Now {
        Now { common_us, ..Now::default() }
    }

    fn guesses() -> Guesses {
        Guesses::new(&Settings::default())
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn kind_17_guesses_are_bounded_by_client_and_come_back_one_by_one() {
        let (guesses, start_us) = (guesses(), 5_000_000);
        let (client, neighbour) = (address("2001:db8::1"), address("2001:db8::2"));
        let others = ["2001:db8:0:1::1", "192.0.2.1"].map(address);
        let tries = |client, now_us, count: u32| {
            (0..count)
                .filter(|number| guesses.begin(at(now_us), client, u128::from(*number)).is_some())
                .count()
        };
        assert_eq!(tries(client, start_us, GUESSES_MAX + 5), GUESSES_MAX as usize);
        assert_eq!(tries(neighbour, start_us, 1), 0, "of the same network");
        assert_eq!(tries(neighbour, start_us + GUESS_EVERY_US - 1, 1), 0);
        assert_eq!(tries(neighbour, start_us + GUESS_EVERY_US, 2), 1);
        assert_eq!(tries(client, start_us + 4 * GUESS_EVERY_US, 9), 3);
        assert_eq!(tries(client, start_us + 10_000 * GUESS_EVERY_US, 1000), GUESSES_MAX as usize);
        assert_eq!(others.map(|other| tries(other, start_us, 1)), [1, 1]);
        assert_eq!(tries(address("::ffff:192.0.2.1"), start_us, 1000), GUESSES_MAX as usize - 1);
    }

    #[test]
    fn kind_17_what_was_right_is_no_guess() {
        let (guesses, client) = (guesses(), address("192.0.2.1"));
        let mut given = Vec::new();
        while let Some(guess) = guesses.begin(at(0), client, given.len() as u128) {
            given.push(guess);
        }
        assert_eq!(given.len(), GUESSES_MAX as usize);
        guesses.give_back(given[0]);
        assert_eq!(guesses.begin(at(0), client, 1000), Some(given[0]));
        guesses.know(at(0), client, given[0], 1000);
        // The right one cost nothing, and costs nothing from now on.
        assert_eq!(guesses.begin(at(0), client, 1000), Some(Guess(None)));
        assert!(guesses.begin(at(0), client, 2000).is_some());
        assert!(guesses.begin(at(0), client, 2000).is_none());
        assert_eq!(guesses.begin(at(KNOWN_FOR_US - 1), client, 1000), Some(Guess(None)));
        // From another address it is a guess: a client that has none left does not learn that it is right.
        let elsewhere = address("192.0.2.2");
        while guesses.begin(at(0), elsewhere, 3000).is_some() {}
        assert!(guesses.begin(at(0), elsewhere, 1000).is_none());
        assert_eq!(guesses.begin(at(KNOWN_FOR_US), client, 1000), Some(given[0]), "it is one again");
    }

    /// Loops do not have quite the same clock: a loop that is behind gives no client more.
    #[test]
    fn clocks_may_differ() {
        let (guesses, client) = (guesses(), address("192.0.2.1"));
        let mut count = 0;
        for number in 0..1000 {
            let now_us = if number % 2 == 0 { 60_000_000 } else { 59_000_000 };
            count += u32::from(guesses.begin(at(now_us), client, number).is_some());
        }
        assert_eq!(count, GUESSES_MAX);
        assert_eq!(
            guesses.made(at(60_000_000), [client, address("::1")].into_iter()).collect::<Vec<_>>(),
            [64, 0]
        );
    }

    #[test]
    fn tables_are_bounded() {
        let guesses = guesses();
        for number in 0..GUESSERS_MAX as u32 + KNOWN_MAX as u32 {
            let client = IpAddr::from(number.to_be_bytes());
            let guess = guesses.begin(at(1), client, number.into()).expect("its first");
            guesses.know(at(1), client, guess, number.into());
        }
        assert_eq!(lock(&guesses.whole_at_us).len(), GUESSERS_MAX);
        assert_eq!(lock(&guesses.known).len(), KNOWN_MAX);
    }
}
