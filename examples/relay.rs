//! The floor: what any proxy must cost. A relay without a word of HTTP, one thread and one poll loop: accepts, dials one
//! fixed upstream for each connection, and passes bytes on in both directions.
//!
//! `cargo run --release --example relay -- [--splice] UPSTREAM`: listens on a free port of 127.0.0.1 and prints its
//! address. It copies through one buffer of 32 KB, or with `--splice` moves bytes through pooled pipes of 256 KB.

#[cfg(target_os = "linux")]
fn main() -> std::io::Result<()> {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("the floor is measured on Linux");
}

#[cfg(target_os = "linux")]
mod linux {
    use mio::net::{TcpListener, TcpStream};
    use mio::{Events, Interest, Poll, Token};
    use rustix::fd::OwnedFd;
    use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
    use slab::Slab;
    use std::collections::VecDeque;
    use std::io::{self, ErrorKind, Read, Write};
    use std::net::{Ipv4Addr, Shutdown, SocketAddr};

    const LISTENER: Token = Token(usize::MAX);
    const BUFFER_BYTES: usize = 32 * 1024;
    const PIPE_BYTES: usize = 256 * 1024;
    /// A splice that moves less than this has emptied the socket.
    const SHORT_BYTES: usize = 4096;
    /// Moved in one direction before others have their turn.
    const TURN_BYTES: usize = 256 * 1024;
    /// Pipes kept for the next direction that has something to say.
    const PIPES_MAX: usize = 64;

    struct Pipe {
        reader: OwnedFd,
        writer: OwnedFd,
        held: usize,
    }

    struct Side {
        stream: TcpStream,
        readable: bool,
        writable: bool,
        /// The end has come or will, so a short read does not mean that the next edge tells of it.
        ending: bool,
        /// Bytes from here that the other side did not take.
        rest: Vec<u8>,
        pipe: Option<Pipe>,
        /// Its end has been passed on.
        over: bool,
    }

    struct Relay {
        splicing: bool,
        buffer: Vec<u8>,
        pipes: Vec<Pipe>,
    }

