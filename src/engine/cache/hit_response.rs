//! Responses from the cache: their heads, and serving a transaction from a stored response.

use crate::cache::rfc::range::{self, Part, Selection};
use crate::cache::rfc::status::{self, CacheStatus, Forward};
use crate::cache::rfc::storable::NotStored;
use crate::cache::rfc::validation::{self, Answer};
use crate::cache::store::stored::Stored;
use crate::engine::cache::collapse::CollapseOutcome;
use crate::engine::cache::fill::{Fill, FillReader};
use crate::engine::cache::look_up::{Hit, select};
use crate::engine::cache::reader::CacheReader;
use crate::engine::cache::refresh::Refresh;
use crate::engine::cache::signature::{Signature, cache_name};
use crate::engine::cache::state::{CacheState, Caching};
use crate::engine::connections::UpstreamState;
use crate::engine::context::Context;
use crate::engine::effect::Effect;
use crate::engine::ids::{FillId, TransactionId};
use crate::engine::settings::Settings;
use crate::engine::transaction::log_record::{CacheUse, Text, Verdict};
use crate::engine::transaction::machine::{Services, Transactions};
use crate::engine::transaction::refusal::Refusal;
use crate::engine::transaction::request::Method;
use crate::engine::transaction::response_fields::write_quota;
use crate::engine::transaction::{Stage, Transaction};
use crate::guard::headers::Author;
use crate::http::block::{FieldBlock, FieldLines};
use crate::http::fields::write_decimal;
use crate::http::forwarding::{self, Edits as _};
use crate::http::framing::Body;
use crate::http::head::Version;
use crate::http::reply;
use crate::net::Purpose;
use crate::policy::edit::Direction;
use std::net::SocketAddr;
use std::sync::Arc;

/// The content of a response from the cache.
#[derive(Clone, Copy, Debug)]
struct Content {
    status: u16,
    /// Start and length of the bytes of the stored body; `None` for no body.
    span: Option<(u64, u64)>,
    /// The framing in the head.
    framing: Body,
}

impl Transactions {
    /// Answers a transaction from a stored response, or from one that is being stored.
    pub fn begin_hit(&mut self, cx: &mut Context, services: &mut Services, id: TransactionId, hit: &Hit) {
        self.decide_close(cx, id);
        let fills = &mut services.fills;
        let length = match (hit.fill, hit.stored.fragment()) {
            (None, _) | (Some(_), Some(_)) => Some(hit.stored.length()),
            (Some(fill), None) => fill.get(&fills.slab).and_then(|fill| fill.length),
        };
        let Some(transaction) = self.slab.get_mut(id.index as usize) else { return };
        transaction.record.cache = hit.log;
        transaction.record.cache_reason = "";
        if transaction.record.upstream.is_none() {
            let source = SocketAddr::new(hit.stored.address, transaction.info.authority.port);
            transaction.note_allowing_rule(transaction.info.grant, Some(source), &mut cx.scratch);
        }
        let content = content(transaction, hit, length);
        transaction.ends_at_close = content.framing == Body::UntilClose;
        transaction.closes |= transaction.ends_at_close;
        write_head(&mut cx.scratch, transaction, &self.signature, hit, &content, length);
        if !transaction.down.head.append(&mut cx.pool, Purpose::Reply, &cx.scratch) {
            return cx.send(Effect::Refuse(id, Refusal::NoMemory));
        }
        transaction.record.status = content.status;
        if let Some(watch) = &mut transaction.guarded.watch {
            let asked = || transaction.since.asked(&transaction.record, cx.now);
            watch.begin(content.status, asked, cx.now);
        }
        if transaction.settings.noted.contains(Text::ContentType) && matches!(content.status, 200..=299) {
            let media_type = hit.stored.block().values("content-type").next().unwrap_or_default();
            transaction.record.set_content_type(media_type);
        }
        transaction.note_answer_from_cache(cx.now);
        transaction.stage = Stage::ReadingCache;
        let mut reader = match (content.span, hit.fill) {
            (None, _) => CacheReader::stored(Arc::clone(&hit.stored.body), Default::default(), 0),
            (Some((start, len)), None) => {
                debug_assert!(len == 0 || hit.stored.contains(Part { start, len }));
                CacheReader::stored(Arc::clone(&hit.stored.body), hit.stored.cursor(start), len)
            }
            (Some((start, len)), Some(fill)) => {
                let beside = fill.get(&fills.slab).and_then(|fill| fill.beside.as_ref());
                match beside.zip(hit.stored.fragment()) {
                    Some((beside, missing)) => {
                        CacheReader::completed(fill, missing.part, beside, Part { start, len })
                    }
                    None => CacheReader::streaming(fill, length, content.framing == Body::Chunked),
                }
            }
        };
        let client = transaction.client;
        if hit.refresh && fills.may_refresh(cx, &hit.stored) {
            let mut head = transaction.input.bytes(&cx.pool)[..transaction.info.head_bytes].to_vec();
            // Only a response to GET replaces the stored one. Nothing but empty lines comes before the method.
            let method = memchr::memmem::find(&head, b"HEAD");
            if let (Method::Head, Some(at)) = (transaction.info.method, method) {
                head.splice(at..at + 4, *b"GET");
            }
            let stored = Arc::clone(&hit.stored);
            let listener = cx.connections.get(client).map(|peer| peer.listener).unwrap_or_default();
            let address = transaction.record.client;
            let peer = cx.connections.address(client).unwrap_or(address);
            cx.send(Effect::Refresh(Box::new(Refresh { address, peer, listener, head, stored })));
        }
        if let (Some(fill), Some(_)) = (hit.fill, content.span) {
            reader.place = fills.join(fill, id, client);
        }
        transaction.caching.state = CacheState::Reading(reader);
        self.forget_request(cx, id);
        self.slab[id.index as usize].restart_timeout(cx);
        cx.wake(client);
    }

