//! The interface between engine and shell, except for bytes.

use super::cache::message::Message;
use super::transaction::log_record::LogRecord;
use super::transaction::refusal::SocketError;
use crate::engine::ids::{JobId, PeerId, StoreJob};
use crate::guard::store::Check;
use crate::guard::values::ValueRequest;
use crate::policy::auth::SlowJob;
use crate::resolver;
use std::net::SocketAddr;

/// An event of a connection's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The requested connection is established.
    Connected,
    /// So many bytes were read into the lent space.
    Received(usize),
    /// So many bytes have left this connection's socket for another one, as
    /// [`Engine::splice_allowed`](super::Engine::splice_allowed) allowed.
    Spliced(usize),
    /// So many bytes of those to send were written.
    Sent(usize),
    /// The other side has finished sending.
    EndOfStream,
    /// Nothing more can be sent; received bytes may still arrive.
    SendFailed(SocketError),
    /// The connection failed, or could not be made.
    Failed(SocketError),
}

/// Leave to move bytes inside the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Splice {
    /// The peer whose socket gets the bytes.
    pub to: PeerId,
    /// The most bytes to move.
    pub bytes_max: usize,
}

/// An action for the shell.
#[derive(Debug)]
pub enum Action {
    /// Connect a new socket.
    Connect {
        /// The token of the connection.
        peer: PeerId,
        /// The destination.
        address: SocketAddr,
    },
    /// Shut down sending (FIN).
    ShutdownWrite(PeerId),
    /// Close the socket. The connection is forgotten already and its id may be used again by the next action.
    Close(PeerId),
    /// Close the socket with a reset, so that the other side cannot take it for a regular end. Otherwise as `Close`.
    Reset(PeerId),
    /// Close the socket with a reset as soon as the bytes have left that the reset would destroy. Otherwise as `Close`.
    ResetDelivered(PeerId),
    /// Close the socket as soon as its bytes have left: bytes that come for a closed socket reset the connection and destroy the
    /// unsent ones. Otherwise as `Close`.
    CloseDelivered(PeerId),
    /// Send or abandon a DNS query.
    Resolver(resolver::Action),
    /// Verify a password away from the loop and report with `handle_verified`.
    Verify {
        /// To be given back with the answer.
        job: JobId,
        /// Recent guesses from the client's address: jobs with fewer go first.
        guesses: u32,
        /// The work.
        work: SlowJob,
    },
    /// Ask the store that several processes share, and report with `handle_store_answer`.
    AskStore {
        /// To be given back with the answer.
        job: StoreJob,
        /// All checks of one request, to be sent together.
        checks: Vec<Check>,
    },
    /// Ask the guard's store for a value, and report with `handle_value_answer`.
    AskValue {
        /// To be given back with the answer.
        job: StoreJob,
        /// The question.
        request: ValueRequest,
    },
    /// Send a message to the other loops.
    SendToLoops(Message),
    /// Write a log record; give it back with `recycle`.
    Log(Box<LogRecord>),
}
