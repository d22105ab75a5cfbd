//! Passwords with slow hashes: verified by the shell, away from the loop.
//!
//! The same name and password is verified once, however many requests bring it. Few are verified at a time, and the next
//! one is taken from another address if there is any, so that a flood of wrong passwords from one place delays nobody
//! else by more than the verification under way.

use super::peer::{ExchangeId, Peer, Role};
use super::refusal::Refusal;
use super::{Action, Engine};
use crate::policy::auth::SlowJob;
use crate::time::Now;
use std::net::IpAddr;

use super::exchange::Stage;

/// Verifications waiting or under way (chosen: seconds of work).
const VERIFICATIONS_MAX: usize = 128;

/// Of those, for one client address (chosen: there may be many people behind it).
const PER_ADDRESS_MAX: usize = 16;

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

/// All verifications, in the order in which they were asked for.
#[derive(Debug, Default)]
pub(super) struct Verifications {
    pending: Vec<Verification>,
    next_id: u64,
    last_address: Option<IpAddr>,
}

impl Engine {
    pub(super) fn begin_verification(&mut self, now: Now, id: ExchangeId, key: u128, work: SlowJob) {
        let exchange = &mut self.exchanges[id.index as usize];
        let Some(Peer { role: Role::Client(client), .. }) = self.peers.get(exchange.client.index()) else {
            return;
        };
        let address = client.address.ip();
        exchange.stage = Stage::Verifying;
        let pending = &mut self.verifications.pending;
        if let Some(same) = pending.iter_mut().find(|verification| verification.key == key) {
            same.waiting.push(id);
            return;
        }
        let here = pending.iter().filter(|verification| verification.address == address).count();
        if pending.len() >= VERIFICATIONS_MAX || here >= PER_ADDRESS_MAX {
            self.metrics.limit_verifications += 1;
            self.refuse(now, id, Refusal::TooManyVerifications);
            return;
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

    fn run_verifications(&mut self) {
        let Engine { verifications, actions, .. } = self;
        let running = verifications.pending.iter().filter(|verification| verification.work.is_none()).count();
        for _ in running..RUNNING_MAX {
            let last = verifications.last_address;
            let waits = |verification: &Verification| verification.work.is_some();
            let pending = &mut verifications.pending;
            let next = pending
                .iter()
                .position(|verification| waits(verification) && Some(verification.address) != last)
                .or_else(|| pending.iter().position(waits));
            let Some(next) = next else { return };
            let verification = &mut pending[next];
            verifications.last_address = Some(verification.address);
            if let Some(work) = verification.work.take() {
                actions.push_back(Action::Verify { job: verification.id, work });
            }
        }
    }

    pub(super) fn finish_verification(&mut self, now: Now, job: JobId, right: bool) {
        let pending = &mut self.verifications.pending;
        let Some(place) = pending.iter().position(|verification| verification.id == job) else { return };
        let verification = pending.remove(place);
        self.remembered.put(now, verification.key, right);
        for id in verification.waiting {
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
