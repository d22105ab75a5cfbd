//! Writes that the system has not taken, tried again.
//!
//! Linux reports a socket as writable when a third of its send buffer is free. That buffer grows to megabytes, so a peer that reads
//! all the time, but slowly, frees a third in a minute or more, and would look like one that does not read. A write before that
//! report takes what is free by then: so each socket whose write has stalled is tried again a few times within the shortest
//! time-out, and a deadline ends only connections whose peers take nothing.

use super::EventLoop;
use crate::engine::Settings;
use std::time::Duration;

/// Tries within the shortest time-out (chosen: so that a peer needs not be lucky).
const TRIES: u64 = 4;

/// The longest time between two tries (chosen: it costs a system call for each stalled socket).
const EVERY_MAX: Duration = Duration::from_secs(5);

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

    /// The time of the next try, if a write has stalled.
    pub fn due_us(&self) -> Option<u64> {
        self.due_us
    }
}

/// The time between two tries, in microseconds.
fn every_us(settings: &Settings) -> u64 {
    let timeouts = &settings.timeouts;
    let shortest_ms = timeouts.exchange_ms.min(timeouts.tunnel_ms).max(1);
    (shortest_ms * 1000 / TRIES).min(EVERY_MAX.as_micros() as u64)
}

impl EventLoop {
    /// Tries stalled writes again, if it is time for that. Each that stalls once more is noted anew.
    pub(super) fn retry_stalled(&mut self) {
        if self.stalled.due_us.is_none_or(|due| due > self.now.monotonic_us) {
            return;
        }
        self.stalled.due_us = None;
        for (index, socket) in self.sockets.iter_mut().enumerate() {
            let Some(socket) = socket.as_mut().filter(|socket| socket.has_stalled()) else { continue };
            if let Some(id) = self.engine.connection_at(index).filter(|id| self.engine.wants_write(*id)) {
                socket.writable = true;
                self.engine.wake(id);
            }
        }
    }
}
