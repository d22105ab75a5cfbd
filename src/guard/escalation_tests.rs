use super::*;
use crate::guard::model;

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const NOW: u64 = 1_700_000_000_000;

const REFERENCE: EscalationConstants = EscalationConstants {
    requests_max: 50,
    window_ms: MINUTE,
    block_after: 3,
    block_ms: 15 * MINUTE,
    permanent_after: Some(10),
    permanent_window_ms: 24 * 60 * MINUTE,
};

/// Requests of one key, through the pure function.
struct Key(EscalationState);

impl Key {
    fn new() -> Key {
        Key(EscalationState::default())
    }

    fn ask(&mut self, now: u64) -> EscalationVerdict {
        let (state, outcome) = step(std::mem::take(&mut self.0), now, &REFERENCE);
        self.0 = state;
        outcome.verdict
    }

    /// So many requests at once, the last of which has this verdict.
    #[track_caller]
    fn expect(&mut self, requests: usize, now: u64, verdict: EscalationVerdict) {
        let last = (0..requests).map(|_| self.ask(now)).last();
        assert_eq!(last, Some(verdict));
    }

    fn violations(&self) -> u32 {
        self.0.offences.as_ref().map_or(0, |offences| offences.violations)
    }
}

const fn over(retry_after_ms: u64) -> EscalationVerdict {
    EscalationVerdict::Over { retry_after_ms }
}

const fn blocked(retry_after_ms: u64) -> EscalationVerdict {
    EscalationVerdict::Blocked { retry_after_ms }
}

#[test]
fn guard_6_fifty_pass_two_are_over_and_the_third_violation_blocks() {
    let mut key = Key::new();
    for request in 1..=50 {
        assert_eq!(key.ask(NOW + request * 100), EscalationVerdict::Pass, "request {request}");
    }
    // The window began with the first request.
    assert_eq!(key.ask(NOW + 10 * SECOND), over(50_100));
    assert_eq!(key.ask(NOW + 11 * SECOND), over(49_100));
    assert_eq!(key.violations(), 2);
    assert_eq!(key.ask(NOW + 12 * SECOND), blocked(900 * SECOND));
    assert_eq!(key.violations(), 3);
}

#[test]
fn guard_6_violations_never_decay() {
    let mut key = Key::new();
    key.expect(51, NOW, over(MINUTE));
    // A year later, and another year later.
    key.expect(51, NOW + 365 * 86_400 * SECOND, over(MINUTE));
    key.expect(51, NOW + 2 * 365 * 86_400 * SECOND, blocked(900 * SECOND));
    key.expect(51, NOW + 3 * 365 * 86_400 * SECOND, blocked(900 * SECOND));
    assert_eq!(key.violations(), 4);
    assert_eq!(key.0.offences.as_ref().unwrap().events_ms.len(), 1, "those of a year ago are dropped");
}

#[test]
fn guard_6_while_blocked_nothing_is_counted_and_the_window_does_not_move() {
    let mut key = Key::new();
    key.expect(53, NOW, blocked(900 * SECOND));
    let before = key.0.clone();
    key.expect(1000, NOW + 899 * SECOND, blocked(SECOND));
    assert_eq!(key.0, before);
    // The first request after the block finds the window expired.
    assert_eq!(key.ask(NOW + 900 * SECOND), EscalationVerdict::Pass);
    assert_eq!((key.0.count, key.0.window_start_ms), (1, NOW + 900 * SECOND));
}

#[test]
fn guard_6_a_client_that_never_stops_is_blocked_for_ever_after_seven_more_blocks() {
    let mut key = Key::new();
    let (mut now, mut blocks) = (NOW, 0);
    let ended = loop {
        match key.ask(now) {
            EscalationVerdict::Pass | EscalationVerdict::Over { .. } => {}
            EscalationVerdict::Blocked { retry_after_ms } => {
                blocks += 1;
                now += retry_after_ms;
            }
            EscalationVerdict::Permanent => break now,
        }
    };
    // Three events in the first window, and one for each block after it: the eighth block would be the tenth event.
    assert_eq!((blocks, ended), (7, NOW + 7 * 900 * SECOND));
    let offences = key.0.offences.clone().unwrap();
    assert_eq!((offences.permanent_at_ms, offences.events_ms.len()), (Some(ended), 10));
    // It has no end.
    key.expect(1, u64::MAX, EscalationVerdict::Permanent);
    assert_eq!(key.0.offences.unwrap().permanent_at_ms, Some(ended));
}

