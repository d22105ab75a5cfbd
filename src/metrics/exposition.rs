//! The text for monitoring systems: OpenMetrics 1.0, or the older text format of Prometheus, which has neither units nor an
//! end.

use super::clouds::{CLOUDS, CloudNumbers};
use super::histogram::Family;
use super::labels::STATUS_CLASSES;
use super::snapshot::{
    BLOCKED_RATIO, CACHE_HIT_RATIOS, DETECTION, Durations, STATUS, STATUS_CLASSES_SHOWN, Snapshot, WORKERS,
};
use super::tables::{DetectNumbers, UpstreamNumbers};
use super::{Descriptor, Kind, Labelled, Unit};
use std::fmt::{Display, Write as _};

/// The prefix of every name.
const PREFIX: &str = "weir_";

/// The two forms of the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// OpenMetrics 1.0.
    #[default]
    OpenMetrics,
    /// The text format of Prometheus, version 0.0.4.
    Classic,
}

impl Form {
    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Form::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Form::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// The form that the values of a field Accept ask for: the classic one only if it is named and OpenMetrics is not.
    pub fn wanted(accept: &str) -> Form {
        let mut plain = false;
        for range in accept.split(',') {
            let (media_type, parameters) = range.split_once(';').unwrap_or((range, ""));
            let refused = parameters.split(';').any(|parameter| {
                let weight = parameter.trim().strip_prefix("q=");
                weight.is_some_and(|weight| weight.parse() == Ok(0.0))
            });
            match media_type.trim().to_ascii_lowercase().as_str() {
                "application/openmetrics-text" if !refused => return Form::OpenMetrics,
                "text/plain" if !refused => plain = true,
                _ => {}
            }
        }
        if plain { Form::Classic } else { Form::OpenMetrics }
    }
}

/// The name in the text, without the end that a kind adds: a unit comes last (OpenMetrics 1.0, section 4.4.4).
fn family_name(descriptor: &Descriptor) -> String {
    let (short, unit) = match descriptor.unit {
        Unit::Count => ("", ""),
        Unit::Bytes => ("bytes", "_bytes"),
        Unit::Seconds => ("s", "_seconds"),
        Unit::Ratio => ("ratio", "_ratio"),
    };
    let words: Vec<&str> = descriptor.name.split('_').filter(|word| *word != short).collect();
    format!("{PREFIX}{}{unit}", words.join("_"))
}

struct Text {
    out: String,
    form: Form,
}

impl Text {
    /// Writes the lines in front of a family: kind, unit and help. Returns the name of its samples.
    fn describe(&mut self, descriptor: &Descriptor) -> String {
        let family = family_name(descriptor);
        let (kind, end) = match descriptor.kind {
            Kind::Counter => ("counter", "_total"),
            Kind::Gauge => ("gauge", ""),
            Kind::Histogram => ("histogram", ""),
        };
        let unit = match descriptor.unit {
            Unit::Count => "",
            Unit::Bytes => "bytes",
            Unit::Seconds => "seconds",
            Unit::Ratio => "ratio",
        };
        let sample = format!("{family}{end}");
        let (described, unit) = match self.form {
            Form::OpenMetrics => (&family, unit),
            // In the classic form, a family has the name of its samples, and no unit.
            Form::Classic => (&sample, ""),
        };
        let _ = writeln!(self.out, "# HELP {described} {}", descriptor.help);
        let _ = writeln!(self.out, "# TYPE {described} {kind}");
        if !unit.is_empty() {
            let _ = writeln!(self.out, "# UNIT {described} {unit}");
        }
        sample
    }

    /// A family of one number.
    fn put(&mut self, descriptor: &Descriptor, value: impl Display) {
        let name = self.describe(descriptor);
        let _ = writeln!(self.out, "{name} {value}");
    }

    fn put_statuses(&mut self, statuses: &[u64]) {
        let name = self.describe(&STATUS);
        for (class, (label, value)) in STATUS_CLASSES.iter().zip(statuses).enumerate() {
            if class < STATUS_CLASSES_SHOWN || *value > 0 {
                let _ = writeln!(self.out, "{name}{{status=\"{label}\"}} {value}");
            }
        }
    }

    fn put_clouds(&mut self, clouds: &[CloudNumbers]) {
        for (place, descriptor) in CLOUDS.iter().enumerate().filter(|_| !clouds.is_empty()) {
            let name = self.describe(descriptor);
            for cloud in clouds {
                if let Some(value) = cloud.numbers()[place] {
                    let _ = writeln!(self.out, "{name}{{provider=\"{}\"}} {value}", cloud.provider);
                }
            }
        }
    }

