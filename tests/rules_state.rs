//! State below HTTP: rules 44 and 45 of the rule book. Origins that authenticate a connection, and connections that are not
//! what they were.

mod common;

use common::origin::Conn;
use common::{DEADLINE, Origin, Raw, Weir, eventually};
use std::io;
use std::sync::{Arc, Condvar, Mutex};

/// Both neighbours of every case: with and without a cache, one loop and two, with splice and without.
const DAEMONS: [&[&str]; 4] = [&[], &["--cache"], &["--cache", "--workers", "2"], &["--no-splice"]];

/// Answers the requests of one connection as IIS does with NTLM: the connection tells the user. The body names the
/// user and the connection.
fn authenticate(conn: &mut Conn, fields: &str) -> io::Result<()> {
    let number = conn.number;
    let (mut user, mut challenged) = (None, false);
    while let Some(request) = conn.request()? {
        let given = request.head.get("authorization").unwrap_or_default().to_owned();
        if given == "NTLM hello" {
            challenged = true;
            let challenge = format!("WWW-Authenticate: NTLM for-{number}\r\n");
            conn.send(format!("HTTP/1.1 401 No\r\n{challenge}Content-Length: 0\r\n\r\n"))?;
            continue;
        }
        if let (Some(name), true) = (given.strip_prefix("NTLM user-"), challenged) {
            user = Some(name.to_owned());
        }
        let (status, line) = match user {
            Some(_) => ("200 OK", ""),
            None => ("401 No", "WWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM\r\n"),
        };
        let body = format!("{}@{number}", user.as_deref().unwrap_or("nobody"));
        let length = body.len();
        conn.send(format!("HTTP/1.1 {status}\r\n{line}{fields}Content-Length: {length}\r\n\r\n{body}"))?;
    }
    Ok(())
}

/// Opens once for each that is let through.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<usize>, Condvar)>);

impl Gate {
    fn open(&self, count: usize) {
        *self.0.0.lock().expect("a gate") += count;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let open = self.0.0.lock().expect("a gate");
        let (mut open, _) = self.0.1.wait_timeout_while(open, DEADLINE, |open| *open == 0).expect("a gate");
        *open = open.saturating_sub(1);
    }
}

fn ntlm_origin(fields: &'static str) -> Origin {
    Origin::serve(move |conn| authenticate(conn, fields))
}

fn get(origin: &Origin, fields: &str) -> Vec<u8> {
    origin.fill(format!("GET http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\n{fields}\r\n"))
}

/// Authenticates a connection; says over which one of the origin's.
#[track_caller]
fn log_in(client: &mut Raw, origin: &Origin, user: &str) -> String {
    let challenge = client.ask(get(origin, "Authorization: NTLM hello\r\n"));
    let of = challenge.head.get("www-authenticate").and_then(|value| value.strip_prefix("NTLM for-"));
    let number = of.unwrap_or_else(|| panic!("no challenge: {challenge:?}")).to_owned();
    let answer = client.ask(get(origin, &format!("Authorization: NTLM user-{user}\r\n")));
    assert_eq!(
        (answer.status(), answer.text()),
        (200, format!("{user}@{number}")),
        "the challenge's connection"
    );
    number
}

/// Rule 44: an authenticated connection answers the client that has authenticated it, and no other.
#[test]
fn rule_44_an_authenticated_connection_answers_one_client() {
    for options in common::built(DAEMONS) {
        let weir = Weir::start(options);
        let origin = ntlm_origin("Cache-Control: max-age=60\r\n");
        let (mut anna, mut bert, mut cora) = (weir.connect(), weir.connect(), weir.connect());
        let annas = log_in(&mut anna, &origin, "anna");
        // All clients at once, in between, and without credentials of their own.
        let berts = log_in(&mut bert, &origin, "bert");
        for _ in 0..3 {
            let answer = cora.ask(get(&origin, ""));
            assert_eq!(answer.status(), 401, "{options:?}: {answer:?}");
            assert_eq!(anna.ask(get(&origin, "")).text(), format!("anna@{annas}"), "{options:?}");
            assert_eq!(bert.ask(get(&origin, "")).text(), format!("bert@{berts}"), "{options:?}");
            let answer = weir.connect().ask(get(&origin, ""));
            assert_eq!(answer.status(), 401, "{options:?}: {answer:?}");
        }
    }
}

