//! Decodes the chunked transfer coding (RFC 9112 section 7.1), in place.
//!
//! Theory of operation. The decoder has a state per byte for sizes, extensions, line ends and trailers, and a counter for
//! data. Data moves to the front of the caller's buffer, so bytes received in one block leave in the same block. Extensions
//! are checked and dropped; trailers are kept as lines until the message ends. Both are bounded, and so is the framing per
//! byte of payload that a peer may send: extensions, blanks, and leading zeros.
//!
//! Blanks may follow a size: the grammar allows them before a semicolon (BWS), many origins pad with them before the
//! end of the line, and every other proxy accepts them. No byte may stand before or between the digits.

use crate::http::fault::Fault;
use crate::http::fields::{is_tchar, is_token, is_value_byte, trim_end};

/// Bytes of the trailer section (chosen: a quarter of a head).
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;

/// Bytes of extensions and padding in a message beyond those that its payload allows (chosen).
pub const EXTENSION_BYTES_MAX: u32 = 16 * 1024;

/// Bytes of payload that pay for one byte of extension (chosen).
const PAYLOAD_PER_EXTENSION: u64 = 16;

/// Bytes of one chunk's extensions and padding (chosen).
pub const CHUNK_EXTENSION_BYTES_MAX: u32 = 1024;

/// Digits and blanks of one chunk's size that cost nothing (chosen: the largest size has 16 digits; origins that pad with
/// blanks do so up to 8, with each of many small chunks).
const SIZE_BYTES_FREE: u8 = 32;

/// Initial capacity for a trailer section, in a message that has one (chosen: a checksum and a signature).
const TRAILER_BYTES_MOSTLY: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the size, after that many digits.
    Size { digits: u8 },
    /// In the blanks behind the size, after that many bytes of the line.
    SizeBlank { bytes: u8 },
    /// In an extension.
    Extension(Extension),
    /// After the CR of the size line.
    SizeLineFeed,
    /// In the data; `remaining` bytes are to come.
    Data,
    /// After the data.
    DataReturn,
    /// After the CR that follows the data.
    DataLineFeed,
    /// In a trailer line.
    Trailer,
    /// After the CR of a trailer line.
    TrailerLineFeed,
    /// After the CRLF of an empty trailer line.
    Finished,
}

/// The position in `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ) BWS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    /// After the semicolon.
    BeforeName,
    Name,
    /// Blanks after the name.
    AfterName,
    /// After the equals sign.
    BeforeValue,
    Value,
    Quoted,
    /// After a backslash in quotes.
    Escaped,
    /// After the closing quote.
    Closed,
    /// Blanks after the value.
    AfterValue,
}

/// The result of one call of [`Decoder::decode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes of payload, now at the front of the buffer.
    pub payload: usize,
    /// Bytes of the coding that were read; fewer than given only if the message ended within them. The bytes behind
    /// the message stay unchanged behind the consumed ones.
    pub consumed: usize,
    /// The message is complete, trailers included.
    pub finished: bool,
}

/// Bytes of which some are no chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faulty {
    /// What is wrong.
    pub fault: Fault,
    /// Bytes of payload before the fault, now at the front of the buffer.
    pub payload: usize,
}

impl From<Faulty> for Fault {
    fn from(faulty: Faulty) -> Fault {
        faulty.fault
    }
}

/// Decodes one chunked body.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    /// Bytes of the current chunk, or while its size is read, the size so far.
    remaining: u64,
    /// The body belongs to a response: surplus whitespace of trailer lines is removed.
    mends: bool,
    /// Bytes of this chunk's extensions and padding.
    chunk_extension: u32,
    /// Payload that the message still has to deliver for its extensions so far. Counted in bytes of payload as they
    /// arrive: otherwise the result would depend on the pieces in which they arrive.
    owed_payload: u64,
    /// Complete trailer lines, then the incomplete one. Empty for nearly every message, and then without memory.
    trailers: Vec<u8>,
    /// Position of the incomplete line in `trailers`.
    trailer_line: usize,
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder::new()
    }
}

