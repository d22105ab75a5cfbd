//! The numbers of one moment, and the line that shows them.

use super::clouds::{CLOUDS, CloudNumbers};
use super::labels::STATUS_CLASSES;
use super::tables::{
    CacheNumbers, DetectNumbers, GuardNumbers, Metrics, ProcessNumbers, StoreNumbers, UpstreamNumbers,
    ValueNumbers,
};
use super::{Descriptor, Kind, Unit, help};
use std::fmt::{Display, Write as _};

/// Prefixes of numbers that the line leaves out at zero: time-outs and limits that were never reached, and parts that
/// are not used.
const LEFT_OUT_AT_ZERO: [&str; 5] = ["timeouts_", "limit_", "cache_", "guard_", "gateway_"];

/// Views leave out classes of statuses from this index on when they are zero: responses never have them.
pub(super) const STATUS_CLASSES_SHOWN: usize = 6;

/// Numbers that the line shows for each loop as well, when there are several.
const BALANCE: [&str; 3] = ["clients", "accepted", "requests"];

/// Responses by class: one number for each of [`STATUS_CLASSES`].
pub const STATUS: Descriptor = Descriptor {
    name: "status",
    help: help("Responses sent; the refreshes of the cache are none."),
    kind: Kind::Counter,
    unit: Unit::Count,
};

/// The loops that count.
pub const WORKERS: Descriptor =
    Descriptor { name: "workers", help: help("Loops."), kind: Kind::Gauge, unit: Unit::Count };

/// See [`Metrics::blocked_ratio`].
pub const BLOCKED_RATIO: Descriptor = ratio("blocked_ratio", "Refused requests among all that were judged.");

/// See [`Metrics::cache_hit_ratios`].
pub const CACHE_HIT_RATIOS: [Descriptor; 2] = [
    ratio("cache_hit_ratio", "Requests answered from memory among all that the cache could have answered."),
    ratio(
        "cache_byte_hit_ratio",
        "Bytes sent to clients from memory among all that the cache could have sent.",
    ),
];

/// How long detection took ([`Durations`]).
pub const DETECTION: Descriptor = Descriptor {
    name: "guard_detection_s",
    help: help(
        "For looking for attacks in the head of one request, or in its body without the time between its pieces, by the category \
         of the first attack found there.",
    ),
    kind: Kind::Histogram,
    unit: Unit::Seconds,
};

const fn ratio(name: &'static str, sentence: &'static str) -> Descriptor {
    Descriptor { name, help: help(sentence), kind: Kind::Gauge, unit: Unit::Ratio }
}

/// The numbers of one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The numbers of each loop.
    pub loops: Vec<Metrics>,
    /// The numbers of the process.
    pub process: ProcessNumbers,
    /// The numbers of the cache store, if there is one.
    pub cache: Option<CacheNumbers>,
    /// The numbers of the guard, if it has or had any state.
    pub guard: Option<GuardNumbers>,
    /// The numbers of the client of the guard's shared store, if one is or was configured.
    pub store: Option<StoreNumbers>,
    /// The numbers of the values of pages in this process, if there are pages.
    pub values: Option<ValueNumbers>,
    /// The numbers of cloud providers.
    pub clouds: Vec<CloudNumbers>,
    /// The numbers of detection, by category. The line leaves them out.
    pub detected: Vec<Labelled<DetectNumbers>>,
    /// How long detection took, by category. The line leaves it out.
    pub detection: Vec<Labelled<Durations>>,
    /// The numbers of each upstream of the gateway. The line leaves them out.
    pub upstreams: Vec<Labelled<UpstreamNumbers>>,
}

/// Numbers of one of several of a kind.
#[derive(Clone, Debug, Default)]
pub struct Labelled<T> {
    /// Names and values of the labels that distinguish these numbers from others.
    pub labels: Vec<(&'static str, String)>,
    /// The numbers.
    pub numbers: T,
}

/// Durations in buckets that their owner has chosen.
#[derive(Clone, Debug, Default)]
pub struct Durations {
    /// For each bucket its upper bound in microseconds (`None` for the last one), and the number of durations up to that bound.
    pub buckets: Vec<(Option<u64>, u64)>,
    /// The sum of all durations, in nanoseconds.
    pub sum_ns: u64,
}

impl Metrics {
    /// Refused requests among all that were judged, 0 to 1.
    pub fn blocked_ratio(&self) -> f64 {
        let judged = self.allowed + self.failed + self.blocked;
        if judged == 0 { 0.0 } else { self.blocked as f64 / judged as f64 }
    }

    /// Shares from 0 to 1: requests answered from memory among all requests that the cache could have answered, and
    /// the bytes sent for them.
    pub fn cache_hit_ratios(&self) -> [f64; 2] {
        let hits = self.cache_hits + self.cache_stale + self.cache_revalidated + self.cache_collapsed;
        let ratio = |part: u64, rest: u64| part as f64 / (part + rest).max(1) as f64;
        let requests = ratio(hits, self.cache_misses + self.cache_bypassed);
        [requests, ratio(self.cache_hit_bytes, self.cache_miss_bytes)]
    }
}

impl Snapshot {
    /// The numbers of all loops together.
    pub fn sum(&self) -> Metrics {
        let mut sum = Metrics::default();
        self.loops.iter().for_each(|one| sum.add(one));
        sum
    }

