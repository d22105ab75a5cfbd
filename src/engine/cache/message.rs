//! What the loops tell each other about keys that they fetch.

use crate::cache::fill::streaming_body::Portion;
use crate::engine::cache::collapse::CollapseOutcome;
use crate::engine::cache::publication::{End, Publication, Span};
use std::sync::{Arc, Weak};

/// What loops tell each other about a key that one of them asks for.
#[derive(Clone, Debug)]
pub struct Message {
    pub(in crate::engine) hash: u64,
    pub(in crate::engine) event: FillEvent,
}

#[derive(Clone, Debug)]
pub(in crate::engine) enum FillEvent {
    /// What comes, or the rest of it, is not to be stored: each loop is to ask by itself.
    Alone,
    /// It is over.
    Over(CollapseOutcome),
    /// There is a head, this has come of the body, and the rest will be told.
    Begins(Arc<Publication>, Arc<Portion>),
    /// This comes next, and whether all of it is kept.
    Continues(Weak<Publication>, Arc<Portion>, bool),
    /// There will be no more.
    Ends(Weak<Publication>, End),
    /// A transaction of another loop has begun to wait: if the response is coming already, that is to be told.
    Wanted,
    /// The readers in the loop that sends this are so far; none if that loop has unsubscribed.
    Read(Weak<Publication>, Option<Span>),
    /// Readers that are not so far hold others up.
    Behind(Weak<Publication>, u64),
}
