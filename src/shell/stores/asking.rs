//! The threads that ask a store. Each has a connection of its own: questions need not wait for the answers to those before them.
//!
//! While the store is near, one of the threads keeps the queue. What comes during a round trip shares the next one, and the others
//! sleep. When the store is far away, a thread gives the queue away before it asks; then the next thread takes what comes, a part of
//! a round trip later, and a question waits for little more than one round trip.

use super::backend::{Backend, IDLE_AFTER};
use super::store_state::{Question, StoreState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Threads, and so pipelines under way at once (chosen: a question is sent a quarter of a round trip after it came, at the latest).
pub(super) const ASKERS: u32 = 4;

/// With a longer round trip the store is far away (chosen: twenty times what a store on the same machine needs).
const LONG: Duration = Duration::from_millis(2);

/// Questions of one pipeline (chosen: 30 kB of commands, which fit into the buffers of a socket, and 2 ms of a script).
const PIPELINE_MAX: usize = 256;

/// The queue of questions, which one thread has at a time.
pub(super) struct Queue {
    turn: Mutex<Turn>,
    /// How long the last round trip took.
    round_trip_us: AtomicU64,
}

struct Turn {
    questions: Receiver<Vec<Question>>,
    taken_at: Instant,
}

impl Queue {
    pub fn new(questions: Receiver<Vec<Question>>) -> Queue {
        let turn = Mutex::new(Turn { questions, taken_at: Instant::now() });
        Queue { turn, round_trip_us: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn round_trip(&self) -> Duration {
        Duration::from_micros(self.round_trip_us.load(Ordering::Relaxed))
    }

    fn note(&self, round_trip: Duration) {
        let us = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX);
        self.round_trip_us.store(us, Ordering::Relaxed);
    }

    fn is_far(&self) -> bool {
        self.round_trip() > LONG
    }

    /// Waits for questions, and takes at most one pipeline beside those of one loop.
    fn take(&self, turn: &mut Turn, batch: &mut Vec<Question>) -> Result<(), RecvTimeoutError> {
        batch.extend(turn.questions.recv_timeout(IDLE_AFTER)?);
        if self.is_far() {
            // Threads that ask all at once would also be busy all at once.
            let due = turn.taken_at + self.round_trip() / ASKERS;
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        while batch.len() < PIPELINE_MAX {
            match turn.questions.try_recv() {
                Ok(more) => batch.extend(more),
                Err(_) => break,
            }
        }
        turn.taken_at = Instant::now();
        Ok(())
    }
}

/// Asks until the client is dropped. Questions that are in the queue then are still answered.
pub(super) fn run(backend: &mut impl Backend, queue: &Queue, state: &StoreState, deadline: Duration) {
    // The second time there is a connection, and it takes one round trip.
    (0..2).for_each(|_| look_after(backend, queue));
    let mut batch = Vec::with_capacity(PIPELINE_MAX);
    let mut turn = queue.lock();
    loop {
        match queue.take(&mut turn, &mut batch) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => {
                look_after(backend, queue);
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
        state.release(batch.len());
        if queue.is_far() {
            drop(turn);
            ask(backend, &mut batch, queue, state, deadline);
            turn = queue.lock();
        } else {
            ask(backend, &mut batch, queue, state, deadline);
        }
    }
}

fn look_after(backend: &mut impl Backend, queue: &Queue) {
    let began = Instant::now();
    backend.look_after_connections();
    queue.note(began.elapsed());
}

/// Asks all questions of the batch.
fn ask(
    backend: &mut impl Backend,
    batch: &mut Vec<Question>,
    queue: &Queue,
    state: &StoreState,
    deadline: Duration,
) {
    // A server that stands still costs one pipeline: questions behind it may have expired by then.
    while !batch.is_empty() {
        state.answer_expired(batch, deadline);
        let pipeline = batch.len().min(PIPELINE_MAX);
        if pipeline > 0 {
            let began = Instant::now();
            backend.ask(&batch[..pipeline]);
            queue.note(began.elapsed());
            batch.drain(..pipeline);
        }
    }
}
