//! The daemon under test, as a child process.

use super::wire::Raw;
use super::{DEADLINE, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

/// Lines as they come, kept for ever.
#[derive(Clone, Default)]
pub struct Lines(Arc<(Mutex<Kept>, Condvar)>);

#[derive(Default)]
struct Kept {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    fn follow(source: impl Read + Send + 'static) -> Lines {
        let lines = Lines::default();
        let writer = lines.clone();
        std::thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while source.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                line.clear();
                writer.0.0.lock().expect("lines").lines.push(text);
                writer.0.1.notify_all();
            }
            writer.0.0.lock().expect("lines").ended = true;
            writer.0.1.notify_all();
        });
        lines
    }

    /// All lines so far.
    pub fn all(&self) -> Vec<String> {
        self.0.0.lock().expect("lines").lines.clone()
    }

    /// The first `count` lines that `wanted` likes, however early they came; `Err` has what came instead, when the
    /// source ends or at the deadline.
    fn wait(&self, count: usize, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, Vec<String>> {
        let end = Instant::now() + DEADLINE;
        let mut kept = self.0.0.lock().expect("lines");
        loop {
            let found: Vec<_> = kept.lines.iter().filter(|line| wanted(line)).take(count).cloned().collect();
            if found.len() == count {
                return Ok(found);
            }
            let left = end.saturating_duration_since(Instant::now());
            if kept.ended || left.is_zero() {
                return Err(kept.lines.clone());
            }
            kept = self.0.1.wait_timeout(kept, left).expect("lines").0;
        }
    }
}

/// A running daemon; killed when dropped.
pub struct Weir {
    child: Child,
    addresses: Vec<SocketAddr>,
    log: Lines,
    errors: Lines,
}

impl Weir {
    /// Starts it on a free port of 127.0.0.1 with loopback destinations allowed, and waits until it listens.
    #[track_caller]
    pub fn start(options: &[&str]) -> Weir {
        let mut all = vec!["--allow", "127.0.0.0/8"];
        all.extend_from_slice(options);
        Weir::start_bare(&all)
    }

    /// Starts it without the allowance, so that loopback is refused as it is for users.
    #[track_caller]
    pub fn start_bare(options: &[&str]) -> Weir {
        Weir::start_with(options, &[])
    }

    /// Starts it with exactly these options (and a free port, unless one is given) and environment variables.
    #[track_caller]
    pub fn start_with(options: &[&str], environment: &[(&str, &str)]) -> Weir {
        let mut command = command(options, environment);
        if !options.iter().any(|option| option.starts_with("--host")) {
            command.args(["--host", "127.0.0.1"]);
        }
        if !options.iter().any(|option| *option == "--port" || option.starts_with("--port=")) {
            command.args(["--port", "0"]);
        }
        let listeners = options.iter().filter(|option| option.starts_with("--host")).count().max(1);
        match Weir::spawn(command, listeners) {
            Ok(weir) => weir,
            Err(lines) => panic!("weir {options:?} did not say that it listens; it said {lines:#?}"),
        }
    }

