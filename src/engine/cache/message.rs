//! The messages between loops about keys that they fetch.

use crate::cache::fill::streaming_body::Portion;
use crate::engine::cache::collapse::CollapseOutcome;
use crate::engine::cache::publication::{End, Publication, Span};
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
    /// The head and the first bytes have arrived, and the rest will follow.
    Begins(Arc<Publication>, Arc<Portion>),
    /// The next bytes, and whether the whole body is kept.
    Continues(Weak<Publication>, Arc<Portion>, bool),
    /// The end.
    Ends(Weak<Publication>, End),
    /// A transaction of another loop has begun to wait: a response that is arriving already is published.
    Wanted,
    /// The positions of the readers in the sending loop; `None` if that loop has unsubscribed.
    Read(Weak<Publication>, Option<Span>),
    /// Readers that are not so far hold others up.
    Behind(Weak<Publication>, u64),
}
