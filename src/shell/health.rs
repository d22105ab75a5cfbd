//! The health of a proxy, for observers outside of the process.

use crate::metrics::Snapshot;

/// The health of a proxy.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// The numbers of the proxy.
    pub snapshot: Snapshot,
    /// Every loop turns, or the proxy is still starting.
    pub alive: bool,
    /// The proxy accepts connections, and does not drain.
    pub ready: bool,
}
