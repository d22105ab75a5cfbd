//! The resolver against simulated servers, in simulated time that moves only when nothing else can happen.

mod behaviour;
mod host;
mod servers;
mod wire;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};

use self::wire::{A, AAAA, CNAME, Record, name_of, reply, soa};
use super::settings::Settings;
use super::*;

const MS: u64 = 1000;
const S: u64 = 1_000_000;

/// How a server behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Server {
    /// Answers from the zone after so many microseconds.
    Answers(u64),
    /// Answers queries of one record type after the first time, and others after the second.
    Slow(u16, u64, u64),
    /// Never answers.
    Silent,
    /// Never answers questions of this type.
    Drops(u16),
    /// The server's port is closed.
    Refuses,
    /// Answers with this code.
    Code(u16),
    /// Like `Answers(1 ms)`, but with FORMERR to EDNS.
    Plain,
    /// Like `Answers(1 ms)`, but with lower case in the question.
    Lowers,
    /// Floods with replies of wrong ids and never sends the true one; over TCP it answers.
    Forged(usize),
    /// The server's messages are cut after so many bytes.
    Cut(usize),
    /// Answers SERVFAIL to so many queries, and then the truth.
    Recovers(usize),
    /// Truncates its answers over UDP; over TCP the server behaves as the inner one.
    CutOff(&'static Server),
}

/// A query as a server received it.
#[derive(Clone, Debug, PartialEq)]
struct Sent {
    at_us: u64,
    server: u8,
    transport: Transport,
    name: String,
    kind: u16,
    edns: bool,
    id: u16,
}

/// A message for a query's socket, or that socket's failure.
type Arrival = (QueryId, Option<Vec<u8>>);

struct Network {
    resolver: Resolver,
    now_us: u64,
    servers: Vec<Server>,
    records: Vec<Record>,
    /// Servers follow CNAMEs themselves.
    chases: bool,
    on_the_way: BTreeMap<(u64, usize), Arrival>,
    arrivals: usize,
    open: HashMap<QueryId, Transport>,
    sent: Vec<Sent>,
    done: Vec<(u64, LookUpId, Outcome)>,
}

fn name(text: &str) -> Name {
    Name::parse(text.as_bytes()).unwrap()
}

fn server(index: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, index], 53))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn addresses(list: &[&str]) -> Outcome {
    let list: Vec<IpAddr> = list.iter().map(|text| ip(text)).collect();
    Outcome::Addresses(Addresses { list: list.into(), aliases: None })
}

fn failed(failure: Failure) -> Outcome {
    Outcome::Failed(failure)
}

impl Network {
    fn new(servers: &[Server], adjust: impl FnOnce(&mut Settings)) -> Network {
        let mut settings =
            Settings { servers: (0..servers.len() as u8).map(server).collect(), ..Settings::default() };
        adjust(&mut settings);
        let hosts = Hosts::parse(b"192.0.2.77 in.hosts\n");
        Network {
            resolver: Resolver::new(settings, hosts, [7, 11]),
            now_us: 5 * S,
            servers: servers.to_vec(),
            records: zone(),
            chases: true,
            on_the_way: BTreeMap::new(),
            arrivals: 0,
            open: HashMap::new(),
            sent: Vec::new(),
            done: Vec::new(),
        }
    }

    fn now(&self) -> Now {
        Now { monotonic_us: self.now_us, ..Now::default() }
    }

    fn look_up(&mut self, text: &str) -> LookUp {
        let look_up = self.resolver.look_up(self.now(), &name(text));
        self.drain();
        look_up
    }

    fn drain(&mut self) {
        while let Some(action) = self.resolver.next_action() {
            match action {
                Action::Send { query, server, transport, message } => {
                    assert!(message.as_bytes().len() <= 282);
                    assert!(self.open.insert(query, transport).is_none(), "a query's id came twice");
                    self.receive(query, server, transport, message.as_bytes());
                }
                Action::Cancel(query) => {
                    assert!(self.open.remove(&query).is_some(), "cancelled what was not open");
                }
                Action::Done { id, outcome } => self.done.push((self.now_us, id, outcome)),
            }
        }
    }

    fn arrives(&mut self, after_us: u64, query: QueryId, message: Option<Vec<u8>>) {
        self.arrivals += 1;
        self.on_the_way.insert((self.now_us + after_us, self.arrivals), (query, message));
    }

