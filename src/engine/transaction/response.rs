//! The origin's side of a transaction: response heads, bodies, and how they end.

use crate::cache::store::stored::Stored;
use crate::engine::Engine;
use crate::engine::Event;
use crate::engine::cache::actions::ResponseAction;
use crate::engine::cache::look_up::Part;
use crate::engine::peer::TransactionId;
use crate::engine::settings::INFORMATIONAL_MAX;
use crate::engine::transaction::log_record::Text;
use crate::engine::transaction::refusal::{Refusal, SocketError};
use crate::engine::transaction::{Stage, Transaction};
use crate::engine::upstream::binding::Bond;
use crate::http::fault::Fault;
use crate::http::forwarding::{self, ResponseRoute};
use crate::http::framing::{self, Body};
use crate::http::head::{FieldStorage, ResponseHead, Scanner, Version};
use crate::http::repair::{is_repairable, repair_response};
use crate::http::session_auth;
use crate::net::{BLOCK_BYTES, Pool, Purpose};
use crate::policy::edit::Direction;
use crate::time::Now;

/// What a response head turned out to be.
enum Head {
    /// 1xx, relayed or not.
    Interim,
    /// 101, as asked for.
    Switching,
    Final {
        body: Body,
        http10: bool,
    },
}

/// What becomes of both connections behind a final response.
struct Ends {
    bond: Bond,
    /// The client takes its end for that of the response.
    at_close: bool,
    origin_reusable: bool,
    /// The client's ends.
    closes: bool,
}

impl Ends {
    /// The response has that body; its origin keeps the connection, or offers to authenticate it, or does not.
    fn of(
        transaction: &Transaction,
        body: Body,
        (keeps, offers): (bool, bool),
        aged: impl Fn() -> bool,
    ) -> Ends {
        let info = &transaction.info;
        let bond = transaction.bond.after(info.authenticates, offers);
        let at_close = client_body(body, info.version) == Body::UntilClose;
        let received = transaction.up.is_received();
        // An origin that closes will not read the rest of the request, so the client's next one cannot be found.
        let origin_reusable = keeps && (received || !transaction.may_wait());
        let cut_short = !origin_reusable && !received;
        // What is bound ends together.
        let alone = bond.binds() && (!origin_reusable || aged());
        Ends { bond, at_close, origin_reusable, closes: !info.keep_alive || at_close || cut_short || alone }
    }
}

impl Engine {
    /// Something happened on the origin's side of a transaction.
    pub(in crate::engine) fn handle_transaction_origin(&mut self, now: Now, id: TransactionId, event: Event) {
        match event {
            Event::Received(count) => self.handle_download(now, id, count),
            Event::Spliced(count) => {
                self.touch(now, id);
                let transaction = &mut self.transactions[id.index as usize];
                transaction.down.handle_spliced(count);
                let client = transaction.client;
                self.wake(client);
            }
            Event::Sent(count) => {
                self.touch(now, id);
                let Engine { transactions, pool, .. } = self;
                let transaction = &mut transactions[id.index as usize];
                transaction.up.handle_sent(pool, count);
                if transaction.up.wants_bytes() {
                    // If not before, it was the origin that everybody waited for.
                    transaction.up_rate.go_on(now.monotonic_ms());
                }
                let client = transaction.client;
                if self.pump_upload(now, id) {
                    self.wake(client);
                    self.try_settle(now, id);
                }
            }
            Event::EndOfStream => self.handle_origin_end(now, id, Refusal::OriginClosed),
            Event::Failed(_) => self.handle_origin_end(now, id, Refusal::Connect(SocketError::Reset)),
            Event::SendFailed(_) => {
                // The origin does not read any more; perhaps it said why.
                let untouched = self.transactions[id.index as usize].up.sent == 0;
                if untouched && self.retry(now, id) {
                    return;
                }
                self.abandon_upload(id);
                self.try_settle(now, id);
            }
            Event::Connected => {}
        }
    }

