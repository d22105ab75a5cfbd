//! From the name of a request to addresses that may be dialled.
//!
//! # Theory of operation
//!
//! A name may have several candidates: `search` in resolv.conf adds other names to try. Each candidate is judged by the name
//! rules before it is looked up, as the name in the request was when the request was examined; a blocked one is passed over
//! as if it had no address, and becomes the reason of the refusal if it came first and no candidate has an address. The
//! addresses of a candidate are judged one by one before they are dialled (rules 10 and 42). With `--judge-cnames` the
//! targets of CNAMEs are judged as well.

use super::Upstreams;
use super::connect::{Connect, Dial, Need, Progress, Resolving, Stage, Step};
use super::names::{Asking, outcome_of};
use super::route::Hop;
use crate::engine::callback::NameVerdict;
use crate::engine::context::Context;
use crate::engine::ids::ConnectId;
use crate::engine::transaction::refusal::Refusal;
use crate::guard::told::Asker;
use crate::http::target::{Host, Name};
use crate::policy::acl::{self, Acl, Grant, Judgement, Subject};
use crate::resolver::{Addresses, Candidate, Failure, LookUp, LookUpId, Outcome, Walk};
use crate::time::Now;
use std::net::IpAddr;
use std::sync::Arc;

/// The result of a candidate.
enum Outlook {
    /// The next one is to be tried.
    Next(Progress),
    Step(Step),
}

impl Connect {
    /// Judges a candidate, if it has to be judged.
    fn judge_candidate(&self, candidate: &Candidate) -> Result<Grant, acl::Refusal> {
        if self.configured {
            return Ok(self.grant);
        }
        judge_candidate(&self.policy.acl, self.grant, candidate, self.authority.port)
    }

    /// Whether a rule blocks one of the names that CNAMEs led to.
    fn judge_aliases(&self, aliases: &[Name]) -> Result<(), acl::Refusal> {
        if self.configured {
            return Ok(());
        }
        let (acl, port) = (&self.policy.acl, self.authority.port);
        aliases.iter().try_for_each(|alias| acl.judge_name(alias, port).map(|_| ()))
    }

    /// The refusal when no candidate has addresses.
    fn refusal(&self, failure: Failure, refused: Option<acl::Refusal>) -> Refusal {
        // With an allowlist, a name that is not on it and has no addresses is refused by the list.
        let undecided = self.grant.undecided && !self.configured;
        let denied = refused.or(undecided.then_some(acl::Refusal::NotOnAllowlist));
        denied.map_or(Refusal::Dns(failure), Refusal::Denied)
    }
}

/// Judges a candidate of a name in a request with that grant; returns the grant for its addresses. The name itself was judged
/// with the request. An allow rule for it allows its other candidates, too; a block of either refuses.
fn judge_candidate(
    acl: &Acl,
    requested: Grant,
    candidate: &Candidate,
    port: u16,
) -> Result<Grant, acl::Refusal> {
    if candidate.as_is {
        return Ok(requested);
    }
    let judged = acl.judge_name(&candidate.name, port)?;
    Ok(if requested.by.is_some() { requested } else { judged })
}

impl Upstreams {
    /// Judges a request to the forward proxy. A name that is not on the allowlist may become one that is, by the search list.
    pub fn judge_request(&self, acl: &Acl, subject: &Subject<'_>) -> Result<Grant, acl::Refusal> {
        match (acl.judge(subject), subject.host) {
            (Judgement::Granted(grant), _) => Ok(grant),
            (Judgement::Refused(acl::Refusal::NotOnAllowlist), Host::Name(name))
                if self.may_become_listed(acl, name, subject.port) =>
            {
                acl.judge_name(name, subject.port)
            }
            (Judgement::Refused(refusal), _) => Err(refusal),
        }
    }

    /// Whether the search list makes a name of this one that is on the allowlist.
    fn may_become_listed(&self, acl: &Acl, name: &Name, port: u16) -> bool {
        let mut names = self.resolver.searched_names(name);
        names.any(|name| acl.judge_name(&name, port).is_ok_and(|grant| !grant.undecided))
    }

