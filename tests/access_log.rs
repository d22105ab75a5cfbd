//! The access log: what its lines say of the waits of an exchange, of tunnels, and in the words of others.

mod common;
mod shell;

use common::{Answer, FakeDns, Origin, Raw, Scratch, Weir};
use shell::Shell;
use weir::engine::transaction::log_record::{Kind, LogRecord, Waits};
use weir::engine::{Event, Settings, SocketError};

const GET: &str = "GET http://name.example/ HTTP/1.1\r\nHost: name.example\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn waits(
    dns_us: impl Into<Option<u64>>,
    connect_us: impl Into<Option<u64>>,
    ttfb_us: impl Into<Option<u64>>,
) -> Waits {
    Waits { dns_us: dns_us.into(), connect_us: connect_us.into(), ttfb_us: ttfb_us.into() }
}

#[track_caller]
fn expect(record: &LogRecord, waits: Waits, duration_us: u64) {
    assert_eq!((record.waits, record.duration_us), (waits, duration_us));
}

impl Shell {
    /// So many microseconds pass, and nothing else happens.
    fn wait(&mut self, us: u64) {
        self.now.monotonic_us += us;
        self.now.unix_us += us;
    }
}

/// Each wait is as long as it was, to the microsecond, and is told apart from those before and behind it.
#[test]
fn kind_25_phases_follow_one_another() {
    let mut shell = Shell::new();
    let client = shell.client();
    // Receiving the request itself is no wait.
    shell.receive(client, &GET[..20]);
    shell.wait(7);
    shell.receive(client, &GET[20..]);
    shell.wait(1_001);
    shell.resolve([192, 0, 2, 1]);
    shell.wait(20_002);
    let (origin, _) = shell.establish(0);
    shell.wait(300_003);
    shell.receive(origin, &OK[..1]);
    // The rest of head and body is neither.
    shell.wait(50);
    shell.receive(origin, &OK[1..]);
    shell.wait(60);
    shell.send(client);
    expect(&shell.log[0], waits(1_001, 20_002, 300_003), 7 + 1_001 + 20_002 + 300_003 + 50 + 60);
    // The connection is there, so there is no dial; that its address is still the name's is known (rule 45).
    shell.receive(client, GET);
    shell.send(origin);
    shell.wait(40);
    shell.receive(origin, OK);
    shell.send(client);
    expect(&shell.log[1], waits(0, None, 40), 40);
    assert!(shell.log[1].origin_reused);
    // The name is known, the connection is not.
    let other = shell.client_with(GET.replace("name.example", "name.example:81"));
    shell.wait(9);
    let (origin, _) = shell.establish(1);
    shell.receive(origin, OK);
    shell.send(other);
    expect(&shell.log[2], waits(0, 9, 0), 9);
}

