//! The slot of the present store's client, which a reload may replace, and the counters of all clients so far.

use super::{StoreClient, StoreCounters};
use std::fmt;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};

/// The client of the present store, if one is configured.
#[derive(Default)]
pub struct StoreSlot {
    client: RwLock<Option<StoreClient>>,
    /// The counters of earlier clients.
    counted: Mutex<StoreCounters>,
}

impl StoreSlot {
    /// The present client.
    pub fn read(&self) -> RwLockReadGuard<'_, Option<StoreClient>> {
        self.client.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the present client, which ends.
    pub fn replace(&self, client: Option<StoreClient>) {
        let mut place = self.client.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = std::mem::replace(&mut *place, client) {
            self.counted.lock().unwrap_or_else(PoisonError::into_inner).add(&before.counters());
        }
    }

    /// The counters of all clients; `None` if there never was one.
    pub fn counters(&self) -> Option<StoreCounters> {
        let client = self.read();
        let mut counters = *self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        match client.as_ref() {
            Some(client) => counters.add(&client.counters()),
            None if counters == StoreCounters::default() => return None,
            None => {}
        }
        Some(counters)
    }
}

impl fmt::Debug for StoreSlot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("StoreSlot").finish_non_exhaustive()
    }
}
