//! Listeners beside the proxy's: one thread accepts, and each connection has its own thread, with blocking reads and writes,
//! for the time of one answer. So they answer while the loops are busy.
//!
//! Clients may be hostile. Few connections are open at a time. A further one waits until the oldest has been open for a moment, in
//! which others are answered, and then ends it: a client that neither sends nor reads keeps no other client out. Each connection
//! has one deadline for everything.

use socket2::Socket;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Connections at a time (chosen: several times what monitoring systems and operators open at once).
const CONNECTIONS_MAX: usize = 8;

/// How long a connection has at least before a further one ends it (chosen: many times the time of an answer).
const PATIENCE: Duration = Duration::from_secs(1);

/// Pause of accepting after an error of the system (chosen).
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// The stack of a thread (chosen: several times the need of one snapshot).
const STACK_BYTES: usize = 256 * 1024;

/// Longest time that a client is given to take note of the end of an answer (chosen).
const LINGER: Duration = Duration::from_secs(1);

/// Bytes of a client that are thrown away meanwhile (chosen).
const LINGER_BYTES_MAX: usize = 64 * 1024;

/// The connections that are open, oldest first, each with its beginning.
type Sockets = VecDeque<(Arc<Socket>, Instant)>;

#[derive(Default)]
struct Open {
    sockets: Mutex<Sockets>,
    /// Notified when one of them has ended.
    left: Condvar,
}

impl Open {
    fn lock(&self) -> MutexGuard<'_, Sockets> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection. Beyond the limit it waits until one has ended, or the oldest has had its time and is ended.
    fn enter(&self, socket: &Arc<Socket>) {
        let mut open = self.lock();
        while let Some((oldest, since)) = open.front().filter(|_| open.len() >= CONNECTIONS_MAX) {
            match PATIENCE.saturating_sub(since.elapsed()) {
                Duration::ZERO => {
                    let _ = oldest.shutdown(Shutdown::Both);
                    open.pop_front();
                    log::debug!("a connection was ended to make room for another");
                }
                left => open = self.left.wait_timeout(open, left).unwrap_or_else(PoisonError::into_inner).0,
            }
        }
        open.push_back((Arc::clone(socket), Instant::now()));
    }

    fn leave(&self, socket: &Arc<Socket>) {
        self.lock().retain(|(other, _)| !Arc::ptr_eq(other, socket));
        self.left.notify_one();
    }
}

/// Starts threads that answer the connections of a listening socket until the process ends.
pub fn serve(
    name: &'static str,
    listener: Socket,
    answer: impl Fn(&Socket) + Send + Sync + 'static,
) -> io::Result<()> {
    let (open, answer) = (Arc::new(Open::default()), Arc::new(answer));
    let accept = move || {
        let mut refused = false;
        loop {
            match listener.accept() {
                Ok((socket, _)) => {
                    refused = false;
                    let socket = Arc::new(socket);
                    open.enter(&socket);
                    let (open, answer) = (Arc::clone(&open), Arc::clone(&answer));
                    let visit = move || {
                        answer(&socket);
                        open.leave(&socket);
                    };
                    // Without a thread the connection stays open until newer ones end it.
                    if let Err(error) = builder(name).spawn(visit) {
                        log::warn!("{name}: a connection cannot be served: {error}");
                    }
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(error) => {
                    if !std::mem::replace(&mut refused, true) {
                        log::warn!("{name}: cannot take connections: {error}");
                    }
                    thread::sleep(REFUSED_PAUSE);
                }
            }
        }
    };
    builder(name).spawn(accept).map(drop)
}

fn builder(name: &str) -> thread::Builder {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES)
}

/// A connection that has so long for everything.
pub struct Timed<'a> {
    socket: &'a Socket,
    until: Instant,
}

