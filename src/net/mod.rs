//! Memory for bytes under way.
//!
//! All of it is lent by one [`Pool`] in blocks of 4 KB and counted there: a [`Ring`] holds one direction's payload over
//! one block, and over a few while the direction is busy, a [`Linear`] holds a message head in one block and may spill to the heap up to the head limit. Whoever is
//! idle holds nothing. Blocks carry no destructor: each owner gives its block back to the pool, and the pool's count of
//! lent blocks is the proof.

mod linear;
mod pool;
mod ring;

pub use linear::Linear;
pub use pool::{BLOCK_BYTES, Block, Pool, Purpose, SPACES_MAX, Space};
pub use ring::{RING_SLICES_MAX, Ring};
