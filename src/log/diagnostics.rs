//! The daemon's own messages on standard error, written without blocking the loops.
//!
//! Until [`begin`] is called, lines are written directly: a daemon that is starting has no connections to delay, and
//! must not have threads yet. Afterwards a thread writes them from a bounded queue; lines that do not fit are dropped
//! and counted in the next line.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// Most waiting lines (chosen: far more than a minute brings).
const LINES_MAX: usize = 1024;

static QUEUE: OnceLock<SyncSender<Message>> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

enum Message {
    Line(Vec<u8>),
    /// Answered when all messages before it are written.
    Flush(SyncSender<()>),
}

/// The logger's output, whole lines at a time.
#[derive(Debug, Default)]
pub struct Diagnostics;

impl Write for Diagnostics {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match QUEUE.get() {
            None => io::stderr().write_all(line)?,
            Some(queue) => {
                if queue.try_send(Message::Line(line.to_vec())).is_err() {
                    DROPPED.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts the thread. On failure lines are still written directly.
pub fn begin() -> io::Result<()> {
    let (sender, receiver) = sync_channel(LINES_MAX);
    thread::Builder::new().name("weir-stderr".into()).spawn(move || write_all(&receiver))?;
    let _ = QUEUE.set(sender);
    Ok(())
}

/// Waits until all lines are written, at most `within`.
pub fn flush(within: Duration) {
    let Some(queue) = QUEUE.get() else { return };
    let (sender, receiver) = sync_channel(1);
    if queue.try_send(Message::Flush(sender)).is_ok() {
        let _ = receiver.recv_timeout(within);
    }
}

fn write_all(queue: &Receiver<Message>) {
    while let Ok(message) = queue.recv() {
        // A closed standard error cannot be reported.
        match message {
            Message::Line(line) => {
                let dropped = DROPPED.swap(0, Ordering::Relaxed);
                if dropped > 0 {
                    let _ =
                        writeln!(io::stderr(), "weir: {dropped} lines were not written in time and are lost");
                }
                let _ = io::stderr().write_all(&line);
            }
            Message::Flush(done) => drop(done.try_send(())),
        }
    }
}
