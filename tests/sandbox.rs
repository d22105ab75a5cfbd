//! The rights that the daemon has given up when it serves: paths, system calls, root's rights, core files.
//!
//! The sandbox is the kernel's. If a kernel lacks a part of it, the daemon says so, and the test of that part ends
//! there; the kernels that CI runs on lack nothing, and there that is a failure.

mod common;

use common::rights::{NOBODY, Shared, is_root, lacks, low_port, reload_says};
use common::{Hash, Origin, Raw, Scratch, Weir, eventually, run, run_with};
use rustix::process::Signal;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;

/// One field of `/proc/PID/status` for each thread.
fn of_threads(weir: &Weir, field: &str) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", weir.id())).expect("its threads");
    let value = |status: String| {
        let line = status.lines().find(|line| line.starts_with(&format!("{field}:"))).map(str::to_owned);
        let line = line.unwrap_or_else(|| panic!("no {field} in {status}"));
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    let all: Vec<_> = tasks
        .map(|task| {
            std::fs::read_to_string(task.expect("a thread").path().join("status")).expect("its status")
        })
        .map(value)
        .collect();
    assert!(all.len() >= 3, "main, log and loop: {all:?}");
    all
}

#[track_caller]
fn expect_of_threads(weir: &Weir, field: &str, expected: &str) {
    let all = of_threads(weir, field);
    assert!(all.iter().all(|value| value == expected), "{field}: {all:?}, not {expected} in each");
}

/// Every thread is confined, also one that is started later, and the work goes on: passwords that are verified in a
/// thread of their own, exchanges, a reload.
#[test]
fn every_thread_is_confined_and_works() {
    for workers in ["1", "3,pin"] {
        expect_confined_and_working(workers);
    }
}

#[track_caller]
fn expect_confined_and_working(workers: &str) {
    let scratch = Scratch::new();
    let users = scratch.file("users.txt", format!("anna:{}\n", bcrypt::hash("secret", 4).expect("a hash")));
    let (weir, origin) = (Weir::start(&["--workers", workers, "--auth-file", &users]), Origin::ok());
    let before = of_threads(&weir, "Uid").len();
    // anna:secret
    let field = "Proxy-Authorization: Basic YW5uYTpzZWNyZXQ=\r\n";
    let request = format!("GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n{field}\r\n", origin.address());
    let mut client = weir.connect();
    assert_eq!(client.ask(&request).status(), 200);
    assert_eq!(of_threads(&weir, "Uid").len(), before + 1, "the thread that verifies is one of them");
    reload_says(&weir, &["reloaded: ", "1 users"]);
    assert_eq!(client.ask(&request).status(), 200);
    if !lacks(&weir, "seccomp") {
        expect_of_threads(&weir, "Seccomp", "2");
        expect_of_threads(&weir, "NoNewPrivs", "1");
    }
    let without = Weir::start(&["--sandbox=no", "--workers", workers]);
    assert_eq!(without.connect().ask(origin.get("/")).status(), 200);
    expect_of_threads(&without, "Seccomp", "0");
}

