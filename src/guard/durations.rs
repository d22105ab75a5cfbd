//! How long detection takes, by what it found (guard semantics, section 11: a latency histogram per category).
//!
//! The automata of all categories run together, in one pass, so no category has a time of its own. What is measured is the
//! inspection of one head or one body, from its begin to its verdict, without the time in which weir waits for more of a body.
//! The category is that of the verdict. The core has no clock: the shell lends one, which is read twice for a head, and twice for
//! each piece of a body.

use super::noted::Noted;
use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets of a histogram. The first has durations of at most 1 us, each further one has durations up to twice those of the one
/// before, and the last has all longer ones (chosen: up to 16 ms, where a head takes some microseconds).
const BUCKETS: usize = 16;

/// A clock in nanoseconds, which never goes back.
pub type Stopwatch = Box<dyn Fn() -> u64 + Send + Sync>;

/// The histograms of all categories.
pub struct Durations {
    /// `None`: nothing is measured.
    stopwatch: Option<Stopwatch>,
    /// First that of inspections without a finding, then those of [`Noted`].
    histograms: [Histogram; Noted::COUNT + 1],
}

/// The durations of one category.
#[derive(Default)]
struct Histogram {
    counts: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
}

/// The durations of one category at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// `none`, or the word of the category.
    pub category: &'static str,
    /// For each bucket its upper bound in microseconds (`None` for the last one), and the number of durations up to that bound.
    pub buckets: Vec<(Option<u64>, u64)>,
    /// The sum of all durations, in nanoseconds.
    pub sum_ns: u64,
}

impl Durations {
    /// Histograms without durations.
    pub fn new(stopwatch: Option<Stopwatch>) -> Durations {
        Durations { stopwatch, histograms: Default::default() }
    }

    /// The time, if it is measured.
    pub fn read_ns(&self) -> Option<u64> {
        self.stopwatch.as_ref().map(|stopwatch| stopwatch())
    }

    /// The time since a reading.
    pub fn since_ns(&self, began_ns: Option<u64>) -> Option<u64> {
        Some(self.read_ns()?.saturating_sub(began_ns?))
    }

    /// Counts one inspection and what it found.
    pub fn observe(&self, found: Option<Noted>, took_ns: Option<u64>) {
        let place = found.map_or(0, |found| found.place() + 1);
        let (Some(histogram), Some(took_ns)) = (self.histograms.get(place), took_ns) else { return };
        histogram.observe(took_ns);
    }

    /// All histograms with durations, and that of inspections without a finding.
    pub fn measured(&self) -> impl Iterator<Item = Measured> {
        let names = std::iter::once("none").chain(Noted::names());
        let measured = names.zip(&self.histograms).map(|(category, histogram)| histogram.measured(category));
        measured.filter(|measured| measured.category == "none" || measured.count() > 0)
    }
}

impl Measured {
    /// The number of durations.
    pub fn count(&self) -> u64 {
        self.buckets.last().map_or(0, |(_, count)| *count)
    }
}

impl Histogram {
    fn observe(&self, took_ns: u64) {
        let took_us = took_ns.div_ceil(1000).max(1);
        // The exponent of the smallest power of two that is not below it.
        let exponent = (u64::BITS - (took_us - 1).leading_zeros()) as usize;
        if let Some(count) = self.counts.get(exponent.min(BUCKETS - 1)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_ns.fetch_add(took_ns, Ordering::Relaxed);
    }

    fn measured(&self, category: &'static str) -> Measured {
        let bounds = (0..BUCKETS - 1).map(|exponent| Some(1 << exponent)).chain([None]);
        let counts = self.counts.iter().scan(0, |below, count| {
            *below += count.load(Ordering::Relaxed);
            Some(*below)
        });
        let sum_ns = self.sum_ns.load(Ordering::Relaxed);
        Measured { category, buckets: bounds.zip(counts).collect(), sum_ns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::detection::Category;

    #[test]
    fn ours_11_a_duration_falls_into_the_first_bucket_that_is_not_below_it() {
        for (took_ns, bound_us) in [
            (0, Some(1)),
            (1000, Some(1)),
            (1001, Some(2)),
            (2000, Some(2)),
            (2001, Some(4)),
            (16_384_000, Some(16_384)),
            (16_384_001, None),
            (u64::MAX, None),
        ] {
            let durations = Durations::new(None);
            durations.observe(None, Some(took_ns));
            let measured = durations.measured().next().expect("the first");
            let first = measured.buckets.iter().find(|(_, count)| *count == 1).expect("a bucket");
            assert_eq!((first.0, measured.count(), measured.sum_ns), (bound_us, 1, took_ns), "{took_ns}");
        }
    }

    #[test]
    fn ours_11_durations_are_by_what_was_found() {
        let durations = Durations::new(Some(Box::new(|| 7)));
        assert_eq!(durations.since_ns(durations.read_ns()), Some(0));
        for found in [None, Some(Noted::Attack(Category::Custom)), Some(Noted::Exhausted)] {
            durations.observe(found, Some(5));
            durations.observe(found, None);
        }
        let found: Vec<_> = durations.measured().map(|one| (one.category, one.count())).collect();
        assert_eq!(found, [("none", 1), ("custom", 1), ("exhausted", 1)]);
        let without = Durations::new(None);
        assert_eq!(
            (without.read_ns(), without.since_ns(Some(1)), without.measured().count()),
            (None, None, 1)
        );
    }
}
