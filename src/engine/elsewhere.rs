//! One request per key at a time, over all loops (rule 48): waiting for what another loop has asked for.
//!
//! A flight of this loop may be led elsewhere: then its leader is none of this loop's exchanges, and what the leader learns
//! comes as a message. The body of a response lies in the loop that receives it until it is stored; so others wait for
//! the whole of it, and only where that is soon: for a long body each loop asks by itself, and its own requests
//! share that. Before there is a head all wait alike, as all would wait for the origin.

use super::fetch::FetchId;
use super::flight::Landing;
use super::peer::ExchangeId;
use super::{Action, Engine};
use crate::time::Now;

/// The longest body that other loops wait for (chosen: what an origin mostly sends at once).
const SOON_BYTES_MAX: u64 = 64 * 1024;

/// How long they wait for it, once there is a head (chosen: longer than a good origin takes, not so long that anybody would
/// reload the page).
pub(super) const SOON_MS: u64 = 1000;

/// How often a request waits for other loops (chosen: once more, if the first has brought nothing; of a page with many
/// variants somebody always asks for another one).
pub(super) const WAITS_MAX: u8 = 2;

/// What the leader of a flight tells the other loops.
#[derive(Clone, Copy, Debug)]
pub struct Landed {
    hash: u64,
    news: News,
}

#[derive(Clone, Copy, Debug)]
enum News {
    /// There is a head, and the body will not be long.
    Coming,
    /// It will be long: each loop is to ask by itself.
    Long,
    /// It is over.
    Over(Landing),
}

impl Engine {
    /// Another loop has got further with a request that this one waits for.
    pub fn handle_landed(&mut self, now: Now, landed: Landed) {
        let Landed { hash, news } = landed;
        match news {
            News::Coming => {
                let waiters: Vec<ExchangeId> = self.flights.waiting_elsewhere(hash).collect();
                for waiter in waiters {
                    let Some(exchange) = self.exchange_mut(waiter) else { continue };
                    let client = exchange.client;
                    self.deadlines.set(client, now.monotonic_ms(), SOON_MS);
                }
            }
            News::Long => self.fetch_here(hash),
            News::Over(landing) => self.end_waiting(hash, landing, 1),
        }
        self.finish(now);
    }

    /// Those who wait for another loop wait no longer: one of them asks.
    pub(super) fn fetch_here(&mut self, hash: u64) {
        self.end_waiting(hash, Landing::LookAgain, WAITS_MAX);
    }

    fn end_waiting(&mut self, hash: u64, landing: Landing, counts: u8) {
        let waiters = self.flights.give_up_elsewhere(hash);
        for waiter in &waiters {
            if let Some(exchange) = self.exchange_mut(*waiter) {
                exchange.caching.waits = exchange.caching.waits.saturating_add(counts);
            }
        }
        self.let_go(waiters, landing);
    }

    /// Whether somebody asks for that key.
    pub(super) fn is_claimed(&self, hash: u64) -> bool {
        self.settings.cache.as_ref().is_some_and(|cache| cache.store.claims().is_claimed(hash))
    }

    /// Gives the claim of an exchange back.
    pub(super) fn release_claim(&mut self, id: ExchangeId, landing: Landing) {
        let Some(exchange) = self.exchange_mut(id) else { return };
        if let Some(hash) = exchange.caching.claim.take() {
            self.release(hash, News::Over(landing));
        }
    }

    fn release(&mut self, hash: u64, news: News) {
        let awaited = self.settings.cache.as_ref().is_some_and(|cache| cache.store.claims().release(hash));
        if awaited {
            self.actions.push_back(Action::TellLoops(Landed { hash, news }));
        }
    }

    /// The response is to be stored: its fetch holds the claim from now on, if others can wait for it.
    pub(super) fn hand_claim_over(&mut self, from: ExchangeId, to: FetchId, landing: Landing) {
        let Some(hash) = self.exchange_mut(from).and_then(|exchange| exchange.caching.claim.take()) else {
            return;
        };
        let Some(fetch) = to.get_mut(&mut self.fetches) else {
            return self.release(hash, News::Over(Landing::LookAgain));
        };
        match landing {
            Landing::LookAgain => {}
            Landing::NotShareable | Landing::Refused(_) => return self.release(hash, News::Over(landing)),
        }
        if fetch.length.is_some_and(|length| length > SOON_BYTES_MAX) {
            return self.release(hash, News::Long);
        }
        fetch.claim = Some(hash);
        if self.settings.cache.as_ref().is_some_and(|cache| cache.store.claims().comes(hash)) {
            self.actions.push_back(Action::TellLoops(Landed { hash, news: News::Coming }));
        }
    }

    /// A fetch has got further; it is not stored.
    pub(super) fn judge_claim(&mut self, id: FetchId) {
        let Some(fetch) = id.get_mut(&mut self.fetches) else { return };
        let long = fetch.growing.len() > SOON_BYTES_MAX;
        if !long && fetch.storable && !fetch.has_failed() {
            return;
        }
        if let Some(hash) = fetch.claim.take() {
            self.release(hash, News::Long);
        }
    }

    /// A fetch is over, stored or left by all.
    pub(super) fn release_fetched(&mut self, claim: Option<u64>) {
        if let Some(hash) = claim {
            self.release(hash, News::Over(Landing::LookAgain));
        }
    }
}
