//! Descriptors that are reserved, so that new clients cannot take the last ones from connections in use: an accepted client
//! needs another descriptor for an origin, and one for each question to a name server.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Number of reserved descriptors (chosen: dials that begin in one round during a shortage).
const SPARES: usize = 8;

/// Descriptors of nothing in particular.
#[derive(Debug, Default)]
pub struct ReservedDescriptors {
    kept: Vec<OwnedFd>,
}

impl ReservedDescriptors {
    /// Reserves missing descriptors. No client is accepted while that fails.
    pub fn fill(&mut self) -> io::Result<()> {
        while self.kept.len() < SPARES {
            self.kept.push(io::stderr().as_fd().try_clone_to_owned()?);
        }
        Ok(())
    }

    /// Gives one descriptor back to the system, for a connection in use. False if none is left.
    pub fn give_up(&mut self) -> bool {
        self.kept.pop().is_some()
    }
}
