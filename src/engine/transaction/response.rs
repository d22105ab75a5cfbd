//! The origin's side of a transaction: response heads, bodies, and how they end.

use crate::cache::store::stored::Stored;
use crate::engine::Event;
use crate::engine::body::relay::{BodyFault, Relay};
#[cfg(feature = "detection")]
use crate::engine::body::tap::ResponseTap;
use crate::engine::cache::actions::ResponseAction;
use crate::engine::cache::hit_response::write_forwarded_status;
use crate::engine::cache::state::CacheTask;
use crate::engine::context::Context;
use crate::engine::effect::{Effect, Ending};
use crate::engine::ids::{PeerId, TransactionId};
use crate::engine::settings::INFORMATIONAL_MAX;
use crate::engine::transaction::log_record::Text;
use crate::engine::transaction::machine::{Services, Transactions};
use crate::engine::transaction::refusal::{Refusal, SocketError};
use crate::engine::transaction::response_fields::{ResponseEdits, ResponseFields};
use crate::engine::transaction::{Stage, Transaction};
use crate::engine::upstream::pinning::Pinning;
use crate::guard::behaviour::Watch;
use crate::guard::headers::Author;
use crate::http::fault::Fault;
use crate::http::forwarding::{self, Edits as _, ResponseRoute};
use crate::http::framing::{self, Body};
use crate::http::head::{ResponseHead, Scanner, Version};
use crate::http::message::Fields;
use crate::http::repair::{is_repairable, repair_response};
use crate::http::session_auth;
use crate::net::{BLOCK_BYTES, Pool, Purpose};
use crate::part::guard::built;
use crate::policy::edit::{Direction, HostEdits};

/// The kind of a response head.
enum Head {
    /// 1xx, relayed or not.
    Interim,
    /// 101, as requested.
    Switching,
    Final {
        body: Body,
        http10: bool,
    },
}

/// The handling of both connections after a final response.
struct Ends {
    pinning: Pinning,
    /// The client takes the end of the connection for that of the response.
    at_close: bool,
    upstream_reusable: bool,
    /// The client's ends.
    closes: bool,
}

impl Ends {
    /// For a response with that body, whose origin keeps the connection or not, and may offer to authenticate it.
    fn of(
        transaction: &Transaction,
        body: Body,
        (keeps, offers): (bool, bool),
        aged: impl Fn() -> bool,
    ) -> Ends {
        let info = &transaction.info;
        let pinning = transaction.upstream_use.pinning.after(info.authenticates, offers);
        let at_close = transaction.client_body(body) == Body::UntilClose;
        let received = transaction.up.is_received();
        // An origin that closes will not read the rest of the request, so the client's next request cannot be found. To a request
        // of which nothing was sent, another response may follow.
        let upstream_reusable = keeps && transaction.up.sent > 0 && (received || !transaction.may_wait());
        let cut_short = !upstream_reusable && !received;
        // Pinned connections end together.
        let alone = pinning.pins() && (!upstream_reusable || aged());
        Ends {
            pinning,
            at_close,
            upstream_reusable,
            closes: !info.keep_alive || at_close || cut_short || alone,
        }
    }
}

impl Transactions {
    /// Something happened on the origin's side of a transaction.
    pub fn handle_upstream(
        &mut self,
        cx: &mut Context,
        services: &mut Services,
        id: TransactionId,
        event: Event,
    ) {
        let Some(transaction) = self.get_mut(id) else { return };
        match event {
            Event::Received(count) => self.handle_download(cx, services, id, count),
            Event::Spliced(count) => {
                transaction.restart_timeout(cx);
                transaction.down.handle_spliced(count);
                cx.wake(transaction.client);
            }
            Event::Sent(count) => {
                transaction.restart_timeout(cx);
                transaction.up.handle_sent(&mut cx.pool, count);
                if transaction.up.wants_bytes() {
                    // If not before, weir now waits for the origin.
                    transaction.rates.up.resume(cx.now_ms());
                }
                let client = transaction.client;
                if self.pump_upload(cx, id) {
                    cx.wake(client);
                    self.try_settle(cx, services, id);
                }
            }
            Event::EndOfStream if !transaction.upstream_use.broken => {
                self.handle_upstream_end(cx, services, id, Refusal::OriginClosed);
            }
            Event::EndOfStream | Event::Failed(_) => {
                self.handle_upstream_end(cx, services, id, Refusal::Connect(SocketError::Reset));
            }
            Event::SendFailed(error) => {
                // The origin does not read any more; it may have sent the reason.
                transaction.upstream_use.broken |= error != SocketError::Closed;
                let untouched = transaction.up.sent == 0;
                if untouched && self.retry(cx, services, id) {
                    return;
                }
                if let Some(transaction) = self.get_mut(id) {
                    transaction.abandon_upload(cx);
                }
                self.try_settle(cx, services, id);
            }
            Event::Connected => {}
        }
    }

