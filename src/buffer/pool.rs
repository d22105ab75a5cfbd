//! The arena that lends 4 KB blocks and counts them.

/// Bytes in one block (the customer's card: fixed 4 KB buffers).
pub const BLOCK_BYTES: usize = 4096;

/// Blocks that are taken from the system at a time: 256 KB, large enough that the allocator maps zeroed pages which
/// cost nothing until they are touched (chosen).
const CHUNK_BLOCKS: usize = 64;

/// One lent block: an index into the pool. Not `Clone`: there is one owner, who gives it back.
#[derive(Debug, PartialEq, Eq)]
pub struct Block(u32);

/// What a block is wanted for. When few are left, the ones that finish work go first: otherwise a proxy whose blocks
/// are all taken by new requests could never answer one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A request that is only beginning.
    Head,
    /// A request body on its way to an origin.
    Upload,
    /// A response on its way to a client.
    Download,
    /// Bytes that the engine writes itself: rewritten heads and replies.
    Reply,
}

/// The arena. Blocks are numbered with 32 bits; memory is taken in chunks when it is first needed.
#[derive(Debug)]
pub struct Pool {
    chunks: Vec<Box<[u8]>>,
    free: Vec<u32>,
    blocks_max: usize,
    lent: usize,
    lent_peak: usize,
    spilled_bytes: usize,
    refusals: u64,
    returned: bool,
}

impl Pool {
    /// A pool that lends at most `blocks_max` blocks (at least 8, so that one exchange can always be served).
    pub fn new(blocks_max: usize) -> Pool {
        Pool {
            chunks: Vec::new(),
            free: Vec::new(),
            blocks_max: blocks_max.clamp(8, u32::MAX as usize),
            lent: 0,
            lent_peak: 0,
            spilled_bytes: 0,
            refusals: 0,
            returned: false,
        }
    }

    /// Whether a block would be lent for this purpose now.
    pub fn would_lend(&self, purpose: Purpose) -> bool {
        self.lendable(purpose) > 0
    }

    /// How many blocks would be lent for this purpose now.
    pub fn lendable(&self, purpose: Purpose) -> usize {
        let reserve = match purpose {
            Purpose::Head => self.blocks_max / 4,
            Purpose::Upload => self.blocks_max / 8,
            Purpose::Download => self.blocks_max / 32,
            Purpose::Reply => 0,
        };
        (self.blocks_max - self.lent).saturating_sub(reserve)
    }

    /// Lends a block, or counts a refusal. Its bytes are whatever the last owner left.
    pub fn lend(&mut self, purpose: Purpose) -> Option<Block> {
        if !self.would_lend(purpose) {
            self.refusals += 1;
            return None;
        }
        if self.free.is_empty() {
            self.grow();
        }
        let index = self.free.pop()?;
        self.lent += 1;
        self.lent_peak = self.lent_peak.max(self.lent);
        Some(Block(index))
    }

    /// Takes a block back.
    pub fn give_back(&mut self, block: Block) {
        debug_assert!(self.lent > 0);
        self.lent -= 1;
        self.returned = true;
        self.free.push(block.0);
    }

    /// The bytes of a block.
    pub fn bytes(&self, block: &Block) -> &[u8] {
        let (chunk, offset) = place(block);
        &self.chunks[chunk][offset..offset + BLOCK_BYTES]
    }

    /// The bytes of a block, to be written.
    pub fn bytes_mut(&mut self, block: &Block) -> &mut [u8] {
        let (chunk, offset) = place(block);
        &mut self.chunks[chunk][offset..offset + BLOCK_BYTES]
    }

    /// Whether `bytes` of heap would be allowed now: a quarter of the pool's size is in all (chosen).
    pub fn would_spill(&self, bytes: usize) -> bool {
        self.spilled_bytes + bytes <= self.blocks_max * BLOCK_BYTES / 4
    }

    /// Asks leave for `bytes` of heap beside the blocks.
    pub fn spill(&mut self, bytes: usize) -> bool {
        let allowed = self.would_spill(bytes);
        if allowed {
            self.spilled_bytes += bytes;
        } else {
            self.refusals += 1;
        }
        allowed
    }

    /// Reports heap given up again.
    pub fn unspill(&mut self, bytes: usize) {
        debug_assert!(self.spilled_bytes >= bytes);
        self.spilled_bytes -= bytes;
        self.returned = true;
    }

    /// Whether anything came back since this was last asked: who waits for memory may try again.
    pub fn take_returned(&mut self) -> bool {
        std::mem::take(&mut self.returned)
    }

    /// Blocks lent now.
    pub fn lent(&self) -> usize {
        self.lent
    }

    /// Most blocks ever lent at once.
    pub fn lent_peak(&self) -> usize {
        self.lent_peak
    }

    /// Heap bytes beside the blocks now.
    pub fn spilled_bytes(&self) -> usize {
        self.spilled_bytes
    }

    /// How often a block or heap was refused.
    pub fn refusals(&self) -> u64 {
        self.refusals
    }

    fn grow(&mut self) {
        let first = self.chunks.len() * CHUNK_BLOCKS;
        self.chunks.push(vec![0; CHUNK_BLOCKS * BLOCK_BYTES].into_boxed_slice());
        self.free.extend((first..first + CHUNK_BLOCKS).rev().map(|index| index as u32));
    }
}

fn place(block: &Block) -> (usize, usize) {
    let index = block.0 as usize;
    (index / CHUNK_BLOCKS, index % CHUNK_BLOCKS * BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lends_each_block_once_and_counts() {
        let mut pool = Pool::new(100);
        let mut blocks = Vec::new();
        while let Some(block) = pool.lend(Purpose::Reply) {
            let mark = blocks.len() as u8;
            pool.bytes_mut(&block).fill(mark);
            blocks.push(block);
        }
        assert_eq!((blocks.len(), pool.lent(), pool.refusals()), (100, 100, 1));
        for (mark, block) in blocks.iter().enumerate() {
            assert!(pool.bytes(block).iter().all(|&byte| byte == mark as u8));
        }
        assert!(!pool.take_returned());
        blocks.into_iter().for_each(|block| pool.give_back(block));
        assert_eq!((pool.lent(), pool.lent_peak()), (0, 100));
        assert!(pool.take_returned() && !pool.take_returned());
    }

    #[test]
    fn keeps_the_last_blocks_for_what_finishes_work() {
        let cases =
            [(Purpose::Head, 75), (Purpose::Upload, 88), (Purpose::Download, 97), (Purpose::Reply, 100)];
        for (purpose, expected) in cases {
            let mut pool = Pool::new(100);
            let lent = std::iter::from_fn(|| pool.lend(purpose)).count();
            assert_eq!(lent, expected, "{purpose:?}");
        }
    }

    #[test]
    fn bounds_the_heap_beside_the_blocks() {
        let mut pool = Pool::new(16);
        assert!(pool.spill(4 * BLOCK_BYTES));
        assert!(!pool.spill(1));
        pool.unspill(4 * BLOCK_BYTES);
        assert!(pool.spill(1));
    }
}
