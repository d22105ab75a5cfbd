//! Servers that are silent, slow, refuse, do not understand, or are impersonated.

use super::*;

fn www() -> Outcome {
    addresses(&["2001:db8::10", "192.0.2.10", "192.0.2.11"])
}

#[test]
fn a_dead_server_costs_one_time_out() {
    let mut net = Network::new(&[Server::Silent, Server::Answers(MS)], |_| {});
    assert_eq!(net.resolve("www.example"), (2 * S + MS, www()));
    // Later look-ups start with the live server.
    net.take_sent();
    assert_eq!(net.resolve("four.example"), (MS, addresses(&["192.0.2.4"])));
    assert_eq!(net.take_sent(), ["1/four.example/AAAA", "1/four.example/A"]);
    // After the down time one query probes the server, with a short time-out, and no other query does.
    net.wait(31 * S);
    let (took_us, outcome) = net.resolve("six.example");
    assert_eq!(outcome, addresses(&["2001:db8::6"]));
    assert!(took_us <= 500 * MS + MS, "{took_us}");
    assert_eq!(net.take_sent(), ["0/six.example/AAAA", "1/six.example/A", "1/six.example/AAAA"]);
    assert_eq!(net.resolve("alias.example").0, MS);
    assert_eq!(net.take_sent(), ["1/alias.example/AAAA", "1/alias.example/A"]);
    // A server that answers the probe is first again.
    net.servers[0] = Server::Answers(MS);
    net.wait(31 * S);
    assert_eq!(net.resolve("zero.example").0, MS);
    net.take_sent();
    assert_eq!(net.resolve("year.example").0, MS);
    assert_eq!(net.take_sent(), ["0/year.example/AAAA", "0/year.example/A"]);
}

#[test]
fn pending_look_ups_leave_a_dead_server_together() {
    let mut net = Network::new(&[Server::Silent, Server::Answers(MS)], |_| {});
    let start_us = net.now_us;
    for n in 0..50 {
        net.wait(20 * MS);
        assert!(matches!(net.look_up(&format!("n{n}.example")), LookUp::Pending(_)));
    }
    net.settle();
    assert_eq!(net.done.len(), 50);
    // The first query went out at 20 ms; all end a millisecond after its time-out.
    assert!(net.done.iter().all(|done| done.0 == start_us + 20 * MS + 2 * S + MS));
    assert_eq!(net.counters().timeouts, 2);
    assert_eq!(net.counters().retries, 100);
}

#[test]
fn a_server_that_answers_others_is_not_dead() {
    let mut net = Network::new(&[Server::Drops(AAAA), Server::Answers(MS)], |_| {});
    assert!(matches!(net.look_up("www.example"), LookUp::Pending(_)));
    net.wait(S);
    assert!(matches!(net.look_up("four.example"), LookUp::Pending(_)));
    net.settle();
    net.take_sent();
    net.resolve("six.example");
    assert_eq!(net.take_sent()[..2], ["0/six.example/AAAA", "0/six.example/A"]);
}

#[test]
fn all_servers_dead_is_a_time_out_that_is_remembered() {
    let mut net = Network::new(&[Server::Silent, Server::Silent], |settings| settings.attempts = 2);
    assert_eq!(net.resolve("www.example"), (8 * S, failed(Failure::Timeout)));
    let sent = net.take_sent();
    assert_eq!(sent.len(), 8);
    // The second round leaves out EDNS.
    assert_eq!(sent.iter().filter(|line| line.ends_with("/plain")).count(), 4);
    net.wait(4 * S);
    assert_eq!(net.resolve("www.example"), (0, failed(Failure::Timeout)));
    net.wait(2 * S);
    assert!(matches!(net.look_up("www.example"), LookUp::Pending(_)));
}

#[test]
fn a_look_up_ends() {
    let mut net = Network::new(&[Server::Silent; 8], |settings| {
        settings.attempts = 5;
        settings.timeout_ms = 30_000;
    });
    assert_eq!(net.resolve("www.example"), (30 * S, failed(Failure::Timeout)));
}

