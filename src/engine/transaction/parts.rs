//! The parts of a transaction that belong together.

use crate::engine::downstream::minimum_rate::RateMeter;
use crate::engine::upstream::bond::Bond;
use crate::http::head::{Message, Scanner};

/// How fast the client moves its bytes.
#[derive(Debug, Default)]
pub(in crate::engine) struct Rates {
    /// How fast it sends its body.
    pub up: RateMeter,
    /// How fast it reads, while bytes wait for it.
    pub down: RateMeter,
}

/// The heads of responses that come from the origin.
#[derive(Debug)]
pub(in crate::engine) struct Incoming {
    pub scanner: Scanner,
    /// The head at the front of what was received, once it has been read.
    pub message: Message,
    /// By when the head that has begun must be whole, in milliseconds since the loop started.
    pub until_ms: u64,
    /// Interim responses relayed.
    pub informational: u8,
}

impl Incoming {
    pub fn new() -> Incoming {
        Incoming { scanner: Scanner::default(), message: Message::new(), until_ms: 0, informational: 0 }
    }

    /// As before the first head; keeps its memory.
    pub fn clear(&mut self) {
        self.message.clear();
        (self.scanner, self.until_ms, self.informational) = (Scanner::default(), 0, 0);
    }
}

/// What is known of the origin connection that carries a transaction.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Carrier {
    /// It can carry another transaction after this one.
    pub reusable: bool,
    /// The client to which it belongs, if it belongs to one.
    pub bond: Bond,
    /// The connection that waited for its client has ended before it was sent over that. The client takes it for authenticated:
    /// no other connection may answer it, and no memory.
    pub bond_lost: bool,
    /// When it was opened, in milliseconds since the loop started.
    pub opened_ms: u64,
}

impl Default for Carrier {
    fn default() -> Carrier {
        Carrier { reusable: false, bond: Bond::None, bond_lost: false, opened_ms: 0 }
    }
}

/// Whether a request can be sent once more (rule 34).
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine) struct Repeat {
    /// Until there is an answer the request's body is kept behind its head: it may have to be sent again.
    pub keeps_body: bool,
    /// It cannot be sent again, and the connection is not fresh.
    pub looks_first: bool,
    /// It was sent twice already.
    pub done: bool,
}

/// Since when, in microseconds since the loop started.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine) struct Since {
    /// When the first byte of the request came.
    pub began_us: u64,
    /// When that began which the transaction waits for: a look-up, a connection, or an answer.
    pub phase_us: u64,
}
