//! The parts of a transaction that belong together.

use super::log_record::LogRecord;
use crate::engine::downstream::minimum_rate::RateMeter;
use crate::engine::upstream::pinning::Pinning;
use crate::guard::told::Asker;
use crate::http::head::{Message, Scanner};
use crate::policy::acl::Grant;
use crate::time::Now;

/// The rates of the client.
#[derive(Debug, Default)]
pub(in crate::engine) struct Rates {
    /// The rate of the body that it sends.
    pub up: RateMeter,
    /// The rate at which it reads, while bytes wait for it.
    pub down: RateMeter,
}

/// The heads of responses from the origin.
#[derive(Debug)]
pub(in crate::engine) struct Incoming {
    pub scanner: Scanner,
    /// The head at the front of the received bytes, once it was read.
    pub message: Message,
    /// The time until which a head that has begun must be complete, in milliseconds since the loop started.
    pub until_ms: u64,
    /// Interim responses relayed.
    pub informational: u8,
}

impl Incoming {
    pub fn new() -> Incoming {
        Incoming { scanner: Scanner::default(), message: Message::new(), until_ms: 0, informational: 0 }
    }

    /// The state before the first head; keeps the memory.
    pub fn clear(&mut self) {
        self.message.clear();
        (self.scanner, self.until_ms, self.informational) = (Scanner::default(), 0, 0);
    }
}

/// The state of the upstream connection of a transaction.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct UpstreamUse {
    /// Whether the connection can carry another transaction.
    pub reusable: bool,
    /// Whether the connection belongs to one client.
    pub pinning: Pinning,
    /// The connection that was pinned for the client has ended before this request was sent on it. The client takes it for
    /// authenticated: neither another connection nor the cache may answer.
    pub pin_lost: bool,
    /// The connection broke while something was sent. The system tells of that once, so that the end of what it still holds looks
    /// like the end of the response.
    pub broken: bool,
    /// When the connection was opened, in milliseconds since the loop started.
    pub opened_ms: u64,
    /// The grant by which its address was judged.
    pub grant: Grant,
}

impl Default for UpstreamUse {
    fn default() -> UpstreamUse {
        UpstreamUse {
            reusable: false,
            pinning: Pinning::None,
            pin_lost: false,
            broken: false,
            opened_ms: 0,
            grant: Grant::default(),
        }
    }
}

/// Whether a request can be sent once more (rule 34).
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine) struct Repeat {
    /// The request's body is kept behind its head until a response arrives: it may have to be sent again.
    pub keeps_body: bool,
    /// The request cannot be sent again, and the connection is not fresh.
    pub looks_first: bool,
    /// The request was sent twice already.
    pub done: bool,
}

/// Times in microseconds since the loop started.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine) struct Since {
    /// When the first byte of the request arrived.
    pub began_us: u64,
    /// The begin of the present wait: for a look-up, a connection, or a response.
    pub phase_us: u64,
}

impl Since {
    /// The request in the form for events of this moment.
    pub fn asked<'r>(&self, record: &'r LogRecord, now: Now) -> Asker<'r> {
        Asker { taken_us: Some(now.monotonic_us.saturating_sub(self.began_us)), ..record.asked() }
    }
}
