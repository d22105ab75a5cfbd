//! The thread that follows the addresses of this machine while interfaces come and go.
//!
//! The thread looks every few seconds: the system announces changes over netlink only, and a look costs less than listening
//! there. A change builds another policy from the present one, with the same rules.

use super::control::Control;
use crate::shell::threads;
use log::warn;
use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// The time between two looks (chosen: other machines can use a new address no sooner than its neighbours know it).
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The thread that follows the addresses; it ends when this is dropped.
#[derive(Debug)]
pub struct Follower {
    /// Dropped to end the thread.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Begins to look.
    pub fn start(control: Control) -> io::Result<Follower> {
        let (end, ended) = channel();
        let body = move || {
            let mut told = false;
            while ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                match control.refresh_addresses() {
                    Ok(()) => told = false,
                    // The known addresses stay closed.
                    Err(error) if !told => {
                        told = true;
                        warn!("cannot tell the addresses of this machine any more: {error}");
                    }
                    Err(_) => {}
                }
            }
        };
        let thread = threads::spawn("weir-addresses", body)?;
        Ok(Follower { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
