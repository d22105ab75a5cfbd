//! Accepting connections, and the reaction to a shortage of descriptors or memory for them.

use super::EventLoop;
use super::message::WorkerMessage;
use super::shortage::PAUSE;
use super::socket::Socket;
use crate::engine::{Event, ListenerId, SocketError};
use std::io;
use std::net::SocketAddr;

/// Connections taken from one listener between two looks at the system (chosen).
const ACCEPTS_MAX: usize = 64;

impl EventLoop {
    /// Takes new connections while the engine has room for them.
    pub(super) fn accept(&mut self) {
        if self.shortage.is_paused(self.now) || self.shortage.memory.closed {
            return;
        }
        if !self.engine.may_accept() || !self.listeners.iter().any(|listener| listener.ready) {
            return;
        }
        if let Err(error) = self.shortage.reserved.fill(self.poll.registry()) {
            self.pause(&error);
            return;
        }
        for index in 0..self.listeners.len() {
            for _ in 0..ACCEPTS_MAX {
                if !self.listeners[index].ready || !self.engine.may_accept() {
                    break;
                }
                match self.listeners[index].accept() {
                    Ok(Some((stream, address))) => self.take_client(ListenerId(index as u8), stream, address),
                    Ok(None) => break,
                    Err(error) => {
                        self.pause(&error);
                        return;
                    }
                }
            }
        }
    }

    /// Reacts to a shortage of descriptors or memory: idle upstream connections are closed, and accepting waits. The
    /// listener stays ready, and the loop does not spin.
    fn pause(&mut self, error: &io::Error) {
        self.shortage.count += 1;
        if self.shortage.may_warn(self.now) {
            log::warn!("cannot take connections ({error}): trying again every {} ms", PAUSE.as_millis());
        }
        self.pipes.shed();
        self.delivering.shed();
        self.engine.shed_idle_upstreams();
        self.carry_out_actions();
        self.ask_others_to_shed();
        self.shortage.pause(self.now);
    }

    fn take_client(&mut self, listener: ListenerId, stream: mio::net::TcpStream, address: SocketAddr) {
        let id = self.engine.accept(self.now, listener, address);
        let socket = Socket::accepted(stream);
        if let Err(error) = self.install(id, socket) {
            log::warn!("cannot watch a new connection: {error}");
            self.engine.handle(self.now, id, Event::Failed(SocketError::Exhausted));
        }
        self.engine.wake(id);
        self.carry_out_actions();
    }

    /// Idle upstream connections of other loops hold descriptors, too.
    pub(super) fn ask_others_to_shed(&mut self) {
        if self.shortage.may_ask(self.now) {
            self.tell_others(&WorkerMessage::ShedIdleUpstreams);
        }
    }
}
