//! The proxy itself.

use super::border::{border, border_or, text, weir_status, write_text};
use super::callbacks::{WEIR_NAME_ASK, WEIR_NAME_FOUND, WEIR_NAME_NOT_FOUND, parse_address, weir_options};
use super::calls::Calls;
use super::configuration::weir_config;
use super::messages::{self, Messages};
use super::signals::Quiet;
use crate::callback::NameVerdict;
use crate::embed::threads::{Receiver, telling};
use crate::embed::{BanError, BuildError, Control, Problems, Proxy, Reloaded, Status};
use crate::metrics::Form;
use log::Level;
use rustix::io::fcntl_getfd;
use std::cell::UnsafeCell;
use std::ffi::{c_char, c_int};
use std::fmt;
use std::io::ErrorKind;
use std::mem::ManuallyDrop;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A proxy. weir_drain(), weir_stop(), weir_ban(), weir_unban(), weir_name_found(), weir_reload(), weir_refresh_addresses(),
/// weir_fd() and weir_address() may be called from any thread, until weir_free() is called; all others by one thread at a time.
pub struct weir_proxy {
    control: Control,
    fd: RawFd,
    /// Dropped before all else: its threads may use the rest until they end.
    proxy: UnsafeCell<ManuallyDrop<Proxy>>,
    /// Whether the proxy is being polled or read.
    busy: AtomicBool,
    /// A panic was caught inside: the proxy can only be freed.
    broken: AtomicBool,
    calls: Calls,
    /// Behind the proxy: what its threads say while they end is heard.
    messages: Option<Messages>,
}

impl fmt::Debug for weir_proxy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("weir_proxy").field("fd", &self.fd).finish_non_exhaustive()
    }
}

/// Gives the proxy back, however its use ends.
struct Turn<'a>(&'a weir_proxy);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.broken.store(true, Ordering::Relaxed);
        }
        self.0.busy.store(false, Ordering::Release);
    }
}

impl weir_proxy {
    /// Begins to use the proxy alone. Fails while another thread does, and in a callback, which may be on the thread of
    /// another worker.
    fn begin(&self) -> Result<(), weir_status> {
        if self.calls.is_under_way() || self.busy.swap(true, Ordering::Acquire) {
            return Err(weir_status::WEIR_ERROR_BUSY);
        }
        Ok(())
    }

    /// The receiver of messages, if there is one.
    fn receiver(&self) -> Option<Arc<Receiver>> {
        self.messages.as_ref().map(Messages::receiver)
    }

    /// Uses the proxy alone.
    fn alone<T>(&self, body: impl FnOnce(&mut Proxy) -> T) -> Result<T, weir_status> {
        self.begin()?;
        let turn = Turn(self);
        if self.broken.load(Ordering::Relaxed) {
            return Err(weir_status::WEIR_ERROR_PANIC);
        }
        // SAFETY: `busy` was not set, and is set until `turn` is dropped, so no other reference exists.
        let done = telling(self.receiver(), || body(unsafe { &mut *self.proxy.get() }));
        drop(turn);
        Ok(done)
    }
}

/// The proxy of a pointer that is not null.
///
/// # Safety
///
/// `proxy` is null or comes from weir_new() and was not freed.
unsafe fn given<'a>(proxy: *const weir_proxy) -> Result<&'a weir_proxy, weir_status> {
    // SAFETY: as the caller has promised. No `&mut` to the whole is ever made.
    let given = unsafe { proxy.as_ref() }.ok_or(weir_status::WEIR_ERROR_ARGUMENT)?;
    // The proxy may hold locks while it says something.
    if messages::is_under_way() { Err(weir_status::WEIR_ERROR_BUSY) } else { Ok(given) }
}

