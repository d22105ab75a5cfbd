//! Requests whose body is read before the decision about them: forms with a token, and reports to weir itself.
//!
//! The body stays where it was received, behind the head, and is not consumed: a forwarded request is sent as if all of it
//! had arrived at once. The collected bytes are bounded, and one deadline covers all of them.

use super::{Stage, Transaction};
use crate::engine::context::Context;
use crate::engine::settings::{CODING_BYTES_MAX, COLLECTED_BYTES_MAX, KEPT_BYTES_MAX};
use crate::http::fault::Fault;
use crate::http::framing::Body;
use crate::http::h1::decode::Decoder;
use crate::net::{Pool, Purpose, Space};
use std::borrow::Cow;

/// The received part of a body.
#[derive(Debug)]
pub(super) enum Collected<'a> {
    /// The whole body.
    Whole(Cow<'a, [u8]>),
    /// More will arrive.
    Part,
    /// The body is longer than the bound.
    TooLong,
}

/// What is collected of a body that is longer than the bound.
#[derive(Clone, Copy, Debug)]
pub(super) enum OfLonger {
    /// Nothing: [`Collected::TooLong`].
    Nothing,
    /// The beginning, as [`Collected::Whole`].
    Beginning,
}

/// The received part of a body whose received bytes are `raw`.
pub(super) fn collected(body: Body, raw: &[u8], of_longer: OfLonger) -> Result<Collected<'_>, Fault> {
    match body {
        Body::None => Ok(Collected::Whole(Cow::Borrowed(b""))),
        Body::Length(length) => {
            let wanted = match of_longer {
                OfLonger::Nothing if length > COLLECTED_BYTES_MAX as u64 => return Ok(Collected::TooLong),
                OfLonger::Nothing | OfLonger::Beginning => length.min(COLLECTED_BYTES_MAX as u64),
            };
            let wanted = raw.get(..wanted as usize);
            Ok(wanted.map_or(Collected::Part, |bytes| Collected::Whole(Cow::Borrowed(bytes))))
        }
        Body::Chunked => {
            let mut bytes = raw[..raw.len().min(COLLECTED_BYTES_MAX + CODING_BYTES_MAX)].to_vec();
            let decoded = Decoder::new().decode(&mut bytes)?;
            let fits = decoded.payload <= COLLECTED_BYTES_MAX;
            let is_full = decoded.finished || raw.len() >= COLLECTED_BYTES_MAX + CODING_BYTES_MAX;
            Ok(match of_longer {
                OfLonger::Nothing | OfLonger::Beginning if !is_full => Collected::Part,
                OfLonger::Nothing if !(decoded.finished && fits) => Collected::TooLong,
                OfLonger::Nothing | OfLonger::Beginning => {
                    bytes.truncate(decoded.payload.min(COLLECTED_BYTES_MAX));
                    Collected::Whole(Cow::Owned(bytes))
                }
            })
        }
        // No request ends with its connection.
        Body::UntilClose => Ok(Collected::TooLong),
    }
}

impl Transaction {
    /// Waits for more of the body. Sends a 100 to a client that waits for one.
    pub(super) fn collect(&mut self, cx: &mut Context) -> bool {
        if self.stage != Stage::Collecting {
            cx.set_timer(self.client, cx.settings.timeouts.exchange_ms);
        }
        self.stage = Stage::Collecting;
        self.info.answers_expect |= std::mem::take(&mut self.info.expects_continue);
        cx.wake(self.client);
        self.answer_expect(cx)
    }

    /// Sends a 100 of weir's own, if that is decided. False without memory for it.
    pub(super) fn answer_expect(&mut self, cx: &mut Context) -> bool {
        !std::mem::take(&mut self.info.answers_expect)
            || self.down.head.append(&mut cx.pool, Purpose::Reply, b"HTTP/1.1 100 Continue\r\n\r\n")
    }

