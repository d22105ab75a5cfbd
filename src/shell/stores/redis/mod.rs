//! The store in Redis or Valkey (guard semantics, sections 3 to 7): one server, a cluster, or a master that sentinels know.

mod address;
mod ban_keys;
mod bans;
mod command;
mod server;
mod servers;

use super::backend::{Backend, Work, run};
use super::desk::{Desk, Question, count};
use super::settings::StoreSettings;
use crate::guard::escalation::PERMANENT_AFTER_MAX;
use crate::guard::store::{Answer, Check, EscalationVerdict, StoreFailure, StoreNews, StoreOrder};
use crate::guard::values::{self, ValueAnswer, ValueRequest};
use crate::random;
use address::Target;
use ban_keys::BanKeys;
use command::{Command, Script};
use redis::Value;
use server::Timeouts;
use servers::{Outcome, Servers};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

/// Starts the thread for questions and orders, and the thread for bans.
pub(super) fn start(settings: StoreSettings, desk: &Arc<Desk>, queue: Receiver<Work>) -> io::Result<()> {
    // Another part of the process may have installed a provider already.
    #[cfg(feature = "tls")]
    let _ = rustls::crypto::ring::default_provider().install_default();
    let target = Target::parse(&settings)?;
    let mut node = [0; 8];
    random::fill(&mut node)?;
    let keys = BanKeys::new(&settings.prefix, format!("{:016x}", u64::from_ne_bytes(node)));
    let (for_bans, desk) = (Target::parse(&settings)?, desk.clone());
    let (bans_desk, bans_keys, bans_settings) = (desk.clone(), keys.clone(), settings.clone());
    thread::Builder::new().name("weir-bans".to_owned()).spawn(move || {
        bans::run(for_bans, bans_settings, bans_keys, &bans_desk);
    })?;
    thread::Builder::new().name("weir-store".to_owned()).spawn(move || {
        let timeouts = Timeouts {
            reply: settings.deadline,
            connect: settings.connect_timeout,
            give_up: settings.read_timeout,
        };
        let servers = Servers::new(target, timeouts, true);
        let mut client = RedisBackend {
            servers,
            prefix: settings.prefix,
            keys,
            hits: 0,
            buffers: Vec::new(),
            desk: desk.clone(),
            deadline: settings.deadline,
        };
        run(&mut client, &queue, &desk, settings.deadline);
    })?;
    Ok(())
}

/// Buffers that are kept for commands (chosen: two pipelines of questions with one check; a key and its numbers take 160 bytes, so
/// some 100 KB in all).
const BUFFERS_MAX: usize = 512;

struct RedisBackend {
    servers: Servers,
    prefix: Box<str>,
    keys: BanKeys,
    /// Recorded hits: together with the node's name the number distinguishes two hits at the same time.
    hits: u64,
    /// Buffers of earlier commands, for the next ones.
    buffers: Vec<Vec<u8>>,
    desk: Arc<Desk>,
    deadline: Duration,
}

impl RedisBackend {
    fn command(&mut self, check: &Check) -> Command {
        let buffer = self.buffers.pop().unwrap_or_default();
        match check {
            Check::Window { key, limit, window_ms } => {
                self.hits += 1;
                let command = Command::script(Script::Window, buffer).prefixed_key(&self.prefix, key);
                command.number(*limit).number(*window_ms).numbered(self.keys.node(), self.hits)
            }
            Check::Escalation { key, constants } => {
                let command = Command::script(Script::Escalation, buffer).prefixed_key(&self.prefix, key);
                let command = command.number(constants.requests_max).number(constants.window_ms);
                let command = command.number(constants.block_after).number(constants.block_ms);
                let permanent_after =
                    constants.permanent_after.map_or(0, |after| after.clamp(1, PERMANENT_AFTER_MAX));
                command.number(permanent_after).number(constants.permanent_window_ms)
            }
        }
    }

    /// Sends commands, and reports events on the way.
    fn exchange(&mut self, commands: &[Command]) -> Vec<Outcome> {
        let outcomes = self.servers.exchange(commands, Instant::now() + self.deadline);
        self.tell_noticed();
        outcomes
    }

