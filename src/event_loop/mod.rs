//! The shell: for each loop one thread, one mio poll, and the sockets of one engine.
//!
//! Sockets are registered once for both directions, edge-triggered. What epoll reports is kept as readiness bits; the
//! engine says what it wants; a turn acts on both, until one is exhausted or the turn's budget is. A short read or write
//! clears the bit without asking the system again. What a turn leaves goes to the engine's run queue, which is also how
//! one side of an exchange hands over to the other without a system call between them.

mod crew;
mod listener;
mod processors;
mod query;
mod remote;
mod scoreboard;
mod socket;
mod verifier;

pub use crew::{Crew, Failure, Worker};
pub use listener::{Listener, bind, bind_for};
pub use remote::{Command, Remote};

use crate::engine::{Action, Engine, Event, Metrics, PeerId, SocketError};
use crate::log::format::Format;
use crate::log::writer::Feed;
use crate::resolver;
use crate::time::Now;
use mio::{Events, Poll, Token};
use query::Queries;
use remote::Inbox;
use scoreboard::{Round, Score, Scoreboard};
use socket::{Received, Sent, Socket};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use verifier::Verifier;

/// Events taken from the system at a time (chosen).
const EVENTS_MAX: usize = 1024;

/// Bytes that one peer may move in one turn before it goes to the end of the run queue (measured: with 256 KB a small
/// exchange beside 8 bulk tunnels waits 5 ms, with 1 MB 19 ms).
const TURN_BYTES: usize = 256 * 1024;

/// Turns between two looks at the system (chosen).
const TURNS_MAX: usize = 256;

/// Connections taken from one listener between two looks at the system (chosen).
const ACCEPTS_MAX: usize = 64;

/// How long accepting pauses when descriptors or memory are short (chosen).
const PAUSE: Duration = Duration::from_millis(100);

/// A lasting shortage is told this often (chosen).
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Tokens of peers are slab indices; everything else is above them.
const WAKER: Token = Token(usize::MAX);
const LISTENERS: usize = usize::MAX / 4 * 3;
const QUERIES: usize = usize::MAX / 2;

/// Where log entries go, and in which form.
#[derive(Clone, Debug)]
pub struct Journal {
    /// The writer's end.
    pub feed: Feed,
    /// One of the formats.
    pub format: Format,
}

/// One loop.
pub struct EventLoop {
    poll: Poll,
    engine: Engine,
    sockets: Vec<Option<Socket>>,
    listeners: Vec<Listener>,
    queries: Queries,
    inbox: Inbox,
    remote: Remote,
    /// Its number among the loops of the process.
    index: usize,
    others: Vec<Remote>,
    scoreboard: Arc<Scoreboard>,
    verifier: Verifier,
    journal: Journal,
    began: Instant,
    now: Now,
    paused_until_us: Option<u64>,
    quiet_until_us: u64,
    statistics_every: Duration,
    statistics_due_us: u64,
    shortages: u64,
    /// Until then the other loops are not asked again to help out.
    asked_until_us: u64,
}

impl EventLoop {
    /// A loop over an engine and its listeners, alone until it is told of others.
    fn new(
        engine: Engine,
        listeners: Vec<Listener>,
        journal: Journal,
        verifier: Verifier,
    ) -> io::Result<(EventLoop, Remote)> {
        let poll = Poll::new()?;
        let (remote, inbox) = remote::channel(poll.registry(), WAKER)?;
        let mut listeners = listeners;
        for (index, listener) in listeners.iter_mut().enumerate() {
            listener.register(poll.registry(), Token(LISTENERS + index))?;
        }
        let event_loop = EventLoop {
            poll,
            engine,
            sockets: Vec::new(),
            listeners,
            queries: Queries::default(),
            inbox,
            remote: remote.clone(),
            index: 0,
            others: Vec::new(),
            scoreboard: Scoreboard::new(1),
            verifier,
            journal,
            began: Instant::now(),
            now: Now::default(),
            paused_until_us: None,
            quiet_until_us: 0,
            statistics_every: Duration::ZERO,
            statistics_due_us: 0,
            shortages: 0,
            asked_until_us: 0,
        };
        Ok((event_loop, remote))
    }