    /// The counted number of that name in the line.
    pub fn number(&self, name: &str) -> Option<u64> {
        let sum = self.sum();
        if let Some(class) = name.strip_prefix("status_") {
            let class = STATUS_CLASSES.iter().position(|label| *label == class)?;
            return sum.statuses.get(class).copied();
        }
        let mut all = sum.numbers().chain(self.of_process()).chain(self.of_guard());
        all.find(|(descriptor, _)| descriptor.name == name).map(|(_, value)| value)
    }

    /// One line of `name=value` pairs, for people and scripts.
    pub fn line(&self) -> String {
        let mut line = String::new();
        let sum = self.sum();
        for (descriptor, value) in sum.numbers() {
            if value > 0 || !LEFT_OUT_AT_ZERO.iter().any(|kind| descriptor.name.starts_with(kind)) {
                put(&mut line, descriptor.name, value);
            }
        }
        for (class, (label, &value)) in STATUS_CLASSES.iter().zip(&sum.statuses).enumerate() {
            if value > 0 || class < STATUS_CLASSES_SHOWN {
                put(&mut line, format_args!("{}_{label}", STATUS.name), value);
            }
        }
        put_ratio(&mut line, &BLOCKED_RATIO, sum.blocked_ratio());
        let held = |(_, value): &(&Descriptor, u64)| *value > 0;
        for (descriptor, value) in self.of_process().chain(self.of_guard().filter(held)) {
            put(&mut line, descriptor.name, value);
        }
        for cloud in &self.clouds {
            for (descriptor, value) in CLOUDS.iter().zip(cloud.numbers()) {
                if let Some(value) = value {
                    put(&mut line, format_args!("{}_{}", descriptor.name, cloud.provider), value);
                }
            }
        }
        if self.cache.is_some() {
            let ratios = CACHE_HIT_RATIOS.iter().zip(sum.cache_hit_ratios());
            ratios.for_each(|(descriptor, value)| put_ratio(&mut line, descriptor, value));
        }
        if self.loops.len() > 1 {
            self.put_balance(&mut line);
        }
        line
    }

    /// The numbers of the process and of the cache's store.
    fn of_process(&self) -> impl Iterator<Item = (&'static Descriptor, u64)> {
        let cache = self.cache.iter().flat_map(|cache| cache.numbers());
        self.process.numbers().chain(cache)
    }

    /// The numbers of the guard and of its stores.
    pub(super) fn of_guard(&self) -> impl Iterator<Item = (&'static Descriptor, u64)> {
        let store = self.store.iter().flat_map(|store| store.numbers());
        let values = self.values.iter().flat_map(|values| values.numbers());
        self.guard.iter().flat_map(|guard| guard.numbers()).chain(store).chain(values)
    }

    /// Writes the numbers of single loops, which show how the work is spread.
    fn put_balance(&self, line: &mut String) {
        put(line, WORKERS.name, self.loops.len());
        for name in BALANCE {
            let value = |one: &Metrics| one.numbers().find(|(descriptor, _)| descriptor.name == name);
            let each: Vec<_> =
                self.loops.iter().filter_map(value).map(|(_, value)| value.to_string()).collect();
            put(line, format_args!("{name}_by_worker"), each.join(","));
        }
    }
}

fn put(line: &mut String, name: impl Display, value: impl Display) {
    let space = if line.is_empty() { "" } else { " " };
    let _ = write!(line, "{space}{name}={value}");
}

/// Four places, without the code that prints any number of them.
fn put_ratio(line: &mut String, descriptor: &Descriptor, value: f64) {
    let parts = (value * 10_000.0).round() as u64;
    put(line, descriptor.name, format_args!("{}.{:04}", parts / 10_000, parts % 10_000));
}

#[cfg(test)]
mod tests {
    use super::super::histogram::Histograms;
    use super::*;
    use std::collections::BTreeSet;

    fn snapshot(metrics: Metrics) -> Snapshot {
        Snapshot { loops: vec![metrics], ..Snapshot::default() }
    }

    /// Everything that a view may show.
    fn descriptors() -> Vec<&'static Descriptor> {
        let tables = [
            Metrics::DESCRIPTORS,
            ProcessNumbers::DESCRIPTORS,
            CacheNumbers::DESCRIPTORS,
            GuardNumbers::DESCRIPTORS,
            StoreNumbers::DESCRIPTORS,
            ValueNumbers::DESCRIPTORS,
            CLOUDS.as_slice(),
            UpstreamNumbers::DESCRIPTORS,
            DetectNumbers::DESCRIPTORS,
            Histograms::DESCRIPTORS,
        ];
        let [requests, bytes] = &CACHE_HIT_RATIOS;
        let others = [&STATUS, &WORKERS, &BLOCKED_RATIO, &DETECTION, requests, bytes];
        tables.into_iter().flatten().chain(others).collect()
    }

