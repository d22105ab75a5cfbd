//! `--check` and the messages of a start that fails: all at once, in words, with a line of their own each.

mod common;

use common::rights::{NOBODY, Shared, is_root};
use common::{Scratch, Weir, run};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;

/// A command that ends by itself, with its outputs as they are.
fn raw(options: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WEIR_")) {
        command.env_remove(name);
    }
    let output = command.args(options).output().expect("weir runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// Settings, lists, users, rules of the cache, places that cannot be written to, addresses: one run names them all, by
/// `--check` and at the start.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn kind_23_everything_is_said_at_once() {
    let scratch = Scratch::new();
    scratch.file("block.txt", "good.test\nbad rule\n10.0.0.0/99\n");
    scratch.file("allow.txt", "http://x.test/\n");
    scratch.file("users.txt", "anna:secret\nno-colon\n");
    scratch.file("rules.txt", "a.test often\nb.test\n");
    scratch.file("plain", "");
    let config = scratch.file(
        "weir.conf",
        "host 192.0.2.77\nport 0\ntimeout x\nfrobnicate yes\nblocklist block.txt\nblocklist none.txt\nallowlist allow.txt\n\
         auth-file users.txt\ncache yes\ncache-rules rules.txt\ncache-file plain/cache\nlog-dir plain/logs\n\
         pid-file none/weir.pid\nuser no-such-user\nblock b@d\nerror-page 403=none.html\n",
    );
    let wanted = [
        "--min-rate: \"y\": expected",
        "weir.conf:1: cannot listen on 192.0.2.77:0: ",
        "weir.conf:3: timeout \"x\": expected",
        "weir.conf:4: unknown key \"frobnicate\"",
        "weir.conf:11: ",
        "weir.conf:12: ",
        "weir.conf:13: ",
        "weir.conf:14: no user \"no-such-user\"",
        "weir.conf:15: expected",
        "none.txt: cannot be read (No such file or directory",
        "block.txt:2: expected",
        "block.txt:3: expected",
        "allow.txt:1: expected",
        "users.txt:2: ",
        "rules.txt:1: expected",
        "rules.txt:2: expected",
        "none.html: cannot be read (No such file or directory",
    ];
    for check in [&["--check"][..], &[]] {
        let (code, out, err) = raw(&[&["-c", &config, "--min-rate", "y"], check].concat());
        assert_eq!((code, out.as_str()), (64, ""), "{err}");
        let mut last = 0;
        for part in wanted {
            let places: Vec<usize> = err.match_indices(part).map(|(at, _)| at).collect();
            assert_eq!(places.len(), 1, "{part} in {err}");
            // Each file in one piece, each in the order of its lines.
            assert!(places[0] > last || part == wanted[0], "{part} comes too early in {err}");
            last = places[0];
        }
        let problems = err.lines().filter(|line| line.starts_with("weir: ")).count();
        assert_eq!(problems, wanted.len(), "{err}");
    }
    // Without the mistake on the command line it is the files' fault.
    assert_eq!(raw(&["-c", &config, "--check"]).0, 78);
}

/// Unix sockets, and the addresses of a gateway file.
#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn kind_23_sockets_that_cannot_be_used_are_told() {
    let scratch = Scratch::new();
    let plain = scratch.file("plain", "");
    let [none, long] = [scratch.join("none/control"), scratch.join(&"x".repeat(120))];
    let gateway = scratch.file("gateway.conf", "listen 192.0.2.77:8080\na.test/ -> 127.0.0.1:1\n");
    let mut wrong = vec![
        (["--control", none.as_str()], "--control: "),
        (["--control", plain.as_str()], "--control: "),
        (["--control", long.as_str()], "--control: "),
        (["--take-over", none.as_str()], "--take-over: "),
        (["--take-over", plain.as_str()], "--take-over: "),
    ];
    if cfg!(feature = "guard") {
        wrong.push((["--gateway", gateway.as_str()], "gateway.conf: cannot listen on 192.0.2.77:8080: "));
    }
    for (options, part) in wrong {
        let (code, _, err) = raw(&[&options[..], &["--port", "0", "--check"]].concat());
        assert!(code != 0 && err.contains(part), "{options:?}: {err}");
        let (code, _, err) = raw(&[&options[..], &["--port", "0"]].concat());
        assert!(code != 0, "{options:?}: {err}");
    }
    let control = scratch.join("control");
    let _weir = Weir::start_bare(&["--control", &control]);
    let options = ["--control", &control, "--take-over", &control, "--port", "0", "--check"];
    assert_eq!(raw(&options).0, 0, "a weir listens there");
}

