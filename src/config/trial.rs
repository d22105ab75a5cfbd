//! Runs one request through an engine of its own, without a client and without a byte to an origin, and keeps the
//! result.
//!
//! The same code in the same order as in the proxy judges the request. The name is really looked up. Each connection
//! that the engine asks for is recorded, and fails.

use super::guard::GuardFile;
use super::policy::{engine_settings, new_store, resolver_settings};
use super::settings::Settings;
use crate::engine::transaction::log_record::{LogRecord, TextSet};
use crate::engine::{Action, Engine, Event, ListenerId, PeerId, SocketError};
use crate::gateway::rules::Gateway;
use crate::guard::rules::Guard;
use crate::guard::state::{KEYS_MAX, State};
use crate::guard::store::StoreFailure;
use crate::guard::values::ValueAnswer;
use crate::part;
use crate::policy::Policy;
use crate::policy::acl::{Grant, Subject};
use crate::resolver::{self, Addresses, QueryId, Resolver, Transport};
use crate::time::Now;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Longest wait for one reply; the resolver has its own deadlines within it.
const REPLY_WITHIN: Duration = Duration::from_millis(50);

/// Longest time for a name server over TCP, from the connect to the end of the reply (chosen).
const TCP_WITHIN: Duration = Duration::from_secs(2);

/// Longest trial (chosen): the resolver ends before that.
const TRIAL_WITHIN: Duration = Duration::from_secs(60);

/// Memory for a cache that nothing will be stored in.
const CACHE_BYTES: u64 = 1 << 20;

/// By what a request is judged.
pub struct Judges {
    pub policy: Arc<Policy>,
    pub guard: Option<GuardFile>,
    /// The gateway, if the request is one to it.
    pub gateway: Option<part::guard::Shared<Gateway>>,
}

/// The request and its result.
pub struct Trial {
    engine: Engine,
    began: Instant,
    client: PeerId,
    queries: HashMap<QueryId, UdpSocket>,
    /// The addresses that would be dialled, in order.
    pub dialled: Vec<IpAddr>,
    /// The log record.
    pub record: Option<Box<LogRecord>>,
    /// The guard that has counted the request.
    pub guard: Option<part::guard::Shared<Guard>>,
}

