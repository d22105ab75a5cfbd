//! The settings of the engine at its start. Plain values; `config` makes them from options and files.

pub use crate::engine::cache::settings::CacheSettings;
use crate::engine::downstream::minimum_rate::Rate;
use crate::engine::listener::{Listener, ListenerId};
use crate::engine::transaction::log_record::TextSet;
use crate::gateway::rules::Gateway;
use crate::guard::headers::SecurityHeaders;
use crate::guard::rules::Guard;
use crate::guard::told::Asker;
use crate::guard::verdict::Denial;
use crate::http::forwarding::ForwardedPolicy;
use crate::http::head::Limits;
use crate::net::{BLOCK_BYTES, Largest};
use crate::part;
use crate::time::Now;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// Longest body that is collected before its request is judged (guard semantics, section 9, for reports; chosen for forms).
pub(in crate::engine) const COLLECTED_BYTES_MAX: usize = 64 * 1024;

/// Room for the coding of chunks beside that (chosen: a line for each 256 bytes).
pub(in crate::engine) const CODING_BYTES_MAX: usize = 4 * 1024;

/// Most bytes of a body that stay behind a head, with one more that shows that there are more.
pub(in crate::engine) const KEPT_BYTES_MAX: usize = COLLECTED_BYTES_MAX + CODING_BYTES_MAX + 1;

/// Longest body of a refused request that is read and thrown away so that the connection stays usable (chosen: a form,
/// not a file).
pub const DISCARD_BYTES_MAX: u64 = 64 * 1024;

/// Bytes thrown away while a close lingers (chosen: an upload whose client reads the refusal only when it has sent everything; they
/// take no memory).
pub const LINGER_BYTES_MAX: u32 = 16 << 20;

/// Bytes left free in front of a response head, so that the rewritten head, which is a little longer, can be written before
/// the payload (chosen: Via, Date and a few edits).
pub const HEADROOM_BYTES: usize = 256;

/// How long a close lingers, in milliseconds (chosen: a few round trips around the world).
pub const LINGER_MS: u64 = 2_000;

/// Longest response that is sent before a client can answer its first bytes: ten segments (RFC 6928). A client that has sent everything
/// gets it whole although the socket is closed at once.
pub const FIRST_FLIGHT_BYTES: u64 = 14_600;

/// How long bytes that were cut at the end of a drain may take to leave, in milliseconds (chosen: short beside the time of a drain).
pub const DRAIN_GRACE_MS: u64 = 1_000;

/// How long a tunnel waits for one side to take bytes that the other had sent before it was reset, in milliseconds (chosen: a slow
/// reader takes some within it).
pub const DELIVERY_MS: u64 = 5_000;

/// How long a client without a request may take to send one when the drain begins, in milliseconds (chosen: a request that was
/// under way has arrived by then; it gets its response, which closes the connection).
pub const DRAIN_IDLE_MS: u64 = 1_000;

/// Interim (1xx) answers relayed for one request (chosen: several times what any origin sends).
pub const INFORMATIONAL_MAX: u8 = 32;

/// Connections beyond `clients_max` that are accepted for the time of a refusal (chosen).
pub const REFUSALS_MAX: usize = 64;

/// Addresses tried for one request (chosen).
pub const ADDRESSES_MAX: usize = 16;

/// Connection attempts under way at once for one request (chosen).
pub const ATTEMPTS_MAX: usize = 4;

/// From this many look-ups in flight on, one client address gets no more than its share (chosen: half of the resolver's
/// limit, so that one client cannot use all).
pub const LOOK_UPS_CROWDED: usize = 256;

/// The share: look-ups in flight for one client address when there are many (chosen).
pub const LOOK_UPS_SHARE: usize = 32;

/// Least values of these two for one of many loops (chosen).
pub const LOOK_UPS_LEAST: [usize; 2] = [8, 4];

/// The IPv6 prefix whose addresses count as one client, in bits (RFC 6177 section 2: one site has at least that much, and one
/// host may use any address in it, RFC 8981).
pub const CLIENT_PREFIX6: u8 = 64;

/// Time before the next address is tried beside the last one, in milliseconds (RFC 8305 section 5).
pub const ATTEMPT_DELAY_MS: u64 = 250;

/// Time-outs, all in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Client or origin silent during a transaction.
    pub exchange_ms: u64,
    /// From the first byte of a head, or from the beginning of the connection, to the end of the head.
    pub head_ms: u64,
    /// Between two requests of a client.
    pub idle_ms: u64,
    /// One connection attempt.
    pub connect_ms: u64,
    /// A tunnel without a byte in either direction.
    pub tunnel_ms: u64,
    /// An idle upstream connection.
    pub origin_idle_ms: u64,
    /// From the order to stop until remaining work is cut.
    pub drain_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            exchange_ms: 60_000,
            head_ms: 30_000,
            idle_ms: 60_000,
            connect_ms: 10_000,
            tunnel_ms: 600_000,
            origin_idle_ms: 30_000,
            drain_ms: 30_000,
        }
    }
}

