//! Two daemons that share a store, and a store that is killed, frozen and restarted.

use super::ask;
use super::redis_server::RedisServer;
use crate::cluster::{cluster, cluster_url, finally};
use crate::common::{Origin, Run, Scratch, Weir, eventually, run};
use crate::sentinels::Watched;
use rustix::process::Signal;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Daemons with the same guard file, and the store that they share.
struct Fleet {
    redis: RedisServer,
    daemons: Daemons,
}

impl std::ops::Deref for Fleet {
    type Target = Daemons;

    fn deref(&self) -> &Daemons {
        &self.daemons
    }
}

/// Two daemons with the same guard file.
struct Daemons {
    weirs: Vec<Weir>,
    origin: Origin,
    scratch: Scratch,
}

fn guard_file(url: &str, lines: &str, more: &str) -> String {
    format!("trust 127.0.0.0/8\nstore {url} {more}\n{lines}\n")
}

impl Fleet {
    /// `None` without a Redis server, which is a failure in continuous integration.
    fn start(lines: &str, more: &str) -> Option<Fleet> {
        let redis = RedisServer::start()?;
        let daemons = Daemons::start(&redis.url(), lines, more);
        Some(Fleet { redis, daemons })
    }
}

impl Daemons {
    /// Waits until both reach the store of that URL.
    fn start(url: &str, lines: &str, more: &str) -> Daemons {
        let scratch = Scratch::new();
        let file = scratch.file("guard.conf", guard_file(url, lines, more));
        let start = |loops: &str| {
            let control = scratch.join(loops);
            let operated: &[&str] = if cfg!(feature = "admin") { &["--control", &control] } else { &[] };
            Weir::start(&[&["--guard", &file, "--workers", loops], operated].concat())
        };
        let weirs = vec![start("1"), start("2")];
        for weir in &weirs {
            weir.wait_for_error(|line| line.contains("the store answers"));
        }
        Daemons { weirs, origin: Origin::ok(), scratch }
    }

    /// Gives both another guard file, and waits until they have read it.
    fn reload(&self, url: &str, lines: &str, more: &str) {
        self.reload_file(&guard_file(url, lines, more));
    }

    fn reload_file(&self, text: &str) {
        self.scratch.file("guard.conf", text);
        for weir in &self.weirs {
            let reloads = || weir.error_lines().iter().filter(|line| line.contains(" reloaded: ")).count();
            let before = reloads();
            weir.signal(Signal::HUP);
            eventually("the guard file is read", || (reloads() > before).then_some(()));
        }
    }

    /// Has one of them obey.
    fn ctl(&self, weir: usize, words: &[&str]) -> Run {
        let control = self.scratch.join(&(weir + 1).to_string());
        run(&[&["ctl", "--control", &control], words].concat())
    }

    #[track_caller]
    fn get(&self, weir: usize, client: &str) -> u16 {
        self.get_path(weir, client, "/")
    }

    #[track_caller]
    fn get_path(&self, weir: usize, client: &str, path: &str) -> u16 {
        ask(&mut self.weirs[weir].connect(), &self.origin, client, "GET", path, "").0
    }

    /// Whether a client is refused by now. A request that is under way when the ban arrives is cut.
    fn is_banned(&self, weir: usize, client: &str) -> bool {
        let mut raw = self.weirs[weir].connect();
        let (url, host) = (self.origin.url("/"), self.origin.address());
        raw.send(format!("GET {url} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: {client}\r\n\r\n"));
        raw.try_read_response("GET").is_ok_and(|response| response.status() == 403)
    }

