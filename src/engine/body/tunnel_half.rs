//! One direction of a tunnel, which is quiet most of the time: it has a relay only while there are bytes for one.

use crate::engine::body::outgoing::Outgoing;
use crate::engine::body::relay::{Relay, SPLICE_BYTES_MAX};
use crate::http::framing::Body;
use crate::net::{BLOCK_BYTES, Pool, Purpose, Space};
use std::num::NonZeroU32;

/// A relay's place among those of all tunnels, counted from 1: a half without one is no larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RelayId(NonZeroU32);

/// The relays of all tunnels. They are used again as they are: to make one anew and drop it costs twice as much.
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

    /// Whether no tunnel has one.
    pub fn are_free(&self) -> bool {
        self.free.len() == self.all.len()
    }

    /// Gives their memory back if no tunnel has one.
    pub fn shrink(&mut self) {
        if self.are_free() {
            *self = Relays::default();
        }
    }
}

/// One direction of a tunnel. Which of the two, and how much has passed, the tunnel knows.
#[derive(Debug)]
pub(in crate::engine) struct TunnelHalf {
    relay: Option<RelayId>,
    /// Bytes on their way inside the kernel.
    piped: u32,
    /// As many blocks as the next read may fill; more than one while the direction is busy.
    blocks: u8,
    /// Nothing more comes from the source.
    received_all: bool,
    /// The sink was told so.
    pub ended: bool,
}

impl TunnelHalf {
    /// Takes over what a transaction has left in a relay, to be sent first.
    pub fn new(relays: &mut Relays, purpose: Purpose, left: &mut Relay) -> TunnelHalf {
        let mut half = TunnelHalf { relay: None, piped: 0, blocks: 1, received_all: false, ended: false };
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

    /// Whether the source has finished.
    pub fn is_received(&self) -> bool {
        self.received_all
    }

    /// Whether there is room for more.
    pub fn wants_bytes(&self, relays: &Relays) -> bool {
        !self.received_all && self.piped == 0 && self.relay.is_none_or(|id| relays.get(id).wants_bytes())
    }

    /// Whether there is anything to send.
    pub fn wants_send(&self, relays: &Relays) -> bool {
        self.piped > 0 || self.relay.is_some_and(|id| relays.get(id).wants_send())
    }

    /// How many bytes may go from source to sink without being looked at, if that is worth it.
    pub fn splice_allowed(&self, relays: &Relays) -> Option<usize> {
        (self.blocks > 1 && self.relay.is_none() && self.wants_bytes(relays)).then_some(SPLICE_BYTES_MAX)
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
    }

    /// Reports that so many bytes have left the source and are on their way to the sink inside the kernel.
    pub fn handle_spliced(&mut self, count: usize) {
        self.piped = count as u32;
        if count < BLOCK_BYTES {
            self.blocks = 1;
        }
    }

    /// What to send next, in order; nothing while that is inside the kernel.
    pub fn outgoing<'s>(&self, pool: &'s mut Pool, relays: &'s mut Relays) -> Outgoing<'s> {
        match self.relay {
            Some(id) => relays.get_mut(id).outgoing(pool),
            None => Outgoing::nothing(),
        }
    }

    /// Reports that the first `count` bytes of the slices were sent, or of what is inside the kernel if there were none.
    pub fn handle_sent(&mut self, pool: &mut Pool, relays: &mut Relays, count: usize) {
        match self.relay {
            Some(id) => relays.get_mut(id).handle_sent(pool, count),
            None => self.piped -= (count as u32).min(self.piped),
        }
        self.rest(relays);
    }

    /// Lets go of a relay that carries nothing.
    fn rest(&mut self, relays: &mut Relays) {
        if let Some(id) = self.relay.take_if(|id| !relays.get(*id).wants_send()) {
            relays.put(id);
        }
    }

    /// The source's stream has ended.
    pub fn handle_end(&mut self) {
        self.received_all = true;
    }

    /// Nothing more is expected from the source, nor sent to the sink.
    pub fn abandon(&mut self, pool: &mut Pool, relays: &mut Relays) {
        self.received_all = true;
        self.release(pool, relays);
    }

    /// Gives all memory back; what was waiting is lost.
    pub fn release(&mut self, pool: &mut Pool, relays: &mut Relays) {
        if let Some(id) = self.relay.take() {
            relays.get_mut(id).release(pool);
            relays.put(id);
        }
        self.piped = 0;
    }
}
