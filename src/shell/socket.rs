//! One TCP connection of a loop: a stream and its readiness.

use super::splice::{self, Moved, Pipe, Pipes};
use crate::engine::{Outgoing, SLICES_MAX, SocketError};
use crate::net::{SPACES_MAX, Space};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Pieces of stored bodies of this size or more go through a pipe (measured: at 32 KB that costs a fifth less than copying,
/// at 16 KB the same).
const REFERRED_BYTES_MIN: usize = 24 * 1024;

/// A stream with its readiness. A set bit is a guess that an attempt succeeds; a clear bit stays clear until the
/// system reports an edge.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    /// Bytes for this socket that never came to memory, or pages of a stored body to send next.
    pipe: Option<Box<Pipe>>,
    /// The handshake is under way.
    connecting: bool,
    /// Reading may succeed.
    pub readable: bool,
    /// Writing may succeed.
    pub writable: bool,
    end: End,
}

// Each connection has one, and most are idle. (With debug assertions mio keeps more in its stream.)
#[cfg(all(target_os = "linux", not(debug_assertions)))]
const _: () = assert!(size_of::<Option<Socket>>() <= 16);

/// The end of a connection, as the system has reported it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// Nothing.
    Open,
    /// The peer has sent its FIN or a reset: a short read is no reason to stop reading, or the end would be missed.
    Ending,
    /// Closed in both directions; unread bytes may be left.
    HungUp,
}

/// The result of an attempt to read.
#[derive(Debug)]
pub enum Received {
    Nothing,
    Bytes(usize),
    End,
    Failed(SocketError),
}

/// The result of an attempt to write.
#[derive(Debug)]
pub enum Sent {
    Nothing,
    Bytes(usize),
    Failed(SocketError),
}

impl Socket {
    /// A connection accepted from a listener: its request has often arrived already.
    pub fn accepted(stream: TcpStream) -> Socket {
        Socket { stream, pipe: None, connecting: false, readable: true, writable: true, end: End::Open }
    }

    /// Begins to connect.
    pub fn connect(address: SocketAddr) -> Result<Socket, SocketError> {
        let stream = TcpStream::connect(address).map_err(|error| match error.kind() {
            // No local port is left. With IPv6 the machine may just have no address of that family.
            ErrorKind::AddrNotAvailable if address.is_ipv4() => SocketError::Exhausted,
            _ => SocketError::from(error),
        })?;
        // Heads and bodies leave in one write each, so a small write must not wait for more bytes.
        let _ = stream.set_nodelay(true);
        Ok(Socket { stream, pipe: None, connecting: true, readable: false, writable: false, end: End::Open })
    }

    /// Registers for both directions, once and for all.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.stream, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Takes note of an edge.
    pub fn note(&mut self, event: &mio::event::Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
        let end = match (event.is_error(), event.is_read_closed(), event.is_write_closed()) {
            (true, _, _) | (_, true, true) => End::HungUp,
            (false, true, false) => End::Ending,
            (false, false, _) => End::Open,
        };
        self.end = self.end.max(end);
    }

    /// Whether the handshake has ended just now, and how.
    pub fn establish(&mut self) -> Option<Result<(), SocketError>> {
        if !self.connecting || !(self.writable || self.readable) {
            return None;
        }
        // Writable without an end or an error: the connection is established, without another system call.
        if self.writable && self.end == End::Open {
            self.connecting = false;
            return Some(Ok(()));
        }
        if let Ok(Some(error)) | Err(error) = self.stream.take_error() {
            return Some(Err(error.into()));
        }
        match self.stream.peer_addr() {
            Ok(_) => {
                self.connecting = false;
                Some(Ok(()))
            }
            Err(error) if error.kind() == ErrorKind::NotConnected => {
                (self.readable, self.writable) = (false, false);
                None
            }
            Err(error) => Some(Err(error.into())),
        }
    }

    /// Closed in both directions; unread bytes may be left.
    pub fn has_hung_up(&self) -> bool {
        self.end == End::HungUp
    }

