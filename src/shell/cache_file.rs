//! The file in which the cache outlives the process: read at the start, written when all loops have drained.
//!
//! A separate thread reads the file, the most recently used entries first. The loops start when the thread has ended, or
//! after a short wait; entries that are loaded later are older than those that the loops have stored by then. So a large file
//! does not keep clients waiting, and a small file is loaded before the first client.
//!
//! The new file is written beside the old one and replaces it when it is complete and on the disk: after a crash one of the
//! two is there. The directory is opened and checked before rights are given up.
//!
//! Clients get the content of the file as responses of origins. So the file is neither loaded nor written if another user
//! than weir's and root could have put it there or could replace it: if such a user owns the file or its directory, or may
//! write to one of them.
//!
//! One process at a time uses the file: the process holds a lock as long as it lives, on a file beside it that is never
//! written to, replaced or removed.

use super::{memory, threads};
use crate::cache::store::Store;
use crate::cache::store::persistence::{self, Ending, Loaded};
use crate::part::cache::Built;
use crate::shell::clock::unix_now;
use crate::time::Now;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{self, AtFlags, FileType, FlockOperation, Mode, OFlags, RawMode};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the start waits for loading (chosen: less than reading 1 GB from the system's page cache takes).
const WAITED: Duration = Duration::from_millis(100);

/// Bytes written at a time (measured: larger ones gain nothing).
const BUFFER_BYTES: usize = 64 * 1024;

/// The mode of the file (chosen): only the owner may read the responses to clients.
const MODE: Mode = Mode::from_raw_mode(0o600);

/// The ends of the names beside the file: of the lock file, and of the new file while it is written.
const LOCK_END: &str = ".lock";
const NEW_END: &str = ".new";

/// How the lock file is opened.
const LOCK_FLAGS: OFlags =
    OFlags::RDWR.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// Why the cache cannot be kept in a file whose lock another process holds.
const TAKEN: &str =
    "another process does, which is running or about to end; expected a file of its own for each";

/// The file and its directory, opened while there are the rights to do so.
#[derive(Debug)]
pub struct CacheFile {
    path: PathBuf,
    directory: File,
    name: OsString,
    /// The name of the new file while it is written.
    new: OsString,
    /// The lock file, locked as long as it is open.
    _lock: Option<OwnedFd>,
    /// The file of an earlier run.
    found: Option<File>,
    /// The reason why the file is neither loaded nor written.
    refused: Option<String>,
}

/// The bits of a mode that let others than the owner write.
const WRITABLE_BY_OTHERS: RawMode = 0o022;

/// The reason why another user could have made or changed that file or directory; `None` if no such user could.
fn distrust(of: impl AsFd, name: &Path) -> io::Result<Option<String>> {
    let (status, name) = (fs::fstat(of)?, name.display());
    let (owner, mode) = (status.st_uid, status.st_mode & 0o7777);
    Ok(if owner != 0 && owner != geteuid().as_raw() {
        Some(format!("{name} belongs to user {owner}, and not to weir's or root"))
    } else if mode & WRITABLE_BY_OTHERS != 0 {
        Some(format!("others than its owner may write to {name} (its mode is {mode:o}; chmod go-w)"))
    } else {
        None
    })
}

impl CacheFile {
    /// Opens the directory, and the file if it exists. Fails if no file can be created there, if the existing one is no file
    /// or cannot be read, and with [`io::ErrorKind::WouldBlock`] while another process uses it.
    pub fn open(path: &Path) -> io::Result<CacheFile> {
        let name = path.file_name().ok_or(Errno::ISDIR)?.to_owned();
        // A refused file gets no lock and no new file beside it. A file that another process writes is found after
        // that process has released its lock.
        let (directory, refused) = look(path, &name)?;
        let (lock_name, new) = (beside(&name, LOCK_END), beside(&name, NEW_END));
        let mut file = CacheFile {
            path: path.to_owned(),
            directory: directory.into(),
            name,
            new,
            _lock: None,
            found: None,
            refused,
        };
        if file.refused.is_some() {
            return Ok(file);
        }
        let lock = lock(&file.directory, &lock_name).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::WouldBlock, TAKEN),
            _ => about(&lock_name, error),
        })?;
        file.refused = distrust(&lock, Path::new(&lock_name))?;
        file._lock = Some(lock);
        file.found = find(&file.directory, &file.name)?;
        // Permissions are not enough: systems and disks can be read-only, for root as well.
        file.make().and_then(|_| file.remove()).map_err(|error| about(&file.new, error))?;
        Ok(file)
    }

    /// Whether the file could be opened; creates and locks nothing.
    pub fn check(path: &Path) -> io::Result<()> {
        let name = path.file_name().ok_or(Errno::ISDIR)?;
        let (directory, refused) = look(path, name)?;
        if refused.is_some() {
            return Ok(());
        }
        fs::access(parent(path), fs::Access::WRITE_OK | fs::Access::EXEC_OK)?;
        let (lock_name, new) = (beside(name, LOCK_END), beside(name, NEW_END));
        let lock = fs::openat(&directory, &lock_name, LOCK_FLAGS, Mode::empty()).map(drop);
        missing_is_fine(lock).map_err(|error| about(&lock_name, error))?;
        let found = fs::statat(&directory, &new, AtFlags::SYMLINK_NOFOLLOW);
        let removable = found.and_then(|found| match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => Err(Errno::ISDIR),
            _ => Ok(()),
        });
        missing_is_fine(removable).map_err(|error| about(&new, error))
    }

    /// Creates the new file, in place of one that another process left.
    fn make(&self) -> io::Result<File> {
        self.remove()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        Ok(fs::openat(&self.directory, &self.new, flags, MODE)?.into())
    }

    fn remove(&self) -> io::Result<()> {
        missing_is_fine(fs::unlinkat(&self.directory, &self.new, AtFlags::empty()))
    }

    fn write(&self, store: &Store, now: Now) -> io::Result<u64> {
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, self.make()?);
        let written = persistence::save(&mut out, store, now).and_then(|entries| {
            out.flush()?;
            self.put_in_place(out.get_ref())?;
            Ok(entries)
        });
        if written.is_err() {
            let _ = self.remove();
        }
        written
    }

    fn put_in_place(&self, new: &File) -> io::Result<()> {
        new.sync_all()?;
        fs::renameat(&self.directory, &self.new, &self.directory, &self.name)?;
        self.directory.sync_all()
    }
}

