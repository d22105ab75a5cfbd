use super::*;
use crate::guard::clouds::Clouds;
use crate::guard::directives::parse;
use crate::guard::rules::{Guard, Subject};
use crate::guard::state::Change;
use crate::http::target::Host;
use std::sync::Mutex;

struct Guarded {
    guard: Guard,
    alerts: Arc<Mutex<Vec<String>>>,
}

fn asker() -> Asker<'static> {
    Asker::by(IpAddr::from([192, 0, 2, 1]))
}

/// A moment, in seconds.
fn at(second: u64) -> Now {
    let us = second * 1_000_000;
    Now { monotonic_us: us, unix_us: 1_700_000_000_000_000 + us, common_us: us }
}

impl Guarded {
    fn new(file: &str) -> Guarded {
        let directives = parse(file.as_bytes()).unwrap_or_else(|problems| panic!("{file}: {problems:?}"));
        let alerts = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&alerts);
        let sink = move |change| {
            if let Change::Alert(line) = change {
                heard.lock().unwrap().push(line);
            }
        };
        let state = Arc::new(State::new([1, 2], 1000, Box::new(sink)));
        Guarded { guard: Guard::new(&directives, state, &Clouds::default()), alerts }
    }

    fn ask(&self, client: &str, method: &str, path: &str, second: u64) -> Met {
        let client: IpAddr = client.parse().unwrap();
        let host = Host::Address(client);
        let subject = Subject { client, user: b"", host: &host, path: Some(path.as_bytes()), method };
        self.guard.meet(&subject, || Asker::by(client), at(second), &mut Vec::new())
    }

    /// A whole exchange.
    fn exchange(&self, path: &str, status: u16, body: &[&str], whole: bool) {
        let Some(mut watch) = self.ask("192.0.2.1", "GET", path, 1).watch else { return };
        if watch.begin(status, asker, at(1)) {
            body.iter().for_each(|part| watch.feed(part.as_bytes()));
            watch.end(whole, asker, at(1));
        }
    }

    /// The actions of all events, in order.
    fn actions(&self) -> Vec<&'static str> {
        let (events, _) = self.guard.state().read_events(&mut 0, 1000);
        let of_rules = events.iter().filter(|event| event.kind == EventType::BehavioralViolation);
        of_rules.map(|event| event.action).collect()
    }
}

#[test]
fn guard_10_paths_with_parameters_bypass_no_rule() {
    for (file, paths) in [
        ("behaviour usage 2 in 60s path /api/", ["/api;x/y", "/x/..;/api/y", "/api/y"]),
        ("behaviour usage 2 in 60s path /api/", ["/api/..;/y", "/api/y", "/;/api/z"]),
        ("behaviour usage 2 in 60s", ["/y;1", "/y;2", "/y;3=4"]),
    ] {
        let guarded = Guarded::new(file);
        for path in paths {
            assert!(guarded.actions().is_empty(), "{file}, before {path}");
            guarded.ask("192.0.2.1", "GET", path, 1);
        }
        assert_eq!(guarded.actions(), ["log"], "{file}");
    }
}

#[test]
fn guard_10_fires_on_each_event_beyond_the_threshold() {
    let guarded = Guarded::new("behaviour usage 3 in 60s");
    for (second, fired) in [(0, 0), (1, 0), (2, 0), (3, 1), (4, 2), (63, 2), (64, 2), (65, 2), (66, 3)] {
        assert!(guarded.ask("192.0.2.1", "GET", "/a", second).denial.is_none());
        assert_eq!(guarded.actions().len(), fired, "{second}");
    }
    let (events, _) = guarded.guard.state().read_events(&mut 0, 1);
    let line = events[0].json();
    for part in [
        "\"event_type\":\"behavioral_violation\"",
        "\"action_taken\":\"log\"",
        "\"handler_name\":\"behavior\"",
        "\"rule_type\":\"guard:1\"",
        "\"endpoint\":\"GET:/a\",\"rule_type\":\"usage\",\"threshold\":\"3\",\"window\":\"60\"",
    ] {
        assert!(line.contains(part), "{part} {line}");
    }
}

