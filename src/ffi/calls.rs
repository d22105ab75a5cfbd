//! Callbacks under way: a function that is not for callbacks says so, also on the thread of another worker.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

thread_local! {
    /// Its address names the thread. (A [`ThreadId`](std::thread::ThreadId) would leave an allocation behind on a thread of
    /// the program.)
    static THREAD: u8 = const { 0 };
}

/// The threads that are in a callback of one proxy; a thread is there once for each callback.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls(Arc<Mutex<Vec<usize>>>);

/// One callback; ends when dropped.
struct Call<'a>(&'a Calls);

impl Calls {
    /// Runs a callback.
    pub fn run<T>(&self, callback: impl FnOnce() -> T) -> T {
        self.threads().push(this_thread());
        let _call = Call(self);
        callback()
    }

    /// Whether this thread is in a callback.
    pub fn is_under_way(&self) -> bool {
        self.threads().contains(&this_thread())
    }

    fn threads(&self) -> MutexGuard<'_, Vec<usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn this_thread() -> usize {
    THREAD.with(|thread| std::ptr::from_ref(thread).addr())
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let this = this_thread();
        let mut threads = self.0.threads();
        if let Some(at) = threads.iter().rposition(|thread| *thread == this) {
            threads.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_is_under_way_on_its_thread_until_it_returns() {
        let calls = Calls::default();
        calls.run(|| {
            assert!(calls.run(|| calls.is_under_way()) && calls.is_under_way());
            std::thread::scope(|scope| {
                let other = scope.spawn(|| (calls.is_under_way(), calls.run(|| calls.is_under_way())));
                assert_eq!(other.join().ok(), Some((false, true)));
            });
        });
        assert!(!calls.is_under_way());
        let caught = std::panic::catch_unwind(|| calls.run(|| panic!("in a callback")));
        assert!(caught.is_err() && !calls.is_under_way());
    }
}
