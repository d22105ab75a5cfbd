//! Properties that hold for any bytes, tested with mutated messages from fixed seeds, so that a failure can be repeated.

use std::net::IpAddr;

use super::fault::Fault;
use super::forwarding::{ForwardedPolicy, RequestRoute, route_target, write_request};
use super::framing::request_body;
use super::h1::decode::{Decoder, Faulty};
use super::head::{Limits, Message, RequestHead, ResponseHead, Scanner};
use super::target::Target;

const SEEDS: [&[u8]; 5] = [
    b"GET http://a.example:81/p?q HTTP/1.1\r\nHost: a.example\r\nConnection: x, close\r\nX: 1\r\nVia: 1.1 b\r\n\r\n",
    b"POST /p HTTP/1.1\r\nHost: 0x7f.1:8080\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n",
    b"\r\nPUT http://[::1]/ HTTP/1.0\r\nContent-Length: 5\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    b"CONNECT [2001:db8::1]:443 HTTP/1.2\r\nHost: x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost:\r\nMax-Forwards: 3\r\nForwarded: for=a\r\n\r\n",
];

const CODINGS: [&[u8]; 2] =
    [b"5;a=\"b\"\r\nhello\r\n1\r\n!\r\n0\r\nT: 1\r\n\r\nGET", b"00a\r\n0123456789\r\n0;last\r\n\r\n"];

/// xorshift64
fn next(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 11) as usize
}

fn mutate(seed: &[u8], state: &mut u64) -> Vec<u8> {
    const INTERESTING: &[u8] = b"\r\n\t :;,=\"\\@#/?[]%*0xfF9-+\0\x7f\x80\xff";
    let mut bytes = seed.to_vec();
    for _ in 0..=next(state) % 4 {
        let at = next(state) % bytes.len();
        match next(state) % 4 {
            0 => bytes[at] = INTERESTING[next(state) % INTERESTING.len()],
            1 => bytes.insert(at, INTERESTING[next(state) % INTERESTING.len()]),
            2 if bytes.len() > 1 => drop(bytes.remove(at)),
            _ => {
                let end = (at + next(state) % 12).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
    bytes
}

#[test]
fn heads_are_seen_the_same_in_pieces_and_written_so_that_they_read_the_same() {
    let limits = Limits::default();
    let (mut state, mut written) = (0x9E37_79B9_7F4A_7C15, 0);
    for round in 0..20_000 {
        let bytes = mutate(SEEDS[round % SEEDS.len()], &mut state);
        let whole = Scanner::default().scan_request(&bytes, &limits);
        let mut scanner = Scanner::default();
        let mut bytewise = (0..=bytes.len()).map(|len| scanner.scan_request(&bytes[..len], &limits));
        let bytewise = bytewise.find(|seen| *seen != Ok(None)).unwrap_or(Ok(None));
        match (whole, bytewise) {
            // Of several faults, single bytes may show another one first.
            (Err(_), Err(_)) => {}
            // In a complete head a bare CR is left to the parser.
            (Ok(Some(len)), Err(Fault::BareCarriageReturn)) => {
                assert!(RequestHead::parse(&bytes[..len], &mut Message::new(), &limits).is_err());
            }
            _ => assert_eq!(whole, bytewise, "{:?}", bytes.escape_ascii().to_string()),
        }
        let _ = Scanner::default().scan_response(&bytes, &limits);
        let _ = ResponseHead::parse(&bytes, &mut Message::new(), &limits);
        if let Ok(Some(len)) = whole {
            written += usize::from(write_and_read(&bytes[..len], &limits));
        }
    }
    assert!(written > 2000, "too few valid heads to mean anything: {written}");
}

/// Writes the head as for the origin and reads it like an origin: one request, same framing, same host.
fn write_and_read(bytes: &[u8], limits: &Limits) -> bool {
    let mut storage = Message::new();
    let Ok(head) = RequestHead::parse(bytes, &mut storage, limits) else { return false };
    let Ok(target) = Target::parse(head.method, head.target, limits.strict_targets) else { return false };
    let (Ok(authority), Ok(body)) = (route_target(&head, &target), request_body(&head)) else { return false };
    let (Some(authority), Target::Absolute { path, .. } | Target::Origin { path }) = (authority, target)
    else {
        return false;
    };
    let route = RequestRoute {
        authority: &authority,
        path,
        body,
        upgrade: false,
        expects: false,
        max_forwards: None,
        via: Some("weir"),
        asked: None,
        forwarded: ForwardedPolicy::Append,
        client: IpAddr::from([192, 0, 2, 1]),
        edits: &(),
    };
    let mut out = Vec::new();
    write_request(&mut out, &head, &route);
    let shown = out.escape_ascii().to_string();
    assert_eq!(Scanner::default().scan_request(&out, limits), Ok(Some(out.len())), "{shown}");
    let mut storage = Message::new();
    let again = RequestHead::parse(&out, &mut storage, limits).unwrap();
    let target = Target::parse(again.method, again.target, limits.strict_targets).unwrap();
    if !matches!(target, Target::Asterisk) {
        assert_eq!(route_target(&again, &target), Ok(Some(authority)), "{shown}");
    }
    assert_eq!(request_body(&again), Ok(body), "{shown}");
    true
}

#[test]
fn codings_are_decoded_the_same_in_pieces() {
    let (mut state, mut finished) = (0x2545_F491_4F6C_DD1D, 0);
    for round in 0..20_000 {
        let bytes = mutate(CODINGS[round % CODINGS.len()], &mut state);
        let mut block = bytes.clone();
        let whole = match Decoder::new().decode(&mut block) {
            Ok(decoded) => {
                assert_eq!(block[decoded.consumed..], bytes[decoded.consumed..]);
                (block[..decoded.payload].to_vec(), Ok((decoded.consumed, decoded.finished)))
            }
            Err(faulty) => (block[..faulty.payload].to_vec(), Err(faulty.fault)),
        };
        let piece = 1 + next(&mut state) % 8;
        let (mut decoder, mut payload, mut consumed) = (Decoder::new(), Vec::new(), 0);
        let pieces = bytes.chunks(piece).try_for_each(|part| {
            let mut part = part.to_vec();
            let decoded = decoder.decode(&mut part);
            let valid = decoded.as_ref().map_or_else(|faulty| faulty.payload, |decoded| decoded.payload);
            payload.extend_from_slice(&part[..valid]);
            consumed += decoded?.consumed;
            Ok(())
        });
        let pieces = pieces.map_err(|Faulty { fault, .. }| fault).map(|()| (consumed, decoder.is_finished()));
        let pieces = (payload, pieces);
        finished += usize::from(whole.1.is_ok_and(|(_, finished)| finished));
        assert_eq!(whole, pieces, "{:?}", bytes.escape_ascii().to_string());
    }
    assert!(finished > 2000, "too few valid codings to mean anything: {finished}");
}
