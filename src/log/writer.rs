//! The thread that writes the access log.
//!
//! A loop appends lines to its [`LogSender`] and flushes once per turn. A flush hands the batch over under a lock
//! that is held for one copy only, wakes the thread if it sleeps, and returns: it never waits for a disk or a pipe.
//! Two buffers alternate between the senders and the thread, so that nothing is allocated in steady state. After a
//! write the thread pauses for some milliseconds, in which lines gather without wake-ups.
//!
//! If the buffer is full, because the output is slower than the log or stuck, whole batches are dropped and counted;
//! if writing fails, the unwritten lines are. Once writing works again, the loss is reported.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::files::LogFile;
use super::format::{Format, write_record};
use crate::engine::transaction::log_record::LogRecord;

/// A batch of this size is handed over within the turn (chosen).
const BATCH_BYTES: usize = 64 << 10;

/// Most bytes that wait to be written, unless [`Writer::set_queue`] sets less (chosen): tens of thousands of lines, some seconds of a
/// busy proxy.
const PENDING_BYTES_MAX: usize = 4 << 20;

/// A buffer that a burst made larger than this is shrunk (chosen).
const BUFFER_BYTES_KEPT: usize = 256 << 10;

/// The pause after a write (chosen): at most 200 wake-ups a second, and a delay that readers do not notice.
const WRITE_PAUSE: Duration = Duration::from_millis(5);

/// The pause when a descriptor is full that another process made non-blocking (chosen).
const STUCK_PAUSE: Duration = Duration::from_millis(10);

/// The least time between two reports of lost lines (chosen): losses come in bursts.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// The longest wait of [`Writer::close`] for pending lines (chosen).
pub const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// The output of the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// `access.log` in a directory.
    Directory {
        /// The directory, created if it is missing.
        path: PathBuf,
        /// The size at which the file rotates; 0 for never.
        bytes_max: u64,
        /// The number of old files to keep.
        keep: u32,
    },
}

/// The owner of the thread.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
}

/// The side that appends lines; one per loop.
#[derive(Debug)]
pub struct LogSender {
    target: Target,
    batch: Vec<u8>,
    lines: u64,
}

/// A function that is called with whole lines.
pub type Sink = dyn Fn(&[u8]) + Send + Sync;

/// The receiver of a sender's batches.
#[derive(Clone)]
enum Target {
    Thread(Arc<Shared>),
    Sink(Arc<Sink>),
}

impl fmt::Debug for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Target::Thread(_) => "Thread",
            Target::Sink(_) => "Sink",
        })
    }
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// The thread waits here for work.
    work: Condvar,
    /// `close` waits here for the end of the thread.
    ended: Condvar,
    dropped_lines: AtomicU64,
    /// Most bytes that wait.
    pending_max: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    /// Whole lines.
    pending: Vec<u8>,
    /// The thread sleeps and must be woken.
    asleep: bool,
    reopen: bool,
    /// The new size at which the file rotates, and the new number of old files.
    limits: Option<(u64, u32)>,
    closing: bool,
    ended: bool,
}

/// A write-only descriptor.
#[derive(Debug)]
struct Stream {
    file: File,
    /// The last write ended within a line.
    within_line: bool,
}

/// The open output.
#[derive(Debug)]
enum Output {
    /// A descriptor as it is.
    Stream(Stream),
    /// A file that rotates.
    Files(LogFile),
}

/// An open output without a thread.
#[derive(Debug)]
pub struct Opened(Output);

impl Destination {
    /// Opens the output. Fails if the file cannot be opened, so that a daemon can report it before it serves.
    pub fn open(&self) -> io::Result<Opened> {
        Ok(Opened(match self {
            // The descriptor is a duplicate: a write that is stuck holds no lock of the standard library.
            Destination::Stdout => {
                Output::Stream(Stream::new(io::stdout().as_fd().try_clone_to_owned()?.into()))
            }
            Destination::Directory { path, bytes_max, keep } => {
                Output::Files(LogFile::open(path, *bytes_max, *keep)?)
            }
        }))
    }
}

impl Writer {
    /// Opens the destination and starts the thread.
    pub fn spawn(destination: &Destination) -> io::Result<Writer> {
        Writer::start(destination.open()?)
    }

    /// Starts the thread on an open output. The thread has the rights that its parent has now.
    pub fn start(opened: Opened) -> io::Result<Writer> {
        Writer::spawn_on(opened.0)
    }

