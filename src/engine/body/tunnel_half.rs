//! One direction of a tunnel, which is idle most of the time: it has a relay only while it has bytes for one.

use crate::engine::body::outgoing::Outgoing;
use crate::engine::body::relay::{Relay, SPLICE_BYTES_MAX};
use crate::http::framing::Body;
use crate::net::{BLOCK_BYTES, Pool, Purpose, Space};
use std::num::NonZeroU32;

/// The index of a relay among those of all tunnels, counted from 1, so that an `Option` of it is no larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RelayId(NonZeroU32);

/// The relays of all tunnels. They are reused: creating and dropping one costs twice as much.
#[derive(Debug, Default)]
pub(in crate::engine) struct Relays {
    all: Vec<Relay>,
    free: Vec<RelayId>,
}

impl Relays {
    fn take(&mut self, purpose: Purpose) -> RelayId {
        let id = self.free.pop().unwrap_or_else(|| {
            let place = NonZeroU32::MIN.saturating_add(self.all.len() as u32);
            self.all.push(Relay::new(purpose));
            RelayId(place)
        });
        let relay = self.get_mut(id);
        relay.reset(purpose);
        relay.frame(Body::UntilClose, false);
        id
    }

    /// Takes one back that carries nothing.
    fn put(&mut self, id: RelayId) {
        self.free.push(id);
    }

    fn get(&self, RelayId(place): RelayId) -> &Relay {
        &self.all[place.get() as usize - 1]
    }

    fn get_mut(&mut self, RelayId(place): RelayId) -> &mut Relay {
        &mut self.all[place.get() as usize - 1]
    }

    /// Whether no tunnel has a relay.
    pub fn are_free(&self) -> bool {
        self.free.len() == self.all.len()
    }

    /// Releases the relays if no tunnel has one.
    pub fn shrink(&mut self) {
        if self.are_free() {
            *self = Relays::default();
        }
    }
}

/// What has become of the side that a half sends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Sink {
    /// It takes bytes.
    Open,
    /// It has got a FIN.
    Ended,
    /// It has closed after it had sent everything. Bytes for it are discarded, so that the source is not stopped.
    Closed,
    /// It was reset. Bytes for it are discarded as well.
    Reset,
}

/// One direction of a tunnel. The tunnel knows which direction it is, and the number of bytes so far.
#[derive(Debug)]
pub(in crate::engine) struct TunnelHalf {
    relay: Option<RelayId>,
    /// Bytes on their way inside the kernel.
    in_pipe: u32,
    /// The number of blocks that the next read may fill; more than one while the direction is busy.
    blocks: u8,
    /// The source has ended.
    received_all: bool,
    pub sink: Sink,
}

impl TunnelHalf {
    /// Takes the unsent bytes of a transaction's relay, to send them first.
    pub fn new(relays: &mut Relays, purpose: Purpose, left: &mut Relay) -> TunnelHalf {
        let mut half =
            TunnelHalf { relay: None, in_pipe: 0, blocks: 1, received_all: false, sink: Sink::Open };
        if left.wants_send() {
            let id = relays.take(purpose);
            std::mem::swap(relays.get_mut(id), left);
            relays.get_mut(id).frame(Body::UntilClose, false);
            half.relay = Some(id);
        }
        half
    }

    /// Whether everything was received and sent.
    pub fn is_complete(&self, relays: &Relays) -> bool {
        self.received_all && !self.wants_send(relays)
    }

    /// Whether the sink gets nothing more.
    pub fn has_ended(&self) -> bool {
        self.sink != Sink::Open
    }

    /// Whether bytes of the source are thrown away.
    pub fn discards(&self) -> bool {
        match self.sink {
            Sink::Open | Sink::Ended => false,
            Sink::Closed | Sink::Reset => true,
        }
    }

    /// Whether the source has finished.
    pub fn is_received(&self) -> bool {
        self.received_all
    }

