//! From the name of a request to addresses that may be dialled.
//!
//! # Theory of operation
//!
//! A name may mean several: `search` in resolv.conf has other names tried in its place. Each of these candidates is judged by
//! the name rules before it is asked for, as the name in the request was when the request was examined; one that a rule
//! blocks is passed over as if it had no address, and is the reason of the refusal if it came first and none has any. The addresses
//! that a candidate leads to are judged one by one before they are dialled (rules 10 and 42). With `--judge-cnames` so are
//! the names that CNAMEs lead to on the way.

use crate::engine::Engine;
use crate::engine::peer::TransactionId;
use crate::engine::transaction::Stage;
use crate::engine::transaction::refusal::Refusal;
use crate::engine::upstream::dialling::Dial;
use crate::http::target::{Host, Name};
use crate::policy::acl::{self, Grant};
use crate::resolver::{Addresses, Candidate, Failure, LookUp, LookUpId, Outcome, Walk};
use crate::time::Now;

/// A look-up that a transaction waits for.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Resolving {
    pub look_up: LookUpId,
    progress: Progress,
}

/// How far a transaction has come with the candidates of its name.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    walk: Walk,
    /// What the last candidate came to.
    failure: Option<Failure>,
    /// Why one was passed over.
    refused: Option<acl::Refusal>,
    /// What the rules say of the present one, if it is another name than that in the request.
    grant: Option<Grant>,
}

impl Engine {
    /// Looks up the name that a transaction is for.
    pub(in crate::engine) fn resolve(&mut self, now: Now, id: TransactionId) {
        self.resolve_next(now, id, Progress::default());
    }

    /// Looks up the next candidate that no rule blocks, and so on until one has addresses or has to be waited for.
    fn resolve_next(&mut self, now: Now, id: TransactionId, mut progress: Progress) {
        loop {
            let transaction = &self.transactions[id.index as usize];
            let Host::Name(name) = &transaction.info.authority.host else { return };
            let Some(candidate) = self.resolver.next_candidate(name, &mut progress.walk) else {
                let failure = progress.walk.end(progress.failure);
                return self.fail_resolution(now, id, failure, progress.refused);
            };
            progress.grant = match self.judge_candidate(id, &candidate) {
                Ok(grant) => grant,
                Err(refusal) => {
                    // What is tried after a name that does not exist is not why the request fails.
                    if progress.failure.is_none() {
                        progress.refused.get_or_insert(refusal);
                    }
                    continue;
                }
            };
            let outcome = match self.resolver.look_up(now, &candidate.name) {
                LookUp::Ready(outcome) => {
                    self.transactions[id.index as usize].record.phases.dns_us.get_or_insert(0);
                    outcome
                }
                LookUp::Pending(look_up) => {
                    let resolving = Resolving { look_up, progress };
                    let transaction = &mut self.transactions[id.index as usize];
                    (transaction.stage, transaction.phase_us) =
                        (Stage::Resolving(resolving), now.monotonic_us);
                    self.look_ups.entry(look_up).or_default().push(id);
                    return;
                }
                LookUp::Full => return self.refuse(now, id, Refusal::TooManyLookUps),
            };
            match self.take_outcome(now, id, &outcome, progress) {
                Some(further) => progress = further,
                None => return,
            }
        }
    }

    /// What the rules say of a candidate; `None` if it is the name in the request, which was judged with that. An allow rule
    /// for the name in the request is one for what it means; a block holds for both.
    fn judge_candidate(
        &self,
        id: TransactionId,
        candidate: &Candidate,
    ) -> Result<Option<Grant>, acl::Refusal> {
        if candidate.as_is {
            return Ok(None);
        }
        let transaction = &self.transactions[id.index as usize];
        let listed = transaction.info.grant.is_some_and(|grant| grant.by.is_some());
        match transaction.policy.acl.judge_name(&candidate.name, transaction.info.authority.port) {
            Ok(_) | Err(acl::Refusal::NotOnAllowlist) if listed => Ok(None),
            Ok(grant) => Ok(Some(grant)),
            Err(refusal) => Err(refusal),
        }
    }

    /// The resolver has finished a look-up.
    pub(in crate::engine) fn finish_look_up(&mut self, now: Now, look_up: LookUpId, outcome: &Outcome) {
        for id in self.look_ups.remove(&look_up).unwrap_or_default() {
            let Some(transaction) = self.transaction_mut(id) else { continue };
            let Stage::Resolving(resolving) = transaction.stage else { continue };
            if resolving.look_up == look_up {
                transaction.end_phase(now);
                transaction.stage = Stage::Begun;
                if let Some(progress) = self.take_outcome(now, id, outcome, resolving.progress) {
                    self.resolve_next(now, id, progress);
                }
            }
        }
    }