/// Rule 44: the steps of the handshake go over one connection, however many others are idle or busy.
#[test]
fn kind_01_the_steps_of_a_handshake_stay_together() {
    for options in common::built(DAEMONS) {
        let weir = Weir::start(options);
        let origin = ntlm_origin("");
        let mut clients: Vec<Raw> = (0..8).map(|_| weir.connect()).collect();
        let mut challenges = Vec::new();
        for client in &mut clients {
            // Offered, and taken up by the next request.
            assert_eq!(client.ask(get(&origin, "")).status(), 401);
            let challenge = client.ask(get(&origin, "Authorization: ntlm who\r\n"));
            assert_eq!(challenge.status(), 401);
            let challenge = client.ask(get(&origin, "Authorization: NTLM hello\r\n"));
            challenges.push(challenge.head.get("www-authenticate").unwrap_or_default().to_owned());
        }
        for (number, client) in clients.iter_mut().enumerate().rev() {
            let answer = client.ask(get(&origin, &format!("Authorization: NTLM user-{number}\r\n")));
            let of = challenges[number].trim_start_matches("NTLM for-");
            assert_eq!(answer.text(), format!("{number}@{of}"), "{options:?}");
        }
        assert_eq!(origin.connections(), 8, "{options:?}: one for each");
    }
}

