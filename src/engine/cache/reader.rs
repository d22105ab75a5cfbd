//! A body on its way from the cache to a client: from a stored response, or from one that is being fetched.
//!
//! Nothing is copied: slices of the stored segments are sent. A body of unknown length is sent in chunks, one for the bytes
//! present when the chunk began. Parts that are being completed are sent from several sources, one behind the other.

use crate::cache::body::{Body, Cursor, Filled};
use crate::cache::rfc::range::Part;
use crate::cache::store::stored::Stored;
use crate::engine::body::outgoing::{Outgoing, SLICES_MAX};
use crate::engine::cache::fill::Fill;
use crate::engine::ids::FillId;
use crate::http::fault::Fault;
use crate::http::h1::encode;
use crate::http::h1::encode::Frame;
use crate::net::Pool;
use slab::Slab;
use std::sync::Arc;

use crate::engine::body::relay::Relay;

/// Most bytes of one chunk (chosen: its header is short, and more would not fit into one vectored write).
const CHUNK_BYTES_MAX: u64 = 0xFFFF;

/// The source of the bytes.
#[derive(Debug)]
pub(in crate::engine) enum Source {
    /// A complete stored body.
    Stored(Arc<Body>),
    /// A body that is being received.
    Streaming(FillId),
}

/// The position of one client in a body.
#[derive(Debug)]
pub(in crate::engine) struct CacheReader {
    pub source: Source,
    pub cursor: Cursor,
    /// Payload that is still to be sent, if that is known.
    left: Option<u64>,
    /// Payload that was sent from this source.
    payload: u64,
    chunk: Option<Frame>,
    /// The last chunk with trailers, which does not fit into the frame.
    end: Vec<u8>,
    /// The next source; the total length is known then.
    next: Option<Box<Next>>,
    /// The index among the readers of the fill; `None` if there is no fill, or it was gone.
    pub place: Option<usize>,
}

/// A further source: a stored part, or the bytes that complete it.
#[derive(Debug)]
struct Next {
    source: Source,
    cursor: Cursor,
    left: u64,
    next: Option<Box<Next>>,
}

impl CacheReader {
    /// `left` bytes of a stored body.
    pub fn stored(body: Arc<Body>, cursor: Cursor, left: u64) -> CacheReader {
        let source = Source::Stored(body);
        CacheReader {
            source,
            cursor,
            left: Some(left),
            payload: 0,
            chunk: None,
            end: Vec::new(),
            next: None,
            place: None,
        }
    }

    /// A reader of `wanted` in a representation with stored parts, of which `missing` is being fetched: first the stored
    /// bytes before it, then all of it, then the stored bytes behind it.
    pub fn completed(fill: FillId, missing: Part, parts: &Stored, wanted: Part) -> CacheReader {
        let stored = |start: u64, end: u64| Next {
            source: Source::Stored(Arc::clone(&parts.body)),
            cursor: parts.cursor(start),
            left: end.saturating_sub(start),
            next: None,
        };
        let behind = stored(missing.end(), wanted.end());
        let fetched = Next {
            source: Source::Streaming(fill),
            cursor: Cursor::default(),
            left: missing.len,
            next: (behind.left > 0).then(|| Box::new(behind)),
        };
        let before = stored(wanted.start, missing.start);
        CacheReader::from(match before.left {
            0 => fetched,
            _ => Next { next: Some(Box::new(fetched)), ..before },
        })
    }

    fn from(next: Next) -> CacheReader {
        let Next { source, cursor, left, next } = next;
        CacheReader {
            source,
            cursor,
            left: Some(left),
            payload: 0,
            chunk: None,
            end: Vec::new(),
            next,
            place: None,
        }
    }

    /// A reader of a body that is being fetched, from its beginning; in chunks if its length is not known and the
    /// client can read chunks.
    pub fn streaming(fill: FillId, length: Option<u64>, chunked: bool) -> CacheReader {
        let chunk = chunked.then(Frame::default);
        let source = Source::Streaming(fill);
        let (cursor, end) = (Cursor::default(), Vec::new());
        CacheReader { source, cursor, left: length, payload: 0, chunk, end, next: None, place: None }
    }

    /// The fill that it reads, or will read, and its place among the readers of that.
    pub fn fill(&self) -> Option<(FillId, usize)> {
        let of = |source: &Source| match source {
            Source::Stored(_) => None,
            Source::Streaming(fill) => Some(*fill),
        };
        let fill = of(&self.source).or_else(|| self.nexts().find_map(|next| of(&next.source)))?;
        Some((fill, self.place?))
    }

