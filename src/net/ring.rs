//! A ring over one lent block, and a few more blocks while its direction is busy: the payload of one direction.
//!
//! States: *empty* (no block, or one that space was lent from), *quiet* (one block, used circularly), *busy* (several
//! blocks, filled by one vectored read into an empty ring, and emptied by vectored writes). A read beside waiting
//! bytes stays in the front block: small reads would only cost system calls.

use super::pool::BlockRange;
use super::{BLOCK_BYTES, Block, Pool, Purpose, SPACES_MAX, Space};

/// Most slices of the waiting bytes.
pub const RING_SLICES_MAX: usize = SPACES_MAX + 1;

/// A first-in first-out queue of at most `SPACES_MAX` blocks. It takes blocks when it lends space, and gives each
/// back with its last byte.
#[derive(Debug, Default)]
pub struct Ring {
    front: Option<Block>,
    /// Position and number of the bytes in the front block.
    start: u16,
    len: u16,
    /// Bytes in the blocks behind the front one.
    rest_len: u32,
}

impl Ring {
    /// A ring over a block that holds `len` bytes from `start`. An empty one gives the block back.
    pub fn from_block(pool: &mut Pool, block: Block, start: usize, len: usize) -> Ring {
        debug_assert!(start + len <= BLOCK_BYTES);
        if len == 0 {
            pool.give_back(block);
            return Ring::default();
        }
        Ring { front: Some(block), start: start as u16, len: len as u16, rest_len: 0 }
    }

