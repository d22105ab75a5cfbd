//! The daemon: options, signals, one thread per loop.

mod daemon;

use daemon::addresses::{PresentPolicy, own_addresses};
use daemon::manager::Manager;
use daemon::pid_file::{self, Answer, NoAnswer, PidFile};
use daemon::reload::{Launch, loaded};
use log::{info, warn};
use rustix::fs::{Access, access};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::iterator::Signals;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write};
use std::mem;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use weir::cache::store::Store;
use weir::config::explain::{Question, explain};
use weir::config::policy::{self, LocalAddresses};
use weir::config::{Command, Problems, Settings, exit, help};
use weir::engine::{ClientLimits, Engine};
use weir::log::diagnostics::{self, Diagnostics};
use weir::log::files::FILE_NAME;
use weir::log::writer::{Destination, Opened, Writer};
use weir::policy::Policy;
use weir::resolver::{self, Resolver};
use weir::sandbox::{self, Enforced, Paths, User};
use weir::shell::{self, AccessLog, CacheFile, Failure, Listener, Persister, Worker, Workers};

/// How long the end waits for somebody to read standard error (chosen).
const SAID_WITHIN: Duration = Duration::from_secs(1);

/// Descriptors beside those of connections: listeners, logs, epoll, name servers (chosen, generously).
const DESCRIPTORS_OF_OURS: u64 = 1200;

/// The same for every further loop, among which look-ups are divided (chosen).
const DESCRIPTORS_OF_A_LOOP: u64 = 40;

/// As many descriptors are taken where nobody minds (chosen: what most systems allow a process).
const DESCRIPTORS_AMPLE: u64 = 1 << 20;

/// Look-ups in collapse that are left for one of many loops (chosen).
const LOOK_UPS_LEAST: usize = 16;

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let environment: Vec<(String, String)> =
        std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
    let mut launch = Launch { arguments, environment, piped: None };
    let (settings, problems) = launch.load();
    start_log(&settings);
    if !problems.is_empty() {
        return ExitCode::from(tell_all(&settings, problems));
    }
    let code = match &settings.command {
        Command::Help => print(&help::help()),
        Command::HelpOn(topics) => help_on(topics),
        Command::Version => print(&format!("weir {}\n", env!("CARGO_PKG_VERSION"))),
        Command::PrintConfig => print(&print_config(&settings)),
        Command::Check => daemon::check::run(&settings, Problems::new()),
        Command::Explain { .. } => run_explain(&settings),
        Command::Reload => ask_to_reload(&settings),
        Command::Run => run(settings, launch),
    };
    ExitCode::from(code)
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}

fn start_log(settings: &Settings) {
    env_logger::Builder::new()
        .filter_level(log::LevelFilter::Warn)
        // A reload may have it say more.
        .filter_module("weir", log::LevelFilter::Trace)
        .format(|out, record| {
            let time = out.timestamp_millis();
            writeln!(out, "{time} weir {}: {}", record.level().as_str().to_ascii_lowercase(), record.args())
        })
        .target(env_logger::Target::Pipe(Box::new(Diagnostics)))
        .init();
    log::set_max_level(settings.level());
}

/// Prints; that nobody reads it any more is no fault of ours.
fn print(text: &str) -> u8 {
    let _ = io::stdout().write_all(text.as_bytes());
    exit::OK
}

fn help_on(topics: &[String]) -> u8 {
    if topics.is_empty() {
        return print(&help::list_of_topics());
    }
    let texts: Result<Vec<String>, String> = topics.iter().map(|topic| help::help_on(topic)).collect();
    match texts {
        Ok(texts) => print(&texts.join("\n")),
        Err(message) => fail(&message, exit::USAGE),
    }
}

/// Tells what is wrong with the settings, and with all else that can be looked at in spite of it.
fn tell_all(settings: &Settings, problems: Problems) -> u8 {
    match settings.command {
        Command::Check | Command::Run => daemon::check::run(settings, problems),
        Command::PrintConfig
        | Command::Explain { .. }
        | Command::Reload
        | Command::Help
        | Command::HelpOn(_)
        | Command::Version => said(&problems),
    }
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
    compile_by(settings, listeners, seed, &read_file)
}

