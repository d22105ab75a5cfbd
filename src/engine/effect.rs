//! What one machine asks of another: the dispatcher carries it out when the machine has returned.

use super::cache::collapse::Conclusion;
use super::cache::refresh::Refresh;
use super::transaction::log_record::Verdict;
use super::transaction::refusal::Refusal;
use crate::engine::ids::{ConnectId, FillId, PeerId, TransactionId};
use crate::http::target::Authority;
use crate::net::Linear;

/// One order. Small, because several are queued for every request: what is rare and large is boxed.
#[derive(Debug)]
pub(in crate::engine) enum Effect {
    // For transactions.
    /// A whole head has come from a client.
    Begin {
        client: PeerId,
        head_bytes: usize,
    },
    /// What has come from a client can be no request, or has not become one in time.
    RefuseHead {
        client: PeerId,
        head_bytes: usize,
        refusal: Refusal,
    },
    /// A client that has not asked for anything yet is not served.
    RefuseConnection {
        client: PeerId,
        refusal: Refusal,
    },
    /// Examine once more.
    Examine(TransactionId),
    /// A connection is to be found.
    Connect(TransactionId),
    /// The connection was found that a transaction waits for, or there is none.
    Connected(ConnectId),
    Refuse(TransactionId, Refusal),
    /// The transaction may be over.
    Settle(TransactionId),
    End(End),
    /// The transaction becomes a tunnel over this upstream connection.
    OpenTunnel(TransactionId, PeerId),
    /// A stale response was served, and is to be fetched anew.
    Refresh(Box<Refresh>),
    /// What has come of leaders that transactions wait for.
    Concluded(Box<Conclusion>),
    /// The transactions whose wait is over go on before anything else.
    ResumeWaiters,
    /// A fill is complete: its readers go on in the stored body.
    FillCompleted(FillId),
    /// A fill that is not stored goes to its one reader, if that has everything.
    HandOver(FillId),

    // For client connections.
    /// The transaction is over. `input` is what came behind the request.
    GoOn {
        client: PeerId,
        input: Linear,
        closes: bool,
        silent: bool,
    },
    Linger(PeerId),
    CloseClient(PeerId),
    ResetClient(PeerId),
    /// The upstream connection that was bound to the client has ended; it led there.
    BindingEnded {
        client: PeerId,
        authority: Box<Authority>,
        /// The configuration names it.
        configured: bool,
        rooted: bool,
    },

    // For upstream connections.
    IdleUpstream {
        connection: PeerId,
        opened_ms: u64,
    },
    CloseUpstream(PeerId),
    ResetUpstream(PeerId),
    /// The client asks nothing more.
    EndBinding(PeerId),

    // For fills.
    AdvanceFill(FillId),
    FailFill(FillId),
}

const _: () = assert!(size_of::<Effect>() <= 48);

/// What becomes of the client connection.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) enum Ending {
    /// The transaction ends where it stands: a client that waits for more must notice (rule 23). The close lingers, because the
    /// client may still be sending: a reset would take the answers before this one with it (RFC 9112 section 9.6).
    Abort,
    /// The client is gone, or has to go at once.
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
