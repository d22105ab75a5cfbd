//! The walls that the kernel enforces: which paths can be opened, and which system calls can be made. Without the feature `sandbox`, and
//! on systems other than Linux, there are no walls.

pub use system::{describe, enter};

#[cfg(all(target_os = "linux", feature = "sandbox"))]
mod system {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    use super::super::seccomp;
    use super::super::{Enforced, Paths, Places, landlock};
    use std::io;

    /// There is no filter for the system calls of this architecture.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    mod seccomp {
        /// False: nothing is restricted.
        pub fn enforce() -> std::io::Result<bool> {
            Ok(false)
        }
    }

    /// Enters the sandbox, for this thread and the threads that it starts; called before other threads exist. A
    /// kernel without support is no error; a kernel that has it and refuses is one.
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

    /// An empty text: no path is closed.
    pub fn describe(_paths: &Paths, _user: Option<u32>) -> String {
        String::new()
    }
}
