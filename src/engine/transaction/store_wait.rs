//! Requests that wait for the store that several processes share to count them.
//!
//! A request waits for its answer, or until its deadline; then the guard file says what is done without. A store that has
//! failed several times is not asked (see [`Breaker`]), so that an outage costs a few requests their deadline, and not all.

use crate::engine::Action;
use crate::engine::context::Context;
use crate::engine::ids::{StoreJob, TransactionId};
use crate::guard::breaker::Breaker;
use crate::guard::rules::{Guard, Question};
use crate::time::Now;
use slab::Slab;
use std::collections::VecDeque;
use std::sync::Arc;

/// One request that waits.
#[derive(Debug)]
pub(in crate::engine) struct Waiting {
    job: StoreJob,
    pub transaction: TransactionId,
    pub question: Question,
    /// The guard that has asked.
    pub guard: Arc<Guard>,
    /// When it has, in microseconds since the loop started.
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
    /// Has a request wait.
    pub fn begin(
        &mut self,
        cx: &mut Context,
        transaction: TransactionId,
        guard: Arc<Guard>,
        mut question: Question,
    ) -> StoreJob {
        self.serial = self.serial.wrapping_add(1);
        let place = self.waiting.vacant_entry();
        let job = StoreJob::new(self.serial, place.key());
        let deadline_us = guard.store().map_or(0, |store| store.deadline_us);
        let checks = std::mem::take(&mut question.checks);
        place.insert(Waiting { job, transaction, question, guard, asked_us: cx.now.monotonic_us });
        self.due.push_back((cx.now.monotonic_us + deadline_us, job));
        cx.metrics.guard_store_asked += 1;
        cx.actions.push_back(Action::AskStore { job, checks });
        job
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
