//! Connections that are closed with a reset as soon as their last bytes have left: a reset destroys what is still in the send buffer.

use super::socket::Socket;

/// The longest wait, in microseconds (chosen: as long as a close lingers).
const WAIT_US: u64 = 2_000_000;

/// The time between two looks, in microseconds (chosen).
const LOOK_EVERY_US: u64 = 20_000;

/// Most connections that wait (chosen): all others are reset at once.
const WAITING_MAX: usize = 256;

/// The waiting connections, each with the time at which it is reset in any case.
#[derive(Debug, Default)]
pub(super) struct Aborting {
    waiting: Vec<(Socket, u64)>,
    look_us: u64,
}

impl Aborting {
    /// Resets a connection, now or later.
    pub fn add(&mut self, socket: Socket, now_us: u64) {
        if socket.unsent_bytes() == 0 || self.waiting.len() >= WAITING_MAX {
            socket.reset();
            return;
        }
        if self.waiting.is_empty() {
            self.look_us = now_us + LOOK_EVERY_US;
        }
        self.waiting.push((socket, now_us + WAIT_US));
    }

    /// Resets those whose bytes have left, if it is time for a look.
    pub fn look(&mut self, now_us: u64) {
        if self.due_us().is_none_or(|due| due > now_us) {
            return;
        }
        self.look_us = now_us + LOOK_EVERY_US;
        let mut index = 0;
        while let Some((socket, until)) = self.waiting.get(index) {
            if *until <= now_us || socket.unsent_bytes() == 0 {
                self.waiting.swap_remove(index).0.reset();
            } else {
                index += 1;
            }
        }
    }

    /// The time of the next look.
    pub fn due_us(&self) -> Option<u64> {
        (!self.waiting.is_empty()).then_some(self.look_us)
    }
}
