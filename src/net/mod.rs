//! Memory for bytes under way, and sets of addresses.
//!
//! One [`Pool`] lends this memory in blocks of 4 KB and counts the blocks. A [`Ring`] holds the payload of one
//! direction in one block, and in a few blocks while the direction is busy. A [`Linear`] holds a message head in one
//! block, and may spill to the heap up to the head limit, as far as `heap` grants it. An idle connection holds nothing. Blocks have no
//! destructor: each owner gives its block back to the pool, and the pool's count of lent blocks proves it.
//! A [`Mapping`] holds bytes for a longer time: a large segment of a stored body.
//!
//! [`AddressSteps`] finds the network that an address lies in, [`Embedded`] has the IPv4 addresses that an IPv6 address reaches,
//! [`HashKeys`] are those of keyed hashes over names and addresses.

mod address_steps;
mod embedded;
mod heap;
mod keyed;
mod keyed_hash;
mod linear;
mod mapping;
mod pool;
mod ring;

pub use address_steps::{AddressSteps, NETWORKS_MAX};
pub use embedded::Embedded;
pub use heap::Largest;
pub(crate) use keyed::Keyed;
pub(crate) use keyed_hash::{HashKeys, fold};
pub use linear::Linear;
pub use mapping::Mapping;
pub use pool::{BLOCK_BYTES, Block, Pool, Purpose, SPACES_MAX, Space};
pub use ring::{RING_SLICES_MAX, Ring};
