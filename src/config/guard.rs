//! Reads the guard file, and the files that it names.

use super::feature;
use super::files::{Files, OnDisk};
use super::problem::{Located, Origin, Problems};
use super::settings::Settings;
use crate::guard::ban_file::{self, FileBan, Times};
use crate::guard::bans::{Ban, BanOrigin, check_network};
use crate::guard::clouds::{self, Clouds, Provider, Ranges};
use crate::guard::csrf::{KEY_BYTES_MIN, Key};
use crate::guard::detection::DetectRules;
use crate::guard::directives::{self, BanLine, CloudFetch, Directives};
use crate::guard::networks::network_text;
use crate::guard::rules::Guard;
use crate::guard::state::{BANS_MAX, State};
use crate::part::guard::{Built, built};
use crate::random;
use ipnet::IpNet;
use std::fmt;
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The text that a file with certificates contains.
const PEM: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// The content of a guard file, and of the files that it names.
pub struct GuardFile {
    /// Exists only in a build with the guard.
    _built: Built,
    /// The lines of the guard file, but for its bans.
    pub directives: Directives,
    /// Bans of the guard file, and of the files that it names.
    pub bans: Vec<(IpNet, Ban)>,
    /// The networks of the clouds in files, one set for each provider.
    pub cloud_sets: Vec<CloudSet>,
    /// The guard file itself.
    pub path: PathBuf,
    /// The password of the store, from its file.
    pub store_password: Option<Box<str>>,
    /// The key that signs tokens against forged requests, from its file.
    pub csrf_key: Option<Key>,
    /// Certificates in PEM for the connection to the store.
    pub store_roots: Option<Box<[u8]>>,
    /// Certificates in PEM for `cloud roots`.
    pub cloud_roots: Option<Box<[u8]>>,
}

/// The networks of a provider in a file.
#[derive(Clone, Debug)]
pub struct CloudSet {
    /// The provider of the ranges.
    pub provider: Provider,
    /// The networks.
    pub ranges: Arc<Ranges>,
    /// Time of the last change of the file, in milliseconds since 1970.
    pub written_unix_ms: u64,
    /// The file.
    pub path: PathBuf,
}

impl GuardFile {
    /// Reads it all; `None` without a guard file. Bans beyond `bans_max`, or the number that the
    /// file sets, are left out.
    pub fn load(
        settings: &Settings,
        files: &dyn Files,
        bans_max: usize,
    ) -> Result<Option<GuardFile>, Problems> {
        let Some(_built) = built() else { return Ok(None) };
        let read_file = &|path: &Path| files.read(path);
        let mut problems = Problems::new();
        let cloud_sets = load_clouds(settings, files, &mut problems);
        let Some(file) = &settings.guard else {
            return if problems.is_empty() { Ok(None) } else { Err(problems) };
        };
        let read = load_directives(file, read_file, bans_max, &mut problems);
        let Some(mut directives) = read else { return Err(problems) };
        warn_of_unknown_clouds(&file.value, &directives, &cloud_sets);
        // A line with a mistake may be the one that the others need.
        let idle = match problems.is_empty() {
            true => directives::without_effect(&directives, settings.gateway.is_some()),
            false => Vec::new(),
        };
        for warning in directives.warnings.iter().chain(&idle) {
            log::warn!("{}: {}", at(&file.value, warning.line), warning.message);
        }
        check_store(&file.value, &directives, &mut problems);
        // As lines they are not needed again.
        let lines = mem::take(&mut directives.bans);
        let bans = load_bans(&file.value, lines, &directives, (files, bans_max), &mut problems);
        let store_password = load_password(&file.value, &directives, read_file, &mut problems);
        let csrf_key = load_csrf_key(&file.value, &directives, read_file, &mut problems);
        let mut roots = |named: &Path, line| load_roots(&file.value, (named, line), read_file, &mut problems);
        let of_store =
            directives.store.as_ref().and_then(|store| Some((store.roots.as_ref()?, store.place.line)));
        let store_roots = of_store.and_then(|(named, line)| roots(named, Some(line)));
        let cloud_roots = directives.cloud_fetch.roots.as_ref().and_then(|named| roots(named, None));
        match problems.is_empty() {
            true => {
                let path = file.value.clone();
                Ok(Some(GuardFile {
                    _built,
                    directives,
                    bans,
                    cloud_sets,
                    path,
                    store_password,
                    csrf_key,
                    store_roots,
                    cloud_roots,
                }))
            }
            false => Err(problems),
        }
    }

