//! Proxies inside this process: what a host gives them, what it takes from them, and what is left when they are gone.

mod common;

use common::{DEADLINE, Origin, Raw, Response, Scratch, eventually};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use weir::{BanError, BuildError, Builder, Configuration, Proxy, Status};

/// What is counted of this process is of one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    // The system lists a thread for a moment after it was joined.
    eventually("the end of the threads of the test before", || left_over().1.is_empty().then_some(()));
    one
}

/// What a proxy has open besides sockets, and its threads: epoll and eventfd descriptors, pipes, and threads that are called `weir-`.
fn left_over() -> (usize, Vec<String>) {
    let open = |entry: std::fs::DirEntry| {
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        let target = target.to_string_lossy().into_owned();
        ["anon_inode:", "pipe:"].iter().any(|kind| target.starts_with(kind))
    };
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("/proc").flatten();
    let descriptors = descriptors.map(open).filter(|open| *open).count();
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc").flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("weir-")).collect();
    names.sort();
    (descriptors, names)
}

/// Loopback origins are allowed; nothing comes from the disk.
fn configuration() -> Configuration {
    Configuration::new().memory_only().text("host 127.0.0.1\nport 0\nallow 127.0.0.0/8\n")
}

type Lines = Arc<Mutex<String>>;

fn logging_to(lines: &Lines, configuration: Configuration) -> Builder {
    let lines = Arc::clone(lines);
    Proxy::builder().configuration(configuration).access_log(move |batch| {
        lines.lock().expect("lines").push_str(&String::from_utf8_lossy(batch));
    })
}

fn built(configuration: Configuration) -> Proxy {
    Proxy::builder().configuration(configuration).build().expect("a proxy")
}

fn address(proxy: &Proxy) -> SocketAddr {
    proxy.control().addresses()[0]
}

fn ask(at: SocketAddr, request: Vec<u8>) -> JoinHandle<(Raw, Response)> {
    thread::spawn(move || {
        let mut client = Raw::connect(at);
        let response = client.ask(request);
        (client, response)
    })
}

/// Polls these proxies in turn until a client has its response.
#[track_caller]
fn answered<T>(proxies: &mut [&mut Proxy], client: JoinHandle<T>) -> T {
    let end = Instant::now() + DEADLINE;
    while !client.is_finished() {
        assert!(Instant::now() < end, "no response");
        for proxy in proxies.iter_mut() {
            assert_eq!(proxy.poll(Some(Duration::from_millis(1))).expect("a turn"), Status::Running);
        }
    }
    client.join().expect("a client")
}

/// Two proxies, each with users, rules, a log and numbers of its own; one drains, the other one is dropped, and nothing is left.
#[test]
fn two_proxies_share_nothing_and_leave_nothing() {
    let _alone = alone();
    let before = left_over();
    let origin = Origin::ok();
    let (first_log, second_log) = (Lines::default(), Lines::default());
    let with_users = configuration().set("auth-file", "users").file("users", "ann:secret\n");
    let mut first = logging_to(&first_log, with_users).build().expect("a proxy");
    let mut second =
        logging_to(&second_log, configuration().set("block", "127.0.0.2")).build().expect("a proxy");
    let (first_at, second_at) = (address(&first), address(&second));
    assert_eq!((first.control().loaded(), second.control().loaded()), ([1, 1], [2, 0]));

    let get = origin.get("/");
    let authorised = String::from_utf8(get.clone()).expect("text");
    let authorised = authorised.replacen("\r\n", "\r\nProxy-Authorization: Basic YW5uOnNlY3JldA==\r\n", 1);
    let (mut kept, response) =
        answered(&mut [&mut first, &mut second], ask(first_at, authorised.clone().into()));
    assert_eq!(response.status(), 200);
    let (_, response) = answered(&mut [&mut first, &mut second], ask(first_at, get.clone()));
    assert_eq!(response.status(), 407);
    let (mut idle, response) = answered(&mut [&mut first, &mut second], ask(second_at, get));
    assert_eq!(response.status(), 200);
    let blocked = b"GET http://127.0.0.2/ HTTP/1.1\r\nHost: 127.0.0.2\r\n\r\n".to_vec();
    let (_, response) = answered(&mut [&mut first, &mut second], ask(second_at, blocked));
    assert_eq!(response.status(), 403);

    let (of_first, of_second) = (first.statistics().sum(), second.statistics().sum());
    assert_eq!((of_first.requests, of_first.blocked), (2, 1));
    assert_eq!((of_second.requests, of_second.blocked), (2, 1));
    assert!(left_over().1.is_empty(), "nothing asked for a thread");

    first.control().drain();
    let end = Instant::now() + DEADLINE;
    while first.poll(Some(Duration::from_millis(10))).expect("a turn") == Status::Running {
        assert!(Instant::now() < end, "it does not drain");
    }
    assert_eq!(first.poll(None).expect("no turn any more"), Status::Ended);
    assert!(kept.wire().read_to_end().expect("an end").is_empty(), "an idle client is closed");
    assert!(TcpStream::connect(first_at).is_err(), "it listens no more");
    drop(first);
    drop(second);
    assert!(!matches!(idle.wire().read_some(), Ok(bytes) if !bytes.is_empty()), "a drop closes everything");
    assert!(TcpStream::connect(second_at).is_err(), "it listens no more");
    assert_eq!(left_over(), before);
    let log = first_log.lock().expect("lines").clone();
    assert_eq!((log.lines().count(), log.matches("user=ann").count()), (2, 1), "{log}");
    let log = second_log.lock().expect("lines").clone();
    assert!(log.lines().count() == 2 && log.contains("127.0.0.2"), "{log}");
}

