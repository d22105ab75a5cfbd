//! The core: every decision, and no socket.
//!
//! # Theory of operation
//!
//! The engine owns a slab of peers. A peer is a client connection or an origin connection; a [`PeerId`] is its index and
//! the token of its socket. The shell owns the sockets. It tells the engine what happened ([`Event`]), asks where to read
//! into ([`Engine::space`]) and what to send ([`Engine::to_send`]), and carries out what the engine wants done
//! ([`Action`], drained after every call). Which peers are worth looking at next is on the run queue
//! ([`Engine::next_runnable`]).
//!
//! A client reads a head, begins an *transaction*, and reads the next head when that is settled. A transaction is examined
//! (`examine`), finds an origin connection (`dial`), and then is two relays, one for each direction (`relay`), which know
//! nothing of each other. One function, `try_settle`, applies the rules that join them. CONNECT and upgrades turn an
//! transaction into a *tunnel*: the same two relays without grammar.
//!
//! Whatever weir answers by itself is a transaction too, so that every request leaves exactly one log entry.

mod body;
mod cache;
mod downstream;
mod keyed;
mod metrics;
mod peer;
mod reload;
mod run_queue;
mod settings;
mod shrink;
mod timer;
pub mod transaction;
mod upstream;

pub use body::outgoing::{Outgoing, SLICES_MAX};
pub use body::relay::SPLICE_BYTES_MAX;
pub use cache::coordination::Message;
pub use downstream::client_limits::ClientLimits;
pub use peer::PeerId;
pub use settings::{CacheSettings, Settings, Timeouts};
pub use transaction::refusal::SocketError;
pub use transaction::verification::{Finding, JobId};

use crate::cache::store::Store;
use crate::http::date::http_date;
use crate::metrics::Metrics;
use crate::net::{BLOCK_BYTES, Pool, Purpose};
use crate::policy::Policy;
use crate::policy::auth::SlowJob;
use crate::policy::credential_cache::CredentialCache;
use crate::resolver::{self, LookUpId, QueryId, Resolver};
use crate::time::Now;
use body::tunnel::Tunnel;
use body::tunnel_half::Relays;
use cache::collapse::Collapses;
use cache::fill::Fill;
use cache::hit_response::Signature;
use keyed::Keyed;
use peer::{Client, Origin, OriginState, Parking, Peer, Reading, Role, TransactionId};
use slab::Slab;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use timer::Deadlines;
use transaction::Transaction;
use transaction::log_record::LogRecord;
use transaction::verification::Verifications;
use upstream::pool::Origins;

/// Entries kept for reuse (chosen: more than end in one turn of the loop).
const SPARE_RECORDS_MAX: usize = 256;

/// Exchanges kept for reuse (chosen: more than begin between two that end, and no great memory after a burst).
const SPARE_TRANSACTIONS_MAX: usize = 64;
/// Bytes of text that a kept entry may hold on to (chosen: several times what an entry needs mostly).
const SPARE_TEXT_BYTES_MAX: usize = 1024;

/// Who waits for memory, in the order in which they get it: what finishes work comes before what begins it.
#[derive(Clone, Copy, Debug)]
enum Parked {
    Downloads,
    Uploads,
    Heads,
    /// Heads that have outgrown their block.
    Heap,
}

impl Parked {
    const QUEUES: usize = 4;

    /// Those for a block, and what they want it for.
    const FOR_BLOCKS: [(Parked, Purpose); 3] = [
        (Parked::Downloads, Purpose::Download),
        (Parked::Uploads, Purpose::Upload),
        (Parked::Heads, Purpose::Head),
    ];
}

/// What happened to a peer's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The connection that was asked for stands.
    Connected,
    /// So many bytes were read into the space that was lent.
    Received(usize),
    /// So many bytes have left this peer's socket for another's, as [`Engine::splice_allowed`] allowed.
    Spliced(usize),
    /// So many bytes of what was to be sent are with the system.
    Sent(usize),
    /// The peer has finished sending.
    EndOfStream,
    /// Nothing more can be sent to the peer; there may still be something to receive.
    SendFailed(SocketError),
    /// The connection failed, or could not be made.
    Failed(SocketError),
}

