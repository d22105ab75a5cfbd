//! The arena that lends 4 KB blocks and counts them.

use super::heap::{Heap, HeapKind, Largest};

/// Bytes in one block (the customer's card: fixed 4 KB buffers).
pub const BLOCK_BYTES: usize = 4096;

/// Blocks that are allocated together: 256 KB, large enough that the allocator maps zeroed pages, which cost nothing
/// until they are touched (chosen).
const CHUNK_BLOCKS: usize = 64;

/// Most slices that one vectored read fills, and so most blocks of one direction: 32 KB (measured for a bare copying
/// relay of 16 tunnels: 8 KB 0.44 s/GB, 16 KB 0.35, 32 KB 0.32, 64 KB 0.53).
pub const SPACES_MAX: usize = 8;

/// A lent block: an index into the pool. Not `Clone`: its single owner gives it back.
#[derive(Debug, PartialEq, Eq)]
pub struct Block(u32);

/// Space to receive into: a few slices that are filled in order.
#[derive(Debug, Default)]
pub struct Space<'p> {
    slices: [&'p mut [u8]; SPACES_MAX],
    count: usize,
}

impl<'p> Space<'p> {
    /// Space of one slice.
    pub fn one(slice: &'p mut [u8]) -> Space<'p> {
        let mut space = Space { slices: Default::default(), count: 1 };
        space.slices[0] = slice;
        space
    }

    /// The slices, in the order in which they are filled.
    pub fn slices_mut(&mut self) -> &mut [&'p mut [u8]] {
        &mut self.slices[..self.count]
    }

    /// Bytes that fit.
    pub fn len(&self) -> usize {
        self.slices[..self.count].iter().map(|slice| slice.len()).sum()
    }

    /// Whether nothing fits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies bytes into the space as far as they fit, and returns their number. For callers that have the bytes in
    /// memory.
    pub fn fill(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        for slice in self.slices_mut() {
            let (now, later) = rest.split_at(slice.len().min(rest.len()));
            slice[..now.len()].copy_from_slice(now);
            rest = later;
        }
        bytes.len() - rest.len()
    }
}

/// The bytes of a block from `start` to `end`.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockRange {
    index: u32,
    start: usize,
    end: usize,
}

impl BlockRange {
    pub(super) fn new(block: &Block, start: usize, end: usize) -> BlockRange {
        debug_assert!(start <= end && end <= BLOCK_BYTES);
        BlockRange { index: block.0, start, end }
    }
}

/// The purpose of a block. When few blocks are left, purposes that finish work have priority: otherwise new requests
/// could take all blocks, and none of them could ever be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Work that can be left out.
    Spare,
    /// Heap of a filter without which a body does not pass: heads of new requests come first, because a client may begin many bodies
    /// and end none.
    Filter,
    /// The head of a new request.
    Head,
    /// A request body for an origin.
    Upload,
    /// A response for a client.
    Download,
    /// Bytes that the engine writes: heads and local replies.
    Reply,
}

impl Purpose {
    /// What heap for this purpose holds.
    pub(super) fn heap(self) -> HeapKind {
        match self {
            Purpose::Spare | Purpose::Filter | Purpose::Head | Purpose::Upload => HeapKind::Request,
            Purpose::Download => HeapKind::Response,
            Purpose::Reply => HeapKind::Sent,
        }
    }
}

/// The pool. Blocks have 32-bit numbers; memory is allocated in chunks when it is first needed.
#[derive(Debug)]
pub struct Pool {
    chunks: Vec<Box<[u8]>>,
    /// For each block, the next block of the same owner.
    links: Vec<Link>,
    free: Vec<u32>,
    blocks_max: usize,
    lent: usize,
    lent_peak: usize,
    /// Most blocks lent at once since the last `shrink`.
    lent_recently: usize,
    heap: Heap,
    /// Blocks that heap beside the pool counts as.
    charged: usize,
    refusals: u64,
    returned: bool,
    /// Memory beside the pool is scarce.
    scarce: bool,
}

/// The block behind a block.
#[derive(Debug, Default)]
struct Link {
    next: Option<Block>,
    /// Bytes that this block holds.
    len: u16,
}

impl Pool {
    /// A pool that lends at most `blocks_max` blocks (at least 8, so that one transaction can always proceed).
    pub fn new(blocks_max: usize) -> Pool {
        let blocks_max = blocks_max.clamp(8, u32::MAX as usize);
        Pool {
            chunks: Vec::new(),
            links: Vec::new(),
            free: Vec::new(),
            blocks_max,
            lent: 0,
            lent_peak: 0,
            lent_recently: 0,
            heap: Heap::new(blocks_max * BLOCK_BYTES, Largest::default()),
            charged: 0,
            refusals: 0,
            returned: false,
            scarce: false,
        }
    }

