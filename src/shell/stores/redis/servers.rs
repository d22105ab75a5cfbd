//! All servers of a URL as one: finds the server of a key, and sends many commands as one pipeline to each server.
//!
//! The crate's own clients of clusters and sentinels are not used: they have no deadline for a pipeline as a whole (a server
//! that is stopped costs a time-out for every command), and a failing server fails the commands to all others.

use super::address::Target;
use super::command::{Calls, Command, SLOTS, slot};
use super::server::{Server, Silence, Timeouts};
use crate::guard::store::StoreFailure;
use redis::{FromRedisValue, ServerError, ServerErrorKind, Value};
use std::time::{Duration, Instant};

/// Servers of a cluster; a thousand is what its specification recommends at most.
const SERVERS_MAX: usize = 1024;

/// Least time between two searches for the present servers (chosen).
const FIND_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The reason of a failure of which nothing more is known.
const NO_CONNECTION: &str = "no connection";

/// The server's words for states that pass by: it has no memory left, too few replicas, a disk that cannot be written to, a script
/// that runs for long; keys of a slot are on their way; it reads its memory from the disk, has lost its master or other servers of the
/// cluster. A server that is no master any more counts as well if no other one is found.
const FOR_NOW: [&str; 8] =
    ["OOM", "NOREPLICAS", "MISCONF", "BUSY", "TRYAGAIN", "LOADING", "MASTERDOWN", "CLUSTERDOWN"];

/// The server's word for a key that holds something else.
const WRONG_TYPE: &str = "WRONGTYPE";

/// The outcome of one command: the server's reply, which is no error, or a failure.
pub type Outcome = Result<Value, StoreFailure>;

/// Whether a command has not reached its server, or none that carries it out.
pub fn is_lost(outcome: &Outcome) -> bool {
    matches!(outcome, Err(StoreFailure::Unreachable | StoreFailure::Late))
}

/// Changes of the servers that were noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noticed {
    /// Connections that were made.
    pub connections: usize,
    /// A server did not know a script that it had been sent, and was sent it again.
    pub script_reloaded: bool,
    /// A server has refused a command because of a state that passes by.
    pub refused_for_now: bool,
}

pub struct Servers {
    target: Target,
    timeouts: Timeouts,
    calls: Calls,
    /// Whether scripts are sent to every server that is connected to.
    with_scripts: bool,
    servers: Vec<Server>,
    /// In a cluster: the index of the server of each slot.
    slots: Option<Vec<u16>>,
    /// The servers or their slots must be searched (again).
    is_outdated: bool,
    find_at: Instant,
    noticed: Noticed,
    last_error: Option<String>,
}

/// The reason why one command failed.
enum Hindrance {
    /// The server does not know the script: send its text.
    NoScript,
    /// The key is at that server.
    Moved(String, u16),
    /// The key is on its way to that server.
    Asked(String, u16),
    /// The server is no master any more: again, at the one that is.
    NoMaster,
    /// Its connection was stale: again.
    Again,
    /// The command is not repeated.
    Failed(StoreFailure),
}

/// One command of an exchange.
struct Pending {
    index: usize,
    whole: bool,
    asking: bool,
    server: Option<usize>,
}

impl Servers {
    /// The servers of a target, without connections yet.
    pub fn new(target: Target, timeouts: Timeouts, with_scripts: bool) -> Servers {
        let (servers, is_outdated) = match &target {
            Target::Single(info) => (vec![Server::new(info.clone(), timeouts)], false),
            Target::Cluster(_) | Target::Sentinel { .. } => (Vec::new(), true),
        };
        Servers {
            target,
            timeouts,
            calls: Calls::new(),
            with_scripts,
            servers,
            slots: None,
            is_outdated,
            find_at: Instant::now(),
            noticed: Noticed::default(),
            last_error: None,
        }
    }

    /// The changes noticed since the last call.
    pub fn take_noticed(&mut self) -> Noticed {
        std::mem::take(&mut self.noticed)
    }

    /// Text of the last error since the last success, without secrets.
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// Whether keys belong to different servers.
    pub fn is_cluster(&self) -> bool {
        matches!(self.target, Target::Cluster(_))
    }

    /// Masters that are known now.
    pub fn count(&self) -> usize {
        self.servers.len()
    }

    /// The server with this index.
    pub fn server(&self, index: usize) -> Option<&Server> {
        self.servers.get(index)
    }

