//! Writes that the system has not taken, tried again.
//!
//! Linux reports a socket as writable when a third of its send buffer is free. That buffer grows to megabytes, so a peer that reads
//! all the time, but slowly, frees a third in a minute or more, and would look like one that does not read. A write before that
//! report takes what is free by then: so each socket whose write has stalled is tried again a few times within the shortest
//! time-out, and a deadline ends only connections whose peers take nothing.

use crate::engine::{DELIVERY_MS, Settings};

/// Tries within the shortest time-out (chosen: so that a peer needs not be lucky).
const TRIES: u64 = 4;

/// When stalled writes are tried again.
#[derive(Debug, Default)]
pub(super) struct Stalled {
    due_us: Option<u64>,
}

impl Stalled {
    /// A write has stalled.
    #[inline]
    pub fn note(&mut self, now_us: u64, settings: &Settings) {
        if self.due_us.is_none() {
            self.due_us = Some(now_us + every_us(settings));
        }
    }

    /// Whether it is time for the next try. Writes that stall once more are noted anew.
    pub fn take_due(&mut self, now_us: u64) -> bool {
        let is_due = self.due_us.is_some_and(|due| due <= now_us);
        if is_due {
            self.due_us = None;
        }
        is_due
    }

    /// The time of the next try, if a write has stalled.
    pub fn due_us(&self) -> Option<u64> {
        self.due_us
    }
}

/// The time between two tries, in microseconds.
fn every_us(settings: &Settings) -> u64 {
    let timeouts = &settings.timeouts;
    let shortest_ms = timeouts.exchange_ms.min(timeouts.tunnel_ms).clamp(1, DELIVERY_MS);
    shortest_ms * 1000 / TRIES
}
