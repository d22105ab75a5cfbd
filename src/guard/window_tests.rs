use super::*;
use crate::guard::model;

const MINUTE: u64 = 60_000;

fn answer(within: bool, left: u32, retry_after_ms: u64) -> Answer {
    Answer::Window { within, left, retry_after_ms }
}

fn passes(answer: Answer) -> bool {
    matches!(answer, Answer::Window { within: true, .. })
}

#[test]
fn guard_5_refused_hits_are_recorded_too() {
    let mut windows = Windows::new(10);
    // Twice the limit for three windows: nothing passes after the first three.
    let passed: Vec<u64> =
        (0..3 * MINUTE).step_by(10_000).filter(|&now| passes(windows.record(1, 3, MINUTE, now))).collect();
    assert_eq!(passed, [0, 10_000, 20_000]);
    // One window after the pause began, it passes again.
    assert_eq!(windows.peek(1, 3, MINUTE, 170_000 + MINUTE), answer(true, 3, 0));
}

#[test]
fn ours_5_retry_after_is_when_the_limit_th_newest_hit_leaves() {
    let mut windows = Windows::new(10);
    let steps = [
        // Time, answer.
        (1_000, answer(true, 2, 0)),
        (1_000, answer(true, 1, 0)),
        (2_000, answer(true, 0, 59_000)),
        (3_000, answer(false, 0, 58_000)),
        (60_999, answer(false, 0, 1_001)),
        // The hits at 2,000 and 3,000 have left, exactly now.
        (63_000, answer(true, 1, 0)),
        (63_000, answer(true, 0, 57_999)),
        (63_001, answer(false, 0, 59_999)),
        (63_001 + MINUTE - 1, answer(true, 1, 0)),
    ];
    for (now, expected) in steps {
        assert_eq!(windows.record(7, 3, MINUTE, now), expected, "at {now}");
    }
    // Two hits of the same millisecond are two.
    assert_eq!(windows.record(8, 1, MINUTE, 5), answer(true, 0, MINUTE));
    assert_eq!(windows.record(8, 1, MINUTE, 5), answer(false, 0, MINUTE));
}

#[test]
fn ours_5_a_key_keeps_no_more_times_than_the_limit() {
    let mut windows = Windows::new(10);
    for now in 0..10_000 {
        windows.record(1, 100, MINUTE, now);
    }
    assert_eq!(windows.times, 100);
    // A lower limit after a reload: the newest times decide.
    assert_eq!(windows.peek(1, 20, MINUTE, 10_000), answer(false, 0, 9_980 + MINUTE - 10_000));
    assert_eq!(windows.record(1, 20, MINUTE, 10_000), answer(false, 0, 9_981 + MINUTE - 10_000));
    let track = windows.tracks.peek(1).unwrap();
    assert_eq!(track.hits.ring().len, 20);
    // The ring goes back when its window is over.
    windows.record(1, 100, MINUTE, 10_000 + MINUTE);
    assert_eq!(windows.times, 0);
}

#[test]
fn guard_5_windows_agree_with_a_list_of_all_hits() {
    for (seed, limit) in (0..40).zip([1, 2, 4, 5, 6, 7, 11, 30].iter().cycle()) {
        let window = 50 + 7 * seed;
        let mut steps = model::Steps::new(seed, 3, &[window, window / limit]);
        let mut windows = Windows::new(3);
        let mut hits = vec![model::Hits::default(); 3];
        // Across the end of the 32 bits of times.
        let mut now = u64::from(u32::MAX) - 2000;
        for step in 0..1500 {
            let Some((key, gap)) = steps.next() else { break };
            now += gap;
            let (within, left, wait) = hits[key as usize].record(*limit as usize, window as i64, now as i64);
            let expected = answer(within, left as u32, wait as u64);
            let found = windows.record(key << 40, *limit as u32, window, now);
            assert_eq!(found, expected, "seed {seed}, step {step}, key {key}, limit {limit}, at {now}");
            let passes_now = wait == 0;
            let peeked = windows.peek(key << 40, *limit as u32, window, now);
            assert_eq!(peeked, answer(passes_now, left as u32, wait as u64), "seed {seed}, step {step}");
        }
    }
}

#[test]
fn ours_5_keys_are_bounded_and_what_is_dropped_is_counted() {
    let mut windows = Windows::new(100);
    for key in 0..1000u64 {
        windows.record(key, 10, MINUTE, key);
        windows.record(0, 10, MINUTE, key);
    }
    assert_eq!((windows.len(), windows.dropped()), (100, 900));
    // The one that was used all the time is still there.
    assert_eq!(windows.peek(0, 10, MINUTE, 1000), answer(false, 0, 990 + MINUTE - 1000));
    assert_eq!(windows.peek(1, 10, MINUTE, 1000), answer(true, 10, 0));
}

#[test]
fn ours_5_times_of_all_keys_together_are_bounded() {
    let mut windows = Windows::new(10);
    for key in 0..10u64 {
        for now in 0..200 {
            windows.record(key, 200, MINUTE, now);
        }
    }
    assert_eq!((windows.times, windows.len(), windows.dropped()), (600, 3, 7));
    // A single key always counts exactly, whatever it needs.
    let mut windows = Windows::new(1);
    for now in 0..2000 {
        windows.record(1, 1000, MINUTE, now);
    }
    assert_eq!(windows.peek(1, 1000, MINUTE, 2000), answer(false, 0, 1000 + MINUTE - 2000));
    assert!(windows.forget(1) && !windows.forget(1));
    assert_eq!((windows.times, windows.len()), (0, 0));
}

