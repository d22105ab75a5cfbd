//! The part of the daemon around a proxy: signals, the files and rights of a process, the service manager, the end.

pub mod check;
pub mod commands;
#[cfg(feature = "admin")]
pub mod control;
mod files;
mod manager;
#[cfg(feature = "admin")]
mod monitoring;
#[cfg(not(feature = "admin"))]
mod no_admin;
mod passed;
mod pid_file;
mod reload;
mod report;
mod rights;
#[cfg(feature = "admin")]
mod takeover;

pub use reload::Launch;

use control::{Orders, SocketFile};
use files::reader;
use log::{info, warn};
use manager::Manager;
use monitoring::Monitoring;
#[cfg(not(feature = "admin"))]
pub use no_admin::control;
#[cfg(not(feature = "admin"))]
use no_admin::{monitoring, takeover};
use pid_file::PidFile;
use report::{fail, os_error, said, say};
use rights::Kept;
use rustix::fs::{Access, access};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::low_level::raise;
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use takeover::{Predecessor, Sockets};
use weir::config::{Problems, Settings, exit};
use weir::embed::{self, BuildError, Configuration, Control, Failure, Listeners, MemoryGauge, Proxy};
use weir::log::diagnostics;
use weir::log::writer::Writer;
use weir::sandbox;

/// How long the end waits until standard error is read (chosen).
const SAID_WITHIN: Duration = Duration::from_secs(1);

/// The running daemon.
pub struct Daemon {
    launch: Launch,
    control: Control,
    thread: JoinHandle<Result<(), Failure>>,
    end: End,
    writer: Writer,
    manager: Manager,
    pid_file: Option<PidFile>,
    orders: Orders,
    /// The listening sockets, for a successor.
    sockets: Sockets,
}

/// What is decided once: whether the cache is saved at the end, or not, because weir stops at once.
#[derive(Clone, Debug, Default)]
struct End(Arc<AtomicBool>);

impl End {
    /// True for the first of both.
    fn decide(&self) -> bool {
        !self.0.swap(true, Ordering::SeqCst)
    }
}

/// What the thread of the proxy has for the end.
struct AtEnd {
    end: End,
    /// Removed when it is dropped.
    socket_file: Option<SocketFile>,
    signals: signal_hook::iterator::Handle,
}

/// Ends the waiting for signals.
impl Drop for AtEnd {
    fn drop(&mut self) {
        self.signals.close();
    }
}

/// Starts a proxy with the remaining rights. Fails with the exit code.
pub fn start(settings: Settings, launch: Launch) -> Result<(Daemon, Signals), u8> {
    let passed = passed::sockets();
    sandbox::protect_memory().map_err(os_error)?;
    let user = rights::find_user(&settings)?;
    let problems = check::before_start(&settings, user.as_ref());
    if !problems.is_empty() {
        return Err(said(&problems));
    }
    let loops = embed::loops(&settings);
    rights::raise_descriptors(&settings, loops);
    let (predecessor, taken) = Predecessor::ask(&settings)?;
    let listeners = listen(&settings, loops, passed, taken, &predecessor)?;
    let sockets = Sockets::of(&listeners, &settings).map_err(os_error)?;
    let monitoring = Monitoring::listen(&settings)?;
    let mut signals = Signals::new([SIGHUP, SIGUSR1, SIGUSR2, SIGTERM, SIGINT, SIGQUIT]).map_err(os_error)?;
    // A write beyond the limit of a file's size must fail, not end the process. The flag is not read.
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map_err(os_error)?;
    let manager = Manager::connect();
    // The sandbox forbids opening Unix sockets.
    let event_socket = settings.guard.as_ref().and_then(|_| UnixDatagram::unbound().ok());
    event_socket.iter().for_each(|socket| drop(socket.set_nonblocking(true)));
    #[cfg(feature = "mongodb")]
    embed::prepare_mongodb().map_err(os_error)?;
    // The sandbox closes this file, too. Code that only the start has used so far goes before the lists are read.
    let gauge = MemoryGauge::open();
    gauge.iter().for_each(|gauge| gauge.set_limit(settings.memory_bytes));
    let Kept { log, cache_file, pid_file, control_socket } = rights::give_up(&settings, user.as_ref())?;
    warn_if_unreadable(&settings);
    // Threads exist from here on.
    diagnostics::begin().map_err(os_error)?;
    let writer = Writer::start(log).map_err(os_error)?;
    let monitored = monitoring.serve().map_err(os_error)?;
    // Files are read with the remaining rights: a reload that would fail for want of them fails now.
    let read_file = reader(&settings);
    let proxy = Proxy::builder()
        .configuration(Configuration::loaded(settings, read_file))
        .listeners(listeners)
        .log_sender(writer.sender())
        .cache_file(cache_file)
        .event_socket(event_socket)
        .follow_addresses()
        .owns_process()
        .memory_gauge(gauge.clone())
        .build()
        .map_err(not_built)?;
    let control = proxy.control().clone();
    writer.set_queue(control.log_bytes_max().unwrap_or(u64::MAX));
    monitored.begin(&control);
    let orders = Orders::default();
    let serve = |socket| control::serve(socket, &control, &orders, &sockets);
    let socket_file = control_socket.map(serve).transpose().map_err(os_error)?;
    let end = End::default();
    let at_end = AtEnd { end: end.clone(), socket_file, signals: signals.handle() };
    let thread = run_apart(proxy, loops, at_end).map_err(os_error)?;
    if let Some(gauge) = gauge {
        gauge.drop_code();
    }
    for address in control.addresses() {
        say(&format!("weir: listening on {address}"));
    }
    let daemon = Daemon { launch, control, thread, end, writer, manager, pid_file, orders, sockets };
    daemon.manager.ready(&daemon.status());
    let watched = daemon.control.clone();
    let all_turn = move |within| watched.wait_until_applied(within);
    daemon.manager.begin_watch(all_turn).map_err(os_error)?;
    relieve(predecessor, &mut signals);
    Ok((daemon, signals))
}

