//! The paths that the daemon needs after its start.

use std::path::PathBuf;

/// The files that the daemon opens while it serves.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    /// Files that are read again.
    pub files: Vec<PathBuf>,
    /// Directories that are listed, and whose files are read again, new ones included.
    pub listed: Vec<PathBuf>,
    /// Log files that are opened again for appending, after their last bytes are read.
    pub appended: Vec<PathBuf>,
    /// The directories of the log, the cache file, events and fetched cloud lists, in which files are created, written, renamed and
    /// removed.
    pub written: Vec<PathBuf>,
    /// The directory of the control socket; the socket is removed at the end.
    pub removed: Vec<PathBuf>,
}