    /// How many of 192 requests pass that 64 clients make at once.
    fn passed(&self, client: &str) -> usize {
        std::thread::scope(|scope| {
            let asks = |number: usize| (0..3).filter(|_| self.get(number % 2, client) == 200).count();
            let threads: Vec<_> = (0..64).map(|number| scope.spawn(move || asks(number))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a client")).sum()
        })
    }
}

#[test]
fn ours_3_exactly_n_of_n_pass_over_two_daemons() {
    let Some(fleet) = Fleet::start("limit 50/10m per client", "on-failure closed deadline 5s") else {
        return;
    };
    assert_eq!(fleet.passed("192.0.2.1"), 50);
    assert_eq!(fleet.redis.query::<u64>(&["EXISTS", "guard_core:rate_limit:rate:192.0.2.1"]), 1);
}

#[test]
fn a_ban_of_one_daemon_stops_the_client_in_the_other() {
    let Some(fleet) = Fleet::start("limit 1/10m per client\nban-after limit 2 in 10m for 1h", "deadline 5s")
    else {
        return;
    };
    assert_eq!([fleet.get(0, "192.0.2.1"), fleet.get(0, "192.0.2.1")], [200, 429]);
    assert_eq!(fleet.get(0, "192.0.2.1"), 429);
    assert_eq!(fleet.get(0, "192.0.2.1"), 403);
    eventually("the other daemon knows of the ban", || fleet.is_banned(1, "192.0.2.1").then_some(()));
    assert_eq!(fleet.get(1, "192.0.2.2"), 200);
    // As the reference library writes it.
    let until: String = fleet.redis.query(&["GET", "guard_core:banned_ips:192.0.2.1"]);
    assert!(until.parse::<f64>().is_ok_and(|until| until > 1.7e9), "{until}");
}

/// The store tells which requests are violations, and when the next one passes.
#[test]
fn guard_6_the_violation_that_blocks_counts_towards_a_ban() {
    let lines = "escalate 1/10m block 1h after 1\nlimit 1/5m per client\nban-after limit 2 in 10m for 1h";
    let Some(fleet) = Fleet::start(lines, "on-failure closed deadline 5s") else { return };
    assert_eq!([0, 1, 0, 1, 0].map(|daemon| fleet.get(daemon, "192.0.2.1")), [200, 429, 429, 429, 429]);
    let lines = "escalate 1/10m block 1h after 1\nban-after limit 1 in 10m for 1h";
    let Some(fleet) = Fleet::start(lines, "on-failure closed deadline 5s") else { return };
    assert_eq!([0, 1, 1].map(|daemon| fleet.get(daemon, "192.0.2.1")), [200, 429, 403]);
}

#[test]
fn ours_4_a_ban_of_the_store_that_does_not_count_is_logged() {
    let Some(fleet) = Fleet::start("limit 9/10m per client", "deadline 5s") else { return };
    // A daemon that does not listen yet finds it with its first load.
    fleet.redis.query::<()>(&["SET", "guard_core:banned_networks:127.0.0.0/9", "253402300799"]);
    fleet.redis.query::<()>(&["PUBLISH", "guard_core:bans", "another ban 127.0.0.0/9 - r"]);
    let is_told = |line: &str| line.contains("store: 127.0.0.0/9 is not banned: loopback addresses");
    fleet.weirs.iter().for_each(|weir| drop(weir.wait_for_error(is_told)));
    assert_eq!(fleet.get(0, "192.0.2.1"), 200);
}

/// Bans are in every process, so that a request which is not counted asks the store for nothing.
#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn ours_4_bans_are_looked_up_without_the_store() {
    let Some(fleet) = Fleet::start("limit 9/10m per client path /counted", "deadline 5s") else { return };
    assert_eq!(fleet.get(1, "192.0.2.1"), 200);
    assert_eq!(fleet.ctl(0, &["ban", "192.0.2.0/24", "for", "1h"]).code, 0);
    eventually("the ban has crossed", || fleet.is_banned(1, "192.0.2.1").then_some(()));
    for weir in [0, 1] {
        let told = fleet.ctl(weir, &["stats"]).out;
        let asked = told.lines().find(|line| line.starts_with("guard_store_questions "));
        assert!(asked.is_none_or(|line| line.ends_with(" 0")), "{told}");
    }
    // What a server has is scanned, and never listed at once.
    let commands = fleet.redis.query::<String>(&["INFO", "commandstats"]);
    assert!(commands.contains("cmdstat_scan:") && !commands.contains("cmdstat_keys:"), "{commands}");
}

