//! Sliding windows, escalation, bans: what the daemon answers, and what its log says.

use super::{Guarded, ask};
use crate::common::{Origin, Raw, Scratch, Weir, run};

/// Seconds in Retry-After; the field must be there.
#[track_caller]
fn retry_after(head: &str) -> u64 {
    let line = head.lines().find_map(|line| line.strip_prefix("Retry-After: "));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no Retry-After in {head}"))
}

#[test]
fn guard_5_requests_beyond_a_limit_are_429_with_a_true_retry_after() {
    let guarded = Guarded::start("limit 3/10m per client");
    for _ in 0..3 {
        assert_eq!(guarded.get("192.0.2.1", "/").0, 200);
    }
    let (status, head) = guarded.get("192.0.2.1", "/");
    assert_eq!(status, 429, "{head}");
    assert!((590..=600).contains(&retry_after(&head)), "{head}");
    assert_eq!(guarded.get("192.0.2.2", "/").0, 200, "another client has a window of its own");
    let line = guarded.weir.wait_for_log(|line| line.contains(" 429 "));
    assert!(line.contains("rate_limit:guard:2") && line.contains("192.0.2.1"), "{line}");
}

#[test]
fn guard_5_limits_are_kept_for_hosts_paths_and_methods() {
    let guarded = Guarded::start("limit 1/10m per client path /api/ methods POST,PUT");
    for (method, path, status) in [
        ("GET", "/api/x", 200),
        ("GET", "/api/x", 200),
        ("POST", "/other", 200),
        ("POST", "/other", 200),
        ("POST", "/api/x", 200),
        ("PUT", "/%61pi/y", 429),
        ("POST", "/x/../api/z?q", 429),
        ("DELETE", "/api/x", 200),
    ] {
        assert_eq!(guarded.ask("192.0.2.1", method, path, "").0, status, "{method} {path}");
    }
}

/// Servers in Java read `/api;x` as `/api`, others do not: a line that restricts covers both readings, and counts once.
#[test]
fn guard_1_paths_with_parameters_bypass_no_limit() {
    let guarded = Guarded::start(
        "limit 3/10m per client path /api/\nescalate 3/10m block 15m after 3 per client path /slow/\n\
         limit 2/10m per client+path path /each/",
    );
    for (path, status) in [
        ("/api;x/y", 200),
        ("/x/..;/api/y", 200),
        ("/api%3bx/y", 200),
        ("/api/..;/y", 429),
        ("/api/y", 429),
        ("/apis;x/y", 200),
        ("/slow;x/y", 200),
        ("/;/slow/y", 200),
        ("/slow/;y", 200),
        ("/slow;/y", 429),
        ("/each/y;1", 200),
        ("/each;2/y", 200),
        ("/each/y;3?q", 429),
        ("/each/z;3", 200),
    ] {
        assert_eq!(guarded.get("192.0.2.1", path).0, status, "{path}");
    }
}

#[test]
fn guard_5_ipv6_clients_are_counted_by_their_network() {
    let guarded = Guarded::start("limit 2/10m per client");
    assert_eq!(guarded.get("2001:db8::1", "/").0, 200);
    assert_eq!(guarded.get("2001:db8::2", "/").0, 200);
    assert_eq!(guarded.get("2001:db8::3", "/").0, 429, "one household");
    assert_eq!(guarded.get("2001:db8:0:1::1", "/").0, 200, "its neighbour");
}

#[test]
fn guard_6_a_fixed_window_escalates() {
    let guarded = Guarded::start("escalate 3/10m block 15m after 3 forever after 10 in 24h");
    let answers: Vec<(u16, String)> = (0..7).map(|_| guarded.get("192.0.2.9", "/")).collect();
    let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429, 429, 429]);
    // The third violation is answered as blocked at once.
    assert!((598..=600).contains(&retry_after(&answers[4].1)), "{}", answers[4].1);
    assert!((899..=900).contains(&retry_after(&answers[5].1)), "{}", answers[5].1);
    let line = guarded.weir.wait_for_log(|line| line.contains("blocked:guard:2"));
    assert!(line.contains("192.0.2.9"), "{line}");
}

