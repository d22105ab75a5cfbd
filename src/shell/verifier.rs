//! The thread that computes slow password hashes, started with the first one. All loops share it, and the last loop that ends
//! waits for it: the password that is being verified is finished, and those that wait are discarded.

use super::message::{Remote, WorkerMessage};
use super::processors::{self, Processors};
use super::threads;
use crate::engine::JobId;
use crate::policy::auth::SlowJob;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Hands work to the thread. The engines bound the amount. Dropping the last clone ends the thread.
#[derive(Clone)]
pub struct Verifier {
    /// `None` before the thread starts.
    thread: Arc<Mutex<Option<Verifying>>>,
    /// The processors of the thread; `None` for those of the loop that starts it.
    processors: Option<Processors>,
}

/// The thread, which ends when this is dropped.
struct Verifying {
    /// The thread's queue; dropped to end the thread.
    queue: Option<Sender<Work>>,
    /// What waits in the queue is not computed any more.
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
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
        Verifier { thread: Arc::default(), processors }
    }

    /// Verifies a password; the loop gets the result, also that the thread cannot be started.
    pub fn verify(&self, remote: &Remote, job: JobId, guesses: u32, slow: SlowJob) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_none() {
            *thread = Verifying::start(self.processors);
        }
        let work = Work { job, guesses, slow, remote: remote.clone() };
        let taken = thread.as_ref().is_some_and(|thread| thread.take(work));
        if !taken {
            log::error!("cannot verify passwords: no thread");
            *thread = None;
            remote.send(WorkerMessage::Verified(job, None));
        }
    }
}

impl Verifying {
    fn start(processors: Option<Processors>) -> Option<Verifying> {
        let (sender, receiver) = channel();
        let ends = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&ends);
        let body = move || {
            if let Some(processors) = processors {
                processors::allow(&processors);
            }
            verify_all(&receiver, &ended);
        };
        let thread = threads::spawn("weir-verify", body).ok()?;
        Some(Verifying { queue: Some(sender), ends, thread: Some(thread) })
    }

    /// Whether the thread has taken the work.
    fn take(&self, work: Work) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.send(work).is_ok())
    }
}

impl Drop for Verifying {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.queue = None;
        // A panic of the thread has been reported by its own.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Each loop has sorted its own jobs; across loops, too, the client with the fewest guesses goes first.
fn verify_all(queue: &Receiver<Work>, ends: &AtomicBool) {
    let mut waiting: Vec<Work> = Vec::new();
    loop {
        if waiting.is_empty() {
            let Ok(work) = queue.recv() else { return };
            waiting.push(work);
        }
        if ends.load(Ordering::Relaxed) {
            return;
        }
        waiting.extend(queue.try_iter());
        let least = waiting.iter().enumerate().min_by_key(|(_, work)| work.guesses).map(|(place, _)| place);
        let Work { job, slow, remote, .. } = waiting.remove(least.unwrap_or(0));
        // A panic in one hash must not lose the results of all other passwords.
        let right = catch_unwind(AssertUnwindSafe(|| slow.verify())).unwrap_or(false);
        remote.send(WorkerMessage::Verified(job, Some(right)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{WAKER, message};
    use super::*;
    use crate::policy::auth::{Check, Users, credentials};

    fn slow() -> SlowJob {
        let line = b"bea:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n";
        let users = Users::parse(line, 1).unwrap();
        match users.check(&credentials(b"Basic YmVhOng=").unwrap()) {
            Check::Slow(slow) => slow,
            other => panic!("{other:?}"),
        }
    }

    /// Passwords that wait when the verifier ends are not computed: each would keep the host waiting.
    #[test]
    fn waiting_passwords_are_discarded_at_the_end() {
        let poll = mio::Poll::new().unwrap();
        let (remote, mut inbox) = message::inbox(poll.registry(), WAKER).unwrap();
        let verified = |ends: bool| {
            let (sender, receiver) = channel();
            for number in 0..3 {
                let (job, remote) = (JobId::numbered(number), remote.clone());
                sender.send(Work { job, guesses: 0, slow: slow(), remote }).unwrap();
            }
            drop(sender);
            verify_all(&receiver, &AtomicBool::new(ends));
        };
        verified(true);
        assert!(inbox.next().is_none());
        verified(false);
        assert_eq!(std::iter::from_fn(|| inbox.next()).count(), 3);
    }
}
