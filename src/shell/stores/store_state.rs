//! The state that a client of a store shares with its threads: waiting orders, the receivers of answers and news, and counters.

use super::health::{Health, VALUES, asker_of_loop};
use super::orders::{Act, Bans, Orders};
use crate::guard::store::{Answer, Check, StoreFailure, StoreNews, StoreOrder};
use crate::shell::clock::unix_now_ms;
use ipnet::IpNet;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Questions that wait for the thread (chosen: 50 ms at 80,000 requests a second).
pub(super) const QUESTIONS_MAX: usize = 4096;

/// Most prefixes of keys that wait for a sweep (chosen: each sweep looks at all keys of the store).
const SWEEPS_MAX: usize = 100;

/// Called when a client has connected, or could not within the time for it.
pub type Ready = Box<dyn FnOnce() + Send>;

/// Replies to one loop. All answers are in one piece of memory: one for each question would be allocated in one thread and
/// freed in another, which the allocator is slow at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreReplies {
    /// The engine's jobs that asked, and the number of answers to each.
    jobs: Vec<(u64, Result<usize, StoreFailure>)>,
    answers: Vec<Answer>,
}

impl StoreReplies {
    /// For each job: one answer for each of its checks, in their order, or a failure for all.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Result<&[Answer], StoreFailure>)> {
        let mut rest = &self.answers[..];
        self.jobs.iter().map(move |(job, count)| {
            let answers = count.map(|count| {
                let (own, others) = rest.split_at(count.min(rest.len()));
                rest = others;
                own
            });
            (*job, answers)
        })
    }

    /// Adds a job and the outcomes of its checks, of which the first failure counts.
    fn add(
        &mut self,
        job: u64,
        outcomes: impl Iterator<Item = Result<Answer, StoreFailure>>,
    ) -> Result<usize, StoreFailure> {
        let (start, mut failure) = (self.answers.len(), None);
        // All outcomes are consumed, even behind a failure.
        for outcome in outcomes {
            match outcome {
                Ok(answer) => self.answers.push(answer),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        let count = match failure {
            None => Ok(self.answers.len() - start),
            Some(failure) => {
                self.answers.truncate(start);
                Err(failure)
            }
        };
        self.jobs.push((job, count));
        count
    }
}

/// The question of one request.
#[derive(Debug)]
pub(super) struct Question {
    pub loop_index: usize,
    pub job: u64,
    pub checks: Vec<Check>,
    pub asked_at: Instant,
}

/// The counters of a client of a store since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreCounters {
    /// Questions asked.
    pub questions: u64,
    /// Questions that the store has answered.
    pub answers: u64,
    /// Questions that it has answered with an error, or with something that is no answer.
    pub refused: u64,
    /// Questions without an answer in time.
    pub late: u64,
    /// Questions without a connection, or whose connection broke.
    pub unreachable: u64,
    /// Questions that a full queue has turned away.
    pub queue_full: u64,
    /// Questions that were too old to be sent.
    pub expired: u64,
    /// Orders dropped because too many waited, or because the store refused them.
    pub orders_dropped: u64,
    /// Bans of the store beyond `bans_max`.
    pub bans_dropped: u64,
    /// Connections that were made.
    pub connections: u64,
}

impl StoreCounters {
    /// Adds the counters of another client.
    pub fn add(&mut self, other: &StoreCounters) {
        let StoreCounters {
            questions,
            answers,
            refused,
            late,
            unreachable,
            queue_full,
            expired,
            orders_dropped,
            bans_dropped,
            connections,
        } = self;
        *questions += other.questions;
        *answers += other.answers;
        *refused += other.refused;
        *late += other.late;
        *unreachable += other.unreachable;
        *queue_full += other.queue_full;
        *expired += other.expired;
        *orders_dropped += other.orders_dropped;
        *bans_dropped += other.bans_dropped;
        *connections += other.connections;
    }
}

