//! What the cache makes of a final response: stores it, renews what it has by it, or forgets by it.

use crate::cache::fill::streaming_body::StreamingBody;
use crate::cache::rfc::freshness::Times;
use crate::cache::rfc::key::{Scheme, Uri};
use crate::cache::rfc::storable::Storing;
use crate::cache::store::stored::Stored;
use crate::engine::cache::collapse::CollapseOutcome;
use crate::engine::cache::decision::{Completed, Confirmed, Fate, ResponseDecision, Verdict};
use crate::engine::cache::fill::Beginning;
use crate::engine::cache::look_up::Part;
use crate::engine::cache::reader::CacheReader;
use crate::engine::cache::selecting::AsForwarded;
use crate::engine::peer::TransactionId;
use crate::engine::transaction::Stage;
use crate::engine::transaction::examine::Method;
use crate::engine::transaction::log_record::CacheUse;
use crate::engine::transaction::refusal::Refusal;
use crate::engine::{Engine, PeerId};
use crate::http::forwarding::{self, ForwardedPolicy};
use crate::http::framing::Body;
use crate::http::head::{FieldStorage, RequestHead, ResponseHead};
use crate::http::repair::is_repairable;
use crate::http::session_auth;
use crate::http::target::Target;
use crate::net::Purpose;
use crate::time::Now;
use std::sync::Arc;

/// What becomes of a response.
pub(in crate::engine) enum ResponseAction {
    /// It is passed on as if there were no cache.
    Pass,
    /// It is passed on and stored.
    Store(Arc<Stored>, StreamingBody),
    /// The transaction has been answered, or begun anew.
    Settled,
}

impl Engine {
    /// The same for a response that may be an interim one; a refresh ends here.
    pub(in crate::engine) fn decide_on_final(
        &mut self,
        now: Now,
        id: TransactionId,
        head_bytes: usize,
    ) -> ResponseAction {
        let Engine { transactions, pool, .. } = self;
        let Some(transaction) = transactions.get(id.index as usize) else { return ResponseAction::Settled };
        let mut storage = FieldStorage::new();
        let bytes = &transaction.response.bytes(pool)[..head_bytes];
        let background = transaction.caching.background;
        match ResponseHead::parse(bytes, &mut storage, &transaction.settings.head) {
            Ok(head) if head.status < 200 => return ResponseAction::Pass,
            // It comes once more, repaired.
            Err(fault) if is_repairable(fault) => return ResponseAction::Pass,
            Ok(_) | Err(_) => {}
        }
        let judged = self.decide_on_response(now, id, head_bytes);
        if background && matches!(judged, ResponseAction::Pass) {
            self.finish_background(now, id);
            return ResponseAction::Settled;
        }
        judged
    }

    /// Looks at a final response before it is passed on.
    fn decide_on_response(&mut self, now: Now, id: TransactionId, head_bytes: usize) -> ResponseAction {
        let Some(transaction) = self.transaction_mut(id) else { return ResponseAction::Pass };
        if transaction.caching.part == Part::None {
            return ResponseAction::Pass;
        }
        // What cannot be read is refused when its head is taken, and is nothing to those who wait.
        let Some(verdict) = self.response_verdict(now, id, head_bytes) else { return ResponseAction::Pass };
        if let Some(transaction) = self.transaction_mut(id) {
            if let Some(reason) = transaction.caching.not_stored {
                transaction.record.cache_reason = reason.as_str();
            }
        }
        match verdict {
            Verdict::Pass => {
                self.conclude_collapse(id, CollapseOutcome::NotShareable);
                ResponseAction::Pass
            }
            Verdict::Store(storing) => {
                let (stored, stream) = *storing;
                ResponseAction::Store(Arc::new(stored), stream)
            }
            Verdict::Completes(completed) => {
                self.complete(now, id, head_bytes, *completed);
                ResponseAction::Settled
            }
            Verdict::Confirmed(confirmed) => {
                self.renew(now, id, head_bytes, *confirmed);
                ResponseAction::Settled
            }
            Verdict::Unconfirmed => {
                self.give_up_outdated(id);
                self.ask_again(now, id);
                ResponseAction::Settled
            }
            Verdict::NoRoom => {
                self.ask_again(now, id);
                ResponseAction::Settled
            }
            Verdict::ServeStale(status) => {
                if self.serve_stale(now, id, Some(status)) {
                    ResponseAction::Settled
                } else {
                    ResponseAction::Pass
                }
            }
        }
    }

