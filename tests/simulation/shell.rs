//! The shell: what `shell` does, with the simulated network in place of the system, and with every promise of the
//! seam checked on the way.

use super::book::Checked;
use super::guarding::Answered;
use super::network::{Closing, LinkId, Peer, Readiness, Task};
use super::scenario::{GlobalEvent, other_resolver_settings};
use super::socket::Socket;
use super::world::Surroundings;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use weir::engine::StoreJob;
use weir::engine::transaction::log_record::{Kind, LogRecord, Text, Verdict, Waits};
use weir::engine::{Action, Engine, Event, JobId, ListenerId, PeerId, SocketError, Splice};
use weir::guard::values::{ValueAnswer, ValueRequest};
use weir::policy::auth::Users;
use weir::resolver::{self, Hosts, QueryId};
use weir::time::Now;

pub struct Shell {
    /// Which one it is.
    pub(super) number: usize,
    pub engine: Engine,
    pub(super) sockets: Vec<Option<Socket>>,
    pub live: usize,
    /// Calls that told the engine something.
    pub steps: u64,
    /// Turns without any effect, since something last moved.
    pub(super) fruitless: u64,
    pub(super) records: u64,
    /// Entries of tunnels that were set up.
    pub(super) tunnel_starts: u64,
    /// Received bytes by client, from the log records.
    pub received: HashMap<std::net::SocketAddr, u64>,
    /// Sent bytes from the log records, and the bytes that clients were sent.
    pub(super) logged_sent: u64,
    pub(super) sent: u64,
    pub(super) record_keys: HashMap<String, u32>,
    pub(super) queries: HashSet<QueryId>,
    pub replies: HashMap<u64, (QueryId, Option<Vec<u8>>)>,
    pub jobs: HashMap<u64, (JobId, bool)>,
    /// What the store will say.
    /// And whether it is an answer.
    answers: HashMap<u64, (StoreJob, Answered, bool)>,
    /// What it will say to pages.
    page_answers: HashMap<u64, (StoreJob, ValueAnswer)>,
    pub(super) numbers: u64,
    pub(super) users: Users,
    pub(super) exhausted: bool,
    /// Links of clients that wait to be accepted.
    pub backlog: Vec<(LinkId, std::net::SocketAddr)>,
}

impl Shell {
    pub fn new(number: usize, engine: Engine) -> Shell {
        Shell {
            number,
            engine,
            sockets: Vec::new(),
            live: 0,
            steps: 0,
            fruitless: 0,
            records: 0,
            tunnel_starts: 0,
            received: HashMap::new(),
            logged_sent: 0,
            sent: 0,
            record_keys: HashMap::new(),
            queries: HashSet::new(),
            replies: HashMap::new(),
            jobs: HashMap::new(),
            answers: HashMap::new(),
            page_answers: HashMap::new(),
            // No two shells give out the same one.
            numbers: (number as u64) << 32,
            users: super::scenario::users(),
            exhausted: false,
            backlog: Vec::new(),
        }
    }

    /// One round of the loop: events of the system, new connections, turns, timers.
    pub fn round(&mut self, around: &mut Surroundings) -> Checked<()> {
        around.net.trace(|| format!("round: {} blocks lent", self.engine.metrics().blocks_lent));
        self.poll(around)?;
        self.listen(around)?;
        self.accept(around)?;
        for _ in 0..around.book.scenario.turns_max {
            let Some(id) = self.engine.next_runnable() else { break };
            self.take_turn(around, id)?;
        }
        self.tick(around)
    }

    /// Whether it could do anything now.
    pub fn has_work(&self, around: &Surroundings) -> bool {
        let timer = self.engine.next_timeout_us().is_some_and(|due| due <= around.net.now_us);
        let waiting = !self.backlog.is_empty() && self.engine.may_accept() && !self.exhausted;
        let edges = around.net.edges.iter().any(|link| !around.belongs_to_other_loop(self.number, *link));
        let told = !around.post[self.number].is_empty();
        told || (!self.has_finished() && (edges || self.engine.has_runnable() || timer || waiting))
    }

