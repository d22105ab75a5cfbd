//! The store in Redis or Valkey (guard semantics, sections 3 to 7): one server, a cluster, or a master that sentinels know.

mod acts;
mod address;
mod ban_keys;
mod bans;
mod command;
mod server;
mod servers;

use super::asking::{self, ASKERS, Queue};
use super::backend::{self, Backend, Work};
use super::settings::StoreSettings;
use super::store_state::{Question, StoreState, count};
use crate::guard::escalation::PERMANENT_AFTER_MAX;
use crate::guard::store::{
    Answer, Check, EscalationStep, EscalationVerdict, StoreFailure, StoreNews, StoreOrder,
};
use crate::guard::values::{self, ValueAnswer, ValueRequest};
use crate::random;
use crate::shell::clock::unix_now_ms;
use crate::shell::threads;
use address::Target;
use ban_keys::BanKeys;
use command::{Command, Script};
use redis::Value;
use server::Timeouts;
use servers::{Noticed, Outcome, Servers, is_lost};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// The hits of a thread have their numbers in these bits, and its own number is above (chosen: no thread records so many).
const HITS_BITS: u32 = 48;

/// Checks the URL of the settings, and the certificates.
pub(super) fn check(settings: &StoreSettings) -> io::Result<()> {
    Target::parse(settings).map(drop)
}

/// Starts the threads for questions, the thread for values and orders, and the thread for bans.
pub(super) fn start(
    settings: StoreSettings,
    state: &Arc<StoreState>,
    questions: Queue,
    queue: Receiver<Work>,
) -> io::Result<()> {
    let target = Target::parse(&settings)?;
    let mut node = [0; 8];
    random::fill(&mut node)?;
    let keys =
        BanKeys::new(&settings.prefix, format!("{:016x}", u64::from_ne_bytes(node)), target.database());
    let backend = |number| RedisBackend::new(number, &settings, &keys, state);
    let mut first = backend(0)?;
    let askers: Vec<RedisBackend> = (1..=ASKERS.into()).map(backend).collect::<io::Result<_>>()?;
    let (deadline, questions) = (settings.deadline, Arc::new(questions));
    for mut asker in askers {
        let (questions, state) = (questions.clone(), state.clone());
        threads::spawn("weir-asker", move || asking::run(&mut asker, &questions, &state, deadline))?;
    }
    let state_of_bans = state.clone();
    threads::spawn("weir-bans", move || bans::run(target, settings, keys, &state_of_bans))?;
    let state = state.clone();
    threads::spawn("weir-store", move || backend::run(&mut first, &queue, &state, deadline))?;
    Ok(())
}

struct RedisBackend {
    servers: Servers,
    prefix: Box<str>,
    keys: BanKeys,
    /// The number of the last recorded hit: together with the node's name it distinguishes two hits at the same time.
    hits: u64,
    /// Orders at the head of the queue whose messages were sent before they are written.
    messages_sent: usize,
    /// Whether orders are refused for now, which was logged.
    is_refused_for_now: bool,
    state: Arc<StoreState>,
    deadline: Duration,
}

impl RedisBackend {
    /// The client of the thread with that number.
    fn new(
        number: u64,
        settings: &StoreSettings,
        keys: &BanKeys,
        state: &Arc<StoreState>,
    ) -> io::Result<RedisBackend> {
        let timeouts = Timeouts {
            reply: settings.deadline,
            connect: settings.connect_timeout,
            give_up: settings.read_timeout,
        };
        Ok(RedisBackend {
            servers: Servers::new(Target::parse(settings)?, timeouts, true),
            prefix: settings.prefix.clone(),
            keys: keys.clone(),
            hits: number << HITS_BITS,
            messages_sent: 0,
            is_refused_for_now: false,
            state: state.clone(),
            deadline: settings.deadline,
        })
    }

