//! The configuration of a proxy: the options of the daemon, as values or as text, and the files that they name.

use super::addresses::own_addresses;
use super::sizing::limit_resolver;
use super::{descriptors, guard_settings};
use crate::cache::store::Store;
use crate::config::files::{Files, OnDisk};
use crate::config::gateway;
use crate::config::guard::GuardFile;
use crate::config::memory::{Content, Shares};
use crate::config::options::{self, Scope, Spec, TABLE};
use crate::config::policy::{self, LocalAddresses};
use crate::config::{Command, Origin, Problems, Settings, unknown_option};
use crate::engine::LISTENERS_MAX;
use crate::gateway::directives::Directives;
use crate::gateway::rules::Gateway;
use crate::guard::rules::Guard;
use crate::part::guard::{Shared, built};
use crate::policy::Policy;
use crate::{engine, random, resolver, shell};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::SystemTime;

/// The name of the text of a configuration in problems: `configuration:3: ...`.
const TEXT_NAME: &str = "configuration";

/// Options that the host program of a proxy replaces, each with the way to do so.
const HOSTS: [(&str, &str); 12] = [
    ("user", "gives up rights itself"),
    ("sandbox", "gives up rights itself"),
    ("pid-file", "has a process of its own"),
    ("control", "has a control of its own"),
    ("take-over", "gives sockets that listen already"),
    ("metrics", "asks for the statistics itself"),
    ("log-dir", "gives a sink for the access log"),
    ("log-max-size", "gives a sink for the access log"),
    ("log-keep", "gives a sink for the access log"),
    ("verbose", "installs a logger"),
    ("quiet", "installs a logger"),
    ("config", "gives the text itself"),
];

/// Look-ups at the same time that are left for one of many loops (chosen).
const LOOK_UPS_LEAST: usize = 16;

/// Reads one file.
pub(super) type ReadFile = dyn Fn(&Path) -> io::Result<Vec<u8>> + Send + Sync;

/// The configuration of a proxy: everything that `docs/options.md` describes, except the options of the daemon's process
/// (`user`, `sandbox`, `pid-file`, `control`, `take-over`, `metrics`, `log-dir`, `log-max-size`, `log-keep`, `verbose`,
/// `quiet`, `config`) and those of its commands. Options that are not set have their defaults, except `workers`, which is 1.
///
/// ```
/// let configuration = weir::Configuration::new()
///     .text("host 127.0.0.1\nport 0\nauth-file users\n")
///     .set("block", "ads.example.com")
///     .file("users", "ann:secret\n");
/// ```
#[derive(Clone)]
pub struct Configuration {
    source: Source,
    files: BTreeMap<PathBuf, Vec<u8>>,
    /// Reads files that are not in memory; `None` if nothing is read from the disk.
    read: Option<Arc<ReadFile>>,
}

#[derive(Clone)]
enum Source {
    Given {
        text: String,
        /// Names and values.
        options: Vec<(String, String)>,
    },
    /// Loaded by the daemon, from files, environment and command line.
    Loaded(Box<Settings>),
}

impl Configuration {
    /// A configuration with no option set, which reads files from the disk.
    pub fn new() -> Configuration {
        let source = Source::Given { text: String::new(), options: Vec::new() };
        Configuration { source, files: BTreeMap::new(), read: Some(Arc::new(|path| std::fs::read(path))) }
    }

    /// Settings that were loaded elsewhere, and the function that reads the files that they name.
    #[doc(hidden)]
    pub fn loaded(
        settings: Settings,
        read: impl Fn(&Path) -> io::Result<Vec<u8>> + Send + Sync + 'static,
    ) -> Configuration {
        let source = Source::Loaded(Box::new(settings));
        Configuration { source, files: BTreeMap::new(), read: Some(Arc::new(read)) }
    }

    /// Adds lines of a configuration file: `key value`, one option on each. Problems count the lines of all calls together.
    pub fn text(mut self, lines: &str) -> Configuration {
        if let Source::Given { text, .. } = &mut self.source {
            text.push_str(lines);
            if !lines.is_empty() && !lines.ends_with('\n') {
                text.push('\n');
            }
        }
        self
    }

