//! The times at which the networks of a provider are fetched.

/// The default interval (section 8).
pub const REFRESH_MS: u64 = 3_600_000;

/// The shortest interval (section 8).
pub const REFRESH_MS_LEAST: u64 = 60_000;

/// The longest interval (section 8).
pub const REFRESH_MS_MOST: u64 = 86_400_000;

/// The delay after the first failure (section 8, Ours); doubled with each further one, up to the interval.
const BACKOFF_MS: u64 = 30_000;

/// Milliseconds from the end of one attempt to the next one; `failures` is the number of failures since the last success.
pub fn refresh_delay_ms(interval_ms: u64, failures: u32) -> u64 {
    let interval_ms = interval_ms.clamp(REFRESH_MS_LEAST, REFRESH_MS_MOST);
    match failures.checked_sub(1) {
        None => interval_ms,
        Some(doublings) => BACKOFF_MS.saturating_mul(1 << doublings.min(32)).min(interval_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_8_failures_are_tried_again_soon_and_then_more_rarely() {
        let delays = (0..10).map(|failures| refresh_delay_ms(REFRESH_MS, failures) / 1000);
        assert_eq!(delays.collect::<Vec<_>>(), [3600, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(refresh_delay_ms(REFRESH_MS, u32::MAX), REFRESH_MS);
        assert_eq!(refresh_delay_ms(0, 0), REFRESH_MS_LEAST);
        assert_eq!(refresh_delay_ms(u64::MAX, 0), REFRESH_MS_MOST);
        assert_eq!(refresh_delay_ms(60_000, 5), 60_000);
    }
}