    /// The calls of scripts that answer these checks, and for each check the index of its call.
    fn calls<'a>(&mut self, checks: impl Iterator<Item = &'a Check>) -> (Vec<Command>, Vec<usize>) {
        // The keys of a cluster belong to different servers. Elsewhere one call of each script answers all: Redis takes half the time.
        let is_shared = !self.servers.is_cluster();
        let mut calls: Vec<Command> = Vec::new();
        let places = checks.map(|check| {
            let script = match check {
                Check::Window { .. } => Script::Window,
                Check::Escalation { .. } => Script::Escalation,
            };
            let known = if is_shared { calls.iter().position(|call| call.calls(script)) } else { None };
            let place = known.unwrap_or_else(|| {
                calls.push(Command::script(script));
                calls.len() - 1
            });
            self.add(check, &mut calls[place]);
            place
        });
        let places = places.collect();
        (calls, places)
    }

    /// Adds the key and the numbers of a check to the call of its script.
    fn add(&mut self, check: &Check, call: &mut Command) {
        let Command { keys, arguments, .. } = call;
        match check {
            Check::Window { key, limit, window_ms } => {
                self.hits += 1;
                keys.text(&self.prefix, key);
                arguments.number(*limit);
                arguments.number(*window_ms);
                arguments.numbered(self.keys.node(), self.hits);
            }
            Check::Escalation { key, constants } => {
                keys.text(&self.prefix, key);
                arguments.number(constants.requests_max);
                arguments.number(constants.window_ms);
                arguments.number(constants.block_after);
                arguments.number(constants.block_ms);
                let permanent_after = constants.permanent_after;
                arguments.number(permanent_after.map_or(0, |after| after.clamp(1, PERMANENT_AFTER_MAX)));
                arguments.number(constants.permanent_window_ms);
            }
        }
    }

    /// Sends commands, and reports events on the way.
    fn exchange(&mut self, commands: &[Command]) -> Vec<Outcome> {
        let outcomes = self.servers.exchange(commands, Instant::now() + self.deadline);
        self.tell_noticed();
        outcomes
    }

    /// Sends the commands of orders.
    fn exchange_orders(&mut self, commands: &[Command]) -> Carried {
        let outcomes = self.servers.exchange(commands, Instant::now() + self.deadline);
        let noticed = self.tell_noticed();
        let is_any_lost = outcomes.iter().any(is_lost);
        match outcomes.iter().filter(|outcome| **outcome == Err(StoreFailure::Refused)).count() {
            0 if !is_any_lost => Carried::Done,
            _ if noticed.refused_for_now => Carried::RefusedForNow,
            _ if is_any_lost => Carried::Lost,
            refused => Carried::Refused(refused),
        }
    }

    /// Logs once that orders wait for a server that refuses them, and once that it takes them again.
    fn note_refused_for_now(&mut self, is_refused: bool) {
        if is_refused == self.is_refused_for_now {
            return;
        }
        self.is_refused_for_now = is_refused;
        if is_refused {
            let reason = self.servers.last_error().unwrap_or("no reason");
            log::warn!("the store refuses orders for now, and they wait: {reason}");
        } else {
            log::info!("the store takes orders again");
        }
    }

    /// Sends the messages of these orders.
    fn send_messages(&mut self, orders: &[StoreOrder]) -> Carried {
        let messages: Vec<Command> = orders.iter().filter_map(|order| self.keys.message(order)).collect();
        self.exchange_orders(&messages)
    }

    /// Sends the messages of orders that are not written yet, once: these, and then a batch of those behind them each time. Other processes apply a ban until their next load, which does not
    /// find it.
    fn send_new_messages(&mut self, orders: &[StoreOrder]) {
        let behind = self.messages_sent.saturating_sub(orders.len());
        let new = match orders.get(self.messages_sent..) {
            Some(new) if !new.is_empty() => new.to_vec(),
            Some(_) | None => self.state.waiting_orders(behind, orders.len()),
        };
        if matches!(self.send_messages(&self.state.valid(&new)), Carried::Done) {
            self.messages_sent += new.len();
        }
    }

    fn tell_noticed(&mut self) -> Noticed {
        let noticed = self.servers.take_noticed();
        count(&self.state.counting.connections, noticed.connections);
        if noticed.script_reloaded {
            self.state.tell(StoreNews::ScriptReloaded);
        }
        noticed
    }
}

/// What has become of the commands of orders.
enum Carried {
    Done,
    /// A server is away or late: all go again.
    Lost,
    /// A server has refused some, because of a state that passes by: all go again.
    RefusedForNow,
    /// So many were refused, and will be.
    Refused(usize),
}

impl Backend for RedisBackend {
    fn ask(&mut self, questions: &[Question]) {
        let checks = || questions.iter().flat_map(|question| &question.checks);
        let (calls, places) = self.calls(checks());
        let outcomes = self.exchange(&calls);
        let mut numbers: Vec<_> =
            calls.iter().zip(outcomes).map(|(call, outcome)| numbers(call.keys.count(), outcome)).collect();
        let mut other_key = None;
        let answers = checks().zip(places).map(|(check, place)| match &mut numbers[place] {
            Ok(numbers) => match numbers.next().flatten() {
                Some(number) => answer(check, number),
                None => {
                    other_key = Some(check.key());
                    Err(StoreFailure::WrongType)
                }
            },
            Err(failure) => Err(*failure),
        });
        self.state.answer(questions, answers, self.servers.last_error());
        if let Some(key) = other_key {
            self.state.diagnose(|health| health.wrong_type(key, Instant::now()));
        }
    }

