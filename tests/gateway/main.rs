//! The gateway against the running daemon: routes, refusals, fields, upstreams that fail, come back and are drained.

#[path = "../common/mod.rs"]
mod common;

#[cfg(feature = "cache")]
mod caching;
mod messages;
mod relays;
mod routes;
mod upstreams;

use common::{Origin, Response, Run, Scratch, Weir, run};
use rustix::process::Signal;

/// A daemon with a gateway file.
struct Gateway {
    weir: Weir,
    scratch: Scratch,
    control: String,
}

impl Gateway {
    #[track_caller]
    fn start(lines: &str) -> Gateway {
        Gateway::with_options(lines, &[])
    }

    /// Loopback is not allowed as a destination: routes need no rule for their upstreams.
    #[track_caller]
    fn with_options(lines: &str, options: &[&str]) -> Gateway {
        let scratch = Scratch::new();
        let file = scratch.file("gateway.conf", lines);
        let control = scratch.join("control");
        let mut all = vec!["--gateway", &file];
        if cfg!(feature = "admin") {
            all.extend(["--control", &control]);
        }
        all.extend_from_slice(options);
        let weir = Weir::start_bare(&all);
        Gateway { weir, scratch, control }
    }

    /// The answer to one request over a connection of its own.
    #[track_caller]
    fn ask(&self, request: &str) -> Response {
        let mut client = self.weir.connect();
        client.send(request);
        client.read_response_to(request.split(' ').next().unwrap_or("GET"))
    }

    #[track_caller]
    fn get(&self, host: &str, target: &str) -> Response {
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    }

    fn ctl(&self, words: &[&str]) -> Run {
        run(&[&["ctl", "--control", &self.control], words].concat())
    }

    /// The row of an upstream.
    #[track_caller]
    fn row(&self, upstream: &str) -> String {
        let table = self.ctl(&["upstreams"]);
        let row = table.out.lines().find(|line| line.contains(upstream)).map(str::to_owned);
        row.unwrap_or_else(|| panic!("no row of {upstream}: {table:?}"))
    }

    #[track_caller]
    fn reload(&self, lines: &str) {
        self.scratch.file("gateway.conf", lines);
        self.weir.signal(Signal::HUP);
        self.weir.wait_for_error(|line| line.contains(" reloaded: ") && !line.contains("not reloaded"));
    }
}

/// An origin that answers with its name.
fn named(name: &'static str) -> Origin {
    Origin::answering(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()))
}
