use super::*;
use crate::guard::inspection::Content;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use std::io::Write as _;

const TEXT: &[u8] = b"id=1 union select password from users";

/// [`TEXT`], as the encoder of brotli in Node has it.
const BROTLI: &str = "1b2400f8a5637ac8d2f4208518328ad68498755ef24913cdfe1300";

/// A million times the letter a.
const BROTLI_BOMB: &str = "5b3f428f5f222c1e0b04f2731e00";

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn raw(text: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zlib(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// What comes out of pieces of that size, and whether it is complete.
fn decode(coding: Coding, coded: &[u8], size: usize) -> Result<(Vec<u8>, bool), DecodeFault> {
    let mut decoder = Decoder::new(coding).unwrap();
    let mut text = Vec::new();
    for piece in coded.chunks(size) {
        decoder.push(piece, &mut |stretch| {
            assert!(stretch.len() <= STRETCH_BYTES);
            text.extend_from_slice(stretch);
            ControlFlow::Continue(())
        })?;
    }
    let complete = decoder.is_complete();
    Ok((text, complete))
}

#[test]
fn content_codings_are_named() {
    for (lines, coding) in [
        (vec![], Coding::Identity),
        (vec!["identity"], Coding::Identity),
        (vec!["GZip"], Coding::Gzip),
        (vec![" x-gzip , identity"], Coding::Gzip),
        (vec!["deflate"], Coding::Deflate),
        (vec!["br"], Coding::Brotli),
        (vec!["zstd"], Coding::Unknown),
        (vec!["gzip, gzip"], Coding::Unknown),
        (vec!["gzip", "br"], Coding::Unknown),
        (vec!["", "br"], Coding::Brotli),
    ] {
        assert_eq!(Coding::of(lines.iter().map(|line| line.as_bytes())), coding, "{lines:?}");
    }
}

#[test]
fn contents_are_decoded_wherever_their_pieces_end() {
    let long: Vec<u8> = (0..50_000u32).map(|n| (n.wrapping_mul(n) % 251) as u8).collect();
    for (coding, coded, text) in [
        (Coding::Gzip, gzip(TEXT), TEXT),
        (
            Coding::Gzip,
            [gzip(TEXT), gzip(b" and more")].concat(),
            b"id=1 union select password from users and more",
        ),
        (Coding::Gzip, gzip(b""), b""),
        (Coding::Gzip, gzip(&long), &long),
        (Coding::Deflate, zlib(TEXT), TEXT),
        (Coding::Deflate, raw(TEXT), TEXT),
        (Coding::Deflate, zlib(&long), &long),
        (Coding::Brotli, bytes(BROTLI), TEXT),
    ] {
        for size in [1, 2, 3, 7, 100, 4096, coded.len()] {
            let decoded = decode(coding, &coded, size);
            assert!(decoded == Ok((text.to_vec(), true)), "{coding:?} in pieces of {size}: {decoded:?}");
        }
        for end in (1..coded.len().min(60)).filter(|end| coded.len() - end > 1) {
            let cut = decode(coding, &coded[..end], 5);
            let is_member = text.len() > TEXT.len() && cut == Ok((TEXT.to_vec(), true));
            assert!(is_member || cut.is_ok_and(|(_, complete)| !complete), "{coding:?} cut at {end}");
        }
    }
}

#[test]
fn ours_11_broken_codings_are_faults_and_no_panics() {
    for (coding, coded) in [
        (Coding::Gzip, b"no gzip at all".to_vec()),
        (Coding::Gzip, [gzip(TEXT), b"garbage behind it".to_vec()].concat()),
        (Coding::Deflate, [zlib(TEXT), b"x".to_vec()].concat()),
        (Coding::Deflate, b"\xff\xff\xff\xff".to_vec()),
        (Coding::Brotli, [bytes(BROTLI), b"x".to_vec()].concat()),
        (Coding::Brotli, b"\xff\xff\xff\xff\xff\xff\xff\xff".to_vec()),
    ] {
        for size in [1, 3, coded.len()] {
            assert_eq!(decode(coding, &coded, size), Err(DecodeFault::Broken), "{coding:?} {size}");
        }
    }
    // Each byte of a good one replaced: never more than a fault, and the same one wherever the pieces end.
    for (coding, good) in [
        (Coding::Gzip, gzip(TEXT)),
        (Coding::Deflate, zlib(TEXT)),
        (Coding::Deflate, raw(TEXT)),
        (Coding::Brotli, bytes(BROTLI)),
        (Coding::Brotli, bytes(BROTLI_BOMB)),
    ] {
        for at in 0..good.len() {
            for byte in 0..=255 {
                let mut bad = good.clone();
                bad[at] = byte;
                let [whole, cut] = [bad.len(), 1].map(|size| decode(coding, &bad, size));
                assert_eq!(whole.is_ok(), cut.is_ok(), "{coding:?} {at} {byte}");
                assert!(whole.is_err() || whole == cut, "{coding:?} {at} {byte}");
            }
        }
    }
}

#[test]
fn ours_11_a_bomb_is_a_fault() {
    let zeros = vec![b'a'; 1_000_000];
    for (coding, coded) in
        [(Coding::Gzip, gzip(&zeros)), (Coding::Deflate, raw(&zeros)), (Coding::Brotli, bytes(BROTLI_BOMB))]
    {
        assert_eq!(decode(coding, &coded, 4096), Err(DecodeFault::Bomb), "{coding:?}");
    }
    // A small one may be as dense as it likes.
    let small = vec![b'a'; RATIO_FREE_BYTES as usize];
    assert!(decode(Coding::Gzip, &gzip(&small), 4096).is_ok());
}

#[test]
fn a_taker_that_wants_no_more_gets_no_more() {
    let coded = gzip(&(0..500_000u32).map(|n| (n.wrapping_mul(n) % 251) as u8).collect::<Vec<_>>());
    let mut decoder = Decoder::new(Coding::Gzip).unwrap();
    let mut taken = 0;
    let mut take = |stretch: &[u8]| {
        taken += stretch.len();
        if taken > 10_000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    decoder.push(&coded, &mut take).unwrap();
    assert!(taken <= 10_000 + STRETCH_BYTES, "{taken}");
}

/// Fourteen bytes that stand for 16 MB, in a window of 16 MB.
#[test]
fn ours_11_a_window_of_br_takes_no_more_than_is_looked_at() {
    let zeros = bytes("cfffff7ff82700e2b14020f7fe7f");
    for size in [1, zeros.len()] {
        let mut decoder = Decoder::new(Coding::Brotli).unwrap();
        let mut taken = 0;
        let mut take = |stretch: &[u8]| {
            assert!(stretch.iter().all(|byte| *byte == 0));
            taken += stretch.len();
            ControlFlow::Continue(())
        };
        let pushed: Result<(), DecodeFault> =
            zeros.chunks(size).try_for_each(|piece| decoder.push(piece, &mut take));
        assert_eq!(pushed, Err(DecodeFault::Bomb));
        assert!(taken >= RATIO_FREE_BYTES as usize && decoder.heap_bytes() <= 1 << 20, "{taken}");
    }
}

#[test]
fn a_content_takes_heap_from_when_it_comes() {
    for (coding, coded) in [("gzip", gzip(TEXT)), ("deflate", raw(TEXT)), ("br", bytes(BROTLI))] {
        let mut content = Content::new([coding.as_bytes()]);
        assert_eq!(content.heap_bytes(), 0, "{coding}");
        content.push(&coded[..4], &mut |_| ControlFlow::Continue(())).unwrap();
        assert!(content.heap_bytes() > 16 * 1024, "{coding}");
    }
    let mut content = Content::new([b"identity".as_slice()]);
    content.push(TEXT, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(content.heap_bytes(), 0);
}
