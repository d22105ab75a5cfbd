//! Commands for a running proxy, from any thread.

use super::configuration::{
    Compiled, Configuration, compile_for, engine_settings, loaded, resolver_settings, warn_if_open,
    warn_of_skipped,
};
use super::gateway_part::GatewayPart;
use super::guard_parts::GuardParts;
use super::guard_settings::store_settings;
use super::sizing::size;
use super::{addresses, descriptors};
use crate::cache::store::Store;
use crate::config::guard::GuardFile;
use crate::config::memory::{Part, Shares};
use crate::config::policy::{LocalAddresses, unreadable_name_files};
use crate::config::{Problems, Settings};
use crate::engine::callback::NameVerdict;
use crate::gateway::directives as gateway;
use crate::gateway::rules::Gateway;
use crate::guard::directives::Directives;
use crate::guard::rules::Guard;
use crate::guard::state::KEYS_MAX;
use crate::http::target::Name;
use crate::log::format::Format;
use crate::metrics::Snapshot;
use crate::part;
use crate::policy::Policy;
use crate::shell::{GuardLink, MemoryGauge, Remote, Round, Scoreboard, StoreSettings, WorkerMessage};
use crate::time::Now;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Controls a proxy from any thread. A command takes effect when the loops turn next, in the order of the calls; the
/// descriptor of a host that waits by itself becomes readable. Commands for a proxy that has ended have no effect.
#[derive(Clone, Debug)]
pub struct Control(Arc<Shared>);

pub(super) struct Shared {
    pub remotes: Vec<Remote>,
    pub scoreboard: Arc<Scoreboard>,
    pub listeners: Vec<SocketAddr>,
    pub store: Option<Arc<Store>>,
    /// The sizes of what cannot change while the proxy runs: buffers, and the cache if there is one.
    pub fixed: Vec<(Part, u64)>,
    /// Keys the hashes of every configuration, so that a reload does not forget which passwords were right.
    pub seed: [u64; 2],
    /// Whether the access log has a receiver.
    pub logs: bool,
    /// Connects the guard with loops and store, and has the clock of all loops.
    pub link: Arc<GuardLink>,
    /// Exists without a guard file, too, because a reload may bring one.
    pub guard: Option<GuardParts>,
    pub gateway: GatewayPart,
    /// The gauge of the process's memory, if the process runs this proxy only.
    pub gauge: Option<Arc<MemoryGauge>>,
    pub present: Mutex<Present>,
    /// Held while the configuration of all loops changes: two reloads, or a reload and networks that were fetched, must not mix.
    pub changing: Mutex<()>,
    /// The proxy drains, or was stopped.
    pub ending: AtomicBool,
    /// The proxy is gone: threads are not started any more.
    pub closed: AtomicBool,
    /// The answer to a question whether all loops turn, until the last loop has answered.
    pub asked: Mutex<Option<std::sync::mpsc::Receiver<()>>>,
}

/// Leaves out the seed.
impl fmt::Debug for Shared {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { listeners, guard, gateway, present, .. } = self;
        out.debug_struct("Shared")
            .field("listeners", listeners)
            .field("guard", guard)
            .field("gateway", gateway)
            .field("present", present)
            .finish_non_exhaustive()
    }
}

/// The present configuration of the loops; each loop has it after its next turn.
pub(super) struct Present {
    pub settings: Settings,
    /// The part of `memory` of each component, if `memory` is set.
    pub shares: Option<Shares>,
    pub policy: Arc<Policy>,
    /// The settings of the store that the guard shares with other processes.
    pub store_settings: Option<StoreSettings>,
    pub guard: Option<part::guard::Shared<Guard>>,
    /// The directives that the guard was compiled from.
    pub directives: Option<Arc<Directives>>,
}

/// Leaves out settings and policy: fields that are added to requests may be keys of an origin.
impl fmt::Debug for Present {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Present { shares, store_settings, directives, .. } = self;
        out.debug_struct("Present")
            .field("shares", shares)
            .field("store_settings", store_settings)
            .field("directives", directives)
            .finish_non_exhaustive()
    }
}

/// The result of a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Rules that hold now.
    pub rules: usize,
    /// The number of users.
    pub users: usize,
    /// Options that have another value now.
    pub changed: Vec<&'static str>,
    /// Options and lines of files whose new values need a restart: the old values stay until then.
    pub need_restart: Vec<&'static str>,
    /// The reason why name servers and hosts stay as they were: their files exist, but are closed to this process.
    pub resolver_kept: Option<String>,
}

impl Control {
    pub(super) fn new(shared: Shared) -> Control {
        Control(Arc::new(shared))
    }

