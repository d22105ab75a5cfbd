//! Mixed traffic at a steady rate, and afterwards everything is as it was: a few seconds of it among the other tests,
//! and as long as one likes by `scripts/soak MINUTES`, which prints a table.

#[path = "../common/mod.rs"]
mod common;
mod server;
mod traffic;

use common::{Answer, FakeDns, Footprint, Scratch, Statistics, Weir, eventually};
use rustix::process::Signal;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use traffic::{Client, Kind, Places};

/// Threads of clients: enough that slow ones do not hold up the rate.
const CLIENTS: u64 = 48;

/// `openssl passwd` and the like can be slow; this hash (of `U*U`) costs what the cheapest bcrypt costs.
const USERS: &str = "paul:plain secret\nbea:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n";

/// Memory at rest may grow by so much over what it was after the warm-up: allocators do not give every page back.
const GROWTH_KIB_MAX: u64 = 2048;

/// The counters of the clients.
#[derive(Default)]
struct Tally {
    /// Things done, and lines that the access log must have.
    done: AtomicU64,
    lines: AtomicU64,
    failed: AtomicU64,
    failures: Mutex<Vec<String>>,
    /// Microseconds of small requests on kept connections, since the last look.
    latencies_us: Mutex<Vec<u32>>,
}

impl Tally {
    fn note(&self, kind: Kind, seed: u64, result: std::io::Result<u64>) {
        self.done.fetch_add(1, Ordering::Relaxed);
        match result {
            Ok(lines) => drop(self.lines.fetch_add(lines, Ordering::Relaxed)),
            Err(error) => {
                let number = self.failed.fetch_add(1, Ordering::Relaxed);
                if number < 20 {
                    let text = format!("{kind:?} {seed}: {error}");
                    self.failures.lock().expect("failures").push(text);
                }
            }
        }
    }
}

struct Soak {
    weir: Weir,
    scratch: Scratch,
    tally: Arc<Tally>,
    places: Places,
    per_second: u64,
    began: Instant,
    next: Arc<AtomicU64>,
    _dns: FakeDns,
}

/// The size of the process in a long run, as an option and in KiB.
const MEMORY: &str = "32M";
const MEMORY_KIB: u64 = 32 << 10;

fn environment(name: &str, otherwise: f64) -> f64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn start(per_second: u64, long: bool) -> Soak {
    let scratch = Scratch::new();
    let dns = FakeDns::start(&[]);
    for number in 0..traffic::NAMES {
        let answer = match number % 10 {
            0 => Answer::Truncated(20, common::dns::parse(&["127.0.0.1"])),
            1 => Answer::Forged(20, common::dns::parse(&["127.0.0.1"])),
            _ => Answer::short(20, &["127.0.0.1"]),
        };
        dns.set(&format!("host-{number}.soak.test"), answer);
    }
    let (list, users) =
        (scratch.file("blocked.txt", "blocked.soak.test\n"), scratch.file("users.txt", USERS));
    let (log, address) = (scratch.join("log"), dns.address());
    let mut options = vec!["--blocklist", &list, "--auth-file", &users, "--log-dir", &log, "--dns", &address];
    let head_timeout = traffic::HEAD_TIMEOUT.as_secs().to_string();
    options.extend(["--connect-ports", "any", "--ports", "any", "--stats-every", "0"]);
    options.extend(["--head-timeout", &head_timeout]);
    // What any system lets a process have.
    options.extend(["--max-connections", "2000"]);
    options.extend(["--idle-origin-timeout", "4", "--log-keep", "1000"]);
    options.extend(["--cache", "--cache-size", "4M", "--purge-from", "127.0.0.1"]);
    // A short run is one without optimisation, whose code alone takes more.
    options.extend(if long { &["--memory", MEMORY][..] } else { &[] });
    options.extend(["--log-max-size", if long { "4M" } else { "256K" }]);
    let weir = Weir::start(&options);
    let places = Places {
        proxy: weir.address(),
        http: server::start_http(),
        tunnel: server::start_tunnel(),
        refusing: common::origin::refusing_port(),
    };
    let (tally, next) = (Arc::default(), Arc::default());
    Soak { weir, scratch, tally, places, per_second, began: Instant::now(), next, _dns: dns }
}