/// How many connections of the origin's two clients used who asked one after the other, the first with these fields in its
/// request or in the answer.
fn connections_of_two(weir: &Weir, request: &str, response: &str) -> usize {
    let answer = format!("HTTP/1.1 401 No\r\n{response}Content-Length: 2\r\n\r\nok");
    let origin = Origin::serve(move |conn| {
        while let Some(request) = conn.request()? {
            let first = request.head.target() == "/first";
            conn.send(if first { &answer } else { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" })?;
        }
        Ok(())
    });
    let mut first = weir.connect();
    let asked =
        first.ask(origin.fill(format!("GET http://{{o}}/first HTTP/1.1\r\nHost: {{o}}\r\n{request}\r\n")));
    assert_eq!(asked.text(), "ok");
    assert_eq!(weir.connect().ask(origin.get("/second")).text(), "ok");
    // Nor has it become common property by a request that says nothing of it.
    assert_eq!(first.ask(origin.get("/third")).text(), "ok");
    assert_eq!(weir.connect().ask(origin.get("/fourth")).text(), "ok");
    origin.connections()
}

/// Rule 44: what binds, in every spelling, and what does not.
#[test]
fn kind_01_what_binds_a_connection() {
    let weir = Weir::start(&[]);
    for (request, response, connections) in [
        ("", "", 1),
        ("Authorization: NTLM TlRM\r\n", "", 2),
        ("authorization:\tnEgOtIaTe \t YII=\t\r\n", "", 2),
        ("Authorization: Kerberos YII=\r\n", "", 2),
        ("Authorization: Basic YTpi\r\nAuthorization: Negotiate YII=\r\n", "", 2),
        ("Connection: Authorization\r\nAuthorization: NTLM TlRM\r\n", "", 2),
        ("Authorization: Basic TlRM\r\n", "", 1),
        ("Authorization: Digest username=\"a, NTLM\", realm=\"Negotiate\"\r\n", "", 1),
        ("Authorization: Bearer NTLM\r\n", "", 1),
        ("Proxy-Authorization: NTLM TlRM\r\n", "", 1),
        ("", "WWW-Authenticate: NTLM\r\n", 2),
        ("", "www-authenticate:\tKERBEROS\t\r\n", 2),
        ("", "WWW-Authenticate: Basic realm=\"x\", NTLM\r\n", 2),
        ("", "WWW-Authenticate: Basic realm=\"x\"\r\nWWW-Authenticate: Digest realm=\"y\",Negotiate\r\n", 2),
        ("", "WWW-Authenticate: Negotiate YII=, Basic realm=\"x\"\r\n", 2),
        ("", "WWW-Authenticate: Basic realm=\"x, NTLM\"\r\n", 1),
        ("", "WWW-Authenticate: Basic realm=\"\\\", Negotiate\"\r\n", 1),
        ("", "WWW-Authenticate: Basic realm=NTLM\r\n", 1),
        ("", "Proxy-Authenticate: NTLM\r\n", 1),
    ] {
        assert_eq!(connections_of_two(&weir, request, response), connections, "{request:?} {response:?}");
    }
}

/// Rule 44: an answer that is none of refusal may offer it as well, or go on with it; whatever the method.
#[test]
fn kind_01_any_answer_may_bind() {
    for options in common::built([&[][..], &["--cache"]]) {
        let weir = Weir::start(options);
        for (method, status) in [
            ("GET", "200 OK"),
            ("HEAD", "200 OK"),
            ("GET", "304 Not Modified"),
            ("GET", "403 No"),
            ("GET", "500 No"),
            ("POST", "200 OK"),
            ("DELETE", "204 Gone"),
        ] {
            let line = "WWW-Authenticate: Negotiate oYG=\r\nCache-Control: max-age=60\r\nETag: \"1\"\r\n";
            let origin = Origin::answering(format!("HTTP/1.1 {status}\r\n{line}Content-Length: 0\r\n\r\n"));
            let request = origin.fill(format!(
                "{method} http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\nIf-None-Match: \"1\"\r\n\r\n"
            ));
            for client in 1..=3 {
                let mut connection = weir.connect();
                for _ in 0..2 {
                    connection.send(&request);
                    connection.read_response_to(method);
                }
                let context = format!("{options:?} {method} {status}");
                assert_eq!(origin.connections(), client, "{context}");
                assert_eq!(origin.heads().len(), 2 * client, "{context}: nothing is served from memory");
            }
        }
    }
}

/// Rule 44: with the client goes its upstream connection.
#[test]
fn kind_01_the_clients_end_is_the_origins() {
    for options in common::built(DAEMONS) {
        let weir = Weir::start(options);
        let origin = ntlm_origin("");
        let mut client = weir.connect();
        log_in(&mut client, &origin, "anna");
        drop(client);
        origin.wait_for_ends(1);
        // In the middle of an answer, and by its own word.
        let mut client = weir.connect();
        log_in(&mut client, &origin, "bert");
        client.ask(get(&origin, "Connection: close\r\n"));
        origin.wait_for_ends(2);
        // A tunnel takes the client away from it.
        let mut client = weir.connect();
        log_in(&mut client, &origin, "cora");
        client.send(origin.fill("CONNECT {o} HTTP/1.1\r\nHost: {o}\r\n\r\n"));
        assert_eq!(client.read_response_to("CONNECT").status(), 200);
        origin.wait_for_ends(3);
        drop(client);
        origin.wait_for_ends(4);
        // An offer that the client does not take up.
        let mut client = weir.connect();
        assert_eq!(client.ask(get(&origin, "")).status(), 401);
        client.half_close();
        origin.wait_for_ends(5);
    }
}

/// Rule 44: with the upstream connection goes the client: it would take another one for authenticated.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn kind_01_the_origins_end_is_the_clients() {
    for reset in [false, true] {
        let weir = Weir::start(&["--cache"]);
        let (ends, may_end) = (Gate::default(), Gate::default());
        let gate = may_end.clone();
        let origin = Origin::serve_owned(move |mut conn| {
            conn.request()?;
            conn.send("HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n")?;
            gate.pass();
            if reset {
                conn.reset();
            } else {
                let _ = conn.half_close();
            }
            Ok(())
        });
        let mut idle = weir.connect();
        assert_eq!(idle.ask(get(&origin, "Authorization: NTLM hello\r\n")).status(), 401);
        may_end.open(1);
        idle.expect_closed();
        // While another origin answers: behind that answer.
        let slow_gate = ends.clone();
        let slow = Origin::serve(move |conn| {
            conn.request()?;
            slow_gate.pass();
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow")?;
            conn.read_to_end().map(drop)
        });
        let mut busy = weir.connect();
        assert_eq!(busy.ask(get(&origin, "Authorization: NTLM hello\r\n")).status(), 401);
        busy.send(slow.get("/"));
        slow.wait_for_head(1);
        may_end.open(1);
        eventually("the origin connection is gone", || {
            (weir.statistics().get("origins_pinned") == 0).then_some(())
        });
        ends.open(1);
        let answer = busy.read_response();
        assert_eq!(answer.text(), "slow");
        assert!(answer.head.lists("connection", "close"), "{answer:?}");
        busy.expect_closed();
    }
}

/// Rule 44: responses on an authenticated connection are for one client, whatever their fields say: neither stored,
/// nor shared with waiting requests, nor answered from the cache.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn kind_01_nothing_of_it_is_stored() {
    for options in [&["--cache"][..], &["--cache", "--workers", "2"]] {
        let weir = Weir::start(options);
        let origin = ntlm_origin("Cache-Control: public, max-age=60\r\nETag: \"1\"\r\n");
        let mut anna = weir.connect();
        log_in(&mut anna, &origin, "anna");
        for round in 0..3 {
            let before = origin.heads().len();
            assert!(anna.ask(get(&origin, "")).text().starts_with("anna@"));
            for fields in
                ["", "Authorization: Basic YTpi\r\n", "If-None-Match: \"1\"\r\n", "Range: bytes=0-0\r\n"]
            {
                let answer = weir.connect().ask(get(&origin, fields));
                assert_eq!(answer.status(), 401, "{options:?} {round} {fields:?}: {answer:?}");
            }
            assert_eq!(origin.heads().len(), before + 5, "{options:?}: nothing is served from memory");
        }
    }
}

