//! One upstream of one route and its state: requests under way, failures, the result of checks, and whether an operator has
//! drained it.
//!
//! All loops and the thread of the checks write the state, without a lock but for a failure: each value is independent, and a
//! choice with a value of a moment ago is as good as another choice. Times are milliseconds on the clock of all loops.
//!
//! *Passive health*: a number of failed requests within a time marks the upstream down for a time. After that time the
//! upstream is tried again, and the first failure marks it down again, until a request has succeeded. *Active health*: a
//! number of failed checks in a row makes the upstream unhealthy; a number of successful checks in a row makes it healthy,
//! and ends a passive mark, too. A recovered upstream gets its share step by step (*slow start*).

use crate::http::target::Authority;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The share of an upstream without restriction, and the unit of smaller shares.
pub const WHOLE_SHARE: u32 = 256;

/// The share with which a slow start begins (chosen: a quarter, so that a client that tries a few times reaches the upstream).
const FIRST_SHARE: u32 = WHOLE_SHARE / 4;

/// The way in which a request failed at an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// No connection was established.
    Connect,
    /// The connection ended before a response.
    Reset,
    /// No response within the time-out.
    Timeout,
    /// A response with this status.
    Status(u16),
}

/// The kinds of failures that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailOn {
    /// No connection was established.
    pub connect: bool,
    /// An end before the response.
    pub reset: bool,
    /// No response within the time-out.
    pub timeout: bool,
    /// 502, 503, 504.
    pub statuses: [bool; 3],
}

/// The statuses that can count as failures.
pub const FAILING_STATUSES: [u16; 3] = [502, 503, 504];

impl FailOn {
    /// Whether this failure counts.
    pub fn counts(self, failed: Failed) -> bool {
        match failed {
            Failed::Connect => self.connect,
            Failed::Reset => self.reset,
            Failed::Timeout => self.timeout,
            Failed::Status(status) => {
                FAILING_STATUSES.iter().zip(self.statuses).any(|(known, counts)| *known == status && counts)
            }
        }
    }
}

/// The rules by which failed requests mark an upstream down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassiveRules {
    /// Number of failures; 0 never marks the upstream down.
    pub failures: u32,
    /// Within this time.
    pub within_ms: u64,
    /// Down for so long.
    pub down_ms: u64,
    /// The kinds of failures that count.
    pub on: FailOn,
}

/// The state of an upstream.
#[derive(Debug)]
pub struct Upstream {
    /// The address of the upstream.
    pub authority: Authority,
    in_flight: AtomicU32,
    drained: AtomicBool,
    unhealthy: AtomicBool,
    /// Successful checks in a row if positive, failed checks in a row if negative.
    checks_in_a_row: AtomicI32,
    /// The times of the latest failures, oldest first: fewer than mark the upstream down.
    failed_ms: Mutex<VecDeque<u64>>,
    /// The upstream was marked down, and no request has succeeded since: the next failure marks it down again.
    on_trial: AtomicBool,
    /// 0: was never marked down.
    down_until_ms: AtomicU64,
    /// Time of the last recovery; 0 without one.
    recovered_ms: AtomicU64,
    /// Turns of the upstream while it had less than its share.
    turns: AtomicU32,
    totals: Totals,
}

/// Counts since the start.
#[derive(Debug, Default)]
struct Totals {
    requests: AtomicU64,
    failures: AtomicU64,
    checks_failed: AtomicU64,
    marked_down: AtomicU64,
}

/// The state of an upstream for new requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The upstream gets this share of its weight, of [`WHOLE_SHARE`].
    Up(u32),
    /// Requests have failed; the upstream is down until this time.
    Down(u64),
    /// Checks fail.
    Unhealthy,
    /// An operator has taken it out.
    Drained,
}

/// The change of state by a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The upstream is used again.
    Up,
    /// The upstream is not used any more.
    Down,
}

/// Numbers of one upstream at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Requests under way.
    pub in_flight: u32,
    /// Requests sent to the upstream.
    pub requests: u64,
    /// Requests that failed, whether or not their failures count.
    pub failures: u64,
    /// Checks that failed.
    pub checks_failed: u64,
    /// How often the upstream was marked down, by requests or by checks.
    pub marked_down: u64,
}

impl Upstream {
    /// A healthy upstream without history.
    pub fn new(authority: Authority) -> Upstream {
        Upstream {
            authority,
            in_flight: AtomicU32::new(0),
            drained: AtomicBool::new(false),
            unhealthy: AtomicBool::new(false),
            checks_in_a_row: AtomicI32::new(0),
            failed_ms: Mutex::default(),
            on_trial: AtomicBool::new(false),
            down_until_ms: AtomicU64::new(0),
            recovered_ms: AtomicU64::new(0),
            turns: AtomicU32::new(0),
            totals: Totals::default(),
        }
    }

