//! The machine of all fills of one loop: begins them, receives bodies, informs readers, stores complete bodies.

use crate::cache::body::{Body as Whole, Cursor};
use crate::cache::fill::streaming_body::StreamingBody;
use crate::cache::rfc::range::{Fragment, Part};
use crate::cache::store::stored::Head;
use crate::engine::body::intake::Intake;
use crate::engine::cache::Fills;
use crate::engine::cache::fill::{Beginning, Coordination, Fill, FillReader, FillSource, UNREAD_BYTES};
use crate::engine::cache::hold::Hold;
use crate::engine::connections::UpstreamState;
use crate::engine::context::Context;
use crate::engine::effect::{Effect, Ending};
use crate::engine::ids::{FillId, PeerId, TransactionId};
use crate::engine::{Event, SocketError};
use crate::http::framing::Body;
use crate::http::h1::decode::Decoder;
use crate::part;
use slab::Slab;
use std::sync::Arc;

impl Fills {
    /// Takes the upstream connection and the received bytes of a transaction whose response will be stored.
    pub fn begin_fill(&mut self, cx: &mut Context, source: FillSource<'_>, beginning: Beginning) -> FillId {
        let serial = self.next_serial();
        let FillSource { upstream, withheld, reusable, broken, opened_ms, response, head_bytes } = source;
        let length = match beginning.body {
            Body::None => Some(0),
            Body::Length(length) => Some(length),
            Body::Chunked | Body::UntilClose => None,
        };
        let mut fill = Fill {
            serial,
            hash: beginning.hash,
            upstream: Some(upstream),
            pending: beginning.pending,
            stream: beginning.stream,
            whole: None,
            intake: Some(Intake::new(beginning.body, Decoder::of_response)),
            trailers: Vec::new(),
            withheld,
            length,
            epoch: beginning.epoch,
            readers: Slab::new(),
            hold: Hold::new(cx.now_ms()),
            waits: false,
            reusable,
            broken,
            opened_ms,
            storable: true,
            is_refresh: beginning.is_refresh,
            unread_at: None,
            keeps_part: beginning.keeps_part,
            beside: beginning.beside,
            lock: None,
            coordination: Coordination::Nothing,
        };
        // The bytes received with the head.
        let rest = &response.bytes(&cx.pool)[head_bytes..];
        let taken = fill.take(rest);
        fill.reusable &= taken == rest.len();
        response.release(&mut cx.pool);
        let id = FillId { index: self.slab.insert(fill) as u32, serial };
        cx.connections.set_upstream(upstream, UpstreamState::Filling(id));
        cx.set_timer(upstream, cx.settings.timeouts.exchange_ms);
        cx.wake(upstream);
        id
    }

    /// Something happened on the upstream connection of a fill.
    pub fn handle_upstream(&mut self, cx: &mut Context, id: FillId, event: Event) {
        let Some(fill) = id.get_mut(&mut self.slab) else { return };
        match event {
            Event::Received(count) => {
                // Never more than the lent space.
                let count = count.min(fill.stream.space().len());
                fill.admit(count);
                // While a reader delays the fill, or it has none, received bytes do not move the deadline.
                let fixed = fill.hold.is_on() || (fill.unread_at.is_some() && fill.is_unread());
                if let Some(upstream) = fill.upstream.filter(|_| !fixed) {
                    cx.set_timer(upstream, cx.settings.timeouts.exchange_ms);
                }
            }
            // The system still has bytes that arrived before.
            Event::SendFailed(error) => {
                (fill.reusable, fill.broken) = (false, fill.broken || error != SocketError::Closed);
                return;
            }
            Event::EndOfStream if !fill.broken => {
                fill.reusable = false;
                if let Some(intake) = &mut fill.intake {
                    intake.handle_end();
                }
            }
            Event::EndOfStream | Event::Failed(_) => {
                fill.reusable = false;
                if !fill.has_ended() {
                    fill.truncate();
                }
            }
            Event::Connected | Event::Sent(_) | Event::Spliced(_) => return,
        }
        self.advance_fill(cx, id);
    }