/// Leave to move bytes inside the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Splice {
    /// Whose socket they go to.
    pub to: PeerId,
    /// How many at most.
    pub bytes_max: usize,
}

/// What the shell is to do.
#[derive(Debug)]
pub enum Action {
    /// Connect the peer's new socket.
    Connect {
        /// The token for it.
        peer: PeerId,
        /// Where to.
        address: SocketAddr,
    },
    /// Say that nothing more will be sent (FIN).
    ShutdownWrite(PeerId),
    /// Close the socket. The peer is gone already and its id may be used again by the next action.
    Close(PeerId),
    /// Close the socket with a reset, so that the other side cannot take it for an end. Otherwise as `Close`.
    Reset(PeerId),
    /// Send a DNS query, abandon one.
    Resolver(resolver::Action),
    /// Verify a password away from the loop and report with `handle_verified`.
    Verify {
        /// To be given back with the answer.
        job: JobId,
        /// Guesses made lately from where this one came: what has fewer goes first.
        guesses: u32,
        /// The work.
        work: SlowJob,
    },
    /// Tell the other loops.
    SendToLoops(Message),
    /// Write a log entry; give it back with `recycle`.
    Log(Box<LogRecord>),
}

/// The core of one loop.
pub struct Engine {
    settings: Arc<Settings>,
    policy: Arc<Policy>,
    pool: Pool,
    peers: Slab<Peer>,
    /// Heads that have begun to come.
    readings: Slab<Reading>,
    // Boxes that are used again and again: a transaction is a kilobyte, and neither is moved nor made anew for a request.
    transactions: Slab<Box<Transaction>>,
    #[allow(clippy::vec_box)]
    spare_transactions: Vec<Box<Transaction>>,
    tunnels: Slab<Tunnel>,
    /// Responses on their way into the cache.
    fills: Slab<Fill>,
    collapses: Collapses,
    /// Clients without a socket: requests of weir's own.
    refreshes: usize,
    /// What the tunnels have under way.
    relays: Relays,
    deadlines: Deadlines,
    origins: Origins,
    resolver: Resolver,
    /// Who waits for which look-up.
    look_ups: BTreeMap<LookUpId, Vec<TransactionId>>,
    remembered: CredentialCache,
    verifications: Verifications,
    /// Clients of this loop.
    clients: usize,
    /// Most peers at once since memory was last given back.
    peers_lately: usize,
    /// Room in the table of peers after that, and how many they were.
    peers_shrunk: (usize, usize),
    /// Clients of all loops, and how many may be.
    client_limits: Arc<ClientLimits>,
    capacity_freed: bool,
    actions: VecDeque<Action>,
    runnable: VecDeque<PeerId>,
    /// Whose turn it is.
    turn: Option<PeerId>,
    /// Peers that wait for memory.
    parked: [VecDeque<PeerId>; Parked::QUEUES],
    /// Clients whose next request has arrived already.
    pipelined: VecDeque<PeerId>,
    signature: Signature,
    /// For heads that are being written.
    scratch: Vec<u8>,
    /// For the key of a request, and for the texts of what is to be stored.
    cache_text: Vec<u8>,
    /// For what a request has in the fields that a stored response varies by.
    cache_scratch: Vec<u8>,
    /// For bytes that came behind the end of a message.
    excess: Vec<u8>,
    /// For bytes that nobody asked for.
    discard_buffer: Box<[u8]>,
    due: Vec<PeerId>,
    // Boxes, because that is how they travel: an action stays small, and nothing is allocated.
    #[allow(clippy::vec_box)]
    spare_records: Vec<Box<LogRecord>>,
    metrics: Metrics,
    date: [u8; 29],
    date_unix_s: u64,
    next_serial: u32,
    /// Set when weir is about to stop: until then, in milliseconds since the loop started.
    drain_deadline_ms: Option<u64>,
}

