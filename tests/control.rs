//! `weir ctl`: what an operator asks of a running daemon, and who may ask.

mod common;

use common::weir::Run;
use common::{Origin, Scratch, Weir, eventually, run};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};

fn ctl(socket: &str, words: &[&str]) -> Run {
    let mut all = vec!["ctl", "--control", socket];
    all.extend_from_slice(words);
    run(&all)
}

fn start(scratch: &Scratch, options: &[&str]) -> (Weir, String) {
    let socket = scratch.join("control");
    let mut all = vec!["--control", &socket];
    all.extend_from_slice(options);
    (Weir::start(&all), socket)
}

#[test]
fn statistics_are_told_in_three_forms() {
    for workers in ["1", "2"] {
        let scratch = Scratch::new();
        let (weir, socket) = start(&scratch, &["--workers", workers]);
        let origin = Origin::ok();
        assert_eq!(weir.connect().ask(origin.get("/")).status(), 200);
        let people = eventually("the request is counted", || {
            let run = ctl(&socket, &["stats"]);
            run.out.contains("\nallowed 1\n").then_some(run)
        });
        assert!(
            people.code == 0 && people.out.contains("\nrequests 1\n") && people.err.is_empty(),
            "{people:?}"
        );
        let json = ctl(&socket, &["stats", "--json"]);
        let value: serde_json::Value = serde_json::from_str(&json.out).unwrap_or_else(|_| panic!("{json:?}"));
        assert_eq!(value["requests"], 1, "{json:?}");
        assert_eq!(value.get("requests_by_worker").is_some(), workers == "2", "{json:?}");
        for words in [&["stats", "--openmetrics"][..], &["stats", "openmetrics"]] {
            let text = ctl(&socket, words);
            assert!(
                text.out.contains("\nweir_requests_total 1\n") && text.out.ends_with("\n# EOF\n"),
                "{text:?}"
            );
        }
    }
}

#[test]
fn a_reload_answers_with_its_outcome_and_the_log_says_who_asked() {
    let scratch = Scratch::new();
    let list = scratch.file("block.txt", "a.test\n");
    let (weir, socket) = start(&scratch, &["--blocklist", &list]);
    scratch.file("block.txt", "a.test\nb.test\n");
    let reloaded = ctl(&socket, &["reload"]);
    assert!(reloaded.code == 0 && reloaded.out.contains("reloaded: "), "{reloaded:?}");
    let user = rustix::process::getuid().as_raw();
    weir.wait_for_error(|line| line.contains(&format!("control: reload (by user {user})")));
    scratch.file("block.txt", "b@d rule\n");
    let failed = ctl(&socket, &["reload", "--json"]);
    assert_eq!(failed.code, 78, "{failed:?}");
    assert!(failed.out.contains("block.txt:1") && failed.err.contains("not reloaded"), "{failed:?}");
    let value: serde_json::Value = serde_json::from_str(&failed.out).unwrap_or_else(|_| panic!("{failed:?}"));
    assert!(value["answer"].is_string());
}

/// A gateway file that holds from the next start on is judged by the reload that says so: that start would end with its mistakes.
#[test]
#[cfg_attr(not(feature = "guard"), ignore = "needs the feature guard")]
fn a_reload_judges_the_gateway_file_of_the_next_start() {
    let scratch = Scratch::new();
    let routes = scratch.file("gateway.conf", "frobnicate\n");
    let config = scratch.file("weir.conf", "");
    let (weir, socket) = start(&scratch, &["-c", &config, "--sandbox=no"]);
    for (routes, expected) in [(&routes, "gateway.conf:1: "), (&scratch.join("missing"), "missing: ")] {
        scratch.file("weir.conf", format!("gateway {routes}\n"));
        let failed = ctl(&socket, &["reload"]);
        assert!(failed.code == 78 && failed.out.contains(expected), "{failed:?}");
    }
    scratch.file("gateway.conf", "*/ -> 127.0.0.1:1\n");
    scratch.file("weir.conf", format!("gateway {routes}\n"));
    let reloaded = ctl(&socket, &["reload"]);
    assert!(reloaded.code == 0 && reloaded.out.contains("needs a restart: gateway"), "{reloaded:?}");
    drop(weir);
}

/// A weir that stands still, and before which others wait already, keeps no command and no start for ever.
#[test]
fn a_weir_that_stands_still_is_reported() {
    let scratch = Scratch::new();
    let (weir, path) = start(&scratch, &[]);
    weir.signal(Signal::STOP);
    // More than its queue takes.
    let waiting: Vec<_> = (0..40)
        .map_while(|_| {
            let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).ok()?;
            socket.set_nonblocking(true).ok()?;
            socket.connect(&socket2::SockAddr::unix(&path).ok()?).ok()?;
            Some(socket)
        })
        .collect();
    assert!(waiting.len() < 40, "the queue is not full");
    let asked = ctl(&path, &["stats"]);
    let second = run(&["--port", "0", "--control", &path]);
    weir.signal(Signal::CONT);
    assert!(asked.code == 71 && asked.err.contains("in time"), "{asked:?}");
    assert!(second.code == 69 || second.code == 78, "{second:?}");
}

