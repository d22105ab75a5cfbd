//! The guard: what a look-up of a ban, a hit in a window and a step of an escalation take, and the memory of each key.
//!
//! `cargo bench --bench guard`. One iteration asks for a thousand different keys: read microseconds as nanoseconds per check.
//! Memory is printed before the timings.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use ipnet::IpNet;
use weir::guard::bans::{Ban, BanOrigin, Bans};
use weir::guard::escalation::SharedEscalations;
use weir::guard::store::EscalationConstants;
use weir::guard::window::SharedWindows;

const COUNTS: [usize; 3] = [1_000, 100_000, 1_000_000];
/// Keys that are asked for.
pub const ASKED: usize = 1000;
const SEED: u64 = 0x5EED;
const NOW: u64 = 1_700_000_000_000;
const MINUTE: u64 = 60_000;

/// The numbers of the reference system.
pub const CONSTANTS: EscalationConstants = EscalationConstants {
    requests_max: 50,
    window_ms: MINUTE,
    block_after: 3,
    block_ms: 15 * MINUTE,
    permanent_after: Some(10),
    permanent_window_ms: 24 * 60 * MINUTE,
};

fn main() {
    // Memory, unless one bench was asked for by name.
    let all = std::env::args().skip(1).all(|argument| argument == "--bench");
    for count in COUNTS.into_iter().filter(|_| all) {
        let bans = |lengths| bans(count, lengths).heap_bytes() as u64;
        report("bans", count, bans(&LISTED));
        report("windows, limit 600, 1 hit", count, windows(count, 600, 1).heap_bytes());
        report("windows, limit 5, 10 hits", count, windows(count, 5, 10).heap_bytes());
        report("windows, limit 20, 20 hits", count, windows(count, 20, 20).heap_bytes());
        report("two counters", count, counters(count).heap_bytes());
        report("escalation, no violation", count, escalations(count, 1).heap_bytes());
        report("escalation, blocked", count, escalations(count, 53).heap_bytes());
    }
    divan::main();
}

fn report(what: &str, count: usize, bytes: u64) {
    println!("{what}, {count}: {bytes} bytes, {:.1} each", bytes as f64 / count as f64);
}

