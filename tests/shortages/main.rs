//! Resources that the system refuses to a running daemon: descriptors, memory for sockets, and in the end the loop's
//! own waiting. A small library that is loaded before the C library makes the calls fail. Affected clients are told
//! so, and afterwards the proxy recovers by itself.

#[path = "../common/mod.rs"]
mod common;

use common::{Answer, FakeDns, Origin, Scratch, Weir, eventually};
use rustix::io::Errno;
use rustix::process::Signal;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::Duration;

/// The calls that can fail, in the order of the library's table.
#[derive(Clone, Copy, Debug)]
enum Call {
    Accept,
    Socket,
    Connect,
    Watch,
    Wait,
}

/// The table that the library reads.
struct Shortages {
    _scratch: Scratch,
    table: std::fs::File,
    library: String,
    path: String,
}

impl Shortages {
    /// Builds the library; nothing fails yet.
    fn new() -> Shortages {
        let scratch = Scratch::new();
        let (library, path) = (scratch.join("shim.so"), scratch.file("table", "\0".repeat(64)));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/shortages/shim.c");
        let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o", &library, source]).status();
        assert!(built.is_ok_and(|status| status.success()), "the linker of Rust programs builds a library");
        let table = std::fs::OpenOptions::new().write(true).open(&path).expect("the table");
        Shortages { _scratch: scratch, table, library, path }
    }

    fn start(&self, options: &[&str]) -> Weir {
        let all = [&["--allow", "127.0.0.0/8"][..], options].concat();
        Weir::start_with(&all, &[("LD_PRELOAD", &self.library), ("SHORTAGES", &self.path)])
    }

    /// From now on the call fails.
    fn set(&self, call: Call, error: Errno) {
        let place = call as u64 * 4;
        self.table.write_all_at(&error.raw_os_error().to_ne_bytes(), place).expect("the table");
    }

    /// Everything can be had again.
    fn end(&self) {
        self.table.write_all_at(&[0; 64], 0).expect("the table");
    }
}

const SHORTAGES: [Errno; 4] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];

/// Connections wait until they can be taken.
#[test]
fn accept() {
    let shortages = Shortages::new();
    let (weir, origin) = (shortages.start(&[]), Origin::ok());
    for (number, error) in SHORTAGES.into_iter().enumerate() {
        let mut served = weir.connect();
        assert_eq!(served.ask(origin.get("/")).status(), 200);
        let before = weir.statistics().get("shortages");
        shortages.set(Call::Accept, error);
        let mut waiting = weir.connect();
        waiting.send(origin.get("/waited"));
        eventually("a shortage", || (weir.statistics().get("shortages") > before + 2).then_some(()));
        // Other clients are served, and no loop spins.
        assert_eq!(served.ask(origin.get("/meanwhile")).status(), 200, "{error}");
        waiting.expect_silence(Duration::from_millis(50));
        shortages.end();
        assert_eq!(waiting.read_response().status(), 200, "{error}");
        let most = 3000 * (number as u64 + 1);
        assert!(weir.statistics().get("shortages") < most, "{error}: tried again without a pause");
    }
    weir.wait_for_error(|line| line.contains("cannot take connections"));
}

