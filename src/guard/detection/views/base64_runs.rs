//! Runs of base64 that hide text or objects.

use crate::guard::detection::objects::{has_head, makes_object};
use crate::guard::inspection::coding::{Coding, Decoder};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::ops::ControlFlow;

/// Shortest run that is decoded (guard semantics, section 11).
pub(super) const RUN_MIN: usize = 12;

/// Printable bytes of a hundred in a text (guard semantics, section 11).
const PRINTABLE_PERCENT: usize = 95;

/// Bytes at the beginning of a run that must be printable for the run to be decoded at all (chosen: three groups).
const HEAD_BYTES: usize = 9;

/// Letters that are decoded at once (chosen).
const BLOCK_BYTES: usize = 256;

/// The first bytes of gzip with deflate (RFC 1952 section 2.3).
const GZIP: [u8; 3] = [0x1f, 0x8b, 8];

/// Most contents of gzip that are inflated in one value (guard semantics, section 11).
const GZIPS_MAX: u8 = 8;

/// Most bytes of one inflated content (chosen: the size of a large head).
const INFLATED_BYTES_MAX: usize = 65_536;

const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);

/// Whether a byte is of one of the two alphabets.
pub(super) fn is_of_alphabet(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

/// Writes the text with its runs decoded to `out`, if a run is text or a serialised object. `gzips` counts inflated contents in this value; `None`
/// if there were more than are inflated.
pub(super) fn decode(text: &[u8], out: &mut Vec<u8>, gzips: &mut Option<u8>) -> bool {
    let (mut at, mut copied, mut changed) = (0, 0, false);
    while at < text.len() {
        let len = text[at..].iter().take_while(|byte| is_of_alphabet(**byte)).count();
        let run = &text[at..at + len];
        if len >= RUN_MIN {
            if let Some(from) = beginning(run) {
                if !changed {
                    out.clear();
                }
                let before = out.len();
                out.extend_from_slice(&text[copied..at + from]);
                if decode_whole(&run[from..], out, gzips) {
                    changed = true;
                    at += len + text[at + len..].iter().take_while(|byte| **byte == b'=').count();
                    copied = at;
                    continue;
                }
                out.truncate(before);
            }
        }
        at += len + 1;
    }
    if changed {
        out.extend_from_slice(&text[copied..]);
    }
    changed
}

/// The position in a run at which text, gzip or an object seems to begin: its beginning, or behind the slash of a path.
fn beginning(run: &[u8]) -> Option<usize> {
    let behind_slash = memchr::memrchr(b'/', run).map(|slash| slash + 1);
    [Some(0), behind_slash].into_iter().flatten().find(|from| {
        // Most runs are words and numbers, which a few bytes show.
        let Some(first) = run[*from..].first_chunk::<RUN_MIN>() else { return false };
        let mut head = [0; HEAD_BYTES];
        let is_read = STANDARD.decode_slice(first.map(standard), &mut head).is_ok();
        is_read && (head.iter().all(|byte| is_printable(*byte)) || head.starts_with(&GZIP) || has_head(&head))
    })
}

/// Appends the decoded run, if that is text or an object. Otherwise the caller must remove the appended bytes.
fn decode_whole(run: &[u8], out: &mut Vec<u8>, gzips: &mut Option<u8>) -> bool {
    let whole = if run.len() % 4 == 1 { &run[..run.len() - 1] } else { run };
    let start = out.len();
    for block in whole.chunks(BLOCK_BYTES) {
        let mut letters = [0; BLOCK_BYTES];
        letters.iter_mut().zip(block).for_each(|(to, from)| *to = standard(*from));
        let end = out.len();
        out.resize(end + block.len() / 4 * 3 + 3, 0);
        match STANDARD.decode_slice(&letters[..block.len()], &mut out[end..]) {
            Ok(len) => out.truncate(end + len),
            Err(_) => return false,
        }
    }
    if out[start..].starts_with(&GZIP) {
        return inflate(start, out, gzips);
    }
    is_text(&out[start..]) || makes_object(&out[start..])
}

/// Replaces gzip at the end of `out` by its content, if that is text.
fn inflate(start: usize, out: &mut Vec<u8>, gzips: &mut Option<u8>) -> bool {
    let Some(count) = gzips.filter(|count| *count < GZIPS_MAX) else {
        *gzips = None;
        return false;
    };
    *gzips = Some(count + 1);
    let coded = out.split_off(start);
    let Some(mut decoder) = Decoder::new(Coding::Gzip) else { return false };
    // A content that is incomplete or has bytes behind its end is scanned, too.
    let _ = decoder.push(&coded, &mut |stretch| {
        let room = INFLATED_BYTES_MAX.saturating_sub(out.len() - start);
        out.extend_from_slice(&stretch[..stretch.len().min(room)]);
        if stretch.len() < room { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    if out.len() - start == INFLATED_BYTES_MAX {
        *gzips = None;
    }
    is_text(&out[start..])
}

/// The letter of the standard alphabet.
fn standard(letter: u8) -> u8 {
    match letter {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    }
}

fn is_text(bytes: &[u8]) -> bool {
    let printable = bytes.iter().filter(|byte| is_printable(**byte)).count();
    !bytes.is_empty() && printable * 100 >= bytes.len() * PRINTABLE_PERCENT
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..0x7f)
}