    /// Leaves out the bans beyond `bans-max`, with a warning.
    pub fn limit_bans(&mut self) {
        let bans_max = self.directives.bans_max.unwrap_or(BANS_MAX);
        let left_out = self.bans.len().saturating_sub(bans_max);
        if left_out > 0 {
            self.bans.truncate(bans_max);
            log::warn!("{}: {}", self.path.display(), ban_file::too_many(left_out as u64, bans_max));
        }
    }

    /// The receiver of events: a path, and whether it is the path of a socket.
    pub fn events(&self) -> Option<(PathBuf, bool)> {
        let events = self.directives.events.as_ref()?;
        Some((self.path.parent().unwrap_or(Path::new("")).join(&events.path), events.socket))
    }

    /// The settings for fetching networks of clouds, and the providers; `None` if none are fetched.
    pub fn cloud_fetch(&self) -> Option<(&CloudFetch, Vec<Provider>)> {
        let named = self.directives.clouds.iter().flat_map(|rule| rule.providers.iter());
        let mut providers: Vec<Provider> = named.map(|(provider, _)| *provider).collect();
        providers.sort();
        providers.dedup();
        fetches(&self.directives).then_some((&self.directives.cloud_fetch, providers))
    }

    /// The networks of the clouds that files have.
    pub fn clouds(&self) -> Clouds {
        Clouds::new(self.cloud_sets.iter().map(|set| (set.provider, Arc::clone(&set.ranges))).collect())
    }

    /// Compiles the guard file over the present state, with the known networks of the clouds.
    pub fn into_guard(self, state: &Arc<State>, clouds: &Clouds) -> Guard {
        state.set(&self.directives, self.bans, unix_ms());
        let key = self.csrf_key.or_else(|| state.csrf_key(random_key));
        Guard::new(&self.directives, Arc::clone(state), clouds).with_key(key)
    }
}

/// Reports an error at the line that names the store, if this build lacks the client of that store.
fn check_store(path: &Path, directives: &Directives, problems: &mut Problems) {
    let Some(store) = &directives.store else { return };
    let scheme = store.url.split("://").next().unwrap_or_default();
    let needed = match scheme {
        "mongodb" | "mongodb+srv" => [feature::MONGODB, feature::MONGODB],
        "rediss" | "valkeys" | "rediss-cluster" | "rediss-sentinel" => [feature::REDIS, feature::TLS],
        _ => [feature::REDIS, feature::REDIS],
    };
    if let Some(missing) = needed.into_iter().find(|feature| !feature.built) {
        problems.add(at(path, store.place.line), format!("store {scheme}:// {}", missing.needed()));
    }
}

/// Whether networks of clouds are fetched.
fn fetches(directives: &Directives) -> bool {
    let wanted = directives.cloud_fetch.refresh_ms.is_some() && !directives.clouds.is_empty();
    if wanted && !cfg!(feature = "cloud") && directives.cloud_fetch != CloudFetch::default() {
        log::warn!(
            "guard: networks of clouds are not fetched: this weir was built without the feature cloud"
        );
    }
    wanted && cfg!(feature = "cloud")
}

