//! The configuration of a proxy.

use super::border::{border, border_or, bytes, text, weir_status};
use crate::embed::Configuration;
use std::ffi::{c_char, c_void};

/// The configuration of a proxy: options, and files in memory. One thread at a time may use it.
#[derive(Debug)]
pub struct weir_config(pub(super) Configuration);

/// An empty configuration: every option has its default, and files are read from the disk. Free it with weir_config_free().
/// Never null: as everywhere in the library, memory that is exhausted aborts the program.
#[unsafe(no_mangle)]
pub extern "C" fn weir_config_new() -> *mut weir_config {
    border_or(std::ptr::null_mut(), || Box::into_raw(Box::new(weir_config(Configuration::new()))))
}

/// Frees a configuration; null has no effect. Proxies made from it continue.
///
/// # Safety
///
/// `config` is null or comes from weir_config_new() and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_config_free(config: *mut weir_config) {
    if !config.is_null() {
        border_or((), || {
            // SAFETY: the pointer came from `Box::into_raw`, and the caller frees it once.
            drop(unsafe { Box::from_raw(config) });
        });
    }
}

/// Adds lines of a configuration file: "key value", one option on each.
///
/// # Safety
///
/// `config` comes from weir_config_new(); `lines` is terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_config_text(config: *mut weir_config, lines: *const c_char) -> weir_status {
    // SAFETY: as the caller has promised.
    border(|| change(unsafe { config.as_mut() }, unsafe { text(lines) }?, |old, lines| old.text(lines)))
}

/// Sets one option, as on the command line: it overrides the text. Options with several values get one more value. Errors in
/// the value are reported by weir_new() and weir_reload().
///
/// # Safety
///
/// `config` comes from weir_config_new(); `name` and `value` are terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_config_set(
    config: *mut weir_config,
    name: *const c_char,
    value: *const c_char,
) -> weir_status {
    // SAFETY: as the caller has promised.
    border(|| {
        let given = unsafe { (text(name)?, text(value)?) };
        change(unsafe { config.as_mut() }, given, |old, (name, value)| old.set(name, value))
    })
}

/// Keeps a file of that name in memory: lists, users, pages, the guard file, as options name them; also /etc/resolv.conf,
/// /etc/hosts, and files in the directory of `cloud-ranges`. The content is copied.
///
/// # Safety
///
/// `config` comes from weir_config_new(); `name` is terminated; `content` has `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_config_file(
    config: *mut weir_config,
    name: *const c_char,
    content: *const c_void,
    length: usize,
) -> weir_status {
    // SAFETY: as the caller has promised.
    border(|| {
        let given = unsafe { (text(name)?, bytes(content, length)?) };
        change(unsafe { config.as_mut() }, given, |old, (name, content)| old.file(name, content))
    })
}

/// Forbids reading from the disk: files that were not given are missing.
///
/// # Safety
///
/// `config` comes from weir_config_new().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_config_memory_only(config: *mut weir_config) -> weir_status {
    // SAFETY: as the caller has promised.
    border(|| change(unsafe { config.as_mut() }, (), |old, ()| old.memory_only()))
}

/// Replaces a configuration by a changed one.
fn change<T>(
    config: Option<&mut weir_config>,
    given: T,
    changed: impl FnOnce(Configuration, T) -> Configuration,
) -> Result<weir_status, weir_status> {
    let weir_config(configuration) = config.ok_or(weir_status::WEIR_ERROR_ARGUMENT)?;
    *configuration = changed(std::mem::take(configuration), given);
    Ok(weir_status::WEIR_OK)
}