impl<'a> Timed<'a> {
    /// A socket whose deadline is `within` from now.
    pub fn new(socket: &'a Socket, within: Duration) -> Timed<'a> {
        Timed { socket, until: Instant::now() + within }
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        match self.until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }

    /// Reads until `is_whole` returns true, at most `bytes_max` bytes. `None` if the client sent more, or closed before.
    pub fn read_until(
        &mut self,
        bytes_max: usize,
        is_whole: impl Fn(&[u8]) -> bool,
    ) -> io::Result<Option<Vec<u8>>> {
        let (mut received, mut piece) = (Vec::new(), [0; 1024]);
        loop {
            let count = self.read(&mut piece)?;
            received.extend_from_slice(&piece[..count]);
            match (is_whole(&received), count) {
                (true, _) => return Ok(Some(received)),
                (false, 0) => return Ok(None),
                (false, _) if received.len() >= bytes_max => return Ok(None),
                (false, _) => {}
            }
        }
    }

    /// Ends the connection so that the client can read the whole answer: bytes that the client still sends are read and
    /// dropped, because otherwise the system would report a reset instead of the end.
    pub fn finish(mut self) {
        let _ = self.socket.shutdown(Shutdown::Write);
        self.until = self.until.min(Instant::now() + LINGER);
        let (mut total, mut piece) = (0, [0; 1024]);
        while let Ok(count) = self.read(&mut piece) {
            total += count;
            if count == 0 || total > LINGER_BYTES_MAX {
                break;
            }
        }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            self.socket.set_read_timeout(self.left()?)?;
            match (&mut &*self.socket).read(into) {
                // With a time-out, SIGSTOP and SIGCONT interrupt a call, too (signal(7)).
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.left()?)?;
        (&mut &*self.socket).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    /// Listens, and answers a line with the same line.
    fn echoing() -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = |socket: &Socket| {
            let mut timed = Timed::new(socket, Duration::from_secs(60));
            let line = timed.read_until(16, |bytes| bytes.ends_with(b"\n"));
            let _ = timed.write_all(&line.unwrap_or_default().unwrap_or_else(|| b"no".to_vec()));
            timed.finish();
        };
        serve("weir-test", listener.into(), answer).unwrap();
        address
    }

    fn ask(address: std::net::SocketAddr, request: &[u8]) -> Vec<u8> {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(request).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        answer
    }

    #[test]
    fn silent_clients_keep_no_other_one_out() {
        let address = echoing();
        let mut silent: Vec<TcpStream> =
            (0..3 * CONNECTIONS_MAX).map(|_| TcpStream::connect(address).unwrap()).collect();
        assert_eq!(ask(address, b"hello\n"), b"hello\n");
        // The oldest was ended, without an answer.
        assert_eq!(silent[0].read(&mut [0; 8]).unwrap_or(0), 0);
        // The newest of them is still there.
        let newest = silent.last_mut().unwrap();
        newest.write_all(b"late\n").unwrap();
        let mut answer = Vec::new();
        newest.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"late\n");
    }

    #[test]
    fn a_burst_is_answered() {
        let address = echoing();
        let clients: Vec<_> =
            (0..8 * CONNECTIONS_MAX).map(|_| thread::spawn(move || ask(address, b"hello\n"))).collect();
        for client in clients {
            assert_eq!(client.join().unwrap(), b"hello\n");
        }
    }

    #[test]
    fn requests_are_bounded() {
        let address = echoing();
        assert_eq!(ask(address, &[b'x'; 5000]), b"no");
        assert_eq!(ask(address, b"1234567890\n"), b"1234567890\n");
    }

    #[test]
    fn a_deadline_is_for_everything() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = Socket::from(listener.accept().unwrap().0);
        let mut timed = Timed::new(&socket, Duration::from_millis(1));
        assert!(timed.read(&mut [0; 8]).is_err(), "it was silent");
        thread::sleep(Duration::from_millis(2));
        assert_eq!(timed.write(b"late").unwrap_err().kind(), ErrorKind::TimedOut);
    }
}