/// Rule 44: nor does it answer what is stored already, and what it says does not become that.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn kind_01_what_is_stored_stays_what_it_was() {
    let weir = Weir::start(&["--cache"]);
    let origin = Origin::serve(|conn| {
        let mut user = "all";
        while let Some(request) = conn.request()? {
            if request.head.has("authorization") {
                user = "anna";
            }
            let fields = "Cache-Control: max-age=60\r\nETag: \"1\"\r\n";
            conn.send(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n{user}", user.len()))?;
        }
        Ok(())
    });
    let (mut anna, mut bert) = (weir.connect(), weir.connect());
    assert_eq!(bert.ask(origin.get("/")).text(), "all");
    // Not even asked for by her, it is not what she would get without a proxy.
    assert_eq!(anna.ask(get(&origin, "Authorization: NTLM x\r\n")).text(), "anna");
    assert_eq!(anna.ask(origin.get("/")).text(), "anna");
    let refreshed = anna.ask(get(&origin, "Cache-Control: no-cache\r\n"));
    assert_eq!(refreshed.text(), "anna");
    assert_eq!(bert.ask(origin.get("/")).text(), "all");
    assert_eq!(weir.connect().ask(origin.get("/")).text(), "all");
    assert_eq!((origin.connections(), origin.heads().len()), (2, 4), "the others were answered from memory");
    assert_eq!(anna.ask(get(&origin, "Cache-Control: only-if-cached\r\n")).status(), 504);
    // A request that changes something makes it worthless all the same.
    let post = "POST http://{o}/ HTTP/1.1\r\nHost: {o}\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(anna.ask(origin.fill(post)).text(), "anna");
    assert_eq!(bert.ask(origin.get("/")).text(), "all");
    assert_eq!(origin.heads().len(), 6, "asked anew");
}

