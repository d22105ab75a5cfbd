//! An upgrade without a refused connection: a new weir takes the listening sockets of the running one (`--take-over`), and makes it drain
//! as soon as the new one serves. If the new one fails before that, the old one continues unchanged.

use super::report::{STOPPING_ALREADY, fail};
use log::{info, warn};
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use weir::config::{Settings, exit};
use weir::embed::{self, Listeners};

/// The running weir whose sockets were taken, if there is one.
#[derive(Debug, Default)]
pub struct Predecessor(Option<embed::Predecessor>);

impl Predecessor {
    /// Takes the sockets of the running weir, before the sandbox is entered; an open connection stays usable. Fails with the exit code.
    pub fn ask(settings: &Settings) -> Result<(Predecessor, Vec<TcpListener>), u8> {
        let Some(place) = &settings.take_over else { return Ok((Predecessor::default(), Vec::new())) };
        match embed::take_over(&place.value) {
            Ok((predecessor, sockets)) => {
                let sockets = sockets.into_iter().map(TcpListener::from).collect();
                Ok((Predecessor(Some(predecessor)), sockets))
            }
            Err(error) => {
                let place = place.value.display();
                Err(fail(
                    &format!("take-over: no sockets from the weir at {place}: {error}"),
                    exit::UNAVAILABLE,
                ))
            }
        }
    }

    /// Whether sockets were taken from a running weir.
    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Makes the old weir drain: this process serves its sockets.
    pub fn relieve(self) {
        let Some(predecessor) = self.0 else { return };
        match predecessor.relieve() {
            Ok(reply) if reply.code == exit::OK => info!("the weir before: {}", reply.body.trim_end()),
            Ok(reply) => warn!("the weir before does not drain: {}", reply.text),
            Err(error) => warn!("the weir before has not said that it drains: {error}"),
        }
    }
}

/// The listening sockets for a successor: empty without a control socket, and from the end on.
#[derive(Clone, Debug, Default)]
pub struct Sockets(Arc<Mutex<Vec<OwnedFd>>>);

impl Sockets {
    /// The sockets of all loops, if a control socket lets a successor ask for them.
    pub fn of(listeners: &Listeners, settings: &Settings) -> io::Result<Sockets> {
        let sockets = settings.control.as_ref().map(|_| listeners.try_clone()).transpose()?;
        Ok(Sockets(Arc::new(Mutex::new(sockets.unwrap_or_default()))))
    }

    /// Duplicates of the descriptors.
    pub fn try_clone(&self) -> io::Result<Vec<OwnedFd>> {
        let sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sockets.is_empty() {
            return Err(io::Error::other(STOPPING_ALREADY));
        }
        sockets.iter().map(OwnedFd::try_clone).collect()
    }

    /// Closes the sockets: they must not listen longer than the loops do.
    pub fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
