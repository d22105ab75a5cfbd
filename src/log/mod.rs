//! The access log: [`mod@format`] writes a record as one line, and [`writer`] brings lines to standard output or to
//! rotating [`files`] without blocking the loops; [`diagnostics`] does so for the daemon's own messages.

pub mod diagnostics;
pub mod files;
pub mod format;
pub mod writer;

#[cfg(test)]
mod scratch;
