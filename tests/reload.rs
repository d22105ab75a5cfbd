//! HUP and `weir reload`: the configuration is read again while clients are served, and a mistake changes nothing.

mod common;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::{FakeDns, Origin, Raw, Scratch, Weir, eventually, run, run_with};
use rustix::process::Signal;
use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// A daemon with a configuration file that can be written anew.
struct Site {
    scratch: Scratch,
    weir: Weir,
}

/// The common part of all configurations of these tests.
const COMMON: &str = "host 127.0.0.1\nport 0\nallow 127.0.0.0/8\nstats-every 0\n";

impl Site {
    fn start(config: &str, options: &[&str]) -> Site {
        Site::start_with(config, options, &[])
    }

    fn start_with(config: &str, options: &[&str], environment: &[(&str, &str)]) -> Site {
        let scratch = Scratch::new();
        let file = scratch.file("weir.conf", format!("{COMMON}{config}"));
        // Neither address nor port on the command line, where the file could not change them.
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(["-c", &file]).args(options).envs(environment.iter().copied());
        let weir = Weir::spawn(command, 1).unwrap_or_else(|said| panic!("no start: {said:#?}"));
        Site { scratch, weir }
    }

    fn write(&self, config: &str) {
        self.scratch.file("weir.conf", format!("{COMMON}{config}"));
    }

    /// How many lines on standard error have this part.
    fn said(&self, part: &str) -> usize {
        self.weir.error_lines().iter().filter(|line| line.contains(part)).count()
    }

    /// Has it read the file, and waits for what it says.
    #[track_caller]
    fn reload(&self, config: &str) -> String {
        self.write(config);
        self.hup("reloaded: ")
    }

    #[track_caller]
    fn hup(&self, part: &str) -> String {
        let before = self.said(part);
        self.weir.signal(Signal::HUP);
        eventually(part, || (self.said(part) > before).then_some(()));
        let lines = self.weir.error_lines();
        lines.iter().rfind(|line| line.contains(part)).expect("a line").clone()
    }

    #[track_caller]
    fn get(&self, url: &str) -> u16 {
        self.weir.connect().ask(get(url)).status()
    }
}

