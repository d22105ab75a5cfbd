//! Whose rights the daemon has, and where others than root can reach what it needs.

use super::weir::Weir;
use rustix::process::Signal;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

/// Whether the daemon continued without a part of the sandbox. In CI that is a failure.
pub fn lacks(weir: &Weir, part: &str) -> bool {
    let lacks =
        weir.error_lines().iter().any(|line| line.contains("this system lacks") && line.contains(part));
    assert!(!lacks || std::env::var_os("CI").is_none(), "CI needs a kernel with {part}");
    lacks
}

/// Whether the tests run as root, which in CI they do.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The user and the group that have no rights, as most systems number them; whatever they are called.
pub const NOBODY: u32 = 65534;

/// A folder that any user can reach, which the target folder may not be; removed when dropped.
pub struct Shared(PathBuf);

impl Shared {
    pub fn new(name: &str) -> Shared {
        let path = std::env::temp_dir().join(format!("weir-sandbox-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("its mode");
        Shared(path)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a path in UTF-8").to_owned()
    }

    pub fn file(&self, name: &str, contents: &str, mode: u32) -> String {
        let path = self.path(name);
        std::fs::write(&path, contents).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("its mode");
        path
    }

    /// The daemon's program, where any user can run it.
    pub fn program(&self) -> String {
        // By another process: what this one has open for writing, a child that another test starts at this very moment
        // would have, too, and then the program could not be run (ETXTBSY).
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_weir")).arg(self.0.join("weir")).status();
        assert!(copied.is_ok_and(|status| status.success()), "a copy of the program");
        self.path("weir")
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An unused port that only root may bind. Tests that run at the same time use different ones.
pub fn low_port(salt: u16) -> String {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (700 + 50 * salt..1024).find(free).expect("a free port below 1024").to_string()
}

/// Reloads, and waits for what is said of it.
#[track_caller]
pub fn reload_says(weir: &Weir, wanted: &[&str]) {
    weir.signal(Signal::HUP);
    weir.wait_for_error(|line| wanted.iter().all(|part| line.contains(part)));
}

/// Whether a test may make namespaces: as root, and with the programs for it. CI must.
pub fn may_make_namespaces() -> bool {
    let made = std::process::Command::new("unshare").args(["--net", "--mount", "ip", "link"]).output();
    let may = made.is_ok_and(|output| output.status.success());
    assert!(may || std::env::var_os("CI").is_none(), "CI needs root, unshare and ip (iproute2)");
    may
}