/// Makes the weir before drain, unless this one was told to end while it started.
fn relieve(predecessor: Predecessor, signals: &mut Signals) {
    let pending: Vec<_> = signals.pending().collect();
    // The daemon obeys them when it serves.
    pending.iter().for_each(|signal| drop(raise(*signal)));
    if !pending.iter().any(|signal| [SIGTERM, SIGINT, SIGQUIT].contains(signal)) {
        predecessor.relieve();
    } else if predecessor.is_there() {
        info!("told to end before it served: the weir before goes on");
    }
}

/// Listens with sockets that a predecessor or a service manager has opened, and with new ones.
fn listen(
    settings: &Settings,
    loops: usize,
    passed: Vec<TcpListener>,
    taken: Vec<TcpListener>,
    predecessor: &Predecessor,
) -> Result<Listeners, u8> {
    let source = if predecessor.is_there() { "take-over" } else { "LISTEN_FDS" };
    // Sockets from a service manager are the same as those taken over, or stay with the manager.
    let mut inherited = if predecessor.is_there() { taken } else { passed };
    let addresses = embed::addresses_to_bind(settings, &reader(settings));
    // With nothing in common the weir before would be drained for another place.
    let is_wanted = |socket: &TcpListener| socket.local_addr().is_ok_and(|at| addresses.contains(&at));
    if predecessor.is_there() && !inherited.iter().any(is_wanted) {
        return Err(nothing_in_common(settings, &inherited));
    }
    let listeners = Listeners::bind(&addresses, loops, &mut inherited);
    for left in inherited.iter().filter_map(|socket| socket.local_addr().ok()) {
        if predecessor.is_there() && addresses.contains(&left) {
            return Err(too_few_loops(settings, loops, &left));
        }
        let why = match addresses.contains(&left) {
            true => "each loop has one already: see --workers",
            false => "no option names that address: see --host and --port",
        };
        warn!("{source}: the socket at {left} is closed, because {why}");
    }
    listeners.map_err(|refused| {
        let code = match refused.error.kind() {
            ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable => exit::UNAVAILABLE,
            _ => exit::OS_ERROR,
        };
        fail(&refused.to_string(), code)
    })
}

/// Each loop has one socket at an address. Sockets beyond the number of loops would be closed with the connections that wait there.
fn too_few_loops(settings: &Settings, loops: usize, address: &std::net::SocketAddr) -> u8 {
    let mut problems = Problems::new();
    let message = format!(
        "workers {loops}: expected at least as many as the weir has that is taken over, whose loops listen on {address}, too"
    );
    problems.add(settings.origin("workers"), message);
    said(&problems)
}