impl Soak {
    /// Traffic for so long, with samples and reloads. Ends when every client has gone.
    fn run(&self, length: Duration, sample_every: Duration) {
        let (stop, began, first) =
            (Arc::new(AtomicBool::new(false)), Instant::now(), self.next.load(Ordering::Relaxed));
        let threads: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let mut client = self.client();
                let (stop, tally, next) = (stop.clone(), self.tally.clone(), self.next.clone());
                let period = Duration::from_secs(1) / self.per_second as u32;
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let due = began + period * (number - first) as u32;
                        std::thread::sleep(due.saturating_duration_since(Instant::now()));
                        one(&mut client, number, &tally);
                    }
                    client.leave();
                })
            })
            .collect();
        let mut before = self.sample(None, &self.weir.statistics(), sample_every);
        let mut rounds = 0;
        while began.elapsed() < length {
            std::thread::sleep(sample_every.min(length.saturating_sub(began.elapsed())));
            before = self.sample(Some(&before), &self.weir.statistics(), sample_every);
            rounds += 1;
            if rounds % 4 == 2 {
                self.scratch.file("blocked.txt", format!("blocked.soak.test\nround-{rounds}.soak.test\n"));
                self.weir.signal(Signal::HUP);
            }
        }
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().expect("a client's thread");
        }
    }

    /// One row of the table, unless it is the first look.
    fn sample(&self, before: Option<&Statistics>, now: &Statistics, every: Duration) -> Statistics {
        let mut latencies = std::mem::take(&mut *self.tally.latencies_us.lock().expect("latencies"));
        latencies.sort_unstable();
        let Some(before) = before else { return now.clone() };
        let footprint = self.weir.footprint();
        let at = |share: f64| {
            let index = (latencies.len() as f64 * share) as usize;
            latencies.get(index.min(latencies.len().saturating_sub(1))).copied().unwrap_or(0)
        };
        let rate = (now.get("requests") - before.get("requests")) as f64 / every.as_secs_f64();
        println!(
            "{:>7.0} {:>9} {rate:>7.0} {:>6} {:>8} {:>8} {:>4} {:>7} {:>6} {:>7} {:>7} {:>6} {:>8} {:>8}",
            self.began.elapsed().as_secs_f64(),
            now.get("requests"),
            self.tally.failed.load(Ordering::Relaxed),
            shown(footprint.proportional_kib),
            footprint.resident_kib,
            shown(footprint.descriptors),
            now.get("clients"),
            now.get("exchanges"),
            now.get("tunnels"),
            now.get("origins"),
            now.get("blocks_lent"),
            at(0.5),
            at(0.99),
        );
        now.clone()
    }

    fn client(&self) -> Client {
        Client::new(self.places.clone(), [("paul", "plain secret"), ("bea", "U*U")])
    }

    /// Empties the cache, waits until all clients are gone, and measures.
    fn rest(&self) -> (Statistics, Footprint) {
        let purged = self.client().purge("/", "Purge: all\r\n").expect("an empty cache");
        self.tally.lines.fetch_add(purged, Ordering::Relaxed);
        let statistics = self.weir.wait_until_idle();
        // The log's thread gives its buffers back a moment after the last line.
        std::thread::sleep(Duration::from_millis(300));
        let now = self.weir.footprint();
        println!(
            "at rest: {} requests, PSS {} KiB, RSS {} KiB, {} descriptors, blocks lent {}, at most {}",
            statistics.get("requests"),
            shown(now.proportional_kib),
            now.resident_kib,
            shown(now.descriptors),
            statistics.get("blocks_lent"),
            statistics.get("blocks_peak"),
        );
        (statistics, now)
    }
}

