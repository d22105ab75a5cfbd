//! The clients.

use crate::pattern::Pattern;
use crate::{field, head_end, wrong};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const BUFFER_BYTES: usize = 256 * 1024;
/// Bytes for one connection before others have their turn.
const TURN_BYTES: u64 = 1024 * 1024;
/// After so many errors it is no measurement any more.
const ERRORS_MAX: u64 = 1000;
/// Requests that are still under way this long after the end count as errors.
const GRACE: Duration = Duration::from_secs(10);
/// Connections that `--hold` opens at the same time: no more than fit into a listener's queue.
const OPENING_MAX: usize = 64;

/// The command line.
pub struct Options {
    via: SocketAddr,
    to: SocketAddr,
    connections: usize,
    bytes: u64,
    seconds: f64,
    rate: f64,
    sources: u8,
    upload: bool,
    once: bool,
    tunnel: bool,
    direct: bool,
    fresh: bool,
    hold: bool,
    fields: String,
}

impl Options {
    pub fn parse(mut words: impl Iterator<Item = String>) -> io::Result<Options> {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut options = Options {
            via: nowhere,
            to: nowhere,
            connections: 1,
            bytes: 1024,
            seconds: 2.0,
            rate: 0.0,
            sources: 1,
            upload: false,
            once: false,
            tunnel: false,
            direct: false,
            fresh: false,
            hold: false,
            fields: String::new(),
        };
        while let Some(word) = words.next() {
            let flag = match word.as_str() {
                "--upload" => Some(&mut options.upload),
                "--once" => Some(&mut options.once),
                "--tunnel" => Some(&mut options.tunnel),
                "--direct" => Some(&mut options.direct),
                "--fresh" => Some(&mut options.fresh),
                "--hold" => Some(&mut options.hold),
                _ => None,
            };
            if let Some(flag) = flag {
                *flag = true;
                continue;
            }
            let value = words.next().unwrap_or_default();
            match word.as_str() {
                "--via" => options.via = parsed(&word, &value)?,
                "--to" => options.to = parsed(&word, &value)?,
                "--connections" => options.connections = parsed(&word, &value)?,
                "--bytes" => options.bytes = parsed(&word, &value)?,
                "--seconds" => options.seconds = parsed(&word, &value)?,
                "--rate" => options.rate = parsed(&word, &value)?,
                "--field" => options.fields += &format!("{value}\r\n"),
                "--sources" => options.sources = parsed(&word, &value)?,
                _ => return Err(wrong(&format!("an option, not {word:?}"))),
            }
        }
        Ok(options)
    }
}

fn parsed<T: std::str::FromStr>(word: &str, value: &str) -> io::Result<T> {
    value.parse().map_err(|_| wrong(&format!("a value for {word}, not {value:?}")))
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    /// CONNECT has been sent, or will be.
    Asking,
    Idle,
    Exchange,
    /// To be opened again when it is needed.
    Closed,
}

struct Connection {
    stream: TcpStream,
    phase: Phase,
    readable: bool,
    writable: bool,
    ending: bool,
    /// Of the head that goes out, and of the body behind it.
    sent: usize,
    uploaded: u64,
    /// The head that comes, then how much of the body is missing and has come.
    head: Vec<u8>,
    in_body: bool,
    coming: u64,
    come: u64,
    /// The other side closes after this response.
    last: bool,
    /// Responses that it has carried.
    served: u64,
    began: Instant,
}

#[derive(Default)]
struct Tally {
    done: u64,
    bytes: u64,
    faults: Vec<(&'static str, u64)>,
    latencies_ns: Vec<u32>,
}

impl Tally {
    fn fault(&mut self, what: &'static str) {
        match self.faults.iter_mut().find(|(known, _)| *known == what) {
            Some((_, count)) => *count += 1,
            None => self.faults.push((what, 1)),
        }
    }

    fn errors(&self) -> u64 {
        self.faults.iter().map(|(_, count)| count).sum()
    }

