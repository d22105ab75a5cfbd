//! The listener for monitoring systems: what it serves, to whom, and what hostile clients can do to it.

mod common;

use common::rights::{NOBODY, is_root};
use common::weir::{Run, finish};
use common::{Origin, Raw, Scratch, Weir, eventually, run};
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::Command;

/// The metrics listener of a daemon that was started with `--metrics 127.0.0.1:0`.
fn address(weir: &Weir) -> SocketAddr {
    let line = weir.wait_for_error(|line| line.contains("metrics on http://"));
    let text = line.rsplit("http://").next().and_then(|rest| rest.strip_suffix("/metrics"));
    text.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{line} names no address"))
}

fn start(options: &[&str]) -> (Weir, SocketAddr) {
    let mut all = vec!["--metrics", "127.0.0.1:0"];
    all.extend_from_slice(options);
    let weir = Weir::start(&all);
    let address = address(&weir);
    (weir, address)
}

/// What curl prints.
#[track_caller]
fn curl(arguments: &[&str]) -> Run {
    let mut command = Command::new("curl");
    command.args(["-sS", "-q", "--max-time", "20", "--noproxy", "*"]).args(arguments);
    finish(command)
}

#[track_caller]
fn metrics(address: SocketAddr) -> Families {
    let run = curl(&[&format!("http://{address}/metrics")]);
    assert_eq!(run.code, 0, "{run:?}");
    Families::read(&run.out)
}

/// An OpenMetrics text, read strictly.
struct Families {
    /// Type and unit by name.
    types: BTreeMap<String, (String, String)>,
    /// By name and labels, as they are written.
    samples: BTreeMap<String, f64>,
}

impl Families {
    #[track_caller]
    fn read(text: &str) -> Families {
        let body = text.strip_suffix("# EOF\n").unwrap_or_else(|| panic!("no end: {text}"));
        let mut families = Families { types: BTreeMap::new(), samples: BTreeMap::new() };
        let (mut described, mut current) = (BTreeSet::new(), String::new());
        for line in body.lines() {
            let mut words = line.splitn(4, ' ');
            match (words.next(), words.next(), words.next(), words.next()) {
                (Some("#"), Some("HELP"), Some(name), Some(help)) => {
                    assert!(described.insert(name.to_owned()), "{name} begins twice");
                    assert!(!help.is_empty(), "{line}");
                    current = name.to_owned();
                }
                (Some("#"), Some(kind @ ("TYPE" | "UNIT")), Some(name), Some(value)) => {
                    assert_eq!(name, current, "{line}");
                    let entry = families.types.entry(name.to_owned()).or_default();
                    let field = if kind == "TYPE" { &mut entry.0 } else { &mut entry.1 };
                    assert!(field.is_empty(), "{line}: twice");
                    *field = value.to_owned();
                    assert!(kind == "TYPE" || name.ends_with(&format!("_{value}")), "{line}");
                }
                _ => families.add_sample(line, &current),
            }
        }
        families
    }

    #[track_caller]
    fn add_sample(&mut self, line: &str, family: &str) {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
        let bare = name.split('{').next().unwrap_or_default();
        let end = bare.strip_prefix(family).unwrap_or_else(|| panic!("{line}: within {family}"));
        let ends: &[&str] = match self.types.get(family).map(|(kind, _)| kind.as_str()) {
            Some("counter") => &["_total"],
            Some("gauge") => &[""],
            Some("info") => &["_info"],
            Some("histogram") => &["_bucket", "_sum", "_count"],
            other => panic!("{line}: {other:?}"),
        };
        assert!(ends.contains(&end), "{line}");
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}: no number"));
        assert!(value.is_finite() && value >= 0.0, "{line}");
        assert!(self.samples.insert(name.to_owned(), value).is_none(), "{line}: twice");
    }

    #[track_caller]
    fn get(&self, name: &str) -> f64 {
        *self.samples.get(name).unwrap_or_else(|| panic!("no {name} in {:#?}", self.samples))
    }

    /// Buckets grow, and the last one has the count.
    #[track_caller]
    fn expect_histograms(&self) {
        let counts = self.samples.iter().filter(|(name, _)| name.contains("_count"));
        let mut seen = 0;
        for (name, count) in counts {
            seen += 1;
            let (family, labels) = name.split_once("_count").expect("a count");
            let labels = labels.trim_matches(['{', '}']);
            let comma = if labels.is_empty() { "" } else { "," };
            let beginning = format!("{family}_bucket{{{labels}{comma}le=\"");
            let mut buckets: Vec<(f64, f64)> = self
                .samples
                .iter()
                .filter_map(|(name, value)| {
                    let bound = name.strip_prefix(&beginning)?.strip_suffix("\"}")?;
                    Some((bound.parse().expect("a bound"), *value))
                })
                .collect();
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            assert!(
                buckets.len() > 2 && buckets.is_sorted_by(|one, next| one.1 <= next.1),
                "{name}: {buckets:?}"
            );
            assert_eq!(buckets.last(), Some(&(f64::INFINITY, *count)), "{name}");
            assert!(self.samples.contains_key(&name.replacen("_count", "_sum", 1)), "{name}");
        }
        assert!(seen >= 9, "only {seen} histograms");
    }
}