/// The reference library writes its fields there, and reads them over its configuration.
#[test]
fn ours_9_the_store_overrides_no_field() {
    let Some(redis) = RedisServer::start() else { return };
    for (name, value) in [
        ("csp_config", r#"{"default-src": ["'none'"]}"#),
        ("hsts_config", r#"{"max_age": 1, "include_subdomains": false, "preload": false}"#),
        ("custom_headers", r#"{"X-Frame-Options": "DENY", "X-Stored": "1"}"#),
    ] {
        redis.query::<()>(&["SET", &format!("guard_core:security_headers:{name}"), value]);
    }
    let (origin, scratch) = (Origin::ok(), Scratch::new());
    let routes = scratch.file("gateway.conf", format!("*/ -> {}\n", origin.address()));
    let guard = scratch.file("guard.conf", format!("headers on\nstore {}\n", redis.url()));
    let weir = Weir::start(&["--gateway", &routes, "--guard", &guard]);
    weir.wait_for_error(|line| line.contains("the store answers"));
    let answer = weir.connect().ask("GET / HTTP/1.1\r\nHost: app.example\r\n\r\n");
    assert_eq!(answer.head.all("x-frame-options"), ["SAMEORIGIN"]);
    assert!(!answer.head.has("x-stored") && !answer.head.has("content-security-policy"));
}

#[test]
fn escalation_is_shared() {
    let Some(fleet) = Fleet::start("escalate 4/10m block 15m after 3", "deadline 5s") else { return };
    let statuses: Vec<u16> = (0..8).map(|turn| fleet.get(turn % 2, "192.0.2.1")).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 429, 429, 429, 429]);
}

#[test]
fn ours_3_and_fault_13_9_without_the_store_the_policy_holds_at_the_deadline() {
    for (policy, expected) in
        [("local", [200, 200, 429]), ("open", [200, 200, 200]), ("closed", [503, 503, 503])]
    {
        let more = format!("on-failure {policy} deadline 50ms");
        let Some(mut fleet) = Fleet::start("limit 2/10m per client", &more) else { return };
        // Frozen: connections stand and nothing is answered.
        fleet.redis.signal(Signal::STOP);
        let found = [(); 3].map(|()| fleet.get(0, "192.0.2.1"));
        assert_eq!(found, expected, "{policy}, frozen");
        fleet.redis.signal(Signal::CONT);
        fleet.redis.kill();
        let found = [(); 3].map(|()| fleet.get(1, "192.0.2.2"));
        assert_eq!(found, expected, "{policy}, killed");
        fleet.redis.restart();
        // In step again: both count in the store.
        eventually("the store is asked again", || {
            let client = "192.0.2.3";
            let statuses = [fleet.get(0, client), fleet.get(1, client), fleet.get(0, client)];
            (statuses[2] == 429
                && fleet.redis.query::<u64>(&["EXISTS", &format!("guard_core:rate_limit:rate:{client}")])
                    == 1)
                .then_some(())
        });
    }
}

/// The store is frozen, killed and started again while sixteen clients ask all the time: requests that need no store pass, the
/// others have an answer of the policy, and afterwards the limit is exact over both.
#[test]
fn ours_3_a_store_that_fails_under_load_concerns_only_what_it_counts() {
    for (policy, answers) in [("local", &[200, 429][..]), ("open", &[200, 429]), ("closed", &[200, 429, 503])]
    {
        let more = format!("on-failure {policy} deadline 50ms");
        let lines = "limit 50/10m per client\nexempt 198.51.100.0/24";
        let Some(Fleet { mut redis, daemons }) = Fleet::start(lines, &more) else { return };
        let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for number in 0..16 {
                let (daemons, stop, asked) = (&daemons, &stop, &asked);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        assert_eq!(daemons.get(number % 2, "198.51.100.1"), 200, "{policy}: needs no store");
                        let status = daemons.get(number % 2, &format!("192.0.2.{number}"));
                        assert!(answers.contains(&status), "{policy}: {status}");
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let go_on = || {
                let enough = asked.load(Ordering::Relaxed) + 160;
                eventually("requests go on", || (asked.load(Ordering::Relaxed) >= enough).then_some(()));
            };
            go_on();
            redis.signal(Signal::STOP);
            go_on();
            redis.signal(Signal::CONT);
            go_on();
            redis.kill();
            go_on();
            redis.restart();
            eventually("both ask the store again", || {
                let counted = |weir: usize| {
                    let client = format!("192.0.2.{}", 70 + weir);
                    daemons.get(weir, &client);
                    redis.query::<u64>(&["EXISTS", &format!("guard_core:rate_limit:rate:{client}")]) == 1
                };
                (counted(0) && counted(1)).then_some(())
            });
            go_on();
            stop.store(true, Ordering::Relaxed);
        });
        // A question that a busy machine answers after the deadline goes by the policy, so a round of questions may fail.
        let mut clients = 100..;
        eventually("the limit is exact again", || {
            let client = clients.next().expect("another client");
            (daemons.passed(&format!("192.0.2.{client}")) == 50).then_some(())
        });
    }
}

