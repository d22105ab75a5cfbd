//! Clusters, sentinels and TLS.

use crate::bans;
use crate::cluster::{cluster, cluster_url, finally, run};
use crate::common::{self, Scratch, Weir};
use crate::node::{Node, exactly_the_limit, patient, window};
use crate::redis_server::{RedisServer, is_installed};
use crate::sentinels::Watched;
use ipnet::IpNet;
use rustix::process::Signal;
use std::time::Duration;
use weir::guard::store::{Answer, StoreNews, StoreOrder};
use weir::shell::stores::StoreSettings;

const HOUR_MS: u64 = 3_600_000;

#[test]
fn ours_3_a_cluster_counts_exactly_and_keeps_bans_in_step() {
    let Some(servers) = cluster(0) else { return };
    // One server is enough to find the others.
    let url = cluster_url(&servers[..1]);
    exactly_the_limit(&[Node::start(patient(&url)), Node::start(patient(&url))]);
    bans::heard_by_others(&url);
    bans::emptied(&url, &servers.iter().collect::<Vec<_>>());
    // Keys are on all servers, and one request may ask for all of them.
    let node = Node::start(patient(&url));
    let checks: Vec<_> = (0..50).map(|number| window(&format!("w{number}"), 3, HOUR_MS)).collect();
    let answers = node.ask(1, checks).expect("answers");
    assert!(answers.iter().all(|answer| matches!(answer, Answer::Window { within: true, left: 2, .. })));
    for server in &servers {
        assert!(server.query::<u32>(&["DBSIZE"]) > 3);
    }
}

#[test]
fn keys_that_move_within_a_cluster_are_followed() {
    let Some(servers) = cluster(0) else { return };
    moved(&servers);
}

/// Its servers name ports only, in the list of slots and in redirections.
#[test]
fn keys_that_move_within_a_cluster_without_hosts_are_followed() {
    let Some(servers) = cluster(0) else { return };
    for server in &servers {
        server.query::<()>(&["CONFIG", "SET", "cluster-preferred-endpoint-type", "unknown-endpoint"]);
    }
    moved(&servers);
}

#[track_caller]
fn moved(servers: &[RedisServer]) {
    let node = Node::start(patient(&cluster_url(servers)));
    let mut jobs = 1..;
    let left =
        |answer| if let Answer::Window { left, .. } = answer { left } else { panic!("another answer") };
    assert_eq!(left(node.answered(&mut jobs, &window("moving", 9, HOUR_MS))), 8);
    let key = "guard_core:moving";
    let from = servers.iter().position(|server| server.query::<Vec<String>>(&["KEYS", key]).len() == 1);
    let (from, to) = (&servers[from.expect("the key")], &servers[(from.expect("the key") + 1) % 3]);
    let slot = from.query::<u32>(&["CLUSTER", "KEYSLOT", key]).to_string();
    let (from_id, to_id) =
        (from.query::<String>(&["CLUSTER", "MYID"]), to.query::<String>(&["CLUSTER", "MYID"]));
    to.query::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
    from.query::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
    from.query::<()>(&["MIGRATE", "127.0.0.1", &to.port.to_string(), key, "0", "5000"]);
    // The old server says ASK now.
    assert_eq!(left(node.ask(1000, vec![window("moving", 9, HOUR_MS)]).expect("an answer")[0]), 7);
    for server in [to, from] {
        server.query::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
    }
    // The old server says MOVED now, the first time; then it is not asked any more.
    for expected in [6, 5] {
        let job = jobs.next().expect("a number");
        assert_eq!(left(node.ask(job, vec![window("moving", 9, HOUR_MS)]).expect("an answer")[0]), expected);
    }
}

#[test]
fn a_cluster_that_loses_a_master_goes_on_with_its_replica() {
    let Some(mut servers) = cluster(1) else { return };
    let node = Node::reaching(patient(&cluster_url(&servers)));
    let mut jobs = 1..;
    node.answered(&mut jobs, &window("w", 1, HOUR_MS));
    let has_key = |server: &&mut RedisServer| {
        let role = server.query::<String>(&["INFO", "replication"]);
        role.contains("role:master") && server.query::<u32>(&["DBSIZE"]) == 1
    };
    let master = servers.iter_mut().find(has_key).expect("the master of the key");
    master.kill();
    finally("the replica answers", || {
        node.ask(jobs.next().expect("a number"), vec![window("w", 1, HOUR_MS)]).ok()
    });
}

