//! One direction of bytes, for both bodies and tunnels.
//!
//! A relay receives payload by the framing of one side (`Intake`) into a 4 KB ring and sends it by the framing of the other
//! side (`Outlet`), with a rewritten head in front. Chunked payload is decoded in place as it arrives, and framed anew as it
//! leaves: one chunk for the bytes in the ring when the chunk began. Bytes that a chunk header has announced are owed until
//! they are sent, so a relay may be cut at any byte and the framing stays true.
//!
//! A read that fills its space makes the direction busy. Then the next read waits until the ring is empty, and fills twice as
//! many blocks; or, without filters, the shell moves payload from socket to socket inside the kernel, and the relay only
//! counts: bytes that have left the source and not reached the sink are `in_pipe`, and are sent before all others. A short read
//! or move ends the busy state.

#[cfg(feature = "detection")]
use crate::engine::body::filter::Filter;
use crate::engine::body::filter::{FilterFault, Filters, Report};
use crate::engine::body::intake::{Admitted, Intake};
use crate::engine::body::outgoing::Outgoing;
use crate::http::fault::Fault;
use crate::http::forwarding::{self, Withheld};
use crate::http::framing::Body;
use crate::http::h1::decode::{Decoder, Faulty};
use crate::http::h1::encode::Frame;
use crate::http::h1::encode::LAST_CHUNK_BEFORE_TRAILERS;
use crate::net::{BLOCK_BYTES, Linear, Pool, Purpose, Ring, SPACES_MAX, Space};

/// Most bytes to move inside the kernel at a time (measured: 256 KB 0.34 to 0.38 s/GB, 64 KB 0.41; also the budget of one
/// direction in one turn).
pub const SPLICE_BYTES_MAX: usize = 256 * 1024;

/// The framing of payload that is sent.
#[derive(Debug)]
enum Outlet {
    /// Without framing: by length, until close, or in a tunnel.
    Raw,
    /// In chunks. `trailers` are forwarded lines for the end behind the last chunk.
    Chunked { frame: Frame, trailers: Vec<u8> },
}

/// The reason why a body was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum BodyFault {
    /// The framing is faulty.
    Framing(Fault),
    Filter(FilterFault),
}

impl From<Fault> for BodyFault {
    fn from(fault: Fault) -> BodyFault {
        BodyFault::Framing(fault)
    }
}

impl From<FilterFault> for BodyFault {
    fn from(fault: FilterFault) -> BodyFault {
        BodyFault::Filter(fault)
    }
}

/// One direction.
#[derive(Debug)]
pub(in crate::engine) struct Relay {
    /// The rewritten head, or the head of weir's own response: sent before everything else.
    pub head: Linear,
    ring: Ring,
    intake: Intake,
    outlet: Outlet,
    /// The filters of the payload; mostly none.
    filters: Option<Box<Filters>>,
    purpose: Purpose,
    /// Blocks that the next read may fill: more than one while the direction is busy.
    blocks: u8,
    /// Bytes on their way inside the kernel.
    in_pipe: u32,
    /// Payload is received and thrown away: the message was refused.
    pub discards: bool,
    /// The trailers that are removed because of the message's head.
    pub withheld: Withheld,
    /// Bytes received from the source, framing included, head not.
    pub received: u64,
    /// Bytes sent to the sink, head and framing included.
    pub sent: u64,
}

impl Relay {
    /// A relay with nothing to carry.
    pub fn new(purpose: Purpose) -> Relay {
        Relay {
            head: Linear::default(),
            ring: Ring::default(),
            intake: Intake::Done,
            outlet: Outlet::Raw,
            filters: None,
            purpose,
            blocks: 1,
            in_pipe: 0,
            discards: false,
            withheld: Withheld::default(),
            received: 0,
            sent: 0,
        }
    }

    /// Makes one that has given everything back as good as new.
    pub fn reset(&mut self, purpose: Purpose) {
        debug_assert!(self.head.is_empty() && self.ring.is_empty());
        self.purpose = purpose;
        (self.intake, self.outlet, self.filters) = (Intake::Done, Outlet::Raw, None);
        (self.blocks, self.in_pipe, self.discards) = (1, 0, false);
        (self.received, self.sent) = (0, 0);
        self.withheld.clear();
    }

    /// Sets the filters between decoder and encoder, before a body begins.
    pub fn set_filters(&mut self, filters: Option<Box<Filters>>) {
        self.filters = filters;
    }

