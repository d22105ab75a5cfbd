//! Connecting, and the reaction to a shortage of descriptors for it.

use super::EventLoop;
use super::socket::Socket;
use crate::engine::{Action, Event, PeerId, SocketError};
use std::net::SocketAddr;

impl EventLoop {
    /// Begins to connect. If descriptors are short, empty pipes, connections that only wait for a reset, idle upstream connections and reserved descriptors are given up.
    pub(super) fn connect(&mut self, peer: PeerId, address: SocketAddr) {
        let mut connected = self.open(peer, address);
        if connected == Err(SocketError::Exhausted) {
            self.shortage.count += 1;
            if self.pipes.shed() | self.delivering.shed() {
                connected = self.open(peer, address);
            }
        }
        if connected == Err(SocketError::Exhausted) {
            if self.engine.shed_idle_upstreams() {
                // Tried again when those are closed.
                self.engine.defer(Action::Connect { peer, address });
                return;
            }
            if self.shortage.reserved.give_up() {
                connected = self.open(peer, address);
            }
            if connected == Err(SocketError::Exhausted) {
                self.ask_others_to_shed();
            }
        }
        if let Err(error) = connected {
            self.engine.handle(self.now, peer, Event::Failed(error));
        }
    }

    fn open(&mut self, peer: PeerId, address: SocketAddr) -> Result<(), SocketError> {
        let socket = Socket::connect(address)?;
        self.install(peer, socket).map_err(SocketError::from)
    }
}
