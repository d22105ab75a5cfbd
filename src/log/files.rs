//! The log file, its rotated predecessors, and writing in whole lines.
//!
//! `access.log` is opened for appending. Its length is read before each write, so that a truncated or deleted file is
//! noticed. Lines beyond the size limit go to the next file. A write that fails within a line removes the incomplete
//! line.

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// The name of the file in its directory.
pub const FILE_NAME: &str = "access.log";

/// How long a line may take that another process is writing (chosen: many times what the system takes for one write).
const LINE_WITHIN: Duration = Duration::from_millis(20);

/// Permissions (chosen): owner and group; URLs are private.
const FILE_MODE: u32 = 0o640;

/// Most files of an earlier, larger number to keep that one rotation removes (chosen).
const EXCESS_MAX: u32 = 1000;

/// How far the file may exceed its limit before a failed rotation is tried again (chosen).
const RETRY_BYTES: u64 = 1 << 20;

/// `access.log` in a directory, open.
#[derive(Debug)]
pub struct LogFile {
    directory: PathBuf,
    file: File,
    /// The size at which the file rotates; 0 for never.
    bytes_max: u64,
    keep: u32,
    /// The size at which a failed rotation is tried again; 0 without a failure.
    retry_at_bytes: u64,
}

impl LogFile {
    /// Opens the file; creates the file and its directory if they are missing.
    pub fn open(directory: &Path, bytes_max: u64, keep: u32) -> io::Result<LogFile> {
        let file = open_file(directory)?;
        Ok(LogFile { directory: directory.to_owned(), file, bytes_max, keep, retry_at_bytes: 0 })
    }

    /// Sets another size and another number of old files, for the lines that follow.
    pub fn set_limits(&mut self, bytes_max: u64, keep: u32) {
        (self.bytes_max, self.keep, self.retry_at_bytes) = (bytes_max, keep, 0);
    }

    /// Opens the file again by its name; after a failure the old one stays open.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.file = open_file(&self.directory)?;
        self.retry_at_bytes = 0;
        Ok(())
    }

    /// Writes whole lines. An error contains the number of bytes in the lines that were written.
    pub fn write_lines(&mut self, lines: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut written = 0;
        while written < lines.len() {
            let rest = &lines[written..];
            let now = self.prepare(rest).map_err(|error| (written, error))?;
            match write_whole_lines(&mut self.file, &rest[..now]) {
                Ok(()) => written += now,
                Err((some, error)) => return Err((written + some, error)),
            }
        }
        Ok(())
    }

    /// Makes sure that the file exists, and returns the number of bytes to write to it.
    fn prepare(&mut self, lines: &[u8]) -> io::Result<usize> {
        let mut metadata = self.file.metadata()?;
        if metadata.nlink() == 0 {
            // The file or its directory was removed: bytes written to it would be lost.
            self.reopen()?;
            metadata = self.file.metadata()?;
        }
        if self.bytes_max == 0 || !metadata.is_file() {
            return Ok(lines.len());
        }
        let (fits, len) =
            (whole_lines_within(lines, self.bytes_max.saturating_sub(metadata.len())), metadata.len());
        if fits > 0 {
            return Ok(fits);
        }
        if len > 0 && len >= self.retry_at_bytes {
            match self.rotate() {
                Ok(()) => {}
                Err(error) => {
                    // A file over its limit is better than lost lines.
                    self.retry_at_bytes = len.saturating_add(RETRY_BYTES);
                    log::warn!("access log: cannot rotate {}: {error}", self.path(0).display());
                    return Ok(lines.len());
                }
            }
        } else if len > 0 {
            return Ok(lines.len());
        }
        // An empty file takes at least one line of any length; so does that of another process, if it has opened a new one.
        let room = self.bytes_max.saturating_sub(self.file.metadata()?.len());
        Ok(whole_lines_within(lines, room).max(first_line(lines)))
    }

    /// Rotates while no other log rotates the same file: that of another process, as during a take-over, or of this one. The lock is on
    /// the file that is open: the sandbox opens files in the directory, not the directory.
    fn rotate(&mut self) -> io::Result<()> {
        // Other errors are no reason to stay: some network file systems have no locks.
        if flock(&self.file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
            // The new file of the other log is opened when the next lines come.
            return Ok(());
        }
        let rotated = self.rename_all();
        if rotated.is_err() {
            // After a success the locked file is closed.
            let _ = flock(&self.file, FlockOperation::Unlock);
        }
        rotated
    }

    /// Renames each file to the next number, removes those beyond the number to keep, and opens a new file. Another log may have done
    /// that already.
    fn rename_all(&mut self) -> io::Result<()> {
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let open = self.file.metadata().map(identity)?;
        if fs::metadata(self.path(0)).map(identity).ok() != Some(open) {
            // The file was renamed already: the older ones stay where they are.
            return self.reopen();
        }
        // Files beyond the first free number stay where they are.
        let free = (1..=self.keep).find(|number| fs::symlink_metadata(self.path(*number)).is_err());
        for number in (1..free.unwrap_or(self.keep)).rev() {
            missing_is_fine(fs::rename(self.path(number), self.path(number + 1)))?;
        }
        match self.keep {
            0 => missing_is_fine(fs::remove_file(self.path(0)))?,
            _ => missing_is_fine(fs::rename(self.path(0), self.path(1)))?,
        }
        for number in (self.keep..self.keep.saturating_add(EXCESS_MAX)).map(|last| last + 1) {
            if fs::remove_file(self.path(number)).is_err() {
                break;
            }
        }
        self.reopen()
    }

    /// The file of that age: 0 is the current one.
    fn path(&self, number: u32) -> PathBuf {
        match number {
            0 => self.directory.join(FILE_NAME),
            _ => self.directory.join(format!("{FILE_NAME}.{number}")),
        }
    }
}

