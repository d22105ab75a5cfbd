//! What an operator asks of the guard while it runs, carried out over what it has counted.

use super::control::Control;
use crate::guard::bans::{Ban, BanOrigin, is_private};
use crate::guard::command::{Answer, Command, Rows};
use crate::guard::networks::network_text;
use crate::guard::rules::{CounterRow, Guard};
use crate::guard::state::State;
use crate::guard::store::{self, EscalationVerdict};
use crate::http::date::http_date;
use crate::time::Now;
use ipnet::IpNet;
use std::net::IpAddr;
use std::time::Duration;

/// Bans that are listed at most (chosen: what a terminal or a script takes).
const LISTED_MAX: usize = 100_000;

/// The reason of a ban for which none is given (guard semantics, section 4).
const REASON: &str = "banned by an operator";

impl Control {
    /// Carries out what an operator asks of the guard.
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
    let live = table.iter().filter(|(_, ban)| ban.until_unix_ms.is_none_or(|until| until > now.unix_ms()));
    let mut all: Vec<(IpNet, &Ban)> = live.take(LISTED_MAX).collect();
    all.sort_by_key(|(network, _)| *network);
    let row = |(network, ban): (IpNet, &Ban)| {
        let by = match ban.origin {
            BanOrigin::GuardFile => format!("guard:{}", ban.line),
            BanOrigin::BanFile => format!("file of guard:{}", ban.line),
            BanOrigin::Automatic => format!("ban-after, guard:{}", ban.line),
            BanOrigin::Control => "control".to_owned(),
            BanOrigin::Store => "store".to_owned(),
        };
        let until = ban.until_unix_ms.map_or("for ever".to_owned(), date);
        vec![network_text(network), until, by, ban.reason.to_string()]
    };
    Rows { columns: &["network", "until", "by", "reason"], rows: all.into_iter().map(row).collect() }
}

/// What each limit says of a client; where a store is shared, what this process has counted.
fn limits(guard: &Guard, client: IpAddr, now: Now) -> Rows {
    let banned = guard.state().banned(client, now).map(|line| {
        let rule = if line > 0 { format!("guard:{line}") } else { "ban".to_owned() };
        vec![rule, "banned".to_owned(), String::new(), String::new()]
    });
    let row = |counter: CounterRow| {
        let (state, left, retry_after_ms) = match counter.answer {
            store::Answer::Window { within, left, retry_after_ms } => {
                (if within { "open" } else { "limited" }, Some(left), retry_after_ms)
            }
            store::Answer::Escalation(EscalationVerdict::Pass) => ("open", None, 0),
            store::Answer::Escalation(EscalationVerdict::Over { retry_after_ms }) => {
                ("limited", None, retry_after_ms)
            }
            store::Answer::Escalation(EscalationVerdict::Blocked { retry_after_ms }) => {
                ("blocked", None, retry_after_ms)
            }
            store::Answer::Escalation(EscalationVerdict::Permanent) => ("blocked for ever", None, 0),
        };
        let left = left.map_or(String::new(), |left| left.to_string());
        let again =
            if retry_after_ms > 0 { retry_after_ms.div_ceil(1000).to_string() } else { String::new() };
        vec![format!("guard:{}", counter.line), state.to_owned(), left, again]
    };
    let rows = banned.into_iter().chain(guard.counters_of(client, now).into_iter().map(row));
    Rows { columns: &["rule", "state", "left", "retry_after_s"], rows: rows.collect() }
}