    /// Sets an option, as on the command line of the daemon: it overrides the text. For an option with several values this
    /// adds a value; otherwise the last value counts. `name` is the long name.
    pub fn set(mut self, name: &str, value: &str) -> Configuration {
        if let Source::Given { options, .. } = &mut self.source {
            options.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Keeps a file of this name in memory: lists, users, pages, as options name them. `/etc/resolv.conf` and `/etc/hosts`
    /// can be given as well, and files in the directory of `cloud-ranges`.
    pub fn file(mut self, name: impl Into<PathBuf>, content: impl Into<Vec<u8>>) -> Configuration {
        self.files.insert(name.into(), content.into());
        self
    }

    /// Reads nothing from the disk: files that were not given are missing.
    pub fn memory_only(mut self) -> Configuration {
        self.read = None;
        self
    }

    /// The settings, or all problems in them and in the files that they name.
    pub(super) fn settings(&self) -> Result<Settings, Problems> {
        let (text, options) = match &self.source {
            Source::Given { text, options } => (text, options),
            Source::Loaded(settings) => return Ok(settings.as_ref().clone()),
        };
        let (settings, mut problems) = self.read_settings(text, options);
        if problems.is_empty() {
            return Ok(settings);
        }
        if let Err(others) = compile_here(&settings, &[], [0; 2], self) {
            problems.append(others);
        }
        Err(problems)
    }

    fn read_settings(&self, text: &str, options: &[(String, String)]) -> (Settings, Problems) {
        let mut arguments = vec![format!("--config={TEXT_NAME}")];
        // Short names, and names that contain a value, are the command line's alone.
        let (known, unknown): (Vec<_>, Vec<_>) =
            options.iter().partition(|(name, _)| options::find(name).is_some());
        arguments.extend(known.iter().map(|(name, value)| format!("--{name}={value}")));
        let (mut settings, mut problems) = Settings::read(&arguments, &[], |path| match path.to_str() {
            Some(TEXT_NAME) => Ok(text.as_bytes().to_vec()),
            Some(_) | None => self.read(path),
        });
        for (name, _) in unknown {
            problems.add(Origin::Argument(format!("--{name}")), unknown_option(name));
        }
        if settings.command != Command::Run {
            let message = "expected options only, not what the daemon can do in place of serving";
            problems.add(Origin::Argument(String::new()), message);
        }
        for spec in TABLE {
            let origin = settings.origin(spec.name);
            let ours = spec.name == "config" && known.iter().all(|(name, _)| name != "config");
            if let Some(why) = not_a_proxys(spec).filter(|_| !ours && origin != Origin::Default) {
                problems.add(origin, format!("{} {why}", spec.name));
            }
        }
        settings.config = None;
        if settings.origin("workers") == Origin::Default {
            settings.workers.count = Some(1);
        }
        (settings, problems)
    }

    /// Reads a file: from memory if it was given there.
    pub(super) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match (self.files.get(path), &self.read) {
            (Some(content), _) => Ok(content.clone()),
            (None, Some(read)) => read(path),
            (None, None) => Err(ErrorKind::NotFound.into()),
        }
    }
}

impl Files for Configuration {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        Configuration::read(self, path)
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        built().ok_or(ErrorKind::Unsupported)?;
        let given = self.files.keys().filter(|path| path.parent() == Some(directory));
        let given = given.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
        let mut names: BTreeSet<String> = given.collect();
        if let Some(read) = &self.read {
            match OnDisk(&**read).names(directory) {
                Ok(others) => names.extend(others),
                Err(error) if names.is_empty() => return Err(error),
                Err(_) => {}
            }
        }
        Ok(names.into_iter().collect())
    }

    fn changed(&self, path: &Path) -> Option<SystemTime> {
        built()?;
        let read = self.read.as_ref().filter(|_| !self.files.contains_key(path))?;
        OnDisk(&**read).changed(path)
    }
}

/// The reason why an option is none of a proxy's; `None` if it is one.
fn not_a_proxys(spec: &Spec) -> Option<String> {
    let how = HOSTS.iter().find(|(name, _)| *name == spec.name).map(|(_, how)| how);
    match (how, spec.scope) {
        (Some(how), _) => Some(format!("is the daemon's: the host of a proxy {how}")),
        (None, Scope::NotInFiles | Scope::CommandLine) => Some("is for commands of the daemon".to_owned()),
        (None, Scope::Everywhere) => None,
    }
}

impl Default for Configuration {
    fn default() -> Configuration {
        Configuration::new()
    }
}

/// Leaves out the values of options and the contents of files, which may be passwords.
impl fmt::Debug for Configuration {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options: Vec<_> = match &self.source {
            Source::Given { options, .. } => options.iter().map(|(name, _)| name).collect(),
            Source::Loaded(_) => Vec::new(),
        };
        let files: Vec<_> = self.files.keys().collect();
        let mut shown = out.debug_struct("Configuration");
        shown.field("options", &options).field("files", &files).finish_non_exhaustive()
    }
}