    /// Answers with a stale response after a failure of the origin (rules 23 and 25). False if no stale response may be used.
    pub fn begin_stale_hit(
        &mut self,
        cx: &mut Context,
        services: &mut Services,
        id: TransactionId,
        forward_status: Option<u16>,
    ) -> bool {
        let Some(transaction) = self.get_mut(id) else { return false };
        let caching = &mut transaction.caching;
        if caching.background || caching.stale().is_none() {
            return false;
        }
        let Some(stored) = caching.take_known() else { return false };
        self.conclude_collapse(cx, services, id, CollapseOutcome::NotShareable);
        self.detach(cx, services, id);
        let how = After { log: CacheUse::Stale, forward: None, forward_status, fill: None };
        self.begin_hit_after(cx, services, id, stored, how, Vec::new())
    }

    /// Answers from a stored response after the origin was asked, or could not be. `extra` are lines of this response only.
    pub fn begin_hit_after(
        &mut self,
        cx: &mut Context,
        services: &mut Services,
        id: TransactionId,
        stored: Arc<Stored>,
        how: After,
        extra: Vec<u8>,
    ) -> bool {
        let Some(transaction) = self.slab.get_mut(id.index as usize) else { return false };
        let now_s = stored.clock_s(cx.now);
        let bytes = &transaction.input.bytes(&cx.pool)[..transaction.info.head_bytes];
        let Some(head) = transaction.request_head.request(bytes) else { return false };
        let (answer, selection) = select(&head, &stored, now_s);
        let age_s = stored.terms.age_s(now_s);
        let forward = how.forward.or(transaction.caching.forward()).or(Some(Forward::Stale));
        let hit = Hit {
            extra,
            fill: how.fill,
            age_s,
            ttl_s: i64::from(transaction.caching.terms(&stored).lifetime_s) - i64::from(age_s),
            answer,
            selection,
            refresh: false,
            log: how.log,
            forward,
            forward_status: how.forward_status,
            stored,
        };
        transaction.record.verdict = Verdict::Allowed;
        self.begin_hit(cx, services, id, &hit);
        true
    }

    /// Records that bytes from the cache were sent.
    pub fn handle_served(
        &mut self,
        cx: &mut Context,
        services: &mut Services,
        id: TransactionId,
        count: usize,
    ) {
        let fills = &mut services.fills;
        let Some(transaction) = self.slab.get_mut(id.index as usize) else { return };
        let head = count.min(transaction.down.head.len());
        transaction.down.handle_sent(&mut cx.pool, head);
        transaction.down.sent += (count - head) as u64;
        let reader = transaction.caching.reader_mut();
        let left = reader.and_then(|reader| reader.handle_sent(&fills.slab, count - head));
        if let Some((fill, place)) = left {
            fills.leave(cx, fill, place, id);
        }
        if transaction.is_read_too_slowly(&fills.slab, cx.now) {
            cx.metrics.limit_rate += 1;
            self.abandon_client(cx, id, "min_rate");
            return;
        }
        if let Some(reader) = transaction.caching.reader() {
            if let Some((fill, place)) = reader.fill() {
                fills.note_place(cx, fill, place, reader.position());
            }
        }
        self.try_settle(cx, services, id);
    }

    /// Readers of a fill continue in the complete body.
    pub fn complete_readers(&mut self, cx: &mut Context, services: &mut Services, fill: FillId) {
        let Some((readers, body, trailers)) = services.fills.take_completed(fill) else { return };
        for (_, FillReader { transaction: id, .. }) in readers {
            let Some(transaction) = self.get_mut(id) else { continue };
            if let Some(reader) = transaction.caching.reader_mut() {
                reader.switch_to_stored_body(&body, &trailers);
            }
            cx.wake(transaction.client);
            self.try_settle(cx, services, id);
        }
    }

