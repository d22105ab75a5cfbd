//! The sockets that a proxy listens on: for each loop one at each address.

use crate::shell::{self, Listener};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

/// Sockets that listen.
#[derive(Debug)]
pub struct Listeners {
    by_loop: Vec<Vec<Listener>>,
}

/// No socket could listen at this address.
#[derive(Debug)]
pub struct ListenError {
    /// The address, as requested.
    pub address: SocketAddr,
    /// The error of the system.
    pub error: io::Error,
}

impl Listeners {
    /// Listens on these addresses, for so many loops. Sockets of `inherited` that listen at an address are used and taken out
    /// of `inherited`; otherwise new sockets are opened. `inherited` may have several sockets at an address, each with
    /// waiting connections: those beyond the number of loops stay in it.
    pub fn bind(
        addresses: &[SocketAddr],
        loops: usize,
        inherited: &mut Vec<TcpListener>,
    ) -> Result<Listeners, ListenError> {
        let mut by_loop: Vec<Vec<Listener>> = (0..loops).map(|_| Vec::new()).collect();
        for &address in addresses {
            let listens_there = |socket: &TcpListener| socket.local_addr().is_ok_and(|own| own == address);
            let mut found: Vec<TcpListener> = Vec::new();
            while let Some(at) = inherited.iter().position(listens_there).filter(|_| found.len() < loops) {
                found.push(inherited.swap_remove(at));
            }
            let listeners = match found.is_empty() {
                false => share(&found, loops),
                true => shell::bind_for(loops, address),
            };
            let listeners = listeners.map_err(|error| ListenError { address, error })?;
            by_loop.iter_mut().zip(listeners).for_each(|(of_loop, one)| of_loop.push(one));
        }
        Ok(Listeners { by_loop })
    }

    /// Uses sockets that listen already, for one loop.
    pub(super) fn ready_made(sockets: Vec<TcpListener>) -> io::Result<Listeners> {
        let one_loop: io::Result<Vec<Listener>> = sockets.into_iter().map(Listener::ready_made).collect();
        Ok(Listeners { by_loop: vec![one_loop?] })
    }

    /// Adds further sockets for the same loops.
    pub(super) fn append(&mut self, others: Listeners) {
        self.by_loop.iter_mut().zip(others.by_loop).for_each(|(of_loop, more)| of_loop.extend(more));
    }

    /// The number of loops.
    pub(super) fn loops(&self) -> usize {
        self.by_loop.len()
    }

    /// The addresses of the sockets.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let first = self.by_loop.first().into_iter().flatten();
        first.filter_map(|listener| listener.local_address().ok()).collect()
    }

    /// Further descriptors of all sockets, to hand them to another process.
    pub fn try_clone(&self) -> io::Result<Vec<OwnedFd>> {
        self.by_loop.iter().flatten().map(Listener::try_clone).collect()
    }

    pub(super) fn into_loops(self) -> Vec<Vec<Listener>> {
        self.by_loop
    }
}

/// Sockets for so many loops. If loops share a socket, the loop that wakes up first accepts a connection.
fn share(sockets: &[TcpListener], loops: usize) -> io::Result<Vec<Listener>> {
    sockets.iter().cycle().take(loops).map(|socket| Listener::ready_made(socket.try_clone()?)).collect()
}

impl fmt::Display for ListenError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "cannot listen on {}: {}", self.address, self.error)
    }
}

impl std::error::Error for ListenError {}
