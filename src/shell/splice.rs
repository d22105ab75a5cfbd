//! Moves bytes from socket to socket inside the kernel, and from stored bodies to sockets without a copy, through pipes that
//! are kept for reuse.
//!
//! A pipe is lent with the bytes that enter it and belongs to the socket that they go to; it comes back when it is empty, and
//! otherwise is dropped with that socket. Bytes enter only an empty pipe: EAGAIN with bytes inside would not show whether the
//! source is empty or the pipe is full.
//!
//! For a stored body, a pipe contains references to pages of the body. The sender still counts their bytes as not
//! sent, so such a pipe may be dropped at any time.

use crate::engine::{Outgoing, SocketError};
use mio::net::TcpStream;
use std::io::{self, IoSlice};

/// The result of an attempt to move bytes from a source.
#[derive(Debug)]
// On a system without splice only `NoPipe` occurs.
#[cfg_attr(not(all(target_os = "linux", feature = "splice")), allow(dead_code))]
pub enum Moved {
    /// The source had nothing.
    Nothing,
    /// The pipe contains so many bytes.
    Bytes(usize, Box<Pipe>),
    /// The source has finished.
    End,
    /// The source has failed.
    Failed(SocketError),
    /// No pipe is free: the bytes go through memory.
    NoPipe,
}

pub use system::{AVAILABLE, Pipe, Pipes, send_ahead};

#[cfg(all(target_os = "linux", feature = "splice"))]
mod system {
    use super::super::page_pipes::PagePipes;
    use super::{IoSlice, Moved, Outgoing, TcpStream, io};
    use crate::engine::SLICES_MAX;
    use rustix::io::Errno;
    use rustix::pipe::{
        IoSliceRaw, PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice, tee, vmsplice,
    };
    use std::os::fd::OwnedFd;

    /// Whether this system supports splicing.
    pub const AVAILABLE: bool = true;

    /// Room in a pipe (measured: pipes of less are not worth having beside copying 32 KB at a time).
    const PIPE_BYTES: usize = 256 * 1024;

    /// Most pipes with bytes in all loops; further sockets copy (chosen: half of the pipes of this size that one unprivileged
    /// user gets, because a stalled reader keeps its pipe).
    const LENT_MAX: usize = 128;

    /// Empty pipes that are kept (chosen: one thread fills and empties a few at a time; each has two descriptors).
    const IDLE_MAX: usize = 16;

    /// Requests for a new pipe that are refused after the system could not make one of the wanted size (chosen: a read need
    /// not meet the user's limit of pipes again each time).
    const REFUSED_FOR: u32 = 1000;

    /// Sends bytes that a pipe's bytes follow at once: the system waits for these before it makes a packet.
    pub fn send_ahead(stream: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let socket = socket2::SockRef::from(stream);
        match slices {
            [slice] => socket.send_with_flags(slice, libc::MSG_MORE),
            _ => socket.send_vectored_with_flags(slices, libc::MSG_MORE),
        }
    }

    /// A pipe, and how many bytes it holds.
    #[derive(Debug)]
    pub struct Pipe {
        read: OwnedFd,
        write: OwnedFd,
        bytes: usize,
        /// The bytes are pages of a stored body.
        refers: bool,
    }

    /// The pipes of one loop.
    #[derive(Debug)]
    pub struct Pipes {
        // Empty pipes. Boxed, because pipes move as boxes: most sockets have none.
        #[allow(clippy::vec_box)]
        idle: Vec<Box<Pipe>>,
        page_pipes: PagePipes,
        lent: usize,
        lent_max: usize,
        refused_for: u32,
        /// A pipe was taken since `rest` was last called.
        used: bool,
    }

    impl Pipes {
        /// The pipes for one of so many loops.
        pub fn new(loops: usize) -> Pipes {
            Pipes {
                idle: Vec::new(),
                page_pipes: PagePipes::default(),
                lent: 0,
                lent_max: LENT_MAX.div_ceil(loops.max(1)),
                refused_for: 0,
                used: false,
            }
        }

        /// Moves at most `bytes_max` bytes from a socket into a pipe.
        pub fn fill(&mut self, source: &TcpStream, bytes_max: usize) -> Moved {
            let Some(mut pipe) = self.take() else { return Moved::NoPipe };
            let outcome = pipe.fill(source, bytes_max);
            match outcome {
                Ok(0) => {}
                Ok(count) => {
                    (pipe.bytes, pipe.refers) = (count, false);
                    return Moved::Bytes(count, pipe);
                }
                Err(_) => {}
            }
            self.put(pipe);
            match outcome {
                Ok(_) => Moved::End,
                Err(Errno::AGAIN) => Moved::Nothing,
                // The system does not accept the pipe, or has no memory for its pages: no fault of the source.
                Err(Errno::INVAL | Errno::NOMEM | Errno::NOBUFS) => Moved::NoPipe,
                Err(error) => Moved::Failed(io::Error::from(error).into()),
            }
        }

