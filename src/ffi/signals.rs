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
        /// A signal of the program was waiting before.
        pending: bool,
    }

    impl Quiet {
        pub fn new() -> Quiet {
            // SAFETY: the sets are this function's, and the calls fail for unknown signals only.
            unsafe {
                let mut before = zeroed();
                libc::pthread_sigmask(libc::SIG_BLOCK, &sigpipe(), &mut before);
                Quiet { ours: libc::sigismember(&before, libc::SIGPIPE) == 0, pending: is_pending() }
            }
        }
    }

    impl Drop for Quiet {
        fn drop(&mut self) {
            let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: as above; the pointers for information are null.
            unsafe {
                if !self.pending && is_pending() {
                    libc::sigtimedwait(&sigpipe(), null_mut(), &at_once);
                }
                if self.ours {
                    libc::pthread_sigmask(libc::SIG_UNBLOCK, &sigpipe(), null_mut());
                }
            }
        }
    }

    /// Whether a SIGPIPE waits for this thread.
    pub(super) fn is_pending() -> bool {
        // SAFETY: the set is this function's.
        unsafe {
            let mut pending = zeroed();
            libc::sigpending(&mut pending);
            libc::sigismember(&pending, libc::SIGPIPE) == 1
        }
    }

    /// Blocks the signal on this thread, or lets it through.
    #[cfg(test)]
    pub(super) fn set_blocked(blocked: bool) {
        let how = if blocked { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
        // SAFETY: as above.
        unsafe {
            libc::pthread_sigmask(how, &sigpipe(), null_mut());
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::linux::{Quiet, is_pending, set_blocked};

    /// Raises the signal while it is quiet, and returns whether it waits afterwards.
    fn waits_after_a_turn() -> bool {
        let quiet = Quiet::new();
        // SAFETY: the signal is blocked on this thread.
        unsafe { libc::raise(libc::SIGPIPE) };
        drop(quiet);
        is_pending()
    }

    #[test]
    fn only_a_signal_of_the_program_is_left() {
        // The mask is that of a thread; the one of the test goes on without.
        std::thread::spawn(|| {
            set_blocked(false);
            assert!(!waits_after_a_turn());
            // Blocked by the program already.
            set_blocked(true);
            assert!(!waits_after_a_turn());
            // One of its own waits.
            // SAFETY: as above.
            unsafe { libc::raise(libc::SIGPIPE) };
            assert!(waits_after_a_turn());
        })
        .join()
        .expect("no signal and no panic");
    }
}
