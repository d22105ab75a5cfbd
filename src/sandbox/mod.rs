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
#[cfg(all(target_os = "linux", feature = "sandbox"))]
mod landlock;
mod paths;
#[cfg(all(target_os = "linux", feature = "sandbox"))]
mod places;
#[cfg(all(target_os = "linux", feature = "sandbox", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod seccomp;
mod user;
mod walls;

pub use paths::Paths;
#[cfg(all(target_os = "linux", feature = "sandbox"))]
pub use places::Places;
pub use user::User;
pub use walls::{describe, enter};

use rustix::process::{Resource, Rlimit, setrlimit};
use std::io;

/// The walls that the kernel enforces. False for a wall that the kernel does not support.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enforced {
    /// Only allowed paths can be opened.
    pub paths: bool,
    /// Only allowed system calls succeed.
    pub calls: bool,
}

/// Drops the capabilities that serving does not need, for this thread and the threads that it starts; called before
/// other threads exist. Executed programs do not get them back.
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
