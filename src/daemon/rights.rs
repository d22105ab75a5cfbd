//! The rights of the process: what is opened before rights are given up, and what is given up before the daemon serves.

use super::control::{self, ControlSocket};
use super::files::reader;
use super::report::{fail, os_error, said};
use log::{info, warn};
use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use weir::config::feature::CACHE;
use weir::config::{Located, Problems, Settings, exit, guard};
use weir::embed::{self, CacheFile};
use weir::log::files::FILE_NAME;
use weir::log::writer::{Destination, Opened};
use weir::sandbox::{self, Enforced, Paths, User};

use super::pid_file::PidFile;

/// The limit of descriptors to set where the system allows it (chosen: the usual maximum for a process).
const DESCRIPTORS_AMPLE: u64 = 1 << 20;

pub fn find_user(settings: &Settings) -> Result<Option<User>, u8> {
    let Some(wanted) = &settings.user else { return Ok(None) };
    User::find(&wanted.value).map(Some).map_err(|message| {
        let mut problems = Problems::new();
        problems.add(wanted.origin.clone(), message);
        said(&problems)
    })
}

/// Files that are opened before the sandbox, and stay open.
pub struct Kept {
    pub log: Opened,
    pub cache_file: Option<CacheFile>,
    pub pid_file: Option<PidFile>,
    pub control_socket: Option<ControlSocket>,
}

/// Becomes the user, opens the log, the pid file and the cache file, enters the sandbox. The user opens these files, not root before: in
/// a directory that belongs to the user, a link could lead root to any file.
pub fn give_up(settings: &Settings, user: Option<&User>) -> Result<Kept, u8> {
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
        // Without this right the log could not be rotated, which would show only later.
        access(path, Access::WRITE_OK).map_err(|error| log_error(settings, &error.into()))?;
    }
    let cache_file = open_cache_file(settings)?;
    let pid_file = create_pid_file(settings)?;
    let control_socket = control::bind(settings)?;
    let paths = paths(settings);
    sandbox::give_up_capabilities(&paths).map_err(os_error)?;
    if settings.sandbox {
        enter_sandbox(&paths)?;
    }
    Ok(Kept { log, cache_file, pid_file, control_socket })
}

/// The user that the daemon runs as, for messages.
pub fn user_text(settings: &Settings) -> String {
    settings.user.as_ref().map_or_else(|| "weir".to_owned(), |user| format!("the user {:?}", user.value))
}

fn create_pid_file(settings: &Settings) -> Result<Option<PidFile>, u8> {
    let Some(file) = &settings.pid_file else { return Ok(None) };
    PidFile::create(&file.value).map(Some).map_err(|error| {
        let taken = "another weir does; expected a file of its own for each";
        not_kept(settings, file, "the number of the process", &error, taken)
    })
}

/// Reports a file that cannot be used, and returns the exit code: it is a mistake of the configuration, unless another process has the
/// file (`taken` says which), or the system fails; then a later start may succeed.
fn not_kept(settings: &Settings, file: &Located<PathBuf>, what: &str, error: &io::Error, taken: &str) -> u8 {
    let (why, code) = match error.kind() {
        ErrorKind::WouldBlock => (taken.to_owned(), Some(exit::UNAVAILABLE)),
        _ if is_of_system(error) => (error.to_string(), Some(exit::OS_ERROR)),
        _ => {
            let whose = user_text(settings);
            let expected = format!("expected a file, or none yet, in a directory that {whose} can write to");
            (format!("{error}; {expected}"), None)
        }
    };
    let mut problems = Problems::new();
    problems.add(file.origin.clone(), format!("{}: cannot keep {what} there: {why}", file.value.display()));
    let code_of_problems = said(&problems);
    code.unwrap_or(code_of_problems)
}

