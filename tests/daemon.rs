//! The daemon as its administrator meets it: options, exit codes, signals, reload, statistics.

mod common;

use common::{Origin, Scratch, Weir, eventually, run, run_with};
use rustix::process::Signal;
use std::net::TcpListener;
use std::time::Duration;

/// `--help` and `--version` explain themselves on standard output.
#[test]
fn help_and_version() {
    for option in ["--help", "-h"] {
        let help = run(&[option]);
        assert_eq!(help.code, 0);
        for name in
            ["--host", "--port", "--blocklist", "--auth-file", "--log-dir", "--connect-ports", "explain"]
        {
            assert!(help.out.contains(name), "the help lacks {name}:\n{}", help.out);
        }
    }
    for option in ["--version", "-V"] {
        let version = run(&[option]);
        assert_eq!((version.code, version.out.trim()), (0, concat!("weir ", env!("CARGO_PKG_VERSION"))));
    }
}

/// `help` lists its topics, explains each of them and each option, and says what it does not know.
#[test]
fn kind_27_help_has_topics() {
    let list = run(&["help"]);
    assert_eq!(list.code, 0, "{}", list.said());
    for topic in ["rules", "users", "log", "limits", "cache", "signals", "config"] {
        assert!(list.out.lines().any(|line| line.trim_start().starts_with(topic)), "{topic}: {}", list.out);
        for arguments in [&["help", topic][..], &["--help", topic]] {
            let text = run(arguments);
            assert!(text.code == 0 && text.out.starts_with(topic) && text.err.is_empty(), "{}", text.said());
        }
    }
    let option = run(&["help", "--max-per-client"]);
    assert!(option.code == 0 && option.out.contains("WEIR_MAX_PER_CLIENT"), "{}", option.said());
    let unknown = run(&["help", "rulse"]);
    assert_eq!((unknown.code, unknown.out.as_str()), (64, ""));
    assert!(unknown.err.contains("did you mean rules?") && unknown.err.ends_with('\n'), "{}", unknown.err);
    // Whatever else is wrong.
    let broken = run_with(&["--port", "x", "help", "users"], &[("WEIR_PROT", "1")]);
    assert_eq!(broken.code, 0, "{}", broken.said());
}

/// All errors of the command line are reported at once, with exit code 64.
#[test]
fn usage_errors() {
    for (options, wanted) in [
        (&["--frobnicate"][..], &["frobnicate"][..]),
        (&["--port", "x"], &["port"]),
        (&["--port", "65536"], &["65536"]),
        (&["--port"], &["port"]),
        (&["--host", "nowhere.test"], &["host"]),
        (&["--log-format", "xml"], &["xml", "json"]),
        (&["--timeout=-1"], &["timeout"]),
        (&["--connect-ports", "http"], &["http"]),
        (&["--max-connections", "0"], &["max-connections"]),
        #[cfg(feature = "cache")]
        (&["--cache-size", "10"], &["cache-size", "10"]),
        (&["surplus"], &["surplus"]),
        (&["--port", "x", "--timeout", "y", "--nonsense"], &["port", "timeout", "nonsense"]),
    ] {
        let run = run(options);
        assert_eq!(run.code, 64, "{options:?}: {}", run.said());
        for part in wanted {
            assert!(run.err.contains(part), "{options:?} lacks {part:?}: {}", run.err);
        }
    }
}

/// All errors of files are reported at once, with file and line, and exit code 78.
#[test]
fn check_says_everything() {
    let scratch = Scratch::new();
    let list = scratch.file("list.txt", "good.test\nbad rule here\n10.0.0.0/99\nfine.test\n");
    let users = scratch.file("users.txt", "anna:secret\nno-colon\n");
    let config = scratch.file(
        "weir.conf",
        format!("# all wrong\nport x\nfrobnicate yes\nblocklist {list}\nauth-file {users}\ntimeout -3\n"),
    );
    for options in [&["--check", "--config", &config][..], &["-c", &config]] {
        let run = run(options);
        assert_eq!(run.code, 78, "{options:?}: {}", run.said());
        for part in ["weir.conf:2", "weir.conf:3", "weir.conf:6"] {
            assert!(run.err.contains(part), "{options:?} lacks {part:?}: {}", run.err);
        }
    }
    let checked = run(&["--check", "--blocklist", &list, "--auth-file", &users]);
    assert_eq!(checked.code, 78, "{}", checked.said());
    for part in ["list.txt:2", "list.txt:3", "users.txt:2"] {
        assert!(checked.err.contains(part), "lacks {part:?}: {}", checked.err);
    }
    assert!(!checked.said().contains("secret"), "{}", checked.said());
    assert_eq!(run(&["--blocklist", &scratch.join("missing.txt")]).code, 78);
    assert_eq!(run(&["--check", "-c", &scratch.join("missing.conf")]).code, 78);
}

