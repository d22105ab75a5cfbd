//! What the daemon says on its outputs, with the exit code that follows, and how it reads files.

use std::io::{self, Write};
use std::path::Path;
use weir::config::{Problems, exit};

/// Reads a file whole.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}

/// Prints; that the output is closed is no fault of weir's.
pub fn print(text: &str) -> u8 {
    let _ = io::stdout().write_all(text.as_bytes());
    exit::OK
}

/// Says what is wrong and returns the exit code.
pub fn fail(message: &str, code: u8) -> u8 {
    eprintln!("weir: {message}");
    code
}

/// Says what the system refuses at the start and returns the exit code.
pub fn os_error(error: io::Error) -> u8 {
    fail(&format!("cannot start: {error}"), exit::OS_ERROR)
}

/// Tells what is wrong and returns the exit code for it.
pub fn said(problems: &Problems) -> u8 {
    eprintln!("{problems}");
    problems.exit_code()
}