fn get(url: &str) -> String {
    let host = url.split('/').nth(2).unwrap_or("");
    format!("GET {url} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

/// Rule 47: users behind an address whose guesses are used up work on after a reload, for all loops, if their lines stay.
#[test]
fn kind_21_hup_forgets_no_password_that_was_right() {
    for workers in ["1", "2"] {
        let (origin, folder) = (Origin::ok(), Scratch::new());
        let config = format!("auth-file {}\n", folder.file("users.txt", "anna:secret\nbert:hidden\n"));
        let site = Site::start(&config, &["--workers", workers]);
        let ask = |credentials: &str| {
            let field = STANDARD.encode(credentials);
            let asked = format!(
                "GET http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\nProxy-Authorization: Basic {field}\r\n\r\n"
            );
            site.weir.connect().ask(origin.fill(asked)).status()
        };
        let use_up = || (0..1000).any(|number| ask(&format!("anna:wrong{number}")) == 429);
        assert_eq!((ask("anna:secret"), ask("bert:hidden")), (200, 200));
        assert!(use_up());
        site.reload(&format!("{config}block second.test\n"));
        for _ in 0..10 {
            assert_eq!((ask("anna:secret"), ask("bert:hidden")), (200, 200));
        }
        // Another password is a guess, and the one before is wrong.
        folder.file("users.txt", "anna:changed\nbert:hidden\n");
        site.hup("reloaded: ");
        for _ in 0..10 {
            assert_ne!(ask("anna:secret"), 200);
            assert_eq!(ask("bert:hidden"), 200);
        }
        eventually("a guess is restored", || (ask("anna:changed") == 200).then_some(()));
    }
}

/// Rules, users, ports and clients of the file, with one loop and with several.
#[test]
fn kind_21_hup_takes_rules_of_the_file() {
    for workers in ["1", "2"] {
        let origin = Origin::ok();
        let site = Site::start("block first.test\n", &["--workers", workers]);
        let here = format!("http://{}/", origin.address());
        assert_eq!((site.get("http://first.test/"), site.get(&here)), (403, 200));
        let said = site.reload("block second.test\nports any,!8081\nquiet-refusals yes\n");
        assert!(said.contains("reloaded: 2 rules, 0 users; changed: block, quiet-refusals, ports"), "{said}");
        // Every loop has them.
        for _ in 0..20 {
            assert_eq!(site.get("http://second.test/"), 403);
            assert_ne!(site.get("http://first.test/"), 403);
            assert_eq!(site.get("http://127.0.0.1:8081/"), 403);
        }
        let list = site.scratch.file("list.txt", "third.test\n");
        let users = site.scratch.file("users.txt", "anna:secret\n");
        site.reload(&format!("blocklist {list}\nauth-file {users}\n"));
        for _ in 0..10 {
            assert_eq!(site.get("http://third.test/"), 407);
            let asked = "GET http://third.test/ HTTP/1.1\r\nHost: third.test\r\nProxy-Authorization: Basic YW5uYTpzZWNyZXQ=\r\n\r\n";
            assert_eq!(site.weir.connect().ask(asked).status(), 403);
        }
        site.reload("allow-client 192.0.2.0/24\n");
        for _ in 0..10 {
            assert_eq!(site.get(&here), 403);
        }
        site.reload("");
        for _ in 0..10 {
            assert_eq!(site.get(&here), 200);
        }
    }
}

/// Fields, Via, log format and how much is said.
#[test]
fn kind_21_hup_takes_fields_formats_and_levels() {
    for workers in ["1", "2"] {
        let origin = Origin::echo();
        let site = Site::start("", &["--workers", workers]);
        let url = format!("http://{}/x", origin.address());
        let mut client = site.weir.connect();
        let text = client.ask(get(&url)).text();
        assert!(text.to_ascii_lowercase().contains("via: 1.1 weir"), "{text}");
        site.reload(
            "via other\nforwarded append\nadd-header \"X-Mine: yes\"\nadd-response-header \"X-Theirs: yes\"\n\
             remove-header User-Agent\nlog-format json\nverbose 1\n",
        );
        // The connection that was there has them, and so have new ones in any loop.
        for number in 0..12 {
            let mut other = site.weir.connect();
            let client = if number == 0 { &mut client } else { &mut other };
            let answer = client.ask(format!(
                "GET {url}/{number} HTTP/1.1\r\nHost: {}\r\nUser-Agent: me\r\n\r\n",
                origin.address()
            ));
            let text = answer.text().to_ascii_lowercase();
            for part in ["via: 1.1 other", "forwarded: for=", "x-mine: yes"] {
                assert!(text.contains(part), "{part}: {text}");
            }
            assert!(!text.contains("user-agent") && answer.head.has("x-theirs"), "{text}");
            let path = format!("/x/{number}\"");
            site.weir.wait_for_log(|line| line.starts_with('{') && line.contains(&path));
        }
        let lines = site.weir.error_lines().len();
        let said = site.reload("log-format none\nquiet yes\nvia off\n");
        assert!(said.contains("reloaded"), "{said} is still said: it tells what changed");
        assert!(site.weir.error_lines().len() > lines);
        let logged = site.weir.log_lines().len();
        for _ in 0..10 {
            let text = site.weir.connect().ask(get(&url)).text().to_ascii_lowercase();
            assert!(!text.contains("via:"), "{text}");
        }
        site.write("");
        site.weir.signal(Signal::HUP);
        eventually("the log again", || {
            site.get(&url);
            (site.weir.log_lines().len() > logged).then_some(())
        });
        assert!(site.weir.log_lines()[logged].contains(" exchange allowed 200 GET "));
    }
}

/// Limits on clients count existing connections; heads and targets have other bounds.
#[test]
fn kind_21_hup_takes_limits() {
    for workers in ["1", "2"] {
        let origin = Origin::ok();
        let site = Site::start("", &["--workers", workers]);
        let url = format!("http://{}/", origin.address());
        let mut held: Vec<Raw> = (0..4).map(|_| site.weir.connect()).collect();
        for client in &mut held {
            assert_eq!(client.ask(get(&url)).status(), 200);
        }
        site.reload("max-per-client 4\nhead-max 1K\ntarget-max 256\nfields-max 5\n");
        let refused = |site: &Site| {
            let mut client = site.weir.connect();
            client.send_if_open(get(&url));
            client.try_read_response("GET").map_or(0, |answer| answer.status())
        };
        for _ in 0..5 {
            assert_eq!(refused(&site), 429);
        }
        // Existing connections stay, and the limits of heads apply to them, too.
        assert_eq!(held[0].ask(get(&url)).status(), 200);
        let long = format!("{url}{}", "x".repeat(300));
        assert_eq!(held[1].ask(get(&long)).status(), 414);
        let host = origin.address();
        let many = format!("GET {url} HTTP/1.1\r\nHost: {host}\r\n{}\r\n", "A: b\r\n".repeat(6));
        assert_eq!(held[2].ask(many).status(), 431);
        let large = format!("GET {url} HTTP/1.1\r\nHost: {host}\r\nA: {}\r\n\r\n", "x".repeat(2000));
        assert_eq!(held[3].ask(large).status(), 431);
        drop(held);
        // Connections from before the limit are counted out without a trace.
        eventually("room", || (refused(&site) == 200).then_some(()));
        site.reload("max-connections 1\n");
        let mut only = eventually("the only one", || {
            let mut client = site.weir.connect();
            client.send_if_open(get(&url));
            client.try_read_response("GET").ok().filter(|answer| answer.status() == 200).map(|_| client)
        });
        assert_eq!(refused(&site), 503);
        site.reload("");
        assert_eq!((refused(&site), only.ask(get(&url)).status()), (200, 200));
    }
}

/// Upstream connections that are kept beyond the new limits go.
#[test]
fn kind_21_hup_takes_limits_of_idle_origins() {
    for (limit, left) in [("idle-origins 1", 1), ("idle-per-origin 0", 0)] {
        let (first, second) = (Origin::ok(), Origin::ok());
        let site = Site::start("", &[]);
        for origin in [&first, &second] {
            assert_eq!(site.get(&format!("http://{}/", origin.address())), 200);
        }
        eventually("two are kept", || (site.weir.statistics().get("origins_idle") == 2).then_some(()));
        site.reload(limit);
        assert_eq!(site.weir.statistics().get("origins_idle"), left, "{limit}");
    }
}

/// New time-outs apply to waits that begin after the reload.
#[test]
fn kind_21_hup_takes_timeouts() {
    let silent = Origin::serve(|conn| conn.read_to_end().map(drop));
    let site = Site::start("connect-timeout 60\n", &["--workers", "2"]);
    site.reload("timeout 300ms\nhead-timeout 300ms\nidle-timeout 300ms\ntunnel-timeout 300ms\n");
    for _ in 0..4 {
        let mut client = site.weir.connect();
        client.send("GET http://");
        assert_eq!(client.read_response().status(), 408);
    }
    let url = format!("http://{}/", silent.address());
    assert_eq!(site.get(&url), 504);
    let mut tunnel = site.weir.connect();
    let asked = format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", silent.address());
    assert_eq!(tunnel.ask(asked).status(), 200);
    tunnel.expect_closed();
}

/// Options that need a restart are named in one line; everything else changes.
#[test]
#[cfg_attr(not(all(feature = "cache", feature = "sandbox")), ignore = "needs the features cache and sandbox")]
fn kind_21_hup_names_what_needs_a_restart() {
    let site = Site::start("block first.test\nbuffers 1024\n", &["--workers", "1"]);
    let folder = site.scratch.path().to_str().expect("a path").to_owned();
    site.write(&format!(
        "block second.test\nbuffers 2048\nworkers 3\ncache yes\ncache-size 1M\nlog-dir {folder}\nsandbox no\nport 8\n"
    ));
    // The port is there twice now, which is a mistake.
    site.hup("not reloaded");
    assert_eq!(site.said("port again: expected once"), 1);
    site.write(&format!(
        "block second.test\nbuffers 2048\nworkers 3\ncache yes\ncache-size 1M\nlog-dir {folder}\nsandbox no\n"
    ));
    let said = site.hup("needs a restart");
    // The command line sets the workers: the file's value has no effect.
    assert!(said.ends_with("needs a restart: sandbox, log-dir, buffers, cache, cache-size"), "{said}");
    assert_eq!(site.get("http://second.test/"), 403);
    assert!(!std::fs::exists(site.scratch.join("access.log")).unwrap_or(true));
    // Until the restart it is reported again; a value that is taken back is no change.
    assert!(site.hup("needs a restart").contains("buffers, cache"));
    let before = site.said("needs a restart");
    site.reload("block second.test\nbuffers 1024\n");
    assert_eq!(site.said("needs a restart"), before);
    let site = Site::start("", &[]);
    std::fs::write(site.scratch.join("weir.conf"), "host ::1\nport 1234\nworkers 2,pin\nuser daemon\n")
        .expect("a file");
    let said = site.hup("needs a restart");
    assert!(said.ends_with("needs a restart: host, port, workers, user"), "{said}");
}

/// Everything that is wrong is said with file and line, and nothing has changed.
#[test]
fn kind_21_a_broken_file_changes_nothing() {
    let origin = Origin::ok();
    let site = Site::start("block first.test\nvia mine\n", &["--workers", "2"]);
    let url = format!("http://{}/", origin.address());
    let list = site.scratch.file("list.txt", "good.test\nbad rule\n");
    let broken: [(String, &[&str]); 5] = [
        (
            "port 80x\nfrobnicate yes\ntimeout -3\n".into(),
            &["weir.conf:5: port", "weir.conf:6", "weir.conf:7"],
        ),
        (
            format!("blocklist {list}\nauth-file /none/users\n"),
            &["list.txt:2: expected", "/none/users: cannot be read"],
        ),
        ("max-per-client 1\nlog-format xml\n".into(), &["weir.conf:6: log-format \"xml\": expected weir"]),
        ("quiet yes\nverbose 1\n".into(), &["quiet and verbose together"]),
        ("Allow 10.0.0.0/8\n".into(), &["weir.conf:5"]),
    ];
    for (config, parts) in broken {
        let config = format!("{config}block second.test\nvia other\n");
        site.write(&config);
        site.hup("not reloaded: what was running stays");
        for part in parts {
            assert!(site.said(part) > 0, "{config:?} lacks {part}: {:#?}", site.weir.error_lines());
        }
        for _ in 0..4 {
            assert_eq!((site.get("http://first.test/"), site.get(&url)), (403, 200));
            assert_ne!(site.get("http://second.test/"), 403);
        }
        assert!(origin.heads().iter().all(|head| head.get("via").is_some_and(|via| via.contains("mine"))));
    }
    std::fs::remove_file(site.scratch.join("weir.conf")).expect("removing");
    let before = site.said("weir.conf: cannot read");
    site.hup("not reloaded");
    assert_eq!(site.said("weir.conf: cannot read"), before + 1);
    assert!(site.weir.error_lines().iter().all(|line| !line.contains("NotFound") && !line.contains("kind:")));
    site.reload("block second.test\n");
    assert_eq!(site.get("http://second.test/"), 403);
}

/// Command line and environment beat the file at a reload as they do at the start.
#[test]
fn kind_21_precedence_is_the_same_at_a_reload() {
    let site = Site::start_with("", &["--block", "argument.test"], &[("WEIR_VIA", "environment")]);
    let origin = Origin::ok();
    let url = format!("http://{}/", origin.address());
    let said = site.reload("block file.test\nvia file\nmax-per-client 100\n");
    assert!(said.ends_with("changed: max-per-client"), "{said}");
    assert_eq!((site.get("http://argument.test/"), site.get(&url)), (403, 200));
    assert_ne!(site.get("http://file.test/"), 403);
    assert!(origin.head().get("via").is_some_and(|via| via.contains("environment")));
}

/// An accepted request is completed with the old settings: a body, a tunnel, a head that is now too large, and a slow
/// one below the new least rate.
#[test]
fn kind_21_what_is_under_way_keeps_what_it_began_with() {
    for workers in ["1", "2"] {
        let origin = Origin::serve(|conn| {
            while let Some(request) = conn.request()? {
                let body = request.body.bytes.len();
                conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{body:05}"))?;
            }
            Ok(())
        });
        let site =
            Site::start("head-max 64K\nfields-max 500\ntimeout 5\nmin-rate 0\n", &["--workers", workers]);
        let host = origin.address();
        let many = "A: 0123456789\r\n".repeat(300);
        let mut client = site.weir.connect();
        client.send(format!(
            "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\n{many}Content-Length: 10\r\n\r\n01234"
        ));
        origin.wait_for_head(1);
        let mut tunnel = site.weir.connect();
        let echo = Origin::echo();
        assert_eq!(tunnel.ask(echo.fill("CONNECT {o} HTTP/1.1\r\nHost: {o}\r\n\r\n")).status(), 200);
        let mut half = site.weir.connect();
        half.send(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n{}", "A: b\r\n".repeat(20)));
        site.reload("head-max 1K\nfields-max 10\ntimeout 5\nmin-rate 1000000\nblock 127.0.0.0/8\n");
        client.send("56789");
        assert_eq!(client.read_response().text(), "00010");
        assert!(tunnel.ask("GET /through HTTP/1.1\r\nHost: a\r\n\r\n").text().contains("/through"));
        // A head that is not whole yet is measured by what holds now.
        half.send("\r\n");
        assert_eq!(half.read_response().status(), 431);
    }
}

/// The messages to the service manager.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn bind(address: &SocketAddr) -> Manager {
        let socket = UnixDatagram::bind_addr(address).expect("a socket");
        socket.set_read_timeout(Some(common::DEADLINE)).expect("a time-out");
        Manager { socket }
    }

    #[track_caller]
    fn hears(&self, part: &str) -> String {
        let mut text = [0; 4096];
        let count =
            self.socket.recv(&mut text).unwrap_or_else(|error| panic!("nothing with {part}: {error}"));
        let text = String::from_utf8_lossy(&text[..count]).into_owned();
        assert!(text.lines().any(|line| line == part), "no {part} in {text}");
        text
    }
}

/// Ready, reloading with the time, ready again with the result, stopping: by a path and by an abstract name.
#[test]
fn kind_21_the_service_manager_is_told() {
    let scratch = Scratch::new();
    let path = scratch.join("notify");
    let name = format!("weir-test-{}", std::process::id());
    let places = [
        (path.clone(), SocketAddr::from_pathname(&path).expect("a path")),
        (format!("@{name}"), SocketAddr::from_abstract_name(&name).expect("a name")),
    ];
    for (place, address) in places {
        let manager = Manager::bind(&address);
        let mut site = Site::start_with("block first.test\n", &[], &[("NOTIFY_SOCKET", &place)]);
        let ready = manager.hears("READY=1");
        assert!(
            ready.contains("STATUS=serving on 127.0.0.1:") && ready.contains(" 2 rules, 0 users"),
            "{ready}"
        );
        site.write("block a.test,b.test\n");
        site.weir.signal(Signal::HUP);
        let reloading = manager.hears("RELOADING=1");
        let time = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).expect("a time");
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let now_us = now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000;
        let ago_us = now_us.checked_sub(time.parse().expect("a number")).expect("no future");
        assert!(ago_us < 60_000_000, "{ago_us}");
        assert!(manager.hears("READY=1").contains(" 3 rules, 0 users"));
        site.write("block a.test\nfrobnicate\nport x\n");
        site.weir.signal(Signal::HUP);
        manager.hears("RELOADING=1");
        let failed = manager.hears("READY=1");
        assert!(
            failed.contains("STATUS=not reloaded, running as before: ") && failed.contains("(and 1 more)"),
            "{failed}"
        );
        site.weir.signal(Signal::TERM);
        manager.hears("STOPPING=1");
        site.weir.wait_exit();
        let _ = std::fs::remove_file(&path);
    }
    // A socket without a listener, or an invalid one, stops nothing.
    for place in [scratch.join("nobody"), "@nobody".into(), "relative".into()] {
        let site = Site::start_with("", &[], &[("NOTIFY_SOCKET", &place)]);
        site.reload("");
    }
}

