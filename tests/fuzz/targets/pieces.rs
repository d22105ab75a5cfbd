//! The ways in which the same bytes can arrive.

/// Lists of the lengths of pieces: whole, byte by byte, small odd ones, and two that meet somewhere. The last two depend
/// on the bytes alone, so that a failure repeats.
pub fn ways(bytes: &[u8]) -> [Vec<usize>; 4] {
    let mut state = bytes.iter().fold(0x9E37_79B9_7F4A_7C15u64 ^ bytes.len() as u64, |state, byte| {
        (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
    });
    let mut next = |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 20) as usize % limit
    };
    let mut odd = Vec::new();
    let mut left = bytes.len();
    while left > 0 {
        let piece = left.min(1 + next(13));
        odd.push(piece);
        left -= piece;
    }
    let cut = next(bytes.len() + 1);
    [vec![bytes.len()], vec![1; bytes.len()], odd, vec![cut, bytes.len() - cut]]
}

/// The lengths of ever longer beginnings instead of those of pieces.
pub fn ends(pieces: &[usize]) -> impl Iterator<Item = usize> {
    pieces.iter().scan(0, |end, piece| {
        *end += piece;
        Some(*end)
    })
}

/// The bytes as text for a failure's message.
pub fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// The first byte, which chooses options, and the rest.
pub fn options(bytes: &[u8]) -> (u8, &[u8]) {
    match bytes {
        [first, rest @ ..] => (*first, rest),
        [] => (0, bytes),
    }
}