/// Keys are on three servers: limits and bans are as exact and as quick as on one.
#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn ours_3_exactly_n_of_n_pass_and_bans_cross_over_a_cluster() {
    let Some(servers) = cluster(0) else { return };
    let lines = "limit 50/10m per client\nescalate 1/10m block 15m after 1 per client+path path /b";
    let fleet = Daemons::start(&cluster_url(&servers[..1]), lines, "on-failure closed deadline 5s");
    for client in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        assert_eq!(fleet.passed(client), 50, "{client}");
    }
    let keys: Vec<u64> = servers.iter().map(|server| server.query::<u64>(&["DBSIZE"])).collect();
    assert!(keys.iter().sum::<u64>() >= 3, "{keys:?}");
    assert_eq!(fleet.get(1, "192.0.2.9"), 200);
    assert_eq!(fleet.ctl(0, &["ban", "192.0.2.9", "for", "1h"]).code, 0);
    eventually("the ban has crossed", || fleet.is_banned(1, "192.0.2.9").then_some(()));
    assert_eq!(fleet.ctl(1, &["unban", "192.0.2.9"]).code, 0);
    eventually("so has its end", || (fleet.get(0, "192.0.2.9") == 200).then_some(()));
    // What was counted for more than the client lies on any of the servers, and is forgotten on all.
    let paths: Vec<String> = (0..9).map(|number| format!("/b{number}")).collect();
    for path in &paths {
        let statuses = [0, 1, 0].map(|weir| fleet.get_path(weir, "192.0.2.7", path));
        assert_eq!(statuses, [200, 429, 429]);
        assert_eq!(fleet.get_path(0, "192.0.2.77", path), 200);
    }
    assert_eq!(fleet.ctl(1, &["unblock", "192.0.2.7"]).code, 0);
    let counted = || {
        let pattern = "guard_core:escalation:192.0.2.7:*";
        let on = |server: &RedisServer| server.query::<Vec<String>>(&["KEYS", pattern]).len();
        servers.iter().map(on).sum::<usize>()
    };
    eventually("all keys of the client are gone", || (counted() == 0).then_some(()));
    assert_eq!(paths.iter().filter(|path| fleet.get_path(0, "192.0.2.7", path) == 200).count(), 9);
    // Those of others are not.
    assert_eq!(fleet.get_path(1, "192.0.2.77", &paths[0]), 429);
}

/// The master dies, and the sentinels put its replica in its place: what was counted and banned stays, and goes on.
#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn ours_3_limits_and_bans_go_on_after_a_failover_of_the_sentinels() {
    let Some(mut watched) = Watched::start(3) else { return };
    let fleet = Daemons::start(&watched.url(), "limit 50/10m per client", "on-failure closed deadline 5s");
    let (before, banned, fresh, late) = ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4");
    assert_eq!(fleet.passed(before), 50);
    assert_eq!(fleet.ctl(0, &["ban", banned, "for", "1h"]).code, 0);
    // Replication is asynchronous.
    finally("the replica has what was counted and banned", || {
        let keys = ["guard_core:rate_limit:rate:192.0.2.1", "guard_core:banned_ips:192.0.2.2"];
        let exists = |key: &str| watched.replica.query::<u64>(&["EXISTS", key]);
        (keys.map(exists) == [1, 1] && watched.replica.query::<u64>(&["ZCARD", keys[0]]) == 51).then_some(())
    });
    watched.master.kill();
    for weir in [0, 1] {
        finally("the new master refuses who was at the limit", || {
            (fleet.get(weir, before) == 429).then_some(())
        });
        finally("and passes others", || (fleet.get(weir, late) == 200).then_some(()));
        assert_eq!(fleet.get(weir, banned), 403);
    }
    assert!(watched.replica_is_master());
    assert_eq!(fleet.passed(fresh), 50);
    assert_eq!(fleet.ctl(1, &["ban", late, "for", "1h"]).code, 0);
    finally("a ban crosses", || fleet.is_banned(0, late).then_some(()));
    assert_eq!(fleet.ctl(0, &["unban", banned]).code, 0);
    finally("so does the end of one", || (fleet.get(1, banned) == 200).then_some(()));
}

/// The present connection answers until the new one stands.
#[test]
fn a_changed_store_line_fails_no_request() {
    let lines = "limit 100000/10m per client";
    let Some(fleet) = Fleet::start(lines, "on-failure closed deadline 5s") else { return };
    let Some(other) = RedisServer::start() else { return };
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ask = |number: usize| {
            let mut answers = 0;
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(fleet.get(number % 2, "192.0.2.1"), 200);
                answers += 1;
            }
            answers
        };
        let clients: Vec<_> = (0..6).map(|number| scope.spawn(move || ask(number))).collect();
        for turn in 0..4 {
            fleet.reload(&fleet.redis.url(), lines, &format!("on-failure closed deadline {}s", 6 + turn));
            fleet.reload(&other.url(), lines, "on-failure closed deadline 5s");
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(clients.into_iter().all(|client| client.join().expect("a client") > 0));
    });
    eventually("the other store counts", || {
        assert_eq!(fleet.get(0, "192.0.2.2"), 200);
        other.query::<bool>(&["EXISTS", "guard_core:rate_limit:rate:192.0.2.2"]).then_some(())
    });
}

