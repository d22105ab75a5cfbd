//! What the daemon gives up before it serves, so that a fault in it is worth little to whoever finds one.
//!
//! Three walls, each by itself: another user than root ([`User`]), the paths that can be opened (Landlock), and the system
//! calls that can be made (a seccomp filter). They hold for a thread and for those that it starts, which is why `main` puts
//! them up while there is one thread only; nothing takes them down again. Beside that, memory with passwords in it goes into
//! no core file.
//!
//! The order, in `main`: bind the ports, become the user, open the log and the cache's file as that user, enter the sandbox,
//! read rules and users (again: what the sandbox would refuse at a reload shows at the start), start threads, serve.
//! Whatever needs more than the sandbox leaves, such as another listener, belongs before it.

#[cfg(target_os = "linux")]
mod landlock;
#[cfg(target_os = "linux")]
mod seccomp;
mod user;

pub use user::User;

use rustix::process::{Resource, Rlimit, setrlimit};
use std::io;
use std::path::PathBuf;

/// The files that are opened while the daemon serves.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    /// Files that are read again. Their directories become readable, not only they: who edits a file often replaces it by
    /// another one of the same name.
    pub files: Vec<PathBuf>,
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
    if !rustix::process::geteuid().is_root() {
        // Whoever started us may have taken away the call for it: then the rest still holds.
        if let Err(error) = give_up_capabilities() {
            log::info!("sandbox: cannot give up capabilities: {error}");
        }
    }
    let paths = landlock::enforce(paths)?;
    Ok(Enforced { paths, calls: seccomp::enforce()? })
}

/// Enters nothing: this system has no sandbox that weir knows.
#[cfg(not(target_os = "linux"))]
pub fn enter(_paths: &Paths) -> io::Result<Enforced> {
    Ok(Enforced { paths: false, calls: false })
}

/// What an unprivileged user was lent to bind a port (`AmbientCapabilities=` of systemd) is of no further use. Root keeps
/// its own: it may need them to read files that belong to others.
#[cfg(target_os = "linux")]
fn give_up_capabilities() -> io::Result<()> {
    use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
    let empty = CapabilitySet::empty();
    let none = CapabilitySets { effective: empty, permitted: empty, inheritable: empty };
    // Ask first: a service manager often takes away the call that sets them, and with it all that there was to give up.
    if capabilities(None)? != none {
        set_capabilities(None, none)?;
    }
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
