//! How it is with a proxy, for who looks from outside.

use crate::metrics::Snapshot;

/// How it is with a proxy.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Its numbers.
    pub snapshot: Snapshot,
    /// Every loop turns, or there is none yet.
    pub alive: bool,
    /// It takes connections, and is not about to stop.
    pub ready: bool,
}
