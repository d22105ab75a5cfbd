//! One direction of a tunnel, which is quiet most of the time: it has a relay only while there are bytes for one.

use super::relay::{MOVE_BYTES_MAX, Relay, SLICES_MAX};
use crate::buffer::{BLOCK_BYTES, Pool, Purpose, Space};
use crate::http::framing::Body;

/// Relays kept for reuse (chosen: one thread passes the bytes of a few tunnels at a time).
const SPARE_RELAYS_MAX: usize = 64;

/// Relays that carry nothing.
#[derive(Debug, Default)]
pub(super) struct SpareRelays(
    // Boxes, because that is how they are handed out and taken back.
    #[allow(clippy::vec_box)] Vec<Box<Relay>>,
);

impl SpareRelays {
    fn take(&mut self, purpose: Purpose) -> Box<Relay> {
        let mut relay = self.0.pop().unwrap_or_else(|| Box::new(Relay::new(purpose)));
        relay.reset(purpose);
        relay.frame(Body::UntilClose, false);
        relay
    }

    fn put(&mut self, relay: Box<Relay>) {
        if self.0.len() < SPARE_RELAYS_MAX {
            self.0.push(relay);
        }
    }
}

/// One direction of a tunnel. Which of the two, and how much has passed, the tunnel knows.
#[derive(Debug)]
pub(super) struct Lane {
    relay: Option<Box<Relay>>,
    /// Bytes on their way inside the kernel.
    piped: u32,
    /// As many blocks as the next read may fill; more than one while the direction is busy.
    blocks: u8,
    /// Nothing more comes from the source.
    received_all: bool,
    /// The sink was told so.
    pub ended: bool,
}

impl Lane {
    /// Takes over what an exchange has left in a relay, to be sent first.
    pub fn new(spares: &mut SpareRelays, purpose: Purpose, left: &mut Relay) -> Lane {
        let mut lane = Lane { relay: None, piped: 0, blocks: 1, received_all: false, ended: false };
        if left.wants_send() {
            let mut relay = spares.take(purpose);
            std::mem::swap(&mut *relay, left);
            relay.frame(Body::UntilClose, false);
            lane.relay = Some(relay);
        }
        lane
    }

    /// Whether everything was received and sent.
    pub fn is_complete(&self) -> bool {
        self.received_all && !self.wants_send()
    }

    /// Whether the source has finished.
    pub fn is_received(&self) -> bool {
        self.received_all
    }

    /// Whether there is room for more.
    pub fn wants_bytes(&self) -> bool {
        !self.received_all && self.piped == 0 && self.relay.as_ref().is_none_or(|relay| relay.wants_bytes())
    }

    /// Whether there is anything to send.
    pub fn wants_send(&self) -> bool {
        self.piped > 0 || self.relay.as_ref().is_some_and(|relay| relay.wants_send())
    }

    /// How many bytes may go from source to sink without being looked at, if that is worth it.
    pub fn movable(&self) -> Option<usize> {
        (self.blocks > 1 && self.relay.is_none() && self.wants_bytes()).then_some(MOVE_BYTES_MAX)
    }

    /// Room to receive into; `None` if the pool has no block to lend.
    pub fn space<'p>(
        &mut self,
        pool: &'p mut Pool,
        spares: &mut SpareRelays,
        purpose: Purpose,
    ) -> Option<Space<'p>> {
        let relay = self.relay.get_or_insert_with(|| {
            let mut relay = spares.take(purpose);
            relay.set_blocks(self.blocks);
            relay
        });
        relay.space(pool)
    }

    /// Takes back space that was lent and not used.
    pub fn release_unused(&mut self, pool: &mut Pool, spares: &mut SpareRelays) {
        if let Some(relay) = &mut self.relay {
            relay.release_unused(pool);
        }
        self.rest(spares);
    }

    /// Reports that `count` bytes were received into the space.
    pub fn handle_received(&mut self, pool: &mut Pool, count: usize) {
        let Some(relay) = &mut self.relay else { return };
        // A tunnel's bytes have no grammar to break and no end to exceed.
        let _ = relay.handle_received(pool, count, &mut Vec::new());
        self.blocks = relay.blocks();
    }

    /// Reports that so many bytes have left the source and are on their way to the sink inside the kernel.
    pub fn handle_moved(&mut self, count: usize) {
        self.piped = count as u32;
        if count < BLOCK_BYTES {
            self.blocks = 1;
        }
    }

    /// What to send next, in order; nothing while that is inside the kernel.
    pub fn slices<'s>(&'s mut self, pool: &'s mut Pool) -> [&'s [u8]; SLICES_MAX] {
        self.relay.as_mut().map_or([&[]; SLICES_MAX], |relay| relay.slices(pool))
    }

    /// Reports that the first `count` bytes of the slices were sent, or of what is inside the kernel if there were none.
    pub fn handle_sent(&mut self, pool: &mut Pool, spares: &mut SpareRelays, count: usize) {
        match &mut self.relay {
            Some(relay) => relay.handle_sent(pool, count),
            None => self.piped -= (count as u32).min(self.piped),
        }
        self.rest(spares);
    }

    /// Lets go of a relay that carries nothing.
    fn rest(&mut self, spares: &mut SpareRelays) {
        if let Some(relay) = self.relay.take_if(|relay| !relay.wants_send()) {
            spares.put(relay);
        }
    }

    /// The source's stream has ended.
    pub fn handle_end(&mut self) {
        self.received_all = true;
    }

    /// Nothing more is expected from the source, nor sent to the sink.
    pub fn abandon(&mut self, pool: &mut Pool) {
        self.received_all = true;
        self.release(pool);
    }

    /// Gives all memory back; what was waiting is lost.
    pub fn release(&mut self, pool: &mut Pool) {
        if let Some(mut relay) = self.relay.take() {
            relay.release(pool);
        }
        self.piped = 0;
    }
}
