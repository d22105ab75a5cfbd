//! The origin.

use crate::pattern::Pattern;
use crate::{field, head_end, wrong};
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::SystemTime;
use weir::http::date::http_date;

const LISTENER: Token = Token(usize::MAX);
const BUFFER_BYTES: usize = 256 * 1024;
/// Bytes for one connection before others have their turn.
const TURN_BYTES: u64 = 1024 * 1024;

#[derive(Default)]
struct Exchange {
    /// The received part of the request head, or how much of the body is missing and where it begins.
    head: Vec<u8>,
    coming: u64,
    come: u64,
    /// Of the response: its head and the beginning of its body, and what is left.
    out: Vec<u8>,
    sent: usize,
    going: u64,
    gone: u64,
    right: bool,
}

struct Peer {
    stream: TcpStream,
    readable: bool,
    writable: bool,
    ending: bool,
    exchange: Exchange,
}

pub fn run(address: &str) -> io::Result<()> {
    let address: SocketAddr = address.parse().map_err(|_| wrong("ADDRESS:PORT"))?;
    let mut listener = TcpListener::bind(address)?;
    println!("{}", listener.local_addr()?);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut peers: Slab<Peer> = Slab::new();
    let (pattern, mut buffer) = (Pattern::new(), vec![0; BUFFER_BYTES]);
    let mut cut_short: Vec<usize> = Vec::new();
    loop {
        let timeout = (!cut_short.is_empty()).then_some(std::time::Duration::ZERO);
        match poll.poll(&mut events, timeout) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            Err(_) | Ok(()) => {}
        }
        let mut turns = std::mem::take(&mut cut_short);
        for event in &events {
            let Token(token) = event.token();
            if event.token() == LISTENER {
                accept_all(&listener, &poll, &mut peers)?;
            } else if let Some(peer) = peers.get_mut(token) {
                note(peer, event);
                turns.push(token);
            }
        }
        for token in turns {
            let Some(peer) = peers.get_mut(token) else { continue };
            match turn(peer, &pattern, &mut buffer) {
                Ok(true) => cut_short.push(token),
                Ok(false) => {}
                Err(_) => drop(peers.remove(token)),
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
        let (readable, writable, ending) = (false, true, false);
        place.insert(Peer { stream, readable, writable, ending, exchange: Exchange::default() });
    }
}

fn note(peer: &mut Peer, event: &Event) {
    peer.readable |= event.is_readable() || event.is_read_closed();
    peer.writable |= event.is_writable();
    peer.ending |= event.is_read_closed() || event.is_error();
}

/// Reads and answers. True if it was cut short; an error means that the connection is over.
fn turn(peer: &mut Peer, pattern: &Pattern, buffer: &mut [u8]) -> io::Result<bool> {
    let mut moved = 0;
    while moved < TURN_BYTES {
        let answering = peer.exchange.sent < peer.exchange.out.len() || peer.exchange.going > 0;
        if !(if answering { peer.writable } else { peer.readable }) {
            return Ok(false);
        }
        let step = if answering { send(peer, pattern) } else { receive(peer, pattern, buffer) };
        match step {
            Ok(count) => moved += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                *(if answering { &mut peer.writable } else { &mut peer.readable }) = false;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn send(peer: &mut Peer, pattern: &Pattern) -> io::Result<u64> {
    let exchange = &mut peer.exchange;
    let rest = &exchange.out[exchange.sent..];
    let sent = if rest.is_empty() {
        let sent = peer.stream.write(pattern.at(exchange.gone, exchange.going))?;
        exchange.gone += sent as u64;
        exchange.going -= sent as u64;
        sent
    } else {
        let sent = peer.stream.write(rest)?;
        exchange.sent += sent;
        sent
    };
    if exchange.sent == exchange.out.len() && exchange.going == 0 {
        // The memory stays for the next one.
        exchange.out.clear();
        exchange.sent = 0;
    }
    Ok(sent as u64)
}

fn receive(peer: &mut Peer, pattern: &Pattern, buffer: &mut [u8]) -> io::Result<u64> {
    let count = peer.stream.read(buffer)?;
    peer.readable = count == buffer.len() || peer.ending;
    if count == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let exchange = &mut peer.exchange;
    let mut bytes = &buffer[..count];
    if exchange.coming == 0 {
        exchange.head.extend_from_slice(bytes);
        let Some(end) = head_end(&exchange.head) else { return Ok(count as u64) };
        // Clients do not pipeline: the bytes that follow are the body.
        bytes = &bytes[count - (exchange.head.len() - end)..];
        begin(exchange, end, pattern)?;
    }
    exchange.right &= pattern.holds(exchange.come, bytes);
    exchange.come += bytes.len() as u64;
    exchange.coming = exchange.coming.checked_sub(bytes.len() as u64).ok_or(ErrorKind::InvalidData)?;
    if exchange.coming == 0 && exchange.out.is_empty() {
        let status = if exchange.right { "200 OK" } else { "422 Unprocessable Content" };
        write!(exchange.out, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")?;
    }
    Ok(count as u64)
}

/// Reads a head, and writes the answer to a GET.
fn begin(exchange: &mut Exchange, end: usize, pattern: &Pattern) -> io::Result<()> {
    let head = std::str::from_utf8(&exchange.head[..end]).map_err(|_| ErrorKind::InvalidData)?;
    let target = head.split(' ').nth(1).unwrap_or_default();
    let size = target.rsplit('/').next().and_then(|text| text.parse().ok()).unwrap_or(0);
    exchange.come = 0;
    exchange.right = true;
    if head.starts_with("POST") {
        exchange.coming = field(head, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    } else {
        let control = if target.contains("/fresh/") { "max-age=3600" } else { "no-store" };
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let date = http_date(unix.as_secs());
        let date = String::from_utf8_lossy(&date);
        write!(
            exchange.out,
            "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: {date}\r\n\
             Content-Type: application/octet-stream\r\nCache-Control: {control}\r\nContent-Length: {size}\r\n\r\n"
        )?;
        let first = pattern.at(0, size);
        exchange.out.extend_from_slice(first);
        exchange.gone = first.len() as u64;
        exchange.going = size - exchange.gone;
    }
    exchange.head.clear();
    Ok(())
}
