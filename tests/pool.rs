//! Which upstream connection carries what, without sockets: time passes when told (rules 33, 35, 44 and 45).

mod shell;

use shell::{Shell, connection, policy, status};
use std::sync::Arc;
use weir::cache::store::{Limits, Store};
use weir::engine::transaction::log_record::Verdict;
use weir::engine::{CacheSettings, Event, PeerId, Settings, SocketError};
use weir::policy::Policy;
use weir::policy::acl::{AclBuilder, ListKind};
use weir::resolver::{self, Hosts};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn get(host: &str) -> String {
    format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

fn request(method: &str, path: &str, fields: &str) -> String {
    format!("{method} http://127.0.0.1{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}\r\n")
}

/// The origin gets the request and answers; returns what the client gets.
#[track_caller]
fn answer(shell: &mut Shell, client: PeerId, origin: PeerId, response: &str) -> String {
    shell.send(origin);
    shell.receive(origin, response);
    shell.send(client)
}

/// Asks over a new connection, the one of that index.
#[track_caller]
fn ask_anew(shell: &mut Shell, client: PeerId, request: &str, index: usize) -> PeerId {
    shell.receive(client, request);
    assert_eq!(shell.connects.len(), index + 1, "{request:?} goes over a new connection");
    let (origin, _) = shell.establish(index);
    assert_eq!(status(&answer(shell, client, origin, OK)), 200);
    origin
}

/// Asks over an idle connection.
#[track_caller]
fn ask_over(shell: &mut Shell, client: PeerId, request: &str, origin: PeerId) {
    let connects = shell.connects.len();
    shell.receive(client, request);
    assert_eq!(shell.connects.len(), connects, "{request:?} goes over an idle connection");
    assert_eq!(status(&answer(shell, client, origin, OK)), 200);
}

/// Rule 33: bytes that an origin sends before the request are no response on a connection that was used.
#[test]
fn bytes_before_the_request_are_no_answer() {
    let mut shell = Shell::new();
    let both = [request("GET", "/1", ""), request("GET", "/2", "")].concat();
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

/// Rule 35: on a new connection they are, as from a server that is busy. No other request gets that connection.
#[test]
fn new_connection_may_answer_before_the_request() {
    let ends: [&[Event]; 5] = [
        &[],
        &[Event::EndOfStream],
        &[Event::SendFailed(SocketError::Closed), Event::EndOfStream],
        &[Event::SendFailed(SocketError::Reset), Event::Failed(SocketError::Reset)],
        &[Event::Failed(SocketError::Reset)],
    ];
    for (method, fields, body) in
        [("GET", "", ""), ("HEAD", "", ""), ("POST", "Content-Length: 4\r\n", "body")]
    {
        for end in ends {
            let mut shell = Shell::new();
            let client = shell.client_with(request(method, "/1", fields) + body);
            let (origin, _) = shell.connects[0];
            shell.event(origin, Event::Connected);
            assert!(shell.engine.wants_write(origin));
            let busy = "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\n";
            shell.receive(origin, [busy, if method == "HEAD" { "" } else { "busy" }].concat());
            end.iter().for_each(|event| shell.event(origin, *event));
            let answer = shell.send(client);
            assert_eq!(status(&answer), 503, "{method} {end:?}: {answer}");
            assert_eq!(shell.record().verdict, Verdict::Allowed, "{method} {end:?}");
            assert!(shell.closed.contains(&origin), "{method} {end:?}");
            assert_eq!(connection(&answer), "", "{method} {end:?}: {answer}");
            shell.receive(client, request("GET", "/2", ""));
            let (fresh, second) = shell.establish(1);
            assert!(second.starts_with("GET /2 "), "{method} {end:?}: {second}");
            shell.receive(fresh, OK);
            assert!(shell.send(client).ends_with("\r\n\r\nok"), "{method} {end:?}");
        }
    }
}

/// Rules 31 and 35: a tunnel does not begin before the request.
#[test]
fn new_connection_does_not_switch_before_the_request() {
    let mut shell = Shell::new();
    let client = shell.client_with(request("GET", "/", "Connection: upgrade\r\nUpgrade: x\r\n"));
    let (origin, _) = shell.connects[0];
    shell.event(origin, Event::Connected);
    shell.receive(origin, "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    assert_eq!(status(&shell.send(client)), 502);
    assert!(shell.closed.contains(&origin) && shell.engine.metrics().tunnels == 0);
}

/// Rule 45: the age of a connection is counted from its begin, over all that it carries, and to the millisecond when it is to
/// be used again.
#[test]
fn kind_12_age_is_that_of_the_connection() {
    let settings = Settings { origin_lifetime_ms: 10_000, ..Settings::default() };
    let mut shell = Shell::with(settings, None, "");
    let client = shell.client();
    let first = ask_anew(&mut shell, client, &get("192.0.2.1"), 0);
    for _ in 0..3 {
        shell.pass(3000);
        ask_over(&mut shell, client, &get("192.0.2.1"), first);
    }
    // Between two sweeps of the deadlines.
    shell.now.monotonic_us += 1_000_000;
    let second = ask_anew(&mut shell, client, &get("192.0.2.1"), 1);
    shell.pass(9000);
    // An exchange that lasts longer is not ended by it.
    shell.receive(client, get("192.0.2.1"));
    shell.send(second);
    shell.pass(5000);
    shell.receive(second, OK);
    assert_eq!(connection(&shell.send(client)), "");
    assert!(shell.closed.contains(&second), "used no more");
    assert_eq!(shell.engine.metrics().origins_aged, 2);
}

/// Rule 45: another hosts file is another address.
#[test]
fn kind_12_other_hosts() {
    let mut shell = Shell::with_hosts("192.0.2.1 a.test b.test\n");
    let client = shell.client();
    let (a, b) =
        (ask_anew(&mut shell, client, &get("a.test"), 0), ask_anew(&mut shell, client, &get("b.test"), 1));
    ask_over(&mut shell, client, &get("a.test"), a);
    ask_over(&mut shell, client, &get("b.test"), b);
    let look_ups = shell.engine.metrics().dns_look_ups;
    for _ in 0..10 {
        ask_over(&mut shell, client, &get("a.test"), a);
    }
    assert_eq!(shell.engine.metrics().dns_look_ups, look_ups, "what is known is not looked up");
    let hosts = Hosts::parse(b"192.0.2.2 a.test\n192.0.2.3 b.test\n192.0.2.1 b.test\n");
    shell.engine.set_resolver(shell.now, resolver::Settings::default(), hosts);
    shell.act();
    ask_over(&mut shell, client, &get("b.test"), b);
    ask_anew(&mut shell, client, &get("a.test"), 2);
    assert_eq!(shell.connects[2].1.to_string(), "192.0.2.2:80");
    assert!(shell.closed.contains(&a));
}

/// Rule 44: a pinned connection ends with its client, also without a request, and the other way round.
#[test]
fn kind_01_ends_without_a_request() {
    let login = "GET http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1\r\nAuthorization: NTLM x\r\n\r\n";
    let mut shell = Shell::new();
    let client = shell.client();
    let origin = ask_anew(&mut shell, client, login, 0);
    shell.event(client, Event::EndOfStream);
    assert!(shell.closed.contains(&origin) && shell.closed.contains(&client));
    for said in [&b"HTTP/1.1 408 Gone\r\n\r\n"[..], b""] {
        let (mut shell, part) = (Shell::new(), get("192.0.2.1"));
        let client = shell.client();
        let origin = ask_anew(&mut shell, client, login, 0);
        // In the middle of the next head.
        shell.receive(client, &part[..20]);
        match said {
            b"" => shell.end(origin),
            bytes => shell.receive(origin, bytes),
        }
        assert!(shell.closed.contains(&origin) && shell.closed.contains(&client));
        assert_eq!(shell.engine.metrics().blocks_lent, 0);
        assert!(shell.engine.is_empty());
    }
}

fn post(host: &str) -> String {
    format!("POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\nhi")
}

/// Rule 45: what cannot be sent twice goes over an idle connection only where the origin has kept one for two seconds, and
/// this one was used within the last half second; and then the socket is looked at first.
#[test]
fn kind_11_what_proves_a_connection() {
    let (host, mut shell) = ("192.0.2.1", Shell::new());
    let client = shell.client();
    let first = ask_anew(&mut shell, client, &get(host), 0);
    // The connection was just used, but the origin's idle time is unknown.
    let second = ask_anew(&mut shell, client, &post(host), 1);
    shell.pass(1000);
    let third = ask_anew(&mut shell, client, &post(host), 2);
    assert!(shell.closed.contains(&second), "passed by");
    // The first one is still there.
    shell.pass(1000);
    ask_over(&mut shell, client, &get(host), third);
    shell.receive(client, post(host));
    assert!(shell.engine.looks_first(third), "before its first byte");
    let sent = shell.send(third);
    assert!(sent.starts_with("POST") && !shell.engine.looks_first(third), "{sent:?}");
    shell.receive(third, OK);
    assert_eq!(status(&shell.send(client)), 200);
    // But now it was idle for too long.
    shell.pass(750);
    let fourth = ask_anew(&mut shell, client, &post(host), 3);
    shell.pass(250);
    shell.receive(client, get(host));
    assert!(!shell.engine.looks_first(fourth), "a GET can be sent again");
    answer(&mut shell, client, fourth, OK);
    ask_over(&mut shell, client, &post(host), fourth);
    // The origin ends one early: nothing is known again.
    shell.end(fourth);
    ask_over(&mut shell, client, &get(host), first);
    ask_anew(&mut shell, client, &post(host), 4);
}

/// Rules 34 and 45: a request that was not sent at all can be sent on another connection, whatever the method, if a
/// last look finds the end of the first.
#[test]
fn kind_11_a_last_look() {
    let reset = SocketError::Reset;
    for (fields, body) in [
        ("Content-Length: 0\r\n", ""),
        ("Content-Length: 5\r\n", "hello"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ] {
        for failure in [Event::EndOfStream, Event::Failed(reset), Event::SendFailed(reset)] {
            let (host, mut shell) = ("192.0.2.1", Shell::new());
            let client = shell.client();
            let first = ask_anew(&mut shell, client, &get(host), 0);
            shell.pass(2000);
            ask_over(&mut shell, client, &get(host), first);
            shell.receive(
                client,
                format!("POST http://{host}/2 HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n{body}"),
            );
            assert!(shell.engine.looks_first(first));
            shell.event(first, failure);
            let (second, sent) = shell.establish(1);
            assert!(sent.starts_with("POST /2 ") && sent.ends_with(body), "{failure:?}: {sent:?}");
            shell.receive(second, OK);
            assert_eq!(status(&shell.send(client)), 200, "{failure:?} {body:?}");
            assert_eq!(shell.log.len(), 3);
        }
    }
}

/// Rule 45: a body that is kept takes no memory of its own, and is forgotten with the answer.
#[test]
fn kind_11_a_kept_body_is_where_the_head_is() {
    let (host, mut shell) = ("192.0.2.1", Shell::new());
    let client = shell.client();
    let first = ask_anew(&mut shell, client, &get(host), 0);
    let put = format!("PUT http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3000\r\n\r\n");
    shell.receive(client, &put);
    shell.receive(client, "x".repeat(1000));
    assert_eq!(shell.send(first).matches('x').count(), 1000);
    shell.receive(client, "y".repeat(1000));
    assert_eq!(shell.send(first).matches('y').count(), 1000);
    let metrics = shell.engine.metrics();
    assert_eq!((metrics.blocks_lent, metrics.spilled_bytes), (1, 0), "the head's");
    // The connection ends, and the body goes on where it was.
    shell.end(first);
    let (second, sent) = shell.establish(1);
    assert_eq!((sent.matches('x').count(), sent.matches('y').count()), (1000, 1000));
    shell.receive(client, "z".repeat(1000) + &get(host));
    assert_eq!(shell.send(second).matches('z').count(), 1000);
    shell.receive(second, OK);
    assert_eq!(status(&shell.send(client)), 200);
    // The next request was there already.
    assert_eq!(status(&answer(&mut shell, client, second, OK)), 200);
    assert_eq!((shell.engine.metrics().retries, shell.engine.metrics().blocks_lent), (1, 0));
    shell.pass(1000);
    assert_eq!(shell.log.len(), 3);
    assert_eq!(shell.log[1].client_bytes, put.len() as u64 + 3000);
}

fn ask_as(user: &str, fields: &str) -> String {
    use base64::Engine;
    let user = base64::engine::general_purpose::STANDARD.encode(format!("{user}:pw"));
    let fields = format!("Proxy-Authorization: Basic {user}\r\n{fields}");
    format!("GET http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1\r\n{fields}\r\n")
}

/// A client authenticates a connection, the next one after so many, which ends while the password of its next request is verified.
#[track_caller]
fn expect_no_other_connection(shell: &mut Shell, connects: usize) {
    let client = shell.client();
    let origin = ask_anew(shell, client, &ask_as("bob", "Authorization: NTLM x\r\n"), connects);
    shell.receive(client, ask_as("ann", ""));
    shell.end(origin);
    let (job, work) = shell.jobs.pop_front().expect("a verification");
    assert!(work.verify());
    shell.engine.handle_verified(shell.now, job, true);
    shell.act();
    let told = shell.send(client);
    let seen = (status(&told), connection(&told), shell.connects.len());
    assert_eq!(seen, (502, "close".to_owned(), connects + 1));
}

/// Rule 44: an authenticated connection that ends while the password for its next request is verified: nothing else carries that.
#[test]
fn kind_01_ends_while_a_password_is_verified() {
    let hash = bcrypt::hash("pw", 4).expect("a hash");
    let mut shell = Shell::with_users(&format!("bob:pw\nann:{hash}\n"), 7);
    expect_no_other_connection(&mut shell, 0);
}

/// The same where a stale response is stored, which is good enough for an origin that fails, but not for this client.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn kind_01_a_stale_response_is_no_answer_to_an_authenticated_client() {
    let hash = bcrypt::hash("pw", 4).expect("a hash");
    let store = Arc::new(Store::new(Limits::with_budget(1 << 20, [1, 2])));
    let settings = Settings { cache: Some(CacheSettings::new(store)), ..Settings::default() };
    let users = format!("bob:pw\nann:{hash}\n");
    let mut shell = Shell::with(settings, Some((&users, 7)), "");
    let stale = "HTTP/1.1 200 OK\r\nCache-Control: public, max-age=0, stale-if-error=100\r\nETag: \"a\"\r\n\
                 Date: Fri, 15 Jan 2027 08:00:00 GMT\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    let other = shell.client();
    shell.receive(other, ask_as("bob", ""));
    let (origin, _) = shell.establish(0);
    shell.receive(origin, stale);
    assert_eq!(status(&shell.send(other)), 200);
    // Another client could reuse it.
    shell.receive(other, ask_as("bob", ""));
    let attempt = shell.connects[1].0;
    shell.event(attempt, Event::Failed(SocketError::Refused));
    assert_eq!(status(&shell.send(other)), 200);
    expect_no_other_connection(&mut shell, 2);
}

/// Rules that refuse the address of an authenticated connection leave its client no other one, though the name has more.
#[test]
fn kind_01_new_rules_end_it_with_its_client() {
    let mut shell = Shell::with_hosts("192.0.2.1 a.test\n192.0.2.2 a.test\n");
    let client = shell.client();
    let with_credentials = get("a.test").replace("\r\n\r\n", "\r\nAuthorization: NTLM x\r\n\r\n");
    let origin = ask_anew(&mut shell, client, &with_credentials, 0);
    let mut rules = AclBuilder::new(1);
    rules.add_list(ListKind::Block, "block", b"192.0.2.1\n");
    let new = Policy { acl: rules.build().expect("valid rules"), ..Policy::clone(&policy(None)) };
    shell.engine.set_policy(Arc::new(new));
    shell.receive(client, get("a.test"));
    let told = shell.send(client);
    assert_eq!((status(&told), connection(&told).as_str(), shell.connects.len()), (403, "close", 1));
    assert!(shell.closed.contains(&origin));
}

/// A client that has waited for another client's response in vain has all its time for the next step: here a look-up.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn kind_12_a_look_up_behind_a_wait() {
    let store = Arc::new(Store::new(Limits::with_budget(1 << 20, [1, 2])));
    let settings = Settings { cache: Some(CacheSettings::new(store)), ..Settings::default() };
    let mut shell = Shell::with(settings, None, "192.0.2.1 a.test\n");
    let (leader, waiter) = (shell.client(), shell.client());
    shell.receive(leader, get("a.test"));
    shell.establish(0);
    shell.receive(waiter, get("a.test"));
    shell.pass(4750);
    shell.engine.set_resolver(shell.now, resolver::Settings::default(), Hosts::default());
    shell.event(leader, Event::Failed(SocketError::Reset));
    assert!(!shell.queries.is_empty(), "the waiter looks the name up");
    shell.pass(1000);
    assert_eq!(shell.send(waiter), "", "it goes on waiting for that");
}

/// A loop with a cache, clients that wait for one response, and the connections of the first one and of the one that has overtaken it.
fn overtaken() -> (Shell, Vec<PeerId>, [PeerId; 2]) {
    let store = Arc::new(Store::new(Limits::with_budget(1 << 20, [1, 2])));
    let settings = Settings { cache: Some(CacheSettings::new(store)), ..Settings::default() };
    let mut shell = Shell::with(settings, None, "192.0.2.1 a.test\n");
    let clients: Vec<PeerId> = (0..4).map(|_| shell.client()).collect();
    for client in &clients {
        shell.receive(*client, get("a.test"));
    }
    let (first, _) = shell.establish(0);
    shell.pass(5300);
    let (second, _) = shell.establish(1);
    assert_eq!((shell.connects.len(), shell.engine.metrics().cache_overtaken), (2, 1));
    (shell, clients, [first, second])
}

const HEAD: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\n";

/// Rules 48 and 53: the response of a request that was overtaken is for those that wait, while it arrives.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn rule_53_the_response_of_an_overtaken_request_is_for_all() {
    let (mut shell, clients, [first, second]) = overtaken();
    shell.receive(first, format!("{HEAD}begin"));
    let late = shell.client_with(get("a.test"));
    for client in [clients[0], clients[2], clients[3], late] {
        assert!(shell.send(client).ends_with("begin"), "{client:?}");
    }
    assert_eq!(shell.send(clients[1]), "", "the successor has a request of its own");
    shell.receive(first, "+ end");
    for client in [clients[0], clients[2], clients[3], late] {
        assert_eq!(shell.send(client), "+ end", "{client:?}");
    }
    shell.receive(second, format!("{HEAD}0123456789"));
    assert!(shell.send(clients[1]).ends_with("0123456789"));
    let after = shell.client_with(get("a.test"));
    assert_eq!((status(&shell.send(after)), shell.connects.len()), (200, 2));
}

/// The successor's response is for all as well, if it comes first; the other one is for its client.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn rule_53_the_response_of_the_successor_is_for_all() {
    let (mut shell, clients, [first, second]) = overtaken();
    shell.receive(second, format!("{HEAD}begin"));
    shell.receive(first, format!("{HEAD}0123456789"));
    for client in &clients[1..] {
        assert!(shell.send(*client).ends_with("begin"), "{client:?}");
    }
    assert!(shell.send(clients[0]).ends_with("0123456789"));
    shell.receive(second, "+ end");
    for client in &clients[1..] {
        assert_eq!(shell.send(*client), "+ end", "{client:?}");
    }
    assert_eq!(shell.connects.len(), 2);
}

