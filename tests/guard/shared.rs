//! Two daemons that share a store, and a store that is killed, frozen and restarted.

use super::ask;
use super::redis_server::RedisServer;
use crate::common::{Origin, Scratch, Weir, eventually};
use rustix::process::Signal;

/// Daemons with the same guard file, and the store that they share.
struct Fleet {
    redis: RedisServer,
    weirs: Vec<Weir>,
    origin: Origin,
    _scratch: Scratch,
}

impl Fleet {
    /// `None` without a Redis server, which is a failure in continuous integration.
    fn start(lines: &str, more: &str) -> Option<Fleet> {
        let redis = RedisServer::start()?;
        let scratch = Scratch::new();
        let url = redis.url();
        let file = scratch.file("guard.conf", format!("trust 127.0.0.0/8\nstore {url} {more}\n{lines}\n"));
        let start = |loops: &str| Weir::start(&["--guard", &file, "--workers", loops]);
        let weirs = vec![start("1"), start("2")];
        for weir in &weirs {
            weir.wait_for_error(|line| line.contains("the store answers"));
        }
        Some(Fleet { redis, weirs, origin: Origin::ok(), _scratch: scratch })
    }

    #[track_caller]
    fn get(&self, weir: usize, client: &str) -> u16 {
        ask(&mut self.weirs[weir].connect(), &self.origin, client, "GET", "/", "").0
    }
}

#[test]
fn ours_3_exactly_n_of_n_pass_over_two_daemons() {
    let Some(fleet) = Fleet::start("limit 50/10m per client", "on-failure closed deadline 5s") else {
        return;
    };
    let passed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..64)
            .map(|number| {
                let fleet = &fleet;
                scope.spawn(move || (0..3).filter(|_| fleet.get(number % 2, "192.0.2.1") == 200).count())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a client")).sum()
    });
    assert_eq!(passed, 50);
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
    // A request that is under way when the ban arrives is cut.
    let asked = |client: &str| {
        let mut raw = fleet.weirs[1].connect();
        let (url, host) = (fleet.origin.url("/"), fleet.origin.address());
        raw.send(format!("GET {url} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: {client}\r\n\r\n"));
        raw.try_read_response("GET").map_or(0, |response| response.status())
    };
    eventually("the other daemon knows of the ban", || (asked("192.0.2.1") == 403).then_some(()));
    assert_eq!(fleet.get(1, "192.0.2.2"), 200);
    // As the reference library writes it.
    let until: String = fleet.redis.query(&["GET", "guard_core:banned_ips:192.0.2.1"]);
    assert!(until.parse::<f64>().is_ok_and(|until| until > 1.7e9), "{until}");
}

#[test]
fn escalation_is_shared() {
    let Some(fleet) = Fleet::start("escalate 4/10m block 15m after 3", "deadline 5s") else { return };
    let statuses: Vec<u16> = (0..8).map(|turn| fleet.get(turn % 2, "192.0.2.1")).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 429, 429, 429, 429]);
}

#[test]
fn ours_3_without_the_store_the_policy_holds() {
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