/// [`StoreCounters`] while they are counted.
#[derive(Debug, Default)]
pub(super) struct Counting {
    pub questions: AtomicU64,
    pub answers: AtomicU64,
    pub refused: AtomicU64,
    pub late: AtomicU64,
    pub unreachable: AtomicU64,
    pub queue_full: AtomicU64,
    pub expired: AtomicU64,
    pub orders_dropped: AtomicU64,
    pub bans_dropped: AtomicU64,
    pub connections: AtomicU64,
}

/// Counts one more.
pub(super) fn count(counter: &AtomicU64, more: usize) {
    counter.fetch_add(more as u64, Ordering::Relaxed);
}

/// The state that the threads of one client of a store share.
pub(super) struct StoreState {
    stopping: AtomicBool,
    /// Questions in the queue.
    waiting: AtomicUsize,
    orders: Mutex<Orders>,
    /// Beginnings of keys that are to be forgotten.
    sweeps: Mutex<VecDeque<Box<str>>>,
    health: Mutex<Health>,
    /// An answer that comes later is as good as none.
    deadline: Duration,
    is_muted: AtomicBool,
    is_announced: AtomicBool,
    ready: Mutex<Option<Ready>>,
    /// Wakes the thread of questions and orders.
    waker: OnceLock<Box<dyn Fn() + Send + Sync>>,
    deliver: Box<dyn Fn(usize, StoreReplies) + Send + Sync>,
    news: Box<dyn Fn(StoreNews) + Send + Sync>,
    pub counting: Counting,
}

impl StoreState {
    pub fn new(
        deliver: impl Fn(usize, StoreReplies) + Send + Sync + 'static,
        news: impl Fn(StoreNews) + Send + Sync + 'static,
        deadline: Duration,
    ) -> StoreState {
        StoreState {
            stopping: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            orders: Mutex::default(),
            sweeps: Mutex::default(),
            health: Mutex::default(),
            deadline,
            is_muted: AtomicBool::new(false),
            is_announced: AtomicBool::new(false),
            ready: Mutex::default(),
            waker: OnceLock::new(),
            deliver: Box::new(deliver),
            news: Box::new(news),
            counting: Counting::default(),
        }
    }

    /// Calls `ready` when the client is connected.
    pub fn announcing(self, ready: Ready) -> StoreState {
        StoreState { ready: Mutex::new(Some(ready)), ..self }
    }

    /// Sets what wakes the thread of questions and orders.
    pub fn set_waker(&self, wake: impl Fn() + Send + Sync + 'static) {
        let _ = self.waker.set(Box::new(wake));
    }

