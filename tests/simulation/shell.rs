//! The shell: what `event_loop` does, with the simulated network in place of the system, and with every promise of the
//! seam checked on the way.

use super::book::{Book, Checked};
use super::network::{LinkId, Peer, Readiness, Task};
use super::socket::Socket;
use super::world::Surroundings;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use weir::engine::entry::{Entry, Kind, Text};
use weir::engine::{Action, Engine, Event, JobId, Move, PeerId, SocketError};
use weir::policy::auth::Users;
use weir::resolver::{self, QueryId};

/// Bytes beyond the budget for each response that is being fetched: the window of one that is not stored, and a segment.
const FETCH_BYTES: usize = (256 + 64 + 8) * 1024;

/// For each exchange: the head of what it brings.
const HEAD_BYTES: usize = 12 * 1024;

/// What the tables may grow by after there was room.
const TABLES_BYTES: usize = 16 * 1024;

pub struct Shell {
    pub engine: Engine,
    sockets: Vec<Option<Socket>>,
    pub live: usize,
    /// Calls that told the engine something.
    pub steps: u64,
    /// Turns without any effect, since something last moved.
    fruitless: u64,
    entries: u64,
    /// What the entries say that clients have sent.
    pub received: HashMap<std::net::SocketAddr, u64>,
    /// What they say that clients were sent, and what clients were sent.
    logged_sent: u64,
    sent: u64,
    entry_keys: HashMap<String, u32>,
    queries: HashSet<QueryId>,
    pub replies: HashMap<u64, (QueryId, Option<Vec<u8>>)>,
    pub jobs: HashMap<u64, (JobId, bool)>,
    numbers: u64,
    users: Users,
    exhausted: bool,
    /// Links of clients that wait to be accepted.
    pub backlog: Vec<(LinkId, std::net::SocketAddr)>,
}

impl Shell {
    pub fn new(engine: Engine) -> Shell {
        Shell {
            engine,
            sockets: Vec::new(),
            live: 0,
            steps: 0,
            fruitless: 0,
            entries: 0,
            received: HashMap::new(),
            logged_sent: 0,
            sent: 0,
            entry_keys: HashMap::new(),
            queries: HashSet::new(),
            replies: HashMap::new(),
            jobs: HashMap::new(),
            numbers: 0,
            users: super::scenario::users(),
            exhausted: false,
            backlog: Vec::new(),
        }
    }

    /// One round of the loop: what the system reports, new connections, turns, timers.
    pub fn round(&mut self, around: &mut Surroundings) -> Checked<()> {
        around.net.trace(|| format!("round: {} blocks lent", self.engine.metrics().blocks_lent));
        self.poll(around)?;
        self.accept(around)?;
        for _ in 0..around.book.scenario.turns_max {
            let Some(id) = self.engine.next_runnable() else { break };
            self.take_turn(around, id)?;
        }
        self.tick(around)
    }

    fn poll(&mut self, around: &mut Surroundings) -> Checked<()> {
        let mut edges = std::mem::take(&mut around.net.edges);
        around.net.dice.shuffle(&mut edges);
        for link in edges {
            if around.net.dice.percent(10) {
                // Not in this round.
                around.net.edges.push(link);
                continue;
            }
            let readiness = around.net.take_edge(link);
            if let Some(index) = around.index_of(link) {
                self.note(around, index, readiness)?;
            }
        }
        Ok(())
    }

    fn note(&mut self, around: &mut Surroundings, index: usize, readiness: Readiness) -> Checked<()> {
        let Some(Some(socket)) = self.sockets.get_mut(index) else { return Ok(()) };
        let Readiness { readable, writable, read_closed, write_closed, error } = readiness;
        socket.readable |= readable || read_closed || error;
        socket.writable |= writable || write_closed || error;
        socket.ending |= read_closed || error;
        socket.hung_up |= error || (read_closed && write_closed);
        let id = PeerId::from_index(index);
        if self.engine.is_idle_origin(id) {
            self.take_turn(around, id)
        } else {
            self.engine.wake(id);
            Ok(())
        }
    }