    fn handle_download(
        &mut self,
        cx: &mut Context,
        services: &mut Services,
        id: TransactionId,
        count: usize,
    ) {
        let Transactions { slab, excess, .. } = self;
        let transaction = &mut slab[id.index as usize];
        transaction.restart_timeout(cx);
        match transaction.stage {
            // Meant for another request.
            Stage::Awaiting if transaction.is_unasked() => {
                if !self.retry(cx, services, id) {
                    cx.send(Effect::Refuse(id, Refusal::OriginClosed));
                }
            }
            Stage::Awaiting => {
                if transaction.response.is_empty() {
                    transaction.note_first_byte(cx.now);
                    transaction.incoming.until_ms = cx.now_ms() + cx.settings.timeouts.head_ms;
                }
                transaction.response.commit(count);
                self.advance_response(cx, services, id);
            }
            Stage::Relaying if transaction.down.is_received() => {
                transaction.upstream_use.reusable = false;
                self.try_settle(cx, services, id);
            }
            Stage::Relaying => {
                excess.clear();
                let received = transaction.down.handle_received(&mut cx.pool, count, excess);
                transaction.upstream_use.reusable &= excess.is_empty();
                if let Err(fault) = received {
                    transaction.fail_download(cx, fault);
                }
                transaction.report_download(cx.now);
                cx.wake(transaction.client);
                self.try_settle(cx, services, id);
            }
            Stage::Begun
            | Stage::Verifying
            | Stage::AskingStore(_)
            | Stage::Throttled
            | Stage::Collecting
            | Stage::Connecting(_)
            | Stage::Replying
            | Stage::AwaitingLeader(_)
            | Stage::ReadingCache => {}
        }
    }

    /// Reads response heads until the final one is whole.
    fn advance_response(&mut self, cx: &mut Context, services: &mut Services, id: TransactionId) {
        loop {
            let Some(transaction) = self.slab.get_mut(id.index as usize) else { return };
            if !matches!(transaction.stage, Stage::Awaiting) {
                return;
            }
            let Transaction { incoming, response, settings, .. } = &mut **transaction;
            let bytes = response.bytes(&cx.pool);
            let head_bytes =
                match incoming.message.receive_response(&mut incoming.scanner, bytes, &settings.head) {
                    Ok(Some(head_bytes)) => head_bytes,
                    // The rest of a head has its own time.
                    Ok(None) => return transaction.restart_timeout(cx),
                    Err(fault) => return cx.send(Effect::Refuse(id, Refusal::OriginFault(fault))),
                };
            let action = match transaction.caching.task() {
                CacheTask::None => ResponseAction::Pass,
                CacheTask::Store
                | CacheTask::Validate
                | CacheTask::Complete
                | CacheTask::Head
                | CacheTask::Invalidate => self.decide_on_final(cx, services, id, head_bytes),
            };
            let storing = match action {
                ResponseAction::Settled => return,
                ResponseAction::Pass => None,
                ResponseAction::Store(pending, stream) => Some((pending, stream)),
            };
            let transaction = &mut self.slab[id.index as usize];
            match transaction.take_head(cx, head_bytes, storing.as_ref().map(|(pending, _)| &**pending)) {
                Err(Refusal::OriginFault(fault))
                    if is_repairable(fault) && transaction.repair(cx, head_bytes) => {}
                Err(refusal) => return cx.send(Effect::Refuse(id, refusal)),
                Ok(Head::Switching) => {
                    transaction.note_upstream_status(cx);
                    return transaction.switch(cx, id, head_bytes);
                }
                Ok(Head::Final { body, http10 }) => {
                    transaction.note_upstream_status(cx);
                    services.upstreams.note_version(cx, transaction.info.next_hop().authority, http10);
                    match storing {
                        Some(storing) => self.begin_storing(cx, services, id, head_bytes, storing, body),
                        None => self.begin_relaying(cx, services, id, head_bytes, body),
                    }
                    return;
                }
                Ok(Head::Interim) => {
                    transaction.response.consume(&mut cx.pool, head_bytes);
                    transaction.incoming.scanner = Scanner::default();
                    // Not the time of the final response, unless that has begun behind the interim one.
                    match transaction.response.is_empty() {
                        true => transaction.record.waits.ttfb_us = None,
                        false => transaction.note_first_byte(cx.now),
                    }
                    cx.wake(transaction.client);
                }
            }
        }
    }