impl Decoder {
    /// A decoder before the first chunk of a request.
    pub fn new() -> Decoder {
        Decoder {
            state: State::Size { digits: 0 },
            remaining: 0,
            mends: false,
            chunk_extension: 0,
            owed_payload: 0,
            trailers: Vec::new(),
            trailer_line: 0,
        }
    }

    /// A decoder before the first chunk of a response. A blank before the colon of a trailer field is removed, and a folded
    /// line becomes part of the line before (RFC 9112 sections 5.1 and 5.2): a request with these is refused.
    pub fn of_response() -> Decoder {
        Decoder { mends: true, ..Decoder::new() }
    }

    /// The message is complete.
    pub fn is_finished(&self) -> bool {
        self.state == State::Finished
    }

    /// The trailer lines with their CRLFs, checked but not filtered: see `forwarding::write_trailers`.
    pub fn trailers(&self) -> &[u8] {
        &self.trailers[..self.trailer_line]
    }

    /// Decodes `bytes` and moves the payload to their front. After a fault the body can never be completed.
    pub fn decode(&mut self, bytes: &mut [u8]) -> Result<Decoded, Faulty> {
        let (mut at, mut payload) = (0, 0);
        while at < bytes.len() && self.state != State::Finished {
            if self.state == State::Data {
                let available = (bytes.len() - at) as u64;
                let run = self.remaining.min(available) as usize;
                if at != payload {
                    bytes.copy_within(at..at + run, payload);
                }
                at += run;
                payload += run;
                self.remaining -= run as u64;
                self.owed_payload = self.owed_payload.saturating_sub(run as u64);
                if self.remaining == 0 {
                    self.state = State::DataReturn;
                }
            } else {
                self.state = self.step(bytes[at]).map_err(|fault| Faulty { fault, payload })?;
                at += 1;
            }
        }
        Ok(Decoded { payload, consumed: at, finished: self.state == State::Finished })
    }

    /// Handles one byte that is not data.
    fn step(&mut self, byte: u8) -> Result<State, Fault> {
        match (self.state, byte) {
            (State::Size { digits }, _) => self.size(digits, byte),
            (State::SizeBlank { bytes }, _) => self.size_end(bytes, byte),
            (State::Extension(extension), _) => self.extension(extension, byte),
            (State::SizeLineFeed, b'\n') => {
                Ok(if self.remaining == 0 { State::Trailer } else { State::Data })
            }
            (State::SizeLineFeed, _) => Err(Fault::ChunkSize),
            (State::DataReturn, b'\r') => Ok(State::DataLineFeed),
            (State::DataLineFeed, b'\n') => Ok(State::Size { digits: 0 }),
            (State::DataReturn | State::DataLineFeed, _) => Err(Fault::ChunkEnd),
            (State::Trailer, b'\r') => Ok(State::TrailerLineFeed),
            (State::Trailer, _) => self.trailer_byte(byte),
            (State::TrailerLineFeed, b'\n') => self.trailer_end(),
            (State::TrailerLineFeed, _) => Err(Fault::TrailerSyntax),
            (State::Data | State::Finished, _) => Ok(self.state),
        }
    }

