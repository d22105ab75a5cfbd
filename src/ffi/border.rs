//! The border to C: statuses, texts, and no panic.

use std::ffi::{CStr, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The version of this interface. It grows when a program that was compiled with an older header cannot use the library
/// any more; so does the soname. Compare it with weir_abi_version().
pub const WEIR_ABI_VERSION: u32 = 1;

/// The result of a function: 0 and above is success, below is an error.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum weir_status {
    /// Success; the proxy continues.
    WEIR_OK = 0,
    /// The proxy has drained, or was stopped: free it.
    WEIR_ENDED = 1,
    /// A pointer is null, a text is not UTF-8, a size is not one of this version, or a value has no meaning.
    WEIR_ERROR_ARGUMENT = -1,
    /// The configuration is wrong, or a file that it names.
    WEIR_ERROR_CONFIGURATION = -2,
    /// A socket cannot listen.
    WEIR_ERROR_LISTEN = -3,
    /// The system refuses something else.
    WEIR_ERROR_SYSTEM = -4,
    /// The function was called from a callback, or while another thread polls, where it is not allowed; or too early.
    WEIR_ERROR_BUSY = -5,
    /// A defect of the library was caught. The proxy does not work any more: free it.
    WEIR_ERROR_PANIC = -6,
    /// The loop has failed. The proxy does not work any more: free it.
    WEIR_ERROR_FAILED = -7,
    /// The name is unknown, or no guard file is configured.
    WEIR_ERROR_NOT_FOUND = -8,
    /// The guard does not ban that, or has the most bans allowed.
    WEIR_ERROR_REFUSED = -9,
}

/// Bytes of a request. They are not terminated, and are valid until the callback returns.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct weir_text {
    /// Not null, even if `length` is 0.
    pub data: *const c_char,
    /// The number of bytes.
    pub length: usize,
}

impl weir_text {
    pub(super) fn of(bytes: &[u8]) -> weir_text {
        weir_text { data: bytes.as_ptr().cast(), length: bytes.len() }
    }
}

/// The version of the interface that the library has: WEIR_ABI_VERSION of its header.
#[unsafe(no_mangle)]
pub extern "C" fn weir_abi_version() -> u32 {
    WEIR_ABI_VERSION
}

/// The version of the library, such as "0.1.0". It is constant and never freed.
#[unsafe(no_mangle)]
pub extern "C" fn weir_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// A sentence for a status, in English. It is constant and never freed. `status` may be any number.
#[unsafe(no_mangle)]
pub extern "C" fn weir_status_text(status: i32) -> *const c_char {
    let text = match status {
        0 => c"done",
        1 => c"the proxy has ended",
        -1 => c"a pointer is null, a text is not UTF-8, or a size is unknown",
        -2 => c"the configuration is wrong",
        -3 => c"a socket cannot listen",
        -4 => c"the system refuses",
        -5 => c"not for callbacks, not while another thread polls, or too early",
        -6 => c"a defect of the library was caught",
        -7 => c"the loop has failed",
        -8 => c"there is nothing of that name, or no guard",
        -9 => c"the guard refuses the ban",
        _ => c"no status of this version",
    };
    text.as_ptr()
}

/// Runs the body of a function: errors and panics become a status.
pub(super) fn border(body: impl FnOnce() -> Result<weir_status, weir_status>) -> weir_status {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(status) | Err(status)) => status,
        Err(_) => weir_status::WEIR_ERROR_PANIC,
    }
}

/// Runs the body of a function that returns something else than a status.
pub(super) fn border_or<T>(instead: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(instead)
}

/// A text of the program, as UTF-8.
///
/// # Safety
///
/// `text` is null or points to a terminated text that stays as it is for `'a`.
pub(super) unsafe fn text<'a>(text: *const c_char) -> Result<&'a str, weir_status> {
    if text.is_null() {
        return Err(weir_status::WEIR_ERROR_ARGUMENT);
    }
    // SAFETY: the text is terminated, as the caller has promised.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map_err(|_| weir_status::WEIR_ERROR_ARGUMENT)
}

/// Bytes of the program.
///
/// # Safety
///
/// `data` points to `length` bytes that stay as they are for `'a`; it may be null if there are none.
pub(super) unsafe fn bytes<'a>(data: *const c_void, length: usize) -> Result<&'a [u8], weir_status> {
    if length == 0 {
        return Ok(&[]);
    }
    if data.is_null() || length > isize::MAX as usize {
        return Err(weir_status::WEIR_ERROR_ARGUMENT);
    }
    // SAFETY: `data` has `length` bytes, as the caller has promised, and no slice is longer than this.
    Ok(unsafe { std::slice::from_raw_parts(data.cast(), length) })
}

/// Writes a text, cut to `size`, with a terminating zero, as snprintf does. Returns the length of the whole text.
///
/// # Safety
///
/// `buffer` is null or points to `size` bytes that may be written.
pub(super) unsafe fn write_text(text: &str, buffer: *mut c_char, size: usize) -> usize {
    if let (false, Some(room)) = (buffer.is_null(), size.checked_sub(1)) {
        let mut end = text.len().min(room);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        // SAFETY: `end` is below `size`, as the caller has promised of the buffer; a text is not the buffer of a program.
        unsafe {
            std::ptr::copy_nonoverlapping(text.as_ptr().cast(), buffer, end);
            buffer.add(end).write(0);
        }
    }
    text.len()
}
