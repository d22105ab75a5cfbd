//! A buffered reader: small items are copied out of the buffer, large items are received directly into their final
//! place.
//!
//! Many small items cost one read together, and a large item costs one read, which also brings the first bytes behind
//! it.

use std::io::{self, ErrorKind, IoSliceMut, Read};

/// Size of the buffer (chosen: it stays in the processor's caches).
pub const BUFFER_BYTES: usize = 128 * 1024;

/// An item of at least this size is received directly into its place (chosen: several times [`BEHIND_BYTES`]).
const LARGE_BYTES: usize = 16 * 1024;

/// Bytes behind a large item that are received together with it (chosen: enough for most of what stands between two
/// large bodies, so that it needs no read of its own).
const BEHIND_BYTES: usize = 1024;

/// A source of bytes, and the bytes that were read ahead.
#[derive(Debug)]
pub struct ReadAhead<R> {
    input: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl<R: Read> ReadAhead<R> {
    pub fn new(input: R) -> ReadAhead<R> {
        ReadAhead { input, buffer: vec![0; BUFFER_BYTES].into_boxed_slice(), start: 0, end: 0 }
    }

    /// Shows the next `bytes` bytes, at most a full buffer, without consuming them. Fewer at the end of the input.
    pub fn peek(&mut self, bytes: usize) -> io::Result<&[u8]> {
        let bytes = bytes.min(self.buffer.len());
        if self.buffer.len() - self.start < bytes {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        while self.end - self.start < bytes {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(0) => break,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(&self.buffer[self.start..self.end.min(self.start + bytes)])
    }

    /// Consumes bytes that were shown.
    pub fn consume(&mut self, bytes: usize) {
        self.start = self.end.min(self.start + bytes);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// The buffered bytes; reads once if there are none. Empty at the end of the input.
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.peek(1)?;
        Ok(&self.buffer[self.start..self.end])
    }

    /// Fills the space with the next bytes. Fails if the input ends earlier.
    pub fn read_exact(&mut self, mut space: &mut [u8]) -> io::Result<()> {
        while !space.is_empty() {
            let count = if self.start == self.end && space.len() >= LARGE_BYTES {
                self.receive(space)?
            } else {
                let here = self.fill_buf()?;
                let count = here.len().min(space.len());
                space[..count].copy_from_slice(&here[..count]);
                self.consume(count);
                count
            };
            if count == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            space = &mut space[count..];
        }
        Ok(())
    }

    /// Receives into the space; bytes that follow go into the empty buffer. Returns the bytes received into the space.
    fn receive(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let most = space.len();
        let count = loop {
            let mut places = [IoSliceMut::new(space), IoSliceMut::new(&mut self.buffer[..BEHIND_BYTES])];
            match self.input.read_vectored(&mut places) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                ended => break ended?,
            }
        };
        (self.start, self.end) = (0, count.saturating_sub(most));
        Ok(count.min(most))
    }

    /// Consumes `bytes` bytes. Fails if the input ends earlier.
    pub fn skip(&mut self, mut bytes: u64) -> io::Result<()> {
        while bytes > 0 {
            let here = self.fill_buf()?.len();
            if here == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let count = here.min(usize::try_from(bytes).unwrap_or(usize::MAX));
            self.consume(count);
            bytes -= count as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives at most so many bytes at a time, and counts how often it is asked.
    struct Source<'a> {
        bytes: &'a [u8],
        most: usize,
        reads: usize,
    }

    impl Read for Source<'_> {
        fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
            self.read_vectored(&mut [IoSliceMut::new(space)])
        }

        fn read_vectored(&mut self, places: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
            self.reads += 1;
            if self.reads % 3 == 1 {
                return Err(ErrorKind::Interrupted.into());
            }
            let (now, _) = self.bytes.split_at(self.bytes.len().min(self.most));
            let count = (&mut &*now).read_vectored(places)?;
            self.bytes = &self.bytes[count..];
            Ok(count)
        }
    }

    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|index| (index % 251) as u8).collect()
    }

    #[test]
    fn bytes_come_in_order_however_they_are_asked_for() {
        let bytes = pattern(1_000_000);
        let sizes = [1, 72, 300, LARGE_BYTES - 1, LARGE_BYTES, 64 * 1024, 5, 100_000, BUFFER_BYTES, 0];
        for most in [1000, 4096, 20_000, BUFFER_BYTES, usize::MAX] {
            let mut ahead = ReadAhead::new(Source { bytes: &bytes, most, reads: 0 });
            let mut at = 0;
            for (turn, size) in sizes.iter().cycle().enumerate().take_while(|(turn, _)| *turn < 24) {
                let expected = &bytes[at..at + size];
                match turn % 4 {
                    0 | 3 => {
                        assert!(ahead.peek(*size).unwrap() == expected, "{most} {turn}");
                        assert!(ahead.peek(size / 2).unwrap() == &expected[..size / 2], "{most} {turn}");
                        ahead.consume(*size);
                    }
                    1 => {
                        let mut space = vec![0; *size];
                        ahead.read_exact(&mut space).unwrap();
                        assert!(space == expected, "{most} {turn}");
                    }
                    _ => ahead.skip(*size as u64).unwrap(),
                }
                at += size;
            }
            assert!(at > 500_000);
            let left = bytes.len() - at;
            assert_eq!(ahead.peek(usize::MAX).unwrap().len(), left.min(BUFFER_BYTES));
            ahead.skip(left as u64 - 1).unwrap();
            assert_eq!(ahead.peek(2).unwrap(), &bytes[bytes.len() - 1..]);
            assert_eq!(ahead.skip(2).unwrap_err().kind(), ErrorKind::UnexpectedEof);
            assert_eq!(ahead.read_exact(&mut [0]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
            assert!(ahead.peek(1).unwrap().is_empty());
        }
    }

    #[test]
    fn large_things_take_one_read_each_and_small_ones_share_theirs() {
        let bytes = pattern(10 * 65_536 + 10 * 500 + BUFFER_BYTES);
        let mut ahead = ReadAhead::new(Source { bytes: &bytes, most: usize::MAX, reads: 0 });
        ahead.input.reads = 0;
        let mut space = vec![0; 65_536];
        for _ in 0..10 {
            ahead.read_exact(&mut space).unwrap();
            ahead.peek(500).unwrap();
            ahead.consume(500);
        }
        // Every third is interrupted.
        assert!(ahead.input.reads <= 15, "{}", ahead.input.reads);
        let before = ahead.input.reads;
        for _ in 0..100 {
            ahead.read_exact(&mut space[..1000]).unwrap();
        }
        assert!(ahead.input.reads - before <= 2 + 1, "{}", ahead.input.reads - before);
    }
}
