//! Builds a proxy from a configuration and what only a program can give.

use super::configuration::{
    Compiled, Configuration, addresses_to_bind, compile_here, engine_settings, loops, random_seed,
    resolver_settings, warn_if_open, warn_of_skipped,
};
use super::control::{Control, Present, Shared};
use super::descriptors;
use super::follower::Follower;
use super::gateway_part::GatewayPart;
use super::guard_parts::GuardParts;
use super::guard_settings::store_settings;
use super::listeners::{ListenError, Listeners};
use super::proxy::Proxy;
use super::sizing::{size, tell};
use crate::config::guard::GuardFile;
use crate::config::memory::{Part, Shares};
use crate::config::policy::unreadable_name_files;
use crate::config::{Problems, Settings, gateway, policy};
#[cfg(feature = "pages")]
use crate::engine::callback::Answer;
use crate::engine::callback::{ConnectionVerdict, NameVerdict, RequestVerdict, RequestView, Ruling};
#[cfg(feature = "pages")]
use crate::engine::pages::PageReply;
use crate::engine::pages::{OwnPages, Pages};
use crate::engine::{self, Callbacks, ClientLimits, Engine};
use crate::log::format::Format;
use crate::log::writer::LogSender;
use crate::part::{self, guard::built};
use crate::policy::Policy;
use crate::resolver::Resolver;
use crate::shell::stores::{StoreClient, VALUE_BYTES_MAX, ValueCounting};
use crate::shell::{
    AccessLog, CacheFile, Clock, EventLoop, GuardLink, GuardSources, HostClock, MemoryGauge, Persister, Time,
    Worker, Workers,
};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

/// The place of the seed for pages, behind the places of all loops ([`Builder::seed`]).
const PAGES_PLACE: u64 = 1 << 32;

/// The place of the seed for the guard, behind those of pages.
const GUARD_PLACE: u64 = PAGES_PLACE << 1;

/// The reason of a refusal after a panic of a callback.
const PANICKED: &str = "callback_panicked";

/// Builds a proxy; [`Proxy::builder`] creates a builder.
#[derive(Default)]
pub struct Builder {
    configuration: Configuration,
    listeners: Option<Listeners>,
    sockets: Vec<TcpListener>,
    log: Option<LogSender>,
    cache_file: Option<CacheFile>,
    owns_process: bool,
    gauge: Option<Arc<MemoryGauge>>,
    follows_addresses: bool,
    event_socket: Option<UnixDatagram>,
    callbacks: Callbacks,
    pages: Option<Pages>,
    values_file: Option<PathBuf>,
    seed: Option<[u64; 2]>,
    clock: Option<Arc<HostClock>>,
}

/// The reason why no proxy was built.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// The configuration is wrong, or a file that it names.
    Configuration(Problems),
    /// A socket cannot listen.
    Listen(ListenError),
    /// Anything else that the system refuses.
    System(io::Error),
}

