//! A shortage of descriptors or memory: the number of shortages, and the end of their consequences.

use super::pressure::Pressure;
use super::reserved::ReservedDescriptors;
use crate::time::Now;
use std::time::Duration;

/// How long accepting pauses, and how long the other loops are not asked for help again (chosen).
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// Time between two warnings of a lasting shortage (chosen).
const WARN_EVERY: Duration = Duration::from_secs(10);

/// The state of one loop. Times are in microseconds since the loop started.
#[derive(Debug, Default)]
pub(super) struct Shortage {
    /// Memory by the size of the process.
    pub memory: Pressure,
    /// Descriptors for connections that are being served.
    pub reserved: ReservedDescriptors,
    /// Shortages so far.
    pub count: u64,
    /// Time until which no connection is accepted.
    pub paused_until_us: Option<u64>,
    warned_until_us: u64,
    asked_until_us: u64,
}

impl Shortage {
    /// Whether no connection is to be taken yet.
    pub fn is_paused(&mut self, now: Now) -> bool {
        self.paused_until_us = self.paused_until_us.filter(|until_us| now.monotonic_us < *until_us);
        self.paused_until_us.is_some()
    }

    /// Pauses accepting for [`PAUSE`].
    pub fn pause(&mut self, now: Now) {
        self.paused_until_us = Some(now.monotonic_us + PAUSE.as_micros() as u64);
    }

    /// Whether to warn the operator; then not again for [`WARN_EVERY`].
    pub fn may_warn(&mut self, now: Now) -> bool {
        is_due(&mut self.warned_until_us, now, WARN_EVERY)
    }

    /// Whether to ask the other loops for help; then not again for [`PAUSE`].
    pub fn may_ask(&mut self, now: Now) -> bool {
        is_due(&mut self.asked_until_us, now, PAUSE)
    }
}

fn is_due(until_us: &mut u64, now: Now, every: Duration) -> bool {
    let due = now.monotonic_us >= *until_us;
    if due {
        *until_us = now.monotonic_us + every.as_micros() as u64;
    }
    due
}
