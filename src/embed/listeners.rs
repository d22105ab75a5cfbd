//! The sockets that a proxy listens on: for each loop one at each address.

use crate::shell::{self, Listener};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};

/// Sockets that listen.
#[derive(Debug)]
pub struct Listeners {
    by_loop: Vec<Vec<Listener>>,
}

/// No socket could listen at this address.
#[derive(Debug)]
pub struct ListenError {
    /// The address, as it was asked for.
    pub address: SocketAddr,
    /// What the system says.
    pub error: io::Error,
}

impl Listeners {
    /// Listens on these addresses, for so many loops: with a socket out of `inherited` that listens there already, which is
    /// taken out of that, or else with one of its own.
    pub fn bind(
        addresses: &[SocketAddr],
        loops: usize,
        inherited: &mut Vec<TcpListener>,
    ) -> Result<Listeners, ListenError> {
        let mut by_loop: Vec<Vec<Listener>> = (0..loops).map(|_| Vec::new()).collect();
        for &address in addresses {
            let listens_there = |socket: &TcpListener| socket.local_addr().is_ok_and(|own| own == address);
            let listeners = match inherited.iter().position(listens_there) {
                Some(at) => share(&inherited.swap_remove(at), loops),
                None => shell::bind_for(loops, address),
            };
            let listeners = listeners.map_err(|error| ListenError { address, error })?;
            by_loop.iter_mut().zip(listeners).for_each(|(of_loop, one)| of_loop.push(one));
        }
        Ok(Listeners { by_loop })
    }

    /// Takes sockets that listen already, for one loop.
    pub(super) fn ready_made(sockets: Vec<TcpListener>) -> io::Result<Listeners> {
        let one_loop: io::Result<Vec<Listener>> = sockets.into_iter().map(Listener::ready_made).collect();
        Ok(Listeners { by_loop: vec![one_loop?] })
    }

    /// For how many loops they are.
    pub(super) fn loops(&self) -> usize {
        self.by_loop.len()
    }

    /// Where they listen.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let first = self.by_loop.first().into_iter().flatten();
        first.filter_map(|listener| listener.local_address().ok()).collect()
    }

    pub(super) fn into_loops(self) -> Vec<Vec<Listener>> {
        self.by_loop
    }
}

/// One socket for so many loops: whichever is awake first takes a connection.
fn share(socket: &TcpListener, loops: usize) -> io::Result<Vec<Listener>> {
    (0..loops).map(|_| Listener::ready_made(socket.try_clone()?)).collect()
}

impl fmt::Display for ListenError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "cannot listen on {}: {}", self.address, self.error)
    }
}

impl std::error::Error for ListenError {}