    fn begin_relaying(
        &mut self,
        cx: &mut Context,
        services: &mut Services,
        id: TransactionId,
        head_bytes: usize,
        body: Body,
    ) {
        let Transactions { slab, excess, .. } = self;
        let transaction = &mut *slab[id.index as usize];
        let Context { pool, scratch, .. } = cx;
        let chunked_out = transaction.client_body(body) == Body::Chunked;
        transaction.down.frame(body, chunked_out);
        let in_front = transaction.down.fits_before(&transaction.response, head_bytes, scratch);
        if !in_front && !transaction.down.head.append(pool, Purpose::Reply, scratch) {
            return cx.send(Effect::Refuse(id, Refusal::NoMemory));
        }
        transaction.stage = Stage::Relaying;
        excess.clear();
        let Transaction { down, response, .. } = transaction;
        let front: &[u8] = if in_front { scratch } else { b"" };
        let adopted = down.adopt(pool, response, head_bytes, front, excess);
        let client = transaction.client;
        match adopted {
            Ok(true) => transaction.upstream_use.reusable &= excess.is_empty(),
            Ok(false) => transaction.response.consume(pool, head_bytes),
            Err(fault) => {
                transaction.fail_download(cx, fault);
                cx.wake(client);
                return self.try_settle(cx, services, id);
            }
        }
        self.forget_request(cx, id);
        self.slab[id.index as usize].restart_timeout(cx);
        cx.wake(client);
        self.pump_download(cx, id);
        self.try_settle(cx, services, id);
    }

    /// Moves bytes received with a large response head into the download, as far as they fit.
    pub(super) fn pump_download(&mut self, cx: &mut Context, id: TransactionId) {
        let Some(transaction) = self.slab.get_mut(id.index as usize) else { return };
        if !matches!(transaction.stage, Stage::Relaying) {
            return;
        }
        while !transaction.response.is_empty() {
            if transaction.down.is_received() {
                transaction.upstream_use.reusable = false;
                transaction.response.release(&mut cx.pool);
                break;
            }
            let mut bytes = [0; BLOCK_BYTES];
            let count = transaction.response.len().min(BLOCK_BYTES);
            bytes[..count].copy_from_slice(&transaction.response.bytes(&cx.pool)[..count]);
            match transaction.down.feed(&mut cx.pool, &bytes[..count]) {
                Ok(0) => break,
                Ok(taken) => transaction.response.consume(&mut cx.pool, taken),
                Err(fault) => {
                    transaction.response.release(&mut cx.pool);
                    transaction.fail_download(cx, fault);
                    cx.wake(transaction.client);
                }
            }
            transaction.report_download(cx.now);
        }
    }

