//! Relays without filters.

use super::*;

/// Pushes `input` through a relay in pieces, sending in pieces; returns what came out and what was left over.
fn pass(relay: &mut Relay, pool: &mut Pool, input: &[u8], piece: usize, send: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut out, mut excess, mut rest) = (Vec::new(), Vec::new(), input);
    loop {
        let mut moved = false;
        if relay.wants_bytes() && !rest.is_empty() {
            let count = relay.space(pool).unwrap().fill(&rest[..piece.min(rest.len())]);
            rest = &rest[count..];
            relay.handle_received(pool, count, &mut excess).unwrap();
            moved = true;
        }
        if relay.wants_send() {
            let sent: Vec<u8> = relay.outgoing(pool).concat().into_iter().take(send).collect();
            relay.handle_sent(pool, sent.len());
            moved |= !sent.is_empty();
            out.extend(sent);
        }
        if !moved {
            excess.extend_from_slice(rest);
            return (out, excess);
        }
    }
}

/// Undoes chunked framing, with nothing of the code under test.
fn unchunk(mut bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut payload = Vec::new();
    loop {
        let line = bytes.windows(2).position(|pair| pair == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).unwrap(), 16).unwrap();
        bytes = &bytes[line + 2..];
        if size == 0 {
            return (payload, bytes.to_vec());
        }
        payload.extend_from_slice(&bytes[..size]);
        assert_eq!(&bytes[size..size + 2], b"\r\n");
        bytes = &bytes[size + 2..];
    }
}