    fn print(mut self, seconds: f64) {
        self.latencies_ns.sort_unstable();
        let at = |share: f64| {
            let last = self.latencies_ns.len().saturating_sub(1);
            let index = ((self.latencies_ns.len() as f64 * share) as usize).min(last);
            f64::from(self.latencies_ns.get(index).copied().unwrap_or(0)) / 1000.0
        };
        let (done, bytes, errors) = (self.done, self.bytes, self.errors());
        print!("done={done} bytes={bytes} seconds={seconds:.4} errors={errors}");
        print!(" p50_us={:.1} p99_us={:.1} p999_us={:.1}", at(0.5), at(0.99), at(0.999));
        for (what, count) in &self.faults {
            print!(" {what}={count}");
        }
        println!();
    }
}

struct Clients<'a> {
    options: &'a Options,
    poll: Poll,
    connections: Vec<Connection>,
    connect: Vec<u8>,
    request: Vec<u8>,
    pattern: Pattern,
    buffer: Vec<u8>,
    /// Idle connections, and moments at which requests were due that found none.
    idle: Vec<usize>,
    overdue: VecDeque<Instant>,
    /// Begin no more.
    over: bool,
    tally: Tally,
}

/// Opens the connections, makes the requests, prints the result.
pub fn run(options: &Options) -> io::Result<()> {
    let Options { to, bytes, .. } = *options;
    let plain = options.tunnel || options.direct;
    let prefix = if plain { String::new() } else { format!("http://{to}") };
    let folder = if options.fresh { "/fresh" } else { "" };
    let (method, length) = if options.upload {
        ("POST", format!("Content-Length: {bytes}\r\n"))
    } else {
        ("GET", String::new())
    };
    let close = if options.once && !plain { "Connection: close\r\n" } else { "" };
    let request = format!(
        "{method} {prefix}{folder}/{bytes} HTTP/1.1\r\nHost: {to}\r\nUser-Agent: load/1\r\nAccept: */*\r\n{length}{close}{}\r\n",
        options.fields
    );
    let mut clients = Clients {
        options,
        poll: Poll::new()?,
        connections: Vec::with_capacity(options.connections),
        connect: format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n").into_bytes(),
        request: request.into_bytes(),
        pattern: Pattern::new(),
        buffer: vec![0; BUFFER_BYTES],
        idle: Vec::new(),
        overdue: VecDeque::new(),
        over: false,
        tally: Tally::default(),
    };
    let began = Instant::now();
    if options.hold {
        clients.hold()?
    } else {
        clients.load()?
    }
    clients.tally.print(began.elapsed().as_secs_f64());
    Ok(())
}