    /// The origin has finished sending, or its connection broke.
    fn handle_upstream_end(
        &mut self,
        cx: &mut Context,
        services: &mut Services,
        id: TransactionId,
        refusal: Refusal,
    ) {
        let Some(transaction) = self.get_mut(id) else { return };
        transaction.upstream_use.reusable = false;
        match transaction.stage {
            Stage::Awaiting => {
                if !transaction.response.is_empty() {
                    cx.send(Effect::Refuse(id, Refusal::OriginIncomplete));
                } else if !self.retry(cx, services, id) {
                    cx.send(Effect::Refuse(id, refusal));
                }
            }
            Stage::Relaying => self.end_download(cx, services, id, refusal == Refusal::OriginClosed),
            Stage::Begun
            | Stage::Verifying
            | Stage::AskingStore(_)
            | Stage::Throttled
            | Stage::Collecting
            | Stage::Connecting(_)
            | Stage::Replying
            | Stage::AwaitingLeader(_)
            | Stage::ReadingCache => {}
        }
    }

    fn end_download(&mut self, cx: &mut Context, services: &mut Services, id: TransactionId, orderly: bool) {
        let transaction = &mut self.slab[id.index as usize];
        if orderly && transaction.response.is_empty() {
            if let Err(fault) = transaction.down.handle_end(&mut cx.pool) {
                transaction.fail_download(cx, fault);
            }
            transaction.report_download(cx.now);
        } else if !transaction.down.is_received() {
            transaction.down.truncate(None);
        }
        transaction.abandon_upload(cx);
        if let Some(upstream) = transaction.upstream.take() {
            services.upstreams.close(cx, upstream);
        }
        cx.wake(transaction.client);
        self.try_settle(cx, services, id);
    }

    /// The origin closed the connection before any byte of the response: it had been idle, and the origin was free to close
    /// it. Sends the request again once, on a fresh connection, if nothing was sent yet, or if sending twice does no harm
    /// (RFC 9110 section 9.2.2). Never if the connection was authenticated: another one is not (rule 44).
    fn retry(&mut self, cx: &mut Context, services: &mut Services, id: TransactionId) -> bool {
        let Some(transaction) = self.get_mut(id) else { return false };
        let only_here = transaction.upstream_use.pinning == Pinning::Authenticated;
        let first = transaction.record.origin_reused && !transaction.repeat.done;
        if !first || transaction.incoming.informational > 0 || only_here {
            return false;
        }
        let untouched = transaction.up.sent == 0;
        if !untouched && !transaction.may_be_sent_again() {
            return false;
        }
        transaction.repeat.done = true;
        transaction.upstream_use.pinning = Pinning::None;
        transaction.incoming.scanner = Scanner::default();
        transaction.record.origin_reused = false;
        cx.metrics.retries += 1;
        self.detach(cx, services, id);
        if untouched {
            cx.send(Effect::Connect(id));
        } else {
            self.slab[id.index as usize].take_back(cx);
            cx.send(Effect::Examine(id));
        }
        true
    }
}

/// Shows the body of a response to the behaviour rules. A request that may have such a response has passed the cache by.
#[cfg(feature = "detection")]
fn tap(down: &mut Relay, watch: Box<Watch>, fields: Fields<'_, '_>) {
    down.insert_filter(Box::new(ResponseTap::new(watch, fields.all("content-encoding"))));
}

/// Patterns that look at the body need the feature.
#[cfg(not(feature = "detection"))]
fn tap(_: &mut Relay, _: Box<Watch>, _: Fields<'_, '_>) {}

impl Transaction {
    /// The body has faulty framing, or a filter has aborted it: the client gets the valid part, and no regular end.
    fn fail_download(&mut self, cx: &mut Context, fault: BodyFault) {
        let framing = match fault {
            BodyFault::Framing(fault) => Some(fault),
            BodyFault::Filter(_) => None,
        };
        framing.into_iter().for_each(|fault| cx.metrics.count_fault(fault));
        self.upstream_use.reusable = false;
        self.down.truncate(framing);
    }

    /// The framing of the response's body for the client (rule 22). The length of a body that filters may replace is not known.
    fn client_body(&self, body: Body) -> Body {
        let body = match body {
            Body::Length(1..) if self.down.replaces() => Body::UntilClose,
            Body::None | Body::Length(_) | Body::Chunked | Body::UntilClose => body,
        };
        client_body(body, self.info.version)
    }

    /// Repairs a response head that could not be read; false if nothing was repaired.
    fn repair(&mut self, cx: &mut Context, head_bytes: usize) -> bool {
        self.incoming.scanner = Scanner::default();
        repair_response(&mut self.response.bytes_mut(&mut cx.pool)[..head_bytes])
    }