/// A request for which there is no connection to be had gets a 503 and keeps its own; the next one is served.
#[test]
fn dialling() {
    let shortages = Shortages::new();
    let (weir, origin) =
        (shortages.start(&[]), Origin::closing("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    let mut client = weir.connect();
    for call in [Call::Socket, Call::Connect, Call::Watch] {
        // For lack of a local port.
        let of_connect = matches!(call, Call::Connect).then_some(Errno::ADDRNOTAVAIL);
        for error in SHORTAGES.into_iter().chain(of_connect) {
            shortages.set(call, error);
            let answer = client.ask(origin.get("/short"));
            assert_eq!(answer.status(), 503, "{call:?} {error}: {answer:?}");
            let answer = client.ask(origin.fill("CONNECT {o} HTTP/1.1\r\nHost: {o}\r\n\r\n"));
            assert_eq!(answer.status(), 503, "{call:?} {error}: {answer:?}");
            client = {
                shortages.end();
                weir.connect()
            };
            assert_eq!(client.ask(origin.get("/after")).status(), 200, "{call:?} {error}");
        }
    }
    weir.wait_for_logs(26, |line| line.contains(" 503 ") && line.contains("reason=descriptors_max"));
    // A connection that cannot be watched is not kept.
    shortages.set(Call::Watch, Errno::NOSPC);
    weir.connect().expect_closed();
    shortages.end();
    drop(client);
    assert_eq!(weir.connect().ask(origin.get("/last")).status(), 200);
    weir.wait_until_idle();
}

/// The same for name servers. It is no failure of theirs, and not remembered.
#[test]
fn names() {
    let (shortages, origin) = (Shortages::new(), Origin::ok());
    let names = ["mfile.test", "nfile.test", "nobufs.test", "nomem.test"];
    let dns = FakeDns::start(&names.map(|name| (name, Answer::addresses(&["127.0.0.1"]))));
    let other = FakeDns::start(&[]);
    let weir = shortages.start(&["--dns", &format!("{},{}", dns.address(), other.address())]);
    let request = |name: &str| {
        let authority = format!("{name}:{}", origin.port());
        format!("GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\n\r\n")
    };
    let mut client = weir.connect();
    for (name, error) in names.into_iter().zip(SHORTAGES) {
        shortages.set(Call::Socket, error);
        assert_eq!(client.ask(request(name)).status(), 503, "{error}");
        shortages.end();
        assert_eq!(client.ask(request(name)).status(), 200, "{error}");
    }
    weir.wait_for_logs(names.len(), |line| line.contains(" 503 ") && line.contains("reason=descriptors_max"));
    assert!(weir.statistics().get("shortages") >= names.len() as u64);
    assert!(other.queries().is_empty(), "the first name server was not at fault");
}

/// Refused and silent clients do not take the last descriptors from clients that are served.
#[test]
fn crowd_leaves_descriptors_for_origins() {
    let (scratch, origin) = (Scratch::new(), Origin::ok());
    // Root could raise the limit again, so the process changes to another user first.
    let nobody = rustix::process::geteuid().is_root();
    let prefix = if nobody { "setpriv --reuid 65534 --regid 65534 --clear-groups" } else { "" };
    let folder = std::env::temp_dir().join(format!("weir-shortages-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let script = format!(
        "cat '{}' >\"$1/weir\" && chmod 755 \"$1\" \"$1/weir\" && ulimit -n 40\n\
         exec {prefix} \"$1/weir\" --host 127.0.0.1 --port 0 --allow 127.0.0.0/8\n",
        env!("CARGO_BIN_EXE_weir")
    );
    let mut command = Command::new("sh");
    command.arg(scratch.file("script", script)).arg(&folder);
    let weir = Weir::spawn(command, 1).expect("a start with 40 descriptors");
    let mut served: Vec<_> = (0..4).map(|_| weir.connect()).collect();
    for client in &mut served {
        assert_eq!(client.ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").status(), 200);
    }
    // More than there are descriptors for; most of them are refused, and do not read the answer.
    let crowd: Vec<_> = (0..100).map(|_| weir.connect()).collect();
    weir.wait_for_error(|line| line.contains("cannot take connections"));
    for round in 0..5 {
        for client in &mut served {
            assert_eq!(client.ask(origin.get("/needs-one")).status(), 200, "round {round}");
        }
    }
    drop(crowd);
    eventually("service as before", || {
        let mut client = weir.connect();
        client.send_if_open(origin.get("/"));
        client.try_read_response("GET").ok().filter(|answer| answer.status() == 200)
    });
    let _ = std::fs::remove_dir_all(&folder);
}

/// A loop that cannot continue ends the process, with a message and a status that a supervisor understands: a daemon
/// that listens without serving would be worse.
#[test]
fn waiting() {
    for options in common::built([&[][..], &["--sandbox=no"], &["--workers", "3"]]) {
        let (shortages, origin) = (Shortages::new(), Origin::ok());
        let mut weir = shortages.start(options);
        let mut client = weir.connect();
        assert_eq!(client.ask(origin.get("/before")).status(), 200);
        shortages.set(Call::Wait, Errno::BADF);
        // It waits already: this wakes it.
        weir.signal(Signal::USR2);
        assert_eq!(weir.wait_exit().code(), Some(71));
        weir.wait_for_error(|line| line.contains("the loop has failed: Bad file descriptor"));
        client.expect_closed();
        assert_eq!(weir.wait_for_log(|line| line.contains("/before")).matches(" 200 ").count(), 1);
    }
}
