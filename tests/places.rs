//! Which files the daemon in its sandbox can open, and what it says where it cannot.

mod common;

use common::rights::{NOBODY, Shared, is_root, lacks, reload_says};
use common::{Origin, Scratch, Weir, eventually, run};
use rustix::process::Signal;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

/// A file in a directory that others use is opened, and nothing beside it: not by a link, and not what takes its place. That is
/// told at the start and when it happens; written in place it is read again.
#[test]
fn kind_20_beside_a_file_nothing_is_opened() {
    let sticky = Shared::new("sticky");
    std::fs::set_permissions(sticky.path(""), std::fs::Permissions::from_mode(0o1777)).expect("its mode");
    let list = sticky.file("list.txt", "first.test\n", 0o644);
    sticky.file("neighbour.txt", "neighbour.test\n", 0o644);
    let weir = Weir::start(&["--blocklist", &list]);
    if lacks(&weir, "Landlock") {
        return;
    }
    weir.wait_for_error(|line| line.contains("read after a restart only") && line.contains("list.txt"));
    let refused = |host: &str| {
        let answer = weir.connect().ask(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        answer.status() == 403
    };
    sticky.file("list.txt", "first.test\nsecond.test\n", 0o644);
    reload_says(&weir, &["reloaded: "]);
    eventually("what was written in place", || refused("second.test").then_some(()));
    let wanted = ["list.txt", "cannot be read (Permission denied"];
    for (number, replace) in ["a link", "a new file"].iter().enumerate() {
        std::fs::remove_file(&list).expect("removing");
        match number {
            0 => symlink("neighbour.txt", &list).expect("a link"),
            _ => {
                let new = sticky.file("new", "third.test\n", 0o644);
                std::fs::rename(new, &list).expect("renaming");
            }
        }
        weir.signal(Signal::HUP);
        eventually(replace, || {
            let said = weir.error_lines();
            let times = |part: &str| said.iter().filter(|line| line.contains(part)).count();
            let told = [wanted[1], "write the file in place, or restart weir", "not reloaded"];
            told.iter().all(|part| times(part) == number + 1).then_some(())
        });
        assert!(refused("second.test") && !refused("neighbour.test") && !refused("third.test"));
    }
    drop(weir);
    let weir = Weir::start(&["--blocklist", &list]);
    let answer = weir.connect().ask("GET http://third.test/ HTTP/1.1\r\nHost: third.test\r\n\r\n");
    assert_eq!(answer.status(), 403, "a restart reads it");
}

/// A neighbour of a file in `/etc` is closed to root, although its permissions would allow it.
#[test]
fn kind_20_etc_is_closed_to_root() {
    if !is_root() {
        return assert!(std::env::var_os("CI").is_none(), "CI runs the tests as root");
    }
    for secret in ["/etc/shadow", "/etc/passwd"] {
        let scratch = Scratch::new();
        let list = scratch.file("list.txt", "first.test\n");
        let weir = Weir::start(&["--blocklist", &list]);
        if lacks(&weir, "Landlock") {
            return;
        }
        std::fs::remove_file(&list).expect("removing");
        symlink(secret, &list).expect("a link");
        reload_says(&weir, &["list.txt", "cannot be read (Permission denied"]);
    }
}

/// Names and name servers: files that are changed in place are read again. A replacement is closed to root, which
/// keeps the old content, reads everything else, and says so; another user can read it.
#[test]
fn kind_20_names_are_read_again_or_it_is_said_that_they_are_not() {
    if !is_root() {
        return assert!(std::env::var_os("CI").is_none(), "CI runs the tests as root");
    }
    let user = format!("{NOBODY}:{NOBODY}");
    for (own, open) in [(&["--user", &user][..], true), (&[], false), (&["--sandbox=no"], true)] {
        let shared = Shared::new("names");
        let (etc, list) = (shared.path("etc"), shared.file("list.txt", "first.test\n", 0o644));
        let copied = Command::new("cp").args(["-a", "/etc", &etc]).status();
        assert!(copied.is_ok_and(|status| status.success()), "a copy of /etc");
        let hosts = |name: &str, lines: &str| {
            std::fs::write(format!("{etc}/{name}"), lines).expect("a file");
        };
        hosts("hosts", "127.0.0.1 one.test\n");
        let mut command = Command::new("unshare");
        let script = "mount --bind \"$0\" /etc && exec \"$@\"";
        command.args(["--mount", "sh", "-c", script, &etc, &shared.program()]);
        command.args(["--host=127.0.0.1", "--port=0", "--allow=127.0.0.0/8", "--blocklist", &list]).args(own);
        let (weir, origin) = (Weir::spawn(command, 1).expect("a daemon with its own /etc"), Origin::ok());
        if !open && lacks(&weir, "Landlock") {
            return;
        }
        let status = |host: &str| {
            let host = format!("{host}:{}", origin.address().port());
            weir.connect().ask(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n")).status()
        };
        assert_eq!(status("one.test"), 200);
        hosts("hosts", "127.0.0.1 two.test\n");
        reload_says(&weir, &["reloaded: "]);
        eventually("what was written in place", || (status("two.test") == 200).then_some(()));
        hosts("hosts.new", "127.0.0.1 three.test\n");
        std::fs::rename(format!("{etc}/hosts.new"), format!("{etc}/hosts")).expect("renaming");
        shared.file("list.txt", "fourth.test\n", 0o644);
        weir.signal(Signal::HUP);
        eventually("the new rules", || (status("fourth.test") == 403).then_some(()));
        if open {
            eventually("the new names", || (status("three.test") == 200).then_some(()));
        } else {
            let told =
                ["/etc/hosts: Permission denied", "name servers and hosts stay as they were", "restart weir"];
            weir.wait_for_error(|line| told.iter().all(|part| line.contains(part)));
            assert_eq!([status("two.test"), status("three.test")], [200, 502]);
        }
    }
}

/// The open paths are printed before the sandbox is entered, for the user that the daemon changes to.
#[test]
fn kind_20_places_are_told_with_the_settings() {
    let scratch = Scratch::new();
    let list = scratch.file("list.txt", "");
    let folder = scratch.path().display().to_string();
    let options = ["--print-config", "--blocklist", &list, "--log-dir", "/var/log/weir"];
    let said = run(&options);
    let line =
        |part: &str| said.out.lines().find(|line| line.starts_with(part)).unwrap_or_default().to_owned();
    assert!(line("# sandbox: reads all files in ").contains(&folder), "{}", said.out);
    assert!(line("# sandbox: reads and writes all files in ").contains("/var/log/weir"), "{}", said.out);
    let printed = scratch.file("weir.conf", &said.out);
    assert_eq!(run(&["--check", "-c", &printed]).code, 0, "it is a file of settings still");
    let said = run(&[&options[..], &["--sandbox=no"]].concat());
    assert!(!said.out.contains("# sandbox: "), "{}", said.out);
}

/// What the guard file names in other directories, and the networks of the clouds: files that are replaced are read again, and so
/// are new files of clouds, with the rights that are left. A neighbour of the directories that are open stays closed.
#[test]
#[cfg_attr(not(all(feature = "guard", feature = "redis")), ignore = "needs the features guard and redis")]
fn guard_8_what_the_guard_file_names_is_read_again() {
    let user = format!("{NOBODY}:{NOBODY}");
    let whose: &[&[&str]] = if is_root() { &[&["--user", &user], &[]] } else { &[&[]] };
    for own in whose {
        let shared = Shared::new("guard");
        for directory in ["conf", "lists", "secrets", "clouds", "other"] {
            std::fs::create_dir(shared.path(directory)).expect("a directory");
        }
        let network = |network: &str| {
            let row = format!(r#"{{"ipv4Prefix":"{network}","scope":"x"}}"#);
            format!(r#"{{"prefixes":[{row}]}}"#)
        };
        let replace = |name: &str, text: &str| {
            let new = shared.file(&format!("{name}.new"), text, 0o644);
            std::fs::rename(new, shared.path(name)).expect("renaming");
        };
        let lines = "trust 127.0.0.0/8\nban-file ../lists/bans\ncloud deny client gcp,vultr\n\
                     store redis://127.0.0.1:1 password-file ../secrets/redis\n";
        let guard = shared.file("conf/guard.conf", lines, 0o644);
        replace("lists/bans", "192.0.2.1\n");
        replace("secrets/redis", "first\n");
        replace("clouds/gcp.json", &network("198.51.100.0/25"));
        let clouds = shared.path("clouds");
        let weir =
            Weir::start(&[&["--guard", &guard, "--cloud-ranges", &clouds, "--sandbox"], *own].concat());
        let origin = Origin::ok();
        let statuses = || {
            ["192.0.2.1", "192.0.2.2", "198.51.100.1", "198.51.100.129", "203.0.113.1"].map(|client| {
                let host = origin.address();
                let field = format!("X-Forwarded-For: {client}");
                let request = format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n{field}\r\n\r\n");
                weir.connect().ask(request).status()
            })
        };
        assert_eq!(statuses(), [403, 200, 403, 200, 200], "{own:?}");
        replace("lists/bans", "192.0.2.2\n");
        replace("secrets/redis", "second\n");
        replace("clouds/gcp.json", &network("198.51.100.128/25"));
        replace("clouds/vultr.json", r#"{"subnets":[{"ip_prefix":"203.0.113.0/24","region":"x"}]}"#);
        reload_says(&weir, &[" reloaded: "]);
        assert_eq!(statuses(), [200, 403, 200, 403, 403], "{own:?}");
        if lacks(&weir, "Landlock") {
            return;
        }
        shared.file("other/bans", "192.0.2.3\n", 0o644);
        std::fs::remove_file(shared.path("lists/bans")).expect("removing");
        symlink(shared.path("other/bans"), shared.path("lists/bans")).expect("a link");
        reload_says(&weir, &["lists/bans", "Permission denied"]);
        assert_eq!(statuses(), [200, 403, 200, 403, 403], "{own:?}");
    }
}
