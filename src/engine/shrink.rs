//! Giving back what a burst has left behind: blocks, and the tables of those who are gone.

use super::Engine;

/// Peers for which tables are kept in any case (chosen: 100 KB or so).
const PEERS_KEPT: usize = 1024;

impl Engine {
    /// Whether there is memory that may become needless; then `shrink` is to be called after some seconds.
    pub fn may_shrink(&self) -> bool {
        self.pool.may_shrink() || self.has_wide_tables()
    }

    /// Whether most of the tables is empty. Somebody who stays at their end may keep them so: then they are not looked at
    /// again until they have grown, or half of those have gone who were left.
    fn has_wide_tables(&self) -> bool {
        let (capacity, left) = self.peers_shrunk;
        let (now, peers) = (self.peers.capacity(), self.peers.len());
        now > 2 * PEERS_KEPT && now > 4 * peers && (now != capacity || 2 * peers < left)
    }

    /// Whether the cache has left the allocator memory that it does not use any more, see [`Store::should_trim`].
    ///
    /// [`Store::should_trim`]: crate::cache::store::Store::should_trim
    pub fn should_trim(&self) -> bool {
        self.settings.cache.as_ref().is_some_and(|cache| cache.store.should_trim())
    }

    /// Gives back memory that was not needed since the last call. False if there was none.
    pub fn shrink(&mut self) -> bool {
        let lately = std::mem::replace(&mut self.peers_lately, self.peers.len());
        let tables = self.has_wide_tables() && self.peers.capacity() > 2 * lately;
        let shrinks = self.pool.shrink() || tables;
        if shrinks {
            // Nor was what is kept to be used again.
            self.spare_transactions = Vec::new();
            self.spare_records = Vec::new();
            self.peers.shrink_to_fit();
            self.peers_shrunk = (self.peers.capacity(), self.peers.len());
            self.readings.shrink_to_fit();
            self.transactions.shrink_to_fit();
            self.tunnels.shrink_to_fit();
            self.relays.shrink();
            for queue in &mut self.parked {
                queue.shrink_to_fit();
            }
            self.actions.shrink_to_fit();
            self.runnable.shrink_to_fit();
        }
        shrinks
    }
}