    /// The client has connected, or has tried in vain.
    pub fn announce(&self) {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ready) = ready {
            ready();
        }
        self.is_announced.store(true, Ordering::Release);
    }

    /// Whether the client has its place, and with it the orders and bans that it takes over.
    pub fn is_announced(&self) -> bool {
        self.is_announced.load(Ordering::Acquire)
    }

    /// Whether the client was dropped, so that the threads end.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Takes up to `wanted` places in the queue. Returns the number of places, which are taken from now on.
    pub fn admit(&self, wanted: usize) -> usize {
        let all = |waiting: usize| Some(waiting.saturating_add(wanted).min(QUESTIONS_MAX.max(waiting)));
        let before = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, all);
        wanted.min(QUESTIONS_MAX.saturating_sub(before.unwrap_or(QUESTIONS_MAX)))
    }

    /// Gives `count` places in the queue back.
    pub fn release(&self, count: usize) {
        self.waiting.fetch_sub(count, Ordering::Relaxed);
    }

    /// Answers questions with the outcomes of all their checks. Sends each loop all its answers at once: waking a loop costs
    /// as much as an answer. The reason of failures is for the log.
    pub fn answer(
        &self,
        questions: &[Question],
        mut outcomes: impl Iterator<Item = Result<Answer, StoreFailure>>,
        reason: Option<&str>,
    ) {
        let now = Instant::now();
        let mut of_loops: Vec<(usize, StoreReplies)> = Vec::new();
        for Question { loop_index, job, checks, asked_at } in questions {
            let place = of_loops.iter().position(|(index, _)| index == loop_index);
            let place = place.unwrap_or_else(|| {
                of_loops.push((*loop_index, StoreReplies::default()));
                of_loops.len() - 1
            });
            let outcome = of_loops[place].1.add(*job, outcomes.by_ref().take(checks.len()));
            let late = (now.duration_since(*asked_at) >= self.deadline).then_some(StoreFailure::Late);
            self.note(asker_of_loop(*loop_index), outcome.err().or(late), reason, now);
            let counter = match outcome {
                Ok(_) => &self.counting.answers,
                Err(StoreFailure::Refused | StoreFailure::WrongType) => &self.counting.refused,
                Err(StoreFailure::Late) => &self.counting.late,
                Err(StoreFailure::Unreachable) => &self.counting.unreachable,
            };
            count(counter, 1);
        }
        of_loops.into_iter().for_each(|(loop_index, replies)| (self.deliver)(loop_index, replies));
    }

    /// Answers questions without the store.
    pub fn fail(&self, questions: &[Question], failure: StoreFailure) {
        self.answer(questions, std::iter::repeat(Err(failure)), None);
    }

    /// Records the outcomes of questions for values.
    pub fn note_values(&self, failures: impl Iterator<Item = Option<StoreFailure>>, reason: Option<&str>) {
        let now = Instant::now();
        failures.for_each(|failure| self.note(VALUES, failure, reason, now));
    }

    fn note(&self, asker: usize, failure: Option<StoreFailure>, reason: Option<&str>, now: Instant) {
        self.diagnose(|health| match failure {
            None => health.answered(asker),
            Some(failure) => health.failed(asker, failure, reason, now),
        });
    }

    /// Records what was learned of the store, and tells it if it is new. Threads tell in the order in which they learn.
    pub fn diagnose(&self, learn: impl FnOnce(&mut Health) -> Option<StoreNews>) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(news) = learn(&mut health) {
            self.tell(news);
        }
    }

    pub fn tell(&self, news: StoreNews) {
        if !self.is_muted.load(Ordering::Relaxed) {
            (self.news)(news);
        }
    }

    /// Drops all news from now on.
    pub fn mute(&self) {
        self.is_muted.store(true, Ordering::Relaxed);
    }

    /// Takes over what another state has not done, and what it remembers of bans if they are in the same place.
    pub fn take_over_orders(&self, before: &StoreState, is_same_place: bool) {
        let mut orders = before.orders().hand_over();
        if !is_same_place {
            orders.forget_all_own();
        }
        *self.orders() = orders;
        let sweeps = std::mem::take(&mut *before.sweeps.lock().unwrap_or_else(PoisonError::into_inner));
        sweeps.into_iter().for_each(|key| self.add_sweep(key));
    }

    /// Removes questions that have waited for too long from the batch, and answers them.
    pub fn answer_expired(&self, batch: &mut Vec<Question>, deadline: Duration) {
        let now = Instant::now();
        let is_expired = |question: &Question| now.duration_since(question.asked_at) >= deadline;
        // Mostly none is.
        if !batch.iter().any(is_expired) {
            return;
        }
        let (expired, in_time): (Vec<_>, Vec<_>) = batch.drain(..).partition(is_expired);
        batch.extend(in_time);
        count(&self.counting.expired, expired.len());
        self.fail(&expired, StoreFailure::Late);
    }

    pub fn add_order(&self, order: StoreOrder) {
        let dropped = self.orders().add(order);
        count(&self.counting.orders_dropped, dropped);
    }

    /// Has bans of this process written that are not remembered.
    pub fn adopt<'b>(&self, bans: impl Iterator<Item = (IpNet, Option<u64>, &'b str)>) {
        let mut orders = self.orders();
        bans.for_each(|(network, until_unix_ms, reason)| orders.adopt(network, until_unix_ms, reason));
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues the removal of all keys with this prefix. Equal sweeps are queued once, so repeating an order costs nothing.
    pub fn add_sweep(&self, key: Box<str>) {
        let mut sweeps = self.sweeps.lock().unwrap_or_else(PoisonError::into_inner);
        if sweeps.contains(&key) {
            return;
        }
        if sweeps.len() >= SWEEPS_MAX {
            count(&self.counting.orders_dropped, 1);
            return;
        }
        sweeps.push_back(key);
    }

    /// The prefix to sweep next. It stays in the queue until the sweep has ended.
    pub fn next_sweep(&self) -> Option<Box<str>> {
        self.sweeps.lock().unwrap_or_else(PoisonError::into_inner).front().cloned()
    }

    /// The next one was looked for.
    pub fn end_sweep(&self) {
        self.sweeps.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    }

    /// The next orders, oldest first.
    pub fn take_orders(&self, most: usize) -> Vec<StoreOrder> {
        self.orders().take(most)
    }

    /// Orders that were not taken, from a place in the queue on.
    pub fn waiting_orders(&self, from: usize, most: usize) -> Vec<StoreOrder> {
        self.orders().waiting(from, most)
    }

    /// Puts orders that could not be carried out back to their old places.
    pub fn return_orders(&self, back: Vec<StoreOrder>) {
        let dropped = self.orders().put_back(back);
        count(&self.counting.orders_dropped, dropped);
    }

    pub fn has_orders(&self) -> bool {
        !self.orders().is_empty()
    }

    /// See [`Orders::note_done`].
    pub fn note_done(&self, orders: &[StoreOrder], are_written: bool) {
        self.orders().note_done(orders, are_written);
    }

    /// A ban of this process has ended.
    pub fn forget_own(&self, network: IpNet) {
        self.orders().forget_own(network);
    }

    /// See [`Orders::is_waited_for`].
    pub fn is_waited_for(&self, network: IpNet) -> bool {
        self.orders().is_waited_for(network, unix_now_ms())
    }

    /// See [`Orders::note_told`].
    pub fn note_told(&self, network: IpNet, act: Act) {
        self.orders().note_told(network, act);
    }

    /// See [`Orders::note_others`].
    pub fn note_others(&self, network: IpNet) {
        self.orders().note_others(network);
    }

    /// The orders that are still to be carried out; see [`Orders::is_void`].
    pub fn valid(&self, orders: &[StoreOrder]) -> Vec<StoreOrder> {
        let (known, now_unix_ms) = (self.orders(), unix_now_ms());
        orders.iter().filter(|order| !known.is_void(order, now_unix_ms)).cloned().collect()
    }

    /// A load of all bans begins.
    pub fn begin_load(&self) {
        self.orders().begin_load();
    }

    /// See [`Orders::end_load`].
    pub fn end_load(&self, bans: &mut Bans, now_unix_ms: u64) -> Vec<IpNet> {
        self.orders().end_load(bans, now_unix_ms)
    }

    /// See [`Orders::bring_back`].
    pub fn bring_back(&self, networks: Vec<IpNet>) -> Bans {
        let back: Bans = {
            let mut orders = self.orders();
            networks.into_iter().filter_map(|network| Some((network, orders.bring_back(network)?))).collect()
        };
        if let Some(wake) = self.waker.get().filter(|_| !back.is_empty()) {
            wake();
        }
        back
    }

    pub fn counters(&self) -> StoreCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StoreCounters {
            questions: read(&self.counting.questions),
            answers: read(&self.counting.answers),
            refused: read(&self.counting.refused),
            late: read(&self.counting.late),
            unreachable: read(&self.counting.unreachable),
            queue_full: read(&self.counting.queue_full),
            expired: read(&self.counting.expired),
            orders_dropped: read(&self.counting.orders_dropped),
            bans_dropped: read(&self.counting.bans_dropped),
            connections: read(&self.counting.connections),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const DEADLINE: Duration = Duration::from_secs(30);

    #[test]
    fn beginnings_of_keys_wait_once_and_are_bounded() {
        let state = StoreState::new(|_, _| {}, |_| {}, DEADLINE);
        for number in (0..SWEEPS_MAX).chain([0, SWEEPS_MAX]) {
            state.add_sweep(number.to_string().into());
        }
        assert_eq!(state.counters().orders_dropped, 1);
        for number in 0..SWEEPS_MAX {
            assert_eq!(state.next_sweep(), Some(number.to_string().into()));
            assert_eq!(state.next_sweep(), Some(number.to_string().into()), "it stays until it is done");
            state.end_sweep();
        }
        assert_eq!(state.next_sweep(), None);
    }

    fn question(loop_index: usize, job: u64, checks: usize, asked_at: Instant) -> Question {
        let check = Check::Window { key: "k".into(), limit: 1, window_ms: 1 };
        Question { loop_index, job, checks: vec![check; checks], asked_at }
    }

    #[test]
    fn questions_beyond_the_deadline_are_answered_and_not_sent() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let teller = told.clone();
        let state = StoreState::new(
            move |_, replies: StoreReplies| {
                let each = replies.iter().map(|(job, answers)| (job, answers.map(<[Answer]>::to_vec)));
                teller.lock().expect("a lock").extend(each);
            },
            |_| {},
            DEADLINE,
        );
        let now = Instant::now();
        let early = now - Duration::from_secs(60);
        let mut batch = vec![question(0, 1, 1, early), question(0, 2, 1, now), question(0, 3, 2, early)];
        state.answer_expired(&mut batch, Duration::from_secs(30));
        assert_eq!(batch.iter().map(|question| question.job).collect::<Vec<_>>(), [2]);
        let late = Err(StoreFailure::Late);
        assert_eq!(*told.lock().expect("a lock"), [(1, late.clone()), (3, late)]);
        let counted = state.counters();
        assert_eq!((counted.expired, counted.late, counted.answers), (2, 2, 0));
    }

    #[test]
    fn each_loop_is_told_all_its_answers_at_once() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let teller = told.clone();
        let state = StoreState::new(
            move |index, replies: StoreReplies| {
                let each = replies.iter().map(|(job, answers)| (job, answers.map(<[Answer]>::to_vec)));
                teller.lock().expect("a lock").push((index, each.collect::<Vec<_>>()));
            },
            |_| {},
            DEADLINE,
        );
        let now = Instant::now();
        let askers = [(0, 1, 1), (1, 2, 2), (0, 3, 2), (0, 4, 3), (1, 5, 1)];
        let questions = askers.map(|(loop_index, job, checks)| question(loop_index, job, checks, now));
        let answer = |left| Answer::Window { within: true, left, retry_after_ms: 0 };
        // Both outcomes of job 3 and the last two of job 4 are no answers: the first failure is the one of the job.
        let outcomes = (0..9).map(|number| match number {
            3 | 6 => Err(StoreFailure::Refused),
            4 | 7 => Err(StoreFailure::Unreachable),
            _ => Ok(answer(number)),
        });
        state.answer(&questions, outcomes, None);
        let refused = Err(StoreFailure::Refused);
        assert_eq!(
            *told.lock().expect("a lock"),
            [
                (0, vec![(1, Ok(vec![answer(0)])), (3, refused.clone()), (4, refused)]),
                (1, vec![(2, Ok(vec![answer(1), answer(2)])), (5, Ok(vec![answer(8)]))]),
            ]
        );
        let counted = state.counters();
        assert_eq!((counted.answers, counted.refused, counted.unreachable), (3, 2, 0));
    }

    #[test]
    fn questions_that_wait_are_bounded() {
        let state = StoreState::new(|_, _| {}, |_| {}, DEADLINE);
        assert_eq!(
            (state.admit(QUESTIONS_MAX - 1), state.admit(3), state.admit(1)),
            (QUESTIONS_MAX - 1, 1, 0)
        );
        state.release(2);
        assert_eq!((state.admit(1), state.admit(7), state.admit(7)), (1, 1, 0));
    }
}
