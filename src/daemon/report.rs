//! The output of the daemon and the exit code that belongs to it.

use std::io::{self, ErrorKind, Write};
use weir::config::{Problems, exit};

/// The answer to what a weir that is stopping does not do any more.
pub const STOPPING_ALREADY: &str = "weir is stopping already";

/// Writes a line to standard error. If that cannot be written, weir goes on: a full disk under a log must not stop a start.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints a text and returns the exit code.
pub fn print(text: &str) -> u8 {
    print_with(text, exit::OK)
}

/// Prints a text and returns this exit code, or another one if the text cannot be written. A closed output is no fault of
/// weir's: its reader has what it wants.
pub fn print_with(text: &str, code: u8) -> u8 {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            fail(&format!("cannot write to standard output: {error}"), exit::OS_ERROR)
        }
        Ok(()) | Err(_) => code,
    }
}

/// Prints an error and returns the exit code.
pub fn fail(message: &str, code: u8) -> u8 {
    say(&format!("weir: {message}"));
    code
}

/// Prints an error of the system at the start and returns the exit code.
pub fn os_error(error: io::Error) -> u8 {
    fail(&format!("cannot start: {error}"), exit::OS_ERROR)
}

/// Prints the problems and returns the exit code for them.
pub fn said(problems: &Problems) -> u8 {
    say(&problems.to_string());
    problems.exit_code()
}