/// A loop that does not turn shows, and so does one that turns again; it is asked once, however often it is looked.
#[test]
fn a_loop_that_stands_still_is_seen() {
    let _alone = alone();
    let mut proxy = built(configuration());
    for _ in 0..3 {
        let health = proxy.control().health(Duration::from_millis(1));
        assert!(!health.alive && !health.ready);
    }
    let control = proxy.control().clone();
    let look = std::thread::spawn(move || control.health(Duration::from_secs(10)));
    while !look.is_finished() {
        proxy.poll(Some(Duration::from_millis(1))).expect("a turn");
    }
    let health = look.join().expect("a look");
    assert!(health.alive && health.ready);
}

/// The host waits: with poll(2) for the proxy's descriptor and something of its own, and never longer than the proxy wants.
#[test]
fn a_host_waits_by_itself() {
    let _alone = alone();
    let origin = Origin::ok();
    let mut proxy = built(configuration().set("head-timeout", "1s"));
    let (waker, woken) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let client = ask(address(&proxy), origin.get("/"));
    let silent = TcpStream::connect(address(&proxy)).expect("a connection");
    let mut told = false;
    let end = Instant::now() + DEADLINE;
    let mut turns = 0;
    // Until the time-out of the silent client has been counted: nothing but a deadline leads to that.
    while proxy.statistics().sum().timeouts_unused == 0 {
        assert!(Instant::now() < end, "{:?}", proxy.statistics().line());
        let timeout = proxy.next_timeout().map(|timeout| Timespec::try_from(timeout).expect("a time"));
        let mut watched = [PollFd::new(&proxy, PollFlags::IN), PollFd::new(&woken, PollFlags::IN)];
        poll(&mut watched, timeout.as_ref()).expect("poll");
        turns += 1;
        proxy.poll(Some(Duration::ZERO)).expect("a turn");
        if client.is_finished() && !told {
            told = true;
            std::io::Write::write_all(&mut &waker, b"x").expect("a byte");
            std::io::Read::read_exact(&mut &woken, &mut [0]).expect("a byte");
        }
    }
    assert_eq!(client.join().expect("a client").1.status(), 200);
    assert!(turns < 200, "{turns} turns for one request and one time-out: it spins");
    drop(silent);
}

/// A reload takes all of another configuration, or nothing of a wrong one.
/// A host that works longer than it polls: deadlines come with the next turns, and do not wait for the host's time.
#[test]
fn a_busy_host_keeps_the_deadlines() {
    let _alone = alone();
    let mut proxy = built(configuration().text("head-timeout 1\n"));
    let mut slow = Raw::connect(address(&proxy));
    slow.send("GET / HT");
    let reads = thread::spawn(move || slow.read_response().status());
    let mut turns = 0;
    while !reads.is_finished() {
        turns += 1;
        // Without the mending it takes 66 turns.
        assert!(turns <= 12, "no answer in {turns} turns");
        thread::sleep(Duration::from_millis(600));
        proxy.poll(Some(Duration::ZERO)).expect("a turn");
    }
    assert_eq!(reads.join().expect("a status"), 408);
}

