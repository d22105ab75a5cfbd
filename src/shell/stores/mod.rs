//! Clients of stores that several processes share. Each client has its own threads: no loop waits for a store. Questions, and
//! values and orders, go into two bounded queues; a thread takes a whole queue, sends it as one pipeline, and hands the answers
//! back: many requests share one round trip.

#![cfg_attr(
    not(any(feature = "redis", feature = "mongodb")),
    allow(
        dead_code,
        unused_variables,
        reason = "without a kind of store every URL is an error, and the rest is at rest"
    )
)]

mod asking;
mod backend;
#[cfg(feature = "tls")]
mod crypto;
// Only Redis needs the sweeps in the background.
#[cfg_attr(not(feature = "redis"), allow(dead_code))]
mod store_state;
// Only Redis tells of a key with another type.
#[cfg_attr(not(feature = "redis"), allow(dead_code))]
mod health;
mod local;
#[cfg(feature = "mongodb")]
pub mod mongodb;
#[cfg_attr(not(feature = "redis"), allow(dead_code))]
mod orders;
#[cfg(feature = "redis")]
mod redis;
mod settings;
mod slot;

pub use settings::StoreSettings;
pub use slot::StoreSlot;
pub use store_state::{Ready, StoreCounters, StoreReplies};

use crate::guard::store::{Check, StoreFailure, StoreNews, StoreOrder};
use crate::guard::values::{ValueAnswer, ValueRequest};
use crate::shell::threads;
use asking::Queue;
use backend::{ValueQuestion, Work};
use ipnet::IpNet;
use local::LocalBackend;
pub use local::{BYTES_MAX as VALUE_BYTES_MAX, ValueCounting};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use store_state::{QUESTIONS_MAX, Question, StoreState, count};

/// Most pieces of work that wait for the thread; the questions of one loop's turn are one piece (chosen: the limit of
/// questions).
const QUEUE_MAX: usize = QUESTIONS_MAX;

/// A question that has waited this long for a store in this process is not asked any more (chosen: its disk is busy, and the
/// client got an error).
const LOCAL_DEADLINE: Duration = Duration::from_secs(2);

/// Sends questions and orders to a store, from any thread; clones share everything. The threads of a shared store end soon after the
/// last clone is dropped; the drop waits for the one of a store in this process.
#[derive(Clone)]
pub struct StoreClient {
    shared: Arc<Shared>,
}

struct Shared {
    questions: SyncSender<Vec<Question>>,
    queue: SyncSender<Work>,
    state: Arc<StoreState>,
    /// Whether the store carries messages between processes.
    has_messages: bool,
    /// The URL and the prefix of keys.
    place: (Box<str>, Box<str>),
    /// The thread of a store in this process. Behind the queue, whose end ends it.
    _local: Option<LocalThread>,
}

/// A thread that is waited for: another proxy may open its file then.
struct LocalThread(Option<JoinHandle<()>>);

impl Drop for LocalThread {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.state.stop();
    }
}

impl StoreClient {
    /// Starts the threads, which connect in the background and keep trying; `news` gets the changes. `deliver` gets the index
    /// of a loop and its answers, exactly one for each question. Threads of the store call both, so they must not wait. A URL
    /// that is invalid, or needs a feature that is not compiled in, is an error. A thread of the store calls `ready` once.
    pub fn start(
        settings: StoreSettings,
        deliver: impl Fn(usize, StoreReplies) + Send + Sync + 'static,
        news: impl Fn(StoreNews) + Send + Sync + 'static,
        ready: Ready,
    ) -> io::Result<StoreClient> {
        let state = Arc::new(StoreState::new(deliver, news, settings.deadline).announcing(ready));
        let (questions, asked) = sync_channel(QUEUE_MAX);
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        let has_messages = !settings.url.starts_with("mongodb");
        let place = (settings.url.clone(), settings.prefix.clone());
        start_threads(settings, &state, Queue::new(asked), receiver).inspect_err(|_| state.stop())?;
        let shared = Arc::new(Shared { questions, queue: sender, state, has_messages, place, _local: None });
        let client = Arc::downgrade(&shared);
        shared.state.set_waker(move || {
            if let Some(client) = client.upgrade() {
                let _ = client.queue.try_send(Work::Order);
            }
        });
        Ok(StoreClient { shared })
    }

    /// Starts the thread of a store in this process for values, with an optional file, and without counters. A file that
    /// cannot be read or written, has another format or is used by another process is an error. `bytes_max` bounds the expiring
    /// values, and as many bytes the permanent ones.
    pub fn start_local(
        file: Option<PathBuf>,
        bytes_max: usize,
        seed: [u64; 2],
    ) -> io::Result<(StoreClient, Arc<ValueCounting>)> {
        let state = Arc::new(StoreState::new(|_, _| {}, |_| {}, LOCAL_DEADLINE));
        let mut backend = LocalBackend::open(file, bytes_max, seed, Arc::clone(&state))?;
        let counting = Arc::clone(backend.counting());
        // Limits are counted by the guard's own state.
        let (questions, _) = sync_channel(QUEUE_MAX);
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        let (state_of_thread, place) = (Arc::clone(&state), Default::default());
        let thread = threads::spawn("weir-values", move || {
            backend::run(&mut backend, &receiver, &state_of_thread, LOCAL_DEADLINE);
        })?;
        let thread = Some(LocalThread(Some(thread)));
        let shared = Shared { questions, queue: sender, state, has_messages: false, place, _local: thread };
        Ok((StoreClient { shared: Arc::new(shared) }, counting))
    }