    fn handle_download(&mut self, now: Now, id: TransactionId, count: usize) {
        self.touch(now, id);
        let Engine { transactions, pool, excess, .. } = self;
        let transaction = &mut transactions[id.index as usize];
        let client = transaction.client;
        match transaction.stage {
            // An answer to nothing: it was meant for somebody else (rule 33).
            Stage::Awaiting if transaction.is_unasked() => {
                if !self.retry(now, id) {
                    self.refuse(now, id, Refusal::OriginClosed);
                }
            }
            Stage::Awaiting => {
                if transaction.response.is_empty() {
                    transaction.note_first_byte(now);
                    transaction.head_until_ms = now.monotonic_ms() + self.settings.timeouts.head_ms;
                }
                transaction.response.commit(count);
                self.advance_response(now, id);
            }
            Stage::Relaying if transaction.down.is_received() => {
                transaction.origin_reusable = false;
                self.try_settle(now, id);
            }
            Stage::Relaying => {
                excess.clear();
                let received = transaction.down.handle_received(pool, count, excess);
                transaction.origin_reusable &= excess.is_empty();
                if let Err(fault) = received {
                    self.fail_download(now, id, fault);
                    return;
                }
                self.wake(client);
                self.try_settle(now, id);
            }
            Stage::Begun
            | Stage::Verifying
            | Stage::Resolving(_)
            | Stage::Dialling(_)
            | Stage::Replying
            | Stage::Waiting(_)
            | Stage::CacheReader => {}
        }
    }

    /// The body broke its own framing: the client gets what was good of it, and then no proper end.
    fn fail_download(&mut self, now: Now, id: TransactionId, fault: Fault) {
        self.metrics.count_fault(fault);
        let transaction = &mut self.transactions[id.index as usize];
        transaction.origin_reusable = false;
        transaction.down.truncate();
        let client = transaction.client;
        self.wake(client);
        self.try_settle(now, id);
    }

    /// Reads response heads until the final one is whole.
    fn advance_response(&mut self, now: Now, id: TransactionId) {
        loop {
            let Engine { transactions, pool, .. } = self;
            let Some(transaction) = transactions.get_mut(id.index as usize) else { return };
            if !matches!(transaction.stage, Stage::Awaiting) {
                return;
            }
            let head_bytes = match transaction
                .scanner
                .scan_response(transaction.response.bytes(pool), &transaction.settings.head)
            {
                Ok(Some(head_bytes)) => head_bytes,
                Ok(None) => return,
                Err(fault) => {
                    self.refuse(now, id, Refusal::OriginFault(fault));
                    return;
                }
            };
            let judged = match self.transactions.get(id.index as usize) {
                Some(transaction) if transaction.caching.part != Part::None => {
                    self.decide_on_final(now, id, head_bytes)
                }
                Some(_) | None => ResponseAction::Pass,
            };
            let storing = match judged {
                ResponseAction::Settled => return,
                ResponseAction::Pass => None,
                ResponseAction::Store(pending, stream) => Some((pending, stream)),
            };
            match self.take_head(now, id, head_bytes, storing.as_ref().map(|(pending, _)| &**pending)) {
                Err(Refusal::OriginFault(fault)) if is_repairable(fault) && self.repair(id, head_bytes) => {}
                Err(refusal) => {
                    self.refuse(now, id, refusal);
                    return;
                }
                Ok(Head::Switching) => {
                    self.switch(now, id, head_bytes);
                    return;
                }
                Ok(Head::Final { body, http10 }) => {
                    match storing {
                        Some(storing) => self.begin_storing(now, id, head_bytes, storing, (body, http10)),
                        None => self.begin_relaying(now, id, head_bytes, body, http10),
                    }
                    return;
                }
                Ok(Head::Interim) => {
                    let Engine { transactions, pool, .. } = self;
                    let transaction = &mut transactions[id.index as usize];
                    transaction.response.consume(pool, head_bytes);
                    transaction.scanner = Scanner::default();
                    // Not that of the final response, unless that has begun behind it.
                    match transaction.response.is_empty() {
                        true => transaction.record.phases.ttfb_us = None,
                        false => transaction.note_first_byte(now),
                    }
                    let client = transaction.client;
                    self.wake(client);
                }
            }
        }
    }

    /// Puts right what can be in a response head that could not be read; false if that was nothing.
    fn repair(&mut self, id: TransactionId, head_bytes: usize) -> bool {
        let Engine { transactions, pool, .. } = self;
        let Some(transaction) = transactions.get_mut(id.index as usize) else { return false };
        transaction.scanner = Scanner::default();
        repair_response(&mut transaction.response.bytes_mut(pool)[..head_bytes])
    }

