//! What one loop has counted since it started.

/// Counters only grow; gauges say what is now. All are of one loop.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Client connections now, idle ones included.
    pub clients: u64,
    /// Exchanges under way now.
    pub exchanges: u64,
    /// Tunnels open now.
    pub tunnels: u64,
    /// Origin connections now, idle ones included.
    pub origins: u64,
    /// Idle origin connections now.
    pub origins_idle: u64,
    /// 4 KB blocks lent now.
    pub blocks_lent: u64,
    /// Most blocks lent at once.
    pub blocks_peak: u64,
    /// Heap bytes lent beside the blocks now.
    pub spilled_bytes: u64,

    /// Client connections accepted.
    pub accepted: u64,
    /// Exchanges begun, tunnels included.
    pub requests: u64,
    /// Tunnels established.
    pub tunnels_opened: u64,
    /// Bytes received from clients.
    pub client_bytes_in: u64,
    /// Bytes sent to clients.
    pub client_bytes_out: u64,
    /// Bytes received from origins.
    pub origin_bytes_in: u64,
    /// Bytes sent to origins.
    pub origin_bytes_out: u64,
    /// Exchanges that ended as allowed.
    pub allowed: u64,
    /// Refused by rule, credentials or limit.
    pub blocked: u64,
    /// Requests that broke the grammar.
    pub malformed: u64,
    /// Allowed, but origin or path failed.
    pub failed: u64,
    /// Answers sent, by hundreds; index 0 counts exchanges that ended without an answer.
    pub statuses: [u64; 10],

    /// Origin connections dialled.
    pub dialled: u64,
    /// Dials that failed or timed out.
    pub dials_failed: u64,
    /// Exchanges carried by a reused origin connection.
    pub origins_reused: u64,
    /// Idle origin connections discarded because they spoke or closed.
    pub origins_stale: u64,
    /// Requests sent a second time because a reused connection had died.
    pub retries: u64,

    /// Passwords sent to be verified off the loop.
    pub verifications: u64,
    /// Connections refused because of `--max-connections`.
    pub limit_connections: u64,
    /// Connections refused because of `--max-per-client`.
    pub limit_per_client: u64,
    /// Times that a connection waited or failed for lack of a block.
    pub limit_blocks: u64,
    /// Requests refused because too many passwords waited to be verified.
    pub limit_verifications: u64,
    /// Look-ups refused because too many were in flight.
    pub limit_look_ups: u64,
    /// Deadlines that ended something.
    pub timeouts: u64,

    /// Requests answered from memory, fresh.
    pub cache_hits: u64,
    /// Requests for which nothing usable was stored.
    pub cache_misses: u64,
    /// Requests answered from memory, stale.
    pub cache_stale: u64,
    /// Requests answered from memory after the origin had confirmed it.
    pub cache_revalidated: u64,
    /// Requests answered by what another one brought.
    pub cache_collapsed: u64,
    /// Requests that are none for a cache.
    pub cache_bypassed: u64,
    /// Requests of weir's own, to renew what was served stale.
    pub cache_refreshes: u64,
    /// Bytes of bodies sent from memory.
    pub cache_hit_bytes: u64,
    /// Responses stored.
    pub cache_stored: u64,
    /// Responses found too large to store while they came.
    pub cache_too_large: u64,
    /// Clients cut because they read too slowly what was too large to store.
    pub cache_readers_cut: u64,

    /// Look-ups asked for.
    pub dns_look_ups: u64,
    /// Of those, answered from the hosts file.
    pub dns_hosts_hits: u64,
    /// Of those, answered from the cache.
    pub dns_cache_hits: u64,
    /// Queries sent.
    pub dns_queries: u64,
    /// Queries that timed out.
    pub dns_timeouts: u64,
    /// Look-ups that failed.
    pub dns_failures: u64,
}

