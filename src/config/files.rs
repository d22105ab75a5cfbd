//! The files that a configuration names: on the disk, or where the program around the proxy keeps them.

use crate::part::guard::built;
use std::io;
use std::path::Path;
use std::time::SystemTime;

/// Gives files, by their names.
pub trait Files {
    /// The content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// The names of the files in a directory, in any order; those that are not UTF-8 are left out.
    fn names(&self, directory: &Path) -> io::Result<Vec<String>>;
    /// The time of the last change of a file, if there is one.
    fn changed(&self, path: &Path) -> Option<SystemTime>;
}

/// Files on the disk, each read by this function.
pub struct OnDisk<'a>(pub &'a dyn Fn(&Path) -> io::Result<Vec<u8>>);

impl Files for OnDisk<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0(path)
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        // Only the guard has files in directories.
        built().ok_or(io::ErrorKind::Unsupported)?;
        let names = std::fs::read_dir(directory)?.filter_map(Result::ok).map(|entry| entry.file_name());
        Ok(names.filter_map(|name| name.into_string().ok()).collect())
    }

    fn changed(&self, path: &Path) -> Option<SystemTime> {
        built()?;
        std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
    }
}
