//! Connections that are closed as soon as their last bytes have left: a reset, weir's own or the system's answer to bytes for a closed
//! socket, destroys what is still in the send buffer.

use super::socket::Socket;
use crate::engine::DELIVERY_MS;
use std::collections::VecDeque;

/// The longest wait without a byte that leaves, in microseconds (chosen: as long as a tunnel waits for such a peer).
const SILENCE_US: u64 = DELIVERY_MS * 1000;

/// The longest wait, in microseconds (chosen: a peer that takes a byte now and then keeps no connection for longer).
const WAIT_US: u64 = 60_000_000;

/// The time between two looks, in microseconds, and what each connection adds to it (chosen: a look costs a system call for each).
const LOOK_EVERY_US: u64 = 20_000;
const LOOK_EVERY_MORE_US: u64 = 100;

/// Most connections that wait in all loops (chosen: fewer than the descriptors that are left beside those of connections). Then the one
/// goes that has waited longest.
const WAITING_MAX: usize = 1024;

/// How a connection is closed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Closing {
    Regular,
    Reset,
}

impl Closing {
    fn close(self, socket: Socket) {
        match self {
            Closing::Regular => drop(socket),
            Closing::Reset => socket.reset(),
        }
    }
}

/// A connection that waits.
#[derive(Debug)]
struct Waiting {
    socket: Socket,
    closing: Closing,
    unsent_bytes: usize,
    /// When a byte left last.
    moved_us: u64,
    began_us: u64,
}

/// The waiting connections, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Delivering {
    waiting: VecDeque<Waiting>,
    look_us: u64,
}

impl Waiting {
    /// Whether the wait is over.
    fn has_ended(&mut self, now_us: u64) -> bool {
        let unsent_bytes = self.socket.unsent_bytes();
        if unsent_bytes < self.unsent_bytes {
            (self.unsent_bytes, self.moved_us) = (unsent_bytes, now_us);
        }
        unsent_bytes == 0 || now_us >= (self.moved_us + SILENCE_US).min(self.began_us + WAIT_US)
    }

    fn close(self) {
        self.closing.close(self.socket);
    }
}

impl Delivering {
    /// Closes a connection, now or later; this is one of so many loops.
    pub fn add(&mut self, socket: Socket, closing: Closing, now_us: u64, loops: usize) {
        let unsent_bytes = socket.unsent_bytes();
        if unsent_bytes == 0 {
            closing.close(socket);
            return;
        }
        if let Closing::Regular = closing {
            // A close that meets bytes of the client is a reset. The client has its end before it.
            socket.shutdown_write();
        }
        if self.waiting.is_empty() {
            self.look_us = now_us + LOOK_EVERY_US;
        }
        if self.waiting.len() >= WAITING_MAX.div_ceil(loops) {
            self.waiting.pop_front().into_iter().for_each(Waiting::close);
        }
        self.waiting.push_back(Waiting { socket, closing, unsent_bytes, moved_us: now_us, began_us: now_us });
    }

    /// Closes those whose bytes have left, if it is time for a look.
    pub fn look(&mut self, now_us: u64) {
        if self.due_us().is_none_or(|due| due > now_us) {
            return;
        }
        for mut one in std::mem::take(&mut self.waiting) {
            match one.has_ended(now_us) {
                true => one.close(),
                false => self.waiting.push_back(one),
            }
        }
        self.look_us = now_us + LOOK_EVERY_US + LOOK_EVERY_MORE_US * self.waiting.len() as u64;
    }

    /// Closes all of them: descriptors are short, or the loop ends. False if there is none.
    pub fn shed(&mut self) -> bool {
        let some = !self.waiting.is_empty();
        self.waiting.drain(..).for_each(Waiting::close);
        some
    }

    /// The time of the next look.
    pub fn due_us(&self) -> Option<u64> {
        (!self.waiting.is_empty()).then_some(self.look_us)
    }
}
