//! The fetching thread, its schedule, and the last good sets on disk.

use super::KnownClouds;
use super::fetch::{Fetched, Tag, fetch};
use super::https::{Ending, Https};
use crate::guard::clouds::{CloudError, Provider, Ranges, parse, refresh_delay_ms};
use crate::shell::clock::unix_now_ms;
use crate::shell::threads;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The providers to fetch, the interval, and the directory for fetched sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloudSources {
    /// Each provider with the address of its networks.
    pub urls: Vec<(Provider, Box<str>)>,
    /// Time from a success to the next attempt.
    pub interval_ms: u64,
    /// Certificates in PEM that take the place of the public authorities.
    pub roots_pem: Option<Box<[u8]>>,
    /// The directory for the last good sets.
    pub directory: Option<PathBuf>,
}

/// Accepts a set that was fetched at that time, in milliseconds since 1970, or returns the reason for a refusal.
pub type Adopt = dyn Fn(Provider, &Arc<Ranges>, u64) -> Result<(), CloudError> + Send;

/// Controls the thread. Dropping it cuts a running fetch and waits for the thread.
#[derive(Debug)]
pub struct CloudRefresher {
    /// Dropped to end the thread.
    sources: Option<Sender<CloudSources>>,
    ending: Arc<Ending>,
    thread: Option<JoinHandle<()>>,
}

impl CloudRefresher {
    /// Starts the thread, which has nothing to fetch yet.
    pub fn start(known: Arc<KnownClouds>, adopt: Box<Adopt>) -> io::Result<CloudRefresher> {
        let (sender, receiver) = channel();
        let ending = Arc::new(Ending::default());
        let own = Arc::clone(&ending);
        let body = move || Fetching::new(known, adopt, own).run(&receiver);
        let thread = threads::spawn("weir-clouds", body)?;
        Ok(CloudRefresher { sources: Some(sender), ending, thread: Some(thread) })
    }

    /// Fetches these sources from now on, beginning at once.
    pub fn set(&self, sources: CloudSources) {
        // The thread has ended only if it has panicked, which has been reported.
        let _ = self.sources.as_ref().map(|to| to.send(sources));
    }
}

impl Drop for CloudRefresher {
    fn drop(&mut self) {
        self.sources = None;
        self.ending.end();
        // The thread itself drops this if it has the last reference to the proxy.
        let _ = self.thread.take().map(threads::join_other);
    }
}

/// The schedule of one provider.
struct Task {
    provider: Provider,
    url: Box<str>,
    due: Instant,
    /// Since the last success.
    failures: u32,
    /// The tag of the last document, and the set that it was.
    tag: Option<(Tag, Arc<Ranges>)>,
    /// The failure that was logged last.
    told: Option<String>,
}

struct Fetching {
    known: Arc<KnownClouds>,
    adopt: Box<Adopt>,
    ending: Arc<Ending>,
    sources: CloudSources,
    tasks: Vec<Task>,
    /// Whether a failure to write files was logged.
    told: bool,
}

impl Fetching {
    fn new(known: Arc<KnownClouds>, adopt: Box<Adopt>, ending: Arc<Ending>) -> Fetching {
        Fetching { known, adopt, ending, sources: CloudSources::default(), tasks: Vec::new(), told: false }
    }

