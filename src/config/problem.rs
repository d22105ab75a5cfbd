//! The origin of a value, and configuration errors.

use std::cmp::Reverse;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Exit codes of the daemon, from `sysexits.h` where a code fits.
pub mod exit {
    /// Stopped after draining, printed the requested text, or `explain` allows the request.
    pub const OK: u8 = 0;
    /// `explain` refuses the request.
    pub const REFUSED: u8 = 1;
    /// The command line is wrong (EX_USAGE).
    pub const USAGE: u8 = 64;
    /// Cannot listen: the address is in use or not this machine's (EX_UNAVAILABLE).
    pub const UNAVAILABLE: u8 = 69;
    /// Cannot listen, or cannot start, for another reason of the operating system (EX_OSERR).
    pub const OS_ERROR: u8 = 71;
    /// The environment, the configuration file, or a file that it names is wrong (EX_CONFIG).
    pub const CONFIGURATION: u8 = 78;
}

/// Where a value was set. In order of precedence, lowest first, except that the lines of a file compare by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// The value was not set.
    #[default]
    Default,
    /// The share that the option has of `--memory`.
    Memory,
    /// A line of a file.
    File {
        /// The path of the file, as given.
        path: Arc<Path>,
        /// Counted from 1; 0 for the file as a whole.
        line: u32,
    },
    /// An environment variable, by its name.
    Environment(String),
    /// The command line: the option as `--name`, or empty for no single option.
    Argument(String),
}

impl Origin {
    /// The directory for a relative path that was set here; `None` for the current directory.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Origin::File { path, .. } => path.parent(),
            Origin::Default | Origin::Memory | Origin::Environment(_) | Origin::Argument(_) => None,
        }
    }

    /// The precedence of this layer: the higher one wins.
    pub fn precedence(&self) -> u8 {
        match self {
            Origin::Default | Origin::Memory => 0,
            Origin::File { .. } => 1,
            Origin::Environment(_) => 2,
            Origin::Argument(_) => 3,
        }
    }

    /// The line of a file; 0 for other origins.
    pub fn line(&self) -> u32 {
        match self {
            Origin::File { line, .. } => *line,
            Origin::Default | Origin::Memory | Origin::Environment(_) | Origin::Argument(_) => 0,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => out.write_str("default"),
            Origin::Memory => out.write_str("by --memory"),
            Origin::File { path, line: 0 } => write!(out, "{}", path.display().to_string().escape_debug()),
            Origin::File { path, line } => {
                write!(out, "{}:{line}", path.display().to_string().escape_debug())
            }
            // The name may be unknown to the table, so the message contains it.
            Origin::Environment(name) => write!(out, "{}", name.escape_debug()),
            Origin::Argument(name) if name.is_empty() => out.write_str("command line"),
            Origin::Argument(name) => write!(out, "{}", name.escape_debug()),
        }
    }
}

/// A value with its origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// The place that set the value.
    pub origin: Origin,
}

impl<T> Located<T> {
    /// A value from somewhere.
    pub fn new(value: T, origin: Origin) -> Located<T> {
        Located { value, origin }
    }

    /// Another value of the same origin.
    pub fn with<U>(&self, value: U) -> Located<U> {
        Located { value, origin: self.origin.clone() }
    }
}

/// A configuration error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The place of the problem.
    pub origin: Origin,
    /// The text that was found, and what was expected in its place.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.origin, self.message)
    }
}

/// Most problems that are printed (chosen): a file of another kind, named by mistake, would fill the screen.
pub const PROBLEMS_SHOWN_MAX: usize = 100;