impl Engine {
    /// A core with nobody connected.
    pub fn new(settings: Settings, policy: Arc<Policy>, resolver: Resolver) -> Engine {
        let keyed = Keyed::new(settings.seed);
        Engine {
            pool: Pool::new(settings.blocks_max),
            peers: Slab::new(),
            readings: Slab::new(),
            transactions: Slab::new(),
            spare_transactions: Vec::new(),
            tunnels: Slab::new(),
            fills: Slab::new(),
            collapses: Collapses::new(keyed, settings.loops),
            refreshes: 0,
            relays: Relays::default(),
            deadlines: Deadlines::default(),
            origins: Origins::new(keyed, settings.origins_idle_max, settings.origins_idle_per_authority_max),
            resolver,
            look_ups: BTreeMap::new(),
            remembered: CredentialCache::default(),
            verifications: Verifications::new(&settings),
            clients: 0,
            peers_lately: 0,
            peers_shrunk: (0, 0),
            client_limits: Arc::new(ClientLimits::new(&settings)),
            capacity_freed: false,
            actions: VecDeque::new(),
            runnable: VecDeque::new(),
            turn: None,
            parked: Default::default(),
            pipelined: VecDeque::new(),
            signature: Signature::new(&settings),
            scratch: Vec::new(),
            cache_text: Vec::new(),
            cache_scratch: Vec::new(),
            excess: Vec::new(),
            discard_buffer: vec![0; BLOCK_BYTES].into_boxed_slice(),
            due: Vec::new(),
            spare_records: Vec::new(),
            metrics: Metrics::default(),
            date: [b' '; 29],
            date_unix_s: u64::MAX,
            next_serial: 0,
            drain_deadline_ms: None,
            settings: Arc::new(settings),
            policy,
        }
    }

    /// The same core as one of several, which share the limits on clients and have `settings` that were divided.
    pub fn with_client_limits(self, client_limits: Arc<ClientLimits>) -> Engine {
        Engine { client_limits, ..self }
    }

    /// What responses are stored in, if they are: one for all loops.
    pub fn store(&self) -> Option<Arc<Store>> {
        self.settings.cache.as_ref().map(|cache| Arc::clone(&cache.store))
    }

    /// Whether a client has gone since this was last asked, so that there is room again: other loops may wait for it.
    pub fn take_capacity_freed(&mut self) -> bool {
        std::mem::take(&mut self.capacity_freed)
    }

    /// What happened to a peer. Ignored if there is no such peer (any more).
    pub fn handle(&mut self, now: Now, id: PeerId, event: Event) {
        let Some(peer) = self.peers.get(id.index()) else { return };
        match &peer.role {
            Role::Client(_) => self.handle_client(now, id, event),
            Role::Origin(_) => self.handle_origin(now, id, event),
        }
        self.finish(now);
    }

    /// A reply to a DNS query.
    pub fn handle_reply(&mut self, now: Now, query: QueryId, message: &[u8]) {
        self.resolver.handle_reply(now, query, message);
        self.finish(now);
    }

    /// A DNS query that could not be sent, or whose socket failed.
    pub fn handle_query_failure(&mut self, now: Now, query: QueryId) {
        self.resolver.handle_failure(now, query);
        self.finish(now);
    }

    /// Whether the password of a job was right. What other loops should know of it is returned.
    pub fn handle_verified(&mut self, now: Now, job: JobId, right: bool) -> Option<Finding> {
        let finding = self.finish_verification(now, job, right)?;
        self.handle_finding(now, finding);
        Some(finding)
    }

