//! The clock that all loops of a proxy have in common.

use crate::time::Now;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A reading of a clock that the host program has in place of the machine's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// Time since a moment that the program chooses; must not decrease. The clock of deadlines and durations.
    pub monotonic: Duration,
    /// Time since 1970-01-01 UTC; may jump. The clock of dates, ages and the access log.
    pub unix: Duration,
}

/// Reads the clock of a host program.
pub type HostClock = dyn Fn() -> Time + Send + Sync;

/// A clock, and when it began.
#[derive(Clone)]
pub enum Clock {
    /// The machine's.
    Machine(Instant),
    /// The host program's clock, with its time at the start.
    Host(Arc<HostClock>, Duration),
}

impl Clock {
    /// A clock that begins now: the host program's, or without one the machine's.
    pub fn new(host: Option<Arc<HostClock>>) -> Clock {
        match host {
            None => Clock::Machine(Instant::now()),
            Some(host) => {
                let began = host().monotonic;
                Clock::Host(host, began)
            }
        }
    }

    /// The time since the clock began, and since 1970.
    pub fn read(&self) -> Time {
        match self {
            Clock::Machine(began) => Time { monotonic: began.elapsed(), unix: unix_now() },
            Clock::Host(host, began) => {
                let Time { monotonic, unix } = host();
                Time { monotonic: monotonic.saturating_sub(*began), unix }
            }
        }
    }

    /// Whether the clock is the machine's, which continues while the process stands still.
    pub fn is_of_machine(&self) -> bool {
        match self {
            Clock::Machine(_) => true,
            Clock::Host(..) => false,
        }
    }

    /// The time since the clock began.
    pub fn elapsed(&self) -> Duration {
        match self {
            Clock::Machine(began) => began.elapsed(),
            Clock::Host(host, began) => host().monotonic.saturating_sub(*began),
        }
    }

    /// The time for threads that are no loops.
    pub fn now(&self) -> Now {
        let Time { monotonic, unix } = self.read();
        let common_us = monotonic.as_micros() as u64;
        Now { monotonic_us: common_us, unix_us: unix.as_micros() as u64, common_us }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Clock::Machine(began) => write!(out, "Machine({began:?})"),
            Clock::Host(_, began) => write!(out, "Host(.., {began:?})"),
        }
    }
}

/// The machine's time since 1970; zero before that.
pub fn unix_now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// The machine's time since 1970, in milliseconds.
pub fn unix_now_ms() -> u64 {
    u64::try_from(unix_now().as_millis()).unwrap_or(u64::MAX)
}
