//! Encodes the chunked transfer coding (RFC 9112 section 7.1): the bytes around one chunk on its way out, wherever its payload is.

/// The last chunk and an empty trailer section.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The last chunk, when trailers and CRLF follow.
pub const LAST_CHUNK_BEFORE_TRAILERS: &[u8] = b"0\r\n";

/// The bytes behind the payload of the last chunk.
const END: &[u8; 7] = b"\r\n0\r\n\r\n";

/// Bytes of the END that every chunk's payload is followed by.
const LINE_END: u8 = 2;

/// The unsent part of the current chunk's frame.
#[derive(Debug, Default)]
pub struct Frame {
    /// "40000\r\n" is the longest header, for a full pipe; "0\r\n\r\n" ends the body.
    header: [u8; 8],
    header_start: u8,
    header_end: u8,
    /// Payload that the header has promised.
    owed: u32,
    /// Unsent bytes behind the payload.
    tail: u8,
    /// The last chunk is under way or sent.
    ended: bool,
}

impl Frame {
    /// Promises a chunk of so many bytes (1 to 0xFFFFF), once the one before is spent. The last one brings the end of the body
    /// along.
    pub fn begin(&mut self, payload: usize, last: bool) {
        debug_assert!(self.is_spent() && !self.ended);
        let (header, len) = chunk_header(payload);
        self.set_header(&header[..len]);
        self.owed = payload as u32;
        self.ended = last;
        self.tail = if last { END.len() as u8 } else { LINE_END };
    }

    /// Ends the body with a separate chunk.
    pub fn end(&mut self) {
        self.set_header(LAST_CHUNK);
        self.ended = true;
    }

    /// Leaves the end of the body to the caller, because trailers do not fit into the frame.
    pub fn leave_end(&mut self) {
        self.ended = true;
    }

    fn set_header(&mut self, header: &[u8]) {
        self.header[..header.len()].copy_from_slice(header);
        (self.header_start, self.header_end) = (0, header.len() as u8);
    }

    /// The bytes before the payload.
    pub fn header(&self) -> &[u8] {
        &self.header[usize::from(self.header_start)..usize::from(self.header_end)]
    }

    /// Unsent payload bytes of the chunk.
    pub fn owed(&self) -> u32 {
        self.owed
    }

    /// The bytes behind the payload.
    pub fn tail(&self) -> &'static [u8] {
        let end = usize::from(if self.ended { END.len() as u8 } else { LINE_END });
        &END[end - usize::from(self.tail).min(end)..end]
    }

    /// Whether nothing of the chunk is left to send.
    pub fn is_spent(&self) -> bool {
        self.header_start == self.header_end && self.owed == 0 && self.tail == 0
    }

    /// Whether the end of the body is under way or sent.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Accounts for sent bytes; returns how many of them were payload.
    pub fn handle_sent(&mut self, count: usize) -> usize {
        let header = count.min(self.header().len());
        self.header_start += header as u8;
        let payload = (count - header).min(self.owed as usize);
        self.owed -= payload as u32;
        self.tail -= (count - header - payload) as u8;
        payload
    }
}

/// Bytes of the longest chunk header: 16 digits and CRLF.
pub const CHUNK_HEADER_BYTES_MAX: usize = 18;

/// The header of a chunk of `len` bytes, such as `1f4` CRLF, and its length in the array. `len` must not be 0, which would be
/// the last chunk.
pub fn chunk_header(len: usize) -> ([u8; CHUNK_HEADER_BYTES_MAX], usize) {
    debug_assert!(len > 0, "a chunk of no bytes ends the message");
    let mut header = [0; CHUNK_HEADER_BYTES_MAX];
    let len = len as u64;
    let digits = ((67 - len.leading_zeros()) / 4).max(1) as usize;
    for (index, to) in header[..digits].iter_mut().enumerate() {
        let digit = (len >> (4 * (digits - 1 - index)) & 15) as usize;
        *to = b"0123456789abcdef"[digit];
    }
    header[digits] = b'\r';
    header[digits + 1] = b'\n';
    (header, digits + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that goes out, in pieces.
    fn sent(payloads: &[&[u8]], end_apart: bool, piece: usize) -> Vec<u8> {
        let (mut frame, mut out) = (Frame::default(), Vec::new());
        let mut send = |frame: &mut Frame, payload: &[u8]| {
            let mut rest = payload;
            while !frame.is_spent() {
                assert_eq!(frame.owed() as usize, rest.len());
                let now = [frame.header(), rest, frame.tail()].concat();
                let count = piece.min(now.len());
                out.extend_from_slice(&now[..count]);
                rest = &rest[frame.handle_sent(count)..];
            }
        };
        for (index, payload) in payloads.iter().enumerate() {
            frame.begin(payload.len(), !end_apart && index + 1 == payloads.len());
            send(&mut frame, payload);
        }
        if end_apart {
            frame.end();
            send(&mut frame, b"");
        }
        assert!(frame.has_ended());
        out
    }

    #[test]
    fn rule_16_chunks_survive_every_split() {
        let long = [b'x'; 0x1234];
        let payloads: [&[u8]; 3] = [b"a", b"0123456789abcdef", &long];
        let expected =
            [&b"1\r\na\r\n10\r\n0123456789abcdef\r\n1234\r\n"[..], &long, b"\r\n0\r\n\r\n"].concat();
        for piece in [1, 2, 3, 7, 1000, 10_000] {
            for end_apart in [false, true] {
                assert!(sent(&payloads, end_apart, piece) == expected, "{piece} {end_apart}");
            }
        }
        let mut frame = Frame::default();
        assert!(frame.is_spent() && !frame.has_ended() && frame.tail().is_empty());
        frame.leave_end();
        assert!(frame.has_ended() && frame.is_spent());
    }
}