#[test]
fn guard_10_counts_for_each_client_and_endpoint() {
    for (file, fired) in [
        ("behaviour usage 1", 1),
        ("behaviour usage 1 together", 6),
        ("behaviour usage 1 path /a", 2),
        ("behaviour usage 1 path /c", 0),
        ("behaviour usage 1 methods POST", 0),
    ] {
        let guarded = Guarded::new(file);
        for (client, method, path) in [
            ("192.0.2.1", "GET", "/a"),
            ("192.0.2.1", "GET", "/%61?q"),
            ("192.0.2.1", "POST", "/a"),
            ("192.0.2.1", "GET", "/b"),
            ("192.0.2.2", "GET", "/a"),
            ("2001:db8::1", "GET", "/b"),
            ("2001:db8::2", "GET", "/d"),
            ("192.0.2.1", "GET", "/d"),
            ("192.0.2.1", "GET", "/e"),
        ] {
            guarded.ask(client, method, path, 1);
        }
        assert_eq!(guarded.actions().len(), fired, "{file}");
    }
}

#[test]
fn guard_10_actions() {
    let guarded = Guarded::new("behaviour usage 1 action alert");
    (0..2).for_each(|second| _ = guarded.ask("192.0.2.1", "GET", "/a", second));
    assert_eq!(guarded.actions(), ["alert"]);
    assert!(guarded.alerts.lock().unwrap()[0].contains("192.0.2.1"));

    let guarded = Guarded::new("behaviour usage 1 action ban for 10m");
    assert!(guarded.ask("192.0.2.1", "GET", "/a", 0).denial.is_none());
    let denial = guarded.ask("192.0.2.1", "GET", "/a", 0).denial;
    assert_eq!(denial, Some(Denial { cause: Cause::Banned, line: 1, retry_after_s: 0 }));
    let client = "192.0.2.1".parse().unwrap();
    assert!(guarded.guard.is_banned(client, at(599)) && !guarded.guard.is_banned(client, at(601)));
    let bans = guarded.guard.state().read_bans();
    assert_eq!(&*bans.find(client, at(1).unix_ms()).unwrap().1.reason, REASON);
    drop(bans);

    // Loopback is never banned.
    let guarded = Guarded::new("behaviour usage 1 action ban");
    (0..3).for_each(|second| assert!(guarded.ask("127.0.0.1", "GET", "/a", second).denial.is_none()));
    assert_eq!(guarded.actions(), ["logged_only", "logged_only"]);
}

/// Only the address of a client is banned where its network has a trusted proxy, too.
#[test]
fn guard_10_a_ban_spares_a_trusted_proxy_in_the_network_of_the_client() {
    let file = "trust 2001:db8::1\nbehaviour usage 1 action ban";
    let guarded = Guarded::new(file);
    guarded.guard.state().set(&parse(file.as_bytes()).unwrap(), Vec::new(), 1);
    let (client, neighbour, proxy) = ("2001:db8::66", "2001:db8::67", "2001:db8::1");
    let denials = [(); 2].map(|()| guarded.ask(client, "GET", "/a", 0).denial.is_some());
    assert_eq!((denials, guarded.actions()), ([false, true], vec!["ban"]));
    let is_banned = |address: &str| guarded.guard.is_banned(address.parse().unwrap(), at(1));
    assert_eq!([client, neighbour, proxy].map(is_banned), [true, false, false]);
    (0..2).for_each(|_| assert!(guarded.ask(proxy, "GET", "/b", 0).denial.is_none()));
    assert_eq!(guarded.actions(), ["ban", "logged_only"]);
}

