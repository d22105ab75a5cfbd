//! What a loop gives up when the process comes close to its memory limit, in this order.

use super::pressure::{CACHE, CLIENTS, CODE, ORIGINS, Used};
use super::{EventLoop, memory};

impl EventLoop {
    /// Gives up as much as keeps the process within its limit.
    pub(super) fn relieve(&mut self) {
        let Some(Used { with_code, parts, excess }) = self.shortage.memory.look(self.now) else { return };
        let trims = with_code >= CODE && self.shortage.memory.may_trim(self.now);
        if trims {
            memory::drop_code();
        }
        if parts >= CACHE {
            let evicted = self.engine.shed_cache(self.now, usize::try_from(excess).unwrap_or(usize::MAX));
            if evicted > 0 || trims {
                self.trim();
            }
        }
        if parts >= ORIGINS {
            self.engine.shed_upstreams();
            self.carry_out_actions();
            self.ask_others_to_shed();
        }
        let closed = parts >= CLIENTS;
        if closed && self.shortage.may_warn(self.now) {
            log::warn!("memory is used up: connections and requests wait");
        }
        if closed || self.shortage.memory.closed {
            self.engine.set_scarce(closed);
            self.carry_out_actions();
        }
        self.shortage.memory.closed = closed;
    }

    /// Makes the allocator return free memory.
    pub(super) fn trim(&self) {
        if self.returns.trims {
            memory::trim();
        }
    }
}
