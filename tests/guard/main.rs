//! The guard against the running daemon: bans, limits, escalation, clouds, client addresses.

#[path = "../common/mod.rs"]
mod common;

mod addresses;
mod behaviour;
#[cfg(feature = "detection")]
mod bodies;
mod clouds;
#[cfg(feature = "redis")]
#[path = "../stores/cluster.rs"]
mod cluster;
#[cfg(feature = "admin")]
mod control;
#[cfg(feature = "detection")]
mod detection;
#[cfg(feature = "cloud")]
mod fetching;
mod gateway;
mod limits;
#[cfg(feature = "redis")]
#[path = "../stores/redis_server.rs"]
mod redis_server;
#[cfg(feature = "redis")]
#[path = "../stores/sentinels.rs"]
mod sentinels;
#[cfg(feature = "redis")]
mod shared;

use common::{Origin, Raw, Scratch, Weir};

/// A daemon with a guard file. Requests that come with X-Forwarded-For are those of that client.
struct Guarded {
    weir: Weir,
    origin: Origin,
    _scratch: Scratch,
}

impl Guarded {
    /// Loopback is trusted, so that one machine can be many clients.
    #[track_caller]
    fn start(lines: &str) -> Guarded {
        Guarded::with_options(lines, &[])
    }

    #[track_caller]
    fn with_options(lines: &str, options: &[&str]) -> Guarded {
        let scratch = Scratch::new();
        let file = scratch.file("guard.conf", format!("trust 127.0.0.0/8\n{lines}"));
        let mut all = vec!["--guard", &file];
        all.extend_from_slice(options);
        let weir = Weir::start(&all);
        Guarded { weir, origin: Origin::ok(), _scratch: scratch }
    }

    /// The status and the head of the answer to a GET of that client.
    #[track_caller]
    fn get(&self, client: &str, path: &str) -> (u16, String) {
        self.ask(client, "GET", path, "")
    }

    #[track_caller]
    fn ask(&self, client: &str, method: &str, path: &str, fields: &str) -> (u16, String) {
        let mut raw = self.weir.connect();
        ask(&mut raw, &self.origin, client, method, path, fields)
    }
}

/// One request over a connection that may carry more.
#[track_caller]
fn ask(
    raw: &mut Raw,
    origin: &Origin,
    client: &str,
    method: &str,
    path: &str,
    fields: &str,
) -> (u16, String) {
    let url = origin.url(path);
    let host = origin.address();
    let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
    raw.send(format!(
        "{method} {url} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: {client}\r\n{length}{fields}\r\n"
    ));
    let answer = raw.read_response();
    (answer.status(), String::from_utf8_lossy(&answer.head.raw).into_owned())
}
