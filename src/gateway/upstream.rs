//! One upstream of one route, and what is known of it: requests under way, failures, whether checks find it well, whether it is
//! drained.
//!
//! All loops and the thread that checks write here, with no lock: each value stands for itself, and a choice that sees one
//! value a moment early is as good as another choice. Times are milliseconds on the clock of all loops.
//!
//! *Passive health*: so many failures of requests in a time mark the upstream down for a time. When that is over, it is tried
//! again, and the first failure marks it down once more, until a request has succeeded. *Active health*: so many checks in a
//! row that fail make it unhealthy, so many that succeed make it well, and end a passive mark, too. An upstream that has come
//! back gets its share little by little (*slow start*).

use crate::http::target::Authority;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::Relaxed};

/// The share of an upstream that has all of its share, and the unit of smaller ones.
pub const WHOLE_SHARE: u32 = 256;

/// The share with which a slow start begins (chosen: a quarter, so that a client that tries a few times finds it in use).
const FIRST_SHARE: u32 = WHOLE_SHARE / 4;

/// How a request failed at an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// No connection came about.
    Connect,
    /// The connection ended before a response.
    Reset,
    /// No response in time.
    Timeout,
    /// A response with this status.
    Status(u16),
}

/// Which failures count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailOn {
    /// No connection.
    pub connect: bool,
    /// An end before the response.
    pub reset: bool,
    /// No response in time.
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

/// When failures of requests mark an upstream down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassiveRules {
    /// So many failures; 0: never.
    pub failures: u32,
    /// Within this time.
    pub within_ms: u64,
    /// Down for so long.
    pub down_ms: u64,
    /// What counts.
    pub on: FailOn,
}

/// What is known of an upstream.
#[derive(Debug)]
pub struct Upstream {
    /// Where it is.
    pub authority: Authority,
    in_flight: AtomicU32,
    drained: AtomicBool,
    unhealthy: AtomicBool,
    /// Checks in a row that have succeeded; below 0, that have failed.
    checks_in_a_row: AtomicI32,
    /// Failures that were counted, and since when.
    failures: AtomicU32,
    failing_since_ms: AtomicU64,
    /// 0: was never marked down.
    down_until_ms: AtomicU64,
    /// When it became well; 0: it always was.
    recovered_ms: AtomicU64,
    /// Requests that came to its turn while it had not all of its share.
    turns: AtomicU32,
    totals: Totals,
}

/// What has happened since the start.
#[derive(Debug, Default)]
struct Totals {
    requests: AtomicU64,
    failures: AtomicU64,
    checks_failed: AtomicU64,
    marked_down: AtomicU64,
}

/// What an upstream is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It gets this share of its weight, of [`WHOLE_SHARE`].
    Up(u32),
    /// Requests have failed; until when.
    Down(u64),
    /// Checks fail.
    Unhealthy,
    /// An operator has taken it out.
    Drained,
}

/// What a check has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is used again.
    Up,
    /// It is not used any more.
    Down,
}

/// Numbers of one upstream at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Requests under way.
    pub in_flight: u32,
    /// Requests that were sent to it.
    pub requests: u64,
    /// Those that failed, whether or not that counts.
    pub failures: u64,
    /// Checks that failed.
    pub checks_failed: u64,
    /// How often it was marked down, by requests or by checks.
    pub marked_down: u64,
}

impl Upstream {
    /// One of which nothing is known: it is well.
    pub fn new(authority: Authority) -> Upstream {
        Upstream {
            authority,
            in_flight: AtomicU32::new(0),
            drained: AtomicBool::new(false),
            unhealthy: AtomicBool::new(false),
            checks_in_a_row: AtomicI32::new(0),
            failures: AtomicU32::new(0),
            failing_since_ms: AtomicU64::new(0),
            down_until_ms: AtomicU64::new(0),
            recovered_ms: AtomicU64::new(0),
            turns: AtomicU32::new(0),
            totals: Totals::default(),
        }
    }

    /// What it is good for.
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

    /// Whether an upstream with a share takes this turn: so many of its turns as its share says, evenly spread.
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
        // One that has begun: it does not fall below 0.
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// Requests under way.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// A request has succeeded: an upstream that was down is up.
    pub fn note_success(&self, rules: &PassiveRules) {
        if self.failures.load(Relaxed) >= rules.failures {
            self.failures.store(0, Relaxed);
        }
    }

    /// A request has failed. Whether that marks the upstream down.
    pub fn note_failure(&self, failed: Failed, rules: &PassiveRules, now_ms: u64) -> bool {
        self.totals.failures.fetch_add(1, Relaxed);
        if rules.failures == 0 || !rules.on.counts(failed) || now_ms < self.down_until_ms.load(Relaxed) {
            return false;
        }
        let is_on_trial = self.failures.load(Relaxed) >= rules.failures;
        let since_ms = self.failing_since_ms.load(Relaxed);
        let is_over = now_ms.saturating_sub(since_ms) >= rules.within_ms;
        let failures = match is_over && !is_on_trial {
            true => {
                self.failing_since_ms.store(now_ms, Relaxed);
                self.failures.store(1, Relaxed);
                1
            }
            false => self.failures.fetch_add(1, Relaxed).saturating_add(1),
        };
        if failures < rules.failures {
            return false;
        }
        self.failures.store(rules.failures, Relaxed);
        self.down_until_ms.store(now_ms.saturating_add(rules.down_ms), Relaxed);
        // Checks that succeeded before say nothing any more.
        self.checks_in_a_row.store(0, Relaxed);
        self.totals.marked_down.fetch_add(1, Relaxed);
        true
    }

    /// A check has succeeded, or has not.
    pub fn note_check(&self, is_well: bool, rise: u32, fall: u32, now_ms: u64) -> Option<Change> {
        if !is_well {
            self.totals.checks_failed.fetch_add(1, Relaxed);
        }
        // One thread checks.
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
            self.failures.store(0, Relaxed);
            Some(Change::Up)
        } else {
            self.totals.marked_down.fetch_add(1, Relaxed);
            Some(Change::Down)
        }
    }

    /// Nothing checks it any more: what the checks said is forgotten.
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

    /// Its numbers.
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
