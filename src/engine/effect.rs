//! The requests of one machine to another: the dispatcher carries them out when the machine has returned.

use super::cache::collapse::Conclusion;
use super::cache::refresh::Refresh;
use super::transaction::log_record::Verdict;
use super::transaction::refusal::Refusal;
use crate::engine::ids::{ConnectId, FillId, PeerId, TransactionId};
use crate::http::target::Authority;
use crate::net::Linear;

/// One effect. Small, because several are queued for every request: rare and large ones are boxed.
#[derive(Debug)]
pub(in crate::engine) enum Effect {
    // For the transactions machine.
    /// A whole head has arrived from a client.
    Begin {
        client: PeerId,
        head_bytes: usize,
    },
    /// The bytes of a client are no request, or did not become one in time.
    RefuseHead {
        client: PeerId,
        head_bytes: usize,
        refusal: Refusal,
    },
    /// Record a head that the client has broken off, and close.
    EndHead {
        client: PeerId,
        head_bytes: usize,
        reason: &'static str,
    },
    /// A client without a request is not served.
    RefuseConnection {
        client: PeerId,
        refusal: Refusal,
    },
    /// The host program does not want a client without a request to be served.
    RefuseCaller {
        client: PeerId,
        status: u16,
        reason: Box<str>,
    },
    /// Examine once more.
    Examine(TransactionId),
    /// A connection is to be found.
    Connect(TransactionId),
    /// The connection that a transaction waits for was found, or cannot be.
    Connected(ConnectId),
    Refuse(TransactionId, Refusal),
    /// The transaction may be over.
    Settle(TransactionId),
    End(End),
    /// The transaction becomes a tunnel over this upstream connection.
    OpenTunnel(TransactionId, PeerId),
    /// A stale response was served and is to be fetched.
    Refresh(Box<Refresh>),
    /// The results of the leaders that transactions wait for.
    Concluded(Box<Conclusion>),
    /// Transactions whose wait has ended continue before anything else.
    ResumeWaiters,
    /// A fill is complete: its readers continue in the stored body.
    FillCompleted(FillId),
    /// A fill that is not stored is handed to its only reader, if that has read everything.
    HandOver(FillId),

    // For the downstream machine.
    /// The transaction has ended. `input` has the bytes behind the request.
    TakeBack {
        client: PeerId,
        input: Linear,
        closes: bool,
        silent: bool,
    },
    Linger(PeerId),
    CloseClient(PeerId),
    ResetClient(PeerId),
    ResetClientDelivered(PeerId),
    /// The upstream connection that was pinned to the client has ended; `authority` was its destination.
    PinEnded {
        client: PeerId,
        authority: Box<Authority>,
        /// Whether the configuration names the authority.
        configured: bool,
        rooted: bool,
    },

    // For the upstream machine.
    IdleUpstream {
        connection: PeerId,
        opened_ms: u64,
    },
    CloseUpstream(PeerId),
    ResetUpstreamDelivered(PeerId),
    /// The client makes no further requests.
    EndPin(PeerId),

    // For the fills.
    AdvanceFill(FillId),
}

const _: () = assert!(size_of::<Effect>() <= 48);

/// The end of a transaction for its client connection.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) enum Ending {
    /// The transaction ends where it stands: a client that waits for more must notice (rule 23). The close lingers, because the
    /// client may still be sending: a reset would take the answers before this one with it (RFC 9112 section 9.6).
    Abort,
    /// The client has closed, or must be closed at once.
    Abandon,
}

/// The order to end a transaction.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct End {
    pub transaction: TransactionId,
    pub ending: Ending,
    pub verdict: Verdict,
    /// The word for the log.
    pub reason: &'static str,
}

impl Ending {
    /// Ends a transaction as failed.
    pub fn of(self, transaction: TransactionId, reason: &'static str) -> End {
        End { transaction, ending: self, verdict: Verdict::Failed, reason }
    }

    pub fn with_verdict(self, transaction: TransactionId, verdict: Verdict, reason: &'static str) -> Effect {
        Effect::End(End { transaction, ending: self, verdict, reason })
    }
}
