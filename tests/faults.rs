//! Faults of the machine: a full or missing log, a full disk at the start, descriptors that run out, a process that is
//! stopped, killed, started again. Afterwards the proxy is back to normal by itself. Only a full disk needs special rights
//! here; other faults that do, or that need minutes, are in `scripts/faults`.

mod common;

use common::rights::{Shared, is_root, may_make_namespaces};
use common::weir::finish;
use common::{Origin, Scratch, Weir, contains, eventually, pattern};
use rustix::process::Signal;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const WEIR: &str = env!("CARGO_BIN_EXE_weir");

/// A good client gets what it asks for.
#[track_caller]
fn expect_service(weir: &Weir, origin: &Origin, path: &str) {
    assert_eq!(weir.connect().ask(origin.get(path)).status(), 200, "{path}");
}

fn shell(scratch: &Scratch, script: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg(scratch.file("script", script));
    command
}

/// Lines that a full disk does not take are counted; service does not wait for it.
#[test]
fn full_disk_under_standard_output() {
    let (scratch, origin) = (Scratch::new(), Origin::ok());
    let script = format!("exec '{WEIR}' --host 127.0.0.1 --port 0 --allow 127.0.0.0/8 >/dev/full\n");
    let weir = Weir::spawn(shell(&scratch, &script), 1).expect("a start");
    for number in 0..50 {
        expect_service(&weir, &origin, &format!("/{number}"));
    }
    weir.wait_for_error(|line| line.contains("lines are being lost"));
    let lost = eventually("all lines are counted as lost", || {
        Some(weir.statistics().get("log_lines_lost")).filter(|&lost| lost >= 50)
    });
    assert_eq!(lost, 50);
}

/// A text that was asked for and cannot be written is no success; a reader who has seen enough is.
#[test]
fn full_disk_under_a_text_that_was_asked_for() {
    let scratch = Scratch::new();
    let asked = ["--help", "--version", "help rules", "--print-config", "--check", "explain http://a.test/"];
    for asked in asked {
        let run = |script: &str| shell(&scratch, &script.replace("WEIR", WEIR)).output().expect("a shell");
        let full = run(&format!("exec 'WEIR' {asked} >/dev/full\n"));
        assert_eq!(full.status.code(), Some(71), "{asked}");
        let said = String::from_utf8_lossy(&full.stderr).into_owned();
        assert!(said.contains("cannot write to standard output: "), "{asked}: {said}");
        let closed = run(&format!("{{ sleep 0.2; 'WEIR' {asked}; echo $? >&2; }} | true\n"));
        let said = String::from_utf8_lossy(&closed.stderr).into_owned();
        assert!(said == "0\n" || said == "1\n", "{asked}: {said}");
    }
}

/// A log file that cannot be written for a while: lost lines are counted and reported, and later lines are written
/// again.
#[test]
fn full_disk_under_a_directory() {
    let (scratch, origin) = (Scratch::new(), Origin::ok());
    std::os::unix::fs::symlink("/dev/full", scratch.join("access.log")).expect("a link");
    let folder = scratch.join("");
    let weir = Weir::start(&["--sandbox=no", "--log-dir", &folder]);
    (0..20).for_each(|_| expect_service(&weir, &origin, "/lost"));
    eventually("losses", || (weir.statistics().get("log_lines_lost") == 20).then_some(()));
    std::fs::remove_file(scratch.join("access.log")).expect("the link");
    weir.signal(Signal::USR1);
    eventually("lines again", || {
        expect_service(&weir, &origin, "/kept");
        contains(scratch.read("access.log").as_bytes(), b"/kept").then_some(())
    });
    weir.wait_for_error(|line| line.contains("lines lost"));
    eventually("every line is written or counted", || {
        let (kept, now) = (scratch.read("access.log").lines().count() as u64, weir.statistics());
        (kept + now.get("log_lines_lost") == now.get("requests")).then_some(())
    });
}

/// A disk that takes no more at the start is no mistake of the configuration: a service manager may try again. Here it is a limit on
/// the sizes of files.
#[test]
fn full_disk_under_the_pid_file() {
    let scratch = Scratch::new();
    let pid_file = scratch.join("weir.pid");
    let config = scratch.file("weir.conf", format!("port 0\npid-file {pid_file}\n"));
    for options in [format!("--port 0 --pid-file '{pid_file}'"), format!("-c '{config}'")] {
        let run = finish(shell(&scratch, &format!("ulimit -f 0; exec '{WEIR}' {options}\n")));
        assert_eq!(run.code, 71, "{options}: {}", run.said());
        let said = format!("{pid_file}: cannot keep the number of the process there: File too large");
        assert!(run.err.contains(&said) && !run.err.contains("expected"), "{options}: {}", run.err);
    }
}

