//! Clients of stores that several processes share. Each has threads of its own: no loop waits for a store. A question or an
//! order goes into a bounded queue; the thread takes everything that has queued up, sends it as one pipeline, and hands the
//! answers back: many requests share one round trip.

#![cfg_attr(
    not(any(feature = "redis", feature = "mongodb")),
    allow(
        dead_code,
        unused_variables,
        reason = "without a kind of store every URL is an error, and the rest is at rest"
    )
)]

mod backend;
// What is forgotten in the background is Redis's.
#[cfg_attr(not(feature = "redis"), allow(dead_code))]
mod desk;
mod local;
#[cfg(feature = "mongodb")]
pub mod mongodb;
#[cfg(feature = "redis")]
mod redis;
mod settings;
mod slot;

pub use desk::{StoreCounters, StoreReply};
pub use settings::StoreSettings;
pub use slot::StoreSlot;

use crate::guard::store::{Check, StoreFailure, StoreNews, StoreOrder};
use crate::guard::values::{ValueAnswer, ValueRequest};
use backend::{ValueQuestion, Work};
use desk::{Desk, QUESTIONS_MAX, Question, count};
use local::LocalBackend;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

/// Whatever waits for the thread, of which the questions that one loop has asked at once are one (chosen: as many as questions
/// may be).
const QUEUE_MAX: usize = QUESTIONS_MAX;

/// What waits for so long for a store in this process is not asked any more (chosen: its disk is busy, and the client was told so).
const LOCAL_DEADLINE: Duration = Duration::from_secs(2);

/// Asks a store, from any thread; clones share everything. The threads end soon after the last clone is dropped.
#[derive(Clone)]
pub struct StoreClient {
    shared: Arc<Shared>,
}

struct Shared {
    queue: SyncSender<Work>,
    desk: Arc<Desk>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.desk.stop();
    }
}

impl StoreClient {
    /// Starts the threads, which connect on their own time and go on trying: `news` tells of that. `deliver` is told the loop
    /// and its answers, exactly one for each question; both are called on threads of the store and must not wait. A URL that
    /// cannot be understood, or that needs a feature which is not compiled in, is an error.
    pub fn start(
        settings: StoreSettings,
        deliver: impl Fn(usize, Vec<StoreReply>) + Send + Sync + 'static,
        news: impl Fn(StoreNews) + Send + Sync + 'static,
    ) -> io::Result<StoreClient> {
        let desk = Arc::new(Desk::new(deliver, news));
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        start_threads(settings, &desk, receiver).inspect_err(|_| desk.stop())?;
        Ok(StoreClient { shared: Arc::new(Shared { queue: sender, desk }) })
    }

    /// Starts the thread of a store in this process, which keeps values, in that file if there is one, and counts nothing. A file
    /// that cannot be read or written, that is no such file or that another process has is an error.
    pub fn start_local(file: Option<PathBuf>, seed: [u64; 2]) -> io::Result<StoreClient> {
        let desk = Arc::new(Desk::new(|_, _| {}, |_| {}));
        let mut backend = LocalBackend::open(file, seed, Arc::clone(&desk))?;
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        let client = StoreClient { shared: Arc::new(Shared { queue: sender, desk: Arc::clone(&desk) }) };
        std::thread::Builder::new().name("weir-values".to_owned()).spawn(move || {
            backend::run(&mut backend, &receiver, &desk, LOCAL_DEADLINE);
        })?;
        Ok(client)
    }

    /// Asks what a loop wants to know: for each of its jobs, the checks of one request. The answers come through `deliver`; at
    /// once to those that are too many.
    pub fn ask(&self, loop_index: usize, jobs: impl Iterator<Item = (u64, Vec<Check>)>) {
        let (desk, asked_at) = (&self.shared.desk, Instant::now());
        let mut questions: Vec<Question> =
            jobs.map(|(job, checks)| Question { loop_index, job, checks, asked_at }).collect();
        count(&desk.counting.questions, questions.len());
        let beyond = questions.split_off(desk.admit(questions.len()));
        if !questions.is_empty() {
            self.enqueue(Work::Ask(questions));
        }
        count(&desk.counting.queue_full, beyond.len());
        desk.fail(&beyond, StoreFailure::Late);
    }

    /// Asks for a value, and says what came of it on a thread of the store; at once, if too many questions wait.
    pub fn value(&self, request: ValueRequest, done: impl FnOnce(ValueAnswer) + Send + 'static) {
        self.enqueue(Work::Value(ValueQuestion { request, asked_at: Instant::now(), done: Box::new(done) }));
    }

    /// Orders. An order that the store does not get now waits until it does; too many drop the oldest.
    pub fn order(&self, order: StoreOrder) {
        self.shared.desk.add_order(order);
        // A full queue keeps the thread awake, and it looks at orders every time.
        let _ = self.shared.queue.try_send(Work::Order);
    }

    fn enqueue(&self, work: Work) {
        let Shared { queue, desk } = &*self.shared;
        match queue.try_send(work) {
            Ok(()) => {}
            Err(TrySendError::Full(work)) => {
                count(&desk.counting.queue_full, work.len());
                work.fail(desk, StoreFailure::Late);
            }
            Err(TrySendError::Disconnected(work)) => work.fail(desk, StoreFailure::Unreachable),
        }
    }

    /// What happened so far.
    pub fn counters(&self) -> StoreCounters {
        self.shared.desk.counters()
    }
}

fn start_threads(settings: StoreSettings, desk: &Arc<Desk>, queue: Receiver<Work>) -> io::Result<()> {
    let scheme = settings.url.split("://").next().unwrap_or_default();
    match scheme {
        #[cfg(feature = "redis")]
        "redis" | "rediss" | "valkey" | "valkeys" | "redis-cluster" | "rediss-cluster" | "redis-sentinel"
        | "rediss-sentinel" => redis::start(settings, desk, queue),
        #[cfg(feature = "mongodb")]
        "mongodb" | "mongodb+srv" => mongodb::start(settings, desk, queue),
        other => {
            let text = format!("no store is known, or compiled in, for URLs that begin with {other}://");
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        }
    }
}