    /// The origin of a fill has been silent for too long, or some of the readers.
    pub fn handle_deadline(&mut self, cx: &mut Context, id: FillId) {
        let Some(fill) = id.get(&self.slab) else { return };
        if fill.hold.is_on() {
            self.cut_slowest(cx, id);
            return;
        }
        // Readers have deadlines of their own.
        if let Some(upstream) = fill.upstream.filter(|_| fill.waits) {
            cx.set_timer(upstream, cx.settings.timeouts.exchange_ms);
            return;
        }
        if self.prolong_unread(cx, id) {
            return;
        }
        cx.metrics.timeouts_response += 1;
        self.fail_fill(cx, id);
    }

    /// Fails a fill: its readers get the received bytes, and no regular end.
    pub fn fail_fill(&mut self, cx: &mut Context, id: FillId) {
        let Some(fill) = id.get_mut(&mut self.slab) else { return };
        if !fill.has_ended() {
            fill.truncate();
        }
        fill.reusable = false;
        self.advance_fill(cx, id);
    }

    /// Handles new bytes of a body: informs the readers, keeps the bounds, stores a complete body.
    pub fn advance_fill(&mut self, cx: &mut Context, id: FillId) {
        if part::cache::built().is_none() {
            return;
        }
        if !self.follow(cx, id) {
            return;
        }
        self.judge_storable(cx, id);
        self.publish_progress(cx, id);
        let Some(fill) = id.get_mut(&mut self.slab) else { return };
        let ends = fill.has_ended() || fill.has_failed();
        if ends {
            if let Some(connection) = fill.upstream.take() {
                self.unread.end(connection);
                fill.fault().into_iter().for_each(|fault| cx.metrics.count_fault(fault));
                let reusable = fill.reusable && !cx.is_draining();
                let idle = Effect::IdleUpstream { connection, opened_ms: fill.opened_ms };
                cx.send(if reusable { idle } else { Effect::CloseUpstream(connection) });
            }
            self.collapses.end_fill(fill.hash, id);
        }
        let Some(fill) = id.get(&self.slab) else { return };
        if fill.has_ended() && fill.storable {
            self.store_filled(cx, id);
            return;
        }
        fill.readers.iter().for_each(|(_, reader)| cx.connections.wake(reader.client));
        let is_read = !fill.readers.is_empty();
        self.keep_window(cx, id);
        if ends {
            self.settle_readers(cx, id);
        } else if !is_read {
            self.drop_unread(cx, id);
        }
    }

    /// Judges whether the body may still become an entry, and reserves memory for more of it: done by the loop that receives it.
    fn judge_storable(&mut self, cx: &mut Context, id: FillId) {
        let Some(cache) = cx.settings.caching() else { return };
        let store = &cache.store;
        let Some(fill) = id.get_mut(&mut self.slab).filter(|fill| fill.storable) else { return };
        let too_large = !fill.is_subscribed() && fill.stream.len() > store.limits().object_max;
        let no_room = !too_large && !fill.provide(store, cx.now);
        if fill.has_failed() || too_large || no_room {
            fill.storable = false;
            cx.metrics.cache_too_large += u64::from(too_large);
            if no_room {
                store.count_refused();
            }
            self.release_lock_unless_kept(cx, id);
        }
    }

    /// Readers with nothing left to send must be settled at the end now: no event of theirs will follow.
    fn settle_readers(&mut self, cx: &mut Context, id: FillId) {
        if let Some(fill) = id.get(&self.slab) {
            fill.readers.iter().for_each(|(_, reader)| cx.send(Effect::Settle(reader.transaction)));
        }
        self.drop_unread(cx, id);
    }