/// Builds a proxy: reads and compiles all files, listens, and starts the threads that the configuration needs (none by
/// default). Connections wait until the proxy is polled; with `workers` above 1 the other loops serve theirs at once, on their
/// own threads, even before this function returns. `options` may be null. On success `*proxy` must be freed with
/// weir_free(). On an error it is null, and `error` has the problems, cut to `error_size` bytes with the terminating zero,
/// or is empty if the status says all. On success `error` has the warnings, one line each, or is empty.
/// `error` may be null.
///
/// # Safety
///
/// `config` comes from weir_config_new(); `options` is null or has `size` bytes; `proxy` may be written; `error` is null or
/// has `error_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_new(
    config: *const weir_config,
    options: *const weir_options,
    proxy: *mut *mut weir_proxy,
    error: *mut c_char,
    error_size: usize,
) -> weir_status {
    border(|| {
        if proxy.is_null() {
            return Err(weir_status::WEIR_ERROR_ARGUMENT);
        }
        // SAFETY: as the caller has promised; so below.
        unsafe { proxy.write(std::ptr::null_mut()) };
        // For errors that have no problems to tell: the buffer is never left as it was.
        unsafe { write_text("", error, error_size) };
        if messages::is_under_way() {
            return Err(weir_status::WEIR_ERROR_BUSY);
        }
        let options = unsafe { weir_options::read(options) }.map_err(|wrong| {
            unsafe { write_text(&wrong, error, error_size) };
            weir_status::WEIR_ERROR_ARGUMENT
        })?;
        let weir_config(configuration) =
            unsafe { config.as_ref() }.ok_or(weir_status::WEIR_ERROR_ARGUMENT)?;
        let listeners = unsafe { take_listeners(&options) }?;
        let calls = Calls::default();
        let builder = options.apply(Proxy::builder().configuration(configuration.clone()), &calls);
        let builder = listeners.into_iter().fold(builder, |builder, socket| builder.listener(socket));
        let _quiet = Quiet::new();
        messages::begin();
        let messages = options.messages();
        let receiver = messages.as_ref().map(Messages::receiver);
        let (built, warnings) = messages::hearing(receiver, |_| builder.build());
        let built = built.map_err(|found| {
            unsafe { write_text(&found.to_string(), error, error_size) };
            match found {
                BuildError::Configuration(_) => weir_status::WEIR_ERROR_CONFIGURATION,
                BuildError::Listen(_) => weir_status::WEIR_ERROR_LISTEN,
                BuildError::System(_) => weir_status::WEIR_ERROR_SYSTEM,
            }
        })?;
        let made = Box::new(weir_proxy {
            control: built.control().clone(),
            fd: built.as_raw_fd(),
            proxy: UnsafeCell::new(ManuallyDrop::new(built)),
            busy: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            calls,
            messages,
        });
        unsafe { write_text(&warnings.join("\n"), error, error_size) };
        unsafe { proxy.write(Box::into_raw(made)) };
        Ok(weir_status::WEIR_OK)
    })
}

/// Takes ownership of the sockets.
///
/// # Safety
///
/// The options have as many descriptors as they say, and no other code closes them.
unsafe fn take_listeners(options: &weir_options) -> Result<Vec<TcpListener>, weir_status> {
    if options.listeners.is_null() && options.listeners_count > 0 {
        return Err(weir_status::WEIR_ERROR_ARGUMENT);
    }
    // SAFETY: as the caller has promised.
    let descriptors: Vec<c_int> =
        (0..options.listeners_count).map(|index| unsafe { options.listeners.add(index).read() }).collect();
    // All or none are taken, and none twice: it would be closed twice.
    let is_open = |descriptor: c_int| {
        // SAFETY: the number is not below zero, and nothing is closed while it is looked at.
        descriptor >= 0 && fcntl_getfd(unsafe { BorrowedFd::borrow_raw(descriptor) }).is_ok()
    };
    let is_wrong = |(index, descriptor): (usize, &c_int)| {
        descriptors[..index].contains(descriptor) || !is_open(*descriptor)
    };
    if descriptors.iter().enumerate().any(is_wrong) {
        return Err(weir_status::WEIR_ERROR_ARGUMENT);
    }
    // SAFETY: as the caller has promised.
    Ok(descriptors.into_iter().map(|one| unsafe { TcpListener::from_raw_fd(one) }).collect())
}

/// Closes all sockets and files of the proxy, cuts requests under way and frees the proxy; null has no effect. Requests that it cuts
/// have no line in the access log, except for those of other workers, which call on_log and on_message meanwhile: weir_stop() before, and
/// weir_poll() until WEIR_ENDED, write all lines. Waits for the threads of the proxy, if it has any: for at most a few seconds, if a slow
/// password hash is being computed. Does not save the cache: weir_save_cache() does. WEIR_ERROR_BUSY, without any effect, from a callback.
///
/// # Safety
///
/// `proxy` is null or comes from weir_new() and was not freed; no other thread uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_free(proxy: *mut weir_proxy) -> weir_status {
    border(|| {
        if proxy.is_null() {
            return Ok(weir_status::WEIR_OK);
        }
        let _quiet = Quiet::new();
        // SAFETY: as the caller has promised.
        let given = unsafe { given(proxy) }?;
        given.begin()?;
        // SAFETY: `busy` stays set, so no other reference to the proxy exists, and it is dropped once.
        let end = || unsafe { ManuallyDrop::drop(&mut *given.proxy.get()) };
        let ended = catch_unwind(AssertUnwindSafe(|| telling(given.receiver(), end)));
        // SAFETY: the pointer came from `Box::into_raw`, and no thread uses it: those of the proxy have ended.
        drop(unsafe { Box::from_raw(proxy) });
        ended.map(|()| weir_status::WEIR_OK).map_err(|_| weir_status::WEIR_ERROR_PANIC)
    })
}

