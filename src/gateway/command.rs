//! Commands of operators for the running gateway (`weir ctl`).

use super::directives::authority;
use super::rules::{Gateway, Status};
use super::upstream::Standing;
use crate::http::target::Authority;

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `upstreams`: the state of each upstream.
    Upstreams,
    /// `drain-upstream HOST:PORT`: the upstream gets no new requests.
    Drain(Box<Authority>),
    /// `enable-upstream HOST:PORT`: the upstream gets requests again.
    Enable(Box<Authority>),
}

/// The forms of all commands, for people.
pub const FORMS: &str = "upstreams, drain-upstream HOST:PORT, enable-upstream HOST:PORT";

/// The names of the columns of [`Gateway::rows`].
pub const COLUMNS: [&str; 9] = [
    "route",
    "upstream",
    "state",
    "weight",
    "in_flight",
    "requests",
    "failures",
    "checks_failed",
    "marked_down",
];

impl Command {
    /// Reads the words of a command. `None` if the first word is no command of the gateway; an error contains what was expected.
    pub fn read(words: &[&str]) -> Option<Result<Command, String>> {
        let (first, rest) = words.split_first()?;
        Some(match *first {
            "upstreams" if rest.is_empty() => Ok(Command::Upstreams),
            "upstreams" => Err("expected upstreams alone".to_owned()),
            "drain-upstream" => one(first, rest).map(Command::Drain),
            "enable-upstream" => one(first, rest).map(Command::Enable),
            _ => return None,
        })
    }

    /// Whether the command changes anything, so that the log names the operator.
    pub fn changes(&self) -> bool {
        match self {
            Command::Upstreams => false,
            Command::Drain(_) | Command::Enable(_) => true,
        }
    }
}

fn one(name: &str, words: &[&str]) -> Result<Box<Authority>, String> {
    let expected = || format!("expected {name} HOST:PORT, as the gateway file has it");
    let [word] = words else { return Err(expected()) };
    authority(word).map(Box::new).ok_or_else(expected)
}

impl Standing {
    /// The state in a few words; times count from now.
    pub fn text(self, now_ms: u64) -> String {
        match self {
            Standing::Up(share) if share < super::upstream::WHOLE_SHARE => {
                format!("up, starting slowly ({} %)", share * 100 / super::upstream::WHOLE_SHARE)
            }
            Standing::Up(_) => "up".to_owned(),
            Standing::Down(until_ms) => {
                format!("down for {} s", until_ms.saturating_sub(now_ms).div_ceil(1000))
            }
            Standing::Unhealthy => "unhealthy".to_owned(),
            Standing::Drained => "drained".to_owned(),
        }
    }

    /// Whether the upstream gets requests.
    pub fn is_up(self) -> bool {
        match self {
            Standing::Up(_) => true,
            Standing::Down(_) | Standing::Unhealthy | Standing::Drained => false,
        }
    }
}

impl Gateway {
    /// A row for each upstream of each route, with the columns of [`COLUMNS`].
    pub fn rows(&self, now_ms: u64) -> Vec<Vec<String>> {
        let row = |status: Status<'_>| {
            let Status { route, authority, weight, backup, standing, numbers } = status;
            let state = standing.text(now_ms) + if backup { " (backup)" } else { "" };
            let counts = [
                u64::from(numbers.in_flight),
                numbers.requests,
                numbers.failures,
                numbers.checks_failed,
                numbers.marked_down,
            ];
            let texts = [route.to_owned(), authority.to_string(), state, weight.to_string()];
            texts.into_iter().chain(counts.map(|count| count.to_string())).collect()
        };
        self.statuses(now_ms).map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::directives::parse;
    use super::*;

    #[test]
    fn commands_are_read() {
        let authority = |text: &str| Box::new(Authority::parse(text.as_bytes(), Some(80)).unwrap());
        for (words, expected) in [
            (["upstreams"].as_slice(), Some(Ok(Command::Upstreams))),
            (&["drain-upstream", "127.0.0.1:9000"], Some(Ok(Command::Drain(authority("127.0.0.1:9000"))))),
            (&["enable-upstream", "Backend"], Some(Ok(Command::Enable(authority("backend:80"))))),
            #[cfg(feature = "idna")]
            (
                &["drain-upstream", "b\u{fc}cher.example:81"],
                Some(Ok(Command::Drain(authority("xn--bcher-kva.example:81")))),
            ),
            (&["bans"], None),
            (&[], None),
        ] {
            assert_eq!(Command::read(words), expected, "{words:?}");
        }
        for words in [["upstreams", "x"].as_slice(), &["drain-upstream"], &["drain-upstream", "a:0"]] {
            assert!(matches!(Command::read(words), Some(Err(message)) if message.contains("expected")));
        }
    }

    #[test]
    fn rows_tell_how_it_is() {
        let directives = parse(b"a/ -> u weight 2 v backup slow-start 10s").unwrap();
        let gateway = Gateway::new(&directives, None);
        let address = Authority::parse(b"u", Some(80)).unwrap();
        assert_eq!(gateway.set_drained(&address, true, 1), 1);
        let states =
            |now_ms| gateway.rows(now_ms).into_iter().map(|row| row[1..4].join("|")).collect::<Vec<_>>();
        assert_eq!(states(1), ["u:80|drained|2", "v:80|up (backup)|1"]);
        gateway.set_drained(&address, false, 1_000);
        assert_eq!(states(6_000)[0], "u:80|up, starting slowly (62 %)|2");
        assert_eq!(gateway.rows(1)[0].len(), COLUMNS.len());
    }
}