    fn tell_noticed(&mut self) {
        let noticed = self.servers.take_noticed();
        count(&self.desk.counting.connections, noticed.connections);
        if noticed.script_reloaded {
            self.desk.tell(StoreNews::ScriptReloaded);
        }
    }
}

impl Backend for RedisBackend {
    fn ask(&mut self, questions: &[Question]) {
        let checks = || questions.iter().flat_map(|question| &question.checks);
        let commands: Vec<Command> = checks().map(|check| self.command(check)).collect();
        let outcomes = self.exchange(&commands);
        let answers = checks().zip(outcomes).map(|(check, outcome)| answer(check, &outcome?));
        self.desk.answer(questions, answers);
        let kept = BUFFERS_MAX - self.buffers.len();
        self.buffers.extend(commands.into_iter().map(Command::into_buffer).take(kept));
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
        let now_ms = bans::now_unix_ms();
        for order in orders {
            if let StoreOrder::ForgetAll(key) = order {
                self.desk.add_sweep(key.clone());
            }
        }
        let writes: Vec<Command> =
            orders.iter().flat_map(|order| self.keys.writes(order, &self.prefix, now_ms)).collect();
        // A process that gets the message about a ban, and then loads all bans, must find it: so messages go last.
        let messages: Vec<Command> = orders.iter().filter_map(|order| self.keys.message(order)).collect();
        for commands in [writes, messages] {
            let outcomes = self.exchange(&commands);
            let refused = outcomes.iter().filter(|outcome| **outcome == Err(StoreFailure::Refused)).count();
            if refused > 0 {
                count(&self.desk.counting.orders_dropped, refused);
                log::error!("the store has refused {refused} orders: {}", self.servers.last_error());
            }
            if outcomes
                .iter()
                .any(|outcome| matches!(outcome, Err(StoreFailure::Unreachable | StoreFailure::Late)))
            {
                return false;
            }
        }
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

/// The answer of a script: one number, which takes a fraction of the time that an array takes to write and to read. Any other
/// reply is a failure.
fn answer(check: &Check, reply: &Value) -> Result<Answer, StoreFailure> {
    match (check, reply) {
        (Check::Window { .. }, Value::Int(left @ 1..)) => {
            let left = u32::try_from(*left).map_err(|_| StoreFailure::Refused)?;
            Ok(Answer::Window { within: true, left, retry_after_ms: 0 })
        }
        (Check::Window { .. }, Value::Int(number)) => {
            let number = number.unsigned_abs();
            Ok(Answer::Window { within: number % 2 == 0, left: 0, retry_after_ms: number / 2 })
        }
        (Check::Escalation { .. }, Value::Int(number @ 0..)) => {
            let retry_after_ms = number.unsigned_abs() / 4;
            Ok(Answer::Escalation(match number % 4 {
                0 => EscalationVerdict::Pass,
                1 => EscalationVerdict::Over { retry_after_ms },
                2 => EscalationVerdict::Blocked { retry_after_ms },
                _ => EscalationVerdict::Permanent,
            }))
        }
        (Check::Window { .. } | Check::Escalation { .. }, _) => Err(StoreFailure::Refused),
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
            assert_eq!(answer(&window, &Value::Int(number)), expected, "{number}");
        }
        for (number, expected) in [
            (0, Ok(EscalationVerdict::Pass)),
            (29, Ok(EscalationVerdict::Over { retry_after_ms: 7 })),
            (30, Ok(EscalationVerdict::Blocked { retry_after_ms: 7 })),
            (3, Ok(EscalationVerdict::Permanent)),
            (-1, Err(StoreFailure::Refused)),
        ] {
            assert_eq!(
                answer(&escalation, &Value::Int(number)),
                expected.map(Answer::Escalation),
                "{number}"
            );
        }
        for reply in
            [Value::Nil, Value::Okay, Value::Array(vec![Value::Int(1)]), Value::BulkString(b"1".into())]
        {
            assert_eq!(answer(&window, &reply), Err(StoreFailure::Refused), "{reply:?}");
            assert_eq!(answer(&escalation, &reply), Err(StoreFailure::Refused), "{reply:?}");
        }
    }
}
