//! Descriptors set aside, so that new clients cannot take the last ones from connections that are being served: an accepted client
//! needs another one for an origin, and one for each question to a name server.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// How many (chosen: dials that begin in one round where descriptors are short).
const SPARES: usize = 8;

/// Descriptors of nothing in particular.
#[derive(Debug, Default)]
pub struct ReservedDescriptors {
    kept: Vec<OwnedFd>,
}

impl ReservedDescriptors {
    /// Fills the store up again. No client is to be accepted while that fails.
    pub fn fill(&mut self) -> io::Result<()> {
        while self.kept.len() < SPARES {
            self.kept.push(io::stderr().as_fd().try_clone_to_owned()?);
        }
        Ok(())
    }

    /// Gives one back to the system, for a connection that is being served. False if there is none left.
    pub fn give_up(&mut self) -> bool {
        self.kept.pop().is_some()
    }
}
