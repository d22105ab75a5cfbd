//! The name of a question to the store that several processes share.

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
