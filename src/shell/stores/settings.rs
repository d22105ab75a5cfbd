//! How a shared store is reached.

use std::fmt;
use std::time::Duration;

/// The reference library's prefix (guard semantics, section 3).
const PREFIX: &str = "guard_core:";
/// Section 3, Ours.
const DEADLINE: Duration = Duration::from_millis(50);
/// Section 3: for connecting, and for a server that does not answer until its connection is given up.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Section 4, Ours.
const RESYNC_EVERY: Duration = Duration::from_secs(30);
/// So many bans of the store are told (chosen: what the table of bans is measured with).
const BANS_MAX: usize = 1_000_000;

/// Where a shared store is, and how long it is waited for.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// `redis://`, `rediss://`, `redis-cluster://`, `redis-sentinel://`, `mongodb://`, and so on; see `docs/stores.md`.
    pub url: Box<str>,
    /// Takes the place of a password in the URL, which others can read.
    pub password: Option<Box<str>>,
    /// Certificates in PEM whose signatures hold for TLS, instead of those of the system.
    pub roots_pem: Option<Box<[u8]>>,
    /// Stands before every key.
    pub prefix: Box<str>,
    /// A question that has waited for so long is answered with `StoreFailure::Late`.
    pub deadline: Duration,
    /// For a connection to come about.
    pub connect_timeout: Duration,
    /// A connection without an answer for so long is given up.
    pub read_timeout: Duration,
    /// How often all bans are loaded anew.
    pub resync_every: Duration,
    /// So many bans are told at most; those above are counted.
    pub bans_max: usize,
}

impl StoreSettings {
    /// The store at this URL, and the numbers of guard semantics, section 3.
    pub fn new(url: &str) -> StoreSettings {
        StoreSettings {
            url: url.into(),
            password: None,
            roots_pem: None,
            prefix: PREFIX.into(),
            deadline: DEADLINE,
            connect_timeout: TIMEOUT,
            read_timeout: TIMEOUT,
            resync_every: RESYNC_EVERY,
            bans_max: BANS_MAX,
        }
    }

    /// The URL without user and password, for messages.
    pub fn shown_url(&self) -> String {
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("", &self.url));
        let end = rest.find('/').unwrap_or(rest.len());
        let host = rest[..end].rfind('@').map_or(0, |at| at + 1);
        format!("{scheme}://{}", rest[host..].split('?').next().unwrap_or_default())
    }
}

/// Without secrets.
impl fmt::Debug for StoreSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreSettings").field("url", &self.shown_url()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_secrets() {
        for (url, shown) in [
            ("redis://127.0.0.1:6379/2", "redis://127.0.0.1:6379/2"),
            ("rediss://user:pa@ss@host:1", "rediss://host:1"),
            ("redis-sentinel://:secret@a:1,b:2/name", "redis-sentinel://a:1,b:2/name"),
            ("mongodb://u:p@h/db?authSource=x", "mongodb://h/db"),
            ("secret", "://secret"),
        ] {
            let mut settings = StoreSettings::new(url);
            settings.password = Some("hidden".into());
            assert_eq!(settings.shown_url(), shown);
            assert!(!format!("{settings:?}").contains("hidden"));
        }
    }
}
