//! The least rate of a client while weir waits for that client only.
//!
//! A time-out is for silent peers: a peer that moves a byte now and then renews it for ever. The least rate over a long
//! window is for such peers. It applies to clients only, in bodies: a client that sends slowly, and one that reads slowly
//! while bytes wait for it. An origin may be slow (event streams are), and so may a tunnel (users type into it): they have
//! their time-outs for silence.

/// The least rate of a client.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Rate {
    /// Fewest bytes in one window; 0 for no limit.
    pub bytes_min: u64,
    /// Length of a window, in milliseconds.
    pub window_ms: u64,
}

/// The windows of one direction, one after the other.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine) struct RateMeter {
    /// The end of the window, in milliseconds since the loop started; 0 without a window.
    until_ms: u64,
    /// Bytes moved in all when it began.
    bytes: u64,
    /// Since when weir cannot receive from the client; 0 if it can.
    paused_since_ms: u64,
}

impl RateMeter {
    /// weir does not wait for the client: a new window begins with the next bytes.
    pub fn forget(&mut self) {
        self.until_ms = 0;
    }

    /// weir cannot receive from the client for now: this time does not count.
    pub fn pause(&mut self, now_ms: u64) {
        if self.paused_since_ms == 0 {
            self.paused_since_ms = now_ms;
        }
    }

    /// weir can receive again.
    pub fn resume(&mut self, now_ms: u64) {
        let since_ms = std::mem::take(&mut self.paused_since_ms);
        if since_ms > 0 && self.until_ms > 0 {
            self.until_ms += now_ms.saturating_sub(since_ms);
        }
    }

    /// Whether a client that has moved `bytes` bytes in total, and is waited for, moved too few in the window that has ended.
    pub fn is_below(&mut self, rate: Rate, now_ms: u64, bytes: u64) -> bool {
        if self.until_ms > now_ms {
            return false;
        }
        let below = self.until_ms > 0 && bytes - self.bytes < rate.bytes_min;
        (self.until_ms, self.bytes) = (now_ms + rate.window_ms, bytes);
        below
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judges_whole_windows_only() {
        let rate = Rate { bytes_min: 100, window_ms: 1000 };
        let mut rate_meter = RateMeter::default();
        // Time, bytes moved by then, whether that is too slow. The first bytes begin the first window.
        for (now_ms, bytes, below) in [
            (5_000, 1, false),
            (5_999, 2, false),
            (6_000, 101, false),
            (6_500, 102, false),
            (7_000, 200, true),
            (8_000, 300, false),
        ] {
            assert_eq!(rate_meter.is_below(rate, now_ms, bytes), below, "{now_ms}");
        }
        rate_meter.forget();
        assert!(!rate_meter.is_below(rate, 60_000, 301));
        assert!(rate_meter.is_below(rate, 61_000, 302));
        let mut free = RateMeter::default();
        let none = Rate { bytes_min: 0, ..rate };
        assert!((1..100).all(|second| !free.is_below(none, second * 1000, 0)));
    }
}