fn compile_by(
    settings: &Settings,
    listeners: &[SocketAddr],
    seed: [u64; 2],
    read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Policy, Problems> {
    let own = LocalAddresses { listeners: listeners.to_vec(), addresses: own_addresses() };
    policy::compile(settings, &own, seed, read_file)
}

fn addresses_to_bind(settings: &Settings) -> Vec<SocketAddr> {
    settings.hosts.iter().map(|host| SocketAddr::new(host.value, settings.port)).collect()
}

fn run_explain(settings: &Settings) -> u8 {
    let Command::Explain { user, client, method, target } = &settings.command else { return exit::USAGE };
    let seed = match random_seed() {
        Ok(seed) => seed,
        Err(code) => return code,
    };
    let listeners = addresses_to_bind(settings);
    let policy = match compile(settings, &listeners, seed) {
        Ok(policy) => policy,
        Err(problems) => {
            return said(&problems);
        }
    };
    let question = Question { user: user.as_deref(), client: *client, method: method.as_deref(), target };
    let (text, allowed) = explain(settings, policy, listeners, &question, seed, &read_file);
    print(&text);
    if allowed { exit::OK } else { exit::REFUSED }
}

/// `weir reload`: the verdict is the daemon's.
fn ask_to_reload(settings: &Settings) -> u8 {
    let Some(file) = &settings.pid_file else {
        return fail("reload: expected --pid-file FILE, the one that the running weir has", exit::USAGE);
    };
    match pid_file::ask(&file.value) {
        Ok(Answer::Reloaded(text)) => print(&format!("weir: {}\n", text.replace('\n', "\nweir: "))),
        Ok(Answer::Failed(text)) => {
            let code = fail(&text.replace('\n', "\nweir: "), exit::CONFIGURATION);
            fail("not reloaded: what was running stays", code)
        }
        Err(NoAnswer::NotRunning(message)) => fail(&message, exit::UNAVAILABLE),
        Err(NoAnswer::Unable(message)) => fail(&message, exit::OS_ERROR),
    }
}

fn run(settings: Settings, launch: Launch) -> u8 {
    match start(settings, launch) {
        Ok((daemon, signals)) => daemon.serve(signals),
        Err(code) => code,
    }
}

/// Everything that the running daemon consists of, beside the loops' own.
struct Daemon {
    launch: Launch,
    settings: Settings,
    listeners: Vec<SocketAddr>,
    workers: Workers,
    policy: PresentPolicy,
    writer: Writer,
    store: Option<Arc<Store>>,
    persister: Option<Persister>,
    manager: Manager,
    pid_file: Option<PidFile>,
    /// Rules and users.
    loaded: [usize; 2],
}

/// Ends the waiting for signals.
struct CloseOnDrop(signal_hook::iterator::Handle);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn start(mut settings: Settings, launch: Launch) -> Result<(Daemon, Signals), u8> {
    let seed = random_seed()?;
    sandbox::protect_memory().map_err(os_error)?;
    let user = find_user(&settings)?;
    let loops = settings.workers_on(thread::available_parallelism().map_or(1, NonZero::get));
    if let Some(warning) = limit_connections(&mut settings, loops) {
        warn!("{warning}");
    }
    let listeners = bind_all(&settings, loops)?;
    let local: Vec<SocketAddr> =
        listeners[0].iter().filter_map(|listener| listener.local_address().ok()).collect();
    let signals = Signals::new([SIGHUP, SIGUSR1, SIGUSR2, SIGTERM, SIGINT]).map_err(os_error)?;
    // A file that may not grow is to be an error of the write, not the end: nobody looks at the flag.
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map_err(os_error)?;
    let manager = Manager::connect();
    let Kept { log, cache_file, pid_file } = give_up_rights(&settings, user.as_ref())?;
    // Read with the rights that are left: what a reload would fail at fails now.
    let policy = compile(&settings, &local, seed).map_err(|problems| {
        let code = said(&problems);
        let unreadable = problems.iter().any(|problem| problem.message.contains("cannot be read"));
        let hint = "files must be readable for what --user and --sandbox leave of weir's rights";
        if unreadable { fail(hint, code) } else { code }
    })?;
    warn_if_open(&local, &policy, &settings);
    warn_of_skipped(&policy);
    warn_if_unreadable(&settings);
    if let Some(closed) = policy::unreadable_name_files(&read_file) {
        warn!("{closed}: its name servers or names are not known");
    }
    let loaded = loaded(&policy);
    let policy = Arc::new(policy);
    let workers = make_workers(&settings, listeners, &local, policy.clone(), seed)?;
    // From here on there are threads.
    diagnostics::begin().map_err(os_error)?;
    let writer = Writer::start(log).map_err(os_error)?;
    let access_log = AccessLog { sender: writer.sender(), format: settings.log_format };
    let store = workers.first().and_then(|worker| worker.engine.store());
    let persister = cache_file.zip(store.clone()).map(|(file, store)| Persister::start(file, store));
    let persister = persister.transpose().map_err(os_error)?;
    let at_end = CloseOnDrop(signals.handle());
    let workers = Workers::start(workers, &access_log, settings.stats_every, settings.workers.pinned, at_end)
        .map_err(os_error)?;
    let policy = PresentPolicy::start(policy, &workers).map_err(os_error)?;
    for address in &local {
        eprintln!("weir: listening on {address}");
    }
    let listeners = local;
    let daemon = Daemon {
        launch,
        settings,
        listeners,
        workers,
        policy,
        writer,
        store,
        persister,
        manager,
        pid_file,
        loaded,
    };
    daemon.manager.ready(&daemon.status());
    Ok((daemon, signals))
}

/// What each loop is made of. They have the policy, the names of the hosts file and the limits on clients in common; limits of
/// other things are divided.
fn make_workers(
    settings: &Settings,
    listeners: Vec<Vec<Listener>>,
    local: &[SocketAddr],
    policy: Arc<Policy>,
    seed: [u64; 2],
) -> Result<Vec<Worker>, u8> {
    let loops = listeners.len();
    let (resolver, hosts) = resolver_settings(settings, loops);
    let mut whole = policy::engine_settings(settings, local.to_vec(), seed);
    whole.splices &= shell::SPLICE_AVAILABLE;
    let client_limits = Arc::new(ClientLimits::new(&whole));
    let mut workers = Vec::new();
    for (index, listeners) in listeners.into_iter().enumerate() {
        // Each draws its own query ids.
        let resolver = Resolver::new(resolver.clone(), hosts.clone(), random_seed()?);
        let engine = Engine::new(whole.divided(index, loops), policy.clone(), resolver);
        workers.push(Worker { engine: engine.with_client_limits(client_limits.clone()), listeners });
    }
    Ok(workers)
}

/// What one of so many loops resolves by.
fn resolver_settings(settings: &Settings, loops: usize) -> (resolver::Settings, resolver::Hosts) {
    let (mut resolver, hosts) = policy::resolver_settings(settings, &read_file);
    let least = LOOK_UPS_LEAST.min(resolver.look_ups_max);
    resolver.look_ups_max = resolver.look_ups_max.div_ceil(loops).max(least);
    (resolver, hosts)
}

fn os_error(error: io::Error) -> u8 {
    fail(&format!("cannot start: {error}"), exit::OS_ERROR)
}

/// Tells what is wrong and returns the exit code for it.
fn said(problems: &Problems) -> u8 {
    eprintln!("{problems}");
    problems.exit_code()
}

fn find_user(settings: &Settings) -> Result<Option<User>, u8> {
    let Some(wanted) = &settings.user else { return Ok(None) };
    User::find(&wanted.value).map(Some).map_err(|message| {
        let mut problems = Problems::new();
        problems.add(wanted.origin.clone(), message);
        said(&problems)
    })
}

/// What is opened before the sandbox, and stays open.
struct Kept {
    log: Opened,
    cache_file: Option<CacheFile>,
    pid_file: Option<PidFile>,
}

/// Becomes the user, opens the log, the pid file and the cache's file, enters the sandbox. They are opened by the user, not by
/// root before: in a directory that belongs to the user, a link could lead root to any file.
fn give_up_rights(settings: &Settings, user: Option<&User>) -> Result<Kept, u8> {
    if let Some(user) = user {
        if let Some(path) = &settings.log_dir {
            user.make_directory(path).map_err(|error| log_error(settings, &error))?;
        }
        let refused =
            |error| fail(&format!("cannot become --user: {error}; expected to be root"), exit::OS_ERROR);
        user.assume().map_err(refused)?;
        sandbox::protect_memory().map_err(os_error)?;
    } else if rustix::process::geteuid().is_root() {
        warn!("runs as root: --user nobody would make do with less");
    }
    let log = destination(settings).open().map_err(|error| log_error(settings, &error))?;
    if let (Some(path), Some(_)) = (&settings.log_dir, user) {
        // Otherwise the log could not be rotated, which would show too late.
        access(path, Access::WRITE_OK).map_err(|error| log_error(settings, &error.into()))?;
    }
    let cache_file = open_cache_file(settings)?;
    let pid_file = create_pid_file(settings)?;
    let paths = paths(settings);
    sandbox::give_up_capabilities(&paths).map_err(os_error)?;
    if settings.sandbox {
        enter_sandbox(&paths)?;
    }
    Ok(Kept { log, cache_file, pid_file })
}

fn create_pid_file(settings: &Settings) -> Result<Option<PidFile>, u8> {
    let Some(file) = &settings.pid_file else { return Ok(None) };
    PidFile::create(&file.value).map(Some).map_err(|error| {
        let whose = settings.user.as_ref().map_or("weir", |user| &user.value);
        let why = match error.kind() {
            ErrorKind::WouldBlock => "another weir does; expected a file of its own for each".to_owned(),
            _ => format!("{error}; expected a file, or none yet, in a directory that {whose} can write to"),
        };
        let mut problems = Problems::new();
        let message = format!("{}: cannot keep the number of the process there: {why}", file.value.display());
        problems.add(file.origin.clone(), message);
        said(&problems)
    })
}

/// What can be saved at the stop shows now.
fn open_cache_file(settings: &Settings) -> Result<Option<CacheFile>, u8> {
    let Some(file) = settings.cache_file.as_ref().filter(|_| settings.cache) else { return Ok(None) };
    CacheFile::open(&file.value).map(Some).map_err(|error| {
        let whose = settings.user.as_ref().map_or("weir", |user| &user.value);
        let why = match error.kind() {
            ErrorKind::WouldBlock => {
                "another process does, which is running or about to end; expected a file of its own for each"
                    .to_owned()
            }
            _ => format!("{error}; expected a file, or none yet, in a directory that {whose} can write to"),
        };
        let mut problems = Problems::new();
        let message = format!("{}: cannot keep the cache there: {why}", file.value.display());
        problems.add(file.origin.clone(), message);
        said(&problems)
    })
}

fn log_error(settings: &Settings, error: &io::Error) -> u8 {
    let place = settings.log_dir.as_ref().map(|path| format!(" in {}", path.display())).unwrap_or_default();
    let whose = match &settings.user {
        Some(user) => format!(": expected a directory and an access.log that belong to {}", user.value),
        None => String::new(),
    };
    fail(&format!("cannot write the access log{place}: {error}{whose}"), exit::OS_ERROR)
}

/// What is opened while weir serves.
fn paths(settings: &Settings) -> Paths {
    let lists = [&settings.blocklists, &settings.allowlists].into_iter().flatten();
    let lists =
        lists.chain(&settings.auth_file).chain(&settings.cache_rules).chain(&settings.purge_token_file);
    let pages = settings.error_pages.iter().map(|page| page.value.path.clone());
    let files = lists.map(|file| file.value.clone()).chain(settings.config.clone()).chain(pages).collect();
    let cache_file = settings.cache_file.as_ref().filter(|_| settings.cache);
    let cache_directory = cache_file.map(|file| shell::parent(&file.value).to_owned());
    let written = settings.log_dir.iter().cloned().chain(cache_directory).collect();
    let appended = settings.log_dir.iter().map(|directory| directory.join(FILE_NAME)).collect();
    Paths { files, appended, written }
}

/// The settings as a file, and what the sandbox opens for them.
fn print_config(settings: &Settings) -> String {
    let mut text = help::print_config(settings);
    if settings.sandbox {
        let user = settings.user.as_ref().and_then(|user| User::find(&user.value).ok());
        for line in sandbox::describe(&paths(settings), user.map(|user| user.id())).lines() {
            let _ = writeln!(text, "# sandbox: {line}");
        }
    }
    text
}

fn enter_sandbox(paths: &Paths) -> Result<(), u8> {
    let missing = match sandbox::enter(paths) {
        Ok(Enforced { paths: true, calls: true }) => return Ok(()),
        Ok(Enforced { paths: false, calls: true }) => "Landlock",
        Ok(Enforced { paths: true, calls: false }) => "seccomp",
        Ok(Enforced { paths: false, calls: false }) => "Landlock and seccomp",
        Err(error) => {
            let message = format!("cannot enter the sandbox: {error} (--sandbox=no goes without)");
            return Err(fail(&message, exit::OS_ERROR));
        }
    };
    info!("sandbox: this system lacks {missing}; going on without");
    Ok(())
}

/// For each loop its listeners, which are at the same addresses.
fn bind_all(settings: &Settings, loops: usize) -> Result<Vec<Vec<Listener>>, u8> {
    let mut all: Vec<Vec<Listener>> = (0..loops).map(|_| Vec::new()).collect();
    for address in addresses_to_bind(settings) {
        match shell::bind_for(loops, address) {
            Ok(listeners) => all.iter_mut().zip(listeners).for_each(|(of_loop, one)| of_loop.push(one)),
            Err(error) => {
                let code = match error.kind() {
                    ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable => exit::UNAVAILABLE,
                    _ => exit::OS_ERROR,
                };
                return Err(fail(&format!("cannot listen on {address}: {error}"), code));
            }
        }
    }
    Ok(all)
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

/// Raises the limit of descriptors to what the connections need, or lowers the connections to what there is and says so.
fn limit_connections(settings: &mut Settings, loops: usize) -> Option<String> {
    let further = DESCRIPTORS_OF_A_LOOP * (loops as u64 - 1);
    let beside = u64::from(settings.idle_origins) + DESCRIPTORS_OF_OURS + further;
    let needed = 2 * u64::from(settings.max_connections) + beside;
    let limit = getrlimit(Resource::Nofile);
    let (current, maximum) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    // A reload may ask for more, and the sandbox lets nobody raise a limit then.
    let ample = needed.max(DESCRIPTORS_AMPLE);
    if current >= ample.min(needed.max(maximum)) {
        return None;
    }
    // Only the privileged may raise the maximum; if that fails, there is what there is.
    let attempts = [needed.max(maximum), maximum];
    let raised = attempts.into_iter().any(|maximum| {
        let wanted = Rlimit { current: Some(ample.min(maximum)), maximum: Some(maximum) };
        setrlimit(Resource::Nofile, wanted).is_ok()
    });
    let available = if raised { getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) } else { current };
    if available >= needed {
        return None;
    }
    let possible = (available.saturating_sub(beside) / 2).max(16).min(settings.max_connections.into()) as u32;
    let wanted = mem::replace(&mut settings.max_connections, possible);
    Some(format!(
        "--max-connections {wanted} needs {needed} descriptors, but only {available} can be had (ulimit -n): \
         taking {possible} connections at most"
    ))
}

/// A proxy for everybody is seldom meant.
fn warn_if_open(listeners: &[SocketAddr], policy: &Policy, settings: &Settings) {
    let reachable = listeners.iter().find(|listener| !listener.ip().is_loopback());
    if let (Some(address), None, true) = (reachable, &policy.users, settings.allow_clients.is_empty()) {
        warn!("{address} serves anybody who can reach it: see --auth-file and --allow-client");
    }
}

/// Root may have read it before it gave up its rights.
fn warn_if_unreadable(settings: &Settings) {
    let Some(path) = &settings.config else { return };
    if let Err(error) = access(path, Access::READ_OK) {
        let place = path.display();
        warn!("{place}: cannot be read with the rights that are left ({error}): a reload will fail");
    }
}

fn warn_of_skipped(policy: &Policy) {
    for list in policy.acl.skipped() {
        warn!("{list}");
    }
}

impl Daemon {
    /// Obeys signals until all loops have ended. Returns the exit code.
    fn serve(mut self, mut signals: Signals) -> u8 {
        let mut draining = false;
        let mut code = exit::OK;
        for signal in signals.forever() {
            match signal {
                SIGHUP => self.reload(),
                SIGUSR1 => self.writer.reopen(),
                SIGUSR2 => self.workers.log_statistics(),
                SIGTERM if !draining => {
                    info!(
                        "stopping: finishing what is under way, for at most {:?}",
                        self.settings.drain_timeout
                    );
                    draining = true;
                    self.manager.stopping("finishing what is under way");
                    self.workers.send(&shell::WorkerMessage::Drain);
                }
                other => {
                    info!("stopping at once");
                    self.manager.stopping("stopping at once");
                    code = 128 + other as u8;
                    self.workers.send(&shell::WorkerMessage::Quit);
                }
            }
        }
        match self.workers.join() {
            Ok(()) => self.persister.into_iter().filter(|_| code == exit::OK).for_each(Persister::save),
            Err(Failure::Failed(error)) => {
                code = fail(&format!("the loop has failed: {error}"), exit::OS_ERROR)
            }
            Err(Failure::Died) => code = fail("the loop has died", exit::OS_ERROR),
        }
        if !self.writer.close() {
            warn!("the access log's output is stuck: some lines are lost");
        }
        diagnostics::flush(SAID_WITHIN);
        code
    }
}