    /// Starts it by this command and waits until so many listeners are announced; `Err` has what it said instead.
    pub fn spawn(mut command: Command, listeners: usize) -> Result<Weir, Vec<String>> {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the daemon can be started");
        let log = Lines::follow(child.stdout.take().expect("its output"));
        let errors = Lines::follow(child.stderr.take().expect("its errors"));
        match errors.wait(listeners, |line| line.contains("listening on ")) {
            Ok(lines) => {
                let addresses = lines.iter().map(|line| announced_address(line)).collect();
                Ok(Weir { child, addresses, log, errors })
            }
            Err(lines) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(lines)
            }
        }
    }

    /// Where the first listener is.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Where all listeners are, in the order announced.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// `http://HOST:PORT` for clients.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// A new client connection.
    #[track_caller]
    pub fn connect(&self) -> Raw {
        Raw::connect(self.address())
    }

    /// A new client connection that comes from another loopback address.
    #[track_caller]
    pub fn connect_from(&self, source: &str) -> Raw {
        Raw::connect_from(self.address(), source.parse::<IpAddr>().expect("an address"))
    }

    /// The first access log line that `wanted` likes, waited for.
    #[track_caller]
    pub fn wait_for_log(&self, wanted: impl Fn(&str) -> bool) -> String {
        self.wait_for_logs(1, wanted).remove(0)
    }

    /// The first `count` access log lines that `wanted` likes, waited for.
    #[track_caller]
    pub fn wait_for_logs(&self, count: usize, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        match self.log.wait(count, wanted) {
            Ok(lines) => lines,
            Err(lines) => {
                panic!("no {count} such lines in the access log {lines:#?}\nerrors: {:#?}", self.errors.all())
            }
        }
    }

    /// The access log so far.
    pub fn log_lines(&self) -> Vec<String> {
        self.log.all()
    }

    /// The first line on standard error that `wanted` likes, waited for.
    #[track_caller]
    pub fn wait_for_error(&self, wanted: impl Fn(&str) -> bool) -> String {
        match self.errors.wait(1, wanted) {
            Ok(mut lines) => lines.remove(0),
            Err(lines) => panic!("no such line on standard error: {lines:#?}"),
        }
    }

    /// Standard error so far.
    pub fn error_lines(&self) -> Vec<String> {
        self.errors.all()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the daemon takes signals");
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub fn wait_exit(&mut self) -> ExitStatus {
        eventually("the daemon ends", || self.child.try_wait().expect("a child to wait for"))
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child to ask for").is_none()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in KiB without the pages of the program's own file: these come in as its code is used for the
    /// first time, and a test that measures what a burst holds would count them as held.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let kib = |name| {
            status.lines().find_map(|line| line.strip_prefix(name)?.trim().split(' ').next()?.parse().ok())
        };
        kib("VmRSS:").unwrap_or(0_u64).saturating_sub(kib("RssFile:").unwrap_or(0))
    }

    /// Processor time used so far, in clock ticks (user and system).
    pub fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap_or_default();
        let after_name = stat.rsplit(") ").next().unwrap_or("");
        after_name.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let panics: Vec<_> =
            self.errors.all().into_iter().filter(|line| line.contains("panicked at")).collect();
        if !std::thread::panicking() {
            assert!(panics.is_empty(), "the daemon panicked: {panics:#?}");
        } else if !panics.is_empty() {
            eprintln!("the daemon panicked: {panics:#?}");
        }
    }
}

fn announced_address(line: &str) -> SocketAddr {
    let text = line.rsplit("listening on ").next().unwrap_or("");
    let text = text.split_whitespace().next().unwrap_or("").trim_end_matches(['.', ',']);
    text.parse().unwrap_or_else(|error| panic!("{line:?} names no address: {error}"))
}

/// Whether the daemon moves bytes inside the kernel in this build and this run of the tests.
pub fn splices() -> bool {
    cfg!(feature = "splice") && std::env::var_os("TEST_NO_SPLICE").is_none()
}

/// Of several sets of options, under each of which a test runs, those that this build knows.
pub fn built<'a, const N: usize>(sets: [&'a [&'a str]; N]) -> impl Iterator<Item = &'a [&'a str]> {
    let unknown = |options: &&[&str]| {
        let starts = |start| options.iter().any(|option: &&str| option.starts_with(start));
        (starts("--cache") && !cfg!(feature = "cache")) || (starts("--sandbox") && !cfg!(feature = "sandbox"))
    };
    sets.into_iter().filter(move |options| !unknown(options))
}

fn command(options: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WEIR_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    // Every test can be run without the kernel's help. A build that has no splice has no option against it.
    let mut options = options.to_vec();
    if !cfg!(feature = "splice") {
        options.retain(|option| *option != "--no-splice");
    } else if !splices() {
        command.env("WEIR_NO_SPLICE", "yes");
    }
    command.args(options).envs(environment.iter().copied()).stdin(Stdio::null());
    command
}

/// How a run that ends by itself ended.
#[derive(Debug)]
pub struct Run {
    /// Exit code; -1 if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Run {
    /// Standard output and standard error.
    pub fn said(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

/// Runs `weir` with options that make it end by itself, nothing added.
#[track_caller]
pub fn run(options: &[&str]) -> Run {
    run_with(options, &[])
}

/// The same with environment variables.
#[track_caller]
pub fn run_with(options: &[&str], environment: &[(&str, &str)]) -> Run {
    finish(command(options, environment))
}

/// Runs any command to its end; killed at the deadline (three times the usual one: real clients start slowly).
#[track_caller]
pub fn finish(mut command: Command) -> Run {
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command can be started");
    let out = Lines::follow(child.stdout.take().expect("its output"));
    let err = Lines::follow(child.stderr.take().expect("its errors"));
    let end = Instant::now() + 3 * DEADLINE;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child to wait for") {
            break status;
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{command:?} did not end; it said {:#?} {:#?}", out.all(), err.all());
        }
        std::thread::sleep(std::time::Duration::from_millis(3));
    };
    let text = |lines: &Lines| match lines.wait(usize::MAX, |_| true) {
        Ok(lines) | Err(lines) => lines.iter().map(|line| format!("{line}\n")).collect::<String>(),
    };
    Run { code: status.code().unwrap_or(-1), out: text(&out), err: text(&err) }
}
