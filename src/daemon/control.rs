//! The commands of operators for a running daemon (`weir ctl`), and the answers. The threads of the socket answer, not the loops. A
//! signal, as from outside, asks the main thread for its part, such as a reload.

use super::report::{STOPPING_ALREADY, fail, print, print_with};
use super::takeover::Sockets;
use log::info;
use signal_hook::consts::{SIGHUP, SIGTERM};
use signal_hook::low_level::raise;
use std::fmt::Write as _;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use weir::config::{Settings, exit};
use weir::embed::guard_command::{Answer, Command, FORMS};
use weir::embed::{Control, Form, Reply, ask_daemon, json_text};
pub use weir::embed::{ControlSocket, SocketFile};
use weir::embed::{cache_command, gateway_command};

/// How long the loops may take to report their numbers (chosen, as for monitoring systems).
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// How long a reload may take (chosen, as for `weir reload`: the largest lists take seconds).
const RELOADED_WITHIN: Duration = Duration::from_secs(60);

/// How long `weir ctl` waits for an answer (chosen: a daemon that is stopped, or has no processor time, is reported soon).
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// How long `weir ctl reload` waits (chosen: longer than the daemon does).
const RELOAD_ANSWERED_WITHIN: Duration = Duration::from_secs(65);

/// Events in one answer (chosen: as many as the guard keeps).
const EVENTS_MAX: usize = 4096;

/// How often `events follow` asks for more (chosen).
const FOLLOWED_EVERY: Duration = Duration::from_millis(300);

/// Clients that wait for a reload at a time (chosen: more than there are connections).
const WAITING_MAX: usize = 16;

/// Receives the outcome of a reload: whether it failed, and the text for the operator. Dropped if weir is stopping and reloads no more.
pub type Asker = SyncSender<(bool, String)>;

/// What the main thread does for operators: a signal, as from outside, asks it to look.
#[derive(Clone, Debug, Default)]
pub struct Orders(Arc<Ordered>);

#[derive(Debug, Default)]
struct Ordered {
    /// The connections that wait for the outcome of a reload.
    waiting: Mutex<Vec<Asker>>,
    /// TERM comes from here, and not from outside.
    drain: AtomicBool,
}

impl Orders {
    fn waiting(&self) -> MutexGuard<'_, Vec<Asker>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All clients that wait for a reload now.
    pub fn take_waiting(&self) -> Vec<Asker> {
        std::mem::take(&mut self.waiting())
    }

    /// Whether an operator or a successor has ordered to drain, since the last call.
    pub fn take_drain(&self) -> bool {
        self.0.drain.swap(false, Ordering::SeqCst)
    }
}

/// Listens for operators; opened before the rights for that are given up. Fails with the exit code.
pub fn bind(settings: &Settings) -> Result<Option<ControlSocket>, u8> {
    let Some(wanted) = &settings.control else { return Ok(None) };
    ControlSocket::bind(&wanted.value).map(Some).map_err(|error| {
        let code = match error.kind() {
            ErrorKind::AddrInUse => exit::UNAVAILABLE,
            _ => exit::OS_ERROR,
        };
        fail(&format!("control: cannot listen on {}: {error}", wanted.value.display()), code)
    })
}

/// Begins to answer.
pub fn serve(
    socket: ControlSocket,
    control: &Control,
    orders: &Orders,
    sockets: &Sockets,
) -> io::Result<SocketFile> {
    let (control, orders, sockets) = (control.clone(), orders.clone(), sockets.clone());
    socket.serve(move |line: &str, user| answer(&control, &orders, line, user), move || sockets.try_clone())
}