#[test]
fn guard_5_limits_and_windows_at_the_edges() {
    let mut windows = Windows::new(10);
    // (limit, window, answers to two hits at once)
    let cases = [
        (0, MINUTE, answer(false, 0, MINUTE), answer(false, 0, MINUTE)),
        (1, 0, answer(true, 0, 1), answer(false, 0, 1)),
        (1, u64::MAX, answer(true, 0, WINDOW_MS_MAX), answer(false, 0, WINDOW_MS_MAX)),
        (LIMIT_EXACT_MAX, 1, answer(true, LIMIT_EXACT_MAX - 1, 0), answer(true, LIMIT_EXACT_MAX - 2, 0)),
        (u32::MAX, WINDOW_MS_MAX, answer(true, u32::MAX - 1, 0), answer(true, u32::MAX - 2, 0)),
    ];
    for (key, (limit, window, first, second)) in (0..).zip(cases) {
        assert_eq!(windows.record(key, limit, window, u64::MAX), first, "{limit} {window}");
        assert_eq!(windows.record(key, limit, window, u64::MAX), second, "{limit} {window}");
        windows.record_approximate(key, limit, window, u64::MAX);
        windows.peek(key, limit, window, 0);
    }
    // The highest exact limit, and one more hit than that.
    for now in 0..u64::from(LIMIT_EXACT_MAX) {
        windows.record(99, LIMIT_EXACT_MAX, WINDOW_MS_MAX, now);
    }
    assert!(!passes(windows.peek(99, LIMIT_EXACT_MAX, WINDOW_MS_MAX, 70_000)));
}

#[test]
fn guard_5_a_clock_that_lags_behind_counts_as_the_newest_hit() {
    let mut windows = Windows::new(10);
    windows.record(1, 2, MINUTE, 1000);
    assert_eq!(windows.record(1, 2, MINUTE, 900), answer(true, 0, MINUTE));
    assert_eq!(windows.record(1, 2, MINUTE, 1000 + MINUTE), answer(true, 1, 0));
}

#[test]
fn ours_5_two_counters_err_by_at_most_one_windows_share() {
    for seed in 0..30 {
        let (limit, window) = (5 + seed, 1000);
        let mut steps = model::Steps::new(seed, 1, &[window, window / limit, 20]);
        let (mut windows, mut now, mut passed) = (Windows::new(1), 0, Vec::new());
        for _ in 0..3000 {
            let Some((key, gap)) = steps.next() else { break };
            now += gap;
            let peeked = windows.peek(key, limit as u32, window, now);
            let answered = windows.record_approximate(key, limit as u32, window, now);
            let Answer::Window { within, retry_after_ms, .. } = answered else { panic!() };
            if passed.is_empty() {
                assert!(within, "the first hit passes");
            } else {
                assert_eq!(passes(peeked), within, "seed {seed} at {now}");
            }
            if within {
                passed.push(now);
            }
            // Retry-After is true: it passes then, and not before.
            let at = |wait: u64| passes(windows.peek(key, limit as u32, window, now + wait));
            assert!(at(retry_after_ms), "seed {seed} at {now}");
            assert!(retry_after_ms == 0 || !at(retry_after_ms - 1), "seed {seed} at {now}");
            assert!(retry_after_ms <= 2 * window);
        }
        for (at, &time) in passed.iter().enumerate() {
            let in_window = passed[..=at].iter().filter(|other| **other + window > time).count() as u64;
            assert!(in_window <= 2 * limit, "seed {seed}: {in_window} of {limit} at {time}");
        }
    }
}

#[test]
fn ours_5_two_counters_are_exact_for_an_even_rate() {
    // Just the limit passes for ever; a tenth more is refused from the second window on, but not all of it.
    let mut windows = Windows::new(2);
    let count = |windows: &mut Windows, key: u64, gap: u64| {
        let hits = (0..20_000).step_by(gap as usize);
        let within = |now: &u64| passes(windows.record_approximate(key, 100, 1000, *now));
        hits.filter(within).count()
    };
    assert_eq!(count(&mut windows, 1, 10), 2000);
    let passed = count(&mut windows, 2, 5);
    assert!((100..=300).contains(&passed), "{passed}");
}

#[test]
fn ours_5_all_loops_of_a_process_count_together() {
    let windows = SharedWindows::new(1000);
    let passed = std::thread::scope(|scope| {
        let count = || {
            let within = |_: &u64| passes(windows.record(42 << 40, 500, MINUTE, 1));
            (0..1000u64).filter(within).count()
        };
        let loops: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
        loops.into_iter().map(|one| one.join().unwrap()).sum::<usize>()
    });
    assert_eq!(passed, 500, "exactly the limit");
    assert_eq!((windows.len(), windows.dropped()), (1, 0));
    assert!(windows.forget(42 << 40) && windows.is_empty());
}

#[test]
fn fault_13_7_two_owners_share_nothing() {
    let (one, other) = (SharedWindows::new(10), SharedWindows::new(10));
    assert_eq!(one.record(1, 1, MINUTE, 0), answer(true, 0, MINUTE));
    assert_eq!(one.record(1, 1, MINUTE, 0), answer(false, 0, MINUTE));
    assert_eq!(other.record(1, 1, MINUTE, 0), answer(true, 0, MINUTE));
}
