//! Memory that is not needed goes back to the system.

/// Has the allocator give back the pages that hold nothing. What was freed in the middle of its heap stays with the process
/// otherwise: after a burst that is nearly everything.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub fn trim() {
    // SAFETY: takes no pointer, and may be called at any time from any thread (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other allocators are left to themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn trim() {}
