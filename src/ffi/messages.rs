//! The messages of a proxy for its program: by on_message as they come, and as the text that weir_new() and weir_reload()
//! return.
//!
//! The code of weir gives messages to the facade of the `log` crate, of which the library for C has a copy of its own. What
//! receives them there has no state: it looks for the proxy that the thread works for.

use crate::embed::threads::{self, Receiver, telling};
use log::{Level, LevelFilter, Metadata, Record};
use std::cell::Cell;
use std::ffi::{CString, c_char, c_int, c_void};
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// on_message: something does not work.
pub const WEIR_MESSAGE_ERROR: c_int = 1;
/// on_message: something may not be as it was meant.
pub const WEIR_MESSAGE_WARNING: c_int = 2;
/// on_message: something has happened. The numbers of `stats-every` come with this level, too.
pub const WEIR_MESSAGE_INFO: c_int = 3;

/// The function of the program.
pub(super) type OnMessage = unsafe extern "C" fn(user_data: *mut c_void, level: c_int, text: *const c_char);

thread_local! {
    /// Whether this thread is in on_message: code that says something may hold locks.
    static IN_MESSAGE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is in on_message.
pub(super) fn is_under_way() -> bool {
    IN_MESSAGE.get()
}

/// Gives messages to the proxy that the thread works for.
struct Router;

impl log::Log for Router {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Info && metadata.target().starts_with("weir")
    }

    fn log(&self, record: &Record<'_>) {
        if let Some(receiver) = threads::receiver().filter(|_| self.enabled(record.metadata())) {
            receiver(record.level(), &record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// Begins to receive. A program in Rust that contains this library and has a logger keeps it.
pub(super) fn begin() {
    if log::set_logger(&Router).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

/// The function of the program, as the receiver calls it.
type Tell = Box<dyn Fn(c_int, *const c_char) + Send + Sync>;

/// The messages of one proxy for a function of the program. Threads of a store outlive their proxy for a while, and the data of the
/// program may be gone by then: a drop waits for the calls under way, and no call comes after it.
pub(super) struct Messages {
    receiver: Arc<Receiver>,
    /// `None` after the drop. Calls on several threads have it at the same time. No thread drops the messages in such a call of its
    /// own, where weir_free() has no effect.
    function: Arc<RwLock<Option<Tell>>>,
}

impl Messages {
    /// The messages for a function.
    pub fn new(tell: impl Fn(c_int, *const c_char) + Send + Sync + 'static) -> Messages {
        let function = Arc::new(RwLock::new(Some(Box::new(tell) as Tell)));
        let called = Arc::clone(&function);
        let receiver: Arc<Receiver> = Arc::new(move |level, text| {
            let function = called.read().unwrap_or_else(PoisonError::into_inner);
            let Some(tell) = &*function else { return };
            let level = match level {
                Level::Error => WEIR_MESSAGE_ERROR,
                Level::Warn => WEIR_MESSAGE_WARNING,
                Level::Info | Level::Debug | Level::Trace => WEIR_MESSAGE_INFO,
            };
            // Names of files can have any byte but zero, and nothing else of a message comes from outside as it is.
            let text = CString::new(text.replace('\0', "\\0")).unwrap_or_default();
            let before = IN_MESSAGE.replace(true);
            tell(level, text.as_ptr());
            IN_MESSAGE.set(before);
        });
        Messages { receiver, function }
    }

    /// What the threads of the proxy give their messages to.
    pub fn receiver(&self) -> Arc<Receiver> {
        Arc::clone(&self.receiver)
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        *self.function.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Warnings and errors of one call, until the call returns.
#[derive(Debug, Default)]
struct Heard(Mutex<Option<Vec<String>>>);

impl Heard {
    fn texts(&self) -> MutexGuard<'_, Option<Vec<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a call for a receiver, and returns the warnings and errors that it had to say as well. The receiver that the call is given
/// is for what it says itself.
pub(super) fn hearing<T>(next: Option<Arc<Receiver>>, call: impl FnOnce(&Receiver) -> T) -> (T, Vec<String>) {
    let heard = Arc::new(Heard(Mutex::new(Some(Vec::new()))));
    let hears = Arc::clone(&heard);
    let receiver: Arc<Receiver> = Arc::new(move |level, text| {
        // Threads that the call has started go on telling their messages here.
        if let Some(texts) = hears.texts().as_mut().filter(|_| level <= Level::Warn) {
            texts.push(text.to_owned());
        }
        next.iter().for_each(|next| next(level, text));
    });
    let done = telling(Some(Arc::clone(&receiver)), || call(&*receiver));
    let texts = take(&mut *heard.texts()).unwrap_or_default();
    (done, texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    /// Threads of a store keep the receiver for longer than the proxy lives: a drop waits for the call under way, and there is no
    /// call after it.
    #[test]
    fn no_message_comes_after_the_end() {
        let (told, heard) = channel();
        let (go_on, gate) = channel::<()>();
        let (gate, of_drop) = (Mutex::new(gate), told.clone());
        let messages = Messages::new(move |_, _| {
            told.send("call").unwrap();
            gate.lock().unwrap().recv().unwrap();
            told.send("return").unwrap();
        });
        let receiver = messages.receiver();
        let late = messages.receiver();
        let caller = std::thread::spawn(move || receiver(Level::Warn, "lost"));
        assert_eq!(heard.recv(), Ok("call"));
        let ending = std::thread::spawn(move || {
            drop(messages);
            of_drop.send("dropped").unwrap();
        });
        go_on.send(()).unwrap();
        ending.join().unwrap();
        caller.join().unwrap();
        late(Level::Warn, "lost again");
        assert_eq!(heard.iter().collect::<Vec<_>>(), ["return", "dropped"]);
    }
}
