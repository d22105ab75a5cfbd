//! Descriptors that are reserved, so that new clients cannot take the last ones from connections in use: an accepted client
//! needs another descriptor for an origin, and one for each question to a name server.

use mio::Registry;
use std::io;

/// Number of reserved descriptors (chosen: dials that begin in one round during a shortage).
const SPARES: usize = 8;

/// Copies of the loop's own epoll descriptor: a copy keeps nothing open that the loop does not, and costs no memory but its number. A
/// descriptor of the process would not do: the program may have closed it, or may wait for its end.
#[derive(Debug, Default)]
pub struct ReservedDescriptors {
    kept: Vec<Registry>,
}

impl ReservedDescriptors {
    /// Reserves missing descriptors. No client is accepted while that fails.
    pub fn fill(&mut self, of_loop: &Registry) -> io::Result<()> {
        while self.kept.len() < SPARES {
            self.kept.push(of_loop.try_clone()?);
        }
        Ok(())
    }

    /// Gives one descriptor back to the system, for a connection in use. False if none is left.
    pub fn give_up(&mut self) -> bool {
        self.kept.pop().is_some()
    }
}
