//! SIGPIPE, which ends a program that does not expect it: a write to a connection that the other side has closed raises it.
//!
//! writev(2) and splice(2) have no flag against it. So the signal is blocked while the proxy runs on a thread of the program,
//! and a signal that was raised meanwhile is removed; threads that the proxy starts inherit the block.

#[cfg(target_os = "linux")]
pub(super) use linux::Quiet;

#[cfg(not(target_os = "linux"))]
pub(super) struct Quiet;

#[cfg(not(target_os = "linux"))]
impl Quiet {
    pub fn new() -> Quiet {
        Quiet
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::mem::zeroed;
    use std::ptr::null_mut;

    /// Blocks SIGPIPE on this thread until it is dropped.
    pub struct Quiet {
        /// The signal was not blocked before.
        ours: bool,
    }

    impl Quiet {
        pub fn new() -> Quiet {
            // SAFETY: the sets are this function's, and the calls fail for unknown signals only.
            unsafe {
                let mut before = zeroed();
                libc::pthread_sigmask(libc::SIG_BLOCK, &sigpipe(), &mut before);
                Quiet { ours: libc::sigismember(&before, libc::SIGPIPE) == 0 }
            }
        }
    }

    impl Drop for Quiet {
        fn drop(&mut self) {
            if self.ours {
                let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
                // SAFETY: as above; the pointer for information is null.
                unsafe {
                    libc::sigtimedwait(&sigpipe(), null_mut(), &at_once);
                    libc::pthread_sigmask(libc::SIG_UNBLOCK, &sigpipe(), null_mut());
                }
            }
        }
    }

    fn sigpipe() -> libc::sigset_t {
        // SAFETY: an empty set is made of any memory.
        unsafe {
            let mut set = zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGPIPE);
            set
        }
    }
}
