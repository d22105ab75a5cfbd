//! A `cloud deny` line against the networks of one moment.

use super::provider::Provider;
use super::snapshot::Clouds;
use crate::guard::directives::CloudRule;
use crate::net::AddressSteps;
use ipnet::IpNet;
use std::net::IpAddr;

/// A set of networks with their providers.
#[derive(Debug, Default)]
struct Part {
    steps: AddressSteps,
    networks: Vec<(Provider, IpNet)>,
}

impl Part {
    fn new(networks: Vec<(Provider, IpNet)>) -> Part {
        Part { steps: AddressSteps::new(networks.iter().map(|(_, network)| *network)), networks }
    }

    fn find(&self, address: IpAddr) -> Option<(Provider, IpNet)> {
        self.networks.get(self.steps.find(address)? as usize).copied()
    }
}

/// The networks that a line denies. An address is denied if any network that contains it is outside of the exceptions
/// (section 8), not only the most specific one.
///
/// A network of an unknown region is outside of all exceptions. Azure's list of all networks is of that kind, and covers the
/// excepted regions, too: so if a network of a known region covers the address, that network decides.
#[derive(Debug, Default)]
pub struct Selector {
    /// Networks of regions that are not excepted.
    denied: Part,
    /// Networks of unknown regions, of providers with exceptions.
    unknown: Part,
    /// Networks of the excepted regions, for providers with networks of unknown regions.
    excepted: Part,
}

impl Selector {
    /// Compiles the line. Providers without known networks deny nothing.
    pub fn new(rule: &CloudRule, clouds: &Clouds) -> Selector {
        let (mut denied, mut unknown, mut excepted) = (Vec::new(), Vec::new(), Vec::new());
        for (provider, exceptions) in &rule.providers {
            for (network, region) in clouds.ranges(*provider).into_iter().flat_map(|ranges| ranges.iter()) {
                let is_excepted = exceptions.iter().any(|exception| **exception == *region);
                match (region, is_excepted) {
                    ("", _) if !exceptions.is_empty() => unknown.push((*provider, network)),
                    (_, true) => excepted.push((*provider, network)),
                    (_, false) => denied.push((*provider, network)),
                }
            }
        }
        Selector { denied: Part::new(denied), unknown: Part::new(unknown), excepted: Part::new(excepted) }
    }

    /// The network for which an address is denied; an IPv4-mapped address is looked up as IPv4.
    pub fn denies(&self, address: IpAddr) -> Option<(Provider, IpNet)> {
        let address = address.to_canonical();
        self.denied.find(address).or_else(|| {
            let found = self.unknown.find(address)?;
            // Only exceptions of the same provider apply to this network.
            let is_excepted = self.excepted.find(address).is_some_and(|(provider, _)| provider == found.0);
            if is_excepted { None } else { Some(found) }
        })
    }

    /// The networks in which addresses may be denied.
    pub fn networks(&self) -> impl Iterator<Item = IpNet> {
        self.denied.networks.iter().chain(&self.unknown.networks).map(|(_, network)| *network)
    }

    /// Number of networks.
    pub fn len(&self) -> usize {
        self.denied.networks.len() + self.unknown.networks.len() + self.excepted.networks.len()
    }

    /// Whether the line denies nothing.
    pub fn is_empty(&self) -> bool {
        self.denied.networks.is_empty() && self.unknown.networks.is_empty()
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
