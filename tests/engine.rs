//! The engine through its public seam, in orders of events that sockets bring about only now and then.

mod shell;

use shell::{Shell, connection, policy, status, text};
use std::sync::Arc;
use weir::cache::store::{Limits, Store};
use weir::engine::transaction::log_record::{CacheUse, Kind, Text, Verdict};
use weir::engine::{CacheSettings, Event, PeerId, Settings, SocketError};
use weir::resolver::{self, Hosts};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A request to the origin of most of these tests, with a line for Host and others.
fn request(line: &str, fields: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}\r\n")
}

/// Rules 32 and 34: an upload that came to nothing half-way leaves a body that cannot be told from a request.
#[test]
fn half_sent_upload_is_never_read_as_a_request() {
    for failures in [
        &[Event::Failed(SocketError::Reset)][..],
        &[Event::EndOfStream],
        &[Event::SendFailed(SocketError::Reset), Event::Failed(SocketError::Reset)],
        &[Event::SendFailed(SocketError::Reset), Event::EndOfStream],
    ] {
        let mut shell = Shell::new();
        let head = request("POST http://127.0.0.1/", "Transfer-Encoding: chunked\r\n");
        let client = shell.client_with(format!("{head}5\r\nhello\r\n"));
        let (origin, _) = shell.establish(0);
        shell.receive(client, "5\r\nworld\r\n");
        failures.iter().for_each(|failure| shell.event(origin, *failure));
        let answer = shell.send(client);
        assert_eq!((status(&answer), connection(&answer).as_str()), (502, "close"), "{failures:?}: {answer}");
        assert!(shell.is_ended(client), "{failures:?}");
        shell.offer(client, request("GET http://127.0.0.1:81/smuggled", "").as_bytes());
        assert_eq!((shell.connects.len(), shell.log.len()), (1, 1), "{failures:?}");
    }
}

/// A verdict belongs to the users who were asked, however long the asking took.
#[test]
fn verification_under_old_users_is_worth_nothing_under_new_ones() {
    let hash = bcrypt::hash("pw", 4).expect("a hash");
    let mut shell = Shell::with_users(&format!("ann:{hash}\n"), 7);
    let ann = "Proxy-Authorization: Basic YW5uOnB3\r\n";
    shell.client_with(request("GET http://127.0.0.1/", ann));
    let (job, work) = shell.jobs.pop_front().expect("a verification");
    shell.engine.set_policy(policy(Some(("bob:other\n", 8))));
    assert!(work.verify());
    shell.engine.handle_verified(shell.now, job, true);
    shell.act();
    let dialled = shell.connects.len();
    let late = shell.client_with(request("GET http://127.0.0.1/", ann));
    assert_eq!(shell.connects.len(), dialled, "ann is not a user any more");
    assert_eq!(status(&shell.send(late)), 407);
}

/// A password that cannot be checked, for lack of a thread, is not wrong: the next attempt is checked.
#[test]
fn password_that_cannot_be_checked_is_not_wrong() {
    let hash = bcrypt::hash("pw", 4).expect("a hash");
    let mut shell = Shell::with_users(&format!("ann:{hash}\n"), 7);
    // More than the guesses that one client has.
    for _ in 0..100 {
        let client = shell.client_with(request("GET http://127.0.0.1/", &basic("ann:pw")));
        let (job, _) = shell.jobs.pop_front().expect("a verification");
        shell.engine.handle_verification_failure(shell.now, job);
        shell.act();
        let answer = shell.send(client);
        assert_eq!((status(&answer), connection(&answer).as_str()), (429, ""), "{answer}");
    }
    shell.client_with(request("GET http://127.0.0.1/", &basic("ann:pw")));
    let (job, work) = shell.jobs.pop_front().expect("a verification");
    shell.engine.handle_verified(shell.now, job, work.verify());
    shell.act();
    assert_eq!(shell.connects.len(), 1);
}

