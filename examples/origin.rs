//! An origin for load tests that costs little: one thread, one poll loop, the same answer for every request head.
//!
//! `cargo run --release --example origin -- [PORT [BYTES]]`: listens on 127.0.0.1 (a free port, and bodies of 1024
//! bytes, unless said otherwise) and prints its address. Requests with bodies are not for it.

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

const LISTENER: Token = Token(usize::MAX);
/// Largest number of answers owed to one connection; beyond it, it is not read.
const OWED_MAX: usize = 1024;

struct Peer {
    stream: TcpStream,
    /// How much of `\r\n\r\n` has been seen at the end of what came.
    matched: usize,
    /// Answers not sent yet.
    owed: usize,
    /// Bytes of the first of them that were sent.
    sent: usize,
    readable: bool,
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let bad = |_| io::Error::new(ErrorKind::InvalidInput, "expected [PORT [BYTES]]");
    let port = arguments.next().transpose().map_err(bad)?.unwrap_or(0);
    let bytes = arguments.next().transpose().map_err(bad)?.unwrap_or(1024);
    let answer = [
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {bytes}\r\n\r\n"
        )
        .as_bytes(),
        &vec![b'x'; bytes],
    ]
    .concat();

    let port =
        u16::try_from(port).map_err(|_| io::Error::new(ErrorKind::InvalidInput, "PORT is at most 65535"))?;
    let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    println!("{}", listener.local_addr()?);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut peers = Slab::new();
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            Err(_) | Ok(()) => {}
        }
        for event in &events {
            if event.token() == LISTENER {
                accept_all(&listener, &poll, &mut peers)?;
            } else if let Some(peer) = peers.get_mut(event.token().0)
                && turn(peer, event, &answer).is_err()
            {
                peers.remove(event.token().0);
            }
        }
    }
}

fn accept_all(listener: &TcpListener, poll: &Poll, peers: &mut Slab<Peer>) -> io::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(_) => continue,
        };
        stream.set_nodelay(true)?;
        let place = peers.vacant_entry();
        poll.registry().register(&mut stream, Token(place.key()), Interest::READABLE | Interest::WRITABLE)?;
        place.insert(Peer { stream, matched: 0, owed: 0, sent: 0, readable: true });
    }
}

/// Reads and answers until neither goes on; an error means that the connection is over.
fn turn(peer: &mut Peer, event: &Event, answer: &[u8]) -> io::Result<()> {
    peer.readable |= event.is_readable() || event.is_read_closed();
    loop {
        if peer.owed > 0 && !send_owed(peer, answer)? {
            return Ok(());
        }
        if !peer.readable {
            return Ok(());
        }
        read_heads(peer)?;
    }
}

/// Sends what is owed; false if the socket takes no more.
fn send_owed(peer: &mut Peer, answer: &[u8]) -> io::Result<bool> {
    while peer.owed > 0 {
        match peer.stream.write(&answer[peer.sent..]) {
            Ok(taken) => peer.sent += taken,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if peer.sent == answer.len() {
            peer.owed -= 1;
            peer.sent = 0;
        }
    }
    Ok(true)
}

/// Counts the heads that have come.
fn read_heads(peer: &mut Peer) -> io::Result<()> {
    let mut block = [0; 16 * 1024];
    while peer.readable && peer.owed < OWED_MAX {
        match peer.stream.read(&mut block) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => {
                for &byte in &block[..length] {
                    count(peer, byte);
                }
                // A short read has emptied the socket, but a FIN behind it would go unseen until it is read again.
                if length < block.len() && peer.owed > 0 {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => peer.readable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn count(peer: &mut Peer, byte: u8) {
    peer.matched = match (byte, peer.matched) {
        (b'\r', 0 | 2) | (b'\n', 1 | 3) => peer.matched + 1,
        (b'\r', _) => 1,
        _ => 0,
    };
    if peer.matched == 4 {
        peer.matched = 0;
        peer.owed += 1;
    }
}
