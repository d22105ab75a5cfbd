//! What the daemon has given up by the time it serves: paths, system calls, root's rights, core files.
//!
//! The sandbox is the kernel's. Where a kernel lacks a part of it, the daemon says so, and the test of that part ends
//! there; the kernels that CI runs on lack nothing, and there that is a failure.

mod common;

use common::{Origin, Scratch, Weir, eventually, run};
use rustix::process::Signal;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Whether the daemon went on without a part of the sandbox. In CI that is a failure.
fn lacks(weir: &Weir, part: &str) -> bool {
    let lacks = weir.error_lines().iter().any(|line| line.contains("this system lacks") && line.contains(part));
    assert!(!lacks || std::env::var_os("CI").is_none(), "CI needs a kernel with {part}");
    lacks
}

/// Whether the tests run as root, which in CI they do.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// One field of `/proc/PID/status` for each thread.
fn of_threads(weir: &Weir, field: &str) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", weir.id())).expect("its threads");
    let value = |status: String| {
        let line = status.lines().find(|line| line.starts_with(&format!("{field}:"))).map(str::to_owned);
        let line = line.unwrap_or_else(|| panic!("no {field} in {status}"));
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    let all: Vec<_> = tasks
        .map(|task| std::fs::read_to_string(task.expect("a thread").path().join("status")).expect("its status"))
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

fn reload_says(weir: &Weir, wanted: &[&str]) {
    weir.signal(Signal::HUP);
    weir.wait_for_error(|line| wanted.iter().all(|part| line.contains(part)));
}

/// Every thread is under the filter, also one that is started later, and the work goes on: slow passwords in a thread of
/// their own, names, tunnels, the log.
#[test]
fn every_thread_is_confined_and_works() {
    let scratch = Scratch::new();
    // anna:secret, hashed slowly: a thread is started for it.
    let hashed = "anna:$2b$04$abcdefghijklmnopqrstuuCV6dr1SpxZqiQvFqRdnNt1vxF1.k/Uy\n";
    let users = scratch.file("users.txt", hashed);
    let weir = Weir::start(&["--auth-file", &users]);
    let origin = Origin::ok();
    let ask = format!("GET {{o}} HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic {}\r\n\r\n", "YW5uYTpzZWNyZXQ=");
    let answer = weir.connect().ask(ask.replace("{o}", &format!("http://{}/", origin.address())));
    assert!(matches!(answer.status(), 200 | 407), "{answer:?}");
    assert!(weir.error_lines().iter().all(|line| !line.contains("no thread")), "{:#?}", weir.error_lines());
    if !lacks(&weir, "seccomp") {
        expect_of_threads(&weir, "Seccomp", "2");
        expect_of_threads(&weir, "NoNewPrivs", "1");
        assert_eq!(of_threads(&weir, "Seccomp").len(), 4, "the thread that verifies is one of them");
    }
    let without = Weir::start(&["--sandbox=no"]);
    assert_eq!(without.connect().ask(origin.get("/")).status(), 200);
    expect_of_threads(&without, "Seccomp", "0");
}

/// A rule file that has become a link to something outside is not read; what ran stays. Without the sandbox it is read:
/// so it was the sandbox that refused.
#[test]
fn a_forbidden_open_is_refused() {
    let (scratch, outside) = (Scratch::new(), Scratch::new());
    let secret = outside.file("secret", "secret.test\n");
    for sandboxed in [true, false] {
        let list = scratch.file("list.txt", "first.test\n");
        let option = if sandboxed { "--sandbox" } else { "--sandbox=no" };
        let weir = Weir::start(&[option, "--blocklist", &list]);
        let mut client = weir.connect();
        let mut status = |host: &str| {
            client.ask(format!("CONNECT {host}:1 HTTP/1.1\r\nHost: {host}:1\r\n\r\n").as_str()).head.status()
        };
        if sandboxed && lacks(&weir, "Landlock") {
            continue;
        }
        std::fs::remove_file(&list).expect("removing");
        symlink(&secret, &list).expect("a link");
        match sandboxed {
            true => {
                reload_says(&weir, &["list.txt", "cannot be read (Permission denied"]);
                weir.wait_for_error(|line| line.contains("not reloaded"));
            }
            false => reload_says(&weir, &["reloaded: "]),
        }
        let _ = &mut status;
        std::fs::remove_file(&list).expect("removing");
        // An editor's way to replace a file: another one, renamed.
        let new = scratch.file("new", "third.test\nfourth.test\nfifth.test\n");
        std::fs::rename(new, &list).expect("renaming");
        reload_says(&weir, &["reloaded: "]);
    }
}
