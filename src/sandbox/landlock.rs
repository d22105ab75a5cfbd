//! The paths that can be opened, by Landlock (Linux 5.13; each newer one knows more).
//!
//! Landlock judges where a file lies, not what it is called: a link that leads out of a directory is refused as well.
//! What is open already stays open. Looking at a path (`stat`) is not restricted by it.
//!
//! A directory is meant, not its name: a log directory that is removed while the daemon runs, and made anew by whomever,
//! is another one, and only a restart opens it. To allow it beforehand would be to allow everything in its parent.

use super::places::Places;
use ::landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};
use std::io;
use std::path::Path;

/// The newest interface whose restrictions are asked for: the newest that the tests have run with. An older kernel
/// enforces what it knows of them.
const NEWEST: ABI = ABI::V7;

/// Restricts this thread. False if the kernel has no Landlock, or it is switched off.
pub fn enforce(places: &Places) -> io::Result<bool> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))
        // All that is bound is bound already.
        .and_then(|rules| rules.handle_access(AccessNet::BindTcp))
        // No abstract sockets of others, and no signals to them.
        .and_then(|rules| rules.scope(Scope::from_all(NEWEST)))
        .and_then(Ruleset::create)
        .map_err(io::Error::other)?;
    for place in places.directories.iter().chain(&places.files) {
        rules = allow(rules, place, AccessFs::ReadFile.into())?;
    }
    let written = AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg | AccessFs::RemoveFile;
    for directory in &places.written {
        rules = allow(rules, directory, written)?;
    }
    for directory in &places.appended {
        rules = allow(rules, directory, written | AccessFs::ReadFile)?;
    }
    let status = rules.restrict_self().map_err(io::Error::other)?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

fn allow(rules: RulesetCreated, place: &Path, access: BitFlags<AccessFs>) -> io::Result<RulesetCreated> {
    match PathFd::new(place) {
        // It lies nowhere, and can be opened whatever the rules are.
        Ok(opened) if is_nameless(&opened) => Ok(rules),
        Ok(opened) => rules.add_rule(PathBeneath::new(opened, access)).map_err(io::Error::other),
        // What is not there, or not for this user, needs no permission.
        Err(error) => {
            log::debug!("sandbox: leaves out {}: {error}", place.display());
            Ok(rules)
        }
    }
}

/// Whether it is a pipe or a socket that has no place in any directory, as `/dev/stdin` often is: the kernel takes no rule for
/// one.
fn is_nameless(opened: &PathFd) -> bool {
    const PIPES: u64 = 0x5049_5045;
    const SOCKETS: u64 = 0x534F_434B;
    rustix::fs::fstatfs(opened).is_ok_and(|system| matches!(system.f_type as u64, PIPES | SOCKETS))
}