    fn last_error(&self) -> Option<String> {
        self.servers.last_error().map(str::to_owned)
    }

    fn answer_values(&mut self, requests: &[ValueRequest]) -> Vec<ValueAnswer> {
        let command = |request: &ValueRequest| match request {
            ValueRequest::Load { key: own } => Command::new("GET").prefixed_key(&self.prefix, own),
            ValueRequest::Save { key: own, payload, ttl_s } => {
                let command = Command::new("SET").prefixed_key(&self.prefix, own).arg(payload);
                match ttl_s {
                    Some(ttl_s) => command.arg("EX").arg(ttl_s),
                    None => command,
                }
            }
            ValueRequest::Add { key: own, payload } => {
                Command::new("SET").prefixed_key(&self.prefix, own).arg(payload).arg("NX")
            }
            ValueRequest::Delete { key: own } => Command::new("DEL").prefixed_key(&self.prefix, own),
        };
        let commands: Vec<Command> = requests.iter().map(command).collect();
        let outcomes = self.exchange(&commands);
        requests.iter().zip(outcomes).map(|(request, outcome)| value_answer(request, outcome)).collect()
    }

    fn carry_out(&mut self, orders: &[StoreOrder]) -> bool {
        let now_ms = unix_now_ms();
        for order in orders {
            if let StoreOrder::ForgetAll(key) = order {
                self.state.add_sweep(key.clone());
            }
        }
        let valid = self.state.valid(orders);
        let writes: Vec<Command> =
            valid.iter().flat_map(|order| self.keys.writes(order, &self.prefix, now_ms)).collect();
        let refused = match self.exchange_orders(&writes) {
            Carried::Done => 0,
            Carried::Lost => {
                // One server of a cluster may be away, and the others carry messages.
                if self.servers.is_cluster() {
                    self.send_new_messages(orders);
                }
                return false;
            }
            Carried::RefusedForNow => {
                self.note_refused_for_now(true);
                self.send_new_messages(orders);
                return false;
            }
            Carried::Refused(count) => count,
        };
        // A process that gets the message about a ban, and then loads all bans, must find it: so messages go last. Each
        // write has its message, also if the order has become void meanwhile.
        match self.send_messages(&valid) {
            Carried::Done => {}
            Carried::Lost | Carried::RefusedForNow => return false,
            // What is written reaches the other processes with their next load.
            Carried::Refused(count) => {
                let reason = self.servers.last_error().unwrap_or("no reason");
                log::warn!(
                    "the store has refused {count} messages, which others hear of with their next load: {reason}"
                );
            }
        }
        self.messages_sent = self.messages_sent.saturating_sub(orders.len());
        self.note_refused_for_now(false);
        if refused > 0 {
            count(&self.state.counting.orders_dropped, refused);
            let reason = self.servers.last_error().unwrap_or("no reason");
            log::error!("the store has refused {refused} orders: {reason}");
        }
        self.state.note_done(orders, refused == 0);
        true
    }

    fn look_after_connections(&mut self) {
        self.servers.look_after_connections();
        self.tell_noticed();
    }
}

fn value_answer(request: &ValueRequest, outcome: Outcome) -> ValueAnswer {
    match (request, outcome) {
        (ValueRequest::Load { .. }, Ok(Value::BulkString(text))) => {
            ValueAnswer::Found(values::payload(&text))
        }
        (ValueRequest::Load { .. }, Ok(Value::Nil)) => ValueAnswer::Absent,
        (ValueRequest::Load { .. }, Ok(_)) => ValueAnswer::Failed(StoreFailure::Refused),
        (ValueRequest::Add { .. }, Ok(Value::Nil)) => ValueAnswer::Taken,
        (ValueRequest::Save { .. } | ValueRequest::Add { .. } | ValueRequest::Delete { .. }, Ok(_)) => {
            ValueAnswer::Done
        }
        (_, Err(failure)) => ValueAnswer::Failed(failure),
    }
}

