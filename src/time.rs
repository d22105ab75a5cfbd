//! Time as the core sees it: an argument of every call.

/// A reading of both clocks, taken by the shell once per turn of its loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Microseconds since the loop started; never decreases. For deadlines and durations.
    pub monotonic_us: u64,
    /// Microseconds since 1970-01-01 UTC; may jump. For dates and log records, and for what other processes must agree with.
    pub unix_us: u64,
    /// Microseconds on a clock that all loops of a proxy have in common; never decreases. For what they count together.
    pub common_us: u64,
}

impl Now {
    /// Milliseconds since the loop started, rounded down.
    pub fn monotonic_ms(self) -> u64 {
        self.monotonic_us / 1000
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub fn unix_ms(self) -> u64 {
        self.unix_us / 1000
    }

    /// Milliseconds on the clock of all loops.
    pub fn common_ms(self) -> u64 {
        self.common_us / 1000
    }

    /// Whole seconds since 1970-01-01 UTC.
    pub fn unix_s(self) -> u64 {
        self.unix_us / 1_000_000
    }
}
