//! Which counters a refusal, a fault and the record of a finished transaction belong to.

use crate::engine::transaction::log_record::{CacheUse, LogRecord};
use crate::engine::transaction::refusal::Refusal;
use crate::http::fault::Fault;
use crate::metrics::Metrics;

impl Metrics {
    /// Counts what the cache has done for a request, at its end: what began as a miss may have become something else.
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

    /// Counts the limit that a message has exceeded, if that is what is wrong with it.
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

    /// Counts the bound that a refusal tells of. What is counted where it is met, because there need not be a refusal, is
    /// not counted again.
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
            Refusal::Denied(_)
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
            | Refusal::PurgeTokenMissing
            | Refusal::NoMemory
            | Refusal::Dns(
                Failure::NotFound | Failure::NoAddress | Failure::ServerFailure | Failure::Malformed,
            )
            | Refusal::Connect(_)
            | Refusal::OriginClosed
            | Refusal::OriginIncomplete
            | Refusal::UpgradeUnasked => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
