//! A cluster of Redis servers that the tests start.

use crate::redis_server::{RedisServer, is_installed};
use std::process::Command;
use std::time::{Duration, Instant};

/// Longest time that servers may take to agree on a new master.
const FAILOVER_MAX: Duration = Duration::from_secs(60);

/// Asks until `ask` has an answer.
#[track_caller]
pub fn finally<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + FAILOVER_MAX;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "not within {FAILOVER_MAX:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Runs a program that has to succeed.
#[track_caller]
pub fn run(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} {words:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// Three masters, and as many replicas for each.
pub fn cluster(replicas: usize) -> Option<Vec<RedisServer>> {
    if !is_installed("redis-cli") {
        return None;
    }
    let options =
        ["--cluster-enabled", "yes", "--cluster-node-timeout", "500", "--repl-diskless-sync-delay", "0"];
    let servers: Vec<RedisServer> =
        (0..3 * (1 + replicas)).map(|_| RedisServer::start_with(&options)).collect::<Option<_>>()?;
    let addresses: Vec<String> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
    let mut words = vec!["--cluster", "create"];
    words.extend(addresses.iter().map(String::as_str));
    let replicas = replicas.to_string();
    words.extend(["--cluster-replicas", &replicas, "--cluster-yes"]);
    run("redis-cli", &words);
    finally("the cluster is whole", || {
        let whole = |server: &RedisServer| {
            let info = server.query::<String>(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")
        };
        servers.iter().all(whole).then_some(())
    });
    Some(servers)
}

pub fn cluster_url(servers: &[RedisServer]) -> String {
    let addresses: Vec<String> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
    format!("redis-cluster://{}", addresses.join(","))
}
