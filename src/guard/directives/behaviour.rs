//! The directive `behaviour` (guard semantics, section 10).

use super::draft::Draft;
use super::values::{
    duration, duration_or_ever, duration_text, host_pattern, methods, number, path_prefix, rate, scope_text,
    word_text,
};
use super::words::{Optional, Words};
use super::{Place, Scope};
use crate::guard::behaviour::pattern::Pattern;

/// Most lines `behaviour` (a bit of a word for each; guard files have a handful).
pub const RULES_MAX: usize = 64;

/// Highest threshold (chosen, as that of a limit).
const THRESHOLD_MAX: u64 = 1_000_000;

/// The window of `usage` without `in` (guard semantics, section 10).
const USAGE_WINDOW_MS: u64 = 3_600_000;

/// The window of `frequency` without `in` (guard semantics, section 10).
const FREQUENCY_WINDOW_MS: u64 = 300_000;

/// The window of `return` without `in` (guard semantics, section 10).
const RETURN_WINDOW_MS: u64 = 86_400_000;

/// Duration of a ban without `for` (guard semantics, section 10).
const BAN_MS: u64 = 3_600_000;

/// The pace of a throttled client without `rate` (chosen: slow for a program, bearable for a person).
const PACE: (u32, u64) = (1, 1000);

/// The events that a rule counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BehaviourKind {
    /// Requests.
    Usage,
    /// Requests, as a rate.
    Frequency,
    /// Responses that match a pattern.
    Return(Box<str>),
}

/// The action of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BehaviourAction {
    /// An event.
    Log,
    /// An event, and a line in weir's log.
    Alert,
    /// The client is banned.
    Ban {
        /// The duration; `None` for a permanent ban.
        duration_ms: Option<u64>,
    },
    /// The client's further requests for the same are let through at a pace.
    Throttle {
        /// Number of requests.
        requests: u32,
        /// The time for that number of requests.
        per_ms: u64,
        /// The duration, from the last event on.
        duration_ms: u64,
    },
}

/// `behaviour usage|frequency|return ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BehaviourLine {
    /// The line of the rule.
    pub place: Place,
    /// The events that are counted.
    pub kind: BehaviourKind,
    /// More than this many within the window.
    pub threshold: u32,
    /// The window.
    pub window_ms: u64,
    /// The requests that are counted at all.
    pub scope: Scope,
    /// One counter for the whole scope, in place of one for each method and path.
    pub together: bool,
    /// The action.
    pub action: BehaviourAction,
    /// Half the threshold for a client with suspicious requests.
    pub correlate: bool,
    /// The rule counts and logs, without any action.
    pub observe: bool,
}

/// The options of a line, before they are checked together.
#[derive(Default)]
struct Given {
    window_ms: Option<u64>,
    scope: Scope,
    together: bool,
    action: Option<&'static str>,
    /// `Some(None)` for a permanent ban.
    lasts_ms: Option<Option<u64>>,
    pace: Option<(u32, u64)>,
    correlate: bool,
    observe: bool,
}

const OPTIONS: [Optional<Given>; 10] = [
    ("in", |given, words| {
        given.window_ms = Some(duration(&words.value("a time such as 10m")?)?);
        Ok(())
    }),
    ("path", |given, words| path_prefix(words).map(|path| given.scope.path = Some(path))),
    ("host", |given, words| host_pattern(words).map(|host| given.scope.host = Some(host))),
    ("methods", |given, words| methods(words).map(|methods| given.scope.methods = methods)),
    ("together", |given, _| {
        given.together = true;
        Ok(())
    }),
    ("action", |given, words| {
        let known = ["log", "alert", "ban", "throttle"].into_iter().find(|name| words.accept(name));
        given.action = Some(known.ok_or_else(|| words.unexpected("log, alert, ban or throttle"))?);
        Ok(())
    }),
    ("for", |given, words| duration_or_ever(words).map(|lasts_ms| given.lasts_ms = Some(lasts_ms))),
    ("rate", |given, words| rate(words, THRESHOLD_MAX).map(|pace| given.pace = Some(pace))),
    ("correlate", |given, _| {
        given.correlate = true;
        Ok(())
    }),
    ("observe", |given, _| {
        given.observe = true;
        Ok(())
    }),
];

