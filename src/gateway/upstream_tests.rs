use super::*;

fn upstream() -> Upstream {
    Upstream::new(Authority::parse(b"127.0.0.1:9000", None).unwrap())
}

const ON: FailOn = FailOn { connect: true, reset: true, timeout: true, statuses: [false, true, false] };
const RULES: PassiveRules = PassiveRules { failures: 3, within_ms: 10_000, down_ms: 5_000, on: ON };

#[test]
fn so_many_failures_in_a_time_mark_it_down() {
    let upstream = upstream();
    let fails = |now_ms| upstream.note_failure(Failed::Connect, &RULES, now_ms);
    assert_eq!([1, 2].map(fails), [false, false]);
    // The first two are too old by now.
    assert_eq!([10_001, 10_002].map(fails), [false, false]);
    assert_eq!(upstream.standing(10_002, 0), Standing::Up(WHOLE_SHARE));
    assert!(fails(10_003));
    assert_eq!(upstream.standing(10_003, 0), Standing::Down(15_003));
    // What was under way counts no more.
    assert!(!fails(10_004));
    assert_eq!(upstream.standing(15_003, 0), Standing::Up(WHOLE_SHARE));
    // On trial: one is enough, and a success ends the trial.
    assert!(fails(15_004));
    assert_eq!(upstream.standing(15_004, 0), Standing::Down(20_004));
    upstream.note_success();
    assert!(!fails(20_005) && !fails(20_006) && fails(20_007));
    assert_eq!(upstream.numbers().marked_down, 3);
    assert_eq!(upstream.numbers().failures, 10);
}

/// The time in which failures count slides.
#[test]
fn the_latest_failures_count() {
    let upstream = upstream();
    let fails = |now_ms| upstream.note_failure(Failed::Connect, &RULES, now_ms);
    assert_eq!([1, 8_000, 11_000, 12_600].map(fails), [false, false, false, true]);
}

#[test]
fn a_success_between_failures_changes_nothing() {
    let upstream = upstream();
    for now_ms in 1..=2 {
        assert!(!upstream.note_failure(Failed::Reset, &RULES, now_ms));
        upstream.note_success();
    }
    assert!(upstream.note_failure(Failed::Timeout, &RULES, 3));
}

#[test]
fn only_what_is_named_counts() {
    let connect_only = FailOn { connect: true, reset: false, timeout: false, statuses: [false; 3] };
    for (on, failed, counts) in [
        (ON, Failed::Connect, true),
        (ON, Failed::Status(502), false),
        (ON, Failed::Status(503), true),
        (ON, Failed::Status(504), false),
        (ON, Failed::Status(500), false),
        (connect_only, Failed::Reset, false),
        (connect_only, Failed::Timeout, false),
    ] {
        assert_eq!(on.counts(failed), counts, "{failed:?}");
        let rules = PassiveRules { failures: 1, on, ..RULES };
        assert_eq!(upstream().note_failure(failed, &rules, 1), counts, "{failed:?}");
    }
    assert!(!upstream().note_failure(Failed::Connect, &PassiveRules { failures: 0, ..RULES }, 1));
}

#[test]
fn checks_in_a_row_decide() {
    let upstream = upstream();
    let check = |well, now_ms| upstream.note_check(well, 2, 3, now_ms);
    assert_eq!([false, false, true, false, false].map(|well| check(well, 1)), [None; 5]);
    assert_eq!(check(false, 1), Some(Change::Down));
    assert_eq!(upstream.standing(1, 0), Standing::Unhealthy);
    assert_eq!([true, false, true].map(|well| check(well, 2)), [None; 3]);
    assert_eq!(check(true, 3), Some(Change::Up));
    assert_eq!(upstream.standing(3, 0), Standing::Up(WHOLE_SHARE));
    assert_eq!(upstream.numbers().checks_failed, 6);
}

#[test]
fn checks_end_a_mark_of_requests() {
    let upstream = upstream();
    let rules = PassiveRules { failures: 1, down_ms: 1_000_000, ..RULES };
    assert!(upstream.note_failure(Failed::Connect, &rules, 10));
    assert_eq!(upstream.note_check(true, 2, 2, 20), None);
    assert_eq!(upstream.note_check(true, 2, 2, 30), Some(Change::Up));
    assert_eq!(upstream.standing(30, 0), Standing::Up(WHOLE_SHARE));
    // One that the requests have found out first is unhealthy, too, when enough checks have failed.
    assert!(upstream.note_failure(Failed::Connect, &rules, 40));
    assert_eq!([false, false].map(|well| upstream.note_check(well, 2, 2, 50)), [None, Some(Change::Down)]);
    assert_eq!(upstream.standing(2_000_000, 0), Standing::Unhealthy);
    upstream.forget_checks();
    assert!(matches!(upstream.standing(2_000_000, 0), Standing::Up(_)));
}

#[test]
fn failures_of_requests_do_not_hide_those_of_checks() {
    let upstream = upstream();
    let rules = PassiveRules { failures: 1, down_ms: 10, ..RULES };
    let fails = |now_ms| {
        assert_eq!(upstream.note_check(false, 2, 3, now_ms), None);
        assert!(upstream.note_failure(Failed::Connect, &rules, now_ms), "{now_ms}");
    };
    [0, 20].into_iter().for_each(fails);
    assert_eq!(upstream.note_check(false, 2, 3, 40), Some(Change::Down));
    assert_eq!(upstream.standing(40, 0), Standing::Unhealthy);
}

#[test]
fn shares_rise_after_a_return() {
    let upstream = upstream();
    assert_eq!(upstream.standing(5, 1_000), Standing::Up(WHOLE_SHARE), "at the start");
    assert!(upstream.note_failure(Failed::Connect, &PassiveRules { failures: 1, ..RULES }, 0));
    let share = |now_ms| upstream.standing(now_ms, 1_000);
    assert_eq!(share(5_000), Standing::Up(64));
    assert_eq!(share(5_500), Standing::Up(160));
    assert_eq!(share(6_000), Standing::Up(WHOLE_SHARE));
    assert!(upstream.set_drained(true, 7_000) && !upstream.set_drained(true, 7_000));
    assert_eq!(share(7_000), Standing::Drained);
    assert!(upstream.set_drained(false, 8_000));
    assert_eq!(share(8_000), Standing::Up(64));
}

#[test]
fn turns_follow_the_share() {
    let upstream = upstream();
    let taken = |share| (0..256).filter(|_| upstream.takes_turn(share)).count();
    assert_eq!([64, 128, 200, WHOLE_SHARE].map(taken), [64, 128, 200, 256]);
    let spread: Vec<bool> = (0..8).map(|_| upstream.takes_turn(64)).collect();
    assert_eq!(spread.iter().filter(|taken| **taken).count(), 2);
}

#[test]
fn requests_under_way_are_counted() {
    let upstream = upstream();
    upstream.begin();
    upstream.begin();
    upstream.end();
    assert_eq!((upstream.in_flight(), upstream.numbers().requests), (1, 2));
}
