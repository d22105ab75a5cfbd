//! The most specific of many networks that covers an address.
//!
//! Networks are nested or disjoint, so one sweep turns them into a step function: sorted first addresses, each with
//! the most specific network that covers the span from there on. A look-up is one binary search; for IPv4 an index
//! over the upper 16 bits bounds it to a few steps.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Number of spans from which on the IPv4 index is worth its 256 KB (chosen: a smaller table fits into the
/// processor's cache).
const INDEX_FROM: usize = 1024;

/// No network covers the span.
const NONE: u32 = u32::MAX;

/// Most networks.
pub const NETWORKS_MAX: usize = NONE as usize;

/// Networks by number: the position of a network in the list that [`AddressSteps::new`] was called with.
#[derive(Debug, Default)]
pub struct AddressSteps {
    v4: StepFunction<u32>,
    /// Number of spans that begin below each value of the upper 16 bits; empty for small sets.
    v4_index: Vec<u32>,
    v6: StepFunction<u128>,
}

impl AddressSteps {
    /// The networks without their host bits. Networks beyond [`NETWORKS_MAX`] are left out.
    pub fn new(networks: impl Iterator<Item = IpNet>) -> AddressSteps {
        let mut numbered: Vec<_> = networks.map(|network| network.trunc()).zip(0..NONE).collect();
        numbered.sort_unstable();
        AddressSteps::of_sorted(numbered.into_iter())
    }

    /// Sorted networks without host bits, each with its number: a network comes before the networks inside it.
    pub fn of_sorted(networks: impl Iterator<Item = (IpNet, u32)>) -> AddressSteps {
        let (mut v4, mut v6) = (Sweep::default(), Sweep::default());
        for (network, number) in networks {
            match network {
                IpNet::V4(network) => {
                    let (first, last) = (network.network().to_bits(), network.broadcast().to_bits());
                    v4.add(Span { first, last, number }, |last| last.checked_add(1));
                }
                IpNet::V6(network) => {
                    let (first, last) = (network.network().to_bits(), network.broadcast().to_bits());
                    v6.add(Span { first, last, number }, |last| last.checked_add(1));
                }
            }
        }
        let v4 = v4.finish(|last| last.checked_add(1));
        let v6 = v6.finish(|last| last.checked_add(1));
        AddressSteps { v4_index: index_upper(&v4.starts), v4, v6 }
    }

    /// The number of the most specific network that covers the address; of equal networks the first. The address is
    /// canonical: an IPv4-mapped address lies in IPv6 networks only.
    #[inline]
    pub fn find(&self, address: IpAddr) -> Option<u32> {
        let number = match address {
            // Many sets have no networks of one family, or none at all.
            IpAddr::V4(_) if self.v4.starts.is_empty() => return None,
            IpAddr::V6(_) if self.v6.starts.is_empty() => return None,
            IpAddr::V4(v4) => self.find_v4(v4.to_bits()),
            IpAddr::V6(v6) => self.v6.find_between(v6.to_bits(), 0, self.v6.starts.len()),
        };
        (number != NONE).then_some(number)
    }

    fn find_v4(&self, bits: u32) -> u32 {
        let upper = (bits >> 16) as usize;
        match self.v4_index.get(upper..upper + 2) {
            Some(&[from, to]) => self.v4.find_between(bits, from as usize, to as usize),
            Some(_) | None => self.v4.find_between(bits, 0, self.v4.starts.len()),
        }
    }

    /// The first address for which [`AddressSteps::find`] gives this number.
    pub fn first_address_of(&self, number: u32) -> Option<IpAddr> {
        let v4 = || self.v4.first_address_of(number).map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)));
        let v6 = || self.v6.first_address_of(number).map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)));
        v4().or_else(v6)
    }

    /// Heap bytes of the steps.
    pub fn heap_bytes(&self) -> usize {
        self.v4.heap_bytes() + self.v6.heap_bytes() + self.v4_index.capacity() * size_of::<u32>()
    }
}

/// The addresses of a network.
struct Span<T> {
    first: T,
    last: T,
    number: u32,
}

/// A step function that is built from the lowest address to the highest, and the networks that are open at this address: each
/// lies inside the one before it.
#[derive(Default)]
struct Sweep<T> {
    steps: StepFunction<T>,
    open: Vec<Span<T>>,
}

impl<T: Copy + Ord> Sweep<T> {
    /// Adds a network: not below the last one, nor around it. `after` returns the next address, or `None` after the last.
    fn add(&mut self, network: Span<T>, after: impl Fn(T) -> Option<T>) {
        while self.open.last().is_some_and(|top| top.last < network.first) {
            self.close_innermost(&after);
        }
        // Of equal networks the first counts.
        if self.open.last().is_none_or(|top| (top.first, top.last) != (network.first, network.last)) {
            self.steps.push(network.first, network.number);
            self.open.push(network);
        }
    }

    /// The innermost network ends; the surrounding one continues at the next address.
    fn close_innermost(&mut self, after: impl Fn(T) -> Option<T>) {
        if let Some(next) = self.open.pop().and_then(|over| after(over.last)) {
            self.steps.push(next, self.open.last().map_or(NONE, |around| around.number));
        }
    }

    fn finish(mut self, after: impl Fn(T) -> Option<T>) -> StepFunction<T> {
        while !self.open.is_empty() {
            self.close_innermost(&after);
        }
        self.steps.starts.shrink_to_fit();
        self.steps.numbers.shrink_to_fit();
        self.steps
    }
}

/// A step function over addresses: from each start to the next start, one network or none.
#[derive(Debug, Default)]
struct StepFunction<T> {
    starts: Vec<T>,
    numbers: Vec<u32>,
}

impl<T: Copy + Ord> StepFunction<T> {
    fn push(&mut self, start: T, number: u32) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.numbers.pop();
        }
        if self.numbers.last() != Some(&number) {
            self.starts.push(start);
            self.numbers.push(number);
        }
    }

    /// The step for this address. The starts at `from..to` are searched; those before `from` are known to be lower.
    #[inline]
    fn find_between(&self, address: T, from: usize, to: usize) -> u32 {
        let within = self.starts.get(from..to).unwrap_or_default();
        let after = from + within.partition_point(|&start| start <= address);
        after.checked_sub(1).and_then(|at| self.numbers.get(at)).map_or(NONE, |&number| number)
    }

    /// The first address with that number.
    fn first_address_of(&self, number: u32) -> Option<T> {
        let at = self.numbers.iter().position(|&other| other == number)?;
        self.starts.get(at).copied()
    }

    fn heap_bytes(&self) -> usize {
        self.starts.capacity() * size_of::<T>() + self.numbers.capacity() * size_of::<u32>()
    }
}

fn index_upper(starts: &[u32]) -> Vec<u32> {
    if starts.len() < INDEX_FROM {
        return Vec::new();
    }
    let mut index = Vec::with_capacity(65537);
    let mut below = 0;
    for upper in 0..=65536u64 {
        while starts.get(below).is_some_and(|&start| u64::from(start) < upper << 16) {
            below += 1;
        }
        index.push(below as u32);
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_there_from_a_thousand_stretches_on() {
        let few: Vec<u32> = (0..INDEX_FROM as u32 - 1).collect();
        assert!(index_upper(&few).is_empty());
        let many: Vec<u32> = (0..INDEX_FROM as u32).map(|n| n << 20).collect();
        let index = index_upper(&many);
        assert_eq!((index.len(), index[0], index[1], index[16], index[17]), (65537, 0, 1, 1, 2));
        assert_eq!(index[65536], 1024);
    }
}
