//! Events of the guard for a file or a socket: a thread reads the ring and writes lines of JSON.
//!
//! The loops never wait for the thread. Events that cannot be written stay in the ring and are tried again; a separate line
//! has the number of events that the ring dropped meanwhile. The file is opened for each batch, so rotation needs no signal.

use crate::guard::state::State;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often the ring is read (chosen: short beside the time in which events fill it).
const READ_EVERY: Duration = Duration::from_millis(200);

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
    thread: Option<JoinHandle<()>>,
}

impl EventSink {
    /// Starts the thread. A file that cannot be opened is an error now.
    pub fn start(state: Arc<State>, target: EventTarget) -> io::Result<EventSink> {
        target.write(&[])?;
        let ends = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&ends);
        let thread = thread::Builder::new().name("weir-events".to_owned()).spawn(move || {
            let mut reader = Reader { state, target, cursor: 0, told: None };
            while !stop.load(Ordering::Relaxed) {
                thread::park_timeout(READ_EVERY);
                reader.pass_on();
            }
        })?;
        Ok(EventSink { ends, thread: Some(thread) })
    }
}

impl Drop for EventSink {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic of the thread has been reported by its own.
            let _ = thread.join();
        }
    }
}

struct Reader {
    state: Arc<State>,
    target: EventTarget,
    cursor: u64,
    /// Time of the last logged failure.
    told: Option<Instant>,
}

impl Reader {
    /// Writes the events since the last call.
    fn pass_on(&mut self) {
        loop {
            let mut cursor = self.cursor;
            let (events, lost) = self.state.read_events(&mut cursor, BATCH_MAX);
            let told = (lost > 0).then(|| format!("{{\"event_type\":\"events_lost\",\"count\":{lost}}}"));
            let lines: Vec<String> =
                told.into_iter().chain(events.iter().map(|event| event.json())).collect();
            if lines.is_empty() {
                return;
            }
            if let Err(error) = self.target.write(&lines) {
                if self.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
                    log::warn!("guard: events cannot be written to {}: {error}", self.target.name());
                    self.told = Some(Instant::now());
                }
                return;
            }
            self.state.count_events_lost(lost);
            self.cursor = cursor;
        }
    }
}

impl EventTarget {
    fn name(&self) -> String {
        match self {
            EventTarget::File(path) => path.display().to_string(),
            EventTarget::Socket(path, _) => format!("unix:{}", path.display()),
        }
    }

    fn write(&self, lines: &[String]) -> io::Result<()> {
        match self {
            EventTarget::File(path) => {
                let mut text = lines.join("\n");
                if !lines.is_empty() {
                    text.push('\n');
                }
                let mut file = OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path)?;
                file.write_all(text.as_bytes())
            }
            EventTarget::Socket(path, socket) => {
                lines.iter().try_for_each(|line| socket.send_to(line.as_bytes(), path).map(|_| ()))
            }
        }
    }
}
