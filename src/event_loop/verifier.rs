//! The thread that computes slow password hashes, started with the first one.

use super::remote::{Command, Remote};
use crate::engine::JobId;
use crate::policy::auth::SlowJob;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// Hands work to the thread. The engine bounds how much there is.
pub struct Verifier {
    remote: Remote,
    work: Option<Sender<(JobId, SlowJob)>>,
}

impl Verifier {
    pub fn new(remote: Remote) -> Verifier {
        Verifier { remote, work: None }
    }

    /// Verifies a password; the loop is told when that is done. If there can be no thread, it was wrong.
    pub fn verify(&mut self, job: JobId, work: SlowJob) {
        if self.work.is_none() {
            self.work = self.start();
        }
        let taken = self.work.as_ref().is_some_and(|queue| queue.send((job, work)).is_ok());
        if !taken {
            log::error!("cannot verify passwords: no thread");
            self.work = None;
            self.remote.send(Command::Verified(job, false));
        }
    }

    fn start(&self) -> Option<Sender<(JobId, SlowJob)>> {
        let (sender, receiver) = channel();
        let remote = self.remote.clone();
        thread::Builder::new()
            .name("weir-verify".to_string())
            .spawn(move || verify_all(&receiver, &remote))
            .ok()?;
        Some(sender)
    }
}

fn verify_all(queue: &Receiver<(JobId, SlowJob)>, remote: &Remote) {
    while let Ok((job, work)) = queue.recv() {
        // A fault in a hash must not take the answers to all other passwords with it.
        let right = catch_unwind(AssertUnwindSafe(|| work.verify())).unwrap_or(false);
        remote.send(Command::Verified(job, right));
    }
}