/// Nothing is made, locked or listened to.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn kind_23_check_leaves_no_trace() {
    let scratch = Scratch::new();
    let config = scratch.file(
        "weir.conf",
        "port 0\nlog-dir logs/below\ncache yes\ncache-file cache\npid-file weir.pid\nblock a.test,b.test\n",
    );
    let (code, out, _) = raw(&["-c", &config, "--check"]);
    assert_eq!((code, out.as_str()), (0, "weir: the configuration is valid: 2 rules, 0 users\n"));
    let left: Vec<_> = std::fs::read_dir(scratch.path())
        .expect("a folder")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(left, ["weir.conf"]);
    // While the daemon runs that has all of it, nothing is wrong with it, either.
    let weir = Weir::start_bare(&["-c", &config, "--port", "0"]);
    let port = weir.address().port().to_string();
    let (code, _, err) = raw(&["-c", &config, "--check", "--port", &port]);
    assert_eq!(code, 0, "{err}");
}

/// Files that would make the start of another user fail.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn kind_23_check_has_the_rights_of_the_user() {
    if !rustix::process::geteuid().is_root() {
        let (code, _, err) = raw(&["--check", "--port", "0", "--user", "4100000000:4100000000"]);
        assert!(code == 0 && err.contains("is not checked"), "{err}");
        return assert!(std::env::var_os("CI").is_none(), "CI runs the tests as root");
    }
    let folder = std::env::temp_dir().join(format!("weir-check-{}", std::process::id()));
    let path = |name: &str| folder.join(name).to_str().expect("a path").to_owned();
    let make = |name: &str, text: Option<&str>, mode: u32, owner: u32| {
        match text {
            Some(text) => std::fs::write(path(name), text).expect("a file"),
            None => std::fs::create_dir_all(path(name)).expect("a folder"),
        }
        std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(mode)).expect("its mode");
        chown(path(name), Some(owner), Some(owner)).expect("its owner");
        path(name)
    };
    make("", None, 0o755, 0);
    let secret_list = make("block.txt", Some("a.test\n"), 0o600, 0);
    let secret_users = make("users.txt", Some("anna:secret\n"), 0o600, 0);
    let secret_rules = make("rules.txt", Some("a.test off\n"), 0o640, 0);
    let closed = make("closed", None, 0o755, 0);
    let open = make("open", None, 0o755, NOBODY);
    let config = make("weir.conf", Some("port 0\n"), 0o600, 0);
    let user = format!("{NOBODY}:{NOBODY}");
    let common = ["-c", &config, "--user", &user];
    let (closed_cache, closed_pid) = (format!("{closed}/cache"), format!("{closed}/weir.pid"));
    let bad = [
        "--blocklist",
        &secret_list,
        "--auth-file",
        &secret_users,
        "--cache",
        "--cache-rules",
        &secret_rules,
        "--cache-file",
        &closed_cache,
        "--pid-file",
        &closed_pid,
        "--log-dir",
        &closed,
    ];
    let (code, _, err) = raw(&[&common[..], &bad, &["--check"]].concat());
    assert_eq!(code, 64, "{err}");
    for place in [&secret_list, &secret_users, &secret_rules, &closed_cache, &closed_pid, &closed] {
        let named = err.lines().any(|line| {
            line.starts_with("weir: ")
                && line.contains(&format!("{place}: "))
                && line.contains("Permission denied")
        });
        assert!(named, "{place} in {err}");
    }
    assert!(err.contains("weir.conf: cannot be read with the rights that are left"), "{err}");
    // Each of them alone is what the start fails at.
    for part in [&bad[0..2], &bad[2..4], &bad[4..7], &[bad[4], bad[7], bad[8]], &bad[9..11], &bad[11..13]] {
        let started = run(&[&common[..], part].concat());
        assert!(
            started.code > 0 && started.err.contains("Permission denied"),
            "{part:?}: {}",
            started.said()
        );
        let (code, _, err) = raw(&[&common[..], part, &["--check"]].concat());
        assert!(code > 0, "{part:?}: {err}");
    }
    // And what the user may, or root does for it, is no problem for either.
    let (cache, pid, logs) = (format!("{open}/cache"), format!("{open}/weir.pid"), path("logs"));
    let good = ["--cache", "--cache-file", &cache, "--pid-file", &pid, "--log-dir", &logs];
    let (code, _, err) = raw(&[&common[..], &good, &["--check"]].concat());
    assert_eq!(code, 0, "{err}");
    assert!(!std::fs::exists(&logs).unwrap_or(true));
    drop(Weir::start_bare(&[&common[..], &good].concat()));
    assert_eq!(std::fs::metadata(&logs).expect("the log directory").uid(), NOBODY);
    let _ = std::fs::remove_dir_all(&folder);
}

