//! The walls that the kernel keeps: which paths can be opened, and which system calls can be made. There are none without the
//! feature `sandbox`, and on systems other than Linux.

pub use system::{describe, enter};

#[cfg(all(target_os = "linux", feature = "sandbox"))]
mod system {
    use super::super::{Enforced, Paths, Places, landlock, seccomp};
    use std::io;

    /// Enters the sandbox, for this thread and those that it starts; called before there are others. It is no error if
    /// the kernel has no support, but one if the kernel has it and refuses.
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

    /// The paths that the sandbox would open for the user of that number, or for this one: a line for each kind.
    pub fn describe(paths: &Paths, user: Option<u32>) -> String {
        Places::of(paths, user.unwrap_or_else(|| rustix::process::geteuid().as_raw())).to_string()
    }
}

#[cfg(not(all(target_os = "linux", feature = "sandbox")))]
mod system {
    use super::super::{Enforced, Paths};
    use std::io;

    /// Does nothing: there are no walls.
    pub fn enter(_paths: &Paths) -> io::Result<Enforced> {
        Ok(Enforced { paths: false, calls: false })
    }

    /// No path is closed.
    pub fn describe(_paths: &Paths, _user: Option<u32>) -> String {
        String::new()
    }
}
