//! Metrics: the numbers that weir counts, their descriptions, and the numbers of one moment.
//!
//! A table (`tables.rs`) has a row for each number: help text, name, kind and unit. The row makes a plain `u64` field, in which its owner
//! counts, and a [`Descriptor`]. A [`Snapshot`] has the numbers of all loops, of the process and of the cache side by side. Each text
//! with metrics is a view of a snapshot and takes names, help and units from the descriptors: the statistics line is one view
//! ([`Snapshot::line`]), the text for monitoring systems another ([`Snapshot::exposition`]). Durations are counted in histograms
//! ([`Histograms`]), which the line leaves out.
//!
//! The core counts and does not depend on views. Labels have bounded values: the class of a status, the result of the cache, the name of
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
pub use snapshot::{
    BLOCKED_RATIO, CACHE_HIT_RATIOS, DETECTION, Durations, Labelled, STATUS, Snapshot, WORKERS,
};
pub use tables::{
    CacheNumbers, DetectNumbers, GuardNumbers, Metrics, ProcessNumbers, StoreNumbers, UpstreamNumbers,
    ValueNumbers,
};

/// The description of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The name in the statistics line: lower-case words, joined by `_`.
    pub name: &'static str,
    /// One or two sentences for people; empty in a build without the feature `admin`, whose listener shows them.
    pub help: &'static str,
    /// How the number changes.
    pub kind: Kind,
    /// The unit of the number.
    pub unit: Unit,
}

/// The sentences about a number, where they are shown.
const fn help(sentences: &'static str) -> &'static str {
    if cfg!(feature = "admin") { sentences } else { "" }
}

/// How a number changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A count since the start, which never falls.
    Counter,
    /// A value of this moment.
    Gauge,
    /// Counts of durations, by their length.
    Histogram,
}

/// The unit of a number: the base units of OpenMetrics 1.0, section 4.4.4.
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
