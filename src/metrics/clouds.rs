//! The numbers of each cloud provider that the guard knows; the name of the provider is the label.

use super::{Descriptor, Kind, Unit, help};

/// The networks of one provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloudNumbers {
    /// The name of the provider, which is the label.
    pub provider: &'static str,
    /// Networks that are known.
    pub networks: u64,
    /// The age of the networks, in seconds; `None` if no networks are known.
    pub age_s: Option<u64>,
    /// Times that they were fetched, or found unchanged.
    pub refreshes: u64,
    /// Times that they could not be fetched, or were refused.
    pub failures: u64,
}

/// The names of a provider's numbers, in the order of [`CloudNumbers::numbers`].
pub const CLOUDS: [Descriptor; 4] = [
    Descriptor {
        name: "guard_cloud_networks",
        help: help("Networks that are known of a cloud provider."),
        kind: Kind::Gauge,
        unit: Unit::Count,
    },
    Descriptor {
        name: "guard_cloud_age_s",
        help: help(
            "How long ago the networks of a cloud provider were fetched, found unchanged, or written to their file.",
        ),
        kind: Kind::Gauge,
        unit: Unit::Seconds,
    },
    Descriptor {
        name: "guard_cloud_refreshes",
        help: help("Times that the networks of a cloud provider were fetched or found unchanged."),
        kind: Kind::Counter,
        unit: Unit::Count,
    },
    Descriptor {
        name: "guard_cloud_failures",
        help: help("Times that the networks of a cloud provider could not be fetched, or were refused."),
        kind: Kind::Counter,
        unit: Unit::Count,
    },
];

impl CloudNumbers {
    /// The numbers in the order of [`CLOUDS`]; `None` for a number without a value.
    pub fn numbers(&self) -> [Option<u64>; CLOUDS.len()] {
        [Some(self.networks), self.age_s, Some(self.refreshes), Some(self.failures)]
    }
}
