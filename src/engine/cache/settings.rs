//! What the engine is told about caching.

use crate::cache::rfc::freshness::Freshness;
use crate::cache::store::Store;
use std::sync::Arc;

/// What the engine is told about caching.
#[derive(Clone, Debug)]
pub struct CacheSettings {
    /// The store of all loops.
    pub store: Arc<Store>,
    /// What is guessed and what is not.
    pub freshness: Freshness,
    /// Names of fields that count in place of Cache-Control, the most important first.
    pub targeted: Vec<String>,
    /// Say in Cache-Status what the cache did.
    pub status: bool,
    /// From where PURGE is taken.
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