/// Rule 44: requests that have waited for another client's response ask by themselves if that response offers to
/// authenticate, and clients that authenticate do not wait for others.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn kind_01_who_has_waited_asks_by_itself() {
    for options in [&["--cache"][..], &["--cache", "--workers", "2"]] {
        let weir = Weir::start(options);
        let gate = Gate::default();
        let waiting = gate.clone();
        let origin = Origin::serve(move |conn| {
            while let Some(request) = conn.request()? {
                let body = request.head.get("x-name").unwrap_or_default().to_owned();
                if body == "first" {
                    waiting.pass();
                }
                let length = body.len();
                let fields = "WWW-Authenticate: Basic realm=\"x\", NTLM\r\nCache-Control: max-age=60\r\n";
                conn.send(format!("HTTP/1.1 401 No\r\n{fields}Content-Length: {length}\r\n\r\n{body}"))?;
            }
            Ok(())
        });
        let mut first = weir.connect();
        first.send(get(&origin, "X-Name: first\r\n"));
        origin.wait_for_head(1);
        let mut others: Vec<Raw> = (0..4).map(|_| weir.connect()).collect();
        for (number, other) in others.iter_mut().enumerate() {
            other.send(get(&origin, &format!("X-Name: {number}\r\n")));
        }
        let mut own = weir.connect();
        let answer = own.ask(get(&origin, "X-Name: own\r\nAuthorization: Negotiate x\r\n"));
        assert_eq!(answer.text(), "own", "{options:?}");
        gate.open(1);
        assert_eq!(first.read_response().text(), "first");
        for (number, other) in others.iter_mut().enumerate() {
            assert_eq!(other.read_response().text(), number.to_string(), "{options:?}");
        }
        assert_eq!(origin.heads().len(), 6, "{options:?}: one each");
    }
}

const WEBSOCKET: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

/// Rule 44: an upgrade goes over the connection that was authenticated for it.
#[test]
fn kind_01_upgrades_use_the_authenticated_connection() {
    for options in common::built(DAEMONS) {
        let weir = Weir::start(options);
        let origin = Origin::serve(|conn| {
            let mut user = "nobody".to_owned();
            while let Some(request) = conn.request()? {
                if let Some(given) = request.head.get("authorization") {
                    user = given.to_owned();
                }
                if request.head.has("upgrade") && user != "nobody" {
                    conn.send(format!("HTTP/1.1 101 Go\r\n{WEBSOCKET}\r\n{user}"))?;
                    let bytes = conn.read_until(b"bye")?;
                    return conn.send(bytes);
                }
                conn.send("HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n")?;
            }
            Ok(())
        });
        // Asked without, refused, authenticated, and asked once more.
        let mut anna = weir.connect();
        assert_eq!(anna.ask(get(&origin, WEBSOCKET)).status(), 401);
        assert_eq!(anna.ask(get(&origin, "Authorization: NTLM anna\r\n")).status(), 401);
        assert_eq!(weir.connect().ask(get(&origin, WEBSOCKET)).status(), 401, "{options:?}");
        anna.send(get(&origin, WEBSOCKET));
        assert_eq!(anna.read_head().status(), 101, "{options:?}");
        assert_eq!(anna.read_exact(9), b"NTLM anna");
        anna.send("bye");
        assert_eq!(anna.read_exact(3), b"bye");
        assert_eq!(origin.connections(), 2, "{options:?}");
        // With its credentials in the same request.
        let mut bert = weir.connect();
        bert.send(get(&origin, &format!("{WEBSOCKET}Authorization: NTLM bert\r\n")));
        assert_eq!(bert.read_head().status(), 101, "{options:?}");
        assert_eq!(bert.read_exact(9), b"NTLM bert");
        drop((anna, bert));
        origin.wait_for_ends(3);
    }
}

/// Rule 44: a 401 that offers it says that this proxy can carry it, once.
#[test]
fn kind_01_proxy_support_is_announced() {
    for options in common::built([&[][..], &["--cache"]]) {
        let weir = Weir::start(options);
        for (status, fields, announced) in [
            ("401 No", "WWW-Authenticate: Negotiate\r\n", 1),
            ("401 No", "WWW-Authenticate: Basic realm=\"x\", NTLM\r\nCache-Control: max-age=9\r\n", 1),
            ("401 No", "WWW-Authenticate: NTLM\r\nProxy-Support: session-based-authentication\r\n", 1),
            // One that is for the last hop only is not passed on.
            (
                "401 No",
                "WWW-Authenticate: NTLM\r\nConnection: Proxy-Support\r\nProxy-Support: Session-Based-Authentication\r\n",
                1,
            ),
            ("401 No", "WWW-Authenticate: Basic realm=\"NTLM\"\r\n", 0),
            ("401 No", "", 0),
            ("200 OK", "WWW-Authenticate: Negotiate oYG=\r\n", 0),
            ("407 No", "Proxy-Authenticate: NTLM\r\n", 0),
        ] {
            let answer = format!("HTTP/1.1 {status}\r\n{fields}Content-Length: 2\r\n\r\nok");
            let origin = Origin::answering(answer);
            for version in ["1.0", "1.1"] {
                let request = format!(
                    "GET http://{{o}}/ HTTP/{version}\r\nHost: {{o}}\r\nProxy-Connection: keep-alive\r\n\r\n"
                );
                let mut client = weir.connect();
                let answer = client.ask(origin.fill(&request));
                let context = format!("{options:?} {status} {fields:?}: {answer:?}");
                let support = answer.head.all("proxy-support");
                assert_eq!(support.len(), announced, "{context}");
                let right = |value: &&str| value.eq_ignore_ascii_case("Session-Based-Authentication");
                assert!(support.iter().all(right), "{context}");
                assert!(!answer.head.lists("connection", "close"), "{context}");
                assert_eq!(client.ask(origin.fill(&request)).text(), "ok", "{context}");
            }
        }
    }
}

