//! The networks of all providers at one moment.

use super::provider::Provider;
use super::ranges::Ranges;
use crate::net::AddressSteps;
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;

/// The facts about an address in a cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Details<'c> {
    /// The provider.
    pub provider: Provider,
    /// The most specific network.
    pub network: IpNet,
    /// The region in lower case; empty if it is unknown.
    pub region: &'c str,
}

/// A network of a provider.
#[derive(Clone, Copy, Debug)]
struct Entry {
    provider: Provider,
    network: IpNet,
    region: u32,
}

/// The sets of all providers. Immutable: a refresh makes another one from the sets that it has.
#[derive(Debug, Default)]
pub struct Clouds {
    sets: Vec<(Provider, Arc<Ranges>)>,
    steps: AddressSteps,
    entries: Vec<Entry>,
    regions: Vec<Box<str>>,
}

impl Clouds {
    /// Of equal networks of two providers the first one is found.
    pub fn new(sets: Vec<(Provider, Arc<Ranges>)>) -> Clouds {
        let mut regions: Vec<Box<str>> = Vec::new();
        let mut entries = Vec::new();
        for (provider, ranges) in &sets {
            // Networks of one region mostly follow each other.
            for (network, region) in ranges.iter() {
                if regions.last().is_none_or(|last| **last != *region) {
                    regions.push(region.into());
                }
                entries.push(Entry { provider: *provider, network, region: regions.len() as u32 - 1 });
            }
        }
        let steps = AddressSteps::new(entries.iter().map(|entry| entry.network));
        Clouds { sets, steps, entries, regions }
    }

    /// The facts about an address; an IPv4-mapped one is looked up as IPv4.
    pub fn details(&self, address: IpAddr) -> Option<Details<'_>> {
        let number = self.steps.find(address.to_canonical())?;
        let entry = self.entries.get(number as usize)?;
        let region = self.regions.get(entry.region as usize).map_or("", |region| region);
        Some(Details { provider: entry.provider, network: entry.network, region })
    }

    /// The set of a provider.
    pub fn ranges(&self, provider: Provider) -> Option<&Arc<Ranges>> {
        self.sets.iter().find(|(other, _)| *other == provider).map(|(_, ranges)| ranges)
    }

    /// A copy with another set for one provider.
    pub fn with(&self, provider: Provider, ranges: Arc<Ranges>) -> Clouds {
        let others = self.sets.iter().filter(|(other, _)| *other != provider).cloned();
        let mut sets: Vec<_> = others.chain([(provider, ranges)]).collect();
        sets.sort_by_key(|(provider, _)| *provider);
        Clouds::new(sets)
    }
}
