//! Listening sockets.

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};

/// Connections that the system keeps for us until they are taken (chosen; the system caps it at its own limit).
const BACKLOG: i32 = 4096;

/// A listening socket with its readiness.
#[derive(Debug)]
pub struct Listener {
    inner: mio::net::TcpListener,
    /// Connections may be waiting.
    pub ready: bool,
}

/// Listens on an address; port 0 takes any free one. An IPv6 wildcard takes IPv4, too, where the system does that.
pub fn bind(address: SocketAddr) -> io::Result<Listener> {
    let socket = unbound(address)?;
    listen(&socket, address)?;
    Ok(Listener::new(socket))
}

/// The same for so many loops: a listener for each, among which the system deals out connections.
///
/// Each has `SO_REUSEPORT`, with which also another process of the same user could have the port. So the first one takes
/// the port without it, fails if any process has it, and only then lets the others in: a second weir fails as it does
/// otherwise, whenever it comes. Other users are kept out by the system.
pub fn bind_for(loops: usize, address: SocketAddr) -> io::Result<Vec<Listener>> {
    let first = unbound(address)?;
    listen(&first, address)?;
    if loops > 1 {
        first.set_reuse_port(true)?;
    }
    let address = first.local_addr()?.as_socket().unwrap_or(address);
    let mut listeners = vec![Listener::new(first)];
    for _ in 1..loops {
        let next = unbound(address)?;
        next.set_reuse_port(true)?;
        listen(&next, address)?;
        listeners.push(Listener::new(next));
    }
    Ok(listeners)
}

/// Whether an address could be had; no client is accepted.
pub fn try_bind(address: SocketAddr) -> io::Result<()> {
    unbound(address)?.bind(&SockAddr::from(address))
}

fn unbound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Inherited by every connection that is taken.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn listen(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)
}

impl Listener {
    /// A socket that listens already.
    pub fn ready_made(socket: TcpListener) -> io::Result<Listener> {
        let socket = Socket::from(socket);
        // Inherited by every connection that is taken.
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(Listener::new(socket))
    }

    fn new(socket: Socket) -> Listener {
        Listener { inner: mio::net::TcpListener::from_std(socket.into()), ready: true }
    }

    /// Where it listens.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// Has the system report connections.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.inner, token, Interest::READABLE)
    }

    /// Has the system report no more connections.
    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        registry.deregister(&mut self.inner)
    }

    /// Another descriptor of the same socket.
    pub fn try_clone(&self) -> io::Result<OwnedFd> {
        self.inner.as_fd().try_clone_to_owned()
    }

    /// Takes one connection; `None` if none waits. After an error, such as a shortage of descriptors,
    /// try again later.
    pub fn accept(&mut self) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        loop {
            match self.inner.accept() {
                Ok((stream, address)) => {
                    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
                    return Ok(Some((stream, address)));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.ready = false;
                    return Ok(None);
                }
                // The client was gone before it was taken.
                Err(error)
                    if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether the process or the system has run out of something that may come back.
pub fn is_shortage(error: &io::Error) -> bool {
    // No space: epoll watches no more (/proc/sys/fs/epoll/max_user_watches).
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::NOSPC]
        .iter()
        .any(|shortage| error.raw_os_error() == Some(shortage.raw_os_error()))
}