    /// Parses one response head and writes the one for the client: a final one into the scratch buffer, where
    /// `begin_relaying` and `begin_storing` read it.
    fn take_head(
        &mut self,
        cx: &mut Context,
        head_bytes: usize,
        storing: Option<&Stored>,
    ) -> Result<Head, Refusal> {
        let (draining, now, now_ms) = (cx.is_draining(), cx.now, cx.now_ms());
        cx.date.refresh(cx.now);
        let Context { pool, scratch, date, settings, .. } = cx;
        scratch.clear();
        let bytes = &self.response.bytes(pool)[..head_bytes];
        self.incoming.message.read_response(bytes, &self.settings.head).map_err(Refusal::OriginFault)?;
        let head = self.incoming.message.response(bytes).ok_or(Refusal::OriginFault(Fault::HeadMalformed))?;
        let info = &self.info;
        let interim = head.status < 200;
        let switching = head.status == 101;
        if switching && !self.may_switch(pool, head.fields) {
            return Err(Refusal::UpgradeUnasked);
        }
        let body = framing::response_body(info.method.as_str(), &head).map_err(Refusal::OriginFault)?;
        let http10 = head.version == Version::Http10;
        let offers = session_auth::offers_connection(head.fields);
        if !interim {
            let keeps = forwarding::origin_keeps_alive(head.version, head.fields) && body != Body::UntilClose;
            let aged = || settings.lifetime_left_ms(self.upstream_use.opened_ms, now_ms) == 0;
            let ends = Ends::of(self, body, (keeps, offers), aged);
            self.upstream_use.pinning = ends.pinning;
            self.ends_at_close = ends.at_close;
            self.upstream_use.reusable = ends.upstream_reusable;
            self.closes |= draining || ends.closes;
        } else {
            self.incoming.informational += 1;
            if self.incoming.informational > INFORMATIONAL_MAX {
                return Err(Refusal::TooManyInformational);
            }
        }
        if interim && !switching && info.version == Version::Http10 {
            return Ok(Head::Interim);
        }
        let edits = self.policy.edits.for_host(Direction::Response, &self.info.authority.host);
        if body == Body::Chunked {
            self.down.withheld.set(head.fields, edits.removed());
        }
        self.write_head(&head, body, &edits, date.as_str(), scratch);
        if offers && head.status == 401 && !session_auth::announces_support(head.fields) {
            session_auth::add_support(scratch);
        }
        let status = head.status;
        if interim {
            return self.relay_interim(pool, scratch, status);
        }
        let ttl_s = storing
            .filter(|_| self.caching.not_stored.is_none())
            .map(|stored| self.caching.terms(stored).ttl_s());
        write_forwarded_status(&self.settings, &self.caching, ttl_s, scratch);
        self.record.status = status;
        if let Some(mut watch) = built().and_then(|_| self.guarded.watch.take()) {
            if watch.begin(status, || self.since.asked(&self.record, now), now) {
                tap(&mut self.down, watch, head.fields);
            }
            self.guarded.outlives_ban |= self.is_client_banned(now);
        }
        if self.settings.noted.contains(Text::ContentType) {
            self.record.set_content_type(head.fields.get("content-type").unwrap_or_default());
        }
        Ok(Head::Final { body, http10 })
    }

    /// Whether a 101 with these fields may turn the connection into a tunnel (rule 31).
    fn may_switch(&self, pool: &Pool, fields: Fields<'_, '_>) -> bool {
        // Before its request is complete the client has not switched, either.
        if !self.info.upgrade || !self.up.is_complete() {
            return false;
        }
        // Before a response the head of the request is still in memory.
        let asked = self.request_head.request(self.input.bytes(pool));
        asked.is_some_and(|asked| forwarding::is_upgrade_offered(asked.fields, fields))
    }