impl Metrics {
    /// Adds another loop's numbers; peaks add up too, as an upper bound.
    pub fn add(&mut self, other: &Metrics) {
        for (mine, theirs) in self.numbers_mut().into_iter().zip(other.clone().numbers_mut()) {
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

    /// One line of `name=value` pairs, for people and scripts.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        use std::io::Write as _;
        let mut copy = self.clone();
        for (name, value) in copy.numbers_mut() {
            let _ = write!(out, "{name}={value} ");
        }
        for (class, count) in self.statuses.iter().enumerate() {
            let name = ["none", "1xx", "2xx", "3xx", "4xx", "5xx", "6xx", "7xx", "8xx", "9xx"][class];
            if class < 6 || *count > 0 {
                let _ = write!(out, "status_{name}={count} ");
            }
        }
        let _ = write!(out, "blocked_ratio={:.4}", self.blocked_ratio());
    }

    fn numbers_mut(&mut self) -> [(&'static str, &mut u64); 48] {
        [
            ("clients", &mut self.clients),
            ("exchanges", &mut self.exchanges),
            ("tunnels", &mut self.tunnels),
            ("origins", &mut self.origins),
            ("origins_idle", &mut self.origins_idle),
            ("blocks_lent", &mut self.blocks_lent),
            ("blocks_peak", &mut self.blocks_peak),
            ("spilled_bytes", &mut self.spilled_bytes),
            ("accepted", &mut self.accepted),
            ("requests", &mut self.requests),
            ("tunnels_opened", &mut self.tunnels_opened),
            ("client_bytes_in", &mut self.client_bytes_in),
            ("client_bytes_out", &mut self.client_bytes_out),
            ("origin_bytes_in", &mut self.origin_bytes_in),
            ("origin_bytes_out", &mut self.origin_bytes_out),
            ("allowed", &mut self.allowed),
            ("blocked", &mut self.blocked),
            ("malformed", &mut self.malformed),
            ("failed", &mut self.failed),
            ("dialled", &mut self.dialled),
            ("dials_failed", &mut self.dials_failed),
            ("origins_reused", &mut self.origins_reused),
            ("origins_stale", &mut self.origins_stale),
            ("retries", &mut self.retries),
            ("verifications", &mut self.verifications),
            ("limit_connections", &mut self.limit_connections),
            ("limit_per_client", &mut self.limit_per_client),
            ("limit_blocks", &mut self.limit_blocks),
            ("limit_verifications", &mut self.limit_verifications),
            ("limit_look_ups", &mut self.limit_look_ups),
            ("timeouts", &mut self.timeouts),
            ("cache_hits", &mut self.cache_hits),
            ("cache_misses", &mut self.cache_misses),
            ("cache_stale", &mut self.cache_stale),
            ("cache_revalidated", &mut self.cache_revalidated),
            ("cache_collapsed", &mut self.cache_collapsed),
            ("cache_bypassed", &mut self.cache_bypassed),
            ("cache_refreshes", &mut self.cache_refreshes),
            ("cache_hit_bytes", &mut self.cache_hit_bytes),
            ("cache_stored", &mut self.cache_stored),
            ("cache_too_large", &mut self.cache_too_large),
            ("cache_readers_cut", &mut self.cache_readers_cut),
            ("dns_look_ups", &mut self.dns_look_ups),
            ("dns_hosts_hits", &mut self.dns_hosts_hits),
            ("dns_cache_hits", &mut self.dns_cache_hits),
            ("dns_queries", &mut self.dns_queries),
            ("dns_timeouts", &mut self.dns_timeouts),
            ("dns_failures", &mut self.dns_failures),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_and_writes_every_number() {
        let mut one = Metrics { requests: 2, blocked: 1, allowed: 3, ..Metrics::default() };
        one.statuses[4] = 5;
        let mut sum = one.clone();
        sum.add(&one);
        let mut line = Vec::new();
        sum.write_line(&mut line);
        let line = String::from_utf8(line).unwrap();
        for part in ["requests=4 ", "blocked=2 ", "allowed=6 ", "status_4xx=10 ", "blocked_ratio=0.2500"] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }
}