    /// Inserts a filter before the others.
    #[cfg(feature = "detection")]
    pub fn insert_filter(&mut self, filter: Box<dyn Filter>) {
        match &mut self.filters {
            Some(filters) => filters.insert_first(filter),
            None => self.filters = Filters::new(vec![filter], self.purpose),
        }
    }

    /// Whether the length of the body may change on the way.
    pub fn replaces(&self) -> bool {
        self.filters.as_ref().is_some_and(|filters| filters.replaces())
    }

    /// The reason why a filter has aborted the body, if one has.
    pub fn filter_fault(&self) -> Option<&'static str> {
        Some(self.filters.as_ref()?.fault()?.reason())
    }

    /// The body ends here, because one side has broken it off.
    pub fn handle_break(&mut self) {
        if let Some(filters) = &mut self.filters {
            filters.handle_break();
        }
    }

    /// The reports of the filters for the guard since the last call.
    pub fn take_reports(&mut self) -> Vec<Report> {
        self.filters.as_mut().map_or_else(Vec::new, |filters| filters.take_reports())
    }

    /// Sets the framing of received and sent payload.
    pub fn frame(&mut self, intake: Body, chunked_out: bool) {
        self.intake = Intake::new(
            intake,
            match self.purpose {
                Purpose::Download => Decoder::of_response,
                Purpose::Upload | Purpose::Head | Purpose::Filter | Purpose::Spare | Purpose::Reply => {
                    Decoder::new
                }
            },
        );
        self.outlet = if chunked_out {
            Outlet::Chunked { frame: Frame::default(), trailers: Vec::new() }
        } else {
            Outlet::Raw
        };
        self.blocks = 1;
    }

    /// Continues a body that a fill has begun to carry: the state of its intake, and the frame of the current chunk if it is
    /// sent in chunks. The message is long, or it would be complete by now.
    pub fn resume(&mut self, intake: Intake, frame: Option<Frame>) {
        debug_assert!(self.ring.is_empty());
        self.intake = intake;
        self.outlet = match frame {
            None => Outlet::Raw,
            Some(frame) => Outlet::Chunked { frame, trailers: Vec::new() },
        };
        self.blocks = 2;
    }

    /// Blocks that the next read may fill.
    pub fn blocks(&self) -> u8 {
        self.blocks
    }

    /// Sets the number of blocks for the next read, if the direction is known to be busy.
    pub fn set_blocks(&mut self, blocks: u8) {
        self.blocks = blocks;
    }

    /// Whether the message has been received whole.
    pub fn is_received(&self) -> bool {
        self.intake.is_done()
    }

    /// Whether the stream ended too early.
    pub fn is_truncated(&self) -> bool {
        self.intake.is_truncated()
    }

    /// The fault of the framing because of which the stream ended too early.
    pub fn framing_fault(&self) -> Option<Fault> {
        self.intake.fault()
    }

    /// Whether everything was received and sent.
    pub fn is_complete(&self) -> bool {
        self.is_received() && !self.wants_send()
    }

    /// Whether the relay can receive more of the message.
    pub fn wants_bytes(&self) -> bool {
        self.intake.is_receiving()
            && self.passed_len() == 0
            && if self.blocks > 1 || self.in_pipe > 0 { !self.wants_send() } else { !self.ring.is_full() }
    }

    /// The number of bytes that may go from source to sink without being read; `None` while other bytes must be sent before
    /// them, and if splicing is not worth it.
    pub fn splice_allowed(&self) -> Option<usize> {
        if self.blocks == 1 || self.discards || self.filters.is_some() || !self.wants_bytes() {
            return None;
        }
        self.intake.unread_max().map(|bytes| bytes.min(SPLICE_BYTES_MAX as u64) as usize)
    }

    /// Reports that so many bytes have left the source and are on their way to the sink inside the kernel.
    pub fn handle_spliced(&mut self, count: usize) {
        debug_assert!(self.splice_allowed().is_some_and(|bytes| count <= bytes));
        self.intake.skip(count as u64);
        let received = self.is_received();
        if let Outlet::Chunked { frame, .. } = &mut self.outlet {
            frame.begin(count, received);
        }
        self.received += count as u64;
        self.in_pipe = count as u32;
        if count < BLOCK_BYTES {
            self.blocks = 1;
        }
    }

    /// Whether bytes or framing must be sent.
    pub fn wants_send(&self) -> bool {
        let framing = match &self.outlet {
            Outlet::Raw => false,
            Outlet::Chunked { frame, .. } => !frame.is_spent() || (self.is_received() && !frame.has_ended()),
        };
        framing || !self.head.is_empty() || !self.ring.is_empty() || self.in_pipe > 0 || self.passed_len() > 0
    }

    /// The number of bytes that filters let pass and that are not in the ring: they are sent behind those in the ring.
    fn passed_len(&self) -> usize {
        self.filters.as_ref().map_or(0, |filters| filters.passed_len())
    }

    /// Room to receive into; `None` if the pool has no block to lend.
    pub fn space<'p>(&mut self, pool: &'p mut Pool) -> Option<Space<'p>> {
        self.ring.space(pool, self.purpose, usize::from(self.blocks))
    }

    /// Reports that `count` bytes were received into the space. Bytes beyond the end of the message are copied to
    /// `excess`.
    pub fn handle_received(
        &mut self,
        pool: &mut Pool,
        count: usize,
        excess: &mut Vec<u8>,
    ) -> Result<(), BodyFault> {
        let mut space = self.ring.room(pool);
        let full = count == space.len();
        let (mut filled, mut left, mut outcome) = ([0; SPACES_MAX], count, Ok(()));
        for (stretch, payload) in space.slices_mut().iter_mut().zip(&mut filled) {
            let here = left.min(stretch.len());
            left -= here;
            if here == 0 {
                break;
            }
            match self.admit(&mut stretch[..here], excess) {
                Ok(admitted) => *payload = admitted,
                Err(faulty) => {
                    *payload = faulty.payload;
                    outcome = Err(BodyFault::Framing(faulty.fault));
                    break;
                }
            }
        }
        if self.filters.is_some() {
            outcome = self.filter(pool, &mut filled).map_err(BodyFault::Filter).and(outcome);
        }
        self.ring.commit(pool, &filled);
        self.ring.release_if_empty(pool);
        self.blocks = if full { (2 * self.blocks).min(SPACES_MAX as u8) } else { 1 };
        outcome
    }

    /// Takes payload from memory, as far as it fits; returns the number of bytes taken. Bytes beyond the end of the
    /// message are not taken.
    pub fn feed(&mut self, pool: &mut Pool, bytes: &[u8]) -> Result<usize, BodyFault> {
        let mut taken = 0;
        let mut excess = Vec::new();
        while taken < bytes.len() && self.wants_bytes() {
            let Some(mut space) = self.space(pool) else { break };
            let count = space.fill(&bytes[taken..]);
            self.handle_received(pool, count, &mut excess)?;
            taken += count - excess.len();
        }
        Ok(taken)
    }

    /// Takes over the block of a received head, with the payload behind the head's `skip` bytes. `front` goes before the
    /// payload and is written over the head, so that both leave in one piece ([`Relay::fits_before`] tells whether that is
    /// possible). Leaves `source` unchanged if it is not a block, or if there are filters: then use [`Relay::feed`].
    pub fn adopt(
        &mut self,
        pool: &mut Pool,
        source: &mut Linear,
        skip: usize,
        front: &[u8],
        excess: &mut Vec<u8>,
    ) -> Result<bool, BodyFault> {
        debug_assert!(self.ring.is_empty() && !self.discards);
        debug_assert!(front.is_empty() || self.fits_before(source, skip, front));
        if self.filters.is_some() {
            return Ok(false);
        }
        let Some((block, start, len)) = source.take_block() else { return Ok(false) };
        let payload_start = start + skip;
        let bytes = pool.bytes_mut(&block);
        let admitted = if self.wants_bytes() {
            self.admit(&mut bytes[payload_start..start + len], excess)
        } else {
            excess.extend_from_slice(&bytes[payload_start..start + len]);
            Ok(0)
        };
        bytes[payload_start - front.len()..payload_start].copy_from_slice(front);
        // The read that brought the head has filled its space.
        self.blocks = if start + len == BLOCK_BYTES { 2 } else { 1 };
        let held = front.len() + admitted.unwrap_or_else(|faulty| faulty.payload);
        self.ring = Ring::from_block(pool, block, payload_start - front.len(), held);
        Ok(admitted.map(|_| true).map_err(Fault::from)?)
    }

    /// Whether `front` can be written in front of the payload in a block that holds a head of `skip` bytes.
    pub fn fits_before(&self, source: &Linear, skip: usize, front: &[u8]) -> bool {
        let raw = match self.outlet {
            Outlet::Raw => true,
            // Chunks are made from the bytes in the ring.
            Outlet::Chunked { .. } => false,
        };
        raw && self.filters.is_none() && front.len() <= source.room_before(skip)
    }

    /// Judges bytes fresh from the wire; returns how much payload now lies at their front, also of those before a fault.
    fn admit(&mut self, bytes: &mut [u8], excess: &mut Vec<u8>) -> Result<usize, Faulty> {
        let Relay { intake, outlet, filters, withheld, discards, .. } = self;
        let kept = |payload| if *discards { 0 } else { payload };
        let admitted = intake.admit(bytes, |lines| {
            let out = match (filters, outlet) {
                (Some(filters), _) => &mut filters.trailers,
                (None, Outlet::Chunked { trailers, .. }) => trailers,
                (None, Outlet::Raw) => return,
            };
            out.reserve(lines.len());
            forwarding::write_trailers(out, lines, withheld);
        });
        let Admitted { payload, consumed } =
            admitted.map_err(|faulty| Faulty { payload: kept(faulty.payload), ..faulty })?;
        excess.extend_from_slice(&bytes[consumed..]);
        self.received += consumed as u64;
        Ok(kept(payload))
    }

    /// Shows the payload received just now to the filters; `filled` is the number of its bytes in each slice of the space,
    /// and becomes the number of those that stay there.
    #[cold]
    fn filter(&mut self, pool: &mut Pool, filled: &mut [usize]) -> Result<(), FilterFault> {
        let Some(filters) = &mut self.filters else { return Ok(()) };
        let mut buffer = [0; BLOCK_BYTES];
        let mut outcome = Ok(());
        for (at, count) in filled.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
            let piece = &mut buffer[..*count];
            piece.copy_from_slice(&self.ring.room(pool).slices_mut()[at][..*count]);
            let in_place = outcome.and_then(|()| filters.show(pool, piece));
            if in_place != Ok(true) {
                *count = 0;
            }
            outcome = in_place.map(|_| ());
        }
        outcome?;
        if self.is_received() {
            self.finish_filters(pool)?;
        }
        // Not earlier: the trailers may have arrived with the piece at which the last filter has left.
        self.drop_spent_filters(pool);
        Ok(())
    }

    /// The filters have seen all of the body.
    fn finish_filters(&mut self, pool: &mut Pool) -> Result<(), FilterFault> {
        let Some(filters) = &mut self.filters else { return Ok(()) };
        filters.finish(pool)?;
        if let Outlet::Chunked { trailers, .. } = &mut self.outlet {
            trailers.append(&mut filters.trailers);
        }
        Ok(())
    }

    /// The source's stream has ended.
    pub fn handle_end(&mut self, pool: &mut Pool) -> Result<(), BodyFault> {
        let received = self.is_received();
        self.intake.handle_end();
        if !received && self.is_received() {
            self.finish_filters(pool)?;
        }
        Ok(())
    }

    /// Ends a body whose rest cannot arrive, if because of a fault of its framing: the sink gets the received bytes, and no
    /// regular end.
    pub fn truncate(&mut self, fault: Option<Fault>) {
        self.intake = Intake::Truncated(fault);
    }

    /// Ends both directions: nothing more is received or sent.
    pub fn abandon(&mut self, pool: &mut Pool) {
        self.intake = Intake::Done;
        self.release(pool);
    }

    /// Releases all memory and the filters; unsent bytes are lost.
    pub fn release(&mut self, pool: &mut Pool) {
        self.drop_filters(pool);
        self.rewind(pool);
    }

    /// Removes the filters: the bytes from now on are no body.
    pub fn drop_filters(&mut self, pool: &mut Pool) {
        if let Some(mut filters) = self.filters.take() {
            filters.release(pool);
        }
    }

    /// Releases all memory except the filters': the same body is received again, and the filters do not see it twice.
    pub fn rewind(&mut self, pool: &mut Pool) {
        self.head.release(pool);
        self.ring.release(pool);
        if let Some(filters) = &mut self.filters {
            filters.rewind(pool);
        }
        self.outlet = Outlet::Raw;
        self.in_pipe = 0;
    }

    /// Gives back a block that was lent for reading and not used.
    pub fn release_unused(&mut self, pool: &mut Pool) {
        self.ring.release_if_empty(pool);
    }

    /// The bytes to send next, in order. Begins a chunk if one is due. Empty if the next bytes are inside the kernel:
    /// then the shell moves them.
    pub fn outgoing<'s>(&'s mut self, pool: &'s mut Pool) -> Outgoing<'s> {
        self.begin_chunk(pool);
        let pool = &*pool;
        let mut outgoing = Outgoing::nothing();
        outgoing.push(self.head.bytes(pool));
        match &self.outlet {
            Outlet::Raw => self.for_each_waiting(pool, |slice| outgoing.push(slice)),
            Outlet::Chunked { frame, .. } => {
                outgoing.push(frame.header());
                if self.in_pipe > 0 {
                    return outgoing;
                }
                let mut owed = frame.owed() as usize;
                self.for_each_waiting(pool, |slice| {
                    let payload = &slice[..slice.len().min(owed)];
                    owed -= payload.len();
                    outgoing.push(payload);
                });
                outgoing.push(frame.tail());
            }
        }
        outgoing
    }

    /// Whether the next bytes to send are inside the kernel.
    fn sends_from_pipe(&self) -> bool {
        let header = match &self.outlet {
            Outlet::Raw => &[],
            Outlet::Chunked { frame, .. } => frame.header(),
        };
        self.in_pipe > 0 && self.head.is_empty() && header.is_empty()
    }

    /// Reports that the first `count` bytes of the slices were sent, or bytes from the kernel if there were no slices.
    pub fn handle_sent(&mut self, pool: &mut Pool, count: usize) {
        self.sent += count as u64;
        if self.sends_from_pipe() {
            debug_assert!(count <= self.in_pipe as usize);
            self.in_pipe -= (count as u32).min(self.in_pipe);
            if let Outlet::Chunked { frame, .. } = &mut self.outlet {
                frame.handle_sent(count);
            }
            return;
        }
        let mut left = count;
        let head = left.min(self.head.len());
        if head > 0 {
            self.head.consume(pool, head);
            left -= head;
        }
        let payload = match &mut self.outlet {
            Outlet::Raw => left,
            Outlet::Chunked { frame, .. } => frame.handle_sent(left),
        };
        if payload > 0 {
            self.consume(pool, payload);
        }
    }

    /// The payload to send next: the bytes in the ring, and behind them those that filters let pass.
    fn for_each_waiting<'s>(&'s self, pool: &'s Pool, mut take: impl FnMut(&'s [u8])) {
        match &self.filters {
            Some(filters) if self.ring.is_empty() => take(filters.passed(pool)),
            Some(_) | None => self.ring.for_each_slice(pool, take),
        }
    }

    fn consume(&mut self, pool: &mut Pool, count: usize) {
        if !self.ring.is_empty() {
            return self.ring.consume(pool, count);
        }
        if let Some(filters) = &mut self.filters {
            filters.consume(pool, count);
        }
        self.drop_spent_filters(pool);
    }

    /// Removes the filters when all have left, and all bytes that they let pass were sent.
    fn drop_spent_filters(&mut self, pool: &mut Pool) {
        if let Some(mut spent) = self.filters.take_if(|filters| filters.is_spent()) {
            spent.release(pool);
        }
    }

    fn begin_chunk(&mut self, pool: &mut Pool) {
        let passed = self.passed_len();
        let (waiting, behind) = if self.ring.is_empty() { (passed, 0) } else { (self.ring.len(), passed) };
        let received = self.is_received() && behind == 0;
        let Outlet::Chunked { frame, trailers } = &mut self.outlet else { return };
        if !frame.is_spent() || frame.has_ended() {
            return;
        }
        if waiting > 0 {
            frame.begin(waiting, received && trailers.is_empty());
        } else if received && self.head.is_empty() && !trailers.is_empty() {
            // Trailers do not fit into the frame: they are sent as heads are. Without memory they are left out, which
            // any recipient must expect (RFC 9110 section 6.5.1).
            let end = [LAST_CHUNK_BEFORE_TRAILERS, trailers, b"\r\n"].concat();
            trailers.clear();
            if self.head.append(pool, Purpose::Reply, &end) {
                frame.leave_end();
            } else {
                frame.end();
            }
        } else if received && trailers.is_empty() {
            frame.end();
        }
    }
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
