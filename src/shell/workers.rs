//! Several loops as one: a thread for each, orders to all of them, and one end.
//!
//! Loops share next to nothing that a request touches. They have the policy in common, the cache's store with what is
//! being asked for ([`FillLocks`](crate::cache::fill::fill_locks::FillLocks)), the two limits on clients
//! ([`ClientLimits`](crate::engine::ClientLimits)), the thread that verifies passwords, the one that writes the log, and the board that
//! statistics are read from. What one must tell the others goes through their queues.
//!
//! One worker is the usual case, and costs what one loop costs.

use super::memory;
use super::message::{Remote, WorkerMessage};
use super::processors;
use super::scoreboard::{Round, Scoreboard};
use super::verifier::Verifier;
use super::{AccessLog, EventLoop, Listener};
use crate::engine::Engine;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What one loop is made of.
pub struct Worker {
    /// Its own core.
    pub engine: Engine,
    /// Its own listeners.
    pub listeners: Vec<Listener>,
}

/// All loops of the process.
#[derive(Debug)]
pub struct Workers {
    remotes: Vec<Remote>,
    threads: Vec<JoinHandle<io::Result<()>>>,
    scoreboard: Arc<Scoreboard>,
}

/// Why the workers have ended before it was told to.
#[derive(Debug)]
pub enum Failure {
    /// A loop could not go on.
    Failed(io::Error),
    /// A loop panicked.
    Died,
}

impl Workers {
    /// Starts a loop for each worker, on a processor of its own if `pinned`. `at_end` is dropped when all of them have
    /// ended. Where one fails, or even panics, the others stop at once.
    pub fn start(
        workers: Vec<Worker>,
        access_log: &AccessLog,
        statistics_every: Duration,
        pinned: bool,
        at_end: impl Send + Sync + 'static,
    ) -> io::Result<Workers> {
        memory::keep_apart();
        let processors = if pinned { Some(processors::allowed()?) } else { None };
        let store = workers.first().and_then(|worker| worker.engine.store());
        let scoreboard = Scoreboard::new(workers.len(), store);
        let verifier = Verifier::new(processors);
        let mut loops = Vec::new();
        let mut remotes = Vec::new();
        for Worker { engine, listeners } in workers {
            let (shell, remote) = EventLoop::new(engine, listeners, access_log.clone(), verifier.clone())?;
            loops.push(shell);
            remotes.push(remote);
        }
        let mut all = Workers { remotes, threads: Vec::new(), scoreboard };
        let at_end = Arc::new(at_end);
        for (index, shell) in loops.into_iter().enumerate() {
            let others = all.others(index);
            // One of them asks all when it is time.
            let every = if index == 0 { statistics_every } else { Duration::ZERO };
            let shell = shell.with_index(index, others.clone(), all.scoreboard.clone(), every);
            let body = move || {
                if let Some(processors) = processors {
                    processors::pin(&processors, index);
                }
                shell.run().map(|_| ())
            };
            let name = if others.is_empty() { "weir-loop".into() } else { format!("weir-loop-{index}") };
            match spawn(name, others, at_end.clone(), body) {
                Ok(thread) => all.threads.push(thread),
                Err(error) => {
                    all.send(&WorkerMessage::Quit);
                    let _ = all.join();
                    return Err(error);
                }
            }
        }
        Ok(all)
    }

    fn others(&self, index: usize) -> Vec<Remote> {
        let others = self.remotes.iter().enumerate().filter(|(other, _)| *other != index);
        others.map(|(_, remote)| remote.clone()).collect()
    }

    /// How many loops there are.
    pub fn loops(&self) -> usize {
        self.remotes.len()
    }

    /// The ends by which the loops are told.
    pub fn remotes(&self) -> &[Remote] {
        &self.remotes
    }

    /// Tells every loop.
    pub fn send(&self, message: &WorkerMessage) {
        for remote in &self.remotes {
            remote.send(message.clone());
        }
    }

    /// Waits until every loop has obeyed what it was told so far, but not longer than that. False if one has not.
    pub fn settle(&self, within: Duration) -> bool {
        let (sender, receiver) = channel();
        self.send(&WorkerMessage::Settled(sender));
        receiver.recv_timeout(within) == Err(RecvTimeoutError::Disconnected)
    }

    /// Has one line of statistics written for all loops, whether or not a number has changed.
    pub fn log_statistics(&self) {
        self.send(&WorkerMessage::Report(Round::begin(&self.scoreboard, true)));
    }

    /// Waits until all loops have ended, and writes the last line of statistics if it says something new. Fails as the first that has failed.
    pub fn join(self) -> Result<(), Failure> {
        let mut outcome = Ok(());
        for thread in self.threads {
            let ended = match thread.join() {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(Failure::Failed(error)),
                Err(_) => Err(Failure::Died),
            };
            outcome = outcome.and(ended);
        }
        self.scoreboard.say(false);
        outcome
    }
}

/// Tells the other loops to stop, unless this one has ended as it should.
struct Alarm(Vec<Remote>);

impl Drop for Alarm {
    fn drop(&mut self) {
        for other in &self.0 {
            other.send(WorkerMessage::Quit);
        }
    }
}

fn spawn(
    name: String,
    others: Vec<Remote>,
    at_end: Arc<impl Send + Sync + 'static>,
    body: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> io::Result<JoinHandle<io::Result<()>>> {
    thread::Builder::new().name(name).spawn(move || {
        // However the loop ends, even by a panic: first the others learn of it, then whoever waits for all.
        let _at_end = at_end;
        let mut alarm = Alarm(others);
        let ended = body();
        match &ended {
            Ok(()) => alarm.0.clear(),
            Err(error) => log::error!("a loop has failed: {error}"),
        }
        ended
    })
}

#[cfg(test)]
mod tests {
    use super::super::{WAKER, message};
    use super::*;
    use std::sync::mpsc::Sender;

    struct Tell(Sender<()>);

    impl Drop for Tell {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }

    /// Threads that wait for the order to quit, beside one that does something else.
    fn workers_with(odd: fn() -> io::Result<()>) -> Result<(), Failure> {
        let polls: Vec<mio::Poll> = (0..3).map(|_| mio::Poll::new().unwrap()).collect();
        let (remotes, inboxes): (Vec<_>, Vec<_>) =
            polls.iter().map(|poll| message::inbox(poll.registry(), WAKER).unwrap()).unzip();
        let mut all = Workers { remotes, threads: Vec::new(), scoreboard: Scoreboard::new(3, None) };
        let (sender, ended) = channel();
        let at_end = Arc::new(Tell(sender));
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
            all.threads.push(spawn("test".into(), all.others(index), at_end.clone(), body).unwrap());
        }
        drop(at_end);
        // A loop that just ends says nothing to the others: they go on until they are told.
        if odd().is_ok() {
            assert!(ended.recv_timeout(Duration::from_millis(20)).is_err());
            all.send(&WorkerMessage::Quit);
        }
        ended.recv_timeout(Duration::from_secs(10)).expect("all have ended");
        all.join()
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
