//! Fetched networks of clouds replace older ones: all loops get another guard as a whole, and no counter changes.

use super::configuration::engine_settings;
use super::control::{Control, Present, Shared};
use crate::guard::clouds::{CloudError, Provider, Ranges};
use crate::guard::rules::Guard;
use crate::shell::{CloudRefresher, CloudSources, WorkerMessage};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

impl Control {
    /// Fetches these networks from now on. The first call with networks starts the thread.
    pub(super) fn fetch_clouds(&self, sources: CloudSources) {
        let Some(parts) = self.shared().parts().map(|parts| &parts.clouds) else { return };
        let mut refresher = parts.refresher.lock().unwrap_or_else(PoisonError::into_inner);
        let closed = self.shared().closed.load(Ordering::Relaxed);
        if refresher.is_none() && !closed && sources != CloudSources::default() {
            // A strong reference would keep the proxy alive whose end stops the thread.
            let shared = Arc::downgrade(self.shared());
            let adopt = move |provider, ranges: &Arc<Ranges>, unix_ms| match shared.upgrade() {
                Some(shared) => adopt(&shared, provider, ranges, unix_ms),
                None => Ok(()),
            };
            match CloudRefresher::start(Arc::clone(&parts.known), Box::new(adopt)) {
                Ok(started) => *refresher = Some(started),
                Err(error) => log::error!("guard: networks of clouds cannot be fetched: {error}"),
            }
        }
        if let Some(refresher) = refresher.as_ref() {
            refresher.set(sources);
        }
    }
}

/// Gives a fetched set to all loops.
fn adopt(shared: &Shared, provider: Provider, ranges: &Arc<Ranges>, unix_ms: u64) -> Result<(), CloudError> {
    let Some(parts) = shared.parts() else { return Ok(()) };
    let _changing = shared.change();
    let mut present = shared.lock();
    let Some(directives) = present.directives.clone() else { return Ok(()) };
    let change_max = directives.cloud_fetch.change_max;
    if !parts.clouds.known.adopt(provider, ranges, unix_ms, change_max)? {
        return Ok(());
    }
    let guard = Guard::new(&directives, Arc::clone(&parts.state), &parts.clouds.known.clouds());
    present.guard = Some(Arc::new(guard));
    swap_guard(shared, &present);
    Ok(())
}

/// Sends the present guard to all loops. Everything else stays as it is.
fn swap_guard(shared: &Shared, present: &Present) {
    let Present { settings, guard, .. } = present;
    let of_gateway = (shared.gateway.get(), &*shared.gateway.listeners);
    let store = shared.store.clone();
    let engine = engine_settings(settings, &shared.listeners, shared.seed, store, guard.clone(), of_gateway);
    let (format, every) = (settings.log_format, settings.stats_every);
    shared.send(&WorkerMessage::SetSettings(Arc::new(engine), format, every));
}
