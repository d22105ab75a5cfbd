//! weir is replaced while clients connect, and none notices: with sockets that a service manager has opened (sd_listen_fds(3)), and
//! with those that the weir before hands over (`--take-over`).

mod common;

use common::{Origin, Scratch, Weir, run};
use rustix::process::Signal;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Starts weir with a socket that listens already, as a service manager does.
fn start(socket: &TcpListener, options: &[&str]) -> Weir {
    let address = socket.local_addr().expect("an address");
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let mut command = Command::new("sh");
    command.args(["-c", "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"", "sh"]);
    command.args([env!("CARGO_BIN_EXE_weir"), "--allow", "127.0.0.0/8", "--host", &host, "--port", &port]);
    command.args(options).stdin(OwnedFd::from(socket.try_clone().expect("a descriptor")));
    Weir::spawn(command, 1).unwrap_or_else(|said| panic!("no start: {said:#?}"))
}

/// A connection that was taken when a drain begins has a second for its request. A client that the machine has kept from sending for
/// half of that shows nothing.
const SENT_WITHIN: Duration = Duration::from_millis(500);

/// The status of one request over a connection of its own; `None` if the request came late.
fn ask(weir: SocketAddr, origin: &Origin) -> Option<u16> {
    let request = origin.fill("GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nConnection: close\r\n\r\n");
    let mut client = TcpStream::connect(weir).expect("not refused");
    let connected = Instant::now();
    let sent = client.write_all(&request);
    let late = connected.elapsed() > SENT_WITHIN;
    let mut response = String::new();
    let got = sent.and_then(|()| client.read_to_string(&mut response));
    if late {
        return None;
    }
    got.expect("a response");
    Some(
        response
            .get(9..12)
            .and_then(|status| status.parse().ok())
            .unwrap_or_else(|| panic!("got {response:?}")),
    )
}

/// Clients that ask all the time while something is done, and are always answered. `during` is given a function that waits until more
/// of them have been served.
fn under_load<T>(weir: SocketAddr, during: impl FnOnce(&dyn Fn()) -> T) -> T {
    let origin = Origin::ok();
    let (over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let ends = EndOnDrop(&over);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    if let Some(status) = ask(weir, &origin) {
                        assert_eq!(status, 200);
                        served.fetch_add(1, Relaxed);
                    }
                }
            });
        }
        let progress = || {
            let before = served.load(Relaxed);
            common::eventually("requests are served", || (served.load(Relaxed) >= before + 50).then_some(()));
        };
        // Clients end, too, when this panics.
        let ends = ends;
        progress();
        let done = during(&progress);
        progress();
        drop(ends);
        // What serves the last requests ends after them.
        done
    })
}

struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn a_weir_takes_over_from_another_and_no_client_is_refused() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let mut old = start(&socket, &["--workers", "2"]);
    let _new = under_load(old.address(), |progress| {
        let new = start(&socket, &[]);
        progress();
        old.signal(Signal::TERM);
        assert_eq!(old.wait_exit().code(), Some(0));
        new
    });
}

/// The options of a successor at the same address.
fn successor<'a>(port: &'a str, control: &'a str, before: &'a str) -> Vec<&'a str> {
    vec!["--port", port, "--control", control, "--take-over", before]
}

/// Without a service manager: each of several successors asks the one before for its sockets, of which there is one for each loop.
#[test]
fn a_weir_gives_its_sockets_to_another_and_no_client_is_refused() {
    let scratch = Scratch::new();
    let controls = ["a", "b", "c"].map(|name| scratch.join(name));
    let first = Weir::start(&["--workers", "2", "--control", &controls[0]]);
    let address = first.address();
    let port = address.port().to_string();
    let _last = under_load(address, |progress| {
        let mut running = first;
        for (pair, workers) in controls.windows(2).zip(["2", "3"]) {
            let mut options = successor(&port, &pair[1], &pair[0]);
            options.extend(["--workers", workers]);
            let next = Weir::start(&options);
            assert_eq!(next.address(), address);
            // No signal: the successor has it drain.
            assert_eq!(running.wait_exit().code(), Some(0), "{:#?}", running.error_lines());
            next.wait_for_error(|line| line.contains("the weir before: finishing what is under way"));
            progress();
            running = next;
        }
        running
    });
}

/// What goes wrong with the successor is the successor's alone.
#[test]
fn a_successor_that_fails_changes_nothing() {
    let scratch = Scratch::new();
    let [control, own, nothing] = ["a", "b", "nothing"].map(|name| scratch.join(name));
    let mut weir = Weir::start(&["--workers", "2", "--control", &control]);
    let port = weir.address().port().to_string();
    let take_over = successor(&port, &own, &control);
    for (options, code, part) in [
        (vec!["--workers", "2", "--auth-file", "/nonexistent"], 78, "/nonexistent"),
        (vec!["--workers", "1"], 64, "1: expected at least as many as the weir has that is taken over"),
        (vec!["--take-over", &nothing], 69, "no sockets from the weir at"),
    ] {
        let run = run(&[take_over.as_slice(), &["--host", "127.0.0.1"], &options].concat());
        assert_eq!(run.code, code, "{options:?}: {}", run.said());
        assert!(run.err.contains(part), "{options:?}: {}", run.said());
    }
    weir.wait_for_error(|line| line.contains("does not serve them: going on"));
    let origin = Origin::ok();
    common::eventually("a response", || ask(weir.address(), &origin).map(|status| assert_eq!(status, 200)));
    weir.signal(Signal::TERM);
    assert_eq!(weir.wait_exit().code(), Some(0));
}

/// What weir keeps for a successor is closed when a drain begins, while there still is something to finish. (No other test listens at
/// this address.)
#[test]
fn sockets_for_a_successor_listen_no_longer_than_weir() {
    let scratch = Scratch::new();
    let options = ["--control", &scratch.join("a"), "--allow", "127.0.0.1", "--host", "127.0.77.1"];
    let mut weir = Weir::start_bare(&options);
    let origin = TcpListener::bind("127.0.0.1:0").expect("an origin");
    let mut client = TcpStream::connect(weir.address()).expect("a connection");
    let host = origin.local_addr().expect("an address");
    write!(client, "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n").expect("a request");
    let (mut waiting, _) = origin.accept().expect("a connection");
    weir.signal(Signal::TERM);
    common::eventually("connections are refused", || {
        TcpStream::connect(weir.address()).err().filter(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
    write!(waiting, "HTTP/1.1 204 No Content\r\n\r\n").expect("a response");
    let mut response = String::new();
    client.read_to_string(&mut response).expect("a response");
    assert!(response.starts_with("HTTP/1.1 204 "), "{response}");
    assert_eq!(weir.wait_exit().code(), Some(0));
}

#[test]
fn a_socket_that_no_option_names_is_told_of() {
    let origin = Origin::ok();
    let socket = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let weir = start(&socket, &["--port", "0"]);
    let told = weir.wait_for_error(|line| line.contains("LISTEN_FDS"));
    assert!(told.contains(&socket.local_addr().expect("an address").to_string()), "{told}");
    common::eventually("a response", || ask(weir.address(), &origin).map(|status| assert_eq!(status, 200)));
}
