//! Requests that wait for a store: for a shared one to count them, or for a value of a page.
//!
//! A request waits for its answer, or until its deadline; then the guard file decides how to continue without. A store that
//! has failed several times is not asked (see [`Breaker`]), so that an outage costs a few requests their deadline, and not
//! all.

use crate::engine::Action;
use crate::engine::context::Context;
use crate::engine::ids::{StoreJob, TransactionId};
use crate::guard::breaker::Breaker;
use crate::guard::rules::{Guard, Question};
use crate::guard::store::StoreFailure;
use crate::guard::values::ValueRequest;
use crate::part::guard::{Lent, Shared};
use crate::time::Now;
use slab::Slab;
use std::collections::VecDeque;

/// How long to wait for a value of the store in this process, in microseconds (chosen: for a busy disk).
const OWN_DEADLINE_US: u64 = 2_000_000;

/// The answer that a request waits for.
#[derive(Debug)]
pub(in crate::engine) enum Awaited {
    /// To be counted.
    Checks {
        question: Question,
        /// The guard that has asked.
        guard: Shared<Guard>,
    },
    /// A value.
    Value {
        /// Whether the store is shared by several processes.
        is_shared: bool,
    },
}

/// One waiting request.
#[derive(Debug)]
pub(in crate::engine) struct Waiting {
    job: StoreJob,
    pub transaction: TransactionId,
    pub awaited: Awaited,
    /// When the question was asked, in microseconds since the loop started.
    pub asked_us: u64,
}

/// The requests of one loop that wait.
#[derive(Debug, Default)]
pub(in crate::engine) struct StoreWaits {
    waiting: Slab<Waiting>,
    /// Deadlines in microseconds since the loop started, the next one first: all wait equally long.
    due: VecDeque<(u64, StoreJob)>,
    serial: u32,
    pub breaker: Breaker,
}

impl StoreWaits {
    /// Lets a request wait for its counters.
    pub fn begin(
        &mut self,
        cx: &mut Context,
        transaction: TransactionId,
        guard: Shared<Guard>,
        mut question: Question,
    ) -> StoreJob {
        let deadline_us = guard.store().map_or(0, |store| store.deadline_us);
        let checks = std::mem::take(&mut question.checks);
        let job = self.wait(cx, transaction, deadline_us, Awaited::Checks { question, guard });
        cx.metrics.guard_store_asked += 1;
        cx.actions.push_back(Action::AskStore { job, checks });
        job
    }

    /// Lets a request wait for a value.
    pub fn begin_value(
        &mut self,
        cx: &mut Context,
        transaction: TransactionId,
        guard: Option<Lent<'_, Guard>>,
        request: ValueRequest,
    ) -> StoreJob {
        let shared = guard.and_then(|guard| guard.store());
        let deadline_us = shared.as_ref().map_or(OWN_DEADLINE_US, |store| store.deadline_us);
        let is_shared = shared.is_some();
        let job = self.wait(cx, transaction, deadline_us, Awaited::Value { is_shared });
        cx.metrics.guard_store_asked += u64::from(is_shared);
        cx.actions.push_back(Action::AskValue { job, request });
        job
    }

    fn wait(
        &mut self,
        cx: &Context,
        transaction: TransactionId,
        deadline_us: u64,
        awaited: Awaited,
    ) -> StoreJob {
        self.serial = self.serial.wrapping_add(1);
        let place = self.waiting.vacant_entry();
        let job = StoreJob::new(self.serial, place.key());
        place.insert(Waiting { job, transaction, awaited, asked_us: cx.now.monotonic_us });
        self.due.push_back((cx.now.monotonic_us + deadline_us, job));
        job
    }

    /// The answer that a request waits for.
    pub fn awaited(&self, job: StoreJob) -> Option<&Awaited> {
        let waiting = self.waiting.get(job.index()).filter(|waiting| waiting.job == job)?;
        Some(&waiting.awaited)
    }

    /// Takes a request out that has waited long enough; `None` if it does not wait any more.
    pub fn take(&mut self, job: StoreJob) -> Option<Waiting> {
        self.waiting.get(job.index()).filter(|waiting| waiting.job == job)?;
        let taken = self.waiting.remove(job.index());
        // The loop need not wake up for a deadline that means nothing any more.
        while self.due.front().is_some_and(|(_, job)| !self.waits(*job)) {
            self.due.pop_front();
        }
        Some(taken)
    }

    /// Records whether a shared store has answered the question of that time. A key that holds something else is no sign of
    /// a dead store: the breaker counts it as an answer.
    pub fn note(&mut self, cx: &mut Context, asked_us: u64, failure: Option<StoreFailure>) {
        cx.metrics.guard_store_failures += u64::from(failure.is_some());
        if failure.is_some_and(StoreFailure::is_of_store) {
            self.breaker.failed(cx.now.monotonic_us);
        } else {
            self.breaker.succeeded();
        }
        cx.metrics.guard_breaker_open = u64::from(self.breaker.is_open());
        cx.metrics.guard_breaker_opened = self.breaker.opened();
        cx.metrics.histograms.guard_store.observe(cx.now.monotonic_us.saturating_sub(asked_us));
    }

    fn waits(&self, job: StoreJob) -> bool {
        self.waiting.get(job.index()).is_some_and(|waiting| waiting.job == job)
    }

    /// The next request whose deadline has passed.
    pub fn next_due(&mut self, now: Now) -> Option<StoreJob> {
        let (due_us, job) = self.due.front().copied()?;
        (due_us <= now.monotonic_us).then_some(job)
    }

    /// When the first deadline passes, in microseconds since the loop started.
    pub fn next_timeout_us(&self) -> Option<u64> {
        self.due.front().map(|(due_us, _)| *due_us)
    }
}
