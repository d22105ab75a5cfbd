//! The core: every decision, and no socket.
//!
//! # Theory of operation
//!
//! The engine owns a slab of peers. A peer is a client connection or an upstream connection; a [`PeerId`] is its index and the
//! token of its socket. The shell owns the sockets. It reports events ([`Event`]), gets space to read into
//! ([`Engine::space`]) and bytes to send ([`Engine::to_send`]), and carries out actions ([`Action`], drained after every
//! call). The run queue has the peers that need a turn ([`Engine::next_runnable`]).
//!
//! A client's head is read and begins a *transaction*; the next head is read when the transaction is settled. A transaction
//! is examined (`examine`), gets an upstream connection (`upstream/connecting`), and then is two independent relays, one for
//! each direction (`relay`). One function, `try_settle`, applies the rules that join them. CONNECT and upgrades turn a
//! transaction into a *tunnel* of two halves without grammar; a half has a relay only while bytes are under way.
//!
//! A response of weir itself is part of a transaction too, so every request leaves exactly one log record.

mod body;
mod bytes;
mod cache;
pub mod callback;
mod callbacks;
mod connections;
mod context;
mod dispatch;
mod downstream;
mod effect;
mod ids;
mod listener;
mod metrics;
pub mod pages;
mod relief;
mod seam;
mod settings;
mod timer;
pub mod transaction;
mod upstream;

pub use body::filter::{self, FilterSource};
pub use body::outgoing::{Outgoing, SLICES_MAX};
pub use body::relay::SPLICE_BYTES_MAX;
pub use cache::message::Message;
#[doc(hidden)]
pub use callbacks::Callbacks;
pub use downstream::client_limits::ClientLimits;
pub use ids::{JobId, PeerId, StoreJob};
pub use listener::{LISTENERS_MAX, Listener, ListenerId};

pub use seam::{Action, Event, Splice};
pub use settings::{CacheSettings, DELIVERY_MS, Settings, Timeouts};
pub use transaction::refusal::SocketError;
pub use transaction::verification::Finding;

use crate::cache::store::Store;
use crate::guard::store::{Answer, StoreFailure};
use crate::guard::values::ValueAnswer;
use crate::http::target::Name;
use crate::metrics::Metrics;
use crate::net::{Keyed, Space};
use crate::policy::Policy;
use crate::policy::acl::{Grant, Subject};
use crate::resolver::{self, Addresses, QueryId, Resolver};
use crate::time::Now;
use body::tunnel::Tunnels;
use cache::Fills;
use cache::signature::Signature;
use callback::NameVerdict;
use context::Context;
use dispatch::Machines;
use downstream::Downstream;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use transaction::log_record::LogRecord;
use transaction::machine::{Services, Transactions};
use transaction::store_wait::StoreWaits;
use transaction::throttle_wait::ThrottleWaits;
use transaction::verification::Verifications;
use upstream::Upstreams;

/// The core of one loop: the machines, and the context that they are lent.
pub struct Engine {
    cx: Context,
    machines: Machines,
    /// Indices of connections whose timer has fired.
    due: Vec<usize>,
}

impl Engine {
    /// A core without connections.
    pub fn new(settings: Settings, policy: Arc<Policy>, resolver: Resolver) -> Engine {
        let limits = Arc::new(ClientLimits::new(&settings));
        let keyed = Keyed::new(settings.seed);
        let machines = Machines {
            downstream: Downstream::new(Arc::clone(&limits)),
            transactions: Transactions::new(&settings),
            tunnels: Tunnels::default(),
            services: Services {
                upstreams: Upstreams::new(&settings, keyed, resolver),
                fills: Fills::new(keyed, settings.loops),
                verifications: Verifications::new(&settings, limits),
                store_waits: StoreWaits::default(),
                throttle_waits: ThrottleWaits::default(),
            },
        };
        Engine { machines, due: Vec::new(), cx: Context::new(settings, policy) }
    }

    /// One of several cores, which share the limits on clients. Its `settings` were divided.
    pub fn with_client_limits(mut self, limits: Arc<ClientLimits>) -> Engine {
        self.machines.services.verifications.limits = Arc::clone(&limits);
        self.machines.downstream.limits = limits;
        self
    }

    // Events.

    /// Accepts a client. Beyond the limits it gets a refusal and is closed.
    pub fn accept(&mut self, now: Now, listener: ListenerId, address: SocketAddr) -> PeerId {
        self.cx.now = now;
        let id = self.machines.downstream.accept(&mut self.cx, listener, address);
        self.machines.finish(&mut self.cx);
        id
    }