    fn put_family(&mut self, (descriptor, label, values, histograms): Family, shown: usize) {
        let name = self.describe(descriptor);
        for (at, (value, histogram)) in values.iter().zip(histograms).enumerate() {
            if at < shown || histogram.count() > 0 {
                let own = if label.is_empty() { String::new() } else { format!("{label}=\"{value}\"") };
                self.put_histogram(&name, &own, histogram.buckets(), seconds(histogram.sum_us()));
            }
        }
    }

    /// Durations by category, in buckets of their own.
    fn put_detection(&mut self, detection: &[Labelled<Durations>]) {
        if detection.is_empty() {
            return;
        }
        let name = self.describe(&DETECTION);
        for Labelled { labels, numbers } in detection {
            let label = labels.iter().map(|(label, value)| format!("{label}=\"{value}\""));
            let buckets = numbers.buckets.iter().copied();
            self.put_histogram(
                &name,
                &label.collect::<Vec<_>>().join(","),
                buckets,
                numbers.sum_ns as f64 / 1e9,
            );
        }
    }

    fn put_histogram(
        &mut self,
        name: &str,
        label: &str,
        buckets: impl Iterator<Item = (Option<u64>, u64)>,
        sum_s: f64,
    ) {
        let comma = if label.is_empty() { "" } else { "," };
        let mut all = 0;
        for (bound_us, count) in buckets {
            all = count;
            // OpenMetrics 1.0 demands a point in the number (section 4.4.5).
            let bound = bound_us.map_or("+Inf".to_owned(), |bound_us| seconds(bound_us).to_string());
            let point = if bound_us.is_some() && !bound.contains('.') { ".0" } else { "" };
            let _ = writeln!(self.out, "{name}_bucket{{{label}{comma}le=\"{bound}{point}\"}} {count}");
        }
        let labels = if label.is_empty() { String::new() } else { format!("{{{label}}}") };
        let _ = writeln!(self.out, "{name}_sum{labels} {sum_s}");
        let _ = writeln!(self.out, "{name}_count{labels} {all}");
    }

    fn put_build(&mut self, version: &str) {
        let (described, kind) = match self.form {
            Form::OpenMetrics => ("build", "info"),
            Form::Classic => ("build_info", "gauge"),
        };
        let _ = writeln!(self.out, "# HELP {PREFIX}{described} The running program.");
        let _ = writeln!(self.out, "# TYPE {PREFIX}{described} {kind}");
        let _ = writeln!(self.out, "{PREFIX}build_info{{version=\"{version}\"}} 1");
    }
}

fn seconds(time_us: u64) -> f64 {
    time_us as f64 / 1e6
}

impl Snapshot {
    /// All numbers as text; the numbers of the loops are added up. `version` is the version of the program.
    pub fn exposition(&self, form: Form, version: &str) -> String {
        let mut text = Text { out: String::new(), form };
        text.put_build(version);
        text.put(&WORKERS, self.loops.len());
        let sum = self.sum();
        sum.numbers().for_each(|(descriptor, value)| text.put(descriptor, value));
        text.put_statuses(&sum.statuses);
        text.put(&BLOCKED_RATIO, sum.blocked_ratio());
        self.process.numbers().for_each(|(descriptor, value)| text.put(descriptor, value));
        if let Some(cache) = &self.cache {
            cache.numbers().for_each(|(descriptor, value)| text.put(descriptor, value));
            let ratios = CACHE_HIT_RATIOS.iter().zip(sum.cache_hit_ratios());
            ratios.for_each(|(descriptor, value)| text.put(descriptor, value));
        }
        self.of_guard().for_each(|(descriptor, value)| text.put(descriptor, value));
        text.put_clouds(&self.clouds);
        let number = |numbers: &DetectNumbers, at| numbers.numbers().nth(at).map(|(_, value)| value);
        text.put_labelled(DetectNumbers::DESCRIPTORS, &self.detected, number);
        text.put_detection(&self.detection);
        let number = |numbers: &UpstreamNumbers, at| numbers.numbers().nth(at).map(|(_, value)| value);
        text.put_labelled(UpstreamNumbers::DESCRIPTORS, &self.upstreams, number);
        for family in sum.histograms.families() {
            // Series that are written with a count of zero, too: a series that begins late has no rate at first.
            let shown = match family.1 {
                "status" => STATUS_CLASSES_SHOWN,
                "cache" if self.cache.is_none() => 1,
                _ => usize::MAX,
            };
            text.put_family(family, shown);
        }
        if form == Form::OpenMetrics {
            text.out.push_str("# EOF\n");
        }
        text.out
    }
}

