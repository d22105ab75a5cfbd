//! Sockets of DNS queries: a fresh one for each, so that the system draws a new source port and answers cannot mix.

use crate::resolver::{QueryId, Transport};
use mio::net::{TcpStream, UdpSocket};
use mio::{Interest, Registry, Token};
use slab::Slab;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Largest reply taken: the most that TCP can carry (RFC 1035 section 4.2.2). Over UDP the query announces less.
const REPLY_BYTES_MAX: usize = 65_535;

/// All queries under way.
#[derive(Debug, Default)]
pub struct Queries {
    slots: Slab<(QueryId, Channel)>,
}

#[derive(Debug)]
enum Channel {
    Udp(UdpSocket),
    Tcp { stream: TcpStream, outgoing: Vec<u8>, incoming: Vec<u8> },
}

impl Queries {
    /// Sends a query, or begins to. The token of its socket is its index above `base`.
    pub fn begin(
        &mut self,
        registry: &Registry,
        base: usize,
        query: QueryId,
        server: SocketAddr,
        transport: Transport,
        message: &[u8],
    ) -> io::Result<()> {
        let slot = self.slots.vacant_entry();
        let token = Token(base + slot.key());
        let channel = match transport {
            Transport::Udp => {
                let any = match server {
                    SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                    SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
                };
                let mut socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
                socket.connect(server)?;
                registry.register(&mut socket, token, Interest::READABLE)?;
                socket.send(message)?;
                Channel::Udp(socket)
            }
            Transport::Tcp => {
                let mut stream = TcpStream::connect(server)?;
                registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
                let mut outgoing = (message.len() as u16).to_be_bytes().to_vec();
                outgoing.extend_from_slice(message);
                Channel::Tcp { stream, outgoing, incoming: Vec::new() }
            }
        };
        slot.insert((query, channel));
        Ok(())
    }

    /// Closes the socket of a query.
    pub fn end(&mut self, query: QueryId) {
        let place = self.slots.iter().find(|(_, (id, _))| *id == query).map(|(index, _)| index);
        if let Some(index) = place {
            self.slots.remove(index);
        }
    }

    /// The next complete reply, or the fault that ended the query.
    pub fn receive(&mut self, index: usize) -> Option<(QueryId, io::Result<Vec<u8>>)> {
        let (query, channel) = self.slots.get_mut(index)?;
        let query = *query;
        let reply = match channel {
            Channel::Udp(socket) => {
                let mut reply = vec![0; 4096];
                socket.recv(&mut reply).map(|count| {
                    reply.truncate(count);
                    Some(reply)
                })
            }
            Channel::Tcp { stream, outgoing, incoming } => exchange(stream, outgoing, incoming),
        };
        match reply {
            Ok(None) => None,
            Ok(Some(reply)) => Some((query, Ok(reply))),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => {
                self.slots.remove(index);
                Some((query, Err(error)))
            }
        }
    }
}

/// Sends the rest of the query and reads the available part of the reply.
fn exchange(
    stream: &mut TcpStream,
    outgoing: &mut Vec<u8>,
    incoming: &mut Vec<u8>,
) -> io::Result<Option<Vec<u8>>> {
    while !outgoing.is_empty() {
        match stream.write(outgoing) {
            Ok(count) => drop(outgoing.drain(..count)),
            Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let mut part = [0; 4096];
    loop {
        if let [high, low, message @ ..] = incoming.as_slice() {
            let announced = usize::from(u16::from_be_bytes([*high, *low]));
            if message.len() >= announced {
                let reply = message[..announced].to_vec();
                incoming.clear();
                return Ok(Some(reply));
            }
        }
        match stream.read(&mut part)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count if incoming.len() + count > REPLY_BYTES_MAX + 2 => {
                return Err(ErrorKind::InvalidData.into());
            }
            count => incoming.extend_from_slice(&part[..count]),
        }
    }
}