    /// Bytes waiting.
    pub fn len(&self) -> usize {
        usize::from(self.len) + self.rest_len as usize
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the ring has no space behind the waiting bytes.
    pub fn is_full(&self) -> bool {
        usize::from(self.len) == BLOCK_BYTES || self.rest_len > 0
    }

    /// Space to receive into, over up to `blocks_max` blocks if the ring is empty; `None` if the pool refuses. If
    /// bytes wait, the space is the rest of the front block up to its end; after a wrap the next call may lend more.
    pub fn space<'p>(
        &mut self,
        pool: &'p mut Pool,
        purpose: Purpose,
        blocks_max: usize,
    ) -> Option<Space<'p>> {
        if self.front.is_none() {
            self.front = Some(pool.lend(purpose)?);
        }
        if self.is_empty() {
            self.start = 0;
            self.add_blocks(pool, purpose, blocks_max.min(SPACES_MAX));
        }
        Some(self.room(pool))
    }

    /// Adds empty blocks behind the front one, up to `blocks_max`, as long as half of the pool is free: a client that
    /// does not read keeps its blocks, and the other half is for connections that have none.
    fn add_blocks(&self, pool: &mut Pool, purpose: Purpose, blocks_max: usize) {
        let Some(front) = &self.front else { return };
        for _ in count_behind(pool, front) + 1..blocks_max {
            if !pool.is_plentiful() || !pool.would_lend(purpose) {
                return;
            }
            let Some(block) = pool.lend(purpose) else { return };
            pool.set_len(&block, 0);
            let rest = pool.set_next(front, None);
            pool.set_next(&block, rest);
            pool.set_next(front, Some(block));
        }
    }

    /// The space that was lent last.
    pub fn room<'p>(&self, pool: &'p mut Pool) -> Space<'p> {
        let Some(front) = &self.front else { return Space::default() };
        let (start, end) = (usize::from(self.start), usize::from(self.start) + usize::from(self.len));
        if self.rest_len > 0 {
            return Space::default();
        }
        if !self.is_empty() || pool.next(front).is_none() {
            let (start, end) =
                if end < BLOCK_BYTES { (end, BLOCK_BYTES) } else { (end - BLOCK_BYTES, start) };
            return Space::one(&mut pool.bytes_mut(front)[start..end]);
        }
        let mut ranges = [BlockRange::new(front, 0, BLOCK_BYTES); SPACES_MAX];
        let mut count = 0;
        let mut block = Some(front);
        while let (Some(one), Some(place)) = (block, ranges.get_mut(count)) {
            *place = BlockRange::new(one, 0, BLOCK_BYTES);
            count += 1;
            block = pool.next(one);
        }
        pool.space(&ranges[..count])
    }

    /// Reports the bytes received into each slice of the space. Blocks without bytes are given back.
    pub fn commit(&mut self, pool: &mut Pool, filled: &[usize]) {
        let Some((first, rest)) = filled.split_first() else { return };
        debug_assert!(usize::from(self.len) + first <= BLOCK_BYTES);
        self.len += *first as u16;
        let Some(front) = &self.front else { return };
        // Most reads had one block.
        if pool.next(front).is_none() {
            if self.len == 0 {
                self.advance(pool);
            }
            return;
        }
        self.commit_rest(pool, rest);
    }

    /// Takes over the bytes received into the blocks behind the front one.
    fn commit_rest(&mut self, pool: &mut Pool, rest: &[usize]) {
        let Some(front) = &self.front else { return };
        let mut behind = pool.set_next(front, None);
        let mut kept: [Option<Block>; SPACES_MAX] = Default::default();
        for (place, count) in kept.iter_mut().zip(rest.iter().chain(std::iter::repeat(&0))) {
            let Some(block) = behind.take() else { break };
            behind = pool.set_next(&block, None);
            if *count == 0 {
                pool.give_back(block);
            } else {
                pool.set_len(&block, *count);
                self.rest_len += *count as u32;
                *place = Some(block);
            }
        }
        // Linked from the last to the first.
        let mut following = None;
        for block in kept.into_iter().rev().flatten() {
            pool.set_next(&block, following);
            following = Some(block);
        }
        pool.set_next(front, following);
        if self.len == 0 {
            self.advance(pool);
        }
    }

    /// Hands out the waiting bytes, in order: at most [`RING_SLICES_MAX`] slices.
    #[inline]
    pub fn for_each_slice<'p>(&self, pool: &'p Pool, mut take: impl FnMut(&'p [u8])) {
        let Some(front) = &self.front else { return };
        let bytes = pool.bytes(front);
        let (start, end) = (usize::from(self.start), usize::from(self.start) + usize::from(self.len));
        if end <= BLOCK_BYTES {
            take(&bytes[start..end]);
        } else {
            take(&bytes[start..]);
            take(&bytes[..end - BLOCK_BYTES]);
        }
        if self.rest_len > 0 {
            let mut block = pool.next(front);
            while let Some(one) = block {
                take(&pool.bytes(one)[..pool.len(one)]);
                block = pool.next(one);
            }
        }
    }

    /// Drops the oldest `count` bytes.
    pub fn consume(&mut self, pool: &mut Pool, count: usize) {
        debug_assert!(count <= self.len());
        let mut left = count;
        loop {
            let here = left.min(usize::from(self.len));
            self.start = ((usize::from(self.start) + here) % BLOCK_BYTES) as u16;
            self.len -= here as u16;
            left -= here;
            if self.len > 0 || self.front.is_none() {
                return;
            }
            self.advance(pool);
        }
    }

    /// Gives the empty front block back; the block behind it becomes the front one.
    fn advance(&mut self, pool: &mut Pool) {
        let Some(front) = self.front.take() else { return };
        self.front = pool.set_next(&front, None);
        pool.give_back(front);
        self.start = 0;
        self.len = self.front.as_ref().map_or(0, |block| pool.len(block)) as u16;
        self.rest_len -= u32::from(self.len);
    }

    /// Gives the blocks of an empty ring back, for callers that did not use the space that was lent.
    pub fn release_if_empty(&mut self, pool: &mut Pool) {
        if self.is_empty() {
            self.release(pool);
        }
    }

    /// Drops all bytes and gives the blocks back.
    pub fn release(&mut self, pool: &mut Pool) {
        let mut front = self.front.take();
        while let Some(block) = front {
            front = pool.set_next(&block, None);
            pool.give_back(block);
        }
        (self.start, self.len, self.rest_len) = (0, 0, 0);
    }
}

