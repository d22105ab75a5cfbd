//! What the program around a proxy decides, seen by its clients, its origins and its log.

mod common;

use common::{DEADLINE, Origin, Raw, Response};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use weir::callback::{
    ANSWER_BYTES_MAX, Answer, ConnectionVerdict, NameVerdict, RequestVerdict, RequestView, Ruling,
};
use weir::{Builder, Configuration, Proxy, Status, Time};

/// A proxy with its log.
struct Hosted {
    proxy: Proxy,
    log: Arc<Mutex<String>>,
}

impl Hosted {
    fn new(configuration: Configuration, callbacks: impl FnOnce(Builder) -> Builder) -> Hosted {
        let log = Arc::new(Mutex::new(String::new()));
        let lines = Arc::clone(&log);
        let configuration = configuration.memory_only().text("host 127.0.0.1\nport 0\n");
        let builder = Proxy::builder().configuration(configuration).access_log(move |batch| {
            lines.lock().expect("lines").push_str(&String::from_utf8_lossy(batch));
        });
        Hosted { proxy: callbacks(builder).build().expect("a proxy"), log }
    }

    fn deciding(ruling: impl Fn(&RequestView<'_>) -> Ruling + Send + Sync + 'static) -> Hosted {
        Hosted::new(Configuration::new().text("allow 127.0.0.1"), |builder| builder.on_request(ruling))
    }

    fn address(&self) -> SocketAddr {
        self.proxy.control().addresses()[0]
    }

    /// Polls until a client has its response.
    #[track_caller]
    fn serve<T>(&mut self, client: JoinHandle<T>) -> T {
        let end = Instant::now() + DEADLINE;
        while !client.is_finished() {
            assert!(Instant::now() < end, "no response");
            assert_eq!(self.proxy.poll(Some(Duration::from_millis(1))).expect("a turn"), Status::Running);
        }
        client.join().expect("a client")
    }

    /// Polls until it is so.
    #[track_caller]
    fn poll_until(&mut self, mut it_is_so: impl FnMut() -> bool) {
        let end = Instant::now() + DEADLINE;
        while !it_is_so() {
            assert!(Instant::now() < end, "it never is");
            assert_eq!(self.proxy.poll(Some(Duration::from_millis(1))).expect("a turn"), Status::Running);
        }
    }

    #[track_caller]
    fn ask(&mut self, request: impl Into<Vec<u8>>) -> Response {
        let (at, request) = (self.address(), request.into());
        self.serve(thread::spawn(move || Raw::connect(at).ask(request)))
    }

    /// The last line of the log.
    fn line(&mut self) -> String {
        self.proxy.poll(Some(Duration::ZERO)).expect("a turn");
        let log = self.log.lock().expect("lines");
        log.lines().last().unwrap_or_default().to_owned()
    }
}

fn get(url: &str) -> String {
    let host = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
    format!("GET {url} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

fn answer(status: u16, fields: &[(&str, &str)], body: &str) -> Ruling {
    let fields = fields.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    RequestVerdict::Answer(Answer { status, fields, body: body.into() }).into()
}

#[test]
fn a_refusal_has_status_reason_and_note() {
    for (status, reason, expected, word) in [
        (451, "court order", 451, "court order"),
        (429, "plan", 429, "plan"),
        (200, "", 403, "callback"),
        (999, "<b>\u{202e}\"x\"\n", 403, "<b>"),
    ] {
        let mut hosted = Hosted::deciding(move |_| {
            let reason = reason.to_owned();
            Ruling::from(RequestVerdict::Refuse { status, reason }).with_note("plan basic")
        });
        let response = hosted.ask(get("http://a.example/"));
        assert_eq!(response.status(), expected);
        let proxy_status = response.head.get("proxy-status").expect("Proxy-Status");
        assert!(proxy_status.contains(word), "{:?}", response.head);
        let line = hosted.line();
        let escaped = word.replace(' ', "\\x20");
        assert!(line.contains(&format!(" reason={escaped}")), "{line}");
        assert!(line.contains(" refused ") && line.ends_with(" note=plan\\x20basic"), "{line}");
    }
}

#[test]
fn a_callback_sees_the_request() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let shown = Arc::clone(&seen);
    let users = Configuration::new().text("auth-file users\nblock b.example\n").file("users", "ann:secret\n");
    let mut hosted = Hosted::new(users, |builder| {
        builder.on_request(move |request| {
            let field = request.field("x-plan").map(|value| String::from_utf8_lossy(value).into_owned());
            let path = String::from_utf8_lossy(request.path).into_owned();
            shown.lock().expect("requests").push(format!(
                "{} {} {} {} {} {path} {} {field:?} {} {}",
                request.client,
                request.user,
                request.method,
                request.host,
                request.port,
                request.target,
                request.fields().count(),
                request.is_refresh
            ));
            RequestVerdict::Refuse { status: 403, reason: String::new() }.into()
        })
    });
    let credentials = "Proxy-Authorization: Basic YW5uOnNlY3JldA==\r\nX-Plan: basic\r\n\r\n";
    let of_ann = |request: &str| request.replacen("\r\n\r\n", &format!("\r\n{credentials}"), 1);
    hosted.ask(of_ann(&get("http://A.example:81/b?c")));
    hosted.ask(of_ann("CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n"));
    // What users or rules refuse is not asked about.
    assert_eq!(hosted.ask(get("http://a.example/")).status(), 407);
    assert_eq!(hosted.ask(of_ann(&get("http://b.example/"))).status(), 403);
    let expected = [
        "127.0.0.1 ann GET a.example 81 /b?c http://A.example:81/b?c Some(\"basic\") 3 false",
        "127.0.0.1 ann CONNECT [2001:db8::1] 443  [2001:db8::1]:443 Some(\"basic\") 3 false",
    ];
    assert_eq!(*seen.lock().expect("requests"), expected);
}

#[test]
fn an_answer_needs_no_origin() {
    let mut hosted = Hosted::deciding(|request| match request.path {
        b"/go" => answer(302, &[("Location", "http://long.example/"), ("Content-Type", "text/plain")], "go"),
        b"/none" => answer(204, &[], "not sent"),
        b"/reset" => answer(205, &[], "not sent"),
        _ => answer(200, &[], "ok"),
    });
    let response = hosted.ask(get("http://s.example/go"));
    assert_eq!((response.status(), response.text()), (302, "go".to_owned()));
    assert_eq!(response.head.get("location").expect("Location"), "http://long.example/");
    assert!(response.head.get("date").is_some(), "{:?}", response.head);
    let line = hosted.line();
    assert!(
        line.contains(" allowed 302 GET http://s.example/go ") && line.contains(" upstream=- "),
        "{line}"
    );
    let response = hosted.ask(get("http://s.example/none"));
    assert_eq!((response.status(), response.head.get("content-length").is_some()), (204, false));
    let response = hosted.ask(get("http://s.example/reset"));
    assert_eq!((response.status(), response.head.get("content-length")), (205, Some("0")));
    // One connection for several: the bodies of the requests are in their places.
    let at = hosted.address();
    let post = "POST http://s.example/ HTTP/1.1\r\nHost: s.example\r\nContent-Length: 5\r\n\r\nhello";
    let client = thread::spawn(move || {
        let mut client = Raw::connect(at);
        [client.ask(post), client.ask(get("http://s.example/go"))].map(|response| response.status())
    });
    assert_eq!(hosted.serve(client), [200, 302]);
    let head = get("http://s.example/go").replacen("GET", "HEAD", 1) + &get("http://s.example/go");
    let client = thread::spawn(move || {
        let mut client = Raw::connect(at);
        client.send(head);
        let head = client.try_read_response("HEAD").expect("a head");
        (head, client.try_read_response("GET").expect("a response"))
    });
    let (head, response) = hosted.serve(client);
    assert_eq!(head.head.get("content-length").expect("Content-Length"), "2");
    assert!(head.text().is_empty() && response.text() == "go");
}

#[test]
fn a_wrong_answer_is_refused() {
    for (fields, status, bytes) in [
        (vec![("Content-Length", "7")], 200, 1),
        (vec![("transfer-encoding", "chunked")], 200, 1),
        (vec![("Connection", "x")], 200, 1),
        (vec![("A b", "x")], 200, 1),
        (vec![("", "x")], 200, 1),
        (vec![("A", "x\r\nB: y")], 200, 1),
        (vec![], 101, 0),
        (vec![], 600, 0),
        (vec![("A", "x")], 200, ANSWER_BYTES_MAX),
    ] {
        let shown = format!("{fields:?} {status} {bytes}");
        let mut hosted = Hosted::deciding(move |_| answer(status, &fields, &"x".repeat(bytes)));
        assert_eq!(hosted.ask(get("http://a.example/")).status(), 500, "{shown}");
        assert!(hosted.line().contains(" reason=callback_answer "), "{shown}");
    }
    let mut hosted = Hosted::deciding(|_| answer(200, &[], &"x".repeat(ANSWER_BYTES_MAX)));
    assert_eq!(hosted.ask(get("http://a.example/")).body.bytes.len(), ANSWER_BYTES_MAX);
    let connect = "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n";
    assert_eq!(hosted.ask(connect).status(), 500, "200 would promise a tunnel");
}

/// The request stays the same; each address has connections of its own.
#[test]
fn an_address_to_dial_changes_nothing_else() {
    let origins = [Origin::answering(body("one")), Origin::answering(body("two"))];
    let addresses = origins.each_ref().map(|origin| SocketAddr::from(([127, 0, 0, 1], origin.port())));
    let mut hosted = Hosted::deciding(move |request| match request.path {
        b"/1" => RequestVerdict::Dial(addresses[0]).into(),
        b"/2" => RequestVerdict::Dial(addresses[1]).into(),
        _ => RequestVerdict::Dial(([127, 0, 0, 2], addresses[0].port()).into()).into(),
    });
    for (path, expected) in [("1", "one"), ("2", "two"), ("1", "one"), ("2", "two")] {
        let response = hosted.ask(get(&format!("http://a.example/{path}")));
        assert_eq!((response.status(), response.text()), (200, expected.to_owned()), "{path}");
    }
    let line = hosted.line();
    assert!(line.contains(" http://a.example/2 ") && line.contains(" reused=origin "), "{line}");
    for origin in &origins {
        assert_eq!((origin.connections(), origin.heads().len()), (1, 2));
        assert_eq!(origin.heads()[0].get("host").expect("Host"), "a.example");
    }
    // The rules hold for the address: loopback is closed but for 127.0.0.1.
    assert_eq!(hosted.ask(get("http://a.example/3")).status(), 403);
}

fn body(text: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())
}

#[test]
fn names_lead_where_the_callback_says() {
    let origin = Origin::ok();
    let mut hosted = Hosted::new(Configuration::new().text("allow 127.0.0.1\n"), |builder| {
        builder.on_name(|name| match name {
            "here.example" => NameVerdict::Addresses(vec![IpAddr::from([127, 0, 0, 1])]),
            "closed.example" => NameVerdict::Addresses(vec![IpAddr::from([127, 0, 0, 2])]),
            "empty.example" => NameVerdict::Addresses(Vec::new()),
            _ => NameVerdict::NotFound,
        })
    });
    for (name, status, reason) in [
        ("here.example", 200, "configuration:1"),
        ("HERE.example", 200, "configuration:1"),
        ("closed.example", 403, "built-in"),
        ("empty.example", 502, "dns_error:no_address"),
        ("none.example", 502, "dns_error:not_found"),
    ] {
        let response = hosted.ask(get(&format!("http://{name}:{}/", origin.port())));
        assert_eq!(response.status(), status, "{name}");
        let line = hosted.line();
        assert!(line.contains(&format!(" reason={reason}")), "{line}");
    }
}

/// A program with a resolver of its own answers later, once for all requests that wait.
#[test]
fn names_are_found_later() {
    let origin = Origin::ok();
    let hosts = format!("{}.example", "h".repeat(60));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let names = Arc::clone(&asked);
    let mut hosted = Hosted::new(Configuration::new().text("allow 127.0.0.1\n"), move |builder| {
        builder.on_name(move |name| {
            names.lock().expect("names").push(name.to_owned());
            NameVerdict::Later
        })
    });
    let here = || NameVerdict::Addresses(vec![IpAddr::from([127, 0, 0, 1])]);
    for (name, verdict, status, reason) in [
        ("here.example", here(), 200, "configuration:1"),
        ("Here.example.", here(), 200, "configuration:1"),
        ("closed.example", NameVerdict::Addresses(vec![IpAddr::from([127, 0, 0, 2])]), 403, "built-in"),
        ("empty.example", NameVerdict::Addresses(Vec::new()), 502, "dns_error:no_address"),
        ("none.example", NameVerdict::NotFound, 502, "dns_error:not_found"),
        // What weir's own resolver knows without a server.
        ("localhost", NameVerdict::Ask, 200, "configuration:1"),
        ("name.invalid", NameVerdict::Ask, 502, "dns_error:not_found"),
        (&hosts, NameVerdict::NotFound, 502, "dns_error:not_found"),
    ] {
        asked.lock().expect("names").clear();
        let (at, port) = (hosted.address(), origin.port());
        let clients: Vec<_> = (0..3)
            .map(|_| {
                let request = get(&format!("http://{name}:{port}/"));
                thread::spawn(move || Raw::connect(at).ask(request).status())
            })
            .collect();
        let plain = name.trim_end_matches('.').to_lowercase();
        hosted.poll_until(|| asked.lock().expect("names").len() == 3);
        assert_eq!(*asked.lock().expect("names"), [plain.as_str(); 3]);
        let control = hosted.proxy.control().clone();
        control.name_found("other.example", NameVerdict::NotFound);
        control.name_found(&plain, NameVerdict::Later);
        control.name_found(&plain, verdict);
        for client in clients {
            assert_eq!(hosted.serve(client), status, "{name}");
        }
        let line = hosted.line();
        assert!(line.contains(&format!(" reason={reason}")), "{line}");
        // Too late for anything.
        control.name_found(&plain, NameVerdict::NotFound);
    }
}

/// Requests wait in both loops, and one word ends the wait in both.
#[test]
fn names_are_found_later_in_all_loops() {
    let origin = Origin::ok();
    let asked = Arc::new(Mutex::new(0));
    let names = Arc::clone(&asked);
    let mut hosted = Hosted::new(Configuration::new().text("workers 2\nallow 127.0.0.1\n"), move |builder| {
        builder.on_name(move |_| {
            *names.lock().expect("a number") += 1;
            NameVerdict::Later
        })
    });
    let (at, port) = (hosted.address(), origin.port());
    let ask = move || Raw::connect(at).ask(get(&format!("http://here.example:{port}/"))).status();
    let clients: Vec<_> = (0..16).map(|_| thread::spawn(ask)).collect();
    hosted.poll_until(|| *asked.lock().expect("a number") == 16);
    let here = NameVerdict::Addresses(vec![IpAddr::from([127, 0, 0, 1])]);
    hosted.proxy.control().name_found("here.example", here);
    for client in clients {
        assert_eq!(hosted.serve(client), 200);
    }
}

/// The host's clock decides how much time passes: a name that the host does not find has half a minute.
#[test]
fn a_clock_of_the_host_decides_on_deadlines() {
    let time =
        Arc::new(Mutex::new(Time { monotonic: Duration::from_secs(7), unix: Duration::from_secs(86_400) }));
    let (read, asked) = (Arc::clone(&time), Arc::new(Mutex::new(0)));
    let names = Arc::clone(&asked);
    let mut hosted = Hosted::new(Configuration::new(), move |builder| {
        builder.clock(move || *read.lock().expect("a time")).on_name(move |_| {
            *names.lock().expect("a number") += 1;
            NameVerdict::Later
        })
    });
    let at = hosted.address();
    let client = thread::spawn(move || Raw::connect(at).ask(get("http://late.example/")).status());
    hosted.poll_until(|| *asked.lock().expect("a number") == 1);
    let pass = |duration: Duration| {
        let mut time = time.lock().expect("a time");
        (time.monotonic, time.unix) = (time.monotonic + duration, time.unix + duration);
    };
    pass(Duration::from_secs(29));
    for _ in 0..10 {
        hosted.proxy.poll(Some(Duration::ZERO)).expect("a turn");
    }
    assert!(!client.is_finished());
    assert!(hosted.proxy.next_timeout().is_some_and(|next| next <= Duration::from_secs(1)));
    pass(Duration::from_secs(2));
    assert_eq!(hosted.serve(client), 504);
    let line = hosted.line();
    assert!(line.starts_with("1970-01-02T00:00:00.000Z "), "{line}");
    assert!(line.contains(" ms=31000.000 ") && line.contains(" reason=dns_timeout "), "{line}");
}

#[test]
fn a_connection_is_refused_before_its_request() {
    for (status, reason, expected, word) in
        [(429, "plan used up", 429, "plan\\x20used\\x20up"), (200, "", 403, "callback")]
    {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let clients = Arc::clone(&asked);
        let mut hosted = Hosted::new(Configuration::new(), |builder| {
            builder.on_connection(move |client| {
                clients.lock().expect("clients").push(client.ip().to_string());
                ConnectionVerdict::Refuse { status, reason: reason.to_owned() }
            })
        });
        let response = hosted.ask("");
        assert_eq!(response.status(), expected);
        assert!(response.text().contains(reason), "{}", response.text());
        let line = hosted.line();
        assert!(line.contains(&format!(" refused {expected} ")), "{line}");
        assert!(line.contains(&format!(" reason={word} ")), "{line}");
        assert_eq!(*asked.lock().expect("clients"), ["127.0.0.1"]);
    }
}

/// Behind a trusted proxy it is about the client that the PROXY header names.
#[test]
#[cfg_attr(not(feature = "guard"), ignore = "needs the feature guard")]
fn a_connection_is_that_of_the_client() {
    let guarded = Configuration::new()
        .text("guard guard.conf\nproxy-protocol yes\n")
        .file("guard.conf", "trust 127.0.0.1\n");
    let mut hosted = Hosted::new(guarded, |builder| {
        let builder = builder.on_request(|_| answer(200, &[], "ok"));
        builder.on_connection(|client| match client.ip().to_string().as_str() {
            "192.0.2.1" => ConnectionVerdict::Allow,
            _ => ConnectionVerdict::Refuse { status: 451, reason: String::new() },
        })
    });
    for (client, status) in [("192.0.2.1", 200), ("192.0.2.2", 451)] {
        let header = format!("PROXY TCP4 {client} 192.0.2.9 5 6\r\n");
        assert_eq!(hosted.ask(header + &get("http://a.example/")).status(), status, "{client}");
    }
}

/// The loop goes on, and so do other requests.
#[test]
fn a_panic_stays_in_the_callback() {
    let mut hosted = Hosted::deciding(|request| match request.path {
        b"/panic" => panic!("as the test wants"),
        _ => answer(200, &[], "ok"),
    });
    for _ in 0..2 {
        assert_eq!(hosted.ask(get("http://a.example/panic")).status(), 500);
        assert!(hosted.line().contains(" reason=callback_panicked "));
        assert_eq!(hosted.ask(get("http://a.example/")).status(), 200);
    }
    let mut hosted =
        Hosted::new(Configuration::new(), |builder| builder.on_connection(|_| panic!("as the test wants")));
    assert_eq!(hosted.ask("").status(), 500);
    assert!(hosted.line().contains(" reason=callback_panicked "));
}

/// A clock may use the proxy, which reads the time.
#[test]
#[cfg_attr(not(feature = "guard"), ignore = "needs the feature guard")]
fn a_clock_may_use_the_proxy() {
    let control = Arc::new(Mutex::new(None::<weir::Control>));
    let used = Arc::clone(&control);
    let clock = move || {
        // Held meanwhile: the time that the ban asks for needs no ban.
        if let Some(control) = used.try_lock().ok().as_deref().and_then(Option::as_ref) {
            control.ban("192.0.2.1", None, "").expect("a ban");
        }
        Time { monotonic: Duration::from_secs(1), unix: Duration::from_secs(1_700_000_000) }
    };
    let configuration = Configuration::new().text("host 127.0.0.1\nport 0\nguard guard\n").file("guard", "");
    let mut proxy = Proxy::builder().configuration(configuration).clock(clock).build().expect("a proxy");
    *control.lock().expect("a control") = Some(proxy.control().clone());
    let turn = thread::spawn(move || proxy.poll(Some(Duration::ZERO)).expect("a turn"));
    common::eventually("a turn", || turn.is_finished().then_some(()));
    control.lock().expect("a control").take();
}

/// What a panic carries may panic when it is dropped.
#[test]
fn a_payload_that_panics_stays_in_the_callback() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("as the test wants");
        }
    }
    let mut hosted = Hosted::deciding(|_| std::panic::panic_any(Bomb));
    assert_eq!(hosted.ask(get("http://a.example/")).status(), 500);
    assert!(hosted.line().contains(" reason=callback_panicked "));
}

/// A clock that panics stands still, and so does one that goes back.
#[test]
fn a_clock_that_fails_stands_still() {
    let calls = AtomicU64::new(0);
    let clock = move || {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        assert!(call % 2 == 0, "no clock");
        Time {
            monotonic: Duration::from_secs(1000 - call.min(999)),
            unix: Duration::from_secs(1_700_000_000),
        }
    };
    let mut hosted = Hosted::new(Configuration::new(), |builder| {
        builder.clock(clock).on_request(|_| answer(200, &[], "ok"))
    });
    for _ in 0..3 {
        assert_eq!(hosted.ask(get("http://a.example/")).status(), 200);
    }
}