    /// The same as one of several. It has statistics logged every so often, never if zero.
    fn in_crew(
        self,
        index: usize,
        others: Vec<Remote>,
        scoreboard: Arc<Scoreboard>,
        statistics_every: Duration,
    ) -> EventLoop {
        let statistics_due_us = statistics_every.as_micros() as u64;
        EventLoop { index, others, scoreboard, statistics_every, statistics_due_us, ..self }
    }

    /// Runs until it has drained or is told to quit. Returns the final counters.
    fn run(mut self) -> io::Result<Metrics> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        self.refresh_time();
        loop {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Ok(()) | Err(_) => {}
            }
            self.refresh_time();
            let mut quit = false;
            for event in &events {
                match event.token() {
                    WAKER => quit |= self.obey(),
                    Token(token) if token >= LISTENERS => {
                        // Gone, if this very round brought the order to stop.
                        if let Some(listener) = self.listeners.get_mut(token - LISTENERS) {
                            listener.ready = true;
                        }
                    }
                    Token(token) if token >= QUERIES => self.serve_query(token - QUERIES),
                    Token(token) => self.note_readiness(token, event),
                }
            }
            self.take_turns();
            self.tick();
            // Last, when everything that could make room has been done.
            self.accept();
            self.journal.feed.flush();
            self.offer_room();
            if quit {
                self.engine.cut(self.now);
                self.act();
            }
            if quit || (self.engine.is_draining() && self.engine.is_empty()) {
                self.report();
                self.journal.feed.flush();
                return Ok(self.engine.metrics());
            }
        }
    }

    /// One clock reading per round, for everything that happens in it.
    fn refresh_time(&mut self) {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.now =
            Now { monotonic_us: self.began.elapsed().as_micros() as u64, unix_us: unix.as_micros() as u64 };
    }

    fn timeout(&self) -> Option<Duration> {
        let waiting = self.paused_until_us.is_none() && self.listeners.iter().any(|listener| listener.ready);
        if self.engine.has_runnable() || (waiting && self.engine.may_accept()) {
            return Some(Duration::ZERO);
        }
        let statistics = (!self.statistics_every.is_zero()).then_some(self.statistics_due_us);
        let due =
            [self.engine.next_timeout_us(), self.paused_until_us, statistics].into_iter().flatten().min()?;
        // Rounded up: waking a moment too early would be waking twice.
        Some(Duration::from_millis(due.saturating_sub(self.now.monotonic_us).div_ceil(1000)))
    }

    /// Timers, and what they lead to.
    fn tick(&mut self) {
        if self.engine.next_timeout_us().is_some_and(|due| due <= self.now.monotonic_us) {
            self.engine.handle_timeout(self.now);
            self.act();
        }
        if !self.statistics_every.is_zero() && self.statistics_due_us <= self.now.monotonic_us {
            self.log_statistics();
            self.statistics_due_us = self.now.monotonic_us + self.statistics_every.as_micros() as u64;
        }
    }

    /// Has the counters of all loops logged.
    fn log_statistics(&self) {
        let round = Round::begin(&self.scoreboard);
        self.tell_others(&Command::Report(round.clone()));
        self.report();
    }

    /// Puts the counters where those of all loops are added up.
    fn report(&self) {
        let score = Score {
            metrics: self.engine.metrics(),
            shortages: self.shortages,
            lines_lost: self.journal.feed.dropped_lines(),
        };
        self.scoreboard.put(self.index, score);
    }

    fn tell_others(&self, command: &Command) {
        for other in &self.others {
            other.send(command.clone());
        }
    }

    /// Where all loops were full, clients may wait with another one for the room that was made here.
    fn offer_room(&mut self) {
        if self.engine.take_room_made() {
            self.others.iter().for_each(Remote::wake);
        }
    }

    /// Idle origin connections of other loops hold descriptors, too.
    fn ask_others_to_shed(&mut self) {
        if self.now.monotonic_us >= self.asked_until_us {
            self.asked_until_us = self.now.monotonic_us + PAUSE.as_micros() as u64;
            self.tell_others(&Command::ShedIdleOrigins);
        }
    }

    /// Carries out what other threads have asked for. True to stop at once.
    fn obey(&mut self) -> bool {
        let mut quit = false;
        while let Some(command) = self.inbox.next() {
            match command {
                Command::SetPolicy(policy) => self.engine.set_policy(policy),
                Command::SetResolver(settings, hosts) => self.engine.set_resolver(self.now, settings, hosts),
                Command::Report(_round) => self.report(),
                Command::Verified(job, right) => {
                    if let Some(finding) = self.engine.handle_verified(self.now, job, right) {
                        self.tell_others(&Command::Learn(finding));
                    }
                }
                Command::Learn(finding) => self.engine.handle_finding(self.now, finding),
                Command::ShedIdleOrigins => drop(self.engine.shed_idle_origins()),
                Command::Drain => {
                    self.listeners.clear();
                    self.engine.drain(self.now);
                }
                Command::Quit => quit = true,
            }
            self.act();
        }
        quit
    }

    /// Takes new connections while the engine has room for them.
    fn accept(&mut self) {
        if self.paused_until_us.is_some_and(|until| self.now.monotonic_us < until) {
            return;
        }
        self.paused_until_us = None;
        for index in 0..self.listeners.len() {
            for _ in 0..ACCEPTS_MAX {
                if !self.listeners[index].ready || !self.engine.may_accept() {
                    break;
                }
                match self.listeners[index].accept() {
                    Ok(Some((stream, address))) => self.take_client(stream, address),
                    Ok(None) => break,
                    Err(error) => {
                        self.pause(&error);
                        return;
                    }
                }
            }
        }
    }

    /// Descriptors or memory are short: idle origin connections go, and accepting waits. The listener stays ready, and
    /// nobody spins.
    fn pause(&mut self, error: &io::Error) {
        self.shortages += 1;
        if self.now.monotonic_us >= self.quiet_until_us {
            self.quiet_until_us = self.now.monotonic_us + WARN_EVERY.as_micros() as u64;
            log::warn!("cannot take connections ({error}): trying again every {} ms", PAUSE.as_millis());
        }
        self.engine.shed_idle_origins();
        self.act();
        self.ask_others_to_shed();
        self.paused_until_us = Some(self.now.monotonic_us + PAUSE.as_micros() as u64);
    }

    fn take_client(&mut self, stream: mio::net::TcpStream, address: std::net::SocketAddr) {
        let id = self.engine.accept(self.now, address);
        let socket = Socket::accepted(stream);
        if let Err(error) = self.install(id, socket) {
            log::warn!("cannot watch a new connection: {error}");
            self.engine.handle(self.now, id, Event::Failed(SocketError::Exhausted));
        }
        self.engine.wake(id);
        self.act();
    }

    fn install(&mut self, id: PeerId, mut socket: Socket) -> io::Result<()> {
        socket.register(self.poll.registry(), Token(id.index()))?;
        if id.index() >= self.sockets.len() {
            self.sockets.resize_with(id.index() + 1, || None);
        }
        self.sockets[id.index()] = Some(socket);
        Ok(())
    }

    fn note_readiness(&mut self, token: usize, event: &mio::event::Event) {
        let Some(Some(socket)) = self.sockets.get_mut(token) else { return };
        socket.note(event);
        let id = PeerId::from_index(token);
        if self.engine.is_idle_origin(id) {
            // Before anybody reuses it in this very round.
            self.take_turn(id);
        } else {
            self.engine.wake(id);
        }
    }

    fn take_turns(&mut self) {
        for _ in 0..TURNS_MAX {
            let Some(id) = self.engine.next_runnable() else { return };
            self.take_turn(id);
        }
    }

    /// Lets one peer read and write as far as its socket, the engine and the budget allow.
    fn take_turn(&mut self, id: PeerId) {
        let mut budget = TURN_BYTES;
        loop {
            // Receiving comes first: what an origin said before it was sent anything is no answer (rule 33).
            let moved = self.establish(id) + self.receive(id) + self.send(id);
            if moved == 0 {
                break;
            }
            budget = budget.saturating_sub(moved);
            if budget == 0 {
                self.engine.wake(id);
                return;
            }
        }
        // Nobody reads from it now, so nobody would notice that it is dead.
        let Some(Some(socket)) = self.sockets.get_mut(id.index()) else { return };
        if socket.hung_up && !self.engine.wants_read(id) {
            if let Some(error) = socket.take_error() {
                self.engine.handle(self.now, id, Event::Failed(error));
                self.act();
            }
        }
    }

    /// Finds out whether a connection that was asked for stands.
    fn establish(&mut self, id: PeerId) -> usize {
        let Some(Some(socket)) = self.sockets.get_mut(id.index()) else { return 0 };
        let event = match socket.establish() {
            None => return 0,
            Some(Ok(())) => Event::Connected,
            Some(Err(error)) => Event::Failed(error),
        };
        self.engine.handle(self.now, id, event);
        self.act();
        1
    }

    fn send(&mut self, id: PeerId) -> usize {
        let Some(Some(socket)) = self.sockets.get_mut(id.index()) else { return 0 };
        if !socket.writable || !self.engine.wants_write(id) {
            return 0;
        }
        let event = match socket.send(&self.engine.to_send(id)) {
            Sent::Nothing => return 0,
            Sent::Bytes(count) => Event::Sent(count),
            Sent::Failed(error) => Event::SendFailed(error),
        };
        self.engine.handle(self.now, id, event);
        self.act();
        if let Event::Sent(count) = event { count } else { 1 }
    }

    fn receive(&mut self, id: PeerId) -> usize {
        let Some(Some(socket)) = self.sockets.get_mut(id.index()) else { return 0 };
        if !socket.readable {
            return 0;
        }
        let Some(space) = self.engine.space(id) else { return 0 };
        let event = match socket.receive(space) {
            Received::Nothing => {
                self.engine.return_space(id);
                return 0;
            }
            Received::Bytes(count) => Event::Received(count),
            Received::End => Event::EndOfStream,
            Received::Failed(error) => Event::Failed(error),
        };
        if !matches!(event, Event::Received(_)) {
            self.engine.return_space(id);
        }
        self.engine.handle(self.now, id, event);
        self.act();
        if let Event::Received(count) = event { count } else { 1 }
    }

    /// Carries out what the engine wants done.
    fn act(&mut self) {
        while let Some(action) = self.engine.next_action() {
            match action {
                Action::Connect { peer, address } => {
                    let connected = Socket::connect(address)
                        .and_then(|socket| self.install(peer, socket).map_err(SocketError::from));
                    if let Err(error) = connected {
                        self.shortages += u64::from(error == SocketError::Exhausted);
                        if error == SocketError::Exhausted && self.engine.shed_idle_origins() {
                            // Again, when those are closed.
                            self.engine.defer(Action::Connect { peer, address });
                        } else {
                            if error == SocketError::Exhausted {
                                self.ask_others_to_shed();
                            }
                            self.engine.handle(self.now, peer, Event::Failed(error));
                        }
                    }
                }
                Action::ShutdownWrite(id) => {
                    if let Some(Some(socket)) = self.sockets.get(id.index()) {
                        socket.shutdown_write();
                    }
                }
                Action::Close(id) => drop(self.take_socket(id)),
                Action::Reset(id) => {
                    if let Some(socket) = self.take_socket(id) {
                        socket.reset();
                    }
                }
                Action::Verify { job, wrong, work } => {
                    self.verifier.verify(&self.remote, job, wrong, work);
                }
                Action::Log(entry) => {
                    self.journal.feed.append_entry(self.journal.format, &entry);
                    self.engine.recycle(entry);
                }
                Action::Resolver(resolver::Action::Send { query, server, transport, message }) => {
                    let sent = self.queries.begin(
                        self.poll.registry(),
                        QUERIES,
                        query,
                        server,
                        transport,
                        message.as_bytes(),
                    );
                    if let Err(error) = sent {
                        log::debug!("cannot ask {server}: {error}");
                        self.engine.handle_query_failure(self.now, query);
                    }
                }
                Action::Resolver(resolver::Action::Abandon(query)) => self.queries.end(query),
                Action::Resolver(resolver::Action::Done { .. }) => {}
            }
        }
    }

    fn take_socket(&mut self, id: PeerId) -> Option<Socket> {
        self.sockets.get_mut(id.index())?.take()
    }

    /// Something arrived for a DNS query.
    fn serve_query(&mut self, index: usize) {
        while let Some((query, reply)) = self.queries.receive(index) {
            match reply {
                Ok(message) => self.engine.handle_reply(self.now, query, &message),
                Err(error) => {
                    log::debug!("a name server failed: {error}");
                    self.engine.handle_query_failure(self.now, query);
                }
            }
            self.act();
        }
    }
}