    /// Lets the only reader of a fill that is not stored continue without it, if it has sent all received bytes: the rest of
    /// the body goes from the origin to that client as without a cache, through blocks or inside the kernel.
    ///
    /// So a slow reader keeps no memory of the cache, and a fast one is served as fast as by any other response.
    pub fn take_over(&mut self, cx: &mut Context, services: &mut Services, id: FillId) {
        let fills = &mut services.fills;
        let reader = id.get(&fills.slab).filter(|fill| fill.can_be_handed_over());
        let Some(reader) = reader.and_then(Fill::lone_reader) else { return };
        let Some(transaction) = self.get_mut(reader) else { return };
        let drained = transaction.caching.reader().is_some_and(|reader| reader.is_drained(&fills.slab));
        if transaction.stage != Stage::ReadingCache || !drained {
            return;
        }
        let fill = fills.slab.remove(id.index as usize);
        let (hash, lock, upstream) = (fill.hash, fill.lock, fill.upstream);
        (transaction.upstream_use.opened_ms, transaction.upstream_use.broken) = (fill.opened_ms, fill.broken);
        if let (Some((rest, withheld, reusable)), Some(reader)) =
            (fill.into_rest(), transaction.caching.hand_over())
        {
            transaction.down.resume(rest, reader.into_frame());
            transaction.down.withheld = withheld;
            transaction.upstream = upstream;
            transaction.upstream_use.reusable = reusable;
            transaction.stage = Stage::Relaying;
        }
        if let Some(upstream) = upstream {
            cx.connections.set_upstream(upstream, UpstreamState::Busy(reader));
            cx.timers.clear(upstream);
            cx.wake(upstream);
        }
        fills.collapses.end_fill(hash, id);
        fills.release_filled(cx, lock);
        transaction.restart_timeout(cx);
        cx.wake(transaction.client);
    }
}

/// The circumstances of an answer from a stored response.
pub(in crate::engine) struct After {
    pub log: CacheUse,
    /// The reason why the origin was asked, if it differs from the one recorded with the request.
    pub forward: Option<Forward>,
    pub forward_status: Option<u16>,
    /// The fill that completes the stored part.
    pub fill: Option<FillId>,
}

impl Transaction {
    /// Records that a request goes to the origin although the cache is on.
    pub fn note_forwarding(&mut self) {
        if self.settings.caching().is_none() || self.caching.background {
            return;
        }
        self.record.forward = self.caching.forward();
        self.record.cache = match (self.record.forward, self.caching.passed()) {
            (_, Some(reason)) => {
                self.record.cache_reason = reason;
                CacheUse::Bypass
            }
            (Some(_), None) => CacheUse::Miss,
            (None, None) => CacheUse::None,
        };
    }
}

/// Writes Cache-Status for a forwarded response; `ttl_s` if the response is stored. `head` ends with its empty line.
pub(in crate::engine) fn write_forwarded_status(
    settings: &Settings,
    caching: &Caching,
    ttl_s: Option<i64>,
    head: &mut Vec<u8>,
) {
    let shown = settings.caching().is_some_and(|cache| cache.status);
    let Some(forward) = caching.forward().filter(|_| shown) else { return };
    let status = CacheStatus {
        forward: Some(forward),
        forward_status: None,
        stored: ttl_s.is_some(),
        collapsed: false,
        ttl_s,
        detail: caching.not_stored.map(NotStored::as_str),
    };
    head.truncate(head.len().saturating_sub(2));
    status::write_cache_status(head, cache_name(settings), &status);
    head.extend_from_slice(b"\r\n");
}

/// The content to send for the request.
fn content(transaction: &Transaction, hit: &Hit, length: Option<u64>) -> Content {
    let stored = &hit.stored;
    let bodiless_method = transaction.info.method == Method::Head;
    match (hit.answer, hit.selection) {
        (Answer::NotModified, _) => Content { status: 304, span: None, framing: Body::None },
        (Answer::Whole, Selection::Part(part)) => Content {
            status: 206,
            span: (!bodiless_method).then_some((part.start, part.len)),
            framing: Body::Length(part.len),
        },
        (Answer::Whole, Selection::Unsatisfiable) => {
            Content { status: 416, span: None, framing: Body::Length(0) }
        }
        (Answer::Whole, Selection::Whole) => {
            // A 204 has no length (RFC 9110 section 8.6).
            let bodiless = matches!(stored.status, 204 | 304) || stored.status < 200;
            let framing = match (length, transaction.info.version) {
                (Some(_), _) if bodiless => Body::None,
                (Some(length), _) => Body::Length(length),
                (None, Version::Http11) => Body::Chunked,
                (None, Version::Http10) => Body::UntilClose,
            };
            let span = (!bodiless_method && !bodiless).then_some((0, length.unwrap_or(u64::MAX)));
            Content { status: stored.status, span, framing }
        }
    }
}

