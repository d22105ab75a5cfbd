//! Runs of base64 that hide text.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Shortest run that is decoded (guard semantics, section 11).
pub(super) const RUN_MIN: usize = 12;

/// How many of a hundred bytes are printable in a text (guard semantics, section 11).
const PRINTABLE_PERCENT: usize = 95;

/// Bytes at the beginning of a run that must be printable for the run to be decoded at all (chosen: three groups).
const HEAD_BYTES: usize = 9;

const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);

/// Whether a byte is of one of the two alphabets.
pub(super) fn is_of_alphabet(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

/// Writes the text with its runs decoded to `out`, if any is text.
pub(super) fn decode(text: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    let (mut at, mut changed) = (0, false);
    while at < text.len() {
        let len = text[at..].iter().take_while(|byte| is_of_alphabet(**byte)).count();
        let run = &text[at..at + len];
        at += len;
        match decoded(run) {
            Some((kept, bytes)) => {
                out.extend_from_slice(&run[..kept]);
                out.extend_from_slice(&bytes);
                changed = true;
                while text.get(at) == Some(&b'=') {
                    at += 1;
                }
            }
            None => out.extend_from_slice(run),
        }
        if let Some(byte) = text.get(at) {
            out.push(*byte);
            at += 1;
        }
    }
    changed
}

/// The text in a run, and how many bytes before it are none of it: a run may follow a slash of a path.
fn decoded(run: &[u8]) -> Option<(usize, Vec<u8>)> {
    if run.len() < RUN_MIN {
        return None;
    }
    let behind_slash = memchr::memrchr(b'/', run).map(|slash| slash + 1);
    [Some(0), behind_slash].into_iter().flatten().find_map(|from| Some((from, decoded_whole(&run[from..])?)))
}

fn decoded_whole(run: &[u8]) -> Option<Vec<u8>> {
    if run.len() < RUN_MIN {
        return None;
    }
    let whole = if run.len() % 4 == 1 { &run[..run.len() - 1] } else { run };
    let standard = |bytes: &[u8]| -> Vec<u8> {
        let standard = |byte: &u8| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        };
        bytes.iter().map(standard).collect()
    };
    // Most runs are words and numbers: a few bytes tell.
    let head = STANDARD.decode(standard(&whole[..RUN_MIN])).ok()?;
    if !head[..HEAD_BYTES].iter().all(|byte| is_printable(*byte)) {
        return None;
    }
    let bytes = STANDARD.decode(standard(whole)).ok()?;
    let printable = bytes.iter().filter(|byte| is_printable(**byte)).count();
    (printable * 100 >= bytes.len() * PRINTABLE_PERCENT).then_some(bytes)
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..0x7f)
}
