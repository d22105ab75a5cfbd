//! The thread that synchronizes bans (guard semantics, section 4, Ours).
//!
//! The thread subscribes to the channel first and then loads all bans, so that no ban is missed: a ban that is made during
//! the load arrives as a message behind it. This one thread handles both, in this order. It loads again every 30 seconds,
//! because messages can be lost. A load that fails, because one server of a cluster is away, is tried again, and the thread listens
//! in between: the messages of the other servers arrive. A server that is frozen, and was replaced by another one, closes no connection.
//! So the thread subscribes again every few seconds on the same connection, which changes nothing and needs a reply.
//!
//! Where several processes have acted on one network at about the same time, their messages do not say which was the last (see
//! [`super::acts`]): the thread asks for the ban of that network.
//!
//! The bans of this process come back over the channel, and are not reported. They are remembered (see
//! [`crate::shell::stores::orders`]). If one is missing from a later load, there are three cases. A key says that another process
//! has ended it, while the channel was broken: its end is reported. The server is another one than before, or was emptied: it gets
//! the ban again. Otherwise something else than weir has removed it (the reference library, an operator, a server without memory
//! left): it has ended, and that is reported as such.

use super::acts::Acts;
use super::address::Target;
use super::ban_keys::{BanKeys, Deed, Message, OldKeys, end_of, end_text};
use super::command::Command;
use super::server::Timeouts;
use super::servers::{Outcome, Servers, is_lost};
use crate::guard::store::{StoreFailure, StoreNews};
use crate::shell::clock::unix_now_ms;
use crate::shell::stores::health::Health;
use crate::shell::stores::orders::{Act, Bans};
use crate::shell::stores::settings::StoreSettings;
use crate::shell::stores::store_state::{StoreState, count};
use ipnet::IpNet;
use redis::{Connection, FromRedisValue, PubSub, Value};
use std::collections::hash_map::Entry;
use std::thread;
use std::time::{Duration, Instant};

/// The thread checks at this interval whether the client was dropped or bans are due (chosen).
const LOOK_UP_EVERY: Duration = Duration::from_millis(200);

/// Disputed networks are asked for at this interval, all at once (chosen: such messages come in bursts).
const SETTLE_EVERY: Duration = Duration::from_millis(50);

/// A load that has failed is tried again after this time at the least (chosen) ...
const LOAD_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// ... and after so many times the time that it took, because nothing is heard meanwhile (chosen).
const LISTEN_TIMES: u32 = 4;

/// The server of the subscription has to reply at this interval (chosen: a ban is to cross in seconds after a failover).
const PROBE_EVERY: Duration = Duration::from_secs(2);

/// Keys of one step of SCAN (chosen: some milliseconds at most).
const SCAN_COUNT: usize = 1000;

/// A load is begun anew so often while servers change (chosen).
const SCANS_MAX: usize = 3;

/// The server's word for a right that the user has not.
const NO_PERMISSION: &str = "NOPERM";

/// Synchronizes bans until the client is dropped.
pub fn run(target: Target, settings: StoreSettings, keys: BanKeys, state: &StoreState) {
    let timeouts = Timeouts {
        reply: settings.read_timeout,
        connect: settings.connect_timeout,
        give_up: settings.read_timeout,
    };
    let servers = Servers::new(target, timeouts, false);
    let mut follower = Follower {
        servers,
        keys,
        settings,
        state,
        acts: Acts::default(),
        identities: None,
        has_warned: false,
    };
    // Bans that the client takes over from the one before it must not be missing from the first load.
    while !state.is_announced() && !state.is_stopping() {
        thread::sleep(LOOK_UP_EVERY / 20);
    }
    while !state.is_stopping() {
        let ended = follower.follow();
        if let Some(reason) = ended.err().filter(|_| !state.is_stopping()) {
            state.diagnose(|health| health.disconnected(&reason, Instant::now()));
        }
        let again_at = Instant::now() + LOOK_UP_EVERY;
        while !state.is_stopping() && Instant::now() < again_at {
            thread::sleep(LOOK_UP_EVERY / 4);
        }
    }
}

