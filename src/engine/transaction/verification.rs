//! Passwords with slow hashes: verified by the shell, away from the loop.
//!
//! The same name and password is verified once, for any number of requests. Few are verified at a time. The next one is that
//! of the client with the fewest recent guesses (see `guesses`); in a full queue, the client with the most makes room. So a
//! flood of wrong passwords waits for all other clients, and not the other way round.

use crate::engine::Action;
use crate::engine::context::Context;
use crate::engine::downstream::client_limits::ClientLimits;
use crate::engine::downstream::guesses::{Guess, Guesses};
use crate::engine::effect::Effect;
use crate::engine::ids::{JobId, TransactionId};
use crate::engine::settings::Settings;
use crate::engine::transaction::refusal::Refusal;
use crate::policy::auth::SlowJob;
use crate::policy::credential_cache::CredentialCache;
use crate::time::Now;
use std::net::IpAddr;
use std::sync::Arc;

/// Verifications waiting or under way, of all loops (chosen: seconds of work). All loops share one verifier.
const VERIFICATIONS_MAX: usize = 128;

/// Of those, for one client address (chosen: many users may share it).
const PER_ADDRESS_MAX: usize = 16;

/// Least values of these two for one of many loops (chosen).
const PER_ADDRESS_LEAST: usize = 4;

/// Given to the verifier at once (chosen: it works on one, and the next is ready).
const RUNNING_MAX: usize = 2;

#[derive(Debug)]
struct Verification {
    id: JobId,
    key: u128,
    address: IpAddr,
    guess: Guess,
    /// The job, until it is given to the verifier.
    work: Option<SlowJob>,
    waiting: Vec<TransactionId>,
}

/// The result of a verification. Loops send each other their findings, so that none repeats a verification.
#[derive(Clone, Copy, Debug)]
pub struct Finding {
    key: u128,
    right: bool,
}

/// All verifications, in the order of their requests, and the known results.
#[derive(Debug)]
pub(in crate::engine) struct Verifications {
    pub remembered: CredentialCache,
    /// The limits on the clients of all loops, and the guesses that they have made.
    pub limits: Arc<ClientLimits>,
    pending: Vec<Verification>,
    next_id: u64,
    pending_max: usize,
    per_address_max: usize,
}

impl Verifications {
    /// No verifications, within this loop's share of the limits.
    pub fn new(settings: &Settings, limits: Arc<ClientLimits>) -> Verifications {
        Verifications {
            remembered: CredentialCache::default(),
            limits,
            pending: Vec::new(),
            next_id: 0,
            pending_max: settings.share_of(VERIFICATIONS_MAX, PER_ADDRESS_LEAST),
            per_address_max: settings.share_of(PER_ADDRESS_MAX, PER_ADDRESS_LEAST),
        }
    }

    /// Verifications that are not with the verifier yet, each with its index and the recent guesses of its client.
    fn waiting(&self, now: Now, guesses: &Guesses) -> Vec<(usize, u32)> {
        let waiting = self.pending.iter().enumerate().filter(|(_, verification)| verification.work.is_some());
        let (places, addresses): (Vec<usize>, Vec<IpAddr>) =
            waiting.map(|(place, verification)| (place, verification.address)).unzip();
        places.into_iter().zip(guesses.made(now, addresses.into_iter())).collect()
    }

    /// The verification to give to the verifier next, and the recent guesses of its client.
    fn next(&self, now: Now, guesses: &Guesses) -> Option<(usize, u32)> {
        self.waiting(now, guesses).into_iter().min_by_key(|(_, made)| *made)
    }

    /// The verification that makes room for another of that client: the latest of the client with the most guesses,
    /// if those are more.
    fn worst(&self, now: Now, guesses: &Guesses, address: IpAddr) -> Option<usize> {
        let own = guesses.made(now, std::iter::once(address)).next().unwrap_or(0);
        let (place, worst) = self.waiting(now, guesses).into_iter().max_by_key(|(_, made)| *made)?;
        (worst > own).then_some(place)
    }

    /// `guess` is the guess that the credentials were counted as; it is given back unless they are wrong.
    pub fn begin(
        &mut self,
        cx: &mut Context,
        transaction: TransactionId,
        client: IpAddr,
        (key, guess): (u128, Guess),
        work: SlowJob,
    ) {
        let address = cx.settings.accountable(client);
        let limits = Arc::clone(&self.limits);
        let guesses = &limits.guesses;
        if let Some(same) = self.pending.iter_mut().find(|verification| verification.key == key) {
            same.waiting.push(transaction);
            guesses.give_back(guess);
            return;
        }
        let here = self.pending.iter().filter(|verification| verification.address == address).count();
        let full = self.pending.len() >= self.pending_max;
        let crowded = here >= self.per_address_max;
        let makes_room = if full { self.worst(cx.now, guesses, address) } else { None };
        if crowded || (full && makes_room.is_none()) {
            guesses.give_back(guess);
            cx.send(Effect::Refuse(transaction, Refusal::TooManyVerifications));
            return;
        }
        if let Some(place) = makes_room {
            let leaves = self.pending.remove(place);
            guesses.give_back(leaves.guess);
            for transaction in leaves.waiting {
                cx.send(Effect::Refuse(transaction, Refusal::TooManyVerifications));
            }
        }
        self.next_id += 1;
        self.pending.push(Verification {
            id: JobId(self.next_id),
            key,
            address,
            guess,
            work: Some(work),
            waiting: vec![transaction],
        });
        cx.metrics.verifications += 1;
        self.run(cx);
    }

    /// Gives the shell as many jobs as it may have.
    fn run(&mut self, cx: &mut Context) {
        let running = self.pending.iter().filter(|verification| verification.work.is_none()).count();
        for _ in running..RUNNING_MAX {
            let Some((next, guesses)) = self.next(cx.now, &self.limits.guesses) else { return };
            let verification = &mut self.pending[next];
            if let Some(work) = verification.work.take() {
                cx.actions.push_back(Action::Verify { job: verification.id, guesses, work });
            }
        }
    }

    /// The finding of a finished job; `None` if no transaction waits for it any more.
    pub fn take_result(&self, now: Now, job: JobId, right: bool) -> Option<Finding> {
        let verification = self.pending.iter().find(|verification| verification.id == job)?;
        if right {
            self.limits.guesses.know(now, verification.address, verification.guess, verification.key);
        }
        Some(Finding { key: verification.key, right })
    }

    /// Refuses the transactions that wait for a job that cannot be done. The guess was none.
    pub fn give_up(&mut self, cx: &mut Context, job: JobId) {
        let Some(place) = self.pending.iter().position(|verification| verification.id == job) else { return };
        let Verification { guess, waiting, .. } = self.pending.remove(place);
        self.limits.guesses.give_back(guess);
        for transaction in waiting {
            cx.send(Effect::Refuse(transaction, Refusal::TooManyVerifications));
        }
        self.run(cx);
    }

    /// Stores a result. Returns the transactions that wait for it.
    pub fn learn(&mut self, cx: &mut Context, finding: Finding) -> Vec<TransactionId> {
        let Finding { key, right } = finding;
        self.remembered.put(cx.now, key, right);
        let place = self.pending.iter().position(|verification| verification.key == key);
        let waiting = place.map(|place| self.pending.remove(place).waiting).unwrap_or_default();
        self.run(cx);
        waiting
    }
}