/// Whether the system lacks something, or a disk fails: no other configuration would help.
fn is_of_system(error: &io::Error) -> bool {
    // The error may be that of a file beside the one that is named.
    let beside = || error.get_ref()?.source()?.downcast_ref::<io::Error>()?.raw_os_error();
    error.raw_os_error().or_else(beside).is_some_and(|code| {
        let lacks =
            [Errno::NOSPC, Errno::DQUOT, Errno::FBIG, Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::IO];
        lacks.contains(&Errno::from_raw_os_error(code))
    })
}

/// Opens the cache file now, so that a failure of saving shows at the start.
fn open_cache_file(settings: &Settings) -> Result<Option<CacheFile>, u8> {
    let Some(file) = settings.cache_file.as_ref().filter(|_| CACHE.built && settings.cache) else {
        return Ok(None);
    };
    let opened = CacheFile::open(&file.value).map(Some);
    opened.map_err(|error| not_kept(settings, file, "the cache", &error, &error.to_string()))
}

fn log_error(settings: &Settings, error: &io::Error) -> u8 {
    let place = settings.log_dir.as_ref().map(|path| format!(" in {}", path.display())).unwrap_or_default();
    let whose = match &settings.user {
        Some(user) => format!(": expected a directory and an access.log that belong to {}", user.value),
        None => String::new(),
    };
    fail(&format!("cannot write the access log{place}: {error}{whose}"), exit::OS_ERROR)
}

/// The paths that the daemon opens while it serves.
pub fn paths(settings: &Settings) -> Paths {
    let read_lasting_file = lasting(reader(settings));
    let lists = [&settings.blocklists, &settings.allowlists].into_iter().flatten();
    let lists =
        lists.chain(&settings.auth_file).chain(&settings.cache_rules).chain(&settings.purge_token_file);
    let lists = lists.chain(&settings.guard).chain(&settings.gateway);
    let pages = settings.error_pages.iter().map(|page| page.value.path.clone());
    let files = lists.map(|file| file.value.clone()).chain(settings.config.clone()).chain(pages);
    let files = files.chain(guard::files_named(settings, &read_lasting_file)).collect();
    let listed = settings.cloud_ranges.iter().map(|directory| directory.value.clone()).collect();
    let cache_file = settings.cache_file.as_ref().filter(|_| settings.cache);
    let cache_directory = cache_file.map(|file| embed::parent(&file.value).to_owned());
    let events = guard::events_file(settings, &read_lasting_file);
    let events = events.map(|file| embed::parent(&file).to_owned());
    let fetched = guard::fetched_directory(settings, &read_lasting_file);
    let written =
        settings.log_dir.iter().cloned().chain(cache_directory).chain(events).chain(fetched).collect();
    let appended = settings.log_dir.iter().map(|directory| directory.join(FILE_NAME)).collect();
    let removed = settings.control.iter().map(|socket| embed::parent(&socket.value).to_owned()).collect();
    Paths { files, listed, appended, written, removed }
}

/// Reads a file that can be read again. A pipe is left to the compiler of the configuration, because it can be read once only.
fn lasting(read_file: impl Fn(&Path) -> io::Result<Vec<u8>>) -> impl Fn(&Path) -> io::Result<Vec<u8>> {
    move |path| match std::fs::metadata(path)?.is_file() {
        true => read_file(path),
        false => Err(ErrorKind::NotSeekable.into()),
    }
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

/// Raises the limit of descriptors to the need of the proxy, as far as the system allows. A reload may need more, and the sandbox forbids
/// raising the limit then, so the limit is raised beyond the need.
pub fn raise_descriptors(settings: &Settings, loops: usize) {
    let needed = embed::descriptors_needed(settings, loops);
    let limit = getrlimit(Resource::Nofile);
    let (current, maximum) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    let ample = needed.max(DESCRIPTORS_AMPLE);
    if current >= ample.min(needed.max(maximum)) {
        return;
    }
    // Only a privileged process may raise the maximum; otherwise the present maximum stays.
    for maximum in [needed.max(maximum), maximum] {
        let wanted = Rlimit { current: Some(ample.min(maximum)), maximum: Some(maximum) };
        if setrlimit(Resource::Nofile, wanted).is_ok() {
            return;
        }
    }
}
