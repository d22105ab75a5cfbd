//! Names, chains, the search list, the cache, and look-ups that are shared or given up.

use super::*;

#[test]
fn both_families_in_turns() {
    let mut net = Network::new(&[Server::Answers(MS)], |_| {});
    let cases: Vec<(&str, Outcome)> = vec![
        ("www.example", addresses(&["2001:db8::10", "192.0.2.10", "192.0.2.11"])),
        ("four.example", addresses(&["192.0.2.4"])),
        ("six.example", addresses(&["2001:db8::6"])),
        ("alias.example", addresses(&["2001:db8::10", "192.0.2.10", "192.0.2.11"])),
        ("mapped.example", addresses(&["192.0.2.63"])),
        ("text.example", failed(Failure::NoAddress)),
        ("none.example", failed(Failure::NotFound)),
        ("dangling.example", failed(Failure::NotFound)),
        ("lame.example", failed(Failure::ServerFailure)),
        ("loop.example", failed(Failure::Malformed)),
        ("self.example", failed(Failure::Malformed)),
        ("c0.example", failed(Failure::Malformed)),
        ("c2.example", addresses(&["192.0.2.64"])),
    ];
    for chases in [true, false] {
        net.chases = chases;
        for (text, expected) in &cases {
            assert_eq!(net.resolve(text).1, *expected, "{text}");
        }
        net.wait(S * 100_000);
    }
    match net.resolve("many.example").1 {
        Outcome::Addresses(list) => {
            let families: Vec<bool> = list.as_slice().iter().map(IpAddr::is_ipv6).collect();
            assert_eq!(families, [true, false].repeat(8));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn chains_go_on_in_new_queries() {
    let mut net = Network::new(&[Server::Answers(MS)], |_| {});
    net.chases = false;
    assert_eq!(net.resolve("alias.example").0, 3 * MS);
    assert_eq!(net.take_sent()[4..], ["0/www.example/AAAA", "0/www.example/A"]);
    // The least TTL on the way counts: 50 s of the first link.
    net.wait(49 * S);
    assert_eq!(net.resolve("alias.example").0, 0);
    net.wait(2 * S);
    assert!(matches!(net.look_up("alias.example"), LookUp::Pending(_)));
    net.settle();
    net.take_sent();
    // A loop ends after so many links.
    assert_eq!(net.resolve("loop.example").1, failed(Failure::Malformed));
    assert_eq!(net.take_sent().len(), 2 * 17);
}

#[test]
fn outcomes_are_kept_as_long_as_they_hold() {
    let mut net = Network::new(&[Server::Answers(0)], |_| {});
    for (text, kept_s) in [
        // The least of all records of both families.
        ("www.example", 200),
        // The denial of the other family holds less long: the SOA's last field.
        ("four.example", 60),
        ("alias.example", 50),
        ("zero.example", 1),
        ("high.example", 1),
        ("year.example", 60),
        ("text.example", 60),
        ("none.example", 300),
        ("lame.example", 5),
    ] {
        let (_, outcome) = net.resolve(text);
        net.wait(kept_s * S - 1);
        assert_eq!(net.look_up(text), LookUp::Ready(outcome), "{text}");
        net.wait(1);
        assert!(matches!(net.look_up(text), LookUp::Pending(_)), "{text}");
        net.settle();
    }
    assert_eq!(net.counters().cache_hits, 9);
}

#[test]
fn positive_answers_are_kept_a_day_at_most() {
    let mut net = Network::new(&[Server::Answers(0)], |_| {});
    net.records.push(Record::new("year.example", AAAA, 40_000_000, "2001:db8::97"));
    let (_, outcome) = net.resolve("year.example");
    net.wait(86_400 * S - 1);
    assert_eq!(net.look_up("year.example"), LookUp::Ready(outcome));
    net.wait(1);
    assert!(matches!(net.look_up("year.example"), LookUp::Pending(_)));
}

#[test]
fn the_cache_is_bounded() {
    let mut net = Network::new(&[Server::Answers(MS)], |settings| settings.cache_entries_max = 3);
    for text in ["a.example", "b.example", "c.example", "a.example", "d.example"] {
        net.resolve(text);
    }
    net.take_sent();
    for (text, known) in [("a.example", true), ("c.example", true), ("d.example", true), ("b.example", false)]
    {
        net.resolve(text);
        assert_eq!(net.take_sent().is_empty(), known, "{text}");
    }
    let mut net = Network::new(&[Server::Answers(MS)], |settings| settings.cache_entries_max = 0);
    net.resolve("www.example");
    assert_eq!(net.resolve("www.example").0, MS);
}

#[test]
fn special_names_and_hosts_are_not_asked_for() {
    let mut net = Network::new(&[Server::Silent], |_| {});
    let loopback = addresses(&["::1", "127.0.0.1"]);
    for (text, expected) in [
        ("localhost", loopback.clone()),
        ("a.b.localhost", loopback),
        ("in.hosts", addresses(&["192.0.2.77"])),
        ("x.invalid", failed(Failure::NotFound)),
        ("hidden.onion", failed(Failure::NotFound)),
    ] {
        assert_eq!(net.look_up(text), LookUp::Ready(expected), "{text}");
    }
    assert_eq!(net.counters().hosts_hits, 3);
    for text in ["notlocalhost", "localhost.example", "x.in.hosts"] {
        assert!(matches!(net.look_up(text), LookUp::Pending(_)), "{text}");
    }
}

#[test]
fn the_search_list_is_walked_as_glibc_walks_it() {
    let corp = ["corp.example", "lab.example"];
    // ndots, name, names that are asked for in order, outcome.
    let cases: Vec<(u8, &str, Vec<&str>, Outcome)> = vec![
        (1, "host", vec!["host.corp.example"], addresses(&["192.0.2.60"])),
        (
            1,
            "dotless",
            vec!["dotless.corp.example", "dotless.lab.example", "dotless"],
            addresses(&["192.0.2.62"]),
        ),
        (0, "dotless", vec!["dotless"], addresses(&["192.0.2.62"])),
        (1, "www.example", vec!["www.example"], addresses(&["2001:db8::10", "192.0.2.10", "192.0.2.11"])),
        (1, "deep.host", vec!["deep.host", "deep.host.corp.example"], addresses(&["192.0.2.61"])),
        (2, "deep.host", vec!["deep.host.corp.example"], addresses(&["192.0.2.61"])),
        (
            1,
            "no.where",
            vec!["no.where", "no.where.corp.example", "no.where.lab.example"],
            failed(Failure::NotFound),
        ),
        (
            5,
            "no.where",
            vec!["no.where.corp.example", "no.where.lab.example", "no.where"],
            failed(Failure::NotFound),
        ),
        // The outcome of the name itself is unknown: no other candidate is tried in its place.
        (1, "lame.host", vec!["lame.host"], failed(Failure::ServerFailure)),
        // The outcome of a search-list candidate may be unknown: the others are tried.
        (
            2,
            "lame.x",
            vec!["lame.x.corp.example", "lame.x.lab.example", "lame.x"],
            failed(Failure::ServerFailure),
        ),
    ];
    for (ndots, text, asked, expected) in cases {
        let mut net = Network::new(&[Server::Answers(MS)], |settings| {
            settings.ndots = ndots;
            settings.search = corp.iter().map(|text| name(text)).collect();
        });
        assert_eq!(net.walk(text), expected, "{text}, ndots {ndots}");
        let expected: Vec<String> =
            asked.iter().flat_map(|name| [format!("0/{name}/AAAA"), format!("0/{name}/A")]).collect();
        assert_eq!(net.take_sent(), expected, "{text}, ndots {ndots}");
        // Cached under the queried names.
        net.walk(text);
        assert_eq!(net.take_sent(), Vec::<String>::new(), "{text}, ndots {ndots}");
    }
}

#[test]
fn kind_05_a_trailing_dot_and_what_is_known_here_end_the_search() {
    let cases = [
        ("host.", vec!["host"], failed(Failure::NotFound)),
        ("dotless.", vec!["dotless"], addresses(&["192.0.2.62"])),
        ("deep.host.", vec!["deep.host"], failed(Failure::NotFound)),
        ("in.hosts", vec![], addresses(&["192.0.2.77"])),
        ("localhost", vec![], addresses(&["::1", "127.0.0.1"])),
        ("a.invalid", vec![], failed(Failure::NotFound)),
    ];
    for (text, asked, expected) in cases {
        let mut net = Network::new(&[Server::Answers(MS)], |settings| {
            settings.ndots = 9;
            settings.search = vec![name("corp.example")];
        });
        assert_eq!(net.walk(text), expected, "{text}");
        let expected: Vec<String> =
            asked.iter().flat_map(|name| [format!("0/{name}/AAAA"), format!("0/{name}/A")]).collect();
        assert_eq!(net.take_sent(), expected, "{text}");
    }
}

#[test]
fn candidates_that_are_too_long_are_left_out() {
    let label = "a".repeat(60);
    let long = [&label[..]; 4].join(".");
    let mut net = Network::new(&[Server::Answers(MS)], |settings| {
        settings.ndots = 9;
        settings.search = vec![name("corp.example"), name("x")];
    });
    assert_eq!(net.walk(&long), failed(Failure::NotFound));
    assert_eq!(net.take_sent().len(), 4);
}

#[test]
fn a_silent_server_is_not_asked_for_the_whole_search_list() {
    let mut net = Network::new(&[Server::Silent], |settings| settings.search = vec![name("a"), name("b")]);
    assert_eq!(net.walk("host"), failed(Failure::Timeout));
    assert_eq!(net.take_sent().iter().filter(|line| line.contains("/host.b/")).count(), 0);
}

#[test]
fn look_ups_of_one_name_are_shared() {
    let mut net = Network::new(&[Server::Answers(MS)], |_| {});
    let LookUp::Pending(first) = net.look_up("zero.example") else { panic!() };
    assert_eq!(net.look_up("zero.example"), LookUp::Pending(first));
    let LookUp::Pending(other) = net.look_up("four.example") else { panic!() };
    assert_ne!(first, other);
    net.settle();
    assert_eq!(net.sent.len(), 4);
    assert_eq!(net.done.len(), 2);
    assert_eq!(net.counters().shared, 1);
}

#[test]
fn the_last_to_cancel_ends_a_look_up() {
    let mut net = Network::new(&[Server::Answers(MS)], |_| {});
    let LookUp::Pending(id) = net.look_up("www.example") else { panic!() };
    net.look_up("www.example");
    net.resolver.cancel(id);
    net.drain();
    assert_eq!((net.open.len(), net.resolver.in_flight()), (2, 1));
    net.resolver.cancel(id);
    net.drain();
    assert_eq!((net.open.len(), net.resolver.in_flight()), (0, 0));
    // Stale ids are ignored, even if the slot has another look-up.
    let LookUp::Pending(next) = net.look_up("www.example") else { panic!() };
    assert_ne!(next, id);
    net.resolver.cancel(id);
    net.settle();
    assert_eq!(net.done.len(), 1);
    assert_eq!(net.done[0].1, next);
}

#[test]
fn look_ups_in_flight_are_bounded() {
    let mut net = Network::new(&[Server::Drops(AAAA)], |settings| settings.look_ups_max = 2);
    net.look_up("www.example");
    net.look_up("four.example");
    assert_eq!(net.look_up("six.example"), LookUp::Full);
    assert!(matches!(net.look_up("www.example"), LookUp::Pending(_)));
    assert_eq!(net.counters().full, 1);
    while net.done.len() < 2 {
        assert!(net.step());
    }
    // Both continue only for the cache: one of them makes room.
    assert_eq!(net.resolver.in_flight(), 2);
    assert!(matches!(net.look_up("six.example"), LookUp::Pending(_)));
    net.settle();
    assert_eq!(net.done.len(), 3);
}

#[test]
fn new_settings_reach_what_is_in_flight() {
    let mut net =
        Network::new(&[Server::Silent, Server::Answers(MS)], |settings| settings.servers.truncate(1));
    let LookUp::Pending(www) = net.look_up("www.example") else { panic!() };
    let LookUp::Pending(now_in_hosts) = net.look_up("h.example") else { panic!() };
    net.wait(S);
    let settings = Settings { servers: vec![server(1)], ..Settings::default() };
    net.resolver.handle_timeout(net.now());
    net.resolver.reconfigure(settings, Hosts::parse(b"192.0.2.5 h.example"));
    net.drain();
    assert_eq!(net.done, [(net.now_us, now_in_hosts, addresses(&["192.0.2.5"]))]);
    let at_us = net.now_us;
    net.settle();
    assert_eq!((net.done[1].0, net.done[1].1), (at_us + MS, www));
    assert_eq!(net.done[1].2, addresses(&["2001:db8::10", "192.0.2.10", "192.0.2.11"]));
    // The cache is cleared.
    net.take_sent();
    net.resolver.reconfigure(Settings { servers: vec![server(1)], ..Settings::default() }, Hosts::default());
    net.resolve("www.example");
    assert_eq!(net.take_sent().len(), 2);
}

#[test]
fn hosts_files() {
    let text = b"127.0.0.1 localhost\n# 192.0.2.1 comment\n192.0.2.1\tone Two.Example. bad..name # three\r\n\
        2001:db8::1 one\n192.0.2.1 one\nfe80::1%lo0 scoped\n::ffff:192.0.2.9 mapped\nnonsense four\n192.0.2.2\n\xff x\n";
    let hosts = Hosts::parse(text);
    for (text, expected) in [
        ("one", Some(&["2001:db8::1", "192.0.2.1"][..])),
        ("two.example", Some(&["192.0.2.1"])),
        ("scoped", Some(&["fe80::1"])),
        ("mapped", Some(&["192.0.2.9"])),
        ("comment", None),
        ("three", None),
        ("four", None),
        ("x", None),
    ] {
        let known = hosts.get(&name(text)).cloned().map(Outcome::Addresses);
        assert_eq!(known, expected.map(addresses), "{text}");
    }
    let many: String = (0..60).map(|n| format!("192.0.2.{n} one\n")).collect();
    let hosts = Hosts::parse(many.as_bytes());
    assert_eq!(hosts.get(&name("one")).unwrap().as_slice().len(), ADDRESSES_MAX);
    (0..text.len()).for_each(|end| drop(Hosts::parse(&text[..end])));
}

/// Anything may happen in any order: every look-up that is not cancelled ends once, and every socket is closed.
#[test]
fn nothing_is_lost_or_left_behind() {
    let kinds = [
        Server::Answers(MS),
        Server::Answers(700 * MS),
        Server::Silent,
        Server::Drops(A),
        Server::Drops(AAAA),
        Server::Refuses,
        Server::Code(2),
        Server::Plain,
        Server::Forged(40),
        Server::Cut(33),
        Server::Slow(A, 80 * MS, 2 * MS),
    ];
    let texts = [
        "www.example",
        "alias.example",
        "loop.example",
        "big.example",
        "none.example",
        "host",
        "lame.example",
    ];
    for seed in 1..60u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as usize % below
        };
        let servers: Vec<Server> = (0..3).map(|_| kinds[random(kinds.len())]).collect();
        let mut net = Network::new(&servers, |settings| {
            settings.search = vec![name("corp.example")];
            settings.look_ups_max = 4;
            settings.rotate = random(2) == 0;
            settings.case_randomised = random(2) == 0;
        });
        net.chases = random(2) == 0;
        let mut waiting: HashMap<LookUpId, usize> = HashMap::new();
        for _ in 0..300 {
            match random(12) {
                0..=3 => match net.look_up(texts[random(texts.len())]) {
                    LookUp::Pending(id) => *waiting.entry(id).or_insert(0) += 1,
                    LookUp::Ready(_) | LookUp::Full => {}
                },
                4 => {
                    let id = waiting.keys().next().copied();
                    if let Some(id) = id {
                        net.resolver.cancel(id);
                        net.drain();
                        let left = waiting.get_mut(&id).unwrap();
                        *left -= 1;
                        if *left == 0 {
                            waiting.remove(&id);
                        }
                    }
                }
                5 => net.servers[random(3)] = kinds[random(kinds.len())],
                6 => net.wait(random(40) as u64 * 100 * MS),
                7 if random(20) == 0 => {
                    let servers = vec![server(1), server(2)];
                    let settings = Settings { servers, look_ups_max: 4, ..Settings::default() };
                    net.resolver.reconfigure(settings, Hosts::default());
                    net.drain();
                }
                _ => drop(net.step()),
            }
            for (_, id, _) in net.done.drain(..) {
                assert!(waiting.remove(&id).is_some(), "seed {seed}: told twice, or without a request");
            }
            assert!(net.open.len() <= 2 * 4, "seed {seed}: too many sockets");
        }
        net.settle();
        for (_, id, _) in net.done.drain(..) {
            assert!(waiting.remove(&id).is_some(), "seed {seed}: told twice, or without a request");
        }
        assert!(waiting.is_empty(), "seed {seed}: {waiting:?} never told");
    }
}

#[test]
fn kind_05_the_names_on_the_way_are_kept_if_they_are_to_be_judged() {
    for chases in [true, false] {
        for (wanted, expected) in [(true, vec!["middle.example", "www.example"]), (false, vec![])] {
            let mut net = Network::new(&[Server::Answers(MS)], |settings| settings.aliases = wanted);
            net.chases = chases;
            for _ in 0..2 {
                let Outcome::Addresses(found) = net.resolve("alias.example").1 else { panic!() };
                let aliases: Vec<&str> = found.aliases().iter().map(Name::as_str).collect();
                assert_eq!(aliases, expected, "{chases}");
            }
        }
    }
}