/// The orders that wait, and the bans that were made, outlive the client that knew them.
#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn bans_outlive_a_changed_store_line() {
    let lines = "limit 50/10m per client";
    let Some(mut fleet) = Fleet::start(lines, "deadline 5s") else { return };
    assert_eq!(fleet.ctl(0, &["ban", "192.0.2.1"]).code, 0);
    eventually("the ban has crossed", || fleet.is_banned(1, "192.0.2.1").then_some(()));
    fleet.redis.kill();
    for weir in &fleet.weirs {
        weir.wait_for_error(|line| line.contains("does not answer"));
    }
    assert_eq!(fleet.ctl(0, &["ban", "192.0.2.2"]).code, 0);
    fleet.reload(&fleet.redis.url(), lines, "deadline 6s");
    fleet.redis.restart();
    let exists =
        |address: &str| fleet.redis.query::<bool>(&["EXISTS", &format!("guard_core:banned_ips:{address}")]);
    eventually("the ban that waited is written", || exists("192.0.2.2").then_some(()));
    eventually("and is known to all", || fleet.is_banned(1, "192.0.2.2").then_some(()));
}

/// To another connection to the store, another store, another prefix, and to a store after none.
#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn ours_4_bans_of_a_daemon_go_with_it_to_another_store() {
    let lines = "limit 1/10m per client\nban-after limit 2 in 10m for 1h";
    let Some(fleet) = Fleet::start(lines, "deadline 5s") else { return };
    let Some(other) = RedisServer::start() else { return };
    let (by_hand, automatic, late) = ("192.0.2.1", "192.0.2.2", "192.0.2.3");
    assert_eq!(fleet.ctl(0, &["ban", by_hand, "reason", "abuse"]).code, 0);
    assert_eq!([(); 4].map(|()| fleet.get(0, automatic)), [200, 429, 429, 403]);
    let moves = |clients: &[&str], redis: &RedisServer, more: &str, prefix: &str| {
        let reached =
            |weir: &Weir| weir.error_lines().iter().filter(|line| line.contains("the store answers")).count();
        let before: Vec<usize> = fleet.weirs.iter().map(reached).collect();
        fleet.reload(&redis.url(), lines, more);
        for (weir, before) in fleet.weirs.iter().zip(before) {
            eventually("the bans of the store are loaded", || (reached(weir) > before).then_some(()));
        }
        for client in clients {
            assert!(fleet.is_banned(0, client), "{client} after {more}");
            let key = format!("{prefix}banned_ips:{client}");
            eventually("the store has the ban", || redis.query::<bool>(&["EXISTS", &key]).then_some(()));
            eventually("and the other daemon", || fleet.is_banned(1, client).then_some(()));
        }
        let told = fleet.ctl(0, &["bans"]).out;
        let is_by = |client, by| told.lines().any(|line| line.starts_with(client) && line.contains(by));
        assert!(is_by(by_hand, "  control  abuse"), "{told}");
        assert!(is_by(automatic, "  ban-after, guard:4  threshold_exceeded"), "{told}");
    };
    moves(&[by_hand, automatic], &fleet.redis, "deadline 6s", "guard_core:");
    moves(&[by_hand, automatic], &other, "deadline 6s", "guard_core:");
    moves(&[by_hand, automatic], &other, "deadline 6s prefix p:", "p:");
    fleet.reload_file(&format!("trust 127.0.0.0/8\n# no store\n{lines}\n"));
    assert_eq!(fleet.ctl(0, &["ban", late]).code, 0);
    moves(&[by_hand, automatic, late], &fleet.redis, "deadline 5s", "guard_core:");
}