/// Each message is a line, in plain words without names of Rust types.
#[test]
fn kind_23_messages_are_lines_of_words() {
    let scratch = Scratch::new();
    let list = scratch.file("list.txt", "bad rule\n");
    let config = scratch.file("weir.conf", "port x\n");
    let (none, folder) = (scratch.join("none/x"), scratch.path().to_str().expect("a path").to_owned());
    let busy = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = busy.local_addr().expect("its address").port().to_string();
    let cases: [&[&str]; 21] = [
        &["--frobnicate"],
        &["--port"],
        &["--port", "x", "--timeout", "y"],
        &["surplus"],
        &["-c", &none],
        &["-c", &folder],
        &["-c", &config],
        &["-c", &config, "--check"],
        &["--blocklist", &list],
        &["--blocklist", &none, "--check"],
        &["--blocklist", &folder, "--check"],
        &["--auth-file", &none],
        &["--log-dir", &list],
        &["--log-dir", &list, "--check"],
        &["--cache", "--cache-file", &none, "--check"],
        &["--cache", "--cache-file", &none],
        &["--user", "no-such-user", "--check"],
        &["--port", &port],
        &["explain"],
        &["explain", "GET"],
        &["reload", "--pid-file", &none],
    ];
    for options in cases {
        let (code, out, err) = raw(options);
        assert!(code > 1 && out.is_empty(), "{options:?}: {code} {out}{err}");
        assert!(err.ends_with('\n') && !err.ends_with("\n\n"), "{options:?}: {err:?}");
        for word in
            ["NotFound", "PermissionDenied", "AddrInUse", "Os {", "kind:", "Custom", "Some(", "None", "Err("]
        {
            assert!(!err.contains(word), "{options:?} says {word}: {err}");
        }
        assert!(err.lines().all(|line| line.contains("weir")), "{options:?}: {err}");
    }
}

/// The configuration of a user of tinyproxy.
const TINYPROXY: &str = "User nobody\nGroup nogroup\nPort 8888\nListen 192.168.0.1\nBindSame yes\nTimeout 600\n\
    DefaultErrorFile \"/usr/share/tinyproxy/default.html\"\nStatFile \"/usr/share/tinyproxy/stats.html\"\n\
    LogFile \"/var/log/tinyproxy/tinyproxy.log\"\nSyslog On\nLogLevel Info\nPidFile \"/run/tinyproxy/tinyproxy.pid\"\n\
    XTinyproxy Yes\nUpstream http some.remote.proxy:port\nMaxClients 100\nMinSpareServers 5\nMaxSpareServers 20\n\
    StartServers 10\nMaxRequestsPerChild 0\nAllow 127.0.0.1\nAllow ::1\nDeny 10.0.0.0/8\nAddHeader \"X-My-Header\" \"Powered by Tinyproxy\"\n\
    ViaProxyName \"tinyproxy\"\nDisableViaHeader Yes\nFilter \"/etc/tinyproxy/filter\"\nFilterURLs On\nFilterExtended On\n\
    FilterCaseSensitive On\nFilterDefaultDeny Yes\nAnonymous \"Host\"\nBasicAuth user password\nConnectPort 443\nConnectPort 563\n\
    ReversePath \"/google/\" \"http://www.google.com/\"\nReverseOnly Yes\n";