/// A manager with a watchdog hears that the loops turn, again and again, once weir is ready. (When one loop stands still it hears
/// nothing: `daemon::manager` has the test for that.)
#[test]
fn the_watchdog_hears_that_all_loops_turn() {
    let scratch = Scratch::new();
    for workers in ["1", "2"] {
        let place = scratch.join(workers);
        let manager = Manager::bind(&SocketAddr::from_pathname(&place).expect("a path"));
        let environment = [("NOTIFY_SOCKET", place.as_str()), ("WATCHDOG_USEC", "200000")];
        let _site = Site::start_with("", &["--workers", workers], &environment);
        manager.hears("READY=1");
        for _ in 0..3 {
            assert_eq!(manager.hears("WATCHDOG=1"), "WATCHDOG=1\n");
        }
    }
}

/// `weir reload` waits for the verdict, and its exit code tells it.
#[test]
fn kind_21_weir_reload_tells_the_verdict() {
    for workers in ["1", "2"] {
        let mut site = Site::start("block first.test\npid-file weir.pid\n", &["--workers", workers]);
        let (config, pid_file) = (site.scratch.join("weir.conf"), site.scratch.join("weir.pid"));
        assert_eq!(site.scratch.read("weir.pid"), format!("{}\n", site.weir.id()));
        let by_file = ["reload", "--pid-file", &pid_file];
        let by_config = ["reload", "-c", &config];
        for (arguments, host) in [(&by_file, "second.test"), (&by_config, "third.test")] {
            site.write(&format!("block {host}\npid-file weir.pid\n"));
            let reload = run(arguments);
            assert_eq!((reload.code, reload.err.as_str()), (0, ""), "{}", reload.said());
            assert!(
                reload.out.contains("weir: reloaded: 2 rules, 0 users; changed: block"),
                "{}",
                reload.out
            );
            // It is in place when that is told, in every loop.
            for _ in 0..8 {
                assert_eq!(site.get(&format!("http://{host}/")), 403);
            }
        }
        site.write("block third.test\npid-file weir.pid\nbuffers 4096\n");
        let reload = run(&by_file);
        assert_eq!(reload.code, 0);
        assert!(reload.out.ends_with("weir: needs a restart: buffers\n"), "{}", reload.out);
        let list = site.scratch.file("list.txt", "bad rule\nworse rule\n");
        site.write(&format!("block fourth.test\npid-file weir.pid\nblocklist {list}\n"));
        let reload = run(&by_file);
        assert_eq!((reload.code, reload.out.as_str()), (78, ""), "{}", reload.said());
        for part in ["list.txt:1: expected", "list.txt:2: expected", "not reloaded: what was running stays\n"]
        {
            assert!(reload.err.contains(part), "{part}: {}", reload.err);
        }
        assert_eq!(site.get("http://third.test/"), 403);
        // A file that does not load names no pid file; its errors are still reported.
        site.write("pid-file weir.pid\nfrobnicate\n");
        assert_eq!(run(&by_config).code, 78);
        assert_eq!(run(&by_file).code, 78);
        site.write("pid-file weir.pid\n");
        assert_eq!(run_with(&["reload"], &[("WEIR_CONFIG", &config)]).code, 0);
        // An outcome that could not be written, on a full disk, does not keep weir from being asked.
        std::fs::write(site.scratch.join("weir.pid.reload"), "7 7 failed\nhalf a te").expect("the outcome");
        assert_eq!(run(&by_file).code, 0);
        // By several at the same time: each waits for a verdict on what it has seen.
        let many: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn({
                    let pid_file = pid_file.clone();
                    move || run(&["reload", "--pid-file", &pid_file]).code
                })
            })
            .collect();
        assert!(many.into_iter().all(|one| one.join().expect("a run") == 0));
        // A second daemon is told, and the first runs on.
        let second = run(&["--port", "0", "--pid-file", &pid_file]);
        assert_eq!(second.code, 69, "{}", second.said());
        assert!(second.err.contains("another weir") && second.err.ends_with('\n'), "{}", second.err);
        assert_eq!(run(&by_file).code, 0);
        site.weir.signal(Signal::TERM);
        site.weir.wait_exit();
        let gone = run(&by_file);
        assert_eq!(gone.code, 69, "{}", gone.said());
    }
    let scratch = Scratch::new();
    assert_eq!(run(&["reload", "--pid-file", &scratch.join("none")]).code, 69);
    assert_eq!(run(&["reload"]).code, 64);
    // The pid file of a killed process names no process, even if another process has its number now.
    let left = scratch.file("left.pid", format!("{}\n", std::process::id()));
    assert_eq!(run(&["reload", "--pid-file", &left]).code, 69);
    let nowhere = run(&["--port", "0", "--pid-file", &scratch.join("none/weir.pid")]);
    assert!(nowhere.code == 64 && nowhere.err.contains("No such file"), "{}", nowhere.said());
}