        /// A pipe that contains the pages of the last of these slices, as many as fit, in place of their bytes, and the
        /// slices to send before it; `None` if no pipe is free.
        pub fn refer<'a, 'o>(&mut self, outgoing: &'o Outgoing<'a>) -> Option<(Box<Pipe>, &'o [&'a [u8]])> {
            let mut pipe = self.take()?;
            let (ahead, pages) = outgoing.split();
            let page_pipe = match outgoing.whole {
                Some(body) if body.len() <= PIPE_BYTES as u64 => self.page_pipes.find(body, pages),
                Some(_) | None => None,
            };
            let filled = match page_pipe {
                Some(page_pipe) => pipe.take_same(page_pipe),
                None => pipe.refer(pages),
            };
            pipe.bytes = filled.unwrap_or(0);
            pipe.refers = true;
            if pipe.bytes > 0 {
                return Some((pipe, ahead));
            }
            self.put(pipe);
            None
        }

        /// Takes back an empty pipe, or throws away one that holds bytes.
        pub fn put(&mut self, pipe: Box<Pipe>) {
            self.lent -= 1;
            if pipe.bytes == 0 && self.idle.len() < IDLE_MAX {
                self.idle.push(pipe);
            }
        }

        /// Closes the empty pipes and the page pipes, because descriptors are needed. False if none was kept.
        pub fn shed(&mut self) -> bool {
            let any = self.are_kept();
            self.idle.clear();
            self.page_pipes.clear();
            // New pipes must not take the descriptors at once.
            self.refused_for = REFUSED_FOR;
            any
        }

        fn take(&mut self) -> Option<Box<Pipe>> {
            if self.lent >= self.lent_max {
                return None;
            }
            let pipe = match self.idle.pop() {
                Some(pipe) => pipe,
                None if self.refused_for > 0 => {
                    self.refused_for -= 1;
                    return None;
                }
                None => match Pipe::new() {
                    Ok(pipe) => Box::new(pipe),
                    Err(error) => {
                        log::debug!("no pipe to splice through ({error}): copying instead");
                        self.refused_for = REFUSED_FOR;
                        return None;
                    }
                },
            };
            self.lent += 1;
            self.used = true;
            Some(pipe)
        }

        /// Whether empty pipes or page pipes are kept; then `rest` should be called after some seconds.
        pub fn are_kept(&self) -> bool {
            !self.idle.is_empty() || !self.page_pipes.is_empty()
        }

        /// Drops the pages of dropped bodies.
        pub fn tidy(&mut self) {
            self.page_pipes.tidy();
        }

