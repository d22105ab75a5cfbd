//! Listening sockets.

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};

/// Connections that the system queues until they are accepted (chosen; the system has a limit, too).
const BACKLOG: i32 = 4096;

/// A listening socket with its readiness.
#[derive(Debug)]
pub struct Listener {
    inner: mio::net::TcpListener,
    /// Connections may be waiting.
    pub ready: bool,
}

/// Listens on an address; port 0 takes any free one. An IPv6 wildcard accepts IPv4, too, if the system supports that.
pub fn bind(address: SocketAddr) -> io::Result<Listener> {
    let socket = unbound(address)?;
    listen(&socket, address)?;
    Ok(Listener::new(socket))
}

/// Listens for so many loops: each has a listener, and the system distributes connections among them.
///
/// Each listener has `SO_REUSEPORT`, which would let another process of the same user share the port. So the first one binds
/// the port without it, fails if any process has the port, and only then sets the option for the others: a second weir always
/// fails as usual. The system keeps other users out.
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

/// Whether an address can be bound; no client is accepted.
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
    /// A socket that listens already. Any other socket would never report a connection.
    pub fn ready_made(socket: TcpListener) -> io::Result<Listener> {
        #[cfg(target_os = "linux")]
        if !rustix::net::sockopt::socket_acceptconn(&socket)? {
            return Err(io::Error::new(ErrorKind::InvalidInput, "a socket that was given does not listen"));
        }
        let socket = Socket::from(socket);
        // Inherited by every connection that is taken.
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(Listener::new(socket))
    }

    fn new(socket: Socket) -> Listener {
        Listener { inner: mio::net::TcpListener::from_std(socket.into()), ready: true }
    }

    /// The address of the listener.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// Registers the listener, so that the system reports connections.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.inner, token, Interest::READABLE)
    }

    /// Deregisters the listener.
    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        registry.deregister(&mut self.inner)
    }

    /// A duplicate of the descriptor.
    pub fn try_clone(&self) -> io::Result<OwnedFd> {
        self.inner.as_fd().try_clone_to_owned()
    }

    /// Accepts one connection; `None` if none waits. After an error, such as a shortage of descriptors, try again
    /// later.
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
                // The client closed before its connection was accepted.
                Err(error)
                    if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether the error is a shortage in the process or the system, which may end.
pub fn is_shortage(error: &io::Error) -> bool {
    // NOSPC: the limit of epoll is reached (/proc/sys/fs/epoll/max_user_watches).
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::NOSPC]
        .iter()
        .any(|shortage| error.raw_os_error() == Some(shortage.raw_os_error()))
}
