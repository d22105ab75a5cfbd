//! The one decoder of bodies: the rest of a message that may still be received, and the payload in received bytes.
//!
//! A relay and a fill both receive through an `Intake`, in place: payload moves to the front of the received bytes.
//!
//! | state | bytes come | the stream ends |
//! | --- | --- | --- |
//! | `Length` | `Done` with the last byte | `Truncated` |
//! | `Chunked` | `Done` with the end of the trailers | `Truncated` |
//! | `UntilClose` | all are payload | `Done` |
//! | `Done`, `Truncated` | none belongs to the message | no change |

use crate::http::fault::Fault;
use crate::http::framing::Body;
use crate::http::h1::decode::{Decoder, Faulty};

/// The rest of a body that may still be received.
#[derive(Debug)]
pub(in crate::engine) enum Intake {
    /// The body is complete.
    Done,
    /// The number of missing bytes.
    Length(u64),
    /// Chunks, until the last one.
    Chunked(Decoder),
    /// Everything until the end of the stream.
    UntilClose,
    /// The message will never be complete: the framing is faulty, or the stream ended before.
    Truncated(Option<Fault>),
}

/// The parts of received bytes.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Admitted {
    /// Bytes of payload, now at the front.
    pub payload: usize,
    /// Bytes that belong to the message, framing included.
    pub consumed: usize,
}

impl Intake {
    /// An intake before the first byte of a body; `decoder` creates the decoder if the body is chunked.
    pub fn new(body: Body, decoder: fn() -> Decoder) -> Intake {
        match body {
            Body::None | Body::Length(0) => Intake::Done,
            Body::Length(bytes) => Intake::Length(bytes),
            Body::Chunked => Intake::Chunked(decoder()),
            Body::UntilClose => Intake::UntilClose,
        }
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        matches!(self, Intake::Done)
    }

    /// Whether the rest will never arrive.
    pub fn is_truncated(&self) -> bool {
        matches!(self, Intake::Truncated(_))
    }

    /// The fault of the framing because of which the rest will never arrive.
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Intake::Truncated(fault) => *fault,
            Intake::Done | Intake::Length(_) | Intake::Chunked(_) | Intake::UntilClose => None,
        }
    }

    /// Whether more may arrive.
    pub fn is_receiving(&self) -> bool {
        match self {
            Intake::Length(_) | Intake::Chunked(_) | Intake::UntilClose => true,
            Intake::Done | Intake::Truncated(_) => false,
        }
    }

    /// The missing payload bytes, if their number is known.
    pub fn left(&self) -> Option<u64> {
        match self {
            Intake::Length(left) => Some(*left),
            Intake::Done | Intake::Truncated(_) => Some(0),
            Intake::Chunked(_) | Intake::UntilClose => None,
        }
    }

    /// The number of bytes that may pass without being read; `None` if each byte must be read.
    pub fn unread_max(&self) -> Option<u64> {
        match self {
            Intake::Length(left) => Some(*left),
            Intake::UntilClose => Some(u64::MAX),
            Intake::Done | Intake::Chunked(_) | Intake::Truncated(_) => None,
        }
    }

    /// Counts payload that passed without being read.
    pub fn skip(&mut self, count: u64) {
        if let Intake::Length(left) = self {
            *left = left.saturating_sub(count);
            if *left == 0 {
                *self = Intake::Done;
            }
        }
    }

    /// Decodes received bytes. `trailers` is called with the trailer lines at the end of a chunked body, in the form
    /// of `Decoder::trailers`, possibly none.
    pub fn admit(&mut self, bytes: &mut [u8], trailers: impl FnOnce(&[u8])) -> Result<Admitted, Faulty> {
        Ok(match self {
            Intake::Done | Intake::Truncated(_) => Admitted { payload: 0, consumed: 0 },
            Intake::UntilClose => Admitted { payload: bytes.len(), consumed: bytes.len() },
            Intake::Length(left) => {
                let taken = (*left).min(bytes.len() as u64);
                self.skip(taken);
                Admitted { payload: taken as usize, consumed: taken as usize }
            }
            Intake::Chunked(decoder) => {
                let decoded = decoder.decode(bytes)?;
                if decoded.finished {
                    trailers(decoder.trailers());
                    *self = Intake::Done;
                }
                Admitted { payload: decoded.payload, consumed: decoded.consumed }
            }
        })
    }

    /// The source's stream has ended.
    pub fn handle_end(&mut self) {
        match self {
            Intake::Done | Intake::Truncated(_) => {}
            Intake::UntilClose => *self = Intake::Done,
            Intake::Length(_) | Intake::Chunked(_) => *self = Intake::Truncated(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each body whole, byte by byte, and with bytes that follow.
    #[test]
    fn payload_is_told_from_framing_and_from_what_follows() {
        let cases = [
            (Body::None, &b""[..], &b""[..], &b""[..]),
            (Body::Length(5), b"hello", b"hello", b""),
            (Body::Chunked, b"2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"hello", b""),
            (Body::Chunked, b"5\r\nhello\r\n0\r\nX-A: 1\r\n\r\n", b"hello", b"X-A: 1\r\n"),
            (Body::UntilClose, b"hello", b"hello", b""),
        ];
        for (body, input, payload, lines) in cases {
            for (piece, behind) in [(1, &b""[..]), (100, b""), (1, b"next"), (100, b"next")] {
                if body == Body::UntilClose && !behind.is_empty() {
                    continue;
                }
                let mut intake = Intake::new(body, Decoder::new);
                let (mut out, mut trailers, mut consumed) = (Vec::new(), Vec::new(), 0);
                for part in [input, behind].concat().chunks_mut(piece) {
                    let admitted = intake.admit(part, |lines| trailers.extend_from_slice(lines)).unwrap();
                    out.extend_from_slice(&part[..admitted.payload]);
                    consumed += admitted.consumed;
                }
                assert_eq!(intake.is_receiving(), body == Body::UntilClose);
                intake.handle_end();
                assert!(intake.is_done() && intake.left() == Some(0), "{body:?}");
                assert_eq!((&out[..], &trailers[..], consumed), (payload, lines, input.len()), "{body:?}");
            }
        }
    }

    #[test]
    fn a_stream_that_ends_too_early_truncates() {
        for (body, input) in [(Body::Length(5), &b"hell"[..]), (Body::Chunked, b"5\r\nhello\r\n0\r\n\r")] {
            let mut intake = Intake::new(body, Decoder::new);
            assert!(intake.admit(&mut input.to_vec(), |_| unreachable!()).is_ok());
            intake.handle_end();
            assert!(intake.is_truncated() && !intake.is_receiving());
        }
    }
}