/// More events than one turn takes: a host that hears of edges only must come back at once.
#[test]
fn more_events_than_a_turn_takes_are_due_at_once() {
    let _alone = alone();
    // Two descriptors for each client, in this process.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("descriptors");
    let mut proxy = built(configuration());
    let mut clients: Vec<TcpStream> = Vec::new();
    for _ in 0..1100 {
        clients.push(TcpStream::connect(address(&proxy)).expect("a connection"));
        proxy.poll(Some(Duration::ZERO)).expect("a turn");
    }
    eventually("all are taken", || {
        proxy.poll(Some(Duration::ZERO)).expect("a turn");
        (proxy.statistics().sum().clients == 1100).then_some(())
    });
    while proxy.next_timeout() == Some(Duration::ZERO) {
        proxy.poll(Some(Duration::ZERO)).expect("a turn");
    }
    clients.iter_mut().for_each(|client| client.write_all(b"G").expect("a byte"));
    proxy.poll(Some(Duration::ZERO)).expect("a turn");
    assert_eq!(proxy.next_timeout(), Some(Duration::ZERO), "76 events are left");
    eventually("nothing is left", || {
        proxy.poll(Some(Duration::ZERO)).expect("a turn");
        (proxy.next_timeout() != Some(Duration::ZERO)).then_some(())
    });
}

#[test]
fn a_reload_replaces_everything_or_nothing() {
    let _alone = alone();
    let origin = Origin::ok();
    let mut proxy = built(configuration());
    let control = proxy.control().clone();
    let wrong = control.reload(&configuration().text("block a..b\nnonsense 1\n")).expect_err("it is wrong");
    assert!(wrong.to_string().contains("nonsense"), "{wrong}");
    let client = ask(address(&proxy), origin.get("/"));
    let (_, response) = answered(&mut [&mut proxy], client);
    assert_eq!(response.status(), 200);
    let closed = configuration().text("block-all yes");
    assert!(control.reload(&closed).is_err(), "no option of that name");
    let reloaded =
        control.reload(&configuration().set("block", "127.0.0.1").set("workers", "2")).expect("valid");
    assert_eq!((reloaded.rules, reloaded.users), (2, 0));
    assert_eq!((reloaded.changed, reloaded.need_restart), (vec!["block"], vec!["workers"]));
    let client = ask(address(&proxy), origin.get("/"));
    let (_, response) = answered(&mut [&mut proxy], client);
    assert_eq!(response.status(), 403);
}

/// Several workers have threads; orders come from any thread, and the cache is saved when the host says so.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn workers_and_the_cache_file_are_asked_for() {
    let _alone = alone();
    let before = left_over();
    let scratch = Scratch::new();
    let file = scratch.join("cache");
    let cacheable = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok";
    let origin = Origin::answering(cacheable);
    let caching = || configuration().set("workers", "3").set("cache", "yes").set("cache-file", &file);
    for turn in ["stored", "loaded"] {
        let proxy = Proxy::builder().configuration(caching()).follow_addresses().build();
        let mut proxy = proxy.expect("a proxy");
        let (at, control) = (address(&proxy), proxy.control().clone());
        // A thread has its name a moment after its start.
        let threads = ["weir-addresses\n", "weir-loop-1\n", "weir-loop-2\n"];
        eventually("threads that were asked for", || (left_over().1 == threads).then_some(()));
        // So many that each loop has some.
        let clients: Vec<_> = (0..32).map(|_| ask(at, origin.get("/stored"))).collect();
        for client in clients {
            assert_eq!(answered(&mut [&mut proxy], client).1.status(), 200, "{turn}");
        }
        assert_eq!(origin.heads().len(), 1, "{turn}");
        let settled = thread::spawn({
            let control = control.clone();
            move || control.wait_until_applied(DEADLINE)
        });
        assert!(answered(&mut [&mut proxy], settled), "all loops obey");
        let early = proxy.save_cache().expect_err("it still serves");
        assert_eq!(early.kind(), std::io::ErrorKind::ResourceBusy);
        control.drain();
        proxy.run().expect("it drains");
        let requests: Vec<u64> = proxy.statistics().loops.iter().map(|one| one.requests).collect();
        assert!(requests.iter().sum::<u64>() == 32 && requests.len() == 3, "{requests:?}");
        assert_eq!(proxy.save_cache().expect("it can be written"), Some(1), "{turn}");
        assert_eq!(proxy.save_cache().expect("nothing to do"), None, "{turn}");
        drop(proxy);
        control.stop();
        drop(control);
        assert_eq!(left_over(), before, "{turn}");
    }
}