    /// A key that begins with this text and belongs to a server: the text itself, unless keys are divided.
    pub fn key_on(&self, index: usize, text: &str) -> Option<String> {
        let Some(slots) = &self.slots else { return Some(text.to_owned()) };
        let is_there = |key: &String| {
            slots.get(usize::from(slot(key.as_bytes()))).is_some_and(|server| usize::from(*server) == index)
        };
        (0..SLOTS).map(|number| format!("{text}:{number}")).find(is_there)
    }

    /// Finds missing servers, connects them, and checks whether connected servers answer.
    pub fn look_after_connections(&mut self) {
        self.find();
        let end = Instant::now() + self.timeouts.reply;
        for index in 0..self.servers.len() {
            // Twice: the first command finds out that a connection was closed.
            let alive = (0..2).any(|_| self.on_server(index, &[Command::new("PING")], end).is_ok());
            self.is_outdated |= !alive && !matches!(self.target, Target::Single(_));
        }
    }

    /// Sends commands to one server and waits for all replies; an error among them is a failure.
    pub fn on_server(&mut self, index: usize, commands: &[Command], end: Instant) -> Result<Vec<Value>, ()> {
        let (connected, calls) = (self.connect(index), &self.calls);
        let server = self.servers.get_mut(index).filter(|_| connected).ok_or(())?;
        let sent = server.send(commands.iter().map(|command| (command, false)), calls, end);
        let (replies, end) = match sent {
            Ok(()) => server.receive(commands.len(), end),
            Err(silence) => (Vec::new(), Err(silence)),
        };
        if let Err(silence) = end {
            self.note(silence);
            return Err(());
        }
        match replies
            .iter()
            .find_map(|reply| if let Value::ServerError(error) = reply { Some(error) } else { None })
        {
            Some(error) => {
                self.last_error = Some(error.to_string());
                Err(())
            }
            None => Ok(replies),
        }
    }

    /// Sends all commands, each to the server of its key, and waits for the replies until `end`. A command whose key has
    /// moved, or whose script is not known, is sent once more.
    pub fn exchange(&mut self, commands: &[Command], end: Instant) -> Vec<Outcome> {
        let mut outcomes: Vec<Outcome> = commands.iter().map(|_| Err(StoreFailure::Unreachable)).collect();
        self.find();
        let pending = (0..commands.len()).map(|index| {
            let server = self.server_of(&commands[index]);
            Pending { index, whole: false, asking: false, server }
        });
        let pending = pending.collect();
        let hindered = self.round(commands, pending, &mut outcomes, end);
        if hindered.is_empty() {
            self.last_error = None;
            return outcomes;
        }
        let again = self.redirect(commands, hindered, &mut outcomes);
        for (index, hindrance) in self.round(commands, again, &mut outcomes, end) {
            outcomes[index] = Err(match hindrance {
                Hindrance::Failed(failure) => failure,
                Hindrance::NoScript | Hindrance::Moved(..) | Hindrance::Asked(..) => StoreFailure::Refused,
                Hindrance::NoMaster => {
                    self.noticed.refused_for_now = true;
                    StoreFailure::Unreachable
                }
                Hindrance::Again => StoreFailure::Unreachable,
            });
        }
        outcomes
    }

    /// Sends each command once. Replies are stored in `outcomes`; commands without a reply are returned.
    fn round(
        &mut self,
        commands: &[Command],
        pending: Vec<Pending>,
        outcomes: &mut [Outcome],
        end: Instant,
    ) -> Vec<(usize, Hindrance)> {
        let mut hindered = Vec::new();
        let mut of_servers: Vec<Vec<Pending>> = self.servers.iter().map(|_| Vec::new()).collect();
        for one in pending {
            match one.server.and_then(|server| of_servers.get_mut(server)) {
                Some(of_server) => of_server.push(one),
                None => hindered.push((one.index, Hindrance::Failed(StoreFailure::Unreachable))),
            }
        }
        // A server with outstanding replies may use up the time, so the others come first.
        let mut order: Vec<usize> =
            (0..of_servers.len()).filter(|index| !of_servers[*index].is_empty()).collect();
        order.sort_by_key(|index| self.servers[*index].is_behind());
        let mut sent = Vec::new();
        for index in order {
            let pending = std::mem::take(&mut of_servers[index]);
            match self.send(index, commands, &pending, end) {
                Ok(()) => sent.push((index, pending)),
                Err(silence) => {
                    let hindrance = || self.hindrance_of(&silence);
                    hindered.extend(pending.iter().map(|one| (one.index, hindrance())));
                    self.note(silence);
                }
            }
        }
        for (index, pending) in sent {
            self.receive(index, &pending, outcomes, &mut hindered, end);
        }
        hindered
    }