#[test]
fn ours_6_only_listed_methods_are_counted() {
    let guarded = Guarded::start("escalate 1/10m block 15m after 3 methods POST");
    for (method, status) in
        [("GET", 200), ("GET", 200), ("POST", 200), ("GET", 200), ("POST", 429), ("GET", 200)]
    {
        assert_eq!(guarded.ask("192.0.2.9", method, "/", "").0, status, "{method}");
    }
}

/// Each limit has counters of its own, and its event has its own numbers.
#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn fault_13_6_limits_count_apart_and_events_name_their_own() {
    let scratch = Scratch::new();
    let control = scratch.join("control");
    let lines =
        "limit 1/10m per client path /a\nlimit 3/20m per client path /a\nlimit 2/30m per client path /b";
    let guarded = Guarded::with_options(lines, &["--control", &control]);
    for (path, status) in [("/b", 200), ("/b", 200), ("/a", 200), ("/b", 429), ("/a", 429)] {
        assert_eq!(guarded.get("192.0.2.1", path).0, status, "{path}");
    }
    let told = run(&["ctl", "--control", &control, "--json", "events"]).out;
    let events: Vec<&str> = told.lines().filter(|line| line.contains("\"rate_limited\"")).collect();
    let expected = [
        ("/b", "\"rate_limit\":\"2\",\"window\":\"1800\""),
        ("/a", "\"rate_limit\":\"1\",\"window\":\"600\""),
    ];
    assert_eq!(events.len(), expected.len(), "{told}");
    for (event, (path, numbers)) in events.iter().zip(expected) {
        assert!(event.contains(&guarded.origin.url(path)) && event.contains(numbers), "{event}");
    }
}

/// Without its store a request that passes, or that is refused for that reason, has exceeded no limit.
#[test]
#[cfg_attr(not(feature = "redis"), ignore = "needs the feature redis")]
fn ours_3_without_the_store_only_the_own_state_has_consequences() {
    for (policy, statuses) in [("open", [200; 5]), ("closed", [503; 5]), ("local", [200, 429, 429, 403, 403])]
    {
        let store = format!("store redis://127.0.0.1:1 on-failure {policy} deadline 5s");
        let guarded =
            Guarded::start(&format!("limit 1/10m per client\nban-after limit 2 in 10m for 1h\n{store}"));
        let found: Vec<u16> = (0..5).map(|_| guarded.get("192.0.2.1", "/").0).collect();
        assert_eq!(found, statuses, "{policy}");
    }
}

/// The one answer to a check that could not be made.
#[test]
fn ours_1_a_store_that_fails_is_503_with_a_retry_after_of_one_second() {
    if !cfg!(feature = "redis") {
        return;
    }
    let guarded = Guarded::start("limit 9/10m per client\nstore redis://127.0.0.1:1 on-failure closed");
    let (status, head) = guarded.get("192.0.2.1", "/");
    assert_eq!((status, retry_after(&head)), (503, 1), "{head}");
}

/// A line that observes refuses nothing, so its store decides nothing.
#[test]
fn ours_9_what_observes_passes_when_a_closed_store_fails() {
    if !cfg!(feature = "redis") {
        return;
    }
    for (lines, expected) in [
        ("limit 9/10m per client observe", 200),
        ("limit 9/10m per client observe\nescalate 9/1m block 15m after 3 observe", 200),
        ("limit 9/10m per client observe\nlimit 8/10m per client path /x", 200),
        ("limit 9/10m per client observe\nlimit 8/10m per client path /", 503),
    ] {
        let guarded = Guarded::start(&format!("{lines}\nstore redis://127.0.0.1:1 on-failure closed"));
        // Asked, and then with an open breaker.
        let statuses = [(); 6].map(|()| guarded.get("192.0.2.1", "/").0);
        assert_eq!(statuses, [expected; 6], "{lines}");
    }
}

