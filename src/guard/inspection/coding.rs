//! Content codings: gzip, deflate and br, decoded as they stream and within bounds.
//!
//! The decoder returns decoded bytes at once, in stretches, and stops when the receiver has enough: a small body that expands
//! to a huge one costs no more than the scanned part.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use std::fmt;
use std::ops::ControlFlow;

/// Decoded bytes that are returned at once (chosen: a block).
const STRETCH_BYTES: usize = 4096;

/// A content may expand to this many times its size (chosen: logs and tables of numbers stay below 50, and deflate ends at
/// 1032) ...
pub const RATIO_MAX: u64 = 200;

/// ... when it is longer than this (chosen: a form of blanks of this length is no bomb).
const RATIO_FREE_BYTES: u64 = 64 * 1024;

/// Bits of the window of gzip, as zlib counts them; 16 more select the gzip header.
const WINDOW_BITS: u8 = 15;

/// Bits of the largest window of br: 512 KB, more than detection reads of any content (chosen). A stream may request 16 MB
/// (RFC 7932 section 9.1), and fourteen bytes fill such a window before the decoder returns the first byte. The first 512 KB
/// of the content are equal with the smaller window: no distance leads to a position before the beginning.
const BROTLI_WINDOW_BITS_MAX: u32 = 19;

/// The greatest distance is this many bytes less than the window of br (RFC 7932 section 9.1).
const BROTLI_WINDOW_GAP: i32 = 16;

/// Heap of a decoder of gzip or deflate, in bytes (measured: 42 KB, including the window of 32 KB).
const INFLATE_HEAP_BYTES: usize = 42 * 1024;

/// Heap of a decoder of br without its window, in bytes (measured: 25 KB with texts).
const BROTLI_HEAP_BYTES: usize = 32 * 1024;

/// The coding of a content (RFC 9110 section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// No coding.
    Identity,
    /// gzip, or x-gzip.
    Gzip,
    /// deflate: with the header of zlib, or, as some senders do, without.
    Deflate,
    /// br (RFC 7932).
    Brotli,
    /// Another coding, or several.
    Unknown,
}

impl Coding {
    /// The coding in the lines of Content-Encoding.
    pub fn of<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Coding {
        let mut coding = Coding::Identity;
        for name in lines.into_iter().flat_map(|line| line.split(|byte| *byte == b',')) {
            let this = match name.trim_ascii().to_ascii_lowercase().as_slice() {
                b"" | b"identity" => continue,
                b"gzip" | b"x-gzip" => Coding::Gzip,
                b"deflate" => Coding::Deflate,
                b"br" => Coding::Brotli,
                _ => Coding::Unknown,
            };
            coding = if coding == Coding::Identity { this } else { Coding::Unknown };
        }
        coding
    }
}

/// The reason why a content cannot be decoded any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeFault {
    /// The content is malformed, or bytes follow its end.
    Broken,
    /// The content expands to more than [`RATIO_MAX`] times its size.
    Bomb,
}

/// Decodes a content.
pub struct Decoder {
    codec: Codec,
    coded: u64,
    decoded: u64,
}

type Brotli = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

enum Codec {
    /// At the beginning of a member, or within it.
    Gzip {
        inflate: Decompress,
        begun: bool,
    },
    Deflate(Decompress),
    /// The first byte shows, with the second, whether there is a header of zlib.
    DeflateHeader(Option<u8>),
    Brotli(Box<Brotli>),
    /// The content has ended.
    Ended,
}

impl fmt::Debug for Decoder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Decoder").field("coded", &self.coded).field("decoded", &self.decoded).finish()
    }
}

/// Receives decoded bytes; breaks when it has enough.
pub type Take<'t> = dyn FnMut(&[u8]) -> ControlFlow<()> + 't;

impl Decoder {
    /// `None` for a content without coding, or with an unknown one.
    pub fn new(coding: Coding) -> Option<Decoder> {
        let codec = match coding {
            Coding::Identity | Coding::Unknown => return None,
            Coding::Gzip => Codec::Gzip { inflate: Decompress::new_gzip(WINDOW_BITS), begun: false },
            Coding::Deflate => Codec::DeflateHeader(None),
            Coding::Brotli => {
                let [one, two, three] = [(); 3].map(|()| StandardAlloc::default());
                // Without the windows of up to a gigabyte that are not part of the standard.
                Codec::Brotli(Box::new(BrotliState::new_strict(one, two, three)))
            }
        };
        Some(Decoder { codec, coded: 0, decoded: 0 })
    }

    /// The present heap of the decoder, in bytes.
    pub fn heap_bytes(&self) -> usize {
        match &self.codec {
            Codec::Gzip { .. } | Codec::Deflate(_) => INFLATE_HEAP_BYTES,
            Codec::Brotli(state) => BROTLI_HEAP_BYTES + usize::try_from(state.ringbuffer_size).unwrap_or(0),
            Codec::DeflateHeader(_) | Codec::Ended => 0,
        }
    }