    /// Looks up the next candidate that no rule blocks, and so on until one has addresses or has to be waited for.
    pub(super) fn resolve(&mut self, cx: &mut Context, id: ConnectId, mut progress: Progress) -> Step {
        loop {
            let Upstreams { connects, resolver, look_ups, .. } = self;
            let Some(connect) = id.get_mut(connects) else { return Step::Wait };
            let Host::Name(name) = &connect.authority.host else { return Step::Wait };
            let Some(candidate) = resolver.next_candidate(name, &mut progress.walk) else {
                let failure = progress.walk.end(progress.failure);
                return Step::Failed(connect.refusal(failure, progress.refused));
            };
            progress.grant = match connect.judge_candidate(&candidate) {
                Ok(grant) => grant,
                Err(refusal) => {
                    // A refusal of a candidate behind a name that does not exist is not the reason for the failure.
                    if progress.failure.is_none() {
                        progress.refused.get_or_insert(refusal);
                    }
                    continue;
                }
            };
            let outcome = match Asking::of(cx, resolver).look_up(&candidate.name) {
                LookUp::Ready(outcome) => {
                    connect.timings.dns_us.get_or_insert(0);
                    outcome
                }
                LookUp::Pending(look_up) => {
                    let resolving = Resolving { look_up, progress };
                    (connect.stage, connect.since_us) = (Stage::Resolving(resolving), cx.now.monotonic_us);
                    match look_ups.iter_mut().find(|(known, _)| *known == look_up) {
                        Some((_, ids)) => ids.push(id),
                        None => look_ups.push((look_up, vec![id])),
                    }
                    return Step::Wait;
                }
                LookUp::Full => return Step::Failed(Refusal::TooManyLookUps),
            };
            match self.take_outcome(cx, id, &outcome, progress) {
                Outlook::Next(further) => progress = further,
                Outlook::Step(step) => return step,
            }
        }
    }

    /// Looks a name up for another thread, for [`Upstreams::next_known_name`]. No effect if it is looked up already.
    pub fn find_name(&mut self, cx: &Context, name: &Name) {
        let Upstreams { names, resolver, .. } = self;
        names.find(&mut Asking::of(cx, resolver), name);
    }

    /// A name that was looked up for another thread, and its addresses.
    pub fn next_known_name(&mut self) -> Option<(Name, Option<Addresses>)> {
        self.names.next_known()
    }

    /// Gives the outcome for a name for which the host program has asked for time.
    pub fn tell_name(&mut self, now: Now, name: &Name, verdict: NameVerdict) {
        match verdict {
            NameVerdict::Addresses(addresses) => self.resolver.tell(now, name, outcome_of(addresses)),
            NameVerdict::NotFound => self.resolver.tell(now, name, Outcome::Failed(Failure::NotFound)),
            NameVerdict::Ask => self.resolver.ask_servers(now, name),
            NameVerdict::Later => {}
        }
    }

    /// The resolver has finished a look-up.
    pub fn end_look_up(&mut self, cx: &mut Context, look_up: LookUpId, outcome: &Outcome) {
        let Upstreams { names, resolver, .. } = self;
        names.end_look_up(&mut Asking::of(cx, resolver), look_up, outcome);
        let Some(place) = self.look_ups.iter().position(|(known, _)| *known == look_up) else { return };
        for id in self.look_ups.swap_remove(place).1 {
            let Some(connect) = id.get_mut(&mut self.connects) else { continue };
            let Stage::Resolving(resolving) = connect.stage else { continue };
            if resolving.look_up != look_up {
                continue;
            }
            connect.end_stage(cx);
            let step = match self.take_outcome(cx, id, outcome, resolving.progress) {
                Outlook::Next(progress) => self.resolve(cx, id, progress),
                Outlook::Step(step) => step,
            };
            self.conclude(cx, id, step);
        }
    }

    /// Continues with the outcome of a candidate.
    fn take_outcome(
        &mut self,
        cx: &mut Context,
        id: ConnectId,
        outcome: &Outcome,
        mut progress: Progress,
    ) -> Outlook {
        let Some(connect) = id.get_mut(&mut self.connects) else { return Outlook::Step(Step::Wait) };
        match outcome {
            Outcome::Addresses(addresses) => {
                connect.grant = progress.grant;
                Outlook::Step(match connect.judge_aliases(addresses.aliases()) {
                    Ok(()) => self.handle_addresses(cx, id, addresses, &progress.walk),
                    Err(refusal) => Step::Failed(Refusal::Denied(refusal)),
                })
            }
            Outcome::Failed(failure) => match progress.walk.fail(*failure) {
                Some(failure) => Outlook::Step(Step::Failed(connect.refusal(failure, progress.refused))),
                None => {
                    progress.failure = Some(*failure);
                    Outlook::Next(progress)
                }
            },
        }
    }