/// The file is found by its name, as editors leave it: a new one, renamed; also where only some paths can be opened.
#[test]
fn kind_21_the_file_may_be_another_one_of_the_same_name() {
    for options in common::built([&[][..], &["--sandbox"], &["--sandbox=no"]]) {
        let site = Site::start("block first.test\n", options);
        for host in ["second.test", "third.test"] {
            let new = site.scratch.file("new", format!("{COMMON}block {host}\n"));
            std::fs::rename(new, site.scratch.join("weir.conf")).expect("renaming");
            site.hup("reloaded: ");
            assert_eq!(site.get(&format!("http://{host}/")), 403, "{options:?}");
        }
    }
}

/// The daemon, with a pipe for its standard input in which this text is all that will ever be.
fn start_with_piped(text: &str, options: &[&str]) -> Weir {
    let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
    std::fs::File::from(writer).write_all(text.as_bytes()).expect("room in the pipe");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(options).stdin(std::process::Stdio::from(reader));
    Weir::spawn(command, 1).unwrap_or_else(|said| panic!("no start: {said:#?}"))
}

/// A configuration from a pipe cannot be read again: the old one stays, instead of an empty one.
#[test]
fn kind_21_a_piped_configuration_stays_as_it_was() {
    let scratch = Scratch::new();
    let list = scratch.file("list.txt", "listed.test\n");
    let config = format!("{COMMON}block first.test\nblocklist {list}\n");
    let weir = start_with_piped(&config, &["-c", "/dev/stdin"]);
    let refuses = |host: &str| weir.connect().ask(get(&format!("http://{host}/"))).status() == 403;
    assert!(refuses("first.test") && refuses("listed.test") && !refuses("other.test"));
    scratch.file("list.txt", "other.test\n");
    weir.signal(Signal::HUP);
    weir.wait_for_error(|line| line.contains("reloaded: 3 rules"));
    assert!(refuses("first.test") && refuses("other.test") && !refuses("listed.test"));
}