#[test]
fn guard_6_exact_edges_of_window_block_and_events() {
    let mut key = Key::new();
    key.expect(50, NOW, EscalationVerdict::Pass);
    // Exactly 60 s old: not expired. The rest of the window is at least 1.
    key.expect(1, NOW + MINUTE, over(1));
    key.expect(1, NOW + MINUTE + 1, EscalationVerdict::Pass);
    // blocked_until exactly now is not blocked.
    let mut key = Key::new();
    key.expect(53, NOW, blocked(900 * SECOND));
    key.expect(1, NOW + 900 * SECOND - 1, blocked(1));
    key.expect(1, NOW + 900 * SECOND, EscalationVerdict::Pass);
    // An event exactly 24 h old is kept.
    let events = |after: u64| {
        let mut key = Key::new();
        key.expect(51, NOW, over(MINUTE));
        key.ask(NOW + after);
        key.0.offences.unwrap().events_ms.len()
    };
    assert_eq!((events(86_400 * SECOND), events(86_400 * SECOND + 1)), (1, 0));
}

#[test]
fn ours_6_and_fault_13_9_every_429_says_when_to_come_back() {
    let mut key = Key::new();
    for now in (NOW..NOW + 20 * MINUTE).step_by(700) {
        match key.ask(now) {
            EscalationVerdict::Pass | EscalationVerdict::Permanent => {}
            EscalationVerdict::Over { retry_after_ms } => assert!((1..=MINUTE).contains(&retry_after_ms)),
            EscalationVerdict::Blocked { retry_after_ms } => {
                assert!((1..=15 * MINUTE).contains(&retry_after_ms));
            }
        }
    }
    assert!(key.violations() >= 3);
}

#[test]
fn ours_6_numbers_at_the_edges_neither_panic_nor_grow() {
    let extremes = [0, 1, 2, u32::MAX];
    let times = [0, 1, u64::MAX];
    for requests_max in extremes {
        for block_after in extremes {
            for permanent_after in extremes.map(Some).into_iter().chain([None]) {
                for (window_ms, block_ms) in times.iter().flat_map(|a| times.map(|b| (*a, b))) {
                    let constants = EscalationConstants {
                        requests_max,
                        window_ms,
                        block_after,
                        block_ms,
                        permanent_after,
                        permanent_window_ms: window_ms,
                    };
                    let mut state = EscalationState::default();
                    for now in [0, 0, 1, NOW, 5, u64::MAX, u64::MAX, 0] {
                        state = step(state, now, &constants).0;
                    }
                }
            }
        }
    }
    // Violations in each millisecond, and hardly an end: what is kept is bounded.
    let constants = EscalationConstants {
        requests_max: 0,
        block_after: u32::MAX,
        permanent_after: Some(u32::MAX),
        ..REFERENCE
    };
    let mut state = EscalationState::default();
    for now in 0..5000 {
        let (after, outcome) = step(state, now, &constants);
        assert_eq!(
            outcome.verdict == EscalationVerdict::Permanent,
            now + 1 >= u64::from(PERMANENT_AFTER_MAX),
            "{now}"
        );
        state = after;
    }
    assert_eq!(state.offences.unwrap().events_ms.len(), PERMANENT_AFTER_MAX as usize);
}

/// weir's state as the document of the model.
fn document(state: &EscalationState) -> model::Document {
    let none = Offences::default();
    let offences = state.offences.as_deref().unwrap_or(&none);
    model::Document {
        count: Some(i64::from(state.count)),
        window_start: Some(state.window_start_ms as i64),
        violations: Some(i64::from(offences.violations)),
        blocked_until: offences.blocked_until_ms.map(|until| until as i64),
        permanent_blocked: Some(offences.permanent_at_ms.is_some()),
        permanent_blocked_at: offences.permanent_at_ms.map(|at| at as i64),
        violation_events: Some(offences.events_ms.iter().map(|event| *event as i64).collect()),
    }
}

fn verdict(verdict: model::Verdict) -> EscalationVerdict {
    match verdict {
        model::Verdict::Pass => EscalationVerdict::Pass,
        model::Verdict::Over(rest) => over(rest as u64),
        model::Verdict::Blocked(rest) => blocked(rest as u64),
        model::Verdict::Permanent => EscalationVerdict::Permanent,
    }
}

fn model_constants(constants: &EscalationConstants) -> model::Constants {
    model::Constants {
        max_requests: i64::from(constants.requests_max),
        window: constants.window_ms as i64,
        block_after: i64::from(constants.block_after),
        block_for: constants.block_ms as i64,
        perma_after: constants.permanent_after.map(i64::from),
        perma_window: constants.permanent_window_ms as i64,
    }
}

