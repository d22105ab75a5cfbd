//! Access rules and users: which client may connect to which host, and which users may use the proxy. Immutable once
//! loaded, and pure: the shell reads the files, the engine asks for verdicts.
//!
//! [`acl`] judges client, name, port and each resolved address. Its rules are read by [`rules`] and kept in
//! [`domain_set`] and [`address_set`]; [`address`] knows the addresses that are closed unless a rule opens them.
//! [`auth`] knows the users; slow password hashes leave it as jobs for another thread. [`edit`] holds the header
//! fields that the configuration removes or adds, [`cache_rules`] the exceptions of the cache for some hosts,
//! [`pages`] the administrator's texts for refused clients.

pub mod acl;
pub mod address;
pub mod address_set;
pub mod auth;
pub mod cache_rules;
pub mod credential_cache;
pub mod credentials;
pub mod domain_set;
pub mod edit;
mod location;
pub mod pages;
mod parse_error;
pub mod port_set;
pub mod rules;
mod sip;
pub mod slow;

use acl::Acl;
use auth::Users;
use cache_rules::CacheRules;
use edit::Edits;
pub use location::{RuleLocation, RuleRef};
use pages::Pages;
use std::net::IpAddr;
use std::sync::Arc;

/// The access rules of one configuration. A request keeps the policy with which it began.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Access rules for clients, ports, names and addresses.
    pub acl: Acl,
    /// The users; `None` if clients need no credentials. Shared with the policies for other addresses of this machine.
    pub users: Option<Arc<Users>>,
    /// Header fields to remove and to add.
    pub edits: Edits,
    /// Exceptions of the cache for some hosts.
    pub cache_rules: CacheRules,
    /// The administrator's texts for refusals.
    pub pages: Pages,
    /// Whether pages for refused clients leave out the rule; the log always has it.
    pub quiet_refusals: bool,
}

impl Policy {
    /// The policy for a machine whose interfaces have these addresses.
    pub fn with_own_addresses(&self, addresses: Vec<IpAddr>) -> Policy {
        Policy { acl: self.acl.with_own_addresses(addresses), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_may_be_shared_between_loops() {
        fn shareable<T: Send + Sync>() {}
        shareable::<Policy>();
        assert_eq!(size_of::<RuleRef>(), 8);
    }
}

/// Pseudo-random numbers for tests that compare with a plain implementation.
#[cfg(test)]
mod test_numbers {
    /// An xorshift generator: the same numbers for the same seed.
    pub struct Numbers(u64);

    impl Numbers {
        pub fn new(seed: u64) -> Numbers {
            Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x2545_F491_4F6C_DD1D)
        }

        pub fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
        }

        pub fn below(&mut self, limit: usize) -> usize {
            (self.next() >> 33) as usize % limit
        }
    }
}