    fn send(
        &mut self,
        index: usize,
        commands: &[Command],
        pending: &[Pending],
        end: Instant,
    ) -> Result<(), Silence> {
        if !self.connect(index) {
            return Err(Silence::Gone(self.last_error().unwrap_or(NO_CONNECTION).to_owned()));
        }
        let asking = Command::new("ASKING");
        let words = pending.iter().flat_map(|one| {
            let before = one.asking.then_some((&asking, false));
            before.into_iter().chain([(&commands[one.index], one.whole)])
        });
        self.servers[index].send(words, &self.calls, end)
    }

    fn receive(
        &mut self,
        index: usize,
        pending: &[Pending],
        outcomes: &mut [Outcome],
        hindered: &mut Vec<(usize, Hindrance)>,
        end: Instant,
    ) {
        let count = pending.iter().map(|one| 1 + usize::from(one.asking)).sum();
        let (replies, ended) = self.servers[index].receive(count, end);
        let mut replies = replies.into_iter();
        let silence = ended.err();
        for one in pending {
            if one.asking {
                replies.next();
            }
            match replies.next() {
                Some(Value::ServerError(error)) => hindered.push((one.index, self.hindrance(&error, index))),
                Some(reply) => outcomes[one.index] = Ok(reply),
                None => {
                    let hindrance = silence.as_ref().map(|silence| self.hindrance_of(silence));
                    hindered.push((one.index, hindrance.unwrap_or(Hindrance::Failed(StoreFailure::Refused))));
                }
            }
        }
        silence.into_iter().for_each(|silence| self.note(silence));
    }

    fn hindrance_of(&self, silence: &Silence) -> Hindrance {
        match silence {
            // Behind another server the key may have a new master by now.
            Silence::Stale => Hindrance::Again,
            Silence::Gone(_) => match self.target {
                Target::Single(_) => Hindrance::Failed(StoreFailure::Unreachable),
                Target::Cluster(_) | Target::Sentinel { .. } => Hindrance::Again,
            },
            Silence::Late => Hindrance::Failed(StoreFailure::Late),
        }
    }

    /// What an error of the server with this index means.
    fn hindrance(&mut self, error: &ServerError, index: usize) -> Hindrance {
        let place = || {
            let (host, port) = error.details()?.split(' ').nth(1)?.rsplit_once(':')?;
            // A missing host is the server that answered.
            let host = if host.is_empty() { self.servers[index].host() } else { host.to_owned() };
            Some((host, port.parse().ok()?))
        };
        let hindrance = match (error.kind(), place()) {
            (Some(ServerErrorKind::NoScript), _) => Hindrance::NoScript,
            (Some(ServerErrorKind::Moved), Some((host, port))) => Hindrance::Moved(host, port),
            (Some(ServerErrorKind::Ask), Some((host, port))) => Hindrance::Asked(host, port),
            (Some(ServerErrorKind::ReadOnly), _) => Hindrance::NoMaster,
            (
                Some(
                    ServerErrorKind::BusyLoading | ServerErrorKind::ClusterDown | ServerErrorKind::MasterDown,
                ),
                _,
            ) => Hindrance::Failed(StoreFailure::Unreachable),
            (_, _) if error.code() == WRONG_TYPE => return Hindrance::Failed(StoreFailure::WrongType),
            (_, _) => Hindrance::Failed(StoreFailure::Refused),
        };
        self.noticed.refused_for_now |= FOR_NOW.contains(&error.code());
        self.is_outdated |= matches!(hindrance, Hindrance::Moved(..) | Hindrance::NoMaster);
        self.is_outdated |= error.kind() == Some(ServerErrorKind::ClusterDown);
        // A server that takes no writes may be the only one of the URL, and refuse again.
        if matches!(hindrance, Hindrance::Failed(_) | Hindrance::NoMaster) {
            self.last_error = Some(error.to_string());
        }
        hindrance
    }

