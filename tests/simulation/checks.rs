//! Invariants of an engine: after each event, at rest, and at the end.

use super::book::{Book, Checked};
use super::shell::Shell;
use super::world::Surroundings;
use std::sync::Arc;
use weir::engine::Settings;
use weir::net::Pool;

/// Bytes beyond the budget for each response that is being fetched: its bookkeeping, and the page with which one goes on whose
/// last one is still in a message to another loop.
const FETCH_BYTES: usize = 5 * 1024;

/// For each exchange: the head of what it brings.
const HEAD_BYTES: usize = 12 * 1024;

/// Growth of the tables after room was made.
const TABLES_BYTES: usize = 16 * 1024;

impl Shell {
    /// Invariants after each event.
    pub(super) fn check(&self, around: &mut Surroundings) -> Checked<()> {
        let metrics = self.engine.metrics();
        let settings = &around.book.scenario.settings;
        let blocks_max = settings.blocks_max.max(8) as u64;
        let largest = Settings::largest(settings.head.head_bytes_max, true);
        let spill_max = Pool::spill_max(blocks_max as usize, largest) as u64;
        if metrics.blocks_lent > blocks_max || metrics.spilled_bytes > spill_max {
            return Err(format!("{} blocks and {} bytes lent", metrics.blocks_lent, metrics.spilled_bytes));
        }
        if metrics.clients as usize > settings.clients_max + 64 {
            return Err(format!("{} clients", metrics.clients));
        }
        // A pinned connection ends with its client, which has one at most.
        if metrics.origins_pinned > metrics.clients {
            return Err(format!(
                "{} pinned connections, {} clients",
                metrics.origins_pinned, metrics.clients
            ));
        }
        let Some(cache) = &around.book.scenario.cache else { return Ok(()) };
        let (bytes, budget) = (cache.store.memory().bytes(), cache.store.limits().budget);
        // The bytes of responses under way must be within the budget; each transaction has a head.
        around.under_way[self.number] = (metrics.cache_fetches as usize, metrics.exchanges as usize);
        let (fetches, exchanges) =
            around.under_way.iter().fold((0, 0), |sum, here| (sum.0 + here.0, sum.1 + here.1));
        if bytes > budget + fetches * FETCH_BYTES + exchanges * HEAD_BYTES + TABLES_BYTES {
            return Err(format!(
                "{bytes} bytes of {budget} in the cache, {fetches} fetches, {exchanges} exchanges"
            ));
        }
        Ok(())
    }

    /// Invariants when every action was carried out.
    pub fn check_balance(&self) -> Checked<()> {
        let metrics = self.engine.metrics();
        let under_way = metrics.exchanges + metrics.tunnels;
        if metrics.requests != self.records + under_way {
            return Err(format!(
                "{} requests, {} records, {under_way} under way",
                metrics.requests, self.records
            ));
        }
        if metrics.clients + metrics.origins != self.live as u64 {
            let (clients, origins) = (metrics.clients, metrics.origins);
            return Err(format!("{clients} clients, {origins} origins, {} sockets", self.live));
        }
        if self.engine.is_empty() && (metrics.blocks_lent, metrics.spilled_bytes) != (0, 0) {
            return Err(format!("{} blocks lent to nobody", metrics.blocks_lent));
        }
        Ok(())
    }

