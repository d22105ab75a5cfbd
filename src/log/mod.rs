//! The access log: [`format`] writes an entry as one line, [`writer`] brings lines to standard output or to [`files`]
//! that rotate, without ever making the loop wait.

pub mod files;
pub mod format;
pub mod writer;

#[cfg(test)]
mod scratch;
