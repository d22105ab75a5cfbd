//! Rights that the daemon gives up before it serves, so that a fault in it is worth little to an attacker.
//!
//! There are three independent walls: another user than root ([`User`]) or root without capabilities, the paths that
//! can be opened (Landlock), and the system calls that can be made (seccomp). They apply to a thread and to the
//! threads that it starts, so `main` sets them up while there is one thread, and they cannot be removed. Besides,
//! memory with passwords is kept out of core files.
//!
//! The order in `main`: bind the ports, change the user, open the log and the cache file as that user, drop the
//! remaining capabilities, enter the sandbox, read rules and users (again: so that a refusal at a reload shows at the
//! start), start threads, serve. Anything that needs more rights, such as another listener, comes before the sandbox.

#[cfg(target_os = "linux")]
mod capabilities;
#[cfg(target_os = "linux")]
mod landlock;
mod paths;
#[cfg(target_os = "linux")]
mod places;
#[cfg(target_os = "linux")]
mod seccomp;
mod user;

pub use paths::Paths;
#[cfg(target_os = "linux")]
pub use places::Places;
pub use user::User;

use rustix::process::{Resource, Rlimit, setrlimit};
use std::io;

/// The walls that the kernel enforces; one that it does not support is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enforced {
    /// Other paths cannot be opened.
    pub paths: bool,
    /// Other system calls fail.
    pub calls: bool,
}

/// Enters the sandbox, for this thread and those that it starts; called before there are others. It is no error if
/// the kernel has no support, but one if the kernel has it and refuses.
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

/// Does nothing: weir knows no sandbox on this system.
#[cfg(not(target_os = "linux"))]
pub fn enter(_paths: &Paths) -> io::Result<Enforced> {
    Ok(Enforced { paths: false, calls: false })
}

/// The paths that the sandbox would open for the user of that number, or for this one: a line for each kind.
#[cfg(target_os = "linux")]
pub fn describe(paths: &Paths, user: Option<u32>) -> String {
    Places::of(paths, user.unwrap_or_else(|| rustix::process::geteuid().as_raw())).to_string()
}

/// No path is closed.
#[cfg(not(target_os = "linux"))]
pub fn describe(_paths: &Paths, _user: Option<u32>) -> String {
    String::new()
}

/// Drops the capabilities that serving does not need, for this thread and those that it starts; called before there
/// are others. Executed programs do not get them back.
#[cfg(target_os = "linux")]
pub fn give_up_capabilities(paths: &Paths) -> io::Result<()> {
    match capabilities::give_up_unneeded(paths) {
        Ok(kept) => {
            for kept in kept {
                let paths: Vec<String> = kept.paths.iter().map(|path| path.display().to_string()).collect();
                log::warn!("root keeps {}: others' rights close {} to it", kept.name, paths.join(", "));
            }
        }
        // The service manager may forbid the call; the other walls still hold.
        Err(error) => log::info!("cannot give up capabilities: {error}"),
    }
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// weir knows no capabilities on this system.
#[cfg(not(target_os = "linux"))]
pub fn give_up_capabilities(_paths: &Paths) -> io::Result<()> {
    Ok(())
}

/// Disables core files, and reading of this process's memory by other users than root: it contains passwords. Called
/// again after a change of the user, which may undo it.
pub fn protect_memory() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    }
    Ok(())
}
