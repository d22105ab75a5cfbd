//! What the engine gives up when the process comes close to its memory limit, in the order in which the shell calls.

use super::Engine;
use crate::time::Now;

impl Engine {
    /// Evicts entries of the cache, the least recently used first, until `bytes` bytes are free, or none is left. Returns the
    /// number of entries evicted.
    pub fn shed_cache(&mut self, now: Now, bytes: usize) -> u64 {
        let Some(cache) = &self.cx.settings.cache else { return 0 };
        let evicted = cache.store.shed(now.unix_us, bytes);
        self.cx.metrics.limit_memory_cache += evicted;
        evicted
    }

    /// Closes all idle upstream connections, as in a shortage of descriptors, and counts them for memory.
    pub fn shed_origins(&mut self) {
        let before = self.cx.metrics.origins_shed;
        self.shed_idle_origins();
        self.cx.metrics.limit_memory_origins += self.cx.metrics.origins_shed - before;
    }

    /// Sets whether new requests wait because memory is scarce. Requests under way continue.
    pub fn set_scarce(&mut self, scarce: bool) {
        self.cx.metrics.limit_memory_clients += u64::from(scarce && !self.cx.pool.is_scarce());
        self.cx.pool.set_scarce(scarce);
        if !scarce {
            // The others are woken in later turns.
            self.cx.connections.unpark_next(&self.cx.pool);
        }
    }
}