/// Interim responses are not what is waited for; the final one may begin in the same read.
#[test]
fn kind_25_the_first_byte_is_that_of_the_final_head() {
    for together in [false, true] {
        let mut shell = Shell::new();
        let client = shell.client_with("GET http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n");
        let (origin, _) = shell.establish(0);
        shell.wait(100);
        shell.receive(origin, "HTTP/1.1 103 Early Hints\r\n\r\n");
        shell.wait(200);
        if together {
            shell.receive(origin, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 2");
            shell.wait(1_000);
            shell.receive(origin, "00 OK\r\nContent-Length: 0\r\n\r\n");
        } else {
            shell.receive(origin, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
        shell.send(client);
        expect(shell.record(), waits(None, 0, 300), if together { 1_300 } else { 300 });
    }
}

/// A wait that fails took its time, too, and has none behind it.
#[test]
fn kind_25_failures_have_the_phase_that_failed() {
    // No name server answers.
    let mut shell = Shell::new();
    let client = shell.client_with(GET);
    shell.pass(60_000);
    shell.send(client);
    let record = shell.record();
    let waited = record.waits.dns_us.expect("a look-up");
    assert!(waited > 0 && waited <= record.duration_us, "{:?}", record.waits);
    assert_eq!((record.waits.connect_us, record.waits.ttfb_us, record.status), (None, None, 504));
    // No process listens there.
    let mut shell = Shell::new();
    let client = shell.client_with(GET);
    shell.wait(5);
    shell.resolve([192, 0, 2, 1]);
    shell.wait(11);
    let dialled = shell.connects[0].0;
    shell.event(dialled, Event::Failed(SocketError::Refused));
    shell.wait(13);
    shell.send(client);
    expect(shell.record(), waits(5, 11, None), 29);
    // The origin says nothing; the client gives up while it is dialled, or while its answer is awaited.
    let mut shell = Shell::new();
    let client = shell.client_with(GET);
    shell.resolve([192, 0, 2, 1]);
    shell.wait(3);
    shell.event(client, Event::Failed(SocketError::Reset));
    expect(shell.record(), waits(0, 3, None), 3);
    let mut shell = Shell::new();
    let client = shell.client_with(GET);
    shell.resolve([192, 0, 2, 1]);
    shell.establish(0);
    shell.wait(4);
    shell.event(client, Event::Failed(SocketError::Reset));
    expect(shell.record(), waits(0, 0, None), 4);
    // No name server and no origin was asked.
    let mut shell = Shell::new();
    let client = shell.client_with("GET http://10.0.0.1:25/ HTTP/1.1\r\nHost: 10.0.0.1:25\r\n\r\n");
    shell.wait(2);
    shell.send(client);
    expect(shell.record(), waits(None, None, None), 2);
}

/// Of several addresses the race is one wait. A connection that had died counts nowhere.
#[test]
fn kind_25_a_race_is_one_phase() {
    let mut shell = Shell::with_hosts("192.0.2.1 two.example\n192.0.2.2 two.example\n");
    let client = shell.client_with("GET http://two.example/ HTTP/1.1\r\nHost: two.example\r\n\r\n");
    shell.pass(1000);
    shell.wait(17);
    assert_eq!(shell.connects.len(), 2);
    let (origin, _) = shell.establish(1);
    shell.receive(origin, OK);
    shell.send(client);
    expect(shell.record(), waits(0, 1_000_017, 0), 1_000_017);
    // The connection is used again, and dead: the waits are those of the next one.
    shell.receive(client, "GET http://two.example/ HTTP/1.1\r\nHost: two.example\r\n\r\n");
    shell.send(origin);
    shell.wait(8);
    shell.event(origin, Event::EndOfStream);
    shell.wait(16);
    let (origin, _) = shell.establish(2);
    shell.wait(32);
    shell.receive(origin, OK);
    shell.send(client);
    expect(&shell.log[1], waits(0, 16, 32), 56);
}

/// A tunnel has the waits of its set-up when it ends, and at its start if that is asked for. The start counts nowhere.
#[test]
fn kind_25_tunnels_are_told_at_their_start_too() {
    for logs_tunnel_starts in [false, true] {
        let mut shell = Shell::with(Settings { logs_tunnel_starts, ..Settings::default() }, None, "");
        let connect = "CONNECT name.example:443 HTTP/1.1\r\nHost: name.example:443\r\n\r\n";
        let client = shell.client_with(connect);
        shell.wait(1_000);
        shell.resolve([192, 0, 2, 1]);
        shell.wait(2_000);
        shell.establish(0);
        let answer = shell.send(client);
        shell.wait(4_000_000);
        if logs_tunnel_starts {
            let start = shell.record();
            assert_eq!((start.kind, start.status, start.sent_bytes), (Kind::TunnelStart, 200, 0));
            assert_eq!(start.client_bytes, connect.len() as u64);
            expect(start, waits(1_000, 2_000, 0), 3_000);
            shell.log.clear();
        }
        let before = shell.engine.metrics();
        assert_eq!((before.requests, before.allowed, before.statuses.iter().sum::<u64>()), (1, 0, 0));
        shell.event(client, Event::Failed(SocketError::Reset));
        let end = shell.record();
        assert_eq!((end.kind, end.status, end.sent_bytes), (Kind::Tunnel, 200, answer.len() as u64));
        assert!(end.aborted);
        expect(end, waits(1_000, 2_000, 0), 4_003_000);
        let after = shell.engine.metrics();
        assert_eq!((after.requests, after.allowed, after.statuses[2]), (1, 1, 1));
    }
}

/// The value of a field of the format weir.
#[track_caller]
fn field<'l>(line: &'l str, key: &str) -> &'l str {
    let value = line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("no {key} in {line}"))
}

