//! How a transaction is ended that is not finished.

use super::log_record::Verdict;
use crate::engine::connections::TransactionId;
use crate::engine::effect::Effect;

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
