//! Names and their addresses: asking for them, and look-ups for other threads of the process (the health checks of the gateway).
//!
//! A name that is looked up for another thread is in `awaited`, until one of its candidates has an address or none has; then it is in
//! `known`, which the shell empties.

use crate::engine::callback::{NameCallback, NameVerdict};
use crate::engine::context::Context;
use crate::http::target::Name;
use crate::resolver::{Addresses, Failure, LookUp, LookUpId, Outcome, Resolver, Walk};
use crate::time::Now;
use std::net::IpAddr;

/// What answers for a name: the callback of the host program, and the resolver if there is none or it leaves the name to the resolver.
pub(super) struct Asking<'a> {
    callback: Option<&'a NameCallback>,
    resolver: &'a mut Resolver,
    now: Now,
}

impl<'a> Asking<'a> {
    pub(super) fn of(cx: &'a Context, resolver: &'a mut Resolver) -> Asking<'a> {
        Asking { callback: cx.callbacks.name.as_deref(), resolver, now: cx.now }
    }

    pub(super) fn look_up(&mut self, name: &Name) -> LookUp {
        match self.callback.map_or(NameVerdict::Ask, |callback| callback(name.as_str())) {
            NameVerdict::Addresses(addresses) => LookUp::Ready(outcome_of(addresses)),
            NameVerdict::NotFound => LookUp::Ready(Outcome::Failed(Failure::NotFound)),
            NameVerdict::Ask => self.resolver.look_up(self.now, name),
            NameVerdict::Later => self.resolver.await_host(self.now, name),
        }
    }
}

/// The outcome of a name for which the program gives these addresses.
pub(super) fn outcome_of(addresses: Vec<IpAddr>) -> Outcome {
    if addresses.is_empty() {
        return Outcome::Failed(Failure::NoAddress);
    }
    Outcome::Addresses(Addresses::new(addresses))
}

/// The names that other threads have asked for.
#[derive(Debug, Default)]
pub(super) struct Names {
    awaited: Vec<Awaited>,
    known: Vec<(Name, Option<Addresses>)>,
}

/// A name, and the look-up of one of its candidates.
#[derive(Debug)]
struct Awaited {
    name: Name,
    walk: Walk,
    look_up: LookUpId,
}

impl Names {
    /// Looks a name up. No effect if it is looked up already.
    pub(super) fn find(&mut self, asking: &mut Asking<'_>, name: &Name) {
        if self.awaited.iter().all(|awaited| awaited.name != *name) {
            self.try_candidates(asking, *name, Walk::default());
        }
    }

    /// A name that was looked up, and its addresses.
    pub(super) fn next_known(&mut self) -> Option<(Name, Option<Addresses>)> {
        self.known.pop()
    }

    /// The resolver has finished the look-up of a candidate.
    pub(super) fn end_look_up(&mut self, asking: &mut Asking<'_>, look_up: LookUpId, outcome: &Outcome) {
        while let Some(at) = self.awaited.iter().position(|awaited| awaited.look_up == look_up) {
            let Awaited { name, mut walk, .. } = self.awaited.swap_remove(at);
            if !self.takes(name, &mut walk, outcome) {
                self.try_candidates(asking, name, walk);
            }
        }
    }

    fn try_candidates(&mut self, asking: &mut Asking<'_>, name: Name, mut walk: Walk) {
        while let Some(candidate) = asking.resolver.next_candidate(&name, &mut walk) {
            match asking.look_up(&candidate.name) {
                LookUp::Ready(outcome) if self.takes(name, &mut walk, &outcome) => return,
                LookUp::Ready(_) => {}
                LookUp::Pending(look_up) => {
                    self.awaited.push(Awaited { name, walk, look_up });
                    return;
                }
                LookUp::Full => break,
            }
        }
        self.known.push((name, None));
    }

    /// Takes the outcome of a candidate. False if the next one is to be tried.
    fn takes(&mut self, name: Name, walk: &mut Walk, outcome: &Outcome) -> bool {
        let addresses = match outcome {
            Outcome::Addresses(addresses) => Some(addresses.clone()),
            Outcome::Failed(failure) if walk.fail(*failure).is_none() => return false,
            Outcome::Failed(_) => None,
        };
        self.known.push((name, addresses));
        true
    }
}
