//! The proxy as its host program sees it.

use super::control::Control;
use super::follower::Follower;
use crate::metrics::Snapshot;
use crate::part;
use crate::shell::{EventLoop, Failure, Persister, Workers};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

/// A proxy that listens, and works while it is polled. Dropping it closes all its sockets and files, ends its threads and
/// cuts requests under way; several proxies in one process share nothing.
///
/// ```
/// use std::time::Duration;
/// use weir::{Configuration, Proxy, Status};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let configuration = Configuration::new().text("host 127.0.0.1\nport 0\n");
/// let mut proxy = Proxy::builder().configuration(configuration).access_log(|lines| drop(lines)).build()?;
/// println!("listening on {:?}", proxy.control().addresses());
/// proxy.control().drain();
/// while proxy.poll(Some(Duration::from_secs(1)))? == Status::Running {}
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Proxy {
    /// On the heap: a loop is long, and would be copied from function to function at the start.
    event_loop: Box<EventLoop>,
    /// The loops beyond the first, with their threads.
    workers: Workers,
    control: Control,
    persister: Option<Persister>,
    /// Ends with the proxy.
    _follower: Option<Follower>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// The first loop has ended, others have not.
    AwaitingOthers,
    Ended,
}

/// Whether a proxy has more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The proxy listens, or finishes requests under way.
    Running,
    /// The proxy has drained, or was stopped.
    Ended,
}

impl Proxy {
    pub(super) fn new(
        event_loop: Box<EventLoop>,
        workers: Workers,
        control: Control,
        persister: Option<Persister>,
        follower: Option<Follower>,
    ) -> Proxy {
        Proxy { event_loop, workers, control, persister, _follower: follower, phase: Phase::Running }
    }

    /// Controls this proxy; clones of the control do so from other threads.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Runs one turn of the loop: waits for events, at most `timeout` (`None`: without a limit), and handles a bounded number
    /// of them. After a failure the proxy can only be dropped. With several workers it runs until the last of them has ended.
    pub fn poll(&mut self, timeout: Option<Duration>) -> Result<Status, Failure> {
        self.event_loop.resume();
        self.turn(timeout)
    }

    fn turn(&mut self, timeout: Option<Duration>) -> Result<Status, Failure> {
        let turned = match self.phase {
            Phase::Running => self.event_loop.turn(timeout),
            Phase::AwaitingOthers => self.event_loop.rest(timeout).map(|()| false),
            Phase::Ended => return Ok(Status::Ended),
        };
        match turned {
            Ok(false) => {}
            Ok(true) => {
                self.phase = Phase::AwaitingOthers;
                // The others may go on for a while, and are asked for their numbers.
                self.event_loop.close_inbox();
            }
            Err(error) => {
                log::error!("a loop has failed: {error}");
                self.phase = Phase::Ended;
                self.event_loop.close_inbox();
                self.workers.quit();
                if let Err(failure) = self.workers.join() {
                    log::error!("besides, {failure}");
                }
                return Err(Failure::Failed(error));
            }
        }
        if self.phase == Phase::AwaitingOthers && self.workers.have_ended() {
            self.phase = Phase::Ended;
            self.workers.join()?;
        }
        Ok(if self.phase == Phase::Ended { Status::Ended } else { Status::Running })
    }

    /// Polls until the proxy has ended. With `workers N,pin`, this thread stays on one processor from now on.
    pub fn run(&mut self) -> Result<(), Failure> {
        self.workers.pin_first();
        while self.turn(None)? == Status::Running {}
        Ok(())
    }

    /// The time after which to poll again even if the descriptor has not become readable: zero for at once, `None` for never.
    /// For hosts that wait by themselves.
    pub fn next_timeout(&self) -> Option<Duration> {
        match self.phase {
            Phase::Running => self.event_loop.next_timeout(),
            Phase::AwaitingOthers | Phase::Ended => None,
        }
    }

    /// All numbers. The numbers of other workers are those that they reported last.
    pub fn statistics(&self) -> Snapshot {
        self.event_loop.report_with_others();
        self.control.snapshot()
    }

    /// Ends at once: cuts requests under way, closes all sockets and files, and waits for the threads. A drop has the same
    /// effect.
    pub fn close(self) {
        drop(self);
    }

    /// Writes the cache to `cache-file`, once, when [`Proxy::poll`] has returned [`Status::Ended`]: a drop does not. Returns
    /// the number of entries that were written; `None` without that option, and if the cache was saved already. Fails with
    /// [`io::ErrorKind::ResourceBusy`] if the proxy has not ended. Other failures leave the former file as it is, and the call may be
    /// repeated.
    pub fn save_cache(&mut self) -> io::Result<Option<u64>> {
        if self.phase != Phase::Ended && self.persister.is_some() {
            let error = "the cache is saved when the proxy has ended";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, error));
        }
        let persister = part::cache::built().and(self.persister.as_mut());
        let saved = persister.map(Persister::save).transpose()?;
        self.persister = None;
        Ok(saved)
    }
}

/// Closes everything, even if the program keeps a clone of the control.
impl Drop for Proxy {
    fn drop(&mut self) {
        self.control.close();
    }
}

/// The descriptor of [`AsRawFd`]: with it tokio's `AsyncFd`, rustix and mio accept a proxy.
impl AsFd for Proxy {
    #[allow(unsafe_code)]
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor belongs to the loop, which is open as long as the proxy is.
        unsafe { BorrowedFd::borrow_raw(self.as_raw_fd()) }
    }
}

/// For hosts that wait by themselves: readable when the proxy is to be polled. Only wait for that descriptor.
impl AsRawFd for Proxy {
    fn as_raw_fd(&self) -> RawFd {
        self.event_loop.as_raw_fd()
    }
}