impl Trial {
    /// Gives a request head from that client to the engine.
    pub fn run(
        settings: &Settings,
        Judges { policy, guard, gateway }: Judges,
        listeners: Vec<SocketAddr>,
        client: SocketAddr,
        head: &[u8],
        seed: [u64; 2],
        read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Trial {
        let mut settings = settings.clone();
        (settings.cache_size_bytes, settings.cache_max_object_bytes) = (CACHE_BYTES, 0);
        let (dns, hosts) = resolver_settings(&settings, read_file);
        let store = new_store(&settings, seed);
        let mut whole = engine_settings(&settings, &listeners, seed, store);
        whole.noted = TextSet::ALL;
        let guard = guard.map(|file| {
            // The counts of the running weir are not known in this process.
            let state = Arc::new(State::new(seed, KEYS_MAX, Box::new(|_| ())));
            let clouds = file.clouds();
            file.into_guard(&state, &clouds)
        });
        let guard = guard.and_then(part::guard::share);
        whole.guard = guard.clone();
        // The client comes to the first listener.
        if let Some(first) = whole.listeners.first_mut() {
            first.gateway = gateway.is_some();
        }
        whole.gateway = gateway;
        let mut engine = Engine::new(whole, policy, Resolver::new(dns, hosts, seed));
        let began = Instant::now();
        let client = engine.accept(now(began), ListenerId::default(), client);
        let mut trial = Trial {
            engine,
            began,
            client,
            queries: HashMap::new(),
            dialled: Vec::new(),
            record: None,
            guard,
        };
        trial.perform_actions();
        trial.ask(head);
        while trial.record.is_none() && trial.began.elapsed() < TRIAL_WITHIN {
            trial.receive_replies();
            let due = trial.engine.next_timeout_us();
            if due.is_some_and(|due| due <= now(began).monotonic_us) {
                trial.engine.handle_timeout(now(began));
                trial.perform_actions();
            }
        }
        trial
    }

    /// The addresses of the name that was looked up, and the grant by which they were judged; `None` if they are not cached.
    pub fn known_addresses(&mut self, subject: &Subject<'_>) -> Option<(Addresses, Grant)> {
        self.engine.known_addresses(now(self.began), subject)
    }

    fn ask(&mut self, head: &[u8]) {
        let mut rest = head;
        while !rest.is_empty() && self.record.is_none() {
            let Some(mut space) = self.engine.space(self.client) else { return };
            let count = space.fill(rest);
            rest = &rest[count..];
            self.engine.handle(now(self.began), self.client, Event::Received(count));
            self.perform_actions();
        }
    }

    /// Performs the actions of the engine, as far as a trial does.
    fn perform_actions(&mut self) {
        loop {
            if let Some(action) = self.engine.next_action() {
                self.carry_out(action);
            } else if self.engine.wants_write(self.client) {
                // The answer is consumed at once.
                let count: usize = self.engine.to_send(self.client).iter().map(|slice| slice.len()).sum();
                if count == 0 {
                    return;
                }
                self.engine.handle(now(self.began), self.client, Event::Sent(count));
            } else {
                return;
            }
        }
    }

    fn carry_out(&mut self, action: Action) {
        let now = now(self.began);
        match action {
            Action::Connect { peer, address } => {
                self.dialled.push(address.ip());
                self.engine.handle(now, peer, Event::Failed(SocketError::Refused));
            }
            Action::Resolver(action) => self.resolve(action),
            // A trial does not count in the store.
            Action::AskStore { job, .. } => {
                self.engine.handle_store_answer(now, job, Err(StoreFailure::Unreachable));
            }
            // A trial has no pages.
            Action::AskValue { job, .. } => {
                self.engine.handle_value_answer(now, job, ValueAnswer::Failed(StoreFailure::Unreachable));
            }
            // A check of a password fails: the user that the question names has credentials that need none.
            Action::Verify { job, .. } => drop(self.engine.handle_verified(now, job, false)),
            Action::Log(record) => drop(self.record.get_or_insert(record)),
            Action::ShutdownWrite(_)
            | Action::Close(_)
            | Action::Reset(_)
            | Action::ResetDelivered(_)
            | Action::CloseDelivered(_)
            | Action::SendToLoops(_) => {}
        }
    }

    fn resolve(&mut self, action: resolver::Action) {
        match action {
            resolver::Action::Done { .. } => {}
            resolver::Action::Cancel(query) => drop(self.queries.remove(&query)),
            resolver::Action::Send { query, server, transport: Transport::Tcp, message } => {
                match ask_over_tcp(server, message.as_bytes()) {
                    Ok(reply) => self.engine.handle_reply(now(self.began), query, &reply),
                    Err(_) => self.engine.handle_query_failure(now(self.began), query),
                }
            }
            resolver::Action::Send { query, server, transport: Transport::Udp, message } => {
                match ask_over_udp(server, message.as_bytes()) {
                    Ok(socket) => drop(self.queries.insert(query, socket)),
                    Err(_) => self.engine.handle_query_failure(now(self.began), query),
                }
            }
        }
    }

    /// Blocks on the sockets: the trial has nothing else to do.
    fn receive_replies(&mut self) {
        let mut heard = Vec::new();
        for (query, socket) in &self.queries {
            let mut reply = vec![0; 4096];
            match socket.recv(&mut reply) {
                Ok(count) => heard.push((*query, Some(reply[..count].to_vec()))),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                }
                Err(_) => heard.push((*query, None)),
            }
        }
        for (query, reply) in heard {
            match reply {
                Some(message) => self.engine.handle_reply(now(self.began), query, &message),
                None => self.engine.handle_query_failure(now(self.began), query),
            }
            self.perform_actions();
        }
        if self.queries.is_empty() && self.record.is_none() {
            std::thread::sleep(REPLY_WITHIN);
        }
    }
}

fn now(began: Instant) -> Now {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let since_us = began.elapsed().as_micros() as u64;
    Now { monotonic_us: since_us, unix_us: unix.as_micros() as u64, common_us: since_us }
}

fn ask_over_udp(server: SocketAddr, message: &[u8]) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(REPLY_WITHIN))?;
    socket.send(message)?;
    Ok(socket)
}

fn ask_over_tcp(server: SocketAddr, message: &[u8]) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + TCP_WITHIN;
    let mut stream = TcpStream::connect_timeout(&server, TCP_WITHIN)?;
    stream.set_write_timeout(Some(TCP_WITHIN))?;
    stream.write_all(&[&(message.len() as u16).to_be_bytes(), message].concat())?;
    let mut len = [0; 2];
    read_exact_until(&mut stream, &mut len, deadline)?;
    let mut reply = vec![0; usize::from(u16::from_be_bytes(len))];
    read_exact_until(&mut stream, &mut reply, deadline)?;
    Ok(reply)
}

/// Fills a buffer. The deadline counts for all of it: a name server may send a byte at a time.
fn read_exact_until(stream: &mut TcpStream, mut buffer: &mut [u8], deadline: Instant) -> io::Result<()> {
    while !buffer.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => buffer = &mut buffer[count..],
        }
    }
    Ok(())
}
