//! The shell: for each loop one thread, one mio poll, and the sockets of one engine.
//!
//! Sockets are registered once for both directions, edge-triggered. Reports of epoll are kept as readiness bits; the engine wants to
//! read or write; a turn acts where both agree, until one is exhausted or the turn's budget is. A short read or write clears the bit
//! without another system call. The work that a turn leaves goes to the engine's run queue. One side of an exchange hands over to the
//! other through the same queue, without a system call.

mod accepting;
mod asking;
mod cache_file;
mod clock;
mod clouds;
#[cfg(feature = "admin")]
mod control_socket;
mod delivering;
mod dialling;
mod event_sink;
mod guard_link;
#[cfg(feature = "admin")]
mod handover;
mod health;
mod health_checks;
mod listener;
mod memory;
mod message;
#[cfg(feature = "admin")]
mod metrics_listener;
#[cfg(all(target_os = "linux", feature = "splice"))]
mod page_pipes;
mod pressure;
mod processors;
mod query;
mod relief;
mod reserved;
mod scoreboard;
mod shared;
mod shortage;
mod socket;
mod splice;
mod stalled;
pub mod stores;
pub mod threads;
mod turns;
mod verifier;
#[cfg(feature = "admin")]
mod visits;
mod workers;

pub use cache_file::{CacheFile, Persister, parent};
pub use clock::{Clock, HostClock, Time};
pub use clouds::KnownClouds;
#[cfg(feature = "cloud")]
pub use clouds::{CloudRefresher, CloudSources};
#[cfg(feature = "admin")]
pub use control_socket::{ControlSocket, Predecessor, Reply, SocketFile, ask as ask_daemon, take_over};
pub use event_sink::{EventSink, EventTarget, check_event_target};
pub use guard_link::GuardLink;
use guard_link::StoreQuestions;
pub use health::Health;
pub use health_checks::HealthChecks;
pub use listener::{Listener, bind, bind_for, try_bind};
pub use message::{Remote, WorkerMessage};
#[cfg(feature = "admin")]
pub use metrics_listener::MetricsListener;
pub use pressure::MemoryGauge;
pub use scoreboard::{GuardSources, Round, Scoreboard};
pub use shared::AccessLog;
pub use splice::AVAILABLE as SPLICE_AVAILABLE;
pub use stores::StoreSettings;
pub use workers::{Failure, Worker, Workers};

use crate::engine::{Action, Engine, Event, PeerId, Settings, Splice, StoreJob};
use crate::log::format::Format;
use crate::resolver;
use crate::time::Now;
use delivering::{Closing, Delivering};
use message::Inbox;
use mio::{Events, Poll, Token};
use query::Queries;
use scoreboard::Score;
use shared::SharedParts;
use shortage::Shortage;
use socket::{Received, Sent, Socket};
use splice::{Moved, Pipes};
use stalled::Stalled;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;
use verifier::Verifier;

/// Events taken from the system at a time (chosen).
const EVENTS_MAX: usize = 1024;

/// Bytes that one peer may move in one turn before it goes to the end of the run queue (measured: with 256 KB a small
/// exchange beside 8 bulk tunnels waits 5 ms, with 1 MB 19 ms).
const TURN_BYTES: usize = 256 * 1024;

/// Turns between two looks at the system (chosen).
const TURNS_MAX: usize = 256;

/// How often the loop checks whether memory of a burst can be returned (chosen: long beside the pauses of a busy time, short
/// beside the patience of an operator).
const SHRINK_EVERY: Duration = Duration::from_secs(2);

/// Rounds for which deadlines may wait for peers with unread bytes (chosen: enough for 16,384 peers to get their turns).
const ROUNDS_BEFORE_DEADLINES_MAX: u32 = 64;

/// Tokens of peers are slab indices; all other tokens are higher.
const WAKER: Token = Token(usize::MAX);
const LISTENERS: usize = usize::MAX / 4 * 3;
const QUERIES: usize = usize::MAX / 2;

