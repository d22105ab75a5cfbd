//! Passwords with slow hashes: verified by the shell, away from the loop.
//!
//! The same name and password is verified once, however many requests bring it. Few are verified at a time. The next one is
//! that of the client with the fewest guesses lately (see `guesses`), and where the queue is full, that of the one with the
//! most makes room. So a flood of wrong passwords waits for everybody else, and not the other way round.

use crate::engine::downstream::guesses::{Guess, Guesses};
use crate::engine::peer::TransactionId;
use crate::engine::transaction::Stage;
use crate::engine::transaction::refusal::Refusal;
use crate::engine::{Action, Engine, Settings};
use crate::policy::auth::SlowJob;
use crate::time::Now;
use std::net::IpAddr;

/// Verifications waiting or under way, of all loops (chosen: seconds of work). There is one shell for them all.
const VERIFICATIONS_MAX: usize = 128;

/// Of those, for one client address (chosen: there may be many people behind it).
const PER_ADDRESS_MAX: usize = 16;

/// What is left of these two for one of many loops (chosen).
const PER_ADDRESS_LEAST: usize = 4;

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
    guess: Guess,
    /// Until it is given to the shell.
    work: Option<SlowJob>,
    waiting: Vec<TransactionId>,
}

/// What a verification has found out. Loops tell each other, so that none verifies what another has.
#[derive(Clone, Copy, Debug)]
pub struct Finding {
    key: u128,
    right: bool,
}

/// All verifications, in the order in which they were asked for.
#[derive(Debug)]
pub(in crate::engine) struct Verifications {
    pending: Vec<Verification>,
    next_id: u64,
    pending_max: usize,
    per_address_max: usize,
}

impl Verifications {
    /// None yet, within this loop's share of the limits.
    pub fn new(settings: &Settings) -> Verifications {
        Verifications {
            pending: Vec::new(),
            next_id: 0,
            pending_max: settings.share_of(VERIFICATIONS_MAX, PER_ADDRESS_LEAST),
            per_address_max: settings.share_of(PER_ADDRESS_MAX, PER_ADDRESS_LEAST),
        }
    }

    /// Those that are not with the shell yet, each with its place and the guesses made lately from where it came.
    fn waiting(&self, now: Now, guesses: &Guesses) -> Vec<(usize, u32)> {
        let waiting = self.pending.iter().enumerate().filter(|(_, verification)| verification.work.is_some());
        let (places, addresses): (Vec<usize>, Vec<IpAddr>) =
            waiting.map(|(place, verification)| (place, verification.address)).unzip();
        places.into_iter().zip(guesses.made(now, addresses.into_iter())).collect()
    }

    /// The one to be given to the shell next, and the guesses made lately from where it came.
    fn next(&self, now: Now, guesses: &Guesses) -> Option<(usize, u32)> {
        self.waiting(now, guesses).into_iter().min_by_key(|(_, made)| *made)
    }

    /// The one that makes room for another of that client: the latest of the worst one, if that is worse.
    fn worst(&self, now: Now, guesses: &Guesses, address: IpAddr) -> Option<usize> {
        let own = guesses.made(now, std::iter::once(address)).next().unwrap_or(0);
        let (place, worst) = self.waiting(now, guesses).into_iter().max_by_key(|(_, made)| *made)?;
        (worst > own).then_some(place)
    }
}

impl Engine {
    /// `guess` is what the credentials were counted against; it is given back unless they turn out to be wrong.
    pub(in crate::engine) fn begin_verification(
        &mut self,
        now: Now,
        id: TransactionId,
        (key, guess): (u128, Guess),
        work: SlowJob,
    ) {
        let transaction = &mut self.transactions[id.index as usize];
        let address = self.settings.accountable(transaction.record.client.ip());
        transaction.stage = Stage::Verifying;
        let guesses = &self.client_limits.guesses;
        let Verifications { pending, pending_max, per_address_max, .. } = &mut self.verifications;
        if let Some(same) = pending.iter_mut().find(|verification| verification.key == key) {
            same.waiting.push(id);
            guesses.give_back(guess);
            return;
        }
        let here = pending.iter().filter(|verification| verification.address == address).count();
        let full = pending.len() >= *pending_max;
        let crowded = here >= *per_address_max;
        let makes_room = if full { self.verifications.worst(now, guesses, address) } else { None };
        if crowded || (full && makes_room.is_none()) {
            guesses.give_back(guess);
            self.refuse_verification(now, id);
            return;
        }
        if let Some(place) = makes_room {
            let leaves = self.verifications.pending.remove(place);
            guesses.give_back(leaves.guess);
            for id in leaves.waiting {
                self.refuse_verification(now, id);
            }
        }
        self.verifications.next_id += 1;
        let job = JobId(self.verifications.next_id);
        self.verifications.pending.push(Verification {
            id: job,
            key,
            address,
            guess,
            work: Some(work),
            waiting: vec![id],
        });
        self.metrics.verifications += 1;
        self.run_verifications(now);
    }

    fn refuse_verification(&mut self, now: Now, id: TransactionId) {
        self.refuse(now, id, Refusal::TooManyVerifications);
    }

    fn run_verifications(&mut self, now: Now) {
        let Engine { verifications, actions, client_limits, .. } = self;
        let running = verifications.pending.iter().filter(|verification| verification.work.is_none()).count();
        for _ in running..RUNNING_MAX {
            let Some((next, guesses)) = verifications.next(now, &client_limits.guesses) else { return };
            let verification = &mut verifications.pending[next];
            if let Some(work) = verification.work.take() {
                actions.push_back(Action::Verify { job: verification.id, guesses, work });
            }
        }
    }

    /// What the answer to a job means; nothing if nobody waits for it any more.
    pub(in crate::engine) fn finish_verification(
        &self,
        now: Now,
        job: JobId,
        right: bool,
    ) -> Option<Finding> {
        let verification = self.verifications.pending.iter().find(|verification| verification.id == job)?;
        if right {
            self.client_limits.guesses.know(now, verification.address, verification.guess, verification.key);
        }
        Some(Finding { key: verification.key, right })
    }

    /// Remembers what was found out, and goes on with those who wait for it.
    pub(in crate::engine) fn learn(&mut self, now: Now, finding: Finding) {
        let Finding { key, right } = finding;
        self.remembered.put(now, key, right);
        let pending = &mut self.verifications.pending;
        let place = pending.iter().position(|verification| verification.key == key);
        let waiting = place.map(|place| pending.remove(place).waiting).unwrap_or_default();
        for id in waiting {
            let waits = self
                .transaction_mut(id)
                .is_some_and(|transaction| matches!(transaction.stage, Stage::Verifying));
            if waits {
                self.transactions[id.index as usize].stage = Stage::Begun;
                self.examine(now, id);
            }
        }
        self.run_verifications(now);
    }
}