    pub fn main() -> io::Result<()> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let splicing = arguments.iter().any(|word| word == "--splice");
        let upstream = arguments.iter().find_map(|word| word.parse::<SocketAddr>().ok());
        let upstream =
            upstream.ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "[--splice] ADDRESS:PORT"))?;
        let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        // Accepted sockets inherit it.
        socket2::SockRef::from(&listener).set_tcp_nodelay(true)?;
        println!("{}", listener.local_addr()?);
        let mut poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let mut events = Events::with_capacity(1024);
        let mut pairs: Slab<[Side; 2]> = Slab::new();
        let mut relay = Relay { splicing, buffer: vec![0; BUFFER_BYTES], pipes: Vec::new() };
        let mut cut_short = VecDeque::new();
        loop {
            let timeout = (!cut_short.is_empty()).then_some(std::time::Duration::ZERO);
            match poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                Err(_) | Ok(()) => {}
            }
            let mut turns: VecDeque<usize> = std::mem::take(&mut cut_short);
            for event in &events {
                if event.token() == LISTENER {
                    accept_all(&listener, upstream, &poll, &mut pairs)?;
                    continue;
                }
                let Token(token) = event.token();
                let Some(side) = pairs.get_mut(token / 2).map(|pair| &mut pair[token % 2]) else { continue };
                side.readable |= event.is_readable() || event.is_read_closed();
                side.writable |= event.is_writable();
                side.ending |= event.is_read_closed() || event.is_error();
                turns.push_back(token / 2);
            }
            for key in turns {
                let Some([client, origin]) = pairs.get_mut(key) else { continue };
                match relay.turn(client, origin).and_then(|up| Ok(up | relay.turn(origin, client)?)) {
                    Ok(_) if client.over && origin.over => drop(pairs.remove(key)),
                    Ok(true) => cut_short.push_back(key),
                    Ok(false) => {}
                    Err(_) => drop(pairs.remove(key)),
                }
            }
        }
    }

    fn accept_all(
        listener: &TcpListener,
        upstream: SocketAddr,
        poll: &Poll,
        pairs: &mut Slab<[Side; 2]>,
    ) -> io::Result<()> {
        loop {
            let client = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(_) => continue,
            };
            let origin = TcpStream::connect(upstream)?;
            origin.set_nodelay(true)?;
            let mut pair = [side(client, true), side(origin, false)];
            let place = pairs.vacant_entry();
            for (at, side) in pair.iter_mut().enumerate() {
                let token = Token(place.key() * 2 + at);
                poll.registry().register(&mut side.stream, token, Interest::READABLE | Interest::WRITABLE)?;
            }
            place.insert(pair);
        }
    }

    fn side(stream: TcpStream, writable: bool) -> Side {
        let (readable, ending, over) = (false, false, false);
        Side { stream, readable, writable, ending, rest: Vec::new(), pipe: None, over }
    }

    impl Relay {
        /// Moves what `from` has to say to `to`. True if it was cut short.
        fn turn(&mut self, from: &mut Side, to: &mut Side) -> io::Result<bool> {
            let mut moved = 0;
            while moved < TURN_BYTES && to.writable && !from.over {
                let step = if self.splicing { self.splice(from, to) } else { self.copy(from, to) };
                match step {
                    Ok(Some(count)) => moved += count,
                    Ok(None) => return Ok(false),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(moved >= TURN_BYTES)
        }

        fn copy(&mut self, from: &mut Side, to: &mut Side) -> io::Result<Option<usize>> {
            if from.rest.is_empty() {
                let Some(count) = ready(&mut from.readable, || from.stream.read(&mut self.buffer))? else {
                    return Ok(None);
                };
                if count == 0 {
                    from.over = true;
                    to.stream.shutdown(Shutdown::Write)?;
                    return Ok(None);
                }
                from.readable = count == BUFFER_BYTES || from.ending;
                let sent = ready(&mut to.writable, || to.stream.write(&self.buffer[..count]))?.unwrap_or(0);
                to.writable &= sent == count;
                from.rest.extend_from_slice(&self.buffer[sent..count]);
                return Ok(from.readable.then_some(sent));
            }
            let Some(sent) = ready(&mut to.writable, || to.stream.write(&from.rest))? else {
                return Ok(None);
            };
            from.rest.drain(..sent);
            Ok(Some(sent))
        }

        fn splice(&mut self, from: &mut Side, to: &mut Side) -> io::Result<Option<usize>> {
            if from.pipe.is_none() {
                if !from.readable {
                    return Ok(None);
                }
                from.pipe = Some(self.pipes.pop().map_or_else(new_pipe, Ok)?);
            }
            let Some(pipe) = from.pipe.as_mut() else { return Ok(None) };
            let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
            if pipe.held == 0 && from.readable {
                let fill = || Ok(splice(&from.stream, None, &pipe.writer, None, PIPE_BYTES, flags)?);
                match ready(&mut from.readable, fill)? {
                    Some(0) => {
                        from.over = true;
                        to.stream.shutdown(Shutdown::Write)?;
                    }
                    Some(count) => {
                        pipe.held = count;
                        from.readable = count >= SHORT_BYTES || from.ending;
                    }
                    None => {}
                }
            }
            if pipe.held == 0 {
                let spare = from.pipe.take().filter(|_| self.pipes.len() < PIPES_MAX);
                self.pipes.extend(spare);
                return Ok(None);
            }
            let empty = || Ok(splice(&pipe.reader, None, &to.stream, None, pipe.held, flags)?);
            let moved = ready(&mut to.writable, empty)?;
            pipe.held -= moved.unwrap_or(0);
            Ok(moved)
        }
    }

    fn new_pipe() -> io::Result<Pipe> {
        let (reader, writer) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        fcntl_setpipe_size(&writer, PIPE_BYTES)?;
        Ok(Pipe { reader, writer, held: 0 })
    }

    /// Does it if the socket is ready. None if the system would have had to wait: then the socket is not ready any more.
    fn ready(flag: &mut bool, attempt: impl FnOnce() -> io::Result<usize>) -> io::Result<Option<usize>> {
        if !*flag {
            return Ok(None);
        }
        match attempt() {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                *flag = false;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
