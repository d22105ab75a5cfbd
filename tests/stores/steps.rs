//! The scripts, step by step with a time of their own, against the reference models.

use crate::model::{Constants, Document, Hits, REFERENCE, Steps, Verdict, update};
use crate::redis_server::RedisServer;

const WINDOW: &str = include_str!("../../src/shell/stores/redis/window.lua");

const ESCALATION: &str = include_str!("../../src/shell/stores/redis/escalation.lua");

/// Where the times of the tests begin, in milliseconds.
const BEGIN: i64 = 1_764_421_349_123;

/// What the word of a script means: within, left, milliseconds until the next hit would pass.
fn meant(word: &str) -> (bool, usize, i64) {
    let number: i64 = word.parse().expect("a number");
    match usize::try_from(number) {
        Ok(left @ 1..) => (true, left, 0),
        _ => (number % 2 == 0, 0, -number / 2),
    }
}

#[test]
fn guard_5_the_script_of_windows_agrees_with_the_model_step_by_step() {
    let Some(server) = RedisServer::start() else { return };
    let (mut connection, script) = (server.connection(), redis::Script::new(WINDOW));
    for seed in 1..40 {
        let (limit, window) = (seed as usize % 7, 1 + (seed as i64 * 37) % 500);
        let (mut hits, mut now) = ([Hits::default(), Hits::default()], BEGIN);
        for (step, (key, gap)) in Steps::new(seed, 2, &[window as u64]).take(150).enumerate() {
            now += gap as i64;
            let expected = hits[key as usize].record(limit, window, now);
            let mut call = script.key(format!("w{seed}:{key}"));
            call.arg(limit).arg(window).arg(format!("n:{step}")).arg(now * 1000);
            let word: String = call.invoke(&mut connection).expect("an answer");
            assert_eq!(meant(&word), expected, "seed {seed}, step {step}, limit {limit}, window {window} ms");
        }
        assert!(server.query::<usize>(&["ZCARD", &format!("w{seed}:0")]) <= limit + 1);
    }
}

/// Times in the store have microseconds, and waits are rounded up.
#[test]
fn ours_5_hits_at_one_time_do_not_collapse_and_microseconds_count() {
    let Some(server) = RedisServer::start() else { return };
    let (mut connection, script) = (server.connection(), redis::Script::new(WINDOW));
    let now = BEGIN * 1000 + 457;
    let (yes, no) = (true, false);
    let steps =
        [(0, (yes, 1, 0)), (0, (yes, 0, 10)), (1, (no, 0, 10)), (2, (no, 0, 10)), (9_000, (no, 0, 2))];
    let leaving = [(19_000, (yes, 1, 0)), (28_999, (yes, 0, 1)), (39_001, (yes, 1, 0))];
    for (number, (after, expected)) in steps.into_iter().chain(leaving).enumerate() {
        let mut call = script.key("w");
        call.arg(2).arg(10).arg(number).arg(now + after);
        let word: String = call.invoke(&mut connection).expect("an answer");
        assert_eq!(meant(&word), expected, "step {number}");
    }
}

/// The questions of a turn are one call, in which a key may occur more than once, and one may hold something else.
#[test]
fn ours_5_and_6_one_call_answers_for_many_keys() {
    let Some(server) = RedisServer::start() else { return };
    let mut connection = server.connection();
    server.query::<()>(&["SET", "other", "no set and no hash"]);
    let window = redis::Script::new(WINDOW);
    let mut call = window.key("a");
    call.key("other").key("b").key("a").key("a");
    for name in 1..=5 {
        call.arg(2).arg(10_000 * name).arg(format!("n:{name}"));
    }
    let words: String = call.arg(BEGIN * 1000).invoke(&mut connection).expect("an answer");
    assert_eq!(words, "1 - 1 -80000 -100001");
    let escalation = redis::Script::new(ESCALATION);
    let mut call = escalation.key("e");
    call.key("other").key("f").key("e").key("e");
    for requests_max in [1, 1, 0, 1, 1] {
        call.arg(requests_max).arg(1000).arg(2).arg(5000).arg(0).arg(60_000);
    }
    let words: String = call.arg(BEGIN).invoke(&mut connection).expect("an answer");
    assert_eq!(words, "8000 - 8005 8005 40006");
    assert_eq!(server.query::<String>(&["GET", "other"]), "no set and no hash");
}

#[test]
fn ours_6_the_script_of_escalation_agrees_with_the_model_step_by_step() {
    let Some(server) = RedisServer::start() else { return };
    let (mut connection, script) = (server.connection(), redis::Script::new(ESCALATION));
    let small = Constants {
        max_requests: 2,
        window: 50,
        block_after: 3,
        block_for: 120,
        perma_after: Some(6),
        perma_window: 1000,
    };
    let never = Constants { perma_after: None, block_after: 2, ..small };
    let at_once = Constants { max_requests: 0, block_after: 1, block_for: 0, perma_after: Some(30), ..small };
    let mut seen = [0; 4];
    for (number, constants) in [small, never, at_once, REFERENCE].iter().enumerate() {
        let edges = [constants.window, constants.block_for, constants.perma_window].map(|edge| edge as u64);
        for seed in 1..12 {
            let (mut documents, mut now) = ([Document::default(), Document::default()], BEGIN);
            for (step, (key, gap)) in Steps::new(seed, 2, &edges).take(300).enumerate() {
                now += gap as i64;
                let before = &documents[key as usize];
                let (document, verdict) = update(before, now, constants);
                let is_violation = before.violations.unwrap_or(0) != document.violations.unwrap_or(0);
                let is_last = document.count == Some(constants.max_requests);
                let left = (document.window_start.unwrap_or(now) + constants.window - now).max(1);
                documents[key as usize] = document;
                let (verdict, wait) = match verdict {
                    Verdict::Pass => (0, if is_last { left } else { 0 }),
                    Verdict::Over(wait) => (1, wait),
                    Verdict::Blocked(wait) => (2, wait),
                    Verdict::Permanent => (3, 0),
                };
                let mut call = script.key(format!("e{number}:{seed}:{key}"));
                call.arg(constants.max_requests).arg(constants.window).arg(constants.block_after);
                call.arg(constants.block_for)
                    .arg(constants.perma_after.unwrap_or(0))
                    .arg(constants.perma_window);
                let word: String = call.arg(now).invoke(&mut connection).expect("an answer");
                let number: i64 = word.parse().expect("a number");
                let found = ((number % 4) as usize, number & 4 != 0, number / 8);
                assert_eq!(
                    found,
                    (verdict, is_violation, wait),
                    "constants {number}, seed {seed}, step {step}"
                );
                seen[found.0] += 1;
            }
        }
    }
    assert!(seen.iter().all(|times| *times > 50), "verdicts that were met: {seen:?}");
}
