//! Listening sockets.

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

/// Connections that the system keeps for us until they are taken (chosen; the system caps it at its own limit).
const BACKLOG: i32 = 4096;

/// A listening socket with its readiness.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    /// Connections may be waiting.
    pub ready: bool,
}

/// Listens on an address; port 0 takes any free one. An IPv6 wildcard takes IPv4, too, where the system does that.
pub fn bind(address: SocketAddr) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Inherited by every connection that is taken.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(Listener { inner: TcpListener::from_std(socket.into()), ready: true })
}

impl Listener {
    /// Where it listens.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// Has the system report connections.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.inner, token, Interest::READABLE)
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
