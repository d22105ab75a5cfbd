//! Several loops in one process: each has listeners of its own, and from outside nothing tells them from one.

mod common;

use common::{Origin, Raw, Scratch, Weir, eventually, run};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// More connections than leave one of four workers without any: that is as likely as 4 * (3/4)^64, one in 25 million.
const CROWD: usize = 64;

/// How many of something each worker has, by the statistics.
#[track_caller]
fn by_worker(weir: &Weir, what: &str) -> Vec<u64> {
    weir.statistics();
    let lines = weir.error_lines();
    let line = lines.iter().rfind(|line| line.contains("statistics: ")).expect("statistics");
    let name = format!(" {what}_by_worker=");
    let (_, rest) = line.split_once(&name).unwrap_or_else(|| panic!("no{name} in {line}"));
    let numbers = rest.split(' ').next().unwrap_or("").split(',');
    numbers.map(|number| number.parse().expect("a number")).collect()
}

/// So many connections that every worker has some.
#[track_caller]
fn crowd(weir: &Weir, origin: &Origin) -> Vec<Raw> {
    let mut clients: Vec<Raw> = (0..CROWD).map(|_| weir.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.ask(origin.get("/crowd")).status(), 200);
    }
    let spread = by_worker(weir, "clients");
    assert_eq!(spread.iter().sum::<u64>(), CROWD as u64, "{spread:?}");
    assert!(spread.iter().all(|&clients| clients > 0), "{spread:?}");
    clients
}

/// Upstream connections may be kept.
#[track_caller]
fn wait_until_no_client_is_connected(weir: &Weir) {
    eventually("nobody is connected", || (weir.statistics().get("clients") == 0).then_some(()));
}

/// Every client is served, the work is spread, each address is announced once, and the log has each request once.
#[test]
fn clients_are_spread_over_workers() {
    let origin = Origin::ok();
    let weir = Weir::start(&["--workers", "4", "--host", "127.0.0.1", "--host", "::1"]);
    let mut clients = crowd(&weir, &origin);
    for (number, client) in clients.iter_mut().enumerate() {
        for turn in 0..3 {
            assert_eq!(client.ask(origin.get(&format!("/{number}/{turn}."))).status(), 200);
        }
    }
    assert_eq!(Raw::connect(weir.addresses()[1]).ask(origin.get("/six.")).status(), 200);
    let now = weir.statistics();
    assert_eq!((now.get("requests"), now.get("workers")), (4 * CROWD as u64 + 1, 4));
    let requests = by_worker(&weir, "requests");
    assert_eq!(requests.iter().sum::<u64>(), 4 * CROWD as u64 + 1);
    let lines = weir.wait_for_logs(3 * CROWD + 1, |line| line.contains(". client="));
    let mut paths: BTreeMap<&str, u32> = BTreeMap::new();
    for line in &lines {
        let target = line.split(' ').find(|word| word.starts_with("http://")).expect("a target");
        *paths.entry(target).or_default() += 1;
    }
    assert_eq!((paths.len(), paths.values().max()), (3 * CROWD + 1, Some(&1)), "{paths:?}");
    let announced = weir.error_lines().iter().filter(|line| line.contains("listening on ")).count();
    assert_eq!(announced, 2);
    drop(clients);
    wait_until_no_client_is_connected(&weir);
}

fn bind_sharing(address: SocketAddr) -> std::io::Result<()> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(1)
}

/// A second weir on the same port fails, however many workers either has. One worker shares its port with no other
/// program.
#[test]
fn a_port_that_is_taken_stays_taken() {
    for first in ["1", "3"] {
        let weir = Weir::start(&["--workers", first]);
        for second in ["1", "3"] {
            let port = weir.address().port().to_string();
            let run = run(&["--port", &port, "--workers", second]);
            assert_eq!(run.code, 69, "{first} and {second}: {run:?}");
            assert!(run.err.contains("cannot listen on 127.0.0.1:"), "{run:?}");
        }
        assert_eq!(bind_sharing(weir.address()).is_ok(), first == "3");
    }
    // Nor with another program that would share it.
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = other.local_addr().expect("its address").port().to_string();
    assert_eq!(run(&["--port", &port, "--workers", "3"]).code, 69);
}

/// The most clients are that many over all workers, neither fewer nor more, and room is room wherever it was made.
#[test]
fn limit_of_clients_is_one_for_all() {
    let origin = Origin::ok();
    let weir = Weir::start(&["--workers", "4", "--max-connections", "12"]);
    for _ in 0..3 {
        let mut clients: Vec<Raw> = (0..12).map(|_| weir.connect()).collect();
        for client in &mut clients {
            assert_eq!(client.ask(origin.get("/")).status(), 200);
        }
        for _ in 0..8 {
            assert_eq!(weir.connect().try_read_response("GET").expect("a refusal").head.status(), 503);
        }
        drop(clients);
        wait_until_no_client_is_connected(&weir);
    }
    assert_eq!(weir.statistics().get("limit_connections"), 24);
}