pub(super) fn behaviour(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    let expected = "usage, frequency or return";
    let (kind, counted) = match (words.accept("usage"), words.accept("frequency"), words.accept("return")) {
        (true, _, _) => (BehaviourKind::Usage, Counted::Events(threshold(words)?)),
        (_, true, _) => (BehaviourKind::Frequency, Counted::Rate(rate(words, THRESHOLD_MAX)?)),
        (_, _, true) => {
            let pattern = words.value("a pattern such as status:404, \"in quotes\" if it has blanks")?;
            Pattern::parse(&pattern)?;
            (BehaviourKind::Return(pattern.into()), Counted::Events(threshold(words)?))
        }
        (false, false, false) => return Err(words.unexpected(expected)),
    };
    let mut given = Given::default();
    words.options(&mut given, &OPTIONS)?;
    let window_ms = given.window_ms.unwrap_or(match kind {
        BehaviourKind::Usage => USAGE_WINDOW_MS,
        BehaviourKind::Frequency => FREQUENCY_WINDOW_MS,
        BehaviourKind::Return(_) => RETURN_WINDOW_MS,
    });
    let threshold = counted.threshold(window_ms)?;
    let action = given.action(window_ms)?;
    let Given { scope, together, correlate, observe, .. } = given;
    // A path is an endpoint by itself.
    let together = together || scope.path.is_some();
    let place = Place::default();
    let mut line =
        BehaviourLine { place, kind, threshold, window_ms, scope, together, action, correlate, observe };
    if draft.directives.behaviour.len() >= RULES_MAX {
        return Err(format!("expected at most {RULES_MAX} lines with behaviour"));
    }
    let text = behaviour_text(&line);
    draft.once(text.clone(), |line| format!("the same again: expected once, and line {line} has it"))?;
    line.place = draft.place(text);
    draft.directives.behaviour.push(line);
    Ok(())
}

fn threshold(words: &mut Words) -> Result<u32, String> {
    number(&words.value("a number of events")?, 1, THRESHOLD_MAX).map(|count| count as u32)
}

enum Counted {
    Events(u32),
    /// Requests in a time, in milliseconds.
    Rate((u32, u64)),
}

impl Counted {
    /// Most events in a window; for a rate rounded down (guard semantics, section 10).
    fn threshold(self, window_ms: u64) -> Result<u32, String> {
        match self {
            Counted::Events(count) => Ok(count),
            Counted::Rate((count, per_ms)) => match u64::from(count).saturating_mul(window_ms) / per_ms {
                0 => Err("the window is too short for the rate: expected at least one request in it".into()),
                events @ 1..=THRESHOLD_MAX => Ok(events as u32),
                events => {
                    Err(format!("expected at most {THRESHOLD_MAX} requests in the window, found {events}"))
                }
            },
        }
    }
}

impl Given {
    fn action(&self, window_ms: u64) -> Result<BehaviourAction, String> {
        let name = self.action.unwrap_or("log");
        if self.pace.is_some() && name != "throttle" {
            return Err("rate is about action throttle: expected it there alone".into());
        }
        match (name, self.lasts_ms) {
            ("ban", lasts_ms) => Ok(BehaviourAction::Ban { duration_ms: lasts_ms.unwrap_or(Some(BAN_MS)) }),
            ("throttle", Some(None)) => Err("expected a time: a throttle is not for ever".into()),
            ("throttle", lasts_ms) => {
                let (requests, per_ms) = self.pace.unwrap_or(PACE);
                let duration_ms = lasts_ms.flatten().unwrap_or(window_ms);
                Ok(BehaviourAction::Throttle { requests, per_ms, duration_ms })
            }
            (_, Some(_)) => Err("for is about action ban and throttle: expected it there alone".into()),
            ("alert", None) => Ok(BehaviourAction::Alert),
            (_, None) => Ok(BehaviourAction::Log),
        }
    }
}

