//! Passwords with slow hashes: verified by the shell, away from the loop.
//!
//! The same name and password is verified once, however many requests bring it. Few are verified at a time. The next one is
//! that of the address with the fewest wrong passwords lately, and where the queue is full, that of the address with the
//! most makes room. So a flood of wrong passwords waits for everybody else, and not the other way round.

use super::exchange::Stage;
use super::keyed::Keyed;
use super::peer::ExchangeId;
use super::refusal::Refusal;
use super::{Action, Engine, Settings};
use crate::policy::auth::SlowJob;
use crate::time::Now;
use hashlink::LruCache;
use std::net::IpAddr;

/// Verifications waiting or under way, of all loops (chosen: seconds of work). There is one shell for them all.
const VERIFICATIONS_MAX: usize = 128;

/// Of those, for one client address (chosen: there may be many people behind it).
const PER_ADDRESS_MAX: usize = 16;

/// What is left of these two for one of many loops (chosen).
const PER_ADDRESS_LEAST: usize = 4;

/// Addresses of which wrong passwords are counted (chosen).
const WRONG_MAX: usize = 4096;

/// Given to the shell at once (chosen: it works on one, the next is at hand).
const RUNNING_MAX: usize = 2;

/// Names a verification to the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobId(u64);

#[derive(Debug)]
struct Verification {
    id: JobId,
    key: u128,
    address: IpAddr,
    /// Until it is given to the shell.
    work: Option<SlowJob>,
    waiting: Vec<ExchangeId>,
}

/// What a verification has found out. Loops tell each other, so that none verifies what another has, and wrong passwords
/// count wherever they came in.
#[derive(Clone, Copy, Debug)]
pub struct Finding {
    key: u128,
    address: IpAddr,
    right: bool,
}

/// All verifications, in the order in which they were asked for.
#[derive(Debug)]
pub(super) struct Verifications {
    pending: Vec<Verification>,
    next_id: u64,
    pending_max: usize,
    per_address_max: usize,
    /// Wrong passwords by address, as long as they are among the latest.
    wrong: LruCache<IpAddr, u32, Keyed>,
}

impl Verifications {
    /// None yet, within this loop's share of the limits.
    pub fn new(seed: Keyed, settings: &Settings) -> Verifications {
        Verifications {
            pending: Vec::new(),
            next_id: 0,
            pending_max: settings.share_of(VERIFICATIONS_MAX, PER_ADDRESS_LEAST),
            per_address_max: settings.share_of(PER_ADDRESS_MAX, PER_ADDRESS_LEAST),
            wrong: LruCache::with_hasher(WRONG_MAX, seed),
        }
    }

    fn wrong(&self, address: IpAddr) -> u32 {
        self.wrong.peek(&address).copied().unwrap_or(0)
    }

    /// The one to be given to the shell next.
    fn next(&self) -> Option<usize> {
        let waiting = self.pending.iter().enumerate().filter(|(_, verification)| verification.work.is_some());
        waiting.min_by_key(|(_, verification)| self.wrong(verification.address)).map(|(place, _)| place)
    }

    /// The one that makes room for another of that address: the latest of the worst address, if that is worse.
    fn worst(&self, address: IpAddr) -> Option<usize> {
        let waiting = self.pending.iter().enumerate().filter(|(_, verification)| verification.work.is_some());
        let (place, worst) = waiting.max_by_key(|(_, verification)| self.wrong(verification.address))?;
        (self.wrong(worst.address) > self.wrong(address)).then_some(place)
    }
}

impl Engine {
    pub(super) fn begin_verification(&mut self, now: Now, id: ExchangeId, key: u128, work: SlowJob) {
        let exchange = &mut self.exchanges[id.index as usize];
        let address = self.settings.accountable(exchange.entry.client.ip());
        exchange.stage = Stage::Verifying;
        let Verifications { pending, pending_max, per_address_max, .. } = &mut self.verifications;
        if let Some(same) = pending.iter_mut().find(|verification| verification.key == key) {
            same.waiting.push(id);
            return;
        }
        let here = pending.iter().filter(|verification| verification.address == address).count();
        let full = pending.len() >= *pending_max;
        let crowded = here >= *per_address_max;
        let makes_room = if full { self.verifications.worst(address) } else { None };
        if crowded || (full && makes_room.is_none()) {
            self.refuse_verification(now, id);
            return;
        }
        if let Some(place) = makes_room {
            for id in self.verifications.pending.remove(place).waiting {
                self.refuse_verification(now, id);
            }
        }
        self.verifications.next_id += 1;
        let job = JobId(self.verifications.next_id);
        self.verifications.pending.push(Verification {
            id: job,
            key,
            address,
            work: Some(work),
            waiting: vec![id],
        });
        self.metrics.verifications += 1;
        self.run_verifications();
    }

    fn refuse_verification(&mut self, now: Now, id: ExchangeId) {
        self.refuse(now, id, Refusal::TooManyVerifications);
    }

    fn run_verifications(&mut self) {
        let Engine { verifications, actions, .. } = self;
        let running = verifications.pending.iter().filter(|verification| verification.work.is_none()).count();
        for _ in running..RUNNING_MAX {
            let Some(next) = verifications.next() else { return };
            let wrong = verifications.wrong(verifications.pending[next].address);
            let verification = &mut verifications.pending[next];
            if let Some(work) = verification.work.take() {
                actions.push_back(Action::Verify { job: verification.id, wrong, work });
            }
        }
    }

    /// What the answer to a job means; nothing if nobody waits for it any more.
    pub(super) fn finish_verification(&self, job: JobId, right: bool) -> Option<Finding> {
        let verification = self.verifications.pending.iter().find(|verification| verification.id == job)?;
        Some(Finding { key: verification.key, address: verification.address, right })
    }

    /// Remembers what was found out, counts it, and goes on with those who wait for it.
    pub(super) fn learn(&mut self, now: Now, finding: Finding) {
        let Finding { key, address, right } = finding;
        self.remembered.put(now, key, right);
        let Verifications { wrong, pending, .. } = &mut self.verifications;
        if right {
            wrong.remove(&address);
        } else {
            let count = wrong.peek(&address).copied().unwrap_or(0);
            wrong.insert(address, count.saturating_add(1));
        }
        let place = pending.iter().position(|verification| verification.key == key);
        let waiting = place.map(|place| pending.remove(place).waiting).unwrap_or_default();
        for id in waiting {
            let waits =
                self.exchange_mut(id).is_some_and(|exchange| matches!(exchange.stage, Stage::Verifying));
            if waits {
                self.exchanges[id.index as usize].stage = Stage::Begun;
                self.examine(now, id);
            }
        }
        self.run_verifications();
    }
}
