//! A master with a replica, and sentinels that put the replica in its place.

use crate::cluster::finally;
use crate::common::Scratch;
use crate::redis_server::{RedisServer, free_port};
use std::process::{Child, Command, Stdio};

/// What the sentinels call the master.
const NAME: &str = "main";

pub struct Watched {
    pub master: RedisServer,
    pub replica: RedisServer,
    sentinels: Vec<Sentinel>,
}

/// A sentinel, killed when dropped.
struct Sentinel {
    port: u16,
    child: Child,
    _scratch: Scratch,
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Watched {
    /// Waits until the replica is in step, and all sentinels know it and each other. `None` without a Redis server.
    pub fn start(sentinels: usize) -> Option<Watched> {
        let master = RedisServer::start()?;
        let place = format!("127.0.0.1 {}", master.port);
        let options = ["--replicaof", &place, "--repl-diskless-sync-delay", "0"];
        let replica = RedisServer::start_with(&options).expect("a replica");
        // Before the sentinels, which would not promote a replica that has never been in step.
        finally("the replica is in step", || {
            let told = replica.query::<String>(&["INFO", "replication"]);
            told.contains("master_link_status:up").then_some(())
        });
        let quorum = sentinels / 2 + 1;
        let sentinels = (0..sentinels).map(|_| Sentinel::start(&place, quorum)).collect();
        let watched = Watched { master, replica, sentinels };
        let all = format!("slaves=1,sentinels={}", watched.sentinels.len());
        finally("the sentinels know all others", || {
            watched.sentinels.iter().all(|sentinel| sentinel.knows(&all)).then_some(())
        });
        Some(watched)
    }

    /// The address of the store: all sentinels, and one that is not there.
    pub fn url(&self) -> String {
        let ports = self.sentinels.iter().map(|sentinel| sentinel.port);
        let addresses: Vec<String> =
            [1].into_iter().chain(ports).map(|port| format!("127.0.0.1:{port}")).collect();
        format!("redis-sentinel://{}/{NAME}", addresses.join(","))
    }

    pub fn replica_is_master(&self) -> bool {
        self.replica.query::<String>(&["INFO", "replication"]).contains("role:master")
    }
}

impl Sentinel {
    fn start(place: &str, quorum: usize) -> Sentinel {
        let (scratch, port) = (Scratch::new(), free_port());
        let config = scratch.file(
            "sentinel.conf",
            format!(
                "port {port}\nbind 127.0.0.1\nsentinel monitor {NAME} {place} {quorum}\n\
                 sentinel down-after-milliseconds {NAME} 1000\nsentinel failover-timeout {NAME} 2000\n"
            ),
        );
        let child = Command::new("redis-server").args([&config, "--sentinel"]).stdout(Stdio::null()).spawn();
        Sentinel { port, child: child.expect("a sentinel"), _scratch: scratch }
    }

    fn knows(&self, what: &str) -> bool {
        let ask = || {
            let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port))?;
            redis::cmd("INFO").arg("sentinel").query::<String>(&mut client.get_connection()?)
        };
        ask().is_ok_and(|told| told.contains(what))
    }
}