/// `--check` with nothing wrong ends with 0, and without listening.
#[test]
fn check_is_satisfied() {
    let scratch = Scratch::new();
    let list = scratch.file("list.txt", "a.test\n*.b.test\n10.0.0.0/8:80-90\n\n# end\n");
    let busy = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = busy.local_addr().expect("its address").port().to_string();
    let run = run(&["--check", "--blocklist", &list, "--port", &port]);
    assert_eq!(run.code, 0, "{}", run.said());
}

/// Options win over the environment, that over the file, that over the defaults, and it shows.
#[test]
fn precedence_and_print_config() {
    let scratch = Scratch::new();
    let config = scratch.file("weir.conf", "port 1111\ntimeout 11\nvia filed\nhead-timeout 7\n");
    let run = run_with(
        &["--print-config", "-c", &config, "--port=3333"],
        &[("WEIR_PORT", "2222"), ("WEIR_TIMEOUT", "22")],
    );
    assert_eq!(run.code, 0, "{}", run.said());
    let line = |key: &str| {
        let found = run.out.lines().find(|line| line.trim_start().starts_with(&format!("{key} ")));
        found.unwrap_or_else(|| panic!("no {key} in\n{}", run.out)).to_owned()
    };
    assert!(line("port").contains("3333"));
    assert!(line("timeout").contains("22") && line("timeout").contains("WEIR_TIMEOUT"));
    assert!(line("via").contains("filed") && line("via").contains("weir.conf:3"));
    assert!(line("head-timeout").contains('7'));
    assert!(line("log-format").contains("weir"));
}

/// The samples that come with it work as they are.
#[test]
fn samples_work() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config");
    for name in ["blocklist", "allowlist", "users", "weir.conf"] {
        let found = std::fs::read_dir(folder)
            .expect("config/")
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with(name));
        assert!(found, "config/ has no {name}");
    }
    let run = run(&["--check", "-c", &format!("{folder}/weir.conf")]);
    assert_eq!(run.code, 0, "{}", run.said());
}

/// A port that is taken is said, with its own exit code.
#[test]
fn port_in_use() {
    let busy = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = busy.local_addr().expect("its address").port().to_string();
    let run = run(&["--host", "127.0.0.1", "--port", &port]);
    assert!(matches!(run.code, 69 | 71), "{run:?}");
    assert!(run.err.contains(&port), "{}", run.err);
}

/// TERM finishes what is under way, accepts nothing new, and ends with 0.
#[test]
fn term_drains() {
    let mut weir = Weir::start(&["--drain-timeout", "8"]);
    let finishing = Origin::serve(|conn| {
        while conn.request()?.is_some() {
            std::thread::sleep(Duration::from_millis(500));
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nfinished")?;
        }
        Ok(())
    });
    let mut idle = weir.connect();
    let mut client = weir.connect();
    client.send(finishing.get("/under-way"));
    finishing.wait_for_head(1);
    weir.signal(Signal::TERM);
    let answer = client.read_response();
    assert_eq!(answer.text(), "finished");
    client.expect_closed();
    idle.expect_closed();
    assert_eq!(weir.wait_exit().code(), Some(0));
    weir.wait_for_log(|line| line.contains("/under-way") && line.contains("200"));
    assert!(std::net::TcpStream::connect(weir.address()).is_err());
}

/// Requests that have arrived on kept connections when the drain begins are answered: weir was stopped meanwhile, so that both have
/// come when it goes on.
#[test]
fn term_answers_requests_that_are_there_already() {
    let mut weir = Weir::start(&["--drain-timeout", "8"]);
    let origin = Origin::ok();
    let mut kept: Vec<_> = (0..20).map(|_| weir.connect()).collect();
    for client in &mut kept {
        assert_eq!(client.ask(origin.get("/first")).status(), 200);
    }
    weir.signal(Signal::STOP);
    kept.iter_mut().for_each(|client| client.send(origin.get("/second")));
    weir.signal(Signal::TERM);
    weir.signal(Signal::CONT);
    for client in &mut kept {
        let answer = client.read_response();
        // One that was read before the drain began is answered as always, and its connection closed afterwards.
        assert_eq!(answer.status(), 200);
        client.expect_closed();
    }
    assert_eq!(weir.wait_exit().code(), Some(0));
}