/// Writes the head of an answer out of the cache.
fn write_head(
    out: &mut Vec<u8>,
    transaction: &Transaction,
    signature: &Signature,
    hit: &Hit,
    content: &Content,
    length: Option<u64>,
) {
    let (info, stored) = (&transaction.info, &hit.stored);
    let edits = transaction.policy.edits.for_host(Direction::Response, &info.authority.host);
    out.clear();
    let begin = if content.status == stored.status {
        out.extend_from_slice(stored.line_and_block());
        stored.line_bytes()
    } else {
        write_other(out, hit, content.status)
    };
    if validation::sets_cookies(FieldBlock::new(&hit.extra)) {
        // The cookies of this one answer stand in the place of those that are stored.
        remove_fields(out, begin, validation::is_set_cookie);
    }
    out.extend_from_slice(&hit.extra);
    if !edits.is_empty() {
        remove_fields(out, begin, |name| edits.removes(name));
    }
    match hit.selection {
        Selection::Part(part) => range::write_content_range(out, part, length.unwrap_or(0)),
        Selection::Unsatisfiable => range::write_unsatisfied_range(out, length.unwrap_or(0)),
        Selection::Whole => {}
    }
    if edits.is_empty() || !edits.removes("Age") {
        out.extend_from_slice(b"Age: ");
        write_decimal(out, u64::from(hit.age_s));
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(signature.lines(stored.version));
    if signature.status {
        let status = CacheStatus {
            forward: hit.forward,
            forward_status: hit.forward_status,
            // The bytes that complete a part.
            stored: hit.forward == Some(Forward::Partial),
            // A request that asked the origin itself was not collapsed, although it had waited before.
            collapsed: hit.log == CacheUse::Collapsed,
            ttl_s: Some(hit.ttl_s),
            detail: None,
        };
        status::write_parameters(out, &status);
    }
    match content.framing {
        Body::None | Body::UntilClose => {}
        Body::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            write_decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
        Body::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
    forwarding::write_persistence(out, info.version, !transaction.closes);
    edits.write_added(out);
    write_quota(info.quota, out);
    // A 304 repeats only some of the fields of the response that the client has.
    let kept = if content.status == 304 { stored.block() } else { FieldBlock::new(b"") };
    let stays = |name: &str| edits.is_empty() || !edits.removes(name);
    write_response_fields(out, begin, transaction, (kept, &stays));
    out.extend_from_slice(b"\r\n");
}

/// Writes the further fields of a gateway's responses, behind the fields from `begin` on. What is written takes the place of the fields that
/// the client has `kept` (RFC 9111 section 4.3.4), if they stay.
fn write_response_fields(
    out: &mut Vec<u8>,
    begin: usize,
    transaction: &Transaction,
    (kept, stays): (FieldBlock<'_>, &dyn Fn(&str) -> bool),
) {
    let kept = kept.lines().filter(|(name, _)| stays(name));
    let fields = FieldBlock::new(&out[begin..]).lines().chain(kept);
    let Some(additions) = transaction.additions(Author::Server, fields) else { return };
    if !additions.removes_nothing() {
        remove_fields(out, begin, |name| additions.removes(name));
    }
    additions.write_added(out);
    out.extend_from_slice(transaction.cookie());
}

/// Writes the line and the fields of a response whose status differs from the stored one. Returns the length of the line.
fn write_other(out: &mut Vec<u8>, hit: &Hit, status: u16) -> usize {
    let stored = &hit.stored;
    out.extend_from_slice(b"HTTP/1.1 ");
    write_decimal(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(reply::reason_phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
    let begin = out.len();
    match status {
        304 if hit.answer == Answer::NotModified => validation::write_not_modified(out, stored.block()),
        416 if hit.selection == Selection::Unsatisfiable => {
            let date = stored.block().values("date").next().unwrap_or_default();
            forwarding::write_field(out, "Date", date);
        }
        // It gets its own Content-Range; that of a 200 has no meaning (RFC 9110 section 14.4).
        206 if stored.block().contains("content-range") => {
            out.extend_from_slice(stored.block().as_bytes());
            remove_fields(out, begin, |name| name.eq_ignore_ascii_case("content-range"));
        }
        _ => out.extend_from_slice(stored.block().as_bytes()),
    }
    begin
}

/// Takes lines out of those behind `begin`.
fn remove_fields(out: &mut Vec<u8>, begin: usize, removes: impl Fn(&str) -> bool) {
    let lines = out.split_off(begin);
    for (name, value) in FieldBlock::new(&lines).lines().filter(|(name, _)| !removes(name)) {
        forwarding::write_field(out, name, value);
    }
}