    /// What a verification has found out, perhaps one of another loop.
    pub fn handle_finding(&mut self, now: Now, finding: Finding) {
        self.learn(now, finding);
        self.finish(now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.resolver.next_timeout_us().is_some_and(|due| due <= now.monotonic_us) {
            self.resolver.handle_timeout(now);
        }
        let mut due = std::mem::take(&mut self.due);
        self.deadlines.sweep(now.monotonic_ms(), &mut due);
        for id in due.drain(..) {
            // It may have gone with another one that was due, and its place may be somebody else's by now.
            if !self.deadlines.is_set(id) {
                self.handle_deadline(now, id);
            }
        }
        self.due = due;
        if self.drain_deadline_ms.is_some_and(|deadline| deadline <= now.monotonic_ms()) {
            self.cut(now);
        }
        self.finish(now);
    }

    /// When `handle_timeout` is due, in microseconds since the loop started.
    pub fn next_timeout_us(&self) -> Option<u64> {
        let sweep = self.deadlines.next_ms().map(|ms| ms * 1000);
        let drain = self.drain_deadline_ms.map(|ms| ms * 1000);
        [sweep, drain, self.resolver.next_timeout_us()].into_iter().flatten().min()
    }

    /// The next thing to do.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Gives a written log entry back for reuse.
    pub fn recycle(&mut self, record: Box<LogRecord>) {
        // Long ones go: each would keep the memory of the longest target that it has ever held.
        if self.spare_records.len() < SPARE_RECORDS_MAX && record.text_capacity() <= SPARE_TEXT_BYTES_MAX {
            self.spare_records.push(record);
        }
    }

    /// Stops taking requests: idle connections are closed, transactions are finished, and what is left after the drain
    /// time is cut.
    pub fn drain(&mut self, now: Now) {
        if self.drain_deadline_ms.is_some() {
            return;
        }
        self.drain_deadline_ms = Some(now.monotonic_ms() + self.settings.timeouts.drain_ms);
        let idle: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(_, peer)| is_idle(peer, &self.readings))
            .map(|(index, _)| PeerId::from_index(index))
            .collect();
        for id in idle {
            // One may have gone with another.
            match self.peers.get(id.index()).map(|peer| &peer.role) {
                Some(Role::Client(_)) => self.close_client(id),
                Some(Role::Origin(_)) => self.close_origin(id),
                None => {}
            }
        }
        self.finish(now);
    }

    /// Closes all idle origin connections: somebody needs their descriptors.
    /// False if there were none.
    pub fn shed_idle_origins(&mut self) -> bool {
        let any = self.origins.longest_idle().is_some();
        while let Some(oldest) = self.origins.longest_idle() {
            self.metrics.origins_shed += 1;
            self.close_origin(oldest);
        }
        any
    }

