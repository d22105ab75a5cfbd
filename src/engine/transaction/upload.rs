//! The client's side of a transaction: its body on the way up.

use crate::engine::Engine;
use crate::engine::peer::TransactionId;
use crate::engine::transaction::refusal::Refusal;
use crate::engine::transaction::{Stage, Transaction};
use crate::http::framing::Body;
use crate::net::{BLOCK_BYTES, Pool, Purpose, Space};
use crate::time::Now;

impl Transaction {
    /// Whether what has come of the request's body is kept behind its head, all of it.
    pub fn has_body_in_hand(&self) -> bool {
        self.up.received == self.consumed.saturating_sub(self.info.head_bytes) as u64
    }

    /// Whether the request can be sent once more should its connection turn out to be dead: that means the same (RFC 9110
    /// section 9.2.2), and what is still to come of its body finds room behind its head.
    pub fn can_be_repeated(&self) -> bool {
        let fits = match self.info.body {
            Body::None => true,
            Body::Length(bytes) => {
                let came = self.input.len().saturating_sub(self.info.head_bytes) as u64;
                bytes.saturating_sub(came) <= self.input.spare() as u64
            }
            // Nobody can tell how much it will be.
            Body::Chunked | Body::UntilClose => self.up.is_received(),
        };
        self.info.method.is_idempotent() && fits && self.has_body_in_hand()
    }

    /// Whether what comes of the request's body is kept behind its head.
    pub fn keeps_body(&self) -> bool {
        self.keeps_body && matches!(self.stage, Stage::Awaiting)
    }

    /// Where to read the request's body into.
    pub fn upload_space<'p>(&'p mut self, pool: &'p mut Pool) -> Option<Space<'p>> {
        if self.keeps_body() {
            return self.input.space(pool, Purpose::Head, BLOCK_BYTES).map(Space::one);
        }
        let space = self.up.space(pool);
        if space.is_none() {
            self.up_rate.forget();
        }
        space
    }
}

impl Engine {
    /// Moves what the client sent behind the head into the upload. False if that ended the transaction.
    pub(in crate::engine) fn pump_upload(&mut self, now: Now, id: TransactionId) -> bool {
        let Engine { transactions, pool, .. } = self;
        let Some(transaction) = transactions.get_mut(id.index as usize) else { return false };
        loop {
            let begin = transaction.consumed;
            if transaction.input.len() <= begin || !transaction.up.wants_bytes() {
                return true;
            }
            // The relay writes into the pool: what lies there is copied out first.
            let mut bytes = [0; BLOCK_BYTES];
            let count = (transaction.input.len() - begin).min(BLOCK_BYTES);
            bytes[..count].copy_from_slice(&transaction.input.bytes(pool)[begin..begin + count]);
            match transaction.up.sender(pool, &bytes[..count]) {
                Ok(0) => return true,
                Ok(taken) => transaction.consumed += taken,
                Err(fault) => {
                    self.refuse(now, id, Refusal::Fault(fault));
                    return false;
                }
            }
        }
    }

    pub(in crate::engine) fn handle_upload(&mut self, now: Now, id: TransactionId, count: usize) {
        self.touch(now, id);
        let Engine { transactions, pool, excess, .. } = self;
        let transaction = &mut transactions[id.index as usize];
        excess.clear();
        // All that it gave has gone on: it is the client that is waited for.
        let awaited = !transaction.up.wants_send();
        if transaction.keeps_body() {
            transaction.input.commit(count);
            if !self.pump_upload(now, id) {
                return;
            }
        } else if let Err(fault) = transaction.up.handle_received(pool, count, excess) {
            self.refuse(now, id, Refusal::Fault(fault));
            return;
        }
        if awaited && self.is_uploading_slowly(now, id) {
            self.end_slow_upload(now, id);
            return;
        }
        self.hold_rate(now, id);
        let Engine { transactions, pool, excess, .. } = self;
        let transaction = &mut transactions[id.index as usize];
        // The next request, already.
        if !excess.is_empty() && !transaction.input.append(pool, Purpose::Head, excess) {
            transaction.closes = true;
        }
        if let Some(origin) = transaction.origin {
            self.wake(origin);
        }
        self.try_settle(now, id);
    }

    /// Whether too little has come of the request's body, although the client was waited for.
    pub(in crate::engine) fn is_uploading_slowly(&mut self, now: Now, id: TransactionId) -> bool {
        let transaction = &mut self.transactions[id.index as usize];
        !transaction.up.is_received()
            && transaction.up_rate.is_below(
                transaction.settings.rate(),
                now.monotonic_ms(),
                transaction.up.received,
            )
    }

    /// Stops the client's clock while there is no room for more.
    pub(in crate::engine) fn hold_rate(&mut self, now: Now, id: TransactionId) {
        let Some(transaction) = self.transaction_mut(id) else { return };
        if !transaction.up.wants_bytes() {
            transaction.up_rate.hold(now.monotonic_ms());
        }
    }

    pub(in crate::engine) fn end_slow_upload(&mut self, now: Now, id: TransactionId) {
        if self.finish_answered(now, id) {
            self.metrics.limit_rate += 1;
        } else {
            self.refuse(now, id, Refusal::TooSlow);
        }
    }

    /// The request goes no further: the origin has stopped reading.
    pub(in crate::engine) fn abandon_upload(&mut self, id: TransactionId) {
        let Engine { transactions, pool, .. } = self;
        let Some(transaction) = transactions.get_mut(id.index as usize) else { return };
        transaction.origin_reusable = false;
        if !transaction.up.is_complete() {
            transaction.closes |= !transaction.up.is_received();
            transaction.up.abandon(pool);
        }
    }
}