    /// The state of the upstream for new requests.
    pub fn standing(&self, now_ms: u64, slow_start_ms: u64) -> Standing {
        if self.drained.load(Relaxed) {
            return Standing::Drained;
        }
        if self.unhealthy.load(Relaxed) {
            return Standing::Unhealthy;
        }
        let down_until_ms = self.down_until_ms.load(Relaxed);
        if now_ms < down_until_ms {
            return Standing::Down(down_until_ms);
        }
        let since_ms = self.recovered_ms.load(Relaxed).max(down_until_ms);
        let passed_ms = now_ms.saturating_sub(since_ms);
        if since_ms == 0 || passed_ms >= slow_start_ms {
            return Standing::Up(WHOLE_SHARE);
        }
        // Less than the whole: `passed_ms` is less than `slow_start_ms`.
        let risen = u64::from(WHOLE_SHARE - FIRST_SHARE) * passed_ms / slow_start_ms;
        Standing::Up(FIRST_SHARE + risen as u32)
    }

    /// Whether an upstream with this share takes its turn: it takes that share of its turns, evenly spread.
    pub fn takes_turn(&self, share: u32) -> bool {
        if share >= WHOLE_SHARE {
            return true;
        }
        let turn = u64::from(self.turns.fetch_add(1, Relaxed));
        let (share, whole) = (u64::from(share), u64::from(WHOLE_SHARE));
        (turn + 1) * share / whole > turn * share / whole
    }

    /// A request begins.
    pub fn begin(&self) {
        self.in_flight.fetch_add(1, Relaxed);
        self.totals.requests.fetch_add(1, Relaxed);
    }

    /// A request has ended, however it did.
    pub fn end(&self) {
        // Every request began before it ends, so the number does not fall below 0.
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// Requests under way.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// A request has succeeded: an upstream that was down is up.
    pub fn note_success(&self) {
        if self.on_trial.load(Relaxed) {
            self.on_trial.store(false, Relaxed);
        }
    }

    /// The failures that count. No code that holds the lock can leave them half changed.
    fn failed_ms(&self) -> MutexGuard<'_, VecDeque<u64>> {
        self.failed_ms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has failed. Whether that marks the upstream down.
    pub fn note_failure(&self, failed: Failed, rules: &PassiveRules, now_ms: u64) -> bool {
        self.totals.failures.fetch_add(1, Relaxed);
        if rules.failures == 0 || !rules.on.counts(failed) || now_ms < self.down_until_ms.load(Relaxed) {
            return false;
        }
        let mut failed_ms = self.failed_ms();
        failed_ms.push_back(now_ms);
        while failed_ms.front().is_some_and(|failed_ms| now_ms.saturating_sub(*failed_ms) >= rules.within_ms)
        {
            failed_ms.pop_front();
        }
        if failed_ms.len() < rules.failures as usize && !self.on_trial.load(Relaxed) {
            return false;
        }
        failed_ms.clear();
        self.on_trial.store(true, Relaxed);
        self.down_until_ms.store(now_ms.saturating_add(rules.down_ms), Relaxed);
        // Earlier successful checks have no meaning any more; failed ones do.
        self.checks_in_a_row.fetch_min(0, Relaxed);
        self.totals.marked_down.fetch_add(1, Relaxed);
        true
    }

    /// A check has succeeded, or has not.
    pub fn note_check(&self, is_well: bool, rise: u32, fall: u32, now_ms: u64) -> Option<Change> {
        if !is_well {
            self.totals.checks_failed.fetch_add(1, Relaxed);
        }
        // Only one thread makes checks.
        let before = self.checks_in_a_row.load(Relaxed);
        let in_a_row =
            if is_well { before.max(0).saturating_add(1) } else { before.min(0).saturating_sub(1) };
        self.checks_in_a_row.store(in_a_row, Relaxed);
        let (is_unhealthy, is_down) =
            (self.unhealthy.load(Relaxed), now_ms < self.down_until_ms.load(Relaxed));
        let (contradicts, wanted) =
            if is_well { (is_unhealthy || is_down, rise) } else { (!is_unhealthy, fall) };
        if !contradicts || in_a_row.unsigned_abs() < wanted {
            return None;
        }
        self.unhealthy.store(!is_well, Relaxed);
        if is_well {
            self.recovered_ms.store(now_ms, Relaxed);
            self.down_until_ms.store(0, Relaxed);
            self.failed_ms().clear();
            self.on_trial.store(false, Relaxed);
            Some(Change::Up)
        } else {
            self.totals.marked_down.fetch_add(1, Relaxed);
            Some(Change::Down)
        }
    }

    /// Forgets the results of checks, because no thread checks the upstream any more.
    pub fn forget_checks(&self) {
        self.unhealthy.store(false, Relaxed);
        self.checks_in_a_row.store(0, Relaxed);
    }

    /// Takes it out for new requests, or puts it back. Whether that changes anything.
    pub fn set_drained(&self, drained: bool, now_ms: u64) -> bool {
        let was = self.drained.swap(drained, Relaxed);
        if was && !drained {
            self.recovered_ms.store(now_ms, Relaxed);
        }
        was != drained
    }

    /// The numbers of the upstream.
    pub fn numbers(&self) -> Numbers {
        Numbers {
            in_flight: self.in_flight(),
            requests: self.totals.requests.load(Relaxed),
            failures: self.totals.failures.load(Relaxed),
            checks_failed: self.totals.checks_failed.load(Relaxed),
            marked_down: self.totals.marked_down.load(Relaxed),
        }
    }
}

#[cfg(test)]
#[path = "upstream_tests.rs"]
mod tests;