    fn accept(&mut self, around: &mut Surroundings) -> Checked<()> {
        while !self.backlog.is_empty() && self.engine.may_accept() && !self.exhausted {
            let (link, address) = self.backlog.remove(0);
            let id = self.engine.accept(around.net.now(), address);
            self.steps += 1;
            self.install(around, id, link, false)?;
            self.engine.wake(id);
            self.act(around)?;
        }
        Ok(())
    }

    fn install(
        &mut self,
        around: &mut Surroundings,
        id: PeerId,
        link: LinkId,
        connecting: bool,
    ) -> Checked<()> {
        let index = id.index();
        if index >= self.sockets.len() {
            self.sockets.resize_with(index + 1, || None);
        }
        if self.sockets[index].is_some() {
            return Err(format!("{id:?} was given out twice"));
        }
        let ready = !connecting;
        self.sockets[index] = Some(Socket::new(link, connecting, ready));
        self.live += 1;
        around.set_index(link, index);
        // What epoll reports of a socket that is added.
        around.net.raise_edge(link);
        Ok(())
    }

    fn tick(&mut self, around: &mut Surroundings) -> Checked<()> {
        let now = around.net.now();
        if self.engine.next_timeout_us().is_some_and(|due| due <= now.monotonic_us) {
            self.engine.handle_timeout(now);
            self.steps += 1;
            self.act(around)?;
        }
        Ok(())
    }

    fn take_turn(&mut self, around: &mut Surroundings, id: PeerId) -> Checked<()> {
        let mut budget = around.book.scenario.turn_bytes;
        let mut moved_any = false;
        loop {
            // Reading comes first, as in `event_loop`.
            let moved = self.establish(around, id)? + self.receive(around, id)? + self.send(around, id)?;
            self.act(around)?;
            if moved == 0 {
                break;
            }
            moved_any = true;
            budget = budget.saturating_sub(moved);
            if budget == 0 {
                self.engine.wake(id);
                return self.note_progress(true);
            }
        }
        if let Some(Some(socket)) = self.sockets.get_mut(id.index()) {
            if socket.hung_up && !self.engine.wants_read(id) {
                socket.hung_up = false;
                if let Some(error) = around.net.error(socket.link) {
                    self.tell(around, id, Event::Failed(error))?;
                    self.act(around)?;
                }
            }
        }
        self.note_progress(moved_any)
    }

    /// The run queue must not be kept busy by nothing.
    fn note_progress(&mut self, moved: bool) -> Checked<()> {
        self.fruitless = if moved { 0 } else { self.fruitless + 1 };
        let bound = 1000 + 20 * self.live as u64;
        if self.fruitless > bound { Err(format!("{bound} turns without effect")) } else { Ok(()) }
    }

    /// Time has passed, or somebody did something: turns may have an effect again.
    pub fn expect_progress(&mut self) {
        self.fruitless = 0;
    }

    fn tell(&mut self, around: &mut Surroundings, id: PeerId, event: Event) -> Checked<()> {
        around.net.trace(|| format!("peer {}: {event:?}", id.index()));
        self.engine.handle(around.net.now(), id, event);
        self.steps += 1;
        self.check(&around.book)
    }

    fn establish(&mut self, around: &mut Surroundings, id: PeerId) -> Checked<usize> {
        let Some(Some(socket)) = self.sockets.get_mut(id.index()) else { return Ok(0) };
        if !socket.connecting || !(socket.writable || socket.readable) {
            return Ok(0);
        }
        let link = &around.net.links[socket.link];
        let event = match link.broken {
            Some(error) => Event::Failed(error),
            None if link.established => {
                socket.connecting = false;
                Event::Connected
            }
            None => {
                (socket.readable, socket.writable) = (false, false);
                return Ok(0);
            }
        };
        self.tell(around, id, event)?;
        self.act(around)?;
        Ok(1)
    }

