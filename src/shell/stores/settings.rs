//! The settings of a shared store.

use std::fmt;
use std::time::Duration;

/// The reference library's prefix (guard semantics, section 3).
const PREFIX: &str = "guard_core:";
/// Section 3, Ours.
const DEADLINE: Duration = Duration::from_millis(50);
/// Section 3: time-out of connecting, and of a server without replies until its connection is closed.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Section 4, Ours.
const RESYNC_EVERY: Duration = Duration::from_secs(30);
/// Most bans of the store that are reported (chosen: the table of bans is measured with this number).
const BANS_MAX: usize = 1_000_000;

/// The address of a shared store, and its time-outs.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// `redis://`, `rediss://`, `redis-cluster://`, `redis-sentinel://`, `mongodb://`, and so on; see `docs/stores.md`.
    pub url: Box<str>,
    /// Replaces a password in the URL, which other users can read.
    pub password: Option<Box<str>>,
    /// Authorities for TLS, as certificates in PEM, in place of the system's.
    pub roots_pem: Option<Box<[u8]>>,
    /// Stands before every key.
    pub prefix: Box<str>,
    /// A question that has waited for so long is answered with `StoreFailure::Late`.
    pub deadline: Duration,
    /// Time-out of connecting.
    pub connect_timeout: Duration,
    /// A connection without an answer for so long is given up.
    pub read_timeout: Duration,
    /// Time between two loads of all bans.
    pub resync_every: Duration,
    /// Most bans that are reported; further ones are counted.
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
