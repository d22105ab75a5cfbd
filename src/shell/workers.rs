//! Several loops as one: the first runs on its host's thread, each other on its own thread, and all end together.
//!
//! Loops share next to nothing that a request touches. They share the policy, the cache's store with the keys that are being
//! fetched ([`FillLocks`](crate::cache::fill::fill_locks::FillLocks)), the two limits on clients
//! ([`ClientLimits`](crate::engine::ClientLimits)), the thread that verifies passwords, the thread that writes the log, and
//! the board for statistics. Messages between loops go through their queues.
//!
//! One worker is the usual case, and costs what one loop costs.

use super::memory;
use super::message::{Remote, WorkerMessage};
use super::pressure::{MemoryGauge, Pressure};
use super::processors::{self, Processors};
use super::scoreboard::Scoreboard;
use super::shared::{AccessLog, SharedParts};
use super::verifier::Verifier;
use super::{EventLoop, GuardLink, Listener, threads};
use crate::engine::Engine;
use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The parts of one loop.
pub struct Worker {
    /// The engine of the loop.
    pub engine: Engine,
    /// The listeners of the loop.
    pub listeners: Vec<Listener>,
}

/// All loops; those beyond the first with their threads.
#[derive(Debug)]
pub struct Workers {
    remotes: Vec<Remote>,
    threads: Vec<JoinHandle<io::Result<()>>>,
    /// The number of threads that have not ended, but for what the system does then.
    running: Arc<AtomicUsize>,
    scoreboard: Arc<Scoreboard>,
    /// The processors for the loops, if each runs on its own.
    processors: Option<Processors>,
}

/// The reason why loops have ended unexpectedly.
#[derive(Debug)]
pub enum Failure {
    /// A loop has failed.
    Failed(io::Error),
    /// A loop panicked.
    Died,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Failed(error) => write!(out, "a loop has failed: {error}"),
            Failure::Died => out.write_str("a loop has died"),
        }
    }
}

impl std::error::Error for Failure {}

impl Workers {
    /// A loop for each worker. The first is returned, the others start on their own threads, each on its own processor if
    /// `pinned`. If one fails or panics, the others stop at once. `owns_process`: the allocator may be set for these loops.
    /// `gauge`: the memory of the process and its limit.
    pub fn start(
        workers: Vec<Worker>,
        access_log: &AccessLog,
        guard_link: Arc<GuardLink>,
        statistics_every: Duration,
        pinned: bool,
        owns_process: bool,
        gauge: Option<Arc<MemoryGauge>>,
    ) -> io::Result<(Box<EventLoop>, Workers)> {
        if owns_process {
            memory::keep_apart();
        }
        let processors = if pinned { Some(processors::allowed()?) } else { None };
        let store = workers.first().and_then(|worker| worker.engine.store());
        let scoreboard = Scoreboard::new(workers.len(), store);
        let shared = SharedParts { verifier: Verifier::new(processors), guard_link };
        let mut loops = Vec::new();
        let mut remotes = Vec::new();
        for Worker { engine, listeners } in workers {
            let (mut shell, remote) =
                EventLoop::new(engine, listeners, access_log.clone(), shared.clone(), owns_process)?;
            shell.shortage.memory = Pressure::new(gauge.clone());
            loops.push(shell);
            remotes.push(remote);
        }
        shared.guard_link.set_remotes(&remotes);
        let mut all = Workers::new(remotes, scoreboard, processors);
        for (index, shell) in loops.iter_mut().enumerate() {
            // The first loop asks all loops when a line is due.
            let every = if index == 0 { statistics_every } else { Duration::ZERO };
            shell.set_index(index, all.others(index), all.scoreboard.clone(), every);
        }
        let mut loops = loops.into_iter().enumerate();
        let (_, first) = loops.next().ok_or(ErrorKind::InvalidInput)?;
        for (index, mut shell) in loops {
            let body = move || {
                if let Some(processors) = processors {
                    processors::pin(&processors, index);
                }
                while !shell.turn(None)? {}
                Ok(())
            };
            // The loops that run already end when `all` is dropped.
            all.spawn(format!("weir-loop-{index}"), index, body)?;
        }
        Ok((first, all))
    }

    /// Without threads.
    fn new(remotes: Vec<Remote>, scoreboard: Arc<Scoreboard>, processors: Option<Processors>) -> Workers {
        Workers { remotes, threads: Vec::new(), running: Arc::default(), scoreboard, processors }
    }

    /// Starts the thread of one loop.
    fn spawn(
        &mut self,
        name: String,
        index: usize,
        body: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let first = self.remotes.first().cloned();
        let mut alarm = Alarm { others: self.others(index), running: Arc::clone(&self.running), first };
        self.running.fetch_add(1, Ordering::Relaxed);
        // If no thread starts, the alarm is dropped here.
        self.threads.push(threads::spawn(name, move || {
            let ended = body();
            match &ended {
                Ok(()) => alarm.others.clear(),
                Err(error) => log::error!("a loop has failed: {error}"),
            }
            ended
        })?);
        Ok(())
    }