    /// Parses one response head and writes the one for the client: a final one into `scratch`, where `begin_relaying` and
    /// `begin_storing` find it.
    fn take_head(
        &mut self,
        now: Now,
        id: TransactionId,
        head_bytes: usize,
        storing: Option<&Stored>,
    ) -> Result<Head, Refusal> {
        self.refresh_date(now);
        let draining = self.is_draining();
        let Engine { transactions, pool, settings, scratch, date, .. } = self;
        let transaction = &mut transactions[id.index as usize];
        scratch.clear();
        let mut storage = FieldStorage::new();
        let bytes = &transaction.response.bytes(pool)[..head_bytes];
        let head = ResponseHead::parse(bytes, &mut storage, &transaction.settings.head)
            .map_err(Refusal::OriginFault)?;
        let (info, policy) = (&transaction.info, &transaction.policy);
        let interim = head.status < 200;
        let switching = head.status == 101;
        // Before the request is complete there is nobody to switch with.
        if switching && !(info.upgrade && transaction.up.is_complete()) {
            return Err(Refusal::UpgradeUnasked);
        }
        let body = framing::response_body(info.method.as_str(), &head).map_err(Refusal::OriginFault)?;
        let http10 = head.version == Version::Http10;
        let offers = session_auth::offers_connection(head.fields);
        if !interim {
            let keeps = forwarding::origin_keeps_alive(head.version, head.fields) && body != Body::UntilClose;
            let aged = || settings.lifetime_left_ms(transaction.opened_ms, now.monotonic_ms()) == 0;
            let ends = Ends::of(transaction, body, (keeps, offers), aged);
            transaction.bond = ends.bond;
            transaction.ends_at_close = ends.at_close;
            transaction.origin_reusable = ends.origin_reusable;
            transaction.closes |= draining || ends.closes;
        } else {
            transaction.informational += 1;
            if transaction.informational > INFORMATIONAL_MAX {
                return Err(Refusal::TooManyInformational);
            }
        }
        if interim && !switching && info.version == Version::Http10 {
            return Ok(Head::Interim);
        }
        let edits = policy.edits.for_host(Direction::Response, &info.authority.host);
        let route = ResponseRoute {
            body: client_body(body, info.version),
            client_version: info.version,
            keep_alive: !transaction.closes,
            upgrade: switching || head.status == 426,
            via: transaction.settings.via.as_deref(),
            date: std::str::from_utf8(date).ok(),
            edits: &edits,
        };
        if body == Body::Chunked {
            transaction.down.withheld.set(head.fields, edits.removed());
        }
        forwarding::write_response(scratch, &head, &route);
        if offers && head.status == 401 && !session_auth::announces_support(head.fields) {
            session_auth::add_support(scratch);
        }
        if !interim {
            let ttl_s = storing.map(|stored| transaction.caching.terms(stored).ttl_s());
            Engine::write_forwarded_status(&transaction.settings, transaction, ttl_s, scratch);
            transaction.record.status = head.status;
            if transaction.settings.noted.contains(&Text::ContentType) {
                transaction.record.set_content_type(head.fields.get("content-type").unwrap_or_default());
            }
            return Ok(Head::Final { body, http10 });
        }
        let status = head.status;
        relay_interim(transaction, pool, scratch, status)
    }

