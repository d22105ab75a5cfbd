//! Options, files, reload: every value is checked before it replaces a running one.
//!
//! [`options::TABLE`] is the one list of options. [`Settings::load`] merges the layers (command line, environment,
//! file, defaults) and reports all errors at once. It reads files and variables only through its arguments, so the
//! tests need neither.

pub mod arguments;
pub mod command;
pub mod detect;
pub mod explain;
mod explain_route;
pub mod feature;
pub mod file;
pub mod files;
pub mod foreign;
pub mod gateway;
pub mod guard;
pub mod help;
pub mod interface;
mod layer;
mod loading;
pub mod memory;
pub mod options;
pub mod policy;
pub mod problem;
pub mod settings;
mod sizing;
pub mod spec;
pub mod topics;
pub mod trial;
pub mod values;

pub use arguments::unknown_option;
pub use command::Command;
pub use problem::{Located, Origin, Problem, Problems, exit};
pub use settings::{Changes, Settings};

#[cfg(test)]
mod tests;
