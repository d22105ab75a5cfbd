//! `weir ctl` and the guard: bans by hand, limits, events.

use super::Guarded;
use crate::common::{Origin, Run, Scratch, Weir, run};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use rustix::process::Signal;

struct Controlled {
    guarded: Guarded,
    socket: String,
    _scratch: Scratch,
}

impl Controlled {
    fn start(lines: &str) -> Controlled {
        let scratch = Scratch::new();
        let socket = scratch.join("control");
        let guarded = Guarded::with_options(lines, &["--control", &socket]);
        Controlled { guarded, socket, _scratch: scratch }
    }

    fn ctl(&self, words: &[&str]) -> Run {
        let mut all = vec!["ctl", "--control", &self.socket];
        all.extend_from_slice(words);
        run(&all)
    }
}

#[test]
fn bans_by_hand_hold_at_once_and_end_at_once() {
    let on = Controlled::start("");
    assert_eq!(on.guarded.get("203.0.113.9", "/").0, 200);
    let done = on.ctl(&["ban", "203.0.113.9", "for", "1m", "reason", "abuse", "report"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(on.guarded.get("203.0.113.9", "/").0, 403);
    let told = on.ctl(&["bans"]);
    assert!(told.out.contains("203.0.113.9") && told.out.contains("abuse report"), "{told:?}");
    let told = on.ctl(&["--json", "bans"]);
    assert!(told.out.starts_with('[') && told.out.contains("\"network\":\"203.0.113.9\""), "{told:?}");
    on.guarded
        .weir
        .wait_for_error(|line| line.contains("control: ban 203.0.113.9") && line.contains("user "));
    assert_eq!(on.ctl(&["unban", "203.0.113.9"]).code, 0);
    assert_eq!(on.guarded.get("203.0.113.9", "/").0, 200);
    assert_eq!(on.ctl(&["unban", "203.0.113.9"]).code, 1);
    assert_eq!(on.ctl(&["--json", "bans"]).out.trim(), "[]");
    for refused in ["127.0.0.1", "::1", "0.0.0.0/0"] {
        let answer = on.ctl(&["ban", refused]);
        assert_eq!(answer.code, 1, "{refused}: {answer:?}");
    }
    assert_eq!(on.ctl(&["ban", "203.0.113.9", "for", "never"]).code, 64);
}

#[test]
fn a_ban_cuts_what_is_under_way() {
    let on = Controlled::start("");
    let mut raw = on.guarded.weir.connect();
    let host = on.guarded.origin.address();
    raw.send(format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n"));
    let head = raw.read_head();
    assert_eq!(head.status(), 200);
    assert_eq!(on.ctl(&["ban", "203.0.113.0/24"]).code, 0);
    raw.expect_closed();
    on.guarded.weir.wait_for_log(|line| line.contains("203.0.113.7") && line.contains("banned"));
}

#[test]
fn limits_are_told_and_blocks_are_lifted() {
    let on = Controlled::start(
        "limit 100/10m per client\nescalate 2/10m block 15m after 2 forever after 3 in 24h",
    );
    let statuses: Vec<u16> = (0..5).map(|_| on.guarded.get("192.0.2.1", "/").0).collect();
    assert_eq!(statuses, [200, 200, 429, 429, 429]);
    let told = on.ctl(&["limits", "192.0.2.1"]);
    assert!(told.out.contains("guard:2  open  95"), "{told:?}");
    assert!(told.out.contains("guard:3  blocked"), "{told:?}");
    assert_eq!(on.ctl(&["unblock", "192.0.2.1"]).code, 0);
    assert_eq!(on.guarded.get("192.0.2.1", "/").0, 200);
    assert_eq!(on.ctl(&["unblock", "192.0.2.2"]).code, 1);
}

#[test]
fn guard_12_events_tell_what_was_done() {
    let on = Controlled::start("limit 1/10m per client\nban-after limit 2 in 10m for 1h");
    let statuses: Vec<u16> = (0..4).map(|_| on.guarded.get("192.0.2.1", "/").0).collect();
    assert_eq!(statuses, [200, 429, 429, 403]);
    let told = on.ctl(&["--json", "events"]).out;
    let kinds = ["rate_limited", "ip_banned", "ip_blocked"];
    for kind in kinds {
        assert!(told.contains(&format!("\"event_type\":\"{kind}\"")), "{told}");
    }
    // Fault 6 of section 13: the limit that was exceeded, and not another one.
    assert!(told.contains("\"rate_limit\":\"1\",\"window\":\"600\""), "{told}");
    let told = on.ctl(&["events"]).out;
    assert_eq!(told.lines().count(), 4, "{told}");
}

#[test]
fn without_a_guard_file_commands_say_so() {
    let scratch = Scratch::new();
    let socket = scratch.join("control");
    let _weir = Weir::start(&["--control", &socket]);
    let answer = run(&["ctl", "--control", &socket, "ban", "203.0.113.9"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.err.contains("--guard"), "{answer:?}");
}

#[test]
fn ours_12_events_go_to_a_file_and_to_a_socket() {
    let scratch = Scratch::new();
    let origin = crate::common::Origin::ok();
    let receiver = std::os::unix::net::UnixDatagram::bind(scratch.join("receiver")).expect("a socket");
    receiver.set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("a time-out");
    let file = scratch.file("guard.conf", "trust 127.0.0.0/8\nban 203.0.113.0/24\nevents events.json\n");
    let weir = Weir::start(&["--guard", &file]);
    let ask = |client: &str| super::ask(&mut weir.connect(), &origin, client, "GET", "/", "").0;
    assert_eq!(ask("203.0.113.1"), 403);
    let line = crate::common::eventually("the event is in the file", || {
        scratch.read("events.json").lines().next().map(str::to_owned)
    });
    assert!(line.contains("\"event_type\":\"ip_blocked\"") && line.contains("203.0.113.1"), "{line}");
    scratch
        .file("guard.conf", "trust 127.0.0.0/8\nban 203.0.113.0/24\nevents unix:receiver mute ip_banned\n");
    weir.signal(Signal::HUP);
    weir.wait_for_error(|line| line.contains("reloaded"));
    assert_eq!(ask("203.0.113.2"), 403);
    // The new reader begins with what the ring has.
    let mut received = String::new();
    while !received.contains("203.0.113.2") {
        let mut block = [0; 4096];
        let length = receiver.recv(&mut block).expect("an event");
        received = String::from_utf8_lossy(&block[..length]).into_owned();
    }
    assert!(received.starts_with('{') && received.ends_with('}'), "{received}");
}

/// The queue of a socket has few places: each event comes once, in order, and none is missing.
#[test]
fn ours_12_a_burst_of_events_goes_to_a_socket_once() {
    const EVENTS: usize = 100;
    let scratch = Scratch::new();
    let receiver = std::os::unix::net::UnixDatagram::bind(scratch.join("receiver")).expect("a socket");
    receiver.set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("a time-out");
    let path = scratch.join("receiver");
    let guarded = Guarded::start(&format!("ban 203.0.113.0/24\nevents unix:{path}"));
    for client in 0..EVENTS {
        assert_eq!(guarded.get(&format!("203.0.113.{client}"), "/").0, 403);
    }
    for client in 0..EVENTS {
        let mut block = [0; 4096];
        let length = receiver.recv(&mut block).expect("an event");
        let line = String::from_utf8_lossy(&block[..length]).into_owned();
        assert!(line.contains(&format!("\"203.0.113.{client}\"")), "{client}: {line}");
    }
}

/// A file that takes nothing: what the ring drops meanwhile is counted at once.
#[test]
fn ours_12_events_that_a_full_disk_loses_are_counted() {
    const EVENTS: usize = 5000;
    let guarded = Guarded::with_options("ban 203.0.113.0/24\nevents /dev/full", &["--sandbox=no"]);
    let mut raw = guarded.weir.connect();
    for _ in 0..EVENTS {
        assert_eq!(super::ask(&mut raw, &guarded.origin, "203.0.113.1", "GET", "/", "").0, 403);
    }
    // A number that is 0 is left out.
    crate::common::eventually("they are counted", || {
        let _ = guarded.weir.statistics();
        guarded.weir.error_lines().iter().any(|line| line.contains(" guard_events_lost=")).then_some(())
    });
}

/// What fails only when it is used is found before anything is replaced.
#[test]
fn a_reload_with_a_store_or_events_that_cannot_be_used_changes_nothing() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.join("folder")).expect("a folder");
    let before = "trust 127.0.0.0/8\nban 203.0.113.1\n";
    let file = scratch.file("guard.conf", before);
    let (weir, origin) = (Weir::start(&["--guard", &file]), crate::common::Origin::ok());
    let long = "x".repeat(120);
    let socket = format!("events unix:/{long}");
    for (line, expected) in [
        ("store redis://127.0.0.1:1/x", "number of a database"),
        ("store redis-cluster://127.0.0.1:1/3", "one database only"),
        ("store redis://u:%ff@127.0.0.1:1", "store: "),
        ("events /nonexistent/events.json", "events: "),
        ("events folder", "events: "),
        (&socket, "events: "),
    ] {
        let redis = line.starts_with("store");
        if redis && !cfg!(feature = "redis") {
            continue;
        }
        let wrong = format!("trust 127.0.0.0/8\nban 203.0.113.2\n{line}\nban-file missing\n");
        scratch.file("guard.conf", &wrong);
        let checked = run(&["--check", "--guard", &file]);
        assert_eq!(checked.code, 78, "{line}: {checked:?}");
        assert!(checked.err.contains("guard.conf:4: ") && checked.err.contains("missing"), "{checked:?}");
        scratch.file("guard.conf", wrong.replace("ban-file missing\n", ""));
        for answer in [run(&["--check", "--guard", &file]), run(&["--port", "0", "--guard", &file])] {
            assert_eq!(answer.code, 78, "{line}: {answer:?}");
            assert!(answer.err.contains("guard.conf:3: ") && answer.err.contains(expected), "{answer:?}");
        }
        let rejected = || weir.error_lines().iter().filter(|told| told.contains("not reloaded")).count();
        let before = rejected();
        weir.signal(Signal::HUP);
        crate::common::eventually("the reload is refused", || (rejected() > before).then_some(()));
        weir.wait_for_error(|told| told.contains("guard.conf:3: ") && told.contains(expected));
        for (client, status) in [("203.0.113.1", 403), ("203.0.113.2", 200)] {
            let found = super::ask(&mut weir.connect(), &origin, client, "GET", "/", "").0;
            assert_eq!(found, status, "{line}: {client}");
        }
    }
}

/// All errors at once: those of the lines, and those of the files that the right lines name.
#[test]
fn a_faulty_line_hides_no_missing_file() {
    let scratch = Scratch::new();
    let file = scratch.file(
        "guard.conf",
        "nonsense\nban-file missing\ncsrf key-file nokey\nevents /nonexistent/events.json\n",
    );
    let checked = run(&["--check", "--guard", &file]);
    for part in ["guard.conf:1: ", "guard.conf:2: ", "guard.conf:3: "] {
        assert!(checked.err.contains(part), "{part}: {checked:?}");
    }
}

/// Section 4: what cannot be banned is left out of a file of bans, with a warning that names its line.
#[test]
fn guard_4_a_file_of_bans_bans_neither_loopback_nor_a_proxy() {
    let scratch = Scratch::new();
    scratch.file("plain", "203.0.113.1\n127.0.0.1\n0.0.0.0/0\n::ffff:127.9.9.9\n10.1.0.0/16\n");
    scratch.file("foreign.json", "[{\"sshd\": [\"203.0.113.2\"]}, {\"value\": \"203.0.113.3\"}]");
    let lines = "trust 127.0.0.0/8,10.1.2.3\nban-file plain\nban-file foreign.json\n";
    let file = scratch.file("guard.conf", lines);
    let (weir, origin) = (Weir::start(&["--guard", &file]), crate::common::Origin::ok());
    for part in [
        "plain:2: 127.0.0.1 is not banned",
        "plain:3: 0.0.0.0/0 is not banned",
        "plain:4: 127.9.9.9 is not banned",
        "plain:5: 10.1.0.0/16 is not banned",
        "foreign.json: expected an alert or a decision",
    ] {
        weir.wait_for_error(|line| line.contains(part));
    }
    for (client, status) in [("203.0.113.1", 403), ("203.0.113.3", 403), ("10.1.9.9", 200)] {
        assert_eq!(super::ask(&mut weir.connect(), &origin, client, "GET", "/", "").0, status, "{client}");
    }
}

#[test]
fn what_is_counted_for_more_than_the_client_is_lifted_and_told_as_far_as_it_is_known() {
    let on = Controlled::start(
        "limit 50/10m per client+host\nescalate 1/10m block 15m after 1 per client+path\nlimit 99/1h per client",
    );
    let paths = ["/a?x=1", "/b"];
    for path in paths {
        assert_eq!([(); 3].map(|()| on.guarded.get("192.0.2.1", path).0), [200, 429, 429]);
    }
    assert_eq!(on.guarded.get("192.0.2.1", "/c").0, 200);
    assert_eq!([(); 2].map(|()| on.guarded.get("192.0.2.2", "/a").0), [200, 429]);
    let told = on.ctl(&["limits", "192.0.2.1"]).out;
    let rows: Vec<String> =
        told.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert!(rows.contains(&"guard:2 not listed client+host".to_owned()), "{rows:?}");
    assert!(rows.contains(&"guard:3 not listed client+path".to_owned()), "{rows:?}");
    assert!(rows.contains(&"guard:4 open 92".to_owned()), "{rows:?}");
    for path in ["/a", "/b"] {
        let blocked =
            |row: &String| row.starts_with("guard:3 blocked 8") || row.starts_with("guard:3 blocked 9");
        assert!(
            rows.iter().any(|row| blocked(row) && row.ends_with(&format!(" {path}"))),
            "{path}: {rows:?}"
        );
    }
    assert_eq!(rows.len(), 5, "what has violated nothing is not known by name: {rows:?}");
    let told = on.ctl(&["--json", "limits", "192.0.2.1"]).out;
    assert!(told.contains("\"state\":\"not listed\"") && told.contains("\"of\":\"/a\""), "{told}");
    assert!(told.contains("\"left\":92,\"retry_after_s\":null"), "{told}");
    assert_eq!(on.ctl(&["unblock", "192.0.2.1"]).code, 0);
    assert_eq!(paths.map(|path| on.guarded.get("192.0.2.1", path).0), [200, 200]);
    assert_eq!(on.guarded.get("192.0.2.2", "/a").0, 429, "another client's stay");
}

/// A FIFO without a reader is an error that names the line, and a reader that does not read holds nothing up.
#[test]
fn ours_12_events_never_wait_for_the_reader_of_a_fifo() {
    let scratch = Scratch::new();
    let fifo = scratch.join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
    let guard = scratch.file("guard.conf", "trust 127.0.0.0/8\nlimit 1/10m per client\nevents fifo\n");
    let checked = run(&["--check", "--guard", &guard]);
    assert!(checked.code == 78 && checked.err.contains("guard.conf:3: events"), "{checked:?}");
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let reader = open(&fifo, flags, Mode::empty()).expect("a reader");
    let (mut weir, origin) = (Weir::start(&["--guard", &guard]), Origin::ok());
    let agent = format!("User-Agent: {}\r\n", "x".repeat(1000));
    for _ in 0..200 {
        super::ask(&mut weir.connect(), &origin, "192.0.2.1", "GET", "/", &agent);
    }
    weir.signal(Signal::TERM);
    assert_eq!(weir.wait_exit().code(), Some(0));
    drop(reader);
}

/// A ban that is only told has what a real one would have: its line, its reason and how long it would last.
#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn ours_9_a_ban_that_observes_is_told_in_full() {
    let on = Controlled::start("limit 1/10m per client\nban-after limit 1 in 1m for 1m observe");
    assert_eq!([(); 2].map(|()| on.guarded.get("192.0.2.1", "/").0), [200, 429]);
    let told = on.ctl(&["--json", "events"]).out;
    let line = told.lines().find(|line| line.contains("\"event_type\":\"ip_banned\"")).expect("an event");
    for part in ["\"action_taken\":\"logged_only\"", "threshold_exceeded", "guard:3", "\"duration\":\"60\""] {
        assert!(line.contains(part), "{part} in {line}");
    }
}

#[test]
fn guard_12_events_have_the_request_without_its_secrets() {
    let on = Controlled::start("limit 1/10m per client\nban 203.0.113.9\nban-after limit 1 in 1m for 1m");
    let fields = "User-Agent: test/1\r\nAuthorization: Basic c2VjcmV0\r\n";
    let ask = |client: &str| on.guarded.ask(client, "GET", "/p?token=s3cret&b=1", fields).0;
    assert_eq!([ask("203.0.113.9"), ask("192.0.2.1"), ask("192.0.2.1")], [403, 200, 429]);
    let told = on.ctl(&["--json", "events"]).out;
    let endpoint = on.guarded.origin.url("/p?token=[redacted]&b=1");
    for kind in ["ip_blocked", "rate_limited", "ip_banned"] {
        let line = told.lines().find(|line| line.contains(&format!("\"event_type\":\"{kind}\"")));
        let line = line.unwrap_or_else(|| panic!("no {kind} in {told}"));
        for part in ["\"method\":\"GET\"", "\"user_agent\":\"test/1\"", "\"response_time\":", &endpoint] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }
    assert!(!told.contains("s3cret") && !told.contains("c2VjcmV0"), "{told}");
}

/// Each event that a request causes has the same common fields, whether a head, a body or an answer has caused it.
#[test]
fn guard_12_events_of_all_kinds_have_the_common_fields() {
    let scratch = Scratch::new();
    let origin = Origin::ok();
    let routes = scratch.file("gateway.conf", format!("*/ -> {}\n", origin.address()));
    let lines = "detect block\ncsrf protect path /forms/\ncsp-report /report\nbehaviour usage 1 path /often\n\
                 behaviour return status:200 1 path /seen\nbehaviour return ok 1 path /body\n";
    let guard = scratch.file("guard.conf", lines);
    let control = scratch.join("control");
    let weir = Weir::start(&["--gateway", &routes, "--guard", &guard, "--control", &control]);
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let report = r#"{"csp-report":{"document-uri":"a","violated-directive":"b","blocked-uri":"c"}}"#;
    let secret = "s3cr3t' or 1=1-- tail";
    let ask = |line: &str, fields: &str, body: &str| {
        let length = match body {
            "" => String::new(),
            body => format!("Content-Length: {}\r\n", body.len()),
        };
        let mut raw = weir.connect();
        raw.send(format!(
            "{line} HTTP/1.1\r\nHost: a.example\r\nUser-Agent: test/1\r\n{fields}{length}\r\n{body}"
        ));
        raw.read_response().status()
    };
    for (line, fields, body, status) in [
        ("GET /head?q=%27%20or%201%3D1--&token=s3cr3t", "", "", 400),
        ("GET /field", &*format!("Authorization: Bearer {secret}\r\n"), "", 400),
        ("GET /cookie", &format!("Cookie: id={secret}\r\n"), "", 400),
        ("POST /form", form, &format!("password={secret}"), 400),
        ("PUT /json", "Content-Type: application/json\r\n", &format!("{{\"password\":\"{secret}\"}}"), 400),
        ("POST /forms/x", form, "a=1", 403),
        ("POST /report", "Content-Type: application/csp-report\r\n", report, 204),
        ("GET /often", "", "", 200),
        ("GET /often", "", "", 200),
        ("GET /seen", "", "", 200),
        ("GET /seen", "", "", 200),
        ("GET /body", "", "", 200),
        ("GET /body", "", "", 200),
    ] {
        assert_eq!(ask(line, fields, body), status, "{line}");
    }
    let told = run(&["ctl", "--control", &control, "--json", "events"]).out;
    for (path, kind) in [
        ("/head?q=%27%20or%201%3D1--&token=[redacted]", "pattern_detected"),
        ("/field", "pattern_detected"),
        ("/cookie", "pattern_detected"),
        ("/form", "pattern_detected"),
        ("/json", "pattern_detected"),
        ("/forms/x", "decorator_violation"),
        ("/report", "csp_violation"),
        ("/often", "behavioral_violation"),
        ("/seen", "behavioral_violation"),
        ("/body", "behavioral_violation"),
    ] {
        let endpoint = format!("\"endpoint\":\"http://a.example{path}\"");
        let line = told.lines().find(|line| line.contains(&endpoint));
        let line = line.unwrap_or_else(|| panic!("no {path} in {told}"));
        for part in [kind, "\"user_agent\":\"test/1\"", "\"response_time\":", "\"method\":"] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }
    assert!(!told.contains("s3cr3t"), "{told}");
}

#[test]
fn ours_12_a_request_that_passes_is_no_event() {
    let on = Controlled::start("limit 2/10m per client");
    assert_eq!([(); 3].map(|()| on.guarded.get("192.0.2.1", "/").0), [200, 200, 429]);
    let told = on.ctl(&["--json", "events"]).out;
    assert_eq!(told.lines().filter(|line| line.contains("192.0.2.1")).count(), 1, "{told}");
}

/// Also where the keys of a counter cannot be found, because it distinguishes more than clients and none was violated.
#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn ours_13_unblock_clears_what_is_counted_for_more_than_the_client() {
    let on = Controlled::start("escalate 2/1h block 1h after 1 per client+path");
    let asks = |times: usize| (0..times).map(|_| on.guarded.get("192.0.2.1", "/a").0).collect::<Vec<_>>();
    assert_eq!(asks(2), [200, 200]);
    assert_eq!(on.guarded.get("192.0.2.2", "/a").0, 200);
    assert_eq!(on.ctl(&["unblock", "192.0.2.1"]).code, 0);
    assert_eq!(asks(3), [200, 200, 429]);
    assert_eq!(
        [on.guarded.get("192.0.2.2", "/a").0, on.guarded.get("192.0.2.2", "/a").0],
        [200, 429],
        "another client keeps its count"
    );
    assert_eq!(on.ctl(&["unblock", "192.0.2.1"]).code, 0);
    assert_eq!(asks(1), [200]);
}
