//! Changing to a user with fewer rights.

use nix::unistd::{self, Gid, Group, Uid};
use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The mode bits that let other users than the owner write.
const WRITABLE_BY_OTHERS: fs::RawMode = 0o022;

/// Permissions of a log directory (chosen, as for the log itself): owner and group.
const DIRECTORY_MODE: fs::RawMode = 0o750;

/// A user and a group of this system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name, if the system has one for this number.
    name: Option<CString>,
    id: Uid,
    group: Gid,
}

impl User {
    /// Looks up `NAME` or `NAME:GROUP`, or numbers. Without a group it is the user's own. An error says what was
    /// expected.
    pub fn find(text: &str) -> Result<User, String> {
        let (name, group) = match text.split_once(':') {
            Some((name, group)) => (name, Some(group)),
            None => (text, None),
        };
        let user = unistd::User::from_name(name).ok().flatten().or_else(|| {
            name.parse().ok().and_then(|id| unistd::User::from_uid(Uid::from_raw(id)).ok().flatten())
        });
        let id =
            user.as_ref().map(|user| user.uid).or_else(|| name.parse().ok().map(Uid::from_raw)).ok_or_else(
                || format!("no user {name:?}: expected one that this system has (getent passwd)"),
            )?;
        if id.is_root() {
            return Err(format!("{name:?} is root: expected a user without its rights, such as nobody"));
        }
        let group = match group {
            Some(group) => find_group(group)?,
            None => user.as_ref().map(|user| user.gid).ok_or_else(|| {
                format!("no user has the number {name}: expected its group with it, as in {name}:{name}")
            })?,
        };
        let name = user.and_then(|user| CString::new(user.name).ok());
        Ok(User { name, id, group })
    }

    /// The number of the user.
    pub fn id(&self) -> u32 {
        self.id.as_raw()
    }

    /// Creates a missing directory for this user, if that needs root, below a directory that only root can write to.
    /// Elsewhere another user could put a link there at the same moment, and root would give the target away; there
    /// the user itself must create it. An existing directory is not changed.
    pub fn make_directory(&self, path: &Path) -> io::Result<()> {
        let path = std::path::absolute(path)?;
        let Some(name) = path.file_name() else { return Ok(()) };
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Some(parent) = parent_of_root_alone(&path)? else { return Ok(()) };
        match fs::mkdirat(&parent, name, Mode::from_raw_mode(DIRECTORY_MODE)) {
            Err(Errno::EXIST) => return Ok(()),
            made => made?,
        }
        let made = fs::openat(&parent, name, flags | OFlags::NOFOLLOW, Mode::empty())?;
        let (id, group) = (fs::Uid::from_raw(self.id.as_raw()), fs::Gid::from_raw(self.group.as_raw()));
        Ok(fs::fchown(made, Some(id), Some(group))?)
    }

    /// Whether that directory is missing and would be created.
    pub fn would_make(&self, path: &Path) -> bool {
        let Ok(path) = std::path::absolute(path) else { return false };
        !path.exists() && parent_of_root_alone(&path).is_ok_and(|parent| parent.is_some())
    }

    /// Becomes this user for good: groups first, because only root may change them, then the user, then a check that
    /// the process cannot become root again. Called before other threads exist.
    pub fn assume(&self) -> io::Result<()> {
        if !self.is_assumed() {
            self.take_groups()?;
            unistd::setgid(self.group)?;
            unistd::setuid(self.id)?;
        }
        let root = Uid::from_raw(0);
        let regained = unistd::setuid(root).is_ok() || unistd::seteuid(root).is_ok();
        if regained || !self.is_assumed() {
            return Err(io::Error::other("the rights of root could not be given up"));
        }
        #[cfg(target_os = "linux")]
        {
            // Executed programs get no more rights than this process has.
            rustix::thread::set_no_new_privs(true)?;
            super::capabilities::give_up_all()?;
        }
        Ok(())
    }

    /// Whether this process already runs as this user.
    pub fn is_assumed(&self) -> bool {
        [unistd::getuid(), unistd::geteuid()] == [self.id; 2]
            && [unistd::getgid(), unistd::getegid()] == [self.group; 2]
    }

    #[cfg(not(target_vendor = "apple"))]
    fn take_groups(&self) -> io::Result<()> {
        match &self.name {
            Some(name) => unistd::initgroups(name, self.group)?,
            None => unistd::setgroups(&[self.group])?,
        }
        Ok(())
    }

    #[cfg(target_vendor = "apple")]
    fn take_groups(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// The parent directory, if only root can write to it and this process is root.
fn parent_of_root_alone(path: &Path) -> io::Result<Option<OwnedFd>> {
    let Some(parent) = path.parent() else { return Ok(None) };
    let Ok(parent) = fs::open(parent, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) else {
        return Ok(None);
    };
    let status = fs::fstat(&parent)?;
    let of_root_alone = status.st_uid == 0 && status.st_mode & WRITABLE_BY_OTHERS == 0;
    Ok(Some(parent).filter(|_| of_root_alone && unistd::geteuid().is_root()))
}

fn find_group(group: &str) -> Result<Gid, String> {
    let known = Group::from_name(group).ok().flatten().map(|group| group.gid);
    let id = known.or_else(|| group.parse().ok().map(Gid::from_raw));
    match id {
        Some(id) if id.as_raw() == 0 => {
            Err(format!("{group:?} is root's group: expected one without its rights"))
        }
        Some(id) => Ok(id),
        None => Err(format!("no group {group:?}: expected one that this system has (getent group)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_or_it_is_said_what_was_expected() {
        let number = |text: &str| User::find(text).map(|user| (user.id.as_raw(), user.group.as_raw()));
        assert_eq!(number("4100000000:4100000001"), Ok((4_100_000_000, 4_100_000_001)));
        for (text, expected) in [
            ("root", "\"root\" is root: expected a user without its rights, such as nobody"),
            ("0:5", "\"0\" is root: expected"),
            ("no-such-user", "no user \"no-such-user\": expected one that this system has"),
            ("-1:5", "no user \"-1\": expected"),
            ("4100000000", "no user has the number 4100000000: expected its group with it"),
            ("4100000000:no-such-group", "no group \"no-such-group\": expected"),
            ("4100000000:0", "\"0\" is root's group: expected"),
        ] {
            let message = number(text).expect_err(text);
            assert!(message.starts_with(expected), "{text}: {message}");
        }
    }
}
