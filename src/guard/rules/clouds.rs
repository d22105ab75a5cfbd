//! `cloud deny`: clients and destinations in a cloud.

use super::consequences::Consequences;
use crate::guard::clouds::{Clouds, Provider, Selector};
use crate::guard::directives::{CloudRule, CloudSide};
use crate::guard::ipv4_parts::Ipv4Parts;
use crate::guard::told::{Asker, Happened, Told};
use crate::guard::verdict::{Cause, Denial};
use crate::time::Now;
use ipnet::IpNet;
use std::net::IpAddr;

/// The cloud lines of one side: clients or destinations.
#[derive(Debug)]
pub(super) struct CloudDenials {
    lines: Vec<CloudDenial>,
    /// The parts of IPv4 in which any of the lines may deny an address.
    parts_v4: Ipv4Parts,
    cause: fn(Provider) -> Cause,
}

/// `cloud deny`, compiled.
#[derive(Debug)]
struct CloudDenial {
    line: u32,
    observe: bool,
    selector: Selector,
}

impl CloudDenials {
    /// The lines of a side, compiled for the present networks.
    pub(super) fn new(rules: &[CloudRule], side: CloudSide, clouds: &Clouds) -> CloudDenials {
        let lines = rules.iter().filter(|rule| rule.side == side);
        let lines: Vec<CloudDenial> = lines.map(|rule| CloudDenial::of(rule, clouds)).collect();
        let parts_v4 = Ipv4Parts::new();
        for network in lines.iter().flat_map(|line| line.selector.networks()) {
            if let IpNet::V4(v4) = network {
                parts_v4.add(v4);
            }
        }
        let cause = match side {
            CloudSide::Client => Cause::ClientInCloud,
            CloudSide::Destination => Cause::DestinationInCloud,
        };
        CloudDenials { lines, parts_v4, cause }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether an address is of IPv4, and no network near it is refused.
    #[inline]
    pub(super) fn has_none_near(&self, address: &IpAddr) -> bool {
        matches!(address, IpAddr::V4(v4) if !self.parts_v4.may_hold(v4.to_bits()))
    }

    /// Refuses the address of a client or a destination.
    pub(super) fn judge<'a>(
        &self,
        address: IpAddr,
        asked: impl Fn() -> Asker<'a>,
        consequences: &Consequences,
        now: Now,
    ) -> Result<(), Denial> {
        if self.has_none_near(&address) {
            return Ok(());
        }
        for rule in &self.lines {
            if let Some((denial, network)) = rule.denial(address, self.cause) {
                let asked = asked();
                let told = Told { network: Some(network), ..Told::by(Happened::CloudBlocked, &asked) };
                consequences.refuse(told, denial, rule.observe, now)?;
            }
        }
        Ok(())
    }

    /// The refusal of an address, without an event.
    pub(super) fn denial(&self, address: IpAddr) -> Option<Denial> {
        self.lines
            .iter()
            .filter(|rule| !rule.observe)
            .find_map(|rule| rule.denial(address, self.cause))
            .map(|(denial, _)| denial)
    }
}

impl CloudDenial {
    fn of(rule: &CloudRule, clouds: &Clouds) -> CloudDenial {
        CloudDenial { line: rule.place.line, observe: rule.observe, selector: Selector::new(rule, clouds) }
    }

    /// The refusal, with the network that contains the address.
    fn denial(&self, address: IpAddr, cause: fn(Provider) -> Cause) -> Option<(Denial, IpNet)> {
        let (provider, network) = self.selector.denies(address)?;
        Some((Denial { cause: cause(provider), line: self.line, retry_after_s: 0 }, network))
    }
}
