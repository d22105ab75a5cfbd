//! `--check`: reports all mistakes and what the start would fail at, at once.
//!
//! The check follows the steps of the start, without listening and without creating anything: as root it becomes `--user` before it reads
//! the files, so it judges the rights that the daemon will have. A port in use is no mistake: the daemon itself may use it, because
//! `--check` comes before a reload. What only a trial would show is not found: a full disk, too low a limit of descriptors, a file system
//! in which no file can be created (`/proc`), and a weir to take over that listens at other addresses.

use super::files::reader;
use super::pid_file::PidFile;
use super::report::{print, say};
use super::rights::user_text;
use log::warn;
use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::fs::metadata;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::SocketAddr as UnixAddress;
use std::path::Path;
use weir::config::feature::CACHE;
use weir::config::{Located, Origin, Problems, Settings, exit};
use weir::embed::{self, CacheFile, Compiled, parent, try_bind};
use weir::log::files::FILE_NAME;
use weir::sandbox::User;

/// The bit in the mode of a directory in which users remove only files of their own.
const STICKY: u32 = 0o1000;

/// Reports what is wrong, or the number of rules and users. Returns the exit code.
pub fn run(settings: &Settings, known: Problems) -> u8 {
    let (loaded, problems) = examine(settings, known);
    match loaded.filter(|_| problems.is_empty()) {
        Some([rules, users]) => {
            print(&format!("weir: the configuration is valid: {rules} rules, {users} users\n"))
        }
        None => {
            say(&problems.to_string());
            if problems.is_empty() { exit::OS_ERROR } else { problems.exit_code() }
        }
    }
}

/// The numbers of rules and users, if they are known, and all problems, beginning with the known ones.
fn examine(settings: &Settings, known: Problems) -> (Option<[usize; 2]>, Problems) {
    let mut problems = known;
    let mut found = Problems::new();
    judge_addresses(settings, &mut found);
    let user = find_user(settings, &mut found);
    let is_root = geteuid().is_root();
    let made = makes_log_directory(settings, user.as_ref());
    match &user {
        Some(user) if is_root => {
            if let Err(error) = user.assume() {
                found.add(settings.origin("user"), format!("cannot become this user: {error}"));
            }
        }
        Some(user) if !user.is_assumed() => {
            warn!(
                "not root: what --user may read and write is not checked; these are the rights of who asks"
            );
        }
        Some(_) | None => {}
    }
    judge_paths(settings, made, &mut found);
    judge_take_over(settings, &mut found);
    warn_if_unreadable(settings);
    problems.append(found);
    let Ok(seed) = embed::random_seed() else { return (None, problems) };
    let listeners = embed::addresses_to_bind(settings, &reader(settings));
    match embed::compile(settings, &listeners, seed, &reader(settings)) {
        Ok(Compiled { policy, mut guard, gateway: _, content_bytes }) => {
            embed::warn_of_skipped(&policy);
            let mut sized = settings.clone();
            // A size that is too small by itself is known already.
            if let (true, Err(too_small)) = (
                problems.is_empty(),
                embed::size(&mut sized, embed::loops(settings), content_bytes, false, guard.as_mut(), &[]),
            ) {
                problems.append(too_small);
            }
            (Some(embed::loaded(&policy)), problems)
        }
        Err(wrong) => {
            problems.append(wrong);
            (None, problems)
        }
    }
}

/// What a start would fail at after it has given up its rights; if there is something, with all that is wrong in files.
pub fn before_start(settings: &Settings, user: Option<&User>) -> Problems {
    let mut problems = Problems::new();
    judge_paths(settings, makes_log_directory(settings, user), &mut problems);
    if let (false, Ok(seed)) = (problems.is_empty(), embed::random_seed()) {
        let listeners = embed::addresses_to_bind(settings, &reader(settings));
        let compiled = embed::compile(settings, &listeners, seed, &reader(settings));
        compiled.err().into_iter().for_each(|wrong| problems.append(wrong));
    }
    problems
}

/// Whether the start creates the directory of the log, as root.
fn makes_log_directory(settings: &Settings, user: Option<&User>) -> bool {
    match (user, &settings.log_dir) {
        (Some(user), Some(path)) => user.would_make(path),
        (Some(_) | None, _) => false,
    }
}

