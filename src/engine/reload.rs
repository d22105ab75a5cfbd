//! What a reload replaces: rules and users, settings, name servers.

use super::Engine;
use super::settings::{CacheSettings, Settings};
use crate::engine::cache::hit_response::Signature;
use crate::policy::Policy;
use crate::resolver;
use crate::time::Now;
use std::sync::Arc;

impl Engine {
    /// Judges requests by another policy from now on. Exchanges under way keep the one they began with.
    pub fn set_policy(&mut self, policy: Arc<Policy>) {
        self.policy = policy;
        // A rule may be about what a name has meant.
        self.origins.forget_addresses();
        // Those that wait to be used again would keep the old rules in memory.
        self.spare_transactions.clear();
    }

    /// Goes by other settings from now on, as far as they can change: not by another number of loops or blocks, not with
    /// another cache, not at other addresses. Exchanges under way keep those they began with, except for time-outs.
    pub fn set_settings(&mut self, now: Now, settings: Settings) {
        let Settings { loops, blocks_max, splices, client_prefix6, seed, .. } = *self.settings;
        let store = self.store();
        let cache = settings.cache.clone().zip(store).map(|(cache, store)| CacheSettings { store, ..cache });
        let listeners = self.settings.listeners.clone();
        let settings =
            Settings { loops, blocks_max, splices, client_prefix6, seed, cache, listeners, ..settings };
        self.origins.set_limits(settings.origins_idle_max, settings.origins_idle_per_authority_max);
        while let Some(excess) = self.origins.any_surplus() {
            self.metrics.origins_shed += 1;
            self.close_origin(excess);
        }
        self.client_limits.set_limits(&settings);
        self.signature = Signature::new(&settings);
        self.settings = Arc::new(settings);
        // Those that wait to be used again would begin with the old ones.
        self.spare_transactions.clear();
        self.finish(now);
    }

    /// Resolves names by other settings from now on.
    pub fn set_resolver(&mut self, now: Now, settings: resolver::Settings, hosts: resolver::Hosts) {
        self.resolver.reconfigure(settings, hosts);
        self.origins.forget_addresses();
        self.finish(now);
    }
}
