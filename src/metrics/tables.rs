//! The tables: one row for each number.

use super::histogram::Histograms;
use super::{Descriptor, Kind, Unit, help};

/// One row: help text, name, kind and unit, in the order in which they are shown. `with` adds an array,
/// whose numbers differ by a label, and what adds up by itself.
macro_rules! table {
    (
        $(#[$what:meta])* $table:ident { $($(#[doc = $help:literal])+ $name:ident: $kind:ident($unit:ident),)+ }
        $(with {
            $(#[$meaning:meta])* $array:ident: $type:ty,
            $(#[$nested_meaning:meta])* $nested:ident: $nested_type:ty,
        })?
    ) => {
        $(#[$what])*
        // Copied in one piece: field by field is 3 KB of code.
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $table {
            $($(#[doc = $help])+ pub $name: u64,)+
            $($(#[$meaning])* pub $array: $type,
            $(#[$nested_meaning])* pub $nested: $nested_type,)?
        }

        impl $table {
            /// The descriptors, in the order of the fields.
            pub const DESCRIPTORS: &'static [Descriptor] = &[$(Descriptor {
                name: stringify!($name),
                help: help(concat!($($help),+).trim_ascii()),
                kind: Kind::$kind,
                unit: Unit::$unit,
            }),+];

            /// Each number with its descriptor.
            pub fn numbers(&self) -> impl Iterator<Item = (&'static Descriptor, u64)> {
                Self::DESCRIPTORS.iter().zip([$(self.$name),+])
            }

            /// Adds the numbers of another table; peaks add up too, as an upper bound.
            pub fn add(&mut self, other: &$table) {
                $(self.$name += other.$name;)+
                $(self.$array.iter_mut().zip(other.$array).for_each(|(mine, theirs)| *mine += theirs);
                self.$nested.add(&other.$nested);)?
            }
        }
    };
}

table! {
    /// The numbers of one loop since its start.
    Metrics {
        /// Client connections now, idle ones included.
        clients: Gauge(Count),
        /// Transactions under way now.
        exchanges: Gauge(Count),
        /// Tunnels open now.
        tunnels: Gauge(Count),
        /// Origin connections now, idle ones included.
        origins: Gauge(Count),
        /// Idle origin connections now.
        origins_idle: Gauge(Count),
        /// Origin connections that wait for the one client that may use them, now: authenticated ones.
        origins_pinned: Gauge(Count),
        /// 4 KB blocks lent now.
        blocks_lent: Gauge(Count),
        /// Most blocks lent at once.
        blocks_peak: Gauge(Count),
        /// Heap bytes lent beside the blocks now.
        spilled_bytes: Gauge(Bytes),

        /// Client connections accepted.
        accepted: Counter(Count),
        /// Transactions begun, tunnels included.
        requests: Counter(Count),
        /// Tunnels established.
        tunnels_opened: Counter(Count),
        /// Bytes received from clients.
        client_bytes_in: Counter(Bytes),
        /// Bytes sent to clients.
        client_bytes_out: Counter(Bytes),
        /// Bytes received from origins.
        origin_bytes_in: Counter(Bytes),
        /// Bytes sent to origins.
        origin_bytes_out: Counter(Bytes),
        /// Transactions that ended as allowed.
        allowed: Counter(Count),
        /// Requests refused by rule, credentials or limit.
        blocked: Counter(Count),
        /// Requests that broke the grammar, or stopped arriving.
        malformed: Counter(Count),
        /// Transactions that were allowed, but not carried to the end.
        failed: Counter(Count),
        /// Failed transactions that the client gave up or did not read.
        aborted: Counter(Count),

        /// Origin connections dialled.
        dialled: Counter(Count),
        /// Dials that failed or timed out.
        dials_failed: Counter(Count),
        /// Times that a transaction got a reused origin connection, also one that proved dead (`retries`).
        origins_reused: Counter(Count),
        /// Idle origin connections discarded because the origin sent bytes or closed.
        origins_stale: Counter(Count),
        /// Idle origin connections closed because their descriptors were needed.
        origins_shed: Counter(Count),
        /// Requests that got a new origin connection, because they could not be sent twice and an idle one might have been dead.
        origins_passed_by: Counter(Count),
        /// Idle origin connections closed because the name no longer has their address.
        origins_moved: Counter(Count),
        /// Origin connections not used again because of `--origin-lifetime`.
        origins_aged: Counter(Count),
        /// Requests sent a second time because a reused connection had died.
        retries: Counter(Count),

        /// Passwords sent to the thread that verifies slow hashes.
        verifications: Counter(Count),

        /// Connections that never sent a byte, closed after `--head-timeout`.
        timeouts_unused: Counter(Count),
        /// Request heads that were not complete within `--head-timeout`.
        timeouts_head: Counter(Count),
        /// Request heads that got no block within `--head-timeout`.
        timeouts_block: Counter(Count),
        /// Clients closed after `--idle-timeout` between two requests.
        timeouts_idle: Counter(Count),
        /// Request bodies that stopped for `--timeout`.
        timeouts_body: Counter(Count),
        /// Clients that did not read for `--timeout`.
        timeouts_client: Counter(Count),
        /// Origins that were silent for `--timeout`, or whose response head was not complete within `--head-timeout`.
        timeouts_response: Counter(Count),
        /// Passwords that were not verified within `--timeout`.
        timeouts_verification: Counter(Count),
        /// Connection attempts given up after `--connect-timeout`.
        timeouts_connect: Counter(Count),
        /// Requests refused because no name server answered in time.
        timeouts_dns: Counter(Count),
        /// Tunnels silent for `--tunnel-timeout`.
        timeouts_tunnel: Counter(Count),
        /// Origin connections closed after `--idle-origin-timeout`.
        timeouts_origin_idle: Counter(Count),
        /// Lingering closes cut short after `LINGER_MS`.
        timeouts_linger: Counter(Count),
        /// Transactions, tunnels and half-received requests cut after `--drain-timeout`, or by the order to stop at once.
        timeouts_drain: Counter(Count),

        /// Connections refused because of `--max-connections`.
        limit_connections: Counter(Count),
        /// Times that `REFUSALS_MAX` refused connections were still open, so that no more connections were accepted.
        limit_refusals: Counter(Count),
        /// Stored responses evicted because the process came close to `--memory`.
        limit_memory_cache: Counter(Count),
        /// Idle origin connections closed for that reason.
        limit_memory_origins: Counter(Count),
        /// Times that new connections and requests had to wait for that reason.
        limit_memory_clients: Counter(Count),
        /// Connections refused because of `--max-per-client`.
        limit_per_client: Counter(Count),
        /// Times that a connection waited or failed for lack of a block.
        limit_blocks: Counter(Count),
        /// Requests refused because too many passwords waited to be verified.
        limit_verifications: Counter(Count),
        /// Requests refused because their client had too many wrong passwords.
        limit_guesses: Counter(Count),
        /// DNS look-ups refused because too many were under way.
        limit_look_ups: Counter(Count),
        /// Messages refused because of `--head-max`.
        limit_head: Counter(Count),
        /// Messages refused because of `--fields-max`.
        limit_fields: Counter(Count),
        /// Requests refused because of `--target-max`.
        limit_target: Counter(Count),
        /// Requests refused because of the length of their method.
        limit_method: Counter(Count),
        /// Messages refused because of too many connection options.
        limit_connection_options: Counter(Count),
        /// Messages with chunk extensions that were too long.
        limit_chunk_extensions: Counter(Count),
        /// Messages with trailers that were too large.
        limit_trailers: Counter(Count),
        /// Responses refused because of `INFORMATIONAL_MAX`.
        limit_informational: Counter(Count),
        /// Uploads and clients that were slower than `--min-rate`.
        limit_rate: Counter(Count),
        /// Requests refused because their client is banned.
        guard_banned: Counter(Count),
        /// Requests refused because an attack was found in them.
        guard_suspicious: Counter(Count),
        /// Requests refused because an address belongs to a cloud.
        guard_clouds: Counter(Count),
        /// Requests refused by a limit or a block of the guard file.
        guard_limited: Counter(Count),
        /// Requests refused because the store of the limits did not answer.
        guard_store_refused: Counter(Count),
        /// Requests and tunnels cut because their client was banned meanwhile.
        guard_cut: Counter(Count),
        /// Requests for which the store of the limits was asked.
        guard_store_asked: Counter(Count),
        /// Requests for which it has not answered in time.
        guard_store_failures: Counter(Count),
        /// Loops that ask the store once a second only, because it has failed.
        guard_breaker_open: Gauge(Count),
        /// Times that a loop has begun to do so.
        guard_breaker_opened: Counter(Count),
        /// Requests to the gateway for which it has no route, or whose path is refused.
        gateway_unrouted: Counter(Count),
        /// Requests to the gateway while no upstream of their route could be used.
        gateway_no_upstream: Counter(Count),
        /// Requests that another upstream got because the first had failed.
        gateway_retries: Counter(Count),
        /// Requests refused because a page of another site may have had them sent.
        guard_forged: Counter(Count),
        /// Requests that waited because their client goes at a pace.
        guard_throttled: Counter(Count),
        /// Connections closed because the body of a refused request was longer than `DISCARD_BYTES_MAX`, or had no length.
        limit_discard: Counter(Count),
        /// Lingering closes cut short after `LINGER_BYTES_MAX`.
        limit_linger: Counter(Count),
        /// Idle origin connections closed because of `--idle-origins` or `--idle-per-origin`.
        limit_origins_idle: Counter(Count),

        /// DNS look-ups asked for.
        dns_look_ups: Counter(Count),
        /// DNS look-ups answered from the hosts file.
        dns_hosts_hits: Counter(Count),
        /// DNS look-ups answered from the DNS cache.
        dns_cache_hits: Counter(Count),
        /// DNS queries sent.
        dns_queries: Counter(Count),
        /// DNS queries that timed out.
        dns_timeouts: Counter(Count),
        /// DNS look-ups that failed.
        dns_failures: Counter(Count),

        /// Requests answered from memory, fresh.
        cache_hits: Counter(Count),
        /// Requests for which nothing usable was stored.
        cache_misses: Counter(Count),
        /// Requests answered from memory, stale.
        cache_stale: Counter(Count),
        /// Requests answered from memory after the origin had confirmed the response.
        cache_revalidated: Counter(Count),
        /// Requests answered by the response to another request for the same key.
        cache_collapsed: Counter(Count),
        /// Times that waiting requests gave up on a silent fill, and another request asked the origin.
        cache_overtaken: Counter(Count),
        /// Requests that the cache does not handle.
        cache_bypassed: Counter(Count),
        /// Requests of weir's own, to refresh responses that were sent stale.
        cache_refreshes: Counter(Count),
        /// Bytes sent to clients for requests answered from memory, heads included.
        cache_hit_bytes: Counter(Bytes),
        /// Bytes sent to clients for misses and for requests that the cache does not handle.
        cache_miss_bytes: Counter(Bytes),
        /// Responses stored.
        cache_stored: Counter(Count),
        /// Responses found too large to store while they were received.
        cache_too_large: Counter(Count),
        /// Clients cut because they read a response too slowly that was too large to store.
        cache_readers_cut: Counter(Count),
        /// Fills now: responses under way into the cache, or past it to all requests that wait for them.
        cache_fetches: Gauge(Count),
        /// Keys for which requests collapse now: one request asks the origin, the others wait.
        cache_collapses: Gauge(Count),
    } with {
        /// Responses sent, by class of status ([`STATUS_CLASSES`](crate::metrics::STATUS_CLASSES)); index 0: transactions without one. Not for
        /// refreshes of the cache.
        statuses: [u64; 10],
        /// Histograms of durations.
        histograms: Histograms,
    }
}

table! {
    /// The numbers of the process around the loops.
    ProcessNumbers {
        /// Lines that the access log has lost.
        log_lines_lost: Counter(Count),
        /// Times that descriptors or memory were short.
        shortages: Counter(Count),
    }
}

table! {
    /// The numbers of the guard's state.
    GuardNumbers {
        /// Bans now, expired ones that are still there included.
        guard_bans: Gauge(Count),
        /// Bans dropped before their end, or refused, because there were too many.
        guard_bans_dropped: Counter(Count),
        /// Keys whose requests are counted in sliding windows now.
        guard_windows: Gauge(Count),
        /// Keys that such a window has forgotten because there were too many.
        guard_windows_dropped: Counter(Count),
        /// Keys whose requests are counted in fixed windows with escalation now.
        guard_escalations: Gauge(Count),
        /// Keys that such a window has forgotten because there were too many, blocks for ever included.
        guard_escalations_dropped: Counter(Count),
        /// Keys that are blocked for ever now.
        guard_permanent: Gauge(Count),
        /// Events that were told, without those of types that are muted.
        guard_events: Counter(Count),
        /// Events that were dropped before they were written to the file or socket of events.
        guard_events_lost: Counter(Count),
    }
}

table! {
    /// The numbers of the values that pages of the program around the proxy have in this process.
    ValueNumbers {
        /// Values of pages in this process now, expired sessions that were not removed yet included.
        page_values: Gauge(Count),
        /// Bytes of the values of pages.
        page_values_bytes: Gauge(Bytes),
        /// Sessions of pages that were dropped before their end because there were too many.
        page_values_dropped: Counter(Count),
        /// Values of pages that were refused because there were too many.
        page_values_refused: Counter(Count),
    }
}

table! {
    /// The numbers of the client of the guard's shared store. A request may ask for several counters, all in one question.
    StoreNumbers {
        /// Questions that were handed to the client of the store: one for each request that asks.
        guard_store_questions: Counter(Count),
        /// Questions that the store has answered, also too late.
        guard_store_answers: Counter(Count),
        /// Questions that the store has answered with an error, or with something that is no answer.
        guard_store_refused_questions: Counter(Count),
        /// Questions without an answer in time.
        guard_store_late: Counter(Count),
        /// Questions for which there was no connection, or it broke.
        guard_store_unreachable: Counter(Count),
        /// Questions that were turned away because too many waited; they count as late, too.
        guard_store_queue_full: Counter(Count),
        /// Questions that were too old to be sent; they count as late, too.
        guard_store_expired: Counter(Count),
        /// Orders, such as bans, that were dropped because too many waited, or because the store has refused them.
        guard_store_orders_dropped: Counter(Count),
        /// Bans of the store that were left out because there are too many.
        guard_store_bans_dropped: Counter(Count),
        /// Connections to the store that were made.
        guard_store_connections: Counter(Count),
    }
}

table! {
    /// The numbers of one upstream of the gateway.
    UpstreamNumbers {
        /// Whether the upstream gets requests: 1 or 0.
        upstream_up: Gauge(Count),
        /// Requests under way to the upstream now.
        upstream_in_flight: Gauge(Count),
        /// Requests sent to the upstream.
        upstream_requests: Counter(Count),
        /// Of those, the ones that failed at the upstream.
        upstream_failures: Counter(Count),
        /// Health checks of the upstream that failed.
        upstream_checks_failed: Counter(Count),
        /// Times that requests or checks have marked the upstream down.
        upstream_marked_down: Counter(Count),
    }
}

table! {
    /// The numbers of detection for one category.
    DetectNumbers {
        /// Requests in which an attack of this category was found first, refused or not; exhausted are those that said more than is looked at, unseen those of whose binary content the rest went on without a look.
        guard_detected: Counter(Count),
    }
}

table! {
    /// The numbers of the cache store.
    CacheNumbers {
        /// Entries stored now.
        cache_entries: Gauge(Count),
        /// Bytes that the cache takes now: entries, responses under way into it, and evicted entries that are still read.
        cache_bytes: Gauge(Bytes),
        /// Of those, the bytes that no eviction can free: under way, evicted and still read, and the tables of the cache (so it is never 0).
        cache_bytes_held: Gauge(Bytes),
        /// Entries evicted to make room.
        cache_evicted: Counter(Count),
        /// Mean age of the evicted entries at their eviction, since their last use.
        cache_evicted_age_s: Gauge(Seconds),
        /// Entries that were invalidated or purged.
        cache_invalidated: Counter(Count),
        /// Responses not stored because too many bytes were held.
        cache_no_room: Counter(Count),
        /// Variants dropped because their key had too many.
        cache_variants_evicted: Counter(Count),
        /// Partial responses dropped for others: too many parts, too large together, or parts of something else.
        cache_parts_dropped: Counter(Count),
    }
}