        /// Closes the empty pipes and the page pipes if no pipe was taken since the last call.
        pub fn rest(&mut self) {
            if !std::mem::take(&mut self.used) {
                self.idle.clear();
                self.page_pipes.clear();
            }
        }
    }

    impl Pipe {
        fn new() -> io::Result<Pipe> {
            let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
            // The system may grant less than requested, without an error.
            let granted = fcntl_setpipe_size(&write, PIPE_BYTES)?;
            if granted < PIPE_BYTES {
                return Err(io::Error::other(format!("{granted} bytes were granted")));
            }
            Ok(Pipe { read, write, bytes: 0, refers: false })
        }

        /// A pipe that contains all these pages, `bytes` bytes in total.
        pub fn filled(pages: &[&[u8]], bytes: u64) -> Option<Pipe> {
            let mut pipe = Pipe::new().ok()?;
            pipe.bytes = pipe.refer(pages).ok()?;
            (pipe.bytes as u64 == bytes).then_some(pipe)
        }

        /// Copies the references to pages from another pipe, which keeps them.
        pub fn take_same(&self, other: &Pipe) -> rustix::io::Result<usize> {
            tee(&other.read, &self.write, PIPE_BYTES, SpliceFlags::NONBLOCK)
        }

        fn fill(&self, source: &TcpStream, bytes_max: usize) -> rustix::io::Result<usize> {
            let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
            loop {
                match splice(source, None, &self.write, None, bytes_max.min(PIPE_BYTES), flags) {
                    Err(Errno::INTR) => {}
                    outcome => return outcome,
                }
            }
        }

        #[allow(unsafe_code)]
        fn refer(&self, slices: &[&[u8]]) -> rustix::io::Result<usize> {
            let slice = |index| slices.get(index).copied().unwrap_or_default();
            let raw: [IoSliceRaw<'_>; SLICES_MAX] =
                std::array::from_fn(|index| IoSliceRaw::from_slice(slice(index)));
            // SAFETY: this is the writing end, so nothing is written to the slices, and the pages are not given away. A later
            // change of the pages, while the pipe or a socket refers to them, would be unwanted, not unsound; it does not
            // happen (Outgoing::split).
            unsafe { vmsplice(&self.write, &raw, SpliceFlags::NONBLOCK) }
        }

        /// Bytes inside.
        pub fn len(&self) -> usize {
            self.bytes
        }

        /// Whether the content is references to bytes that the sender still counts as not sent.
        pub fn refers(&self) -> bool {
            self.refers
        }

        /// Moves the content to a socket, as far as the socket accepts it.
        pub fn drain(&mut self, sink: &TcpStream) -> io::Result<usize> {
            let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
            let count = splice(&self.read, None, sink, None, self.bytes, flags)?;
            self.bytes -= count;
            Ok(count)
        }
    }

    #[cfg(test)]
    impl Pipe {
        pub fn empty() -> io::Result<Pipe> {
            Pipe::new()
        }

        /// Reads the content, as far as it fits.
        pub fn read_to(&self, bytes: &mut [u8]) -> usize {
            let mut count = 0;
            while let Ok(more @ 1..) = rustix::io::read(&self.read, &mut bytes[count..]) {
                count += more;
            }
            count
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// Pipes that are not in use are no reason to turn a connection away.
        #[test]
        fn empty_pipes_are_closed_where_descriptors_are_short() {
            let mut pipes = Pipes::new(1);
            let (first, second) = (pipes.take().unwrap(), pipes.take().unwrap());
            pipes.put(first);
            assert!(pipes.shed(), "the one that came back");
            assert!(!pipes.shed() && pipes.take().is_none());
            assert_eq!((pipes.idle.len(), pipes.lent), (0, 1));
            pipes.put(second);
            let second = pipes.take().expect("one that has its descriptors already");
            // After a while there may be descriptors for others again.
            assert!((0..REFUSED_FOR).any(|_| pipes.take().is_some()));
            pipes.put(second);
            assert_eq!((pipes.idle.len(), pipes.lent), (1, 1));
        }
    }
}

#[cfg(not(all(target_os = "linux", feature = "splice")))]
mod system {
    use super::{IoSlice, Moved, Outgoing, TcpStream, io};

    /// This system, or this build, cannot do it.
    pub const AVAILABLE: bool = false;

    /// Sends bytes that a pipe's bytes follow.
    pub fn send_ahead(mut stream: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        io::Write::write_vectored(&mut stream, slices)
    }

    /// Has no value: this system has no pipes for splicing.
    #[derive(Debug)]
    pub enum Pipe {}

    /// Stands in for the pipes.
    #[derive(Debug)]
    pub struct Pipes;

    impl Pipes {
        /// No pipes, for any number of loops.
        pub fn new(_loops: usize) -> Pipes {
            Pipes
        }

        /// Always `NoPipe`.
        pub fn fill(&mut self, _source: &TcpStream, _bytes_max: usize) -> Moved {
            Moved::NoPipe
        }

        /// Always `None`.
        pub fn refer<'a, 'o>(&mut self, _outgoing: &'o Outgoing<'a>) -> Option<(Box<Pipe>, &'o [&'a [u8]])> {
            None
        }

        /// Always false: no pipe is open.
        pub fn shed(&mut self) -> bool {
            false
        }

        /// Always false: no pipe is kept.
        pub fn are_kept(&self) -> bool {
            false
        }

        /// Has no page pipe to drop.
        pub fn tidy(&mut self) {}

        /// Has no pipe to close.
        pub fn rest(&mut self) {}

        /// Is never called: no pipe exists.
        #[allow(clippy::boxed_local)]
        pub fn put(&mut self, pipe: Box<Pipe>) {
            match *pipe {}
        }
    }

    impl Pipe {
        /// Nothing inside.
        pub fn refers(&self) -> bool {
            match *self {}
        }

        /// Nothing inside.
        pub fn len(&self) -> usize {
            match *self {}
        }

        /// Nothing to move.
        pub fn drain(&mut self, _sink: &TcpStream) -> io::Result<usize> {
            match *self {}
        }
    }
}