fn beside(name: &OsStr, end: &str) -> OsString {
    OsString::from_iter([name, end.as_ref()])
}

/// The error of a file beside the one that was named; its source is the error of the system.
#[derive(Debug)]
struct BesideError {
    name: OsString,
    error: io::Error,
}

impl fmt::Display for BesideError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.name.to_string_lossy(), self.error)
    }
}

impl Error for BesideError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

/// The error with the name of the file that it is about.
fn about(name: &OsStr, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), BesideError { name: name.to_owned(), error })
}

fn missing_is_fine(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Opens the directory. Fails if something else than a file has the name; the text says why the file is refused.
fn look(path: &Path, name: &OsStr) -> io::Result<(OwnedFd, Option<String>)> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = fs::open(parent(path), flags, Mode::empty())?;
    let found = find(&directory, name)?;
    let refused = match distrust(&directory, parent(path))? {
        None => found.map_or(Ok(None), |found| distrust(found, path))?,
        refused => refused,
    };
    Ok((directory, refused))
}

/// Opens the file, if there is one.
fn find(directory: impl AsFd, name: &OsStr) -> io::Result<Option<File>> {
    // A pipe must not make it wait; a link would be replaced by the file.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let found = match fs::openat(directory, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match found.metadata()?.is_file() {
        true => Ok(Some(found)),
        false => Err(io::Error::other("this is no file")),
    }
}