/// Several lines: a client that waits as long as it was told passes all of them.
#[test]
fn ours_5_retry_after_is_that_of_the_line_that_refuses_longest() {
    for (lines, requests, expected) in [
        ("limit 2/1s per client\nlimit 4/10m per client", 5, 599..=600),
        ("limit 4/10m per client\nlimit 2/1s per client", 5, 599..=600),
        // The first line has refused nothing yet, and would refuse the next request.
        ("limit 3/10m per client\nlimit 2/10s per client path /", 3, 599..=600),
        ("limit 1/1s per client\nescalate 1/10m block 1h after 9", 2, 540..=600),
        ("limit 1/1s per client\nescalate 1/10m block 1h after 1", 2, 3599..=3600),
        ("limit 2/1s per client\nlimit 4/10m per client observe", 5, 1..=1),
    ] {
        let guarded = Guarded::start(lines);
        let answers: Vec<_> = (0..requests).map(|_| guarded.get("192.0.2.1", "/")).collect();
        let (status, head) = answers.last().expect("an answer");
        assert_eq!(*status, 429, "{lines}");
        assert!(expected.contains(&retry_after(head)), "{lines}: {head}");
    }
    let guarded =
        Guarded::start("limit 1/1s per client\nescalate 1/10m block 1h after 1 forever after 1 in 1h");
    let statuses = [(); 3].map(|()| guarded.get("192.0.2.1", "/").0);
    assert_eq!(statuses, [200, 403, 403], "for ever");
}

/// The fields and Retry-After tell the same.
#[test]
fn rate_limit_fields_are_those_of_the_limit_that_refuses_longest() {
    let guarded = Guarded::start("rate-limit-fields\nlimit 2/10s per client path /\nlimit 2/10m per client");
    let heads = [(); 3].map(|()| guarded.get("192.0.2.1", "/").1);
    assert!(heads[2].contains("RateLimit-Policy: \"default\";q=2;w=600\r\n"), "{}", heads[2]);
}

#[test]
fn guard_4_bans_of_the_file_are_403_and_named() {
    let guarded = Guarded::start("ban 203.0.113.0/24 for 7d reason \"abuse report\"\nban 2001:db8:bad::/48");
    for client in ["203.0.113.9", "203.0.113.255", "2001:db8:bad::1", "::ffff:203.0.113.1"] {
        let (status, head) = guarded.get(client, "/");
        assert_eq!(status, 403, "{client}: {head}");
    }
    assert_eq!(guarded.get("203.0.114.1", "/").0, 200);
    guarded.weir.wait_for_log(|line| line.contains("banned:guard:2"));
    guarded.weir.wait_for_log(|line| line.contains("banned:guard:3"));
}

#[test]
fn a_ban_follows_violations() {
    let guarded = Guarded::start("limit 1/10m per client\nban-after limit 3 in 10m for 1h");
    let statuses: Vec<u16> = (0..6).map(|_| guarded.get("192.0.2.7", "/").0).collect();
    assert_eq!(statuses, [200, 429, 429, 429, 403, 403]);
    assert_eq!(guarded.get("192.0.2.8", "/").0, 200);
}

/// A trusted proxy is never banned, but its neighbours are.
#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn a_ban_follows_violations_beside_a_trusted_proxy() {
    let scratch = Scratch::new();
    let control = scratch.join("control");
    let lines = "trust 2001:db8::1,192.0.2.1\nlimit 1/10m per client/24,64\nban-after limit 1 in 10m for 1h";
    let guarded = Guarded::with_options(lines, &["--control", &control]);
    for (client, neighbour) in [("2001:db8::7", "2001:db8::8"), ("192.0.2.7", "192.0.2.8")] {
        let statuses: Vec<u16> = (0..3).map(|_| guarded.get(client, "/").0).collect();
        assert_eq!(statuses, [200, 429, 403], "{client}");
        assert_eq!(guarded.get(neighbour, "/").0, 429, "{neighbour}");
    }
    // The peer is this machine, which cannot be banned.
    let statuses: Vec<u16> = (0..3).map(|_| guarded.get("127.0.0.1", "/").0).collect();
    assert_eq!(statuses, [200, 429, 429]);
    let told = run(&["ctl", "--control", &control, "--json", "events"]).out;
    let banned: Vec<&str> = told.lines().filter(|line| line.contains("\"ip_banned\"")).collect();
    let only_logged = |line: &&&str| line.contains("logged_only");
    assert_eq!(banned.iter().filter(only_logged).count(), 2, "{told}");
    assert_eq!(banned.len(), 6, "{told}");
}