fn find_user(settings: &Settings, problems: &mut Problems) -> Option<User> {
    let wanted = settings.user.as_ref()?;
    match User::find(&wanted.value) {
        Ok(user) => Some(user),
        Err(message) => {
            problems.add(wanted.origin.clone(), message);
            None
        }
    }
}

/// Reports addresses of which one takes the other's place, addresses that are not this machine's, and ports that only root may bind.
fn judge_addresses(settings: &Settings, problems: &mut Problems) {
    let of_options = settings.hosts.iter().map(|host| &host.origin);
    // Behind those of the options come the addresses that the gateway file names.
    let of_gateway =
        settings.gateway.iter().map(|file| Origin::File { path: file.value.as_path().into(), line: 0 });
    let of_gateway: Vec<Origin> = of_gateway.collect();
    let origins = of_options.chain(of_gateway.iter().cycle());
    let addresses = embed::addresses_to_bind(settings, &reader(settings));
    let origins: Vec<(&Origin, SocketAddr)> = origins.zip(addresses).collect();
    let of_metrics = settings.metrics.iter().map(|metrics| (&metrics.origin, metrics.value));
    let all: Vec<(&Origin, SocketAddr)> = origins.iter().copied().chain(of_metrics).collect();
    for (index, (origin, address)) in all.iter().enumerate() {
        if let Some((_, other)) = all[..index].iter().find(|(_, other)| is_same_place(*other, *address)) {
            let message =
                format!("cannot listen on {address} and {other} at once; expected different addresses");
            problems.add((*origin).clone(), message);
        }
    }
    for (origin, address) in origins {
        let Err(error) = try_bind(address) else { continue };
        let (origin, expected) = match error.kind() {
            ErrorKind::AddrInUse => continue,
            ErrorKind::PermissionDenied => {
                (settings.origin("port"), "expected a port from 1024 on, or to be started by root")
            }
            _ => (origin.clone(), "expected an address of this machine"),
        };
        problems.add(origin, format!("cannot listen on {address}: {error}; {expected}"));
    }
    let Some(Located { value: address, origin }) = &settings.metrics else { return };
    match try_bind(*address) {
        Err(error) if error.kind() != ErrorKind::AddrInUse => {
            let message = format!("metrics: cannot listen on {address}: {error}");
            problems.add(origin.clone(), message);
        }
        Ok(()) | Err(_) => {}
    }
}

/// Whether only one socket can listen on both. Any IPv6 address is any IPv4 address as well.
fn is_same_place(one: SocketAddr, other: SocketAddr) -> bool {
    let covers =
        |any: SocketAddr, other: SocketAddr| any.ip().is_unspecified() && (any.is_ipv6() || other.is_ipv4());
    one.port() == other.port()
        && one.port() != 0
        && (one.ip() == other.ip() || covers(one, other) || covers(other, one))
}

/// Judges the files and directories that the daemon writes.
fn judge_paths(settings: &Settings, log_directory_is_made: bool, problems: &mut Problems) {
    let whose = user_text(settings);
    let mut judge = |origin: Origin, path: &Path, what: &str, outcome: io::Result<()>| {
        if let Err(error) = outcome {
            let expected = format!("expected {what} that {whose} can write to");
            problems.add(origin, format!("{}: {error}; {expected}", path.display()));
        }
    };
    if let Some(path) = settings.log_dir.as_ref().filter(|_| !log_directory_is_made) {
        let what = "a directory, and in it an access.log or none yet,";
        judge(settings.origin("log-dir"), path, what, log_directory(path));
    }
    if let Some(Located { value: path, origin }) = &settings.pid_file {
        judge(origin.clone(), path, "a pid file, or none yet, in a directory", PidFile::check(path));
    }
    if let Some(Located { value: path, origin }) =
        settings.cache_file.as_ref().filter(|_| CACHE.built && settings.cache)
    {
        judge(origin.clone(), path, "a file, or none yet, in a directory", CacheFile::check(path));
    }
    if let Some(Located { value: path, origin }) = &settings.control {
        judge(
            origin.clone(),
            path,
            "a Unix socket, or nothing yet, in a directory",
            socket_in_directory(path),
        );
    }
    let written = [&settings.pid_file, &settings.cache_file, &settings.control];
    let written: Vec<_> = written.into_iter().flatten().collect();
    for (index, file) in written.iter().enumerate() {
        let is_log = settings.log_dir.as_ref().is_some_and(|directory| is_log_file(directory, &file.value));
        if is_log || written[..index].iter().any(|other| other.value == file.value) {
            let owner = if is_log { "the access log has it" } else { "another option names it" };
            let message = format!("{}: expected a path of its own; {owner}", file.value.display());
            problems.add(file.origin.clone(), message);
        }
    }
}

