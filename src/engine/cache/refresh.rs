//! Requests of weir's own: a stale response was served, and is fetched anew (stale-while-revalidate, RFC 5861 section 3).
//!
//! Such a request is a transaction like any other, with a client that has no socket: it asks with the fields of the request
//! that brought it about, under the same policy, and ends as soon as the head of the response has come. It leaves a log
//! entry, too.

use crate::engine::cache::collapse::InProgress;
use crate::engine::cache::look_up::Hit;
use crate::engine::peer::{Client, Peer, Role, TransactionId};
use crate::engine::transaction::log_record::{CacheUse, Verdict};
use crate::engine::{Engine, PeerId};
use crate::net::{Linear, Purpose};
use crate::time::Now;

/// Refreshes under way at once in one loop (chosen: each holds an origin connection; what is not refreshed now is when
/// somebody next asks for it).
pub const REFRESHES_MAX: usize = 64;

impl Engine {
    /// Fetches anew what a transaction is being served, with the request that it made.
    pub(in crate::engine) fn begin_refresh(&mut self, now: Now, id: TransactionId, hit: &Hit) {
        let (hash, key) = (hit.stored.hash(), hit.stored.key());
        if self.refreshes >= REFRESHES_MAX
            || self.is_draining()
            || self.collapses.find(hash, key) != InProgress::Nothing
            || (self.collapses.shared && self.is_locked(hash))
        {
            return;
        }
        let Engine { transactions, peers, pool, .. } = self;
        let Some(transaction) = transactions.get(id.index as usize) else { return };
        let head_bytes = transaction.info.head_bytes;
        let head = transaction.input.bytes(pool)[..head_bytes].to_vec();
        let address = transaction.record.client;
        let mut input = Linear::default();
        if !input.append(pool, Purpose::Head, &head) {
            return;
        }
        let client = Peer { background: true, ..Peer::new(address, Role::Client(Client::Idle)) };
        let client = PeerId::from_index(peers.insert(client));
        self.refreshes += 1;
        self.metrics.cache_refreshes += 1;
        let refresh = self.begin_unknown(now, client, head_bytes);
        if let Some(transaction) = self.transaction_mut(refresh) {
            transaction.input = input;
            (transaction.caching.used, transaction.caching.background) = (true, true);
            transaction.record.cache = CacheUse::Refresh;
        }
        self.examine(now, refresh);
    }

    /// A refresh has done what it could.
    pub(in crate::engine) fn finish_background(&mut self, now: Now, id: TransactionId) {
        self.abandon(now, id, Verdict::Allowed, "");
    }
}