/// Warns of a line about a provider without known networks, because the line denies nothing (section 8), which shows nowhere
/// else. The fetching thread reports providers whose networks are fetched.
fn warn_of_unknown_clouds(path: &Path, directives: &Directives, sets: &[CloudSet]) {
    if fetches(directives) {
        return;
    }
    if !cfg!(feature = "cloud") && directives.cloud_fetch != CloudFetch::default() {
        log::warn!("{}: nothing is fetched: this weir was built without the feature cloud", path.display());
    }
    for rule in &directives.clouds {
        let is_unknown = |provider: Provider| sets.iter().all(|set| set.provider != provider);
        for (provider, _) in rule.providers.iter().filter(|(provider, _)| is_unknown(*provider)) {
            log::warn!(
                "{}: nothing of {} is denied, because its networks are not known: expected its file in --cloud-ranges",
                at(path, rule.place.line),
                provider.name(),
            );
        }
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    since.as_millis() as u64
}

/// Time of the last change of a file; now, if that is not known, as for a file in memory.
fn written_unix_ms(files: &dyn Files, file: &Path, now_ms: u64) -> u64 {
    let since = files.changed(file).and_then(|changed| changed.duration_since(SystemTime::UNIX_EPOCH).ok());
    since.map_or(now_ms, |since| since.as_millis() as u64)
}

/// The guard file that the settings name; a build without the guard has none.
fn named(settings: &Settings) -> Option<&Located<PathBuf>> {
    built().and(settings.guard.as_ref())
}

/// The lines of the guard file about detection, if a guard file is configured.
pub fn detect_rules(
    settings: &Settings,
    read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<DetectRules, Problems> {
    let Some(file) = named(settings) else { return Ok(DetectRules::default()) };
    let mut problems = Problems::new();
    let directives = load_directives(file, read_file, BANS_MAX, &mut problems);
    directives.filter(|_| problems.is_empty()).map(|directives| directives.detect).ok_or(problems)
}

/// The lines that are right; `None` for a file that cannot be read.
fn load_directives(
    file: &Located<PathBuf>,
    read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
    bans_max: usize,
    problems: &mut Problems,
) -> Option<Directives> {
    let text = match read_file(&file.value) {
        Ok(text) => text,
        Err(error) => {
            problems.add_file(file.value.clone(), super::policy::unreadable(file, &error));
            return None;
        }
    };
    let (directives, wrong) = directives::read(&text, bans_max);
    for problem in wrong {
        problems.add(at(&file.value, problem.line), problem.message);
    }
    Some(directives)
}

fn at(path: &Path, line: u32) -> Origin {
    Origin::File { path: path.into(), line }
}

/// The bans of the guard file and of the files that it names, which are relative to it.
fn load_bans(
    path: &Path,
    lines: Vec<BanLine>,
    directives: &Directives,
    (files, bans_max): (&dyn Files, usize),
    problems: &mut Problems,
) -> Vec<(IpNet, Ban)> {
    let now_ms = unix_ms();
    let bans_max = directives.bans_max.unwrap_or(bans_max.min(BANS_MAX));
    let mut bans = Vec::new();
    for line in lines {
        let until_unix_ms = line.duration_ms.map(|duration| now_ms.saturating_add(duration));
        let (origin, reason) = (BanOrigin::GuardFile, line.reason);
        bans.push((line.network, Ban { until_unix_ms, reason, origin, line: line.place.line }));
    }
    let directory = path.parent().unwrap_or(Path::new(""));
    for named in &directives.ban_files {
        let file = directory.join(&named.path);
        let line = named.place.line;
        let text = match files.read(&file) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("{}: cannot be read: {error}; expected a file of bans", file.display());
                problems.add(at(path, line), message);
                continue;
            }
        };
        let times = Times {
            now_unix_ms: now_ms,
            written_unix_ms: written_unix_ms(files, &file, now_ms),
            utc_offset_s: named.utc_offset_s,
        };
        match ban_file::parse(&text, times, bans_max.saturating_sub(bans.len())) {
            Ok(read) => {
                for problem in read.problems {
                    log::warn!("{}: {}", at(&file, problem.line), problem.message);
                }
                bans.extend(without_refused(&file, read.bans, directives).into_iter().map(|ban| {
                    let FileBan { network, until_unix_ms, reason, line: _ } = ban;
                    (network, Ban { until_unix_ms, reason, origin: BanOrigin::BanFile, line })
                }));
            }
            Err(wrong) => {
                for problem in wrong {
                    problems.add(at(&file, problem.line), problem.message);
                }
            }
        }
    }
    bans
}

/// Reports the bans of a file whose networks are not banned, and leaves them out.
fn without_refused(file: &Path, mut bans: Vec<FileBan>, directives: &Directives) -> Vec<FileBan> {
    let trusted = || directives.trust.iter().flat_map(|trust| &trust.networks);
    let mut refused = 0;
    bans.retain(|ban| {
        let Err(error) = check_network(ban.network, trusted()) else { return true };
        refused += 1;
        if refused <= ban_file::PROBLEMS_MAX {
            log::warn!("{}: {} is not banned: {error}", at(file, ban.line), network_text(ban.network));
        }
        false
    });
    if refused > ban_file::PROBLEMS_MAX {
        let untold = refused - ban_file::PROBLEMS_MAX;
        log::warn!("{}: {untold} more networks are not banned for such reasons", file.display());
    }
    bans
}

