//! What the engine gives up when the process comes close to its memory limit, in the order in which the shell calls.

use super::context::Context;
use super::dispatch::Machines;
use crate::time::Now;

impl Context {
    /// Evicts entries of the cache, the least recently used first, until `bytes` bytes are free, or none is left. Returns the
    /// number of entries evicted.
    pub fn shed_cache(&mut self, now: Now, bytes: usize) -> u64 {
        let Some(cache) = &self.settings.cache else { return 0 };
        let evicted = cache.store.shed(now.unix_us, bytes);
        self.metrics.limit_memory_cache += evicted;
        evicted
    }

    /// Sets whether new requests wait because memory is scarce. Requests under way continue.
    pub fn set_scarce(&mut self, scarce: bool) {
        self.metrics.limit_memory_clients += u64::from(scarce && !self.pool.is_scarce());
        self.pool.set_scarce(scarce);
        if !scarce {
            // The others are woken in later turns.
            self.connections.unpark_next(&self.pool);
        }
    }
}

impl Machines {
    /// Closes all upstream connections that no client waits for. False if there were none.
    pub fn shed_idle_upstreams(&mut self, cx: &mut Context) -> bool {
        let fills = self.services.fills.built();
        let any = fills.is_some_and(|fills| fills.shed_unread(cx)) | self.services.upstreams.shed_idle(cx);
        self.carry_out_effects(cx);
        any
    }

    /// Closes them as in a shortage of descriptors, and counts the idle ones for memory.
    pub fn shed_upstreams(&mut self, cx: &mut Context) {
        let before = cx.metrics.origins_shed;
        self.shed_idle_upstreams(cx);
        cx.metrics.limit_memory_origins += cx.metrics.origins_shed - before;
    }
}