#[test]
fn ours_10_a_throttle_delays_and_says_so() {
    let guarded = Guarded::new("behaviour usage 2 in 1m action throttle rate 2/1s for 30s");
    let wait = |client: &str, second| guarded.ask(client, "GET", "/a", second).wait_us;
    assert_eq!([wait("192.0.2.1", 0), wait("192.0.2.1", 0), wait("192.0.2.1", 0)], [0, 0, 0]);
    assert_eq!(guarded.actions(), ["throttle"]);
    let (events, _) = guarded.guard.state().read_events(&mut 0, 9);
    assert!(events[0].json().contains("\"delay_ms\":\"500\""), "{}", events[0].json());
    assert_eq!([wait("192.0.2.1", 0), wait("192.0.2.1", 0)], [500_000, 1_000_000]);
    assert_eq!(wait("192.0.2.2", 0), 0, "another client");
    assert_eq!(guarded.ask("192.0.2.1", "GET", "/b", 0).wait_us, 0, "another endpoint");
    for _ in 0..58 {
        assert!(guarded.ask("192.0.2.1", "GET", "/a", 0).denial.is_none());
    }
    let denial = guarded.ask("192.0.2.1", "GET", "/a", 0).denial;
    assert_eq!(denial, Some(Denial { cause: Cause::Throttled, line: 1, retry_after_s: 31 }));
    assert_eq!(wait("192.0.2.1", 100), 0, "it has paused");
}

#[test]
fn guard_10_passive_and_observed_rules_do_nothing() {
    for file in [
        "passive\nbehaviour usage 1 action ban",
        "behaviour usage 1 action ban observe",
        "behaviour usage 1 action throttle observe",
        "passive\nbehaviour usage 1 action alert",
    ] {
        let guarded = Guarded::new(file);
        for second in 0..3 {
            let met = guarded.ask("192.0.2.1", "GET", "/a", second);
            assert!(met.denial.is_none() && met.wait_us == 0, "{file}");
        }
        assert_eq!(guarded.actions(), ["logged_only", "logged_only"], "{file}");
        assert!(!guarded.guard.is_banned("192.0.2.1".parse().unwrap(), at(1)));
        assert!(guarded.alerts.lock().unwrap().is_empty());
    }
}

#[test]
fn guard_10_what_detection_found_halves_the_threshold() {
    for (threshold, fires_at) in [(5, 3), (4, 3), (3, 2), (2, 2)] {
        let guarded = Guarded::new(&format!("behaviour usage {threshold} correlate"));
        let client: IpAddr = "192.0.2.1".parse().unwrap();
        guarded.guard.state().note_suspicion(client.into(), at(0));
        for count in 1..=fires_at {
            guarded.ask("192.0.2.1", "GET", "/a", 1);
            guarded.ask("192.0.2.2", "GET", "/a", 1);
            assert_eq!(guarded.actions().len(), usize::from(count == fires_at), "{threshold} {count}");
        }
    }
    // Half of 1 is 1.
    let guarded = Guarded::new("behaviour usage 1 correlate");
    guarded.guard.state().note_suspicion("192.0.2.1".parse::<IpAddr>().unwrap().into(), at(0));
    guarded.ask("192.0.2.1", "GET", "/a", 1);
    assert_eq!(guarded.actions().len(), 0);
}