    /// The commands to send again, by server.
    fn redirect(
        &mut self,
        commands: &[Command],
        hindered: Vec<(usize, Hindrance)>,
        outcomes: &mut [Outcome],
    ) -> Vec<Pending> {
        self.find();
        let mut again = Vec::new();
        for (index, hindrance) in hindered {
            let mut one =
                Pending { index, whole: false, asking: false, server: self.server_of(&commands[index]) };
            match hindrance {
                Hindrance::NoScript => {
                    self.noticed.script_reloaded = true;
                    one.whole = true;
                }
                Hindrance::Moved(host, port) => one.server = self.server_at(&host, port),
                Hindrance::Asked(host, port) => {
                    one.server = self.server_at(&host, port);
                    one.asking = true;
                }
                Hindrance::NoMaster | Hindrance::Again => {}
                Hindrance::Failed(failure) => {
                    outcomes[index] = Err(failure);
                    continue;
                }
            }
            again.push(one);
        }
        again
    }

    /// The server that has the key of a command; any, if it has none.
    fn server_of(&self, command: &Command) -> Option<usize> {
        let Some(slots) = &self.slots else { return Some(0) };
        match command.slot() {
            Some(slot) => slots.get(usize::from(slot)).map(|server| usize::from(*server)),
            None => self.servers.iter().position(|server| server.is_connected()).or(Some(0)),
        }
    }

    /// The server at an address, which is added if it is new.
    fn server_at(&mut self, host: &str, port: u16) -> Option<usize> {
        let address = format!("{host}:{port}");
        self.place_of(&address).or_else(|| {
            let new =
                self.servers.first().filter(|_| self.servers.len() < SERVERS_MAX)?.elsewhere(host, port);
            self.servers.push(new);
            Some(self.servers.len() - 1)
        })
    }

    fn place_of(&self, address: &str) -> Option<usize> {
        self.servers.iter().position(|server| server.address() == address)
    }

    fn connect(&mut self, index: usize) -> bool {
        let Some(server) = self.servers.get_mut(index) else { return false };
        let scripts = self.with_scripts.then_some((&self.calls, self.timeouts.connect));
        match prepare(server, scripts) {
            Ok(new) => {
                self.noticed.connections += usize::from(new);
                true
            }
            Err(error) => {
                self.last_error = Some(error);
                self.is_outdated |= !matches!(self.target, Target::Single(_));
                false
            }
        }
    }

    fn note(&mut self, silence: Silence) {
        match silence {
            Silence::Gone(text) => {
                self.last_error = Some(text);
                self.is_outdated |= !matches!(self.target, Target::Single(_));
            }
            Silence::Stale => {
                self.last_error = Some("the server has closed the connection".to_owned());
                self.is_outdated |= !matches!(self.target, Target::Single(_));
            }
            Silence::Late => self.last_error = Some("no reply in time".to_owned()),
        }
    }

    /// Searches the present servers and their slots, if they are not known or outdated.
    pub fn find(&mut self) {
        if !self.is_outdated || Instant::now() < self.find_at {
            return;
        }
        let found = match &self.target {
            Target::Single(_) => true,
            Target::Cluster(seeds) => {
                let seeds = seeds.iter().map(|info| Server::new(info.clone(), self.timeouts)).collect();
                self.find_cluster(seeds)
            }
            Target::Sentinel { sentinels, name, template } => {
                let sentinels =
                    sentinels.iter().map(|info| Server::new(info.clone(), self.timeouts)).collect();
                let (name, template) = (name.clone(), Server::new(template.clone(), self.timeouts));
                self.find_master(sentinels, &name, &template)
            }
        };
        self.is_outdated = !found;
        self.find_at = Instant::now() + FIND_AGAIN_AFTER;
    }

    /// Asks a server of the cluster for all slots: a known one, or one of those configured.
    fn find_cluster(&mut self, seeds: Vec<Server>) -> bool {
        let mut known = std::mem::take(&mut self.servers);
        known.sort_by_key(|server| !server.is_connected());
        let mut all: Vec<Server> = known.into_iter().chain(seeds).collect();
        let ask = Command::new("CLUSTER").arg("SLOTS");
        let answer = all.iter_mut().find_map(|server| {
            let reply = self.ask_one(server, &ask, self.with_scripts)?;
            let origin = server.host();
            slots_of(&reply, &origin)
        });
        let model = all.first().map(|server| server.elsewhere("", 0));
        let (Some(ranges), Some(model)) = (answer, model) else {
            all.truncate(SERVERS_MAX);
            self.servers = all;
            return false;
        };
        let mut slots = vec![u16::MAX; usize::from(SLOTS)];
        for (first, last, host, port) in ranges {
            let address = format!("{host}:{port}");
            if self.place_of(&address).is_none() && self.servers.len() < SERVERS_MAX {
                let known = all.iter().position(|server| server.address() == address);
                self.servers.push(match known {
                    Some(known) => all.swap_remove(known),
                    None => model.elsewhere(&host, port),
                });
            }
            let index =
                self.place_of(&address).and_then(|index| u16::try_from(index).ok()).unwrap_or(u16::MAX);
            slots.iter_mut().take(last + 1).skip(first).for_each(|slot| *slot = index);
        }
        self.slots = Some(slots);
        true
    }

