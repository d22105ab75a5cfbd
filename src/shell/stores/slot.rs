//! The slot of the present store's client, which a reload may replace, and the counters of all clients so far.
//!
//! A new client takes over when it is connected, or has tried for as long as it may: until then the present one answers, so that a
//! reload fails no question.

use super::{Ready, StoreClient, StoreCounters};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

/// The client of the present store, if one is configured.
#[derive(Default)]
pub struct StoreSlot {
    client: RwLock<Option<StoreClient>>,
    next: Mutex<Next>,
    /// The counters of earlier clients.
    counted: Mutex<StoreCounters>,
}

/// The client that is connecting.
#[derive(Default)]
struct Next {
    client: Option<StoreClient>,
    /// Changes so far: a client that is ready may have been replaced meanwhile.
    changes: u64,
}

impl StoreSlot {
    /// The present client.
    pub fn read(&self) -> RwLockReadGuard<'_, Option<StoreClient>> {
        self.client.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the present client, which ends, at once.
    pub fn replace(&self, client: Option<StoreClient>) {
        self.next().client = None;
        self.set(client);
    }

    /// Replaces the present client by one that `start` starts. If there is one, it answers until the new one is ready, but
    /// reports no more news: two clients would answer each other's.
    pub fn change(self: &Arc<Self>, start: impl FnOnce(Ready) -> io::Result<StoreClient>) -> io::Result<()> {
        // The lock is held until the new client has its place, because it may be ready at once.
        let mut next = self.next();
        next.client = None;
        next.changes += 1;
        let (slot, change) = (Arc::downgrade(self), next.changes);
        let ready: Ready = Box::new(move || {
            if let Some(slot) = slot.upgrade() {
                slot.take_over(change);
            }
        });
        let has_present = self.read().as_ref().inspect(|present| present.mute()).is_some();
        match start(ready) {
            Ok(client) if has_present => next.client = Some(client),
            Ok(client) => self.set(Some(client)),
            Err(error) => {
                self.set(None);
                return Err(error);
            }
        }
        Ok(())
    }

    fn take_over(&self, change: u64) {
        let mut next = self.next();
        let client = if next.changes == change { next.client.take() } else { None };
        if client.is_some() {
            self.set(client);
        }
    }

    fn next(&self) -> MutexGuard<'_, Next> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, client: Option<StoreClient>) {
        let mut place = self.client.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *place, client);
        if let (Some(before), Some(client)) = (&before, place.as_ref()) {
            client.take_over_orders(before);
        }
        if let Some(before) = &before {
            self.counted.lock().unwrap_or_else(PoisonError::into_inner).add(&before.counters());
        }
        drop(place);
        // The end of a store in this process waits for its thread: not while loops wait for the slot.
        drop(before);
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