    /// Asks the questions of a loop: for each of its jobs, the checks of one request. The answers come through `deliver`;
    /// questions beyond the limit are answered at once.
    pub fn ask(&self, loop_index: usize, jobs: impl Iterator<Item = (u64, Vec<Check>)>) {
        let (state, asked_at) = (&self.shared.state, Instant::now());
        let mut questions: Vec<Question> =
            jobs.map(|(job, checks)| Question { loop_index, job, checks, asked_at }).collect();
        count(&state.counting.questions, questions.len());
        let beyond = questions.split_off(state.admit(questions.len()));
        if !questions.is_empty() {
            match self.shared.questions.try_send(questions) {
                Ok(()) => {}
                Err(TrySendError::Full(questions)) => {
                    count(&state.counting.queue_full, questions.len());
                    state.release(questions.len());
                    state.fail(&questions, StoreFailure::Late);
                }
                Err(TrySendError::Disconnected(questions)) => {
                    state.release(questions.len());
                    state.fail(&questions, StoreFailure::Unreachable);
                }
            }
        }
        count(&state.counting.queue_full, beyond.len());
        state.fail(&beyond, StoreFailure::Late);
    }

    /// Requests a value; a thread of the store calls `done` with the answer. Beyond the limit of questions `done` is
    /// called at once.
    pub fn value(&self, request: ValueRequest, done: impl FnOnce(ValueAnswer) + Send + 'static) {
        let Shared { queue, state, .. } = &*self.shared;
        let question = ValueQuestion { request, asked_at: Instant::now(), done: Box::new(done) };
        let (work, failure) = match queue.try_send(Work::Value(question)) {
            Ok(()) => return,
            Err(TrySendError::Full(work)) => {
                count(&state.counting.queue_full, 1);
                (work, StoreFailure::Late)
            }
            Err(TrySendError::Disconnected(work)) => (work, StoreFailure::Unreachable),
        };
        if let Work::Value(question) = work {
            (question.done)(ValueAnswer::Failed(failure));
        }
    }

    /// Queues an order. An order that fails waits until the store is reachable; beyond the limit the oldest is dropped.
    pub fn order(&self, order: StoreOrder) {
        // An order that the store ignores would displace others.
        if order.needs_messages() && !self.shared.has_messages {
            return;
        }
        self.shared.state.add_order(order);
        // A full queue keeps the thread awake, and it looks at orders every time.
        let _ = self.shared.queue.try_send(Work::Order);
    }

    /// Has these bans of this process, with their ends and reasons, written to the store, unless the client knows that it has them.
    pub fn adopt<'b>(&self, bans: impl Iterator<Item = (IpNet, Option<u64>, &'b str)>) {
        if self.shared.has_messages {
            self.shared.state.adopt(bans);
            let _ = self.shared.queue.try_send(Work::Order);
        }
    }

    /// Reports no more news: another client does.
    fn mute(&self) {
        self.shared.state.mute();
    }

    /// Takes the orders over that wait in the client before this one, and at the same place also what it remembers of bans.
    fn take_over_orders(&self, before: &StoreClient) {
        let is_same_place = self.shared.place == before.shared.place;
        self.shared.state.take_over_orders(&before.shared.state, is_same_place);
        let _ = self.shared.queue.try_send(Work::Order);
    }

    /// The counters since the start.
    pub fn counters(&self) -> StoreCounters {
        self.shared.state.counters()
    }
}

/// Checks what a client would be started with, without starting or asking anything. The error says what is wrong with the URL.
pub fn check(settings: &StoreSettings) -> io::Result<()> {
    match settings.url.split("://").next().unwrap_or_default() {
        #[cfg(feature = "mongodb")]
        "mongodb" => mongodb::check(settings),
        #[cfg(feature = "redis")]
        _ => redis::check(settings),
        #[cfg(not(feature = "redis"))]
        _ => Ok(()),
    }
}

fn start_threads(
    settings: StoreSettings,
    state: &Arc<StoreState>,
    questions: Queue,
    queue: Receiver<Work>,
) -> io::Result<()> {
    let scheme = settings.url.split("://").next().unwrap_or_default();
    match scheme {
        #[cfg(feature = "redis")]
        "redis" | "rediss" | "valkey" | "valkeys" | "redis-cluster" | "rediss-cluster" | "redis-sentinel"
        | "rediss-sentinel" => redis::start(settings, state, questions, queue),
        #[cfg(feature = "mongodb")]
        "mongodb" | "mongodb+srv" => mongodb::start(settings, state, questions, queue),
        other => {
            let text = format!("no store is known, or compiled in, for URLs that begin with {other}://");
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        }
    }
}
