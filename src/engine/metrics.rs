//! What one loop has counted since it started.

use crate::engine::transaction::log_record::{CacheUse, LogRecord};
use crate::engine::transaction::refusal::Refusal;
use crate::http::fault::Fault;

/// One table: each number's meaning, field and name in the statistics.
macro_rules! metrics {
    ($($(#[$meaning:meta])* $name:ident,)*) => {
        /// Counters only grow; gauges say what is now. All are of one loop.
        #[derive(Clone, Debug, Default)]
        pub struct Metrics {
            $($(#[$meaning])* pub $name: u64,)*
            /// Answers sent, by hundreds; index 0 counts exchanges that ended without an answer.
            pub statuses: [u64; 10],
        }

        impl Metrics {
            fn numbers_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut u64)> {
                [$((stringify!($name), &mut self.$name)),*].into_iter()
            }
        }
    };
}

metrics! {
    /// Client connections now, idle ones included.
    clients,
    /// Exchanges under way now.
    exchanges,
    /// Tunnels open now.
    tunnels,
    /// Origin connections now, idle ones included.
    origins,
    /// Idle origin connections now.
    origins_idle,
    /// Origin connections that wait for the one client that may use them, now: authenticated ones.
    origins_pinned,
    /// 4 KB blocks lent now.
    blocks_lent,
    /// Most blocks lent at once.
    blocks_peak,
    /// Heap bytes lent beside the blocks now.
    spilled_bytes,

    /// Client connections accepted.
    accepted,
    /// Exchanges begun, tunnels included.
    requests,
    /// Tunnels established.
    tunnels_opened,
    /// Bytes received from clients.
    client_bytes_in,
    /// Bytes sent to clients.
    client_bytes_out,
    /// Bytes received from origins.
    origin_bytes_in,
    /// Bytes sent to origins.
    origin_bytes_out,
    /// Exchanges that ended as allowed.
    allowed,
    /// Refused by rule, credentials or limit.
    blocked,
    /// Requests that broke the grammar, or stopped arriving.
    malformed,
    /// Allowed, but not carried to the end.
    failed,
    /// Of those, the ones that the client gave up or did not read.
    aborted,

    /// Origin connections dialled.
    dialled,
    /// Dials that failed or timed out.
    dials_failed,
    /// Exchanges carried by a reused origin connection.
    origins_reused,
    /// Idle origin connections discarded because they spoke or closed.
    origins_stale,
    /// Idle origin connections closed because somebody needed their descriptors.
    origins_shed,
    /// Requests that got a fresh connection, because they could not be sent twice and an idle one might have been dead.
    origins_passed_by,
    /// Idle origin connections closed because their address is none of their name's any more.
    origins_moved,
    /// Origin connections not used again because of `--origin-lifetime`.
    origins_aged,
    /// Requests sent a second time because a reused connection had died.
    retries,

    /// Passwords sent to be verified off the loop.
    verifications,

    /// Connections that never sent a byte, closed after `--head-timeout`.
    timeouts_unused,
    /// Heads that were not whole within `--head-timeout`.
    timeouts_head,
    /// Heads that found no block within `--head-timeout`.
    timeouts_block,
    /// Clients closed after `--idle-timeout` between two requests.
    timeouts_idle,
    /// Request bodies that stopped for `--timeout`.
    timeouts_body,
    /// Clients that did not read for `--timeout`.
    timeouts_client,
    /// Origins that were silent for `--timeout`, or whose head was not whole within `--head-timeout`.
    timeouts_response,
    /// Passwords that were not verified within `--timeout`.
    timeouts_verification,
    /// Connection attempts given up after `--connect-timeout`.
    timeouts_connect,
    /// Requests refused because the name servers did not answer in time.
    timeouts_dns,
    /// Tunnels silent for `--tunnel-timeout`.
    timeouts_tunnel,
    /// Origin connections closed after `--idle-origin-timeout`.
    timeouts_origin_idle,
    /// Lingering closes cut short after `LINGER_MS`.
    timeouts_linger,
    /// Exchanges and tunnels cut after `--drain-timeout`, or by the order to stop at once.
    timeouts_drain,

    /// Connections refused because of `--max-connections`.
    limit_connections,
    /// Times that even those who are told so were `REFUSALS_MAX`, so that nobody more was taken.
    limit_refusals,
    /// Connections refused because of `--max-per-client`.
    limit_per_client,
    /// Times that a connection waited or failed for lack of a block.
    limit_blocks,
    /// Requests refused because too many passwords waited to be verified.
    limit_verifications,
    /// Requests refused because their client had no guesses at passwords left.
    limit_guesses,
    /// Look-ups refused because too many were in collapse.
    limit_look_ups,
    /// Messages refused because of `--head-max`.
    limit_head,
    /// Messages refused because of `--fields-max`.
    limit_fields,
    /// Requests refused because of `--target-max`.
    limit_target,
    /// Requests refused because of the length of their method.
    limit_method,
    /// Messages refused because of too many connection options.
    limit_connection_options,
    /// Messages with chunk extensions that were too long.
    limit_chunk_extensions,
    /// Messages with trailers that were too large.
    limit_trailers,
    /// Answers refused because of `INFORMATIONAL_MAX`.
    limit_informational,
    /// Uploads and clients that were slower than `--min-rate`.
    limit_rate,
    /// Connections closed because the body of a refused request was longer than `DISCARD_BYTES_MAX`, or had no length.
    limit_discard,
    /// Lingering closes cut short after `LINGER_BYTES_MAX`.
    limit_linger,
    /// Idle origin connections closed because of `--idle-origins` or `--idle-per-origin`.
    limit_origins_idle,

    /// Look-ups asked for.
    dns_look_ups,
    /// Of those, answered from the hosts file.
    dns_hosts_hits,
    /// Of those, answered from the cache.
    dns_cache_hits,
    /// Queries sent.
    dns_queries,
    /// Queries that timed out.
    dns_timeouts,
    /// Look-ups that failed.
    dns_failures,

    /// Requests answered from memory, fresh.
    cache_hits,
    /// Requests for which nothing usable was stored.
    cache_misses,
    /// Requests answered from memory, stale.
    cache_stale,
    /// Requests answered from memory after the origin had confirmed it.
    cache_revalidated,
    /// Requests answered by what another one brought.
    cache_collapsed,
    /// Times that a request was no longer waited for, because its origin said nothing: another one asked anew.
    cache_overtaken,
    /// Requests that are none for a cache.
    cache_bypassed,
    /// Requests of weir's own, to renew what was served stale.
    cache_refreshes,
    /// Bytes sent for those that were answered from memory, heads included.
    cache_hit_bytes,
    /// Bytes sent for the misses and those that are none for a cache.
    cache_miss_bytes,
    /// Responses stored.
    cache_stored,
    /// Responses found too large to store while they came.
    cache_too_large,
    /// Clients cut because they read too slowly what was too large to store.
    cache_readers_cut,
    /// Responses on their way into the cache, or past it to all who wait for them, now.
    cache_fetches,
    /// Keys for which an origin is being asked now.
    cache_collapses,
}

impl Metrics {
    /// Adds another loop's numbers; peaks add up too, as an upper bound.
    pub fn add(&mut self, other: &Metrics) {
        for (mine, theirs) in self.numbers_mut().zip(other.clone().numbers_mut()) {
            *mine.1 += *theirs.1;
        }
        for (mine, theirs) in self.statuses.iter_mut().zip(other.statuses) {
            *mine += theirs;
        }
    }

    /// Refused ones among all that were judged, 0 to 1.
    pub fn blocked_ratio(&self) -> f64 {
        let judged = self.allowed + self.failed + self.blocked;
        if judged == 0 { 0.0 } else { self.blocked as f64 / judged as f64 }
    }

    /// Requests answered from memory among all that there could have been an answer for, and the same of bytes; 0 to 1.
    pub fn cache_hit_ratios(&self) -> (f64, f64) {
        let hits = self.cache_hits + self.cache_stale + self.cache_revalidated + self.cache_collapsed;
        let ratio = |part: u64, rest: u64| part as f64 / (part + rest).max(1) as f64;
        let requests = ratio(hits, self.cache_misses + self.cache_bypassed);
        (requests, ratio(self.cache_hit_bytes, self.cache_miss_bytes))
    }

    /// One line of `name=value` pairs, for people and scripts. Time-outs and limits that were never reached, and
    /// what a cache has not done, are left out.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        use std::io::Write as _;
        let mut copy = self.clone();
        for (name, value) in copy.numbers_mut() {
            let rare = ["timeouts_", "limit_", "cache_"].iter().any(|kind| name.starts_with(kind));
            if *value > 0 || !rare {
                let _ = write!(out, "{name}={value} ");
            }
        }
        for (class, count) in self.statuses.iter().enumerate() {
            let name = ["none", "1xx", "2xx", "3xx", "4xx", "5xx", "6xx", "7xx", "8xx", "9xx"][class];
            if class < 6 || *count > 0 {
                let _ = write!(out, "status_{name}={count} ");
            }
        }
        let _ = write!(out, "blocked_ratio={:.4}", self.blocked_ratio());
    }

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

    fn line(metrics: &Metrics) -> String {
        let mut line = Vec::new();
        metrics.write_line(&mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn adds_up_and_writes_every_number() {
        let mut one = Metrics { requests: 2, blocked: 1, allowed: 3, ..Metrics::default() };
        one.statuses[4] = 5;
        let mut sum = one.clone();
        sum.add(&one);
        let line = line(&sum);
        for part in ["requests=4 ", "blocked=2 ", "allowed=6 ", "status_4xx=10 ", "blocked_ratio=0.2500"] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }

    #[test]
    fn bounds_are_told_once_they_were_reached() {
        let mut metrics = Metrics::default();
        assert!(!line(&metrics).contains("limit_") && !line(&metrics).contains("timeouts_"));
        assert!(line(&metrics).contains("failed=0 "));
        metrics.count_refusal(Refusal::OriginFault(Fault::TooManyFields));
        metrics.count_refusal(Refusal::Fault(Fault::TooManyFields));
        metrics.count_refusal(Refusal::HeadTimeout);
        metrics.count_refusal(Refusal::Fault(Fault::Tls));
        assert!(line(&metrics).contains(" timeouts_head=1 limit_fields=2 dns_look_ups=0 "), "{metrics:?}");
    }
}