    /// The error that the system holds for this connection, once.
    pub fn take_error(&mut self) -> Option<SocketError> {
        self.end = self.end.min(End::Ending);
        self.stream.take_error().ok().flatten().map(SocketError::from)
    }

    /// Reads once, with one system call for all parts of the space.
    pub fn receive(&mut self, space: &mut Space<'_>) -> Received {
        let room = space.len();
        if room == 0 || self.connecting {
            return Received::Nothing;
        }
        match unless_interrupted(|| read(&mut self.stream, space)) {
            Ok(0) => {
                self.readable = false;
                Received::End
            }
            Ok(count) => {
                self.readable = count == room || self.end >= End::Ending;
                Received::Bytes(count)
            }
            Err(error) => {
                self.readable = false;
                match error.kind() {
                    ErrorKind::WouldBlock => Received::Nothing,
                    _ => Received::Failed(error.into()),
                }
            }
        }
    }

    /// Moves bytes into a pipe. The source may have more bytes: a pipe is full by pieces, not by bytes.
    pub fn fill(&mut self, pipes: &mut Pipes, bytes_max: usize) -> Moved {
        if self.connecting {
            return Moved::Nothing;
        }
        let moved = pipes.fill(&self.stream, bytes_max);
        match moved {
            Moved::Nothing | Moved::End | Moved::Failed(_) => self.readable = false,
            Moved::Bytes(..) | Moved::NoPipe => {}
        }
        moved
    }

    /// Takes over a pipe with bytes for this socket.
    pub fn take_over(&mut self, pipe: Box<Pipe>) {
        debug_assert!(self.pipe.is_none());
        self.pipe = Some(pipe);
    }

    /// Takes the pipe if it is empty, or in any case.
    pub fn give_up_pipe(&mut self, in_any_case: bool) -> Option<Box<Pipe>> {
        self.pipe.take_if(|pipe| in_any_case || pipe.len() == 0)
    }

    /// Writes once, with one system call for all slices; without slices, the content of the pipe. Large pieces of stored
    /// bodies go through a pipe if one is free.
    pub fn send(&mut self, outgoing: &Outgoing<'_>, pipes: &mut Pipes) -> Sent {
        // A pipe with references holds the bytes to send next.
        if self.pipe.as_ref().is_some_and(|pipe| pipe.refers()) {
            return self.drain(0);
        }
        let apart = outgoing.split().1;
        if !apart.is_empty() && self.pipe.is_none() && length(apart) >= REFERRED_BYTES_MIN {
            if let Some((pipe, ahead)) = pipes.refer(outgoing) {
                self.pipe = Some(pipe);
                return self.send_and_drain(ahead, pipes);
            }
        }
        self.write(&outgoing[..], |stream, slices| match slices {
            [slice] => stream.write(slice),
            _ => stream.write_vectored(slices),
        })
    }

    /// Writes the bytes in front of the pipe's bytes, and then the pipe's bytes.
    fn send_and_drain(&mut self, ahead: &[&[u8]], pipes: &mut Pipes) -> Sent {
        let bytes = length(ahead);
        if bytes == 0 {
            return self.drain(0);
        }
        let sent = self.write(ahead, |stream, slices| splice::send_ahead(stream, slices));
        match sent {
            Sent::Bytes(count) if count == bytes => self.drain(bytes),
            Sent::Bytes(_) | Sent::Nothing | Sent::Failed(_) => {
                // The pipe is not used this time.
                self.pipe.take().into_iter().for_each(|pipe| pipes.put(pipe));
                sent
            }
        }
    }

    /// Writes the content of the pipe, after `ahead` bytes that were just written.
    fn drain(&mut self, ahead: usize) -> Sent {
        let Some(pipe) = &mut self.pipe else { return Sent::Nothing };
        let bytes = pipe.len();
        let sent = unless_interrupted(|| pipe.drain(&self.stream));
        match self.conclude(sent, bytes) {
            Sent::Bytes(count) => Sent::Bytes(ahead + count),
            Sent::Nothing if ahead > 0 => Sent::Bytes(ahead),
            Sent::Failed(_) if ahead > 0 => {
                // The next attempt fails again, and reports the error.
                self.writable = true;
                Sent::Bytes(ahead)
            }
            sent => sent,
        }
    }