/// The cache can be saved again when that has failed: here something else has its place for a while.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn a_cache_that_could_not_be_saved_can_be_saved_again() {
    let _alone = alone();
    let scratch = Scratch::new();
    let file = scratch.join("cache");
    let mut proxy = built(configuration().set("cache", "yes").set("cache-file", &file));
    proxy.control().stop();
    assert_eq!(proxy.poll(Some(DEADLINE)).expect("a turn"), Status::Ended);
    std::fs::create_dir(&file).expect("a folder");
    for _ in 0..2 {
        proxy.save_cache().expect_err("a folder is there");
    }
    std::fs::remove_dir(&file).expect("the folder goes");
    assert_eq!(proxy.save_cache().expect("it can be written"), Some(0));
    assert!(proxy.save_cache().expect("nothing to do").is_none() && std::fs::exists(&file).expect("a look"));
}

/// A loop that has ended does not keep the thread of its host while another one finishes a request.
#[test]
fn a_turn_does_not_wait_for_other_loops() {
    let _alone = alone();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = silent.local_addr().expect("an address");
    let mut proxy = built(configuration().set("workers", "2").set("drain-timeout", "30"));
    // The first loop does not turn: a request that arrives is one of the second loop. The others go.
    let request = format!("GET http://{at}/ HTTP/1.1\r\nHost: {at}\r\n\r\n");
    let mut clients: Vec<_> = (0..32).map(|_| Raw::connect(address(&proxy))).collect();
    clients.iter_mut().for_each(|client| client.send(&request));
    let (origin, _) = silent.accept().expect("a request");
    proxy.control().drain();
    // The first loop has nothing to finish.
    for _ in 0..10 {
        assert_eq!(proxy.poll(Some(Duration::ZERO)).expect("a turn"), Status::Running);
    }
    assert_eq!(proxy.next_timeout(), None);
    drop((origin, silent));
    // Without a limit: the loop that ends last wakes this one.
    while proxy.poll(None).expect("a turn") == Status::Running {}
}

/// A proxy that was stopped listens no more, even before it is dropped.
#[test]
fn a_proxy_that_has_ended_does_not_listen() {
    let _alone = alone();
    let mut proxy = built(configuration());
    let at = address(&proxy);
    proxy.control().stop();
    assert_eq!(proxy.poll(Some(DEADLINE)).expect("a turn"), Status::Ended);
    assert!(TcpStream::connect(at).is_err(), "no program accepts what comes");
}

/// A ban needs a guard file, holds at once and can be ended.
#[test]
#[cfg_attr(not(feature = "guard"), ignore = "needs the feature guard")]
fn bans_hold_until_they_are_ended() {
    let _alone = alone();
    let origin = Origin::ok();
    let mut proxy = built(configuration());
    assert_eq!(proxy.control().ban("192.0.2.1", None, ""), Err(BanError::NoGuard));
    let trusting = "trust 127.0.0.1\n";
    proxy = built(configuration().set("guard", "guard.conf").file("guard.conf", trusting));
    let control = proxy.control().clone();
    let forwarded = String::from_utf8(origin.get("/")).expect("text");
    let forwarded = forwarded.replacen("\r\n", "\r\nX-Forwarded-For: 192.0.2.7\r\n", 1);
    for (status, change) in [(200, "ban"), (403, "unban"), (200, "none")] {
        let client = ask(address(&proxy), forwarded.clone().into());
        assert_eq!(answered(&mut [&mut proxy], client).1.status(), status, "before {change}");
        match change {
            "ban" => {
                control.ban("192.0.2.0/24", Some(Duration::from_millis(3_600_500)), "scans").expect("a ban")
            }
            "unban" => assert_eq!(control.unban("192.0.2.0/24"), Ok(true)),
            _ => assert_eq!(control.unban("192.0.2.0/24"), Ok(false)),
        }
    }
    for (network, lasts) in
        [("192.0.2.1/24", None), ("example.com", None), ("192.0.2.1", Some(Duration::MAX))]
    {
        let refused = control.ban(network, lasts, "");
        assert!(matches!(refused, Err(BanError::Malformed(_))), "{network}: {refused:?}");
    }
    assert_eq!(control.ban("192.0.2.1", None, &"x".repeat(1000)), Ok(()));
    assert!(matches!(control.ban("127.0.0.1", None, ""), Err(BanError::Refused(_))));
}

