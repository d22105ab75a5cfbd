//! A ring over one lent block: the payload of one direction on its way through.

use super::{BLOCK_BYTES, Block, Pool, Purpose};

/// A first-in first-out queue of at most 4 KB. It takes a block with the first space it lends and gives it back with
/// the last byte consumed.
#[derive(Debug, Default)]
pub struct Ring {
    block: Option<Block>,
    start: u16,
    len: u16,
}

impl Ring {
    /// A ring over a block that already holds `len` bytes from `start`. An empty one gives the block back at once.
    pub fn over(pool: &mut Pool, block: Block, start: usize, len: usize) -> Ring {
        debug_assert!(start + len <= BLOCK_BYTES);
        if len == 0 {
            pool.give_back(block);
            return Ring::default();
        }
        Ring { block: Some(block), start: start as u16, len: len as u16 }
    }

    /// Bytes waiting.
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether no more fits.
    pub fn is_full(&self) -> bool {
        self.len() == BLOCK_BYTES
    }

    /// Contiguous room to receive into, empty when the ring is full; `None` if the pool has no block to lend. After a
    /// wrap there may be more room behind it, lent by the next call.
    pub fn space<'p>(&mut self, pool: &'p mut Pool, purpose: Purpose) -> Option<&'p mut [u8]> {
        if self.block.is_none() {
            self.block = Some(pool.lend(purpose)?);
            self.start = 0;
        }
        let (start, end) = (usize::from(self.start), usize::from(self.start) + self.len());
        let bytes = pool.bytes_mut(self.block.as_ref()?);
        Some(if end < BLOCK_BYTES { &mut bytes[end..] } else { &mut bytes[end - BLOCK_BYTES..start] })
    }

    /// Reports that `count` bytes were received into the space.
    pub fn commit(&mut self, count: usize) {
        debug_assert!(self.len() + count <= BLOCK_BYTES);
        self.len += count as u16;
    }

    /// What waits, in order.
    pub fn bytes<'p>(&self, pool: &'p Pool) -> [&'p [u8]; 2] {
        let Some(block) = &self.block else { return [&[], &[]] };
        let bytes = pool.bytes(block);
        let (start, end) = (usize::from(self.start), usize::from(self.start) + self.len());
        if end <= BLOCK_BYTES {
            [&bytes[start..end], &[]]
        } else {
            [&bytes[start..], &bytes[..end - BLOCK_BYTES]]
        }
    }

    /// Reports that the oldest `count` bytes are done with.
    pub fn consume(&mut self, pool: &mut Pool, count: usize) {
        debug_assert!(count <= self.len());
        self.start = ((usize::from(self.start) + count) % BLOCK_BYTES) as u16;
        self.len -= count as u16;
        self.release_if_empty(pool);
    }

    /// Gives an empty ring's block back: after space that was lent and not used.
    pub fn release_if_empty(&mut self, pool: &mut Pool) {
        if self.len == 0 {
            self.release(pool);
        }
    }

    /// Drops everything and gives the block back.
    pub fn release(&mut self, pool: &mut Pool) {
        if let Some(block) = self.block.take() {
            pool.give_back(block);
        }
        (self.start, self.len) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// Random pushes and pops against a queue that is obviously right.
    #[test]
    fn agrees_with_a_queue() {
        let mut pool = Pool::new(8);
        let mut ring = Ring::default();
        let mut model: VecDeque<u8> = VecDeque::new();
        let mut state = 1_u64;
        let mut next = |bound: usize| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize % bound
        };
        for step in 0..20_000_usize {
            if next(2) == 0 {
                let space = ring.space(&mut pool, Purpose::Upload).unwrap();
                assert_eq!(space.is_empty(), model.len() == BLOCK_BYTES);
                let count = next(space.len() + 1);
                for (index, byte) in space.iter_mut().take(count).enumerate() {
                    *byte = (step + index) as u8;
                    model.push_back(*byte);
                }
                ring.commit(count);
                ring.release_if_empty(&mut pool);
            } else {
                let [first, second] = ring.bytes(&pool);
                assert!(first.iter().chain(second).eq(model.iter()), "step {step}");
                let count = next(model.len() + 1);
                model.drain(..count);
                ring.consume(&mut pool, count);
            }
            assert_eq!(
                (ring.len(), ring.is_empty(), ring.is_full()),
                (model.len(), model.is_empty(), model.len() == 4096)
            );
            assert_eq!(pool.lent(), usize::from(!model.is_empty()), "an empty ring holds no block");
        }
    }

    #[test]
    fn takes_over_a_block_that_holds_bytes() {
        let mut pool = Pool::new(8);
        let block = pool.lend(Purpose::Download).unwrap();
        pool.bytes_mut(&block)[4000..4096].fill(7);
        let mut ring = Ring::over(&mut pool, block, 4000, 96);
        let space = ring.space(&mut pool, Purpose::Download).unwrap();
        assert_eq!(space.len(), 4000);
        space[0] = 8;
        ring.commit(1);
        let [first, second] = ring.bytes(&pool);
        assert_eq!((first, second), (&[7; 96][..], &[8][..]));
        ring.release(&mut pool);
        let block = pool.lend(Purpose::Download).unwrap();
        assert!(Ring::over(&mut pool, block, 9, 0).is_empty());
        assert_eq!(pool.lent(), 0);
    }
}