/// All settings of the engine at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Limits of heads.
    pub head: Limits,
    /// Time-outs.
    pub timeouts: Timeouts,
    /// Engines that share the work of one process, including this one. Limits that are not divided in these settings
    /// (see [`Settings::divided`]) are divided by this number where they are used.
    pub loops: usize,
    /// Client connections at once, of all loops.
    pub clients_max: usize,
    /// Client connections at once from one address, to all loops; 0: no limit.
    pub clients_per_address_max: usize,
    /// Fewest bytes per second of a client in a request body, and of one for which bytes of a response wait, averaged over
    /// the time-out of transactions; 0: none.
    pub rate_min: u64,
    /// 4 KB blocks at most.
    pub blocks_max: usize,
    /// Age in milliseconds above which an upstream connection is not reused; 0 for no limit.
    pub origin_lifetime_ms: u64,
    /// Idle upstream connections in all.
    pub origins_idle_max: usize,
    /// Idle upstream connections to one authority.
    pub origins_idle_per_authority_max: usize,
    /// Whether the shell can move bytes from socket to socket inside the kernel.
    pub splices: bool,
    /// Pseudonym in Via; `None`: no Via, and no loop detection by it.
    pub via: Option<String>,
    /// The handling of Forwarded and X-Forwarded-For.
    pub forwarded: ForwardedPolicy,
    /// The length of the IPv6 prefix whose addresses count as one client, in bits.
    pub client_prefix6: u8,
    /// Whether origin-form requests are taken.
    pub origin_form: bool,
    /// The texts that the log writes: only these are kept of a request, except method, target and user, which a refusal
    /// contains.
    pub noted: TextSet,
    /// Whether a tunnel leaves a log record when it is set up, beside that of its end.
    pub logs_tunnel_starts: bool,
    /// The listeners. Without any (in tests) all have the defaults.
    pub listeners: Vec<Listener>,
    /// The cache; `None` without one.
    pub cache: Option<CacheSettings>,
    /// The guard, which decides by the history of a client; `None`: nothing is counted, and no client is banned.
    pub guard: Option<part::guard::Shared<Guard>>,
    /// The routes for requests to the gateway's listeners; `None`: there are no such listeners.
    pub gateway: Option<part::guard::Shared<Gateway>>,
    /// Further fields of the gateway's responses, used if the guard file sets none.
    pub headers: Arc<SecurityHeaders>,
    /// Key of every hash table that strangers can fill.
    pub seed: [u64; 2],
}

impl Settings {
    /// The sizes of the largest messages that the engine keeps in one piece, by the largest head; `collects` if bodies may stay behind
    /// the heads of requests.
    pub fn largest(head_bytes_max: usize, collects: bool) -> Largest {
        // What was received together with the end of the head is in the same piece.
        let head = head_bytes_max + BLOCK_BYTES;
        Largest { request: head + if collects { KEPT_BYTES_MAX } else { 0 }, response: head }
    }

    /// The settings of the cache, if there is one.
    #[inline]
    pub fn caching(&self) -> Option<&CacheSettings> {
        part::cache::built().and(self.cache.as_ref())
    }

    /// The settings of a listener.
    pub(in crate::engine) fn listener(&self, id: ListenerId) -> Option<&Listener> {
        self.listeners.get(usize::from(id.0))
    }

    /// Further fields of the gateway's responses.
    pub(in crate::engine) fn security_headers(&self) -> &SecurityHeaders {
        self.guard.as_ref().map_or(&self.headers, |guard| guard.headers())
    }

    /// For how long a connection that was opened at `opened_ms` may still be reused, in milliseconds; 0: no longer.
    pub(in crate::engine) fn lifetime_left_ms(&self, opened_ms: u64, now_ms: u64) -> u64 {
        match self.origin_lifetime_ms {
            0 => u64::MAX,
            lifetime_ms => (opened_ms + lifetime_ms).saturating_sub(now_ms),
        }
    }