/// What has happened shows, in the text and in its histograms; with one loop and with two.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn everything_that_is_counted_is_served() {
    for workers in ["1", "2"] {
        let (weir, address) = start(&["--workers", workers, "--cache"]);
        let origin =
            Origin::answering("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok");
        for _ in 0..4 {
            let mut client = weir.connect();
            assert_eq!(client.ask(origin.get("/same")).status(), 200);
            assert_eq!(
                client.ask("GET http://127.0.0.2:1/ HTTP/1.1\r\nHost: 127.0.0.2:1\r\n\r\n").status(),
                502
            );
        }
        let families = eventually("all are counted", || {
            let families = metrics(address);
            (families.get("weir_request_duration_seconds_count{status=\"2xx\"}") == 4.0).then_some(families)
        });
        families.expect_histograms();
        for (name, value) in [
            ("weir_requests_total", 8.0),
            ("weir_status_total{status=\"2xx\"}", 4.0),
            ("weir_status_total{status=\"5xx\"}", 4.0),
            ("weir_failed_total", 4.0),
            ("weir_cache_hits_total", 3.0),
            ("weir_request_duration_seconds_count{status=\"5xx\"}", 4.0),
            ("weir_time_to_first_byte_seconds_count{cache=\"hit\"}", 3.0),
            ("weir_time_to_first_byte_seconds_count{cache=\"miss\"}", 1.0),
            ("weir_tunnel_duration_seconds_count", 0.0),
            ("weir_workers", workers.parse::<f64>().expect("a number")),
        ] {
            assert_eq!(families.get(name), value, "{name} with {workers} loops");
        }
        assert!(families.get("weir_connect_seconds_count") >= 1.0);
        assert!(families.get("weir_client_in_bytes_total") > 100.0);
        assert_eq!(families.types["weir_client_in_bytes"], ("counter".to_owned(), "bytes".to_owned()));
        assert_eq!(families.types["weir_dns_seconds"], ("histogram".to_owned(), "seconds".to_owned()));
        let version = format!("weir_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
        assert_eq!(families.get(&version), 1.0);
        // The same numbers as the line of statistics.
        let statistics = weir.statistics();
        for name in ["accepted", "requests", "dialled", "cache_hits", "cache_entries"] {
            let total = if name == "cache_entries" { "" } else { "_total" };
            assert_eq!(families.get(&format!("weir_{name}{total}")), statistics.get(name) as f64, "{name}");
        }
    }
}

