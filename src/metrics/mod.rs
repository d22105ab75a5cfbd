//! Metrics: what is counted, what each number means, and the numbers of one moment.
//!
//! A table (`tables.rs`) has a row for each number: help text, name, kind and unit. The row makes a plain `u64` field,
//! which its owner counts in, and a [`Descriptor`]. A [`Snapshot`] puts the numbers of all loops, of the process and of the
//! cache side by side. Whatever shows metrics is a view of a snapshot and takes names, help and units from the descriptors:
//! the statistics line is one view ([`Snapshot::line`]), the text for monitoring systems another ([`Snapshot::exposition`]).
//! Times are counted in histograms ([`Histograms`]), which the line leaves out.
//!
//! The core counts and knows nothing of views. Labels are bounded: the class of a status, what the cache did, the name of
//! a cloud provider, and the index of a loop.

mod clouds;
mod exposition;
mod histogram;
mod labels;
mod snapshot;
mod tables;

pub use clouds::{CLOUDS, CloudNumbers};
pub use exposition::Form;
pub use histogram::{BOUNDS_US, Histogram, Histograms};
pub use labels::{CACHE_USES, STATUS_CLASSES};
pub use snapshot::{BLOCKED_RATIO, CACHE_HIT_RATIOS, Labelled, STATUS, Snapshot, WORKERS};
pub use tables::{
    CacheNumbers, DetectNumbers, GuardNumbers, Metrics, ProcessNumbers, StoreNumbers, UpstreamNumbers,
};

/// What a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Its name in the statistics line: lower-case words, joined by `_`.
    pub name: &'static str,
    /// One or two sentences for people.
    pub help: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// What it counts.
    pub unit: Unit,
}

/// How a number moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, from 0 at the start.
    Counter,
    /// It says what is now.
    Gauge,
    /// Many times, by how long they were.
    Histogram,
}

/// What a number counts: the base units of OpenMetrics 1.0, section 4.4.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things or events.
    Count,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
    /// Parts of a whole, 0 to 1.
    Ratio,
}
