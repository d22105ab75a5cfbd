//! What the daemon gives up before it serves, so that a fault in it is worth little to whoever finds one.
//!
//! Three walls, each by itself: another user than root ([`User`]) or root without its capabilities, the paths that can be opened
//! (Landlock), and the system calls that can be made (a seccomp filter). They hold for a thread and for those that it starts, which is why `main` puts
//! them up while there is one thread only; nothing takes them down again. Beside that, memory with passwords in it goes into
//! no core file.
//!
//! The order, in `main`: bind the ports, become the user, open the log and the cache's file as that user, give up the
//! capabilities that are left, enter the sandbox, read rules and users (again: what the sandbox would refuse at a reload shows at the start), start threads, serve.
//! Whatever needs more than the sandbox leaves, such as another listener, belongs before it.

#[cfg(target_os = "linux")]
mod capabilities;
#[cfg(target_os = "linux")]
mod landlock;
#[cfg(target_os = "linux")]
mod places;
#[cfg(target_os = "linux")]
mod seccomp;
mod user;

#[cfg(target_os = "linux")]
pub use places::Places;
pub use user::User;

use rustix::process::{Resource, Rlimit, setrlimit};
use std::io;
use std::path::PathBuf;

/// The files that are opened while the daemon serves.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    /// Files that are read again.
    pub files: Vec<PathBuf>,
    /// Logs: files that are opened again and appended to. Their last bytes are read before.
    pub appended: Vec<PathBuf>,
    /// The directories of the log and of the cache's file, in which files are made, written, renamed and removed.
    pub written: Vec<PathBuf>,
}

/// What the kernel enforces from now on; a wall that it does not have is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enforced {
    /// Other paths cannot be opened.
    pub paths: bool,
    /// Other system calls fail.
    pub calls: bool,
}

/// Enters the sandbox, for this thread and those that it starts: to be called before there are others. A kernel without
/// it is no error; one that has it and refuses is.
#[cfg(target_os = "linux")]
pub fn enter(paths: &Paths) -> io::Result<Enforced> {
    let places = Places::of(paths, rustix::process::geteuid().as_raw());
    let enforced = Enforced { paths: landlock::enforce(&places)?, calls: seccomp::enforce()? };
    if enforced.paths {
        for line in places.to_string().lines() {
            log::info!("sandbox: {line}");
        }
    }
    Ok(enforced)
}

/// Enters nothing: this system has no sandbox that weir knows.
#[cfg(not(target_os = "linux"))]
pub fn enter(_paths: &Paths) -> io::Result<Enforced> {
    Ok(Enforced { paths: false, calls: false })
}

/// What the sandbox would open for the user of that number, or for this one: a line for each kind of place.
#[cfg(target_os = "linux")]
pub fn describe(paths: &Paths, user: Option<u32>) -> String {
    Places::of(paths, user.unwrap_or_else(|| rustix::process::geteuid().as_raw())).to_string()
}

/// Nothing is closed.
#[cfg(not(target_os = "linux"))]
pub fn describe(_paths: &Paths, _user: Option<u32>) -> String {
    String::new()
}

/// Gives up the capabilities that serving does not need, for this thread and those that it starts: to be called before there
/// are others. Nothing that is executed gets them back.
#[cfg(target_os = "linux")]
pub fn give_up_capabilities(paths: &Paths) -> io::Result<()> {
    match capabilities::give_up_unneeded(paths) {
        Ok(kept) => {
            for kept in kept {
                let paths: Vec<String> = kept.paths.iter().map(|path| path.display().to_string()).collect();
                log::warn!("root keeps {}: others' rights close {} to it", kept.name, paths.join(", "));
            }
        }
        // Whoever started us may have taken away the call for it: then the rest still holds.
        Err(error) => log::info!("cannot give up capabilities: {error}"),
    }
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// This system has none that weir knows.
#[cfg(not(target_os = "linux"))]
pub fn give_up_capabilities(_paths: &Paths) -> io::Result<()> {
    Ok(())
}

/// No core files, and nobody but root reads this process's memory: there are passwords in it. To be called again after a
/// change of users, which may undo it.
pub fn protect_memory() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    }
    Ok(())
}