    fn write(
        &mut self,
        slices: &[&[u8]],
        write_vectored: impl Fn(&mut TcpStream, &[IoSlice<'_>]) -> io::Result<usize>,
    ) -> Sent {
        let mut full = [IoSlice::new(&[]); SLICES_MAX];
        // As many as there are slices, mostly two.
        let room = &mut full[..slices.len()];
        let (mut used, mut bytes) = (0, 0);
        for slice in slices {
            if let (false, Some(place)) = (slice.is_empty(), room.get_mut(used)) {
                *place = IoSlice::new(slice);
                used += 1;
                bytes += slice.len();
            }
        }
        if used == 0 {
            return self.drain(0);
        }
        let sent = unless_interrupted(|| write_vectored(&mut self.stream, &full[..used]));
        self.conclude(sent, bytes)
    }

    /// Whether the last write was not taken as a whole, and the system has not reported since that there is room.
    pub fn has_stalled(&self) -> bool {
        !self.writable && !self.connecting
    }

    /// The result of writing so many bytes.
    fn conclude(&mut self, sent: io::Result<usize>, bytes: usize) -> Sent {
        match sent {
            Ok(count) => {
                self.writable = count == bytes;
                Sent::Bytes(count)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                self.writable = false;
                Sent::Nothing
            }
            Err(error) => {
                self.writable = false;
                Sent::Failed(error.into())
            }
        }
    }

    /// Ends sending. No effect if the peer has closed already.
    pub fn shutdown_write(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The number of bytes in the send buffer that have not left, because the peer or the network takes no more now; zero if the
    /// system does not tell.
    #[cfg(target_os = "linux")]
    #[allow(unsafe_code)]
    pub fn unsent_bytes(&self) -> usize {
        /// linux/sockios.h.
        const SIOCOUTQNSD: libc::Ioctl = 0x894B;
        let mut count: libc::c_int = 0;
        // SAFETY: the descriptor is open, and the request writes one int. No safe library has it.
        unsafe { libc::ioctl(self.stream.as_raw_fd(), SIOCOUTQNSD, &mut count) };
        usize::try_from(count).unwrap_or_default()
    }

    /// Not known elsewhere.
    #[cfg(not(target_os = "linux"))]
    pub fn unsent_bytes(&self) -> usize {
        0
    }

    /// Closes with a reset.
    pub fn reset(self) {
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }
}

fn length(slices: &[&[u8]]) -> usize {
    slices.iter().map(|slice| slice.len()).sum()
}

fn unless_interrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

fn read(stream: &mut TcpStream, space: &mut Space<'_>) -> io::Result<usize> {
    if let [stretch] = space.slices_mut() {
        return stream.read(stretch);
    }
    let mut stretches = [const { None }; SPACES_MAX];
    for (place, stretch) in stretches.iter_mut().zip(space.slices_mut()) {
        *place = Some(IoSliceMut::new(stretch));
    }
    let mut full = stretches.map(|stretch| stretch.unwrap_or_else(|| IoSliceMut::new(&mut [])));
    stream.read_vectored(&mut full)
}

impl From<io::Error> for SocketError {
    fn from(error: io::Error) -> SocketError {
        match error.kind() {
            ErrorKind::ConnectionRefused => SocketError::Refused,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => {
                SocketError::Unreachable
            }
            ErrorKind::TimedOut => SocketError::TimedOut,
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => SocketError::Reset,
            ErrorKind::BrokenPipe => SocketError::Closed,
            ErrorKind::OutOfMemory => SocketError::Exhausted,
            _ if super::listener::is_shortage(&error) => SocketError::Exhausted,
            _ => SocketError::Other,
        }
    }
}