fn nothing_in_common(settings: &Settings, sockets: &[TcpListener]) -> u8 {
    let places: Vec<String> =
        sockets.iter().filter_map(|socket| Some(socket.local_addr().ok()?.to_string())).collect();
    let mut problems = Problems::new();
    let message =
        format!("expected --host and --port of the weir before: it listens at {}", places.join(", "));
    problems.add(settings.origin("take-over"), message);
    said(&problems)
}

fn not_built(error: BuildError) -> u8 {
    let code = match error {
        BuildError::Configuration(problems) => {
            let code = said(&problems);
            let unreadable = problems.iter().any(|problem| problem.message.contains("cannot be read"));
            let hint = "files must be readable for what --user and --sandbox leave of weir's rights";
            if unreadable { fail(hint, code) } else { code }
        }
        BuildError::System(error) => os_error(error),
        other => fail(&other.to_string(), exit::OS_ERROR),
    };
    diagnostics::flush(SAID_WITHIN);
    code
}

/// Runs the proxy and saves its cache on another thread, so that this one can wait for signals. `at_end` is dropped when the proxy has
/// been dropped, even by a panic.
fn run_apart(proxy: Proxy, loops: usize, at_end: AtEnd) -> io::Result<JoinHandle<Result<(), Failure>>> {
    let name = if loops == 1 { "weir-loop" } else { "weir-loop-0" };
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let mut at_end = at_end;
        let mut proxy = proxy;
        proxy.run()?;
        // A command that would not be carried out is not accepted any more.
        drop(at_end.socket_file.take());
        if at_end.end.decide() {
            // A failure has been logged.
            let _ = proxy.save_cache();
        }
        Ok(())
    })
}

/// Root may have read it before it gave up its rights.
fn warn_if_unreadable(settings: &Settings) {
    let Some(path) = &settings.config else { return };
    if let Err(error) = access(path, Access::READ_OK) {
        let place = path.display();
        warn!("{place}: cannot be read with the rights that are left ({error}): a reload will fail");
    }
}

impl Daemon {
    /// Obeys signals until the proxy has ended. Returns the exit code.
    pub fn serve(mut self, mut signals: Signals) -> u8 {
        let (mut draining, mut terminated) = (false, false);
        let mut code = exit::OK;
        let mut saving = false;
        for signal in signals.forever() {
            match signal {
                SIGHUP => self.reload(),
                SIGUSR1 => self.writer.reopen(),
                SIGUSR2 => self.control.log_statistics(),
                SIGTERM if !draining => {
                    terminated = !self.orders.take_drain();
                    let within = self.control.settings().drain_timeout;
                    info!("stopping: finishing what is under way, for at most {within:?}");
                    draining = true;
                    self.manager.stopping("finishing what is under way");
                    self.sockets.close();
                    self.control.drain();
                }
                SIGTERM if self.orders.take_drain() => {}
                // The drain was ordered: this is the first signal from outside, which means a drain, too.
                SIGTERM if !terminated => {
                    info!("stopping already: another TERM stops at once");
                    terminated = true;
                }
                other => {
                    info!("stopping at once");
                    self.manager.stopping("stopping at once");
                    self.sockets.close();
                    saving = !self.end.decide() && code == exit::OK;
                    code = 128 + other as u8;
                    self.control.stop();
                    if saving {
                        // A disk may take long. The next start removes what is written until this process has ended.
                        break;
                    }
                }
            }
        }
        let ended = if saving { Ok(Ok(())) } else { self.thread.join() };
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(Failure::Failed(error))) => {
                code = fail(&format!("the loop has failed: {error}"), exit::OS_ERROR)
            }
            Ok(Err(Failure::Died)) | Err(_) => code = fail("the loop has died", exit::OS_ERROR),
        }
        self.control.end_events();
        if !self.writer.close() {
            warn!("the access log's output is stuck: some lines are lost");
        }
        diagnostics::flush(SAID_WITHIN);
        code
    }

    /// The status of a running daemon for the service manager.
    fn status(&self) -> String {
        let addresses: Vec<String> = self.control.addresses().iter().map(ToString::to_string).collect();
        let [rules, users] = self.control.loaded();
        format!("serving on {}, {rules} rules, {users} users", addresses.join(", "))
    }
}