impl Text {
    /// Writes the samples of several labelled tables, family by family.
    fn put_labelled<'a, T: 'a>(
        &mut self,
        descriptors: &[Descriptor],
        all: &'a [Labelled<T>],
        number: impl Fn(&'a T, usize) -> Option<u64>,
    ) {
        for (at, descriptor) in descriptors.iter().enumerate().filter(|_| !all.is_empty()) {
            let name = self.describe(descriptor);
            for Labelled { labels, numbers } in all {
                let Some(value) = number(numbers, at) else { continue };
                let labels: Vec<String> =
                    labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
                let _ = writeln!(self.out, "{name}{{{}}} {value}", labels.join(","));
            }
        }
    }
}

/// A value of a label (OpenMetrics 1.0, section 4.4.2).
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{
        CacheNumbers, GuardNumbers, Histograms, Metrics, ProcessNumbers, StoreNumbers, ValueNumbers,
    };
    use std::collections::BTreeSet;

    fn snapshot() -> Snapshot {
        let mut one =
            Metrics { requests: 2, client_bytes_in: 7, blocked: 1, allowed: 3, ..Metrics::default() };
        one.statuses[2] = 4;
        one.histograms.request_duration[2].observe(700);
        one.histograms.dns.observe(2_000_000);
        Snapshot { loops: vec![one, one], ..Snapshot::default() }
    }

    #[test]
    fn names_and_units_are_those_of_openmetrics() {
        let tables = [
            Metrics::DESCRIPTORS,
            ProcessNumbers::DESCRIPTORS,
            CacheNumbers::DESCRIPTORS,
            GuardNumbers::DESCRIPTORS,
            StoreNumbers::DESCRIPTORS,
            ValueNumbers::DESCRIPTORS,
            &CLOUDS,
            UpstreamNumbers::DESCRIPTORS,
            DetectNumbers::DESCRIPTORS,
            Histograms::DESCRIPTORS,
            &[STATUS, WORKERS, BLOCKED_RATIO, DETECTION],
            &CACHE_HIT_RATIOS,
        ];
        let mut names = BTreeSet::new();
        for descriptor in tables.into_iter().flatten() {
            let family = family_name(descriptor);
            let ends: &[&str] = match descriptor.kind {
                Kind::Counter => &["_total"],
                Kind::Gauge => &[""],
                Kind::Histogram => &["_bucket", "_sum", "_count"],
            };
            for end in ends {
                assert!(names.insert(format!("{family}{end}")), "{family}{end} twice");
            }
            assert!(names.insert(format!("{family} ")), "{family} twice");
            // OpenMetrics 1.0, section 4.4.5: ends of names that kinds add.
            for end in ["_total", "_created", "_bucket", "_count", "_sum", "_info", "_gcount", "_gsum"] {
                assert!(!family.ends_with(end), "{family}");
            }
        }
        for (name, unit, family) in [
            ("client_bytes_in", Unit::Bytes, "weir_client_in_bytes"),
            ("cache_bytes", Unit::Bytes, "weir_cache_bytes"),
            ("cache_evicted_age_s", Unit::Seconds, "weir_cache_evicted_age_seconds"),
            ("blocked_ratio", Unit::Ratio, "weir_blocked_ratio"),
            ("requests", Unit::Count, "weir_requests"),
        ] {
            assert_eq!(family_name(&Descriptor { name, help: "", kind: Kind::Gauge, unit }), family);
        }
    }

