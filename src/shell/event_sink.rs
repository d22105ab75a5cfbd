//! Events of the guard for a file or a socket: a thread reads the ring and writes lines of JSON.
//!
//! The loops never wait for the thread. Events that cannot be written stay in the ring and are tried again, each once it can be
//! written; a separate line has the number of events that the ring dropped meanwhile. The file is opened for each batch, so rotation
//! needs no signal.

use super::threads;
use crate::guard::state::State;
use rustix::fs::{Access, OFlags, access};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often the ring is read (chosen: short beside the time in which events fill it).
const READ_EVERY: Duration = Duration::from_millis(200);

/// How soon a socket with a full queue is tried again (chosen: the queue of the system has ten events).
const TRIED_AGAIN_AFTER: Duration = Duration::from_millis(5);

/// Events in one batch (chosen).
const BATCH_MAX: usize = 512;

/// How often a failure is logged (chosen).
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// The mode of the file: owner and group only, because addresses are private (chosen, as for the access log).
const FILE_MODE: u32 = 0o640;

/// The receiver of events.
#[derive(Debug)]
pub enum EventTarget {
    /// Appended to a file, a line each.
    File(PathBuf),
    /// Sent to this Unix datagram socket, one event in each datagram. The sending socket was opened before rights were given up.
    Socket(PathBuf, Arc<UnixDatagram>),
}

/// The thread; dropping the sink ends it, after a last look at the ring.
#[derive(Debug)]
pub struct EventSink {
    ends: Arc<AtomicBool>,
    /// Returns its cursor.
    thread: Option<JoinHandle<u64>>,
}

impl EventSink {
    /// Starts the thread, which begins with the event at the cursor. A file that cannot be opened is an error now.
    pub fn start(state: Arc<State>, target: EventTarget, cursor: u64) -> io::Result<EventSink> {
        target.check()?;
        let ends = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&ends);
        let thread = threads::spawn("weir-events", move || {
            let mut reader = Reader { state, target, cursor, lost: 0, told: None };
            let mut pause = READ_EVERY;
            while !stop.load(Ordering::Relaxed) {
                thread::park_timeout(pause);
                pause = if reader.pass_on() { READ_EVERY } else { TRIED_AGAIN_AFTER };
            }
            reader.pass_on();
            reader.cursor
        })?;
        Ok(EventSink { ends, thread: Some(thread) })
    }

    /// Ends the thread. Returns the cursor of the first event that was not written; `None` after a panic of the thread.
    pub fn end(mut self) -> Option<u64> {
        self.stop()
    }

    fn stop(&mut self) -> Option<u64> {
        self.ends.store(true, Ordering::Relaxed);
        let thread = self.thread.take()?;
        thread.thread().unpark();
        // A panic of the thread has been reported by its own.
        thread.join().ok()
    }
}

impl Drop for EventSink {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Reader {
    state: Arc<State>,
    target: EventTarget,
    /// Of the next event in the ring.
    cursor: u64,
    /// Events that the ring dropped, and that no line has told yet.
    lost: u64,
    /// Time of the last logged failure.
    told: Option<Instant>,
}

impl Reader {
    /// Writes the events since the last call. Returns `false` if the receiver's queue is full.
    fn pass_on(&mut self) -> bool {
        loop {
            let mut end = self.cursor;
            let (events, lost) = self.state.read_events(&mut end, BATCH_MAX);
            self.state.count_events_lost(lost);
            self.lost += lost;
            self.cursor = end - events.len() as u64;
            let lost = self.lost;
            let note = (lost > 0).then(|| format!("{{\"event_type\":\"events_lost\",\"count\":{lost}}}"));
            let notes = note.iter().len();
            let lines: Vec<String> =
                note.into_iter().chain(events.iter().map(|event| event.json())).collect();
            if lines.is_empty() {
                return true;
            }
            let (written, outcome) = self.target.write(&lines);
            if written >= notes {
                self.lost = 0;
            }
            self.cursor += written.saturating_sub(notes) as u64;
            match outcome {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => {
                    self.report(&error);
                    return true;
                }
            }
        }
    }

    fn report(&mut self, error: &io::Error) {
        if self.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
            log::warn!("guard: events cannot be written to {}: {error}", self.target.name());
            self.told = Some(Instant::now());
        }
    }
}

/// Whether events could be written to this file, or are sent to a socket whose path is short enough; creates nothing.
pub fn check_event_target(path: &Path, is_socket: bool) -> io::Result<()> {
    if is_socket {
        return SocketAddr::from_pathname(path).map(drop);
    }
    match path.metadata() {
        Ok(found) if found.is_dir() => Err(ErrorKind::IsADirectory.into()),
        // Without a reader that fails.
        Ok(found) if found.file_type().is_fifo() => appended(path).map(drop),
        Ok(_) => Ok(access(path, Access::WRITE_OK)?),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            Ok(access(directory.unwrap_or(Path::new(".")), Access::WRITE_OK | Access::EXEC_OK)?)
        }
        Err(error) => Err(error),
    }
}

impl EventTarget {
    /// Opens the file, which is created if it is missing. A socket is not asked.
    pub fn check(&self) -> io::Result<()> {
        self.write(&[]).1
    }

    fn name(&self) -> String {
        match self {
            EventTarget::File(path) => path.display().to_string(),
            EventTarget::Socket(path, _) => format!("unix:{}", path.display()),
        }
    }

    /// Writes lines. Returns the number of those that were written, and the error that ended it.
    fn write(&self, lines: &[String]) -> (usize, io::Result<()>) {
        match self {
            EventTarget::File(path) => append(path, lines),
            EventTarget::Socket(path, socket) => {
                for (at, line) in lines.iter().enumerate() {
                    if let Err(error) = socket.send_to(line.as_bytes(), path) {
                        return (at, Err(error));
                    }
                }
                (lines.len(), Ok(()))
            }
        }
    }
}

/// Opens a file for lines at its end. A FIFO without a reader is an error, and one with a reader that does not read is never
/// waited for.
fn appended(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits() as i32;
    OpenOptions::new().append(true).create(true).mode(FILE_MODE).custom_flags(flags).open(path)
}

/// Appends lines to a file, all or none: a disk that is full takes the beginning of a write. A FIFO or a device takes lines one by one.
/// Returns the number of written lines.
fn append(path: &Path, lines: &[String]) -> (usize, io::Result<()>) {
    let opened = appended(path).and_then(|file| Ok((file.metadata()?, file)));
    let (before, mut file) = match opened {
        Ok(opened) => opened,
        Err(error) => return (0, Err(error)),
    };
    if !before.is_file() {
        for (at, line) in lines.iter().enumerate() {
            let line = format!("{line}\n");
            match file.write(line.as_bytes()) {
                Ok(count) if count == line.len() => {}
                // The rest of a line that was cut cannot be written later: the next line would be in its middle.
                Ok(_) => return (at + 1, Err(ErrorKind::WriteZero.into())),
                Err(error) => return (at, Err(error)),
            }
        }
        return (lines.len(), Ok(()));
    }
    let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    match file.write_all(text.as_bytes()) {
        Ok(()) => (lines.len(), Ok(())),
        Err(error) => {
            // What remains is a line that ends too early, if that fails, too.
            let _ = file.set_len(before.len());
            (0, Err(error))
        }
    }
}