    /// Handles an event of a connection. Ignored if the connection is closed.
    pub fn handle(&mut self, now: Now, id: PeerId, event: Event) {
        self.cx.now = now;
        self.machines.handle(&mut self.cx, id, event);
        self.machines.finish(&mut self.cx);
    }

    /// A reply to a DNS query.
    pub fn handle_reply(&mut self, now: Now, query: QueryId, message: &[u8]) {
        self.cx.now = now;
        self.machines.services.upstreams.resolver.handle_reply(now, query, message);
        self.machines.finish(&mut self.cx);
    }

    /// Handles a DNS query that could not be sent, or whose socket failed.
    pub fn handle_query_failure(&mut self, now: Now, query: QueryId) {
        self.cx.now = now;
        self.machines.services.upstreams.resolver.handle_failure(now, query);
        self.machines.finish(&mut self.cx);
    }

    /// No socket could be opened for a DNS query, because this machine has none left.
    pub fn handle_query_shortage(&mut self, now: Now, query: QueryId) {
        self.cx.now = now;
        self.machines.services.upstreams.resolver.handle_shortage(now, query);
        self.machines.finish(&mut self.cx);
    }

    /// Whether a reply to a DNS query is still awaited.
    pub fn awaits_reply(&self, query: QueryId) -> bool {
        self.machines.services.upstreams.resolver.awaits(query)
    }

    /// Handles the result of a password check. Returns the finding that other loops need.
    pub fn handle_verified(&mut self, now: Now, job: JobId, right: bool) -> Option<Finding> {
        let finding = self.machines.services.verifications.take_result(now, job, right)?;
        self.handle_finding(now, finding);
        Some(finding)
    }

    /// Handles that a password cannot be checked, for lack of a thread: nothing is learned about it.
    pub fn handle_verification_failure(&mut self, now: Now, job: JobId) {
        self.cx.now = now;
        self.machines.services.verifications.give_up(&mut self.cx, job);
        self.machines.finish(&mut self.cx);
    }

    /// Handles the finding of a verification, possibly of another loop.
    pub fn handle_finding(&mut self, now: Now, finding: Finding) {
        self.cx.now = now;
        self.machines.handle_finding(&mut self.cx, finding);
        self.machines.finish(&mut self.cx);
    }

    /// Handles the answers of a store for one request, or its failure.
    pub fn handle_store_answer(&mut self, now: Now, job: StoreJob, answers: Result<&[Answer], StoreFailure>) {
        self.cx.now = now;
        let Machines { transactions, services, .. } = &mut self.machines;
        transactions.handle_store_answer(&mut self.cx, services, job, answers);
        self.machines.finish(&mut self.cx);
    }

    /// Handles the answer of a store to a question of a page.
    pub fn handle_value_answer(&mut self, now: Now, job: StoreJob, answer: ValueAnswer) {
        self.cx.now = now;
        let Machines { transactions, services, .. } = &mut self.machines;
        transactions.handle_value_answer(&mut self.cx, services, job, answer);
        self.machines.finish(&mut self.cx);
    }

    /// Handles new bans: connections and requests of banned clients are cut.
    pub fn handle_bans(&mut self, now: Now) {
        self.cx.now = now;
        let Some(guard) = self.cx.settings.guard.clone() else { return };
        self.machines.cut_clients(&mut self.cx, &|address| guard.is_banned(address, now));
        self.machines.finish(&mut self.cx);
    }

    /// Removes the counters of a client, because another process has removed them in the store.
    pub fn handle_unblock(&self, client: IpAddr) {
        if let Some(guard) = &self.cx.settings.guard {
            guard.forget_here(client);
        }
    }