    fn spawn_on(output: Output) -> io::Result<Writer> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::default()),
            work: Condvar::new(),
            ended: Condvar::new(),
            dropped_lines: AtomicU64::new(0),
            pending_max: AtomicUsize::new(PENDING_BYTES_MAX),
        });
        let of_thread = shared.clone();
        thread::Builder::new().name("weir-log".into()).spawn(move || run(&of_thread, output))?;
        Ok(Writer { shared })
    }

    /// A handle for one loop.
    pub fn sender(&self) -> LogSender {
        LogSender::to(Target::Thread(self.shared.clone()))
    }

    /// Requests that the file is opened again by its name, after it was renamed. Does not wait.
    pub fn reopen(&self) {
        self.shared.lock().reopen = true;
        self.shared.work.notify_one();
    }

    /// Requests another size limit and number of old files. Does not wait.
    pub fn set_limits(&self, bytes_max: u64, keep: u32) {
        self.shared.lock().limits = Some((bytes_max, keep));
        self.shared.work.notify_one();
    }

    /// Lets at most so many bytes wait to be written from now on, but not more than without this call.
    pub fn set_queue(&self, bytes_max: u64) {
        let bytes =
            usize::try_from(bytes_max).map_or(PENDING_BYTES_MAX, |bytes| bytes.min(PENDING_BYTES_MAX));
        self.shared.pending_max.store(bytes, Ordering::Relaxed);
    }

    /// Number of lines lost so far.
    pub fn dropped_lines(&self) -> u64 {
        self.shared.dropped_lines.load(Ordering::Relaxed)
    }

    /// Writes the flushed lines and ends the thread. Waits for [`CLOSE_WITHIN`] at most; false if the output was
    /// still stuck. Senders that outlive the thread lose their lines.
    pub fn close(self) -> bool {
        self.shared.begin_to_close();
        let deadline = Instant::now() + CLOSE_WITHIN;
        let mut state = self.shared.lock();
        while !state.ended {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            else {
                return false;
            };
            state = self.shared.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.begin_to_close();
    }
}

impl LogSender {
    fn to(target: Target) -> LogSender {
        LogSender { target, batch: Vec::new(), lines: 0 }
    }

    /// A handle without a thread: a flush calls the sink.
    pub fn to_sink(sink: Arc<Sink>) -> LogSender {
        LogSender::to(Target::Sink(sink))
    }

    /// Appends a record as one line.
    pub fn append_record(&mut self, format: Format, record: &LogRecord) {
        let before = self.batch.len();
        write_record(&mut self.batch, format, record);
        if self.batch.len() > before {
            self.appended();
        }
    }

    /// Appends a line that ends in its only newline.
    pub fn append(&mut self, line: &[u8]) {
        debug_assert_eq!(memchr::memchr(b'\n', line), line.len().checked_sub(1));
        self.batch.extend_from_slice(line);
        self.appended();
    }

    fn appended(&mut self) {
        self.lines += 1;
        if self.batch.len() >= BATCH_BYTES {
            self.flush();
        }
    }

    /// Hands over the appended lines. Called at the end of every turn; never waits for the output.
    pub fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        match &self.target {
            Target::Thread(shared) => shared.take(&self.batch, self.lines),
            Target::Sink(sink) => sink(&self.batch),
        }
        self.lines = 0;
        self.batch.clear();
        self.batch.shrink_to(BUFFER_BYTES_KEPT);
    }

    /// Number of lines lost so far by all senders.
    pub fn dropped_lines(&self) -> u64 {
        match &self.target {
            Target::Thread(shared) => shared.dropped_lines.load(Ordering::Relaxed),
            Target::Sink(_) => 0,
        }
    }
}

/// Another sender of the same writer, without lines.
impl Clone for LogSender {
    fn clone(&self) -> LogSender {
        LogSender::to(self.target.clone())
    }
}

impl Drop for LogSender {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Shared {
    /// No code that holds the lock can leave the state half changed, so a poisoned lock is used.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_to_close(&self) {
        self.lock().closing = true;
        self.work.notify_one();
    }

    /// Takes a batch of so many lines, or counts them as lost, and wakes the thread if it waits.
    fn take(&self, batch: &[u8], lines: u64) {
        let mut state = self.lock();
        if state.closing || state.pending.len() + batch.len() > self.pending_max.load(Ordering::Relaxed) {
            self.dropped_lines.fetch_add(lines, Ordering::Relaxed);
        } else {
            state.pending.extend_from_slice(batch);
        }
        let wake = std::mem::take(&mut state.asleep);
        drop(state);
        if wake {
            self.work.notify_one();
        }
    }