    fn response_verdict(&mut self, now: Now, id: TransactionId, head_bytes: usize) -> Option<Verdict> {
        let Engine { transactions, pool, cache_text, cache_scratch, .. } = self;
        let transaction = transactions.get_mut(id.index as usize)?;
        let settings = &transaction.settings;
        let cache = settings.cache.as_ref()?;
        let (mut asked_storage, mut storage) = (FieldStorage::new(), FieldStorage::new());
        let asked_bytes =
            &transaction.input.bytes(pool)[..transaction.info.head_bytes.min(transaction.input.len())];
        let response_bytes = &transaction.response.bytes(pool)[..head_bytes];
        let asked = RequestHead::parse(asked_bytes, &mut asked_storage, &settings.head).ok()?;
        let response = ResponseHead::parse(response_bytes, &mut storage, &settings.head).ok()?;
        let path = match Target::parse(asked.method, asked.target, settings.head.strict_targets) {
            Ok(Target::Absolute { path, .. } | Target::Origin { path }) => path,
            Ok(Target::Authority(_) | Target::Asterisk) | Err(_) => return None,
        };
        let targeted: Vec<&str> = cache.targeted.iter().map(String::as_str).collect();
        let mut judge = ResponseDecision {
            cache,
            storing: Storing { freshness: cache.freshness, targeted: &targeted },
            uri: Uri { scheme: Scheme::Http, authority: &transaction.info.authority, path },
            times: Times { requested_s: transaction.caching.requested_s, received_s: now.unix_s() },
            now,
            asked: &asked,
            forwarded: AsForwarded::new(
                &asked,
                &transaction.info.authority.host,
                &transaction.policy,
                settings.forwarded,
            ),
            response: &response,
            caching: &mut transaction.caching,
            text: cache_text,
            scratch: cache_scratch,
            writes_forwarded: settings.forwarded != ForwardedPolicy::Off,
            address: transaction.record.upstream.map(|address| address.ip()),
            come: transaction.response.len() - head_bytes,
        };
        judge.caching.bound |= session_auth::offers_connection(response.fields);
        Some(match judge.caching.part {
            Part::None => Verdict::Pass,
            Part::Invalidate if transaction.up.is_complete() => judge.invalidate(true),
            Part::Invalidate => judge.invalidate(false),
            Part::Head if judge.caching.bound => Verdict::Pass,
            Part::Head => judge.compare(),
            Part::Complete => judge.complete(),
            // The answer to conditions of the cache's own, and no answer for the client.
            Part::Validate if response.status == 304 && judge.caching.bound => Verdict::Unconfirmed,
            Part::Validate if response.status == 304 => judge.confirm(),
            Part::Validate | Part::Store => judge.store(false),
        })
    }

    /// The origin has confirmed what is stored: it gets its new fields, and the client its answer (rules 32 and 33).
    fn renew(&mut self, now: Now, id: TransactionId, head_bytes: usize, confirmed: Confirmed) {
        let Engine { transactions, settings, .. } = self;
        let (Some(transaction), Some(cache)) = (transactions.get_mut(id.index as usize), &settings.cache)
        else {
            return;
        };
        let Some(old) = transaction.caching.stale.take() else { return };
        let background = transaction.caching.background;
        let stored = Arc::new(confirmed.stored);
        match confirmed.fate {
            Fate::Renewed => drop(cache.store.replace(&old, &stored)),
            Fate::Removed => cache.store.remove(&old),
            Fate::Left => {}
        }
        self.release_origin(now, id, head_bytes);
        self.conclude_collapse(id, outcome(&stored, now));
        if background {
            self.finish_background(now, id);
            return;
        }
        self.serve_validated(now, id, stored, CacheUse::Revalidated, Some(304), &confirmed.withheld);
    }

    /// The bytes that are missing of a stored part are coming: the client gets both, one behind the other (rule 35).
    fn complete(&mut self, now: Now, id: TransactionId, head_bytes: usize, completed: Completed) {
        let pending = Arc::new(completed.stored);
        let Engine { transactions, pool, .. } = self;
        let Some(transaction) = transactions.get_mut(id.index as usize) else { return };
        let bytes = &transaction.response.bytes(pool)[..head_bytes];
        let mut storage = FieldStorage::new();
        let (Some((beside, missing)), Some(epoch), Ok(head)) = (
            transaction.caching.to_complete().map(|(stored, missing)| (Arc::clone(stored), missing)),
            transaction.caching.epoch,
            ResponseHead::parse(bytes, &mut storage, &transaction.settings.head),
        ) else {
            return;
        };
        transaction.origin_reusable = forwarding::origin_keeps_alive(head.version, head.fields);
        let (hash, outcome) = (pending.hash(), outcome(&pending, now));
        let beginning = Beginning {
            pending: Arc::clone(&pending),
            epoch,
            body: Body::Length(missing.len),
            stream: completed.stream,
            unread: false,
            keeps_part: true,
            beside: Some(beside),
        };
        let leads = transaction.caching.leads.take();
        let Some(fill) = self.begin_fill(now, id, head_bytes, beginning) else { return };
        self.hand_lock_over(id, fill, outcome);
        if leads.is_some() {
            let waiters = self.collapses.turn_into_fill(hash, id, fill);
            self.release_waiters(waiters, outcome);
        }
        self.serve_completed(now, id, pending, fill, completed.withheld);
        self.advance_fill(now, fill);
    }