    /// Handles a message of another loop: about a request there that this loop waits for, or about a wait for a request of
    /// this loop.
    pub fn handle_message(&mut self, now: Now, message: Message) {
        self.cx.now = now;
        if let Some(fills) = self.machines.services.fills.built() {
            fills.handle_message(&mut self.cx, message);
        }
        self.machines.finish(&mut self.cx);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        self.cx.now = now;
        let Engine { cx, machines, due } = self;
        let resolver = &mut machines.services.upstreams.resolver;
        if resolver.next_timeout_us().is_some_and(|due| due <= now.monotonic_us) {
            resolver.handle_timeout(now);
        }
        cx.timers.sweep(now.monotonic_ms(), due);
        for index in due.drain(..) {
            // The end of another connection that was due may have closed this one, and its slot may be in use again.
            if let Some(id) = cx.connections.at(index).filter(|id| !cx.timers.is_set(*id)) {
                machines.handle_deadline(cx, id);
                machines.carry_out_effects(cx);
            }
        }
        while let Some(job) = machines.services.store_waits.next_due(now) {
            let Machines { transactions, services, .. } = machines;
            transactions.handle_store_answer(cx, services, job, Err(StoreFailure::Late));
            machines.carry_out_effects(cx);
        }
        while machines.transactions.resume_throttled(cx, &mut machines.services) {
            machines.carry_out_effects(cx);
        }
        if cx.drain_deadline_ms.is_some_and(|deadline| deadline <= now.monotonic_ms()) {
            machines.cut(cx);
        }
        machines.finish(cx);
    }

    /// Whether everything had its time to finish, and a second to leave.
    pub fn drain_is_over(&self, now: Now) -> bool {
        self.cx
            .drain_deadline_ms
            .is_some_and(|deadline| deadline + settings::DRAIN_GRACE_MS <= now.monotonic_ms())
    }

