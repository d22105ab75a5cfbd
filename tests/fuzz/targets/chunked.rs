//! The chunked coding: whole, byte by byte and in odd pieces, against the reference, and there and back.

use weir::http::fault::Fault;
use weir::http::forwarding::{Withheld, write_trailers};
use weir::http::h1::decode::Decoder;
use weir::http::h1::encode::{LAST_CHUNK_BEFORE_TRAILERS, chunk_header};

use super::pieces::{options, shown, ways};
use super::reference;

#[derive(Debug, PartialEq, Eq)]
struct Decoded {
    payload: Vec<u8>,
    consumed: usize,
    trailers: Vec<u8>,
    finished: bool,
}

fn decode(bytes: &[u8], pieces: &[usize], mut decoder: Decoder) -> Result<Decoded, Fault> {
    let (mut payload, mut consumed, mut start) = (Vec::new(), 0, 0);
    for piece in pieces {
        let mut block = bytes[start..start + piece].to_vec();
        let decoded = decoder.decode(&mut block)?;
        assert!(decoded.payload <= decoded.consumed && decoded.consumed <= *piece);
        assert_eq!(decoded.finished, decoder.is_finished());
        assert!(decoded.finished || decoded.consumed == *piece, "bytes were left though the body goes on");
        // The bytes behind the body stay where they are.
        assert_eq!(block[decoded.consumed..], bytes[start + decoded.consumed..start + piece]);
        payload.extend_from_slice(&block[..decoded.payload]);
        consumed += decoded.consumed;
        start += piece;
    }
    Ok(Decoded { payload, consumed, trailers: decoder.trailers().to_vec(), finished: decoder.is_finished() })
}

/// Any bytes as a chunked body. The first one says how often the rest up to the first `|` comes before the rest after it,
/// so that limits are within reach of short inputs.
pub fn chunked(bytes: &[u8]) {
    let (times, bytes) = options(bytes);
    let repeated;
    let bytes = match bytes.iter().position(|byte| *byte == b'|') {
        Some(bar) if bytes.len() < 512 => {
            let times = usize::from(times) * usize::from(times);
            let whole = [&bytes[..bar].repeat(times.min(60_000 / (bar + 1))), &bytes[bar + 1..]].concat();
            repeated = whole;
            &repeated[..]
        }
        Some(_) | None => bytes,
    };
    check(bytes, Decoder::new, false);
    check(bytes, Decoder::of_response, true);
}

fn check(bytes: &[u8], decoder: fn() -> Decoder, response: bool) {
    let [whole, others @ ..] = ways(bytes);
    let outcome = decode(bytes, &whole, decoder());
    for pieces in others {
        assert_eq!(decode(bytes, &pieces, decoder()), outcome, "in pieces: {}", shown(bytes));
    }
    match (&outcome, reference::chunked(bytes, response)) {
        (Ok(found), reference::Chunked::Complete(payload, trailers, consumed)) => {
            assert_eq!(*found, Decoded { payload, consumed, trailers, finished: true }, "{}", shown(bytes));
        }
        (Ok(found), reference::Chunked::Incomplete) => assert!(!found.finished, "{}", shown(bytes)),
        (Err(Fault::TrailerTooLarge | Fault::ChunkExtensionTooLong), _) => {}
        // The reference reads by the line: of a line that never ends it says nothing.
        (Err(_), reference::Chunked::Malformed | reference::Chunked::Incomplete) => {}
        (found, expected) => panic!("{found:?}, expected {expected:?}: {}", shown(bytes)),
    }
    if let Ok(found) = outcome {
        again(&found);
    }
}

/// Encodes what was decoded, with the trailers that may go on, and decodes that.
fn again(found: &Decoded) {
    let mut coded = Vec::new();
    let mut rest = &found.payload[..];
    let mut size = 1;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(size.min(rest.len()));
        let (header, len) = chunk_header(chunk.len());
        coded.extend_from_slice(&header[..len]);
        coded.extend_from_slice(chunk);
        coded.extend_from_slice(b"\r\n");
        (rest, size) = (after, size * 3);
    }
    coded.extend_from_slice(LAST_CHUNK_BEFORE_TRAILERS);
    let mut trailers = Vec::new();
    write_trailers(&mut trailers, &found.trailers, &Withheld::default());
    for line in trailers.split(|byte| *byte == b'\n') {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default().to_ascii_lowercase();
        let refused: [&[u8]; 7] = [
            b"content-length",
            b"transfer-encoding",
            b"host",
            b"connection",
            b"proxy-authorization",
            b"set-cookie",
            b"if-match",
        ];
        assert!(!refused.contains(&&name[..]), "{}", shown(&trailers));
    }
    coded.extend_from_slice(&trailers);
    coded.extend_from_slice(b"\r\n");
    let expected =
        Decoded { payload: found.payload.clone(), consumed: coded.len(), trailers, finished: true };
    match decode(&coded, &[coded.len()], Decoder::new()) {
        Ok(decoded) => assert_eq!(decoded, expected, "{}", shown(&coded)),
        // Written anew, a trailer gets a blank after its colon.
        Err(fault) => assert_eq!(fault, Fault::TrailerTooLarge),
    }
}
