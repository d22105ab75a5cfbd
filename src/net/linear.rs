//! A contiguous buffer for message heads, because a head is parsed as a whole.

use super::heap::HeapKind;
use super::{BLOCK_BYTES, Block, Pool, Purpose};

/// Contiguous bytes: none, one block, or (for heads over 4 KB) heap memory that the pool has granted.
#[derive(Debug, Default)]
pub struct Linear {
    store: Store,
    start: u32,
    end: u32,
}

#[derive(Debug, Default)]
enum Store {
    #[default]
    Empty,
    Block(Block),
    Heap(Box<[u8]>, HeapKind),
}

impl Linear {
    /// Bytes held.
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether the bytes are in heap beside the blocks.
    pub fn is_spilled(&self) -> bool {
        matches!(self.store, Store::Heap(..))
    }

    /// The bytes held.
    pub fn bytes<'p>(&'p self, pool: &'p Pool) -> &'p [u8] {
        let range = self.start as usize..self.end as usize;
        match &self.store {
            Store::Empty => &[],
            Store::Block(block) => &pool.bytes(block)[range],
            Store::Heap(heap, _) => &heap[range],
        }
    }

    /// Space to receive into, at least one byte as long as fewer than `bytes_max` are held. `None` if the pool
    /// refuses.
    pub fn space<'p>(
        &'p mut self,
        pool: &'p mut Pool,
        purpose: Purpose,
        bytes_max: usize,
    ) -> Option<&'p mut [u8]> {
        if self.room() == 0 || matches!(self.store, Store::Empty) {
            self.make_room(pool, purpose, 1, bytes_max)?;
        }
        let end = self.end as usize;
        Some(match &mut self.store {
            Store::Empty => &mut [],
            Store::Block(block) => &mut pool.bytes_mut(block)[end..],
            Store::Heap(heap, _) => &mut heap[end..],
        })
    }

    /// The number of bytes that fit without more memory.
    pub fn spare(&self) -> usize {
        self.end as usize + self.room() - self.len()
    }

    /// Takes a block for an empty buffer and leaves `start` bytes free in front. False if the pool refuses.
    #[must_use]
    pub fn begin_at(&mut self, pool: &mut Pool, purpose: Purpose, start: usize) -> bool {
        debug_assert!(self.is_empty() && start < BLOCK_BYTES);
        if matches!(self.store, Store::Empty) {
            let Some(block) = pool.lend(purpose) else { return false };
            self.store = Store::Block(block);
            (self.start, self.end) = (start as u32, start as u32);
        }
        true
    }

    /// The number of bytes that could be written in front of the byte at `at`, over older bytes; 0 if the buffer is no block.
    pub fn room_before(&self, at: usize) -> usize {
        match self.store {
            Store::Block(_) => self.start as usize + at,
            Store::Empty | Store::Heap(..) => 0,
        }
    }

    /// Reports that `count` bytes were received into the space.
    pub fn commit(&mut self, count: usize) {
        self.end += count as u32;
    }

    /// Appends bytes: all, or none if the pool refuses.
    #[must_use]
    pub fn append(&mut self, pool: &mut Pool, purpose: Purpose, bytes: &[u8]) -> bool {
        if bytes.is_empty() {
            return true;
        }
        let fits = !matches!(self.store, Store::Empty) && self.room() >= bytes.len();
        let bytes_max = self.len() + bytes.len();
        if !fits && self.make_room(pool, purpose, bytes.len(), bytes_max).is_none() {
            return false;
        }
        let (start, end) = (self.end as usize, self.end as usize + bytes.len());
        match &mut self.store {
            Store::Empty => return false,
            Store::Block(block) => pool.bytes_mut(block)[start..end].copy_from_slice(bytes),
            Store::Heap(heap, _) => heap[start..end].copy_from_slice(bytes),
        }
        self.end = end as u32;
        true
    }

    /// Drops the oldest `count` bytes; an empty buffer gives its memory back.
    pub fn consume(&mut self, pool: &mut Pool, count: usize) {
        debug_assert!(count <= self.len());
        self.start += count as u32;
        if self.is_empty() {
            self.release(pool);
        }
    }

    /// Drops all bytes and gives the memory back.
    pub fn release(&mut self, pool: &mut Pool) {
        match std::mem::take(&mut self.store) {
            Store::Empty => {}
            Store::Block(block) => pool.give_back(block),
            Store::Heap(heap, kind) => pool.unspill(kind, heap.len()),
        }
        (self.start, self.end) = (0, 0);
    }

    /// Gives the memory of an empty buffer back, for callers that did not use the space that was lent.
    pub fn release_if_empty(&mut self, pool: &mut Pool) {
        if self.is_empty() {
            self.release(pool);
        }
    }

    /// Hands over the block with the range of the held bytes. `None`, and no change, if the buffer is no block.
    pub fn take_block(&mut self) -> Option<(Block, usize, usize)> {
        match std::mem::take(&mut self.store) {
            Store::Block(block) => {
                let range = (self.start as usize, self.len());
                (self.start, self.end) = (0, 0);
                Some((block, range.0, range.1))
            }
            other => {
                self.store = other;
                None
            }
        }
    }

    /// The held bytes, for changes in place.
    pub fn bytes_mut<'p>(&'p mut self, pool: &'p mut Pool) -> &'p mut [u8] {
        let range = self.start as usize..self.end as usize;
        match &mut self.store {
            Store::Empty => &mut [],
            Store::Block(block) => &mut pool.bytes_mut(block)[range],
            Store::Heap(heap, _) => &mut heap[range],
        }
    }

    /// Gives back heap of which the held bytes fill less than half, but for the rest of a block: no more is received for now.
    pub fn trim(&mut self, pool: &mut Pool) {
        let Store::Heap(heap, kind) = &mut self.store else { return };
        let (start, end) = (self.start as usize, self.end as usize);
        let size = (end - start).next_multiple_of(BLOCK_BYTES);
        if 2 * size <= heap.len() {
            let mut trimmed = vec![0; size].into_boxed_slice();
            trimmed[..end - start].copy_from_slice(&heap[start..end]);
            pool.unspill(*kind, heap.len() - size);
            *heap = trimmed;
            (self.start, self.end) = (0, (end - start) as u32);
        }
    }

    /// Drops the newest bytes so that `len` remain.
    pub fn truncate(&mut self, pool: &mut Pool, len: usize) {
        self.end = self.end.min(self.start + len as u32);
        self.release_if_empty(pool);
    }

    fn room(&self) -> usize {
        let capacity = match &self.store {
            Store::Empty => 0,
            Store::Block(_) => BLOCK_BYTES,
            Store::Heap(heap, _) => heap.len(),
        };
        capacity - self.end as usize
    }

    /// Makes space for `wanted` more bytes: takes a block, moves the bytes to the front, or spills to the heap.
    fn make_room(
        &mut self,
        pool: &mut Pool,
        purpose: Purpose,
        wanted: usize,
        bytes_max: usize,
    ) -> Option<()> {
        let needed = self.len() + wanted;
        if matches!(self.store, Store::Empty) && needed <= BLOCK_BYTES {
            self.store = Store::Block(pool.lend(purpose)?);
            (self.start, self.end) = (0, 0);
            return Some(());
        }
        let capacity = self.end as usize + self.room();
        if needed <= capacity {
            let (start, len) = (self.start as usize, self.len());
            match &mut self.store {
                Store::Empty => {}
                Store::Block(block) => pool.bytes_mut(block).copy_within(start..start + len, 0),
                Store::Heap(heap, _) => heap.copy_within(start..start + len, 0),
            }
            (self.start, self.end) = (0, len as u32);
            return Some(());
        }
        let kind = purpose.heap();
        let held = match &self.store {
            Store::Heap(heap, same) if *same == kind => heap.len(),
            Store::Heap(..) | Store::Block(_) | Store::Empty => 0,
        };
        let step = (2 * capacity).clamp(2 * BLOCK_BYTES, bytes_max.max(2 * BLOCK_BYTES)).max(needed);
        let mut heap = vec![0; pool.spill(kind, held, step)?].into_boxed_slice();
        let len = self.len();
        heap[..len].copy_from_slice(self.bytes(pool));
        self.release(pool);
        (self.store, self.start, self.end) = (Store::Heap(heap, kind), 0, len as u32);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Largest;
    use super::*;

    fn filled(len: usize) -> Vec<u8> {
        (0..len).map(|index| (index % 251) as u8).collect()
    }

    #[test]
    fn grows_from_block_to_heap_and_gives_everything_back() {
        for step in [1, 7, 100, 4096, 5000, 40_000] {
            let mut pool = Pool::new(128);
            pool.set_largest(Largest { request: 40_000, response: 0 });
            let mut linear = Linear::default();
            let bytes = filled(40_000);
            for part in bytes.chunks(step) {
                let mut part = part;
                while !part.is_empty() {
                    let space = linear.space(&mut pool, Purpose::Head, 40_000).unwrap();
                    let count = space.len().min(part.len());
                    assert!(count > 0);
                    space[..count].copy_from_slice(&part[..count]);
                    linear.commit(count);
                    part = &part[count..];
                }
            }
            assert_eq!(linear.bytes(&pool), bytes, "step {step}");
            assert!(pool.spilled_bytes() >= 40_000 && pool.lent() == 0);
            linear.consume(&mut pool, 39_999);
            assert_eq!(linear.bytes(&pool), &bytes[39_999..]);
            linear.consume(&mut pool, 1);
            assert_eq!((pool.lent(), pool.spilled_bytes()), (0, 0));
        }
    }

    #[test]
    fn moves_what_is_left_to_the_front_before_it_spills() {
        let mut pool = Pool::new(16);
        let mut linear = Linear::default();
        assert!(linear.append(&mut pool, Purpose::Head, &filled(4096)));
        linear.consume(&mut pool, 4000);
        assert_eq!(linear.spare(), 4000);
        assert_eq!(linear.space(&mut pool, Purpose::Head, 8192).unwrap().len(), 4000);
        assert_eq!((linear.spare(), Linear::default().spare()), (4000, 0));
        assert_eq!(linear.bytes(&pool), &filled(4096)[4000..]);
        assert_eq!((pool.lent(), pool.spilled_bytes()), (1, 0));
        let (block, start, len) = linear.take_block().unwrap();
        assert_eq!((start, len, linear.is_empty()), (0, 96, true));
        pool.give_back(block);
    }

    #[test]
    fn gives_back_what_is_not_filled() {
        let mut pool = Pool::new(128);
        let mut linear = Linear::default();
        let bytes = filled(9000);
        // Others hold so much that it gets room for the largest message.
        pool.set_largest(Largest { request: 200_000, response: 0 });
        assert_eq!(pool.spill(HeapKind::Request, 0, 60_000), Some(60_000));
        assert!(linear.append(&mut pool, Purpose::Head, &bytes) && pool.spilled_bytes() == 260_000);
        pool.unspill(HeapKind::Request, 60_000);
        linear.consume(&mut pool, 1000);
        linear.trim(&mut pool);
        assert_eq!((linear.bytes(&pool), pool.spilled_bytes(), linear.spare()), (&bytes[1000..], 8192, 192));
        linear.trim(&mut pool);
        assert_eq!(pool.spilled_bytes(), 8192);
        linear.release(&mut pool);
        assert!(linear.append(&mut pool, Purpose::Head, b"short"));
        linear.trim(&mut pool);
        assert_eq!((linear.bytes(&pool), pool.lent(), pool.spilled_bytes()), (&b"short"[..], 1, 0));
        linear.release(&mut pool);
    }

    #[test]
    fn appends_all_or_nothing() {
        let mut pool = Pool::new(8);
        pool.set_largest(Largest { request: 0, response: 2 * BLOCK_BYTES });
        let mut linear = Linear::default();
        assert!(linear.append(&mut pool, Purpose::Reply, b"abc"));
        assert!(!linear.append(&mut pool, Purpose::Reply, &filled(40 * 4096)));
        assert_eq!(linear.bytes(&pool), b"abc");
        assert!(linear.append(&mut pool, Purpose::Reply, &filled(5000)));
        assert_eq!(linear.len(), 5003);
        linear.truncate(&mut pool, 2);
        assert_eq!(linear.bytes(&pool), b"ab");
        linear.release(&mut pool);
        assert_eq!((pool.lent(), pool.spilled_bytes()), (0, 0));
    }
}