/// Nor does a list that came so become an empty one.
#[test]
fn kind_21_a_piped_list_is_not_lost() {
    let options = ["--host", "127.0.0.1", "--port", "0", "--blocklist", "/dev/stdin"];
    let weir = start_with_piped("first.test\n", &options);
    weir.signal(Signal::HUP);
    weir.wait_for_error(|line| line.contains("/dev/stdin: cannot be read (it is a pipe"));
    weir.wait_for_error(|line| line.contains("not reloaded"));
    assert_eq!(weir.connect().ask(get("http://first.test/")).status(), 403);
}

/// The resolver asks the servers that the file names now.
#[test]
fn kind_21_hup_takes_name_servers() {
    let names = [("a.test", common::Answer::addresses(&["127.0.0.1"]))];
    let (first, second) = (FakeDns::start(&[]), FakeDns::start(&names));
    let origin = Origin::ok();
    let site = Site::start(&format!("dns {}\n", first.address()), &["--workers", "2"]);
    let url = format!("http://a.test:{}/", origin.port());
    assert_eq!(site.get(&url), 502);
    site.reload(&format!("dns {}\n", second.address()));
    for _ in 0..8 {
        assert_eq!(site.get(&url), 200);
    }
}

/// Pages and the contact change, too; a page that cannot be read changes nothing.
#[test]
fn kind_21_hup_takes_error_pages() {
    for workers in ["1", "2"] {
        let site = Site::start("block a.test\n", &["--workers", workers]);
        let page = |site: &Site| site.weir.connect().ask(get("http://a.test/")).text();
        assert!(!page(&site).contains("help@example.test"));
        site.reload("block a.test\ncontact help@example.test\n");
        for _ in 0..6 {
            assert!(page(&site).contains("help@example.test"));
        }
        site.scratch.file("page.txt", "A page of our own.\n");
        site.reload("block a.test\nerror-page 403=page.txt\n");
        for _ in 0..6 {
            assert!(page(&site).contains("A page of our own."));
        }
        site.write("error-page 403=none.txt\nblocklist none.list\n");
        site.hup("not reloaded");
        assert!(site.said("none.txt: ") > 0 && site.said("none.list: ") > 0);
        assert!(page(&site).contains("A page of our own."));
    }
}