/// The end of one of the two leaves the other one for all; a response for one client is for that one.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn rule_53_the_end_of_one_leaves_the_other() {
    // The successor ends while the first response arrives.
    let (mut shell, clients, [first, second]) = overtaken();
    shell.receive(first, format!("{HEAD}begin"));
    shell.event(second, Event::Failed(SocketError::Reset));
    shell.event(clients[1], Event::Failed(SocketError::Reset));
    let connects = shell.connects.len();
    let late = shell.client_with(get("a.test"));
    assert!(shell.send(late).ends_with("begin"));
    shell.receive(first, "+ end");
    assert_eq!((shell.send(late).as_str(), shell.connects.len()), ("+ end", connects));
    // The first response breaks off: those that read it notice, and the successor's is for all from then on.
    let (mut shell, clients, [first, second]) = overtaken();
    shell.receive(first, format!("{HEAD}begin"));
    assert!(shell.send(clients[2]).ends_with("begin"));
    shell.event(first, Event::Failed(SocketError::Reset));
    let late = shell.client_with(get("a.test"));
    assert_eq!(shell.send(late), "", "it waits for the successor");
    shell.receive(second, format!("{HEAD}0123456789"));
    assert!(shell.send(late).ends_with("0123456789"));
    // A private response.
    let (mut shell, clients, [first, second]) = overtaken();
    shell.receive(first, HEAD.replace("max-age=60", "private") + "0123456789");
    assert!(shell.send(clients[0]).ends_with("0123456789"));
    assert_eq!(shell.send(clients[2]), "", "it waits for the successor");
    shell.receive(second, format!("{HEAD}0123456789"));
    assert!(clients[1..].iter().all(|client| shell.send(*client).ends_with("0123456789")));
}