fn milliseconds(text: &str) -> Option<f64> {
    let (_, decimals) = text.split_once('.')?;
    (decimals.len() == 3).then(|| text.parse().ok())?
}

/// The shape of a field, as one character: n a number, t a time in milliseconds, a an address with a port, - nothing,
/// w another word.
fn shape(value: &str) -> char {
    match value {
        "-" => '-',
        _ if value.parse::<u64>().is_ok() => 'n',
        _ if milliseconds(value).is_some() => 't',
        _ if value.parse::<std::net::SocketAddr>().is_ok() => 'a',
        _ => 'w',
    }
}

/// The names of the fields in order, with their shapes; a word without a name is shown as it is, except the time.
fn shapes(line: &str) -> Vec<String> {
    let words = line.split(' ').enumerate();
    let shown = words.map(|(at, word)| match word.split_once('=') {
        Some((key, value)) => format!("{key}={}", shape(value)),
        None if at == 0 => word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect(),
        None => word.to_owned(),
    });
    shown.collect()
}

/// The sample line of the README is what weir writes for that request.
#[test]
fn kind_25_the_sample_line_of_the_readme_is_a_real_one() {
    let documents =
        ["README.md", "docs"].map(|name| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name));
    let mut files = vec![documents[0].clone()];
    files.extend(std::fs::read_dir(&documents[1]).into_iter().flatten().flatten().map(|entry| entry.path()));
    let texts: Vec<String> = files.iter().filter_map(|file| std::fs::read_to_string(file).ok()).collect();
    let samples: Vec<&str> = texts
        .iter()
        .flat_map(|text| text.lines())
        .map(str::trim)
        .filter(|line| line.contains("Z exchange allowed "))
        .collect();
    assert!(!samples.is_empty(), "no sample line in the documents");

    let origin =
        Origin::answering("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhello");
    let dns = FakeDns::start(&[("example.com", Answer::addresses(&["127.0.0.1"]))]);
    let scratch = Scratch::new();
    let users = scratch.file("users", "alice:secret\n");
    let weir = Weir::start(&["--auth-file", &users, "--dns", &dns.address()]);
    let port = origin.port();
    // alice:secret
    let credentials = "Proxy-Authorization: Basic YWxpY2U6c2VjcmV0\r\n";
    let answer = weir.connect().ask(format!(
        "GET http://example.com:{port}/ HTTP/1.1\r\nHost: example.com:{port}\r\n{credentials}\r\n"
    ));
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let line = weir.wait_for_log(|line| line.contains("example.com"));
    // Only the origin of the test, on loopback, needs a rule that allows its address.
    let line = line.replace("reason=--allow:1", "reason=-");
    let real = shapes(&line.replace(&format!("example.com:{port}/"), "example.com/"));
    for sample in samples {
        assert_eq!(shapes(sample), real, "{sample}\n{line}");
        let times =
            ["dns_ms", "connect_ms", "ttfb_ms"].map(|key| milliseconds(field(sample, key)).expect("a time"));
        let all = milliseconds(field(sample, "ms")).expect("a time");
        assert!(times.iter().sum::<f64>() <= all, "{sample}");
    }
}

#[track_caller]
fn expect_phases(line: &str, expected: &str) {
    let fields = ["dns_ms", "connect_ms", "ttfb_ms"].map(|key| field(line, key));
    assert_eq!(fields.map(shape).iter().collect::<String>(), expected, "{line}");
    let sum: f64 = fields.into_iter().filter_map(milliseconds).sum();
    assert!(sum <= milliseconds(field(line, "ms")).expect("a time") + 0.000_5, "{line}");
}