    /// Nothing is runnable and nothing was reported: then no peer may be ready and wanted.
    pub fn check_rest(&mut self, around: &Surroundings) -> Checked<()> {
        let mut heads = 0;
        for index in 0..self.sockets.len() {
            let Some(socket) = &self.sockets[index] else { continue };
            let Some(id) = self.engine.connection_at(index) else { continue };
            let link = socket.link;
            let (readable, writable, connecting) = (socket.readable, socket.writable, socket.connecting);
            heads += u64::from(around.is_in_head(link));
            if !connecting && writable && self.engine.wants_write(id) && around.net.is_writable(link) {
                let piped = self.sockets[index].as_ref().map_or(0, |socket| socket.pipe.len());
                let waiting: usize =
                    self.engine.to_send(id).iter().map(|slice| slice.len()).sum::<usize>() + piped;
                let peer = around.net.links[link].peer;
                return Err(format!("{id:?} ({peer:?}): {waiting} bytes are not sent, and nobody is woken"));
            }
            if connecting || !around.net.is_readable(link) || !self.engine.wants_read(id) {
                continue;
            }
            if !readable {
                return Err(format!("{id:?}: the shell does not know that it is readable"));
            }
            if self.engine.space(id).is_some_and(|space| !space.is_empty()) {
                self.engine.return_space(id);
                let peer = around.net.links[link].peer;
                let (blocks, bytes) =
                    (self.engine.metrics().blocks_lent, self.engine.metrics().spilled_bytes);
                return Err(format!(
                    "{id:?} ({peer:?}): could be read, and nobody is woken ({blocks} blocks, {bytes} bytes lent)"
                ));
            }
        }
        let metrics = self.engine.metrics();
        let dials = self.sockets.iter().flatten().filter(|socket| socket.connecting).count();
        if metrics.exchanges == 0 && dials > 0 {
            return Err(format!("{dials} connections are being made for no request"));
        }
        if metrics.exchanges + metrics.tunnels == 0 && metrics.blocks_lent > heads {
            return Err(format!("{} blocks are lent for {heads} heads", metrics.blocks_lent));
        }
        Ok(())
    }

    /// Nothing is left of the cache's work.
    pub fn check_cache_end(&self, book: &mut Book) -> Checked<()> {
        let metrics = self.engine.metrics();
        if metrics.cache_fetches + metrics.cache_collapses != 0 {
            let (fetches, collapses) = (metrics.cache_fetches, metrics.cache_collapses);
            return Err(format!("{fetches} fetches and {collapses} collapses at the end"));
        }
        let tally = &mut book.tally;
        tally.hits += metrics.cache_hits;
        tally.stale += metrics.cache_stale;
        tally.revalidated += metrics.cache_revalidated;
        tally.collapsed += metrics.cache_collapsed;
        tally.refreshes += metrics.cache_refreshes;
        Ok(())
    }

    /// All connections are closed.
    pub fn check_end(&mut self, around: &mut Surroundings) -> Checked<()> {
        self.check_balance()?;
        let metrics = self.engine.metrics();
        if !self.engine.is_empty() || metrics.blocks_lent + metrics.spilled_bytes != 0 {
            return Err(format!("not empty at the end: {metrics:?}"));
        }
        if metrics.allowed + metrics.blocked + metrics.malformed + metrics.failed != metrics.requests {
            return Err(format!("verdicts do not add up: {metrics:?}"));
        }
        // Each was told of at its start, if that was asked for, and no other.
        let told = if around.book.scenario.settings.logs_tunnel_starts { metrics.tunnels_opened } else { 0 };
        if self.tunnel_starts != told {
            return Err(format!("{told} tunnels have started, {} in the log", self.tunnel_starts));
        }
        if (self.logged_sent, metrics.client_bytes_out) != (self.sent, self.sent) {
            let (logged, counted) = (self.logged_sent, metrics.client_bytes_out);
            return Err(format!("{} bytes went to clients, {logged} logged, {counted} counted", self.sent));
        }
        let current = around.book.policies.last().map_or(0, |(_, policy)| *policy);
        let mut policies = around.book.scenario.policies.iter().enumerate();
        if let Some((policy, _)) =
            policies.find(|(at, (_, policy))| *at != current && Arc::strong_count(policy) > 1)
        {
            return Err(format!("policy {policy} is held, and {current} is in force"));
        }
        if !self.queries.is_empty() && !self.engine.is_draining() {
            return Err(format!("{} sockets of queries are left open", self.queries.len()));
        }
        around.book.guarding.note_paced(metrics.guard_throttled);
        around.book.tally.steps += self.steps;
        around.book.tally.failed_over += metrics.gateway_retries;
        let scenario = &around.book.scenario;
        // Other loops may not be through yet.
        let gateway = scenario.settings.gateway.as_ref().filter(|_| scenario.loops == 1);
        let left: u32 =
            gateway.map_or(0, |gateway| gateway.statuses(0).map(|status| status.numbers.in_flight).sum());
        if left > 0 {
            return Err(format!("{left} requests to upstreams have no end"));
        }
        Ok(())
    }
}