    fn send(&mut self, around: &mut Surroundings, id: PeerId) -> Checked<usize> {
        let Some(Some(socket)) = self.sockets.get_mut(id.index()) else { return Ok(0) };
        if !socket.writable || !self.engine.wants_write(id) {
            return Ok(0);
        }
        let outgoing = self.engine.to_send(id);
        let percent = around.book.scenario.pipes_percent;
        let has_apart = outgoing.split().1.iter().any(|slice| !slice.is_empty());
        let room = (has_apart && socket.pipe.is_empty() && around.net.dice.percent(percent))
            .then(|| around.net.dice.between(1, 300_000) as usize);
        around.book.tally.references += u64::from(room.is_some());
        let (ahead, bytes) =
            socket.next_bytes(&outgoing, room).map_err(|error| format!("{id:?}: {error}"))?;
        if bytes.is_empty() {
            return Err(format!("{id:?}: there is something to send, but what?"));
        }
        let link = &around.net.links[socket.link];
        if link.unsolicited && around.is_between(socket.link) {
            if socket.readable && !link.to_weir.is_empty() {
                return Err(format!("{id:?}: a request on a connection that had spoken unasked"));
            }
            // Nobody could know: the system has not reported it yet.
            around.book.races += 1;
        }
        let event = match around.net.write(socket.link, &bytes) {
            Ok(written) => {
                socket.note_written(written, ahead, bytes.len());
                let Some(count) = written else { return Ok(0) };
                Event::Sent(count)
            }
            Err(error) => {
                socket.writable = false;
                Event::SendFailed(error)
            }
        };
        if let (Event::Sent(count), Peer::Client(_)) = (event, around.net.links[socket.link].peer) {
            self.sent += count as u64;
        }
        self.tell(around, id, event)?;
        Ok(if let Event::Sent(count) = event { count } else { 1 })
    }

    fn receive(&mut self, around: &mut Surroundings, id: PeerId) -> Checked<usize> {
        let Some(Some(socket)) = self.sockets.get_mut(id.index()) else { return Ok(0) };
        if !socket.readable {
            return Ok(0);
        }
        if let Some(order) = self.engine.movable(id) {
            // There may be no pipe to be had.
            let percent = around.book.scenario.pipes_percent;
            if !socket.connecting && around.net.dice.percent(percent) {
                return self.move_bytes(around, id, order);
            }
        }
        let Some(mut space) = self.engine.space(id) else {
            if self.engine.wants_read(id) {
                around.net.trace(|| format!("peer {}: has to wait for a block", id.index()));
            }
            return Ok(0);
        };
        if space.is_empty() || socket.connecting {
            self.engine.return_space(id);
            return Ok(0);
        }
        let room = space.len();
        let event = match around.net.read(socket.link, &mut space) {
            Ok(None) => {
                socket.readable = false;
                self.engine.return_space(id);
                return Ok(0);
            }
            Ok(Some(0)) => {
                socket.readable = false;
                Event::EndOfStream
            }
            Ok(Some(count)) => {
                socket.readable = count == room || socket.ending;
                Event::Received(count)
            }
            Err(error) => {
                socket.readable = false;
                Event::Failed(error)
            }
        };
        if !matches!(event, Event::Received(_)) {
            self.engine.return_space(id);
        }
        self.tell(around, id, event)?;
        Ok(if let Event::Received(count) = event { count } else { 1 })
    }

