//! What the engine gives up when the process comes close to the memory that it may have, in the order in which the shell asks.

use super::Engine;
use crate::time::Now;

impl Engine {
    /// Evicts entries of the cache, the least recently used first, until so many bytes are free, or none is left. Returns how
    /// many entries there were.
    pub fn shed_cache(&mut self, now: Now, bytes: usize) -> u64 {
        let Some(cache) = &self.cx.settings.cache else { return 0 };
        let evicted = cache.store.shed(now.unix_us, bytes);
        self.cx.metrics.limit_memory_cache += evicted;
        evicted
    }

    /// Closes all idle upstream connections, as for want of descriptors, and counts what they were closed for.
    pub fn shed_origins(&mut self) {
        let before = self.cx.metrics.origins_shed;
        self.shed_idle_origins();
        self.cx.metrics.limit_memory_origins += self.cx.metrics.origins_shed - before;
    }

    /// Whether new requests wait, as for want of a block, because memory is scarce. What is under way goes on.
    pub fn set_scarce(&mut self, scarce: bool) {
        self.cx.metrics.limit_memory_clients += u64::from(scarce && !self.cx.pool.is_scarce());
        self.cx.pool.set_scarce(scarce);
        if !scarce {
            // The others follow, each with the turn of the one before.
            self.cx.connections.unpark_next(&self.cx.pool);
        }
    }
}
