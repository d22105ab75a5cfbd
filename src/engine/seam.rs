//! What crosses between engine and shell, but for bytes.

use super::cache::message::Message;
use super::transaction::log_record::LogRecord;
use super::transaction::refusal::SocketError;
use crate::engine::ids::{JobId, PeerId, StoreJob};
use crate::guard::store::Check;
use crate::guard::values::ValueRequest;
use crate::policy::auth::SlowJob;
use crate::resolver;
use std::net::SocketAddr;

/// What happened to a connection's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The connection that was asked for stands.
    Connected,
    /// So many bytes were read into the space that was lent.
    Received(usize),
    /// So many bytes have left this connection's socket for another's, as [`Engine::splice_allowed`](super::Engine::splice_allowed) allowed.
    Spliced(usize),
    /// So many bytes of what was to be sent are with the system.
    Sent(usize),
    /// The other side has finished sending.
    EndOfStream,
    /// Nothing more can be sent; there may still be something to receive.
    SendFailed(SocketError),
    /// The connection failed, or could not be made.
    Failed(SocketError),
}

/// Leave to move bytes inside the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Splice {
    /// The peer to whose socket they go.
    pub to: PeerId,
    /// How many at most.
    pub bytes_max: usize,
}

/// What the shell is to do.
#[derive(Debug)]
pub enum Action {
    /// Connect a new socket.
    Connect {
        /// The token for it.
        peer: PeerId,
        /// Where to.
        address: SocketAddr,
    },
    /// Say that nothing more will be sent (FIN).
    ShutdownWrite(PeerId),
    /// Close the socket. The connection is forgotten already and its id may be used again by the next action.
    Close(PeerId),
    /// Close the socket with a reset, so that the other side cannot take it for an end. Otherwise as `Close`.
    Reset(PeerId),
    /// Send a DNS query, abandon one.
    Resolver(resolver::Action),
    /// Verify a password away from the loop and report with `handle_verified`.
    Verify {
        /// To be given back with the answer.
        job: JobId,
        /// Guesses made lately from where this one came: what has fewer goes first.
        guesses: u32,
        /// The work.
        work: SlowJob,
    },
    /// Ask the store that several processes share, and report with `handle_store_answer`.
    AskStore {
        /// To be given back with the answer.
        job: StoreJob,
        /// Everything that one request needs, to be asked together.
        checks: Vec<Check>,
    },
    /// Ask the guard's store for a value, and report with `handle_value_answer`.
    AskValue {
        /// To be given back with the answer.
        job: StoreJob,
        /// What is asked.
        request: ValueRequest,
    },
    /// Tell the other loops.
    SendToLoops(Message),
    /// Write a log entry; give it back with `recycle`.
    Log(Box<LogRecord>),
}