/// The configuration of a user of Squid.
const SQUID: &str = "acl localnet src 10.0.0.0/8\nacl SSL_ports port 443\nhttp_access deny !Safe_ports\nhttp_access allow localnet\n\
    http_port 3128\ncache_dir ufs /var/spool/squid 100 16 256\ncache_mem 256 MB\nmaximum_object_size 4 MB\n\
    access_log daemon:/var/log/squid/access.log squid\nauth_param basic program /usr/lib/squid/basic_ncsa_auth /etc/squid/passwd\n\
    visible_hostname proxy\nrefresh_pattern . 0 20% 4320\ncoredump_dir /var/spool/squid\ndns_nameservers 192.0.2.1\n\
    forwarded_for delete\nrequest_header_access User-Agent deny all\ncache_peer parent.example parent 3128 0\nconnect_timeout 1 minute\n\
    logfile_rotate 10\nshutdown_lifetime 5 seconds\ncache_effective_user proxy\npid_filename /run/squid.pid\n";

/// For keys of other programs the error names weir's own, line by line; no key is suggested that means something
/// else.
#[test]
fn kind_23_keys_of_tinyproxy_and_squid_are_answered() {
    let scratch = Scratch::new();
    for (program, text) in [("tinyproxy", TINYPROXY), ("Squid", SQUID)] {
        let config = scratch.file("other.conf", text);
        let (code, _, err) = raw(&["--check", "-c", &config]);
        assert_eq!(code, 78);
        for (number, line) in (1..).zip(text.lines()) {
            let key = line.split(' ').next().expect("a key");
            let said = format!("other.conf:{number}: {key} is {program}'s: expected ");
            assert_eq!(err.matches(&said).count(), 1, "{said} in {err}");
            assert!(!err.contains("closing quote"), "{err}");
        }
        assert!(!err.contains("did you mean"), "{err}");
    }
    for (line, instead) in [
        ("Allow 10.0.0.0/8", "allow-client NETWORK"),
        ("Deny 10.0.0.0/8", "allow-client"),
        ("Port 8888", "port N"),
        ("Filter f", "blocklist FILE"),
        ("FilterDefaultDeny Yes", "allowlist FILE"),
        ("BasicAuth u p", "auth-file FILE"),
        ("MaxClients 5", "max-connections N"),
        ("PidFile f", "pid-file FILE"),
        ("http_port 3128", "port N, and host ADDRESS"),
        ("cache_mem 8 MB", "cache-size SIZE"),
        ("acl a src 10.0.0.0/8", "allow-client NETWORK"),
        ("follow_x_forwarded_for allow all", "guard FILE, with a line `trust NETWORK`"),
        ("Bind 10.0.0.1", "host ADDRESS and port N are for listening"),
    ] {
        let config = scratch.file("one.conf", format!("{line}\n"));
        let (_, _, err) = raw(&["--check", "-c", &config]);
        assert!(err.contains(instead), "{line}: {err}");
    }
    // On the command line, too.
    let (code, _, err) = raw(&["--Allow", "10.0.0.0/8"]);
    assert!(code == 64 && err.contains("allow-client") && !err.contains("did you mean"), "{err}");
    // For an unknown key the nearest one is suggested, and the form for one with a `=`. A rule is no value of `cache`.
    let config = scratch.file("typo.conf", "prot 80\nport=80\ncache deny all\nvia on\n");
    let err = raw(&["--check", "-c", &config]).2;
    let of_cache = if cfg!(feature = "cache") { "cache-rules FILE" } else { "the feature cache" };
    for said in ["did you mean port?", "as in port 80", of_cache, "a name of letters"] {
        assert!(err.contains(said), "{said} in {err}");
    }
}