/// When no client can be accepted any more, clients wait with all workers; when there is room, it is for all workers,
/// also for those that no other event wakes.
#[test]
fn room_made_by_one_worker_is_room_for_all() {
    let weir = Weir::start(&["--workers", "32", "--max-connections", "1"]);
    let first = weir.connect();
    eventually("the first is taken", || (weir.statistics().get("clients") == 1).then_some(()));
    // Those that are refused stay for a moment, and 64 of them are the most there may be.
    let mut refused: Vec<Raw> = (0..64).map(|_| weir.connect()).collect();
    eventually("all clients are accepted", || (weir.statistics().get("clients") == 65).then_some(()));
    let mut waiting: Vec<Raw> = (0..96).map(|_| weir.connect()).collect();
    for client in refused.iter_mut().chain(&mut waiting) {
        assert_eq!(client.read_response().status(), 503);
    }
    let now = weir.statistics();
    assert_eq!((now.get("accepted"), now.get("limit_connections")), (161, 160));
    drop((first, refused, waiting));
    wait_until_no_client_is_connected(&weir);
}

/// The most connections of one client are that many over all workers.
#[test]
fn limit_per_client_is_one_for_all() {
    let origin = Origin::ok();
    let weir = Weir::start(&["--workers", "4", "--max-per-client", "5"]);
    let mut held: Vec<Raw> = (0..5).map(|_| weir.connect_from("127.0.0.2")).collect();
    for client in &mut held {
        assert_eq!(client.ask(origin.get("/")).status(), 200);
    }
    for _ in 0..8 {
        let refusal = weir.connect_from("127.0.0.2").try_read_response("GET").expect("a refusal");
        assert_eq!(refusal.head.status(), 429);
        assert_eq!(weir.connect_from("127.0.0.3").ask(origin.get("/")).status(), 200);
    }
    assert_eq!(weir.statistics().get("limit_per_client"), 8);
    held.pop();
    eventually("there is room for another", || {
        let mut client = weir.connect_from("127.0.0.2");
        client.send_if_open(origin.get("/"));
        let answer = client.try_read_response("GET").ok()?;
        (answer.head.status() == 200).then_some(())
    });
}

/// A reload reaches every worker, and so do names of the hosts file's kind: rules, users.
#[test]
fn reload_reaches_every_worker() {
    let (scratch, origin) = (Scratch::new(), Origin::ok());
    let list = scratch.file("list.txt", "first.test\n");
    let weir = Weir::start(&["--workers", "4", "--blocklist", &list]);
    let mut clients = crowd(&weir, &origin);
    scratch.file("list.txt", "127.0.0.1\n");
    weir.signal(Signal::HUP);
    weir.wait_for_error(|line| line.contains("reloaded: "));
    for client in &mut clients {
        eventually("the new rule holds here, too", || {
            (client.ask(origin.get("/after")).status() == 403).then_some(())
        });
    }
}

/// A password that one worker has verified is not verified again by another; all workers have one thread for it.
#[test]
fn passwords_are_verified_once_for_all() {
    let (scratch, origin) = (Scratch::new(), Origin::ok());
    let users = scratch.file("users.txt", format!("anna:{}\n", bcrypt::hash("secret", 4).expect("a hash")));
    let weir = Weir::start(&["--workers", "4", "--auth-file", &users]);
    // anna:secret
    let request = format!(
        "GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\nProxy-Authorization: Basic YW5uYTpzZWNyZXQ=\r\n\r\n",
        origin.address()
    );
    let mut clients: Vec<Raw> = (0..CROWD).map(|_| weir.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.ask(&request).status(), 200);
    }
    assert!(by_worker(&weir, "requests").iter().all(|&requests| requests > 0));
    assert_eq!(weir.statistics().get("verifications"), 1);
    assert_eq!(threads(&weir, "weir-verify").len(), 1);
}

/// The processors that threads of a name may run on, one list for each.
fn threads(weir: &Weir, name: &str) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", weir.id())).expect("its threads");
    let statuses = tasks.map(|task| {
        std::fs::read_to_string(task.expect("a thread").path().join("status")).expect("its status")
    });
    let field = |status: &str, field: &str| {
        let line = status.lines().find(|line| line.starts_with(field)).unwrap_or("").to_owned();
        line.split_whitespace().nth(1).unwrap_or("").to_owned()
    };
    let named = statuses.filter(|status| field(status, "Name:").starts_with(name));
    named.map(|status| field(&status, "Cpus_allowed_list:")).collect()
}