    fn size(&mut self, digits: u8, byte: u8) -> Result<State, Fault> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ if digits > 0 => return self.size_end(digits, byte),
            _ => return Err(Fault::ChunkSize),
        };
        if digits == 0 {
            (self.remaining, self.chunk_extension) = (0, 0);
        } else if digits >= SIZE_BYTES_FREE {
            self.spend()?;
        }
        if self.remaining > i64::MAX as u64 >> 4 {
            return Err(Fault::ChunkSize);
        }
        self.remaining = self.remaining << 4 | u64::from(digit);
        Ok(State::Size { digits: digits.saturating_add(1) })
    }

    /// Handles a byte behind the digits, after that many bytes of the line.
    fn size_end(&mut self, bytes: u8, byte: u8) -> Result<State, Fault> {
        match byte {
            b'\r' => Ok(State::SizeLineFeed),
            b';' => Ok(State::Extension(Extension::BeforeName)),
            b' ' | b'\t' => {
                if bytes >= SIZE_BYTES_FREE {
                    self.spend()?;
                }
                Ok(State::SizeBlank { bytes: bytes.saturating_add(1) })
            }
            _ => Err(Fault::ChunkSize),
        }
    }

    /// Counts a byte without payload.
    fn spend(&mut self) -> Result<(), Fault> {
        self.chunk_extension += 1;
        self.owed_payload += PAYLOAD_PER_EXTENSION;
        let owed_max = u64::from(EXTENSION_BYTES_MAX) * PAYLOAD_PER_EXTENSION;
        if self.chunk_extension > CHUNK_EXTENSION_BYTES_MAX || self.owed_payload > owed_max {
            return Err(Fault::ChunkExtensionTooLong);
        }
        Ok(())
    }

    fn extension(&mut self, state: Extension, byte: u8) -> Result<State, Fault> {
        use Extension as E;
        self.spend()?;
        let next = match (state, byte) {
            (E::BeforeName | E::AfterName | E::BeforeValue | E::AfterValue, b' ' | b'\t') => state,
            (E::BeforeName | E::Name, _) if is_tchar(byte) => E::Name,
            (E::BeforeValue | E::Value, _) if is_tchar(byte) => E::Value,
            (E::Name, b' ' | b'\t') => E::AfterName,
            (E::Value | E::Closed, b' ' | b'\t') => E::AfterValue,
            (E::Name | E::AfterName, b'=') => E::BeforeValue,
            (E::Name | E::AfterName | E::Value | E::Closed | E::AfterValue, b';') => E::BeforeName,
            (E::Name | E::AfterName | E::Value | E::Closed | E::AfterValue, b'\r') => {
                return Ok(State::SizeLineFeed);
            }
            (E::BeforeValue, b'"') => E::Quoted,
            (E::Quoted, b'"') => E::Closed,
            (E::Quoted, b'\\') => E::Escaped,
            (E::Quoted | E::Escaped, _) if is_value_byte(byte) => E::Quoted,
            (
                E::BeforeName
                | E::Name
                | E::AfterName
                | E::BeforeValue
                | E::Value
                | E::Quoted
                | E::Escaped
                | E::Closed
                | E::AfterValue,
                _,
            ) => return Err(Fault::ChunkExtension),
        };
        Ok(State::Extension(next))
    }

    fn trailer_byte(&mut self, byte: u8) -> Result<State, Fault> {
        if !is_value_byte(byte) {
            return Err(Fault::TrailerSyntax);
        }
        self.push_trailer(byte)?;
        Ok(State::Trailer)
    }

    fn push_trailer(&mut self, byte: u8) -> Result<(), Fault> {
        if self.trailers.len() >= TRAILER_BYTES_MAX {
            return Err(Fault::TrailerTooLarge);
        }
        if self.trailers.is_empty() {
            self.trailers.reserve(TRAILER_BYTES_MOSTLY);
        }
        self.trailers.push(byte);
        Ok(())
    }

    /// The end of a trailer line: an empty one ends the message.
    fn trailer_end(&mut self) -> Result<State, Fault> {
        let line = &self.trailers[self.trailer_line..];
        if line.is_empty() {
            return Ok(State::Finished);
        }
        if self.mends && matches!(line, [b' ' | b'\t', ..]) && self.trailer_line > 0 {
            // The line continues the line before.
            self.trailers[self.trailer_line - 2..self.trailer_line].fill(b' ');
        } else {
            self.check_trailer_name()?;
        }
        self.push_trailer(b'\r')?;
        self.push_trailer(b'\n')?;
        self.trailer_line = self.trailers.len();
        Ok(State::Trailer)
    }

    fn check_trailer_name(&mut self) -> Result<(), Fault> {
        let line = &self.trailers[self.trailer_line..];
        let colon = memchr::memchr(b':', line).ok_or(Fault::TrailerSyntax)?;
        let name = if self.mends { trim_end(&line[..colon]) } else { &line[..colon] };
        if !is_token(name) {
            return Err(Fault::TrailerSyntax);
        }
        let end = self.trailer_line + name.len();
        self.trailers.drain(end..self.trailer_line + colon);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode::{LAST_CHUNK, chunk_header};
    use super::*;

    type Outcome = Result<(Vec<u8>, usize, Vec<u8>), Fault>;

    /// Payload, bytes consumed and trailers, from pieces of the given size. `None` in front: not finished.
    fn decode(text: &[u8], piece: usize) -> Option<Outcome> {
        let mut decoder = Decoder::new();
        let (mut payload, mut consumed) = (Vec::new(), 0);
        for part in text.chunks(piece.max(1)) {
            let mut bytes = part.to_vec();
            let decoded = match decoder.decode(&mut bytes) {
                Ok(decoded) => decoded,
                Err(faulty) => return Some(Err(faulty.fault)),
            };
            payload.extend_from_slice(&bytes[..decoded.payload]);
            consumed += decoded.consumed;
            assert_eq!(&bytes[decoded.consumed..], &part[decoded.consumed..], "surplus stays");
            assert!(decoded.finished || decoded.consumed == part.len());
            if decoded.finished {
                assert!(decoder.is_finished());
                return Some(Ok((payload, consumed, decoder.trailers().to_vec())));
            }
        }
        None
    }

    /// The outcome, which must be equal for all ways to cut the text.
    fn decode_all_ways(text: &[u8]) -> Option<Outcome> {
        let whole = decode(text, text.len());
        for piece in [1, 2, 3, 5, 7] {
            assert_eq!(decode(text, piece), whole, "{piece} {:?}", String::from_utf8_lossy(text));
        }
        whole
    }

    #[test]
    fn rule_18_complete_bodies() {
        for (text, payload, trailers) in [
            ("0\r\n\r\n", "", ""),
            ("000\r\n\r\n", "", ""),
            ("5\r\nhello\r\n0\r\n\r\n", "hello", ""),
            ("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world", ""),
            ("000000000000000a\r\n0123456789\r\n0\r\n\r\n", "0123456789", ""),
            ("A\r\n\r\n\r\n\r\n\r\n\r\n\r\n00\r\n\r\n", "\r\n\r\n\r\n\r\n\r\n", ""),
            ("1;a\r\nx\r\n0\r\n\r\n", "x", ""),
            ("00000000000000000000000000000001\r\nx\r\n00000000000000000000000000000000\r\n\r\n", "x", ""),
            ("1 \r\nx\r\n0\t \r\n\r\n", "x", ""),
            ("1 ;a\r\nx\r\n0\t;a\r\n\r\n", "x", ""),
            ("1;a \r\nx\r\n0 ; a=b\t\r\n\r\n", "x", ""),
            ("1;a=\"b\"\t\r\nx\r\n0\r\n\r\n", "x", ""),
            ("1; a = b ;c;d=\"e\\\"\\\\;\t\u{e9}\" ;f\r\nx\r\n0;g=\"\"\r\n\r\n", "x", ""),
            ("1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\n", "x", "A: b\r\nC:\r\n"),
        ] {
            let expected = (payload.as_bytes().to_vec(), text.len(), trailers.as_bytes().to_vec());
            for after in ["", "GET / HTTP/1.1\r\n\r\n", "0\r\n\r\n"] {
                let longer = format!("{text}{after}");
                assert_eq!(decode_all_ways(longer.as_bytes()), Some(Ok(expected.clone())), "{longer:?}");
            }
            for len in 0..text.len() {
                assert_eq!(decode(&text.as_bytes()[..len], text.len()), None, "{text:?} cut at {len}");
            }
        }
    }

    #[test]
    fn rule_18_violations() {
        use Fault as F;
        for (text, fault) in [
            ("\r\n", F::ChunkSize),
            (";a\r\n", F::ChunkSize),
            ("x", F::ChunkSize),
            ("0x5\r\n", F::ChunkSize),
            ("+5\r\n", F::ChunkSize),
            ("-1\r\n", F::ChunkSize),
            (" 5\r\n", F::ChunkSize),
            ("\t5\r\n", F::ChunkSize),
            (" \r\n", F::ChunkSize),
            (" ;a\r\n", F::ChunkSize),
            ("5 5\r\n", F::ChunkSize),
            ("5\t0\r\n", F::ChunkSize),
            ("5 \n", F::ChunkSize),
            ("5 x\r\n", F::ChunkSize),
            ("5\x0b\r\n", F::ChunkSize),
            ("1_0\r\n", F::ChunkSize),
            ("5\n", F::ChunkSize),
            ("5\rx", F::ChunkSize),
            ("8000000000000000\r\n", F::ChunkSize),
            ("08000000000000000\r\n", F::ChunkSize),
            ("10000000000000000\r\n", F::ChunkSize),
            ("0000000000000000010000000000000005\r\n", F::ChunkSize),
            ("ffffffffffffffff\r\n", F::ChunkSize),
            ("1\r\nxx", F::ChunkEnd),
            ("1\r\nx\n", F::ChunkEnd),
            ("1\r\nx\rx", F::ChunkEnd),
            ("1\r\nx\r\n\r\n", F::ChunkSize),
            ("1;\r\n", F::ChunkExtension),
            ("1;;a\r\n", F::ChunkExtension),
            ("1;a=\r\n", F::ChunkExtension),
            ("1;=b\r\n", F::ChunkExtension),
            ("1;a b\r\n", F::ChunkExtension),
            ("1; \r\n", F::ChunkExtension),
            ("1 ; \r\n", F::ChunkExtension),
            ("1;a= \r\n", F::ChunkExtension),
            ("1;a \n", F::ChunkExtension),
            ("1;a=b c\r\n", F::ChunkExtension),
            ("1;a=b=c\r\n", F::ChunkExtension),
            ("1;a=\"b\r\n", F::ChunkExtension),
            ("1;a=\"b\"c\r\n", F::ChunkExtension),
            ("1;a=\"\0\"\r\n", F::ChunkExtension),
            ("1;a\n", F::ChunkExtension),
            ("1;a\rx", F::ChunkSize),
            ("0\r\nA b\r\n", F::TrailerSyntax),
            ("0\r\nA : b\r\n", F::TrailerSyntax),
            ("0\r\n: b\r\n", F::TrailerSyntax),
            ("0\r\nA: b\r\n c\r\n", F::TrailerSyntax),
            ("0\r\nA: b\n", F::TrailerSyntax),
            ("0\r\nA: b\rc", F::TrailerSyntax),
            ("0\r\nA: \0\r\n", F::TrailerSyntax),
            ("0\r\n\n", F::TrailerSyntax),
            ("0\r\n\rx", F::TrailerSyntax),
        ] {
            assert_eq!(decode_all_ways(text.as_bytes()), Some(Err(fault)), "{text:?}");
        }
    }

    #[test]
    fn the_largest_chunk_is_read() {
        let mut decoder = Decoder::new();
        let mut bytes = *b"7fffffffffffffff\r\nab";
        let decoded = decoder.decode(&mut bytes).unwrap();
        assert_eq!((decoded.payload, decoded.consumed, decoded.finished), (2, bytes.len(), false));
        assert_eq!(&bytes[..2], b"ab");
    }

    #[test]
    fn rule_18_extensions_are_bounded() {
        let chunk = |extension: u32| format!("1;{}\r\nx\r\n", "a".repeat(extension as usize));
        let (most, over) = (chunk(CHUNK_EXTENSION_BYTES_MAX - 1), chunk(CHUNK_EXTENSION_BYTES_MAX));
        assert_eq!(decode(most.as_bytes(), 4096), None);
        assert_eq!(decode(over.as_bytes(), 4096), Some(Err(Fault::ChunkExtensionTooLong)));
        // So are blanks and leading zeros, which say nothing either.
        let most = CHUNK_EXTENSION_BYTES_MAX as usize + usize::from(SIZE_BYTES_FREE);
        for (text, fits) in [
            (format!("1{}\r\nx\r\n", " ".repeat(most - 1)), true),
            (format!("1{}\r\nx\r\n", " ".repeat(most)), false),
            (format!("{:0>1$}\r\nx\r\n", 1, most), true),
            (format!("{:0>1$}\r\nx\r\n", 1, most + 1), false),
            (format!("{:0>1$}\t\t;a\r\nx\r\n", 1, most - 4), true),
            (format!("{:0>1$}\t\t;aa\r\nx\r\n", 1, most - 4), false),
        ] {
            let expected = if fits { None } else { Some(Err(Fault::ChunkExtensionTooLong)) };
            assert_eq!(decode(text.as_bytes(), 4096), expected, "{} bytes", text.len());
        }
        let zeros = format!("{:0>100}\r\nx\r\n", 1).repeat(EXTENSION_BYTES_MAX as usize / 68 + 20);
        assert_eq!(decode(zeros.as_bytes(), 4096), Some(Err(Fault::ChunkExtensionTooLong)));
        // Padding of small chunks, as some origins write it, costs nothing for any number of chunks.
        let padded = "1      \r\nx\r\n00000001\r\nx\r\n".repeat(10_000);
        assert_eq!(decode(padded.as_bytes(), 4096), None);
        // Each chunk is within its limit, but together they are all framing and no payload.
        let many = chunk(99).repeat(EXTENSION_BYTES_MAX as usize / 100 + 1);
        assert_eq!(decode(many.as_bytes(), 4096), Some(Err(Fault::ChunkExtensionTooLong)));
        // With enough payload any number of extensions is accepted.
        let paid = format!("800;{}\r\n{}\r\n", "a".repeat(99), "x".repeat(0x800)).repeat(1000);
        // Cut into any pieces.
        for piece in [1, 15, 4096, paid.len()] {
            assert_eq!(decode(paid.as_bytes(), piece), None, "in pieces of {piece}");
            assert_eq!(decode(many.as_bytes(), piece), Some(Err(Fault::ChunkExtensionTooLong)));
        }
    }

    #[test]
    fn rule_17_trailers_of_responses_are_put_right() {
        let trailers = |text: &str, new: fn() -> Decoder| {
            let text = format!("0\r\n{text}\r\n");
            let read = |piece: usize| {
                let mut decoder = new();
                for part in text.as_bytes().chunks(piece) {
                    decoder.decode(&mut part.to_vec())?;
                }
                Ok((decoder.is_finished(), String::from_utf8_lossy(decoder.trailers()).into_owned()))
            };
            let whole = read(text.len());
            assert!([1, 2, 3].into_iter().all(|piece| read(piece) == whole), "{text:?}");
            whole
        };
        for (text, expected) in [
            ("A : b\r\n", "A: b\r\n"),
            ("A \t :b\r\nC\t:\r\n", "A:b\r\nC:\r\n"),
            ("A: b\r\n c\r\n", "A: b   c\r\n"),
            ("A: b\r\n\tc : d\r\n e\r\nF : g\r\n", "A: b  \tc : d   e\r\nF: g\r\n"),
            ("A:\r\n \r\n", "A:   \r\n"),
        ] {
            assert_eq!(trailers(text, Decoder::of_response), Ok((true, expected.to_owned())), "{text:?}");
            assert_eq!(trailers(text, Decoder::new), Err(Fault::TrailerSyntax), "{text:?}");
        }
        let malformed =
            [" A: b\r\n", " \r\n", " : b\r\n", ": b\r\n", "A b: c\r\n", "A b : c\r\n", "A\r\n : b\r\n"];
        for text in malformed {
            assert_eq!(trailers(text, Decoder::of_response), Err(Fault::TrailerSyntax), "{text:?}");
        }
    }

    #[test]
    fn rule_19_trailers_are_bounded() {
        let text = |len: usize| format!("0\r\nA:{}\r\n\r\n", "x".repeat(len - 4));
        assert!(matches!(decode(text(TRAILER_BYTES_MAX).as_bytes(), 4096), Some(Ok(_))));
        let over = text(TRAILER_BYTES_MAX + 1);
        assert_eq!(decode(over.as_bytes(), 4096), Some(Err(Fault::TrailerTooLarge)));
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for len in [1, 9, 10, 15, 16, 255, 256, 4095, 4096, 65535, 65536, usize::MAX >> 1, usize::MAX] {
            let (header, used) = chunk_header(len);
            assert_eq!(std::str::from_utf8(&header[..used]).unwrap(), format!("{len:x}\r\n"));
        }
        let mut coding = Vec::new();
        for part in ["hello", " ", "world"] {
            let (header, used) = chunk_header(part.len());
            coding.extend_from_slice(&header[..used]);
            coding.extend_from_slice(part.as_bytes());
            coding.extend_from_slice(b"\r\n");
        }
        coding.extend_from_slice(LAST_CHUNK);
        assert_eq!(decode_all_ways(&coding), Some(Ok((b"hello world".to_vec(), coding.len(), Vec::new()))));
    }
}