    /// A server gets a query.
    fn receive(&mut self, query: QueryId, server: SocketAddr, transport: Transport, message: &[u8]) {
        let IpAddr::V4(address) = server.ip() else { panic!("{server}") };
        let index = address.octets()[3];
        let (name, kind) = name_of(message);
        let edns = message[11] == 1;
        let id = u16::from_be_bytes([message[0], message[1]]);
        self.sent.push(Sent { at_us: self.now_us, server: index, transport, name, kind, edns, id });
        let truth = self.answer(message, transport);
        self.serve(self.servers[usize::from(index)], query, (message, &truth), (transport, kind));
    }

    fn serve(
        &mut self,
        server: Server,
        query: QueryId,
        (message, truth): (&[u8], &[u8]),
        (transport, kind): (Transport, u16),
    ) {
        let (truth, edns) = (truth.to_vec(), message[11] == 1);
        let id = u16::from_be_bytes([message[0], message[1]]);
        match server {
            Server::Answers(after_us) => self.arrives(after_us, query, Some(truth)),
            Server::Slow(slow, after_us, _) if slow == kind => self.arrives(after_us, query, Some(truth)),
            Server::Slow(_, _, after_us) => self.arrives(after_us, query, Some(truth)),
            Server::Silent => {}
            Server::Drops(dropped) if dropped == kind => {}
            Server::Drops(_) => self.arrives(MS, query, Some(truth)),
            Server::Refuses => self.arrives(MS, query, None),
            Server::Code(code) => self.arrives(MS, query, Some(reply(message, 0x8180 | code, &[], &[]))),
            Server::Plain if edns => self.arrives(MS, query, Some(reply(message, 0x8181, &[], &[]))),
            Server::Plain => self.arrives(MS, query, Some(truth)),
            Server::Lowers => {
                let mut lowered = truth;
                lowered[12..].make_ascii_lowercase();
                self.arrives(MS, query, Some(lowered));
            }
            Server::Forged(_) if transport == Transport::Tcp => self.arrives(MS, query, Some(truth)),
            Server::Forged(count) => {
                for guess in 1..=count {
                    let mut forged = truth.clone();
                    forged[0..2].copy_from_slice(&id.wrapping_add(guess as u16).to_be_bytes());
                    self.arrives(MS, query, Some(forged));
                }
            }
            Server::Cut(length) => self.arrives(MS, query, Some(truth[..length.min(truth.len())].to_vec())),
            Server::Recovers(failures) if self.sent.len() <= failures => {
                self.arrives(MS, query, Some(reply(message, 0x8182, &[], &[])));
            }
            Server::Recovers(_) => self.arrives(MS, query, Some(truth)),
            Server::CutOff(_) if transport == Transport::Udp => {
                let mut cut = truth;
                cut[2] |= 2;
                self.arrives(MS, query, Some(cut));
            }
            Server::CutOff(other) => self.serve(*other, query, (message, &truth), (transport, kind)),
        }
    }

    /// The records of the zone.
    fn answer(&self, query: &[u8], transport: Transport) -> Vec<u8> {
        let (asked, kind) = name_of(query);
        let asked = asked.to_ascii_lowercase();
        if asked.starts_with("big.") && transport == Transport::Udp {
            return reply(query, 0x8380, &[], &[]);
        }
        if asked.starts_with("lame.") {
            return reply(query, 0x8000, &[], &[]);
        }
        let mut owner = asked;
        let mut answers = Vec::new();
        loop {
            answers.extend(self.records.iter().filter(|r| r.owner == owner && r.kind == kind).cloned());
            let alias = self.records.iter().find(|r| r.owner == owner && r.kind == CNAME);
            let Some(alias) = alias else { break };
            answers.push(alias.clone());
            owner = alias.target();
            if !self.chases || answers.len() > 20 {
                return reply(query, 0x8180, &answers, &[]);
            }
        }
        if answers.iter().any(|r| r.kind == kind) {
            reply(query, 0x8180, &answers, &[])
        } else if self.records.iter().any(|r| r.owner == owner) {
            reply(query, 0x8180, &answers, &[soa("example", 120, 60)])
        } else {
            reply(query, 0x8183, &answers, &[soa("", 900, 600)])
        }
    }

    /// Moves to the next event; false if there is none.
    fn step(&mut self) -> bool {
        let arrival = self.on_the_way.keys().next().copied();
        let timeout_us = self.resolver.next_timeout_us();
        match (arrival, timeout_us) {
            (None, None) => return false,
            (Some(key), _) if timeout_us.is_none_or(|timeout_us| key.0 <= timeout_us) => {
                self.now_us = self.now_us.max(key.0);
                let (query, message) = self.on_the_way.remove(&key).unwrap();
                // The socket is closed already: the resolver must ignore the message.
                match message {
                    Some(message) => self.resolver.handle_reply(self.now(), query, &message),
                    None => self.resolver.handle_failure(self.now(), query),
                }
            }
            (_, Some(timeout_us)) => {
                self.now_us = self.now_us.max(timeout_us);
                self.resolver.handle_timeout(self.now());
            }
            (Some(_), None) => {}
        }
        self.drain();
        true
    }