/// One loop.
pub struct EventLoop {
    poll: Poll,
    events: Events,
    engine: Engine,
    sockets: Vec<Option<Socket>>,
    pipes: Pipes,
    listeners: Vec<Listener>,
    queries: Queries,
    inbox: Inbox,
    remote: Remote,
    /// The index among the loops of the process.
    index: usize,
    others: Vec<Remote>,
    scoreboard: Arc<Scoreboard>,
    verifier: Verifier,
    store_questions: StoreQuestions,
    shortage: Shortage,
    stalled: Stalled,
    delivering: Delivering,
    access_log: AccessLog,
    /// The clock that all loops have in common.
    clock: Clock,
    /// The time of the clock when the loop began, plus the time during which the process stood still.
    began: Duration,
    now: Now,
    turns: Turns,
    statistics: StatisticsTimer,
    returns: MemoryReturns,
}

/// What the next turn needs to know of those before.
#[derive(Debug, Default)]
struct Turns {
    /// The time since the last one that the host of the loop took for its own work.
    host_time: Duration,
    /// The last one took as many events as it could.
    more_events: bool,
    /// Turns since no peer had unread bytes.
    with_unread_peers: u32,
}

/// When a line of statistics is due.
#[derive(Debug, Default)]
struct StatisticsTimer {
    /// Zero for never.
    every: Duration,
    due_us: u64,
}

/// How unused memory is given back.
struct MemoryReturns {
    /// The time of the next check for unused memory, if there may be some.
    due_us: Option<u64>,
    /// Whether the allocator may be asked to return memory.
    trims: bool,
}

impl EventLoop {
    /// Closes the listeners, deregistered: if another process has the socket, a close does not end epoll's reports (epoll(7)).
    fn close_listeners(&mut self) {
        for mut listener in self.listeners.drain(..) {
            let _ = listener.deregister(self.poll.registry());
        }
    }

    /// A loop over an engine and its listeners, without other loops.
    fn new(
        engine: Engine,
        mut listeners: Vec<Listener>,
        access_log: AccessLog,
        shared: SharedParts,
        trims: bool,
    ) -> io::Result<(Box<EventLoop>, Remote)> {
        let SharedParts { verifier, guard_link } = shared;
        let clock = guard_link.clock().clone();
        let poll = Poll::new()?;
        let (remote, inbox) = message::inbox(poll.registry(), WAKER)?;
        for (index, listener) in listeners.iter_mut().enumerate() {
            listener.register(poll.registry(), Token(LISTENERS + index))?;
        }
        let mut shell = Box::new(EventLoop {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            engine,
            sockets: Vec::new(),
            pipes: Pipes::new(1),
            listeners,
            queries: Queries::default(),
            inbox,
            remote: remote.clone(),
            index: 0,
            others: Vec::new(),
            scoreboard: Scoreboard::new(1, None),
            verifier,
            store_questions: StoreQuestions::new(guard_link),
            shortage: Shortage::default(),
            stalled: Stalled::default(),
            delivering: Delivering::default(),
            access_log,
            began: clock.elapsed(),
            clock,
            now: Now::default(),
            turns: Turns::default(),
            statistics: StatisticsTimer::default(),
            returns: MemoryReturns { due_us: None, trims },
        });
        shell.refresh_time(None);
        Ok((shell, remote))
    }

    /// Makes this loop one of several. It logs statistics at that interval; zero for never.
    fn set_index(
        &mut self,
        index: usize,
        others: Vec<Remote>,
        scoreboard: Arc<Scoreboard>,
        statistics_every: Duration,
    ) {
        self.pipes = Pipes::new(others.len() + 1);
        (self.index, self.others, self.scoreboard) = (index, others, scoreboard);
        self.statistics =
            StatisticsTimer { every: statistics_every, due_us: statistics_every.as_micros() as u64 };
    }

