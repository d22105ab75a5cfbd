//! The threads of a proxy, and the receiver of the messages of the code on them.
//!
//! Messages go to the facade of the `log` crate, which has one receiver for the whole process. The library for C has to tell
//! the messages of one proxy from those of another. So each thread knows the receiver of the proxy that it works for, as long
//! as it does, and hands it on to the threads that it starts.

use std::cell::{Cell, RefCell};
use std::io;
use std::mem::{ManuallyDrop, replace};
use std::sync::Arc;
use std::thread::{self, JoinHandle, ThreadId};

/// Gets the messages of one proxy, on all its threads.
pub type Receiver = dyn Fn(log::Level, &str) + Send + Sync;

thread_local! {
    /// Every use puts back what it has found, so nothing is left to drop at the end of a thread of the program.
    static RECEIVER: RefCell<ManuallyDrop<Option<Arc<Receiver>>>> = const { RefCell::new(ManuallyDrop::new(None)) };
}

thread_local! {
    /// The id of a thread that [`spawn`] has started. `thread::current` would leave memory behind on a thread of the program.
    static STARTED: Cell<Option<ThreadId>> = const { Cell::new(None) };
}

/// Waits for the end of a thread that [`spawn`] has started, unless it is this one, which cannot wait for itself.
pub fn join_other<T>(thread: JoinHandle<T>) -> Option<thread::Result<T>> {
    let is_other = STARTED.get() != Some(thread.thread().id());
    is_other.then(|| thread.join())
}

/// The receiver of messages on this thread, if there is one.
pub fn receiver() -> Option<Arc<Receiver>> {
    RECEIVER.with(|now| now.borrow().as_ref().cloned())
}

/// Runs code for the proxy with this receiver.
pub fn telling<T>(receiver: Option<Arc<Receiver>>, body: impl FnOnce() -> T) -> T {
    let _before = Before(exchange(receiver));
    body()
}

/// Starts a thread for the proxy that this thread works for.
pub fn spawn<T: Send + 'static>(
    name: impl Into<String>,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let receiver = receiver();
    thread::Builder::new().name(name.into()).spawn(move || {
        STARTED.set(Some(thread::current().id()));
        telling(receiver, body)
    })
}

/// Puts the former receiver back when it is dropped.
struct Before(Option<Arc<Receiver>>);

impl Drop for Before {
    fn drop(&mut self) {
        drop(exchange(self.0.take()));
    }
}

fn exchange(receiver: Option<Arc<Receiver>>) -> Option<Arc<Receiver>> {
    RECEIVER
        .with(|now| ManuallyDrop::into_inner(replace(&mut *now.borrow_mut(), ManuallyDrop::new(receiver))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn a_thread_has_the_receiver_of_the_one_that_started_it() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let for_proxy = |name: &'static str| -> Option<Arc<Receiver>> {
            let heard = Arc::clone(&heard);
            Some(Arc::new(move |_, text| heard.lock().unwrap().push(format!("{name}: {text}"))))
        };
        let say = |text: &str| receiver().iter().for_each(|to| to(log::Level::Warn, text));
        telling(for_proxy("outer"), || {
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                telling(for_proxy("inner"), || {
                    spawn("test", move || say("on a thread")).unwrap().join().unwrap();
                    panic!("as the test wants");
                })
            }));
            assert!(panicked.is_err());
            say("here");
        });
        say("nobody hears this");
        assert_eq!(*heard.lock().unwrap(), ["inner: on a thread", "outer: here"]);
        assert!(receiver().is_none() && Arc::strong_count(&heard) == 1);
    }
}