    fn nexts(&self) -> impl Iterator<Item = &Next> {
        std::iter::successors(self.next.as_deref(), |next| next.next.as_deref())
    }

    /// The position in the body that is being fetched.
    pub fn position(&self) -> (u64, Cursor) {
        match self.source {
            Source::Streaming(_) => (self.payload, self.cursor),
            Source::Stored(_) => (0, Cursor::default()),
        }
    }

    /// The fill is complete: the rest is read from its body, and then the trailers.
    pub fn switch_to_stored_body(&mut self, body: &Arc<Body>, trailers: &[u8]) {
        self.set_trailers(trailers);
        let mut source = &mut self.source;
        let mut next = &mut self.next;
        if let Source::Streaming(_) = source {
            self.left = Some(self.left.unwrap_or(body.len() - self.payload));
        }
        loop {
            match (source, next) {
                (stream @ Source::Streaming(_), _) => {
                    *stream = Source::Stored(Arc::clone(body));
                    return;
                }
                (Source::Stored(_), Some(behind)) => (source, next) = (&mut behind.source, &mut behind.next),
                (Source::Stored(_), None) => return,
            }
        }
    }

    fn set_trailers(&mut self, trailers: &[u8]) {
        let waits = self.chunk.as_ref().is_some_and(|chunk| !chunk.has_ended());
        if waits && !trailers.is_empty() {
            self.end = [encode::LAST_CHUNK_BEFORE_TRAILERS, trailers, b"\r\n"].concat();
        }
    }

    /// Whether everything was sent.
    pub fn is_done(&self, fills: &Slab<Fill>) -> bool {
        let payload_done = match (&self.source, self.left) {
            (_, Some(left)) => left == 0,
            (Source::Streaming(fill), None) => {
                fill.get(fills).is_some_and(|fill| fill.has_ended() && !fill.stream.has_more(self.cursor))
            }
            (Source::Stored(_), None) => true,
        };
        payload_done
            && self.next.is_none()
            && self.end.is_empty()
            && self.chunk.as_ref().is_none_or(|chunk| chunk.has_ended() && chunk.is_spent())
    }

    /// Whether nothing is left but the trailers.
    fn is_at_trailers(&self) -> bool {
        !self.end.is_empty() && self.chunk.as_ref().is_some_and(|chunk| chunk.has_ended() && chunk.is_spent())
    }

    /// Whether all received bytes of the body were sent, and only that body is left to send.
    pub fn is_drained(&self, fills: &Slab<Fill>) -> bool {
        let drained = match self.source {
            Source::Stored(_) => false,
            Source::Streaming(fill) => fill.get(fills).is_some_and(|fill| !fill.stream.has_more(self.cursor)),
        };
        let between = self.chunk.as_ref().is_none_or(|chunk| chunk.is_spent() && !chunk.has_ended());
        drained && between && self.end.is_empty() && self.next.is_none()
    }

    /// The frame of the current chunk, if the body is sent in chunks.
    pub fn into_frame(self) -> Option<Frame> {
        self.chunk
    }

    /// Whether the rest will never arrive.
    pub fn is_cut_short(&self, fills: &Slab<Fill>) -> bool {
        let failed = match self.source {
            Source::Stored(_) => false,
            Source::Streaming(fill) => fill.get(fills).is_none_or(Fill::has_failed),
        };
        failed && !self.wants_send(fills)
    }

    /// The fault of the framing because of which the rest will never arrive.
    pub fn fault(&self, fills: &Slab<Fill>) -> Option<Fault> {
        match self.source {
            Source::Stored(_) => None,
            Source::Streaming(fill) => fill.get(fills).and_then(Fill::fault),
        }
    }

    /// Whether bytes must be sent.
    pub fn wants_send(&self, fills: &Slab<Fill>) -> bool {
        if self.is_at_trailers() || self.chunk.as_ref().is_some_and(|chunk| !chunk.is_spent()) {
            return true;
        }
        match &self.source {
            Source::Stored(_) => {
                self.left.is_some_and(|left| left > 0)
                    || self.chunk.as_ref().is_some_and(|chunk| !chunk.has_ended())
            }
            Source::Streaming(fill) => fill.get(fills).is_some_and(|fill| {
                let more = self.left != Some(0) && fill.stream.has_more(self.cursor);
                more || (fill.has_ended() && self.chunk.as_ref().is_some_and(|chunk| !chunk.has_ended()))
            }),
        }
    }

