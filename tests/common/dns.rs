//! A name server for one zone that tests make up: UDP and TCP on one port of 127.0.0.1.

use super::eventually;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Record type of IPv4 addresses (RFC 1035 3.2.2).
pub const A: u16 = 1;
/// Record type of canonical names.
pub const CNAME: u16 = 5;
/// Record type of the start of a zone.
pub const SOA: u16 = 6;
/// Record type of IPv6 addresses (RFC 3596).
pub const AAAA: u16 = 28;

/// The answer of the server for a name.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Addresses of both families, with this TTL in seconds.
    Addresses(u32, Vec<IpAddr>),
    /// Another name, and what is known about that one in the same message.
    Alias(u32, String),
    /// There is no such name (with the zone's SOA, so that it may be remembered).
    NoName,
    /// Server failure.
    Fail,
    /// No answer at all.
    Silent,
    /// Cut short over UDP, whole over TCP.
    Truncated(u32, Vec<IpAddr>),
    /// Answered like `Addresses`, but not before `release`.
    Held(u32, Vec<IpAddr>),
    /// A wrong id first, then an answer to another question, then the right one.
    Forged(u32, Vec<IpAddr>),
}

impl Answer {
    /// These addresses for an hour.
    pub fn addresses(list: &[&str]) -> Answer {
        Answer::Addresses(3600, parse(list))
    }

    /// These addresses for `ttl` seconds.
    pub fn short(ttl: u32, list: &[&str]) -> Answer {
        Answer::Addresses(ttl, parse(list))
    }
}

/// Addresses from text.
pub fn parse(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|text| text.parse().expect("an address")).collect()
}

#[derive(Default)]
struct Zone {
    names: Mutex<HashMap<String, Answer>>,
    queries: Mutex<Vec<Query>>,
    held: Mutex<Vec<(Vec<u8>, SocketAddr)>>,
    stopped: AtomicBool,
}

/// One query that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// In lower case, without the trailing dot.
    pub name: String,
    /// Record type.
    pub kind: u16,
    /// Over TCP rather than UDP.
    pub tcp: bool,
    /// The id and the port it came from.
    pub id: u16,
    /// Source port.
    pub port: u16,
}

/// The server; stops when dropped.
pub struct FakeDns {
    address: SocketAddr,
    zone: Arc<Zone>,
    udp: UdpSocket,
}

impl FakeDns {
    /// Starts it with these names; every other one does not exist.
    pub fn start(names: &[(&str, Answer)]) -> FakeDns {
        let (udp, tcp) = both_sockets();
        let address = udp.local_addr().expect("its address");
        let zone = Arc::new(Zone::default());
        let server = FakeDns { address, zone: zone.clone(), udp: udp.try_clone().expect("a second handle") };
        for (name, answer) in names {
            server.set(name, answer.clone());
        }
        let udp_zone = zone.clone();
        std::thread::spawn(move || serve_udp(&udp, &udp_zone));
        std::thread::spawn(move || serve_tcp(&tcp, &zone));
        server
    }

    /// For `--dns`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Changes what is said about a name.
    pub fn set(&self, name: &str, answer: Answer) {
        self.zone.names.lock().expect("names").insert(name.to_owned(), answer);
    }

    /// Answers what was held back.
    pub fn release(&self) {
        for (query, from) in std::mem::take(&mut *self.zone.held.lock().expect("held queries")) {
            if let Some(question) = Question::parse(&query) {
                let _ = self.udp.send_to(&question.reply(&self.zone, Step::Whole), from);
            }
        }
    }

    /// Everything that was asked.
    pub fn queries(&self) -> Vec<Query> {
        self.zone.queries.lock().expect("queries").clone()
    }

    /// How often an address of this family was asked for.
    pub fn count(&self, name: &str, kind: u16) -> usize {
        self.queries().iter().filter(|query| query.name == name && query.kind == kind).count()
    }

    /// Waits until a name was asked for that often (of one type).
    #[track_caller]
    pub fn wait_for_queries(&self, name: &str, kind: u16, count: usize) {
        let what = format!("{count} queries for {name} type {kind}");
        eventually(&what, || (self.count(name, kind) >= count).then_some(()));
    }
}

impl Drop for FakeDns {
    fn drop(&mut self) {
        self.zone.stopped.store(true, Ordering::SeqCst);
        let _ = self.udp.send_to(&[0], self.address);
        let _ = std::net::TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

fn both_sockets() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a UDP port");
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().expect("its address")) {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both UDP and TCP");
}

fn serve_udp(socket: &UdpSocket, zone: &Zone) {
    let mut packet = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut packet) {
        if zone.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Some(question) = Question::parse(&packet[..length]) else { continue };
        question.note(zone, false, from.port());
        let answer = question.answer(zone);
        match answer {
            Answer::Silent => {}
            Answer::Held(..) => {
                zone.held.lock().expect("held queries").push((packet[..length].to_vec(), from));
            }
            Answer::Truncated(..) => drop(socket.send_to(&question.reply(zone, Step::Cut), from)),
            Answer::Forged(..) => {
                let _ = socket.send_to(&question.reply(zone, Step::WrongId), from);
                let _ = socket.send_to(&question.reply(zone, Step::WrongQuestion), from);
                let _ = socket.send_to(&question.reply(zone, Step::Whole), from);
            }
            Answer::Addresses(..) | Answer::Alias(..) | Answer::NoName | Answer::Fail => {
                let _ = socket.send_to(&question.reply(zone, Step::Whole), from);
            }
        }
    }
}