    /// splice(2), through a pipe of any room.
    fn move_bytes(&mut self, around: &mut Surroundings, id: PeerId, order: Move) -> Checked<usize> {
        let room = around.net.dice.pick(&[1, 1000, 4096, 5000, 65_536, 262_144]).min(order.bytes_max);
        let mut bytes = vec![0; room];
        match self.sockets.get(order.to.index()) {
            Some(Some(sink)) if sink.pipe.is_empty() => {}
            Some(Some(_)) => return Err(format!("{id:?}: bytes for a pipe that holds some")),
            Some(None) | None => return Err(format!("{id:?}: bytes for nobody")),
        }
        let Some(Some(socket)) = self.sockets.get_mut(id.index()) else { return Ok(0) };
        let link = socket.link;
        let mut space = weir::buffer::Space::one(&mut bytes);
        let event = match around.net.read(link, &mut space) {
            Ok(None) => {
                socket.readable = false;
                return Ok(0);
            }
            Ok(Some(0)) => {
                socket.readable = false;
                Event::EndOfStream
            }
            Ok(Some(count)) => Event::Moved(count),
            Err(error) => {
                socket.readable = false;
                Event::Failed(error)
            }
        };
        if let Event::Moved(count) = event {
            around.note_moved(link, count);
            bytes.truncate(count);
            if let Some(Some(sink)) = self.sockets.get_mut(order.to.index()) {
                sink.pipe = bytes;
            }
        }
        self.tell(around, id, event)?;
        Ok(if let Event::Moved(count) = event { count } else { 1 })
    }

    /// Carries out what the engine wants done.
    pub fn act(&mut self, around: &mut Surroundings) -> Checked<()> {
        while let Some(action) = self.engine.next_action() {
            self.fruitless = 0;
            match action {
                Action::Connect { peer, address } => self.connect(around, peer, address)?,
                Action::ShutdownWrite(id) => {
                    if let Some(Some(socket)) = self.sockets.get(id.index()) {
                        around.net.trace(|| format!("peer {}: shut", id.index()));
                        around.net.shutdown_write(socket.link);
                    } else {
                        return Err(format!("{id:?} was shut and is not open"));
                    }
                }
                Action::Close(id) => self.close(around, id, false)?,
                Action::Reset(id) => self.close(around, id, true)?,
                // It is alone.
                Action::TellLoops(_) => {}
                Action::Verify { job, work, .. } => {
                    let name = work.user().map(|user| self.users.name(user).to_string());
                    self.numbers += 1;
                    self.jobs.insert(self.numbers, (job, name.as_deref() == Some("slow-right")));
                    let after_us = around.net.dice.pick(&[10, 1_000, 100_000, 1_000_000]);
                    around.net.plan(after_us, Task::Verified(self.numbers));
                }
                Action::Log(entry) => {
                    self.log(around, &entry)?;
                    self.engine.recycle(entry);
                }
                Action::Resolver(action) => self.resolve(around, action)?,
            }
        }
        self.check(&around.book)?;
        // One that renews what was served stale has no client, and may have no origin yet.
        if self.live == 0 && !self.engine.is_empty() && self.engine.metrics().exchanges == 0 {
            return Err("peers without sockets".to_string());
        }
        Ok(())
    }

    fn connect(
        &mut self,
        around: &mut Surroundings,
        id: PeerId,
        address: std::net::SocketAddr,
    ) -> Checked<()> {
        if super::names::is_forbidden(address.ip()) {
            return Err(format!("{address} was dialled"));
        }
        let failed =
            if self.exhausted { Some(SocketError::Exhausted) } else { around.fails_at_once(address) };
        let link = around.dial(address, failed.is_some());
        around.net.trace(|| format!("peer {}: connects to {address} (fails: {failed:?})", id.index()));
        self.install(around, id, link, true)?;
        let Some(error) = failed else { return Ok(()) };
        if error == SocketError::Exhausted {
            self.engine.shed_idle_origins();
        }
        self.tell(around, id, Event::Failed(error))
    }

