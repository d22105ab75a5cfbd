//! Memory that is not needed goes back to the system.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub use glibc::{keep_apart, trim};

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
mod glibc {
    /// From so many bytes on a piece has pages of its own (chosen: what glibc begins with).
    const APART_BYTES: i32 = 128 * 1024;

    /// Has the allocator keep large pieces apart, always. By itself it does so only until the first of them is freed: the
    /// tables of many connections would then grow by copying, and leave holes where they were (measured: 736 bytes in place
    /// of 479 for each of 8,900 idle tunnels, when as many had been there before).
    pub fn keep_apart() {
        // SAFETY: takes no pointer, and may be called at any time from any thread (mallopt(3)).
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, APART_BYTES);
        }
    }

    /// Has the allocator give back the pages that hold nothing. What was freed in the middle of its heap stays with the
    /// process otherwise: after a burst that is nearly everything.
    pub fn trim() {
        // SAFETY: takes no pointer, and may be called at any time from any thread (malloc_trim(3)).
        unsafe {
            libc::malloc_trim(0);
        }
    }
}

/// Other allocators are left to themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn keep_apart() {}

/// Other allocators are left to themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn trim() {}
