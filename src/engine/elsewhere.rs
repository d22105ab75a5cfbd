//! One request per key at a time, over all loops (rule 48): waiting for what another loop has asked for.
//!
//! A flight of this loop may be led elsewhere: then its leader is none of this loop's exchanges, and what the leader learns
//! comes as a message. A response of a known length that fits into the store is told as it comes (see
//! [`super::broadcast`]). Others lie in the loop that receives them until they are stored: for the whole of them all wait,
//! if that is soon; what turns out long each loop asks for by itself, and its own requests share that. Before there is
//! a head all wait alike, as all would wait for the origin.

use super::broadcast::Broadcast;
use super::fetch::FetchId;
use super::flight::Landing;
use super::peer::ExchangeId;
use super::{Action, Engine};
use crate::time::Now;
use std::sync::{Arc, Weak};

/// The longest body that other loops wait for (chosen: what an origin mostly sends at once).
const SOON_BYTES_MAX: u64 = 64 * 1024;

/// How long they wait for it, once there is a head (chosen: longer than a good origin takes, not so long that anybody would
/// reload the page).
pub(super) const SOON_MS: u64 = 1000;

/// How often a request waits for other loops (chosen: once more, if the first has brought nothing; of a page with many
/// variants somebody always asks for another one).
pub(super) const WAITS_MAX: u8 = 2;

/// What loops tell each other about a key that one of them asks for.
#[derive(Clone, Debug)]
pub struct Message {
    hash: u64,
    news: News,
}

#[derive(Clone, Debug)]
pub(super) enum News {
    /// There is a head, and the body will not be long.
    Coming,
    /// It will be long: each loop is to ask by itself.
    Long,
    /// It is over.
    Over(Landing),
    /// There is a head, this has come of the body, and the rest will be told.
    Begins(Arc<Broadcast>, Arc<[u8]>),
    /// These bytes come next, from so far on.
    Continues(Weak<Broadcast>, u64, Arc<[u8]>),
    /// The rest will never come.
    Breaks(Weak<Broadcast>),
    /// Somebody has begun to wait when the body was coming already.
    Wanted,
}

impl Engine {
    /// Another loop has got further with a request that this one waits for, or waits for one of this loop.
    pub fn handle_message(&mut self, now: Now, message: Message) {
        let Message { hash, news } = message;
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
            News::Begins(broadcast, bytes) => self.begin_hearing(now, hash, broadcast, &bytes),
            News::Continues(broadcast, at, bytes) => self.go_on_hearing(now, hash, &broadcast, at, &bytes),
            News::Breaks(broadcast) => self.stop_hearing(now, hash, &broadcast),
            News::Wanted => self.repeat(hash),
        }
        self.finish(now);
    }

    pub(super) fn tell_loops(&mut self, hash: u64, news: News) {
        self.actions.push_back(Action::TellLoops(Message { hash, news }));
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
            self.tell_loops(hash, news);
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
        let Some(cache) = &self.settings.cache else { return };
        fetch.prepare_telling(cache.store.limits().object_max);
        if !fetch.is_told() && fetch.length.is_some_and(|length| length > SOON_BYTES_MAX) {
            return self.release(hash, News::Long);
        }
        fetch.claim = Some(hash);
        if cache.store.claims().comes(hash) {
            let news = fetch.tell_from_start().unwrap_or(News::Coming);
            self.tell_loops(hash, news);
        }
    }

    /// A fetch has got further; it is not stored.
    pub(super) fn judge_claim(&mut self, id: FetchId) {
        let Some(fetch) = id.get_mut(&mut self.fetches) else { return };
        let long = fetch.growing.len() > SOON_BYTES_MAX && !fetch.is_told();
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
