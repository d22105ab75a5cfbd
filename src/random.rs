//! Numbers that no stranger can foresee, from the system.

#[cfg(target_os = "linux")]
use rustix::io::retry_on_intr;
#[cfg(target_os = "linux")]
use rustix::rand::{GetRandomFlags, getrandom};
use std::io;

/// Fills the bytes. Fails where the system has none.
///
/// By the system call itself: a static program cannot look its function up by name, and in an empty root there is no `/dev/urandom` to
/// read in its place.
#[cfg(target_os = "linux")]
pub fn fill(bytes: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        filled += retry_on_intr(|| getrandom(&mut bytes[filled..], GetRandomFlags::empty()))?;
    }
    Ok(())
}

/// Fills the bytes. Fails where the system has none.
#[cfg(not(target_os = "linux"))]
pub fn fill(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(io::Error::other)
}