    /// The 304 was about something else than what is stored, or other bytes came than were missing.
    fn give_up_outdated(&mut self, id: TransactionId) {
        let Engine { transactions, settings, .. } = self;
        let Some(transaction) = transactions.get_mut(id.index as usize) else { return };
        let caching = &mut transaction.caching;
        if let (Some(cache), Some(outdated)) =
            (&settings.cache, caching.stale.take().or(caching.beside.take()))
        {
            cache.store.remove(&outdated);
        }
    }

    /// Asks once more, without conditions of the cache's.
    fn ask_again(&mut self, now: Now, id: TransactionId) {
        let Engine { transactions, pool, .. } = self;
        let Some(transaction) = transactions.get_mut(id.index as usize) else { return };
        transaction.caching.unconditional = true;
        transaction.up.release(pool);
        transaction.up.sent = 0;
        transaction.scanner = Default::default();
        self.detach_origin(now, id);
        self.examine(now, id);
    }

    /// Gives the origin connection back after a response without a body.
    fn release_origin(&mut self, now: Now, id: TransactionId, head_bytes: usize) {
        let draining = self.is_draining();
        let Engine { transactions, pool, .. } = self;
        let Some(transaction) = transactions.get_mut(id.index as usize) else { return };
        let mut storage = FieldStorage::new();
        let bytes = transaction.response.bytes(pool);
        let clean = bytes.len() == head_bytes && transaction.up.is_complete() && !draining;
        let reusable = clean
            && ResponseHead::parse(&bytes[..head_bytes], &mut storage, &transaction.settings.head)
                .is_ok_and(|head| forwarding::origin_keeps_alive(head.version, head.fields));
        transaction.response.release(pool);
        let (origin, opened_ms): (Option<PeerId>, u64) = (transaction.origin.take(), transaction.opened_ms);
        match origin {
            Some(origin) if reusable => self.idle_origin(now, origin, opened_ms),
            Some(origin) => self.close_origin(origin),
            None => {}
        }
    }

    /// The head for the client is written, the response is stored as it comes.
    pub(in crate::engine) fn begin_storing(
        &mut self,
        now: Now,
        id: TransactionId,
        head_bytes: usize,
        (pending, stream): (Arc<Stored>, StreamingBody),
        (body, http10): (Body, bool),
    ) {
        let (hash, outcome, is_part) = (pending.hash(), outcome(&pending, now), pending.fragment().is_some());
        let Some(transaction) = self.transaction_mut(id) else { return };
        let Some(epoch) = transaction.caching.epoch else { return };
        let background = transaction.caching.background;
        transaction.caching.stale = None;
        let authority = transaction.info.authority;
        self.origins.set_http10(now.monotonic_ms(), &authority, http10);
        let Engine { transactions, pool, scratch, .. } = self;
        let transaction = &mut transactions[id.index as usize];
        if !background && !transaction.down.head.append(pool, Purpose::Reply, scratch) {
            self.refuse(now, id, Refusal::NoMemory);
            return;
        }
        let keeps_part = transaction.info.method == Method::Get;
        let beginning =
            Beginning { pending, epoch, body, stream, unread: background, keeps_part, beside: None };
        let Some(fill) = self.begin_fill(now, id, head_bytes, beginning) else { return };
        // Not before: where this comes to nothing, those who wait are told when the transaction ends.
        if is_part {
            // That is not what they wait for.
            self.conclude_collapse(id, CollapseOutcome::LookAgain);
        }
        self.hand_lock_over(id, fill, outcome);
        let leads = self.transaction_mut(id).and_then(|transaction| transaction.caching.leads.take());
        if leads.is_some() {
            let waiters = self.collapses.turn_into_fill(hash, id, fill);
            self.release_waiters(waiters, outcome);
        }
        if background {
            self.finish_background(now, id);
            self.advance_fill(now, fill);
            return;
        }
        let length = fill.get(&self.fills).and_then(|fill| fill.length);
        let Some(transaction) = self.transaction_mut(id) else { return };
        let chunked = length.is_none() && !transaction.ends_at_close;
        transaction.stage = Stage::CacheReader;
        transaction.reader = Some(CacheReader::streaming(fill, length, chunked));
        let client = transaction.client;
        self.join_fill(fill, id);
        self.forget_request(id);
        self.touch(now, id);
        self.wake(client);
        self.advance_fill(now, fill);
    }
}

/// Whether those who waited may find an answer in what has come.
fn outcome(stored: &Stored, now: Now) -> CollapseOutcome {
    let fresh = stored.terms.age_s(stored.clock_s(now)) < stored.terms.lifetime_s;
    if fresh && !stored.terms.no_cache { CollapseOutcome::LookAgain } else { CollapseOutcome::NotShareable }
}