    /// Waits for work, and moves pending lines into `lines`, which is empty. Returns the other tasks.
    fn next(&self, lines: &mut Vec<u8>) -> NextTasks {
        let mut state = self.lock();
        while state.pending.is_empty() && !state.reopen && state.limits.is_none() && !state.closing {
            state.asleep = true;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.asleep = false;
        std::mem::swap(&mut state.pending, lines);
        let (reopen, limits) = (std::mem::take(&mut state.reopen), state.limits.take());
        NextTasks { reopen, limits, last: state.closing }
    }

    /// Whether more than half of the bytes wait that may wait: with a pause the next lines would be lost.
    fn is_filling(&self) -> bool {
        self.lock().pending.len() > self.pending_max.load(Ordering::Relaxed) / 2
    }
}

/// The tasks beside writing lines.
struct NextTasks {
    reopen: bool,
    limits: Option<(u64, u32)>,
    /// No lines will follow.
    last: bool,
}

/// Failures and losses since writing last worked.
#[derive(Debug, Default)]
struct Failures {
    /// Writing fails, and a message has reported the failure.
    failing: bool,
    /// Lost lines that a message has reported.
    reported_lines: u64,
    /// Time of that report.
    reported_at: Option<Instant>,
}

impl Failures {
    /// The number of lost lines to report: those since the last report, if it is a while ago.
    fn next_report(&mut self, dropped_lines: u64, now: Instant) -> Option<u64> {
        let recently = self.reported_at.is_some_and(|at| now.duration_since(at) < REPORT_EVERY);
        let more = dropped_lines.saturating_sub(self.reported_lines);
        if recently || more == 0 {
            return None;
        }
        self.reported_lines = dropped_lines;
        self.reported_at = Some(now);
        Some(more)
    }
}

fn run(shared: &Shared, mut output: Output) {
    let mut lines = Vec::new();
    let mut failures = Failures::default();
    loop {
        let next = shared.next(&mut lines);
        if next.reopen {
            reopen(&mut output);
        }
        if let (Some((bytes_max, keep)), Output::Files(files)) = (next.limits, &mut output) {
            files.set_limits(bytes_max, keep);
        }
        write(shared, &mut output, &lines, &mut failures);
        lines.clear();
        lines.shrink_to(BUFFER_BYTES_KEPT);
        if next.last {
            break;
        }
        if !shared.is_filling() {
            thread::sleep(WRITE_PAUSE);
        }
    }
    failures.reported_at = None;
    if let Some(lost) = failures.next_report(shared.dropped_lines.load(Ordering::Relaxed), Instant::now()) {
        log::warn!("access log: {lost} lines lost");
    }
    shared.lock().ended = true;
    shared.ended.notify_all();
}

fn reopen(output: &mut Output) {
    match output {
        Output::Stream(_) => {}
        Output::Files(files) => {
            if let Err(error) = files.reopen() {
                log::warn!("access log: cannot reopen, the old file stays: {error}{}", remedy(&error));
            }
        }
    }
}

/// Advice for an error that does not explain itself. A sandboxed process may write to the log directory that existed
/// at its start, not to a directory that replaced it: the right to do so would cover all files of the parent
/// directory.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::PermissionDenied => {
            " (with --sandbox a directory that was removed and made anew needs a restart of weir)"
        }
        _ => "",
    }
}

/// Writes lines, or counts them as lost.
fn write(shared: &Shared, output: &mut Output, lines: &[u8], failures: &mut Failures) {
    if lines.is_empty() {
        return;
    }
    let result = match output {
        Output::Stream(stream) => stream.write_lines(lines),
        Output::Files(files) => files.write_lines(lines),
    };
    match result {
        Ok(()) => {
            failures.failing = false;
            if let Some(lost) =
                failures.next_report(shared.dropped_lines.load(Ordering::Relaxed), Instant::now())
            {
                log::warn!("access log: {lost} lines lost");
            }
        }
        Err((written, error)) => {
            let lost = memchr::memchr_iter(b'\n', &lines[written..]).count() as u64;
            shared.dropped_lines.fetch_add(lost, Ordering::Relaxed);
            if !std::mem::replace(&mut failures.failing, true) {
                log::warn!("access log: lines are being lost: {error}{}", remedy(&error));
            }
        }
    }
}

impl Stream {
    fn new(file: File) -> Stream {
        Stream { file, within_line: false }
    }

    /// Writes all lines, or fails with the number of written bytes. A stream cannot be shortened: an incomplete line
    /// is ended before the next one.
    fn write_lines(&mut self, lines: &[u8]) -> Result<(), (usize, io::Error)> {
        if self.within_line {
            self.write_all(b"\n").map_err(|(_, error)| (0, error))?;
            self.within_line = false;
        }
        let result = self.write_all(lines);
        if let Err((written, _)) = &result {
            self.within_line = *written > 0 && lines[written - 1] != b'\n';
        }
        result
    }

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut written = 0;
        while written < bytes.len() {
            match self.file.write(&bytes[written..]) {
                Ok(0) => return Err((written, ErrorKind::WriteZero.into())),
                Ok(some) => written += some,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A terminal or pipe that another process made non-blocking.
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(STUCK_PAUSE),
                Err(error) => return Err((written, error)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
