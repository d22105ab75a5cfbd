//! The client's side of a transaction: the body on its way to the origin.

use crate::engine::body::filter::FilterFault;
use crate::engine::body::relay::BodyFault;
use crate::engine::context::Context;
use crate::engine::effect::Effect;
use crate::engine::ids::TransactionId;
use crate::engine::transaction::machine::{Services, Transactions};
use crate::engine::transaction::refusal::Refusal;
use crate::engine::transaction::{Stage, Transaction};
use crate::http::framing::Body;
use crate::net::{BLOCK_BYTES, Pool, Purpose, Space};

impl Transaction {
    /// Whether the whole received part of the request's body is kept behind its head, and can be sent from there again: not
    /// if filters may have replaced it.
    pub fn has_body_in_hand(&self) -> bool {
        !self.up.replaces() && self.up.received == self.consumed.saturating_sub(self.info.head_bytes) as u64
    }

    /// Whether the request can be sent again if its connection turns out to be dead: sending twice has the same effect (RFC
    /// 9110 section 9.2.2), and the rest of its body fits behind its head.
    pub fn can_be_repeated(&self) -> bool {
        let fits = match self.info.body {
            Body::None => true,
            Body::Length(bytes) => {
                let came = self.input.len().saturating_sub(self.info.head_bytes) as u64;
                bytes.saturating_sub(came) <= self.input.spare() as u64
            }
            // The length of these is not known in advance.
            Body::Chunked | Body::UntilClose => self.up.is_received(),
        };
        self.info.method.is_idempotent() && fits && self.has_body_in_hand()
    }

    /// Whether the received part of the request's body is kept behind its head.
    pub fn keeps_body(&self) -> bool {
        self.repeat.keeps_body && matches!(self.stage, Stage::Awaiting)
    }

    /// Space for the request's body.
    pub fn upload_space<'p>(&'p mut self, pool: &'p mut Pool) -> Option<Space<'p>> {
        if self.keeps_body() {
            return self.input.space(pool, Purpose::Head, BLOCK_BYTES).map(Space::one);
        }
        if matches!(self.stage, Stage::Collecting) {
            return self.collecting_space(pool);
        }
        let space = self.up.space(pool);
        if space.is_none() {
            self.rates.up.forget();
        }
        space
    }
}

impl Transactions {
    /// Moves bytes behind the client's head into the upload. False if that ended the transaction.
    pub fn pump_upload(&mut self, cx: &mut Context, id: TransactionId) -> bool {
        loop {
            let Some(transaction) = self.slab.get_mut(id.index as usize) else { return false };
            let begin = transaction.consumed;
            if transaction.input.len() <= begin || !transaction.up.wants_bytes() {
                return true;
            }
            // The relay writes into the pool, so bytes of the pool are copied out first.
            let mut bytes = [0; BLOCK_BYTES];
            let count = (transaction.input.len() - begin).min(BLOCK_BYTES);
            bytes[..count].copy_from_slice(&transaction.input.bytes(&cx.pool)[begin..begin + count]);
            let fed = transaction.up.feed(&mut cx.pool, &bytes[..count]);
            transaction.consumed += *fed.as_ref().unwrap_or(&0);
            if !self.conclude_upload(cx, id, fed.map(|_| ())) {
                return false;
            }
            if fed == Ok(0) {
                return true;
            }
        }
    }

    pub(super) fn handle_upload(
        &mut self,
        cx: &mut Context,
        services: &mut Services,
        id: TransactionId,
        count: usize,
    ) {
        let Transactions { slab, excess, .. } = self;
        let transaction = &mut slab[id.index as usize];
        if matches!(transaction.stage, Stage::Collecting) {
            transaction.input.commit(count);
            return cx.send(Effect::Examine(id));
        }
        transaction.restart_timeout(cx);
        excess.clear();
        // All received bytes were sent, so weir waits for the client.
        let awaited = !transaction.up.wants_send();
        if transaction.keeps_body() {
            transaction.input.commit(count);
            if !self.pump_upload(cx, id) {
                return;
            }
        } else {
            let received = transaction.up.handle_received(&mut cx.pool, count, excess);
            if !self.conclude_upload(cx, id, received) {
                return;
            }
        }
        let Transactions { slab, excess, .. } = self;
        let transaction = &mut slab[id.index as usize];
        if let Stage::Connecting(connect) = transaction.stage {
            // Bytes received before the connection is established are not kept.
            services.upstreams.set_repeatable(connect, transaction.can_be_repeated());
        }
        if awaited && transaction.is_uploading_slowly(cx) {
            self.end_slow_upload(cx, services, id);
            return;
        }
        transaction.hold_rate(cx);
        // The next request, already.
        if !excess.is_empty() && !transaction.input.append(&mut cx.pool, Purpose::Head, excess) {
            transaction.closes = true;
        }
        if let Some(upstream) = transaction.upstream {
            cx.wake(upstream);
        }
        self.try_settle(cx, services, id);
    }

    pub(super) fn end_slow_upload(&mut self, cx: &mut Context, services: &mut Services, id: TransactionId) {
        if self.settle_answered(cx, services, id) {
            cx.metrics.limit_rate += 1;
        } else {
            cx.send(Effect::Refuse(id, Refusal::TooSlow));
        }
    }
}

impl BodyFault {
    /// The refusal for a fault of the request's body.
    pub(super) fn of_request(self) -> Refusal {
        match self {
            BodyFault::Framing(fault) => Refusal::Fault(fault),
            BodyFault::Filter(FilterFault::Refused(reason)) => Refusal::Filtered(reason),
            BodyFault::Filter(FilterFault::NoMemory) => Refusal::NoMemory,
        }
    }
}

impl Transaction {
    /// Whether too little of the request's body has arrived while weir waited for the client.
    pub(super) fn is_uploading_slowly(&mut self, cx: &Context) -> bool {
        !self.up.is_received() && self.rates.up.is_below(self.settings.rate(), cx.now_ms(), self.up.received)
    }

    /// Stops the client's clock while weir cannot receive more.
    pub(super) fn hold_rate(&mut self, cx: &Context) {
        if !self.up.wants_bytes() {
            self.rates.up.pause(cx.now_ms());
        }
    }

    /// Ends the upload: the origin has stopped reading.
    pub(super) fn abandon_upload(&mut self, cx: &mut Context) {
        self.upstream_use.reusable = false;
        if !self.up.is_complete() {
            self.closes |= !self.up.is_received();
            self.up.abandon(&mut cx.pool);
        }
    }
}