/// A number that tells nothing of its neighbours, as a keyed hash does.
pub fn key(number: usize) -> u64 {
    let mixed = (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

/// Prefix lengths of a list of abuse reports, and of one that merges what lies together.
pub const LISTED: [u8; 2] = [32, 24];
/// As many lengths as there are in the lists of networks.
pub const MERGED: [u8; 17] = [32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16];

/// An address outside of those that cannot be banned.
fn address(number: usize, salt: u64) -> IpAddr {
    let bits = key(number) ^ salt;
    if number % 8 == 7 {
        IpAddr::V6(Ipv6Addr::from_bits(u128::from(0x2000_0000_0000_0000 | bits >> 3) << 64 | 1))
    } else {
        IpAddr::V4(Ipv4Addr::from_bits(0x8000_0000 | bits as u32 >> 1))
    }
}

/// One ban in eight is of IPv6; half of them end within a day.
pub fn bans(count: usize, lengths: &[u8]) -> Bans {
    let mut bans = Bans::new(count, SEED);
    for number in 0..count {
        let address = address(number, 0);
        let length = lengths[number / 8 % lengths.len()];
        let length = if address.is_ipv6() { 2 * length } else { length };
        let Ok(network) = IpNet::new(address, length) else { continue };
        let until_unix_ms = (number % 2 == 0).then_some(NOW + 1 + key(number) % 86_400_000);
        let ban = Ban { until_unix_ms, reason: "".into(), origin: BanOrigin::BanFile, line: 0 };
        let _ = bans.insert(network, ban, NOW);
    }
    bans
}

/// Addresses to ask for: those that are banned with a salt of 0, or others.
pub fn addresses(count: usize, salt: u64) -> Vec<IpAddr> {
    let step = (count / ASKED).max(1);
    (0..ASKED).map(|asked| address(asked * step % count, salt)).collect()
}

/// Keys to ask for.
pub fn keys(count: usize) -> Vec<u64> {
    let step = (count / ASKED).max(1);
    (0..ASKED).map(|asked| key(asked * step % count)).collect()
}

/// Room for a fifth more, because the parts do not get the same number of keys.
fn room(count: usize) -> usize {
    count + count / 5 + 16 * 64
}

/// Windows with so many hits of each key.
pub fn windows(count: usize, limit: u32, hits: u64) -> SharedWindows {
    let windows = SharedWindows::new(room(count));
    for number in 0..count {
        for hit in 0..hits {
            windows.record(key(number), limit, MINUTE, hit);
        }
    }
    assert_eq!((windows.len(), windows.dropped()), (count as u64, 0));
    windows
}

fn counters(count: usize) -> SharedWindows {
    let windows = SharedWindows::new(room(count));
    for number in 0..count {
        windows.record_approximate(key(number), 600, MINUTE, 0);
    }
    windows
}

/// Escalations with so many requests of each key.
pub fn escalations(count: usize, requests: usize) -> SharedEscalations {
    let escalations = SharedEscalations::new(room(count));
    for number in 0..count {
        for _ in 0..requests {
            escalations.step(key(number), NOW, &CONSTANTS);
        }
    }
    assert_eq!((escalations.len(), escalations.dropped()), (count as u64, 0));
    escalations
}

/// One iteration asks for everything: the clock is too coarse for one check.
fn ask<T: Copy, R>(bencher: Bencher, asked: &[T], mut check: impl FnMut(T) -> R) {
    let mut all = || {
        for &one in asked {
            black_box(check(black_box(one)));
        }
    };
    bencher.counter(ItemsCount::new(asked.len())).bench_local(&mut all);
}

fn find(bencher: Bencher, bans: &Bans, addresses: &[IpAddr]) {
    ask(bencher, addresses, |address| bans.find(address, NOW))
}

#[divan::bench(args = COUNTS)]
fn ban_hit(bencher: Bencher, count: usize) {
    find(bencher, &bans(count, &LISTED), &addresses(count, 0));
}

#[divan::bench(args = COUNTS)]
fn ban_miss(bencher: Bencher, count: usize) {
    find(bencher, &bans(count, &LISTED), &addresses(count, 0x1357_9BDF_0246_8ACE));
}

#[divan::bench(args = COUNTS)]
fn ban_miss_17_lengths(bencher: Bencher, count: usize) {
    find(bencher, &bans(count, &MERGED), &addresses(count, 0x1357_9BDF_0246_8ACE));
}

#[divan::bench]
fn ban_none(bencher: Bencher) {
    find(bencher, &Bans::new(1000, SEED), &addresses(1000, 0));
}

/// Each key has a hit a millisecond after the one before: the limit is soon reached, and refused hits are recorded.
#[divan::bench(args = COUNTS)]
fn window_hit(bencher: Bencher, count: usize) {
    let (windows, mut now) = (windows(count, 20, 1), 1);
    ask(bencher, &keys(count), |key| {
        now += 1;
        windows.record(key, 20, MINUTE, now)
    });
}

#[divan::bench(args = COUNTS)]
fn window_hit_approximate(bencher: Bencher, count: usize) {
    let (windows, mut now) = (counters(count), 1);
    ask(bencher, &keys(count), |key| {
        now += 1;
        windows.record_approximate(key, 600, MINUTE, now)
    });
}

/// The table is full: each new key costs another one.
#[divan::bench(args = COUNTS)]
fn window_new_key(bencher: Bencher, count: usize) {
    let windows = SharedWindows::new(count);
    for number in 0..2 * count {
        windows.record(key(number), 20, MINUTE, 0);
    }
    let mut number = 2 * count;
    ask(bencher, &[(); ASKED], |()| {
        number += 1;
        windows.record(key(number), 20, MINUTE, 1)
    });
}

#[divan::bench(args = COUNTS)]
fn escalation_pass(bencher: Bencher, count: usize) {
    let (escalations, mut now) = (escalations(count, 1), NOW);
    ask(bencher, &keys(count), |key| {
        now += 10;
        escalations.step(key, now, &CONSTANTS)
    });
}

#[divan::bench(args = COUNTS)]
fn escalation_blocked(bencher: Bencher, count: usize) {
    let escalations = escalations(count, 53);
    ask(bencher, &keys(count), |key| escalations.step(key, NOW, &CONSTANTS))
}
