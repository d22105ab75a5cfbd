//! The paths that can be opened, by Landlock (Linux 5.13; each newer one knows more).
//!
//! Landlock judges where a file lies, not what it is called: a link that leads out of a directory is refused as well.
//! What is open already stays open. Looking at a path (`stat`) is not restricted by it.
//!
//! A directory is meant, not its name: a log directory that is removed while the daemon runs, and made anew by whomever,
//! is another one, and only a restart opens it. To allow it beforehand would be to allow everything in its parent.

use super::Paths;
use ::landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// The newest interface whose restrictions are asked for: the newest that the tests have run with. An older kernel
/// enforces what it knows of them.
const NEWEST: ABI = ABI::V7;

/// What names and name servers are read from.
const NAMES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// Where `/etc/resolv.conf` leads on most systems that write it themselves. Where it leads now is followed, too; but it
/// may be a file today and a link tomorrow.
const NAME_SERVERS: [&str; 2] = ["/run/systemd/resolve", "/run/resolvconf"];

/// Restricts this thread. False if the kernel has no Landlock, or it is switched off.
pub fn enforce(paths: &Paths) -> io::Result<bool> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))
        // All that is bound is bound already.
        .and_then(|rules| rules.handle_access(AccessNet::BindTcp))
        // No abstract sockets of others, and no signals to them.
        .and_then(|rules| rules.scope(Scope::from_all(NEWEST)))
        .and_then(Ruleset::create)
        .map_err(io::Error::other)?;
    for place in readable(paths) {
        rules = allow(rules, &place, AccessFs::ReadFile.into())?;
    }
    for directory in &paths.written {
        let written = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
        rules = allow(rules, directory, written | AccessFs::MakeReg | AccessFs::RemoveFile)?;
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

/// Every place that must be readable, once each.
fn readable(paths: &Paths) -> BTreeSet<PathBuf> {
    let names = NAMES.iter().map(PathBuf::from);
    let mut places: BTreeSet<PathBuf> =
        paths.files.iter().cloned().chain(names).flat_map(places_of).collect();
    places.extend(NAME_SERVERS.iter().map(PathBuf::from));
    places
}

/// The directory of a file as it is named, and of the file that this leads to.
fn places_of(file: PathBuf) -> Vec<PathBuf> {
    let Ok(named) = std::path::absolute(&file) else { return Vec::new() };
    // A pipe or a device is itself, and nobody replaces it by another one.
    let is_special = std::fs::metadata(&named).is_ok_and(|metadata| !metadata.is_file());
    let place = |file: PathBuf| match file.parent() {
        // All of the system would be too much.
        Some(directory) if !is_special && directory.parent().is_some() => directory.to_owned(),
        Some(_) | None => file,
    };
    let led_to = std::fs::canonicalize(&named).ok().map(place);
    [place(named)].into_iter().chain(led_to).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stand_for_their_directories_and_those_they_lead_to() {
        let folder = std::fs::canonicalize(std::env::temp_dir()).unwrap();
        let folder = folder.join(format!("weir-landlock-{}", std::process::id()));
        for name in ["a", "b"] {
            std::fs::create_dir_all(folder.join(name)).unwrap();
        }
        std::fs::write(folder.join("b/target"), "").unwrap();
        std::os::unix::fs::symlink("../b/target", folder.join("a/link")).unwrap();
        let cases = [
            (folder.join("b/target"), vec![folder.join("b"), folder.join("b")]),
            (folder.join("a/link"), vec![folder.join("a"), folder.join("b")]),
            (folder.join("a/missing"), vec![folder.join("a")]),
            ("/missing".into(), vec!["/missing".into()]),
            ("/dev/null".into(), vec!["/dev/null".into(), "/dev/null".into()]),
        ];
        for (file, expected) in cases {
            assert_eq!(places_of(file.clone()), expected, "{}", file.display());
        }
        assert_eq!(places_of("x".into()), [std::env::current_dir().unwrap()]);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