#[test]
fn failures_go_to_the_next_server() {
    for (what, first) in [
        ("refused port", Server::Refuses),
        ("SERVFAIL", Server::Code(2)),
        ("REFUSED", Server::Code(5)),
        ("NOTIMP", Server::Code(4)),
        ("unknown code", Server::Code(11)),
        ("malformed", Server::Cut(40)),
    ] {
        let mut net = Network::new(&[first, Server::Answers(MS)], |_| {});
        let (took_us, outcome) = net.resolve("www.example");
        assert_eq!(outcome, www(), "{what}");
        assert!(took_us <= 4 * MS, "{what}: {took_us}");
    }
    for (only, failure) in [
        (Server::Refuses, Failure::ServerFailure),
        (Server::Code(2), Failure::ServerFailure),
        (Server::Cut(40), Failure::Malformed),
        (Server::Cut(5), Failure::Malformed),
    ] {
        let mut net = Network::new(&[only], |_| {});
        assert_eq!(net.resolve("www.example").1, failed(failure), "{only:?}");
        assert_eq!(net.counters().failures, 1);
    }
}

#[test]
fn kind_15_a_servfail_from_the_only_server_is_asked_again() {
    // Both questions fail at first.
    let mut net = Network::new(&[Server::Recovers(2)], |_| {});
    assert_eq!(net.resolve("www.example").1, www());
    assert_eq!(net.take_sent().len(), 4);
    // The repetition happens once: a name that always fails costs two queries for each family, as with glibc.
    let mut net = Network::new(&[Server::Code(2)], |_| {});
    assert_eq!(net.resolve("www.example").1, failed(Failure::ServerFailure));
    assert_eq!(net.take_sent().len(), 4);
    let mut net = Network::new(&[Server::Recovers(2)], |settings| settings.attempts = 1);
    assert_eq!(net.resolve("www.example").1, failed(Failure::ServerFailure));
    // A refusal is final.
    let mut net = Network::new(&[Server::Code(5)], |_| {});
    assert_eq!(net.resolve("www.example").1, failed(Failure::ServerFailure));
    assert_eq!(net.take_sent().len(), 2);
    // Two servers that both have a bad moment.
    let mut net = Network::new(&[Server::Recovers(4), Server::Recovers(4)], |_| {});
    assert_eq!(net.resolve("www.example").1, www());
}

#[test]
fn kind_15_what_was_cut_off_is_better_than_nothing() {
    const REFUSES: Server = Server::Refuses;
    const SILENT: Server = Server::Silent;
    const BROKEN: Server = Server::Cut(40);
    const FAILS: Server = Server::Code(2);
    const ANSWERS: Server = Server::Answers(MS);
    for over_tcp in [&REFUSES, &SILENT, &BROKEN, &FAILS, &ANSWERS] {
        let mut net = Network::new(&[Server::CutOff(over_tcp)], |_| {});
        assert_eq!(net.resolve("www.example").1, www(), "{over_tcp:?}");
    }
    // Another server's full answer is better still.
    let mut net = Network::new(&[Server::CutOff(&REFUSES), ANSWERS], |_| {});
    assert_eq!(net.resolve("www.example").1, www());
    // The truncated answer is not kept for long.
    let mut net = Network::new(&[Server::CutOff(&REFUSES)], |_| {});
    net.resolve("www.example");
    net.wait(61 * S);
    assert!(matches!(net.look_up("www.example"), LookUp::Pending(_)));
    // A truncated answer without addresses is of no use.
    let mut net = Network::new(&[Server::CutOff(&REFUSES)], |_| {});
    assert_eq!(net.resolve("lame.example").1, failed(Failure::ServerFailure));
    // The look-up ends before the last server gives up.
    let mut net = Network::new(&[Server::CutOff(&SILENT); 8], |settings| settings.timeout_ms = 30_000);
    assert_eq!(net.resolve("www.example"), (30 * S, www()));
}

#[test]
fn a_refused_port_is_put_last() {
    let mut net = Network::new(&[Server::Refuses, Server::Answers(MS)], |_| {});
    net.resolve("www.example");
    net.take_sent();
    net.resolve("four.example");
    assert_eq!(net.take_sent(), ["1/four.example/AAAA", "1/four.example/A"]);
}