/// The numbers in the reply of a script, one for each of its keys: `None` for a key of another type. One text takes a fraction of
/// the time that an array takes to write and to read. Any other reply is a failure.
fn numbers(keys: usize, outcome: Outcome) -> Result<std::vec::IntoIter<Option<i64>>, StoreFailure> {
    let Value::BulkString(text) = outcome? else { return Err(StoreFailure::Refused) };
    let text = std::str::from_utf8(&text).map_err(|_| StoreFailure::Refused)?;
    let number = |word: &str| match word {
        "-" => Ok(None),
        word => word.parse().map(Some).map_err(|_| StoreFailure::Refused),
    };
    let numbers: Vec<_> = text.split(' ').map(number).collect::<Result<_, _>>()?;
    if numbers.len() == keys { Ok(numbers.into_iter()) } else { Err(StoreFailure::Refused) }
}

/// The answer that the number of a script means.
fn answer(check: &Check, number: i64) -> Result<Answer, StoreFailure> {
    match check {
        Check::Window { .. } => match u32::try_from(number) {
            Ok(left @ 1..) => Ok(Answer::Window { within: true, left, retry_after_ms: 0 }),
            Err(_) if number > 0 => Err(StoreFailure::Refused),
            Ok(_) | Err(_) => {
                let number = number.unsigned_abs();
                Ok(Answer::Window { within: number % 2 == 0, left: 0, retry_after_ms: number / 2 })
            }
        },
        Check::Escalation { .. } => {
            let number = u64::try_from(number).map_err(|_| StoreFailure::Refused)?;
            let (retry_after_ms, mut next_after_ms) = (number / 8, 0);
            let verdict = match number % 4 {
                0 => {
                    next_after_ms = retry_after_ms;
                    EscalationVerdict::Pass
                }
                1 => EscalationVerdict::Over { retry_after_ms },
                2 => EscalationVerdict::Blocked { retry_after_ms },
                _ => EscalationVerdict::Permanent,
            };
            Ok(Answer::Escalation(EscalationStep { verdict, is_violation: number & 4 != 0, next_after_ms }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::store::EscalationConstants;

    /// A store may be anything that listens on its port.
    #[test]
    fn what_is_no_answer_is_a_refusal() {
        let window = Check::Window { key: "k".into(), limit: 1, window_ms: 1 };
        let constants = EscalationConstants {
            requests_max: 1,
            window_ms: 1,
            block_after: 1,
            block_ms: 1,
            permanent_after: None,
            permanent_window_ms: 1,
        };
        let escalation = Check::Escalation { key: "k".into(), constants };
        let within = |within, left, retry_after_ms| Ok(Answer::Window { within, left, retry_after_ms });
        for (number, expected) in [
            (2, within(true, 2, 0)),
            (i64::from(u32::MAX), within(true, u32::MAX, 0)),
            (0, within(true, 0, 0)),
            (-14, within(true, 0, 7)),
            (-15, within(false, 0, 7)),
            (i64::MIN, within(true, 0, 1 << 62)),
            (i64::from(u32::MAX) + 1, Err(StoreFailure::Refused)),
        ] {
            assert_eq!(answer(&window, number), expected, "{number}");
        }
        for (number, expected) in [
            (0, Ok((EscalationVerdict::Pass, false, 0))),
            (56, Ok((EscalationVerdict::Pass, false, 7))),
            (61, Ok((EscalationVerdict::Over { retry_after_ms: 7 }, true, 0))),
            (58, Ok((EscalationVerdict::Blocked { retry_after_ms: 7 }, false, 0))),
            (62, Ok((EscalationVerdict::Blocked { retry_after_ms: 7 }, true, 0))),
            (3, Ok((EscalationVerdict::Permanent, false, 0))),
            (7, Ok((EscalationVerdict::Permanent, true, 0))),
            (-1, Err(StoreFailure::Refused)),
        ] {
            let step = |(verdict, is_violation, next_after_ms)| EscalationStep {
                verdict,
                is_violation,
                next_after_ms,
            };
            assert_eq!(answer(&escalation, number), expected.map(step).map(Answer::Escalation), "{number}");
        }
        let text = |text: &str| Ok(Value::BulkString(text.into()));
        let found = numbers(3, text("1 - -5")).map(Iterator::collect::<Vec<_>>);
        assert_eq!(found, Ok(vec![Some(1), None, Some(-5)]));
        for reply in [
            Ok(Value::Nil),
            Ok(Value::Okay),
            Ok(Value::Int(1)),
            Ok(Value::Array(vec![Value::Int(1)])),
            Ok(Value::BulkString(b"\xff".into())),
            text(""),
            text("1 2"),
            text("1 "),
            text("1.5"),
            text("99999999999999999999"),
        ] {
            assert_eq!(numbers(1, reply.clone()).err(), Some(StoreFailure::Refused), "{reply:?}");
        }
        assert_eq!(numbers(1, Err(StoreFailure::Late)).err(), Some(StoreFailure::Late));
    }
}