/// A rule file that has become a link to something outside is not read, and what ran stays. Without the sandbox it is
/// read: so it was the sandbox that refused.
#[test]
fn a_forbidden_open_is_refused() {
    for (option, sandboxed) in [("--sandbox", true), ("--sandbox=no", false)] {
        let (scratch, outside) = (Scratch::new(), Scratch::new());
        let list = scratch.file("list.txt", "first.test\n");
        let weir = Weir::start(&[option, "--blocklist", &list]);
        if sandboxed && lacks(&weir, "Landlock") {
            continue;
        }
        let mut client = weir.connect();
        let mut refused = |host: &str| {
            let answer = client.ask(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            answer.status() == 403
        };
        assert!(refused("first.test"));
        std::fs::remove_file(&list).expect("removing");
        symlink(outside.file("secret", "secret.test\n"), &list).expect("a link");
        if sandboxed {
            reload_says(&weir, &["list.txt", "cannot be read (Permission denied"]);
            weir.wait_for_error(|line| line.contains("not reloaded"));
            assert!(refused("first.test") && !refused("secret.test"));
        } else {
            reload_says(&weir, &["reloaded: "]);
            eventually("the rules of the link", || refused("secret.test").then_some(()));
        }
        // An editor's way to replace a file is a new one, renamed: its directory is open to weir.
        let new = scratch.file("new", "third.test\n");
        std::fs::rename(new, &list).expect("renaming");
        weir.signal(Signal::HUP);
        eventually("the rules of the new file", || refused("third.test").then_some(()));
    }
}

/// The log rotates and is opened anew in its own directory, and nowhere else.
#[test]
fn the_log_stays_in_its_directory() {
    let (scratch, outside) = (Scratch::new(), Scratch::new());
    let folder = scratch.path().to_str().expect("a path").to_owned();
    let weir = Weir::start(&["--log-dir", &folder, "--log-max-size", "4K", "--log-keep", "2"]);
    let origin = Origin::ok();
    let mut client = weir.connect();
    let mut fill = |wanted: &str| {
        eventually("a rotation", || {
            client.ask(origin.get("/some-path-to-make-the-line-longer"));
            std::fs::exists(scratch.join(wanted)).ok().filter(|there| *there)
        });
    };
    fill("access.log.2");
    if lacks(&weir, "Landlock") {
        return;
    }
    let theirs = outside.file("theirs", "");
    std::fs::remove_file(scratch.join("access.log")).expect("removing");
    symlink(&theirs, scratch.join("access.log")).expect("a link");
    weir.signal(Signal::USR1);
    weir.wait_for_error(|line| line.contains("cannot reopen") && line.contains("Permission denied"));
    assert_eq!(outside.read("theirs"), "");
    assert!(
        weir.error_lines().iter().all(|line| !line.contains("cannot rotate")),
        "{:#?}",
        weir.error_lines()
    );
}

/// Two daemons, as during a take-over, write to one directory and both rotate: no file of one is overwritten by the other.
#[test]
fn daemons_that_share_a_log_directory_lose_no_line() {
    const REQUESTS: usize = 1500;
    let (scratch, origin) = (Scratch::new(), Origin::ok());
    let folder = scratch.join("log");
    let options = ["--log-dir", &folder, "--log-max-size", "4K", "--log-keep", "1000"];
    let mut daemons = [Weir::start(&options), Weir::start(&options)];
    std::thread::scope(|scope| {
        for (number, weir) in daemons.iter().enumerate() {
            let origin = &origin;
            scope.spawn(move || {
                let mut client = weir.connect();
                for request in 0..REQUESTS {
                    assert_eq!(client.ask(origin.get(&format!("/{number}-{request}-"))).status(), 200);
                }
            });
        }
    });
    for weir in &mut daemons {
        weir.signal(Signal::TERM);
        assert_eq!(weir.wait_exit().code(), Some(0));
    }
    let files = std::fs::read_dir(&folder).expect("the directory").map(|file| file.expect("a file").path());
    let texts: Vec<_> = files.map(|path| std::fs::read_to_string(path).expect("a log")).collect();
    assert!(texts.len() > 10, "they rotate");
    let whole = texts.concat();
    let lost = (0..REQUESTS).flat_map(|request| [format!("/0-{request}-"), format!("/1-{request}-")]);
    let lost: Vec<_> = lost.filter(|path| !whole.contains(path)).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

/// A log directory made anew in the place of the one that was there at the start is another one: what cannot be written
/// is counted, the message says what helps, and that helps.
#[test]
fn a_log_directory_made_anew_needs_a_restart() {
    let (scratch, origin) = (Scratch::new(), Origin::ok());
    let folder = scratch.join("log");
    let weir = Weir::start(&["--log-dir", &folder]);
    if lacks(&weir, "Landlock") {
        return;
    }
    assert_eq!(weir.connect().ask(origin.get("/before")).status(), 200);
    eventually("a line", || scratch.read("log/access.log").contains("/before").then_some(()));
    std::fs::remove_dir_all(&folder).expect("removing the log");
    std::fs::create_dir(&folder).expect("another directory");
    assert_eq!(weir.connect().ask(origin.get("/lost")).status(), 200);
    weir.wait_for_error(|line| line.contains("lines are being lost") && line.contains("restart of weir"));
    assert_eq!(weir.statistics().get("log_lines_lost"), 1);
    assert!(std::fs::read_dir(&folder).expect("the directory").next().is_none());
    drop(weir);
    let weir = Weir::start(&["--log-dir", &folder]);
    assert_eq!(weir.connect().ask(origin.get("/after")).status(), 200);
    eventually("a line", || scratch.read("log/access.log").contains("/after").then_some(()));
}

/// Started by root with a port that only root may bind, it serves as another user, with no way back. Started by any
/// other user it says that it cannot change.
#[test]
fn root_is_given_up() {
    let user = format!("{NOBODY}:{NOBODY}");
    if !is_root() {
        assert!(std::env::var_os("CI").is_none(), "CI runs the tests as root");
        // Another one than the tests may run as.
        let run = run(&["--port", "0", "--user", "4100000000:4100000000"]);
        assert_eq!(run.code, 71, "{}", run.said());
        return assert!(
            run.err.contains("cannot become --user: ") && run.err.contains("root"),
            "{}",
            run.err
        );
    }
    let shared = Shared::new("user");
    let list = shared.file("list.txt", "blocked.test\n", 0o644);
    let logs = shared.path("logs");
    for sandbox in ["--sandbox", "--sandbox=no"] {
        // With more groups than its own, as root often has them: they must go, too.
        let mut command = Command::new("setpriv");
        command.args(["--groups=0,1,2", env!("CARGO_BIN_EXE_weir"), "--host=127.0.0.1", sandbox]);
        command.args(["--allow", "127.0.0.0/8", "--user", &user, "--port", &low_port(0)]);
        command.args(["--blocklist", &list, "--log-dir", &logs, "--log-max-size", "4K"]);
        let (weir, origin) = (Weir::spawn(command, 1).expect("a daemon with a low port"), Origin::ok());
        assert!(weir.address().port() < 1024);
        let mut client = weir.connect();
        assert_eq!(client.ask("GET http://blocked.test/ HTTP/1.1\r\nHost: b\r\n\r\n").status(), 403);
        let id = NOBODY.to_string();
        for field in ["Uid", "Gid"] {
            expect_of_threads(&weir, field, &[id.as_str(); 4].join(" "));
        }
        expect_of_threads(&weir, "Groups", &id);
        for field in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            expect_of_threads(&weir, field, "0000000000000000");
        }
        expect_of_threads(&weir, "NoNewPrivs", "1");
        eventually("a rotation", || {
            client.ask(origin.get("/some-path-to-make-the-line-longer"));
            std::fs::exists(format!("{logs}/access.log.1")).ok().filter(|there| *there)
        });
        let owner = std::fs::metadata(format!("{logs}/access.log.1")).expect("the log").uid();
        assert_eq!(owner, NOBODY, "the log is the user's");
        reload_says(&weir, &["reloaded: "]);
        std::fs::remove_dir_all(&logs).expect("removing");
    }
}

/// The configuration is read again with the rights that are left, and the pid file is the user's.
#[test]
fn kind_21_a_reload_has_the_rights_that_are_left() {
    let (user, shared) = (format!("{NOBODY}:{NOBODY}"), Shared::new("reload"));
    let run_directory = shared.path("run");
    std::fs::create_dir(&run_directory).expect("a directory");
    if is_root() {
        std::os::unix::fs::chown(&run_directory, Some(NOBODY), Some(NOBODY)).expect("its owner");
    }
    let pid_file = format!("{run_directory}/weir.pid");
    let common = format!("allow 127.0.0.0/8\npid-file {pid_file}\n");
    let own: &[&str] = if is_root() { &["--user", &user] } else { &[] };
    for sandbox in ["--sandbox", "--sandbox=no"] {
        let config = shared.file("weir.conf", &format!("{common}block first.test\n"), 0o644);
        let weir = Weir::start_bare(&[&["-c", &config, sandbox], own].concat());
        let refuses = |host: &str| {
            let answer = weir.connect().ask(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            answer.status() == 403
        };
        assert!(refuses("first.test"));
        shared.file("weir.conf", &format!("{common}block second.test\nvia other\n"), 0o644);
        let reload = run(&["reload", "--pid-file", &pid_file]);
        assert_eq!(reload.code, 0, "{}", reload.said());
        assert!(refuses("second.test") && !refuses("first.test"));
        if !is_root() {
            continue;
        }
        shared.file("weir.conf", &format!("{common}block third.test\n"), 0o600);
        let reload = run(&["reload", "--pid-file", &pid_file]);
        assert_eq!(reload.code, 78, "{}", reload.said());
        assert!(reload.err.contains("weir.conf: cannot read: Permission denied"), "{}", reload.err);
        // Its mode is the reason, not the sandbox: a restart would not read it, either.
        assert!(!reload.said().contains("the sandbox opens"), "{}", reload.said());
        assert!(refuses("second.test"));
        // It could be read once, by root: what would fail later is said at the start.
        drop(weir);
        let weir = Weir::start_bare(&[&["-c", &config, sandbox], own].concat());
        weir.wait_for_error(|line| line.contains("weir.conf: cannot be read with the rights that are left"));
    }
}

/// The cache's file is the user's, in the sandbox and without.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn the_cache_file_belongs_to_the_user() {
    let (user, shared) = (format!("{NOBODY}:{NOBODY}"), Shared::new("cache"));
    let kept = shared.path("kept");
    std::fs::create_dir(&kept).expect("a directory");
    if is_root() {
        std::os::unix::fs::chown(&kept, Some(NOBODY), Some(NOBODY)).expect("its owner");
    }
    let answer = "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 5\r\n\r\nhello";
    let origin = Origin::answering(answer);
    let own: &[&str] = if is_root() { &["--user", &user] } else { &[] };
    for (round, sandbox) in ["--sandbox", "--sandbox", "--sandbox=no"].into_iter().enumerate() {
        let file = format!("{kept}/file");
        let mut weir = Weir::start(&[&["--cache", "--cache-file", &file, sandbox], own].concat());
        if round > 0 {
            weir.wait_for_error(|line| line.contains("loaded 1 of 1 entries"));
        }
        let answer = weir.connect().ask(origin.get("/"));
        assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"));
        weir.signal(Signal::TERM);
        assert!(weir.wait_exit().success());
        // Its last words may still be on their way through the pipe.
        weir.wait_for_error(|line| line.contains("saved 1 entries"));
        let metadata = std::fs::metadata(&file).expect("the file");
        assert_eq!(metadata.mode() & 0o777, 0o600);
        assert!(!is_root() || metadata.uid() == NOBODY);
        let lock = std::fs::metadata(format!("{file}.lock")).expect("the lock");
        assert_eq!((lock.uid(), lock.mode() & 0o777, lock.len()), (metadata.uid(), 0o600, 0));
        assert_eq!(std::fs::read_dir(&kept).expect("the directory").count(), 2);
    }
    assert_eq!(origin.heads().len(), 1);
}

/// Files that the user may not read or write are reported at the start, not at the first reload or rotation.
#[test]
fn what_the_user_lacks_shows_at_the_start() {
    if !is_root() {
        return assert!(std::env::var_os("CI").is_none(), "CI runs the tests as root");
    }
    let shared = Shared::new("lacks");
    let user = format!("{NOBODY}:{NOBODY}");
    let private = shared.file("private.txt", "blocked.test\n", 0o600);
    // A log of the user's in a directory of root's could be written, but not rotated.
    let rigid = Shared::new("rigid");
    let log = rigid.file("access.log", "", 0o640);
    std::os::unix::fs::chown(log, Some(NOBODY), Some(NOBODY)).expect("its owner");
    let refused: &[&str] = &["cannot write the access log", "expected a directory", &user];
    let not_its_own = shared.path("cache");
    let unreadable = Shared::new("unreadable");
    std::os::unix::fs::chown(unreadable.path(""), Some(NOBODY), Some(NOBODY)).expect("its owner");
    let rooted = unreadable.file("cache", "", 0o600);
    let unkept: &[&str] =
        &["--cache-file: ", "Permission denied", "expected a file, or none yet, in a directory", &user];
    let cases: [(&[&str], u8, &[&str]); 5] = [
        (&["--cache", "--cache-file", &not_its_own], 64, unkept),
        (&["--cache", "--cache-file", &rooted], 64, unkept),
        (&["--blocklist", &private], 78, &["private.txt: cannot be read (Permission denied", "--user"]),
        (&["--log-dir", &shared.path("")], 71, refused),
        (&["--log-dir", &rigid.path("")], 71, refused),
    ];
    // A build without the feature refuses the option itself.
    let known = |options: &[&str]| cfg!(feature = "cache") || options[0] != "--cache";
    for (options, code, expected) in cases.into_iter().filter(|(options, ..)| known(options)) {
        let run = run(&[&["--port", "0", "--user", &user], options].concat());
        assert_eq!(run.code, i32::from(code), "{}", run.said());
        assert!(expected.iter().all(|part| run.err.contains(part)), "{}", run.err);
        assert!(!run.err.contains("listening"), "{}", run.err);
    }
}

/// A user who has as many pipes as one may have: what would have moved inside the kernel is copied, and arrives.
#[test]
#[cfg_attr(not(feature = "splice"), ignore = "needs the feature splice")]
fn without_pipes_bytes_are_copied() {
    if !is_root() {
        return assert!(std::env::var_os("CI").is_none(), "CI runs the tests as root");
    }
    // A user of its own, so that no other test has its limit.
    const USER: u32 = 60_123;
    let hoard = "import fcntl, os, sys\n\
                 pipes = []\n\
                 while len(pipes) < 1000:\n\
                 \x20   pipes.append(os.pipe())\n\
                 \x20   try: fcntl.fcntl(pipes[-1][0], 1031, 262144)\n\
                 \x20   except PermissionError: break\n\
                 print(len(pipes), flush=True)\n\
                 sys.stdin.read()\n";
    let mut hoarder = Command::new("python3")
        .args(["-c", hoard])
        .uid(USER)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("python3");
    let mut count = String::new();
    let output = hoarder.stdout.take().expect("its output");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut count).expect("how many");
    assert!(count.trim().parse().is_ok_and(|count: u32| count < 1000), "the system has a limit: {count}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(["--host=127.0.0.1", "--port=0", "--allow=127.0.0.0/8"]);
    command.args(["--user".to_owned(), format!("{USER}:{USER}"), "-v".to_owned()]);
    let weir = Weir::spawn(command, 1).expect("a daemon");
    let origin = Origin::generator();
    const LENGTH: u64 = 20_000_000;
    for form in ["length", "close"] {
        let mut client = weir.connect();
        client.send(origin.get(&format!("/{form}/{LENGTH}")));
        let head = client.read_head();
        assert_eq!(client.hash_body(&head).0, Hash::of_pattern(LENGTH), "{form}");
    }
    weir.wait_for_error(|line| line.contains("no pipe to splice through"));
    drop(hoarder.stdin.take());
    assert!(hoarder.wait().is_ok_and(|status| status.success()));
}

/// A user that is none, or is root, is refused before anything is opened, where it was said, and by `--check` as well.
#[test]
fn unknown_users_are_refused() {
    let scratch = Scratch::new();
    let config = scratch.file("weir.conf", "# a comment\nuser no-such-user\n");
    for command in [&["--port", "0"][..], &["--check"]] {
        let said = run(&[command, &["--user", "no-such-user"]].concat());
        assert_eq!(said.code, 64, "{}", said.said());
        assert!(said.err.contains("--user: no user \"no-such-user\": expected one"), "{}", said.err);
        let said = run(&[command, &["-c", &config]].concat());
        assert_eq!(said.code, 78, "{}", said.said());
        assert!(said.err.contains("weir.conf:2: no user \"no-such-user\""), "{}", said.err);
        let said = run_with(command, &[("WEIR_USER", "root")]);
        assert_eq!(said.code, 78, "{}", said.said());
        assert!(said.err.contains("WEIR_USER: \"root\" is root: expected a user without"), "{}", said.err);
    }
}

/// No core file, not even where the shell asks for one, and no look into the process for its own user: what belongs to a
/// process that cannot be dumped belongs to root (proc(5)).
#[test]
fn memory_stays_private() {
    let scratch = Scratch::new();
    let script = format!(
        "ulimit -c unlimited 2>/dev/null; cd '{}'; exec '{}' --host 127.0.0.1 --port 0 --sandbox=no\n",
        scratch.path().display(),
        env!("CARGO_BIN_EXE_weir")
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    let mut weir = Weir::spawn(command, 1).expect("a daemon");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", weir.id())).expect("its limits");
    let cores =
        limits.lines().find(|line| line.starts_with("Max core file size")).expect("the limit of core files");
    assert_eq!(cores.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{cores}");
    weir.signal(Signal::ABORT);
    let status = weir.wait_exit();
    assert!(status.signal().is_some() && !status.core_dumped(), "{status:?}");
    // As another user than root, because root could always read it.
    let shared = Shared::new("memory");
    let mut commands = [Command::new("sleep"), Command::new(shared.program())];
    commands[0].arg("60");
    commands[1].args(["--host", "127.0.0.1", "--port", "0"]);
    if is_root() {
        for command in &mut commands {
            command.uid(NOBODY).gid(NOBODY).current_dir("/");
        }
    }
    let owner = |id: u32| std::fs::metadata(format!("/proc/{id}/environ")).expect("its environment").uid();
    let [mut sleep, weir] = commands;
    let mut sleeping = sleep.spawn().expect("another process");
    let own = if is_root() { NOBODY } else { rustix::process::geteuid().as_raw() };
    eventually("a process that can be dumped", || (owner(sleeping.id()) == own).then_some(()));
    sleeping.kill().and_then(|()| sleeping.wait()).expect("its end");
    let weir = Weir::spawn(weir, 1).expect("a daemon");
    assert_eq!(owner(weir.id()), 0);
}

/// Capabilities for binding a port, from systemd or from the file, are dropped.
#[test]
fn lent_capabilities_are_given_back() {
    if !is_root() {
        return assert!(std::env::var_os("CI").is_none(), "CI runs the tests as root");
    }
    let shared = Shared::new("lent");
    let mut command = Command::new("setpriv");
    command.args([
        &format!("--reuid={NOBODY}"),
        &format!("--regid={NOBODY}"),
        "--clear-groups",
        "--inh-caps=+net_bind_service",
        "--ambient-caps=+net_bind_service",
        &shared.program(),
        "--host=127.0.0.1",
        "--port",
        &low_port(1),
    ]);
    let weir = Weir::spawn(command, 1).expect("a daemon with a low port");
    assert!(weir.address().port() < 1024);
    for field in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        expect_of_threads(&weir, field, "0000000000000000");
    }
}

/// Root that stays root serves without any capability, in the sandbox and without: it rotates its log, reads its files again,
/// tells the addresses of the machine. Nothing that it executes would get them back.
#[test]
fn kind_20_root_keeps_no_capability() {
    if !is_root() {
        return assert!(std::env::var_os("CI").is_none(), "CI runs the tests as root");
    }
    let shared = Shared::new("root");
    let users =
        shared.file("users.txt", &format!("anna:{}\n", bcrypt::hash("secret", 4).expect("a hash")), 0o600);
    let list = shared.file("list.txt", "first.test\n", 0o600);
    for (sandbox, workers) in [("--sandbox", "1"), ("--sandbox", "3,pin"), ("--sandbox=no", "1")] {
        let logs = shared.path("logs");
        let options = ["--workers", workers, "--auth-file", &users, "--blocklist", &list, "--log-dir", &logs];
        let more = [sandbox, "--log-max-size", "4K", "--host=0.0.0.0", "--port", &low_port(2)];
        let (weir, origin) = (Weir::start(&[&options[..], &more].concat()), Origin::ok());
        let mut client = Raw::connect(SocketAddr::from(([127, 0, 0, 1], weir.address().port())));
        let field = "Proxy-Authorization: Basic YW5uYTpzZWNyZXQ=\r\n";
        let path = "/some-path-to-make-the-line-longer";
        eventually("a rotation", || {
            let request =
                format!("GET http://{0}{path} HTTP/1.1\r\nHost: {0}\r\n{field}\r\n", origin.address());
            assert_eq!(client.ask(request).status(), 200);
            std::fs::exists(format!("{logs}/access.log.1")).ok().filter(|there| *there)
        });
        reload_says(&weir, &["reloaded: ", "1 users"]);
        for field in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            expect_of_threads(&weir, field, "0000000000000000");
        }
        expect_of_threads(&weir, "NoNewPrivs", "1");
        expect_of_threads(&weir, "Uid", "0 0 0 0");
        let said = weir.error_lines();
        assert!(!said.iter().any(|line| line.contains("cannot tell the addresses")), "{said:#?}");
        drop(weir);
        std::fs::remove_dir_all(&logs).expect("removing");
    }
}

/// Where others' rights close a file or a directory to root, it keeps what opens that, and says so; then it works as it should.
#[test]
fn kind_20_root_keeps_what_others_files_need() {
    if !is_root() {
        return assert!(std::env::var_os("CI").is_none(), "CI runs the tests as root");
    }
    let shared = Shared::new("others");
    let theirs = |path: &str| std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).expect("its owner");
    let list = shared.file("list.txt", "first.test\n", 0o600);
    theirs(&list);
    let (logs, own) = (shared.path("logs"), shared.path("own"));
    for directory in [&logs, &own] {
        std::fs::create_dir(directory).expect("a directory");
    }
    theirs(&logs);
    let [none, read, write, both] = [0, 1 << 2, 1 << 1, 1 << 2 | 1 << 1];
    for sandbox in ["--sandbox", "--sandbox=no"] {
        for (list, logs, kept) in [
            (None, Some(&own), none),
            (Some(&list), Some(&own), read),
            (None, Some(&logs), write),
            (Some(&list), Some(&logs), both),
        ] {
            let mut options = vec![sandbox, "--log-max-size", "4K"];
            options.extend(list.iter().flat_map(|list| ["--blocklist", list.as_str()]));
            options.extend(logs.iter().flat_map(|logs| ["--log-dir", logs.as_str()]));
            let (weir, origin) = (Weir::start(&options), Origin::ok());
            for field in ["CapPrm", "CapEff"] {
                expect_of_threads(&weir, field, &format!("{kept:016x}"));
            }
            for (name, bit) in [("CAP_DAC_READ_SEARCH", read), ("CAP_DAC_OVERRIDE", write)] {
                let told = weir.error_lines().iter().any(|line| line.contains(name));
                assert_eq!(told, kept & bit != 0, "{name}: {:#?}", weir.error_lines());
            }
            reload_says(&weir, &["reloaded: "]);
            let mut client = weir.connect();
            let log = format!("{}/access.log.1", logs.expect("a directory"));
            eventually("a rotation", || {
                client.ask(origin.get("/some-path-to-make-the-line-longer"));
                std::fs::exists(&log).ok().filter(|there| *there)
            });
            std::fs::remove_file(log).expect("removing");
        }
    }
}