/// Small numbers, so that random sequences meet every transition, and those of the reference system.
fn many_constants(seed: u64) -> EscalationConstants {
    let mut steps = model::Steps::new(seed + 1000, 1, &[1]);
    if steps.below(5) == 0 {
        return REFERENCE;
    }
    EscalationConstants {
        requests_max: steps.below(6) as u32,
        window_ms: 1 + steps.below(100),
        block_after: 1 + steps.below(4) as u32,
        block_ms: 1 + steps.below(200),
        permanent_after: (steps.below(3) > 0).then_some(1 + steps.below(8) as u32),
        permanent_window_ms: 1 + steps.below(2000),
    }
}

#[test]
fn ours_6_memory_agrees_step_for_step_with_the_reference_model() {
    let mut met = [0; 4];
    for seed in 0..300 {
        let constants = many_constants(seed);
        let edges = [constants.window_ms, constants.block_ms, constants.permanent_window_ms];
        let (mut steps, mut now) = (model::Steps::new(seed, 4, &edges), NOW);
        let mut documents = vec![model::Document::default(); 4];
        let (mut alone, shared) = (Escalations::new(4), SharedEscalations::new(64));
        for at in 0..1000 {
            let Some((key, gap)) = steps.next() else { break };
            now += gap;
            let place = &mut documents[key as usize];
            let (after, expected) = model::update(place, now as i64, &model_constants(&constants));
            let violated = place.violations.unwrap_or(0) != after.violations.unwrap_or(0);
            *place = after;
            let expected = verdict(expected);
            let hash = key << 40;
            let outcome = alone.step(hash, now, &constants);
            assert_eq!(outcome.verdict, expected, "seed {seed}, step {at}, {constants:?}");
            assert_eq!(outcome.is_violation, violated, "seed {seed}, step {at}, {constants:?}");
            assert_eq!(shared.step(hash, now, &constants), outcome, "seed {seed}, step {at}");
            if expected == EscalationVerdict::Pass {
                // It tells when the next request passes: then, and not before.
                let left = place.window_start.unwrap_or(0) as u64 + constants.window_ms - now;
                let is_last = place.count == Some(i64::from(constants.requests_max));
                assert_eq!(
                    outcome.next_after_ms,
                    if is_last { left.max(1) } else { 0 },
                    "seed {seed}, step {at}"
                );
            }
            let mut expected_state = place.clone();
            if constants.permanent_after.is_none() {
                expected_state.violation_events = Some(Vec::new());
            }
            if expected == EscalationVerdict::Permanent {
                // Events of a key that is blocked for ever are of no more use: the store does not age them.
                expected_state.violation_events = document(alone.state(hash).unwrap()).violation_events;
            }
            assert_eq!(document(alone.state(hash).unwrap()), expected_state, "seed {seed}, step {at}");
            met[match expected {
                EscalationVerdict::Pass => 0,
                EscalationVerdict::Over { .. } => 1,
                EscalationVerdict::Blocked { .. } => 2,
                EscalationVerdict::Permanent => 3,
            }] += 1;
        }
    }
    assert!(met.iter().all(|count| *count > 1000), "every verdict is met: {met:?}");
}

#[test]
fn ours_6_permanent_blocks_are_not_evicted_by_ordinary_keys() {
    let mut store = Escalations::new(10);
    let constants = EscalationConstants { requests_max: 1, permanent_after: Some(2), ..REFERENCE };
    let ask = |store: &mut Escalations, key: u64| store.step(key, NOW, &constants).verdict;
    (0..3).for_each(|_| {
        ask(&mut store, 1);
    });
    assert_eq!(ask(&mut store, 1), EscalationVerdict::Permanent);
    for key in 1000..5000 {
        assert_eq!(ask(&mut store, key), EscalationVerdict::Pass);
    }
    assert_eq!(ask(&mut store, 1), EscalationVerdict::Permanent);
    assert_eq!((store.len(), store.permanent_len()), (10, 1));
    assert_eq!((store.dropped(), store.permanent_dropped()), (3990, 0));
    // Blocks for ever have their own bound: the least recently asked for is dropped, and counted.
    for key in 2..12 {
        ask(&mut store, 1);
        (0..3).for_each(|_| {
            ask(&mut store, key);
        });
    }
    assert_eq!((store.permanent_len(), store.permanent_dropped()), (10, 1));
    assert_eq!(ask(&mut store, 1), EscalationVerdict::Permanent);
    assert_eq!(ask(&mut store, 2), EscalationVerdict::Pass);
}

