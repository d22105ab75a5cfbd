//! Requests that wait because their client has broken a behaviour rule and is delayed.
//!
//! A request waits for the time of its place in the client's queue (see [`Throttles`](crate::guard::behaviour::throttles)),
//! and keeps its connection and the block of its head. Afterwards it is not counted again. The entry of a client that closes
//! meanwhile stays, without effect: the longest delay bounds the life of an entry, too.

use crate::engine::context::Context;
use crate::engine::ids::TransactionId;
use crate::time::Now;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The requests of one loop that wait.
#[derive(Debug, Default)]
pub(in crate::engine) struct ThrottleWaits {
    /// When each continues, in microseconds since the loop started, with index and serial of its transaction; the next one first.
    due: BinaryHeap<Reverse<(u64, u32, u32)>>,
}

impl ThrottleWaits {
    /// Lets a request wait.
    pub fn begin(&mut self, cx: &mut Context, id: TransactionId, wait_us: u64) {
        self.due.push(Reverse((cx.now.monotonic_us.saturating_add(wait_us), id.index, id.serial)));
        cx.metrics.guard_throttled += 1;
    }

    /// Removes the next request that is due.
    pub fn next_due(&mut self, now: Now) -> Option<TransactionId> {
        let Reverse((due_us, index, serial)) = *self.due.peek()?;
        if due_us > now.monotonic_us {
            return None;
        }
        self.due.pop();
        Some(TransactionId { index, serial })
    }

    /// When the first one continues, in microseconds since the loop started.
    pub fn next_timeout_us(&self) -> Option<u64> {
        self.due.peek().map(|Reverse((due_us, _, _))| *due_us)
    }
}