impl fmt::Debug for Builder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Builder").field("configuration", &self.configuration).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Begins to put one together.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl Builder {
    /// Sets the configuration of the proxy.
    pub fn configuration(mut self, configuration: Configuration) -> Builder {
        self.configuration = configuration;
        self
    }

    /// Listens on this socket, and on further sockets that are given, in place of `host` and `port`. For proxies with one worker.
    /// The addresses of `listen` in a gateway file get sockets in any case, unless a given socket listens there.
    pub fn listener(mut self, socket: TcpListener) -> Builder {
        self.sockets.push(socket);
        self
    }

    /// Sets the receiver of the access log, in the format of `log-format`. It is called once for each turn of a loop that has
    /// lines, with all of them, each with its newline, on the thread of the loop, so it must not wait. Without a receiver
    /// there is no log. If the receiver panics, its lines are lost.
    pub fn access_log(self, sink: impl Fn(&[u8]) + Send + Sync + 'static) -> Builder {
        self.log_sender(LogSender::to_sink(Arc::new(move |lines| guarded((), || sink(lines)))))
    }

    /// Sets the callback that decides, by the client's address, whether a client connection is served. With several workers
    /// all their threads call it; it must not wait. A panic refuses the connection with 500.
    pub fn on_connection(
        mut self,
        callback: impl Fn(SocketAddr) -> ConnectionVerdict + Send + Sync + 'static,
    ) -> Builder {
        self.callbacks.connection = Some(Arc::new(move |client| {
            let refused = ConnectionVerdict::Refuse { status: 500, reason: PANICKED.to_owned() };
            guarded(refused, || callback(client))
        }));
        self
    }

    /// Sets the callback that decides about each request that rules, users and guard allow. With several workers all their
    /// threads call it; it must not wait. A panic refuses the request with 500.
    ///
    /// ```
    /// use weir::callback::{RequestVerdict, Ruling};
    /// let builder = weir::Proxy::builder().on_request(|request| match request.host {
    ///     "ads.example" => RequestVerdict::Refuse { status: 403, reason: "ads".to_owned() }.into(),
    ///     _ => Ruling::from(RequestVerdict::Allow).with_note(request.user),
    /// });
    /// ```
    pub fn on_request(
        mut self,
        callback: impl Fn(&RequestView<'_>) -> Ruling + Send + Sync + 'static,
    ) -> Builder {
        self.callbacks.request = Some(Arc::new(move |request| {
            let refused = RequestVerdict::Refuse { status: 500, reason: PANICKED.to_owned() };
            guarded(refused.into(), || callback(request))
        }));
        self
    }

    /// Sets the callback that gives the addresses of a name, before the hosts file and the name servers. It is called for
    /// each request that needs a connection to a name, on the threads of all workers; it must not wait. A panic leaves the
    /// name to the proxy's own resolver.
    pub fn on_name(mut self, callback: impl Fn(&str) -> NameVerdict + Send + Sync + 'static) -> Builder {
        self.callbacks.name = Some(Arc::new(move |name| guarded(NameVerdict::Ask, || callback(name))));
        self
    }

    /// Answers requests for the proxy itself, and for hosts of its own, with pages of the program. Pages have sessions,
    /// tokens against forged requests and named values, in the store of the guard file (`store`), or, without one, in memory,
    /// which a thread keeps. See [`pages`](crate::pages).
    #[cfg(feature = "pages")]
    pub fn pages(mut self, mut pages: Pages) -> Builder {
        let handler = pages.handler;
        pages.handler = Arc::new(move |request| {
            let failed = Answer { status: 500, ..Answer::default() };
            guarded(PageReply::Answer(failed), || handler(request))
        });
        self.pages = Some(pages);
        self
    }

    /// If the guard file names no store, keeps the values of pages in this file as well, so that they outlive the process. No
    /// other process may use the file at the same time.
    #[cfg(feature = "pages")]
    pub fn values_file(mut self, path: impl Into<PathBuf>) -> Builder {
        self.values_file = Some(path.into());
        self
    }

    /// Sets the seed of all hash tables and random numbers, so that a test can repeat the order of everything that is hashed
    /// or drawn. What other processes see of the guard stays random: the key of its tokens (`csrf`) without a key file, and the
    /// name of this process in a shared store. An attacker who knows the seed can fill hash tables with collisions and forge
    /// answers of name servers: for tests only.
    pub fn seed(mut self, seed: [u64; 2]) -> Builder {
        self.seed = Some(seed);
        self
    }

    /// Sets a clock in place of the machine's, so that a test decides how much time passes for deadlines, ages, limits, bans
    /// and the access log. The clock is read at least once a turn, on the threads of all workers. [`Proxy::next_timeout`] is
    /// in its time, while a `poll` waits in the machine's: with a clock that stands still, poll with a time-out of zero.
    /// Parts with threads (stores, health checks, fetched lists, the cache file) use the machine's clock. Time that would go
    /// back stands still, also when the clock panics. The clock lives as long as the proxy and each [`Control`] of it.
    pub fn clock(mut self, clock: impl Fn() -> Time + Send + Sync + 'static) -> Builder {
        let last = Mutex::new(Time::default());
        self.clock = Some(Arc::new(move || {
            // Before the lock: what the clock calls may read the time as well.
            let read = guarded(None, || Some(clock()));
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(Time { monotonic, unix }) = read {
                *last = Time { monotonic: monotonic.max(last.monotonic), unix };
            }
            *last
        }));
        self
    }

    /// Starts a thread that looks every two seconds for changed addresses of this machine. Without the thread, the addresses
    /// of the start stay closed to clients until [`Control::refresh_addresses`] is called.
    pub fn follow_addresses(mut self) -> Builder {
        self.follows_addresses = true;
        self
    }

    /// The process runs this proxy only. The allocator is set to keep large pieces apart and to return memory after a burst
    /// (mallopt(3), malloc_trim(3)); in a process with other work a library must not decide that.
    pub fn owns_process(mut self) -> Builder {
        self.owns_process = true;
        self
    }

    /// Keeps the whole process within `memory`; in a process with other work a library must not decide that.
    #[doc(hidden)]
    pub fn memory_gauge(mut self, gauge: Option<Arc<MemoryGauge>>) -> Builder {
        self.gauge = gauge;
        self
    }

    /// Sockets for several loops.
    #[doc(hidden)]
    pub fn listeners(mut self, listeners: Listeners) -> Builder {
        self.listeners = Some(listeners);
        self
    }

    /// The access log's thread.
    #[doc(hidden)]
    pub fn log_sender(mut self, sender: LogSender) -> Builder {
        self.log = Some(sender);
        self
    }

    /// A socket to send events of the guard with.
    #[doc(hidden)]
    pub fn event_socket(mut self, socket: Option<UnixDatagram>) -> Builder {
        self.event_socket = socket;
        self
    }

    /// Sets the opened cache file.
    #[doc(hidden)]
    pub fn cache_file(mut self, file: Option<CacheFile>) -> Builder {
        self.cache_file = file;
        self
    }

    /// Reads and compiles all files, listens, and starts the threads that options ask for. Connections wait until the
    /// proxy is polled; with several workers the other loops serve theirs at once.
    pub fn build(mut self) -> Result<Proxy, BuildError> {
        let mut settings = self.settings().map_err(BuildError::Configuration)?;
        let seed = self.draw(0)?;
        let (listeners, of_options) = self.listen(&settings)?;
        let (loops, addresses) = (listeners.loops(), listeners.addresses());
        let compiled = compile_here(&settings, &addresses, seed, &self.configuration);
        let compiled = compiled.map_err(BuildError::Configuration)?;
        let Compiled { policy, guard, gateway, content_bytes } = compiled;
        // In a build without these parts the compiler knows that both are `None`.
        let (mut guard, routes) = (built().and(guard), built().and(gateway));
        let shares = self.divide(&mut settings, loops, content_bytes, guard.as_mut())?;
        let gateway_part = GatewayPart::new(routes.as_ref(), &addresses, of_options);
        self.warn(&settings, &policy, gateway_part.forward(&addresses));
        let values = self.start_pages(shares.as_ref())?;
        let policy = Arc::new(policy);
        let guard_link = Arc::new(GuardLink::new(Clock::new(self.clock.take())));
        let guard_seed = self.draw(GUARD_PLACE)?;
        let guard_parts = GuardParts::new(&guard_link, guard.as_ref(), self.event_socket.take(), guard_seed)?;
        let store_settings = guard.as_ref().and_then(store_settings);
        let events = guard.as_ref().and_then(GuardFile::events);
        #[cfg(feature = "cloud")]
        let sources = super::clouds::cloud_sources(guard.as_ref(), &settings);
        let directives = guard.as_ref().map(|file| Arc::new(file.directives.clone()));
        let guard = guard.zip(guard_parts.as_ref()).and_then(|(file, parts)| parts.hold(file));
        let cache = policy::new_store(&settings, seed);
        gateway_part.set(routes.as_ref(), &guard_link)?;
        let of_gateway = (gateway_part.get(), &*gateway_part.listeners);
        let whole = engine_settings(&settings, &addresses, seed, cache, guard.clone(), of_gateway);
        let workers = self.make_workers((&settings, shares.as_ref()), listeners, whole, &policy)?;
        let store = workers.first().and_then(|worker| worker.engine.store());
        let (persister, logs) = (self.start_persister(&settings, store.as_ref())?, self.log.is_some());
        let (event_loop, workers) = self.start_workers(&settings, workers, &guard_link)?;
        if let (Some(gauge), Some(_)) = (&self.gauge, &shares) {
            gauge.set_limit(settings.memory_bytes);
        }
        workers.scoreboard().show_gateway(gateway_part.get(), guard_link.clock());
        if let Some(parts) = &guard_parts {
            show_guard(&workers, parts, &guard_link);
            parts.set_events(events)?;
            guard_link.set_store(store_settings.clone(), &parts.state)?;
        }
        if let Some((values, counting)) = values {
            guard_link.set_values(values);
            workers.scoreboard().show_values(counting);
        }
        let of_cache = settings.cache.then_some((Part::Cache, settings.cache_size_bytes));
        let fixed = [(Part::Buffers, settings.buffers.into())].into_iter().chain(of_cache).collect();
        let control = Control::new(Shared {
            fixed,
            link: guard_link,
            guard: guard_parts,
            gateway: gateway_part,
            gauge: self.gauge,
            remotes: workers.remotes().to_vec(),
            scoreboard: workers.scoreboard(),
            listeners: addresses,
            store,
            seed,
            logs,
            present: Mutex::new(Present { settings, shares, policy, store_settings, guard, directives }),
            changing: Mutex::new(()),
            ending: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            asked: Mutex::new(None),
        });
        #[cfg(feature = "cloud")]
        control.fetch_clouds(sources);
        let follower = self.follows_addresses.then(|| Follower::start(control.clone())).transpose()?;
        Ok(Proxy::new(event_loop, workers, control, persister, follower))
    }

    /// The settings of the configuration, without a log if nothing receives it.
    fn settings(&self) -> Result<Settings, Problems> {
        let mut settings = self.configuration.settings()?;
        if self.log.is_none() {
            settings.log_format = Format::None;
        }
        Ok(settings)
    }

    /// Divides memory and descriptors among the parts of the proxy.
    fn divide(
        &self,
        settings: &mut Settings,
        loops: usize,
        content_bytes: u64,
        guard: Option<&mut GuardFile>,
    ) -> Result<Option<Shares>, BuildError> {
        let has_pages = self.pages.is_some();
        let shares = size(settings, loops, content_bytes, has_pages, guard, &[]);
        let shares = shares.map_err(BuildError::Configuration)?;
        descriptors::check(loops)?;
        if let Some(warning) = descriptors::limit_connections(settings, loops) {
            log::warn!("{warning}");
        }
        shares.iter().for_each(|shares| tell(settings, shares));
        Ok(shares)
    }

    /// Warns of what is open to all, was skipped, or cannot be read.
    fn warn<'a>(
        &self,
        settings: &Settings,
        policy: &Policy,
        listeners: impl Iterator<Item = &'a SocketAddr>,
    ) {
        warn_if_open(listeners, policy, settings);
        warn_of_skipped(policy);
        if let Some(closed) = unreadable_name_files(&|path: &Path| self.configuration.read(path)) {
            log::warn!("{closed}: its name servers or names are not known");
        }
    }

    /// Starts the loops; the first one is polled by the program.
    fn start_workers(
        &mut self,
        settings: &Settings,
        workers: Vec<Worker>,
        guard_link: &Arc<GuardLink>,
    ) -> io::Result<(Box<EventLoop>, Workers)> {
        let sender = self.log.take().unwrap_or_else(|| LogSender::to_sink(Arc::new(|_| ())));
        let access_log = AccessLog { sender, format: settings.log_format };
        Workers::start(
            workers,
            &access_log,
            Arc::clone(guard_link),
            settings.stats_every,
            settings.workers.pinned,
            self.owns_process,
            self.gauge.clone(),
        )
    }

    /// Prepares the pages, if there are any, and starts the store in this process if they need one.
    fn start_pages(
        &mut self,
        shares: Option<&Shares>,
    ) -> Result<Option<(StoreClient, Arc<ValueCounting>)>, BuildError> {
        let Some(pages) = part::pages::built().and(self.pages.take()) else { return Ok(None) };
        let mut secret = [0; 32];
        for (part, place) in secret.chunks_exact_mut(16).zip([PAGES_PLACE, PAGES_PLACE + 1]) {
            for (bytes, number) in part.chunks_exact_mut(8).zip(self.draw(place)?) {
                bytes.copy_from_slice(&number.to_le_bytes());
            }
        }
        self.callbacks.pages = part::pages::share(OwnPages::new(pages, &secret));
        let file = self.values_file.take();
        let name = file.as_ref().map(|file| file.display().to_string());
        let bytes_max = shares.map_or(VALUE_BYTES_MAX, |shares| shares.of(Part::Values) as usize);
        let started = StoreClient::start_local(file, bytes_max, self.draw(PAGES_PLACE + 2)?);
        let named = |error: io::Error| match name {
            Some(name) => io::Error::new(error.kind(), format!("{name}: {error}")),
            None => error,
        };
        started.map(Some).map_err(|error| BuildError::System(named(error)))
    }

    /// The sockets, and how many of each loop's do not come from `listen` in a gateway file.
    fn listen(&mut self, settings: &Settings) -> Result<(Listeners, usize), BuildError> {
        let of_options = settings.hosts.len();
        if let Some(listeners) = self.listeners.take() {
            return Ok((listeners, of_options));
        }
        let read_file = |path: &Path| self.configuration.read(path);
        let bind = |addresses: &[SocketAddr], loops| {
            Listeners::bind(addresses, loops, &mut Vec::new()).map_err(BuildError::Listen)
        };
        let loops = loops(settings);
        if self.sockets.is_empty() {
            return Ok((bind(&addresses_to_bind(settings, &read_file), loops)?, of_options));
        }
        if loops > 1 {
            let mut problems = Problems::new();
            problems.add(settings.origin("workers"), "expected 1 with sockets that listen already");
            return Err(BuildError::Configuration(problems));
        }
        let mut of_gateway = gateway::listen_addresses(settings, &read_file);
        let mut listeners = Listeners::ready_made(std::mem::take(&mut self.sockets))?;
        let given = listeners.addresses();
        of_gateway.retain(|address| !given.contains(address));
        listeners.append(bind(&of_gateway, loops)?);
        Ok((listeners, given.len()))
    }

    /// The parts of each loop. The loops share the policy, the names of the hosts file and the limits on clients; other
    /// limits are divided.
    fn make_workers(
        &self,
        (settings, shares): (&Settings, Option<&Shares>),
        listeners: Listeners,
        whole: engine::Settings,
        policy: &Arc<Policy>,
    ) -> io::Result<Vec<Worker>> {
        let loops = listeners.loops();
        let (resolver, hosts) =
            resolver_settings(settings, shares, loops, &|path| self.configuration.read(path));
        let client_limits = Arc::new(ClientLimits::new(&whole));
        let mut workers = Vec::new();
        for (index, listeners) in listeners.into_loops().into_iter().enumerate() {
            // Each loop draws its own query ids.
            let resolver = Resolver::new(resolver.clone(), hosts.clone(), self.draw(index as u64 + 1)?);
            let mut engine = Engine::new(whole.divided(index, loops), policy.clone(), resolver);
            engine.set_callbacks(self.callbacks.clone());
            workers.push(Worker { engine: engine.with_client_limits(client_limits.clone()), listeners });
        }
        Ok(workers)
    }

    /// The seed of that place: random, or derived from the given seed.
    fn draw(&self, place: u64) -> io::Result<[u64; 2]> {
        self.seed.map_or_else(random_seed, |[first, second]| Ok([first.wrapping_add(place), second]))
    }

    fn start_persister(
        &mut self,
        settings: &Settings,
        store: Option<&Arc<crate::cache::store::Store>>,
    ) -> Result<Option<Persister>, BuildError> {
        let Some(built) = part::cache::built() else { return Ok(None) };
        let named = settings.cache_file.as_ref().filter(|_| settings.cache);
        let file = match (self.cache_file.take(), named) {
            (Some(file), _) => Some(file),
            (None, Some(named)) => Some(CacheFile::open(&named.value).map_err(|error| {
                let mut problems = Problems::new();
                let message = format!("{}: cannot keep the cache there: {error}", named.value.display());
                problems.add(named.origin.clone(), message);
                BuildError::Configuration(problems)
            })?),
            (None, None) => None,
        };
        let started = file.zip(store.cloned()).map(|(file, store)| Persister::start(built, file, store));
        Ok(started.transpose()?)
    }
}

/// The result of a callback, or `instead` if it panics: a panic must not leave the loop in the middle of an event. The
/// callback is called again next time; the program is responsible for its half changed state.
fn guarded<T>(instead: T, callback: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(callback)).unwrap_or_else(|payload| {
        // A drop is code of the program, too, and may panic.
        std::mem::forget(payload);
        instead
    })
}

impl From<io::Error> for BuildError {
    fn from(error: io::Error) -> BuildError {
        BuildError::System(error)
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildError::Configuration(problems) => problems.fmt(out),
            BuildError::Listen(error) => error.fmt(out),
            BuildError::System(error) => error.fmt(out),
        }
    }
}

impl std::error::Error for BuildError {}

/// Shows the numbers of the guard's parts on the scoreboard.
fn show_guard(workers: &Workers, parts: &GuardParts, link: &GuardLink) {
    workers.scoreboard().show_guard(GuardSources {
        state: Arc::clone(&parts.state),
        store: Arc::clone(link.store()),
        clouds: Arc::clone(&parts.clouds.known),
    });
}
