//! The capabilities that the daemon keeps (capabilities(7)).
//!
//! A port below 1024 is bound by the time it serves, and nothing else that it does needs any: root's own files can be read and
//! written by root without. Where root is to read files, or write to a directory, that belong to others and are closed to
//! everybody else, it keeps the one that this takes, and no other.

use super::Paths;
use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

/// A capability that is needed, and the paths for which it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// As capabilities(7) calls it.
    pub name: &'static str,
    /// What cannot be reached without it.
    pub paths: Vec<PathBuf>,
}

/// Gives up every capability of this thread, which must be the only one, but those that the paths need, and returns these. An
/// unprivileged user keeps none: what it was lent to bind a port (`AmbientCapabilities=` of systemd) is of no further use.
pub fn give_up_unneeded(paths: &Paths) -> io::Result<Vec<Kept>> {
    let is_root = rustix::process::geteuid().is_root();
    let needed = if is_root { needed(paths)? } else { Vec::new() };
    let kept = needed.iter().fold(CapabilitySet::empty(), |all, (capability, _)| all | *capability);
    give_up_all_but(kept)?;
    Ok(needed.into_iter().map(|(_, kept)| kept).collect())
}

/// Gives up every capability of this thread.
pub fn give_up_all() -> io::Result<()> {
    give_up_all_but(CapabilitySet::empty())
}

fn give_up_all_but(kept: CapabilitySet) -> io::Result<()> {
    let now = capabilities(None)?;
    // There is no more to be had than there is: in a container it may be little.
    let kept = now.permitted & kept;
    let wanted = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    // Ask first: a service manager often takes away the call that sets them, and with it all that there was to give up.
    if now != wanted {
        set_capabilities(None, wanted)?;
    }
    Ok(())
}

/// What the paths need. Found out by a thread that has none: capabilities are a thread's own, and what they allow depends on
/// more than the owner and the mode.
fn needed(paths: &Paths) -> io::Result<Vec<(CapabilitySet, Kept)>> {
    thread::scope(|scope| {
        let look = || {
            give_up_all()?;
            let unread = closed(&paths.files, Access::READ_OK);
            let directories = closed(&paths.written, Access::WRITE_OK | Access::EXEC_OK);
            let unwritten = [directories, closed(&paths.appended, Access::WRITE_OK)].concat();
            let kept = |capability, name, paths| (capability, Kept { name, paths });
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

/// Those that rights close to this thread.
fn closed(paths: &[PathBuf], wanted: Access) -> Vec<PathBuf> {
    let is_closed = |path: &Path| matches!(access(path, wanted), Err(Errno::ACCESS | Errno::PERM));
    paths.iter().filter(|path| is_closed(path)).cloned().collect()
}