#[test]
fn guard_10_patterns_of_responses() {
    const WIN: &str = "behaviour return \"you win\" 1 together";
    const JSON: &str = "behaviour return json:result==win 1 together";
    const REGEX: &str = "behaviour return \"regex:item-[0-9]+ (rare|epic)\" 1 together";
    const STATUS: &str = "behaviour return status:404 1 together";
    let filler = "x".repeat(BODY_BYTES_MAX);
    let long = format!("{{\"result\":\"win\",\"a\":\"{filler}\"}}");
    let late = format!("{filler}you win");
    let cases: [(&str, u16, &[&str], bool, bool); 14] = [
        (STATUS, 404, &[], true, true),
        (STATUS, 200, &["404"], true, false),
        (JSON, 200, &["{\"result\"", ":\"WIN\"}"], true, true),
        (JSON, 500, &["{\"result\":\"win\"}"], true, true),
        (JSON, 200, &["{\"result\":\"win\"}"], false, false),
        (JSON, 200, &["{\"result\":\"win\""], true, false),
        (JSON, 200, &[&long], false, false),
        (JSON, 200, &[], true, false),
        (WIN, 200, &["... You", " Win", "!"], true, true),
        (WIN, 200, &["you  win"], true, false),
        (WIN, 200, &["you win", &filler], false, true),
        (WIN, 200, &[&late], false, false),
        (REGEX, 200, &["an item-1", "2 EPIC drop"], true, true),
        (REGEX, 200, &["an item-x epic drop"], true, false),
    ];
    for (file, status, body, whole, matches) in cases {
        if !cfg!(feature = "detection") && file != STATUS {
            continue;
        }
        let guarded = Guarded::new(file);
        for count in [0, 1, 2] {
            guarded.exchange("/a", status, body, whole);
            let fired = if matches { count } else { 0 };
            assert_eq!(guarded.actions().len(), fired, "{file} {status} {count}");
        }
    }
}

#[test]
#[cfg_attr(not(feature = "detection"), ignore = "needs the feature detection")]
fn guard_10_no_more_of_a_body_is_kept_than_is_looked_at() {
    let guarded = Guarded::new("behaviour return json:a==b 1\nbehaviour return status:200 1");
    let mut watch = guarded.ask("192.0.2.1", "GET", "/a", 0).watch.unwrap();
    assert!(watch.begin(200, asker, at(0)) && watch.wants_more());
    for _ in 0..100 {
        watch.feed(&[b' '; 10_000]);
    }
    assert_eq!((watch.document.len(), watch.wants_more()), (BODY_BYTES_MAX, false));
    assert!((BODY_BYTES_MAX..2 * BODY_BYTES_MAX).contains(&watch.heap_bytes()));
    watch.end(true, asker, at(0));
    assert_eq!(watch.heap_bytes(), 0);
    let mut watch =
        Guarded::new("behaviour return status:200 1").ask("192.0.2.1", "GET", "/a", 0).watch.unwrap();
    assert!(!watch.begin(200, asker, at(0)), "a status needs no body");
}

#[test]
#[cfg_attr(not(feature = "detection"), ignore = "needs the feature detection")]
fn guard_10_a_match_may_end_at_the_last_byte_that_patterns_see() {
    for pattern in ["needle", "regex:ne+dle"] {
        for (end, matches) in
            [(BODY_BYTES_MAX - 1, true), (BODY_BYTES_MAX, true), (BODY_BYTES_MAX + 1, false)]
        {
            let body = "x".repeat(end - 6) + "needle, and more";
            for cut in [end - 3, end, end + 1] {
                let guarded = Guarded::new(&format!("behaviour return {pattern} 1"));
                let (first, second) = body.split_at(cut);
                (0..2).for_each(|_| guarded.exchange("/a", 200, &[first, second], false));
                assert_eq!(guarded.actions().len(), usize::from(matches), "{pattern} {end} {cut}");
            }
        }
    }
    // A document of that length is whole.
    let guarded = Guarded::new("behaviour return json:a==b 1");
    let mut watch = guarded.ask("192.0.2.1", "GET", "/a", 0).watch.unwrap();
    assert!(watch.begin(200, asker, at(0)));
    watch.feed(&vec![b' '; BODY_BYTES_MAX]);
    assert!(watch.wants_more(), "its end is awaited");
}

#[test]
#[cfg_attr(not(feature = "detection"), ignore = "needs the feature detection")]
fn a_faulty_expression_is_told_with_its_reason() {
    for (expression, reason) in
        [("(", "unclosed group"), ("a{2,1}", "invalid repetition"), ("(?=a)", "look-around")]
    {
        let problems = parse(format!("behaviour return regex:{expression} 1").as_bytes()).unwrap_err();
        assert!(problems[0].message.contains(reason), "{expression}: {problems:?}");
    }
}
