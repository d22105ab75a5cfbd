//! Commands of operators for the guard, carried out on its state.

use super::control::Control;
use crate::guard::bans::{Ban, BanOrigin, is_private};
use crate::guard::command::{Answer, Command, Rows};
use crate::guard::directives::TEXT_BYTES_MAX;
use crate::guard::networks::network_text;
use crate::guard::rules::{CounterRow, Guard};
use crate::guard::state::State;
use crate::guard::store::{self, EscalationVerdict};
use crate::http::date::http_date;
use crate::text::shortened;
use crate::time::Now;
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// Most bans in one list (chosen: a terminal or a script can still handle them).
const LISTED_MAX: usize = 100_000;

/// The reason of a ban for which none is given (guard semantics, section 4).
const REASON: &str = "banned by an operator";

/// The reason why a ban was not made or not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BanError {
    /// The configuration has no guard file.
    NoGuard,
    /// The text is no address or network, or the time is too short or too long. Contains what was expected.
    Malformed(String),
    /// The guard does not ban that (loopback, its trusted proxies, all addresses), or has as many bans as it may: a sentence.
    Refused(String),
}

impl fmt::Display for BanError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BanError::NoGuard => out.write_str("there is no guard file"),
            BanError::Malformed(why) | BanError::Refused(why) => out.write_str(why),
        }
    }
}

impl std::error::Error for BanError {}

impl Control {
    /// Bans an address, or a network such as `192.0.2.0/24`, for that time, rounded up to whole seconds; `None` is for ever.
    /// Takes effect at once; connections and requests of banned clients are cut. The configuration needs a guard file
    /// (`guard`), even an empty one. The longest time is 3,650 days. An empty `reason` becomes `banned by an operator`, a long one is cut to
    /// 200 bytes.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # if !cfg!(feature = "guard") {
    /// #     return Ok(());
    /// # }
    /// use std::time::Duration;
    /// let configuration = weir::Configuration::new()
    ///     .text("host 127.0.0.1\nport 0\nguard guard.conf\n")
    ///     .file("guard.conf", "");
    /// let proxy = weir::Proxy::builder().configuration(configuration).build()?;
    /// proxy.control().ban("192.0.2.0/24", Some(Duration::from_secs(3600)), "scanned")?;
    /// assert!(proxy.control().unban("192.0.2.0/24")?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn ban(&self, network: &str, lasts: Option<Duration>, reason: &str) -> Result<(), BanError> {
        let seconds = |lasts: Duration| {
            format!("{}s", lasts.as_secs().saturating_add(u64::from(lasts.subsec_nanos() > 0)))
        };
        let lasts = lasts.map_or("ever".to_owned(), seconds);
        let mut words = vec!["ban", network, "for", &lasts];
        if !reason.is_empty() {
            words.extend(["reason", shortened(reason, TEXT_BYTES_MAX)]);
        }
        self.obey_words(&words).map(|_| ())
    }

    /// Ends the ban of an address or network, written as in the ban. False if there is no such ban.
    pub fn unban(&self, network: &str) -> Result<bool, BanError> {
        self.obey_words(&["unban", network])
    }

    /// Carries out a command that changes something. False if its object does not exist.
    fn obey_words(&self, words: &[&str]) -> Result<bool, BanError> {
        let unknown = || Err("expected ban or unban".to_owned());
        let command = Command::read(words).unwrap_or_else(unknown).map_err(BanError::Malformed)?;
        match self.obey_guard_command(&command) {
            Answer::NoGuard => Err(BanError::NoGuard),
            Answer::NotFound(_) => Ok(false),
            Answer::Refused(why) => Err(BanError::Refused(why)),
            Answer::Done(_) | Answer::Rows(_) => Ok(true),
        }
    }

    /// Carries out a command of an operator for the guard.
    #[doc(hidden)]
    pub fn obey_guard_command(&self, command: &Command) -> Answer {
        let Some(guard) = self.guard() else { return Answer::NoGuard };
        let (state, now) = (guard.state(), self.guard_now());
        match command {
            Command::Ban { network, lasts, reason } => ban(state, *network, *lasts, reason, now),
            Command::Unban(network) => match state.unban(*network, now) {
                true => Answer::Done(format!("{} is not banned any more", network_text(*network))),
                false => Answer::NotFound(format!("{} has no ban", network_text(*network))),
            },
            Command::Bans => Answer::Rows(bans(state, now)),
            Command::Limits(client) => Answer::Rows(limits(&guard, *client, now)),
            Command::Unblock(client) => match guard.forget(*client) {
                // The counters of the store are not known in this process.
                false if guard.store().is_some() => Answer::Done(format!(
                    "nothing is counted of {client} here; the store forgets what it has"
                )),
                true => Answer::Done(format!("what was counted of {client} is forgotten")),
                false => Answer::NotFound(format!("nothing is counted of {client}")),
            },
        }
    }
}

