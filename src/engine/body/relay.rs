//! One direction of bytes, for bodies and tunnels alike.
//!
//! A relay takes payload in by the framing of one side (`Intake`) into a 4 KB ring and sends it out by the framing of
//! the other (`Outlet`), with a rewritten head in front. Chunked payload is decoded in place as it arrives, and framed
//! anew as it leaves: one chunk for whatever the ring held when the chunk was begun. What a chunk header has promised is
//! owed until it is sent, so a relay may be cut at any byte without lying about what follows.
//!
//! A read that fills its space makes the direction busy. Then the next read waits until the ring is empty, and fills twice
//! as many blocks; or, where nobody needs to look at the payload, the shell moves it from socket to socket inside the
//! kernel, and the relay only counts: what has left the source and not reached the sink is `piped`, and goes before
//! anything else. A short read or move ends it.

use crate::engine::body::intake::{Admitted, Intake};
use crate::engine::body::outgoing::{Outgoing, SLICES_MAX};
use crate::http::fault::Fault;
use crate::http::forwarding::{self, Withheld};
use crate::http::framing::Body;
use crate::http::h1::decode::Decoder;
use crate::http::h1::encode::Frame;
use crate::http::h1::encode::LAST_CHUNK_BEFORE_TRAILERS;
use crate::net::{BLOCK_BYTES, Linear, Pool, Purpose, RING_SLICES_MAX, Ring, SPACES_MAX, Space};

/// Most bytes that are moved inside the kernel at a time (measured: 256 KB 0.34 to 0.38 s/GB, 64 KB 0.41; it is also what one
/// direction may move in one turn).
pub const SPLICE_BYTES_MAX: usize = 256 * 1024;

/// How payload is framed on the way out.
#[derive(Debug)]
enum Outlet {
    /// As it is: by length, until close, or in a tunnel.
    Raw,
    /// In chunks. The trailers are lines that may go on, for behind the last one.
    Chunked { frame: Frame, trailers: Vec<u8> },
}

