//! Who is looked at next.

use super::{Engine, PeerId};

impl Engine {
    /// The next peer that may be able to read or write.
    pub fn next_runnable(&mut self) -> Option<PeerId> {
        self.unpark_next();
        let id = self.runnable.pop_front()?;
        if let Some(peer) = self.peers.get_mut(id.index()) {
            peer.queued = false;
        }
        Some(id)
    }

    /// Whether anybody is on the run queue.
    pub fn has_runnable(&self) -> bool {
        !self.runnable.is_empty()
    }

    /// From now on the shell reads and writes for this peer until it has neither to read nor to write: whatever happens, nobody
    /// need wake it. A shell that does not say so finds it on the run queue again.
    pub fn begin_turn(&mut self, id: PeerId) {
        self.turn = Some(id);
    }

    /// The shell turns to others.
    pub fn end_turn(&mut self) {
        self.turn = None;
    }

    /// Puts a peer on the run queue, once: because its socket is ready, or its turn was cut short.
    pub fn wake(&mut self, id: PeerId) {
        if self.turn == Some(id) {
            return;
        }
        if let Some(peer) = self.peers.get_mut(id.index()) {
            if !peer.queued {
                peer.queued = true;
                self.runnable.push_back(id);
            }
        }
    }
}