fn ban(state: &State, network: IpNet, lasts: Option<Duration>, reason: &str, now: Now) -> Answer {
    let until_unix_ms = lasts.map(|lasts| now.unix_ms().saturating_add(lasts.as_millis() as u64));
    let reason = if reason.is_empty() { REASON } else { reason };
    let ban = Ban { until_unix_ms, reason: reason.into(), origin: BanOrigin::Control, line: 0 };
    match state.ban(network, ban, now) {
        Ok(()) => {
            let until = until_unix_ms.map_or("for ever".to_owned(), |until| format!("until {}", date(until)));
            let private = if is_private(network) { "; it is a private network" } else { "" };
            Answer::Done(format!("{} is banned {until}{private}", network_text(network)))
        }
        Err(refused) => Answer::Refused(format!("{} is not banned: {refused}", network_text(network))),
    }
}

fn date(unix_ms: u64) -> String {
    String::from_utf8_lossy(&http_date(unix_ms / 1000)).into_owned()
}

fn bans(state: &State, now: Now) -> Rows {
    let table = state.read_bans();
    let mut live =
        table.iter().filter(|(_, ban)| ban.until_unix_ms.is_none_or(|until| until > now.unix_ms()));
    let mut all: Vec<(IpNet, &Ban)> = live.by_ref().take(LISTED_MAX).collect();
    let more = live.count();
    all.sort_by_key(|(network, _)| *network);
    let row = |(network, ban): (IpNet, &Ban)| {
        let by = match ban.origin {
            BanOrigin::GuardFile => format!("guard:{}", ban.line),
            BanOrigin::BanFile => format!("file of guard:{}", ban.line),
            BanOrigin::Automatic if ban.line == 0 => "ban-after".to_owned(),
            BanOrigin::Automatic => format!("ban-after, guard:{}", ban.line),
            BanOrigin::Control => "control".to_owned(),
            BanOrigin::Store => "store".to_owned(),
        };
        let until = ban.until_unix_ms.map_or("for ever".to_owned(), date);
        vec![network_text(network), until, by, ban.reason.to_string()]
    };
    Rows { columns: &["network", "until", "by", "reason"], rows: all.into_iter().map(row).collect(), more }
}

/// The state of each limit for a client; with a shared store, the state in this process. A counter whose keys have more than
/// the client's address cannot be looked up: its row has `not listed`.
fn limits(guard: &Guard, client: IpAddr, now: Now) -> Rows {
    let banned = guard.state().banned(client, now).map(|line| {
        let rule = if line > 0 { format!("guard:{line}") } else { "ban".to_owned() };
        vec![rule, "banned".to_owned(), String::new(), String::new(), String::new()]
    });
    let row = |counter: CounterRow| {
        let (state, left, retry_after_ms) = match counter.answer {
            None => ("not listed", None, 0),
            Some(store::Answer::Window { within, left, retry_after_ms }) => {
                (if within { "open" } else { "limited" }, Some(left), retry_after_ms)
            }
            Some(store::Answer::Escalation(step)) => match step.verdict {
                EscalationVerdict::Pass => ("open", None, 0),
                EscalationVerdict::Over { retry_after_ms } => ("limited", None, retry_after_ms),
                EscalationVerdict::Blocked { retry_after_ms } => ("blocked", None, retry_after_ms),
                EscalationVerdict::Permanent => ("blocked for ever", None, 0),
            },
        };
        let left = left.map_or(String::new(), |left| left.to_string());
        let again =
            if retry_after_ms > 0 { retry_after_ms.div_ceil(1000).to_string() } else { String::new() };
        let rule = format!("guard:{}", counter.line);
        vec![rule, state.to_owned(), left, again, counter.of.to_string()]
    };
    let rows = banned.into_iter().chain(guard.counters_of(client, now).into_iter().map(row));
    Rows { columns: &["rule", "state", "left", "retry_after_s", "of"], rows: rows.collect(), more: 0 }
}
