//! Commands of operators for the running cache (`weir ctl`).

use super::rfc::key::{Scheme, Uri, write_key};
use super::store::Store;
use crate::http::target::Authority;

/// One command: stored responses of every kind of listener are removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `purge all`.
    All,
    /// `purge host HOST[:PORT]`: all responses of an origin.
    Host(Box<Authority>),
    /// `purge URL`: all variants of one URI.
    Uri {
        /// The scheme.
        scheme: Scheme,
        /// The origin.
        authority: Box<Authority>,
        /// Path and query.
        path: Box<[u8]>,
    },
}

/// The forms of all commands, for people.
pub const FORMS: &str = "purge URL, purge host HOST[:PORT], purge all";

impl Command {
    /// Reads the words of a command. `None` if the first word is no command of the cache; an error contains what was expected.
    pub fn read(words: &[&str]) -> Option<Result<Command, String>> {
        match words {
            ["purge", "all"] => Some(Ok(Command::All)),
            ["purge", "host", host] => Some(
                Authority::parse(host.as_bytes(), Some(80))
                    .map(|authority| Command::Host(Box::new(authority)))
                    .map_err(|_| "expected purge host HOST[:PORT]".to_owned()),
            ),
            ["purge", url] => Some(uri(url).ok_or_else(|| format!("{url}: expected {FORMS}"))),
            ["purge", ..] => Some(Err(format!("expected {FORMS}"))),
            _ => None,
        }
    }

    /// Carries the command out. Returns the number of responses removed.
    pub fn carry_out(&self, store: &Store) -> usize {
        let mut key = Vec::new();
        match self {
            Command::All => store.purge(|_| true),
            Command::Host(authority) => {
                let schemes = [(Scheme::Http, false), (Scheme::Http, true), (Scheme::Https, true)];
                let remove = |(scheme, by_gateway)| {
                    key.clear();
                    write_key(&mut key, &Uri { scheme, authority, path: b"/", by_gateway });
                    store.purge(|stored| stored.starts_with(&key))
                };
                schemes.into_iter().map(remove).sum()
            }
            Command::Uri { scheme, authority, path } => {
                let remove = |by_gateway| {
                    key.clear();
                    write_key(&mut key, &Uri { scheme: *scheme, authority, path, by_gateway });
                    store.invalidate(&key)
                };
                [false, true].into_iter().map(remove).sum()
            }
        }
    }
}

/// `http://HOST[:PORT][PATH]`, or `https://`, which only responses of a gateway have.
fn uri(url: &str) -> Option<Command> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = [Scheme::Http, Scheme::Https]
        .into_iter()
        .find(|known| known.as_str().eq_ignore_ascii_case(scheme))?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let authority = Authority::parse(authority.as_bytes(), Some(scheme.default_port())).ok()?;
    Some(Command::Uri { scheme, authority: Box::new(authority), path: path.as_bytes().into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_50_commands_are_read() {
        let read = |line: &str| Command::read(&line.split(' ').collect::<Vec<_>>());
        assert_eq!(read("purge all"), Some(Ok(Command::All)));
        assert!(matches!(read("purge host a.example"), Some(Ok(Command::Host(at))) if at.port == 80));
        for (url, port, path) in [
            ("http://a.example", 80, ""),
            ("HTTP://a.example:8080/p?q", 8080, "/p?q"),
            ("https://a.example?q", 443, "?q"),
        ] {
            let Some(Ok(Command::Uri { authority, path: found, .. })) = read(&format!("purge {url}")) else {
                panic!("{url}");
            };
            assert_eq!((authority.port, &*found), (port, path.as_bytes()), "{url}");
        }
        for wrong in [
            "purge",
            "purge a.example",
            "purge host",
            "purge host a b",
            "purge ftp://a.example/",
            "purge http://",
        ] {
            assert!(matches!(read(wrong), Some(Err(_))), "{wrong}");
        }
        assert_eq!(read("bans"), None);
    }
}