/// `scripts/start` runs weir in the current directory, so relative paths mean what the caller means.
#[test]
fn kind_23_the_start_script_takes_paths_relative_to_the_user() {
    let scratch = Scratch::new();
    scratch.file("weir.conf", "port 0\n");
    // In place of cargo something that says how it was called.
    let cargo = scratch.file("cargo", "#!/bin/sh\npwd\nfor argument; do echo \"$argument\"; done\n");
    std::fs::set_permissions(cargo, std::fs::Permissions::from_mode(0o755)).expect("its mode");
    let path = std::env::var("PATH").unwrap_or_default();
    let package = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(package.join("scripts/start"))
        .args(["-c", "weir.conf", "--block", "a b"])
        .current_dir(scratch.path())
        .env("PATH", format!("{}:{path}", scratch.path().display()))
        .output()
        .expect("the script runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = said.lines().collect();
    let here = std::fs::canonicalize(scratch.path()).expect("a folder");
    assert_eq!(std::path::Path::new(lines[0]), here, "{said}");
    assert!(said.ends_with("--\n-c\nweir.conf\n--block\na b\n"), "{said}");
    let manifest = lines.iter().position(|line| *line == "--manifest-path").map(|at| lines[at + 1]);
    let manifest = std::fs::canonicalize(scratch.path().join(manifest.expect("a manifest"))).expect("a file");
    assert_eq!(manifest, std::fs::canonicalize(package.join("Cargo.toml")).expect("a file"));
}

/// A file of another kind is never taken for a pid file, and places are used once.
#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn kind_23_places_that_are_taken_are_told() {
    let scratch = Scratch::new();
    let config = scratch.file("weir.conf", "host 127.0.0.1\nport 8080\nhost ::\nmetrics 127.0.0.1:8080\n");
    let (code, _, err) = raw(&["-c", &config, "--pid-file", &config, "--check"]);
    assert_eq!(code, 64, "{err}");
    for part in [
        "this file has something else than the number of a process",
        "cannot listen on [::]:8080 and 127.0.0.1:8080 at once",
    ] {
        assert!(err.contains(part), "{part} in {err}");
    }
    let before = std::fs::read(&config).expect("the file");
    let (code, _, err) = raw(&["-c", &config, "--pid-file", &config]);
    assert!(code == 64 && err.contains("something else"), "{code}: {err}");
    assert_eq!(std::fs::read(&config).expect("the file"), before);
    // Neither is the file beside it that a reload writes.
    let settings = "block a.test\nblock b.test\nquiet yes\n";
    scratch.file("app.reload", settings);
    for more in [&["--check"][..], &[]] {
        let options = ["--port", "0", "--pid-file", &scratch.join("app")];
        let run = run(&[&options, more].concat());
        assert_eq!(run.code, 64, "{}", run.said());
        let told = "app.reload: this file has something else than the outcome of a reload; expected";
        assert!(run.err.contains(told), "{}", run.said());
        assert_eq!(scratch.read("app.reload"), settings);
    }
    let path = scratch.join("one");
    let (code, _, err) = raw(&["--pid-file", &path, "--control", &path, "--check"]);
    assert!(code == 64 && err.contains("another option names it"), "{code}: {err}");
    for name in ["access.log", "access.log.1"] {
        let path = scratch.join(name);
        let (code, _, err) = raw(&["--pid-file", &path, "--log-dir", &scratch.join(""), "--check"]);
        assert!(code == 64 && err.contains("the access log has it"), "{code}: {err}");
    }
    let hosts: Vec<String> =
        (0..257).map(|host| format!("--host=127.0.{}.{}", host / 200, host % 200 + 1)).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let (code, _, err) = raw(&[&hosts[..], &["--port", "8888", "--check"]].concat());
    assert!(code == 64 && err.contains("--host: expected at most 256 addresses, found 257"), "{code}: {err}");
}

