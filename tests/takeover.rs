//! Sockets that a service manager has opened (sd_listen_fds(3)): weir is replaced while clients connect, and none notices.

mod common;

use common::{Origin, Raw, Weir};
use rustix::process::Signal;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

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

/// The status of one request over a connection of its own.
fn ask(weir: SocketAddr, origin: &Origin) -> u16 {
    let mut client = Raw::connect(weir);
    client.send(origin.fill("GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\nConnection: close\r\n\r\n"));
    client.read_response().head.status()
}

#[test]
fn a_weir_takes_over_from_another_and_no_client_is_refused() {
    let origin = Origin::ok();
    let socket = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = socket.local_addr().expect("an address");
    let mut old = start(&socket, &["--workers", "2"]);
    let (over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let _new = std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    assert_eq!(ask(address, &origin), 200);
                    served.fetch_add(1, Relaxed);
                }
            });
        }
        let progress = |wanted: usize| {
            let before = served.load(Relaxed);
            common::eventually("requests are served", || {
                (served.load(Relaxed) >= before + wanted).then_some(())
            });
        };
        progress(50);
        let new = start(&socket, &[]);
        progress(50);
        old.signal(Signal::TERM);
        assert_eq!(old.wait_exit().code(), Some(0));
        progress(50);
        over.store(true, Relaxed);
        // It serves the last requests.
        new
    });
}

#[test]
fn a_socket_that_no_option_names_is_told_of() {
    let origin = Origin::ok();
    let socket = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let weir = start(&socket, &["--port", "0"]);
    let told = weir.wait_for_error(|line| line.contains("LISTEN_FDS"));
    assert!(told.contains(&socket.local_addr().expect("an address").to_string()), "{told}");
    assert_eq!(ask(weir.address(), &origin), 200);
}