#[test]
fn one_family_is_enough() {
    let mut net = Network::new(&[Server::Drops(AAAA)], |_| {});
    // Addresses after the grace; the cache is filled when the rest is known to be lost.
    assert_eq!(net.resolve("www.example"), (51 * MS, addresses(&["192.0.2.10", "192.0.2.11"])));
    assert_eq!(net.resolve("www.example").0, 0);
    net.wait(61 * S);
    assert!(matches!(net.look_up("www.example"), LookUp::Pending(_)));
    let mut net = Network::new(&[Server::Drops(A)], |_| {});
    assert_eq!(net.resolve("www.example"), (S + MS, addresses(&["2001:db8::10"])));
}

#[test]
fn a_late_family_fills_the_cache() {
    let mut net = Network::new(&[Server::Slow(AAAA, 300 * MS, MS)], |_| {});
    let LookUp::Pending(id) = net.look_up("www.example") else { panic!() };
    while net.done.is_empty() {
        assert!(net.step());
    }
    // While the other family is under way, a new caller gets the addresses so far, and a late cancel changes nothing.
    let half = addresses(&["192.0.2.10", "192.0.2.11"]);
    assert_eq!(net.look_up("www.example"), LookUp::Ready(half));
    net.resolver.cancel(id);
    net.drain();
    net.settle();
    assert_eq!(net.done.len(), 1);
    assert_eq!(net.look_up("www.example"), LookUp::Ready(www()));
    // Within the grace period, the look-up waits for both families.
    let mut net = Network::new(&[Server::Slow(AAAA, 40 * MS, MS)], |_| {});
    assert_eq!(net.resolve("www.example"), (40 * MS, www()));
    let mut net = Network::new(&[Server::Slow(A, 900 * MS, MS)], |_| {});
    assert_eq!(net.resolve("www.example"), (900 * MS, www()));
}

#[test]
fn edns_is_left_out_for_servers_that_do_not_know_it() {
    let mut net = Network::new(&[Server::Plain], |_| {});
    assert_eq!(net.resolve("www.example").1, www());
    assert_eq!(
        net.take_sent(),
        ["0/www.example/AAAA", "0/www.example/A", "0/www.example/AAAA/plain", "0/www.example/A/plain"]
    );
    net.resolve("four.example");
    assert_eq!(net.take_sent(), ["0/four.example/AAAA/plain", "0/four.example/A/plain"]);
}

#[test]
fn truncated_replies_are_asked_for_over_tcp() {
    let mut net = Network::new(&[Server::Answers(MS), Server::Silent], |_| {});
    assert_eq!(net.resolve("big.example"), (2 * MS, addresses(&["192.0.2.50"])));
    assert_eq!(
        net.take_sent(),
        ["0/big.example/AAAA", "0/big.example/A", "0/big.example/AAAA/tcp", "0/big.example/A/tcp"]
    );
    assert_eq!(net.counters().truncated, 2);
}

#[test]
fn forged_replies_are_ignored() {
    // A few: the true reply is waited for.
    let mut net = Network::new(&[Server::Answers(5 * MS)], |_| {});
    let LookUp::Pending(_) = net.look_up("www.example") else { panic!() };
    let queries: Vec<QueryId> = net.open.keys().copied().collect();
    let sent = net.sent[0].clone();
    for (n, &query) in queries.iter().enumerate() {
        let mut forged =
            net.answer(b"\0\0\x01\0\0\x01\0\0\0\0\0\0\x04four\x07example\0\0\x01\0\x01", Transport::Udp);
        forged[..2].copy_from_slice(&sent.id.to_be_bytes());
        net.resolver.handle_reply(net.now(), query, &forged);
        net.resolver.handle_reply(net.now(), query, &[]);
        net.drain();
        assert_eq!(net.counters().mismatched, 2 * (n as u64 + 1));
    }
    net.settle();
    assert_eq!(net.done[0].2, www());
    // Many: the question moves to TCP.
    let mut net = Network::new(&[Server::Forged(100)], |_| {});
    assert_eq!(net.resolve("www.example"), (2 * MS, www()));
    assert_eq!(net.take_sent()[2..], ["0/www.example/AAAA/tcp", "0/www.example/A/tcp"]);
    // A few forged replies and then silence have the same effect, at the time-out, and the server is not taken for dead.
    let mut net = Network::new(&[Server::Forged(3), Server::Answers(MS)], |_| {});
    assert_eq!(net.resolve("www.example"), (2 * S + MS, www()));
    assert_eq!(net.take_sent()[2..], ["0/www.example/AAAA/tcp", "0/www.example/A/tcp"]);
}