/// Answers one line of words.
fn answer(control: &Control, orders: &Orders, line: &str, user: Option<u32>) -> Reply {
    let mut words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
    let json = words.first() == Some(&"json");
    words.drain(..usize::from(json));
    let by = user.map_or("an unknown user".to_owned(), |user| format!("user {user}"));
    let told = |changes: bool, answer: Answer| {
        if changes {
            info!("control: {} (by {by}): {}", words.join(" "), outcome(&answer));
        }
        guard_reply(answer, json)
    };
    let wrong = |expected| refusal(exit::USAGE, expected);
    if let Some(command) = Command::read(&words) {
        let obey = |command: Command| told(command.changes(), control.obey_guard_command(&command));
        return command.map_or_else(wrong, obey);
    }
    if let Some(command) = gateway_command::Command::read(&words) {
        let obey = |command: gateway_command::Command| {
            told(command.changes(), control.obey_gateway_command(&command))
        };
        return command.map_or_else(wrong, obey);
    }
    if let Some(command) = cache_command::Command::read(&words) {
        return command.map_or_else(wrong, |command| told(true, control.obey_cache_command(&command)));
    }
    match words.as_slice() {
        ["stats"] => stats(control, json),
        ["stats", "openmetrics"] => {
            let snapshot = control.health(TOLD_WITHIN).snapshot;
            Reply::done(snapshot.exposition(Form::OpenMetrics, env!("CARGO_PKG_VERSION")))
        }
        ["events"] => events(control, 0, json),
        ["events", "since", from] => match from.parse() {
            Ok(from) => events(control, from, json),
            Err(_) => refusal(exit::USAGE, format!("{from:?}: expected the number of an event")),
        },
        ["reload" | "drain"] if control.is_ending() => stopping_already(),
        ["reload"] => {
            info!("control: reload (by {by})");
            reload(orders, json)
        }
        ["drain"] => {
            info!("control: drain (by {by})");
            let within = control.settings().drain_timeout;
            let text = format!("finishing what is under way, for at most {within:?}");
            orders.0.drain.store(true, Ordering::SeqCst);
            match raise(SIGTERM) {
                Ok(()) => said(text, json),
                Err(error) => refusal(exit::OS_ERROR, error.to_string()),
            }
        }
        _ => refusal(exit::USAGE, format!("expected {}", forms())),
    }
}

fn forms() -> String {
    let (gateway, cache) = (gateway_command::FORMS, cache_command::FORMS);
    format!("{FORMS}, {gateway}, {cache}, events [--follow], stats [--openmetrics], reload or drain")
}

fn refusal(code: u8, text: String) -> Reply {
    Reply { code, text, ..Reply::default() }
}

fn stopping_already() -> Reply {
    refusal(exit::REFUSED, STOPPING_ALREADY.to_owned())
}

/// Events from number `from` on. The text of the answer is the number of the next event.
fn events(control: &Control, from: u64, json: bool) -> Reply {
    let mut cursor = from;
    let (mut lines, lost) = control.guard_events(&mut cursor, EVENTS_MAX, json);
    if lost > 0 && from > 0 {
        let told = format!("{lost} events were lost: they came faster than they were read");
        lines.insert(0, if json { format!("{{\"lost\":{lost}}}") } else { told });
    }
    Reply { body: lines.join("\n"), code: 0, text: cursor.to_string() }
}

/// A sentence, as plain text or as JSON.
fn said(text: String, json: bool) -> Reply {
    match json {
        true => Reply::done(format!("{{\"answer\":{}}}", json_text(&text))),
        false => Reply::done(text),
    }
}

fn stats(control: &Control, json: bool) -> Reply {
    let line = control.health(TOLD_WITHIN).snapshot.line();
    let pairs = line.split(' ').filter_map(|pair| pair.split_once('='));
    if json {
        let value = |value: &str| if value.contains(',') { format!("[{value}]") } else { value.to_owned() };
        let members: Vec<_> =
            pairs.map(|(name, text)| format!("{}:{}", json_text(name), value(text))).collect();
        return Reply::done(format!("{{{}}}", members.join(",")));
    }
    Reply::done(pairs.fold(String::new(), |mut out, (name, value)| {
        let _ = writeln!(out, "{name} {value}");
        out
    }))
}

fn reload(orders: &Orders, json: bool) -> Reply {
    let (sender, outcome) = sync_channel(1);
    {
        let mut waiting = orders.waiting();
        if waiting.len() >= WAITING_MAX {
            return refusal(exit::REFUSED, "too many wait for a reload already".to_owned());
        }
        waiting.push(sender);
    }
    if let Err(error) = raise(SIGHUP) {
        return refusal(exit::OS_ERROR, error.to_string());
    }
    match outcome.recv_timeout(RELOADED_WITHIN) {
        Ok((false, text)) => said(text, json),
        Ok((true, text)) => Reply {
            body: said(text, json).body,
            code: exit::CONFIGURATION,
            text: "not reloaded: what was running stays".to_owned(),
        },
        // The daemon has dropped the sender.
        Err(RecvTimeoutError::Disconnected) => stopping_already(),
        Err(RecvTimeoutError::Timeout) => {
            refusal(exit::OS_ERROR, format!("no outcome within {RELOADED_WITHIN:?}"))
        }
    }
}