/// Runs one turn of the loop: waits for events, at most `timeout_ms` (0: not at all; below 0: without a limit), and handles a
/// bounded number of them. WEIR_OK while the proxy continues, WEIR_ENDED when it has ended: with several workers, all of them.
///
/// # Safety
///
/// `proxy` comes from weir_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_poll(proxy: *mut weir_proxy, timeout_ms: c_int) -> weir_status {
    border(|| {
        let _quiet = Quiet::new();
        let timeout = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
        // SAFETY: as the caller has promised; so below.
        match unsafe { given(proxy) }?.alone(|proxy| proxy.poll(timeout))? {
            Ok(Status::Running) => Ok(weir_status::WEIR_OK),
            Ok(Status::Ended) => Ok(weir_status::WEIR_ENDED),
            Err(_) => Err(weir_status::WEIR_ERROR_FAILED),
        }
    })
}

/// A descriptor for poll(2), epoll(7) and the like: readable when weir_poll() is to be called. Only wait for it. It stays the
/// same for the life of the proxy. -1 for a null pointer.
///
/// # Safety
///
/// `proxy` comes from weir_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_fd(proxy: *const weir_proxy) -> c_int {
    border_or(-1, || unsafe { given(proxy) }.map_or(-1, |given| given.fd))
}

/// The time in milliseconds after which to call weir_poll() even if the descriptor has not become readable: rounded up, 0 for
/// at once, -1 for never: as the time-out of epoll_wait(2). Call this function before every wait.
///
/// # Safety
///
/// `proxy` comes from weir_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_next_timeout_ms(proxy: *const weir_proxy) -> c_int {
    border_or(-1, || {
        let next = unsafe { given(proxy) }.and_then(|given| given.alone(|proxy| proxy.next_timeout()));
        let next = next.ok().flatten();
        next.map_or(-1, |next| c_int::try_from(next.as_micros().div_ceil(1000)).unwrap_or(c_int::MAX))
    })
}

/// Applies another configuration, all of it, or fails with all problems in `error` (as weir_new() does) and changes nothing.
/// On success `error` has the warnings, one line each: also which options need a new proxy and keep their old values until
/// then, and why name servers stay as they were. Takes as long as compiling all files, and does not wait for the loop: the new
/// configuration takes effect with its next turn.
///
/// # Safety
///
/// `proxy` comes from weir_new(), `config` from weir_config_new(); `error` is null or has `error_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_reload(
    proxy: *const weir_proxy,
    config: *const weir_config,
    error: *mut c_char,
    error_size: usize,
) -> weir_status {
    border(|| {
        unsafe { write_text("", error, error_size) };
        // For the threads that the new configuration needs.
        let _quiet = Quiet::new();
        let given = unsafe { given(proxy) }?;
        let weir_config(configuration) =
            unsafe { config.as_ref() }.ok_or(weir_status::WEIR_ERROR_ARGUMENT)?;
        let (reloaded, warnings) = messages::hearing(given.receiver(), |tell| {
            let reloaded = given.control.reload(configuration)?;
            not_reloaded(&reloaded).iter().for_each(|text| tell(Level::Warn, text));
            Ok::<_, Problems>(())
        });
        match reloaded {
            Ok(()) => {
                unsafe { write_text(&warnings.join("\n"), error, error_size) };
                Ok(weir_status::WEIR_OK)
            }
            Err(problems) => {
                unsafe { write_text(&problems.to_string(), error, error_size) };
                Err(weir_status::WEIR_ERROR_CONFIGURATION)
            }
        }
    })
}