    /// When `handle_timeout` is due, in microseconds since the loop started.
    pub fn next_timeout_us(&self) -> Option<u64> {
        let sweep = self.cx.timers.next_ms().map(|ms| ms * 1000);
        let drain = self.cx.drain_deadline_ms.map(|ms| ms * 1000);
        let Services { upstreams, store_waits, throttle_waits, .. } = &self.machines.services;
        // One by one: an array would cost time in every turn.
        let sooner = |one: Option<u64>, other: Option<u64>| match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (Some(due), None) | (None, Some(due)) => Some(due),
            (None, None) => None,
        };
        let of_store = sooner(upstreams.resolver.next_timeout_us(), store_waits.next_timeout_us());
        sooner(sooner(sweep, drain), sooner(of_store, throttle_waits.next_timeout_us()))
    }

    // Actions for the shell, and the order of turns.

    /// The next thing to do.
    pub fn next_action(&mut self) -> Option<Action> {
        self.cx.actions.pop_front()
    }

    /// Puts an action behind the others that must be carried out before it.
    pub fn defer(&mut self, action: Action) {
        self.cx.actions.push_back(action);
    }

    /// Gives a written log record back for reuse.
    pub fn recycle(&mut self, record: Box<LogRecord>) {
        self.cx.recycle(record);
    }

    /// The next connection that may be able to read or write.
    pub fn next_runnable(&mut self) -> Option<PeerId> {
        self.cx.connections.next_runnable(&self.cx.pool)
    }

    /// Whether a connection is on the run queue, or waits for a block that is free now.
    pub fn has_runnable(&self) -> bool {
        self.cx.connections.has_runnable(&self.cx.pool)
    }

    /// From now on the shell reads and writes for this connection until neither is possible, so the connection need not be
    /// woken. Without this call it is put on the run queue again.
    pub fn begin_turn(&mut self, id: PeerId) {
        self.cx.connections.set_turn(Some(id));
    }

    /// Ends the turn of the connection.
    pub fn end_turn(&mut self) {
        self.cx.connections.set_turn(None);
    }

    /// Puts a connection on the run queue, once: because its socket is ready, or its turn was cut short.
    pub fn wake(&mut self, id: PeerId) {
        self.cx.wake(id);
    }

    // Bytes.

    /// Whether the connection could use bytes from its socket now. Computed, never stored.
    pub fn wants_read(&self, id: PeerId) -> bool {
        self.machines.wants_read(&self.cx, id)
    }

    /// Whether the engine still reads from the connection after it has failed: bytes may have arrived before. Then a failure that
    /// no read has met is reported as [`Event::SendFailed`].
    pub fn reads_on(&self, id: PeerId) -> bool {
        self.machines.reads_on(&self.cx, id)
    }

    /// Whether the connection has bytes to send.
    pub fn wants_write(&self, id: PeerId) -> bool {
        self.machines.wants_write(&self.cx, id)
    }

    /// Space for the connection's next bytes. `None` if it wants none, or has to wait for a block: then it is parked, and put
    /// on the run queue when a block is free.
    pub fn space(&mut self, id: PeerId) -> Option<Space<'_>> {
        self.machines.space(&mut self.cx, id)
    }

    /// Takes unused space back: the socket had nothing after all. A connection that waits holds no block.
    pub fn return_space(&mut self, id: PeerId) {
        self.machines.return_space(&mut self.cx, id);
    }

    /// Whether the connection's next bytes may go to another connection's socket inside the kernel: they are many, and no
    /// machine needs to read them. Takes the place of lending space; the shell may use the space nevertheless.
    pub fn splice_allowed(&self, id: PeerId) -> Option<Splice> {
        self.machines.splice_allowed(&self.cx, id)
    }

    /// The bytes to send to the connection next: slices for one vectored write, some of them empty. All are empty, although
    /// the connection wants to write, while its next bytes are in the kernel. Bytes that are not reported as sent are offered
    /// again, and first.
    pub fn to_send(&mut self, id: PeerId) -> Outgoing<'_> {
        self.machines.outgoing(&mut self.cx, id)
    }

    /// Whether to check once more, before the first byte is sent, that the connection is alive: the request cannot be sent
    /// twice, and the connection is not fresh.
    pub fn looks_first(&self, id: PeerId) -> bool {
        self.machines.looks_first(&self.cx, id)
    }

    // Connections, orders, counters.

    /// Whether the next connection can be accepted. If not, it waits in the system's backlog.
    pub fn may_accept(&self) -> bool {
        !self.is_draining() && self.machines.downstream.limits.has_room()
    }

    /// Whether a client has closed since the last call and made room: other loops may wait for it.
    pub fn take_capacity_freed(&mut self) -> bool {
        std::mem::take(&mut self.machines.downstream.capacity_freed)
    }

    /// The connection that has a place in the table of connections.
    pub fn connection_at(&self, index: usize) -> Option<PeerId> {
        self.cx.connections.at(index)
    }

    /// Whether the connection is an upstream connection that waits to be reused.
    pub fn is_idle_upstream(&self, id: PeerId) -> bool {
        self.cx.connections.upstream(id).is_some_and(|(_, state)| state.is_waiting())
    }

    /// Closes all upstream connections that no client waits for, because descriptors are needed. False if there were none.
    pub fn shed_idle_upstreams(&mut self) -> bool {
        self.machines.shed_idle_upstreams(&mut self.cx)
    }

    /// Closes them because memory is needed, and counts the idle ones for that.
    pub fn shed_upstreams(&mut self) {
        self.machines.shed_upstreams(&mut self.cx);
    }

    /// Evicts entries of the cache, the least recently used first, until `bytes` bytes are free, or none is left. Returns the
    /// number of entries evicted.
    pub fn shed_cache(&mut self, now: Now, bytes: usize) -> u64 {
        self.cx.shed_cache(now, bytes)
    }

    /// Sets whether new requests wait because memory is scarce. Requests under way continue.
    pub fn set_scarce(&mut self, scarce: bool) {
        self.cx.set_scarce(scarce);
    }

    /// Stops accepting requests: idle connections are closed, transactions finish, and those that are left after the drain
    /// time are cut.
    pub fn drain(&mut self, now: Now) {
        if self.is_draining() {
            return;
        }
        self.cx.now = now;
        self.cx.drain_deadline_ms = Some(now.monotonic_ms() + self.cx.settings.timeouts.drain_ms);
        self.machines.drain(&mut self.cx);
        self.machines.finish(&mut self.cx);
    }

    /// Whether the order to stop was given.
    pub fn is_draining(&self) -> bool {
        self.cx.is_draining()
    }

    /// Ends everything at once: the drain time is over, or weir was told to quit.
    pub fn cut(&mut self, now: Now) {
        self.cx.now = now;
        self.machines.cut(&mut self.cx);
    }

    /// Whether no connection is open.
    pub fn is_empty(&self) -> bool {
        self.cx.connections.is_empty()
    }

    /// The store of the cache, if responses are stored: one for all loops.
    pub fn store(&self) -> Option<Arc<Store>> {
        self.cx.settings.caching().map(|cache| Arc::clone(&cache.store))
    }

    /// The addresses of the name in a granted request and the grant by which they are judged, as far as the resolver has them;
    /// sends no query.
    pub fn known_addresses(&mut self, now: Now, subject: &Subject<'_>) -> Option<(Addresses, Grant)> {
        self.cx.now = now;
        self.machines.services.upstreams.known_addresses(&self.cx, subject)
    }

    /// Filters the bodies of requests and responses from now on.
    #[doc(hidden)]
    pub fn set_filters(&mut self, source: FilterSource) {
        self.machines.transactions.filter_source = Some(source);
    }

    /// Sets the callbacks of the host program.
    pub fn set_callbacks(&mut self, callbacks: Callbacks) {
        self.cx.callbacks = callbacks;
        self.cx.divide_heap();
    }

    /// Judges requests by another policy from now on. Transactions under way keep the one they began with.
    pub fn set_policy(&mut self, policy: Arc<Policy>) {
        self.cx.policy = policy;
        // A rule may depend on the addresses of a name.
        self.machines.services.upstreams.pool.forget_addresses();
        // Transactions that are kept for reuse would keep the old rules in memory.
        self.machines.transactions.clear_spare();
    }

    /// The settings that hold.
    pub fn settings(&self) -> &Settings {
        &self.cx.settings
    }

    /// Applies other settings, as far as they can change: not the number of loops or blocks, the cache, or the addresses.
    /// Transactions under way keep the settings that they began with, except for time-outs.
    pub fn set_settings(&mut self, now: Now, settings: Settings) {
        self.cx.now = now;
        let Engine { cx, machines, .. } = self;
        let Settings { loops, blocks_max, splices, client_prefix6, seed, .. } = *cx.settings;
        let store = cx.settings.caching().map(|cache| Arc::clone(&cache.store));
        let cache = settings.cache.clone().zip(store).map(|(cache, store)| CacheSettings { store, ..cache });
        let listeners = cx.settings.listeners.clone();
        let settings =
            Settings { loops, blocks_max, splices, client_prefix6, seed, cache, listeners, ..settings };
        let (idle_max, per_authority_max) =
            (settings.origins_idle_max, settings.origins_idle_per_authority_max);
        machines.services.upstreams.set_limits(cx, idle_max, per_authority_max);
        machines.downstream.limits.set_limits(&settings);
        machines.downstream.recount(cx, &settings);
        machines.transactions.signature = Signature::new(&settings);
        cx.settings = Arc::new(settings);
        cx.divide_heap();
        // Transactions that are kept for reuse would begin with the old settings.
        machines.transactions.clear_spare();
        machines.finish(cx);
    }

    /// Resolves names by other settings from now on.
    pub fn set_resolver(&mut self, now: Now, settings: resolver::Settings, hosts: resolver::Hosts) {
        self.cx.now = now;
        let upstreams = &mut self.machines.services.upstreams;
        upstreams.resolver.reconfigure(settings, hosts);
        upstreams.pool.forget_addresses();
        self.machines.finish(&mut self.cx);
    }

    /// Gives the outcome for a name for which the host program has asked for time.
    pub fn name_found(&mut self, now: Now, name: &Name, verdict: NameVerdict) {
        self.cx.now = now;
        self.machines.services.upstreams.tell_name(now, name, verdict);
        self.machines.finish(&mut self.cx);
    }

    /// Looks a name up for another thread; [`Engine::next_known_name`] has the result.
    pub fn find_name(&mut self, now: Now, name: &Name) {
        self.cx.now = now;
        self.machines.services.upstreams.find_name(&self.cx, name);
        self.machines.finish(&mut self.cx);
    }

    /// A name that was looked up for another thread, and its addresses.
    pub fn next_known_name(&mut self) -> Option<(Name, Option<Addresses>)> {
        self.machines.services.upstreams.next_known_name()
    }

    /// Whether memory may become unused; then `shrink` should be called after some seconds.
    pub fn may_shrink(&self) -> bool {
        self.cx.pool.may_shrink() || self.cx.connections.is_wide()
    }

    /// Whether the cache has left the allocator memory that it does not use any more, see [`Store::should_trim`].
    pub fn should_trim(&self) -> bool {
        self.cx.settings.caching().is_some_and(|cache| cache.store.should_trim())
    }

    /// Releases memory that was not needed since the last call. False if there was none.
    pub fn shrink(&mut self) -> bool {
        let tables = self.cx.connections.was_wide();
        let shrinks = self.cx.pool.shrink() || tables;
        if shrinks {
            self.cx.shrink();
            self.machines.downstream.shrink();
            self.machines.transactions.shrink();
            self.machines.tunnels.shrink();
        }
        shrinks
    }

    /// The counters, with the gauges of this moment.
    pub fn metrics(&self) -> Metrics {
        let Machines { downstream, transactions, tunnels, services } = &self.machines;
        let Services { upstreams, fills, .. } = services;
        let dns = upstreams.resolver.counters();
        let clients = downstream.clients + downstream.background.len();
        Metrics {
            clients: downstream.clients as u64,
            exchanges: transactions.slab.len() as u64,
            tunnels: tunnels.slab.len() as u64,
            origins: (self.cx.connections.len() - clients) as u64,
            origins_idle: upstreams.pool.idle_count() as u64,
            origins_pinned: upstreams.pool.pinned_count() as u64,
            blocks_lent: self.cx.pool.lent() as u64,
            blocks_peak: self.cx.pool.lent_peak() as u64,
            spilled_bytes: self.cx.pool.spilled_bytes() as u64,
            limit_blocks: self.cx.pool.refusals(),
            dns_look_ups: dns.look_ups,
            dns_hosts_hits: dns.hosts_hits,
            dns_cache_hits: dns.cache_hits,
            dns_queries: dns.queries,
            dns_timeouts: dns.timeouts,
            dns_failures: dns.failures,
            cache_fetches: fills.slab.len() as u64,
            cache_collapses: fills.collapses.len() as u64,
            ..self.cx.metrics
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Event, Settings};
    use crate::policy::Policy;
    use crate::policy::acl::{AclBuilder, ListKind};
    use crate::resolver::{self, Hosts, Resolver};
    use crate::time::Now;
    use std::sync::Arc;

    fn policy(quiet_refusals: bool) -> Arc<Policy> {
        let mut builder = AclBuilder::new(1);
        builder.add_list(
            ListKind::Block,
            "list",
            b"ads.example\n*.ads.example\nmore.example:80\n198.51.100.0/24\n",
        );
        let (edits, cache_rules, pages) = Default::default();
        let acl = builder.build().unwrap();
        Arc::new(Policy { acl, users: None, edits, cache_rules, pages, quiet_refusals })
    }

    fn engine(quiet_refusals: bool) -> Engine {
        let resolver = Resolver::new(resolver::Settings::default(), Hosts::parse(b""), [1, 2]);
        Engine::new(Settings::default(), policy(quiet_refusals), resolver)
    }

    /// The response to a request of a new client.
    fn ask(engine: &mut Engine, request: &str) -> String {
        let client = engine.accept(Now::default(), ListenerId::default(), ([127, 0, 0, 1], 4711).into());
        let count = engine.space(client).unwrap().fill(request.as_bytes());
        engine.handle(Now::default(), client, Event::Received(count));
        let answer = engine.to_send(client).concat();
        engine.handle(Now::default(), client, Event::Sent(answer.len()));
        String::from_utf8(answer).unwrap()
    }

    /// A text that was prepared for one request is the text of another one for the same reason, and of no other.
    #[test]
    fn rule_39_prepared_texts_are_those_of_the_request() {
        let html = "Accept: text/html\r\n";
        let hosts = ["ads.example", "x.ads.example", "more.example", "198.51.100.7", "x:7", "127.0.0.1"];
        let methods = ["GET", "HEAD", "CONNECT"].map(|method| [(method, ""), (method, html)]);
        let asked = hosts.iter().flat_map(|host| methods.iter().flatten().map(move |asked| (host, asked)));
        let requests: Vec<String> = asked
            .map(|(host, (method, fields))| match *method {
                "CONNECT" => format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"),
                _ => format!("{method} http://{host}/ HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"),
            })
            .collect();
        let mut used = engine(false);
        for quiet in [false, true, false] {
            used.set_policy(policy(quiet));
            for request in requests.iter().chain(&requests) {
                let expected = ask(&mut engine(quiet), request);
                assert!(expected.starts_with("HTTP/1.1 4"), "{request}{expected}");
                assert_eq!(ask(&mut used, request), expected, "{request}");
            }
        }
    }

    /// The answer is written by the shell whose turn it is, or by one that finds the client on the run queue.
    #[test]
    fn no_peer_is_woken_in_its_own_turn() {
        for says_so in [true, false] {
            let mut engine = engine(false);
            let client = engine.accept(Now::default(), ListenerId::default(), ([127, 0, 0, 1], 4711).into());
            while engine.next_runnable().is_some() {}
            if says_so {
                engine.begin_turn(client);
            }
            let count = engine.space(client).unwrap().fill(b"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n");
            engine.handle(Now::default(), client, Event::Received(count));
            assert!(engine.wants_write(client));
            assert_eq!(engine.has_runnable(), !says_so);
            engine.end_turn();
            engine.wake(client);
            assert_eq!((engine.next_runnable(), engine.next_runnable()), (Some(client), None));
        }
    }
}