/// Sockets too: what a proxy has opened is closed with it, and with requests under way.
#[test]
fn a_close_closes_every_descriptor() {
    let _alone = alone();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = silent.local_addr().expect("an address");
    let sockets = |at: SocketAddr| {
        let port = format!(":{:04X} ", at.port());
        let table = std::fs::read_to_string("/proc/net/tcp").expect("/proc");
        table.lines().filter(|line| line.contains(&port) && line.contains(" 01 ")).count()
    };
    let mut proxy = built(configuration().set("workers", "1"));
    let mut client = Raw::connect(address(&proxy));
    client.send(format!("GET http://{at}/ HTTP/1.1\r\nHost: {at}\r\n\r\n"));
    let end = Instant::now() + DEADLINE;
    while sockets(at) == 0 {
        assert!(Instant::now() < end, "no connection to the origin");
        proxy.poll(Some(Duration::from_millis(1))).expect("a turn");
    }
    let (listening, descriptor) = (address(&proxy), proxy.as_raw_fd());
    proxy.close();
    assert!(TcpStream::connect(listening).is_err(), "it listens no more");
    eventually("the origin's end", || (sockets(at) == 0).then_some(()));
    assert!(!matches!(client.wire().read_some(), Ok(bytes) if !bytes.is_empty()), "the client is cut");
    assert!(std::fs::read_link(format!("/proc/self/fd/{descriptor}")).is_err(), "epoll is closed");
}

/// A proxy keeps no copy of a descriptor that is not its own: the program may have closed it, or another process may wait for its end.
#[test]
fn a_proxy_copies_no_descriptor_of_the_process() {
    let _alone = alone();
    let copies = || {
        let errors = std::fs::read_link("/proc/self/fd/2").expect("standard error");
        let open = std::fs::read_dir("/proc/self/fd").expect("/proc").flatten();
        open.filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|target| target == errors)).count()
    };
    let before = copies();
    let origin = Origin::ok();
    let mut proxy = built(configuration());
    let client = ask(address(&proxy), origin.get("/"));
    let (_client, response) = answered(&mut [&mut proxy], client);
    assert_eq!((response.status(), copies()), (200, before));
}

/// What a program writes into its own log of a proxy has no password.
#[test]
fn debug_output_has_no_secrets() {
    let _alone = alone();
    let before = left_over();
    let given = configuration().set("auth-file", "users").file("users", "ann:hidden\n");
    let given = given.set("add-header", "X-Key: hidden");
    #[cfg(feature = "redis")]
    let given = given.set("guard", "guard").file("guard", "store redis://ann:hidden@127.0.0.1:1\n");
    let builder = Proxy::builder().configuration(given.clone());
    let mut shown = format!("{given:?} {builder:?}");
    let proxy = builder.build().expect("a proxy");
    shown += &format!("{proxy:?} {:?}", proxy.control());
    assert!(!shown.contains("hidden"), "{shown}");
    drop(proxy);
    // The threads of the store end by themselves, and are not to be counted by the next test.
    eventually("the end of its threads", || (left_over() == before).then_some(()));
}