    /// Puts up to `left` of the present bytes into `out`.
    fn payload<'a>(&'a self, fills: &'a Slab<Fill>, left: u64, out: &mut [&'a [u8]]) -> Filled {
        let left = left.min(self.left.unwrap_or(u64::MAX));
        match &self.source {
            Source::Stored(body) => body.slices(self.cursor, left, out),
            Source::Streaming(fill) => match fill.get(fills) {
                Some(fill) => fill.stream.slices(self.cursor, left, out),
                None => Filled::default(),
            },
        }
    }

    /// The body, if these slices are the whole body, all in mappings.
    fn whole(&self, filled: Filled) -> Option<&Arc<Body>> {
        match &self.source {
            Source::Stored(body) if filled == Filled { bytes: body.len(), mapped_from: 0 } => Some(body),
            Source::Stored(_) | Source::Streaming(_) => None,
        }
    }

    /// The bytes to send next, behind the unsent head in `down`.
    pub fn outgoing<'a>(
        &'a mut self,
        down: &'a Relay,
        pool: &'a Pool,
        fills: &'a Slab<Fill>,
    ) -> Outgoing<'a> {
        self.begin_chunk(fills);
        let this = &*self;
        let mut outgoing = Outgoing::nothing();
        outgoing.count = SLICES_MAX;
        let out = &mut outgoing.slices;
        out[0] = down.head.bytes(pool);
        match &this.chunk {
            None => {
                let filled = this.payload(fills, u64::MAX, &mut out[1..]);
                if out[1].len() as u64 == filled.bytes {
                    outgoing.count = 2;
                }
                outgoing.mapped_from = 1 + filled.mapped_from;
                outgoing.whole = this.whole(filled);
            }
            Some(_) if this.is_at_trailers() => out[1] = &this.end,
            Some(chunk) => {
                out[1] = chunk.header();
                this.payload(fills, u64::from(chunk.owed()), &mut out[2..SLICES_MAX - 1]);
                out[SLICES_MAX - 1] = chunk.tail();
            }
        }
        outgoing
    }

    /// Reports that `count` bytes behind the head were sent. Returns the fill that it has read completely, if it
    /// continues with another source.
    pub fn handle_sent(&mut self, fills: &Slab<Fill>, count: usize) -> Option<(FillId, usize)> {
        if self.is_at_trailers() {
            self.end.drain(..count.min(self.end.len()));
            return None;
        }
        let payload = match &mut self.chunk {
            None => count as u64,
            Some(chunk) => chunk.handle_sent(count) as u64,
        };
        self.payload += payload;
        self.left = self.left.map(|left| left.saturating_sub(payload));
        self.cursor = match &self.source {
            // The position is not used any more.
            Source::Stored(_) if self.left == Some(0) => self.cursor,
            Source::Stored(body) => body.advance(self.cursor, payload),
            Source::Streaming(fill) => match fill.get(fills) {
                Some(fill) => fill.stream.advance(self.cursor, payload),
                None => self.cursor,
            },
        };
        if self.left != Some(0) {
            return None;
        }
        let next = self.next.take()?;
        let before = self.fill();
        *self = CacheReader { place: self.place, ..CacheReader::from(*next) };
        before
    }

    fn begin_chunk(&mut self, fills: &Slab<Fill>) {
        if self.chunk.as_ref().is_none_or(|chunk| !chunk.is_spent() || chunk.has_ended()) {
            return;
        }
        // As much as fits into the slices between the framing.
        let mut slices: [&[u8]; SLICES_MAX - 3] = [&[]; SLICES_MAX - 3];
        let payload = self.payload(fills, CHUNK_BYTES_MAX, &mut slices).bytes;
        let whole = match &self.source {
            Source::Stored(_) => self.left == Some(payload),
            Source::Streaming(fill) => fill.get(fills).is_some_and(|fill| {
                fill.has_ended() && !fill.stream.has_more(fill.stream.advance(self.cursor, payload))
            }),
        };
        if let (Source::Streaming(fill), true) = (&self.source, whole) {
            let trailers = fill.get(fills).map_or(&[][..], |fill| &fill.trailers);
            self.set_trailers(trailers);
        }
        let trailed = !self.end.is_empty();
        let Some(chunk) = &mut self.chunk else { return };
        match (payload, whole) {
            (0, false) => {}
            (0, true) if trailed => chunk.leave_end(),
            (0, true) => chunk.end(),
            (_, last) => chunk.begin(payload as usize, last && !trailed),
        }
    }
}
