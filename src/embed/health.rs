//! The health of a proxy, for monitoring systems, operators and the service manager.

use super::control::Control;
use crate::shell::{Health, WorkerMessage};
use std::sync::PoisonError;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

impl Control {
    /// The health of the proxy, for monitoring systems. The numbers are of this moment, unless a loop does not turn within
    /// `within`.
    #[doc(hidden)]
    pub fn health(&self, within: Duration) -> Health {
        let alive = self.all_turn(within);
        Health { snapshot: self.snapshot(), alive, ready: alive && !self.is_ending() }
    }

    /// Whether every loop turns, and so reports its numbers, or has ended. A loop that stands still is asked once: its queue
    /// does not grow with the number of callers.
    fn all_turn(&self, within: Duration) -> bool {
        let mut asked = self.shared().asked.lock().unwrap_or_else(PoisonError::into_inner);
        let answers = asked.get_or_insert_with(|| {
            let (sender, receiver) = channel();
            self.shared().send(&WorkerMessage::Report(None));
            self.shared().send(&WorkerMessage::Settled(sender));
            receiver
        });
        let all = answers.recv_timeout(within) == Err(RecvTimeoutError::Disconnected);
        if all {
            *asked = None;
        }
        all
    }
}