/// Rule 44: HTTP/1.0 clients that stay keep their connection as well; an end that is announced is one for both.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn kind_01_old_clients_and_announced_ends() {
    let weir = Weir::start(&["--cache"]);
    let origin = ntlm_origin("");
    let old = |fields: &str| {
        let text =
            format!("GET http://{{o}}/ HTTP/1.0\r\nHost: {{o}}\r\nConnection: keep-alive\r\n{fields}\r\n");
        origin.fill(text)
    };
    let mut client = weir.connect();
    assert_eq!(client.ask(old("Authorization: NTLM hello\r\n")).status(), 401);
    assert_eq!(client.ask(old("Authorization: NTLM user-anna\r\n")).text(), "anna@0");
    assert_eq!(client.ask(old("")).text(), "anna@0");
    assert_eq!(weir.connect().ask(old("")).text(), "nobody@1");
    // The origin says that it closes: so is the client told.
    for (answer, fields) in [
        ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", "Authorization: NTLM x\r\n"),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "Authorization: NTLM x\r\n"),
        ("HTTP/1.1 200 OK\r\n\r\nok", "Authorization: NTLM x\r\n"),
        ("HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", ""),
    ] {
        let origin = Origin::closing(answer);
        let mut client = weir.connect();
        let said = client.ask(get(&origin, fields));
        assert_eq!(said.text(), "ok");
        assert!(said.head.lists("connection", "close"), "{answer:?}: {said:?}");
        client.expect_closed();
    }
}

/// Rule 44: requests of the client to other origins use other connections, and its own one waits. There is one at
/// most.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn kind_01_other_origins_in_between() {
    let weir = Weir::start(&["--cache"]);
    let (one, other, plain) = (ntlm_origin(""), ntlm_origin(""), Origin::ok());
    let mut client = weir.connect();
    log_in(&mut client, &one, "anna");
    for _ in 0..2 {
        assert_eq!(client.ask(plain.get("/")).text(), "ok");
        assert_eq!(weir.connect().ask(plain.get("/")).text(), "ok");
        assert_eq!(client.ask(get(&one, "")).text(), "anna@0");
    }
    assert_eq!((one.connections(), plain.connections()), (1, 1));
    log_in(&mut client, &other, "bert");
    one.wait_for_ends(1);
    assert_eq!(weir.statistics().get("origins_pinned"), 1);
    assert_eq!(client.ask(get(&other, "")).text(), "bert@0");
    assert_eq!(client.ask(get(&one, "")).text(), "nobody@1");
}