/// Without a replica, so that its slots stay away and no load of all bans succeeds.
#[test]
fn ours_4_bans_are_heard_while_one_server_of_a_cluster_is_away() {
    let Some(mut servers) = cluster(0) else { return };
    for server in &servers {
        server.query::<()>(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    let url = cluster_url(&servers);
    let mut settings = patient(&url);
    settings.resync_every = Duration::from_millis(100);
    let (one, other) = (Node::reaching(settings.clone()), Node::reaching(settings));
    let is_listened_to =
        |server: &RedisServer| !server.query::<Vec<String>>(&["PUBSUB", "CHANNELS"]).is_empty();
    let away = servers.iter().position(|server| !is_listened_to(server)).expect("a server without listeners");
    servers[away].kill();
    for node in [&one, &other] {
        let news = node.news_until(|news| matches!(news, StoreNews::Lost(_)));
        assert_ne!(news.last(), Some(&StoreNews::Lost("no reply".into())), "a reason is given");
    }
    let living = &servers[(away + 1) % 3];
    let is_away = |key: &str| living.query::<usize>(&["CLUSTER", "KEYSLOT", key]) * 3 / 16384 == away;
    let keys = |last: &usize| {
        ["banned_ips", "ban_reasons", "ban_ends"].map(|kind| format!("guard_core:{kind}:192.0.2.{last}"))
    };
    // The second one has keys on the server that is away, and waits with the third behind it.
    let (whole, waiting): (Vec<usize>, Vec<usize>) =
        (1..99).partition(|last| !keys(last).iter().any(|key| is_away(key)));
    for last in [whole[0], waiting[0], whole[1]] {
        let network: IpNet = format!("192.0.2.{last}/32").parse().expect("a network");
        one.client.order(StoreOrder::Ban { network, until_unix_ms: None, reason: "r".into() });
        other
            .news_until(|news| matches!(news, StoreNews::Banned { network: found, .. } if *found == network));
    }
    servers[away].restart();
    other.news_until(|news| matches!(news, StoreNews::AllBans(all) if all.len() == 3));
}

#[test]
fn ours_3_sentinels_lead_to_the_new_master() {
    let Some(mut watched) = Watched::start(1) else { return };
    let mut settings = patient(&watched.url());
    settings.resync_every = Duration::from_millis(200);
    let node = Node::reaching(settings);
    let mut jobs = 1..;
    node.answered(&mut jobs, &window("w", 1, HOUR_MS));
    assert!(
        watched.master.query::<bool>(&["EXISTS", "guard_core:w"]),
        "the master was asked, not the replica"
    );
    watched.master.kill();
    finally("the new master answers", || {
        node.ask(jobs.next().expect("a number"), vec![window("w", 1, HOUR_MS)]).ok()
    });
    assert!(watched.replica_is_master());
    bans::heard_by_others(&watched.url());
}

/// A frozen master closes no connection. No load tells of the bans: the messages alone do.
#[test]
fn ours_4_bans_are_heard_after_a_frozen_master_was_replaced() {
    let Some(watched) = Watched::start(1) else { return };
    let mut settings = patient(&watched.url());
    settings.resync_every = Duration::from_secs(3600);
    settings.read_timeout = Duration::from_millis(500);
    settings.connect_timeout = Duration::from_millis(500);
    let (one, other) = (Node::reaching(settings.clone()), Node::reaching(settings));
    watched.master.signal(Signal::STOP);
    finally("the replica is master", || watched.replica_is_master().then_some(()));
    finally("a ban crosses", || {
        let network = "192.0.2.1/32".parse().expect("a network");
        one.client.order(StoreOrder::Ban { network, until_unix_ms: None, reason: "r".into() });
        std::thread::sleep(Duration::from_millis(200));
        other.news().iter().any(|news| matches!(news, StoreNews::Banned { .. })).then_some(())
    });
}

/// An authority of its own, and a server's certificate for 127.0.0.1, made with `openssl`.
fn certificates(scratch: &Scratch) {
    let path = |name: &str| scratch.join(name);
    let new_key =
        ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=weir test"];
    let words = ["req", "-x509", "-days", "2", "-keyout", &path("ca.key"), "-out", &path("ca.pem")];
    run("openssl", &[&words[..], &new_key[..]].concat());
    let words = ["req", "-keyout", &path("server.key"), "-out", &path("server.csr")];
    run("openssl", &[&words[..], &new_key[..]].concat());
    let names = scratch.file("names", "subjectAltName=IP:127.0.0.1\n");
    let words = ["x509", "-req", "-days", "2", "-in", &path("server.csr"), "-CA", &path("ca.pem")];
    let more =
        ["-CAkey", &path("ca.key"), "-CAcreateserial", "-extfile", &names, "-out", &path("server.pem")];
    run("openssl", &[&words[..], &more[..]].concat());
}

#[test]
#[cfg_attr(not(feature = "tls"), ignore = "needs the feature tls")]
fn tls_holds_with_roots_of_ones_own_and_not_without() {
    if !is_installed("openssl") {
        return;
    }
    let scratch = Scratch::new();
    certificates(&scratch);
    let (certificate, key, roots) =
        (scratch.join("server.pem"), scratch.join("server.key"), scratch.join("ca.pem"));
    let options = [
        ["--tls-port", "{port}"],
        ["--tls-cert-file", &certificate],
        ["--tls-key-file", &key],
        ["--tls-ca-cert-file", &roots],
        ["--tls-auth-clients", "no"],
    ];
    let Some(server) = RedisServer::start_with(&options.concat()) else { return };
    let mut settings: StoreSettings = patient(&tls_url(&server));
    let stranger = Node::start(settings.clone());
    assert!(stranger.ask(1, vec![window("w", 1, HOUR_MS)]).is_err(), "a certificate of an unknown authority");
    settings.roots_pem = Some(std::fs::read(&roots).expect("a file").into());
    let (one, other) = (Node::start(settings.clone()), Node::start(settings));
    exactly_the_limit(&[one, other]);
    // The daemon cannot read the certificates of the system in its sandbox, and need not.
    let lines =
        |more: &str| format!("store {} {more} deadline 5s\nlimit 9/1h per client\n", tls_url(&server));
    let trusting = scratch.file("trusting.conf", lines("roots ca.pem"));
    let weir = Weir::start(&["--guard", &trusting]);
    weir.wait_for_error(|line| line.contains("the store answers"));
    let missing = common::run(&["--guard", &scratch.file("missing.conf", lines("roots no.pem")), "--check"]);
    assert!(missing.code == 78 && missing.err.contains("missing.conf:1: "), "{missing:?}");
    let weir = Weir::start(&["--guard", &scratch.file("others.conf", lines(""))]);
    let lost = weir.wait_for_error(|line| line.contains("the store does not answer"));
    assert!(lost.contains("UnknownIssuer"), "{lost}");
}

fn tls_url(server: &RedisServer) -> String {
    format!("rediss://127.0.0.1:{}", server.port)
}