fn missing_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn open_file(directory: &Path) -> io::Result<File> {
    fs::create_dir_all(directory)?;
    let path = directory.join(FILE_NAME);
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(FILE_MODE).open(path)?;
    // A crash of the machine may have left an incomplete line, which the next line must not continue. Another weir may be
    // writing one: it goes on.
    if let Some(length) = length_within_line(&mut file)? {
        thread::sleep(LINE_WITHIN);
        if length_within_line(&mut file)? == Some(length) {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

/// The length of a file whose last line is incomplete.
fn length_within_line(file: &mut File) -> io::Result<Option<u64>> {
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Ok(None);
    }
    let mut last = [0];
    let length = file.seek(SeekFrom::End(-1))? + 1;
    file.read_exact(&mut last)?;
    Ok((last != *b"\n").then_some(length))
}

/// The length of the first line, with its end.
fn first_line(lines: &[u8]) -> usize {
    memchr::memchr(b'\n', lines).map_or(lines.len(), |end| end + 1)
}

/// Bytes of the whole lines within a limit.
fn whole_lines_within(lines: &[u8], limit: u64) -> usize {
    let within = usize::try_from(limit).map_or(lines.len(), |limit| limit.min(lines.len()));
    memchr::memrchr(b'\n', &lines[..within]).map_or(0, |end| end + 1)
}

/// Writes all lines, or fails with the number of bytes in the whole lines that were written; an incomplete line is
/// removed.
fn write_whole_lines(file: &mut File, lines: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while written < lines.len() {
        let error = match file.write(&lines[written..]) {
            Ok(0) => io::Error::from(ErrorKind::WriteZero),
            Ok(some) => {
                written += some;
                continue;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => error,
        };
        let whole = whole_lines_within(&lines[..written], u64::MAX);
        if let Err(also) = remove_tail(file, (written - whole) as u64) {
            log::warn!("access log: half a line stays in the file: {also}");
        }
        return Err((whole, error));
    }
    Ok(())
}

/// Removes the last bytes of the file.
fn remove_tail(file: &File, bytes: u64) -> io::Result<()> {
    let metadata = file.metadata()?;
    if bytes == 0 || !metadata.is_file() {
        return Ok(());
    }
    file.set_len(metadata.len().saturating_sub(bytes))
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