fn count_behind(pool: &Pool, front: &Block) -> usize {
    std::iter::successors(pool.next(front), |block| pool.next(block)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    fn waiting(ring: &Ring, pool: &Pool) -> Vec<u8> {
        let (mut bytes, mut slices) = (Vec::new(), 0);
        ring.for_each_slice(pool, |slice| {
            bytes.extend_from_slice(slice);
            slices += 1;
        });
        assert!(slices <= RING_SLICES_MAX);
        bytes
    }

    /// Random pushes and pops, compared with a plain queue.
    #[test]
    fn agrees_with_a_queue() {
        let mut pool = Pool::new(64);
        let mut ring = Ring::default();
        let mut model: VecDeque<u8> = VecDeque::new();
        let mut state = 1_u64;
        let mut next = |bound: usize| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize % bound
        };
        for step in 0..40_000_usize {
            if next(2) == 0 {
                let blocks_max = 1 << next(4);
                let mut space = ring.space(&mut pool, Purpose::Upload, blocks_max).unwrap();
                if model.is_empty() {
                    assert_eq!(space.len(), blocks_max * BLOCK_BYTES);
                }
                // Not every range is filled, and framing may take a part of each away.
                let mut filled = Vec::new();
                for slice in space.slices_mut() {
                    let count = if next(8) == 0 { 0 } else { next(slice.len() + 1) };
                    for (index, byte) in slice.iter_mut().take(count).enumerate() {
                        *byte = (step + index) as u8;
                        model.push_back(*byte);
                    }
                    filled.push(count);
                    if next(4) == 0 {
                        break;
                    }
                }
                ring.commit(&mut pool, &filled);
                ring.release_if_empty(&mut pool);
            } else {
                let waiting = waiting(&ring, &pool);
                assert!(waiting.iter().eq(model.iter()), "step {step}");
                let count = next(model.len() + 1);
                model.drain(..count);
                ring.consume(&mut pool, count);
            }
            assert_eq!((ring.len(), ring.is_empty()), (model.len(), model.is_empty()), "step {step}");
            assert_eq!(pool.lent() == 0, model.is_empty(), "an empty ring holds no block");
            assert!(pool.lent() <= SPACES_MAX);
        }
    }

    #[test]
    fn takes_what_blocks_there_are() {
        // Several blocks only while half of the pool is free; a later connection gets one, while there is one.
        for (lent, blocks) in [(0, 8), (24, 8), (25, 7), (31, 1), (32, 1), (61, 1), (62, 0)] {
            let mut pool = Pool::new(64);
            let mut ring = Ring::default();
            let others: Vec<Block> = (0..lent).map(|_| pool.lend(Purpose::Reply).unwrap()).collect();
            let bytes = ring.space(&mut pool, Purpose::Download, 8).map_or(0, |space| space.len());
            assert_eq!(bytes, blocks * BLOCK_BYTES, "{lent}");
            assert_eq!((pool.lent(), pool.refusals()), (lent + blocks, u64::from(blocks == 0)), "{lent}");
            ring.release_if_empty(&mut pool);
            assert_eq!(pool.lent(), lent);
            others.into_iter().for_each(|block| pool.give_back(block));
        }
    }

    #[test]
    fn takes_over_a_block_that_holds_bytes() {
        let mut pool = Pool::new(8);
        let block = pool.lend(Purpose::Download).unwrap();
        pool.bytes_mut(&block)[4000..4096].fill(7);
        let mut ring = Ring::from_block(&mut pool, block, 4000, 96);
        let mut space = ring.space(&mut pool, Purpose::Download, 8).unwrap();
        assert_eq!(space.len(), 4000);
        assert_eq!(space.fill(&[8]), 1);
        ring.commit(&mut pool, &[1]);
        assert_eq!(waiting(&ring, &pool), [&[7; 96][..], &[8]].concat());
        ring.release(&mut pool);
        let block = pool.lend(Purpose::Download).unwrap();
        assert!(Ring::from_block(&mut pool, block, 9, 0).is_empty());
        assert_eq!(pool.lent(), 0);
    }
}