#[test]
fn payload_survives_every_framing_and_every_split() {
    let payload: Vec<u8> = (0..10_000_u32).map(|index| (index * 7 % 251) as u8).collect();
    let mut chunked = Vec::new();
    for part in payload.chunks(777) {
        chunked.extend_from_slice(format!("{:x};a=b\r\n", part.len()).as_bytes());
        chunked.extend_from_slice(part);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\nX-Sum: 1\r\nHost: a\r\n\r\n");
    let length = Body::Length(payload.len() as u64);
    let cases = [(length, &payload), (Body::UntilClose, &payload), (Body::Chunked, &chunked)];
    for (body, input) in cases {
        for (piece, send) in [(1, 4096), (4096, 1), (7, 13), (4096, 4096), (1000, 3)] {
            for chunked_out in [false, true] {
                let mut pool = Pool::new(64);
                let mut relay = Relay::new(Purpose::Download);
                assert!(relay.head.append(&mut pool, Purpose::Reply, b"head"));
                relay.frame(body, chunked_out);
                let mut input = input.clone();
                if body != Body::UntilClose {
                    input.extend_from_slice(b"next");
                }
                let (mut out, excess) = pass(&mut relay, &mut pool, &input, piece, send);
                if body == Body::UntilClose {
                    assert_eq!(relay.handle_end(&mut pool), Ok(()));
                    out.extend(pass(&mut relay, &mut pool, b"", piece, send).0);
                } else {
                    assert_eq!(excess, b"next", "{body:?} {piece} {send}");
                }
                assert!(relay.is_complete() && !relay.is_truncated());
                assert_eq!(pool.lent(), 0);
                assert_eq!(relay.sent, out.len() as u64);
                let out = out.strip_prefix(b"head").unwrap();
                if chunked_out {
                    let end = if body == Body::Chunked { &b"X-Sum: 1\r\n\r\n"[..] } else { b"\r\n" };
                    assert_eq!(unchunk(out), (payload.clone(), end.to_vec()), "{body:?} {piece} {send}");
                } else {
                    assert!(out == payload, "{body:?} {piece} {send}");
                }
            }
        }
    }
}

#[test]
fn what_is_cut_short_never_ends_properly() {
    for (body, input) in [(Body::Length(10), &b"12345"[..]), (Body::Chunked, b"a\r\n12345")] {
        for chunked_out in [false, true] {
            let mut pool = Pool::new(64);
            let mut relay = Relay::new(Purpose::Download);
            relay.frame(body, chunked_out);
            let (mut out, _) = pass(&mut relay, &mut pool, input, 4096, 4096);
            assert_eq!(relay.handle_end(&mut pool), Ok(()));
            out.extend(pass(&mut relay, &mut pool, b"", 1, 1).0);
            assert!(relay.is_truncated() && !relay.is_complete() && !relay.wants_send());
            assert_eq!(out, if chunked_out { &b"5\r\n12345\r\n"[..] } else { b"12345" });
        }
    }
}

#[test]
fn a_refused_body_is_taken_and_dropped() {
    let mut pool = Pool::new(64);
    let mut relay = Relay::new(Purpose::Upload);
    relay.discards = true;
    relay.frame(Body::Length(9000), false);
    let (out, excess) = pass(&mut relay, &mut pool, &[7; 9001], 4096, 4096);
    assert_eq!((out.len(), excess, relay.received, pool.lent()), (0, vec![7], 9000, 0));
    assert!(relay.is_complete());
}

#[test]
fn a_block_that_brought_the_head_carries_the_payload() {
    for (body, rest, payload) in
        [(Body::Length(3), &b"abcX"[..], &b"abc"[..]), (Body::Chunked, b"3\r\nabc\r\n0\r\n\r\nX", b"abc")]
    {
        let mut pool = Pool::new(64);
        let mut relay = Relay::new(Purpose::Download);
        relay.frame(body, false);
        let mut source = Linear::default();
        assert!(source.append(&mut pool, Purpose::Download, b"HEAD"));
        assert!(source.append(&mut pool, Purpose::Download, rest));
        let mut excess = Vec::new();
        assert_eq!(relay.adopt(&mut pool, &mut source, 4, b"", &mut excess), Ok(true));
        assert_eq!((excess.as_slice(), pool.lent()), (&b"X"[..], 1));
        assert_eq!(pass(&mut relay, &mut pool, b"", 1, 2).0, payload);
        assert_eq!(pool.lent(), 0);
    }
}

#[test]
fn a_rewritten_head_is_put_in_front_of_its_payload() {
    for (room, front, fits) in [(2, &b"heads!"[..], true), (1, b"heads!", false), (0, b"head", true)] {
        let mut pool = Pool::new(64);
        let mut relay = Relay::new(Purpose::Download);
        relay.frame(Body::Length(3), false);
        let mut source = Linear::default();
        assert!(source.begin_at(&mut pool, Purpose::Download, room));
        assert!(source.append(&mut pool, Purpose::Download, b"HEADabcX"));
        assert_eq!(relay.fits_before(&source, 4, front), fits);
        if fits {
            let mut excess = Vec::new();
            assert_eq!(relay.adopt(&mut pool, &mut source, 4, front, &mut excess), Ok(true));
            assert_eq!(relay.outgoing(&mut pool).concat(), [front, b"abc"].concat());
            assert_eq!((excess.as_slice(), pool.lent()), (&b"X"[..], 1));
        }
        relay.frame(Body::Length(3), true);
        assert!(!relay.fits_before(&source, 4, b""), "chunks");
    }
}

#[test]
fn a_busy_direction_reads_more_at_a_time_and_lets_bytes_pass_unseen() {
    for chunked_out in [false, true] {
        let mut pool = Pool::new(64);
        let mut relay = Relay::new(Purpose::Download);
        relay.frame(Body::UntilClose, chunked_out);
        let (mut room, mut out) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            assert_eq!(relay.splice_allowed(), (!room.is_empty()).then_some(SPLICE_BYTES_MAX));
            let count = relay.space(&mut pool).unwrap().fill(&[7; 40_000]);
            room.push(count / BLOCK_BYTES);
            relay.handle_received(&mut pool, count, &mut Vec::new()).unwrap();
            assert!(!relay.wants_bytes() || room.len() == 1, "what was read goes first");
            assert_eq!(relay.splice_allowed(), None);
            out.extend(pass(&mut relay, &mut pool, b"", 1, 5000).0);
        }
        assert_eq!((room, pool.lent()), (vec![1, 2, 4, 8, 8], 0));
        relay.handle_spliced(100_000);
        assert!(!relay.wants_bytes() && relay.wants_send());
        let header = relay.outgoing(&mut pool).concat();
        out.extend_from_slice(&header);
        if chunked_out {
            assert_eq!(header, b"186a0\r\n");
            relay.handle_sent(&mut pool, header.len());
        }
        assert_eq!(relay.outgoing(&mut pool).concat(), b"");
        for count in [1, 99_999] {
            relay.handle_sent(&mut pool, count);
            out.extend(std::iter::repeat_n(7, count));
        }
        out.extend(pass(&mut relay, &mut pool, b"", 1, 1).0);
        assert!(relay.splice_allowed().is_some());
        relay.handle_spliced(10);
        assert_eq!(relay.handle_end(&mut pool), Ok(()));
        assert!(!relay.is_complete());
        out.extend(relay.outgoing(&mut pool).concat());
        relay.handle_sent(&mut pool, if chunked_out { 3 } else { 10 });
        if chunked_out {
            relay.handle_sent(&mut pool, 10);
        }
        out.extend([7; 10]);
        out.extend(pass(&mut relay, &mut pool, b"", 1, 1).0);
        assert!(relay.is_complete() && relay.splice_allowed().is_none());
        assert_eq!((relay.received, relay.sent), (23 * 4096 + 100_010, out.len() as u64));
        if chunked_out {
            assert_eq!(unchunk(&out), (vec![7; 23 * 4096 + 100_010], b"\r\n".to_vec()));
        } else {
            assert_eq!(out, vec![7; 23 * 4096 + 100_010]);
        }
    }
}