    /// The whole body has arrived: it becomes an entry, and its readers continue there.
    fn store_filled(&mut self, cx: &mut Context, id: FillId) {
        let Some(cache) = cx.settings.caching() else { return };
        let store = Arc::clone(&cache.store);
        let Some(fill) = id.get_mut(&mut self.slab) else { return };
        let stream = std::mem::replace(&mut fill.stream, StreamingBody::new(store.memory(), None));
        let Some(body) = stream.finish() else {
            fill.truncate();
            return self.advance_fill(cx, id);
        };
        let (body, head) = (Arc::new(body), fill.pending.head());
        // A part whose length differs from that of its position is invalid.
        let fits = head.fragment.is_none_or(|fragment| fragment.part.len == body.len());
        let fragment = head.fragment.and_then(|fragment| Fragment::partial(fragment.part, fragment.length));
        let stored = fits.then_some(Head { fragment, ..head });
        let now_us = cx.now.monotonic_us;
        let stored = stored.and_then(|head| store.insert(now_us, fill.epoch, &head, Arc::clone(&body)));
        cx.metrics.cache_stored += u64::from(stored.is_some());
        let (lock, hash) = (fill.lock.take(), fill.hash);
        let trailers = std::mem::take(&mut fill.trailers);
        if let Some(event) = fill.publish_whole(&body, &trailers) {
            cx.send_to_loops(hash, event);
        }
        self.release_filled(cx, lock);
        self.complete_fill(cx, id, body, trailers);
    }

    /// The readers of a fill continue in the complete body.
    pub fn complete_fill(&mut self, cx: &mut Context, id: FillId, body: Arc<Whole>, trailers: Vec<u8>) {
        let Some(fill) = id.get_mut(&mut self.slab) else { return };
        (fill.whole, fill.trailers) = (Some(body), trailers);
        self.collapses.end_fill(fill.hash, id);
        // Before any effect that could take the fill for one that has ended without more to read.
        cx.send_first(Effect::FillCompleted(id));
    }

    /// The readers of a complete fill, their new source, and the trailers.
    pub fn take_completed(&mut self, id: FillId) -> Option<(Slab<FillReader>, Arc<Whole>, Vec<u8>)> {
        let body = id.get_mut(&mut self.slab)?.whole.take()?;
        let fill = self.slab.remove(id.index as usize);
        Some((fill.readers, body, fill.trailers))
    }

    /// Makes a transaction a reader. Returns its place among the readers.
    pub fn join(&mut self, id: FillId, transaction: TransactionId, client: PeerId) -> Option<usize> {
        let fill = id.get_mut(&mut self.slab)?;
        let reader = FillReader { transaction, client, payload: 0, cursor: Cursor::default() };
        Some(fill.readers.insert(reader))
    }

    /// Removes a transaction from the readers of a fill. Others may have waited for it.
    pub fn leave(&mut self, cx: &mut Context, id: FillId, place: usize, transaction: TransactionId) {
        if let Some(fill) = id.get_mut(&mut self.slab) {
            let is_there = fill.readers.get(place).is_some_and(|reader| reader.transaction == transaction);
            if is_there {
                fill.readers.remove(place);
            }
        }
        self.drop_unread(cx, id);
        self.keep_window(cx, id);
    }

    /// Forgets a fill that has no readers and does not go on without.
    pub fn drop_unread(&mut self, cx: &mut Context, id: FillId) {
        let Some(fill) = id.get(&self.slab) else { return };
        let over = fill.has_ended() || fill.has_failed();
        if !fill.is_unread() || (!over && self.goes_on_unread(cx, id)) {
            return;
        }
        self.forget(cx, id);
    }

    /// Removes a fill without readers; what has arrived may be kept as a part.
    fn forget(&mut self, cx: &mut Context, id: FillId) {
        let mut fill = self.slab.remove(id.index as usize);
        let hash = fill.hash;
        if let Some(event) = fill.unsubscribe() {
            cx.send_to_loops(hash, event);
        }
        self.collapses.end_fill(hash, id);
        self.release_filled(cx, fill.lock);
        if let Some(upstream) = fill.upstream {
            self.unread.end(upstream);
            cx.send(Effect::CloseUpstream(upstream));
        }
        if !fill.has_ended() {
            keep_part(cx, fill);
        }
    }