/// Locks the file of that name until it is closed, at the latest at the end of the process. The lock file is never removed: a
/// removal would separate processes that have opened it already from later ones.
fn lock(directory: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let file = fs::openat(directory, name, LOCK_FLAGS | OFlags::CREATE, MODE)?;
    fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

/// The directory in which a file is.
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Loads the file, and saves it at the end.
#[derive(Debug)]
pub struct Persister {
    /// Exists only in a build with the cache.
    _built: Built,
    file: CacheFile,
    store: Arc<Store>,
    /// A moment before the loops began.
    began: Instant,
    stop: Arc<AtomicBool>,
    loader: Option<JoinHandle<Ending>>,
    /// How loading has ended, once the thread was waited for.
    loaded: Option<Ending>,
}

impl Persister {
    /// Begins to load, and waits a moment for the end of that. To be called right before the loops start.
    pub fn start(_built: Built, mut file: CacheFile, store: Arc<Store>) -> io::Result<Persister> {
        let (began, stop) = (Instant::now(), Arc::new(AtomicBool::new(false)));
        if let Some(why) = &file.refused {
            let path = file.path.display();
            log::error!(
                "cache: {path} is refused: {why}: nothing is loaded from it, and nothing will be saved"
            );
        }
        let loader = match file.found.take().filter(|_| file.refused.is_none()) {
            None => None,
            Some(found) => {
                let (store, stop, path) = (store.clone(), stop.clone(), file.path.clone());
                let (sender, ended) = channel::<()>();
                let now = Now { unix_us: unix_us(), ..Now::default() };
                let body = move || {
                    let _sender = sender;
                    let loaded = read(&found, &store, now, &stop);
                    log_loaded(&path, &loaded, began.elapsed());
                    loaded.ending
                };
                let thread = threads::spawn("weir-cache", body)?;
                let _ = ended.recv_timeout(WAITED);
                Some(thread)
            }
        };
        Ok(Persister { _built, file, store, began, stop, loader, loaded: None })
    }

    /// Saves the store, and returns the number of saved entries. Called when all loops have ended; after a failure it may be called
    /// again. The outcome is logged.
    pub fn save(&mut self) -> io::Result<u64> {
        let saved = self.write();
        match &saved {
            Ok(entries) => log::info!("cache: saved {entries} entries to {}", self.file.path.display()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => log::warn!("cache: {error}"),
            Err(error) => log::error!("cache: {error}"),
        }
        saved
    }

    fn write(&mut self) -> io::Result<u64> {
        let path = self.file.path.display();
        if let Some(why) = &self.file.refused {
            return Err(io::Error::other(format!("not saved, since {path} is refused: {why}")));
        }
        self.stop.store(true, Ordering::Relaxed);
        if let Some(loader) = self.loader.take() {
            self.loaded = loader.join().ok();
        }
        match &self.loaded {
            Some(Ending::Stopped) => {
                let why = format!("{path} stays as it is: it was still being loaded");
                return Err(io::Error::new(io::ErrorKind::Interrupted, why));
            }
            Some(Ending::Foreign) => {
                let why = format!("not saved, since {path} is no cache file of weir's");
                return Err(io::Error::other(why));
            }
            _ => {}
        }
        let monotonic_us = self.began.elapsed().as_micros() as u64;
        let now = Now { monotonic_us, unix_us: unix_us(), ..Now::default() };
        let written = self.file.write(&self.store, now);
        written.map_err(|error| io::Error::new(error.kind(), format!("cannot save to {path}: {error}")))
    }
}

/// Dropping the persister ends loading.
impl Drop for Persister {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(loader) = self.loader.take() {
            let _ = loader.join();
        }
    }
}

/// Loads the file, with memory for small entries prepared: large bodies have their own pages.
fn read(file: &File, store: &Store, now: Now, stop: &AtomicBool) -> Loaded {
    let mut stretched = 0;
    let go_on = || {
        let bytes = store.memory().bytes();
        if bytes >= stretched {
            memory::stretch();
            stretched = bytes + memory::STRETCH_BYTES;
        }
        !stop.load(Ordering::Relaxed)
    };
    persistence::load(&mut &*file, store, now, go_on)
}

fn unix_us() -> u64 {
    unix_now().as_micros() as u64
}

fn log_loaded(path: &Path, loaded: &Loaded, took: Duration) {
    let (path, Loaded { entries, damaged, left_out, written, ending }) = (path.display(), loaded);
    let passed = match (damaged, left_out) {
        (0, 0) => String::new(),
        _ => format!(" ({damaged} damaged, {left_out} left out)"),
    };
    let some = format!("loaded {entries} of {written} entries{passed}");
    match ending {
        Ending::Complete => log::info!("cache: {some} from {path} in {} ms", took.as_millis()),
        Ending::Full => log::info!("cache: {some} from {path}: the store is full"),
        Ending::Stopped => log::info!("cache: {some} from {path} before the stop"),
        Ending::Foreign => {
            log::warn!("cache: {path} is no cache file of weir's: ignored, and never written to")
        }
        Ending::Version(version) => {
            log::warn!("cache: {path} is of another version ({version}): ignored");
        }
        Ending::Truncated => log::warn!("cache: {some}: {path} ends too early"),
        Ending::Damaged => log::warn!("cache: {some}: {path} is damaged, the rest of it is ignored"),
        Ending::Failed(kind) => log::warn!("cache: {some}: {path} cannot be read: {kind}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Read};

    /// Two that keep the cache in one file: the second is refused, and has touched nothing, until the first lets go.
    #[test]
    fn a_file_is_opened_by_one_at_a_time() {
        let directory = std::env::temp_dir().join(format!("weir-cache-file-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("cache");
        let one = CacheFile::open(&path).unwrap();
        let mut half = one.make().unwrap();
        half.write_all(b"half").unwrap();
        let taken = CacheFile::open(&path).unwrap_err();
        assert_eq!((taken.kind(), taken.to_string().as_str()), (ErrorKind::WouldBlock, TAKEN));
        CacheFile::open(&directory.join("another")).unwrap();
        one.put_in_place(&half).unwrap();
        assert_eq!(CacheFile::open(&path).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(one);
        let mut found = String::new();
        let next = CacheFile::open(&path).unwrap();
        next.found.unwrap().read_to_string(&mut found).unwrap();
        assert_eq!(found, "half");
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