fn judge_take_over(settings: &Settings, problems: &mut Problems) {
    let Some(Located { value: path, origin }) = &settings.take_over else { return };
    if let Err(error) = existing_socket(path) {
        let expected = "expected the control socket of a running weir";
        problems.add(origin.clone(), format!("{}: {error}; {expected}", path.display()));
    }
}

/// Warns of a configuration file that a reload could not read.
fn warn_if_unreadable(settings: &Settings) {
    let Some(path) = &settings.config else { return };
    // A missing file is an error that is reported elsewhere.
    if let Err(error) = access(path, Access::READ_OK).map_err(io::Error::from) {
        if error.kind() == io::ErrorKind::NotFound {
            return;
        }
        let place = path.display();
        warn!("{place}: cannot be read with the rights that are left ({error}): a reload would fail");
    }
}

/// Whether the access log in that directory uses the path: `access.log`, and old ones with a number behind it.
fn is_log_file(directory: &Path, path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    let is_there = || std::path::absolute(parent(path)).ok() == std::path::absolute(directory).ok();
    name.as_bytes().starts_with(FILE_NAME.as_bytes()) && is_there()
}

/// Checks a log directory: an existing one with a log that can be appended to, or one that can be created with all its parents.
fn log_directory(path: &Path) -> io::Result<()> {
    let path = std::path::absolute(path)?;
    let is_missing =
        |place: &Path| matches!(place.symlink_metadata(), Err(error) if error.kind() == ErrorKind::NotFound);
    let there = path.ancestors().find(|place| !is_missing(place)).unwrap_or(&path);
    if !metadata(there)?.is_dir() {
        return Err(ErrorKind::NotADirectory.into());
    }
    access(there, Access::WRITE_OK | Access::EXEC_OK)?;
    match there == path {
        true => log_file(&path.join(FILE_NAME))
            .map_err(|error| io::Error::new(error.kind(), format!("{FILE_NAME}: {error}"))),
        false => Ok(()),
    }
}

/// Checks a log: one that can be opened, or one that can be created, also where a link leads to.
fn log_file(path: &Path) -> io::Result<()> {
    match metadata(path) {
        Ok(log) if log.is_dir() => Err(ErrorKind::IsADirectory.into()),
        Ok(log) if log.file_type().is_socket() => Err(io::Error::other("this is a socket")),
        Ok(_) => Ok(access(path, Access::READ_OK | Access::WRITE_OK)?),
        Err(error) if error.kind() == ErrorKind::NotFound => match path.read_link() {
            Ok(target) => log_file(&parent(path).join(target)),
            Err(_) => Ok(access(parent(path), Access::WRITE_OK | Access::EXEC_OK)?),
        },
        Err(error) => Err(error),
    }
}

/// Checks a Unix socket: one that a weir has left or listens on, or one that can be created.
fn socket_in_directory(path: &Path) -> io::Result<()> {
    UnixAddress::from_pathname(path)?;
    access(parent(path), Access::WRITE_OK | Access::EXEC_OK)?;
    match existing_socket(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found?,
    }
    // The start connects to it, and removes it if no process listens there.
    access(path, Access::WRITE_OK)?;
    match may_remove(path)? {
        true => Ok(()),
        false => Err(Errno::PERM.into()),
    }
}

/// Whether this user may remove a file from a directory that this user can write to: in a sticky one, not a file of another user.
fn may_remove(path: &Path) -> io::Result<bool> {
    let (file, directory, user) = (path.symlink_metadata()?, metadata(parent(path))?, geteuid());
    let is_own = [file.uid(), directory.uid()].contains(&user.as_raw());
    Ok(directory.mode() & STICKY == 0 || is_own || user.is_root())
}

fn existing_socket(path: &Path) -> io::Result<()> {
    match path.symlink_metadata()?.file_type().is_socket() {
        true => Ok(()),
        false => Err(io::Error::other("this is no socket")),
    }
}