    #[test]
    fn descriptors_fit_a_text_for_monitoring_systems() {
        let mut names = BTreeSet::new();
        for Descriptor { name, help, unit, .. } in descriptors() {
            assert!(names.insert(*name), "{name} twice");
            // OpenMetrics 1.0, 4.4.1: a name; ours have no capitals, and a unit is told by the end of the name.
            assert!(name.starts_with(|c: char| c.is_ascii_lowercase()), "{name}");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{name}");
            if !cfg!(feature = "admin") {
                assert_eq!(*help, "");
                continue;
            }
            assert!(
                help.ends_with('.') && help.trim() == *help && !help.contains(['\n', '"', '\\']),
                "{help}"
            );
            let told = (name.contains("bytes"), name.ends_with("_s"), name.ends_with("_ratio"));
            match unit {
                Unit::Bytes => assert!(told.0, "{name}"),
                Unit::Seconds => assert!(told.1, "{name}"),
                Unit::Ratio => assert!(told.2, "{name}"),
                Unit::Count => assert!(!told.0 && !told.1 && !told.2, "{name}"),
            }
        }
    }

    #[test]
    fn a_sum_has_every_number() {
        let mut one = Metrics { requests: 2, blocked: 1, allowed: 3, ..Metrics::default() };
        one.statuses[4] = 5;
        let line = Snapshot { loops: vec![one, one], ..Snapshot::default() }.line();
        for part in ["requests=4 ", "blocked=2 ", "allowed=6 ", "status_4xx=10 ", "blocked_ratio=0.2500"] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(line.starts_with("clients=0 exchanges=0 "), "{line}");
        assert!(
            line.ends_with(" workers=2 clients_by_worker=0,0 accepted_by_worker=0,0 requests_by_worker=2,2")
        );
    }

    #[test]
    fn bounds_are_told_once_they_were_reached() {
        let line = snapshot(Metrics::default()).line();
        assert!(
            !line.contains(" limit_") && !line.contains(" timeouts_") && !line.contains(" cache_"),
            "{line}"
        );
        assert!(line.contains(" failed=0 ") && !line.contains("status_6xx"), "{line}");
        let metrics = Metrics { timeouts_head: 1, limit_fields: 2, ..Metrics::default() };
        let line = snapshot(metrics).line();
        assert!(line.contains(" timeouts_head=1 limit_fields=2 dns_look_ups=0 "), "{line}");
    }

    #[test]
    fn the_guard_and_its_store_are_told_once_they_have_done_something() {
        let cloud = CloudNumbers { provider: "aws", networks: 9, failures: 2, ..CloudNumbers::default() };
        let told = Snapshot {
            guard: Some(GuardNumbers { guard_events_lost: 3, ..GuardNumbers::default() }),
            store: Some(StoreNumbers { guard_store_late: 4, ..StoreNumbers::default() }),
            clouds: vec![cloud.clone(), CloudNumbers { provider: "gcp", age_s: Some(7), ..cloud }],
            ..snapshot(Metrics { guard_breaker_opened: 5, ..Metrics::default() })
        };
        let line = told.line();
        for part in [
            " guard_breaker_opened=5 ",
            " guard_events_lost=3 guard_store_late=4 guard_cloud_networks_aws=9 guard_cloud_refreshes_aws=0 \
             guard_cloud_failures_aws=2 guard_cloud_networks_gcp=9 guard_cloud_age_s_gcp=7 ",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(!line.contains("guard_bans") && !line.contains("guard_cloud_age_s_aws"), "{line}");
        let text = told.exposition(crate::metrics::Form::OpenMetrics, "1");
        for part in [
            "weir_guard_store_late_total 4\n",
            "weir_guard_store_connections_total 0\n",
            "weir_guard_cloud_networks{provider=\"aws\"} 9\nweir_guard_cloud_networks{provider=\"gcp\"} 9\n",
            "# UNIT weir_guard_cloud_age_seconds seconds\nweir_guard_cloud_age_seconds{provider=\"gcp\"} 7\n",
            "weir_guard_cloud_failures_total{provider=\"aws\"} 2\n",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn the_line_of_a_process_with_nothing_to_tell() {
        let expected = "clients=0 exchanges=0 tunnels=0 origins=0 origins_idle=0 origins_pinned=0 blocks_lent=0 \
             blocks_peak=0 spilled_bytes=0 accepted=0 requests=0 tunnels_opened=0 client_bytes_in=0 \
             client_bytes_out=0 origin_bytes_in=0 origin_bytes_out=0 allowed=0 blocked=0 malformed=0 failed=0 \
             aborted=0 dialled=0 dials_failed=0 origins_reused=0 origins_stale=0 origins_shed=0 \
             origins_passed_by=0 origins_moved=0 origins_aged=0 retries=0 verifications=0 dns_look_ups=0 \
             dns_hosts_hits=0 dns_cache_hits=0 dns_queries=0 dns_timeouts=0 dns_failures=0 status_none=0 \
             status_1xx=0 status_2xx=0 status_3xx=0 status_4xx=0 status_5xx=0 blocked_ratio=0.0000 \
             log_lines_lost=0 shortages=0";
        assert_eq!(snapshot(Metrics::default()).line(), expected);
    }
}