struct Follower<'a> {
    servers: Servers,
    keys: BanKeys,
    settings: StoreSettings,
    state: &'a StoreState,
    acts: Acts,
    /// What the servers and their memories were at the last load.
    identities: Option<Vec<String>>,
    /// Whether the missing right to subscribe was reported.
    has_warned: bool,
}

impl Follower<'_> {
    /// Subscribes, loads, and listens until the connection breaks; an error is the reason.
    fn follow(&mut self) -> Result<(), String> {
        let mut connection = self.subscription().ok_or_else(|| self.reason())?;
        let is_subscribed = self.subscribe(&mut connection)?;
        let mut channel = connection.as_pubsub();
        channel.set_read_timeout(Some(LOOK_UP_EVERY)).map_err(|error| error.to_string())?;
        let now = Instant::now();
        let (mut load_at, mut sweep_at, mut settle_at, mut has_loaded) = (now, now, now, false);
        let mut probe_at = now + PROBE_EVERY;
        while !self.state.is_stopping() {
            if Instant::now() >= load_at {
                // Where the user had no right to subscribe it may have one now.
                if has_loaded && !is_subscribed {
                    return Ok(());
                }
                has_loaded = true;
                load_at = self.load_now();
            }
            if Instant::now() >= sweep_at {
                sweep_at = self.sweep_now();
            }
            if Instant::now() >= settle_at {
                settle_at = self.settle_now();
            }
            if is_subscribed && Instant::now() >= probe_at {
                self.probe(&mut channel)?;
                probe_at = Instant::now() + PROBE_EVERY;
            }
            match channel.get_message() {
                Ok(message) => {
                    if let Some(message) =
                        Message::parse(&String::from_utf8_lossy(message.get_payload_bytes()))
                    {
                        self.apply_message(&message);
                    }
                }
                Err(error) if error.is_timeout() => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    /// Loads all bans. Returns the time of the next load.
    fn load_now(&mut self) -> Instant {
        let began = Instant::now();
        self.acts.forget_old(began);
        let loaded = self.load();
        count(&self.state.counting.connections, self.servers.take_noticed().connections);
        match loaded {
            Ok(()) => {
                self.state.diagnose(Health::connected);
                Instant::now() + self.settings.resync_every
            }
            Err(()) => {
                let reason = self.reason();
                self.state.diagnose(|health| health.disconnected(&reason, Instant::now()));
                self.again_at(began)
            }
        }
    }

    /// Carries out the sweeps that wait. Returns the time of the next look.
    fn sweep_now(&mut self) -> Instant {
        let began = Instant::now();
        while let Some(key) = self.state.next_sweep().filter(|_| !self.state.is_stopping()) {
            if self.forget_all(&key).is_err() {
                return self.again_at(began);
            }
            self.state.end_sweep();
        }
        began
    }

    /// Asks what holds for disputed networks. Returns the time of the next look.
    fn settle_now(&mut self) -> Instant {
        let began = Instant::now();
        if self.settle().is_ok() { began + SETTLE_EVERY } else { self.again_at(began) }
    }

    /// When to try again what has begun at that time and has failed.
    fn again_at(&self, began: Instant) -> Instant {
        let now = Instant::now();
        let after = LOAD_AGAIN_AFTER.max(now.duration_since(began) * LISTEN_TIMES);
        now + after.min(self.settings.resync_every)
    }

    fn reason(&self) -> String {
        self.servers.last_error().unwrap_or("no reply").to_owned()
    }

    /// Whether the user may subscribe to the channel. A missing right is reported once, and the bans are still loaded. The crate's
    /// own call takes an error for a subscription.
    fn subscribe(&mut self, connection: &mut Connection) -> Result<bool, String> {
        let channel = self.keys.channel();
        match redis::cmd("SUBSCRIBE").arg(&channel).exec(connection) {
            Ok(()) => Ok(true),
            Err(error) if error.code() == Some(NO_PERMISSION) => {
                if !self.has_warned {
                    self.has_warned = true;
                    let text = format!(
                        "the user may not use the channel {channel}, and needs the right &{channel}: bans of other processes \
                         come late, with the next load of all bans ({error})"
                    );
                    self.state.tell(StoreNews::Warning(text.into()));
                }
                Ok(false)
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Sees whether the server of the subscription replies. Messages that arrive before the reply are kept.
    fn probe(&self, channel: &mut PubSub<'_>) -> Result<(), String> {
        let set = |channel: &PubSub<'_>, timeout| {
            channel.set_read_timeout(Some(timeout)).map_err(|error| error.to_string())
        };
        set(channel, self.settings.read_timeout)?;
        let replied = channel.subscribe(self.keys.channel());
        set(channel, LOOK_UP_EVERY)?;
        replied.map_err(|error| match error.is_timeout() {
            true => "the server of the subscription does not reply in time".to_owned(),
            false => error.to_string(),
        })
    }

    fn subscription(&mut self) -> Option<Connection> {
        self.servers.look_after_connections();
        count(&self.state.counting.connections, self.servers.take_noticed().connections);
        let connected = (0..self.servers.count()).filter_map(|index| self.servers.server(index));
        let connection = connected
            .filter(|server| server.is_connected())
            .find_map(|server| server.separate_connection().ok());
        count(&self.state.counting.connections, usize::from(connection.is_some()));
        connection
    }

    /// Reports what other processes have done.
    fn apply_message(&mut self, message: &Message<'_>) {
        let network = message.network;
        let (node, now) = (message.node, Instant::now());
        let (act, word) = match message.deed {
            Deed::Banned { until_unix_ms, reason } => {
                let word = StoreNews::Banned { network, until_unix_ms, reason: reason.into() };
                (Act::Ban(until_unix_ms), word)
            }
            Deed::Unbanned => (Act::Unban, StoreNews::Unbanned(network)),
            Deed::Unblocked if node == self.keys.node() => return,
            Deed::Unblocked => return self.state.tell(StoreNews::Unblocked(network.addr())),
        };
        if node == self.keys.node() {
            self.acts.note_own(network, node, now);
            self.state.note_told(network, act);
            return;
        }
        self.state.note_others(network);
        let is_waited_for = self.state.is_waited_for(network);
        if let Some(word) = self.acts.note(network, node, word, is_waited_for, now) {
            self.report(word);
        }
    }

    /// Reports what another process has done.
    fn report(&self, word: StoreNews) {
        match word {
            StoreNews::Unbanned(network) => self.report_end(network),
            word => self.state.tell(word),
        }
    }

    /// Reports that another process has ended a ban.
    fn report_end(&self, network: IpNet) {
        self.state.forget_own(network);
        self.state.tell(StoreNews::Unbanned(network));
    }

    /// Asks the store what holds for disputed networks, and reports it. Those with an order of this process wait for it. Where a ban
    /// is neither there nor ended, the last message counts: its writes may wait for a store that refuses them.
    fn settle(&mut self) -> Result<(), ()> {
        let state = self.state;
        let networks: Vec<IpNet> =
            self.acts.disputed().filter(|network| !state.is_waited_for(*network)).collect();
        if networks.is_empty() {
            return Ok(());
        }
        let keys = |network: &IpNet| {
            [self.keys.key(*network), self.keys.reason_key(*network), self.keys.end_key(*network)]
        };
        let commands: Vec<Command> =
            networks.iter().flat_map(keys).map(|key| Command::new("GET").key(key)).collect();
        let mut texts =
            self.exchange_all(&commands)?.into_iter().map(|outcome| outcome.ok().and_then(text_of));
        let now = unix_now_ms();
        for network in networks {
            let (until, reason, end) =
                (texts.next().flatten(), texts.next().flatten(), texts.next().flatten());
            if state.is_waited_for(network) {
                continue;
            }
            let word = self.acts.settle(network);
            match until.and_then(|until| end_of(&until)) {
                Some(until_unix_ms) if until_unix_ms.is_none_or(|until| until > now) => {
                    let reason = reason.unwrap_or_default().into();
                    self.state.tell(StoreNews::Banned { network, until_unix_ms, reason });
                }
                Some(_) | None if end.is_some() => self.report_end(network),
                Some(_) | None => word.into_iter().for_each(|word| self.report(word)),
            }
        }
        Ok(())
    }

    /// Loads all bans and reports them; sends bans of this process again that a server has lost.
    fn load(&mut self) -> Result<(), ()> {
        let (mut bans, identities) = self.scan_one_memory()?;
        let missing = self.state.end_load(&mut bans, unix_now_ms());
        let (ended, gone) = self.ended(missing)?;
        // The name of a memory that refused to be named, as a full one does, may come later.
        let is_other = self
            .identities
            .as_ref()
            .is_some_and(|before| before.iter().any(|identity| !identities.contains(identity)));
        self.identities = Some(identities);
        let (lost, vanished) = if is_other { (gone, Vec::new()) } else { (Vec::new(), gone) };
        let back = self.state.bring_back(lost);
        if is_other {
            let text = format!(
                "it is another server than before, or has lost its memory: {} bans of this process are written again",
                back.len()
            );
            self.state.tell(StoreNews::Warning(text.into()));
        }
        bans.extend(back);
        let all = bans.into_iter().map(|(network, (until, reason))| (network, until, reason)).collect();
        self.state.tell(StoreNews::AllBans(all));
        ended.into_iter().for_each(|network| self.report_end(network));
        if !vanished.is_empty() {
            vanished.iter().for_each(|network| self.state.forget_own(*network));
            self.state.tell(StoreNews::Vanished(vanished));
        }
        Ok(())
    }

    /// All bans, and the identities of the servers, which are the same before and behind the reading: a server that is emptied
    /// meanwhile is read again.
    fn scan_one_memory(&mut self) -> Result<(Bans, Vec<String>), ()> {
        let mut before = self.identities()?;
        for _ in 0..SCANS_MAX {
            self.state.begin_load();
            let bans = self.scan()?;
            let behind = self.identities()?;
            if before == behind {
                return Ok((bans, behind));
            }
            before = behind;
        }
        Err(())
    }

    /// Divides bans that are missing into those that another process has ended, and those that have just gone.
    fn ended(&mut self, missing: Vec<IpNet>) -> Result<(Vec<IpNet>, Vec<IpNet>), ()> {
        let key = |network: &IpNet| Command::new("GET").key(self.keys.end_key(*network));
        let commands: Vec<Command> = missing.iter().map(key).collect();
        let outcomes = self.exchange_all(&commands)?;
        let is_ended = outcomes.into_iter().map(|outcome| outcome.ok().and_then(text_of).is_some());
        let (ended, gone): (Vec<_>, Vec<_>) =
            missing.into_iter().zip(is_ended).partition(|(_, is_ended)| *is_ended);
        let networks = |all: Vec<(IpNet, bool)>| all.into_iter().map(|(network, _)| network).collect();
        Ok((networks(ended), networks(gone)))
    }

    /// The outcomes of commands that all reach their servers.
    fn exchange_all(&mut self, commands: &[Command]) -> Result<Vec<Outcome>, ()> {
        let end = Instant::now() + self.settings.read_timeout;
        let outcomes = self.servers.exchange(commands, end);
        if outcomes.iter().any(is_lost) { Err(()) } else { Ok(outcomes) }
    }

    /// What the servers give themselves anew at every start, and what was written into their memories once: a server
    /// that was emptied has lost it.
    fn identities(&mut self) -> Result<Vec<String>, ()> {
        let mut all = self.run_ids()?;
        all.extend(self.memory_ids()?);
        all.sort();
        Ok(all)
    }

    fn run_ids(&mut self) -> Result<Vec<String>, ()> {
        self.servers.find();
        let mut all = Vec::new();
        for index in 0..self.servers.count() {
            let replies = self.on_server(index, &[Command::new("INFO").arg("server")])?;
            let text = replies.into_iter().next().and_then(|reply| String::from_redis_value(reply).ok());
            let id =
                text.as_deref().and_then(|text| text.lines().find_map(|line| line.strip_prefix("run_id:")));
            all.extend(id.map(str::to_owned));
        }
        Ok(all)
    }

    /// Names the memory of each server, unless another process has done so, and reads the names.
    fn memory_ids(&mut self) -> Result<Vec<String>, ()> {
        let (text, id) = (self.keys.memory_key(), format!("{}:{}", self.keys.node(), unix_now_ms()));
        let keys = (0..self.servers.count()).filter_map(|index| self.servers.key_on(index, &text));
        let both =
            |key: String| [Command::new("SET").key(&key).arg(&id).arg("NX"), Command::new("GET").key(&key)];
        let commands: Vec<Command> = keys.flat_map(both).collect();
        let end = Instant::now() + self.settings.read_timeout;
        // A server that takes no writes for now still has bans to be read.
        let found: Vec<Outcome> =
            self.servers.exchange(&commands, end).into_iter().skip(1).step_by(2).collect();
        if found.iter().any(is_lost) {
            return Err(());
        }
        Ok(found.into_iter().filter_map(|outcome| text_of(outcome.ok()?)).collect())
    }

    fn scan(&mut self) -> Result<Bans, ()> {
        let (mut bans, mut old) = (Bans::new(), OldKeys::new());
        let mut dropped = 0;
        let pattern = self.keys.pattern();
        for index in 0..self.servers.count() {
            let mut cursor = Some("0".to_owned());
            while let Some(from) = cursor.filter(|_| !self.state.is_stopping()) {
                let (next, found) = self.scan_on(index, &from, &pattern)?;
                dropped += self.read(found, &mut bans, &mut old)?;
                cursor = next;
            }
        }
        count(&self.state.counting.bans_dropped, dropped);
        self.keys.set_old(old);
        Ok(bans)
    }

    /// Matching keys of one server from a cursor on, and the next cursor, if there are more.
    fn scan_on(
        &mut self,
        index: usize,
        cursor: &str,
        pattern: &str,
    ) -> Result<(Option<String>, Vec<String>), ()> {
        let scan = Command::new("SCAN").arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(SCAN_COUNT);
        let reply = self.on_server(index, &[scan])?.into_iter().next().ok_or(())?;
        let (next, found): (String, Vec<String>) = FromRedisValue::from_redis_value(reply).map_err(|_| ())?;
        Ok(((next != "0").then_some(next), found))
    }

    /// Removes all keys that begin with `key` and end with a hash.
    fn forget_all(&mut self, key: &str) -> Result<(), ()> {
        let pattern = self.keys.hashed_pattern(key);
        for index in 0..self.servers.count() {
            let mut cursor = Some("0".to_owned());
            while let Some(from) = cursor.filter(|_| !self.state.is_stopping()) {
                let (next, found) = self.scan_on(index, &from, &pattern)?;
                let deletes: Vec<Command> =
                    found.iter().map(|key| Command::new("DEL").key(key.clone())).collect();
                if !deletes.is_empty() {
                    self.on_server(index, &deletes)?;
                }
                cursor = next;
            }
        }
        Ok(())
    }

    /// Reads the bans under these keys of one server, and collects old keys. Returns the number of bans beyond the limit.
    fn read(&mut self, found: Vec<String>, bans: &mut Bans, old: &mut OldKeys) -> Result<usize, ()> {
        let named: Vec<(String, IpNet)> = found
            .into_iter()
            .filter_map(|key| self.keys.network(&key).map(|network| (key, network)))
            .collect();
        if named.is_empty() {
            return Ok(0);
        }
        let ends = named.iter().map(|(key, _)| Command::new("GET").key(key.clone()));
        let reasons =
            named.iter().map(|(_, network)| Command::new("GET").key(self.keys.reason_key(*network)));
        // In a cluster the reasons may be on other servers.
        let commands: Vec<Command> = ends.chain(reasons).collect();
        // A value of another type is no ban. A value that could not be read may be one.
        let mut outcomes = self.exchange_all(&commands)?;
        let reasons = outcomes.split_off(named.len());
        let (now, mut dropped) = (unix_now_ms(), 0);
        let mut renamed = Vec::new();
        for (((key, network), end), reason) in named.into_iter().zip(outcomes).zip(reasons) {
            let end = end.ok().and_then(text_of).and_then(|text| end_of(&text));
            let Some(until) = end else { continue };
            let reason = reason.ok().and_then(text_of).unwrap_or_default();
            if until.is_some_and(|until| until <= now) {
                continue;
            }
            if key != self.keys.key(network) {
                if old.len() < self.settings.bans_max {
                    old.entry(network).or_default().push(key.clone());
                }
                renamed.push((key, network, until));
            }
            let is_full = bans.len() >= self.settings.bans_max;
            match bans.entry(network) {
                Entry::Vacant(_) if is_full => dropped += 1,
                Entry::Vacant(entry) => {
                    entry.insert((until, reason.into()));
                }
                // Two spellings of one network: the longer remaining life holds.
                Entry::Occupied(mut entry) => {
                    let (known, _) = entry.get();
                    if until.is_none() || known.is_some_and(|known| until.is_some_and(|until| until > known))
                    {
                        entry.get_mut().0 = until;
                    }
                }
            }
        }
        self.rename(renamed);
        Ok(dropped)
    }

    /// Moves bans to the keys that all processes use; otherwise an unban would not find them. The later end counts. A ban leaves
    /// its old key only when it stands under the other one: a server that is full refuses a SET, and carries out a DEL. What
    /// could not be moved is found by the next load.
    fn rename(&mut self, mut renamed: Vec<(String, IpNet, Option<u64>)>) {
        if renamed.is_empty() {
            return;
        }
        let end = Instant::now() + self.settings.read_timeout;
        // Of two old spellings of one network the later end is written last.
        renamed.sort_by_key(|(_, _, until)| until.unwrap_or(u64::MAX));
        let key = |(_, network, _): &(String, IpNet, _)| self.keys.key(*network);
        let reads: Vec<Command> = renamed.iter().map(|ban| Command::new("GET").key(key(ban))).collect();
        let found = self.servers.exchange(&reads, end);
        let (mut moved, mut longer) = (Vec::new(), Vec::new());
        for (ban, found) in renamed.into_iter().zip(found) {
            let until = ban.2;
            let known = match found {
                Ok(reply) => text_of(reply).and_then(|text| end_of(&text)),
                Err(StoreFailure::WrongType) => None,
                // It may be a longer ban.
                Err(StoreFailure::Unreachable | StoreFailure::Refused | StoreFailure::Late) => continue,
            };
            let is_longer = match (known, until) {
                (None, _) | (Some(Some(_)), None) => true,
                (Some(Some(known)), Some(until)) => until > known,
                (Some(None), _) => false,
            };
            if is_longer { longer.push(ban) } else { moved.push(ban.0) }
        }
        let now = unix_now_ms();
        let set = |ban: &(String, IpNet, Option<u64>)| {
            let set = Command::new("SET").key(self.keys.key(ban.1)).arg(end_text(ban.2));
            let life = ban.2.map(|until| until.saturating_sub(now).div_ceil(1000).max(1));
            life.map_or(set.clone(), |life| set.arg("EX").arg(life))
        };
        let sets: Vec<Command> = longer.iter().map(set).collect();
        let outcomes = self.servers.exchange(&sets, end);
        let written = longer.into_iter().zip(outcomes).filter(|(_, outcome)| outcome.is_ok());
        moved.extend(written.map(|((old, ..), _)| old));
        let deletes: Vec<Command> = moved.into_iter().map(|old| Command::new("DEL").key(old)).collect();
        self.servers.exchange(&deletes, end);
    }

    fn on_server(&mut self, index: usize, commands: &[Command]) -> Result<Vec<Value>, ()> {
        let end = Instant::now() + self.settings.read_timeout;
        self.servers.on_server(index, commands, end)
    }
}

fn text_of(reply: Value) -> Option<String> {
    match reply {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        _ => None,
    }
}