/// Whatever settles an exchange begins the next one, look-up and all: nothing else may ever happen.
#[test]
fn pipelined_request_is_looked_up_at_once() {
    let mut shell = Shell::new();
    let next = "GET http://b.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n";
    let client = shell.client_with(format!("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n{next}"));
    assert!(shell.queries.is_empty());
    assert_eq!(status(&shell.send(client)), 200);
    assert!(!shell.queries.is_empty(), "the name of the second request was not asked for");
}

/// A new hosts file answers a waiting request for one of its names: a look-up of that name need not wait any more.
#[test]
fn new_hosts_file_answers_who_waits() {
    let mut shell = Shell::new();
    shell.client_with("GET http://n.example/ HTTP/1.1\r\nHost: n.example\r\n\r\n");
    assert!(!shell.queries.is_empty() && shell.connects.is_empty());
    let hosts = Hosts::parse(b"192.0.2.9 n.example\n");
    shell.engine.set_resolver(shell.now, resolver::Settings::default(), hosts);
    shell.act();
    assert_eq!(shell.connects.len(), 1);
}

/// RFC 8305 section 5: while the client talks, the second address still gets its turn.
#[test]
fn body_does_not_delay_the_next_address() {
    let mut shell = Shell::with_hosts("192.0.2.1 two.example\n192.0.2.2 two.example\n");
    let head = "POST http://two.example/ HTTP/1.1\r\nHost: two.example\r\nContent-Length: 100\r\n\r\n";
    let client = shell.client_with(head);
    assert_eq!(shell.connects.len(), 1);
    for _ in 0..4 {
        shell.receive(client, "some of it");
        shell.pass(250);
    }
    assert_eq!(shell.connects.len(), 2, "after a second, four times the delay of an attempt");
    let (second, address) = shell.connects[1];
    assert_eq!(address.to_string(), "192.0.2.2:80");
    shell.event(second, Event::Connected);
    assert!(shell.send(second).ends_with(&"some of it".repeat(4)));
}

/// Rule 30: after a final answer instead of a 100, the next bytes may be a body or a request.
#[test]
fn final_answer_instead_of_100_closes() {
    for answer in ["401 Unauthorized", "417 Expectation Failed", "200 OK"] {
        let mut shell = Shell::new();
        let fields = "Content-Length: 60\r\nExpect: 100-continue\r\n";
        let client = shell.client_with(request("PUT http://127.0.0.1/", fields));
        let (origin, _) = shell.establish(0);
        shell.receive(origin, format!("HTTP/1.1 {answer}\r\nContent-Length: 2\r\n\r\nno"));
        let answer = shell.send(client);
        assert_eq!(connection(&answer), "close", "{answer}");
        shell.offer(client, request("GET http://127.0.0.1/next", "").as_bytes());
        assert_eq!(shell.send(origin), "", "after {answer}");
        assert!(shell.is_ended(client) && shell.connects.len() == 1, "after {answer}");
    }
}