/// One direction.
#[derive(Debug)]
pub(in crate::engine) struct Relay {
    /// Rewritten head, or our own reply: goes before everything else.
    pub head: Linear,
    ring: Ring,
    intake: Intake,
    outlet: Outlet,
    purpose: Purpose,
    /// Blocks that the next read may fill: more than one while the direction is busy.
    blocks: u8,
    /// Bytes on their way inside the kernel.
    piped: u32,
    /// Payload is received and thrown away: the message was refused.
    pub discards: bool,
    /// What the message's head takes out of its trailers.
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
            purpose,
            blocks: 1,
            piped: 0,
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
        (self.intake, self.outlet) = (Intake::Done, Outlet::Raw);
        (self.blocks, self.piped, self.discards) = (1, 0, false);
        (self.received, self.sent) = (0, 0);
        self.withheld.clear();
    }

    /// Sets what comes in and how it goes out.
    pub fn frame(&mut self, intake: Body, chunked_out: bool) {
        self.intake = Intake::new(
            intake,
            match self.purpose {
                Purpose::Download => Decoder::of_response,
                Purpose::Upload | Purpose::Head | Purpose::Reply => Decoder::new,
            },
        );
        self.outlet = if chunked_out {
            Outlet::Chunked { frame: Frame::default(), trailers: Vec::new() }
        } else {
            Outlet::Raw
        };
        self.blocks = 1;
    }

    /// Goes on with what somebody else has begun to carry: what comes in, and the frame that it goes out in, if it goes out in
    /// chunks. The message is long, or it would have been carried by now.
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

    /// Sets that: where it is known that the direction is busy.
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

    /// Whether everything was received and sent.
    pub fn is_complete(&self) -> bool {
        self.is_received() && !self.wants_send()
    }

    /// Whether there is room for more of the message.
    pub fn wants_bytes(&self) -> bool {
        self.intake.is_receiving()
            && if self.blocks > 1 || self.piped > 0 { !self.wants_send() } else { !self.ring.is_full() }
    }

    /// How many bytes may go from source to sink without being looked at; `None` while there is anything to be sent before
    /// them, and for what is not worth it.
    pub fn splice_allowed(&self) -> Option<usize> {
        if self.blocks == 1 || self.discards || !self.wants_bytes() {
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
        self.piped = count as u32;
        if count < BLOCK_BYTES {
            self.blocks = 1;
        }
    }

    /// Whether there is anything to send.
    pub fn wants_send(&self) -> bool {
        let framing = match &self.outlet {
            Outlet::Raw => false,
            Outlet::Chunked { frame, .. } => !frame.is_spent() || (self.is_received() && !frame.has_ended()),
        };
        framing || !self.head.is_empty() || !self.ring.is_empty() || self.piped > 0
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
    ) -> Result<(), Fault> {
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
                Err(fault) => {
                    outcome = Err(fault);
                    break;
                }
            }
        }
        self.ring.commit(pool, &filled);
        self.ring.release_if_empty(pool);
        self.blocks = if full { (2 * self.blocks).min(SPACES_MAX as u8) } else { 1 };
        outcome
    }

    /// Takes payload that already lies in memory, as far as there is room; returns how many bytes it took. Bytes beyond
    /// the end of the message are not taken.
    pub fn feed(&mut self, pool: &mut Pool, bytes: &[u8]) -> Result<usize, Fault> {
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

    /// Takes over the block in which a head arrived, with the payload that lies behind the head's `skip` bytes. `front` is
    /// what goes before the payload; it is written over the head, so that both leave in one piece ([`Relay::fits_before`] says
    /// whether it can). Leaves `source` alone if that is not a block: then `sender` is the way.
    pub fn adopt(
        &mut self,
        pool: &mut Pool,
        source: &mut Linear,
        skip: usize,
        front: &[u8],
        excess: &mut Vec<u8>,
    ) -> Result<bool, Fault> {
        debug_assert!(self.ring.is_empty() && !self.discards);
        debug_assert!(front.is_empty() || self.fits_before(source, skip, front));
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
        let held = front.len() + *admitted.as_ref().unwrap_or(&0);
        self.ring = Ring::from_block(pool, block, payload_start - front.len(), held);
        admitted.map(|_| true)
    }

    /// Whether `front` can be written in front of the payload in a block that holds a head of `skip` bytes.
    pub fn fits_before(&self, source: &Linear, skip: usize, front: &[u8]) -> bool {
        let raw = match self.outlet {
            Outlet::Raw => true,
            // What lies in the ring is what chunks are made of.
            Outlet::Chunked { .. } => false,
        };
        raw && front.len() <= source.room_before(skip)
    }

    /// Judges bytes fresh from the wire; returns how much payload now lies at their front.
    fn admit(&mut self, bytes: &mut [u8], excess: &mut Vec<u8>) -> Result<usize, Fault> {
        let Relay { intake, outlet, withheld, .. } = self;
        let Admitted { payload, consumed } = intake.admit(bytes, |lines| {
            if let Outlet::Chunked { trailers, .. } = outlet {
                trailers.reserve(lines.len());
                forwarding::write_trailers(trailers, lines, withheld);
            }
        })?;
        excess.extend_from_slice(&bytes[consumed..]);
        self.received += consumed as u64;
        Ok(if self.discards { 0 } else { payload })
    }

    /// The source's stream has ended.
    pub fn handle_end(&mut self) {
        self.intake.handle_end();
    }

    /// What follows cannot be had: the sink gets what there is, and no proper end.
    pub fn truncate(&mut self) {
        self.intake = Intake::Truncated;
    }

    /// Nothing more is expected from the source, nor sent to the sink.
    pub fn abandon(&mut self, pool: &mut Pool) {
        self.intake = Intake::Done;
        self.release(pool);
    }

    /// Gives all memory back; what was waiting is lost.
    pub fn release(&mut self, pool: &mut Pool) {
        self.head.release(pool);
        self.ring.release(pool);
        self.outlet = Outlet::Raw;
        self.piped = 0;
    }

    /// Gives back a block that was lent for reading and not used.
    pub fn release_unused(&mut self, pool: &mut Pool) {
        self.ring.release_if_empty(pool);
    }

    /// What to send next, in order. Begins a chunk if one is due. Nothing, although something is to be sent, if that is
    /// inside the kernel: then the shell moves it on.
    pub fn outgoing<'s>(&'s mut self, pool: &'s mut Pool) -> Outgoing<'s> {
        self.begin_chunk(pool);
        let pool = &*pool;
        let mut outgoing = Outgoing::nothing();
        let slices = &mut outgoing.slices;
        slices[0] = self.head.bytes(pool);
        let payload = self.ring.bytes(pool);
        match &self.outlet {
            Outlet::Raw => slices[2..2 + RING_SLICES_MAX].copy_from_slice(&payload),
            Outlet::Chunked { frame, .. } => {
                slices[1] = frame.header();
                if self.piped > 0 {
                    return outgoing;
                }
                let mut owed = frame.owed() as usize;
                for (slice, payload) in slices[2..].iter_mut().zip(payload) {
                    *slice = &payload[..payload.len().min(owed)];
                    owed -= slice.len();
                }
                slices[SLICES_MAX - 1] = frame.tail();
            }
        }
        outgoing
    }

    /// Whether what is to be sent next is inside the kernel.
    fn sends_piped(&self) -> bool {
        let header = match &self.outlet {
            Outlet::Raw => &[],
            Outlet::Chunked { frame, .. } => frame.header(),
        };
        self.piped > 0 && self.head.is_empty() && header.is_empty()
    }

    /// Reports that the first `count` bytes of the slices were sent, or of what is inside the kernel if there were none.
    pub fn handle_sent(&mut self, pool: &mut Pool, count: usize) {
        self.sent += count as u64;
        if self.sends_piped() {
            debug_assert!(count <= self.piped as usize);
            self.piped -= (count as u32).min(self.piped);
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
            self.ring.consume(pool, payload);
        }
    }

    fn begin_chunk(&mut self, pool: &mut Pool) {
        let received = self.is_received();
        let Outlet::Chunked { frame, trailers } = &mut self.outlet else { return };
        if !frame.is_spent() || frame.has_ended() {
            return;
        }
        if !self.ring.is_empty() {
            frame.begin(self.ring.len(), received && trailers.is_empty());
        } else if received && self.head.is_empty() && !trailers.is_empty() {
            // Trailers do not fit into the frame: they go where heads go. Without memory they are left out, as any
            // recipient must expect (RFC 9110 section 6.5.1).
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
mod tests {
    use super::*;

    /// Pushes `input` through a relay in pieces, sending in pieces; returns what came out and what was left over.
    fn pass(
        relay: &mut Relay,
        pool: &mut Pool,
        input: &[u8],
        piece: usize,
        send: usize,
    ) -> (Vec<u8>, Vec<u8>) {
        let (mut out, mut excess, mut rest) = (Vec::new(), Vec::new(), input);
        loop {
            let mut moved = false;
            if relay.wants_bytes() && !rest.is_empty() {
                let count = relay.space(pool).unwrap().fill(&rest[..piece.min(rest.len())]);
                rest = &rest[count..];
                relay.handle_received(pool, count, &mut excess).unwrap();
                moved = true;
            }
            if relay.wants_send() {
                let sent: Vec<u8> = relay.outgoing(pool).concat().into_iter().take(send).collect();
                relay.handle_sent(pool, sent.len());
                moved |= !sent.is_empty();
                out.extend(sent);
            }
            if !moved {
                excess.extend_from_slice(rest);
                return (out, excess);
            }
        }
    }

    /// Undoes chunked framing, with nothing of the code under test.
    fn unchunk(mut bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut payload = Vec::new();
        loop {
            let line = bytes.windows(2).position(|pair| pair == b"\r\n").unwrap();
            let size = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).unwrap(), 16).unwrap();
            bytes = &bytes[line + 2..];
            if size == 0 {
                return (payload, bytes.to_vec());
            }
            payload.extend_from_slice(&bytes[..size]);
            assert_eq!(&bytes[size..size + 2], b"\r\n");
            bytes = &bytes[size + 2..];
        }
    }

    #[test]
    fn payload_survives_every_framing_and_every_split() {
        let payload: Vec<u8> = (0..10_000_u32).map(|index| (index * 7 % 251) as u8).collect();
        let mut chunked = Vec::new();
        for part in payload.chunks(777) {
            chunked.extend_from_slice(format!("{:x};a=b\r\n", part.len()).as_bytes());
            chunked.extend_from_slice(part);
            chunked.extend_from_slice(b"\r\n");
        }
        chunked.extend_from_slice(b"0\r\nX-Sum: 1\r\nHost: a\r\n\r\n");
        let length = Body::Length(payload.len() as u64);
        let cases = [(length, &payload), (Body::UntilClose, &payload), (Body::Chunked, &chunked)];
        for (body, input) in cases {
            for (piece, send) in [(1, 4096), (4096, 1), (7, 13), (4096, 4096), (1000, 3)] {
                for chunked_out in [false, true] {
                    let mut pool = Pool::new(64);
                    let mut relay = Relay::new(Purpose::Download);
                    assert!(relay.head.append(&mut pool, Purpose::Reply, b"head"));
                    relay.frame(body, chunked_out);
                    let mut input = input.clone();
                    if body != Body::UntilClose {
                        input.extend_from_slice(b"next");
                    }
                    let (mut out, excess) = pass(&mut relay, &mut pool, &input, piece, send);
                    if body == Body::UntilClose {
                        relay.handle_end();
                        out.extend(pass(&mut relay, &mut pool, b"", piece, send).0);
                    } else {
                        assert_eq!(excess, b"next", "{body:?} {piece} {send}");
                    }
                    assert!(relay.is_complete() && !relay.is_truncated());
                    assert_eq!(pool.lent(), 0);
                    assert_eq!(relay.sent, out.len() as u64);
                    let out = out.strip_prefix(b"head").unwrap();
                    if chunked_out {
                        let end = if body == Body::Chunked { &b"X-Sum: 1\r\n\r\n"[..] } else { b"\r\n" };
                        assert_eq!(unchunk(out), (payload.clone(), end.to_vec()), "{body:?} {piece} {send}");
                    } else {
                        assert!(out == payload, "{body:?} {piece} {send}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_cut_short_never_ends_properly() {
        for (body, input) in [(Body::Length(10), &b"12345"[..]), (Body::Chunked, b"a\r\n12345")] {
            for chunked_out in [false, true] {
                let mut pool = Pool::new(64);
                let mut relay = Relay::new(Purpose::Download);
                relay.frame(body, chunked_out);
                let (mut out, _) = pass(&mut relay, &mut pool, input, 4096, 4096);
                relay.handle_end();
                out.extend(pass(&mut relay, &mut pool, b"", 1, 1).0);
                assert!(relay.is_truncated() && !relay.is_complete() && !relay.wants_send());
                assert_eq!(out, if chunked_out { &b"5\r\n12345\r\n"[..] } else { b"12345" });
            }
        }
    }

    #[test]
    fn a_refused_body_is_taken_and_dropped() {
        let mut pool = Pool::new(64);
        let mut relay = Relay::new(Purpose::Upload);
        relay.discards = true;
        relay.frame(Body::Length(9000), false);
        let (out, excess) = pass(&mut relay, &mut pool, &[7; 9001], 4096, 4096);
        assert_eq!((out.len(), excess, relay.received, pool.lent()), (0, vec![7], 9000, 0));
        assert!(relay.is_complete());
    }

    #[test]
    fn a_block_that_brought_the_head_carries_the_payload() {
        for (body, rest, payload) in
            [(Body::Length(3), &b"abcX"[..], &b"abc"[..]), (Body::Chunked, b"3\r\nabc\r\n0\r\n\r\nX", b"abc")]
        {
            let mut pool = Pool::new(64);
            let mut relay = Relay::new(Purpose::Download);
            relay.frame(body, false);
            let mut source = Linear::default();
            assert!(source.append(&mut pool, Purpose::Download, b"HEAD"));
            assert!(source.append(&mut pool, Purpose::Download, rest));
            let mut excess = Vec::new();
            assert_eq!(relay.adopt(&mut pool, &mut source, 4, b"", &mut excess), Ok(true));
            assert_eq!((excess.as_slice(), pool.lent()), (&b"X"[..], 1));
            assert_eq!(pass(&mut relay, &mut pool, b"", 1, 2).0, payload);
            assert_eq!(pool.lent(), 0);
        }
    }

    #[test]
    fn a_rewritten_head_is_put_in_front_of_its_payload() {
        for (room, front, fits) in [(2, &b"heads!"[..], true), (1, b"heads!", false), (0, b"head", true)] {
            let mut pool = Pool::new(64);
            let mut relay = Relay::new(Purpose::Download);
            relay.frame(Body::Length(3), false);
            let mut source = Linear::default();
            assert!(source.begin_at(&mut pool, Purpose::Download, room));
            assert!(source.append(&mut pool, Purpose::Download, b"HEADabcX"));
            assert_eq!(relay.fits_before(&source, 4, front), fits);
            if fits {
                let mut excess = Vec::new();
                assert_eq!(relay.adopt(&mut pool, &mut source, 4, front, &mut excess), Ok(true));
                assert_eq!(relay.outgoing(&mut pool).concat(), [front, b"abc"].concat());
                assert_eq!((excess.as_slice(), pool.lent()), (&b"X"[..], 1));
            }
            relay.frame(Body::Length(3), true);
            assert!(!relay.fits_before(&source, 4, b""), "chunks");
        }
    }

    #[test]
    fn a_busy_direction_reads_more_at_a_time_and_lets_bytes_pass_unseen() {
        for chunked_out in [false, true] {
            let mut pool = Pool::new(64);
            let mut relay = Relay::new(Purpose::Download);
            relay.frame(Body::UntilClose, chunked_out);
            let (mut room, mut out) = (Vec::new(), Vec::new());
            for _ in 0..5 {
                assert_eq!(relay.splice_allowed(), (!room.is_empty()).then_some(SPLICE_BYTES_MAX));
                let count = relay.space(&mut pool).unwrap().fill(&[7; 40_000]);
                room.push(count / BLOCK_BYTES);
                relay.handle_received(&mut pool, count, &mut Vec::new()).unwrap();
                assert!(!relay.wants_bytes() || room.len() == 1, "what was read goes first");
                assert_eq!(relay.splice_allowed(), None);
                out.extend(pass(&mut relay, &mut pool, b"", 1, 5000).0);
            }
            assert_eq!((room, pool.lent()), (vec![1, 2, 4, 8, 8], 0));
            relay.handle_spliced(100_000);
            assert!(!relay.wants_bytes() && relay.wants_send());
            let header = relay.outgoing(&mut pool).concat();
            out.extend_from_slice(&header);
            if chunked_out {
                assert_eq!(header, b"186a0\r\n");
                relay.handle_sent(&mut pool, header.len());
            }
            assert_eq!(relay.outgoing(&mut pool).concat(), b"");
            for count in [1, 99_999] {
                relay.handle_sent(&mut pool, count);
                out.extend(std::iter::repeat_n(7, count));
            }
            out.extend(pass(&mut relay, &mut pool, b"", 1, 1).0);
            assert!(relay.splice_allowed().is_some());
            relay.handle_spliced(10);
            relay.handle_end();
            assert!(!relay.is_complete());
            out.extend(relay.outgoing(&mut pool).concat());
            relay.handle_sent(&mut pool, if chunked_out { 3 } else { 10 });
            if chunked_out {
                relay.handle_sent(&mut pool, 10);
            }
            out.extend([7; 10]);
            out.extend(pass(&mut relay, &mut pool, b"", 1, 1).0);
            assert!(relay.is_complete() && relay.splice_allowed().is_none());
            assert_eq!((relay.received, relay.sent), (23 * 4096 + 100_010, out.len() as u64));
            if chunked_out {
                assert_eq!(unchunk(&out), (vec![7; 23 * 4096 + 100_010], b"\r\n".to_vec()));
            } else {
                assert_eq!(out, vec![7; 23 * 4096 + 100_010]);
            }
        }
    }
}