    /// The least rate of clients.
    pub(in crate::engine) fn rate(&self) -> Rate {
        let window_ms = self.timeouts.exchange_ms;
        Rate { bytes_min: self.rate_min.saturating_mul(window_ms) / 1000, window_ms }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            head: Limits::default(),
            timeouts: Timeouts::default(),
            loops: 1,
            clients_max: 10_000,
            clients_per_address_max: 0,
            rate_min: 100,
            blocks_max: 16_384,
            origin_lifetime_ms: 600_000,
            origins_idle_max: 512,
            origins_idle_per_authority_max: 256,
            splices: false,
            via: Some("weir".to_string()),
            forwarded: ForwardedPolicy::Off,
            client_prefix6: CLIENT_PREFIX6,
            origin_form: true,
            noted: TextSet::ALL,
            logs_tunnel_starts: false,
            listeners: Vec::new(),
            cache: None,
            guard: None,
            gateway: None,
            headers: Arc::default(),
            seed: [0, 0],
        }
    }
}

impl Settings {
    /// The settings of one of several engines, which share a [`ClientLimits`](super::ClientLimits). Limits of each engine's
    /// own are divided, so that their sum is the whole. The first engines get the remainder.
    pub fn divided(&self, index: usize, loops: usize) -> Settings {
        let loops = loops.max(1);
        let share = |whole: usize| whole / loops + usize::from(index < whole % loops);
        Settings {
            loops,
            blocks_max: share(self.blocks_max),
            origins_idle_max: share(self.origins_idle_max),
            origins_idle_per_authority_max: share(self.origins_idle_per_authority_max),
            ..self.clone()
        }
    }

    /// Whether the guard lets an address be dialled for a client.
    pub(in crate::engine) fn admit_destination<'a>(
        &self,
        address: IpAddr,
        asked: impl Fn() -> Asker<'a>,
        now: Now,
    ) -> Result<(), Denial> {
        self.guard.as_ref().map_or(Ok(()), |guard| guard.admit_destination(address, asked, now))
    }

    /// Whether the guard lets an address that was dialled before be used again.
    pub(in crate::engine) fn allows_reuse(&self, address: IpAddr) -> bool {
        self.guard.as_ref().is_none_or(|guard| guard.destination_denial(address).is_none())
    }

    /// The client for whom a share is counted: every bound on the use by one client goes through this.
    pub(in crate::engine) fn accountable(&self, address: IpAddr) -> IpAddr {
        accountable(address, self.client_prefix6)
    }

    /// One loop's share of a limit, rounded up, but not less than `least`: with small shares, clients that the system
    /// distributes unevenly would meet a limit that all loops together are far from.
    pub(in crate::engine) fn share_of(&self, limit: usize, least: usize) -> usize {
        limit.div_ceil(self.loops.max(1)).max(least.min(limit))
    }
}

/// The part of an address that a client cannot change: all of IPv4, in any form, and `prefix6` bits of IPv6.
pub(in crate::engine) fn accountable(address: IpAddr, prefix6: u8) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let others = u128::MAX.checked_shr(prefix6.into()).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !others))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_18_one_client_is_an_address_or_a_network() {
        for (address, prefix6, expected) in [
            ("192.0.2.7", 64, "192.0.2.7"),
            ("192.0.2.7", 32, "192.0.2.7"),
            ("::ffff:192.0.2.7", 64, "192.0.2.7"),
            ("::ffff:192.0.2.7", 128, "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::"),
            ("2001:db8:1:2:3:4:5:6", 56, "2001:db8:1::"),
            ("2001:db8:1:2:3:4:5:6", 128, "2001:db8:1:2:3:4:5:6"),
            ("2001:db8:1:2:3:4:5:6", 127, "2001:db8:1:2:3:4:5:6"),
            ("2001:db8:1:2:3:4:5:7", 127, "2001:db8:1:2:3:4:5:6"),
            ("2001:db8:1:2:3:4:5:6", 1, "::"),
            ("::1", 64, "::"),
        ] {
            let found = accountable(address.parse().unwrap(), prefix6);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{address}/{prefix6}");
        }
    }

    #[test]
    fn shares_add_up() {
        let whole = Settings { blocks_max: 1003, origins_idle_max: 2, ..Settings::default() };
        for loops in [1, 2, 3, 7] {
            let shares: Vec<Settings> = (0..loops).map(|index| whole.divided(index, loops)).collect();
            let sum = |of: fn(&Settings) -> usize| shares.iter().map(of).sum::<usize>();
            assert_eq!(sum(|share| share.blocks_max), 1003);
            assert_eq!(sum(|share| share.origins_idle_max), 2);
            assert_eq!(sum(|share| share.origins_idle_per_authority_max), 256);
            assert!(shares.iter().all(|share| share.clients_max == 10_000 && share.loops == loops));
            let rounded_up = [16, 8, 6, 4][[1, 2, 3, 7].iter().position(|n| *n == loops).unwrap()];
            assert_eq!(shares[0].share_of(16, 4), rounded_up);
        }
    }
}