/// Tunnels are cut at the drain deadline.
#[test]
fn term_cuts_tunnels_at_the_deadline() {
    let mut weir = Weir::start(&["--drain-timeout", "1"]);
    let origin = Origin::serve(|conn| conn.read_to_end().map(drop));
    let mut client = weir.connect();
    assert_eq!(client.ask(origin.fill("CONNECT {o} HTTP/1.1\r\nHost: {o}\r\n\r\n")).status(), 200);
    weir.signal(Signal::TERM);
    client.expect_silence(Duration::from_millis(300));
    client.expect_closed();
    assert_eq!(weir.wait_exit().code(), Some(0));
    weir.wait_for_log(|line| line.contains("CONNECT"));
}

/// A second TERM, or an INT, ends it at once.
#[test]
fn second_term_quits() {
    for second in [Signal::TERM, Signal::INT] {
        let mut weir = Weir::start(&["--drain-timeout", "100"]);
        let origin = Origin::serve(|conn| conn.read_to_end().map(drop));
        let mut client = weir.connect();
        assert_eq!(client.ask(origin.fill("CONNECT {o} HTTP/1.1\r\nHost: {o}\r\n\r\n")).status(), 200);
        weir.signal(Signal::TERM);
        // The system makes one of two equal signals that come at once.
        weir.wait_for_error(|line| line.contains("stopping: finishing"));
        client.expect_silence(Duration::from_millis(200));
        assert!(weir.is_running());
        weir.signal(second);
        weir.wait_exit();
        client.expect_closed();
    }
}

