//! Chance from one seed, and content that says whose it is.

/// The same numbers for the same seed (SplitMix64).
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(mix(seed ^ 0x5EED))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// 0 to `limit - 1`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// Both ends included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// True so many times of a hundred.
    pub fn percent(&mut self, chance: u64) -> bool {
        self.next() % 100 < chance
    }

    pub fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.below(among.len())]
    }

    /// A body's length: often around the sizes of blocks, seldom large.
    pub fn length(&mut self) -> u64 {
        match self.below(12) {
            0 => 0,
            1 => 1,
            2..=5 => self.between(2, 300),
            6 | 7 => self.between(4090, 4100),
            8 => self.between(8185, 8200),
            9 | 10 => self.between(300, 6000),
            _ => self.between(6000, 60_000),
        }
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

/// A number that looks like chance and is a function of the other one.
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// Names one stream of content.
pub fn content_key(parts: [u64; 3]) -> u64 {
    parts.iter().fold(0x00C0_FFEE, |key, part| mix(key ^ mix(*part)))
}

/// The bytes of a stream, from an offset on.
pub fn content(key: u64, offset: u64, count: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(count + 16);
    let mut word = offset / 8;
    while out.len() < count + 8 {
        out.extend_from_slice(&mix(key ^ word.wrapping_mul(0x9E37)).to_le_bytes());
        word += 1;
    }
    out.drain(..(offset % 8) as usize);
    out.truncate(count);
    out
}