/// Rule 44: a request on an authenticated connection that dies is not repeated elsewhere; before authentication it
/// is.
#[test]
fn kind_01_no_second_try_elsewhere() {
    for reset in [false, true] {
        let weir = Weir::start(&[]);
        let origin = Origin::serve_owned(move |mut conn| {
            while let Some(request) = conn.request()? {
                if request.head.target() == "/die" && conn.number == 0 {
                    if reset {
                        conn.reset();
                        return Ok(());
                    }
                    return conn.half_close();
                }
                conn.send("HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM\r\nContent-Length: 2\r\n\r\nok")?;
            }
            Ok(())
        });
        let mut client = weir.connect();
        client.ask(get(&origin, "Authorization: NTLM anna\r\n"));
        let answer = client.ask(origin.get("/die"));
        assert_eq!(answer.status(), 502, "{answer:?}");
        assert!(answer.head.lists("connection", "close"), "{answer:?}");
        client.expect_closed();
        assert_eq!((origin.connections(), origin.heads().len()), (1, 2));
    }
    let weir = Weir::start(&[]);
    let origin = Origin::serve(|conn| {
        while let Some(request) = conn.request()? {
            if request.head.target() == "/die" && conn.number == 0 {
                return Ok(());
            }
            conn.send("HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM\r\nContent-Length: 2\r\n\r\nok")?;
        }
        Ok(())
    });
    let mut client = weir.connect();
    client.ask(origin.get("/"));
    assert_eq!(client.ask(origin.get("/die")).status(), 401);
    assert_eq!(client.ask(origin.get("/")).status(), 401);
    assert_eq!(origin.connections(), 2);
}

/// Rule 44: a connection that waits for one client has a time-out like any other, and the client connection ends with
/// it.
#[test]
fn kind_01_pinned_connections_time_out() {
    let weir = Weir::start(&["--idle-origin-timeout", "1", "--idle-origins", "0"]);
    let origin = ntlm_origin("");
    let mut client = weir.connect();
    log_in(&mut client, &origin, "anna");
    client.expect_closed();
    origin.wait_for_ends(1);
    assert_eq!(weir.statistics().get("timeouts_origin_idle"), 1);
}

/// Rule 44: uploads go over it like everything else, pipelined requests in their order.
#[test]
fn kind_01_uploads_and_pipelines() {
    for options in common::built(DAEMONS) {
        let weir = Weir::start(options);
        let origin = ntlm_origin("");
        let mut client = weir.connect();
        let number = log_in(&mut client, &origin, "anna");
        let post = |body: &str, framing: &str| {
            origin.fill(format!("POST http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\n{framing}\r\n{body}"))
        };
        let large = "x".repeat(300_000);
        let requests = [
            post("hello", "Content-Length: 5\r\n"),
            post("5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n"),
            get(&origin, ""),
            post(&large, "Content-Length: 300000\r\n"),
            get(&origin, ""),
        ];
        client.send(requests.concat());
        for _ in 0..5 {
            assert_eq!(client.read_response().text(), format!("anna@{number}"), "{options:?}");
        }
        assert_eq!(origin.connections(), 1, "{options:?}");
    }
}

/// Rule 44: an answer to the cache's own conditions that offers to authenticate confirms and completes nothing, and the client
/// gets an answer to what it asked.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn kind_01_offers_that_answer_the_cache() {
    let weir = Weir::start(&["--cache"]);
    let tag = "Cache-Control: no-cache\r\nETag: \"1\"\r\n";
    let offer = "WWW-Authenticate: NTLM\r\nX-Offer: 1\r\n";
    let origin = Origin::serve(move |conn| {
        while let Some(request) = conn.request()? {
            let again = request.head.has("x-again");
            let answer = match request.head.has("if-none-match") {
                true => format!("HTTP/1.1 304 Not Modified\r\n{offer}ETag: \"1\"\r\n\r\n"),
                false if again => format!("HTTP/1.1 401 No\r\n{offer}{tag}Content-Length: 2\r\n\r\nno"),
                false => format!("HTTP/1.1 200 OK\r\n{tag}Content-Length: 2\r\n\r\nok"),
            };
            conn.send(answer)?;
        }
        Ok(())
    });
    assert_eq!(weir.connect().ask(origin.get("/")).text(), "ok");
    let mut client = weir.connect();
    let answer = client.ask(get(&origin, "X-Again: 1\r\n"));
    assert_eq!((answer.status(), answer.text().as_str()), (401, "no"), "{answer:?}");
    assert_eq!(answer.head.all("proxy-support").len(), 1);
    let answer = weir.connect().ask(origin.get("/"));
    assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"), "{answer:?}");
    assert!(!answer.head.has("x-offer"), "{answer:?}");
}