/// Each pinned worker has one processor; the thread that verifies passwords is pinned to none. The sandbox allows it.
#[test]
fn workers_can_be_pinned() {
    let (scratch, origin) = (Scratch::new(), Origin::ok());
    let users = scratch.file("users.txt", format!("anna:{}\n", bcrypt::hash("secret", 4).expect("a hash")));
    let field = "Proxy-Authorization: Basic YW5uYTpzZWNyZXQ=\r\n";
    let request = format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n{field}\r\n", origin.address());
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get());
    for (option, pinned) in [("--workers=3,pin", true), ("--workers=3", false), ("--workers=auto,pin", true)]
    {
        let weir = Weir::start(&[option, "--auth-file", &users]);
        assert_eq!(weir.connect().ask(&request).status(), 200);
        // A thread names itself when it has its first turn.
        let named = |name: &str, count: usize| {
            eventually(name, || Some(threads(&weir, name)).filter(|threads| threads.len() == count))
        };
        let unpinned = named("weir-log", 1).remove(0);
        assert_eq!(named("weir-verify", 1), std::slice::from_ref(&unpinned));
        let loops = named("weir-loop", if option.contains("auto") { processors } else { 3 });
        let single = |list: &String| list.bytes().all(|byte| byte.is_ascii_digit());
        assert!(loops.iter().all(|list| if pinned { single(list) } else { *list == unpinned }), "{loops:?}");
        assert!(!weir.error_lines().iter().any(|line| line.contains("cannot choose")));
    }
}

/// An origin that answers when it is told to.
fn slow_origin() -> (Origin, Arc<AtomicBool>) {
    let release = Arc::new(AtomicBool::new(false));
    let released = release.clone();
    let origin = Origin::serve(move |conn| {
        while conn.request()?.is_some() {
            while !released.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
        Ok(())
    });
    (origin, release)
}

/// TERM drains every worker: transactions are finished, and the process ends with the last worker.
#[test]
fn every_worker_drains() {
    let (quick, (slow, release)) = (Origin::ok(), slow_origin());
    let mut weir = Weir::start(&["--workers", "4"]);
    let mut clients = crowd(&weir, &quick);
    let (busy, idle) = clients.split_at_mut(CROWD / 2);
    busy.iter_mut().for_each(|client| client.send(slow.get("/slow.")));
    slow.wait_for_connections(CROWD / 2);
    weir.signal(Signal::TERM);
    idle.iter_mut().for_each(Raw::expect_closed);
    assert!(weir.is_running());
    let refused = |address| std::net::TcpStream::connect(address).is_err();
    eventually("no worker listens", || refused(weir.address()).then_some(()));
    release.store(true, Ordering::SeqCst);
    for client in busy {
        assert_eq!(client.read_response().status(), 200);
    }
    assert_eq!(weir.wait_exit().code(), Some(0));
    weir.wait_for_logs(CROWD / 2, |line| line.contains("/slow."));
    let last = weir.wait_for_error(|line| line.contains("statistics: "));
    assert!(last.contains(" workers=4 "), "{last}");
    // The last statistics have what every worker did, also those that ended before.
    let requests = format!(" requests={} ", CROWD + CROWD / 2);
    weir.wait_for_error(|line| line.contains("statistics: clients=0 ") && line.contains(&requests));
}

/// A second TERM cuts every worker.
#[test]
fn every_worker_is_cut() {
    let (quick, (slow, _never)) = (Origin::ok(), slow_origin());
    let mut weir = Weir::start(&["--workers", "4"]);
    let mut clients = crowd(&weir, &quick);
    clients.iter_mut().for_each(|client| client.send(slow.get("/cut.")));
    slow.wait_for_connections(CROWD);
    weir.signal(Signal::TERM);
    weir.wait_for_error(|line| line.contains("finishing what is under way"));
    weir.signal(Signal::TERM);
    assert_eq!(weir.wait_exit().code(), Some(128 + 15));
    weir.wait_for_logs(CROWD, |line| line.contains("/cut.") && line.contains(" reason=cut "));
}

/// A request that is half received when weir stops has its line and is counted; a client that has sent nothing of one has none.
#[test]
fn half_a_request_is_cut_with_a_line() {
    let origin = Origin::ok();
    let mut weir = Weir::start(&[]);
    let mut clients = [weir.connect(), weir.connect()];
    clients.iter_mut().for_each(|client| assert_eq!(client.ask(origin.get("/")).status(), 200));
    clients[0].send("GET http://half.example/way HTTP/1.1\r\nHo");
    eventually("the bytes have arrived", || {
        let received = weir.statistics().get("client_bytes_in");
        (received > 2 * origin.get("/").len() as u64).then_some(())
    });
    weir.signal(Signal::TERM);
    weir.wait_for_error(|line| line.contains("finishing what is under way"));
    weir.signal(Signal::TERM);
    assert_eq!(weir.wait_exit().code(), Some(128 + 15));
    let line = weir.wait_for_log(|line| line.contains(" reason=cut "));
    assert!(line.contains(" exchange malformed - GET http://half.example/way "), "{line}");
    assert_eq!(weir.log_lines().len(), 3);
    weir.wait_for_error(|line| line.contains("statistics: ") && line.contains(" timeouts_drain=1"));
}
