//! A fixed window with escalation: a pure state machine, and its memory store (guard semantics, section 6).
//!
//! A key has a count of requests in a window that begins with a request. Each request beyond the maximum is a *violation*.
//! From `block_after` violations on each one blocks for `block_ms`: violations never decay, so after the first block every
//! later violation blocks at once. `permanent_after` violations within `permanent_window_ms` block permanently. While a key
//! is blocked nothing is counted and the window does not move.
//!
//! [`step`] is the whole machine. The stores of Redis and MongoDB do the same in one atomic operation, and tests compare each
//! of them with the model in `tests/guard/model.rs`.
//!
//! The memory store has two bounded tables: permanently blocked keys are in a separate one, from which other keys cannot drop
//! them.

use super::recent::Recent;
use super::shards::Shards;
use super::store::{EscalationConstants, EscalationStep, EscalationVerdict};
use ipnet::IpNet;
use std::net::IpAddr;

/// The most violations that `permanent_after` can ask for (chosen: 8 KB for one key). More are taken as so many.
pub const PERMANENT_AFTER_MAX: u32 = 1000;

/// Times of violations that all keys keep together, for each allowed key (chosen: 64 bytes on average; by default an offender has ten).
const TIMES_PER_KEY: usize = 8;

/// The state of a key. The default is the state of an unknown key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EscalationState {
    /// Requests in the current window, including those beyond the maximum; 0 for an unknown key.
    pub count: u32,
    /// When the current window began, in milliseconds.
    pub window_start_ms: u64,
    /// Most keys have none.
    pub offences: Option<Box<Offences>>,
}

/// The state of a key that has violated its limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offences {
    /// Violations ever.
    pub violations: u32,
    /// The end of the last block, in milliseconds.
    pub blocked_until_ms: Option<u64>,
    /// Time of a permanent block, in milliseconds.
    pub permanent_at_ms: Option<u64>,
    /// Times of the newest violations, the oldest first: at most `permanent_after`.
    pub events_ms: Vec<u64>,
    /// The owner of the key, if it is more than the client.
    pub owner: Option<Box<Owner>>,
}

/// The owner and subject of a key: the key itself is a hash, and shows neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The identity of the counter.
    pub identity: u64,
    /// The network that counts as one client.
    pub client: IpNet,
    /// User, host, path and method, as far as the counter distinguishes them.
    pub of: Box<str>,
}

impl EscalationState {
    /// Whether the key is blocked for ever.
    pub fn is_permanent(&self) -> bool {
        self.offences.as_ref().is_some_and(|offences| offences.permanent_at_ms.is_some())
    }

    /// The end of the present block; `None` without one, and for a permanent block.
    pub fn blocked_until(&self, now_ms: u64) -> Option<u64> {
        self.offences.as_ref()?.blocked_until_ms.filter(|until| *until > now_ms)
    }

    /// The room of the times of violations.
    fn room(&self) -> usize {
        self.offences.as_ref().map_or(0, |offences| offences.events_ms.capacity())
    }

    /// What the last request has done, if it was a violation or not.
    pub fn outcome(
        &self,
        is_violation: bool,
        now_ms: u64,
        constants: &EscalationConstants,
    ) -> EscalationStep {
        let is_used_up = self.count >= constants.requests_max;
        let next_after_ms = if is_used_up { self.window_left_ms(now_ms, constants) } else { 0 };
        EscalationStep { verdict: self.verdict(now_ms, constants), is_violation, next_after_ms }
    }

    /// The rest of the window, at least 1.
    fn window_left_ms(&self, now_ms: u64, constants: &EscalationConstants) -> u64 {
        self.window_start_ms.saturating_add(constants.window_ms).saturating_sub(now_ms).max(1)
    }

    /// The verdict on the last request.
    fn verdict(&self, now_ms: u64, constants: &EscalationConstants) -> EscalationVerdict {
        if self.is_permanent() {
            EscalationVerdict::Permanent
        } else if let Some(until) = self.blocked_until(now_ms) {
            EscalationVerdict::Blocked { retry_after_ms: until - now_ms }
        } else if self.count > constants.requests_max {
            EscalationVerdict::Over { retry_after_ms: self.window_left_ms(now_ms, constants) }
        } else {
            EscalationVerdict::Pass
        }
    }
}

/// Handles one request: the state after it, and what it has done. `now_ms` is milliseconds since 1970, as in the stores.
pub fn step(
    mut state: EscalationState,
    now_ms: u64,
    constants: &EscalationConstants,
) -> (EscalationState, EscalationStep) {
    if let Some(offences) = &mut state.offences {
        let oldest = now_ms.saturating_sub(constants.permanent_window_ms);
        offences.events_ms.retain(|event| *event >= oldest);
    }
    let mut is_violation = false;
    if !state.is_permanent() && state.blocked_until(now_ms).is_none() {
        count(&mut state, now_ms, constants);
        is_violation = state.count > constants.requests_max;
        if is_violation {
            violate(state.offences.get_or_insert_default(), now_ms, constants);
        }
    }
    let outcome = state.outcome(is_violation, now_ms, constants);
    (state, outcome)
}

