//! Limits that several processes share.

use crate::common::{DEADLINE, Origin, Raw};
use crate::node::{Node, exactly_the_limit, patient, window};
use crate::redis_server::RedisServer;
use std::thread;
use std::time::{Duration, Instant};
use weir::guard::store::{Answer, Check, EscalationConstants, EscalationStep, EscalationVerdict, StoreNews};
use weir::{Configuration, Proxy, Time};

const HOUR_MS: u64 = 3_600_000;

#[test]
fn ours_5_exactly_the_limit_passes_over_two_processes_and_64_threads() {
    let Some(server) = RedisServer::start() else { return };
    exactly_the_limit(&[Node::start(patient(&server.url())), Node::start(patient(&server.url()))]);
    let key = "guard_core:rate_limit:rate:192.0.2.1";
    assert_eq!(server.query::<u32>(&["ZCARD", key]), 301, "no more is kept than decides");
    let life: u64 = server.query(&["PTTL", key]);
    assert!(life > HOUR_MS && life <= 2 * HOUR_MS, "{life}");
}

/// A proxy that counts in that store, on a machine whose clock says so many years since 1970.
fn proxy_of_year(server: &RedisServer, years: u32) -> Proxy {
    let guard = format!(
        "limit 2/1h per client\nescalate 2/1h block 2h after 9 per client\n\
         store {} deadline 10s on-failure closed\n",
        server.url()
    );
    let configuration = Configuration::new().memory_only().file("guard.conf", guard);
    let text = "host 127.0.0.1\nport 0\nallow 127.0.0.0/8\nguard guard.conf\n";
    let began = Instant::now();
    let clock = move || {
        let monotonic = began.elapsed();
        Time { monotonic, unix: Duration::from_secs(31_557_600) * years + monotonic }
    };
    Proxy::builder().configuration(configuration.text(text)).clock(clock).build().expect("a proxy")
}

#[test]
fn ours_5_time_is_the_stores_whatever_the_clocks_of_the_machines_say() {
    let Some(server) = RedisServer::start() else { return };
    let origin = Origin::ok();
    let now_us = || {
        let (seconds, micros): (u64, u64) = server.query(&["TIME"]);
        (seconds * 1_000_000 + micros) as f64
    };
    let began_us = now_us();
    let mut proxies = [1, 31, 99].map(|years| proxy_of_year(&server, years));
    for (at, status) in [(0, 200), (1, 200), (2, 429), (0, 429)] {
        let to = proxies[at].control().addresses()[0];
        let request = origin.fill("GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\n\r\n");
        let client = thread::spawn(move || Raw::connect(to).ask(request).status());
        let end = Instant::now() + DEADLINE;
        while !client.is_finished() {
            assert!(Instant::now() < end, "no response");
            proxies[at].poll(Some(Duration::from_millis(1))).expect("a turn");
        }
        assert_eq!(client.join().expect("a client"), status, "the proxy {at}");
    }
    let during = began_us..=now_us();
    let hits: Vec<(String, f64)> =
        server.query(&["ZRANGE", "guard_core:rate_limit:rate:127.0.0.1", "0", "-1", "WITHSCORES"]);
    assert_eq!(hits.len(), 3, "the limit, and one more");
    assert!(hits.iter().all(|(_, seconds)| during.contains(&(seconds * 1e6))), "{hits:?} in {during:?}");
    let start_ms: f64 = server.query(&["HGET", "guard_core:escalation:127.0.0.1", "window_start"]);
    assert!(((began_us / 1e3).floor()..=during.end() / 1e3).contains(&start_ms), "{start_ms} in {during:?}");
}

#[test]
fn guard_5_a_window_says_what_is_left_and_when_the_next_hit_passes() {
    let Some(server) = RedisServer::start() else { return };
    let node = Node::start(patient(&server.url()));
    let mut jobs = 1..;
    for (within, left, waits) in [(true, 1, false), (true, 0, true), (false, 0, true), (false, 0, true)] {
        let Answer::Window { within: is, left: rest, retry_after_ms } =
            node.answered(&mut jobs, &window("w", 2, HOUR_MS))
        else {
            panic!("an answer to another check");
        };
        assert_eq!((is, rest), (within, left));
        assert_eq!(retry_after_ms > HOUR_MS / 2, waits, "{retry_after_ms}");
        assert!(retry_after_ms <= HOUR_MS);
    }
}

#[test]
fn ours_3_all_checks_of_a_request_are_answered_together_and_in_order() {
    let Some(server) = RedisServer::start() else { return };
    let node = Node::start(patient(&server.url()));
    let constants = EscalationConstants {
        requests_max: 1,
        window_ms: HOUR_MS,
        block_after: 2,
        block_ms: 2 * HOUR_MS,
        permanent_after: Some(9),
        permanent_window_ms: HOUR_MS,
    };
    let checks = || {
        vec![
            window("a", 1, HOUR_MS),
            Check::Escalation { key: "e".into(), constants },
            window("b", 0, HOUR_MS),
        ]
    };
    let first = node.ask(1, checks()).expect("answers");
    assert!(
        matches!(
            first[..],
            [
                Answer::Window { within: true, left: 0, .. },
                Answer::Escalation(EscalationStep {
                    verdict: EscalationVerdict::Pass,
                    is_violation: false,
                    next_after_ms: 1..
                }),
                Answer::Window { within: false, left: 0, retry_after_ms: HOUR_MS },
            ]
        ),
        "{first:?}"
    );
    let second = node.ask(2, checks()).expect("answers");
    assert!(matches!(second[1].verdict(), Some(EscalationVerdict::Over { retry_after_ms: 1..=HOUR_MS })));
    let third = node.ask(3, checks()).expect("answers");
    assert!(matches!(
        third[1],
        Answer::Escalation(EscalationStep {
            verdict: EscalationVerdict::Blocked { retry_after_ms: 3_600_001..=7_200_000 },
            is_violation: true,
            ..
        })
    ));
    // What is forgotten begins anew.
    node.client.order(weir::guard::store::StoreOrder::Forget("e".into()));
    crate::common::eventually("the key is gone", || {
        (!server.query::<bool>(&["EXISTS", "guard_core:e"])).then_some(())
    });
    assert_eq!(node.ask(4, checks()).expect("answers")[1].verdict(), Some(EscalationVerdict::Pass));
    assert_eq!(node.ask(5, Vec::new()), Ok(Vec::new()));
}

#[test]
fn guard_5_scripts_that_the_server_forgets_are_sent_again_once() {
    let Some(server) = RedisServer::start() else { return };
    let node = Node::reaching(patient(&server.url()));
    let mut jobs = 1..;
    node.answered(&mut jobs, &window("w", 9, HOUR_MS));
    assert!(!node.news().contains(&StoreNews::ScriptReloaded), "the scripts are loaded at the start");
    server.query::<()>(&["SCRIPT", "FLUSH"]);
    let answers = node.ask(1000, vec![window("w", 9, HOUR_MS), window("w", 9, HOUR_MS)]);
    assert!(
        matches!(answers.as_deref(), Ok([Answer::Window { left: 7, .. }, Answer::Window { left: 6, .. }])),
        "{answers:?}"
    );
    node.news_until(|news| *news == StoreNews::ScriptReloaded);
    node.answered(&mut jobs, &window("w", 9, HOUR_MS));
    assert!(!node.news().contains(&StoreNews::ScriptReloaded));
}