#[test]
fn a_drain_ends_the_daemon_and_its_socket() {
    let scratch = Scratch::new();
    // The sandbox is on.
    let (mut weir, socket) = start(&scratch, &[]);
    let mode = std::fs::metadata(&socket).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let drained = ctl(&socket, &["drain"]);
    assert!(drained.code == 0 && drained.out.contains("finishing"), "{drained:?}");
    assert!(weir.wait_exit().success());
    assert!(!std::path::Path::new(&socket).exists(), "{:?}", weir.error_lines());
    let gone = ctl(&socket, &["stats"]);
    assert_eq!(gone.code, 69, "{gone:?}");
}

/// An order to drain is no TERM: the first TERM behind it, of a service manager for instance, cuts nothing.
#[test]
fn a_term_behind_an_ordered_drain_means_a_drain_too() {
    for stops_at_once in [false, true] {
        let scratch = Scratch::new();
        let (mut weir, socket) = start(&scratch, &["--allow", "127.0.0.0/8"]);
        let origin = TcpListener::bind("127.0.0.1:0").expect("an origin");
        let (mut client, host) = (weir.connect(), origin.local_addr().expect("an address"));
        client.send(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let (mut response, _) = origin.accept().expect("a connection");
        assert_eq!(ctl(&socket, &["drain"]).code, 0);
        weir.wait_for_error(|line| line.contains("stopping: finishing"));
        weir.signal(Signal::TERM);
        weir.wait_for_error(|line| line.contains("stopping already: another TERM stops at once"));
        if stops_at_once {
            weir.signal(Signal::TERM);
            assert_eq!(weir.wait_exit().code(), Some(143));
            continue;
        }
        write!(response, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole").expect("a response");
        client.read_until(b"whole");
        assert_eq!(weir.wait_exit().code(), Some(0));
    }
}

/// While a weir drains, its numbers are those of the moment, and it reads no configuration again. With two loops, one of them has ended.
#[test]
fn a_drain_is_told_as_it_is_and_takes_no_reload() {
    for workers in ["1", "2"] {
        let scratch = Scratch::new();
        let [socket, pid_file, notify] = ["control", "pid", "notify"].map(|name| scratch.join(name));
        let manager = UnixDatagram::bind(&notify).expect("a socket");
        manager.set_nonblocking(true).expect("a socket");
        let options = ["--control", &socket, "--pid-file", &pid_file, "--workers", workers];
        let options = [&options[..], &["--allow", "127.0.0.0/8"]].concat();
        let mut weir = Weir::start_with(&options, &[("NOTIFY_SOCKET", &notify)]);
        let origin = TcpListener::bind("127.0.0.1:0").expect("an origin");
        let (mut client, host) = (weir.connect(), origin.local_addr().expect("an address"));
        client.send(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let (mut response, _) = origin.accept().expect("a connection");
        assert!(response.read(&mut [0; 4096]).expect("a request") > 0);
        write!(response, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n").expect("a response");
        client.read_until(b"\r\n\r\n");
        weir.signal(Signal::TERM);
        weir.wait_for_error(|line| line.contains("stopping: "));
        let bytes = || {
            let told = ctl(&socket, &["stats"]);
            let bytes =
                told.out.lines().find_map(|line| line.strip_prefix("client_bytes_out ")?.parse().ok());
            bytes.unwrap_or_else(|| panic!("{told:?}"))
        };
        let before: u64 = bytes();
        for more in 1..=30 {
            response.write_all(b"x").expect("a byte");
            client.read_until(b"x");
            assert_eq!(bytes(), before + more);
        }
        let refused = ctl(&socket, &["reload"]);
        assert!(refused.code == 1 && refused.err.contains("weir is stopping already"), "{refused:?}");
        weir.signal(Signal::HUP);
        weir.wait_for_error(|line| line.contains("not reloaded: weir is stopping already"));
        let refused = run(&["reload", "--pid-file", &pid_file]);
        assert!(refused.code == 69 && refused.err.contains("weir is stopping already"), "{refused:?}");
        weir.signal(Signal::USR2);
        weir.wait_for_error(|line| line.contains("statistics: ") && line.contains(" exchanges=1 "));
        weir.signal(Signal::INT);
        assert_eq!(weir.wait_exit().code(), Some(130));
        let heard: Vec<_> = std::iter::from_fn(|| {
            let mut text = [0; 4096];
            let count = manager.recv(&mut text).ok()?;
            Some(String::from_utf8_lossy(&text[..count]).lines().next().unwrap_or_default().to_owned())
        })
        .collect();
        assert_eq!(heard, ["READY=1", "STOPPING=1", "STOPPING=1"]);
    }
}

#[test]
fn a_socket_that_was_left_over_is_replaced_and_one_in_use_is_not() {
    let scratch = Scratch::new();
    let (mut first, socket) = start(&scratch, &[]);
    let second = run(&["--port", "0", "--control", &socket]);
    assert!(second.code == 69 && second.err.contains("control"), "{second:?}");
    first.signal(Signal::KILL);
    first.wait_exit();
    assert!(std::path::Path::new(&socket).exists());
    let (_weir, socket) = start(&scratch, &[]);
    assert_eq!(ctl(&socket, &["stats"]).code, 0);
    let file = scratch.file("precious", "text");
    let third = run(&["--port", "0", "--control", &file]);
    assert!(third.code != 0 && third.err.contains("no socket"), "{third:?}");
    assert_eq!(scratch.read("precious"), "text");
}

#[test]
fn what_is_no_command_is_refused() {
    let scratch = Scratch::new();
    let (weir, socket) = start(&scratch, &[]);
    for (words, code, part) in [
        (&["frobnicate"][..], 64, "expected ban ADDRESS"),
        (&[], 64, "expected ban ADDRESS"),
        (&["ban", "nowhere"], 64, "expected an address"),
        (
            &["ban", "203.0.113.9", "for", "1m", "reason", "abuse report"],
            1,
            "no guard file is loaded (--guard FILE)",
        ),
        (&["bans"], 1, "no guard file is loaded"),
        (&["unban", "::1"], 1, "no guard file is loaded"),
        (&["limits", "::1"], 1, "no guard file is loaded"),
        (&["unblock", "::1"], 1, "no guard file is loaded"),
    ] {
        let run = ctl(&socket, words);
        assert!(run.code == code && run.err.contains(part), "{words:?}: {run:?}");
    }
    weir.wait_for_error(|line| {
        line.contains("control: ban 203.0.113.9 for 1m reason abuse report (by user ")
    });
    assert_eq!(run(&["ctl", "stats"]).code, 64);
    assert_eq!(run(&["--json"]).code, 64);
}

/// Clients that send nothing, or too much: others are served meanwhile.
#[test]
fn hostile_clients_keep_no_other_one_out() {
    let scratch = Scratch::new();
    let (_weir, socket) = start(&scratch, &[]);
    let silent: Vec<_> = (0..20).map(|_| UnixStream::connect(&socket).expect("a connection")).collect();
    assert_eq!(ctl(&socket, &["stats"]).code, 0);
    let mut long = UnixStream::connect(&socket).expect("a connection");
    let _ = long.write_all(&[b'x'; 10_000]);
    let mut answer = String::new();
    let _ = long.read_to_string(&mut answer);
    assert!(answer.starts_with("64 expected one line"), "{answer:?}");
    drop(silent);
}

/// Rule 50: stored responses are removed by address, by host and all together; weir without a cache says so.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn rule_50_purge() {
    let scratch = Scratch::new();
    let socket = scratch.join("control");
    let weir = Weir::start(&["--control", &socket, "--cache"]);
    let origin =
        Origin::answering("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 1\r\n\r\nx");
    let mut client = weir.connect();
    let mut is_stored = |path: &str| {
        let status = client.ask(origin.get(path)).head.get("cache-status").expect("the field").to_owned();
        status.starts_with("weir; hit")
    };
    let host = origin.address();
    for (words, removed) in [
        (vec!["purge".to_owned(), origin.url("/a")], [true, false]),
        (vec!["purge".to_owned(), "host".to_owned(), host.to_string()], [true, true]),
        (vec!["purge".to_owned(), "all".to_owned()], [true, true]),
        (vec!["purge".to_owned(), "host".to_owned(), "other.test".to_owned()], [false, false]),
    ] {
        for path in ["/a", "/b"] {
            is_stored(path);
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let run = ctl(&socket, &words);
        let count = removed.iter().filter(|gone| **gone).count();
        assert_eq!((run.code, run.out.trim()), (0, &*format!("{count} purged")), "{words:?}");
        assert_eq!(["/a", "/b"].map(|path| !is_stored(path)), removed, "{words:?}");
    }
    assert_eq!(ctl(&socket, &["purge", "a.test"]).code, 64);
    weir.wait_for_error(|line| line.contains("control: purge all (by user "));
    let bare = scratch.join("bare");
    let _weir = Weir::start(&["--control", &bare]);
    let run = ctl(&bare, &["purge", "all"]);
    assert!(run.code == 1 && run.err.contains("the cache is off"), "{}", run.err);
}
