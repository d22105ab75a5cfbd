//! Which hosts' responses the cache leaves alone, and for how long it takes others' to be fresh at most.

use super::rules::Rule;
use crate::http::target::Host;

/// Most rules of this kind (chosen: each costs every request a comparison).
pub const CACHE_RULES_MAX: usize = 256;

/// What the cache does with a host's responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Neither stores nor uses them.
    Off,
    /// Takes them to be fresh for so many seconds at most, whatever the origin says.
    AtMost(u32),
}

/// Rules in the order in which they were written.
#[derive(Clone, Debug, Default)]
pub struct CacheRules(Vec<(Rule, Treatment)>);

impl CacheRules {
    /// Adds one behind the others. False if there are [`CACHE_RULES_MAX`] of them.
    #[must_use]
    pub fn push(&mut self, rule: Rule, treatment: Treatment) -> bool {
        let fits = self.0.len() < CACHE_RULES_MAX;
        if fits {
            self.0.push((rule, treatment));
        }
        fits
    }

    /// What the first rule for a host and port says. A name is not resolved.
    pub fn find(&self, host: &Host, port: u16) -> Option<Treatment> {
        self.0.iter().find(|(rule, _)| rule.matches(host, port)).map(|(_, treatment)| *treatment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::target::Name;

    #[test]
    fn the_first_that_matches_counts_and_there_are_not_too_many() {
        let mut rules = CacheRules::default();
        for (text, treatment) in [
            ("live.example:8080", Treatment::Off),
            (".live.example", Treatment::AtMost(5)),
            ("www.live.example", Treatment::Off),
            ("192.0.2.0/24", Treatment::AtMost(0)),
        ] {
            assert!(rules.push(Rule::parse(text).unwrap(), treatment));
        }
        for (host, port, expected) in [
            ("live.example", 8080, Some(Treatment::Off)),
            ("live.example", 80, Some(Treatment::AtMost(5))),
            ("www.live.example", 80, Some(Treatment::AtMost(5))),
            ("192.0.2.7", 80, Some(Treatment::AtMost(0))),
            ("192.0.3.7", 80, None),
            ("other.example", 80, None),
        ] {
            let name = || Host::Name(Name::parse(host.as_bytes()).unwrap());
            let host = host.parse().map_or_else(|_| name(), Host::Address);
            assert_eq!(rules.find(&host, port), expected, "{host:?}:{port}");
        }
        let more = Rule::parse("a.example").unwrap();
        let added = (0..CACHE_RULES_MAX).filter(|_| rules.push(more, Treatment::Off)).count();
        assert_eq!(added, CACHE_RULES_MAX - 4);
    }
}