/// The daemon's lines have the waits that there were.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn kind_25_the_daemon_logs_phases() {
    let origin =
        Origin::answering("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok");
    let dns = FakeDns::start(&[("a.test", Answer::addresses(&["127.0.0.1"]))]);
    let weir = Weir::start(&["--cache", "--dns", &dns.address()]);
    let port = origin.port();
    let mut client = weir.connect();
    let mut ask = |target: &str, path: &str| {
        client.ask(format!("GET http://{target}{path} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
        weir.wait_for_log(|line| line.contains(&format!("{target}{path} ")))
    };
    expect_phases(&ask(&format!("a.test:{port}"), "/fresh"), "ttt");
    expect_phases(&ask(&format!("a.test:{port}"), "/reused"), "t-t");
    expect_phases(&ask(&format!("127.0.0.1:{port}"), "/address"), "-tt");
    expect_phases(&ask("none.test", "/"), "t--");
    expect_phases(&ask(&format!("127.0.0.1:{}", common::origin::refusing_port()), "/"), "-t-");
    expect_phases(&ask("127.0.0.1:25", "/"), "---");
    // A cache hit asks no origin.
    let hit = {
        client.ask(format!("GET http://a.test:{port}/fresh HTTP/1.1\r\nHost: a.test:{port}\r\n\r\n"));
        weir.wait_for_log(|line| line.contains("cache=hit"))
    };
    expect_phases(&hit, "--t");
    let mut tunnel = weir.connect();
    tunnel.send(format!("CONNECT a.test:{port} HTTP/1.1\r\nHost: a.test:{port}\r\n\r\n"));
    tunnel.read_head();
    drop(tunnel);
    expect_phases(&weir.wait_for_log(|line| line.contains(" tunnel ")), "ttt");
}

/// A line for the start of a tunnel is written when it is asked for, in every format, before that of its end.
#[test]
fn kind_25_the_daemon_logs_starts_of_tunnels() {
    let origin = Origin::serve(|conn| conn.read_to_end().map(drop));
    for (format, start, end) in [
        ("weir", "Z tunnel-start allowed 200 CONNECT {o} ", "Z tunnel allowed 200 CONNECT {o} "),
        ("json", "\"kind\":\"tunnel-start\"", "\"kind\":\"tunnel\","),
        ("squid", " TCP_TUNNEL_START/200 0 CONNECT {o} - HIER_DIRECT/127.0.0.1 -", " TCP_TUNNEL/200 "),
        ("combined", "\"CONNECT {o} HTTP/1.1\" 200 - ", "\"CONNECT {o} HTTP/1.1\" 200 "),
    ] {
        let [start, end] = [start, end].map(|part| part.replace("{o}", &origin.address().to_string()));
        let weir = Weir::start(&["--log-tunnel-start", "--log-format", format]);
        let mut client = weir.connect();
        client.send(origin.fill("CONNECT {o} HTTP/1.1\r\nHost: {o}\r\n\r\n"));
        client.read_head();
        // It is there while the tunnel stands.
        let begun = weir.wait_for_log(|line| line.contains(&start));
        assert_eq!(weir.log_lines(), [begun.as_str()]);
        drop(client);
        weir.wait_for_log(|line| line != begun && line.contains(&end));
        assert_eq!(weir.log_lines().len(), 2);
        let statistics = weir.wait_until_idle();
        assert_eq!((statistics.get("requests"), statistics.get("allowed")), (1, 1));
    }
    // Unasked there is none.
    let weir = Weir::start(&[]);
    let mut client = weir.connect();
    client.send(origin.fill("CONNECT {o} HTTP/1.1\r\nHost: {o}\r\n\r\n"));
    client.read_head();
    drop(client);
    weir.wait_for_log(|line| line.contains("Z tunnel allowed"));
    assert_eq!(weir.log_lines().len(), 1);
}

/// A tunnel keeps the setting with which it began; a reload changes the setting, and the format, for the next tunnel.
#[test]
fn kind_25_a_reload_asks_for_starts_of_tunnels() {
    let origin = Origin::serve(|conn| conn.read_to_end().map(drop).or(Ok(())));
    let scratch = Scratch::new();
    let config = scratch.file("weir.conf", "log-tunnel-start no\n");
    let weir = Weir::start(&["-c", &config, "--workers", "2"]);
    let tunnel = || {
        let mut client = weir.connect();
        client.send(origin.fill("CONNECT {o} HTTP/1.1\r\nHost: {o}\r\n\r\n"));
        client.read_head();
    };
    tunnel();
    weir.wait_for_log(|line| line.contains("Z tunnel allowed"));
    assert_eq!(weir.log_lines().len(), 1);
    scratch.file("weir.conf", "log-tunnel-start yes\nlog-format json\n");
    weir.signal(rustix::process::Signal::HUP);
    weir.wait_for_error(|line| line.contains("reloaded: "));
    tunnel();
    weir.wait_for_logs(2, |line| line.starts_with("{\"time\"") && !line.contains("\"connect_ms\":null"));
    let kinds: Vec<bool> =
        weir.log_lines()[1..].iter().map(|line| line.contains("\"kind\":\"tunnel-start\"")).collect();
    assert_eq!(kinds, [true, false]);
}

/// An upgraded connection is a tunnel like any other: with its start, and with the waits up to the 101.
#[test]
fn kind_25_upgrades_are_tunnels() {
    let origin = Origin::serve(|conn| {
        conn.head()?;
        conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")?;
        conn.read_to_end().map(drop).or(Ok(()))
    });
    let weir = Weir::start(&["--log-tunnel-start"]);
    let mut client = weir.connect();
    client.send(
        origin
            .fill("GET http://{o}/up HTTP/1.1\r\nHost: {o}\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"),
    );
    assert_eq!(client.read_head().status(), 101);
    let start = weir.wait_for_log(|line| line.contains("Z tunnel-start allowed 101 GET http"));
    client.half_close();
    client.read_to_end();
    let end = weir.wait_for_log(|line| line.contains("Z tunnel allowed 101 GET http"));
    for line in [&start, &end] {
        expect_phases(line, "-tt");
        let waits = |line: &str| ["connect_ms", "ttfb_ms"].map(|key| field(line, key).to_owned());
        assert_eq!(waits(line), waits(&start));
    }
    assert_eq!(weir.log_lines().len(), 2);
}

/// Words of one line of Squid's format: code with status, bytes, method, target, user, peer, type.
fn squid_words(line: &str) -> Vec<String> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    assert_eq!(words.len(), 10, "{line}");
    let time_and_client =
        words[0].parse::<f64>().is_ok() && words[1].parse::<u64>().is_ok() && words[2] == "127.0.0.1";
    assert!(time_and_client, "{line}");
    words[3..].to_vec()
}