/// The addresses to listen on: those of the options, and then those of the gateway's own listeners.
pub fn addresses_to_bind(
    settings: &Settings,
    read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Vec<SocketAddr> {
    let of_options = settings.hosts.iter().map(|host| SocketAddr::new(host.value, settings.port));
    of_options.chain(gateway::listen_addresses(settings, read_file)).collect()
}

/// The number of loops to run.
pub fn loops(settings: &Settings) -> usize {
    settings.workers_on(thread::available_parallelism().map_or(1, NonZero::get))
}

/// A number that no stranger can foresee.
pub fn random_seed() -> io::Result<[u64; 2]> {
    let mut bytes = [[0; 8]; 2];
    random::fill(bytes.as_flattened_mut())
        .map_err(|error| io::Error::other(format!("no random numbers: {error}")))?;
    Ok(bytes.map(u64::from_ne_bytes))
}

/// The compiled content of the files that the settings name.
#[derive(Debug)]
pub struct Compiled {
    /// Compiled for the given addresses of this machine.
    pub policy: Policy,
    /// The guard file, if one is configured.
    pub guard: Option<GuardFile>,
    /// The gateway file, if one is configured.
    pub gateway: Option<Directives>,
    /// Bytes of memory for the content of all these files.
    pub content_bytes: u64,
}

/// [`compile_here`] for files on the disk.
pub fn compile(
    settings: &Settings,
    listeners: &[SocketAddr],
    seed: [u64; 2],
    read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Compiled, Problems> {
    compile_here(settings, listeners, seed, &OnDisk(read_file))
}

/// Reads and compiles all files that the settings name, for the present addresses of this machine, or fails with all problems.
pub(super) fn compile_here(
    settings: &Settings,
    listeners: &[SocketAddr],
    seed: [u64; 2],
    files: &dyn Files,
) -> Result<Compiled, Problems> {
    let own = LocalAddresses { listeners: listeners.to_vec(), addresses: own_addresses() };
    compile_for(&own, settings, seed, files)
}

/// Files whose content is counted when they are read.
struct Counted<'a> {
    files: &'a dyn Files,
    content: Cell<Content>,
}

impl Files for Counted<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let content = self.files.read(path)?;
        let mut counted = self.content.get();
        counted.add(&content);
        self.content.set(counted);
        Ok(content)
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.files.names(directory)
    }

    fn changed(&self, path: &Path) -> Option<SystemTime> {
        self.files.changed(path)
    }
}

/// [`compile_here`] for given addresses.
pub(super) fn compile_for(
    own: &LocalAddresses,
    settings: &Settings,
    seed: [u64; 2],
    files: &dyn Files,
) -> Result<Compiled, Problems> {
    let files = Counted { files, content: Cell::default() };
    let read_file = &|path: &Path| files.read(path);
    warn_without_cache(settings);
    let policy = policy::compile(settings, own, seed, read_file);
    // No bans are made that cannot be kept.
    let bans_max = built().map_or(0, |_| settings.bans_max());
    let guard = GuardFile::load(settings, &files, bans_max).and_then(|file| {
        let wrong = file.as_ref().map(guard_settings::check).unwrap_or_default();
        if wrong.is_empty() { Ok(file) } else { Err(wrong) }
    });
    let gateway = gateway::load(settings, read_file);
    match (policy, guard, gateway, count(&own.listeners, settings)) {
        (Ok(policy), Ok(guard), Ok(gateway), Ok(())) => {
            let lines = gateway.iter().flat_map(|gateway| &gateway.routes);
            let upstreams = lines.map(|route| route.upstreams.len()).sum();
            let [_, users] = loaded(&policy);
            let slow = policy.users.as_ref().map_or(0, |users| users.slow_len());
            let networks = policy.acl.networks();
            let users = [users - slow, slow];
            let content = Content { networks, users, upstreams, ..files.content.get() };
            let content_bytes = content.memory();
            Ok(Compiled { policy, guard, gateway, content_bytes })
        }
        (policy, guard, gateway, listeners) => {
            let mut problems = Problems::new();
            let wrong = [policy.err(), guard.err(), gateway.err(), listeners.err()];
            wrong.into_iter().flatten().for_each(|others| problems.append(others));
            Err(problems)
        }
    }
}

