//! The output of the daemon and the exit code that belongs to it, and how the daemon reads files.

use std::io::{self, Write};
use std::path::Path;
use weir::config::{Problems, exit};

/// Reads a file whole.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}

/// Prints a text. A closed output is no fault of weir's.
pub fn print(text: &str) -> u8 {
    let _ = io::stdout().write_all(text.as_bytes());
    exit::OK
}

/// Prints an error and returns the exit code.
pub fn fail(message: &str, code: u8) -> u8 {
    eprintln!("weir: {message}");
    code
}

/// Prints an error of the system at the start and returns the exit code.
pub fn os_error(error: io::Error) -> u8 {
    fail(&format!("cannot start: {error}"), exit::OS_ERROR)
}

/// Prints the problems and returns the exit code for them.
pub fn said(problems: &Problems) -> u8 {
    eprintln!("{problems}");
    problems.exit_code()
}