/// The key that signs tokens: the bytes of its file, without line ends behind them.
fn load_csrf_key(
    path: &Path,
    directives: &Directives,
    read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
    problems: &mut Problems,
) -> Option<Key> {
    let (place, named) = directives.csrf.key_file.as_ref()?;
    let file = path.parent().unwrap_or(Path::new("")).join(named);
    let message = match read_file(&file) {
        Ok(bytes) => match Key::new(bytes.trim_ascii_end()) {
            Some(key) => return Some(key),
            None => format!("{}: expected a key of at least {KEY_BYTES_MIN} bytes", file.display()),
        },
        Err(error) => format!("{}: cannot be read: {error}; expected a key", file.display()),
    };
    problems.add(at(path, place.line), message);
    None
}

/// A random key; `None` where the system has no random numbers, and then nothing would be protected.
fn random_key() -> Option<Key> {
    let mut bytes = [0; KEY_BYTES_MIN];
    match random::fill(&mut bytes) {
        Ok(()) => Key::new(&bytes),
        Err(error) => {
            log::error!("no random numbers: {error}");
            None
        }
    }
}

/// The password of the store: the first line of its file, whose path is relative to the guard file.
fn load_password(
    path: &Path,
    directives: &Directives,
    read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
    problems: &mut Problems,
) -> Option<Box<str>> {
    let store = directives.store.as_ref()?;
    let file = path.parent().unwrap_or(Path::new("")).join(store.password_file.as_ref()?);
    let line = store.place.line;
    match read_file(&file) {
        Ok(text) => match String::from_utf8(text).ok().and_then(|text| text.lines().next().map(Box::from)) {
            Some(password) => Some(password),
            None => {
                problems.add(at(path, line), format!("{}: expected a line with a password", file.display()));
                None
            }
        },
        Err(error) => {
            let message =
                format!("{}: cannot be read: {error}; expected the store's password", file.display());
            problems.add(at(path, line), message);
            None
        }
    }
}

/// The certificates of a file that the guard file names, in that line if it is known.
fn load_roots(
    path: &Path,
    (named, line): (&Path, Option<u32>),
    read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
    problems: &mut Problems,
) -> Option<Box<[u8]>> {
    let file = path.parent().unwrap_or(Path::new("")).join(named);
    let wrong = match read_file(&file) {
        Ok(text) if text.windows(PEM.len()).any(|window| window == PEM) => return Some(text.into()),
        Ok(_) => "expected certificates in PEM".to_owned(),
        Err(error) => format!("cannot be read: {error}; expected certificates in PEM"),
    };
    match line {
        Some(line) => problems.add(at(path, line), format!("{}: {wrong}", file.display())),
        None => problems.add_file(file, wrong),
    }
    None
}

/// The networks of each provider, from the files of `--cloud-ranges`.
fn load_clouds(settings: &Settings, from: &dyn Files, problems: &mut Problems) -> Vec<CloudSet> {
    let Some(directory) = &settings.cloud_ranges else { return Vec::new() };
    let files = match cloud_files(from, &directory.value) {
        Ok(files) => files,
        Err(error) => {
            let message = format!(
                "{}: cannot be read: {error}; expected a directory with the files of the clouds",
                directory.value.display()
            );
            problems.add(directory.origin.clone(), message);
            return Vec::new();
        }
    };
    let mut sets: Vec<CloudSet> = Vec::new();
    for CloudFile { provider, path, fetched } in files {
        let loaded = from.read(&path).map_err(|error| error.to_string());
        let ranges =
            loaded.and_then(|text| clouds::parse(provider, &text).map_err(|error| error.to_string()));
        match ranges {
            Ok(ranges) => {
                let written_unix_ms = written_unix_ms(from, &path, unix_ms());
                let set = CloudSet { provider, ranges: Arc::new(ranges), written_unix_ms, path };
                match sets.iter_mut().find(|other| other.provider == provider) {
                    // A file that the operator has changed later is newer than the fetched networks.
                    Some(other) if fetched && other.written_unix_ms > written_unix_ms => {}
                    // The names of one provider are tried in their order, and the last file counts, such as the file of the
                    // latest date.
                    Some(other) => *other = set,
                    None => sets.push(set),
                }
            }
            // The file is weir's own and will be fetched again.
            Err(error) if fetched => log::warn!("{}: is passed by: {error}", path.display()),
            Err(error) => problems.add_file(path, error),
        }
    }
    sets.sort_by_key(|set| set.provider);
    sets.iter().filter(|set| set.provider == Provider::Azure).for_each(warn_if_old);
    sets
}