/// What stands beside a file of weir's, and what a name leads to, is checked as the start would find it.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn kind_23_what_is_beside_a_file_is_checked() {
    let scratch = Scratch::new();
    for folder in ["cache.new", "locked.lock", "pid.reload", "link", "socket", "chain", "made"] {
        std::fs::create_dir(scratch.join(folder)).expect("a folder");
    }
    for (link, target) in [
        ("link/access.log", "/nonexistent/log"),
        ("chain/access.log", "../chain/next"),
        ("chain/next", "../none/log"),
        ("made/access.log", "next"),
        ("made/next", "../other.log"),
        ("dangling", "none"),
        ("linked.lock", "none"),
    ] {
        symlink(target, scratch.join(link)).expect("a link");
    }
    drop(UnixListener::bind(scratch.join("socket/access.log")).expect("a socket"));
    for (option, name, told) in [
        ("--cache-file", "cache", "cache: cache.new: Is a directory"),
        ("--cache-file", "locked", "locked: locked.lock: Is a directory"),
        ("--cache-file", "linked", "linked: linked.lock: Too many levels of symbolic links"),
        ("--pid-file", "pid", "pid.reload: this is no file"),
        ("--log-dir", "link", "link: access.log: No such file or directory"),
        ("--log-dir", "socket", "socket: access.log: this is a socket"),
        ("--log-dir", "chain", "chain: access.log: No such file or directory"),
        ("--log-dir", "dangling", "dangling: No such file or directory"),
    ] {
        let options = ["--port", "0", "--cache", option, &scratch.join(name)];
        let (code, out, err) = raw(&[&options[..], &["--check"]].concat());
        assert!(code == 64 && out.is_empty() && err.contains(told), "{option} {name}: {code} {out}{err}");
        let started = run(&options);
        assert_eq!(started.code, 64, "{option} {name}: {}", started.said());
    }
    // A link to a file that can be created is followed.
    let options = ["--log-dir", &scratch.join("made")];
    let (code, _, err) = raw(&[&options[..], &["--port", "0", "--check"]].concat());
    assert!(code == 0 && !std::fs::exists(scratch.join("other.log")).unwrap_or(true), "{err}");
    drop(Weir::start_bare(&options));
    assert!(std::fs::exists(scratch.join("other.log")).unwrap_or(false));
}

/// A socket that a killed weir of another user has left cannot be replaced: for want of the right to connect, or to remove it.
#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn kind_23_sockets_of_other_users_are_told() {
    if !is_root() {
        return assert!(std::env::var_os("CI").is_none(), "CI runs the tests as root");
    }
    let mode = |path: &str, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("its mode");
    };
    let user = format!("{NOBODY}:{NOBODY}");
    for (name, of_directory, of_socket, told) in [
        ("closed", 0o755, 0o755, "control: Permission denied"),
        ("sticky", 0o1777, 0o777, "control: Operation not permitted"),
    ] {
        let shared = Shared::new(name);
        let (directory, socket) = (shared.path(""), shared.path("control"));
        drop(UnixListener::bind(&socket).expect("a socket"));
        mode(&directory, of_directory);
        mode(&socket, of_socket);
        let owner = if name == "closed" { NOBODY } else { 0 };
        chown(&directory, Some(owner), Some(owner)).expect("its owner");
        let options = ["--port", "0", "--user", &user, "--control", &socket];
        let (code, _, err) = raw(&[&options[..], &["--check"]].concat());
        assert!(code == 64 && err.contains(told), "{name}: {code} {err}");
        let started = run(&options);
        assert_eq!(started.code, 71, "{name}: {}", started.said());
        // The user's own socket is replaced.
        chown(&socket, Some(NOBODY), Some(NOBODY)).expect("its owner");
        let (code, _, err) = raw(&[&options[..], &["--check"]].concat());
        assert_eq!(code, 0, "{name}: {err}");
        drop(Weir::start_bare(&["--user", &user, "--control", &socket]));
    }
}

/// Lines that have no effect, because another is missing: who wrote them may take something for protected that is not.
#[test]
#[cfg_attr(
    not(all(feature = "cache", feature = "detection")),
    ignore = "needs the features cache and detection"
)]
fn lines_without_effect_are_told() {
    let scratch = Scratch::new();
    scratch.file("guard.conf", "ban-after detect 5 in 1h for 1h\ncsrf protect path /\n");
    let config = scratch.file("weir.conf", "guard guard.conf\npurge-from ::1\ncache-rules rules.txt\n");
    scratch.file("rules.txt", "\u{feff}a.test off\n");
    let (code, out, err) = raw(&["-c", &config, "--check"]);
    assert!(code == 0 && out.contains("is valid"), "{code} {out} {err}");
    for part in [
        "guard.conf:1: ban-after detect has no effect: expected a line with detect block or detect observe",
        "guard.conf:2: csrf has no effect on forwarded requests: expected --gateway",
        "weir.conf:2: purge-from has no effect without cache",
        "weir.conf:3: cache-rules has no effect without cache",
    ] {
        assert!(err.contains(part), "{part} in {err}");
    }
    scratch.file("guard.conf", "ban-after detect 5 in 1h for 1h\ndetect observe\n");
    let (code, _, err) = raw(&["-c", &config, "--check", "--cache"]);
    assert!(code == 0 && !err.contains("no effect"), "{code} {err}");
}