    /// Uses an idle connection to one of the addresses that a name has, or dials those that the policy allows.
    fn handle_addresses(
        &mut self,
        cx: &mut Context,
        id: ConnectId,
        addresses: &Addresses,
        walk: &Walk,
    ) -> Step {
        self.note_addresses(cx, id, addresses, walk);
        let Some(connect) = id.get(&self.connects) else { return Step::Wait };
        let (authority, configured) = (connect.authority, connect.configured);
        let (grant, policy) = (connect.grant, Arc::clone(&connect.policy));
        let client = connect.accountable;
        let (mut fresh, repeatable) = (connect.fresh, connect.repeatable);
        let transaction = connect.transaction;
        let hop = Hop { authority: &authority, configured };
        let need = Need { hop, grant: &grant, policy: &policy };
        if let Some(connection) = self.take_idle(cx, &need, &mut fresh, repeatable, Some(addresses)) {
            return Step::Done(self.engage(cx, connection, transaction, grant));
        }
        let mut refusal = None;
        let (settings, now) = (Arc::clone(&cx.settings), cx.now);
        let asked = || Asker { authority: Some(&authority), ..Asker::by(client) };
        let judge = |address: IpAddr| {
            if configured {
                return Ok(());
            }
            policy.acl.judge_address(&grant, address, authority.port).map_err(Refusal::Denied)?;
            settings.admit_destination(address, asked, now).map_err(Refusal::Guarded)
        };
        let approved = addresses.as_slice().iter().copied().filter(|address| match judge(*address) {
            Ok(()) => true,
            Err(denied) => {
                refusal.get_or_insert(denied);
                false
            }
        });
        let dial = Dial::new(approved);
        match refusal {
            Some(refusal) if dial.is_empty() => Step::Failed(refusal),
            Some(_) | None => self.dial(cx, id, dial),
        }
    }

    /// Records the addresses of a name that the resolver has found, by a walk over its candidates. Idle connections to other
    /// addresses are closed.
    fn note_addresses(&mut self, cx: &mut Context, id: ConnectId, addresses: &Addresses, walk: &Walk) {
        let Some(connect) = id.get(&self.connects) else { return };
        let Host::Name(name) = &connect.authority.host else { return };
        // An outcome that was judged by outdated rules is for this request only.
        let outdated = !Arc::ptr_eq(&connect.policy, &cx.policy);
        if outdated || self.pool.group(connect.hop()).is_none() || self.may_mean_another(name) {
            return;
        }
        let until_us = self.addresses_hold_until_us(connect, name, walk);
        // Addresses that are valid for this request only may be incomplete: the other family's answer is missing.
        if until_us > cx.now.monotonic_us {
            let (authority, configured) = (connect.authority, connect.configured);
            self.set_addresses(cx, Hop { authority: &authority, configured }, addresses, until_us);
        }
    }

    /// Until when a name has the addresses of a walk, in microseconds since the loop started: as long as all answers on the
    /// way are valid.
    fn addresses_hold_until_us(&self, connect: &Connect, name: &Name, walk: &Walk) -> u64 {
        let (mut again, mut until_us) = (Walk::default(), u64::MAX);
        while let Some(candidate) = self.resolver.next_candidate(name, &mut again) {
            // A blocked candidate was not looked up.
            if again.is_at_candidate_of(walk) || connect.judge_candidate(&candidate).is_ok() {
                until_us = until_us.min(self.resolver.valid_until_us(&candidate.name));
            }
            if again.is_at_candidate_of(walk) {
                break;
            }
        }
        until_us
    }

    /// The addresses of the name in a granted request and the grant by which they are judged, as far as the resolver has them;
    /// sends no query.
    pub fn known_addresses(&mut self, cx: &Context, subject: &Subject<'_>) -> Option<(Addresses, Grant)> {
        let Host::Name(name) = subject.host else { return None };
        let acl = &cx.policy.acl;
        let requested = self.judge_request(acl, subject).ok()?;
        let mut walk = Walk::default();
        while let Some(candidate) = self.resolver.next_candidate(name, &mut walk) {
            let Ok(grant) = judge_candidate(acl, requested, &candidate, subject.port) else { continue };
            match self.resolver.look_up(cx.now, &candidate.name) {
                LookUp::Ready(Outcome::Addresses(addresses)) => return Some((addresses, grant)),
                LookUp::Ready(Outcome::Failed(failure)) if walk.fail(failure).is_none() => {}
                LookUp::Ready(Outcome::Failed(_)) | LookUp::Full => return None,
                LookUp::Pending(look_up) => {
                    self.resolver.cancel(look_up);
                    return None;
                }
            }
        }
        None
    }

    pub(super) fn cancel_look_up(&mut self, look_up: LookUpId, id: ConnectId) {
        if let Some(place) = self.look_ups.iter().position(|(known, _)| *known == look_up) {
            let (_, waiting) = &mut self.look_ups[place];
            waiting.retain(|other| *other != id);
            if waiting.is_empty() {
                self.look_ups.swap_remove(place);
            }
            self.resolver.cancel(look_up);
        }
    }
}