#[test]
fn ours_6_times_of_violations_of_all_keys_together_are_bounded() {
    let constants = EscalationConstants {
        requests_max: 0,
        window_ms: 1000,
        block_after: u32::MAX,
        block_ms: 1000,
        permanent_after: Some(100),
        permanent_window_ms: 1_000_000,
    };
    let mut keys = Escalations::new(100);
    let offend = |keys: &mut Escalations, key: u64, times: u64| {
        (0..times).map(|now| keys.step(key, 1000 + now, &constants).verdict).last()
    };
    for key in 0..100 {
        offend(&mut keys, key, 50);
        let kept = (0..100).filter_map(|key| keys.state(key)).map(EscalationState::room).sum::<usize>();
        assert!(kept == keys.times && kept <= 100 * TIMES_PER_KEY, "{kept} of {}", keys.times);
    }
    assert_eq!(keys.len() as u64 + keys.dropped(), 100);
    assert!(keys.len() >= 8 && keys.state(99).is_some() && keys.state(0).is_none(), "the oldest ones go");
    // A key that is blocked for ever has no times, and room for others is left when keys are lifted.
    assert_eq!(offend(&mut keys, 99, 50), Some(EscalationVerdict::Permanent));
    assert_eq!(keys.state(99).map(EscalationState::room), Some(0));
    let lifted = (0..100).filter(|key| keys.lift(*key)).count();
    assert!(lifted >= 8, "{lifted}");
    assert_eq!((keys.times, keys.is_empty()), (0, true));
    // A single key always counts exactly.
    let mut keys = Escalations::new(1);
    assert_eq!(offend(&mut keys, 1, 99), Some(EscalationVerdict::Over { retry_after_ms: 902 }));
    assert_eq!(offend(&mut keys, 1, 1), Some(EscalationVerdict::Permanent));
}

#[test]
fn ours_6_a_permanent_block_can_be_lifted() {
    let store = SharedEscalations::new(100);
    let constants = EscalationConstants { requests_max: 1, permanent_after: Some(1), ..REFERENCE };
    store.step(7, NOW, &constants);
    assert_eq!(store.step(7, NOW, &constants).verdict, EscalationVerdict::Permanent);
    assert!(store.state(7).unwrap().is_permanent() && store.permanent_len() == 1);
    assert!(store.lift(7) && !store.lift(7));
    assert!(store.is_empty());
    assert_eq!(store.step(7, NOW, &constants).verdict, EscalationVerdict::Pass);
}

#[test]
fn fault_13_7_two_stores_share_nothing() {
    let (one, other) = (SharedEscalations::new(10), SharedEscalations::new(10));
    let constants = EscalationConstants { requests_max: 1, ..REFERENCE };
    one.step(7, NOW, &constants);
    assert_eq!(one.step(7, NOW, &constants).verdict, over(MINUTE));
    assert_eq!(other.step(7, NOW, &constants).verdict, EscalationVerdict::Pass);
}

#[test]
fn keys_are_found_by_the_client_that_has_violated_them() {
    let constants = EscalationConstants { permanent_after: Some(3), ..REFERENCE };
    let shared = SharedEscalations::new(1000);
    let owner =
        |client: &str, of: &str| Owner { identity: 1, client: client.parse().unwrap(), of: of.into() };
    for (key, client, requests) in [
        (1 << 40, "192.0.2.1/32", 60),
        (2 << 40, "192.0.2.0/24", 51),
        (3 << 40, "198.51.100.1/32", 51),
        (4 << 40, "192.0.2.1/32", 1),
    ] {
        for _ in 0..requests {
            shared.step(key, 1000, &constants);
        }
        shared.note_owner(key, || owner(client, "a"));
        shared.note_owner(key, || owner("10.0.0.0/8", "the first counts"));
    }
    let client = "192.0.2.1".parse().unwrap();
    let mut found: Vec<u64> = shared.owned(client, 10).iter().map(|(key, _)| key >> 40).collect();
    found.sort_unstable();
    // The fourth has violated nothing.
    assert_eq!(found, [1, 2]);
    assert_eq!(shared.owned(client, 1).len(), 1);
    assert!(shared.state(1 << 40).unwrap().is_permanent(), "and those that are blocked for ever are found");
    assert!(shared.lift(1 << 40) && shared.owned(client, 10).len() == 1);
}