/// The log rotates at another size, without being opened anew.
#[test]
fn kind_21_hup_takes_rotation() {
    let scratch = Scratch::new();
    let folder = scratch.path().to_str().expect("a path").to_owned();
    let (site, origin) = (Site::start("", &["--log-dir", &folder]), Origin::ok());
    site.reload("log-max-size 4K\nlog-keep 1\n");
    let url = format!("http://{}/a-path-that-makes-the-line-long", origin.address());
    let mut client = site.weir.connect();
    eventually("a rotation", || {
        assert_eq!(client.ask(get(&url)).status(), 200);
        std::fs::exists(scratch.join("access.log.1")).ok().filter(|there| *there)
    });
}

/// With a cache the settings of the cache change, and what is stored stays.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn kind_21_hup_takes_settings_of_the_cache() {
    for workers in ["1", "2"] {
        let origin = Origin::serve(|conn| {
            while conn.request()?.is_some() {
                conn.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=1000\r\nContent-Length: 2\r\n\r\nok")?;
            }
            Ok(())
        });
        let site = Site::start("cache yes\n", &["--workers", workers]);
        let url = format!("http://{}/", origin.address());
        let ask = |method: &str| {
            let host = origin.address();
            site.weir.connect().ask(format!("{method} {url} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
        };
        ask("GET");
        assert!(ask("GET").head.get("cache-status").is_some_and(|status| status.contains("hit")));
        site.reload("cache yes\nno-cache-status yes\n");
        for _ in 0..8 {
            let answer = ask("GET");
            assert!(!answer.head.has("cache-status") && answer.head.has("age"), "{:?}", answer.head);
        }
        assert_eq!(origin.heads().len(), 1, "what was stored is there");
        let said = site.hup("reloaded: ");
        assert!(!said.contains("changed"), "{said}");
    }
}

/// A configuration that became a pipe is never waited for: weir goes on, and stops when it is told.
#[test]
fn kind_21_a_configuration_that_became_a_pipe_stops_nothing() {
    let scratch = Scratch::new();
    let config = scratch.file("weir.conf", format!("{COMMON}block first.test\n"));
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(["-c", &config, "--sandbox=no"]);
    let mut weir = Weir::spawn(command, 1).expect("a start");
    std::fs::remove_file(&config).expect("removing");
    rustix::fs::mkfifoat(rustix::fs::CWD, &config, rustix::fs::Mode::RUSR).expect("a pipe");
    weir.signal(Signal::HUP);
    weir.wait_for_error(|line| line.contains("it is a pipe"));
    weir.wait_for_error(|line| line.contains("not reloaded"));
    assert_eq!(weir.connect().ask(get("http://first.test/")).status(), 403);
    weir.signal(Signal::TERM);
    assert_eq!(weir.wait_exit().code(), Some(0));
}