/// Fails if there are more listeners than the engine takes.
fn count(listeners: &[SocketAddr], settings: &Settings) -> Result<(), Problems> {
    if listeners.len() <= LISTENERS_MAX {
        return Ok(());
    }
    let mut problems = Problems::new();
    let message = format!("expected at most {LISTENERS_MAX} addresses, found {}", listeners.len());
    problems.add(settings.origin("host"), message);
    Err(problems)
}

/// The resolver's settings for one of so many loops.
pub(super) fn resolver_settings(
    settings: &Settings,
    shares: Option<&Shares>,
    loops: usize,
    read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> (resolver::Settings, resolver::Hosts) {
    let (mut resolver, hosts) = policy::resolver_settings(settings, read_file);
    resolver.look_ups_max = resolver.look_ups_max.min(descriptors::look_ups_max(settings, loops)).max(1);
    let least = LOOK_UPS_LEAST.min(resolver.look_ups_max);
    resolver.look_ups_max = resolver.look_ups_max.div_ceil(loops).max(least);
    limit_resolver(&mut resolver, shares, loops);
    (resolver, hosts)
}

/// The settings of all engines together; `store` is the cache of the running loops.
pub(super) fn engine_settings(
    settings: &Settings,
    listeners: &[SocketAddr],
    seed: [u64; 2],
    store: Option<Arc<Store>>,
    guard: Option<Shared<Guard>>,
    (gateway, of_gateway): (Option<Shared<Gateway>>, &[bool]),
) -> engine::Settings {
    let mut whole = policy::engine_settings(settings, listeners, seed, store);
    (whole.guard, whole.gateway) = (guard, gateway);
    for (listener, is_gateway) in whole.listeners.iter_mut().zip(of_gateway) {
        listener.gateway = *is_gateway;
    }
    whole.splices &= shell::SPLICE_AVAILABLE;
    whole
}

/// Warns if a policy lets every client use a proxy that other machines can reach: that is seldom intended.
pub(super) fn warn_if_open<'a>(
    mut listeners: impl Iterator<Item = &'a SocketAddr>,
    policy: &Policy,
    settings: &Settings,
) {
    let reachable = listeners.find(|listener| !listener.ip().to_canonical().is_loopback());
    if let (Some(address), None, true) = (reachable, &policy.users, settings.allow_clients.is_empty()) {
        log::warn!("{address} serves every client that can reach it: see --auth-file and --allow-client");
    }
}

/// Warns of options about the cache, if there is none.
fn warn_without_cache(settings: &Settings) {
    for name in ["cache-file", "cache-rules", "purge-from", "purge-token-file"] {
        let origin = settings.origin(name);
        if !settings.cache && origin != Origin::Default {
            log::warn!("{origin}: {name} has no effect without cache");
        }
    }
}

/// Warns of lines in lists that are no rules.
pub fn warn_of_skipped(policy: &Policy) {
    for list in policy.acl.skipped() {
        log::warn!("{list}");
    }
}

