//! The daemon: options, signals, one thread per loop.

use log::{error, info, warn};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use weir::config::explain::{Question, explain};
use weir::config::policy::{self, Own};
use weir::config::{Command, Problems, Settings, exit, help};
use weir::engine::Engine;
use weir::event_loop::{self, EventLoop, Journal, Listener, Remote};
use weir::log::writer::{Destination, Writer};
use weir::policy::Policy;
use weir::resolver::Resolver;

/// Descriptors beside those of connections: listeners, logs, epoll, name servers (chosen, generously).
const DESCRIPTORS_OF_OURS: u64 = 1200;

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let environment: Vec<(String, String)> =
        std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
    let settings = match Settings::load(&arguments, &environment, read_file) {
        Ok(settings) => settings,
        Err(problems) => return report(&problems),
    };
    start_log(&settings);
    let code = match &settings.command {
        Command::Help => print(&help::help()),
        Command::Version => print(&format!("weir {}\n", env!("CARGO_PKG_VERSION"))),
        Command::PrintConfig => print(&help::print_config(&settings)),
        Command::Check => check(&settings),
        Command::Explain { .. } => run_explain(&settings),
        Command::Run => run(settings),
    };
    ExitCode::from(code)
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}

fn start_log(settings: &Settings) {
    env_logger::Builder::new()
        .filter_level(log::LevelFilter::Warn)
        .filter_module("weir", settings.level())
        .format(|out, record| {
            let time = out.timestamp_millis();
            writeln!(out, "{time} weir {}: {}", record.level().as_str().to_ascii_lowercase(), record.args())
        })
        .init();
}

/// Prints; that nobody reads it any more is no fault of ours.
fn print(text: &str) -> u8 {
    let _ = io::stdout().write_all(text.as_bytes());
    exit::OK
}

fn report(problems: &Problems) -> ExitCode {
    eprint!("{problems}");
    ExitCode::from(problems.exit_code())
}

/// A number that nobody can foresee.
fn random_seed() -> Result<[u64; 2], u8> {
    let draw =
        || getrandom::u64().map_err(|error| fail(&format!("no random numbers: {error}"), exit::OS_ERROR));
    Ok([draw()?, draw()?])
}

fn fail(message: &str, code: u8) -> u8 {
    eprintln!("weir: {message}");
    code
}

fn compile(settings: &Settings, listeners: &[SocketAddr], seed: [u64; 2]) -> Result<Policy, Problems> {
    let wildcard = listeners.iter().any(|listener| listener.ip().is_unspecified());
    let addresses = if wildcard { own_addresses() } else { Vec::new() };
    policy::compile(settings, &Own { listeners: listeners.to_vec(), addresses }, seed, &read_file)
}

fn own_addresses() -> Vec<IpAddr> {
    match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces.iter().map(|interface| interface.ip()).collect(),
        Err(error) => {
            warn!(
                "cannot tell the addresses of this machine ({error}): requests to weir itself may loop once"
            );
            Vec::new()
        }
    }
}

fn addresses_to_bind(settings: &Settings) -> Vec<SocketAddr> {
    settings.hosts.iter().map(|host| SocketAddr::new(host.value, settings.port)).collect()
}

fn check(settings: &Settings) -> u8 {
    let seed = match random_seed() {
        Ok(seed) => seed,
        Err(code) => return code,
    };
    match compile(settings, &addresses_to_bind(settings), seed) {
        Ok(policy) => {
            warn_of_skipped(&policy);
            let users = policy.users.as_ref().map_or(0, |users| users.len());
            print(&format!("weir: the configuration is valid: {} rules, {users} users\n", policy.acl.len()))
        }
        Err(problems) => {
            eprint!("{problems}");
            exit::CONFIGURATION
        }
    }
}

