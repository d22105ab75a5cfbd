//! The proxy as its host sees it.

use super::control::Control;
use super::follower::Follower;
use crate::metrics::Snapshot;
use crate::shell::{EventLoop, Failure, Persister, Workers};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

/// A proxy that listens, and works while it is polled. Dropping it closes everything that it has opened, ends its threads and
/// cuts what is under way; several in one process share nothing.
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
    event_loop: EventLoop,
    /// The loops beyond the first, with their threads.
    workers: Workers,
    control: Control,
    persister: Option<Persister>,
    /// Ends with the proxy.
    _follower: Option<Follower>,
    status: Status,
}

/// Whether a proxy has more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It listens, or finishes what is under way.
    Running,
    /// It has drained, or was told to stop.
    Ended,
}

impl Proxy {
    pub(super) fn new(
        event_loop: EventLoop,
        workers: Workers,
        control: Control,
        persister: Option<Persister>,
        follower: Option<Follower>,
    ) -> Proxy {
        Proxy { event_loop, workers, control, persister, _follower: follower, status: Status::Running }
    }

    /// Tells this proxy what to do; clones of it do so from other threads.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Runs one turn of the loop: waits until there is something to do, but not longer than `timeout` (`None`: for as long
    /// as that takes), and does a bounded part of it. After a failure the proxy can only be dropped. With several workers, the
    /// turn that ends this loop waits for the others to end.
    pub fn poll(&mut self, timeout: Option<Duration>) -> Result<Status, Failure> {
        if self.status == Status::Running {
            match self.event_loop.turn(timeout) {
                Ok(false) => {}
                Ok(true) => {
                    self.status = Status::Ended;
                    self.workers.join()?;
                }
                Err(error) => {
                    log::error!("a loop has failed: {error}");
                    self.status = Status::Ended;
                    self.workers.quit();
                    let _ = self.workers.join();
                    return Err(Failure::Failed(error));
                }
            }
        }
        Ok(self.status)
    }

    /// Polls until the proxy has ended. With `workers N pinned`, this thread keeps to one processor from now on.
    pub fn run(&mut self) -> Result<(), Failure> {
        self.workers.pin_first();
        while self.poll(None)? == Status::Running {}
        Ok(())
    }

    /// After how long to poll again though the descriptor has not become readable: at once if zero, never if `None`. For
    /// hosts that wait by themselves.
    pub fn next_timeout(&self) -> Option<Duration> {
        self.event_loop.next_timeout()
    }

    /// What has been counted, and what there is now. The numbers of other workers are as they have last told.
    pub fn statistics(&self) -> Snapshot {
        self.event_loop.report_with_others();
        self.control.snapshot()
    }

    /// Ends at once: cuts what is under way, closes everything that the proxy has opened, and waits for its threads. A drop does
    /// the same.
    pub fn close(self) {
        drop(self);
    }

    /// Writes what is stored to `cache-file`, if there is one: for when the proxy has ended after a drain.
    pub fn save_cache(&mut self) {
        if let Some(persister) = self.persister.take() {
            persister.save();
        }
    }
}

/// The same as [`AsRawFd`]: with it tokio's `AsyncFd` and what rustix and mio offer take a proxy as it is.
impl AsFd for Proxy {
    #[allow(unsafe_code)]
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is the loop's, which is open as long as the proxy is.
        unsafe { BorrowedFd::borrow_raw(self.as_raw_fd()) }
    }
}

/// For hosts that wait by themselves: readable when the proxy is to be polled. Wait for that, and do nothing else with it.
impl AsRawFd for Proxy {
    fn as_raw_fd(&self) -> RawFd {
        self.event_loop.as_raw_fd()
    }
}
