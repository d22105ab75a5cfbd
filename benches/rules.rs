//! Rules: how long they take to load, what they take from memory, and how long a look-up takes.
//!
//! `cargo bench --bench rules`. One iteration of a look-up asks for a thousand different hosts: read microseconds as
//! nanoseconds per verdict. Memory is printed before the timings.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use weir::http::target::{Host, Name};
use weir::policy::acl::{Acl, AclBuilder, ListKind, Subject};

const COUNTS: [usize; 3] = [1_000, 100_000, 1_000_000];
/// Hosts that are asked for.
pub const ASKED: usize = 1000;
const SEED: u64 = 0x5EED;

fn main() {
    // Memory, unless one bench was asked for by name.
    let all = std::env::args().skip(1).all(|argument| argument == "--bench");
    for count in COUNTS.into_iter().filter(|_| all) {
        report(&format!("{count} names"), count, &acl(&names_text(count)));
    }
    for count in [1_000, 100_000].into_iter().filter(|_| all) {
        report(&format!("{count} IPv4 networks"), count, &acl(&networks_text(count, false)));
        report(&format!("{count} IPv6 networks"), count, &acl(&networks_text(count, true)));
    }
    divan::main();
}

fn report(what: &str, count: usize, acl: &Acl) {
    let bytes = acl.heap_bytes();
    println!("{what}: {bytes} bytes, {:.1} per rule", bytes as f64 / count as f64);
}

/// An xorshift generator: the same numbers every time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

/// A name like those on block lists: two to four labels, 19 bytes on average. Odd salts give names that are on no list.
fn name(number: usize, salt: u64) -> String {
    let mut numbers = Numbers((number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ salt);
    let suffix = ["com", "net", "org", "co.uk", "example", "info"][(numbers.next() >> 40) as usize % 6];
    let word = |bits: u64| {
        let length = 5 + (bits >> 60) as usize % 9;
        let letters = (0..length).map(|at| char::from(b'a' + ((bits >> (4 * at)) & 15) as u8));
        letters.collect::<String>()
    };
    let (host, site) = (word(numbers.next()), word(numbers.next()));
    match (numbers.next() >> 50) % 3 {
        0 => format!("{site}{number}.{suffix}"),
        1 => format!("ads.{site}{number}.{suffix}"),
        _ => format!("{host}.{site}{number}.{suffix}"),
    }
}

/// One rule in three exact, one below, one both, so that look-ups probe every parent.
pub fn names_text(count: usize) -> String {
    (0..count).map(|number| format!("{}{}\n", ["", "*.", "."][number % 3], name(number, 0))).collect()
}

fn network(numbers: &mut Numbers, v6: bool) -> String {
    let bits = numbers.next();
    if v6 {
        let address = Ipv6Addr::from_bits(u128::from(0x2000_0000_0000_0000 | bits >> 3) << 64);
        format!("{address}/{}", 32 + bits % 33)
    } else {
        format!("{}/{}", Ipv4Addr::from_bits(bits as u32), 16 + (bits >> 40) % 17)
    }
}

/// Networks, one per line.
pub fn networks_text(count: usize, v6: bool) -> String {
    let mut numbers = Numbers(SEED);
    (0..count).map(|_| network(&mut numbers, v6) + "\n").collect()
}

/// The rules of a text.
pub fn acl(text: &str) -> Acl {
    let mut builder = AclBuilder::new(SEED);
    builder.add_list(ListKind::Block, "rules", text.as_bytes());
    builder.build().unwrap_or_else(|errors| panic!("{}", errors[0]))
}

/// Asks about one host.
pub fn judge(acl: &Acl, host: &Host) {
    let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let subject = Subject { client, user: None, method: "GET", host, port: 80, connect: false };
    black_box(acl.judge(black_box(&subject)));
}

/// One iteration asks for all hosts: the clock is too coarse for one look-up.
fn ask(bencher: Bencher, acl: &Acl, hosts: &[Host]) {
    bencher
        .counter(ItemsCount::new(hosts.len()))
        .bench_local(|| hosts.iter().for_each(|host| judge(acl, host)));
}

/// Names to ask for: those of the text with the same salt, or others.
pub fn name_hosts(count: usize, salt: u64) -> Vec<Host> {
    let step = (count / ASKED).max(1);
    let host = |asked: usize| {
        let text = name(asked * step % count, salt);
        // A name below, half of the time: wildcard rules are hit, too.
        let text = if asked % 2 == 0 { text } else { format!("www.{text}") };
        Host::Name(Name::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error:?}")))
    };
    (0..ASKED).map(host).collect()
}

#[divan::bench(args = COUNTS, sample_count = 5)]
fn load_names(bencher: Bencher, count: usize) {
    let text = names_text(count);
    bencher.counter(ItemsCount::new(count)).bench(|| acl(&text));
}

#[divan::bench(args = [1_000, 100_000], sample_count = 5)]
fn load_networks(bencher: Bencher, count: usize) {
    let text = networks_text(count, false);
    bencher.counter(ItemsCount::new(count)).bench(|| acl(&text));
}

#[divan::bench(args = COUNTS)]
fn name_listed(bencher: Bencher, count: usize) {
    ask(bencher, &acl(&names_text(count)), &name_hosts(count, 0));
}

#[divan::bench(args = COUNTS)]
fn name_not_listed(bencher: Bencher, count: usize) {
    ask(bencher, &acl(&names_text(count)), &name_hosts(count, 77));
}

#[divan::bench(args = [1_000, 100_000])]
fn ipv4_address(bencher: Bencher, count: usize) {
    let mut numbers = Numbers(99);
    let address = |_| Host::Address(IpAddr::V4(Ipv4Addr::from_bits(numbers.next() as u32)));
    let hosts: Vec<Host> = (0..ASKED).map(address).collect();
    ask(bencher, &acl(&networks_text(count, false)), &hosts);
}

#[divan::bench(args = [1_000, 100_000])]
fn ipv6_address(bencher: Bencher, count: usize) {
    let mut numbers = Numbers(99);
    let address = |_| {
        let bits = 0x2000_0000_0000_0000 | numbers.next() >> 3;
        Host::Address(IpAddr::V6(Ipv6Addr::from_bits(u128::from(bits) << 64 | 1)))
    };
    let hosts: Vec<Host> = (0..ASKED).map(address).collect();
    ask(bencher, &acl(&networks_text(count, true)), &hosts);
}