/// Squid's format has the media type of the response, from an origin or from weir, and no byte in it can look like
/// another field.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn kind_25_squid_has_the_media_type() {
    let origin = Origin::serve(|conn| {
        while let Some(request) = conn.request()? {
            let fields = match request.head.target() {
                "/plain" => "Content-Type: text/plain; charset=utf-8\r\n",
                "/bare" => "Content-Type: image/png\r\n",
                "/none" => "",
                "/empty" => "Content-Type: \r\n",
                "/evil" => "Content-Type: te\"xt\\/\u{202e}h HTTP TCP_HIT/200\r\n",
                _ => "Cache-Control: max-age=60\r\nContent-Type: text/html;a=b\r\n",
            };
            conn.send(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok"))?;
        }
        Ok(())
    });
    let weir = Weir::start(&["--log-format", "squid", "--cache", "--block", "blocked.test"]);
    let mut client = weir.connect();
    for (path, code, media_type) in [
        ("/plain", "TCP_MISS/200", "text/plain"),
        ("/bare", "TCP_MISS/200", "image/png"),
        ("/none", "TCP_MISS/200", "-"),
        ("/empty", "TCP_MISS/200", "-"),
        ("/evil", "TCP_MISS/200", "te\\\"xt\\\\/\\xe2\\x80\\xaeh"),
        ("/stored", "TCP_MISS/200", "text/html"),
    ] {
        client.ask(origin.get(path));
        let words = squid_words(&weir.wait_for_log(|line| line.contains(&origin.url(path))));
        let peer = "HIER_DIRECT/127.0.0.1";
        assert_eq!([&words[0], &words[5], &words[6]], [code, peer, media_type], "{words:?}");
    }
    client.ask(origin.get("/stored"));
    let words = squid_words(&weir.wait_for_log(|line| line.contains("TCP_MEM_HIT/200")));
    assert_eq!([&words[5], &words[6]], ["HIER_NONE/-", "text/html"], "{words:?}");
    // weir's own answers.
    for (fields, media_type) in [("Accept: text/html\r\n", "text/html"), ("", "text/plain")] {
        let host = format!("{}.blocked.test", media_type.replace('/', "-"));
        let weir = Weir::start(&["--log-format", "squid", "--block", ".blocked.test"]);
        weir.connect().ask(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"));
        let words = squid_words(&weir.wait_for_log(|line| line.contains(&host)));
        assert_eq!(
            [&words[0], &words[5], &words[6]],
            ["TCP_DENIED/403", "HIER_NONE/-", media_type],
            "{words:?}"
        );
    }
    let answer = client.ask("OPTIONS * HTTP/1.1\r\nHost: x.test\r\n\r\n");
    assert_eq!(answer.status(), 200);
    let words = squid_words(&weir.wait_for_log(|line| line.contains(" OPTIONS ")));
    assert_eq!([&words[0], &words[6]], ["TCP_MISS/200", "-"], "{words:?}");
}

/// The code of the only line, after a client's connection was used in some way.
#[track_caller]
fn squid_code_after(options: &[&str], use_it: impl FnOnce(Raw)) -> String {
    let weir = Weir::start(&[&["--log-format", "squid"], options].concat());
    use_it(weir.connect());
    squid_words(&weir.wait_for_log(|_| true))[0].clone()
}

/// Squid's code ends in _ABORTED where the client left before the end of the answer, or that broke off; not otherwise.
#[test]
fn kind_25_squid_tells_what_was_aborted() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
    let stuck = |answer: &'static str| {
        Origin::serve(move |conn| {
            conn.head()?;
            conn.send(answer)?;
            conn.read_to_end().map(drop).or(Ok(()))
        })
    };
    // The client leaves while nothing was answered, in the middle of an answer, and behind its end.
    let silent = stuck("");
    let code = squid_code_after(&[], |mut client| {
        client.send(silent.get("/"));
        silent.wait_for_head(1);
        client.reset();
    });
    assert_eq!(code, "TCP_MISS_ABORTED/000");
    for options in common::built([&[][..], &["--cache"]]) {
        let stuck = stuck(half);
        let code = squid_code_after(options, |mut client| {
            client.send(stuck.get("/"));
            client.read_until(b"hello");
            client.reset();
        });
        assert_eq!(code, "TCP_MISS_ABORTED/200", "{options:?}");
    }
    let whole = Origin::closing(OK);
    let code = squid_code_after(&[], |mut client| {
        client.ask(whole.get("/"));
        client.reset();
    });
    assert_eq!(code, "TCP_MISS/200");
    // The origin breaks off.
    let broken = Origin::closing(half);
    let code = squid_code_after(&[], |mut client| {
        client.send(broken.get("/"));
        client.read_to_end();
    });
    assert_eq!(code, "TCP_MISS_ABORTED/200");
    // The client leaves in the middle of its own request.
    let silent = Origin::serve(|conn| conn.read_to_end().map(drop).or(Ok(())));
    let code = squid_code_after(&[], |mut client| {
        client.send(silent.fill("POST http://{o}/ HTTP/1.1\r\nHost: {o}\r\nContent-Length: 10\r\n\r\nhello"));
        silent.wait_for_received(0, b"hello");
        client.half_close();
    });
    assert_eq!(code, "TCP_MISS_ABORTED/000");
}

/// Tunnels: closed in order, reset by the client, never set up.
#[test]
fn kind_25_squid_tells_how_tunnels_end() {
    let connect = |origin: &Origin, client: &mut Raw| {
        client.send(origin.fill("CONNECT {o} HTTP/1.1\r\nHost: {o}\r\n\r\n"));
        client.read_head();
    };
    let origin = Origin::serve(|conn| conn.read_to_end().map(drop).or(Ok(())));
    let code = squid_code_after(&[], |mut client| {
        connect(&origin, &mut client);
        client.half_close();
        client.read_to_end();
    });
    assert_eq!(code, "TCP_TUNNEL/200");
    let code = squid_code_after(&[], |mut client| {
        connect(&origin, &mut client);
        client.reset();
    });
    assert_eq!(code, "TCP_TUNNEL_ABORTED/200");
    let weir = Weir::start(&["--log-format", "squid"]);
    let port = common::origin::refusing_port();
    weir.connect().ask(format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"));
    let words = squid_words(&weir.wait_for_log(|line| line.contains(&format!(":{port}"))));
    assert_eq!(words[0], "TCP_TUNNEL/502", "{words:?}");
}
