//! The access log: [`format`] writes an entry as one line, [`writer`] brings lines to standard output or to [`files`]
//! that rotate, without ever making the loop wait; [`diagnostics`] does the same for what weir says about itself.

pub mod diagnostics;
pub mod files;
pub mod format;
pub mod writer;

#[cfg(test)]
mod scratch;
