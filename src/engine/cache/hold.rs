//! How long readers of a body may delay the other readers.
//!
//! The sum counts, not the single pause. Of 100 MB that arrive in one second, one reader that takes 200 ms for each window
//! would delay the others by 81 s if each pause had its own second, and 100 readers that never read by 101 s; with the sum it
//! is 2.2 s and 8.3 s (calculated). Pauses of 50 ms and less are always allowed.

/// Readers that are a window behind may delay the others for so long in all, and for an eighth of the duration of the
/// fill (chosen: a reader that only waits for its turn is behind for microseconds).
const HOLD_MS_MAX: u64 = 1000;

/// Each single delay may last at least this long, even if earlier delays have used up the sum (chosen: longer than a
/// connection waits for a turn).
const HOLD_MS_MIN: u64 = 50;

/// The part of each delay that is not counted (chosen: the time of the turns of several loops).
const HOLD_MS_FREE: u64 = 5;

/// How long readers of a body have delayed others.
#[derive(Debug, Default)]
pub(in crate::engine) struct Hold {
    began_ms: u64,
    /// When the present delay began; `None` if no reader delays the others.
    since_ms: Option<u64>,
    /// The sum of earlier delays.
    held_ms: u64,
}

impl Hold {
    /// No delay, for a body whose first byte arrived at `began_ms`.
    pub fn new(began_ms: u64) -> Hold {
        Hold { began_ms, ..Hold::default() }
    }

    /// Whether a reader holds others up.
    pub fn is_on(&self) -> bool {
        self.since_ms.is_some()
    }

    /// A reader delays the others from now on. Returns how long the delay may last.
    pub fn begin(&mut self, now_ms: u64) -> u64 {
        self.since_ms = Some(now_ms);
        let patience_ms = HOLD_MS_MAX + now_ms.saturating_sub(self.began_ms) / 8;
        patience_ms.saturating_sub(self.held_ms).max(HOLD_MS_MIN)
    }

    /// The present delay has ended.
    pub fn end(&mut self, now_ms: u64) {
        self.held_ms += self.lasted_ms(now_ms);
    }

    fn lasted_ms(&mut self, now_ms: u64) -> u64 {
        self.since_ms.take().map_or(0, |since_ms| now_ms.saturating_sub(since_ms + HOLD_MS_FREE))
    }

    /// The readers that caused the delay are cut. Half of their delay is not counted: a reader with a short pause is not cut
    /// because of one that never reads, and many of those together cannot delay the rest for more than twice as long.
    pub fn cut(&mut self, now_ms: u64) {
        self.held_ms += self.lasted_ms(now_ms) / 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_48_who_holds_others_up_is_cut_and_the_next_one_does_not_pay_for_all_of_that() {
        let mut hold = Hold::new(10_000);
        // A moment now and then, as if nothing were.
        for now_ms in (10_000..11_000).step_by(100) {
            assert!(!hold.is_on());
            assert!(hold.begin(now_ms) >= HOLD_MS_MAX, "{now_ms}");
            hold.end(now_ms + 4);
        }
        let mut now_ms = 11_000;
        let first = hold.begin(now_ms);
        assert!((1_120..1_130).contains(&first), "{first}");
        now_ms += first;
        hold.cut(now_ms);
        let second = hold.begin(now_ms);
        assert!(hold.is_on() && second > first / 2 && second < first, "{second}");
        // Any number of those who never read: twice as long in all, and a moment for each.
        let (mut sum, mut least) = (first, second);
        for _ in 0..10 {
            now_ms += least;
            sum += least;
            hold.cut(now_ms);
            least = hold.begin(now_ms);
        }
        let bound = 2 * (HOLD_MS_MAX + (now_ms - 10_000) / 8) + 10 * (HOLD_MS_MIN + HOLD_MS_FREE);
        assert!(sum < bound && (HOLD_MS_MIN..500).contains(&least), "{sum} of {bound}, {least}");
        // Much later there is patience again.
        hold.end(now_ms);
        assert!(hold.begin(now_ms + 60_000) > 5_000);
    }
}
