//! Another part in Rust of the program of beside.c, with a standard library of its own.

use std::sync::atomic::{AtomicU32, Ordering};

static CALLS: AtomicU32 = AtomicU32::new(0);

/// Catches a panic; returns the number of calls.
#[unsafe(no_mangle)]
pub extern "C" fn beside_panics() -> u32 {
    std::panic::set_hook(Box::new(|_| ()));
    let caught = std::panic::catch_unwind(|| panic!("in the other part"));
    CALLS.fetch_add(u32::from(caught.is_err()), Ordering::Relaxed) + 1
}

/// Ends a process of its own, with what the standard library imports for that.
#[unsafe(no_mangle)]
pub extern "C" fn beside_runs() -> bool {
    std::process::Command::new("true").status().is_ok_and(|status| status.success())
}