    /// Whether the half can receive more.
    pub fn wants_bytes(&self, relays: &Relays) -> bool {
        !self.received_all && self.in_pipe == 0 && self.relay.is_none_or(|id| relays.get(id).wants_bytes())
    }

    /// Whether bytes must be sent.
    pub fn wants_send(&self, relays: &Relays) -> bool {
        self.in_pipe > 0 || self.relay.is_some_and(|id| relays.get(id).wants_send())
    }

    /// The number of bytes that may go from source to sink without being read, if splicing is worth it.
    pub fn splice_allowed(&self, relays: &Relays) -> Option<usize> {
        let allowed = self.blocks > 1 && self.relay.is_none() && !self.discards() && self.wants_bytes(relays);
        allowed.then_some(SPLICE_BYTES_MAX)
    }

    /// Room to receive into; `None` if the pool has no block to lend.
    pub fn space<'p>(
        &mut self,
        pool: &'p mut Pool,
        relays: &mut Relays,
        purpose: Purpose,
    ) -> Option<Space<'p>> {
        let id = *self.relay.get_or_insert_with(|| {
            let id = relays.take(purpose);
            relays.get_mut(id).set_blocks(self.blocks);
            id
        });
        relays.get_mut(id).space(pool)
    }

    /// Takes back space that was lent and not used.
    pub fn release_unused(&mut self, pool: &mut Pool, relays: &mut Relays) {
        if let Some(id) = self.relay {
            relays.get_mut(id).release_unused(pool);
        }
        self.rest(relays);
    }

    /// Reports that `count` bytes were received into the space.
    pub fn handle_received(&mut self, pool: &mut Pool, relays: &mut Relays, count: usize) {
        let Some(id) = self.relay else { return };
        let relay = relays.get_mut(id);
        // A tunnel's bytes have no grammar to break and no end to exceed.
        let _ = relay.handle_received(pool, count, &mut Vec::new());
        self.blocks = relay.blocks();
        if self.discards() {
            self.release(pool, relays);
        }
    }

    /// Reports that so many bytes have left the source and are on their way to the sink inside the kernel.
    pub fn handle_spliced(&mut self, count: usize) {
        self.in_pipe = count as u32;
        if count < BLOCK_BYTES {
            self.blocks = 1;
        }
    }

    /// The bytes to send next, in order; empty if they are inside the kernel.
    pub fn outgoing<'s>(&self, pool: &'s mut Pool, relays: &'s mut Relays) -> Outgoing<'s> {
        match self.relay {
            Some(id) => relays.get_mut(id).outgoing(pool),
            None => Outgoing::nothing(),
        }
    }

    /// Reports that the first `count` bytes of the slices were sent, or bytes from the kernel if there were no slices.
    pub fn handle_sent(&mut self, pool: &mut Pool, relays: &mut Relays, count: usize) {
        match self.relay {
            Some(id) => relays.get_mut(id).handle_sent(pool, count),
            None => self.in_pipe -= (count as u32).min(self.in_pipe),
        }
        self.rest(relays);
    }

    /// Gives a relay without bytes back.
    fn rest(&mut self, relays: &mut Relays) {
        if let Some(id) = self.relay.take_if(|id| !relays.get(*id).wants_send()) {
            relays.put(id);
        }
    }

    /// The source's stream has ended.
    pub fn handle_end(&mut self) {
        self.received_all = true;
    }

    /// The sink takes nothing more: bytes for it are lost, and those that the source still sends.
    pub fn lose_sink(&mut self, pool: &mut Pool, relays: &mut Relays, sink: Sink) {
        if !self.discards() {
            self.sink = sink;
            self.release(pool, relays);
        }
    }

    /// Releases all memory; unsent bytes are lost.
    pub fn release(&mut self, pool: &mut Pool, relays: &mut Relays) {
        if let Some(id) = self.relay.take() {
            relays.get_mut(id).release(pool);
            relays.put(id);
        }
        self.in_pipe = 0;
    }
}