/// What a reload has left as it was.
fn not_reloaded(reloaded: &Reloaded) -> Vec<String> {
    let needs = (!reloaded.need_restart.is_empty())
        .then(|| format!("needs a new proxy: {}", reloaded.need_restart.join(", ")));
    let kept = reloaded.resolver_kept.as_ref();
    let kept = kept.map(|closed| format!("{closed}: name servers and hosts stay as they were"));
    needs.into_iter().chain(kept).collect()
}

/// Reads the addresses of this machine again. Clients may not reach them, as they may not reach loopback; the proxy knows
/// those of weir_new() until this function is called. Call it when the addresses change. WEIR_ERROR_SYSTEM, and the known
/// addresses stay closed, if the system does not tell them.
///
/// # Safety
///
/// `proxy` comes from weir_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_refresh_addresses(proxy: *const weir_proxy) -> weir_status {
    border(|| {
        let given = unsafe { given(proxy) }?;
        let refreshed = telling(given.receiver(), || given.control.refresh_addresses());
        refreshed.map(|()| weir_status::WEIR_OK).map_err(|_| weir_status::WEIR_ERROR_SYSTEM)
    })
}

/// Writes the cache to `cache-file`, once, when weir_poll() has returned WEIR_ENDED; weir_free() does not. WEIR_ERROR_BUSY
/// before, WEIR_ERROR_NOT_FOUND without that option or if the cache was saved already, WEIR_ERROR_SYSTEM if the file cannot be
/// written: the former one stays, on_message gets the reason, and the call may be repeated.
///
/// # Safety
///
/// `proxy` comes from weir_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_save_cache(proxy: *mut weir_proxy) -> weir_status {
    border(|| match unsafe { given(proxy) }?.alone(|proxy| proxy.save_cache())? {
        Ok(Some(_)) => Ok(weir_status::WEIR_OK),
        Ok(None) => Err(weir_status::WEIR_ERROR_NOT_FOUND),
        Err(error) if error.kind() == ErrorKind::ResourceBusy => Err(weir_status::WEIR_ERROR_BUSY),
        Err(_) => Err(weir_status::WEIR_ERROR_SYSTEM),
    })
}

/// Accepts nothing new, finishes requests under way, within `drain-timeout`, and ends. Poll until WEIR_ENDED.
///
/// # Safety
///
/// `proxy` comes from weir_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_drain(proxy: *const weir_proxy) -> weir_status {
    border(|| {
        unsafe { given(proxy) }?.control.drain();
        Ok(weir_status::WEIR_OK)
    })
}

/// Ends with the next turn: requests under way are cut. Poll until WEIR_ENDED for the lines of these requests in the access log, or free
/// the proxy.
///
/// # Safety
///
/// `proxy` comes from weir_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_stop(proxy: *const weir_proxy) -> weir_status {
    border(|| {
        unsafe { given(proxy) }?.control.stop();
        Ok(weir_status::WEIR_OK)
    })
}

/// Gives the result for a name for which on_name has returned WEIR_NAME_LATER: WEIR_NAME_FOUND with `count` addresses in
/// text, WEIR_NAME_NOT_FOUND or WEIR_NAME_ASK. All requests that wait for the name continue; no effect if none waits.
/// WEIR_ERROR_ARGUMENT for a text that is no address, and for another verdict.
///
/// # Safety
///
/// `proxy` comes from weir_new(); `name` is terminated, and `addresses` points to `count` terminated texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_name_found(
    proxy: *const weir_proxy,
    name: *const c_char,
    verdict: c_int,
    addresses: *const *const c_char,
    count: usize,
) -> weir_status {
    border(|| {
        let (given, name) = unsafe { (given(proxy)?, text(name)?) };
        let verdict = match verdict {
            WEIR_NAME_FOUND => {
                if addresses.is_null() && count > 0 {
                    return Err(weir_status::WEIR_ERROR_ARGUMENT);
                }
                let address = |index| parse_address(unsafe { text(*addresses.add(index)) }?);
                NameVerdict::Addresses((0..count).map(address).collect::<Result<_, _>>()?)
            }
            WEIR_NAME_NOT_FOUND => NameVerdict::NotFound,
            WEIR_NAME_ASK => NameVerdict::Ask,
            _ => return Err(weir_status::WEIR_ERROR_ARGUMENT),
        };
        given.control.name_found(name, verdict);
        Ok(weir_status::WEIR_OK)
    })
}