    /// Lets time pass until nothing is left to happen.
    fn settle(&mut self) {
        let mut steps = 0;
        while self.step() {
            steps += 1;
            assert!(steps < 200_000, "no end");
        }
        assert!(self.open.is_empty(), "sockets left open");
        assert_eq!(self.resolver.in_flight(), 0);
        assert_eq!(self.resolver.next_timeout_us(), None);
    }

    /// Walks over the candidates of a name, as the engine does.
    fn walk(&mut self, text: &str) -> Outcome {
        let (wanted, mut walk, mut last) = (name(text), Walk::default(), None);
        while let Some(candidate) = self.resolver.next_candidate(&wanted, &mut walk) {
            match self.resolve(candidate.name.as_str()).1 {
                Outcome::Failed(failure) => {
                    if let Some(failure) = walk.fail(failure) {
                        return Outcome::Failed(failure);
                    }
                    last = Some(failure);
                }
                found => return found,
            }
        }
        Outcome::Failed(walk.end(last))
    }

    /// Looks up a name and waits for the outcome. Returns the microseconds and the outcome.
    fn resolve(&mut self, text: &str) -> (u64, Outcome) {
        let start_us = self.now_us;
        match self.look_up(text) {
            LookUp::Ready(outcome) => (0, outcome),
            LookUp::Pending(id) => {
                self.settle();
                let mut own = self.done.iter().filter(|done| done.1 == id);
                let (at_us, _, outcome) = own.next().expect("no outcome").clone();
                assert!(own.next().is_none(), "two outcomes");
                (at_us - start_us, outcome)
            }
            LookUp::Full => panic!("full"),
        }
    }

    fn wait(&mut self, us: u64) {
        self.now_us += us;
    }

    /// The queries since the last call, as `server/name/type`.
    fn take_sent(&mut self) -> Vec<String> {
        let line = |sent: Sent| {
            let tcp = if sent.transport == Transport::Tcp { "/tcp" } else { "" };
            let plain = if sent.edns { "" } else { "/plain" };
            format!("{}/{}/{}{tcp}{plain}", sent.server, sent.name, if sent.kind == A { "A" } else { "AAAA" })
        };
        self.sent.drain(..).map(line).collect()
    }

    fn counters(&self) -> Counters {
        *self.resolver.counters()
    }
}

fn zone() -> Vec<Record> {
    let mut records = vec![
        Record::new("www.example", A, 300, "192.0.2.10"),
        Record::new("www.example", A, 200, "192.0.2.11"),
        Record::new("www.example", AAAA, 400, "2001:db8::10"),
        Record::new("four.example", A, 100, "192.0.2.4"),
        Record::new("six.example", AAAA, 100, "2001:db8::6"),
        Record::new("zero.example", A, 0, "192.0.2.99"),
        Record::new("high.example", A, 0x8000_0001, "192.0.2.98"),
        Record::new("year.example", A, 40_000_000, "192.0.2.97"),
        Record::new("big.example", A, 300, "192.0.2.50"),
        Record::new("alias.example", CNAME, 50, "Middle.example"),
        Record::new("middle.example", CNAME, 70, "www.example"),
        Record::new("dangling.example", CNAME, 50, "nowhere.example"),
        Record::new("loop.example", CNAME, 50, "pool.example"),
        Record::new("pool.example", CNAME, 50, "loop.example"),
        Record::new("self.example", CNAME, 50, "self.example"),
        Record::new("text.example", 16, 50, ""),
        Record::new("host.corp.example", A, 300, "192.0.2.60"),
        Record::new("deep.host.corp.example", A, 300, "192.0.2.61"),
        Record::new("dotless", A, 300, "192.0.2.62"),
        Record::new("mapped.example", AAAA, 300, "::ffff:192.0.2.63"),
    ];
    for n in 0..40u8 {
        records.push(Record::new("many.example", A, 300, &format!("192.0.2.{n}")));
        records.push(Record::new("many.example", AAAA, 300, &format!("2001:db8::{n}")));
    }
    for n in 0..18 {
        let (owner, target) = (format!("c{n}.example"), format!("c{}.example", n + 1));
        records.push(Record::new(&owner, CNAME, 50, &target));
    }
    records.push(Record::new("c18.example", A, 300, "192.0.2.64"));
    records
}
