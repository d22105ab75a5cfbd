//! The place of the client of the present store, which a reload may change, and what all its clients have counted.

use super::{StoreClient, StoreCounters};
use std::fmt;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};

/// The client of the present store, if there is one.
#[derive(Default)]
pub struct StoreSlot {
    client: RwLock<Option<StoreClient>>,
    /// What the clients have counted that were here before.
    counted: Mutex<StoreCounters>,
}

impl StoreSlot {
    /// The present client.
    pub fn read(&self) -> RwLockReadGuard<'_, Option<StoreClient>> {
        self.client.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts another client, or none, in the place of the present one, which ends.
    pub fn replace(&self, client: Option<StoreClient>) {
        let mut place = self.client.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = std::mem::replace(&mut *place, client) {
            self.counted.lock().unwrap_or_else(PoisonError::into_inner).add(&before.counters());
        }
    }

    /// What all of them have counted; `None` if there never was one.
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
