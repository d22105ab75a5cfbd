//! The counters of a refusal, a fault and the record of a finished transaction.

use crate::engine::transaction::log_record::{CacheUse, Kind, LogRecord};
use crate::engine::transaction::refusal::Refusal;
use crate::engine::upstream::routing::Unrouted;
use crate::guard::verdict::Cause;
use crate::http::fault::Fault;
use crate::metrics::{Metrics, STATUS_CLASSES};

impl Metrics {
    /// Counts the use of the cache by a request, at its end: a miss may have become another use.
    pub(in crate::engine) fn count_cache(&mut self, record: &LogRecord) {
        let (requests, bytes) = match record.cache {
            CacheUse::None | CacheUse::Refresh => return,
            CacheUse::Hit => (&mut self.cache_hits, &mut self.cache_hit_bytes),
            CacheUse::Stale => (&mut self.cache_stale, &mut self.cache_hit_bytes),
            CacheUse::Revalidated => (&mut self.cache_revalidated, &mut self.cache_hit_bytes),
            CacheUse::Collapsed => (&mut self.cache_collapsed, &mut self.cache_hit_bytes),
            CacheUse::Miss => (&mut self.cache_misses, &mut self.cache_miss_bytes),
            CacheUse::Bypass => (&mut self.cache_bypassed, &mut self.cache_miss_bytes),
        };
        *requests += 1;
        *bytes += record.sent_bytes;
    }

    /// Counts how long a transaction or tunnel took, and its parts.
    pub(in crate::engine) fn count_times(&mut self, record: &LogRecord) {
        let histograms = &mut self.histograms;
        match record.kind {
            // No client has waited for it.
            Kind::Transaction if record.cache == CacheUse::Refresh => {}
            Kind::Transaction => {
                histograms.request_duration[status_class(record.status)].observe(record.duration_us)
            }
            Kind::Tunnel => histograms.tunnel_duration.observe(record.duration_us),
            Kind::TunnelStart => return,
        }
        if let Some(ttfb_us) = record.waits.ttfb_us {
            histograms.time_to_first_byte[cache_label(record.cache)].observe(ttfb_us);
        }
        if let Some(connect_us) = record.waits.connect_us {
            histograms.connect.observe(connect_us);
        }
        // 0 means that the answer was in the cache: most are, and would hide the others.
        if let Some(dns_us) = record.waits.dns_us.filter(|&waited_us| waited_us > 0) {
            histograms.dns.observe(dns_us);
        }
    }

    /// Counts the limit that a message has exceeded, if the fault is one.
    pub(in crate::engine) fn count_fault(&mut self, fault: Fault) {
        let limits = [
            (Fault::HeadTooLarge, &mut self.limit_head),
            (Fault::TooManyFields, &mut self.limit_fields),
            (Fault::TargetTooLong, &mut self.limit_target),
            (Fault::MethodTooLong, &mut self.limit_method),
            (Fault::ConnectionOptions, &mut self.limit_connection_options),
            (Fault::ChunkExtensionTooLong, &mut self.limit_chunk_extensions),
            (Fault::TrailerTooLarge, &mut self.limit_trailers),
        ];
        for (_, counter) in limits.into_iter().filter(|(limit, _)| *limit == fault) {
            *counter += 1;
        }
    }

    /// Counts the bound that caused a refusal. Bounds that can be reached without a refusal are counted where they are
    /// reached, not here.
    pub(in crate::engine) fn count_refusal(&mut self, refusal: Refusal) {
        use crate::resolver::Failure;
        match refusal {
            Refusal::Fault(fault) | Refusal::OriginFault(fault) => self.count_fault(fault),
            Refusal::HeadTimeout => self.timeouts_head += 1,
            Refusal::BodyTimeout => self.timeouts_body += 1,
            Refusal::TooSlow => self.limit_rate += 1,
            Refusal::OriginTimeout => self.timeouts_response += 1,
            Refusal::Dns(Failure::Timeout) => self.timeouts_dns += 1,
            Refusal::TooManyInformational => self.limit_informational += 1,
            Refusal::TooManyConnections => self.limit_connections += 1,
            Refusal::TooManyPerClient => self.limit_per_client += 1,
            Refusal::TooManyLookUps => self.limit_look_ups += 1,
            Refusal::TooManyVerifications => self.limit_verifications += 1,
            Refusal::TooManyGuesses => self.limit_guesses += 1,
            Refusal::Guarded(denial) => match denial.cause {
                Cause::Forged => self.guard_forged += 1,
                Cause::Throttled => self.guard_limited += 1,
                Cause::Suspicious => self.guard_suspicious += 1,
                Cause::Banned | Cause::BannedNow => self.guard_banned += 1,
                Cause::ClientInCloud(_) | Cause::DestinationInCloud(_) => self.guard_clouds += 1,
                Cause::Limit | Cause::Over | Cause::Blocked | Cause::Permanent => self.guard_limited += 1,
                Cause::StoreFailed => self.guard_store_refused += 1,
            },
            Refusal::Unrouted(Unrouted::NoUpstream { .. }) => self.gateway_no_upstream += 1,
            Refusal::Unrouted(_) => self.gateway_unrouted += 1,
            Refusal::Denied(_)
            | Refusal::Callback(_)
            | Refusal::ProxyHeader
            | Refusal::CredentialsMissing
            | Refusal::CredentialsWrong
            | Refusal::Loop
            | Refusal::AskedForProxy
            | Refusal::OriginForm
            | Refusal::LengthRequired
            | Refusal::Filtered(_)
            | Refusal::OnlyIfCached
            | Refusal::PurgeDenied
            | Refusal::PurgeByBrowser
            | Refusal::PurgeScope
            | Refusal::PurgeTokenMissing
            | Refusal::NoMemory
            | Refusal::Dns(
                Failure::NotFound
                | Failure::NoAddress
                | Failure::ServerFailure
                | Failure::Malformed
                | Failure::Exhausted,
            )
            | Refusal::Connect(_)
            | Refusal::OriginClosed
            | Refusal::OriginIncomplete
            | Refusal::UpgradeUnasked => {}
        }
    }
}