/// curl as the client: paths, methods, media types.
#[test]
fn paths_methods_and_forms() {
    let (_weir, address) = start(&[]);
    let url = |path: &str| format!("http://{address}{path}");
    for (arguments, status, kind) in [
        (&["/metrics"][..], "200", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (&["/metrics", "-HAccept: text/plain"], "200", "text/plain; version=0.0.4; charset=utf-8"),
        (&["/metrics", "-I"], "200", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (&["/healthz"], "200", "text/plain; charset=utf-8"),
        (&["/readyz"], "200", "text/plain; charset=utf-8"),
        (&["/readyz", "-I"], "200", "text/plain; charset=utf-8"),
        (&["/"], "404", "text/plain; charset=utf-8"),
        (&["/metrics/x"], "404", "text/plain; charset=utf-8"),
        (&["/metrics", "-d", "x"], "405", "text/plain; charset=utf-8"),
        (&["/healthz", "-XDELETE"], "405", "text/plain; charset=utf-8"),
    ] {
        let url = url(arguments[0]);
        let mut all = vec![url.as_str(), "-o/dev/null", "-w%{http_code} %{content_type}"];
        all.extend_from_slice(&arguments[1..]);
        let run = curl(&all);
        assert_eq!(
            (run.code, run.out.trim()),
            (0, format!("{status} {kind}").as_str()),
            "{arguments:?}: {run:?}"
        );
    }
    // Requests that curl does not send.
    for (request, status) in [
        ("GET /metrics HTTP/1.0\r\n\r\n", 200),
        ("GET http://a.example:1/metrics?x HTTP/1.1\r\nHost: a.example:1\r\n\r\n", 200),
        ("GET HTTP://a.example:1/healthz HTTP/1.1\r\nHost: a.example:1\r\n\r\n", 200),
        ("GET http://a.example?/metrics HTTP/1.1\r\nHost: a.example\r\n\r\n", 404),
        ("GET http://a.example HTTP/1.1\r\nHost: a.example\r\n\r\n", 404),
        ("GET /metrics\r\n\r\n", 400),
        ("\x16\x03\x01\x02\r\n\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ] {
        let mut client = Raw::connect(address);
        client.send(request);
        assert_eq!(client.read_response().status(), status, "{request:?}");
    }
}

/// Clients that send nothing, drip, never read, or send for ever: others are served meanwhile, and the loops go on.
#[test]
fn hostile_clients_keep_no_other_one_out() {
    let (weir, address) = start(&[]);
    let origin = Origin::ok();
    let mut held = Vec::new();
    for round in 0..12 {
        let mut client = Raw::connect_small(address);
        match round % 4 {
            0 => {}
            1 => client.send("GET /metrics HTTP/1.1\r\nA: "),
            2 => (0..50).for_each(|_| {
                let _ = client.wire().send("GET /metrics HTTP/1.1\r\n\r\n");
            }),
            _ => {
                let _ = client.wire().send("x".repeat(20_000));
            }
        }
        held.push(client);
        assert_eq!(metrics(address).get("weir_workers"), 1.0, "after {round}");
    }
    assert_eq!(weir.connect().ask(origin.get("/")).status(), 200);
    let mut long = Raw::connect(address);
    long.send(format!("GET /metrics HTTP/1.1\r\nA: {}", "a".repeat(9000)));
    assert_eq!(long.read_response().status(), 431);
    // The oldest ones were ended, whatever they did.
    eventually("the first is ended", || {
        held[0].wire().read_some().map_or(true, |rest| rest.is_empty()).then_some(())
    });
}

/// While tunnels keep a loop busy, numbers and signs of life come; they are few turns of the loop away.
#[test]
fn it_answers_while_the_loops_are_busy() {
    let (weir, address) = start(&["--timeout", "60"]);
    let origin = Origin::generator();
    let mut readers = Vec::new();
    for _ in 0..4 {
        let mut client = weir.connect();
        client.send(origin.get("/1000000000"));
        readers.push(std::thread::spawn(move || {
            let mut total = 0;
            while let Ok(bytes) = client.wire().read_some() {
                total += bytes.len();
                if bytes.is_empty() || total > 100 << 20 {
                    break;
                }
            }
        }));
    }
    for path in ["/healthz", "/readyz", "/metrics"].iter().cycle().take(12) {
        let run = curl(&["-o/dev/null", "-w%{http_code}", &format!("http://{address}{path}")]);
        assert_eq!((run.code, run.out.trim()), (0, "200"), "{path}");
    }
    drop(weir);
    readers.into_iter().for_each(|reader| drop(reader.join()));
}

/// At a stop the process lives, but is not ready any more, until it ends.
#[test]
fn a_draining_proxy_is_alive_and_not_ready() {
    for workers in ["1", "2"] {
        let (mut weir, address) = start(&["--workers", workers]);
        let origin = Origin::serve(|conn| {
            conn.head()?;
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok")?;
            // The rest never comes.
            conn.head().map(drop)
        });
        let mut client = weir.connect();
        client.send(origin.get("/"));
        client.read_until(b"\r\n\r\nok");
        let status =
            |path: &str| curl(&["-o/dev/null", "-w%{http_code}", &format!("http://{address}{path}")]).out;
        assert_eq!([status("/readyz"), status("/healthz")].map(|out| out.trim().to_owned()), ["200", "200"]);
        weir.signal(Signal::TERM);
        weir.wait_for_error(|line| line.contains("stopping"));
        eventually("it is not ready", || (status("/readyz").trim() == "503").then_some(()));
        assert_eq!(status("/healthz").trim(), "200");
        eventually("the request is counted", || {
            (metrics(address).get("weir_exchanges") >= 1.0).then_some(())
        });
        // The origin would not end.
        weir.signal(Signal::TERM);
        weir.wait_exit();
    }
}

/// The listener is an ordinary option: checked, refused when it cannot be had, and not changed by a reload.
#[test]
fn the_option_is_checked() {
    let (weir, address) = start(&[]);
    let taken = address.to_string();
    let second = run(&["--port", "0", "--metrics", &taken]);
    assert_eq!(second.code, 69, "{}", second.said());
    assert!(second.err.contains("metrics: cannot listen on "), "{}", second.err);
    // In use is no mistake: it may be the daemon's own.
    assert_eq!(run(&["--check", "--metrics", &taken]).code, 0);
    let other = run(&["--check", "--metrics", "192.0.2.77:9100"]);
    assert_eq!(other.code, 64, "{}", other.said());
    for value in ["9100", "localhost:9100", "127.0.0.1", ""] {
        let wrong = run(&["--check", "--metrics", value]);
        assert!(
            wrong.code == 64 && wrong.err.contains("expected an address with a port"),
            "{}",
            wrong.said()
        );
    }
    drop(weir);
}

#[test]
fn a_reload_says_that_it_needs_a_restart() {
    let scratch = common::Scratch::new();
    let config = scratch.file("weir.conf", "metrics 127.0.0.1:0\n");
    let weir = Weir::start(&["-c", &config]);
    let before = address(&weir);
    scratch.file("weir.conf", "metrics 127.0.0.1:1\n");
    weir.signal(Signal::HUP);
    weir.wait_for_error(|line| line.contains("needs a restart: metrics"));
    assert_eq!(metrics(before).get("weir_workers"), 1.0);
}

/// With another user's rights and inside the sandbox: a low port, bound while there are rights.
#[test]
fn it_is_bound_before_rights_are_given_up() {
    if !is_root() {
        assert!(std::env::var_os("CI").is_none(), "CI runs as root");
        return;
    }
    let port = common::rights::low_port(5);
    let user = format!("{NOBODY}:{NOBODY}");
    for workers in ["1", "2"] {
        let listen = format!("127.0.0.1:{port}");
        let weir = Weir::start(&["--metrics", &listen, "--user", &user, "--workers", workers]);
        assert_eq!(metrics(address(&weir)).get("weir_workers"), workers.parse::<f64>().expect("a number"));
    }
}

/// Clients of the proxy do not reach the listener, since this machine is closed to them.
#[test]
fn clients_of_the_proxy_do_not_reach_it() {
    let weir = Weir::start_bare(&["--metrics", "127.0.0.1:0"]);
    let target = address(&weir);
    let request = format!("GET http://{target}/metrics HTTP/1.1\r\nHost: {target}\r\n\r\n");
    assert_eq!(weir.connect().ask(request).status(), 403);
}

/// The parsers of others read both forms, of everything that can be counted: that of Prometheus' client for Python, and
/// promtool, where they are installed.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn real_parsers_read_it() {
    let scratch = Scratch::new();
    let mut options = vec!["--cache".to_owned()];
    if cfg!(all(feature = "cloud", feature = "detection", feature = "redis")) {
        let guard = "limit 5/1m per client\nescalate 5/1m block 15m after 3\nban 192.0.2.1\ndetect block\n\
                     cloud deny client aws\ncloud refresh off\nstore redis://127.0.0.1:1\n\
                     behaviour usage 5 in 1h action log\n";
        let (guard, gateway) =
            (scratch.file("guard.conf", guard), scratch.file("gateway.conf", "*/ -> 127.0.0.1:1\n"));
        options.extend(["--guard", &guard, "--gateway", &gateway].map(str::to_owned));
    }
    let (weir, address) = start(&options.iter().map(String::as_str).collect::<Vec<_>>());
    weir.connect().ask("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let url = format!("http://{address}/metrics");
    let script = "import sys\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families\n\
        print(len(list(text_string_to_metric_families(sys.stdin.read()))))";
    let python = format!("curl -sS --noproxy '*' {url} | /usr/bin/python3 -c '{script}'");
    let has_module = finish(shell("/usr/bin/python3 -c 'import prometheus_client'")).code == 0;
    if installed(has_module, "python3-prometheus-client") {
        let run = finish(shell(&python));
        let count: usize = run.out.trim().parse().unwrap_or_else(|_| panic!("{run:?}"));
        assert!(count > 80, "{run:?}");
    }
    if installed(finish(shell("command -v promtool")).code == 0, "promtool (package prometheus)") {
        let run = finish(shell(&format!(
            "curl -sS --noproxy '*' -H 'Accept: text/plain' {url} | promtool check metrics"
        )));
        assert_eq!((run.code, run.said().as_str()), (0, ""), "{run:?}");
    }
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn installed(there: bool, what: &str) -> bool {
    if !there {
        eprintln!("SKIPPED: {what} is not installed; scripts/test installs it where it can");
    }
    there
}