    /// Whether a fill goes on that has no readers: it is worth finishing, and not one too many of those.
    fn goes_on_unread(&mut self, cx: &mut Context, id: FillId) -> bool {
        let fill = id.get_mut(&mut self.slab).filter(|fill| fill.goes_on_unread() && !cx.is_draining());
        let Some((fill, upstream)) = fill.and_then(|fill| fill.upstream.map(|upstream| (fill, upstream)))
        else {
            return false;
        };
        if fill.unread_at.is_some() {
            return true;
        }
        let key = fill.pending.key();
        // A refresh had its place before.
        let may = fill.is_refresh || self.unread.may_begin(key);
        if may {
            self.unread.begin(upstream, key);
            fill.unread_at = Some(fill.stream.len());
            cx.set_timer(upstream, cx.settings.timeouts.exchange_ms);
        }
        may
    }

    /// The deadline of a fill without readers: it has another one if enough has arrived. So has one that has readers again.
    fn prolong_unread(&mut self, cx: &mut Context, id: FillId) -> bool {
        let Some(fill) = id.get_mut(&mut self.slab) else { return false };
        let (Some(before), Some(upstream)) = (fill.unread_at, fill.upstream) else { return false };
        let is_read = !fill.is_unread();
        let goes_on = is_read || fill.stream.len() >= before + UNREAD_BYTES;
        if is_read {
            fill.unread_at = None;
            self.unread.end(upstream);
        } else {
            fill.unread_at = Some(fill.stream.len());
        }
        if goes_on {
            cx.set_timer(upstream, cx.settings.timeouts.exchange_ms);
        }
        goes_on
    }

    /// Forgets the fills without readers: weir drains, or has no descriptors left. False if there were none.
    pub fn shed_unread(&mut self, cx: &mut Context) -> bool {
        let unread = self.ids(|fill| fill.upstream.is_some() && fill.unread_at.is_some() && fill.is_unread());
        unread.iter().for_each(|id| self.forget(cx, *id));
        !unread.is_empty()
    }

    /// Ends all fills: weir stops now.
    pub fn cut(&mut self, cx: &mut Context) {
        self.ids(|_| true).into_iter().for_each(|id| self.fail_fill(cx, id));
    }

    /// The fills for which that holds.
    fn ids(&self, holds: impl Fn(&Fill) -> bool) -> Vec<FillId> {
        (self.slab.iter())
            .filter(|(_, fill)| holds(fill))
            .map(|(index, fill)| FillId { index: index as u32, serial: fill.serial })
            .collect()
    }

    /// Aborts the readers of a fill that have not read as far.
    pub fn cut_before(&mut self, cx: &mut Context, id: FillId, end: u64) {
        let Some(fill) = id.get_mut(&mut self.slab) else { return };
        fill.readers.retain(|_, reader| {
            let stays = reader.payload >= end;
            if !stays {
                cx.metrics.cache_readers_cut += 1;
                cx.send(Effect::End(Ending::Abort.of(reader.transaction, "cache_window_max")));
            }
            stays
        });
        self.keep_window(cx, id);
    }
}

/// Stores an incomplete body, if the rest can be requested later (RFC 9111 section 3.3).
fn keep_part(cx: &mut Context, fill: Fill) {
    let Some(cache) = cx.settings.caching() else { return };
    let (store, head) = (&cache.store, fill.pending.head());
    let (start, length) = match (head.fragment, fill.length) {
        (Some(fragment), _) => (fragment.part.start, fragment.length),
        (None, Some(length)) => (0, length),
        (None, None) => return,
    };
    let got = fill.stream.len();
    let fits = fill.length.is_some_and(|announced| got < announced) && got <= store.limits().object_max;
    if !(fill.keeps_part && head.status == 200 && fits && got > 0) {
        return;
    }
    let fragment = Fragment::partial(Part { start, len: got }, length);
    let Some(body) = fill.stream.finish() else { return };
    let head = Head { fragment, ..head };
    let stored = store.insert(fill.pending.received_us, fill.epoch, &head, Arc::new(body));
    cx.metrics.cache_stored += u64::from(stored.is_some());
}
