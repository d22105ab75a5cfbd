//! Exceptions of the cache for some hosts (no caching, or a maximal lifetime), and the token for PURGE.

use std::fmt;

use subtle::ConstantTimeEq;

use super::rules::Rule;
use super::sip::sip128;
use crate::http::target::Host;
use crate::words;

/// Most rules (chosen: each costs every request a comparison).
pub const CACHE_RULES_MAX: usize = 256;

/// How the cache handles the responses of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// The cache neither stores nor uses the responses.
    Off,
    /// The responses are fresh for at most so many seconds, whatever the origin says.
    AtMost(u32),
}

/// The request field with the token for PURGE.
pub const PURGE_TOKEN_FIELD: &str = "purge-token";

/// Shortest and longest token for PURGE in bytes (chosen: too long to guess, and it fits in a line).
pub const PURGE_TOKEN_BYTES: std::ops::RangeInclusive<usize> = 16..=512;

const EXPECTED_TOKEN: &str =
    "one line: a token of 16 to 512 visible ASCII characters, as openssl rand -hex 16 makes them";

/// The token for PURGE, as a keyed hash: a comparison takes the same time for any difference, and a memory image does
/// not show the token.
#[derive(Clone)]
pub struct PurgeToken {
    seed: u128,
    hash: u128,
}

impl fmt::Debug for PurgeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PurgeToken")
    }
}

impl PurgeToken {
    /// Reads a file with a token and an optional line end. An error says what was expected, and never shows the text.
    /// The seed must be secret and random.
    pub fn parse(text: &[u8], seed: u128) -> Result<PurgeToken, &'static str> {
        let text = words::without_mark(text);
        let token = text.strip_suffix(b"\n").unwrap_or(text);
        let token = token.strip_suffix(b"\r").unwrap_or(token);
        let fits = PURGE_TOKEN_BYTES.contains(&token.len()) && token.iter().all(u8::is_ascii_graphic);
        let token = PurgeToken { seed, hash: hash(seed, token) };
        if fits { Ok(token) } else { Err(EXPECTED_TOKEN) }
    }

    /// The hash of a token, valid for this `PurgeToken` only.
    pub fn key(&self, given: &[u8]) -> u128 {
        sip128(self.seed, &[b"known purge token", given])
    }

    /// Whether `given` is the token.
    pub fn matches(&self, given: &[u8]) -> bool {
        self.hash.to_le_bytes().ct_eq(&hash(self.seed, given).to_le_bytes()).into()
    }
}

fn hash(seed: u128, token: &[u8]) -> u128 {
    sip128(seed, &[b"purge token", token])
}

/// The rules in configured order, and the token.
#[derive(Clone, Debug, Default)]
pub struct CacheRules {
    rules: Vec<(Rule, Treatment)>,
    purge_token: Option<PurgeToken>,
}

impl CacheRules {
    /// Appends a rule. False if there are [`CACHE_RULES_MAX`] already.
    #[must_use]
    pub fn push(&mut self, rule: Rule, treatment: Treatment) -> bool {
        let fits = self.rules.len() < CACHE_RULES_MAX;
        if fits {
            self.rules.push((rule, treatment));
        }
        fits
    }

    /// Sets the token that PURGE needs.
    pub fn set_purge_token(&mut self, token: PurgeToken) {
        self.purge_token = Some(token);
    }

    /// The token that PURGE needs; `None` if PURGE needs no token.
    pub fn purge_token(&self) -> Option<&PurgeToken> {
        self.purge_token.as_ref()
    }

    /// The first rule for a host and port. Names are not resolved.
    pub fn find(&self, host: &Host, port: u16) -> Option<Treatment> {
        self.rules.iter().find(|(rule, _)| rule.matches(host, port)).map(|(_, treatment)| *treatment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::target::Name;

    #[test]
    fn kind_19_a_token_is_a_line() {
        let marked = PurgeToken::parse(b"\xef\xbb\xbf0123456789abcdef\r\n", 7).unwrap();
        assert_eq!(marked.hash, PurgeToken::parse(b"0123456789abcdef", 7).unwrap().hash);
        const TOKEN: &str = "0123456789abcdef";
        for text in [TOKEN, "0123456789abcdef\n", "0123456789abcdef\r\n"] {
            let token = PurgeToken::parse(text.as_bytes(), 7).unwrap();
            assert!(token.matches(TOKEN.as_bytes()));
            for other in ["", "0123456789abcdeg", "0123456789abcde", "0123456789abcdef ", "0123456789ABCDEF"]
            {
                assert!(!token.matches(other.as_bytes()), "{other}");
            }
            assert_eq!(format!("{token:?}"), "PurgeToken");
            assert_ne!(token.key(TOKEN.as_bytes()), token.hash);
        }
        let long = "x".repeat(513);
        for text in [
            "",
            "\n",
            "0123456789abcde",
            "0123456789abcdef\n\n",
            " 123456789abcdef",
            "0123 456789abcdef",
            &long,
        ] {
            assert_eq!(PurgeToken::parse(text.as_bytes(), 7).err(), Some(EXPECTED_TOKEN), "{text:?}");
        }
        assert!(PurgeToken::parse(&[0xE9; 20], 7).is_err());
    }

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