/// The numbers of rules and users.
pub fn loaded(policy: &Policy) -> [usize; 2] {
    [policy.acl.len(), policy.users.as_ref().map_or(0, |users| users.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(configuration: &Configuration) -> String {
        configuration.settings().expect_err("something is wrong").to_string()
    }

    #[test]
    fn problems_of_options_and_of_files_are_told_together() {
        let configuration = Configuration::new()
            .memory_only()
            .text("max-connections 0\nblocklist bad\nauth-file missing")
            .file("bad", "x..y");
        let told = problems(&configuration);
        for part in ["max-connections \"0\"", "bad:1: ", "missing: "] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }

    #[test]
    #[cfg(feature = "splice")]
    fn options_win_over_the_text_and_lists_grow() {
        let configuration = Configuration::new()
            .text("port 1\nblock a.test\n")
            .text("block b.test")
            .set("port", "2")
            .set("port", "3")
            .set("no-splice", "yes");
        let settings = configuration.settings().expect("all is well");
        assert_eq!((settings.port, settings.no_splice, settings.block.len()), (3, true, 2));
        assert_eq!((loops(&settings), settings.config), (1, None));
        let settings = Configuration::new().text("workers 3").settings().expect("all is well");
        assert_eq!(loops(&settings), 3);
    }

    /// Lines are counted as in one file of all texts, whether or not a text ends with a newline.
    #[test]
    fn problems_count_the_lines_of_all_texts() {
        for texts in [
            &["port 1\n", "\n", "porf 1\n"][..],
            &["port 1", "block a.test", "", "porf 1"],
            &["port 1\n#\nporf 1"],
        ] {
            let whole = texts.iter().fold(Configuration::new(), |before, lines| before.text(lines));
            let told = problems(&whole);
            assert!(told.contains("configuration:3: unknown key \"porf\""), "{texts:?}: {told}");
        }
    }

    #[test]
    fn memory_sizes_what_is_not_set() {
        let settings = Configuration::new().text("memory 12M\nbuffers 100").settings().expect("all is well");
        assert_eq!(settings.buffers, 100);
        assert!(settings.max_connections < 10_000);
        let told = problems(&Configuration::new().set("memory", "1M"));
        assert!(told.starts_with("weir: --memory: expected "), "{told}");
    }

    #[test]
    #[cfg(feature = "sandbox")]
    fn problems_say_where_they_are_and_what_is_the_hosts() {
        let wrong = Configuration::new().text("port 80\nporf 1\n").set("block", "").set("x y", "1");
        let told = problems(&wrong);
        assert!(told.contains("configuration:2: unknown key \"porf\""), "{told}");
        assert!(told.contains("x y"), "{told}");
        for (name, value) in
            [("user", "nobody"), ("sandbox", "no"), ("pid-file", "x"), ("log-dir", "x"), ("config", "x")]
        {
            let told = problems(&Configuration::new().memory_only().set(name, value));
            assert!(told.contains("the host of a proxy"), "{name}: {told}");
        }
        let told = problems(&Configuration::new().text("sandbox yes"));
        assert_eq!(
            told,
            "weir: configuration:1: sandbox is the daemon's: the host of a proxy gives up rights itself"
        );
        assert!(problems(&Configuration::new().set("check", "yes")).contains("options only"));
        assert!(problems(&Configuration::new().set("version", "yes")).contains("options only"));
    }

    /// What would have no effect is refused; and no name stands for another one.
    #[test]
    fn every_option_has_an_effect_or_is_refused() {
        for spec in TABLE.iter().filter(|spec| spec.scope != Scope::Everywhere) {
            let value = if spec.placeholder.is_empty() { "yes" } else { "127.0.0.1" };
            let told = problems(&Configuration::new().memory_only().set(spec.name, value));
            assert!(told.contains(spec.name) || told.contains("options only"), "{}: {told}", spec.name);
        }
        let other = Configuration::new().memory_only().text("bogus 1\n").file("other", "port 0\n");
        for name in ["c", "p", "v", "q", "h", "V", "port=1", "config=other", "", "-port", " port"] {
            let told = problems(&other.clone().set(name, "other"));
            assert!(told.contains(&format!("--{name}: unknown option")), "{name}: {told}");
            assert!(told.contains("bogus"), "{name}: {told}");
        }
        // Other long names are as good as the first.
        let listed = Configuration::new().memory_only().file("list", "").set("blacklist", "list");
        let told = problems(&listed.set("prot", "1"));
        assert!(told.contains("did you mean port?") && !told.contains("blacklist"), "{told}");
    }

    /// With `memory_only` those alone.
    #[test]
    #[cfg_attr(not(feature = "guard"), ignore = "needs the feature guard")]
    fn the_files_of_a_directory_are_those_in_memory_too() {
        let names = |configuration: &Configuration, directory: &str| {
            configuration.names(Path::new(directory)).map_err(|error| error.kind())
        };
        let given = Configuration::new().file("clouds/b", "").file("clouds/a", "").file("clouds/below/c", "");
        assert_eq!(names(&given, "clouds"), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(names(&given, "elsewhere"), Err(ErrorKind::NotFound));
        let both = given.clone().file("src/a", "");
        assert!(
            names(&both, "src").is_ok_and(|names| names.contains(&"lib.rs".to_owned()) && names[0] == "a")
        );
        let only = both.memory_only();
        assert_eq!(names(&only, "src"), Ok(vec!["a".to_owned()]));
        assert_eq!(names(&only, "tests"), Ok(Vec::new()));
        assert!(
            only.changed(Path::new("src/lib.rs")).is_none()
                && given.changed(Path::new("src/lib.rs")).is_some()
        );
    }

    #[test]
    fn files_come_from_memory_first() {
        let configuration = Configuration::new().memory_only().file("users", "a:b");
        assert_eq!(configuration.read(Path::new("users")).expect("it was given"), b"a:b");
        let missing = configuration.read(Path::new("/etc/hosts")).expect_err("it was not given");
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        assert!(!format!("{configuration:?}").contains("a:b"));
    }
}