/// Bans an address, or a network such as "192.0.2.0/24", for so many seconds, at most 3,650 days; 0 is for ever. `reason` may be
/// null, and is cut to 200 bytes. Connections and requests of banned clients are cut. WEIR_ERROR_NOT_FOUND without a guard file,
/// WEIR_ERROR_REFUSED if the guard has the most bans allowed, and for loopback, its trusted proxies, and all addresses at once.
///
/// # Safety
///
/// `proxy` comes from weir_new(); the texts are terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_ban(
    proxy: *const weir_proxy,
    network: *const c_char,
    seconds: u64,
    reason: *const c_char,
) -> weir_status {
    border(|| {
        let (given, network) = unsafe { (given(proxy)?, text(network)?) };
        let reason = if reason.is_null() { "" } else { unsafe { text(reason) }? };
        let lasts = (seconds > 0).then(|| Duration::from_secs(seconds));
        let banned = telling(given.receiver(), || given.control.ban(network, lasts, reason));
        banned.map(|()| weir_status::WEIR_OK).map_err(|error| of_ban(&error))
    })
}

/// Ends the ban of an address or network, written as in the ban. WEIR_ERROR_NOT_FOUND if there is no such ban.
///
/// # Safety
///
/// `proxy` comes from weir_new(); `network` is terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_unban(proxy: *const weir_proxy, network: *const c_char) -> weir_status {
    border(|| {
        let (given, network) = unsafe { (given(proxy)?, text(network)?) };
        match telling(given.receiver(), || given.control.unban(network)) {
            Ok(true) => Ok(weir_status::WEIR_OK),
            Ok(false) => Err(weir_status::WEIR_ERROR_NOT_FOUND),
            Err(error) => Err(of_ban(&error)),
        }
    })
}

fn of_ban(error: &BanError) -> weir_status {
    match error {
        BanError::NoGuard => weir_status::WEIR_ERROR_NOT_FOUND,
        BanError::Malformed(_) => weir_status::WEIR_ERROR_ARGUMENT,
        BanError::Refused(_) => weir_status::WEIR_ERROR_REFUSED,
    }
}

/// An address that the proxy listens on: writes the address with that index as text ("127.0.0.1:3128") as snprintf(3) does,
/// and returns its length; 0 if the index is too large. With port 0 this is the port that the system has chosen.
///
/// # Safety
///
/// `proxy` comes from weir_new(); `buffer` is null or has `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_address(
    proxy: *const weir_proxy,
    index: usize,
    buffer: *mut c_char,
    size: usize,
) -> usize {
    border_or(0, || {
        let given = unsafe { given(proxy) }.ok();
        let address = given.and_then(|given| given.control.addresses().get(index));
        address.map_or(0, |address| unsafe { write_text(&address.to_string(), buffer, size) })
    })
}

/// One number of the statistics that is counted, by its name in the statistics line (on_message gets one; docs/limits.md says what
/// many of them count), such as "requests" or "clients"; the sum of all loops. Other loops than that of weir_poll() count with what they reported last, which was after the call
/// before this one. WEIR_ERROR_NOT_FOUND for an unknown name, for what that line computes from others, such as "blocked_ratio" or
/// "clients_by_worker", and for a number of a part that is not on, such as "cache_entries" without `cache yes`.
///
/// # Safety
///
/// `proxy` comes from weir_new(); `name` is terminated; `value` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_stats(
    proxy: *const weir_proxy,
    name: *const c_char,
    value: *mut u64,
) -> weir_status {
    border(|| {
        let (given, name) = unsafe { (given(proxy)?, text(name)?) };
        let value = unsafe { value.as_mut() }.ok_or(weir_status::WEIR_ERROR_ARGUMENT)?;
        let snapshot = given.alone(|proxy| proxy.statistics())?;
        *value = snapshot.number(name).ok_or(weir_status::WEIR_ERROR_NOT_FOUND)?;
        Ok(weir_status::WEIR_OK)
    })
}

/// All numbers in the text format of Prometheus, as of weir_stats(): written as snprintf(3) does; returns the length of the whole text, 0 from a
/// callback.
///
/// # Safety
///
/// `proxy` comes from weir_new(); `buffer` is null or has `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_stats_text(
    proxy: *const weir_proxy,
    buffer: *mut c_char,
    size: usize,
) -> usize {
    border_or(0, || {
        let snapshot = unsafe { given(proxy) }.and_then(|given| given.alone(|proxy| proxy.statistics()));
        let Ok(snapshot) = snapshot else { return 0 };
        let exposition = snapshot.exposition(Form::Classic, env!("CARGO_PKG_VERSION"));
        unsafe { write_text(&exposition, buffer, size) }
    })
}
