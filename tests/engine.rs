//! The engine through its public seam, in orders of events that sockets bring about only now and then.

mod shell;

use shell::{Shell, connection, policy, status, text};
use weir::engine::entry::{Kind, Text, Verdict};
use weir::engine::{Event, SocketError};

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

/// Rule 30: after a final answer instead of a 100, what comes next may be a body or a request.
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

/// Rule 11: what follows a CONNECT was meant for a tunnel, and credentials in it for nobody here.
#[test]
fn refused_connect_with_bytes_behind_it_closes() {
    let mut shell = Shell::with_users("bob:x\n", 7);
    let bob = "Proxy-Authorization: Basic Ym9iOng=\r\n";
    let behind = request("GET http://127.0.0.1:81/", bob);
    let client = shell.client_with(format!("CONNECT 127.0.0.1:443 HTTP/1.1\r\nHost: a\r\n\r\n{behind}"));
    let answer = shell.send(client);
    assert_eq!((status(&answer), connection(&answer).as_str()), (407, "close"), "{answer}");
    assert!(shell.is_ended(client) && shell.connects.is_empty());
    // Without such bytes the client may try again on this connection.
    let client = shell.client_with("CONNECT 127.0.0.1:443 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&shell.send(client)), 407);
    shell.receive(client, format!("CONNECT 127.0.0.1:443 HTTP/1.1\r\nHost: a\r\n{bob}\r\n"));
    assert_eq!(shell.connects.len(), 1);
}

/// Rule 33: what an origin says before it was sent anything answers nothing.
#[test]
fn bytes_before_the_request_are_no_answer() {
    let mut shell = Shell::new();
    let both = [request("GET http://127.0.0.1/1", ""), request("GET http://127.0.0.1/2", "")].concat();
    let client = shell.client_with(both);
    let (origin, first) = shell.establish(0);
    assert!(first.starts_with("GET /1 "));
    shell.receive(origin, OK);
    assert_eq!(status(&shell.send(client)), 200);
    // The second request has the connection by now, and not a byte of it was sent.
    assert!(shell.engine.wants_write(origin));
    shell.receive(origin, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nSTALE");
    assert_eq!(shell.send(client), "");
    let (fresh, second) = shell.establish(1);
    assert!(second.starts_with("GET /2 "), "{second}");
    shell.receive(fresh, OK);
    assert!(shell.send(client).ends_with("\r\n\r\nok"));
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
fn tunnel(shell: &mut Shell) -> (weir::engine::PeerId, weir::engine::PeerId) {
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
        assert!(shell.fins.contains(&client) && shell.resets.is_empty(), "{failure:?}");

        let mut shell = Shell::new();
        let (client, origin) = tunnel(&mut shell);
        shell.receive(client, "last words");
        shell.end(client);
        shell.receive(origin, "x");
        shell.event(client, failure);
        assert_eq!(shell.send(origin), "last words", "{failure:?}");
        assert!(shell.fins.contains(&origin) && shell.resets.is_empty(), "{failure:?}");
    }
}

/// An upload that will never be whole, and its complete answer with the client.
fn answered_early(shell: &mut Shell) -> (weir::engine::PeerId, weir::engine::PeerId) {
    let head = request("PUT http://127.0.0.1/", "Content-Length: 60000\r\n");
    let client = shell.client_with(format!("{head}0123"));
    let (origin, _) = shell.establish(0);
    shell.receive(origin, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
    assert_eq!(status(&shell.send(client)), 413);
    (client, origin)
}

/// Rule 35: a complete answer to an unfinished upload is final as soon as either side has gone.
#[test]
fn early_answer_ends_with_whoever_goes_first() {
    let mut shell = Shell::new();
    let (client, origin) = answered_early(&mut shell);
    shell.end(origin);
    assert_eq!((shell.entry().status, shell.entry().verdict), (413, Verdict::Allowed));
    assert!(shell.fins.contains(&client) && shell.closed.contains(&origin));

    let mut shell = Shell::new();
    let (client, origin) = answered_early(&mut shell);
    shell.end(client);
    assert_eq!((shell.entry().status, shell.entry().verdict), (413, Verdict::Allowed));
    assert!(shell.is_ended(client) && shell.closed.contains(&origin));
}

/// Rule 31: there is nobody to switch with before the request is complete.
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

/// A client that asked to keep the connection is told what becomes of it.
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
    let entry = shell.entry();
    assert_eq!((entry.kind, entry.upstream), (Kind::Tunnel, Some(shell.connects[0].1)));
    assert_eq!(text(entry, Text::Reason), "client_reset");
}