    /// Whether more of the body is awaited before anything becomes of the request.
    pub fn is_collecting(&self) -> bool {
        matches!(self.stage, Stage::Collecting)
    }

    /// Whether received bytes of the body stay where the head was received.
    pub fn keeps_input(&self) -> bool {
        self.is_collecting() || self.keeps_body()
    }

    /// Space for more of the body.
    pub(super) fn collecting_space<'p>(&'p mut self, pool: &'p mut Pool) -> Option<Space<'p>> {
        let bytes_max = self.info.head_bytes + KEPT_BYTES_MAX;
        self.input.space(pool, Purpose::Head, bytes_max).map(Space::one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_long_body() {
        let long = COLLECTED_BYTES_MAX as u64 + 1;
        let bytes = |body, raw: &[u8]| match collected(body, raw, OfLonger::Beginning) {
            Ok(Collected::Whole(bytes)) => Some(bytes.len()),
            Ok(Collected::Part | Collected::TooLong) | Err(_) => None,
        };
        let raw = vec![b'x'; COLLECTED_BYTES_MAX + CODING_BYTES_MAX];
        assert_eq!(bytes(Body::Length(3), b"abc"), Some(3));
        assert_eq!(bytes(Body::Length(long), &raw[..COLLECTED_BYTES_MAX - 1]), None, "more is to come");
        assert_eq!(bytes(Body::Length(long), &raw[..COLLECTED_BYTES_MAX]), Some(COLLECTED_BYTES_MAX));
        let chunk = [b"fffff\r\n", &raw[..]].concat();
        assert_eq!(bytes(Body::Chunked, &chunk[..COLLECTED_BYTES_MAX]), None, "more is to come");
        assert_eq!(bytes(Body::Chunked, &chunk), Some(COLLECTED_BYTES_MAX));
        assert_eq!(bytes(Body::UntilClose, &raw), None);
    }

    #[test]
    fn a_body_is_whole_part_or_too_long() {
        let whole = |body, raw: &[u8]| match collected(body, raw, OfLonger::Nothing) {
            Ok(Collected::Whole(bytes)) => Some(Some(bytes.into_owned())),
            Ok(Collected::Part) => Some(None),
            Ok(Collected::TooLong) | Err(_) => None,
        };
        let long = COLLECTED_BYTES_MAX as u64;
        for (body, raw, expected) in [
            (Body::None, &b"GET"[..], Some(Some(&b""[..]))),
            (Body::Length(3), b"ab", Some(None)),
            (Body::Length(3), b"abc", Some(Some(b"abc"))),
            (Body::Length(3), b"abcGET", Some(Some(b"abc"))),
            (Body::Length(long), b"", Some(None)),
            (Body::Length(long + 1), b"", None),
            (Body::Chunked, b"", Some(None)),
            (Body::Chunked, b"2\r\nab\r\n1\r", Some(None)),
            (Body::Chunked, b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\nGET", Some(Some(b"abc"))),
            (Body::Chunked, b"x\r\n", None),
        ] {
            assert_eq!(whole(body, raw), expected.map(|bytes| bytes.map(<[u8]>::to_vec)), "{body:?} {raw:?}");
        }
        let chunks = |bytes: usize| [format!("{bytes:x}\r\n").into_bytes(), vec![b'x'; bytes]].concat();
        let end = b"\r\n0\r\n\r\n".to_vec();
        let most = [chunks(COLLECTED_BYTES_MAX), end.clone()].concat();
        assert_eq!(
            whole(Body::Chunked, &most).map(|bytes| bytes.map(|bytes| bytes.len())),
            Some(Some(COLLECTED_BYTES_MAX))
        );
        assert!(whole(Body::Chunked, &[chunks(COLLECTED_BYTES_MAX + 1), end].concat()).is_none());
        assert!(whole(Body::Chunked, &chunks(2 * COLLECTED_BYTES_MAX)).is_none());
    }
}
