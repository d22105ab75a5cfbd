//! The thread that computes slow password hashes, started with the first one. All loops share it.

use super::message::{Remote, WorkerMessage};
use super::processors::{self, Processors};
use crate::engine::JobId;
use crate::policy::auth::SlowJob;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Hands work to the thread. The engines bound the amount.
#[derive(Clone)]
pub struct Verifier {
    /// The thread's queue; `None` before the thread starts.
    queue: Arc<Mutex<Option<Sender<Work>>>>,
    /// The processors of the thread; `None` for those of the loop that starts it.
    processors: Option<Processors>,
}

struct Work {
    job: JobId,
    /// Recent guesses from the client's address.
    guesses: u32,
    slow: SlowJob,
    /// The loop that gets the result.
    remote: Remote,
}

impl Verifier {
    /// A verifier without a thread.
    pub fn new(processors: Option<Processors>) -> Verifier {
        Verifier { queue: Arc::default(), processors }
    }

    /// Verifies a password; the loop gets the result. If the thread cannot be started, the password counts as wrong.
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

/// Each loop has sorted its own jobs; across loops, too, the client with the fewest guesses goes first.
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
        // A panic in one hash must not lose the results of all other passwords.
        let right = catch_unwind(AssertUnwindSafe(|| slow.verify())).unwrap_or(false);
        remote.send(WorkerMessage::Verified(job, right));
    }
}
