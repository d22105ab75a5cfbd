//! The thread that computes slow password hashes, started with the first one. All loops have the same.

use super::message::{Remote, WorkerMessage};
use super::processors::{self, Processors};
use crate::engine::JobId;
use crate::policy::auth::SlowJob;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Hands work to the thread. The engines bound how much there is.
#[derive(Clone)]
pub struct Verifier {
    /// The thread's queue, when there is a thread.
    queue: Arc<Mutex<Option<Sender<Work>>>>,
    /// Where it may run, if not where the loop does that happens to start it.
    processors: Option<Processors>,
}

struct Work {
    job: JobId,
    /// Guesses made lately from where it came.
    guesses: u32,
    slow: SlowJob,
    /// The loop that is told.
    remote: Remote,
}

impl Verifier {
    /// No thread yet.
    pub fn new(processors: Option<Processors>) -> Verifier {
        Verifier { queue: Arc::default(), processors }
    }

    /// Verifies a password; the loop is told when that is done. If there can be no thread, it was wrong.
    pub fn verify(&self, remote: &Remote, job: JobId, guesses: u32, slow: SlowJob) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.is_none() {
            *queue = self.start();
        }
        let work = Work { job, guesses, slow, remote: remote.clone() };
        let taken = queue.as_ref().is_some_and(|queue| queue.send(work).is_ok());
        if !taken {
            log::error!("cannot verify passwords: no thread");
            *queue = None;
            remote.send(WorkerMessage::Verified(job, false));
        }
    }

    fn start(&self) -> Option<Sender<Work>> {
        let (sender, receiver) = channel();
        let processors = self.processors;
        thread::Builder::new()
            .name("weir-verify".to_string())
            .spawn(move || {
                if let Some(processors) = processors {
                    processors::allow(&processors);
                }
                verify_all(&receiver);
            })
            .ok()?;
        Some(sender)
    }
}

/// Each loop has ordered its own; among the loops, too, the client with the fewest guesses goes first.
fn verify_all(queue: &Receiver<Work>) {
    let mut waiting: Vec<Work> = Vec::new();
    loop {
        if waiting.is_empty() {
            let Ok(work) = queue.recv() else { return };
            waiting.push(work);
        }
        waiting.extend(queue.try_iter());
        let least = waiting.iter().enumerate().min_by_key(|(_, work)| work.guesses).map(|(place, _)| place);
        let Work { job, slow, remote, .. } = waiting.remove(least.unwrap_or(0));
        // A fault in a hash must not take the answers to all other passwords with it.
        let right = catch_unwind(AssertUnwindSafe(|| slow.verify())).unwrap_or(false);
        remote.send(WorkerMessage::Verified(job, right));
    }
}
