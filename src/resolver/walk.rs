//! The candidates for a name: the name itself, and the name in each search domain of resolv.conf.
//!
//! Theory of operation. Resolving a name walks over its candidates with one look-up for each; the policy judges each
//! candidate before its look-up. The order is glibc's: a name with enough dots is tried as it is first and then with
//! the search list, others the other way round. A trailing dot prevents the search, and so does a name that this
//! machine knows by itself (hosts, localhost). Addresses end the walk; so does a failure after which a later
//! candidate might belong to another host.

use super::Failure;
use super::settings::Settings;
use crate::http::target::Name;

/// The state of a walk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// Number of the next candidate.
    next: u8,
    /// The last candidate was the name itself.
    as_is: bool,
    /// The failure of the name itself.
    failure: Option<Failure>,
}

/// A name to look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The complete name.
    pub name: Name,
    /// The candidate is the name itself, without a search domain.
    pub as_is: bool,
}

impl Walk {
    /// The next candidate; candidates that are too long are left out. `known`: this machine knows the name by itself.
    pub(super) fn next(&mut self, settings: &Settings, name: &Name, known: bool) -> Option<Candidate> {
        let searches = if name.is_rooted() || known { 0 } else { settings.search.len() };
        let dots = name.as_bytes().iter().filter(|&&byte| byte == b'.').count();
        let as_is_at = if dots >= usize::from(settings.ndots) { 0 } else { searches };
        for number in usize::from(self.next)..=searches {
            let as_is = number == as_is_at;
            let domain = settings.search.get(if number > as_is_at { number - 1 } else { number });
            let found = if as_is { Some(*name) } else { domain.and_then(|domain| name.in_domain(domain)) };
            if let Some(name) = found {
                (self.next, self.as_is) = (number as u8 + 1, as_is);
                return Some(Candidate { name, as_is });
            }
        }
        None
    }

    /// Whether both walks are at the same candidate.
    pub fn is_at_candidate_of(&self, other: &Walk) -> bool {
        self.next == other.next
    }

    /// The last candidate has no addresses. `Some` ends the walk with this failure.
    pub fn fail(&mut self, failure: Failure) -> Option<Failure> {
        // The failure of the name itself is the failure of the walk, as in glibc.
        if self.as_is {
            self.failure = Some(failure);
        }
        match failure {
            Failure::NotFound | Failure::NoAddress => None,
            // The name itself may exist: an address from the search list might belong to another host.
            Failure::ServerFailure | Failure::Malformed if self.as_is => Some(failure),
            Failure::ServerFailure | Failure::Malformed => None,
            Failure::Timeout | Failure::Exhausted => Some(failure),
        }
    }

    /// The failure at the end of the walk; `last` is the failure of the last candidate, if there was one.
    pub fn end(&self, last: Option<Failure>) -> Failure {
        self.failure.or(last).unwrap_or(Failure::NotFound)
    }
}