#[test]
fn exempt_clients_are_not_limited_but_banned_ones_stay_banned() {
    let guarded =
        Guarded::start("exempt 192.0.2.0/24\nlimit 1/10m per client\nban 192.0.2.66 reason \"known\"");
    for _ in 0..3 {
        assert_eq!(guarded.get("192.0.2.1", "/").0, 200);
    }
    assert_eq!(guarded.get("192.0.2.66", "/").0, 403);
}

#[test]
fn what_observes_refuses_nothing() {
    for lines in ["limit 1/10m per client observe", "passive\nlimit 1/10m per client\nban 192.0.2.1"] {
        let guarded = Guarded::start(lines);
        for _ in 0..3 {
            assert_eq!(guarded.get("192.0.2.1", "/").0, 200, "{lines}");
        }
    }
}

#[test]
fn rate_limit_fields_tell_what_is_left() {
    let guarded = Guarded::start("rate-limit-fields\nlimit 3/10m per client");
    for (left, status) in [(2, 200), (1, 200), (0, 200), (0, 429)] {
        let (answered, head) = guarded.get("192.0.2.1", "/");
        assert_eq!(answered, status);
        assert!(head.contains("RateLimit-Policy: \"default\";q=3;w=600\r\n"), "{head}");
        assert!(head.contains(&format!("RateLimit: \"default\";r={left};t=")), "{head}");
    }
}

/// A client would slow down for a limit that refuses nothing.
#[test]
fn rate_limit_fields_do_not_tell_of_what_only_observes() {
    for lines in ["limit 1/10m per client observe", "passive\nlimit 1/10m per client"] {
        let guarded = Guarded::start(&format!("rate-limit-fields\n{lines}"));
        for _ in 0..2 {
            let (status, head) = guarded.get("192.0.2.1", "/");
            assert!(status == 200 && !head.contains("RateLimit"), "{lines}: {head}");
        }
    }
    let guarded =
        Guarded::start("rate-limit-fields\nlimit 1/10m per client observe\nlimit 9/10m per client path /");
    let (_, head) = guarded.get("192.0.2.1", "/");
    assert!(head.contains("RateLimit: \"default\";r=8;t="), "{head}");
}

#[test]
fn a_reload_keeps_what_was_counted() {
    let scratch = Scratch::new();
    let file = scratch.file("guard.conf", "trust 127.0.0.0/8\nlimit 2/10m per client\n");
    let weir = Weir::start(&["--guard", &file]);
    let origin = Origin::ok();
    let get = |client: &str| ask(&mut weir.connect(), &origin, client, "GET", "/", "").0;
    assert_eq!((get("192.0.2.1"), get("192.0.2.1")), (200, 200));
    // The order of the lines is another one, and a ban is new.
    scratch.file("guard.conf", "ban 192.0.2.2\nlimit 2/10m per client\ntrust 127.0.0.0/8\n");
    weir.signal(rustix::process::Signal::HUP);
    weir.wait_for_error(|line| line.contains("reloaded"));
    assert_eq!((get("192.0.2.1"), get("192.0.2.2"), get("192.0.2.3")), (429, 403, 200));
    // What is wrong is told with its line, all of it, and changes nothing.
    scratch.file("guard.conf", "limit many/10m per client\nbann 192.0.2.3\n");
    weir.signal(rustix::process::Signal::HUP);
    weir.wait_for_error(|line| line.contains("guard.conf:1"));
    weir.wait_for_error(|line| line.contains("guard.conf:2"));
    assert_eq!((get("192.0.2.1"), get("192.0.2.2")), (429, 403));
}

#[test]
fn all_loops_count_together() {
    let guarded = Guarded::with_options("limit 40/10m per client", &["--workers", "3"]);
    let passed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| (0..10).filter(|_| guarded.get("192.0.2.1", "/").0 == 200).count()))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a client")).sum()
    });
    assert_eq!(passed, 40);
}