/// What one has counted by itself decides as soon as the store is away.
#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn ours_6_an_unblocked_client_is_forgotten_in_all_processes() {
    let rule = "escalate 1/10m block 10m after 1 forever after 1 in 24h";
    let lines = format!("{rule}\n{rule} per client+host path /p/");
    let Some(mut fleet) = Fleet::start(&lines, "deadline 5s") else { return };
    let (client, other) = ("192.0.2.1", "192.0.2.2");
    for client in [client, other] {
        assert_eq!(fleet.get(0, client), 200);
        assert_eq!([(); 2].map(|()| fleet.get_path(0, client, "/p/")), [403, 403]);
    }
    assert_eq!(fleet.ctl(1, &["unblock", client]).code, 0);
    eventually("the other process has forgotten", || {
        (!fleet.ctl(0, &["limits", client]).out.contains("blocked for ever")).then_some(())
    });
    fleet.redis.kill();
    let statuses = [client, other].map(|client| fleet.get_path(0, client, "/p/"));
    assert_eq!(statuses, [200, 403]);
}

/// Every program that may write to the store can make such a key.
#[test]
fn ours_3_a_key_that_holds_something_else_opens_no_breaker() {
    let lines = "limit 5/10m per client\nescalate 1000/10m block 15m after 3";
    let Some(fleet) = Fleet::start(lines, "on-failure closed deadline 5s") else { return };
    fleet.redis.query::<()>(&["SET", "guard_core:rate_limit:rate:192.0.2.6", "no set"]);
    fleet.redis.query::<()>(&["HSET", "guard_core:escalation:192.0.2.7", "count", "no number"]);
    for weir in [0, 1] {
        for _ in 0..4 {
            assert_eq!([fleet.get(weir, "192.0.2.6"), fleet.get(weir, "192.0.2.7")], [503, 503]);
        }
    }
    let statuses: Vec<u16> = (0..8).map(|turn| fleet.get(turn % 2, "192.0.2.1")).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429, 429]);
    fleet.weirs[0].wait_for_error(|line| line.contains("holds something else"));
}

/// The server stands still, so that its connections stand as well.
#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn ours_3_questions_without_answers_reach_the_log_and_the_events_once() {
    let Some(fleet) = Fleet::start("limit 50/10m per client", "on-failure closed deadline 50ms") else {
        return;
    };
    let told = |what: &str| fleet.weirs[0].error_lines().iter().filter(|line| line.contains(what)).count();
    fleet.redis.signal(Signal::STOP);
    let statuses = [(); 9].map(|()| fleet.get(0, "192.0.2.1"));
    assert_eq!(statuses, [503; 9]);
    fleet.weirs[0].wait_for_error(|line| line.contains("the store does not answer: no reply in time"));
    assert_eq!(told("does not answer"), 1);
    let events = fleet.ctl(0, &["events"]).out;
    assert_eq!(events.lines().filter(|line| line.contains("redis_error")).count(), 1, "{events}");
    fleet.redis.signal(Signal::CONT);
    eventually("the store answers again", || (fleet.get(0, "192.0.2.1") == 200).then_some(()));
    eventually("and the log says so", || (told("the store answers") == 2).then_some(()));
}

#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn ours_12_metrics_tell_what_the_store_has_done() {
    let Some(mut fleet) = Fleet::start("limit 50/10m per client", "deadline 5s") else { return };
    let number = |fleet: &Fleet, name: &str| {
        let told = fleet.ctl(0, &["stats"]).out;
        let mut pairs = told.lines().filter_map(|line| line.split_once(' '));
        pairs
            .find(|(found, _)| *found == name)
            .map_or(0, |(_, number)| number.parse::<u64>().expect("a number"))
    };
    (0..3).for_each(|_| assert_eq!(fleet.get(0, "192.0.2.1"), 200));
    let names = ["guard_store_questions", "guard_store_answers", "guard_store_late", "guard_breaker_open"];
    assert_eq!(names.map(|name| number(&fleet, name)), [3, 3, 0, 0]);
    assert!(number(&fleet, "guard_store_connections") > 0);
    let text = fleet.ctl(0, &["stats", "--openmetrics"]).out;
    for line in [
        "weir_guard_store_seconds_count 3\n",
        "weir_guard_store_questions_total 3\n",
        "weir_guard_breaker_open 0\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    fleet.redis.kill();
    eventually("the breaker opens", || {
        fleet.get(0, "192.0.2.1");
        (number(&fleet, "guard_breaker_open") == 1).then_some(())
    });
    assert!(number(&fleet, "guard_store_unreachable") >= 3);
    fleet.redis.restart();
    eventually("the breaker closes", || {
        fleet.get(0, "192.0.2.1");
        (number(&fleet, "guard_breaker_open") == 0).then_some(())
    });
    assert_eq!(number(&fleet, "guard_breaker_opened"), 1);
}