    /// Goes on with what a candidate has come to; `Some` if that is the next one.
    fn take_outcome(
        &mut self,
        now: Now,
        id: TransactionId,
        outcome: &Outcome,
        mut progress: Progress,
    ) -> Option<Progress> {
        match outcome {
            Outcome::Addresses(addresses) => {
                if let Some(grant) = progress.grant {
                    self.transactions[id.index as usize].info.grant = Some(grant);
                }
                match self.judge_aliases(id, addresses.aliases()) {
                    Ok(()) => self.handle_addresses(now, id, addresses, &progress.walk),
                    Err(refusal) => self.refuse(now, id, Refusal::Denied(refusal)),
                }
                None
            }
            Outcome::Failed(failure) => match progress.walk.fail(*failure) {
                Some(failure) => {
                    self.fail_resolution(now, id, failure, progress.refused);
                    None
                }
                None => {
                    progress.failure = Some(*failure);
                    Some(progress)
                }
            },
        }
    }

    /// Until when a name has the addresses to which a walk has led, in microseconds since the loop started: as long as all that
    /// was said on the way holds.
    pub(in crate::engine) fn addresses_hold_until_us(
        &self,
        id: TransactionId,
        name: &Name,
        walk: &Walk,
    ) -> u64 {
        let (mut again, mut until_us) = (Walk::default(), u64::MAX);
        while let Some(candidate) = self.resolver.next_candidate(name, &mut again) {
            // One that a rule blocks was not asked for.
            if again.is_at_candidate_of(walk) || self.judge_candidate(id, &candidate).is_ok() {
                until_us = until_us.min(self.resolver.valid_until_us(&candidate.name));
            }
            if again.is_at_candidate_of(walk) {
                break;
            }
        }
        until_us
    }

    /// Whether a rule blocks one of the names that CNAMEs led to.
    fn judge_aliases(&self, id: TransactionId, aliases: &[Name]) -> Result<(), acl::Refusal> {
        let transaction = &self.transactions[id.index as usize];
        let port = transaction.info.authority.port;
        aliases.iter().try_for_each(|alias| match transaction.policy.acl.judge_name(alias, port) {
            Err(refusal @ acl::Refusal::Rule(_)) => Err(refusal),
            Ok(_) | Err(_) => Ok(()),
        })
    }

    /// No candidate has addresses.
    fn fail_resolution(
        &mut self,
        now: Now,
        id: TransactionId,
        failure: Failure,
        refused: Option<acl::Refusal>,
    ) {
        let transaction = &self.transactions[id.index as usize];
        // With an allowlist, a name that is not on it and leads nowhere is not on it.
        let undecided = transaction.info.grant.is_some_and(|grant| grant.undecided);
        let denied = refused.or(undecided.then_some(acl::Refusal::NotOnAllowlist));
        self.refuse(now, id, denied.map_or(Refusal::Dns(failure), Refusal::Denied));
    }

    /// What the resolver remembers of a name, or of what a search domain makes of it; nothing is asked for it.
    pub fn known_addresses(&mut self, now: Now, name: &Name, port: u16) -> Option<Outcome> {
        let mut walk = Walk::default();
        let mut last = None;
        while let Some(candidate) = self.resolver.next_candidate(name, &mut walk) {
            if !candidate.as_is && self.policy.acl.judge_name(&candidate.name, port).is_err() {
                continue;
            }
            match self.resolver.look_up(now, &candidate.name) {
                LookUp::Ready(Outcome::Failed(failure)) => {
                    last = Some(Outcome::Failed(failure));
                    if walk.fail(failure).is_some() {
                        break;
                    }
                }
                LookUp::Ready(found) => return Some(found),
                LookUp::Pending(look_up) => {
                    self.resolver.cancel(look_up);
                    return None;
                }
                LookUp::Full => return None,
            }
        }
        last
    }

    pub(in crate::engine) fn cancel_look_up(&mut self, look_up: LookUpId, id: TransactionId) {
        if let Some(waiting) = self.look_ups.get_mut(&look_up) {
            waiting.retain(|other| *other != id);
            if waiting.is_empty() {
                self.look_ups.remove(&look_up);
            }
            self.resolver.cancel(look_up);
        }
    }

    fn handle_addresses(&mut self, now: Now, id: TransactionId, addresses: &Addresses, walk: &Walk) {
        let transaction = &self.transactions[id.index as usize];
        let Some(grant) = transaction.info.grant else { return };
        self.note_addresses(now, id, addresses, walk);
        if let Some(origin) = self.take_idle(now, id, Some(addresses)) {
            self.attach(now, id, origin, true);
            return;
        }
        let transaction = &self.transactions[id.index as usize];
        let (acl, port) = (&transaction.policy.acl, transaction.info.authority.port);
        let mut refusal = None;
        let approved = addresses.as_slice().iter().copied().filter(|address| {
            match acl.judge_address(&grant, *address, port) {
                Ok(()) => true,
                Err(denied) => {
                    refusal.get_or_insert(denied);
                    false
                }
            }
        });
        let dial = Dial::new(approved);
        match refusal {
            Some(refusal) if dial.is_empty() => self.refuse(now, id, Refusal::Denied(refusal)),
            Some(_) | None => self.dial(now, id, dial),
        }
    }
}