    fn run(&mut self, receiver: &Receiver<CloudSources>) {
        loop {
            let due = self.tasks.iter().map(|task| task.due).min();
            let told = match due {
                Some(due) => receiver.recv_timeout(due.saturating_duration_since(Instant::now())),
                None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match told {
                Ok(sources) => self.set(sources),
                Err(RecvTimeoutError::Timeout) => self.fetch_due(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Makes all providers due at once. A document at the same address as before is requested with its tag.
    fn set(&mut self, sources: CloudSources) {
        let same_roots = sources.roots_pem == self.sources.roots_pem;
        let mut before = std::mem::take(&mut self.tasks);
        let now = Instant::now();
        for (provider, url) in &sources.urls {
            let place =
                before.iter().position(|task| same_roots && task.provider == *provider && task.url == *url);
            let task = place.map(|place| before.swap_remove(place));
            self.tasks.push(match task {
                Some(task) => Task { due: now, ..task },
                None => {
                    self.warn_if_unknown(*provider, url);
                    let (provider, url) = (*provider, url.clone());
                    Task { provider, url, due: now, failures: 0, tag: None, told: None }
                }
            });
        }
        (self.sources, self.told) = (sources, false);
    }

    fn warn_if_unknown(&self, provider: Provider, url: &str) {
        if self.known.ranges(provider).is_none() {
            let name = provider.name();
            log::warn!("guard: nothing of {name} is denied until its networks were fetched from {url}");
        }
    }

    fn fetch_due(&mut self) {
        let now = Instant::now();
        let due = self.tasks.iter().enumerate().filter(|(_, task)| task.due <= now);
        let Some(place) = due.min_by_key(|(_, task)| task.due).map(|(place, _)| place) else { return };
        let fetched = self.fetch(place);
        if self.ending.has_come() {
            return;
        }
        let task = &mut self.tasks[place];
        let name = task.provider.name();
        self.known.count(task.provider, fetched.is_ok());
        match fetched {
            Ok(told) => {
                if let Some(told) = told {
                    log::info!("guard: networks of {name}: {told}");
                } else if task.failures > 0 {
                    log::info!("guard: networks of {name} are as they were");
                }
                (task.failures, task.told) = (0, None);
            }
            Err(error) => {
                task.failures = task.failures.saturating_add(1);
                if task.told.as_ref() != Some(&error) {
                    log::warn!("guard: the networks of {name} stay as they are: {error}");
                    task.told = Some(error);
                }
            }
        }
        let delay = refresh_delay_ms(self.sources.interval_ms, task.failures);
        task.due = Instant::now() + Duration::from_millis(delay);
    }

    /// Fetches a set and offers it to the owner. Returns a message for the log if the set is new.
    fn fetch(&mut self, place: usize) -> Result<Option<String>, String> {
        let Task { provider, url, tag, .. } = &self.tasks[place];
        let provider = *provider;
        let mut transport = Https::new(self.sources.roots_pem.as_deref(), &self.ending)?;
        // The tag counts only if its set is still the present one: a file may have replaced it.
        let holds = self.known.ranges(provider);
        let tag = tag.as_ref().filter(|(_, ranges)| holds.as_ref() == Some(ranges)).map(|(tag, _)| tag);
        let (content, tag) = match fetch(provider, url, tag, &mut transport)? {
            Fetched::Unchanged => {
                self.known.confirm(provider, unix_now_ms());
                return Ok(None);
            }
            Fetched::Document(content, tag) => (content, tag),
        };
        let ranges = Arc::new(parse(provider, &content).map_err(|error| error.to_string())?);
        (self.adopt)(provider, &ranges, unix_now_ms()).map_err(|error| error.to_string())?;
        self.keep(provider, &content);
        let is_new = holds.is_none_or(|before| before != ranges);
        let told = is_new.then(|| format!("{} were fetched", ranges.len()));
        self.tasks[place].tag = tag.map(|tag| (tag, ranges));
        Ok(told)
    }

    /// Writes the last good set to the directory.
    fn keep(&mut self, provider: Provider, content: &[u8]) {
        let Some(directory) = &self.sources.directory else { return };
        let path = directory.join(provider.fetched_file_name());
        match write_whole(&path, content) {
            Ok(()) => self.told = false,
            Err(error) if !self.told => {
                self.told = true;
                log::warn!(
                    "guard: {} cannot be written, and the next start has it not: {error}",
                    path.display()
                );
            }
            Err(_) => {}
        }
    }
}

/// Replaces the file: after a crash it has the old content or the new one.
fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let next = PathBuf::from(name);
    let written = (|| {
        let mut file = File::create(&next)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&next, path)
    })();
    written.inspect_err(|_| drop(fs::remove_file(&next)))
}
