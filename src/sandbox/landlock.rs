//! Limits the paths that can be opened, by Landlock (Linux 5.13; each newer version knows more).
//!
//! Landlock judges the location of a file, not its name: a link that leads out of a directory is refused, too. Open
//! descriptors stay usable. `stat` is not restricted.
//!
//! A rule is for a directory, not for its name: a log directory that is removed and created again while the daemon
//! runs is another directory, and only a restart opens it. A rule that allows it in advance would have to allow
//! everything in its parent.

use super::places::Places;
use ::landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};
use std::io;
use std::path::Path;

/// The newest version of the interface that is used, which is the newest that the tests have run with. An older
/// kernel enforces what it knows.
const NEWEST: ABI = ABI::V7;

/// Restricts this thread. False if the kernel has no Landlock, or it is switched off.
pub fn enforce(places: &Places) -> io::Result<bool> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))
        // All sockets are bound already.
        .and_then(|rules| rules.handle_access(AccessNet::BindTcp))
        // Closes abstract sockets of other processes, and forbids signals to them.
        .and_then(|rules| rules.scope(Scope::from_all(NEWEST)))
        .and_then(Ruleset::create)
        .map_err(io::Error::other)?;
    for place in places.directories.iter().chain(&places.files) {
        rules = allow(rules, place, AccessFs::ReadFile.into())?;
    }
    for directory in &places.listed {
        rules = allow(rules, directory, AccessFs::ReadFile | AccessFs::ReadDir)?;
    }
    let written = AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg | AccessFs::RemoveFile;
    for directory in &places.written {
        rules = allow(rules, directory, written)?;
    }
    for directory in &places.appended {
        rules = allow(rules, directory, written | AccessFs::ReadFile)?;
    }
    for directory in &places.removed {
        rules = allow(rules, directory, AccessFs::RemoveFile.into())?;
    }
    let status = rules.restrict_self().map_err(io::Error::other)?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

fn allow(rules: RulesetCreated, place: &Path, access: BitFlags<AccessFs>) -> io::Result<RulesetCreated> {
    match PathFd::new(place) {
        // The file has no place in the file system, so no rule applies to it.
        Ok(opened) if is_nameless(&opened) => Ok(rules),
        Ok(opened) => rules.add_rule(PathBeneath::new(opened, access)).map_err(io::Error::other),
        // A missing path, or one that this user cannot open, needs no rule.
        Err(error) => {
            log::debug!("sandbox: leaves out {}: {error}", place.display());
            Ok(rules)
        }
    }
}

/// Whether a file is a pipe or socket outside of any directory, as `/dev/stdin` often is. The kernel accepts no rule
/// for such a file.
fn is_nameless(opened: &PathFd) -> bool {
    const PIPES: u64 = 0x5049_5045;
    const SOCKETS: u64 = 0x534F_434B;
    rustix::fs::fstatfs(opened).is_ok_and(|system| matches!(system.f_type as u64, PIPES | SOCKETS))
}