fn count(state: &mut EscalationState, now_ms: u64, constants: &EscalationConstants) {
    // A window of exactly the maximal age is not over. Without a count there is no window yet.
    if state.count == 0 || state.window_start_ms < now_ms.saturating_sub(constants.window_ms) {
        (state.window_start_ms, state.count) = (now_ms, 1);
    } else {
        state.count = state.count.saturating_add(1);
    }
}

fn violate(offences: &mut Offences, now_ms: u64, constants: &EscalationConstants) {
    offences.violations = offences.violations.saturating_add(1);
    if offences.violations >= constants.block_after {
        offences.blocked_until_ms = Some(now_ms.saturating_add(constants.block_ms));
    }
    let Some(permanent_after) = constants.permanent_after else {
        // These times are not needed.
        offences.events_ms = Vec::new();
        return;
    };
    let most = permanent_after.clamp(1, PERMANENT_AFTER_MAX) as usize;
    let too_many = (offences.events_ms.len() + 1).saturating_sub(most);
    offences.events_ms.drain(..too_many);
    offences.events_ms.push(now_ms);
    if offences.events_ms.len() >= most {
        offences.permanent_at_ms.get_or_insert(now_ms);
    }
}

/// The memory store of one owner: a part of [`SharedEscalations`].
#[derive(Debug)]
pub struct Escalations {
    states: Recent<EscalationState>,
    /// Keys that are blocked for ever.
    permanent: Recent<EscalationState>,
    /// The room of the times of violations in `states`, and its bound.
    times: usize,
    times_max: usize,
    dropped: u64,
    permanent_dropped: u64,
}

impl Escalations {
    /// Tables for at most `keys_max` keys, and as many permanently blocked ones; at least one of each.
    pub fn new(keys_max: usize) -> Escalations {
        let (states, permanent) = (Recent::new(keys_max), Recent::new(keys_max));
        let times_max = keys_max.saturating_mul(TIMES_PER_KEY);
        Escalations { states, permanent, times: 0, times_max, dropped: 0, permanent_dropped: 0 }
    }

    /// Handles one request. `key` is a keyed hash of everything that distinguishes keys; `now_ms` is milliseconds since 1970.
    pub fn step(&mut self, key: u64, now_ms: u64, constants: &EscalationConstants) -> EscalationStep {
        if self.permanent.len() > 0 && self.permanent.peek(key).is_some() {
            self.permanent.use_or_add(key);
            let verdict = EscalationVerdict::Permanent;
            return EscalationStep { verdict, is_violation: false, next_after_ms: 0 };
        }
        let (place, evicted) = self.states.use_or_add(key);
        if let Some(evicted) = evicted {
            self.dropped += 1;
            self.times -= evicted.room();
        }
        self.times -= place.room();
        let (state, outcome) = step(std::mem::take(place), now_ms, constants);
        let grown = state.room();
        *place = state;
        self.times += grown;
        if outcome.verdict == EscalationVerdict::Permanent {
            self.block_for_ever(key);
        } else if grown > 0 {
            self.bound_times(key);
        }
        outcome
    }

    /// Moves a key to those that are blocked for ever. The times of its violations decide nothing any more.
    fn block_for_ever(&mut self, key: u64) {
        let mut state = self.states.remove(key).unwrap_or_default();
        self.times -= state.room();
        if let Some(offences) = &mut state.offences {
            offences.events_ms = Vec::new();
        }
        let (place, evicted) = self.permanent.use_or_add(key);
        *place = state;
        self.permanent_dropped += u64::from(evicted.is_some());
    }

    /// Drops the least recently used keys while the times are too many; never the key that was just used.
    fn bound_times(&mut self, key: u64) {
        while self.times > self.times_max {
            let Some(oldest) = self.states.oldest().filter(|oldest| *oldest != key) else { return };
            self.times -= self.states.remove(oldest).map_or(0, |state| state.room());
            self.dropped += 1;
        }
    }

    /// The state of a key; counts no request.
    pub fn state(&self, key: u64) -> Option<&EscalationState> {
        self.permanent.peek(key).or_else(|| self.states.peek(key))
    }

    /// Records the owner of a key that has violated its limit, unless it is recorded already.
    pub fn note_owner(&mut self, key: u64, owner: impl FnOnce() -> Owner) {
        let state = self.permanent.peek_mut(key).or_else(|| self.states.peek_mut(key));
        if let Some(offences) = state.and_then(|state| state.offences.as_mut()) {
            offences.owner.get_or_insert_with(|| Box::new(owner()));
        }
    }

