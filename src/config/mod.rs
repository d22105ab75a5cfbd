//! Options, files, reload: everything is judged before it replaces what runs.
//!
//! [`options::TABLE`] is the one list of options; [`Settings::load`] puts the layers together (command line, environment,
//! file, defaults) and reports everything that is wrong with any of them at once. It reaches files and variables only
//! through what it is handed, so that every rule here is tested without either.

pub mod arguments;
pub mod explain;
pub mod file;
pub mod foreign;
pub mod help;
pub mod nearest;
pub mod options;
pub mod policy;
pub mod problem;
pub mod settings;
pub mod spec;
pub mod topics;
pub mod trial;
pub mod values;

pub use problem::{Located, Origin, Problem, Problems, exit};
pub use settings::{Changes, Command, Settings};

#[cfg(test)]
mod tests;