/// Warns of a file of Azure whose name has a date of long ago (section 8).
fn warn_if_old(set: &CloudSet) {
    let age_days = clouds::azure_age_days(&set.path.to_string_lossy(), unix_ms() / 86_400_000);
    if let Some(days) = age_days.filter(|days| *days > clouds::AZURE_AGE_DAYS_MAX) {
        log::warn!("guard: the networks of azure are {days} days old: {}", set.path.display());
    }
}

/// A file with the networks of a provider.
struct CloudFile {
    provider: Provider,
    path: PathBuf,
    /// Whether weir has written the file.
    fetched: bool,
}

/// The files of the clouds in a directory, in the order of their names; files that weir has written come last.
fn cloud_files(files: &dyn Files, directory: &Path) -> io::Result<Vec<CloudFile>> {
    let mut names = files.names(directory)?;
    names.sort();
    let file = |provider, name: &str, fetched| CloudFile { provider, path: directory.join(name), fetched };
    let given = names.iter().filter_map(|name| Some(file(Provider::of_file_name(name)?, name, false)));
    let fetched = Provider::ALL.into_iter().filter_map(|provider| {
        let name = provider.fetched_file_name();
        names.contains(&name).then(|| file(provider, &name, true))
    });
    Ok(given.chain(fetched).collect())
}

/// The lines of a guard file without faults, but for its bans, which may be many.
fn without_bans(path: &Path, read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>) -> Option<Directives> {
    let (directives, wrong) = directives::read(&read_file(path).ok()?, 0);
    wrong.is_empty().then_some(directives)
}

/// The files that are read with the guard file: the files that it names (bans, the password of the store, certificates), and
/// the existing files of the clouds. None for a guard file that cannot be read, or is faulty.
pub fn files_named(settings: &Settings, read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>) -> Vec<PathBuf> {
    let Some(file) = named(settings) else { return Vec::new() };
    let read = without_bans(&file.value, read_file);
    let directory = file.value.parent().unwrap_or(Path::new(""));
    let named = read.iter().flat_map(|read| {
        let password = read.store.iter().filter_map(|store| store.password_file.as_ref());
        let bans = read.ban_files.iter().map(|named| &named.path);
        let key = read.csrf.key_file.iter().map(|(_, path)| path);
        let roots = read.store.iter().filter_map(|store| store.roots.as_ref()).chain(&read.cloud_fetch.roots);
        bans.chain(password).chain(key).chain(roots).map(|path| directory.join(path))
    });
    let clouds = settings
        .cloud_ranges
        .iter()
        .filter_map(|directory| cloud_files(&OnDisk(read_file), &directory.value).ok());
    named.chain(clouds.flatten().map(|file| file.path)).collect()
}

/// The directory for fetched networks of clouds, if any are fetched.
pub fn fetched_directory(
    settings: &Settings,
    read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Option<PathBuf> {
    let directives = without_bans(&named(settings)?.value, read_file)?;
    let directory = settings.cloud_ranges.as_ref()?;
    fetches(&directives).then(|| directory.value.clone())
}

/// The event file, if the guard file names one.
pub fn events_file(settings: &Settings, read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>) -> Option<PathBuf> {
    let file = &named(settings)?.value;
    let events = without_bans(file, read_file)?.events.filter(|events| !events.socket)?;
    Some(file.parent().unwrap_or(Path::new("")).join(&events.path))
}

/// Without the password.
impl fmt::Debug for GuardFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("GuardFile").field("bans", &self.bans.len()).finish_non_exhaustive()
    }
}
