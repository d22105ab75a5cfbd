//! Commands of operators for the running guard (`weir ctl`), and their answers. The owner of bans and counters
//! carries them out. Values are written as in the guard file.

use super::directives::{TEXT_BYTES_MAX, duration, network};
use ipnet::IpNet;
use std::net::IpAddr;
use std::time::Duration;

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `ban ADDRESS|NETWORK [for DURATION] [reason TEXT]`.
    Ban {
        /// An address is a network with one address.
        network: IpNet,
        /// `None` for a permanent ban.
        lasts: Option<Duration>,
        /// Empty if none is given.
        reason: String,
    },
    /// `unban ADDRESS|NETWORK`.
    Unban(IpNet),
    /// `bans`.
    Bans,
    /// `limits ADDRESS`: the counters of a client, and the requests that are left.
    Limits(IpAddr),
    /// `unblock ADDRESS`: forgets the violations of a client and ends its block.
    Unblock(IpAddr),
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The command was carried out; the text is a sentence.
    Done(String),
    /// The rows that were requested.
    Rows(Rows),
    /// The object of the command does not exist.
    NotFound(String),
    /// The command cannot be carried out; the text has the reason.
    Refused(String),
    /// No guard file is loaded.
    NoGuard,
}

/// A table: each row has a text for each column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// The names of the columns, also used in JSON.
    pub columns: &'static [&'static str],
    /// The rows.
    pub rows: Vec<Vec<String>>,
    /// Further rows that are not listed.
    pub more: usize,
}

/// The forms of all commands, for people.
pub const FORMS: &str = "ban ADDRESS|NETWORK [for DURATION] [reason TEXT], unban ADDRESS|NETWORK, bans, limits ADDRESS, \
                         unblock ADDRESS";

impl Command {
    /// Reads the words of a command. `None` if the first word is no command of the guard; an error contains what was expected.
    pub fn read(words: &[&str]) -> Option<Result<Command, String>> {
        let (first, rest) = words.split_first()?;
        Some(match *first {
            "ban" => ban(rest),
            "unban" => one(rest, network, "unban ADDRESS|NETWORK").map(Command::Unban),
            "bans" if rest.is_empty() => Ok(Command::Bans),
            "bans" => Err("expected bans alone".to_owned()),
            "limits" => one(rest, address, "limits ADDRESS").map(Command::Limits),
            "unblock" => one(rest, address, "unblock ADDRESS").map(Command::Unblock),
            _ => return None,
        })
    }

    /// Whether the command changes anything, so that the log names the operator.
    pub fn changes(&self) -> bool {
        match self {
            Command::Ban { .. } | Command::Unban(_) | Command::Unblock(_) => true,
            Command::Bans | Command::Limits(_) => false,
        }
    }
}

fn one<T>(words: &[&str], read: fn(&str) -> Result<T, String>, form: &str) -> Result<T, String> {
    match words {
        [word] => read(word),
        _ => Err(format!("expected {form}")),
    }
}

fn ban(words: &[&str]) -> Result<Command, String> {
    let (target, mut rest) =
        words.split_first().ok_or("expected ban ADDRESS|NETWORK [for DURATION] [reason TEXT]")?;
    let network = network(target)?;
    let mut lasts = None;
    if let ["for", time, after @ ..] = rest {
        lasts = match *time {
            "ever" | "forever" => None,
            time => Some(Duration::from_millis(duration(time)?)),
        };
        rest = after;
    }
    let reason = match rest {
        [] => String::new(),
        // The guard file has both orders, because a reason is one word there.
        ["reason", .., "for", time] if matches!(*time, "ever" | "forever") || duration(time).is_ok() => {
            return Err(format!(
                "for {time} is the end of the reason: expected for {time} before the reason"
            ));
        }
        ["reason", text @ ..] if !text.is_empty() => text.join(" "),
        [word, ..] => return Err(format!("{word:?}: expected for DURATION, or reason TEXT at the end")),
    };
    if reason.len() > TEXT_BYTES_MAX {
        return Err(format!("expected a reason of at most {TEXT_BYTES_MAX} bytes"));
    }
    Ok(Command::Ban { network, lasts, reason })
}

/// An IPv4 address in IPv6 form counts as IPv4, as everywhere in the guard.
fn address(text: &str) -> Result<IpAddr, String> {
    let address = text.parse::<IpAddr>().map_err(|_| format!("{text:?}: expected an address"))?;
    Ok(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<Result<Command, String>> {
        Command::read(&line.split(' ').collect::<Vec<_>>())
    }

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn commands_are_read() {
        let ban = |network: &str, lasts_s: Option<u64>, reason: &str| Command::Ban {
            network: net(network),
            lasts: lasts_s.map(Duration::from_secs),
            reason: reason.to_owned(),
        };
        for (line, expected) in [
            ("ban 203.0.113.9", ban("203.0.113.9/32", None, "")),
            ("ban 203.0.113.0/24 for 1m", ban("203.0.113.0/24", Some(60), "")),
            (
                "ban 2001:db8::1 for 2w reason for the abuse",
                ban("2001:db8::1/128", Some(1_209_600), "for the abuse"),
            ),
            ("ban ::ffff:192.0.2.1 reason x", ban("192.0.2.1/32", None, "x")),
            ("ban ::1 for ever", ban("::1/128", None, "")),
            ("unban 203.0.113.0/24", Command::Unban(net("203.0.113.0/24"))),
            ("bans", Command::Bans),
            ("limits 192.0.2.1", Command::Limits("192.0.2.1".parse().unwrap())),
            ("unblock ::1", Command::Unblock("::1".parse().unwrap())),
        ] {
            assert_eq!(read(line), Some(Ok(expected)), "{line}");
        }
        assert_eq!(read("stats"), None);
        assert_eq!(Command::read(&[]), None);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let long = format!("ban ::1 reason {}", "x".repeat(TEXT_BYTES_MAX + 1));
        for (line, part) in [
            ("ban", "expected ban ADDRESS|NETWORK"),
            ("ban nowhere", "expected an address or a network"),
            ("ban 203.0.113.9/24", "has bits behind its prefix"),
            ("ban ::1 for", "\"for\": expected for DURATION"),
            ("ban ::1 for 0", "expected a time"),
            ("ban ::1 for 1y", "expected a time"),
            ("ban ::1 for 4000d", "expected a time"),
            ("ban ::1 for 99999999999999999999d", "expected a time"),
            ("ban ::1 reason", "\"reason\": expected"),
            ("ban ::1 reason abuse report for 1h", "expected for 1h before the reason"),
            ("ban ::1 reason abuse for ever", "before the reason"),
            ("ban ::1 1m", "\"1m\": expected for"),
            ("unban", "expected unban"),
            ("unban ::1 ::2", "expected unban"),
            ("bans all", "expected bans alone"),
            ("limits 10.0.0.0/8", "expected an address"),
            (&long, "expected a reason of at most 200 bytes"),
        ] {
            let error = read(line).expect("a command of the guard").expect_err(line);
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