/// Rule 11: the bytes behind a CONNECT were meant for a tunnel, and its credentials are not used.
#[test]
fn refused_connect_closes() {
    let mut shell = Shell::with_users("bob:x\n", 7);
    let bob = "Proxy-Authorization: Basic Ym9iOng=\r\n";
    let behind = request("GET http://127.0.0.1:81/", bob);
    let client = shell.client_with(format!("CONNECT 127.0.0.1:443 HTTP/1.1\r\nHost: a\r\n\r\n{behind}"));
    let answer = shell.send(client);
    assert_eq!((status(&answer), connection(&answer).as_str()), (407, "close"), "{answer}");
    assert!(shell.is_ended(client) && shell.connects.is_empty());
    // Such bytes may still be on their way: it makes no difference whether any have come.
    let client = shell.client_with("CONNECT 127.0.0.1:443 HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = shell.send(client);
    assert_eq!((status(&answer), connection(&answer).as_str()), (407, "close"), "{answer}");
    assert!(shell.is_ended(client));
}

/// Rule 37: that an origin speaks HTTP/1.0 is known beyond its connection, which it mostly closes.
#[test]
fn http10_origin_that_closed_gets_no_chunks() {
    let mut shell = Shell::new();
    let client = shell.client_with(request("GET http://127.0.0.1/", ""));
    let (origin, _) = shell.establish(0);
    shell.receive(origin, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(status(&shell.send(client)), 200);
    assert!(shell.closed.contains(&origin));
    let chunked = request("POST http://127.0.0.1/", "Transfer-Encoding: chunked\r\n");
    shell.receive(client, format!("{chunked}2\r\nab\r\n0\r\n\r\n"));
    assert_eq!((status(&shell.send(client)), shell.connects.len()), (411, 1));
}

/// A tunnel with both ends, everything about its beginning sent.
fn tunnel(shell: &mut Shell) -> (PeerId, PeerId) {
    let client = shell.client_with("CONNECT 127.0.0.1:443 HTTP/1.1\r\nHost: a\r\n\r\n");
    let (origin, _) = shell.establish(shell.connects.len() - 1);
    assert_eq!(status(&shell.send(client)), 200);
    (client, origin)
}

/// A reset after an orderly end says only that the other direction is over.
#[test]
fn reset_after_the_end_loses_nothing() {
    for failure in [Event::SendFailed(SocketError::Reset), Event::Failed(SocketError::Reset)] {
        let mut shell = Shell::new();
        let (client, origin) = tunnel(&mut shell);
        shell.receive(origin, "last words");
        shell.end(origin);
        shell.receive(client, "x");
        shell.event(origin, failure);
        assert_eq!(shell.send(client), "last words", "{failure:?}");
        assert!(shell.is_ended(client) && shell.resets.is_empty(), "{failure:?}");

        let mut shell = Shell::new();
        let (client, origin) = tunnel(&mut shell);
        shell.receive(client, "last words");
        shell.end(client);
        shell.receive(origin, "x");
        shell.event(client, failure);
        assert_eq!(shell.send(origin), "last words", "{failure:?}");
        assert!(shell.is_ended(origin) && shell.resets.is_empty(), "{failure:?}");
    }
}

/// An upload that will never be whole, and its complete answer with the client.
fn answered_early(shell: &mut Shell) -> (PeerId, PeerId) {
    let head = request("PUT http://127.0.0.1/", "Content-Length: 60000\r\n");
    let client = shell.client_with(format!("{head}0123"));
    let (origin, _) = shell.establish(0);
    shell.receive(origin, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
    assert_eq!(status(&shell.send(client)), 413);
    (client, origin)
}

/// Rule 35: a complete answer to an unfinished upload is final as soon as either side has gone.
#[test]
fn early_answer_ends_with_the_side_that_goes_first() {
    let mut shell = Shell::new();
    let (client, origin) = answered_early(&mut shell);
    shell.end(origin);
    assert_eq!((shell.record().status, shell.record().verdict), (413, Verdict::Allowed));
    assert!(shell.fins.contains(&client) && shell.closed.contains(&origin));

    let mut shell = Shell::new();
    let (client, origin) = answered_early(&mut shell);
    shell.end(client);
    assert_eq!((shell.record().status, shell.record().verdict), (413, Verdict::Allowed));
    assert!(shell.is_ended(client) && shell.closed.contains(&origin));
}

/// Rule 31: an origin cannot switch protocols before the request is complete.
#[test]
fn switching_before_the_end_of_the_request_is_refused() {
    let mut shell = Shell::new();
    let fields = "Connection: upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n";
    let client = shell.client_with(request("POST http://127.0.0.1/", fields));
    let (origin, _) = shell.establish(0);
    shell.receive(client, "5\r\nhello\r\n");
    shell.receive(origin, "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    let answer = shell.send(client);
    assert_eq!((status(&answer), connection(&answer).as_str()), (502, "close"), "{answer}");
    assert_eq!(shell.engine.metrics().tunnels, 0);
    assert!(shell.closed.contains(&origin) && shell.is_ended(client));
}

/// An answer of weir's own does not wait for a body that may never come, or end.
#[test]
fn own_answers_close_where_the_body_cannot_be_awaited() {
    for fields in [
        "Content-Length: 99999999999\r\n",
        "Content-Length: 200\r\nExpect: 100-continue\r\n",
        "Transfer-Encoding: chunked\r\n",
    ] {
        let mut shell = Shell::new();
        let client = shell.client_with(request("OPTIONS *", fields));
        let answer = shell.send(client);
        assert_eq!((status(&answer), connection(&answer).as_str()), (200, "close"), "{fields}: {answer}");
        assert!(shell.is_ended(client), "{fields}");
        shell.offer(client, request("GET http://127.0.0.1/next", "").as_bytes());
        assert!(shell.connects.is_empty(), "{fields}");
    }
}

/// A client that asked to keep the connection is told whether it stays open.
#[test]
fn own_answers_speak_http10() {
    let mut shell = Shell::new();
    let client = shell.client_with("OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(connection(&shell.send(client)), "keep-alive");
    assert!(!shell.is_ended(client));
    shell.receive(client, "OPTIONS * HTTP/1.0\r\n\r\n");
    assert_eq!(connection(&shell.send(client)), "close");
    assert!(shell.is_ended(client));
}

/// The log names the address that was reached, not the one that was tried last.
#[test]
fn log_names_the_address_that_won() {
    let mut shell = Shell::with_hosts("192.0.2.1 two.example\n192.0.2.2 two.example\n");
    let client = shell.client_with("CONNECT two.example:443 HTTP/1.1\r\nHost: two.example:443\r\n\r\n");
    shell.pass(1000);
    assert_eq!(shell.connects.len(), 2);
    shell.establish(0);
    shell.event(client, Event::Failed(SocketError::Reset));
    let record = shell.record();
    assert_eq!((record.kind, record.upstream), (Kind::Tunnel, Some(shell.connects[0].1)));
    assert_eq!(text(record, Text::Reason), "client_reset");
}

/// RFC 9112 sections 2.2 and 9.6: old clients send a CRLF behind a body, and a close that met it would be a reset. A close at once is
/// for responses that the client has before it can send more.
#[test]
fn close_lingers_unless_the_client_has_the_response() {
    let post = request("POST http://127.0.0.1/", "Connection: close\r\nContent-Length: 3\r\n") + "abc";
    let get = request("GET http://127.0.0.1/", "Connection: close\r\n");
    for (request, bytes, lingers) in [(&post, 10, true), (&get, 10_000, false), (&get, 20_000, true)] {
        let mut shell = Shell::new();
        let client = shell.client_with(request);
        let (origin, _) = shell.establish(0);
        shell.receive(origin, format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n"));
        let mut sent = shell.send(client).len();
        for piece in "x".repeat(bytes).as_bytes().chunks(1000) {
            shell.receive(origin, piece);
            sent += shell.send(client).len();
        }
        assert!(sent > bytes, "{sent} of {bytes}");
        assert_eq!((shell.fins.contains(&client), shell.closed.contains(&client)), (lingers, !lingers));
        if lingers {
            shell.receive(client, "\r\n");
            assert!(!shell.closed.contains(&client));
            shell.end(client);
        }
        assert!(shell.closed.contains(&client));
    }
}

/// The block of a stalled download holds unsent response bytes, not the request.
#[test]
fn stalled_download_holds_one_block() {
    let mut shell = Shell::new();
    let client = shell.client_with(request("GET http://127.0.0.1/", ""));
    let (origin, _) = shell.establish(0);
    shell.receive(origin, "HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n");
    assert_eq!(status(&shell.send(client)), 200);
    assert_eq!(shell.engine.metrics().blocks_lent, 0);
    shell.offer(origin, &[b'x'; 8000]);
    assert_eq!(shell.engine.metrics().blocks_lent, 1);
}

/// Rule 34: once a byte of it was sent, a request that is not idempotent is not repeated.
#[test]
fn sent_request_is_not_repeated() {
    let mut shell = Shell::new();
    let post = request("POST http://127.0.0.1/2", "Content-Length: 5\r\n") + "hello";
    let client = shell.client_with(request("GET http://127.0.0.1/1", ""));
    let (origin, _) = shell.establish(0);
    shell.receive(origin, OK);
    assert_eq!(status(&shell.send(client)), 200);
    // Its origin is known to keep it (rule 45).
    shell.pass(2000);
    shell.receive(client, request("GET http://127.0.0.1/1", "") + &post);
    shell.send(origin);
    shell.receive(origin, OK);
    assert_eq!(status(&shell.send(client)), 200);
    shell.event(origin, Event::Sent(1));
    shell.end(origin);
    assert_eq!((status(&shell.send(client)), shell.connects.len()), (502, 1));
}

/// Rule 45: what comes of a body while a name is looked up is not kept. Such a request cannot be sent twice, and an idle
/// connection may turn out to be dead.
#[test]
fn upload_that_comes_during_a_look_up_needs_a_fresh_connection() {
    for (body, fresh) in [("", false), ("hello", true)] {
        let mut shell = Shell::new();
        let ask = |line: &str| format!("{line} HTTP/1.1\r\nHost: n.example\r\nContent-Length: 5\r\n\r\n");
        let client = shell.client_with(ask("PUT http://n.example/1") + "hello");
        shell.resolve([192, 0, 2, 1]);
        let (origin, _) = shell.establish(0);
        shell.receive(origin, OK);
        assert_eq!(status(&shell.send(client)), 200);
        // The name has to be looked up again.
        shell.engine.set_resolver(shell.now, resolver::Settings::default(), Hosts::parse(b""));
        shell.act();
        shell.receive(client, ask("PUT http://n.example/2"));
        shell.receive(client, body);
        shell.resolve([192, 0, 2, 1]);
        assert_eq!(shell.connects.len(), if fresh { 2 } else { 1 }, "{body}");
    }
}

/// One address that asks for names without end leaves room for the names of others.
#[test]
fn look_ups_are_shared_between_addresses() {
    let mut shell = Shell::new();
    let ask = |name: &str| format!("GET http://{name}/ HTTP/1.1\r\nHost: {name}\r\n\r\n");
    for number in 0..2000 {
        shell.client_with(ask(&format!("n{number}.example")));
    }
    let before = shell.queries.len();
    let other = shell.client_from("127.0.0.2:4711");
    shell.receive(other, ask("other.example"));
    assert!(shell.queries.len() > before, "{:?}", shell.send(other));
}

/// Wrong passwords from 32 addresses, four at a time from each, every time others: as many as may wait.
fn attack(shell: &mut Shell, round: usize) {
    for (address, number) in (0..32).flat_map(|address| (0..4).map(move |number| (address, number))) {
        let client = shell.client_from(&format!("127.0.2.{address}:{}", 1000 + number));
        let field = basic(&format!("ann:{round}.{address}.{number}"));
        shell.receive(client, request("GET http://127.0.0.1/", &field));
    }
}

fn basic(credentials: &str) -> String {
    use base64::Engine;
    let encoded = base64::engine::general_purpose::STANDARD.encode(credentials);
    format!("Proxy-Authorization: Basic {encoded}\r\n")
}

/// Passwords from addresses that have sent wrong ones wait for all others.
#[test]
fn wrong_passwords_wait_for_right_ones() {
    let hash = bcrypt::hash("pw", 4).expect("a hash");
    let mut shell = Shell::with_users(&format!("ann:{hash}\n"), 7);
    attack(&mut shell, 0);
    while let Some((job, _)) = shell.jobs.pop_front() {
        shell.engine.handle_verified(shell.now, job, false);
        shell.act();
    }
    attack(&mut shell, 1);
    assert_eq!(shell.engine.metrics().limit_verifications, 0);
    let client = shell.client_from("127.0.1.1:4711");
    shell.receive(client, request("GET http://127.0.0.1/", &basic("ann:pw")));
    for count in 1.. {
        let (job, work) = shell.jobs.pop_front().expect("the right password is to be verified some time");
        let right = work.verify();
        shell.engine.handle_verified(shell.now, job, right);
        shell.act();
        if right {
            break;
        }
        // Two are under way at a time.
        assert!(count < 3, "{count} wrong passwords went first");
    }
    assert_eq!(shell.connects.len(), 1);
    assert!(shell.engine.metrics().limit_verifications > 0, "there was no need to make room");
}

/// A response head has to be whole in time, however steadily it trickles.
#[test]
fn trickling_response_head_is_bounded() {
    let mut shell = Shell::new();
    let client = shell.client_with(request("GET http://127.0.0.1/", ""));
    let (origin, _) = shell.establish(0);
    shell.receive(origin, "HTTP/1.1 200 OK\r\n");
    for number in 0..40 {
        if shell.engine.wants_write(client) {
            break;
        }
        shell.receive(origin, format!("X-{number}: y\r\n"));
        shell.pass(3000);
    }
    assert_eq!(status(&shell.send(client)), 504);
    assert!(shell.closed.contains(&origin));
}

/// A password in a target that is no target stays out of the log.
#[test]
fn passwords_in_malformed_targets_are_not_logged() {
    for line in [
        "GET http://user:secret%40host.example/",
        "GET http://user:secret@host.example/",
        "GET http://user%40secret@host.example:port/",
        "CONNECT user:secret%40host.example:443",
        "CONNECT user:secret@host.example:443",
        "GET user:secret%40host.example",
    ] {
        let mut shell = Shell::new();
        let client = shell.client_with(request(line, ""));
        assert_eq!(status(&shell.send(client)), 400, "{line}");
        let target = text(shell.record(), Text::Target);
        assert!(!target.contains("secret"), "{line}: {target}");
    }
}

/// Time-outs of ten seconds and a least rate of 100 bytes per second: 1,000 bytes in each window.
fn hurried() -> Shell {
    let mut settings = Settings { rate_min: 100, ..Settings::default() };
    settings.timeouts.exchange_ms = 10_000;
    Shell::with(settings, None, "")
}

/// A client that uploads a byte now and then is told so after a window or two; a body at the least rate continues.
#[test]
fn trickling_upload_is_cut_off() {
    for (piece, cut) in [(1, true), (90, true), (110, false)] {
        let mut shell = hurried();
        let client = shell.client_with(request("POST http://127.0.0.1/", "Content-Length: 100000\r\n"));
        let (origin, _) = shell.establish(0);
        for _ in 0..40 {
            if shell.offer(client, &[b'x'; 200][..piece]) == 0 {
                break;
            }
            shell.send(origin);
            shell.pass(1000);
        }
        let (answer, metrics) = (shell.send(client), shell.engine.metrics());
        assert_eq!(answer.starts_with("HTTP/1.1 408 "), cut, "{piece}: {answer}");
        assert_eq!(metrics.limit_rate, u64::from(cut), "{piece}");
        if cut {
            let record = shell.record();
            assert_eq!((record.status, record.verdict), (408, Verdict::Malformed));
            assert_eq!([text(record, Text::Reason), connection(&answer)], ["min_rate", "close"]);
        }
    }
}

/// Full blocks do not excuse a slow client, whether spliced or read; waiting for the origin does.
#[test]
fn busy_upload_has_to_be_fast_enough() {
    for (piece, origin_waits, splices, cut) in [
        (4_100, false, true, true),
        (4_100, false, false, true),
        (20_000, false, true, false),
        (20_000, false, false, false),
        (4_100, true, true, false),
    ] {
        let case = format!("{piece}, {origin_waits}, {splices}");
        let mut settings = Settings { rate_min: 1000, splices, ..Settings::default() };
        settings.timeouts.exchange_ms = 10_000;
        let mut shell = Shell::with(settings, None, "");
        let client = shell.client_with(request("POST http://127.0.0.1/", "Content-Length: 1000000\r\n"));
        let (origin, _) = shell.establish(0);
        shell.offer(client, &[b'x'; 4096]);
        shell.send(origin);
        for _ in 0..9 {
            if shell.engine.metrics().limit_rate > 0 {
                break;
            }
            if !origin_waits {
                shell.pass(9_000);
            }
            let order = shell.engine.splice_allowed(client);
            assert_eq!(order.is_some(), splices && shell.engine.wants_read(client), "{case}");
            if order.is_some_and(|order| order.to == origin) {
                shell.event(client, Event::Spliced(piece));
                if origin_waits {
                    shell.pass(9_000);
                }
                if shell.engine.wants_write(origin) {
                    shell.event(origin, Event::Sent(piece));
                }
                continue;
            }
            let mut left = piece;
            while left > 0 && shell.engine.wants_read(client) {
                left -= shell.offer(client, &vec![b'x'; left]);
                shell.send(origin);
            }
        }
        let (answer, metrics) = (shell.send(client), shell.engine.metrics());
        assert_eq!(answer.starts_with("HTTP/1.1 408 "), cut, "{case}: {answer}");
        assert_eq!((metrics.limit_rate, metrics.exchanges), (u64::from(cut), u64::from(!cut)), "{case}");
    }
}

/// The client is not to blame for an origin that reads slowly, nor for one that was silent for a while.
#[test]
fn slow_origin_is_not_held_against_an_upload() {
    let mut shell = hurried();
    let client = shell.client_with(request("POST http://127.0.0.1/", "Content-Length: 100000\r\n"));
    let (origin, _) = shell.establish(0);
    for _ in 0..60 {
        // As much as there is room for, at once, whenever there is any.
        shell.offer(client, &[b'x'; 9000]);
        shell.pass(1000);
        shell.event(origin, Event::Sent(10));
    }
    shell.send(origin);
    shell.offer(client, b"x");
    shell.send(origin);
    assert_eq!(shell.engine.metrics().limit_rate, 0);
    assert_eq!((shell.log.len(), shell.send(client)), (0, String::new()));
}

/// A client that reads a byte now and then while a block waits for it is disconnected; a slow origin is not, nor is
/// its client.
#[test]
fn slow_reader_is_cut_off_and_event_stream_is_not() {
    let mut shell = hurried();
    let client = shell.client_with(request("GET http://127.0.0.1/", ""));
    let (origin, _) = shell.establish(0);
    shell.receive(origin, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    shell.offer(origin, &[b'x'; 9000]);
    for _ in 0..30 {
        if !shell.engine.wants_write(client) {
            break;
        }
        shell.event(client, Event::Sent(1));
        shell.pass(1000);
    }
    let record = shell.record();
    assert_eq!((record.status, record.verdict), (200, Verdict::Failed));
    assert_eq!(text(record, Text::Reason), "min_rate");
    assert!(shell.closed.contains(&client));
    let metrics = shell.engine.metrics();
    assert_eq!((metrics.limit_rate, metrics.aborted, metrics.timeouts_client), (1, 1, 0));

    let mut shell = hurried();
    let client = shell.client_with(request("GET http://127.0.0.1/", ""));
    let (origin, _) = shell.establish(0);
    shell.receive(origin, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
    for _ in 0..100 {
        shell.pass(1000);
        shell.receive(origin, ".");
        assert!(shell.send(client).contains('.'));
    }
    assert_eq!((shell.log.len(), shell.engine.metrics().limit_rate), (0, 0));
    // Nor is an interactive tunnel.
    let mut shell = hurried();
    let (client, origin) = tunnel(&mut shell);
    for _ in 0..100 {
        shell.pass(1000);
        shell.receive(client, "x");
        assert_eq!(shell.send(origin), "x");
        shell.receive(origin, "x");
        assert_eq!(shell.send(client), "x");
    }
    assert_eq!((shell.log.len(), shell.engine.metrics().limit_rate), (0, 0));
}

/// The same where the bytes come from the cache, whose memory they hold.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn slow_reader_of_the_cache_is_cut_off() {
    let cache = Some(CacheSettings::new(Arc::new(Store::new(Limits::with_budget(1 << 22, [1, 2])))));
    let mut settings = Settings { rate_min: 100, cache, ..Settings::default() };
    settings.timeouts.exchange_ms = 10_000;
    let mut shell = Shell::with(settings, None, "");
    let first = shell.client_with(request("GET http://127.0.0.1/", ""));
    let (origin, _) = shell.establish(0);
    shell.receive(origin, "HTTP/1.1 200 OK\r\nCache-Control: max-age=900\r\nContent-Length: 9000\r\n\r\n");
    shell.receive(origin, [b'x'; 9000]);
    assert!(shell.send(first).ends_with(&"x".repeat(9000)));
    let slow = shell.client_with(request("GET http://127.0.0.1/", ""));
    for _ in 0..30 {
        if !shell.engine.wants_write(slow) {
            break;
        }
        shell.event(slow, Event::Sent(1));
        shell.pass(1000);
    }
    let record = shell.log.last().expect("a record");
    assert_eq!((record.cache, record.verdict), (CacheUse::Hit, Verdict::Failed));
    assert_eq!(text(record, Text::Reason), "min_rate");
    let metrics = shell.engine.metrics();
    assert_eq!((metrics.limit_rate, metrics.aborted, metrics.timeouts_client), (1, 1, 0));
    assert_eq!((shell.closed.contains(&slow), shell.connects.len(), metrics.exchanges), (true, 1, 0));
}

/// Each deadline has a number of its own.
#[test]
fn time_outs_are_counted_by_kind() {
    let mut settings = Settings { rate_min: 0, ..Settings::default() };
    settings.timeouts.tunnel_ms = 1000;
    let mut shell = Shell::with(settings, None, "");
    shell.client();
    shell.client_with("GET ");
    let idle = shell.client_with("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    shell.send(idle);
    let post = request("POST http://127.0.0.1/", "Content-Length: 9\r\n");
    let dialled = shell.connects.len();
    shell.client_with(&post);
    shell.establish(dialled);
    shell.client_with(request("GET http://127.0.0.1/", ""));
    shell.establish(dialled + 1);
    let deaf = shell.client_with(request("GET http://127.0.0.1/", ""));
    let (origin, _) = shell.establish(dialled + 2);
    shell.receive(origin, OK);
    assert!(shell.engine.wants_write(deaf));
    shell.client_with(request("GET http://127.0.0.1/", ""));
    tunnel(&mut shell);
    // Before the answers of the first ones have gone unread for as long.
    shell.pass(65_000);
    let m = shell.engine.metrics();
    assert_eq!(
        [m.timeouts_unused, m.timeouts_head, m.timeouts_idle, m.timeouts_body, m.timeouts_response],
        [1; 5],
        "{m:?}"
    );
    assert_eq!([m.timeouts_client, m.timeouts_connect, m.timeouts_tunnel], [1; 3], "{m:?}");
    assert_eq!(m.timeouts_block + m.timeouts_dns + m.timeouts_verification + m.timeouts_drain, 0, "{m:?}");
}