fn shown<T: std::fmt::Display>(value: Option<T>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

fn one(client: &mut Client, number: u64, tally: &Tally) {
    // Neither the kinds nor the sizes come in the order of the numbers.
    let seed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    let kind = traffic::kind_of(seed / 7);
    let (result, took_us) = traffic::timed(|| client.perform(kind, seed));
    if kind == Kind::Kept && result.is_ok() {
        tally.latencies_us.lock().expect("latencies").push(took_us);
    }
    tally.note(kind, seed, result);
}

/// Lines in all files of the log.
fn count_lines(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).expect("the log's folder").flatten();
    let lines = |path: &Path| {
        let bytes = std::fs::read(path).expect("a log file");
        bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
    };
    files.map(|file| lines(&file.path())).sum()
}

/// Everything at its starting value after the traffic.
#[test]
fn everything_comes_back() {
    let minutes = environment("SOAK_MINUTES", 0.2);
    let long = minutes >= 1.0;
    let soak = start(environment("SOAK_RATE", 300.0) as u64, long);
    let said_at_start = soak.weir.error_lines().len();
    let (_, at_start) = soak.rest();
    println!(
        "seconds  requests     r/s failed  PSS KiB  RSS KiB  fds clients exchng tunnels origins blocks   p50 us   p99 us"
    );
    let length = Duration::from_secs_f64(minutes * 60.0);
    let warm_up = (length / 4).min(Duration::from_secs(60));
    let every = (length / 40).clamp(Duration::from_secs(1), Duration::from_secs(10));
    soak.run(warm_up, every);
    let (_, warm) = soak.rest();
    soak.run(length - warm_up, every);
    let (statistics, _) = soak.rest();
    // Unused pipes are closed after some seconds.
    let at_end = eventually("the descriptors of the start", || {
        Some(soak.weir.footprint()).filter(|now| now.descriptors == at_start.descriptors)
    });

    let wanted = soak.tally.lines.load(Ordering::Relaxed);
    println!("footprint: at start {at_start:?}\n  after the warm-up {warm:?}\n  at the end {at_end:?}");
    println!("statistics: {statistics:?}");
    let failures = soak.tally.failures.lock().expect("failures").clone();
    assert!(failures.is_empty(), "{} failed: {failures:#?}", soak.tally.failed.load(Ordering::Relaxed));
    assert_eq!(server::CUT_SHORT.load(Ordering::Relaxed), 0, "tunnels were cut short");
    assert_eq!(at_end.descriptors, at_start.descriptors, "descriptors");
    for name in ["cache_hits", "cache_revalidated", "cache_invalidated"] {
        assert_ne!(statistics.get(name), 0, "{name}");
    }
    for name in [
        "log_lines_lost",
        "shortages",
        "limit_connections",
        "limit_blocks",
        "limit_look_ups",
        "cache_entries",
    ] {
        assert_eq!(statistics.get(name), 0, "{name}");
    }
    assert_eq!(statistics.get("requests"), wanted, "requests as counted by weir and by the clients");
    let log = soak.scratch.path().join("log");
    let lines = eventually("a line for every request", || Some(count_lines(&log)).filter(|&n| n >= wanted));
    assert_eq!(lines, wanted, "lines in the access log");
    let memory = |footprint: Footprint| footprint.proportional_kib.unwrap_or(footprint.resident_kib);
    let allowed = memory(warm) + GROWTH_KIB_MAX;
    assert!(memory(at_end) <= allowed, "{} KiB at the end, over {allowed}", memory(at_end));
    assert!(!long || at_end.peak_kib <= MEMORY_KIB, "{} KiB at the peak", at_end.peak_kib);
    let said = soak.weir.error_lines().split_off(said_at_start);
    let odd = |line: &&String| !line.contains(" weir info: ") || line.contains("panicked");
    assert_eq!(said.iter().filter(odd).collect::<Vec<_>>(), Vec::<&String>::new(), "on standard error");
    println!("{wanted} requests, every one with its line in the log; no byte was wrong");
    end(soak.weir);
}

fn end(mut weir: Weir) {
    weir.signal(Signal::TERM);
    assert_eq!(weir.wait_exit().code(), Some(0));
}