    /// The addresses that the proxy listens on.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.0.listeners
    }

    /// Applies another configuration, all of it, or fails with all problems and changes nothing. Requests under way keep the
    /// configuration that they began with. Takes as long as compiling all lists, and does not wait for the loops.
    pub fn reload(&self, configuration: &Configuration) -> Result<Reloaded, Problems> {
        let read_file = |path: &Path| configuration.read(path);
        let found = configuration.settings()?;
        let (before, known) = {
            let present = self.lock();
            let addresses = present.policy.acl.own_addresses().to_vec();
            (present.settings.clone(), LocalAddresses { listeners: self.0.listeners.clone(), addresses })
        };
        let (mut settings, changes) = before.reloaded(&found);
        let mut need_restart = changes.need_restart;
        self.0.without_sink(&mut settings);
        let Compiled { policy, guard, gateway, content_bytes } =
            compile_for(&known, &settings, self.0.seed, configuration)?;
        if need_restart.contains(&"gateway") {
            check_gateway(&found, &read_file)?;
        }
        // In a build without these parts the compiler knows that both are `None`.
        let built = part::guard::built();
        let (mut guard, gateway) = (built.and(guard), built.and(gateway));
        let shares = self.resize(&mut settings, content_bytes, guard.as_mut(), &mut need_restart)?;
        let parts = self.0.parts();
        let changing = self.0.change();
        if self.0.closed.load(Ordering::Relaxed) {
            return Ok(Reloaded::default());
        }
        parts.map_or(Ok(()), |parts| parts.clouds.check_files(guard.as_ref()))?;
        parts.map_or(Ok(()), |parts| parts.check_events(guard.as_ref()))?;
        let warning = descriptors::limit_connections(&mut settings, self.0.remotes.len());
        // The operator has read it already, if nothing has changed.
        if let Some(warning) = warning.filter(|_| settings.max_connections != before.max_connections) {
            log::warn!("{warning}");
        }
        warn_of_skipped(&policy);
        // A file that was emptied has neither users nor clients.
        warn_if_open(self.0.gateway.forward(&self.0.listeners), &policy, &settings);
        let [rules, users] = loaded(&policy);
        let resolver_kept = unreadable_name_files(&read_file);
        // Everything else does not wait for it: the next reload would not find it open, either.
        if resolver_kept.is_none() {
            let (resolver, hosts) =
                resolver_settings(&settings, shares.as_ref(), self.0.remotes.len(), &read_file);
            self.0.send(&WorkerMessage::SetResolver(resolver, hosts));
        }
        // Behind the resolver: what these rules have judged must include the aliases, if they are wanted from now on.
        self.set_policy(policy);
        #[cfg(feature = "cloud")]
        let sources = super::clouds::cloud_sources(guard.as_ref(), &settings);
        let guard = self.set_guard(guard, &mut need_restart);
        if self.0.gateway.listens_elsewhere(gateway.as_ref()) {
            need_restart.push("listen lines of the gateway file");
        }
        let gateway = self.set_gateway(gateway.as_ref());
        let of_gateway = (gateway, &*self.0.gateway.listeners);
        let store = self.0.store.clone();
        let engine = engine_settings(&settings, &self.0.listeners, self.0.seed, store, guard, of_gateway);
        let (format, every) = (settings.log_format, settings.stats_every);
        self.0.send(&WorkerMessage::SetSettings(Arc::new(engine), format, every));
        if let Some(gauge) = &self.0.gauge {
            gauge.set_limit(settings.memory_bytes);
        }
        {
            let mut present = self.lock();
            (present.settings, present.shares) = (settings, shares);
        }
        drop(changing);
        #[cfg(feature = "cloud")]
        self.fetch_clouds(sources);
        Ok(Reloaded { rules, users, changed: changes.made, need_restart, resolver_kept })
    }

    /// Divides `memory` again. Blocks, cache and keys of the guard keep their sizes until a restart, so their memory is not
    /// divided; `need_restart` gets what cannot shrink.
    fn resize(
        &self,
        settings: &mut Settings,
        content_bytes: u64,
        mut guard: Option<&mut GuardFile>,
        need_restart: &mut Vec<&'static str>,
    ) -> Result<Option<Shares>, Problems> {
        let loops = self.0.remotes.len();
        let mut kept = self.0.fixed.clone();
        kept.extend(self.0.parts().map(|parts| (Part::Keys, parts.state.keys_max() as u64)));
        let values = self.0.scoreboard.value_bytes_max();
        let pages = values.is_some();
        kept.extend(values.map(|bytes| (Part::Values, bytes)));
        size(settings, loops, content_bytes, pages, guard.as_deref_mut(), &kept).or_else(|too_small| {
            let shares = size(settings, loops, content_bytes, pages, guard, &[])?;
            log::warn!("memory needs a restart for what cannot shrink: {}", lines(&too_small));
            need_restart.push("memory");
            Ok(shares)
        })
    }

    /// Most bytes of lines that may wait to be written to the access log; `None` for the limit without `memory`.
    #[doc(hidden)]
    pub fn log_bytes_max(&self) -> Option<u64> {
        self.lock().shares.as_ref().map(|shares| shares.of(Part::Log))
    }

    /// Compiles a guard file over the present counters, and connects its store.
    fn set_guard(
        &self,
        file: Option<GuardFile>,
        need_restart: &mut Vec<&'static str>,
    ) -> Option<part::guard::Shared<Guard>> {
        let (parts, link) = (self.0.parts()?, &self.0.link);
        let state = &parts.state;
        let store_settings = file.as_ref().and_then(store_settings);
        if let Err(error) = parts.set_events(file.as_ref().and_then(GuardFile::events)) {
            log::error!("guard: events cannot be written: {error}");
        }
        if self.lock().store_settings != store_settings {
            if let Err(error) = link.set_store(store_settings.clone(), state) {
                log::error!("guard: the store cannot be asked: {error}");
            }
            self.lock().store_settings = store_settings;
        }
        if let Some(file) = &file {
            let keys_max = file.directives.keys_max.unwrap_or(KEYS_MAX);
            if keys_max != state.keys_max() {
                log::warn!("guard-keys needs a restart: {} hold until then", state.keys_max());
                need_restart.push("guard-keys");
            }
        }
        parts.clouds.set_files(file.as_ref());
        let directives = file.as_ref().map(|file| Arc::new(file.directives.clone()));
        let guard = file.and_then(|file| parts.hold(file));
        let mut present = self.lock();
        (present.guard, present.directives) = (guard.clone(), directives);
        guard
    }

    /// Gives a policy of a reload to all loops, for the present addresses of this machine: others may have come while it was compiled.
    fn set_policy(&self, policy: Policy) {
        let mut present = self.lock();
        let addresses = addresses::read();
        let known = present.policy.acl.own_addresses();
        let policy = policy.with_own_addresses(addresses.as_deref().unwrap_or(known).to_vec());
        let policy = Policy { acl: policy.acl.succeeding(&present.policy.acl), ..policy };
        self.0.set_policy(&mut present, policy);
        drop(present);
        if let Err(error) = addresses {
            log::warn!(
                "cannot tell the addresses of this machine ({error}): the known ones stay closed to clients"
            );
        }
    }

    /// Compiles a gateway file over the present states of upstreams.
    fn set_gateway(&self, routes: Option<&gateway::Directives>) -> Option<part::guard::Shared<Gateway>> {
        let Shared { gateway, link, scoreboard, .. } = &*self.0;
        if let Err(error) = gateway.set(routes, link) {
            log::error!("gateway: upstreams cannot be checked: {error}");
        }
        scoreboard.show_gateway(gateway.get(), link.clock());
        gateway.get()
    }

    /// Reads the addresses of this machine, which are closed to clients like loopback, and applies them if they have changed.
    pub fn refresh_addresses(&self) -> io::Result<()> {
        let mut present = self.lock();
        // Under the lock: older addresses must not replace newer ones.
        let addresses = addresses::read()?;
        if addresses == present.policy.acl.own_addresses() {
            return Ok(());
        }
        let policy = present.policy.with_own_addresses(addresses.clone());
        self.0.set_policy(&mut present, policy);
        drop(present);
        log::info!("this machine has other addresses now: {addresses:?}");
        Ok(())
    }

    /// Gives the outcome for a name for which `on_name` has answered [`NameVerdict::Later`]: all requests that wait for it
    /// continue, in all loops. [`NameVerdict::Ask`] leaves the name to the proxy's own resolver. No effect if no request
    /// waits.
    pub fn name_found(&self, name: &str, verdict: NameVerdict) {
        if let Ok(name) = Name::parse(name.as_bytes()) {
            self.0.send(&WorkerMessage::NameFound(Box::new(name), verdict));
        }
    }

    /// Accepts nothing new, finishes requests under way, within `drain-timeout`, and ends.
    pub fn drain(&self) {
        self.0.ending.store(true, Ordering::Relaxed);
        self.0.send(&WorkerMessage::Drain);
    }

    /// Ends at once: requests under way are cut.
    pub fn stop(&self) {
        self.0.ending.store(true, Ordering::Relaxed);
        self.0.send(&WorkerMessage::Quit);
    }

    /// The numbers that each loop reported last. A loop reports in its turn after this call, and when a line of statistics is
    /// due. [`Proxy::statistics`](super::Proxy::statistics) has the present numbers of its own loop.
    pub fn statistics(&self) -> Snapshot {
        self.0.send(&WorkerMessage::Report(None));
        self.snapshot()
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.0.scoreboard.snapshot()
    }

    /// Logs one line of statistics for all loops, whether or not a number has changed.
    pub fn log_statistics(&self) {
        let round = Round::begin(&self.0.scoreboard, true);
        self.0.send(&WorkerMessage::Report(Some(round)));
    }

    /// Waits until every loop has carried out the commands so far, or has ended, at most `within`. False if a loop has not.
    /// Useless on the thread that polls the proxy.
    pub fn wait_until_applied(&self, within: Duration) -> bool {
        let (sender, receiver) = channel();
        self.0.send(&WorkerMessage::Settled(sender));
        receiver.recv_timeout(within) == Err(RecvTimeoutError::Disconnected)
    }

    /// Ends all threads and connections that are not those of the loops. Clones of the control may outlive the proxy.
    pub(super) fn close(&self) {
        let changing = self.0.change();
        self.0.ending.store(true, Ordering::Relaxed);
        self.0.closed.store(true, Ordering::Relaxed);
        #[cfg(feature = "cloud")]
        let refresher = self.0.parts().and_then(|parts| parts.clouds.take_refresher());
        drop(changing);
        #[cfg(feature = "cloud")]
        drop(refresher);
        self.0.gateway.close();
        self.0.link.close();
        self.end_events();
    }

    /// Whether the proxy drains, or was stopped.
    #[doc(hidden)]
    pub fn is_ending(&self) -> bool {
        self.0.ending.load(Ordering::Relaxed)
    }

    /// Writes the events that are still to be written, and no more.
    #[doc(hidden)]
    pub fn end_events(&self) {
        drop(self.0.parts().map(|parts| parts.set_events(None)));
    }

    /// The present gateway, if a gateway file is configured.
    pub(super) fn gateway(&self) -> Option<part::guard::Shared<Gateway>> {
        self.0.gateway.get()
    }

    /// The present guard, if a guard file is configured.
    pub(super) fn guard(&self) -> Option<part::guard::Shared<Guard>> {
        self.lock().guard.clone()
    }

    /// The time on the clock of all loops.
    pub(super) fn guard_now(&self) -> Now {
        self.0.link.now()
    }

    /// Events of the guard from a cursor on, one line each, and the number of events that were lost before them.
    #[doc(hidden)]
    pub fn guard_events(&self, cursor: &mut u64, at_most: usize, json: bool) -> (Vec<String>, u64) {
        let Some(parts) = self.0.parts() else { return (Vec::new(), 0) };
        let (events, lost) = parts.state.read_events(cursor, at_most);
        (events.iter().map(|event| if json { event.json() } else { event.line() }).collect(), lost)
    }

    /// The numbers of rules and users.
    pub fn loaded(&self) -> [usize; 2] {
        loaded(&self.lock().policy)
    }

    /// The settings that hold.
    #[doc(hidden)]
    pub fn settings(&self) -> Settings {
        self.lock().settings.clone()
    }

    /// No code that holds the lock can leave the value half changed.
    fn lock(&self) -> MutexGuard<'_, Present> {
        self.0.lock()
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl Shared {
    /// The parts of the guard; `None` in a build without it.
    pub fn parts(&self) -> Option<&GuardParts> {
        part::guard::built().and(self.guard.as_ref())
    }

    /// The present configuration of the loops.
    pub fn lock(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be held while the configuration changes.
    pub fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn send(&self, message: &WorkerMessage) {
        self.remotes.iter().for_each(|remote| remote.send(message.clone()));
    }

    fn set_policy(&self, present: &mut Present, policy: Policy) {
        present.policy = Arc::new(policy);
        self.send(&WorkerMessage::SetPolicy(Arc::clone(&present.policy)));
    }

    /// A log without a receiver is not written.
    fn without_sink(&self, settings: &mut Settings) {
        if !self.logs {
            settings.log_format = Format::None;
        }
    }
}

/// Reads the gateway file of settings that hold from the next start on: a mistake in it would end that start. The sandbox may close a file
/// that this process does not use.
fn check_gateway(found: &Settings, read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>) -> Result<(), Problems> {
    let is_closed = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    match &found.gateway {
        Some(file) if !read_file(&file.value).is_err_and(is_closed) => {
            crate::config::gateway::load(found, read_file).map(drop)
        }
        Some(_) | None => Ok(()),
    }
}

/// All problems in one line.
fn lines(problems: &Problems) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// One line, without the options that need a restart.
impl fmt::Display for Reloaded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "reloaded: {} rules, {} users", self.rules, self.users)?;
        match self.changed.as_slice() {
            [] => Ok(()),
            changed => write!(out, "; changed: {}", changed.join(", ")),
        }
    }
}
