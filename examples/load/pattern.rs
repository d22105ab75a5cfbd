//! The bytes of all bodies, so that both ends can tell whether a byte is the right one in the right place.

/// A prime: blocks and pipes of round sizes that get lost or change places do not go unnoticed.
pub const PERIOD: usize = 65_521;

/// Bytes that look random, and are the same in every process.
pub struct Pattern(Vec<u8>);

impl Pattern {
    pub fn new() -> Pattern {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut step = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        let mut bytes: Vec<u8> = (0..PERIOD).map(|_| step()).collect();
        // Twice, so that a period is in one piece wherever it begins.
        bytes.extend_from_within(..);
        Pattern(bytes)
    }

    /// At most `length` bytes that a body has at that place; fewer if that is more than a period.
    pub fn at(&self, place: u64, length: u64) -> &[u8] {
        let begin = (place % PERIOD as u64) as usize;
        &self.0[begin..begin + length.min(PERIOD as u64) as usize]
    }

    /// Whether these bytes belong there.
    pub fn holds(&self, mut place: u64, bytes: &[u8]) -> bool {
        bytes.chunks(PERIOD).all(|piece| {
            let right = self.at(place, piece.len() as u64) == piece;
            place += piece.len() as u64;
            right
        })
    }
}
