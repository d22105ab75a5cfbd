//! The time of a loop: read once in each turn, without the time during which the process stood still, and when the next turn is due.

use super::EventLoop;
use crate::time::Now;
use std::mem;
use std::time::Duration;

/// The process stood still if it was away for this much longer than it wanted to sleep (chosen: no turn of the loop
/// takes that long).
const STOOD_STILL_MIN: Duration = Duration::from_millis(500);

impl EventLoop {
    /// The host of the loop had the thread since the last turn: that time passes, and does not mean that the process stood still.
    pub fn resume(&mut self) {
        self.turns.host_time = self.since_now();
    }

    /// The time since the clock was read for the present turn.
    fn since_now(&self) -> Duration {
        let began = self.began + Duration::from_micros(self.now.monotonic_us);
        self.clock.elapsed().saturating_sub(began)
    }

    /// Reads the clock once per round, for everything in it. A time during which the process stood still (SIGSTOP, a
    /// frozen machine) is left out: it was no silence of a peer. True if there was such a time.
    pub(super) fn refresh_time(&mut self, allowed: Option<Duration>) -> bool {
        let time = self.clock.read();
        let since_us = |began: Duration| time.monotonic.saturating_sub(began).as_micros() as u64;
        let since = Duration::from_micros(since_us(self.began).saturating_sub(self.now.monotonic_us));
        // Without a deadline there is nothing to postpone, and on the clock of a host only its own time passes.
        let host_time = mem::take(&mut self.turns.host_time);
        let allowed = allowed.filter(|_| self.clock.is_of_machine()).map(|allowed| allowed.max(host_time));
        let lost = allowed.map_or(Duration::ZERO, |allowed| since.saturating_sub(allowed));
        let stood_still = lost >= STOOD_STILL_MIN;
        if stood_still {
            self.began += lost;
        }
        self.now = Now {
            monotonic_us: since_us(self.began),
            unix_us: time.unix.as_micros() as u64,
            common_us: since_us(Duration::ZERO),
        };
        stood_still
    }

    /// The time after which the next turn is due without an event; `None` if none is due.
    pub fn next_timeout(&self) -> Option<Duration> {
        let passed = self.since_now();
        self.timeout().map(|timeout| timeout.saturating_sub(passed))
    }

    /// The time of [`EventLoop::next_timeout`], from the beginning of the last turn.
    pub(super) fn timeout(&self) -> Option<Duration> {
        let open = self.shortage.paused_until_us.is_none() && !self.shortage.memory.closed;
        let waiting = open && self.listeners.iter().any(|listener| listener.ready);
        // The system tells edges once: a host that waits for the descriptor would not hear of the rest.
        if self.turns.more_events || self.engine.has_runnable() || (waiting && self.engine.may_accept()) {
            return Some(Duration::ZERO);
        }
        let statistics = (!self.statistics.every.is_zero()).then_some(self.statistics.due_us);
        let (paused, memory) = (self.shortage.paused_until_us, self.shortage.memory.due_us());
        let (shrink, stalled) = (self.returns.due_us, self.stalled.due_us());
        let delivering = self.delivering.due_us();
        let due = [self.engine.next_timeout_us(), paused, memory, shrink, stalled, delivering, statistics];
        let due = due.into_iter().flatten().min()?;
        // Rounded up: waking a moment too early would be waking twice.
        Some(Duration::from_millis(due.saturating_sub(self.now.monotonic_us).div_ceil(1000)))
    }
}