/// The same on file systems without room for bytes, and without room for another file.
#[test]
fn full_disk_under_what_the_start_writes() {
    if !may_make_namespaces() {
        return;
    }
    let (bytes, files) = ("cat /dev/zero >disk/full", "true >disk/full");
    let cache: &[[&str; 3]] = if cfg!(feature = "cache") {
        &[
            ["nr_inodes=1", files, "--cache --cache-file disk/new"],
            ["nr_inodes=3", files, "--cache --cache-file disk/new"],
        ]
    } else {
        &[]
    };
    let process = "--pid-file disk/new";
    for [size, fill, option] in
        [["size=64k", bytes, process], ["nr_inodes=1", files, process]].iter().chain(cache)
    {
        let scratch = Scratch::new();
        std::fs::create_dir(scratch.join("disk")).expect("a directory");
        let script = format!(
            "cd '{}' && mount -t tmpfs -o {size},mode=755 none disk && {{ {fill}; }} 2>/dev/null\n\
             exec '{WEIR}' --port 0 {option}\n",
            scratch.path().display()
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", &scratch.file("script", script)]);
        let run = finish(command);
        assert_eq!(run.code, 71, "{size} {option}: {}", run.said());
        let said = run.err.contains("No space left on device") && !run.err.contains("expected");
        assert!(said && run.err.contains(": cannot keep the "), "{size} {option}: {}", run.err);
    }
}

/// A log directory that is removed: made again where weir may, else every line is counted as lost.
#[test]
fn log_directory_disappears() {
    let ways: &[&[&str]] =
        if cfg!(feature = "sandbox") { &[&["--sandbox=no"], &["--sandbox=yes"]] } else { &[&[]] };
    for sandbox in ways {
        let (scratch, origin) = (Scratch::new(), Origin::ok());
        let folder = scratch.join("log");
        let weir = Weir::start(&[sandbox, &["--log-dir", &folder][..]].concat());
        expect_service(&weir, &origin, "/before");
        eventually("a line", || scratch.read("log/access.log").contains("/before").then_some(()));
        std::fs::remove_dir_all(&folder).expect("removing the log");
        (0..20).for_each(|_| expect_service(&weir, &origin, "/after"));
        let lost = eventually("every line is written or counted", || {
            let written = scratch.read("log/access.log").matches("/after").count() as u64;
            let lost = weir.statistics().get("log_lines_lost");
            (written + lost == 20).then_some(lost)
        });
        assert!(sandbox.contains(&"--sandbox=yes") || lost == 0, "{lost} lines were lost without a sandbox");
        weir.signal(Signal::USR1);
        expect_service(&weir, &origin, "/last");
    }
}

/// Descriptors run out while requests are under way: who cannot be served is told so or waits; then all is well.
#[test]
fn descriptors_run_out() {
    let (scratch, release) = (Scratch::new(), std::sync::Arc::new(AtomicBool::new(false)));
    let released = release.clone();
    let origin = Origin::serve(move |conn| {
        while conn.request()?.is_some() {
            while !released.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(10));
            }
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
        Ok(())
    });
    // Root could raise the limit again, so the process changes to another user first.
    let nobody = rustix::process::geteuid().is_root();
    let prefix = if nobody { "setpriv --reuid 65534 --regid 65534 --clear-groups" } else { "" };
    let script = format!(
        "cat '{WEIR}' >\"$1/weir\" && chmod 755 \"$1\" \"$1/weir\" && ulimit -n 40\n\
         exec {prefix} \"$1/weir\" --host 127.0.0.1 --port 0 --allow 127.0.0.0/8 --connect-timeout 2\n"
    );
    // A directory that no other user can read.
    let folder = std::env::temp_dir().join(format!("weir-faults-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut command = shell(&scratch, &script);
    command.arg(&folder);
    let weir = Weir::spawn(command, 1).expect("a start with 40 descriptors");
    // 20 clients and the daemon's own leave fewer descriptors than there are upstream connections to be made.
    let mut clients: Vec<_> = (0..20).map(|_| weir.connect()).collect();
    clients.iter_mut().for_each(|client| client.send_if_open(origin.get("/few")));
    eventually("a shortage", || (weir.statistics().get("shortages") > 0).then_some(()));
    release.store(true, Ordering::SeqCst);
    let answers = clients.iter_mut().filter_map(|client| client.try_read_response("GET").ok());
    let statuses: Vec<_> = answers.map(|answer| answer.status()).collect();
    assert!(statuses.iter().all(|status| matches!(status, 200 | 503)), "{statuses:?}");
    assert!(statuses.iter().filter(|&&status| status == 200).count() >= 4, "{statuses:?}");
    // Now there are none left for a single origin, nor for all the clients.
    clients.extend((0..60).map(|_| weir.connect()));
    clients.iter_mut().for_each(|client| client.send_if_open(origin.get("/none")));
    weir.wait_for_error(|line| line.contains("cannot take connections"));
    weir.wait_for_log(|line| line.contains(" 503 ") && line.contains("reason=descriptors_max"));
    drop(clients);
    eventually("service as before", || {
        let mut client = weir.connect();
        client.send_if_open(origin.get("/"));
        client.try_read_response("GET").ok().filter(|answer| answer.status() == 200)
    });
    let _ = std::fs::remove_dir_all(&folder);
}

/// A start that has too few descriptors says so, at whichever step it is.
#[test]
fn descriptors_run_out_at_the_start() {
    let (scratch, shared) = (Scratch::new(), Shared::new("few"));
    // Root could raise the limit again.
    let prefix = if is_root() { "setpriv --reuid 65534 --regid 65534 --clear-groups" } else { "" };
    let program = shared.program();
    let starts = |number: &u32| {
        let script = format!("ulimit -n {number}; exec {prefix} '{program}' --host 127.0.0.1 --port 0\n");
        Weir::spawn(shell(&scratch, &script), 1)
            .inspect_err(|said| {
                let last = said.last().map_or("", String::as_str);
                let is_told = last.contains("Too many open files") || last.contains("descriptors at least");
                assert!(last.starts_with("weir: ") && is_told, "{number} descriptors: {said:#?}");
            })
            .is_ok()
    };
    let enough = (5..100).find(starts);
    assert!(enough.is_some_and(|enough| enough > 5), "{enough:?}");
}

/// Stops the process, and waits until all its threads stand still.
#[track_caller]
fn stop(weir: &Weir) {
    weir.signal(Signal::STOP);
    let stopped = |task: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    };
    eventually("a process that stands still", || {
        let mut tasks = std::fs::read_dir(format!("/proc/{}/task", weir.id())).expect("its threads");
        tasks.all(|task| stopped(task.expect("a thread"))).then_some(())
    });
}

/// The process is stopped for a while: requests that arrived meanwhile are answered, a transfer continues, a tunnel
/// stays open.
#[test]
fn stopped_and_continued() {
    let weir = Weir::start(&[]);
    let (ok, echo) = (
        Origin::ok(),
        Origin::serve(|conn| {
            loop {
                let bytes = conn.read_some()?;
                if bytes.is_empty() {
                    return Ok(());
                }
                conn.send(bytes)?;
            }
        }),
    );
    let large = Origin::generator();
    let mut kept: Vec<_> = (0..20).map(|_| weir.connect()).collect();
    for client in &mut kept {
        assert_eq!(client.ask(ok.get("/")).status(), 200);
    }
    let mut tunnel = weir.connect();
    assert_eq!(tunnel.ask(echo.fill("CONNECT {o} HTTP/1.1\r\nHost: {o}\r\n\r\n")).status(), 200);
    let mut download = weir.connect();
    download.send(large.get("/length/30000000"));
    let head = download.read_head();
    stop(&weir);
    for client in &mut kept {
        client.send(ok.get("/stopped"));
    }
    tunnel.send("ping");
    std::thread::sleep(Duration::from_secs(2));
    weir.signal(Signal::CONT);
    for client in &mut kept {
        assert_eq!(client.read_response().status(), 200);
    }
    assert_eq!(tunnel.read_exact(4), b"ping");
    let (hash, _) = download.hash_body(&head);
    assert_eq!(hash, common::Hash::of_pattern(30_000_000));
    expect_service(&weir, &ok, "/after");
}

/// The process is stopped for longer than every time-out: that silence was weir's own, so no peer is timed out.
#[test]
fn stopped_for_longer_than_every_time_out() {
    let second = ["--idle-timeout", "1", "--head-timeout", "1", "--timeout", "1", "--tunnel-timeout", "1"];
    let weir = Weir::start(&second);
    let (origin, release) = (Origin::ok(), std::sync::Arc::new(AtomicBool::new(false)));
    let released = release.clone();
    let slow = Origin::serve(move |conn| {
        conn.request()?;
        while !released.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    let echo = Origin::serve(|conn| {
        let bytes = conn.read_some()?;
        conn.send(bytes)?;
        conn.read_to_end().map(drop)
    });
    let mut tunnel = weir.connect();
    let mut kept: Vec<_> = (0..20).map(|_| weir.connect()).collect();
    let mut halves: Vec<_> = (0..20).map(|_| weir.connect()).collect();
    let mut waiting: Vec<_> = (0..20).map(|_| weir.connect()).collect();
    waiting.iter_mut().for_each(|client| client.send(slow.get("/waiting")));
    slow.wait_for_connections(waiting.len());
    assert_eq!(tunnel.ask(echo.fill("CONNECT {o} HTTP/1.1\r\nHost: {o}\r\n\r\n")).status(), 200);
    let request = origin.get("/half");
    let (first, second) = request.split_at(20);
    halves.iter_mut().for_each(|client| client.send(first));
    for client in &mut kept {
        assert_eq!(client.ask(origin.get("/")).status(), 200);
    }
    stop(&weir);
    kept.iter_mut().for_each(|client| client.send(origin.get("/stopped")));
    halves.iter_mut().for_each(|client| client.send(second));
    release.store(true, Ordering::SeqCst);
    tunnel.send("ping");
    std::thread::sleep(Duration::from_secs(3));
    weir.signal(Signal::CONT);
    for client in kept.iter_mut().chain(&mut halves).chain(&mut waiting) {
        assert_eq!(client.read_response().status(), 200);
    }
    assert_eq!(tunnel.read_exact(4), b"ping");
    assert_eq!(weir.statistics().get("failed"), 0);
    // Later silence is timed out as usual.
    kept.iter_mut().for_each(|client| client.expect_closed());
}

/// Killed in the middle of work and started again on the same port at once: clients that try again are served, and the
/// log has no torn line.
#[test]
fn killed_and_started_again() {
    let (scratch, origin) = (Scratch::new(), Origin::echo());
    let folder = scratch.join("log");
    let mut weir = Weir::start(&["--log-dir", &folder]);
    let address = weir.address();
    let port = address.port().to_string();
    let (stop, served, cut) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (stop, served, cut, origin) = (&stop, &served, &cut, &origin);
            scope.spawn(move || {
                let mut number = 0;
                while !stop.load(Ordering::SeqCst) {
                    let Ok(stream) = std::net::TcpStream::connect(address) else {
                        std::thread::sleep(Duration::from_millis(2));
                        continue;
                    };
                    let Ok(mut wire) = common::Wire::new(stream, None) else { continue };
                    for _ in 0..10 {
                        number += 1;
                        let path = format!("/{thread}/{number}/");
                        let sent = wire.send(origin.get(&path));
                        let answer = sent.and_then(|()| wire.read_response("GET"));
                        let Ok(answer) = answer else {
                            cut.fetch_add(1, Ordering::SeqCst);
                            break;
                        };
                        assert!(answer.status() == 200 && answer.text().contains(&path), "{answer:?}");
                        served.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        for _ in 0..5 {
            let before = served.load(Ordering::SeqCst);
            eventually("service under load", || (served.load(Ordering::SeqCst) > before + 20).then_some(()));
            weir.signal(Signal::KILL);
            weir.wait_exit();
            let began = Instant::now();
            weir = Weir::start(&["--port", &port, "--log-dir", &folder]);
            assert_eq!(weir.address(), address);
            assert!(began.elapsed() < Duration::from_secs(5), "a start took {:?}", began.elapsed());
        }
        let before = served.load(Ordering::SeqCst);
        eventually("service after all", || (served.load(Ordering::SeqCst) > before + 20).then_some(()));
        stop.store(true, Ordering::SeqCst);
    });
    assert!(cut.load(Ordering::SeqCst) > 0, "nobody was cut off: the kill came too late");
    eventually("all exchanges end", || (weir.statistics().get("exchanges") == 0).then_some(()));
    let log = scratch.read("log/access.log");
    for line in log.lines() {
        assert!(line.contains("Z exchange ") && line.contains(" reason="), "a torn line: {line:?}");
    }
    assert!(log.lines().count() as u64 + 5 * 64 >= served.load(Ordering::SeqCst), "many lines are missing");
}

/// An origin that stops in the middle of a body and says nothing any more, not even that it is gone.
#[test]
fn origin_falls_silent() {
    let weir = Weir::start(&["--timeout", "1"]);
    let origin = Origin::serve(|conn| {
        conn.request()?;
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")?;
        conn.send(pattern(0, 50_000))?;
        conn.read_to_end().map(drop)
    });
    let mut client = weir.connect();
    client.send(origin.get("/half"));
    let head = client.read_head();
    assert_eq!(head.get("content-length"), Some("100000"));
    assert_eq!(client.read_to_end(), pattern(0, 50_000), "half, and then an end that nobody takes for one");
    weir.wait_for_log(|line| line.contains("/half") && line.contains(" failed "));
    expect_service(&weir, &Origin::ok(), "/after");
}