/// What cannot be had is said, and leaves nothing open.
#[test]
fn errors_say_what_is_wrong() {
    let _alone = alone();
    let before = left_over();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let outcome = |configuration: Configuration| match Proxy::builder().configuration(configuration).build() {
        Err(error @ BuildError::Listen(_)) => format!("listen: {error}"),
        Err(error @ BuildError::Configuration(_)) => format!("configuration: {error}"),
        Err(error) => format!("{error}"),
        Ok(_) => "none".to_owned(),
    };
    let used = outcome(Configuration::new().memory_only().set("host", "127.0.0.1").set("port", &port));
    assert!(used.starts_with("listen: cannot listen on 127.0.0.1:"), "{used}");
    let missing = outcome(configuration().set("auth-file", "users"));
    assert!(missing.starts_with("configuration: ") && missing.contains("users"), "{missing}");
    if cfg!(feature = "cache") {
        let place = outcome(configuration().set("cache", "yes").set("cache-file", "/nowhere/cache"));
        let expected = "/nowhere/cache: cannot keep the cache there";
        assert!(place.starts_with("configuration: ") && place.contains(expected), "{place}");
    }
    if cfg!(feature = "guard") {
        // The directory of the clouds is in memory as well.
        let clouds = configuration().set("cloud-ranges", "clouds").set("guard", "guard");
        let clouds = clouds.file("guard", "cloud deny client aws\ncloud refresh off\n");
        let network = r#"{"prefixes":[{"ip_prefix":"192.0.2.0/24","region":"here","service":"AMAZON"}],"ipv6_prefixes":[]}"#;
        assert_eq!(outcome(clouds.clone().file("clouds/aws.json", network)), "none");
        let faulty = outcome(clouds.file("clouds/aws.json", "{"));
        assert!(faulty.starts_with("configuration: ") && faulty.contains("clouds/aws.json"), "{faulty}");
    }
    let sandbox = outcome(configuration().set("sandbox", "yes"));
    let reason = if cfg!(feature = "sandbox") { "is the daemon's" } else { "needs the feature sandbox" };
    assert!(sandbox.contains("sandbox") && sandbox.contains(reason), "{sandbox}");
    let many = Proxy::builder().configuration(configuration().set("workers", "2"));
    let socket = taken.try_clone().expect("a descriptor");
    assert!(many.listener(socket).build().is_err(), "one socket is for one loop");
    // The socket that listens already is as good as another one.
    let mut proxy = Proxy::builder().configuration(configuration()).listener(taken).build().expect("a proxy");
    assert_eq!(address(&proxy).port().to_string(), port);
    let origin = Origin::ok();
    let client = ask(address(&proxy), origin.get("/"));
    assert_eq!(answered(&mut [&mut proxy], client).1.status(), 200);
    drop(proxy);
    // One that does not listen would be silent for ever.
    let connected = TcpListener::from(OwnedFd::from(TcpStream::connect(origin.address()).expect("a socket")));
    let deaf = Proxy::builder().configuration(configuration()).listener(connected).build();
    assert!(deaf.expect_err("it does not listen").to_string().contains("does not listen"));
    assert_eq!(left_over(), before);
}

/// Sockets that the host gives stand in for those of `host`; a gateway's own come beside them, unless they were given as well.
#[test]
#[cfg(feature = "guard")]
fn given_sockets_are_the_forward_proxys_and_listen_is_the_gateways() {
    let _alone = alone();
    let origin = Origin::ok();
    let free = || TcpListener::bind("127.0.0.1:0").expect("a port");
    let [first, second, of_gateway] = [free(), free(), free()];
    let gateway_at = of_gateway.local_addr().expect("an address");
    let routes = |listen: SocketAddr| format!("listen {listen}\n*/ -> {}\n", origin.address());
    let given = configuration().set("gateway", "routes").file("routes", routes(gateway_at));
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let bound = configuration().set("gateway", "routes").file("routes", routes(any));
    let builder = |sockets: [&TcpListener; 2]| {
        sockets.into_iter().fold(Proxy::builder(), |builder, socket| {
            builder.listener(socket.try_clone().expect("a descriptor"))
        })
    };
    for (configuration, extra) in [(given, Some(of_gateway)), (bound, None)] {
        let builder = builder([&first, &second]).configuration(configuration);
        let builder = extra.into_iter().fold(builder, Builder::listener);
        let mut proxy = builder.build().expect("a proxy");
        let addresses = proxy.control().addresses().to_vec();
        assert_eq!(addresses.len(), 3);
        for (index, at) in addresses.into_iter().enumerate() {
            // Only a gateway takes what names no host in its target.
            let request = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".to_vec();
            let status = answered(&mut [&mut proxy], ask(at, request)).1.status();
            assert_eq!(status == 200, index == 2, "{at}: {status}");
            let forward = answered(&mut [&mut proxy], ask(at, origin.get("/"))).1.status();
            assert!(index == 2 || forward == 200, "{at}: {forward}");
        }
    }
}

