//! Questions that fail while the connection stands: told as a store that does not answer, unless only one key is to blame.

use crate::cluster::{cluster, cluster_url};
use crate::common::{DEADLINE, eventually};
use crate::node::{Node, patient, window};
use crate::redis_server::RedisServer;
use rustix::process::Signal;
use std::sync::mpsc::channel;
use std::time::Duration;
use weir::guard::store::{Check, EscalationConstants, StoreFailure, StoreNews};
use weir::guard::values::{ValueAnswer, ValueRequest};

const HOUR_MS: u64 = 3_600_000;

fn escalation(key: &str) -> Check {
    let constants = EscalationConstants {
        requests_max: 9,
        window_ms: HOUR_MS,
        block_after: 2,
        block_ms: HOUR_MS,
        permanent_after: None,
        permanent_window_ms: HOUR_MS,
    };
    Check::Escalation { key: key.into(), constants }
}

fn reason(news: &StoreNews) -> Option<&str> {
    if let StoreNews::Lost(reason) = news { Some(reason) } else { None }
}

#[test]
fn ours_3_a_server_that_refuses_all_questions_is_told_with_its_reason() {
    let Some(server) = RedisServer::start() else { return };
    server.query::<()>(&["ACL", "SETUSER", "weak", "on", ">pw", "~*", "&*", "+@all", "-@scripting"]);
    let node = Node::reaching(patient(&format!("redis://weak:pw@127.0.0.1:{}", server.port)));
    for job in 1..=6 {
        assert_eq!(node.ask(7 * job, vec![window("w", 9, HOUR_MS)]), Err(StoreFailure::Refused));
    }
    let news = node.news_until(|news| reason(news).is_some());
    let told = news.last().and_then(reason).expect("a reason");
    assert!(told.contains("no permissions"), "{told}");
    assert_eq!(node.news().iter().filter(|news| reason(news).is_some()).count(), 0, "once");
    server.query::<()>(&["ACL", "SETUSER", "weak", "+@all"]);
    node.answered(&mut (100..), &window("w", 9, HOUR_MS));
    node.news_until(|news| *news == StoreNews::Reached);
}

#[test]
fn ours_3_a_server_that_stands_still_is_told_though_its_connections_stand() {
    let Some(server) = RedisServer::start() else { return };
    let mut settings = patient(&server.url());
    settings.deadline = Duration::from_millis(50);
    let node = Node::reaching(settings);
    server.signal(Signal::STOP);
    for job in 1..=3 {
        assert_eq!(node.ask(7 * job, vec![window("w", 9, HOUR_MS)]), Err(StoreFailure::Late));
    }
    node.news_until(|news| reason(news) == Some("no reply in time"));
    server.signal(Signal::CONT);
    node.answered(&mut (100..), &window("w", 9, HOUR_MS));
    node.news_until(|news| *news == StoreNews::Reached);
}

#[test]
fn ours_3_a_replica_that_takes_no_writes_is_told_with_its_reason() {
    let Some(server) = RedisServer::start() else { return };
    let place = format!("127.0.0.1 {}", server.port);
    let options = ["--replicaof", &place, "--repl-diskless-sync-delay", "0"];
    let Some(replica) = RedisServer::start_with(&options) else { return };
    eventually("the replica is in step", || {
        let told = replica.query::<String>(&["INFO", "replication"]);
        told.contains("master_link_status:up").then_some(())
    });
    // It has bans to be read.
    let node = Node::reaching(patient(&replica.url()));
    for job in 1..=3 {
        assert_eq!(node.ask(7 * job, vec![window("w", 9, HOUR_MS)]), Err(StoreFailure::Unreachable));
    }
    let news = node.news_until(|news| reason(news).is_some());
    let told = news.last().and_then(reason).expect("a reason");
    assert!(told.contains("read only replica"), "{told}");
}

#[test]
fn ours_7_values_that_fail_are_told_as_well() {
    let Some(server) = RedisServer::start() else { return };
    server.query::<()>(&["ACL", "SETUSER", "weak", "on", ">pw", "~guard_core:ban*", "&*", "+@all"]);
    let node = Node::reaching(patient(&format!("redis://weak:pw@127.0.0.1:{}", server.port)));
    for _ in 0..3 {
        assert_eq!(load(&node, "sess:s"), ValueAnswer::Failed(StoreFailure::Refused));
    }
    let news = node.news_until(|news| reason(news).is_some());
    assert!(news.last().and_then(reason).is_some_and(|reason| reason.contains("no permissions")), "{news:?}");
}

fn load(node: &Node, key: &str) -> ValueAnswer {
    let (sender, receiver) = channel();
    node.client.value(ValueRequest::Load { key: key.into() }, move |answer| {
        let _ = sender.send(answer);
    });
    receiver.recv_timeout(DEADLINE).expect("an answer")
}

#[test]
fn a_key_that_holds_something_else_fails_its_own_question_only() {
    let Some(server) = RedisServer::start() else { return };
    own_question_only(&server.url(), &[&server]);
}

#[test]
fn a_key_that_holds_something_else_fails_its_own_question_only_in_a_cluster() {
    let Some(servers) = cluster(0) else { return };
    own_question_only(&cluster_url(&servers), &servers.iter().collect::<Vec<_>>());
}

#[track_caller]
fn own_question_only(url: &str, servers: &[&RedisServer]) {
    // In a cluster only the server of the key takes it.
    let write = |words: &[&str]| {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let taken = |server: &&RedisServer| command.query::<redis::Value>(&mut server.connection()).is_ok();
        assert!(servers.iter().any(taken), "{words:?}");
    };
    write(&["SET", "guard_core:text", "no set"]);
    write(&["LPUSH", "guard_core:sess:list", "no text"]);
    write(&["HSET", "guard_core:hash", "count", "no number"]);
    write(&["HSET", "guard_core:endless", "blocked_until", "inf"]);
    write(&["HSET", "guard_core:never", "violations", "nan"]);
    let node = Node::reaching(patient(url));
    let others = ["text", "hash", "endless", "never"].map(escalation);
    for (number, check) in [window("text", 9, HOUR_MS)].iter().chain(&others).enumerate() {
        let jobs = [1, 2].map(|job| (2 * number + job) as u64 * 7);
        // Both go together.
        let asked = [(jobs[0], vec![check.clone()]), (jobs[1], vec![window("w", 9, HOUR_MS)])];
        node.client.ask(0, asked.into_iter());
        assert_eq!(node.reply(jobs[0]), Err(StoreFailure::WrongType), "{check:?}");
        assert!(node.reply(jobs[1]).is_ok(), "{check:?}");
    }
    for _ in 0..3 {
        assert_eq!(load(&node, "sess:list"), ValueAnswer::Failed(StoreFailure::WrongType));
    }
    let news = node.news();
    assert!(!news.iter().any(|news| reason(news).is_some()), "{news:?}");
    let is_warning = |news: &&StoreNews| matches!(news, StoreNews::Warning(text) if text.contains("text"));
    assert_eq!(news.iter().filter(is_warning).count(), 1, "{news:?}");
}
