//! The URL of a shared store. Its password is never shown.

use super::StoreLine;
use super::words::shown_url;
use crate::http::target::Host;
use std::fmt;

/// Longest URL, in bytes (chosen: a cluster of a few dozen servers).
const URL_BYTES_MAX: usize = 2048;

/// The servers in a URL, and the part behind them, by scheme.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// One server, and the number of a database behind a slash.
    Single,
    /// Servers with commas, and no database.
    Cluster,
    /// Servers with commas, and the name of the group behind a slash, with the number of a database behind another one.
    Sentinel,
    /// Servers with commas, the name of a database behind a slash, and options.
    Mongo,
}

const SCHEMES: [(&str, Form); 9] = [
    ("redis", Form::Single),
    ("rediss", Form::Single),
    ("redis-cluster", Form::Cluster),
    ("rediss-cluster", Form::Cluster),
    ("redis-sentinel", Form::Sentinel),
    ("rediss-sentinel", Form::Sentinel),
    ("valkey", Form::Single),
    ("valkeys", Form::Single),
    ("mongodb", Form::Mongo),
];

/// Whether a URL names a Redis server whose certificate is checked.
pub(super) fn is_redis_with_tls(url: &str) -> bool {
    ["rediss://", "rediss-cluster://", "rediss-sentinel://", "valkeys://"]
        .iter()
        .any(|begin| url.starts_with(begin))
}