/// A control that outlives the proxy keeps nothing open: no descriptor of a loop, no thread of the guard or of the gateway. A reload
/// of a proxy that is gone starts none.
#[test]
#[cfg(feature = "guard")]
fn a_control_that_is_kept_keeps_nothing_open() {
    let _alone = alone();
    let before = left_over();
    let scratch = Scratch::new();
    let events = scratch.path().join("events");
    let guard = format!("events {}\nlimit 1000/1s per client\n", events.display());
    let routes = "*/ -> 127.0.0.1:1 health GET / every 60s\n";
    let full = configuration().set("gateway", "routes").file("routes", routes);
    let full = full.set("guard", "guard").file("guard", guard).set("workers", "2");
    let proxy = built(full.clone());
    assert_ne!(left_over(), before);
    let control = proxy.control().clone();
    proxy.close();
    let closed = || (left_over() == before).then_some(());
    eventually("all is closed", closed);
    control.reload(&full).expect("it is in vain, and no error");
    assert!(control.wait_until_applied(DEADLINE) && control.addresses().len() == 1);
    eventually("all is closed again", closed);
}

/// The thread that verifies passwords ends with the proxy, also in the middle of its work.
#[test]
fn a_drop_waits_for_the_thread_of_passwords() {
    let _alone = alone();
    let before = left_over();
    // A hash takes long enough for the thread to be at work when the proxy goes.
    let users = "ann:$2y$09$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n";
    let mut proxy = built(configuration().set("auth-file", "users").file("users", users));
    let wrong = "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nProxy-Authorization: Basic YW5uOng=\r\n\r\n";
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let mut client = Raw::connect(address(&proxy));
            client.send(wrong);
            client
        })
        .collect();
    let end = Instant::now() + DEADLINE;
    while left_over().1 != ["weir-verify\n"] {
        assert!(Instant::now() < end, "no password is verified");
        proxy.poll(Some(Duration::from_millis(1))).expect("a turn");
    }
    drop(proxy);
    assert_eq!(left_over(), before);
    drop(clients);
}

/// The thread that fetches networks of clouds ends with the proxy, in the middle of a request to a provider that says nothing.
#[test]
#[cfg(feature = "cloud")]
fn a_drop_cuts_a_fetch() {
    let _alone = alone();
    let before = left_over();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = silent.local_addr().expect("an address");
    let guard = format!("cloud deny client aws\ncloud source aws http://{at}/aws\n");
    let proxy = built(configuration().set("guard", "guard").file("guard", guard));
    let (mut provider, _) = silent.accept().expect("a request");
    std::io::Read::read_exact(&mut provider, &mut [0]).expect("a byte");
    // A thread that it has just started has its name at first.
    let threads = left_over().1;
    assert!(!threads.is_empty() && threads.iter().all(|name| name == "weir-clouds\n"), "{threads:?}");
    let began = Instant::now();
    drop(proxy);
    assert_eq!(left_over(), before);
    // It has not waited for the time-out of the request, which is ten seconds.
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
}

/// A sink that panics loses its lines and nothing else: neither the turn nor the drop fails.
#[test]
fn a_panic_stays_in_the_sink() {
    let _alone = alone();
    let origin = Origin::ok();
    let builder = Proxy::builder().configuration(configuration()).access_log(|_| panic!("no space"));
    let mut proxy = builder.build().expect("a proxy");
    let client = ask(address(&proxy), origin.get("/"));
    let (_client, response) = answered(&mut [&mut proxy], client);
    assert_eq!(response.status(), 200);
    assert_eq!(proxy.poll(Some(Duration::ZERO)).expect("a turn"), Status::Running);
    proxy.close();
}