/// The file of events is named without a directory, and so is the guard file: the sandbox opens the present directory.
#[test]
#[cfg_attr(not(feature = "guard"), ignore = "needs the feature guard")]
fn events_go_to_a_file_in_the_present_directory() {
    let scratch = Scratch::new();
    scratch.file("guard.conf", "ban 203.0.113.1\nevents events.log\n");
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(["--host", "127.0.0.1", "--port", "0", "--guard", "guard.conf"]).current_dir(scratch.path());
    let weir = Weir::spawn(command, 1).unwrap_or_else(|said| panic!("it did not start: {said:#?}"));
    assert!(scratch.path().join("events.log").exists());
    assert!(
        weir.error_lines().iter().all(|line| !line.contains("writes files in ,")),
        "{:?}",
        weir.error_lines()
    );
}

/// A reload whose file of events the sandbox does not open replaces nothing: neither rules nor the receiver of events.
#[test]
#[cfg_attr(not(all(feature = "guard", feature = "admin")), ignore = "needs the features guard and admin")]
fn a_reload_with_events_behind_the_sandbox_changes_nothing() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.join("own")).expect("a folder");
    let guard = scratch.file("guard.conf", "events own/events.log\n");
    let control = scratch.join("own/control");
    let weir = Weir::start(&["--guard", &guard, "--control", &control]);
    scratch.file("guard.conf", "ban 203.0.113.1\nevents events.log\n");
    let reload = run(&["ctl", "--control", &control, "reload"]);
    if lacks(&weir, "Landlock") {
        return;
    }
    assert!(reload.code == 78 && reload.out.contains("guard.conf:2: events: "), "{reload:?}");
    assert!(reload.out.contains("restart weir"), "{reload:?}");
    assert_eq!(run(&["ctl", "--control", &control, "ban", "203.0.113.2"]).code, 0);
    eventually("the old receiver has the event", || {
        scratch.read("own/events.log").contains("203.0.113.2").then_some(())
    });
    assert!(!run(&["ctl", "--control", &control, "bans"]).out.contains("203.0.113.1"));
}
