//! weir is replaced while clients connect, and none notices: with sockets that a service manager has opened (sd_listen_fds(3)), and
//! with those that the weir before hands over (`--take-over`).

mod common;

use common::{Origin, Scratch, Weir, run};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
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

/// The status of one request over a connection of its own, which it closes; `None` if the request came late.
fn ask(weir: SocketAddr, request: &[u8]) -> Option<u16> {
    let mut client = TcpStream::connect(weir).expect("not refused");
    let connected = Instant::now();
    let sent = client.write_all(request);
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

fn get(origin: &Origin) -> Vec<u8> {
    origin.fill("GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nConnection: close\r\n\r\n")
}

/// Clients that ask all the time while something is done, and are always answered. Each of four sends the next of `requests` to its
/// address. `during` is given a function that waits until more of them have been served.
fn under_load<T>(requests: &[(SocketAddr, Vec<u8>)], during: impl FnOnce(&dyn Fn()) -> T) -> T {
    let (over, served) = (AtomicBool::new(false), [const { AtomicUsize::new(0) }; 4]);
    let ends = EndOnDrop(&over);
    std::thread::scope(|scope| {
        for (served, (weir, request)) in served.iter().zip(requests.iter().cycle()) {
            let over = &over;
            scope.spawn(move || {
                while !over.load(Relaxed) {
                    if let Some(status) = ask(*weir, request) {
                        assert_eq!(status, 200, "{weir}");
                        served.fetch_add(1, Relaxed);
                    }
                }
            });
        }
        let progress = || {
            let before = served.each_ref().map(|served| served.load(Relaxed));
            common::eventually("each client is served", || {
                let more = |(served, before): (&AtomicUsize, usize)| served.load(Relaxed) >= before + 10;
                served.iter().zip(before).all(more).then_some(())
            });
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
    let origin = Origin::ok();
    let _new = under_load(&[(old.address(), get(&origin))], |progress| {
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
    let (port, origin) = (address.port().to_string(), Origin::ok());
    let _last = under_load(&[(address, get(&origin))], |progress| {
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

/// A weir with a control socket, and its successor with another one and the same further options, which takes over during `requests`.
/// The successor is returned with the access log of the first.
fn replaced(
    options: &[&str],
    requests: impl Fn(&[SocketAddr]) -> Vec<(SocketAddr, Vec<u8>)>,
) -> (Weir, Vec<String>) {
    let scratch = Scratch::new();
    let controls = ["a", "b"].map(|name| scratch.join(name));
    let mut old = Weir::start(&[options, &["--control", &controls[0]]].concat());
    let port = old.address().port().to_string();
    let new = under_load(&requests(old.addresses()), |_| {
        let new = Weir::start(&[options, &successor(&port, &controls[1], &controls[0])].concat());
        assert_eq!(new.addresses(), old.addresses());
        assert_eq!(old.wait_exit().code(), Some(0), "{:#?}", old.error_lines());
        new
    });
    // The file of each is its own, also of one that has ended.
    assert!(!std::path::Path::new(&controls[0]).exists());
    assert_eq!(run(&["ctl", "--control", &controls[1], "stats"]).code, 0);
    (new, old.log_lines())
}

/// A port that is free at several addresses. Where another process takes it meanwhile, the test fails, and says so.
fn free_port(hosts: &[&str]) -> String {
    common::eventually("a port that is free everywhere", || {
        let first = TcpListener::bind((hosts[0], 0)).expect("a port");
        let port = first.local_addr().expect("an address").port();
        hosts[1..].iter().all(|host| TcpListener::bind((*host, port)).is_ok()).then(|| port.to_string())
    })
}

#[test]
fn listeners_of_both_families_go_to_a_successor() {
    let hosts = ["127.0.0.1", "::1", "127.0.0.5"];
    let (port, origin) = (free_port(&hosts), Origin::ok());
    let options = ["--host", hosts[0], "--host", hosts[1], "--host", hosts[2], "--port", &port];
    replaced(&options, |addresses| {
        assert_eq!(addresses.iter().filter(|address| address.is_ipv6()).count(), 1, "{addresses:?}");
        addresses.iter().map(|address| (*address, get(&origin))).collect()
    });
    // One socket for both.
    let port = free_port(&["::"]);
    replaced(&["--host", "::", "--port", &port], |addresses| {
        let of = |host: &str| SocketAddr::new(host.parse().expect("an address"), addresses[0].port());
        ["127.0.0.1", "::1"].map(|host| (of(host), get(&origin))).to_vec()
    });
}

/// Connections that waited for the old one begin with a PROXY header, too.
#[test]
#[cfg(feature = "guard")]
fn clients_behind_a_proxy_keep_their_addresses() {
    let (scratch, origin) = (Scratch::new(), Origin::ok());
    let guard = scratch.file("guard", "trust 127.0.0.1\nban 198.51.100.0/24\n");
    let port = free_port(&["127.0.0.1"]);
    let (new, of_old) = replaced(&["--guard", &guard, "--proxy-protocol", "--port", &port], |addresses| {
        let header = &b"PROXY TCP4 192.0.2.7 192.0.2.9 5 6\r\n"[..];
        vec![(addresses[0], [header, &get(&origin)].concat())]
    });
    for lines in [of_old, new.log_lines()] {
        let of_header = |line: &&String| line.contains(" client=192.0.2.7:5 ");
        let count = lines.iter().filter(|line| line.contains(" exchange ")).count();
        assert!(count > 0 && lines.iter().filter(of_header).count() == count, "{lines:#?}");
    }
    let banned = [&b"PROXY TCP4 198.51.100.7 192.0.2.9 5 6\r\n"[..], &get(&origin)].concat();
    assert_eq!(common::eventually("a response", || ask(new.address(), &banned)), 403);
}

#[test]
#[cfg(feature = "guard")]
fn a_gateway_takes_over_from_another() {
    let (scratch, origin) = (Scratch::new(), Origin::ok());
    let routes = format!("app.example/ -> {}\n", origin.address());
    let gateway = scratch.file("gateway", routes);
    let port = free_port(&["127.0.0.1"]);
    let request = b"GET / HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n";
    let (new, _) = replaced(&["--gateway", &gateway, "--port", &port], |addresses| {
        vec![(addresses[0], request.to_vec())]
    });
    new.wait_for_log(|line| line.contains(" app.example") || line.contains("/app.example"));
}

/// The listener for monitoring systems and the control socket belong to one process. The old one tells that it takes no more clients while
/// it drains, and a successor that wants what the old one has ends, and changes nothing.
#[test]
fn each_process_has_its_own_metrics_and_control_socket() {
    let scratch = Scratch::new();
    let controls = ["a", "b"].map(|name| scratch.join(name));
    let metrics = |weir: &Weir| {
        let line = weir.wait_for_error(|line| line.contains("metrics on http://"));
        let address = line.split("http://").nth(1).and_then(|rest| rest.strip_suffix("/metrics"));
        address.expect("an address").parse::<SocketAddr>().expect("an address")
    };
    let ready = |at| ask(at, b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut old = Weir::start(&["--control", &controls[0], "--metrics", "127.0.0.1:0"]);
    let (of_old, port) = (metrics(&old), old.address().port().to_string());
    let (taken, next) = (successor(&port, &controls[1], &controls[0]), of_old.to_string());
    for (options, part) in [
        (&[&taken[..], &["--metrics", &next]].concat(), "metrics: cannot listen on"),
        (&successor(&port, &controls[0], &controls[0]), "control: cannot listen on"),
    ] {
        let run = run(&[&["--host", "127.0.0.1"], options.as_slice()].concat());
        assert!(run.code == 69 && run.err.contains(part), "{run:?}");
    }
    assert_eq!(ready(of_old), Some(200));
    // A request that is under way keeps the old one from ending.
    let origin = TcpListener::bind("127.0.0.1:0").expect("an origin");
    let mut client = TcpStream::connect(old.address()).expect("a connection");
    let host = origin.local_addr().expect("an address");
    write!(client, "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n").expect("a request");
    let (mut waiting, _) = origin.accept().expect("a connection");
    let new = Weir::start(&[&taken[..], &["--metrics", "127.0.0.1:0"]].concat());
    common::eventually("the old one is not ready", || (ready(of_old) == Some(503)).then_some(()));
    assert_eq!(ready(metrics(&new)), Some(200));
    let told = run(&["ctl", "--control", &controls[0], "drain"]);
    assert!(told.err.contains("weir is stopping already"), "{told:?}");
    write!(waiting, "HTTP/1.1 204 No Content\r\n\r\n").expect("a response");
    let mut response = String::new();
    client.read_to_string(&mut response).expect("a response");
    assert!(response.starts_with("HTTP/1.1 204 "), "{response}");
    assert_eq!(old.wait_exit().code(), Some(0));
    assert_eq!(run(&["ctl", "--control", &controls[1], "stats"]).code, 0);
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
        (
            vec!["--workers", "1"],
            64,
            "workers 1: expected at least as many as the weir has that is taken over",
        ),
        // The old one would drain, and its port be closed.
        (vec!["--workers", "2", "--port", "0"], 64, "expected --host and --port of the weir before"),
        (vec!["--take-over", &nothing], 69, "no sockets from the weir at"),
    ] {
        let run = run(&[take_over.as_slice(), &["--host", "127.0.0.1"], &options].concat());
        assert_eq!(run.code, code, "{options:?}: {}", run.said());
        assert!(run.err.contains(part), "{options:?}: {}", run.said());
    }
    weir.wait_for_error(|line| line.contains("does not serve them: going on"));
    let origin = Origin::ok();
    common::eventually("a response", || {
        ask(weir.address(), &get(&origin)).map(|status| assert_eq!(status, 200))
    });
    weir.signal(Signal::TERM);
    assert_eq!(weir.wait_exit().code(), Some(0));
}

/// A process catches the signals of weir after it has asked for the sockets.
fn catches(process: &Child, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).expect("its status");
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("its signals").trim();
    u64::from_str_radix(caught, 16).expect("a number") >> (signal.as_raw() - 1) & 1 == 1
}

/// A successor that is told to end before it serves ends, and the one before goes on.
#[test]
fn a_successor_that_is_told_to_end_while_it_starts_relieves_no_weir() {
    let (scratch, origin) = (Scratch::new(), Origin::ok());
    let controls = ["a", "b"].map(|name| scratch.join(name));
    for (signal, code) in [(Signal::TERM, 0), (Signal::INT, 130), (Signal::QUIT, 131)] {
        let mut weir = Weir::start(&["--control", &controls[0]]);
        let port = weir.address().port().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(successor(&port, &controls[1], &controls[0])).args(["--host", "127.0.0.1"]);
        // Its start waits for the end of a list.
        command.args(["--blocklist", "/dev/stdin"]).stdin(Stdio::piped()).stderr(Stdio::null());
        let mut new = command.spawn().expect("a process");
        common::eventually("it has the sockets", || catches(&new, signal).then_some(()));
        kill_process(Pid::from_child(&new), signal).expect("a process");
        drop(new.stdin.take());
        assert_eq!(new.wait().expect("its end").code(), Some(code), "{signal:?}");
        weir.wait_for_error(|line| line.contains("does not serve them: going on"));
        common::eventually("a response", || {
            ask(weir.address(), &get(&origin)).map(|status| assert_eq!(status, 200))
        });
        weir.signal(Signal::TERM);
        assert_eq!(weir.wait_exit().code(), Some(0));
    }
}

/// Stops the process for a moment, several times, so that each of its threads is interrupted where it waits.
fn interrupt(weir: &Weir) {
    let stopped = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", weir.id())).expect("its state");
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    };
    for _ in 0..5 {
        weir.signal(Signal::STOP);
        common::eventually("it stops", || stopped().then_some(()));
        weir.signal(Signal::CONT);
        common::eventually("it goes on", || (!stopped()).then_some(()));
    }
}

#[test]
fn a_weir_that_stood_still_during_a_take_over_drains() {
    let scratch = Scratch::new();
    let control = scratch.join("a");
    let mut weir = Weir::start(&["--control", &control]);
    // As a successor does; the sockets are closed.
    let mut successor = UnixStream::connect(&control).expect("a connection");
    successor.write_all(b"take-over\n").expect("a request");
    let mut answer = [0; 16];
    let length = successor.read(&mut answer).expect("an answer");
    assert_eq!(&answer[..length], b"0\n");
    // Two successors would both stay.
    let mut second = UnixStream::connect(&control).expect("a connection");
    second.write_all(b"take-over\n").expect("a request");
    let mut refused = String::new();
    second.read_to_string(&mut refused).expect("an answer");
    assert_eq!(refused, "71 another weir takes over already\n");
    interrupt(&weir);
    successor.write_all(b"taken\n").expect("a message");
    let mut answer = String::new();
    successor.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains("finishing what is under way"), "{answer}");
    assert_eq!(weir.wait_exit().code(), Some(0));
}

#[test]
fn a_weir_that_does_not_answer_is_not_taken_over() {
    let (scratch, origin) = (Scratch::new(), Origin::ok());
    let controls = ["a", "b"].map(|name| scratch.join(name));
    let mut weir = Weir::start(&["--control", &controls[0]]);
    let port = weir.address().port().to_string();
    weir.signal(Signal::STOP);
    let run = run(&[&successor(&port, &controls[1], &controls[0])[..], &["--host", "127.0.0.1"]].concat());
    assert!(run.code == 69 && run.err.contains(": no answer came within 5s"), "{run:?}");
    weir.signal(Signal::CONT);
    weir.wait_for_error(|line| line.contains("does not serve them: going on"));
    common::eventually("a response", || {
        ask(weir.address(), &get(&origin)).map(|status| assert_eq!(status, 200))
    });
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

/// What is no socket for TCP is closed: a client of it would wait for an answer.
#[test]
fn descriptors_of_another_kind_are_closed() {
    let scratch = Scratch::new();
    let (file, socket) = (scratch.file("file", ""), UdpSocket::bind("127.0.0.1:0").expect("a socket"));
    let inode = rustix::fs::fstat(&socket).expect("a socket").st_ino;
    let mut command = Command::new("sh");
    command.args(["-c", "exec 3<&0 4<\"$0\" </dev/null; LISTEN_PID=$$ LISTEN_FDS=2 exec \"$@\"", &file]);
    command
        .args([env!("CARGO_BIN_EXE_weir"), "--host", "127.0.0.1", "--port", "0"])
        .stdin(OwnedFd::from(socket));
    let weir = Weir::spawn(command, 1).unwrap_or_else(|said| panic!("no start: {said:#?}"));
    for index in ["0", "1"] {
        weir.wait_for_error(|line| line.contains(&format!("socket {index} does not listen for TCP")));
    }
    let open = std::fs::read_dir(format!("/proc/{}/fd", weir.id())).expect("its descriptors");
    let open: Vec<_> = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).collect();
    for left in [format!("socket:[{inode}]"), file] {
        assert!(!open.iter().any(|place| place.as_os_str() == left.as_str()), "{left} in {open:?}");
    }
}

#[test]
fn a_socket_that_no_option_names_is_told_of() {
    let origin = Origin::ok();
    let socket = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let weir = start(&socket, &["--port", "0"]);
    let told = weir.wait_for_error(|line| line.contains("LISTEN_FDS"));
    assert!(told.contains(&socket.local_addr().expect("an address").to_string()), "{told}");
    common::eventually("a response", || {
        ask(weir.address(), &get(&origin)).map(|status| assert_eq!(status, 200))
    });
}