#[test]
fn ids_and_letters_are_unpredictable() {
    let mut net = Network::new(&[Server::Answers(MS)], |settings| settings.case_randomised = true);
    for n in 0..50 {
        net.resolve(&format!("name-with-letters-{n}.example"));
    }
    let mut ids: Vec<u16> = net.sent.iter().map(|sent| sent.id).collect();
    let steps: Vec<u16> = ids.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    assert!(steps.windows(2).all(|pair| pair[0] != pair[1]));
    ids.sort_unstable();
    ids.dedup();
    assert!(ids.len() > 95, "{}", ids.len());
    let uppers = |sent: &Sent| sent.name.bytes().filter(u8::is_ascii_uppercase).count();
    assert!(net.sent.iter().all(|sent| (2..22).contains(&uppers(sent))));
    assert_eq!(net.counters().mismatched, 0);
    // Another seed, other ids.
    let mut other = Resolver::new(Settings::default(), Hosts::default(), [1, 2]);
    other.look_up(Now::default(), &name("name-with-letters-0.example"));
    let Some(Action::Send { message, .. }) = other.next_action() else { panic!() };
    assert_ne!(message.as_bytes()[..2], net.sent[0].id.to_be_bytes());
}

#[test]
fn servers_that_do_not_repeat_the_letters_are_asked_over_tcp() {
    let mut net = Network::new(&[Server::Lowers], |settings| settings.case_randomised = true);
    assert_eq!(net.resolve("www.example"), (2 * MS, www()));
    assert_eq!(net.counters().mismatched, 2);
    net.take_sent();
    // What a server has shown over TCP, where a forger cannot answer, is remembered for ten minutes.
    assert_eq!(net.resolve("four.example"), (MS, addresses(&["192.0.2.4"])));
    assert_eq!(net.take_sent(), ["0/four.example/AAAA", "0/four.example/A"]);
    net.wait(601 * S);
    let sent = net.resolve("six.example");
    assert_eq!((sent.1, net.take_sent().len()), (addresses(&["2001:db8::6"]), 4));
    // A forger who finds the id once only makes the next query go over TCP.
    let mut net = Network::new(&[Server::Answers(5 * MS)], |settings| settings.case_randomised = true);
    let LookUp::Pending(_) = net.look_up("www.example") else { panic!() };
    let queries: Vec<QueryId> = net.open.keys().copied().collect();
    let sent = net.sent.clone();
    for (query, sent) in queries.iter().flat_map(|query| sent.iter().map(move |sent| (query, sent))) {
        let question = [
            &sent.id.to_be_bytes()[..],
            b"\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\0\0",
            &[sent.kind as u8],
            b"\0\x01",
        ];
        let forged = net.answer(&question.concat(), Transport::Udp);
        net.resolver.handle_reply(net.now(), *query, &forged);
        net.drain();
    }
    net.settle();
    assert_eq!(net.done[0].2, www());
    assert_eq!(net.take_sent()[2..].iter().filter(|line| line.ends_with("/tcp")).count(), 2);
    net.resolve("four.example");
    assert!(net.sent.iter().any(|sent| sent.name.bytes().any(|byte| byte.is_ascii_uppercase())));
    let mut net = Network::new(&[Server::Lowers], |_| {});
    assert_eq!(net.resolve("www.example"), (MS, www()));
}

#[test]
fn rotation_spreads_look_ups() {
    let mut net = Network::new(&[Server::Answers(MS); 3], |settings| settings.rotate = true);
    for n in 0..30 {
        net.resolve(&format!("n{n}.example"));
    }
    for server in 0..3 {
        assert!(net.sent.iter().filter(|sent| sent.server == server).count() >= 10);
    }
}
