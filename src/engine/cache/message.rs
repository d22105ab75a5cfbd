//! The messages between loops about keys that they fetch.

use crate::cache::fill::shared_fill::SharedFill;
use crate::engine::cache::collapse::CollapseOutcome;
use std::sync::{Arc, Weak};

/// A message about a key that one loop fetches.
#[derive(Clone, Debug)]
pub struct Message {
    pub(in crate::engine) hash: u64,
    pub(in crate::engine) event: FillEvent,
}

#[derive(Clone, Debug)]
pub(in crate::engine) enum FillEvent {
    /// The response, or its rest, is not stored: each loop must ask the origin by itself.
    Alone,
    /// The request has ended.
    Over(CollapseOutcome),
    /// A transaction of another loop has begun to wait: a response that is arriving already is shared.
    Wanted,
    /// The head has arrived, and loops with waiting transactions may subscribe.
    Begins(Arc<SharedFill>),
    /// The receiving loop has shared something: it wakes the subscribers.
    Grown(Weak<SharedFill>),
    /// Readers of a subscriber have read something, or it has unsubscribed: it wakes the receiving loop.
    Read(Weak<SharedFill>),
}