fn run_explain(settings: &Settings) -> u8 {
    let Command::Explain { user, client, method, target } = &settings.command else { return exit::USAGE };
    let seed = match random_seed() {
        Ok(seed) => seed,
        Err(code) => return code,
    };
    let policy = match compile(settings, &addresses_to_bind(settings), seed) {
        Ok(policy) => policy,
        Err(problems) => {
            eprint!("{problems}");
            return exit::CONFIGURATION;
        }
    };
    let question = Question { user: user.as_deref(), client: *client, method, target };
    match explain(settings, &policy, &question, seed, &read_file) {
        Ok((text, allowed)) => {
            print(&text);
            if allowed { exit::OK } else { exit::REFUSED }
        }
        Err(message) => fail(&message, exit::USAGE),
    }
}

fn run(settings: Settings) -> u8 {
    match start(settings) {
        Ok((daemon, signals)) => daemon.serve(signals),
        Err(code) => code,
    }
}

/// Everything that the running daemon consists of, beside the loop's own.
struct Daemon {
    settings: Settings,
    listeners: Vec<SocketAddr>,
    remote: Remote,
    event_loop: thread::JoinHandle<io::Result<()>>,
    writer: Writer,
}

/// Ends the waiting for signals.
struct CloseOnDrop(signal_hook::iterator::Handle);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn start(mut settings: Settings) -> Result<(Daemon, Signals), u8> {
    let seed = random_seed()?;
    // Whatever is wrong with the files is told before anything is opened.
    if let Err(problems) = compile(&settings, &addresses_to_bind(&settings), seed) {
        eprint!("{problems}");
        return Err(problems.exit_code());
    }
    limit_connections(&mut settings);
    let listeners = bind_all(&settings)?;
    let local: Vec<SocketAddr> =
        listeners.iter().filter_map(|listener| listener.local_address().ok()).collect();
    let policy = compile(&settings, &local, seed).map_err(|problems| {
        eprint!("{problems}");
        problems.exit_code()
    })?;
    warn_if_open(&local, &policy, &settings);
    warn_of_skipped(&policy);
    let writer = Writer::spawn(&destination(&settings))
        .map_err(|error| fail(&format!("cannot write the access log: {error}"), exit::OS_ERROR))?;
    let (resolver, hosts) = policy::resolver_settings(&settings, &read_file);
    let engine_settings = policy::engine_settings(&settings, local.clone(), seed);
    let engine =
        Engine::new(engine_settings, Arc::new(policy), Resolver::new(resolver, hosts, random_seed()?));
    let journal = Journal { feed: writer.feed(), format: settings.log_format };
    let os_error = |error: io::Error| fail(&format!("cannot start: {error}"), exit::OS_ERROR);
    let signals = Signals::new([SIGHUP, SIGUSR1, SIGUSR2, SIGTERM, SIGINT]).map_err(os_error)?;
    let handle = signals.handle();
    let (event_loop, remote) =
        EventLoop::new(engine, listeners, journal, settings.stats_every).map_err(os_error)?;
    let event_loop = thread::Builder::new()
        .name("weir-loop".to_string())
        .spawn(move || {
            // However the loop ends, even by a panic: whoever waits for signals must learn of it.
            let _ended = CloseOnDrop(handle);
            event_loop.run().map(|_| ())
        })
        .map_err(os_error)?;
    for address in &local {
        eprintln!("weir: listening on {address}");
    }
    Ok((Daemon { settings, listeners: local, remote, event_loop, writer }, signals))
}

fn bind_all(settings: &Settings) -> Result<Vec<Listener>, u8> {
    let mut listeners = Vec::new();
    for address in addresses_to_bind(settings) {
        match event_loop::bind(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) => {
                let code = match error.kind() {
                    ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable => exit::UNAVAILABLE,
                    _ => exit::OS_ERROR,
                };
                return Err(fail(&format!("cannot listen on {address}: {error}"), code));
            }
        }
    }
    Ok(listeners)
}