/// All problems, in the order command line, environment, files by line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    /// No problems.
    pub fn new() -> Problems {
        Problems::default()
    }

    /// Adds a problem.
    pub fn add(&mut self, origin: Origin, message: impl Into<String>) {
        self.list.push(Problem { origin, message: message.into() });
    }

    /// Adds a problem with a file as a whole.
    pub fn add_file(&mut self, path: PathBuf, message: impl Into<String>) {
        self.add(Origin::File { path: path.into(), line: 0 }, message);
    }

    /// Whether there are no problems.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All problems.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    /// The exit code: usage if the command line has a problem, else configuration.
    pub fn exit_code(&self) -> u8 {
        let usage = self.list.iter().any(|problem| matches!(problem.origin, Origin::Argument(_)));
        if usage { exit::USAGE } else { exit::CONFIGURATION }
    }

    /// Adds other problems, and sorts all.
    pub fn append(&mut self, mut others: Problems) {
        self.list.append(&mut others.list);
        self.sort();
    }

    /// Sorts for reading: each file in one piece, files in the order in which they were read.
    pub(super) fn sort(&mut self) {
        let mut files: Vec<Arc<Path>> = Vec::new();
        let mut place = |origin: &Origin| match origin {
            Origin::File { path, .. } => files.iter().position(|known| known == path).unwrap_or_else(|| {
                files.push(Arc::clone(path));
                files.len() - 1
            }),
            Origin::Default | Origin::Memory | Origin::Environment(_) | Origin::Argument(_) => 0,
        };
        // By insertion: most are in order already, and a sort of their own is 3 KB of code.
        let unsorted = std::mem::take(&mut self.list);
        let mut keyed = Vec::with_capacity(unsorted.len());
        for problem in unsorted {
            let origin = &problem.origin;
            let key = (Reverse(origin.precedence()), place(origin), origin.line());
            let at = keyed.partition_point(|(before, _)| *before <= key);
            keyed.insert(at, (key, problem));
        }
        self.list = keyed.into_iter().map(|(_, problem)| problem).collect();
    }
}

/// One problem per line, no newline after the last.
impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().take(PROBLEMS_SHOWN_MAX).enumerate() {
            if index > 0 {
                out.write_str("\n")?;
            }
            write!(out, "weir: {problem}")?;
        }
        match self.list.len().checked_sub(PROBLEMS_SHOWN_MAX) {
            None | Some(0) => Ok(()),
            Some(more) => write!(out, "\nweir: and {more} more"),
        }
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str, line: u32) -> Origin {
        Origin::File { path: Path::new(path).into(), line }
    }

    #[test]
    fn origins_print_as_one_would_say_them() {
        let cases = [
            (Origin::Default, "default"),
            (Origin::Memory, "by --memory"),
            (at("weir.conf", 3), "weir.conf:3"),
            (at("weir.conf", 0), "weir.conf"),
            (at("a\nb", 1), "a\\nb:1"),
            (Origin::Environment("WEIR_\x1b[2J".into()), "WEIR_\\u{1b}[2J"),
            (Origin::Environment("WEIR_PORT".into()), "WEIR_PORT"),
            (Origin::Argument("--port".into()), "--port"),
            (Origin::Argument(String::new()), "command line"),
        ];
        for (origin, expected) in cases {
            assert_eq!(origin.to_string(), expected);
        }
    }

    #[test]
    fn problems_are_sorted_bounded_and_choose_the_exit_code() {
        let mut problems = Problems::new();
        problems.add(at("weir.conf", 12), "b");
        problems.add(at("weir.conf", 2), "a");
        problems.add(Origin::Environment("WEIR_PORT".into()), "c");
        problems.sort();
        assert_eq!(problems.to_string(), "weir: WEIR_PORT: c\nweir: weir.conf:2: a\nweir: weir.conf:12: b");
        assert_eq!(problems.exit_code(), exit::CONFIGURATION);
        problems.add(Origin::Argument("--port".into()), "d");
        assert_eq!(problems.exit_code(), exit::USAGE);
        for _ in 0..PROBLEMS_SHOWN_MAX {
            problems.add(Origin::Default, "e");
        }
        assert_eq!(problems.to_string().lines().count(), PROBLEMS_SHOWN_MAX + 1);
        assert!(problems.to_string().ends_with("and 4 more"));
    }
}