    fn others(&self, index: usize) -> Vec<Remote> {
        let others = self.remotes.iter().enumerate().filter(|(other, _)| *other != index);
        others.map(|(_, remote)| remote.clone()).collect()
    }

    /// The sending ends of the loops' inboxes.
    pub fn remotes(&self) -> &[Remote] {
        &self.remotes
    }

    /// The board where the counters of all loops are added up.
    pub fn scoreboard(&self) -> Arc<Scoreboard> {
        self.scoreboard.clone()
    }

    /// Keeps this thread, which runs the first loop, on one processor, if each loop has its own.
    pub fn pin_first(&self) {
        if let Some(processors) = &self.processors {
            processors::pin(processors, 0);
        }
    }

    /// Tells all loops to end at once.
    pub fn quit(&self) {
        self.remotes.iter().for_each(|remote| remote.send(WorkerMessage::Quit));
    }

    /// Whether all loops beyond the first have ended, so that [`Workers::join`] does not wait.
    pub fn have_ended(&self) -> bool {
        self.running.load(Ordering::Acquire) == 0
    }

    /// Waits until all loops beyond the first have ended, and writes the last line of statistics if it has changed. Fails
    /// with the failure of the first loop that failed.
    pub fn join(&mut self) -> Result<(), Failure> {
        let mut outcome = Ok(());
        for thread in self.threads.drain(..) {
            let ended = match thread.join() {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(Failure::Failed(error)),
                Err(_) => Err(Failure::Died),
            };
            outcome = outcome.and(ended);
        }
        self.scoreboard.log_line(false);
        outcome
    }
}

/// Ends running loops after a failed start, a panic of the first loop, or a drop by the host. A callback on the thread of a loop may
/// drop them: that loop ends with its turn, and no thread waits for it.
impl Drop for Workers {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.quit();
            self.threads.drain(..).for_each(|thread| drop(threads::join_other(thread)));
        }
    }
}

/// The first loop between its end and that of the others.
impl EventLoop {
    /// Takes no more messages. For a loop that has had its last turn and is kept.
    pub fn close_inbox(&mut self) {
        self.inbox.close();
    }

    /// Waits for the end of another loop, which wakes this one, at most `timeout`. For a loop whose inbox is closed.
    pub fn rest(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Stops the other loops when this one ends, even by a panic, unless it ends without a failure. Wakes the first loop, which may wait
/// for that end.
struct Alarm {
    others: Vec<Remote>,
    running: Arc<AtomicUsize>,
    first: Option<Remote>,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        for other in &self.others {
            other.send(WorkerMessage::Quit);
        }
        self.running.fetch_sub(1, Ordering::Release);
        self.first.iter().for_each(Remote::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{WAKER, message};
    use super::*;
    use std::thread;

    /// Threads that wait for the order to quit, beside one that does something else.
    fn workers_with(odd: fn() -> io::Result<()>) -> Result<(), Failure> {
        let polls: Vec<mio::Poll> = (0..3).map(|_| mio::Poll::new().unwrap()).collect();
        let (remotes, inboxes): (Vec<_>, Vec<_>) =
            polls.iter().map(|poll| message::inbox(poll.registry(), WAKER).unwrap()).unzip();
        let scoreboard = Scoreboard::new(3, None);
        let mut all = Workers::new(remotes, scoreboard, None);
        for (index, mut inbox) in inboxes.into_iter().enumerate() {
            let body = move || match index {
                1 => odd(),
                _ => loop {
                    match inbox.next() {
                        Some(WorkerMessage::Quit) => return Ok(()),
                        Some(other) => panic!("{other:?}"),
                        None => thread::yield_now(),
                    }
                },
            };
            all.spawn("test".into(), index, body).unwrap();
        }
        // A loop that ends without a failure does not stop the others.
        if odd().is_ok() {
            while !all.threads[1].is_finished() {
                thread::yield_now();
            }
            assert_eq!(all.threads.iter().filter(|thread| !thread.is_finished()).count(), 2);
            assert!(!all.have_ended());
            all.quit();
        }
        let ended = all.join();
        assert!(all.have_ended());
        ended
    }

    #[test]
    fn one_that_fails_stops_all() {
        assert!(matches!(workers_with(|| Err(io::ErrorKind::Other.into())), Err(Failure::Failed(_))));
    }

    #[test]
    fn one_that_ends_lets_the_others_finish() {
        assert!(workers_with(|| Ok(())).is_ok());
    }

    #[test]
    fn one_that_panics_stops_all() {
        // In the thread only: the one that runs the test asks, too, how it ends.
        let odd = || match thread::current().name() {
            Some("test") => panic!("as it should"),
            _ => Err(io::ErrorKind::Other.into()),
        };
        assert!(matches!(workers_with(odd), Err(Failure::Died)));
    }
}