    /// One turn: waits for events, at most `timeout`, and handles a bounded number of them. True if it was the last turn: the
    /// loop has drained, or was told to quit.
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        let due = self.timeout();
        let wanted = due.map(|due| due.saturating_sub(self.turns.host_time));
        let timeout = [wanted, timeout].into_iter().flatten().min();
        let interrupted = match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            Err(error) => return Err(error),
        };
        let stood_still = self.refresh_time(due);
        let (count, quit) = self.take_events();
        self.turns.more_events = count == EVENTS_MAX;
        self.retry_stalled();
        self.delivering.look(self.now.monotonic_us);
        self.take_turns();
        self.tick(interrupted || stood_still || self.turns.more_events);
        self.shrink();
        self.relieve();
        // Last, after everything that could make room.
        self.accept();
        self.ask_store();
        self.access_log.sender.flush();
        self.offer_room();
        if quit {
            self.engine.cut(self.now);
            self.carry_out_actions();
        }
        let waits = self.delivering.due_us().is_some() && !self.engine.drain_is_over(self.now);
        let ended = quit || (self.engine.is_draining() && self.engine.is_empty() && !waits);
        if ended {
            self.close_listeners();
            self.delivering.shed();
            self.report();
            self.access_log.sender.flush();
        }
        Ok(ended)
    }

    /// Records the events of the system. Returns their number, and whether the loop is to end at once.
    fn take_events(&mut self) -> (usize, bool) {
        // Put back below: handling an event may need the whole loop.
        let events = mem::replace(&mut self.events, Events::with_capacity(0));
        let (mut count, mut quit) = (0, false);
        for event in &events {
            count += 1;
            match event.token() {
                WAKER => quit |= self.obey(),
                Token(token) if token >= LISTENERS => {
                    // The listener is missing if this round brought the order to stop.
                    if let Some(listener) = self.listeners.get_mut(token - LISTENERS) {
                        listener.ready = true;
                    }
                }
                Token(token) if token >= QUERIES => self.serve_query(token - QUERIES),
                Token(token) => self.note_readiness(token, event),
            }
        }
        self.events = events;
        (count, quit)
    }

    /// Timers, and their consequences. No peer is cut off whose bytes have arrived and wait to be read: deadlines wait for
    /// the turns of ready peers, and for events that the system has not reported yet, within a bound.
    fn tick(&mut self, more_events: bool) {
        let has_unread = more_events || self.engine.has_runnable();
        if has_unread && self.turns.with_unread_peers < ROUNDS_BEFORE_DEADLINES_MAX {
            self.turns.with_unread_peers += 1;
            return;
        }
        self.turns.with_unread_peers = 0;
        if self.engine.next_timeout_us().is_some_and(|due| due <= self.now.monotonic_us) {
            self.engine.handle_timeout(self.now);
            self.carry_out_actions();
        }
        if !self.statistics.every.is_zero() && self.statistics.due_us <= self.now.monotonic_us {
            self.log_statistics();
            self.statistics.due_us = self.now.monotonic_us + self.statistics.every.as_micros() as u64;
        }
    }

    /// Returns memory after a burst, and memory of the cache.
    fn shrink(&mut self) {
        // No budget counts the pages that pipes keep of dropped bodies.
        self.pipes.tidy();
        if self.engine.should_trim() {
            self.trim();
        }
        if self.returns.due_us.is_some_and(|due| due <= self.now.monotonic_us) {
            self.returns.due_us = None;
            self.pipes.rest();
            if self.engine.shrink() {
                let used = self.sockets.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
                self.sockets.truncate(used);
                self.sockets.shrink_to_fit();
                self.trim();
            }
        }
        // Checked again after the interval: in an idle process nothing else would wake the loop.
        if self.returns.due_us.is_none() && (self.engine.may_shrink() || self.pipes.are_kept()) {
            self.returns.due_us = Some(self.now.monotonic_us + SHRINK_EVERY.as_micros() as u64);
        }
    }

    /// Logs the counters of all loops, if one has changed.
    fn log_statistics(&self) {
        let order = WorkerMessage::Report(Some(Round::begin(&self.scoreboard, false)));
        self.tell_others(&order);
        self.report();
    }

    /// Puts the counters on the board, and has the other loops do so when they turn.
    pub fn report_with_others(&self) {
        self.tell_others(&WorkerMessage::Report(None));
        self.report();
    }

    /// Puts the counters on the board, where those of all loops are added up.
    fn report(&self) {
        let score = Score {
            metrics: self.engine.metrics(),
            shortages: self.shortage.count,
            lines_lost: self.access_log.sender.dropped_lines(),
        };
        self.scoreboard.put(self.index, score);
    }

    fn tell_others(&self, message: &WorkerMessage) {
        for other in &self.others {
            other.send(message.clone());
        }
    }

    /// If all loops were full, clients of another loop may wait for the room that was made here.
    fn offer_room(&mut self) {
        if self.engine.take_capacity_freed() {
            self.tell_others(&WorkerMessage::CapacityFreed);
        }
    }

    /// Carries out the messages of other threads. True to stop at once.
    fn obey(&mut self) -> bool {
        let (mut quit, mut bans) = (false, false);
        while let Some(message) = self.inbox.next() {
            match message {
                WorkerMessage::SetPolicy(policy) => self.engine.set_policy(policy),
                WorkerMessage::SetResolver(settings, hosts) => {
                    self.engine.set_resolver(self.now, settings, hosts)
                }
                WorkerMessage::NameFound(name, verdict) => {
                    self.engine.name_found(self.now, &name, verdict);
                }
                WorkerMessage::FindName(name) => self.engine.find_name(self.now, &name),
                WorkerMessage::SetSettings(settings, format, every) => {
                    self.set_settings(&settings, format, every)
                }
                WorkerMessage::Settled(_sender) => {}
                WorkerMessage::Report(_round) => self.report(),
                WorkerMessage::Verified(job, None) => self.engine.handle_verification_failure(self.now, job),
                WorkerMessage::Verified(job, Some(right)) => {
                    if let Some(finding) = self.engine.handle_verified(self.now, job, right) {
                        self.tell_others(&WorkerMessage::Finding(finding));
                    }
                }
                WorkerMessage::Fill(message) => self.engine.handle_message(self.now, message),
                WorkerMessage::StoreAnswered(replies) => {
                    for (job, answers) in replies.iter() {
                        self.engine.handle_store_answer(self.now, StoreJob::from_bits(job), answers);
                    }
                }
                WorkerMessage::Value(job, answer) => self.engine.handle_value_answer(self.now, job, answer),
                WorkerMessage::Bans => bans = true,
                WorkerMessage::Unblock(client) => self.engine.handle_unblock(client),
                WorkerMessage::Finding(finding) => self.engine.handle_finding(self.now, finding),
                WorkerMessage::ShedIdleUpstreams => {
                    self.delivering.shed();
                    self.engine.shed_idle_upstreams();
                }
                WorkerMessage::CapacityFreed => {} // The turn ends with a look at the listeners.
                WorkerMessage::Drain => {
                    self.close_listeners();
                    self.engine.drain(self.now);
                }
                WorkerMessage::Quit => quit = true,
            }
            self.carry_out_actions();
        }
        // Done once for all reports of bans.
        if bans {
            self.engine.handle_bans(self.now);
            self.carry_out_actions();
        }
        quit
    }

    fn set_settings(&mut self, settings: &Settings, format: Format, statistics_every: Duration) {
        let loops = self.others.len() + 1;
        self.engine.set_settings(self.now, settings.divided(self.index, loops));
        self.access_log.format = format;
        // The first loop asks all loops at the interval.
        if self.index == 0 && self.statistics.every != statistics_every {
            self.statistics.every = statistics_every;
            self.statistics.due_us = self.now.monotonic_us + statistics_every.as_micros() as u64;
        }
    }

    fn install(&mut self, id: PeerId, mut socket: Socket) -> io::Result<()> {
        socket.register(self.poll.registry(), Token(id.token()))?;
        if id.index() >= self.sockets.len() {
            self.sockets.resize_with(id.index() + 1, || None);
        }
        self.sockets[id.index()] = Some(socket);
        Ok(())
    }

    fn note_readiness(&mut self, token: usize, event: &mio::event::Event) {
        let id = PeerId::from_token(token);
        // An event of a socket that was closed in this round must not reach its successor in the slot.
        if self.engine.connection_at(id.index()) != Some(id) {
            return;
        }
        let Some(Some(socket)) = self.sockets.get_mut(id.index()) else { return };
        socket.note(event);
        if self.engine.is_idle_upstream(id) {
            // Before a request of this round reuses the connection.
            self.take_turn(id);
        } else {
            self.engine.wake(id);
        }
    }

    /// Tries stalled writes again, if it is time for that.
    fn retry_stalled(&mut self) {
        if !self.stalled.take_due(self.now.monotonic_us) {
            return;
        }
        for (index, socket) in self.sockets.iter_mut().enumerate() {
            let Some(socket) = socket.as_mut().filter(|socket| socket.has_stalled()) else { continue };
            if let Some(id) = self.engine.connection_at(index).filter(|id| self.engine.wants_write(*id)) {
                socket.writable = true;
                self.engine.wake(id);
            }
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
        self.engine.begin_turn(id);
        let done = self.serve_within(id, TURN_BYTES);
        self.engine.end_turn();
        if !done {
            self.engine.wake(id);
            return;
        }
        // The engine does not read from the socket now, and would not notice its end.
        let Some(Some(socket)) = self.sockets.get_mut(id.index()) else { return };
        if socket.has_hung_up() && !self.engine.wants_read(id) {
            if let Some(error) = socket.take_error() {
                let event = match self.engine.reads_on(id) {
                    // The system still has bytes that arrived before.
                    true => Event::SendFailed(error),
                    false => Event::Failed(error),
                };
                self.engine.handle(self.now, id, event);
                self.carry_out_actions();
            }
        }
    }

    /// False if there may be more to do when the budget is used up.
    fn serve_within(&mut self, id: PeerId, mut budget: usize) -> bool {
        while budget > 0 {
            // Receiving comes first: bytes of an origin that arrive before it was sent anything are no answer (rule 33).
            let moved = self.establish(id) + self.receive(id) + self.send(id);
            if moved == 0 {
                return true;
            }
            budget = budget.saturating_sub(moved);
        }
        false
    }

    /// Checks whether a requested connection is established.
    fn establish(&mut self, id: PeerId) -> usize {
        let Some(Some(socket)) = self.sockets.get_mut(id.index()) else { return 0 };
        let event = match socket.establish() {
            None => return 0,
            Some(Ok(())) => Event::Connected,
            Some(Err(error)) => Event::Failed(error),
        };
        self.engine.handle(self.now, id, event);
        self.carry_out_actions();
        1
    }

    fn send(&mut self, id: PeerId) -> usize {
        let Some(Some(socket)) = self.sockets.get_mut(id.index()) else { return 0 };
        if !socket.writable || !self.engine.wants_write(id) {
            return 0;
        }
        if self.engine.looks_first(id) {
            // Reads the bytes that have arrived since the last event.
            socket.readable = true;
            let heard = self.receive(id);
            if heard > 0 {
                return heard;
            }
        }
        let Some(Some(socket)) = self.sockets.get_mut(id.index()) else { return 0 };
        let sent = socket.send(&self.engine.to_send(id), &mut self.pipes);
        if !socket.writable {
            self.stalled.note(self.now.monotonic_us, self.engine.settings());
        }
        if let Some(pipe) = socket.give_up_pipe(false) {
            self.pipes.put(pipe);
        }
        let event = match sent {
            Sent::Nothing => return 0,
            Sent::Bytes(count) => Event::Sent(count),
            Sent::Failed(error) => Event::SendFailed(error),
        };
        self.engine.handle(self.now, id, event);
        self.carry_out_actions();
        if let Event::Sent(count) = event { count } else { 1 }
    }

    fn receive(&mut self, id: PeerId) -> usize {
        let Some(Some(socket)) = self.sockets.get_mut(id.index()) else { return 0 };
        if !socket.readable {
            return 0;
        }
        if let Some(Splice { to, bytes_max }) = self.engine.splice_allowed(id) {
            if let Some(moved) = self.move_bytes(id, to, bytes_max) {
                return moved;
            }
        }
        let Some(Some(socket)) = self.sockets.get_mut(id.index()) else { return 0 };
        let Some(mut space) = self.engine.space(id) else { return 0 };
        let event = match socket.receive(&mut space) {
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
        self.carry_out_actions();
        if let Event::Received(count) = event { count } else { 1 }
    }

    /// Moves bytes from one socket towards another inside the kernel; `None` if that cannot be done now.
    fn move_bytes(&mut self, from: PeerId, to: PeerId, bytes_max: usize) -> Option<usize> {
        if !matches!(self.sockets.get(to.index()), Some(Some(_))) {
            return None;
        }
        let socket = self.sockets.get_mut(from.index())?.as_mut()?;
        let event = match socket.fill(&mut self.pipes, bytes_max) {
            Moved::NoPipe => return None,
            Moved::Nothing => return Some(0),
            Moved::Bytes(count, pipe) => {
                self.sockets.get_mut(to.index())?.as_mut()?.take_over(pipe);
                Event::Spliced(count)
            }
            Moved::End => Event::EndOfStream,
            Moved::Failed(error) => Event::Failed(error),
        };
        self.engine.handle(self.now, from, event);
        self.carry_out_actions();
        Some(if let Event::Spliced(count) = event { count } else { 1 })
    }

    fn close_delivered(&mut self, id: PeerId, closing: Closing) {
        if let Some(socket) = self.take_socket(id) {
            self.delivering.add(socket, closing, self.now.monotonic_us, self.others.len() + 1);
        }
    }

    /// Carries out the actions of the engine.
    fn carry_out_actions(&mut self) {
        while let Some(action) = self.engine.next_action() {
            match action {
                Action::Connect { peer, address } => self.connect(peer, address),
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
                Action::ResetDelivered(id) => self.close_delivered(id, Closing::Reset),
                Action::CloseDelivered(id) => self.close_delivered(id, Closing::Regular),
                Action::Verify { job, guesses, work } => {
                    self.verifier.verify(&self.remote, job, guesses, work);
                }
                Action::AskStore { job, checks } => self.store_questions.add(job, checks),
                Action::AskValue { job, request } => {
                    self.store_questions.link().ask_value(&self.remote, job, request);
                }
                Action::SendToLoops(message) => self.tell_others(&WorkerMessage::Fill(message)),
                Action::Log(record) => {
                    self.access_log.sender.append_record(self.access_log.format, &record);
                    self.engine.recycle(record);
                }
                Action::Resolver(resolver::Action::Send { query, server, transport, message }) => {
                    self.ask(query, server, transport, message);
                }
                Action::Resolver(resolver::Action::Cancel(query)) => self.queries.end(query),
                Action::Resolver(resolver::Action::Done { .. }) => {}
            }
        }
        self.tell_names();
    }

    fn take_socket(&mut self, id: PeerId) -> Option<Socket> {
        let mut socket = self.sockets.get_mut(id.index())?.take()?;
        if let Some(pipe) = socket.give_up_pipe(true) {
            self.pipes.put(pipe);
        }
        Some(socket)
    }
}

/// Readable when a turn is due.
impl AsRawFd for EventLoop {
    fn as_raw_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}

impl std::fmt::Debug for EventLoop {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("EventLoop").field("index", &self.index).finish_non_exhaustive()
    }
}
