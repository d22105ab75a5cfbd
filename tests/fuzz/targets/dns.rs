//! The resolver behind hostile servers: what they send is made of the input, and so is when they send it.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use weir::http::target::Name;
use weir::resolver::{ADDRESSES_MAX, Action, Hosts, LookUp, LookUpId, Outcome, QueryId, Resolver, Settings};
use weir::time::Now;

use super::dns_reference::believable;
use super::pieces::options;

/// Longest query (RFC 1035 section 2.3.4, with EDNS).
const QUERY_BYTES_MAX: usize = 282;

/// More steps than any look-up can take until it is over.
const STEPS_MAX: usize = 10_000;

const NAMES: [&str; 6] = ["www.example", "a", "x.y.z.example", "localhost", "b.invalid", "known.example"];

struct World {
    resolver: Resolver,
    now_us: u64,
    /// Sockets that are open: the query's bytes.
    open: Vec<(QueryId, Vec<u8>)>,
    ever_open: HashSet<QueryId>,
    /// How many wait for each look-up.
    waiting: HashMap<LookUpId, usize>,
    /// The addresses that servers gave to questions that they were asked.
    believable: HashSet<IpAddr>,
}

impl World {
    fn new(options: u8) -> World {
        let settings = Settings {
            servers: ["192.0.2.1:53", "192.0.2.2:53"].map(|text| text.parse().expect("an address")).to_vec(),
            search: if options & 1 == 0 {
                Vec::new()
            } else {
                vec![Name::parse(b"corp.example").expect("a name")]
            },
            case_randomised: options & 2 != 0,
            rotate: options & 4 != 0,
            look_ups_max: if options & 8 == 0 { 512 } else { 2 },
            cache_entries_max: if options & 16 == 0 { 4 } else { 0 },
            ..Settings::default()
        };
        let hosts = Hosts::parse(b"192.0.2.77 known.example");
        World {
            resolver: Resolver::new(settings, hosts, [1, 2]),
            now_us: 1_000_000,
            open: Vec::new(),
            ever_open: HashSet::new(),
            waiting: HashMap::new(),
            believable: HashSet::new(),
        }
    }

    fn now(&self) -> Now {
        Now { monotonic_us: self.now_us, ..Now::default() }
    }

    fn look_up(&mut self, which: u8) {
        let name = Name::parse(NAMES[usize::from(which) % NAMES.len()].as_bytes()).expect("a name");
        match self.resolver.look_up(self.now(), &name) {
            LookUp::Ready(outcome) => self.check(&outcome),
            LookUp::Pending(id) => *self.waiting.entry(id).or_default() += 1,
            LookUp::Full => {}
        }
    }

    /// One who waits gives up.
    fn cancel(&mut self) {
        let Some(id) = self.waiting.keys().min().copied() else { return };
        self.resolver.cancel(id);
        match self.waiting.get_mut(&id) {
            Some(1) | None => drop(self.waiting.remove(&id)),
            Some(count) => *count -= 1,
        }
    }

    /// A server sends these bytes. With `patch` behind the id and question of the query, as a server that has read
    /// it; otherwise unchanged, as a blind forger.
    fn reply(&mut self, which: u8, patch: bool, bytes: &[u8]) {
        let Some((query, asked)) = self.open.get(usize::from(which) % self.open.len().max(1)) else { return };
        let (query, asked) = (*query, asked.clone());
        let mut message = bytes.to_vec();
        if patch {
            // Twelve bytes of header, of which the first two are the id; then the question, then the input.
            let header = bytes.get(..10).unwrap_or(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
            let question_end = 12 + asked[12..].iter().position(|byte| *byte == 0).expect("a root") + 5;
            message =
                [&asked[..2], header, &asked[12..question_end], bytes.get(10..).unwrap_or(&[])].concat();
        }
        self.believable.extend(believable(&asked, &message));
        self.resolver.handle_reply(self.now(), query, &message);
    }

    fn fail(&mut self, which: u8) {
        let Some((query, _)) = self.open.get(usize::from(which) % self.open.len().max(1)) else { return };
        self.resolver.handle_failure(self.now(), *query);
    }

    fn wait(&mut self) {
        if let Some(timeout_us) = self.resolver.next_timeout_us() {
            self.now_us = self.now_us.max(timeout_us);
            self.resolver.handle_timeout(self.now());
        }
    }

    fn drain(&mut self) {
        while let Some(action) = self.resolver.next_action() {
            match action {
                Action::Send { query, message, .. } => {
                    assert!(message.as_bytes().len() <= QUERY_BYTES_MAX);
                    assert!(self.ever_open.insert(query), "a query's id came twice");
                    self.open.push((query, message.as_bytes().to_vec()));
                }
                Action::Cancel(query) => {
                    let at = self.open.iter().position(|(open, _)| *open == query);
                    self.open.remove(at.expect("abandoned what was not open"));
                }
                Action::Done { id, outcome } => {
                    assert!(self.waiting.remove(&id).is_some(), "done, but nobody waits");
                    self.check(&outcome);
                }
            }
        }
        let sockets_max = 2 * self.resolver.in_flight();
        assert!(self.open.len() <= sockets_max, "{} sockets, at most {sockets_max}", self.open.len());
    }

    /// Addresses are bounded, in their one form, and from records about the name that was asked.
    fn check(&self, outcome: &Outcome) {
        let Outcome::Addresses(addresses) = outcome else { return };
        let addresses = addresses.as_slice();
        assert!((1..=ADDRESSES_MAX).contains(&addresses.len()));
        for (at, address) in addresses.iter().enumerate() {
            assert_eq!(*address, address.to_canonical());
            assert!(!addresses[..at].contains(address), "{address} twice");
            let known = address.is_loopback() || *address == IpAddr::from([192, 0, 2, 77]);
            assert!(known || self.believable.contains(address), "{address} is nobody's answer");
        }
    }

    /// Lets time pass until all is over.
    fn settle(&mut self) {
        for _ in 0..STEPS_MAX {
            self.drain();
            if self.resolver.next_timeout_us().is_none() {
                break;
            }
            self.wait();
        }
        assert_eq!(self.resolver.in_flight(), 0, "look-ups without end");
        assert!(self.open.is_empty(), "sockets left open");
        assert!(self.waiting.is_empty(), "a look-up waits for ever");
    }
}

/// A program: an operation in the low bits of a byte, which one in the high bits; messages behind two bytes of length.
pub fn dns(bytes: &[u8]) {
    let (options, mut rest) = options(bytes);
    let mut world = World::new(options);
    world.look_up(0);
    world.drain();
    while let [operation, after @ ..] = rest {
        rest = after;
        let which = operation >> 3;
        match operation & 7 {
            0 => world.look_up(which),
            1 => world.cancel(),
            2 => world.fail(which),
            3 => world.wait(),
            4 => world.now_us += 1_000 << (which % 20),
            kind => {
                let [high, low, after @ ..] = rest else { break };
                let len = (usize::from(*high) << 8 | usize::from(*low)).min(after.len());
                world.reply(which, kind != 5, &after[..len]);
                rest = &after[len..];
            }
        }
        world.drain();
    }
    world.settle();
}
