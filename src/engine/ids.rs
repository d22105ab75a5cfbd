//! The ids of objects that the machines own, apart from the machines, so that a machine can refer to objects of another one.
//!
//! An id is an index in a slab. An id for answers that may arrive late also has a serial number or a generation: an answer
//! for a closed connection must not reach the connection in its slot.

/// A connection: its index in the table in the lower 24 bits, and the generation of the slot in the upper 8. The id of a
/// closed connection differs from the id of the connection in its slot now, unless 256 others have used the slot in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(u32);

const INDEX_BITS: u32 = 24;

impl PeerId {
    pub(in crate::engine) fn new(index: usize, generation: u8) -> PeerId {
        debug_assert!(index >> INDEX_BITS == 0, "the limit on clients is far below");
        PeerId(u32::from(generation) << INDEX_BITS | index as u32)
    }

    /// The index in the table: small, and reused after the connection is closed.
    pub fn index(self) -> usize {
        (self.0 & ((1 << INDEX_BITS) - 1)) as usize
    }

    /// The token under which the shell knows the socket.
    pub fn token(self) -> usize {
        self.0 as usize
    }

    /// The id in the token of a socket.
    pub fn from_token(token: usize) -> PeerId {
        PeerId(token as u32)
    }

    pub(in crate::engine) fn generation(self) -> u8 {
        (self.0 >> INDEX_BITS) as u8
    }
}

/// Index of a transaction in its slab, with a serial number that distinguishes it from earlier ones at the index.
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

#[cfg(test)]
impl JobId {
    /// An id for tests of the shell.
    pub fn numbered(number: u64) -> JobId {
        JobId(number)
    }
}

/// The question of one request to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreJob(u64);

impl StoreJob {
    pub(in crate::engine) fn new(serial: u32, index: usize) -> StoreJob {
        StoreJob(u64::from(serial) << 32 | index as u64)
    }

    pub(in crate::engine) fn index(self) -> usize {
        self.0 as u32 as usize
    }

    /// The id as a number, for code that passes it through.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// The id of [`StoreJob::to_bits`].
    pub fn from_bits(bits: u64) -> StoreJob {
        StoreJob(bits)
    }
}