    /// Decodes the next piece of the coded content. If the receiver breaks, the rest of the piece is not decoded.
    pub fn push(&mut self, piece: &[u8], take: &mut Take<'_>) -> Result<(), DecodeFault> {
        let mut rest = piece;
        loop {
            let consumed = match &mut self.codec {
                Codec::DeflateHeader(first) => {
                    let Some(&byte) = rest.first() else { return Ok(()) };
                    let Some(first) = *first else {
                        self.codec = Codec::DeflateHeader(Some(byte));
                        (rest, self.coded) = (&rest[1..], self.coded + 1);
                        continue;
                    };
                    self.begin_deflate(first, byte, take)?;
                    0
                }
                Codec::Ended if rest.is_empty() => return Ok(()),
                Codec::Ended => return Err(DecodeFault::Broken),
                Codec::Gzip { .. } | Codec::Deflate(_) | Codec::Brotli(_) => {
                    let (consumed, produced, flow) = self.step(rest, take)?;
                    let idle = consumed == 0 && produced == 0;
                    if flow.is_break() || idle && rest.is_empty() {
                        return Ok(());
                    }
                    if idle {
                        return Err(DecodeFault::Broken);
                    }
                    consumed
                }
            };
            rest = &rest[consumed..];
        }
    }

    /// Whether the content has reached its regular end.
    pub fn is_complete(&self) -> bool {
        match &self.codec {
            // Another member may follow.
            Codec::Gzip { begun, .. } => !begun && self.coded > 0,
            Codec::Ended => true,
            Codec::Deflate(_) | Codec::DeflateHeader(_) | Codec::Brotli(_) => false,
        }
    }

    /// The header of zlib is a multiple of 31, and names method 8 (RFC 1950 section 2.2).
    fn begin_deflate(&mut self, first: u8, second: u8, take: &mut Take<'_>) -> Result<(), DecodeFault> {
        let is_zlib = first & 15 == 8 && u16::from_be_bytes([first, second]) % 31 == 0;
        self.codec = Codec::Deflate(Decompress::new(is_zlib));
        self.coded -= 1;
        // One byte cannot yield bytes that the receiver could refuse.
        self.step(&[first], take).map(|_| ())
    }

    /// Decodes as much as fits into a stretch; returns the bytes consumed and produced, and whether to continue.
    fn step(
        &mut self,
        rest: &[u8],
        take: &mut Take<'_>,
    ) -> Result<(usize, usize, ControlFlow<()>), DecodeFault> {
        let mut stretch = [0; STRETCH_BYTES];
        let (consumed, produced) = match &mut self.codec {
            Codec::Gzip { inflate, begun } => {
                let (consumed, produced, ended) = run_inflate(inflate, rest, &mut stretch)?;
                *begun = !ended && (*begun || consumed > 0);
                if ended {
                    *inflate = Decompress::new_gzip(WINDOW_BITS);
                }
                (consumed, produced)
            }
            Codec::Deflate(inflate) => {
                let (consumed, produced, ended) = run_inflate(inflate, rest, &mut stretch)?;
                if ended {
                    self.codec = Codec::Ended;
                }
                (consumed, produced)
            }
            Codec::Brotli(state) => {
                let (consumed, produced, ended) = run_brotli(state, rest, &mut stretch)?;
                if ended {
                    self.codec = Codec::Ended;
                }
                (consumed, produced)
            }
            Codec::DeflateHeader(_) | Codec::Ended => (0, 0),
        };
        self.coded += consumed as u64;
        self.decoded += produced as u64;
        if self.decoded > RATIO_FREE_BYTES && self.decoded / RATIO_MAX > self.coded {
            return Err(DecodeFault::Bomb);
        }
        let flow = if produced > 0 { take(&stretch[..produced]) } else { ControlFlow::Continue(()) };
        Ok((consumed, produced, flow))
    }
}

/// Bytes consumed, bytes produced, whether the stream has ended.
type Ran = Result<(usize, usize, bool), DecodeFault>;

fn run_inflate(inflate: &mut Decompress, input: &[u8], output: &mut [u8]) -> Ran {
    let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
    let status = inflate.decompress(input, output, FlushDecompress::None);
    let consumed = (inflate.total_in() - before_in) as usize;
    let produced = (inflate.total_out() - before_out) as usize;
    match status {
        Ok(Status::StreamEnd) => Ok((consumed, produced, true)),
        Ok(Status::Ok | Status::BufError) => Ok((consumed, produced, false)),
        Err(_) => Err(DecodeFault::Broken),
    }
}

fn run_brotli(state: &mut Brotli, mut input: &[u8], output: &mut [u8]) -> Ran {
    if state.window_bits == 0 {
        // The first byte contains the size of the window, and too few other bits for content.
        input = &input[..input.len().min(1)];
    }
    let (mut left_in, mut consumed) = (input.len(), 0);
    let (mut left_out, mut produced, mut total) = (output.len(), 0, 0);
    let result = BrotliDecompressStream(
        &mut left_in,
        &mut consumed,
        input,
        &mut left_out,
        &mut produced,
        output,
        &mut total,
        state,
    );
    if state.window_bits > BROTLI_WINDOW_BITS_MAX {
        state.window_bits = BROTLI_WINDOW_BITS_MAX;
        state.max_backward_distance = (1 << BROTLI_WINDOW_BITS_MAX) - BROTLI_WINDOW_GAP;
    }
    match result {
        BrotliResult::ResultSuccess => Ok((consumed, produced, true)),
        BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => Ok((consumed, produced, false)),
        BrotliResult::ResultFailure => Err(DecodeFault::Broken),
    }
}

#[cfg(test)]
#[path = "coding_tests.rs"]
mod tests;