impl Clients<'_> {
    fn load(&mut self) -> io::Result<()> {
        let begin = Instant::now();
        let end = begin + Duration::from_secs_f64(self.options.seconds);
        let mut scheduled = 0_u64;
        for key in 0..self.options.connections {
            self.open(key)?;
            self.turns(key)?;
        }
        let mut events = Events::with_capacity(1024);
        let mut cut_short = Vec::new();
        loop {
            let now = Instant::now();
            self.over |= now >= end || self.tally.errors() >= ERRORS_MAX;
            while !self.over && self.options.rate > 0.0 {
                let due = begin + Duration::from_secs_f64(scheduled as f64 / self.options.rate);
                if due > now {
                    break;
                }
                scheduled += 1;
                match self.idle.pop() {
                    Some(key) => self.request(key, now)?,
                    None => self.overdue.push_back(due),
                }
            }
            let busy = |held: &Connection| matches!(held.phase, Phase::Asking | Phase::Exchange);
            if self.over && !self.connections.iter().any(busy) {
                return Ok(());
            }
            if now >= end + GRACE {
                self.connections
                    .iter()
                    .filter(|held| busy(held))
                    .for_each(|_| self.tally.fault("unfinished"));
                return Ok(());
            }
            let wait = u64::from(cut_short.is_empty()) * if self.options.rate > 0.0 { 1 } else { 20 };
            self.step(&mut events, &mut cut_short, Duration::from_millis(wait))?;
        }
    }

    /// Opens all connections and keeps them until standard input ends.
    fn hold(&mut self) -> io::Result<()> {
        let give_up = Instant::now() + Duration::from_secs_f64(self.options.seconds.max(60.0));
        let (mut events, mut cut_short) = (Events::with_capacity(1024), Vec::new());
        loop {
            let held = self.idle.len() + self.tally.errors() as usize;
            while self.connections.len() < self.options.connections.min(held + OPENING_MAX) {
                let key = self.connections.len();
                self.open(key)?;
                self.turns(key)?;
            }
            if held >= self.options.connections || Instant::now() > give_up {
                break;
            }
            self.step(&mut events, &mut cut_short, Duration::from_millis(20))?;
        }
        println!("held={} errors={}", self.idle.len(), self.tally.errors());
        io::copy(&mut io::stdin(), &mut io::sink())?;
        Ok(())
    }

    fn step(&mut self, events: &mut Events, cut_short: &mut Vec<usize>, wait: Duration) -> io::Result<()> {
        match self.poll.poll(events, Some(wait)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            Err(_) | Ok(()) => {}
        }
        let mut turns = std::mem::take(cut_short);
        for event in &*events {
            let Token(key) = event.token();
            let Some(held) = self.connections.get_mut(key) else { continue };
            held.readable |= event.is_readable() || event.is_read_closed();
            held.writable |= event.is_writable();
            held.ending |= event.is_read_closed() || event.is_error();
            turns.push(key);
        }
        for key in turns {
            if self.turns(key)? {
                cut_short.push(key);
            }
        }
        Ok(())
    }

    fn open(&mut self, key: usize) -> io::Result<()> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if self.options.sources > 1 {
            let source = [127, 0, 0, 2 + (key % usize::from(self.options.sources)) as u8];
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        // The first write reports a failure.
        let _ = socket.connect(&self.options.via.into());
        let mut stream = TcpStream::from_std(socket.into());
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(key), interest)?;
        let asks = self.options.tunnel && !self.options.direct;
        let connection = Connection {
            stream,
            phase: if asks { Phase::Asking } else { Phase::Idle },
            readable: false,
            writable: false,
            ending: false,
            sent: 0,
            uploaded: 0,
            head: Vec::new(),
            in_body: false,
            coming: 0,
            come: 0,
            last: false,
            served: 0,
            began: Instant::now(),
        };
        if key < self.connections.len() {
            self.connections[key] = connection;
        } else {
            self.connections.push(connection);
        }
        if !asks {
            self.rest(key, true);
        }
        Ok(())
    }

    /// Nothing is under way: the next request, now or when one is due.
    fn rest(&mut self, key: usize, opened: bool) {
        let options = self.options;
        let held = &mut self.connections[key];
        held.phase = Phase::Idle;
        let waits = if options.hold { options.tunnel || !opened } else { self.over || options.rate > 0.0 };
        if !waits {
            // The first request on a connection of its own pays for the connection.
            let began = if opened && options.once { held.began } else { Instant::now() };
            self.begin(key, began);
        } else if let Some(due) = self.overdue.pop_front().filter(|_| !self.over) {
            self.begin(key, due);
        } else {
            self.idle.push(key);
        }
    }

    fn begin(&mut self, key: usize, began: Instant) {
        let held = &mut self.connections[key];
        (held.phase, held.began) = (Phase::Exchange, began);
        (held.sent, held.uploaded, held.in_body) = (0, 0, false);
    }

    /// A request on an idle connection, or on a new one if that has been closed.
    fn request(&mut self, key: usize, began: Instant) -> io::Result<()> {
        if self.connections[key].phase == Phase::Closed {
            self.overdue.push_front(began);
            self.open(key)?;
        } else {
            self.begin(key, began);
        }
        self.turns(key).map(drop)
    }

    /// Goes on as far as it goes. True if it was cut short.
    fn turns(&mut self, key: usize) -> io::Result<bool> {
        let mut moved = 0;
        while moved < TURN_BYTES {
            match self.turn(key) {
                Ok(0) => return Ok(false),
                Ok(count) => moved += count,
                Err(fault) => {
                    if matches!(self.connections[key].phase, Phase::Idle | Phase::Closed) {
                        self.connections[key].phase = Phase::Closed;
                        return Ok(false);
                    }
                    if self.may_retry(key) {
                        self.open(key)?;
                    } else {
                        self.tally.fault(fault);
                        self.reopen(key)?;
                    }
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// A kept connection may be closed while the next request is on its way, which is no error (RFC 9112 section
    /// 9.3.1).
    fn may_retry(&mut self, key: usize) -> bool {
        let held = &self.connections[key];
        let retry = held.served > 0 && held.head.is_empty() && !held.in_body && !self.over;
        if retry && self.options.rate > 0.0 {
            self.overdue.push_front(held.began);
        }
        retry
    }

    fn reopen(&mut self, key: usize) -> io::Result<()> {
        self.connections[key].phase = Phase::Closed;
        if self.options.hold {
            return Ok(());
        }
        if self.over || (self.options.rate > 0.0 && self.overdue.is_empty()) {
            self.idle.push(key);
            return Ok(());
        }
        self.open(key)
    }

    fn turn(&mut self, key: usize) -> Result<u64, &'static str> {
        let sent = self.send(key)?;
        Ok(sent + self.receive(key)?)
    }

    fn send(&mut self, key: usize) -> Result<u64, &'static str> {
        let held = &mut self.connections[key];
        let text = match held.phase {
            Phase::Asking => &self.connect,
            Phase::Exchange => &self.request,
            Phase::Idle | Phase::Closed => return Ok(0),
        };
        let body = if held.phase == Phase::Exchange && self.options.upload { self.options.bytes } else { 0 };
        let rest = match &text[held.sent..] {
            [] => self.pattern.at(held.uploaded, body - held.uploaded),
            rest => rest,
        };
        if rest.is_empty() || !held.writable {
            return Ok(0);
        }
        match held.stream.write(rest) {
            Ok(count) => {
                if held.sent < text.len() {
                    held.sent += count;
                } else {
                    held.uploaded += count as u64;
                }
                Ok(count as u64)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                held.writable = false;
                Ok(0)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(1),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Err("refused"),
            Err(_) => Err("sending"),
        }
    }

    fn receive(&mut self, key: usize) -> Result<u64, &'static str> {
        let held = &mut self.connections[key];
        if !held.readable || held.phase == Phase::Closed {
            return Ok(0);
        }
        let count = match held.stream.read(&mut self.buffer) {
            Ok(0) => return Err("closed"),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                held.readable = false;
                return Ok(0);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(1),
            Err(_) => return Err("receiving"),
        };
        held.readable = count == self.buffer.len() || held.ending;
        if held.phase == Phase::Idle {
            return Err("unasked");
        }
        let mut bytes = &self.buffer[..count];
        if !held.in_body {
            let before = held.head.len();
            held.head.extend_from_slice(bytes);
            let Some(end) = head_end(&held.head) else { return Ok(count as u64) };
            bytes = &bytes[end - before..];
            let head = std::str::from_utf8(&held.head[..end]).map_err(|_| "head")?;
            if head.get(9..12) != Some("200") {
                return Err("status");
            }
            held.last = head.starts_with("HTTP/1.0")
                || field(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
            let length = field(head, "content-length").and_then(|text| text.parse().ok());
            held.head.clear();
            if held.phase == Phase::Asking {
                self.rest(key, true);
                return Ok(count as u64);
            }
            (held.coming, held.come, held.in_body) = (length.ok_or("length")?, 0, true);
        }
        if bytes.len() as u64 > held.coming {
            return Err("excess");
        }
        if !self.pattern.holds(held.come, bytes) {
            return Err("body");
        }
        held.come += bytes.len() as u64;
        held.coming -= bytes.len() as u64;
        if held.coming == 0 {
            self.finish(key).map_err(|_| "open")?;
        }
        Ok(count as u64)
    }

    fn finish(&mut self, key: usize) -> io::Result<()> {
        let held = &mut self.connections[key];
        held.served += 1;
        self.tally.done += 1;
        self.tally.bytes += held.come + held.uploaded;
        let taken = u32::try_from(held.began.elapsed().as_nanos()).unwrap_or(u32::MAX);
        self.tally.latencies_ns.push(taken);
        if self.options.once || (held.last && !self.options.hold) {
            self.reopen(key)
        } else {
            self.rest(key, false);
            Ok(())
        }
    }
}