    /// Asks the sentinels for the master, and the server for its role.
    fn find_master(&mut self, sentinels: Vec<Server>, name: &str, template: &Server) -> bool {
        let ask = Command::new("SENTINEL").arg("get-master-addr-by-name").arg(name);
        for mut sentinel in sentinels {
            let Some(reply) = self.ask_one(&mut sentinel, &ask, false) else { continue };
            let Ok((host, port)) = <(String, u16)>::from_redis_value(reply) else {
                self.last_error = Some(format!("the sentinel knows no master {name}"));
                continue;
            };
            if self.servers.first().is_none_or(|server| server.address() != format!("{host}:{port}")) {
                self.servers = vec![template.elsewhere(&host, port)];
            }
            let Some(mut master) = self.servers.pop() else { continue };
            let role = self.ask_one(&mut master, &Command::new("ROLE"), self.with_scripts);
            self.servers.push(master);
            // Sentinels that have just started a failover name the old master, which may know already that it is no master.
            if role.is_some_and(|role| first_word(&role).is_some_and(|word| word == b"master")) {
                return true;
            }
        }
        false
    }

    /// The reply of one server to one command, unless it is an error.
    fn ask_one(&mut self, server: &mut Server, command: &Command, with_scripts: bool) -> Option<Value> {
        let scripts = with_scripts.then_some((&self.calls, self.timeouts.connect));
        match prepare(server, scripts) {
            Ok(new) => self.noticed.connections += usize::from(new),
            Err(error) => {
                self.last_error = Some(error);
                return None;
            }
        }
        let end = Instant::now() + self.timeouts.connect;
        let sent = server.send(std::iter::once((command, false)), &self.calls, end);
        let (replies, ended) = match sent {
            Ok(()) => server.receive(1, end),
            Err(silence) => (Vec::new(), Err(silence)),
        };
        ended.err().into_iter().for_each(|silence| self.note(silence));
        replies.into_iter().next().filter(|reply| !matches!(reply, Value::ServerError(_)))
    }
}

/// Connects a server, and sends it the scripts. Returns whether the connection is new.
fn prepare(server: &mut Server, scripts: Option<(&Calls, Duration)>) -> Result<bool, String> {
    let is_new = server.connect()?;
    if let Some((calls, patience)) = scripts.filter(|_| is_new) {
        let (commands, end) = (Command::load_scripts(), Instant::now() + patience);
        // A failure here shows again with the first question.
        if server.send(commands.iter().map(|command| (command, false)), calls, end).is_ok() {
            let _ = server.receive(commands.len(), end);
        }
    }
    Ok(is_new)
}

fn first_word(reply: &Value) -> Option<&[u8]> {
    let Value::Array(items) = reply else { return None };
    match items.first() {
        Some(Value::BulkString(word)) => Some(word),
        Some(_) | None => None,
    }
}

/// First slot, last slot, host and port of each range in the reply to CLUSTER SLOTS. A missing host is the server that
/// answered. `None` for a reply with any other form.
fn slots_of(reply: &Value, origin: &str) -> Option<Vec<(usize, usize, String, u16)>> {
    let Value::Array(ranges) = reply else { return None };
    let range = |range: &Value| {
        let Value::Array(parts) = range else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = &parts[..] else { return None };
        let [host, Value::Int(port), ..] = &master[..] else { return None };
        let host = match host {
            Value::BulkString(host) if !host.is_empty() => String::from_utf8(host.clone()).ok()?,
            Value::BulkString(_) | Value::Nil => origin.to_owned(),
            _ => return None,
        };
        let slot = |slot: &i64| usize::try_from(*slot).ok().filter(|slot| *slot < usize::from(SLOTS));
        Some((slot(first)?, slot(last)?, host, u16::try_from(*port).ok()?))
    };
    let ranges: Option<Vec<_>> = ranges.iter().map(range).collect();
    ranges.filter(|ranges| !ranges.is_empty())
}
