//! The settings of caching.

use crate::cache::rfc::freshness::Freshness;
use crate::cache::store::Store;
use std::sync::Arc;

/// The settings of caching.
#[derive(Clone, Debug)]
pub struct CacheSettings {
    /// The store of all loops.
    pub store: Arc<Store>,
    /// The settings of freshness.
    pub freshness: Freshness,
    /// Names of fields that count in place of Cache-Control, the most important first.
    pub targeted: Vec<String>,
    /// Whether to send Cache-Status.
    pub status: bool,
    /// The networks whose PURGE requests are accepted.
    pub purge_from: Vec<ipnet::IpNet>,
}

impl CacheSettings {
    /// The defaults over a store.
    pub fn new(store: Arc<Store>) -> CacheSettings {
        CacheSettings {
            store,
            freshness: Freshness::default(),
            targeted: Vec::new(),
            status: true,
            purge_from: Vec::new(),
        }
    }
}