fn destination(settings: &Settings) -> Destination {
    match &settings.log_dir {
        None => Destination::Stdout,
        Some(path) => Destination::Directory {
            path: path.clone(),
            bytes_max: settings.log_max_size_bytes,
            keep: settings.log_keep,
        },
    }
}

/// Raises the limit of descriptors to what the connections need, or lowers the connections to what there is.
fn limit_connections(settings: &mut Settings) {
    let beside = u64::from(settings.idle_origins) + DESCRIPTORS_OF_OURS;
    let needed = 2 * u64::from(settings.max_connections) + beside;
    let limit = getrlimit(Resource::Nofile);
    let (current, maximum) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    if current >= needed {
        return;
    }
    // Only the privileged may raise the maximum; if that fails, there is what there is.
    let attempts = [needed.max(maximum), maximum];
    let raised = attempts.into_iter().any(|maximum| {
        let wanted = Rlimit { current: Some(needed.min(maximum)), maximum: Some(maximum) };
        setrlimit(Resource::Nofile, wanted).is_ok()
    });
    let available = if raised { getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) } else { current };
    if available < needed {
        let possible = (available.saturating_sub(beside) / 2).max(16) as u32;
        warn!(
            "--max-connections {} needs {needed} descriptors, but only {available} can be had (ulimit -n): \
             taking {possible} connections at most",
            settings.max_connections
        );
        settings.max_connections = possible;
    }
}

/// A proxy for everybody is seldom meant.
fn warn_if_open(listeners: &[SocketAddr], policy: &Policy, settings: &Settings) {
    let reachable = listeners.iter().find(|listener| !listener.ip().is_loopback());
    if let (Some(address), None, true) = (reachable, &policy.users, settings.allow_clients.is_empty()) {
        warn!("{address} serves anybody who can reach it: see --auth-file and --allow-client");
    }
}

fn warn_of_skipped(policy: &Policy) {
    for (list, lines) in policy.acl.skipped() {
        warn!(
            "{list}: {lines} lines skipped, which only a browser can carry out; the rules for hosts are loaded"
        );
    }
}

impl Daemon {
    /// Obeys signals until the loop has ended. Returns the exit code.
    fn serve(self, mut signals: Signals) -> u8 {
        let mut draining = false;
        let mut code = exit::OK;
        for signal in signals.forever() {
            match signal {
                SIGHUP => self.reload(),
                SIGUSR1 => self.writer.reopen(),
                SIGUSR2 => self.remote.send(event_loop::Command::LogStatistics),
                SIGTERM if !draining => {
                    info!(
                        "stopping: finishing what is under way, for at most {:?}",
                        self.settings.drain_timeout
                    );
                    draining = true;
                    self.remote.send(event_loop::Command::Drain);
                }
                other => {
                    info!("stopping at once");
                    code = 128 + other as u8;
                    self.remote.send(event_loop::Command::Quit);
                }
            }
        }
        match self.event_loop.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => code = fail(&format!("the loop has failed: {error}"), exit::OS_ERROR),
            Err(_) => code = fail("the loop has died", exit::OS_ERROR),
        }
        if !self.writer.close() {
            warn!("the access log's output is stuck: some lines are lost");
        }
        code
    }

    /// Compiles rules, users and names anew. On any error what runs stays.
    fn reload(&self) {
        self.writer.reopen();
        let Ok(seed) = random_seed() else { return };
        match compile(&self.settings, &self.listeners, seed) {
            Ok(policy) => {
                let users = policy.users.as_ref().map_or(0, |users| users.len());
                warn_of_skipped(&policy);
                info!("reloaded: {} rules, {users} users", policy.acl.len());
                self.remote.send(event_loop::Command::SetPolicy(Arc::new(policy)));
                let (resolver, hosts) = policy::resolver_settings(&self.settings, &read_file);
                self.remote.send(event_loop::Command::SetResolver(resolver, hosts));
            }
            Err(problems) => {
                for problem in problems.iter() {
                    error!("{problem}");
                }
                error!("not reloaded: what was running stays");
            }
        }
    }
}