fn serve_tcp(listener: &TcpListener, zone: &Zone) {
    while let Ok((mut stream, from)) = listener.accept() {
        if zone.stopped.load(Ordering::SeqCst) {
            return;
        }
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let mut length = [0; 2];
        while stream.read_exact(&mut length).is_ok() {
            let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
            if stream.read_exact(&mut packet).is_err() {
                break;
            }
            let Some(question) = Question::parse(&packet) else { break };
            question.note(zone, true, from.port());
            let reply = question.reply(zone, Step::Whole);
            let framed = [&(reply.len() as u16).to_be_bytes()[..], &reply].concat();
            // In two pieces: the length may come alone (RFC 7766 section 8).
            if stream.write_all(&framed[..1]).and_then(|()| stream.write_all(&framed[1..])).is_err() {
                break;
            }
        }
    }
}

enum Step {
    Whole,
    Cut,
    WrongId,
    WrongQuestion,
}

struct Question {
    id: u16,
    name: String,
    kind: u16,
    wire: Vec<u8>,
}

impl Question {
    fn parse(packet: &[u8]) -> Option<Question> {
        let id = u16::from_be_bytes([*packet.first()?, *packet.get(1)?]);
        let mut at = 12;
        let mut labels = Vec::new();
        loop {
            let length = usize::from(*packet.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            labels.push(String::from_utf8_lossy(packet.get(at..at + length)?).to_lowercase());
            at += length;
        }
        let kind = u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]);
        Some(Question { id, name: labels.join("."), kind, wire: packet.get(12..at + 4)?.to_vec() })
    }

    fn note(&self, zone: &Zone, tcp: bool, port: u16) {
        let query = Query { name: self.name.clone(), kind: self.kind, tcp, id: self.id, port };
        zone.queries.lock().expect("queries").push(query);
    }

    fn answer(&self, zone: &Zone) -> Answer {
        zone.names.lock().expect("names").get(&self.name).cloned().unwrap_or(Answer::NoName)
    }

    fn reply(&self, zone: &Zone, step: Step) -> Vec<u8> {
        let mut rcode = 0;
        let mut records = Vec::new();
        let mut count = 0;
        let mut name = self.name.clone();
        for _ in 0..16 {
            let known = zone.names.lock().expect("names").get(&name).cloned().unwrap_or(Answer::NoName);
            match known {
                Answer::Addresses(ttl, list)
                | Answer::Truncated(ttl, list)
                | Answer::Held(ttl, list)
                | Answer::Forged(ttl, list) => {
                    for address in list {
                        count += usize::from(push_address(&mut records, &name, self.kind, ttl, address));
                    }
                    break;
                }
                Answer::Alias(ttl, to) => {
                    push_record(&mut records, &name, CNAME, ttl, &encode_name(&to));
                    count += 1;
                    name = to;
                }
                Answer::NoName => {
                    rcode = 3;
                    break;
                }
                Answer::Fail | Answer::Silent => {
                    rcode = 2;
                    break;
                }
            }
        }
        let cut = matches!(step, Step::Cut);
        let id = if matches!(step, Step::WrongId) { self.id ^ 0x5555 } else { self.id };
        let negative = count == 0 && rcode != 2 && !cut;
        let flags: u16 = 0x8180 | if cut { 0x0200 } else { 0 } | rcode;
        let counts = [1, if cut { 0 } else { count as u16 }, u16::from(negative), 0];
        let mut out = [id.to_be_bytes(), flags.to_be_bytes()].concat();
        counts.iter().for_each(|count| out.extend(count.to_be_bytes()));
        if matches!(step, Step::WrongQuestion) {
            out.extend(encode_name("elsewhere.test"));
            out.extend([0, self.kind as u8, 0, 1]);
        } else {
            out.extend(&self.wire);
        }
        if !cut {
            out.extend(&records);
        }
        if negative {
            let mut soa = [encode_name("ns.test"), encode_name("root.test")].concat();
            [1u32, 3600, 600, 86400, 60].iter().for_each(|number| soa.extend(number.to_be_bytes()));
            push_record(&mut out, "test", SOA, 60, &soa);
        }
        out
    }
}

fn push_address(out: &mut Vec<u8>, name: &str, kind: u16, ttl: u32, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) if kind == A => push_record(out, name, A, ttl, &v4.octets()),
        IpAddr::V6(v6) if kind == AAAA => push_record(out, name, AAAA, ttl, &v6.octets()),
        IpAddr::V4(_) | IpAddr::V6(_) => return false,
    }
    true
}

fn push_record(out: &mut Vec<u8>, name: &str, kind: u16, ttl: u32, value: &[u8]) {
    out.extend(encode_name(name));
    out.extend(kind.to_be_bytes());
    out.extend([0, 1]);
    out.extend(ttl.to_be_bytes());
    out.extend((value.len() as u16).to_be_bytes());
    out.extend(value);
}

fn encode_name(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(label.len() as u8);
        out.extend(label.as_bytes());
    }
    out.push(0);
    out
}
