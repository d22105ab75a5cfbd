//! Histograms of durations. All have the same buckets, so one look-up serves each of them.

use super::labels::{CACHE_USES, STATUS_CLASSES};
use super::{Descriptor, Kind, Unit, help};

/// The upper bounds of the buckets, inclusive, in microseconds (chosen: in steps of 2 or 2.5 from the time of a cache hit to times in
/// which speed does not matter; the last two are for downloads and tunnels). One more bucket follows the last bound.
pub const BOUNDS_US: [u64; 16] = [
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    60_000_000,
    600_000_000,
];

/// The number of durations in each bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// One count for each of [`BOUNDS_US`], and one for longer durations.
    counts: [u64; BOUNDS_US.len() + 1],
    sum_us: u64,
}

impl Histogram {
    /// Counts one duration, in microseconds.
    pub fn observe(&mut self, time_us: u64) {
        // From the shortest bucket on: most durations are short.
        let bucket = BOUNDS_US.iter().position(|&bound| time_us <= bound).unwrap_or(BOUNDS_US.len());
        self.counts[bucket] += 1;
        self.sum_us = self.sum_us.saturating_add(time_us);
    }

    /// The number of durations counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all durations, in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// For each bucket its upper bound in microseconds (`None` for the last one), and the number of durations up to that bound.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = BOUNDS_US.iter().copied().map(Some).chain([None]);
        bounds.zip(self.counts.iter().scan(0, |below, count| {
            *below += count;
            Some(*below)
        }))
    }

    fn add(&mut self, other: &Histogram) {
        self.counts.iter_mut().zip(other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }
}

/// The histograms of one loop. Each duration is the field of the same name in the access log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Histograms {
    /// Requests, by class of status ([`STATUS_CLASSES`]).
    pub request_duration: [Histogram; STATUS_CLASSES.len()],
    /// Tunnels.
    pub tunnel_duration: Histogram,
    /// By the result of the cache ([`CACHE_USES`]).
    pub time_to_first_byte: [Histogram; CACHE_USES.len()],
    /// New upstream connections.
    pub connect: Histogram,
    /// Look-ups that were waited for.
    pub dns: Histogram,
    /// Requests that waited for the guard's shared store.
    pub guard_store: Histogram,
}

/// Histograms of one kind: the descriptor, the name of the label, its values, and one histogram for each value.
pub type Family<'a> = (&'static Descriptor, &'static str, &'static [&'static str], &'a [Histogram]);

const REQUEST_DURATION: Descriptor = time(
    "request_duration_s",
    "From the first byte of a request to the end of its response, by class of status. Without tunnels, and \
     without refreshes of the cache.",
);
const TUNNEL_DURATION: Descriptor = time("tunnel_duration_s", "From the request for a tunnel to its end.");
const TIME_TO_FIRST_BYTE: Descriptor = time(
    "time_to_first_byte_s",
    "From when there was an origin connection to the first byte of the final response; for a cache hit and for \
     CONNECT from the request to the begin of the answer. By what the cache did.",
);
const CONNECT: Descriptor = time(
    "connect_s",
    "For a new origin connection, whatever came of it and however many addresses were tried.",
);
const DNS: Descriptor =
    time("dns_s", "For looking up a name. Names whose addresses were known already are not counted.");
const GUARD_STORE: Descriptor = time(
    "guard_store_s",
    "From when a request has asked the guard's shared store to its answer, or to the deadline.",
);

const fn time(name: &'static str, sentence: &'static str) -> Descriptor {
    Descriptor { name, help: help(sentence), kind: Kind::Histogram, unit: Unit::Seconds }
}

impl Histograms {
    /// The descriptors of the histograms.
    pub const DESCRIPTORS: &'static [Descriptor] =
        &[REQUEST_DURATION, TUNNEL_DURATION, TIME_TO_FIRST_BYTE, CONNECT, DNS, GUARD_STORE];

    /// All families. A family without a label has one histogram.
    pub fn families(&self) -> [Family<'_>; 6] {
        use std::slice::from_ref;
        [
            (&REQUEST_DURATION, "status", &STATUS_CLASSES, &self.request_duration),
            (&TUNNEL_DURATION, "", &[""], from_ref(&self.tunnel_duration)),
            (&TIME_TO_FIRST_BYTE, "cache", &CACHE_USES, &self.time_to_first_byte),
            (&CONNECT, "", &[""], from_ref(&self.connect)),
            (&DNS, "", &[""], from_ref(&self.dns)),
            (&GUARD_STORE, "", &[""], from_ref(&self.guard_store)),
        ]
    }

    /// Adds the histograms of another loop.
    pub(super) fn add(&mut self, other: &Histograms) {
        let Histograms { request_duration, tunnel_duration, time_to_first_byte, connect, dns, guard_store } =
            self;
        request_duration.iter_mut().zip(&other.request_duration).for_each(|(mine, theirs)| mine.add(theirs));
        time_to_first_byte
            .iter_mut()
            .zip(&other.time_to_first_byte)
            .for_each(|(mine, theirs)| mine.add(theirs));
        tunnel_duration.add(&other.tunnel_duration);
        connect.add(&other.connect);
        dns.add(&other.dns);
        guard_store.add(&other.guard_store);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_first_bucket_that_is_not_below_it() {
        for (time_us, bucket) in [
            (0, 0),
            (500, 0),
            (501, 1),
            (1_000, 1),
            (10_000_001, 14),
            (600_000_000, 15),
            (600_000_001, 16),
            (u64::MAX, 16),
        ] {
            let mut histogram = Histogram::default();
            histogram.observe(time_us);
            let found: Vec<u64> = histogram.buckets().map(|(_, count)| count).collect();
            let expected: Vec<u64> = (0..17).map(|at| u64::from(at >= bucket)).collect();
            assert_eq!(found, expected, "{time_us}");
            assert_eq!((histogram.count(), histogram.sum_us()), (1, time_us));
        }
        assert!(BOUNDS_US.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn histograms_add_up() {
        let mut one = Histograms::default();
        one.request_duration[2].observe(700);
        one.time_to_first_byte[1].observe(3);
        one.tunnel_duration.observe(4);
        one.connect.observe(5);
        one.dns.observe(u64::MAX);
        one.guard_store.observe(6);
        let mut both = one;
        both.add(&one);
        for (mine, twice) in one.families().iter().zip(both.families()) {
            let count = |family: &[Histogram]| family.iter().map(Histogram::count).sum::<u64>();
            assert_eq!((count(mine.3), count(twice.3)), (1, 2), "{}", mine.0.name);
        }
        assert_eq!((both.request_duration[2].sum_us(), both.dns.sum_us()), (1400, u64::MAX));
    }
}
