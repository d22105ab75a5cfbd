//! A body on its way from the cache to a client: from a stored response, or from one that is still being fetched.
//!
//! Nothing is copied: what is to be sent are slices of the stored segments. A body of unknown length goes out in chunks,
//! one for whatever was there when the chunk was begun.

use super::fetch::{Fetch, FetchId};
use crate::buffer::Pool;
use crate::cache::body::{Body, Cursor};
use crate::http::frame::Frame;
use slab::Slab;
use std::sync::Arc;

use super::relay::{Relay, SLICES_MAX};

/// Most bytes of one chunk (chosen: its header is short, and more would not fit into one vectored write).
const CHUNK_BYTES_MAX: u64 = 0xFFFF;

/// Where the bytes are.
#[derive(Debug)]
pub(super) enum Source {
    /// They are all here.
    Stored(Arc<Body>),
    /// They are coming.
    Growing(FetchId),
}

/// One client's place in a body.
#[derive(Debug)]
pub(super) struct Serving {
    pub source: Source,
    pub cursor: Cursor,
    /// Payload that is still to be sent, if that is known.
    left: Option<u64>,
    /// Payload that was sent.
    pub payload: u64,
    chunk: Option<Frame>,
}

impl Serving {
    /// `left` bytes of a stored body.
    pub fn stored(body: Arc<Body>, cursor: Cursor, left: u64) -> Serving {
        Serving { source: Source::Stored(body), cursor, left: Some(left), payload: 0, chunk: None }
    }

    /// A body that is being fetched, from its beginning; in chunks if its length is not known and the client can read
    /// them.
    pub fn growing(fetch: FetchId, length: Option<u64>, chunked: bool) -> Serving {
        let chunk = chunked.then(Frame::default);
        let source = Source::Growing(fetch);
        Serving { source, cursor: Cursor::default(), left: length, payload: 0, chunk }
    }

    /// The fetch is complete: the rest comes from its body.
    pub fn complete(&mut self, body: &Arc<Body>) {
        self.left = Some(body.len() - self.payload);
        self.source = Source::Stored(Arc::clone(body));
    }

    /// Whether everything there will ever be was sent.
    pub fn is_done(&self, fetches: &Slab<Fetch>) -> bool {
        let payload_done = match (&self.source, self.left) {
            (_, Some(left)) => left == 0,
            (Source::Growing(fetch), None) => fetch
                .get(fetches)
                .is_some_and(|fetch| fetch.has_ended() && !fetch.growing.has_more(self.cursor)),
            (Source::Stored(_), None) => true,
        };
        payload_done && self.chunk.as_ref().is_none_or(|chunk| chunk.has_ended() && chunk.is_spent())
    }

    /// Whether the rest will never come.
    pub fn is_cut_short(&self, fetches: &Slab<Fetch>) -> bool {
        let failed = match self.source {
            Source::Stored(_) => false,
            Source::Growing(fetch) => fetch.get(fetches).is_none_or(Fetch::has_failed),
        };
        failed && !self.wants_send(fetches)
    }

    /// Whether there is anything to send.
    pub fn wants_send(&self, fetches: &Slab<Fetch>) -> bool {
        if self.chunk.as_ref().is_some_and(|chunk| !chunk.is_spent()) {
            return true;
        }
        match &self.source {
            Source::Stored(_) => {
                self.left.is_some_and(|left| left > 0)
                    || self.chunk.as_ref().is_some_and(|chunk| !chunk.has_ended())
            }
            Source::Growing(fetch) => fetch.get(fetches).is_some_and(|fetch| {
                let more = self.left != Some(0) && fetch.growing.has_more(self.cursor);
                more || (fetch.has_ended() && self.chunk.as_ref().is_some_and(|chunk| !chunk.has_ended()))
            }),
        }
    }

    /// Puts up to `left` bytes of what is there into `out`; returns how many that are.
    fn payload<'a>(&'a self, fetches: &'a Slab<Fetch>, left: u64, out: &mut [&'a [u8]]) -> u64 {
        let left = left.min(self.left.unwrap_or(u64::MAX));
        match &self.source {
            Source::Stored(body) => body.slices(self.cursor, left, out),
            Source::Growing(fetch) => match fetch.get(fetches) {
                Some(fetch) => fetch.growing.slices(self.cursor, left, out),
                None => 0,
            },
        }
    }

    /// What to send next, behind the head that still waits in `down`.
    pub fn slices<'a>(
        &'a mut self,
        down: &'a Relay,
        pool: &'a Pool,
        fetches: &'a Slab<Fetch>,
    ) -> [&'a [u8]; SLICES_MAX] {
        let mut out: [&[u8]; SLICES_MAX] = [&[]; SLICES_MAX];
        self.begin_chunk(fetches);
        let this = &*self;
        out[0] = down.head.bytes(pool);
        match &this.chunk {
            None => {
                this.payload(fetches, u64::MAX, &mut out[1..]);
            }
            Some(chunk) => {
                out[1] = chunk.header();
                this.payload(fetches, u64::from(chunk.owed()), &mut out[2..SLICES_MAX - 1]);
                out[SLICES_MAX - 1] = chunk.tail();
            }
        }
        out
    }

    /// Reports that `count` bytes behind the head were sent.
    pub fn handle_sent(&mut self, fetches: &Slab<Fetch>, count: usize) {
        let payload = match &mut self.chunk {
            None => count as u64,
            Some(chunk) => chunk.handle_sent(count) as u64,
        };
        self.payload += payload;
        self.left = self.left.map(|left| left.saturating_sub(payload));
        self.cursor = match &self.source {
            Source::Stored(body) => body.advance(self.cursor, payload),
            Source::Growing(fetch) => match fetch.get(fetches) {
                Some(fetch) => fetch.growing.advance(self.cursor, payload),
                None => self.cursor,
            },
        };
    }

    fn begin_chunk(&mut self, fetches: &Slab<Fetch>) {
        if self.chunk.as_ref().is_none_or(|chunk| !chunk.is_spent() || chunk.has_ended()) {
            return;
        }
        // As much as the slices between the framing can hold.
        let mut slices: [&[u8]; SLICES_MAX - 3] = [&[]; SLICES_MAX - 3];
        let payload = self.payload(fetches, CHUNK_BYTES_MAX, &mut slices);
        let whole = match &self.source {
            Source::Stored(_) => self.left == Some(payload),
            Source::Growing(fetch) => fetch.get(fetches).is_some_and(|fetch| {
                fetch.has_ended() && !fetch.growing.has_more(fetch.growing.advance(self.cursor, payload))
            }),
        };
        let Some(chunk) = &mut self.chunk else { return };
        match (payload, whole) {
            (0, false) => {}
            (0, true) => chunk.end(),
            (_, last) => chunk.begin(payload as usize, last),
        }
    }
}