    pub fn has_finished(&self) -> bool {
        self.engine.is_draining() && self.engine.is_empty()
    }

    /// Receives the messages of other loops, or some of them.
    fn listen(&mut self, around: &mut Surroundings) -> Checked<()> {
        while !around.post[self.number].is_empty() && around.net.dice.percent(80) {
            let Some((from, message)) = around.post[self.number].pop_front() else { break };
            around.net.trace(|| format!("loop {} hears from {from}: {message:?}", self.number));
            let fetches = self.engine.metrics().cache_fetches;
            self.engine.handle_message(around.net.now(), message);
            around.book.tally.messages += 1;
            around.book.tally.subscribed += u64::from(self.engine.metrics().cache_fetches > fetches);
            self.steps += 1;
            self.act(around)?;
        }
        Ok(())
    }

    fn poll(&mut self, around: &mut Surroundings) -> Checked<()> {
        let edges = std::mem::take(&mut around.net.edges);
        let (mut edges, others): (Vec<LinkId>, Vec<LinkId>) =
            edges.into_iter().partition(|link| !around.belongs_to_other_loop(self.number, *link));
        around.net.edges = others;
        around.net.dice.shuffle(&mut edges);
        for link in edges {
            if around.net.dice.percent(10) {
                // Not in this round.
                around.net.edges.push(link);
                continue;
            }
            let readiness = around.net.take_edge(link);
            if let Some((_, index)) = around.place_of(link) {
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
        let Some(id) = self.engine.connection_at(index) else { return Ok(()) };
        if self.engine.is_idle_upstream(id) {
            self.take_turn(around, id)
        } else {
            self.engine.wake(id);
            Ok(())
        }
    }

    fn accept(&mut self, around: &mut Surroundings) -> Checked<()> {
        while !self.backlog.is_empty() && self.engine.may_accept() && !self.exhausted {
            let (link, address) = self.backlog.remove(0);
            let id = self.engine.accept(around.net.now(), ListenerId::default(), address);
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
        around.set_place(link, (self.number, index));
        // The readiness that epoll reports for an added socket.
        around.net.raise_edge(link);
        Ok(())
    }

    fn tick(&mut self, around: &mut Surroundings) -> Checked<()> {
        let now = around.net.now();
        if self.engine.next_timeout_us().is_some_and(|due| due <= now.monotonic_us) {
            around.book.guarding.tick(self.number, now.monotonic_us);
            self.engine.handle_timeout(now);
            self.steps += 1;
            self.act(around)?;
        }
        Ok(())
    }

    fn take_turn(&mut self, around: &mut Surroundings, id: PeerId) -> Checked<()> {
        let mut budget = around.book.scenario.turn_bytes;
        let (mut moved_any, mut done) = (false, false);
        self.engine.begin_turn(id);
        while budget > 0 && !done {
            // Reading comes first, as in `shell`.
            let moved = self.establish(around, id)? + self.receive(around, id)? + self.send(around, id)?;
            self.act(around)?;
            budget = budget.saturating_sub(moved);
            moved_any |= moved > 0;
            done = moved == 0;
        }
        self.engine.end_turn();
        if !done {
            self.engine.wake(id);
            return self.note_progress(true);
        }
        if let Some(Some(socket)) = self.sockets.get_mut(id.index()) {
            if socket.hung_up && !self.engine.wants_read(id) {
                socket.hung_up = false;
                if let Some(error) = around.net.take_error(socket.link) {
                    let event = match self.engine.reads_on(id) {
                        true => Event::SendFailed(error),
                        false => Event::Failed(error),
                    };
                    self.tell(around, id, event)?;
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

    /// Time has passed, or a peer has acted: turns may have an effect again.
    pub fn expect_progress(&mut self) {
        self.fruitless = 0;
    }

    fn tell(&mut self, around: &mut Surroundings, id: PeerId, event: Event) -> Checked<()> {
        around.net.trace(|| format!("peer {}: {event:?}", id.index()));
        self.engine.handle(around.net.now(), id, event);
        self.steps += 1;
        self.check(around)
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
            // weir cannot know it: the system has not reported it yet.
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
        if let (Event::Sent(count), Peer::Client(_) | Peer::Visitor(_)) =
            (event, around.net.links[socket.link].peer)
        {
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
        if let Some(order) = self.engine.splice_allowed(id) {
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
    fn move_bytes(&mut self, around: &mut Surroundings, id: PeerId, order: Splice) -> Checked<usize> {
        let room = around.net.dice.pick(&[1, 1000, 4096, 5000, 65_536, 262_144]).min(order.bytes_max);
        let mut bytes = vec![0; room];
        match self.sockets.get(order.to.index()) {
            Some(Some(sink)) if sink.pipe.is_empty() => {}
            Some(Some(_)) => return Err(format!("{id:?}: bytes for a pipe that holds some")),
            Some(None) | None => return Err(format!("{id:?}: bytes for nobody")),
        }
        let Some(Some(socket)) = self.sockets.get_mut(id.index()) else { return Ok(0) };
        let link = socket.link;
        let mut space = weir::net::Space::one(&mut bytes);
        let event = match around.net.read(link, &mut space) {
            Ok(None) => {
                socket.readable = false;
                return Ok(0);
            }
            Ok(Some(0)) => {
                socket.readable = false;
                Event::EndOfStream
            }
            Ok(Some(count)) => Event::Spliced(count),
            Err(error) => {
                socket.readable = false;
                Event::Failed(error)
            }
        };
        if let Event::Spliced(count) = event {
            around.note_moved(link, count);
            bytes.truncate(count);
            if let Some(Some(sink)) = self.sockets.get_mut(order.to.index()) {
                sink.pipe = bytes;
            }
        }
        self.tell(around, id, event)?;
        Ok(if let Event::Spliced(count) = event { count } else { 1 })
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
                Action::Close(id) | Action::CloseDelivered(id) => self.close(around, id, Closing::Regular)?,
                Action::Reset(id) => self.close(around, id, Closing::Reset)?,
                Action::ResetDelivered(id) => self.close(around, id, Closing::ResetDelivered)?,
                Action::SendToLoops(message) => {
                    let others = (0..around.post.len()).filter(|to| *to != self.number);
                    let told = others.map(|to| around.post[to].push_back((self.number, message.clone())));
                    if told.count() == 0 {
                        return Err("there is no other loop to be told anything".to_string());
                    }
                }
                Action::AskValue { job, request } => self.ask_value(around, job, &request)?,
                Action::AskStore { job, checks } => {
                    let (guarding, net) = (&mut around.book.guarding, &mut around.net);
                    let now_us = net.now_us;
                    for (after_us, answer, is_one) in
                        guarding.ask(&mut net.dice, self.number, job, &checks, now_us)?
                    {
                        self.numbers += 1;
                        self.answers.insert(self.numbers, (job, answer, is_one));
                        net.info(after_us, Task::Answered(self.numbers));
                    }
                }
                Action::Verify { job, work, .. } => {
                    let name = work.user().map(|user| self.users.name(user).to_string());
                    self.numbers += 1;
                    self.jobs.insert(self.numbers, (job, name.as_deref() == Some("slow-right")));
                    let after_us = around.net.dice.pick(&[10, 1_000, 100_000, 1_000_000]);
                    around.net.info(after_us, Task::Verified(self.numbers));
                }
                Action::Log(record) => {
                    self.log(around, &record)?;
                    self.engine.recycle(record);
                }
                Action::Resolver(action) => self.resolve(around, action)?,
            }
        }
        self.check(around)?;
        // One that renews what was served stale has no client, and may have no origin yet.
        if self.live == 0 && !self.engine.is_empty() && self.engine.metrics().exchanges == 0 {
            return Err("peers without sockets".to_string());
        }
        Ok(())
    }

    /// A page asks the store.
    fn ask_value(&mut self, around: &mut Surroundings, job: StoreJob, request: &ValueRequest) -> Checked<()> {
        let (guarding, now_us) = (&mut around.book.guarding, around.net.now_us);
        let site = around.site.as_mut().ok_or("there is no page to ask for a value")?;
        if site.is_shared() {
            guarding.note_asked(self.number, job, now_us)?;
        }
        for (after_us, answer) in site.ask((self.number, job), request, guarding.is_away(now_us)) {
            self.numbers += 1;
            self.page_answers.insert(self.numbers, (job, answer));
            around.net.info(after_us, Task::Answered(self.numbers));
        }
        Ok(())
    }

    /// What the store says to a page arrives.
    fn answer_page(&mut self, around: &mut Surroundings, job: StoreJob, answer: ValueAnswer) -> Checked<()> {
        if let Some(site) = &mut around.site {
            site.note_told(self.number, job, &answer);
            if site.is_shared() {
                let is_one = !matches!(answer, ValueAnswer::Failed(_));
                around.book.guarding.hear(self.number, job, is_one, around.net.now_us);
            }
        }
        self.engine.handle_value_answer(around.net.now(), job, answer);
        self.steps += 1;
        self.act(around)
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
            if self.exhausted { Some(SocketError::Exhausted) } else { around.immediate_dial_error(address) };
        let link = around.dial(address, failed.is_some());
        around.net.trace(|| format!("peer {}: connects to {address} (fails: {failed:?})", id.index()));
        self.install(around, id, link, true)?;
        let Some(error) = failed else { return Ok(()) };
        if error == SocketError::Exhausted {
            self.engine.shed_idle_upstreams();
        }
        self.tell(around, id, Event::Failed(error))
    }

    fn close(&mut self, around: &mut Surroundings, id: PeerId, closing: Closing) -> Checked<()> {
        let Some(socket) = self.sockets.get_mut(id.index()).and_then(Option::take) else {
            return Err(format!("{id:?} was closed and is not open"));
        };
        self.live -= 1;
        around.book.tally.pipes_lost += u64::from(!socket.pipe.is_empty());
        around.remove_place(socket.link);
        around.net.trace(|| format!("peer {}: closed ({closing:?})", id.index()));
        around.net.weir_closes(socket.link, closing);
        Ok(())
    }

    fn resolve(&mut self, around: &mut Surroundings, action: resolver::Action) -> Checked<()> {
        match action {
            resolver::Action::Send { query, transport, message, .. } => {
                if !self.queries.insert(query) {
                    return Err(format!("{query:?} was sent twice"));
                }
                if self.exhausted {
                    self.engine.handle_query_shortage(around.net.now(), query);
                    return Ok(());
                }
                let (hosts, faults) = (&around.book.scenario.hosts, around.book.scenario.dns_faults);
                let dice = &mut around.net.dice;
                for (after_us, reply) in
                    super::names::replies(dice, hosts, transport, message.as_bytes(), faults)
                {
                    self.numbers += 1;
                    self.replies.insert(self.numbers, (query, reply));
                    around.net.info(after_us, Task::Reply(self.numbers));
                }
                Ok(())
            }
            resolver::Action::Cancel(query) => {
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

    /// What the store says arrives.
    pub fn answered(&mut self, around: &mut Surroundings, number: u64) -> Checked<()> {
        if let Some((job, answer)) = self.page_answers.remove(&number) {
            return self.answer_page(around, job, answer);
        }
        let Some((job, answer, is_one)) = self.answers.remove(&number) else { return Ok(()) };
        around.book.guarding.hear(self.number, job, is_one, around.net.now_us);
        let answer = answer.as_deref().map_err(|failure| *failure);
        self.engine.handle_store_answer(around.net.now(), job, answer);
        self.steps += 1;
        self.act(around)
    }

    /// There are more bans: what banned clients have under way is cut.
    pub fn hear_of_bans(&mut self, around: &mut Surroundings) -> Checked<()> {
        let now_us = around.net.now_us;
        let open_tunnels = |shell: &Shell, around: &Surroundings| {
            let links = shell.sockets.iter().flatten().map(|socket| socket.link);
            let banned = |link: &LinkId| {
                let client = around.tunnel_of(*link);
                client.is_some_and(|ip| around.book.guarding.is_banned(ip, now_us))
            };
            links.filter(banned).count() as u64
        };
        let (tunnels, before) = (open_tunnels(self, around), self.engine.metrics().guard_cut);
        self.engine.handle_bans(around.net.now());
        self.steps += 1;
        self.act(around)?;
        if open_tunnels(self, around) > 0 {
            return Err("a tunnel goes on in spite of a ban".to_string());
        }
        around.book.guarding.note_cut(tunnels, self.engine.metrics().guard_cut - before);
        Ok(())
    }

    /// Applies an event that concerns all peers.
    pub fn apply_global_event(
        &mut self,
        around: &mut Surroundings,
        event: GlobalEvent,
        now: Now,
    ) -> Checked<()> {
        self.steps += 1;
        match event {
            GlobalEvent::SetPolicy(number) => {
                self.engine.set_policy(Arc::clone(&around.book.scenario.policies[number].1));
            }
            GlobalEvent::SetResolver => {
                let settings = other_resolver_settings(&mut around.net.dice);
                self.engine.set_resolver(now, settings, Hosts::default());
            }
            GlobalEvent::Drain => {
                for (link, _) in std::mem::take(&mut self.backlog) {
                    around.net.weir_closes(link, Closing::Reset);
                }
                self.engine.drain(now);
            }
            GlobalEvent::Exhaustion(exhausted) => return self.set_exhausted(around, exhausted),
            GlobalEvent::ShedIdle => drop(self.engine.shed_idle_upstreams()),
            GlobalEvent::Jump(_)
            | GlobalEvent::SetClock(_)
            | GlobalEvent::PurgeAll
            | GlobalEvent::Ban(..) => {}
        }
        self.act(around)
    }

    fn set_exhausted(&mut self, around: &mut Surroundings, exhausted: bool) -> Checked<()> {
        self.exhausted = exhausted;
        if exhausted {
            self.engine.shed_idle_upstreams();
        }
        self.act(around)
    }

    fn log(&mut self, around: &mut Surroundings, record: &LogRecord) -> Checked<()> {
        let Waits { dns_us, connect_us, ttfb_us } = record.waits;
        let waited_us: u64 = [dns_us, connect_us, ttfb_us].into_iter().flatten().sum();
        if waited_us > record.duration_us {
            return Err(format!("{:?} within {} us", record.waits, record.duration_us));
        }
        if record.kind == Kind::TunnelStart {
            self.tunnel_starts += 1;
            return if record.sent_bytes == 0 { Ok(()) } else { Err("sent before its start".into()) };
        }
        self.records += 1;
        *self.received.entry(record.client).or_insert(0) += record.client_bytes;
        self.logged_sent += record.sent_bytes;
        let target = String::from_utf8_lossy(record.text(Text::Target)).into_owned();
        let reason = String::from_utf8_lossy(record.text(Text::Reason)).into_owned();
        around.net.trace(|| {
            let cache = (record.cache, record.cache_reason);
            format!("record: {} {target} {} {reason} {cache:?}", record.client, record.status)
        });
        if reason == "cache_window_max" {
            around.book.held_up.insert(record.client);
            around.book.tally.held_up += 1;
        }
        // Of a head that was not whole the target may be cut.
        let broken_off = record.verdict == Verdict::Malformed && reason.starts_with("client_");
        let is_whole = reason != "head_timeout" && !broken_off;
        if let Some((_, key)) = target.split_once("/e/").filter(|_| is_whole) {
            let count = self.record_keys.entry(key.to_string()).or_insert(0);
            *count += 1;
            if *count > 1 {
                return Err(format!("{key}: two log records"));
            }
        }
        let cut = record.kind == Kind::Tunnel && reason == "idle_timeout";
        if cut && around.must_complete_tunnel(record.client) {
            return Err(format!("the tunnel of {} was left to its time-out", record.client));
        }
        Ok(())
    }
}