/// The index of a status among counters by class ([`STATUS_CLASSES`](crate::metrics::STATUS_CLASSES)).
pub(in crate::engine) fn status_class(status: u16) -> usize {
    usize::from(status / 100).min(STATUS_CLASSES.len() - 1)
}

/// The index among counters by use of the cache ([`CACHE_USES`](crate::metrics::CACHE_USES)).
fn cache_label(cache: CacheUse) -> usize {
    match cache {
        CacheUse::None => 0,
        CacheUse::Hit => 1,
        CacheUse::Miss => 2,
        CacheUse::Stale => 3,
        CacheUse::Revalidated => 4,
        CacheUse::Collapsed => 5,
        CacheUse::Bypass => 6,
        CacheUse::Refresh => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::transaction::log_record::Waits;
    use crate::metrics::{CACHE_USES, Histogram};
    use std::net::SocketAddr;

    #[test]
    fn labels_are_the_words_of_the_log() {
        let uses = [
            CacheUse::Hit,
            CacheUse::Miss,
            CacheUse::Stale,
            CacheUse::Revalidated,
            CacheUse::Collapsed,
            CacheUse::Bypass,
            CacheUse::Refresh,
        ];
        assert_eq!(uses.map(|cache| CACHE_USES[cache_label(cache)]), uses.map(CacheUse::word));
        assert_eq!(CACHE_USES[cache_label(CacheUse::None)], "none");
        assert_eq!([0, 100, 204, 599, 65535].map(status_class), [0, 1, 2, 5, 9]);
    }

    #[test]
    fn a_time_is_counted_once_if_there_was_one() {
        let record = |kind, dns_us, connect_us, ttfb_us| {
            let mut record = LogRecord::new(SocketAddr::from(([192, 0, 2, 1], 1)));
            (record.kind, record.status, record.duration_us) = (kind, 200, 5_000);
            (record.cache, record.waits) = (CacheUse::Miss, Waits { dns_us, connect_us, ttfb_us });
            record
        };
        // Requests, tunnels, first bytes, connections, look-ups; waits for a store are not of a record.
        for (record, expected) in [
            (record(Kind::Transaction, Some(7), Some(8), Some(9)), [1, 0, 1, 1, 1, 0]),
            (record(Kind::Transaction, Some(0), None, None), [1, 0, 0, 0, 0, 0]),
            (record(Kind::Tunnel, None, Some(0), Some(0)), [0, 1, 1, 1, 0, 0]),
            (record(Kind::TunnelStart, Some(7), Some(8), Some(9)), [0; 6]),
        ] {
            let mut metrics = Metrics::default();
            metrics.count_times(&record);
            let families = metrics.histograms.families();
            let counts = families.map(|family| family.3.iter().map(Histogram::count).sum::<u64>());
            assert_eq!(counts, expected, "{:?}", record.kind);
            assert!(counts[2] == 0 || metrics.histograms.time_to_first_byte[2].count() == 1);
            assert!(counts[0] == 0 || metrics.histograms.request_duration[2].sum_us() == 5_000);
        }
        let mut refresh = record(Kind::Transaction, Some(7), Some(8), Some(9));
        refresh.cache = CacheUse::Refresh;
        let mut metrics = Metrics::default();
        metrics.count_times(&refresh);
        let counts =
            metrics.histograms.families().map(|family| family.3.iter().map(Histogram::count).sum::<u64>());
        assert_eq!(counts, [0, 0, 1, 1, 1, 0]);
    }

    #[test]
    fn bounds_are_counted_where_they_are_met() {
        let mut metrics = Metrics::default();
        metrics.count_refusal(Refusal::OriginFault(Fault::TooManyFields));
        metrics.count_refusal(Refusal::Fault(Fault::TooManyFields));
        metrics.count_refusal(Refusal::HeadTimeout);
        metrics.count_refusal(Refusal::Fault(Fault::Tls));
        let reached = metrics.numbers().filter(|(_, value)| *value > 0);
        let reached: Vec<_> = reached.map(|(descriptor, value)| (descriptor.name, value)).collect();
        assert_eq!(reached, [("timeouts_head", 1), ("limit_fields", 2)]);
    }
}