/// HUP loads new rules and users; after an error the old ones stay, and the error is reported with file and line.
#[test]
fn hup_reloads() {
    let scratch = Scratch::new();
    let list = scratch.file("list.txt", "first.test\n");
    let users = scratch.file("users.txt", "anna:secret\n");
    let weir = Weir::start(&["--blocklist", &list, "--auth-file", &users]);
    let mut client = weir.connect();
    let mut ask = |host: &str, credentials: &str| {
        let field = format!("Proxy-Authorization: Basic {credentials}\r\n");
        client.ask(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n{field}\r\n")).status()
    };
    // anna:secret and berta:other
    let (anna, berta) = ("YW5uYTpzZWNyZXQ=", "YmVydGE6b3RoZXI=");
    assert_eq!(ask("first.test", anna), 403);
    assert_eq!(ask("first.test", berta), 407);
    scratch.file("list.txt", "second.test\n");
    scratch.file("users.txt", "berta:other\n");
    weir.signal(Signal::HUP);
    common::eventually("new rules", || (ask("second.test", berta) == 403).then_some(()));
    assert_eq!(ask("second.test", anna), 407);
    scratch.file("list.txt", "third.test\nnot a rule\n");
    weir.signal(Signal::HUP);
    weir.wait_for_error(|line| line.contains("list.txt:2"));
    assert_eq!(ask("second.test", berta), 403, "what ran must stay");
    scratch.file("list.txt", "third.test\n");
    weir.signal(Signal::HUP);
    common::eventually("newer rules", || (ask("third.test", berta) == 403).then_some(()));
}

/// USR1 and HUP open the log files again, for programs that rename them.
#[test]
fn usr1_reopens_logs() {
    let scratch = Scratch::new();
    let folder = scratch.path().to_str().expect("a path").to_owned();
    let (weir, origin) = (Weir::start(&["--log-dir", &folder]), Origin::ok());
    let mut client = weir.connect();
    let mut moved = String::new();
    for (signal, number) in [(Signal::USR1, 1), (Signal::HUP, 2)] {
        client.ask(origin.get(&format!("/before-{number}")));
        let wanted = format!("/before-{number}");
        common::eventually("a line", || scratch.read("access.log").contains(&wanted).then_some(()));
        moved = format!("moved-{number}.log");
        std::fs::rename(scratch.join("access.log"), scratch.join(&moved)).expect("moving the log away");
        weir.signal(signal);
        common::eventually("a new file", || {
            std::fs::exists(scratch.join("access.log")).ok().filter(|&there| there)
        });
        client.ask(origin.get(&format!("/after-{number}")));
        let wanted = format!("/after-{number}");
        common::eventually("a line", || scratch.read("access.log").contains(&wanted).then_some(()));
        assert!(!scratch.read(&moved).contains(&wanted));
    }
    assert!(scratch.read(&moved).contains("/before-2"));
}

/// USR2 writes the statistics, a number for each thing that happened.
#[test]
fn usr2_writes_statistics() {
    let (weir, origin) = (Weir::start(&["--block", "blocked.test", "--stats-every", "0"]), Origin::ok());
    let mut client = weir.connect();
    for _ in 0..7 {
        client.ask(origin.get("/"));
    }
    for _ in 0..3 {
        client.ask("GET http://blocked.test/ HTTP/1.1\r\nHost: blocked.test\r\n\r\n");
    }
    let before = weir.error_lines().len();
    weir.signal(Signal::USR2);
    let line = weir.wait_for_error(|line| line.contains("allowed="));
    for part in ["requests=10 ", "allowed=7 ", "blocked=3 ", "status_2xx=7 ", "status_4xx=3 ", "accepted=1 "]
    {
        assert!(line.contains(part), "{line:?} lacks {part}");
    }
    assert!(weir.error_lines().len() > before);
}

/// A statistics line is written only if a number has changed, or on request; several loops write one line.
#[test]
fn kind_27_statistics_are_written_when_a_number_has_changed() {
    for workers in ["1", "2"] {
        let (mut weir, origin) =
            (Weir::start(&["--stats-every", "100ms", "--workers", workers]), Origin::ok());
        let lines = |weir: &Weir| {
            let all = weir.error_lines().into_iter();
            all.filter_map(|line| line.split_once("statistics: ").map(|(_, text)| text.to_owned()))
                .collect::<Vec<_>>()
        };
        let mut client = weir.connect();
        for number in 1..=3 {
            assert_eq!(client.ask(origin.get("/")).status(), 200);
            weir.wait_for_error(|line| line.contains(&format!(" requests={number} ")));
        }
        // Ten intervals without a further line: each line had a change.
        std::thread::sleep(Duration::from_secs(1));
        let said = lines(&weir);
        assert!(said.windows(2).all(|pair| pair[0] != pair[1]), "{said:#?}");
        for asked in 1..=2 {
            weir.signal(Signal::USR2);
            eventually("an answer", || (lines(&weir).len() >= said.len() + asked).then_some(()));
        }
        weir.signal(Signal::TERM);
        assert_eq!(weir.wait_exit().code(), Some(0));
        weir.wait_for_error(|line| line.contains("statistics: ") && line.contains(" clients=0 "));
    }
}

/// A daemon with nothing to do says so once.
#[test]
fn kind_27_statistics_of_an_idle_daemon_come_once() {
    let weir = Weir::start(&["--stats-every", "50ms"]);
    weir.wait_for_error(|line| line.contains("statistics: "));
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(weir.error_lines().iter().filter(|line| line.contains("statistics: ")).count(), 1);
}

/// Statistics come by themselves, too, and once more at the stop.
#[test]
fn statistics_every_so_often() {
    let mut weir = Weir::start(&["--stats-every", "1"]);
    weir.wait_for_error(|line| line.contains("allowed="));
    weir.signal(Signal::TERM);
    assert_eq!(weir.wait_exit().code(), Some(0));
    let quiet = Weir::start(&["--stats-every", "0"]);
    drop(quiet);
}

/// A configuration file alone is enough; paths in it are relative to it.
#[test]
fn configuration_file() {
    let scratch = Scratch::new();
    scratch.file("rules.txt", "blocked.test\n");
    let config = scratch.file(
        "weir.conf",
        "# all of it\nhost 127.0.0.1\nport 0   # any\nblocklist rules.txt\nallow 127.0.0.0/8\nvia off\n",
    );
    let (weir, origin) = (Weir::start_bare(&["-c", &config]), Origin::ok());
    assert_eq!(weir.connect().ask("GET http://blocked.test/ HTTP/1.1\r\nHost: b\r\n\r\n").status(), 403);
    assert_eq!(weir.connect().ask(origin.get("/")).status(), 200);
    assert!(!origin.head().has("via"));
}

/// The environment sets options as well.
#[test]
fn environment_variables() {
    let weir = Weir::start_with(&[], &[("WEIR_BLOCK", "blocked.test"), ("WEIR_QUIET_REFUSALS", "yes")]);
    let answer = weir.connect().ask("GET http://blocked.test/ HTTP/1.1\r\nHost: blocked.test\r\n\r\n");
    assert_eq!(answer.status(), 403);
}

/// When descriptors run out, service goes on, without spinning.
#[test]
fn few_descriptors() {
    let scratch = Scratch::new();
    let script = scratch.file(
        "limited",
        format!(
            "ulimit -n 40; exec '{}' --host 127.0.0.1 --port 0 --allow 127.0.0.0/8\n",
            env!("CARGO_BIN_EXE_weir")
        ),
    );
    let mut command = std::process::Command::new("sh");
    command.arg(&script);
    let (weir, origin) = match Weir::spawn(command, 1) {
        Ok(weir) => (weir, Origin::ok()),
        // It may also say clearly that this is not enough.
        Err(said) => return assert!(said.concat().contains("descriptors"), "{said:?}"),
    };
    let mut clients: Vec<_> = (0..60).map(|_| weir.connect()).collect();
    for client in &mut clients {
        client.send_if_open(origin.get("/"));
    }
    std::thread::sleep(Duration::from_millis(300));
    let before = weir.cpu_ticks();
    std::thread::sleep(Duration::from_millis(700));
    let spun = weir.cpu_ticks() - before;
    assert!(spun < 35, "{spun} ticks of processor time without anything to do");
    drop(clients);
    common::eventually("service after the flood", || {
        let mut client = weir.connect();
        client.send_if_open(origin.get("/"));
        client.try_read_response("GET").ok().filter(|answer| answer.status() == 200)
    });
}

/// A standard error that no process reads costs lines, never service.
#[test]
fn a_stuck_standard_error_stops_no_client() {
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};
    let origin = Origin::ok();
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["--port", "0", "--allow", "127.0.0.0/8", "-vv"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("weir starts");
    let mut errors = daemon.stderr.take().expect("a pipe");
    let mut said = Vec::new();
    let port = loop {
        let mut byte = [0];
        assert_eq!(errors.read(&mut byte).expect("a line"), 1);
        said.push(byte[0]);
        let text = String::from_utf8_lossy(&said);
        if let Some((_, rest)) = text.split_once("listening on 127.0.0.1:") {
            if let Some((port, _)) = rest.split_once('\n') {
                break port.parse::<u16>().expect("a port");
            }
        }
    };
    // Far more lines of statistics than the pipe holds, without a reader.
    for _ in 0..200 {
        let _ = Command::new("kill").args(["-USR2", &daemon.id().to_string()]).status();
        let mut client = std::net::TcpStream::connect(("127.0.0.1", port)).expect("weir accepts");
        client.set_read_timeout(Some(std::time::Duration::from_secs(10))).expect("a time-out");
        client.write_all(&origin.get("/")).expect("weir reads");
        let mut answer = [0; 12];
        client.read_exact(&mut answer).expect("weir answers");
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
    daemon.kill().expect("weir is there");
    daemon.wait().expect("weir ends");
}

/// The memory of a burst is freed afterwards, even if no event wakes the loop.
#[test]
fn memory_of_a_burst_goes_back_in_silence() {
    let (weir, origin) = (Weir::start(&["--no-splice"]), Origin::generator());
    // What the first request of all makes the process hold is not of the burst.
    let mut first = weir.connect();
    first.send(origin.get("/length/1"));
    assert_eq!(first.read_response().status(), 200);
    let before = weir.resident_kib();
    let clients: Vec<_> = (0..200)
        .map(|_| {
            let mut client = common::Raw::connect_small(weir.address());
            client.send(origin.get("/length/100000000"));
            client
        })
        .collect();
    let held = eventually("much is held", || Some(weir.resident_kib()).filter(|held| *held > before + 2048));
    drop(clients);
    let freed = || Some(weir.resident_kib()).filter(|now| *now < (before + held) / 2);
    eventually(&format!("most of {held} KiB goes back to {before}"), freed);
}

/// A standard error that takes nothing, as on a full disk, stops no start and changes no exit code.
#[test]
fn a_full_standard_error_changes_nothing() {
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let weir = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_weir"));
        command.stderr(full());
        command
    };
    for (options, code) in [(&["--port", "x"][..], 64), (&["-c", "/none", "--check"], 78)] {
        assert_eq!(weir().args(options).status().expect("weir runs").code(), Some(code), "{options:?}");
    }
    let scratch = Scratch::new();
    let pid_file = scratch.join("weir.pid");
    let options = ["--host", "127.0.0.1", "--port", "0", "--pid-file"];
    let mut child = weir().args(options).arg(&pid_file).spawn().expect("weir runs");
    let id = common::eventually("it has started", || {
        std::fs::read_to_string(&pid_file).ok().filter(|text| text.ends_with('\n'))
    });
    assert_eq!(id.trim().parse(), Ok(child.id()));
    let status = eventually("it ends as it is told", || {
        // The signal may come before it is heard.
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::INT);
        child.try_wait().expect("a child")
    });
    assert!(matches!(status.code(), Some(130) | None), "{status:?}");
}