    fn close(&mut self, around: &mut Surroundings, id: PeerId, reset: bool) -> Checked<()> {
        let Some(socket) = self.sockets.get_mut(id.index()).and_then(Option::take) else {
            return Err(format!("{id:?} was closed and is not open"));
        };
        self.live -= 1;
        around.book.tally.pipes_lost += u64::from(!socket.pipe.is_empty());
        around.forget_index(socket.link);
        around.net.trace(|| format!("peer {}: closed (reset: {reset})", id.index()));
        around.net.weir_closes(socket.link, reset);
        Ok(())
    }

    fn resolve(&mut self, around: &mut Surroundings, action: resolver::Action) -> Checked<()> {
        match action {
            resolver::Action::Send { query, transport, message, .. } => {
                if !self.queries.insert(query) {
                    return Err(format!("{query:?} was sent twice"));
                }
                let (hosts, faults) = (&around.book.scenario.hosts, around.book.scenario.dns_faults);
                let dice = &mut around.net.dice;
                for (after_us, reply) in
                    super::names::replies(dice, hosts, transport, message.as_bytes(), faults)
                {
                    self.numbers += 1;
                    self.replies.insert(self.numbers, (query, reply));
                    around.net.plan(after_us, Task::Reply(self.numbers));
                }
                Ok(())
            }
            resolver::Action::Abandon(query) => {
                if self.queries.remove(&query) {
                    Ok(())
                } else {
                    Err(format!("{query:?} was abandoned twice"))
                }
            }
            resolver::Action::Done { .. } => Err("an outcome left the engine".to_string()),
        }
    }

    /// A reply to a query; one that was abandoned has no socket, except by a race that must do no harm.
    pub fn reply(&mut self, around: &mut Surroundings, number: u64) -> Checked<()> {
        let Some((query, message)) = self.replies.remove(&number) else { return Ok(()) };
        if !self.queries.contains(&query) && !around.net.dice.percent(10) {
            return Ok(());
        }
        match message {
            Some(message) => self.engine.handle_reply(around.net.now(), query, &message),
            None => self.engine.handle_query_failure(around.net.now(), query),
        }
        self.steps += 1;
        self.act(around)
    }

    pub fn verified(&mut self, around: &mut Surroundings, number: u64) -> Checked<()> {
        let Some((job, right)) = self.jobs.remove(&number) else { return Ok(()) };
        self.engine.handle_verified(around.net.now(), job, right);
        self.steps += 1;
        self.act(around)
    }

    pub fn set_exhausted(&mut self, around: &mut Surroundings, exhausted: bool) -> Checked<()> {
        self.exhausted = exhausted;
        if exhausted {
            self.engine.shed_idle_origins();
        }
        self.act(around)
    }

    pub fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    fn log(&mut self, around: &mut Surroundings, entry: &Entry) -> Checked<()> {
        self.entries += 1;
        *self.received.entry(entry.client).or_insert(0) += entry.client_bytes;
        self.logged_sent += entry.sent_bytes;
        let target = String::from_utf8_lossy(entry.text(Text::Target)).into_owned();
        let reason = String::from_utf8_lossy(entry.text(Text::Reason)).into_owned();
        around.net.trace(|| {
            let cache = (entry.cache, entry.cache_reason);
            format!("entry: {} {target} {} {reason} {cache:?}", entry.client, entry.status)
        });
        if let Some((_, key)) = target.split_once("/e/") {
            let count = self.entry_keys.entry(key.to_string()).or_insert(0);
            *count += 1;
            if *count > 1 {
                return Err(format!("{key}: two log entries"));
            }
        }
        let cut = entry.kind == Kind::Tunnel && reason == "idle_timeout";
        if cut && around.owes_tunnel(entry.client) {
            return Err(format!("the tunnel of {} was left to its time-out", entry.client));
        }
        Ok(())
    }

