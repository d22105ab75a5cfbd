//! Who may go where, and who may ask. Immutable once loaded, pure, and synchronous: the shell reads the files, the engine asks.
//!
//! [`acl`] gives one verdict over client, name, port and every resolved address; its rules come from [`rules`], are kept in
//! [`domain_set`] and [`address_set`], and [`address`] knows which addresses are closed unless somebody opens them.
//! [`auth`] knows the users; slow hashes leave it as jobs for another thread. [`edit`] holds the header fields that
//! configuration removes or adds, [`cache_rules`] what the cache does otherwise for some hosts, [`pages`] what refused clients
//! are told in place of weir's own words.

use crate::http::fields::write_decimal;
use std::fmt;

pub mod acl;
pub mod address;
pub mod address_set;
pub mod auth;
pub mod cache_rules;
pub mod credentials;
pub mod domain_set;
pub mod edit;
pub mod pages;
pub mod port_set;
pub mod remembered;
pub mod rules;
mod sip;
pub mod slow;

use acl::Acl;
use auth::Users;
use cache_rules::CacheRules;
use edit::Edits;
use pages::Pages;
use std::net::IpAddr;

/// Everything that one configuration says about who may do what. What is under way keeps the one it began with.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Who may go where.
    pub acl: Acl,
    /// Who may ask; `None` if nobody has to say who they are.
    pub users: Option<Users>,
    /// Header fields to remove and to add.
    pub edits: Edits,
    /// Whose responses the cache treats in another way.
    pub cache_rules: CacheRules,
    /// What refusals say beside weir's own words.
    pub pages: Pages,
    /// Clients are not told which rule refused them; the log still is.
    pub quiet_refusals: bool,
}

impl Policy {
    /// The same on a machine whose interfaces have these addresses now.
    pub fn with_own_addresses(&self, addresses: Vec<IpAddr>) -> Policy {
        Policy { acl: self.acl.with_own_addresses(addresses), ..self.clone() }
    }
}

/// Where a rule was written. [`Acl::describe`] gives it words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleRef {
    /// Which file or option, by number.
    pub source: u16,
    /// Its line, or its place among the options of that name; counted from 1.
    pub line: u32,
}

/// A source and line in words, such as `blocklist.txt:12`.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The name of the source.
    pub source: &'a str,
    /// The line.
    pub line: u32,
}

impl Place<'_> {
    /// Appends what `Display` writes: many requests are told with the rule that let them pass.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.source.as_bytes());
        out.push(b':');
        write_decimal(out, u64::from(self.line));
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source, self.line)
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