/// The outcome of a command in words for the log.
fn outcome(answer: &Answer) -> &str {
    match answer {
        Answer::Done(text) | Answer::NotFound(text) | Answer::Refused(text) => text,
        Answer::Rows(_) => "told",
        Answer::NoGuard => "no guard file is loaded",
    }
}

fn guard_reply(answer: Answer, json: bool) -> Reply {
    match answer {
        Answer::Done(text) => said(text, json),
        Answer::NotFound(text) | Answer::Refused(text) => refusal(exit::REFUSED, text),
        Answer::NoGuard => refusal(exit::REFUSED, "no guard file is loaded (--guard FILE)".to_owned()),
        Answer::Rows(table) => {
            let (columns, more) = (table.columns, table.more);
            let ends = if json { ("[", ",\n", "]") } else { ("", "\n", "") };
            let mut body = ends.0.to_owned();
            // A list of bans is long: each row is freed when it is written.
            for row in table.rows {
                if body.len() > ends.0.len() {
                    body.push_str(ends.1);
                }
                match json {
                    true => {
                        let cells = columns.iter().zip(&row);
                        let members: Vec<_> = cells
                            .map(|(name, text)| format!("{}:{}", json_text(name), json_cell(name, text)))
                            .collect();
                        body.push_str(&format!("{{{}}}", members.join(",")));
                    }
                    false => body.push_str(&row.join("  ")),
                }
            }
            body.push_str(ends.2);
            let text = if more > 0 { format!("{more} more are not listed") } else { String::new() };
            Reply { text, ..Reply::done(body) }
        }
    }
}

/// Columns of numbers, which a row may be without.
const NUMBERS: [&str; 8] =
    ["left", "retry_after_s", "weight", "in_flight", "requests", "failures", "checks_failed", "marked_down"];

fn json_cell(column: &str, text: &str) -> String {
    match NUMBERS.contains(&column) {
        true if text.is_empty() => "null".to_owned(),
        true => text.to_owned(),
        false => json_text(text),
    }
}

/// `weir ctl`: the exit code is the daemon's.
pub fn ctl(settings: &Settings, words: &[String], json: bool) -> u8 {
    let Some(socket) = &settings.control else {
        return fail("ctl: expected --control PATH, the one that the running weir has", exit::USAGE);
    };
    let line = format!("{}{}", if json { "json " } else { "" }, words.join(" "));
    if words.is_empty() || line.contains(|c: char| c.is_control()) {
        return fail(&format!("ctl: expected {}", forms()), exit::USAGE);
    }
    if let ["events", follow @ ..] = words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        if follow.is_empty() || *follow == ["follow"] {
            return tell_events(&socket.value, json, !follow.is_empty());
        }
    }
    let within = if words[0] == "reload" { RELOAD_ANSWERED_WITHIN } else { ANSWERED_WITHIN };
    match ask_daemon(&socket.value, &line, within) {
        Ok(reply) => {
            let code = print_with(&reply.body, reply.code);
            if reply.text.is_empty() { code } else { fail(&reply.text, code) }
        }
        Err(error) => not_asked(&socket.value, &error),
    }
}

/// Prints the recorded events and, with `follow`, each new one until the daemon ends.
fn tell_events(socket: &Path, json: bool, follow: bool) -> u8 {
    let mut from = 0;
    loop {
        let line = format!("{}events since {from}", if json { "json " } else { "" });
        let reply = match ask_daemon(socket, &line, ANSWERED_WITHIN) {
            Ok(reply) => reply,
            Err(error) => return not_asked(socket, &error),
        };
        let Some(next) = reply.text.parse().ok().filter(|_| reply.code == 0) else {
            return fail(&reply.text, reply.code);
        };
        from = next;
        let code = print(&reply.body);
        if !follow || code != exit::OK {
            return code;
        }
        std::thread::sleep(FOLLOWED_EVERY);
    }
}

/// Reports why a daemon gave no answer.
fn not_asked(socket: &Path, error: &io::Error) -> u8 {
    let place = socket.display();
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            fail(&format!("{place}: no weir listens there ({error})"), exit::UNAVAILABLE)
        }
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            fail(&format!("{place}: weir has not answered in time"), exit::OS_ERROR)
        }
        _ => fail(&format!("{place}: {error}"), exit::OS_ERROR),
    }
}
