//! The names that may be meant by a name: itself, and itself in each of the search domains of resolv.conf.
//!
//! Theory of operation. Whoever resolves a name walks over its candidates, one look-up for each, and decides about each
//! before it is asked for. The order is glibc's: a name with enough dots is tried as it is and then with the search list,
//! others the other way round. A trailing dot ends the search, and what this machine knows by itself (hosts, localhost) is
//! what the name means. Addresses end the walk; so does a failure behind which a candidate might be a stranger's.

use super::Failure;
use super::settings::Settings;
use crate::http::target::Name;

/// Where a walk stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// Number of the next candidate.
    next: u8,
    /// The last candidate was the name itself.
    as_is: bool,
    /// What the name itself came to.
    failure: Option<Failure>,
}

/// A name to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The whole name.
    pub name: Name,
    /// It is the name itself, nothing appended.
    pub as_is: bool,
}

impl Walk {
    /// The next candidate; what gets too long is left out. `known` tells that this machine knows the name by itself.
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

    /// Whether both have come to the same candidate.
    pub fn is_where(&self, other: &Walk) -> bool {
        self.next == other.next
    }

    /// The last candidate has no addresses. `Some`: the walk ends with this.
    pub fn fail(&mut self, failure: Failure) -> Option<Failure> {
        // What the name itself came to speaks for the whole, as with glibc.
        if self.as_is {
            self.failure = Some(failure);
        }
        match failure {
            Failure::NotFound | Failure::NoAddress => None,
            // Of the name itself nothing is known: an address from the search list might be a stranger's.
            Failure::ServerFailure | Failure::Malformed if self.as_is => Some(failure),
            Failure::ServerFailure | Failure::Malformed => None,
            Failure::Timeout => Some(failure),
        }
    }

    /// What it ends with when no candidate is left; the last one failed like this, if one was asked for.
    pub fn end(&self, last: Option<Failure>) -> Failure {
        self.failure.or(last).unwrap_or(Failure::NotFound)
    }
}
