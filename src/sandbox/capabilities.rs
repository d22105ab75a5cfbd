//! The capabilities that the daemon keeps (capabilities(7)).
//!
//! A port below 1024 is bound before the daemon serves, and nothing later needs a capability: root reads and writes
//! its own files without one. If root must read or write files of other users that are closed to it, the daemon keeps
//! the one capability for that.

use super::paths::Paths;
use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

/// A capability that is needed, and the paths that need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptCapability {
    /// The name in capabilities(7).
    pub name: &'static str,
    /// The paths that cannot be opened without it.
    pub paths: Vec<PathBuf>,
}

/// Drops all capabilities of this thread, which must be the only one, except those that the paths need, and returns
/// the kept ones. An unprivileged user keeps none: the capability for binding a port (`AmbientCapabilities=` of
/// systemd) is not needed any more.
pub fn give_up_unneeded(paths: &Paths) -> io::Result<Vec<KeptCapability>> {
    let is_root = rustix::process::geteuid().is_root();
    let needed = if is_root { needed(paths)? } else { Vec::new() };
    let kept = needed.iter().fold(CapabilitySet::empty(), |all, (capability, _)| all | *capability);
    give_up_all_but(kept)?;
    Ok(needed.into_iter().map(|(_, kept)| kept).collect())
}

/// Drops all capabilities of this thread.
pub fn give_up_all() -> io::Result<()> {
    give_up_all_but(CapabilitySet::empty())
}

fn give_up_all_but(kept: CapabilitySet) -> io::Result<()> {
    let now = capabilities(None)?;
    // A container may have fewer capabilities than the paths need.
    let kept = now.permitted & kept;
    let wanted = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    // Compared first: after a service manager has removed all capabilities, it often forbids the call that sets them.
    if now != wanted {
        set_capabilities(None, wanted)?;
    }
    Ok(())
}

/// The capabilities that the paths need. A thread without capabilities tries: capabilities belong to a thread, and
/// access depends on more than owner and mode.
fn needed(paths: &Paths) -> io::Result<Vec<(CapabilitySet, KeptCapability)>> {
    thread::scope(|scope| {
        let look = || {
            give_up_all()?;
            let unlisted = closed(&paths.listed, Access::READ_OK | Access::EXEC_OK);
            let unread = [closed(&paths.files, Access::READ_OK), unlisted].concat();
            let directories = closed(&paths.written, Access::WRITE_OK | Access::EXEC_OK);
            let unwritten = [directories, closed(&paths.appended, Access::WRITE_OK)].concat();
            let kept = |capability, name, paths| (capability, KeptCapability { name, paths });
            let all = [
                kept(CapabilitySet::DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", unread),
                kept(CapabilitySet::DAC_OVERRIDE, "CAP_DAC_OVERRIDE", unwritten),
            ];
            Ok(all.into_iter().filter(|(_, kept)| !kept.paths.is_empty()).collect())
        };
        let looking = thread::Builder::new().spawn_scoped(scope, look)?;
        looking.join().unwrap_or_else(|_| Err(io::Error::other("cannot look at the files' rights")))
    })
}

/// The paths that this thread may not access.
fn closed(paths: &[PathBuf], wanted: Access) -> Vec<PathBuf> {
    let is_closed = |path: &Path| matches!(access(path, wanted), Err(Errno::ACCESS | Errno::PERM));
    paths.iter().filter(|path| is_closed(path)).cloned().collect()
}