    #[test]
    fn all_loops_are_one_sum() {
        let text = snapshot().exposition(Form::OpenMetrics, "1.2.3");
        for part in [
            "# TYPE weir_build info\nweir_build_info{version=\"1.2.3\"} 1\n",
            "weir_workers 2\n",
            "# TYPE weir_requests counter\nweir_requests_total 4\n",
            "# TYPE weir_client_in_bytes counter\n# UNIT weir_client_in_bytes bytes\nweir_client_in_bytes_total 14\n",
            "weir_status_total{status=\"2xx\"} 8\n",
            "weir_blocked_ratio 0.25\n",
            "weir_request_duration_seconds_bucket{status=\"2xx\",le=\"0.0005\"} 0\n",
            "weir_request_duration_seconds_bucket{status=\"2xx\",le=\"0.001\"} 2\n",
            "weir_request_duration_seconds_bucket{status=\"2xx\",le=\"+Inf\"} 2\n",
            "weir_request_duration_seconds_sum{status=\"2xx\"} 0.0014\n",
            "weir_request_duration_seconds_count{status=\"2xx\"} 2\n",
            "weir_dns_seconds_bucket{le=\"1.0\"} 0\nweir_dns_seconds_bucket{le=\"2.5\"} 2\n",
            "weir_dns_seconds_sum 4\nweir_dns_seconds_count 2\n",
        ] {
            assert!(text.contains(part), "{part}\nin\n{text}");
        }
        assert!(text.ends_with("\n# EOF\n") && text.matches("# EOF").count() == 1);
        for absent in ["weir_cache_entries", "status=\"9xx\"", "cache=\"hit\""] {
            assert!(!text.contains(absent), "{absent}\nin\n{text}");
        }
        let cached = Snapshot { cache: Some(CacheNumbers::default()), ..snapshot() };
        let text = cached.exposition(Form::OpenMetrics, "1.2.3");
        assert!(text.contains("weir_cache_entries 0\n") && text.contains("cache=\"hit\""), "{text}");
    }

    #[test]
    fn ours_11_detection_has_a_histogram_for_each_category() {
        let of = |category: &str, buckets: [u64; 2], sum_ns| Labelled {
            labels: vec![("category", category.to_owned())],
            numbers: Durations { buckets: vec![(Some(2), buckets[0]), (None, buckets[1])], sum_ns },
        };
        let detection = vec![of("none", [3, 4], 8_500), of("sqli", [1, 1], 1_000)];
        let text = Snapshot { detection, ..snapshot() }.exposition(Form::OpenMetrics, "1");
        let part = "# TYPE weir_guard_detection_seconds histogram\n# UNIT weir_guard_detection_seconds seconds\n\
                    weir_guard_detection_seconds_bucket{category=\"none\",le=\"0.000002\"} 3\n\
                    weir_guard_detection_seconds_bucket{category=\"none\",le=\"+Inf\"} 4\n\
                    weir_guard_detection_seconds_sum{category=\"none\"} 0.0000085\n\
                    weir_guard_detection_seconds_count{category=\"none\"} 4\n\
                    weir_guard_detection_seconds_bucket{category=\"sqli\",le=\"0.000002\"} 1\n";
        assert!(text.contains(part), "{text}");
        assert!(!snapshot().exposition(Form::OpenMetrics, "1").contains("guard_detection"));
    }

    #[test]
    fn each_upstream_has_its_labels() {
        let numbers = UpstreamNumbers { upstream_up: 1, upstream_requests: 7, ..UpstreamNumbers::default() };
        let labels = vec![("route", "*/a\"b".to_owned()), ("upstream", "127.0.0.1:9000".to_owned())];
        let upstreams = vec![Labelled { labels, numbers }, Labelled::default()];
        let text = Snapshot { upstreams, ..snapshot() }.exposition(Form::OpenMetrics, "1");
        let part = "# TYPE weir_upstream_requests counter\n\
                    weir_upstream_requests_total{route=\"*/a\\\"b\",upstream=\"127.0.0.1:9000\"} 7\n";
        assert!(text.contains(part), "{text}");
        assert!(!snapshot().exposition(Form::OpenMetrics, "1").contains("weir_upstream_"));
    }

    #[test]
    fn the_classic_text_has_neither_units_nor_an_end() {
        let text = snapshot().exposition(Form::Classic, "1");
        assert!(text.contains("# TYPE weir_requests_total counter\nweir_requests_total 4\n"), "{text}");
        assert!(text.contains("# TYPE weir_build_info gauge\n"), "{text}");
        assert!(!text.contains("# UNIT") && !text.contains("# EOF"), "{text}");
    }

    #[test]
    fn accept_decides_the_form() {
        for (accept, form) in [
            ("", Form::OpenMetrics),
            ("*/*", Form::OpenMetrics),
            ("text/plain", Form::Classic),
            ("Text/Plain;version=0.0.4", Form::Classic),
            ("text/plain;q=0, */*", Form::OpenMetrics),
            ("application/openmetrics-text;q=0.0,text/plain", Form::Classic),
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1",
                Form::OpenMetrics,
            ),
            ("text/plain, application/openmetrics-text", Form::OpenMetrics),
        ] {
            assert_eq!(Form::wanted(accept), form, "{accept}");
        }
    }
}