#[test]
fn a_kept_connection_is_judged_request_by_request() {
    let guarded = Guarded::start("limit 1/10m per client");
    let mut raw: Raw = guarded.weir.connect();
    for (client, status) in [("192.0.2.1", 200), ("192.0.2.1", 429), ("192.0.2.2", 200), ("192.0.2.1", 429)] {
        assert_eq!(ask(&mut raw, &guarded.origin, client, "GET", "/", "").0, status);
    }
}

#[test]
fn explain_says_which_directive_decides() {
    let scratch = Scratch::new();
    let lines = "limit 600/1m per client\nban 203.0.113.0/24 for 7d\nlimit 20/10s per client+host path /api/ methods POST,PUT\nexempt 198.51.100.0/24\n";
    let file = scratch.file("guard.conf", lines);
    let explain = |client: &str, words: &[&str]| {
        let mut all = vec!["--guard", &file, "--allow", "127.0.0.0/8", "--client", client, "explain"];
        all.extend_from_slice(words);
        run(&all)
    };
    let refused = explain("203.0.113.4", &["http://127.0.0.1/"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.out.contains("banned:guard:2"), "{refused:?}");
    let allowed = explain("192.0.2.4", &["POST", "http://127.0.0.1/api/x"]);
    assert_eq!(allowed.code, 0, "{allowed:?}");
    assert!(allowed.out.contains("counted by guard:1: limit 600/1m per client\n"), "{allowed:?}");
    assert!(allowed.out.contains("counted by guard:3: limit 20/10s per client+host"), "{allowed:?}");
    let allowed = explain("192.0.2.4", &["http://127.0.0.1/api/x"]);
    assert!(!allowed.out.contains("guard:3"), "{allowed:?}");
    let exempt = explain("198.51.100.7", &["POST", "http://127.0.0.1/api/x"]);
    assert!(
        exempt.out.contains("not counted, by guard:4") && !exempt.out.contains("counted by"),
        "{exempt:?}"
    );
}

/// `ban-after limit` counts requests: each once, whatever number of lines it violates, with the violation that blocks its client, and
/// none of a client that was blocked before.
#[test]
fn guard_6_violations_are_requests_that_their_client_was_not_blocked_for() {
    for (lines, statuses) in [
        // One line, and two: the third violation bans.
        ("limit 1/10m per client\nban-after limit 3 in 10m for 1h", &[200, 429, 429, 429, 403][..]),
        (
            "limit 1/10m per client\nlimit 1/20m per client\nban-after limit 3 in 10m for 1h",
            &[200, 429, 429, 429, 403],
        ),
        // A violation that blocks counts. So a client of which each one blocks is banned at all.
        ("escalate 1/10m block 1h after 1\nban-after limit 1 in 10m for 1h", &[200, 429, 403]),
        ("escalate 1/10m block 1h after 2\nban-after limit 2 in 10m for 1h", &[200, 429, 429, 403]),
        (
            "escalate 1/10m block 1h after 9 forever after 1 in 1h\nban-after limit 1 in 10m for 1h",
            &[200, 403, 403],
        ),
        // What is asked while blocked does not count, by no line.
        (
            "escalate 1/10m block 1h after 1\nlimit 1/10m per client\nban-after limit 2 in 10m for 1h",
            &[200, 429, 429, 429, 429],
        ),
    ] {
        let guarded = Guarded::start(lines);
        let found: Vec<u16> = statuses.iter().map(|_| guarded.get("192.0.2.1", "/").0).collect();
        assert_eq!(found, statuses, "{lines}");
    }
}

/// Retry-After is the time until all lines let a request pass, also for one whose window is used up by what passed.
#[test]
fn guard_6_retry_after_allows_for_a_window_that_is_used_up() {
    let guarded = Guarded::start("limit 2/1m per client\nescalate 3/20m block 1h after 9");
    let answers = [(); 3].map(|()| guarded.get("192.0.2.1", "/"));
    assert_eq!(answers.each_ref().map(|(status, _)| *status), [200, 200, 429]);
    assert!((1190..=1200).contains(&retry_after(&answers[2].1)), "{}", answers[2].1);
}