    /// What must hold whenever the engine has been told something.
    fn check(&self, book: &Book) -> Checked<()> {
        let metrics = self.engine.metrics();
        let settings = &book.scenario.settings;
        let blocks_max = settings.blocks_max.max(8) as u64;
        if metrics.blocks_lent > blocks_max || metrics.spilled_bytes > blocks_max * 1024 {
            return Err(format!("{} blocks and {} bytes lent", metrics.blocks_lent, metrics.spilled_bytes));
        }
        if metrics.clients as usize > settings.clients_max + 64 {
            return Err(format!("{} clients", metrics.clients));
        }
        let Some(cache) = &book.scenario.cache else { return Ok(()) };
        let (bytes, budget) = (cache.store.ledger().bytes(), cache.store.limits().budget);
        // A response on its way has a segment that is not full, or its window; each exchange a head.
        let under_way =
            metrics.cache_fetches as usize * FETCH_BYTES + metrics.exchanges as usize * HEAD_BYTES;
        if bytes > budget + under_way + TABLES_BYTES {
            let (fetches, exchanges) = (metrics.cache_fetches, metrics.exchanges);
            return Err(format!(
                "{bytes} bytes of {budget} in the cache, {fetches} fetches, {exchanges} exchanges"
            ));
        }
        Ok(())
    }

    /// What must hold when every action was carried out.
    pub fn check_balance(&self) -> Checked<()> {
        let metrics = self.engine.metrics();
        let under_way = metrics.exchanges + metrics.tunnels;
        if metrics.requests != self.entries + under_way {
            return Err(format!(
                "{} requests, {} entries, {under_way} under way",
                metrics.requests, self.entries
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

    /// Nothing is runnable, nothing was reported: then nobody may be left who is ready and wanted.
    pub fn check_rest(&mut self, around: &Surroundings) -> Checked<()> {
        let mut heads = 0;
        for index in 0..self.sockets.len() {
            let Some(socket) = &self.sockets[index] else { continue };
            let id = PeerId::from_index(index);
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
        if metrics.exchanges + metrics.tunnels == 0 && metrics.blocks_lent > heads {
            return Err(format!("{} blocks are lent for {heads} heads", metrics.blocks_lent));
        }
        Ok(())
    }

    /// Nothing is left of the cache's work, and what is stored can all be forgotten.
    pub fn check_cache_end(&mut self, book: &mut Book) -> Checked<()> {
        let metrics = self.engine.metrics();
        if metrics.cache_fetches + metrics.cache_flights != 0 {
            let (fetches, flights) = (metrics.cache_fetches, metrics.cache_flights);
            return Err(format!("{fetches} fetches and {flights} flights at the end"));
        }
        let tally = &mut book.tally;
        tally.hits = metrics.cache_hits;
        tally.stale = metrics.cache_stale;
        tally.revalidated = metrics.cache_revalidated;
        tally.collapsed = metrics.cache_collapsed;
        tally.refreshes = metrics.cache_refreshes;
        let Some(cache) = &mut book.scenario.cache else { return Ok(()) };
        tally.evicted = cache.store.statistics().evicted;
        cache.ballast.set(0);
        cache.store.purge(|_| true);
        let (bytes, empty_bytes) = (cache.store.ledger().bytes(), cache.empty_bytes);
        if bytes != empty_bytes {
            return Err(format!("{bytes} bytes in an empty cache, which takes {empty_bytes}"));
        }
        Ok(())
    }

    /// Nobody is connected any more.
    pub fn check_end(&mut self, around: &mut Surroundings) -> Checked<()> {
        self.check_balance()?;
        let metrics = self.engine.metrics();
        if !self.engine.is_empty() || metrics.blocks_lent + metrics.spilled_bytes != 0 {
            return Err(format!("not empty at the end: {metrics:?}"));
        }
        if metrics.allowed + metrics.blocked + metrics.malformed + metrics.failed != metrics.requests {
            return Err(format!("verdicts do not add up: {metrics:?}"));
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
        around.book.tally.steps = self.steps;
        Ok(())
    }
}
