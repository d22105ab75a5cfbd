//! One deadline per peer in a dense array: activity writes a number, a sweep finds the due ones.

use crate::engine::ids::PeerId;

/// Resolution of deadlines, and the shortest time between two sweeps, in milliseconds (chosen: short beside every
/// configurable time-out; a sweep of 100,000 peers measures 25 to 47 us).
pub const TICK_MS: u64 = 250;

const NEVER: u32 = u32::MAX;

/// Deadlines of all peers, in ticks since the loop started.
#[derive(Debug, Default)]
pub(in crate::engine) struct Deadlines {
    ticks: Vec<u32>,
    /// No armed deadline is earlier than this.
    soonest: Option<u32>,
}

impl Deadlines {
    /// Arms the peer's one deadline, `after_ms` from now; it fires up to a tick later, never earlier.
    #[inline]
    pub fn set(&mut self, peer: PeerId, now_ms: u64, after_ms: u64) {
        let tick = (now_ms + after_ms).div_ceil(TICK_MS).min(u64::from(NEVER) - 1) as u32;
        match self.ticks.get_mut(peer.index()) {
            Some(place) => *place = tick,
            None => self.grow(peer, tick),
        }
        self.soonest = Some(self.soonest.unwrap_or(NEVER).min(tick));
    }

    #[cold]
    fn grow(&mut self, peer: PeerId, tick: u32) {
        self.ticks.resize(peer.index(), NEVER);
        self.ticks.push(tick);
    }

    /// Whether the peer's deadline is set.
    pub fn is_set(&self, peer: PeerId) -> bool {
        self.ticks.get(peer.index()).is_some_and(|tick| *tick != NEVER)
    }

    /// Clears the peer's deadline.
    pub fn clear(&mut self, peer: PeerId) {
        if let Some(tick) = self.ticks.get_mut(peer.index()) {
            *tick = NEVER;
        }
    }

    /// The time of the next sweep, in milliseconds since the loop started.
    pub fn next_ms(&self) -> Option<u64> {
        self.soonest.map(|tick| u64::from(tick) * TICK_MS)
    }

    /// Disarms every deadline that has passed, and reports the indices of the connections.
    pub fn sweep(&mut self, now_ms: u64, due: &mut Vec<usize>) {
        if self.next_ms().is_none_or(|next| now_ms < next) {
            return;
        }
        let now = (now_ms / TICK_MS).min(u64::from(NEVER) - 1) as u32;
        let mut soonest = NEVER;
        for (index, tick) in self.ticks.iter_mut().enumerate() {
            if *tick <= now {
                *tick = NEVER;
                due.push(index);
            } else {
                soonest = soonest.min(*tick);
            }
        }
        self.soonest = (soonest != NEVER).then_some(soonest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_once_not_early_and_at_most_a_tick_late() {
        let mut deadlines = Deadlines::default();
        let (first, second) = (PeerId::from_token(0), PeerId::from_token(5));
        assert_eq!(deadlines.next_ms(), None);
        deadlines.set(first, 1000, 600);
        deadlines.set(second, 1000, 5000);
        deadlines.set(first, 2000, 600);
        let mut fired = Vec::new();
        for now in (0..10_000).step_by(10) {
            let mut due = Vec::new();
            deadlines.sweep(now, &mut due);
            fired.extend(due.into_iter().map(|index| (index, now)));
        }
        assert_eq!(fired, [(0, 2750), (5, 6000)]);
        assert_eq!(deadlines.next_ms(), None);
    }

    #[test]
    fn cleared_deadlines_stay_silent() {
        let mut deadlines = Deadlines::default();
        let peer = PeerId::from_token(3);
        deadlines.set(peer, 0, 10);
        deadlines.clear(peer);
        let mut due = Vec::new();
        deadlines.sweep(60_000, &mut due);
        assert!(due.is_empty() && deadlines.next_ms().is_none());
    }
}