    /// Writes the head for the client.
    fn write_head(
        &self,
        head: &ResponseHead<'_, '_>,
        body: Body,
        edits: &HostEdits<'_>,
        date: &str,
        out: &mut Vec<u8>,
    ) {
        let is_final = head.status >= 200;
        let response_fields = self.guarded.response_fields.as_ref().filter(|_| is_final);
        let additions = response_fields.map(|response_fields| {
            // A field that Connection names ends here, and does not stand in for weir's.
            let stays = |name: &str| !edits.removes(name) && forwarding::is_end_to_end(head.fields, name);
            let received = head.fields.iter().filter(|(name, _)| stays(name));
            let added = edits.added().map(|(name, value)| (name, value.as_bytes()));
            let additions = response_fields.additions(&self.settings, Author::Server, received.chain(added));
            if head.status == 304 { additions.on_not_modified() } else { additions }
        });
        let own = ResponseEdits {
            edits,
            quota: self.info.quota.filter(|_| is_final),
            additions,
            cookie: response_fields.map_or(b"", ResponseFields::cookie),
        };
        let route = ResponseRoute {
            body: match body {
                // A length would be that of the content without the filters' changes.
                Body::None if self.down.replaces() => Body::UntilClose,
                Body::None | Body::Length(_) | Body::Chunked | Body::UntilClose => self.client_body(body),
            },
            client_version: self.info.version,
            keep_alive: !self.closes,
            upgrade: head.status == 101 || (head.status == 426 && head.fields.get("upgrade").is_some()),
            via: self.settings.via.as_deref(),
            date: Some(date),
            edits: if own.is_empty() { edits } else { &own },
        };
        forwarding::write_response(out, head, &route);
    }

    /// Forwards a head that is not the final one.
    fn relay_interim(&mut self, pool: &mut Pool, head: &[u8], status: u16) -> Result<Head, Refusal> {
        if !self.down.head.append(pool, Purpose::Reply, head) {
            return Err(Refusal::NoMemory);
        }
        if status == 101 {
            self.record.status = status;
            return Ok(Head::Switching);
        }
        self.info.expects_continue &= status != 100;
        Ok(Head::Interim)
    }

    /// The origin agreed to another protocol; the head for the client is written.
    fn switch(&mut self, cx: &mut Context, id: TransactionId, head_bytes: usize) {
        let Some(upstream) = self.upstream else { return };
        // Filters are for bodies, and no body follows.
        self.up.drop_filters(&mut cx.pool);
        self.down.drop_filters(&mut cx.pool);
        let rest = self.response.bytes(&cx.pool)[head_bytes..].to_vec();
        if !self.down.head.append(&mut cx.pool, Purpose::Reply, &rest) {
            // The 101 was sent: no response can follow.
            return cx.send(Effect::End(Ending::Abort.of(id, "buffers_max")));
        }
        cx.send(Effect::OpenTunnel(id, upstream));
    }

    /// Answers CONNECT: the origin's connection stands.
    pub fn establish_tunnel(&mut self, cx: &mut Context, id: TransactionId, upstream: PeerId) {
        cx.scratch.clear();
        cx.scratch.extend_from_slice(b"HTTP/1.1 200 Connection established\r\n");
        if let Some(via) = &cx.settings.via {
            cx.scratch.extend_from_slice(b"Via: 1.1 ");
            cx.scratch.extend_from_slice(via.as_bytes());
            cx.scratch.extend_from_slice(b"\r\n");
        }
        cx.scratch.extend_from_slice(b"\r\n");
        self.upstream = Some(upstream);
        self.stage = Stage::Awaiting;
        self.record.waits.ttfb_us = Some(0);
        if !self.down.head.append(&mut cx.pool, Purpose::Reply, &cx.scratch) {
            return cx.send(Effect::Refuse(id, Refusal::NoMemory));
        }
        self.record.status = 200;
        cx.send(Effect::OpenTunnel(id, upstream));
    }
}

/// The framing of a body for a client of that version (rule 22).
fn client_body(body: Body, version: Version) -> Body {
    match (body, version) {
        (Body::Chunked | Body::UntilClose, Version::Http11) => Body::Chunked,
        (Body::Chunked | Body::UntilClose, Version::Http10) => Body::UntilClose,
        (Body::None | Body::Length(_), Version::Http10 | Version::Http11) => body,
    }
}