fn behaviour_text(line: &BehaviourLine) -> String {
    let what = match &line.kind {
        BehaviourKind::Usage => "usage".to_owned(),
        BehaviourKind::Frequency => "frequency".to_owned(),
        BehaviourKind::Return(pattern) => format!("return {}", word_text(pattern)),
    };
    let window = duration_text(line.window_ms);
    let count = match line.kind {
        BehaviourKind::Frequency => format!("{}/{window}", line.threshold),
        BehaviourKind::Usage | BehaviourKind::Return(_) => line.threshold.to_string(),
    };
    let together = if line.together && line.scope.path.is_none() { " together" } else { "" };
    let action = match line.action {
        BehaviourAction::Log => "log".to_owned(),
        BehaviourAction::Alert => "alert".to_owned(),
        BehaviourAction::Ban { duration_ms } => {
            format!("ban for {}", duration_ms.map_or_else(|| "ever".to_owned(), duration_text))
        }
        BehaviourAction::Throttle { requests, per_ms, duration_ms } => {
            let (per, lasts) = (duration_text(per_ms), duration_text(duration_ms));
            format!("throttle for {lasts} rate {requests}/{per}")
        }
    };
    let correlate = if line.correlate { " correlate" } else { "" };
    let observe = if line.observe { " observe" } else { "" };
    let scope = scope_text(&line.scope);
    format!("behaviour {what} {count} in {window}{scope}{together} action {action}{correlate}{observe}")
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn line(text: &str) -> BehaviourLine {
        let found = parse(text.as_bytes()).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
        found.behaviour.into_iter().next().unwrap()
    }

    #[test]
    fn guard_10_lines_and_their_canonical_text() {
        for (text, canonical, threshold, window_ms) in [
            ("behaviour usage 100", "behaviour usage 100 in 1h action log", 100, 3_600_000),
            (
                "behaviour usage 5 in 60s methods post path /login action ban",
                "behaviour usage 5 in 1m path /login methods POST action ban for 1h",
                5,
                60_000,
            ),
            (
                "behaviour frequency 2/1s action ban for ever",
                "behaviour frequency 600/5m in 5m action ban for ever",
                600,
                300_000,
            ),
            ("behaviour frequency 1/3s in 10s", "behaviour frequency 3/10s in 10s action log", 3, 10_000),
            (
                "behaviour return status:404 10 together action throttle",
                "behaviour return status:404 10 in 1d together action throttle for 1d rate 1/1s",
                10,
                86_400_000,
            ),
            #[cfg(feature = "detection")]
            (
                "behaviour return \"json:a==b c\" 1 in 1m action throttle for 10s rate 5/2s correlate observe",
                "behaviour return \"json:a==b c\" 1 in 1m action throttle for 10s rate 5/2s correlate observe",
                1,
                60_000,
            ),
            ("behaviour usage 1 in 1s action alert", "behaviour usage 1 in 1s action alert", 1, 1000),
        ] {
            let found = line(text);
            assert_eq!(
                (&*found.place.text, found.threshold, found.window_ms),
                (canonical, threshold, window_ms)
            );
            assert_eq!(&*line(canonical).place.text, canonical);
        }
    }

    #[test]
    fn guard_10_faulty_lines() {
        for (text, message) in [
            ("behaviour", "usage, frequency or return"),
            ("behaviour usage 0", "from 1"),
            ("behaviour usage many", "a number"),
            ("behaviour frequency 1/1h in 1m", "too short"),
            ("behaviour frequency 1000000/1s in 1h", "at most"),
            ("behaviour return status:40x 1", "status"),
            ("behaviour return status:99 1", "status"),
            ("behaviour return json:a=b 1", "json:"),
            ("behaviour return json:==b 1", "json:"),
            ("behaviour return \"\" 1", "pattern"),
            ("behaviour usage 1 action forgive", "log, alert, ban or throttle"),
            ("behaviour usage 1 action log for 1h", "ban and throttle"),
            ("behaviour usage 1 action throttle for ever", "not for ever"),
            ("behaviour usage 1 action ban rate 1/1s", "throttle"),
            ("behaviour usage 1\nbehaviour usage 1 in 1h", "line 1 has it"),
        ] {
            let problems = parse(text.as_bytes()).expect_err(text);
            assert!(problems.iter().any(|problem| problem.message.contains(message)), "{text}: {problems:?}");
        }
        let many: String = (1..=65).map(|count| format!("behaviour usage {count}\n")).collect();
        let problems = parse(many.as_bytes()).unwrap_err();
        assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [65]);
    }
}