    /// Puts an action behind those that are to be carried out before it.
    pub fn defer(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    /// Whether the peer is an origin connection that waits to be reused.
    pub fn is_idle_origin(&self, id: PeerId) -> bool {
        use OriginState::{Idle, Pinned};
        matches!(
            self.peers.get(id.index()),
            Some(Peer { role: Role::Origin(Origin { state: Idle(_) | Pinned(_), .. }), .. })
        )
    }

    /// Whether the order to stop was given.
    pub fn is_draining(&self) -> bool {
        self.drain_deadline_ms.is_some()
    }

    /// Whether nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// The counters, with the gauges of this moment.
    pub fn metrics(&self) -> Metrics {
        let dns = self.resolver.counters();
        Metrics {
            clients: self.clients as u64,
            exchanges: self.transactions.len() as u64,
            tunnels: self.tunnels.len() as u64,
            origins: (self.peers.len() - self.clients - self.refreshes) as u64,
            origins_idle: self.origins.idle_count() as u64,
            origins_pinned: self.origins.pinned_count() as u64,
            blocks_lent: self.pool.lent() as u64,
            blocks_peak: self.pool.lent_peak() as u64,
            spilled_bytes: self.pool.spilled_bytes() as u64,
            limit_blocks: self.pool.refusals(),
            dns_look_ups: dns.look_ups,
            dns_hosts_hits: dns.hosts_hits,
            dns_cache_hits: dns.cache_hits,
            dns_queries: dns.queries,
            dns_timeouts: dns.timeouts,
            dns_failures: dns.failures,
            cache_fetches: self.fills.len() as u64,
            cache_collapses: self.collapses.len() as u64,
            ..self.metrics.clone()
        }
    }

    /// Does what the last event left to do: answers from the resolver, requests that have arrived already, memory that
    /// came back.
    fn finish(&mut self, now: Now) {
        loop {
            while let Some(action) = self.resolver.next_action() {
                match action {
                    resolver::Action::Done { id, outcome } => self.finish_look_up(now, id, &outcome),
                    resolver::Action::Send { .. } | resolver::Action::Abandon(_) => {
                        self.actions.push_back(Action::Resolver(action));
                    }
                }
            }
            if self.resume_concluded(now) {
                continue;
            }
            let Some(client) = self.pipelined.pop_front() else { break };
            self.advance_client(now, client);
        }
        self.finish_memory();
    }

    /// Lets others have the memory that came back.
    fn finish_memory(&mut self) {
        if self.pool.take_returned() {
            self.unpark_next();
            self.unpark_heads();
        }
    }

    /// Time for the field Date.
    fn refresh_date(&mut self, now: Now) {
        if self.date_unix_s != now.unix_s() {
            self.date_unix_s = now.unix_s();
            self.date = http_date(self.date_unix_s);
        }
    }

    fn take_record(&mut self, client: SocketAddr) -> Box<LogRecord> {
        match self.spare_records.pop() {
            Some(mut record) => {
                record.reset(client);
                record
            }
            None => Box::new(LogRecord::new(client)),
        }
    }

    /// Ends a transaction that has given everything back: keeps its memory for the next, and hands out its entry.
    fn retire(&mut self, mut transaction: Box<Transaction>) -> Box<LogRecord> {
        // It is made blank when the next transaction begins.
        let spare = self.spare_records.pop();
        let blank = spare.unwrap_or_else(|| Box::new(LogRecord::new(transaction.record.client)));
        let record = std::mem::replace(&mut transaction.record, blank);
        // What waits to be used again holds nothing of the cache's: its bytes could not be evicted.
        transaction.caching.reset();
        transaction.reader = None;
        if !Arc::ptr_eq(&transaction.policy, &self.policy) {
            transaction.policy = Arc::clone(&self.policy);
        }
        if !Arc::ptr_eq(&transaction.settings, &self.settings) {
            transaction.settings = Arc::clone(&self.settings);
        }
        if self.spare_transactions.len() < SPARE_TRANSACTIONS_MAX {
            self.spare_transactions.push(transaction);
        }
        record
    }

    /// Counts an entry and hands it to the shell.
    fn log(&mut self, record: Box<LogRecord>) {
        match record.verdict {
            transaction::log_record::Verdict::Allowed => self.metrics.allowed += 1,
            transaction::log_record::Verdict::Refused => self.metrics.blocked += 1,
            transaction::log_record::Verdict::Malformed => self.metrics.malformed += 1,
            transaction::log_record::Verdict::Failed => self.metrics.failed += 1,
        }
        self.metrics.statuses[usize::from(record.status / 100).min(9)] += 1;
        self.metrics.count_cache(&record);
        self.actions.push_back(Action::Log(record));
    }

    fn handle_deadline(&mut self, now: Now, id: PeerId) {
        let Some(peer) = self.peers.get(id.index()) else { return };
        match &peer.role {
            Role::Client(client) => match *client {
                Client::Idle | Client::Reading(_) => self.handle_reading_deadline(now, id),
                Client::Transaction(transaction) => self.handle_transaction_deadline(now, transaction),
                Client::Tunnel(tunnel) => self.handle_tunnel_deadline(now, tunnel),
                Client::Lingering { .. } => {
                    self.metrics.timeouts_linger += 1;
                    self.close_client(id);
                }
            },
            Role::Origin(origin) => match origin.state {
                OriginState::Connecting(transaction) => {
                    self.metrics.timeouts_connect += 1;
                    self.handle_attempt_failure(now, id, transaction, SocketError::TimedOut);
                }
                OriginState::Idle(_) | OriginState::Pinned(_) => self.handle_idle_deadline(now, id),
                OriginState::Filling(fill) => self.handle_fill_deadline(now, fill),
                OriginState::Busy(_) | OriginState::Tunnel(_) => {}
            },
        }
    }

    /// Ends everything that is under way, at once: the drain time is over, or weir was told to quit.
    pub fn cut(&mut self, now: Now) {
        self.cut_fills(now);
        let ids: Vec<usize> = self.peers.iter().map(|(index, _)| index).collect();
        for id in ids {
            let Some(peer) = self.peers.get(id) else { continue };
            let id = PeerId::from_index(id);
            match &peer.role {
                Role::Client(Client::Transaction(transaction)) => {
                    let transaction = *transaction;
                    self.metrics.timeouts_drain += 1;
                    self.abandon(now, transaction, transaction::log_record::Verdict::Failed, "cut");
                }
                Role::Client(Client::Tunnel(tunnel)) => {
                    let tunnel = *tunnel;
                    self.metrics.timeouts_drain += 1;
                    self.cut_tunnel(now, tunnel, "cut");
                }
                Role::Client(_) => self.close_client(id),
                Role::Origin(Origin { state: OriginState::Idle(_) | OriginState::Pinned(_), .. }) => {
                    self.close_origin(id);
                }
                // The others go with what they carry.
                Role::Origin(_) => {}
            }
        }
    }

    /// Wakes the first of those who wait for a block, of each kind for which there is one. Called with every turn: whoever
    /// was woken takes the block or leaves it to the next, and either way that one is not forgotten.
    fn unpark_next(&mut self) {
        for (queue, purpose) in Parked::FOR_BLOCKS {
            if self.would_unpark(queue, purpose) {
                self.unpark(queue);
            }
        }
    }

    fn unparks_any(&self) -> bool {
        Parked::FOR_BLOCKS.into_iter().any(|(queue, purpose)| self.would_unpark(queue, purpose))
    }

    fn would_unpark(&self, queue: Parked, purpose: Purpose) -> bool {
        !self.parked[queue as usize].is_empty() && self.pool.would_lend(purpose)
    }

    /// Wakes everybody who waits for heap. They need different amounts of it, so each has to try, and they try when some
    /// has come back. It may be there when no block is.
    fn unpark_heads(&mut self) {
        for _ in 0..self.parked[Parked::Heap as usize].len() {
            self.unpark(Parked::Heap);
        }
    }

    fn unpark(&mut self, queue: Parked) {
        while let Some(id) = self.parked[queue as usize].pop_front() {
            // Whoever is gone, or got its memory otherwise, must not stand in for one who still waits.
            if let Some(peer) = self.peers.get_mut(id.index()).filter(|peer| peer.parking == Parking::Queued)
            {
                peer.parking = Parking::Woken;
                self.wake(id);
                return;
            }
        }
    }

    fn address(&self, id: PeerId) -> Option<SocketAddr> {
        Some(self.peers.get(id.index())?.address.into())
    }

    fn client_mut(&mut self, id: PeerId) -> Option<&mut Client> {
        match &mut self.peers.get_mut(id.index())?.role {
            Role::Client(client) => Some(client),
            Role::Origin(_) => None,
        }
    }

    fn origin_mut(&mut self, id: PeerId) -> Option<&mut Origin> {
        match &mut self.peers.get_mut(id.index())?.role {
            Role::Client(_) => None,
            Role::Origin(origin) => Some(origin),
        }
    }
}

/// Between requests, with nothing of the next one received.
fn is_idle(peer: &Peer, readings: &Slab<Reading>) -> bool {
    match &peer.role {
        Role::Client(client) => match *client {
            Client::Idle => true,
            Client::Reading(reading) => readings[reading.0 as usize].input.is_empty(),
            Client::Transaction(_) | Client::Tunnel(_) | Client::Lingering { .. } => false,
        },
        Role::Origin(origin) => matches!(origin.state, OriginState::Idle(_) | OriginState::Pinned(_)),
    }
}
