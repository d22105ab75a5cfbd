//! The names of what the machines own, apart from the machines: so a machine can name what another one has.
//!
//! An id is an index in a slab. Where something may answer late, it has a serial number or a generation as well: what is asked
//! for a connection that is gone must not reach the one that has its place.

/// A connection: its index in the table in the lower 24 bits, and the generation of that place in the upper 8. An id of a connection
/// that is gone is no id of the one that has its place now: 256 others would have to come and go before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(u32);

const INDEX_BITS: u32 = 24;

impl PeerId {
    pub(in crate::engine) fn new(index: usize, generation: u8) -> PeerId {
        debug_assert!(index >> INDEX_BITS == 0, "the limit on clients is far below");
        PeerId(u32::from(generation) << INDEX_BITS | index as u32)
    }

    /// The index in the table: small, and used again when the connection is gone.
    pub fn index(self) -> usize {
        (self.0 & ((1 << INDEX_BITS) - 1)) as usize
    }

    /// The token under which the shell knows the socket.
    pub fn token(self) -> usize {
        self.0 as usize
    }

    /// From the token of a socket.
    pub fn from_token(token: usize) -> PeerId {
        PeerId(token as u32)
    }

    pub(in crate::engine) fn generation(self) -> u8 {
        (self.0 >> INDEX_BITS) as u8
    }
}

/// Index of a transaction in its slab, with the serial number that tells it from earlier ones at the same index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct TransactionId {
    pub index: u32,
    pub serial: u32,
}

/// Index of a tunnel in its slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) struct TunnelId(pub u32);

/// Index of a request head that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct ReadingId(pub u32);

/// Index of a connect in its slab, with a serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct ConnectId {
    pub index: u32,
    pub serial: u32,
}

/// Index of a fill in its slab, with a serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct FillId {
    pub index: u32,
    pub serial: u32,
}

/// Index of the group of upstream connections to one next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct GroupId(pub u32);

/// The place of an idle upstream connection in the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct IdleId(pub u32);

/// Names a verification to the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobId(pub(in crate::engine) u64);

/// Names what a store was asked for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreJob(u64);

impl StoreJob {
    pub(in crate::engine) fn new(serial: u32, index: usize) -> StoreJob {
        StoreJob(u64::from(serial) << 32 | index as u64)
    }

    pub(in crate::engine) fn index(self) -> usize {
        self.0 as u32 as usize
    }

    /// For who carries it through other hands.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// What [`StoreJob::to_bits`] has given.
    pub fn from_bits(bits: u64) -> StoreJob {
        StoreJob(bits)
    }
}
