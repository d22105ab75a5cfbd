//! A circuit breaker: a store that fails is not asked for every request.
//!
//! *Closed*: every request asks. [`FAILURES_MAX`] failures without a success between them *open* it: one request a second
//! asks, as a probe, and the others are decided without the store. So an outage costs one deadline, not one for each request.
//! A success closes it, even a late one, because the store has answered. A probe whose result is never reported costs
//! nothing: the next second has its own.

/// Failures in a row that open the circuit (guard semantics, section 3).
pub const FAILURES_MAX: u32 = 3;

/// Between two probes (guard semantics, section 3).
pub const PROBE_EVERY_US: u64 = 1_000_000;

/// The state of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Every request asks.
    Closed {
        /// Failures since the last success.
        failures: u32,
    },
    /// Only probes ask.
    Open {
        /// Time from which on the next probe is allowed.
        probe_at_us: u64,
    },
}

/// The breaker of one store.
#[derive(Debug)]
pub struct Breaker {
    state: BreakerState,
    opened: u64,
}

impl Default for Breaker {
    fn default() -> Breaker {
        Breaker { state: BreakerState::Closed { failures: 0 }, opened: 0 }
    }
}

impl Breaker {
    /// Whether the store may be asked now. If the circuit is open, true takes the probe of this second, so the caller must ask.
    pub fn may_ask(&mut self, now_us: u64) -> bool {
        match &mut self.state {
            BreakerState::Closed { .. } => true,
            BreakerState::Open { probe_at_us } if now_us >= *probe_at_us => {
                *probe_at_us = now_us.saturating_add(PROBE_EVERY_US);
                true
            }
            BreakerState::Open { .. } => false,
        }
    }

    /// The store has answered.
    pub fn succeeded(&mut self) {
        self.state = BreakerState::Closed { failures: 0 };
    }

    /// The store has not answered, or not in time.
    pub fn failed(&mut self, now_us: u64) {
        match &mut self.state {
            BreakerState::Closed { failures } => {
                *failures += 1;
                if *failures >= FAILURES_MAX {
                    self.state = BreakerState::Open { probe_at_us: now_us.saturating_add(PROBE_EVERY_US) };
                    self.opened += 1;
                }
            }
            // Requests that were under way when it opened, and probes: the time of the next probe is set already.
            BreakerState::Open { .. } => {}
        }
    }

    /// The state, for metrics.
    pub fn state(&self) -> BreakerState {
        self.state
    }

    /// Whether only probes ask.
    pub fn is_open(&self) -> bool {
        matches!(self.state, BreakerState::Open { .. })
    }

    /// How often the circuit has opened.
    pub fn opened(&self) -> u64 {
        self.opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn ours_3_the_circuit_opens_after_three_failures_in_a_row() {
        let mut breaker = Breaker::default();
        for round in 0..5 {
            breaker.failed(round);
            breaker.failed(round);
            assert!(breaker.may_ask(round), "two are not three");
            breaker.succeeded();
        }
        assert_eq!((breaker.state(), breaker.opened()), (BreakerState::Closed { failures: 0 }, 0));
        for now in 0..3 {
            assert!(breaker.may_ask(now));
            breaker.failed(now);
        }
        assert!(!breaker.may_ask(3));
        assert_eq!((breaker.state(), breaker.opened()), (BreakerState::Open { probe_at_us: SECOND + 2 }, 1));
    }

    #[test]
    fn ours_3_an_open_circuit_lets_one_probe_through_each_second() {
        let mut breaker = Breaker::default();
        (0..3).for_each(|_| breaker.failed(0));
        let mut probes = Vec::new();
        for now in (0..10 * SECOND).step_by(1000) {
            if breaker.may_ask(now) {
                probes.push(now / SECOND);
                breaker.failed(now + 50_000);
            }
        }
        assert_eq!(probes, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(breaker.opened(), 1, "a failed probe does not open it again");
    }

    #[test]
    fn ours_3_a_success_closes_and_failures_count_anew() {
        let mut breaker = Breaker::default();
        (0..3).for_each(|_| breaker.failed(0));
        assert!(breaker.may_ask(SECOND) && !breaker.may_ask(SECOND));
        breaker.succeeded();
        assert!(breaker.may_ask(SECOND) && breaker.may_ask(SECOND));
        (0..2).for_each(|_| breaker.failed(SECOND));
        assert!(breaker.may_ask(SECOND));
        breaker.failed(SECOND);
        assert!(!breaker.may_ask(SECOND));
        assert_eq!(breaker.opened(), 2);
    }
}
