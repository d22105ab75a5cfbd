//! The files that the running daemon may open, and those for which the whole directory is opened.
//!
//! A reload usually finds another file than the start: editors, and programs that write lists, replace a file by a
//! new one. A Landlock rule is for a file, not for a name, so the new file can only be read if its directory is open,
//! with everything in it. So a directory is opened for reading if it is for such files only, and just the file if the
//! directory also holds other files: `/etc`, `/tmp`, home directories. A file that cannot be replaced, such as a file
//! that a container mounts, needs no more.

use super::paths::Paths;
use rustix::fs::{AtFlags, CWD, Mode, StatxAttributes, StatxFlags, stat, statx};
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// The files with names and name servers.
const NAMES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// The targets of `/etc/resolv.conf` on most systems that generate it. The current target is followed, too, but a
/// file of today may be a link tomorrow. These directories contain nothing else.
const NAME_SERVERS: [&str; 2] = ["/run/systemd/resolve", "/run/resolvconf"];

/// Directories with files of many programs (FHS 3.0).
const SHARED: [&str; 30] = [
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/lib",
    "/usr/local",
    "/usr/local/etc",
    "/usr/local/share",
    "/usr/share",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/run",
    "/var/spool",
    "/var/tmp",
];

/// The directories below these are home directories.
const HOMES: [&str; 2] = ["/home", "/Users"];

/// The paths to open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Directories to read, with everything in them.
    pub directories: BTreeSet<PathBuf>,
    /// Files to read, as long as they are not replaced.
    pub files: BTreeSet<PathBuf>,
    /// The files of `files` that may be replaced; a replacement cannot be read.
    pub fixed: BTreeSet<PathBuf>,
    /// Directories to list and read, with everything in them.
    pub listed: BTreeSet<PathBuf>,
    /// Directories to write, with everything in them.
    pub written: BTreeSet<PathBuf>,
    /// Directories to read and write, with everything in them.
    pub appended: BTreeSet<PathBuf>,
    /// Files and sockets are removed from these.
    pub removed: BTreeSet<PathBuf>,
}

/// The rule with which a file is opened.
enum Place {
    /// The rule opens the whole directory of the file.
    Directory(PathBuf),
    /// The rule opens the file, which cannot be replaced.
    File,
    /// The file is opened; a replacement cannot be read.
    Fixed,
}

impl Places {
    /// The places for these paths and this user.
    pub fn of(paths: &Paths, user: u32) -> Places {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let directory = |file: &PathBuf| file.parent().map(Path::to_owned);
        let appended: BTreeSet<PathBuf> = paths.appended.iter().filter_map(directory).collect();
        let written =
            paths.written.iter().filter(|directory| !appended.contains(*directory)).cloned().collect();
        let removed = paths.removed.iter().cloned().collect();
        let listed = paths.listed.iter().filter_map(|path| std::path::absolute(path).ok()).collect();
        let mut places = Places { listed, written, appended, removed, ..Places::default() };
        for file in paths.files.iter().map(PathBuf::as_path).chain(NAMES.map(Path::new)) {
            let Ok(named) = std::path::absolute(file) else { continue };
            // The named file, and the target of its links.
            let target = std::fs::canonicalize(&named).ok().filter(|target| *target != named);
            for path in [Some(named), target].into_iter().flatten() {
                match place_of(&path, user, home.as_deref()) {
                    Place::Directory(directory) => drop(places.directories.insert(directory)),
                    Place::File => drop(places.files.insert(path)),
                    Place::Fixed => {
                        places.fixed.insert(path.clone());
                        places.files.insert(path);
                    }
                }
            }
        }
        places.directories.extend(NAME_SERVERS.iter().map(PathBuf::from).filter(|path| path.exists()));
        let Places { directories, listed, files, fixed, .. } = &mut places;
        directories.retain(|directory| !listed.contains(directory));
        let is_open = |above: &Path| directories.contains(above) || listed.contains(above);
        let is_in_one = |file: &PathBuf| file.ancestors().any(is_open);
        files.retain(|file| !is_in_one(file));
        fixed.retain(|file| !is_in_one(file));
        places
    }
}

/// One line for each kind of place.
impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lasting: BTreeSet<PathBuf> = self.files.difference(&self.fixed).cloned().collect();
        let kinds = [
            ("reads all files in ", &self.directories),
            ("reads ", &lasting),
            ("reads (what replaces one of these is read after a restart only) ", &self.fixed),
            ("lists and reads all files in ", &self.listed),
            ("writes files in ", &self.written),
            ("reads and writes all files in ", &self.appended),
            ("removes files in ", &self.removed),
        ];
        let mut lines = kinds.iter().filter(|(_, paths)| !paths.is_empty());
        let mut next = lines.next();
        while let Some((what, paths)) = next {
            let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            write!(f, "{what}{}", paths.join(", "))?;
            next = lines.next();
            if next.is_some() {
                f.write_str("\n")?;
            }
        }
        Ok(())
    }
}

fn place_of(path: &Path, user: u32, home: Option<&Path>) -> Place {
    // A pipe or a device is not replaced.
    let is_special = std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
    match path.parent() {
        _ if is_special || is_mounted(path) => Place::File,
        Some(directory) if !is_shared(directory, user, home) => Place::Directory(directory.to_owned()),
        Some(_) | None => Place::Fixed,
    }
}

/// Whether the file is a mount of its own, as in containers: it cannot be replaced.
fn is_mounted(path: &Path) -> bool {
    let found = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty());
    found.is_ok_and(|found| {
        found.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT)
            && found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
    })
}

