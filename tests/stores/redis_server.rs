//! A real `redis-server`.

use crate::common::{Scratch, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

/// Whether a program is there. In continuous integration it has to be.
#[track_caller]
pub fn is_installed(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().expect("sh");
    if !found.status.success() {
        assert!(std::env::var_os("CI").is_none(), "{program} is not installed; scripts/test installs it");
        eprintln!("SKIPPED: {program} is not installed; scripts/test installs it");
    }
    found.status.success()
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A port that was free a moment ago, and so was the one 10,000 above, where servers of a cluster talk.
fn free_port_of_cluster() -> u16 {
    let is_free = |port: &u16| *port < 55_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok();
    std::iter::repeat_with(free_port).find(is_free).expect("a port")
}

/// A server without persistence, killed when dropped.
pub struct RedisServer {
    pub port: u16,
    options: Vec<String>,
    scratch: Scratch,
    child: Child,
}

impl RedisServer {
    /// Starts a server; `None` if it is not installed.
    pub fn start() -> Option<RedisServer> {
        RedisServer::start_with(&[])
    }

    /// Starts a server with more options.
    pub fn start_with(options: &[&str]) -> Option<RedisServer> {
        if !is_installed("redis-server") {
            return None;
        }
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let scratch = Scratch::new();
        // Another process may take the port first.
        let started = (0..5).find_map(|_| {
            let in_cluster = options.iter().any(|option| option == "--cluster-enabled");
            let port = if in_cluster { free_port_of_cluster() } else { free_port() };
            let mut child = spawn(port, &scratch, &options);
            is_listening(&mut child, port).then_some((port, child))
        });
        let (port, child) = started.expect("redis-server starts");
        Some(RedisServer { port, options, scratch, child })
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A connection past the client under test.
    pub fn connection(&self) -> redis::Connection {
        redis::Client::open(self.url()).and_then(|client| client.get_connection()).expect("a connection")
    }

    /// One command past the client under test.
    pub fn query<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| {
            command.arg(word);
        });
        command.query(&mut self.connection()).expect("a reply")
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the server takes signals");
    }

    /// Ends the server as a crash does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts the server again, on the same port, without what it knew.
    pub fn restart(&mut self) {
        self.child = spawn(self.port, &self.scratch, &self.options);
        assert!(is_listening(&mut self.child, self.port), "redis-server starts again");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(port: u16, scratch: &Scratch, options: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    if options.iter().any(|option| option == "--tls-port") {
        command.args(["--port", "0"]);
    } else {
        command.args(["--port", &port.to_string()]);
    }
    let options = options.iter().map(|option| option.replace("{port}", &port.to_string()));
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]);
    command.arg(scratch.path()).args(options).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("redis-server")
}

/// Waits until the port is open; `false` if the server has ended.
fn is_listening(child: &mut Child, port: u16) -> bool {
    eventually("redis-server listens", || {
        let has_ended = child.try_wait().is_ok_and(|status| status.is_some());
        let is_open = std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        (has_ended || is_open).then_some(!has_ended)
    })
}