    /// Whether a block would be lent for this purpose now.
    pub fn would_lend(&self, purpose: Purpose) -> bool {
        self.lendable(purpose) > 0
    }

    /// The number of blocks that the pool would lend for this purpose now.
    pub fn lendable(&self, purpose: Purpose) -> usize {
        let reserve = match purpose {
            Purpose::Head | Purpose::Spare if self.scarce => return 0,
            Purpose::Spare => self.blocks_max / 2,
            Purpose::Filter => self.blocks_max / 8 * 3,
            Purpose::Head => self.blocks_max / 4,
            Purpose::Upload => self.blocks_max / 8,
            Purpose::Download => self.blocks_max / 32,
            Purpose::Reply => 0,
        };
        (self.blocks_max - self.lent).saturating_sub(reserve + self.charged)
    }

    /// While memory is scarce, lends nothing for new requests, even if blocks are free: a request needs other memory, too.
    pub fn set_scarce(&mut self, scarce: bool) {
        self.scarce = scarce;
    }

    /// Whether memory is scarce.
    pub fn is_scarce(&self) -> bool {
        self.scarce
    }

    /// Whether more than half of the blocks are free.
    pub fn is_plentiful(&self) -> bool {
        self.lent + self.charged < self.blocks_max / 2
    }

    /// Lends a block, or counts a refusal. The block contains the bytes of its last owner.
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
        self.lent_recently = self.lent_recently.max(self.lent);
        Some(Block(index))
    }

    /// Takes a block back.
    pub fn give_back(&mut self, block: Block) {
        debug_assert!(self.lent > 0 && self.next(&block).is_none());
        self.lent -= 1;
        self.returned = true;
        self.free.push(block.0);
    }

    /// The bytes of a block.
    pub fn bytes(&self, block: &Block) -> &[u8] {
        let (chunk, offset) = place(block);
        &self.chunks[chunk][offset..offset + BLOCK_BYTES]
    }

    /// The bytes of a block, for writing.
    pub fn bytes_mut(&mut self, block: &Block) -> &mut [u8] {
        let (chunk, offset) = place(block);
        &mut self.chunks[chunk][offset..offset + BLOCK_BYTES]
    }

    /// The block behind this one.
    pub(super) fn next(&self, block: &Block) -> Option<&Block> {
        self.links[block.0 as usize].next.as_ref()
    }

    /// The bytes that this block holds.
    pub(super) fn len(&self, block: &Block) -> usize {
        usize::from(self.links[block.0 as usize].len)
    }

    /// Sets how many bytes a block holds.
    pub(super) fn set_len(&mut self, block: &Block, len: usize) {
        debug_assert!(len <= BLOCK_BYTES);
        self.links[block.0 as usize].len = len as u16;
    }

    /// Puts a block behind `block`, and returns the block that was behind it before.
    pub(super) fn set_next(&mut self, block: &Block, next: Option<Block>) -> Option<Block> {
        std::mem::replace(&mut self.links[block.0 as usize].next, next)
    }

    /// Space over these ranges, which must not overlap.
    pub(super) fn space(&mut self, ranges: &[BlockRange]) -> Space<'_> {
        debug_assert!(ranges.len() <= SPACES_MAX);
        let mut order: [usize; SPACES_MAX] = std::array::from_fn(|place| place);
        let order = &mut order[..ranges.len().min(SPACES_MAX)];
        order.sort_unstable_by_key(|place| (ranges[*place].index, ranges[*place].start));
        let mut space = Space { slices: Default::default(), count: order.len() };
        // In the order of memory, so that each range is split off the rest that the last range left.
        let (mut chunks, mut chunks_cut) = (&mut self.chunks[..], 0);
        let (mut bytes, mut bytes_cut): (&mut [u8], usize) = (&mut [], 0);
        for place in order {
            let BlockRange { index, start, end } = ranges[*place];
            let (chunk, offset) =
                (index as usize / CHUNK_BLOCKS, index as usize % CHUNK_BLOCKS * BLOCK_BYTES);
            if chunk >= chunks_cut {
                let (_, rest) = std::mem::take(&mut chunks).split_at_mut(chunk - chunks_cut);
                let Some((first, rest)) = rest.split_first_mut() else { break };
                (chunks, chunks_cut) = (rest, chunk + 1);
                (bytes, bytes_cut) = (first, 0);
            }
            let (_, rest) = std::mem::take(&mut bytes).split_at_mut(offset + start - bytes_cut);
            let (slice, rest) = rest.split_at_mut(end - start);
            space.slices[*place] = slice;
            (bytes, bytes_cut) = (rest, offset + end);
        }
        space
    }

    /// Sets how large messages in one piece may become.
    pub fn set_largest(&mut self, largest: Largest) {
        self.heap.divide(self.blocks_max * BLOCK_BYTES, largest);
        self.returned = true;
    }

    /// The most bytes of heap beside so many blocks.
    pub fn spill_max(blocks_max: usize, largest: Largest) -> usize {
        Heap::bytes_max(blocks_max * BLOCK_BYTES, largest)
    }

    /// Whether heap would be granted for this purpose now to a message that fills its block.
    pub fn would_spill(&self, purpose: Purpose) -> bool {
        self.heap.fitting(purpose.heap(), 0, 2 * BLOCK_BYTES).is_some()
    }

    /// Whether heap was returned since the last call.
    pub fn take_heap_returned(&mut self) -> bool {
        self.heap.take_returned()
    }

    /// Asks for heap beside the blocks in place of `held` bytes of it, which are given back afterwards: at least `step` bytes. Returns the
    /// number of granted bytes.
    pub(super) fn spill(&mut self, kind: HeapKind, held: usize, step: usize) -> Option<usize> {
        let granted = self.heap.grant(kind, held, step);
        self.refusals += u64::from(granted.is_none());
        granted
    }

    /// Returns granted heap.
    pub(super) fn unspill(&mut self, kind: HeapKind, bytes: usize) {
        self.heap.give_back(kind, bytes);
        self.returned = true;
    }

    /// Counts heap beside the pool as so many lent blocks. False, which counts as a refusal, if so many could not be lent for this
    /// purpose.
    pub fn charge(&mut self, purpose: Purpose, blocks: usize) -> bool {
        let allowed = blocks <= self.lendable(purpose);
        if allowed {
            self.charged += blocks;
        } else {
            self.refusals += 1;
        }
        allowed
    }

    /// Counts the end of such heap.
    pub fn discharge(&mut self, blocks: usize) {
        debug_assert!(self.charged >= blocks);
        self.charged -= blocks;
        self.returned |= blocks > 0;
    }

    /// Whether memory was returned since the last call: parked connections may try again.
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
        self.heap.granted()
    }

    /// The number of refusals of blocks and heap.
    pub fn refusals(&self) -> u64 {
        self.refusals
    }

    fn grow(&mut self) {
        let place = self.chunks.iter().position(|chunk| chunk.is_empty()).unwrap_or(self.chunks.len());
        let chunk = vec![0; CHUNK_BLOCKS * BLOCK_BYTES].into_boxed_slice();
        match self.chunks.get_mut(place) {
            Some(empty) => *empty = chunk,
            None => {
                self.chunks.push(chunk);
                self.links.resize_with(self.chunks.len() * CHUNK_BLOCKS, Link::default);
            }
        }
        let first = place * CHUNK_BLOCKS;
        self.free.extend((first..first + CHUNK_BLOCKS).rev().map(|index| index as u32));
    }

    /// Whether so many chunks are allocated that some could be freed.
    pub fn may_shrink(&self) -> bool {
        self.held_bytes() > if self.lent == 0 { 0 } else { CHUNK_BLOCKS * BLOCK_BYTES }
    }

    /// Frees chunks without lent blocks, if most chunks were not needed since the last call; the first chunk only if
    /// no block is lent. The remaining chunks are used from the first on. False if nothing was freed.
    pub fn shrink(&mut self) -> bool {
        let lately = std::mem::replace(&mut self.lent_recently, self.lent);
        if !self.may_shrink() || lately * 2 * BLOCK_BYTES > self.held_bytes() {
            return false;
        }
        let mut lent = vec![CHUNK_BLOCKS; self.chunks.len()];
        self.free.iter().for_each(|index| lent[*index as usize / CHUNK_BLOCKS] -= 1);
        let kept = usize::from(lately > 0);
        for (chunk, lent) in self.chunks.iter_mut().zip(&lent).skip(kept).filter(|(_, lent)| **lent == 0) {
            debug_assert!(*lent == 0);
            *chunk = Box::default();
        }
        let chunks = &self.chunks;
        self.free.retain(|index| !chunks[*index as usize / CHUNK_BLOCKS].is_empty());
        self.free.sort_unstable_by(|one, other| other.cmp(one));
        self.free.shrink_to_fit();
        true
    }

    /// Bytes allocated from the system.
    pub fn held_bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.len()).sum()
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
    fn gives_back_unneeded_chunks() {
        let mut pool = Pool::new(1000);
        let mut blocks: Vec<Block> = (0..400).filter_map(|_| pool.lend(Purpose::Reply)).collect();
        assert_eq!(pool.held_bytes(), 448 * BLOCK_BYTES);
        let kept = blocks.swap_remove(100);
        pool.bytes_mut(&kept).fill(7);
        blocks.into_iter().for_each(|block| pool.give_back(block));
        assert!(pool.may_shrink() && !pool.shrink(), "they were needed a moment ago");
        assert!(pool.shrink());
        assert_eq!(
            pool.held_bytes(),
            128 * BLOCK_BYTES,
            "the first chunk, and the one with the block that is lent"
        );
        assert!(pool.bytes(&kept).iter().all(|byte| *byte == 7));
        let again: Vec<Block> = std::iter::from_fn(|| pool.lend(Purpose::Reply)).collect();
        assert_eq!((again.len(), pool.lent()), (999, 1000));
        let mut indices: Vec<u32> = again.iter().map(|block| block.0).collect();
        indices.sort_unstable();
        indices.dedup();
        assert_eq!(indices.len(), 999);
        assert!(!indices.contains(&kept.0));
        again.into_iter().for_each(|block| pool.give_back(block));
        pool.give_back(kept);
        assert!(!pool.shrink() && pool.shrink() && !pool.may_shrink());
        assert_eq!(pool.held_bytes(), 0, "not even one chunk while there is nothing to do");
        assert!(
            pool.lend(Purpose::Reply).is_some() && !pool.may_shrink(),
            "the first stays while it is used"
        );
    }

    #[test]
    fn keeps_the_last_blocks_for_what_finishes_work() {
        let cases = [
            (Purpose::Spare, 50),
            (Purpose::Head, 75),
            (Purpose::Upload, 88),
            (Purpose::Download, 97),
            (Purpose::Reply, 100),
        ];
        for (purpose, expected) in cases {
            let mut pool = Pool::new(100);
            let lent = std::iter::from_fn(|| pool.lend(purpose)).count();
            assert_eq!(lent, expected, "{purpose:?}");
        }
    }

    #[test]
    fn begins_nothing_while_memory_is_scarce() {
        let mut pool = Pool::new(100);
        pool.set_scarce(true);
        assert!(pool.is_scarce() && pool.lend(Purpose::Head).is_none() && pool.refusals() == 1);
        assert!(!pool.charge(Purpose::Spare, 1));
        assert!(pool.lend(Purpose::Upload).is_some() && pool.lend(Purpose::Download).is_some());
        pool.set_scarce(false);
        assert!(pool.lend(Purpose::Head).is_some());
    }

    #[test]
    fn lends_ranges_of_several_blocks_at_once() {
        let mut pool = Pool::new(200);
        let blocks: Vec<Block> = std::iter::from_fn(|| pool.lend(Purpose::Reply)).collect();
        for picked in [&[5_usize, 3, 130, 64, 63, 0, 199, 128][..], &[7], &[9, 8]] {
            let bounds: Vec<(usize, usize)> = (0..picked.len()).map(|at| (at * 10, 4096 - at)).collect();
            let ranges: Vec<BlockRange> = picked
                .iter()
                .zip(&bounds)
                .map(|(at, (start, end))| BlockRange::new(&blocks[*at], *start, *end))
                .collect();
            let mut space = pool.space(&ranges);
            let bytes: Vec<u8> = (0..space.len()).map(|at| (at % 251) as u8).collect();
            assert_eq!(space.fill(&bytes), bytes.len());
            let mut rest = &bytes[..];
            for (at, (start, end)) in picked.iter().zip(bounds) {
                let (here, later) = rest.split_at(end - start);
                assert_eq!(&pool.bytes(&blocks[*at])[start..end], here, "{picked:?} {at}");
                rest = later;
            }
        }
        // Two ranges of one block, the later one first.
        let mut space =
            pool.space(&[BlockRange::new(&blocks[1], 4000, 4096), BlockRange::new(&blocks[1], 0, 10)]);
        assert_eq!((space.len(), space.fill(&[9; 200])), (106, 106));
        assert!(pool.bytes(&blocks[1])[..10].iter().all(|byte| *byte == 9));
        blocks.into_iter().for_each(|block| pool.give_back(block));
    }

    #[test]
    fn bounds_the_heap_beside_the_blocks() {
        let mut pool = Pool::new(16);
        let sent = HeapKind::Sent;
        let most = Pool::spill_max(16, Largest::default()) / 2;
        assert_eq!(pool.spill(sent, 0, most), Some(most));
        assert_eq!(pool.spill(sent, 0, 1), None);
        assert!(!pool.take_heap_returned() && pool.refusals() == 1);
        pool.unspill(sent, most);
        assert!(pool.take_heap_returned() && pool.take_returned() && !pool.take_heap_returned());
        assert_eq!((pool.spill(sent, 0, 1), pool.spilled_bytes()), (Some(1), 1));
    }
}