    /// At most `at_most` keys with a recorded owner, of one client.
    pub fn owned(&self, client: IpAddr, at_most: usize) -> Vec<(u64, EscalationState)> {
        let all = self.permanent.iter().chain(self.states.iter());
        let is_owner = |state: &EscalationState| {
            let owner = state.offences.as_ref().and_then(|offences| offences.owner.as_ref());
            owner.is_some_and(|owner| owner.client.contains(&client))
        };
        let own = all.filter(|(_, state)| is_owner(state)).take(at_most);
        own.map(|(key, state)| (key, state.clone())).collect()
    }

    /// Forgets everything about a key, a block for ever included. False if nothing was known.
    pub fn lift(&mut self, key: u64) -> bool {
        let state = self.states.remove(key);
        self.times -= state.as_ref().map_or(0, EscalationState::room);
        self.permanent.remove(key).or(state).is_some()
    }

    /// Number of keys, without those that are blocked for ever.
    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// Whether nothing is known of any key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.permanent_len() == 0
    }

    /// Number of keys that are blocked for ever.
    pub fn permanent_len(&self) -> usize {
        self.permanent.len()
    }

    /// Keys dropped because there were too many keys or times.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Permanent blocks dropped because there were too many: the least recently used ones.
    pub fn permanent_dropped(&self) -> u64 {
        self.permanent_dropped
    }

    /// Heap bytes, without the allocator's own.
    pub fn heap_bytes(&self) -> usize {
        let offences = |state: &EscalationState| {
            let events = state.offences.as_ref().map(|offences| offences.events_ms.capacity());
            let owner = state.offences.as_ref().and_then(|offences| offences.owner.as_ref());
            let owner = owner.map_or(0, |owner| size_of::<Owner>() + owner.of.len());
            owner + events.map_or(0, |events| size_of::<Offences>() + events * size_of::<u64>())
        };
        let of = |table: &Recent<EscalationState>| {
            table.heap_bytes() + table.values().map(offences).sum::<usize>()
        };
        of(&self.states) + of(&self.permanent)
    }
}

/// Fixed windows with escalation that all loops of a process count in.
#[derive(Debug)]
pub struct SharedEscalations {
    shards: Shards<Escalations>,
}

impl SharedEscalations {
    /// Tables for about `keys_max` keys, and as many permanently blocked ones: each part gets a share, at least one key.
    pub fn new(keys_max: usize) -> SharedEscalations {
        SharedEscalations { shards: Shards::new(keys_max, Escalations::new) }
    }

    /// As [`Escalations::step`].
    pub fn step(&self, key: u64, now_ms: u64, constants: &EscalationConstants) -> EscalationStep {
        self.shards.of(key).step(key, now_ms, constants)
    }

    /// The state of a key; counts no request.
    pub fn state(&self, key: u64) -> Option<EscalationState> {
        self.shards.of(key).state(key).cloned()
    }

    /// As [`Escalations::note_owner`].
    pub fn note_owner(&self, key: u64, owner: impl FnOnce() -> Owner) {
        self.shards.of(key).note_owner(key, owner);
    }

    /// As [`Escalations::owned`]; searches all keys, part by part.
    pub fn owned(&self, client: IpAddr, at_most: usize) -> Vec<(u64, EscalationState)> {
        let mut own = Vec::new();
        self.shards.each(|part| own.extend(part.owned(client, at_most - own.len())));
        own
    }

    /// As [`Escalations::lift`].
    pub fn lift(&self, key: u64) -> bool {
        self.shards.of(key).lift(key)
    }

    /// Number of keys, without those that are blocked for ever.
    pub fn len(&self) -> u64 {
        self.shards.sum(|part| part.len() as u64)
    }

    /// Whether nothing is known of any key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.permanent_len() == 0
    }

    /// Number of keys that are blocked for ever.
    pub fn permanent_len(&self) -> u64 {
        self.shards.sum(|part| part.permanent_len() as u64)
    }

    /// As [`Escalations::dropped`].
    pub fn dropped(&self) -> u64 {
        self.shards.sum(Escalations::dropped)
    }

    /// As [`Escalations::permanent_dropped`].
    pub fn permanent_dropped(&self) -> u64 {
        self.shards.sum(Escalations::permanent_dropped)
    }

    /// Heap bytes, without the allocator's own.
    pub fn heap_bytes(&self) -> u64 {
        self.shards.sum(|part| part.heap_bytes() as u64)
    }
}

#[cfg(test)]
#[path = "escalation_tests.rs"]
mod tests;