/// Checks the form of a URL. Whether the servers can be reached is found out later.
pub(super) fn check_url(url: &str) -> Result<(), String> {
    let wrong = |expected: &str| Err(format!("expected {expected}, found {}", shown_url(url)));
    let parts =
        url.split_once("://").filter(|_| url.len() <= URL_BYTES_MAX && !url.contains(char::is_whitespace));
    let form = parts.and_then(|(scheme, _)| SCHEMES.iter().find(|(known, _)| *known == scheme));
    let (Some((_, rest)), Some((scheme, form))) = (parts, form) else {
        return wrong(
            "a URL such as redis://127.0.0.1:6379 (redis, rediss, redis-cluster, rediss-cluster, redis-sentinel, mongodb)",
        );
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (servers, behind) = rest.split_at(end);
    let servers = servers.rsplit_once('@').map_or(servers, |(_, servers)| servers);
    if !servers.split(',').all(is_server) || (*form == Form::Single && servers.contains(',')) {
        return match form {
            Form::Single => wrong(&format!("one server, as in {scheme}://HOST:PORT")),
            _ => wrong(&format!("servers, as in {scheme}://HOST:PORT,HOST:PORT")),
        };
    }
    if *form != Form::Mongo && behind.contains('?') {
        return wrong("no options behind a question mark");
    }
    let path = behind.strip_prefix('/').unwrap_or_default();
    let is_database = |text: &str| text.is_empty() || text.parse::<u16>().is_ok() && !text.starts_with('+');
    match form {
        Form::Single if !is_database(path) => {
            wrong(&format!("the number of a database behind the slash, as in {scheme}://HOST:PORT/0"))
        }
        Form::Cluster if !path.is_empty() => {
            wrong("nothing behind the servers, because a cluster has one database only")
        }
        Form::Sentinel => match path.split_once('/').unwrap_or((path, "")) {
            ("", _) => wrong(&format!("the name of the group, as in {scheme}://HOST:PORT/NAME")),
            (_, database) if !is_database(database) => {
                wrong(&format!("the number of a database behind the name, as in {scheme}://HOST:PORT/NAME/0"))
            }
            _ => Ok(()),
        },
        Form::Single | Form::Cluster | Form::Mongo => Ok(()),
    }
}

fn is_server(text: &str) -> bool {
    let port_at = text.rfind(':').filter(|at| !text[*at..].contains(']'));
    let (host, port) = port_at.map_or((text, "1"), |at| (&text[..at], &text[at + 1..]));
    let is_port =
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    is_port && Host::parse(host.as_bytes()).is_ok()
}

/// The scheme of a URL, its user with a password, and what follows the `@`. `None` without a password.
fn with_password(url: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find('?').unwrap_or(rest.len());
    let at = rest[..end].rfind('@')?;
    let (user, _) = rest[..at].split_once(':')?;
    Some((scheme, user, &rest[at..]))
}

pub(super) fn has_password(url: &str) -> bool {
    with_password(url).is_some()
}

/// The URL with a password, and with options behind a question mark, replaced by `***`.
pub(super) fn without_secret(url: &str) -> String {
    let hidden = with_password(url).map(|(scheme, user, behind)| format!("{scheme}://{user}:***{behind}"));
    let shown = hidden.unwrap_or_else(|| url.to_owned());
    match shown.split_once('?') {
        Some((before, _)) => format!("{before}?***"),
        None => shown,
    }
}

/// Without the password that the URL may have.
impl fmt::Debug for StoreLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = without_secret(&self.url);
        out.debug_struct("StoreLine").field("place", &self.place).field("url", &url).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_every_kind() {
        for url in [
            "redis://127.0.0.1:6379",
            "redis://127.0.0.1",
            "redis://[::1]:6379/0",
            "redis://[::1]",
            "rediss://user:secret@redis.example:6380/1",
            "redis-cluster://10.0.0.1:7000,10.0.0.2:7000,[2001:db8::3]:7000",
            "rediss-cluster://:secret@a:1,b:2",
            "redis://[::1]:6379/",
            "redis-cluster://a:1,b:2/",
            "redis-sentinel://10.0.0.1:26379,10.0.0.2:26379/main",
            "redis-sentinel://10.0.0.1:26379/main/2",
            "mongodb://a:27017,b:27017/guard?replicaSet=rs0",
        ] {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
        for url in [
            "",
            "redis",
            "redis://",
            "redis:///0",
            "redis://:6379",
            "redis://a:0",
            "redis://a:65536",
            "redis://a:+1",
            "redis://a:",
            "redis://a,b",
            "redis-cluster://a:1,,b:1",
            "redis://a:1/x",
            "redis://a:1/0/1",
            "redis://a:1/-1",
            "redis://a:1/+1",
            "redis://a:1/0?protocol=resp3",
            "redis-cluster://a:1/3",
            "redis-sentinel://a:1",
            "redis-sentinel://a:1/",
            "redis-sentinel://a:1/main/x",
            "redis-sentinel://a:1/main/0/1",
            "http://a:1",
            "REDIS://a:1",
            "redis://user:se cret@a",
        ] {
            assert!(check_url(url).is_err_and(|message| message.contains("expected")), "{url}");
        }
    }

    #[test]
    fn guard_12_passwords_are_not_shown() {
        for (url, expected) in [
            ("redis://a:1", "redis://a:1"),
            ("redis://user@a:1", "redis://user@a:1"),
            ("redis://user:s3cret@a:1/0", "redis://user:***@a:1/0"),
            ("redis://:s3cret@a:1", "redis://:***@a:1"),
            ("redis-cluster://u:s3c@ret@a:1,b:2", "redis-cluster://u:***@a:1,b:2"),
            ("mongodb://a:1/x?authSource=s3cret", "mongodb://a:1/x?***"),
            ("mongodb://u:1/s3cret@a:1/x?y=s@cret", "mongodb://u:***@a:1/x?***"),
        ] {
            assert_eq!(without_secret(url), expected);
            assert_eq!(has_password(url), expected.contains(":***@"), "{url}");
        }
        for url in [
            "redis://u:s3cret@",
            "http://u:s3cret@a",
            "redis-sentinel://:s3cret@a:1",
            "redis://a:1?password=s3cret",
            "redis:/u:s3cret@a",
            "redis//u:s3cret@a",
            "redis//a?password=s3cret",
        ] {
            assert!(check_url(url).is_err_and(|message| !message.contains("s3cret")), "{url}");
        }
    }
}