/// Whether the directory holds other files that this user could read. If the directory belongs to another user and
/// this user is not root, file permissions protect secrets, so the directory can be opened.
fn is_shared(directory: &Path, user: u32, home: Option<&Path>) -> bool {
    let Ok(found) = stat(directory) else { return false };
    let by_all = Mode::from_raw_mode(found.st_mode).contains(Mode::SVTX);
    let is_home = home == Some(directory)
        || directory.parent().is_some_and(|parent| HOMES.iter().any(|homes| parent == Path::new(homes)));
    let is_known = is_home || SHARED.iter().any(|shared| directory == Path::new(shared));
    directory.parent().is_none() || by_all || (is_known && (user == 0 || found.st_uid == user))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const ROOT: u32 = 0;
    const NOBODY: u32 = 65534;

    fn set(paths: &[&Path]) -> BTreeSet<PathBuf> {
        paths.iter().map(|path| path.to_path_buf()).collect()
    }

    /// The places for one file, without those for names.
    fn of(file: &Path, user: u32) -> Places {
        let files = vec![file.to_owned()];
        let all = Places::of(&Paths { files, ..Paths::default() }, user);
        let names = Places::of(&Paths::default(), user);
        let without =
            |all: &BTreeSet<PathBuf>, names: &BTreeSet<PathBuf>| all.difference(names).cloned().collect();
        Places {
            directories: without(&all.directories, &names.directories),
            files: without(&all.files, &names.files),
            fixed: without(&all.fixed, &names.fixed),
            ..Places::default()
        }
    }

    #[test]
    fn kind_20_files_stand_for_directories_of_their_own_only() {
        let folder = std::fs::canonicalize(std::env::temp_dir()).unwrap();
        let folder = folder.join(format!("weir-places-{}", std::process::id()));
        for name in ["a", "b", "sticky"] {
            std::fs::create_dir_all(folder.join(name)).unwrap();
        }
        let sticky = folder.join("sticky");
        std::fs::set_permissions(&sticky, std::fs::Permissions::from_mode(0o1777)).unwrap();
        for name in ["b/target", "sticky/file"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        std::os::unix::fs::symlink("../b/target", folder.join("a/link")).unwrap();
        std::os::unix::fs::symlink("../sticky/file", folder.join("a/to-sticky")).unwrap();
        let (a, b, file) = (folder.join("a"), folder.join("b"), sticky.join("file"));
        let nothing = BTreeSet::new();
        for user in [ROOT, NOBODY] {
            for (path, directories, fixed) in [
                (b.join("target"), set(&[&b]), nothing.clone()),
                (a.join("missing"), set(&[&a]), nothing.clone()),
                (a.join("link"), set(&[&a, &b]), nothing.clone()),
                (a.join("to-sticky"), set(&[&a]), set(&[&file])),
                (file.clone(), nothing.clone(), set(&[&file])),
                (PathBuf::from("/missing"), nothing.clone(), set(&[Path::new("/missing")])),
            ] {
                let places = of(&path, user);
                assert_eq!(
                    (&places.directories, &places.fixed),
                    (&directories, &fixed),
                    "{}",
                    path.display()
                );
                assert_eq!(places.files, places.fixed);
            }
            let places = of(Path::new("/dev/null"), user);
            assert_eq!(places, Places { files: set(&[Path::new("/dev/null")]), ..Places::default() });
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn kind_20_what_others_keep_stays_closed() {
        // Root, and the owner, could read more there than needed.
        for directory in ["/", "/etc", "/usr/local/etc", "/var/lib"].map(Path::new) {
            assert!(is_shared(directory, ROOT, None), "{}", directory.display());
        }
        // For other users permissions protect what is secret.
        assert!(!is_shared(Path::new("/etc"), NOBODY, None) && is_shared(Path::new("/"), NOBODY, None));
        let own = std::fs::canonicalize(std::env::current_dir().unwrap()).unwrap();
        let owner = stat(&own).unwrap().st_uid;
        assert!(
            !is_shared(&own, owner, None) && is_shared(&own, owner, Some(&own)),
            "a home is no place of weir's"
        );
        let names = Places::of(&Paths::default(), ROOT);
        assert!(!names.directories.contains(Path::new("/etc")), "{names}");
        assert!(names.files.contains(Path::new("/etc/hosts")), "{names}");
    }

    #[test]
    fn places_are_told() {
        let places = Places {
            directories: set(&[Path::new("/etc/weir")]),
            files: set(&[Path::new("/dev/null"), Path::new("/etc/hosts"), Path::new("/etc/resolv.conf")]),
            fixed: set(&[Path::new("/etc/hosts"), Path::new("/etc/resolv.conf")]),
            listed: set(&[Path::new("/etc/weir/clouds")]),
            written: set(&[Path::new("/var/cache/weir")]),
            appended: set(&[Path::new("/var/log/weir")]),
            removed: set(&[Path::new("/run/weir")]),
        };
        assert_eq!(
            places.to_string(),
            "reads all files in /etc/weir\nreads /dev/null\n\
             reads (what replaces one of these is read after a restart only) /etc/hosts, /etc/resolv.conf\n\
             lists and reads all files in /etc/weir/clouds\nwrites files in /var/cache/weir\n\
             reads and writes all files in /var/log/weir\nremoves files in /run/weir"
        );
        assert_eq!(Places::default().to_string(), "");
    }
}