    fn begin_relaying(&mut self, now: Now, id: TransactionId, head_bytes: usize, body: Body, http10: bool) {
        let Engine { transactions, pool, scratch, excess, origins, .. } = self;
        let transaction = &mut transactions[id.index as usize];
        let chunked_out = client_body(body, transaction.info.version) == Body::Chunked;
        transaction.down.frame(body, chunked_out);
        let in_front = transaction.down.fits_before(&transaction.response, head_bytes, scratch);
        if !in_front && !transaction.down.head.append(pool, Purpose::Reply, scratch) {
            self.refuse(now, id, Refusal::NoMemory);
            return;
        }
        transaction.stage = Stage::Relaying;
        origins.set_http10(now.monotonic_ms(), &transaction.info.authority, http10);
        excess.clear();
        let mut response = std::mem::take(&mut transaction.response);
        let front: &[u8] = if in_front { scratch } else { b"" };
        let adopted = transaction.down.adopt(pool, &mut response, head_bytes, front, excess);
        transaction.response = response;
        match adopted {
            Ok(true) => transaction.origin_reusable &= excess.is_empty(),
            Ok(false) => transaction.response.consume(pool, head_bytes),
            Err(fault) => {
                self.fail_download(now, id, fault);
                return;
            }
        }
        let client = transaction.client;
        self.forget_request(id);
        self.touch(now, id);
        self.wake(client);
        if self.pump_download(now, id) {
            self.try_settle(now, id);
        }
    }

    /// Moves what arrived with a large response head into the download, as far as there is room. False if that ended the
    /// transaction.
    pub(in crate::engine) fn pump_download(&mut self, now: Now, id: TransactionId) -> bool {
        let Engine { transactions, pool, .. } = self;
        let Some(transaction) = transactions.get_mut(id.index as usize) else { return false };
        if !matches!(transaction.stage, Stage::Relaying) {
            return true;
        }
        while !transaction.response.is_empty() {
            if transaction.down.is_received() {
                transaction.origin_reusable = false;
                transaction.response.release(pool);
                break;
            }
            let mut bytes = [0; BLOCK_BYTES];
            let count = transaction.response.len().min(BLOCK_BYTES);
            bytes[..count].copy_from_slice(&transaction.response.bytes(pool)[..count]);
            match transaction.down.sender(pool, &bytes[..count]) {
                Ok(0) => break,
                Ok(taken) => transaction.response.consume(pool, taken),
                Err(fault) => {
                    transaction.response.release(pool);
                    self.fail_download(now, id, fault);
                    return self.transaction_mut(id).is_some();
                }
            }
        }
        true
    }

    /// The origin has finished sending, or its connection broke.
    fn handle_origin_end(&mut self, now: Now, id: TransactionId, refusal: Refusal) {
        let Some(transaction) = self.transaction_mut(id) else { return };
        transaction.origin_reusable = false;
        match transaction.stage {
            Stage::Awaiting => {
                if !transaction.response.is_empty() {
                    self.refuse(now, id, Refusal::OriginIncomplete);
                } else if !self.retry(now, id) {
                    self.refuse(now, id, refusal);
                }
            }
            Stage::Relaying => self.end_download(now, id, refusal == Refusal::OriginClosed),
            Stage::Begun
            | Stage::Verifying
            | Stage::Resolving(_)
            | Stage::Dialling(_)
            | Stage::Replying
            | Stage::Waiting(_)
            | Stage::CacheReader => {}
        }
    }

    fn end_download(&mut self, now: Now, id: TransactionId, orderly: bool) {
        let transaction = &mut self.transactions[id.index as usize];
        if orderly && transaction.response.is_empty() {
            transaction.down.handle_end();
        } else if !transaction.down.is_received() {
            transaction.down.truncate();
        }
        let (client, origin) = (transaction.client, transaction.origin.take());
        self.abandon_upload(id);
        if let Some(origin) = origin {
            self.close_origin(origin);
        }
        self.wake(client);
        self.try_settle(now, id);
    }
}

/// Passes on a head that is not the final one.
fn relay_interim(
    transaction: &mut Transaction,
    pool: &mut Pool,
    head: &[u8],
    status: u16,
) -> Result<Head, Refusal> {
    if !transaction.down.head.append(pool, Purpose::Reply, head) {
        return Err(Refusal::NoMemory);
    }
    if status == 101 {
        transaction.record.status = status;
        return Ok(Head::Switching);
    }
    transaction.info.expects_continue &= status != 100;
    Ok(Head::Interim)
}

/// How a body goes on to a client of that version (rule 22).
fn client_body(body: Body, version: Version) -> Body {
    match (body, version) {
        (Body::Chunked | Body::UntilClose, Version::Http11) => Body::Chunked,
        (Body::Chunked | Body::UntilClose, Version::Http10) => Body::UntilClose,
        (Body::None | Body::Length(_), Version::Http10 | Version::Http11) => body,
    }
}
